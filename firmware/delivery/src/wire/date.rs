//! Two spellings of a date, as seconds since 1970 (UTC).

/// An HTTP date in its preferred form (RFC 9110, 5.6.7): `Fri, 20 Nov 2026 08:00:00 GMT`.
pub(super) fn http_date(text: &str) -> Option<i64> {
    let mut parts = text.split_once(", ")?.1.split(' ');
    let day = number(parts.next()?)?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as i64 + 1;
    let year = number(parts.next()?)?;
    seconds(year, month, day, parts.next()?)
}

/// The form Icecast writes: `2026-11-20T08:00:00+0000`, also with `Z` or a colon in the offset.
pub(super) fn iso8601(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once('T')?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?)?, number(date.next()?)?, number(date.next()?)?);
    let clock = rest.get(..8)?;
    let offset = rest.get(8..)?;
    let shift = match offset.as_bytes().first() {
        None | Some(b'Z') => 0,
        Some(sign @ (b'+' | b'-')) => {
            let hours = number(offset.get(1..3)?)?;
            let minutes = number(offset.get(offset.len().checked_sub(2)?..)?)?;
            let shift = hours * 3600 + minutes * 60;
            if *sign == b'+' { shift } else { -shift }
        }
        Some(_) => return None,
    };
    Some(seconds(year, month, day, clock)? - shift)
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn seconds(year: i64, month: i64, day: i64, clock: &str) -> Option<i64> {
    let mut clock = clock.splitn(3, ':');
    let (hour, minute, second) = (number(clock.next()?)?, number(clock.next()?)?, number(clock.next()?)?);
    let sane = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    // Days since 1970 with years that begin in March, so that the leap day is the last of a year.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100
        + shifted_year / 400
        + (153 * shifted_month + 2) / 5
        + day
        - 719_469;
    sane.then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_agree() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Fri, 20 Nov 2026 08:00:00 GMT"), Some(1_795_161_600));
        assert_eq!(iso8601("2026-11-20T08:00:00+0000"), Some(1_795_161_600));
        assert_eq!(iso8601("2026-11-20T10:00:00+02:00"), Some(1_795_161_600));
        assert_eq!(iso8601("2024-02-29T12:00:00Z"), Some(1_709_208_000));
    }

    #[test]
    fn rubbish_is_none() {
        for text in [
            "",
            "T",
            "2026-13-01T00:00:00Z",
            "Fri, 20 Nov",
            "2026-11-20T",
            "20\u{e9}6-11-20T08:00:00+0\u{e9}",
            "x, y z 1 1:1:1",
        ] {
            assert_eq!((http_date(text), iso8601(text)), (None, None), "{text}");
        }
    }
}
