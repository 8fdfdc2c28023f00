//! Where the programme's frame counter stands, and what a gap is worth in frames. Decides only: no clock, no card.
//!
//! The *zero* is the monotonic time at which frame 0 of the counter began, under the nominal rate. A look at the card ("so
//! many frames are there") bounds it from both sides: the card counts whole frames, and the look happened between the
//! moments before and after it. For n frames of length T seen between `before` and `after`,
//!
//! ```text
//! before - (n + 1) T  <  zero  <=  after - n T
//! ```
//!
//! A [`Grain::Fine`] card begins with a zero that is exact to a microsecond or so, because its counter was seen to tick, and
//! the bounds only ever correct it when the card drifts: beside a card at its nominal rate a gap is exact to the frame, with
//! a drifting one within a frame or two. A [`Grain::Coarse`] card (USB and timer-driven cards count in steps) makes only the
//! upper bound true, so its zero is the least of the last [`WINDOW`] of them, and a gap is as exact as its step.

use crate::clock::NS_PER_SECOND;

/// The counter and the clock behind it.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    hz: i64,
    position: u64,
    zero: Zero,
}

/// How a card counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grain {
    /// Frame by frame.
    Fine,
    /// In steps of many frames.
    Coarse,
}

/// When a card's first frame began, as far as looking at it could tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    pub(crate) ns: i64,
    pub(crate) grain: Grain,
}

#[derive(Clone, Debug)]
enum Zero {
    Fine(i64),
    Coarse { bounds: [i64; WINDOW], seen: usize },
}

impl Zero {
    fn new(ns: i64, grain: Grain) -> Self {
        match grain {
            Grain::Fine => Self::Fine(ns),
            Grain::Coarse => Self::Coarse { bounds: [ns; WINDOW], seen: 0 },
        }
    }
}

impl Timeline {
    /// A counter at frame 0, which begins at `zero_ns`.
    pub(crate) fn new(hz: u32, zero_ns: i64) -> Self {
        Self { hz: i64::from(hz), position: 0, zero: Zero::Fine(zero_ns) }
    }

    /// The first frame that was not handed on yet.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// `frames` were handed on, or are known to be missing.
    pub(crate) fn advance(&mut self, frames: u64) {
        self.position = self.position.saturating_add(frames);
    }

    /// At some moment from `before_ns` to `after_ns` the card had converted `frames` of the counter.
    pub(crate) fn observe(&mut self, before_ns: i64, after_ns: i64, frames: u64) {
        let lower = before_ns - self.span_ns(frames + 1);
        let upper = after_ns - self.span_ns(frames);
        match &mut self.zero {
            // The lower bound first: should a card break it, being early is what must not happen.
            Zero::Fine(zero) => *zero = (*zero).max(lower).min(upper),
            Zero::Coarse { bounds, seen } => {
                bounds[*seen % WINDOW] = upper;
                *seen = seen.wrapping_add(1);
            }
        }
    }

    /// A card began to count anew. Returns the frames between the position and its first frame, and moves the position
    /// there.
    pub(crate) fn resume(&mut self, origin: Origin) -> u64 {
        let missing = self.nearest_frame(origin.ns).saturating_sub(self.position);
        self.advance(missing);
        self.begin(origin);
        missing
    }

    /// A card's first frame is the one at the position: nothing is missing before it.
    pub(crate) fn begin(&mut self, origin: Origin) {
        self.zero = Zero::new(origin.ns - self.span_ns(self.position), origin.grain);
    }

    /// Frames of the counter whose time is over at `now_ns`.
    pub(crate) fn elapsed(&self, now_ns: i64) -> u64 {
        let frames = i128::from(now_ns - self.zero_ns()) * i128::from(self.hz) / i128::from(NS_PER_SECOND);
        u64::try_from(frames).unwrap_or(0)
    }

    /// When the first `frames` of the counter are over.
    pub(crate) fn end_ns(&self, frames: u64) -> i64 {
        // One more than the truncated span, so that `elapsed` at this very moment counts them all.
        self.zero_ns() + self.span_ns(frames) + 1
    }

    /// How long `frames` last, rounded down to the nanosecond.
    pub(crate) fn span_ns(&self, frames: u64) -> i64 {
        let ns = i128::from(frames) * i128::from(NS_PER_SECOND) / i128::from(self.hz);
        i64::try_from(ns).unwrap_or(i64::MAX / 2)
    }

    fn zero_ns(&self) -> i64 {
        match &self.zero {
            Zero::Fine(zero) => *zero,
            Zero::Coarse { bounds, .. } => bounds.iter().copied().fold(i64::MAX, i64::min),
        }
    }

    fn nearest_frame(&self, ns: i64) -> u64 {
        let scaled = i128::from(ns - self.zero_ns()) * i128::from(self.hz) + i128::from(NS_PER_SECOND / 2);
        u64::try_from(scaled / i128::from(NS_PER_SECOND)).unwrap_or(0)
    }
}

/// Bounds kept: more would be steadier on a card without drift and worse on one with it.
const WINDOW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn fine(ns: i64) -> Origin {
        Origin { ns, grain: Grain::Fine }
    }

    /// A card on the grid `start + frame / rate`, `ppm` beside its nominal rate, looked at `lateness` after each period.
    fn look(timeline: &mut Timeline, start_ns: i64, ppm: i128, periods: u64, lateness: impl Fn(u64) -> i64) {
        for period in 1..=periods {
            timeline.advance(1_152);
            let true_ns = i128::from(timeline.span_ns(timeline.position())) * (1_000_000 - ppm) / 1_000_000;
            let now = start_ns + true_ns as i64 + lateness(period);
            let there = i128::from(now - start_ns) * 48_000 * (1_000_000 + ppm) / 1_000_000 / 1_000_000_000;
            timeline.observe(now - 400, now + 300, there as u64);
        }
    }

    #[test]
    fn a_gap_is_counted_to_the_frame() {
        // Constant lateness is the hard case: no look is ever near the tick.
        let lateness: [fn(u64) -> i64; 4] =
            [|_| 1_000, |_| 14_000, |_| 20_000, |period| (period as i64 * 7_919) % 90_000];
        for late in lateness {
            for gap in [1, 2, 480, 1_151, 48_000, 48_000 * 3_600 * 24] {
                let start = 5_000_000_000;
                let mut timeline = Timeline::new(48_000, 0);
                timeline.begin(fine(start + 1_000));
                look(&mut timeline, start, 0, 1_000, late);
                let before = timeline.position();
                assert_eq!(timeline.resume(fine(start + timeline.span_ns(before + gap) + 1_000)), gap);
                assert_eq!(timeline.position(), before + gap);
                look(&mut timeline, start, 0, 100, late);
                assert_eq!(timeline.resume(fine(start + timeline.span_ns(timeline.position() + 7))), 7);
            }
        }
    }

    #[test]
    fn a_drifting_card_costs_a_frame_or_two() {
        for ppm in [-150, -20, 20, 150] {
            let start = 5_000_000_000;
            let mut timeline = Timeline::new(48_000, 0);
            timeline.begin(fine(start));
            look(&mut timeline, start, ppm, 2_000, |period| (period as i64 * 7_919) % 90_000);
            let gone = timeline.span_ns(timeline.position() + 4_800);
            let origin = start + (i128::from(gone) * (1_000_000 - ppm) / 1_000_000) as i64;
            let counted = timeline.resume(fine(origin));
            assert!(counted.abs_diff(4_800) <= 2, "{counted} frames at {ppm} ppm");
        }
    }

    #[test]
    fn a_card_that_counts_in_steps_follows_its_latest_steps() {
        let mut timeline = Timeline::new(48_000, 0);
        timeline.begin(Origin { ns: 0, grain: Grain::Coarse });
        // It starts 3 ms later than it said: once the window has passed, its zero is where its frames are.
        for period in 1..=WINDOW as u64 {
            timeline.advance(480);
            let now = 3_000_000 + timeline.span_ns(480 * period);
            timeline.observe(now - 100, now, 480 * period);
        }
        let position = timeline.position();
        assert_eq!(timeline.resume(fine(3_000_000 + timeline.span_ns(position + 96))), 96);
    }

    #[test]
    fn a_card_that_seems_early_costs_nothing() {
        let mut timeline = Timeline::new(44_100, 0);
        timeline.begin(fine(0));
        timeline.advance(44_100);
        assert_eq!(timeline.resume(fine(999_000_000)), 0);
        assert_eq!(timeline.position(), 44_100);
    }

    #[test]
    fn silence_is_due_by_the_nominal_clock() {
        let timeline = Timeline::new(44_100, 1_000);
        for frames in [1, 1152, 44_100, 44_100 * 86_400] {
            let end = timeline.end_ns(frames);
            assert_eq!(timeline.elapsed(end), frames);
            assert_eq!(timeline.elapsed(end - 1_000), frames - 1);
        }
        assert_eq!(timeline.elapsed(0), 0);
    }
}
