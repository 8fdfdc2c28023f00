//! What counts as a fault, from which level on, and for how long.

use std::time::Duration;

use units::Dbfs;

use super::Kind;

/// How long a fault lasts before it counts, and how long the sound is good before it is over. Counted in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct When {
    /// Somebody should know after so long; `None` raises no alarm before `act`.
    pub alarm: Option<Duration>,
    /// The programme should be changed after so long, never before the alarm; `None` never. Both `None`: not watched.
    pub act: Option<Duration>,
    /// Good for so long without a break, and it is over.
    pub back_after: Duration,
}

impl When {
    /// An alarm that changes nothing.
    #[must_use]
    pub const fn alarm(after: Duration, back_after: Duration) -> Self {
        Self { alarm: Some(after), act: None, back_after }
    }
}

/// When the line is silent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SilenceRule {
    /// Below this the line is quiet: RMS of 20 ms without its mean, the louder channel.
    pub below: Dbfs,
    /// At or above this it is coming back; never less than `below`.
    pub back_above: Dbfs,
    /// Whether steady mains hum with nothing but quiet behind it is silence too, however loud it is. Default yes: it is what
    /// a dead line gives. Hum is known within 0.4 s and counted from its beginning.
    pub through_hum: bool,
    /// How long.
    pub when: When,
}

/// When one of two channels is dead.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DeadChannelRule {
    /// Below this a channel is dead while the other one is at least 15 dB over it. The other one may pause for up to half
    /// of the time.
    pub below: Dbfs,
    /// How long. Default 60 s: longer than an introduction that was mixed to one side.
    pub when: When,
}

/// When two living channels are not equally loud.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct UnequalRule {
    /// Difference of their power over the whole of the time, in dB. Default 8.
    pub by_db: f32,
    /// How long. Default 120 s: an orchestra or an interview leans to one side for a while.
    pub when: When,
}

/// When the converter is driven beyond full scale.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ClippingRule {
    /// So many samples in a row at full scale in one channel. Default 3. At least 1.
    pub samples: u32,
    /// How long; pauses of up to 1.5 s between clipped places count along. Default 3 s: one blow is no fault.
    pub when: When,
}

/// When something before the converter is driven too far.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OverloadRule {
    /// Tops under this are not looked at. Default -12 dBFS.
    pub above: Dbfs,
    /// How long tops are cut off flat at one level; pauses of up to 1.5 s count along. Default 3 s.
    pub when: When,
}

/// When the channels cancel each other in mono.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct InvertedRule {
    /// The mono sum has so many dB less power than both channels together, over the whole of the time. Default 4, which is a
    /// correlation of -0.6 between equal channels; two unrelated channels lose nothing.
    pub cancels_db: f32,
    /// How long. Default 20 s.
    pub when: When,
}

/// When a tone stands on the line.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ToneRule {
    /// How long one pitch stands at one level (to 1.5 dB), louder than the silence threshold. Default 30 s: longer than alert
    /// tones.
    pub when: When,
}

/// What is watched for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Config {
    /// Nothing on the line.
    pub silence: SilenceRule,
    /// One channel missing.
    pub dead_channel: DeadChannelRule,
    /// One channel too weak.
    pub unequal: UnequalRule,
    /// Digital full scale.
    pub clipping: ClippingRule,
    /// Analogue overload before the converter.
    pub overload: OverloadRule,
    /// One channel's polarity swapped.
    pub inverted: InvertedRule,
    /// A line-up tone left on, or hum.
    pub tone: ToneRule,
    /// The sound card is gone, as its capture says. Default: an alarm at once, act after 1 s, over after 0.5 s.
    pub card_lost: When,
}

/// Programmes pause differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preset {
    /// Act below -45 dBFS; alarm after 10 s, act after 20 s.
    #[default]
    Music,
    /// Act below -50 dBFS; alarm after 20 s, act after 40 s.
    Talk,
    /// Act below -60 dBFS; alarm after 30 s, act after 60 s.
    Classical,
}

/// How far the return lies above the silence threshold.
const RETURN_DB: f32 = 5.0;
/// How far a dead channel's threshold lies under the silence threshold: crosstalk and hiss of a good card are lower still.
const DEAD_DB: f32 = 5.0;

impl Config {
    /// The rules for a kind of programme.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let (below, alarm, act) = match preset {
            Preset::Music => (-45.0, 10, 20),
            Preset::Talk => (-50.0, 20, 40),
            Preset::Classical => (-60.0, 30, 60),
        };
        let seconds = Duration::from_secs;
        Self {
            silence: SilenceRule {
                below: Dbfs::new(below),
                back_above: Dbfs::new(below + RETURN_DB),
                through_hum: true,
                when: When {
                    alarm: Some(seconds(alarm)),
                    act: Some(seconds(act)),
                    back_after: Duration::from_millis(500),
                },
            },
            dead_channel: DeadChannelRule {
                below: Dbfs::new(below - DEAD_DB),
                when: When::alarm(seconds(60), seconds(1)),
            },
            unequal: UnequalRule { by_db: 8.0, when: When::alarm(seconds(120), seconds(10)) },
            clipping: ClippingRule { samples: 3, when: When::alarm(seconds(3), seconds(10)) },
            overload: OverloadRule { above: Dbfs::new(-12.0), when: When::alarm(seconds(3), seconds(10)) },
            inverted: InvertedRule { cancels_db: 4.0, when: When::alarm(seconds(20), seconds(5)) },
            tone: ToneRule { when: When::alarm(seconds(30), seconds(1)) },
            card_lost: When {
                alarm: Some(Duration::ZERO),
                act: Some(seconds(1)),
                back_after: Duration::from_millis(500),
            },
        }
    }

    /// The times of one kind of fault.
    #[must_use]
    pub const fn when(&self, kind: Kind) -> When {
        match kind {
            Kind::CardLost => self.card_lost,
            Kind::Silence => self.silence.when,
            Kind::DeadChannel => self.dead_channel.when,
            Kind::Unequal => self.unequal.when,
            Kind::Clipping => self.clipping.when,
            Kind::Overload => self.overload.when,
            Kind::Inverted => self.inverted.when,
            Kind::Tone => self.tone.when,
        }
    }

    /// Whether the rules contradict themselves.
    ///
    /// # Errors
    /// [`Refused`], with the figures.
    pub fn check(&self) -> Result<(), Refused> {
        let SilenceRule { below, back_above, .. } = self.silence;
        if back_above < below {
            return Err(Refused::Hysteresis { below, back_above });
        }
        for kind in Kind::ALL {
            let When { alarm, act, .. } = self.when(kind);
            if let (Some(alarm), Some(act)) = (alarm, act)
                && act < alarm
            {
                return Err(Refused::Order { kind, alarm, act });
            }
        }
        for (kind, db) in [(Kind::Unequal, self.unequal.by_db), (Kind::Inverted, self.inverted.cancels_db)] {
            if !(1.0..=60.0).contains(&db) {
                return Err(Refused::Decibels { kind, db });
            }
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::preset(Preset::default())
    }
}

/// Why faults cannot be watched for this way.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Refused {
    /// The line would be back before it is silent.
    #[error("silence below {below} ends above {back_above}: set the return at or above the threshold")]
    Hysteresis {
        /// The threshold.
        below: Dbfs,
        /// The return.
        back_above: Dbfs,
    },
    /// The second stage would come first.
    #[error(
        "{kind} acts after {act:?}, before its alarm after {alarm:?}: set the alarm at or before the act"
    )]
    Order {
        /// Of which fault.
        kind: Kind,
        /// The alarm.
        alarm: Duration,
        /// The act.
        act: Duration,
    },
    /// No difference can be told from this.
    #[error("{kind} at {db} dB: use 1 to 60 dB")]
    Decibels {
        /// Of which fault.
        kind: Kind,
        /// As set.
        db: f32,
    },
}
