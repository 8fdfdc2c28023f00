//! From one source to the next without a click and without a dip: an equal-power crossfade, and the noise floor below
//! all sources.
//!
//! Two different programmes are uncorrelated: their powers add. So gains move on a quarter of a circle, whose squares
//! always sum to 1. A fade that is overtaken by another one goes on from the powers it had reached; the sum stays 1.

use units::{Dbfs, Frames};

use crate::tiers::Tier;

/// Who is heard, and how much. Between fades one tier is, and its samples pass as they are.
///
/// Once a period: render [`Mix::heard`]'s tiers, [`Mix::add`] each to a silent buffer, then [`Mix::advance`].
#[derive(Clone, Debug)]
pub struct Mix {
    to: Tier,
    /// Tiers with some power at the fade's beginning, `to` included; the powers sum to 1. Two, unless overtaken.
    from: [Option<Part>; Mix::MOST],
    fade: Option<Fade>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    tier: Tier,
    power: f32,
}

#[derive(Clone, Copy, Debug)]
struct Fade {
    done: u64,
    length: u64,
}

impl Mix {
    /// Most tiers heard at once. Where ever more fades overtake each other, the faintest tier is dropped.
    pub const MOST: usize = 4;

    /// `tier` alone.
    #[must_use]
    pub fn new(tier: Tier) -> Self {
        let mut from = [None; Self::MOST];
        from[0] = Some(Part { tier, power: 1.0 });
        Self { to: tier, from, fade: None }
    }

    /// Begins a fade to `tier`, from wherever the mix is, of so many frames; at once for none.
    pub fn fade_to(&mut self, tier: Tier, length: Frames) {
        if tier == self.to {
            return;
        }
        let now = self.powers(0);
        self.from = now;
        self.to = tier;
        if !self.from.iter().flatten().any(|part| part.tier == tier) {
            let place = match self.from.iter().position(Option::is_none) {
                Some(free) => free,
                None => self.drop_faintest(),
            };
            self.from[place] = Some(Part { tier, power: 0.0 });
        }
        self.fade = Some(Fade { done: 0, length: length.0 });
        self.advance(Frames(0));
    }

    /// The tiers that must be added this period, in no particular order.
    pub fn heard(&self) -> impl Iterator<Item = Tier> + '_ {
        self.from.iter().flatten().map(|part| part.tier)
    }

    /// The tier that is heard alone; `None` in a fade. Its sound needs no [`Mix::add`].
    #[must_use]
    pub const fn alone(&self) -> Option<Tier> {
        if self.fade.is_some() { None } else { Some(self.to) }
    }

    /// Where a running fade leads, or what is heard.
    #[must_use]
    pub const fn to(&self) -> Tier {
        self.to
    }

    /// Adds a tier's period, interleaved, to `out`, with the gains of this period. A tier that is not heard adds
    /// nothing. A shorter `pcm` counts as followed by silence.
    pub fn add(&self, tier: Tier, pcm: &[f32], channels: usize, out: &mut [f32]) {
        let Some(part) = self.from.iter().flatten().find(|part| part.tier == tier) else { return };
        if self.fade.is_none() {
            for (out, sample) in out.iter_mut().zip(pcm) {
                *out += sample;
            }
            return;
        }
        let channels = channels.max(1);
        for (frame, (out, pcm)) in out.chunks_mut(channels).zip(pcm.chunks(channels)).enumerate() {
            let gain = self.power(*part, frame as u64).sqrt();
            for (out, sample) in out.iter_mut().zip(pcm) {
                *out += gain * sample;
            }
        }
    }

    /// Goes on by a period. True at the end of a fade: what was faded out need not be rendered any more.
    pub fn advance(&mut self, frames: Frames) -> bool {
        let Some(fade) = &mut self.fade else { return false };
        fade.done = fade.done.saturating_add(frames.0);
        if fade.done < fade.length {
            return false;
        }
        *self = Self::new(self.to);
        true
    }

    /// The powers so many frames from here, with those left out that are none any more.
    fn powers(&self, frame: u64) -> [Option<Part>; Self::MOST] {
        self.from.map(|part| {
            let part = part?;
            Some(Part { power: self.power(part, frame), ..part }).filter(|part| part.power > 0.0)
        })
    }

    /// With p the power at the beginning and t from 0 to 1: p cos² for those that go, 1 - (1 - p) cos² for the one that
    /// comes; their sum is 1 at every t.
    fn power(&self, part: Part, frame: u64) -> f32 {
        let Some(fade) = self.fade else { return part.power };
        let t = fade.done.saturating_add(frame).min(fade.length) as f32 / fade.length.max(1) as f32;
        let cos = (t * std::f32::consts::FRAC_PI_2).cos();
        let left = if t >= 1.0 { 0.0 } else { cos * cos };
        if part.tier == self.to { 1.0 - (1.0 - part.power) * left } else { part.power * left }
    }

    /// Drops the faintest, and gives the others its power in proportion.
    fn drop_faintest(&mut self) -> usize {
        let power = |part: &Option<Part>| part.map_or(0.0, |part| part.power);
        let mut faintest = 0;
        for place in 1..Self::MOST {
            if power(&self.from[place]) < power(&self.from[faintest]) {
                faintest = place;
            }
        }
        self.from[faintest] = None;
        let sum: f32 = self.from.iter().map(power).sum();
        for part in self.from.iter_mut().flatten() {
            part.power /= sum;
        }
        faintest
    }
}

/// Quiet white noise: neither silence, on which players and servers give up and encoders stop sending, nor anything that
/// a listener would notice. The same for every run.
#[derive(Clone, Debug)]
pub struct Noise {
    state: u64,
    amplitude: f32,
}

impl Noise {
    /// RMS of the floor: under the noise of any studio line, over the last bit of 16.
    pub const FLOOR_DBFS: f32 = -90.0;

    /// Noise of an RMS of `level`.
    #[must_use]
    pub fn new(level: Dbfs) -> Self {
        // Evenly spread from -a to a: RMS is a / sqrt 3.
        Self { state: 0x2545_f491_4f6c_dd1d, amplitude: 3.0_f32.sqrt() * 10.0_f32.powf(level.db() / 20.0) }
    }

    /// Fills `out`; every sample is another one, so channels are uncorrelated.
    pub fn fill(&mut self, out: &mut [f32]) {
        for sample in out {
            // xorshift64.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let uniform = (self.state >> 40) as f32 / 8_388_608.0 - 1.0;
            *sample = uniform * self.amplitude;
        }
    }
}

impl Default for Noise {
    /// The floor: -90 dBFS.
    fn default() -> Self {
        Self::new(Dbfs::new(Self::FLOOR_DBFS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Tier = Tier::Input(0);
    const B: Tier = Tier::Files;
    const C: Tier = Tier::Floor;

    fn db(power: f64) -> f64 {
        10.0 * power.log10()
    }

    /// Runs the mix over constant 1.0 of each tier alone: the gain of each, frame by frame.
    fn gains(mix: &mut Mix, tiers: &[Tier], period: usize, periods: usize) -> Vec<Vec<f32>> {
        let mut gains = vec![Vec::new(); tiers.len()];
        for _ in 0..periods {
            for (tier, gains) in tiers.iter().zip(&mut gains) {
                let mut out = vec![0.0; period];
                mix.add(*tier, &vec![1.0; period], 1, &mut out);
                gains.extend(out);
            }
            mix.advance(Frames(period as u64));
        }
        gains
    }

    #[test]
    fn alone_a_tier_passes_as_it_is() {
        let mix = Mix::new(A);
        assert_eq!((mix.alone(), mix.heard().collect::<Vec<_>>()), (Some(A), vec![A]));
        let pcm = [0.1, -0.7, 1.5, f32::MIN_POSITIVE];
        let mut out = [0.0; 4];
        mix.add(A, &pcm, 2, &mut out);
        mix.add(B, &[9.0; 4], 2, &mut out);
        assert_eq!(out, pcm);
    }

    #[test]
    fn gains_are_smooth_over_periods_and_powers_sum_to_one() {
        for period in [1, 7, 1_152, 5_000] {
            let mut mix = Mix::new(A);
            mix.fade_to(B, Frames(4_800));
            assert_eq!(mix.alone(), None);
            let gains = gains(&mut mix, &[A, B], period, 4_800 / period + 2);
            assert_eq!((mix.alone(), mix.heard().collect::<Vec<_>>()), (Some(B), vec![B]));
            assert_eq!((gains[0][0], gains[1][0]), (1.0, 0.0));
            assert_eq!((gains[0][4_800], gains[1][4_800]), (0.0, 1.0));
            for frame in 1..gains[0].len() {
                let power = gains[0][frame].powi(2) + gains[1][frame].powi(2);
                assert!((power - 1.0).abs() < 1e-5, "frame {frame}: {power}");
                for gains in &gains {
                    // A quarter of a circle in 4800 steps: none longer than its arc.
                    let step = (gains[frame] - gains[frame - 1]).abs();
                    assert!(
                        step < 1.1 * std::f32::consts::FRAC_PI_2 / 4_800.0 + 1e-5,
                        "frame {frame}: {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn two_programmes_stay_as_loud_as_they_were() {
        let (mut one, mut other) = (Noise::new(Dbfs::new(-20.0)), Noise::new(Dbfs::new(-20.0)));
        other.fill(&mut [0.0; 9_999]);
        let mut mix = Mix::new(A);
        mix.fade_to(B, Frames(48_000));
        let mut whole = Vec::new();
        for _ in 0..50 {
            let (mut a, mut b, mut out) = ([0.0; 2_304], [0.0; 2_304], [0.0; 2_304]);
            one.fill(&mut a);
            other.fill(&mut b);
            mix.add(A, &a, 2, &mut out);
            mix.add(B, &b, 2, &mut out);
            mix.advance(Frames(1_152));
            whole.extend(out);
        }
        for (n, piece) in whole.chunks(4_800).enumerate() {
            let power =
                piece.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / piece.len() as f64;
            assert!((db(power) + 20.0).abs() < 0.5, "piece {n}: {:.2} dB", db(power));
        }
    }

    #[test]
    fn a_fade_that_is_overtaken_goes_on_from_where_it_was() {
        for second in [A, C] {
            let mut mix = Mix::new(A);
            mix.fade_to(B, Frames(4_800));
            let mut gains_of = gains(&mut mix, &[A, B, C], 100, 13);
            mix.fade_to(second, Frames(4_800));
            let after = gains(&mut mix, &[A, B, C], 100, 50);
            for (all, after) in gains_of.iter_mut().zip(after) {
                all.extend(after);
            }
            assert_eq!(mix.alone(), Some(second));
            for frame in 1..gains_of[0].len() {
                let power: f32 = gains_of.iter().map(|gains| gains[frame].powi(2)).sum();
                assert!((power - 1.0).abs() < 1e-4, "frame {frame}: {power}");
                for gains in &gains_of {
                    let step = (gains[frame] - gains[frame - 1]).abs();
                    // The newcomer starts steeply from nothing; all others are continuous.
                    assert!(step < 0.03, "frame {frame}: {step}");
                }
            }
        }
    }

    #[test]
    fn however_many_fades_overtake_each_other_the_power_is_one() {
        let mut mix = Mix::new(A);
        for n in 0..1_000_u16 {
            mix.fade_to(Tier::Input((n % 7) as u8), Frames(1_000));
            assert!(mix.heard().count() <= Mix::MOST);
            let power: f32 = mix.powers(0).iter().flatten().map(|part| part.power).sum();
            assert!((power - 1.0).abs() < 1e-3, "{n}: {power}");
            mix.advance(Frames(u64::from(n * 37 % 400)));
        }
    }

    #[test]
    fn no_frames_are_a_cut() {
        let mut mix = Mix::new(A);
        mix.fade_to(B, Frames(0));
        assert_eq!(mix.alone(), Some(B));
    }

    #[test]
    fn the_floor_is_at_minus_90() {
        let mut noise = Noise::default();
        let mut pcm = vec![0.0; 96_000];
        noise.fill(&mut pcm);
        let power = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / pcm.len() as f64;
        assert!((db(power) + 90.0).abs() < 0.1, "{:.2} dBFS", db(power));
        let mean = pcm.iter().map(|sample| f64::from(*sample)).sum::<f64>() / pcm.len() as f64;
        assert!(mean.abs() < 1e-6, "{mean}");
        let mut again = vec![0.0; 96_000];
        Noise::default().fill(&mut again);
        assert_eq!(pcm, again);
    }
}
