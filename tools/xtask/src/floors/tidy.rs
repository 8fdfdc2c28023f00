//! The fast floor: format, lints, house rules, dependencies.

use std::process::Command;

use anyhow::Result;

use super::tally::Runner;
use super::{cargo, house, licences};

pub(super) fn run(runner: &mut Runner) -> Result<()> {
    runner.check("formatted (cargo fmt)", cargo().args(["fmt", "--all", "--check"]))?;
    report(runner, "house rules", &house::violations()?);

    let tree = licences::tree()?;
    let rules = licences::rules()?;
    report(runner, "licences are on the list of .deny.toml", &licences::licences(&tree, &rules)?);
    report(runner, "no crate twice, none banned, none from elsewhere", &licences::crates(&tree, &rules));
    // Beside ours, the tool that others know; ours is enough where it is not installed.
    if Command::new("cargo-deny").arg("--version").output().is_ok_and(|output| output.status.success()) {
        let mut deny = cargo();
        deny.args(["deny", "--offline", "check", "--config", ".deny.toml", "licenses", "bans", "sources"]);
        runner.check("cargo deny", &mut deny)?;
    } else {
        println!(
            "note cargo-deny is not installed: licences, bans and sources were checked by ourselves, advisories were not"
        );
    }
    runner.check(
        "clippy has no complaint",
        cargo().args([
            "clippy",
            "--quiet",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )
}

fn report(runner: &mut Runner, what: &str, violations: &[String]) {
    if violations.is_empty() {
        runner.passed(what);
    } else {
        runner.failed(&format!("{what}\n     {}", violations.join("\n     ")));
    }
}
