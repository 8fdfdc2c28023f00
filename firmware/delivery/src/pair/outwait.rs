//! A server that lets nobody end a silent source ends it itself, when its own timeout has passed: then its listeners are met at
//! once.
//!
//! Icecast attends to moved listeners in its turns: in one they are counted, in the next they are given their place in the
//! queue, in the third they hear something. While the queue is empty they get no place, however many turns pass. So the fallback
//! is connected anew, carries nothing at all, and the server is asked who is the primary's source and how many listen to the
//! fallback: once nobody is, and somebody does, they lose nothing by what comes at once. (`source.c`, `format.c` of 2.4.4;
//! watched on 2.4.4 and 2.5.0.) Wherever something is not as expected the splice is published as ever, and the server's turns
//! take their time.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use super::doubt::Known;
use super::look::{Eviction, Holder};
use super::{Ground, Pair, Phase};
use crate::mount::Mount;
use crate::mount::feed::Start;
use crate::mount::lead::Sight;

/// How far that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) enum Outwait {
    /// The fallback is as it was.
    #[default]
    NotYet,
    /// It is to be connected anew, if the answers allow it.
    Asked,
    /// It was, and both mounts are asked about from `ask` on.
    Empty { ask: Instant },
    /// Nothing comes of it.
    Over,
}

impl Pair {
    /// Waits for the server's own timeout, if there is nothing better. True: nothing else is to be done now.
    pub(super) fn outwait(
        &mut self,
        ground: &mut Ground<'_>,
        sight: &Sight,
        known: Known,
        (waited, moved): (Duration, bool),
    ) -> bool {
        let now = ground.now;
        let timeout = self.proven().source_timeout;
        let evict = self.proven().evict;
        let there = ground.mounts[self.fallback].sight();
        let gone = ground.mounts[self.primary].sight().is_none();
        let path_gone = !ground.is_usable(ground.mounts[self.primary].uplink());
        let Phase::Doubt(doubt) = &mut self.phase else { return false };
        let evicts = evict && doubt.look.eviction != Eviction::Refused;
        // A source whose end was seen has ended.
        let over = waited >= timeout.saturating_add(LONGEST) || moved || (gone && !path_gone);
        if evicts || over || doubt.is_of_its_own_kind() {
            return false;
        }
        // Later the new connection might not be there in time.
        let late = now.since(doubt.good) + ROOM > timeout;
        match doubt.outwait {
            Outwait::NotYet => {
                let due = doubt.good + ANEW.saturating_sub(ASKED);
                if now < due || late {
                    doubt.next = if now < due { doubt.next.min(due) } else { doubt.next };
                    return false;
                }
                doubt.outwait = Outwait::Asked;
                doubt.look.ask_again(ground, Some(self.primary), Some(self.fallback));
                false
            }
            Outwait::Asked => {
                // Its first turn begins with its connection: the others follow on the primary's.
                let rtt = Duration::from_micros(there.map_or(0, |fallback| fallback.path.rtt_us.into()));
                let due = doubt.good + ANEW.saturating_sub(rtt * 3 / 2);
                let idle = matches!(doubt.look.holder, Holder::Named(_)) && doubt.look.listeners == Some(0);
                let settled = there.is_some_and(|fallback| !fallback.owes);
                if late {
                    doubt.outwait = Outwait::Over;
                } else if now < due {
                    doubt.next = doubt.next.min(due);
                } else if !doubt.look.is_asking() && idle && settled {
                    self.connect_anew(ground, sight);
                    return true;
                }
                false
            }
            Outwait::Empty { ask } => {
                let elsewhere = there.is_some_and(|fallback| fallback.address != sight.address);
                let strange = doubt.look.holder == Holder::Foreign || doubt.look.nothing_there;
                if elsewhere && !late {
                    self.connect_anew(ground, sight);
                    return true;
                }
                if elsewhere || strange || doubt.has_begun() {
                    doubt.outwait = Outwait::Over;
                    return false;
                }
                if doubt.look.holder == Holder::Nobody && doubt.look.listeners.is_some_and(|count| count > 0)
                {
                    return self.meet(ground, known);
                }
                let near = waited + MARGIN >= timeout;
                if now >= ask && !doubt.look.is_asking() {
                    doubt.outwait = Outwait::Empty { ask: now + if near { ASK } else { ASK_CALMLY } };
                    // Once nobody is its source, nobody will be.
                    let ended = doubt.look.holder == Holder::Nobody;
                    let (primary, fallback) = (self.primary, self.fallback);
                    doubt.look.ask_again(ground, (!ended).then_some(primary), ended.then_some(fallback));
                }
                if let Outwait::Empty { ask } = doubt.outwait {
                    doubt.next = doubt.next.min(ask.max(now + ASK));
                }
                true
            }
            Outwait::Over => false,
        }
    }

    /// The fallback's connection goes, with all that was on it, and comes back with nothing.
    fn connect_anew(&mut self, ground: &mut Ground<'_>, sight: &Sight) {
        let (now, spare) = (ground.now, self.fallback);
        let timeout = self.proven().source_timeout;
        let Phase::Doubt(doubt) = &mut self.phase else { return };
        doubt.outwait = Outwait::Empty { ask: now + ASK_CALMLY };
        doubt.forget_splice();
        let way = ground.mounts[spare].uplink();
        ground.with(self.primary, |mount, step| mount.freeze(step, true));
        ground.with(spare, |mount, step| {
            mount.prefer(sight.address);
            mount.lead(step.now, true);
            mount.launch(step, way, Start::Held, false);
            mount.lead(step.now, false);
        });
        self.fill_at = now + timeout.saturating_sub(MARGIN);
    }

    /// The listeners are on the fallback, and without a place: it goes on for them.
    fn meet(&mut self, ground: &mut Ground<'_>, known: Known) -> bool {
        let now = ground.now;
        let Some(cut) = ground.mounts[self.primary].body_at(known.cut) else { return false };
        let link = ground.mounts[self.fallback].sight().map(|fallback| fallback.link);
        let begins = ground.with(self.fallback, |mount, step| Mount::splice(mount, step, cut));
        let Phase::Doubt(doubt) = &mut self.phase else { return false };
        doubt.has_spliced(known.cut, begins.unwrap_or_default(), link, now);
        self.begin_moving(ground, now, "the server dropped the silent primary");
        true
    }
}

/// When the fallback is connected anew, after the last byte of the primary: an eviction would have come by then. A little after
/// the primary's tenth turn, so that the server counts them soon after it moved them.
const ANEW: Duration = Duration::from_millis(2580);
/// Before that the server is asked whether all is as it was.
const ASKED: Duration = Duration::from_millis(400);
/// What a new connection gets to be there before the server's timeout, with a refusal and a lost packet or two.
const ROOM: Duration = Duration::from_secs(5);
/// The longest turn, twice, and a little: whole seconds are compared, at the beginning of a turn (`source.c`).
pub(super) const SLACK: Duration = Duration::from_millis(1500);
/// Within this of the timeout the listeners are there, or something is not as it should be.
const LONGEST: Duration = Duration::from_secs(2);
/// A server may end a source sooner than it said.
const ASK_CALMLY: Duration = Duration::from_millis(500);
const ASK: Duration = Duration::from_millis(30);
const MARGIN: Duration = Duration::from_millis(250);
