//! The picture of the README: what a listener hears over time while the preferred uplink is cut, box beside peers.

use std::fmt::Write as _;

use super::clicks::PeerOutcome;
use super::peers::BROKEN;

/// Seconds shown before and after the cut.
const BEFORE: f64 = 5.0;
const AFTER: f64 = 32.0;
/// Everything in pixels of an image 900 wide.
const LEFT: f64 = 150.0;
const WIDTH: f64 = 720.0;
const ROW: f64 = 92.0;
const TOP: f64 = 58.0;
const PLOT: f64 = 54.0;
/// The oldest sound that a row has room for, in seconds.
const OLDEST: f64 = 14.0;

/// Who is in it, from the top.
const ROWS: [(&str, &str); 3] = [
    ("Mainstay", "Mainstay, two mounts, 320 kbit/s, silent cut"),
    ("ffmpeg", "ffmpeg, two mounts, two processes, 320 kbit/s, silent cut"),
    ("Liquidsoap", "Liquidsoap, two mounts, two processes, 320 kbit/s, silent cut"),
];

/// The SVG, if all who belong into it were heard: for each the run that lost the median.
pub(super) fn draw(outcomes: &[PeerOutcome]) -> Option<String> {
    let rows: Vec<(&str, &PeerOutcome)> =
        ROWS.iter().filter_map(|&(name, key)| Some((name, typical(outcomes, key)?))).collect();
    if rows.len() < ROWS.len() {
        return None;
    }
    let height = TOP + ROW * rows.len() as f64 + 34.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 {height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"900\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"16\" font-weight=\"600\" fill=\"#1d2733\">The preferred uplink goes silent: what a listener of the primary mount gets</text>\n\
         <text x=\"{LEFT}\" y=\"41\" fill=\"#5b6876\">line: age of the programme as it arrives, 0 to {OLDEST:.0} s down; bar: bytes arrive; red: programme that is never heard</text>\n"
    );
    let bottom = TOP + ROW * rows.len() as f64;
    let (cut, healed) = (x(0.0), x(BROKEN.as_secs_f64()));
    let _ = writeln!(
        svg,
        "<rect x=\"{cut:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#f3efe4\"/>",
        healed - cut,
        bottom - TOP
    );
    for (index, (name, outcome)) in rows.iter().enumerate() {
        row(&mut svg, TOP + ROW * index as f64, name, outcome);
    }
    for (at, label) in [(cut, "cut"), (healed, "healed")] {
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#8a7f5f\" stroke-dasharray=\"3 3\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#8a7f5f\">{label}</text>",
            bottom + 30.0
        );
    }
    let mut second = -BEFORE;
    while second <= AFTER {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#5b6876\">{second:.0} s</text>",
            x(second),
            bottom + 15.0
        );
        second += 5.0;
    }
    svg += "</svg>\n";
    Some(svg)
}

/// The run with the median loss.
fn typical<'a>(outcomes: &'a [PeerOutcome], key: &str) -> Option<&'a PeerOutcome> {
    let mut runs: Vec<&PeerOutcome> = outcomes.iter().filter(|outcome| outcome.peer == key).collect();
    runs.sort_by(|one, other| one.lost.total_cmp(&other.lost));
    runs.get(runs.len() / 2).copied()
}

fn row(svg: &mut String, top: f64, name: &str, outcome: &PeerOutcome) {
    let plot = top + 8.0;
    let bar = plot + PLOT + 6.0;
    let _ = writeln!(
        svg,
        "<text x=\"12\" y=\"{:.1}\" font-size=\"15\" font-weight=\"600\" fill=\"#1d2733\">{name}</text>\n\
         <text x=\"12\" y=\"{:.1}\" fill=\"#5b6876\">{}</text>\n\
         <text x=\"12\" y=\"{:.1}\" fill=\"#5b6876\">pause {:.1} s</text>",
        plot + 16.0,
        plot + 35.0,
        if outcome.lost < 0.001 { "nothing lost".to_owned() } else { format!("{:.1} s lost", outcome.lost) },
        plot + 52.0,
        outcome.pause
    );
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{bar:.1}\" width=\"{WIDTH}\" height=\"7\" fill=\"#2f7d5b\"/>\n\
         <line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{plot:.1}\" y2=\"{plot:.1}\" stroke=\"#d5dbe1\"/>",
        LEFT + WIDTH
    );
    for &(from, to) in &outcome.pauses {
        let (from, to) = (x(from), x(to));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{bar:.1}\" width=\"{:.1}\" height=\"7\" fill=\"#dfe4e8\"/>",
            (to - from).max(0.0)
        );
    }
    for &(from, to, seconds) in outcome.holes.iter().filter(|&&(from, to, _)| to > -BEFORE && from < AFTER) {
        let (from, to) = (x(from), x(to).max(x(from) + 3.0));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{plot:.1}\" width=\"{:.1}\" height=\"{PLOT}\" fill=\"#c8372d\" fill-opacity=\"0.22\"/>",
            to - from
        );
        if seconds >= 1.0 {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#a3231a\">{seconds:.1} s never heard</text>",
                (from + to) / 2.0,
                plot + 32.0
            );
        }
    }
    // The line breaks where something is missing.
    let mut pen = String::new();
    let mut last: Option<f64> = None;
    for &(at, age) in outcome.ages.iter().filter(|&&(at, _)| (-BEFORE..=AFTER).contains(&at)) {
        let broken = last.is_none_or(|last| {
            outcome.holes.iter().any(|&(from, to, _)| from >= last - 0.01 && to <= at + 0.01)
        });
        let _ = write!(
            pen,
            "{}{:.1} {:.1} ",
            if broken { "M" } else { "L" },
            x(at),
            plot + (age / OLDEST).clamp(0.0, 1.0) * PLOT
        );
        last = Some(at);
    }
    let _ = writeln!(svg, "<path d=\"{pen}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\"/>");
}

/// Pixels from the left for seconds after the cut.
fn x(second: f64) -> f64 {
    LEFT + (second.clamp(-BEFORE, AFTER) + BEFORE) / (BEFORE + AFTER) * WIDTH
}
