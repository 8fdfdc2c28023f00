//! How fast sound is played so that two clocks agree: the laws, without the sound. Decides only.
//!
//! Every law ends in a slew: the speed moves by some ppm a second, and stays within [`FASTEST`] of what was recorded.
//! The ear tells pitches apart from about 2000 ppm on; the whole range of a speed is half of that, and takes 50 s to
//! cross.

use units::SampleRate;

use crate::drift::Fit;

/// The programme at the system clock's rate: a card's drift is taken out, and what is left in phase is worked off.
///
/// Feed-forward from the [`Fit`], and a slow proportional pull on the phase beside it: the frames made and the frames that
/// the system's clock has had time for stay within a few milliseconds of each other for ever, whatever error is left in the
/// fit. An error of 1 ppm in it costs [`PHASE_SECONDS`] microseconds of phase.
#[derive(Clone, Debug)]
pub struct ToSystem {
    hz: f64,
    slew: Slew,
    /// What the card last drifted by: kept while the fit begins anew.
    drift_ppm: f64,
    /// A moment (ns) and the frames made by then: all phase counts from there.
    anchor: Option<(f64, f64)>,
    phase: f64,
}

impl ToSystem {
    /// At the card's own speed, until a fit says what that is.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        let slew = Slew::new(20.0);
        Self { hz: f64::from(rate.hz()), slew, drift_ppm: 0.0, anchor: None, phase: 0.0 }
    }

    /// Frames of programme to make of each frame of the card, for the `frames` that begin at `from` on its counter. `made`:
    /// frames of programme made before them.
    pub fn ratio(&mut self, fit: &Fit, from: u64, frames: u64, made: f64) -> f64 {
        let mut correction = 0.0;
        if let (Some(drift), Some(at_ns)) = (fit.drift(), fit.time_of(from)) {
            self.drift_ppm = drift.ppm;
            let (zero_ns, zero_made) = *self.anchor.get_or_insert((at_ns, made));
            let late = (at_ns - zero_ns) / 1e9 - (made - zero_made) / self.hz;
            // No drift gets there: a clock was set or stopped, and nobody wants the difference played back.
            if late.abs() > ANCHOR_HOLDS {
                self.anchor = Some((at_ns, made));
            } else {
                self.phase = late;
                correction = late / PHASE_SECONDS * 1e6;
            }
        }
        let wanted = correction - self.drift_ppm;
        1.0 + self.slew.towards(wanted, frames as f64 / self.hz) / 1e6
    }

    /// The ratio for silence that stands in for missing frames: that is counted by the system's clock. Nobody hears the step.
    pub fn standing_in(&mut self) -> f64 {
        self.slew.ppm = 0.0;
        1.0
    }

    /// The card is back, as far as is known at the speed it left with. Nobody hears the step.
    pub fn back(&mut self) {
        self.slew.ppm = -self.drift_ppm;
    }

    /// Seconds that the programme was behind the system's clock when it was last looked at.
    #[must_use]
    pub fn phase(&self) -> f64 {
        self.phase
    }
}

/// A buffer that is to stay as full as it is: how much faster to play, from how much too full it is. It learns the other
/// clock's speed (proportional and integral, critically damped).
#[derive(Clone, Debug)]
pub struct Level {
    slew: Slew,
    /// ppm for each second of excess; ppm a second for each second of excess.
    pull: f64,
    learn: f64,
    learned: f64,
    /// Seconds over which the excess is smoothed, and what came of it.
    smooth: f64,
    excess: f64,
}

impl Level {
    /// For a card whose stamps are exact to a millisecond or so.
    #[must_use]
    pub fn of_stamps() -> Self {
        Self::new(20.0, 2.0, 20.0)
    }

    /// For a network stream, whose bytes come when they come: nothing under minutes means anything.
    #[must_use]
    pub fn of_arrivals() -> Self {
        Self::new(2_500.0, 60.0, 1.0)
    }

    fn new(seconds: f64, smooth: f64, slew: f64) -> Self {
        let pull = 1.0 / seconds;
        Self {
            slew: Slew::new(slew),
            pull: pull * 1e6,
            learn: pull * pull / 4.0 * 1e6,
            learned: 0.0,
            smooth,
            excess: 0.0,
        }
    }

    /// Frames to take for each frame given, `elapsed` seconds after the last look, at `excess` seconds too much.
    pub fn speed(&mut self, excess: f64, elapsed: f64) -> f64 {
        self.excess += (excess - self.excess) * (elapsed / self.smooth).min(1.0);
        let wanted = self.pull * self.excess + self.learned;
        // At its fastest there is nothing to learn from an excess that does not shrink faster.
        if wanted.abs() < FASTEST || wanted.signum() != self.excess.signum() {
            self.learned = (self.learned + self.learn * self.excess * elapsed).clamp(-FASTEST, FASTEST);
        }
        1.0 + self.slew.towards(wanted, elapsed) / 1e6
    }

    /// The buffer was filled or emptied at one go: what was learned stays.
    pub fn seated(&mut self) {
        self.excess = 0.0;
        self.slew.ppm = self.learned;
    }

    /// What the other clock was found to be ahead of this one, in ppm.
    #[must_use]
    pub fn learned_ppm(&self) -> f64 {
        self.learned
    }
}

/// A speed that changes slowly.
#[derive(Clone, Debug)]
struct Slew {
    ppm: f64,
    /// ppm a second.
    most: f64,
}

impl Slew {
    const fn new(most: f64) -> Self {
        Self { ppm: 0.0, most }
    }

    fn towards(&mut self, wanted: f64, elapsed: f64) -> f64 {
        let step = self.most * elapsed;
        self.ppm += (wanted.clamp(-FASTEST, FASTEST) - self.ppm).clamp(-step, step);
        self.ppm
    }
}

/// Beyond every clock that is in order (a cheap crystal is within 100 ppm), and under what is heard; in ppm.
pub const FASTEST: f64 = 500.0;
/// Seconds in which a phase is worked off.
pub const PHASE_SECONDS: f64 = 60.0;
/// Seconds of phase that are still worked off, at the most `FASTEST` allows.
const ANCHOR_HOLDS: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: f64 = 48_000.0;

    /// `hours` of a card at `ppm`, stamped up to `late_us` late, with an overrun of 0.3 s every two hours; the worst phase
    /// in seconds after the first five minutes, against the true time.
    fn follow(ppm: f64, hours: u64, late_us: f64) -> f64 {
        let (mut fit, mut law) = (Fit::new(SampleRate::Hz48000), ToSystem::new(SampleRate::Hz48000));
        let (mut frames, mut made, mut worst) = (0_u64, 0.0, 0.0_f64);
        let mut true_s = 0.0;
        let mut zero = None;
        let periods = hours * 3_600 * 48_000 / 2_304;
        for period in 0..periods {
            if period % 150_000 == 149_999 {
                // Counted a frame short.
                let missing = 0.3;
                made += law.ratio(&fit, frames, 14_399, made) * 14_399.0;
                frames += 14_399;
                true_s += missing;
                fit.interrupted();
            }
            let ratio = law.ratio(&fit, frames, 2_304, made);
            made += ratio * 2_304.0;
            frames += 2_304;
            true_s += 2_304.0 / HZ / (1.0 + ppm / 1e6);
            let late = (period * 7_919 % 1_000) as f64 / 1_000.0 * late_us;
            fit.observe(((true_s + late / 1e6) * 1e9) as i64, frames);
            if true_s > 300.0 {
                let phase = true_s - made / HZ;
                worst = worst.max((phase - *zero.get_or_insert(phase)).abs());
            }
        }
        worst
    }

    #[test]
    fn the_programme_keeps_the_systems_time_for_hours() {
        for ppm in [-100.0, 0.0, 100.0, 350.0] {
            let worst = follow(ppm, 6, 2_000.0);
            assert!(worst < 0.002, "{} ms of phase at {ppm} ppm", worst * 1e3);
        }
    }

    #[test]
    fn a_speed_changes_slowly_and_stays_within_bounds() {
        let mut law = Level::of_stamps();
        let mut before = 1.0;
        for _ in 0..100_000 {
            let speed = law.speed(10.0, 0.024);
            assert!((speed - before).abs() <= 20.0 * 0.024 / 1e6 + 1e-12 && speed <= 1.0 + FASTEST / 1e6);
            before = speed;
        }
        assert!(before > 1.0 + 0.99 * FASTEST / 1e6);
    }

    /// A buffer whose far clock is `ppm` ahead, fed every `burst` seconds at once. The excess at its worst after the first
    /// third, and at the end.
    fn keep(mut law: Level, ppm: f64, seconds: f64, burst: f64) -> (f64, f64) {
        let (step, mut now, mut level, mut owed, mut worst) = (0.048, 0.0, 0.0, 0.0, 0.0_f64);
        while now < seconds {
            now += step;
            owed += step * (1.0 + ppm / 1e6);
            if owed >= burst {
                level += owed;
                owed = 0.0;
            }
            let excess = level - step - burst / 2.0;
            level -= step * law.speed(excess, step);
            if now > seconds / 3.0 {
                worst = worst.max(excess.abs());
            }
        }
        assert!((law.learned_ppm() - ppm).abs() < 20.0, "{} ppm learned of {ppm}", law.learned_ppm());
        (worst, level + owed - burst)
    }

    #[test]
    fn a_level_is_held_against_every_clock() {
        for ppm in [-200.0, -100.0, 0.0, 100.0, 200.0] {
            let (worst, end) = keep(Level::of_stamps(), ppm, 3_600.0, 0.0);
            assert!(worst < 0.001 && end.abs() < 0.0005, "card at {ppm} ppm: {worst} s, at the end {end} s");
            // A stream that comes in bursts of a second.
            let (worst, end) = keep(Level::of_arrivals(), ppm, 86_400.0, 1.0);
            assert!(worst < 1.1 && end.abs() < 0.6, "stream at {ppm} ppm: {worst} s, at the end {end} s");
        }
    }
}
