//! One socket of a host: smoltcp's TCP with an interface of its own, so that only the connection that something happened to is
//! looked at, and each is bound to its uplink by construction.
//!
//! smoltcp waits at least a second before it sends again, and doubles without a settable cap. Its clock is therefore moved
//! on, for this socket alone, to the moment at which Linux would ([`Sight::retry_at`]).

use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::Instant as Clock;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint, IpListenEndpoint};
use units::Instant;

use super::net::Side;
use super::segment::{Frame, Peer, Segment};
use super::sight::{PathSight, Sight};

/// A socket's kernel settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub send_buffer: usize,
    pub receive_buffer: usize,
    /// `TCP_RTO_MAX_MS`, or Linux's 120 s.
    pub retry_cap: Duration,
    /// `TCP_USER_TIMEOUT`: owed for longer than this, and the connection is given up.
    pub user_timeout: Duration,
    pub seed: u64,
}

/// Where a connection stands, for the program that owns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Opening,
    Open,
    /// The other side ended it, and everything was read.
    Ended,
    Gone(Why),
}

/// How a connection was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// It never was one: the other side has nothing at that port.
    Refused,
    Reset,
    TimedOut,
}

pub(crate) struct Endpoint {
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// How far smoltcp's clock is before the world's.
    ahead: Duration,
    sight: Sight,
    user_timeout: Duration,
    lost: Option<Why>,
    pub side: Side,
    pub local: Peer,
    pub remote: Peer,
    /// The uplink it is bound to.
    pub uplink: usize,
    opened: bool,
    /// Its program gave it up at that time.
    pub orphan: Option<Instant>,
    /// The timer that is already in the agenda.
    pub armed: Option<Instant>,
    /// It is in the list of those to be looked at.
    pub noted: bool,
    /// Payload bytes read by the program.
    read: u64,
    /// The last segment that came carried nothing but an acknowledgement.
    told_nothing: bool,
    /// The last one of that kind that left.
    said: Option<(u32, Option<u32>, u16)>,
}

impl Endpoint {
    /// Begins to connect. The SYN leaves at the next [`Endpoint::poll`].
    pub(crate) fn connecting(
        now: Instant,
        local: Peer,
        remote: Peer,
        uplink: usize,
        options: &Options,
    ) -> Self {
        let mut endpoint = Self::new(now, local, remote, uplink, options);
        let far = IpEndpoint::new(remote.address.into(), remote.port);
        let near = IpListenEndpoint { addr: Some(local.address.into()), port: local.port };
        let socket = endpoint.sockets.get_mut::<Socket<'_>>(endpoint.handle);
        socket
            .connect(endpoint.interface.context(), far, near)
            .expect("the socket is new and the ports are not zero");
        endpoint
    }

    /// Waits for the SYN that made somebody open it.
    pub(crate) fn listening(
        now: Instant,
        local: Peer,
        remote: Peer,
        uplink: usize,
        options: &Options,
    ) -> Self {
        let mut endpoint = Self::new(now, local, remote, uplink, options);
        let near = IpListenEndpoint { addr: Some(local.address.into()), port: local.port };
        endpoint.socket().listen(near).expect("the socket is new and the port is not zero");
        endpoint
    }

    fn new(now: Instant, local: Peer, remote: Peer, uplink: usize, options: &Options) -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = options.seed;
        let mut interface = Interface::new(config, &mut wire, clock(now));
        interface.update_ip_addrs(|addresses| {
            let own = IpCidr::new(local.address.into(), 32);
            addresses.push(own).expect("an interface has room for one address");
        });
        interface.routes_mut().add_default_ipv4_route(local.address).expect("a table has room for one route");
        let buffer = |bytes: usize| SocketBuffer::new(vec![0; bytes]);
        let mut socket = Socket::new(buffer(options.receive_buffer), buffer(options.send_buffer));
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        socket.set_congestion_control(CongestionControl::Reno);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            interface,
            wire,
            sockets,
            handle,
            ahead: Duration::ZERO,
            sight: Sight::new(options.retry_cap),
            user_timeout: options.user_timeout,
            lost: None,
            side: Side::Box,
            local,
            remote,
            uplink,
            opened: false,
            orphan: None,
            armed: None,
            noted: false,
            read: 0,
            told_nothing: false,
            said: None,
        }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn look(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    /// A packet arrived.
    pub(crate) fn feed(&mut self, now: Instant, frame: Frame) {
        let segment = Segment::of(&frame);
        self.sight.heard(now, &segment);
        self.told_nothing = segment.is_bare();
        self.wire.arrived.push_back(frame);
    }

    /// Lets the stack act, and hands what it sends to `out`. Returns when it wants to act again.
    pub(crate) fn poll(&mut self, now: Instant, mut out: impl FnMut(Frame)) -> Option<Instant> {
        let mut time = clock(now + self.ahead);
        if self.sight.retry_at().is_some_and(|at| at <= now)
            && let Some(due) = self.interface.poll_at(time, &self.sockets)
            && due > time
        {
            self.ahead += Duration::from_micros((due - time).total_micros());
            time = due;
        }
        if self.sight.stuck_since().is_some_and(|since| now.since(since) >= self.user_timeout)
            && self.lost.is_none()
        {
            self.lost = Some(Why::TimedOut);
            self.socket().abort();
        }
        let before = self.look().state();
        self.interface.poll(time, &mut self.wire, &mut self.sockets);
        let after = self.look().state();
        self.opened |= matches!(after, State::Established | State::CloseWait);
        if before == State::SynReceived && after == State::Listen {
            // Reset before it was one: nobody's any more.
            self.orphan = Some(now);
        }
        if after == State::Closed && before != State::Closed && self.orphan.is_none() && self.lost.is_none() {
            self.lost = Some(if self.opened { Why::Reset } else { Why::Refused });
        }
        for frame in self.wire.leaving.drain(..) {
            let segment = Segment::of(&frame);
            // Two ends that lost each other would tell each other so for ever; Linux allows two a second
            // (tcp_invalid_ratelimit), here the first is enough.
            let said = segment.is_bare().then_some((segment.seq, segment.ack, segment.window));
            if said.is_some() && said == self.said && self.told_nothing {
                continue;
            }
            self.said = said.or(self.said);
            self.sight.sent(now, &segment);
            out(frame);
        }
        let own = self.interface.poll_at(time, &self.sockets).map(|due| {
            let wait =
                if due > time { Duration::from_micros((due - time).total_micros()) } else { Duration::ZERO };
            now + wait.max(AGAIN)
        });
        let given_up = self.sight.stuck_since().map(|since| since + self.user_timeout);
        [own, self.sight.retry_at(), given_up].into_iter().flatten().min().map(|at| at.max(now + AGAIN))
    }

    pub(crate) fn phase(&self) -> Phase {
        if let Some(why) = self.lost {
            return Phase::Gone(why);
        }
        let socket = self.look();
        match socket.state() {
            State::Listen | State::SynSent | State::SynReceived => Phase::Opening,
            State::Established | State::FinWait1 | State::FinWait2 => Phase::Open,
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait | State::Closed => {
                if socket.recv_queue() > 0 { Phase::Open } else { Phase::Ended }
            }
        }
    }

    /// Bytes in the send buffer: not sent, or sent and not acknowledged (Linux's SIOCOUTQ).
    pub(crate) fn owed(&self) -> usize {
        self.look().send_queue()
    }

    /// How long what is owed has not moved: nobody acknowledges, or nobody has room.
    pub(crate) fn silent(&self, now: Instant) -> Duration {
        if self.owed() == 0 { Duration::ZERO } else { now.since(self.sight.progress()) }
    }

    /// Linux calls a socket writable once a third of its buffer is free.
    pub(crate) fn writable(&self) -> bool {
        let socket = self.look();
        socket.may_send() && (socket.send_capacity() - socket.send_queue()) * 3 >= socket.send_capacity()
    }

    /// What it would take now.
    pub(crate) fn room(&self) -> usize {
        let socket = self.look();
        if socket.may_send() { socket.send_capacity() - socket.send_queue() } else { 0 }
    }

    /// Takes as much as fits.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        self.socket().send_slice(bytes).unwrap_or(0)
    }

    /// At most `most` bytes.
    pub(crate) fn read(&mut self, most: usize, into: &mut Vec<u8>) -> usize {
        let mut read = 0;
        // The ring hands out one piece up to its end, then the rest.
        for _ in 0..2 {
            let piece = self.socket().recv(|bytes| {
                let taken = bytes.len().min(most - read);
                into.extend_from_slice(&bytes[..taken]);
                (taken, taken)
            });
            read += piece.unwrap_or(0);
        }
        self.read += read as u64;
        read
    }

    /// Whether bytes wait to be read.
    pub(crate) fn unread(&self) -> bool {
        self.look().recv_queue() > 0
    }

    /// Bytes that arrived whole and in order, read or not.
    pub(crate) fn received(&self) -> u64 {
        self.read + self.look().recv_queue() as u64
    }

    pub(crate) fn close(&mut self) {
        self.socket().close();
    }

    pub(crate) fn abort(&mut self) {
        self.socket().abort();
    }

    /// Nothing is left to be said.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.look().state(), State::Closed | State::TimeWait | State::Listen)
    }

    pub(crate) fn path(&self) -> PathSight {
        self.sight.path()
    }

    /// The sequence number that it expects next.
    pub(crate) fn expects(&self) -> Option<u32> {
        self.sight.expects
    }
}

/// A stack that wants to act "now" again has nothing new to say before this has passed.
const AGAIN: Duration = Duration::from_micros(200);

/// An Ethernet's worth of IP.
const MTU: usize = 1500;

fn clock(now: Instant) -> Clock {
    Clock::from_micros(now.as_micros() as i64)
}

/// The socket's end of the line.
#[derive(Default)]
struct Wire {
    arrived: VecDeque<Frame>,
    leaving: Vec<Frame>,
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Clock) -> Option<(Arrived, Leaving<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Arrived(frame), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: Clock) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}

struct Arrived(Frame);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Leaving<'a>(&'a mut Vec<Frame>);

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.push(frame);
        result
    }
}
