//! Sound at another speed: rubato's asynchronous sinc resampler on interleaved frames, without allocation after it is made.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable as _, Async, FixedAsync, Resampler as _, Resizable as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

/// One resampler for one stream of frames.
pub(crate) struct Resampler {
    inner: Async<f32>,
    channels: usize,
    longest: usize,
}

impl Resampler {
    /// Takes pieces of up to `longest` frames and gives what comes of them.
    pub(crate) fn of_pieces(channels: usize, longest: usize, ratio: f64) -> Self {
        Self::new(channels, longest, ratio, FixedAsync::Input)
    }

    /// Gives pieces of up to `longest` frames and takes what they need.
    pub(crate) fn for_pieces(channels: usize, longest: usize) -> Self {
        Self::new(channels, longest, 1.0, FixedAsync::Output)
    }

    fn new(channels: usize, longest: usize, ratio: f64, fixed: FixedAsync) -> Self {
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2)
            .oversampling_factor(256)
            .interpolation(SincInterpolationType::Linear);
        let longest = longest.max(1);
        let inner = Async::new_sinc(ratio, HEADROOM, &parameters, longest, channels, fixed)
            .expect("rubato refuses only a ratio that is no number above 0, and an empty piece");
        Self { inner, channels, longest }
    }

    /// Room that the frames made of one piece need.
    pub(crate) fn most(&self) -> usize {
        self.inner.output_frames_max()
    }

    /// Makes `out` of a piece, reaching `ratio` (frames out per frame in) at its end; how many frames came of it.
    pub(crate) fn feed(&mut self, piece: &[f32], ratio: f64, out: &mut [f32]) -> usize {
        let frames = (piece.len() / self.channels).min(self.longest);
        if frames == 0 || !self.set(frames, ratio) {
            return 0;
        }
        self.process(piece, frames, out).1
    }

    /// Frames that the next [`Resampler::draw`] of `frames` at `ratio` takes. `frames` is not more than the longest.
    pub(crate) fn needs(&mut self, frames: usize, ratio: f64) -> usize {
        if self.set(frames, ratio) { self.inner.input_frames_next() } else { usize::MAX }
    }

    /// Fills `out` from `piece`, which holds at least what [`Resampler::needs`] said just before; how many frames were taken.
    pub(crate) fn draw(&mut self, piece: &[f32], out: &mut [f32]) -> usize {
        let needed = self.inner.input_frames_next();
        self.process(piece, needed, out).0
    }

    /// Forgets what it heard.
    pub(crate) fn reset(&mut self) {
        self.inner.reset();
    }

    fn set(&mut self, frames: usize, ratio: f64) -> bool {
        self.inner.set_chunk_size(frames).is_ok() && self.inner.set_resample_ratio(ratio, true).is_ok()
    }

    fn process(&mut self, piece: &[f32], frames: usize, out: &mut [f32]) -> (usize, usize) {
        let room = out.len() / self.channels;
        let (Ok(piece), Ok(mut out)) = (
            InterleavedSlice::new(piece, self.channels, frames),
            InterleavedSlice::new_mut(out, self.channels, room),
        ) else {
            return (0, 0);
        };
        // It refuses buffers that are too short, and nothing else.
        self.inner.process_into_buffer(&piece, &mut out, None).unwrap_or((0, 0))
    }
}

/// Length of the filter in frames: flat to 20 kHz at 44.1 kHz, and dearer with each more.
const TAPS: usize = 128;
/// Frames by which what comes out is later than what went in.
pub(crate) const DELAY: u64 = TAPS as u64 / 2;
/// Frames of history after which a resampler that was reset is itself again.
pub(crate) const HISTORY: usize = 2 * TAPS;
/// How far a ratio may go from the first one; the laws stay well within.
const HEADROOM: f64 = 1.002;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of `sound` beside a sine of some amplitude and phase whose pitch glides from `from` to `to` radians a
    /// frame over the whole length, found piecewise: each piece is short enough to hold one pitch. In dB under full scale.
    fn left_beside_a_sine(sound: &[f32], pitch: f64) -> f64 {
        let mut worst = 0.0_f64;
        // The recurrence of a sine, x[n+1] = 2 cos(w) x[n] - x[n-1], breaks at every click.
        for three in sound.windows(3) {
            let expected = 2.0 * pitch.cos() * f64::from(three[1]) - f64::from(three[0]);
            worst = worst.max((f64::from(three[2]) - expected).abs());
        }
        20.0 * worst.log10()
    }

    #[test]
    fn a_slewed_speed_makes_no_click() {
        let pitch = 997.0 / 48_000.0 * std::f64::consts::TAU;
        let sine: Vec<f32> = (0..96_000).map(|n| (0.5 * (pitch * f64::from(n)).sin()) as f32).collect();
        let mut resampler = Resampler::of_pieces(1, 1_152, 1.0);
        let (mut out, mut heard, mut ppm) = (vec![0.0; resampler.most()], Vec::new(), 0.0);
        // Pieces of every length, at twenty times the slew that the laws allow, up and down.
        for (number, piece) in sine.chunks(1_152 - 7).enumerate() {
            ppm += if number % 60 < 30 { 4.0 } else { -4.0 };
            let made = resampler.feed(piece, 1.0 + ppm / 1e6, &mut out);
            heard.extend_from_slice(&out[..made]);
        }
        let left = left_beside_a_sine(&heard[300..], pitch);
        assert!(left < -85.0, "{left} dB beside the sine");
        // And a click would show.
        heard[40_000] += 0.001;
        assert!(left_beside_a_sine(&heard[300..], pitch) > -62.0);
    }

    #[test]
    fn as_many_frames_come_as_the_ratio_says() {
        for ratio in [1.0 - 1e-4, 1.0, 1.0 + 1e-4, 48_000.0 / 44_100.0, 48_000.0 / 22_050.0] {
            let mut resampler = Resampler::of_pieces(2, 1_152, ratio);
            let (piece, mut out) = (vec![0.25; 2 * 1_152], vec![0.0; 2 * resampler.most()]);
            let mut made = 0;
            for length in (0..1_000).map(|n| 1 + n * 7_919 % 1_152) {
                made += resampler.feed(&piece[..2 * length], ratio, &mut out);
            }
            let fed: usize = (0..1_000).map(|n| 1 + n * 7_919 % 1_152).sum();
            let due = fed as f64 * ratio;
            assert!((made as f64 - due).abs() < 600.0, "{made} of {due} at {ratio}");
        }
    }

    #[test]
    fn a_piece_of_any_length_is_drawn_whole() {
        let mut resampler = Resampler::for_pieces(1, 2_304);
        let ramp: Vec<f32> = (0..400_000).map(|n| n as f32 / 400_000.0).collect();
        let (mut at, mut made, mut last) = (0, 0_usize, 0.0);
        let mut out = vec![0.0; 2_304];
        for length in (0..150).map(|n| 1 + n * 7_919 % 2_304) {
            let needed = resampler.needs(length, 1.0 - 1e-4);
            at += resampler.draw(&ramp[at..at + needed], &mut out[..length]);
            made += length;
            // Past the beginning a ramp stays a ramp across every border.
            if made > 2_000 {
                assert!(out[0] > last && out[0] - last < 4.0 / 400_000.0);
            }
            last = out[length - 1];
        }
        assert!(at.abs_diff(made) < 300, "{at} taken for {made}");
    }
}
