//! Whether a stretch of sound is one pitch: a tone with its overtones, or mains hum; and how much is left without it.
//!
//! A Fourier transform over 0.34 s of both channels at once (left as the real, right as the imaginary part).

use std::f64::consts::TAU;

use units::SampleRate;

/// Frames of a stretch.
pub(super) const STRETCH: usize = 16_384;

/// A pitch's energy lies within so many bins of its frequency: the window's main lobe, and what wavers.
const LOBE: usize = 3;
/// Of a tone, at most this share of the power lies elsewhere.
const MOST_ELSEWHERE: f64 = 0.1;
/// Lower sounds are no tone: rumble, the rest of a constant.
const LOWEST_HZ: f64 = 20.0;
/// The strongest part of hum lies under this: 50, 60, and the ripple of rectifiers.
const HIGHEST_HUM_HZ: f64 = 380.0;

/// What stands on a line.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Pitch {
    /// Hz of the strongest part of it.
    pub hz: f32,
    /// Frequency of the mains that it comes from, 50 or 60 Hz; `None` for a tone that does not.
    pub mains: Option<u8>,
    /// Share of the power that is something else, 0 to 0.1.
    pub(super) elsewhere: f32,
}

impl Pitch {
    /// Whether it is mains hum.
    #[must_use]
    pub const fn is_hum(self) -> bool {
        self.mains.is_some()
    }

    /// Whether another stretch has the same pitch, to 1 %.
    pub(super) fn is(self, other: Self) -> bool {
        self.mains == other.mains && (self.is_hum() || (self.hz - other.hz).abs() <= self.hz * 0.01)
    }
}

/// The transform; all memory is taken at the start.
#[derive(Clone, Debug)]
pub(super) struct Spectrum {
    hz: f64,
    window: Vec<f32>,
    /// Cosine and sine of each step around the circle, half of it.
    turns: Vec<(f32, f32)>,
    points: Vec<(f32, f32)>,
    power: Vec<f32>,
}

impl Spectrum {
    pub(super) fn new(rate: SampleRate) -> Self {
        let around = |n: usize| TAU * n as f64 / STRETCH as f64;
        Self {
            hz: f64::from(rate.hz()),
            window: (0..STRETCH).map(|n| (0.5 - 0.5 * around(n).cos()) as f32).collect(),
            turns: (0..STRETCH / 2).map(|n| (around(n).cos() as f32, -around(n).sin() as f32)).collect(),
            points: vec![(0.0, 0.0); STRETCH],
            power: vec![0.0; STRETCH / 2],
        }
    }

    /// The pitch of the louder channel, if it has one. `stretch` is [`STRETCH`] frames of left and right.
    pub(super) fn pitch(&mut self, stretch: &[(f32, f32)]) -> Option<Pitch> {
        let total = self.measure(stretch);
        if total <= f64::MIN_POSITIVE {
            return None;
        }
        let (lowest, highest) = (self.bin(LOWEST_HZ), self.power.len() - 2);
        let strongest = (lowest..highest).max_by(|a, b| self.power[*a].total_cmp(&self.power[*b]))?;
        let hz = self.between_bins(strongest);
        let hum = [50_u8, 60].into_iter().find_map(|mains| {
            let harmonic = (hz / f64::from(mains)).round();
            let off = (hz - harmonic * f64::from(mains)).abs();
            // Notes of the scale lie further off than mains ever do.
            let is_near = harmonic >= 1.0 && hz < HIGHEST_HUM_HZ && off <= 0.3 + 0.005 * hz;
            let elsewhere = is_near.then(|| self.elsewhere(f64::from(mains), total))?;
            (elsewhere <= MOST_ELSEWHERE).then_some((Some(mains), elsewhere))
        });
        let (mains, elsewhere) = hum.or_else(|| {
            let elsewhere = self.elsewhere(hz, total);
            (elsewhere <= MOST_ELSEWHERE).then_some((None, elsewhere))
        })?;
        Some(Pitch { hz: hz as f32, mains, elsewhere: elsewhere as f32 })
    }

    /// The mains frequency that stands behind most of the louder channel's hum, and its share of the power, 0 to 1.
    pub(super) fn mains(&mut self, stretch: &[(f32, f32)]) -> (u8, f32) {
        let total = self.measure(stretch);
        if total <= f64::MIN_POSITIVE {
            return (50, 0.0);
        }
        let [fifty, sixty] = [50, 60].map(|mains| 1.0 - self.elsewhere(f64::from(mains), total) as f32);
        if sixty > fifty { (60, sixty) } else { (50, fifty) }
    }

    /// Takes a stretch; gives all its power.
    fn measure(&mut self, stretch: &[(f32, f32)]) -> f64 {
        self.transform(stretch);
        self.choose();
        self.power.iter().copied().map(f64::from).sum()
    }

    fn transform(&mut self, stretch: &[(f32, f32)]) {
        let count = STRETCH.min(stretch.len());
        let (left, right) = stretch[..count]
            .iter()
            .fold((0.0_f64, 0.0_f64), |sum, frame| (sum.0 + f64::from(frame.0), sum.1 + f64::from(frame.1)));
        let mean = ((left / count.max(1) as f64) as f32, (right / count.max(1) as f64) as f32);
        let bits = STRETCH.trailing_zeros();
        for (n, (frame, window)) in stretch[..count].iter().zip(&self.window).enumerate() {
            let place = n.reverse_bits() >> (usize::BITS - bits);
            self.points[place] = ((frame.0 - mean.0) * window, (frame.1 - mean.1) * window);
        }
        // Cooley and Tukey 1965, radix 2.
        let mut half = 1;
        while half < STRETCH {
            let step = STRETCH / (2 * half);
            for block in self.points.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((a, b), turn) in low.iter_mut().zip(high).zip(self.turns.iter().step_by(step)) {
                    let turned = (b.0 * turn.0 - b.1 * turn.1, b.0 * turn.1 + b.1 * turn.0);
                    *b = (a.0 - turned.0, a.1 - turned.1);
                    *a = (a.0 + turned.0, a.1 + turned.1);
                }
            }
            half *= 2;
        }
    }

    /// Power of the louder channel by bins.
    fn choose(&mut self) {
        // Left is the even part of the transform, right the odd one.
        let parts = |n: usize| {
            let (a, b) = (self.points[n], self.points[(STRETCH - n) % STRETCH]);
            let left = (a.0 + b.0, a.1 - b.1);
            let right = (a.1 + b.1, b.0 - a.0);
            [left, right].map(|(re, im)| re * re + im * im)
        };
        let sums =
            (1..STRETCH / 2).map(parts).fold([0.0_f32; 2], |sum, part| [0, 1].map(|n| sum[n] + part[n]));
        let louder = usize::from(sums[1] > sums[0]);
        let power: &mut Vec<f32> = &mut std::mem::take(&mut self.power);
        for (n, power) in power.iter_mut().enumerate() {
            *power = if n < 2 { 0.0 } else { parts(n)[louder] };
        }
        self.power = std::mem::take(power);
    }

    fn bin(&self, hz: f64) -> usize {
        (hz * STRETCH as f64 / self.hz).round() as usize
    }

    /// The frequency of a peak, by the parabola through the logarithms of its three bins.
    fn between_bins(&self, bin: usize) -> f64 {
        let log = |n: usize| f64::from(self.power[n].max(f32::MIN_POSITIVE)).ln();
        let (before, here, after) = (log(bin - 1), log(bin), log(bin + 1));
        let curve = before - 2.0 * here + after;
        let offset = if curve < 0.0 { 0.5 * (before - after) / curve } else { 0.0 };
        (bin as f64 + offset.clamp(-0.5, 0.5)) * self.hz / STRETCH as f64
    }

    /// Share of the power that does not lie at multiples of a frequency; what noise puts there is not counted as theirs.
    fn elsewhere(&self, hz: f64, total: f64) -> f64 {
        let (mut inside, mut bins) = (0.0, 0);
        let step = hz * STRETCH as f64 / self.hz;
        let mut next_free = 0;
        let mut centre = step;
        while centre < (self.power.len() - LOBE - 1) as f64 {
            let at = centre.round() as usize;
            let from = at.saturating_sub(LOBE).max(next_free);
            inside += self.power[from..=at + LOBE].iter().copied().map(f64::from).sum::<f64>();
            bins += at + LOBE + 1 - from;
            next_free = at + LOBE + 1;
            centre += step;
        }
        let coverage = bins as f64 / self.power.len() as f64;
        ((total - inside) / total / (1.0 - coverage).max(0.01)).clamp(0.0, 1.0)
    }
}

/// Sum of squares of the Hann window over its length, for whoever wants levels from powers: 3/8.
#[cfg(test)]
const HANN_POWER: f64 = 0.375;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz48000;

    fn stretch(sound: impl Fn(f64) -> (f64, f64)) -> Vec<(f32, f32)> {
        (0..STRETCH)
            .map(|n| sound(n as f64 / 48_000.0))
            .map(|(left, right)| (left as f32, right as f32))
            .collect()
    }

    fn sine(hz: f64, at: f64) -> f64 {
        (TAU * hz * at).sin()
    }

    fn noise(at: f64) -> f64 {
        let n = (at * 48_000.0).round() as u32;
        f64::from((n ^ 0x5F5F).wrapping_mul(0x9E37_79B1).rotate_left(13).wrapping_mul(0x85EB_CA6B) >> 8)
            / 8_388_608.0
            - 1.0
    }

    #[test]
    fn it_is_a_fourier_transform() {
        let mut spectrum = Spectrum::new(RATE);
        // Exactly on bins, so that the window spreads each over three.
        let bin = |n: f64| n * 48_000.0 / STRETCH as f64;
        spectrum.transform(&stretch(|at| (sine(bin(100.0), at), 0.1 * sine(bin(300.0), at))));
        let magnitude = |n: usize| f64::from(spectrum.points[n].0).hypot(f64::from(spectrum.points[n].1));
        let expected = STRETCH as f64 / 4.0;
        assert!((magnitude(100) / expected - 1.0).abs() < 1e-3, "{}", magnitude(100));
        assert!((magnitude(300) / expected - 0.1).abs() < 1e-3, "{}", magnitude(300));
        assert!(magnitude(200) < expected * 1e-4);
        let power: f64 = spectrum.points.iter().map(|p| f64::from(p.0 * p.0 + p.1 * p.1)).sum();
        let expected = (STRETCH as f64).powi(2) * HANN_POWER * (0.5 + 0.005);
        assert!((power / expected - 1.0).abs() < 1e-3, "Parseval: {power} {expected}");
    }

    #[test]
    fn tones_have_their_pitch_and_the_louder_channel_counts() {
        let mut spectrum = Spectrum::new(RATE);
        for hz in [97.9, 262.6, 400.0, 1000.0, 3150.0, 12_500.0] {
            let pitch = spectrum.pitch(&stretch(|at| (1e-3 * noise(at), 0.1 * sine(hz, at)))).unwrap();
            assert!((f64::from(pitch.hz) - hz).abs() < 0.3 && pitch.mains.is_none(), "{hz}: {pitch:?}");
        }
    }

    #[test]
    fn hum_is_known_by_its_mains() {
        let mut spectrum = Spectrum::new(RATE);
        for (mains, hz) in [(50, 49.95), (50, 50.1), (60, 59.95), (60, 60.05)] {
            for strongest in [1.0, 2.0, 3.0] {
                let hum = |at: f64| {
                    let parts = [1.0, 2.0, 3.0, 5.0, 7.0, 11.0]
                        .map(|n| sine(hz * n, at) * if n == strongest { 1.0 } else { 0.3 / n });
                    let all = parts.iter().sum::<f64>() * 0.01 + 0.0003 * noise(at);
                    (all, all)
                };
                let pitch = spectrum.pitch(&stretch(hum)).unwrap();
                assert_eq!(pitch.mains, Some(mains), "{hz} {strongest} {pitch:?}");
                assert!((f64::from(pitch.hz) - hz * strongest).abs() < 0.5, "{pitch:?}");
                assert!(pitch.elsewhere < 0.01, "{pitch:?}");
            }
        }
    }

    #[test]
    fn noise_chords_and_two_tones_have_no_pitch() {
        let mut spectrum = Spectrum::new(RATE);
        assert_eq!(spectrum.pitch(&stretch(|at| (noise(at), noise(at + 0.1)))), None);
        assert_eq!(spectrum.pitch(&stretch(|at| (sine(853.0, at) + sine(960.0, at), 0.0))), None);
        let chord = |at| (sine(220.0, at) + sine(277.2, at) + sine(329.6, at), 0.0);
        assert_eq!(spectrum.pitch(&stretch(chord)), None);
        assert_eq!(spectrum.pitch(&stretch(|_| (0.2, 0.0))), None, "a constant");
        assert_eq!(spectrum.pitch(&stretch(|_| (0.0, 0.0))), None);
    }
}
