//! Gain in decibels, and a change of it that is not heard as a click.

use std::fmt;
use std::time::Duration;

use units::{Frames, SampleRate};

/// A gain in dB; 0 changes nothing. Always a number, between -60 and +60 dB.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Default)]
pub struct Gain(f32);

impl Gain {
    /// No change.
    pub const NONE: Self = Self(0.0);
    /// The most that there is, either way.
    pub const MOST_DB: f32 = 60.0;

    /// A gain of so many dB; what is no number is none, what is too much is cut to [`Gain::MOST_DB`].
    #[must_use]
    pub fn new(db: f32) -> Self {
        if db.is_nan() { Self::NONE } else { Self(db.clamp(-Self::MOST_DB, Self::MOST_DB)) }
    }

    /// In dB.
    #[must_use]
    pub const fn db(self) -> f32 {
        self.0
    }

    /// As a factor of amplitudes.
    #[must_use]
    pub fn factor(self) -> f32 {
        if self.0 == 0.0 { 1.0 } else { 10_f32.powf(self.0 / 20.0) }
    }
}

impl fmt::Display for Gain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.1} dB", self.0)
    }
}

/// A change of the trim takes so long.
const CHANGE: Duration = Duration::from_millis(50);

/// A factor that moves in a straight line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    now: f32,
    step: f32,
    to: f32,
    left: u64,
    change: u64,
}

impl Ramp {
    pub(super) fn new(factor: f32, rate: SampleRate) -> Self {
        let change = Frames::in_span(CHANGE, rate).0.max(1);
        Self { now: factor, step: 0.0, to: factor, left: 0, change }
    }

    pub(super) fn aim(&mut self, factor: f32) {
        self.aim_in(factor, self.change);
    }

    /// Reaches `factor` after so many frames.
    pub(super) fn aim_in(&mut self, factor: f32, frames: u64) {
        (self.to, self.left) = (factor, frames.max(1));
        self.step = (factor - self.now) / self.left as f32;
    }

    /// Whether it changes nothing.
    pub(super) fn is_unity(&self) -> bool {
        self.left == 0 && self.now == 1.0
    }

    /// Applies it to whole frames.
    pub(super) fn apply(&mut self, pcm: &mut [f32], channels: usize) {
        let moving = (self.left as usize).min(pcm.len() / channels);
        let (ramp, steady) = pcm.split_at_mut(moving * channels);
        for frame in ramp.chunks_exact_mut(channels) {
            self.left -= 1;
            self.now = if self.left == 0 { self.to } else { self.now + self.step };
            frame.iter_mut().for_each(|sample| *sample *= self.now);
        }
        if self.now != 1.0 {
            steady.iter_mut().for_each(|sample| *sample *= self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_straight_line_and_exact_at_its_end() {
        let mut ramp = Ramp::new(1.0, SampleRate::Hz48000);
        let mut pcm = vec![1.0_f32; 2 * 4800];
        ramp.apply(&mut pcm[..20], 2);
        assert_eq!(pcm[..20], [1.0; 20]);
        ramp.aim(Gain::new(-20.0).factor());
        for part in pcm[20..].chunks_mut(34) {
            ramp.apply(part, 2);
        }
        assert!(pcm.windows(3).all(|three| three[2] <= three[0] && three[0] - three[2] < 0.001));
        assert_eq!(pcm[2 * 10 + 2 * 2400 - 1], 0.1);
        assert_eq!(pcm[9599], 0.1);
        assert_eq!(Gain::new(f32::NAN), Gain::NONE);
        assert_eq!(Gain::NONE.factor(), 1.0);
    }
}
