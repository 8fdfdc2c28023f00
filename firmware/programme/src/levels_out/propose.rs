//! Which trim to set: by a minute of the programme and a target, or by two streams that shall be equally loud.

use std::time::Duration;

use units::{Channels, Dbfs, Frames, Lufs, SampleRate};

use super::gain::Gain;
use crate::levels::{Meter, MeterError};

/// What a stretch of programme measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measured {
    /// Integrated loudness.
    pub loudness: Lufs,
    /// Highest true peak, in dBTP.
    pub true_peak: Dbfs,
}

/// A trim, and what to expect of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TrimProposal {
    /// To be set in place of none.
    pub trim: Gain,
    /// What was measured.
    pub measured: Measured,
    /// Loudness with the trim. Not the wanted one where peaks or [`TrimProposal::MOST_DB`] forbid more.
    pub expected: Lufs,
    /// What stands in the way of the wanted loudness.
    pub short_of: Option<Short>,
}

/// Why a trim does not reach the wanted loudness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Short {
    /// Without a limiter, more would lift true peaks over the ceiling.
    Peaks,
    /// It would take more than [`TrimProposal::MOST_DB`]: rather the console's output or the card's gain is wrong.
    TooFar,
}

impl TrimProposal {
    /// The most that is proposed either way, in dB.
    pub const MOST_DB: f32 = 20.0;
}

/// How the trim is bounded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Headroom {
    /// Nothing holds peaks: none may rise over this ceiling (dBTP).
    Ceiling(Dbfs),
    /// The limiter takes care of peaks.
    Limited,
}

/// The trim that brings `measured` to `target`, in steps of 0.1 dB.
#[must_use]
pub fn trim_to(measured: Measured, target: Lufs, headroom: Headroom) -> TrimProposal {
    let wanted = target.lufs() - measured.loudness.lufs();
    let by_peaks = match headroom {
        Headroom::Ceiling(ceiling) => ceiling.db() - measured.true_peak.db(),
        Headroom::Limited => f32::INFINITY,
    };
    let most = TrimProposal::MOST_DB;
    let bounded = wanted.min(by_peaks).clamp(-most, most);
    // Down, where rounding up would break the bound.
    let db = if bounded < wanted { (bounded * 10.0).floor() / 10.0 } else { (bounded * 10.0).round() / 10.0 };
    let short_of = if wanted.abs() > most && wanted.min(by_peaks).abs() >= most {
        Some(Short::TooFar)
    } else {
        (bounded < wanted).then_some(Short::Peaks)
    };
    let trim = Gain::new(db);
    let expected = Lufs::new(f64::from(measured.loudness.lufs() + db)).unwrap_or(measured.loudness);
    TrimProposal { trim, measured, expected, short_of }
}

/// The trim that makes our stream as loud as another one. `ours` was measured with `trim` set; the proposal is the new trim
/// as a whole.
#[must_use]
pub fn trim_to_match(ours: Measured, theirs: Lufs, trim: Gain, headroom: Headroom) -> TrimProposal {
    let untrimmed = Measured {
        loudness: Lufs::new(f64::from(ours.loudness.lufs() - trim.db())).unwrap_or(ours.loudness),
        true_peak: Dbfs::new(ours.true_peak.db() - trim.db()),
    };
    TrimProposal { measured: ours, ..trim_to(untrimmed, theirs, headroom) }
}

/// Listens to a programme, for `calibrate` (before the trim) and for either side of `match-loudness`.
#[derive(Debug)]
pub struct Calibration {
    meter: Meter,
    rate: SampleRate,
    channels: usize,
    frames: u64,
    tenth: usize,
    true_peak: Dbfs,
}

impl Calibration {
    /// What is listened to at least.
    pub const SHORTEST: Duration = Duration::from_secs(10);
    /// What should be listened to.
    pub const USUAL: Duration = Duration::from_secs(60);

    /// Nothing heard yet.
    ///
    /// # Errors
    /// The loudness meter refused to start.
    pub fn new(rate: SampleRate, channels: Channels) -> Result<Self, MeterError> {
        Ok(Self {
            meter: Meter::new(Meter::HISTORY, rate, channels)?,
            rate,
            channels: channels.count(),
            frames: 0,
            tenth: (rate.hz() / 10) as usize,
            true_peak: Dbfs::FLOOR,
        })
    }

    /// Takes the next frames.
    pub fn feed(&mut self, pcm: &[f32]) {
        // True peaks are those of the last 100 ms.
        for part in pcm.chunks(self.tenth / 2 * self.channels) {
            self.meter.feed(part);
            self.frames += (part.len() / self.channels) as u64;
            for peak in self.meter.levels().true_peak {
                self.true_peak = if peak > self.true_peak { peak } else { self.true_peak };
            }
        }
    }

    /// How long was listened.
    #[must_use]
    pub const fn heard(&self) -> Duration {
        Frames(self.frames).duration(self.rate)
    }

    /// What was heard; `None` before [`Calibration::SHORTEST`], or if nothing was loud enough to measure.
    pub fn measured(&mut self) -> Option<Measured> {
        if self.heard() < Self::SHORTEST {
            return None;
        }
        let loudness = self.meter.levels().integrated?;
        Some(Measured { loudness, true_peak: self.true_peak })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(loudness: f64, true_peak: f32) -> Measured {
        Measured { loudness: Lufs::new(loudness).unwrap(), true_peak: Dbfs::new(true_peak) }
    }

    #[test]
    fn trims_reach_the_target_unless_peaks_forbid_it() {
        let target = Lufs::new(-23.0).unwrap();
        let up = trim_to(measured(-29.04, -9.0), target, Headroom::Ceiling(Dbfs::new(-1.0)));
        assert_eq!((up.trim, up.short_of), (Gain::new(6.0), None));
        let bounded = trim_to(measured(-29.0, -4.25), target, Headroom::Ceiling(Dbfs::new(-1.0)));
        assert_eq!((bounded.trim, bounded.short_of), (Gain::new(3.2), Some(Short::Peaks)));
        assert!((bounded.expected.lufs() - -25.8).abs() < 0.01);
        let limited = trim_to(measured(-29.0, -4.25), target, Headroom::Limited);
        assert_eq!((limited.trim, limited.short_of), (Gain::new(6.0), None));
        let far = trim_to(measured(-60.0, -50.0), target, Headroom::Limited);
        assert_eq!((far.trim, far.short_of), (Gain::new(20.0), Some(Short::TooFar)));
        let down = trim_to(measured(-12.0, 0.3), target, Headroom::Ceiling(Dbfs::new(-1.0)));
        assert_eq!((down.trim, down.short_of), (Gain::new(-11.0), None));
    }

    #[test]
    fn two_streams_become_equally_loud() {
        let theirs = Lufs::new(-16.0).unwrap();
        let found = trim_to_match(measured(-18.5, -3.0), theirs, Gain::new(1.5), Headroom::Limited);
        assert_eq!(found.trim, Gain::new(4.0));
        assert!((found.expected.lufs() - -16.0).abs() < 0.01);
    }

    #[test]
    fn a_minute_is_measured() {
        let mut calibration = Calibration::new(SampleRate::Hz48000, Channels::Stereo).unwrap();
        let tone: Vec<f32> = (0..48_000 * 11)
            .flat_map(|n| [(std::f64::consts::TAU * 1000.0 * f64::from(n) / 48_000.0).sin() as f32 * 0.1; 2])
            .collect();
        calibration.feed(&tone[..48_000 * 18]);
        assert_eq!(calibration.measured(), None);
        calibration.feed(&tone[48_000 * 18..]);
        let found = calibration.measured().unwrap();
        assert!((found.loudness.lufs() - -20.0).abs() < 0.1, "{found:?}");
        assert!((found.true_peak.db() - -20.0).abs() < 0.2, "{found:?}");
    }
}
