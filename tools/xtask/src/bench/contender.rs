//! Who is measured, as data: the floor, an ideal source client, the box, and the peers that Debian has.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use e2e::icecast::{Icecast, SOURCE_PASSWORD};
use e2e::process::Process;
use e2e::settings::{Input, Mount, Output, Settings};
use e2e::{Build, program};
use tempfile::TempDir;
use units::Codec;
use units::snapshot::{self, Request};

use super::clock;

/// One of those who take turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contender {
    /// libmp3lame and a timer; no card, no server.
    Floor,
    /// The floor with a socket.
    Ideal,
    /// The box.
    Box(Work),
    /// FFmpeg's ALSA input and its Icecast output.
    Ffmpeg,
    /// DarkIce.
    Darkice,
    /// Liquidsoap.
    Liquidsoap,
}

/// What the box does beside encoding and sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    /// Nothing.
    Bare,
    /// It measures levels, loudness and faults.
    Meters,
    /// Somebody looks at the meters, ten times a second.
    Watched,
    /// It measures, and levels and limits what a raw console delivers.
    Levels,
}

impl Work {
    const fn meters(self) -> bool {
        match self {
            Self::Bare => false,
            Self::Meters | Self::Watched | Self::Levels => true,
        }
    }
}

impl Contender {
    /// In the order of their turns.
    pub(super) const ALL: [Self; 9] = [
        Self::Floor,
        Self::Box(Work::Bare),
        Self::Ffmpeg,
        Self::Box(Work::Meters),
        Self::Darkice,
        Self::Box(Work::Watched),
        Self::Liquidsoap,
        Self::Box(Work::Levels),
        Self::Ideal,
    ];

    /// What the table calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor (LAME, one thread, a timer)",
            Self::Ideal => "ideal client (floor and a socket)",
            Self::Box(Work::Bare) => "**Mainstay**, meters off",
            Self::Box(Work::Meters) => "**Mainstay**, meters on",
            Self::Box(Work::Watched) => "**Mainstay**, meters on and watched",
            Self::Box(Work::Levels) => "**Mainstay**, meters, leveller and limiter on",
            Self::Ffmpeg => "ffmpeg",
            Self::Darkice => "darkice",
            Self::Liquidsoap => "liquidsoap",
        }
    }

    /// Whether it is somebody else's program.
    pub(super) const fn is_peer(self) -> bool {
        match self {
            Self::Ffmpeg | Self::Darkice | Self::Liquidsoap => true,
            Self::Floor | Self::Ideal | Self::Box(_) => false,
        }
    }

    /// Whether a listener can hear it.
    pub(super) const fn sends(self) -> bool {
        !matches!(self, Self::Floor)
    }
}

/// What all turns share.
pub(super) struct Stage {
    pub(super) server: Icecast,
    /// The alsa-lib configuration with the test card `linein`.
    pub(super) asoundrc: PathBuf,
    /// The programme the card plays.
    pub(super) programme: PathBuf,
    pub(super) folder: TempDir,
}

/// A contender that runs; ends with its value.
pub(super) struct Running {
    // First: whoever watches hangs up before the box ends.
    watcher: Option<Watcher>,
    pub(super) process: Process,
    /// When it was executed.
    pub(super) started_ns: i64,
    // Last: the process ends before its folder goes.
    folder: TempDir,
}

impl Stage {
    /// Starts a contender that feeds `mount` with MP3 at 320 kbit/s from the card.
    pub(super) fn start(&self, contender: Contender, mount: &str) -> Result<Running> {
        let folder = tempfile::Builder::new().prefix("turn-").tempdir_in(self.folder.path())?;
        let command = match contender {
            Contender::Floor => self.floor(None)?,
            Contender::Ideal => self.floor(Some(mount))?,
            Contender::Box(work) => {
                let primary = Mount::icecast(self.server.url(mount), Codec::Mp3, 320);
                self.box_with(vec![Output::alone("main", primary)], work, folder.path())?
            }
            Contender::Ffmpeg => self.ffmpeg(mount),
            Contender::Darkice => self.darkice(mount, folder.path())?,
            Contender::Liquidsoap => self.liquidsoap(mount, folder.path())?,
        };
        let mut running = self.run(contender.name(), command, folder)?;
        if contender == Contender::Box(Work::Watched) {
            let socket = running.folder.path().join("air.sock");
            running.watcher = Some(Watcher::at(&socket)?);
        }
        Ok(running)
    }

    /// Starts the box with any outputs.
    pub(super) fn start_box(&self, outputs: Vec<Output>) -> Result<Running> {
        let folder = tempfile::Builder::new().prefix("turn-").tempdir_in(self.folder.path())?;
        let command = self.box_with(outputs, Work::Bare, folder.path())?;
        self.run("mainstay-air", command, folder)
    }

    fn run(&self, name: &str, mut command: Command, folder: TempDir) -> Result<Running> {
        command.env("ALSA_CONFIG_PATH", &self.asoundrc).current_dir(folder.path());
        let started_ns = clock::now_ns();
        let process = Process::start(name, &mut command, &folder.path().join("log"))?;
        Ok(Running { watcher: None, process, started_ns, folder })
    }

    fn floor(&self, mount: Option<&str>) -> Result<Command> {
        let mut command = Command::new(program(Build::Release, "xtask")?);
        command.arg("bench-floor").arg("--programme").arg(&self.programme);
        if let Some(mount) = mount {
            command.args(["--port", &self.server.port().to_string(), "--mount", mount]);
        }
        Ok(command)
    }

    fn box_with(&self, outputs: Vec<Output>, work: Work, folder: &Path) -> Result<Command> {
        let input = Input::Card { pcm: "linein".to_owned(), asoundrc: self.asoundrc.clone() };
        let config = Settings { input, outputs, meters: work.meters(), title_file: None }.write(folder)?;
        if work == Work::Levels {
            let mut file = std::fs::File::options().append(true).open(&config)?;
            writeln!(file, "\n[levels_out]\nfeed = \"raw\"\nleveller = \"-16 LUFS\"")?;
        }
        let mut command = Command::new(program(Build::Release, "mainstay-air")?);
        command.arg("--config").arg(config);
        Ok(command)
    }

    /// As an engineer would who wants it quick: no analysis of the input, no buffering, no Xing packet.
    fn ffmpeg(&self, mount: &str) -> Command {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-nostdin", "-hide_banner", "-v", "warning", "-fflags", "nobuffer"])
            .args(["-analyzeduration", "0", "-probesize", "32"])
            .args(["-f", "alsa", "-sample_rate", "48000", "-channels", "2", "-i", "linein"])
            .args(["-c:a", "libmp3lame", "-b:a", "320k", "-compression_level", "3", "-reservoir", "0"])
            .args(["-write_xing", "0", "-id3v2_version", "0", "-flush_packets", "1"])
            .args(["-content_type", "audio/mpeg", "-f", "mp3"])
            .arg(format!("icecast://source:{SOURCE_PASSWORD}@127.0.0.1:{}{mount}", self.server.port()));
        command
    }

    /// The smallest buffer it takes is a second; its quality 0.7 is LAME's 3.
    fn darkice(&self, mount: &str, folder: &Path) -> Result<Command> {
        let mut text = String::from(
            "[general]\nduration = 0\nbufferSecs = 1\nreconnect = yes\nrealtime = yes\nrtprio = 20\n\
             [input]\ndevice = linein\nsampleRate = 48000\nbitsPerSample = 16\nchannel = 2\n\
             [icecast2-0]\nbitrateMode = cbr\nformat = mp3\nbitrate = 320\nquality = 0.7\nsampleRate = 48000\n\
             channel = 2\nlowpass = -1\nhighpass = -1\nserver = 127.0.0.1\n",
        );
        writeln!(text, "port = {}", self.server.port())?;
        writeln!(text, "password = {SOURCE_PASSWORD}\nmountPoint = {}", mount.trim_start_matches('/'))?;
        let file = folder.join("darkice.cfg");
        std::fs::write(&file, text)?;
        let mut command = Command::new("darkice");
        command.arg("-c").arg(file);
        Ok(command)
    }

    /// Straight from ALSA, without its own buffering; its frame of 0.04 s is its default.
    fn liquidsoap(&self, mount: &str, folder: &Path) -> Result<Command> {
        let text = format!(
            "settings.init.allow_root.set(true)\n\
             settings.log.file.set(false)\n\
             settings.log.stdout.set(true)\n\
             settings.frame.audio.samplerate.set(48000)\n\
             output.icecast(%mp3(bitrate=320, samplerate=48000, stereo=true, internal_quality=3, id3v2=false), \
             host=\"127.0.0.1\", port={}, password=\"{SOURCE_PASSWORD}\", mount=\"{mount}\", fallible=true, \
             input.alsa(device=\"linein\", bufferize=false))\n",
            self.server.port()
        );
        let file = folder.join("bench.liq");
        std::fs::write(&file, text)?;
        let mut command = Command::new("liquidsoap");
        command.arg(file);
        Ok(command)
    }
}

/// Somebody who looks at the meters, ten times a second, until the value is dropped.
struct Watcher {
    socket: UnixStream,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    fn at(path: &Path) -> Result<Self> {
        let limit = std::time::Duration::from_secs(10);
        let mut socket = e2e::wait::until("the box's socket opens", limit, || {
            UnixStream::connect(path).map_err(|error| error.to_string())
        })?;
        let command = snapshot::Command::Watch { every_ms: 100 };
        let request = Request { protocol: snapshot::PROTOCOL, command };
        writeln!(socket, "{}", serde_json::to_string(&request)?)?;
        let reading = socket.try_clone()?;
        let thread = std::thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || BufReader::new(reading).lines().map_while(Result::ok).for_each(drop))
            .context("watching the meters")?;
        Ok(Self { socket, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The box may have hung up first.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed there.
            let _ = thread.join();
        }
    }
}
