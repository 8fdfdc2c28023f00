//! An input whose clock is not the programme's: a second card, a network stream. It is asked for exactly as many frames as
//! the programme takes, and follows by resampling.

use units::{Frames, Instant};

use crate::error::Error;
use crate::resampler::{HISTORY, Resampler};
use crate::steer::Level;
use crate::{Capture, Next, PeriodKind};

/// A capture that follows the programme's clock. Never blocks, and after it is made it allocates nothing.
pub struct Follower {
    capture: Capture,
    hz: f64,
    channels: usize,
    /// Frames that one look gives at most.
    longest: usize,
    /// Frames of the input, the read ones kept for a while as the resampler's history.
    buffer: Box<[f32]>,
    /// Frames in the buffer, and of those the ones that were read.
    filled: usize,
    read: usize,
    /// Frames of the input that came before the buffer's first.
    gone: u64,
    /// The last stretch of sound, on the same count as `gone`.
    sound: (u64, u64),
    /// When the newest frame in the buffer was captured.
    newest: Option<Instant>,
    seated: bool,
    law: Level,
    resampler: Resampler,
    /// The resampler has heard all up to `read`.
    warm: bool,
    /// Fraction of a frame that watching owes.
    owed: f64,
    spare: Box<[f32]>,
    excess: f64,
    starved: u64,
    ended: Option<Error>,
}

/// What came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filled {
    /// The input's sound.
    Sound,
    /// Silence: the input is lost (its [`crate::Status`] says why), has only begun, or ended.
    Silence,
}

impl Follower {
    /// Follows with `capture`, which nobody else reads. `longest`: the most frames that one look will ask for.
    #[must_use]
    pub fn new(capture: Capture, longest: u32) -> Self {
        let (channels, hz) = (capture.pick.channels().count(), f64::from(capture.rate.hz()));
        let longest = longest.max(1) as usize;
        // A second of the ring at once, twice: what was read is only moved out of the way now and then.
        let room = 2 * (capture.rate.hz() as usize + HISTORY + longest + capture.limit as usize);
        Self {
            hz,
            channels,
            longest,
            buffer: vec![0.0; room * channels].into_boxed_slice(),
            filled: 0,
            read: 0,
            gone: 0,
            sound: (0, 0),
            newest: None,
            seated: false,
            law: Level::of_stamps(),
            resampler: Resampler::for_pieces(channels, longest.max(HISTORY)),
            warm: false,
            owed: 0.0,
            spare: vec![0.0; HISTORY * channels].into_boxed_slice(),
            excess: 0.0,
            starved: 0,
            ended: None,
            capture,
        }
    }

    /// Fills `out` (interleaved, in the capture's channels) with the input's next frames at the programme's clock, for air.
    /// `stamp`: when the last frame of the programme was captured that `out` goes beside, from [`crate::Period::stamp`].
    pub fn pull(&mut self, out: &mut [f32], stamp: Instant) -> Filled {
        self.fill(out, stamp, true)
    }

    /// Like [`Follower::pull`] for a fraction of the cost, and not for air: frames are left out or doubled instead of
    /// resampled, which levels do not show.
    pub fn watch(&mut self, out: &mut [f32], stamp: Instant) -> Filled {
        self.fill(out, stamp, false)
    }

    /// The input behind it: its status, its warnings.
    #[must_use]
    pub const fn capture(&self) -> &Capture {
        &self.capture
    }

    /// Why the input gives nothing any more, if it does not: it has to be started anew.
    #[must_use]
    pub const fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// Frames that the input's sound lies behind the programme's: of one event heard by both, this is how much later it comes
    /// out here. Without what a stream keeps ahead by itself.
    #[must_use]
    pub fn latency(&self) -> Frames {
        Frames((self.target(self.longest) + self.excess).max(0.0) as u64)
    }

    /// How much faster the input's clock was found to be than the programme's, in ppm.
    #[must_use]
    pub fn ahead_ppm(&self) -> f64 {
        self.law.learned_ppm()
    }

    /// Times there was nothing to give while the input was there.
    #[must_use]
    pub const fn starved(&self) -> u64 {
        self.starved
    }

    fn fill(&mut self, out: &mut [f32], stamp: Instant, air: bool) -> Filled {
        self.drain();
        let mut kind = Filled::Silence;
        let longest = self.longest * self.channels;
        for piece in out.chunks_mut(longest) {
            kind = self.fill_piece(piece, stamp, air);
        }
        kind
    }

    fn fill_piece(&mut self, out: &mut [f32], stamp: Instant, air: bool) -> Filled {
        let frames = out.len() / self.channels;
        if self.ended.is_some() || !self.sit(frames, stamp) {
            out.fill(0.0);
            return Filled::Silence;
        }
        let speed = self.law.speed(self.excess / self.hz, frames as f64 / self.hz);
        let from = self.gone + self.read as u64;
        let whole = if air { self.resample(out, speed) } else { self.copy(out, speed) };
        if !whole {
            self.starved += 1;
            self.seated = false;
            out.fill(0.0);
            return Filled::Silence;
        }
        let until = self.gone + self.read as u64;
        // What was read is still coming out of the resampler.
        let fades = self.sound.1 + HISTORY as u64;
        if self.sound.1 > 0 && until > self.sound.0 && from < fades { Filled::Sound } else { Filled::Silence }
    }

    /// Takes what the capture has.
    fn drain(&mut self) {
        // More than the ring holds cannot come; the bound keeps a driver gone mad from holding the programme.
        for _ in 0..2 * crate::ring::SLOTS {
            match self.capture.glance() {
                Next::Period(period) => {
                    let frames = period.samples.len() / self.channels;
                    let room = self.buffer.len() / self.channels;
                    if self.filled + frames > room {
                        // Half of the room is more than is ever kept on purpose.
                        let keep = (self.filled - self.read + HISTORY).min(room / 2).min(self.filled);
                        let drop = self.filled - keep;
                        self.buffer.copy_within(drop * self.channels..self.filled * self.channels, 0);
                        self.filled = keep;
                        self.gone += drop as u64;
                        if drop > self.read {
                            self.seated = false;
                        }
                        self.read = self.read.saturating_sub(drop);
                    }
                    let at = self.filled * self.channels;
                    self.buffer[at..at + period.samples.len()].copy_from_slice(period.samples);
                    let from = self.gone + self.filled as u64;
                    self.filled += frames;
                    self.newest = Some(period.stamp);
                    if period.kind == PeriodKind::Sound {
                        // A gap of a few frames is none, as long as the sound before it is still to be read.
                        if self.sound.1 <= self.gone + self.read as u64 {
                            self.sound.0 = from;
                        }
                        self.sound.1 = from + frames as u64;
                    }
                }
                Next::Nothing => return,
                Next::Ended(error) => {
                    self.ended = Some(error);
                    return;
                }
            }
        }
    }

    /// Frames that should have been captured and not been read when `frames` are asked for: those, the input's period that
    /// may still be on its way, and play for its being late.
    fn target(&self, frames: usize) -> f64 {
        frames as f64 + self.capture.limit as f64 + PLAY * self.hz
    }

    /// Whether there is something to read, at about the right place.
    fn sit(&mut self, frames: usize, stamp: Instant) -> bool {
        let Some(newest) = self.newest else { return false };
        // What was captured since the newest frame and is still on its way; negative if that is newer than the programme's.
        let micros = stamp.as_micros() as f64 - newest.as_micros() as f64;
        let under_way = micros / 1e6 * self.hz;
        let target = self.target(frames);
        self.excess = (self.filled - self.read) as f64 + under_way - target;
        if self.seated && self.excess.abs() < FAR * self.hz {
            return true;
        }
        let wanted = target - under_way;
        if wanted < frames as f64 || wanted > self.filled as f64 {
            self.seated = false;
            return false;
        }
        self.read = self.filled - wanted as usize;
        self.excess = 0.0;
        self.law.seated();
        self.warm = false;
        self.seated = true;
        true
    }

    fn resample(&mut self, out: &mut [f32], speed: f64) -> bool {
        let frames = out.len() / self.channels;
        if !std::mem::replace(&mut self.warm, true) {
            self.warm_up(speed);
        }
        let needed = self.resampler.needs(frames, 1.0 / speed);
        if needed > self.filled - self.read {
            return false;
        }
        let piece = &self.buffer[self.read * self.channels..(self.read + needed) * self.channels];
        self.read += self.resampler.draw(piece, out);
        true
    }

    /// Lets the resampler hear what came before, so that the first frame for air is as good as the others.
    fn warm_up(&mut self, speed: f64) {
        self.resampler.reset();
        let back = self.read.min(HISTORY);
        // What it wants beyond what it gives, the first time: with that, all that is behind is heard, and nothing twice.
        let beyond = self.resampler.needs(1, 1.0 / speed).saturating_sub(1);
        let frames = back.saturating_sub(beyond);
        if frames > 0 && self.resampler.needs(frames, 1.0 / speed) <= back {
            let from = self.read - back;
            let piece = &self.buffer[from * self.channels..self.read * self.channels];
            self.read = from + self.resampler.draw(piece, &mut self.spare[..frames * self.channels]);
        }
    }

    /// As many frames, one of them left out or doubled now and then.
    fn copy(&mut self, out: &mut [f32], speed: f64) -> bool {
        self.warm = false;
        let frames = out.len() / self.channels;
        self.owed += (speed - 1.0) * frames as f64;
        let taken = (frames as f64 + self.owed.trunc()).max(0.0) as usize;
        self.owed = self.owed.fract();
        if taken > self.filled - self.read || taken == 0 {
            return false;
        }
        let from = self.read * self.channels;
        let same = taken.min(frames) * self.channels;
        out[..same].copy_from_slice(&self.buffer[from..from + same]);
        let last = from + (taken.min(frames) - 1) * self.channels;
        for frame in out[same..].chunks_exact_mut(self.channels) {
            frame.copy_from_slice(&self.buffer[last..last + self.channels]);
        }
        self.read += taken;
        true
    }
}

/// Seconds that an input may be later than its period says.
const PLAY: f64 = 0.02;
/// Seconds from the right place that are not worked off any more.
const FAR: f64 = 0.1;
