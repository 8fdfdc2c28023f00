//! `cargo xtask bench programme`: faults on labelled clips, meters against the EBU's signals, the limiter's true peaks, and
//! what all of it costs. Sound is made here and fed in audio time; only the cost is measured. Ends in failure if a
//! requirement is missed.

mod clips;
mod cost;
mod ebu;
mod faults;
mod limiter;
mod synth;

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use self::clips::Studio;
use self::cost::Part;
use crate::packages;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds of the cost
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Seconds of sound in each round
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Measure the cost in this very program, however it was built
    #[arg(long)]
    no_build: bool,
    /// Only these
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Chapter>,
    /// Print the cost as JSON and nothing else
    #[arg(long, hide = true)]
    json: bool,
}

/// Parts of the bench.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Chapter {
    /// Labelled clips
    Faults,
    /// Tech 3341 and 3342
    Ebu,
    /// True peaks
    Limiter,
    /// CPU time
    Cost,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rounds > 0 && arguments.seconds >= 5, "use at least 1 round of 5 seconds");
    packages::install("bench")?;
    let folder = tempfile::Builder::new().prefix("mainstay-bench-").tempdir()?;
    let studio = Studio::open(folder.path())?;
    let measured_here =
        || cost::run(&studio.music(f64::from(arguments.seconds)).interleaved(), arguments.rounds);
    if arguments.json {
        println!("{}", serde_json::to_string(&measured_here()?)?);
        return Ok(());
    }
    let wanted = |chapter| arguments.only.is_empty() || arguments.only.contains(&chapter);
    let mut text = String::new();
    let mut missed = Vec::new();
    if wanted(Chapter::Faults) {
        write_faults(&mut text, &mut missed, &faults::run(&studio)?);
    }
    if wanted(Chapter::Ebu) {
        write_ebu(&mut text, &mut missed, &ebu::run()?);
    }
    if wanted(Chapter::Limiter) {
        write_limiter(&mut text, &mut missed, &limiter::run(&studio));
    }
    if wanted(Chapter::Cost) {
        let measured = if arguments.no_build { measured_here()? } else { released(arguments)? };
        write_cost(&mut text, &mut missed, arguments, &measured);
    }
    let target = e2e::repository().join("target/bench");
    std::fs::create_dir_all(&target)?;
    std::fs::write(target.join("programme.md"), &text)?;
    println!("{text}\nAlso in target/bench/programme.md");
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

/// The cost as the release build has it: this program as it is shipped.
fn released(arguments: &Arguments) -> Result<Vec<(Part, Vec<f64>)>> {
    let top = e2e::repository();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "-p", "xtask"])
        .current_dir(top)
        .status()
        .context("running cargo build")?;
    ensure!(status.success(), "the build failed");
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), Into::into);
    let output = Command::new(folder.join("release/xtask"))
        .args(["bench", "programme", "--no-build", "--json"])
        .args(["--rounds", &arguments.rounds.to_string(), "--seconds", &arguments.seconds.to_string()])
        .current_dir(top)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("running the release build")?;
    ensure!(output.status.success(), "the release build ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("reading what the release build measured")
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}

fn write_faults(text: &mut String, missed: &mut Vec<String>, rows: &[faults::Row]) {
    *text += "\nFaults on labelled clips; due is the preset's time, found the seconds from the fault's beginning (at most 0.05 \
              later).\n\n| clip | preset | must be found | due | found | false alarms |\n|---|---|---|--:|--:|---|\n";
    for row in rows {
        let alarms = if row.false_alarms.is_empty() { "-".to_owned() } else { row.false_alarms.join(", ") };
        if row.found.is_empty() {
            let _ = writeln!(text, "| {} | {} | nothing | | | {alarms} |", row.clip, row.preset);
        }
        for (number, found) in row.found.iter().enumerate() {
            let alarms = if number == 0 { alarms.as_str() } else { "" };
            let stage = match found.stage {
                programme::fault::Stage::Alarm => "alarm",
                programme::fault::Stage::Act => "act",
            };
            let took = found.took.map_or_else(|| "**missed**".to_owned(), |took| format!("{took:.2} s"));
            let (clip, preset, kind, due) = (row.clip, row.preset, found.kind, found.after);
            let _ =
                writeln!(text, "| {clip} | {preset} | {kind}, {stage} | {due:.0} s | {took} | {alarms} |");
        }
    }
    let hits: usize = rows.iter().map(|row| row.found.len() - row.misses()).sum();
    let misses: usize = rows.iter().map(faults::Row::misses).sum();
    let alarms: usize = rows.iter().map(|row| row.false_alarms.len()).sum();
    let latest = rows
        .iter()
        .flat_map(|row| &row.found)
        .filter_map(|found| Some(found.took? - found.after))
        .fold(f64::NEG_INFINITY, f64::max);
    let _ = writeln!(
        text,
        "\n{} clips and presets: {hits} hits, {misses} missed, {alarms} false alarms; the latest {:.0} ms after its time.",
        rows.len(),
        latest * 1000.0
    );
    if misses + alarms > 0 {
        missed.push(format!("{misses} faults missed, {alarms} false alarms"));
    }
}

fn write_ebu(text: &mut String, missed: &mut Vec<String>, rows: &[ebu::Row]) {
    *text += "\nMinimum-requirement signals of EBU Tech 3341 and 3342, 48 kHz.\n\n| case | figure | required | measured | |\n\
              |---|---|--:|--:|---|\n";
    for row in rows {
        let (low, high) = row.measured;
        let measured =
            if high - low < 0.005 { format!("{low:.2}") } else { format!("{low:.2} to {high:.2}") };
        let (under, over) = row.tolerance;
        let required = if under == over {
            format!("{:.1} +-{under:.1}", row.required)
        } else {
            format!("{:.1} +{over:.1} -{under:.1}", row.required)
        };
        let _ = writeln!(
            text,
            "| {} | {} | {required} | {measured} | {} |",
            row.case,
            row.figure,
            verdict(row.is_met())
        );
        if !row.is_met() {
            missed.push(format!("EBU {} {}", row.case, row.figure));
        }
    }
    let _ = writeln!(text, "\n{}", ebu::LEFT_OUT);
}

fn write_limiter(text: &mut String, missed: &mut Vec<String>, rows: &[limiter::Row]) {
    *text += "\nTrue peaks behind the limiter, highest of gains of 0 and 12 dB (8 times oversampled, 128 taps).\n\n\
              | signal | at most goes in | ceiling | comes out | |\n|---|--:|--:|--:|---|\n";
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {:+.2} dBTP | {:.1} | {:.3} dBTP | {} |",
            row.signal,
            row.fed,
            row.ceiling,
            row.highest,
            verdict(row.is_met())
        );
        if !row.is_met() {
            missed.push(format!("limiter on {}", row.signal));
        }
    }
}

fn write_cost(text: &mut String, missed: &mut Vec<String>, arguments: &Arguments, rows: &[(Part, Vec<f64>)]) {
    let _ = writeln!(
        text,
        "\nCPU time of one thread, medians of {} rounds of {} s of sound, by turns.\n\n\
         | | CPU s/h | of LAME | at most | |\n|---|--:|--:|--:|---|",
        arguments.rounds, arguments.seconds
    );
    let median = |figures: &[f64]| {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let lame =
        rows.iter().find(|(part, _)| *part == Part::Lame).map_or(f64::NAN, |(_, figures)| median(figures));
    for (part, figures) in rows {
        let cost = median(figures);
        let ratio = cost / lame;
        let (most, met) = match part.most() {
            Some(most) => (format!("{most:.2}"), verdict(ratio <= most)),
            None => (String::new(), ""),
        };
        let _ = writeln!(text, "| {} | {cost:.1} | {ratio:.3} | {most} | {met} |", part.name());
        if part.most().is_some_and(|most| ratio > most) {
            missed.push(format!("{} costs {ratio:.3} of LAME", part.name()));
        }
    }
}
