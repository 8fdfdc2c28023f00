//! Liquidsoap's harbor on loopback: a server that decodes what it is sent.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::icecast::SOURCE_PASSWORD;
use crate::process::Process;
use crate::xml::fill;
use crate::{ports, repository, wait};

const SCRIPT: &str = include_str!("../../../tools/headend/harbor.liq.in");

/// A running harbor. Dropping it ends liquidsoap and deletes its folder.
#[derive(Debug)]
pub struct Harbor {
    process: Option<Process>,
    port: u16,
    // Last: the server ends before its folder goes.
    folder: TempDir,
}

impl Harbor {
    /// Starts liquidsoap with one harbor mount, `/live`, on loopback, and waits until its port is open.
    ///
    /// # Errors
    /// It is not installed, or does not come up: with its log.
    pub fn start() -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    /// The same at another address: all of a network namespace of its own, as a rule.
    ///
    /// # Errors
    /// It is not installed, or does not come up: with its log.
    pub fn start_at(bind: Ipv4Addr) -> Result<Self> {
        // The second port of the pair is the harbor's ICY variant.
        let port = ports::free(2)?;
        let folder = tempfile::Builder::new().prefix("mainstay-harbor-").tempdir()?;
        let mut harbor = Self { process: None, port, folder };
        let text = fill(
            SCRIPT,
            &[
                ("MOUNT", "live"),
                ("PORT", &port.to_string()),
                ("PASSWORD", SOURCE_PASSWORD),
                ("FILE", &harbor.sound().display().to_string()),
            ],
        );
        std::fs::write(harbor.script(), text.replace("127.0.0.1", &bind.to_string()))?;
        harbor.start_again()?;
        Ok(harbor)
    }

    /// Starts it with the same settings once it was killed; what it decoded before is overwritten.
    ///
    /// # Errors
    /// It does not come up: with its log.
    pub fn start_again(&mut self) -> Result<()> {
        let mut command = Command::new(repository().join("tools/lab/unprivileged"));
        command.arg("liquidsoap").arg(self.script()).env("HOME", self.folder.path());
        self.process = Some(Process::start("liquidsoap", &mut command, &self.folder.path().join("log"))?);
        // Its cold start compiles the script's library.
        wait::until("liquidsoap opens its harbor", Duration::from_secs(60), || {
            std::net::TcpStream::connect(("127.0.0.1", self.port))
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .with_context(|| self.log())
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn script(&self) -> PathBuf {
        self.folder.path().join("harbor.liq")
    }

    /// Address of its mount.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/live", self.port)
    }

    /// What it printed; a line `title: ...` for each title it got.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The WAV file it decodes into.
    #[must_use]
    pub fn sound(&self) -> PathBuf {
        self.folder.path().join("heard.wav")
    }
}
