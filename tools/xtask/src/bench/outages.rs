//! `cargo xtask bench outages`: seconds lost when a server is killed or cut off (two ingest servers, Liquidsoap's harbor,
//! Shoutcast v1), and when the only uplink fails. Asserted is only that the mount is found again, and that the other one
//! never notices.
//!
//! Every case has a lane of its own; all run at once. As root, or in a user namespace of one's own.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use e2e::by_content::Undisturbed;
use e2e::daemon::{self, Daemon};
use e2e::ears::{Ear, Ears};
use e2e::harbor::Harbor;
use e2e::icecast::{Headend, Icecast};
use e2e::lane::{INGEST, Lane, SECOND_INGEST, Uplink, url};
use e2e::settings::{Input, Mount, Output, Settings};
use e2e::{Build, wait};
use units::Codec;
use units::snapshot::Role;

use crate::packages;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure the release build that is there, whatever it was built from
    #[arg(long)]
    no_build: bool,
    /// Only cases whose name holds one of these words
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// What the primary is sent to; the fallback of each is on an Icecast of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Icecast,
    Harbor,
    Shoutcast,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Case {
    /// The server is killed, and started again.
    Kill(Kind),
    /// Nothing passes between the box and this server.
    Cut(Kind),
    /// Nothing passes over the only uplink, for so many seconds.
    OnlyUplink(u64),
}

impl Case {
    const ALL: [Self; 8] = [
        Self::OnlyUplink(8),
        Self::OnlyUplink(30),
        Self::Kill(Kind::Icecast),
        Self::Cut(Kind::Icecast),
        Self::Kill(Kind::Harbor),
        Self::Cut(Kind::Harbor),
        Self::Kill(Kind::Shoutcast),
        Self::Cut(Kind::Shoutcast),
    ];

    fn name(self) -> String {
        let of = |kind| match kind {
            Kind::Icecast => "two ingest servers",
            Kind::Harbor => "harbor",
            Kind::Shoutcast => "Shoutcast v1",
        };
        match self {
            Self::Kill(kind) => format!("{}: killed, back after {} s", of(kind), DOWN.as_secs()),
            Self::Cut(kind) => format!("{}: cut off for {} s", of(kind), CUT.as_secs()),
            Self::OnlyUplink(seconds) => format!("only uplink silent for {seconds} s"),
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Kill(kind) | Self::Cut(kind) => kind,
            Self::OnlyUplink(_) => Kind::Icecast,
        }
    }
}

/// What came of a case.
struct Outcome {
    /// From the server's or the path's return to the first sound.
    again: Duration,
    /// Programme that whoever listens to this mount and joins again at once never heard; `None` where nobody can tell.
    lost: Option<f64>,
    /// The server kept the mount.
    kept: bool,
}

/// How long a killed server stays away.
const DOWN: Duration = Duration::from_secs(5);
/// Longer than Icecast waits for a silent source.
const CUT: Duration = Duration::from_secs(15);
const START: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(90);
/// Heard before and after.
const CALM: Duration = Duration::from_secs(4);
/// Below any outage here.
const CAUGHT_UP_MS: u64 = 1_000;
/// The harbor's file: 44.1 kHz, two channels, 16 bits.
const WAV_BYTES_PER_SECOND: f64 = 44_100.0 * 4.0;
/// Listeners join again this often.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    packages::install("bench")?;
    if !arguments.no_build {
        super::build()?;
    }
    let folder = tempfile::Builder::new().prefix("mainstay-outages-").tempdir()?;
    let sound = folder.path().join("metronome.wav");
    e2e::metronome::write(&sound)?;
    let mut cases = Case::ALL.to_vec();
    cases.retain(|case| {
        arguments.only.is_empty() || arguments.only.iter().any(|word| case.name().contains(word.as_str()))
    });
    ensure!(!cases.is_empty(), "no case is chosen; see --help");
    let outcomes: Vec<(Case, Result<Outcome>)> = std::thread::scope(|scope| {
        let sound = &sound;
        let running: Vec<_> =
            cases.iter().map(|&case| (case, scope.spawn(move || one(case, sound)))).collect();
        running
            .into_iter()
            .map(|(case, thread)| (case, thread.join().unwrap_or_else(|_| Err(anyhow!("it panicked")))))
            .collect()
    });
    println!("| case | mount kept | sound again after the return | programme lost |");
    println!("|---|---|--:|--:|");
    let mut failed = Vec::new();
    for (case, outcome) in outcomes {
        match outcome {
            Ok(Outcome { again, lost, kept }) => {
                let kept = if kept { "yes" } else { "no" };
                let lost = lost.map_or_else(|| "-".to_owned(), |lost| format!("{lost:.2} s"));
                println!("| {} | {kept} | {:.2} s | {lost} |", case.name(), again.as_secs_f64());
            }
            Err(error) => {
                println!("| {} | failed | | |", case.name());
                failed.push(format!("{}: {error:#}", case.name()));
            }
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// The server that is in trouble.
enum Victim {
    Icecast(Icecast),
    Harbor(Harbor),
}

impl Victim {
    fn kill(&mut self) -> Result<()> {
        match self {
            Self::Icecast(server) => server.kill(),
            Self::Harbor(harbor) => harbor.kill(),
        }
    }

    fn start_again(&mut self) -> Result<()> {
        match self {
            Self::Icecast(server) => server.start(),
            Self::Harbor(harbor) => harbor.start_again(),
        }
    }

    fn log(&self) -> String {
        match self {
            Self::Icecast(server) => server.log(),
            Self::Harbor(harbor) => harbor.log(),
        }
    }
}

/// Runs a case in a lane of its own.
fn one(case: Case, sound: &Path) -> Result<Outcome> {
    let lane = Lane::lay()?;
    let shoutcast = (case.kind() == Kind::Shoutcast).then(|| "/live".to_owned());
    let mut victim = match case.kind() {
        Kind::Icecast | Kind::Shoutcast => Victim::Icecast(lane.server(&Headend {
            shoutcast,
            fallbacks: Vec::new(),
            ..Headend::default()
        })?),
        Kind::Harbor => Victim::Harbor(lane.world.inside(|| Harbor::start_at(Ipv4Addr::UNSPECIFIED))??),
    };
    let spare = lane.server(&Headend { fallbacks: Vec::new(), ..Headend::default() })?;
    let address = match &victim {
        Victim::Icecast(server) if case.kind() == Kind::Shoutcast => {
            format!("http://{INGEST}:{}", server.shoutcast_port())
        }
        Victim::Icecast(server) => url(INGEST, server, "/live"),
        Victim::Harbor(harbor) => format!("http://{INGEST}:{}/live", harbor.port()),
    };
    let word = match case.kind() {
        Kind::Icecast => "icecast",
        Kind::Harbor => "harbor",
        Kind::Shoutcast => "shoutcast-1",
    };
    let primary = Mount::icecast(address, Codec::Mp3, 192).server(word);
    let fallback = Mount::icecast(url(SECOND_INGEST, &spare, "/live"), Codec::Mp3, 192);
    let rendition = primary.rendition();
    let settings = Settings {
        meters: false,
        ..Settings::new(Input::File(sound.to_owned()), Output::pair("main", primary, fallback))
    };
    let box_ = lane.start(Build::Release, &settings, &[Uplink::Preferred], "")?;
    box_.wait_for("both mounts are on air", START, |status| {
        daemon::mounts(status).all(|mount| mount.state.on_air())
    })
    .with_context(|| victim.log())?;

    let ears = Ears::open()?;
    let witness = lane.join(&ears, &spare, "/live")?;
    let mut listener = Follower { lane: &lane, ears: &ears, now: None, heard: Vec::new(), newest: None };
    listener.follow(&victim, wait::now() + CALM)?;
    let (struck, bytes) = (wait::now(), listener.bytes(&victim));
    match case {
        Case::Kill(_) => {
            victim.kill()?;
            listener.follow(&victim, struck + DOWN)?;
            lane.world.inside(|| victim.start_again())??;
        }
        Case::Cut(_) => {
            lane.sever(Uplink::Preferred, INGEST)?;
            listener.follow(&victim, struck + CUT)?;
            lane.heal()?;
        }
        Case::OnlyUplink(seconds) => {
            lane.cut(Uplink::Preferred)?;
            listener.follow(&victim, struck + Duration::from_secs(seconds))?;
            lane.heal()?;
        }
    }
    let back = wait::now();
    let before = match case {
        Case::Kill(_) => 0,
        Case::Cut(_) | Case::OnlyUplink(_) => listener.bytes(&victim),
    };
    wait::until("sound is heard again", AGAIN, || {
        listener.look(&victim);
        let fresh = match &victim {
            Victim::Icecast(_) => listener.newest.is_some_and(|at| at > back),
            // An empty file has a head already.
            Victim::Harbor(_) => listener.bytes(&victim) > before + 4_096,
        };
        if fresh { Ok(()) } else { Err("silence".to_owned()) }
    })
    .with_context(|| format!("{}\n{}", box_.log(), victim.log()))?;
    let heard = wait::now();
    box_.wait_for("both mounts are caught up", AGAIN, |status| {
        listener.look(&victim);
        daemon::mounts(status).all(|mount| mount.state.on_air() && mount.lag_ms < CAUGHT_UP_MS)
    })?;
    listener.follow(&victim, wait::now() + CALM)?;

    let kept = box_.mount("main", Role::Primary)?.accepted == 1;
    let lost = match (&victim, case) {
        // The other mount was cut off as well: nobody heard everything.
        (_, Case::OnlyUplink(_)) => None,
        (Victim::Harbor(_), Case::Kill(_)) => Some((heard - struck).as_secs_f64()),
        (Victim::Harbor(_), Case::Cut(_)) => {
            let decoded = (listener.bytes(&victim) - bytes) as f64 / WAV_BYTES_PER_SECOND;
            Some((struck.elapsed().as_secs_f64() - decoded).max(0.0))
        }
        (Victim::Icecast(_), Case::Kill(_) | Case::Cut(_)) => {
            let all = Undisturbed::of(&witness.finish().bytes, rendition)?;
            let lost = all.compare(&listener.finish()).lost * u64::from(rendition.codec.frames_per_packet());
            Some(lost as f64 / 48_000.0)
        }
    };
    if !matches!(case, Case::OnlyUplink(_)) {
        unnoticed(&box_)?;
    }
    Ok(Outcome { again: heard - back, lost, kept })
}

/// The other mount is as if nothing had happened.
fn unnoticed(box_: &Daemon) -> Result<()> {
    let other = box_.mount("main", Role::Fallback)?;
    ensure!((other.accepted, other.failures, other.skipped) == (1, 0, 0), "{other:?}\n{}", box_.log());
    Ok(())
}

/// A listener who joins again whenever he is sent away. At a harbor, where nobody can listen, the file that it decodes into.
struct Follower<'a> {
    lane: &'a Lane,
    ears: &'a Ears,
    now: Option<Ear>,
    heard: Vec<u8>,
    newest: Option<Instant>,
}

impl Follower<'_> {
    fn look(&mut self, victim: &Victim) {
        let Victim::Icecast(server) = victim else { return };
        if let Some(ear) = self.now.take_if(|ear| ear.has_ended()) {
            self.newest = self.newest.max(ear.newest());
            self.heard.extend(ear.finish().bytes);
        }
        match &self.now {
            Some(ear) => self.newest = self.newest.max(ear.newest()),
            // Nobody there yet: at the next look.
            None => self.now = self.lane.join(self.ears, server, "/live").ok(),
        }
    }

    fn follow(&mut self, victim: &Victim, until: Instant) -> Result<()> {
        while wait::now() < until {
            self.look(victim);
            wait::pause(LOOK);
        }
        Ok(())
    }

    /// Bytes of the harbor's file.
    fn bytes(&self, victim: &Victim) -> u64 {
        match victim {
            Victim::Icecast(_) => 0,
            Victim::Harbor(harbor) => {
                std::fs::metadata(harbor.sound()).map(|file| file.len()).unwrap_or_default()
            }
        }
    }

    fn finish(self) -> Vec<u8> {
        let mut heard = self.heard;
        heard.extend(self.now.map(|ear| ear.finish().bytes).unwrap_or_default());
        heard
    }
}
