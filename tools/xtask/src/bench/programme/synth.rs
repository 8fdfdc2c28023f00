//! Sounds to make clips of: the same every time, at 48 kHz, stereo as two channels.

use std::f64::consts::TAU;

/// Frames per second.
pub(super) const RATE: usize = 48_000;

/// Both channels.
#[derive(Clone, Debug, Default)]
pub(super) struct Sound {
    pub(super) left: Vec<f32>,
    pub(super) right: Vec<f32>,
}

/// A level in dB as an amplitude.
pub(super) fn amplitude(db: f64) -> f32 {
    10_f64.powf(db / 20.0) as f32
}

fn frames(seconds: f64) -> usize {
    (seconds * RATE as f64).round() as usize
}

impl Sound {
    /// The same in both channels; `sample` is told the time in seconds.
    pub(super) fn mono(seconds: f64, sample: impl FnMut(f64) -> f64) -> Self {
        Self::both(
            (0..frames(seconds)).map(|n| n as f64 / RATE as f64).map(sample).map(|s| s as f32).collect(),
        )
    }

    /// The same in both channels.
    pub(super) fn both(samples: Vec<f32>) -> Self {
        Self { left: samples.clone(), right: samples }
    }

    /// Interleaved 16-bit samples.
    pub(super) fn of_s16(samples: &[i16]) -> Self {
        let side =
            |side: usize| samples.iter().skip(side).step_by(2).map(|s| f32::from(*s) / 32_768.0).collect();
        Self { left: side(0), right: side(1) }
    }

    /// Digital zero.
    pub(super) fn zero(seconds: f64) -> Self {
        Self::both(vec![0.0; frames(seconds)])
    }

    /// White noise of an RMS level in dBFS, each channel its own.
    pub(super) fn noise(seconds: f64, dbfs: f64, seed: u64) -> Self {
        // Of even noise the RMS is its height over the root of three.
        let height = amplitude(dbfs) * 3_f32.sqrt();
        let channel = |seed| {
            let mut dice = Dice(seed);
            (0..frames(seconds)).map(|_| dice.sample() * height).collect()
        };
        Self { left: channel(seed), right: channel(seed ^ 0x5DEE_CE66) }
    }

    /// A sine in both channels; the level is its RMS.
    pub(super) fn tone(seconds: f64, hz: f64, dbfs: f64) -> Self {
        let height = f64::from(amplitude(dbfs)) * 2_f64.sqrt();
        Self::mono(seconds, |at| height * (TAU * hz * at).sin())
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    /// Its first seconds, from somewhere on, repeated where it is too short.
    pub(super) fn part(&self, from: f64, seconds: f64) -> Self {
        let take = |channel: &[f32]| {
            channel.iter().copied().cycle().skip(frames(from) % channel.len()).take(frames(seconds)).collect()
        };
        Self { left: take(&self.left), right: take(&self.right) }
    }

    /// What follows.
    pub(super) fn then(mut self, next: Self) -> Self {
        self.left.extend(next.left);
        self.right.extend(next.right);
        self
    }

    /// Both at once, from the beginning.
    pub(super) fn with(self, other: &Self) -> Self {
        self.with_at(0.0, other)
    }

    /// Adds another sound from somewhere on; what is beyond the end is left out.
    pub(super) fn with_at(mut self, from: f64, other: &Self) -> Self {
        for (own, other) in [(&mut self.left, &other.left), (&mut self.right, &other.right)] {
            for (own, other) in own.iter_mut().skip(frames(from)).zip(other) {
                *own += other;
            }
        }
        self
    }

    /// Each sample as something else; told the time in seconds.
    pub(super) fn map(mut self, mut change: impl FnMut(f64, f32, f32) -> (f32, f32)) -> Self {
        for (n, (left, right)) in self.left.iter_mut().zip(&mut self.right).enumerate() {
            (*left, *right) = change(n as f64 / RATE as f64, *left, *right);
        }
        self
    }

    /// Louder or softer.
    pub(super) fn gain(self, db: f64) -> Self {
        let gain = amplitude(db);
        self.map(|_, left, right| (left * gain, right * gain))
    }

    /// Brought to an RMS level, of all of it.
    pub(super) fn at_rms(self, dbfs: f64) -> Self {
        let squares = |channel: &[f32]| channel.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
        let rms = ((squares(&self.left) + squares(&self.right)) / (2 * self.len()).max(1) as f64).sqrt();
        self.gain(dbfs - 20.0 * rms.max(1e-9).log10())
    }

    /// A band of it: one-pole filters, twice each.
    pub(super) fn band(mut self, from_hz: f64, to_hz: f64) -> Self {
        for channel in [&mut self.left, &mut self.right] {
            for _ in 0..2 {
                let (low, high) = (one_pole(from_hz), one_pole(to_hz));
                let (mut below, mut upto) = (0.0_f64, 0.0_f64);
                for sample in channel.iter_mut() {
                    upto += (f64::from(*sample) - upto) * high;
                    below += (upto - below) * low;
                    *sample = (upto - below) as f32;
                }
            }
        }
        self
    }

    /// As a period of capture would carry it.
    pub(super) fn interleaved(&self) -> Vec<f32> {
        self.left.iter().zip(&self.right).flat_map(|(left, right)| [*left, *right]).collect()
    }
}

fn one_pole(hz: f64) -> f64 {
    1.0 - (-TAU * hz / RATE as f64).exp()
}

/// White noise between -1 and 1: xorshift64 (Marsaglia 2003).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn sample(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_what_they_say() {
        for sound in [Sound::noise(1.0, -20.0, 5), Sound::tone(1.0, 400.0, -20.0)] {
            let power = sound.right.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / sound.len() as f64;
            assert!((10.0 * power.log10() + 20.0).abs() < 0.1);
            assert_eq!(sound.interleaved().len(), 96_000);
        }
        let quiet = Sound::noise(1.0, -20.0, 5).band(300.0, 3400.0).at_rms(-35.0);
        let power = quiet.left.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / quiet.len() as f64;
        assert!((10.0 * power.log10() + 35.0).abs() < 0.3);
    }
}
