//! Capture from the test card (`tests/card/card.c`), whose samples spell the number of the frame they belong to: however
//! the card is treated, frame n of the programme has to be frame n + k of the card, with one k for the whole run.
//!
//! The card keeps real time, so these tests take real seconds; what they assert is positions, never durations.

mod bench;

use std::fs;
use std::time::Duration;

use bench::{Bench, Listener, PATIENCE, config};
use mainstay_capture::{Clock, Config, Error, Input, Next, PeriodKind, Pick, SampleFormat, now, start};
use units::snapshot::InputState;
use units::{Dbfs, SampleRate};

#[test]
fn every_format_is_bit_exact_and_contiguous() {
    Bench::ready();
    for format in [SampleFormat::Auto, SampleFormat::S16, SampleFormat::S24, SampleFormat::S32] {
        let mut listener = Listener::start(config("formats", format, Pick::Stereo));
        listener.hear_frames(24_000);
        listener.agrees();
        assert_eq!(listener.state(), InputState::Capturing);
        let report = listener.capture.status().report(now());
        assert_eq!((report.rate_hz, report.channels, report.period), (48_000, 2, 480));
        assert!(listener.sound > 0, "{format:?}");
    }
}

#[test]
fn an_overrun_is_counted_to_the_frame() {
    let bench = Bench::ready();
    let mut listener = Listener::start(config("overrun", SampleFormat::S16, Pick::Stereo));
    for round in 1..=5 {
        listener.hear_frames(9_600);
        bench.order("overrun", "overrun 100");
        listener.hear_until(PeriodKind::Silence);
        listener.hear_until(PeriodKind::Sound);
        let report = listener.capture.status().report(now());
        assert!(report.xruns >= round && report.gaps >= round, "{report:?}");
        // 100 ms of silence on the card's side is the least that can be missing.
        assert!(listener.silence >= round * 4_800, "{} frames", listener.silence);
        listener.agrees();
    }
    listener.hear_frames(9_600);
    listener.agrees();
}

#[test]
fn a_card_that_falls_silent_is_opened_again() {
    let bench = Bench::ready();
    let mut listener = Listener::start(config("stall", SampleFormat::S32, Pick::Stereo));
    listener.hear_frames(9_600);
    bench.order("stall", "stall 2000");
    listener.hear_until(PeriodKind::Silence);
    listener.hear_until(PeriodKind::Sound);
    listener.hear_frames(4_800);
    listener.agrees();
    assert_eq!(listener.state(), InputState::Capturing);
}

#[test]
fn an_unplugged_card_comes_back_on_its_frame() {
    let bench = Bench::ready();
    let mut listener = Listener::start(config("unplug", SampleFormat::S32, Pick::Stereo));
    for gaps in 1..=3 {
        listener.hear_frames(9_600);
        bench.unplug("unplug");
        listener.hear_until(PeriodKind::Silence);
        // Silence goes on at the pace of time while the card is away.
        listener.hear_frames(24_000);
        assert!(matches!(listener.state(), InputState::Lost { .. }));
        bench.plug_in("unplug");
        listener.hear_until(PeriodKind::Sound);
        assert_eq!(listener.state(), InputState::Capturing);
        listener.agrees();
        assert_eq!(listener.capture.status().report(now()).gaps, gaps);
    }
}

#[test]
fn a_card_that_comes_late_is_waited_for() {
    let bench = Bench::ready();
    bench.unplug("late");
    let mut listener = Listener::start(config("late", SampleFormat::Auto, Pick::Stereo));
    let InputState::Lost { why, .. } = listener.state() else { panic!("{:?}", listener.state()) };
    assert!(why.contains("late") && why.contains("arecord -L"), "{why}");
    assert!(listener.capture.warnings().iter().any(|warning| warning.contains("plug it in")));
    listener.hear_frames(14_400);
    assert_eq!(listener.sound, 0);
    bench.plug_in("late");
    listener.hear_until(PeriodKind::Sound);
    listener.hear_frames(9_600);
    listener.agrees();
}

#[test]
fn a_slow_reader_gets_a_gap_and_the_card_none() {
    Bench::ready();
    let mut listener = Listener::start(config("held", SampleFormat::S16, Pick::Stereo));
    listener.hear_frames(4_800);
    let status = listener.capture.status();
    // The ring holds a second: its first lost period shows in the counters, and the reader stays away for that long.
    let before = status.report(now()).frames.0;
    let mut patience = 600;
    while status.report(now()).gap_frames.0 < 4_800 && patience > 0 {
        nothing_for(Duration::from_millis(10));
        patience -= 1;
    }
    let report = status.report(now());
    assert_eq!((report.gaps, report.xruns), (1, 0), "{report:?}");
    assert!(report.frames.0 - before >= 48_000);
    listener.hear_until(PeriodKind::Silence);
    listener.hear_until(PeriodKind::Sound);
    listener.hear_frames(4_800);
    listener.agrees();
}

/// Waits without the standard library's sleep, which the house forbids.
fn nothing_for(span: Duration) {
    std::thread::park_timeout(span);
}

#[test]
fn what_a_card_does_not_offer_is_refused_with_what_it_does() {
    Bench::ready();
    let refused = |config| match start(config) {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    };
    let text = refused(config("cd_rate", SampleFormat::Auto, Pick::Stereo));
    assert!(text.contains("48000") && text.contains("44100"), "{text}");
    let text = refused(config("one_channel", SampleFormat::Auto, Pick::MonoMix));
    assert!(text.contains("1 channels") && text.contains("pick mono"), "{text}");
}

#[test]
fn a_one_channel_card_is_heard() {
    Bench::ready();
    let mut capture = start(config("one_channel", SampleFormat::S16, Pick::Mono)).unwrap();
    let mut last: Option<u16> = None;
    for _ in 0..30 {
        let Next::Period(period) = capture.next(PATIENCE) else { panic!("no period") };
        for sample in period.samples {
            let card = (sample * 32_768.0) as i16 as u16;
            assert!(last.is_none_or(|last| last.wrapping_add(1) == card), "{card} after {last:?}");
            last = Some(card);
        }
    }
}

#[test]
fn a_paced_tone_has_no_seam_and_keeps_its_stamps() {
    let input = Input::Tone { hz: 1_000.0, level: Dbfs::new(-20.0) };
    let mut capture = start(Config {
        input,
        rate: SampleRate::Hz48000,
        pick: Pick::Stereo,
        period: 480,
        clock: Clock::Report,
    })
    .unwrap();
    let mut before: Option<(u64, u64)> = None;
    for _ in 0..50 {
        let Next::Period(period) = capture.next(PATIENCE) else { panic!("no period") };
        let (first, stamp) = (period.first.0, period.stamp.as_micros());
        assert!(period.samples.chunks_exact(2).all(|frame| frame[0] == frame[1]));
        if let Some((frame, micros)) = before {
            // 480 frames are 10 ms by the stamps, however late the thread was woken.
            assert_eq!(first, frame + 480);
            assert!((stamp - micros).abs_diff(10_000) <= 1, "{} us", stamp - micros);
        }
        before = Some((first, stamp));
    }
}

#[test]
fn a_vanished_file_ends_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.wav");
    // Half a second of mono silence, so that the loop comes round while the test looks.
    let data = vec![0_u8; 48_000];
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav[4..8].copy_from_slice(&(36 + data.len() as u32).to_le_bytes());
    wav.extend(48_000_u32.to_le_bytes());
    wav.extend(96_000_u32.to_le_bytes());
    wav.extend([2, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    fs::write(&path, wav).unwrap();
    let input = Input::File { path: path.clone() };
    let mut capture = start(Config {
        input,
        rate: SampleRate::Hz48000,
        pick: Pick::Stereo,
        period: 480,
        clock: Clock::Report,
    })
    .unwrap();
    assert!(matches!(capture.next(PATIENCE), Next::Period(_)));
    fs::remove_file(&path).unwrap();
    for _ in 0..1_000 {
        match capture.next(PATIENCE) {
            Next::Period(_) => {}
            Next::Nothing => panic!("it fell silent without a reason"),
            Next::Ended(error) => {
                assert!(error.to_string().contains("short.wav"), "{error}");
                return;
            }
        }
    }
    panic!("it goes on without its file");
}
