//! Packet headers on the wire: MPEG audio (ISO 11172-3, 13818-3) and ADTS (ISO 13818-7). Pure parsing of bytes that may
//! come from outside: never panics, never reads past the slice.

use crate::{Codec, Rendition};

/// What one packet's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    /// MPEG Layer III or ADTS.
    pub kind: HeaderKind,
    /// The sample rate the header names (half the decoded rate under SBR).
    pub rate_hz: u32,
    /// Channels the header names (one under parametric stereo).
    pub channels: u8,
    /// Length of the whole packet, header included, in bytes.
    pub length: usize,
    /// Frames of sound in the packet, at `rate_hz`.
    pub frames: u32,
    /// Bitrate in kbit/s; zero for ADTS, which names none.
    pub kbit: u32,
}

/// Which family of header was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderKind {
    /// MPEG-1 or MPEG-2 Layer III.
    Mp3,
    /// ADTS with one raw data block.
    Adts,
}

impl PacketHeader {
    /// Bytes that decide a header; fewer give `None` from [`PacketHeader::parse`].
    pub const NEEDED: usize = 7;

    /// Reads the header at the start of `bytes`; `None` if there is none, or not enough bytes to tell.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; Self::NEEDED] = bytes.first_chunk()?;
        if head[0] != 0xFF || head[1] & 0xE0 != 0xE0 {
            return None;
        }
        // Layer bits 00 are reserved in MPEG audio and fixed in ADTS: that is how the two are told apart.
        if head[1] & 0x06 == 0 { adts(head) } else { layer3(head) }
    }

    /// Whether a packet with this header can belong to `rendition` (bitrate included where the header names one).
    #[must_use]
    pub fn fits(&self, rendition: &Rendition) -> bool {
        let hz = rendition.rate.hz();
        let channels = rendition.channels.count() as u8;
        match (self.kind, rendition.codec) {
            (HeaderKind::Mp3, Codec::Mp3) => {
                self.rate_hz == hz && self.channels == channels && self.kbit == rendition.bitrate.kbit()
            }
            (HeaderKind::Adts, Codec::AacLc) => self.rate_hz == hz && self.channels == channels,
            (HeaderKind::Adts, Codec::HeAac) => self.rate_hz * 2 == hz && self.channels == channels,
            (HeaderKind::Adts, Codec::HeAacV2) => self.rate_hz * 2 == hz && self.channels == 1,
            (HeaderKind::Mp3, Codec::AacLc | Codec::HeAac | Codec::HeAacV2)
            | (HeaderKind::Adts, Codec::Mp3)
            | (_, Codec::Vorbis | Codec::Opus) => false,
        }
    }
}

const MPEG1_KBIT: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2_KBIT: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
const MPEG1_RATES: [u32; 3] = [44_100, 48_000, 32_000];
const ADTS_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

fn layer3(head: &[u8; PacketHeader::NEEDED]) -> Option<PacketHeader> {
    if head[1] & 0x06 != 0x02 {
        return None;
    }
    let mpeg1 = match head[1] & 0x18 {
        0x18 => true,
        0x10 => false,
        _ => return None,
    };
    let kbit = *if mpeg1 { &MPEG1_KBIT } else { &MPEG2_KBIT }.get(usize::from(head[2] >> 4))?;
    let rate_hz = MPEG1_RATES.get(usize::from(head[2] >> 2 & 3))? / if mpeg1 { 1 } else { 2 };
    if kbit == 0 {
        return None;
    }
    let padding = usize::from(head[2] >> 1 & 1);
    let frames = if mpeg1 { 1152 } else { 576 };
    let length = (frames / 8 * kbit * 1000 / rate_hz) as usize + padding;
    let channels = if head[3] >> 6 == 3 { 1 } else { 2 };
    Some(PacketHeader { kind: HeaderKind::Mp3, rate_hz, channels, length, frames, kbit })
}

fn adts(head: &[u8; PacketHeader::NEEDED]) -> Option<PacketHeader> {
    if head[1] & 0xF0 != 0xF0 {
        return None;
    }
    let rate_hz = *ADTS_RATES.get(usize::from(head[2] >> 2 & 0x0F))?;
    let channels = (head[2] & 1) << 2 | head[3] >> 6;
    let length = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
    let header = if head[1] & 1 == 1 { 7 } else { 9 };
    // More than one raw block per packet would break the grid of packets; nobody streams that.
    if length <= header || channels == 0 || head[6] & 3 != 0 {
        return None;
    }
    Some(PacketHeader { kind: HeaderKind::Adts, rate_hz, channels, length, frames: 1024, kbit: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BitRate, Channels, SampleRate};

    #[test]
    fn reads_an_mp3_header() {
        let header = PacketHeader::parse(&[0xFF, 0xFB, 0xE4, 0x44, 0, 0, 0]).unwrap();
        assert_eq!((header.kbit, header.rate_hz, header.length, header.channels), (320, 48_000, 960, 2));
        let rendition = Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate: BitRate::from_kbit(320).unwrap(),
        };
        assert!(header.fits(&rendition));
        assert!(!header.fits(&Rendition { bitrate: BitRate::from_kbit(192).unwrap(), ..rendition }));
    }

    #[test]
    fn padding_counts_at_44100() {
        let plain = PacketHeader::parse(&[0xFF, 0xFB, 0x90, 0x44, 0, 0, 0]).unwrap();
        let padded = PacketHeader::parse(&[0xFF, 0xFB, 0x92, 0x44, 0, 0, 0]).unwrap();
        assert_eq!((plain.length, padded.length), (417, 418));
    }

    #[test]
    fn reads_an_adts_header() {
        // 48 kHz, stereo, 341 bytes, no CRC.
        let length = 341u16;
        let bytes = [
            0xFF,
            0xF1,
            0x4C,
            0x80 | (length >> 11) as u8,
            (length >> 3) as u8,
            ((length & 7) << 5) as u8 | 0x1F,
            0xFC,
        ];
        let header = PacketHeader::parse(&bytes).unwrap();
        assert_eq!(
            (header.kind, header.rate_hz, header.channels, header.length),
            (HeaderKind::Adts, 48_000, 2, 341)
        );
    }

    #[test]
    fn every_three_byte_start_is_survived() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                let _ = PacketHeader::parse(&[0xFF, a, b, a ^ b, b, a, 0xFF]);
            }
        }
        assert_eq!(PacketHeader::parse(&[0xFF, 0xFB]), None);
    }
}
