//! `mainstay-air`: captures the programme, encodes it and keeps it on its mounts. It listens on one local socket and on no
//! network.

mod archive;
mod aside;
mod clock;
mod control;
mod drill;
mod driver;
mod encoders;
mod incidents;
mod kept;
mod link;
mod log;
mod orders;
mod report;
mod saved_time;
mod socket;
mod sound;
mod station;
mod stream;
mod survey;
mod tiers;
mod titles;
mod tls;
mod uplink;
mod wire;

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use settings::Settings;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use units::snapshot::{Command, PROTOCOL, Reply, Request};

use crate::archive::Archive;
use crate::driver::Driver;
use crate::encoders::Packet;
use crate::sound::Sound;
use crate::station::Station;
use crate::tls::Judge;
use crate::uplink::Uplinks;

/// Puts the line-in on air, as the settings say.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The settings file.
    #[arg(long, default_value = "/etc/mainstay/settings.toml")]
    config: PathBuf,
    /// Only read the settings, and say which mounts a reload would interrupt.
    #[arg(long)]
    check: bool,
    /// Only check an audio file and make it ready for emergencies: what the daemon does in a process of its own.
    #[arg(long, value_name = "FILE", requires_all = ["into", "rate", "channels"])]
    prepare: Option<PathBuf>,
    /// Where its ready form goes
    #[arg(long, value_name = "FOLDER", hide = true)]
    into: Option<PathBuf>,
    /// The programme's rate in Hz
    #[arg(long, hide = true)]
    rate: Option<u32>,
    /// The programme's channels
    #[arg(long, hide = true)]
    channels: Option<u8>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = if arguments.check {
        check(&arguments.config)
    } else if let Some(file) = &arguments.prepare {
        prepare(file, &arguments)
    } else {
        run(&arguments.config)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mainstay-air: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(file: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let rate = units::SampleRate::try_from(arguments.rate.unwrap_or_default())?;
    let channels = match arguments.channels {
        Some(1) => units::Channels::Mono,
        Some(_) | None => units::Channels::Stereo,
    };
    let folder = arguments.into.as_deref().context("--into names no folder")?;
    // Its words name the cause already.
    let ready = emergency::prepare(file, emergency::Target { rate, channels }, folder)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let seconds = ready.frames.0 / u64::from(ready.rate.hz());
    println!("{}: {}, {seconds} s, {}", file.display(), ready.format, ready.loudness);
    Ok(())
}

fn run(config: &Path) -> anyhow::Result<()> {
    let settings = settings::load(config)?;
    let log = log::start().context("starting the log's thread")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let outcome = LocalSet::new().block_on(&runtime, on_air(config, settings, log.clone()));
    log.flush();
    outcome
}

async fn on_air(config: &Path, settings: Settings, log: log::Log) -> anyhow::Result<()> {
    // Signals first: one that comes during the start must end it in good order.
    let mut terminate = signal(SignalKind::terminate()).context("watching SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watching SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("watching SIGHUP")?;
    let places = settings.control.clone();
    // Before any mount: a box that is on air already keeps its mounts.
    let listener = match control::listen(&places.socket) {
        Ok(listener) => Some(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => anyhow::bail!(
            "another mainstay-air answers at {}; two would fight for the mounts",
            places.socket.display()
        ),
        // Being on air matters more than being asked.
        Err(error) => {
            tracing::error!(
                alarm = true,
                "no control socket at {}: {error}; on air without it. Set control.socket to a place this user may write",
                places.socket.display()
            );
            None
        }
    };
    let bound = listener.is_some();
    let (packets, inbox) = mpsc::channel(PACKET_QUEUE);
    let (titles, orders) = mpsc::channel(64);
    let (uplinks, mut news) = Uplinks::new();
    let archive = Archive::default();
    let driver = Driver::new(Judge::new(saved_time::load(&places.state)), uplinks, archive.clone());
    let told = driver.clone();
    tokio::task::spawn_local(async move {
        while let Some(input) = news.recv().await {
            told.feed(delivery::Input::Uplink(input));
        }
    });
    let (tell, mut told) = mpsc::unbounded_channel();
    let sound = Sound::new(driver.clone(), packets, tell);
    tokio::task::spawn_local(Rc::clone(&sound).run());
    tokio::task::spawn_local(Rc::clone(&sound).stand_by());
    tokio::task::spawn_local(deliver(driver.clone(), inbox));
    let ticking = driver.clone();
    tokio::task::spawn_local(async move {
        loop {
            ticking.tick().await;
        }
    });
    tokio::task::spawn_local(titles::run(driver.clone(), orders));
    let station =
        Station::start(config.to_path_buf(), settings, sound, driver, titles, log, station::seed()?).await?;
    let hearing = Rc::clone(&station);
    tokio::task::spawn_local(async move {
        while let Some(news) = told.recv().await {
            hearing.heard(news).await;
        }
    });
    tokio::task::spawn_local(Rc::clone(&station).keep_tiers());
    if let Some(listener) = listener {
        tokio::task::spawn_local(control::serve(listener, Rc::clone(&station)));
    }
    tokio::task::spawn_local(saved_time::keep(places.state));
    tokio::task::spawn_local(watchdog());
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
    // In a task of its own: this one is looked at by every wake-up of the thread.
    let signals = tokio::task::spawn_local(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return "SIGTERM",
                _ = interrupt.recv() => return "SIGINT",
                _ = hangup.recv() => {
                    if let Err(error) = station.reload().await {
                        tracing::error!("reload refused, nothing changed: {error:#}");
                    }
                }
            }
        }
    });
    let signal = signals.await.context("waiting for signals")?;
    tracing::info!("ending: {signal}");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    archive.close();
    if bound {
        let _ = std::fs::remove_file(&places.socket);
    }
    Ok(())
}

/// Hands the packets of further encoders to the driver as they come.
async fn deliver(driver: Driver, mut packets: mpsc::Receiver<Packet>) {
    while let Some(packet) = packets.recv().await {
        driver.packet(&packet.rendition, &packet.bytes, packet.frames, packet.entry);
        while let Ok(packet) = packets.try_recv() {
            driver.packet(&packet.rendition, &packet.bytes, packet.frames, packet.entry);
        }
        driver.packets_end();
    }
}

/// Tells systemd that the loop turns, if it wants to know.
async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        tokio::time::sleep(limit / 3).await;
    }
}

/// Reads the settings, and asks the box that runs from them what a reload would interrupt.
fn check(config: &Path) -> anyhow::Result<()> {
    let settings = settings::load(config)?;
    println!(
        "{}: good; {} mounts, {} renditions",
        config.display(),
        settings.mounts.len(),
        settings.encoders.len()
    );
    let socket = settings.control.socket.display();
    let stream = match UnixStream::connect(&settings.control.socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            println!("no box runs at {socket}: a reload would interrupt nothing");
            return Ok(());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("asking the box at {socket}; may this user?"));
        }
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).context("setting a time-out")?;
    let path = std::path::absolute(config).context("finding the file's whole path")?.display().to_string();
    let mut line = serde_json::to_string(&Request { protocol: PROTOCOL, command: Command::Check { path } })?;
    line.push('\n');
    (&stream).write_all(line.as_bytes()).context("asking the running box")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("waiting for the running box")?;
    match serde_json::from_str(&answer).context("understanding the running box")? {
        Reply::Done { changes } => changes.iter().for_each(|change| println!("{change}")),
        Reply::Refused { why } => anyhow::bail!("the running box says: {why}"),
        Reply::Snapshot(_)
        | Reply::Log { .. }
        | Reply::Events { .. }
        | Reply::Incidents { .. }
        | Reply::Recordings { .. }
        | Reply::Cut(_)
        | Reply::Drill(_)
        | Reply::Surveying { .. }
        | Reply::Surveyed(_) => {
            anyhow::bail!("the running box answered something else")
        }
    }
    Ok(())
}

/// Most of a minute of packets of one rendition.
const PACKET_QUEUE: usize = 2048;
