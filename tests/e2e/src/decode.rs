//! Decoders and players that may not complain: ffmpeg, mpg123, faad, mpv.

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

/// Plays a mount for so many seconds of its sound, to 16-bit samples of its first channel, at 48 kHz whatever the mount has.
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
        Codec::Vorbis | Codec::Opus => "ogg",
    };
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-v", "warning", "-xerror", "-f", format, "-i", from]);
    if let Some(seconds) = seconds {
        command.args(["-t", &seconds.to_string()]);
    }
    command.args(["-f", "s16le", "-ac", "2", "-ar", "48000", "-"]);
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

/// The title that a mount's Ogg stream begins with, as ffprobe reads it.
///
/// # Errors
/// ffprobe is not there, fails, or prints a warning.
pub fn ffprobe_title(url: &str) -> Result<String> {
    let mut command = Command::new("ffprobe");
    command.args([
        "-hide_banner",
        "-v",
        "warning",
        "-show_entries",
        "stream_tags=title",
        "-of",
        "csv=p=0",
        url,
    ]);
    let output = run(&mut command, Stdio::null())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.trim().is_empty(), "ffprobe on {url}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Plays a mount with mpv for so many seconds, and gives all that it printed.
///
/// # Errors
/// mpv is not there, fails, or prints an error.
pub fn mpv(url: &str, seconds: u32) -> Result<String> {
    let mut command = Command::new("mpv");
    command.args(["--no-config", "--no-video", "--ao=null", "--quiet"]);
    command.arg(format!("--length={seconds}")).arg(url);
    let output = run(&mut command, Stdio::null())?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let complaint = said.lines().find(|line| {
        let line = line.to_ascii_lowercase();
        ["error", "invalid", "fail"].iter().any(|word| line.contains(word))
    });
    ensure!(complaint.is_none(), "mpv on {url}: {said}");
    Ok(said)
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
