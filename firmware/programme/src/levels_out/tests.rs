//! The chain as a whole: what never leaves it, what it leaves alone, and where it brings a programme.

use std::f64::consts::{PI, TAU};

use units::{Dbfs, Lufs};

use super::*;
use crate::levels::Meter;

const RATE: SampleRate = SampleRate::Hz48000;

/// Taps to each side of the measure's own filter, and how often it looks between two samples: 16 times.
const REACH: isize = 64;
const BETWEEN: isize = 16;

/// The highest point of one channel, in dB; by a filter that shares nothing with the limiter's.
fn true_peak(samples: &[f32]) -> f64 {
    let mut highest = 0.0_f64;
    for between in 0..BETWEEN {
        let offset = between as f64 / BETWEEN as f64;
        let taps: Vec<f64> = (-REACH + 1..=REACH)
            .map(|tap| {
                let at = offset - tap as f64;
                let sinc = if at == 0.0 { 1.0 } else { (PI * at).sin() / (PI * at) };
                // Blackman's window.
                let place = (at / (REACH as f64 + 1.0) + 1.0) / 2.0;
                sinc * (0.42 - 0.5 * (TAU * place).cos() + 0.08 * (2.0 * TAU * place).cos())
            })
            .collect();
        for around in samples.windows(taps.len()) {
            let point: f64 = around.iter().zip(&taps).map(|(sample, tap)| f64::from(*sample) * tap).sum();
            highest = highest.max(point.abs());
        }
    }
    20.0 * highest.log10()
}

fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

fn limited(gain: f32, samples: &[f32]) -> Vec<f32> {
    let config = LevelsOutConfig { trim: Gain::new(gain), ..LevelsOutConfig::for_feed(Feed::Raw) };
    let mut chain = LevelsOut::new(config, RATE, Channels::Mono);
    let mut out = samples.to_vec();
    // Periods that fit no block.
    out.chunks_mut(441).for_each(|part| chain.process(part));
    out
}

#[test]
fn nothing_is_over_the_ceiling_between_samples_either() {
    const LENGTH: usize = 24_000;
    let mut dice = noise(7);
    let white: Vec<f32> = (0..LENGTH).map(|_| dice()).collect();
    let hard: Vec<f32> = white.iter().map(|sample| sample.signum()).collect();
    let tone = |hz: f64, phase: f64| -> Vec<f32> {
        (0..LENGTH).map(|n| (TAU * (hz * n as f64 / 48_000.0 + phase)).sin() as f32).collect()
    };
    let square: Vec<f32> = tone(441.3, 0.01).iter().map(|sample| sample.signum()).collect();
    let mut bursts = tone(12_000.0, 0.125);
    bursts
        .iter_mut()
        .enumerate()
        .for_each(|(n, sample)| *sample *= if n / 700 % 3 == 0 { 1.0 } else { 0.01 });
    for (what, samples) in [
        ("white noise", white),
        ("noise of two values", hard),
        ("a square wave", square),
        ("a sine between the samples", tone(12_000.0, 0.125)),
        ("bursts of it", bursts),
        ("a sine near half the rate", tone(21_100.0, 0.1)),
    ] {
        for gain in [0.0, 9.0] {
            let out = limited(gain, &samples);
            let found = true_peak(&out[600..]);
            assert!(found <= -1.0, "{what} at {gain:+} dB: {found:.3} dBTP");
            assert!(found > -3.0, "{what} at {gain:+} dB: {found:.3} dBTP is needlessly low");
        }
    }
}

#[test]
fn what_is_under_the_ceiling_is_only_delayed() {
    let mut dice = noise(3);
    let samples: Vec<f32> = (0..9600).map(|_| dice() * 0.3).collect();
    let mut chain = LevelsOut::new(LevelsOutConfig::for_feed(Feed::Raw), RATE, Channels::Stereo);
    let mut out = samples.clone();
    out.chunks_mut(2 * 333).for_each(|part| chain.process(part));
    let late = chain.latency().0 as usize * 2;
    assert_eq!(late, 2 * 271, "5 ms and half a filter");
    assert_eq!(out[..late], vec![0.0; late]);
    assert_eq!(out[late..], samples[..samples.len() - late]);
    assert_eq!(chain.take_limited(), Some(Gain::NONE));
}

#[test]
fn sound_is_unchanged_again_after_a_peak() {
    let mut samples: Vec<f32> = vec![0.2; 96_000];
    samples[1000..1010].fill(1.5);
    let out = limited(0.0, &samples);
    assert!(out[1271..1281].iter().all(|sample| *sample < 0.9), "{:?}", &out[1271..1281]);
    assert_eq!(out[1000], 0.2, "before the look-ahead");
    assert!(out[1240] < 0.15, "the gain is there before the peak");
    assert_eq!(out[95_999], 0.2, "let go");
    let mut chain = LevelsOut::new(LevelsOutConfig::for_feed(Feed::Raw), RATE, Channels::Mono);
    chain.process(&mut samples.clone()[..4000]);
    let least = chain.take_limited().unwrap().db();
    assert!((-7.0..-3.0).contains(&least), "{least}");
}

#[test]
fn a_processed_feed_is_not_touched() {
    let mut chain = LevelsOut::new(LevelsOutConfig::for_feed(Feed::Processed), RATE, Channels::Stereo);
    let mut pcm = [1.7, -0.3, f32::MIN_POSITIVE, 0.0];
    chain.process(&mut pcm);
    assert_eq!(pcm, [1.7, -0.3, f32::MIN_POSITIVE, 0.0]);
    assert_eq!((chain.latency(), chain.is_active()), (Frames(0), false));
    chain.set_trim(Gain::new(-6.0206));
    let mut pcm = vec![1.0; 2 * 4800];
    chain.process(&mut pcm);
    assert!((pcm[9599] - 0.5).abs() < 1e-4);
}

#[test]
fn what_is_no_number_does_not_stay() {
    let config = LevelsOutConfig {
        leveller: Some(LevellerConfig::to(Lufs::new(-20.0).unwrap())),
        ..LevelsOutConfig::for_feed(Feed::Raw)
    };
    let mut chain = LevelsOut::new(config, RATE, Channels::Stereo);
    let mut pcm: Vec<f32> = vec![0.1; 96_000];
    (pcm[500], pcm[501], pcm[777]) = (f32::NAN, f32::INFINITY, f32::MAX);
    chain.process(&mut pcm);
    assert!(pcm.iter().all(|sample| sample.is_finite() && sample.abs() <= 0.9));
    assert_eq!(pcm[95_999], 0.1);
}

#[test]
fn the_leveller_brings_a_programme_to_its_target_and_waits_in_pauses() {
    let target = Lufs::new(-20.0).unwrap();
    let config = LevelsOutConfig { leveller: Some(LevellerConfig::to(target)), ..LevelsOutConfig::default() };
    for (level, expected) in [(-25.0_f64, -20.0), (-12.0, -20.0), (-32.0, -26.0)] {
        let mut chain = LevelsOut::new(config, RATE, Channels::Stereo);
        let mut meter = Meter::new(Meter::HISTORY, RATE, Channels::Stereo).unwrap();
        let amplitude = 10_f64.powf(level / 20.0);
        for second in 0..40 {
            let mut pcm: Vec<f32> = (0..48_000)
                .flat_map(|n| [(TAU * 1000.0 * f64::from(n) / 48_000.0).sin() * amplitude; 2])
                .map(|sample| sample as f32)
                .collect();
            if second % 8 == 7 {
                let before = chain.levelled();
                pcm.iter_mut().for_each(|sample| *sample *= 0.001);
                chain.process(&mut pcm);
                assert_eq!(chain.levelled(), before, "a pause");
            } else {
                chain.process(&mut pcm);
                meter.feed(&pcm);
            }
        }
        let found = meter.levels().short_term.unwrap().lufs();
        assert!((found - expected).abs() < 0.7, "{level}: {found}");
    }
}

#[test]
fn the_ceiling_can_be_set() {
    let mut dice = noise(11);
    let config = LevelsOutConfig {
        limiter: Some(LimiterConfig { ceiling: Dbfs::new(-3.0), ..LimiterConfig::default() }),
        ..LevelsOutConfig::default()
    };
    let mut chain = LevelsOut::new(config, SampleRate::Hz44100, Channels::Mono);
    let mut pcm: Vec<f32> = (0..9000).map(|_| dice()).collect();
    chain.process(&mut pcm);
    assert!(true_peak(&pcm[500..]) <= -3.0);
}
