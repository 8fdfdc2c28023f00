//! What everybody may know about the capture. The real-time thread only stores numbers here; words are made by whoever asks.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use units::snapshot::{Drift, InputReport, InputState};
use units::{Channels, Frames, Instant, SampleRate};

/// Counters and state of one capture, readable from any thread.
#[derive(Debug)]
pub struct Status {
    name: String,
    rate: SampleRate,
    channels: Channels,
    period: AtomicU32,
    phase: AtomicU8,
    lost_since: AtomicU64,
    frames: AtomicU64,
    gaps: AtomicU64,
    gap_frames: AtomicU64,
    xruns: AtomicU64,
    /// [`packed`]; [`UNKNOWN`] before there is one.
    drift: AtomicU64,
    /// Written by ordinary threads only.
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    real_time: String,
    /// Why the last attempt to open the card failed; empty before the first.
    attempt: String,
}

/// Why there is no card. The number is what lies in the atomic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Loss {
    /// It was not there at the start.
    Missing = 2,
    /// ENODEV, EBADFD, POLLHUP.
    Unplugged = 3,
    /// It stopped delivering.
    Silent = 4,
    /// It could not be started again after an overrun, a suspend or a return.
    Stuck = 5,
    /// Its reads fail in a way that has no arm of its own.
    Failing = 6,
    /// A network stream is not connected, or sends nothing.
    Away = 7,
}

impl Loss {
    const ALL: [Self; 6] =
        [Self::Missing, Self::Unplugged, Self::Silent, Self::Stuck, Self::Failing, Self::Away];

    const fn words(self) -> &'static str {
        match self {
            Self::Missing => "the sound card was not there at the start",
            Self::Unplugged => "the sound card was unplugged",
            Self::Silent => "the sound card stopped delivering",
            Self::Stuck => "the sound card could not be started again",
            Self::Failing => "reading from the sound card fails",
            Self::Away => "the stream does not come in",
        }
    }
}

impl Status {
    pub(crate) fn new(name: String, rate: SampleRate, channels: Channels, period: u32) -> Self {
        Self {
            name,
            rate,
            channels,
            period: AtomicU32::new(period),
            phase: AtomicU8::new(STARTING),
            lost_since: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            gap_frames: AtomicU64::new(0),
            xruns: AtomicU64::new(0),
            drift: AtomicU64::new(UNKNOWN),
            words: Mutex::default(),
        }
    }

    /// How the input is at `now`, for the snapshot. Never blocks the capture.
    #[must_use]
    pub fn report(&self, now: Instant) -> InputReport {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        InputReport {
            name: self.name.clone(),
            state: self.state(now, &words.attempt),
            rate_hz: self.rate.hz(),
            channels: self.channels.count() as u8,
            period: self.period.load(Ordering::Relaxed),
            frames: Frames(self.frames.load(Ordering::Relaxed)),
            gaps: self.gaps.load(Ordering::Relaxed),
            gap_frames: Frames(self.gap_frames.load(Ordering::Relaxed)),
            xruns: self.xruns.load(Ordering::Relaxed),
            real_time: words.real_time.clone(),
            drift: self.drift(),
        }
    }

    /// The card's drift beside the system's clock, as last worked out. Takes no lock.
    #[must_use]
    pub fn drift(&self) -> Option<Drift> {
        unpacked(self.drift.load(Ordering::Relaxed))
    }

    fn state(&self, now: Instant, attempt: &str) -> InputState {
        let phase = self.phase.load(Ordering::Acquire);
        match Loss::ALL.into_iter().find(|loss| *loss as u8 == phase) {
            Some(loss) => InputState::Lost {
                since: Instant::from_micros(self.lost_since.load(Ordering::Relaxed)).min(now),
                why: match attempt {
                    "" => format!("{} and is being looked for", loss.words()),
                    attempt => format!("{} and is being looked for: {attempt}", loss.words()),
                },
            },
            None if phase == STARTING => InputState::Starting,
            None => InputState::Capturing,
        }
    }

    pub(crate) fn capturing(&self) {
        // A plain load first: a store every period would take the cache line from the readers for nothing.
        if self.phase.load(Ordering::Relaxed) != CAPTURING {
            self.phase.store(CAPTURING, Ordering::Release);
        }
    }

    pub(crate) fn lost(&self, loss: Loss, since: Instant) {
        self.lost_since.store(since.as_micros(), Ordering::Relaxed);
        self.phase.store(loss as u8, Ordering::Release);
    }

    /// The counter's position after a step.
    pub(crate) fn reached(&self, position: u64) {
        self.frames.store(position, Ordering::Relaxed);
    }

    /// A gap begins; its length follows by [`Status::missed`].
    pub(crate) fn gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self, frames: u64) {
        self.gap_frames.fetch_add(frames, Ordering::Relaxed);
    }

    /// From the reader's side.
    pub(crate) fn drifts(&self, drift: Option<Drift>) {
        self.drift.store(drift.map_or(UNKNOWN, packed), Ordering::Relaxed);
    }

    pub(crate) fn overran(&self) {
        self.xruns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn period_is(&self, frames: u32) {
        self.period.store(frames, Ordering::Relaxed);
    }

    /// From ordinary threads only: takes a lock.
    pub(crate) fn attempt_failed(&self, why: String) {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).attempt = why;
    }

    /// From ordinary threads, or before the real-time work begins: takes a lock.
    pub(crate) fn runs_as(&self, real_time: String) {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).real_time = real_time;
    }
}

const STARTING: u8 = 0;
const CAPTURING: u8 = 1;

/// One word, so that no reader sees half of an update: thousandths of a ppm in 24 bits with sign, of its uncertainty in 20,
/// seconds in 19. The top bit is only set in [`UNKNOWN`].
fn packed(drift: Drift) -> u64 {
    let thousandths = |ppm: f64, most: f64| (ppm * 1e3).round().clamp(-most, most) as i64;
    let ppm = thousandths(drift.ppm, 8_388_607.0).cast_unsigned() & 0xFF_FFFF;
    let uncertainty = thousandths(drift.uncertainty_ppm.abs(), 1_048_575.0).cast_unsigned();
    ppm << 39 | uncertainty << 19 | drift.over.as_secs().min(0x7_FFFF)
}

fn unpacked(word: u64) -> Option<Drift> {
    // Shifted to the top first, so that the sign comes along.
    let ppm = (word << 1).cast_signed() >> 40;
    let uncertainty = word >> 19 & 0xF_FFFF;
    (word != UNKNOWN).then(|| Drift {
        ppm: ppm as f64 / 1e3,
        uncertainty_ppm: uncertainty as f64 / 1e3,
        over: Duration::from_secs(word & 0x7_FFFF),
    })
}

const UNKNOWN: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_with_its_reason_and_the_last_attempt() {
        let status = Status::new("hw:X".into(), SampleRate::Hz48000, Channels::Stereo, 1152);
        assert_eq!(status.report(Instant::ZERO).state, InputState::Starting);
        status.capturing();
        assert_eq!(status.report(Instant::ZERO).state, InputState::Capturing);
        let since = Instant::from_millis(5);
        for loss in Loss::ALL {
            status.lost(loss, since);
            status.attempt_failed("hw:X: gone".into());
            let InputState::Lost { since: told, why } = status.report(Instant::from_millis(9)).state else {
                panic!("{loss:?} is not told as lost");
            };
            assert_eq!(told, since);
            assert!(why.starts_with(loss.words()) && why.ends_with("hw:X: gone"), "{why}");
        }
    }

    #[test]
    fn a_drift_survives_its_packing() {
        let status = Status::new("hw:X".into(), SampleRate::Hz48000, Channels::Stereo, 1152);
        assert_eq!(status.drift(), None);
        for ppm in [-8_388.607, -100.001, -0.001, 0.0, 12.5, 8_388.607] {
            for (uncertainty_ppm, seconds) in [(0.0, 0), (0.012, 1_984), (1_048.575, 0x7_FFFF)] {
                let drift = Drift { ppm, uncertainty_ppm, over: Duration::from_secs(seconds) };
                status.drifts(Some(drift));
                assert_eq!(status.drift(), Some(drift));
            }
        }
        status.drifts(None);
        assert_eq!(status.drift(), None);
    }
}
