//! `cargo xtask demo`: the box on a simulated line-in, a real Icecast on loopback, and a live status table.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::daemon::{self, Daemon};
use e2e::icecast::Headend;
use e2e::settings::{Input, Output, Settings};
use e2e::{Build, wait};
use units::snapshot::{self, MountState, Snapshot};

use crate::interrupt::Interrupt;
use crate::{packages, programme};

/// How long both mounts may take to be verified.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two lines of status where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Capture from this PCM (`hw:CARD=Device`, any name ALSA knows) instead of the simulated line-in
    #[arg(long, value_name = "PCM")]
    input: Option<String>,
    /// End after so many seconds; succeeds only if both mounts were verified
    #[arg(long)]
    seconds: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    packages::install("demo")?;
    build()?;
    let interrupt = Interrupt::listen()?;
    // Dropped in reverse: table, box, server, folder. Nothing is left behind.
    let folder = tempfile::Builder::new().prefix("mainstay-demo-").tempdir()?;
    let input = match &arguments.input {
        Some(pcm) => Input::Alsa(pcm.clone()),
        None => Input::File(line_in(folder.path())?),
    };
    let server = Headend::default().start()?;
    let mut box_ = Daemon::start_build(Build::Release, &Settings::new(input, Output::live(&server)))?;
    box_.ask(snapshot::Command::Title { text: "Mainstay - On the Air".to_owned() })?;
    println!();
    println!("listen:  {}           MP3 320 kbit/s", server.url("/live"));
    println!("         {}  MP3 192 kbit/s", server.url("/live_fallback"));
    println!("server:  {}", server.url("/"));
    println!("control: mainstay --socket {} status", box_.socket().display());
    println!("Ctrl-C ends it.\n");

    let start = wait::now();
    let over = || {
        interrupt.came()
            || arguments.seconds.is_some_and(|seconds| start.elapsed() >= Duration::from_secs(seconds))
    };
    let mut table = if std::io::stdout().is_terminal() { Some(Table::show(&box_)?) } else { None };
    let mut verified = false;
    let mut next_line = Duration::ZERO;
    while !over() {
        let status = box_.status().with_context(|| format!("the box is gone\n{}", box_.log()))?;
        verified |= all_verified(&status);
        if !verified && start.elapsed() > PATIENCE {
            drop(table.take());
            bail!("not on air after {} s\n{}\n{}", PATIENCE.as_secs(), daemon::in_short(&status), box_.log());
        }
        if table.is_none() && start.elapsed() >= next_line {
            println!("after {} s:", start.elapsed().as_secs());
            println!("{}", String::from_utf8_lossy(&box_.cli(&["status"])?.stdout));
            next_line += LINE_EVERY;
        }
        wait::pause(Duration::from_millis(100));
    }
    drop(table);
    if interrupt.came() {
        // On a terminal the signal went to all of us; whoever is still there ends with this function.
        println!("\ndemo: ended");
        return Ok(());
    }
    let status = box_.status()?;
    ensure!(
        verified && all_verified(&status),
        "demo: not both mounts were verified\n{}",
        daemon::in_short(&status)
    );
    for mount in ["/live", "/live_fallback"] {
        ensure!(server.source(mount)?.is_some(), "demo: the server does not show {mount}");
    }
    let ended = box_.end()?;
    ensure!(ended.success(), "demo: the box ended with {ended}\n{}", box_.log());
    println!(
        "demo: both mounts verified, {} frames captured, {} gaps",
        status.input.frames.0, status.input.gaps
    );
    Ok(())
}

/// Builds the box's programs as they are shipped.
pub(crate) fn build() -> Result<()> {
    println!("building (the first time takes some minutes)");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "-p", "mainstay-air", "-p", "mainstay-cli"])
        .current_dir(e2e::repository())
        .status()
        .context("running cargo build")?;
    ensure!(status.success(), "the build failed");
    Ok(())
}

fn all_verified(status: &Snapshot) -> bool {
    daemon::mounts(status).count() > 0
        && daemon::mounts(status).all(|mount| mount.state == MountState::Verified)
}

/// Music and speech as a file for the simulated line-in.
fn line_in(folder: &Path) -> Result<std::path::PathBuf> {
    println!("making a programme");
    let speech = programme::speech(folder)?;
    let file = folder.join("programme.wav");
    e2e::metronome::write_wav(&file, &programme::render(&speech))?;
    Ok(file)
}

/// The CLI's own table on our terminal.
struct Table(Child);

impl Table {
    fn show(daemon: &Daemon) -> Result<Self> {
        let child = Command::new(e2e::program(Build::Release, "mainstay")?)
            .arg("--socket")
            .arg(daemon.socket())
            .args(["status", "--watch"])
            .stdin(Stdio::null())
            .spawn()
            .context("showing the status table")?;
        Ok(Self(child))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // It may have ended by the same Ctrl-C.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
