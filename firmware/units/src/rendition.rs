//! What a mount carries: codec, rate, channels, bitrate, and positions in its bytes.

use core::fmt;
use core::num::NonZeroU32;
use core::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

use crate::{Channels, SampleRate};

/// A codec that the box encodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// MPEG-1 Layer III, constant bitrate.
    Mp3,
    /// AAC-LC in ADTS.
    AacLc,
    /// HE-AAC (LC core at half rate with SBR) in ADTS, implicitly signalled.
    HeAac,
    /// HE-AACv2 (mono core with SBR and parametric stereo) in ADTS, implicitly signalled.
    #[serde(rename = "he-aac-v2")]
    HeAacV2,
    /// Vorbis in Ogg, managed around its bitrate.
    Vorbis,
    /// Opus in Ogg (RFC 7845), constrained variable bitrate; always at 48 kHz.
    Opus,
}

impl Codec {
    /// Frames of sound in one packet, at the rendition's rate (ISO 11172-3: 1152; ISO 14496-3: 1024, doubled by SBR). A packet of
    /// the Ogg kinds is one page (RFC 3533): of two Opus packets (40 ms), or of what Vorbis makes of 2304 frames, as long as two
    /// packets of MP3.
    #[must_use]
    pub const fn frames_per_packet(self) -> u32 {
        match self {
            Self::Mp3 => 1152,
            Self::AacLc => 1024,
            Self::HeAac | Self::HeAacV2 => 2048,
            Self::Vorbis => 2304,
            Self::Opus => 1920,
        }
    }

    /// Whether it comes in Ogg: pages of a chain of streams. A connection then begins with the header pages of the stream that it
    /// joins, and titles are comments in there.
    #[must_use]
    pub const fn is_ogg(self) -> bool {
        match self {
            Self::Mp3 | Self::AacLc | Self::HeAac | Self::HeAacV2 => false,
            Self::Vorbis | Self::Opus => true,
        }
    }

    /// The MIME type a source announces (`audio/aacp` for the HE kinds, as players expect; for Ogg the one that Icecast 2.4 and
    /// 2.5 and every browser know, RFC 5334).
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::AacLc => "audio/aac",
            Self::HeAac | Self::HeAacV2 => "audio/aacp",
            Self::Vorbis | Self::Opus => "audio/ogg",
        }
    }

    /// The name used in settings and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::AacLc => "aac-lc",
            Self::HeAac => "he-aac",
            Self::HeAacV2 => "he-aac-v2",
            Self::Vorbis => "vorbis",
            Self::Opus => "opus",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bits per second; never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BitRate(NonZeroU32);

impl BitRate {
    /// A bitrate in bits per second; `None` for zero.
    #[must_use]
    pub const fn from_bits(bits_per_second: u32) -> Option<Self> {
        match NonZeroU32::new(bits_per_second) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// A bitrate in kbit/s (1000 bits per second); `None` for zero or more than a `u32` of bits holds.
    #[must_use]
    pub const fn from_kbit(kbit_per_second: u32) -> Option<Self> {
        match kbit_per_second.checked_mul(1000) {
            Some(bits) => Self::from_bits(bits),
            None => None,
        }
    }

    /// Bits per second.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0.get()
    }

    /// Whole kbit/s, rounded down.
    #[must_use]
    pub const fn kbit(self) -> u32 {
        self.0.get() / 1000
    }

    /// Bytes that one second takes, rounded up.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        (self.0.get() as u64).div_ceil(8)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits().is_multiple_of(1000) {
            write!(f, "{}k", self.kbit())
        } else {
            write!(f, "{} bit/s", self.bits())
        }
    }
}

/// A position in a rendition's bytes, or in a connection's body: bytes since its first one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BytePos(pub u64);

impl BytePos {
    /// Bytes from `earlier` to here; zero if `earlier` lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for BytePos {
    type Output = Self;
    fn add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl AddAssign<u64> for BytePos {
    fn add_assign(&mut self, bytes: u64) {
        *self = *self + bytes;
    }
}

impl Sub<u64> for BytePos {
    type Output = Self;
    fn sub(self, bytes: u64) -> Self {
        Self(self.0.saturating_sub(bytes))
    }
}

impl fmt::Display for BytePos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.0)
    }
}

/// One encoding of the programme. Mounts with equal renditions carry the very same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Rendition {
    /// How it is coded.
    pub codec: Codec,
    /// Frames per second of the decoded sound.
    pub rate: SampleRate,
    /// Channels of the decoded sound.
    pub channels: Channels,
    /// Nominal bitrate.
    pub bitrate: BitRate,
}

impl Rendition {
    /// Whether listeners can be moved between mounts of these two renditions: everything but the bitrate is equal.
    ///
    /// # Errors
    /// The first property that differs.
    pub fn matches(&self, other: &Self) -> Result<(), Mismatch> {
        if self.codec != other.codec {
            Err(Mismatch::Codec(self.codec, other.codec))
        } else if self.rate != other.rate {
            Err(Mismatch::Rate(self.rate, other.rate))
        } else if self.channels != other.channels {
            Err(Mismatch::Channels(self.channels, other.channels))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Rendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.codec, self.bitrate, self.rate, self.channels)
    }
}

/// Why listeners cannot be moved between two mounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// The codecs differ.
    Codec(Codec, Codec),
    /// The sample rates differ.
    Rate(SampleRate, SampleRate),
    /// The channel counts differ.
    Channels(Channels, Channels),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(a, b) => write!(f, "codec {a} against {b}"),
            Self::Rate(a, b) => write!(f, "sample rate {a} against {b}"),
            Self::Channels(a, b) => write!(f, "{a} against {b}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mp3(kbit: u32) -> Rendition {
        Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate: BitRate::from_kbit(kbit).unwrap(),
        }
    }

    #[test]
    fn bitrate_may_differ_and_nothing_else() {
        assert_eq!(mp3(320).matches(&mp3(192)), Ok(()));
        let aac = Rendition { codec: Codec::AacLc, ..mp3(320) };
        assert_eq!(mp3(320).matches(&aac), Err(Mismatch::Codec(Codec::Mp3, Codec::AacLc)));
        let mono = Rendition { channels: Channels::Mono, ..mp3(320) };
        assert!(matches!(mp3(320).matches(&mono), Err(Mismatch::Channels(..))));
    }

    #[test]
    fn zero_is_no_bitrate() {
        assert_eq!(BitRate::from_kbit(0), None);
        assert_eq!(BitRate::from_kbit(u32::MAX), None);
    }
}
