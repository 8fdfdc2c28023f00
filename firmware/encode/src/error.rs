//! What can go wrong, and what to do about it.

use units::{Codec, Rendition};

/// Why an encoder did not start or did not go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The library would have used another value than the one asked for. Change the settings.
    #[error("{rendition}: {what} {asked} cannot be had: the encoder would silently use {used}; {remedy}")]
    Changed {
        /// What was asked for as a whole.
        rendition: Rendition,
        /// Which property.
        what: &'static str,
        /// Its value in the settings, with its unit.
        asked: String,
        /// The value the library would have used, with its unit.
        used: String,
        /// What would be right.
        remedy: String,
    },
    /// Parametric stereo codes the difference of two channels; there is nothing to code in one.
    #[error("{0}: he-aac-v2 needs stereo; use he-aac for mono")]
    NeedsStereo(Rendition),
    /// The library refused to start, at the step named.
    #[error("{rendition}: {library} refused {step} (code {code}); change the bitrate or the codec")]
    Start {
        /// What was asked for.
        rendition: Rendition,
        /// `LAME`, `FDK`, `libvorbis`, `libopus` or `rubato`.
        library: &'static str,
        /// The setting or call.
        step: &'static str,
        /// The library's own code.
        code: i64,
    },
    /// The library failed in the middle of the programme. Start a new encoder.
    #[error("{codec}: the encoder failed (code {code}); it has to be started anew")]
    Encode {
        /// Which codec.
        codec: Codec,
        /// The library's own code.
        code: i64,
    },
    /// The library's bytes are not one whole packet of this rendition: our bug, or a broken library. Never sent.
    #[error(
        "{rendition}: {bytes} bytes from the encoder are no packet of it; report this, start the encoder anew"
    )]
    Torn {
        /// What was asked for.
        rendition: Rendition,
        /// How many bytes could not be read as packets.
        bytes: usize,
    },
    /// The caller passed part of a frame: our bug.
    #[error("{samples} samples are no whole number of frames of {channels} channels")]
    Ragged {
        /// Samples passed.
        samples: usize,
        /// Channels of the rendition.
        channels: usize,
    },
    /// The caller went on after the end: our bug.
    #[error("the encoder was finished; start a new one")]
    Finished,
}
