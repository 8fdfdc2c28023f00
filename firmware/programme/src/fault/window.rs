//! One pass over the samples of a line: what all faults together need of them.

use units::{Channels, Dbfs, Frames};

use crate::scan::decibels;

/// Samples summed side by side, so that the compiler can use vectors. A multiple of the channels.
const LANES: usize = 8;

/// What a stretch of one channel is like.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Stretch {
    /// Sum of the squares.
    pub(crate) power: f64,
    /// Sum of the samples.
    pub(crate) sum: f64,
    /// Highest sample; not under zero.
    pub(crate) top: f32,
    /// Lowest sample; not over zero.
    pub(crate) bottom: f32,
}

/// What a stretch of the line is like.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Window {
    pub(crate) frames: u32,
    /// The second one of mono stays empty.
    pub(crate) channels: [Stretch; 2],
    /// Sum of left times right.
    pub(crate) product: f64,
}

/// Power of a window without its mean: what is heard of a card whose converter adds a constant.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Heard {
    /// Mean squares.
    pub(crate) power: [f64; 2],
    /// Mean of left times right.
    pub(crate) product: f64,
    pub(crate) frames: Frames,
}

impl Window {
    /// Measures interleaved `pcm`.
    pub(crate) fn of(pcm: &[f32], channels: Channels) -> Self {
        let mut power = [0.0_f32; LANES];
        let mut sum = [0.0_f32; LANES];
        let mut top = [0.0_f32; LANES];
        let mut bottom = [0.0_f32; LANES];
        let mut product = [0.0_f32; LANES / 2];
        let (whole, rest) = pcm.as_chunks::<LANES>();
        for lanes in whole {
            for lane in 0..LANES {
                let sample = lanes[lane];
                power[lane] += sample * sample;
                sum[lane] += sample;
                top[lane] = if sample > top[lane] { sample } else { top[lane] };
                bottom[lane] = if sample < bottom[lane] { sample } else { bottom[lane] };
            }
            // Of mono it is no use and not looked at.
            for pair in 0..LANES / 2 {
                product[pair] += lanes[2 * pair] * lanes[2 * pair + 1];
            }
        }
        for (lane, sample) in rest.iter().enumerate() {
            power[lane] += sample * sample;
            sum[lane] += sample;
            top[lane] = top[lane].max(*sample);
            bottom[lane] = bottom[lane].min(*sample);
        }
        for (pair, frame) in rest.as_chunks::<2>().0.iter().enumerate() {
            product[pair] += frame[0] * frame[1];
        }
        let count = channels.count();
        let mut window = Self { frames: (pcm.len() / count) as u32, ..Self::default() };
        for lane in 0..LANES {
            let stretch = &mut window.channels[lane % count];
            stretch.power += f64::from(power[lane]);
            stretch.sum += f64::from(sum[lane]);
            stretch.top = stretch.top.max(top[lane]);
            stretch.bottom = stretch.bottom.min(bottom[lane]);
        }
        window.product = match channels {
            Channels::Mono => 0.0,
            Channels::Stereo => product.iter().copied().map(f64::from).sum(),
        };
        window
    }

    /// Joins the stretch that follows.
    pub(crate) fn extend(&mut self, next: &Self) {
        self.frames += next.frames;
        self.product += next.product;
        for (stretch, next) in self.channels.iter_mut().zip(next.channels) {
            stretch.power += next.power;
            stretch.sum += next.sum;
            stretch.top = stretch.top.max(next.top);
            stretch.bottom = stretch.bottom.min(next.bottom);
        }
    }

    /// Whether every sample was a number that can be measured.
    pub(crate) const fn is_sound(&self) -> bool {
        self.channels[0].power.is_finite() && self.channels[1].power.is_finite()
    }

    /// Mean of a channel's samples.
    pub(crate) fn mean(&self, channel: usize) -> f64 {
        self.channels[channel].sum / f64::from(self.frames.max(1))
    }

    /// What is heard of it.
    pub(crate) fn heard(&self) -> Heard {
        let frames = f64::from(self.frames.max(1));
        let mean = [self.mean(0), self.mean(1)];
        let power = [0, 1]
            .map(|channel| (self.channels[channel].power / frames - mean[channel] * mean[channel]).max(0.0));
        let product = self.product / frames - mean[0] * mean[1];
        Heard { power, product, frames: Frames(u64::from(self.frames)) }
    }
}

impl Heard {
    /// Level of the louder channel.
    pub(crate) fn level(&self) -> Dbfs {
        level(self.power[0].max(self.power[1]))
    }
}

/// A power as a level.
pub(crate) fn level(power: f64) -> Dbfs {
    decibels(power.sqrt())
}

/// A level as a power.
pub(crate) fn power(level: Dbfs) -> f64 {
    10_f64.powf(f64::from(level.db()) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_two_parts_is_the_window() {
        let pcm: Vec<f32> =
            (0..1922_u32).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 16) as f32 / 65536.0 - 0.4).collect();
        let whole = Window::of(&pcm, Channels::Stereo);
        let mut parts = Window::of(&pcm[..614], Channels::Stereo);
        parts.extend(&Window::of(&pcm[614..], Channels::Stereo));
        assert_eq!((whole.frames, parts.frames), (961, 961));
        let exact: f64 = pcm.chunks(2).map(|frame| f64::from(frame[0]) * f64::from(frame[1])).sum();
        for window in [whole, parts] {
            assert!((window.product - exact).abs() < 1e-3, "{window:?} {exact}");
            assert_eq!(window.channels[1].top, whole.channels[1].top);
        }
    }

    #[test]
    fn a_constant_is_not_heard_and_swapped_polarity_is_seen() {
        let pcm: Vec<f32> =
            (0..960).flat_map(|n| if n % 2 == 0 { [0.3, -0.1] } else { [0.1, 0.1] }).collect();
        let heard = Window::of(&pcm, Channels::Stereo).heard();
        assert!((heard.power[0] - 0.01).abs() < 1e-6 && (heard.power[1] - 0.01).abs() < 1e-6, "{heard:?}");
        assert!((heard.product + 0.01).abs() < 1e-6, "{heard:?}");
        assert!((level(0.01).db() + 20.0).abs() < 0.001);
        assert!((power(Dbfs::new(-20.0)) - 0.01).abs() < 1e-6);
    }
}
