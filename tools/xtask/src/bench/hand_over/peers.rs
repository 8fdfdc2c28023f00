//! ffmpeg and Liquidsoap as their users run them, on the same wires; and the box beside them on the same line-in. All capture
//! from the test card, whose clicks tell which moment of the programme a listener hears: peers begin their packets anew
//! with each connection, so packets cannot be counted across one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::daemon::Daemon;
use e2e::ears::{Ear, Heard, Manner};
use e2e::icecast::{Headend, Icecast, SOURCE_PASSWORD};
use e2e::process::Process;
use e2e::settings::{Input, Mount, Output, Settings};
use e2e::wait;
use serde::Serialize;
use tempfile::TempDir;
use units::Codec;
use units::header::PacketHeader;

use super::super::clock::{self, SECOND};
use super::super::latency::{self, Programme, SMEAR, frames_until, ns_of};
use super::decode::ffmpeg;
use super::lane::{Fault, INGEST, Lane, Uplink};
use super::run::{Stage, pause, start};

/// Who is heard, and how he is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    who: Who,
    mounts: Mounts,
    fault: Fault,
    /// Of all its mounts, in MP3.
    kbit: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Box,
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

/// What one listener heard of one peer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PeerOutcome {
    pub(super) peer: String,
    pub(super) run: u32,
    /// Seconds of programme that were never heard.
    pub(super) lost: f64,
    /// Seconds that were heard twice.
    pub(super) repeated: f64,
    /// The longest time without a byte, in seconds.
    pub(super) pause: f64,
    /// Lines that ffmpeg printed about it.
    pub(super) complaints: usize,
    /// Whether the connection lasted.
    pub(super) kept: bool,
    /// Seconds after the fault, and how old in seconds what arrived then was.
    pub(super) ages: Vec<(f64, f64)>,
    /// Holes: seconds after the fault at which the sound before and behind it arrived, and the seconds missing.
    pub(super) holes: Vec<(f64, f64, f64)>,
    /// What mpv made of it, playing the same mount.
    pub(super) mpv: Mpv,
    /// Pauses of more than half a second, from and to, in seconds after the fault.
    pub(super) pauses: Vec<(f64, f64)>,
}

/// What a real player did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Mpv {
    /// How often it stopped to fill its buffer.
    pub(super) stalls: usize,
    /// Seconds it waited in all, as far as it came to an end.
    pub(super) waited: f64,
    /// Whether it played to the end of the run.
    pub(super) kept: bool,
}

/// The test card that all of them capture from.
pub(super) struct LineIn {
    asoundrc: PathBuf,
    clicks: Programme,
    /// One instant on both clocks.
    same: (Instant, i64),
}

/// What the table calls the box.
pub(super) const BOX: &str = "Mainstay";
/// Time before the fault, from the fault to its healing, and behind.
const BEFORE: Duration = Duration::from_secs(8);
pub(super) const BROKEN: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(25);
/// Liquidsoap compiles its library first; with many lanes that takes its time.
const START: Duration = Duration::from_secs(90);
/// Frames of a packet.
const PACKET_FRAMES: usize = 1_152;
/// Two clicks are further from each other than they should be by more than this many frames: something is missing.
const SLIP: i64 = 300;
/// How early a click may seem, in frames.
const EARLY: i64 = 96_000;

impl Peer {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        let mut peers = Vec::new();
        for fault in [Fault::SilentCut, Fault::CarrierOff] {
            for (who, mounts) in [
                (Who::Liquidsoap, Mounts::One),
                (Who::Liquidsoap, Mounts::Two),
                (Who::Ffmpeg, Mounts::One),
                (Who::Liquidsoap, Mounts::Apart),
                // It has one output.
                (Who::Ffmpeg, Mounts::Apart),
                (Who::Box, Mounts::Two),
            ] {
                peers.push(Self { who, mounts, fault, kbit: 320 });
            }
        }
        for (who, mounts) in [(Who::Ffmpeg, Mounts::Apart), (Who::Box, Mounts::Two)] {
            peers.push(Self { who, mounts, fault: Fault::SilentCut, kbit: 128 });
        }
        peers
    }

    /// As the table calls it: `ffmpeg, one mount, 320 kbit/s, silent cut`.
    pub(super) fn name(self) -> String {
        let who = match self.who {
            Who::Box => BOX,
            Who::Ffmpeg => "ffmpeg",
            Who::Liquidsoap => "Liquidsoap",
        };
        let mounts = match self.mounts {
            Mounts::One => "one mount",
            Mounts::Two => "two mounts",
            Mounts::Apart => "two mounts, two processes",
        };
        let fault = match self.fault {
            Fault::SilentCut => "silent cut",
            Fault::CarrierOff => "carrier off",
            Fault::Reset => "reset",
            Fault::NothingBack | Fault::NothingOut => "half-dead",
        };
        format!("{who}, {mounts}, {} kbit/s, {fault}", self.kbit)
    }

    /// Bytes of a packet: 1152 frames at 48 kHz are 24 ms.
    const fn packet(self) -> usize {
        self.kbit as usize * 3
    }
}

impl PeerOutcome {
    /// One line about it.
    pub(super) fn in_short(&self) -> String {
        format!(
            "lost {:.2} s, repeated {:.2} s, pause {:.2} s, {} complaints, connection {}, mpv stalled {} times, {:.1} s{}",
            self.lost,
            self.repeated,
            self.pause,
            self.complaints,
            if self.kept { "kept" } else { "lost" },
            self.mpv.stalls,
            self.mpv.waited,
            if self.mpv.kept { "" } else { ", and stopped" }
        )
    }
}

impl LineIn {
    /// A card that plays this programme by the clock.
    ///
    /// # Errors
    /// No compiler, or no place for the file.
    pub(super) fn make(folder: &Path, clicks: Programme, sound: &[i16]) -> Result<Self> {
        let file = folder.join("programme.s16");
        let bytes: Vec<u8> = sound.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
        let asoundrc = super::super::card(folder, &file)?;
        Ok(Self { asoundrc, clicks, same: (wait::now(), clock::now_ns()) })
    }

    fn ns(&self, at: Instant) -> i64 {
        let (instant, ns) = self.same;
        let ahead = at.saturating_duration_since(instant).as_nanos() as i64;
        ns + ahead - instant.saturating_duration_since(at).as_nanos() as i64
    }
}

/// A source that runs, and its folder.
enum Source {
    Box(Daemon),
    Peer { processes: Vec<Process>, _folder: TempDir },
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
    let headend = Headend { fallbacks, bind: Ipv4Addr::UNSPECIFIED, ..Headend::default() };
    let server = lane.world.inside(|| headend.start())??;
    let source = lane.home.inside(|| begin(stage, line_in, peer, &server))??;
    let heard = scene(stage, &lane, &server, peer).with_context(|| source.log())?;
    drop(source);
    judge(line_in, peer, number, &heard)
}

/// What was heard, from the fault to the end.
struct Listened {
    segments: Vec<Heard>,
    struck: Instant,
    end: Instant,
    mpv: Mpv,
}

/// Fault and healing before a listener who joins again when the server hangs up, as players do.
fn scene(stage: &Stage<'_>, lane: &Lane, server: &Icecast, peer: Peer) -> Result<Listened> {
    lane.world.inside(|| server.wait_for_source("/live", START))??;
    if peer.mounts != Mounts::One {
        lane.world.inside(|| server.wait_for_source("/live_fallback", START))??;
    }
    pause(stage.interrupt, Duration::from_secs(3))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let join = || lane.world.inside(|| stage.ears.join(address, "/live", Manner::default()))?;
    let mut ear: Option<Ear> = Some(join()?);
    let mut player = lane.world.inside(|| Player::start(&server.url("/live")))??;
    pause(stage.interrupt, BEFORE)?;
    let struck = wait::now();
    lane.strike(peer.fault, Uplink::Preferred)?;
    let mut healed = false;
    let mut segments = Vec::new();
    while struck.elapsed() < BROKEN + AFTER {
        if !healed && struck.elapsed() >= BROKEN {
            lane.heal()?;
            healed = true;
        }
        if ear.as_ref().is_some_and(Ear::has_ended) {
            segments.extend(ear.take().map(Ear::finish));
        }
        if ear.is_none() {
            // The mount may not be there yet.
            ear = join().ok();
        }
        pause(stage.interrupt, Duration::from_millis(250))?;
    }
    segments.extend(ear.map(Ear::finish));
    Ok(Listened { segments, struck, end: wait::now(), mpv: player.finish()? })
}

/// mpv without a loudspeaker.
struct Player {
    process: Process,
    folder: TempDir,
}

impl Player {
    fn start(url: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mainstay-mpv-").tempdir()?;
        let mut command = Command::new("mpv");
        command
            .args([
                "--no-config",
                "--ytdl=no",
                "--video=no",
                "--ao=null",
                "--term-status-msg=",
                "--msg-level=all=v",
            ])
            .arg(url)
            .env("HOME", folder.path());
        let process = Process::start("mpv", &mut command, &folder.path().join("log"))?;
        Ok(Self { process, folder })
    }

    fn finish(&mut self) -> Result<Mpv> {
        let kept = self.process.ended()?.is_none();
        let log = std::fs::read(self.folder.path().join("log"))?;
        let log = String::from_utf8_lossy(&log);
        // `Enter buffering (buffer went from 100% -> 0%) [0.0s].` and `End buffering (waited 1.3 secs) [1.0s].`
        let waited = log
            .lines()
            .filter_map(|line| line.split_once("End buffering (waited "))
            .filter_map(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok())
            .fold(0.0, |sum, seconds| sum + seconds);
        Ok(Mpv { stalls: log.matches("Enter buffering").count(), waited, kept })
    }
}

impl Source {
    fn log(&self) -> String {
        match self {
            Self::Box(box_) => box_.log(),
            Self::Peer { processes, .. } => processes.iter().map(Process::log).collect(),
        }
    }
}

fn begin(stage: &Stage<'_>, line_in: &LineIn, peer: Peer, server: &Icecast) -> Result<Source> {
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
        Who::Box => {
            let mount = |path: &str, uplink: Uplink| {
                let address = stage.manner.ingest(uplink);
                Mount::icecast(format!("http://{address}:{port}{path}"), Codec::Mp3, kbit)
            };
            let input = Input::Card { pcm: "linein".to_owned(), asoundrc: line_in.asoundrc.clone() };
            let output = Output::pair(
                "main",
                mount("/live", Uplink::Preferred),
                mount("/live_fallback", Uplink::Spare),
            );
            let settings = Settings { meters: false, ..Settings::new(input, output) };
            return start(stage.manner, &settings).map(Source::Box);
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

/// A click that was heard.
#[derive(Clone, Copy)]
struct Click {
    /// Frame of what the listener decoded, over all his connections.
    heard: i64,
    /// Frame of the card.
    card: i64,
    /// Seconds after the fault at which it arrived.
    at: f64,
}

fn judge(line_in: &LineIn, peer: Peer, number: u32, listened: &Listened) -> Result<PeerOutcome> {
    let Listened { segments, struck, end, mpv } = listened;
    let (struck, end, packet) = (*struck, *end, peer.packet());
    let mut outcome = PeerOutcome {
        peer: peer.name(),
        run: number,
        lost: 0.0,
        repeated: 0.0,
        pause: 0.0,
        complaints: 0,
        kept: segments.iter().all(|heard| heard.ended.is_none()),
        ages: Vec::new(),
        holes: Vec::new(),
        mpv: *mpv,
        pauses: Vec::new(),
    };
    let after = |ns: i64| (ns - line_in.ns(struck)) as f64 / SECOND as f64;
    let mut clicks: Vec<Click> = Vec::new();
    let mut before = 0;
    for heard in segments {
        let Some(start) = first_packet(&heard.bytes, packet) else { continue };
        let ends = ends(&heard.bytes, start, packet);
        // The last packet may have been cut off by our hanging up.
        let whole = ends.iter().rev().find(|&&end| end <= heard.bytes.len()).copied().unwrap_or(start);
        let (sound, said) = decode(&heard.bytes[start..whole])?;
        outcome.complaints += said;
        for (at, click) in recognise(&line_in.clicks, &latency::find(&sound)) {
            // A packet that a hole cuts in two is the sound before the hole.
            let arrived = ends.get(at / PACKET_FRAMES).and_then(|&end| heard.arrival_of(end - packet + 1));
            let Some(arrived) = arrived else { continue };
            let arrived = line_in.ns(arrived);
            // Where packets are torn, a click may seem to arrive a little before it was captured.
            let (now, whole) = (frames_until(arrived) + EARLY, line_in.clicks.frames as i64);
            let card = now - (now - click as i64).rem_euclid(whole);
            outcome.ages.push((after(arrived), (arrived - ns_of(card)) as f64 / SECOND as f64));
            clicks.push(Click { heard: before + at as i64, card, at: after(arrived) });
        }
        before += sound.len() as i64;
    }
    for pair in clicks.windows(2) {
        let missing = (pair[1].card - pair[0].card) - (pair[1].heard - pair[0].heard);
        let seconds = missing as f64 / 48_000.0;
        if missing > SLIP {
            outcome.lost += seconds;
            outcome.holes.push((pair[0].at, pair[1].at, seconds));
        } else if missing < -SLIP {
            outcome.repeated -= seconds;
        }
    }
    let mut last = struck;
    let arrivals = segments.iter().flat_map(|heard| &heard.arrivals).map(|&(at, _)| at);
    for at in arrivals.filter(|&at| at > struck).chain([end]) {
        let span = at.saturating_duration_since(last).as_secs_f64();
        outcome.pause = outcome.pause.max(span);
        if span > 0.5 {
            outcome.pauses.push((after(line_in.ns(last)), after(line_in.ns(at))));
        }
        last = at;
    }
    Ok(outcome)
}

/// Where the first whole packet begins.
fn first_packet(bytes: &[u8], packet: usize) -> Option<usize> {
    let fits = |at: usize| {
        bytes.get(at..).and_then(PacketHeader::parse).is_some_and(|header| header.length == packet)
    };
    (0..bytes.len()).find(|&at| (0..4).all(|step| fits(at + step * packet)))
}

/// The left channel, and how many lines ffmpeg printed.
fn decode(bytes: &[u8]) -> Result<(Vec<f32>, usize)> {
    // Stereo as it is: ffmpeg warns when it takes one channel out.
    let (sound, said) = ffmpeg(bytes, "mp3", &["-f", "f32le", "-"])?;
    let (samples, _) = sound.as_chunks::<4>();
    let sound = samples.iter().step_by(2).map(|four| f32::from_le_bytes(*four)).collect();
    Ok((sound, said.len()))
}

/// Where each packet ends, the first of which begins at `start`; what is no packet is passed over, as decoders do.
fn ends(bytes: &[u8], start: usize, packet: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = start;
    while at < bytes.len() {
        if PacketHeader::parse(&bytes[at..]).is_some_and(|header| header.length == packet) {
            at += packet;
            ends.push(at);
        } else {
            at += 1;
        }
    }
    ends
}

/// Clicks with their place in the loop: known by the intervals on both sides, or by one interval from a known neighbour.
fn recognise(programme: &Programme, found: &[usize]) -> Vec<(usize, usize)> {
    let count = programme.clicks.len();
    let place_of = |click: usize| programme.clicks.iter().position(|&known| known == click);
    let interval = |from: usize| {
        let (a, b) = (programme.clicks[from], programme.clicks[(from + 1) % count]);
        (b + programme.frames - a) % programme.frames
    };
    let mut places: Vec<Option<usize>> =
        (0..found.len()).map(|index| programme.recognise(found, index).and_then(place_of)).collect();
    let fits = |heard: usize, from: usize| interval(from).abs_diff(heard) <= SMEAR;
    for index in 1..found.len() {
        if let (Some(before), None) = (places[index - 1], places[index])
            && fits(found[index] - found[index - 1], before)
        {
            places[index] = Some((before + 1) % count);
        }
    }
    for index in (1..found.len()).rev() {
        if let (None, Some(place)) = (places[index - 1], places[index])
            && fits(found[index] - found[index - 1], (place + count - 1) % count)
        {
            places[index - 1] = Some((place + count - 1) % count);
        }
    }
    let known = found.iter().zip(places);
    known.filter_map(|(&at, place)| place.map(|place| (at, programme.clicks[place]))).collect()
}
