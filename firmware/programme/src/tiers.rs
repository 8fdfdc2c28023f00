//! Which of the ordered sources is on air: inputs, emergency files, and the noise floor that never fails.
//!
//! Sans-IO. The caller tells how each tier is ([`Tiers::condition`]), asks for what is due ([`Tiers::tick`] at
//! [`Tiers::wakeup`]) and carries out what [`Tiers::poll`] gives. Every one of these calls writes texts, so they are for
//! changes and deadlines, not for every period.
//!
//! Going down is at once: whoever says that a tier is bad has waited already. Going up is slow, by the rule of the tier
//! that is left; and each time a tier fails soon after it came back, its next return takes twice as long.

mod alarm;
mod config;
mod order;
mod report;
mod tier;

use std::collections::VecDeque;
use std::time::Duration;

use units::{Instant, WallTime};

pub use alarm::Alarm;
pub use config::{GoBack, Policy, TiersConfig, TiersError};
pub use order::Order;
pub use report::{AlarmReport, Report, TierReport};
pub use tier::{Condition, Tier};

use alarm::Alarms;
use tier::Standing;

/// Something to be done, in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Fade to another tier.
    PutOnAir {
        /// This one.
        tier: Tier,
        /// In place of this one.
        from: Tier,
        /// How long the fade is.
        crossfade: Duration,
        /// Why.
        why: Why,
    },
    /// Close the primary mount, so that the platform's own fallback is heard.
    DropPrimary,
    /// Open it again.
    TakeUpPrimary,
    /// Somebody should know.
    AlarmBegan {
        /// What of.
        alarm: Alarm,
        /// In words for people.
        why: String,
    },
    /// It is still so: the alarm re-arms.
    AlarmReminder {
        /// What of.
        alarm: Alarm,
        /// In words for people, as they are now.
        why: String,
        /// Since the beginning.
        lasted: Duration,
    },
    /// It is over.
    AlarmEnded {
        /// What of.
        alarm: Alarm,
        /// From beginning to end.
        lasted: Duration,
    },
    /// A manual order came to its end; the caller forgets what it kept of it.
    OrderEnded {
        /// What was ordered.
        tier: Tier,
    },
}

/// Why a tier was put on air.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The box has just started.
    Started,
    /// The one before failed.
    Fell,
    /// It is good again.
    Returned,
    /// A person said so.
    Ordered,
    /// A person's order ended.
    Released,
}

/// The policy, and where it stands.
#[derive(Debug)]
pub struct Tiers {
    config: TiersConfig,
    /// Inputs in their order, then the files.
    standings: Vec<Standing>,
    on_air: OnAir,
    order: Option<Held>,
    release: Release,
    song_ending: bool,
    /// Since when the primary is closed.
    dropped: Option<Instant>,
    alarms: Alarms,
    decisions: VecDeque<Decision>,
}

/// An order that holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    tier: Tier,
    until: Instant,
    ends: WallTime,
}

#[derive(Clone, Copy, Debug)]
struct OnAir {
    tier: Tier,
    since: Instant,
    why: Why,
}

/// Whether the tier on air was set free from its go-back rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Release {
    /// The rule holds.
    No,
    /// It was there by an order that ends now: a rule of "manual" is met.
    Rule,
    /// A person wants the best there is, now.
    Now,
}

/// A tier that failed before it was on air for so long has come back too early.
const CALM: Duration = Duration::from_mins(10);

/// Settle times on the noise floor double up to here.
const LONGEST_ON_FLOOR: Duration = Duration::from_secs(30);

/// Settle times double at most so often.
const MOST_STRIKES: u32 = 8;

/// Decisions that wait to be asked for; a caller that never asks loses the oldest.
const MOST_DECISIONS: usize = 256;

impl Tiers {
    /// Starts on the first input, whatever its state: it is told soon.
    ///
    /// # Errors
    /// See [`TiersError`].
    pub fn new(now: Instant, config: TiersConfig) -> Result<Self, TiersError> {
        config.check()?;
        let mut standings: Vec<_> =
            config.inputs.iter().map(|_| Standing::new(now, Condition::Suspect)).collect();
        standings.push(Standing::new(now, Condition::Absent));
        Ok(Self {
            alarms: Alarms::new(config.reminder),
            config,
            standings,
            on_air: OnAir { tier: Tier::Input(0), since: now, why: Why::Started },
            order: None,
            release: Release::No,
            song_ending: false,
            dropped: None,
            decisions: VecDeque::new(),
        })
    }

    /// A tier's condition; told as often as one likes. The floor has none, and unknown inputs are ignored.
    pub fn condition(&mut self, now: Instant, tier: Tier, condition: Condition) {
        if let Some(place) = self.place(tier) {
            self.standings[place].set(now, condition);
        }
        self.decide(now);
    }

    /// Whether the file on air ends within the crossfade, or has ended: the moment for [`GoBack::AtSongEnd`].
    pub fn song_ending(&mut self, now: Instant, ending: bool) {
        self.song_ending = ending;
        self.decide(now);
    }

    /// Orders a tier on air for so long, whatever happens, in place of an order before. An input stays on air even if
    /// it is silent, but not if it is gone; files as long as one can be played.
    ///
    /// `ends` is the wall-clock end, for [`Tiers::kept`]; unknown where the box knows no time.
    ///
    /// # Errors
    /// [`TiersError::NoSuchTier`]; nothing changes then.
    pub fn order(
        &mut self,
        now: Instant,
        tier: Tier,
        lasts: Duration,
        ends: WallTime,
    ) -> Result<(), TiersError> {
        if tier != Tier::Floor && self.place(tier).is_none() {
            return Err(TiersError::NoSuchTier { tier, inputs: self.config.inputs.len() });
        }
        let until = now + lasts.min(Order::LONGEST);
        self.order = Some(Held { tier, until, ends });
        self.release = Release::No;
        self.decide(now);
        Ok(())
    }

    /// Automatic again: ends an order, and goes back to the best tier there is, whatever the rules say.
    pub fn automatic(&mut self, now: Instant) {
        if let Some(order) = self.order.take() {
            self.push(Decision::OrderEnded { tier: order.tier });
        }
        self.release = Release::Now;
        self.decide(now);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Instant) {
        self.decide(now);
    }

    /// What is to be done; ask until `None`.
    pub fn poll(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    /// When [`Tiers::tick`] may have something to decide; always after the last call's `now`.
    #[must_use]
    pub fn wakeup(&self, now: Instant) -> Option<Instant> {
        let order = self.order.map(|order| order.until);
        let back = self.returns().flat_map(|(_, times)| times).flatten();
        let take_up = self.take_up_at();
        let times = order.into_iter().chain(back).chain(take_up).chain(self.alarms.wakeup());
        times.filter(|at| *at > now).min()
    }

    /// The tier on air.
    #[must_use]
    pub const fn on_air(&self) -> Tier {
        self.on_air.tier
    }

    /// Whether the primary is closed by policy.
    #[must_use]
    pub const fn is_primary_dropped(&self) -> bool {
        self.dropped.is_some()
    }

    /// The order that holds, to be kept across a restart. See [`Order::left_at`].
    #[must_use]
    pub fn kept(&self, now: Instant) -> Option<Order> {
        self.order.map(|order| Order { tier: order.tier, left: order.until.since(now), ends: order.ends })
    }

    /// All there is to be shown.
    #[must_use]
    pub fn report(&self, now: Instant) -> Report {
        let returns: Vec<_> = self.returns().collect();
        let tiers = self.listed().zip(&self.standings).map(|(tier, standing)| {
            let times = returns.iter().find(|(above, _)| *above == tier).map(|(_, times)| times);
            TierReport {
                tier,
                condition: standing.condition.clone(),
                lasting: now.since(standing.since),
                // The rule's own time, not the latest that it waits for a song's end.
                back_in: times.and_then(|times| times[0]).map(|at| at.since(now)),
            }
        });
        Report {
            on_air: self.on_air.tier,
            lasting: now.since(self.on_air.since),
            why: self.on_air.why,
            order: self.kept(now),
            policy: self.config.policy,
            primary_dropped: self.dropped.map(|since| now.since(since)),
            tiers: tiers.collect(),
            alarms: self.alarms.report(now),
        }
    }

    fn decide(&mut self, now: Instant) {
        if let Some(order) = self.order.filter(|order| order.until <= now) {
            self.order = None;
            self.release = Release::Rule;
            self.push(Decision::OrderEnded { tier: order.tier });
        }
        let (tier, why) = self.choose(now);
        if tier != self.on_air.tier {
            let from = self.on_air.tier;
            if why == Why::Fell {
                self.strike(from, now);
            }
            self.on_air = OnAir { tier, since: now, why };
            self.push(Decision::PutOnAir { tier, from, crossfade: self.config.crossfade, why });
        }
        // Where nothing better was there, the rules hold again.
        self.release = Release::No;
        self.drop_or_take_up(now);
        let alarms = self.wanted_alarms();
        for decision in self.alarms.update(now, alarms) {
            self.push(decision);
        }
    }

    /// The tier that should be on air. Pure: follows from what is known at `now`.
    fn choose(&self, now: Instant) -> (Tier, Why) {
        if let Some(order) = self.order
            && self.can_be_ordered(order.tier)
        {
            return (order.tier, Why::Ordered);
        }
        let current = self.on_air.tier;
        let released = if self.release == Release::No { Why::Returned } else { Why::Released };
        if let Some((above, _)) =
            self.returns().find(|(_, times)| times.iter().flatten().any(|at| *at <= now))
        {
            return (above, released);
        }
        let usable = self.is(current, Condition::is_usable);
        // Where files play by an order that has ended, only their rule is waited for.
        let stays = match self.config.policy {
            Policy::NextTier => usable,
            Policy::DropPrimary { .. } => {
                usable && (matches!(current, Tier::Input(_)) || self.returns().next().is_some())
            }
            // Whatever it sounds like.
            Policy::AlarmOnly => {
                matches!(current, Tier::Input(_)) || usable && self.returns().next().is_some()
            }
        };
        if stays {
            return (current, self.on_air.why);
        }
        let candidates = || self.allowed().filter(|tier| *tier != current);
        let below =
            candidates().filter(|tier| *tier > current).find(|tier| self.is(*tier, Condition::is_fit));
        let fit = below.or_else(|| candidates().find(|tier| self.is(*tier, Condition::is_fit)));
        let any = fit.or_else(|| candidates().find(|tier| self.is(*tier, Condition::is_usable)));
        let last = || match (self.config.policy, current) {
            (Policy::NextTier, _) => Tier::Floor,
            (Policy::DropPrimary { .. } | Policy::AlarmOnly, Tier::Input(_)) => current,
            (Policy::DropPrimary { .. } | Policy::AlarmOnly, Tier::Files | Tier::Floor) => Tier::Input(0),
        };
        (
            any.unwrap_or_else(last),
            if matches!(self.release, Release::No) { Why::Fell } else { Why::Released },
        )
    }

    /// Tiers above the one on air that it may be left for, best first, each with the times at which its rule is met:
    /// settled, and (for songs that do not end) at the latest. They may lie in the past.
    fn returns(&self) -> impl Iterator<Item = (Tier, [Option<Instant>; 2])> + '_ {
        let rule = match self.on_air.tier {
            Tier::Input(n) => self.config.inputs[usize::from(n)],
            Tier::Files => self.config.files,
            Tier::Floor => self.config.floor,
        };
        let held = self.order.is_some_and(|order| self.can_be_ordered(order.tier));
        self.allowed().filter(move |tier| *tier < self.on_air.tier && !held).filter_map(move |tier| {
            let standing = &self.standings[self.place(tier)?];
            let good_since = standing.fit_since?;
            let settled = |after: Duration| good_since + self.settle(after, standing.strikes);
            let times = match (rule, self.release) {
                (_, Release::Now) | (GoBack::Manual, Release::Rule) => [Some(good_since), None],
                (GoBack::Manual, Release::No) => return None,
                (GoBack::AtSongEnd { good_for, at_latest }, _) if self.on_air.tier == Tier::Files => {
                    let settled = settled(good_for);
                    [self.song_ending.then_some(settled), Some(settled + at_latest)]
                }
                (GoBack::After(good_for) | GoBack::AtSongEnd { good_for, .. }, _) => {
                    [Some(settled(good_for)), None]
                }
            };
            Some((tier, times))
        })
    }

    fn settle(&self, after: Duration, strikes: u32) -> Duration {
        let doubled = after.saturating_mul(1 << strikes.min(MOST_STRIKES));
        let longest = self.config.longest_settle;
        // A programme that comes and goes is better than noise that stays.
        let longest = if self.on_air.tier == Tier::Floor { longest.min(LONGEST_ON_FLOOR) } else { longest };
        doubled.min(longest).max(after)
    }

    /// Takes note that a tier on air failed.
    fn strike(&mut self, tier: Tier, now: Instant) {
        let calm = now.since(self.on_air.since) >= CALM;
        let returned = self.on_air.why == Why::Returned;
        if let Some(place) = self.place(tier) {
            let strikes = &mut self.standings[place].strikes;
            if calm {
                *strikes = 0;
            } else if returned {
                *strikes = (*strikes + 1).min(MOST_STRIKES);
            }
        }
    }

    fn drop_or_take_up(&mut self, now: Instant) {
        let Policy::DropPrimary { .. } = self.config.policy else { return };
        let ordered = self.order.is_some();
        let programme = self.inputs().any(|input| self.is(input, Condition::is_usable));
        match self.dropped {
            None if !programme && !ordered => {
                self.dropped = Some(now);
                self.push(Decision::DropPrimary);
            }
            Some(_) if ordered || self.take_up_at().is_some_and(|at| at <= now) => {
                self.dropped = None;
                self.push(Decision::TakeUpPrimary);
            }
            None | Some(_) => {}
        }
    }

    /// When a closed primary is opened again, if all stays as it is.
    fn take_up_at(&self) -> Option<Instant> {
        let Policy::DropPrimary { back_after } = self.config.policy else { return None };
        self.dropped?;
        let good = self.inputs().filter_map(|input| {
            let standing = &self.standings[self.place(input)?];
            Some(standing.fit_since? + self.settle(back_after, standing.strikes))
        });
        good.min()
    }

    fn wanted_alarms(&self) -> Vec<(Alarm, String)> {
        let mut alarms = Vec::new();
        for (tier, standing) in self.listed().zip(&self.standings) {
            match &standing.condition {
                Condition::Good | Condition::Suspect | Condition::Absent => {}
                Condition::Alarm { why, .. } => alarms.push((Alarm::Warned(tier), why.clone())),
                Condition::Bad { why } => alarms.push((Alarm::Failed(tier), why.clone())),
            }
        }
        let on_air = self.on_air.tier;
        let as_ordered = self.order.is_some_and(|order| order.tier == on_air);
        if on_air != Tier::Input(0) && !as_ordered {
            let instead = self.order.map_or(Tier::Input(0), |order| order.tier);
            alarms.push((Alarm::StoodIn(on_air), format!("{on_air} on air in place of {instead}")));
        }
        if self.dropped.is_some() {
            let why =
                "the primary is closed: no input has a programme, so the platform's fallback is to be heard";
            alarms.push((Alarm::PrimaryDropped, why.into()));
        }
        alarms
    }

    fn can_be_ordered(&self, tier: Tier) -> bool {
        match tier {
            Tier::Input(_) => !self.is(tier, |condition| *condition == Condition::Absent),
            Tier::Files => self.is(tier, Condition::is_usable),
            Tier::Floor => true,
        }
    }

    /// Tiers that may go on air by themselves, best first. The floor is not among them: it is what is left.
    fn allowed(&self) -> impl Iterator<Item = Tier> + '_ {
        self.listed().filter(|tier| self.config.policy == Policy::NextTier || matches!(tier, Tier::Input(_)))
    }

    fn listed(&self) -> impl Iterator<Item = Tier> + '_ {
        self.inputs().chain([Tier::Files])
    }

    fn inputs(&self) -> impl Iterator<Item = Tier> + '_ {
        (0..self.config.inputs.len()).map(|n| Tier::Input(n as u8))
    }

    fn is(&self, tier: Tier, what: impl Fn(&Condition) -> bool) -> bool {
        self.place(tier).is_none_or(|place| what(&self.standings[place].condition))
    }

    /// Where a tier's standing lies; none for the floor and for inputs there are not.
    fn place(&self, tier: Tier) -> Option<usize> {
        let inputs = self.config.inputs.len();
        match tier {
            Tier::Input(n) => Some(usize::from(n)).filter(|n| *n < inputs),
            Tier::Files => Some(inputs),
            Tier::Floor => None,
        }
    }

    fn push(&mut self, decision: Decision) {
        if self.decisions.len() == MOST_DECISIONS {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decision);
    }
}

#[cfg(test)]
mod tests;
