//! What a kernel tells of one connection's way: seen from the segments that pass, because smoltcp keeps it to itself.
//!
//! Also Linux's retransmission timer, which is what decides how fast a silence heals: 0.2 s beyond the round trip, doubled
//! with each try up to a cap (`TCP_RTO_MAX_MS` of 6.15; 120 s without).

use std::time::Duration;

use units::Instant;

use super::segment::{Segment, after};

/// A path as `TCP_INFO` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PathSight {
    /// Segments are out that nobody has acknowledged.
    pub in_flight: bool,
    /// The other side has no room: a stalled program, not a dead path.
    pub zero_window: bool,
    /// Retransmissions since the last acknowledgement of anything new.
    pub retransmits: u8,
    /// Smoothed round trip in microseconds; zero before the first one.
    pub rtt_us: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// The longest wait between two retransmissions.
    cap: Duration,
    /// Oldest byte not acknowledged, and one past the newest sent; `None` before the SYN.
    flight: Option<(u32, u32)>,
    /// Which sequence number is being timed, since when.
    timed: Option<(u32, Instant)>,
    /// Smoothed round trip and its variation (RFC 6298).
    round_trip: Option<(Duration, Duration)>,
    retransmits: u8,
    zero_window: bool,
    /// When the retransmission timer was started.
    started: Instant,
    /// When something new was last acknowledged, or first began to be owed.
    progress: Instant,
    /// What this end acknowledged last: the next sequence number it expects.
    pub expects: Option<u32>,
}

impl Sight {
    pub(crate) const fn new(cap: Duration) -> Self {
        Self {
            cap,
            flight: None,
            timed: None,
            round_trip: None,
            retransmits: 0,
            zero_window: false,
            started: Instant::ZERO,
            progress: Instant::ZERO,
            expects: None,
        }
    }

    fn in_flight(&self) -> bool {
        self.flight.is_some_and(|(una, newest)| after(newest, una))
    }

    /// A segment of ours leaves.
    pub(crate) fn sent(&mut self, now: Instant, segment: &Segment) {
        self.expects = segment.ack.or(self.expects);
        // One byte into a closed window is a question, not data that is owed.
        if segment.length == 0 || segment.rst || (self.zero_window && segment.length == 1) {
            return;
        }
        let end = segment.end();
        let idle = !self.in_flight();
        match &mut self.flight {
            None => self.flight = Some((segment.seq, end)),
            Some((_, newest)) if after(end, *newest) => *newest = end,
            Some((una, _)) => {
                if *una == segment.seq {
                    self.retransmits = self.retransmits.saturating_add(1);
                    self.started = now;
                }
                // Karn: what was sent twice tells no time.
                self.timed = None;
                return;
            }
        }
        if idle {
            (self.started, self.progress) = (now, now);
        }
        self.timed = self.timed.or(Some((end, now)));
    }

    /// A segment of the other side arrives.
    pub(crate) fn heard(&mut self, now: Instant, segment: &Segment) {
        let (Some(ack), false) = (segment.ack, segment.rst) else { return };
        self.zero_window = segment.window == 0;
        let Some((una, newest)) = &mut self.flight else { return };
        if !after(ack, *una) || after(ack, *newest) {
            return;
        }
        *una = ack;
        self.retransmits = 0;
        (self.started, self.progress) = (now, now);
        if let Some((wanted, since)) = self.timed
            && !after(wanted, ack)
        {
            self.timed = None;
            self.measure(now.since(since));
        }
    }

    fn measure(&mut self, trip: Duration) {
        self.round_trip = Some(match self.round_trip {
            None => (trip, trip / 2),
            Some((smooth, variation)) => {
                ((smooth * 7 + trip) / 8, (variation * 3 + smooth.abs_diff(trip)) / 4)
            }
        });
    }

    /// When Linux would send the oldest segment again; `None` while nothing is out.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        let first = self.round_trip.map_or(FIRST, |(smooth, variation)| smooth + LEAST.max(variation * 4));
        let wait = first.saturating_mul(1 << self.retransmits.min(16)).min(self.cap.max(first));
        self.in_flight().then(|| self.started + wait)
    }

    /// Since when what is owed has not moved; `None` while nothing is out.
    pub(crate) fn stuck_since(&self) -> Option<Instant> {
        self.in_flight().then_some(self.progress)
    }

    /// When something new was last acknowledged, or first began to be owed.
    pub(crate) const fn progress(&self) -> Instant {
        self.progress
    }

    pub(crate) fn path(&self) -> PathSight {
        PathSight {
            in_flight: self.in_flight(),
            zero_window: self.zero_window,
            retransmits: self.retransmits,
            rtt_us: self.round_trip.map_or(0, |(smooth, _)| smooth.as_micros() as u32),
        }
    }
}

/// RFC 6298, 2.1: before any measurement.
const FIRST: Duration = Duration::from_secs(1);
/// Linux's `TCP_RTO_MIN`.
const LEAST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::segment::Peer;
    use super::*;

    const PEER: Peer = Peer { address: Ipv4Addr::LOCALHOST, port: 1 };

    fn segment(seq: u32, length: u32, ack: Option<u32>, window: u16) -> Segment {
        Segment { from: PEER, to: PEER, seq, length, ack, window, syn: false, rst: false }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn waits_double_up_to_the_cap_and_an_acknowledgement_ends_them() {
        let cap = Duration::from_secs(1);
        let mut sight = Sight::new(cap);
        sight.sent(at(0), &segment(100, 10, None, 0));
        sight.heard(at(40), &segment(0, 0, Some(110), 9));
        assert_eq!(
            sight.path(),
            PathSight { in_flight: false, zero_window: false, retransmits: 0, rtt_us: 40_000 }
        );
        sight.sent(at(1000), &segment(110, 10, None, 0));
        let mut waits = Vec::new();
        for _ in 0..5 {
            let due = sight.retry_at().expect("something is out");
            waits.push(due.since(sight.started));
            sight.sent(due, &segment(110, 10, None, 0));
        }
        assert!(waits[0] < Duration::from_millis(300) && waits[1] == waits[0] * 2, "{waits:?}");
        assert_eq!(waits[4], cap);
        assert_eq!(sight.path().retransmits, 5);
        sight.heard(at(9000), &segment(0, 0, Some(120), 0));
        assert!(sight.retry_at().is_none() && sight.path().zero_window && sight.path().retransmits == 0);
        sight.sent(at(9100), &segment(120, 1, None, 0));
        assert!(!sight.path().in_flight, "a question into a closed window is not owed");
    }
}
