//! A tier, and how it is.

use std::fmt;

use serde::{Deserialize, Serialize};
use units::Instant;

/// One of the ordered sources. The order of the values is the order of the tiers: the smaller, the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// An input, counted from 0: the studio, then its backups.
    Input(u8),
    /// Emergency audio on the box.
    Files,
    /// Quiet noise, which keeps players and servers alive. It never fails.
    Floor,
}

impl fmt::Display for Tier {
    /// People count inputs from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(n) => write!(f, "input {}", u16::from(*n) + 1),
            Self::Files => f.write_str("emergency audio"),
            Self::Floor => f.write_str("the noise floor"),
        }
    }
}

/// How a tier is. Whoever says so has waited as long as its thresholds say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Condition {
    /// Nothing wrong.
    Good,
    /// Nothing wrong yet, and no reason to trust it: quiet at this moment, or not heard yet. It stays on air and is not
    /// returned to.
    Suspect,
    /// The first stage: somebody should know.
    Alarm {
        /// What is wrong, for people.
        why: String,
        /// Whether it will be bad if it lasts (silence, in its first stage). Such a tier is not returned to; one that
        /// merely lacks a channel is.
        worsening: bool,
    },
    /// The second stage: it should not be on air.
    Bad {
        /// What is wrong, for people.
        why: String,
    },
    /// Not there: not set, or its card is not plugged in.
    Absent,
}

impl Condition {
    /// Good enough to stay on air.
    pub(crate) const fn is_usable(&self) -> bool {
        match self {
            Self::Good | Self::Suspect | Self::Alarm { .. } => true,
            Self::Bad { .. } | Self::Absent => false,
        }
    }

    /// Good enough to go on air.
    pub(crate) const fn is_fit(&self) -> bool {
        match self {
            Self::Good => true,
            Self::Alarm { worsening, .. } => !*worsening,
            Self::Suspect | Self::Bad { .. } | Self::Absent => false,
        }
    }
}

/// What is known of a tier.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) condition: Condition,
    pub(crate) since: Instant,
    /// Since when it has been fit without a break.
    pub(crate) fit_since: Option<Instant>,
    /// How often in a row it failed soon after its return.
    pub(crate) strikes: u32,
}

impl Standing {
    pub(crate) const fn new(now: Instant, condition: Condition) -> Self {
        Self { condition, since: now, fit_since: None, strikes: 0 }
    }

    pub(crate) fn set(&mut self, now: Instant, condition: Condition) {
        if condition == self.condition {
            return;
        }
        self.fit_since = if condition.is_fit() { self.fit_since.or(Some(now)) } else { None };
        // Another text is not another condition.
        if std::mem::discriminant(&condition) != std::mem::discriminant(&self.condition) {
            self.since = now;
        }
        self.condition = condition;
    }
}
