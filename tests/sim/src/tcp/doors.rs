//! The doors of a world: what came of a trial, and the box's sockets by hand.

use std::time::Duration;

use delivery::Input;
use delivery::event::Transition;
use delivery::wire::request;
use units::snapshot::{OutputReport, Role};
use units::{BytePos, Instant};

use super::content::Label;
use super::host::Phase;
use super::icecast::Deeds;
use super::listener::Heard;
use super::net::SocketId;
use super::sight::PathSight;
use super::world::{AGENT, World, credentials, mount};

/// What came of it.
impl World {
    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now.since(Instant::ZERO)
    }

    /// What a listener heard so far, by his place in the trial.
    #[must_use]
    pub fn heard(&self, listener: usize) -> Heard {
        self.players[listener].heard(self.now)
    }

    /// Packets that each encoder yielded so far.
    #[must_use]
    pub fn produced(&self) -> u64 {
        self.ends.first().map_or(0, |ends| ends.len() as u64)
    }

    /// How long a packet lasts.
    #[must_use]
    pub const fn packet_time(&self) -> Duration {
        self.packet
    }

    /// What the core tells of its mounts.
    #[must_use]
    pub fn report(&self) -> Vec<OutputReport> {
        self.edge.as_ref().map_or_else(Vec::new, |edge| edge.core.report())
    }

    /// What people were told.
    #[must_use]
    pub fn transitions(&self) -> &[(Instant, Transition)] {
        self.edge.as_ref().map_or(&[], |edge| &edge.transitions)
    }

    /// Everything that people were told, one line each: mounts, hand-overs, uplinks.
    #[must_use]
    pub fn told(&self) -> &[(Instant, String)] {
        self.edge.as_ref().map_or(&[], |edge| &edge.told)
    }

    /// What happened to sources on the server that the box must not cause, or not too often.
    #[must_use]
    pub const fn deeds(&self) -> Deeds {
        self.server.deeds()
    }

    /// Inputs that the core took.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.edge.as_ref().map_or(0, |edge| edge.inputs)
    }

    /// A new title for all mounts.
    pub fn set_title(&mut self, title: &str) {
        if let Some(edge) = &mut self.edge {
            edge.inbox.push_back(Input::Title(title.to_string()));
        }
    }

    /// How many listeners, probes included, a mount of the server has; `None` if it has no source.
    #[must_use]
    pub fn listeners(&self, path: &str) -> Option<usize> {
        self.server.listeners(path)
    }

    /// The title that a mount of the server carries.
    #[must_use]
    pub fn title(&self, path: &str) -> Option<&str> {
        self.server.title(path)
    }
}

/// The box's sockets by hand: what a core would do, step by step.
impl World {
    /// Begins to connect to the server over an uplink.
    pub fn connect(&mut self, uplink: usize) -> SocketId {
        self.net.connect(self.now, uplink)
    }

    /// Whether a socket is connected and neither side has ended it.
    #[must_use]
    pub fn is_open(&self, socket: SocketId) -> bool {
        self.net.phase(socket) == Phase::Open
    }

    /// Writes as much as the socket takes.
    pub fn write(&mut self, socket: SocketId, bytes: &[u8]) -> usize {
        self.net.write(self.now, socket, bytes)
    }

    /// Everything that has come.
    pub fn read(&mut self, socket: SocketId) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.net.read(self.now, socket, usize::MAX, &mut bytes);
        bytes
    }

    /// Bytes written and not acknowledged, sent or not (SIOCOUTQ).
    #[must_use]
    pub fn owed(&self, socket: SocketId) -> usize {
        self.net.owed(socket)
    }

    /// What the kernel tells of a socket's way.
    #[must_use]
    pub fn path(&self, socket: SocketId) -> PathSight {
        self.net.path(socket)
    }

    /// Gives a socket up, with a reset or with an orderly end.
    pub fn close(&mut self, socket: SocketId, reset: bool) {
        self.net.close(self.now, socket, reset);
    }

    /// A source's request for a mount, as the core sends it.
    #[must_use]
    pub fn source_request(&self, path: &str) -> Vec<u8> {
        request::source(&mount(path, Role::Primary, self.encoders[0].rendition), AGENT)
    }

    /// A request for a page, with the source's login.
    #[must_use]
    pub fn page_request(&self, target: &str) -> Vec<u8> {
        let config = mount("/live", Role::Primary, self.encoders[0].rendition);
        format!("GET {target} HTTP/1.0\r\nAuthorization: {}\r\n\r\n", credentials(&config)).into_bytes()
    }

    /// A listener's request.
    #[must_use]
    pub fn listener_request(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.0\r\n\r\n").into_bytes()
    }

    /// Where the packets of a rendition end so far.
    #[must_use]
    pub fn ends(&self, rendition: Label) -> &[BytePos] {
        &self.ends[usize::from(rendition)]
    }

    /// Bytes `from..to` of a rendition, as far as its backlog has them.
    #[must_use]
    pub fn bytes(&self, rendition: Label, from: BytePos, to: BytePos) -> Vec<u8> {
        let (first, second) = self.backlogs[usize::from(rendition)].bytes(from, to);
        [first, second].concat()
    }

    /// Where `needle` ends in a rendition, if it is there once.
    #[must_use]
    pub fn find(&self, rendition: Label, needle: &[u8]) -> Option<BytePos> {
        self.backlogs[usize::from(rendition)].find(needle)
    }
}
