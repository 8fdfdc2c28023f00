//! What can keep sound from coming in, and what to do about it.

use std::path::PathBuf;

use units::SampleRate;

/// Why an input cannot be opened, or went away for good. Every message ends in its remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such card or PCM at the moment. Not an end: a card may be plugged in later.
    #[error(
        "{device}: there is no such sound card ({cause}); plug it in, or compare with the names that `arecord -L` lists"
    )]
    Absent {
        /// As asked for.
        device: String,
        /// What ALSA or sysfs said.
        cause: String,
    },
    /// Somebody else captures from it. Not an end either.
    #[error(
        "{device}: another program holds the sound card; stop that program (`fuser -v /dev/snd/*` names it)"
    )]
    Busy {
        /// As asked for.
        device: String,
    },
    /// The device node may not be opened.
    #[error("{device}: no permission to open the sound card; add this user to the group `audio`")]
    Denied {
        /// As asked for.
        device: String,
    },
    /// The card is there and does not do what is wanted.
    #[error("{device}: the card does not offer {asked}; it offers {offered}; {remedy}")]
    Refused {
        /// As asked for.
        device: String,
        /// The parameter that was refused.
        asked: String,
        /// What it has instead.
        offered: String,
        /// Which setting to change.
        remedy: &'static str,
    },
    /// Any other refusal of ALSA.
    #[error("{device}: {what} failed: {cause}; try `arecord -D '{device}' -d 1 /dev/null`, which shows more")]
    Alsa {
        /// As asked for.
        device: String,
        /// The call.
        what: &'static str,
        /// The system's words.
        cause: String,
    },
    /// The device's name cannot be one.
    #[error("{device:?}: a sound card's name holds no zero byte; names are listed by `arecord -L`")]
    Name {
        /// As asked for.
        device: String,
    },
    /// The file cannot be read or decoded.
    #[error("{}: {what}; give a readable WAV, FLAC or MP3 file", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        what: String,
    },
    /// The file's sample rate is not the programme's.
    #[error(
        "{}: the file has {file} Hz, the programme {programme}; set the programme's rate to {file}, or convert the file \
         (`ffmpeg -i IN -ar {} OUT.flac`)",
        path.display(),
        programme.hz()
    )]
    FileRate {
        /// Which.
        path: PathBuf,
        /// The file's rate in Hz.
        file: u32,
        /// The programme's.
        programme: SampleRate,
    },
    /// The system refused a thread or a descriptor.
    #[error(
        "capture could not get {what} from the system ({cause}); raise the limits of the unit (TasksMax, LimitNOFILE)"
    )]
    System {
        /// What was wanted.
        what: &'static str,
        /// The system's words.
        cause: std::io::Error,
    },
    /// A setting that cannot be met.
    #[error("{what}")]
    Setting {
        /// What was found and what would be right.
        what: String,
    },
    /// The capture thread ended by itself. Our bug.
    #[error("the capture thread ended unexpectedly; restart the service and report this with its log")]
    Died,
}

impl Error {
    /// Whether it may heal by itself, so that the card is looked for instead of giving up.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Absent { .. } | Self::Busy { .. } => true,
            Self::Denied { .. }
            | Self::Refused { .. }
            | Self::Alsa { .. }
            | Self::Name { .. }
            | Self::File { .. }
            | Self::FileRate { .. }
            | Self::System { .. }
            | Self::Setting { .. }
            | Self::Died => false,
        }
    }
}
