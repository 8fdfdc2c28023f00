//! What a line is like by itself: its floor, hum and constant, and the silence threshold that follows from them.

use std::time::Duration;

use units::{Channels, Dbfs, Frames, SampleRate};

use super::WINDOWS_PER_SECOND;
use super::spectrum::{STRETCH, Spectrum};
use super::window::{Window, level};
use crate::levels::clean;
use crate::scan::decibels;

/// Shortest time from which anything is learnt.
const SHORTEST: Duration = Duration::from_secs(5);
/// Levels are counted in steps of half a dB down from full scale.
const STEPS_PER_DB: f32 = 2.0;
const STEPS: usize = 289;
/// A line at rest stays within so many dB.
const REST_DB: f32 = 6.0;
/// The threshold lies so far over a line's floor...
const OVER_FLOOR_DB: f32 = 10.0;
/// ... and so far under a programme's pauses.
const UNDER_PAUSES_DB: f32 = 6.0;
/// No threshold is proposed outside of this: a higher one would take quiet programme for silence, a lower one noise for
/// programme.
const LOWEST_DB: f32 = -70.0;
const HIGHEST_DB: f32 = -40.0;
/// Hum is named from this share of the quietest stretch on, and a constant from this level on.
const HUM_SHARE: f32 = 0.25;
const LEAST_DC_DB: f32 = -66.0;

/// What was on the line while it was listened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// Nothing: its level stayed within 6 dB.
    Rest,
    /// A programme.
    Programme,
}

/// Mains hum on a line.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hum {
    /// 50 or 60 Hz.
    pub mains: u8,
    /// How loud it is, overtones included.
    pub level: Dbfs,
}

/// What was learnt.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Learnt {
    /// How long the line was listened to.
    pub heard: Duration,
    /// What was on it.
    pub line: Line,
    /// At rest, the level that it kept below in 95 of 100 windows; in programme, that of the quietest 2 of 100, under
    /// which the floor must lie.
    pub floor: Dbfs,
    /// The level that only 5 of 100 windows exceeded.
    pub loud: Dbfs,
    /// Hum in the quietest third of a second.
    pub hum: Option<Hum>,
    /// The constant that the converter adds, left and right, from -66 dBFS on. It does no harm here: all levels are without
    /// it.
    pub dc: [Option<Dbfs>; 2],
    /// Proposed silence threshold: 10 dB over the floor of a line at rest (its hum left out, since silence is found
    /// through hum), or 6 dB under a programme's pauses; -70 to -40 dBFS. `None` if the floor is too high for any.
    pub below: Option<Dbfs>,
}

/// Listens to a line.
#[derive(Clone, Debug)]
pub struct Learn {
    channels: Channels,
    rate: SampleRate,
    window_frames: usize,
    window: Window,
    /// Windows by level.
    counts: Vec<u32>,
    windows: u32,
    sum: [f64; 2],
    frames: u64,
    stretch: Vec<(f32, f32)>,
    spectrum: Spectrum,
    quietest: Option<Quiet>,
}

/// A stretch: its power, and hum in it.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    power: f64,
    mains: u8,
    share: f32,
}

impl Learn {
    /// Nothing heard yet.
    #[must_use]
    pub fn new(rate: SampleRate, channels: Channels) -> Self {
        Self {
            channels,
            rate,
            window_frames: (rate.hz() / WINDOWS_PER_SECOND) as usize,
            window: Window::default(),
            counts: vec![0; STEPS],
            windows: 0,
            sum: [0.0; 2],
            frames: 0,
            stretch: Vec::with_capacity(STRETCH),
            spectrum: Spectrum::new(rate),
            quietest: None,
        }
    }

    /// Takes the next frames (interleaved, full scale 1.0, before any gain).
    pub fn feed(&mut self, mut pcm: &[f32]) {
        let count = self.channels.count();
        while pcm.len() >= count {
            let room = self.window_frames - self.window.frames as usize;
            let (now, later) = pcm.split_at(room.min(pcm.len() / count) * count);
            pcm = later;
            let cleaned: Vec<f32> = now.iter().copied().map(clean).collect();
            self.window.extend(&Window::of(&cleaned, self.channels));
            self.stretch.extend(cleaned.chunks_exact(count).map(|frame| (frame[0], frame[count - 1])));
            if self.window.frames as usize == self.window_frames {
                let window = std::mem::take(&mut self.window);
                self.end_window(&window);
            }
        }
    }

    fn end_window(&mut self, window: &Window) {
        let step = (-window.heard().level().db() * STEPS_PER_DB).clamp(0.0, (STEPS - 1) as f32);
        self.counts[step as usize] += 1;
        self.windows += 1;
        self.frames += u64::from(window.frames);
        for (sum, channel) in self.sum.iter_mut().zip(window.channels) {
            *sum += channel.sum;
        }
        if self.stretch.len() < STRETCH {
            return;
        }
        let mean = |side: fn(&(f32, f32)) -> f32| {
            let sides = || self.stretch.iter().map(|frame| f64::from(side(frame)));
            let mean = sides().sum::<f64>() / self.stretch.len() as f64;
            sides().map(|sample| (sample - mean) * (sample - mean)).sum::<f64>() / self.stretch.len() as f64
        };
        let power = mean(|frame| frame.0).max(mean(|frame| frame.1));
        if self.quietest.is_none_or(|quietest| power < quietest.power) {
            let (mains, share) = self.spectrum.mains(&self.stretch);
            self.quietest = Some(Quiet { power, mains, share });
        }
        self.stretch.clear();
    }

    /// What is known by now; `None` in the first 5 s.
    #[must_use]
    pub fn learnt(&self) -> Option<Learnt> {
        let heard = Frames(self.frames).duration(self.rate);
        if heard < SHORTEST {
            return None;
        }
        let (quiet, low, high) = (self.exceeded_by(0.98), self.exceeded_by(0.95), self.exceeded_by(0.05));
        let line = if high.db() - low.db() <= REST_DB { Line::Rest } else { Line::Programme };
        let hum = self.quietest.filter(|quiet| quiet.share >= HUM_SHARE).map(|quiet| Hum {
            mains: quiet.mains,
            level: Dbfs::new(level(quiet.power).db() + 10.0 * quiet.share.log10()),
        });
        let (floor, below) = match line {
            Line::Rest => {
                let without_hum = hum.and(self.quietest).map_or(0.0, |quiet| {
                    // Hum can be told from what is 30 dB weaker.
                    10.0 * (1.0 - quiet.share).max(0.001).log10()
                });
                (high, high.db() + without_hum + OVER_FLOOR_DB)
            }
            Line::Programme => (quiet, quiet.db() - UNDER_PAUSES_DB),
        };
        let dc = self.sum.map(|sum| {
            let constant = decibels((sum / self.frames.max(1) as f64).abs());
            (constant.db() >= LEAST_DC_DB).then_some(constant)
        });
        let below = match line {
            Line::Rest => (below <= HIGHEST_DB).then(|| Dbfs::new(below.max(LOWEST_DB).round())),
            Line::Programme => Some(Dbfs::new(below.clamp(LOWEST_DB, HIGHEST_DB).round())),
        };
        Some(Learnt { heard, line, floor, loud: high, hum, dc, below })
    }

    /// The level that this share of the windows reached.
    fn exceeded_by(&self, share: f64) -> Dbfs {
        let wanted = (f64::from(self.windows) * share) as u32;
        let mut found = 0;
        for (step, count) in self.counts.iter().enumerate() {
            found += count;
            if found > wanted {
                return Dbfs::new(-(step as f32) / STEPS_PER_DB);
            }
        }
        Dbfs::FLOOR
    }
}
