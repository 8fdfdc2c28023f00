//! Uplinks: which network paths there are, and which of them work. Sans-IO like everything here.
//!
//! An uplink is a network interface with its own routes and name servers. Three things are known of it, in this order: what
//! the kernel says (link, address, route), what delivery's own connections see, and what checks find (its gateway, the
//! ingests, further targets). Health is kept per uplink and per (uplink, ingest): parts of the internet may be reachable.
//!
//! Invariants
//! - What the kernel takes away (link, address, route) takes the uplink down at once; what only goes unanswered has to do so
//!   [`DOWN_COUNT`](link::DOWN_COUNT) rounds in a row, and [`UP_COUNT`](link::UP_COUNT) answered ones bring it up.
//! - Bytes that a server acknowledges prove more than any check: a busy uplink is not checked.
//! - A metered uplink that is up is checked only on suspicion, its own or another uplink's.
//! - Without uplinks nothing is asked and nothing is reported.

mod event;
mod link;
mod path;
mod reach;
#[cfg(test)]
mod tests;
mod why;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use units::Instant;
use units::snapshot::UplinkReport;

pub use event::{
    CheckId, CheckKind, Input, Interface, Outcome, Output, Page, Prefix, Route, Sight, Transition,
};
pub use reach::Standing;
pub use why::Why;

use link::{Step, Uplink};

/// An uplink's place in the configuration, which is its rank: 0 is the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UplinkId(pub u8);

/// One uplink, as set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UplinkConfig {
    /// Its name in messages; unique.
    pub name: String,
    /// The network interface; unique.
    pub interface: String,
    /// Its bytes cost money: nothing is sent through it that is not needed.
    pub metered: bool,
    /// Name servers; empty leaves them to whoever manages the network.
    pub dns: Vec<IpAddr>,
    /// Targets of checks beside the ingests.
    pub targets: Vec<SocketAddr>,
}

/// Where an uplink stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum State {
    /// It carries nothing.
    Down {
        /// Why.
        why: Why,
    },
    /// Link, address and route are there (or not yet known); no check is answered often enough yet.
    Checking,
    /// It works.
    Up,
    /// It worked, and something goes unanswered. Reversible.
    Suspect {
        /// What.
        why: Why,
        /// Since when.
        since: Instant,
    },
}

/// Every uplink.
///
/// Contract as of [`crate::Delivery`]: one input at a time, `now` never goes back, [`Uplinks::poll`] is drained after each,
/// [`Input::Tick`] comes at [`Uplinks::wakeup`] or any other time.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Uplinks {
    uplinks: Vec<Uplink>,
    /// The newest picture of the machine's interfaces; `None` before the first.
    interfaces: Option<Vec<Interface>>,
    next_check: u32,
    #[serde(skip)]
    outputs: VecDeque<Output>,
}

impl Uplinks {
    /// No uplinks: sockets are left to the kernel's routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes new settings. An uplink that is as before goes on undisturbed, also at another rank.
    pub fn configure(&mut self, now: Instant, configs: &[UplinkConfig]) {
        let mut old = core::mem::take(&mut self.uplinks);
        let mut kept = Vec::new();
        for config in configs.iter().take(usize::from(u8::MAX)) {
            let known = old.iter().position(|uplink| uplink.config() == config);
            let known = known.map(|at| old.swap_remove(at));
            kept.push(known.unwrap_or_else(|| Uplink::new(config.clone(), now)));
        }
        for mut uplink in old {
            uplink.drop_checks(&mut self.outputs);
        }
        self.uplinks = kept;
        self.observe(now);
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Instant, input: &Input) {
        match input {
            Input::Interfaces(interfaces) => {
                self.interfaces = Some(interfaces.clone());
                self.observe(now);
            }
            Input::Checked { check, outcome } => self.each(now, |uplink, step| {
                uplink.checked(step, *check, outcome);
            }),
            Input::Ingest { uplink, ingest, sight } => {
                let id = *uplink;
                self.each(now, |uplink, step| {
                    if step.id == id {
                        uplink.saw(step, *ingest, sight);
                    }
                });
            }
            Input::Public { uplink, address } => {
                if let Some(uplink) = self.uplinks.get_mut(usize::from(uplink.0)) {
                    uplink.seen_as(*address);
                }
            }
            Input::Tick => self.each(now, Uplink::tick),
        }
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due; `None` while nothing waits.
    #[must_use]
    pub fn wakeup(&self) -> Option<Instant> {
        self.uplinks.iter().filter_map(Uplink::deadline).min()
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uplinks.is_empty()
    }

    /// Every uplink's id, best rank first.
    pub fn ids(&self) -> impl Iterator<Item = UplinkId> {
        (0..self.uplinks.len()).map(id_of)
    }

    /// An uplink's settings; `None` for an id that is not configured.
    #[must_use]
    pub fn config(&self, id: UplinkId) -> Option<&UplinkConfig> {
        self.uplink(id).map(Uplink::config)
    }

    /// Where it stands; `None` for an id that is not configured.
    #[must_use]
    pub fn state(&self, id: UplinkId) -> Option<&State> {
        self.uplink(id).map(Uplink::state)
    }

    /// Whether packets can leave by it: link, address and route are there, whatever checks say. Where [`Uplinks::best`] gives
    /// nothing, trying these costs nothing: a check may be wrong, a connection is not.
    #[must_use]
    pub fn usable(&self, id: UplinkId) -> bool {
        self.uplink(id).is_some_and(Uplink::is_usable)
    }

    /// The uplinks that are up and, with an ingest, not known to miss it; best rank first.
    pub fn best(&self, ingest: Option<SocketAddr>) -> impl Iterator<Item = UplinkId> {
        let healthy = move |uplink: &Uplink| {
            *uplink.state() == State::Up && ingest.is_none_or(|ingest| uplink.standing(ingest).is_open())
        };
        self.uplinks
            .iter()
            .enumerate()
            .filter(move |(_, uplink)| healthy(uplink))
            .map(|(place, _)| id_of(place))
    }

    /// What is known of an ingest through an uplink.
    #[must_use]
    pub fn standing(&self, id: UplinkId, ingest: SocketAddr) -> Standing {
        self.uplink(id).map_or(Standing::Unknown, |uplink| uplink.standing(ingest))
    }

    /// Raised whenever connections made before are dead: the interface was re-created, or its addresses replaced.
    #[must_use]
    pub fn epoch(&self, id: UplinkId) -> u32 {
        self.uplink(id).map_or(0, Uplink::epoch)
    }

    /// Every uplink as people see it, best rank first.
    #[must_use]
    pub fn reports(&self) -> Vec<UplinkReport> {
        let report = |(place, uplink): (usize, &Uplink)| {
            let others = self.uplinks.iter().enumerate().filter(|(other, _)| *other != place);
            uplink.report(others.filter_map(|(_, other)| uplink.shares_with(other)).collect())
        };
        self.uplinks.iter().enumerate().map(report).collect()
    }

    fn uplink(&self, id: UplinkId) -> Option<&Uplink> {
        self.uplinks.get(usize::from(id.0))
    }

    fn observe(&mut self, now: Instant) {
        let Some(interfaces) = self.interfaces.take() else { return };
        self.each(now, |uplink, step| uplink.observe(step, &interfaces));
        self.interfaces = Some(interfaces);
    }

    fn each(&mut self, now: Instant, mut act: impl FnMut(&mut Uplink, &mut Step<'_>)) {
        let mut disturbed = None;
        for (place, uplink) in self.uplinks.iter_mut().enumerate() {
            let mut step = Step::new(now, id_of(place), &mut self.next_check, &mut self.outputs);
            act(uplink, &mut step);
            if step.is_disturbed() {
                disturbed = Some(place);
            }
        }
        // One of them fails: whoever may have to stand in is looked at, also if that costs a few bytes.
        let Some(disturbed) = disturbed else { return };
        for (place, uplink) in self.uplinks.iter_mut().enumerate().filter(|(place, _)| *place != disturbed) {
            uplink.look(&mut Step::new(now, id_of(place), &mut self.next_check, &mut self.outputs));
        }
    }
}

fn id_of(place: usize) -> UplinkId {
    UplinkId(u8::try_from(place).unwrap_or(u8::MAX))
}
