//! Where a rendition's packets begin, over the last minute: all that the core knows of its bytes.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};
use units::{BytePos, Rendition};

/// How long bytes are kept.
pub(crate) const KEPT_SECONDS: u64 = 60;

/// Bytes that a rendition's backlog keeps at the most.
pub(crate) fn kept_bytes(rendition: &Rendition) -> u64 {
    rendition.bitrate.bytes_per_second() * KEPT_SECONDS
}

/// The packet boundaries of one rendition.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    rendition: Rendition,
    /// Every boundary still kept, oldest first; never empty, the last one is live.
    boundaries: VecDeque<BytePos>,
}

impl Index {
    pub(crate) fn new(rendition: Rendition) -> Self {
        Self { rendition, boundaries: VecDeque::from([BytePos(0)]) }
    }

    pub(crate) const fn rendition(&self) -> &Rendition {
        &self.rendition
    }

    /// A packet ends at `end`. A boundary that does not lie ahead is ignored.
    pub(crate) fn push(&mut self, end: BytePos) {
        if end <= self.live() {
            return;
        }
        self.boundaries.push_back(end);
        let keep_from = end - kept_bytes(&self.rendition);
        while self.boundaries.front().is_some_and(|&oldest| oldest < keep_from) && self.boundaries.len() > 1 {
            self.boundaries.pop_front();
        }
    }

    /// Nothing that was is kept.
    pub(crate) fn forget(&mut self) {
        self.boundaries = VecDeque::from([self.live()]);
    }

    /// One past the newest byte.
    pub(crate) fn live(&self) -> BytePos {
        self.boundaries.back().copied().unwrap_or_default()
    }

    /// The oldest boundary whose bytes are still kept.
    pub(crate) fn oldest(&self) -> BytePos {
        self.boundaries.front().copied().unwrap_or_default()
    }

    /// The first boundary at or after `position`; live if there is none.
    pub(crate) fn boundary_from(&self, position: BytePos) -> BytePos {
        let at = self.boundaries.partition_point(|&boundary| boundary < position);
        self.boundaries.get(at).copied().unwrap_or_else(|| self.live())
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

    #[test]
    fn keeps_a_minute_and_finds_boundaries() {
        let mut index = index();
        for packet in 1..=5000u64 {
            index.push(BytePos(packet * 960));
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
        index.push(BytePos(960));
        index.push(BytePos(960));
        index.push(BytePos(5));
        assert_eq!(index.live(), BytePos(960));
    }

    #[test]
    fn a_position_from_outside_may_be_any() {
        let mut index = index();
        index.push(BytePos(u64::MAX));
        assert!(index.lag_ms(BytePos(0)) > 60_000);
        assert_eq!(index.boundary_from(BytePos(u64::MAX)), index.live());
    }
}
