//! What recordings are called: the time at which they begin, in UTC and as the local clock showed it.
//!
//! `2026-10-25T00-30-00Z_2026-10-25T02-30-00+0200.mp3`: sorted by name they are sorted by time, through every change of
//! clocks; no character that a file system or a share refuses (ISO 8601 with `-` for `:`). `_unsure` at the end: no time
//! service vouched for the clock. A recording whose time is not known yet is called `unset_0007-0001` (run and number).

use crate::time::{Civil, Clock, Utc};

/// Ending of an index.
pub(crate) const INDEX: &str = "jsonl";

/// Endings of recordings.
pub(crate) const SOUND: [&str; 2] = ["mp3", "aac"];

/// What a recording is called, without its ending.
pub(crate) fn stem(start: Clock, offset_s: i32, run: u64, seq: u32) -> String {
    let known = |utc| {
        let (there, here) = (Civil::at(utc, 0), Civil::at(utc, offset_s));
        let sign = if offset_s < 0 { '-' } else { '+' };
        let minutes = offset_s.unsigned_abs() / 60;
        format!("{}Z_{}{sign}{:02}{:02}", plain(there), plain(here), minutes / 60, minutes % 60)
    };
    match start {
        Clock::Unset => format!("{UNSET}{run:04}-{seq:04}"),
        Clock::Unsure(utc) => known(utc) + UNSURE,
        Clock::Sure(utc) => known(utc),
    }
}

/// `stem`, or what comes closest to it and is not taken.
pub(crate) fn free(stem: String, taken: &dyn Fn(&str) -> bool) -> String {
    if !taken(&stem) {
        return stem;
    }
    let mut number = 2_u32;
    loop {
        let other = format!("{stem}_{number}");
        if !taken(&other) {
            return other;
        }
        number += 1;
    }
}

/// What a name of ours says of the time. `None` for names that are not ours.
pub(crate) fn parse(stem: &str) -> Option<(Clock, i32)> {
    if let Some(rest) = stem.strip_prefix(UNSET) {
        let ours = rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'_');
        return ours.then_some((Clock::Unset, 0));
    }
    let (utc, rest) = (civil(stem.get(..19)?)?.utc(0)?, stem.get(19..)?.strip_prefix("Z_")?);
    let (local, rest) = (civil(rest.get(..19)?)?, rest.get(19..)?);
    let (zone, rest) = rest.split_at_checked(5)?;
    let digits: i32 =
        zone.get(1..)?.bytes().all(|byte| byte.is_ascii_digit()).then(|| zone[1..].parse().ok())??;
    let seconds = (digits / 100 * 60 + digits % 100) * 60;
    let offset_s = match zone.as_bytes()[0] {
        b'+' => seconds,
        b'-' => -seconds,
        _ => return None,
    };
    let (unsure, rest) = rest.strip_prefix(UNSURE).map_or((false, rest), |rest| (true, rest));
    let number =
        rest.strip_prefix('_').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    if Civil::at(utc, offset_s) != local || !(rest.is_empty() || number) {
        return None;
    }
    Some((if unsure { Clock::Unsure(utc) } else { Clock::Sure(utc) }, offset_s))
}

/// Whether a file is one of ours, by its name: its stem and ending.
pub(crate) fn split(name: &str) -> Option<(&str, &'static str)> {
    let (stem, ending) = name.rsplit_once('.')?;
    let ending = SOUND.into_iter().chain([INDEX]).find(|ours| *ours == ending)?;
    parse(stem).map(|_| (stem, ending))
}

/// When a name says that its recording begins.
pub(crate) fn start(stem: &str) -> Option<Utc> {
    parse(stem).and_then(|(clock, _)| clock.utc())
}

const UNSET: &str = "unset_";
const UNSURE: &str = "_unsure";

fn plain(civil: Civil) -> String {
    civil.to_string().replace(' ', "T").replace(':', "-")
}

fn civil(text: &str) -> Option<Civil> {
    let bytes = text.as_bytes();
    let places = bytes.len() == 19 && bytes[10] == b'T' && [4, 7, 13, 16].iter().all(|&at| bytes[at] == b'-');
    let number = |from: usize, to: usize| {
        let part = text.get(from..to)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    if !places {
        return None;
    }
    Some(Civil {
        year: number(0, 4)?,
        month: number(5, 7)?,
        day: number(8, 10)?,
        hour: number(11, 13)?,
        minute: number(14, 16)?,
        second: number(17, 19)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::tests::berlin;

    #[test]
    fn names_stay_apart_and_in_order_while_the_clocks_change() {
        // Both changes of 2026, an hour before to two hours after, each half hour.
        for change in [1_774_746_000_u64, 1_792_890_000] {
            let at = |step: u64| Utc((change - 3600 + step * 1800) * 1000);
            let names: Vec<String> =
                (0..7).map(|step| stem(Clock::Sure(at(step)), berlin(at(step)), 1, 1)).collect();
            let mut sorted = names.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(names, sorted);
            for (step, name) in (0..).zip(&names) {
                assert_eq!(start(name), Some(at(step)), "{name}");
            }
        }
        let first = stem(Clock::Sure(Utc(1_792_888_200_000)), 7200, 1, 1);
        assert_eq!(first, "2026-10-25T00-30-00Z_2026-10-25T02-30-00+0200");
        let second = stem(Clock::Sure(Utc(1_792_891_800_000)), 3600, 1, 1);
        assert_eq!(second, "2026-10-25T01-30-00Z_2026-10-25T02-30-00+0100");
    }

    #[test]
    fn what_is_written_is_read() {
        let utc = Utc(1_792_888_200_000);
        for offset_s in [0, 7200, -12_600, 20_700] {
            for clock in [Clock::Unset, Clock::Unsure(utc), Clock::Sure(utc)] {
                let name = stem(clock, offset_s, 7, 12);
                let (read, offset) = parse(&name).unwrap();
                assert_eq!(read, clock, "{name}");
                assert!(clock == Clock::Unset || offset == offset_s, "{name}");
                let taken = name.clone();
                let other = free(name, &|stem| stem == taken);
                assert_eq!(parse(&other).map(|(clock, _)| clock), Some(clock), "{other}");
                assert_eq!(split(&format!("{other}.mp3")), Some((other.as_str(), "mp3")));
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for name in [
            "holiday.mp3",
            "2026-10-25T00-30-00Z_2026-10-25T02-30-00+0200.wav",
            "2026-10-25T00-30-00Z_2026-10-25T03-30-00+0200.mp3",
            "2026-10-25T00-30-00Z_2026-10-25T02-30-00+0200 (copy).mp3",
            "2026-13-25T00-30-00Z_2026-13-25T02-30-00+0200.mp3",
            "unset_final.mp3",
            ".mp3",
            "ü".repeat(30).as_str(),
        ] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
