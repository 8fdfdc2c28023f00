//! The programme's tiers: what is on air, what is wrong, and the orders and measurements that concern them.

use std::io::IsTerminal as _;
use std::path::Path;

use clap::Args;
use units::snapshot::{Command, Measure, ProgrammeReport, Reply, Snapshot, TierCondition, TierReport};

use crate::grid::remedy;
use crate::line::{Line, Paint, clean};
use crate::socket::Socket;
use crate::table::caption;
use crate::{Ending, done, words};

/// For how long an order holds.
#[derive(Debug, Args)]
pub(crate) struct Span {
    /// Until the box chooses by itself again.
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_MINUTES))]
    minutes: u64,
}

impl Span {
    pub(crate) const fn seconds(&self) -> u64 {
        self.minutes * 60
    }
}

/// A day: whoever wants longer changes the settings.
const MOST_MINUTES: u64 = 24 * 60;

/// For how long is listened.
#[derive(Debug, Args)]
pub(crate) struct Listening {
    /// For how long.
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub seconds: u64,
}

/// Has the box listen, and prints what it says.
pub(crate) fn measure(path: &Path, order: Measure) -> Result<(), Ending> {
    let mut socket = Socket::ask(path, Command::Measure(order))?;
    let telling = std::io::stderr().is_terminal();
    loop {
        match socket.reply()? {
            Reply::Surveying { what } => {
                if telling {
                    eprintln!("{}...", clean(&what));
                }
            }
            other @ (Reply::Snapshot(_)
            | Reply::Done { .. }
            | Reply::Log { .. }
            | Reply::Events { .. }
            | Reply::Incidents { .. }
            | Reply::Drill(_)
            | Reply::Surveyed(_)
            | Reply::Recordings { .. }
            | Reply::Cut(_)
            | Reply::Refused { .. }) => return done(other),
        }
    }
}

/// What is on air and why, where that is not simply the line-in; then each tier that is not well.
#[must_use]
pub(crate) fn tiers(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let Some(programme) = &snapshot.programme else { return Vec::new() };
    let mut lines = vec![on_air(snapshot, programme)];
    if let Some(order) = &programme.order {
        let left = words::span(order.until.since(snapshot.now));
        let said =
            format!("ordered: {} for another {left}, then by itself (mainstay auto ends it)", order.tier);
        lines.push(caption("").and(Paint::Soon, &said));
    }
    if programme.primary_dropped {
        let said = "the mounts are closed: the platform's own fallback plays";
        lines.push(caption("").and(Paint::Bad, said));
    }
    for tier in &programme.tiers {
        lines.extend(trouble(snapshot, tier, width));
    }
    lines
}

fn on_air(snapshot: &Snapshot, programme: &ProgrammeReport) -> Line {
    let first = programme.tiers.first().is_some_and(|tier| tier.name == programme.on_air);
    let since = words::span(snapshot.now.since(programme.since));
    let others: Vec<String> = programme
        .tiers
        .iter()
        .filter(|tier| tier.name != programme.on_air)
        .map(|tier| match tier.condition {
            TierCondition::Good => clean(&tier.name),
            TierCondition::Alarm | TierCondition::Bad => {
                format!("{} ({})", clean(&tier.name), tier.condition.word())
            }
        })
        .collect();
    let line = caption("on air")
        .and(if first { Paint::Good } else { Paint::Bad }, &programme.on_air)
        .and(Paint::Plain, &format!("  for {since}"));
    let line =
        if programme.why.is_empty() { line } else { line.and(Paint::Plain, &format!(": {}", programme.why)) };
    if others.is_empty() {
        line
    } else {
        line.and(Paint::Plain, &format!("; behind it {}", others.join(", ")))
    }
}

fn trouble(snapshot: &Snapshot, tier: &TierReport, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for fault in &tier.faults {
        let span = words::span(std::time::Duration::from_millis(fault.for_ms));
        lines.extend(remedy(&format!("{}: {} for {span}; {}", tier.name, fault.fault, fault.remedy), width));
    }
    if let (Some(why), true) = (&tier.why, tier.faults.is_empty()) {
        let since = words::span(snapshot.now.since(tier.since));
        lines.extend(remedy(&format!("{} for {since}: {why}", tier.name), width));
    }
    lines
}
