//! What lies in the folder, and what goes first: recordings in the order in which they were made, whatever the clock said.

use units::Rendition;

use crate::index::{GapWhy, Hole, Point};
use crate::time::Utc;

/// A recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name without ending.
    pub stem: String,
    /// `mp3` or `aac`.
    pub ending: &'static str,
    /// Run of the recorder and number in it: the order of recording. One whose index is lost counts as the oldest.
    pub(crate) order: (u64, u32),
    /// What it holds; `None` without an index.
    pub rendition: Option<Rendition>,
    /// Where it begins; `None` without an index.
    pub(crate) begin: Option<Point>,
    /// Where it ends, as far as it is recorded.
    pub(crate) end: Option<Point>,
    /// Seconds by which local time was ahead of UTC when it began.
    pub offset_s: i32,
    /// Why packets are missing between the one before and this one; `None` if none are.
    pub(crate) after: Option<GapWhy>,
    pub(crate) holes: Vec<Hole>,
    /// On the disk, index included.
    pub bytes: u64,
    /// It is being recorded.
    pub open: bool,
}

impl Entry {
    /// When it begins, if that is known.
    #[must_use]
    pub fn starts(&self) -> Option<Utc> {
        self.begin.map_or_else(|| crate::name::start(&self.stem), |begin| begin.utc)
    }

    /// When it ends, if that is known; up to now for the one that is being made.
    #[must_use]
    pub fn ends(&self) -> Option<Utc> {
        self.end?.utc
    }

    /// Whether a time service vouches for these times.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.begin.is_some_and(|begin| begin.sure)
    }
}

/// What is kept apart: the sound around an incident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Clip {
    /// With its ending.
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Milliseconds after which a recording goes.
    pub(crate) age_ms: u64,
    /// Bytes of all recordings together.
    pub(crate) budget: u64,
    /// Bytes that stay free on the disk.
    pub(crate) keep_free: u64,
}

/// Why a recording goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// Its days are over.
    Age,
    /// All together are more than the budget.
    Budget,
    /// The disk fills up.
    Full,
}

/// All recordings, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Shelf {
    entries: Vec<Entry>,
    /// Oldest first.
    pub(crate) clips: Vec<Clip>,
}

impl Shelf {
    pub(crate) fn new(mut entries: Vec<Entry>, clips: Vec<Clip>) -> Self {
        entries.sort_by(|a, b| (a.order, &a.stem).cmp(&(b.order, &b.stem)));
        Self { entries, clips }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    pub(crate) fn clip_bytes(&self) -> u64 {
        self.clips.iter().map(|clip| clip.bytes).sum()
    }

    pub(crate) fn has(&self, stem: &str) -> bool {
        self.entries.iter().any(|entry| entry.stem == stem)
    }

    /// Adds the newest one.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Puts back what did not have to go.
    pub(crate) fn put_back(&mut self, entries: impl Iterator<Item = Entry>) {
        self.entries.extend(entries);
        self.entries.sort_by(|a, b| (a.order, &a.stem).cmp(&(b.order, &b.stem)));
    }

    /// The one that is being recorded.
    pub(crate) fn open(&mut self) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.open)
    }

    /// The one that is being recorded is so no more; `unbegun`: it never was.
    pub(crate) fn abandon(&mut self, unbegun: bool) {
        self.entries.retain(|entry| !(entry.open && unbegun));
        self.entries.iter_mut().for_each(|entry| entry.open = false);
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    /// Takes the oldest recording that is not being made away, if one has to go before `incoming` bytes are written where
    /// `free` bytes are left. `now` is `None` while ages cannot be judged.
    pub(crate) fn victim(
        &mut self,
        limits: Limits,
        now: Option<(Utc, bool)>,
        free: Option<u64>,
        incoming: u64,
    ) -> Option<(Entry, Reason)> {
        let oldest = self.entries.iter().position(|entry| !entry.open)?;
        let full = free.is_some_and(|free| free < limits.keep_free.saturating_add(incoming));
        let reason = if now.is_some_and(|now| self.is_over_age(oldest, limits.age_ms, now)) {
            Reason::Age
        } else if full {
            Reason::Full
        } else if self.bytes().saturating_add(incoming) > limits.budget {
            Reason::Budget
        } else {
            return None;
        };
        Some((self.entries.remove(oldest), reason))
    }

    /// Takes the oldest recording that is not being made away: the disk takes nothing more.
    pub(crate) fn oldest(&mut self) -> Option<Entry> {
        let oldest = self.entries.iter().position(|entry| !entry.open)?;
        Some(self.entries.remove(oldest))
    }

    /// Whether the days of one are over. Where a time service vouches for the clock now, it must have vouched for it then, or
    /// for that of a later recording that is too old; where none does, times are as good as they are.
    fn is_over_age(&self, which: usize, age_ms: u64, (now, sure): (Utc, bool)) -> bool {
        let too_old = |entry: &Entry| {
            let end = entry.end.or(entry.begin).filter(|end| !entry.open && end.sure == sure);
            end.and_then(|end| end.utc).is_some_and(|end| now.from(end) > age_ms.cast_signed())
        };
        match (&self.entries[which..], sure) {
            ([one, ..], false) => too_old(one),
            (later, true) => later.iter().any(too_old),
            ([], false) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use units::Instant;

    const DAY: u64 = 86_400_000;

    fn entry(order: (u64, u32), end: Option<(u64, bool)>, bytes: u64) -> Entry {
        let end = end.map(|(utc, sure)| Point {
            byte: bytes,
            packets: 0,
            at: Instant::ZERO,
            utc: Some(Utc(utc)),
            sure,
        });
        Entry {
            stem: format!("{order:?}"),
            ending: "mp3",
            order,
            rendition: None,
            begin: None,
            end,
            offset_s: 0,
            after: None,
            holes: Vec::new(),
            bytes,
            open: false,
        }
    }

    const LIMITS: Limits = Limits { age_ms: 42 * DAY, budget: 1000, keep_free: 100 };

    proptest! {
        /// Whatever lies there and however the clock behaved: the oldest by recording goes first, never the one that is being
        /// made, and no more than is needed.
        #[test]
        fn the_oldest_goes_first_and_no_more_than_needed(
            made in prop::collection::vec((0_u64..4, 0_u32..50, prop::option::of((0_u64..100 * DAY, any::<bool>())), 1_u64..300), 0..20),
            open in any::<bool>(),
            free in prop::option::of(0_u64..600),
            incoming in 0_u64..100,
            now in prop::option::of((0_u64..200 * DAY, any::<bool>())),
        ) {
            let mut entries: Vec<Entry> =
                made.into_iter().map(|(run, seq, end, bytes)| entry((run, seq), end, bytes)).collect();
            if open {
                entries.push(Entry { open: true, ..entry((9, 0), None, 50) });
            }
            let mut shelf = Shelf::new(entries, Vec::new());
            let now = now.map(|(utc, sure)| (Utc(utc), sure));
            let mut free = free;
            let mut gone: Vec<(u64, u32)> = Vec::new();
            loop {
                let before = shelf.bytes();
                let Some((victim, reason)) = shelf.victim(LIMITS, now, free, incoming) else { break };
                prop_assert!(!victim.open);
                let left = shelf.entries().iter().filter(|entry| !entry.open);
                prop_assert!(left.map(|entry| entry.order).all(|order| order >= victim.order));
                match reason {
                    Reason::Budget => prop_assert!(before + incoming > LIMITS.budget),
                    Reason::Full => prop_assert!(free.unwrap() < LIMITS.keep_free + incoming),
                    Reason::Age => prop_assert!(now.is_some()),
                }
                prop_assert!(gone.last().is_none_or(|last| *last <= victim.order));
                gone.push(victim.order);
                free = free.map(|free| free + victim.bytes);
            }
            // Nothing is left to go, or nothing has to.
            if shelf.entries().iter().any(|entry| !entry.open) {
                prop_assert!(shelf.bytes() + incoming <= LIMITS.budget);
                prop_assert!(free.is_none_or(|free| free >= LIMITS.keep_free + incoming));
            }
            prop_assert_eq!(shelf.entries().iter().any(|entry| entry.open), open);
        }
    }

    #[test]
    fn an_unsure_clock_ages_nothing_that_a_sure_one_made() {
        let now = 50 * DAY;
        let age = |shelf: &mut Shelf, sure| {
            shelf.victim(LIMITS, Some((Utc(now), sure)), None, 0).map(|(entry, reason)| (entry.order, reason))
        };
        let mut shelf = Shelf::new(vec![entry((1, 1), Some((DAY, true)), 1)], Vec::new());
        assert_eq!(age(&mut shelf, false), None);
        assert_eq!(age(&mut shelf, true), Some(((1, 1), Reason::Age)));
        // An unsure one goes by its own time only as long as nothing better is known.
        let unsure = || Shelf::new(vec![entry((1, 1), Some((DAY, false)), 1)], Vec::new());
        assert_eq!(age(&mut unsure(), true), None);
        assert_eq!(age(&mut unsure(), false), Some(((1, 1), Reason::Age)));
        // One without a time goes with a later one that is too old.
        let mut shelf =
            Shelf::new(vec![entry((1, 2), Some((DAY, true)), 1), entry((1, 1), None, 1)], Vec::new());
        assert_eq!(age(&mut shelf, true), Some(((1, 1), Reason::Age)));
        assert_eq!(age(&mut shelf, true), Some(((1, 2), Reason::Age)));
    }
}
