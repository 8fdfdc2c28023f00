//! Numbers with their units, as people write them: `"320 kbit/s"`, `"-50 dBFS"`, `"0.5 s"`, `"44.1 kHz"`.
//!
//! A number without a unit is refused: 320 of what? Each error is the remedy, with the value the writer probably meant.

use std::time::Duration;

use units::{BitRate, Dbfs, SampleRate};

/// `"320 kbit/s"`, `"320k"` or `"320000 bit/s"`.
pub(crate) fn bitrate(text: &str) -> Result<BitRate, String> {
    let quantity = split(text, "320 kbit/s", "kbit/s")?;
    let bits_per_unit = match quantity.unit {
        "kbit/s" | "kbps" | "k" => 1000.0,
        "bit/s" => 1.0,
        _ => return Err(quantity.wrong_unit("kbit/s")),
    };
    let bits = quantity.number * bits_per_unit;
    // From 1 kbit/s to 10 Mbit/s in whole bits; each codec has its own range inside.
    if bits.fract() != 0.0 || !(1_000.0..=10_000_000.0).contains(&bits) {
        return Err("write a bitrate such as \"320 kbit/s\"".into());
    }
    BitRate::from_bits(bits as u32).ok_or_else(|| "write a bitrate above zero".into())
}

/// `"48 kHz"`, `"44.1 kHz"`, or either in Hz.
pub(crate) fn sample_rate(text: &str) -> Result<SampleRate, String> {
    let hz = hertz(text, "48 kHz")?;
    let whole = if hz.fract() == 0.0 && (0.0..=1e6).contains(&hz) { hz as u32 } else { 0 };
    SampleRate::try_from(whole).map_err(|_| "write \"48 kHz\" or \"44.1 kHz\": the box runs at these".into())
}

/// A frequency of a tone: `"1000 Hz"` or `"1 kHz"`, 20 Hz to 20 kHz.
pub(crate) fn tone(text: &str) -> Result<f32, String> {
    let hz = hertz(text, "1000 Hz")?;
    if (20.0..=20_000.0).contains(&hz) {
        Ok(hz as f32)
    } else {
        Err("write a tone from \"20 Hz\" to \"20 kHz\"".into())
    }
}

/// A level: `"-50 dBFS"`, from `least` dBFS up to full scale.
pub(crate) fn level(text: &str, least: f32) -> Result<Dbfs, String> {
    let quantity = split(text, "-50 dBFS", "dBFS")?;
    if quantity.unit != "dBFS" {
        return Err(quantity.wrong_unit("dBFS"));
    }
    let db = quantity.number as f32;
    if (least..=0.0).contains(&db) {
        Ok(Dbfs::new(db))
    } else if (least..=0.0).contains(&-db) {
        Err(format!("write \"-{db} dBFS\": full scale is 0 and levels lie below it"))
    } else {
        Err(format!("write a level from \"{least} dBFS\" to \"0 dBFS\""))
    }
}

/// A span: `"20 s"`, `"500 ms"`, `"2 min"`, from `least` to `most`.
pub(crate) fn span(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let quantity = split(text, "20 s", "s")?;
    let seconds_per_unit = match quantity.unit {
        "ms" => 0.001,
        "s" => 1.0,
        "min" => 60.0,
        _ => return Err(quantity.wrong_unit("s")),
    };
    let wrong = || format!("write a span from \"{} s\" to \"{} s\"", least.as_secs_f64(), most.as_secs_f64());
    let span = Duration::try_from_secs_f64(quantity.number * seconds_per_unit).map_err(|_| wrong())?;
    if (least..=most).contains(&span) { Ok(span) } else { Err(wrong()) }
}

/// A figure in decibels of any kind: `"-3 dB"`, `"-16 LUFS"`.
pub(crate) fn decibels(text: &str, unit: &str, least: f32, most: f32) -> Result<f32, String> {
    let quantity = split(text, &format!("{least} {unit}"), unit)?;
    if quantity.unit != unit {
        return Err(quantity.wrong_unit(unit));
    }
    let db = quantity.number as f32;
    if (least..=most).contains(&db) {
        Ok(db)
    } else {
        Err(format!("write \"{least} {unit}\" to \"{most} {unit}\""))
    }
}

/// A ceiling of true peaks: `"-1 dBTP"`, from `least` up to full scale.
pub(crate) fn ceiling(text: &str, least: f32) -> Result<Dbfs, String> {
    decibels(text, "dBTP", least, 0.0).map(Dbfs::new)
}

/// A size on a disk: `"20 GB"`, `"500 MB"`, `"1.5 TB"`, decimal units, from `least` bytes up to 1000 TB.
pub(crate) fn size(text: &str, example: &str, least: u64) -> Result<u64, String> {
    const MOST: f64 = 1e15;
    let quantity = split(text, example, "GB")?;
    let bytes_per_unit = match quantity.unit {
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return Err(quantity.wrong_unit("GB")),
    };
    let bytes = (quantity.number * bytes_per_unit).round();
    if (least as f64..=MOST).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(format!("write a size from \"{} MB\" to \"1000 TB\"", least as f64 / 1e6))
    }
}

fn hertz(text: &str, example: &str) -> Result<f64, String> {
    let quantity = split(text, example, "Hz")?;
    match quantity.unit {
        "Hz" => Ok(quantity.number),
        // Rounded to the millihertz: 44.1 kHz is not exactly 44100 in binary.
        "kHz" => Ok((quantity.number * 1e6).round() / 1e3),
        _ => Err(quantity.wrong_unit("Hz")),
    }
}

struct Quantity<'a> {
    number: f64,
    digits: &'a str,
    unit: &'a str,
}

impl Quantity<'_> {
    /// The remedy for a unit of another spelling or another kind.
    fn wrong_unit(&self, unit: &str) -> String {
        format!(
            "write \"{} {unit}\" if that is the unit you meant; {:?} is not known here",
            self.digits, self.unit
        )
    }
}

/// Splits number from unit. A bare number is answered with the same number and `unit`.
fn split<'a>(text: &'a str, example: &str, unit: &str) -> Result<Quantity<'a>, String> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let number: f64 =
        digits.parse().map_err(|_| format!("write a number and its unit, such as \"{example}\""))?;
    let found = rest.trim_start();
    if found.is_empty() {
        // "48" was meant as kHz, "48000" as Hz.
        let unit = if unit == "Hz" && number < 1000.0 { "kHz" } else { unit };
        return Err(format!("write \"{digits} {unit}\""));
    }
    if found.len() > 10 || !found.is_ascii() {
        return Err(format!("write a number and its unit, such as \"{example}\""));
    }
    Ok(Quantity { number, digits, unit: found })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn people_write_units_in_a_few_ways() {
        for text in ["320 kbit/s", "320k", "320kbit/s", "320000 bit/s", " 320  kbit/s "] {
            assert_eq!(bitrate(text).map(BitRate::kbit), Ok(320), "{text}");
        }
        for text in ["44.1 kHz", "44100 Hz", "44.1kHz"] {
            assert_eq!(sample_rate(text), Ok(SampleRate::Hz44100), "{text}");
        }
        assert_eq!(level("-50 dBFS", -100.0), Ok(Dbfs::new(-50.0)));
        assert_eq!(span("0.5 s", Duration::ZERO, LONG), Ok(Duration::from_millis(500)));
        assert_eq!(span("2 min", Duration::ZERO, LONG), Ok(Duration::from_secs(120)));
        assert_eq!(tone("1 kHz"), Ok(1000.0));
    }

    #[test]
    fn sizes_are_decimal() {
        for text in ["20 GB", "20000 MB", "0.02 TB", "20GB"] {
            assert_eq!(size(text, "20 GB", 10_000_000), Ok(20_000_000_000), "{text}");
        }
        assert_eq!(size("0 MB", "20 GB", 0), Ok(0));
        for text in ["20", "20 GiB", "9 MB", "-1 GB", "2000 TB", "lots"] {
            assert!(size(text, "20 GB", 10_000_000).is_err(), "{text}");
        }
        assert_eq!(size("20", "20 GB", 0), Err("write \"20 GB\"".into()));
    }

    #[test]
    fn a_bare_number_is_answered_with_its_unit() {
        assert_eq!(bitrate("320"), Err("write \"320 kbit/s\"".into()));
        assert_eq!(level("-50", -100.0), Err("write \"-50 dBFS\"".into()));
        assert_eq!(span("20", Duration::ZERO, LONG), Err("write \"20 s\"".into()));
        assert_eq!(sample_rate("48"), Err("write \"48 kHz\"".into()));
        assert_eq!(sample_rate("48000"), Err("write \"48000 Hz\"".into()));
    }

    #[test]
    fn what_is_out_of_range_or_no_quantity_is_refused() {
        for text in [
            "",
            "k",
            "0 kbit/s",
            "-3k",
            "1e9 kbit/s",
            "nan k",
            "inf k",
            "320 Kbit",
            "0.0001 kbit/s",
            "3.2.0 k",
        ] {
            assert!(bitrate(text).is_err(), "{text}");
        }
        for text in ["22.05 kHz", "0 Hz", "-48 kHz", "1e99 Hz"] {
            assert!(sample_rate(text).is_err(), "{text}");
        }
        assert!(level("50 dBFS", -100.0).unwrap_err().contains("\"-50 dBFS\""));
        assert!(level("-101 dBFS", -100.0).is_err());
        assert!(level("-20 dB", -100.0).unwrap_err().contains("\"-20 dBFS\""));
        for text in ["-1 s", "2 h", "99999999999999999999999999 s", "3601 s"] {
            assert!(span(text, Duration::ZERO, LONG).is_err(), "{text}");
        }
    }
}
