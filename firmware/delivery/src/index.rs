//! Where a rendition's packets end, over the last minute: all that the core knows of its bytes.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};
use units::{BytePos, Frames, Rendition};

/// How long bytes are kept.
pub(crate) const KEPT_SECONDS: u64 = 60;

/// Bytes that a rendition's backlog keeps at the most.
pub(crate) fn kept_bytes(rendition: &Rendition) -> u64 {
    rendition.bitrate.bytes_per_second() * KEPT_SECONDS
}

/// The packets of one rendition. All renditions of one programme lie on one grid: packets of two of them that end at the same
/// frame stand for the same sound.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    rendition: Rendition,
    /// Every packet still kept, oldest first, after one that only says where the first of them begins; never empty.
    packets: VecDeque<Packet>,
}

/// One packet, by its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Packet {
    /// One past its last byte.
    pub end: BytePos,
    /// Frames of programme up to its end, at the rendition's rate.
    pub frames: Frames,
    /// A decoder that comes from another rendition may begin with it.
    pub entry: bool,
}

impl Index {
    pub(crate) fn new(rendition: Rendition) -> Self {
        Self { rendition, packets: VecDeque::from([Packet::default()]) }
    }

    pub(crate) const fn rendition(&self) -> &Rendition {
        &self.rendition
    }

    /// A packet was encoded. One that does not lie ahead is ignored.
    pub(crate) fn push(&mut self, packet: Packet) {
        if packet.end <= self.live() {
            return;
        }
        self.packets.push_back(packet);
        let keep_from = packet.end - kept_bytes(&self.rendition);
        while self.packets.front().is_some_and(|oldest| oldest.end < keep_from) && self.packets.len() > 1 {
            self.packets.pop_front();
        }
    }

    /// Nothing that was is kept.
    pub(crate) fn forget(&mut self) {
        let last = self.packets.back().copied().unwrap_or_default();
        self.packets = VecDeque::from([last]);
    }

    /// One past the newest byte.
    pub(crate) fn live(&self) -> BytePos {
        self.packets.back().map(|packet| packet.end).unwrap_or_default()
    }

    /// The oldest boundary whose bytes are still kept.
    pub(crate) fn oldest(&self) -> BytePos {
        self.packets.front().map(|packet| packet.end).unwrap_or_default()
    }

    /// The first boundary at or after `position`; live if there is none.
    pub(crate) fn boundary_from(&self, position: BytePos) -> BytePos {
        self.ending_from(position).map_or_else(|| self.live(), |packet| packet.end)
    }

    /// The last boundary at or before `position`, if it is still kept.
    pub(crate) fn boundary_to(&self, position: BytePos) -> Option<BytePos> {
        let after = self.packets.partition_point(|packet| packet.end <= position);
        self.packets.get(after.checked_sub(1)?).map(|packet| packet.end)
    }

    /// The first boundary at or after `position`, and when in the programme it lies.
    pub(crate) fn ending_from(&self, position: BytePos) -> Option<Packet> {
        let at = self.packets.partition_point(|packet| packet.end < position);
        self.packets.get(at).copied()
    }

    /// Where the packet begins that follows `frames` of programme, and whether it is an entry. `None` if it is not there (yet).
    pub(crate) fn beginning_at(&self, frames: Frames) -> Option<(BytePos, bool)> {
        let at = self.packets.partition_point(|packet| packet.frames < frames);
        let before = self.packets.get(at).filter(|packet| packet.frames == frames)?;
        let packet = self.packets.get(at + 1)?;
        Some((before.end, packet.entry))
    }

    /// How long the bytes from `position` to live play, in milliseconds at the nominal bitrate.
    pub(crate) fn lag_ms(&self, position: BytePos) -> u64 {
        self.live().since(position).saturating_mul(1000) / self.rendition.bitrate.bytes_per_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::{BitRate, Channels, Codec, SampleRate};

    fn index() -> Index {
        Index::new(Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate: BitRate::from_kbit(320).unwrap(),
        })
    }

    fn packet(end: u64) -> Packet {
        Packet { end: BytePos(end), frames: Frames((end / 960).saturating_mul(1152)), entry: true }
    }

    #[test]
    fn packets_are_found_by_the_programmes_frames() {
        let mut index = index();
        for number in 1..=5 {
            index.push(Packet { entry: number % 2 == 0, ..packet(number * 960) });
        }
        assert_eq!(index.beginning_at(Frames(1152)), Some((BytePos(960), true)));
        assert_eq!(index.beginning_at(Frames(2304)), Some((BytePos(1920), false)));
        assert_eq!(index.beginning_at(Frames(5 * 1152)), None, "not encoded yet");
        assert_eq!(index.beginning_at(Frames(1000)), None, "off the grid");
        assert_eq!(index.ending_from(BytePos(961)).map(|packet| packet.frames), Some(Frames(2304)));
        for (at, before) in [(959, 0), (960, 960), (961, 960), (99_999, 4800)] {
            assert_eq!(index.boundary_to(BytePos(at)), Some(BytePos(before)));
        }
    }

    #[test]
    fn keeps_a_minute_and_finds_boundaries() {
        let mut index = index();
        for packet_number in 1..=5000u64 {
            index.push(packet(packet_number * 960));
        }
        assert_eq!(index.live(), BytePos(4_800_000));
        assert_eq!(index.oldest(), BytePos(2_400_000));
        assert_eq!(index.boundary_from(BytePos(2_400_001)), BytePos(2_400_960));
        assert_eq!(index.boundary_from(BytePos(9_999_999)), index.live());
        assert_eq!(index.lag_ms(index.oldest()), 60_000);
    }

    #[test]
    fn a_boundary_behind_live_is_ignored() {
        let mut index = index();
        index.push(packet(960));
        index.push(packet(960));
        index.push(packet(5));
        assert_eq!(index.live(), BytePos(960));
    }

    #[test]
    fn a_position_from_outside_may_be_any() {
        let mut index = index();
        index.push(packet(u64::MAX));
        assert!(index.lag_ms(BytePos(0)) > 60_000);
        assert_eq!(index.boundary_from(BytePos(u64::MAX)), index.live());
    }
}
