//! About a second of packets on their way to the disk.

use std::ops::Range;

use units::Rendition;

use crate::time::Moment;
use crate::walk::packets_ms;

/// Packets of one rendition, each following the one before without a hole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    /// What they are.
    pub(crate) rendition: Rendition,
    /// Their bytes, one behind the other.
    pub(crate) bytes: Vec<u8>,
    /// Where in `bytes` each ends.
    pub(crate) ends: Vec<u32>,
    /// What lies between the batch before and this one.
    pub(crate) before: Before,
    /// When the last one's end was encoded.
    pub(crate) moment: Moment,
}

/// What lies between two batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    /// Nothing: the first packet follows the last one of the batch before.
    Nothing,
    /// Packets that found the queue full.
    Lost,
    /// Packets that nobody made, or another encoder's.
    Break,
}

impl Batch {
    pub(crate) const fn packets(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of some of its packets.
    pub(crate) fn range(&self, packets: Range<usize>) -> Range<usize> {
        self.start(packets.start)..self.start(packets.end)
    }

    /// When packet `which` began (the one behind the last: when the last one ended).
    pub(crate) fn moment_of(&self, which: usize) -> Moment {
        self.moment.earlier(packets_ms(&self.rendition, (self.packets() - which) as u64))
    }

    fn start(&self, which: usize) -> usize {
        which.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }
}
