//! Uplinks and servers that fail, over network namespaces: an outage of the only uplink, one that hits half of the mounts,
//! and a server that stands still. What was heard is judged by its bytes, the rest by counts; seconds are only printed.
//!
//! Root, or a user namespace of one's own, is needed for the uplinks ([`mainstay_e2e::netns`]).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mainstay_e2e::daemon::{self, Daemon};
use mainstay_e2e::ears::Ears;
use mainstay_e2e::icecast::{Headend, Icecast};
use mainstay_e2e::lane::{INGEST, Lane, SECOND_INGEST, Uplink, url};
use mainstay_e2e::proof::{hear, unbroken};
use mainstay_e2e::settings::{Mount, Output, PROVEN, Settings};
use mainstay_e2e::{Build, wait};
use units::Codec;
use units::snapshot::{HandOverReport, MountState, Role, Snapshot};

use crate::stage::{LATER, SOON, metronome};

/// Above the packets that are under way, and below any outage here.
const CAUGHT_UP_MS: u64 = 1_000;

const BOTH: [Role; 2] = [Role::Primary, Role::Fallback];

/// What the kernel does about silence (DESIGN 3).
fn kernel() -> Result<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let case = if version >= (6, 15) { "capped" } else { "not capped" };
    Ok(format!("Linux {}: retry timer {case}", release.trim()))
}

/// A pair of one rendition that hands over: a listener's bytes are one piece of the encoder's output.
pub(crate) fn pair(name: &str, address: std::net::Ipv4Addr, server: &Icecast) -> Output {
    let mount = |path: &str| Mount::icecast(url(address, server, path), Codec::Mp3, 192);
    Output::pair(name, mount("/live"), mount("/live_fallback")).with(&format!("settle = \"3 s\"\n{PROVEN}"))
}

pub(crate) fn hand_over<'a>(status: &'a Snapshot, output: &str) -> Option<&'a HandOverReport> {
    status.outputs.iter().find(|candidate| candidate.name == output)?.hand_over.as_ref()
}

/// All primaries on air, all fallbacks held.
pub(crate) fn wait_until_ready(daemon: &Daemon) -> Result<Snapshot> {
    daemon.wait_for("primaries are verified and fallbacks held", SOON, |status| {
        daemon::mounts(status).all(|mount| match mount.role {
            Role::Primary => mount.state == MountState::Verified,
            Role::Fallback => mount.state == MountState::Held,
        })
    })
}

fn undisturbed(daemon: &Daemon, output: &str, roles: &[Role]) -> Result<()> {
    let status = daemon.status()?;
    for &role in roles {
        let mount = daemon::mount(&status, output, role)?;
        ensure!(
            (mount.accepted, mount.failures, mount.skipped) == (1, 0, 0),
            "{output}: {mount:?}\n{}",
            daemon.log()
        );
    }
    let report = hand_over(&status, output);
    let calm =
        report.is_some_and(|report| report.incidents.is_empty() && report.listeners_on == Role::Primary);
    ensure!(calm, "{output}: {report:?}\n{}", daemon.log());
    Ok(())
}

#[test]
fn eight_seconds_without_the_only_uplink_cost_no_packet() -> Result<()> {
    let lane = Lane::lay()?;
    let server = lane.server(&Headend::default())?;
    let (_sound, input) = metronome()?;
    let mount = Mount::icecast(url(INGEST, &server, "/live"), Codec::Mp3, 320);
    let settings = Settings::new(input, Output::alone("main", mount.clone()));
    let daemon = lane.start(Build::Debug, &settings, &[Uplink::Preferred], "")?;
    daemon.wait_until_verified(SOON)?;
    let listener = lane.listen(&server, "/live")?;
    hear(&listener, &mount.rendition(), 2)?;

    lane.cut(Uplink::Preferred)?;
    wait::pause(Duration::from_secs(8));
    let before = listener.bytes();
    lane.heal()?;
    let healed = wait::now();
    wait::until("sound comes again", SOON, || match listener.bytes() - before {
        0 => Err(format!("ended: {:?}", listener.ended())),
        _ => Ok(()),
    })
    .with_context(|| format!("{}\n{}", daemon.log(), server.log()))?;
    let first = healed.elapsed();
    daemon.wait_for("what was missed is caught up with", LATER, |status| {
        daemon::mount(status, "main", Role::Primary)
            .is_ok_and(|mount| mount.state.on_air() && mount.lag_ms < CAUGHT_UP_MS)
    })?;
    println!(
        "{}; sound {:.2} s after the link's return, caught up after {:.2} s",
        kernel()?,
        first.as_secs_f64(),
        healed.elapsed().as_secs_f64()
    );
    hear(&listener, &mount.rendition(), 3)?;
    unbroken(&listener, &mount.rendition())?;
    let mount = daemon.mount("main", Role::Primary)?;
    ensure!(
        (mount.accepted, mount.failures, mount.skipped) == (1, 0, 0),
        "{mount:?}\n{}\n{}",
        daemon.log(),
        server.log()
    );
    Ok(())
}

#[test]
fn a_mount_that_the_server_dropped_is_found_again() -> Result<()> {
    let lane = Lane::lay()?;
    let server = lane.server(&Headend { source_timeout: 5, ..Headend::default() })?;
    let (_sound, input) = metronome()?;
    let mount = Mount::icecast(url(INGEST, &server, "/live"), Codec::Mp3, 320);
    let settings = Settings::new(input, Output::alone("main", mount.clone()));
    let daemon = lane.start(Build::Debug, &settings, &[Uplink::Preferred], "")?;
    daemon.wait_until_verified(SOON)?;

    lane.cut(Uplink::Preferred)?;
    wait::pause(Duration::from_secs(12));
    let gone = lane.world.inside(|| server.source("/live"))??;
    ensure!(gone.is_none(), "the server keeps a silent source: {gone:?}");
    lane.heal()?;
    let healed = wait::now();
    let ears = Ears::open()?;
    let ear = wait::until("a listener is let in", SOON, || {
        lane.join(&ears, &server, "/live").map_err(|error| format!("{error:#}"))
    })?;
    wait::until("and hears something", SOON, || ear.newest().ok_or("nothing").map_err(str::to_owned))?;
    let heard = healed.elapsed();
    daemon.wait_for("the mount is verified again", LATER, |status| {
        daemon::mount(status, "main", Role::Primary)
            .is_ok_and(|mount| mount.accepted == 2 && mount.state == MountState::Verified)
    })?;
    println!(
        "{}; a listener hears {:.2} s after the link's return, verified after {:.2} s",
        kernel()?,
        heard.as_secs_f64(),
        healed.elapsed().as_secs_f64()
    );
    drop(ear);
    let listener = lane.listen(&server, "/live")?;
    hear(&listener, &mount.rendition(), 5)?;
    unbroken(&listener, &mount.rendition())?;
    Ok(())
}

#[test]
fn a_server_out_of_reach_by_one_uplink_moves_its_own_listeners_only() -> Result<()> {
    let lane = Lane::lay()?;
    let (far, near) = (lane.server(&Headend::default())?, lane.server(&Headend::default())?);
    let (_sound, input) = metronome()?;
    let (main, other) = (pair("main", INGEST, &far), pair("other", SECOND_INGEST, &near));
    let rendition = main.mounts[0].1.rendition();
    let settings = Settings { outputs: vec![main.clone(), other], ..Settings::new(input, main) };
    let daemon = lane.start(Build::Debug, &settings, &Uplink::BOTH, "")?;
    wait_until_ready(&daemon)?;
    let (listener, witness) = (lane.listen(&far, "/live")?, lane.listen(&near, "/live")?);
    hear(&listener, &rendition, 2)?;

    lane.sever(Uplink::Preferred, INGEST)?;
    let struck = wait::now();
    daemon.wait_for("the listeners are on the fallback", SOON, |status| {
        hand_over(status, "main").is_some_and(|report| report.phase == "away")
    })?;
    let moved = struck.elapsed();
    hear(&listener, &rendition, 3)?;
    lane.heal()?;
    let healed = wait::now();
    daemon.wait_for("the listeners are back", LATER, |status| {
        hand_over(status, "main").is_some_and(|report| report.phase == "calm" && !report.incidents.is_empty())
    })?;
    println!(
        "moved after {:.2} s, back {:.2} s after the healing",
        moved.as_secs_f64(),
        healed.elapsed().as_secs_f64()
    );
    hear(&listener, &rendition, 3)?;
    for heard in [&listener, &witness] {
        ensure!(heard.ended().is_none(), "{:?}\n{}", heard.ended(), daemon.log());
        unbroken(heard, &rendition).map_err(|error| error.context(daemon.log()))?;
    }
    undisturbed(&daemon, "other", &BOTH)
}

#[test]
fn a_server_that_stands_still_is_no_dead_path_and_a_held_fallback_costs_nothing() -> Result<()> {
    let lane = Lane::lay()?;
    let (frozen, sound) = (lane.server(&Headend::default())?, lane.server(&Headend::default())?);
    let (_sound, input) = metronome()?;
    let (main, other) = (pair("main", INGEST, &sound), pair("other", SECOND_INGEST, &frozen));
    let rendition = main.mounts[0].1.rendition();
    let settings = Settings { outputs: vec![main.clone(), other], ..Settings::new(input, main) };
    let daemon = lane.start(Build::Debug, &settings, &Uplink::BOTH, "")?;
    wait_until_ready(&daemon)?;
    let (listener, witness) = (lane.listen(&frozen, "/live")?, lane.listen(&sound, "/live")?);
    hear(&witness, &rendition, 2)?;
    let held = lane.flows(Uplink::Spare, &sound)?;
    let whole = lane.bytes_over(Uplink::Spare)?;
    let begun = wait::now();

    frozen.freeze()?;
    // More than its kernel takes in.
    let stood =
        wait::throughout("nobody is moved off a server that stands still", Duration::from_secs(10), || {
            let status = daemon.status().map_err(|error| format!("{error:#}"))?;
            for output in ["main", "other"] {
                let report = hand_over(&status, output);
                if !report
                    .is_some_and(|report| report.listeners_on == Role::Primary && report.incidents.is_empty())
                {
                    return Err(format!("{output}: {report:?}\n{}", daemon.log()));
                }
            }
            Ok(())
        });
    frozen.thaw()?;
    stood?;
    daemon.wait_for("the server that stood still is caught up with", LATER, |status| {
        daemon::mounts(status)
            .all(|mount| mount.role == Role::Fallback || mount.state.on_air() && mount.lag_ms < CAUGHT_UP_MS)
    })?;
    hear(&listener, &rendition, 3)?;
    undisturbed(&daemon, "main", &BOTH)?;
    // On waking, the server may find that its fallback was silent for too long.
    undisturbed(&daemon, "other", &[Role::Primary])?;
    for heard in [&listener, &witness] {
        ensure!(heard.ended().is_none(), "{:?}\n{}", heard.ended(), daemon.log());
        unbroken(heard, &rendition).map_err(|error| error.context(daemon.log()))?;
    }

    let seconds = begun.elapsed().as_secs_f64();
    let full = seconds * rendition.bitrate.bytes_per_second() as f64;
    let now = lane.flows(Uplink::Spare, &sound)?;
    let mut spent = 0;
    for before in &held {
        let after = now.iter().find(|flow| flow.local == before.local);
        ensure!(after.is_some(), "the held fallback was connected anew: {held:?} {now:?}\n{}", daemon.log());
        spent += after.map_or(0, |after| after.bytes - before.bytes);
    }
    ensure!(!held.is_empty() && spent > 0, "no fallback over the spare uplink: {held:?} {now:?}");
    println!(
        "a held fallback: {spent} bytes on the wire in {seconds:.0} s, {:.2} % of full; the whole spare uplink {:.2} %",
        spent as f64 * 100.0 / full,
        (lane.bytes_over(Uplink::Spare)? - whole) as f64 * 100.0 / full
    );
    ensure!(spent as f64 <= full / 100.0, "{spent} bytes of {full}");
    Ok(())
}
