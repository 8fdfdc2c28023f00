//! Four codecs on two mounts each: verified, clean for every decoder, and as long as what was captured.

use std::process::Command;

use anyhow::{Result, ensure};
use mainstay_e2e::Build;
use mainstay_e2e::daemon::{self, Daemon};
use mainstay_e2e::every_codec::every_codec;
use mainstay_e2e::icecast::Headend;
use mainstay_e2e::packets;
use mainstay_e2e::settings::{Mount, Output, Settings};
use units::Codec;
use units::snapshot::{MountState, Role};

use crate::stage::{SOON, metronome};

#[test]
fn both_mounts_are_verified_and_the_server_shows_them() -> Result<()> {
    let server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let daemon = Daemon::start(&Settings::new(input, Output::live(&server)))?;
    let status = daemon.wait_until_verified(SOON)?;
    for (mount, kbit) in [("/live", 320), ("/live_fallback", 192)] {
        let shown = server.wait_for_source(mount, SOON)?;
        ensure!(shown["server_type"] == "audio/mpeg", "{shown}");
        ensure!(shown["server_name"].as_str().is_some_and(|name| name.contains("Radio Loopback")), "{shown}");
        let report = daemon::mounts(&status).find(|report| report.url.ends_with(mount));
        let bitrate = report.map(|report| report.rendition.bitrate.kbit());
        ensure!(bitrate == Some(kbit), "{mount} carries {bitrate:?}");
    }
    ensure!(server.source("/live_fallback")?.is_some_and(|shown| shown["listenurl"].as_str().is_some()));

    let table = daemon.cli(&["status"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    ensure!(table.contains("verified") && table.contains("/live_fallback"), "{table}");
    let json = daemon.cli(&["status", "--json"])?;
    let printed: units::snapshot::Snapshot = serde_json::from_slice(&json.stdout)?;
    ensure!(daemon::mounts(&printed).all(|mount| mount.state == MountState::Verified));
    Ok(())
}

#[test]
fn a_plain_http_client_hears_whole_packets() -> Result<()> {
    let server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let settings = Settings::new(input, Output::live(&server));
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    for (mount, path) in settings.outputs[0].mounts.iter().zip(["/live", "/live_fallback"]) {
        let rendition = mount.1.rendition();
        let heard = Command::new("curl").args(["-s", "--max-time", "5", &server.url(path)]).output()?;
        // 28: the time was over, as it was meant to be.
        ensure!(heard.status.code() == Some(28), "{heard:?}");
        let whole = packets::whole(&heard.stdout, &rendition)?;
        ensure!(whole.frames(&rendition) >= 3 * 48_000, "{path}: {} packets", whole.packets);
    }
    Ok(())
}

#[test]
fn every_codec_decodes_without_a_complaint_and_to_the_packet() -> Result<()> {
    for line in every_codec(Build::Debug, 30)? {
        println!("{line}");
    }
    Ok(())
}

#[test]
fn a_pair_may_be_a_fallback_alone() -> Result<()> {
    let server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let fallback = Mount::icecast(server.url("/live_fallback"), Codec::Mp3, 192);
    let second_box =
        Output { name: "second".to_owned(), mounts: vec![(Role::Fallback, fallback)], rules: String::new() };
    let daemon = Daemon::start(&Settings::new(input, second_box))?;
    daemon.wait_until_verified(SOON)?;
    ensure!(server.source("/live")?.is_none());
    Ok(())
}
