//! Do acknowledgements come from the server? An accelerator on a satellite or mobile link, or a proxy, acknowledges in its place
//! (RFC 3135): then what is acknowledged may never arrive, and goes on being acknowledged while the path behind is dead.
//!
//! Found out in calm times, over the primary's own uplink: by a listener connection now and then (what is acknowledged is to be
//! heard at once, for both come back the same way), and by the server's own count (which nothing acknowledged long ago may be
//! missing from). Where acknowledgements lie, the pair goes by what a listener connection over the other uplink hears; where
//! that cannot be had, each mount is on its own.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use super::look::{Ear, Heard, Holder};
use super::{Ground, Pair, Phase};
use crate::event::{Answer, LinkId, Output, PathSight, Question, RenditionId, UplinkId};
use crate::mount::lead::Sight;
use crate::mount::{Event, Mount};
use crate::wire::request;

/// What is known of it, and how it is being found out.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Candour {
    /// The connection that is looked at.
    of: Option<LinkId>,
    /// Uplinks on which something acknowledges in the server's place.
    liars: Vec<Option<UplinkId>>,
    compared: Compared,
    counted: Counted,
    skipped: u32,
    /// What was acknowledged when, a block at a time.
    marks: VecDeque<(u64, Instant)>,
    found: Option<Found>,
    /// The listener connection that is gone by, where acknowledgements lie.
    pub watch: Option<Ear>,
    /// Times in a row that it heard nothing.
    deaf: u32,
    again: Instant,
    /// Nothing can be gone by: each mount is on its own until then.
    plain: Option<Instant>,
    /// People were told of that.
    told: bool,
    vouched: Vouched,
}

/// A listener connection beside the acknowledgements.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Compared {
    /// To be opened at `at`; so many in a row heard late.
    Due { at: Instant, late: u32 },
    /// `heard` blocks beyond body byte `from`, the quickest of them `least` after it was acknowledged.
    Listening { link: LinkId, from: u64, until: Instant, least: Duration, heard: u32, late: u32 },
}

/// The server's count beside them.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Counted {
    /// To be asked for at `at`, so many times more over the `other` uplink.
    Due { at: Instant, other: u32, low: Low },
    /// Asked for; so much was acknowledged so long before that the answer has to contain it.
    Asked { link: LinkId, until: Instant, acked: Option<u64>, other: u32, low: Low },
}

/// What the last counts lacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Low {
    Nothing,
    /// Bytes, since then.
    Bytes(Instant),
    /// The source.
    Source,
}

/// Whether the server answers over an uplink whose acknowledgements say nothing.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Vouched {
    at: Instant,
    asked: Option<(LinkId, Instant)>,
    answered: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Found {
    /// What is acknowledged is heard so much later.
    Late(Duration),
    /// What was acknowledged long ago is not in the server's count.
    Missing,
    /// The server has ended the source, and acknowledgements go on.
    Ended,
}

/// What a calm pair goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bearing {
    /// Acknowledgements.
    Acks,
    /// A listener connection.
    Ear,
    /// Neither, for now.
    Nothing,
    /// Neither: each mount is on its own.
    Plain,
    /// The server has ended the primary: it is no calm pair any more.
    Lost,
}

impl Default for Compared {
    fn default() -> Self {
        Self::Due { at: Instant::ZERO, late: 0 }
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self::Due { at: Instant::ZERO, other: 0, low: Low::Nothing }
    }
}

impl Candour {
    pub(super) fn owns(&self, link: LinkId) -> bool {
        let compares = matches!(self.compared, Compared::Listening { link: one, .. } if one == link);
        let counts = matches!(self.counted, Counted::Asked { link: one, .. } if one == link);
        let watches = self.watch.is_some_and(|ear| ear.link == link);
        compares || counts || watches || self.vouched.asked.is_some_and(|(one, _)| one == link)
    }

    /// Every acknowledgement counts just now.
    pub(super) const fn is_comparing(&self) -> bool {
        matches!(self.compared, Compared::Listening { .. })
    }

    pub(super) fn lies_on(&self, uplink: Option<UplinkId>) -> bool {
        self.liars.contains(&uplink)
    }

    /// Acknowledgements lie and nothing else is there.
    pub(super) const fn is_plain(&self) -> bool {
        self.plain.is_some()
    }

    /// When a calm pair whose primary is on `uplink` is to be looked at for this.
    pub(super) fn deadline(&self, uplink: Option<UplinkId>) -> Instant {
        if self.lies_on(uplink) {
            // Whatever is heard, or sent to keep the fallback, is occasion enough.
            return Instant::from_micros(u64::MAX);
        }
        let (Compared::Due { at: compare, .. } | Compared::Listening { until: compare, .. }) = self.compared;
        let (Counted::Due { at: count, .. } | Counted::Asked { until: count, .. }) = self.counted;
        compare.min(count)
    }

    /// Closes what a calm pair has open.
    pub(super) fn hush(&mut self, ground: &mut Ground<'_>) {
        let later = ground.now + FIRST_LOOK;
        if let Compared::Listening { link, late, .. } = self.compared {
            ground.out.push_back(Output::Close { link });
            self.compared = Compared::Due { at: later, late };
        }
        if let Counted::Asked { link, .. } = self.counted {
            ground.out.push_back(Output::Close { link });
        }
        self.counted = Counted::Due { at: later, other: 0, low: Low::Nothing };
        if let Some((link, _)) = self.vouched.asked.take() {
            ground.out.push_back(Output::Close { link });
        }
    }

    pub(super) fn close_watch(&mut self, ground: &mut Ground<'_>) {
        if let Some(ear) = self.watch.take() {
            ground.out.push_back(Output::Close { link: ear.link });
        }
    }

    /// Something came on a link of its own.
    pub(super) fn event(
        &mut self,
        now: Instant,
        agent: &str,
        primary: &Mount,
        link: LinkId,
        event: &Event<'_>,
    ) {
        let over = matches!(event, Event::Failed(_) | Event::Closed(_));
        if let Some(ear) = self.watch.as_mut().filter(|ear| ear.link == link) {
            if let Event::Heard { rendition, upto } = event {
                ear.heard = Some(Heard { rendition: *rendition, upto: *upto, at: now });
                (self.deaf, self.told) = (0, false);
            } else if over {
                self.watch = None;
                self.lose_ear(now);
            }
        }
        if let Some((asked, _)) = self.vouched.asked
            && asked == link
        {
            if let Event::Answered(_) = event {
                (self.vouched.asked, self.vouched.answered) = (None, Some(now));
            } else if over {
                (self.vouched.asked, self.vouched.answered) = (None, None);
            }
        }
        if let Compared::Listening { link: one, from, until, least, heard, late } = &mut self.compared
            && *one == link
        {
            if let Event::Heard { rendition, upto } = event
                && let Some(body) = primary.body_of(*rendition, *upto)
                && body % primary.profile().block.unwrap_or(1) == 0
                && body > *from
            {
                let acked = self.marks.iter().find(|(acked, _)| *acked >= body);
                // What is heard before its acknowledgement is seen has been acknowledged by the server.
                *least = acked.map_or(Duration::ZERO, |(_, at)| now.since(*at)).min(*least);
                *heard += 1;
                if *heard >= ENOUGH {
                    *until = now;
                }
            } else if over {
                self.compared = Compared::Due { at: now + LOOK_EVERY, late: *late };
            }
        }
        if let Counted::Asked { link: one, acked, other, low, .. } = self.counted
            && one == link
        {
            if let Event::Answered(answer) = event {
                self.counted(now, agent, answer, acked, other, low);
            } else if over {
                self.uncounted(now, other, low);
            }
        }
    }

    /// The server's count is here.
    fn counted(
        &mut self,
        now: Instant,
        agent: &str,
        answer: &Answer,
        acked: Option<u64>,
        other: u32,
        low: Low,
    ) {
        let lacks = match answer {
            Answer::Source { read: Some(read), agent: Some(named), .. } if named == agent => {
                match (acked.is_some_and(|acked| read.saturating_add(COUNT_SLACK) < acked), low) {
                    (true, Low::Bytes(since)) => Low::Bytes(since),
                    (true, Low::Nothing | Low::Source) => Low::Bytes(now),
                    (false, _) => Low::Nothing,
                }
            }
            Answer::NoSource => Low::Source,
            Answer::Source { .. }
            | Answer::TitleTaken
            | Answer::TitleRefused { .. }
            | Answer::Listed { .. }
            | Answer::NotListed
            | Answer::NoStatus { .. }
            | Answer::Evicted
            | Answer::Forbidden { .. }
            | Answer::Heard { .. }
            | Answer::HeardForeign
            | Answer::HeardNothing { .. } => {
                // It does not count for us.
                self.counted = Counted::Due { at: now + COUNT_SELDOM, other: 0, low: Low::Nothing };
                return;
            }
        };
        // One odd figure proves nothing, and one that is older than the next might be.
        self.found = match (lacks, low) {
            (Low::Bytes(since), _) if now.since(since) >= STALE => Some(Found::Missing),
            (Low::Source, Low::Source) => Some(Found::Ended),
            (Low::Nothing | Low::Bytes(_) | Low::Source, _) => None,
        };
        let (at, other) = match (lacks, other) {
            (Low::Bytes(_) | Low::Source, _) => (now + AGAIN, other.max(1)),
            (Low::Nothing, 0) => (now + COUNT_EVERY, 0),
            // It answers, but not over the primary's uplink, whatever that means.
            (Low::Nothing, 1) => (now + COUNT_SELDOM, 0),
            (Low::Nothing, _) => (now + AGAIN, other - 1),
        };
        self.counted = Counted::Due { at, other, low: lacks };
    }

    /// No answer over a path that acknowledges: another one may tell, and goes on telling for as long as a server keeps a source.
    fn uncounted(&mut self, now: Instant, other: u32, low: Low) {
        self.counted = match other {
            0 => Counted::Due { at: now, other: ROUNDS, low },
            _ => Counted::Due { at: now + COUNT_EVERY, other: 0, low },
        };
    }

    /// A new connection of the primary's: nothing is known of it.
    fn begin(&mut self, ground: &mut Ground<'_>, link: LinkId) {
        self.hush(ground);
        self.marks.clear();
        self.found = None;
        self.of = Some(link);
        self.compared = Compared::Due { at: ground.now + FIRST_LOOK, late: 0 };
        self.counted = Counted::Due { at: ground.now + COUNT_EVERY, other: 0, low: Low::Nothing };
    }

    fn mark(&mut self, now: Instant, acked: u64, block: u64) {
        let whole = acked - acked % block;
        if self.marks.back().is_none_or(|(last, _)| whole > *last) {
            self.marks.push_back((whole, now));
            if self.marks.len() > MOST_MARKS {
                self.marks.pop_front();
            }
        }
    }

    fn lose_ear(&mut self, now: Instant) {
        self.deaf += 1;
        self.again = now + LISTEN_AGAIN;
    }
}

impl Pair {
    /// What there is to go by, on a calm pair whose primary is seen as `sight`.
    pub(super) fn examine(&mut self, ground: &mut Ground<'_>, sight: &Sight) -> Bearing {
        let here = ground.mounts[self.primary].uplink();
        if self.candour.of != Some(sight.link) {
            self.candour.begin(ground, sight.link);
        }
        if self.candour.lies_on(here) {
            return self.listen_instead(ground, sight.address, here);
        }
        self.candour.close_watch(ground);
        self.leave_plain(ground.now);
        let block = ground.mounts[self.primary].profile().block.unwrap_or(1);
        self.candour.mark(ground.now, sight.acked, block);
        self.compare(ground, sight, here);
        self.count_bytes(ground, sight, here);
        let Some(found) = self.candour.found.take() else { return Bearing::Acks };
        self.candour.hush(ground);
        self.candour.liars.push(here);
        let how = match found {
            Found::Late(late) => format!("is heard {} ms later", late.as_millis()),
            Found::Missing => String::from("never reached the server"),
            Found::Ended => String::from("went nowhere: the server had ended the source long before"),
        };
        let what = format!(
            "acknowledgements lie on the primary's uplink (acks-lie): what was acknowledged {how}. An accelerator of a \
             satellite or mobile link, or a proxy, acknowledges in the server's place; have the provider switch it off for the \
             server's port, or prefer another uplink. From now on only what a listener connection over the other uplink hears \
             counts; it costs the primary's bitrate there"
        );
        self.tell(ground, what, true);
        if found == Found::Ended {
            self.begin_doubt(ground, "the server ended the primary while something else acknowledged");
            if let Phase::Doubt(doubt) = &mut self.phase {
                doubt.look.holder = Holder::Nobody;
            }
            return Bearing::Lost;
        }
        self.listen_instead(ground, sight.address, here)
    }

    /// Now and then a listener connection over the primary's own uplink: its answers come back the way that acknowledgements
    /// do, so what is acknowledged is heard at once.
    fn compare(&mut self, ground: &mut Ground<'_>, sight: &Sight, here: Option<UplinkId>) {
        let now = ground.now;
        match self.candour.compared {
            Compared::Due { at, late } if at <= now => {
                // Bytes that cost money are not spent on this, nor a path's that has troubles of its own.
                let free =
                    here.is_none_or(|here| !ground.metered.contains(&here) && ground.up.contains(&here));
                if !free || now.since(sight.progress) > HEALTHY {
                    self.candour.compared = Compared::Due { at: now + FIRST_LOOK, late };
                    return;
                }
                let link = self.open_ear(ground, sight.address, here);
                self.candour.compared = Compared::Listening {
                    link,
                    from: sight.acked,
                    until: now + LISTEN,
                    least: Duration::MAX,
                    heard: 0,
                    late,
                };
            }
            Compared::Listening { link, until, least, heard, late, from } if until <= now => {
                ground.out.push_back(Output::Close { link });
                let is_late = heard >= FEW && least > ALLOWED;
                let late = if heard < FEW { late } else { u32::from(is_late) * (late + 1) };
                if late >= SURE {
                    self.candour.found = Some(Found::Late(least));
                }
                let wait = if is_late { LOOK_AGAIN } else { LOOK_EVERY };
                self.candour.compared = Compared::Due { at: now + wait, late };
                let block = ground.mounts[self.primary].profile().block.unwrap_or(1);
                // Nothing was heard of what was acknowledged: the server is to say.
                if heard == 0
                    && sight.acked > from + u64::from(FEW) * block
                    && let Counted::Due { at, other, low } = self.candour.counted
                {
                    self.candour.counted = Counted::Due { at: at.min(now), other, low };
                }
            }
            Compared::Due { .. } | Compared::Listening { .. } => {}
        }
    }

    /// Now and then the server's own count, which nothing may be missing from that was acknowledged long ago.
    fn count_bytes(&mut self, ground: &mut Ground<'_>, sight: &Sight, here: Option<UplinkId>) {
        let (now, address) = (ground.now, sight.address);
        // Whose window is closed? A server that stands still answers nothing either.
        if sight.path.zero_window
            && now.since(sight.progress) >= HEALTHY
            && let Counted::Due { at, other: 0, low } = self.candour.counted
        {
            self.candour.counted = Counted::Due { at: at.min(now), other: ROUNDS, low };
        }
        match self.candour.counted {
            Counted::Due { at, other, low } if at <= now => {
                let way = if other > 0 { ground.spare(here) } else { here };
                // Where bytes cost money it is asked seldom.
                let costly =
                    way.is_some_and(|way| ground.metered.contains(&way)) && low == Low::Nothing && other == 0;
                self.candour.skipped = if costly { (self.candour.skipped + 1) % SKIPS } else { 0 };
                if self.candour.skipped > 0 {
                    self.candour.counted = Counted::Due { at: now + COUNT_EVERY, other, low };
                    return;
                }
                let acked = self.candour.marks.iter().rev().find(|(_, at)| now.since(*at) >= STALE);
                let acked = acked.map(|(acked, _)| *acked);
                let link = self.ask_source(ground, self.primary, address, way);
                self.candour.counted = Counted::Asked { link, until: now + PATIENCE * 2, acked, other, low };
            }
            Counted::Asked { link, until, other, low, .. } if until <= now => {
                ground.out.push_back(Output::Close { link });
                self.candour.uncounted(now, other, low);
            }
            Counted::Due { .. } | Counted::Asked { .. } => {}
        }
    }

    /// Acknowledgements lie: a listener connection over the other uplink is kept.
    fn listen_instead(
        &mut self,
        ground: &mut Ground<'_>,
        address: IpAddr,
        here: Option<UplinkId>,
    ) -> Bearing {
        let now = ground.now;
        let other = ground.spare(here);
        let candour = &mut self.candour;
        let plain = candour.plain;
        let otherwise = if plain.is_some() { Bearing::Plain } else { Bearing::Nothing };
        if plain.is_some_and(|until| now < until) {
            return Bearing::Plain;
        }
        if other == here || other.is_some_and(|other| !ground.up.contains(&other)) {
            // Nowhere to hand over to just now.
            candour.close_watch(ground);
            return otherwise;
        }
        let costly = other.is_some_and(|other| ground.metered.contains(&other));
        if costly || candour.deaf >= DEAF {
            candour.close_watch(ground);
            (candour.deaf, candour.plain) = (0, Some(now + PLAIN));
            if core::mem::replace(&mut candour.told, true) {
                return Bearing::Plain;
            }
            let why = if costly { "bytes on the other uplink cost money" } else { "it hears nothing" };
            let what = format!(
                "acknowledgements lie (acks-lie) and no listener connection can be gone by: {why}. No hand-over: nothing is \
                 evicted, the fallback is full, and an outage is heard as the server bridges it; have the accelerator or proxy \
                 switched off, or prefer another uplink"
            );
            self.tell(ground, what, true);
            return Bearing::Plain;
        }
        match candour.watch {
            None if candour.again <= now => {
                let link = self.open_ear(ground, address, other);
                self.candour.watch = Some(Ear { link, opened: now, heard: None });
            }
            Some(ear) if ear.heard.is_none() && now.since(ear.opened) >= LISTEN => {
                candour.close_watch(ground);
                candour.lose_ear(now);
            }
            Some(ear) if ear.heard.is_some() => {
                self.leave_plain(now);
                return Bearing::Ear;
            }
            Some(_) | None => {}
        }
        otherwise
    }

    /// There is something to go by again: whoever came to the full fallback meanwhile is not to be left in silence.
    fn leave_plain(&mut self, now: Instant) {
        if self.candour.plain.take().is_some() {
            self.crowd.suspected(now);
        }
    }

    /// The primary's stream as it can be believed: where acknowledgements lie, what is heard stands for them.
    pub(super) fn believe(&self, mount: &Mount, sight: Sight) -> Sight {
        if !self.candour.lies_on(mount.uplink()) {
            return sight;
        }
        let heard = match &self.phase {
            Phase::Doubt(doubt) => doubt.look.heard,
            Phase::Calm | Phase::Moving(_) | Phase::Away(_) | Phase::Return(_) => None,
        };
        let heard = heard.or_else(|| self.candour.watch.and_then(|ear| ear.heard));
        // A window that whatever acknowledges has closed says nothing of the server.
        let path = PathSight { zero_window: false, ..sight.path };
        let body = heard.and_then(|heard| Some((mount.body_of(heard.rendition, heard.upto)?, heard.at)));
        let Some((body, at)) = body else { return Sight { answered: sight.progress, path, ..sight } };
        let block = mount.profile().block.unwrap_or(1);
        let rate = mount.config().rendition.bitrate.bytes_per_second().max(1);
        // Blocks are heard one at a time, and not as evenly as acknowledged: as if the way were so long.
        let apart = u32::try_from(block * 1_000_000 / rate).unwrap_or(u32::MAX).saturating_add(UNEVEN_US);
        let path = PathSight { rtt_us: path.rtt_us.max(apart), ..path };
        let unheard = sight.written.saturating_sub(body) >= 2 * block;
        // What even the liar does not acknowledge is missing all the more.
        let progress = if unheard { at } else { at.max(sight.progress) };
        let owes = unheard || sight.owes;
        Sight { acked: body.min(sight.written), owes, progress, answered: progress, path, ..sight }
    }

    /// Whether the path is known to be whole that a return would take: something on it may take the connection without it.
    pub(super) fn vouches(&mut self, ground: &mut Ground<'_>, way: Option<UplinkId>) -> bool {
        let now = ground.now;
        if !self.candour.lies_on(way) {
            return true;
        }
        match self.candour.vouched.asked {
            Some((link, since)) if now.since(since) >= PATIENCE * 2 => {
                ground.out.push_back(Output::Close { link });
                (self.candour.vouched.asked, self.candour.vouched.answered) = (None, None);
            }
            None if self.candour.vouched.at <= now => {
                if let Some(address) = ground.mounts[self.fallback].sight().map(|sight| sight.address) {
                    let link = self.ask_source(ground, self.fallback, address, way);
                    self.candour.vouched.asked = Some((link, now));
                    self.candour.vouched.at = now + VOUCH_EVERY;
                }
            }
            Some(_) | None => {}
        }
        self.candour.vouched.answered.is_some_and(|at| now.since(at) < VOUCH_EVERY + PATIENCE * 2)
    }

    fn open_ear(&self, ground: &mut Ground<'_>, address: IpAddr, uplink: Option<UplinkId>) -> LinkId {
        let link = ground.link();
        let mount = &ground.mounts[self.primary];
        let renditions: Vec<RenditionId> = Vec::from([mount.rendition()]);
        ground.out.push_back(Output::Listen {
            link,
            uplink,
            address: mount.page_address(address),
            tls: mount.tls(),
            request: request::page(mount.config(), ground.agent, &mount.config().path),
            renditions,
        });
        link
    }

    fn ask_source(
        &self,
        ground: &mut Ground<'_>,
        place: usize,
        address: IpAddr,
        uplink: Option<UplinkId>,
    ) -> LinkId {
        let link = ground.link();
        let mount = &ground.mounts[place];
        ground.out.push_back(Output::Ask {
            link,
            uplink,
            address: mount.page_address(address),
            tls: mount.tls(),
            request: Some(request::admin_stats(mount.config(), ground.agent)),
            question: Question::Source { path: mount.config().path.clone() },
            patience: PATIENCE,
        });
        link
    }
}

/// After the primary's first byte, and after anything that came between.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// A look costs a burst and a second of programme.
const LOOK_EVERY: Duration = Duration::from_secs(1800);
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const LISTEN: Duration = Duration::from_secs(6);
/// What is acknowledged may be heard so much later: a server's turn, and its threads.
const ALLOWED: Duration = Duration::from_millis(400);
const ENOUGH: u32 = 8;
const FEW: u32 = 3;
/// One odd figure proves nothing.
const SURE: u32 = 2;
/// Acknowledgements as they are on a path without troubles.
const HEALTHY: Duration = Duration::from_secs(1);
const COUNT_EVERY: Duration = Duration::from_secs(8);
const COUNT_SELDOM: Duration = Duration::from_secs(240);
/// A count is at most so old.
const STALE: Duration = Duration::from_secs(7);
const AGAIN: Duration = Duration::from_secs(1);
const ROUNDS: u32 = 15;
const SKIPS: u32 = 30;
/// What a server may have in hand.
const COUNT_SLACK: u64 = 16_384;
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_MARKS: usize = 512;
const LISTEN_AGAIN: Duration = Duration::from_secs(2);
const DEAF: u32 = 3;
const PLAIN: Duration = Duration::from_secs(30);
const UNEVEN_US: u32 = 150_000;
/// What is acknowledged in the server's place may reach it so much later: twice over a satellite, and a little.
pub(super) const LATE: Duration = Duration::from_millis(1500);
const VOUCH_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const AGENT: &str = "Mainstay/test";
    const NOW: Instant = Instant::from_millis(60_000);

    /// The server's counts, a second apart, beside what was acknowledged long before each.
    fn told(answers: &[(Answer, u64)]) -> Candour {
        let mut candour = Candour::default();
        for (at, (answer, acked)) in answers.iter().enumerate() {
            let now = NOW + Duration::from_secs(at as u64);
            let Counted::Due { other, low, .. } = candour.counted else { panic!("nothing was asked") };
            candour.counted(now, AGENT, answer, Some(*acked), other, low);
        }
        candour
    }

    fn read(bytes: u64) -> Answer {
        Answer::Source { read: Some(bytes), agent: Some(AGENT.to_string()), listeners: None, address: None }
    }

    #[test]
    fn what_stays_missing_for_longer_than_a_count_is_old_never_arrived() {
        let stuck: Vec<_> = (0..8).map(|second| (read(500_000), 520_000 + second * 16_000)).collect();
        assert_eq!(told(&stuck[..7]).found, None);
        assert_eq!(told(&stuck).found, Some(Found::Missing));
        // An old figure, and then a new one.
        let mut late = stuck;
        late[4].0 = read(700_000);
        assert_eq!(told(&late).found, None);
        // What a server may have in hand is not missing.
        assert_eq!(told(&[(read(500_000), 500_000 + COUNT_SLACK), (read(500_000), 500_000)]).found, None);
    }

    #[test]
    fn a_source_that_is_gone_twice_is_gone() {
        assert_eq!(told(&[(Answer::NoSource, 0)]).found, None);
        assert_eq!(told(&[(Answer::NoSource, 0), (Answer::NoSource, 0)]).found, Some(Found::Ended));
        assert_eq!(told(&[(Answer::NoSource, 0), (read(1), 0), (Answer::NoSource, 0)]).found, None);
    }

    #[test]
    fn what_does_not_count_for_us_proves_nothing_and_is_asked_seldom() {
        let foreign = Answer::Source {
            read: Some(0),
            agent: Some("other".to_string()),
            listeners: None,
            address: None,
        };
        for answer in [foreign, Answer::Forbidden { status: 401 }] {
            let candour = told(&[(answer.clone(), 1_000_000), (answer, 1_000_000)]);
            assert_eq!(candour.found, None);
            assert!(matches!(candour.counted, Counted::Due { at, .. } if at > NOW + COUNT_EVERY * 2));
        }
    }

    #[test]
    fn where_nothing_answers_the_other_uplink_is_asked_at_once_and_not_for_ever() {
        let mut candour = Candour::default();
        candour.uncounted(NOW, 0, Low::Nothing);
        assert_eq!(candour.counted, Counted::Due { at: NOW, other: ROUNDS, low: Low::Nothing });
        for _ in 0..ROUNDS {
            let Counted::Due { other, low, .. } = candour.counted else { panic!("nothing was asked") };
            candour.counted(NOW, AGENT, &read(9), Some(9), other, low);
        }
        assert_eq!(candour.counted, Counted::Due { at: NOW + COUNT_SELDOM, other: 0, low: Low::Nothing });
    }
}
