//! Reading a captured stream packet by packet: the first whole one to the last, without a byte between them.

use anyhow::{Result, ensure};
use units::Rendition;
use units::header::PacketHeader;

/// Packets that must follow each other before a start is believed: sound can look like a header.
const CHAIN: usize = 4;

/// The whole packets of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Whole<'a> {
    /// Their bytes, first header to last byte.
    pub bytes: &'a [u8],
    /// How many.
    pub packets: u64,
    /// Bytes of the torn packet before the first whole one.
    pub before: usize,
}

impl Whole<'_> {
    /// Frames they hold at the programme's rate.
    #[must_use]
    pub fn frames(&self, rendition: &Rendition) -> u64 {
        self.packets * u64::from(rendition.codec.frames_per_packet())
    }
}

/// Finds the whole packets of `rendition` in `capture`, which may begin and end in the middle of one.
///
/// # Errors
/// There is no packet of the rendition, or something between the first and the last whole one is not a packet of it:
/// says where, and what is there.
pub fn whole<'a>(capture: &'a [u8], rendition: &Rendition) -> Result<Whole<'a>> {
    let start = (0..capture.len())
        .find(|&at| chain(&capture[at..], rendition) == CHAIN)
        .ok_or_else(|| anyhow::anyhow!("no packet of {rendition} in {} bytes", capture.len()))?;
    let (mut at, mut packets) = (start, 0);
    while capture.len() - at >= PacketHeader::NEEDED {
        let header = fitting(&capture[at..], rendition);
        ensure!(
            header.is_some(),
            "byte {at} of {}, after {packets} whole packets of {rendition}: no such packet but {:02X?}",
            capture.len(),
            &capture[at..at + PacketHeader::NEEDED]
        );
        match header {
            Some(header) if header.length <= capture.len() - at => at += header.length,
            Some(_) | None => break,
        }
        packets += 1;
    }
    Ok(Whole { bytes: &capture[start..at], packets, before: start })
}

fn fitting(bytes: &[u8], rendition: &Rendition) -> Option<PacketHeader> {
    PacketHeader::parse(bytes).filter(|header| header.fits(rendition))
}

/// How many packets follow each other from here, up to [`CHAIN`].
fn chain(mut bytes: &[u8], rendition: &Rendition) -> usize {
    let mut count = 0;
    while count < CHAIN {
        match fitting(bytes, rendition).and_then(|header| bytes.get(header.length..)) {
            Some(rest) => bytes = rest,
            None => break,
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::{BitRate, Channels, Codec, SampleRate};

    const MP3: Rendition = Rendition {
        codec: Codec::Mp3,
        rate: SampleRate::Hz48000,
        channels: Channels::Stereo,
        bitrate: BitRate::from_kbit(320).expect("not zero"),
    };

    fn packet() -> Vec<u8> {
        let mut packet = vec![0xAA; 960];
        packet[..4].copy_from_slice(&[0xFF, 0xFB, 0xE4, 0x44]);
        packet
    }

    #[test]
    fn a_capture_that_is_torn_at_both_ends() {
        let stream = packet().repeat(10);
        let found = whole(&stream[100..stream.len() - 3], &MP3).unwrap();
        assert_eq!((found.packets, found.before, found.bytes.len()), (8, 860, 8 * 960));
        assert_eq!(found.frames(&MP3), 8 * 1152);
    }

    #[test]
    fn one_missing_byte_is_found() {
        let mut stream = packet().repeat(10);
        stream.remove(5 * 960 + 500);
        let refused = whole(&stream, &MP3).unwrap_err().to_string();
        assert!(refused.contains("after 6 whole packets"), "{refused}");
    }
}
