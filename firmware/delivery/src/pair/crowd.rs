//! What the server's own page says of a pair's mounts, asked now and then: whether somebody listens to the fallback who was
//! not moved there, and from which address each source is seen to come.

use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use super::Ground;
use crate::event::{Answer, LinkId, Output, Question};
use crate::mount::Event;
use crate::wire::request;

/// The newest count, and when the next is due.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Crowd {
    /// Somebody listened to the fallback when it was last asked.
    there: bool,
    turn: Turn,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Turn {
    /// The fallback is asked about at `at`.
    Due { at: Instant },
    /// Asked about the mount at `place`.
    Asked { link: LinkId, place: usize, until: Instant },
}

impl Crowd {
    /// Nobody is known to listen; asked soon.
    pub(super) fn new(now: Instant) -> Self {
        Self { there: false, turn: Turn::Due { at: now + FIRST } }
    }

    /// Listeners were found on the fallback by other means.
    pub(super) fn found(&mut self, now: Instant) {
        *self = Self { there: true, turn: Turn::Due { at: now + EVERY } };
    }

    /// Listeners may be on the fallback: asked soon.
    pub(super) fn suspected(&mut self, now: Instant) {
        *self = Self { there: true, turn: Turn::Due { at: now + FIRST } };
    }

    /// Sound is owed to whoever listens to the fallback, and listeners who were not moved there would hear what is written for
    /// those who are.
    pub(super) const fn is_there(&self) -> bool {
        self.there
    }

    pub(super) fn owns(&self, link: LinkId) -> bool {
        matches!(self.turn, Turn::Asked { link: asked, .. } if asked == link)
    }

    /// Asks about the fallback when it is time.
    pub(super) fn step(&mut self, ground: &mut Ground<'_>, fallback: usize) {
        let now = ground.now;
        match self.turn {
            Turn::Due { at } if at <= now => self.ask(ground, fallback),
            Turn::Asked { until, link, .. } if until <= now => {
                ground.out.push_back(Output::Close { link });
                self.turn = Turn::Due { at: now + EVERY };
            }
            Turn::Due { .. } | Turn::Asked { .. } => {}
        }
    }

    /// Something came on a link that [`Crowd::owns`].
    pub(super) fn event(
        &mut self,
        ground: &mut Ground<'_>,
        primary: usize,
        fallback: usize,
        event: &Event<'_>,
    ) {
        let Turn::Asked { place, .. } = self.turn else { return };
        let answer = match event {
            Event::Answered(answer) => Some(*answer),
            Event::Failed(_) | Event::Closed(_) => None,
            Event::Heard { .. }
            | Event::Resolved(_)
            | Event::Reached
            | Event::Connected
            | Event::DateIgnored
            | Event::Replied(_)
            | Event::Wrote { .. }
            | Event::Writable
            | Event::Measured { .. } => return,
        };
        self.turn = Turn::Due { at: ground.now + EVERY };
        let Some(Answer::Source { listeners, agent, address, .. }) = answer else { return };
        if let (true, Some(address)) = (agent.as_deref() == Some(ground.agent), *address) {
            ground.seen_as(place, address);
        }
        if place == fallback {
            if let Some(listeners) = listeners {
                self.there = *listeners > 0;
            }
            // Where two ways might leave by one public address, the other's is of interest as well.
            if ground.ways.len() > 1 {
                self.ask(ground, primary);
            }
        }
    }

    fn ask(&mut self, ground: &mut Ground<'_>, place: usize) {
        let until = ground.now + PATIENCE * 2;
        self.turn = match ask(ground, place) {
            Some(link) => Turn::Asked { link, place, until },
            None => Turn::Due { at: ground.now + EVERY },
        };
    }
}

/// Asks the server about the mount at `place`, if it is connected.
pub(super) fn ask(ground: &mut Ground<'_>, place: usize) -> Option<LinkId> {
    let address = ground.mounts[place].sight()?.address;
    let link = ground.link();
    let mount = &ground.mounts[place];
    let config = mount.config();
    ground.out.push_back(Output::Ask {
        link,
        uplink: mount.uplink(),
        address: mount.page_address(address),
        tls: mount.tls(),
        request: Some(request::admin_stats(config, ground.agent)),
        question: Question::Source { path: config.path.clone() },
        patience: PATIENCE,
    });
    Some(link)
}

impl Ground<'_> {
    /// The server sees the source of the mount at `place` come from `address`.
    fn seen_as(&mut self, place: usize, address: IpAddr) {
        if let Some(uplink) = self.mounts[place].uplink() {
            self.seen.push((uplink, address));
        }
    }
}

/// How often is asked.
const EVERY: Duration = Duration::from_secs(240);
/// The first time: players may have come while the box was off.
const FIRST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(4);
