//! `cargo xtask bench`: what the box costs and how quick it is, beside the peers that Debian has, in turn on one machine.
//!
//! Everybody captures from the same test card (tests/card), feeds the same Icecast on loopback and is heard by the same
//! listener. Rounds are interleaved, so that whatever else the machine does meets everybody alike. Nothing here asserts a
//! time: the table says what was required and what was measured.

mod clock;
mod contender;
mod cpu;
mod floor;
mod hand_over;
mod latency;
mod listener;
mod outages;
mod pauses;
mod programme;
mod table;
mod turn;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use e2e::icecast::Headend;

use self::contender::{Contender, Stage};
use self::latency::Programme;
use self::table::Results;
use self::turn::Watch;
use crate::interrupt::Interrupt;
use crate::packages;

pub(crate) use self::floor::{Arguments as FloorArguments, run as run_floor};

/// Rounds that count.
const ROUNDS: u32 = 5;
/// Seconds of a turn that count.
const SECONDS: u64 = 60;
/// Mounts of one rendition.
const MOUNTS: [u32; 6] = [1, 2, 4, 8, 16, 32];

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    /// Rounds
    #[arg(long, default_value_t = ROUNDS)]
    rounds: u32,
    /// Measured seconds of each turn
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// Measure the release build that is there, whatever it was built from
    #[arg(long)]
    no_build: bool,
    /// Measure only these
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// Of the contenders, only those whose name in the table holds one of these words
    #[arg(long, value_delimiter = ',')]
    who: Vec<String>,
}

/// Benches of their own.
#[derive(clap::Subcommand)]
enum Other {
    /// What listeners hear while the uplinks fail, beside ffmpeg and Liquidsoap
    HandOver(hand_over::Arguments),
    /// Seconds lost when servers of several kinds are killed or cut off, and when the only uplink fails
    Outages(outages::Arguments),
    /// Faults found and not found on labelled clips, meters against the EBU's signals, the limiter's true peaks, and what all
    /// of it costs
    Programme(programme::Arguments),
}

/// Parts of the bench.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    /// CPU time, arrival and start of everybody
    Contenders,
    /// CPU time over 1 to 32 mounts
    Mounts,
    /// Memory with two mounts
    Memory,
    /// Pauses while another server is in trouble
    Pauses,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.other {
        Some(Other::HandOver(arguments)) => return hand_over::run(arguments),
        Some(Other::Outages(arguments)) => return outages::run(arguments),
        Some(Other::Programme(arguments)) => return programme::run(arguments),
        None => {}
    }
    ensure!(arguments.rounds > 0, "--rounds 0 measures nothing; use 1 or more");
    ensure!(arguments.seconds >= 5, "--seconds {} is too short; use 5 or more", arguments.seconds);
    packages::install("bench")?;
    if !arguments.no_build {
        build()?;
    }
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let interrupt = Interrupt::listen()?;
    let watch = Watch { span: Duration::from_secs(arguments.seconds), interrupt: &interrupt };
    let (stage, programme) = stage()?;
    let mut results = Results { rounds: arguments.rounds, seconds: arguments.seconds, ..Results::default() };
    let mut contenders = Contender::ALL.to_vec();
    contenders.retain(|contender| {
        arguments.who.is_empty() || arguments.who.iter().any(|word| contender.name().contains(word.as_str()))
    });
    if wanted(Part::Contenders) {
        results.contenders = contenders.iter().map(|contender| (contender.name(), Vec::new())).collect();
    }
    if wanted(Part::Mounts) {
        results.mounts = MOUNTS.map(|count| (count, Vec::new())).into();
    }
    for round in 1..=arguments.rounds {
        let say = |what: &str| eprintln!("round {round} of {}: {what}", arguments.rounds);
        for (index, ((name, turns), contender)) in
            results.contenders.iter_mut().zip(contenders.iter().copied()).enumerate()
        {
            say(name);
            let mount = format!("/turn-{round}-{index}");
            turns.push(watch.turn(&stage, contender, &programme, &mount)?);
        }
        for (count, turns) in &mut results.mounts {
            say(&format!("{count} mounts"));
            turns.push(watch.mounts(&stage, *count, &format!("/mounts-{round}-{count}"))?);
        }
        if wanted(Part::Memory) {
            say("memory");
            results.pair.push(watch.pair(&stage, &format!("/pair-{round}"))?);
        }
    }
    if wanted(Part::Pauses) {
        eprintln!("pauses");
        results.pauses = pauses::run(&stage, &watch)?;
    }
    let text = results.markdown();
    let folder = e2e::repository().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("bench.json"), serde_json::to_string_pretty(&results)?)?;
    std::fs::write(folder.join("bench.md"), &text)?;
    println!("{text}\nEvery turn by itself: target/bench/bench.json");
    Ok(())
}

/// The box as it is shipped, and this program as well: the floor is measured with the same compiler settings. One by one,
/// so that the box's dependencies are built for the box.
fn build() -> Result<()> {
    for packages in [["-p", "mainstay-air", "-p", "mainstay-cli"].as_slice(), &["-p", "xtask"]] {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--release"])
            .args(packages)
            .current_dir(e2e::repository())
            .status()
            .context("running cargo build")?;
        ensure!(status.success(), "the build failed");
    }
    Ok(())
}

/// Server, card and programme.
fn stage() -> Result<(Stage, Programme)> {
    let folder = tempfile::Builder::new().prefix("mainstay-bench-").tempdir()?;
    let (programme, sound) = Programme::over(crate::programme::render(&[]));
    let path = folder.path().join("programme.s16");
    let bytes: Vec<u8> = sound.into_iter().flat_map(i16::to_le_bytes).collect();
    std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    let asoundrc = card(folder.path(), &path)?;
    let server = Headend { fallbacks: Vec::new(), sources: 60, ..Headend::default() }.start()?;
    Ok((Stage { server, asoundrc, programme: path, folder }, programme))
}

/// The test card, playing the programme by the clock: frame 0 at CLOCK_MONOTONIC's zero.
fn card(folder: &Path, programme: &Path) -> Result<std::path::PathBuf> {
    let source = e2e::repository().join("tests/card/card.c");
    let library = folder.join("libasound_module_pcm_mainstay_card.so");
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-shared", "-fPIC", "-DPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-lasound")
        .output()
        .context("running cc")?;
    ensure!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    let asoundrc = folder.join("asoundrc");
    let text = format!(
        "pcm_type.mainstay_card {{ lib \"{}\" }}\npcm.linein {{\n    type mainstay_card\n    file \"{}\"\n    \
         rate 48000\n    channels 2\n    epoch \"0\"\n}}\n",
        library.display(),
        programme.display(),
    );
    std::fs::write(&asoundrc, text)?;
    Ok(asoundrc)
}
