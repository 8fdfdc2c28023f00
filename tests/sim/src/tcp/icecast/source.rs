//! A mount's source and the loop that serves its listeners, as `source.c` and `format_mp3.c` of Icecast 2.4.4 have it.
//!
//! One turn of the loop ends with a whole block, or with 250 ms in which nothing was readable; bytes that complete no block keep
//! it waiting. Each turn attends to every listener once, and while one of them could take more the next turn comes at once.
//!
//! The counts of turns were compared with Debian's 2.4.4 on loopback: a new listener of a quiet mount has its head at the second
//! turn and the whole burst at the fourth, 0.75 to 1.0 s after his request; a moved one is given his place at the second
//! turn and his bytes from the third on.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use units::Instant;

use super::super::listener::Player;
use super::super::net::{Net, SocketId};

/// The server cuts a body into blocks of so many bytes, counted from the connection's first body byte.
pub(crate) const BLOCK: usize = 1400;
/// A turn comes after so long without a readable byte.
pub(crate) const QUIET: Duration = Duration::from_millis(250);
/// One listener gets at most so many blocks in a turn.
const BLOCKS_PER_TURN: usize = 10;
/// The numbers in `/admin/stats` are taken this often.
const STATS: Duration = Duration::from_secs(5);

/// What a turn reaches beside its own source.
pub(crate) struct Reach<'a> {
    pub now: Instant,
    pub net: &'a mut Net,
    pub players: &'a mut [Player],
}

/// Where a listener's bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outlet {
    /// One of the model listeners.
    Player(usize),
    /// A connection of the box's: a probe.
    Socket(SocketId),
}

impl Outlet {
    fn take(self, reach: &mut Reach<'_>, bytes: &[u8]) -> usize {
        match self {
            Self::Player(number) => reach.players[number].offer(reach.now, bytes),
            Self::Socket(id) => reach.net.write(reach.now, id, bytes),
        }
    }

    /// The server lets the listener go.
    pub(crate) fn drop_off(self, reach: &mut Reach<'_>) {
        match self {
            Self::Player(number) => reach.players[number].drop_off(reach.now),
            Self::Socket(id) => reach.net.close(reach.now, id, false),
        }
    }
}

/// A listener of a mount.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub outlet: Outlet,
    /// The answer's head, as far as it is not sent.
    pub head: Vec<u8>,
    pub place: Place,
}

/// Where in the mount's queue a listener is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// He asked for this mount: head at the second turn, a place in the burst at the third.
    New { turns: u8 },
    /// He came from another mount; at the second turn his place is the newest block, or later the first.
    Moved { turns: u8 },
    /// The next byte he gets.
    At { block: u64, offset: usize },
}

pub(crate) struct Source {
    pub number: u64,
    /// `None`: somebody else's, who sends nothing of interest.
    pub socket: Option<SocketId>,
    /// Bytes a second that somebody else's source sends, of nothing of interest.
    pub pours: u64,
    pub since: Instant,
    pub address: Ipv4Addr,
    pub agent: String,
    pub title: String,
    /// It was told to end: so it does at its next turn.
    pub ending: bool,
    pub seats: Vec<Seat>,
    blocks: VecDeque<Vec<u8>>,
    /// The number of the oldest block held.
    oldest: u64,
    partial: Vec<u8>,
    read: u64,
    /// `total_bytes_read` as `/admin/stats` shows it, and when that was taken.
    shown: (u64, Instant),
    last_read: Instant,
    /// When the turn without a readable byte is due.
    pub quiet_at: Instant,
}

/// The server's limits (`icecast.xml`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub burst: usize,
    pub queue: usize,
    pub source_timeout: Duration,
}

impl Source {
    pub(crate) fn new(
        number: u64,
        now: Instant,
        socket: Option<SocketId>,
        address: Ipv4Addr,
        agent: String,
    ) -> Self {
        Self {
            number,
            socket,
            pours: 0,
            since: now,
            address,
            agent,
            title: String::new(),
            ending: false,
            seats: Vec::new(),
            blocks: VecDeque::new(),
            oldest: 0,
            partial: Vec::with_capacity(BLOCK),
            read: 0,
            shown: (0, now),
            last_read: now,
            quiet_at: now + QUIET,
        }
    }

    /// One past the newest block's number.
    fn end(&self) -> u64 {
        self.oldest + self.blocks.len() as u64
    }

    /// Those whom a turn has attended to.
    pub(crate) fn counted(&self) -> usize {
        let is_new = |place: &Place| matches!(place, Place::New { turns: 0 } | Place::Moved { turns: 0 });
        self.seats.iter().filter(|seat| !is_new(&seat.place)).count()
    }

    pub(crate) const fn shown_bytes(&self) -> u64 {
        self.shown.0
    }

    /// A listener who asked for this mount: he begins in the burst, at a block's start, wherever packets lie.
    pub(crate) fn join(&mut self, outlet: Outlet, head: Vec<u8>) {
        self.seats.push(Seat { outlet, head, place: Place::New { turns: 0 } });
    }

    /// Listeners of another mount come here: no burst for them.
    pub(crate) fn take_over(&mut self, seats: Vec<Seat>) {
        self.seats.extend(seats.into_iter().map(|seat| Seat { place: Place::Moved { turns: 0 }, ..seat }));
    }

    /// Takes body bytes that came with the request's head.
    pub(crate) fn body(&mut self, reach: &mut Reach<'_>, limits: &Limits, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = rest.len().min(BLOCK - self.partial.len());
            self.partial.extend_from_slice(&rest[..piece]);
            rest = &rest[piece..];
            self.took(reach, limits, piece);
        }
    }

    /// Reads what is there; every block that it completes is a turn. False once the loop has ended: when it is told to, it
    /// waits for bytes already, and reads once more.
    pub(crate) fn readable(&mut self, reach: &mut Reach<'_>, limits: &Limits) -> bool {
        let Some(socket) = self.socket else { return true };
        loop {
            let room = BLOCK - self.partial.len();
            let read = reach.net.read(reach.now, socket, room, &mut self.partial);
            if read == 0 {
                return true;
            }
            self.took(reach, limits, read);
            if self.ending {
                return false;
            }
        }
    }

    fn took(&mut self, reach: &mut Reach<'_>, limits: &Limits, bytes: usize) {
        self.read += bytes as u64;
        self.last_read = reach.now;
        self.quiet_at = reach.now + QUIET;
        if self.partial.len() == BLOCK {
            self.blocks.push_back(std::mem::replace(&mut self.partial, Vec::with_capacity(BLOCK)));
            self.turn(reach, limits);
            while self.blocks.len() * BLOCK > limits.queue {
                self.blocks.pop_front();
                self.oldest += 1;
            }
            let oldest = self.oldest;
            self.seats.retain(|seat| {
                let lags = matches!(seat.place, Place::At { block, .. } if block < oldest);
                if lags {
                    seat.outlet.drop_off(reach);
                }
                !lags
            });
        }
    }

    /// 250 ms passed without a readable byte. False once the loop has ended.
    pub(crate) fn quiet(&mut self, reach: &mut Reach<'_>, limits: &Limits) -> bool {
        self.quiet_at = reach.now + QUIET;
        if self.ending {
            return false;
        }
        // Whole seconds of the wall clock, as the server compares them at the beginning of a turn: 10 s are 10 to 11.25.
        let second = |at: Instant| at.as_micros() / 1_000_000;
        let began = reach.now.since(Instant::ZERO + QUIET);
        if self.socket.is_some() && second(self.last_read) + limits.source_timeout.as_secs() < began.as_secs()
        {
            return false;
        }
        self.turn(reach, limits);
        true
    }

    fn turn(&mut self, reach: &mut Reach<'_>, limits: &Limits) {
        if self.pours > 0 {
            self.read = reach.now.since(self.since).as_millis() as u64 * self.pours / 1000;
        }
        if reach.now.since(self.shown.1) >= STATS {
            self.shown = (self.read, reach.now);
        }
        let mut seats = std::mem::take(&mut self.seats);
        let mut more = true;
        while more {
            more = false;
            for seat in &mut seats {
                more |= self.attend(reach, limits, seat);
            }
        }
        self.seats = seats;
    }

    /// One listener's part of a turn. True: he could take more.
    fn attend(&self, reach: &mut Reach<'_>, limits: &Limits, seat: &mut Seat) -> bool {
        let burst = (limits.burst / BLOCK).min(self.blocks.len()) as u64;
        match &mut seat.place {
            Place::New { turns: turns @ 0 } | Place::Moved { turns: turns @ 0 } => *turns = 1,
            Place::New { turns: turns @ 1 } => {
                let taken = seat.outlet.take(reach, &seat.head);
                seat.head.drain(..taken);
                *turns += u8::from(seat.head.is_empty());
            }
            Place::New { .. } if burst > 0 => {
                seat.place = Place::At { block: self.end() - burst, offset: 0 };
            }
            Place::Moved { .. } if !self.blocks.is_empty() => {
                seat.place = Place::At { block: self.end() - 1, offset: 0 };
            }
            Place::New { .. } | Place::Moved { .. } => {}
            Place::At { .. } => return self.send(reach, seat),
        }
        false
    }

    fn send(&self, reach: &mut Reach<'_>, seat: &mut Seat) -> bool {
        // He was moved before his answer's head was through.
        let taken = seat.outlet.take(reach, &seat.head);
        seat.head.drain(..taken);
        let Place::At { block, offset } = &mut seat.place else { return false };
        for _ in 0..BLOCKS_PER_TURN {
            let held = block.checked_sub(self.oldest).and_then(|at| self.blocks.get(at as usize));
            let Some(bytes) = held.filter(|_| seat.head.is_empty()) else { return false };
            *offset += seat.outlet.take(reach, &bytes[*offset..]);
            if *offset < bytes.len() {
                return false;
            }
            (*block, *offset) = (*block + 1, 0);
        }
        true
    }
}
