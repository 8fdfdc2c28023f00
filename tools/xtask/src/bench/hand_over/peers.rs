//! ffmpeg and Liquidsoap as their users run them, on the same wires; and the box beside them on the same line-in. All capture
//! from the test card, whose clicks tell which moment of the programme a listener hears: peers begin their packets anew
//! with each connection, so packets cannot be counted across one.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::daemon::Daemon;
use e2e::ears::{Ear, Heard, Manner};
use e2e::icecast::{Headend, Icecast, SOURCE_PASSWORD};
use e2e::process::Process;
use e2e::settings::{Input, Mount, Output, Settings};
use e2e::wait;
use tempfile::TempDir;
use units::Codec;

use super::clicks::{LineIn, PeerOutcome, judge};
use super::lane::{Fault, INGEST, Lane, Uplink};
use super::players::{Chromium, Mpv, Players};
use super::run::{Hand, SOURCE_TIMEOUT, Stage, pause, start};

/// Who is heard, how he is set up, and what befalls him.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    who: Who,
    mounts: Mounts,
    blow: Blow,
    /// Of all its mounts, in MP3.
    pub(super) kbit: u32,
    /// How long the server keeps a silent source, in seconds.
    source_timeout: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Box {
        hand: Hand,
        /// How far its mounts may fall behind, in seconds.
        lag: u32,
    },
    Ffmpeg,
    Liquidsoap,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mounts {
    /// One mount; the server has no fallback for it.
    One,
    /// A primary over the preferred uplink and its fallback over the spare one, of one rendition.
    Two,
    /// The same, fed by two processes.
    Apart,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    /// This is done to the preferred uplink.
    Preferred(Fault),
    /// Both uplinks drop everything for [`OUTAGE`].
    Outage,
}

/// What is asked of whoever is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Demand {
    /// Nothing lost, nothing repeated, connections kept, players' buffers as before.
    Whole,
    /// The backlog policy: connections kept, no more lost than the outage lasted, no lag afterwards.
    Skip,
    /// It is shown, and that is all.
    Nothing,
}

/// What the table calls the box.
pub(super) const BOX: &str = "Mainstay";
/// How far the box's mounts may fall behind unless its engineer says otherwise, in seconds.
const LAG: u32 = 15;
/// And where a whole outage is to be caught up with.
const LONG_LAG: u32 = 50;
/// How long a server keeps a silent source that sits out an outage, in seconds.
const PATIENT: u32 = 60;
/// Time before the fault, from the fault to its healing, and behind.
const BEFORE: Duration = Duration::from_secs(8);
pub(super) const BROKEN: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(25);
/// How long no uplink works.
pub(super) const OUTAGE: Duration = Duration::from_secs(30);
/// What comes behind the server's own time-out at least, if that is what is waited for.
const BEHIND_TIMEOUT: Duration = Duration::from_secs(10);
/// For so long something is heard at the end, so that its age is known.
const HEARD: Duration = Duration::from_secs(10);
/// Whoever still catches up then is not waited for any longer.
const LATEST: Duration = Duration::from_secs(130);
/// Nobody catches up who got no more than so many times the programme's bytes for so long: the box does it at 1.2.
const AT_PACE: f64 = 1.08;
const AT_PACE_FOR: Duration = Duration::from_secs(5);
/// Lines of a peer's log that an error shows.
const LOG_LINES: usize = 30;
/// Liquidsoap compiles its library first; with many lanes that takes its time.
const START: Duration = Duration::from_secs(90);

impl Peer {
    /// All of them; the box with `hand`, if one is given, and then only where it stands beside the others.
    pub(super) fn all(hand: Option<Hand>) -> Vec<Self> {
        let with = |hand, lag| Who::Box { hand, lag };
        let box_ = with(hand.unwrap_or(Hand::EVICTS), LAG);
        let peer = |who, mounts, blow, kbit, source_timeout| Self { who, mounts, blow, kbit, source_timeout };
        let silent = Blow::Preferred(Fault::SilentCut);
        let carrier = Blow::Preferred(Fault::CarrierOff);
        let mut peers = vec![
            peer(Who::Liquidsoap, Mounts::Apart, silent, 320, SOURCE_TIMEOUT),
            // It has one output.
            peer(Who::Ffmpeg, Mounts::Apart, silent, 320, SOURCE_TIMEOUT),
            peer(box_, Mounts::Two, silent, 320, SOURCE_TIMEOUT),
            peer(Who::Liquidsoap, Mounts::Two, carrier, 320, SOURCE_TIMEOUT),
            peer(Who::Ffmpeg, Mounts::Apart, carrier, 320, SOURCE_TIMEOUT),
            peer(box_, Mounts::Two, carrier, 320, SOURCE_TIMEOUT),
            peer(Who::Ffmpeg, Mounts::Apart, silent, 128, SOURCE_TIMEOUT),
            peer(box_, Mounts::Two, silent, 128, SOURCE_TIMEOUT),
            peer(Who::Liquidsoap, Mounts::One, silent, 320, SOURCE_TIMEOUT),
            peer(Who::Liquidsoap, Mounts::Two, silent, 320, SOURCE_TIMEOUT),
            peer(Who::Ffmpeg, Mounts::One, silent, 320, SOURCE_TIMEOUT),
            peer(Who::Ffmpeg, Mounts::Apart, Blow::Outage, 128, SOURCE_TIMEOUT),
        ];
        if hand.is_some() {
            return peers;
        }
        // Half a minute to catch up with: because the server is waited for so long, or because no uplink works.
        let patient = OUTAGE.as_secs() as u32 - 1;
        let waits = |lag| with(Hand::WAITS, lag);
        peers.extend([
            peer(waits(LAG), Mounts::Two, silent, 320, SOURCE_TIMEOUT),
            peer(waits(LAG), Mounts::Two, silent, 128, SOURCE_TIMEOUT),
            peer(waits(LONG_LAG), Mounts::Two, silent, 320, patient),
            peer(box_, Mounts::Two, Blow::Outage, 128, SOURCE_TIMEOUT),
            peer(box_, Mounts::Two, Blow::Outage, 128, PATIENT),
            peer(with(Hand::EVICTS, LONG_LAG), Mounts::Two, Blow::Outage, 128, PATIENT),
        ]);
        peers
    }

    /// As the table calls it: `ffmpeg, one mount, 320 kbit/s, silent cut`.
    pub(super) fn name(self) -> String {
        let who = match self.who {
            Who::Box { hand, lag } => {
                let hand = match hand {
                    Hand::Proven { evict: true } => "",
                    Hand::Proven { evict: false } => " without eviction",
                    Hand::PlainReconnect => " without hand-over",
                };
                let lag = if lag == LAG { String::new() } else { format!(", {lag} s of lag allowed") };
                format!("{BOX}{hand}{lag}")
            }
            Who::Ffmpeg => "ffmpeg".to_owned(),
            Who::Liquidsoap => "Liquidsoap".to_owned(),
        };
        let mounts = match self.mounts {
            Mounts::One => "one mount",
            Mounts::Two => "two mounts",
            Mounts::Apart => "two mounts, two processes",
        };
        let blow = match self.blow {
            Blow::Preferred(Fault::SilentCut) => "silent cut".to_owned(),
            Blow::Preferred(Fault::CarrierOff) => "carrier off".to_owned(),
            Blow::Preferred(Fault::Reset) => "reset".to_owned(),
            Blow::Preferred(Fault::NothingBack | Fault::NothingOut) => "half-dead".to_owned(),
            Blow::Outage => format!("both uplinks silent for {} s", OUTAGE.as_secs()),
        };
        let server = match self.source_timeout {
            SOURCE_TIMEOUT => String::new(),
            seconds => format!(", server waits {seconds} s"),
        };
        format!("{who}, {mounts}, {} kbit/s, {blow}{server}", self.kbit)
    }

    /// What is asked of it.
    pub(super) const fn demand(self) -> Demand {
        match (self.who, self.blow) {
            (Who::Box { hand: Hand::Proven { .. }, .. }, Blow::Preferred(_)) => Demand::Whole,
            (Who::Box { hand: Hand::Proven { .. }, lag }, Blow::Outage)
                if self.source_timeout > SOURCE_TIMEOUT =>
            {
                if lag as u64 > OUTAGE.as_secs() {
                    Demand::Whole
                } else {
                    Demand::Skip
                }
            }
            (Who::Box { .. } | Who::Ffmpeg | Who::Liquidsoap, Blow::Preferred(_) | Blow::Outage) => {
                Demand::Nothing
            }
        }
    }

    /// Whether it is the box.
    pub(super) const fn is_box(self) -> bool {
        match self.who {
            Who::Box { .. } => true,
            Who::Ffmpeg | Who::Liquidsoap => false,
        }
    }

    /// Whether no uplink works for a while.
    pub(super) const fn is_outage(self) -> bool {
        match self.blow {
            Blow::Outage => true,
            Blow::Preferred(_) => false,
        }
    }

    /// Whether it is a peer with a mount for each uplink and one of them cut: what the box is compared with.
    pub(super) const fn is_beside(self) -> bool {
        match (self.who, self.mounts, self.blow) {
            (Who::Ffmpeg | Who::Liquidsoap, Mounts::Two | Mounts::Apart, Blow::Preferred(_)) => true,
            (Who::Box { .. } | Who::Ffmpeg | Who::Liquidsoap, _, _) => false,
        }
    }

    /// How soon after the healing listeners have to hear something again, in seconds, where that is asked for.
    pub(super) const fn back_limit(self) -> Option<f64> {
        match (self.demand(), self.blow) {
            (Demand::Whole | Demand::Skip, Blow::Outage) => Some(1.5),
            (Demand::Whole | Demand::Skip | Demand::Nothing, Blow::Outage | Blow::Preferred(_)) => None,
        }
    }

    /// How long the longest pause may be, in seconds, where that is asked for.
    pub(super) fn pause_limit(self) -> Option<f64> {
        match (self.who, self.blow) {
            (Who::Box { hand: Hand::Proven { evict: false }, .. }, Blow::Preferred(Fault::SilentCut)) => {
                Some(f64::from(self.source_timeout) + 1.5)
            }
            (Who::Box { hand: Hand::Proven { evict: true }, .. }, Blow::Preferred(Fault::SilentCut)) => {
                Some(if self.kbit == 320 { 1.5 } else { 2.0 })
            }
            (
                Who::Box { hand: Hand::Proven { .. } | Hand::PlainReconnect, .. }
                | Who::Ffmpeg
                | Who::Liquidsoap,
                Blow::Preferred(_) | Blow::Outage,
            ) => None,
        }
    }

    /// Whether the server keeps a silent source for longer than is usual.
    pub(super) const fn waits_long(self) -> bool {
        self.source_timeout > SOURCE_TIMEOUT
    }

    /// Whether a pause of many seconds is what this is about, after which there is much to catch up with.
    pub(super) const fn waits(self) -> bool {
        match (self.who, self.blow) {
            (Who::Box { hand: Hand::Proven { evict: false }, .. }, _) | (Who::Box { .. }, Blow::Outage) => {
                true
            }
            (Who::Box { .. } | Who::Ffmpeg | Who::Liquidsoap, _) => false,
        }
    }

    fn broken(self) -> Duration {
        match self.blow {
            Blow::Outage => OUTAGE,
            Blow::Preferred(_) => {
                BROKEN.max(Duration::from_secs(u64::from(self.source_timeout)) + BEHIND_TIMEOUT)
            }
        }
    }

    /// Bytes of a packet: 1152 frames at 48 kHz are 24 ms.
    pub(super) const fn packet(self) -> usize {
        self.kbit as usize * 3
    }

    /// Bytes of the programme in a second.
    const fn per_second(self) -> u64 {
        self.kbit as u64 * 125
    }
}

/// A source that runs, and its folder.
enum Source {
    Box(Daemon),
    Peer { processes: Vec<Process>, _folder: TempDir },
}

/// What was heard, from the fault to the end.
pub(super) struct Listened {
    /// By a listener who joins again when the server hangs up, as players do: connection by connection.
    pub(super) segments: Vec<Heard>,
    /// By one who gets 1.25 times the programme's bytes at the most, and does not join again.
    pub(super) slow: Heard,
    pub(super) struck: Instant,
    pub(super) healed: Instant,
    pub(super) end: Instant,
    pub(super) mpv: Mpv,
    pub(super) chromium: Chromium,
}

/// Runs one peer in a lane of its own.
///
/// # Errors
/// The rig failed, not the peer: no server, no start, interrupted.
pub(super) fn run(stage: &Stage<'_>, line_in: &LineIn, peer: Peer, number: u32) -> Result<PeerOutcome> {
    let lane = Lane::lay()?;
    let fallbacks = match peer.mounts {
        Mounts::One => Vec::new(),
        Mounts::Two | Mounts::Apart => Headend::default().fallbacks,
    };
    let headend = Headend {
        fallbacks,
        bind: Ipv4Addr::UNSPECIFIED,
        source_timeout: peer.source_timeout,
        ..Headend::default()
    };
    let server = lane.world.inside(|| headend.start())??;
    let source = lane.home.inside(|| begin(line_in, peer, &server))??;
    let heard = scene(stage, &lane, &server, peer).with_context(|| source.log())?;
    let mut outcome = judge(line_in, peer, number, &heard)?;
    if let Source::Box(box_) = &source {
        outcome.gaps = box_.status()?.input.gaps;
    }
    if peer.is_box() && outcome.missed(peer).next().is_some() {
        let name = format!("{} {number}.log", peer.name()).replace([' ', ',', '/'], "-");
        std::fs::create_dir_all(&stage.kept)?;
        std::fs::write(
            stage.kept.join(name),
            format!("{}\n{}\n{}", outcome.in_short(), source.log(), server.log()),
        )?;
    }
    Ok(outcome)
}

/// Fault and healing before listeners and players.
fn scene(stage: &Stage<'_>, lane: &Lane, server: &Icecast, peer: Peer) -> Result<Listened> {
    lane.world.inside(|| server.wait_for_source("/live", START))??;
    if peer.mounts != Mounts::One {
        lane.world.inside(|| server.wait_for_source("/live_fallback", START))??;
    }
    pause(stage.interrupt, Duration::from_secs(3))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let join =
        |limit| lane.world.inside(|| stage.ears.join(address, "/live", Manner { limit, titles: false }))?;
    let mut ear: Option<Ear> = Some(join(None)?);
    let slow = join(Some(peer.per_second() * 5 / 4))?;
    let players = lane.world.inside(|| Players::start(&server.url("/live")))??;
    pause(stage.interrupt, BEFORE)?;
    let (struck, before) = (wait::now(), players.look());
    match peer.blow {
        Blow::Preferred(fault) => lane.strike(fault, Uplink::Preferred)?,
        Blow::Outage => lane.black_out()?,
    }
    let mut healed: Option<Instant> = None;
    // When it was noticed that something is heard after the healing.
    let mut again: Option<Instant> = None;
    let mut segments = Vec::new();
    loop {
        match healed {
            None if struck.elapsed() >= peer.broken() => {
                healed = Some(wait::now());
                lane.heal()?;
            }
            Some(at) if at.elapsed() >= LATEST => break,
            Some(at) if at.elapsed() >= AFTER => {
                let heard = again.is_some_and(|since| since.elapsed() >= HEARD);
                if (heard || peer.demand() == Demand::Nothing)
                    && is_at_pace(peer, &[ear.as_ref(), Some(&slow)])
                {
                    break;
                }
            }
            None | Some(_) => {}
        }
        if let (Some(at), None) = (healed, again) {
            again = ear.as_ref().and_then(Ear::newest).filter(|&newest| newest > at);
        }
        if ear.as_ref().is_some_and(Ear::has_ended) {
            segments.extend(ear.take().map(Ear::finish));
        }
        if ear.is_none() {
            // The mount may not be there yet.
            ear = join(None).ok();
        }
        pause(stage.interrupt, Duration::from_millis(250))?;
    }
    segments.extend(ear.map(Ear::finish));
    let end = wait::now();
    let (mpv, chromium) = players.finish(before.as_ref())?;
    Ok(Listened { segments, slow: slow.finish(), struck, healed: healed.unwrap_or(end), end, mpv, chromium })
}

/// Whether nobody gets more than the programme brings.
fn is_at_pace(peer: Peer, ears: &[Option<&Ear>]) -> bool {
    let from = wait::now() - AT_PACE_FOR;
    let most = peer.per_second() as f64 * AT_PACE_FOR.as_secs_f64() * AT_PACE;
    ears.iter().flatten().all(|ear| (ear.bytes_since(from) as f64) < most)
}

impl Source {
    fn log(&self) -> String {
        match self {
            Self::Box(box_) => box_.log(),
            Self::Peer { processes, .. } => processes.iter().map(|process| newest(&process.log())).collect(),
        }
    }
}

/// The last lines of a log: peers are talkative.
fn newest(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n") + "\n"
}

fn begin(line_in: &LineIn, peer: Peer, server: &Icecast) -> Result<Source> {
    let (port, kbit) = (server.port(), peer.kbit);
    let mounts: &[(&str, Ipv4Addr)] = match peer.mounts {
        Mounts::One => &[("live", INGEST)],
        // Unbound sockets go the way the address leads.
        Mounts::Two | Mounts::Apart => {
            &[("live", Uplink::Preferred.server()), ("live_fallback", Uplink::Spare.server())]
        }
    };
    let folder = tempfile::Builder::new().prefix("mainstay-peer-").tempdir()?;
    let mut processes = Vec::new();
    match peer.who {
        Who::Box { hand, lag } => {
            let mount = |path: &str, uplink: Uplink| {
                let address = hand.ingest(uplink);
                Mount::icecast(format!("http://{address}:{port}{path}"), Codec::Mp3, kbit)
                    .with(&format!("longest_lag = \"{lag} s\""))
            };
            let input = Input::Card { pcm: "linein".to_owned(), asoundrc: line_in.asoundrc.clone() };
            let output = Output::pair(
                "main",
                mount("/live", Uplink::Preferred),
                mount("/live_fallback", Uplink::Spare),
            );
            let settings = Settings { meters: false, ..Settings::new(input, output) };
            return start(hand, peer.source_timeout, &settings).map(Source::Box);
        }
        Who::Ffmpeg => {
            for (mount, address) in mounts {
                let target = format!("icecast://source:{SOURCE_PASSWORD}@{address}:{port}/{mount}");
                let script = format!(
                    "trap 'kill -9 $p; exit 0' TERM; while :; do {FFMPEG} -b:a {kbit}k -f mp3 '{target}' & p=$!; wait $p; sleep 1 & p=$!; wait $p; done"
                );
                let mut command = Command::new("sh");
                command.args(["-c", &script]).env("ALSA_CONFIG_PATH", &line_in.asoundrc);
                processes.push(Process::start("ffmpeg", &mut command, &folder.path().join("log"))?);
            }
        }
        Who::Liquidsoap => {
            let outputs: Vec<String> = mounts
                .iter()
                .map(|(mount, address)| {
                    format!(
                        "output.icecast(%mp3(bitrate={kbit}, samplerate=48000, stereo=true, id3v2=false), \
                         host=\"{address}\", port={port}, password=\"{SOURCE_PASSWORD}\", mount=\"{mount}\", fallible=true, s)\n"
                    )
                })
                .collect();
            let scripts = match peer.mounts {
                Mounts::One | Mounts::Two => vec![outputs.concat()],
                Mounts::Apart => outputs,
            };
            for (index, outputs) in scripts.iter().enumerate() {
                let file = folder.path().join(format!("peer-{index}.liq"));
                std::fs::write(&file, format!("{LIQUIDSOAP}{outputs}"))?;
                let mut command = Command::new("liquidsoap");
                command.arg(file).env("ALSA_CONFIG_PATH", &line_in.asoundrc).env("HOME", folder.path());
                let log = folder.path().join(format!("log-{index}"));
                processes.push(Process::start("liquidsoap", &mut command, &log)?);
            }
        }
    }
    Ok(Source::Peer { processes, _folder: folder })
}

/// As an engineer would who wants it quick; started anew a second after it ends.
const FFMPEG: &str = "ffmpeg -nostdin -hide_banner -v warning -fflags nobuffer -analyzeduration 0 -probesize 32 -f alsa \
                      -sample_rate 48000 -channels 2 -i linein -c:a libmp3lame -reservoir 0 -write_xing 0 \
                      -id3v2_version 0 -flush_packets 1 -content_type audio/mpeg";

/// Straight from the card; every process has it to itself.
const LIQUIDSOAP: &str = "settings.init.allow_root.set(true)\nsettings.log.file.set(false)\n\
                          settings.log.stdout.set(true)\nsettings.frame.audio.samplerate.set(48000)\n\
                          s = input.alsa(device=\"linein\", bufferize=false)\n";
