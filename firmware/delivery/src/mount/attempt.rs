//! From a wait to a stream: resolve, connect, secure, greet; and what each way of failing means.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use units::snapshot::MountState;

use super::feed::{Feed, Start};
use super::stream::Stream;
use super::{Event, Mount, Remains, State, Step};
use crate::backoff::{Backoff, Cause};
use crate::event::{Failure, LinkId, Output, Reply, Talk, Verdict};
use crate::profile::Greeting;
use crate::wire::request;

impl Mount {
    /// Begins an attempt.
    pub(super) fn open(&mut self, step: &mut Step<'_>) {
        self.began = step.now;
        let link = step.link();
        self.show_attempt(step.now);
        let host = &self.config.server.host;
        match host.parse::<IpAddr>() {
            Ok(address) => self.connect(step, Vec::from([address]), None),
            Err(_) => {
                let (uplink, host) = (self.uplink, host.clone());
                step.out.push_back(Output::Resolve { link, uplink, host });
                self.state = State::Resolving {
                    link,
                    deadline: step.now + if self.good.is_some() { RESOLVE_AGAIN } else { RESOLVE },
                };
            }
        }
    }

    pub(super) fn source_event(&mut self, step: &mut Step<'_>, event: &Event<'_>) {
        match (&self.state, event) {
            (State::Streaming(_), _) => self.stream_event(step, event),
            (State::Resolving { .. }, Event::Resolved(addresses)) => self.resolved(step, addresses),
            (State::Connecting { .. } | State::Securing { .. }, Event::Reached) => self.reached(step),
            (State::Connecting { .. } | State::Securing { .. }, Event::Connected) => self.greet(step),
            (State::Greeting { .. }, Event::Replied(reply)) => self.replied(step, reply),
            (_, Event::DateIgnored) => self.date_ignored(step),
            (State::Resolving { .. }, Event::Failed(Failure::NoNameServer)) => self.unresolved(step),
            (_, Event::Failed(failure)) => self.fail(step, failure),
            (_, Event::Closed(failure)) => {
                let failure = (*failure).cloned().unwrap_or(Failure::Reset);
                self.fail(step, &failure);
            }
            // An input that does not belong here is late: its sender acted on an older state.
            (
                State::Waiting { .. }
                | State::Resolving { .. }
                | State::Connecting { .. }
                | State::Securing { .. }
                | State::Parked
                | State::Poised { .. }
                | State::Greeting { .. },
                Event::Resolved(_)
                | Event::Reached
                | Event::Connected
                | Event::Replied(_)
                | Event::Wrote { .. }
                | Event::Writable
                | Event::Measured { .. }
                | Event::Heard { .. }
                | Event::Answered(_),
            ) => {}
        }
    }

    fn resolved(&mut self, step: &mut Step<'_>, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return self.fail(step, &Failure::NoSuchName);
        }
        let mut addresses = addresses.to_vec();
        addresses.truncate(MOST_ADDRESSES);
        // What worked last comes first; the rest takes turns, so that one dead address does not cost every attempt.
        let turn = self.attempt as usize % addresses.len();
        addresses.rotate_left(turn);
        if self.attempt == 0
            && let Some(at) = self.good.and_then(|good| addresses.iter().position(|&address| address == good))
        {
            addresses.swap(0, at);
        }
        self.connect(step, addresses, None);
    }

    /// No answer from the name server: an address that worked before will do.
    pub(super) fn unresolved(&mut self, step: &mut Step<'_>) {
        match (self.good, self.source()) {
            (Some(good), Some(link)) => {
                step.out.push_back(Output::Close { link });
                self.connect(step, Vec::from([good]), None);
            }
            (None, _) | (_, None) => self.fail(step, &Failure::NoNameServer),
        }
    }

    /// Connects to the first of `addresses`, which is not empty.
    fn connect(&mut self, step: &mut Step<'_>, mut addresses: Vec<IpAddr>, told: Option<Failure>) {
        let link = step.link();
        let address = addresses.remove(0);
        let talk = match self.profile().greeting {
            Greeting::Http => Talk::Http,
            Greeting::Password => Talk::Shoutcast,
        };
        step.out.push_back(Output::Connect {
            link,
            uplink: self.uplink,
            address: self.source_address(address),
            tls: self.tls(),
            talk,
            kept: self.kept,
        });
        let deadline = step.now + Backoff::patience(self.attempt);
        self.state = State::Connecting { link, address, rest: addresses, told, deadline };
    }

    fn reached(&mut self, step: &mut Step<'_>) {
        if let State::Connecting { link, address, .. } = self.state {
            self.state = State::Securing { link, address, deadline: step.now + SECURE };
        }
    }

    fn greet(&mut self, step: &mut Step<'_>) {
        let (State::Connecting { link, address, .. } | State::Securing { link, address, .. }) = self.state
        else {
            return;
        };
        if self.poised {
            // Servers wait some fifteen seconds for a head.
            self.state = State::Poised { link, address, deadline: step.now + POISED };
        } else {
            self.send_head(step, link, address);
        }
    }

    /// A poised connection greets now.
    pub(super) fn unleash(&mut self, step: &mut Step<'_>) {
        if let State::Poised { link, address, .. } = self.state {
            self.poised = false;
            self.send_head(step, link, address);
        }
    }

    fn send_head(&mut self, step: &mut Step<'_>, link: LinkId, address: IpAddr) {
        let bytes = match self.profile().greeting {
            Greeting::Http => request::source(&self.config, step.agent),
            Greeting::Password => request::shoutcast_password(&self.config),
        };
        step.out.push_back(Output::Send { link, bytes });
        self.state = State::Greeting { link, address, deadline: step.now + GREET };
    }

    fn replied(&mut self, step: &mut Step<'_>, reply: &Reply) {
        if let Some(server) = &reply.server {
            self.shown.server = Some(server.clone());
        }
        match &reply.verdict {
            Verdict::Go => self.accepted(step, true),
            Verdict::Unauthorised
            | Verdict::InUse
            | Verdict::TooManySources
            | Verdict::ContentType
            | Verdict::Busy
            | Verdict::TooOften
            | Verdict::NoSuchMount
            | Verdict::Rejected
            | Verdict::Redirected
            | Verdict::Nonsense => self.refused(step, reply),
        }
    }

    /// The server said nothing in time. A PUT may stay unanswered (2.5 without Expect, proxies): libshout goes on as well.
    pub(super) fn unanswered(&mut self, step: &mut Step<'_>) {
        match self.profile().greeting {
            Greeting::Http => self.accepted(step, false),
            Greeting::Password => self.fail(step, &Failure::TimedOut),
        }
    }

    fn accepted(&mut self, step: &mut Step<'_>, greeted: bool) {
        let State::Greeting { link, address, deadline } = self.state else { return };
        match self.profile().greeting {
            Greeting::Http => {}
            Greeting::Password => {
                step.out.push_back(Output::Send { link, bytes: request::shoutcast_headers(&self.config) });
            }
        }
        let feed = self.begin(step);
        self.totals.accepted = self.totals.accepted.saturating_add(1);
        self.good = Some(address);
        self.in_use_since = None;
        self.state =
            State::Streaming(Box::new(Stream::new(link, address, deadline - GREET, step.now, feed, greeted)));
        let why = if greeted {
            "the server took the source"
        } else {
            "the server said nothing; sending all the same"
        };
        self.show_progress(step, MountState::Accepted, why.to_string());
        if step.title.is_some() {
            self.bring_title(step);
        }
        if self.config.rendition.codec.is_ogg()
            && let State::Streaming(stream) = &self.state
        {
            let (rendition, at) = (self.rendition, stream.feed.cursor());
            step.out.push_back(Output::Head { link, rendition, at, after: None });
        }
        self.produced(step);
        self.tick(step);
    }

    /// What the body begins with.
    fn begin(&mut self, step: &Step<'_>) -> Feed {
        let rendition = &self.config.rendition;
        match self.start {
            // Pages go out whole, and nothing can be joined in the middle of one.
            Start::After(cut) if rendition.codec.is_ogg() => {
                self.start = Start::Live;
                Feed::live(cut.at, step.now, rendition, self.ahead)
            }
            Start::Held => Feed::held(step.now, rendition, self.ahead),
            Start::After(cut) => {
                // Whatever comes later on is an attempt of another day.
                self.start = Start::Live;
                let block = self.block().unwrap_or(1);
                Feed::after(cut, block, step.now, rendition, self.ahead)
            }
            Start::Live => {
                // A mount without listeners starts with one burst, which a player can fill itself from. Where listeners are
                // moved back by the server, they heard that already on the other mount.
                let start = if self.paired && self.totals.accepted > 0 {
                    step.index.live()
                } else {
                    // Never more than may lie behind, or it would be skipped at once.
                    let lag = u64::try_from(self.config.longest_lag.as_millis()).unwrap_or(u64::MAX);
                    let most = rendition.bitrate.bytes_per_second().saturating_mul(lag) / 2000;
                    step.index.boundary_from(step.index.live() - BURST.min(most)).max(step.index.oldest())
                };
                Feed::live(start, step.now, rendition, self.ahead)
            }
        }
    }

    /// The server said no, before or during the stream.
    pub(super) fn refused(&mut self, step: &mut Step<'_>, reply: &Reply) {
        let status = reply.status;
        let user = &self.config.user;
        let path = &self.config.path;
        let (cause, to, why) = match &reply.verdict {
            Verdict::Go | Verdict::Nonsense => (
                Cause::Answer,
                MountState::Waiting,
                String::from("what answers there is no streaming server; check host and port"),
            ),
            Verdict::Unauthorised => (
                Cause::Person,
                MountState::Refused,
                format!("wrong user or password for {user} (status {status}); check both with the provider"),
            ),
            Verdict::InUse => {
                let since = *self.in_use_since.get_or_insert(step.now);
                if step.now.since(since) < OWN_DEAD_SOURCE {
                    let why = "the mount is in use, probably still by our own last connection; trying again";
                    (Cause::InUse, MountState::Waiting, why.to_string())
                } else {
                    let why =
                        format!("another source holds {path}; stop it, or give this box a mount of its own");
                    (Cause::Occupied, MountState::Occupied, why)
                }
            }
            Verdict::TooManySources => (
                Cause::NoRoom,
                MountState::Waiting,
                format!(
                    "the server's limit of sources is reached (status {status}); raise <sources> on the server"
                ),
            ),
            Verdict::Busy => {
                let why = format!(
                    "the server is full or busy (status {status}); trying again, more seldom each time: raise its limits, or \
                     ask the provider"
                );
                (Cause::NoRoom, MountState::Waiting, why)
            }
            Verdict::TooOften => (
                Cause::NoRoom,
                MountState::Waiting,
                String::from(
                    "these credentials were used too often (status 429); does another box use them?",
                ),
            ),
            Verdict::ContentType => (
                Cause::Person,
                MountState::Refused,
                format!(
                    "the server does not take {} (status {status}); choose another codec, or a mount that takes this one",
                    self.config.rendition.codec.content_type()
                ),
            ),
            Verdict::NoSuchMount => (
                Cause::Person,
                MountState::Refused,
                format!(
                    "the server knows no mount {path} (status {status}); check the path with the provider"
                ),
            ),
            Verdict::Rejected => (
                Cause::Person,
                MountState::Refused,
                format!(
                    "the server rejects the request (status {status}); try the other method (put, source) or path"
                ),
            ),
            Verdict::Redirected => (
                Cause::Person,
                MountState::Refused,
                format!(
                    "the server sends sources elsewhere (status {status}); ask the provider for the ingest's address"
                ),
            ),
        };
        if reply.verdict != Verdict::InUse {
            self.in_use_since = None;
        }
        self.wait(step, cause, to, why);
    }

    /// The attempt broke below HTTP. Untried addresses of the same name come first.
    pub(super) fn fail(&mut self, step: &mut Step<'_>, failure: &Failure) {
        let mut failure = failure.clone();
        if let State::Connecting { link, rest, told, .. } = &mut self.state {
            if let Some(before) = told.take()
                && (before.is_answer() || !failure.is_answer())
            {
                failure = before;
            }
            if !rest.is_empty() {
                step.out.push_back(Output::Close { link: *link });
                let rest = core::mem::take(rest);
                return self.connect(step, rest, Some(failure));
            }
        }
        self.in_use_since = None;
        let cause = match (failure.needs_a_person(), failure.is_answer()) {
            (true, _) => Cause::Person,
            (false, true) => Cause::Answer,
            (false, false) => Cause::Silence,
        };
        let to = if failure.needs_a_person() { MountState::Refused } else { MountState::Waiting };
        self.wait(step, cause, to, failure.to_string());
    }

    /// Lets everything go and waits for the next attempt.
    pub(super) fn wait(&mut self, step: &mut Step<'_>, cause: Cause, to: MountState, why: String) {
        self.drop_links(step);
        self.totals.failures = self.totals.failures.saturating_add(1);
        self.attempt = if cause == Cause::Lost { 0 } else { self.attempt.saturating_add(1) };
        // The wait counts from now for a stream that ended: its attempt began long ago.
        let began = if matches!(self.state, State::Streaming(_)) { step.now } else { self.began };
        let until = self.backoff.next(step.now, began, cause);
        let next = if self.led { State::Parked } else { State::Waiting { until } };
        let before = core::mem::replace(&mut self.state, next);
        if let State::Streaming(stream) = before
            && self.led
        {
            self.remains = Some(Box::new(Remains { stream: *stream, why: why.clone() }));
        }
        let alarming = matches!(cause, Cause::Person | Cause::Occupied | Cause::NoRoom);
        self.show_trouble(step, to, why, alarming);
    }

    pub(super) fn date_ignored(&mut self, step: &mut Step<'_>) {
        let why = "the certificate's dates do not hold, but the clock is unknown: connecting all the same. Set the clock or check the certificate";
        let (from, mount) = (self.shown.state, self.config.id.clone());
        step.out.push_back(Output::Log(crate::event::Transition {
            mount,
            from,
            to: from,
            why: why.to_string(),
            alarm: true,
        }));
    }
}

/// What a player holds of a new mount: the server's default burst.
const BURST: u64 = 65_536;
/// A server gives a client some 15 s for its head (Icecast's `header-timeout`).
const POISED: Duration = Duration::from_secs(10);
const MOST_ADDRESSES: usize = 16;
/// A C library asks each of up to three name servers for 5 s, twice.
const RESOLVE: Duration = Duration::from_secs(30);
/// With an address that worked before, a slow name server is not waited for.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
const SECURE: Duration = Duration::from_secs(5);
/// As long as libshout waits: below half of the server's source timeout.
const GREET: Duration = Duration::from_secs(4);
/// A dead connection of ours is dropped by the server after its source timeout (10 s) and some; who holds the mount longer
/// is somebody else.
const OWN_DEAD_SOURCE: Duration = Duration::from_secs(15);
