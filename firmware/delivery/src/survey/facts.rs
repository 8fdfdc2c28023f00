//! What a survey knows.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::Plan;
use super::page::Listed;
use crate::config::Method;
use crate::profile::Make;

/// Everything found out so far; what is `None` was not seen.
#[derive(Debug)]
pub(super) struct Facts {
    /// As the server names itself.
    pub(super) server: Option<String>,
    pub(super) make: Option<Make>,
    /// Why it could not be reached.
    pub(super) unreachable: Option<String>,
    /// It has been caught: it is given no password and no source.
    pub(super) liar: bool,
    /// The status list, if there is one.
    pub(super) listed: Option<Vec<Listed>>,
    pub(super) login: Option<bool>,
    pub(super) method: Option<Method>,
    pub(super) primary: Seen,
    pub(super) fallback: Seen,
    /// What answers on the primary's path while it has no source.
    pub(super) behind: Option<Behind>,
    /// Whether this box left its mounts for the survey.
    pub(super) off: bool,
    /// Whether the primary itself stands in for the mount beside it.
    pub(super) own: bool,
    /// Whether a survey mount fitted in: false at the limit of sources.
    pub(super) room: Option<bool>,
    /// Whether our login may read `/admin/stats?mount=`.
    pub(super) stats: Option<bool>,
    /// Whether our login may end its source.
    pub(super) evict: Option<bool>,
    pub(super) burst: Option<u64>,
    /// The burst may be larger: all that was sent came back.
    pub(super) burst_more: bool,
    pub(super) source_timeout: Option<Duration>,
    pub(super) moved: Option<bool>,
    pub(super) overrides: Option<bool>,
    /// Anything else worth a line.
    pub(super) notes: Vec<String>,
    /// What went wrong or looks wrong.
    pub(super) faults: Vec<String>,
}

/// One of the output's own mounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Seen {
    /// Whether it has a source; `None`: cannot be told.
    pub(super) live: Option<bool>,
    pub(super) listeners: Option<u64>,
}

/// What a listener of a path without a source gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Behind {
    Nothing,
    /// The sound of this mount.
    Mount(String),
    /// Sound, of no mount that is known.
    Something,
}

impl Facts {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut facts = Self {
            server: None,
            make: None,
            unreachable: None,
            liar: false,
            listed: None,
            login: None,
            method: None,
            primary: Seen::default(),
            fallback: Seen::default(),
            behind: None,
            off: false,
            own: false,
            room: None,
            stats: None,
            evict: None,
            burst: None,
            burst_more: false,
            source_timeout: None,
            moved: None,
            overrides: None,
            notes: Vec::new(),
            faults: Vec::new(),
        };
        if !plan.login {
            facts.note("no password was given: only public pages were read");
        }
        facts
    }

    pub(super) fn note(&mut self, what: &str) {
        if !self.notes.iter().any(|known| known == what) {
            self.notes.push(what.to_string());
        }
    }

    pub(super) fn fault(&mut self, what: &str) {
        if !self.faults.iter().any(|known| known == what) {
            self.faults.push(what.to_string());
        }
    }

    pub(super) fn is_listed(&self, path: &str) -> Option<&Listed> {
        self.listed.as_ref()?.iter().find(|mount| mount.path == path)
    }
}
