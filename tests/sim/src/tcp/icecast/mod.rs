//! A model of Icecast 2.4.4 and 2.5.0, with what DESIGN 3 says was measured of them. It speaks to the box over TCP.
//!
//! One process, one mount list, fallbacks between mounts of this server only.

mod page;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use self::page::Request;
pub(crate) use self::source::Reach;
use self::source::{Limits, Outlet, Source};
use super::host::Phase;
use super::net::{Due, SocketId};

/// What kind of server, and how its operator set it up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How it answers.
    pub version: Version,
    /// `fallback-mount`: from each path to the path that takes its listeners.
    pub fallbacks: Vec<(String, String)>,
    /// `fallback-override`: they come back when the mount does.
    pub overrides: bool,
    /// Source credentials may call `/admin`.
    pub source_may_evict: bool,
    /// `burst-size`, bytes.
    pub burst: usize,
    /// `queue-size`, bytes.
    pub queue: usize,
    /// `source-timeout`, seconds.
    pub source_timeout: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: Version::V24,
            fallbacks: vec![("/live".to_string(), "/fallback".to_string())],
            overrides: true,
            source_may_evict: true,
            burst: 65_536,
            queue: 524_288,
            source_timeout: 10,
        }
    }
}

/// Which Icecast it is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Version {
    /// 2.4.4: `100` and `200` at once; 403 for a mount in use.
    V24,
    /// 2.5.0: `100` only; 409 for a mount in use; the status list has moved.
    V25,
}

pub(crate) struct Icecast {
    settings: Settings,
    limits: Limits,
    /// `Authorization` as the box's own requests spell it.
    credentials: String,
    /// What is not a source or a listener yet: bytes of a request.
    heads: BTreeMap<SocketId, Vec<u8>>,
    sources: BTreeMap<String, Source>,
    /// Whose socket is whose source: the mount's path.
    fed: BTreeMap<SocketId, String>,
    /// Whose socket is a listener's.
    probes: BTreeSet<SocketId>,
    /// Of sources that are over: what comes now is not read any more.
    closing: BTreeSet<SocketId>,
    next_source: u64,
    /// The process is stopped (SIGSTOP): its kernel takes bytes until its buffers are full.
    stopped: bool,
    waiting: Vec<Due>,
    deeds: Deeds,
}

/// What was done to sources and their listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deeds {
    /// Sources of the box that `/admin/killsource` ended.
    pub evicted: u64,
    /// Somebody else's that it ended: never to happen.
    pub wronged: u64,
    /// Times that listeners were moved from one mount to another, there or back.
    pub moves: u64,
    /// Times that listeners had to go home because no mount was left to move them to.
    pub sent_home: u64,
}

impl Icecast {
    pub(crate) fn new(settings: Settings, credentials: String) -> Self {
        let limits = Limits {
            burst: settings.burst,
            queue: settings.queue,
            source_timeout: Duration::from_secs(settings.source_timeout),
        };
        Self {
            settings,
            limits,
            credentials,
            heads: BTreeMap::new(),
            sources: BTreeMap::new(),
            fed: BTreeMap::new(),
            probes: BTreeSet::new(),
            closing: BTreeSet::new(),
            next_source: 0,
            stopped: false,
            waiting: Vec::new(),
            deeds: Deeds::default(),
        }
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Everything that waited is done now.
    pub(crate) fn go_on(&mut self, reach: &mut Reach<'_>) {
        self.stopped = false;
        for due in std::mem::take(&mut self.waiting) {
            reach.net.due(reach.now, due);
        }
        let mut sockets: Vec<SocketId> = self.heads.keys().chain(self.fed.keys()).copied().collect();
        sockets.extend(&self.probes);
        for id in sockets {
            self.noted(reach, id);
        }
    }

    /// A model listener asks for a mount. False: there is none, nor a fallback for it.
    pub(crate) fn listen(&mut self, reach: &mut Reach<'_>, number: usize, path: &str) -> bool {
        // A stopped process answers nobody; the listener comes again.
        let Some(path) = self.served(path).filter(|_| !self.stopped) else { return false };
        reach.players[number].connect(reach.now);
        self.seat(&path, Outlet::Player(number), Vec::new());
        true
    }

    pub(crate) const fn deeds(&self) -> Deeds {
        self.deeds
    }

    /// Somebody else takes the mount, if it is free: a stranger, or a twin of the box that sends `rate` bytes a second.
    pub(crate) fn intrude(&mut self, reach: &mut Reach<'_>, path: &str, agent: &str, rate: u64) {
        if !self.sources.contains_key(path) {
            let address = Ipv4Addr::new(203, 0, 113, 9);
            self.open(reach, path, None, address, agent.to_string());
            if let Some(source) = self.sources.get_mut(path) {
                source.pours = rate;
            }
        }
    }

    /// The server ends the box's source by itself, as `/admin/killsource` by somebody else does.
    pub(crate) fn cut_off(&mut self, path: &str) {
        if let Some(source) = self.sources.get_mut(path).filter(|source| source.socket.is_some()) {
            source.ending = true;
        }
    }

    /// A source's thread comes to its end.
    pub(crate) fn shut(&mut self, reach: &mut Reach<'_>, id: SocketId) {
        self.closing.remove(&id);
        reach.net.close(reach.now, id, false);
    }

    /// Somebody else's source goes.
    pub(crate) fn leave(&mut self, reach: &mut Reach<'_>, path: &str) {
        if self.sources.get(path).is_some_and(|source| source.socket.is_none()) {
            self.end(reach, path);
        }
    }

    /// Something happened to a socket of the server's.
    pub(crate) fn noted(&mut self, reach: &mut Reach<'_>, id: SocketId) {
        if let Some(path) = self.fed.get(&id).cloned() {
            if !self.stopped {
                self.feed(reach, &path, id);
            }
            return;
        }
        if self.closing.contains(&id) {
            return;
        }
        if self.probes.contains(&id) {
            if matches!(reach.net.phase(id), Phase::Ended | Phase::Gone(_)) {
                self.probes.remove(&id);
                for source in self.sources.values_mut() {
                    source.seats.retain(|seat| seat.outlet != Outlet::Socket(id));
                }
                reach.net.close(reach.now, id, false);
            }
            return;
        }
        match reach.net.phase(id) {
            Phase::Opening => {}
            Phase::Open if self.stopped => {
                self.heads.entry(id).or_default();
            }
            Phase::Open => {
                let head = self.heads.entry(id).or_default();
                reach.net.read(reach.now, id, HEAD_MOST, head);
                if let Some((request, rest)) = Request::parse(head) {
                    self.heads.remove(&id);
                    self.asked(reach, id, &request, &rest);
                } else if head.len() >= HEAD_MOST {
                    self.heads.remove(&id);
                    reach.net.close(reach.now, id, true);
                }
            }
            Phase::Ended | Phase::Gone(_) => {
                self.heads.remove(&id);
                reach.net.close(reach.now, id, false);
            }
        }
    }

    /// A source's turn is due, unless something was readable since.
    pub(crate) fn turn(&mut self, reach: &mut Reach<'_>, number: u64) {
        if self.stopped {
            self.waiting.push(Due::Turn(number));
            return;
        }
        let Some((path, source)) = self.sources.iter_mut().find(|(_, source)| source.number == number) else {
            return;
        };
        if source.quiet_at > reach.now {
            return reach.net.due(source.quiet_at, Due::Turn(number));
        }
        let goes_on = source.quiet(reach, &self.limits);
        let (path, next) = (path.clone(), source.quiet_at);
        if goes_on {
            reach.net.due(next, Due::Turn(number));
        } else {
            self.end(reach, &path);
        }
    }

    fn feed(&mut self, reach: &mut Reach<'_>, path: &str, id: SocketId) {
        let Some(source) = self.sources.get_mut(path) else { return };
        let goes_on = source.readable(reach, &self.limits);
        let over = matches!(reach.net.phase(id), Phase::Ended | Phase::Gone(_));
        if over || !goes_on {
            self.end(reach, path);
        }
    }

    fn open(
        &mut self,
        reach: &mut Reach<'_>,
        path: &str,
        socket: Option<SocketId>,
        address: Ipv4Addr,
        agent: String,
    ) {
        self.next_source += 1;
        let mut source = Source::new(self.next_source, reach.now, socket, address, agent);
        if self.settings.overrides
            && let Some(below) = self.fallback(path)
            && let Some(fallback) = self.sources.get_mut(&below)
        {
            self.deeds.moves += u64::from(!fallback.seats.is_empty());
            source.take_over(std::mem::take(&mut fallback.seats));
        }
        reach.net.due(source.quiet_at, Due::Turn(source.number));
        self.fed.extend(socket.map(|id| (id, path.to_string())));
        self.sources.insert(path.to_string(), source);
    }

    /// A source is over: its listeners go to the fallback, or home.
    fn end(&mut self, reach: &mut Reach<'_>, path: &str) {
        let Some(source) = self.sources.remove(path) else { return };
        let below = self.fallback(path).and_then(|below| self.served(&below));
        match below.and_then(|below| self.sources.get_mut(&below)) {
            Some(fallback) => {
                self.deeds.moves += u64::from(!source.seats.is_empty());
                fallback.take_over(source.seats);
            }
            None => {
                self.deeds.sent_home += u64::from(!source.seats.is_empty());
                for seat in source.seats {
                    if let Outlet::Socket(id) = seat.outlet {
                        self.probes.remove(&id);
                    }
                    seat.outlet.drop_off(reach);
                }
            }
        }
        if let Some(id) = source.socket {
            self.fed.remove(&id);
            self.closing.insert(id);
            reach.net.due(reach.now + CLOSES, Due::Shut(id));
        }
    }

    fn fallback(&self, path: &str) -> Option<String> {
        let found = self.settings.fallbacks.iter().find(|(from, _)| from == path);
        found.map(|(_, to)| to.clone())
    }

    /// The mount that a listener of `path` is served from: itself, or the first fallback that runs.
    fn served(&self, path: &str) -> Option<String> {
        let mut path = path.to_string();
        // Icecast follows ten.
        for _ in 0..10 {
            if self.sources.contains_key(&path) {
                return Some(path);
            }
            path = self.fallback(&path)?;
        }
        None
    }

    fn seat(&mut self, path: &str, outlet: Outlet, head: Vec<u8>) {
        if let Some(source) = self.sources.get_mut(path) {
            source.join(outlet, head);
        }
    }

    /// How many listeners a mount has; `None` if it has no source.
    pub(crate) fn listeners(&self, path: &str) -> Option<usize> {
        self.sources.get(path).map(|source| source.seats.len())
    }

    /// The title that a mount carries.
    pub(crate) fn title(&self, path: &str) -> Option<&str> {
        self.sources.get(path).map(|source| source.title.as_str())
    }

    /// The server's own clock, in seconds of the day that every run takes place on.
    fn clock(at: Instant) -> u64 {
        MORNING + at.as_micros() / 1_000_000
    }
}

/// From the move of a source's listeners to its socket's end: what its thread does in between, on a machine with other work.
const CLOSES: Duration = Duration::from_millis(4);
/// A request's head may be this long.
const HEAD_MOST: usize = 8192;
/// Runs begin at eight.
const MORNING: u64 = 8 * 3600;
