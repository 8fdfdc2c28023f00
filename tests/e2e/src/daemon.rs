//! `mainstay-air` as a child, asked over its own socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use units::snapshot::{self, MountReport, MountState, Reply, Request, Role, Snapshot};

use crate::process::Process;
use crate::settings::{Input, Settings};
use crate::{Build, program, wait};

/// How long the box may take to answer on its socket.
const ANSWER: Duration = Duration::from_secs(5);

/// A running box. Dropping it ends the daemon and deletes its folder.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    build: Build,
    // Last: the daemon ends before its folder goes.
    folder: TempDir,
}

impl Daemon {
    /// Starts the debug build.
    ///
    /// # Errors
    /// It is not built, or does not come up: with its log.
    pub fn start(settings: &Settings) -> Result<Self> {
        Self::start_build(Build::Debug, settings)
    }

    /// Starts one of the two builds and waits until its socket answers.
    ///
    /// # Errors
    /// It is not built, or does not come up: with its log.
    pub fn start_build(build: Build, settings: &Settings) -> Result<Self> {
        Self::spawn(build, settings)?.once_it_answers()
    }

    /// Starts it in a folder that holds its settings already (those of `settings`, and whatever was added by hand), and waits
    /// until its socket answers.
    ///
    /// # Errors
    /// It is not built, or does not come up: with its log.
    pub fn start_in(build: Build, settings: &Settings, folder: TempDir) -> Result<Self> {
        Self::spawn_in(build, settings, folder)?.once_it_answers()
    }

    fn once_it_answers(mut self) -> Result<Self> {
        let answered = wait::until("the box answers on its socket", Duration::from_secs(20), || {
            if let Ok(Some(status)) = self.process.ended() {
                return Ok(Err(format!("it ended with {status}")));
            }
            self.status().map(|_| Ok(())).map_err(|error| format!("{error:#}"))
        });
        match answered {
            Ok(Ok(())) => Ok(self),
            Ok(Err(ended)) => bail!("mainstay-air: {ended}\n{}", self.log()),
            Err(error) => Err(error.context(self.log())),
        }
    }

    /// Starts it without waiting for anything.
    ///
    /// # Errors
    /// It is not built.
    pub fn spawn(build: Build, settings: &Settings) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mainstay-box-").tempdir()?;
        settings.write(folder.path())?;
        Self::spawn_in(build, settings, folder)
    }

    fn spawn_in(build: Build, settings: &Settings, folder: TempDir) -> Result<Self> {
        let mut command = Command::new(program(build, "mainstay-air")?);
        command.arg("--config").arg(folder.path().join("mainstay.toml"));
        if let Input::Card { asoundrc, .. } = &settings.input {
            command.env("ALSA_CONFIG_PATH", asoundrc);
        }
        let process = Process::start("mainstay-air", &mut command, &folder.path().join("log"))?;
        Ok(Self { process, build, folder })
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its folder: settings, secrets, socket, state, log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("air.sock")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        format!("mainstay-air log:\n{}", self.process.log())
    }

    /// Sends one request over the socket.
    ///
    /// # Errors
    /// No answer in time, or one that is no [`Reply`].
    pub fn ask(&self, command: snapshot::Command) -> Result<Reply> {
        let mut stream = UnixStream::connect(self.socket()).context("connecting to the box's socket")?;
        stream.set_read_timeout(Some(ANSWER))?;
        let request = Request { protocol: snapshot::PROTOCOL, command };
        writeln!(stream, "{}", serde_json::to_string(&request)?)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).context("waiting for the box's answer")?;
        serde_json::from_str(&line).with_context(|| format!("the box answered {line:?}"))
    }

    /// How it stands.
    ///
    /// # Errors
    /// The socket does not answer.
    pub fn status(&self) -> Result<Snapshot> {
        match self.ask(snapshot::Command::Status)? {
            Reply::Snapshot(snapshot) => Ok(*snapshot),
            other @ (Reply::Done { .. }
            | Reply::Log { .. }
            | Reply::Events { .. }
            | Reply::Incidents { .. }
            | Reply::Recordings { .. }
            | Reply::Cut(_)
            | Reply::Drill(_)
            | Reply::Surveying { .. }
            | Reply::Surveyed(_)
            | Reply::Refused { .. }) => {
                bail!("the box answered a request for its status with {other:?}")
            }
        }
    }

    /// One mount of an output.
    ///
    /// # Errors
    /// The socket does not answer, or there is no such mount.
    pub fn mount(&self, output: &str, role: Role) -> Result<MountReport> {
        mount(&self.status()?, output, role).cloned()
    }

    /// Waits until the status is as wished, and gives that status.
    ///
    /// # Errors
    /// It is not so within `limit`: with the last status in short, and the log.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        mut wished: impl FnMut(&Snapshot) -> bool,
    ) -> Result<Snapshot> {
        wait::until(what, limit, || match self.status() {
            Ok(status) if wished(&status) => Ok(status),
            Ok(status) => Err(in_short(&status)),
            Err(error) => Err(format!("{error:#}")),
        })
        .with_context(|| self.log())
    }

    /// Waits until every mount is verified.
    ///
    /// # Errors
    /// They are not within `limit`.
    pub fn wait_until_verified(&self, limit: Duration) -> Result<Snapshot> {
        self.wait_for("every mount is verified", limit, |status| {
            mounts(status).all(|mount| mount.state == MountState::Verified)
        })
    }

    /// Waits until one mount is in one of `states`, and gives its report.
    ///
    /// # Errors
    /// It is not within `limit`.
    pub fn wait_for_state(
        &self,
        output: &str,
        role: Role,
        states: &[MountState],
        limit: Duration,
    ) -> Result<MountReport> {
        let words: Vec<_> = states.iter().map(|state| state.word()).collect();
        let status =
            self.wait_for(&format!("the {role} of {output} is {}", words.join(" or ")), limit, |status| {
                mount(status, output, role).is_ok_and(|mount| states.contains(&mount.state))
            })?;
        mount(&status, output, role).cloned()
    }

    /// Replaces the settings on disk, without telling the daemon.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn rewrite(&self, settings: &Settings) -> Result<()> {
        settings.write(self.folder()).map(drop)
    }

    /// Runs the CLI against this box.
    ///
    /// # Errors
    /// It is not built.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(program(self.build, "mainstay")?);
        command.arg("--socket").arg(self.socket()).args(arguments);
        command.output().context("running the CLI")
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// It had to be killed, or cannot be waited for.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait(Duration::from_secs(10));
        status.with_context(|| self.log())
    }
}

/// All mounts of a status.
pub fn mounts(status: &Snapshot) -> impl Iterator<Item = &MountReport> {
    status.outputs.iter().flat_map(|output| &output.mounts)
}

/// One mount of a status.
///
/// # Errors
/// There is no such mount.
pub fn mount<'a>(status: &'a Snapshot, output: &str, role: Role) -> Result<&'a MountReport> {
    status
        .outputs
        .iter()
        .find(|candidate| candidate.name == output)
        .and_then(|output| output.mounts.iter().find(|mount| mount.role == role))
        .with_context(|| format!("the status has no {role} of {output}: {}", in_short(status)))
}

/// A status in a few lines, for the messages of failed waits.
#[must_use]
pub fn in_short(status: &Snapshot) -> String {
    let mut text = format!(
        "input {:?}, {} frames, {} gaps of {} frames",
        status.input.state, status.input.frames.0, status.input.gaps, status.input.gap_frames.0
    );
    for output in &status.outputs {
        for mount in &output.mounts {
            text += &format!(
                "\n  {} {}: {}, accepted {}, failures {}, acked {}, written {}, lag {} ms, server {:?}, title {:?}, remedy {:?}",
                output.name,
                mount.role,
                mount.state.word(),
                mount.accepted,
                mount.failures,
                mount.acked,
                mount.written,
                mount.lag_ms,
                mount.server,
                mount.title,
                mount.remedy
            );
        }
    }
    text
}
