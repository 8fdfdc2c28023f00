//! Two mounts of one output that share their listeners: when to doubt the primary, when to move them, when to bring them back
//! (DESIGN 3). Policy only; what a mount can be made to do is in [`crate::mount`].
//!
//! Invariants
//! - The listeners are on one mount, and only that one carries sound that they hear.
//! - Nothing is ended before what goes on for its listeners is published.
//! - No source is evicted that is not proven to be ours.
//! - Every phase but calm has an end in time; where a step fails, the station goes on with whatever works.

mod away;
mod candour;
mod crowd;
mod doubt;
mod look;
mod outwait;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;
use units::snapshot::{HandOverReport, Incident, MountReport, Role};

use self::away::{Away, Return, Stay};
use self::candour::{Bearing, Candour};
use self::crowd::Crowd;
use self::doubt::{Doubt, Moving};
use crate::config::{OutputConfig, Proven, Standby};
use crate::event::{LinkId, Order, Output, Telling, UplinkId};
use crate::index::Index;
use crate::mount::feed::Start;
use crate::mount::{Event, Mount, Step};
use crate::reserve::LONE;
use crate::uplink::Sight;

/// What a pair is lent for one step.
pub(crate) struct Ground<'a> {
    pub now: Instant,
    pub mounts: &'a mut [Mount],
    pub indices: &'a [Index],
    pub agent: &'a str,
    pub title: Option<&'a str>,
    pub out: &'a mut VecDeque<Output>,
    pub next_link: &'a mut u32,
    /// What is seen of the uplinks on the way.
    pub sights: &'a mut Vec<(UplinkId, SocketAddr, Sight)>,
    /// From which addresses the server sees our sources come.
    pub seen: &'a mut Vec<(UplinkId, IpAddr)>,
    /// Those whose bytes cost money.
    pub metered: &'a [UplinkId],
    /// The programme pauses.
    pub pausing: bool,
    /// Those of them that are known to work.
    pub up: &'a [UplinkId],
    /// How many uplinks are set.
    pub uplinks: usize,
    /// Usable uplinks, best first; without any configured, one way that nothing is bound to.
    pub ways: &'a [Option<UplinkId>],
}

impl Ground<'_> {
    /// Lets `act` make the mount at `place` do something.
    pub(crate) fn with<T>(&mut self, place: usize, act: impl FnOnce(&mut Mount, &mut Step<'_>) -> T) -> T {
        let mount = &mut self.mounts[place];
        let mut step = Step {
            now: self.now,
            index: &self.indices[usize::from(mount.rendition().0)],
            indices: self.indices,
            agent: self.agent,
            title: self.title,
            out: self.out,
            next_link: self.next_link,
        };
        act(mount, &mut step)
    }

    /// Tells the uplink of the mount at `place` what is seen of it.
    fn see(&mut self, place: usize, sight: Sight) {
        let mount = &self.mounts[place];
        if let (Some(uplink), Some(ingest)) = (mount.uplink(), mount.ingest()) {
            self.sights.push((uplink, ingest, sight));
        }
    }

    fn link(&mut self) -> LinkId {
        *self.next_link = self.next_link.wrapping_add(1);
        LinkId(*self.next_link)
    }

    /// Whether bytes can be expected to pass there.
    fn is_usable(&self, way: Option<UplinkId>) -> bool {
        self.ways.contains(&way)
    }

    /// The best usable way that is not `taken`; `taken` itself where it is the only one.
    fn spare(&self, taken: Option<UplinkId>) -> Option<UplinkId> {
        let other = self.ways.iter().find(|&&way| way != taken);
        other.or_else(|| self.ways.first()).copied().flatten()
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Pair {
    policy: OutputConfig,
    /// Places of the two mounts.
    primary: usize,
    fallback: usize,
    phase: Phase,
    /// The next byte of filler on the held fallback.
    fill_at: Instant,
    /// Who else listens to the fallback.
    crowd: Crowd,
    /// The fallback was led to the primary's address and ended up elsewhere.
    strayed: bool,
    led_to: Option<IpAddr>,
    /// Since when a better way than the primary's has been there.
    better: Option<Instant>,
    /// What false alarms taught: added to every wait, and forgotten by halves.
    learned: Duration,
    /// When it was learned or halved.
    learned_at: Instant,
    /// The last look at a calm pair.
    looked: Instant,
    /// Returns that did not last: each doubles the settle time.
    flaps: u32,
    /// When the listeners were last brought back.
    returned: Option<Instant>,
    /// Since when one uplink has been left.
    #[serde(default)]
    lone: Option<Instant>,
    /// Whether acknowledgements can be believed.
    #[serde(default)]
    candour: Candour,
    incident: Option<Incident>,
    incidents: VecDeque<Incident>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Phase {
    /// The listeners are on the primary.
    Calm,
    /// The primary's path is in doubt; everything can still be taken back.
    Doubt(Doubt),
    /// The primary's source has been ended; its listeners are on their way.
    Moving(Moving),
    /// The listeners are on the fallback.
    Away(Away),
    /// They are being brought back.
    Return(Return),
}

impl Pair {
    /// A pair of mounts at these places that may share listeners, if the survey found that they can.
    pub(crate) fn of(
        policy: &OutputConfig,
        primary: usize,
        fallback: usize,
        mounts: &[Mount],
        now: Instant,
    ) -> Option<Self> {
        let proven = policy.proven.as_ref()?;
        let holds = match policy.standby {
            Standby::Auto | Standby::Held => true,
            Standby::Full | Standby::Cold => false,
        };
        let (one, other) = (mounts[primary].config(), mounts[fallback].config());
        let same = one.server == other.server;
        let blocks = mounts[primary].block().is_some();
        let matched = one.rendition.matches(&other.rendition).is_ok();
        (holds && same && blocks && matched && proven.fallback && proven.overrides).then(|| Self {
            policy: policy.clone(),
            primary,
            fallback,
            phase: Phase::Calm,
            fill_at: now,
            crowd: Crowd::new(now),
            strayed: false,
            led_to: None,
            better: None,
            learned: Duration::ZERO,
            learned_at: now,
            looked: now,
            flaps: 0,
            returned: None,
            lone: None,
            candour: Candour::default(),
            incident: None,
            incidents: VecDeque::new(),
        })
    }

    /// Whether `other` pairs the same mounts under the same rules: then this one's course goes on.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.policy == other.policy
    }

    /// The mounts' places have changed.
    pub(crate) fn moved_to(&mut self, other: &Self) {
        (self.primary, self.fallback) = (other.primary, other.fallback);
    }

    pub(crate) const fn places(&self) -> (usize, usize) {
        (self.primary, self.fallback)
    }

    /// Takes the lead of two mounts that are new.
    pub(crate) fn begin(&self, mounts: &mut [Mount], ways: &[Option<UplinkId>]) {
        let first = ways.first().copied().flatten();
        let second = ways.get(1).or_else(|| ways.first()).copied().flatten();
        mounts[self.primary].route(first);
        mounts[self.fallback].route(second);
        mounts[self.fallback].begin_with(Start::Held);
        // A listener's queue less his burst, and less a burst for what is on its way (DESIGN 3).
        let proven = self.proven();
        let ahead = proven.queue.saturating_sub(proven.burst).saturating_sub(65_536).max(16_384);
        for place in [self.primary, self.fallback] {
            mounts[place].may_go_ahead(ahead);
        }
    }

    pub(crate) fn owns(&self, link: LinkId) -> bool {
        if self.crowd.owns(link) {
            return true;
        }
        if self.candour.owns(link) {
            return true;
        }
        match &self.phase {
            Phase::Calm | Phase::Away(_) => false,
            Phase::Doubt(doubt) => doubt.look.owns(link),
            Phase::Moving(moving) => moving.look.owns(link),
            Phase::Return(back) => back.owns(link),
        }
    }

    pub(crate) fn output(&self) -> &str {
        &self.policy.name
    }

    /// Whether an order can be carried out now; why not, and the remedy.
    pub(crate) fn may(&self, order: &Order, mounts: &[Mount]) -> Result<(), String> {
        let name = &self.policy.name;
        let held = mounts[self.fallback].sight().is_some_and(|sight| sight.held);
        let streams = mounts[self.primary].sight().is_some();
        match (order, &self.phase) {
            (Order::Leave { .. }, Phase::Calm) if !streams => {
                Err(format!("the primary of {name} is not on air: there is nobody to move"))
            }
            (Order::Leave { .. }, Phase::Calm) if !held => {
                Err(format!("the fallback of {name} is not held yet; wait until `mainstay status` says so"))
            }
            (Order::Leave { .. }, Phase::Calm) | (Order::GiveBack { .. }, Phase::Away(_)) => Ok(()),
            (Order::GiveBack { .. }, Phase::Calm) => {
                Err(format!("the listeners of {name} are on the primary already"))
            }
            (Order::Leave { .. }, Phase::Away(_)) => {
                Err(format!("the listeners of {name} are on the fallback already"))
            }
            (
                Order::Leave { .. } | Order::GiveBack { .. },
                Phase::Doubt(_) | Phase::Moving(_) | Phase::Return(_),
            ) => Err(format!(
                "the listeners of {name} are being moved this very moment; ask again in a second"
            )),
            (Order::Take { .. } | Order::Release { .. }, _) => {
                Err(format!("{name} is always on air; write on_air = \"taken\" for one that is taken"))
            }
        }
    }

    /// Carries an order out that [`Pair::may`] allows.
    pub(crate) fn order(&mut self, ground: &mut Ground<'_>, order: &Order) {
        match order {
            Order::Leave { .. } => self.leave(ground, "asked for", Stay::UntilAsked),
            Order::GiveBack { .. } => self.give_back(ground),
            Order::Take { .. } | Order::Release { .. } => {}
        }
        self.step(ground);
    }

    /// Something came on a link that [`Pair::owns`] says is the pair's own.
    pub(crate) fn event(&mut self, ground: &mut Ground<'_>, link: LinkId, event: &Event<'_>) {
        let (now, agent) = (ground.now, ground.agent);
        if self.crowd.owns(link) {
            self.crowd.event(ground, self.primary, self.fallback, event);
            return self.step(ground);
        }
        if self.candour.owns(link) {
            self.candour.event(now, agent, &ground.mounts[self.primary], link, event);
            return self.step(ground);
        }
        match &mut self.phase {
            Phase::Calm | Phase::Away(_) => {}
            Phase::Doubt(doubt) => doubt.look.event(now, agent, link, event),
            Phase::Moving(moving) => moving.look.event(now, agent, link, event),
            Phase::Return(back) => back.event(now, agent, link, event),
        }
        self.step(ground);
    }

    /// Whether what happened to a mount is of interest: its acknowledgements in calm times are not.
    pub(crate) const fn is_about(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Wrote { .. } | Event::Writable => {
                !matches!(self.phase, Phase::Calm) || self.candour.is_comparing()
            }
            Event::Measured { .. }
            | Event::Closed(_)
            | Event::Failed(_)
            | Event::Replied(_)
            | Event::Connected => true,
            Event::Resolved(_)
            | Event::Reached
            | Event::DateIgnored
            | Event::Heard { .. }
            | Event::Answered(_) => false,
        }
    }

    /// When the pair wants to be looked at next.
    pub(crate) fn deadline(&self, mounts: &[Mount]) -> Instant {
        if mounts[self.primary].is_writing() || mounts[self.fallback].is_writing() {
            // The outcome comes at once, and is looked at then.
            return Instant::from_micros(u64::MAX);
        }
        match &self.phase {
            Phase::Calm => {
                let primary = &mounts[self.primary];
                let sight = primary.sight().map(|sight| self.believe(primary, sight));
                let next = self.fill_at.min(self.candour.deadline(primary.uplink()));
                let doubt = sight
                    .filter(|sight| sight.owes && !sight.path.zero_window)
                    .map(|sight| sight.progress + doubt::look_after(&sight, self.learned));
                // A stalled server owes for long, and is looked at now and then.
                doubt.map_or(next, |doubt| doubt.min(next)).max(self.looked + LOOK_PACE)
            }
            Phase::Doubt(doubt) => doubt.next,
            Phase::Moving(moving) => moving.next,
            Phase::Away(away) => away.next,
            Phase::Return(back) => back.next,
        }
    }

    /// Looks at both mounts and does what is to be done now.
    pub(crate) fn step(&mut self, ground: &mut Ground<'_>) {
        let (primary, fallback) = (&ground.mounts[self.primary], &ground.mounts[self.fallback]);
        if primary.is_writing() || fallback.is_writing() {
            return;
        }
        // Each turn either stays in its phase or leaves it; no course leads back within one step.
        for _ in 0..4 {
            let before = core::mem::discriminant(&self.phase);
            match &self.phase {
                Phase::Calm => self.calm(ground),
                Phase::Doubt(_) => self.doubt(ground),
                Phase::Moving(_) => self.moving(ground),
                Phase::Away(_) => self.away(ground),
                Phase::Return(_) => self.returning(ground),
            }
            let busy = ground.mounts[self.primary].is_writing() || ground.mounts[self.fallback].is_writing();
            if busy || before == core::mem::discriminant(&self.phase) {
                return;
            }
        }
    }

    pub(crate) fn report(&self) -> HandOverReport {
        let (listeners_on, phase) = match &self.phase {
            Phase::Calm => (Role::Primary, "calm"),
            Phase::Doubt(_) => (Role::Primary, "doubt"),
            Phase::Moving(_) => (Role::Fallback, "moving"),
            Phase::Away(_) => (Role::Fallback, "away"),
            Phase::Return(_) => (Role::Fallback, "returning"),
        };
        let incidents = self.incidents.iter().chain(&self.incident).cloned().collect();
        HandOverReport { listeners_on, phase: phase.to_string(), incidents }
    }

    /// A held mount costs next to nothing; what it costs a day is said where a full one's bytes are.
    pub(crate) fn cost(&self, report: &mut MountReport) {
        if report.role == Role::Fallback {
            let pace = u64::try_from(self.fill_every().as_millis()).unwrap_or(u64::MAX);
            report.bytes_per_day = 86_400_000 / pace.max(1) * FILL_COST;
        }
    }

    fn proven(&self) -> Proven {
        // A pair is only made of what is proven.
        self.policy.proven.unwrap_or(Proven {
            fallback: false,
            overrides: false,
            evict: false,
            burst: 65_536,
            queue: 524_288,
            source_timeout: Duration::from_secs(10),
        })
    }

    fn calm(&mut self, ground: &mut Ground<'_>) {
        self.looked = ground.now;
        if !self.learned.is_zero() && ground.now.since(self.learned_at) >= FORGET {
            (self.learned, self.learned_at) = (self.learned / 2, ground.now);
            if self.learned < LOOK_PACE {
                self.learned = Duration::ZERO;
            }
        }
        self.crowd.step(ground, self.fallback);
        self.hold(ground);
        if ground.mounts[self.primary].remains().is_some() {
            return self.begin_doubt(ground, "the primary's source was ended");
        }
        let Some(sight) = ground.mounts[self.primary].sight() else {
            // Not on air yet: it opens by itself, through the best way there is.
            let first = ground.ways.first().copied().flatten();
            ground.mounts[self.primary].route(first);
            return;
        };
        if self.crowd.is_there() || self.strayed {
            // Each on its own: a hand-over would be heard by people whom nobody moved, or end at another server.
            self.candour.hush(ground);
            self.candour.close_watch(ground);
            return self.stand_alone(ground);
        }
        let bearing = self.examine(ground, &sight);
        match bearing {
            Bearing::Lost => return,
            Bearing::Plain => return self.stand_alone(ground),
            Bearing::Acks | Bearing::Ear | Bearing::Nothing => {}
        }
        let sight = self.believe(&ground.mounts[self.primary], sight);
        ground.mounts[self.primary].lead(ground.now, true);
        let rtt_us = ground.mounts[self.primary].sight().map_or(0, |sight| sight.path.rtt_us);
        self.take_care(ground, self.primary, rtt_us);
        let here = ground.mounts[self.primary].uplink();
        let best = ground.ways.first().copied().flatten();
        let settle = self.settle_time();
        // The primary came up, or back, through another way than the preferred one.
        if here != best && ground.is_usable(here) && self.policy.give_back == crate::config::Return::Auto {
            let since = *self.better.get_or_insert(ground.now);
            let held = ground.mounts[self.fallback].sight().is_some_and(|sight| sight.held && !sight.owes);
            if ground.now.since(since) >= settle && held {
                self.better = None;
                return self.leave(ground, "the preferred uplink is back", Stay::UntilGood);
            }
        } else {
            self.better = None;
        }
        if self.is_to_lower(ground) {
            self.lone = None;
            let cause = "one uplink is left, and the fallback takes fewer bytes";
            return self.leave(ground, cause, Stay::WhileLone);
        }
        if !ground.is_usable(ground.mounts[self.primary].uplink()) {
            self.begin_doubt(ground, "its uplink is gone");
        } else if bearing != Bearing::Nothing
            && sight.owes
            && !sight.path.zero_window
            && ground.now.since(sight.progress) >= doubt::look_after(&sight, self.learned)
            // What was acknowledged meanwhile may not have been looked at yet.
            && ground.with(self.primary, Mount::is_fresh)
        {
            self.begin_doubt(ground, "no byte is acknowledged");
        }
    }

    /// The primary as if it had no fallback: it opens by itself, and leaves an uplink that is gone.
    fn stand_alone(&self, ground: &mut Ground<'_>) {
        let primary = &mut ground.mounts[self.primary];
        primary.lead(ground.now, false);
        primary.take_care(false);
        let here = primary.uplink();
        let best = ground.ways.first().copied().flatten();
        if !ground.is_usable(here) {
            let why = "its uplink is gone; opening it through another";
            ground.with(self.primary, |mount, step| mount.reroute(step, best, why));
        }
    }

    /// Whether one uplink has been left for long enough for the listeners to go where fewer bytes are spent.
    fn is_to_lower(&mut self, ground: &Ground<'_>) -> bool {
        let now = ground.now;
        let (primary, fallback) = (&ground.mounts[self.primary], &ground.mounts[self.fallback]);
        if ground.uplinks < 2
            || ground.ways.len() > 1
            || !self.policy.lowers(primary.config(), fallback.config())
        {
            self.lone = None;
            return false;
        }
        let since = *self.lone.get_or_insert(now);
        let rested = self.returned.is_none_or(|returned| now.since(returned) >= self.settle_time());
        let held = fallback.sight().is_some_and(|sight| sight.held && !sight.owes);
        rested && held && now.since(since) >= LONE
    }

    /// Keeps the fallback connected: a byte now and then, over the spare uplink, and a new connection before its first block
    /// has so many of them that no packet fits in any more ([`crate::mount::feed`]).
    fn hold(&mut self, ground: &mut Ground<'_>) {
        let now = ground.now;
        let way = ground.spare(ground.mounts[self.primary].uplink());
        let address = ground.mounts[self.primary].sight().map(|sight| sight.address);
        let fallback = &mut ground.mounts[self.fallback];
        let full = self.crowd.is_there() || self.strayed || self.candour.is_plain();
        fallback.begin_with(if full { Start::Live } else { Start::Held });
        let Some(sight) = fallback.sight() else {
            fallback.route(way);
            self.fill_at = now + self.fill_every();
            return;
        };
        let stray = fallback.uplink() != way && ground.ways.len() > 1;
        let block = fallback.profile().block.unwrap_or(u64::MAX);
        let packet = longest_packet(ground.mounts[self.primary].config());
        let fed = sight.written + if packet < block { packet } else { 2 } >= block;
        let elsewhere = address.is_some_and(|address| address != sight.address);
        if elsewhere && !self.strayed && sight.held && self.led_to == address {
            self.strayed = true;
            let what = "the server's name leads to several addresses, and the fallback does not reach the primary's: \
                        no hand-over, the fallback is full";
            self.tell(ground, what.to_string(), true);
        }
        let astray = elsewhere && !self.strayed;
        let gone = !ground.is_usable(ground.mounts[self.fallback].uplink());
        // Whoever listens to a full one is not disturbed for the sake of a better way.
        let misplaced = if full { gone } else { stray || astray };
        if sight.held == full || misplaced || (sight.held && fed) {
            let start = if full { Start::Live } else { Start::Held };
            self.led_to = address;
            ground.with(self.fallback, |mount, step| {
                if let Some(address) = address {
                    mount.prefer(address);
                }
                mount.lead(step.now, true);
                mount.launch(step, way, start, false);
                mount.lead(step.now, false);
            });
            self.fill_at = now + self.fill_every();
        } else if self.fill_at <= now {
            self.fill_at = now + self.fill_every();
            ground.with(self.fallback, Mount::fill);
            ground.with(self.primary, Mount::measure);
        }
    }

    /// On a path whose round trip is short beside a block, blocks go out one by one: then it is known which ones the server
    /// has. Nowhere near live there is time for that.
    fn take_care(&self, ground: &mut Ground<'_>, place: usize, rtt_us: u32) {
        let mount = &mut ground.mounts[place];
        let rate = mount.config().rendition.bitrate.bytes_per_second();
        let block_us = mount.profile().block.unwrap_or(0) * 1_000_000 / rate.max(1);
        let short = rtt_us > 0 && u64::from(rtt_us) < block_us / 4;
        // A lag that comes from waiting for an acknowledgement is what care is for, on a path that is as short as before.
        if mount.sight().is_some_and(|sight| sight.owes && (short || !sight.careful)) {
            return;
        }
        let near = mount.lag_ms(ground.indices) < NEAR_LIVE_MS + block_us / 1000;
        mount.take_care(near && short);
    }

    /// How often a silent source gets a byte: well within what the server allows.
    fn fill_every(&self) -> Duration {
        (self.proven().source_timeout / 2).clamp(FILL_LEAST, FILL_EVERY)
    }

    fn tell(&self, ground: &mut Ground<'_>, what: String, alarm: bool) {
        let output = self.policy.name.clone();
        ground.out.push_back(Output::Tell(Telling { output, what, alarm }));
    }

    /// The incident is over.
    fn close_incident(&mut self, ground: &mut Ground<'_>) {
        if let Some(mut incident) = self.incident.take() {
            incident.healed = Some(ground.now);
            let seconds = ground.now.since(incident.began).as_secs();
            self.tell(ground, format!("the listeners are back on the primary after {seconds} s"), false);
            self.incidents.push_back(incident);
            if self.incidents.len() > KEPT_INCIDENTS {
                self.incidents.pop_front();
            }
        }
    }
}

/// About as long as a rendition's packets get, in bytes; none of a pair's rendition varies much.
fn longest_packet(config: &crate::config::MountConfig) -> u64 {
    let rendition = &config.rendition;
    let frames = u64::from(rendition.codec.frames_per_packet());
    rendition.bitrate.bytes_per_second() * frames * 9 / 8 / u64::from(rendition.rate.hz())
}

/// Half of the shortest source timeout in use (10 s).
const FILL_EVERY: Duration = Duration::from_secs(5);
/// For a server that keeps silent sources for 1 s.
const FILL_LEAST: Duration = Duration::from_millis(500);
/// What a byte of filler costs on the wire with its headers and its acknowledgement, over TLS.
const FILL_COST: u64 = 150;
/// A path that was slow for a while is quick again one day.
const FORGET: Duration = Duration::from_secs(60);
const LOOK_PACE: Duration = Duration::from_millis(25);
const NEAR_LIVE_MS: u64 = 300;
const KEPT_INCIDENTS: usize = 20;
