//! A child process that ends with its value, and whose output is kept.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// How long a process may take to end on SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A running child. Dropping it ends it: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output going to the file `log`, after what is already there, and no input.
    ///
    /// # Errors
    /// The program is not installed, or the log cannot be written.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("writing the output of {name} to {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}: {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// The kernel does not know the child.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("asking after {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait::until(&format!("{name} ends"), limit, || match self.ended() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Ends it in order: wakes it if stopped, SIGTERM, SIGKILL after `grace`.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        // SIGTERM first: a stopped process takes both at once when it is woken.
        let asked = self.signal(Signal::SIGTERM).and_then(|()| self.signal(Signal::SIGCONT));
        match asked.and_then(|()| self.wait(grace)) {
            Ok(status) => Ok(status),
            Err(_) => self.kill(),
        }
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop(GRACE) {
            eprintln!("{}: {error:#}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_process_ends_with_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let process = Process::start("sleep", Command::new("sleep").arg("600"), &log).unwrap();
        let pid = Pid::from_raw(process.pid().cast_signed());
        process.signal(Signal::SIGSTOP).unwrap();
        drop(process);
        assert!(kill(pid, None).is_err(), "it still runs");
    }

    #[test]
    fn output_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process =
            Process::start("sh", Command::new("sh").args(["-c", "echo out; echo err >&2"]), &log).unwrap();
        assert!(process.wait(Duration::from_secs(10)).unwrap().success());
        assert!(process.log().contains("out") && process.log().contains("err"));
    }
}
