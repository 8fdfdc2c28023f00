//! The headend in a box: real servers, the real daemon and real players on loopback, for the tests beside this, for
//! `cargo xtask demo`, `soak` and `bench`.
//!
//! Invariants: every process started here is ended when its value is dropped, by its own id; every wait has a bound and
//! names what it waited for and what it saw last; nothing listens beyond 127.0.0.1; all files lie in folders that vanish.
#![forbid(unsafe_code)]

pub mod browser;
pub mod by_content;
pub mod card;
pub mod daemon;
pub mod decode;
pub mod dns;
pub mod ears;
pub mod every_codec;
pub mod harbor;
pub mod icecast;
pub mod lane;
pub mod liar;
pub mod listener;
pub mod metronome;
pub mod netns;
pub mod packets;
pub mod ports;
pub mod process;
pub mod proof;
pub mod settings;
pub mod source;
pub mod wait;
mod xml;

use std::path::{Path, PathBuf};

/// The top folder of the repository this was built from.
///
/// # Panics
/// Never: this crate lies two folders below it.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/e2e lies two folders below the top")
}

/// Which build of the box's programs is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// `cargo build`.
    Debug,
    /// `cargo build --release`.
    Release,
}

/// Where cargo puts a program of this workspace.
///
/// # Errors
/// The program is not there: names the command that builds it.
pub fn program(build: Build, name: &str) -> anyhow::Result<PathBuf> {
    let (folder, flag) = match build {
        Build::Debug => ("debug", ""),
        Build::Release => ("release", " --release"),
    };
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let path = target.join(folder).join(name);
    anyhow::ensure!(
        path.is_file(),
        "{} is not built; run: cargo build{flag} -p mainstay-air -p mainstay-cli",
        path.display()
    );
    Ok(path)
}
