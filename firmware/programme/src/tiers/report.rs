//! The tiers as people see them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Alarm, Condition, Order, Policy, Tier, Why};

/// All there is to be shown at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The tier on air.
    pub on_air: Tier,
    /// For how long.
    pub lasting: Duration,
    /// Why.
    pub why: Why,
    /// The order that holds, with what is left of it. If another tier is on air, the ordered one cannot be.
    pub order: Option<Order>,
    /// What is done when no input has a programme.
    pub policy: Policy,
    /// For how long the primary has been closed by policy, if it is.
    pub primary_dropped: Option<Duration>,
    /// Every tier but the floor, best first.
    pub tiers: Vec<TierReport>,
    /// What somebody should know of.
    pub alarms: Vec<AlarmReport>,
}

/// One tier.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TierReport {
    /// Which.
    pub tier: Tier,
    /// How it is.
    pub condition: Condition,
    /// For how long.
    pub lasting: Duration,
    /// When it goes on air if all stays as it is; `None` if it would not, or waits for a song's end.
    pub back_in: Option<Duration>,
}

/// An alarm that is on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlarmReport {
    /// What of.
    pub alarm: Alarm,
    /// In words for people.
    pub why: String,
    /// For how long.
    pub lasting: Duration,
}
