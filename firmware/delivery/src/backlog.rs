//! The bytes of a rendition's last minute. The edge owns one for each rendition; the core only ever names positions in it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;

use units::page::{PageHeader, head_length};
use units::{BytePos, Rendition};

use crate::index::kept_bytes;

/// A ring of encoded bytes, addressed by position since the rendition began.
#[derive(Debug)]
pub struct Backlog {
    ring: Box<[u8]>,
    end: BytePos,
    /// Of Ogg: where each stream begins that is held in part, and the header pages that it begins with; none after the end of one
    /// that no other follows yet. Oldest first.
    streams: Option<VecDeque<(BytePos, Box<[u8]>)>>,
}

impl Backlog {
    /// An empty backlog of 60 s of `rendition`. The memory is taken from the system as it fills.
    #[must_use]
    pub fn new(rendition: &Rendition) -> Self {
        // The core may still name a position that the newest packet pushed out of its own index: a quarter second more.
        let slack = rendition.bitrate.bytes_per_second() / 4 + 8192;
        Self {
            ring: vec![0; (kept_bytes(rendition) + slack) as usize].into_boxed_slice(),
            end: BytePos(0),
            streams: rendition.codec.is_ogg().then(VecDeque::new),
        }
    }

    /// The header pages that a connection has to begin with that begins at `at`: those of the stream that the position lies in.
    /// None if the bytes from there on begin with their own, if it was `after` that position in the same stream, or if what is
    /// carried is not Ogg.
    #[must_use]
    pub fn head(&self, at: BytePos, after: Option<BytePos>) -> &[u8] {
        let Some(streams) = &self.streams else { return &[] };
        let stream =
            |position: BytePos| streams.partition_point(|&(begin, _)| begin < position).checked_sub(1);
        match stream(at) {
            Some(place) if streams.get(place + 1).is_some_and(|&(begin, _)| begin == at) => &[],
            Some(place) if after.and_then(stream) == Some(place) => &[],
            Some(place) => &streams[place].1,
            None => &[],
        }
    }

    /// Appends one packet and returns the position after it.
    pub fn push(&mut self, packet: &[u8]) -> BytePos {
        self.note_streams(packet);
        let fits = &packet[packet.len().saturating_sub(self.ring.len())..];
        let at = ((self.end.0 + (packet.len() - fits.len()) as u64) % self.ring.len() as u64) as usize;
        let first = fits.len().min(self.ring.len() - at);
        self.ring[at..at + first].copy_from_slice(&fits[..first]);
        self.ring[..fits.len() - first].copy_from_slice(&fits[first..]);
        self.end += packet.len() as u64;
        self.end
    }

    fn note_streams(&mut self, packet: &[u8]) {
        let (start, end) = (self.start(), self.end);
        let Some(streams) = &mut self.streams else { return };
        let head = head_length(packet);
        if head > 0 {
            streams.retain(|&(begin, _)| begin != end);
            streams.push_back((end, packet[..head].into()));
        }
        if PageHeader::parse(&packet[head..]).is_some_and(|page| page.last) {
            streams.push_back((end + packet.len() as u64, Box::default()));
        }
        while streams.get(1).is_some_and(|&(begin, _)| begin <= start) {
            streams.pop_front();
        }
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

    /// A page with so many bytes of body.
    fn page(flags: u8, granule: u64, body: u8) -> Vec<u8> {
        let mut page =
            [b"OggS\0".as_slice(), &[flags], &granule.to_le_bytes(), &[0; 12], &[1, body]].concat();
        page.resize(28 + usize::from(body), flags);
        page
    }

    #[test]
    fn knows_the_head_of_every_position() {
        let ogg = Rendition { codec: Codec::Opus, ..rendition() };
        let mut backlog = Backlog::new(&ogg);
        let heads = [[page(2, 0, 1), page(0, 0, 1)].concat(), [page(2, 0, 2), page(0, 0, 2)].concat()];
        let first = backlog.push(&[heads[0].clone(), page(0, 960, 9)].concat());
        let last = backlog.push(&page(4, 1920, 9));
        assert_eq!(backlog.head(BytePos(0), None), b"", "it begins with its own");
        assert_eq!(backlog.head(first, None), heads[0]);
        assert_eq!(backlog.head(last, None), b"", "the next stream brings its own");
        let second = backlog.push(&[heads[1].clone(), page(0, 960, 9)].concat());
        assert_eq!(backlog.head(last, None), b"", "and here it is");
        assert_eq!(backlog.head(first, None), heads[0]);
        assert_eq!(backlog.head(second, None), heads[1]);
        assert_eq!(backlog.head(second, Some(last)), heads[1]);
        let third = backlog.push(&page(0, 1920, 9));
        assert_eq!(backlog.head(third, Some(second)), b"", "still the same stream");
        for _ in 0..1000 {
            backlog.push(&page(0, 2880, 200));
        }
        assert_eq!(backlog.head(backlog.end(), None), heads[1], "for as long as the stream lasts");
        assert_eq!(backlog.streams.as_ref().map(VecDeque::len), Some(1), "what is gone is forgotten");
        assert_eq!(Backlog::new(&rendition()).head(BytePos(5), None), b"");
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
