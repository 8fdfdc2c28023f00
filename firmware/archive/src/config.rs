//! What is recorded, where to, and how much of it is kept.

use std::path::PathBuf;

use units::Rendition;

/// `[recording]`, as the settings say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where recordings go.
    pub folder: PathBuf,
    /// What is recorded.
    pub rendition: Rendition,
    /// Days after which a recording goes.
    pub days: u32,
    /// Bytes of all recordings together.
    pub budget: u64,
    /// Bytes that stay free on the disk.
    pub keep_free: u64,
    /// Bytes of what is kept apart, the sound around incidents.
    pub incidents: u64,
}
