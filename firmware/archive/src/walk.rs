//! Walking through a recording packet by packet: where the last whole one ends, and which one a time falls into.

use units::Rendition;
use units::header::PacketHeader;

/// A walk over packets of one rendition, fed with bytes as they are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Walk {
    rendition: Rendition,
    /// Packets not to be passed.
    most: u64,
    /// Whole packets passed.
    pub(crate) packets: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// No further: what follows is no packet, or `most` are passed.
    pub(crate) over: bool,
}

impl Walk {
    /// A walk over `most` packets at the most.
    pub(crate) const fn new(rendition: Rendition, most: u64) -> Self {
        Self { rendition, most, packets: 0, bytes: 0, over: most == 0 }
    }

    /// Passes the whole packets at the start of `bytes`, and says how many bytes they are. The rest is fed again, with more
    /// behind it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while !self.over {
            let rest = &bytes[at..];
            if rest.len() < PacketHeader::NEEDED {
                break;
            }
            match PacketHeader::parse(rest).filter(|header| header.fits(&self.rendition)) {
                Some(header) if header.length <= rest.len() => {
                    at += header.length;
                    self.packets += 1;
                    self.bytes += header.length as u64;
                    self.over = self.packets == self.most;
                }
                Some(_) => break,
                None => self.over = true,
            }
        }
        at
    }
}

/// How long so many packets of a rendition sound, in milliseconds, rounded to the nearest.
pub(crate) fn packets_ms(rendition: &Rendition, packets: u64) -> u64 {
    let (frames, hz) = (u64::from(rendition.codec.frames_per_packet()), u64::from(rendition.rate.hz()));
    (packets * frames * 1000 + hz / 2) / hz
}

/// How many packets of a rendition begin within so many milliseconds.
pub(crate) fn packets_in(rendition: &Rendition, ms: u64) -> u64 {
    let (frames, hz) = (u64::from(rendition.codec.frames_per_packet()), u64::from(rendition.rate.hz()));
    ms.saturating_mul(hz) / (frames * 1000)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use units::{BitRate, Channels, Codec, SampleRate};

    pub(crate) const MP3: Rendition = Rendition {
        codec: Codec::Mp3,
        rate: SampleRate::Hz48000,
        channels: Channels::Stereo,
        bitrate: BitRate::from_kbit(320).expect("not zero"),
    };

    pub(crate) fn packet() -> Vec<u8> {
        let mut packet = vec![0xAA; 960];
        packet[..4].copy_from_slice(&[0xFF, 0xFB, 0xE4, 0x44]);
        packet
    }

    #[test]
    fn a_torn_tail_is_found_wherever_it_is_torn() {
        let stream = packet().repeat(3);
        for end in 0..=stream.len() {
            let mut walk = Walk::new(MP3, u64::MAX);
            // Read in lumps that end in the middle of headers.
            let (mut from, mut to) = (0, 0);
            while to < end {
                to = (to + 479).min(end);
                from += walk.feed(&stream[from..to]);
            }
            assert_eq!(walk.packets as usize, end / 960, "{end}");
            assert_eq!(walk.bytes as usize, end / 960 * 960);
        }
    }

    #[test]
    fn zeros_and_other_renditions_are_no_packets() {
        let mut stream = packet().repeat(2);
        stream.extend_from_slice(&[0; 4096]);
        let mut walk = Walk::new(MP3, u64::MAX);
        walk.feed(&stream);
        assert_eq!((walk.packets, walk.over), (2, true));
        let other = Rendition { bitrate: BitRate::from_kbit(128).unwrap(), ..MP3 };
        let mut walk = Walk::new(other, u64::MAX);
        assert_eq!((walk.feed(&stream), walk.over), (0, true));
    }

    #[test]
    fn times_and_packets_agree() {
        assert_eq!(packets_ms(&MP3, 1), 24);
        assert_eq!(packets_ms(&MP3, 150_000), 3_600_000);
        assert_eq!(
            (packets_in(&MP3, 23), packets_in(&MP3, 24), packets_in(&MP3, 3_600_000)),
            (0, 1, 150_000)
        );
    }
}
