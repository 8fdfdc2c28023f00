//! A visitor of a station's page: Debian's Chromium with `tests/browser/player.html`. It has no loudspeaker; it plays at the
//! programme's pace and says so when its buffer is empty.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tempfile::TempDir;

use crate::process::Process;
use crate::wait;

/// A browser that plays one mount; ends with its value.
pub struct Visitor {
    process: Process,
    folder: TempDir,
}

/// What the page said at one moment; seconds and counts since it was opened.
#[derive(Clone, Debug, Deserialize)]
pub struct Look {
    /// Something was heard.
    pub begun: bool,
    /// The clock of the `audio` element, in seconds.
    pub at: f64,
    /// Seconds of sound that it has ready (`buffered`). What it has read beyond that does not show: it may play for longer.
    pub held: f64,
    /// How often it ran dry (the event `waiting`).
    pub waiting: u32,
    /// How often it noticed for itself that the network brings nothing (`stalled`, after 3 s).
    pub stalled: u32,
    /// Seconds that its clock stood still.
    pub still: f64,
    /// Why it does not play any more.
    pub end: Option<String>,
}

impl Visitor {
    /// Opens a mount and waits until it plays, for so long at most.
    ///
    /// # Errors
    /// Chromium is not installed, or does not play.
    pub fn open(url: &str, most: Duration) -> Result<Self> {
        let visitor = Self::start(url)?;
        visitor.wait_until_it_plays(most)?;
        Ok(visitor)
    }

    /// Opens a mount.
    ///
    /// # Errors
    /// Chromium is not installed.
    pub fn start(url: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mainstay-browser-").tempdir()?;
        let home = folder.path();
        let page = crate::repository().join("tests/browser/player.html");
        let mut command = Command::new("chromium");
        command
            .args(CHROMIUM)
            .arg(format!("--user-data-dir={}", home.join("profile").display()))
            .arg(format!("file://{}#{url}", page.display()))
            .env("HOME", home);
        let process = Process::start("chromium", &mut command, &home.join("chromium.log"))?;
        Ok(Self { process, folder })
    }

    /// Waits until something is heard, for so long at most.
    ///
    /// # Errors
    /// Nothing is.
    pub fn wait_until_it_plays(&self, most: Duration) -> Result<()> {
        wait::until("Chromium plays", most, || match self.look() {
            Some(look) if look.begun && look.at > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .with_context(|| self.process.log())
    }

    /// What the page said last; `None` before its first word.
    #[must_use]
    pub fn look(&self) -> Option<Look> {
        newest(&self.process.log())
    }

    /// How the browser itself ended, if it did.
    ///
    /// # Errors
    /// The system does not say.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.process.ended()
    }

    /// A folder that lives as long.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// The newest report in what Chromium wrote to its log: `[...:INFO:CONSOLE:23] "player {...}", source: file:///... (23)`.
fn newest(log: &str) -> Option<Look> {
    log.lines().rev().filter_map(|line| line.split_once(MARK)).find_map(|(_, rest)| {
        let (inner, _) = rest.rsplit_once("}\", source: ")?;
        serde_json::from_str(&format!("{{{inner}}}")).ok()
    })
}

/// What the page writes before each report.
const MARK: &str = "\"player {";

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
    fn the_newest_whole_report_counts() {
        let line = |at: f64, end: &str| {
            format!(
                "[1:1:1120/151051.465:INFO:CONSOLE:23] \"player {{\"what\":\"look\",\"now\":11.8,\"at\":{at},\"held\":1.5,\
                 \"begun\":true,\"waiting\":2,\"stalled\":0,\"still\":0.5,\"end\":{end}}}\", source: file:///x.html (23)\n"
            )
        };
        let log = line(2.0, "null")
            + &line(9.0, "\"an \\\"error\\\"\"")
            + "[1:1:ERROR] something else\n\"player {cut sho";
        let look = newest(&log).unwrap();
        assert!(look.begun && look.waiting == 2 && (look.at - 9.0).abs() < 1e-9);
        assert_eq!(look.end.as_deref(), Some("an \"error\""));
        assert!(newest("no word of it").is_none());
    }
}
