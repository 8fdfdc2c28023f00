//! The uplinks: one a line, each trouble and warning with its remedy below it.

use units::snapshot::{Snapshot, UplinkReport, UplinkState};

use crate::grid::{Column, Grid, remedy};
use crate::line::{Line, Paint, clean};
use crate::words;

const COLUMNS: [Column; 7] = [
    Column { caption: "UPLINK", right: false, rank: 1 },
    Column { caption: "INTERFACE", right: false, rank: 2 },
    Column { caption: "STATE", right: false, rank: 1 },
    Column { caption: "SINCE", right: true, rank: 3 },
    Column { caption: "COST", right: false, rank: 4 },
    Column { caption: "ADDRESS", right: false, rank: 5 },
    Column { caption: "GATEWAY", right: false, rank: 6 },
];

/// The block of uplinks with an empty line behind it; nothing if none are set.
#[must_use]
pub(crate) fn uplinks(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    if snapshot.uplinks.is_empty() {
        return Vec::new();
    }
    let rows: Vec<[String; COLUMNS.len()]> =
        snapshot.uplinks.iter().map(|uplink| cells(snapshot, uplink)).collect();
    let grid = Grid::of(&COLUMNS, rows.iter().map(<[String; COLUMNS.len()]>::as_slice), width);
    let mut lines = vec![grid.header()];
    for (uplink, cells) in snapshot.uplinks.iter().zip(&rows) {
        lines.push(grid.row(cells, Paint::Plain, paint(uplink.state)));
        let trouble = [&uplink.reason, &uplink.remedy].into_iter().flatten().cloned().collect::<Vec<_>>();
        if !trouble.is_empty() {
            lines.extend(remedy(&trouble.join("; "), width));
        }
        lines.extend(uplink.warnings.iter().flat_map(|warning| remedy(warning, width)));
    }
    lines.push(Line::default());
    lines
}

fn cells(snapshot: &Snapshot, uplink: &UplinkReport) -> [String; COLUMNS.len()] {
    let or_none = |text: Option<&str>| clean(text.unwrap_or("-"));
    let more = uplink.addresses.len().saturating_sub(1);
    let address = or_none(uplink.addresses.first().map(String::as_str));
    [
        clean(&uplink.name),
        clean(&uplink.interface),
        uplink.state.word().to_owned(),
        words::span(snapshot.now.since(uplink.since)),
        if uplink.metered { "metered" } else { "free" }.to_owned(),
        if more > 0 { format!("{address} +{more}") } else { address },
        or_none(uplink.gateway.as_deref()),
    ]
}

const fn paint(state: UplinkState) -> Paint {
    match state {
        UplinkState::Up => Paint::Good,
        UplinkState::Checking | UplinkState::Suspect => Paint::Soon,
        UplinkState::Down => Paint::Bad,
    }
}
