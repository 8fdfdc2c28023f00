//! What the core is told: which mounts there are, where, and what they carry.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::snapshot::Role;
use units::{Rendition, Secret};

pub use crate::uplink::UplinkConfig;

/// The whole of it. Equal parts of an old and a new configuration are left alone by a reload.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// Sent as `User-Agent`: name and version of the box.
    pub agent: String,
    /// Seed of the jitter in waits; any number, different on every box so that a fleet does not knock in step.
    pub seed: u64,
    /// Every mount, at most 64 (32 outputs of two).
    pub mounts: Vec<MountConfig>,
    /// The ways out, best first; none at all is one way that nothing is bound to.
    #[serde(default)]
    pub uplinks: Vec<UplinkConfig>,
    /// What two mounts of one output are to each other. An output that is not named here is plain: each mount alone.
    #[serde(default)]
    pub outputs: Vec<OutputConfig>,
}

/// How an output's two mounts work together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OutputConfig {
    /// The output's name, as in [`MountId::output`].
    pub name: String,
    /// What the fallback carries until it is needed.
    pub standby: Standby,
    /// When it is on air at all.
    #[serde(default)]
    pub on_air: OnAir,
    /// When the listeners come back to the primary.
    pub give_back: Return,
    /// How long the preferred uplink must have been good before they do.
    pub settle: Duration,
    /// What stays with one uplink left.
    pub lone: Lone,
    /// What a survey of the server found; `None`: plain reconnects are all there is.
    pub proven: Option<Proven>,
}

/// When an output is on air.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnAir {
    /// Always.
    #[default]
    Always,
    /// While somebody has taken it: over a programme that the server has from elsewhere.
    Taken,
}

/// What a fallback carries until it is needed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standby {
    /// Held where the server allows it, else full; cold on a metered uplink where it cannot be held.
    #[default]
    Auto,
    /// Connected, and silent but for a byte now and then.
    Held,
    /// Live.
    Full,
    /// Opened when it is needed.
    Cold,
}

/// When the listeners come back to the primary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Return {
    /// After the settle time, which doubles on flaps; from a metered uplink at once.
    #[default]
    Auto,
    /// After the settle time, in a silence of the programme.
    AtSilence,
    /// When somebody says so.
    Manual,
}

/// What stays on air with one uplink left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lone {
    /// The primary alone.
    #[default]
    PrimaryOnly,
    /// Both mounts.
    Both,
    /// The one of the two that takes fewer bytes: the listeners go to the fallback if its bitrate is lower, and the primary is
    /// closed until a second uplink has been good for the settle time. Only where a survey proved that the server moves them.
    LowerBitrate,
}

impl OutputConfig {
    /// Whether its listeners go to the fallback, of this bitrate beside the primary's, while one uplink is left.
    pub(crate) fn lowers(&self, primary: &MountConfig, fallback: &MountConfig) -> bool {
        let lower =
            fallback.rendition.bitrate.bytes_per_second() < primary.rendition.bitrate.bytes_per_second();
        let moves = self.proven.is_some_and(|proven| proven.fallback && proven.overrides);
        self.lone == Lone::LowerBitrate && lower && moves
    }
}

/// What a survey found out about a server. Facts, not wishes: a hand-over rests on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proven {
    /// The primary's listeners are moved to the fallback when its source ends.
    pub fallback: bool,
    /// They are moved back when the primary's source connects.
    pub overrides: bool,
    /// Source credentials may end the mount's source (`/admin/killsource`).
    pub evict: bool,
    /// Bytes that a new listener gets at once.
    pub burst: u64,
    /// Bytes that a listener may lag behind before he is dropped.
    pub queue: u64,
    /// How long the server keeps a silent source.
    pub source_timeout: Duration,
}

/// One mount on one server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MountConfig {
    /// Which output's which mount; unique.
    pub id: MountId,
    /// Where it lies.
    pub server: Server,
    /// The mount's path with its leading `/`. Shoutcast v1 has none: `/`.
    pub path: String,
    /// Source user; Icecast's default is `source`.
    pub user: String,
    /// Source password.
    pub password: Secret,
    /// What it carries.
    pub rendition: Rendition,
    /// What the server is told about the station.
    pub station: Station,
    /// How far the mount may fall behind the encoder before it skips to live.
    ///
    /// Fifteen seconds by default. Catching up is paced so that it costs no listener his connection.
    pub longest_lag: Duration,
}

/// An output's name and the mount's role in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MountId {
    /// The output's name.
    pub output: String,
    /// Primary or fallback.
    pub role: Role,
}

impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.output, self.role)
    }
}

/// A streaming server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Server {
    /// How it behaves.
    pub kind: ServerKind,
    /// Name or literal address.
    pub host: String,
    /// TCP port of the listeners' side; Shoutcast v1 sources connect to the next one.
    pub port: u16,
    /// How its certificate is judged; `None` is plain TCP.
    pub tls: Option<Trust>,
    /// How an HTTP source opens the mount.
    pub method: Method,
}

/// What kind of server it is. What follows from that is data: [`crate::profile::ServerProfile`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// Icecast 2.4 or 2.5 (its answers tell which).
    Icecast,
    /// icecast-kh, by its published behaviour.
    IcecastKh,
    /// Liquidsoap's `input.harbor`.
    Harbor,
    /// Shoutcast v1 (also Icecast's `<shoutcast-mount>`).
    #[serde(rename = "shoutcast-1")]
    Shoutcast1,
    /// Anything else that takes an Icecast source (provider inputs).
    Generic,
}

/// How an HTTP source opens its mount.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// `PUT` with `Expect: 100-continue`, never chunked (2.4 would relay the chunk sizes as sound).
    #[default]
    Put,
    /// The older `SOURCE`, for servers and proxies that know nothing else.
    Source,
}

/// Whose word about a server's identity counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Trust {
    /// The system's roots.
    System,
    /// The operator's own authority.
    Authority {
        /// The file it was read from, for messages.
        path: String,
        /// Its certificates, PEM.
        pem: String,
    },
    /// Exactly one certificate, by the SHA-256 of its DER form; time and names do not count.
    Pinned([u8; 32]),
}

/// What the server is told about the station (`Ice-*` or `icy-*` headers).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Station {
    /// Station name.
    pub name: String,
    /// One line about it.
    pub description: String,
    /// Genre.
    pub genre: String,
    /// The station's home page.
    pub homepage: String,
    /// Whether directories may list it; never on a fallback.
    pub public: bool,
}
