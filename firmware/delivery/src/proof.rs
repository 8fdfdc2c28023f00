//! Is the mount really on air, and is it ours? The server's status list says so, or a listener probe hears it.

use core::ops::RangeInclusive;
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
    /// Asked at `asked`; given up at `deadline`.
    Asking { link: LinkId, asked: Instant, deadline: Instant },
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

    /// Nothing is asked before `until`.
    pub(crate) fn rest(&mut self, until: Instant) {
        if let Step::Due(at) = &mut self.step {
            *at = until.max(*at);
        }
    }

    pub(crate) fn asked(&mut self, now: Instant, link: LinkId) {
        self.step = Step::Asking { link, asked: now, deadline: now + PATIENCE + PATIENCE };
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

    /// An answer came (`None`: none did) at a server with `ways` status paths, which took the source within `taken`; `None`
    /// there if it never said so.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        answer: Option<&Answer>,
        taken: Option<RangeInclusive<Instant>>,
        ways: usize,
    ) -> News {
        let asked = match self.step {
            Step::Asking { asked, .. } => asked,
            Step::Idle | Step::Due(_) => now,
        };
        let ours = match (answer, taken) {
            // Without the server's yes a list cannot tell whose source it shows. A listener can.
            (Some(Answer::Listed { .. }), None) => {
                self.way = ways;
                false
            }
            // An entry older than our request is our dead source's, or somebody's who refused to leave; one younger than the
            // server's yes is somebody's who took our place.
            (Some(Answer::Listed { age: Some(listed) }), Some(taken)) => {
                // Two clocks drift apart: a per mille is far more than any does.
                let slack = CLOCK_SLACK + now.since(*taken.start()).as_secs() / 1000;
                let oldest = now.since(*taken.start()).as_secs() + slack;
                let youngest = asked.since(*taken.end()).as_secs().saturating_sub(slack);
                (youngest..=oldest).contains(listed)
            }
            (Some(Answer::Listed { age: None } | Answer::Heard { .. }), _) => true,
            (Some(Answer::NoStatus { .. }), _) => {
                self.way = self.way.saturating_add(1).min(ways);
                false
            }
            (Some(Answer::HeardNothing { .. }), _) => {
                // Perhaps the list is there after all: ask in turn.
                self.way = 0;
                false
            }
            (
                Some(
                    Answer::NotListed
                    | Answer::HeardForeign
                    | Answer::TitleTaken
                    | Answer::TitleRefused { .. }
                    | Answer::Source { .. }
                    | Answer::NoSource
                    | Answer::Evicted
                    | Answer::Forbidden { .. },
                )
                | None,
                _,
            ) => false,
        };
        let listless = matches!(answer, Some(Answer::NotListed | Answer::Listed { .. })) && !ours;
        if listless && self.misses % PROBE_IN == PROBE_IN - 1 {
            // A hidden mount is on no list, and the server's clock may have been set meanwhile; a listener hears what is so.
            self.way = ways;
        }
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
/// After so many lists without the mount, a probe is tried.
const PROBE_IN: u32 = 6;
const EAGER_LOOKS: u32 = 20;
const LOOK_SLOWLY: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_secs(30);
/// The server's stamps are whole seconds, and its source thread may start before our first byte is acknowledged.
const CLOCK_SLACK: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(60_000);
    /// The server took the source five seconds ago, four seconds after the request.
    fn taken() -> Option<RangeInclusive<Instant>> {
        Some(NOW - Duration::from_secs(9)..=NOW - Duration::from_secs(5))
    }

    fn answered(proof: &mut Proof, answer: Answer) -> News {
        proof.answered(NOW, Some(&answer), taken(), 2)
    }

    #[test]
    fn an_entry_older_than_our_request_is_not_ours() {
        let mut proof = Proof::new();
        assert_eq!(answered(&mut proof, Answer::Listed { age: Some(60) }), News::Nothing);
        assert_eq!(answered(&mut proof, Answer::Listed { age: Some(10) }), News::Verified);
    }

    #[test]
    fn an_entry_younger_than_the_servers_yes_is_not_ours() {
        let mut proof = Proof::new();
        assert_eq!(answered(&mut proof, Answer::Listed { age: Some(2) }), News::Nothing);
        assert_eq!(answered(&mut proof, Answer::Listed { age: Some(3) }), News::Verified);
        // A slow answer tells what was true when it was asked for.
        let mut proof = Proof::new();
        proof.asked(NOW - Duration::from_secs(4), LinkId(1));
        assert_eq!(answered(&mut proof, Answer::Listed { age: Some(0) }), News::Verified);
    }

    #[test]
    fn without_the_servers_yes_only_a_listener_proves_anything() {
        let mut proof = Proof::new();
        assert_eq!(proof.answered(NOW, Some(&Answer::Listed { age: None }), None, 2), News::Nothing);
        assert_eq!(proof.way(), 2);
        let heard = Answer::Heard { upto: units::BytePos(1) };
        assert_eq!(proof.answered(NOW, Some(&heard), None, 2), News::Verified);
    }

    #[test]
    fn one_lost_answer_is_forgiven_and_a_missing_entry_is_not() {
        let mut proof = Proof::new();
        answered(&mut proof, Answer::Listed { age: None });
        assert_eq!(proof.answered(NOW, None, taken(), 1), News::Nothing);
        assert_eq!(proof.answered(NOW, None, taken(), 1), News::Doubted);
        answered(&mut proof, Answer::Listed { age: None });
        assert_eq!(answered(&mut proof, Answer::NotListed), News::Doubted);
    }

    #[test]
    fn a_mount_that_stays_off_the_list_is_probed_in_the_end() {
        let mut proof = Proof::new();
        for _ in 0..PROBE_IN {
            assert_eq!(proof.way(), 0);
            answered(&mut proof, Answer::NotListed);
        }
        assert_eq!(proof.way(), 2);
        assert_eq!(answered(&mut proof, Answer::Heard { upto: units::BytePos(1) }), News::Verified);
    }

    #[test]
    fn without_a_list_the_probe_is_next() {
        let mut proof = Proof::new();
        answered(&mut proof, Answer::NoStatus { status: 404 });
        assert_eq!(proof.way(), 1);
        answered(&mut proof, Answer::NoStatus { status: 404 });
        assert_eq!(proof.way(), 2);
    }
}
