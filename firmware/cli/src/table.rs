//! The status table: the box in a few lines, then its outputs, one mount a line, each trouble with its remedy below it.

use units::Frames;
use units::SampleRate;
use units::snapshot::{InputState, Levels, MountReport, MountState, OutputReport, Snapshot};

use crate::line::{Line, Paint, clean};
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
    lines.push(Line::default());
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

/// A column: its caption, its side, and how dearly it is kept on a narrow terminal (1 is kept longest).
struct Column {
    caption: &'static str,
    right: bool,
    rank: usize,
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

/// Columns between two columns.
const GAP: usize = 2;

type Cells = [String; COLUMNS.len()];

fn outputs(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let rows: Vec<Row> = snapshot.outputs.iter().flat_map(|output| output_rows(snapshot, output)).collect();
    let mut widths = COLUMNS.map(|column| column.caption.len());
    for row in &rows {
        if let Row::Cells { cells, state: _ } | Row::Together(cells) = row {
            for (width, cell) in widths.iter_mut().zip(cells.iter()) {
                *width = (*width).max(cell.chars().count());
            }
        }
    }
    let kept = kept(&widths, width);
    let header = COLUMNS.map(|column| column.caption.to_owned());
    let mut lines = vec![row_line(&header, Paint::Caption, Paint::Caption, &widths, &kept)];
    for row in rows {
        match row {
            Row::Cells { cells, state } => lines.push(row_line(&cells, Paint::Plain, state, &widths, &kept)),
            // Without a column of sums it says nothing.
            Row::Together(cells) if kept[6..=8].contains(&true) => {
                lines.push(row_line(&cells, Paint::Plain, Paint::Plain, &widths, &kept));
            }
            Row::Together(_) => {}
            Row::Remedy(text) => lines.extend(remedy(&text, width)),
        }
    }
    lines
}

enum Row {
    Cells { cells: Box<Cells>, state: Paint },
    Together(Box<Cells>),
    Remedy(String),
}

fn output_rows(snapshot: &Snapshot, output: &OutputReport) -> Vec<Row> {
    let mut rows = Vec::new();
    for (i, mount) in output.mounts.iter().enumerate() {
        let name = if i == 0 { output.name.as_str() } else { "" };
        rows.push(Row::Cells { cells: Box::new(cells(snapshot, name, mount)), state: paint(mount.state) });
        rows.extend(mount.remedy.as_ref().map(|text| Row::Remedy(text.clone())));
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

/// Which columns fit, the dearest first; one that is too wide makes room for cheaper ones.
fn kept(widths: &[usize; COLUMNS.len()], width: usize) -> [bool; COLUMNS.len()] {
    let mut by_rank: Vec<usize> = (0..COLUMNS.len()).collect();
    by_rank.sort_by_key(|at| COLUMNS[*at].rank);
    let mut kept = [false; COLUMNS.len()];
    // The last column has no space behind it.
    let mut left = width.saturating_add(GAP);
    for at in by_rank {
        let needed = widths[at] + GAP;
        // What a mount is called and how it stands is shown even if it has to be cut.
        kept[at] = needed <= left || COLUMNS[at].rank == 1;
        if kept[at] {
            left = left.saturating_sub(needed);
        }
    }
    kept
}

fn row_line(
    cells: &Cells,
    rest: Paint,
    state: Paint,
    widths: &[usize; COLUMNS.len()],
    kept: &[bool; COLUMNS.len()],
) -> Line {
    let mut line = Line::default();
    for (i, (cell, column)) in cells.iter().zip(&COLUMNS).enumerate().filter(|(i, _)| kept[*i]) {
        let width = widths[i];
        let text = if column.right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        let is_state = column.caption == "STATE";
        line = line.and(if is_state { state } else { rest }, &text);
    }
    line
}

/// What to do, in as many lines as it takes: it is what people came to read.
fn remedy(text: &str, width: usize) -> Vec<Line> {
    const MARK: &str = "  ! ";
    let room = width.saturating_sub(MARK.len()).max(1);
    let mut parts: Vec<String> = vec![String::new()];
    for word in clean(text).split_whitespace() {
        match parts.last_mut() {
            Some(part) if part.is_empty() => part.push_str(word),
            Some(part) if part.chars().count() + 1 + word.chars().count() <= room => {
                part.push(' ');
                part.push_str(word);
            }
            Some(_) | None => parts.push(word.to_owned()),
        }
    }
    let mark = |first: bool| if first { MARK } else { "    " };
    let line =
        |(i, part): (usize, &String)| Line::default().and(Paint::Bad, mark(i == 0)).and(Paint::Plain, part);
    parts.iter().enumerate().map(line).collect()
}
