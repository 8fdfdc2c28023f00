//! What follows from the kind of server: data, not code. [`ServerProfile`] is how a source talks to it, [`Habits`] what a
//! survey may expect of it.

use core::time::Duration;

use crate::config::ServerKind;

/// How one kind of server behaves towards a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerProfile {
    /// Sources connect to the listeners' port plus this.
    pub source_port_offset: u16,
    /// How the source talks.
    pub greeting: Greeting,
    /// How titles are set.
    pub titles: Titles,
    /// How the server's own word is had that the mount is on air.
    pub proof: Proofs,
    /// The server passes a body on in whole blocks of so many bytes, counted from its first one.
    pub block: Option<u64>,
    /// How long the server keeps a silent source.
    pub source_timeout: Duration,
}

/// How a source is greeted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// An HTTP request head, answered by a status line.
    Http,
    /// The password alone, answered by `OK2`; then `icy-` headers.
    Password,
}

/// How titles are set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Titles {
    /// `GET /admin/metadata` with the source's login.
    AdminMetadata,
    /// `GET /admin.cgi` with the password in the query, as Shoutcast v1 has it.
    AdminCgi,
}

/// How the server proves a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proofs {
    /// A public status list at one of these paths, tried in order; a listener probe where all are missing.
    StatusList(&'static [&'static str]),
    /// A listener probe only.
    Probe,
    /// The server has no listeners' side: acknowledged bytes are all there is.
    Nothing,
}

/// What a survey tells apart; finer than [`ServerKind`], which the settings name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Make {
    /// Icecast 2.4 and older ones.
    Icecast24,
    /// Icecast 2.5.
    Icecast25,
    /// icecast-kh.
    IcecastKh,
    /// Liquidsoap's `input.harbor`.
    Harbor,
    /// Shoutcast v1, or a later one that still speaks it.
    Shoutcast1,
    /// Anything else.
    Generic,
}

/// How one make of server is set up for hand-overs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Habits {
    /// Its name for people.
    pub name: &'static str,
    /// What the settings call it.
    pub kind: ServerKind,
    /// Whether hand-overs were measured on it; else what is known is what its authors publish.
    pub tested: bool,
    /// What `fallback-override` must say so that all listeners come back; `None`: there are no fallback mounts.
    pub every_listener: Option<&'static str>,
    /// Who may call `/admin/killsource` if the operator allowed nothing in particular.
    pub evictors: Evictors,
    /// Bytes that a listener may lag behind unless the operator said otherwise (`queue-size`).
    pub queue: u64,
    /// Bytes that a new listener gets unless the operator said otherwise (`burst-size`).
    pub burst: u64,
}

/// Who may end a source from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evictors {
    /// Whoever may be the mount's source.
    Sources,
    /// A source by the old, server-wide password, or by a role that names the command.
    Roles,
    /// Nobody: the server has no such command.
    Nobody,
}

impl Make {
    /// Reads a server's name off its `Server` header and, where that says nothing, off a page.
    #[must_use]
    pub fn of(server: &str, page: &str) -> Option<Self> {
        let server = server.to_ascii_lowercase();
        if let Some(at) = server.find("icecast") {
            let version = server[at + "icecast".len()..].trim_start_matches([' ', '/']);
            let later = ["2.5", "2.6", "3."].iter().any(|start| version.starts_with(start));
            return Some(if version.contains("-kh") {
                Self::IcecastKh
            } else if later {
                Self::Icecast25
            } else {
                Self::Icecast24
            });
        }
        if server.contains("liquidsoap") || page.contains("Liquidsoap source harbor") {
            return Some(Self::Harbor);
        }
        if server.contains("shoutcast") || server.contains("ultravox") || page.contains("SHOUTcast") {
            return Some(Self::Shoutcast1);
        }
        None
    }

    /// Its habits.
    #[must_use]
    pub const fn habits(self) -> &'static Habits {
        match self {
            Self::Icecast24 => &HABITS_24,
            Self::Icecast25 => &HABITS_25,
            Self::IcecastKh => &HABITS_KH,
            Self::Harbor => &HABITS_HARBOR,
            Self::Shoutcast1 => &HABITS_SHOUTCAST_1,
            Self::Generic => &HABITS_GENERIC,
        }
    }
}

const HABITS_24: Habits = Habits {
    name: "icecast-2.4",
    kind: ServerKind::Icecast,
    tested: true,
    every_listener: Some("1"),
    evictors: Evictors::Sources,
    queue: 524_288,
    burst: 65_536,
};

/// 2.5 also knows `own`: only those who came down from this mount.
const HABITS_25: Habits =
    Habits { name: "icecast-2.5", every_listener: Some("all"), evictors: Evictors::Roles, ..HABITS_24 };

const HABITS_KH: Habits =
    Habits { name: "icecast-kh", kind: ServerKind::IcecastKh, tested: false, ..HABITS_24 };

const HABITS_HARBOR: Habits = Habits {
    name: "harbor",
    kind: ServerKind::Harbor,
    tested: true,
    every_listener: None,
    evictors: Evictors::Nobody,
    queue: 0,
    burst: 0,
};

const HABITS_SHOUTCAST_1: Habits = Habits {
    name: "shoutcast-1",
    kind: ServerKind::Shoutcast1,
    tested: false,
    every_listener: None,
    evictors: Evictors::Nobody,
    queue: 524_288,
    burst: 65_536,
};

const HABITS_GENERIC: Habits = Habits { name: "generic", kind: ServerKind::Generic, ..HABITS_SHOUTCAST_1 };

impl ServerProfile {
    /// The profile of a kind.
    #[must_use]
    pub const fn of(kind: ServerKind) -> &'static Self {
        match kind {
            ServerKind::Icecast => &ICECAST,
            ServerKind::IcecastKh => &ICECAST_KH,
            ServerKind::Harbor => &HARBOR,
            ServerKind::Shoutcast1 => &SHOUTCAST_1,
            ServerKind::Generic => &GENERIC,
        }
    }
}

/// Icecast 2.4 and 2.5: `source-timeout` 10 s; 2.5 moved the public list (`admin.c`, `xslt` of both).
const ICECAST: ServerProfile = ServerProfile {
    source_port_offset: 0,
    greeting: Greeting::Http,
    titles: Titles::AdminMetadata,
    proof: Proofs::StatusList(&["/status-json.xsl", "/admin/publicstats.json"]),
    block: Some(1400),
    source_timeout: Duration::from_secs(10),
};

/// kh passes on whole packets of its own framing.
const ICECAST_KH: ServerProfile =
    ServerProfile { proof: Proofs::StatusList(&["/status-json.xsl"]), block: None, ..ICECAST };

/// Liquidsoap decodes what it gets and serves no listeners on the harbor; it waits 30 s for a silent source.
const HARBOR: ServerProfile =
    ServerProfile { proof: Proofs::Nothing, block: None, source_timeout: Duration::from_secs(30), ..ICECAST };

const SHOUTCAST_1: ServerProfile = ServerProfile {
    source_port_offset: 1,
    greeting: Greeting::Password,
    titles: Titles::AdminCgi,
    proof: Proofs::Probe,
    block: None,
    source_timeout: Duration::from_secs(10),
};

const GENERIC: ServerProfile = ServerProfile { block: None, ..ICECAST };
