//! One pass over the samples for everything that needs every sample: peak and power of each channel.

use units::{Channels, Dbfs};

/// Samples summed side by side, so that the compiler can use vectors: float sums are not reordered otherwise.
/// A multiple of the channels, so a lane belongs to one channel.
const LANES: usize = 8;

/// What a stretch of one channel is like.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Stretch {
    /// Highest absolute sample.
    pub(crate) peak: f32,
    /// Sum of the squares.
    pub(crate) power: f64,
    /// How many samples.
    pub(crate) samples: u32,
}

impl Stretch {
    /// Joins the stretch that follows.
    pub(crate) fn extend(&mut self, next: Self) {
        self.peak = self.peak.max(next.peak);
        self.power += next.power;
        self.samples += next.samples;
    }

    /// Highest sample.
    pub(crate) fn peak(self) -> Dbfs {
        decibels(f64::from(self.peak))
    }

    /// Root mean square; a full-scale sine reads -3.0 dBFS, a full-scale square wave 0.
    pub(crate) fn rms(self) -> Dbfs {
        decibels((self.power / f64::from(self.samples.max(1))).sqrt())
    }

    /// Whether every sample was a number that can be measured.
    pub(crate) const fn is_sound(self) -> bool {
        self.power.is_finite()
    }
}

/// A linear amplitude as a level.
pub(crate) fn decibels(amplitude: f64) -> Dbfs {
    Dbfs::new((20.0 * amplitude.log10()) as f32)
}

/// Measures interleaved `pcm`; the second channel of mono stays empty.
pub(crate) fn scan(pcm: &[f32], channels: Channels) -> [Stretch; 2] {
    let mut peak = [0.0_f32; LANES];
    let mut power = [0.0_f32; LANES];
    let (whole, rest) = pcm.as_chunks::<LANES>();
    for lanes in whole {
        for lane in 0..LANES {
            let sample = lanes[lane];
            peak[lane] = if sample.abs() > peak[lane] { sample.abs() } else { peak[lane] };
            power[lane] += sample * sample;
        }
    }
    for (lane, sample) in rest.iter().enumerate() {
        peak[lane] = peak[lane].max(sample.abs());
        power[lane] += sample * sample;
    }
    let count = channels.count();
    let mut stretches = [Stretch::default(); 2];
    for lane in 0..LANES {
        let stretch = &mut stretches[lane % count];
        stretch.peak = stretch.peak.max(peak[lane]);
        stretch.power += f64::from(power[lane]);
    }
    for stretch in &mut stretches[..count] {
        stretch.samples = (pcm.len() / count) as u32;
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_kept_apart() {
        let pcm: Vec<f32> = (0..101).flat_map(|n| [if n % 2 == 0 { 0.5 } else { -0.5 }, 0.25]).collect();
        let [left, right] = scan(&pcm, Channels::Stereo);
        assert_eq!((left.peak, right.peak, left.samples), (0.5, 0.25, 101));
        assert!((left.rms().db() - -6.02).abs() < 0.01);
        assert!((right.rms().db() - -12.04).abs() < 0.01);
        let [mono, none] = scan(&pcm, Channels::Mono);
        assert_eq!((mono.samples, none.samples), (202, 0));
    }

    #[test]
    fn what_is_no_number_shows() {
        assert!(!scan(&[0.0, f32::NAN, 0.0], Channels::Mono)[0].is_sound());
        assert!(!scan(&[0.0, f32::INFINITY, 0.0], Channels::Mono)[0].is_sound());
        assert!(!scan(&[f32::MAX; 3], Channels::Mono)[0].is_sound());
        assert!(scan(&[], Channels::Stereo)[1].is_sound());
    }
}
