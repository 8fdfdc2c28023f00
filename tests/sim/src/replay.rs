//! A file, run again: an event log that a box gave, a scenario, or a trial of the TCP world.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use delivery::recording::{Recording, ReplayError};
use units::Instant;

use crate::scenario::{Failed, Scenario, told};
use crate::tcp::Trial;

/// Why a file cannot be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFailed {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no such file.
    #[error(
        "{} is no recording (as a recording: {recording}), no scenario (as a scenario: {scenario}), and no trial (as a trial: {trial}); \
         take a recording with `mainstay events`, or see tests/sim/scenarios and tests/sim/trials",
        path.display()
    )]
    Unknown {
        /// Which.
        path: PathBuf,
        /// What is wrong with it as a recording.
        recording: serde_json::Error,
        /// What is wrong with it as a scenario.
        scenario: serde_json::Error,
        /// What is wrong with it as a trial.
        trial: serde_json::Error,
    },
    /// The core of this build does something else than was recorded.
    #[error("{}, after {steps} inputs and these transitions:\n{told}", path.display())]
    Differs {
        /// Which.
        path: PathBuf,
        /// Inputs replayed until then.
        steps: u64,
        /// What was told until then.
        told: String,
        /// How.
        #[source]
        source: ReplayError,
    },
    /// The scenario's or trial's run broke an invariant or an expectation.
    #[error(transparent)]
    Failed(#[from] Box<Failed>),
}

/// Runs a recording, a scenario or a trial and returns what happened: each transition with time, mount and reason, then a summary.
///
/// # Errors
/// When the file is none of them, or its run does not come out as it has to.
pub fn replay_file(path: &Path) -> Result<String, ReplayFailed> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ReplayFailed::Unreadable { path: path.to_path_buf(), source })?;
    let recording = match serde_json::from_str::<Recording>(&text) {
        Ok(recording) => return replay(path, &recording),
        Err(why) => why,
    };
    let scenario = match Scenario::parse(&text) {
        Ok(scenario) => return Ok(run(&scenario)?),
        Err(why) => why,
    };
    match Trial::parse(&text) {
        Ok(trial) => Ok(try_again(&trial)?),
        Err(trial) => Err(ReplayFailed::Unknown { path: path.to_path_buf(), recording, scenario, trial }),
    }
}

fn try_again(trial: &Trial) -> Result<String, Box<Failed>> {
    let world = trial.run()?;
    let mut text = String::new();
    for (at, line) in world.told() {
        let _ = writeln!(text, "{at} {line}");
    }
    for number in 0..trial.listeners.len() {
        let heard = world.heard(number);
        let _ = writeln!(
            text,
            "listener {number}: {} packets heard, {} lost, {} repeated, {} torn; {} connections, dry {} times ({:.1} s), longest pause {} ms",
            heard.packets.whole,
            heard.packets.lost,
            heard.packets.repeated,
            heard.packets.torn,
            heard.connections,
            heard.stalls,
            heard.stalled.as_secs_f64(),
            heard.longest_pause.as_millis()
        );
    }
    let deeds = world.deeds();
    let _ = writeln!(
        text,
        "trial `{}`, seed {}: {} s, {} faults, {} inputs, listeners moved {} times, {} evictions; every invariant held",
        trial.name,
        trial.seed,
        trial.seconds,
        trial.faults.len(),
        world.inputs(),
        deeds.moves,
        deeds.evicted
    );
    Ok(text)
}

fn replay(path: &Path, recording: &Recording) -> Result<String, ReplayFailed> {
    let (mut steps, mut transitions) = (0, Vec::new());
    let mut span: Option<(Instant, Instant)> = None;
    let came_out = recording.replay(|step| {
        steps += 1;
        span = Some((span.map_or(step.at, |(first, _)| first), step.at));
        transitions.extend(step.transitions.into_iter().map(|said| (step.at, said)));
    });
    let mut text = told(&transitions);
    if let Err(source) = came_out {
        return Err(ReplayFailed::Differs { path: path.to_path_buf(), steps, told: text, source });
    }
    let (first, last) = span.unwrap_or_default();
    let _ = writeln!(
        text,
        "{steps} inputs in {} segments, {first} to {last} ({:.1} s), {} transitions; every output as recorded",
        recording.segments.len(),
        last.since(first).as_secs_f64(),
        transitions.len()
    );
    Ok(text)
}

fn run(scenario: &Scenario) -> Result<String, Box<Failed>> {
    let outcome = scenario.run_told()?;
    let mut text = told(&outcome.transitions);
    for mount in &outcome.mounts {
        let state = mount.report.as_ref().map_or("not in the settings", |report| report.state.word());
        let _ = writeln!(
            text,
            "{}: {state}, accepted {} times, {} alarms, off air {:.1} s (longest {:.1} s), skipped {} times, longest pause {} ms",
            mount.name,
            mount.accepted,
            mount.alarms,
            mount.off_air.as_secs_f64(),
            mount.longest_off_air.as_secs_f64(),
            mount.skips,
            mount.longest_pause.as_millis()
        );
    }
    let _ = writeln!(
        text,
        "scenario `{}`, seed {}: {} s, {} faults, {} inputs; every invariant held",
        scenario.name,
        scenario.seed,
        outcome.length.as_secs(),
        scenario.faults.len(),
        outcome.inputs
    );
    Ok(text)
}
