//! `cargo xtask test`: the floors of tests, fast first, each callable alone.

mod house;
mod licences;
mod tally;
mod tidy;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use e2e::wait;

use crate::packages;
use tally::{Runner, Tally};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this floor; may be given more than once
    #[arg(long, value_enum)]
    floor: Vec<Floor>,
}

/// The floors in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
enum Floor {
    /// Format, clippy, house rules, licences and dependencies
    Tidy,
    /// Every crate's own tests: no network, no real time
    Inline,
    /// The delivery core linked without std
    NoStd,
    /// The simulated world: servers and links that fail, in virtual time
    Sim,
    /// The real box against real servers and players
    E2e,
    /// Every byte that comes from outside, fuzzed for a bounded time
    Fuzz,
    /// Capture on a real kernel in a small VM: cards unplugged and replugged
    Vm,
}

impl Floor {
    const fn name(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::Inline => "inline",
            Self::NoStd => "no-std",
            Self::Sim => "sim",
            Self::E2e => "e2e",
            Self::Fuzz => "fuzz",
            Self::Vm => "vm",
        }
    }

    fn run(self, runner: &mut Runner) -> Result<()> {
        let cargo_test = |arguments: &[&str]| {
            let mut command = cargo();
            command.args(["test", "--locked", "--no-fail-fast"]).args(arguments);
            command
        };
        match self {
            Self::Tidy => tidy::run(runner),
            Self::Inline => {
                runner.child(&mut cargo_test(&[
                    "--workspace",
                    "--exclude=mainstay-sim",
                    "--exclude=mainstay-e2e",
                    "--exclude=mainstay-fuzz",
                    "--lib",
                    "--bins",
                    "--tests",
                ]))?;
                runner.child(&mut cargo_test(&["-p=mainstay-e2e", "--lib"]))
            }
            Self::NoStd => {
                runner.child(&mut script("tests/no_std/run"))?;
                runner.child(script("tests/no_std/run").arg("--negative"))
            }
            Self::Sim => runner.child(&mut cargo_test(&["-p=mainstay-sim"])),
            Self::E2e => {
                packages::install("e2e")?;
                let tree = script("tools/lab/trixie").status().context("running tools/lab/trixie")?;
                ensure!(tree.success(), "tools/lab/trixie ended with {tree}");
                let built = cargo()
                    .args(["build", "--locked", "-p=mainstay-air", "-p=mainstay-cli"])
                    .status()
                    .context("running cargo build")?;
                ensure!(built.success(), "the box's programs do not build");
                // The tests wait more than they work: more threads than cores.
                let mut test = cargo_test(&["-p=mainstay-e2e", "--test=e2e", "--", "--test-threads=6"]);
                // Errors carry their own story; their backtraces only hide it.
                runner.child(test.env("RUST_LIB_BACKTRACE", "0"))
            }
            Self::Fuzz => {
                runner.child(&mut cargo_test(&["-p=mainstay-fuzz"]))?;
                runner.child(&mut script("tests/fuzz/run"))
            }
            Self::Vm => runner.child(&mut script("tests/vm/run")),
        }
    }
}

/// Runs the floors and ends with one line, `N passed, N failed`; success only if something passed and nothing failed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut floors =
        if arguments.floor.is_empty() { Floor::value_variants().to_vec() } else { arguments.floor.clone() };
    floors.sort_unstable();
    floors.dedup();
    packages::install("build")?;
    let mut total = Tally::default();
    for (index, floor) in floors.iter().enumerate() {
        println!("\n== {} ({} of {})", floor.name(), index + 1, floors.len());
        let start = wait::now();
        let mut runner = Runner::default();
        if let Err(error) = floor.run(&mut runner) {
            runner.failed(&format!("{error:#}"));
        }
        let tally = runner.tally();
        println!("== {}: {tally} in {:.0} s", floor.name(), start.elapsed().as_secs_f64());
        total += tally;
    }
    println!("\n{total}");
    Ok(if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Cargo, at the top of the repository.
fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(e2e::repository());
    command
}

/// A script of the repository, run at its top.
fn script(path: &str) -> Command {
    let mut command = Command::new(e2e::repository().join(path));
    command.current_dir(e2e::repository());
    command
}
