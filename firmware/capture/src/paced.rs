//! Inputs without a card, paced by the monotonic clock as a card would be: a looped file, a tone. A helper thread makes
//! the sound ahead of time, a few times a second; the pacing thread only waits, takes a period, stamps, pushes and counts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use units::{Dbfs, SampleRate};

use crate::clock::{instant, now_ns, sleep_until};
use crate::error::Error;
use crate::live::Link;
use crate::ring::{Message, RawPeriod, Receiver, Sender};
use crate::samples::{Encoding, Layout};
use crate::status::{Loss, Status};
use crate::timeline::Timeline;

/// Where the sound of a paced input comes from.
pub(crate) trait Source: Send {
    /// Interleaved channels it makes.
    fn channels(&self) -> usize;

    /// Fills `out` to the last sample with what comes next, for ever.
    fn fill(&mut self, out: &mut [f32]) -> Result<(), Error>;
}

/// A sine whose peak is the given level.
pub(crate) struct Tone {
    turns_per_frame: f64,
    amplitude: f64,
    frame: u64,
}

impl Tone {
    pub(crate) fn new(hz: f32, level: Dbfs, rate: SampleRate) -> Result<Self, Error> {
        let half = rate.hz() as f32 / 2.0;
        if !(hz > 0.0 && hz < half) {
            let what = format!(
                "a tone of {hz} Hz cannot be made at {rate}; choose more than 0 and less than {half} Hz"
            );
            return Err(Error::Setting { what });
        }
        if level.db() > 0.0 {
            let what = format!("a tone of {level} is above full scale; choose 0 dBFS or less");
            return Err(Error::Setting { what });
        }
        let turns_per_frame = f64::from(hz) / f64::from(rate.hz());
        Ok(Self { turns_per_frame, amplitude: 10.0_f64.powf(f64::from(level.db()) / 20.0), frame: 0 })
    }
}

impl Source for Tone {
    fn channels(&self) -> usize {
        1
    }

    fn fill(&mut self, out: &mut [f32]) -> Result<(), Error> {
        // Turning a phasor costs a fraction of a sine; starting each call from the exact phase keeps it from wandering.
        let phase = (self.frame as f64 * self.turns_per_frame).fract() * std::f64::consts::TAU;
        let (mut sin, mut cos) = phase.sin_cos();
        let (step_sin, step_cos) = (self.turns_per_frame * std::f64::consts::TAU).sin_cos();
        for sample in &mut *out {
            *sample = (self.amplitude * sin) as f32;
            (sin, cos) = (sin * step_cos + cos * step_sin, cos * step_cos - sin * step_sin);
        }
        self.frame += out.len() as u64;
        Ok(())
    }
}

/// Makes periods ahead of time.
pub(crate) struct Feeder {
    source: Box<dyn Source>,
    free: Receiver<Box<RawPeriod>>,
    ahead: Sender<Box<RawPeriod>>,
    ended: Arc<Ended>,
    scratch: Vec<f32>,
}

/// How the helper's end reaches the others.
#[derive(Default)]
pub(crate) struct Ended {
    said: AtomicBool,
    why: Mutex<Option<Error>>,
}

impl Ended {
    /// Whether the source has ended.
    pub(crate) fn is_said(&self) -> bool {
        self.said.load(Ordering::Acquire)
    }

    /// The reason, once. For ordinary threads: takes a lock.
    pub(crate) fn why(&self) -> Option<Error> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Feeder {
    pub(crate) fn new(
        source: Box<dyn Source>,
        period: u32,
        free: Receiver<Box<RawPeriod>>,
        ahead: Sender<Box<RawPeriod>>,
        ended: Arc<Ended>,
    ) -> Self {
        let scratch = vec![0.0; period as usize * source.channels()];
        Self { source, free, ahead, ended, scratch }
    }

    /// How the source's periods lie.
    pub(crate) fn layout(source: &dyn Source) -> Layout {
        Layout { encoding: Encoding::F32, channels: source.channels() }
    }

    /// Makes one period, if a buffer is free.
    pub(crate) fn make(&mut self) -> Result<bool, Error> {
        let Some(mut period) = self.free.pop() else { return Ok(false) };
        self.source.fill(&mut self.scratch)?;
        for (bytes, sample) in period.bytes.chunks_exact_mut(4).zip(&self.scratch) {
            bytes.copy_from_slice(&sample.to_le_bytes());
        }
        period.frames = self.scratch.len() / period.layout.channels;
        // There are fewer buffers than the queue has places.
        Ok(self.ahead.push(period).is_ok())
    }

    /// Keeps all free buffers full until the link stops or the source fails; looks every `nap`.
    pub(crate) fn run(mut self, link: &Link, nap: Duration) {
        while !link.stopping() {
            match self.make() {
                Ok(true) => {}
                Ok(false) => thread::park_timeout(nap),
                Err(error) => {
                    *self.ended.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    self.ended.said.store(true, Ordering::Release);
                    return;
                }
            }
        }
    }
}

/// The pacing thread's belongings.
pub(crate) struct Pacer {
    pub(crate) ahead: Receiver<Box<RawPeriod>>,
    pub(crate) filled: Sender<Message>,
    pub(crate) period: u32,
    pub(crate) hz: u32,
    pub(crate) status: Arc<Status>,
    pub(crate) link: Arc<Link>,
    pub(crate) ended: Arc<Ended>,
    /// Of a source that may fall behind: nothing is taken while it is shut.
    pub(crate) gate: Option<Arc<Gate>>,
}

/// Whether enough is ahead to begin, and how much that is. The pacing thread shuts it when it runs dry; the source opens it.
#[derive(Default)]
pub(crate) struct Gate {
    open: AtomicBool,
    /// Periods made and not taken.
    ahead: AtomicU32,
}

impl Gate {
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    fn shut(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Periods that wait.
    pub(crate) fn ahead(&self) -> u32 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// One more waits: to be said before it is pushed.
    pub(crate) fn made(&self) {
        self.ahead.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one look for the next period found.
enum Look {
    Period(Box<RawPeriod>),
    /// The source has nothing ready.
    Dry,
    /// The reader takes nothing.
    Full,
}

impl Pacer {
    /// Hands on a period whenever one has passed, until the link stops or the source has ended and all is played.
    pub(crate) fn run(mut self) {
        let mut timeline = Timeline::new(self.hz, now_ns());
        let frames = u64::from(self.period);
        // What has a gate begins as lost, and is told so by whoever opened it.
        let mut starved = self.gate.is_some();
        if self.gate.is_none() {
            self.status.capturing();
        }
        loop {
            let first = timeline.position();
            let end_ns = timeline.end_ns(first + frames);
            // A signal may cut a sleep short.
            while now_ns() < end_ns && !self.link.stopping() {
                sleep_until(end_ns);
            }
            if self.link.stopping() {
                return;
            }
            // Asked before looking, so that the last periods are not missed.
            let ended = self.ended.is_said();
            match self.look() {
                Look::Period(period) => {
                    timeline.advance(frames);
                    if std::mem::replace(&mut starved, false) {
                        self.status.capturing();
                    }
                    self.status.reached(timeline.position());
                    // There is room: only this thread takes any away.
                    let _ = self.filled.push(Message::Sound { first, stamp_ns: end_ns, period });
                }
                Look::Dry if ended => {
                    let _ = self.filled.push(Message::Ended);
                    self.link.arrived.ring();
                    return;
                }
                // A gap in time: of a file nothing is lost by it.
                missing @ (Look::Dry | Look::Full) => {
                    timeline.advance(frames);
                    if !std::mem::replace(&mut starved, true) {
                        self.status.gap();
                    }
                    if let (Look::Dry, Some(gate)) = (missing, &self.gate)
                        && gate.is_open()
                    {
                        gate.shut();
                        self.status.lost(Loss::Away, instant(now_ns()));
                    }
                    self.status.missed(frames);
                    self.status.reached(timeline.position());
                    // With a full ring the jump in the counter says the same.
                    let _ = self.filled.push(Message::Silence { first, stamp_ns: end_ns, frames });
                }
            }
            self.link.arrived.ring();
        }
    }

    fn look(&mut self) -> Look {
        if !self.filled.has_room() {
            return Look::Full;
        }
        if self.gate.as_ref().is_some_and(|gate| !gate.is_open()) {
            return Look::Dry;
        }
        let next = self.ahead.pop();
        if let (Some(_), Some(gate)) = (&next, &self.gate) {
            gate.ahead.fetch_sub(1, Ordering::Relaxed);
        }
        next.map_or(Look::Dry, Look::Period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_has_its_level_and_pitch_and_no_seam() {
        let level = Dbfs::new(-6.0);
        let mut tone = Tone::new(1_000.0, level, SampleRate::Hz48000).unwrap();
        let mut whole = vec![0.0; 48_000 * 4];
        for piece in whole.chunks_mut(1_152) {
            tone.fill(piece).unwrap();
        }
        let peak = whole.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((20.0 * peak.log10() - level.db()).abs() < 0.01, "peak {peak}");
        // 48 frames a turn: each turn repeats the first, across every border of pieces.
        for (frame, sample) in whole.iter().enumerate() {
            assert!((sample - whole[frame % 48]).abs() < 1e-6, "frame {frame}");
        }
        assert!(whole[12] > 0.0 && whole[36] < 0.0);
    }

    #[test]
    fn impossible_tones_are_refused_with_what_would_be_right() {
        for (hz, level) in [(0.0, -20.0), (24_000.0, -20.0), (f32::NAN, -20.0), (1_000.0, 1.0)] {
            let refused = Tone::new(hz, Dbfs::new(level), SampleRate::Hz48000);
            let text = refused.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains("choose"), "{hz} {level}: {text}");
        }
    }
}
