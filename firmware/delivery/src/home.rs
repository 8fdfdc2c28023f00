//! The way home of a primary whose listeners the box does not move itself: it leaves an uplink that is gone at once, and goes back
//! to the preferred one when that has been good for the settle time.
//!
//! Going back ends the source for a moment. So it is done where the listeners have a mount to go to meanwhile, or where every
//! byte of the present uplink costs money; else the next connection takes the better way.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use crate::config::{OutputConfig, Return};
use crate::pair::Ground;

/// One such primary.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Home {
    place: usize,
    fallback: Option<usize>,
    settle: Duration,
    /// Since when it has been away although the preferred uplink is good.
    since: Option<Instant>,
}

impl Home {
    /// `None` where nobody wants it to move by itself.
    pub(crate) fn of(policy: &OutputConfig, place: usize, fallback: Option<usize>) -> Option<Self> {
        let settle = policy.settle;
        (policy.give_back == Return::Auto).then_some(Self { place, fallback, settle, since: None })
    }

    /// Whether its mounts are among the first `count`, as in any that was not read from outside.
    pub(crate) fn is_within(&self, count: usize) -> bool {
        self.place < count && self.fallback.is_none_or(|at| at < count)
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.since.map_or(Instant::from_micros(u64::MAX), |since| since + self.settle)
    }

    /// Looks where the primary is, and takes it home when it is time.
    pub(crate) fn step(&mut self, ground: &mut Ground<'_>) {
        let now = ground.now;
        let best = ground.ways.first().copied().flatten();
        let mount = &ground.mounts[self.place];
        let here = mount.uplink();
        let good = best.is_some_and(|best| ground.up.contains(&best));
        let lands =
            self.fallback.and_then(|at| ground.mounts[at].sight()).is_some_and(|sight| sight.acked > 0);
        let costly = here.is_some_and(|here| ground.metered.contains(&here))
            && best.is_none_or(|best| !ground.metered.contains(&best));
        if mount.sight().is_none() || here == best || !good || !(lands || costly) {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= self.settle {
            self.since = None;
            let why = "the preferred uplink has been good for the settle time; opening it there";
            ground.with(self.place, |mount, step| mount.reroute(step, best, why));
        }
    }
}
