//! What the deciding part asks of the disk, one step at a time, and what the disk answers.

use std::ops::Range;

use units::Instant;

use crate::shelf::{Clip, Entry};

/// One step. Each is done whole, or answered with a [`Fault`] and asked for again or given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Look through the folder: mend what was cut off, and answer with [`Seen`].
    Look,
    /// Make a recording: its index with this line, on the disk before the recording is made.
    Begin { stem: String, ending: &'static str, line: String },
    /// Write this part of the batch at a position of the recording.
    Write { at: u64, bytes: Range<usize> },
    /// See the recording onto the disk.
    Sync,
    /// Add a line to the index, on the disk after what was synced before.
    Note { line: String },
    /// Close the recording.
    Close,
    /// Let go of the recording, whatever state its files are in.
    Abandon,
    /// Delete a recording and its index; one that is gone is deleted.
    Delete { stem: String, ending: &'static str },
    /// Add a line to a closed recording's index, and give both another name.
    Rename { from: String, to: String, ending: &'static str, line: String },
    /// Copy what was recorded from one moment to another out of these recordings into a file of its own.
    Keep { name: String, from: Instant, to: Instant, out_of: Vec<(String, &'static str)> },
    /// Delete what was kept apart.
    DeleteClip { name: String },
    /// Tell people.
    Say { alarm: bool, text: String },
}

/// Why a step was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// There is no room (ENOSPC, EDQUOT).
    Full,
    /// Anything else, in words.
    Other(String),
}

/// What lies in the folder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) entries: Vec<Entry>,
    /// Oldest first.
    pub(crate) clips: Vec<Clip>,
    /// Bytes left on the disk, if it says so.
    pub(crate) free: Option<u64>,
}
