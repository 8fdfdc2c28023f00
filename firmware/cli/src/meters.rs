//! Level meters in characters: a bar of RMS with the peak's mark on it, one a channel, and the loudness below.

use units::Dbfs;
use units::snapshot::Levels;

use crate::line::{Line, Paint};
use crate::table::caption;

/// The left end of a bar, in dBFS. What is quieter shows as nothing.
const LEAST: f32 = -60.0;

/// From here on a bar warns: EBU R68 puts line-up at -18 dBFS, and permitted maximum at -9.
const HOT: f32 = -9.0;

/// From here on converters and codecs may clip between samples (EBU R128: -1 dBTP; lossy codecs take 2 dB more).
const TOO_HOT: f32 = -3.0;

/// Columns of a bar at the most, two a decibel; and at the least, for what that is worth.
const WIDEST: usize = 120;
const NARROWEST: usize = 10;

/// The meters, for lines of `width` columns.
#[must_use]
pub(crate) fn meters(levels: &Levels, width: usize) -> Vec<Line> {
    let names = match levels.rms.len() {
        1 => ["mono", ""],
        _ => ["left", "right"],
    };
    // Caption, brackets and figures take 56 columns beside the bar.
    let bar_width = width.saturating_sub(56).clamp(NARROWEST, WIDEST);
    let mut lines = Vec::new();
    for (channel, rms) in levels.rms.iter().enumerate() {
        let name = names.get(channel).copied().unwrap_or_default();
        let peak = levels.peak.get(channel).copied().unwrap_or(Dbfs::FLOOR);
        let true_peak = levels.true_peak.get(channel).copied().unwrap_or(Dbfs::FLOOR);
        let line = bar(caption(name).and(Paint::Plain, "["), *rms, peak, bar_width);
        let figures = format!("] {:6.1}  peak {:6.1}  ", rms.db(), peak.db());
        let true_figure = format!("true {:6.1} dBFS", true_peak.db());
        lines
            .push(line.and(Paint::Plain, &figures).and(paint_of(true_peak.db(), Paint::Plain), &true_figure));
    }
    let lufs = |measured: Option<units::Lufs>| {
        measured.map_or_else(|| "-".into(), |lufs| format!("{:.1}", lufs.lufs()))
    };
    lines.push(caption("loudness").and(
        Paint::Plain,
        &format!(
            "momentary {}  short-term {}  integrated {} LUFS",
            lufs(levels.momentary),
            lufs(levels.short_term),
            lufs(levels.integrated)
        ),
    ));
    lines
}

fn bar(mut line: Line, rms: Dbfs, peak: Dbfs, width: usize) -> Line {
    let column = |db: f32| (((db - LEAST) / -LEAST).clamp(0.0, 1.0) * width as f32).round() as usize;
    let filled = column(rms.db());
    // The mark stands on the last column that the peak reaches.
    let mark = column(peak.db()).checked_sub(1);
    for at in 0..width {
        let db = LEAST * (1.0 - (at + 1) as f32 / width as f32);
        let character = if mark == Some(at) {
            "|"
        } else if at < filled {
            "#"
        } else {
            " "
        };
        line = line.and(paint_of(db, Paint::Good), character);
    }
    line
}

fn paint_of(db: f32, below: Paint) -> Paint {
    if db > TOO_HOT {
        Paint::Bad
    } else if db > HOT {
        Paint::Soon
    } else {
        below
    }
}
