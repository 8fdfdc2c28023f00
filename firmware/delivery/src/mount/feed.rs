//! What one connection's body is made of, and how far it may go: a place in a rendition, bytes of another one before it where
//! listeners are handed over, filler where nobody listens.

use alloc::collections::VecDeque;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::{BytePos, Instant, Rendition};

use crate::event::RenditionId;
use crate::index::Index;

/// Everything before it the listeners have: where the next connection goes on for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Cut {
    /// The rendition they heard last.
    pub rendition: RenditionId,
    /// Its first byte that they have not got; in the middle of a packet as a rule.
    pub at: BytePos,
}

/// How a connection begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Start {
    /// Near live, as the first connection of a mount does.
    Live,
    /// With nothing: it is held.
    Held,
    /// With one block that goes on where the listeners are; the gate stays behind it.
    After(Cut),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Feed {
    carries: Carries,
    /// The next byte of the rendition that is carried.
    cursor: BytePos,
    /// Up to here bytes of another rendition are carried in any case.
    joint: BytePos,
    /// Too far behind: it ends the packet it is in here, and goes on at live.
    skip_at: Option<BytePos>,
    /// Where the last packet ends; then the block is filled up, and nothing follows.
    last: Option<BytePos>,
    /// Filler bytes that come before anything else.
    filler: u32,
    /// The body may grow up to so many bytes.
    gate: u64,
    /// It was handed listeners who are owed what lies behind, however long it took.
    owed: bool,
    /// Nothing is written until somebody says so.
    frozen: bool,
    /// A block is completed only once all before its last byte is acknowledged, and nothing follows it before it is, too, and
    /// a moment more: so that it is known at any moment which blocks the server has, also where it ends the source itself.
    careful: bool,
    pace: Pace,
    spans: VecDeque<Span>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Carries {
    /// Nothing but filler.
    Nothing,
    /// Another mount's rendition, up to the next packet at which a decoder can change over.
    Lent(RenditionId),
    /// The mount's own.
    Own,
}

/// From `body` on the connection carries `what`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Span {
    body: u64,
    what: Option<(RenditionId, BytePos)>,
}

/// What is to be written next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Nothing,
    Filler(u32),
    Bytes {
        rendition: RenditionId,
        from: BytePos,
        to: BytePos,
    },
    /// There is something, but not before then.
    Later(Instant),
    /// The packet that the body is in cannot be completed any more: its bytes are gone.
    Torn,
}

/// What a feed is lent to decide by.
pub(super) struct Surroundings<'a> {
    pub now: Instant,
    pub own: RenditionId,
    pub indices: &'a [Index],
    pub longest_lag: Duration,
    pub block: Option<u64>,
    /// Body bytes written so far, and when the last of them were.
    pub written: u64,
    pub last_write: Instant,
    /// Something written is not acknowledged yet.
    pub owes: bool,
}

impl Surroundings<'_> {
    /// The body ends with a whole block.
    fn at_boundary(&self) -> bool {
        self.written > 0 && self.block.is_some_and(|block| self.written.is_multiple_of(block))
    }

    fn index(&self, rendition: RenditionId) -> &Index {
        &self.indices[usize::from(rendition.0)]
    }
}

impl Feed {
    /// A connection that carries its own rendition from `cursor` on.
    pub(super) fn live(cursor: BytePos, now: Instant, rendition: &Rendition, ahead: u64) -> Self {
        Self {
            carries: Carries::Own,
            cursor,
            joint: cursor,
            skip_at: None,
            last: None,
            filler: 0,
            gate: u64::MAX,
            owed: false,
            frozen: false,
            careful: false,
            pace: Pace::new(now, rendition, ahead),
            spans: VecDeque::new(),
        }
    }

    /// A connection that carries nothing yet.
    pub(super) fn held(now: Instant, rendition: &Rendition, ahead: u64) -> Self {
        Self { carries: Carries::Nothing, ..Self::live(BytePos(0), now, rendition, ahead) }
    }

    /// A connection whose first block goes on after `cut`.
    pub(super) fn after(cut: Cut, block: u64, now: Instant, rendition: &Rendition, ahead: u64) -> Self {
        let mut feed = Self::held(now, rendition, ahead);
        feed.splice(cut, cut.at, 0, block);
        feed
    }

    /// Fills the current block up, adds one that goes on after `cut`, and stops there until the gate is opened.
    ///
    /// Whoever has been waiting here for a first block may get the one that is filled up. It ends with what his torn packet
    /// began with at `begins`, where there is room for that: so he gets the whole of it all the same.
    pub(super) fn splice(&mut self, cut: Cut, begins: BytePos, written: u64, block: u64) {
        let rest = (block - written % block) % block;
        let again = cut.at.since(begins);
        let again = if again <= rest { again } else { 0 };
        self.filler = (rest - again) as u32;
        self.carries = Carries::Lent(cut.rendition);
        self.cursor = cut.at - again;
        self.joint = cut.at;
        self.skip_at = None;
        self.owed = true;
        self.gate = written.saturating_add(rest).saturating_add(block);
        self.frozen = false;
    }

    /// Whether all renditions that it names are among the first `count`, as in any feed that was not read from outside.
    pub(super) fn is_within(&self, count: usize) -> bool {
        let lent = match self.carries {
            Carries::Lent(lender) => usize::from(lender.0) < count,
            Carries::Nothing | Carries::Own => true,
        };
        lent && self.spans.iter().all(|span| span.what.is_none_or(|(of, _)| usize::from(of.0) < count))
    }

    /// The next byte of the rendition that is carried.
    pub(super) const fn cursor(&self) -> BytePos {
        self.cursor
    }

    pub(super) const fn is_held(&self) -> bool {
        matches!(self.carries, Carries::Nothing)
    }

    pub(super) const fn is_careful(&self) -> bool {
        self.careful
    }

    pub(super) fn take_care(&mut self, careful: bool) {
        self.careful = careful;
    }

    pub(super) const fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub(super) fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// Stops at the end of the block that the body is in; returns where that is.
    pub(super) fn stop_at_block(&mut self, written: u64, block: u64) -> u64 {
        self.gate = written.div_ceil(block) * block;
        self.gate
    }

    /// The packet in hand is the last one.
    pub(super) fn finish(&mut self, own: &Index) {
        self.last = Some(own.boundary_from(self.cursor));
    }

    pub(super) fn open_gate(&mut self) {
        self.gate = u64::MAX;
    }

    /// Lets one more byte through the gate, unless it would complete a block: it keeps the source alive.
    pub(super) fn nudge(&mut self, block: u64) {
        if self.gate < u64::MAX && self.gate % block < block - 1 {
            self.gate += 1;
        }
    }

    /// One more byte of filler on a held connection.
    pub(super) fn add_filler(&mut self) {
        self.filler = self.filler.max(1);
    }

    /// What the body's byte `at` was, if it was sound that is still known.
    pub(super) fn at(&self, at: u64) -> Option<Cut> {
        let span = self.spans.iter().rev().find(|span| span.body <= at)?;
        let (rendition, from) = span.what?;
        Some(Cut { rendition, at: from + (at - span.body) })
    }

    /// Where in the body these bytes of a rendition lie, if they were sent on this connection.
    pub(super) fn body_of(&self, rendition: RenditionId, at: BytePos, written: u64) -> Option<u64> {
        let mut end = written;
        for span in self.spans.iter().rev() {
            if let Some((what, from)) = span.what
                && what == rendition
                && at >= from
                && at.since(from) <= end.saturating_sub(span.body)
            {
                return Some(span.body + at.since(from));
            }
            end = span.body;
        }
        None
    }

    pub(super) fn lag_ms(&self, own: RenditionId, indices: &[Index]) -> u64 {
        match self.carries {
            Carries::Nothing => 0,
            Carries::Lent(lender) => indices[usize::from(lender.0)].lag_ms(self.cursor),
            Carries::Own => indices[usize::from(own.0)].lag_ms(self.cursor),
        }
    }

    /// What to write now. May leave bytes out that are too far behind; `skipped` counts them.
    pub(super) fn next(&mut self, around: &Surroundings<'_>, skipped: &mut u64) -> Next {
        let next = self.wanted(around, skipped);
        let rests = around.last_write + REST;
        match next {
            // A server that ends a source reads once more, and closes a moment later: what follows a block's last byte at
            // once would hide whether that one was read.
            Next::Bytes { .. } if self.careful && around.at_boundary() && rests > around.now => {
                Next::Later(rests)
            }
            Next::Bytes { .. } | Next::Nothing | Next::Filler(_) | Next::Later(_) | Next::Torn => next,
        }
    }

    fn wanted(&mut self, around: &Surroundings<'_>, skipped: &mut u64) -> Next {
        let mut room = self.gate.saturating_sub(around.written);
        if self.frozen || room == 0 {
            return Next::Nothing;
        }
        if let Some(block) = around.block
            && self.careful
            && self.filler == 0
        {
            if around.owes {
                return Next::Nothing;
            }
            // All but the last byte of the block, or that byte.
            let rest = block - around.written % block;
            room = room.min(if rest > 1 { rest - 1 } else { 1 });
        }
        if self.filler > 0 {
            return Next::Filler(self.filler);
        }
        match self.carries {
            Carries::Nothing => Next::Nothing,
            Carries::Lent(lender) => self.next_lent(around, lender, room, skipped),
            Carries::Own => self.next_own(around, room, skipped),
        }
    }

    fn next_lent(
        &mut self,
        around: &Surroundings<'_>,
        lender: RenditionId,
        room: u64,
        skipped: &mut u64,
    ) -> Next {
        let lent = around.index(lender);
        if self.cursor < lent.oldest() {
            return Next::Torn;
        }
        let from = self.cursor.max(self.joint);
        let change = change_over(lent, around.index(around.own), lender == around.own, from);
        if let Some((at, own)) = change
            && at == self.cursor
        {
            self.carries = Carries::Own;
            self.cursor = own;
            return self.next_own(around, room, skipped);
        }
        let to = change.map_or_else(|| lent.live(), |(at, _)| at);
        let to = to.min(self.cursor + room).min(self.cursor + self.pace.allows(around.now));
        if self.cursor < to {
            Next::Bytes { rendition: lender, from: self.cursor, to }
        } else {
            Next::Nothing
        }
    }

    fn next_own(&mut self, around: &Surroundings<'_>, room: u64, skipped: &mut u64) -> Next {
        let index = around.index(around.own);
        if let Some(end) = self.last
            && self.cursor >= end
        {
            self.carries = Carries::Nothing;
            self.last = None;
            let block = around.block.unwrap_or(1);
            self.filler = ((block - around.written % block) % block) as u32;
            return if self.filler > 0 { Next::Filler(self.filler) } else { Next::Nothing };
        }
        if self.skip_at.is_none() {
            let longest = u64::try_from(around.longest_lag.as_millis()).unwrap_or(u64::MAX);
            let lag = index.lag_ms(self.cursor);
            self.owed &= lag > CAUGHT_UP_MS;
            let longest = if self.owed { longest.max(OWED_MS) } else { longest };
            if index.lag_ms(self.cursor) > longest || self.cursor < index.oldest() {
                self.skip_at = Some(index.boundary_from(self.cursor));
            }
        }
        if self.cursor < index.oldest() && self.skip_at != Some(self.cursor) {
            return Next::Torn;
        }
        if self.skip_at == Some(self.cursor) {
            *skipped = skipped.saturating_add(index.live().since(self.cursor));
            self.cursor = index.live();
            self.skip_at = None;
        }
        let worth = match self.skip_at.or(self.last) {
            Some(end) => end,
            // What a gate lets through is wanted at once.
            None if self.gate < u64::MAX => index.live(),
            None => self.worth_writing(index.live(), around),
        };
        let to = worth.min(self.cursor + room).min(self.cursor + self.pace.allows(around.now));
        if self.cursor < to {
            Next::Bytes { rendition: around.own, from: self.cursor, to }
        } else {
            Next::Nothing
        }
    }

    /// Up to where writing does anybody good: a server that passes on whole blocks gets whole blocks, so that a system call
    /// and a wake-up over there are not spent on bytes that no listener can have yet. But no socket is silent for long.
    fn worth_writing(&self, live: BytePos, around: &Surroundings<'_>) -> BytePos {
        let waiting = live.since(self.cursor);
        let Some(block) = around.block else { return live };
        let rest = around.written.saturating_add(waiting) % block;
        if rest < waiting {
            live - rest
        } else if around.now.since(around.last_write) >= HOLD {
            live
        } else {
            self.cursor
        }
    }

    /// `bytes` of what [`Feed::next`] named were taken, after `written` body bytes.
    pub(super) fn wrote(&mut self, now: Instant, written: u64, bytes: u64, own: RenditionId) {
        if bytes == 0 {
            return;
        }
        if self.filler > 0 {
            self.filler = self.filler.saturating_sub(bytes as u32);
            return self.note(Span { body: written, what: None });
        }
        let carried = match self.carries {
            Carries::Nothing => return,
            Carries::Lent(lender) => lender,
            Carries::Own => own,
        };
        self.note(Span { body: written, what: Some((carried, self.cursor)) });
        self.cursor += bytes;
        self.pace.spend(now, bytes);
    }

    /// Adds a span where the body does not just go on as before.
    fn note(&mut self, span: Span) {
        let goes_on = self.spans.back().is_some_and(|last| match (last.what, span.what) {
            (None, None) => true,
            (Some((before, from)), Some((now, at))) => {
                before == now && span.body >= last.body && from + (span.body - last.body) == at
            }
            (None, Some(_)) | (Some(_), None) => false,
        });
        if !goes_on {
            self.spans.push_back(span);
            if self.spans.len() > MOST_SPANS {
                self.spans.pop_front();
            }
        }
    }
}

/// The first packet boundary of `lent` at or after `cursor` where a decoder can go on with `own`, and where that is.
fn change_over(lent: &Index, own: &Index, same: bool, cursor: BytePos) -> Option<(BytePos, BytePos)> {
    if same {
        return Some((cursor, cursor));
    }
    let mut packet = lent.ending_from(cursor)?;
    loop {
        if let Some((begins, true)) = own.beginning_at(packet.frames) {
            return Some((packet.end, begins));
        }
        packet = lent.ending_from(packet.end + 1)?;
    }
}

/// How fast a connection may catch up: a listener's queue on the server takes so much at once, and then little more than a
/// listener plays.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Pace {
    ahead: u64,
    most: u64,
    /// Bytes a second.
    rate: u64,
    at: Instant,
}

impl Pace {
    fn new(now: Instant, rendition: &Rendition, most: u64) -> Self {
        Self { ahead: most, most, rate: rendition.bitrate.bytes_per_second() * 6 / 5, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let more = micros.saturating_mul(self.rate) / 1_000_000;
        if more > 0 {
            self.ahead = self.ahead.saturating_add(more).min(self.most);
            self.at = now;
        }
    }

    fn allows(&mut self, now: Instant) -> u64 {
        self.refill(now);
        self.ahead
    }

    fn spend(&mut self, now: Instant, bytes: u64) {
        self.refill(now);
        self.ahead = self.ahead.saturating_sub(bytes);
    }
}

/// From a block's last byte to what follows it: a server that ends a source has closed its connection by then.
const REST: Duration = Duration::from_millis(10);
/// A part of a block waits no longer than this for the rest: the longest pause of a socket stays well below 100 ms.
const HOLD: Duration = Duration::from_millis(40);
/// What a hand-over saved is delivered, also where a server took its time to let go: half of what is kept.
const OWED_MS: u64 = 30_000;
const CAUGHT_UP_MS: u64 = 500;
/// A skip and a hand-over leave two each: more than fit into the minute that is kept.
const MOST_SPANS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Packet;
    use crate::testing;
    use units::Frames;

    const BLOCK: u64 = 1400;
    const NOW: Instant = Instant::from_millis(5000);

    /// Two seconds of one rendition, and a feed's surroundings after `written` body bytes.
    fn index() -> Index {
        let mut index = Index::new(testing::rendition(320));
        for number in 1..=80 {
            index.push(Packet { end: BytePos(number * 960), frames: Frames(number * 1152), entry: true });
        }
        index
    }

    fn around(indices: &[Index], written: u64, last_write: Instant) -> Surroundings<'_> {
        Surroundings {
            now: NOW,
            own: RenditionId(0),
            indices,
            longest_lag: Duration::from_secs(10),
            block: Some(BLOCK),
            written,
            last_write,
            owes: false,
        }
    }

    fn bytes(from: u64, to: u64) -> Next {
        Next::Bytes { rendition: RenditionId(0), from: BytePos(from), to: BytePos(to) }
    }

    #[test]
    fn filler_ends_with_what_the_torn_packet_began_with() {
        let index = [index()];
        let cut = Cut { rendition: RenditionId(0), at: BytePos(1500) };
        for (written, again) in [(7, 540), (1400 - 540, 540), (1400 - 539, 0), (2800, 0)] {
            let mut feed = Feed::held(NOW, index[0].rendition(), 100_000);
            feed.splice(cut, BytePos(960), written, BLOCK);
            let filler = (BLOCK - written % BLOCK) % BLOCK - again;
            let mut at = written;
            if filler > 0 {
                assert_eq!(feed.next(&around(&index, at, NOW), &mut 0), Next::Filler(filler as u32));
                feed.wrote(NOW, at, filler, RenditionId(0));
                at += filler;
            }
            let begins = 1500 - again;
            assert_eq!(
                feed.next(&around(&index, at, NOW), &mut 0),
                bytes(begins, 1500 + if again > 0 { 0 } else { BLOCK })
            );
        }
    }

    #[test]
    fn a_careful_feed_rests_behind_a_block() {
        let index = [index()];
        let mut feed = Feed::live(BytePos(60_000), NOW, index[0].rendition(), 100_000);
        feed.take_care(true);
        let just_now = NOW - Duration::from_millis(1);
        assert_eq!(feed.next(&around(&index, BLOCK, just_now), &mut 0), Next::Later(just_now + REST));
        assert_eq!(feed.next(&around(&index, BLOCK, NOW - REST), &mut 0), bytes(60_000, 61_399));
        // A block's last byte waits for nothing but acknowledgements.
        assert_eq!(feed.next(&around(&index, BLOCK + 1399, just_now), &mut 0), bytes(60_000, 60_001));
    }
}
