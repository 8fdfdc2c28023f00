//! True peaks of a block, as ITU-R BS.1770-4 annex 2 looks for them: four times oversampled. Between those points, a
//! parabola through the highest three gives what is left of a peak, to 0.08 dB for any tone up to half the sample rate.
//!
//! A filter that sees up to half the sample rate is long, so a short one says first where it is worth while.

/// Frames that are worked on at once.
pub(super) const BLOCK: usize = 64;
/// Length of the exact filter in samples, flat up to 23 kHz at 48 kHz; and of the one that looks first.
const EXACT: usize = 64;
const FIRST: usize = 16;
/// Steepness of their Kaiser windows.
const BETA: f64 = 3.0;
/// The last sample taken in is so far ahead of the one whose peak is known.
pub(super) const AHEAD: usize = EXACT / 2;
/// Where the short filter sees less than this share of the limit, the exact one sees less than [`BESIDE`]: the short one
/// loses 2 dB of noise that reaches up to half the sample rate, and less of all else.
const WORTH: f32 = 0.65;
/// A point may be this share under the peak beside it.
const BESIDE: f32 = 0.92;
const MOST_OVER_POINT: f32 = 1.083;
/// Points between two samples; the sample itself is the first of four.
const BETWEEN: usize = 3;
const LANES: usize = 8;

/// Half of a filter for the three points after a sample. A point's taps from one end are those of the mirrored point from the
/// other, so each pair of samples as far from both ends is added and subtracted once for all three.
#[derive(Clone, Debug)]
struct Filter<const HALF: usize> {
    /// For the sum of the first and the third point, from sums of samples; their difference, from differences; the
    /// second point, from sums.
    taps: [[f32; HALF]; BETWEEN],
    /// No point is higher than the highest sample times this.
    bound: f32,
}

impl<const HALF: usize> Filter<HALF> {
    fn new() -> Self {
        let half = HALF as f64;
        let point = |offset: f64| {
            let raw = move |tap: usize| {
                // The point lies `offset` after the last sample of the first half.
                let distance = offset - (tap as f64 - (half - 1.0));
                sinc(distance) * kaiser(distance / half)
            };
            let sum: f64 = (0..2 * HALF).map(raw).sum();
            move |tap: usize| raw(tap) / sum
        };
        let (first, middle) = (point(0.25), point(0.5));
        let mirror = |tap: usize| 2 * HALF - 1 - tap;
        let taps = [
            std::array::from_fn(|tap| ((first(tap) + first(mirror(tap))) / 2.0) as f32),
            std::array::from_fn(|tap| ((first(tap) - first(mirror(tap))) / 2.0) as f32),
            std::array::from_fn(|tap| middle(tap) as f32),
        ];
        let sum = |point: &dyn Fn(usize) -> f64| (0..2 * HALF).map(|tap| point(tap).abs()).sum::<f64>();
        Self { taps, bound: sum(&first).max(sum(&middle)).max(1.0) as f32 }
    }

    /// The points after [`LANES`] samples; `samples` begins with the first tap of the first of them.
    fn points(&self, samples: &[f32]) -> [[f32; LANES]; BETWEEN] {
        let mut sums = [[0.0_f32; LANES]; BETWEEN];
        let samples = &samples[..2 * HALF + LANES - 1];
        for tap in 0..HALF {
            let near = &samples[tap..tap + LANES];
            let far = &samples[2 * HALF - 1 - tap..2 * HALF - 1 - tap + LANES];
            for lane in 0..LANES {
                let (sum, difference) = (near[lane] + far[lane], near[lane] - far[lane]);
                sums[0][lane] += self.taps[0][tap] * sum;
                sums[1][lane] += self.taps[1][tap] * difference;
                sums[2][lane] += self.taps[2][tap] * sum;
            }
        }
        let [both, apart, middle] = sums;
        let mut points = [[0.0; LANES], middle, [0.0; LANES]];
        for lane in 0..LANES {
            points[0][lane] = both[lane] + apart[lane];
            points[2][lane] = both[lane] - apart[lane];
        }
        points
    }
}

/// One channel.
#[derive(Clone, Debug)]
pub(super) struct TruePeak {
    first: Filter<{ FIRST / 2 }>,
    exact: Filter<{ EXACT / 2 }>,
    /// The samples before the block, then the block.
    samples: [f32; EXACT - 1 + BLOCK],
    /// The last two points of the block before.
    points: (f32, f32),
    /// Highest sample of those before the block.
    before: f32,
}

impl TruePeak {
    pub(super) fn new() -> Self {
        Self {
            first: Filter::new(),
            exact: Filter::new(),
            samples: [0.0; EXACT - 1 + BLOCK],
            points: (0.0, 0.0),
            before: 0.0,
        }
    }

    /// Takes at most [`BLOCK`] samples. Raises `peaks` (as many) to the peaks that belong to the samples [`AHEAD`] before
    /// them, or up to one after these; peaks that are surely not over `limit` may be left out. Whether any is over it.
    pub(super) fn block(
        &mut self,
        samples: impl Iterator<Item = f32>,
        limit: f32,
        peaks: &mut [f32],
    ) -> bool {
        let count = peaks.len().min(BLOCK);
        let mut highest = 0.0_f32;
        for (place, sample) in self.samples[EXACT - 1..].iter_mut().zip(samples.take(count)) {
            *place = sample;
            highest = if sample.abs() > highest { sample.abs() } else { highest };
        }
        let beside = limit * BESIDE;
        let is_loud = highest.max(self.before) * self.exact.bound > beside || self.points.1.abs() > beside;
        let found = is_loud && self.look(limit, &mut peaks[..count]);
        if !is_loud {
            self.points = (0.0, 0.0);
        }
        self.samples.copy_within(count..count + EXACT - 1, 0);
        self.before = if count == BLOCK {
            // What is kept is all of this block.
            highest
        } else {
            self.samples[..EXACT - 1].iter().fold(0.0, |highest, sample| sample.abs().max(highest))
        };
        found
    }

    fn look(&mut self, limit: f32, peaks: &mut [f32]) -> bool {
        let beside = limit * BESIDE;
        let mut between = [[0.0_f32; BLOCK]; BETWEEN];
        let mut is_near = self.points.1.abs() > beside;
        for at in (0..peaks.len()).step_by(LANES) {
            let mut found = self.first.points(&self.samples[at + AHEAD - FIRST / 2..]);
            let mut highest = [0.0_f32; LANES];
            for lane in 0..LANES {
                let itself = self.samples[at + AHEAD - 1 + lane].abs();
                let [a, b, c] = [found[0][lane].abs(), found[1][lane].abs(), found[2][lane].abs()];
                let (one, two) = (if a > b { a } else { b }, if c > itself { c } else { itself });
                highest[lane] = if one > two { one } else { two };
            }
            if highest.iter().any(|highest| *highest > limit * WORTH) {
                found = self.exact.points(&self.samples[at..]);
                let itself = &self.samples[at + AHEAD - 1..at + AHEAD - 1 + LANES];
                is_near |= found.iter().flatten().chain(itself).any(|point| point.abs() > beside);
            }
            for (between, found) in between.iter_mut().zip(&found) {
                between[at..at + LANES].copy_from_slice(found);
            }
        }
        let last = peaks.len() - 1;
        if !is_near {
            self.points = (between[1][last], between[2][last]);
            return false;
        }
        let (mut first, mut middle) = self.points;
        let mut found = false;
        for (frame, peak) in peaks.iter_mut().enumerate() {
            let itself = self.samples[frame + AHEAD - 1];
            for point in [itself, between[0][frame], between[1][frame], between[2][frame]] {
                if middle.abs() > beside && middle.abs() >= first.abs() && middle.abs() >= point.abs() {
                    let top = parabola(first, middle, point);
                    *peak = peak.max(top);
                    found |= top > limit;
                }
                (first, middle) = (middle, point);
            }
        }
        self.points = (first, middle);
        found
    }
}

/// The highest point of the parabola through three, of which the middle one is the highest.
fn parabola(before: f32, middle: f32, after: f32) -> f32 {
    let (before, middle, after) =
        if middle < 0.0 { (-before, -middle, -after) } else { (before, middle, after) };
    let curve = 2.0 * middle - before - after;
    if curve <= f32::MIN_POSITIVE {
        return middle;
    }
    let slope = before - after;
    (middle + slope * slope / (8.0 * curve)).min(middle * MOST_OVER_POINT)
}

fn sinc(at: f64) -> f64 {
    let angle = std::f64::consts::PI * at;
    if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle }
}

/// Kaiser's window; `at` is 0 in the middle, 1 at its ends.
fn kaiser(at: f64) -> f64 {
    bessel(BETA * (1.0 - at * at).max(0.0).sqrt()) / bessel(BETA)
}

/// The modified Bessel function of the first kind and order zero.
fn bessel(at: f64) -> f64 {
    let mut term = 1.0;
    (1..40).fold(1.0, |sum, n| {
        term *= (at / 2.0 / f64::from(n)).powi(2);
        sum + term
    })
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    #[test]
    fn tones_of_any_pitch_and_phase_have_their_height() {
        for (hz, allowed) in [
            (100.0, 0.03),
            (997.0, 0.03),
            (8000.0, 0.05),
            (12_000.0, 0.08),
            (16_000.0, 0.1),
            (20_000.0, 0.15),
        ] {
            for phase in 0..8 {
                let mut peak = TruePeak::new();
                let mut highest = 0.0_f32;
                let tone =
                    |n: usize| (TAU * (hz * n as f64 / 48_000.0 + f64::from(phase) / 16.0)).sin() as f32;
                for block in 0..40 {
                    let mut peaks = [0.0; BLOCK];
                    peak.block((block * BLOCK..).take(BLOCK).map(tone), 0.5, &mut peaks);
                    if block > 1 {
                        highest = peaks.into_iter().fold(highest, f32::max);
                    }
                }
                let off = 20.0 * highest.log10();
                assert!(off.abs() < allowed, "{hz} Hz, phase {phase}: {off} dB");
            }
        }
    }

    #[test]
    fn blocks_of_any_length_find_the_same_peaks() {
        let tone: Vec<f32> = (0..4096).map(|n| (TAU * (f64::from(n) / 4.0 + 0.125)).sin() as f32).collect();
        let peaks = |length: usize| {
            let mut peak = TruePeak::new();
            tone.chunks(length)
                .flat_map(|part| {
                    let mut peaks = vec![0.0; part.len()];
                    peak.block(part.iter().copied(), 0.5, &mut peaks);
                    peaks
                })
                .collect::<Vec<f32>>()
        };
        let whole = peaks(BLOCK);
        for length in [1, 7, 33] {
            let parts = peaks(length);
            assert!(whole.iter().zip(&parts).all(|(a, b)| (a - b).abs() < 1e-5), "{length}");
        }
    }
}
