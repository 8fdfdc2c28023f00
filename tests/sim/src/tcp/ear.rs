//! A listener probe's reader: finds where the body's bytes lie in our renditions, and follows them from one into another.

use delivery::{Backlog, RenditionId};
use units::BytePos;

/// Bytes of one rendition that were heard in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Which rendition.
    pub rendition: RenditionId,
    /// First byte.
    pub from: BytePos,
    /// One past the last.
    pub upto: BytePos,
}

/// Reads one listener connection.
#[derive(Clone, Debug, Default)]
pub struct Ear {
    /// Up to the head's end, then body bytes that lie nowhere yet.
    pending: Vec<u8>,
    body: bool,
    /// Where the next byte is expected.
    follows: Option<(RenditionId, BytePos)>,
}

impl Ear {
    /// Takes bytes in; returns the pieces that they complete. `ours` are the renditions it may be, in the order they are tried.
    pub fn feed(&mut self, bytes: &[u8], ours: &[(RenditionId, &Backlog)]) -> Vec<Piece> {
        self.pending.extend_from_slice(bytes);
        if !self.body {
            let Some(end) = self.pending.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Vec::new();
            };
            self.pending.drain(..end + 4);
            self.body = true;
        }
        let mut pieces = Vec::new();
        // A piece followed, one found, one followed on: each round takes bytes or ends.
        while let Some(piece) = self.follow(ours).or_else(|| self.find(ours)) {
            self.follows = Some((piece.rendition, piece.upto));
            pieces.push(piece);
        }
        pieces
    }

    /// What is pending goes on where the last piece ended.
    fn follow(&mut self, ours: &[(RenditionId, &Backlog)]) -> Option<Piece> {
        let (rendition, from) = self.follows?;
        let (_, backlog) = ours.iter().find(|(one, _)| *one == rendition)?;
        let (first, second) = backlog.bytes(from, from + self.pending.len() as u64);
        let wanted = first.iter().chain(second);
        let agrees = self.pending.iter().zip(wanted).take_while(|(is, wanted)| is == wanted).count();
        if agrees < self.pending.len() {
            self.follows = None;
        }
        if agrees == 0 {
            return None;
        }
        self.pending.drain(..agrees);
        Some(Piece { rendition, from, upto: from + agrees as u64 })
    }

    /// The end of what is pending lies somewhere; as much before it as agrees belongs to it.
    fn find(&mut self, ours: &[(RenditionId, &Backlog)]) -> Option<Piece> {
        let needle = &self.pending[self.pending.len().checked_sub(NEEDLE)?..];
        let found =
            ours.iter().find_map(|(rendition, backlog)| Some((*rendition, backlog, backlog.find(needle)?)));
        let Some((rendition, backlog, upto)) = found else {
            let much = self.pending.len().saturating_sub(MOST);
            self.pending.drain(..much);
            return None;
        };
        let (first, second) = backlog.bytes(upto - self.pending.len() as u64, upto);
        let wanted = second.iter().rev().chain(first.iter().rev());
        let agrees = self.pending.iter().rev().zip(wanted).take_while(|(is, wanted)| is == wanted).count();
        self.pending.clear();
        Some(Piece { rendition, from: upto - agrees as u64, upto })
    }
}

/// Long enough to be there once.
const NEEDLE: usize = 128;
/// What lies nowhere is forgotten beyond this.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use units::{BitRate, Channels, Codec, Rendition, SampleRate};

    use super::super::content::Encoder;
    use super::*;

    fn backlog(kbit: u32, label: u8) -> Backlog {
        let rendition = Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate: BitRate::from_kbit(kbit).unwrap(),
        };
        let mut backlog = Backlog::new(&rendition);
        let mut encoder = Encoder::new(rendition, label);
        (0..200).for_each(|_| {
            backlog.push(&encoder.packet().0);
        });
        backlog
    }

    #[test]
    fn follows_from_one_rendition_into_another_over_filler() {
        let (high, low) = (backlog(320, 0), backlog(192, 1));
        let ours = [(RenditionId(4), &high), (RenditionId(2), &low)];
        let piece = |backlog: &Backlog, from, upto| {
            let (first, second) = backlog.bytes(BytePos(from), BytePos(upto));
            [first, second].concat()
        };
        let stream = [
            b"HTTP/1.0 200 OK\r\n\r\n".to_vec(),
            piece(&high, 1000, 5000),
            vec![0; 77],
            piece(&low, 3000, 9000),
        ]
        .concat();
        let mut ear = Ear::default();
        let mut heard: Vec<Piece> = Vec::new();
        for bytes in stream.chunks(300) {
            for piece in ear.feed(bytes, &ours) {
                match heard.last_mut() {
                    Some(last) if last.rendition == piece.rendition && last.upto == piece.from => {
                        last.upto = piece.upto;
                    }
                    Some(_) | None => heard.push(piece),
                }
            }
        }
        let expected = [(4, 1000, 5000), (2, 3000, 9000)].map(|(rendition, from, upto)| Piece {
            rendition: RenditionId(rendition),
            from: BytePos(from),
            upto: BytePos(upto),
        });
        assert_eq!(heard, expected);
        assert!(ear.feed(&[7; 9000], &ours).is_empty());
    }
}
