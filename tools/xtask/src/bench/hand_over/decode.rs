//! ffmpeg as a listener's decoder: what it makes of what was heard, and what it has to say about it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// Decodes `sound` (its container named as ffmpeg does: `mp3`, `aac`) with more `arguments` for the output. Gives the
/// output, and each line that was printed, warnings included.
///
/// # Errors
/// ffmpeg is not there. What it refuses is in its lines.
pub(super) fn ffmpeg(sound: &[u8], format: &str, arguments: &[&str]) -> Result<(Vec<u8>, Vec<String>)> {
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "warning", "-threads", "1", "-f", format, "-i", "pipe:0"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("running ffmpeg")?;
    let mut input = child.stdin.take().context("its input is piped")?;
    let (fed, output) = std::thread::scope(|scope| {
        // From the side: it writes while it reads.
        let feeding = scope.spawn(move || input.write_all(sound).is_ok());
        let output = child.wait_with_output();
        (feeding.join().unwrap_or(false), output)
    });
    let output = output.context("waiting for ffmpeg")?;
    let mut said: Vec<String> = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
    if !fed {
        said.push("it stopped reading".to_owned());
    }
    Ok((output.stdout, said))
}
