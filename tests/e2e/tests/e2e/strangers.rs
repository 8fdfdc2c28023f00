//! Servers and networks that are not what the settings claim: nobody who is not ours is thrown off, nothing is repeated, and
//! whoever can be served is.
//!
//! Root, or a user namespace of one's own, is needed for the uplinks ([`mainstay_e2e::netns`]).

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mainstay_e2e::daemon;
use mainstay_e2e::dns::NameServer;
use mainstay_e2e::icecast::Headend;
use mainstay_e2e::lane::{INGEST, Lane, SECOND_INGEST, Uplink};
use mainstay_e2e::proof::{hear, unbroken};
use mainstay_e2e::settings::Settings;
use mainstay_e2e::{Build, source, wait};
use units::snapshot::{MountState, Role};

use crate::outages::{hand_over, pair, wait_until_ready};
use crate::stage::{LATER, SOON, metronome};

#[test]
fn listeners_whom_the_server_does_not_fetch_back_are_not_left_alone() -> Result<()> {
    let lane = Lane::lay()?;
    let server = lane.server(&Headend { overrides: false, ..Headend::default() })?;
    let (_sound, input) = metronome()?;
    let main = pair("main", INGEST, &server);
    let rendition = main.mounts[0].1.rendition();
    let daemon = lane.start(Build::Debug, &Settings::new(input, main), &Uplink::BOTH, "")?;
    wait_until_ready(&daemon)?;
    let listener = lane.listen(&server, "/live")?;
    hear(&listener, &rendition, 2)?;
    lane.cut(Uplink::Preferred)?;
    daemon.wait_for("the listeners are on the fallback", SOON, |status| {
        hand_over(status, "main").is_some_and(|report| report.phase == "away")
    })?;
    hear(&listener, &rendition, 3)?;
    lane.heal()?;
    // The primary is opened, and nobody comes: whoever is on the fallback is to hear on.
    daemon.wait_for("the primary is on air again", LATER, |status| {
        daemon::mount(status, "main", Role::Primary)
            .is_ok_and(|mount| mount.accepted >= 2 && mount.state == MountState::Verified)
    })?;
    let heard = hear(&listener, &rendition, 12).and_then(|()| unbroken(&listener, &rendition).map(drop));
    heard.with_context(|| format!("{}\n{}", daemon.log(), server.log()))
}

#[test]
fn a_fallback_with_a_listener_of_its_own_stays_full() -> Result<()> {
    let lane = Lane::lay()?;
    let server = lane.server(&Headend::default())?;
    let (_sound, input) = metronome()?;
    let main = pair("main", INGEST, &server);
    let rendition = main.mounts[0].1.rendition();
    let daemon = lane.start(Build::Debug, &Settings::new(input, main), &Uplink::BOTH, "")?;
    lane.world.inside(|| server.wait_for_source("/live_fallback", SOON))??;
    // He came before the box looked, and is sent away once: when his mount is opened anew, with sound.
    let early = lane.listen(&server, "/live_fallback")?;
    daemon.wait_for("the fallback is full", SOON, |status| {
        daemon::mounts(status).all(|mount| mount.state == MountState::Verified)
    })?;
    let own = match early.ended() {
        Some(_) => lane.listen(&server, "/live_fallback")?,
        None => early,
    };
    hear(&own, &rendition, 2)?;
    lane.cut(Uplink::Preferred)?;
    // Longer than the server waits for a silent source.
    let calm = wait::throughout("nobody is moved", Duration::from_secs(12), || {
        let status = daemon.status().map_err(|error| format!("{error:#}"))?;
        match hand_over(&status, "main") {
            Some(report) if !report.incidents.is_empty() => Err(format!("{report:?}")),
            Some(_) | None => Ok(()),
        }
    });
    calm.with_context(|| daemon.log())?;
    unbroken(&own, &rendition).with_context(|| daemon.log())?;
    lane.heal()?;
    daemon.wait_until_verified(LATER)?;
    // The server fetches him along with everybody else when the primary comes, in mid-packet; he is not sent away.
    hear(&own, &rendition, 3).with_context(|| format!("{}\n{}", daemon.log(), server.log()))
}

#[test]
fn whoever_took_the_mount_meanwhile_is_not_thrown_off() -> Result<()> {
    let lane = Lane::lay()?;
    let server = lane.server(&Headend { source_timeout: 4, ..Headend::default() })?;
    let (folder, input) = metronome()?;
    let main = pair("main", INGEST, &server).with("source_timeout = \"4 s\"\n");
    let (rendition, password) = (main.mounts[0].1.rendition(), main.mounts[0].1.password.clone());
    let daemon = lane.start(Build::Debug, &Settings::new(input, main), &Uplink::BOTH, "")?;
    wait_until_ready(&daemon)?;
    for uplink in Uplink::BOTH {
        lane.cut(uplink)?;
    }
    lane.world.inside(|| {
        wait::until("the server drops the primary", SOON, || match server.source("/live") {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })??;
    // The box's own login, and its own mount.
    let mut stranger =
        lane.world.inside(|| source::foreign(&server.url("/live"), &password, folder.path()))??;
    let since = lane.world.inside(|| server.wait_for_source("/live", SOON))??;
    lane.heal()?;
    let fallback = daemon.wait_for("the primary is seen to be somebody else's", LATER, |status| {
        daemon::mount(status, "main", Role::Primary).is_ok_and(|mount| mount.state == MountState::Occupied)
            && daemon::mount(status, "main", Role::Fallback).is_ok_and(|mount| mount.peer.is_some())
    });
    fallback.with_context(|| server.log())?;
    wait::pause(Duration::from_secs(5));
    let now = lane.world.inside(|| server.source("/live"))??.context("the stranger was thrown off")?;
    for key in ["stream_start_iso8601", "audio_bitrate", "bitrate"] {
        ensure!(now[key] == since[key], "the stranger was thrown off: {since} {now}\n{}", daemon.log());
    }
    if let Some(status) = stranger.ended()? {
        bail!("the stranger was thrown off: {status}\n{}\n{}", stranger.log(), daemon.log());
    }
    drop(stranger);
    daemon.wait_for("the primary is ours again", LATER, |status| {
        daemon::mount(status, "main", Role::Primary).is_ok_and(|mount| mount.state == MountState::Verified)
    })?;
    let listener = lane.listen(&server, "/live")?;
    hear(&listener, &rendition, 3)?;
    unbroken(&listener, &rendition).with_context(|| daemon.log())?;
    Ok(())
}

#[test]
fn a_name_with_two_addresses_is_one_server_for_both_mounts() -> Result<()> {
    let lane = Lane::lay()?;
    let (one, other) = (lane.server(&Headend::default())?, lane.server(&Headend::default())?);
    // The second address leads to the other server, on the same port.
    lane.world.nft(&format!(
        "table ip second {{\n chain there {{\n type nat hook prerouting priority -100;\n\
         ip daddr {SECOND_INGEST} tcp dport {} redirect to :{}\n }}\n}}\n",
        one.port(),
        other.port()
    ))?;
    let names = lane.world.inside(|| NameServer::start(INGEST, vec![INGEST, SECOND_INGEST]))??;
    let (_sound, input) = metronome()?;
    let mut main = pair("main", INGEST, &one);
    for (_, mount) in &mut main.mounts {
        mount.url = mount.url.replace(&INGEST.to_string(), "stream.example.org");
    }
    let rendition = main.mounts[0].1.rendition();
    let settings = Settings::new(input, main);
    let daemon = lane.start(Build::Debug, &settings, &Uplink::BOTH, &format!("dns = [\"{INGEST}\"]\n"))?;
    let status = wait_until_ready(&daemon)?;
    let peers: Vec<_> = daemon::mounts(&status).map(|mount| mount.peer.clone()).collect();
    ensure!(peers[0].is_some() && peers[0] == peers[1], "{peers:?}\n{}", daemon.log());
    let server = if peers[0].as_ref().is_some_and(|peer| peer.starts_with(&INGEST.to_string())) {
        &one
    } else {
        &other
    };
    let listener = lane.listen(server, "/live")?;
    hear(&listener, &rendition, 2)?;
    lane.cut(Uplink::Preferred)?;
    daemon.wait_for("the listeners are on the fallback", SOON, |status| {
        hand_over(status, "main").is_some_and(|report| report.phase == "away")
    })?;
    hear(&listener, &rendition, 3)?;
    lane.heal()?;
    let back = daemon.wait_for("the listeners are back", LATER, |status| {
        hand_over(status, "main").is_some_and(|report| report.phase == "calm")
            && daemon::mounts(status)
                .all(|mount| mount.state == MountState::Verified || mount.state == MountState::Held)
    })?;
    let now: Vec<_> = daemon::mounts(&back).map(|mount| mount.peer.clone()).collect();
    println!("asked {} times, at first {peers:?}, then {now:?}", names.asked());
    hear(&listener, &rendition, 5)?;
    ensure!(listener.ended().is_none(), "{:?}\n{}", listener.ended(), daemon.log());
    unbroken(&listener, &rendition).with_context(|| format!("{now:?}\n{}", daemon.log()))?;
    Ok(())
}
