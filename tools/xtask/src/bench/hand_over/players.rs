//! Real players on a mount: mpv, and Debian's Chromium with the page `tests/browser/player.html`. Neither has a loudspeaker;
//! both play at the programme's pace and say so when their buffer is empty.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::process::Process;
use e2e::wait;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

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

/// Both, each with a folder of its own.
pub(super) struct Players {
    mpv: Process,
    chromium: Process,
    folder: TempDir,
}

/// What the page said at one moment; seconds and counts since it was opened.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Look {
    begun: bool,
    at: f64,
    held: f64,
    waiting: u32,
    stalled: u32,
    still: f64,
    end: Option<String>,
}

/// How long Chromium may take until it plays: with many lanes, and a mount that gives its burst at once.
const START: Duration = Duration::from_secs(40);
/// What the page writes before each report.
const MARK: &str = "\"player {";

impl Players {
    /// Opens the mount in both, and waits until Chromium plays.
    ///
    /// # Errors
    /// One of them is not installed, or Chromium does not play.
    pub(super) fn start(url: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mainstay-players-").tempdir()?;
        let home = folder.path();
        let page = e2e::repository().join("tests/browser/player.html");
        let mut command = Command::new("chromium");
        command
            .args(CHROMIUM)
            .arg(format!("--user-data-dir={}", home.join("profile").display()))
            .arg(format!("file://{}#{url}", page.display()))
            .env("HOME", home);
        let chromium = Process::start("chromium", &mut command, &home.join("chromium.log"))?;
        let mut command = Command::new("mpv");
        command.args(MPV).arg(url).env("HOME", home);
        let mpv = Process::start("mpv", &mut command, &home.join("mpv.log"))?;
        let players = Self { mpv, chromium, folder };
        wait::until("Chromium plays", START, || match players.look() {
            Some(look) if look.begun && look.at > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .with_context(|| players.chromium.log())?;
        Ok(players)
    }

    /// What the page said last; `None` before its first word.
    pub(super) fn look(&self) -> Option<Look> {
        newest(&self.chromium.log())
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
        let log = std::fs::read(self.folder.path().join("mpv.log"))?;
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

/// The newest report in what Chromium wrote to its log: `[...:INFO:CONSOLE:23] "player {...}", source: file:///... (23)`.
fn newest(log: &str) -> Option<Look> {
    log.lines().rev().filter_map(|line| line.split_once(MARK)).find_map(|(_, rest)| {
        let (inner, _) = rest.rsplit_once("}\", source: ")?;
        serde_json::from_str(&format!("{{{inner}}}")).ok()
    })
}

const MPV: [&str; 6] =
    ["--no-config", "--ytdl=no", "--video=no", "--ao=null", "--term-status-msg=", "--msg-level=all=v"];

/// As a visitor of a station's page has it, less what would look for a screen, a sound card or the internet. Its sandbox
/// needs rights that root in a container does not have; the page is ours.
const CHROMIUM: [&str; 17] = [
    "--headless",
    "--no-sandbox",
    // Fewer processes: many of these run at once.
    "--no-zygote",
    "--in-process-gpu",
    "--disable-features=AudioServiceOutOfProcess,Translate,MediaRouter,OptimizationHints",
    "--disable-dev-shm-usage",
    "--disable-audio-output",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--enable-logging=stderr",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--no-first-run",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_report_counts_and_stalls_are_those_after_the_fault() {
        let line = |waiting: u32, at: f64, still: f64, end: &str| {
            format!(
                "[1:1:1120/151051.465:INFO:CONSOLE:23] \"player {{\"what\":\"look\",\"now\":11.8,\"at\":{at},\"held\":1.5,\
                 \"begun\":true,\"waiting\":{waiting},\"stalled\":0,\"still\":{still},\"end\":{end}}}\", source: file:///x.html (23)\n"
            )
        };
        let early = line(1, 2.0, 0.5, "null");
        let before = newest(&early).unwrap();
        let log = early
            + &line(3, 9.0, 3.5, "\"an \\\"error\\\"\"")
            + "[1:1:ERROR] something else\n\"player {cut sho";
        let after = newest(&log).unwrap();
        let made = Chromium::between(&before, &after, None);
        assert_eq!((made.stalls, made.stalls_before), (2, 1));
        assert!((made.waited - 3.0).abs() < 1e-9 && (made.played - 7.0).abs() < 1e-9);
        assert_eq!(made.end.as_deref(), Some("an \"error\""));
        assert!(newest("no word of it").is_none());
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
