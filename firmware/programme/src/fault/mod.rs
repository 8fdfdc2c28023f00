//! What is wrong with the sound of one input: silence, a dead or weak channel, clipping, overload before the converter,
//! swapped polarity, a standing tone or hum, a lost card. Each is a state of its own with two stages: an alarm, then an
//! act. Watched before any gain, in windows of 20 ms; every time is counted in frames.
//!
//! What is not a fault, and why it is not taken for one: pauses, fades and run-out grooves are short of the silence
//! time or over its level; a constant is no sound; an orchestra's pianissimo moves, where hum stands still; pips and alert
//! tones end before a tone has stood for its time; an introduction on one side ends before a channel is dead.

mod balance;
mod clipping;
mod config;
mod learn;
mod spectrum;
mod stage;
#[cfg(test)]
mod tests;
mod tone;
mod window;

use std::fmt;
use std::time::Duration;

use units::{Channels, Dbfs, Frames, SampleRate};

use self::balance::{Dead, Inverted, Unequal};
use self::clipping::{Clipping, Overload};
use self::tone::Stillness;
use self::window::{Heard, Window};
use crate::levels::clean;

pub use self::balance::Side;
pub use self::config::{
    ClippingRule, Config, DeadChannelRule, InvertedRule, OverloadRule, Preset, Refused, SilenceRule,
    ToneRule, UnequalRule, When,
};
pub use self::learn::{Hum, Learn, Learnt, Line};
pub use self::spectrum::Pitch;
pub use self::stage::Stage;
pub(crate) use self::stage::{Runs, Stages, Step, Verdict};

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The sound card is gone.
    CardLost,
    /// Nothing on the line.
    Silence,
    /// One channel missing.
    DeadChannel,
    /// One channel too weak.
    Unequal,
    /// Beyond digital full scale.
    Clipping,
    /// Overdriven before the converter.
    Overload,
    /// The channels cancel in mono.
    Inverted,
    /// A tone or hum stands on the line.
    Tone,
}

impl Kind {
    /// All of them, worst first.
    pub const ALL: [Self; 8] = [
        Self::CardLost,
        Self::Silence,
        Self::DeadChannel,
        Self::Unequal,
        Self::Clipping,
        Self::Overload,
        Self::Inverted,
        Self::Tone,
    ];

    /// Its name in words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CardLost => "card lost",
            Self::Silence => "silence",
            Self::DeadChannel => "dead channel",
            Self::Unequal => "channels unequal",
            Self::Clipping => "clipping",
            Self::Overload => "overload",
            Self::Inverted => "inverted phase",
            Self::Tone => "standing tone",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fault with what is known about it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    /// The sound card is gone.
    CardLost,
    /// Nothing on the line.
    Silence {
        /// What stands on the line instead of a programme, if that is hum.
        hum: Option<Pitch>,
    },
    /// One channel is missing.
    DeadChannel {
        /// Which.
        side: Side,
    },
    /// One channel is too weak.
    Unequal {
        /// The louder one.
        louder: Side,
        /// By so many dB.
        by_db: f32,
    },
    /// Samples stay at digital full scale.
    Clipping,
    /// Tops are flat below digital full scale: something before the converter is overdriven.
    Overload {
        /// Where they end.
        at: Dbfs,
    },
    /// The channels cancel in mono.
    Inverted,
    /// One pitch stands on the line.
    Tone {
        /// Which.
        pitch: Pitch,
    },
}

impl Fault {
    /// Its kind.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::CardLost => Kind::CardLost,
            Self::Silence { .. } => Kind::Silence,
            Self::DeadChannel { .. } => Kind::DeadChannel,
            Self::Unequal { .. } => Kind::Unequal,
            Self::Clipping => Kind::Clipping,
            Self::Overload { .. } => Kind::Overload,
            Self::Inverted => Kind::Inverted,
            Self::Tone { .. } => Kind::Tone,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side| match side {
            Side::Left => "left",
            Side::Right => "right",
        };
        match *self {
            Self::CardLost => f.write_str("sound card lost"),
            Self::Silence { hum: None } => f.write_str("silence"),
            Self::Silence { hum: Some(pitch) } => write!(f, "nothing but {pitch}"),
            Self::DeadChannel { side: dead } => write!(f, "{} channel dead", side(dead)),
            Self::Unequal { louder, by_db } => write!(f, "{} channel louder by {by_db:.0} dB", side(louder)),
            Self::Clipping => f.write_str("clipping at digital full scale"),
            Self::Overload { at } => write!(f, "overdriven before the converter: flat tops at {at}"),
            Self::Inverted => f.write_str("inverted phase: the channels cancel in mono"),
            Self::Tone { pitch } => write!(f, "standing {pitch}"),
        }
    }
}

impl fmt::Display for Pitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mains {
            Some(mains) => write!(f, "{mains} Hz mains hum"),
            None => write!(f, "tone of {:.0} Hz", self.hz),
        }
    }
}

/// Something about the sound has turned. Positions count frames fed since the start.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Turn {
    /// A fault reached a stage.
    Rose {
        /// What.
        fault: Fault,
        /// Which.
        stage: Stage,
        /// Where it began.
        since: Frames,
        /// Where it was found.
        at: Frames,
    },
    /// A fault is over.
    Ended {
        /// What.
        kind: Kind,
        /// From its first bad frame to the first good one.
        lasted: Frames,
        /// Where its end was found, after the return time.
        at: Frames,
    },
}

/// A fault that is there now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Standing {
    /// What.
    pub fault: Fault,
    /// How far it has come.
    pub stage: Stage,
    /// Where it began, in frames fed since the start.
    pub since: Frames,
}

const WINDOWS_PER_SECOND: u32 = 50;

/// The watch over one input.
#[derive(Clone, Debug)]
pub struct Watch {
    config: Config,
    channels: Channels,
    rate: SampleRate,
    window_frames: usize,
    /// The window that is being filled.
    window: Window,
    /// End of the last whole window.
    position: Frames,
    /// For samples that are no number.
    scratch: Vec<f32>,
    stages: [Stages; Kind::ALL.len()],
    lost: Runs,
    is_lost: bool,
    quiet: Runs,
    /// Quiet, or standing still: a dead line, if what stands is hum.
    dead_line: Frames,
    dead: [Dead; 2],
    /// The side of the dead channel that was found last.
    dead_side: Side,
    unequal: Unequal,
    inverted: Inverted,
    clipping: Clipping,
    overload: Overload,
    stillness: Stillness,
    /// What stands on the silent line.
    hum: Option<Pitch>,
    /// The pitch that stood last.
    tone: Pitch,
    /// Since when none does.
    tone_gone: Frames,
}

impl Watch {
    /// A watch that has heard nothing. All its memory is taken now.
    ///
    /// # Errors
    /// [`Refused`] where the rules contradict themselves.
    pub fn new(config: Config, rate: SampleRate, channels: Channels) -> Result<Self, Refused> {
        config.check()?;
        let window_frames = (rate.hz() / WINDOWS_PER_SECOND) as usize;
        Ok(Self {
            config,
            channels,
            rate,
            window_frames,
            window: Window::default(),
            position: Frames(0),
            scratch: Vec::with_capacity(window_frames * channels.count()),
            stages: Kind::ALL.map(|kind| Stages::new(config.when(kind), rate)),
            lost: Runs::default(),
            is_lost: false,
            quiet: Runs::default(),
            dead_line: Frames(0),
            dead: [Dead::new(config.dead_channel), Dead::new(config.dead_channel)],
            dead_side: Side::Left,
            unequal: Unequal::new(config.unequal, config.dead_channel.below),
            inverted: Inverted::new(config.inverted),
            clipping: Clipping::new(config.clipping, rate),
            overload: Overload::new(config.overload, rate),
            stillness: Stillness::new(rate, channels),
            hum: None,
            tone: Pitch::default(),
            tone_gone: Frames(0),
        })
    }

    /// Takes the next frames (interleaved, full scale 1.0, before any gain) and tells what turned, in order. Allocates only
    /// if something did.
    pub fn feed(&mut self, mut pcm: &[f32]) -> Vec<Turn> {
        let mut turns = Vec::new();
        let count = self.channels.count();
        while pcm.len() >= count {
            let room = self.window_frames - self.window.frames as usize;
            let (now, later) = pcm.split_at(room.min(pcm.len() / count) * count);
            pcm = later;
            let measured = Window::of(now, self.channels);
            if measured.is_sound() {
                self.part(now, &measured);
            } else {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                scratch.extend(now.iter().copied().map(clean));
                self.part(&scratch, &Window::of(&scratch, self.channels));
                self.scratch = scratch;
            }
            if self.window.frames as usize == self.window_frames {
                let window = std::mem::take(&mut self.window);
                self.end_window(&window.heard(), &mut turns);
            }
        }
        turns
    }

    /// Takes in whether the sound card is gone, from now on; its capture then delivers silence, which counts as such too.
    pub const fn lost(&mut self, lost: bool) {
        self.is_lost = lost;
    }

    /// The faults that are there now, worst first.
    pub fn state(&self) -> impl Iterator<Item = Standing> + '_ {
        Kind::ALL.into_iter().filter_map(|kind| {
            let (stage, lasted) = self.stages[kind as usize].risen()?;
            Some(Standing { fault: self.fault(kind), stage, since: self.position - lasted })
        })
    }

    /// The stage of one kind of fault, if it is there.
    #[must_use]
    pub const fn stage(&self, kind: Kind) -> Option<Stage> {
        match self.stages[kind as usize].risen() {
            Some((stage, _)) => Some(stage),
            None => None,
        }
    }

    /// How long the line has been silent, silence yet or not; zero when it is not.
    #[must_use]
    pub const fn quiet_for(&self) -> Duration {
        self.stages[Kind::Silence as usize].bad_for().duration(self.rate)
    }

    /// Frames fed, to the end of the last whole window.
    #[must_use]
    pub const fn position(&self) -> Frames {
        self.position
    }

    /// The rules.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    fn part(&mut self, pcm: &[f32], measured: &Window) {
        self.clipping.part(pcm, self.channels, measured);
        self.overload.part(pcm, self.channels, measured);
        self.stillness.part(pcm);
        self.window.extend(measured);
    }

    fn end_window(&mut self, heard: &Heard, turns: &mut Vec<Turn>) {
        let frames = heard.frames;
        self.position += frames;
        let level = heard.level();
        let is_loud = level >= self.config.silence.below;
        self.stillness.window(level, frames, is_loud);
        for kind in Kind::ALL {
            let has_risen = self.stage(kind).is_some();
            let (bad, good) = match kind {
                Kind::CardLost => self.card(frames),
                Kind::Silence => self.silence(level, frames),
                Kind::DeadChannel => self.dead_channel(heard),
                Kind::Unequal => self.stereo(|watch| watch.unequal.window(heard, is_loud, has_risen)),
                Kind::Clipping => self.clipping.window(frames),
                Kind::Overload => self.overload.window(frames),
                Kind::Inverted => self.stereo(|watch| watch.inverted.window(heard, is_loud, has_risen)),
                Kind::Tone => self.tone(is_loud, frames),
            };
            match self.stages[kind as usize].window(bad, good, frames) {
                None => {}
                Some(Step::Rose { stage, lasted }) => turns.push(Turn::Rose {
                    fault: self.fault(kind),
                    stage,
                    since: self.position - lasted,
                    at: self.position,
                }),
                Some(Step::Ended { lasted }) => turns.push(Turn::Ended { kind, lasted, at: self.position }),
            }
        }
    }

    fn card(&mut self, frames: Frames) -> (Frames, Frames) {
        self.lost.window(if self.is_lost { Verdict::Bad } else { Verdict::Good }, frames);
        (self.lost.bad, self.lost.good)
    }

    /// Quiet, or nothing but hum over quiet.
    fn silence(&mut self, level: Dbfs, frames: Frames) -> (Frames, Frames) {
        let rule = self.config.silence;
        let is_quiet = level < rule.below;
        let stands = self.stillness.steady_for() > frames;
        self.dead_line = if is_quiet || stands { self.dead_line + frames } else { frames };
        let hum = self.stillness.pitch().filter(|pitch| {
            rule.through_hum && pitch.is_hum() && self.stillness.without_pitch(level) < rule.below
        });
        if is_quiet || hum.is_some() {
            self.hum = hum.filter(|_| !is_quiet);
        }
        self.quiet.window(
            if is_quiet {
                Verdict::Bad
            } else if level < rule.back_above || hum.is_some() {
                Verdict::Neither
            } else {
                Verdict::Good
            },
            frames,
        );
        let through_hum = if hum.is_some() { self.dead_line } else { Frames(0) };
        (self.quiet.bad.max(through_hum), self.quiet.good)
    }

    fn dead_channel(&mut self, heard: &Heard) -> (Frames, Frames) {
        match self.channels {
            Channels::Mono => return (Frames(0), Frames(0)),
            Channels::Stereo => {}
        }
        let [left, right] = heard.power;
        let found =
            [self.dead[0].window(left, right, heard.frames), self.dead[1].window(right, left, heard.frames)];
        let worse = usize::from(found[1].0 > found[0].0);
        if found[worse].0 > Frames(0) {
            self.dead_side = Side::BOTH[worse];
        }
        (found[worse].0, found[0].1.min(found[1].1))
    }

    fn stereo(&mut self, judge: impl FnOnce(&mut Self) -> (Frames, Frames)) -> (Frames, Frames) {
        match self.channels {
            Channels::Mono => (Frames(0), Frames(0)),
            Channels::Stereo => judge(self),
        }
    }

    fn tone(&mut self, is_loud: bool, frames: Frames) -> (Frames, Frames) {
        match self.stillness.pitch().filter(|_| is_loud) {
            Some(pitch) => {
                self.tone = pitch;
                self.tone_gone = Frames(0);
                (self.stillness.steady_for(), Frames(0))
            }
            None => {
                self.tone_gone += frames;
                (Frames(0), self.tone_gone)
            }
        }
    }

    /// A kind of fault with what is known about it now.
    fn fault(&self, kind: Kind) -> Fault {
        match kind {
            Kind::CardLost => Fault::CardLost,
            Kind::Silence => Fault::Silence { hum: self.hum },
            Kind::DeadChannel => Fault::DeadChannel { side: self.dead_side },
            Kind::Unequal => {
                let (louder, by_db) = self.unequal.louder();
                Fault::Unequal { louder, by_db }
            }
            Kind::Clipping => Fault::Clipping,
            Kind::Overload => Fault::Overload { at: self.overload.at() },
            Kind::Inverted => Fault::Inverted,
            Kind::Tone => Fault::Tone { pitch: self.tone },
        }
    }
}
