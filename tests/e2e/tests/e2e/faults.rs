//! Servers that die, stall, refuse or lie: the mount concerned says what is wrong and heals by itself, its neighbour
//! notices nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use mainstay_e2e::daemon::Daemon;
use mainstay_e2e::icecast::Headend;
use mainstay_e2e::liar::{Liar, Lie};
use mainstay_e2e::listener::Listener;
use mainstay_e2e::proof::{hear, unbroken};
use mainstay_e2e::settings::{Mount, Output, Settings};
use mainstay_e2e::{ports, source, wait};
use units::Codec;
use units::snapshot::{MountState, Role};

use crate::stage::{LATER, SOON, metronome};

#[test]
fn a_killed_server_is_fed_again_when_it_is_back_and_the_other_never_notices() -> Result<()> {
    let (mut doomed, sound) = (Headend::default().start()?, Headend::default().start()?);
    let (_folder, input) = metronome()?;
    let kept = Mount::icecast(sound.url("/other"), Codec::Mp3, 128);
    let settings = Settings {
        outputs: vec![Output::live(&doomed), Output::alone("other", kept.clone())],
        ..Settings::new(input, Output::live(&doomed))
    };
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    let witness = Listener::join(&kept.url)?;

    doomed.kill()?;
    for role in [Role::Primary, Role::Fallback] {
        let lost =
            daemon.wait_for_state("main", role, &[MountState::Waiting, MountState::Connecting], SOON)?;
        ensure!(lost.remedy.is_some(), "{lost:?}");
    }
    doomed.start()?;
    let status = daemon.wait_until_verified(LATER)?;
    let again = Listener::join(&doomed.url("/live"))?;
    hear(&again, &settings.outputs[0].mounts[0].1.rendition(), 10)?;
    unbroken(&again, &settings.outputs[0].mounts[0].1.rendition())?;

    let other = &status.outputs[1].mounts[0];
    ensure!((other.accepted, other.failures, other.skipped) == (1, 0, 0), "{other:?}");
    unbroken(&witness, &kept.rendition())?;
    Ok(())
}

#[test]
fn a_stalled_server_holds_up_nobody_else() -> Result<()> {
    let (frozen, sound) = (Headend::default().start()?, Headend::default().start()?);
    let (_folder, input) = metronome()?;
    let primary = Mount::icecast(frozen.url("/live"), Codec::Mp3, 320);
    let fallback = Mount::icecast(sound.url("/live_fallback"), Codec::Mp3, 192);
    let daemon = Daemon::start(&Settings::new(input, Output::pair("main", primary, fallback.clone())))?;
    daemon.wait_until_verified(SOON)?;
    let witness = Listener::join(&fallback.url)?;

    frozen.freeze()?;
    let off_air = [MountState::Stalled, MountState::Connecting, MountState::Waiting];
    let stalled = daemon.wait_for_state("main", Role::Primary, &off_air, SOON)?;
    ensure!(stalled.remedy.is_some(), "{stalled:?}");
    hear(&witness, &fallback.rendition(), 12)?;
    frozen.thaw()?;
    let status = daemon.wait_until_verified(LATER)?;
    let other = &status.outputs[0].mounts[1];
    ensure!((other.accepted, other.failures, other.skipped) == (1, 0, 0), "{other:?}");
    unbroken(&witness, &fallback.rendition())?;
    Ok(())
}

#[test]
fn a_mount_held_by_somebody_else_is_waited_for_and_not_fought_over() -> Result<()> {
    let server = Headend::default().start()?;
    let (folder, input) = metronome()?;
    let settings = Settings::new(input, Output::live(&server));
    let stranger =
        source::foreign(&server.url("/live"), &settings.outputs[0].mounts[0].1.password, folder.path())?;
    server.wait_for_source("/live", SOON)?;

    let daemon = Daemon::start(&settings)?;
    let occupied = daemon.wait_for_state("main", Role::Primary, &[MountState::Occupied], SOON)?;
    ensure!(occupied.remedy.is_some(), "{occupied:?}");
    daemon.wait_for_state("main", Role::Fallback, &[MountState::Verified], SOON)?;
    ensure!(server.source("/live")?.is_some(), "the stranger was thrown off");

    drop(stranger);
    let ours = daemon.wait_for_state("main", Role::Primary, &[MountState::Verified], LATER)?;
    ensure!(ours.accepted == 1 && ours.remedy.is_none(), "{ours:?}");
    Ok(())
}

#[test]
fn a_server_without_room_for_another_source_is_named() -> Result<()> {
    let server = Headend { sources: 1, ..Headend::default() }.start()?;
    let (_folder, input) = metronome()?;
    let daemon = Daemon::start(&Settings::new(input, Output::live(&server)))?;
    let status = daemon.wait_for("one mount has no room", SOON, |status| {
        let mounts = &status.outputs[0].mounts;
        mounts.iter().filter(|mount| mount.state == MountState::Verified).count() == 1
            && mounts
                .iter()
                .any(|mount| mount.remedy.as_ref().is_some_and(|remedy| remedy.contains("source")))
    })?;
    let left_out = status.outputs[0].mounts.iter().find(|mount| mount.state != MountState::Verified);
    let remedy = left_out.and_then(|mount| mount.remedy.clone()).unwrap_or_default();
    ensure!(remedy.contains("limit") || remedy.contains("<sources>") || remedy.contains("room"), "{remedy}");
    Ok(())
}

#[test]
fn an_address_where_nobody_listens_is_tried_for_ever_and_found_at_last() -> Result<()> {
    let mut server = Headend::default().start()?;
    server.kill()?;
    let (_folder, input) = metronome()?;
    let nowhere = Mount::icecast(format!("http://127.0.0.1:{}/none", ports::free(1)?), Codec::Mp3, 128);
    let later = Mount::icecast(server.url("/live"), Codec::Mp3, 128);
    let settings = Settings {
        outputs: vec![Output::alone("nowhere", nowhere), Output::alone("later", later)],
        ..Settings::new(input, Output::live(&server))
    };
    let daemon = Daemon::start(&settings)?;
    daemon.wait_for("both were refused more than once", SOON, |status| {
        status
            .outputs
            .iter()
            .all(|output| output.mounts[0].failures >= 2 && output.mounts[0].remedy.is_some())
    })?;
    server.start()?;
    daemon.wait_for_state("later", Role::Primary, &[MountState::Verified], LATER)?;
    let nowhere = daemon.mount("nowhere", Role::Primary)?;
    ensure!(!nowhere.state.on_air() && nowhere.remedy.is_some(), "{nowhere:?}");
    Ok(())
}

#[test]
fn answers_that_should_not_be_believed_are_not() -> Result<()> {
    let server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let liars = Lie::ALL.map(|lie| (lie, Liar::start(lie)));
    let mut outputs = vec![Output::live(&server)];
    for (lie, liar) in &liars {
        let url = liar.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?.url("/live");
        let name = format!("{lie:?}").to_lowercase();
        outputs.push(Output::alone(&name, Mount::icecast(url, Codec::Mp3, 128)));
    }
    let honest = outputs[0].mounts[0].1.clone();
    let daemon = Daemon::start(&Settings { outputs, ..Settings::new(input, Output::live(&server)) })?;
    daemon.wait_for_state("main", Role::Primary, &[MountState::Verified], SOON)?;
    let witness = Listener::join(&honest.url)?;

    daemon.wait_for("every liar that answers was seen through", LATER, |status| {
        status.outputs[1..].iter().all(|output| {
            let mount = &output.mounts[0];
            output.name == "silence" || (mount.failures >= 1 && mount.remedy.is_some())
        })
    })?;
    wait::throughout("no liar is believed", Duration::from_secs(10), || {
        let status = daemon.status().map_err(|error| format!("{error:#}"))?;
        for output in &status.outputs[1..] {
            let mount = &output.mounts[0];
            // Bytes that silence acknowledges are live by their own right; proof they are not.
            let believed = match output.name.as_str() {
                "silence" => mount.state == MountState::Verified,
                _ => mount.state.on_air(),
            };
            if believed {
                return Err(format!("{mount:?}"));
            }
        }
        Ok(())
    })?;
    unbroken(&witness, &honest.rendition())?;
    let main = daemon.mount("main", Role::Primary)?;
    ensure!((main.accepted, main.failures) == (1, 0), "{main:?}");
    Ok(())
}
