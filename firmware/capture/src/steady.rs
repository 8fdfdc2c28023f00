//! A card's frames on the reader's side: its drift is fitted as they pass and, if asked, taken out of them.

use units::snapshot::Drift;
use units::{Frames, SampleRate};

use crate::drift::Fit;
use crate::resampler::{DELAY, Resampler};
use crate::samples::Pick;
use crate::steer::ToSystem;

/// Whose clock the programme's frame counter counts by, when the input is a sound card. Files, tones and streams are paced
/// by the system's clock in either mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Clock {
    /// The card's: its frames are handed on untouched, and a second of programme is one second of the card's. What its
    /// drift makes of that (60 s a week at 100 ppm) is told, and left to the players.
    #[default]
    Report,
    /// The system's monotonic clock, which follows the time servers' rate: the card's drift is resampled away. A second of
    /// programme is a second, whatever the card.
    Resample,
}

/// What knows about a card's clock.
pub(crate) struct Steady {
    fit: Fit,
    playing: Option<Playing>,
}

/// The programme at the system clock's rate.
struct Playing {
    law: ToSystem,
    resampler: Resampler,
    samples: Box<[f32]>,
    /// Frames made since the start: the programme's counter.
    made: u64,
    /// The last frames were silence that stands in for missing ones.
    standing_in: bool,
    late_ns: i64,
}

impl Steady {
    /// `limit`: the most frames a piece has.
    pub(crate) fn new(clock: Clock, rate: SampleRate, pick: Pick, limit: u32) -> Self {
        let playing = (clock == Clock::Resample).then(|| {
            let channels = pick.channels().count();
            let resampler = Resampler::of_pieces(channels, limit as usize, 1.0);
            let samples = vec![0.0; resampler.most() * channels].into_boxed_slice();
            let late_ns = i64::try_from(Frames(DELAY).duration(rate).as_nanos()).unwrap_or(0);
            Playing { law: ToSystem::new(rate), resampler, samples, made: 0, standing_in: false, late_ns }
        });
        Self { fit: Fit::new(rate), playing }
    }

    /// The counter reached `frames` at `at_ns`; a new drift, if it was worked out.
    pub(crate) fn heard(&mut self, at_ns: i64, frames: u64) -> Option<Drift> {
        if self.fit.observe(at_ns, frames) { self.fit.drift() } else { None }
    }

    /// Frames were missed.
    pub(crate) fn interrupted(&mut self) {
        self.fit.interrupted();
    }

    /// The card is lost.
    pub(crate) fn lost(&mut self) {
        self.fit.restart();
    }

    /// Takes the frames from `from` on the card's counter; `sound`: they were heard. `None`: hand them on as they are.
    pub(crate) fn take(&mut self, from: u64, piece: &[f32], channels: usize, sound: bool) -> Option<Taken> {
        let playing = self.playing.as_mut()?;
        let frames = (piece.len() / channels) as u64;
        // Missing frames are counted by the system's clock, be it an overrun's few or the hours of a lost card.
        let stood_in = std::mem::replace(&mut playing.standing_in, !sound);
        let ratio = if sound {
            if stood_in {
                playing.law.back();
            }
            playing.law.ratio(&self.fit, from, frames, playing.made as f64)
        } else {
            playing.law.standing_in()
        };
        let made = playing.resampler.feed(piece, ratio, &mut playing.samples);
        let first = playing.made;
        playing.made += made as u64;
        Some(Taken { first, frames: made, late_ns: playing.late_ns })
    }

    /// What the last [`Steady::take`] made, and more.
    pub(crate) fn samples(&self) -> &[f32] {
        self.playing.as_ref().map_or(&[], |playing| &playing.samples)
    }
}

/// What became of a piece: see [`Steady::samples`].
pub(crate) struct Taken {
    /// Where it begins on the programme's counter.
    pub(crate) first: u64,
    /// How many frames came of it.
    pub(crate) frames: usize,
    /// How much earlier than the piece's last frame the last of these was captured: the filter's delay.
    pub(crate) late_ns: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card at `ppm` through overruns and an outage: frames of the programme beside the frames that true time has.
    fn worst_slip(ppm: f64) -> f64 {
        let mut steady = Steady::new(Clock::Resample, SampleRate::Hz48000, Pick::Mono, 1_152);
        let (mut now, mut position, mut made, mut worst) = (0.0_f64, 0_u64, 0_u64, 0.0_f64);
        let mut zero = None;
        let piece = [0.0; 1_152];
        let mut take = |steady: &mut Steady, position: &mut u64, sound| {
            let taken = steady.take(*position, &piece, 1, sound).expect("it resamples");
            assert_eq!(taken.first, made, "the programme's counter has no holes");
            made += taken.frames as u64;
            *position += 1_152;
            made
        };
        for period in 1..=14_000_u64 {
            match period % 6_000 {
                // An overrun: what is missing is seen when the next period comes.
                3_000 => {
                    for _ in 0..12 {
                        steady.interrupted();
                        take(&mut steady, &mut position, false);
                        now += 1_152.0 / 48_000.0;
                    }
                }
                // The card is away for half a minute.
                5_000 => {
                    for _ in 0..1_250 {
                        steady.lost();
                        take(&mut steady, &mut position, false);
                        now += 1_152.0 / 48_000.0;
                    }
                }
                _ => {}
            }
            now += 1_152.0 / 48_000.0 / (1.0 + ppm / 1e6);
            let late = (period * 7_919 % 1_000) as f64 * 1e-6;
            steady.heard(((now + late) * 1e9) as i64, position + 1_152);
            let made = take(&mut steady, &mut position, true);
            if period > 4_000 {
                let slip = now * 48_000.0 - made as f64;
                worst = worst.max((slip - *zero.get_or_insert(slip)).abs());
            }
        }
        worst
    }

    #[test]
    fn the_programme_keeps_the_systems_time_through_gaps_and_outages() {
        for ppm in [-350.0, 100.0] {
            let worst = worst_slip(ppm);
            // The five minutes left alone would be 5600 frames off at 350 ppm.
            assert!(worst < 150.0, "{worst} frames off at {ppm} ppm");
        }
    }

    #[test]
    fn a_clock_that_is_only_reported_leaves_the_frames_alone() {
        let mut steady = Steady::new(Clock::Report, SampleRate::Hz48000, Pick::Mono, 1_152);
        assert!(steady.take(0, &[0.5; 1_152], 1, true).is_none());
    }
}
