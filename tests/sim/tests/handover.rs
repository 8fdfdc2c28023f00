//! Hand-overs of listeners between two proven mounts, in the TCP world: each kind of fault by itself, then many at random.
//!
//! A failure prints its trial cut down to what it takes; as a file of `tests/sim/trials` it is run from then on, and
//! `cargo xtask replay FILE` tells it.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mainstay_sim::replay_file;
use mainstay_sim::tcp::year::{self, Toll, Who, YEAR};
use mainstay_sim::tcp::{Course, Deeds, Fault, Most, Trial, Version, Way, What, World};

/// Troubles that the engine does not yet bring everybody through whole: a round trip that grows beyond its patience, a path that
/// carries small packets only, and one that is gone half of the time. The invariants hold, and the connection is kept.
const BEYOND: [&str; 3] = ["delay", "path MTU", "flap 400"];

/// Runs it; what broke is shown with the trial cut down to what it takes.
fn run(trial: &Trial) -> World {
    trial.run().unwrap_or_else(|failed| {
        let least = serde_json::to_string(&trial.shrunk()).expect("a trial is plain data");
        panic!("{failed}\nwith the least of it:\n{least}")
    })
}

fn on(uplink: usize, fault: Fault) -> Fault {
    Fault { uplink, ..fault }
}

/// One of each, for each kind of pair.
fn cases() -> Vec<Trial> {
    let fault = Fault::new;
    let mut all: Vec<(&str, Vec<Fault>)> = vec![
        ("nothing", vec![]),
        ("silent cut", vec![fault(30.0, 20.0, What::Dark(Way::Both))]),
        ("half-dead, nothing from the box", vec![fault(30.0, 20.0, What::Dark(Way::Up))]),
        ("half-dead, nothing to the box", vec![fault(30.0, 20.0, What::Dark(Way::Down))]),
        ("path MTU black hole", vec![fault(30.0, 20.0, What::Narrow(576))]),
        ("carrier off", vec![fault(30.0, 20.0, What::CarrierOff)]),
        ("middlebox reset", vec![fault(30.0, 0.1, What::MiddleboxReset)]),
        ("address change", vec![fault(30.0, 0.1, What::NewAddress)]),
        ("short cut", vec![fault(30.0, 0.6, What::Dark(Way::Both))]),
        ("one second", vec![fault(30.0, 1.0, What::Dark(Way::Both))]),
        ("flap 2 s", vec![fault(30.0, 30.0, What::Flap(2000))]),
        ("flap 400 ms", vec![fault(30.0, 30.0, What::Flap(400))]),
        (
            "second fault while away: cut",
            vec![fault(30.0, 12.0, What::Dark(Way::Both)), on(1, fault(44.0, 20.0, What::Dark(Way::Both)))],
        ),
        (
            "second fault while away: carrier",
            vec![fault(30.0, 12.0, What::Dark(Way::Both)), on(1, fault(44.0, 20.0, What::CarrierOff))],
        ),
        (
            "second fault while away: reset",
            vec![fault(30.0, 12.0, What::Dark(Way::Both)), on(1, fault(44.0, 0.1, What::MiddleboxReset))],
        ),
        (
            "second fault while away: half-dead up",
            vec![fault(30.0, 12.0, What::Dark(Way::Both)), on(1, fault(44.0, 20.0, What::Dark(Way::Up)))],
        ),
        (
            "second fault while away: half-dead down",
            vec![fault(30.0, 12.0, What::Dark(Way::Both)), on(1, fault(44.0, 20.0, What::Dark(Way::Down)))],
        ),
        (
            "both cut for 4 s",
            vec![fault(30.0, 4.0, What::Dark(Way::Both)), on(1, fault(30.0, 4.0, What::Dark(Way::Both)))],
        ),
        (
            "both cut for 8 s",
            vec![fault(30.0, 8.0, What::Dark(Way::Both)), on(1, fault(30.0, 8.0, What::Dark(Way::Both)))],
        ),
        (
            "both, the spare heals at 5 s",
            vec![fault(30.0, 60.0, What::Dark(Way::Both)), on(1, fault(30.0, 5.0, What::Dark(Way::Both)))],
        ),
        (
            "both, the preferred heals at 5 s",
            vec![fault(30.0, 5.0, What::Dark(Way::Both)), on(1, fault(30.0, 60.0, What::Dark(Way::Both)))],
        ),
        ("the spare alone", vec![on(1, fault(30.0, 20.0, What::Dark(Way::Both)))]),
        (
            "the spare first, then the preferred",
            vec![on(1, fault(30.0, 8.0, What::Dark(Way::Both))), fault(34.0, 20.0, What::Dark(Way::Both))],
        ),
        (
            "fallback re-opened in a doubt",
            vec![
                fault(30.0, 20.0, What::Dark(Way::Both)),
                fault(30.4, 0.1, What::Ended("/fallback".to_string())),
            ],
        ),
        (
            "fallback re-opened after the splice",
            vec![
                fault(30.0, 20.0, What::Dark(Way::Both)),
                fault(30.6, 0.1, What::Ended("/fallback".to_string())),
            ],
        ),
        (
            "carrier off, and again before the fallback has got a byte",
            vec![fault(30.0, 3.0, What::CarrierOff), fault(42.0, 20.0, What::CarrierOff)],
        ),
        ("fallback ended in calm times", vec![fault(30.0, 0.1, What::Ended("/fallback".to_string()))]),
        ("server stopped", vec![fault(30.0, 6.0, What::ServerStopped)]),
        ("server stopped for long", vec![fault(30.0, 9.0, What::ServerStopped)]),
        ("slow line", vec![fault(30.0, 20.0, What::Rate(60_000, 65_536))]),
        ("loss 2 %", vec![fault(30.0, 40.0, What::Loss(20_000))]),
        ("jitter 80 ms", vec![fault(30.0, 40.0, What::Jitter(80))]),
        ("delay 300 ms", vec![fault(30.0, 40.0, What::Delay(300))]),
    ];
    let mut trials = Vec::new();
    // The last one changes over as HE-AAC does.
    for (pair, version, entries) in [
        ((320, 192), Version::V24, 1),
        ((128, 128), Version::V25, 1),
        ((128, 64), Version::V24, 1),
        ((64, 48), Version::V25, 10),
    ] {
        for (name, faults) in &mut all {
            let mut trial = Trial::paired(&format!("{name} {pair:?}"), 1, 150, pair);
            (trial.server.version, trial.entries) = (version, entries);
            trial.faults = faults.clone();
            let beyond = BEYOND.iter().any(|begins| name.starts_with(begins));
            trial.most = if beyond { Most { drops: Some(0), ..Most::default() } } else { Most::WHOLE };
            trials.push(trial);
        }
    }
    trials
}

#[test]
fn each_trouble_alone_is_heard_by_nobody() {
    let done = sweep(cases(), |trial, world| {
        let (swift, slow) = (world.heard(0), world.heard(1));
        let Deeds { evicted, moves, .. } = world.deeds();
        println!(
            "{:55} longest pause {:6} ms, dry {:5} and {:5} ms, lost {:4}, moved {moves}, evicted {evicted}",
            trial.name,
            swift.longest_pause.as_millis(),
            swift.stalled.as_millis(),
            slow.stalled.as_millis(),
            swift.packets.lost
        );
        u64::from(moves > 0)
    });
    assert!(done > 20, "most of these move listeners: {done}");
}

/// A pair, a cut of the preferred uplink, and one thing more.
fn cut(name: &str, lasts: f64) -> Trial {
    let faults = vec![Fault::new(30.0, lasts, What::Dark(Way::Both))];
    Trial { faults, most: Most::WHOLE, ..Trial::paired(name, 2, 150, (320, 192)) }
}

#[test]
fn without_an_eviction_the_servers_own_timeout_is_waited_for() {
    // Not found to be allowed; found, and forbidden since; and a server that keeps sources for longer.
    let mut trials = Vec::new();
    for (evict, may, timeout) in [(false, false, 10), (true, false, 10), (false, true, 12)] {
        for moment in 0..25_u32 {
            let name = format!("evict {evict}, allowed {may}, source-timeout {timeout} s, {moment}");
            let mut trial = cut(&name, 60.0);
            if moment % 2 == 0 {
                trial.uplinks = vec![1, 1];
            }
            trial.faults[0].at += f64::from(moment) * 0.0417;
            trial.course = Course::HandOver { evict, settle: 5.0 };
            (trial.server.source_may_evict, trial.server.source_timeout) = (may, timeout);
            trials.push(trial);
        }
    }
    let count = trials.len() as u64;
    let longest = Mutex::new(Duration::ZERO);
    let moves = sweep(trials, |trial, world| {
        let (pause, timeout) =
            (world.heard(0).longest_pause, Duration::from_secs(trial.server.source_timeout));
        assert_eq!(world.deeds().evicted, 0, "{}", trial.name);
        let round_trip = Duration::from_millis(u64::from(2 * trial.uplinks[1]));
        // Whoever was not told that nothing can be evicted finds out, and goes by the server's turns.
        let told = matches!(trial.course, Course::HandOver { evict: false, .. });
        let most = timeout + Duration::from_millis(if told { 1500 } else { 1850 }) + round_trip * 2;
        assert!(pause > timeout && pause < most, "{}: {pause:?}", trial.name);
        let mut longest = longest.lock().expect("no thread panics while it compares");
        *longest = longest.max(pause.saturating_sub(timeout));
        world.deeds().moves
    });
    println!(
        "{count} times, at most {} ms after the timeout",
        longest.lock().expect("all are done").as_millis()
    );
    assert_eq!(moves, 2 * count, "there and back each time");
}

#[test]
fn what_was_heard_of_a_primary_whose_acknowledgements_are_lost_is_not_sent_again() {
    // Its last block arrives, and the box is not told: but its probe hears it, and then what the fallback makes of it.
    let mut trials = Vec::new();
    for (rates, entries) in [((320, 320), 1), ((320, 192), 1), ((128, 128), 1), ((64, 48), 10)] {
        for (uplinks, way) in [([1, 1], Way::Down), ([1, 1], Way::Both), ([15, 35], Way::Down)] {
            for moment in 0..8_u32 {
                let faults = vec![
                    Fault::new(30.0 + f64::from(moment) * 0.1173, 18.0, What::Dark(way)),
                    Fault::new(80.0 + f64::from(moment) * 0.0673, 18.0, What::Dark(way)),
                ];
                let name = format!("unacknowledged {rates:?} over {uplinks:?} ms, {way:?}, {moment}");
                let mut trial = Trial::paired(&name, moment.into(), 130, rates);
                trial.course = Course::HandOver { evict: false, settle: 5.0 };
                trial.server.source_may_evict = false;
                // A slow one is moved back before it has caught up.
                trial.listeners.truncate(1);
                trials.push(Trial { faults, most: Most::WHOLE, entries, uplinks: uplinks.to_vec(), ..trial });
            }
        }
    }
    let count = trials.len() as u64;
    let moves = sweep(trials, |_, world| world.deeds().moves);
    assert_eq!(moves, 4 * count, "there and back, twice each time");
}

#[test]
fn a_server_that_ends_the_primary_itself_tears_two_packets_at_most() {
    // At any moment of the fallback's turns and of the packets' coming, on short ways and on long ones. Who hears filler hears
    // the packet that it broke into again, and whole.
    let mut trials = Vec::new();
    for (rates, entries) in
        [((320, 192), 1), ((128, 128), 1), ((320, 320), 1), ((128, 64), 1), ((64, 48), 10)]
    {
        for uplinks in [[1, 1], [4, 25], [15, 35]] {
            for moment in 0..24_u32 {
                let at = 30.0 + f64::from(moment) * 0.0973;
                let faults = vec![Fault::new(at, 0.1, What::Ended("/live".to_string()))];
                let most = Most { torn: Some(2), split: Some(0), ..Most::WHOLE };
                let name = format!("ended {rates:?} over {uplinks:?} ms at {at:.4}");
                let trial = Trial::paired(&name, moment.into(), 60, rates);
                trials.push(Trial { faults, most, entries, uplinks: uplinks.to_vec(), ..trial });
            }
        }
    }
    let count = trials.len() as u64;
    let torn = AtomicU64::new(0);
    let moves = sweep(trials, |_, world| {
        torn.fetch_add(world.heard(0).packets.torn, Ordering::Relaxed);
        assert_eq!(world.deeds().evicted, 0);
        world.deeds().moves
    });
    println!("{count} times, {} packets torn", torn.into_inner());
    assert!(moves >= 2 * count, "there and back each time: {moves}");
}

/// The invariant is that it is never evicted; the world looks at it.
#[test]
fn somebody_elses_source_is_never_evicted() {
    for other in [What::Foreign("/live".to_string()), What::Twin("/live".to_string())] {
        for (gone, there) in [(13.0, 60.0), (25.0, 40.0), (14.0, 16.0)] {
            let dark = Fault::new(30.0, gone, What::Dark(Way::Both));
            let both = vec![dark.clone(), on(1, dark), Fault::new(31.0, there, other.clone())];
            // And once more while it is there: the box in doubt about a mount that is not its own.
            let again = Fault::new(30.0 + gone + 8.0, 5.0, What::Dark(Way::Both));
            let faults = [both, vec![again]].concat();
            let world = run(&Trial { faults, ..Trial::paired("somebody else", 5, 260, (128, 64)) });
            assert_eq!(world.deeds().wronged, 0);
        }
    }
}

#[test]
fn ten_hours_of_loss_and_jitter_move_nobody() {
    let hours = number("MAINSTAY_SIM_HOURS").unwrap_or(10);
    let trials = (0..hours * 4).map(|seed| {
        let loss = |at: f64| Fault::new(at, 60.0, What::Loss(500 * (1 + seed as u32 % 20)));
        let jitter = |at: f64| Fault::new(at, 60.0, What::Jitter(10 * (1 + seed as u32 % 10)));
        let faults = (0..7).flat_map(|n| {
            let at = 20.0 + f64::from(n) * 110.0;
            [loss(at), jitter(at + 30.0), on(1, loss(at)), on(1, jitter(at + 30.0))]
        });
        let rates = [(320, 192), (128, 128), (128, 64)][seed as usize % 3];
        Trial {
            faults: faults.collect(),
            most: Most::WHOLE,
            moves: Some(0),
            ..Trial::paired(&format!("weather {seed}"), seed, 900, rates)
        }
    });
    let pauses = sweep(trials.collect(), |_, world| world.heard(0).longest_pause.as_millis() as u64);
    println!("{hours} h, sum of the longest pauses {pauses} ms");
    assert!(pauses > 0);
}

#[test]
fn random_troubles_break_no_invariant_and_all_is_calm_in_the_end() {
    let trials = (0..number("MAINSTAY_SIM_SEEDS").unwrap_or(300)).map(Trial::troubled);
    let moved = sweep(trials.collect(), |_, world| world.deeds().moves);
    assert!(moved > 50, "a sweep that meets nothing proves nothing: {moved}");
}

/// The seed in `MAINSTAY_SIM_SEED`, told in full; without one, a seed beyond those of the sweep.
#[test]
fn one_seed() {
    let world = run(&Trial::troubled(number("MAINSTAY_SIM_SEED").unwrap_or(300)));
    world.told().iter().for_each(|(at, line)| println!("{at} {line}"));
    println!("{:#?}\n{:?}", world.heard(0), world.deeds());
    assert!(!world.told().is_empty());
}

/// Every so many faults; `cargo run --release -p mainstay-sim --example year` takes them all.
const EVERY: usize = 12;

#[test]
fn a_bad_providers_year_costs_a_listener_nothing_that_one_way_left_can_save() {
    let mut sums = [Toll::default(); 3];
    for (who, sum) in [Who::HandOver, Who::Two, Who::Plain].into_iter().zip(&mut sums) {
        let all = YEAR.iter().enumerate();
        let trials = all.flat_map(|(place, rate)| {
            (0..rate.a_year).step_by(EVERY).map(move |number| year::trial(place, number, who))
        });
        let tolls = Mutex::new(Toll::default());
        sweep(trials.collect(), |_, world| {
            *tolls.lock().expect("no thread panics while it adds") += year::heard(world);
            0
        });
        *sum = tolls.into_inner().expect("no thread panicked");
        println!("{who:?}: {sum:?}");
    }
    let [box_, two, plain] = sums;
    assert!(box_.moves > 10 && plain.drops > 0, "{sums:?}");
    assert!(box_.lost * 10 < two.lost && box_.lost * 10 < plain.lost, "{sums:?}");
}

#[test]
fn every_kept_trial_comes_out_as_it_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("trials");
    let files = std::fs::read_dir(&folder).expect("the folder is there");
    let mut broken = Vec::new();
    let mut count = 0;
    for file in files {
        let path = file.expect("the folder can be read").path();
        count += 1;
        broken.extend(replay_file(&path).err().map(|why| format!("{}: {why}", path.display())));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 0, "no trial in {}", folder.display());
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text}; it has to be a whole number")))
}

/// Runs all of them on all cores, adds up what `judge` makes of each, and reports every one that broke.
fn sweep(trials: Vec<Trial>, judge: impl Fn(&Trial, &World) -> u64 + Sync) -> u64 {
    let (next, sum, broken) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            match trial.run() {
                Ok(world) => {
                    sum.fetch_add(judge(trial, &world), Ordering::Relaxed);
                }
                Err(failed) => {
                    let least = serde_json::to_string(&trial.shrunk()).expect("a trial is plain data");
                    let what =
                        format!("{failed}with the least of it, to be kept in tests/sim/trials:\n{least}");
                    broken.lock().expect("no thread panics while it adds").push(what);
                }
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| {
            scope.spawn(work);
        });
    });
    let broken = broken.into_inner().expect("no thread panicked while it added");
    assert!(broken.is_empty(), "{} of {} broke:\n{}", broken.len(), trials.len(), broken.join("\n\n"));
    sum.into_inner()
}
