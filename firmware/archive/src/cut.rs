//! What a cut consists of: which recordings, from which packet to which, and what is missing inside.

use units::Rendition;

use crate::index::GapWhy;
use crate::shelf::Entry;
use crate::time::{Civil, Utc};

/// Where packets are missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The first moment of which nothing is recorded.
    pub from: Utc,
    /// The first moment of which something is recorded again.
    pub to: Utc,
    /// Why.
    pub why: GapWhy,
}

/// What a cut is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// Places on the shelf, in the order of recording.
    pub(crate) entries: Vec<usize>,
    pub(crate) rendition: Rendition,
    /// Inside, in order.
    pub(crate) missing: Vec<Missing>,
    /// Where the clock was set back inside, so that times come again: when, and by how many milliseconds.
    pub(crate) again: Vec<(Utc, u64)>,
}

/// Why there is no such cut, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The end does not lie behind the beginning.
    #[error("the cut ends at {to}, before it begins at {from}; give the earlier time first")]
    Backwards {
        /// Where it begins.
        from: String,
        /// Where it ends.
        to: String,
    },
    /// Nothing was recorded then.
    #[error("nothing is recorded from {from} to {to}; `mainstay recordings` lists what is")]
    Nothing {
        /// Where it begins.
        from: String,
        /// Where it ends.
        to: String,
    },
    /// One file plays one format only.
    #[error(
        "the recording changes from {before} to {after} at {at}, and one file holds one format; cut up to there and from there"
    )]
    Format {
        /// When.
        at: String,
        /// What it was.
        before: Rendition,
        /// What it became.
        after: Rendition,
    },
    /// A recording cannot be read.
    #[error("{name} cannot be read; it may have gone meanwhile, look at `mainstay recordings`")]
    Unreadable {
        /// Its file.
        name: String,
        /// What the kernel said.
        #[source]
        cause: std::io::Error,
    },
}

/// A time for people, in UTC.
#[must_use]
pub fn in_words(utc: Utc) -> String {
    format!("{}Z", Civil::at(utc, 0))
}

/// A time for people, as a clock shows it that is `offset_s` ahead of UTC.
#[must_use]
pub fn local_in_words(utc: Utc, offset_s: i32) -> String {
    format!("{}{}", Civil::at(utc, offset_s), crate::time::offset_text(offset_s))
}

/// Where packets are missing inside a recording, and before it, where `before` is the one before it.
#[must_use]
pub fn missing(before: Option<&Entry>, entry: &Entry) -> Vec<Missing> {
    let between = before.and_then(|before| {
        let (from, to) = (before.ends()?, entry.starts()?);
        let why = entry.after?;
        (to > from).then_some(Missing { from, to, why })
    });
    let inside = entry
        .holes
        .iter()
        .filter_map(|hole| Some(Missing { from: hole.from.utc?, to: hole.to.utc?, why: hole.why }));
    between.into_iter().chain(inside).collect()
}

/// Plans a cut out of recordings in the order in which they were made.
pub(crate) fn plan(shelf: &[Entry], from: Utc, to: Utc) -> Result<Plan, CutError> {
    if to <= from {
        return Err(CutError::Backwards { from: in_words(from), to: in_words(to) });
    }
    let nothing = || CutError::Nothing { from: in_words(from), to: in_words(to) };
    let entries: Vec<usize> = (0..shelf.len())
        .filter(|&which| {
            let entry = &shelf[which];
            // Without an index there is no way to its packets.
            let span = entry.rendition.and_then(|_| Some((entry.starts()?, entry.ends()?)));
            span.is_some_and(|(starts, ends)| starts < to && ends > from)
        })
        .collect();
    let (Some(&first), Some(&last)) = (entries.first(), entries.last()) else { return Err(nothing()) };
    let rendition = shelf[first].rendition.ok_or_else(nothing)?;
    for &which in &entries {
        let other = shelf[which].rendition.ok_or_else(nothing)?;
        if other.matches(&rendition).is_err() {
            let at = in_words(shelf[which].starts().unwrap_or(from));
            return Err(CutError::Format { at, before: rendition, after: other });
        }
    }
    let (starts, ends) = (shelf[first].starts().unwrap_or(from), shelf[last].ends().unwrap_or(to));
    let mut gaps = Vec::new();
    if starts > from {
        gaps.push(Missing { from, to: starts, why: GapWhy::Off });
    }
    for &which in &entries {
        // What is missing before the first one has been said.
        let before = which.checked_sub(1).filter(|_| which != first).map(|before| &shelf[before]);
        gaps.extend(missing(before, &shelf[which]));
    }
    if ends < to {
        gaps.push(Missing { from: ends, to, why: GapWhy::Off });
    }
    gaps.retain(|gap| gap.from < to && gap.to > from);
    for gap in &mut gaps {
        (gap.from, gap.to) = (gap.from.max(from), gap.to.min(to));
    }
    let again = entries.windows(2).filter_map(|pair| {
        let (ends, starts) = (shelf[pair[0]].ends()?, shelf[pair[1]].starts()?);
        (ends.from(starts) > AGAIN_MS).then(|| (ends, ends.from(starts).unsigned_abs()))
    });
    Ok(Plan { again: again.collect(), missing: gaps, rendition, entries })
}

/// Less is the rounding of two marks.
const AGAIN_MS: i64 = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Point;
    use crate::walk::tests::MP3;
    use units::{BitRate, Codec, Instant};

    fn point(utc_s: u64) -> Point {
        Point { byte: 0, packets: 0, at: Instant::ZERO, utc: Some(Utc(utc_s * 1000)), sure: true }
    }

    fn entry(seq: u32, from_s: u64, to_s: u64, after: Option<GapWhy>) -> Entry {
        Entry {
            stem: seq.to_string(),
            ending: "mp3",
            order: (1, seq),
            rendition: Some(MP3),
            begin: Some(point(from_s)),
            end: Some(point(to_s)),
            offset_s: 0,
            after,
            holes: Vec::new(),
            bytes: 1,
            open: false,
        }
    }

    fn at(seconds: u64) -> Utc {
        Utc(seconds * 1000)
    }

    #[test]
    fn a_cut_names_every_gap_inside_it() {
        let mut shelf = vec![
            entry(1, 1000, 4600, None),
            entry(2, 4600, 8200, None),
            entry(3, 9000, 12_000, Some(GapWhy::Disk)),
        ];
        shelf[1].holes.push(crate::index::Hole { from: point(5000), to: point(5010), why: GapWhy::SlowDisk });
        let plan = |from, to| plan(&shelf, at(from), at(to));
        let seam = plan(4000, 4700).unwrap();
        assert_eq!((seam.entries, seam.missing), (vec![0, 1], vec![]));
        let all = plan(500, 13_000).unwrap();
        assert_eq!(all.entries, [0, 1, 2]);
        let gap = |from, to, why| Missing { from: at(from), to: at(to), why };
        assert_eq!(
            all.missing,
            [
                gap(500, 1000, GapWhy::Off),
                gap(5000, 5010, GapWhy::SlowDisk),
                gap(8200, 9000, GapWhy::Disk),
                gap(12_000, 13_000, GapWhy::Off),
            ]
        );
        let half = plan(8300, 9100).unwrap();
        assert_eq!((half.entries, half.missing), (vec![2], vec![gap(8300, 9000, GapWhy::Off)]));
        assert!(matches!(plan(8300, 8900), Err(CutError::Nothing { .. })));
        assert!(matches!(plan(5000, 5000), Err(CutError::Backwards { .. })));
    }

    #[test]
    fn a_clock_that_was_set_back_gives_both_and_says_so() {
        let shelf = [entry(1, 1000, 4600, None), entry(2, 1600, 5200, None)];
        let cut = plan(&shelf, at(2000), at(3000)).unwrap();
        assert_eq!((cut.entries, cut.again), (vec![0, 1], vec![(at(4600), 3_000_000)]));
        assert_eq!(cut.missing, []);
    }

    #[test]
    fn one_file_has_one_format() {
        let mut shelf = [entry(1, 1000, 4600, None), entry(2, 4600, 8200, None)];
        shelf[1].rendition = Some(Rendition { codec: Codec::AacLc, ..MP3 });
        assert!(matches!(plan(&shelf, at(4000), at(5000)), Err(CutError::Format { .. })));
        // Players take another bitrate in mid-file.
        shelf[1].rendition = Some(Rendition { bitrate: BitRate::from_kbit(64).unwrap(), ..MP3 });
        assert!(plan(&shelf, at(4000), at(5000)).is_ok());
        shelf[1].rendition = None;
        assert_eq!(plan(&shelf, at(4000), at(5000)).unwrap().entries, [0]);
    }
}
