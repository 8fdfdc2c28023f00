//! Running children and adding up what they report.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// Checks that passed and failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs the checks of one floor.
#[derive(Debug, Default)]
pub(super) struct Runner {
    tally: Tally,
}

impl Runner {
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// One check of our own passed.
    pub(super) fn passed(&mut self, what: &str) {
        println!("ok   {what}");
        self.tally.passed += 1;
    }

    /// One check of our own failed; `why` may be several lines.
    pub(super) fn failed(&mut self, why: &str) {
        println!("FAIL {why}");
        self.tally.failed += 1;
    }

    /// Runs a child with its output passing through, and adds up the closing lines it prints. A child that fails without
    /// reporting a failed check (it did not build, it crashed) counts as one failure; so does one that reports nothing.
    pub(super) fn child(&mut self, command: &mut Command) -> Result<()> {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("running {name}"))?;
        let output = BufReader::new(child.stdout.take().context("the child's output")?);
        let reported = relay(output, std::io::stdout())?;
        let status = child.wait()?;
        self.tally += reported;
        if let Some(why) = unreported(status.success(), reported) {
            self.failed(&format!("{name} {why} ({status})"));
        }
        Ok(())
    }

    /// Runs a child that is one check: passed if it succeeds.
    pub(super) fn check(&mut self, what: &str, command: &mut Command) -> Result<()> {
        let status = command.stdin(Stdio::null()).status().with_context(|| format!("running {what}"))?;
        if status.success() {
            self.passed(what)
        } else {
            self.failed(&format!("{what} ended with {status}"))
        }
        Ok(())
    }
}

/// Passes a child's output on, line by line, and adds up its closing lines.
fn relay(mut from: impl BufRead, mut to: impl Write) -> Result<Tally> {
    let mut reported = Tally::default();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        if let Some(closing) = closing_line(&String::from_utf8_lossy(&line)) {
            reported += closing;
        }
        line.clear();
    }
    to.flush()?;
    Ok(reported)
}

/// What went wrong that the closing lines do not say.
fn unreported(success: bool, reported: Tally) -> Option<&'static str> {
    match (success, reported) {
        (false, Tally { failed: 0, .. }) => Some("failed without a failed check"),
        (true, Tally { passed: 0, failed: 0 }) => Some("tested nothing"),
        (true | false, _) => None,
    }
}

/// `test result: ok. 12 passed; 0 failed; ...` as libtest prints it, or `12 passed, 0 failed` as our scripts do.
fn closing_line(line: &str) -> Option<Tally> {
    let line = line.trim();
    let counts = match line.strip_prefix("test result: ") {
        Some(rest) => rest.split_once(". ")?.1,
        None => line,
    };
    let (passed, rest) = counts.split_once(" passed")?;
    let (failed, _) = rest.strip_prefix([';', ','])?.trim_start().split_once(" failed")?;
    Some(Tally { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_told_from_others() {
        let libtest = "test result: FAILED. 8 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.2s\n";
        assert_eq!(closing_line(libtest), Some(Tally { passed: 8, failed: 1 }));
        assert_eq!(closing_line("14 passed, 0 failed\n"), Some(Tally { passed: 14, failed: 0 }));
        for other in [
            "test a ... ok",
            "== sim: 3 passed, 0 failed in 2 s",
            "passed, failed",
            "",
            "many passed, 0 failed",
        ] {
            assert_eq!(closing_line(other), None, "{other}");
        }
    }

    #[test]
    fn a_childs_output_passes_through_and_is_added_up() {
        let said = "building\ntest result: ok. 3 passed; 0 failed; 0 ignored\nmore\n1 passed, 2 failed";
        let mut seen = Vec::new();
        assert_eq!(relay(said.as_bytes(), &mut seen).unwrap(), Tally { passed: 4, failed: 2 });
        assert_eq!(seen, said.as_bytes());
    }

    #[test]
    fn a_child_that_says_nothing_is_no_success() {
        assert!(unreported(true, Tally::default()).is_some());
        assert!(unreported(false, Tally { passed: 3, failed: 0 }).is_some());
        assert!(unreported(false, Tally { passed: 3, failed: 1 }).is_none());
        assert!(unreported(true, Tally { passed: 3, failed: 0 }).is_none());
    }
}
