//! What a station wants to happen.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Tier;

/// The tiers and their rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TiersConfig {
    /// One rule for each input, best first: how it is left for a better one. The first one's is never used.
    pub inputs: Vec<GoBack>,
    /// How emergency audio is left for an input. Default: when that was good for 10 s.
    pub files: GoBack,
    /// How the noise floor is left for anything else. Default: as soon as that is good: nothing is worse than noise.
    pub floor: GoBack,
    /// What is done when an input fails.
    pub policy: Policy,
    /// How long a fade between two tiers is. Default 1 s: long enough to be no cut, short enough to be no gap.
    pub crossfade: Duration,
    /// An alarm that lasts is repeated so often. Default 15 min.
    pub reminder: Duration,
    /// Settle times that double for a tier which keeps failing end here. Default 10 min.
    pub longest_settle: Duration,
}

impl TiersConfig {
    /// Most inputs.
    pub const MOST_INPUTS: usize = 8;

    /// So many inputs, with the defaults.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self {
            inputs: vec![GoBack::After(Duration::from_secs(10)); inputs],
            files: GoBack::After(Duration::from_secs(10)),
            floor: GoBack::After(Duration::ZERO),
            policy: Policy::NextTier,
            crossfade: Duration::from_secs(1),
            reminder: Duration::from_mins(15),
            longest_settle: Duration::from_mins(10),
        }
    }

    pub(crate) fn check(&self) -> Result<(), TiersError> {
        if !(1..=Self::MOST_INPUTS).contains(&self.inputs.len()) {
            return Err(TiersError::Inputs { inputs: self.inputs.len() });
        }
        if self.reminder < Duration::from_secs(1) {
            return Err(TiersError::Reminder);
        }
        Ok(())
    }
}

/// When a tier is left for a better one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GoBack {
    /// When the better one has been good for so long without a break.
    After(Duration),
    /// Then, at the end of the file on air. For tiers without songs the same as [`GoBack::After`].
    AtSongEnd {
        /// The better one must have been good for so long.
        good_for: Duration,
        /// So much later, the song's end is waited for no more: it may be an hour away.
        at_latest: Duration,
    },
    /// Only when a person says so ([`super::Tiers::automatic`]), or when the tier itself fails.
    Manual,
}

/// What is done when no input has a programme.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The next tier is played.
    NextTier,
    /// The next input is played; with none left the primary is closed, so that the platform's own fallback takes over.
    DropPrimary {
        /// The primary is opened again when an input has been good for so long.
        back_after: Duration,
    },
    /// Nothing changes; somebody is told.
    AlarmOnly,
}

/// Why tiers cannot be had, or ordered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TiersError {
    /// None, or too many.
    #[error("{inputs} inputs; set 1 to {}", TiersConfig::MOST_INPUTS)]
    Inputs {
        /// As set.
        inputs: usize,
    },
    /// Alarms would never stop.
    #[error("reminders less than a second apart; set minutes")]
    Reminder,
    /// An order for what is not there.
    #[error("there is no {tier}; this box has {inputs}")]
    NoSuchTier {
        /// As ordered.
        tier: Tier,
        /// Inputs there are.
        inputs: usize,
    },
}
