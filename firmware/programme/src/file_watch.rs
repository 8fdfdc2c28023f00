//! When a watched file may be read: writers rarely replace a file in one step, so one that has just changed is waited
//! for. Sans-IO: told the time and what the file looked like, by whoever looked.

use std::time::Duration;

use units::Instant;

/// What a look at the file shows. Two equal stamps mean: not written in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Time of its last change, in nanoseconds of the file system's clock (only compared, never read as a time).
    pub mtime_ns: i128,
    /// Its length in bytes.
    pub len: u64,
}

/// What to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is what was read last.
    Unchanged,
    /// Look again then, or when told that it changed.
    Wait {
        /// When a verdict is possible, if nothing else changes.
        until: Instant,
    },
    /// Read it now; this stamp counts as read.
    Read,
}

/// One watched file.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileWatch {
    read: Option<Stamp>,
    changing: Option<Changing>,
}

#[derive(Clone, Copy, Debug)]
struct Changing {
    /// When the first change since the last reading was seen.
    since: Instant,
    stamp: Stamp,
    /// When `stamp` was first seen; never before `since`.
    still_since: Instant,
}

impl FileWatch {
    /// A changed file is read once it has not changed for so long.
    pub const SETTLED: Duration = Duration::from_millis(250);

    /// At the latest so long after the change: a file that is written all the time, or stays empty, is read as it is.
    pub const LATEST: Duration = Duration::from_secs(2);

    /// A file that was never read.
    #[must_use]
    pub const fn new() -> Self {
        Self { read: None, changing: None }
    }

    /// Takes in what the file looked like at `now`. Looking too often is harmless.
    pub fn saw(&mut self, now: Instant, stamp: Stamp) -> Verdict {
        if self.read == Some(stamp) {
            self.changing = None;
            return Verdict::Unchanged;
        }
        let changing = match self.changing {
            Some(changing) if changing.stamp == stamp => changing,
            Some(changing) => Changing { stamp, still_since: now, ..changing },
            None => Changing { since: now, stamp, still_since: now },
        };
        let latest = changing.since + Self::LATEST;
        // An editor that truncates and then writes leaves the file empty for a moment.
        let until = if stamp.len == 0 { latest } else { latest.min(changing.still_since + Self::SETTLED) };
        if now < until {
            self.changing = Some(changing);
            return Verdict::Wait { until };
        }
        self.changing = None;
        self.read = Some(stamp);
        Verdict::Read
    }

    /// The file is not there: when it comes back it is new, whatever its stamp.
    pub fn gone(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn stamp(mtime: i128, len: u64) -> Stamp {
        Stamp { mtime_ns: mtime, len }
    }

    #[test]
    fn a_settled_file_is_read_once() {
        let mut watch = FileWatch::new();
        assert_eq!(watch.saw(at(1000), stamp(1, 10)), Verdict::Wait { until: at(1250) });
        assert_eq!(watch.saw(at(1249), stamp(1, 10)), Verdict::Wait { until: at(1250) });
        assert_eq!(watch.saw(at(1250), stamp(1, 10)), Verdict::Read);
        assert_eq!(watch.saw(at(9000), stamp(1, 10)), Verdict::Unchanged);
        assert_eq!(
            watch.saw(at(9001), stamp(2, 10)),
            Verdict::Wait { until: at(9251) },
            "same length, other time"
        );
    }

    #[test]
    fn writing_puts_it_off_for_two_seconds_at_the_most() {
        let mut watch = FileWatch::new();
        for step in 0..20_u64 {
            let now = at(5000 + step * 100);
            let until = at(5000 + step * 100 + 250).min(at(7000));
            assert_eq!(watch.saw(now, stamp(i128::from(step), step + 1)), Verdict::Wait { until });
        }
        assert_eq!(watch.saw(at(7000), stamp(99, 99)), Verdict::Read);
        assert_eq!(
            watch.saw(at(7100), stamp(100, 100)),
            Verdict::Wait { until: at(7350) },
            "and again from there"
        );
    }

    #[test]
    fn an_empty_file_is_waited_for_and_then_believed() {
        let mut watch = FileWatch::new();
        assert_eq!(watch.saw(at(0), stamp(1, 0)), Verdict::Wait { until: at(2000) });
        assert_eq!(watch.saw(at(1000), stamp(1, 0)), Verdict::Wait { until: at(2000) });
        assert_eq!(watch.saw(at(1100), stamp(2, 5)), Verdict::Wait { until: at(1350) });
        assert_eq!(watch.saw(at(1350), stamp(2, 5)), Verdict::Read);
        assert_eq!(watch.saw(at(3000), stamp(3, 0)), Verdict::Wait { until: at(5000) });
        assert_eq!(watch.saw(at(5000), stamp(3, 0)), Verdict::Read);
    }

    #[test]
    fn a_file_that_was_gone_is_new() {
        let mut watch = FileWatch::new();
        watch.saw(at(0), stamp(1, 5));
        assert_eq!(watch.saw(at(250), stamp(1, 5)), Verdict::Read);
        watch.gone();
        assert_eq!(watch.saw(at(300), stamp(1, 5)), Verdict::Wait { until: at(550) });
    }
}
