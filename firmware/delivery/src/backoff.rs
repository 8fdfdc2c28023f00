//! When to try again. Backoff follows an *answer*; silence belongs to the uplink and is asked again at once.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

/// Why an attempt ended, as far as the next one's time depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// Nobody answered.
    Silence,
    /// Somebody did: refusal of the connection, close, reset.
    Answer,
    /// A mount that had been on air for a while ended: the first retry is immediate.
    Lost,
    /// The mount is in use, probably by our own dead connection.
    InUse,
    /// The mount is in use by somebody else: look in now and then, do not fight.
    Occupied,
    /// The server has no room.
    NoRoom,
    /// Only a person can change it.
    Person,
}

/// The schedule of one mount's attempts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Backoff {
    answers: u32,
    silent_since: Option<Instant>,
    dice: Dice,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self { answers: 0, silent_since: None, dice: Dice(seed) }
    }

    /// The instant of the next attempt after one that began at `began` ended now.
    pub(crate) fn next(&mut self, now: Instant, began: Instant, cause: Cause) -> Instant {
        let silent_since = match cause {
            Cause::Silence => *self.silent_since.get_or_insert(began),
            Cause::Answer | Cause::Lost | Cause::InUse | Cause::Occupied | Cause::NoRoom | Cause::Person => {
                self.silent_since = None;
                now
            }
        };
        match cause {
            // Attempts of half a second back to back for a minute, then every two seconds (DESIGN 3). An attempt that
            // failed sooner (no route) still waits its half second out.
            Cause::Silence => {
                let pace = if now.since(silent_since) < SILENCE_EAGER { ATTEMPT } else { SILENCE_PACE };
                (began + pace).max(now)
            }
            Cause::Lost => {
                self.answers = 0;
                now
            }
            Cause::Answer => {
                let wait = FIRST_WAIT * (1 << self.answers.min(4));
                self.answers = self.answers.saturating_add(1);
                now + self.dice.about(wait.min(LONGEST_WAIT))
            }
            Cause::InUse => now + self.dice.about(IN_USE_PACE),
            Cause::Occupied | Cause::NoRoom => now + self.dice.about(NO_ROOM_PACE),
            Cause::Person => now + self.dice.about(PERSON_PACE),
        }
    }

    /// A connection has held for a while: what was before does not count any more.
    pub(crate) fn settle(&mut self) {
        self.answers = 0;
        self.silent_since = None;
    }

    /// How long one connect attempt may take. Every fourth is longer, so that a path with a round trip above half a
    /// second (satellite, a loaded cell) connects too.
    pub(crate) const fn patience(attempt: u32) -> Duration {
        if attempt % 4 == 3 { LONG_ATTEMPT } else { ATTEMPT }
    }
}

const ATTEMPT: Duration = Duration::from_millis(500);
const LONG_ATTEMPT: Duration = Duration::from_secs(3);
const SILENCE_EAGER: Duration = Duration::from_secs(60);
const SILENCE_PACE: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
const IN_USE_PACE: Duration = Duration::from_secs(1);
const NO_ROOM_PACE: Duration = Duration::from_secs(10);
const PERSON_PACE: Duration = Duration::from_secs(30);

/// SplitMix64 (Steele, Lea, Flood 2014): enough to keep a fleet out of step, and replayable.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Dice(u64);

impl Dice {
    /// `wait` plus or minus a quarter.
    fn about(&mut self, wait: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        let permille = 750 + (bits % 501) as u32;
        wait * permille / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(100_000);

    #[test]
    fn answers_back_off_and_settle() {
        let mut backoff = Backoff::new(7);
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            let wait = backoff.next(NOW, NOW, Cause::Answer).since(NOW);
            assert!(wait > last || wait >= LONGEST_WAIT * 3 / 4);
            last = wait;
        }
        assert!(last <= LONGEST_WAIT * 5 / 4);
        backoff.settle();
        assert!(backoff.next(NOW, NOW, Cause::Answer).since(NOW) <= FIRST_WAIT * 5 / 4);
    }

    #[test]
    fn silence_is_asked_at_once_for_a_minute_then_every_two_seconds() {
        let mut backoff = Backoff::new(7);
        let mut now = NOW;
        while now.since(NOW) < SILENCE_EAGER {
            let ended = now + ATTEMPT;
            let next = backoff.next(ended, now, Cause::Silence);
            assert!(next.since(now) >= ATTEMPT && (next == ended || ended.since(NOW) >= SILENCE_EAGER));
            now = next;
        }
        assert_eq!(backoff.next(now + ATTEMPT, now, Cause::Silence).since(now), SILENCE_PACE);
    }

    #[test]
    fn a_lost_mount_is_opened_at_once() {
        assert_eq!(Backoff::new(1).next(NOW, Instant::ZERO, Cause::Lost), NOW);
    }
}
