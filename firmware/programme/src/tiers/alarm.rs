//! Alarms: each begins once, re-arms while it lasts, and ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use super::{AlarmReport, Decision, Tier};

/// What somebody should know of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alarm {
    /// A tier is in its first stage.
    Warned(Tier),
    /// A tier is bad.
    Failed(Tier),
    /// This tier is on air, and neither the first one nor ordered.
    StoodIn(Tier),
    /// The primary is closed by policy.
    PrimaryDropped,
}

/// Alarms that are on.
#[derive(Debug)]
pub(crate) struct Alarms {
    on: Vec<On>,
    every: Duration,
}

#[derive(Debug)]
struct On {
    alarm: Alarm,
    why: String,
    since: Instant,
    remind_at: Instant,
}

impl Alarms {
    pub(crate) const fn new(every: Duration) -> Self {
        Self { on: Vec::new(), every }
    }

    /// Takes what should be on. New ones come before ended ones: a second stage is told before the first one ends.
    pub(crate) fn update(&mut self, now: Instant, wanted: Vec<(Alarm, String)>) -> Vec<Decision> {
        let mut decisions = Vec::new();
        let mut over = std::mem::take(&mut self.on);
        for (alarm, why) in wanted {
            let mut on = match over.iter().position(|on| on.alarm == alarm) {
                Some(place) => over.swap_remove(place),
                None => {
                    decisions.push(Decision::AlarmBegan { alarm, why: why.clone() });
                    On { alarm, why: String::new(), since: now, remind_at: now + self.every }
                }
            };
            on.why = why;
            if on.remind_at <= now {
                on.remind_at = now + self.every;
                let (why, lasted) = (on.why.clone(), now.since(on.since));
                decisions.push(Decision::AlarmReminder { alarm, why, lasted });
            }
            self.on.push(on);
        }
        let ended =
            over.iter().map(|on| Decision::AlarmEnded { alarm: on.alarm, lasted: now.since(on.since) });
        decisions.extend(ended);
        decisions
    }

    pub(crate) fn wakeup(&self) -> Option<Instant> {
        self.on.iter().map(|on| on.remind_at).min()
    }

    pub(crate) fn report(&self, now: Instant) -> Vec<AlarmReport> {
        let report =
            |on: &On| AlarmReport { alarm: on.alarm, why: on.why.clone(), lasting: now.since(on.since) };
        self.on.iter().map(report).collect()
    }
}
