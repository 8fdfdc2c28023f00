//! The four codecs on two mounts each, heard by every player: half a minute in the tests, ten in `cargo xtask soak`.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use units::snapshot::Snapshot;
use units::{Codec, Rendition};

use crate::daemon::{self, Daemon};
use crate::icecast::Headend;
use crate::listener::Listener;
use crate::settings::{Input, Mount, Output, Settings};
use crate::{Build, decode, metronome, proof};

/// Codecs with the bitrates (kbit/s) of primary and fallback.
const PAIRS: [(Codec, u32, u32); 4] =
    [(Codec::Mp3, 320, 192), (Codec::AacLc, 192, 128), (Codec::HeAac, 64, 48), (Codec::HeAacV2, 32, 24)];

/// More than eight mounts send until all players have joined.
const WHOLE_BURST: u32 = 4 << 20;

/// How long the eight mounts may take to be verified.
const SOON: Duration = Duration::from_secs(30);

/// Feeds all eight mounts, lets ffmpeg play each primary for `seconds` straight from the mount, hears all eight
/// meanwhile, and then proves of each capture, first whole packet to last, that nothing is missing, that its length is
/// what was captured, and that ffmpeg, mpg123 (MP3) and faad (AAC) have no complaint. Gives a line about each mount.
///
/// # Errors
/// The first thing that is not so.
pub fn every_codec(build: Build, seconds: u32) -> Result<Vec<String>> {
    // Players join within the burst, so they begin at the mount's first byte. One that joins in mid-packet reads the torn one
    // first, and ffmpeg now and then takes a chance pattern in it for an ADTS header: no fault of the stream.
    let server = Headend { burst: WHOLE_BURST, ..Headend::default() }.start()?;
    let folder = tempfile::Builder::new().prefix("mainstay-e2e-").tempdir()?;
    let file = folder.path().join("metronome.wav");
    metronome::write(&file)?;
    let mount = |codec: Codec, kbit: u32, tail: &str| {
        Mount::icecast(server.url(&format!("/{}{tail}", codec.name())), codec, kbit)
    };
    let outputs: Vec<Output> = PAIRS
        .into_iter()
        .map(|(codec, kbit, less)| {
            Output::pair(codec.name(), mount(codec, kbit, ""), mount(codec, less, "_fallback"))
        })
        .collect();
    let settings =
        Settings { input: Input::File(file), outputs: outputs.clone(), meters: true, title_file: None };
    let daemon = Daemon::start_build(build, &settings)?;
    let before = daemon.wait_until_verified(SOON)?;

    let mounts: Vec<&Mount> =
        outputs.iter().flat_map(|output| &output.mounts).map(|(_, mount)| mount).collect();
    let listeners = mounts.iter().map(|mount| Listener::join(&mount.url)).collect::<Result<Vec<_>>>()?;
    play(&outputs, seconds)?;
    // First what the box itself knows: a starved machine shows here as a gap, and then nothing below can be whole.
    nothing_was_lost(&before, &daemon.status()?).with_context(|| daemon.log())?;
    let mut lines = Vec::new();
    for (listener, mount) in listeners.iter().zip(&mounts) {
        lines.push(judge(listener, &mount.rendition(), seconds).with_context(|| mount.url.clone())?);
    }
    Ok(lines)
}

/// Every primary by ffmpeg, straight from the mount.
fn play(outputs: &[Output], seconds: u32) -> Result<()> {
    std::thread::scope(|scope| {
        let players: Vec<_> = outputs
            .iter()
            .map(|output| &output.mounts[0].1)
            .map(|mount| scope.spawn(|| decode::ffmpeg_mount(&mount.url, mount.codec, seconds)))
            .collect();
        players.into_iter().try_for_each(|player| match player.join() {
            Ok(decoded) => {
                let frames = decoded?.len();
                ensure!(frames == seconds as usize * 48_000, "ffmpeg played {frames} frames in {seconds} s");
                Ok(())
            }
            Err(_) => bail!("a player panicked"),
        })
    })
}

fn judge(listener: &Listener, rendition: &Rendition, seconds: u32) -> Result<String> {
    ensure!(listener.ended().is_none(), "the listener lost the mount: {:?}", listener.ended());
    let proof = proof::unbroken(listener, rendition)?;
    let frames = proof.packets * u64::from(rendition.codec.frames_per_packet());
    // ffmpeg began with the burst, so real time is less than what it played.
    ensure!(frames >= u64::from(seconds) * 48_000 / 2, "only {frames} frames");
    let others = match rendition.codec {
        Codec::Mp3 => {
            decode::mpg123(&proof.file)?;
            "mpg123"
        }
        Codec::AacLc | Codec::HeAac | Codec::HeAacV2 => {
            let made = decode::faad(&proof.file)?;
            // The first packet only overlaps the next; faad keeps it to itself.
            let first = u64::from(rendition.codec.frames_per_packet());
            ensure!(frames - made <= first, "faad made {made} frames of {frames}");
            "faad"
        }
        Codec::Vorbis | Codec::Opus => bail!("{rendition}: pages are not packets"),
    };
    Ok(format!("{rendition}: {} packets, {frames} frames, clean for ffmpeg and {others}", proof.packets))
}

/// What is encoded is what was captured, less what is on its way through the encoders; and every mount kept its
/// first connection.
fn nothing_was_lost(before: &Snapshot, status: &Snapshot) -> Result<()> {
    ensure!(status.input.gaps == 0, "{:?}", status.input);
    for report in &status.renditions {
        let packet = u64::from(report.rendition.codec.frames_per_packet());
        let held = 4 * packet + 4 * u64::from(status.input.period);
        ensure!(
            (report.packets * packet).abs_diff(status.input.frames.0) <= held,
            "{}: {} packets of {packet} frames, {} frames captured",
            report.rendition,
            report.packets,
            status.input.frames.0
        );
    }
    // Eight connections at one instant are more than Icecast's listen queue (5) takes: first attempts may time out.
    for (was, is) in daemon::mounts(before).zip(daemon::mounts(status)) {
        ensure!((is.accepted, is.failures, is.skipped) == (1, was.failures, 0), "{is:?}");
    }
    Ok(())
}
