//! Is the mount really on air, and is it ours? The server's status list says so, or a listener probe hears it.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use crate::event::{Answer, LinkId};

/// Where the proof of one connection stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Proof {
    verified: bool,
    /// Which status path is asked; one past the last is the probe.
    way: usize,
    misses: u32,
    step: Step,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Step {
    /// Nothing to ask: not live yet, or this server proves nothing.
    Idle,
    /// To be asked at this instant.
    Due(Instant),
    /// Asked; given up at `deadline`.
    Asking { link: LinkId, deadline: Instant },
}

/// What an answer changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// The mount is proven now and was not before.
    Verified,
    /// It was proven before and is not any more.
    Doubted,
    /// Nothing new.
    Nothing,
}

impl Proof {
    pub(crate) const fn new() -> Self {
        Self { verified: false, way: 0, misses: 0, step: Step::Idle }
    }

    pub(crate) const fn verified(&self) -> bool {
        self.verified
    }

    /// Which way to ask: an index into the profile's status paths; beyond them, the probe.
    pub(crate) const fn way(&self) -> usize {
        self.way
    }

    /// The mount went live: ask soon.
    pub(crate) fn wanted(&mut self, now: Instant) {
        if matches!(self.step, Step::Idle) {
            self.step = Step::Due(now + FIRST_LOOK);
        }
    }

    pub(crate) fn asked(&mut self, now: Instant, link: LinkId) {
        self.step = Step::Asking { link, deadline: now + PATIENCE + PATIENCE };
    }

    /// Whether a question is due now.
    pub(crate) fn due(&self, now: Instant) -> bool {
        matches!(self.step, Step::Due(at) if at <= now)
    }

    /// Nobody answered in time, not even the edge.
    pub(crate) fn overdue(&self, now: Instant) -> bool {
        matches!(self.step, Step::Asking { deadline, .. } if deadline <= now)
    }

    pub(crate) fn asking(&self) -> Option<LinkId> {
        match self.step {
            Step::Asking { link, .. } => Some(link),
            Step::Idle | Step::Due(_) => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::Idle => None,
            Step::Due(at) | Step::Asking { deadline: at, .. } => Some(at),
        }
    }

    /// An answer came (`None`: none did) for a connection that the server accepted `age` ago, at a server with `ways` status
    /// paths.
    pub(crate) fn answered(&mut self, now: Instant, answer: Option<&Answer>, age: Duration, ways: usize) -> News {
        let ours = match answer {
            // An entry older than our connection is somebody else's, or our dead one's.
            Some(Answer::Listed { age: Some(listed) }) => *listed <= age.as_secs() + CLOCK_SLACK,
            Some(Answer::Listed { age: None } | Answer::Heard { .. }) => true,
            Some(Answer::NoStatus { .. }) => {
                self.way = (self.way + 1).min(ways);
                false
            }
            Some(Answer::HeardNothing { .. }) => {
                // Perhaps the list is there after all: ask in turn.
                self.way = 0;
                false
            }
            Some(
                Answer::NotListed
                | Answer::HeardForeign
                | Answer::TitleTaken
                | Answer::TitleRefused { .. },
            )
            | None => false,
        };
        let was = self.verified;
        if ours {
            self.misses = 0;
            self.verified = true;
            self.step = Step::Due(now + CALM);
        } else {
            self.misses = self.misses.saturating_add(1);
            // One lost answer in calm times proves nothing; a list that lacks the mount does, and so does a second loss.
            if self.misses > 1 || matches!(answer, Some(Answer::NotListed | Answer::HeardForeign)) {
                self.verified = false;
            }
            let wait = if self.misses <= EAGER_LOOKS { LOOK_AGAIN } else { LOOK_SLOWLY };
            self.step = Step::Due(now + wait);
        }
        match (was, self.verified) {
            (false, true) => News::Verified,
            (true, false) => News::Doubted,
            (true, true) | (false, false) => News::Nothing,
        }
    }
}

/// How long one question may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Icecast lists a mount once its source thread runs; a moment after the first acknowledged byte it does.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const EAGER_LOOKS: u32 = 20;
const LOOK_SLOWLY: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_secs(30);
/// The server's stamps are whole seconds, and its source thread may start before our first byte is acknowledged.
const CLOCK_SLACK: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(60_000);
    const AGE: Duration = Duration::from_secs(5);

    #[test]
    fn an_entry_older_than_our_connection_is_not_ours() {
        let mut proof = Proof::new();
        assert_eq!(proof.answered(NOW, Some(&Answer::Listed { age: Some(60) }), AGE, 1), News::Nothing);
        assert_eq!(proof.answered(NOW, Some(&Answer::Listed { age: Some(6) }), AGE, 1), News::Verified);
    }

    #[test]
    fn one_lost_answer_is_forgiven_and_a_missing_entry_is_not() {
        let mut proof = Proof::new();
        proof.answered(NOW, Some(&Answer::Listed { age: None }), AGE, 1);
        assert_eq!(proof.answered(NOW, None, AGE, 1), News::Nothing);
        assert_eq!(proof.answered(NOW, None, AGE, 1), News::Doubted);
        proof.answered(NOW, Some(&Answer::Listed { age: None }), AGE, 1);
        assert_eq!(proof.answered(NOW, Some(&Answer::NotListed), AGE, 1), News::Doubted);
    }

    #[test]
    fn without_a_list_the_probe_is_next() {
        let mut proof = Proof::new();
        proof.answered(NOW, Some(&Answer::NoStatus { status: 404 }), AGE, 2);
        assert_eq!(proof.way(), 1);
        proof.answered(NOW, Some(&Answer::NoStatus { status: 404 }), AGE, 2);
        assert_eq!(proof.way(), 2);
    }
}
