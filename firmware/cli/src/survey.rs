//! `mainstay survey`: asks the box to look at a server, and prints what it found.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use units::Secret;
use units::snapshot::{Command, Reply, SurveyOrder, SurveyReport, SurveySight};

use crate::line::{Line, Paint, clean_json};
use crate::socket::Socket;
use crate::terminal::{self, Terminal};
use crate::{Ending, unexpected};

/// What is to be surveyed, and how far it may go.
#[derive(Debug, Args)]
pub(crate) struct Wishes {
    /// An output of the settings, or an address such as http://stream.example.org:8000/live.
    target: String,
    /// With an address: the path of its fallback mount.
    #[arg(long, value_name = "PATH")]
    fallback: Option<String>,
    /// With an address: the source user, if it is not "source".
    #[arg(long)]
    user: Option<String>,
    /// With an address: a file whose first line is the source password; - reads standard input. Without it only public
    /// pages are read.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// With an address: what the mount will carry, in kbit/s.
    #[arg(long)]
    kbit: Option<u32>,
    /// The uplink to use; else the first that works.
    #[arg(long)]
    uplink: Option<String>,
    /// Opens no source on the server: only reads pages.
    #[arg(long, conflicts_with_all = ["slow", "off_air"])]
    careful: bool,
    /// Also waits until the server drops a silent source: up to two minutes.
    #[arg(long)]
    slow: bool,
    /// Takes an output of the settings off its mounts meanwhile, if nobody listens, and tries the mounts themselves.
    #[arg(long)]
    off_air: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Asks, shows on standard error what is being done, and prints the report.
pub(crate) fn run(path: &Path, wishes: &Wishes) -> Result<(), Ending> {
    let mut socket = Socket::ask(path, Command::Survey(order(wishes)?))?;
    let telling = std::io::stderr().is_terminal() && !wishes.json;
    loop {
        match socket.reply()? {
            Reply::Surveying { what } => {
                if telling {
                    eprintln!("{}...", crate::clean(&what));
                }
            }
            Reply::Surveyed(report) => {
                if wishes.json {
                    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
                    return Ok(terminal::write(&format!("{}\n", clean_json(&text)))?);
                }
                return Ok(Terminal::of_stdout().print(&lines(&report))?);
            }
            other @ (Reply::Snapshot(_)
            | Reply::Done { .. }
            | Reply::Log { .. }
            | Reply::Events { .. }
            | Reply::Incidents { .. }
            | Reply::Recordings { .. }
            | Reply::Cut(_)
            | Reply::Drill(_)
            | Reply::Refused { .. }) => return Err(unexpected(other)),
        }
    }
}

fn order(wishes: &Wishes) -> Result<SurveyOrder, Ending> {
    let password = wishes.password_file.as_deref().map(password).transpose()?;
    Ok(SurveyOrder {
        target: wishes.target.clone(),
        fallback: wishes.fallback.clone(),
        user: wishes.user.clone(),
        password,
        kbit: wishes.kbit,
        uplink: wishes.uplink.clone(),
        careful: wishes.careful,
        slow: wishes.slow,
        off_air: wishes.off_air,
    })
}

fn password(path: &Path) -> Result<Secret, Ending> {
    let mut text = String::new();
    let outcome = if path == Path::new("-") {
        std::io::stdin().take(LONGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text))
    };
    let refused = |why: String| Ending::Refused(format!("the password in {}: {why}", path.display()));
    outcome.map_err(|error| refused(error.to_string()))?;
    let first = text.lines().next().unwrap_or_default();
    if first.is_empty() {
        return Err(refused("its first line is empty; write the password there".to_owned()));
    }
    Ok(Secret::new(first.to_owned()))
}

/// The report for people. What is to be pasted stands alone on its lines.
fn lines(report: &SurveyReport) -> Vec<Line> {
    let mut lines = Vec::new();
    let name = if report.server.is_empty() { "a server that does not say its name" } else { &report.server };
    let kind = if report.kind.is_empty() { String::new() } else { format!(" ({})", report.kind) };
    lines.push(Line::default().and(Paint::Caption, name).and(Paint::Plain, &kind));
    for finding in &report.findings {
        let (paint, mark) = match finding.sight {
            SurveySight::Good => (Paint::Good, "yes  "),
            SurveySight::Bad => (Paint::Bad, "no   "),
            SurveySight::Note => (Paint::Plain, "     "),
        };
        lines.push(Line::default().and(paint, mark).and(Paint::Plain, &finding.text));
    }
    for (caption, pasted) in
        [("For the settings:", &report.settings), ("For icecast.xml on the server:", &report.headend)]
    {
        if !pasted.is_empty() {
            lines.push(Line::default());
            lines.push(Line::default().and(Paint::Caption, caption));
            lines.extend(pasted.iter().map(|line| Line::plain(line)));
        }
    }
    lines
}

/// No password is longer.
const LONGEST: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Style;
    use units::snapshot::SurveyFinding;

    #[test]
    fn a_report_is_printed_with_lines_to_paste() {
        let report = SurveyReport {
            server: "Icecast 2.4.4\u{1b}[2J".to_owned(),
            kind: "icecast-2.4".to_owned(),
            findings: vec![SurveyFinding { sight: SurveySight::Bad, text: "too short".to_owned() }],
            settings: vec!["[output.proven]".to_owned(), "evict = true".to_owned()],
            headend: Vec::new(),
        };
        let style = Style { colour: false, width: usize::MAX };
        let shown: Vec<String> = lines(&report).iter().map(|line| line.shown(style)).collect();
        assert_eq!(
            shown,
            [
                "Icecast 2.4.4[2J (icecast-2.4)",
                "no   too short",
                "",
                "For the settings:",
                "[output.proven]",
                "evict = true"
            ]
        );
    }

    #[test]
    fn a_password_is_the_files_first_line_and_reaches_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "let me in\r\nnot this\n").unwrap();
        let password = password(&file).unwrap();
        let order = SurveyOrder { password: Some(password), ..SurveyOrder::default() };
        assert!(!format!("{order:?}").contains("let me in"));
        let line = serde_json::to_string(&Command::Survey(order.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), Command::Survey(order));
        std::fs::write(&file, "\nsecond\n").unwrap();
        assert!(super::password(&file).is_err());
    }
}
