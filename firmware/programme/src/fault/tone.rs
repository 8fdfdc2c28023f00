//! Whether the line stands still: one level for as long as it lasts, and looks at what stands there.
//!
//! Programme never keeps its level to 1.5 dB for long, so the spectrum, which is dear, is only looked at when the level
//! has not moved for a while.

use units::{Channels, Dbfs, Frames, SampleRate};

use super::spectrum::{Pitch, STRETCH, Spectrum};

/// So far a steady level may wander from one window to the next.
const STEADY_DB: f32 = 1.5;
/// The level it is held against follows with this share of the difference: slow drifts are steady.
const FOLLOW: f32 = 0.05;
/// A look is taken after so many steady windows...
const STEADY_WINDOWS: u32 = 2;
/// ... and then after so many more, in turn: of no simple ratio, so that two tones that take turns are not met at the
/// same one each time.
const PAUSES: [u32; 4] = [3, 11, 17, 7];

#[derive(Clone, Debug)]
pub(super) struct Stillness {
    channels: Channels,
    /// What is steady against.
    reference: Dbfs,
    steady: Frames,
    /// What the last looks at this standing level found.
    pitch: Option<Pitch>,
    /// Whether the very last one did not find it.
    has_missed: bool,
    look: Look,
    /// The stretch that is being taken.
    stretch: Vec<(f32, f32)>,
    spectrum: Spectrum,
    pause: usize,
}

/// What is done about the spectrum.
#[derive(Clone, Copy, Debug)]
enum Look {
    /// In so many windows the next one begins.
    In(u32),
    /// Frames are taken.
    Taking,
}

impl Stillness {
    pub(super) fn new(rate: SampleRate, channels: Channels) -> Self {
        Self {
            channels,
            reference: Dbfs::FLOOR,
            steady: Frames(0),
            pitch: None,
            has_missed: false,
            look: Look::In(STEADY_WINDOWS),
            stretch: Vec::with_capacity(STRETCH),
            spectrum: Spectrum::new(rate),
            pause: 0,
        }
    }

    /// Takes the sound itself, where it is wanted.
    pub(super) fn part(&mut self, pcm: &[f32]) {
        match self.look {
            Look::In(_) => return,
            Look::Taking => {}
        }
        let room = STRETCH - self.stretch.len();
        match self.channels {
            Channels::Mono => self.stretch.extend(pcm.iter().take(room).map(|sample| (*sample, 0.0))),
            Channels::Stereo => {
                self.stretch
                    .extend(pcm.as_chunks::<2>().0.iter().take(room).map(|[left, right]| (*left, *right)));
            }
        }
    }

    /// Takes the level of a window; `is_wanted` says whether it is loud enough to look at.
    pub(super) fn window(&mut self, level: Dbfs, frames: Frames, is_wanted: bool) {
        if (level.db() - self.reference.db()).abs() > STEADY_DB {
            self.reference = level;
            self.steady = frames;
            self.pitch = None;
            self.has_missed = false;
            self.look = Look::In(STEADY_WINDOWS);
            self.stretch.clear();
            return;
        }
        self.reference = Dbfs::new(self.reference.db() + FOLLOW * (level.db() - self.reference.db()));
        self.steady += frames;
        self.look = match self.look {
            Look::In(windows) if windows > 1 => Look::In(windows - 1),
            Look::In(_) if !is_wanted => Look::In(1),
            Look::In(_) => Look::Taking,
            Look::Taking if self.stretch.len() < STRETCH => Look::Taking,
            Look::Taking => {
                self.judge(frames);
                self.stretch.clear();
                self.pause = (self.pause + 1) % PAUSES.len();
                Look::In(PAUSES[self.pause])
            }
        };
    }

    fn judge(&mut self, frames: Frames) {
        match (self.pitch, self.spectrum.pitch(&self.stretch)) {
            (None, found) => self.pitch = found,
            (Some(before), Some(now)) => {
                if !before.is(now) {
                    // Another tone at the same level: it stands since this look at the earliest.
                    self.steady = frames;
                }
                self.pitch = Some(now);
                self.has_missed = false;
            }
            // One look may have met a click.
            (Some(_), None) if !self.has_missed => self.has_missed = true,
            (Some(_), None) => {
                self.pitch = None;
                self.has_missed = false;
                self.steady = frames;
            }
        }
    }

    /// Since when the level has not moved.
    pub(super) const fn steady_for(&self) -> Frames {
        self.steady
    }

    /// What stands there, if it is one pitch.
    pub(super) const fn pitch(&self) -> Option<Pitch> {
        self.pitch
    }

    /// Level of what is left without the pitch; the level itself where there is none.
    pub(super) fn without_pitch(&self, level: Dbfs) -> Dbfs {
        let share = self.pitch.map_or(1.0, |pitch| pitch.elsewhere.max(1e-9));
        Dbfs::new(level.db() + 10.0 * share.log10())
    }
}
