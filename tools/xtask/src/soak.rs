//! `cargo xtask soak`: the e2e test of the four codecs, at length.

use anyhow::{Result, ensure};
use e2e::Build;

use crate::{demo, packages};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long every codec is played
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.seconds >= 10,
        "{} s is too short to judge; use --seconds 10 or more",
        arguments.seconds
    );
    packages::install("e2e")?;
    demo::build()?;
    println!("soak: four codecs on two mounts each, {} s", arguments.seconds);
    for line in e2e::every_codec::every_codec(Build::Release, arguments.seconds)? {
        println!("{line}");
    }
    println!("soak: nothing lost, repeated or torn");
    Ok(())
}
