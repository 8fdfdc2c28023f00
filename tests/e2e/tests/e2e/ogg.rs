//! Vorbis and Opus in Ogg: clean for players over titles, reconnects and the server's own fallback; and a mount at another rate
//! than the programme's.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mainstay_e2e::browser::Visitor;
use mainstay_e2e::daemon::{self, Daemon};
use mainstay_e2e::decode;
use mainstay_e2e::icecast::{Headend, Icecast, Version};
use mainstay_e2e::settings::{Input, Mount, Output, Settings};
use mainstay_e2e::{metronome as programme, wait};
use units::Codec;
use units::snapshot::Role;

use crate::stage::{LATER, SOON, metronome};

const VERSIONS: [Version; 2] = [Version::Installed, Version::V25];
const KINDS: [(Codec, &str); 2] = [(Codec::Vorbis, "/live.ogg"), (Codec::Opus, "/live.opus")];
/// Long enough for what is done meanwhile.
const PLAYED: u32 = 20;

/// Plays all of `mounts` for [`PLAYED`] seconds while `meanwhile` happens; each must be clean, and one unbroken stretch of the
/// programme if it is to be `whole`.
fn played(
    server: &Icecast,
    daemon: &Daemon,
    mounts: &[(Codec, &str)],
    whole: bool,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let players: Vec<_> = mounts
            .iter()
            .map(|&(codec, path)| {
                let url = server.url(path);
                (path, scope.spawn(move || decode::ffmpeg_mount(&url, codec, PLAYED)))
            })
            .collect();
        meanwhile()?;
        for (path, player) in players {
            let Ok(decoded) = player.join() else { bail!("the player of {path} panicked") };
            let decoded = decoded.with_context(|| format!("{path}\n{}", server.log()))?;
            // ffmpeg goes by time stamps: an Opus stream's first 80 ms, and what a server leaves out when it moves listeners.
            let least = if whole { PLAYED - 1 } else { PLAYED / 2 } as usize * 48_000;
            ensure!(decoded.len() >= least, "{path}: {} frames", decoded.len());
            if whole {
                let input = daemon.status()?.input;
                ensure!(input.gaps == 0, "this machine is too busy: {input:?}");
                programme::recognise(&decoded).with_context(|| path.to_owned())?;
            }
        }
        Ok(())
    })
}

/// The box with a mount of each kind on air.
fn on_air(server: &Icecast, input: Input) -> Result<Daemon> {
    let outputs = KINDS
        .iter()
        .map(|&(codec, path)| Output::alone(codec.name(), Mount::icecast(server.url(path), codec, 128)))
        .collect();
    let daemon = Daemon::start(&Settings { input, outputs, meters: true, title_file: None })?;
    daemon.wait_until_verified(SOON)?;
    Ok(daemon)
}

fn set_title(daemon: &Daemon, title: &str) -> Result<()> {
    let set = daemon.cli(&["title", title])?;
    ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    Ok(())
}

#[test]
fn titles_and_a_server_that_restarts_leave_ogg_clean() -> Result<()> {
    const FIRST: &str = "Duke Ellington - Caravan";
    const SECOND: &str = "Mørk & Blå - Größenwahn 100%";
    for version in VERSIONS {
        let mut server = Headend { version, ..Headend::default() }.start()?;
        let (_folder, input) = metronome()?;
        let daemon = on_air(&server, input)?;
        played(&server, &daemon, &KINDS, true, || {
            wait::pause(Duration::from_secs(2));
            set_title(&daemon, FIRST)?;
            wait::pause(Duration::from_secs(3));
            set_title(&daemon, SECOND)
        })?;
        daemon.wait_for("the status shows the title", SOON, |status| {
            daemon::mounts(status).all(|mount| mount.title.as_deref() == Some(SECOND))
        })?;

        // The head of the stream that goes on comes first on every connection, with its title.
        server.kill()?;
        server.start()?;
        daemon.wait_until_verified(LATER)?;
        for (_, path) in KINDS {
            let title = decode::ffprobe_title(&server.url(path))?;
            ensure!(title == SECOND, "{path} is called {title:?} after the restart");
            let said = decode::mpv(&server.url(path), 3)?;
            ensure!(said.contains(SECOND), "{path}: {said}");
        }
        played(&server, &daemon, &KINDS, true, || Ok(()))?;
        for mount in daemon::mounts(&daemon.status()?) {
            ensure!(mount.accepted == 2 && mount.skipped == 0, "{mount:?}");
        }
    }
    Ok(())
}

#[test]
fn a_browser_plays_ogg_on_over_titles() -> Result<()> {
    let server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let daemon = on_air(&server, input)?;
    for (_, path) in KINDS {
        let mut visitor = Visitor::open(&server.url(path), LATER)?;
        let before = visitor.look().context("it plays")?;
        // Each title begins a chain of its own.
        for title in ["Caravan", "Perdido", "Cotton Tail"] {
            set_title(&daemon, title)?;
            wait::pause(Duration::from_secs(4));
        }
        let after = visitor.look().context("it played")?;
        let gone = visitor.ended()?;
        ensure!(gone.is_none() && after.end.is_none(), "{path}: {gone:?} {after:?}");
        ensure!(after.at - before.at > 8.0, "{path}: from {before:?} to {after:?}");
    }
    Ok(())
}

#[test]
fn the_servers_own_fallback_keeps_listeners_of_ogg() -> Result<()> {
    for version in VERSIONS {
        let fallbacks =
            KINDS.iter().map(|(_, path)| ((*path).to_owned(), format!("{path}_fallback"))).collect();
        let server = Headend { version, fallbacks, ..Headend::default() }.start()?;
        let (_folder, input) = metronome()?;
        let pairs = || -> Vec<Output> {
            KINDS
                .iter()
                .map(|&(codec, path)| {
                    let fallback = Mount::icecast(server.url(&format!("{path}_fallback")), codec, 64);
                    Output::pair(codec.name(), Mount::icecast(server.url(path), codec, 128), fallback)
                })
                .collect()
        };
        let mut settings = Settings { input, outputs: pairs(), meters: true, title_file: None };
        let daemon = Daemon::start(&settings)?;
        daemon.wait_until_verified(SOON)?;
        // Which mount they are on when changes with a step in the sound: nothing is spliced.
        played(&server, &daemon, &KINDS, false, || {
            wait::pause(Duration::from_secs(3));
            settings.outputs.iter_mut().for_each(|output| {
                output.mounts.retain(|(role, _)| *role == Role::Fallback);
            });
            daemon.rewrite(&settings)?;
            ensure!(daemon.cli(&["reload"])?.status.success());
            wait::pause(Duration::from_secs(6));
            settings.outputs = pairs();
            daemon.rewrite(&settings)?;
            ensure!(daemon.cli(&["reload"])?.status.success());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_rate_of_its_own_is_as_whole_as_the_programmes() -> Result<()> {
    let server = Headend::default().start()?;
    let (_folder, input) = metronome()?;
    let slow = "rate = \"44.1 kHz\"";
    let mount = |path: &str, codec, kbit| Mount::icecast(server.url(path), codec, kbit);
    let mut settings = Settings::new(input, Output::alone("fast", mount("/fast", Codec::Mp3, 128)));
    settings.outputs.push(Output::pair(
        "slow",
        mount("/live", Codec::Mp3, 128).with(slow),
        mount("/live_fallback", Codec::Mp3, 64).with(slow),
    ));
    settings.outputs.push(Output::alone("aac", mount("/aac", Codec::AacLc, 96).with(slow)));
    settings.outputs.push(Output::alone("vorbis", mount("/vorbis", Codec::Vorbis, 96).with(slow)));
    let daemon = Daemon::start(&settings)?;
    let status = daemon.wait_until_verified(SOON)?;
    let rates: Vec<u32> = daemon::mounts(&status).map(|mount| mount.rendition.rate.hz()).collect();
    ensure!(rates == [48_000, 44_100, 44_100, 44_100, 44_100], "{rates:?}");
    let all = [
        (Codec::Mp3, "/fast"),
        (Codec::Mp3, "/live"),
        (Codec::Mp3, "/live_fallback"),
        (Codec::AacLc, "/aac"),
        (Codec::Vorbis, "/vorbis"),
    ];
    played(&server, &daemon, &all, true, || Ok(()))?;
    // Both mounts of the pair have made the same packets: they lie on one grid.
    let status = daemon.status()?;
    let made: Vec<u64> = status
        .renditions
        .iter()
        .filter(|report| report.rendition.codec == Codec::Mp3 && report.rendition.rate.hz() == 44_100)
        .map(|report| report.packets)
        .collect();
    ensure!(made.len() == 2 && made[0].abs_diff(made[1]) <= 4, "{made:?}");
    let seconds = made[0] as f64 * 1152.0 / 44_100.0;
    let captured = status.input.frames.0 as f64 / 48_000.0;
    ensure!((captured - seconds).abs() < 0.25, "{seconds} s made of {captured} s captured");
    Ok(())
}
