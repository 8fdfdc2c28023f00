//! A run as text: seed, length, faults and expectations, in JSON. Times are seconds since the start.
//!
//! A seed that broke something is kept as such a file, cut down to the faults that it takes.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::snapshot::MountState;

use crate::dice::Dice;
use crate::faults::{self, Fault};
use crate::invariants::Broken;
use crate::station;
use crate::world::{Outcome, Setup, World};

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about.
    pub name: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Length in seconds.
    pub seconds: u64,
    /// Packets between two boundaries that the core sees: one is the truth (24 ms), ten is fast.
    #[serde(default = "fast")]
    pub packets: u32,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What must come of it, beside the invariants.
    #[serde(default)]
    pub expect: Vec<Expectation>,
    /// The mounts on server number `.0` never go without a write for more than `.1` milliseconds.
    #[serde(default)]
    pub steady: Option<(usize, u64)>,
    /// Take an event log as well.
    #[serde(skip)]
    pub record: bool,
}

const fn fast() -> u32 {
    10
}

/// What must be true of a mount at one time. What is left out is not looked at.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Seconds since the start; the end of the run if left out.
    #[serde(default)]
    pub at: Option<u64>,
    /// `main.primary`.
    pub mount: String,
    /// It is in one of these states.
    #[serde(default)]
    pub is: Vec<MountState>,
    /// So many times a server took the source.
    #[serde(default)]
    pub accepted: Option<u64>,
    /// So many alarms were raised.
    #[serde(default)]
    pub alarms: Option<u32>,
    /// Whether it ever jumped to live.
    #[serde(default)]
    pub skipped: Option<bool>,
    /// It carries this title.
    #[serde(default)]
    pub title: Option<String>,
}

/// A run in which something that must hold did not.
#[derive(Clone, Debug, thiserror::Error)]
#[error("scenario `{name}`, seed {seed}, after {after:?}: {what}\n{told}")]
pub struct Failed {
    /// Which run.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Simulated time until then.
    pub after: Duration,
    /// What was broken.
    pub what: String,
    /// The transitions before, one a line.
    pub told: String,
}

/// So many transitions before a failure are shown.
const SHOWN: usize = 40;

impl Scenario {
    /// An hour of random faults, at least [`crate::FAULTS_PER_HOUR`] of them.
    #[must_use]
    pub fn hour(seed: u64) -> Self {
        Self::random(seed, Duration::from_secs(3600))
    }

    /// `length` of random faults.
    #[must_use]
    pub fn random(seed: u64, length: Duration) -> Self {
        let mut dice = Dice::new(!seed);
        let names: Vec<String> =
            station::berths(&mut Dice::new(seed)).into_iter().map(|berth| berth.name).collect();
        let faults = faults::plan(&mut dice, length, &names);
        let seconds = length.as_secs();
        let name = format!("random {seed}");
        Self { name, seed, seconds, packets: fast(), faults, expect: Vec::new(), steady: None, record: false }
    }

    /// Reads a scenario file's text.
    ///
    /// # Errors
    /// Where and why it is not one.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Runs it, checking every invariant after every step and every expectation at its time.
    ///
    /// # Errors
    /// The first thing that did not hold.
    pub fn run(&self) -> Result<Outcome, Box<Failed>> {
        self.run_keeping(false)
    }

    /// The same, and the outcome has every transition.
    ///
    /// # Errors
    /// The first thing that did not hold.
    pub fn run_told(&self) -> Result<Outcome, Box<Failed>> {
        self.run_keeping(true)
    }

    fn run_keeping(&self, keep: bool) -> Result<Outcome, Box<Failed>> {
        let mut world = self.world(keep);
        match self.drive(&mut world) {
            Ok(()) => Ok(world.outcome()),
            // Once more with everything kept: a failure is shown with what was told before it.
            Err(_) if !keep => self.run_keeping(true),
            Err(what) => {
                let outcome = world.outcome();
                let from = outcome.transitions.len().saturating_sub(SHOWN);
                let told = told(&outcome.transitions[from..]);
                Err(Box::new(Failed {
                    name: self.name.clone(),
                    seed: self.seed,
                    after: outcome.length,
                    what,
                    told,
                }))
            }
        }
    }

    fn world(&self, keep: bool) -> World {
        World::new(Setup {
            seed: self.seed,
            length: Duration::from_secs(self.seconds),
            packets: self.packets.max(1),
            record: self.record,
            keep,
            steady: self.steady.map(|(server, millis)| (server, Duration::from_millis(millis))),
            faults: self.faults.clone(),
        })
    }

    fn drive(&self, world: &mut World) -> Result<(), Broken> {
        let mut second = 0;
        world.run(|world| {
            let now = second;
            second += 1;
            self.expect.iter().filter(|one| one.at == Some(now)).try_for_each(|one| one.check(world))
        })?;
        self.expect.iter().filter(|one| one.at.is_none()).try_for_each(|one| one.check(world))
    }

    /// Leaves out every fault that the failure does not need.
    #[must_use]
    pub fn shrunk(&self) -> Self {
        let kind = |scenario: &Self| -> Option<String> {
            let what = scenario.drive(&mut scenario.world(false)).err()?;
            Some(what.chars().filter(|c| !c.is_ascii_digit()).collect())
        };
        let mut least = self.clone();
        let wanted = kind(&least);
        let mut at = 0;
        while at < least.faults.len() {
            let mut fewer = least.clone();
            fewer.faults.remove(at);
            if kind(&fewer) == wanted {
                least = fewer;
            } else {
                at += 1;
            }
        }
        least
    }
}

impl Expectation {
    fn check(&self, world: &World) -> Result<(), Broken> {
        let name = &self.mount;
        let ward =
            world.wards.iter().find(|ward| ward.name == *name).ok_or_else(|| format!("no mount {name}"))?;
        let report = world.reports().into_iter().find(|(other, _)| other == name).map(|(_, report)| report);
        let state = report.as_ref().map(|report| report.state);
        if !self.is.is_empty() && !state.is_some_and(|state| self.is.contains(&state)) {
            return Err(format!("{name}: is {state:?}, expected {:?}", self.is));
        }
        let differs = |what: &str, is: String, wanted: String| {
            Err(format!("{name}: {what} is {is}, expected {wanted}"))
        };
        match (self.accepted, self.alarms, self.skipped, &self.title) {
            (Some(wanted), ..) if wanted != ward.accepted => {
                differs("accepted", ward.accepted.to_string(), wanted.to_string())
            }
            (_, Some(wanted), ..) if wanted != ward.alarms_ever => {
                differs("alarms", ward.alarms_ever.to_string(), wanted.to_string())
            }
            (_, _, Some(wanted), _) if wanted != (ward.skips > 0) => {
                differs("skips", ward.skips.to_string(), wanted.to_string())
            }
            (_, _, _, Some(wanted)) => {
                let title = report.and_then(|report| report.title);
                if title.as_ref() == Some(wanted) {
                    Ok(())
                } else {
                    differs("title", format!("{title:?}"), wanted.clone())
                }
            }
            (Some(_) | None, Some(_) | None, Some(_) | None, None) => Ok(()),
        }
    }
}

/// Transitions as lines.
pub(crate) fn told(transitions: &[(units::Instant, delivery::event::Transition)]) -> String {
    let mut text = String::new();
    for (at, said) in transitions {
        let alarm = if said.alarm { " ALARM" } else { "" };
        let (from, to) = (said.from.word(), said.to.word());
        let _ = writeln!(text, "{at} {} {from} -> {to}{alarm}: {}", said.mount, said.why);
    }
    text
}
