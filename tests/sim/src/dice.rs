//! Chance that can be repeated: everything random in a run comes from its seed through this.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Evenly from `least..=most`.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.bits() % (most - least + 1)
    }

    /// True `times` out of `of`.
    pub(crate) fn chance(&mut self, times: u64, of: u64) -> bool {
        self.bits() % of < times
    }

    /// Whole milliseconds, each order of magnitude as likely as the next: short troubles are the frequent ones, and the
    /// thresholds of the core lie between half a second and a minute.
    pub(crate) fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
        let share = self.between(0, 10_000) as f64 / 10_000.0;
        let seconds = least * (most / least).powf(share);
        Duration::from_millis((seconds * 1000.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_bounds_and_repeats() {
        let (mut one, mut two) = (Dice::new(5), Dice::new(5));
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(100));
        for _ in 0..1000 {
            let span = one.span(least, most);
            assert!(span >= least && span <= most);
            assert_eq!(span, two.span(least, most));
            assert!((3..=7).contains(&one.between(3, 7)));
            two.between(3, 7);
        }
    }
}
