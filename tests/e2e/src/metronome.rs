//! A programme whose every stretch can be told from every other: clicks at intervals that never repeat within a loop.
//!
//! Whatever is captured, coded, sent and decoded must show the same intervals in the same order; a packet that is lost,
//! repeated or torn on the way changes one of them.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Frames per second.
pub const RATE: u32 = 48_000;
/// The first interval, in frames (0.25 s).
const FIRST: usize = 12_000;
/// How much longer each interval is than the one before (37.5 ms). It is no whole number of packets of any codec, so a
/// lost packet does not turn one interval into another.
const STEP: usize = 1_800;
/// Intervals in a loop.
const INTERVALS: usize = 24;
/// How far a click may be found from where it lies: the codecs smear it, the HE kinds most. Less than any packet.
const SMEAR: usize = 480;
/// A quiet tone beneath the clicks keeps every packet busy.
const TONE_HZ: f64 = 220.0;

/// Frames in one loop.
#[must_use]
pub const fn loop_frames() -> usize {
    INTERVALS * FIRST + STEP * INTERVALS * (INTERVALS - 1) / 2
}

fn intervals() -> impl Iterator<Item = usize> {
    (0..INTERVALS).map(|index| FIRST + STEP * index)
}

/// One loop, one channel, as 16-bit samples.
fn samples() -> Vec<i16> {
    let mut samples: Vec<f64> = (0..loop_frames())
        .map(|at| {
            // A whole number of cycles per loop, so that the seam is smooth.
            let cycles = (TONE_HZ * loop_frames() as f64 / f64::from(RATE)).round();
            0.02 * (std::f64::consts::TAU * cycles * at as f64 / loop_frames() as f64).sin()
        })
        .collect();
    let mut at = FIRST / 2;
    for interval in intervals() {
        // 2 ms of 2 kHz under a raised cosine.
        for (offset, sample) in samples[at - 48..at + 48].iter_mut().enumerate() {
            let phase = (offset as f64 - 48.0) / f64::from(RATE);
            let window = 0.5 + 0.5 * (std::f64::consts::PI * (offset as f64 - 48.0) / 48.0).cos();
            *sample += 0.7 * window * (std::f64::consts::TAU * 2_000.0 * phase).cos();
        }
        at = (at + interval) % loop_frames();
    }
    samples.into_iter().map(|sample| (sample * 32_767.0) as i16).collect()
}

/// Writes one loop as a stereo WAV file.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path) -> Result<()> {
    let interleaved: Vec<i16> = samples().into_iter().flat_map(|sample| [sample, sample]).collect();
    write_wav(path, &interleaved)
}

/// Writes one loop as raw 16-bit little-endian stereo, as the test card reads it.
///
/// # Errors
/// The file cannot be written.
pub fn write_raw(path: &Path) -> Result<()> {
    let bytes: Vec<u8> = samples()
        .into_iter()
        .flat_map(|sample| [sample.to_le_bytes(), sample.to_le_bytes()])
        .flatten()
        .collect();
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Writes interleaved stereo samples at 48 kHz as a WAV file.
///
/// # Errors
/// The file cannot be written.
pub fn write_wav(path: &Path, interleaved: &[i16]) -> Result<()> {
    write_wav_at(RATE, path, interleaved)
}

/// Writes interleaved stereo samples at so many frames per second as a WAV file.
///
/// # Errors
/// The file cannot be written.
pub fn write_wav_at(rate: u32, path: &Path, interleaved: &[i16]) -> Result<()> {
    let bytes = u32::try_from(interleaved.len() * 2).context("a WAV file holds 4 GiB at the most")?;
    let mut file = Vec::with_capacity(interleaved.len() * 2 + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + bytes).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, two channels, bytes per second, bytes per frame, bits per sample.
    file.extend_from_slice(&[1, 0, 2, 0]);
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 4).to_le_bytes());
    file.extend_from_slice(&[4, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&bytes.to_le_bytes());
    for sample in interleaved {
        file.extend_from_slice(&sample.to_le_bytes());
    }
    std::fs::write(path, file).with_context(|| format!("writing {}", path.display()))
}

/// Checks that decoded sound (one channel) is one unbroken stretch of the looped programme, and says how many
/// intervals were recognised.
///
/// # Errors
/// An interval is not the one that must follow: something was lost, repeated or torn there.
pub fn recognise(decoded: &[i16]) -> Result<usize> {
    recognise_clicks(&clicks(decoded), decoded.len()).map(|(intervals, _)| intervals)
}

/// Checks decoded sound with one stretch of silence in it, as a lost card leaves: sound and silence together must keep
/// the programme's clock. Gives the frames by which the sound after the silence is off.
///
/// # Errors
/// There is no such silence, or one of the two parts is not an unbroken stretch of the programme.
pub fn slip_over_silence(decoded: &[i16]) -> Result<i64> {
    let clicks = clicks(decoded);
    let longest = FIRST + STEP * INTERVALS;
    let cut =
        clicks.windows(2).position(|pair| pair[1] - pair[0] > longest).with_context(|| {
            format!("no silence between {} clicks in {} frames", clicks.len(), decoded.len())
        })? + 1;
    let (_, before) = recognise_clicks(&clicks[..cut], decoded.len()).context("before the silence")?;
    let (_, after) = recognise_clicks(&clicks[cut..], decoded.len()).context("after the silence")?;
    let whole = loop_frames().cast_signed() as i64;
    let heard = clicks[cut].cast_signed() as i64 - clicks[0].cast_signed() as i64;
    let slip = (heard - (after.cast_signed() as i64 - before.cast_signed() as i64)).rem_euclid(whole);
    Ok(if slip > whole / 2 { slip - whole } else { slip })
}

/// How many intervals were recognised, and where in the loop the first click lies.
fn recognise_clicks(clicks: &[usize], frames: usize) -> Result<(usize, usize)> {
    let heard: Vec<usize> = clicks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    ensure!(heard.len() >= 3, "only {} clicks in {frames} frames", clicks.len());
    let known: Vec<usize> = intervals().collect();
    let close = |heard: usize, known: usize| heard.abs_diff(known) <= SMEAR;
    let start = known
        .iter()
        .position(|&interval| close(heard[0], interval))
        .with_context(|| format!("the first interval, {} frames, is none of the programme's", heard[0]))?;
    for (index, &interval) in heard.iter().enumerate() {
        let wanted = known[(start + index) % INTERVALS];
        ensure!(
            close(interval, wanted),
            "interval {index} of {}, at frame {}: {interval} frames instead of {wanted}",
            heard.len(),
            clicks[index]
        );
    }
    Ok((heard.len(), FIRST / 2 + known[..start].iter().sum::<usize>()))
}

/// Where the clicks peak.
fn clicks(decoded: &[i16]) -> Vec<usize> {
    const LOUD: u16 = 6_000;
    let mut clicks = Vec::new();
    let mut at = 0;
    while at < decoded.len() {
        if decoded[at].unsigned_abs() > LOUD {
            let window = &decoded[at..decoded.len().min(at + FIRST / 2)];
            let peak = window.iter().enumerate().max_by_key(|(_, sample)| sample.unsigned_abs());
            clicks.push(at + peak.map_or(0, |(offset, _)| offset));
            at += FIRST / 2;
        } else {
            at += 1;
        }
    }
    clicks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_loops() -> Vec<i16> {
        samples().repeat(3)
    }

    #[test]
    fn an_unbroken_stretch_is_recognised() {
        let programme = three_loops();
        let heard = recognise(&programme[30_000..programme.len() - 50_000]).unwrap();
        assert!(heard > 2 * INTERVALS, "{heard}");
    }

    #[test]
    fn silence_of_the_exact_length_keeps_the_clock() {
        let mut programme = samples().repeat(6);
        programme[700_000..900_000].fill(0);
        assert_eq!(slip_over_silence(&programme).unwrap(), 0);
        programme.splice(800_000..800_000, [0; 37]);
        assert_eq!(slip_over_silence(&programme).unwrap(), 37);
        programme.drain(800_000..800_100);
        assert_eq!(slip_over_silence(&programme).unwrap(), 37 - 100);
    }

    #[test]
    fn one_packet_missing_or_repeated_is_noticed_for_every_codec() {
        for packet in [1152, 1024, 2048] {
            let programme = three_loops();
            let mut missing = programme.clone();
            missing.drain(500_000..500_000 + packet);
            assert!(recognise(&missing).is_err(), "{packet} frames missing");
            let mut repeated = programme.clone();
            repeated.splice(500_000..500_000, programme[500_000 - packet..500_000].iter().copied());
            assert!(recognise(&repeated).is_err(), "{packet} frames repeated");
        }
    }
}
