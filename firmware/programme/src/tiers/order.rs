//! A manual order, as it is kept across a restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::WallTime;

use super::Tier;

/// An order, as it stands. The caller stores it when it changes and now and then while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The tier that was ordered on air.
    pub tier: Tier,
    /// What was left of it when it was stored.
    pub left: Duration,
    /// Its end by the wall clock.
    pub ends: WallTime,
}

impl Order {
    /// How long an order lasts unless said otherwise.
    pub const USUAL: Duration = Duration::from_mins(30);

    /// Longest order: nobody remembers it the day after.
    pub const LONGEST: Duration = Duration::from_hours(24);

    /// What is left of a stored order after a restart; `None` if it is over. Where the box does not know the time (now,
    /// or when the order was given), the time it was off does not count. Never more than what was left: a clock that was
    /// set back gives no order a second life.
    #[must_use]
    pub fn left_at(&self, wall: WallTime) -> Option<Duration> {
        let left = match (self.ends, wall) {
            (WallTime::Unix(ends), WallTime::Unix(now)) => Duration::from_secs(ends.saturating_sub(now)),
            (WallTime::Unknown, _) | (_, WallTime::Unknown) => self.left,
        };
        Some(left.min(self.left).min(Self::LONGEST)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_goes_on_where_the_clock_is() {
        let minutes = Duration::from_mins;
        let order = Order { tier: Tier::Files, left: minutes(20), ends: WallTime::Unix(10_000) };
        assert_eq!(order.left_at(WallTime::Unix(9_400)), Some(minutes(10)));
        assert_eq!(order.left_at(WallTime::Unix(10_000)), None);
        assert_eq!(order.left_at(WallTime::Unix(1_000)), Some(minutes(20)), "the clock was set back");
        assert_eq!(order.left_at(WallTime::Unknown), Some(minutes(20)));
        let blind = Order { ends: WallTime::Unknown, ..order };
        assert_eq!(blind.left_at(WallTime::Unix(10_001)), Some(minutes(20)));
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order, "{text}");
    }
}
