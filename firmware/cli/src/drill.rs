//! A drill as people follow it: what will be done, what happens, and what a listener heard of it.

use std::io;
use std::path::Path;

use units::snapshot::{Command, DrillNews, DrillReport, Heard, Reply};

use crate::grid::wrapped;
use crate::incidents;
use crate::line::{Line, Paint, clean_json};
use crate::socket::Socket;
use crate::terminal::{self, Terminal};
use crate::{Ending, unexpected};

/// Asks for a drill and shows it to its end. Hanging up (Ctrl-C) ends the cut.
pub(crate) fn drill(path: &Path, command: Command, json: bool) -> Result<(), Ending> {
    let mut terminal = Terminal::of_stdout();
    let mut socket = Socket::ask(path, command)?;
    loop {
        let reply = socket.reply()?;
        let Reply::Drill(news) = reply else {
            terminal.rest()?;
            return Err(unexpected(reply));
        };
        if json {
            let line = serde_json::to_string(&news).map_err(io::Error::from)?;
            terminal::write(&format!("{}\n", clean_json(&line)))?;
        }
        let width = terminal.width();
        match *news {
            DrillNews::Ended(report) => {
                if !json {
                    terminal.rest()?;
                    terminal.print(&self::report(&report, width))?;
                }
                return verdict(&report);
            }
            DrillNews::Plan { .. } | DrillNews::Told { .. } | DrillNews::Going { .. } if json => {}
            DrillNews::Plan { lines } => {
                terminal.print(
                    &lines
                        .iter()
                        .flat_map(|line| wrapped("  - ", Paint::Plain, line, width))
                        .collect::<Vec<_>>(),
                )?;
            }
            DrillNews::Told { after_ms, what } => {
                terminal.rest()?;
                terminal.print(&wrapped(&clock(after_ms), Paint::Caption, &what, width))?;
            }
            DrillNews::Going { after_ms, what, heard } => {
                terminal.fleeting(&going(after_ms, &what, &heard))?
            }
        }
    }
}

/// Seconds since the cut, as a mark before a line.
fn clock(after_ms: Option<u64>) -> String {
    after_ms
        .map_or_else(|| "         ".to_owned(), |ms| format!("{:>4}.{:02} s  ", ms / 1000, ms % 1000 / 10))
}

fn going(after_ms: Option<u64>, what: &str, heard: &Heard) -> Line {
    let pause = if heard.longest_pause_ms > 0 { heard.longest_pause_ms } else { heard.calm_pause_ms };
    let whole = if heard.whole() { "whole" } else { "not whole" };
    let text = format!("{what}; heard {} bytes, {whole}, longest pause {} ms", heard.bytes, pause);
    Line::default().and(Paint::Caption, &clock(after_ms)).and(Paint::Plain, &text)
}

/// What came of it.
pub(crate) fn report(report: &DrillReport, width: usize) -> Vec<Line> {
    let heard = &report.heard;
    let mut lines = vec![Line::default()];
    let good = if report.unheard() { Paint::Good } else { Paint::Bad };
    lines.push(
        Line::default().and(
            good,
            if report.unheard() { "A listener noticed nothing." } else { "A listener noticed it." },
        ),
    );
    let mut say = |paint, text: String| lines.extend(wrapped("  - ", paint, &text, width));
    let bytes = |count: u64, what: &str| format!("{count} bytes {what}");
    let whole = if heard.whole() { Paint::Good } else { Paint::Bad };
    say(
        whole,
        format!(
            "{}: {} ({} ms), {}, {} packets torn, {}, {} jumps",
            bytes(heard.bytes, "heard"),
            bytes(heard.lost_bytes, "lost"),
            heard.lost_ms,
            bytes(heard.repeated_bytes, "repeated"),
            heard.torn,
            bytes(heard.strange_bytes, "not ours"),
            heard.jumps
        ),
    );
    let kept = if heard.ended { "the server ended his connection" } else { "his connection was kept" };
    say(
        if heard.ended { Paint::Bad } else { Paint::Good },
        format!("{kept}; the stream changed renditions {} times", heard.changes),
    );
    let silent = heard.longest_pause_ms > report.buffer_ms;
    say(
        if silent { Paint::Bad } else { Paint::Good },
        format!(
            "longest pause {} ms (without the cut {} ms); a player that has listened for a while holds {} ms",
            heard.longest_pause_ms, heard.calm_pause_ms, report.buffer_ms
        ),
    );
    say(Paint::Plain, format!("the cut lasted {} ms", report.cut_ms));
    match &report.incident {
        Some(incident) => say(Paint::Plain, format!("the box: {}", incidents::told(incident))),
        None => say(Paint::Plain, "the box made no hand-over of it".to_owned()),
    }
    for open in &report.open {
        say(Paint::Soon, open.clone());
    }
    lines
}

/// For scripts: a listener that noticed something is a failure.
fn verdict(report: &DrillReport) -> Result<(), Ending> {
    if report.unheard() {
        return Ok(());
    }
    Err(Ending::Refused(format!("the drill of {} was heard", report.output)))
}
