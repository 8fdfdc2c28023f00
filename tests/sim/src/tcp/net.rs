//! Everything between two programs: the box's sockets, the server's, the uplinks, and one agenda of what comes due.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use units::Instant;

use super::host::{Endpoint, Options, Phase};
use super::link::Uplink;
use super::middlebox::{Middlebox, NEAR};
use super::segment::{Frame, Peer, Segment, reset};
use super::sight::PathSight;
use crate::dice::Dice;

/// A socket of the box or of the server; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SocketId(u32);

/// Whose socket it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Box,
    Server,
    /// A middlebox's, towards the box and towards the server.
    Near,
    Far,
}

/// Something that comes due.
#[derive(Debug)]
pub(crate) enum Due {
    /// The encoders yield a packet.
    Packet,
    /// A name server answers, for this link of the core's over this uplink.
    Lookup(delivery::LinkId, usize),
    /// A question's patience ends.
    Patience(delivery::LinkId),
    /// A gateway answers a check; nobody did.
    Checked(delivery::uplink::CheckId),
    Unchecked(delivery::uplink::CheckId),
    /// A source's loop turns, if nothing was readable.
    Turn(u64),
    /// The server gets round to closing a socket.
    Shut(SocketId),
    /// A player connects.
    Join(usize),
    /// The invariants are looked at.
    Look,
    /// A fault begins or ends.
    Begin(usize),
    End(usize),
    /// A flapping uplink changes.
    Flap(usize),
}

/// What the net sees to by itself, and the rest.
enum Task {
    /// A packet reaches the server.
    Up(usize, Frame),
    /// A packet reaches the box, or the middlebox in front of it.
    Down(usize, Frame),
    /// A packet reaches the middlebox from the box, and the box from it.
    Near(usize, Frame),
    Back(usize, Frame),
    /// A socket's own timer.
    Timer(SocketId),
    Due(Due),
}

struct Entry {
    at: Instant,
    order: u64,
    task: Task,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The earliest is the greatest: a heap gives that out first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

pub(crate) struct Net {
    pub dice: Dice,
    pub uplinks: Vec<Uplink>,
    pub server: Peer,
    /// Something listens on the server's port.
    pub listens: bool,
    /// Kernel settings of the box's sockets, and of the server's.
    pub box_options: Options,
    pub server_options: Options,
    /// Uplinks on which a middlebox takes every connection apart.
    pub accelerated: Vec<usize>,
    pub(super) middlebox: Middlebox,
    /// Connections that a middlebox has cut: their box's end.
    cut: BTreeSet<Peer>,
    sockets: Vec<Option<Box<Endpoint>>>,
    /// By the box's end of each connection, on either side.
    at_box: BTreeMap<Peer, SocketId>,
    at_server: BTreeMap<Peer, SocketId>,
    next_port: u16,
    agenda: BinaryHeap<Entry>,
    order: u64,
    /// Sockets that something happened to.
    noted: VecDeque<SocketId>,
}

impl Net {
    pub(crate) fn new(
        dice: Dice,
        uplinks: Vec<Uplink>,
        server: Peer,
        box_options: Options,
        server_options: Options,
    ) -> Self {
        Self {
            dice,
            uplinks,
            server,
            listens: true,
            box_options,
            server_options,
            accelerated: Vec::new(),
            middlebox: Middlebox::default(),
            cut: BTreeSet::new(),
            sockets: Vec::new(),
            at_box: BTreeMap::new(),
            at_server: BTreeMap::new(),
            next_port: FIRST_PORT,
            agenda: BinaryHeap::new(),
            order: 0,
            noted: VecDeque::new(),
        }
    }

    pub(crate) fn due(&mut self, at: Instant, due: Due) {
        self.plan(at, Task::Due(due));
    }

    fn plan(&mut self, at: Instant, task: Task) {
        self.order += 1;
        self.agenda.push(Entry { at, order: self.order, task });
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.agenda.peek().map(|entry| entry.at)
    }

    /// What comes due by `now`, if it is not the net's own: that is done here.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        match self.agenda.pop()?.task {
            Task::Up(uplink, frame) => self.reaches_server(now, uplink, frame),
            Task::Down(uplink, frame) if self.accelerated.contains(&uplink) => {
                self.comes_to_middlebox(now, uplink, frame);
            }
            Task::Down(uplink, frame) | Task::Back(uplink, frame) => self.reaches_box(now, uplink, frame),
            Task::Near(uplink, frame) => self.reaches_middlebox(now, uplink, frame),
            Task::Timer(id) => {
                // One that was armed anew for an earlier moment has been looked at by then.
                if let Some(endpoint) = self.endpoint(id)
                    && (endpoint.orphan.is_some() || endpoint.armed.is_some_and(|armed| armed <= now))
                {
                    endpoint.armed = None;
                    self.pump(now, id);
                }
            }
            Task::Due(due) => return Some(due),
        }
        self.relay(now);
        None
    }

    /// The next socket that something happened to.
    pub(crate) fn noted(&mut self) -> Option<SocketId> {
        let id = self.noted.pop_front()?;
        if let Some(endpoint) = self.endpoint(id) {
            endpoint.noted = false;
        }
        Some(id)
    }

    /// Whether a socket is the box's.
    pub(crate) fn is_box(&self, id: SocketId) -> bool {
        self.see(id).is_some_and(|endpoint| endpoint.side == Side::Box)
    }

    /// A socket of the box, bound to an uplink, begins to connect to the server.
    pub(crate) fn connect(&mut self, now: Instant, uplink: usize) -> SocketId {
        self.connect_within(now, uplink, None)
    }

    /// The same with a user timeout of its own, if that is shorter than the kernel's.
    pub(crate) fn connect_within(
        &mut self,
        now: Instant,
        uplink: usize,
        user_timeout: Option<Duration>,
    ) -> SocketId {
        self.next_port = if self.next_port == u16::MAX { FIRST_PORT } else { self.next_port + 1 };
        let local = Peer { address: self.uplinks[uplink].address, port: self.next_port };
        let longest = self.box_options.user_timeout;
        let user_timeout = user_timeout.map_or(longest, |own| own.min(longest));
        let options = Options { seed: self.dice.between(0, u64::MAX - 1), user_timeout, ..self.box_options };
        let id = self.admit(Endpoint::connecting(now, local, self.server, uplink, &options), Side::Box);
        self.at_box.insert(local, id);
        self.pump(now, id);
        id
    }

    /// Writes as much as fits.
    pub(crate) fn write(&mut self, now: Instant, id: SocketId, bytes: &[u8]) -> usize {
        let taken = self.endpoint(id).map_or(0, |endpoint| endpoint.write(bytes));
        self.pump(now, id);
        taken
    }

    /// Reads at most `most` bytes.
    pub(crate) fn read(&mut self, now: Instant, id: SocketId, most: usize, into: &mut Vec<u8>) -> usize {
        let read = self.endpoint(id).map_or(0, |endpoint| endpoint.read(most, into));
        if read > 0 {
            // The window may have opened.
            self.pump(now, id);
        }
        read
    }

    pub(crate) fn phase(&self, id: SocketId) -> Phase {
        self.see(id).map_or(Phase::Ended, Endpoint::phase)
    }

    pub(crate) fn owed(&self, id: SocketId) -> usize {
        self.see(id).map_or(0, Endpoint::owed)
    }

    pub(crate) fn writable(&self, id: SocketId) -> bool {
        self.see(id).is_some_and(Endpoint::writable)
    }

    /// How long what is owed has not moved.
    pub(crate) fn silent(&self, now: Instant, id: SocketId) -> Duration {
        self.see(id).map_or(Duration::ZERO, |endpoint| endpoint.silent(now))
    }

    pub(crate) fn path(&self, id: SocketId) -> PathSight {
        self.see(id).map_or_else(PathSight::default, Endpoint::path)
    }

    /// The other side's address.
    pub(crate) fn remote(&self, id: SocketId) -> Ipv4Addr {
        self.see(id).map_or(Ipv4Addr::UNSPECIFIED, |endpoint| endpoint.remote.address)
    }

    /// Bytes that the server's kernel has of a connection of the box's; `None` if it has no such connection (any more), and where
    /// a middlebox acknowledges in its place.
    pub(crate) fn at_server(&self, id: SocketId) -> Option<u64> {
        let own = self.see(id)?;
        if self.accelerated.contains(&own.uplink) {
            return None;
        }
        let other = self.at_server.get(&own.local)?;
        self.see(*other).map(Endpoint::received)
    }

    /// The program gives a socket up. `reset`: what is owed is not to be delivered any more.
    pub(crate) fn close(&mut self, now: Instant, id: SocketId, reset: bool) {
        let Some(endpoint) = self.endpoint(id) else { return };
        endpoint.orphan = Some(now);
        // As Linux: what came and was not read is refused.
        if reset || endpoint.unread() {
            endpoint.abort();
        } else {
            endpoint.close();
        }
        self.pump(now, id);
        if self.see(id).is_some() {
            self.plan(now + LINGER, Task::Timer(id));
        }
    }

    /// A middlebox forgets every connection of an uplink: the box is told, the server is not.
    pub(crate) fn reset_box_side(&mut self, now: Instant, uplink: usize) {
        let ids: Vec<SocketId> = self.at_box.values().copied().collect();
        for id in ids {
            let Some(endpoint) = self.see(id).filter(|endpoint| endpoint.uplink == uplink) else { continue };
            let (local, remote) = (endpoint.local, endpoint.remote);
            if let Some(expects) = endpoint.expects() {
                let frame = reset(remote, local, expects, Some(0));
                self.plan(now, Task::Back(uplink, frame));
            }
            self.cut.insert(local);
        }
    }

    pub(super) fn admit(&mut self, mut endpoint: Endpoint, side: Side) -> SocketId {
        endpoint.side = side;
        self.sockets.push(Some(Box::new(endpoint)));
        SocketId(self.sockets.len() as u32 - 1)
    }

    fn endpoint(&mut self, id: SocketId) -> Option<&mut Endpoint> {
        self.sockets.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn see(&self, id: SocketId) -> Option<&Endpoint> {
        self.sockets.get(id.0 as usize)?.as_deref()
    }

    fn reaches_server(&mut self, now: Instant, uplink: usize, frame: Frame) {
        let segment = Segment::of(&frame);
        let known = self.at_server.get(&segment.from).copied();
        let id = match known {
            Some(id) => id,
            None if segment.syn && self.listens => {
                let options = Options { seed: self.dice.between(0, u64::MAX - 1), ..self.server_options };
                let endpoint = Endpoint::listening(now, self.server, segment.from, uplink, &options);
                let id = self.admit(endpoint, Side::Server);
                self.at_server.insert(segment.from, id);
                id
            }
            None if segment.rst => return,
            None => return self.send_down(now, uplink, segment.refusal()),
        };
        self.arrives(now, id, frame);
    }

    fn reaches_box(&mut self, now: Instant, uplink: usize, frame: Frame) {
        let segment = Segment::of(&frame);
        match self.at_box.get(&segment.to).copied() {
            Some(id) => self.arrives(now, id, frame),
            None if segment.rst => {}
            None => self.send_up(now, uplink, segment.refusal()),
        }
    }

    pub(super) fn arrives(&mut self, now: Instant, id: SocketId, frame: Frame) {
        let Some(endpoint) = self.endpoint(id) else { return };
        endpoint.feed(now, frame);
        self.note(id);
        self.pump(now, id);
        // Nobody will read it.
        if let Some(endpoint) = self.endpoint(id)
            && endpoint.orphan.is_some()
            && endpoint.unread()
        {
            endpoint.abort();
            self.pump(now, id);
        }
    }

    /// Lets a socket's stack act.
    pub(super) fn pump(&mut self, now: Instant, id: SocketId) {
        let Some(endpoint) = self.sockets.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        let before = endpoint.phase();
        let mut frames = Vec::new();
        let wants = endpoint.poll(now, |frame| frames.push(frame));
        let (uplink, local, remote, side) = (endpoint.uplink, endpoint.local, endpoint.remote, endpoint.side);
        let changed = endpoint.phase() != before;
        let given_up = endpoint.orphan.is_some_and(|since| now.since(since) >= LINGER);
        let over = endpoint.orphan.is_some() && (endpoint.finished() || given_up);
        let rearm = wants.filter(|&at| !over && endpoint.armed.is_none_or(|armed| at < armed));
        if let Some(at) = rearm {
            endpoint.armed = Some(at);
            self.plan(at, Task::Timer(id));
        }
        if changed {
            self.note(id);
        }
        for frame in frames {
            match side {
                Side::Box if self.accelerated.contains(&uplink) => {
                    if self.passes_near(uplink, local) {
                        self.plan(now + NEAR, Task::Near(uplink, frame));
                    }
                }
                Side::Box | Side::Far => self.send_up(now, uplink, frame),
                Side::Server => self.send_down(now, uplink, frame),
                Side::Near => self.send_back(now, uplink, frame),
            }
        }
        if over {
            let (map, key) = match side {
                Side::Box => (&mut self.at_box, local),
                Side::Server => (&mut self.at_server, remote),
                Side::Near | Side::Far => {
                    let peer = if side == Side::Near { remote } else { local };
                    self.middlebox.forget(side, peer, id);
                    self.sockets[id.0 as usize] = None;
                    return;
                }
            };
            // The port may have a younger owner.
            if map.get(&key) == Some(&id) {
                map.remove(&key);
            }
            self.sockets[id.0 as usize] = None;
        }
    }

    /// Whoever owns a socket is to look at it.
    fn note(&mut self, id: SocketId) {
        let Some(endpoint) = self.endpoint(id) else { return };
        if endpoint.orphan.is_some() {
            return;
        }
        let (side, local, remote) = (endpoint.side, endpoint.local, endpoint.remote);
        match side {
            Side::Near => self.middlebox.stir(remote),
            Side::Far => self.middlebox.stir(local),
            Side::Box | Side::Server if endpoint.noted => {}
            Side::Box | Side::Server => {
                endpoint.noted = true;
                self.noted.push_back(id);
            }
        }
    }

    pub(super) fn send_back(&mut self, now: Instant, uplink: usize, frame: Frame) {
        if self.passes_near(uplink, Segment::of(&frame).to) {
            self.plan(now + NEAR, Task::Back(uplink, frame));
        }
    }

    pub(super) fn send_up(&mut self, now: Instant, uplink: usize, frame: Frame) {
        let from = Segment::of(&frame).from;
        let way = &mut self.uplinks[uplink];
        if !way.carrier || from.address != way.address || self.cut.contains(&from) {
            return;
        }
        if let Some(at) = way.up.carry(now, &mut self.dice, frame.len()) {
            self.plan(at, Task::Up(uplink, frame));
        }
    }

    fn send_down(&mut self, now: Instant, uplink: usize, frame: Frame) {
        let to = Segment::of(&frame).to;
        let way = &mut self.uplinks[uplink];
        if !way.carrier || to.address != way.address || self.cut.contains(&to) {
            return;
        }
        if let Some(at) = way.down.carry(now, &mut self.dice, frame.len()) {
            self.plan(at, Task::Down(uplink, frame));
        }
    }
}

const FIRST_PORT: u16 = 32_768;
/// A kernel forgets a connection without an owner after about a minute (`tcp_fin_timeout`).
const LINGER: Duration = Duration::from_secs(60);
