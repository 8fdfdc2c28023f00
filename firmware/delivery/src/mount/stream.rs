//! A stream that the server took: what is written, what is acknowledged, what is proven.

use alloc::format;
use alloc::string::ToString;
use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::snapshot::{MountReport, MountState};
use units::{BytePos, Instant};

use super::feed::{Cut, Feed, Next, Surroundings};
use super::{Event, Mount, State, Step, Totals};
use crate::backoff::Cause;
use crate::config::MountConfig;
use crate::event::{Answer, Failure, LinkId, Output, PathSight, Question, RenditionId, Verdict};
use crate::index::Index;
use crate::profile::{Proofs, Titles};
use crate::proof::{self, News, Proof};
use crate::title;
use crate::wire::request;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Stream {
    pub link: LinkId,
    pub address: IpAddr,
    pub proof: Proof,
    /// When the request was sent: the server cannot have taken the source before.
    requested: Instant,
    accepted: Instant,
    /// The server said yes (or anything at all); without that, acknowledged bytes only prove its kernel.
    pub greeted: bool,
    flow: Flow,
    pub feed: Feed,
    /// A write is out and its outcome not yet in.
    writing: bool,
    /// The socket is full.
    blocked: bool,
    pub written: u64,
    pub acked: u64,
    last_write: Instant,
    longest_pause: Duration,
    /// The last time an acknowledgement came, or nothing was owed.
    pub progress: Instant,
    /// The last time an acknowledgement came.
    pub answered: Instant,
    measure_at: Instant,
    /// When what waits for its time may be written.
    resume_at: Option<Instant>,
    /// Where one read by the server of the first of the last writes ends, of those that went out one right behind the other;
    /// and the same for those before.
    reads: [u64; 2],
    /// The far side reset it: it had not read all that it had acknowledged.
    pub reset: bool,
    /// When its acknowledgements last counted for its uplink.
    pub praised: Instant,
    /// When somebody last asked how the path looks.
    pub looked: Instant,
    /// How the path looked when it was last looked at.
    pub sight: PathSight,
    /// The stream has been live long enough for past troubles to be forgotten.
    settled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Flow {
    /// No byte acknowledged yet.
    Accepted,
    /// Bytes are acknowledged.
    Live,
    /// They are not any more.
    Stalled,
}

impl Stream {
    pub(super) fn new(
        link: LinkId,
        address: IpAddr,
        requested: Instant,
        now: Instant,
        feed: Feed,
        greeted: bool,
    ) -> Self {
        Self {
            link,
            address,
            proof: Proof::new(),
            requested,
            accepted: now,
            greeted,
            flow: Flow::Accepted,
            feed,
            writing: false,
            blocked: false,
            written: 0,
            acked: 0,
            last_write: now,
            longest_pause: Duration::ZERO,
            progress: now,
            answered: now,
            measure_at: now + MEASURE_EAGERLY,
            resume_at: None,
            reads: [0; 2],
            reset: false,
            praised: Instant::ZERO,
            looked: Instant::ZERO,
            sight: PathSight::default(),
            settled: false,
        }
    }

    /// The rendition grew, or there is room again: write what there is. False if the packet that the body is in cannot be
    /// completed any more, because its bytes are no longer kept.
    #[must_use]
    pub(super) fn produced(
        &mut self,
        step: &mut Step<'_>,
        config: &MountConfig,
        rendition: RenditionId,
        totals: &mut Totals,
    ) -> bool {
        if self.writing || self.blocked {
            return true;
        }
        let around = Surroundings {
            now: step.now,
            own: rendition,
            indices: step.indices,
            longest_lag: config.longest_lag,
            block: super::block_of(config),
            written: self.written,
            last_write: self.last_write,
            owes: self.written > self.acked,
        };
        let link = self.link;
        self.resume_at = None;
        let before = self.feed.cursor();
        let next = self.feed.next(&around, &mut totals.skipped);
        if self.feed.cursor() != before && config.rendition.codec.is_ogg() {
            let (at, after) = (self.feed.cursor(), Some(before));
            step.out.push_back(Output::Head { link, rendition, at, after });
        }
        let output = match next {
            Next::Later(at) => {
                self.resume_at = Some(at);
                return true;
            }
            Next::Nothing => {
                if self.feed.is_careful() && self.owes() && step.now.since(self.looked) >= CARE {
                    self.looked = step.now;
                    step.out.push_back(Output::Measure { link });
                }
                return true;
            }
            Next::Torn => return false,
            Next::Filler(bytes) => Output::Fill { link, bytes },
            Next::Bytes { rendition, from, to } => Output::Write { link, rendition, from, to },
        };
        self.writing = true;
        step.out.push_back(output);
        true
    }

    pub(super) fn deadline(&self, kept: Duration) -> Instant {
        let mut deadline = Instant::from_micros(u64::MAX);
        if self.feed.is_frozen() {
            // Whoever froze it keeps the time.
            return self.measure_at;
        }
        if !self.settled && self.flow == Flow::Live {
            deadline = self.accepted + SETTLE;
        }
        deadline = self.resume_at.map_or(deadline, |resume| deadline.min(resume));
        if self.owes() {
            let patience = if self.flow == Flow::Stalled { kept.saturating_add(MARGIN) } else { STALL };
            deadline = deadline.min(self.measure_at).min(self.progress + patience);
        }
        self.proof.deadline().map_or(deadline, |proof| deadline.min(proof))
    }

    pub(super) fn report(&self, report: &mut MountReport, own: RenditionId, indices: &[Index]) {
        report.lag_ms = self.feed.lag_ms(own, indices);
        report.longest_pause_ms = u64::try_from(self.longest_pause.as_millis()).unwrap_or(u64::MAX);
    }

    /// Whether something written is not acknowledged, or could not even be written.
    pub(super) const fn owes(&self) -> bool {
        self.written > self.acked || self.blocked
    }

    /// Fills the block up, adds one that goes on after `cut` in the packet that begins at `begins`, and stops. Returns where it
    /// goes on.
    pub(super) fn splice(&mut self, cut: Cut, begins: BytePos, block: u64) -> u64 {
        debug_assert!(!self.writing, "what is being written may be filler: it would be taken for sound");
        self.feed.splice(cut, begins, self.written, block);
        self.written.div_ceil(block) * block
    }

    /// What a server had surely read that ended the source and reset it: having made up its mind it reads once more, up to
    /// its block's end at the most, and does not read what comes until it closes. That one read got the first bytes after a
    /// pause; others would have come in the few milliseconds in between by chance only.
    pub(super) const fn surely_read(&self) -> u64 {
        let [last, before] = self.reads;
        // Something was not read: if not the rest of the last writes, then those themselves.
        if last < self.written { last } else { before }
    }

    pub(super) fn stop_at_block(&mut self, block: u64) -> u64 {
        self.feed.stop_at_block(self.written, block)
    }

    /// Nothing may be counted on that is still being done.
    pub(super) const fn is_writing(&self) -> bool {
        self.writing
    }

    fn note_acked(&mut self, now: Instant, acked: u64, totals: &mut Totals) {
        if acked > self.acked {
            totals.acked = totals.acked.saturating_add(acked - self.acked);
            self.acked = acked;
            (self.progress, self.answered) = (now, now);
        }
        if self.feed.is_careful() && self.owes() && now.since(self.progress) < STALL {
            let pace = (now.since(self.progress) / 4).clamp(CARE, MEASURE_FROZEN);
            self.measure_at = now + pace;
            return;
        }
        let pace = match (self.flow, self.blocked) {
            (Flow::Accepted, _) => MEASURE_EAGERLY,
            (Flow::Live, false) => MEASURE_CALMLY,
            (Flow::Live, true) | (Flow::Stalled, _) => MEASURE_WORRIED,
        };
        self.measure_at = now + pace;
    }

    fn wrote(
        &mut self,
        now: Instant,
        bytes: u32,
        blocked: bool,
        own: RenditionId,
        block: u64,
        totals: &mut Totals,
    ) {
        if !self.owes() {
            self.progress = now;
        }
        self.writing = false;
        self.blocked = blocked;
        if bytes > 0 {
            if self.written > 0 {
                self.longest_pause = self.longest_pause.max(now.since(self.last_write));
            }
            // A block's last byte belongs to what went before it, however long that took to be acknowledged.
            let completes =
                self.feed.is_careful() && bytes == 1 && self.written.saturating_add(1).is_multiple_of(block);
            if self.written == 0 || (now.since(self.last_write) >= APART && !completes) {
                let most = (self.written - self.written % block).saturating_add(block);
                self.reads = [most.min(self.written.saturating_add(bytes.into())), self.reads[0]];
            }
            self.last_write = now;
            self.feed.wrote(now, self.written, bytes.into(), own);
            self.written = self.written.saturating_add(bytes.into());
            totals.written = totals.written.saturating_add(bytes.into());
        }
    }
}

impl Mount {
    pub(super) fn stream_event(&mut self, step: &mut Step<'_>, event: &Event<'_>) {
        let block = self.profile().block.unwrap_or(UNCUT);
        let State::Streaming(stream) = &mut self.state else { return };
        match event {
            // A socket that is not full takes something: what was asked for is not there.
            Event::Wrote { bytes: 0, blocked: false, .. } => self.torn(step),
            Event::Wrote { bytes, acked, blocked } => {
                stream.wrote(step.now, *bytes, *blocked, self.rendition, block, &mut self.totals);
                stream.note_acked(step.now, *acked, &mut self.totals);
                if stream.feed.is_careful() && stream.owes() && *bytes > 0 {
                    stream.looked = step.now;
                    step.out.push_back(Output::Measure { link: stream.link });
                }
                self.flow(step);
                self.produced(step);
            }
            Event::Writable => {
                stream.blocked = false;
                self.produced(step);
            }
            Event::Measured { acked, path } => {
                stream.sight = *path;
                stream.note_acked(step.now, *acked, &mut self.totals);
                let careful = stream.feed.is_careful();
                self.flow(step);
                if careful {
                    self.produced(step);
                }
            }
            Event::Replied(reply) if reply.verdict == Verdict::Go => {
                if !stream.greeted {
                    stream.greeted = true;
                    stream.accepted = step.now;
                }
                if let Some(server) = &reply.server {
                    self.shown.server = Some(server.clone());
                }
                self.flow(step);
            }
            Event::Replied(reply) => self.refused(step, reply),
            Event::DateIgnored => self.date_ignored(step),
            Event::Closed(failure) => self.ended(step, *failure),
            Event::Failed(failure) => self.ended(step, Some(failure)),
            Event::Resolved(_)
            | Event::Reached
            | Event::Connected
            | Event::Heard { .. }
            | Event::Answered(_) => {}
        }
    }

    /// The mount fell so far behind that the rest of its packet is gone.
    pub(super) fn torn(&mut self, step: &mut Step<'_>) {
        let why = "the mount fell further behind than bytes are kept; opening it anew";
        self.wait(step, Cause::Answer, MountState::Waiting, why.to_string());
    }

    pub(super) fn stream_tick(&mut self, step: &mut Step<'_>) {
        let now = step.now;
        let patience = self.kept.saturating_add(MARGIN);
        let State::Streaming(stream) = &mut self.state else { return };
        if !stream.settled && stream.flow == Flow::Live && now.since(stream.accepted) >= SETTLE {
            stream.settled = true;
            self.backoff.settle();
            self.attempt = 0;
        }
        if stream.feed.is_frozen() {
            if now >= stream.measure_at {
                stream.measure_at = now + MEASURE_FROZEN;
                step.out.push_back(Output::Measure { link: stream.link });
            }
            return;
        }
        if stream.owes() {
            if now.since(stream.progress) >= patience {
                let seconds = now.since(stream.progress).as_secs();
                let why = format!("no byte was acknowledged for {seconds} s; opening the mount anew");
                return self.wait(step, Cause::Silence, MountState::Waiting, why);
            }
            if now >= stream.measure_at {
                stream.measure_at = now + MEASURE_WORRIED;
                stream.looked = now;
                step.out.push_back(Output::Measure { link: stream.link });
            }
        }
        let resumes = stream.resume_at.take_if(|at| *at <= now).is_some();
        self.flow(step);
        self.ask(step);
        if resumes {
            self.produced(step);
        }
    }

    /// A held mount has begun to carry sound.
    pub(super) fn show_carrying(&mut self, step: &mut Step<'_>) {
        let State::Streaming(stream) = &self.state else { return };
        if self.shown.state == MountState::Held && !stream.feed.is_held() {
            let to = if stream.proof.verified() { MountState::Verified } else { MountState::Live };
            self.show_progress(step, to, "the held mount carries the programme now".to_string());
        }
    }

    /// What acknowledgements, or their absence, mean.
    fn flow(&mut self, step: &mut Step<'_>) {
        let has_proof = !matches!(self.profile().proof, Proofs::Nothing);
        let State::Streaming(stream) = &mut self.state else { return };
        let waited = step.now.since(stream.progress);
        match stream.flow {
            Flow::Accepted | Flow::Live if stream.owes() && waited >= STALL => {
                stream.flow = Flow::Stalled;
                let why = "no byte is acknowledged; the network or the server hangs";
                self.show_progress(step, MountState::Stalled, why.to_string());
            }
            Flow::Accepted | Flow::Stalled if stream.acked > 0 && (waited < STALL || !stream.owes()) => {
                if !stream.greeted && !stream.proof.verified() {
                    if has_proof {
                        stream.proof.wanted(step.now);
                    }
                    return;
                }
                stream.flow = Flow::Live;
                let verified = stream.proof.verified();
                if has_proof {
                    stream.proof.wanted(step.now);
                }
                let held = stream.feed.is_held();
                let (to, why) = match (held, verified) {
                    (true, _) => {
                        (MountState::Held, "the mount is held: connected, and ready when it is needed")
                    }
                    (false, true) => (MountState::Verified, "the server acknowledges bytes"),
                    (false, false) => (MountState::Live, "the server acknowledges bytes"),
                };
                self.show_progress(step, to, why.to_string());
            }
            Flow::Accepted | Flow::Live | Flow::Stalled => {}
        }
    }

    /// Sends the questions that are due: title and proof.
    fn ask(&mut self, step: &mut Step<'_>) {
        let now = step.now;
        let profile = self.profile();
        let tls = self.tls();
        let State::Streaming(stream) = &self.state else { return };
        let address = self.page_address(stream.address);
        let way = stream.proof.way();
        let overdue = stream.proof.overdue(now).then(|| stream.proof.asking()).flatten();
        let due = stream.proof.due(now);

        if self.title.deadline().is_some_and(|at| at <= now) {
            if let Some(link) = self.title.asking() {
                step.out.push_back(Output::Close { link });
                self.title.answered(now, false);
            } else if let Some(text) = step.title {
                let link = step.link();
                let request = match profile.titles {
                    Titles::AdminMetadata => request::admin_metadata(&self.config, step.agent, text),
                    Titles::AdminCgi => request::admin_cgi(&self.config, step.agent, text),
                };
                let (question, patience) = (Question::Title, title::PATIENCE);
                step.out.push_back(Output::Ask {
                    link,
                    uplink: self.uplink,
                    address,
                    tls: tls.clone(),
                    request: Some(request),
                    question,
                    patience,
                });
                self.title.asked(now, link, text.to_string());
            } else {
                self.title.reset();
            }
        }

        if let Some(link) = overdue {
            step.out.push_back(Output::Close { link });
            self.proven(step, None);
        } else if due {
            let (path, question) = match profile.proof {
                Proofs::StatusList(paths) if way < paths.len() => {
                    (paths[way], Question::Status { path: self.config.path.clone() })
                }
                Proofs::StatusList(_) | Proofs::Probe => {
                    (self.config.path.as_str(), Question::Probe { rendition: self.rendition })
                }
                Proofs::Nothing => return,
            };
            let link = step.link();
            let request = request::page(&self.config, step.agent, path);
            step.out.push_back(Output::Ask {
                link,
                uplink: self.uplink,
                address,
                tls,
                request: Some(request),
                question,
                patience: proof::PATIENCE,
            });
            if let State::Streaming(stream) = &mut self.state {
                stream.proof.asked(now, link);
            }
        }
    }

    /// Something happened to a question's link.
    pub(super) fn question_event(&mut self, step: &mut Step<'_>, link: LinkId, event: &Event<'_>) {
        let answer = match event {
            Event::Answered(answer) => Some(*answer),
            Event::Failed(_) | Event::Closed(_) => None,
            Event::DateIgnored
            | Event::Resolved(_)
            | Event::Reached
            | Event::Connected
            | Event::Replied(_)
            | Event::Wrote { .. }
            | Event::Writable
            | Event::Heard { .. }
            | Event::Measured { .. } => return,
        };
        if self.title.asking() == Some(link) {
            self.title.answered(step.now, answer == Some(&Answer::TitleTaken));
            if self.title.stuck() {
                self.show_title_trouble(step, answer);
            }
        } else {
            self.proven(step, answer);
        }
        self.tick(step);
    }

    fn proven(&mut self, step: &mut Step<'_>, answer: Option<&Answer>) {
        let ways = match self.profile().proof {
            Proofs::StatusList(paths) => paths.len(),
            Proofs::Probe | Proofs::Nothing => 0,
        };
        // Icecast puts Vorbis on pages of its own: bytes that we do not know again prove nothing then.
        let answer = match answer {
            Some(Answer::HeardForeign) if self.config.rendition.codec.is_ogg() => {
                Some(&Answer::HeardNothing { status: 200 })
            }
            Some(_) | None => answer,
        };
        let State::Streaming(stream) = &mut self.state else { return };
        let taken = stream.greeted.then_some(stream.requested..=stream.accepted);
        let news = stream.proof.answered(step.now, answer, taken, ways);
        if stream.feed.is_held() && stream.proof.verified() {
            // Bytes may cost money, and nobody hears it.
            stream.proof.rest(step.now + HELD_REST);
        }
        // Bytes that are acknowledged without a yes, and a server that shows the mount without us: something on the way
        // swallows them, and will not stop doing so by itself.
        let denied = matches!(answer, Some(Answer::NotListed | Answer::HeardForeign));
        if denied
            && !stream.greeted
            && !stream.proof.verified()
            && step.now.since(stream.accepted) >= SWALLOWED
        {
            let why = "the server never said yes and does not show the mount; opening it anew";
            return self.wait(step, Cause::Answer, MountState::Waiting, why.to_string());
        }
        match (news, stream.flow) {
            // A held mount stays called so, whatever the list shows.
            (_, Flow::Live) if stream.feed.is_held() => {}
            (News::Verified, Flow::Live) => {
                let why = match answer {
                    Some(Answer::Heard { .. }) => "a listener connection hears our bytes",
                    _ => "the server's status shows the mount",
                };
                self.show_progress(step, MountState::Verified, why.to_string());
            }
            (News::Doubted, Flow::Live) => {
                let why = match answer {
                    Some(Answer::NotListed) => "the server's status does not show the mount any more",
                    Some(Answer::HeardForeign) => "a listener connection hears somebody else's bytes",
                    Some(_) => "the server's status shows a source that is not ours",
                    None => "the proof that the mount is on air could not be renewed",
                };
                self.show_progress(step, MountState::Live, why.to_string());
            }
            (News::Verified, Flow::Accepted | Flow::Stalled) => self.flow(step),
            (News::Doubted, Flow::Accepted | Flow::Stalled) | (News::Nothing, _) => {}
        }
    }

    /// The server ended the stream, or the connection broke.
    fn ended(&mut self, step: &mut Step<'_>, failure: Option<&Failure>) {
        let State::Streaming(stream) = &mut self.state else { return };
        stream.reset = failure == Some(&Failure::Reset);
        let cause = match failure {
            Some(failure) if !failure.is_answer() => Cause::Silence,
            Some(_) | None if stream.settled => Cause::Lost,
            Some(_) | None => Cause::Answer,
        };
        let why = match failure {
            Some(failure) => format!("the stream broke: {failure}"),
            None => "the server ended the stream; was the mount kicked, or the server restarted?".to_string(),
        };
        self.wait(step, cause, MountState::Waiting, why);
    }
}

/// With no second path nothing is reset before the server itself would let go: silence heals by itself (DESIGN 3).
const MARGIN: Duration = Duration::from_secs(2);

/// So long without an acknowledgement, and the mount is called stalled.
const STALL: Duration = Duration::from_secs(3);
/// A held mount is proven now and then only.
const HELD_REST: Duration = Duration::from_secs(600);
/// Longer than any body: of a server that passes bytes on as they come.
const UNCUT: u64 = 1 << 62;
/// Writes that lie further apart than this are read one by one.
const APART: Duration = Duration::from_millis(5);
/// An acknowledgement is looked for after this, where one is waited for.
const CARE: Duration = Duration::from_millis(2);
const MEASURE_FROZEN: Duration = Duration::from_millis(50);
const MEASURE_EAGERLY: Duration = Duration::from_millis(20);
const MEASURE_WORRIED: Duration = Duration::from_millis(250);
/// In calm times every write brings the figure along; this only matters when the encoder stops.
const MEASURE_CALMLY: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_secs(10);
/// A server that took the source without a word shows it by then.
const SWALLOWED: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::testing;

    /// What was surely read after writes of so many bytes, each so many milliseconds after the one before.
    fn surely_read(writes: &[(u64, u32)]) -> u64 {
        let mut now = Instant::from_millis(1000);
        let mut feed = Feed::live(BytePos(0), now, &testing::rendition(320), 100_000);
        feed.take_care(true);
        let mut stream = Stream::new(LinkId(1), Ipv4Addr::LOCALHOST.into(), now, now, feed, true);
        for &(after, bytes) in writes {
            now += Duration::from_millis(after);
            stream.wrote(now, bytes, false, RenditionId(0), 1400, &mut Totals::default());
        }
        stream.surely_read()
    }

    #[test]
    fn a_server_that_ends_a_source_reads_once_more() {
        // A block but its last byte, that byte, and more: one read took the first of them.
        assert_eq!(surely_read(&[(0, 1000), (48, 399), (2, 1), (2, 500)]), 1399);
        // The same on a machine that is busy, and at a server that took its time to close.
        assert_eq!(surely_read(&[(0, 1000), (40, 399), (8, 1), (10, 500)]), 1399);
        // Nothing came behind the last one: it was not read.
        assert_eq!(surely_read(&[(0, 1000), (48, 399), (2, 1), (48, 500)]), 1399);
        assert_eq!(surely_read(&[(0, 1000), (48, 399)]), 1000);
        // A read ends with the block.
        assert_eq!(surely_read(&[(0, 1000), (48, 3200)]), 1400);
    }
}
