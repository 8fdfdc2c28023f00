//! What a listener hears: where in our renditions the bytes are that came, and so which did not, or twice, or in parts.

use delivery::RenditionId;
use delivery::wire::Piece;
use units::snapshot::Heard;
use units::{BytePos, Frames, Instant};

use super::millis;
use crate::driver::Driver;

/// Where the packets of all renditions lie on the programme's one grid.
pub(super) trait Grid {
    /// The frames of programme before the packet that holds a byte, and where that packet begins; a boundary belongs to the
    /// packet that follows.
    fn packet_at(&self, rendition: RenditionId, at: BytePos) -> Option<(Frames, BytePos)>;
    /// Where the packet begins that follows so many frames.
    fn packet_after(&self, rendition: RenditionId, frames: Frames) -> Option<BytePos>;
    /// Nominal.
    fn bytes_per_second(&self, rendition: RenditionId) -> u64;
}

impl Grid for Driver {
    fn packet_at(&self, rendition: RenditionId, at: BytePos) -> Option<(Frames, BytePos)> {
        Self::packet_at(self, rendition, at)
    }

    fn packet_after(&self, rendition: RenditionId, frames: Frames) -> Option<BytePos> {
        Self::packet_after(self, rendition, frames)
    }

    fn bytes_per_second(&self, rendition: RenditionId) -> u64 {
        let encoded = self.encoded();
        encoded
            .get(usize::from(rendition.0))
            .map_or(1, |encoded| encoded.rendition.bitrate.bytes_per_second())
    }
}

/// The count, from the first byte of ours on.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// The newest byte of ours ends here.
    place: Option<(RenditionId, BytePos)>,
    /// When the last bytes came.
    last: Option<Instant>,
    cut: bool,
    received: u64,
    lost_us: u64,
    heard: Heard,
}

impl Ear {
    /// `count` bytes came, and `pieces` of our renditions with them.
    pub(super) fn take(&mut self, now: Instant, count: usize, pieces: &[Piece], grid: &impl Grid) {
        if self.place.is_none() && pieces.is_empty() {
            return;
        }
        let first = self.place.is_none();
        self.pause(now);
        self.last = Some(now);
        for piece in pieces {
            match self.place {
                Some((rendition, upto)) if (rendition, upto) != (piece.rendition, piece.from) => {
                    self.join((rendition, upto), (piece.rendition, piece.from), grid);
                }
                Some(_) | None => {}
            }
            self.place = Some((piece.rendition, piece.upto));
            self.heard.bytes += piece.upto.since(piece.from);
        }
        if first {
            // What came before it was the answer's head.
            self.received = self.heard.bytes;
        } else {
            self.received += count as u64;
        }
        if !pieces.is_empty() {
            // Where a stream changes over some bytes are placed only with the next ones: the last figure counts.
            self.heard.strange_bytes = self.received.saturating_sub(self.heard.bytes);
        }
    }

    /// From now on pauses are the cut's.
    pub(super) fn cut(&mut self, now: Instant) {
        self.pause(now);
        self.cut = true;
    }

    /// The server ended the connection.
    pub(super) const fn end(&mut self) {
        self.heard.ended = true;
    }

    pub(super) const fn has_joined(&self) -> bool {
        self.place.is_some()
    }

    /// Whether bytes came just now.
    pub(super) fn hears(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| millis(now.since(last)) < FRESH_MS)
    }

    /// The count up to `now`; a pause that lasts counts, too.
    pub(super) fn heard(&self, now: Instant) -> Heard {
        let mut heard = self.heard;
        if let (Some(last), true, false) = (self.last, self.cut, self.heard.ended) {
            heard.longest_pause_ms = heard.longest_pause_ms.max(millis(now.since(last)));
        }
        heard.lost_ms = self.lost_us / 1000;
        heard
    }

    fn pause(&mut self, now: Instant) {
        let Some(last) = self.last else { return };
        let pause = millis(now.since(last));
        let longest = if self.cut { &mut self.heard.longest_pause_ms } else { &mut self.heard.calm_pause_ms };
        *longest = pause.max(*longest);
    }

    /// The stream does not just go on: `from` is where it ended, `to` where it goes on.
    fn join(&mut self, from: (RenditionId, BytePos), to: (RenditionId, BytePos), grid: &impl Grid) {
        let ((before, left), (after, entered)) = (from, to);
        let expected = if before == after {
            let whole = |at| grid.packet_at(before, at).is_none_or(|(_, begins)| begins == at);
            self.heard.torn += u64::from(!whole(left) || !whole(entered));
            left
        } else {
            self.heard.changes += 1;
            let place = grid.packet_at(before, left);
            let expected = place.and_then(|(frames, _)| grid.packet_after(after, frames));
            let (Some((_, begins)), Some(expected)) = (place, expected) else {
                // It went over to something that is not kept any more.
                self.heard.jumps += 1;
                return;
            };
            let inside = left.since(begins);
            // Bytes that two packets of the same sound have in common, as headers do, belong to either.
            if entered == expected + inside {
                return;
            }
            let torn =
                grid.packet_at(after, entered).is_some_and(|(_, begins)| entered.since(begins) > HEADER);
            self.heard.torn += u64::from(inside > HEADER || torn);
            expected
        };
        let lost = entered.since(expected);
        self.heard.jumps += 1;
        self.heard.lost_bytes += lost;
        self.heard.repeated_bytes += expected.since(entered);
        self.lost_us += lost.saturating_mul(1_000_000) / grid.bytes_per_second(after).max(1);
    }
}

/// An ADTS header's length; MPEG audio's is 4.
const HEADER: u64 = 7;
/// A block of 1400 bytes at 16 kbit/s takes 0.7 s.
const FRESH_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two renditions of 40 kB/s and 24 kB/s, packets of 24 ms.
    struct Packets;

    const LENGTHS: [u64; 2] = [960, 576];

    impl Grid for Packets {
        fn packet_at(&self, rendition: RenditionId, at: BytePos) -> Option<(Frames, BytePos)> {
            let length = LENGTHS[usize::from(rendition.0)];
            Some((Frames(at.0 / length * 1152), BytePos(at.0 / length * length)))
        }

        fn packet_after(&self, rendition: RenditionId, frames: Frames) -> Option<BytePos> {
            (frames.0 < 1152 * 1000).then(|| BytePos(frames.0 / 1152 * LENGTHS[usize::from(rendition.0)]))
        }

        fn bytes_per_second(&self, rendition: RenditionId) -> u64 {
            LENGTHS[usize::from(rendition.0)] * 1000 / 24
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn piece(rendition: u16, from: u64, upto: u64) -> Piece {
        Piece { rendition: RenditionId(rendition), from: BytePos(from), upto: BytePos(upto) }
    }

    /// An ear that hears these pieces, one every 10 ms, with nothing between them.
    fn hears(pieces: &[Piece]) -> Heard {
        let mut ear = Ear::default();
        let mut now = 0;
        for piece in pieces {
            now += 10;
            ear.take(at(now), piece.upto.since(piece.from) as usize, &[*piece], &Packets);
        }
        ear.heard(at(now))
    }

    #[test]
    fn a_change_on_a_boundary_is_whole() {
        let heard = hears(&[piece(0, 500, 9600), piece(1, 5760, 7000), piece(1, 7000, 7001)]);
        assert!(heard.whole(), "{heard:?}");
        assert_eq!((heard.changes, heard.bytes), (1, 9100 + 1241));
        // Three bytes of the next header look the same in both.
        let shared = hears(&[piece(0, 500, 9603), piece(1, 5763, 7000)]);
        assert!(shared.whole() && shared.changes == 1, "{shared:?}");
    }

    #[test]
    fn what_is_lost_repeated_and_torn_is_counted() {
        let lost = hears(&[piece(0, 0, 9600), piece(1, 5760 + 2 * 576, 9000)]);
        assert_eq!((lost.lost_bytes, lost.lost_ms, lost.torn, lost.jumps), (1152, 48, 0, 1));
        let repeated = hears(&[piece(0, 0, 9600), piece(1, 5760 - 576, 9000)]);
        assert_eq!((repeated.repeated_bytes, repeated.lost_bytes, repeated.torn), (576, 0, 0));
        let torn = hears(&[piece(0, 0, 9700), piece(1, 5760 + 576, 9000)]);
        assert_eq!((torn.torn, torn.lost_bytes), (1, 576));
        let middle = hears(&[piece(0, 0, 9600), piece(1, 5760 + 100, 9000)]);
        assert_eq!((middle.torn, middle.lost_bytes), (1, 100));
        let same = hears(&[piece(0, 0, 9600), piece(0, 11_000, 12_000), piece(0, 11_500, 12_500)]);
        assert_eq!((same.lost_bytes, same.repeated_bytes, same.torn, same.changes), (1400, 500, 2, 0));
        let forgotten = hears(&[piece(0, 960 * 1000, 960 * 1001), piece(1, 0, 10)]);
        assert!(!forgotten.whole() && forgotten.jumps == 1);
    }

    #[test]
    fn strange_bytes_are_counted_once_all_is_placed() {
        let mut ear = Ear::default();
        // The head came with the first bytes.
        ear.take(at(0), 1200, &[piece(0, 0, 1000)], &Packets);
        ear.take(at(10), 1000, &[piece(0, 1000, 1920)], &Packets);
        assert_eq!(ear.heard(at(10)).strange_bytes, 80, "not placed yet");
        ear.take(at(20), 920, &[piece(1, 1152, 2152)], &Packets);
        assert!(ear.heard(at(20)).whole());
        ear.take(at(30), 1400, &[], &Packets);
        ear.take(at(40), 100, &[piece(1, 2152, 2252)], &Packets);
        assert_eq!(ear.heard(at(40)).strange_bytes, 1400);
    }

    #[test]
    fn a_pause_counts_while_it_lasts() {
        let mut ear = Ear::default();
        ear.take(at(0), 10, &[], &Packets);
        assert!(!ear.has_joined());
        ear.take(at(1000), 960, &[piece(0, 0, 960)], &Packets);
        ear.take(at(1040), 960, &[piece(0, 960, 1920)], &Packets);
        ear.cut(at(1060));
        assert_eq!((ear.heard(at(1060)).calm_pause_ms, ear.hears(at(1100))), (40, true));
        assert_eq!((ear.heard(at(3000)).longest_pause_ms, ear.hears(at(3000))), (1960, false));
        ear.take(at(3100), 960, &[piece(0, 1920, 2880)], &Packets);
        assert_eq!(ear.heard(at(3110)).longest_pause_ms, 2060);
    }
}
