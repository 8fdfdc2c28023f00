//! How two channels stand to each other: one dead, one too weak, one upside down.
//!
//! What is only true on the whole is judged over the whole: power is gathered from the first window that leans that way, and
//! once the gathered sum no longer does, the gathering begins anew. So a fault that begins is found its time later, and a
//! moment of something else neither raises nor excuses it.

use units::{Dbfs, Frames};

use super::config::{DeadChannelRule, InvertedRule, UnequalRule};
use super::window::{Heard, power};

/// The other channel is so much over a dead one's threshold.
const CONTRAST_DB: f32 = 15.0;

/// Left or right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The first channel.
    Left,
    /// The second channel.
    Right,
}

impl Side {
    /// Both, in their order.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];
}

/// One channel that may be dead.
#[derive(Clone, Debug)]
pub(super) struct Dead {
    below: f64,
    other_above: f64,
    /// Quiet for so long; of that the other one was heard for so long.
    quiet: Frames,
    other: Frames,
    /// Loud for so long.
    loud: Frames,
}

impl Dead {
    pub(super) fn new(rule: DeadChannelRule) -> Self {
        Self {
            below: power(rule.below),
            other_above: power(Dbfs::new(rule.below.db() + CONTRAST_DB)),
            quiet: Frames(0),
            other: Frames(0),
            loud: Frames(0),
        }
    }

    /// Takes a window; gives for how long the channel has been dead and for how long alive.
    pub(super) fn window(&mut self, this: f64, other: f64, frames: Frames) -> (Frames, Frames) {
        if this < self.below {
            self.quiet += frames;
            if other >= self.other_above {
                self.other += frames;
                // A pause of both is not held against it.
                self.loud = Frames(0);
            } else if self.other == Frames(0) {
                // Both are quiet: it begins with the other one.
                self.quiet = Frames(0);
            }
        } else {
            (self.quiet, self.other) = (Frames(0), Frames(0));
            self.loud += frames;
        }
        (heard_enough(self.quiet, self.other), self.loud)
    }
}

/// A span counts if there was sound in half of it.
fn heard_enough(span: Frames, heard: Frames) -> Frames {
    if heard.0 * 2 >= span.0 { span } else { Frames(0) }
}

/// Power since some moment.
#[derive(Clone, Copy, Debug, Default)]
struct Gathered {
    power: [f64; 2],
    product: f64,
    heard: Frames,
    span: Frames,
}

impl Gathered {
    /// Joins a window if what is then gathered is still so; else begins anew after it.
    fn window(&mut self, heard: &Heard, is: impl Fn(&Self) -> bool) {
        let frames = heard.frames.0 as f64;
        for (sum, power) in self.power.iter_mut().zip(heard.power) {
            *sum += power * frames;
        }
        self.product += heard.product * frames;
        self.heard += heard.frames;
        self.span += heard.frames;
        if !is(self) {
            *self = Self::default();
        }
    }

    /// A pause belongs to what was gathered before it.
    fn pause(&mut self, frames: Frames) {
        if self.heard > Frames(0) {
            self.span += frames;
        }
    }

    fn span(&self) -> Frames {
        heard_enough(self.span, self.heard)
    }
}

/// Something that holds for the gathered power of both channels; and, once it has risen, its contrary.
#[derive(Clone, Debug, Default)]
struct Judged {
    bad: Gathered,
    good: Gathered,
    has_risen: bool,
}

impl Judged {
    /// Takes a window; `has_risen` says whether the fault counts already. For how long it has been bad and good.
    fn window(
        &mut self,
        heard: &Heard,
        counts: bool,
        has_risen: bool,
        leans: impl Fn(&Gathered) -> bool,
        bad: impl Fn(&Gathered) -> bool,
        good: impl Fn(&Gathered) -> bool,
    ) -> (Frames, Frames) {
        if has_risen != self.has_risen {
            // What was before must not weigh against what comes.
            *self = Self { has_risen, bad: self.bad, good: Gathered::default() };
            if !has_risen {
                self.bad = Gathered::default();
            }
        }
        if counts {
            self.bad.window(heard, leans);
            self.good.window(heard, good);
        } else {
            self.bad.pause(heard.frames);
            self.good.pause(heard.frames);
        }
        (
            if bad(&self.bad) { self.bad.span() } else { Frames(0) },
            if has_risen { self.good.span() } else { Frames(0) },
        )
    }
}

/// One channel is too weak.
#[derive(Clone, Debug)]
pub(super) struct Unequal {
    judged: Judged,
    /// Ratio of powers.
    bad: f64,
    good: f64,
    /// Under this a channel is rather dead, which is another fault.
    alive: f64,
}

/// The difference is to be so much smaller for the channels to be equal again.
const EQUAL_DB: f32 = 2.0;

impl Unequal {
    pub(super) fn new(rule: UnequalRule, dead_below: Dbfs) -> Self {
        Self {
            judged: Judged::default(),
            bad: ratio(rule.by_db),
            good: ratio((rule.by_db - EQUAL_DB).max(0.5)),
            alive: power(dead_below),
        }
    }

    pub(super) fn window(&mut self, heard: &Heard, is_loud: bool, has_risen: bool) -> (Frames, Frames) {
        let [left, right] = heard.power;
        let (bad, good) = (self.bad, self.good);
        let apart = |gathered: &Gathered, ratio: f64| {
            let [left, right] = gathered.power;
            left > right * ratio || right > left * ratio
        };
        self.judged.window(
            heard,
            is_loud && left.min(right) >= self.alive,
            has_risen,
            |gathered| apart(gathered, good),
            |gathered| apart(gathered, bad),
            |gathered| !apart(gathered, good),
        )
    }

    /// The louder channel, and by how many dB.
    pub(super) fn louder(&self) -> (Side, f32) {
        let [left, right] = self.judged.bad.power;
        let by = (10.0 * (left / right).log10()) as f32;
        match by {
            by if by.is_nan() => (Side::Left, 0.0),
            by if by < 0.0 => (Side::Right, -by),
            by => (Side::Left, by),
        }
    }
}

/// One channel is upside down.
#[derive(Clone, Debug)]
pub(super) struct Inverted {
    judged: Judged,
    /// Power of the mono sum in that of both channels.
    bad: f64,
    good: f64,
}

/// The sum is to lose so much less for the channels to be right again.
const UPRIGHT_DB: f32 = 2.0;
/// Under this share of its power the sum leans towards cancelling: unrelated channels keep all of it.
const INVERTED_LEANS: f64 = 0.8;

impl Inverted {
    pub(super) fn new(rule: InvertedRule) -> Self {
        Self {
            judged: Judged::default(),
            bad: 1.0 / ratio(rule.cancels_db),
            good: 1.0 / ratio((rule.cancels_db - UPRIGHT_DB).max(0.5)),
        }
    }

    pub(super) fn window(&mut self, heard: &Heard, is_loud: bool, has_risen: bool) -> (Frames, Frames) {
        let (bad, good) = (self.bad, self.good);
        let sum = |gathered: &Gathered| gathered.power[0] + gathered.power[1] + 2.0 * gathered.product;
        let both = |gathered: &Gathered| gathered.power[0] + gathered.power[1];
        self.judged.window(
            heard,
            is_loud,
            has_risen,
            |gathered| sum(gathered) <= both(gathered) * INVERTED_LEANS,
            |gathered| sum(gathered) <= both(gathered) * bad,
            |gathered| sum(gathered) > both(gathered) * good,
        )
    }
}

/// Decibels as a ratio of powers.
fn ratio(db: f32) -> f64 {
    10_f64.powf(f64::from(db) / 10.0)
}
