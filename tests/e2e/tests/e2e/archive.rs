//! The log recording of a real box: whole packets through a kill, cuts by the clock, and a disk that fills up and turns
//! read-only while listeners hear nothing of it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use mainstay_e2e::daemon::{Daemon, mounts};
use mainstay_e2e::icecast::{Headend, Icecast};
use mainstay_e2e::listener::Listener;
use mainstay_e2e::proof::{hear, unbroken};
use mainstay_e2e::settings::{Input, Output, Settings};
use mainstay_e2e::{decode, metronome, packets, wait};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use units::WallTime;
use units::snapshot::{self, RecordingFile, RecordingState, Reply};
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

use crate::stage::{LATER, SOON, metronome as input};

/// Frames of an MP3 packet.
const PACKET: i64 = 1152;

fn recording(server: &Icecast, input: Input, folder: &Path, more: &str) -> Settings {
    let table = format!("\n[recording]\nfolder = \"{}\"\nbudget = \"100 MB\"\n{more}\n", folder.display());
    Settings::new(input, Output::live(server).with(&table))
}

fn recordings(daemon: &Daemon) -> Result<Vec<RecordingFile>> {
    let reply = daemon.ask(snapshot::Command::Recordings)?;
    let Reply::Recordings { recordings, .. } = reply else {
        bail!("asked for recordings, the box answered {reply:?}");
    };
    Ok(recordings)
}

fn seconds(time: WallTime) -> Result<u64> {
    match time {
        WallTime::Unix(seconds) => Ok(seconds),
        WallTime::Unknown => bail!("this machine's clock is older than the program"),
    }
}

/// A time of the box's, as people write it.
fn utc(seconds: u64) -> Result<String> {
    let output =
        Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Cuts with the CLI, and gives what it said.
fn cut(daemon: &Daemon, from: u64, to: u64, file: &Path) -> Result<String> {
    let file = file.to_str().context("a path in UTF-8")?;
    let said = daemon.cli(&["cut", &utc(from)?, &utc(to)?, file])?;
    ensure!(said.status.success(), "{}\n{}", String::from_utf8_lossy(&said.stderr), daemon.log());
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// Every recording holds whole packets and nothing else.
fn whole(folder: &Path, rendition: &Rendition) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "mp3" || ending == "aac") {
            let bytes = fs::read(&path)?;
            let found = packets::whole(&bytes, rendition).with_context(|| path.display().to_string())?;
            ensure!(
                found.bytes.len() == bytes.len(),
                "{}: {} bytes are no packets",
                path.display(),
                bytes.len() - found.bytes.len()
            );
            sum += found.packets;
        }
    }
    Ok(sum)
}

fn recorded(daemon: &Daemon, bytes: u64) -> Result<()> {
    daemon.wait_for("enough is recorded", LATER, |status| {
        status.recording.as_ref().is_some_and(|report| report.bytes > bytes)
    })?;
    Ok(())
}

#[test]
fn a_recording_survives_a_kill_and_is_cut_to_the_packet() -> Result<()> {
    let server = Headend::default().start()?;
    let (folder, input) = input()?;
    let shelf = folder.path().join("recordings");
    let settings = recording(&server, input, &shelf, "output = \"main\"");
    let rendition = settings.outputs[0].mounts[0].1.rendition();

    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    // 20 s at 320 kbit/s.
    recorded(&daemon, 800_000)?;
    daemon.process().signal(Signal::SIGKILL)?;
    drop(daemon);
    // What a power cut in the middle of a write leaves, on top of the kill.
    let torn = fs::read_dir(&shelf)?.filter_map(Result::ok).map(|entry| entry.path());
    let torn = torn.filter(|path| path.extension().is_some_and(|ending| ending == "mp3")).max();
    let torn = torn.context("nothing was recorded")?;
    let head = fs::read(&torn)?[..500].to_vec();
    File::options().append(true).open(&torn)?.write_all(&head)?;

    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    recorded(&daemon, 1_200_000)?;
    let listed = recordings(&daemon)?;
    let (first, second) = (&listed[0], listed.last().context("nothing is listed")?);
    ensure!(second.open && !first.open, "{listed:?}");
    ensure!(second.missing.len() == 1 && second.missing[0].ms > 0, "the time between is no gap: {second:?}");
    let text = daemon.cli(&["recordings"])?;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    ensure!(text.contains("missing from") && text.contains("local"), "{text}");

    // Inside the first one: ten seconds, of which nothing is missing.
    let from = seconds(first.from)?;
    let inside = folder.path().join("inside.mp3");
    let said = cut(&daemon, from + 5, from + 15, &inside)?;
    ensure!(said.contains("nothing is missing in it"), "{said}");
    let decoded = decode::ffmpeg_file(&inside, Codec::Mp3)?;
    let off = decoded.len() as i64 - 480_000;
    ensure!(off.abs() <= PACKET, "off by {off} frames: {said}");
    ensure!(metronome::recognise(&decoded)? > 5, "hardly an interval: {said}");
    ensure!(!daemon.cli(&["cut", "14:00", "13:00", "nowhere"])?.status.success());

    // Over the kill: both sides in one file, and the gap is told.
    let over = folder.path().join("over.mp3");
    let said = cut(&daemon, from + 2, seconds(second.from)? + 4, &over)?;
    ensure!(said.contains("missing from"), "{said}");
    let bytes = fs::read(&over)?;
    let found = packets::whole(&bytes, &rendition)?;
    ensure!(found.bytes.len() == bytes.len());
    ensure!(decode::ffmpeg_file(&over, Codec::Mp3)?.len() as u64 == found.frames(&rendition));
    drop(daemon);
    whole(&shelf, &rendition)?;
    Ok(())
}

#[test]
fn a_rendition_of_its_own_is_recorded_and_a_marked_moment_is_kept_apart() -> Result<()> {
    let server = Headend::default().start()?;
    let (folder, input) = input()?;
    let shelf = folder.path().join("recordings");
    let mut daemon =
        Daemon::start(&recording(&server, input, &shelf, "codec = \"aac-lc\"\nbitrate = \"64 kbit/s\""))?;
    daemon.wait_until_verified(SOON)?;
    recorded(&daemon, 40_000)?;
    ensure!(daemon.cli(&["mark", "caller said what?"])?.status.success());
    let clips = shelf.join("incidents");
    let clip = wait::until("the marked moment is kept", LATER, || {
        let found = fs::read_dir(&clips).map_err(|error| error.to_string())?.filter_map(Result::ok);
        let mut found =
            found.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "aac"));
        found.next().ok_or_else(|| "nothing yet".to_owned())
    })?;
    ensure!(clip.display().to_string().contains("caller-said-what"), "{}", clip.display());
    let decoded = decode::ffmpeg_file(&clip, Codec::AacLc)?;
    // 15 s behind it at least, and what there was before.
    ensure!(decoded.len() >= 14 * 48_000 && decoded.len() <= 31 * 48_000, "{} frames", decoded.len());
    ensure!(daemon.end()?.success());
    let rendition = Rendition {
        codec: Codec::AacLc,
        rate: SampleRate::Hz48000,
        channels: Channels::Stereo,
        bitrate: BitRate::from_kbit(64).context("not zero")?,
    };
    ensure!(whole(&shelf, &rendition)? > 0);
    // It ended in good order: all that was encoded is there, and the index says so.
    let closed = fs::read_dir(&shelf)?.filter_map(Result::ok).filter_map(|entry| {
        let path = entry.path();
        path.extension().is_some_and(|ending| ending == "jsonl").then(|| fs::read_to_string(path))
    });
    for text in closed {
        ensure!(text?.contains("\"why\":\"off\"}"), "it was not closed");
    }
    Ok(())
}

/// A small disk, in a mount namespace of the calling thread and what it starts.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(folder: &Path, size: &str) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS)
            .context("making a mount namespace; be root, or run it under `unshare -Ur`")?;
        run("mount", &["--make-rprivate", "/"])?;
        fs::create_dir_all(folder)?;
        let disk = Self(folder.to_owned());
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", disk.path()?])?;
        Ok(disk)
    }

    fn path(&self) -> Result<&str> {
        self.0.to_str().context("a path in UTF-8")
    }

    fn remount(&self, how: &str) -> Result<()> {
        run("mount", &["-o", &format!("remount,{how}"), self.path()?])
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its folder could not be deleted otherwise.
        if let Err(error) = run("umount", &["-l", self.0.to_str().unwrap_or_default()]) {
            eprintln!("{error:#}");
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("running {program}"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_disk_that_fills_up_and_turns_read_only_is_nobodys_trouble_on_air() -> Result<()> {
    // On a thread of its own, for it gets its own mounts.
    std::thread::scope(|scope| match scope.spawn(disk_trouble).join() {
        Ok(outcome) => outcome,
        Err(_) => bail!("the test's thread panicked"),
    })
}

fn disk_trouble() -> Result<()> {
    let server = Headend::default().start()?;
    let (folder, input) = input()?;
    let shelf = folder.path().join("recordings");
    // 25 s at 320 kbit/s.
    let disk = SmallDisk::new(&shelf, "1m")?;
    let settings = recording(&server, input, &shelf, "output = \"main\"\nkeep_free = \"0 MB\"");
    let rendition = settings.outputs[0].mounts[0].1.rendition();
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    let witness = Listener::join(&settings.outputs[0].mounts[0].1.url)?;
    let state = |wanted: fn(RecordingState) -> bool, what: &str| {
        daemon.wait_for(what, LATER, |status| {
            status.recording.as_ref().is_some_and(|report| wanted(report.state))
        })
    };

    wait::until("the first recordings are listed", SOON, || match recordings(&daemon) {
        Ok(listed) if listed.len() > 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let oldest = recordings(&daemon)?.remove(0).name;
    state(|state| matches!(state, RecordingState::Short { .. }), "the disk is full")?;
    ensure!(daemon.log().matches("the disk fills up").count() == 1, "{}", daemon.log());
    wait::until("the oldest is gone", SOON, || match recordings(&daemon) {
        Ok(listed) if listed.iter().all(|file| file.name != oldest) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    ensure!(!shelf.join(&oldest).exists());
    let left = recordings(&daemon)?;
    ensure!(left.iter().skip(1).all(|file| file.missing.is_empty()), "it went on without a gap: {left:?}");

    // Turned off for a moment, since nobody may remount a disk that somebody writes to; a kernel that sees it fail does.
    let off = Settings::new(settings.input.clone(), Output::live(&server));
    let reload = |settings: &Settings| -> Result<()> {
        daemon.rewrite(settings)?;
        let said = daemon.cli(&["reload"])?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        Ok(())
    };
    reload(&off)?;
    wait::until("the disk is let go", SOON, || disk.remount("ro").map_err(|error| format!("{error:#}")))?;
    reload(&settings)?;
    daemon.wait_for("the box says that it is read-only", LATER, |status| {
        let remedy = status.recording.as_ref().and_then(|report| report.remedy.as_ref());
        remedy.is_some_and(|remedy| remedy.contains("Read-only"))
    })?;
    ensure!(daemon.log().matches("nothing is recorded any more").count() == 1, "{}", daemon.log());
    let status = daemon.cli(&["status"])?;
    ensure!(String::from_utf8_lossy(&status.stdout).contains("STOPPED"));

    disk.remount("rw")?;
    state(|state| !matches!(state, RecordingState::Stopped { .. }), "it records again")?;
    wait::until("the box says that it is healed", LATER, || {
        let log = daemon.log();
        if log.contains("recording again after") { Ok(()) } else { Err(log) }
    })?;
    let status = daemon.status()?;
    ensure!(status.recording.as_ref().is_some_and(|report| report.gaps >= 1), "{:?}", status.recording);

    // Of all that a listener heard nothing.
    hear(&witness, &rendition, 2)?;
    unbroken(&witness, &rendition)?;
    for mount in mounts(&status) {
        ensure!(mount.failures == 0 && mount.skipped == 0, "{mount:?}");
    }
    drop(daemon);
    whole(&shelf, &rendition)?;
    Ok(())
}
