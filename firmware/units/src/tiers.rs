//! The programme as people see it: which tier is on air, how each of them is, and what somebody ordered. Part of the
//! [`Snapshot`](crate::snapshot::Snapshot).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Instant, WallTime};

/// What is on air, and what could be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProgrammeReport {
    /// Name of the tier on air.
    pub on_air: String,
    /// Since when.
    pub since: Instant,
    /// Why this one, in words.
    pub why: String,
    /// All of them, first the one that should be on air.
    pub tiers: Vec<TierReport>,
    /// What somebody ordered, while it holds.
    pub order: Option<OrderReport>,
    /// The mounts are closed, so that the platform's own fallback plays.
    pub primary_dropped: bool,
}

/// One tier.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TierReport {
    /// Its name in the settings: `line-in`, `emergency`, `floor`, or an input's own.
    pub name: String,
    /// What it plays: a card, a stream, a file, noise.
    pub what: String,
    /// How it is.
    pub condition: TierCondition,
    /// Since when.
    pub since: Instant,
    /// What is wrong and what to do; `None` when nothing is.
    pub why: Option<String>,
    /// What is wrong with its sound.
    pub faults: Vec<FaultReport>,
}

/// How a tier is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TierCondition {
    /// It may go on air.
    Good,
    /// Something is wrong with it that does not change the programme yet, or never will.
    Alarm,
    /// It is not fit for air.
    Bad,
}

impl TierCondition {
    /// The word shown to people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Alarm => "alarm",
            Self::Bad => "bad",
        }
    }
}

/// One thing that is wrong with a tier's sound.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FaultReport {
    /// What, in a few words.
    pub fault: String,
    /// What to do about it.
    pub remedy: String,
    /// It has lasted long enough to change the programme, where it may.
    pub acts: bool,
    /// For how long, in milliseconds of sound.
    pub for_ms: u64,
}

/// An order of a person's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OrderReport {
    /// The tier that was ordered.
    pub tier: String,
    /// When it ends by itself.
    pub until: Instant,
    /// The same as time of day.
    pub until_wall: WallTime,
}

/// What may be ordered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "wanted", rename_all = "kebab-case")]
pub enum TierOrder {
    /// The emergency audio, or else the tier that is named.
    Play {
        /// Its name; the emergency audio without.
        #[serde(default)]
        tier: Option<String>,
        /// Seconds until the order ends by itself.
        seconds: u64,
    },
    /// The first input, whatever is wrong with it.
    Stay {
        /// Seconds until the order ends by itself.
        seconds: u64,
    },
    /// By itself again.
    Auto,
}
