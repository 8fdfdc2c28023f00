//! The verdict on what one listener heard: packets phase by phase, pauses, a player's buffer, a decoder's complaints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::ears::Heard;
use serde::Serialize;
use units::Codec;

use super::cell::Cell;
use super::decode::ffmpeg;
use super::truth::{FlawKind, Packets, Score, score};

/// The three parts of a run, and the calm before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) enum Phase {
    /// Nothing has happened yet.
    Calm,
    /// From the event on.
    FailOver,
    /// From the healing on.
    Return,
    /// From the second event on; on the fallback another one hits the spare uplink.
    SecondFault,
}

impl Phase {
    /// Those that something happens in.
    pub(super) const EVENTFUL: [Self; 3] = [Self::FailOver, Self::Return, Self::SecondFault];
}

/// What one listener heard in one phase.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Part {
    pub(super) phase: Phase,
    pub(super) lost: u32,
    pub(super) repeated: u32,
    pub(super) torn: u32,
    pub(super) pause_ms: u64,
    /// When in the phase each flaw was heard, in seconds: `lost 12 at 10.4`.
    pub(super) flaws: Vec<String>,
}

/// What one listener heard in a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) listener: &'static str,
    pub(super) parts: Vec<Part>,
    /// How many lines ffmpeg printed about it, and the first of them.
    pub(super) complaints: usize,
    pub(super) complained: Vec<String>,
    /// How the connection ended; it should not.
    pub(super) ended: Option<String>,
    pub(super) packets: u64,
    pub(super) player: Player,
}

/// A player that plays as soon as it holds [`ENOUGH`] and holds everything else back.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Player {
    /// Milliseconds without sound, the beginning aside.
    pub(super) stalled_ms: u64,
    /// Milliseconds of sound it held in the two seconds before the first event, in the middle.
    pub(super) buffer_before_ms: u64,
    /// The same in the last two seconds of the run.
    pub(super) buffer_after_ms: u64,
}

/// Flaws and complaints that are written down one by one: of many, the first tell.
const SHOWN: usize = 6;
/// What a player waits for before it plays (again), in milliseconds.
const ENOUGH: f64 = 200.0;

/// Judges what was heard; `marks` are the beginnings of the phases, in order.
///
/// # Errors
/// ffmpeg is not there.
pub(super) fn judge(
    listener: &'static str,
    heard: &Heard,
    known: &[Arc<Packets>],
    cell: Cell,
    marks: &[(Phase, Instant)],
    end: Instant,
) -> Result<Verdict> {
    let found = score(&heard.bytes, known);
    let packet_ms = cell.pair.packet_ms();
    let mut parts = Vec::new();
    for (index, &(phase, from)) in marks.iter().enumerate() {
        let to = marks.get(index + 1).map_or(end, |&(_, next)| next);
        // What happens before the calm is the calm's, what comes after the end the last phase's.
        let is_here = |at: Instant| (at >= from || index == 0) && (at < to || index + 1 == marks.len());
        let mut part = Part {
            phase,
            lost: 0,
            repeated: 0,
            torn: 0,
            pause_ms: heard.longest_pause(from, to).as_millis() as u64,
            flaws: Vec::new(),
        };
        for flaw in &found.faults {
            let at = heard.arrival_of(flaw.end).unwrap_or(end);
            if !is_here(at) {
                continue;
            }
            let (count, word) = match flaw.kind {
                FlawKind::Lost => (&mut part.lost, "lost"),
                FlawKind::Repeated => (&mut part.repeated, "repeated"),
                FlawKind::Torn => (&mut part.torn, "torn"),
            };
            *count += flaw.packets;
            let second = at.saturating_duration_since(from).as_secs_f64();
            part.flaws.push(format!("{word} {} at {second:.2}", flaw.packets));
        }
        // Whoever is sent away hears nothing of the rest.
        if let Some((at, how)) = heard.ended.as_ref().filter(|&&(at, _)| is_here(at)) {
            let missing = (end.saturating_duration_since(*at).as_secs_f64() * 1e3 / packet_ms) as u32;
            part.lost += missing;
            part.flaws.push(format!("lost {missing}, all that came after {how}"));
        }
        part.flaws.truncate(SHOWN);
        parts.push(part);
    }
    let said = complaints(&heard.bytes, &found, cell.pair.codec())?;
    Ok(Verdict {
        listener,
        parts,
        complaints: said.len(),
        complained: said.into_iter().take(SHOWN).collect(),
        ended: heard.ended.as_ref().map(|(_, how)| how.clone()),
        packets: found.packets,
        player: marks.get(1).map_or_else(Player::default, |&(_, struck)| {
            play(&arrivals(heard, &found), packet_ms, struck, end)
        }),
    })
}

/// When each whole packet had arrived.
fn arrivals(heard: &Heard, found: &Score) -> Vec<Instant> {
    found.places.iter().filter_map(|&(end, _)| heard.arrival_of(end)).collect()
}

/// Plays packets as they arrive: `before` is the first event, `after` the end.
pub(super) fn play(arrivals: &[Instant], packet_ms: f64, before: Instant, after: Instant) -> Player {
    let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    let window = Duration::from_secs(2);
    let (mut held, mut stalled) = (0.0_f64, 0.0_f64);
    let (mut playing, mut begun) = (false, false);
    let (mut held_before, mut held_after) = (Vec::new(), Vec::new());
    let mut last = arrivals.first().copied().unwrap_or(after);
    for (index, at) in arrivals.iter().copied().chain([after]).enumerate() {
        let passed = ms(last, at);
        if playing {
            stalled += (passed - held).max(0.0);
            held = (held - passed).max(0.0);
            playing = held > 0.0;
        } else if begun {
            stalled += passed;
        }
        if index < arrivals.len() {
            held += packet_ms;
        }
        playing |= held >= ENOUGH;
        begun |= playing;
        for (until, samples) in [(before, &mut held_before), (after, &mut held_after)] {
            if (until - window..until).contains(&at) {
                samples.push(held);
            }
        }
        last = at;
    }
    let middle = |samples: &mut Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied().unwrap_or(0.0) as u64
    };
    Player {
        stalled_ms: stalled as u64,
        buffer_before_ms: middle(&mut held_before),
        buffer_after_ms: middle(&mut held_after),
    }
}

/// What ffmpeg has to say about everything from the first whole packet to the last.
fn complaints(bytes: &[u8], found: &Score, codec: Codec) -> Result<Vec<String>> {
    let end = found.places.last().map_or(0, |&(end, _)| end);
    let Some(sound) = bytes.get(found.start..end).filter(|sound| !sound.is_empty()) else {
        return Ok(vec!["nothing was heard".to_owned()]);
    };
    let format = match codec {
        Codec::Mp3 => "mp3",
        Codec::AacLc | Codec::HeAac | Codec::HeAacV2 => "aac",
        Codec::Vorbis | Codec::Opus => "ogg",
    };
    Ok(ffmpeg(sound, format, &["-f", "null", "-"])?.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use e2e::wait;

    #[test]
    fn a_player_stalls_when_its_burst_is_used_up() {
        let zero = wait::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        // A burst of one second in packets of 24 ms, then real time, a pause of three seconds, and what was missed at once.
        let mut arrivals = vec![at(0); 42];
        arrivals.extend((1..=250).map(|packet| at(packet * 24)));
        let short: Vec<Instant> = (1..=33).map(|_| at(6_800)).collect();
        let caught: Vec<Instant> = [arrivals.clone(), short].concat();
        let caught: Vec<Instant> =
            caught.into_iter().chain((1..=250).map(|packet| at(6_800 + packet * 24))).collect();
        let calm = play(&caught, 24.0, at(6_000), at(12_800));
        assert_eq!(calm.stalled_ms, 0);
        assert!(calm.buffer_before_ms.abs_diff(calm.buffer_after_ms) <= 48, "{calm:?}");

        arrivals.extend((1..=250).map(|packet| at(9_000 + packet * 24)));
        let stalled = play(&arrivals, 24.0, at(6_000), at(15_000));
        // Three seconds less the burst, and then some until it holds enough again.
        assert!((2_000..2_300).contains(&stalled.stalled_ms), "{stalled:?}");
        assert!(stalled.buffer_after_ms < 300, "{stalled:?}");
    }
}
