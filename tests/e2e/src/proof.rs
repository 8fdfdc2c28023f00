//! Proof by bytes that a mount was not disturbed: every packet once and whole, and the programme's clock unbroken.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use units::{Codec, Rendition};

use crate::listener::Listener;
use crate::{decode, metronome, packets};

/// A busy machine may be so late.
const SLACK: Duration = Duration::from_secs(30);

/// What a listener got.
#[derive(Debug)]
pub struct Proof {
    /// Whole packets, first to last.
    pub packets: u64,
    /// Frames that ffmpeg made of them, first channel.
    pub decoded: Vec<i16>,
    /// The packets as a file, in a folder that lives as long.
    pub file: PathBuf,
    _folder: TempDir,
}

/// Everything a listener got: the bytes are whole packets without a byte between them, and ffmpeg decodes them to
/// exactly their frames without a complaint.
///
/// # Errors
/// They are not: says where, or what the decoder said.
pub fn contiguous(listener: &Listener, rendition: &Rendition) -> Result<Proof> {
    let audio = listener.audio();
    let whole = packets::whole(&audio, rendition)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(match rendition.codec {
        Codec::Mp3 => "captured.mp3",
        Codec::AacLc | Codec::HeAac | Codec::HeAacV2 => "captured.aac",
        Codec::Vorbis | Codec::Opus => "captured.ogg",
    });
    std::fs::write(&file, whole.bytes)?;
    let decoded = decode::ffmpeg_file(&file, rendition.codec)?;
    ensure!(
        decoded.len() as u64 == whole.frames(rendition),
        "{} whole packets hold {} frames, ffmpeg made {} of them",
        whole.packets,
        whole.frames(rendition),
        decoded.len()
    );
    Ok(Proof { packets: whole.packets, decoded, file, _folder: folder })
}

/// [`contiguous`], and what is heard is one unbroken stretch of the metronome.
///
/// # Errors
/// Something was lost, repeated or torn: says where.
pub fn unbroken(listener: &Listener, rendition: &Rendition) -> Result<Proof> {
    let proof = contiguous(listener, rendition)?;
    metronome::recognise(&proof.decoded)
        .with_context(|| format!("in {} packets of {rendition}", proof.packets))?;
    Ok(proof)
}

/// Lets a listener hear so many more seconds of a rendition.
///
/// # Errors
/// The server hung up, or the bytes did not come.
pub fn hear(listener: &Listener, rendition: &Rendition, seconds: u64) -> Result<()> {
    let more = seconds * rendition.bitrate.bytes_per_second();
    listener.wait_for_bytes(listener.bytes() + usize::try_from(more)?, Duration::from_secs(seconds) + SLACK)
}
