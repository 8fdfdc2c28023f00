//! The log recordings: how they go, what there is, and cuts of them. A cut is copied here and not by the box, which has other
//! work and other rights.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use units::WallTime;
use units::snapshot::{Command, CutReport, MissingReport, RecordingFile, RecordingState, Reply, Snapshot};

use crate::grid::{remedy, wrapped};
use crate::line::{Line, Paint, clean_json};
use crate::socket::Socket;
use crate::table::caption;
use crate::terminal::{self, Terminal};
use crate::{Ending, unexpected, words};

/// What is to be cut.
#[derive(Debug, clap::Args)]
pub(crate) struct Cut {
    /// Local time ("2026-10-25 14:00", or 14:00 today), or UTC (2026-10-25T12:00:00Z).
    from: String,
    /// The same.
    to: String,
    /// The file to write; it must not be there yet.
    file: PathBuf,
}

/// How recording goes, in the status; nothing where it is off.
#[must_use]
pub(crate) fn recording(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let Some(report) = &snapshot.recording else { return Vec::new() };
    let lasts = |since| words::span(snapshot.now.since(since));
    let (paint, state) = match report.state {
        RecordingState::Waiting => (Paint::Soon, "waiting".to_owned()),
        RecordingState::Recording { since } => (Paint::Good, format!("recording for {}", lasts(since))),
        RecordingState::Short { since } => (Paint::Bad, format!("recording for {}, disk full", lasts(since))),
        RecordingState::Stopped { since } => (Paint::Bad, format!("STOPPED for {}", lasts(since))),
    };
    let since = match report.oldest {
        WallTime::Unknown => String::new(),
        WallTime::Unix(_) => format!(" since {}", words::date(report.oldest)),
    };
    let gaps = if report.gaps == 0 { "no gaps".to_owned() } else { format!("{} gaps", report.gaps) };
    let rest = format!(
        "  {} in {}, {} in {} files{since}, {gaps}",
        report.rendition,
        report.folder,
        words::bytes(report.bytes),
        report.files
    );
    let mut lines = vec![caption("recording").and(paint, &state).and(Paint::Plain, &rest)];
    lines.extend(report.remedy.iter().flat_map(|text| remedy(text, width)));
    lines
}

/// Shows all recordings.
pub(crate) fn recordings(reply: Reply, json: bool) -> Result<(), Ending> {
    let Reply::Recordings { folder, recordings } = reply else { return Err(unexpected(reply)) };
    if json {
        let text = serde_json::to_string_pretty(&recordings).map_err(io::Error::from)?;
        return Ok(terminal::write(&format!("{}\n", clean_json(&text)))?);
    }
    let terminal = Terminal::of_stdout();
    Ok(terminal.print(&list(&folder, &recordings, terminal.width()))?)
}

/// Asks for a cut and copies it.
pub(crate) fn cut(socket: &Path, order: &Cut) -> Result<(), Ending> {
    let command = Command::Cut { from: order.from.clone(), to: order.to.clone() };
    let reply = Socket::ask(socket, command)?.reply()?;
    let Reply::Cut(report) = reply else { return Err(unexpected(reply)) };
    let bytes = copy(&report, &order.file).map_err(|(path, error)| {
        Ending::Refused(format!("{}: {error}; no cut is written", path.display()))
    })?;
    let terminal = Terminal::of_stdout();
    Ok(terminal.print(&told(&report, &order.file, bytes, terminal.width()))?)
}

/// Writes the pieces of a cut one behind the other; whole or not at all.
fn copy(report: &CutReport, file: &Path) -> Result<u64, (PathBuf, io::Error)> {
    let opened = report.pieces.iter().map(|piece| {
        let path = PathBuf::from(&piece.path);
        let opened = File::open(&path).and_then(|mut source| {
            source.seek(SeekFrom::Start(piece.from))?;
            Ok(source.take(piece.to.saturating_sub(piece.from)))
        });
        opened.map_err(|error| (path, error))
    });
    // All are open before anything is written: what is open cannot go any more.
    let sources = opened.collect::<Result<Vec<_>, _>>()?;
    let mut target = File::create_new(file).map_err(|error| (file.to_owned(), error))?;
    let written = sources
        .into_iter()
        .try_fold(0, |sum, mut source| io::copy(&mut source, &mut target).map(|n| sum + n));
    let whole: u64 = report.pieces.iter().map(|piece| piece.to.saturating_sub(piece.from)).sum();
    let outcome = written.and_then(|bytes| {
        target.sync_all()?;
        if bytes == whole { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    });
    outcome.map_err(|error| {
        // Half a cut would be taken for a whole one.
        let _ = fs::remove_file(file);
        (file.to_owned(), error)
    })
}

fn told(report: &CutReport, file: &Path, bytes: u64, width: usize) -> Vec<Line> {
    let sound = format!("{}.{:03} s", report.ms / 1000, report.ms % 1000);
    let head = format!("{}: {sound} of sound, {}, {}", file.display(), words::bytes(bytes), report.span);
    let mut lines = wrapped("", Paint::Plain, &head, width);
    if file.extension().is_none_or(|ending| ending.to_str() != Some(&report.ending)) {
        let text = format!("it holds {}: players go by a name that ends so", report.ending);
        lines.extend(wrapped("  - ", Paint::Plain, &text, width));
    }
    lines.extend(report.missing.iter().flat_map(|missing| gap(missing, 0, width)));
    lines.extend(report.notes.iter().flat_map(|note| wrapped("  ! ", Paint::Soon, note, width)));
    if report.missing.is_empty() {
        lines.push(Line::plain("  nothing is missing in it"));
    }
    lines
}

/// One recording a line, each gap below the recording that it lies in or right before.
fn list(folder: &str, recordings: &[RecordingFile], width: usize) -> Vec<Line> {
    let mut lines = vec![Line::default().and(Paint::Caption, folder)];
    if recordings.is_empty() {
        lines.push(Line::plain("No recordings."));
    }
    for file in recordings {
        let (here, until_here) = (local(file.from, file.offset_s), local(file.until, file.offset_s));
        let state = if file.open { "  recording" } else { "" };
        let sure = if file.sure || file.from == WallTime::Unknown { "" } else { "  clock unsure" };
        let what =
            file.rendition.map_or_else(|| "no index: cannot be cut".to_owned(), |what| what.to_string());
        let head = format!("{} to {}  ", words::date(file.from), words::wall(file.until));
        let rest = format!("local {here} to {until_here}  {what}  {}{state}", words::bytes(file.bytes));
        lines
            .push(Line::default().and(Paint::Caption, &head).and(Paint::Plain, &rest).and(Paint::Soon, sure));
        lines.extend(file.missing.iter().flat_map(|missing| gap(missing, file.offset_s, width)));
    }
    lines
}

fn gap(missing: &MissingReport, offset_s: i32, width: usize) -> Vec<Line> {
    let lasts = if missing.ms < 60_000 {
        format!("{}.{:03} s", missing.ms / 1000, missing.ms % 1000)
    } else {
        words::span(Duration::from_millis(missing.ms))
    };
    let here =
        if offset_s == 0 { String::new() } else { format!(" (local {})", local(missing.from, offset_s)) };
    let text = format!("{lasts} missing from {}{here}: {}", words::date(missing.from), missing.why);
    wrapped("  ! ", Paint::Bad, &text, width)
}

/// The local time of day and by how much it is ahead of UTC.
fn local(time: WallTime, offset_s: i32) -> String {
    match time {
        WallTime::Unknown => "not known".to_owned(),
        WallTime::Unix(seconds) => {
            let shown = words::wall(WallTime::Unix(seconds.saturating_add_signed(i64::from(offset_s))));
            let minutes = offset_s.unsigned_abs() / 60;
            let sign = if offset_s < 0 { '-' } else { '+' };
            format!("{}{sign}{:02}:{:02}", shown.trim_end_matches(" UTC"), minutes / 60, minutes % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Style;
    use units::snapshot::CutPiece;

    fn shown(lines: &[Line]) -> String {
        let style = Style { colour: false, width: usize::MAX };
        lines.iter().map(|line| line.shown(style) + "\n").collect()
    }

    fn report(folder: &Path, pieces: &[(&str, u64, u64)]) -> CutReport {
        let pieces = pieces.iter().map(|&(name, from, to)| CutPiece {
            path: folder.join(name).display().to_string(),
            from,
            to,
        });
        CutReport {
            pieces: pieces.collect(),
            ending: "mp3".into(),
            ms: 60_024,
            span: "a to b".into(),
            missing: vec![MissingReport { from: WallTime::Unix(1_792_888_200), ms: 1500, why: "why".into() }],
            notes: vec!["note".into()],
        }
    }

    #[test]
    fn a_cut_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), b"0123456789").unwrap();
        fs::write(folder.path().join("b"), b"abcdefghij").unwrap();
        let file = folder.path().join("cut.mp3");
        let whole = report(folder.path(), &[("a", 7, 10), ("b", 0, 2)]);
        assert_eq!(copy(&whole, &file).unwrap(), 5);
        assert_eq!(fs::read(&file).unwrap(), b"789ab");
        // What is there is not written over.
        assert!(copy(&whole, &file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"789ab");
        let other = folder.path().join("other.mp3");
        assert!(copy(&report(folder.path(), &[("a", 7, 10), ("gone", 0, 2)]), &other).is_err());
        assert!(copy(&report(folder.path(), &[("a", 7, 30)]), &other).is_err());
        assert!(!other.exists());
        let text = shown(&told(&whole, &file, 5, usize::MAX));
        assert!(
            text.contains("60.024 s of sound")
                && text.contains("1.500 s missing from 2026-10-25 00:30:00 UTC")
        );
        assert!(text.contains("note") && !text.contains("nothing is missing"), "{text}");
    }

    #[test]
    fn recordings_are_listed_in_both_times() {
        let file = RecordingFile {
            name: "x".into(),
            from: WallTime::Unix(1_792_888_200),
            until: WallTime::Unix(1_792_890_000),
            offset_s: 7200,
            sure: false,
            open: true,
            rendition: None,
            bytes: 28_800_000,
            missing: Vec::new(),
        };
        let text = shown(&list("/rec", std::slice::from_ref(&file), usize::MAX));
        assert!(
            text.contains("2026-10-25 00:30:00 UTC to 01:00:00 UTC  local 02:30:00+02:00 to 03:00:00+02:00"),
            "{text}"
        );
        assert!(text.contains("28.8 MB  recording  clock unsure"), "{text}");
        assert!(shown(&list("/rec", &[], usize::MAX)).contains("No recordings"));
    }
}
