//! What a file is, by its content.

use std::fmt;

/// A container and codec that is decoded here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// RIFF/WAVE with linear PCM.
    Wav,
    /// FLAC in its own container.
    Flac,
    /// MPEG-1/2/2.5 layer III.
    Mp3,
    /// AAC (ISO/IEC 14496-3).
    Aac {
        /// Which tools it uses.
        profile: Profile,
        /// What it lies in.
        container: Container,
    },
    /// Vorbis in Ogg.
    Vorbis,
    /// Opus in Ogg (RFC 7845).
    Opus,
    /// FLAC in Ogg.
    OggFlac,
}

/// Profile of an AAC file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Low Complexity.
    Lc,
    /// With spectral band replication: half the rate in the core.
    He,
    /// With parametric stereo besides: mono in the core.
    HeV2,
    /// Another one that FDK decodes (more than two channels, 960 samples, low delay).
    Other,
}

/// What AAC lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Container {
    /// A header before every packet: `.aac`.
    Adts,
    /// ISO base media: `.m4a`, `.mp4`.
    Mp4,
}

impl Format {
    /// Whether files of this kind may have this extension (in lower case).
    pub(crate) fn may_be_called(self, extension: &str) -> bool {
        let names: &[&str] = match self {
            Self::Wav => &["wav", "wave", "bwf"],
            Self::Flac => &["flac"],
            Self::Mp3 => &["mp3", "mpga"],
            Self::Aac { container: Container::Adts, .. } => &["aac", "adts"],
            Self::Aac { container: Container::Mp4, .. } => &["m4a", "mp4", "m4b", "aac", "mov", "3gp"],
            Self::Vorbis => &["ogg", "oga"],
            Self::Opus => &["opus", "ogg", "oga"],
            Self::OggFlac => &["ogg", "oga", "flac"],
        };
        names.contains(&extension)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wav => f.write_str("WAV file"),
            Self::Flac => f.write_str("FLAC file"),
            Self::Mp3 => f.write_str("MP3 file"),
            Self::Aac { profile, container } => {
                f.write_str(match profile {
                    Profile::Lc => "AAC-LC ",
                    Profile::He => "HE-AAC ",
                    Profile::HeV2 => "HE-AAC v2 ",
                    Profile::Other => "AAC ",
                })?;
                f.write_str(match container {
                    Container::Adts => "file (ADTS)",
                    Container::Mp4 => "file (MP4)",
                })
            }
            Self::Vorbis => f.write_str("Ogg Vorbis file"),
            Self::Opus => f.write_str("Ogg Opus file"),
            Self::OggFlac => f.write_str("Ogg FLAC file"),
        }
    }
}
