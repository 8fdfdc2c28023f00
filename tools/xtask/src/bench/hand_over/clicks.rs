//! The verdict on listeners of peers, and of the box beside them: by the clicks of the test card. Seconds of programme that
//! were lost or repeated, how old the sound was that arrived, how long nothing came, and what players held.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use e2e::ears::Heard;
use e2e::wait;
use serde::Serialize;
use units::header::PacketHeader;

use super::super::clock::{self, SECOND};
use super::super::latency::{self, Programme, SMEAR, frames_until, ns_of};
use super::decode::ffmpeg;
use super::judge::{Player, play};
use super::peers::{Demand, Listened, OUTAGE, Peer};
use super::players::{Chromium, Mpv};

/// What one listener heard of one peer.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PeerOutcome {
    pub(super) peer: String,
    pub(super) run: u32,
    /// Gaps of the box's own input: a machine that is too slow judges nobody. Peers do not tell.
    pub(super) gaps: u64,
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
    /// How it ended, if it did: seconds after the fault, and how.
    pub(super) ended: Option<(f64, String)>,
    /// When the first byte came after the healing, or after joining again if that was later: seconds after the healing.
    pub(super) back: Option<f64>,
    /// By how many seconds the sound at the end is older than before the fault: a lag that stayed. `None` if nothing is heard
    /// at the end.
    pub(super) older: Option<f64>,
    /// A player that plays what this listener got.
    pub(super) player: Player,
    /// What a listener got who may read 1.25 times the programme's bytes.
    pub(super) slow: Slow,
    /// Seconds after the fault, and how old in seconds what arrived then was.
    pub(super) ages: Vec<(f64, f64)>,
    /// Holes: seconds after the fault at which the sound before and behind it arrived, and the seconds missing.
    pub(super) holes: Vec<(f64, f64, f64)>,
    /// What mpv made of it, playing the same mount.
    pub(super) mpv: Mpv,
    /// What Chromium made of it.
    pub(super) chromium: Chromium,
    /// Pauses of more than half a second, from and to, in seconds after the fault.
    pub(super) pauses: Vec<(f64, f64)>,
}

/// What a listener got whose connection is hardly wider than the programme. He does not join again.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Slow {
    /// Seconds of programme that were never heard, and heard twice, while he was connected.
    pub(super) lost: f64,
    pub(super) repeated: f64,
    pub(super) kept: bool,
    /// As with the other listener.
    pub(super) older: Option<f64>,
    pub(super) player: Player,
}

impl Slow {
    /// Whether he was kept, lost nothing, and has caught up.
    pub(super) fn is_whole(&self) -> bool {
        let caught_up = self.older.is_some_and(|seconds| seconds <= LAG);
        self.kept && self.lost <= 0.0 && self.repeated <= 0.0 && caught_up
    }
}

/// The test card that all of them capture from.
pub(super) struct LineIn {
    pub(super) asoundrc: PathBuf,
    clicks: Programme,
    /// One instant on both clocks.
    same: (Instant, i64),
}

/// Frames of a packet.
const PACKET_FRAMES: usize = 1_152;
/// Milliseconds of a packet at 48 kHz.
const PACKET_MS: f64 = 24.0;
/// Two clicks are further from each other than they should be by more than this many frames: something is missing.
const SLIP: i64 = 300;
/// How early a click may seem, in frames.
const EARLY: i64 = 96_000;
/// What is looked at to tell how old the sound is, before the fault and at the end, in seconds.
const CALM: f64 = 6.0;
/// So much older is a lag: a pause with nothing lost leaves the sound as old as before, within a block or two.
const LAG: f64 = 1.0;
/// A player may hold so much less than before, in milliseconds: a block and a packet of the leanest rendition heard here.
pub(super) const LESS_MS: u64 = 300;

impl PeerOutcome {
    /// One line about it.
    pub(super) fn in_short(&self) -> String {
        let chromium = &self.chromium;
        let ended =
            self.ended.as_ref().map_or_else(String::new, |(at, how)| format!(" ({how} after {at:.1} s)"));
        format!(
            "lost {:.2} s, repeated {:.2} s, pause {:.2} s, back {:.1} s after the healing, {} complaints, connection {}{ended}, \
             {:.1} s older; buffer {} ms, then {} ms; at 1.25 times: lost {:.2} s, connection {}, buffer {} ms, then {} ms; \
             mpv stalled {} times, {:.1} s{}; Chromium stalled {} times, {:.1} s, held {:.1} s, then {:.1} s{}",
            self.lost,
            self.repeated,
            self.pause,
            self.back.unwrap_or(f64::NAN),
            self.complaints,
            if self.kept { "kept" } else { "lost" },
            self.older.unwrap_or(f64::NAN),
            self.player.buffer_before_ms,
            self.player.buffer_after_ms,
            self.slow.lost,
            if self.slow.kept { "kept" } else { "lost" },
            self.slow.player.buffer_before_ms,
            self.slow.player.buffer_after_ms,
            self.mpv.stalls,
            self.mpv.waited,
            if self.mpv.kept { "" } else { ", and stopped" },
            chromium.stalls,
            chromium.waited,
            chromium.held_before,
            chromium.held_after,
            chromium.end.as_ref().map_or_else(String::new, |why| format!(", and stopped: {why}")),
        ) + if self.gaps > 0 { ", the machine is too slow" } else { "" }
    }

    /// What of the demands on this peer was not met.
    pub(super) fn missed(&self, peer: Peer) -> impl Iterator<Item = String> {
        if self.gaps > 0 {
            return vec![format!("this machine is too slow ({} gaps); fewer --lanes", self.gaps)].into_iter();
        }
        let demand = peer.demand();
        let most = match demand {
            Demand::Whole => 0.0,
            Demand::Skip => OUTAGE.as_secs_f64() + 1.0,
            Demand::Nothing => f64::INFINITY,
        };
        let asked = demand != Demand::Nothing;
        let whole = demand == Demand::Whole;
        let slow = &self.slow;
        [
            (self.lost > most, format!("lost {:.2} s", self.lost)),
            (asked && self.repeated > 0.0, format!("repeated {:.2} s", self.repeated)),
            (asked && !self.kept, "its connection ended".to_owned()),
            (asked && behind(self.older), lag(self.older)),
            (whole && self.complaints > 0, format!("{} lines of ffmpeg", self.complaints)),
            (
                whole && less_ms(&self.player) > LESS_MS,
                format!("a player holds {} ms less", less_ms(&self.player)),
            ),
            (asked && behind(slow.older), format!("the slow listener: {}", lag(slow.older))),
            (asked && !slow.kept, "the slow listener's connection ended".to_owned()),
            (slow.lost > most, format!("the slow listener lost {:.2} s", slow.lost)),
            (asked && slow.repeated > 0.0, format!("the slow listener heard {:.2} s twice", slow.repeated)),
            (asked && !self.mpv.kept, "mpv stopped".to_owned()),
            (asked && self.chromium.end.is_some(), "Chromium stopped".to_owned()),
        ]
        .into_iter()
        .chain(peer.pause_limit().map(|limit| {
            (self.pause > limit, format!("a pause of {:.2} s, {limit:.1} s allowed", self.pause))
        }))
        .chain(peer.back_limit().map(|limit| {
            let back = self.back.unwrap_or(f64::INFINITY);
            (back > limit, format!("first byte {back:.1} s after the healing, {limit:.1} s allowed"))
        }))
        .filter_map(|(missed, what)| missed.then_some(what))
        .collect::<Vec<_>>()
        .into_iter()
    }
}

/// Whether a lag stayed.
fn behind(older: Option<f64>) -> bool {
    older.is_none_or(|seconds| seconds > LAG)
}

fn lag(older: Option<f64>) -> String {
    older.map_or_else(
        || "nothing is heard at the end".to_owned(),
        |seconds| format!("{seconds:.1} s older afterwards"),
    )
}

/// What a player holds less than before, in milliseconds.
pub(super) const fn less_ms(player: &Player) -> u64 {
    player.buffer_before_ms.saturating_sub(player.buffer_after_ms)
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

/// What a listener's connections brought.
#[derive(Default)]
struct Sound {
    clicks: Vec<Click>,
    ages: Vec<(f64, f64)>,
    complaints: usize,
    /// When each packet was there.
    packets: Vec<Instant>,
}

/// Judges what both listeners heard, and takes over what the players did.
///
/// # Errors
/// ffmpeg is not there.
pub(super) fn judge(line_in: &LineIn, peer: Peer, number: u32, listened: &Listened) -> Result<PeerOutcome> {
    let Listened { segments, struck, healed, end, .. } = listened;
    let (struck, healed, end) = (*struck, *healed, *end);
    let after = |at: Instant| (line_in.ns(at) - line_in.ns(struck)) as f64 / SECOND as f64;
    let sound = Sound::of(line_in, peer, segments, struck)?;
    let (lost, repeated, holes) = sound.slips();
    let slow = Sound::of(line_in, peer, std::slice::from_ref(&listened.slow), struck)?;
    let (slow_lost, slow_repeated, _) = slow.slips();
    let arrivals = || segments.iter().flat_map(|heard| &heard.arrivals).map(|&(at, _)| at);
    let mut outcome = PeerOutcome {
        peer: peer.name(),
        run: number,
        lost,
        repeated,
        complaints: sound.complaints,
        kept: segments.iter().all(|heard| heard.ended.is_none()),
        ended: segments.iter().find_map(|heard| heard.ended.clone()).map(|(at, how)| (after(at), how)),
        back: arrivals().find(|&at| at > healed).map(|at| (at - healed).as_secs_f64()),
        older: older(&sound, after(end)),
        player: play(&sound.packets, PACKET_MS, struck, end),
        slow: Slow {
            lost: slow_lost,
            repeated: slow_repeated,
            kept: listened.slow.ended.is_none(),
            older: older(&slow, after(end)),
            player: play(&slow.packets, PACKET_MS, struck, end),
        },
        holes,
        mpv: listened.mpv,
        chromium: listened.chromium.clone(),
        ages: sound.ages,
        ..PeerOutcome::default()
    };
    let mut last = struck;
    for at in arrivals().filter(|&at| at > struck).chain([end]) {
        let span = at.saturating_duration_since(last).as_secs_f64();
        outcome.pause = outcome.pause.max(span);
        if span > 0.5 {
            outcome.pauses.push((after(last), after(at)));
        }
        last = at;
    }
    Ok(outcome)
}

impl Sound {
    fn of(line_in: &LineIn, peer: Peer, segments: &[Heard], struck: Instant) -> Result<Self> {
        let packet = peer.packet();
        let after = |ns: i64| (ns - line_in.ns(struck)) as f64 / SECOND as f64;
        let mut all = Self::default();
        let mut before = 0;
        for heard in segments {
            let Some(start) = first_packet(&heard.bytes, packet) else { continue };
            let ends = ends(&heard.bytes, start, packet);
            // The last packet may have been cut off by our hanging up.
            let whole = ends.iter().rev().find(|&&end| end <= heard.bytes.len()).copied().unwrap_or(start);
            all.packets.extend(ends.iter().filter_map(|&end| heard.arrival_of(end)));
            let (sound, said) = decode(&heard.bytes[start..whole])?;
            all.complaints += said;
            for (at, click) in recognise(&line_in.clicks, &latency::find(&sound)) {
                // A packet that a hole cuts in two is the sound before the hole.
                let arrived =
                    ends.get(at / PACKET_FRAMES).and_then(|&end| heard.arrival_of(end - packet + 1));
                let Some(arrived) = arrived else { continue };
                let arrived = line_in.ns(arrived);
                // Where packets are torn, a click may seem to arrive a little before it was captured.
                let (now, whole) = (frames_until(arrived) + EARLY, line_in.clicks.frames as i64);
                let card = now - (now - click as i64).rem_euclid(whole);
                all.ages.push((after(arrived), (arrived - ns_of(card)) as f64 / SECOND as f64));
                all.clicks.push(Click { heard: before + at as i64, card, at: after(arrived) });
            }
            before += sound.len() as i64;
        }
        Ok(all)
    }

    /// Seconds lost and repeated, and the holes.
    fn slips(&self) -> (f64, f64, Vec<(f64, f64, f64)>) {
        let (mut lost, mut repeated, mut holes) = (0.0, 0.0, Vec::new());
        for pair in self.clicks.windows(2) {
            let missing = (pair[1].card - pair[0].card) - (pair[1].heard - pair[0].heard);
            let seconds = missing as f64 / 48_000.0;
            if missing > SLIP {
                lost += seconds;
                holes.push((pair[0].at, pair[1].at, seconds));
            } else if missing < -SLIP {
                repeated -= seconds;
            }
        }
        (lost, repeated, holes)
    }
}

/// By how many seconds the sound before `end` (seconds after the fault) is older than that before the fault.
fn older(sound: &Sound, end: f64) -> Option<f64> {
    Some(age(&sound.ages, end)? - age(&sound.ages, 0.0)?)
}

/// How old the sound was in the seconds before an instant, in the middle; `None` if there was none.
fn age(ages: &[(f64, f64)], until: f64) -> Option<f64> {
    let mut near: Vec<f64> =
        ages.iter().filter(|&&(at, _)| (until - CALM..until).contains(&at)).map(|&(_, age)| age).collect();
    near.sort_by(f64::total_cmp);
    near.get(near.len() / 2).copied()
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
