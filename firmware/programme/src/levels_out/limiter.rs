//! A look-ahead limiter whose output stays under its ceiling between the samples too.
//!
//! Each true peak over the ceiling asks for a gain. The least that is asked for within the look-ahead is held, let go
//! slowly, and drawn out to a ramp that arrives before the peak does; both channels get the same, so the picture stands
//! still. While nothing is asked for, sound passes unchanged but for the delay.

use std::collections::VecDeque;
use std::time::Duration;

use units::{Channels, Dbfs, Frames, SampleRate};

use super::true_peak::{AHEAD, BLOCK, TruePeak};

/// The limiter's settings.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LimiterConfig {
    /// No true peak is over this, in dBTP. Default -1, as EBU R 128 has it; at most 0.
    pub ceiling: Dbfs,
    /// How fast it lets go: after so long, 63 % of the way. Default 100 ms.
    pub release: Duration,
}

impl Default for LimiterConfig {
    fn default() -> Self {
        Self { ceiling: Dbfs::new(-1.0), release: Duration::from_millis(100) }
    }
}

/// How far ahead the limiter looks.
const LOOK_AHEAD: Duration = Duration::from_millis(5);
/// The gain asked for holds for so many frames on both sides of a peak: a point between two samples is made of these.
const AROUND: usize = 12;
/// Peaks are kept this much under the ceiling, in dB: what the interpolation does not see of sounds over 21 kHz, and what
/// moving the gain adds between samples.
const MARGIN_DB: f32 = 0.2;

#[derive(Clone, Debug)]
pub(super) struct Limiter {
    channels: usize,
    limit: f32,
    peaks: [TruePeak; 2],
    /// Sound on its way, interleaved; `at` is the oldest.
    delay: Vec<f32>,
    at: usize,
    /// Gains under 1 asked for within the hold, rising from the front; each with the frame that it ends with.
    asked: VecDeque<(u64, f32)>,
    hold: u64,
    frame: u64,
    /// The gain that is let go slowly.
    held: f32,
    release: f32,
    /// The last of these, to be drawn out; `oldest` is the next to be replaced.
    ramp: Vec<f32>,
    oldest: usize,
    sum: f64,
    /// How many of the last ones were 1.
    ones: usize,
    least: f32,
}

impl Limiter {
    pub(super) fn new(config: LimiterConfig, rate: SampleRate, channels: Channels) -> Self {
        let look_ahead = Frames::in_span(LOOK_AHEAD, rate).0 as usize;
        let ramp = look_ahead - AROUND;
        // Every gain in the ramp under the peak and its surroundings has to come from within the hold.
        let lead = ramp - 1 + AROUND;
        let hold = lead + AROUND + 2;
        let release = config.release.as_secs_f32().max(0.001) * rate.hz() as f32;
        Self {
            channels: channels.count(),
            limit: 10_f32.powf((config.ceiling.db().min(0.0) - MARGIN_DB) / 20.0),
            peaks: [TruePeak::new(), TruePeak::new()],
            delay: vec![0.0; (lead + AHEAD) * channels.count()],
            at: 0,
            asked: VecDeque::with_capacity(hold + 2),
            hold: hold as u64,
            frame: 0,
            held: 1.0,
            release: 1.0 - (-1.0 / release).exp(),
            ramp: vec![1.0; ramp],
            oldest: 0,
            sum: ramp as f64,
            ones: ramp,
            least: 1.0,
        }
    }

    /// By how many frames the output is behind the input.
    pub(super) fn latency(&self) -> Frames {
        Frames((self.delay.len() / self.channels) as u64)
    }

    /// The least gain since this was last asked.
    pub(super) const fn take_least(&mut self) -> f32 {
        std::mem::replace(&mut self.least, 1.0)
    }

    /// Takes at most [`BLOCK`] frames and puts earlier ones in their place.
    pub(super) fn block(&mut self, pcm: &mut [f32]) {
        let frames = pcm.len() / self.channels;
        let mut peaks = [0.0_f32; BLOCK];
        let mut is_over = false;
        for (channel, detector) in self.peaks[..self.channels].iter_mut().enumerate() {
            let samples = pcm[channel..].iter().step_by(self.channels).copied();
            is_over |= detector.block(samples, self.limit, &mut peaks[..frames]);
        }
        if !is_over && self.is_idle() {
            self.frame += frames as u64;
            self.pass(pcm);
            return;
        }
        for (frame, peak) in pcm.chunks_exact_mut(self.channels).zip(peaks) {
            let gain = self.gain(peak);
            for sample in frame {
                std::mem::swap(sample, &mut self.delay[self.at]);
                *sample *= gain;
                self.at += 1;
            }
            if self.at == self.delay.len() {
                self.at = 0;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.ones >= self.ramp.len() && self.asked.is_empty()
    }

    fn pass(&mut self, pcm: &mut [f32]) {
        let (first, rest) = pcm.split_at_mut(pcm.len().min(self.delay.len() - self.at));
        first.swap_with_slice(&mut self.delay[self.at..self.at + first.len()]);
        rest.swap_with_slice(&mut self.delay[..rest.len()]);
        self.at = (self.at + pcm.len()) % self.delay.len();
    }

    /// The gain for the frame that comes out now.
    fn gain(&mut self, peak: f32) -> f32 {
        if peak > self.limit {
            let gain = self.limit / peak;
            while self.asked.back().is_some_and(|(_, asked)| *asked >= gain) {
                self.asked.pop_back();
            }
            self.asked.push_back((self.frame + self.hold, gain));
        }
        if self.asked.front().is_some_and(|(end, _)| *end <= self.frame) {
            self.asked.pop_front();
        }
        self.frame += 1;
        let least = self.asked.front().map_or(1.0, |(_, gain)| *gain);
        self.held = if least <= self.held { least } else { self.held + (least - self.held) * self.release };
        // Steps of the last few thousandths of a dB are too small for the number to move.
        if least == 1.0 && self.held > 0.9995 {
            self.held = 1.0;
        }
        self.sum += f64::from(self.held) - f64::from(self.ramp[self.oldest]);
        self.ramp[self.oldest] = self.held;
        self.oldest += 1;
        if self.oldest == self.ramp.len() {
            self.oldest = 0;
        }
        self.ones = if self.held == 1.0 { self.ones + 1 } else { 0 };
        if self.ones >= self.ramp.len() {
            self.sum = self.ramp.len() as f64;
            return 1.0;
        }
        let gain = (self.sum / self.ramp.len() as f64) as f32;
        self.least = self.least.min(gain);
        gain
    }
}
