//! `cargo xtask bench hand-over`: what listeners hear while the box's uplinks fail, on real servers, beside ffmpeg and
//! Liquidsoap.
//!
//! Every run has a lane of its own (network namespaces, two uplinks, an Icecast); many lanes run at once. As root, or as anybody who
//! may make user namespaces. The verdict is the listeners': whatever the box says of itself is not asked.

mod cell;
mod clicks;
mod decode;
mod judge;
mod lane;
mod peers;
mod picture;
mod players;
mod report;
mod requirements;
mod run;
mod truth;

use std::collections::VecDeque;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::ears::Ears;
use e2e::wait;

use self::cell::{Cell, Event, Pair, Server, Transport};
use self::clicks::{LineIn, PeerOutcome};
use self::peers::Peer;
use self::report::Results;
use self::run::{Certificate, Hand, Outcome, Stage};
use self::truth::Truth;
use super::latency::Programme;
use crate::interrupt::Interrupt;
use crate::{packages, programme};

/// What a run may take: nothing is begun that would not end in time.
const RUN: Duration = Duration::from_secs(150);
/// What it takes longer, if half a minute is to be caught up with.
const CATCHING_UP: Duration = Duration::from_secs(80);
/// Between the starts of two lanes: all at once would measure the start of twenty servers.
const STAGGER: Duration = Duration::from_millis(700);

/// Missed requirements that are printed; all of them are in the JSON.
const SHOWN: usize = 40;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs of each cell
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Lanes at once
    #[arg(long, default_value_t = 24)]
    lanes: usize,
    /// Begin no run that would end later than after so many minutes
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Only these servers
    #[arg(long, value_delimiter = ',', value_enum)]
    server: Vec<Server>,
    /// Only these pairs of renditions
    #[arg(long, value_delimiter = ',', value_enum)]
    pair: Vec<Pair>,
    /// Only these transports
    #[arg(long, value_delimiter = ',', value_enum)]
    transport: Vec<Transport>,
    /// Only these events
    #[arg(long, value_delimiter = ',', value_enum)]
    event: Vec<Event>,
    /// Only cells whose name (`2.4 mp3 tls silent`, `2.5 aac plain silent waits`) holds one of these words
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Of the peers, and the box beside them, only those whose name in the table holds one of these words
    #[arg(long, value_delimiter = ';')]
    only_peers: Vec<String>,
    /// Leave out the box's cells and run the peers only
    #[arg(long, conflicts_with = "no_peers")]
    peers_only: bool,
    /// Leave out the peers and the picture
    #[arg(long)]
    no_peers: bool,
    /// The box without uplinks and without anything proven of its server: what plain reconnect loses
    #[arg(long, conflicts_with = "no_eviction")]
    plain_reconnect: bool,
    /// The box on a server that lets sources evict nobody, in all cells and not only those called `waits`
    #[arg(long)]
    no_eviction: bool,
    /// Keep what listeners heard in runs with flaws, beside the logs in target/bench/hand-over
    #[arg(long)]
    keep: bool,
    /// Measure the release build that is there, whatever it was built from
    #[arg(long)]
    no_build: bool,
}

/// What a lane is for.
#[derive(Clone, Copy, Debug)]
enum Job {
    Box(Cell, u32),
    Peer(Peer, u32),
}

/// What came of it.
enum Done {
    Box(Outcome),
    Peer(Box<PeerOutcome>),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.runs > 0 && arguments.lanes > 0, "--runs and --lanes have to be 1 or more");
    // Before we become somebody who may install nothing.
    packages::install("bench")?;
    own_network()?;
    if !arguments.no_build {
        super::build()?;
    }
    let interrupt = Interrupt::listen()?;
    let folder = tempfile::Builder::new().prefix("mainstay-hand-over-").tempdir()?;
    let (clicks, sound) = Programme::over(programme::render(&[]));
    let file = folder.path().join("programme.wav");
    e2e::metronome::write_wav(&file, &sound)?;
    let at_44 = folder.path().join("programme-44.wav");
    e2e::metronome::write_wav_at(44_100, &at_44, &sound)?;
    let stage = Stage {
        truth: Truth::of(&sound),
        ears: Ears::open()?,
        programmes: [file, at_44],
        certificate: Certificate::make(folder.path())?,
        kept: e2e::repository().join("target/bench/hand-over"),
        keep_streams: arguments.keep,
        interrupt: &interrupt,
    };
    let line_in = LineIn::make(folder.path(), clicks, &sound)?;

    let jobs = arguments.jobs();
    ensure!(!jobs.is_empty(), "no cell is chosen; see --help");
    let mut results = Results::new(arguments.runs, arguments.lanes, arguments.hand());
    work(arguments, jobs, &stage, &line_in, &mut results)?;
    results.conclude();

    let out = e2e::repository().join("target/bench");
    std::fs::create_dir_all(&out)?;
    let text = results.markdown();
    std::fs::write(out.join("hand-over.json"), serde_json::to_string_pretty(&results)?)?;
    std::fs::write(out.join("hand-over.md"), &text)?;
    println!("{text}");
    if let Some(picture) = picture::draw(&results.peers) {
        std::fs::write(out.join("hand-over.svg"), picture)?;
        println!("The picture: target/bench/hand-over.svg");
    }
    println!(
        "Every run by itself: target/bench/hand-over.json; logs of those with flaws: target/bench/hand-over"
    );
    let failures = results.failures();
    if failures.is_empty() {
        return Ok(());
    }
    let shown = &failures[..failures.len().min(SHOWN)];
    bail!("{} requirements were missed, the first {}:\n{}", failures.len(), shown.len(), shown.join("\n"))
}

impl Arguments {
    /// All that is to be done, the runs outermost: whoever stops early has a little of everything.
    fn jobs(&self) -> VecDeque<Job> {
        let chosen = |cell: &Cell| {
            let name = cell.name();
            (self.server.is_empty() || self.server.contains(&cell.server))
                && (self.pair.is_empty() || self.pair.contains(&cell.pair))
                && (self.transport.is_empty() || self.transport.contains(&cell.transport))
                && self.event_is_chosen(cell.event)
                && (self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str())))
        };
        let cells: Vec<Cell> = Cell::all(self.hand()).into_iter().filter(chosen).collect();
        let is_wanted = |peer: &Peer| {
            let words = &self.only_peers;
            words.is_empty() || words.iter().any(|part| peer.name().contains(part.as_str()))
        };
        let mut jobs = VecDeque::new();
        for number in 1..=self.runs {
            let mut peers: VecDeque<Peer> = Peer::all(self.hand()).into_iter().filter(is_wanted).collect();
            if self.no_peers {
                peers.clear();
            }
            let cells = if self.peers_only { &[][..] } else { &cells };
            // Evenly among the cells: peers start slowly, and have browsers to feed.
            let most = peers.len();
            for (index, &cell) in cells.iter().enumerate() {
                while most - peers.len() < most * (index + 1) / cells.len() {
                    jobs.extend(peers.pop_front().map(|peer| Job::Peer(peer, number)));
                }
                jobs.push_back(Job::Box(cell, number));
            }
            jobs.extend(peers.into_iter().map(|peer| Job::Peer(peer, number)));
        }
        jobs
    }
}

impl Arguments {
    /// How the box is set up everywhere, if not as each cell says.
    fn hand(&self) -> Option<Hand> {
        match (self.plain_reconnect, self.no_eviction) {
            (true, _) => Some(Hand::PlainReconnect),
            (false, true) => Some(Hand::WAITS),
            (false, false) => None,
        }
    }

    fn event_is_chosen(&self, event: Event) -> bool {
        match event {
            Event::Nothing => self.event.contains(&event),
            Event::Silent | Event::Carrier | Event::Reset | Event::HalfDead | Event::ServerEnds => {
                self.event.is_empty() || self.event.contains(&event)
            }
        }
    }
}

/// Works all jobs off, in so many lanes.
fn work(
    arguments: &Arguments,
    jobs: VecDeque<Job>,
    stage: &Stage<'_>,
    line_in: &LineIn,
    results: &mut Results,
) -> Result<()> {
    let start = wait::now();
    let budget = Duration::from_secs(arguments.minutes * 60);
    let total = jobs.len();
    let lanes = arguments.lanes.min(total);
    let queue = Mutex::new(jobs);
    let (said, heard) = mpsc::channel();
    std::thread::scope(|scope| -> Result<()> {
        for lane in 0..lanes {
            let (said, queue) = (said.clone(), &queue);
            let work = move || {
                wait::pause(STAGGER * lane as u32);
                while !stage.interrupt.came() {
                    let Some(job) = next(queue, budget.saturating_sub(start.elapsed())) else { return };
                    let attempt = || match job {
                        Job::Box(cell, number) => run::run(stage, cell, number).map(Done::Box),
                        Job::Peer(peer, number) => peers::run(stage, line_in, peer, number)
                            .map(|outcome| Done::Peer(Box::new(outcome))),
                    };
                    // A second attempt is for the rig alone: nothing that a listener heard is tried again.
                    let (done, first) = match attempt() {
                        Err(error) if !stage.interrupt.came() => (attempt(), Some(error)),
                        done => (done, None),
                    };
                    // The other end is gone only when all is over.
                    let _ = said.send((job, done, first));
                }
            };
            std::thread::Builder::new().name(format!("lane {lane}")).spawn_scoped(scope, work)?;
        }
        drop(said);
        for (count, (job, done, first)) in heard.iter().enumerate() {
            let at = start.elapsed().as_secs();
            let name = job.name();
            if let Some(error) = first {
                eprintln!("{name}: the rig failed at first: {error:#}");
                results.again.push(format!("{name}: {error:#}"));
            }
            match done {
                Ok(done) => {
                    let line = match &done {
                        Done::Box(outcome) => report::in_short(outcome),
                        Done::Peer(outcome) => outcome.in_short(),
                    };
                    eprintln!("{at} s, {} of {total}: {name}: {line}", count + 1);
                    match done {
                        Done::Box(outcome) => results.outcomes.push(outcome),
                        Done::Peer(outcome) => results.peers.push(*outcome),
                    }
                }
                Err(error) => {
                    eprintln!("{at} s, {} of {total}: {name}: the rig failed: {error:#}", count + 1);
                    results.rig.push(format!("{name}: {error:#}"));
                }
            }
        }
        Ok(())
    })?;
    if stage.interrupt.came() {
        bail!("interrupted");
    }
    results.left_out = queue.into_inner().unwrap_or_else(PoisonError::into_inner).len();
    results.seconds = start.elapsed().as_secs();
    Ok(())
}

/// Takes the next job that ends in time.
fn next(queue: &Mutex<VecDeque<Job>>, left: Duration) -> Option<Job> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let place = queue.iter().position(|job| job.longest() < left)?;
    queue.remove(place)
}

impl Job {
    /// What it may take.
    fn longest(self) -> Duration {
        match self {
            Self::Peer(peer, _) if peer.waits_long() => RUN + CATCHING_UP,
            Self::Box(..) | Self::Peer(..) => RUN,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Box(cell, number) => format!("{} {number}", cell.name()),
            Self::Peer(peer, number) => format!("{} {number}", peer.name()),
        }
    }
}

/// Becomes root of its own small world if it is not root of this one: all that is made here is made in namespaces.
fn own_network() -> Result<()> {
    const TRIED: &str = "MAINSTAY_BENCH_OWN_NETWORK";
    if nix::unistd::geteuid().is_root() || std::env::var_os(TRIED).is_some() {
        return Ok(());
    }
    // Our own user id stays, for servers that refuse to run as root; the rights over our own namespaces go with it.
    let error = Command::new("unshare")
        .args(["--user", "--map-current-user", "--keep-caps", "--net", "--"])
        .args(std::env::args_os())
        .env(TRIED, "1")
        .exec();
    Err(error).context("running unshare")
}
