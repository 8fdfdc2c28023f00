//! Cards whose clocks are not the system's: the drift is found, taken out when asked, and a second card follows a first.
//!
//! The cards keep real time, so these tests take real seconds; what they assert is frames and ppm, never durations.

mod bench;

use bench::{Bench, Listener, PATIENCE, config};
use mainstay_capture::{Clock, Config, Filled, Follower, Next, PeriodKind, Pick, SampleFormat, now, start};
use units::SampleRate;
use units::snapshot::Drift;

fn hear_seconds(config: Config, seconds: u64) -> Listener {
    let mut listener = Listener::start(config);
    listener.hear_frames(seconds * 48_000);
    listener.agrees();
    listener
}

fn drift(listener: &Listener) -> Drift {
    let status = listener.capture.status();
    let drift = status.drift().expect("half a minute is enough");
    assert_eq!(status.report(now()).drift, Some(drift));
    drift
}

#[test]
fn a_cards_drift_is_found_within_its_uncertainty() {
    let bench = Bench::ready();
    let listeners: Vec<_> = ["fast", "slow"]
        .map(|name| {
            let config = config(name, SampleFormat::S16, Pick::Stereo);
            std::thread::spawn(move || hear_seconds(config, 30))
        })
        .into_iter()
        .collect();
    for (thread, ppm) in listeners.into_iter().zip([200.0, -120.0]) {
        let mut listener = thread.join().unwrap();
        let found = drift(&listener);
        println!("{ppm} ppm: {found:?}");
        assert!((found.ppm - ppm).abs() <= found.uncertainty_ppm, "{found:?}, not {ppm} ppm");
        assert!(found.uncertainty_ppm < 15.0, "{found:?}");
        // An overrun leaves what is known; a card that goes takes it along.
        if ppm > 0.0 {
            bench.order("fast", "overrun 100");
            pass_over(&mut listener, PeriodKind::Silence);
            pass_over(&mut listener, PeriodKind::Sound);
            assert!((drift(&listener).ppm - ppm).abs() <= drift(&listener).uncertainty_ppm);
            bench.unplug("fast");
            pass_over(&mut listener, PeriodKind::Silence);
            for _ in 0..50 {
                assert!(matches!(listener.capture.next(PATIENCE), Next::Period(_)));
            }
            assert_eq!(listener.capture.status().drift(), None);
            bench.plug_in("fast");
        }
    }
}

/// Until such a period comes. Its frames are not held to the card's numbers: beside a card that drifts, a gap is counted to
/// within a frame or two.
fn pass_over(listener: &mut Listener, kind: PeriodKind) {
    for _ in 0..1_000 {
        match listener.capture.next(PATIENCE) {
            Next::Period(period) if period.kind == kind => return,
            Next::Period(_) => {}
            missing @ (Next::Nothing | Next::Ended(_)) => panic!("no period: {missing:?}"),
        }
    }
    panic!("no {kind:?} within 1000 periods");
}

/// What comes of the clock is held against the stamps: frames of the programme per second of the system's clock.
#[test]
fn a_resampled_programme_runs_by_the_systems_clock() {
    Bench::ready();
    let config = Config { clock: Clock::Resample, ..config("hasty", SampleFormat::S32, Pick::Stereo) };
    let mut capture = start(config).unwrap();
    let (mut position, mut settled) = (0, None);
    let mut slip = 0.0_f64;
    while position < 75 * 48_000 {
        let Next::Period(period) = capture.next(PATIENCE) else { panic!("no period") };
        assert_eq!((period.first.0, period.kind), (position, PeriodKind::Sound));
        position += period.samples.len() as u64 / 2;
        // 400 ppm are 19 frames a second.
        if position > 45 * 48_000 {
            let micros = period.stamp.as_micros();
            let (zero, at) = *settled.get_or_insert((position, micros));
            let due = (micros - at) as f64 * 0.048;
            slip = slip.max(((position - zero) as f64 - due).abs());
        }
    }
    let found = capture.status().drift().expect("a minute is enough");
    println!("{found:?}, at most {slip} frames off in 30 s");
    // Left alone, 30 s would be 576 frames off. The rest is the lateness of single stamps, and phase that is worked off.
    assert!(slip < 150.0, "{slip} frames off");
}

#[test]
fn a_second_card_follows_the_first_at_its_own_rate() {
    let bench = Bench::ready();
    let mut first = start(config("slower", SampleFormat::S16, Pick::Stereo)).unwrap();
    let second =
        start(Config { period: 1_152, ..config("faster", SampleFormat::S32, Pick::Stereo) }).unwrap();
    assert_eq!(second.status().report(now()).rate_hz, SampleRate::Hz48000.hz());
    let mut second = Follower::new(second, 480);
    let mut out = vec![0.0; 960];
    let (mut sound, mut silence, mut turns, mut last) = (0, 0, 0, Filled::Silence);
    let mut latency = (u64::MAX, 0);
    let mut look = |first: &mut mainstay_capture::Capture, air: bool| {
        let Next::Period(period) = first.next(PATIENCE) else { panic!("no period") };
        assert_eq!(period.kind, PeriodKind::Sound);
        let frames = period.samples.len();
        let out = &mut out[..frames];
        out.fill(9.0);
        let kind = if air { second.pull(out, period.stamp) } else { second.watch(out, period.stamp) };
        assert!(out.iter().all(|sample| sample.abs() < 2.0), "frames that were not filled");
        if kind == Filled::Silence {
            assert!(out.iter().all(|sample| *sample == 0.0));
        }
        (kind, second.latency().0, second.starved())
    };
    // Forty seconds, watched for the first ten: 700 ppm between the cards are 1350 frames in all.
    for number in 0..4_000 {
        let (kind, behind, starved) = look(&mut first, number > 1_000);
        turns += u32::from(kind != std::mem::replace(&mut last, kind));
        match kind {
            Filled::Sound => sound += 1,
            Filled::Silence => silence += 1,
        }
        if number > 200 {
            latency = (latency.0.min(behind), latency.1.max(behind));
        }
        assert_eq!(starved, 0, "at period {number}");
    }
    println!("{sound} with sound, {silence} before it; {latency:?} frames behind");
    assert!(turns == 1 && silence < 60, "{turns} turns, {silence} silent");
    // A period of each, 20 ms, and what is being worked off.
    assert!(latency.0 > 480 && latency.1 < 5_000, "{latency:?}");
    // It goes, and comes back.
    bench.unplug("faster");
    let mut patience = 200;
    while look(&mut first, true).0 == Filled::Sound && patience > 0 {
        patience -= 1;
    }
    assert!((0..100).all(|_| look(&mut first, true).0 == Filled::Silence));
    bench.plug_in("faster");
    patience = 400;
    while look(&mut first, true).0 == Filled::Silence && patience > 0 {
        patience -= 1;
    }
    assert!((0..100).all(|_| look(&mut first, true).0 == Filled::Sound), "it came back and went again");
}
