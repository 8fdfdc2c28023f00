//! Hand-overs: where an output's listeners are, and what became of them so far.

use std::time::Duration;

use units::WallTime;
use units::snapshot::{
    HandOverReport, Incident, IncidentRecord, MountReport, MountState, OutputReport, Role, Snapshot,
};

use crate::grid::wrapped;
use crate::line::{Line, Paint};
use crate::words;

/// What is said below an output's mounts: where its listeners are, what the standby costs, and the newest incident.
#[must_use]
pub(crate) fn hand_over(snapshot: &Snapshot, output: &OutputReport, width: usize) -> Vec<Line> {
    let Some(report) = &output.hand_over else { return Vec::new() };
    let HandOverReport { listeners_on, phase, incidents } = report;
    let held = output.mounts.iter().find(|mount| mount.role == Role::Fallback).and_then(standby);
    let last = incidents.last().map_or_else(
        || "no incident so far".to_owned(),
        |incident| format!("last incident {}: {}", when(snapshot, incident), told(incident)),
    );
    let held = held.map(|held| format!(", {held}")).unwrap_or_default();
    let calm = phase == "calm" && *listeners_on == Role::Primary;
    let (mark, paint) = if calm { ("  = ", Paint::Good) } else { ("  ! ", Paint::Soon) };
    let text = format!("listeners on the {listeners_on}, {phase}{held}; {last}");
    wrapped(mark, paint, &text, width)
}

/// What a held fallback costs.
fn standby(fallback: &MountReport) -> Option<String> {
    (fallback.state == MountState::Held)
        .then(|| format!("fallback held at {} a month", words::a_month_exactly(fallback.bytes_per_day)))
}

fn when(snapshot: &Snapshot, incident: &Incident) -> String {
    let ago = snapshot.now.since(incident.began);
    let ago_in_words = format!("{} ago", words::span(ago));
    match snapshot.wall {
        WallTime::Unknown => ago_in_words,
        WallTime::Unix(now) => {
            let at = WallTime::Unix(now.saturating_sub(ago.as_secs()));
            format!("{} ({ago_in_words})", words::wall(at))
        }
    }
}

/// What it was and what it cost, without when.
#[must_use]
pub(crate) fn told(incident: &Incident) -> String {
    let Incident { cause, detected_ms, moved, pause_ms, lost_ms, healed, .. } = incident;
    let pause =
        if *pause_ms == 0 { "pause not known".to_owned() } else { format!("pause {}", seconds(*pause_ms)) };
    let lost = match lost_ms {
        Some(0) => "nothing lost".to_owned(),
        Some(lost) => format!("{} lost", seconds(*lost)),
        None => "unknown loss".to_owned(),
    };
    let end = if healed.is_some() { "" } else { ", not healed yet" };
    format!("{cause}; noticed after {}, moved ({moved}), {pause}, {lost}{end}", seconds(*detected_ms))
}

/// All that is remembered, oldest first.
#[must_use]
pub(crate) fn list(records: &[IncidentRecord], width: usize) -> Vec<Line> {
    if records.is_empty() {
        return vec![Line::plain("No incidents.")];
    }
    records.iter().flat_map(|record| entry(record, width)).collect()
}

fn entry(record: &IncidentRecord, width: usize) -> Vec<Line> {
    let (paint, end) = match (record.open, record.lasted_ms) {
        (true, _) => (Paint::Bad, "under way".to_owned()),
        (false, Some(lasted)) => {
            (Paint::Good, format!("healed after {}", words::span(Duration::from_millis(lasted))))
        }
        (false, None) => (Paint::Soon, "its end was not seen (restart or new settings)".to_owned()),
    };
    let drill = if record.drill { "  drill" } else { "" };
    let head = Line::default()
        .and(Paint::Caption, &format!("{}  {}{drill}  ", words::date(record.at), record.incident.output))
        .and(paint, &end);
    // Whether it healed has been said.
    let incident = Incident { healed: Some(record.incident.began), ..record.incident.clone() };
    let mut lines = vec![head];
    let text = format!(
        "{}; listeners had {} of the mount that was left",
        told(&incident),
        words::bytes(incident.cut)
    );
    lines.extend(wrapped("  - ", Paint::Plain, &text, width));
    lines
}

/// `0.705 s`.
fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}
