//! Titles reach the listeners of every mount, again after each reconnect, from CLI and file.

use anyhow::{Result, ensure};
use mainstay_e2e::daemon::Daemon;
use mainstay_e2e::icecast::{Headend, Icecast};
use mainstay_e2e::listener::Listener;
use mainstay_e2e::settings::{Output, Settings};

use crate::stage::{LATER, SOON, metronome};

fn joined(server: &Icecast) -> Result<[Listener; 2]> {
    Ok([Listener::join(&server.url("/live"))?, Listener::join(&server.url("/live_fallback"))?])
}

fn everybody_is_told(listeners: &[Listener], title: &str) -> Result<()> {
    listeners.iter().try_for_each(|listener| listener.wait_for_title(title, SOON))
}

#[test]
fn a_title_from_the_shell_reaches_both_mounts_and_survives_a_server_restart() -> Result<()> {
    const TITLE: &str = "Mørk & Blå - Größenwahn (don't stop) 100%";
    let mut server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let daemon = Daemon::start(&Settings::new(input, Output::live(&server)))?;
    daemon.wait_until_verified(SOON)?;
    let listeners = joined(&server)?;
    let set = daemon.cli(&["title", TITLE])?;
    ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    everybody_is_told(&listeners, TITLE)?;
    daemon.wait_for("the status shows the title", SOON, |status| {
        status.title.as_deref() == Some(TITLE)
            && status.outputs[0].mounts.iter().all(|mount| mount.title.as_deref() == Some(TITLE))
    })?;

    drop(listeners);
    server.kill()?;
    server.start()?;
    daemon.wait_until_verified(LATER)?;
    everybody_is_told(&joined(&server)?, TITLE)
}

#[test]
fn a_title_file_is_followed_whatever_its_encoding() -> Result<()> {
    let server = Headend::default().start()?;
    let (folder, input) = metronome()?;
    let file = folder.path().join("now-playing.txt");
    std::fs::write(&file, "Händel - Wassermusik\n")?;
    let settings = Settings { title_file: Some(file.clone()), ..Settings::new(input, Output::live(&server)) };
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    let listeners = joined(&server)?;
    everybody_is_told(&listeners, "Händel - Wassermusik")?;
    // Latin-1: one byte for each letter.
    std::fs::write(&file, b"Bj\xF6rk - J\xF3ga\r\n")?;
    everybody_is_told(&listeners, "Björk - Jóga")?;
    // CP1252: its quotation marks are control characters in Latin-1.
    std::fs::write(&file, b"\x93Heroes\x94 - Bowie\n")?;
    daemon.wait_for("the status shows the title", SOON, |status| {
        status.title.as_deref() == Some("\u{201C}Heroes\u{201D} - Bowie")
    })?;
    Ok(())
}

#[test]
fn a_title_file_that_nobody_can_read_holds_nothing_up() -> Result<()> {
    let server = Headend::default().start()?;
    let (folder, input) = metronome()?;
    let file = folder.path().join("pipe");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU)?;
    let settings = Settings { title_file: Some(file), ..Settings::new(input, Output::live(&server)) };
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    mainstay_e2e::wait::until("the pipe is complained of", SOON, || {
        let log = daemon.log();
        if log.contains("no ordinary file") { Ok(()) } else { Err(log) }
    })?;
    let listeners = joined(&server)?;
    ensure!(daemon.cli(&["title", "By hand"])?.status.success());
    everybody_is_told(&listeners, "By hand")
}
