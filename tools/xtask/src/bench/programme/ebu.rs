//! The minimum-requirement signals of EBU Tech 3341 (loudness and true peak) and Tech 3342 (loudness range), generated, and
//! what the meters make of them. Recorded programme and five channels cannot be generated for a stereo box: see [`LEFT_OUT`].

use std::f64::consts::TAU;

use anyhow::Result;
use programme::Meter;
use units::{Channels, SampleRate};

/// Cases that are not run, and why.
pub(super) const LEFT_OUT: &str = "Not run: Tech 3341 case 6 (five channels), 7 and 8, and Tech 3342 cases 5 and 6 (recorded \
                                   programme, which cannot be generated).";

const RATE: f64 = 48_000.0;
/// Momentary and short-term loudness are read so often.
const EVERY: usize = 960;

/// One figure of one case.
pub(super) struct Row {
    pub(super) case: String,
    pub(super) figure: &'static str,
    pub(super) required: f64,
    /// How far under and over it may be.
    pub(super) tolerance: (f64, f64),
    /// The figures measured that are furthest under and over.
    pub(super) measured: (f64, f64),
}

impl Row {
    pub(super) fn is_met(&self) -> bool {
        self.measured.0 >= self.required - self.tolerance.0
            && self.measured.1 <= self.required + self.tolerance.1
    }
}

/// Runs them all.
pub(super) fn run() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    steady(&mut rows)?;
    integrated(&mut rows)?;
    short_term(&mut rows)?;
    momentary(&mut rows)?;
    true_peak(&mut rows)?;
    range(&mut rows)?;
    Ok(rows)
}

/// 1 kHz in both channels: level in dBFS (peak) and seconds, one after the other; minus infinity is silence.
fn tones(parts: &[(f64, f64)]) -> Vec<f32> {
    let levels = parts.iter().flat_map(|(dbfs, seconds)| {
        std::iter::repeat_n(10_f64.powf(dbfs / 20.0), (seconds * RATE).round() as usize)
    });
    levels
        .enumerate()
        .map(|(n, height)| (height * (TAU * 1000.0 * n as f64 / RATE).sin()) as f32)
        .flat_map(|sample| [sample; 2])
        .collect()
}

/// What the meter read at the end, and every 20 ms.
struct Read {
    meter: Meter,
    /// Momentary and short-term loudness; silence is far down.
    every: Vec<(f64, f64)>,
    true_peak: f64,
}

fn read(pcm: &[f32]) -> Result<Read> {
    let mut meter = Meter::new(Meter::HISTORY, SampleRate::Hz48000, Channels::Stereo)?;
    let (mut every, mut true_peak) = (Vec::new(), f64::NEG_INFINITY);
    for part in pcm.chunks(EVERY * 2) {
        meter.feed(part);
        let levels = meter.levels();
        let number = |lufs: Option<units::Lufs>| lufs.map_or(-144.0, |lufs| f64::from(lufs.lufs()));
        every.push((number(levels.momentary), number(levels.short_term)));
        true_peak = levels.true_peak.iter().map(|peak| f64::from(peak.db())).fold(true_peak, f64::max);
    }
    Ok(Read { meter, every, true_peak })
}

impl Read {
    fn integrated(&mut self) -> f64 {
        let integrated = self.meter.levels().integrated;
        integrated.map_or(-144.0, |lufs| f64::from(lufs.lufs()))
    }
}

fn bounds(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    figures
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), figure| (low.min(figure), high.max(figure)))
}

fn loudness(case: impl Into<String>, figure: &'static str, required: f64, measured: (f64, f64)) -> Row {
    Row { case: case.into(), figure, required, tolerance: (0.1, 0.1), measured }
}

const SILENCE: f64 = f64::NEG_INFINITY;

fn steady(rows: &mut Vec<Row>) -> Result<()> {
    for (case, dbfs) in [("3341-1", -23.0), ("3341-2", -33.0)] {
        let mut read = read(&tones(&[(dbfs, 20.0)]))?;
        let integrated = read.integrated();
        let (momentary, short_term) = read.every.last().copied().unwrap_or_default();
        for (figure, measured) in [("M", momentary), ("S", short_term), ("I", integrated)] {
            rows.push(loudness(case, figure, dbfs, (measured, measured)));
        }
    }
    Ok(())
}

fn integrated(rows: &mut Vec<Row>) -> Result<()> {
    let cases: [(&str, &[(f64, f64)]); 3] = [
        ("3341-3", &[(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)]),
        ("3341-4", &[(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)]),
        ("3341-5", &[(-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)]),
    ];
    for (case, parts) in cases {
        let measured = read(&tones(parts))?.integrated();
        rows.push(loudness(case, "I", -23.0, (measured, measured)));
    }
    Ok(())
}

fn short_term(rows: &mut Vec<Row>) -> Result<()> {
    let parts: Vec<_> = (0..5).flat_map(|_| [(-20.0, 1.34), (-30.0, 1.66)]).collect();
    let whole = read(&tones(&parts))?;
    let after = whole.every.iter().skip(150).map(|(_, short_term)| *short_term);
    rows.push(loudness("3341-9", "S, constant after 3 s", -23.0, bounds(after)));
    let mut measured = Vec::new();
    for n in 0..20 {
        let file = read(&tones(&[(SILENCE, 0.15 * f64::from(n)), (-23.0, 3.0), (SILENCE, 1.0)]))?;
        measured.push(bounds(file.every.into_iter().map(|(_, short_term)| short_term)).1);
    }
    rows.push(loudness("3341-10", "max S, 20 files", -23.0, bounds(measured.into_iter())));
    let levels = (0..20).map(|n| -38.0 + f64::from(n));
    let parts: Vec<_> = levels
        .clone()
        .enumerate()
        .flat_map(|(n, level)| [(SILENCE, 0.15 * n as f64), (level, 3.0), (SILENCE, 3.0 - 0.15 * n as f64)])
        .collect();
    let whole = read(&tones(&parts))?;
    let highest = |segment: &[(f64, f64)]| bounds(segment.iter().map(|(_, short_term)| *short_term)).1;
    let off = whole.every.chunks(300).map(highest).zip(levels).map(|(highest, level)| highest - level);
    rows.push(loudness("3341-11", "max S against -38 to -19, 20 steps", 0.0, bounds(off)));
    Ok(())
}

fn momentary(rows: &mut Vec<Row>) -> Result<()> {
    let parts: Vec<_> = (0..25).flat_map(|_| [(-20.0, 0.18), (-30.0, 0.22)]).collect();
    let whole = read(&tones(&parts))?;
    let after = whole.every.iter().skip(50).map(|(momentary, _)| *momentary);
    rows.push(loudness("3341-12", "M, constant after 1 s", -23.0, bounds(after)));
    let mut measured = Vec::new();
    for n in 0..20 {
        let file = read(&tones(&[(SILENCE, 0.02 * f64::from(n)), (-23.0, 0.4), (SILENCE, 1.0)]))?;
        measured.push(bounds(file.every.into_iter().map(|(momentary, _)| momentary)).1);
    }
    rows.push(loudness("3341-13", "max M, 20 files", -23.0, bounds(measured.into_iter())));
    let levels = (0..20).map(|n| -38.0 + f64::from(n));
    let parts: Vec<_> = levels
        .clone()
        .enumerate()
        .flat_map(|(n, level)| [(SILENCE, 0.02 * n as f64), (level, 0.4), (SILENCE, 0.4 - 0.02 * n as f64)])
        .collect();
    let whole = read(&tones(&parts))?;
    let highest = |segment: &[(f64, f64)]| bounds(segment.iter().map(|(momentary, _)| *momentary)).1;
    let off = whole.every.chunks(40).map(highest).zip(levels).map(|(highest, level)| highest - level);
    rows.push(loudness("3341-14", "max M against -38 to -19, 20 steps", 0.0, bounds(off)));
    Ok(())
}

fn true_peak(rows: &mut Vec<Row>) -> Result<()> {
    let mut push = |case: String, required: f64, samples: Vec<f32>| -> Result<()> {
        let pcm: Vec<f32> = samples.into_iter().flat_map(|sample| [sample; 2]).collect();
        let measured = read(&pcm)?.true_peak;
        let tolerance = (0.4, 0.2);
        rows.push(Row { case, figure: "max TP", required, tolerance, measured: (measured, measured) });
        Ok(())
    };
    // Sines of a fraction of the sample rate, phase in degrees, height.
    for (case, fraction, phase, height, required) in [
        (15, 4.0, 0.0, 0.5, -6.0),
        (16, 4.0, 45.0, 0.5, -6.0),
        (17, 6.0, 60.0, 0.5, -6.0),
        (18, 8.0, 67.5, 0.5, -6.0),
        (19, 4.0, 45.0, 1.41, 3.0),
    ] {
        // Faded in, as nothing in the standard begins with a step.
        let sine = (0..48_000).map(|n| {
            let fade = (f64::from(n) / 480.0).min(1.0);
            (fade * height * (TAU * (f64::from(n) / fraction + phase / 360.0)).sin()) as f32
        });
        push(format!("3341-{case}"), required, sine.collect())?;
    }
    // A sixth of the sample rate at half of full scale that swells to full scale for a moment; made at four times the rate, of
    // which each of the four phases is one case.
    const PEAK: f64 = 96_002.0;
    let made = |n: f64| {
        let bump = ((n - PEAK) / 384.0).clamp(-1.0, 1.0);
        let height = 0.5 + 0.25 * (1.0 + (TAU / 2.0 * bump).cos());
        let fade = (n / 1920.0).min(1.0);
        fade * height * (TAU * (n - PEAK) / 24.0).cos()
    };
    for (case, offset) in (20..).zip(0..4) {
        let samples = (0..48_000).map(|n| made(f64::from(4 * n + offset)) as f32).collect();
        push(format!("3341-{case} (of our making)"), 0.0, samples)?;
    }
    Ok(())
}

fn range(rows: &mut Vec<Row>) -> Result<()> {
    let cases: [(&str, &[f64], f64); 4] = [
        ("3342-1", &[-20.0, -30.0], 10.0),
        ("3342-2", &[-20.0, -15.0], 5.0),
        ("3342-3", &[-40.0, -20.0], 20.0),
        ("3342-4", &[-50.0, -35.0, -20.0, -35.0, -50.0], 15.0),
    ];
    for (case, levels, required) in cases {
        let parts: Vec<_> = levels.iter().map(|level| (*level, 20.0)).collect();
        let range = read(&tones(&parts))?.meter.loudness_range();
        let measured = range.map_or(f64::NAN, |range| f64::from(range.lu()));
        let tolerance = (1.0, 1.0);
        rows.push(Row {
            case: case.to_owned(),
            figure: "LRA",
            required,
            tolerance,
            measured: (measured, measured),
        });
    }
    Ok(())
}
