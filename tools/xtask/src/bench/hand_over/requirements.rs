//! What was required of hand-overs (the figures that the box is to be bought for), and what of it these runs showed.

use std::fmt::Write as _;

use serde::Serialize;

use super::cell::{Cell, Event, word};
use super::clicks::{LESS_MS, PeerOutcome, less_ms};
use super::judge::Phase;
use super::peers::{Demand, Peer};
use super::picture;
use super::report::{Figures, Results, buffer_lost, judged, kept, pause_limit, slow_is_whole};
use super::run::{Hand, Outcome};

/// One line of the last table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Requirement {
    pub(super) what: String,
    /// What was seen of it, or who shows it.
    pub(super) seen: String,
    pub(super) verdict: Requires,
}

/// What became of a requirement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Requires {
    Met,
    Missed,
    NotMeasured,
}

/// Runs that each cell has to have.
const RUNS: usize = 5;
/// Seconds after an outage within which something has to be heard.
const BACK: f64 = 1.5;
/// Lanes that have to run at once, and minutes that all may take.
const LANES: usize = 10;
const MINUTES: u64 = 30;

/// What others show, and which command does.
const ELSEWHERE: [(&str, &str); 6] = [
    (
        "the only uplink silent for 8 s, Linux 6.15 or later: mount kept, 0 packets lost; for 30 s: first verified byte within 1.5 s of its return",
        "cargo xtask bench outages",
    ),
    (
        "an uplink stalled or a server stopped: other mounts never pause over 100 ms; 10 h of loss and jitter move nobody",
        "tools/test --floor e2e, --floor sim",
    ),
    ("a held fallback costs at most 1 % of a full one over 10 minutes", "tools/test --floor e2e"),
    (
        "override off, a fallback with listeners, a platform that switches by itself, a foreign source, round-robin DNS: nothing held, \
         nothing foreign evicted, nothing repeated",
        "tools/test --floor e2e, --floor sim",
    ),
    ("a year of a bad provider's faults", "cargo run --release -p mainstay-sim --example year"),
    (
        "two ingest servers, harbor, Shoutcast v1: seconds lost; take and release",
        "cargo xtask bench outages; tools/test --floor e2e",
    ),
];

/// All of them, in the order in which they were written down.
pub(super) fn all(results: &Results) -> Vec<Requirement> {
    let mut all = vec![extent(results)];
    for event in [Event::Silent, Event::Carrier, Event::Reset, Event::HalfDead, Event::ServerEnds] {
        all.push(whole(results, event));
    }
    let high = |cell: Cell| cell.pair.pause_ms() == 1_500;
    all.push(pause(results, "with eviction, 320 kbit/s: at most 1.5 s", |cell| {
        cell.hand == Hand::EVICTS && high(cell)
    }));
    all.push(pause(results, "with eviction, elsewhere: at most 2.0 s", |cell| {
        cell.hand == Hand::EVICTS && !high(cell)
    }));
    all.push(pause(results, "without eviction: at most source-timeout + 1.5 s (11.5 s)", |cell| {
        cell.hand == Hand::WAITS
    }));
    for kbit in [320, 128] {
        all.push(player(results, kbit, "mpv", |one| (one.mpv.stalls, one.mpv.waited, one.mpv.kept)));
        all.push(player(results, kbit, "Chromium", |one| {
            (one.chromium.stalls as usize, one.chromium.waited, one.chromium.end.is_none())
        }));
    }
    all.push(slow(results, 11));
    all.push(slow(results, 30));
    all.push(buffers(results));
    all.push(outages(results, false));
    all.push(outages(results, true));
    all.push(Requirement {
        what: "the picture: what a listener hears when the uplink is cut, box beside peers".to_owned(),
        seen: "target/bench/hand-over.svg".to_owned(),
        verdict: match picture::draw(&results.peers) {
            Some(_) => Requires::Met,
            None => Requires::NotMeasured,
        },
    });
    all.extend(ELSEWHERE.map(|(what, who)| Requirement {
        what: what.to_owned(),
        seen: format!("shown by {who}"),
        verdict: Requires::NotMeasured,
    }));
    all
}

/// The table.
pub(super) fn write(all: &[Requirement], text: &mut String) {
    *text += "\n| required | seen | |\n|---|---|---|\n";
    for one in all {
        let verdict = match one.verdict {
            Requires::Met => "met",
            Requires::Missed => "**missed**",
            Requires::NotMeasured => "not measured here",
        };
        let _ = writeln!(text, "| {} | {} | {verdict} |", one.what, one.seen);
    }
}

/// Met or missed, if there were runs at all.
fn verdict(runs: usize, met: bool) -> Requires {
    match (runs, met) {
        (0, _) => Requires::NotMeasured,
        (_, true) => Requires::Met,
        (_, false) => Requires::Missed,
    }
}

/// What was seen, if there were runs at all.
fn seen(runs: usize, text: String) -> String {
    if runs == 0 { "not tried".to_owned() } else { text }
}

/// Runs whose machine kept up: the others judge nobody.
fn fair<'a>(outcomes: &[&'a Outcome]) -> Vec<&'a Outcome> {
    outcomes.iter().copied().filter(|outcome| outcome.gaps == 0).collect()
}

/// Peers with runs whose machine kept up, as far as it is known.
fn contenders(results: &Results) -> Vec<(Peer, Vec<&PeerOutcome>)> {
    let mut all = results.contenders();
    for (_, outcomes) in &mut all {
        outcomes.retain(|one| one.gaps == 0);
    }
    all.retain(|(_, outcomes)| !outcomes.is_empty());
    all
}

/// Everything was tried, often enough, in time.
fn extent(results: &Results) -> Requirement {
    let cells = results.cells();
    let wanted = Cell::all(None).into_iter().filter(|cell| cell.event != Event::Nothing).count();
    let often = cells.iter().filter(|(_, outcomes)| fair(outcomes).len() >= RUNS).count();
    let peers = contenders(results);
    let wanted_peers = Peer::all(None).len();
    let often_peers = peers.iter().filter(|(_, outcomes)| outcomes.len() >= RUNS).count();
    let too_slow = results.outcomes.iter().filter(|outcome| outcome.gaps > 0).count()
        + results.peers.iter().filter(|outcome| outcome.gaps > 0).count();
    let all = results.manner.is_none() && cells.len() >= wanted && peers.len() >= wanted_peers;
    let met = results.left_out == 0
        && often >= wanted
        && often_peers >= wanted_peers
        && results.lanes >= LANES
        && results.seconds <= MINUTES * 60;
    Requirement {
        what: format!(
            "every cell and every peer at least {RUNS} times, {LANES} lanes or more at once, at most {MINUTES} minutes"
        ),
        seen: format!(
            "{often} of {wanted} cells and {often_peers} of {wanted_peers} peers so often, {} lanes, {:.1} minutes; {} runs left out, \
             {too_slow} on a machine too slow, the rig failed in {}",
            results.lanes,
            results.seconds as f64 / 60.0,
            results.left_out,
            results.rig.len()
        ),
        verdict: if all || results.left_out > 0 { verdict(1, met) } else { Requires::NotMeasured },
    }
}

/// What a listener gets, over fail-over, return and second fault.
fn whole(results: &Results, event: Event) -> Requirement {
    let (mut runs, mut cells, mut lost, mut repeated, mut torn, mut over) = (0, 0, 0, 0, 0, 0);
    let (mut complaints, mut ended, mut away) = (0, 0, 0);
    for (_, outcomes) in results.cells().iter().filter(|(cell, _)| cell.event == event) {
        cells += 1;
        for outcome in fair(outcomes) {
            runs += 1;
            // Of each part, what the worst listener got.
            for phase in Phase::EVENTFUL {
                let parts =
                    || outcome.verdicts.iter().flat_map(|v| &v.parts).filter(|part| part.phase == phase);
                lost += parts().map(|part| part.lost).max().unwrap_or(0);
                repeated += parts().map(|part| part.repeated).max().unwrap_or(0);
                let pieces = parts().map(|part| part.torn).max().unwrap_or(0);
                torn += pieces;
                over += usize::from(pieces > event.may_tear());
            }
            complaints += outcome.verdicts.iter().map(|verdict| verdict.complaints).sum::<usize>();
            ended += usize::from(!kept(outcome) || outcome.gone.is_some());
            away += usize::from(!outcome.returned);
        }
    }
    let may_complain = event.may_tear() > 0;
    let demand = match event.may_tear() {
        0 => "torn 0 packets, 0 decoder complaints".to_owned(),
        most => format!("torn at most {most} packets each time"),
    };
    Requirement {
        what: format!("{}: lost 0, repeated 0, {demand}, connection kept, in every run", word(event)),
        seen: seen(
            runs,
            format!(
                "{runs} runs of {cells} cells: lost {lost}, repeated {repeated}, torn {torn} (too many {over} times), {complaints} \
                 complaints, connection lost {ended} times, not returned {away} times"
            ),
        ),
        verdict: verdict(
            runs,
            lost + repeated == 0 && over + ended + away == 0 && (complaints == 0 || may_complain),
        ),
    }
}

/// The pause of a fail-over after a silent cut.
fn pause(results: &Results, what: &str, belongs: impl Fn(Cell) -> bool) -> Requirement {
    let mut pauses = Vec::new();
    let mut over = 0;
    for (cell, outcomes) in
        results.cells().iter().filter(|(cell, _)| cell.event == Event::Silent && belongs(*cell))
    {
        for outcome in fair(outcomes) {
            let parts: Vec<_> =
                judged(outcome).flat_map(|v| &v.parts).filter(|p| p.phase == Phase::FailOver).collect();
            over += usize::from(
                parts.iter().any(|part| pause_limit(*cell, part).is_some_and(|limit| part.pause_ms > limit)),
            );
            pauses.extend(parts.iter().map(|part| part.pause_ms).max().map(|ms| ms as f64 / 1e3));
        }
    }
    let figures = Figures::of(pauses.iter().copied());
    Requirement {
        what: format!("pause after a silent cut {what}"),
        seen: seen(
            pauses.len(),
            format!(
                "{} runs: median {:.2} s, max {:.2} s, longer {over} times",
                pauses.len(),
                figures.median,
                figures.most
            ),
        ),
        verdict: verdict(pauses.len(), over == 0),
    }
}

/// A real player beside the peers' players: that it plays on is asked, its stalls are counted.
fn player(
    results: &Results,
    kbit: u32,
    name: &str,
    of: impl Fn(&PeerOutcome) -> (usize, f64, bool),
) -> Requirement {
    let (mut runs, mut on, mut text) = (0, 0, String::new());
    for (peer, outcomes) in contenders(results).iter().filter(|(peer, _)| peer.kbit == kbit && !peer.waits())
    {
        let stalls = Figures::of(outcomes.iter().map(|one| of(one).0 as f64));
        let waited = Figures::of(outcomes.iter().map(|one| of(one).1));
        if peer.demand() == Demand::Whole {
            runs += outcomes.len();
            on += outcomes.iter().filter(|one| of(one).2).count();
        } else if !peer.is_beside() {
            continue;
        }
        let _ = write!(
            text,
            "{}{}: {:.0} stalls (max {:.0}), {:.1} s (max {:.1} s)",
            if text.is_empty() { "" } else { "; " },
            peer.name(),
            stalls.median,
            stalls.most,
            waited.median,
            waited.most
        );
    }
    Requirement {
        what: format!("{name} at {kbit} kbit/s plays on; its stalls counted"),
        seen: seen(runs, text),
        verdict: verdict(runs, on == runs),
    }
}

/// The listener at 1.25 times the bitrate, after a pause of so many seconds.
fn slow(results: &Results, seconds: u32) -> Requirement {
    let (mut runs, mut whole, mut text) = (0, 0, String::new());
    let mut count = |name: &str, all: usize, good: usize, more: &str| {
        runs += all;
        whole += good;
        let _ = write!(text, "{}{name}: {good} of {all}{more}", if text.is_empty() { "" } else { "; " });
    };
    for (peer, outcomes) in contenders(results) {
        if !outcomes.is_empty()
            && peer.waits()
            && peer.demand() == Demand::Whole
            && peer.waits_long() == (seconds > 11)
        {
            let good = outcomes.iter().filter(|one| one.slow.is_whole()).count();
            let pause = Figures::of(outcomes.iter().map(|one| one.pause)).median;
            count(&peer.name(), outcomes.len(), good, &format!(" (a pause of {pause:.1} s)"));
        }
    }
    if seconds == 11 {
        for (cell, outcomes) in results.cells().iter().filter(|(cell, _)| cell.hand == Hand::WAITS) {
            let fair = fair(outcomes);
            let good = fair.iter().filter(|outcome| slow_is_whole(outcome)).count();
            count(&cell.name(), fair.len(), good, "");
        }
    }
    Requirement {
        what: format!(
            "a listener limited to 1.25 times the bitrate survives the catch-up after {seconds} s, nothing lost"
        ),
        seen: seen(runs, text),
        verdict: verdict(runs, whole == runs),
    }
}

/// What a simulated player holds at the end, beside what it held before.
fn buffers(results: &Results) -> Requirement {
    let cells: Vec<u64> = results
        .cells()
        .iter()
        .flat_map(|(_, outcomes)| fair(outcomes))
        .filter(|outcome| kept(outcome))
        .map(buffer_lost)
        .collect();
    let mut ours = cells;
    let mut theirs = Vec::new();
    for (peer, outcomes) in contenders(results) {
        let less = outcomes.iter().map(|one| less_ms(&one.player));
        match peer.demand() {
            Demand::Whole => ours.extend(less),
            Demand::Nothing if peer.is_beside() => theirs.extend(less.map(|ms| ms as f64 / 1e3)),
            Demand::Nothing | Demand::Skip => {}
        }
    }
    let most = ours.iter().copied().max().unwrap_or(0);
    let peers = Figures::of(theirs.iter().copied());
    let beside = if theirs.is_empty() {
        "no peers".to_owned()
    } else {
        format!(
            "peers with two mounts {:.1} to {:.1} s less, median {:.1} s",
            peers.least, peers.most, peers.median
        )
    };
    Requirement {
        what: format!("a player's buffer afterwards is as before (within {LESS_MS} ms)"),
        seen: seen(ours.len(), format!("{} runs of the box: at most {most} ms less; {beside}", ours.len())),
        verdict: verdict(ours.len(), most <= LESS_MS),
    }
}

/// An outage longer than a stock server keeps a mount: what its listeners get, and what those of one get that sits it out.
fn outages(results: &Results, patient: bool) -> Requirement {
    let (mut runs, mut good, mut text) = (0, 0, String::new());
    let belongs = |peer: &Peer| peer.is_box() && peer.is_outage() && peer.waits_long() == patient;
    for (peer, outcomes) in contenders(results).iter().filter(|(peer, _)| belongs(peer)) {
        let of = |figure: fn(&PeerOutcome) -> f64| Figures::of(outcomes.iter().map(|one| figure(one)));
        let back = of(|one| one.back.unwrap_or(f64::INFINITY)).most;
        runs += outcomes.len();
        good += outcomes
            .iter()
            .filter(|one| {
                one.back.is_some_and(|seconds| seconds <= BACK) && one.missed(*peer).next().is_none()
            })
            .count();
        let _ = write!(
            text,
            "{}{}, {} runs: first byte {back:.1} s after it at most, connection kept {} times, lost {:.1} s, {:.1} s older at most",
            if text.is_empty() { "" } else { "; " },
            peer.name(),
            outcomes.len(),
            outcomes.iter().filter(|one| one.kept).count(),
            of(|one| one.lost).median,
            of(|one| one.older.unwrap_or(f64::INFINITY)).most
        );
    }
    let what = if patient {
        "30 s without any uplink on a server that waits for longer: heard again within 1.5 s of its end, connections kept; within \
         the allowed lag nothing lost, beyond it on to live, no lag that stays"
    } else {
        "30 s without any uplink on a stock server, which drops mount and listeners: who joins again hears something within 1.5 s of \
         its end"
    };
    Requirement { what: what.to_owned(), seen: seen(runs, text), verdict: verdict(runs, good == runs) }
}
