//! Something on the way that takes TCP apart, as accelerators of satellite and mobile links do (RFC 3135): the box's connections end
//! in it, it acknowledges what they carry, and passes that on over connections of its own.
//!
//! It stands next to the box: an uplink's line, with its delay and its faults, lies behind it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use units::Instant;

use super::host::{Endpoint, Options, Phase};
use super::net::{Net, Side, SocketId};
use super::segment::{Frame, Peer, Segment};

/// Both halves of each connection that was taken apart, by the box's end of it.
#[derive(Default)]
pub(crate) struct Middlebox {
    near: BTreeMap<Peer, SocketId>,
    far: BTreeMap<Peer, SocketId>,
    /// Something happened to one of its sockets.
    stirred: VecDeque<Peer>,
}

impl Middlebox {
    /// Something happened to a socket of the connection whose end at the box is `peer`.
    pub(crate) fn stir(&mut self, peer: Peer) {
        if !self.stirred.contains(&peer) {
            self.stirred.push_back(peer);
        }
    }

    /// A socket is gone.
    pub(crate) fn forget(&mut self, side: Side, peer: Peer, id: SocketId) {
        let half = match side {
            Side::Near => &mut self.near,
            Side::Far => &mut self.far,
            Side::Box | Side::Server => return,
        };
        if half.get(&peer) == Some(&id) {
            half.remove(&peer);
        }
    }
}

impl Net {
    /// A packet of the box's reaches it.
    pub(crate) fn reaches_middlebox(&mut self, now: Instant, uplink: usize, frame: Frame) {
        let segment = Segment::of(&frame);
        let id = match self.middlebox.near.get(&segment.from).copied() {
            Some(id) => id,
            None if segment.syn => self.take_apart(now, uplink, segment.from),
            None if segment.rst => return,
            None => return self.send_back(now, uplink, segment.refusal()),
        };
        self.arrives(now, id, frame);
    }

    /// A packet of the server's reaches it.
    pub(crate) fn comes_to_middlebox(&mut self, now: Instant, uplink: usize, frame: Frame) {
        let segment = Segment::of(&frame);
        match self.middlebox.far.get(&segment.to).copied() {
            Some(id) => self.arrives(now, id, frame),
            None if segment.rst => {}
            None => self.send_up(now, uplink, segment.refusal()),
        }
    }

    /// A packet between the box and it.
    pub(crate) fn passes_near(&self, uplink: usize, own: Peer) -> bool {
        let way = &self.uplinks[uplink];
        way.carrier && !way.near_dark && own.address == way.address
    }

    /// It takes the box's connection before the server has.
    fn take_apart(&mut self, now: Instant, uplink: usize, peer: Peer) -> SocketId {
        let options = |net: &mut Self| Options {
            seed: net.dice.between(0, u64::MAX - 1),
            user_timeout: PATIENCE,
            ..net.server_options
        };
        let (near, far) = (options(self), options(self));
        let server = self.server;
        let near = self.admit(Endpoint::listening(now, server, peer, uplink, &near), Side::Near);
        let far = self.admit(Endpoint::connecting(now, peer, server, uplink, &far), Side::Far);
        self.middlebox.near.insert(peer, near);
        self.middlebox.far.insert(peer, far);
        self.pump(now, far);
        near
    }

    /// Passes on what came, both ways, and each end.
    pub(crate) fn relay(&mut self, now: Instant) {
        while let Some(peer) = self.middlebox.stirred.pop_front() {
            let near = self.middlebox.near.get(&peer).copied();
            let far = self.middlebox.far.get(&peer).copied();
            for (from, to) in [(near, far), (far, near)] {
                if let (Some(from), Some(to)) = (from, to) {
                    self.pass_on(now, from, to);
                }
            }
            for (one, other) in [(near, far), (far, near)] {
                let Some(one) = one else { continue };
                match self.phase(one) {
                    Phase::Opening | Phase::Open => {}
                    Phase::Ended => self.let_go(now, [Some(one), other], false),
                    Phase::Gone(_) => self.let_go(now, [Some(one), other], true),
                }
            }
        }
    }

    fn pass_on(&mut self, now: Instant, from: SocketId, to: SocketId) {
        let room = self.see(to).map_or(0, Endpoint::room);
        let mut bytes = Vec::new();
        if room > 0 && self.read(now, from, room, &mut bytes) > 0 {
            self.write(now, to, &bytes);
        }
    }

    fn let_go(&mut self, now: Instant, halves: [Option<SocketId>; 2], reset: bool) {
        for half in halves.into_iter().flatten() {
            if self.see(half).is_some_and(|endpoint| endpoint.orphan.is_none()) {
                self.close(now, half, reset);
            }
        }
    }
}

/// Between the box and it.
pub(crate) const NEAR: Duration = Duration::from_millis(1);
/// How long it goes on when the server does not answer.
const PATIENCE: Duration = Duration::from_secs(300);
