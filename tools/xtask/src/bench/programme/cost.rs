//! What the chain costs beside LAME at 320 kbit/s: CPU time of one thread over the same sound, by turns.

use std::hint::black_box;

use anyhow::Result;
use encode::{Encoder, Options};
use nix::time::{ClockId, clock_gettime};
use programme::Meter;
use programme::fault::{Config, Watch};
use programme::levels_out::{Feed, Gain, LevellerConfig, LevelsOut, LevelsOutConfig};
use serde::{Deserialize, Serialize};
use units::{Channels, Lufs, SampleRate};

use super::super::clock;
use super::super::floor::RENDITION;

/// Frames of a period: two packets of MP3.
const PERIOD: usize = 2304;
const RATE: SampleRate = SampleRate::Hz48000;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Part {
    Lame,
    Watch,
    Meter,
    Leveller,
    Limiter,
    LimiterAtWork,
    Chain,
    ChainAtWork,
}

impl Part {
    pub(super) const ALL: [Self; 8] = [
        Self::Lame,
        Self::Watch,
        Self::Meter,
        Self::Leveller,
        Self::Limiter,
        Self::LimiterAtWork,
        Self::Chain,
        Self::ChainAtWork,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lame => "LAME, 320 kbit/s",
            Self::Watch => "all faults",
            Self::Meter => "levels and loudness, asked for 20 times a second",
            Self::Leveller => "leveller",
            Self::Limiter => "limiter",
            Self::LimiterAtWork => "limiter, driven by 12 dB",
            Self::Chain => "all of it",
            Self::ChainAtWork => "all of it, driven by 12 dB",
        }
    }

    /// What it may cost, in parts of LAME.
    pub(super) const fn most(self) -> Option<f64> {
        match self {
            Self::Lame | Self::Meter | Self::Leveller => None,
            Self::Watch => Some(0.03),
            Self::Limiter | Self::LimiterAtWork => Some(0.15),
            Self::Chain | Self::ChainAtWork => Some(0.6),
        }
    }
}

/// CPU seconds per hour of sound, all rounds of each part.
pub(super) fn run(pcm: &[f32], rounds: u32) -> Result<Vec<(Part, Vec<f64>)>> {
    let mut measured: Vec<(Part, Vec<f64>)> = Part::ALL.map(|part| (part, Vec::new())).into();
    for _ in 0..rounds {
        for (part, figures) in &mut measured {
            let before = cpu();
            turn(*part, pcm)?;
            let hours = pcm.len() as f64 / 2.0 / f64::from(RATE.hz()) / 3600.0;
            figures.push((cpu() - before) / hours);
        }
    }
    Ok(measured)
}

/// CPU time of this thread in seconds.
fn cpu() -> f64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(f64::NAN, |time| clock::seconds(clock::nanoseconds(time)))
}

fn turn(part: Part, pcm: &[f32]) -> Result<()> {
    let leveller = Lufs::new(-20.0).map(LevellerConfig::to);
    let limiter = LevelsOutConfig::for_feed(Feed::Raw);
    let driven = |config| LevelsOutConfig { trim: Gain::new(12.0), ..config };
    match part {
        Part::Lame => {
            let mut encoder = Encoder::new(RENDITION, Options::default())?;
            for period in pcm.chunks_exact(PERIOD * 2) {
                encoder.encode(period, &mut |packet| {
                    black_box(packet);
                })?;
            }
        }
        Part::Watch => chain(pcm, true, false, LevelsOutConfig::default())?,
        Part::Meter => chain(pcm, false, true, LevelsOutConfig::default())?,
        Part::Leveller => {
            chain(pcm, false, false, LevelsOutConfig { leveller, ..LevelsOutConfig::default() })?
        }
        Part::Limiter => chain(pcm, false, false, limiter)?,
        Part::LimiterAtWork => chain(pcm, false, false, driven(limiter))?,
        Part::Chain => chain(pcm, true, true, LevelsOutConfig { leveller, ..limiter })?,
        Part::ChainAtWork => chain(pcm, true, true, driven(LevelsOutConfig { leveller: None, ..limiter }))?,
    }
    Ok(())
}

fn chain(pcm: &[f32], watched: bool, metered: bool, config: LevelsOutConfig) -> Result<()> {
    let mut watch = watched.then(|| Watch::new(Config::default(), RATE, Channels::Stereo)).transpose()?;
    let mut meter = metered.then(|| Meter::new(Meter::HISTORY, RATE, Channels::Stereo)).transpose()?;
    let mut levels_out = LevelsOut::new(config, RATE, Channels::Stereo);
    let mut period = vec![0.0; PERIOD * 2];
    for samples in pcm.chunks_exact(PERIOD * 2) {
        period.copy_from_slice(samples);
        if let Some(watch) = &mut watch {
            black_box(watch.feed(&period));
        }
        levels_out.process(&mut period);
        if let Some(meter) = &mut meter {
            meter.feed(&period);
            black_box(meter.levels());
        }
        black_box(&period);
    }
    Ok(())
}
