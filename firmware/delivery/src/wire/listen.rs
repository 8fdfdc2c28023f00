//! What a listener connection of ours hears: which of our bytes, in which rendition, and where it jumps.

use alloc::vec::Vec;

use units::BytePos;

use crate::Backlog;
use crate::event::RenditionId;

/// A piece of a rendition that arrived in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Which rendition.
    pub rendition: RenditionId,
    /// First byte.
    pub from: BytePos,
    /// One past the last.
    pub upto: BytePos,
}

/// Follows a listener's stream through our renditions.
#[derive(Debug, Default)]
pub struct ListenReader {
    /// The answer's head so far; `None` once it is over.
    head: Option<Vec<u8>>,
    /// Bytes that could not be placed yet.
    unplaced: Vec<u8>,
    place: Option<(RenditionId, BytePos)>,
}

impl ListenReader {
    /// A reader at the beginning of an answer.
    #[must_use]
    pub fn new() -> Self {
        Self { head: Some(Vec::new()), unplaced: Vec::new(), place: None }
    }

    /// Takes bytes in and tells what of `renditions` they are. `None`: this is no listener's stream.
    pub fn feed(&mut self, bytes: &[u8], renditions: &[(RenditionId, &Backlog)]) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let body = match &mut self.head {
            None => bytes,
            Some(head) => {
                let before = head.len();
                head.extend_from_slice(bytes);
                let Some(end) = memchr::memmem::find(head, b"\r\n\r\n").map(|at| at + 4) else {
                    return (head.len() < LONGEST_HEAD).then_some(pieces);
                };
                let good = head.get(9..12) == Some(b"200") || head.starts_with(b"ICY 200");
                self.head = None;
                if !good {
                    return None;
                }
                &bytes[end - before..]
            }
        };
        self.place(body, renditions, &mut pieces);
        Some(pieces)
    }

    fn place(&mut self, body: &[u8], renditions: &[(RenditionId, &Backlog)], pieces: &mut Vec<Piece>) {
        let mut rest = body;
        if let Some((rendition, at)) = self.place {
            let known = renditions.iter().find(|(id, _)| *id == rendition);
            let same = known.map_or(0, |(_, backlog)| agreeing(backlog, at, rest));
            if same > 0 {
                let upto = at + same as u64;
                pieces.push(Piece { rendition, from: at, upto });
                self.place = Some((rendition, upto));
                rest = &rest[same..];
            }
            if rest.is_empty() {
                return;
            }
            self.place = None;
        }
        self.unplaced.extend_from_slice(rest);
        if self.unplaced.len() < NEEDLES[0] {
            return;
        }
        // What repeats itself, as coded silence does, is there more than once: more of it may not be.
        let found = NEEDLES.iter().filter(|&&length| length <= self.unplaced.len()).find_map(|&length| {
            let needle = &self.unplaced[self.unplaced.len() - length..];
            renditions.iter().find_map(|(id, backlog)| Some((*id, backlog.find(needle)?, *backlog)))
        });
        let Some((rendition, upto, backlog)) = found else {
            // Whatever it is, the newest of it may be the beginning of something of ours.
            let most = self.unplaced.len().min(LONGEST_UNPLACED);
            self.unplaced.drain(..self.unplaced.len() - most);
            return;
        };
        // As far back as it agrees: the piece began before the needle.
        let (first, second) = backlog.bytes(upto - self.unplaced.len() as u64, upto);
        let ours = first.iter().chain(second).rev().zip(self.unplaced.iter().rev());
        let length = ours.take_while(|(ours, heard)| ours == heard).count();
        pieces.push(Piece { rendition, from: upto - length as u64, upto });
        self.unplaced.clear();
        self.place = Some((rendition, upto));
    }
}

/// How many of `bytes` are what `backlog` holds from `at` on.
fn agreeing(backlog: &Backlog, at: BytePos, bytes: &[u8]) -> usize {
    let (first, second) = backlog.bytes(at, at + bytes.len() as u64);
    first.iter().chain(second).zip(bytes).take_while(|(ours, heard)| ours == heard).count()
}

/// So many bytes in a row are ours or they are not; [`Backlog::find`] refuses what is there twice.
const NEEDLES: [usize; 4] = [128, 1024, 8192, 65_536];
const LONGEST_HEAD: usize = 16 * 1024;
/// Some seconds of anything: what can be placed at last is placed from its beginning on.
const LONGEST_UNPLACED: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rendition;

    fn sound(seed: u32, length: u32) -> Vec<u8> {
        (0..length)
            .map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8 ^ (n >> 3) as u8)
            .collect()
    }

    #[test]
    fn follows_a_stream_from_one_rendition_into_another() {
        let (one, other) = (sound(1, 30_000), sound(77, 20_000));
        let mut backlogs = [Backlog::new(&rendition(320)), Backlog::new(&rendition(192))];
        backlogs[0].push(&one);
        backlogs[1].push(&other);
        let known = [(RenditionId(0), &backlogs[0]), (RenditionId(1), &backlogs[1])];
        let mut reader = ListenReader::new();
        let heard =
            [b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n".as_slice(), &one[500..9000], &other[4000..7000]].concat();
        let mut ends = Vec::new();
        for part in heard.chunks(700) {
            ends.extend(reader.feed(part, &known).unwrap());
        }
        let first: Vec<_> = ends.iter().filter(|piece| piece.rendition == RenditionId(0)).collect();
        assert_eq!(first.first().map(|piece| piece.from), Some(BytePos(500)));
        assert_eq!(first.last().map(|piece| piece.upto), Some(BytePos(9000)));
        assert_eq!(ends.last(), Some(&Piece { upto: BytePos(7000), ..*ends.last().unwrap() }));
        let second = ends.iter().find(|piece| piece.rendition == RenditionId(1)).unwrap();
        assert_eq!(second.from, BytePos(4000));
    }

    #[test]
    fn what_repeats_itself_is_placed_once_it_differs() {
        let mut backlog = Backlog::new(&rendition(320));
        let beat: Vec<u8> = sound(3, 20_000);
        let other = sound(777_777_777, 500);
        // One beat follows the other, and only after the second comes something else.
        let all = [beat.as_slice(), &beat, &other].concat();
        backlog.push(&all);
        let known = [(RenditionId(0), &backlog)];
        let mut reader = ListenReader::new();
        assert_eq!(reader.feed(b"HTTP/1.0 200 OK\r\n\r\n", &known), Some(Vec::new()));
        let mut pieces = Vec::new();
        for part in all[20_000..].chunks(700) {
            pieces.extend(reader.feed(part, &known).unwrap());
        }
        assert_eq!(pieces.first().map(|piece| piece.from), Some(BytePos(20_000)));
        assert_eq!(pieces.last().map(|piece| piece.upto), Some(BytePos(40_500)));
    }

    #[test]
    fn a_page_is_no_stream_and_foreign_sound_is_not_placed() {
        let mut backlog = Backlog::new(&rendition(320));
        backlog.push(&sound(1, 9000));
        let known = [(RenditionId(0), &backlog)];
        assert_eq!(ListenReader::new().feed(b"HTTP/1.0 404 no\r\n\r\n", &known), None);
        let mut reader = ListenReader::new();
        let heard = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &sound(5, 9000)].concat();
        assert_eq!(reader.feed(&heard, &known), Some(Vec::new()));
    }
}
