//! A wrong password is named, and no password is ever shown.

use anyhow::{Result, ensure};
use mainstay_e2e::daemon::Daemon;
use mainstay_e2e::icecast::{Headend, SOURCE_PASSWORD};
use mainstay_e2e::settings::{Output, Settings};
use units::snapshot::{MountState, Role};

use crate::stage::{SOON, metronome};

#[test]
fn a_wrong_password_is_refused_named_and_never_shown() -> Result<()> {
    const WRONG: &str = "Tr0ub4dor-und-3";
    let server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let mut settings = Settings::new(input, Output::live(&server));
    settings.outputs[0].mounts[0].1 = settings.outputs[0].mounts[0].1.clone().password(WRONG);
    let daemon = Daemon::start(&settings)?;
    let refused = daemon.wait_for_state("main", Role::Primary, &[MountState::Refused], SOON)?;
    let remedy = refused.remedy.unwrap_or_default();
    ensure!(remedy.to_lowercase().contains("password"), "{remedy}");
    daemon.wait_for_state("main", Role::Fallback, &[MountState::Verified], SOON)?;

    let pid = daemon.process().pid();
    let outputs = [
        ("the log", daemon.log()),
        ("the status", serde_json::to_string(&daemon.status()?)?),
        ("the log over the socket", String::from_utf8_lossy(&daemon.cli(&["log"])?.stdout).into_owned()),
        ("the table", String::from_utf8_lossy(&daemon.cli(&["status"])?.stdout).into_owned()),
        ("the events", format!("{:?}", daemon.ask(units::snapshot::Command::Events)?)),
        (
            "the arguments",
            String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline"))?).into_owned(),
        ),
        (
            "the environment",
            String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/environ"))?).into_owned(),
        ),
    ];
    for (place, text) in &outputs {
        // Basic authentication would show them in base64.
        for secret in [WRONG, SOURCE_PASSWORD, "c291cmNlOl", "VHIwdWI0ZG9yLXVuZC0z"] {
            ensure!(!text.contains(secret), "{place} shows {secret}");
        }
    }
    ensure!(outputs[0].1.contains("assword"), "the log does not say what is wrong: {}", outputs[0].1);

    // Put right and reloaded, it goes on air at once.
    settings.outputs[0].mounts[0].1 = settings.outputs[0].mounts[0].1.clone().password(SOURCE_PASSWORD);
    daemon.rewrite(&settings)?;
    let done = daemon.cli(&["reload"])?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    daemon.wait_for_state("main", Role::Primary, &[MountState::Verified], SOON)?;
    let fallback = daemon.mount("main", Role::Fallback)?;
    ensure!(fallback.accepted == 1, "{fallback:?}");
    Ok(())
}
