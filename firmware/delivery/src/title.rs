//! Bringing the title to one mount: to the address that its source is connected to, and again after every reconnect.

use alloc::string::String;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use crate::event::LinkId;

/// Where one mount's title stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) enum TitlePush {
    /// No title, or no connection to bring it to.
    #[default]
    Idle,
    /// To be sent at `at`.
    Due { at: Instant, tries: u32 },
    /// Sent; the answer is awaited until `deadline`.
    Asking { link: LinkId, text: String, tries: u32, deadline: Instant },
    /// The server has it.
    Done { text: String },
}

impl TitlePush {
    /// The title is to be sent now (a new title, or a new connection). Returns a question that became pointless.
    pub(crate) fn due(&mut self, at: Instant) -> Option<LinkId> {
        let pointless = self.asking();
        *self = Self::Due { at, tries: 0 };
        pointless
    }

    /// The connection is gone. Returns a question that became pointless.
    pub(crate) fn reset(&mut self) -> Option<LinkId> {
        let pointless = self.asking();
        *self = Self::Idle;
        pointless
    }

    /// The mount's own bytes carry the title, if there is one.
    pub(crate) fn carried(&mut self, title: Option<&str>) {
        *self = title.map_or(Self::Idle, |text| Self::Done { text: text.into() });
    }

    /// The question went out.
    pub(crate) fn asked(&mut self, now: Instant, link: LinkId, text: String) {
        let tries = match self {
            Self::Due { tries, .. } => *tries,
            Self::Idle | Self::Asking { .. } | Self::Done { .. } => 0,
        };
        *self = Self::Asking { link, text, tries, deadline: now + PATIENCE + PATIENCE };
    }

    /// The question was answered; true if the server took the title.
    pub(crate) fn answered(&mut self, now: Instant, taken: bool) {
        if let Self::Asking { text, tries, .. } = self {
            *self = if taken {
                Self::Done { text: core::mem::take(text) }
            } else {
                // The mount may not be up yet (404 right after the source connected); later on only an operator helps.
                let wait = FIRST_RETRY * (1 << (*tries).min(7));
                Self::Due { at: now + wait.min(LAST_RETRY), tries: tries.saturating_add(1) }
            };
        }
    }

    /// Whether the title was refused so often now that it is no matter of a mount that is not up yet. True once.
    pub(crate) const fn stuck(&self) -> bool {
        matches!(self, Self::Due { tries: STUCK, .. })
    }

    pub(crate) fn asking(&self) -> Option<LinkId> {
        match self {
            Self::Asking { link, .. } => Some(*link),
            Self::Idle | Self::Due { .. } | Self::Done { .. } => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Due { at, .. } => Some(*at),
            Self::Asking { deadline, .. } => Some(*deadline),
            Self::Idle | Self::Done { .. } => None,
        }
    }

    pub(crate) fn on_air(&self) -> Option<&str> {
        match self {
            Self::Done { text } => Some(text),
            Self::Idle | Self::Due { .. } | Self::Asking { .. } => None,
        }
    }
}

/// How long a title may take to be answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// So many refusals are told.
const STUCK: u32 = 5;
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);
