//! `mainstay`: the box from a shell. Asks `mainstay-air` over its local socket and shows the answer.
//!
//! Ends with 0 when all is well, 1 when the box said no, 2 when it cannot be reached, 64 when the command line makes no
//! sense (`EX_USAGE` of sysexits.h).
#![forbid(unsafe_code)]

mod drill;
mod grid;
mod incidents;
mod line;
mod meters;
mod recordings;
mod socket;
mod survey;
mod table;
mod terminal;
mod tiers;
mod uplinks;
mod words;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use units::snapshot::{Command, Measure, PROTOCOL, Reply, SOCKET, Snapshot, TierOrder, Wanted};

use line::{Line, clean, clean_json};
use socket::Socket;
use terminal::Terminal;

/// The Mainstay box from a shell.
#[derive(Debug, Parser)]
#[command(name = "mainstay", version)]
struct Arguments {
    /// The socket of mainstay-air.
    #[arg(long, global = true, default_value = SOCKET, value_name = "PATH")]
    socket: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the input, the outputs and what each needs.
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
        /// Again and again, with level meters, until Ctrl-C.
        #[arg(long)]
        watch: bool,
    },
    /// Sets the title on all mounts.
    Title {
        /// The title; empty for the default one.
        text: String,
    },
    /// Reads the settings again. Unchanged mounts stay as they are; refused settings change nothing.
    Reload,
    /// Shows the newest lines of the log.
    Log {
        /// How many.
        #[arg(long, default_value_t = 50)]
        lines: u32,
    },
    /// Moves an output's listeners to its fallback and leaves them there, for maintenance of what the primary goes through.
    Leave(Order),
    /// Brings an output's listeners back to its primary.
    Return(Order),
    /// Goes live on an output that is on air only while it is taken, over the programme that is on.
    Take(Order),
    /// Hands a taken output back to what the server falls back to.
    Release(Order),
    /// Shows the hand-overs that are remembered, also from before a restart; the newest last.
    Incidents {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Lists the log recordings and what is missing in them, the newest last.
    Recordings {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Copies what was sent from one time to another out of the recordings into one file that plays.
    Cut(recordings::Cut),
    /// Keeps 15 s before and after this moment apart from the other recordings.
    Mark {
        /// What for; becomes part of the file's name.
        #[arg(default_value = "")]
        text: String,
    },
    /// Cuts an output's primary on purpose, as a dying path would, listens, and says what a listener heard. Ctrl-C ends the cut.
    Drill {
        /// The output.
        output: String,
        /// How long the cut lasts at the most.
        #[arg(long, default_value_t = 10, value_name = "N")]
        seconds: u64,
        /// Also where listeners will notice: what they lose is said before.
        #[arg(long)]
        force: bool,
        /// As one JSON object a line, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Puts the emergency audio on air, or the tier that is named, for a while.
    Play {
        /// A tier's name, as `mainstay status` shows it.
        tier: Option<String>,
        #[command(flatten)]
        span: tiers::Span,
    },
    /// Keeps the line-in on air for a while, whatever is wrong with it.
    Stay(tiers::Span),
    /// Lets the box choose the tier again.
    Auto,
    /// Listens to the line with nothing playing, and says which silence threshold fits it.
    Learn(tiers::Listening),
    /// Listens to the programme, and says which trim brings it to a loudness.
    Calibrate {
        #[command(flatten)]
        listening: tiers::Listening,
        /// The loudness wanted, in LUFS.
        #[arg(long, default_value_t = -16.0, allow_negative_numbers = true, value_name = "LUFS")]
        target: f32,
    },
    /// Listens to another encoder's stream beside the programme, and says which trim makes them equally loud.
    MatchLoudness {
        /// Where the other is heard, such as http://stream.example.org:8000/other.
        url: String,
        #[command(flatten)]
        listening: tiers::Listening,
    },
    /// Finds out what a streaming server is and lets a source do, and prints the settings for it.
    Survey(survey::Wishes),
    /// Writes the recording of the last ten minutes to standard output, for `cargo xtask replay`.
    Events,
}

#[derive(Debug, clap::Args)]
struct Order {
    /// The output.
    output: String,
    /// At this time of day (the box's local time) instead of now.
    #[arg(long, value_name = "HH:MM:SS")]
    at: Option<String>,
}

impl Order {
    fn command(&self, wanted: Wanted) -> Command {
        Command::Order { wanted, output: self.output.clone(), at: self.at.clone() }
    }
}

/// How it ended, if not well.
#[derive(Debug)]
enum Ending {
    /// The box said no, and why.
    Refused(String),
    /// There is no talking to it.
    Unreachable(anyhow::Error),
    /// Nobody reads what we write any more (`mainstay log | head`): that is well.
    Unread,
}

impl From<socket::Failure> for Ending {
    fn from(failure: socket::Failure) -> Self {
        Self::Unreachable(failure.into())
    }
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::Refused(format!("standard output cannot be written: {error}"))
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(said) => {
            // `--help` and `--version` come this way too. A closed standard output is no reason to fail.
            let _ = said.print();
            return ExitCode::from(if said.use_stderr() { 64 } else { 0 });
        }
    };
    match run(&arguments) {
        Ok(()) | Err(Ending::Unread) => ExitCode::SUCCESS,
        Err(Ending::Refused(why)) => {
            for line in why.lines() {
                eprintln!("mainstay: {}", clean(line));
            }
            ExitCode::from(1)
        }
        Err(Ending::Unreachable(why)) => {
            eprintln!("mainstay: {}", clean(&format!("{why:#}")));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Ending> {
    let ask = |command| Socket::ask(&arguments.socket, command);
    match &arguments.verb {
        Verb::Status { json, watch: false } => {
            let snapshot = snapshot(ask(Command::Status)?.reply()?)?;
            if *json {
                return Ok(terminal::write(&format!("{}\n", pretty(&snapshot)))?);
            }
            let terminal = Terminal::of_stdout();
            Ok(terminal.print(&table::status(&snapshot, terminal.width()))?)
        }
        Verb::Status { json, watch: true } => watch(&arguments.socket, *json),
        Verb::Title { text } => done(ask(Command::Title { text: text.clone() })?.reply()?),
        Verb::Leave(order) => done(ask(order.command(Wanted::Leave))?.reply()?),
        Verb::Return(order) => done(ask(order.command(Wanted::Return))?.reply()?),
        Verb::Take(order) => done(ask(order.command(Wanted::Take))?.reply()?),
        Verb::Release(order) => done(ask(order.command(Wanted::Release))?.reply()?),
        Verb::Reload => done(ask(Command::Reload)?.reply()?),
        Verb::Log { lines } => {
            let reply = ask(Command::Log { lines: *lines })?.reply()?;
            let Reply::Log { lines } = reply else { return Err(unexpected(reply)) };
            Ok(terminal::write(&cleaned(&lines))?)
        }
        Verb::Incidents { json } => incidents(ask(Command::Incidents)?.reply()?, *json),
        Verb::Recordings { json } => recordings::recordings(ask(Command::Recordings)?.reply()?, *json),
        Verb::Cut(cut) => recordings::cut(&arguments.socket, cut),
        Verb::Mark { text } => done(ask(Command::Mark { text: text.clone() })?.reply()?),
        Verb::Drill { output, seconds, force, json } => {
            let command = Command::Drill { output: output.clone(), seconds: *seconds, force: *force };
            drill::drill(&arguments.socket, command, *json)
        }
        Verb::Play { tier, span } => {
            let order = TierOrder::Play { tier: tier.clone(), seconds: span.seconds() };
            done(ask(Command::Tier(order))?.reply()?)
        }
        Verb::Stay(span) => done(ask(Command::Tier(TierOrder::Stay { seconds: span.seconds() }))?.reply()?),
        Verb::Auto => done(ask(Command::Tier(TierOrder::Auto))?.reply()?),
        Verb::Learn(listening) => {
            tiers::measure(&arguments.socket, Measure::Floor { seconds: listening.seconds })
        }
        Verb::Calibrate { listening, target } => {
            let target = (target * 100.0).round() as i32;
            tiers::measure(&arguments.socket, Measure::Trim { seconds: listening.seconds, target })
        }
        Verb::MatchLoudness { url, listening } => {
            let order = Measure::Match { url: url.clone(), seconds: listening.seconds };
            tiers::measure(&arguments.socket, order)
        }
        Verb::Survey(wishes) => survey::run(&arguments.socket, wishes),
        Verb::Events => {
            let reply = ask(Command::Events)?.reply()?;
            let Reply::Events { recording } = reply else { return Err(unexpected(reply)) };
            Ok(terminal::write(&clean_json(&recording))?)
        }
    }
}

/// Snapshot after snapshot: redrawn ten times a second where that is possible, else one a second below the other.
fn watch(path: &std::path::Path, json: bool) -> Result<(), Ending> {
    let mut terminal = Terminal::of_stdout();
    let every_ms = if terminal.redraws() && !json { 100 } else { 1000 };
    let mut socket = Socket::ask(path, Command::Watch { every_ms })?;
    loop {
        let snapshot = snapshot(socket.reply()?)?;
        if json {
            let line = serde_json::to_string(&*snapshot).unwrap_or_default();
            terminal::write(&format!("{}\n", clean_json(&line)))?;
        } else {
            terminal.redraw(&watched(&snapshot, terminal.width()))?;
        }
    }
}

/// The table with meters above it.
fn watched(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let mut lines = table::status(snapshot, width);
    if let Some(levels) = &snapshot.levels {
        // Above the outputs, below everything about the input: where the first empty line is.
        let at = lines.iter().position(|line| *line == Line::default()).unwrap_or(lines.len());
        lines.splice(at..at, meters::meters(levels, width));
    }
    lines
}

fn snapshot(reply: Reply) -> Result<Box<Snapshot>, Ending> {
    let Reply::Snapshot(snapshot) = reply else { return Err(unexpected(reply)) };
    if snapshot.protocol != PROTOCOL {
        return Err(Ending::Refused(format!(
            "mainstay-air {} speaks version {} and this program version {PROTOCOL}: install both from one release",
            snapshot.build, snapshot.protocol
        )));
    }
    Ok(snapshot)
}

fn incidents(reply: Reply, json: bool) -> Result<(), Ending> {
    let Reply::Incidents { incidents, missing } = reply else { return Err(unexpected(reply)) };
    if json {
        let text = serde_json::to_string_pretty(&incidents).map_err(io::Error::from)?;
        terminal::write(&format!("{}\n", clean_json(&text)))?;
    } else {
        let terminal = Terminal::of_stdout();
        terminal.print(&incidents::list(&incidents, terminal.width()))?;
    }
    match missing {
        Some(why) => Err(Ending::Refused(why)),
        None => Ok(()),
    }
}

fn done(reply: Reply) -> Result<(), Ending> {
    let Reply::Done { changes } = reply else { return Err(unexpected(reply)) };
    Ok(terminal::write(&cleaned(&changes))?)
}

/// Why a reply is not the one that was asked for: nearly always because the box said no.
fn unexpected(reply: Reply) -> Ending {
    match reply {
        Reply::Refused { why } => Ending::Refused(why),
        Reply::Snapshot(_)
        | Reply::Done { .. }
        | Reply::Log { .. }
        | Reply::Events { .. }
        | Reply::Incidents { .. }
        | Reply::Recordings { .. }
        | Reply::Cut(_)
        | Reply::Drill(_)
        | Reply::Surveying { .. }
        | Reply::Surveyed(_) => Ending::Refused(
            "mainstay-air answered another question than was asked: install mainstay and mainstay-air from one release"
                .into(),
        ),
    }
}

fn cleaned(lines: &[String]) -> String {
    lines.iter().flat_map(|text| text.lines()).map(|line| format!("{}\n", clean(line))).collect()
}

fn pretty(snapshot: &Snapshot) -> String {
    // Snapshots hold neither maps with odd keys nor numbers that JSON lacks: nothing in them can fail.
    clean_json(&serde_json::to_string_pretty(snapshot).unwrap_or_default())
}

#[cfg(test)]
mod tests;
