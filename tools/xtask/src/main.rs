//! The project's own commands: `cargo xtask demo`, `test`, `soak`, `bench`. Each lives in a module of its own; this only lists them.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod floors;
mod interrupt;
mod packages;
mod programme;
mod soak;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Mainstay's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the box costs and how quick it is, beside ffmpeg, darkice and liquidsoap
    Bench(bench::Arguments),
    /// The bench's floor, in a process of its own
    #[command(hide = true)]
    BenchFloor(bench::FloorArguments),
    /// The box on a simulated line-in, a real Icecast on loopback, and a live status table
    Demo(demo::Arguments),
    /// What CI runs: all floors, fast first, or the named ones
    Test(floors::Arguments),
    /// Steps through a recording (`mainstay events`) or a scenario of tests/sim/scenarios again
    Replay {
        /// The file
        file: PathBuf,
    },
    /// Every codec for ten minutes through a real Icecast, decoded without a complaint and measured to the packet
    Soak(soak::Arguments),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::BenchFloor(arguments) => bench::run_floor(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => return floors::run(&arguments),
        Command::Replay { file } => sim::replay_file(&file).map(|told| print!("{told}")).map_err(Into::into),
        Command::Soak(arguments) => soak::run(&arguments),
    }?;
    Ok(ExitCode::SUCCESS)
}
