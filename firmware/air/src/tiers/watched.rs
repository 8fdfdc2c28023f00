//! One input as the tiers see it: its name, the watch over its sound, and what follows from it.

use std::time::Duration;

use programme::fault::{Fault, Kind, Stage, Watch};
use programme::tiers::Condition;
use units::snapshot::FaultReport;

/// An input that may go on air.
pub(super) struct Watched {
    /// What people call it.
    pub(super) name: String,
    /// What it plays.
    pub(super) what: String,
    pub(super) watch: Watch,
    /// Why it gives nothing, where that is known from elsewhere.
    pub(super) lost: Option<String>,
    rough: Rough,
}

/// All that a condition's kind depends on: a condition in words is only made when this changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rough {
    Unheard,
    Good,
    Quiet,
    Faulty,
}

impl Watched {
    pub(super) fn new(name: String, what: String, watch: Watch) -> Self {
        Self { name, what, watch, lost: None, rough: Rough::Unheard }
    }

    /// Takes its next frames. Its condition, if that may be another one now.
    pub(super) fn feed(
        &mut self,
        pcm: &[f32],
        is_lost: bool,
        why: impl FnOnce() -> Option<String>,
    ) -> Option<Condition> {
        self.watch.lost(is_lost);
        let turned = !self.watch.feed(pcm).is_empty();
        let rough = if self.watch.state().next().is_some() {
            Rough::Faulty
        } else if is_lost || self.watch.quiet_for() >= QUIET {
            Rough::Quiet
        } else {
            Rough::Good
        };
        if rough == self.rough && !turned {
            return None;
        }
        self.rough = rough;
        self.lost = if is_lost { why().or_else(|| self.lost.take()) } else { None };
        Some(self.condition())
    }

    fn condition(&self) -> Condition {
        let faults: Vec<_> = self.watch.state().collect();
        let words = |act: bool| {
            let these = faults.iter().filter(|standing| !act || standing.stage == Stage::Act);
            these.map(|standing| self.words(standing.fault)).collect::<Vec<_>>().join("; ")
        };
        if faults.iter().any(|standing| standing.stage == Stage::Act) {
            return Condition::Bad { why: words(true) };
        }
        if !faults.is_empty() {
            let worsening =
                faults.iter().any(|standing| self.watch.config().when(standing.fault.kind()).act.is_some());
            return Condition::Alarm { why: words(false), worsening };
        }
        match self.rough {
            Rough::Quiet | Rough::Unheard => Condition::Suspect,
            Rough::Good | Rough::Faulty => Condition::Good,
        }
    }

    fn words(&self, fault: Fault) -> String {
        format!("{fault}; {}", self.remedy(fault))
    }

    /// What to do about a fault.
    fn remedy(&self, fault: Fault) -> String {
        let remedy = match fault.kind() {
            Kind::CardLost => self.lost.as_deref().unwrap_or("it is looked for"),
            Kind::Silence => "check what feeds it",
            Kind::DeadChannel => "check that side's cable",
            Kind::Unequal => "check balance and cables",
            Kind::Clipping => "turn what feeds it down",
            Kind::Overload => "turn down what comes before the sound card",
            Kind::Inverted => "one side's polarity is swapped: check the cables",
            Kind::Tone => "is a line-up tone left on, or a cable broken?",
        };
        remedy.to_string()
    }

    /// What is wrong with its sound now.
    pub(super) fn faults(&self, rate: units::SampleRate) -> Vec<FaultReport> {
        let position = self.watch.position();
        self.watch
            .state()
            .map(|standing| {
                let lasted = (position - standing.since).duration(rate);
                FaultReport {
                    fault: standing.fault.to_string(),
                    remedy: self.remedy(standing.fault),
                    acts: standing.stage == Stage::Act,
                    for_ms: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
                }
            })
            .collect()
    }
}

/// A line that was quiet for so long is not returned to until it sounds again.
const QUIET: Duration = Duration::from_secs(2);
