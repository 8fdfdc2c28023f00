//! Times, sizes and clock readings as people read them.

use std::time::Duration;

use units::WallTime;

/// `12 s`, `3 min 4 s`, `2 h 13 min`, `5 d 3 h`.
#[must_use]
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        86_400.. => format!("{days} d {} h", hours % 24),
    }
}

/// Three digits and a decimal unit: `0 B`, `950 kB`, `3.46 GB`.
#[must_use]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut size = count as f64;
    let mut unit = 0;
    // 999.5 would be rounded to four digits.
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let decimals = if unit == 0 || size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else {
        2
    };
    format!("{size:.decimals$} {}", UNITS[unit])
}

/// GB in a month of 30 days.
#[must_use]
pub(crate) fn a_month(bytes_per_day: u64) -> String {
    let gb = bytes_per_day as f64 * 30.0 / 1e9;
    if gb < 10.0 { format!("{gb:.1} GB") } else { format!("{gb:.0} GB") }
}

/// GB in a month of 30 days, however few they are.
#[must_use]
pub(crate) fn a_month_exactly(bytes_per_day: u64) -> String {
    let gb = bytes_per_day as f64 * 30.0 / 1e9;
    if gb < 0.1 && bytes_per_day > 0 { format!("{:.3} GB", gb.max(0.001)) } else { a_month(bytes_per_day) }
}

/// Date and time of day in UTC, if the box knows them.
#[must_use]
pub(crate) fn date(time: WallTime) -> String {
    match time {
        WallTime::Unknown => "clock not set           ".into(),
        WallTime::Unix(seconds) => {
            let (year, month, day) = civil(seconds / 86_400);
            format!("{year:04}-{month:02}-{day:02} {}", wall(time))
        }
    }
}

/// Year, month and day of so many days since 1970-01-01, in the Gregorian calendar: years that begin with March put the leap
/// day last, and 400 of them have 146 097 days.
const fn civil(days: u64) -> (u64, u64, u64) {
    // 719 468 days lie between 0000-03-01 and 1970-01-01.
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Months from March on have 153 days in each five.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
}

/// The time of day in UTC, if the box knows it.
#[must_use]
pub(crate) fn wall(time: WallTime) -> String {
    match time {
        WallTime::Unknown => "clock not set".into(),
        WallTime::Unix(seconds) => {
            let of_day = seconds % 86_400;
            format!("{:02}:{:02}:{:02} UTC", of_day / 3600, of_day / 60 % 60, of_day % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_the_most() {
        let cases =
            [(0, "0 s"), (59, "59 s"), (184, "3 min 4 s"), (7980, "2 h 13 min"), (442_800, "5 d 3 h")];
        for (seconds, words) in cases {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (3_456_000_000, "3.46 GB"),
            (u64::MAX, "18447 PB"),
        ];
        for (count, words) in cases {
            assert_eq!(bytes(count), words);
        }
        // 320 kbit/s are 40 kB a second.
        assert_eq!(a_month(40_000 * 86_400), "104 GB");
    }

    #[test]
    fn dates_follow_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59 UTC"),
        ];
        for (seconds, words) in cases {
            assert_eq!(date(WallTime::Unix(seconds)), words);
        }
        assert!(date(WallTime::Unknown).starts_with("clock not set"));
        assert!(!date(WallTime::Unix(u64::MAX)).is_empty());
    }

    #[test]
    fn little_is_not_nothing() {
        // Bytes of filler: 21 600 a day of 150 bytes.
        assert_eq!(a_month_exactly(3_240_000), "0.097 GB");
        assert_eq!(a_month_exactly(40_000 * 86_400), "104 GB");
        assert_eq!((a_month_exactly(1).as_str(), a_month_exactly(0).as_str()), ("0.001 GB", "0.0 GB"));
    }

    #[test]
    fn an_unset_clock_is_said() {
        assert_eq!(wall(WallTime::Unknown), "clock not set");
        assert_eq!(wall(WallTime::Unix(86_400 + 3661)), "01:01:01 UTC");
    }
}
