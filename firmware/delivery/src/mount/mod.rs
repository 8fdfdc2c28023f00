//! One mount: from a wait through an attempt to a stream, and back. Nothing in here knows another mount.

mod attempt;
pub(crate) mod feed;
pub(crate) mod lead;
mod shown;
mod stream;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::snapshot::MountReport;
use units::{BytePos, Instant};

use self::feed::Start;
use self::shown::Shown;
use self::stream::Stream;
use crate::backoff::Backoff;
use crate::config::MountConfig;
use crate::event::{Answer, Failure, LinkId, Output, PathSight, RenditionId, Reply, Tls, UplinkId};
use crate::index::Index;
use crate::profile::ServerProfile;
use crate::title::TitlePush;

/// What a mount is lent for one step.
pub(crate) struct Step<'a> {
    pub now: Instant,
    /// The mount's rendition.
    pub index: &'a Index,
    /// All renditions.
    pub indices: &'a [Index],
    pub agent: &'a str,
    pub title: Option<&'a str>,
    pub out: &'a mut VecDeque<Output>,
    pub next_link: &'a mut u32,
}

impl Step<'_> {
    pub(crate) fn link(&mut self) -> LinkId {
        *self.next_link = self.next_link.wrapping_add(1);
        LinkId(*self.next_link)
    }
}

/// What happened to a mount's link.
pub(crate) enum Event<'a> {
    Resolved(&'a [IpAddr]),
    Reached,
    Connected,
    DateIgnored,
    Replied(&'a Reply),
    Wrote { bytes: u32, acked: u64, blocked: bool },
    Writable,
    Measured { acked: u64, path: PathSight },
    Heard { rendition: RenditionId, upto: BytePos },
    Closed(Option<&'a Failure>),
    Failed(&'a Failure),
    Answered(&'a Answer),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Mount {
    config: MountConfig,
    rendition: RenditionId,
    /// The output has another mount on this server: its listeners are moved there and back.
    paired: bool,
    /// The way out that the next attempt takes.
    uplink: Option<UplinkId>,
    /// Bytes that may go out unpaced: what a listener's queue on the server takes at once.
    ahead: u64,
    /// How long the server keeps a silent source: what a survey measured, or what its kind does.
    kept: Duration,
    /// How the next connection begins.
    start: Start,
    /// Somebody else says when to open it.
    led: bool,
    /// A connection that is ready to greet waits to be told.
    poised: bool,
    /// What became of the last stream of a mount that is led.
    remains: Option<Box<Remains>>,
    state: State,
    backoff: Backoff,
    /// Attempts since the mount was last on air.
    attempt: u32,
    /// When the current attempt began.
    began: Instant,
    /// The address that worked last is tried first.
    good: Option<IpAddr>,
    /// Since when the server says that the mount is in use.
    in_use_since: Option<Instant>,
    title: TitlePush,
    shown: Shown,
    totals: Totals,
}

/// A stream that ended while somebody led the mount.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Remains {
    stream: Stream,
    /// Why it ended, as people are told.
    pub why: String,
}

/// Where a mount is. Every variant but a stream and a mount that is led has a deadline.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum State {
    /// Closed until it is told to open.
    Parked,
    /// Connected and secured, until it is told to greet.
    Poised { link: LinkId, address: IpAddr, deadline: Instant },
    /// Until the next attempt.
    Waiting { until: Instant },
    /// A name is being looked up.
    Resolving { link: LinkId, deadline: Instant },
    /// TCP connects to `address`; `rest` are the addresses still untried.
    /// The most telling failure of the addresses tried so far is `told`: an answer before silence.
    Connecting { link: LinkId, address: IpAddr, rest: Vec<IpAddr>, told: Option<Failure>, deadline: Instant },
    /// The TLS handshake runs.
    Securing { link: LinkId, address: IpAddr, deadline: Instant },
    /// The request is sent and the server's word awaited.
    Greeting { link: LinkId, address: IpAddr, deadline: Instant },
    /// The server has the source.
    Streaming(Box<Stream>),
}

/// Counters over the mount's whole life.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Totals {
    acked: u64,
    written: u64,
    skipped: u64,
    accepted: u64,
    failures: u64,
}

impl Mount {
    pub(crate) fn new(
        config: MountConfig,
        rendition: RenditionId,
        paired: bool,
        seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            kept: ServerProfile::of(config.server.kind).source_timeout,
            config,
            rendition,
            paired,
            uplink: None,
            ahead: AHEAD,
            start: Start::Live,
            led: false,
            poised: false,
            remains: None,
            state: State::Waiting { until: now },
            backoff: Backoff::new(seed),
            attempt: 0,
            began: now,
            good: None,
            in_use_since: None,
            title: TitlePush::Idle,
            shown: Shown::new(now),
            totals: Totals::default(),
        }
    }

    pub(crate) const fn config(&self) -> &MountConfig {
        &self.config
    }

    pub(crate) const fn rendition(&self) -> RenditionId {
        self.rendition
    }

    pub(crate) fn set_paired(&mut self, paired: bool) {
        self.paired = paired;
    }

    /// Whether `link` is this mount's: its source, its title's or its proof's.
    pub(crate) fn owns(&self, link: LinkId) -> bool {
        self.source() == Some(link)
            || self.title.asking() == Some(link)
            || matches!(&self.state, State::Streaming(stream) if stream.proof.asking() == Some(link))
    }

    /// The source's link.
    pub(crate) fn source(&self) -> Option<LinkId> {
        match &self.state {
            State::Waiting { .. } | State::Parked => None,
            State::Resolving { link, .. }
            | State::Connecting { link, .. }
            | State::Securing { link, .. }
            | State::Poised { link, .. }
            | State::Greeting { link, .. } => Some(*link),
            State::Streaming(stream) => Some(stream.link),
        }
    }

    /// When the mount wants to be looked at next, whatever happens.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.state {
            State::Parked => Instant::from_micros(u64::MAX),
            State::Waiting { until } => *until,
            State::Resolving { deadline, .. }
            | State::Connecting { deadline, .. }
            | State::Poised { deadline, .. }
            | State::Securing { deadline, .. }
            | State::Greeting { deadline, .. } => *deadline,
            State::Streaming(stream) => {
                let own = stream.deadline(self.kept);
                if stream.feed.is_frozen() {
                    return own;
                }
                self.title.deadline().map_or(own, |title| title.min(own))
            }
        }
    }

    /// Time has passed. Harmless when nothing is due.
    pub(crate) fn tick(&mut self, step: &mut Step<'_>) {
        let now = step.now;
        match &self.state {
            State::Waiting { until } if *until <= now => self.open(step),
            State::Resolving { deadline, .. } if *deadline <= now => self.unresolved(step),
            State::Connecting { deadline, .. }
            | State::Securing { deadline, .. }
            | State::Poised { deadline, .. }
                if *deadline <= now =>
            {
                self.fail(step, &Failure::TimedOut);
            }
            State::Greeting { deadline, .. } if *deadline <= now => self.unanswered(step),
            State::Streaming(_) => self.stream_tick(step),
            State::Waiting { .. }
            | State::Parked
            | State::Poised { .. }
            | State::Resolving { .. }
            | State::Connecting { .. }
            | State::Securing { .. }
            | State::Greeting { .. } => {}
        }
    }

    /// Something happened on a link that [`Mount::owns`] says is ours.
    pub(crate) fn event(&mut self, step: &mut Step<'_>, link: LinkId, event: &Event<'_>) {
        if self.source() == Some(link) {
            self.source_event(step, event);
        } else {
            self.question_event(step, link, event);
        }
    }

    /// The server passes its body on in whole blocks of so many bytes. Ogg is read and passed on by the page, whatever the server.
    pub(crate) fn block(&self) -> Option<u64> {
        block_of(&self.config)
    }

    /// The rendition grew.
    pub(crate) fn produced(&mut self, step: &mut Step<'_>) {
        if let State::Streaming(stream) = &mut self.state
            && !stream.produced(step, &self.config, self.rendition, &mut self.totals)
        {
            self.torn(step);
        }
    }

    /// The title changed.
    pub(crate) fn retitle(&mut self, step: &mut Step<'_>) {
        if matches!(self.state, State::Streaming(_)) {
            self.bring_title(step);
            self.tick(step);
        }
    }

    /// The title is to be brought to the server, or is in what the mount carries.
    fn bring_title(&mut self, step: &mut Step<'_>) {
        if self.config.rendition.codec.is_ogg() {
            self.title.carried(step.title);
        } else if let Some(pointless) = self.title.due(step.now) {
            step.out.push_back(Output::Close { link: pointless });
        }
    }

    /// Lets go of everything: the mount is to be removed.
    pub(crate) fn close(&mut self, step: &mut Step<'_>) {
        self.drop_links(step);
    }

    pub(crate) fn report(&self, indices: &[Index]) -> MountReport {
        let mut report = MountReport {
            role: self.config.id.role,
            url: self.url(),
            rendition: self.config.rendition,
            state: self.shown.state,
            since: self.shown.since,
            remedy: self.shown.remedy.clone(),
            server: self.shown.server.clone(),
            peer: None,
            acked: self.totals.acked,
            written: self.totals.written,
            lag_ms: 0,
            skipped: self.totals.skipped,
            accepted: self.totals.accepted,
            failures: self.totals.failures,
            longest_pause_ms: 0,
            bytes_per_day: self.config.rendition.bitrate.bytes_per_second() * 86_400,
            title: self.title.on_air().map(ToString::to_string),
        };
        if let State::Streaming(stream) = &self.state {
            stream.report(&mut report, self.rendition, indices);
            report.peer = Some(self.source_address(stream.address).to_string());
        }
        report
    }

    fn url(&self) -> String {
        let server = &self.config.server;
        let scheme = if server.tls.is_some() { "https" } else { "http" };
        let host =
            if server.host.contains(':') { alloc::format!("[{}]", server.host) } else { server.host.clone() };
        alloc::format!("{scheme}://{host}:{}{}", server.port, self.config.path)
    }

    pub(crate) const fn profile(&self) -> &'static ServerProfile {
        ServerProfile::of(self.config.server.kind)
    }

    fn source_address(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.config.server.port.saturating_add(self.profile().source_port_offset))
    }

    pub(crate) fn page_address(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.config.server.port)
    }

    pub(crate) fn tls(&self) -> Option<Tls> {
        let server = &self.config.server;
        server.tls.as_ref().map(|trust| Tls { name: server.host.clone(), trust: trust.clone() })
    }

    /// Closes the source and every question about it.
    fn drop_links(&mut self, step: &mut Step<'_>) {
        let proof = match &self.state {
            State::Streaming(stream) => stream.proof.asking(),
            State::Waiting { .. }
            | State::Resolving { .. }
            | State::Connecting { .. }
            | State::Securing { .. }
            | State::Parked
            | State::Poised { .. }
            | State::Greeting { .. } => None,
        };
        for link in [self.source(), proof, self.title.reset()].into_iter().flatten() {
            step.out.push_back(Output::Close { link });
        }
    }
}

/// See [`Mount::block`].
fn block_of(config: &MountConfig) -> Option<u64> {
    ServerProfile::of(config.server.kind).block.filter(|_| !config.rendition.codec.is_ogg())
}

/// What a listener's queue takes at once: 512 KiB less his burst, and less as much again (DESIGN 3).
const AHEAD: u64 = (512 - 64 - 64) * 1024;
