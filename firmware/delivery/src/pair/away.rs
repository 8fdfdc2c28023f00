//! The listeners are on the fallback: until the preferred way has been good for long enough, or the fallback itself fails; and
//! the way back.

use alloc::format;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use super::candour::LATE;
use super::look::Look;
use super::{Ground, Pair, Phase};
use crate::config::Return as GiveBack;
use crate::event::{Answer, LinkId, Output, UplinkId};
use crate::mount::feed::{Cut, Start};
use crate::mount::{Event, Mount};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Away {
    since: Instant,
    stay: Stay,
    /// Since when the preferred way has been good.
    good: Option<Instant>,
    pub next: Instant,
}

/// How long the listeners stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Stay {
    /// Until the preferred way has been good for the settle time.
    UntilGood,
    /// Until a second way has, too: bytes are saved meanwhile.
    WhileLone,
    /// Until somebody brings them back.
    UntilAsked,
}

impl Away {
    pub(super) const fn new(now: Instant, stay: Stay) -> Self {
        Self { since: now, stay, good: None, next: now }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Return {
    away_since: Instant,
    began: Instant,
    way: Option<UplinkId>,
    /// The fallback has failed: nothing is waited for that need not be.
    urgent: bool,
    stage: Stage,
    pub look: Look,
    pub next: Instant,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Stage {
    /// The primary is being connected up to its greeting.
    Poising,
    /// The fallback stops at this body byte; quiet since then, once all of it is acknowledged.
    Draining { end: u64, quiet: Option<Instant> },
    /// The primary greets.
    Greeting,
    /// Its first block is out; the listeners are fetched until then.
    Landing { until: Instant },
    /// It carries the programme. Has anybody stayed on the fallback?
    Counting { link: LinkId, until: Instant, stayed: Option<bool> },
}

impl Return {
    pub(super) fn owns(&self, link: LinkId) -> bool {
        self.look.owns(link) || matches!(self.stage, Stage::Counting { link: asked, .. } if asked == link)
    }

    pub(super) fn event(&mut self, now: Instant, agent: &str, link: LinkId, event: &Event<'_>) {
        match (&mut self.stage, event) {
            (Stage::Counting { link: asked, stayed, .. }, Event::Answered(answer)) if *asked == link => {
                *stayed = Some(matches!(answer, Answer::Source { listeners: Some(1..), .. }));
            }
            (Stage::Counting { link: asked, stayed, .. }, Event::Failed(_) | Event::Closed(_))
                if *asked == link =>
            {
                *stayed = Some(false);
            }
            (
                Stage::Poising
                | Stage::Draining { .. }
                | Stage::Greeting
                | Stage::Landing { .. }
                | Stage::Counting { .. },
                _,
            ) => self.look.event(now, agent, link, event),
        }
    }
}

impl Pair {
    pub(super) fn away(&mut self, ground: &mut Ground<'_>) {
        let now = ground.now;
        let settle = self.settle_time();
        let Phase::Away(away) = &mut self.phase else { return };
        away.next = now + PACE;
        let fallback = &ground.mounts[self.fallback];
        let here = fallback.uplink();
        let since = away.since;
        let trouble = match fallback.sight() {
            None => Some("the fallback's source was ended"),
            Some(sight) if !sight.path.zero_window && sight.owes && now.since(sight.progress) >= FAULT => {
                Some("no byte of the fallback is acknowledged")
            }
            Some(_) if !ground.is_usable(here) => Some("the fallback's uplink is gone"),
            Some(_) => None,
        };
        if let Some(sight) = fallback.sight() {
            if sight.owes {
                ground.with(self.fallback, Mount::measure);
            }
            self.take_care(ground, self.fallback, sight.path.rtt_us);
        }
        if let Some(trouble) = trouble {
            let other = ground.ways.iter().copied().find(|&way| way != here);
            let ended = ground.mounts[self.fallback].sight().is_none();
            let way = other.or_else(|| if ended { ground.ways.first().copied() } else { None });
            let Some(way) = way else { return };
            if ended && ground.mounts[self.fallback].remains().is_none() {
                return self.start_over(ground);
            }
            let what = format!("{trouble}: bringing the listeners to the primary at once");
            self.tell(ground, what, true);
            return self.begin_return(ground, way, true, since);
        }
        let best = ground.ways.first().copied().flatten();
        // With nothing but the way it is on, the primary comes back there too once it can.
        let good = ground.is_usable(best)
            && (best != here || ground.ways.len() > 1 || ground.uplinks < 2)
            && self.vouches(ground, best);
        // Where bytes cost money nothing is waited for but a path that holds.
        let costly = here.is_some_and(|here| ground.metered.contains(&here));
        let Phase::Away(away) = &mut self.phase else { return };
        let lone = away.stay == Stay::WhileLone;
        let settle = if costly && !lone { settle.min(COSTLY) } else { settle };
        let good = good && (!lone || ground.ways.len() > 1);
        if !good {
            away.good = None;
            return;
        }
        let good = *away.good.get_or_insert(now);
        let stays = away.stay == Stay::UntilAsked;
        let wanted = !stays
            && match self.policy.give_back {
                GiveBack::Auto => now.since(good) >= settle,
                GiveBack::AtSilence => now.since(good) >= settle && ground.pausing,
                GiveBack::Manual => now.since(good) >= settle && lone,
            };
        if wanted {
            self.begin_return(ground, best, false, since);
        } else if now.since(good) < settle {
            away.next = good + settle;
        }
    }

    /// Brings the listeners back now.
    pub(super) fn give_back(&mut self, ground: &mut Ground<'_>) {
        let Phase::Away(away) = &self.phase else { return };
        let since = away.since;
        let best = ground.ways.first().copied().flatten();
        self.begin_return(ground, best, false, since);
    }

    pub(super) fn settle_time(&self) -> Duration {
        self.policy.settle.saturating_mul(1 << self.flaps.min(MOST_DOUBLINGS))
    }

    fn begin_return(
        &mut self,
        ground: &mut Ground<'_>,
        way: Option<UplinkId>,
        urgent: bool,
        away_since: Instant,
    ) {
        let now = ground.now;
        ground.with(self.primary, |mount, step| {
            mount.lead(step.now, true);
            mount.launch(step, way, Start::Live, true);
        });
        let mut look = Look::default();
        if urgent {
            let sight = ground.mounts[self.fallback]
                .sight()
                .or_else(|| ground.mounts[self.fallback].remains().map(|(sight, _)| sight));
            if let Some(sight) = sight {
                let others = ground.mounts[self.fallback].rendition();
                // Whoever asks for the primary now is sent to where its listeners are.
                look = Look::open(ground, self.primary, sight.address, way, others, false);
            }
            ground.with(self.fallback, |mount, step| mount.freeze(step, true));
        }
        let (stage, next) = (Stage::Poising, now + PACE);
        self.phase = Phase::Return(Return { away_since, began: now, way, urgent, stage, look, next });
    }

    pub(super) fn returning(&mut self, ground: &mut Ground<'_>) {
        let Phase::Return(back) = &mut self.phase else { return };
        let now = ground.now;
        back.next = now + PACE;
        match back.stage {
            Stage::Poising => self.poising(ground),
            Stage::Draining { end, quiet } => self.draining(ground, end, quiet),
            Stage::Greeting => {
                // Bytes that are taken without the server's word may lie anywhere on the way.
                if ground.mounts[self.primary].sight().is_some_and(|sight| sight.greeted) {
                    let until = now + LANDING;
                    let Phase::Return(back) = &mut self.phase else { return };
                    (back.stage, back.next) = (Stage::Landing { until }, until.min(now + PACE));
                } else if ground.mounts[self.primary].is_parked() || now.since(back.began) >= PATIENCE {
                    self.turn_back(ground, "the server does not take the primary");
                }
            }
            Stage::Landing { until } => self.landing(ground, until),
            Stage::Counting { until, stayed, .. } => match stayed {
                Some(stayed) => self.landed(ground, stayed),
                None if now >= until => self.landed(ground, false),
                None => {}
            },
        }
    }

    fn poising(&mut self, ground: &mut Ground<'_>) {
        let Phase::Return(back) = &mut self.phase else { return };
        let now = ground.now;
        if ground.mounts[self.primary].is_poised() {
            if back.urgent {
                let lies = self.candour.lies_on(ground.mounts[self.fallback].uplink());
                let Some(cut) = urgent_cut(ground, self.fallback, back, now, lies) else { return };
                back.stage = Stage::Greeting;
                back.look.close(ground);
                return ground.with(self.primary, |mount, step| mount.go(step, Start::After(cut)));
            }
            // In the middle of catching up nobody is moved.
            let end = ground.with(self.fallback, Mount::stop_at_block);
            if let Some(end) = end {
                back.stage = Stage::Draining { end, quiet: None };
            }
        } else if ground.mounts[self.primary].is_parked() {
            if back.urgent && now.since(back.began) < PATIENCE {
                // Whatever works: each try takes the next way.
                let here = back.way;
                let way = ground.spare(here);
                back.way = way;
                let place = self.primary;
                return ground.with(place, |mount, step| mount.launch(step, way, Start::Live, true));
            }
            self.turn_back(ground, "the primary could not be connected");
        } else if !back.urgent && now.since(back.began) >= PATIENCE {
            self.turn_back(ground, "the primary could not be connected in time");
        }
    }

    fn draining(&mut self, ground: &mut Ground<'_>, end: u64, quiet: Option<Instant>) {
        let Phase::Return(back) = &mut self.phase else { return };
        let now = ground.now;
        let Some(sight) = ground.mounts[self.fallback].sight() else {
            back.urgent = true;
            back.stage = Stage::Poising;
            return;
        };
        if !ground.mounts[self.primary].is_poised() {
            return self.turn_back(ground, "the primary's connection was closed");
        }
        let drained = sight.written == end && sight.acked == end;
        let late = self.candour.lies_on(ground.mounts[self.fallback].uplink());
        let rest = if late { QUIET + LATE } else { QUIET };
        let Phase::Return(back) = &mut self.phase else { return };
        match (drained, quiet) {
            (true, None) => {
                back.stage = Stage::Draining { end, quiet: Some(now) };
                back.next = now + rest;
            }
            (true, Some(since)) if now.since(since) >= rest => {
                let Some(cut) = ground.mounts[self.fallback].body_at(end.saturating_sub(1)) else {
                    return self.turn_back(ground, "what the listeners have is no longer kept");
                };
                let cut = Cut { at: cut.at + 1, ..cut };
                back.stage = Stage::Greeting;
                back.began = now;
                ground.with(self.primary, |mount, step| mount.go(step, Start::After(cut)));
            }
            (true, Some(since)) => back.next = since + rest,
            (false, _) => {
                ground.with(self.fallback, Mount::measure);
                let Phase::Return(back) = &mut self.phase else { return };
                if now.since(back.began) >= PATIENCE {
                    self.turn_back(ground, "the fallback did not come to rest");
                }
            }
        }
    }

    fn landing(&mut self, ground: &mut Ground<'_>, until: Instant) {
        let now = ground.now;
        let block = ground.mounts[self.primary].profile().block.unwrap_or(1);
        let sight = ground.mounts[self.primary].sight();
        let landed = sight.is_some_and(|sight| sight.acked >= block);
        if sight.is_none() || (!landed && now.since(until) >= TAKEN) {
            // Its listeners left the fallback when it greeted: they are to be fetched from there like anybody's.
            return self.begin_doubt(ground, "the primary takes no bytes");
        }
        if now < until || !landed {
            ground.with(self.primary, Mount::measure);
            return;
        }
        ground.with(self.primary, |mount, step| mount.open_gate(step));
        let Phase::Return(back) = &self.phase else { return };
        // With the fallback itself gone there is nobody to be counted.
        let link = if back.urgent { None } else { super::crowd::ask(ground, self.fallback) };
        let Phase::Return(back) = &mut self.phase else { return };
        match link {
            Some(link) => {
                back.stage = Stage::Counting { link, until: now + COUNT, stayed: None };
                back.next = now + COUNT;
            }
            None => self.landed(ground, false),
        }
    }

    /// The listeners are on the primary again; `stayed`: some are not.
    fn landed(&mut self, ground: &mut Ground<'_>, stayed: bool) {
        let now = ground.now;
        let Phase::Return(back) = &mut self.phase else { return };
        back.look.close(ground);
        if let Stage::Counting { link, .. } = back.stage {
            ground.out.push_back(Output::Close { link });
        }
        let quick = now.since(back.away_since) < self.settle_time();
        if stayed {
            let what = "listeners stay on the fallback although the primary is back: the server does not override \
                        (set fallback-override, or write override = false); both mounts are full";
            self.tell(ground, what.into(), true);
            self.crowd.found(now);
            ground.with(self.fallback, |mount, step| {
                mount.begin_with(Start::Live);
                mount.lead(step.now, false);
                mount.open_gate(step);
            });
            self.returned = Some(now);
            self.close_incident(ground);
            self.phase = Phase::Calm;
            return;
        }
        ground.with(self.fallback, |mount, step| {
            mount.drop_source(step, "its listeners are back on the primary");
            mount.begin_with(Start::Held);
            mount.lead(step.now, false);
        });
        let flapped = self.returned.is_some_and(|last| now.since(last) < FLAP);
        self.flaps = if flapped || quick { (self.flaps + 1).min(MOST_DOUBLINGS) } else { 0 };
        self.returned = Some(now);
        self.close_incident(ground);
        self.phase = Phase::Calm;
        self.fill_at = now;
    }

    /// The way back failed: the fallback goes on, if it can.
    fn turn_back(&mut self, ground: &mut Ground<'_>, why: &str) {
        let Phase::Return(back) = &mut self.phase else { return };
        let (since, urgent) = (back.away_since, back.urgent);
        back.look.close(ground);
        let now = ground.now;
        if ground.mounts[self.fallback].sight().is_none() {
            self.tell(ground, format!("{why}; opening both mounts anew"), true);
            return self.start_over(ground);
        }
        if !urgent {
            self.tell(ground, format!("the listeners stay on the fallback: {why}"), false);
        }
        ground.with(self.primary, |mount, step| mount.drop_source(step, "its listeners are on the fallback"));
        ground.with(self.fallback, |mount, step| {
            mount.freeze(step, false);
            mount.open_gate(step);
        });
        self.phase = Phase::Away(Away { since, stay: Stay::UntilGood, good: None, next: now + AGAIN });
    }
}

/// Where the listeners of a fallback that failed go on: as far as it was acknowledged, or as the probe heard.
fn urgent_cut(ground: &Ground<'_>, place: usize, back: &Return, now: Instant, lies: bool) -> Option<Cut> {
    let mount = &ground.mounts[place];
    let sight = mount.sight().or_else(|| mount.remains().map(|(sight, _)| sight))?;
    let block = mount.profile().block.unwrap_or(1);
    let floor = |body: u64| body - body % block;
    let heard = back.look.heard.and_then(|heard| mount.body_of(heard.rendition, heard.upto));
    let end = match heard.filter(|body| body % block == 0 && *body <= floor(sight.written)) {
        Some(body) if lies || body >= floor(sight.acked) => body,
        Some(_) | None if floor(sight.acked) == floor(sight.written) && !lies => floor(sight.acked),
        // Doubtful: the probe gets time to say.
        Some(_) | None if now.since(back.began) < PROBE => return None,
        // Nobody knows: rather a hole than the same again.
        Some(_) | None if lies => floor(sight.written),
        Some(_) | None => floor(sight.acked),
    };
    let cut = mount.body_at(end.checked_sub(1)?)?;
    Some(Cut { at: cut.at + 1, ..cut })
}

const PACE: Duration = Duration::from_millis(50);
/// A way back from an uplink whose bytes cost money need not hold for longer than this.
const COSTLY: Duration = Duration::from_secs(3);
/// No acknowledgement for so long is a fault of the fallback's path, too.
const FAULT: Duration = Duration::from_millis(700);
/// The server's own turns bring everything to the listeners within one of 0.25 s.
const QUIET: Duration = Duration::from_millis(300);
/// Two quiet turns, and a little (DESIGN 3).
const LANDING: Duration = Duration::from_millis(600);
/// For the server's answer who listens to the fallback.
const COUNT: Duration = Duration::from_secs(2);
/// A primary that has not got its first block by so long after its landing does not get it at all.
const TAKEN: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(8);
const AGAIN: Duration = Duration::from_secs(2);
/// A new listener on a mount that gets no data hears something after 1.25 s at the latest.
const PROBE: Duration = Duration::from_millis(1500);
/// A return that lasts for less was a flap.
const FLAP: Duration = Duration::from_secs(600);
const MOST_DOUBLINGS: u32 = 5;
