//! Uplinks: what happens to a packet between the box and the server.

use std::net::Ipv4Addr;
use std::time::Duration;

use units::Instant;

use crate::dice::Dice;

/// One direction of an uplink.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Line {
    pub delay: Duration,
    /// Up to this much more, each packet by its own luck: packets overtake one another.
    pub jitter: Duration,
    /// Of a million packets, so many are lost.
    pub loss_ppm: u32,
    /// Bytes per second; `None` is no limit.
    pub rate: Option<u32>,
    /// Bytes that wait for the line; what does not fit is dropped.
    pub queue: u32,
    /// Nothing arrives.
    pub dark: bool,
    /// Longer packets do not arrive.
    pub longest: Option<u32>,
    /// When the line has sent what is queued on it.
    free_at: Instant,
}

impl Line {
    pub(crate) const fn new(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss_ppm: 0,
            rate: None,
            queue: 128 * 1024,
            dark: false,
            longest: None,
            free_at: Instant::ZERO,
        }
    }

    /// When a packet of `bytes` is at the other end; `None` if it never is.
    pub(crate) fn carry(&mut self, now: Instant, dice: &mut Dice, bytes: usize) -> Option<Instant> {
        let too_long = self.longest.is_some_and(|longest| bytes > longest as usize);
        if self.dark || too_long || (self.loss_ppm > 0 && dice.chance(u64::from(self.loss_ppm), 1_000_000)) {
            return None;
        }
        let mut leaves = now;
        if let Some(rate) = self.rate {
            let waiting = self.free_at.since(now).as_micros() as u64 * u64::from(rate) / 1_000_000;
            if waiting + bytes as u64 > u64::from(self.queue) {
                return None;
            }
            let takes = Duration::from_micros(bytes as u64 * 1_000_000 / u64::from(rate));
            self.free_at = self.free_at.max(now) + takes;
            leaves = self.free_at;
        }
        let jitter = if self.jitter.is_zero() { 0 } else { dice.between(0, self.jitter.as_micros() as u64) };
        Some(leaves + self.delay + Duration::from_micros(jitter))
    }
}

/// One of the box's ways out.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    /// From the box.
    pub up: Line,
    /// To the box.
    pub down: Line,
    pub carrier: bool,
    /// Nothing passes between the box and the middlebox next to it.
    pub near_dark: bool,
    /// The box's address on it. Packets of an earlier one find no way back.
    pub address: Ipv4Addr,
}

impl Uplink {
    pub(crate) const fn new(delay: Duration, address: Ipv4Addr) -> Self {
        Self { up: Line::new(delay), down: Line::new(delay), carrier: true, near_dark: false, address }
    }

    /// Whether questions are answered over it.
    pub(crate) const fn open(&self) -> bool {
        self.carrier && !self.up.dark && !self.down.dark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(20);

    #[test]
    fn a_limited_line_queues_and_then_drops() {
        let mut line = Line::new(DELAY);
        (line.rate, line.queue) = (Some(10_000), 3000);
        let mut dice = Dice::new(1);
        let arrivals: Vec<_> = (0..4).map(|_| line.carry(Instant::ZERO, &mut dice, 1000)).collect();
        let millis = |millis| Some(Instant::from_millis(millis));
        assert_eq!(arrivals, [millis(120), millis(220), millis(320), None]);
        assert_eq!(line.carry(Instant::from_millis(300), &mut dice, 1000), millis(420));
    }

    #[test]
    fn jitter_reorders_and_loss_loses_its_share() {
        let mut line = Line::new(DELAY);
        (line.jitter, line.loss_ppm) = (DELAY, 100_000);
        let mut dice = Dice::new(2);
        let sent = 10_000_u64;
        let arrivals: Vec<Instant> =
            (0..sent).filter_map(|n| line.carry(Instant::from_millis(n), &mut dice, 100)).collect();
        assert!(arrivals.windows(2).any(|pair| pair[1] < pair[0]));
        let lost = sent - arrivals.len() as u64;
        assert!((sent * 8 / 100..sent * 12 / 100).contains(&lost), "{lost}");
    }
}
