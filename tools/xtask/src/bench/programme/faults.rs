//! Every clip through the watch: hits, misses, false alarms, and seconds to detect.

use anyhow::Result;
use programme::fault::{Config, Kind, Stage, Turn, Watch};
use units::{Channels, SampleRate};

use super::clips::{Case, Clip, Expected, Studio};
use super::synth::RATE;

/// A fault is to be found so long after its time at the latest.
const LATE: f64 = 0.05;
/// Found so much before its time it is something else. A beginning in mid-sound is only known to some windows.
const EARLY: f64 = 0.25;
/// Frames of a period: 24 ms.
const PERIOD: usize = 1152;

/// One clip with one preset.
pub(super) struct Row {
    pub(super) clip: &'static str,
    pub(super) preset: &'static str,
    pub(super) found: Vec<Found>,
    /// What was found and should not have been.
    pub(super) false_alarms: Vec<String>,
}

/// What became of an expected fault.
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) stage: Stage,
    /// The time it has.
    pub(super) after: f64,
    /// Seconds from its beginning until it was found.
    pub(super) took: Option<f64>,
}

impl Row {
    pub(super) fn misses(&self) -> usize {
        self.found.iter().filter(|found| found.took.is_none()).count()
    }
}

/// All clips, with all their presets.
pub(super) fn run(studio: &Studio) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for clip in studio.clips() {
        let pcm = clip.sound.interleaved();
        for case in &clip.cases {
            rows.push(judge(&clip, case, &turns(&clip, case, &pcm)?));
        }
    }
    Ok(rows)
}

fn turns(clip: &Clip, case: &Case, pcm: &[f32]) -> Result<Vec<Turn>> {
    let mut watch = Watch::new(Config::preset(case.preset), SampleRate::Hz48000, Channels::Stereo)?;
    let mut turns = Vec::new();
    for (number, period) in pcm.chunks(PERIOD * 2).enumerate() {
        if let Some((from, to)) = clip.lost {
            let at = (number * PERIOD) as f64 / RATE as f64;
            watch.lost((from..to).contains(&at));
        }
        turns.extend(watch.feed(period));
    }
    Ok(turns)
}

fn judge(clip: &Clip, case: &Case, turns: &[Turn]) -> Row {
    let mut rises: Vec<_> = turns
        .iter()
        .filter_map(|turn| match *turn {
            Turn::Rose { fault, stage, at, .. } => Some((fault, stage, at.0 as f64 / RATE as f64)),
            Turn::Ended { .. } => None,
        })
        .collect();
    let mut found = Vec::new();
    for Expected { kind, stage, begins, after } in case.expected.iter().copied() {
        let due = begins + after;
        let hit = rises.iter().position(|(fault, reached, at)| {
            fault.kind() == kind && *reached == stage && (due - EARLY..=due + LATE).contains(at)
        });
        let took = hit.map(|hit| rises.remove(hit).2 - begins);
        found.push(Found { kind, stage, after, took });
    }
    let false_alarms =
        rises.iter().map(|(fault, stage, at)| format!("{fault} ({stage:?} at {at:.2} s)")).collect();
    let preset = match case.preset {
        programme::fault::Preset::Music => "music",
        programme::fault::Preset::Talk => "talk",
        programme::fault::Preset::Classical => "classical",
    };
    Row { clip: clip.name, preset, found, false_alarms }
}
