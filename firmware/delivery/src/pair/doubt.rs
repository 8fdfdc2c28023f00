//! From the first missing acknowledgement to the primary's end: what its listeners have, what the fallback goes on with, and
//! whether its source may be ended.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;
use units::snapshot::Incident;

use super::away::{Away, Stay};
use super::candour::LATE;
use super::look::{Eviction, Holder, Look};
use super::outwait::{Outwait, SLACK};
use super::{Ground, Pair, Phase};
use crate::event::LinkId;
use crate::mount::lead::Sight;
use crate::mount::{Mount, feed};
use crate::uplink::Sight as WaySight;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Doubt {
    cause: String,
    /// The last moment at which the path was good.
    pub good: Instant,
    /// Bytes acknowledged then.
    acked: u64,
    /// The last body byte that the probe is known to have heard of it, and when it did.
    heard: Option<(u64, Instant)>,
    /// When the doubt began.
    began: Instant,
    pub look: Look,
    /// The body byte before which the listeners have everything, as published on the fallback.
    spliced: Option<u64>,
    /// The body byte of the fallback from which it goes on, and the connection that has it.
    goes_on: u64,
    on: Option<LinkId>,
    /// When that was published.
    published: Instant,
    /// Since when the fallback is there to go on with.
    ready: Option<Instant>,
    /// Whether checks of the primary's uplink are answered, and since when they are again.
    answering: Answering,
    /// Acknowledgements say nothing here: what is heard stands for them.
    lies: bool,
    /// Nothing is wrong: somebody wants the listeners on the fallback.
    planned: Option<Planned>,
    /// A server that lets nobody end it is waited for.
    #[serde(default)]
    pub outwait: Outwait,
    /// The fallback carried the listeners until just now, and rests at a block's end.
    resting: bool,
    /// What the path's round trip adds to every wait.
    grace: Duration,
    pub next: Instant,
}

/// What checks say of the primary's uplink during a doubt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Answering {
    /// They were never in doubt, or there are none.
    AsBefore,
    /// They are not answered.
    No,
    /// They are answered again, since then.
    Again(Instant),
}

/// A move that is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Planned {
    stay: Stay,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Moving {
    stay: Stay,
    good: Instant,
    pub look: Look,
    /// What the listeners have of the primary, by body byte.
    cut: u64,
    goes_on: u64,
    /// The probe was one of them.
    with_probe: bool,
    /// The latest moment at which they sit on the fallback.
    settled: Instant,
    pub next: Instant,
}

impl Doubt {
    /// Something is known of it that rules out waiting for the server.
    pub(super) const fn is_of_its_own_kind(&self) -> bool {
        self.lies || self.resting || self.planned.is_some()
    }

    /// What goes on is on the fallback, by its own connection `on`.
    pub(super) const fn has_spliced(&mut self, cut: u64, goes_on: u64, on: Option<LinkId>, now: Instant) {
        (self.spliced, self.goes_on) = (Some(cut), goes_on);
        (self.on, self.published) = (on, now);
    }

    /// Whether what goes on is out.
    pub(super) const fn has_begun(&self) -> bool {
        self.on.is_some()
    }

    /// The connection that it was on is gone.
    pub(super) const fn forget_splice(&mut self) {
        (self.spliced, self.on, self.ready) = (None, None, None);
    }

    /// Keeps what the probe heard of the primary itself: it goes on to hear what its listeners do, whoever passes that on.
    fn note_heard(&mut self, primary: &Mount, moved: bool, written: u64, block: u64) {
        let Some(heard) = self.look.heard.filter(|_| !moved) else { return };
        let Some(body) = primary.body_of(heard.rendition, heard.upto) else { return };
        // Whole blocks only: anything else is not this mount's.
        let whole = body.is_multiple_of(block) && body <= written;
        if whole && self.heard.is_none_or(|(before, _)| body > before) {
            self.heard = Some((body, heard.at));
        }
    }

    /// Whether the probe hears the fallback in its mount's place: then the listeners have moved, whatever moved them. Bytes that
    /// the primary was to pass on as well come from it, while it can be there.
    fn has_moved(&self, primary: &Mount, fallback: &Mount, sight: &Sight, may_be_over: bool) -> bool {
        let Some(heard) = self.look.heard else { return false };
        let block = primary.profile().block.unwrap_or(1);
        let theirs = primary.body_of(heard.rendition, heard.upto);
        let may_be_its_own = theirs.is_some_and(|body| body <= sight.written - sight.written % block);
        self.spliced.is_some()
            && self.look.heard_beyond(fallback, self.goes_on)
            && (!may_be_its_own
                || (may_be_over && self.heard.is_some())
                || self.look.holder == Holder::Nobody)
    }
}

impl Pair {
    pub(super) fn begin_doubt(&mut self, ground: &mut Ground<'_>, cause: &str) {
        let now = ground.now;
        self.candour.hush(ground);
        let primary = &ground.mounts[self.primary];
        let lies = self.candour.lies_on(primary.uplink());
        let (sight, why) = match (primary.sight(), primary.remains()) {
            (Some(sight), _) => (sight, String::new()),
            (None, Some((sight, why))) => (sight, format!(": {why}")),
            (None, None) => return,
        };
        let sight = self.believe(primary, sight);
        let good = if sight.owes { unanswered_since(&sight) } else { now };
        if primary.sight().is_some() {
            ground.see(self.primary, WaySight::Silent);
        }
        let resting = matches!(self.phase, Phase::Return(_));
        if let Phase::Return(back) = &mut self.phase {
            back.look.close(ground);
        }
        self.phase = Phase::Doubt(Doubt {
            planned: None,
            answering: Answering::AsBefore,
            lies,
            resting,
            outwait: Outwait::default(),
            cause: format!("{cause}{why}"),
            good,
            acked: sight.acked,
            heard: None,
            began: now,
            look: Look::default(),
            spliced: None,
            goes_on: 0,
            on: None,
            published: now,
            ready: None,
            grace: grace(&sight, self.learned),
            next: now,
        });
    }

    /// Moves the listeners to the fallback although nothing is wrong.
    pub(super) fn leave(&mut self, ground: &mut Ground<'_>, cause: &str, stay: Stay) {
        self.begin_doubt(ground, cause);
        if let Phase::Doubt(doubt) = &mut self.phase {
            doubt.planned = Some(Planned { stay });
        }
    }

    pub(super) fn doubt(&mut self, ground: &mut Ground<'_>) {
        let Phase::Doubt(doubt) = &mut self.phase else { return };
        let now = ground.now;
        let steps = [SPLICE, SUSPECT].map(|step| doubt.good + step + doubt.grace);
        doubt.next = steps.into_iter().filter(|&at| at > now).fold(now + PACE, Instant::min);
        let (place, spare) = (self.primary, self.fallback);
        let primary = &ground.mounts[place];
        let alive = primary.sight().map(|sight| self.believe(primary, sight));
        let remains = || primary.remains().map(|(sight, _)| self.believe(primary, sight));
        let Some(sight) = alive.or_else(remains) else {
            self.phase = Phase::Calm;
            return;
        };
        let fill_every = self.fill_every();
        let Phase::Doubt(doubt) = &mut self.phase else { return };
        let path_gone = !ground.is_usable(primary.uplink());
        let asked = matches!(doubt.look.eviction, Eviction::Asked(_) | Eviction::Done(_));
        // What lies goes on acknowledging for a source that the server has ended.
        let ended = doubt.lies && doubt.look.holder == Holder::Nobody;
        let healed = alive.is_some() && !path_gone && !ended && (sight.acked > doubt.acked || !sight.owes);
        let planned = doubt.planned.is_some();
        if planned && now.since(doubt.good) >= PLANNED {
            self.tell(ground, "the listeners could not be moved as wanted; they stay".to_string(), false);
            return self.take_back(ground);
        }
        if !asked && healed && !planned || (sight.path.zero_window && alive.is_some() && !path_gone) {
            return self.take_back(ground);
        }
        let sure = alive.is_none() || path_gone || planned;
        // A longer way takes longer to answer.
        let waited = now.since(doubt.good).saturating_sub(doubt.grace);
        if alive.is_some() {
            ground.with(place, Mount::measure);
        }
        ground.with(spare, Mount::measure);

        if let Some(way) = ground.mounts[place].uplink() {
            doubt.answering = match (ground.up.contains(&way), doubt.answering) {
                (false, _) => Answering::No,
                (true, Answering::No) => Answering::Again(now),
                (true, as_it_was) => as_it_was,
            };
        }
        // What waits for its listeners must not be taken for dead by the server.
        if now >= self.fill_at {
            self.fill_at = now + fill_every;
            let keep = if doubt.on.is_some() { Mount::nudge } else { Mount::fill };
            ground.with(spare, keep);
            if ground.mounts[spare].is_writing() {
                return;
            }
        }

        let other = ground.mounts[spare].uplink();
        let way = if ground.is_usable(other) { other } else { ground.spare(primary_way(ground, place)) };
        if !doubt.look.is_open() && doubt.look.heard.is_none() && doubt.look.holder == Holder::Unknown {
            let others = ground.mounts[spare].rendition();
            let evict = self.policy.proven.is_some_and(|proven| proven.evict);
            if now == doubt.began || now.since(doubt.began) >= LOOK_AGAIN {
                doubt.began = now;
                doubt.look = Look::open(ground, place, sight.address, way, others, evict);
                if let Some(ear) = self.candour.watch.take() {
                    doubt.look.adopt(ground, ear);
                }
                // A byte that is acknowledged says that the other path is good. It has to be out before anything else is.
                ground.with(spare, Mount::fill);
                if ground.mounts[spare].is_writing() {
                    return;
                }
            }
        }

        if doubt.lies && !ended {
            let timeout = self.policy.proven.map_or(LONGEST_GRACE, |proven| proven.source_timeout);
            let listens = doubt.look.listens();
            if alive.is_some() && !path_gone && !listens && !asked {
                return self.take_back(ground);
            }
            let knows = doubt.look.heard.is_some() && (listens || alive.is_none());
            if !knows {
                if alive.is_none() && (waited >= timeout || waited >= GIVE_UP && !listens) {
                    let what =
                        format!("{}; nobody heard what its listeners have: opening both anew", doubt.cause);
                    self.tell(ground, what, true);
                    return self.start_over(ground);
                }
                return;
            }
            // A server that stands still is no dead path.
            if alive.is_some() && !doubt.look.answered && waited < timeout * 3 {
                return;
            }
        }

        // Who ended it decides what its listeners have: the server's answer is worth a moment.
        let told = doubt.look.holder != Holder::Unknown || !doubt.look.is_open();
        if alive.is_none() && !path_gone && !told && now.since(doubt.began) < TOLD {
            return;
        }
        if !(sure || waited >= SPLICE) {
            return;
        }
        // What goes on must be there before anything is ended. A connection that came later has nothing of it.
        let there = ground.mounts[spare].sight();
        if doubt.on.is_some() && doubt.on != there.map(|fallback| fallback.link) {
            (doubt.spliced, doubt.on) = (None, None);
        }
        let ready = there.filter(|fallback| {
            (fallback.held || doubt.resting || doubt.spliced.is_some())
                && (!fallback.owes || now.since(fallback.progress) < ANSWERED)
        });
        let Some(ready) = ready else {
            doubt.ready = None;
            // One that is being connected anew has as long as the server waits, and may take any way.
            let (patience, gone) = match doubt.outwait {
                Outwait::NotYet | Outwait::Asked => (GIVE_UP, alive.is_none()),
                Outwait::Empty { .. } | Outwait::Over => {
                    ground.mounts[spare].route(way);
                    let timeout = self.policy.proven.map_or(GIVE_UP, |proven| proven.source_timeout);
                    (timeout, alive.is_none() || path_gone)
                }
            };
            if waited >= patience && gone {
                let what = format!("{}; the fallback is not ready: opening the primary anew", doubt.cause);
                self.tell(ground, what, true);
                return self.start_over(ground);
            }
            return;
        };
        let link = ready.link;
        let ready = *doubt.ready.get_or_insert(now);
        let block = ground.mounts[place].profile().block.unwrap_or(1);
        // It is not ended for its silence before that time has passed.
        let may_be_over = waited >= self.policy.proven.map_or(LONGEST_GRACE, |proven| proven.source_timeout);
        let moved = doubt.has_moved(&ground.mounts[place], &ground.mounts[spare], &sight, may_be_over);
        doubt.note_heard(&ground.mounts[place], moved, sight.written, block);
        let known = known_end(&sight, doubt, now, block);
        if self.outwait(ground, &sight, known, (waited, moved)) {
            return;
        }
        let Phase::Doubt(doubt) = &mut self.phase else { return };
        if doubt.spliced != Some(known.cut) {
            if alive.is_some() {
                ground.with(place, |mount, step| mount.freeze(step, true));
            }
            let Some(cut) = ground.mounts[place].body_at(known.cut) else {
                let what = format!("{}; what its listeners have is no longer kept", doubt.cause);
                self.tell(ground, what, true);
                return self.start_over(ground);
            };
            let begins = ground.with(spare, |mount, step| mount.splice(step, cut));
            let Phase::Doubt(doubt) = &mut self.phase else { return };
            doubt.has_spliced(known.cut, begins.unwrap_or_default(), Some(link), now);
            // A byte would put the server's next turn off.
            self.fill_at = now + fill_every;
            return;
        }
        if !(sure || waited >= SUSPECT) {
            return;
        }
        // What the fallback's acknowledgements do not tell takes its time.
        let late = self.candour.lies_on(other).then_some(LATE);
        if late.is_some_and(|late| now.since(doubt.published) < late) {
            return;
        }
        // Where both paths were gone and one is back, the other may be back as well: its retries come once a second.
        let late = ready.since(doubt.good) > ANSWERED + PACE;
        if alive.is_some() && late && now.since(ready) < RETRY {
            return;
        }
        // A path whose checks are answered again may carry the old connection's next retry.
        if let Answering::Again(since) = doubt.answering
            && alive.is_some()
            && now.since(since) < RETRY
        {
            return;
        }
        self.decide(ground, known, (waited, moved), &sight);
    }

    /// The splice is published: end the primary, or wait until the server does.
    fn decide(
        &mut self,
        ground: &mut Ground<'_>,
        known: Known,
        (waited, moved): (Duration, bool),
        sight: &Sight,
    ) {
        let proven = self.proven();
        let now = ground.now;
        let alive = ground.mounts[self.primary].sight().is_some();
        let Phase::Doubt(doubt) = &mut self.phase else { return };
        match doubt.look.eviction {
            Eviction::Done(at) => {
                let how = "evicted over the other uplink";
                return self.begin_moving(ground, at + MOVED, how);
            }
            Eviction::Asked(at) if now.since(at) < EVICT_PATIENCE => return,
            Eviction::Asked(_) => doubt.look.unanswered(ground),
            Eviction::Idle | Eviction::Refused => {}
        }
        if doubt.look.holder == Holder::Nobody {
            return self.begin_moving(ground, now + MOVED, "the server had ended the primary itself");
        }
        let timeout = proven.source_timeout.saturating_add(SLACK);
        if moved || waited >= timeout {
            return self.begin_moving(ground, now + MOVED, "the server dropped the silent primary");
        }
        let ours = match doubt.look.holder {
            // The figure may be seconds old, and never ahead of what was written.
            Holder::Named(read) => {
                let rate = ground.mounts[self.primary].config().rendition.bitrate.bytes_per_second();
                read <= sight.written
                    && sight.written - read <= rate * STALE.as_secs() + known.cut.min(131_072)
            }
            Holder::Unknown => false,
            Holder::Foreign | Holder::Nobody => false,
        } || known.heard;
        if doubt.planned.is_some() && known.exact && alive {
            if !ground.with(self.primary, Mount::is_fresh) {
                return;
            }
            ground.with(self.primary, |mount, step| {
                mount.abandon(step, "its listeners are being moved to the fallback");
            });
            return self.begin_moving(ground, now + MOVED, "closed as wanted");
        }
        let Phase::Doubt(doubt) = &mut self.phase else { return };
        if proven.evict && known.exact && ours && doubt.look.eviction == Eviction::Idle {
            // On the newest figures only; and then nothing more can come of the old connection.
            if !ground.with(self.primary, Mount::is_fresh) {
                return;
            }
            let Phase::Doubt(doubt) = &mut self.phase else { return };
            doubt.look.evict(ground, self.primary);
            if ground.mounts[self.primary].sight().is_some() {
                ground.with(self.primary, |mount, step| {
                    mount.abandon(step, "its listeners are being moved to the fallback");
                });
            }
        }
    }

    pub(super) fn begin_moving(&mut self, ground: &mut Ground<'_>, settled: Instant, how: &str) {
        let Phase::Doubt(doubt) = &self.phase else { return };
        let doubt = doubt.clone();
        let now = ground.now;
        let cut = doubt.spliced.unwrap_or(doubt.acked);
        // What the server did by itself it did before anybody could listen in, unless the primary itself was heard.
        let ended = match doubt.look.eviction {
            Eviction::Asked(at) | Eviction::Done(at) => Some(at),
            Eviction::Idle | Eviction::Refused if doubt.planned.is_some() || doubt.heard.is_some() => {
                Some(now)
            }
            Eviction::Idle | Eviction::Refused => None,
        };
        let look = doubt.look.clone();
        let detected = u64::try_from(now.since(doubt.good).as_millis()).unwrap_or(u64::MAX);
        let what = format!("{}: listeners moved to the fallback ({how}) after {detected} ms", doubt.cause);
        self.tell(ground, what, doubt.planned.is_none());
        self.incident = Some(Incident {
            output: self.policy.name.clone(),
            began: doubt.good,
            cause: doubt.cause,
            detected_ms: detected,
            cut,
            moved: how.to_string(),
            pause_ms: 0,
            // What a server ends by itself it may end in the middle of a block that counts as heard.
            lost_ms: (doubt.look.holder != Holder::Nobody).then_some(0),
            healed: None,
        });
        self.phase = Phase::Moving(Moving {
            stay: doubt.planned.map_or(Stay::UntilGood, |planned| planned.stay),
            good: doubt.good,
            cut,
            goes_on: doubt.goes_on,
            with_probe: ended.is_some_and(|ended| look.was_listening(ended)),
            look,
            settled,
            next: now + PACE,
        });
    }

    pub(super) fn moving(&mut self, ground: &mut Ground<'_>) {
        let Phase::Moving(moving) = &mut self.phase else { return };
        let now = ground.now;
        moving.next = (now + PACE).min(moving.settled);
        // The old connection's last bytes may have arrived after the figures that the cut rests on. What the probe heard of
        // the primary beyond it, the listeners have.
        let (primary, fallback) = (&ground.mounts[self.primary], &ground.mounts[self.fallback]);
        let block = primary.profile().block.unwrap_or(1);
        let beyond = moving.look.heard.and_then(|heard| {
            let body = primary.body_of(heard.rendition, heard.upto)?;
            let most = primary.remains().map_or(0, |(sight, _)| sight.written);
            // In one rendition, and up to a packet that a decoder can change over at, the fallback's block looks the same.
            let same = moving.look.heard_beyond(fallback, moving.goes_on);
            (body % block == 0 && body <= most && body > moving.cut && !same).then_some(body)
        });
        if let Some(body) = beyond
            && let Some(cut) = primary.body_at(body)
        {
            moving.cut = body;
            moving.settled = now + MOVED;
            moving.next = now + PACE;
            let begins = ground.with(self.fallback, |mount, step| mount.splice(step, cut));
            if let Phase::Moving(moving) = &mut self.phase {
                moving.goes_on = begins.unwrap_or(moving.goes_on);
            }
            return;
        }
        // The probe moves with the listeners: what it hears of the fallback, they hear.
        let heard =
            moving.with_probe && moving.look.heard_beyond(&ground.mounts[self.fallback], moving.goes_on);
        if !heard && now < moving.settled {
            return;
        }
        let stay = moving.stay;
        let pause = u64::try_from(now.since(moving.good).as_millis()).unwrap_or(u64::MAX);
        if let Some(incident) = &mut self.incident {
            incident.pause_ms = pause;
        }
        moving.look.close(ground);
        ground.see(self.primary, WaySight::Abandoned);
        ground.with(self.primary, |mount, step| {
            mount.drop_source(step, "its listeners are on the fallback");
        });
        ground.with(self.fallback, |mount, step| {
            mount.lead(step.now, true);
            mount.open_gate(step);
        });
        self.phase = Phase::Away(Away::new(now, stay));
    }

    /// The doubt was unfounded: the primary goes on where it stopped.
    fn take_back(&mut self, ground: &mut Ground<'_>) {
        let Phase::Doubt(doubt) = &mut self.phase else { return };
        if doubt.lies {
            self.candour.watch = doubt.look.hand_back().or(self.candour.watch);
        }
        doubt.look.close(ground);
        if doubt.planned.is_none() {
            // It took so long and was no fault: the next one may take as long.
            let took = ground.now.since(doubt.good).saturating_sub(LOOK);
            if took > self.learned {
                (self.learned, self.learned_at) = ((took * 3 / 2).min(MOST_LEARNED), ground.now);
            }
        }
        if doubt.outwait != Outwait::NotYet {
            self.fill_at = ground.now;
        }
        self.phase = Phase::Calm;
        ground.with(self.primary, |mount, step| {
            mount.freeze(step, false);
            mount.open_gate(step);
        });
    }

    /// Both mounts open by themselves, as if they had just been set up.
    pub(super) fn start_over(&mut self, ground: &mut Ground<'_>) {
        match &mut self.phase {
            Phase::Doubt(doubt) => doubt.look.close(ground),
            Phase::Moving(moving) => moving.look.close(ground),
            Phase::Return(back) => back.look.close(ground),
            Phase::Calm | Phase::Away(_) => {}
        }
        let first = ground.ways.first().copied().flatten();
        let now = ground.now;
        for (place, start) in [(self.primary, feed::Start::Live), (self.fallback, feed::Start::Held)] {
            let way = if place == self.primary { first } else { ground.spare(first) };
            ground.with(place, |mount, step| {
                mount.drop_source(step, "opening it anew");
                mount.route(way);
                mount.begin_with(start);
                mount.lead(now, false);
            });
        }
        if let Some(incident) = &mut self.incident {
            incident.lost_ms = None;
        }
        self.close_incident(ground);
        self.phase = Phase::Calm;
    }
}

/// How much is known of what the server received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The end of the last whole block.
    pub cut: u64,
    /// No other end is possible.
    exact: bool,
    /// The listener probe heard our own bytes there.
    heard: bool,
}

fn known_end(sight: &Sight, doubt: &Doubt, now: Instant, block: u64) -> Known {
    let floor = |body: u64| body - body % block;
    let ended = doubt.look.holder == Holder::Nobody;
    // A server that ends a source and resets it had not read the last of what its kernel took.
    let acked = if sight.reset && ended { sight.acked.min(sight.surely_read) } else { sight.acked };
    let acked = floor(acked);
    let most = floor(sight.written);
    match doubt.heard {
        // Ended by the server unheard: on at live, as without a hand-over, and nothing twice.
        None if doubt.lies && doubt.look.heard.is_none() => Known { cut: most, exact: true, heard: false },
        // A burst comes at once; what has stopped growing was all there is.
        Some((body, at)) if body >= acked => {
            let quiet = if doubt.lies { DRAINED_BEHIND } else { DRAINED };
            let drained = doubt.spliced.is_some() && now.since(at) >= quiet;
            Known { cut: body, exact: body == most || drained, heard: true }
        }
        heard => Known { cut: acked, exact: acked == most, heard: heard.is_some() },
    }
}

fn primary_way(ground: &Ground<'_>, place: usize) -> Option<crate::event::UplinkId> {
    ground.mounts[place].uplink()
}

/// Since when no byte is acknowledged, from the last one that was where that is not long ago: the server counts its turns from
/// about there.
fn unanswered_since(sight: &Sight) -> Instant {
    if sight.progress.since(sight.answered) <= UNASKED { sight.answered } else { sight.progress }
}

/// When the first missing acknowledgement is one: what may be needed is being opened.
pub(super) fn look_after(sight: &Sight, learned: Duration) -> Duration {
    LOOK + grace(sight, learned)
}

/// Two round trips, where they are long enough to matter, or what false alarms taught.
fn grace(sight: &Sight, learned: Duration) -> Duration {
    let rtt = Duration::from_micros(sight.path.rtt_us.into());
    (rtt * 2).saturating_sub(SHORT).max(learned).min(LONGEST_GRACE)
}

const LOOK: Duration = Duration::from_millis(130);
/// No socket is silent for longer while there is sound to send.
const UNASKED: Duration = Duration::from_millis(60);
/// A round trip of 30 ms is within the waits themselves.
const SHORT: Duration = Duration::from_millis(60);
/// A machine or a path that was busy for a moment must not make the next real fault a long one.
const MOST_LEARNED: Duration = Duration::from_secs(1);
const LONGEST_GRACE: Duration = Duration::from_secs(3);
/// What goes on is published, and the primary is not written to any more. Early enough for the fallback's turns to be quiet
/// when the listeners come: the server attends to them in the third one of 0.25 s that it takes after the primary's third. Those
/// follow on the last byte of each, so this keeps the fallback's a moment behind the primary's.
const SPLICE: Duration = Duration::from_millis(545);
/// The path is suspect: its source may be ended. Just before the primary's third turn.
const SUSPECT: Duration = Duration::from_millis(700);
/// The other path has answered within this.
const ANSWERED: Duration = Duration::from_millis(600);
/// The kernel's retries come once a second where their timer is capped.
const RETRY: Duration = Duration::from_millis(1300);
const PACE: Duration = Duration::from_millis(50);
const DRAINED: Duration = Duration::from_millis(40);
/// What acknowledges in the server's place passes on what it has in its own time.
const DRAINED_BEHIND: Duration = Duration::from_millis(300);
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const EVICT_PATIENCE: Duration = Duration::from_secs(1);
/// A figure of the server is at most so old.
const STALE: Duration = Duration::from_secs(7);
/// From the source's end to the fallback's first block at its listeners: the primary's last turn, three of the fallback's.
const MOVED: Duration = Duration::from_millis(1050);
/// For an answer over a healthy path.
const TOLD: Duration = Duration::from_millis(250);
/// A move that is wanted takes no longer than this, or is not made.
const PLANNED: Duration = Duration::from_secs(3);
/// With nothing to go on with, a primary that is gone is opened anew after this.
const GIVE_UP: Duration = Duration::from_secs(1);
