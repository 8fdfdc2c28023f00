//! What follows from the kind of server: data, not code.

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
