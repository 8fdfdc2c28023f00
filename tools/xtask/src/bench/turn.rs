//! One turn of one contender on the machine: start, settle, measure, end.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use e2e::settings::{Mount, Output};
use e2e::wait;
use serde::Serialize;
use units::Codec;

use super::clock;
use super::contender::{Contender, Running, Stage};
use super::cpu::{Account, Memory, Use};
use super::latency::Programme;
use super::listener::Listener;
use crate::interrupt::Interrupt;

/// From the first sound to the beginning of the measured time: by then the burst is heard and the mount is verified.
const SETTLE: Duration = Duration::from_secs(4);
/// How long anybody may take to be heard.
const START: Duration = Duration::from_secs(30);

/// What one turn showed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turn {
    /// CPU seconds for an hour.
    pub(super) cpu_per_hour: f64,
    /// Wake-ups per second.
    pub(super) wakeups: f64,
    /// KiB.
    pub(super) resident: f64,
    /// KiB.
    pub(super) proportional: f64,
    /// Seconds from its execution to a listener's first byte of sound.
    pub(super) start: Option<f64>,
    /// Ages of the clicks at their arrival, in milliseconds.
    pub(super) ages: Vec<f64>,
}

/// How the measuring is done.
pub(super) struct Watch<'a> {
    pub(super) span: Duration,
    pub(super) interrupt: &'a Interrupt,
}

impl Watch<'_> {
    /// Lets time pass, unless somebody pressed Ctrl-C.
    pub(super) fn pause(&self, span: Duration) -> Result<()> {
        let start = wait::now();
        while let Some(left) = span.checked_sub(start.elapsed()) {
            if self.interrupt.came() {
                bail!("interrupted");
            }
            wait::pause(left.min(Duration::from_millis(100)));
        }
        Ok(())
    }

    /// One turn of a contender.
    pub(super) fn turn(
        &self,
        stage: &Stage,
        contender: Contender,
        programme: &Programme,
        mount: &str,
    ) -> Result<Turn> {
        if !contender.sends() {
            let running = stage.start(contender, mount)?;
            let (used, memory, _) = self.measure(&running)?;
            return Ok(turn(used, memory, None, Vec::new()));
        }
        let listener = Listener::insist(stage.server.port(), mount)?;
        let running = stage.start(contender, mount)?;
        let first = listener
            .first_sound(START)
            .with_context(|| format!("{}:\n{}", contender.name(), running.process.log()))?;
        let (used, memory, window) = self
            .measure(&running)
            .with_context(|| format!("{}:\n{}", contender.name(), running.process.log()))?;
        let start = clock::seconds(first - running.started_ns);
        drop(running);
        let heard = listener.finish()?;
        let ages = programme.ages(&heard, window.0, window.1)?;
        Ok(turn(used, memory, Some(start), ages))
    }

    /// The box with so many mounts of one rendition.
    pub(super) fn mounts(&self, stage: &Stage, count: u32, prefix: &str) -> Result<Turn> {
        let outputs = (0..count)
            .map(|index| {
                let url = stage.server.url(&format!("{prefix}-{index}"));
                Output::alone(&format!("out-{index}"), Mount::icecast(url, Codec::Mp3, 320))
            })
            .collect();
        self.box_with(stage, outputs, &format!("{prefix}-0"))
    }

    /// The box with a primary at 320 kbit/s and its fallback at 192.
    pub(super) fn pair(&self, stage: &Stage, prefix: &str) -> Result<Turn> {
        let (primary, fallback) = (format!("{prefix}-live"), format!("{prefix}-fallback"));
        let pair = Output::pair(
            "main",
            Mount::icecast(stage.server.url(&primary), Codec::Mp3, 320),
            Mount::icecast(stage.server.url(&fallback), Codec::Mp3, 192),
        );
        self.box_with(stage, vec![pair], &primary)
    }

    fn box_with(&self, stage: &Stage, outputs: Vec<Output>, shown: &str) -> Result<Turn> {
        let running = stage.start_box(outputs)?;
        stage.server.wait_for_source(shown, START).with_context(|| running.process.log())?;
        let (used, memory, _) = self.measure(&running)?;
        Ok(turn(used, memory, None, Vec::new()))
    }

    fn measure(&self, running: &Running) -> Result<(Use, Memory, (i64, i64))> {
        self.pause(SETTLE)?;
        let pid = running.process.pid();
        let from = clock::now_ns();
        let before = Account::of(pid)?;
        self.pause(self.span)?;
        let after = Account::of(pid)?;
        Ok((before.until(&after), Memory::of(pid)?, (from, clock::now_ns())))
    }
}

fn turn(used: Use, memory: Memory, start: Option<f64>, ages: Vec<f64>) -> Turn {
    Turn {
        cpu_per_hour: used.cpu_per_hour,
        wakeups: used.wakeups,
        resident: memory.resident,
        proportional: memory.proportional,
        start,
        ages,
    }
}
