//! What goes into the core and what comes out: the whole vocabulary between it and the sockets.
//!
//! Body bytes never pass here, only positions in a rendition, so that ten minutes of events are small and replay exactly.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::snapshot::MountState;
use units::{BytePos, Frames};

use crate::config::{Config, MountId, Trust};
pub use crate::uplink::UplinkId;

/// One connection or attempt at one; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkId(pub u32);

/// A rendition's place in [`crate::Delivery::renditions`]; stable for the life of the core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RenditionId(pub u16);

/// Something happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The encoder yielded a packet: the rendition now ends here. `end` is a packet boundary.
    Produced {
        /// Which rendition.
        rendition: RenditionId,
        /// One past its newest byte.
        end: BytePos,
        /// Frames of programme up to here.
        frames: Frames,
        /// A decoder that comes from another rendition may begin with this packet.
        entry: bool,
        /// The rendition's next packet follows at once: nothing is written for this one alone.
        more: bool,
    },
    /// Names resolved, in the resolver's order; empty means that the name has no address.
    Resolved {
        /// The attempt.
        link: LinkId,
        /// All addresses, both families.
        addresses: Vec<IpAddr>,
    },
    /// TCP is connected; a TLS handshake may follow.
    Reached {
        /// The attempt.
        link: LinkId,
    },
    /// Bytes may be sent (the TLS handshake is over, if there was one).
    Connected {
        /// The connection.
        link: LinkId,
    },
    /// A certificate was let through although its dates do not hold, because the clock is unknown.
    DateIgnored {
        /// The connection.
        link: LinkId,
    },
    /// The server answered the source request, or spoke later on.
    Replied {
        /// The connection.
        link: LinkId,
        /// What it said.
        reply: Reply,
    },
    /// The outcome of a [`Output::Write`].
    Wrote {
        /// The connection.
        link: LinkId,
        /// Body bytes taken now.
        bytes: u32,
        /// Body bytes that the server's kernel acknowledged on this connection so far.
        acked: u64,
        /// Not everything was taken; [`Input::Writable`] will follow.
        blocked: bool,
    },
    /// There is room again.
    Writable {
        /// The connection.
        link: LinkId,
    },
    /// The outcome of a [`Output::Measure`].
    Measured {
        /// The connection.
        link: LinkId,
        /// Body bytes acknowledged on this connection so far.
        acked: u64,
        /// How the path looks.
        path: PathSight,
    },
    /// The server closed the source connection, or it broke.
    Closed {
        /// The connection.
        link: LinkId,
        /// What broke it; `None` for an orderly end.
        failure: Option<Failure>,
    },
    /// An attempt, or a question, failed before an answer.
    Failed {
        /// The attempt.
        link: LinkId,
        /// How.
        failure: Failure,
    },
    /// A [`Output::Ask`] was answered.
    Answered {
        /// The question.
        link: LinkId,
        /// The answer.
        answer: Answer,
    },
    /// A [`Output::Listen`] got bytes that are ours: this piece of a rendition, which goes on where the last one of the same
    /// link ended, or begins anew.
    Heard {
        /// The probe.
        link: LinkId,
        /// Which rendition.
        rendition: RenditionId,
        /// First byte.
        from: BytePos,
        /// One past the last.
        upto: BytePos,
    },
    /// Something happened to an uplink.
    Uplink(crate::uplink::Input),
    /// The programme pauses, or does not any more: listeners who are moved in a pause notice nothing.
    Pausing(bool),
    /// Somebody wants the listeners moved; see [`crate::Delivery::may`].
    Order(Order),
    /// A new title for all mounts.
    Title(String),
    /// New settings.
    Configure(Box<Config>),
    /// Nothing but time.
    Tick,
}

/// What a person may ask of an output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Move its listeners to the fallback and leave them there (maintenance of what the primary goes through).
    Leave {
        /// The output's name.
        output: String,
    },
    /// Bring them back to the primary now.
    GiveBack {
        /// The output's name.
        output: String,
    },
    /// Go live on an output that is on air only while it is taken.
    Take {
        /// The output's name.
        output: String,
    },
    /// Hand its listeners back to what the server falls back to.
    Release {
        /// The output's name.
        output: String,
    },
}

impl Order {
    /// The output that it is about.
    #[must_use]
    pub fn output(&self) -> &str {
        match self {
            Self::Leave { output }
            | Self::GiveBack { output }
            | Self::Take { output }
            | Self::Release { output } => output,
        }
    }
}

/// Something is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Look the name up; answer with [`Input::Resolved`] or [`Input::Failed`].
    Resolve {
        /// The attempt.
        link: LinkId,
        /// Through which uplink; `None` is unbound.
        uplink: Option<UplinkId>,
        /// Name or literal address.
        host: String,
    },
    /// Connect a source; answer with `Reached`, then `Connected`, or `Failed`.
    Connect {
        /// The attempt.
        link: LinkId,
        /// Through which uplink; `None` is unbound.
        uplink: Option<UplinkId>,
        /// Where to.
        address: SocketAddr,
        /// TLS, if wanted.
        tls: Option<Tls>,
        /// How its answers are to be read.
        talk: Talk,
        /// How long the server keeps a source that is silent: the kernel gives up a little later.
        kept: Duration,
    },
    /// Send these bytes (a request head) on a connected source, before any body.
    Send {
        /// The connection.
        link: LinkId,
        /// The bytes. They hold secrets: never log them.
        bytes: Vec<u8>,
    },
    /// Write rendition bytes `from..to` as body, as many as the socket takes; answer with `Wrote`.
    Write {
        /// The connection.
        link: LinkId,
        /// Which rendition.
        rendition: RenditionId,
        /// First byte.
        from: BytePos,
        /// One past the last.
        to: BytePos,
    },
    /// Send the header pages of the Ogg stream that holds at a position, before any of its bytes: see [`crate::Backlog::head`].
    /// They do not count as body.
    Head {
        /// The connection.
        link: LinkId,
        /// Which rendition.
        rendition: RenditionId,
        /// Where it goes on.
        at: BytePos,
        /// Where it was before, if it was anywhere: what holds there too is not sent again.
        after: Option<BytePos>,
    },
    /// Write so many zero bytes as body; answer with `Wrote`.
    Fill {
        /// The connection.
        link: LinkId,
        /// How many.
        bytes: u32,
    },
    /// Say how much is acknowledged; answer with `Measured`.
    Measure {
        /// The connection.
        link: LinkId,
    },
    /// Give the link up. No input about it is expected any more, and any that comes is ignored.
    Close {
        /// The attempt or connection.
        link: LinkId,
    },
    /// Connect to `address`, send `request` (or wait for [`Output::Request`]), read one answer, close; answer with `Answered`
    /// or `Failed`.
    Ask {
        /// The question.
        link: LinkId,
        /// Through which uplink; `None` is unbound.
        uplink: Option<UplinkId>,
        /// Where to: always the address that the source is connected to.
        address: SocketAddr,
        /// TLS, if wanted.
        tls: Option<Tls>,
        /// The request. It holds secrets: never log it. `None`: connect and secure, and wait for the request.
        request: Option<Vec<u8>>,
        /// What to make of the answer.
        question: Question,
        /// How long the whole may take.
        patience: Duration,
    },
    /// The request of an [`Output::Ask`] that was opened without one.
    Request {
        /// The question.
        link: LinkId,
        /// It holds secrets: never log it.
        request: Vec<u8>,
    },
    /// Connect to `address`, send `request`, and say what of the renditions is heard, until closed; `Heard`, then `Failed` or
    /// `Closed` at its end.
    Listen {
        /// The probe.
        link: LinkId,
        /// Through which uplink; `None` is unbound.
        uplink: Option<UplinkId>,
        /// Where to: always the address that the source is connected to.
        address: SocketAddr,
        /// TLS, if wanted.
        tls: Option<Tls>,
        /// The request.
        request: Vec<u8>,
        /// What may be heard.
        renditions: Vec<RenditionId>,
    },
    /// Something is to be done about an uplink.
    Uplink(crate::uplink::Output),
    /// Tell people: one transition.
    Log(Transition),
    /// Tell people what a hand-over does.
    Tell(Telling),
}

/// One line about an output's hand-over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Telling {
    /// Which output.
    pub output: String,
    /// What happened.
    pub what: String,
    /// Whether somebody should be woken.
    pub alarm: bool,
}

/// What the kernel knows of a connection's path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PathSight {
    /// Segments are out that are not acknowledged.
    pub in_flight: bool,
    /// The other side takes nothing: it is stalled, and the path is not to blame.
    pub zero_window: bool,
    /// Times in a row that the oldest segment was sent again.
    pub retransmits: u8,
    /// Round trip, smoothed, in microseconds.
    pub rtt_us: u32,
}

/// How a connection is to be secured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// The name the certificate must carry.
    pub name: String,
    /// Whose word counts.
    pub trust: Trust,
}

/// How a source's answers are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Talk {
    /// HTTP status lines.
    Http,
    /// `OK2`, `icy-caps`, or a sentence.
    Shoutcast,
}

/// What to make of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// A title was sent.
    Title,
    /// Is this mount in the status list?
    Status {
        /// The mount's path.
        path: String,
    },
    /// Who is the source of this mount?
    Source {
        /// The mount's path.
        path: String,
    },
    /// The mount's source is to be ended.
    Evict,
    /// Listen to the mount and find the bytes in this rendition.
    Probe {
        /// Which rendition ours would be.
        rendition: RenditionId,
    },
}

/// What a server said to a source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The HTTP status, or zero where there is none (Shoutcast).
    pub status: u16,
    /// What it means for a source.
    pub verdict: Verdict,
    /// The `Server` header, cut to 64 characters.
    pub server: Option<String>,
}

/// What an answer means for a source. Table: `facts` of the protocols; 2.4 tells its 403s apart by text only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// `100`, `200` or `OK2`: go.
    Go,
    /// Wrong user or password.
    Unauthorised,
    /// Another source (perhaps our own dead one) holds the mount.
    InUse,
    /// The server's limit of sources is reached.
    TooManySources,
    /// No or unsupported content type.
    ContentType,
    /// The server is full or busy.
    Busy,
    /// The credentials were used too often.
    TooOften,
    /// There is no such mount.
    NoSuchMount,
    /// The request was not understood or not allowed (method, path).
    Rejected,
    /// It points elsewhere; sources do not follow.
    Redirected,
    /// It is no answer of a streaming server.
    Nonsense,
}

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The server took the title.
    TitleTaken,
    /// It did not.
    TitleRefused {
        /// HTTP status.
        status: u16,
    },
    /// The status list shows the mount.
    Listed {
        /// Seconds since its source started, by the server's own clock; `None` where the list does not tell.
        age: Option<u64>,
    },
    /// The status list does not show the mount.
    NotListed,
    /// There is no status list here.
    NoStatus {
        /// HTTP status.
        status: u16,
    },
    /// The mount's source.
    Source {
        /// Body bytes that the server read from it, at most a few seconds old.
        read: Option<u64>,
        /// What it calls itself.
        agent: Option<String>,
        /// How many listen to the mount.
        listeners: Option<u64>,
        /// Where the server sees it come from.
        address: Option<IpAddr>,
    },
    /// The mount has no source.
    NoSource,
    /// The mount's source was ended.
    Evicted,
    /// This user may not ask or do that.
    Forbidden {
        /// HTTP status.
        status: u16,
    },
    /// The probe heard our bytes.
    Heard {
        /// Where in the rendition the newest of them ends.
        upto: BytePos,
    },
    /// The probe heard something that we did not send.
    HeardForeign,
    /// The probe got no sound.
    HeardNothing {
        /// HTTP status.
        status: u16,
    },
}

/// Why an attempt or a connection failed, below HTTP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The name does not exist.
    NoSuchName,
    /// No name server answered.
    NoNameServer,
    /// Nothing listens there.
    ConnectionRefused,
    /// No way there.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// Reset by the other side.
    Reset,
    /// The certificate is signed by nobody we trust.
    UnknownAuthority,
    /// The certificate is for another name.
    WrongName,
    /// The certificate's dates do not hold.
    WrongDate,
    /// The certificate is not the pinned one.
    PinMismatch,
    /// The certificate, or what it is to be judged by, cannot be used.
    BadCertificate(String),
    /// The other side does not speak TLS, or breaks it.
    Tls(String),
    /// This machine refused.
    Local(String),
}

impl Failure {
    /// Whether the far side said something: then backoff applies. Silence belongs to the uplink.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        match self {
            Self::NoSuchName
            | Self::ConnectionRefused
            | Self::Reset
            | Self::UnknownAuthority
            | Self::WrongName
            | Self::WrongDate
            | Self::PinMismatch
            | Self::BadCertificate(_)
            | Self::Tls(_) => true,
            Self::NoNameServer | Self::Unreachable | Self::TimedOut | Self::Local(_) => false,
        }
    }

    /// Whether only a person can put it right.
    #[must_use]
    pub const fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::UnknownAuthority
                | Self::WrongName
                | Self::WrongDate
                | Self::PinMismatch
                | Self::BadCertificate(_)
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchName => f.write_str("the host name does not exist; check its spelling"),
            Self::NoNameServer => f.write_str("no name server answered; check the network"),
            Self::ConnectionRefused => f.write_str("nothing listens on that port; is the server running, is the port right?"),
            Self::Unreachable => f.write_str("there is no way to that address; check the network"),
            Self::TimedOut => f.write_str("no answer in time; check the network and the server's firewall"),
            Self::Reset => f.write_str("the connection was reset"),
            Self::UnknownAuthority => f.write_str(
                "its certificate is signed by nobody this box trusts; give the authority's file (tls.ca) or pin the certificate",
            ),
            Self::WrongName => f.write_str("its certificate is for another name; use the name on the certificate, or pin it"),
            Self::WrongDate => f.write_str("its certificate is expired or not yet valid; renew it, or pin it"),
            Self::PinMismatch => {
                f.write_str("its certificate is not the pinned one; if it was renewed, pin the new one")
            }
            Self::BadCertificate(what) => write!(f, "its certificate cannot be judged: {what}"),
            Self::Tls(what) => write!(f, "TLS failed ({what}); does this port speak TLS?"),
            Self::Local(what) => write!(f, "this machine refused: {what}"),
        }
    }
}

/// One change of a mount's state, said once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transition {
    /// Which mount.
    pub mount: MountId,
    /// State before.
    pub from: MountState,
    /// State after.
    pub to: MountState,
    /// What happened, and where it helps the remedy.
    pub why: String,
    /// Whether somebody should be woken: said at most once for one trouble.
    pub alarm: bool,
}
