//! How old a sample is when a listener has decoded it: a programme with clicks at known frames, and finding them again.
//!
//! The test card converts frame n at `n / 48000` seconds of CLOCK_MONOTONIC. A click is found in the decoded sound, told
//! from the others by the intervals around it, and its age is the arrival of the packet that its middle is decoded from
//! less its conversion. All contenders are decoded and judged by the same code; a decoder's inherent delay is part of it.

use anyhow::{Context as _, Result};
use symphonia::core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};
use units::header::PacketHeader;

use super::clock::SECOND;
use super::floor::RENDITION;
use super::listener::Heard;

/// Frames per second of everything here.
const RATE: i64 = 48_000;
/// Frames of one packet.
const PACKET: usize = 1152;
/// Half a click: 1 ms.
const HALF: usize = 48;
/// The music's loudest sample, of full scale; clicks rise well above it.
const MUSIC: f64 = 0.22;
const CLICK: f64 = 0.7;
/// A click is where the sound is above this.
const LOUD: f32 = 0.38;
/// How far an interval may be off.
pub(super) const SMEAR: usize = 6;
/// Packets that must follow each other before the first is believed.
const CHAIN: usize = 4;

/// Frames the card has converted by an instant.
pub(super) fn frames_until(ns: i64) -> i64 {
    (i128::from(ns) * i128::from(RATE)).div_euclid(i128::from(SECOND)) as i64
}

/// The first nanosecond at which so many frames are converted.
pub(super) fn ns_of(frames: i64) -> i64 {
    let scaled = i128::from(frames) * i128::from(SECOND);
    ((scaled + i128::from(RATE) - 1) / i128::from(RATE)) as i64
}

/// A looped programme with clicks.
pub(super) struct Programme {
    /// Middles of the clicks.
    pub(super) clicks: Vec<usize>,
    pub(super) frames: usize,
}

impl Programme {
    /// Lays clicks over music (interleaved stereo); gives the sound for the card as well.
    pub(super) fn over(mut music: Vec<i16>) -> (Self, Vec<i16>) {
        let frames = music.len() / 2;
        let peak = music.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(1).max(1);
        let gain = MUSIC * 32_767.0 / f64::from(peak);
        for sample in &mut music {
            *sample = (f64::from(*sample) * gain) as i16;
        }
        let clicks = click_frames(frames);
        let mono = shape();
        for &click in &clicks {
            for (offset, &sample) in mono.iter().enumerate() {
                for channel in 0..2 {
                    let place = &mut music[2 * (click - HALF + offset) + channel];
                    *place = place.saturating_add((sample * 32_767.0) as i16);
                }
            }
        }
        (Self { clicks, frames }, music)
    }

    /// Ages of the clicks that arrived between two instants, in milliseconds.
    ///
    /// # Errors
    /// What was heard is no MP3, or the decoder does not start.
    pub(super) fn ages(&self, heard: &Heard, from_ns: i64, to_ns: i64) -> Result<Vec<f64>> {
        let (ends, sound) = decode(&heard.bytes)?;
        let found = find(&sound);
        let mut ages = Vec::new();
        for (index, &at) in found.iter().enumerate() {
            let Some(click) = self.recognise(&found, index) else { continue };
            let Some(arrived) = ends.get(at / PACKET).and_then(|&end| heard.arrival_of(end)) else {
                continue;
            };
            if !(from_ns..to_ns).contains(&arrived) {
                continue;
            }
            // The newest time round at which this frame of the loop had been converted.
            let (now, whole) = (frames_until(arrived), self.frames as i64);
            let converted = now - (now - click as i64).rem_euclid(whole);
            ages.push((arrived - ns_of(converted)) as f64 / 1e6);
        }
        Ok(ages)
    }

    /// Which click of the loop it is, by the intervals before and behind it.
    pub(super) fn recognise(&self, found: &[usize], index: usize) -> Option<usize> {
        let before = found[index] - found.get(index.checked_sub(1)?)?;
        let behind = found.get(index + 1)? - found[index];
        let count = self.clicks.len();
        let interval = |from: usize| {
            let (a, b) = (self.clicks[from], self.clicks[(from + 1) % count]);
            (b + self.frames - a) % self.frames
        };
        let fits = |place: &usize| {
            interval((place + count - 1) % count).abs_diff(before) <= SMEAR
                && interval(*place).abs_diff(behind) <= SMEAR
        };
        (0..count).find(fits).map(|place| self.clicks[place])
    }
}

/// Middles of the clicks of a loop: 0.4 to 0.6 s apart, by a fixed row of dice.
fn click_frames(frames: usize) -> Vec<usize> {
    let mut dice = 0x9E37_79B9_7F4A_7C15_u64;
    let mut clicks = Vec::new();
    let mut at = 12_000;
    while at + 12_000 < frames {
        clicks.push(at);
        // Xorshift (Marsaglia 2003).
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        at += 19_200 + (dice % 9_600) as usize;
    }
    clicks
}

/// 2 ms of 2 kHz under a raised cosine.
fn shape() -> Vec<f64> {
    (0..2 * HALF)
        .map(|offset| {
            let from_middle = offset as f64 - HALF as f64;
            let window = 0.5 + 0.5 * (std::f64::consts::PI * from_middle / HALF as f64).cos();
            CLICK * window * (std::f64::consts::TAU * 2_000.0 * from_middle / RATE as f64).cos()
        })
        .collect()
}

/// Decodes packet by packet: where in the bytes each packet ends, and the left channel of all, 1152 frames each.
fn decode(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>)> {
    let fitting = |at: usize| PacketHeader::parse(bytes.get(at..)?).filter(|header| header.fits(&RENDITION));
    let chained = |at: usize| {
        let mut next = at;
        (0..CHAIN).all(|_| {
            fitting(next).is_some_and(|header| {
                next += header.length;
                true
            })
        })
    };
    let mut at = (0..bytes.len())
        .find(|&at| chained(at))
        .with_context(|| format!("no packet of {RENDITION} in {} bytes", bytes.len()))?;
    let mut parameters = AudioCodecParameters::new();
    parameters.for_codec(CODEC_ID_MP3).with_sample_rate(RENDITION.rate.hz());
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .context("starting the MP3 decoder")?;
    let (mut ends, mut sound, mut stereo) = (Vec::new(), Vec::new(), Vec::new());
    // A stream that breaks is heard up to the break; what is missing behind it shows in the number of clicks.
    while let Some(packet) = fitting(at).and_then(|header| bytes.get(at..at + header.length)) {
        at += packet.len();
        ends.push(at);
        let packet = Packet::new(0, Timestamp::new(0), Duration::new(PACKET as u64), packet);
        match decoder.decode(&packet) {
            Ok(decoded) => {
                stereo.resize(decoded.samples_interleaved(), 0.0);
                decoded.copy_to_slice_interleaved(&mut stereo);
                sound.extend(stereo.iter().step_by(2));
            }
            // A packet that leans on one before the first (bit reservoir) cannot be decoded.
            Err(SymphoniaError::DecodeError(_)) => {}
            Err(error) => return Err(error).context("decoding what was heard"),
        }
        sound.resize(ends.len() * PACKET, 0.0);
    }
    Ok((ends, sound))
}

/// Middles of the clicks in decoded sound: where a click's shape fits best around a loud sample.
pub(super) fn find(sound: &[f32]) -> Vec<usize> {
    let shape: Vec<f32> = shape().into_iter().map(|sample| sample as f32).collect();
    let mut found = Vec::new();
    let mut at = 4 * HALF;
    while at + 4 * HALF < sound.len() {
        if sound[at].abs() < LOUD {
            at += 1;
            continue;
        }
        let fit = |middle: &usize| -> f32 {
            sound[middle - HALF..middle + HALF].iter().zip(&shape).map(|(a, b)| a * b).sum()
        };
        let best = (at - 2 * HALF..at + 2 * HALF).max_by(|a, b| fit(a).total_cmp(&fit(b)));
        found.extend(best);
        at += 20 * HALF;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::listener::Arrival;
    use super::*;
    use encode::{Encoder, Options};

    #[test]
    fn the_cards_clock_goes_both_ways() {
        for frames in [0, 1, 47_999, 48_000, 12_345_678_901] {
            assert_eq!(frames_until(ns_of(frames)), frames);
            assert_eq!(frames_until(ns_of(frames) - 1), frames - 1);
        }
    }

    #[test]
    fn ages_are_found_to_the_frame() {
        let (programme, sound) = Programme::over(vec![0; 2 * 48_000 * 8]);
        let pcm: Vec<f32> = sound.iter().map(|&sample| f32::from(sample) / 32_768.0).collect();
        let mut encoder = Encoder::new(RENDITION, Options::default()).unwrap();
        encoder.encode(&vec![0.0; encoder.lead() as usize * 2], &mut |_| ()).unwrap();
        // Captured from frame 0 of the loop's 1000th time round, sent at once; every packet takes 5 ms to arrive.
        let first = 1000 * programme.frames as i64;
        let mut heard = Heard::default();
        let mut packets = 0;
        encoder
            .encode(&pcm, &mut |bytes| {
                packets += 1;
                heard.bytes.extend_from_slice(bytes);
                let at_ns = ns_of(first + packets * PACKET as i64) + 5_000_000;
                heard.arrivals.push(Arrival { at_ns, end: heard.bytes.len() });
            })
            .unwrap();
        let ages = programme.ages(&heard, 0, i64::MAX).unwrap();
        // All but the first and the last, which have no neighbours.
        assert_eq!(ages.len(), programme.clicks.len() - 2);
        // The encoder's lead and delay, and waiting for the packet to be full: from 0 to 24 ms.
        let delay = f64::from(encoder.delay() + encoder.lead()) / 48.0 + 5.0;
        for age in ages {
            assert!((delay - 0.2..delay + 24.2).contains(&age), "{age} of {delay}");
        }
    }
}
