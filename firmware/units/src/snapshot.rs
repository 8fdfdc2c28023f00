//! What `mainstay-air` tells everybody: one [`Snapshot`] feeds page, lights, CLI and fleet, so they cannot disagree.
//! Beside it the few commands its local socket takes.
//!
//! The socket speaks JSON lines. A client sends one [`Request`] a line and reads [`Reply`] lines: one for every request,
//! except [`Command::Watch`], which is answered by snapshots until the client hangs up.
//! A field is added freely; one that changes its meaning raises [`PROTOCOL`].

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Dbfs, Frames, Instant, Lufs, Rendition, WallTime};

pub use crate::recordings::{
    CutPiece, CutReport, MissingReport, RecordingFile, RecordingReport, RecordingState,
};
pub use crate::tiers::{FaultReport, OrderReport, ProgrammeReport, TierCondition, TierOrder, TierReport};

/// Version of the socket's language.
pub const PROTOCOL: u32 = 1;

/// Where the socket lies unless told otherwise.
pub const SOCKET: &str = "/run/mainstay/air.sock";

/// Everything that is known about the box at one moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`PROTOCOL`] of the sender.
    pub protocol: u32,
    /// Version of `mainstay-air`.
    pub build: String,
    /// Monotonic time of the report; other instants in it are on the same clock.
    pub now: Instant,
    /// Time of day.
    pub wall: WallTime,
    /// When this process started.
    pub started: Instant,
    /// The station's name, as set.
    pub station: String,
    /// The sound that comes in.
    pub input: InputReport,
    /// What is on air, and what could be; `None` without an input.
    #[serde(default)]
    pub programme: Option<ProgrammeReport>,
    /// Levels of the programme; `None` with meters off.
    pub levels: Option<Levels>,
    /// What is encoded.
    pub renditions: Vec<RenditionReport>,
    /// The ways out, best first; none if none are set.
    #[serde(default)]
    pub uplinks: Vec<UplinkReport>,
    /// Where it goes.
    pub outputs: Vec<OutputReport>,
    /// The title on air, if any was set.
    pub title: Option<String>,
    /// The log recording; `None` where the settings ask for none.
    #[serde(default)]
    pub recording: Option<RecordingReport>,
    /// Process CPU time since the start, and resident memory.
    pub cost: Cost,
}

/// What the process costs the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// User plus system CPU time since the start, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory in KiB.
    pub resident_kib: u64,
}

/// The input and its capture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct InputReport {
    /// What was asked for: `hw:CARD=Device`, a file's path, `tone 1000 Hz`.
    pub name: String,
    /// How it is.
    pub state: InputState,
    /// Frames per second, as read back.
    pub rate_hz: u32,
    /// Channels of the programme (after the pick).
    pub channels: u8,
    /// Frames per wake-up.
    pub period: u32,
    /// Frames captured, by the input's own clock; silence that stood in for a lost card included.
    pub frames: Frames,
    /// Times frames were missing (overrun, lost card, full ring).
    pub gaps: u64,
    /// Frames missing in all gaps.
    pub gap_frames: Frames,
    /// Overruns among the gaps.
    pub xruns: u64,
    /// Whether the thread runs under real-time scheduling, in words.
    pub real_time: String,
    /// How fast the card's clock runs beside the system's. `None` for an input without a clock of its own (file, tone,
    /// stream), and until enough was seen.
    #[serde(default)]
    pub drift: Option<Drift>,
}

/// How much faster a card's clock runs than the system's monotonic clock, which follows the time servers' rate where
/// there are any.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Drift {
    /// Parts per million, the mean over the time it was watched for; above zero the card is fast. 1 ppm is 0.6 s a week.
    pub ppm: f64,
    /// What `ppm` may be off by, about 19 times in 20.
    pub uncertainty_ppm: f64,
    /// The time it was watched for.
    pub over: Duration,
}

/// How an input is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum InputState {
    /// Not opened yet.
    Starting,
    /// Frames arrive.
    Capturing,
    /// It is gone and being looked for; exact silence keeps the clock.
    Lost {
        /// When it went.
        since: Instant,
        /// What went wrong, and the remedy.
        why: String,
    },
}

/// Levels of the programme, measured over the last 100 ms unless said otherwise. One entry per channel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Levels {
    /// Highest sample.
    pub peak: Vec<Dbfs>,
    /// Root mean square.
    pub rms: Vec<Dbfs>,
    /// Highest inter-sample (true) peak, ITU-R BS.1770 annex 2.
    pub true_peak: Vec<Dbfs>,
    /// EBU R128 momentary loudness (400 ms).
    pub momentary: Option<Lufs>,
    /// EBU R128 short-term loudness (3 s).
    pub short_term: Option<Lufs>,
    /// EBU R128 integrated loudness, gated, over the bounded history.
    pub integrated: Option<Lufs>,
    /// The programme has been below the silence threshold for the set time.
    pub silent: bool,
    /// How long it has been below the threshold; zero when it is not.
    pub quiet_for: Duration,
    /// Samples at full scale were seen within the hold time.
    pub clipped: bool,
}

/// One encoding of the programme.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RenditionReport {
    /// What it is.
    #[serde(flatten)]
    pub rendition: Rendition,
    /// Packets encoded.
    pub packets: u64,
    /// Bytes encoded.
    pub bytes: u64,
}

/// One output: a primary, a fallback, or both.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OutputReport {
    /// Its name in the settings.
    pub name: String,
    /// Its mounts, primary first.
    pub mounts: Vec<MountReport>,
    /// How its two mounts work together; `None` where each is alone.
    #[serde(default)]
    pub hand_over: Option<HandOverReport>,
}

/// Where an output's listeners are, and what became of them so far.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HandOverReport {
    /// Which mount has the listeners.
    pub listeners_on: Role,
    /// What is being done, in a word: `calm`, `doubt`, `moving`, `away`, `returning`, `apart`.
    pub phase: String,
    /// The newest incidents, oldest first.
    pub incidents: Vec<Incident>,
}

/// One hand-over from its cause to its end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// The output.
    pub output: String,
    /// When the path was last known to be good.
    pub began: Instant,
    /// What was wrong.
    pub cause: String,
    /// From the last good moment to the decision, in milliseconds.
    pub detected_ms: u64,
    /// Body bytes of the mount that was left which its listeners have.
    pub cut: u64,
    /// How the listeners were moved.
    pub moved: String,
    /// From the last good moment to the next byte for listeners, as far as the box can tell, in milliseconds.
    pub pause_ms: u64,
    /// What the listeners lost, in milliseconds; `None` where the box cannot know.
    pub lost_ms: Option<u64>,
    /// When everything was as before.
    pub healed: Option<Instant>,
}

/// An incident as the log keeps it: an [`Incident`] in words that outlive a restart, when the box's clock begins anew.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentRecord {
    /// What is known of it. Its instants are on the clock of the run that is named.
    #[serde(flatten)]
    pub incident: Incident,
    /// Which run of `mainstay-air` saw it.
    pub run: String,
    /// Time of day at which it began.
    #[serde(default)]
    pub at: WallTime,
    /// Somebody asked for it.
    #[serde(default)]
    pub drill: bool,
    /// It is still under way.
    pub open: bool,
    /// From its beginning until everything was as before, in milliseconds; `None` while it is open, or where nobody saw its end.
    #[serde(default)]
    pub lasted_ms: Option<u64>,
}

/// What happens in a drill, as it happens.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "kebab-case")]
pub enum DrillNews {
    /// What is going to be done, and what it does to listeners; one line each.
    Plan {
        /// The lines.
        lines: Vec<String>,
    },
    /// Something happened.
    Told {
        /// Milliseconds since the cut; `None` before it.
        after_ms: Option<u64>,
        /// What.
        what: String,
    },
    /// Nothing new, but it goes on.
    Going {
        /// Milliseconds since the cut; `None` before it.
        after_ms: Option<u64>,
        /// What is being waited for.
        what: String,
        /// What the listener has heard up to now.
        heard: Heard,
    },
    /// It is over.
    Ended(DrillReport),
}

/// What came of a drill.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DrillReport {
    /// The output.
    pub output: String,
    /// How long the cut lasted, in milliseconds: it ends with the connection that was cut.
    pub cut_ms: u64,
    /// What a listener heard, from before the cut to the end.
    pub heard: Heard,
    /// Sound that a player holds when it has listened for a while, in milliseconds: shorter pauses are not heard.
    pub buffer_ms: u64,
    /// The hand-over that came of it.
    pub incident: Option<Incident>,
    /// What is still to come: one line each.
    pub open: Vec<String>,
}

impl DrillReport {
    /// Whether a listener noticed nothing: every byte once and whole, the connection kept, no pause longer than his buffer.
    #[must_use]
    pub const fn unheard(&self) -> bool {
        self.heard.whole() && self.heard.longest_pause_ms <= self.buffer_ms
    }
}

/// What a listener connection of the box's own heard, counted from the positions of the bytes in the encoder's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Bytes of ours.
    pub bytes: u64,
    /// Bytes that never came.
    pub lost_bytes: u64,
    /// The sound in them, in milliseconds.
    pub lost_ms: u64,
    /// Bytes that came twice.
    pub repeated_bytes: u64,
    /// Packets that came in parts.
    pub torn: u64,
    /// Bytes that are not ours.
    pub strange_bytes: u64,
    /// Times the stream went over from one rendition to another.
    pub changes: u64,
    /// Times it jumped, or could not be followed.
    pub jumps: u64,
    /// Longest time without a byte, in milliseconds.
    pub longest_pause_ms: u64,
    /// Longest time without a byte before the cut, in milliseconds.
    pub calm_pause_ms: u64,
    /// The server ended the connection.
    pub ended: bool,
}

impl Heard {
    /// Whether every byte came once and whole, on a connection that was kept.
    #[must_use]
    pub const fn whole(&self) -> bool {
        self.lost_bytes == 0
            && self.repeated_bytes == 0
            && self.torn == 0
            && self.strange_bytes == 0
            && self.jumps == 0
            && !self.ended
    }
}

/// Which of an output's two mounts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The mount listeners are given.
    Primary,
    /// The mount they are moved to when the primary goes.
    Fallback,
}

impl core::fmt::Display for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Fallback => "fallback",
        })
    }
}

/// One mount as the box sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MountReport {
    /// Primary or fallback.
    pub role: Role,
    /// Address without secrets: `http://host:8000/live`.
    pub url: String,
    /// What it carries.
    pub rendition: Rendition,
    /// Where it stands.
    pub state: MountState,
    /// Since when.
    pub since: Instant,
    /// What is wrong and what to do, in one sentence; `None` when nothing is.
    pub remedy: Option<String>,
    /// The server, as its answers name it (`Icecast 2.4.4`).
    pub server: Option<String>,
    /// Address the source is connected to, while it is.
    pub peer: Option<String>,
    /// Body bytes the server acknowledged, over all connections.
    pub acked: u64,
    /// Body bytes handed to the kernel, over all connections.
    pub written: u64,
    /// How far the mount is behind the encoder, in milliseconds.
    pub lag_ms: u64,
    /// Bytes left out because the mount was too far behind.
    pub skipped: u64,
    /// Times a connection was accepted.
    pub accepted: u64,
    /// Times a connection was lost or refused.
    pub failures: u64,
    /// Longest time between two writes on the current connection, in milliseconds.
    pub longest_pause_ms: u64,
    /// Bytes a day at the nominal bitrate.
    pub bytes_per_day: u64,
    /// The title this mount carries, once the server took it.
    pub title: Option<String>,
}

/// Where a mount stands. Only `Live` and `Verified` are on air.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountState {
    /// Waiting for the next attempt.
    Waiting,
    /// Resolving, connecting, securing or greeting.
    Connecting,
    /// The server took the source; no byte is acknowledged yet.
    Accepted,
    /// The server acknowledges bytes.
    Live,
    /// Live, and the server's own status or a listener probe shows it.
    Verified,
    /// Connected and ready, and silent until it is needed.
    Held,
    /// Connected, but bytes are not acknowledged.
    Stalled,
    /// The server said no, and only a person can change that.
    Refused,
    /// Another source holds the mount.
    Occupied,
}

impl MountState {
    /// The word shown to people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Accepted => "accepted",
            Self::Live => "live",
            Self::Verified => "verified",
            Self::Held => "held",
            Self::Stalled => "stalled",
            Self::Refused => "refused",
            Self::Occupied => "occupied",
        }
    }

    /// Whether listeners get the programme as far as the box can prove.
    #[must_use]
    pub const fn on_air(self) -> bool {
        matches!(self, Self::Live | Self::Verified)
    }
}

/// One uplink as the box sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UplinkReport {
    /// Its name in the settings.
    pub name: String,
    /// The network interface.
    pub interface: String,
    /// Whether its bytes cost money.
    pub metered: bool,
    /// Where it stands.
    pub state: UplinkState,
    /// Since when.
    pub since: Instant,
    /// What is wrong; `None` when nothing is.
    pub reason: Option<String>,
    /// What to do about it, where a person can do anything.
    pub remedy: Option<String>,
    /// Its own addresses, IPv4 first.
    pub addresses: Vec<String>,
    /// The gateway, if there is one.
    pub gateway: Option<String>,
    /// What could make two uplinks fail as one.
    pub warnings: Vec<String>,
}

/// Where an uplink stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkState {
    /// It carries nothing.
    Down,
    /// Its link is there; checks are under way.
    Checking,
    /// It works.
    Up,
    /// It worked, and something goes unanswered.
    Suspect,
}

impl UplinkState {
    /// The word shown to people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Checking => "checking",
            Self::Up => "up",
            Self::Suspect => "suspect",
        }
    }
}

/// One line from a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// [`PROTOCOL`] of the client.
    pub protocol: u32,
    /// What it wants.
    #[serde(flatten)]
    pub command: Command,
}

/// What a client may ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// One snapshot.
    Status,
    /// A snapshot now and then every `every_ms` (50 ms at the least), until the client hangs up.
    Watch {
        /// Milliseconds between snapshots.
        every_ms: u64,
    },
    /// Sets the title on all mounts.
    Title {
        /// The text, UTF-8.
        text: String,
    },
    /// Moves an output's listeners, now or later today.
    Order {
        /// What is wanted.
        wanted: Wanted,
        /// The output.
        output: String,
        /// The next `hh:mm:ss` of the box's local time; at once without.
        #[serde(default)]
        at: Option<String>,
    },
    /// Reads the settings again.
    Reload,
    /// Reads a settings file and says what a reload from it would interrupt; changes nothing.
    Check {
        /// The file, as the box sees it.
        path: String,
    },
    /// The newest log lines, oldest first.
    Log {
        /// At most so many.
        lines: u32,
    },
    /// The last ten minutes of delivery events, for `cargo xtask replay`.
    Events,
    /// The hand-overs that are remembered, also from before a restart; oldest first.
    Incidents,
    /// What is recorded, and what is missing in it.
    Recordings,
    /// Finds what was sent from one time to another in the recordings. Whoever asked copies it: the box has other work.
    Cut {
        /// Local time (`2026-10-25 14:00`, or `14:00` today), or with `Z` or an offset behind it.
        from: String,
        /// The same.
        to: String,
    },
    /// Keeps the sound around this moment apart from the other recordings.
    Mark {
        /// What for; becomes part of the file's name.
        text: String,
    },
    /// Cuts an output's primary on purpose, and listens. Answered by [`Reply::Drill`] lines up to [`DrillNews::Ended`]; a
    /// client that hangs up ends the cut.
    Drill {
        /// The output's name.
        output: String,
        /// How long the cut lasts at the most.
        seconds: u64,
        /// Also where listeners will notice.
        #[serde(default)]
        force: bool,
    },
    /// Puts a tier on air, or leaves that to the box again.
    Tier(TierOrder),
    /// Listens to sound and says what to set. Answered by [`Reply::Surveying`] lines and one [`Reply::Done`] (or `Refused`).
    Measure(Measure),
    /// Finds out what a server is. Answered by [`Reply::Surveying`] lines and one [`Reply::Surveyed`] (or `Refused`).
    Survey(SurveyOrder),
}

/// What may be wanted of an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Its listeners on the fallback, until they are brought back.
    Leave,
    /// Its listeners on the primary.
    Return,
    /// On air, over somebody else's programme.
    Take,
    /// Off air again, and the other programme back.
    Release,
}

/// What is to be listened to, and for what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "measure", rename_all = "kebab-case")]
pub enum Measure {
    /// The line itself, with nothing playing: its noise, and the silence threshold that fits it.
    Floor {
        /// For how long.
        seconds: u64,
    },
    /// The programme: the trim that brings it to a loudness.
    Trim {
        /// For how long.
        seconds: u64,
        /// The loudness wanted, in hundredths of a LUFS.
        target: i32,
    },
    /// The programme and another encoder's stream at once: the trim that makes them equally loud.
    Match {
        /// The other's address.
        url: String,
        /// For how long.
        seconds: u64,
    },
}

/// What is to be surveyed, and how far it may go.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SurveyOrder {
    /// An output of the settings, or the address of a mount.
    pub target: String,
    /// With an address: the path of its fallback mount.
    pub fallback: Option<String>,
    /// With an address: the source user, if it is not `source`.
    pub user: Option<String>,
    /// With an address: the source password. It goes over the local socket as it is, and nowhere else.
    #[serde(serialize_with = "revealed")]
    pub password: Option<crate::Secret>,
    /// With an address: bitrate of what the mount will carry, in kbit/s.
    pub kbit: Option<u32>,
    /// The uplink to use, by its name; else the first that works.
    pub uplink: Option<String>,
    /// Open no source: only read pages.
    pub careful: bool,
    /// Wait until the server drops a silent source, up to two minutes.
    pub slow: bool,
    /// An output of the settings may leave its mounts for the time of the survey, if nobody listens.
    pub off_air: bool,
}

fn revealed<S: serde::Serializer>(secret: &Option<crate::Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(crate::Secret::reveal).serialize(serializer)
}

/// What a survey found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SurveyReport {
    /// As the server names itself; empty if it does not.
    pub server: String,
    /// Its kind: `icecast-2.4`, `icecast-2.5`, `icecast-kh`, `harbor`, `shoutcast-1`, `generic`.
    pub kind: String,
    /// One fact each.
    pub findings: Vec<SurveyFinding>,
    /// Lines for the settings file.
    pub settings: Vec<String>,
    /// What to change on the server, as lines for its configuration.
    pub headend: Vec<String>,
}

/// One fact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SurveyFinding {
    /// What it means for the box.
    pub sight: SurveySight,
    /// In a sentence.
    pub text: String,
}

/// What a fact means for the box.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SurveySight {
    /// As it should be.
    Good,
    /// Something to change.
    Bad,
    /// Neither, or not known.
    Note,
}

/// One line to a client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To `Status` and `Watch`.
    Snapshot(alloc::boxed::Box<Snapshot>),
    /// To `Title`, `Reload` and `Check`: done, and what changed (or would).
    Done {
        /// One line each.
        changes: Vec<String>,
    },
    /// To `Log`.
    Log {
        /// The lines.
        lines: Vec<String>,
    },
    /// To `Events`: the recording, as its own JSON document.
    Events {
        /// What `cargo xtask replay` reads.
        recording: String,
    },
    /// To `Incidents`.
    Incidents {
        /// Oldest first.
        incidents: Vec<IncidentRecord>,
        /// Why some may be missing; `None` when none are.
        missing: Option<String>,
    },
    /// To `Recordings`.
    Recordings {
        /// Where they lie.
        folder: String,
        /// In the order in which they were made.
        recordings: Vec<RecordingFile>,
    },
    /// To `Cut`.
    Cut(CutReport),
    /// To `Drill`: one of several.
    Drill(alloc::boxed::Box<DrillNews>),
    /// To `Survey` and `Measure`, again and again until it is over: what is being looked at.
    Surveying {
        /// In a few words.
        what: String,
    },
    /// To `Survey`, at its end.
    Surveyed(SurveyReport),
    /// The request was refused and nothing changed.
    Refused {
        /// What was wrong and what would be right; may be several lines.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_socket_language_is_flat_json() {
        let request = Request { protocol: PROTOCOL, command: Command::Title { text: "Bach".to_string() } };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"protocol":1,"command":"title","text":"Bach"}"#);
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"protocol":1,"command":"status"}"#).unwrap().command,
            Command::Status
        );
        let drill = Command::Drill { output: "main".to_string(), seconds: 10, force: false };
        let line = r#"{"protocol":1,"command":"drill","output":"main","seconds":10}"#;
        assert_eq!(serde_json::from_str::<Request>(line).unwrap().command, drill);
        let news =
            Reply::Drill(alloc::boxed::Box::new(DrillNews::Told { after_ms: None, what: "x".to_string() }));
        let line = serde_json::to_string(&news).unwrap();
        assert_eq!(line, r#"{"reply":"drill","news":"told","after_ms":null,"what":"x"}"#);
        assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), news);
    }

    #[test]
    fn an_incident_of_an_older_version_is_still_understood() {
        let line = r#"{"output":"main","began":5,"cause":"c","detected_ms":7,"cut":1400,"moved":"m","pause_ms":9,
            "lost_ms":0,"healed":null,"run":"a","open":true}"#;
        let record: IncidentRecord = serde_json::from_str(line).unwrap();
        assert_eq!((record.at, record.drill, record.lasted_ms), (WallTime::Unknown, false, None));
        let again = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<IncidentRecord>(&again).unwrap(), record);
    }
}
