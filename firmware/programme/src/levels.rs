//! How loud the programme is.
//!
//! Peak, RMS and true peak are those of the last 100 ms, renewed every 20 ms. Loudness is EBU R128 (ITU-R BS.1770-4):
//! K-weighting, the loudness of every 100 ms and true peak are `ebur128`'s, the rest is worked out from these in
//! `loudness`. That has two reasons: the library walks 3 s of samples for each short-term figure and keeps 2 MiB for
//! it; and the only history of its that forgets (`set_max_history`, 0.1.11) fills itself with zeros at the start,
//! which switches its relative gate off.

use std::time::Duration;

use ebur128::{Channel, EbuR128, Mode};
use units::snapshot::Levels;
use units::{Channels, Dbfs, Frames, SampleRate};

use crate::clip::{Clip, ClipConfig};
use crate::loudness::Loudness;
use crate::scan::{Stretch, decibels, scan};
use crate::silence::{Silence, SilenceConfig, Turn};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MeterConfig {
    /// Whether levels and loudness are measured. Default on. Silence and clipping are watched either way.
    pub levels: bool,
    /// How far integrated loudness looks back. Default one hour: on a station that never ends, "since the start" soon
    /// moves no more. Costs 4 bytes per 100 ms (141 KiB an hour); [`MeterConfig::LONGEST_HISTORY`] is the end of it.
    pub history: Duration,
    /// When the programme counts as silent.
    pub silence: SilenceConfig,
    /// When it counts as clipped.
    pub clip: ClipConfig,
}

impl MeterConfig {
    /// Longest history of integrated loudness: a day, 3.3 MiB.
    pub const LONGEST_HISTORY: Duration = Duration::from_hours(24);
}

impl Default for MeterConfig {
    fn default() -> Self {
        Self {
            levels: true,
            history: Duration::from_hours(1),
            silence: SilenceConfig::default(),
            clip: ClipConfig::default(),
        }
    }
}

/// Why a meter cannot be made.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum MeterError {
    /// The programme would be back before it is silent.
    #[error("silence below {below} ends above {back_above}: set the return at or above the threshold")]
    Hysteresis {
        /// The threshold.
        below: Dbfs,
        /// The return.
        back_above: Dbfs,
    },
    /// The loudness meter refused to start.
    #[error("the loudness meter refused to start; run without meters")]
    Loudness(#[source] ebur128::Error),
}

/// Something about the programme that somebody should know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The programme fell silent.
    SilenceBegan {
        /// Quiet frames up to now.
        after: Frames,
    },
    /// It is back.
    SilenceEnded {
        /// From the first quiet frame to the first loud one.
        lasted: Frames,
    },
    /// It clips.
    ClippingBegan,
    /// It has not clipped for the hold time.
    ClippingEnded,
}

/// 100 ms are so many windows of 20 ms.
const WINDOWS: usize = 5;
const WINDOWS_PER_SECOND: u32 = 50;
/// Loudest sample that is measured; what is beyond cannot come from a converter.
const LOUDEST: f32 = 8.0;

/// All meters of one programme. Belongs to the thread that mixes or encodes, never to the real-time one.
#[derive(Debug)]
pub struct Meter {
    channels: Channels,
    rate: SampleRate,
    window_frames: usize,
    /// The window that is being filled.
    window: [Stretch; 2],
    silence: Silence,
    clip: Clip,
    gauges: Option<Gauges>,
}

impl Meter {
    /// A meter that has heard nothing.
    ///
    /// # Errors
    /// [`MeterError`] for a return threshold under the silence threshold, or if the loudness meter refuses to start.
    pub fn new(config: MeterConfig, rate: SampleRate, channels: Channels) -> Result<Self, MeterError> {
        let SilenceConfig { below, back_above, .. } = config.silence;
        if back_above < below {
            return Err(MeterError::Hysteresis { below, back_above });
        }
        let gauges = config.levels.then(|| Gauges::new(config.history, rate, channels)).transpose()?;
        Ok(Self {
            channels,
            rate,
            window_frames: (rate.hz() / WINDOWS_PER_SECOND) as usize,
            window: [Stretch::default(); 2],
            silence: Silence::new(config.silence, rate),
            clip: Clip::new(config.clip, rate),
            gauges,
        })
    }

    /// Takes the next frames (interleaved, full scale 1.0) and tells what changed, in order; silence to 20 ms.
    pub fn feed(&mut self, mut pcm: &[f32]) -> Vec<Change> {
        let mut changes = Vec::new();
        let count = self.channels.count();
        while pcm.len() >= count {
            let room = self.window_frames - self.window[0].samples as usize;
            let (now, later) = pcm.split_at(room.min(pcm.len() / count) * count);
            pcm = later;
            let stretches = scan(now, self.channels);
            if stretches.iter().all(|stretch| stretch.is_sound()) {
                self.stretch(now, stretches, &mut changes);
            } else {
                // One NaN would stay in the filters for ever.
                let cleaned: Vec<f32> = now.iter().copied().map(clean).collect();
                self.stretch(&cleaned, scan(&cleaned, self.channels), &mut changes);
            }
        }
        changes
    }

    fn stretch(&mut self, pcm: &[f32], stretches: [Stretch; 2], changes: &mut Vec<Change>) {
        let peak = stretches[0].peak.max(stretches[1].peak);
        match self.clip.stretch(pcm, self.channels, peak) {
            Some(true) => changes.push(Change::ClippingBegan),
            Some(false) => changes.push(Change::ClippingEnded),
            None => {}
        }
        if let Some(gauges) = &mut self.gauges {
            gauges.stretch(pcm);
        }
        for (window, stretch) in self.window.iter_mut().zip(stretches) {
            window.extend(stretch);
        }
        let frames = self.window[0].samples;
        if frames as usize == self.window_frames {
            let window = std::mem::take(&mut self.window);
            let [first, second] = window.map(Stretch::alternating);
            let level = if second > first { second } else { first };
            match self.silence.window(level, Frames(u64::from(frames))) {
                Some(Turn::Began { after }) => changes.push(Change::SilenceBegan { after }),
                Some(Turn::Ended { lasted }) => changes.push(Change::SilenceEnded { lasted }),
                None => {}
            }
            if let Some(gauges) = &mut self.gauges {
                gauges.end_window(window);
            }
        }
    }

    /// The levels now; `None` with the meters off. `&mut` because integrated loudness is worked out when asked for.
    pub fn levels(&mut self) -> Option<Levels> {
        let (silent, quiet_for, clipped) = (self.is_silent(), self.quiet_for(), self.is_clipped());
        let count = self.channels.count();
        let gauges = self.gauges.as_mut()?;
        let mut last = [Stretch::default(); 2];
        for window in gauges.windows {
            for (all, one) in last.iter_mut().zip(window) {
                all.extend(one);
            }
        }
        let mut true_peak = [0.0_f64; 2];
        for window in gauges.true_peaks {
            for (all, one) in true_peak.iter_mut().zip(window) {
                *all = all.max(one);
            }
        }
        Some(Levels {
            peak: last[..count].iter().map(|stretch| stretch.peak()).collect(),
            rms: last[..count].iter().map(|stretch| stretch.rms()).collect(),
            true_peak: true_peak[..count].iter().map(|peak| decibels(*peak)).collect(),
            momentary: gauges.loudness.momentary(),
            short_term: gauges.loudness.short_term(),
            integrated: gauges.loudness.integrated(),
            silent,
            quiet_for,
            clipped,
        })
    }

    /// Whether the programme has been below the silence threshold for the set time.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.silence.is_silent()
    }

    /// How long it has been below the threshold, silent yet or not; zero when it is not.
    #[must_use]
    pub const fn quiet_for(&self) -> Duration {
        self.silence.quiet_for().duration(self.rate)
    }

    /// Whether it clipped within the hold time.
    #[must_use]
    pub const fn is_clipped(&self) -> bool {
        self.clip.is_clipped()
    }
}

fn clean(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}

/// Everything that the meters' switch turns off.
#[derive(Debug)]
struct Gauges {
    meter: EbuR128,
    channels: usize,
    /// The last 100 ms, by windows; `at` is the oldest, to be replaced next.
    windows: [[Stretch; 2]; WINDOWS],
    true_peaks: [[f64; 2]; WINDOWS],
    at: usize,
    /// Highest true peaks in the window that is being filled.
    true_peak: [f64; 2],
    loudness: Loudness,
}

impl Gauges {
    fn new(history: Duration, rate: SampleRate, channels: Channels) -> Result<Self, MeterError> {
        let mut meter = EbuR128::new(channels.count() as u32, rate.hz(), Mode::M | Mode::TRUE_PEAK)
            .map_err(MeterError::Loudness)?;
        match channels {
            // Listeners hear mono from two loudspeakers: it must read as the same sound in stereo does.
            Channels::Mono => meter.set_channel(0, Channel::DualMono).map_err(MeterError::Loudness)?,
            Channels::Stereo => {}
        }
        Ok(Self {
            meter,
            channels: channels.count(),
            windows: Default::default(),
            true_peaks: Default::default(),
            at: 0,
            true_peak: [0.0; 2],
            loudness: Loudness::new(history.min(MeterConfig::LONGEST_HISTORY)),
        })
    }

    /// Takes a stretch that does not cross the end of a window.
    fn stretch(&mut self, pcm: &[f32]) {
        // The library's errors here are a wrong number of channels and a mode that is off; both were set in `new`.
        if self.meter.add_frames_f32(pcm).is_err() {
            return;
        }
        for (channel, peak) in self.true_peak[..self.channels].iter_mut().enumerate() {
            *peak = self.meter.prev_true_peak(channel as u32).unwrap_or_default().max(*peak);
        }
    }

    fn end_window(&mut self, window: [Stretch; 2]) {
        self.windows[self.at] = window;
        self.true_peaks[self.at] = std::mem::take(&mut self.true_peak);
        self.at = (self.at + 1) % WINDOWS;
        if self.at == 0 {
            self.loudness.tenth(self.meter.loudness_window(100).unwrap_or(f64::NEG_INFINITY));
        }
    }
}

#[cfg(test)]
mod tests;
