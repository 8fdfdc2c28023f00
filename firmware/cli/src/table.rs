//! The status table: the box in a few lines, then its uplinks and its outputs, one mount a line, each trouble with its remedy below it.

use units::Frames;
use units::SampleRate;
use units::snapshot::{InputState, Levels, MountReport, MountState, OutputReport, Snapshot};

use crate::grid::{Column, Grid, remedy};
use crate::incidents::hand_over;
use crate::line::{Line, Paint, clean};
use crate::recordings::recording;
use crate::tiers;
use crate::uplinks::uplinks;
use crate::words;

/// The whole table without meters, for lines of `width` columns: where that is narrow, the least needed columns are
/// left out.
#[must_use]
pub(crate) fn status(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let mut lines = vec![heading(snapshot)];
    lines.extend(input(snapshot, width));
    if let Some(title) = &snapshot.title {
        lines.push(caption("title").and(Paint::Plain, title));
    }
    if let Some(levels) = &snapshot.levels {
        lines.push(programme(levels));
    }
    lines.extend(tiers::tiers(snapshot, width));
    lines.extend(recording(snapshot, width));
    lines.push(Line::default());
    lines.extend(uplinks(snapshot, width));
    if snapshot.outputs.is_empty() {
        lines.push(Line::plain("No outputs: name some in the settings, then: mainstay reload"));
    } else {
        lines.extend(outputs(snapshot, width));
    }
    lines
}

/// The caption of a line above the table.
pub(crate) fn caption(word: &str) -> Line {
    Line::default().and(Paint::Caption, &format!("{word:<11}"))
}

fn heading(snapshot: &Snapshot) -> Line {
    let name = if snapshot.station.is_empty() { "Mainstay" } else { &snapshot.station };
    let up = snapshot.now.since(snapshot.started);
    // Of one core, over the whole run.
    let cpu = snapshot.cost.cpu_ms as f64 / (up.as_millis().max(1) as f64) * 100.0;
    let mib = snapshot.cost.resident_kib as f64 / 1024.0;
    let rest = format!(
        "  {}, up {}, CPU {cpu:.1} %, {mib:.1} MiB, mainstay-air {}",
        words::wall(snapshot.wall),
        words::span(up),
        snapshot.build
    );
    Line::default().and(Paint::Caption, name).and(Paint::Plain, &rest)
}

fn input(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let input = &snapshot.input;
    let (paint, state) = match &input.state {
        InputState::Starting => (Paint::Soon, "starting".to_owned()),
        InputState::Capturing => (Paint::Good, "capturing".to_owned()),
        InputState::Lost { since, why: _ } => {
            (Paint::Bad, format!("lost for {}", words::span(snapshot.now.since(*since))))
        }
    };
    let gaps = if input.gaps == 0 {
        "no gaps".to_owned()
    } else {
        let lasted = SampleRate::try_from(input.rate_hz).map(|rate| gap_span(input.gap_frames, rate));
        let lasted = lasted.map(|span| format!(" = {span}")).unwrap_or_default();
        format!("{} gaps ({} overruns) of {} frames{lasted}", input.gaps, input.xruns, input.gap_frames.0)
    };
    let channels = match input.channels {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        count => format!("{count} channels"),
    };
    let rest = format!("  {} Hz {channels}, period {}, {gaps}", input.rate_hz, input.period);
    let mut lines = vec![
        caption("input")
            .and(Paint::Plain, &format!("{}  ", input.name))
            .and(paint, &state)
            .and(Paint::Plain, &rest),
    ];
    match &input.state {
        InputState::Lost { since: _, why } => lines.extend(remedy(why, width)),
        InputState::Starting | InputState::Capturing => {}
    }
    if let Some(drift) = input.drift {
        let said = format!(
            "its clock is {:+.1} ppm beside the system's, to {:.1} ppm, over {}",
            drift.ppm,
            drift.uncertainty_ppm,
            words::span(drift.over)
        );
        lines.push(caption("").and(Paint::Plain, &said));
    }
    if !input.real_time.is_empty() {
        lines.push(caption("").and(Paint::Plain, &input.real_time));
    }
    lines
}

fn gap_span(frames: Frames, rate: SampleRate) -> String {
    let lasted = frames.duration(rate);
    if lasted.as_secs() < 60 { format!("{:.3} s", lasted.as_secs_f64()) } else { words::span(lasted) }
}

/// Whether there is sound, and how loud it is, in one line.
fn programme(levels: &Levels) -> Line {
    let line = caption("programme");
    let line = if levels.silent {
        line.and(Paint::Bad, &format!("SILENT for {}", words::span(levels.quiet_for)))
    } else if levels.quiet_for.as_secs() > 0 {
        line.and(Paint::Soon, &format!("quiet for {}", words::span(levels.quiet_for)))
    } else {
        line.and(Paint::Good, "sound")
    };
    let line = if levels.clipped { line.and(Paint::Plain, "  ").and(Paint::Bad, "CLIPPED") } else { line };
    let peaks: Vec<String> = levels.peak.iter().map(|peak| format!("{:.1}", peak.db())).collect();
    let loudness = levels.short_term.map(|lufs| format!(", short-term {lufs}")).unwrap_or_default();
    if peaks.is_empty() {
        return line;
    }
    line.and(Paint::Plain, &format!("  peak {} dBFS{loudness}", peaks.join(" ")))
}

const COLUMNS: [Column; 11] = [
    Column { caption: "OUTPUT", right: false, rank: 1 },
    Column { caption: "ROLE", right: false, rank: 1 },
    Column { caption: "STATE", right: false, rank: 1 },
    Column { caption: "SINCE", right: true, rank: 2 },
    Column { caption: "RENDITION", right: false, rank: 5 },
    Column { caption: "LAG", right: true, rank: 4 },
    Column { caption: "ACKED", right: true, rank: 7 },
    Column { caption: "A DAY", right: true, rank: 6 },
    Column { caption: "A MONTH", right: true, rank: 6 },
    Column { caption: "SERVER", right: false, rank: 8 },
    Column { caption: "URL", right: false, rank: 3 },
];

type Cells = [String; COLUMNS.len()];

fn outputs(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let rows: Vec<Row> =
        snapshot.outputs.iter().flat_map(|output| output_rows(snapshot, output, width)).collect();
    let cells = rows.iter().filter_map(|row| match row {
        Row::Cells { cells, state: _ } | Row::Together(cells) => Some(cells.as_slice()),
        Row::Said(_) => None,
    });
    let grid = Grid::of(&COLUMNS, cells, width);
    let mut lines = vec![grid.header()];
    for row in rows {
        match row {
            Row::Cells { cells, state } => lines.push(grid.row(cells.as_slice(), Paint::Plain, state)),
            // Without a column of sums it says nothing.
            Row::Together(cells) if grid.shows_any(6..=8) => {
                lines.push(grid.row(cells.as_slice(), Paint::Plain, Paint::Plain));
            }
            Row::Together(_) => {}
            Row::Said(said) => lines.extend(said),
        }
    }
    lines
}

enum Row {
    Cells { cells: Box<Cells>, state: Paint },
    Together(Box<Cells>),
    Said(Vec<Line>),
}

fn output_rows(snapshot: &Snapshot, output: &OutputReport, width: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (i, mount) in output.mounts.iter().enumerate() {
        let name = if i == 0 { output.name.as_str() } else { "" };
        rows.push(Row::Cells { cells: Box::new(cells(snapshot, name, mount)), state: paint(mount.state) });
        rows.extend(mount.remedy.as_ref().map(|text| Row::Said(remedy(text, width))));
    }
    if output.mounts.len() > 1 {
        let a_day = output.mounts.iter().fold(0u64, |sum, mount| sum.saturating_add(mount.bytes_per_day));
        let acked = output.mounts.iter().fold(0u64, |sum, mount| sum.saturating_add(mount.acked));
        let mut cells = Box::<Cells>::default();
        cells[1] = "together".into();
        cells[6] = words::bytes(acked);
        cells[7] = words::bytes(a_day);
        cells[8] = words::a_month(a_day);
        rows.push(Row::Together(cells));
    }
    rows.push(Row::Said(hand_over(snapshot, output, width)));
    rows
}

fn cells(snapshot: &Snapshot, name: &str, mount: &MountReport) -> Cells {
    [
        clean(name),
        mount.role.to_string(),
        mount.state.word().to_owned(),
        words::span(snapshot.now.since(mount.since)),
        mount.rendition.to_string(),
        if mount.state.on_air() { format!("{} ms", mount.lag_ms) } else { "-".into() },
        words::bytes(mount.acked),
        words::bytes(mount.bytes_per_day),
        words::a_month(mount.bytes_per_day),
        clean(mount.server.as_deref().unwrap_or("-")),
        clean(&mount.url),
    ]
}

/// What a mount's state asks of the reader.
fn paint(state: MountState) -> Paint {
    match state {
        MountState::Live | MountState::Verified | MountState::Held => Paint::Good,
        MountState::Waiting | MountState::Connecting | MountState::Accepted => Paint::Soon,
        MountState::Stalled | MountState::Refused | MountState::Occupied => Paint::Bad,
    }
}
