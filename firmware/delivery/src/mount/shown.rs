//! What people are told of a mount: its state, the remedy, and each change once.

use alloc::format;
use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};
use units::Instant;
use units::snapshot::MountState;

use super::{Mount, Step};
use crate::event::{Answer, Output, Transition};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Shown {
    pub state: MountState,
    pub since: Instant,
    pub remedy: Option<String>,
    pub server: Option<String>,
    /// The trouble was raised as an alarm; armed again by being on air.
    alarmed: bool,
}

impl Shown {
    pub(super) const fn new(now: Instant) -> Self {
        Self { state: MountState::Waiting, since: now, remedy: None, server: None, alarmed: false }
    }

    /// Whether a new attempt changes what is shown: a mount that only a person can help stays marked so while it is retried.
    const fn sticky(&self) -> bool {
        matches!(self.state, MountState::Refused | MountState::Occupied)
    }
}

impl Mount {
    /// An attempt begins. Said in the state, not in the log: attempts can be half a second apart.
    pub(super) fn show_attempt(&mut self, now: Instant) {
        if !self.shown.sticky() && self.shown.state != MountState::Connecting {
            if self.shown.state != MountState::Waiting {
                self.shown.since = now;
            }
            self.shown.state = MountState::Connecting;
        }
    }

    /// The mount is off air for `why`. Repeats of the same reason are not said again.
    pub(super) fn show_trouble(&mut self, step: &mut Step<'_>, to: MountState, why: String, alarming: bool) {
        let from = self.shown.state;
        let again = self.shown.remedy.as_ref() == Some(&why) && !from.on_air();
        let trying = matches!((from, to), (MountState::Connecting, MountState::Waiting));
        if from != to && !trying {
            self.shown.since = step.now;
        }
        self.shown.state = to;
        if again {
            return;
        }
        let alarm = alarming && !self.shown.alarmed;
        self.shown.alarmed |= alarm;
        self.shown.remedy = Some(why.clone());
        self.log(step, from, to, why, alarm);
    }

    /// The mount got along: accepted, live, verified; or stalled.
    pub(super) fn show_progress(&mut self, step: &mut Step<'_>, to: MountState, why: String) {
        let from = self.shown.state;
        if from == to {
            return;
        }
        self.shown.state = to;
        self.shown.since = step.now;
        self.shown.remedy = if to == MountState::Stalled { Some(why.clone()) } else { None };
        if to.on_air() {
            self.shown.alarmed = false;
        }
        self.log(step, from, to, why, false);
    }

    /// The server does not take titles. The stream goes on.
    pub(super) fn show_title_trouble(&mut self, step: &mut Step<'_>, answer: Option<&Answer>) {
        let why = match answer {
            Some(Answer::TitleRefused { status }) => {
                format!(
                    "the server refuses titles (status {status}); may this user set them? The sound goes on"
                )
            }
            Some(_) | None => "the server does not answer titles; the sound goes on".to_string(),
        };
        let state = self.shown.state;
        self.log(step, state, state, why, false);
    }

    fn log(&self, step: &mut Step<'_>, from: MountState, to: MountState, why: String, alarm: bool) {
        let mount = self.config.id.clone();
        step.out.push_back(Output::Log(Transition { mount, from, to, why, alarm }));
    }
}
