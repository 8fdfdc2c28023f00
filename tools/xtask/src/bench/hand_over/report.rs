//! The results as Markdown, and which requirements they miss.

use std::fmt::Write as _;

use serde::Serialize;

use super::cell::{Cell, Event, word};
use super::clicks::{PeerOutcome, less_ms};
use super::judge::{Part, Phase, Verdict};
use super::peers::Peer;
use super::requirements::{self, Requirement};
use super::run::{Hand, Outcome, SLOW, SOURCE_TIMEOUT};

/// Everything that was heard, run by run.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    /// Runs asked for of each cell.
    pub(super) runs: u32,
    /// How the box was set up.
    pub(super) hand: String,
    #[serde(skip)]
    pub(super) manner: Option<Hand>,
    pub(super) lanes: usize,
    pub(super) seconds: u64,
    /// Runs that did not fit into the time.
    pub(super) left_out: usize,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) peers: Vec<PeerOutcome>,
    /// Runs in which the rig failed, twice.
    pub(super) rig: Vec<String>,
    /// Runs in which it failed once.
    pub(super) again: Vec<String>,
    /// What was required, and what of it was seen; made from all the rest.
    pub(super) requirements: Vec<Requirement>,
}

/// One phase of all runs of a cell, the worst listener of each run.
#[derive(Default)]
struct Row {
    runs: usize,
    lost: u32,
    repeated: u32,
    torn: u32,
    worst_torn: u32,
    pauses: Vec<u64>,
}

impl Results {
    /// Nothing yet; `manner` is how the box is set up, if not as each cell says.
    pub(super) fn new(runs: u32, lanes: usize, manner: Option<Hand>) -> Self {
        let hand = match manner {
            None => "proven server, eviction allowed but where the cell says that the box waits",
            Some(Hand::PlainReconnect) => "plain reconnect",
            Some(Hand::Proven { evict: true }) => "proven server, eviction allowed",
            Some(Hand::Proven { evict: false }) => "proven server, eviction refused",
        };
        Self {
            runs,
            hand: hand.to_owned(),
            manner,
            lanes,
            seconds: 0,
            left_out: 0,
            outcomes: Vec::new(),
            peers: Vec::new(),
            rig: Vec::new(),
            again: Vec::new(),
            requirements: Vec::new(),
        }
    }

    /// Cells with outcomes, in the table's order.
    pub(super) fn cells(&self) -> Vec<(Cell, Vec<&Outcome>)> {
        Cell::all(self.manner)
            .into_iter()
            .map(|cell| {
                let name = cell.name();
                (cell, self.outcomes.iter().filter(|outcome| outcome.cell == name).collect::<Vec<_>>())
            })
            .filter(|(_, outcomes)| !outcomes.is_empty())
            .collect()
    }

    /// Peers with outcomes, in the order they run.
    pub(super) fn contenders(&self) -> Vec<(Peer, Vec<&PeerOutcome>)> {
        Peer::all(self.manner)
            .into_iter()
            .map(|peer| {
                let name = peer.name();
                (peer, self.peers.iter().filter(|outcome| outcome.peer == name).collect::<Vec<_>>())
            })
            .filter(|(_, outcomes)| !outcomes.is_empty())
            .collect()
    }

    /// Says which requirements were met, once all runs are in.
    pub(super) fn conclude(&mut self) {
        self.requirements = requirements::all(self);
    }

    /// All tables that there are figures for.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "{} runs in {} min {} s, {} lanes at once, {}. Packets and pauses are those of the worst listener of each run.\n",
            self.outcomes.len() + self.peers.len(),
            self.seconds / 60,
            self.seconds % 60,
            self.lanes,
            self.hand
        );
        if self.left_out > 0 {
            let _ = writeln!(text, "**{} runs did not fit into the time.**", self.left_out);
        }
        if !self.rig.is_empty() {
            let _ = writeln!(text, "**The rig failed in {} runs.**", self.rig.len());
        }
        if !self.again.is_empty() {
            let _ = writeln!(
                text,
                "**The rig failed once in {} runs, which were begun again.**",
                self.again.len()
            );
        }
        self.write_summary(&mut text);
        self.write_cells(&mut text);
        self.write_contenders(&mut text);
        requirements::write(&self.requirements, &mut text);
        text
    }

    /// By event and phase, over all servers, renditions and transports.
    fn write_summary(&self, text: &mut String) {
        if self.outcomes.is_empty() {
            return;
        }
        *text += "\n| event | phase | runs | lost | repeated | torn | pause median | max |\n|---|---|--:|--:|--:|--:|--:|--:|\n";
        let events: Vec<Event> = clap::ValueEnum::value_variants().to_vec();
        for event in events {
            for phase in Phase::EVENTFUL {
                let mut row = Row::default();
                for (cell, outcomes) in self.cells() {
                    // Where the box waits, its pause is another.
                    if cell.event == event && cell.hand != Hand::WAITS || self.manner.is_some() {
                        outcomes.iter().for_each(|outcome| row.add(outcome, phase));
                    }
                }
                row.write(text, &[word(event), phase_name(phase).to_owned()]);
            }
        }
    }

    fn write_cells(&self, text: &mut String) {
        if self.outcomes.is_empty() {
            return;
        }
        *text += "\n| cell | phase | runs | lost | repeated | torn | pause median | max | complaints | connection kept | player stalled, max | buffer lost, max | slow listener |\n\
                  |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        for (cell, outcomes) in self.cells() {
            for (index, phase) in Phase::EVENTFUL.into_iter().enumerate() {
                let mut row = Row::default();
                outcomes.iter().for_each(|outcome| row.add(outcome, phase));
                row.write(text, &[cell.name(), phase_name(phase).to_owned()]);
                // The newline that `write` put there makes room for what concerns the whole run.
                text.truncate(text.trim_end().len());
                if index == 0 {
                    let complaints: usize =
                        outcomes.iter().flat_map(|outcome| judged(outcome)).map(|v| v.complaints).sum();
                    let kept = outcomes.iter().filter(|outcome| kept(outcome)).count();
                    let slow = outcomes.iter().filter(|outcome| slow_is_whole(outcome)).count();
                    let all = outcomes.len();
                    let stalls =
                        outcomes.iter().flat_map(|outcome| judged(outcome)).map(|v| v.player.stalled_ms);
                    let buffer = outcomes.iter().map(|outcome| buffer_lost(outcome)).max().unwrap_or(0);
                    let _ = writeln!(
                        text,
                        " {complaints} | {kept} of {all} | {} ms | {buffer} ms | {slow} of {all} whole |",
                        stalls.max().unwrap_or(0)
                    );
                } else {
                    *text += " | | | | |\n";
                }
            }
        }
    }

    fn write_contenders(&self, text: &mut String) {
        let contenders = self.contenders();
        if contenders.is_empty() {
            return;
        }
        *text += "\nOn the test card: seconds of programme that a listener never heard, until the uplink was back for 25 s and \
                  nobody caught up any more. Back: first byte after the healing. Older: the lag that stayed.\n\n\
                  | who, event | runs | lost median | max | repeated | complaints median | connection kept | pause median | max | back, max | older, max |\n\
                  |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        for (peer, outcomes) in &contenders {
            let of = |figure: fn(&PeerOutcome) -> f64| Figures::of(outcomes.iter().map(|one| figure(one)));
            let (lost, pause) = (of(|one| one.lost), of(|one| one.pause));
            let kept = outcomes.iter().filter(|one| one.kept).count();
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} s | {:.1} s | {:.1} s | {:.0} | {kept} of {} | {:.1} s | {:.1} s | {:.1} s | {:.1} s |",
                peer.name(),
                outcomes.len(),
                lost.median,
                lost.most,
                of(|one| one.repeated).most,
                of(|one| one.complaints as f64).median,
                outcomes.len(),
                pause.median,
                pause.most,
                of(|one| one.back.unwrap_or(f64::INFINITY)).most,
                of(|one| one.older.unwrap_or(f64::INFINITY)).most,
            );
        }
        *text += "\nWhat players made of the same. Buffers: a player that only holds back what it was given (simulated), and what \
                  Chromium had ready (it may hold more), at the fault and at the end. The slow listener may read 1.25 times the programme's bytes.\n\n\
                  | who, event | mpv stalls, median | max | waited, max | Chromium stalls, median | max | waited, max | both played on | Chromium had ready | then, least | buffer | then, least | slow: kept | lost, max | buffer | then, least |\n\
                  |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        for (peer, outcomes) in &contenders {
            let of = |figure: fn(&PeerOutcome) -> f64| Figures::of(outcomes.iter().map(|one| figure(one)));
            let (mpv, chromium) = (of(|one| one.mpv.stalls as f64), of(|one| f64::from(one.chromium.stalls)));
            let all = outcomes.len();
            let on = outcomes.iter().filter(|one| one.mpv.kept && one.chromium.end.is_none()).count();
            let slow = outcomes.iter().filter(|one| one.slow.kept).count();
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.0} | {:.1} s | {:.0} | {:.0} | {:.1} s | {on} of {all} | {:.1} s | {:.1} s | {:.1} s | {:.1} s | {slow} of {all} | {:.1} s | {:.1} s | {:.1} s |",
                peer.name(),
                mpv.median,
                mpv.most,
                of(|one| one.mpv.waited).most,
                chromium.median,
                chromium.most,
                of(|one| one.chromium.waited).most,
                of(|one| one.chromium.held_before).median,
                of(|one| one.chromium.held_after).least,
                of(|one| one.player.buffer_before_ms as f64 / 1e3).median,
                of(|one| one.player.buffer_after_ms as f64 / 1e3).least,
                of(|one| one.slow.lost).most,
                of(|one| one.slow.player.buffer_before_ms as f64 / 1e3).median,
                of(|one| one.slow.player.buffer_after_ms as f64 / 1e3).least,
            );
        }
    }

    /// The requirements that were missed, one line each.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> =
            self.rig.iter().map(|what| format!("the rig failed: {what}")).collect();
        if self.left_out > 0 {
            failures.push(format!("{} runs did not fit into the time", self.left_out));
        }
        for (peer, outcomes) in self.contenders() {
            for one in outcomes {
                failures.extend(one.missed(peer).map(|what| format!("{} run {}: {what}", one.peer, one.run)));
            }
        }
        for (cell, outcomes) in self.cells() {
            for outcome in outcomes {
                let name = format!("{} run {}", outcome.cell, outcome.run);
                if outcome.gaps > 0 {
                    failures.push(format!(
                        "{name}: this machine is too slow ({} gaps); fewer --lanes",
                        outcome.gaps
                    ));
                    continue;
                }
                if let Some(why) = &outcome.gone {
                    failures.push(format!("{name}: the box is gone: {why}"));
                }
                if !outcome.returned {
                    failures.push(format!("{name}: the listeners were not back on the primary in time"));
                }
                for verdict in &outcome.verdicts {
                    failures.extend(
                        missed(cell, verdict)
                            .map(|what| format!("{name}, {} listener: {what}", verdict.listener)),
                    );
                }
            }
        }
        failures
    }
}

/// The requirements that one listener's verdict misses.
fn missed(cell: Cell, verdict: &Verdict) -> impl Iterator<Item = String> {
    let mut missed = Vec::new();
    for part in &verdict.parts {
        let may_tear = if part.phase == Phase::Calm { 0 } else { cell.event.may_tear() };
        if part.lost > 0 || part.repeated > 0 || part.torn > may_tear {
            missed.push(format!("{}: {}", phase_name(part.phase), part.flaws.join(", ")));
        }
        if let Some(limit) = pause_limit(cell, part)
            && part.pause_ms > limit
            && verdict.listener != SLOW
        {
            missed.push(format!(
                "{}: a pause of {} ms, {limit} allowed",
                phase_name(part.phase),
                part.pause_ms
            ));
        }
    }
    // What is torn, ffmpeg may say so.
    if verdict.complaints > 0 && cell.event.may_tear() == 0 {
        missed.push(format!("ffmpeg, {} lines: {}", verdict.complaints, verdict.complained.join("; ")));
    }
    if let Some(how) = &verdict.ended {
        missed.push(format!("its connection ended: {how}"));
    }
    missed.into_iter()
}

/// What a fail-over after a silent cut may take.
pub(super) fn pause_limit(cell: Cell, part: &Part) -> Option<u64> {
    if cell.event != Event::Silent || part.phase != Phase::FailOver {
        return None;
    }
    match cell.hand {
        Hand::PlainReconnect => None,
        Hand::Proven { evict: true } => Some(cell.pair.pause_ms()),
        Hand::Proven { evict: false } => Some(u64::from(SOURCE_TIMEOUT) * 1_000 + 1_500),
    }
}

impl Row {
    fn add(&mut self, outcome: &Outcome, phase: Phase) {
        let parts: Vec<&Part> = judged(outcome).flat_map(|v| &v.parts).filter(|p| p.phase == phase).collect();
        let worst = |figure: &dyn Fn(&Part) -> u32| parts.iter().map(|part| figure(part)).max().unwrap_or(0);
        self.runs += 1;
        self.lost += worst(&|part| part.lost);
        self.repeated += worst(&|part| part.repeated);
        let torn = worst(&|part| part.torn);
        self.torn += torn;
        self.worst_torn = self.worst_torn.max(torn);
        self.pauses.extend(parts.iter().map(|part| part.pause_ms).max());
    }

    fn write(mut self, text: &mut String, names: &[String]) {
        if self.runs == 0 {
            return;
        }
        self.pauses.sort_unstable();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.2} s | {:.2} s |",
            names.join(" | "),
            self.runs,
            self.lost,
            self.repeated,
            self.torn,
            self.pauses[self.pauses.len() / 2] as f64 / 1e3,
            self.pauses.last().copied().unwrap_or(0) as f64 / 1e3,
        );
    }
}

/// One line about a run.
pub(super) fn in_short(outcome: &Outcome) -> String {
    let mut text = String::new();
    for phase in Phase::EVENTFUL {
        let mut row = Row::default();
        row.add(outcome, phase);
        let _ = write!(
            text,
            "{} {}/{}/{} {} ms; ",
            phase_name(phase),
            row.lost,
            row.repeated,
            row.torn,
            row.pauses.first().copied().unwrap_or(0)
        );
    }
    let complaints: usize = judged(outcome).map(|verdict| verdict.complaints).sum();
    let stalled = judged(outcome).map(|verdict| verdict.player.stalled_ms).max().unwrap_or(0);
    let seconds = outcome.seconds.last().copied().unwrap_or(0.0);
    let _ = write!(
        text,
        "{complaints} complaints, a player stalled {stalled} ms, buffer less {} ms, {seconds:.0} s",
        buffer_lost(outcome)
    );
    for (bad, what) in [
        (!kept(outcome), "a connection ended"),
        (!outcome.returned, "not returned"),
        (outcome.gaps > 0, "the machine is too slow"),
        (!slow_is_whole(outcome), "the slow listener lost something"),
    ] {
        if bad {
            let _ = write!(text, ", {what}");
        }
    }
    text
}

pub(super) fn judged(outcome: &Outcome) -> impl Iterator<Item = &Verdict> {
    outcome.verdicts.iter().filter(|verdict| verdict.listener != SLOW)
}

pub(super) fn kept(outcome: &Outcome) -> bool {
    outcome.verdicts.iter().all(|verdict| verdict.ended.is_none())
}

/// What a player's buffer holds less than before, in milliseconds.
pub(super) fn buffer_lost(outcome: &Outcome) -> u64 {
    judged(outcome).map(|verdict| less_ms(&verdict.player)).max().unwrap_or(0)
}

pub(super) fn slow_is_whole(outcome: &Outcome) -> bool {
    outcome.verdicts.iter().filter(|verdict| verdict.listener == SLOW).all(|verdict| {
        verdict.ended.is_none() && verdict.parts.iter().all(|part| part.lost + part.repeated + part.torn == 0)
    })
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Calm => "before",
        Phase::FailOver => "fail-over",
        Phase::Return => "return",
        Phase::SecondFault => "second fault",
    }
}

/// The figures of several runs.
pub(super) struct Figures {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Figures {
    /// All zero if there are none.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        Self { least: at(0), median: at(values.len() / 2), most: at(values.len().saturating_sub(1)) }
    }
}
