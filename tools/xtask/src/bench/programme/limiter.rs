//! The limiter's output, looked at between the samples by a filter that shares nothing with its own: 8 times oversampled,
//! 128 taps, in double precision.

use std::f64::consts::{PI, TAU};

use programme::levels_out::{Feed, Gain, LevelsOut, LevelsOutConfig, LimiterConfig};
use units::{Channels, Dbfs, SampleRate};

use super::clips::Studio;
use super::synth::{Dice, RATE};

const BETWEEN: usize = 8;
const REACH: usize = 64;
/// Points are only looked for beside samples this high, compared with the highest: with both neighbours lower no signal below
/// half the sample rate gets near the highest.
const WORTH: f32 = 0.25;

/// What one signal came to.
pub(super) struct Row {
    pub(super) signal: String,
    pub(super) ceiling: f64,
    /// Highest true peak over all gains, in dBTP.
    pub(super) highest: f64,
    /// Highest true peak that went in.
    pub(super) fed: f64,
}

impl Row {
    pub(super) fn is_met(&self) -> bool {
        self.highest <= self.ceiling
    }
}

/// What the limiter is driven with, in dB.
const GAINS: [f32; 2] = [0.0, 12.0];

/// All signals under the usual ceiling, and noise under others.
pub(super) fn run(studio: &Studio) -> Vec<Row> {
    let meter = Oversampled::new();
    let mut rows = Vec::new();
    for (number, (signal, samples)) in signals(studio).into_iter().enumerate() {
        let ceilings = if number == 0 { [-1.0, -0.1, -3.0].as_slice() } else { &[-1.0] };
        let fed = meter.true_peak(&samples) + f64::from(GAINS[1]);
        for ceiling in ceilings.iter().copied() {
            let highest = GAINS
                .into_iter()
                .map(|gain| meter.true_peak(&limited(&samples, gain, ceiling)))
                .fold(f64::NEG_INFINITY, f64::max);
            rows.push(Row { signal: signal.clone(), ceiling, highest, fed });
        }
    }
    rows
}

fn signals(studio: &Studio) -> Vec<(String, Vec<f32>)> {
    let length = RATE / 4;
    let mut dice = Dice(0x1234_5678);
    let white: Vec<f32> = (0..length).map(|_| dice.sample()).collect();
    let two: Vec<f32> = (0..length).map(|_| dice.sample().signum()).collect();
    let sparse: Vec<f32> =
        (0..length).map(|_| if dice.sample() > 0.99 { dice.sample().signum() } else { 0.0 }).collect();
    let sine = |hz: f64, phase: f64| -> Vec<f32> {
        (0..length).map(|n| (TAU * (hz * n as f64 / RATE as f64 + phase)).sin() as f32).collect()
    };
    let square = |hz: f64| -> Vec<f32> { sine(hz, 1e-3).iter().map(|sample| sample.signum()).collect() };
    let mut signals = vec![
        ("white noise".to_owned(), white),
        ("noise of two values".to_owned(), two),
        ("sparse clicks".to_owned(), sparse),
    ];
    for hz in [50.0, 441.0, 1000.0, 4321.0, 11_999.0] {
        signals.push((format!("square wave, {hz} Hz"), square(hz)));
    }
    for (hz, phase) in [
        (12_000.0, 0.125),
        (8000.0, 1.0 / 12.0),
        (6000.0, 3.0 / 16.0),
        (16_000.0, 0.25),
        (20_000.0, 0.1),
        (997.0, 0.0),
    ] {
        signals.push((format!("sine, {hz} Hz, between the samples"), sine(hz, phase)));
    }
    let bursts: Vec<f32> = sine(12_000.0, 0.125)
        .iter()
        .enumerate()
        .map(|(n, sample)| if n / 500 % 3 == 0 { *sample } else { *sample * 0.01 })
        .collect();
    signals.push(("bursts of a sine, 12000 Hz".to_owned(), bursts));
    signals.push(("a band".to_owned(), studio.music(0.5).gain(12.0).left));
    signals
}

fn limited(samples: &[f32], gain: f32, ceiling: f64) -> Vec<f32> {
    let config = LevelsOutConfig {
        trim: Gain::new(gain),
        limiter: Some(LimiterConfig { ceiling: Dbfs::new(ceiling as f32), ..LimiterConfig::default() }),
        ..LevelsOutConfig::for_feed(Feed::Raw)
    };
    let mut chain = LevelsOut::new(config, SampleRate::Hz48000, Channels::Mono);
    let mut out = samples.to_vec();
    // A packet of MP3 does not fit the look-ahead.
    out.chunks_mut(1152).for_each(|period| chain.process(period));
    out
}

/// Filters for the points between two samples.
struct Oversampled {
    filters: Vec<Vec<f64>>,
}

impl Oversampled {
    fn new() -> Self {
        let filter = |between: usize| {
            let offset = between as f64 / BETWEEN as f64;
            (0..2 * REACH)
                .map(|tap| {
                    let at = offset - (tap as f64 - (REACH as f64 - 1.0));
                    let sinc = if at == 0.0 { 1.0 } else { (PI * at).sin() / (PI * at) };
                    // Blackman's window.
                    let place = (at / REACH as f64 + 1.0) / 2.0;
                    sinc * (0.42 - 0.5 * (TAU * place).cos() + 0.08 * (2.0 * TAU * place).cos())
                })
                .collect()
        };
        Self { filters: (0..BETWEEN).map(filter).collect() }
    }

    /// In dBTP.
    fn true_peak(&self, samples: &[f32]) -> f64 {
        let highest = samples.iter().fold(0.0_f32, |highest, sample| sample.abs().max(highest));
        let mut peak = f64::from(highest);
        for around in samples.windows(2 * REACH) {
            if around[REACH - 1].abs().max(around[REACH].abs()) < highest * WORTH {
                continue;
            }
            for filter in &self.filters {
                let mut point = 0.0;
                for tap in 0..2 * REACH {
                    point += f64::from(around[tap]) * filter[tap];
                }
                peak = peak.max(point.abs());
            }
        }
        20.0 * peak.log10()
    }
}
