//! Liquidsoap's harbor on loopback: a server that decodes what it is sent.

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
    process: Process,
    port: u16,
    // Last: the server ends before its folder goes.
    folder: TempDir,
}

impl Harbor {
    /// Starts liquidsoap with one harbor mount, `/live`, and waits until its port is open.
    ///
    /// # Errors
    /// It is not installed, or does not come up: with its log.
    pub fn start() -> Result<Self> {
        // The second port of the pair is the harbor's ICY variant.
        let port = ports::free(2)?;
        let folder = tempfile::Builder::new().prefix("mainstay-harbor-").tempdir()?;
        let script = folder.path().join("harbor.liq");
        let sound = folder.path().join("heard.wav");
        let text = fill(
            SCRIPT,
            &[
                ("MOUNT", "live"),
                ("PORT", &port.to_string()),
                ("PASSWORD", SOURCE_PASSWORD),
                ("FILE", &sound.display().to_string()),
            ],
        );
        std::fs::write(&script, text)?;
        let mut command = Command::new(repository().join("tools/lab/unprivileged"));
        command.arg("liquidsoap").arg(&script).env("HOME", folder.path());
        let process = Process::start("liquidsoap", &mut command, &folder.path().join("log"))?;
        let harbor = Self { process, port, folder };
        // Its cold start compiles the script's library.
        wait::until("liquidsoap opens its harbor", Duration::from_secs(60), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
        })
        .with_context(|| harbor.log())?;
        Ok(harbor)
    }

    /// Address of its mount.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/live", self.port)
    }

    /// What it printed; a line `title: ...` for each title it got.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The WAV file it decodes into.
    #[must_use]
    pub fn sound(&self) -> PathBuf {
        self.folder.path().join("heard.wav")
    }
}
