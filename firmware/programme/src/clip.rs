//! Whether the programme clips.

use std::time::Duration;

use units::{Channels, Frames, SampleRate};

/// What counts as clipping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClipConfig {
    /// So many samples in a row at full scale in one channel. Default 3: a sound may touch full scale, only a clipped
    /// one stays there. At least 1.
    pub samples: u32,
    /// How long the flag stays after the last clipped sample. Default 3 s: long enough to be seen by a person.
    pub hold: Duration,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self { samples: 3, hold: Duration::from_secs(3) }
    }
}

/// The level that counts as full scale: one step of 16 bit below 1.0 and a little less, so that a card's highest code
/// counts at any word length.
const FULL_SCALE: f32 = 0.9999;

/// The detector.
#[derive(Clone, Debug)]
pub(crate) struct Clip {
    samples: u32,
    hold: Frames,
    /// Samples at full scale in a row, up to now, by channel.
    runs: [u32; 2],
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Clean,
    /// `since` frames have passed since the last clipped sample.
    Clipped {
        since: Frames,
    },
}

impl Clip {
    pub(crate) fn new(config: ClipConfig, rate: SampleRate) -> Self {
        Self {
            samples: config.samples.max(1),
            hold: Frames::in_span(config.hold, rate),
            runs: [0; 2],
            state: State::Clean,
        }
    }

    /// Takes the next stretch; `peak` is its highest sample. Gives the new flag if it changed.
    pub(crate) fn stretch(&mut self, pcm: &[f32], channels: Channels, peak: f32) -> Option<bool> {
        let count = channels.count();
        let frames = Frames((pcm.len() / count) as u64);
        let last = if peak < FULL_SCALE {
            // By far the most stretches: nothing to look at.
            self.runs = [0; 2];
            None
        } else {
            self.last_clipped(pcm, count)
        };
        match (self.state, last) {
            (State::Clean, None) => None,
            (State::Clean, Some(frame)) => {
                self.state = State::Clipped { since: frames - frame };
                Some(true)
            }
            (State::Clipped { .. }, Some(frame)) => {
                self.state = State::Clipped { since: frames - frame };
                None
            }
            (State::Clipped { since }, None) if since + frames < self.hold => {
                self.state = State::Clipped { since: since + frames };
                None
            }
            (State::Clipped { .. }, None) => {
                self.state = State::Clean;
                Some(false)
            }
        }
    }

    /// Number of the frame after the last one that completes or continues a run.
    fn last_clipped(&mut self, pcm: &[f32], channels: usize) -> Option<Frames> {
        let mut last = None;
        for (number, frame) in pcm.chunks_exact(channels).enumerate() {
            for (run, sample) in self.runs.iter_mut().zip(frame) {
                *run = if sample.abs() >= FULL_SCALE { run.saturating_add(1) } else { 0 };
                if *run >= self.samples {
                    last = Some(Frames(number as u64 + 1));
                }
            }
        }
        last
    }

    pub(crate) const fn is_clipped(&self) -> bool {
        matches!(self.state, State::Clipped { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(clip: &mut Clip, pcm: &[f32]) -> Option<bool> {
        clip.stretch(pcm, Channels::Mono, pcm.iter().fold(0.0, |peak, sample| sample.abs().max(peak)))
    }

    #[test]
    fn three_in_a_row_clip_also_across_two_stretches() {
        let mut clip = Clip::new(ClipConfig::default(), SampleRate::Hz48000);
        assert_eq!(feed(&mut clip, &[1.0, 1.0, 0.0, -1.0, -1.0]), None);
        assert_eq!(feed(&mut clip, &[0.5; 10]), None);
        assert_eq!(feed(&mut clip, &[0.0, 1.0, 1.0]), None);
        assert_eq!(feed(&mut clip, &[1.0, 0.0]), Some(true));
        assert!(clip.is_clipped());
    }

    #[test]
    fn sixteen_bit_full_scale_clips() {
        let mut clip = Clip::new(ClipConfig::default(), SampleRate::Hz48000);
        assert_eq!(feed(&mut clip, &[f32::from(i16::MAX) / 32768.0; 3]), Some(true));
    }

    #[test]
    fn the_flag_holds_in_frames() {
        let mut clip = Clip::new(ClipConfig::default(), SampleRate::Hz48000);
        assert_eq!(feed(&mut clip, &[1.0; 960]), Some(true));
        let second = vec![0.0; 48_000];
        assert_eq!(feed(&mut clip, &second), None);
        assert_eq!(feed(&mut clip, &[1.0; 3]), None, "it begins once");
        assert_eq!(feed(&mut clip, &second), None);
        assert_eq!(feed(&mut clip, &second), None);
        assert_eq!(feed(&mut clip, &second[1..]), None, "one frame short");
        assert_eq!(feed(&mut clip, &[0.0]), Some(false));
        assert!(!clip.is_clipped());
    }

    #[test]
    fn channels_clip_each_for_itself() {
        let mut clip = Clip::new(ClipConfig::default(), SampleRate::Hz48000);
        assert_eq!(clip.stretch(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], Channels::Stereo, 1.0), None);
        assert_eq!(clip.stretch(&[0.0, 1.0, 0.0, 1.0, 0.0, 1.0], Channels::Stereo, 1.0), Some(true));
    }
}
