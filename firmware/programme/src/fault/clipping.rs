//! Tops that are cut off: at digital full scale, or flat below it, where something before the converter is overdriven.

use std::time::Duration;

use units::{Channels, Dbfs, Frames, SampleRate};

use super::config::{ClippingRule, OverloadRule};
use super::stage::Evidence;
use super::window::{Stretch, Window};
use crate::clip::{FULL_SCALE, full_scale_run};
use crate::scan::decibels;

/// Loud places come and go: a bar of slow music.
const LONGEST_PAUSE: Duration = Duration::from_millis(1500);

/// Samples at full scale.
#[derive(Clone, Debug)]
pub(super) struct Clipping {
    samples: u32,
    runs: [u32; 2],
    found: bool,
    evidence: Evidence,
}

impl Clipping {
    pub(super) fn new(rule: ClippingRule, rate: SampleRate) -> Self {
        Self {
            samples: rule.samples.max(1),
            runs: [0; 2],
            found: false,
            evidence: Evidence::new(Frames::in_span(LONGEST_PAUSE, rate)),
        }
    }

    pub(super) fn part(&mut self, pcm: &[f32], channels: Channels, measured: &Window) {
        if measured.channels.iter().all(|stretch| stretch.top.max(-stretch.bottom) < FULL_SCALE) {
            self.runs = [0; 2];
        } else if full_scale_run(&mut self.runs, self.samples, pcm, channels.count()).is_some() {
            self.found = true;
        }
    }

    pub(super) fn window(&mut self, frames: Frames) -> (Frames, Frames) {
        self.evidence.window(std::mem::take(&mut self.found), frames);
        (self.evidence.bad, self.evidence.good)
    }
}

/// Flat tops below full scale.
///
/// A top is flat when the signal stays within [`BAND`] of its extreme about as long as within four times [`BAND`]. A
/// round top, of a sine of any pitch or of sounds that a limiter holds at one level, takes twice as long: near its top
/// every smooth curve is a parabola. And tops are cut off where they always end at one level, so only those near the
/// highest of the last seconds are looked at.
#[derive(Clone, Debug)]
pub(super) struct Overload {
    above: f32,
    shortest: u32,
    /// By channel, the upper and the lower rail: converters and amplifiers clip one earlier than the other.
    rails: [[Rail; 2]; 2],
    found: bool,
    evidence: Evidence,
    decay: f32,
}

/// How far a flat top may waver: noise, and the ripple of the converter's filter behind a corner.
const BAND: f32 = 0.015;
/// A top in the band may be this share shorter than in four times the band.
const CORNER: f32 = 1.5;
/// A flat top lasts at least so long: five samples at 48 kHz.
const SHORTEST: Duration = Duration::from_micros(100);
/// What comes this near to the highest of the last seconds may be cut off there.
const NEAR: f32 = 0.985;

#[derive(Clone, Copy, Debug, Default)]
struct Rail {
    /// The highest of the last seconds.
    highest: f32,
    /// Samples within four times the band, up to now; of these in the band.
    near: u32,
    flat: u32,
    /// Where the last flat top was.
    at: f32,
}

impl Overload {
    pub(super) fn new(rule: OverloadRule, rate: SampleRate) -> Self {
        Self {
            above: 10_f32.powf(rule.above.db() / 20.0),
            shortest: Frames::in_span(SHORTEST, rate).0.max(3) as u32,
            rails: [[Rail::default(); 2]; 2],
            found: false,
            evidence: Evidence::new(Frames::in_span(LONGEST_PAUSE, rate)),
            // 1 % per second and per window of 20 ms.
            decay: 0.999_8,
        }
    }

    pub(super) fn part(&mut self, pcm: &[f32], channels: Channels, measured: &Window) {
        let count = channels.count();
        for (channel, rails) in self.rails[..count].iter_mut().enumerate() {
            let Stretch { top, bottom, .. } = measured.channels[channel];
            for (rail, (extreme, sign)) in rails.iter_mut().zip([(top, 1.0), (-bottom, -1.0)]) {
                rail.highest = (rail.highest * self.decay).max(extreme);
                if extreme < self.above || extreme < rail.highest * NEAR || extreme >= FULL_SCALE {
                    (rail.near, rail.flat) = (0, 0);
                    continue;
                }
                if rail.scan(pcm[channel..].iter().step_by(count), sign, extreme, self.shortest) {
                    self.found = true;
                }
            }
        }
    }

    pub(super) fn window(&mut self, frames: Frames) -> (Frames, Frames) {
        self.evidence.window(std::mem::take(&mut self.found), frames);
        (self.evidence.bad, self.evidence.good)
    }

    /// The level at which tops end.
    pub(super) fn at(&self) -> Dbfs {
        let rails = self.rails.iter().flatten();
        decibels(f64::from(rails.fold(0.0, |highest: f32, rail| highest.max(rail.at))))
    }
}

impl Rail {
    /// Whether one of the tops is flat.
    fn scan<'a>(
        &mut self,
        samples: impl Iterator<Item = &'a f32>,
        sign: f32,
        extreme: f32,
        shortest: u32,
    ) -> bool {
        let (flat_from, near_from) = (extreme * (1.0 - BAND), extreme * (1.0 - 4.0 * BAND));
        let mut found = false;
        for sample in samples {
            let height = sample * sign;
            if height >= near_from {
                self.near += 1;
                self.flat += u32::from(height >= flat_from);
                continue;
            }
            if self.flat >= shortest && self.near as f32 <= self.flat as f32 * CORNER {
                found = true;
                self.at = extreme;
            }
            (self.near, self.flat) = (0, 0);
        }
        found
    }
}
