//! Why a file is no emergency audio, or cannot be made ready, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::format::Format;

/// What went wrong with one file. Every message names the file and ends in its remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened or read.
    #[error("{}: the file cannot be read ({source}); {}", path.display(), reading(source))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// It is something else than a file.
    #[error("{}: this is {is}, not a file; give the path of an audio file", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
        /// A folder, a device.
        is: &'static str,
    },
    /// It has no bytes.
    #[error("{}: the file is empty (0 bytes); copy it again", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// Its content is no audio.
    #[error("{}: this is {is}, whatever its name says; give {WANTED}", path.display())]
    NotAudio {
        /// Which.
        path: PathBuf,
        /// What the content is.
        is: &'static str,
    },
    /// Audio of a kind that is not decoded here.
    #[error("{}: {what} is not played here; give {WANTED}", path.display())]
    Unsupported {
        /// Which.
        path: PathBuf,
        /// The kind.
        what: String,
    },
    /// It breaks off.
    #[error(
        "{}: the {format} breaks off {}{}; copy it again, from the original",
        path.display(),
        if found.is_zero() { "before any of it can be decoded".into() } else { format!("after {}", length(*found)) },
        declared.map(|whole| format!(" of {}", length(whole))).unwrap_or_default()
    )]
    Truncated {
        /// Which.
        path: PathBuf,
        /// What it is.
        format: Format,
        /// How much sound was there.
        found: Duration,
        /// How much there should be, if the file says so.
        declared: Option<Duration>,
    },
    /// Its content cannot be decoded.
    #[error("{}: the {format} is damaged ({what}); copy it again, or make it anew", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What it is.
        format: Format,
        /// What the decoder said, and where.
        what: String,
    },
    /// A decoder failed on it, which is that library's fault as well as the file's.
    #[error("{}: the file is damaged so that its decoder failed ({what}); make it anew, or give another", path.display())]
    Confusing {
        /// Which.
        path: PathBuf,
        /// The decoder's last words.
        what: String,
    },
    /// Longer than [`crate::LONGEST`].
    #[error(
        "{}: {} {} are longer than the {} that an emergency file may last; cut it, or give several files",
        path.display(),
        if *at_least { "at least" } else { "its" },
        length(*found),
        length(crate::LONGEST)
    )]
    TooLong {
        /// Which.
        path: PathBuf,
        /// Its length, or what was decoded until it was too much.
        found: Duration,
        /// Whether it may be longer still.
        at_least: bool,
    },
    /// Shorter than [`crate::SHORTEST`].
    #[error("{}: it lasts {:.2} s only; give at least {}", path.display(), found.as_secs_f64(), length(crate::SHORTEST))]
    TooShort {
        /// Which.
        path: PathBuf,
        /// Its length.
        found: Duration,
    },
    /// Nothing in it can be heard.
    #[error("{}: it is silent from beginning to end (nothing above -70 LUFS); give one that can be heard", path.display())]
    Silent {
        /// Which.
        path: PathBuf,
    },
    /// It was written to meanwhile.
    #[error("{}: the file changed while it was read; try again when it is complete", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// Somebody else makes the same ready form at this moment.
    #[error("{}: this ready form is being made already; wait for that", path.display())]
    Busy {
        /// The ready form.
        path: PathBuf,
    },
    /// No room for the ready form.
    #[error(
        "{}: no room for the ready form: {} MB are needed and {} MB free; remove something, or give a shorter file",
        folder.display(),
        needs.div_ceil(1_000_000),
        free / 1_000_000
    )]
    Full {
        /// Where it should lie.
        folder: PathBuf,
        /// Bytes, the reserve that is left to others included.
        needs: u64,
        /// Bytes.
        free: u64,
    },
    /// The ready form cannot be written.
    #[error("{}: the ready form cannot be written ({source}); {}", path.display(), writing(source))]
    Unwritable {
        /// What was written to.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A ready form that is not one, or no longer.
    #[error("{}: the ready form cannot be played ({what}); make it anew", path.display())]
    NotReady {
        /// The ready form.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// What helps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Another file, or the same one copied again.
    File,
    /// The box's disk needs somebody.
    Disk,
    /// The same again: the file was in use, or the ready form is to be made anew.
    Again,
}

impl Error {
    /// What helps against it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Unreadable { .. }
            | Self::NoFile { .. }
            | Self::Empty { .. }
            | Self::NotAudio { .. }
            | Self::Unsupported { .. }
            | Self::Truncated { .. }
            | Self::Damaged { .. }
            | Self::Confusing { .. }
            | Self::TooLong { .. }
            | Self::TooShort { .. }
            | Self::Silent { .. } => Kind::File,
            Self::Full { .. } | Self::Unwritable { .. } => Kind::Disk,
            Self::Changed { .. } | Self::Busy { .. } | Self::NotReady { .. } => Kind::Again,
        }
    }

    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unreadable { path, source }
    }
}

const WANTED: &str = "a WAV, FLAC, MP3, AAC, M4A, Ogg Vorbis or Opus file";

fn reading(error: &io::Error) -> &'static str {
    let is = |kind| error.kind() == kind;
    if is(io::ErrorKind::NotFound) {
        "compare the path, and upper and lower case"
    } else if is(io::ErrorKind::PermissionDenied) {
        "let the service's user read it (`chmod a+r FILE`)"
    } else {
        "copy it again; if that fails as well, the disk is failing"
    }
}

fn writing(error: &io::Error) -> &'static str {
    let is = |kind| error.kind() == kind;
    if is(io::ErrorKind::StorageFull) || is(io::ErrorKind::QuotaExceeded) {
        "the disk is full: remove something"
    } else if is(io::ErrorKind::ReadOnlyFilesystem) {
        "the disk is read-only: it is mounted so, or the system gave it up after errors"
    } else if is(io::ErrorKind::PermissionDenied) {
        "let the service's user write to its folder"
    } else if is(io::ErrorKind::NotFound) {
        "make the folder"
    } else {
        "the disk may be failing"
    }
}

/// `1:02:03` or `2:03` or `12.3 s`.
fn length(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds < 60 {
        format!("{:.1} s", span.as_secs_f64())
    } else if seconds < 3600 {
        format!("{}:{:02} min", seconds / 60, seconds % 60)
    } else {
        format!("{}:{:02}:{:02} h", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}
