//! The time of day as recordings need it: milliseconds of UTC, what is known of the clock, and local times that people write.
//!
//! Every decision is made in UTC; the local time only names files, starts a new one on its hour, and is understood in orders.
//! So a change of clocks loses nothing and doubles nothing: the hour that is there twice has two offsets.

use std::fmt;

use serde::{Deserialize, Serialize};
use units::Instant;

/// Milliseconds since 1970-01-01 00:00 UTC, without leap seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Utc(pub u64);

impl Utc {
    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// So many milliseconds later, or earlier.
    #[must_use]
    pub const fn shifted(self, ms: i64) -> Self {
        Self(self.0.saturating_add_signed(ms))
    }

    /// Milliseconds from `earlier` to here; negative if `earlier` lies ahead.
    #[must_use]
    pub const fn from(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).cast_signed() - earlier.0.saturating_sub(self.0).cast_signed()
    }
}

/// What is known of the time of day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Nothing has set it since the box booted: what it shows is earlier than this program was made.
    Unset,
    /// It shows something possible, but no time service vouches for it.
    Unsure(Utc),
    /// A time service keeps it.
    Sure(Utc),
}

impl Clock {
    /// What it shows, if that means anything.
    #[must_use]
    pub const fn utc(self) -> Option<Utc> {
        match self {
            Self::Unset => None,
            Self::Unsure(utc) | Self::Sure(utc) => Some(utc),
        }
    }

    /// Whether a time service vouches for it.
    #[must_use]
    pub const fn is_sure(self) -> bool {
        matches!(self, Self::Sure(_))
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// On the clock that nobody sets.
    pub at: Instant,
    /// The time of day.
    pub clock: Clock,
    /// Seconds by which local time is ahead of UTC then.
    pub offset_s: i32,
}

impl Moment {
    /// The same moment, so many milliseconds earlier.
    #[must_use]
    pub(crate) fn earlier(self, ms: u64) -> Self {
        let back = -ms.cast_signed();
        let clock = match self.clock {
            Clock::Unset => Clock::Unset,
            Clock::Unsure(utc) => Clock::Unsure(utc.shifted(back)),
            Clock::Sure(utc) => Clock::Sure(utc.shifted(back)),
        };
        Self { at: self.at - std::time::Duration::from_millis(ms), clock, ..self }
    }
}

/// Milliseconds from `earlier` to `later` on the clock that nobody sets; negative the other way round.
pub(crate) const fn ms_between(earlier: Instant, later: Instant) -> i64 {
    let (earlier, later) = (earlier.as_micros().cast_signed(), later.as_micros().cast_signed());
    (later - earlier) / 1000
}

/// A reading of the calendar and the clock on the wall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Civil {
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
}

impl Civil {
    /// What a wall shows that is `offset_s` ahead of UTC.
    pub(crate) const fn at(utc: Utc, offset_s: i32) -> Self {
        let seconds = utc.seconds().saturating_add_signed(offset_s as i64);
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // Years that begin with March put the leap day last; 400 of them have 146 097 days, and 719 468 lie between
        // 0000-03-01 and 1970-01-01.
        let days = days.saturating_add(719_468);
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = year + era * 400 + next;
        Self { year, month, day, hour: of_day / 3600, minute: of_day / 60 % 60, second: of_day % 60 }
    }

    /// When a wall shows this that is `offset_s` ahead of UTC. `None` for what no calendar has, and before 1970.
    pub(crate) fn utc(self, offset_s: i32) -> Option<Utc> {
        let Self { year, month, day, hour, minute, second } = self;
        if !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (shifted_year, shifted_month) =
            if month > 2 { (year, month.checked_sub(3)?) } else { (year - 1, month.checked_add(9)?) };
        let of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
        let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + of_year;
        let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
        let utc = Utc(seconds.checked_add_signed(-i64::from(offset_s))? * 1000);
        // The 31st of April is found out on the way back.
        (Self::at(utc, offset_s) == self).then_some(utc)
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// `+02:00`.
pub(crate) fn offset_text(offset_s: i32) -> String {
    let (sign, minutes) = (if offset_s < 0 { '-' } else { '+' }, offset_s.unsigned_abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Why a time that somebody wrote is none, and what to write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeError {
    /// It is no time at all.
    #[error(
        "\"{text}\" is no time; write local time as 2026-10-25 14:00 or 14:00 (today), or UTC as 2026-10-25T12:00:00Z"
    )]
    Unreadable {
        /// What was written.
        text: String,
    },
    /// The clocks were put forward over it.
    #[error("{text} local time never was: the clocks were put forward over it; write UTC: {instead}")]
    Skipped {
        /// What was written.
        text: String,
        /// The moment at which the clocks were put forward, in UTC.
        instead: String,
    },
    /// The clocks were put back over it.
    #[error("{text} local time was there twice: the clocks were put back; write {first} or {second}")]
    Twice {
        /// What was written.
        text: String,
        /// The earlier one, with its offset.
        first: String,
        /// The later one, with its offset.
        second: String,
    },
    /// A time without a date, and the box does not know what day it is.
    #[error("the box does not know the date; write the time with one, as in 2026-10-25T12:00:00Z")]
    NoDate,
}

/// Understands a time: with `Z` or an offset, or local, with a date or of the day `now`. `offset_at` gives the seconds by
/// which local time is ahead of UTC at a moment.
///
/// # Errors
/// It is no time, or one that local clocks did not show exactly once.
pub fn read_time(text: &str, now: Option<Utc>, offset_at: &dyn Fn(Utc) -> i32) -> Result<Utc, TimeError> {
    let text = text.trim();
    let unreadable = || TimeError::Unreadable { text: text.chars().take(40).collect() };
    let (rest, zone) = split_zone(text).ok_or_else(unreadable)?;
    let (date, time) = match rest.split_once(['T', ' ', '_']) {
        Some((date, time)) => (Some(date), time),
        None => (None, rest),
    };
    let clock = numbers(time, ':').ok_or_else(unreadable)?;
    let (hour, minute, second) = match *clock.as_slice() {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(unreadable()),
    };
    let (year, month, day) = match date {
        Some(date) => match *numbers(date, '-').ok_or_else(unreadable)?.as_slice() {
            [year, month, day] => (year, month, day),
            _ => return Err(unreadable()),
        },
        None => {
            let now = now.ok_or(TimeError::NoDate)?;
            let today = Civil::at(now, zone.unwrap_or_else(|| offset_at(now)));
            (today.year, today.month, today.day)
        }
    };
    let civil = Civil { year, month, day, hour, minute, second };
    match zone {
        Some(offset_s) => civil.utc(offset_s).ok_or_else(unreadable),
        None => local(civil, offset_at).map_err(|error| error.unwrap_or_else(unreadable)),
    }
}

/// The moment at which local clocks showed `civil`. No error of its own where the calendar has no such reading.
fn local(civil: Civil, offset_at: &dyn Fn(Utc) -> i32) -> Result<Utc, Option<TimeError>> {
    let near = civil.utc(0).ok_or(None)?;
    // Offsets change by hours and not twice within a day: those of the day before and after are all there can be.
    const DAY_MS: i64 = 86_400_000;
    let mut offsets = [offset_at(near.shifted(-DAY_MS)), offset_at(near.shifted(DAY_MS))];
    // The larger offset gives the earlier moment.
    offsets.sort_by_key(|offset_s| -offset_s);
    let found: Vec<(Utc, i32)> = offsets
        .iter()
        .filter_map(|&offset_s| Some((civil.utc(offset_s)?, offset_s)))
        .filter(|&(utc, offset_s)| offset_at(utc) == offset_s)
        .collect();
    let with = |offset_s| format!("\"{civil}{}\"", offset_text(offset_s));
    match *found.as_slice() {
        [(utc, _)] => Ok(utc),
        [(first, a), (second, b)] if first != second => {
            Err(Some(TimeError::Twice { text: civil.to_string(), first: with(a), second: with(b) }))
        }
        [(utc, _), ..] => Ok(utc),
        [] => {
            // Read with the offset before the change, it lies as far behind the change as it was skipped by.
            let after = civil.utc(offsets[1]).map(|utc| format!("\"{}Z\"", Civil::at(utc, 0)));
            Err(Some(TimeError::Skipped { text: civil.to_string(), instead: after.unwrap_or_default() }))
        }
    }
}

/// The text before the zone, and the zone's seconds ahead of UTC, if there is one.
fn split_zone(text: &str) -> Option<(&str, Option<i32>)> {
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        return Some((rest, Some(0)));
    }
    // A minus before the time of day belongs to the date.
    let time = text.find([':', 'T']).unwrap_or(0);
    let Some(at) = text[time..].find(['+', '-']).map(|at| at + time) else { return Some((text, None)) };
    let (rest, zone) = text.split_at(at);
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    let number: i32 = (digits.len() == 4).then(|| digits.parse().ok())??;
    let (hours, minutes) = (number / 100, number % 100);
    let seconds = (hours <= 15 && minutes < 60).then_some((hours * 60 + minutes) * 60)?;
    Some((rest, Some(if zone.starts_with('-') { -seconds } else { seconds })))
}

fn numbers(text: &str, between: char) -> Option<Vec<u64>> {
    let number = |part: &str| {
        let fits = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| part.parse().ok())?
    };
    text.split(between).map(number).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Central Europe in 2026: summer time from 29 March 01:00 to 25 October 01:00 UTC.
    pub(crate) fn berlin(utc: Utc) -> i32 {
        let (spring, autumn) = (1_774_746_000, 1_792_890_000);
        if (spring..autumn).contains(&utc.seconds()) { 7200 } else { 3600 }
    }

    fn read(text: &str) -> Result<Utc, TimeError> {
        read_time(text, Some(Utc(1_792_886_400_000)), &berlin)
    }

    fn utc(text: &str) -> Utc {
        read(text).unwrap()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let noon = Utc(1_792_929_600_000);
        for text in [
            "2026-10-25T12:00:00Z",
            "2026-10-25 13:00",
            "2026-10-25T13:00:00",
            "2026-10-25T14:00:00+0200",
            "2026-10-25 14:00+02:00",
            "2026-10-25T07:00-0500",
            "12:00Z",
            "13:00",
            " 13:00:00 ",
        ] {
            assert_eq!(read(text), Ok(noon), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-02-30 10:00",
            "2026-10-25",
            "25:00",
            "12:60",
            "1:2:3:4",
            "2026-10-25 12:00+99:00",
            "99999-01-01 00:00",
            "0000-00-00 00:00Z",
            "2026-10-25 12:00é",
        ] {
            assert!(matches!(read(text), Err(TimeError::Unreadable { .. })), "{text}: {:?}", read(text));
        }
        assert_eq!(read_time("12:00", None, &berlin), Err(TimeError::NoDate));
    }

    #[test]
    fn an_hour_that_was_there_twice_is_asked_back() {
        let Err(TimeError::Twice { first, second, .. }) = read("2026-10-25 02:30") else { panic!() };
        assert_eq!(
            (first.as_str(), second.as_str()),
            ("\"2026-10-25 02:30:00+02:00\"", "\"2026-10-25 02:30:00+01:00\"")
        );
        assert_eq!(utc(second.trim_matches('"')).from(utc(first.trim_matches('"'))), 3_600_000);
        // Right before and right after there is no doubt.
        assert_eq!(utc("2026-10-25 03:00"), utc("2026-10-25T02:00:00Z"));
        assert_eq!(utc("2026-10-25 01:59:59"), utc("2026-10-24T23:59:59Z"));
    }

    #[test]
    fn an_hour_that_never_was_is_refused() {
        let Err(TimeError::Skipped { instead, .. }) = read("2026-03-29 02:30") else { panic!() };
        assert_eq!(instead, "\"2026-03-29 01:30:00Z\"");
        assert_eq!(utc("2026-03-29 03:00"), utc("2026-03-29T01:00:00Z"));
    }

    #[test]
    fn the_calendar_goes_there_and_back() {
        for seconds in (0..4_200_000_000).step_by(8_640_007) {
            let utc = Utc(seconds * 1000);
            for offset_s in [0, 7200, -12_600] {
                if seconds > 86_400 {
                    assert_eq!(Civil::at(utc, offset_s).utc(offset_s), Some(utc));
                }
            }
        }
    }
}
