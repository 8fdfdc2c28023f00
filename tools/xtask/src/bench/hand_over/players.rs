//! Real players on a mount: mpv, and Debian's Chromium with the page `tests/browser/player.html`. Neither has a loudspeaker;
//! both play at the programme's pace and say so when their buffer is empty.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use e2e::browser::{Look, Visitor};
use e2e::process::Process;
use serde::Serialize;

/// What mpv did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Mpv {
    /// How often it stopped to fill its buffer.
    pub(super) stalls: usize,
    /// Seconds it waited in all, as far as it came to an end.
    pub(super) waited: f64,
    /// Whether it played to the end of the run.
    pub(super) kept: bool,
}

/// What Chromium did.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Chromium {
    /// How often it ran dry (the event `waiting`) after the fault.
    pub(super) stalls: u32,
    /// The same before the fault: the machine's, not the network's.
    pub(super) stalls_before: u32,
    /// How often it noticed for itself that the network brings nothing (`stalled`, after 3 s), after the fault.
    pub(super) starved: u32,
    /// Seconds after the fault that its clock stood still.
    pub(super) waited: f64,
    /// Seconds of sound it had ready when the fault came, and at the end (`buffered`). What it has read beyond that does not
    /// show: it may play for longer.
    pub(super) held_before: f64,
    pub(super) held_after: f64,
    /// Seconds of sound played from the fault to the end.
    pub(super) played: f64,
    /// Why it does not play any more; `None` if it played to the end of the run.
    pub(super) end: Option<String>,
}

/// Both, in one folder.
pub(super) struct Players {
    mpv: Process,
    chromium: Visitor,
}

/// How long Chromium may take until it plays: with many lanes, and a mount that gives its burst at once.
const START: Duration = Duration::from_secs(40);
impl Players {
    /// Opens the mount in both, and waits until Chromium plays.
    ///
    /// # Errors
    /// One of them is not installed, or Chromium does not play.
    pub(super) fn start(url: &str) -> Result<Self> {
        let chromium = Visitor::start(url)?;
        let home = chromium.folder();
        let mut command = Command::new("mpv");
        command.args(MPV).arg(url).env("HOME", home);
        let mpv = Process::start("mpv", &mut command, &home.join("mpv.log"))?;
        chromium.wait_until_it_plays(START)?;
        Ok(Self { mpv, chromium })
    }

    /// What the page said last; `None` before its first word.
    pub(super) fn look(&self) -> Option<Look> {
        self.chromium.look()
    }

    /// What became of both since `before`, a look taken when the fault came.
    ///
    /// # Errors
    /// mpv's log cannot be read.
    pub(super) fn finish(mut self, before: Option<&Look>) -> Result<(Mpv, Chromium)> {
        let gone = self.chromium.ended()?.map(|status| format!("Chromium ended with {status}"));
        let chromium = match (before, self.look()) {
            (Some(before), Some(after)) => Chromium::between(before, &after, gone),
            (None, _) | (_, None) => {
                Chromium { end: Some("it said nothing".to_owned()), ..Chromium::default() }
            }
        };
        let kept = self.mpv.ended()?.is_none();
        let log = std::fs::read(self.chromium.folder().join("mpv.log"))?;
        Ok((Mpv::read(&String::from_utf8_lossy(&log), kept), chromium))
    }
}

impl Mpv {
    /// `Enter buffering (buffer went from 100% -> 0%) [0.0s].` and `End buffering (waited 1.3 secs) [1.0s].`
    fn read(log: &str, kept: bool) -> Self {
        let waited = log
            .lines()
            .filter_map(|line| line.split_once("End buffering (waited "))
            .filter_map(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok())
            .fold(0.0, |sum, seconds| sum + seconds);
        Self { stalls: log.matches("Enter buffering").count(), waited, kept }
    }
}

impl Chromium {
    fn between(before: &Look, after: &Look, gone: Option<String>) -> Self {
        Self {
            stalls: after.waiting.saturating_sub(before.waiting),
            stalls_before: before.waiting,
            starved: after.stalled.saturating_sub(before.stalled),
            waited: (after.still - before.still).max(0.0),
            held_before: before.held,
            held_after: after.held,
            played: after.at - before.at,
            end: gone.or_else(|| after.end.clone()),
        }
    }
}

const MPV: [&str; 6] =
    ["--no-config", "--ytdl=no", "--video=no", "--ao=null", "--term-status-msg=", "--msg-level=all=v"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_are_those_after_the_fault() {
        let look = |waiting, at, still, end: Option<&str>| Look {
            begun: true,
            at,
            held: 1.5,
            waiting,
            stalled: 0,
            still,
            end: end.map(str::to_owned),
        };
        let made = Chromium::between(&look(1, 2.0, 0.5, None), &look(3, 9.0, 3.5, Some("an error")), None);
        assert_eq!((made.stalls, made.stalls_before), (2, 1));
        assert!((made.waited - 3.0).abs() < 1e-9 && (made.played - 7.0).abs() < 1e-9);
        assert_eq!(made.end.as_deref(), Some("an error"));
    }

    #[test]
    fn mpv_says_how_long_it_waited() {
        let log = "[cplayer] Enter buffering (buffer went from 100% -> 0%) [0.0s].\n\
                   [cplayer] End buffering (waited 1.3 secs) [1.0s].\n[cplayer] Enter buffering (buffer went from 9% -> 0%) [0.0s].\n";
        let made = Mpv::read(log, true);
        assert_eq!(made.stalls, 2);
        assert!((made.waited - 1.3).abs() < 1e-9);
    }
}
