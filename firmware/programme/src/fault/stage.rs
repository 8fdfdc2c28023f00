//! The two stages of a fault and its end, in frames. The same machine for every fault, and for the meters' silence flag.

use units::{Frames, SampleRate};

use super::config::When;

/// How far a fault has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Somebody should know.
    Alarm,
    /// The programme should be changed.
    Act,
}

/// What a window did to a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It reached a stage; it has lasted so long.
    Rose { stage: Stage, lasted: Frames },
    /// It is over; it had lasted so long, from its first bad frame to the first good one.
    Ended { lasted: Frames },
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stages {
    alarm: Option<Frames>,
    act: Option<Frames>,
    back_after: Frames,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing reached yet; bad for so long.
    Good { bad: Frames },
    /// Reached; `lasted` includes the `good` frames at the end.
    Risen { stage: Stage, lasted: Frames, good: Frames },
}

impl Stages {
    pub(crate) fn new(when: When, rate: SampleRate) -> Self {
        let frames = |span| Frames::in_span(span, rate);
        Self {
            alarm: when.alarm.map(frames),
            act: when.act.map(frames),
            back_after: frames(when.back_after),
            state: State::Good { bad: Frames(0) },
        }
    }

    /// The window of `frames` is over; by now the sound has been bad for `bad` without a break, or good for `good`. Both are
    /// zero where it is neither.
    pub(crate) fn window(&mut self, bad: Frames, good: Frames, frames: Frames) -> Option<Step> {
        match self.state {
            State::Good { .. } => {
                let Some(stage) = self.reached(bad) else {
                    self.state = State::Good { bad };
                    return None;
                };
                self.state = State::Risen { stage, lasted: bad, good: Frames(0) };
                Some(Step::Rose { stage, lasted: bad })
            }
            State::Risen { stage, lasted, .. } => {
                let lasted = lasted + frames;
                if good > Frames(0) && good >= self.back_after {
                    self.state = State::Good { bad: Frames(0) };
                    return Some(Step::Ended { lasted: lasted - good });
                }
                // Not while it seems to be over.
                let reached = self.reached(lasted).filter(|reached| *reached > stage && good == Frames(0));
                let stage_now = reached.unwrap_or(stage);
                self.state = State::Risen { stage: stage_now, lasted, good };
                reached.map(|stage| Step::Rose { stage, lasted })
            }
        }
    }

    fn reached(&self, bad: Frames) -> Option<Stage> {
        let passed = |limit: Option<Frames>| limit.is_some_and(|limit| bad > Frames(0) && bad >= limit);
        if passed(self.act) { Some(Stage::Act) } else { passed(self.alarm).then_some(Stage::Alarm) }
    }

    /// The stage, and since how long.
    pub(crate) const fn risen(&self) -> Option<(Stage, Frames)> {
        match self.state {
            State::Good { .. } => None,
            State::Risen { stage, lasted, .. } => Some((stage, lasted)),
        }
    }

    /// How long it has been bad, risen or not.
    pub(crate) const fn bad_for(&self) -> Frames {
        match self.state {
            State::Good { bad } => bad,
            State::Risen { lasted, .. } => lasted,
        }
    }
}

/// What one window is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Bad,
    /// Between the two thresholds.
    Neither,
    Good,
}

/// Unbroken runs of bad and of good windows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Runs {
    pub(crate) bad: Frames,
    pub(crate) good: Frames,
}

impl Runs {
    pub(crate) fn window(&mut self, verdict: Verdict, frames: Frames) {
        *self = match verdict {
            Verdict::Bad => Self { bad: self.bad + frames, good: Frames(0) },
            Verdict::Neither => Self::default(),
            Verdict::Good => Self { bad: Frames(0), good: self.good + frames },
        };
    }
}

/// A run of evidence that may pause: faults that show in loud places only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    longest_pause: Frames,
    /// Since the first piece, pauses included; zero when the last piece is too long ago.
    pub(crate) bad: Frames,
    /// Since the last piece.
    pub(crate) good: Frames,
}

impl Evidence {
    pub(crate) const fn new(longest_pause: Frames) -> Self {
        Self { longest_pause, bad: Frames(0), good: Frames(0) }
    }

    pub(crate) fn window(&mut self, found: bool, frames: Frames) {
        self.good = if found { Frames(0) } else { self.good + frames };
        let goes_on = found || self.bad > Frames(0) && self.good <= self.longest_pause;
        self.bad = if goes_on { self.bad + frames } else { Frames(0) };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: SampleRate = SampleRate::Hz48000;
    const WINDOW: Frames = Frames(960);

    fn stages() -> Stages {
        let seconds = Duration::from_secs;
        Stages::new(When { alarm: Some(seconds(1)), act: Some(seconds(2)), back_after: seconds(1) }, RATE)
    }

    /// Bad or good windows; what stepped, with the number of its window from 1.
    fn feed(stages: &mut Stages, runs: &mut Runs, verdict: Verdict, windows: u64) -> Vec<(u64, Step)> {
        (1..=windows)
            .filter_map(|n| {
                runs.window(verdict, WINDOW);
                Some((n, stages.window(runs.bad, runs.good, WINDOW)?))
            })
            .collect()
    }

    #[test]
    fn alarm_then_act_then_over() {
        let (mut stages, mut runs) = (stages(), Runs::default());
        let rose = |stage, seconds: u64| Step::Rose { stage, lasted: Frames(seconds * 48_000) };
        let found = feed(&mut stages, &mut runs, Verdict::Bad, 150);
        assert_eq!(found, [(50, rose(Stage::Alarm, 1)), (100, rose(Stage::Act, 2))]);
        let found = feed(&mut stages, &mut runs, Verdict::Good, 60);
        assert_eq!(found, [(50, Step::Ended { lasted: Frames(3 * 48_000) })]);
        assert_eq!(feed(&mut stages, &mut runs, Verdict::Bad, 50).len(), 1, "it re-arms");
    }

    #[test]
    fn nobody_acts_on_what_seems_to_be_over() {
        let (mut stages, mut runs) = (stages(), Runs::default());
        feed(&mut stages, &mut runs, Verdict::Bad, 90);
        assert_eq!(feed(&mut stages, &mut runs, Verdict::Good, 49), []);
        let found = feed(&mut stages, &mut runs, Verdict::Bad, 1);
        assert_eq!(found, [(1, Step::Rose { stage: Stage::Act, lasted: Frames(140 * 960) })]);
    }

    #[test]
    fn evidence_goes_on_through_short_pauses() {
        let mut evidence = Evidence::new(Frames(10 * 960));
        for n in 1..=30_u64 {
            evidence.window(n % 10 == 1, WINDOW);
            assert_eq!(evidence.bad, Frames(n * 960));
        }
        evidence.window(false, WINDOW);
        assert_eq!((evidence.bad, evidence.good), (Frames(31 * 960), Frames(10 * 960)));
        evidence.window(false, WINDOW);
        assert_eq!(evidence.bad, Frames(0));
        evidence.window(false, WINDOW);
        assert_eq!(evidence.bad, Frames(0), "only a piece begins it");
    }
}
