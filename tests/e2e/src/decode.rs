//! Decoders that may not complain: ffmpeg, mpg123, faad.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use units::Codec;

/// Decodes a file to 16-bit samples of its first channel.
///
/// # Errors
/// ffmpeg is not there, fails, or prints so much as one warning.
pub fn ffmpeg_file(file: &Path, codec: Codec) -> Result<Vec<i16>> {
    // Through a pipe: of a file it would guess the length, and warn that it guesses.
    ffmpeg(Stdio::from(File::open(file)?), "pipe:0", codec, None).with_context(|| file.display().to_string())
}

/// Plays a mount for so many seconds of its sound, to 16-bit samples of its first channel.
///
/// # Errors
/// ffmpeg is not there, fails, or prints so much as one warning.
pub fn ffmpeg_mount(url: &str, codec: Codec, seconds: u32) -> Result<Vec<i16>> {
    ffmpeg(Stdio::null(), url, codec, Some(seconds)).with_context(|| url.to_owned())
}

fn ffmpeg(input: Stdio, from: &str, codec: Codec, seconds: Option<u32>) -> Result<Vec<i16>> {
    let format = match codec {
        Codec::Mp3 => "mp3",
        Codec::AacLc | Codec::HeAac | Codec::HeAacV2 => "aac",
    };
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-v", "warning", "-xerror", "-f", format, "-i", from]);
    if let Some(seconds) = seconds {
        command.args(["-t", &seconds.to_string()]);
    }
    command.args(["-f", "s16le", "-ac", "2", "-"]);
    let output = run(&mut command, input)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.trim().is_empty(), "ffmpeg: {said}");
    Ok(output
        .stdout
        .as_chunks::<4>()
        .0
        .iter()
        .map(|frame| i16::from_le_bytes([frame[0], frame[1]]))
        .collect())
}

/// Decodes an MP3 file with mpg123 and throws the sound away.
///
/// # Errors
/// mpg123 is not there, fails, or prints a warning.
pub fn mpg123(file: &Path) -> Result<()> {
    let output = run(Command::new("mpg123").args(["-q", "-t"]).arg(file), Stdio::null())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.trim().is_empty(), "mpg123 on {}: {said}", file.display());
    Ok(())
}

/// Decodes an ADTS file with faad and gives the frames (of the decoded rate) it wrote.
///
/// # Errors
/// faad is not there, fails, or prints an error.
pub fn faad(file: &Path) -> Result<u64> {
    // Raw 16-bit samples, two channels, to standard output.
    let output = run(Command::new("faad").args(["-q", "-f", "2", "-w"]).arg(file), Stdio::null())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint = said.lines().find(|line| {
        let line = line.to_ascii_lowercase();
        ["error", "warning", "invalid", "fail"].iter().any(|word| line.contains(word))
    });
    ensure!(complaint.is_none(), "faad on {}: {said}", file.display());
    Ok(output.stdout.len() as u64 / 4)
}

fn run(command: &mut Command, input: Stdio) -> Result<Output> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(input).output().with_context(|| format!("running {name}"))?;
    ensure!(
        output.status.success(),
        "{name} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}
