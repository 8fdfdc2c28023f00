//! Stamps the build time into the binary: no certificate is ever judged at an earlier time than this.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    // A reproducible build sets the time itself (reproducible-builds.org, SOURCE_DATE_EPOCH).
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=Cargo.toml");
    let stamp = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    #[expect(clippy::disallowed_methods, reason = "the build's own time is what is wanted")]
    let seconds = stamp
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    println!("cargo:rustc-env=MAINSTAY_BUILD_TIME={seconds}");
}
