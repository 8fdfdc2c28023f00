//! A programme of the house's own making for the simulated line-in: a small band, an announcer over it, the same every time.
//!
//! Chords, bass, melody and drums of two minutes, in stereo at 48 kHz; whatever a coder finds hard is in it (attacks,
//! noise, sustained chords, speech, wide stereo). No recording, no licence.

use std::f64::consts::TAU;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Frames per second.
const RATE: f64 = 48_000.0;
/// Seconds per beat (104 beats a minute).
const BEAT: f64 = 60.0 / 104.0;
/// Bars of four beats.
const BARS: usize = 52;
/// Chords as semitones above A: i, VI, III, VII of A minor, and a bridge.
const VERSE: [[i32; 3]; 4] = [[0, 3, 7], [-4, 0, 3], [3, 7, 10], [-2, 2, 5]];
const BRIDGE: [[i32; 3]; 4] = [[5, 8, 12], [0, 3, 7], [7, 11, 14], [0, 3, 7]];
/// What the announcer says, and at which bar.
const ANNOUNCEMENTS: [(usize, &str); 3] = [
    (
        1,
        "This is Mainstay, on a simulated line in. You are listening to the primary mount, or to its fallback.",
    ),
    (22, "Should one server fail, the other carries on. Nobody has to notice."),
    (44, "Music and words by the repository itself. It begins again in a moment."),
];

/// The announcements as samples of one channel at 48 kHz, each with its bar.
pub(crate) fn speech(folder: &Path) -> Result<Vec<(usize, Vec<f32>)>> {
    ANNOUNCEMENTS
        .iter()
        .map(|(bar, words)| Ok((*bar, speak(words, &folder.join(format!("speech-{bar}.wav")))?)))
        .collect()
}

/// Words as samples of one channel at 48 kHz, by way of a file.
pub(crate) fn speak(words: &str, file: &Path) -> Result<Vec<f32>> {
    let status = Command::new("espeak-ng")
        .args(["-v", "en-gb", "-s", "150", "-w"])
        .arg(file)
        .arg(words)
        .status()
        .context("running espeak-ng")?;
    ensure!(status.success(), "espeak-ng ended with {status}");
    at_48k(&std::fs::read(file)?)
}

/// A mono 16-bit WAV file as samples at 48 kHz.
fn at_48k(wav: &[u8]) -> Result<Vec<f32>> {
    let rate = wav.get(24..28).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    let rate = f64::from(rate.context("espeak-ng wrote no WAV file")?);
    ensure!(rate >= 8_000.0, "espeak-ng wrote a rate of {rate} Hz");
    let source: Vec<f64> = wav[44..]
        .as_chunks::<2>()
        .0
        .iter()
        .map(|two| f64::from(i16::from_le_bytes(*two)) / 32_768.0)
        .collect();
    let frames = (source.len() as f64 * RATE / rate) as usize;
    Ok((0..frames)
        .map(|at| {
            let position = at as f64 * rate / RATE;
            let index = position as usize;
            let next = source.get(index + 1).copied().unwrap_or_default();
            let here = source.get(index).copied().unwrap_or_default();
            (here + (next - here) * position.fract()) as f32
        })
        .collect())
}

/// The whole programme, interleaved 16-bit stereo.
pub(crate) fn render(speech: &[(usize, Vec<f32>)]) -> Vec<i16> {
    bars(BARS, speech)
}

fn bars(count: usize, speech: &[(usize, Vec<f32>)]) -> Vec<i16> {
    let mut mix = Mix::new((count as f64 * 4.0 * BEAT * RATE) as usize);
    let mut dice = 0x2545_F491_4F6C_DD1D_u64;
    for bar in 0..count {
        let chord = if (24..40).contains(&bar) { BRIDGE[bar % 4] } else { VERSE[bar % 4] };
        let at = bar as f64 * 4.0;
        for (voice, &note) in chord.iter().enumerate() {
            let pan = voice as f64 * 0.7 - 0.7;
            mix.tone(at, 4.0, hertz(note), 0.05, pan, Shape::Pad);
            // A second voice, a little sharp, on the other side: width.
            mix.tone(at, 4.0, hertz(note) * 1.003, 0.04, -pan, Shape::Pad);
        }
        for eighth in 0..8 {
            let beat = at + f64::from(eighth) / 2.0;
            if eighth % 3 != 1 {
                mix.tone(beat, 0.45, hertz(chord[0] - 24), 0.16, 0.0, Shape::Bass);
            }
            if bar >= 4 {
                let step = [0, 2, 1, 2, 0, 1, 2, 1][eighth as usize];
                let octave = if (bar / 4) % 2 == 0 { 12 } else { 24 };
                let pan = if eighth % 2 == 0 { 0.5 } else { -0.5 };
                mix.tone(beat, 0.9, hertz(chord[step] + octave), 0.07, pan, Shape::Pluck);
            }
        }
        if bar >= 8 {
            for beat in 0..4 {
                let beat_at = at + f64::from(beat);
                if beat % 2 == 0 {
                    mix.tone(beat_at, 0.5, 52.0, 0.35, 0.0, Shape::Kick);
                } else {
                    mix.noise(beat_at, 0.16, 0.14, 0.1, &mut dice);
                }
                mix.noise(beat_at, 0.03, 0.05, -0.4, &mut dice);
                mix.noise(beat_at + 0.5, 0.05, 0.06, 0.4, &mut dice);
            }
        }
    }
    for (bar, words) in speech {
        mix.speak(*bar as f64 * 4.0, words);
    }
    mix.finish()
}

fn hertz(semitones: i32) -> f64 {
    220.0 * 2.0_f64.powf(f64::from(semitones) / 12.0)
}

/// How a voice sounds.
#[derive(Clone, Copy)]
enum Shape {
    /// Slow to come and to go.
    Pad,
    /// A plucked string: bright at first.
    Pluck,
    /// Round and short.
    Bass,
    /// A falling thump.
    Kick,
}

/// Both channels while they are put together.
struct Mix {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Mix {
    fn new(frames: usize) -> Self {
        Self { left: vec![0.0; frames], right: vec![0.0; frames] }
    }

    /// Adds to both channels from `beat` on; `pan` is -1 (left) to 1.
    fn add(&mut self, beat: f64, pan: f64, samples: impl Iterator<Item = f64>) {
        let start = (beat * BEAT * RATE) as usize;
        let (left, right) = (((1.0 - pan) / 2.0).sqrt(), ((1.0 + pan) / 2.0).sqrt());
        let channels = self.left.iter_mut().zip(&mut self.right).skip(start);
        for ((l, r), sample) in channels.zip(samples) {
            *l += (sample * left) as f32;
            *r += (sample * right) as f32;
        }
    }

    fn tone(&mut self, beat: f64, beats: f64, hertz: f64, level: f64, pan: f64, shape: Shape) {
        let seconds = beats * BEAT;
        let frames = (seconds * RATE) as usize;
        self.add(beat, pan, (0..frames).map(|at| level * sample(shape, at as f64 / RATE, seconds, hertz)));
    }

    fn noise(&mut self, beat: f64, seconds: f64, level: f64, pan: f64, dice: &mut u64) {
        let frames = (seconds * RATE) as usize;
        let samples: Vec<f64> = (0..frames)
            .map(|at| {
                // xorshift64 (Marsaglia 2003)
                *dice ^= *dice << 13;
                *dice ^= *dice >> 7;
                *dice ^= *dice << 17;
                let white = (*dice >> 40) as f64 / f64::from(1 << 23) - 1.0;
                level * white * (-5.0 * at as f64 / frames as f64).exp()
            })
            .collect();
        self.add(beat, pan, samples.into_iter());
    }

    /// The announcer, and the band quieter beneath him.
    fn speak(&mut self, beat: f64, words: &[f32]) {
        let start = (beat * BEAT * RATE) as usize;
        let fade = RATE as usize / 4;
        let end = start + words.len();
        for (at, (l, r)) in self.left.iter_mut().zip(&mut self.right).enumerate() {
            let outside = start.saturating_sub(at).max(at.saturating_sub(end));
            if outside < fade {
                let gain = 0.35 + 0.65 * outside as f32 / fade as f32;
                *l *= gain;
                *r *= gain;
            }
        }
        self.add(beat, 0.0, words.iter().map(|&sample| f64::from(sample) * 0.9));
    }

    fn finish(self) -> Vec<i16> {
        // A soft knee instead of clipping, with about 3 dB of headroom.
        let limit = |sample: f32| (f64::from(sample).tanh() * 0.7 * 32_767.0) as i16;
        self.left.into_iter().zip(self.right).flat_map(|(l, r)| [limit(l), limit(r)]).collect()
    }
}

fn sample(shape: Shape, at: f64, seconds: f64, hertz: f64) -> f64 {
    let turn = TAU * hertz * at;
    // Every voice ends at zero, so that no note clicks.
    let release = ((seconds - at) * 40.0).min(1.0);
    match shape {
        Shape::Pad => {
            let attack = (at * 4.0).min(1.0);
            attack * release * (turn.sin() + 0.3 * (2.0 * turn).sin() + 0.12 * (3.0 * turn).sin())
        }
        Shape::Pluck => {
            let attack = (at * 400.0).min(1.0);
            let bright = (-at * 12.0).exp();
            attack
                * release
                * (-at * 5.0).exp()
                * (turn.sin() + bright * (0.6 * (3.0 * turn).sin() + 0.4 * (5.0 * turn).sin()))
        }
        Shape::Bass => {
            let attack = (at * 100.0).min(1.0);
            attack * release * (-at * 3.0).exp() * (turn.sin() + 0.25 * (2.0 * turn).sin())
        }
        Shape::Kick => {
            let fall = hertz * at + 1.2 * (1.0 - (-at * 30.0).exp());
            release * (-at * 9.0).exp() * (TAU * fall).sin()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_every_time_loud_enough_and_never_clipped() {
        let programme = bars(10, &[(1, vec![0.5; 48_000])]);
        assert_eq!(programme, bars(10, &[(1, vec![0.5; 48_000])]));
        assert!(programme.len() / 2 > 20 * 48_000);
        assert!(programme.iter().all(|sample| sample.unsigned_abs() < 32_000));
        let seconds = programme.chunks(96_000);
        assert!(seconds.clone().all(|second| second.iter().any(|sample| sample.unsigned_abs() > 1_000)));
        // Two channels that differ.
        assert!(programme.chunks(2).filter(|frame| frame[0] != frame[1]).count() > programme.len() / 4);
    }

    #[test]
    fn speech_at_another_rate_keeps_its_length() {
        let mut wav = vec![0; 44];
        wav[24..28].copy_from_slice(&22_050_u32.to_le_bytes());
        wav.extend_from_slice(&[1; 22_050 * 2]);
        assert_eq!(at_48k(&wav).unwrap().len(), 48_000);
    }
}
