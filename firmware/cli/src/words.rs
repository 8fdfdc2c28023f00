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
    fn an_unset_clock_is_said() {
        assert_eq!(wall(WallTime::Unknown), "clock not set");
        assert_eq!(wall(WallTime::Unix(86_400 + 3661)), "01:01:01 UTC");
    }
}
