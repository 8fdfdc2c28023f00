//! Levels against what the standards say.

use std::f64::consts::TAU;

use units::{Dbfs, Lufs};

use super::*;

const RATE: SampleRate = SampleRate::Hz48000;

fn sine(hz: f64, dbfs: f64, seconds: f64, rate: SampleRate, channels: Channels) -> Vec<f32> {
    let peak = 10_f64.powf(dbfs / 20.0);
    (0..(seconds * f64::from(rate.hz())) as u64)
        .flat_map(|n| {
            let sample = (peak * (TAU * hz * n as f64 / f64::from(rate.hz())).sin()) as f32;
            std::iter::repeat_n(sample, channels.count())
        })
        .collect()
}

fn fed(history: Duration, pcm: &[f32], rate: SampleRate, channels: Channels) -> Levels {
    let mut meter = Meter::new(history, rate, channels).unwrap();
    // An odd period, so that nothing fits a window by chance.
    for part in pcm.chunks(441 * channels.count()) {
        meter.feed(part);
    }
    meter.levels()
}

fn near(found: Option<Lufs>, expected: f32) -> bool {
    found.is_some_and(|lufs| (lufs.lufs() - expected).abs() < 0.1)
}

/// EBU Tech 3341, case 1: a 1 kHz sine of -23 dBFS peak in both channels reads -23 LUFS on every scale.
#[test]
fn the_standards_tone_reads_what_it_should() {
    for rate in [SampleRate::Hz48000, SampleRate::Hz44100] {
        for channels in [Channels::Stereo, Channels::Mono] {
            let tone = sine(1000.0, -23.0, 20.0, rate, channels);
            let levels = fed(Meter::HISTORY, &tone, rate, channels);
            assert!(near(levels.momentary, -23.0), "{rate} {channels}: {levels:?}");
            assert!(near(levels.short_term, -23.0), "{rate} {channels}: {levels:?}");
            assert!(near(levels.integrated, -23.0), "{rate} {channels}: {levels:?}");
            assert_eq!(levels.peak.len(), channels.count());
            for channel in 0..channels.count() {
                assert!((levels.peak[channel].db() - -23.0).abs() < 0.1, "{levels:?}");
                assert!((levels.rms[channel].db() - -26.0).abs() < 0.1, "{levels:?}");
                assert!((levels.true_peak[channel].db() - -23.0).abs() < 0.2, "{levels:?}");
            }
        }
    }
}

/// EBU Tech 3341, case 3: -36, -23 and -36 dBFS for 10, 60 and 10 s read -23 LUFS integrated (the gate).
#[test]
fn quiet_passages_are_gated() {
    let mut tone = sine(1000.0, -36.0, 10.0, RATE, Channels::Stereo);
    tone.extend(sine(1000.0, -23.0, 60.0, RATE, Channels::Stereo));
    tone.extend(sine(1000.0, -36.0, 10.0, RATE, Channels::Stereo));
    let levels = fed(Meter::HISTORY, &tone, RATE, Channels::Stereo);
    assert!(near(levels.integrated, -23.0), "{levels:?}");
    assert!(near(levels.momentary, -36.0), "{levels:?}");
}

/// Our means of tenths are the library's own figures.
#[test]
fn momentary_and_short_term_are_the_librarys() {
    let mut pcm = sine(1000.0, -30.0, 2.0, RATE, Channels::Stereo);
    pcm.extend(sine(120.0, -14.0, 1.7, RATE, Channels::Stereo));
    pcm.extend(sine(5000.0, -20.0, 0.4, RATE, Channels::Stereo));
    let levels = fed(Meter::HISTORY, &pcm, RATE, Channels::Stereo);
    let mut library = EbuR128::new(2, RATE.hz(), Mode::S | Mode::I).unwrap();
    library.add_frames_f32(&pcm).unwrap();
    for (ours, theirs) in [
        (levels.momentary, library.loudness_momentary().unwrap()),
        (levels.short_term, library.loudness_shortterm().unwrap()),
        (levels.integrated, library.loudness_global().unwrap()),
    ] {
        assert!((ours.unwrap().lufs() - theirs as f32).abs() < 0.001, "{ours:?} {theirs}");
    }
}

#[test]
fn true_peak_sees_between_the_samples() {
    // A quarter of the sample rate at 45 degrees: samples reach 0.707 of the wave's height only.
    let pcm: Vec<f32> =
        (0..48_000).flat_map(|n| [(TAU * (f64::from(n) / 4.0 + 0.125)).sin() as f32 * 0.5; 2]).collect();
    let levels = fed(Meter::HISTORY, &pcm, RATE, Channels::Stereo);
    assert!((levels.peak[0].db() - -9.03).abs() < 0.1, "{levels:?}");
    assert!((levels.true_peak[0].db() - -6.02).abs() < 0.4, "{levels:?}");
}

#[test]
fn the_level_meters_forget_after_a_tenth_of_a_second() {
    let mut pcm = sine(1000.0, -3.0, 1.0, RATE, Channels::Stereo);
    pcm.extend(sine(1000.0, -40.0, 0.13, RATE, Channels::Stereo));
    let levels = fed(Meter::HISTORY, &pcm, RATE, Channels::Stereo);
    assert!((levels.peak[1].db() - -40.0).abs() < 0.1, "{levels:?}");
    assert!(levels.true_peak[1].db() < -39.0, "{levels:?}");
}

#[test]
fn integrated_loudness_forgets_what_is_older_than_its_history() {
    let mut pcm = sine(1000.0, -10.0, 10.0, RATE, Channels::Stereo);
    pcm.extend(sine(1000.0, -30.0, 10.0, RATE, Channels::Stereo));
    let short = fed(Duration::from_secs(5), &pcm, RATE, Channels::Stereo);
    assert!(near(short.integrated, -30.0), "{short:?}");
    let long = fed(Meter::HISTORY, &pcm, RATE, Channels::Stereo);
    assert!(near(long.integrated, -10.0), "{long:?}");
}

#[test]
fn digital_silence_is_finite_and_has_no_loudness() {
    let levels = fed(Meter::HISTORY, &vec![0.0; 48_000 * 2 * 21], RATE, Channels::Stereo);
    assert_eq!((levels.momentary, levels.short_term, levels.integrated), (None, None, None));
    assert_eq!(levels.peak, [Dbfs::FLOOR; 2]);
    assert_eq!(levels.rms, [Dbfs::FLOOR; 2]);
    assert_eq!(levels.true_peak, [Dbfs::FLOOR; 2]);
}

#[test]
fn what_is_no_number_does_not_stay_in_the_meters() {
    let mut pcm = sine(1000.0, -23.0, 10.0, RATE, Channels::Stereo);
    for (place, absurd) in [f32::NAN, f32::INFINITY, f32::MAX, f32::NEG_INFINITY].into_iter().enumerate() {
        pcm[4000 + place * 777] = absurd;
    }
    let levels = fed(Meter::HISTORY, &pcm, RATE, Channels::Stereo);
    assert!(near(levels.momentary, -23.0) && near(levels.short_term, -23.0), "{levels:?}");
    assert!(levels.integrated.is_some());
}
