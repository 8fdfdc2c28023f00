//! The index beside each recording: JSON lines that say which byte was sent when, where packets are missing, and how the
//! recording began and ended. A line is written after the bytes that it speaks of are on the disk; a torn last line costs
//! only itself, and what lies behind the last mark is found again by walking through the packets.

use serde::{Deserialize, Serialize};
use units::{Instant, Rendition};

use crate::time::{Utc, ms_between};
use crate::walk::packets_in;

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub(crate) enum Line {
    /// The first one.
    Begin(Begin),
    /// Now and then.
    Mark(Mark),
    /// Packets are missing between two marks on one byte.
    Gap { from: Mark, to: Mark, why: GapWhy },
    /// The clock was set only later: at `at` of the same run it was `utc`. All marks are to be read so.
    Set { at: Instant, utc: Utc },
    /// The last one of a recording that was closed, or closed again by the next run.
    End { mark: Mark, why: Ended },
}

/// How a recording began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// Version of this language.
    pub(crate) version: u32,
    /// Counts the runs of the recorder in this folder.
    pub(crate) run: u64,
    /// Counts the recordings of a run.
    pub(crate) seq: u32,
    /// The name it began with.
    pub(crate) stem: String,
    /// What its packets are.
    pub(crate) rendition: Rendition,
    /// Seconds by which local time was ahead of UTC.
    pub(crate) offset_s: i32,
    /// Why packets are missing between the recording before and this one; `None` if none are.
    pub(crate) after: Option<GapWhy>,
    /// Where and when it begins.
    pub(crate) mark: Mark,
}

/// Which byte was when: the packet that begins at `byte` follows the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) byte: u64,
    /// Packets before it in this recording.
    pub(crate) packets: u64,
    /// On the clock of that run that nobody sets.
    pub(crate) at: Instant,
    /// The time of day, as far as it was known.
    pub(crate) utc: Option<Utc>,
    /// A time service vouched for it.
    pub(crate) sure: bool,
}

/// Why packets are missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapWhy {
    /// The disk did not take them fast enough.
    SlowDisk,
    /// The disk took none.
    Disk,
    /// The encoder made none.
    Encoder,
    /// Nothing was recorded between two recordings: the box, or recording, was off.
    Off,
}

impl GapWhy {
    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::SlowDisk => "the disk was too slow",
            Self::Disk => "the disk took nothing",
            Self::Encoder => "no packets came",
            Self::Off => "nothing was recorded",
        }
    }
}

/// Why a recording ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// The local clock's hour is over, or local time has another offset.
    Hour,
    /// It is as long as one may be on a disk of this size.
    Size,
    /// Other packets follow.
    Format,
    /// The time of day stepped, or became known.
    Clock,
    /// Recording was turned off, or the box.
    Off,
    /// It was cut off; its end was found by the next run.
    Torn,
}

/// A point in a recording, read with everything that is known of the clock by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub(crate) byte: u64,
    pub(crate) packets: u64,
    pub(crate) at: Instant,
    pub(crate) utc: Option<Utc>,
    pub(crate) sure: bool,
}

/// Where packets are missing in a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hole {
    pub(crate) from: Point,
    pub(crate) to: Point,
    pub(crate) why: GapWhy,
}

/// An index that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Index {
    pub(crate) begin: Begin,
    /// In their order. Two on one byte enclose a gap.
    pub(crate) points: Vec<Point>,
    pub(crate) holes: Vec<Hole>,
    /// `None`: cut off, or still being written.
    pub(crate) ended: Option<Ended>,
    /// Bytes of whole lines.
    pub(crate) whole: u64,
}

/// What is looked for in a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// A time of day.
    Utc(Utc),
    /// A moment of the recording's own run.
    At(Instant),
}

/// From where to walk, and how far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Way {
    /// A packet begins there.
    pub(crate) byte: u64,
    /// So many packets from there at the most.
    pub(crate) packets: u64,
    /// And never beyond.
    pub(crate) last: Option<u64>,
}

impl Index {
    /// Reads an index, up to its last whole line. `None` without a beginning that this version understands.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let mut whole = 0;
        let mut lines = Vec::new();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let Ok(read) = serde_json::from_slice::<Line>(line) else { break };
            if line.last() != Some(&b'\n') {
                break;
            }
            whole += line.len() as u64;
            lines.push(read);
        }
        let mut lines = lines.into_iter();
        let Some(Line::Begin(begin)) = lines.next() else { return None };
        if begin.version != VERSION {
            return None;
        }
        let (mut marks, mut holes, mut set, mut ended) = (vec![begin.mark], Vec::new(), None, None);
        for line in lines {
            match line {
                Line::Begin(_) => {}
                Line::Mark(mark) => marks.push(mark),
                Line::Gap { from, to, why } => {
                    marks.extend([from, to]);
                    holes.push((from, to, why));
                }
                Line::Set { at, utc } => set = Some((at, utc)),
                Line::End { mark, why } => {
                    marks.push(mark);
                    ended = Some(why);
                }
            }
        }
        let point = |mark: Mark| {
            let told = set.map(|(at, utc): (Instant, Utc)| utc.shifted(-ms_between(mark.at, at)));
            let Mark { byte, packets, at, utc, sure } = mark;
            Point { byte, packets, at, utc: told.or(utc), sure: sure || told.is_some() }
        };
        let holes = holes.into_iter().map(|(from, to, why)| Hole { from: point(from), to: point(to), why });
        Some(Self {
            holes: holes.collect(),
            points: marks.into_iter().map(point).collect(),
            begin,
            ended,
            whole,
        })
    }

    /// Where its sound begins.
    pub(crate) fn first(&self) -> Point {
        self.points[0]
    }

    /// The last point that is noted; sound may follow.
    pub(crate) fn last(&self) -> Point {
        self.points[self.points.len() - 1]
    }

    /// The way to the packet that sounds at a time; to the first one from there on where none does. `None` if the time of this
    /// recording is not known.
    pub(crate) fn way(&self, when: When) -> Option<Way> {
        // By how much a point lies ahead of what is looked for.
        let ahead = |point: &Point| match when {
            When::Utc(utc) => Some(point.utc?.from(utc)),
            When::At(at) => Some(ms_between(at, point.at)),
        };
        let mut before = None;
        let mut after = None;
        for point in &self.points {
            if ahead(point)? <= 0 {
                before = Some(point);
                after = None;
            } else if after.is_none() {
                after = Some(point);
            }
        }
        let Some(before) = before else { return Some(Way { byte: 0, packets: 0, last: None }) };
        let ms = ahead(before)?.unsigned_abs();
        let last = after.map(|point| point.byte);
        Some(Way { byte: before.byte, packets: packets_in(&self.begin.rendition, ms), last })
    }
}

/// Of the index's language.
pub(crate) const VERSION: u32 = 1;

/// A line as it is written.
pub(crate) fn written(line: &Line) -> String {
    // Numbers, words and a name of ours: nothing in a line can fail to be written.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::tests::MP3;

    fn mark(packets: u64, at_ms: u64, utc: Option<u64>) -> Mark {
        let at = Instant::from_millis(at_ms);
        Mark { byte: packets * 960, packets, at, utc: utc.map(Utc), sure: false }
    }

    fn begin(utc: Option<u64>) -> Line {
        Line::Begin(Begin {
            version: VERSION,
            run: 1,
            seq: 1,
            stem: "a".into(),
            rendition: MP3,
            offset_s: 0,
            after: None,
            mark: mark(0, 5000, utc),
        })
    }

    fn text(lines: &[Line]) -> Vec<u8> {
        lines.iter().flat_map(|line| written(line).into_bytes()).collect()
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let whole = text(&[begin(Some(100_000)), Line::Mark(mark(2500, 65_000, Some(160_000)))]);
        let first = text(&[begin(Some(100_000))]).len();
        for cut in 0..=whole.len() {
            let read = Index::read(&whole[..cut]);
            assert_eq!(
                read.as_ref().map(|index| index.points.len()),
                match cut {
                    cut if cut < first => None,
                    cut if cut < whole.len() => Some(1),
                    _ => Some(2),
                }
            );
            if let Some(index) = read {
                assert!(index.whole <= cut as u64);
            }
        }
        assert_eq!(Index::read(b"\0\0\0\0"), None);
    }

    #[test]
    fn a_time_leads_to_its_packet() {
        let index = Index::read(&text(&[
            begin(Some(100_000)),
            Line::Mark(mark(2500, 65_000, Some(160_000))),
            Line::Gap {
                from: mark(3000, 77_000, Some(172_000)),
                to: mark(3000, 87_000, Some(182_000)),
                why: GapWhy::Disk,
            },
        ]))
        .unwrap();
        let way = |ms| index.way(When::Utc(Utc(ms))).unwrap();
        assert_eq!(way(90_000), Way { byte: 0, packets: 0, last: None }, "before it begins");
        assert_eq!(way(100_024), Way { byte: 0, packets: 1, last: Some(2500 * 960) });
        assert_eq!(way(161_200), Way { byte: 2500 * 960, packets: 50, last: Some(3000 * 960) });
        // Inside the gap: the packet behind it.
        let inside = way(175_000);
        assert_eq!((inside.byte + inside.packets * 960).min(inside.last.unwrap()), 3000 * 960);
        assert_eq!(way(182_240), Way { byte: 3000 * 960, packets: 10, last: None }, "behind the last mark");
        let at = index.way(When::At(Instant::from_millis(66_200))).unwrap();
        assert_eq!(at, way(161_200));
    }

    #[test]
    fn a_clock_that_is_set_later_tells_all_times() {
        let set = Line::Set { at: Instant::from_millis(105_000), utc: Utc(1_000_100_000) };
        let index = Index::read(&text(&[begin(None), Line::Mark(mark(2500, 65_000, None)), set])).unwrap();
        assert_eq!(index.first().utc, Some(Utc(1_000_000_000)));
        assert_eq!(index.last().utc, Some(Utc(1_000_060_000)));
        assert!(index.first().sure);
        let unset = Index::read(&text(&[begin(None)])).unwrap();
        assert_eq!(unset.way(When::Utc(Utc(5))), None);
    }
}
