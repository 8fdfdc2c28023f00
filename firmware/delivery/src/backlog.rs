//! The bytes of a rendition's last minute. The edge owns one for each rendition; the core only ever names positions in it.

use alloc::boxed::Box;
use alloc::vec;

use units::{BytePos, Rendition};

use crate::index::kept_bytes;

/// A ring of encoded bytes, addressed by position since the rendition began.
#[derive(Debug)]
pub struct Backlog {
    ring: Box<[u8]>,
    end: BytePos,
}

impl Backlog {
    /// An empty backlog of 60 s of `rendition`. The memory is taken from the system as it fills.
    #[must_use]
    pub fn new(rendition: &Rendition) -> Self {
        // The core may still name a position that the newest packet pushed out of its own index: a quarter second more.
        let slack = rendition.bitrate.bytes_per_second() / 4 + 8192;
        Self { ring: vec![0; (kept_bytes(rendition) + slack) as usize].into_boxed_slice(), end: BytePos(0) }
    }

    /// Appends one packet and returns the position after it.
    pub fn push(&mut self, packet: &[u8]) -> BytePos {
        let fits = &packet[packet.len().saturating_sub(self.ring.len())..];
        let at = ((self.end.0 + (packet.len() - fits.len()) as u64) % self.ring.len() as u64) as usize;
        let first = fits.len().min(self.ring.len() - at);
        self.ring[at..at + first].copy_from_slice(&fits[..first]);
        self.ring[..fits.len() - first].copy_from_slice(&fits[first..]);
        self.end += packet.len() as u64;
        self.end
    }

    /// One past the newest byte.
    #[must_use]
    pub const fn end(&self) -> BytePos {
        self.end
    }

    /// The oldest position still held.
    #[must_use]
    pub const fn start(&self) -> BytePos {
        BytePos(self.end.0.saturating_sub(self.ring.len() as u64))
    }

    /// The bytes `from..to` as two slices (the second is empty unless the ring wraps there); what is not held is left out.
    #[must_use]
    pub fn bytes(&self, from: BytePos, to: BytePos) -> (&[u8], &[u8]) {
        let (from, to) = (from.max(self.start()), to.min(self.end));
        if from >= to {
            return (&[], &[]);
        }
        let at = (from.0 % self.ring.len() as u64) as usize;
        let length = to.since(from) as usize;
        let first = length.min(self.ring.len() - at);
        (&self.ring[at..at + first], &self.ring[..length - first])
    }

    /// Where `needle` ends, in the newest twenty seconds or so. Nowhere if it is empty or is there more than once, as coded
    /// silence is: then it proves nothing.
    #[must_use]
    pub fn find(&self, needle: &[u8]) -> Option<BytePos> {
        let from = self.start().max(self.end - self.ring.len() as u64 / 3);
        let (first, second) = self.bytes(from, self.end);
        let held = [first, second].concat();
        let finder = memchr::memmem::Finder::new(needle);
        let at = finder.find(&held).filter(|_| !needle.is_empty())?;
        match finder.find(&held[at + 1..]) {
            Some(_) => None,
            None => Some(from + (at + needle.len()) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use units::{BitRate, Channels, Codec, SampleRate};

    fn rendition() -> Rendition {
        Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate: BitRate::from_bits(800).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn holds_exactly_the_newest_bytes(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..900), 1..60)) {
            let mut backlog = Backlog::new(&rendition());
            let mut all = Vec::new();
            for packet in &packets {
                all.extend_from_slice(packet);
                prop_assert_eq!(backlog.push(packet), BytePos(all.len() as u64));
            }
            let start = backlog.start();
            let (a, b) = backlog.bytes(start, backlog.end());
            let mut held = a.to_vec();
            held.extend_from_slice(b);
            prop_assert_eq!(&held[..], &all[start.0 as usize..]);
        }
    }

    #[test]
    fn finds_what_is_there_once() {
        let mut backlog = Backlog::new(&rendition());
        backlog.push(b"one two three one");
        assert_eq!(backlog.find(b"two"), Some(BytePos(7)));
        assert_eq!(backlog.find(b"one"), None);
        assert_eq!(backlog.find(b"four"), None);
        assert_eq!(backlog.find(b""), None);
        assert_eq!(backlog.find(&[0; 100]), None);
    }
}
