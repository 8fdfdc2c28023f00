//! What whoever leads a mount can see of it and make it do. Mechanism only: nothing here decides.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use units::Instant;

use super::feed::{Cut, Start};
use super::stream::Stream;
use super::{Event, Mount, Remains, State, Step};
use crate::backoff::Cause;
use crate::event::{Failure, LinkId, Output, PathSight, RenditionId, UplinkId};
use crate::index::Index;
use units::BytePos;
use units::snapshot::MountState;

use crate::uplink::Sight as WaySight;

/// What is known of a stream at one moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Sight {
    /// Which connection it is.
    pub link: LinkId,
    pub address: IpAddr,
    /// Body bytes handed to the kernel.
    pub written: u64,
    /// Body bytes that the far side acknowledged.
    pub acked: u64,
    /// The last time an acknowledgement came, or nothing was owed.
    pub progress: Instant,
    /// The last time an acknowledgement came.
    pub answered: Instant,
    /// Something is written and not acknowledged, or could not be written.
    pub owes: bool,
    pub path: PathSight,
    /// What the server had surely read if it ended the source itself, and reset it.
    pub surely_read: u64,
    /// The server said that it took it.
    pub greeted: bool,
    /// The far side reset it.
    pub reset: bool,
    pub held: bool,
    pub careful: bool,
    pub frozen: bool,
}

impl Mount {
    /// Somebody leads this mount from now on (or nobody any more): it does not open by itself.
    pub(crate) fn lead(&mut self, now: Instant, led: bool) {
        self.led = led;
        if !led {
            self.remains = None;
            self.poised = false;
            if matches!(self.state, State::Parked) {
                self.state = State::Waiting { until: now };
            }
        }
    }

    /// Whether all renditions that it names are among the first `count`, as in any mount that was not read from outside.
    pub(crate) fn is_within(&self, count: usize) -> bool {
        let start = match self.start {
            Start::After(cut) => usize::from(cut.rendition.0) < count,
            Start::Live | Start::Held => true,
        };
        let own = usize::from(self.rendition.0) < count;
        own && start && self.any_stream().is_none_or(|stream| stream.feed.is_within(count))
    }

    /// Nothing has been tried with it yet.
    pub(crate) fn is_new(&self) -> bool {
        self.totals.accepted == 0 && self.totals.failures == 0 && self.source().is_none()
    }

    pub(crate) const fn uplink(&self) -> Option<UplinkId> {
        self.uplink
    }

    /// Which way the next attempt goes; one that is under way goes on where it is.
    pub(crate) fn route(&mut self, uplink: Option<UplinkId>) {
        if self.source().is_none() {
            self.uplink = uplink;
        }
    }

    /// Leaves the way it is on for another one, at once.
    pub(crate) fn reroute(&mut self, step: &mut Step<'_>, uplink: Option<UplinkId>, why: &str) {
        self.uplink = uplink;
        self.wait(step, Cause::Lost, MountState::Waiting, why.into());
        self.tick(step);
    }

    /// The uplink that it is on, and the address that it is connected to.
    pub(crate) fn whereabouts(&self) -> Option<(UplinkId, SocketAddr)> {
        let address = match &self.state {
            State::Parked | State::Waiting { .. } | State::Resolving { .. } => None,
            State::Connecting { address, .. }
            | State::Securing { address, .. }
            | State::Poised { address, .. }
            | State::Greeting { address, .. } => Some(*address),
            State::Streaming(stream) => Some(stream.address),
        };
        Some((self.uplink?, self.source_address(address?)))
    }

    /// The address that its source connects to, as far as it is known.
    pub(crate) fn ingest(&self) -> Option<SocketAddr> {
        let literal = self.config.server.host.parse().ok();
        Some(self.source_address(self.good.or(literal)?))
    }

    /// What an event shows of the way that the mount is on.
    pub(crate) fn shows(&mut self, now: Instant, event: &Event<'_>) -> Option<WaySight> {
        match event {
            Event::Reached => Some(WaySight::Connected),
            Event::Wrote { acked, .. } | Event::Measured { acked, .. } => {
                let stream = self.streaming_mut()?;
                let news = *acked > stream.acked && now.since(stream.praised) >= PRAISE;
                if news {
                    stream.praised = now;
                }
                news.then_some(WaySight::Acknowledged)
            }
            Event::Failed(failure) | Event::Closed(Some(failure)) => match failure {
                Failure::TimedOut | Failure::Unreachable => Some(WaySight::Unreached),
                Failure::ConnectionRefused => Some(WaySight::Refused),
                Failure::UnknownAuthority | Failure::WrongName | Failure::PinMismatch => {
                    Some(WaySight::WrongCertificate)
                }
                Failure::NoSuchName
                | Failure::NoNameServer
                | Failure::Reset
                | Failure::WrongDate
                | Failure::BadCertificate(_)
                | Failure::Tls(_)
                | Failure::Local(_) => None,
            },
            Event::Resolved(_)
            | Event::Connected
            | Event::DateIgnored
            | Event::Replied(_)
            | Event::Writable
            | Event::Heard { .. }
            | Event::Closed(None)
            | Event::Answered(_) => None,
        }
    }

    /// How the next connections begin.
    pub(crate) fn begin_with(&mut self, start: Start) {
        self.start = start;
    }

    pub(crate) const fn is_parked(&self) -> bool {
        matches!(self.state, State::Parked)
    }

    pub(crate) const fn is_poised(&self) -> bool {
        matches!(self.state, State::Poised { .. })
    }

    /// A write's outcome is still to come: nothing may be decided on what was written.
    pub(crate) fn is_writing(&self) -> bool {
        self.streaming().is_some_and(Stream::is_writing)
    }

    /// The stream, while there is one.
    pub(crate) fn sight(&self) -> Option<Sight> {
        self.streaming().map(sight)
    }

    /// The last stream of a mount that was led when it ended.
    pub(crate) fn remains(&self) -> Option<(Sight, &str)> {
        self.remains.as_deref().map(|Remains { stream, why }| (sight(stream), why.as_str()))
    }

    /// What byte `at` of the body was, of the stream or what remains of it.
    pub(crate) fn body_at(&self, at: u64) -> Option<Cut> {
        self.any_stream()?.feed.at(at)
    }

    /// Where in the body these bytes of a rendition lie.
    pub(crate) fn body_of(&self, rendition: RenditionId, at: BytePos) -> Option<u64> {
        let stream = self.any_stream()?;
        stream.feed.body_of(rendition, at, stream.written)
    }

    /// Opens a mount that is led, through `uplink`; `poised`: up to the point where it would greet.
    pub(crate) fn launch(
        &mut self,
        step: &mut Step<'_>,
        uplink: Option<UplinkId>,
        start: Start,
        poised: bool,
    ) {
        self.drop_links(step);
        (self.uplink, self.start, self.poised, self.remains) = (uplink, start, poised, None);
        self.open(step);
    }

    /// Greets with a connection that is poised.
    pub(crate) fn go(&mut self, step: &mut Step<'_>, start: Start) {
        self.start = start;
        self.unleash(step);
    }

    /// Resets the stream and stays closed; what it was is remembered.
    pub(crate) fn abandon(&mut self, step: &mut Step<'_>, why: &str) {
        self.led = true;
        self.wait(step, Cause::Lost, MountState::Waiting, why.into());
    }

    /// Lets the stream go without a word to anybody, and stays closed.
    pub(crate) fn drop_source(&mut self, step: &mut Step<'_>, why: &str) {
        self.drop_links(step);
        self.state = State::Parked;
        self.show_trouble(step, MountState::Waiting, why.into(), false);
    }

    pub(crate) fn freeze(&mut self, step: &mut Step<'_>, frozen: bool) {
        if let Some(stream) = self.streaming_mut() {
            stream.feed.freeze(frozen);
        }
        if !frozen {
            self.produced(step);
        }
    }

    /// Publishes one block that goes on after `cut`, and stops; returns the body byte at which it begins.
    pub(crate) fn splice(&mut self, step: &mut Step<'_>, cut: Cut) -> Option<u64> {
        let block = self.profile().block.unwrap_or(1);
        let begins = step.indices[usize::from(cut.rendition.0)].boundary_to(cut.at).unwrap_or(cut.at);
        let begins = self.streaming_mut().map(|stream| stream.splice(cut, begins, block));
        self.show_carrying(step);
        self.produced(step);
        begins
    }

    /// Ends the packet that the body is in, fills its block up, and stops for good.
    pub(crate) fn finish(&mut self, step: &mut Step<'_>) {
        let index = step.index;
        if let Some(stream) = self.streaming_mut() {
            stream.feed.finish(index);
        }
        self.produced(step);
    }

    /// Keeps a mount that is led closed, also one that has not been tried.
    pub(crate) fn park(&mut self) {
        self.led = true;
        if matches!(self.state, State::Waiting { .. }) {
            self.state = State::Parked;
        }
    }

    /// How long the server keeps a silent source, where that was measured.
    pub(crate) fn is_kept_for(&mut self, measured: Option<Duration>) {
        self.kept = measured.unwrap_or_else(|| self.profile().source_timeout);
    }

    /// Bytes that may go out unpaced from the next connection on.
    pub(crate) fn may_go_ahead(&mut self, bytes: u64) {
        self.ahead = bytes;
    }

    /// Tries this address first from now on: a name may lead to several servers.
    pub(crate) fn prefer(&mut self, address: IpAddr) {
        (self.good, self.attempt) = (Some(address), 0);
    }

    /// Stops at the next block's end; returns where.
    pub(crate) fn stop_at_block(&mut self, step: &mut Step<'_>) -> Option<u64> {
        let block = self.profile().block.unwrap_or(1);
        let end = self.streaming_mut().map(|stream| stream.stop_at_block(block));
        self.produced(step);
        end
    }

    pub(crate) fn open_gate(&mut self, step: &mut Step<'_>) {
        if let Some(stream) = self.streaming_mut() {
            stream.feed.open_gate();
        }
        self.produced(step);
    }

    /// One byte of what goes on behind a closed gate: it keeps a source alive that waits for its listeners.
    pub(crate) fn nudge(&mut self, step: &mut Step<'_>) {
        let block = self.profile().block.unwrap_or(1);
        if let Some(stream) = self.streaming_mut() {
            stream.feed.nudge(block);
        }
        self.produced(step);
    }

    /// Whether blocks are completed only on what is acknowledged; see [`super::feed::Feed`].
    pub(crate) fn take_care(&mut self, careful: bool) {
        if let Some(stream) = self.streaming_mut() {
            stream.feed.take_care(careful);
        }
    }

    /// How far the mount is behind live, in milliseconds.
    pub(crate) fn lag_ms(&self, indices: &[Index]) -> u64 {
        self.streaming().map_or(0, |stream| stream.feed.lag_ms(self.rendition, indices))
    }

    /// One byte of filler, on a held mount only: inside a programme it would be heard.
    pub(crate) fn fill(&mut self, step: &mut Step<'_>) {
        if let Some(stream) = self.streaming_mut()
            && stream.feed.is_held()
        {
            stream.feed.add_filler();
        }
        self.produced(step);
    }

    /// Asks the kernel how the stream's path looks, unless it was asked just now.
    pub(crate) fn measure(&mut self, step: &mut Step<'_>) {
        self.look(step, LOOK_PACE);
    }

    /// Whether what is known of the stream is as fresh as can be; if not, it is asked for.
    pub(crate) fn is_fresh(&mut self, step: &mut Step<'_>) -> bool {
        !self.look(step, FRESH)
    }

    fn look(&mut self, step: &mut Step<'_>, pace: Duration) -> bool {
        let Some(stream) = self.streaming_mut() else { return false };
        let due = step.now.since(stream.looked) >= pace;
        if due {
            stream.looked = step.now;
            step.out.push_back(Output::Measure { link: stream.link });
        }
        due
    }

    fn any_stream(&self) -> Option<&Stream> {
        self.streaming().or_else(|| self.remains.as_deref().map(|remains| &remains.stream))
    }

    const fn streaming(&self) -> Option<&Stream> {
        match &self.state {
            State::Streaming(stream) => Some(stream),
            State::Parked
            | State::Poised { .. }
            | State::Waiting { .. }
            | State::Resolving { .. }
            | State::Connecting { .. }
            | State::Securing { .. }
            | State::Greeting { .. } => None,
        }
    }

    fn streaming_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.state {
            State::Streaming(stream) => Some(stream),
            State::Parked
            | State::Poised { .. }
            | State::Waiting { .. }
            | State::Resolving { .. }
            | State::Connecting { .. }
            | State::Securing { .. }
            | State::Greeting { .. } => None,
        }
    }
}

/// Acknowledged bytes prove an uplink for longer than this.
const PRAISE: Duration = Duration::from_secs(1);
/// Between a figure and a decision on it.
const FRESH: Duration = Duration::from_millis(3);
/// Answers come at once and lead to further questions: this keeps them apart.
const LOOK_PACE: Duration = Duration::from_millis(30);

fn sight(stream: &Stream) -> Sight {
    Sight {
        link: stream.link,
        address: stream.address,
        written: stream.written,
        acked: stream.acked,
        progress: stream.progress,
        answered: stream.answered,
        owes: stream.owes(),
        path: stream.sight,
        surely_read: stream.surely_read(),
        greeted: stream.greeted,
        reset: stream.reset,
        held: stream.feed.is_held(),
        careful: stream.feed.is_careful(),
        frozen: stream.feed.is_frozen(),
    }
}
