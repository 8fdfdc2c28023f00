//! Other servers than Debian's Icecast 2.4: 2.5, Liquidsoap's harbor, Shoutcast v1.

use anyhow::{Context as _, Result, ensure};
use mainstay_e2e::daemon::Daemon;
use mainstay_e2e::harbor::Harbor;
use mainstay_e2e::icecast::{Headend, Version};
use mainstay_e2e::listener::Listener;
use mainstay_e2e::proof::{hear, unbroken};
use mainstay_e2e::settings::{Mount, Output, Settings};
use mainstay_e2e::{decode, wait};
use units::Codec;
use units::snapshot::{MountState, Role};

use crate::stage::{LATER, SOON, metronome};

const TITLE: &str = "Nielsen - Det Uudslukkelige";

fn set_title(daemon: &Daemon) -> Result<()> {
    let set = daemon.cli(&["title", TITLE])?;
    ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    Ok(())
}

#[test]
fn icecast_2_5_carries_both_mounts_and_their_titles() -> Result<()> {
    let mut server = Headend { version: Version::V25, ..Headend::default() }.start()?;
    let (_folder, input) = metronome()?;
    let settings = Settings::new(input, Output::live(&server));
    let daemon = Daemon::start(&settings)?;
    let status = daemon.wait_until_verified(SOON)?;
    for mount in &status.outputs[0].mounts {
        ensure!(mount.server.as_deref().is_some_and(|name| name.contains("2.5")), "{mount:?}");
    }
    for path in ["/live", "/live_fallback"] {
        server.wait_for_source(path, SOON)?;
    }
    for (_, mount) in &settings.outputs[0].mounts {
        let listener = Listener::join(&mount.url)?;
        set_title(&daemon)?;
        listener.wait_for_title(TITLE, SOON)?;
        hear(&listener, &mount.rendition(), 8)?;
        unbroken(&listener, &mount.rendition())?;
    }
    server.kill()?;
    server.start()?;
    daemon.wait_until_verified(LATER)?;
    Listener::join(&server.url("/live"))?.wait_for_title(TITLE, SOON)
}

#[test]
fn a_harbor_decodes_what_it_is_sent() -> Result<()> {
    let harbor = Harbor::start()?;
    let (_folder, input) = metronome()?;
    let mount = Mount::icecast(harbor.url(), Codec::Mp3, 192).server("harbor");
    let daemon = Daemon::start(&Settings::new(input, Output::alone("main", mount)))?;
    let on_air = [MountState::Live, MountState::Verified];
    daemon.wait_for_state("main", Role::Primary, &on_air, SOON).with_context(|| harbor.log())?;
    set_title(&daemon)?;
    wait::until("the harbor is told the title", SOON, || {
        let log = harbor.log();
        if log.contains(&format!("title: {TITLE}")) { Ok(()) } else { Err(log) }
    })?;
    wait::until("the harbor has decoded ten seconds", LATER, || {
        let bytes = std::fs::metadata(harbor.sound()).map(|file| file.len()).unwrap_or_default();
        if bytes > 44_100 * 4 * 10 { Ok(()) } else { Err(format!("{bytes} bytes")) }
    })?;
    let mount = daemon.mount("main", Role::Primary)?;
    ensure!((mount.accepted, mount.failures) == (1, 0) && mount.state.on_air(), "{mount:?}");
    Ok(())
}

#[test]
fn a_shoutcast_source_is_served_with_titles() -> Result<()> {
    let server = Headend { shoutcast: Some("/sc".to_owned()), ..Headend::default() }.start()?;
    let (_folder, input) = metronome()?;
    let address = format!("http://127.0.0.1:{}", server.shoutcast_port());
    let mount = Mount::icecast(address, Codec::Mp3, 128).server("shoutcast-1");
    let rendition = mount.rendition();
    let daemon = Daemon::start(&Settings::new(input, Output::alone("main", mount)))?;
    let on_air = [MountState::Live, MountState::Verified];
    daemon.wait_for_state("main", Role::Primary, &on_air, SOON).with_context(|| server.log())?;
    server.wait_for_source("/sc", SOON)?;
    let listener = Listener::join(&server.url("/sc"))?;
    set_title(&daemon)?;
    listener.wait_for_title(TITLE, SOON)?;
    hear(&listener, &rendition, 8)?;
    unbroken(&listener, &rendition)?;
    decode::ffmpeg_mount(&server.url("/sc"), Codec::Mp3, 3)?;
    Ok(())
}
