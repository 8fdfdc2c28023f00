//! Fluid links: positions that move, not packets. What is written arrives a latency later and is acknowledged another latency
//! after that, as far as path and server let it.
//!
//! Everything is computed when it is looked at ([`Pipe::deliver`]), so that a link in calm costs no event of its own.

use std::collections::VecDeque;
use std::time::Duration;

use delivery::event::PathSight;
use units::Instant;

/// The way between the box and one server.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// One way.
    pub latency: Duration,
    /// Bytes per second towards the server; `None` is no limit.
    pub rate: Option<u32>,
    /// Whether what the box sends arrives.
    pub to_server: bool,
    /// Whether what the server sends arrives.
    pub to_box: bool,
    /// When the line has sent what is queued on it.
    free_at: Instant,
}

impl Path {
    pub(crate) const fn new(latency: Duration) -> Self {
        Self { latency, rate: None, to_server: true, to_box: true, free_at: Instant::ZERO }
    }

    pub(crate) const fn open(&self) -> bool {
        self.to_server && self.to_box
    }

    pub(crate) fn round_trip(&self) -> Duration {
        self.latency * 2
    }

    /// The line's queue is forgotten: its rate changed.
    pub(crate) fn clear_queue(&mut self) {
        self.free_at = Instant::ZERO;
    }

    /// When the last of `bytes` handed to the line now is at the other end.
    fn arrival(&mut self, now: Instant, bytes: u64) -> Instant {
        let Some(rate) = self.rate else { return now + self.latency };
        let takes = Duration::from_micros(bytes * 1_000_000 / u64::from(rate));
        self.free_at = self.free_at.max(now) + takes;
        self.free_at + self.latency
    }
}

/// The body of one connection, from the box's socket to the server's program. Positions count the connection's body bytes.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    send_buffer: u64,
    receive_buffer: u64,
    pub written: u64,
    /// Taken by the server's kernel.
    received: u64,
    /// Taken by the server's program.
    pub read: u64,
    /// Known to the box's kernel as received.
    pub acked: u64,
    /// The last instant at which `acked` grew, or at which something began to be owed.
    pub progress: Instant,
    /// The last instant at which the server's program could read a byte.
    pub last_read: Instant,
    /// On the way: arrival, and the position after it.
    flight: VecDeque<(Instant, u64)>,
    /// Acknowledgements on the way back.
    acks: VecDeque<(Instant, u64)>,
}

impl Pipe {
    pub(crate) const fn new(send_buffer: u64, receive_buffer: u64) -> Self {
        Self {
            send_buffer,
            receive_buffer,
            written: 0,
            received: 0,
            read: 0,
            acked: 0,
            progress: Instant::ZERO,
            last_read: Instant::ZERO,
            flight: VecDeque::new(),
            acks: VecDeque::new(),
        }
    }

    /// Room in the socket.
    fn room(&self) -> u64 {
        self.send_buffer.saturating_sub(self.written - self.acked)
    }

    /// Linux calls a socket writable once a third of its buffer is free.
    pub(crate) fn writable(&self) -> bool {
        self.room() >= self.send_buffer / 3
    }

    /// Takes as many of `bytes` as the socket holds.
    pub(crate) fn write(&mut self, now: Instant, path: &mut Path, bytes: u64) -> u64 {
        let taken = bytes.min(self.room());
        if taken > 0 && self.written == self.acked {
            self.progress = now;
        }
        let mut left = taken;
        // On a slow line a large write trickles; elsewhere it is one piece.
        let piece = if path.rate.is_some() { TRICKLE } else { taken };
        while left > 0 {
            let bytes = left.min(piece);
            self.written += bytes;
            left -= bytes;
            let arrives = path.arrival(now, bytes);
            self.flight.push_back((arrives, self.written));
        }
        taken
    }

    /// Moves everything to where it is at `now`. `reads` tells whether the server's program runs and reads; `there` whether
    /// the server's end of the connection exists at all.
    pub(crate) fn deliver(&mut self, now: Instant, path: &Path, there: bool, reads: bool) {
        while let Some(&(at, upto)) = self.flight.front() {
            if at > now || !path.to_server || !there {
                break;
            }
            let limit = if reads { upto } else { upto.min(self.read + self.receive_buffer) };
            if limit > self.received {
                self.received = limit;
                if reads {
                    self.read = limit;
                    self.last_read = at;
                }
                if path.to_box {
                    self.acks.push_back((at + path.latency, limit));
                }
            }
            if limit < upto {
                break;
            }
            self.flight.pop_front();
        }
        while let Some(&(at, upto)) = self.acks.front() {
            if at > now {
                break;
            }
            self.acks.pop_front();
            if upto > self.acked {
                self.acked = upto;
                self.progress = at;
            }
        }
    }

    /// What `TCP_INFO` would show of it. Call after [`Pipe::deliver`].
    pub(crate) fn sight(&self, now: Instant, path: &Path) -> PathSight {
        let in_flight = self.written > self.acked;
        // The server's kernel is full of what its program does not read, and the way back is open to say so.
        let zero_window = in_flight && path.open() && self.received >= self.read + self.receive_buffer;
        let silent = if in_flight && !zero_window { now.since(self.progress) } else { Duration::ZERO };
        // The oldest segment is sent again after 200 ms, and after twice as long each time (RFC 6298, 5.5).
        let retransmits = (1..8u32).take_while(|&times| RETRANSMIT * ((1 << times) - 1) <= silent).count();
        PathSight {
            in_flight,
            zero_window,
            retransmits: retransmits as u8,
            rtt_us: u32::try_from(path.round_trip().as_micros()).unwrap_or(u32::MAX),
        }
    }

    /// When the next acknowledgement can be in, as things stand.
    pub(crate) fn next_ack(&self, now: Instant, path: &Path) -> Option<Instant> {
        let ack = self.acks.front().map(|&(at, _)| at);
        let flight = self.flight.front().map(|&(at, _)| at.max(now) + path.latency);
        if path.open() { ack.or(flight) } else { ack }
    }

    /// What the path has in flight back to the box is lost from now on. Call after [`Pipe::deliver`].
    pub(crate) fn lose_acks(&mut self) {
        self.acks.clear();
    }

    /// Something let go (path healed, server reads again, rate changed): what is owed moves again after `wait`, the time
    /// that the sender's retransmission timer or the window update takes. Call after [`Pipe::deliver`].
    pub(crate) fn resume(&mut self, now: Instant, path: &mut Path, wait: Duration, reads: bool) {
        if reads && self.received > self.read {
            self.read = self.received;
            self.last_read = now;
        }
        let mut before = self.received;
        for (at, upto) in &mut self.flight {
            let bytes = upto.saturating_sub(before);
            before = *upto;
            *at = path.arrival(now + wait, bytes);
        }
        if path.to_box && self.received > self.acked {
            self.acks.clear();
            self.acks.push_back((now + wait + path.latency, self.received));
        }
    }
}

/// Linux waits no less for an acknowledgement.
const RETRANSMIT: Duration = Duration::from_millis(200);

/// A slow line moves this much at a time: smaller than any buffer, larger than a segment.
const TRICKLE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(20);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn acknowledged_lags_written_by_the_round_trip() {
        let mut path = Path::new(LATENCY);
        let mut pipe = Pipe::new(10_000, 10_000);
        assert_eq!(pipe.write(at(0), &mut path, 4000), 4000);
        pipe.deliver(at(39), &path, true, true);
        assert_eq!((pipe.read, pipe.acked), (4000, 0));
        assert_eq!(pipe.next_ack(at(39), &path), Some(at(40)));
        pipe.deliver(at(40), &path, true, true);
        assert_eq!(pipe.acked, 4000);
    }

    #[test]
    fn a_stopped_program_is_acknowledged_up_to_its_kernels_buffer() {
        let mut path = Path::new(LATENCY);
        let mut pipe = Pipe::new(10_000, 3000);
        assert_eq!(pipe.write(at(0), &mut path, 20_000), 10_000);
        pipe.deliver(at(1000), &path, true, false);
        assert_eq!((pipe.read, pipe.acked, pipe.writable()), (0, 3000, false));
        let sight = pipe.sight(at(1000), &path);
        assert!(sight.in_flight && sight.zero_window && sight.retransmits == 0, "{sight:?}");
        pipe.resume(at(1000), &mut path, Duration::ZERO, true);
        pipe.deliver(at(1100), &path, true, true);
        assert_eq!((pipe.read, pipe.acked), (10_000, 10_000));
    }

    #[test]
    fn a_dark_path_loses_nothing_for_good() {
        let mut path = Path::new(LATENCY);
        let mut pipe = Pipe::new(10_000, 10_000);
        path.to_server = false;
        pipe.write(at(0), &mut path, 1000);
        pipe.deliver(at(5000), &path, true, true);
        assert_eq!((pipe.read, pipe.acked), (0, 0));
        // 0.2 s, 0.6 s, 1.4 s, 3 s.
        let sight = pipe.sight(at(5000), &path);
        assert_eq!((sight.in_flight, sight.zero_window, sight.retransmits), (true, false, 4));
        path.to_server = true;
        pipe.resume(at(5000), &mut path, LATENCY, true);
        pipe.deliver(at(5060), &path, true, true);
        assert_eq!((pipe.read, pipe.acked), (1000, 1000));
    }

    #[test]
    fn a_slow_line_takes_its_time() {
        let mut path = Path::new(LATENCY);
        path.rate = Some(10_000);
        let mut pipe = Pipe::new(100_000, 100_000);
        pipe.write(at(0), &mut path, 10_000);
        pipe.deliver(at(620), &path, true, true);
        assert_eq!(pipe.read, 4096);
        pipe.deliver(at(1020), &path, true, true);
        assert_eq!(pipe.read, 10_000);
    }
}
