//! Levels out: trim, slow leveller and true-peak limiter, after the faults were watched and before meters and encoders.

mod gain;
mod leveller;
mod limiter;
mod propose;
#[cfg(test)]
mod tests;
mod true_peak;

use units::{Channels, Frames, SampleRate};

use self::gain::Ramp;
use self::leveller::Leveller;
use self::limiter::Limiter;
use self::true_peak::BLOCK;
use crate::levels::{LOUDEST, clean};

pub use self::gain::Gain;
pub use self::leveller::LevellerConfig;
pub use self::limiter::LimiterConfig;
pub use self::propose::{Calibration, Headroom, Measured, Short, TrimProposal, trim_to, trim_to_match};

/// What comes out of the studio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Feed {
    /// A finished programme, from an audio processor: its levels are meant, nothing touches them.
    #[default]
    Processed,
    /// A console's output: faders may rise over full scale.
    Raw,
}

/// What is done to the levels.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LevelsOutConfig {
    /// Gain before all else.
    pub trim: Gain,
    /// The slow leveller. Default off.
    pub leveller: Option<LevellerConfig>,
    /// The limiter. Default off for a processed feed, on for a raw one.
    pub limiter: Option<LimiterConfig>,
}

impl LevelsOutConfig {
    /// The defaults for a feed.
    #[must_use]
    pub fn for_feed(feed: Feed) -> Self {
        let limiter = match feed {
            Feed::Processed => None,
            Feed::Raw => Some(LimiterConfig::default()),
        };
        Self { trim: Gain::NONE, leveller: None, limiter }
    }
}

/// The chain of one programme. All memory is taken at the start.
#[derive(Clone, Debug)]
pub struct LevelsOut {
    channels: usize,
    trim: Gain,
    ramp: Ramp,
    leveller: Option<Leveller>,
    limiter: Option<Limiter>,
}

impl LevelsOut {
    /// A chain at rest.
    #[must_use]
    pub fn new(config: LevelsOutConfig, rate: SampleRate, channels: Channels) -> Self {
        Self {
            channels: channels.count(),
            trim: config.trim,
            ramp: Ramp::new(config.trim.factor(), rate),
            leveller: config.leveller.map(|config| Leveller::new(config, rate, channels)),
            limiter: config.limiter.map(|config| Limiter::new(config, rate, channels)),
        }
    }

    /// Changes interleaved whole frames in place. What comes out is [`LevelsOut::latency`] frames behind what went in; it
    /// begins with so much silence. What is no number becomes silence, unless nothing is to be done at all.
    pub fn process(&mut self, pcm: &mut [f32]) {
        if !self.is_active() {
            return;
        }
        for block in pcm.chunks_mut(BLOCK * self.channels) {
            if !block.iter().fold(true, |sound, sample| sound & (sample.abs() <= LOUDEST)) {
                block.iter_mut().for_each(|sample| *sample = clean(*sample));
            }
            self.ramp.apply(block, self.channels);
            if let Some(leveller) = &mut self.leveller {
                leveller.block(block);
            }
            if let Some(limiter) = &mut self.limiter {
                limiter.block(block);
            }
        }
    }

    /// By how many frames the output is behind the input: constant, 0 without a limiter, else 5.6 ms.
    #[must_use]
    pub fn latency(&self) -> Frames {
        self.limiter.as_ref().map_or(Frames(0), Limiter::latency)
    }

    /// Whether anything is done: if not, samples are left as they are.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.trim != Gain::NONE || !self.ramp.is_unity() || self.leveller.is_some() || self.limiter.is_some()
    }

    /// Changes the trim, within 50 ms and without a click.
    pub fn set_trim(&mut self, trim: Gain) {
        self.trim = trim;
        self.ramp.aim(trim.factor());
    }

    /// The trim.
    #[must_use]
    pub const fn trim(&self) -> Gain {
        self.trim
    }

    /// What the leveller does now; `None` without one.
    #[must_use]
    pub fn levelled(&self) -> Option<Gain> {
        self.leveller.as_ref().map(Leveller::gain)
    }

    /// The most that the limiter did since this was last asked; `None` without one.
    pub fn take_limited(&mut self) -> Option<Gain> {
        self.limiter.as_mut().map(|limiter| Gain::new(20.0 * limiter.take_least().log10()))
    }
}
