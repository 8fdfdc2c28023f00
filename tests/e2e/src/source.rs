//! Somebody else's source on a mount: ffmpeg with a sine.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::Process;

/// Feeds a mount (`http://127.0.0.1:PORT/mount`) with a sine in MP3 until the value is dropped.
///
/// # Errors
/// ffmpeg is not installed.
pub fn foreign(url: &str, password: &str, folder: &Path) -> Result<Process> {
    let target = url.replace("http://", &format!("icecast://source:{password}@"));
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-ac", "2", "-c:a", "libmp3lame", "-b:a", "128k", "-content_type", "audio/mpeg", "-f", "mp3"])
        .arg(target);
    Process::start("foreign source", &mut command, &folder.join("foreign.log"))
}
