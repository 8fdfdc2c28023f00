//! The simulation floor: a thousand hours of faults, hand-written and kept scenarios, isolation, and the event log.
//!
//! A failure prints its seed and the command that runs that seed alone:
//! `MAINSTAY_SIM_SEED=N cargo test -p mainstay-sim --test sim one_seed -- --nocapture`.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mainstay_sim::{FAULTS_PER_HOUR, Failed, Fault, Outcome, Place, Refusal, Scenario, What, replay_file};

/// As many in every run; `MAINSTAY_SIM_SEEDS` asks for more of them (or, while looking for something, fewer).
const SEEDS: u64 = 1000;

fn scenarios() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// What to do about a broken seed, on top of what broke.
fn explain(scenario: &Scenario, failed: &Failed) -> String {
    let shrunk = scenario.shrunk();
    let least = serde_json::to_string(&shrunk).expect("a scenario is plain data");
    let again = shrunk.run().err().map_or_else(String::new, |failed| failed.what);
    format!(
        "{failed}\nalone: MAINSTAY_SIM_SEED={} cargo test -p mainstay-sim --test sim one_seed -- --nocapture\n\
         with the least faults ({again}), to be kept in tests/sim/scenarios:\n{least}",
        scenario.seed
    )
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text}; it has to be a whole number")))
}

/// What many runs came to, so that a sweep that meets nothing is seen.
#[derive(Default)]
struct Sum {
    inputs: u64,
    accepted: u64,
    skips: u64,
    alarms: u64,
    off_air: Duration,
}

/// Runs every scenario, on all cores, and reports every seed that broke.
fn sweep(scenarios: impl Fn(u64) -> Scenario + Sync, seeds: Range<u64>) -> Sum {
    let (next, sum, broken) =
        (AtomicU64::new(seeds.start), Mutex::new(Sum::default()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let scenario = scenarios(seed);
            assert!(scenario.faults.len() as u64 >= FAULTS_PER_HOUR);
            match scenario.run() {
                Ok(outcome) => {
                    let mut sum = sum.lock().expect("no thread panics while it adds");
                    sum.inputs += outcome.inputs;
                    for mount in &outcome.mounts {
                        sum.accepted += mount.accepted;
                        sum.skips += mount.skips;
                        sum.alarms += u64::from(mount.alarms);
                        sum.off_air += mount.off_air;
                    }
                }
                Err(failed) => {
                    broken.lock().expect("no thread panics while it pushes").push((scenario, failed));
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let mut broken = broken.into_inner().expect("every thread came to its end");
    broken.sort_by_key(|(scenario, _)| scenario.seed);
    if let Some((scenario, failed)) = broken.first() {
        let all: Vec<String> =
            broken.iter().map(|(_, failed)| format!("{}: {}", failed.seed, failed.what)).collect();
        panic!("{} of {seeds:?} broke:\n{}\n\n{}", all.len(), all.join("\n"), explain(scenario, failed));
    }
    sum.into_inner().expect("every thread came to its end")
}

#[test]
fn a_thousand_hours_of_faults_break_no_invariant() {
    let seeds = number("MAINSTAY_SIM_SEEDS").unwrap_or(SEEDS);
    let sum = sweep(Scenario::hour, 0..seeds);
    println!(
        "{seeds} simulated hours, {} inputs; sources taken {} times, {} skips, {} alarms, off air {:.0} of {} mount hours",
        sum.inputs,
        sum.accepted,
        sum.skips,
        sum.alarms,
        sum.off_air.as_secs_f64() / 3600.0,
        4 * seeds
    );
    assert!(sum.accepted > 4 * seeds && sum.skips > 0 && sum.alarms > 0 && !sum.off_air.is_zero());
}

#[test]
fn hours_packet_by_packet_break_no_invariant() {
    let sum = sweep(|seed| Scenario { packets: 1, ..Scenario::hour(seed) }, SEEDS..SEEDS + 20);
    assert!(sum.skips > 0 && sum.alarms > 0);
}

/// The seed in `MAINSTAY_SIM_SEED`, told in full; without one, a seed beyond those of the sweep.
#[test]
fn one_seed() {
    let scenario = Scenario::hour(number("MAINSTAY_SIM_SEED").unwrap_or(2 * SEEDS));
    match scenario.run_told() {
        Ok(outcome) => {
            for (at, said) in &outcome.transitions {
                println!("{at} {} {} -> {}: {}", said.mount, said.from.word(), said.to.word(), said.why);
            }
            assert!(!outcome.transitions.is_empty());
        }
        Err(failed) => panic!("{}", explain(&scenario, &failed)),
    }
}

#[test]
fn every_kept_scenario_comes_out_as_it_says() {
    let files: Vec<PathBuf> =
        std::fs::read_dir(scenarios()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let scenario = Scenario::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert!(!scenario.expect.is_empty(), "{} expects nothing", file.display());
        let report = replay_file(&file).unwrap_or_else(|failed| panic!("{}: {failed}", file.display()));
        assert!(report.contains("every invariant held"), "{report}");
        // A scenario whose expectations cannot fail says nothing: without its faults it has to come out differently.
        let calm = Scenario { faults: Vec::new(), ..scenario };
        assert!(calm.run().is_err(), "{} comes out the same without its faults", file.display());
    }
}

fn fault(at: f64, lasts: f64, place: Place, what: What) -> Fault {
    Fault { at, lasts, place, what }
}

fn mount<'a>(outcome: &'a Outcome, name: &str) -> &'a mainstay_sim::MountOutcome {
    outcome.mounts.iter().find(|mount| mount.name == name).expect("a mount of the model station")
}

#[test]
fn one_server_killed_stalled_refusing_or_nonsense_never_pauses_the_other() {
    let troubles = [
        ("killed", vec![What::Killed]),
        ("stalled", vec![What::Stalled]),
        ("refusing", vec![What::Kicked, What::Refusing(Refusal::Limit)]),
        ("nonsense", vec![What::Nonsense]),
    ];
    for seed in 0..6 {
        for (name, whats) in &troubles {
            for (sick, struck, well, unharmed) in [
                (Place::A, "main.primary", 1, "main.fallback"),
                (Place::B, "main.fallback", 0, "main.primary"),
            ] {
                let faults = whats.iter().map(|what| fault(60.0, 60.0, sick, what.clone())).collect();
                let scenario = Scenario {
                    name: format!("{name} at {sick:?}"),
                    seconds: 180,
                    packets: 1,
                    faults,
                    steady: Some((well, 100)),
                    ..Scenario::hour(seed)
                };
                let outcome = scenario.run().unwrap_or_else(|failed| panic!("{failed}"));
                let (struck, unharmed) = (mount(&outcome, struck), mount(&outcome, unharmed));
                assert!(struck.longest_off_air.as_secs() > 30, "{name}: the fault did nothing");
                assert_eq!((unharmed.accepted, unharmed.skips), (1, 0), "{name}");
                println!(
                    "{} {name} for 60 s, seed {seed}: off air {:.1} s; {} never paused over {} ms",
                    struck.name,
                    struck.longest_off_air.as_secs_f64(),
                    unharmed.name,
                    unharmed.longest_pause.as_millis()
                );
            }
        }
    }
}

/// In every password of the model station.
const SECRET: &str = "correct-horse-battery";

/// Base64 (RFC 4648), as far as it is well-formed.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text.chars().filter_map(|c| ALPHABET.find(c)).map(|digit| digit as u32).collect();
    digits
        .chunks(4)
        .flat_map(|four| {
            let bits = four.iter().enumerate().fold(0, |bits, (at, digit)| bits | digit << (18 - 6 * at));
            bits.to_be_bytes()[1..four.len()].to_vec()
        })
        .collect::<Vec<u8>>()
        .into_iter()
}

#[test]
fn an_event_log_of_faults_replays_to_the_same_outputs_and_holds_no_secret() {
    let scenario = Scenario { record: true, ..Scenario::hour(7) };
    let outcome = scenario.run_told().unwrap_or_else(|failed| panic!("{failed}"));
    let recording = outcome.recording.unwrap();
    assert!(!recording.segments.is_empty() && recording.segments.len() <= 3);
    let (mut first, mut last, mut told) = (None, None, Vec::new());
    recording
        .replay(|step| {
            first = first.or(Some(step.at));
            last = Some(step.at);
            told.extend(step.transitions.into_iter().map(|said| (step.at, said)));
        })
        .unwrap();
    let kept = last.unwrap().since(first.unwrap());
    assert!(kept.as_secs() >= 600, "only {kept:?} of events are kept");
    // Word for word what was told at the time.
    let then: Vec<_> = outcome.transitions.iter().filter(|(at, _)| *at >= first.unwrap()).cloned().collect();
    assert!(!told.is_empty());
    assert_eq!(told, then);

    let document = serde_json::to_string(&recording).unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("recording.json");
    std::fs::write(&file, &document).unwrap();
    let report = replay_file(&file).unwrap();
    assert!(report.contains("every output as recorded") && !report.contains(SECRET), "{report}");
    // The bytes inside are base64: they are looked at as such.
    let clear: Vec<u8> = recording
        .segments
        .iter()
        .flat_map(|one| decoded(&one.checkpoint).chain(decoded(&one.inputs)))
        .collect();
    assert!(clear.len() > 10_000);
    assert!(!clear.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));

    let mut other = recording.clone();
    other.segments[0].digest ^= 1;
    std::fs::write(&file, serde_json::to_string(&other).unwrap()).unwrap();
    assert!(replay_file(&file).is_err());
    std::fs::write(&file, "{}").unwrap();
    assert!(replay_file(&file).unwrap_err().to_string().contains("scenario"));
}

#[test]
fn the_same_seed_runs_the_same_and_text_keeps_a_scenario() {
    let scenario = Scenario { seconds: 900, ..Scenario::hour(11) };
    let text = serde_json::to_string(&scenario).unwrap();
    let (one, two) = (scenario.run_told().unwrap(), Scenario::parse(&text).unwrap().run_told().unwrap());
    assert_eq!((one.inputs, one.transitions), (two.inputs, two.transitions));
}
