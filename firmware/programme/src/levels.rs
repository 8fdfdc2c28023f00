//! How loud the programme is.
//!
//! Peak, RMS and true peak are those of the last 100 ms, renewed every 20 ms. Loudness is EBU R128 (ITU-R BS.1770-4):
//! K-weighting, the loudness of every 20 ms and true peak are `ebur128`'s, the rest is worked out from these in
//! `loudness`. That has two reasons: the library walks 3 s of samples for each short-term figure and keeps 2 MiB for
//! it; and the only history of its that forgets (`set_max_history`, 0.1.11) fills itself with zeros at the start,
//! which switches its relative gate off.

use std::time::Duration;

use ebur128::{Channel, EbuR128, Mode};
use units::snapshot::Levels;
use units::{Channels, SampleRate};

use crate::loudness::{Loudness, Lu};
use crate::scan::{Stretch, decibels, scan};

/// Longest history of integrated loudness: a day, 3.3 MiB.
const LONGEST_HISTORY: Duration = Duration::from_hours(24);

/// Why a meter cannot be made.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum MeterError {
    /// The loudness meter refused to start.
    #[error("the loudness meter refused to start; run without meters")]
    Loudness(#[source] ebur128::Error),
}

/// 100 ms are so many windows of 20 ms.
const WINDOWS: usize = 5;
const WINDOWS_PER_SECOND: u32 = 50;
const WINDOW_MS: u32 = 20;
/// Loudest sample that is measured; what is beyond cannot come from a converter.
pub(crate) const LOUDEST: f32 = 8.0;

/// All meters of one programme. Belongs to the thread that mixes or encodes, never to the real-time one.
#[derive(Debug)]
pub struct Meter {
    channels: Channels,
    window_frames: usize,
    /// The window that is being filled, and its highest true peaks.
    window: [Stretch; 2],
    true_peak: [f64; 2],
    meter: EbuR128,
    /// The last 100 ms, by windows; `at` is the oldest, to be replaced next.
    windows: [[Stretch; 2]; WINDOWS],
    true_peaks: [[f64; 2]; WINDOWS],
    at: usize,
    loudness: Loudness,
    /// Loudness of the windows that the last feed ended.
    ended: Vec<f64>,
}

impl Meter {
    /// How far integrated loudness looks back unless said otherwise: on a station that never ends, "since the start" soon
    /// moves no more.
    pub const HISTORY: Duration = Duration::from_hours(1);

    /// A meter that has heard nothing. Integrated loudness looks back over `history`, a day at the most; that costs 4 bytes
    /// per 100 ms (141 KiB an hour).
    ///
    /// # Errors
    /// The loudness meter refuses to start.
    pub fn new(history: Duration, rate: SampleRate, channels: Channels) -> Result<Self, MeterError> {
        let mut meter = EbuR128::new(channels.count() as u32, rate.hz(), Mode::M | Mode::TRUE_PEAK)
            .map_err(MeterError::Loudness)?;
        match channels {
            // Listeners hear mono from two loudspeakers: it must read as the same sound in stereo does.
            Channels::Mono => meter.set_channel(0, Channel::DualMono).map_err(MeterError::Loudness)?,
            Channels::Stereo => {}
        }
        Ok(Self {
            channels,
            window_frames: (rate.hz() / WINDOWS_PER_SECOND) as usize,
            window: [Stretch::default(); 2],
            true_peak: [0.0; 2],
            meter,
            windows: Default::default(),
            true_peaks: Default::default(),
            at: 0,
            loudness: Loudness::new(history.min(LONGEST_HISTORY)),
            ended: Vec::new(),
        })
    }

    /// Takes the next frames (interleaved, full scale 1.0).
    pub fn feed(&mut self, mut pcm: &[f32]) {
        self.ended.clear();
        let count = self.channels.count();
        while pcm.len() >= count {
            let room = self.window_frames - self.window[0].samples as usize;
            let (now, later) = pcm.split_at(room.min(pcm.len() / count) * count);
            pcm = later;
            let stretches = scan(now, self.channels);
            if stretches.iter().all(|stretch| stretch.is_sound()) {
                self.stretch(now, stretches);
            } else {
                // One NaN would stay in the filters for ever.
                let cleaned: Vec<f32> = now.iter().copied().map(clean).collect();
                self.stretch(&cleaned, scan(&cleaned, self.channels));
            }
        }
    }

    /// Takes a stretch that does not cross the end of a window.
    fn stretch(&mut self, pcm: &[f32], stretches: [Stretch; 2]) {
        // The library's errors here are a wrong number of channels and a mode that is off; both were set in `new`.
        if self.meter.add_frames_f32(pcm).is_ok() {
            let count = self.channels.count();
            for (channel, peak) in self.true_peak[..count].iter_mut().enumerate() {
                *peak = self.meter.prev_true_peak(channel as u32).unwrap_or_default().max(*peak);
            }
        }
        for (window, stretch) in self.window.iter_mut().zip(stretches) {
            window.extend(stretch);
        }
        if self.window[0].samples as usize == self.window_frames {
            self.windows[self.at] = std::mem::take(&mut self.window);
            self.true_peaks[self.at] = std::mem::take(&mut self.true_peak);
            self.at = (self.at + 1) % WINDOWS;
            let loudness = self.meter.loudness_window(WINDOW_MS).unwrap_or(f64::NEG_INFINITY);
            self.loudness.window(loudness);
            self.ended.push(loudness);
        }
    }

    /// Loudness (ITU-R BS.1770-4, without gates, in LUFS; minus infinity is silence) of each 20 ms that the last
    /// [`Meter::feed`] ended.
    #[must_use]
    pub fn newest(&self) -> &[f64] {
        &self.ended
    }

    /// The levels now; whether they are silent or clipped is for [`crate::fault`] to say. `&mut` because integrated loudness
    /// is worked out when asked for.
    pub fn levels(&mut self) -> Levels {
        let count = self.channels.count();
        let mut last = [Stretch::default(); 2];
        for window in self.windows {
            for (all, one) in last.iter_mut().zip(window) {
                all.extend(one);
            }
        }
        let mut true_peak = [0.0_f64; 2];
        for window in self.true_peaks {
            for (all, one) in true_peak.iter_mut().zip(window) {
                *all = all.max(one);
            }
        }
        Levels {
            peak: last[..count].iter().map(|stretch| stretch.peak()).collect(),
            rms: last[..count].iter().map(|stretch| stretch.rms()).collect(),
            true_peak: true_peak[..count].iter().map(|peak| decibels(*peak)).collect(),
            momentary: self.loudness.momentary(),
            short_term: self.loudness.short_term(),
            integrated: self.loudness.integrated(),
            silent: false,
            quiet_for: Duration::ZERO,
            clipped: false,
        }
    }

    /// Loudness range (EBU Tech 3342) of the history; `None` before 3 s of programme. Sorts a figure per second of history
    /// each time it is asked for: once a second is enough.
    pub fn loudness_range(&mut self) -> Option<Lu> {
        self.loudness.range()
    }
}

/// A sample that can be measured.
pub(crate) fn clean(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}

#[cfg(test)]
mod tests;
