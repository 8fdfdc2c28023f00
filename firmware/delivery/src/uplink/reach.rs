//! What is known of one target through one uplink.

use alloc::string::{String, ToString};
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use super::event::{CheckKind, Outcome};
use super::why::Why;

/// How a target stands, seen through one uplink.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// Nothing is known yet.
    Unknown,
    /// It answers.
    Reachable,
    /// It owes an answer.
    Doubtful,
    /// It does not answer, there is no way to it, or somebody else answers in its place.
    Unreachable,
}

impl Standing {
    /// Whether it is worth a connection.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Unknown | Self::Reachable => true,
            Self::Doubtful | Self::Unreachable => false,
        }
    }
}

/// One target through one uplink.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Reach {
    pub(crate) address: SocketAddr,
    /// A mount wants it; otherwise it is a target from the settings.
    pub(crate) wanted: bool,
    standing: Standing,
    /// Checks without an answer in a row.
    missed: u8,
    /// Delivery's connection there misses acknowledgements: a handshake that succeeds beside it proves nothing for it.
    silent: bool,
    stranger: Option<Stranger>,
    /// When delivery last had proof.
    heard: Option<Instant>,
}

/// Somebody else was met in the target's place.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Stranger {
    /// By its certificate; otherwise by its page.
    certificate: bool,
    login: Option<String>,
    since: Instant,
}

/// What an answer says about the uplink.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Finding {
    Answer,
    Missing,
    Somebody(Why),
    /// Nothing could be asked.
    Nothing,
}

/// Two checks unanswered, and a single lost packet (a SYN is repeated only after 1 s, RFC 6298) has not decided it.
const MISSES: u8 = 2;

/// After so long somebody may have logged in, or the certificate been put right: only a connection can tell.
const STRANGER_KEPT: Duration = Duration::from_secs(60);

/// The port of plain web pages, where captive portals answer whatever the address.
const WEB: u16 = 80;

impl Reach {
    pub(crate) const fn new(address: SocketAddr, wanted: bool) -> Self {
        Self {
            address,
            wanted,
            standing: Standing::Unknown,
            missed: 0,
            silent: false,
            stranger: None,
            heard: None,
        }
    }

    pub(crate) const fn standing(&self) -> Standing {
        match self.standing {
            // What a check reaches may still be what swallows the stream.
            Standing::Unknown | Standing::Reachable if self.silent => Standing::Doubtful,
            Standing::Unknown | Standing::Reachable | Standing::Doubtful | Standing::Unreachable => {
                self.standing
            }
        }
    }

    /// How it is best asked.
    pub(crate) fn kind(&self) -> CheckKind {
        let by_page = self.stranger.as_ref().is_some_and(|stranger| !stranger.certificate);
        if by_page || (!self.wanted && self.address.port() == WEB) {
            CheckKind::Http(self.address, self.address.ip().to_string())
        } else {
            CheckKind::Tcp(self.address)
        }
    }

    pub(crate) fn heard_within(&self, now: Instant, span: Duration) -> bool {
        self.heard.is_some_and(|heard| now.since(heard) < span)
    }

    /// Everything about it was another network's.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.address, self.wanted);
    }

    /// A check came back.
    pub(crate) fn checked(&mut self, now: Instant, outcome: &Outcome) -> Finding {
        if self.stranger.as_ref().is_some_and(|stranger| now.since(stranger.since) >= STRANGER_KEPT) {
            self.stranger = None;
            self.standing = Standing::Unknown;
        }
        match outcome {
            Outcome::Answered { .. } | Outcome::Refused => match &self.stranger {
                Some(stranger) => Finding::Somebody(self.somebody(stranger)),
                None => self.answered(),
            },
            Outcome::Page(page) if page.is_portal() => {
                self.met(now, false, page.elsewhere.clone());
                Finding::Somebody(Why::Portal { login: page.elsewhere.clone() })
            }
            Outcome::Page(_) => {
                self.stranger = None;
                self.answered()
            }
            Outcome::Silent | Outcome::Unreachable => {
                self.missed();
                Finding::Missing
            }
            Outcome::Impossible(_) => Finding::Nothing,
        }
    }

    /// Delivery's own connection there works.
    pub(crate) fn proven(&mut self, now: Instant) {
        self.stranger = None;
        self.silent = false;
        self.heard = Some(now);
        self.answered();
    }

    /// Somebody answered, if only with a refusal.
    pub(crate) fn answered(&mut self) -> Finding {
        self.missed = 0;
        self.standing = Standing::Reachable;
        Finding::Answer
    }

    /// Nobody did.
    pub(crate) fn missed(&mut self) {
        self.missed = self.missed.saturating_add(1);
        self.standing = if self.missed >= MISSES { Standing::Unreachable } else { Standing::Doubtful };
    }

    /// Delivery misses acknowledgements.
    pub(crate) fn fell_silent(&mut self) {
        self.heard = None;
        self.silent = true;
    }

    /// The connection that was silent is gone.
    pub(crate) fn abandoned(&mut self) {
        if core::mem::replace(&mut self.silent, false) && self.stranger.is_none() {
            self.missed = 0;
            self.standing = Standing::Unknown;
        }
    }

    /// Somebody else was met in its place.
    pub(crate) fn met(&mut self, now: Instant, certificate: bool, login: Option<String>) -> Why {
        let stranger = Stranger { certificate, login, since: now };
        let why = self.somebody(&stranger);
        self.stranger = Some(stranger);
        self.standing = Standing::Unreachable;
        self.heard = None;
        why
    }

    fn somebody(&self, stranger: &Stranger) -> Why {
        if stranger.certificate {
            Why::WrongCertificate(self.address)
        } else {
            Why::Portal { login: stranger.login.clone() }
        }
    }
}
