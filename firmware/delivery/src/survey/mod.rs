//! Survey: finding out what a streaming server is and what it lets a source do, before a hand-over rests on it. Sans-IO:
//! [`Survey`] asks one [`Question`] after the other, the edge answers it, and in the end there is a report.
//!
//! Invariants
//! - A mount that has a source is never opened and never evicted; what is evicted is this survey's own source.
//! - Sources are opened on the mount named after the primary with `_survey` behind it, or on the output's own mounts while
//!   those are free and nothing answers behind them: nobody can be listening there.
//! - The number of questions is bounded whatever the server says, and so is every answer that is waited for.
//! - A server that is caught lying gets no password and no source.

mod facts;
mod learn;
mod page;
mod report;
mod sound;
mod steps;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use units::snapshot::SurveyReport;

use crate::config::MountConfig;
use crate::event::{Failure, Reply, Talk};

pub use page::{Raw, Until, is_whole};
pub use sound::sound;

use facts::Facts;
use steps::Step;

/// What is to be found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The mount listeners are given.
    pub primary: MountConfig,
    /// The mount they should be moved to; `None`: that is not looked at.
    pub fallback: Option<MountConfig>,
    /// Whether the password is known; without it only public pages are read.
    pub login: bool,
    /// What the mounts carry, in bits per second: the larger one.
    pub bits: u32,
    /// No source at all, only pages.
    pub careful: bool,
    /// Wait for the server's time-out of a silent source.
    pub slow: bool,
    /// This box feeds these mounts.
    pub fed: bool,
    /// It may leave them for the survey, if nobody listens.
    pub may_take_off: bool,
    /// Sent as `User-Agent`.
    pub agent: String,
}

/// One of the survey's own sources.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slot {
    /// On the primary's path, or on the mount beside it.
    Primary,
    /// On the fallback's path.
    Fallback,
}

/// What the edge is to do. One at a time; each has one [`Answer`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Send a request on a new connection and read what comes: [`Answer::Page`].
    Fetch {
        /// The whole request.
        request: Vec<u8>,
        /// Bytes wanted of a page that turns out to be sound.
        most: usize,
        /// From connecting to the last byte.
        patience: Duration,
    },
    /// Open a source and read its first reply: [`Answer::Source`]. It stays open, and goes on sending [`sound`], until
    /// [`Question::Close`], which follows a no as well.
    Open {
        /// Which.
        slot: Slot,
        /// Request head.
        request: Vec<u8>,
        /// How the reply is to be read.
        talk: Talk,
        /// Bytes of sound at once, when the server has said yes.
        at_once: u64,
        /// Bytes of sound a second after that.
        pace: u32,
        /// For the reply, and for the bytes at once.
        patience: Duration,
    },
    /// Become a listener: [`Answer::Page`] with what came up to the head's end and perhaps a little more. The connection
    /// stays, for [`Question::Hear`], until the next one or [`Question::Leave`].
    Listen {
        /// The whole request.
        request: Vec<u8>,
        /// For the head.
        patience: Duration,
    },
    /// Go on listening: [`Answer::Heard`].
    Hear {
        /// Enough once this was heard; empty: never enough.
        needle: Vec<u8>,
        /// Enough after so long without a byte.
        quiet: Duration,
        /// In all.
        patience: Duration,
    },
    /// Wait until the server ends this source: [`Answer::Ended`].
    Ended {
        /// Which.
        slot: Slot,
        /// At most so long.
        patience: Duration,
    },
    /// End this source in good order: [`Answer::Done`].
    Close {
        /// Which.
        slot: Slot,
    },
    /// Stop listening: [`Answer::Done`].
    Leave,
    /// Take the output off its mounts until the survey is over: [`Answer::Done`].
    TakeOff,
    /// Do nothing for a while: [`Answer::Done`].
    Pause(Duration),
}

/// What came of a [`Question`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Bytes of an answer, or why there is none at all.
    Page(Result<Raw, Failure>),
    /// What the server said to a source.
    Source(Result<Reply, Failure>),
    /// What a listener heard since the last question.
    Heard(Vec<u8>),
    /// How long after the last byte of a source it was ended; `None`: it was not.
    Ended(Option<Duration>),
    /// Done.
    Done,
}

/// A survey under way.
#[derive(Debug)]
pub struct Survey {
    plan: Plan,
    facts: Facts,
    step: Step,
    asked: u32,
}

impl Survey {
    /// Begins.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { facts: Facts::new(&plan), plan, step: Step::first(), asked: 0 }
    }

    /// The next question; `None` when there is no more to ask.
    pub fn ask(&mut self) -> Option<Question> {
        self.asked += 1;
        if self.asked > MOST_QUESTIONS {
            self.facts.note("the survey was stopped: it had to ask too often");
            self.step = Step::Over;
        }
        self.question()
    }

    /// Takes the answer to the last question.
    pub fn answer(&mut self, answer: Answer) {
        self.learn(answer);
    }

    /// What is being looked at, for whoever waits.
    #[must_use]
    pub fn doing(&self) -> &'static str {
        self.step.words()
    }

    /// What was found so far.
    #[must_use]
    pub fn report(&self) -> SurveyReport {
        report::report(&self.plan, &self.facts)
    }
}

/// More than the longest way through the steps.
const MOST_QUESTIONS: u32 = 96;
