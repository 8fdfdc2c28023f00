//! Debian packages a command needs: tools/install knows the lists and installs only what is missing.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Has the packages of a purpose installed: `build`, `demo`, `e2e`.
pub(crate) fn install(purpose: &str) -> Result<()> {
    let script = e2e::repository().join("tools/install");
    let status = Command::new(&script).arg(purpose).status().context("running tools/install")?;
    ensure!(status.success(), "tools/install {purpose} ended with {status}");
    Ok(())
}
