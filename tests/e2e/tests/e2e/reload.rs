//! A reload leaves alone what did not change; a refused one changes nothing.

use std::path::Path;

use anyhow::{Result, ensure};
use mainstay_e2e::daemon::Daemon;
use mainstay_e2e::icecast::Headend;
use mainstay_e2e::listener::Listener;
use mainstay_e2e::proof::{hear, unbroken};
use mainstay_e2e::settings::{Input, Mount, Output, Settings};
use nix::sys::signal::Signal;
use units::Codec;
use units::snapshot::{MountState, Role};

use crate::stage::{SOON, metronome};

#[test]
fn a_reload_touches_only_what_changed() -> Result<()> {
    let server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let mut settings = Settings::new(input, Output::live(&server));
    let other = Mount::icecast(server.url("/other"), Codec::Mp3, 128);
    settings.outputs.push(Output::alone("other", other.clone()));
    let mut daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    let kept = settings.outputs[0].mounts[0].1.clone();
    let witness = Listener::join(&kept.url)?;

    // One output moves, one is new; --check says beforehand which mounts that interrupts.
    settings.outputs[1] = Output::alone("other", Mount { url: server.url("/moved"), ..other.clone() });
    settings.outputs.push(Output::alone("new", Mount::icecast(server.url("/new"), Codec::AacLc, 96)));
    daemon.rewrite(&settings)?;
    let config = daemon.folder().join("mainstay.toml");
    let check = check(&config)?;
    let said = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    ensure!(check.status.success(), "{said}");
    for line in [
        "main.primary: left alone",
        "main.fallback: left alone",
        "other.primary: interrupted",
        "new.primary: new",
    ] {
        ensure!(said.contains(line), "{line} is not in: {said}");
    }
    let untouched = daemon.status()?;
    ensure!(
        untouched.outputs.len() == 2 && untouched.outputs[1].mounts[0].state.on_air(),
        "a check changed something"
    );
    daemon.process().signal(Signal::SIGHUP)?;
    daemon.wait_for("the new outputs are verified", SOON, |status| {
        status.outputs.len() == 3
            && status
                .outputs
                .iter()
                .all(|output| output.mounts.iter().all(|mount| mount.state == MountState::Verified))
            && status.outputs[1].mounts[0].url.ends_with("/moved")
    })?;
    ensure!(server.source("/other")?.is_none(), "the mount that was left is still fed");

    // Settings that cannot be right are refused whole, and nothing on air changes.
    let before = daemon.status()?;
    let mut wrong = settings.clone();
    wrong.outputs.remove(2);
    wrong.outputs[0].mounts[1].1 = Mount { codec: Codec::AacLc, ..wrong.outputs[0].mounts[1].1.clone() };
    daemon.rewrite(&wrong)?;
    let refused = daemon.cli(&["reload"])?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    ensure!(!refused.status.success() && said.contains("codec"), "{said}");
    // An input that does not start is found out while the old one goes on: the witness would hear the seam.
    let mut deaf = settings.clone();
    deaf.input = Input::File(daemon.folder().join("absent.wav"));
    daemon.rewrite(&deaf)?;
    let refused = daemon.cli(&["reload"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("absent.wav"), "{said}");
    daemon.rewrite(&wrong)?;
    daemon.process().signal(Signal::SIGHUP)?;
    hear(&witness, &kept.rendition(), 8)?;
    let after = daemon.status()?;
    for (was, is) in before.outputs.iter().zip(&after.outputs) {
        for (was, is) in was.mounts.iter().zip(&is.mounts) {
            ensure!(
                was.url == is.url && was.accepted == is.accepted && is.state.on_air(),
                "{was:?} became {is:?}"
            );
        }
    }
    ensure!(before.outputs.len() == after.outputs.len());

    let main = daemon.mount("main", Role::Primary)?;
    ensure!((main.accepted, main.failures) == (1, 0), "{main:?}");
    unbroken(&witness, &kept.rendition())?;
    ensure!(daemon.end()?.success(), "{}", daemon.log());
    Ok(())
}

/// `mainstay-air --check` on a settings file.
fn check(config: &Path) -> Result<std::process::Output> {
    let air = mainstay_e2e::program(mainstay_e2e::Build::Debug, "mainstay-air")?;
    Ok(std::process::Command::new(air).arg("--check").arg("--config").arg(config).output()?)
}

#[test]
fn a_check_only_reads() -> Result<()> {
    let server = Headend::default().start()?;
    let (folder, input) = metronome()?;
    let settings = Settings::new(input, Output::live(&server));
    let config = settings.write(folder.path())?;
    let right = check(&config)?;
    ensure!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    ensure!(server.source("/live")?.is_none(), "a check went on air");

    let text = std::fs::read_to_string(&config)?.replace("320 kbit/s", "321 kbit/s");
    std::fs::write(&config, text)?;
    let wrong = check(&config)?;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned() + &String::from_utf8_lossy(&wrong.stdout);
    ensure!(!wrong.status.success(), "321 kbit/s passed: {said}");
    ensure!(said.contains("mainstay.toml") && said.contains("bitrate") && said.contains("320"), "{said}");
    Ok(())
}
