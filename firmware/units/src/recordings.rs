//! The log recording as people see it: what is kept, what is missing in it, what was cut out. Part of the
//! [`Snapshot`](crate::snapshot::Snapshot) and of the local socket's language.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Instant, Rendition, WallTime};

/// The log recording as people see it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordingReport {
    /// Where it goes.
    pub folder: String,
    /// What is recorded.
    pub rendition: Rendition,
    /// How it goes.
    pub state: RecordingState,
    /// Bytes of all recordings.
    pub bytes: u64,
    /// How many there are.
    pub files: u64,
    /// When the oldest one begins.
    pub oldest: WallTime,
    /// Bytes of what is kept apart, around incidents and marked moments.
    pub kept_bytes: u64,
    /// Times packets were not recorded since the start.
    pub gaps: u64,
    /// What is wrong and what to do; `None` when nothing is.
    pub remedy: Option<String>,
}

/// How recording goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum RecordingState {
    /// It waits for packets, or for its first look at the disk.
    Waiting,
    /// It records.
    Recording {
        /// Since when.
        since: Instant,
    },
    /// It records, and the oldest recordings go before their days are over: the disk is full.
    Short {
        /// Since when it records.
        since: Instant,
    },
    /// The disk does not let it. What is sent meanwhile is a gap.
    Stopped {
        /// Since when.
        since: Instant,
    },
}

/// One recording: a file of whole packets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordingFile {
    /// Its name in the folder.
    pub name: String,
    /// When it begins.
    pub from: WallTime,
    /// When it ends; as far as it is recorded by now if it is open.
    pub until: WallTime,
    /// Seconds by which local time was ahead of UTC when it began.
    pub offset_s: i32,
    /// A time service vouches for these times.
    pub sure: bool,
    /// It is being recorded.
    pub open: bool,
    /// What it holds; `None` where its index is lost, and then it cannot be cut.
    pub rendition: Option<Rendition>,
    /// On the disk, with its index.
    pub bytes: u64,
    /// What is missing right before it and in it.
    pub missing: Vec<MissingReport>,
}

/// Where packets are missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MissingReport {
    /// From when on.
    pub from: WallTime,
    /// How long, in milliseconds.
    pub ms: u64,
    /// Why, in a few words.
    pub why: String,
}

/// A cut of the recordings: what to copy, one behind the other, to have one file that plays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutReport {
    /// What to copy.
    pub pieces: Vec<CutPiece>,
    /// How such a file's name ends: `mp3` or `aac`.
    pub ending: String,
    /// The sound in it, in milliseconds.
    pub ms: u64,
    /// Its two ends as they were understood, for people.
    pub span: String,
    /// What is missing inside.
    pub missing: Vec<MissingReport>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// Bytes of one recording: whole packets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutPiece {
    /// The file.
    pub path: String,
    /// Its first byte.
    pub from: u64,
    /// The first byte behind it.
    pub to: u64,
}
