//! The one door of the core.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::snapshot::{MountReport, OutputReport, Role, UplinkReport};
use units::{BytePos, Frames, Instant, Rendition};

use crate::config::{Config, MountConfig, MountId, OnAir};
use crate::event::{Input, LinkId, Order, Output, RenditionId, UplinkId};
use crate::home::Home;
use crate::index::{Index, Packet};
use crate::mount::{Event, Mount, Step};
use crate::pair::{Ground, Pair};
use crate::reserve::Reserve;
use crate::take::Take;
use crate::uplink::{self, Sight, State, Uplinks};

/// Every mount, and what its renditions have become.
///
/// Contract
/// - [`Delivery::handle`] takes one input at a time; `now` never goes back.
/// - After each, [`Delivery::poll`] is drained until it gives `None`, and each output carried out in order. Answers to
///   outputs come back as further inputs, at once or later.
/// - At [`Delivery::wakeup`] (or any time: a spurious one is harmless) comes [`Input::Tick`].
/// - A server that misbehaves is an input, never an error; there are no errors here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Delivery {
    agent: String,
    mounts: Vec<Mount>,
    pairs: Vec<Pair>,
    takes: Vec<Take>,
    reserves: Vec<Reserve>,
    #[serde(default)]
    homes: Vec<Home>,
    uplinks: Uplinks,
    /// Ingests that the uplinks were told of.
    wanted: Vec<SocketAddr>,
    /// Usable ways out, best first.
    ways: Vec<Option<UplinkId>>,
    indices: Vec<Index>,
    title: Option<String>,
    /// The programme pauses.
    pausing: bool,
    next_link: u32,
    #[serde(skip)]
    outputs: Outputs,
}

/// Outputs not yet fetched. Not part of the state: a checkpoint is taken when there are none.
#[derive(Clone, PartialEq, Debug, Default)]
struct Outputs(VecDeque<Output>);

impl Delivery {
    /// A core without mounts; [`Input::Configure`] brings them.
    #[must_use]
    pub fn new() -> Self {
        Self {
            agent: String::new(),
            mounts: Vec::new(),
            pairs: Vec::new(),
            takes: Vec::new(),
            reserves: Vec::new(),
            homes: Vec::new(),
            uplinks: Uplinks::new(),
            wanted: Vec::new(),
            ways: Vec::from([None]),
            indices: Vec::new(),
            title: None,
            pausing: false,
            next_link: 0,
            outputs: Outputs::default(),
        }
    }

    /// The renditions that mounts carry or once carried; a [`RenditionId`] is a place in this list.
    pub fn renditions(&self) -> impl Iterator<Item = &Rendition> {
        self.indices.iter().map(Index::rendition)
    }

    /// The id of a rendition that some mount carries or once carried.
    #[must_use]
    pub fn rendition(&self, rendition: &Rendition) -> Option<RenditionId> {
        let at = self.indices.iter().position(|index| index.rendition() == rendition)?;
        u16::try_from(at).ok().map(RenditionId)
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Instant, input: &Input) {
        let event = match input {
            Input::Produced { rendition, end, frames, entry, more } => {
                let packet = Packet { end: *end, frames: *frames, entry: *entry };
                return self.produced(now, *rendition, packet, *more);
            }
            Input::Configure(config) => return self.configure(now, config),
            Input::Title(title) => return self.retitle(now, title),
            Input::Uplink(input) => return self.uplink(now, input),
            Input::Order(order) => return self.order(now, order),
            Input::Pausing(pausing) => {
                self.pausing = *pausing;
                return self.each_pair(now, Pair::step);
            }
            Input::Tick => return self.tick(now),
            Input::Resolved { link, addresses } => (*link, Event::Resolved(addresses)),
            Input::Reached { link } => (*link, Event::Reached),
            Input::Connected { link } => (*link, Event::Connected),
            Input::DateIgnored { link } => (*link, Event::DateIgnored),
            Input::Replied { link, reply } => (*link, Event::Replied(reply)),
            Input::Wrote { link, bytes, acked, blocked } => {
                (*link, Event::Wrote { bytes: *bytes, acked: *acked, blocked: *blocked })
            }
            Input::Writable { link } => (*link, Event::Writable),
            Input::Measured { link, acked, path } => (*link, Event::Measured { acked: *acked, path: *path }),
            Input::Heard { link, rendition, from: _, upto } => {
                (*link, Event::Heard { rendition: *rendition, upto: *upto })
            }
            Input::Closed { link, failure } => (*link, Event::Closed(failure.as_ref())),
            Input::Failed { link, failure } => (*link, Event::Failed(failure)),
            Input::Answered { link, answer } => (*link, Event::Answered(answer)),
        };
        self.event(now, event.0, &event.1);
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.0.pop_front()
    }

    /// When [`Input::Tick`] is due; `None` without mounts.
    #[must_use]
    pub fn wakeup(&self) -> Option<Instant> {
        let mounts = self.mounts.iter().map(Mount::deadline);
        let pairs = self.pairs.iter().map(|pair| pair.deadline(&self.mounts));
        let takes = self.takes.iter().map(Take::deadline);
        let reserves = self.reserves.iter().map(Reserve::deadline);
        let homes = self.homes.iter().map(Home::deadline);
        mounts.chain(pairs).chain(takes).chain(reserves).chain(homes).chain(self.uplinks.wakeup()).min()
    }

    /// Every output's mounts as people see them, in the order of the settings.
    #[must_use]
    pub fn report(&self) -> Vec<OutputReport> {
        let mut outputs: Vec<OutputReport> = Vec::new();
        for (place, mount) in self.mounts.iter().enumerate() {
            let mut report: MountReport = mount.report(&self.indices);
            let pair = self.pairs.iter().find(|pair| {
                let (primary, fallback) = pair.places();
                place == primary || place == fallback
            });
            if let Some(pair) = pair {
                pair.cost(&mut report);
            }
            let name = &mount.config().id.output;
            match outputs.iter_mut().find(|output| output.name == *name) {
                Some(output) => output.mounts.push(report),
                None => outputs.push(OutputReport {
                    name: name.clone(),
                    mounts: Vec::from([report]),
                    hand_over: pair.map(Pair::report),
                }),
            }
        }
        for output in &mut outputs {
            output.mounts.sort_by_key(|mount| mount.role == Role::Fallback);
        }
        outputs
    }

    /// The title on air, if any.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// The connection of a mount's source, or the attempt at one.
    #[must_use]
    pub fn source(&self, mount: &MountId) -> Option<LinkId> {
        self.mounts.iter().find(|candidate| candidate.config().id == *mount)?.source()
    }

    /// In which packet of a rendition a byte lies: the frames of programme before that packet, and where the packet begins. A
    /// boundary belongs to the packet that follows. `None` for what is not kept any more.
    #[must_use]
    pub fn packet_at(&self, rendition: RenditionId, at: BytePos) -> Option<(Frames, BytePos)> {
        let index = self.indices.get(usize::from(rendition.0))?;
        let packet = index.ending_from(at)?;
        if packet.end == at {
            return Some((packet.frames, at));
        }
        let length = u64::from(index.rendition().codec.frames_per_packet());
        let before = Frames(packet.frames.0.checked_sub(length)?);
        Some((before, index.beginning_at(before)?.0))
    }

    /// Where the packet of a rendition begins that follows so many frames of programme.
    #[must_use]
    pub fn packet_after(&self, rendition: RenditionId, frames: Frames) -> Option<BytePos> {
        Some(self.indices.get(usize::from(rendition.0))?.beginning_at(frames)?.0)
    }

    /// Every mount's configuration.
    pub(crate) fn configs(&self) -> impl Iterator<Item = &MountConfig> {
        self.mounts.iter().map(Mount::config)
    }

    /// Whether every mount's rendition is there, as in any core that was not read from outside.
    pub(crate) fn is_whole(&self) -> bool {
        let renditions = self.indices.len();
        let pairs_are = self.pairs.iter().all(|pair| {
            let (primary, fallback) = pair.places();
            primary < self.mounts.len() && fallback < self.mounts.len() && primary != fallback
        });
        let takes_are = self.takes.iter().all(|take| take.place() < self.mounts.len());
        let reserves_are = self.reserves.iter().all(|reserve| reserve.is_within(self.mounts.len()));
        let homes_are = self.homes.iter().all(|home| home.is_within(self.mounts.len()));
        pairs_are
            && takes_are
            && reserves_are
            && homes_are
            && self.mounts.iter().all(|mount| mount.is_within(renditions))
    }

    #[cfg(test)]
    pub(crate) fn without_renditions(mut self) -> Self {
        self.indices.clear();
        self
    }

    fn produced(&mut self, now: Instant, rendition: RenditionId, packet: Packet, more: bool) {
        let Some(index) = self.indices.get_mut(usize::from(rendition.0)) else { return };
        index.push(packet);
        if more {
            return;
        }
        // A mount may carry another one's rendition for a while.
        let lent = !self.pairs.is_empty();
        self.each(now, |mount, step| {
            if lent || mount.rendition() == rendition {
                mount.produced(step);
            }
        });
    }

    fn each_take(&mut self, now: Instant, mut act: impl FnMut(&mut Take, &mut Ground<'_>)) {
        let mut takes = core::mem::take(&mut self.takes);
        self.on_ground(now, |ground| {
            for take in &mut takes {
                act(take, ground);
            }
        });
        self.takes = takes;
    }

    fn each_reserve(&mut self, now: Instant) {
        if self.reserves.is_empty() && self.homes.is_empty() {
            return;
        }
        let mut reserves = core::mem::take(&mut self.reserves);
        let mut homes = core::mem::take(&mut self.homes);
        self.on_ground(now, |ground| {
            for reserve in &mut reserves {
                reserve.step(ground);
            }
            for home in &mut homes {
                home.step(ground);
            }
        });
        (self.reserves, self.homes) = (reserves, homes);
    }

    fn each_pair(&mut self, now: Instant, mut act: impl FnMut(&mut Pair, &mut Ground<'_>)) {
        let mut pairs = core::mem::take(&mut self.pairs);
        self.on_ground(now, |ground| {
            for pair in &mut pairs {
                act(pair, ground);
            }
        });
        self.pairs = pairs;
    }

    fn on_ground(&mut self, now: Instant, act: impl FnOnce(&mut Ground<'_>)) {
        let (mut sights, mut seen) = (Vec::new(), Vec::new());
        let up: Vec<UplinkId> =
            self.uplinks.ids().filter(|&id| matches!(self.uplinks.state(id), Some(State::Up))).collect();
        let metered = |id: UplinkId| self.uplinks.config(id).is_some_and(|config| config.metered);
        let metered: Vec<UplinkId> = self.uplinks.ids().filter(|&id| metered(id)).collect();
        let mut ground = Ground {
            metered: &metered,
            up: &up,
            pausing: self.pausing,
            sights: &mut sights,
            seen: &mut seen,
            now,
            mounts: &mut self.mounts,
            indices: &self.indices,
            agent: &self.agent,
            title: self.title.as_deref(),
            out: &mut self.outputs.0,
            next_link: &mut self.next_link,
            uplinks: self.uplinks.ids().count(),
            ways: &self.ways,
        };
        act(&mut ground);
        for (uplink, address) in seen {
            self.uplinks.handle(now, &uplink::Input::Public { uplink, address });
        }
        if self.uplinks.is_empty() || sights.is_empty() {
            return;
        }
        for (uplink, ingest, sight) in sights {
            self.uplinks.handle(now, &uplink::Input::Ingest { uplink, ingest, sight });
        }
        self.survey_ways();
    }

    /// The uplinks as people see them, best rank first; none if none are set.
    #[must_use]
    pub fn uplinks(&self) -> Vec<UplinkReport> {
        self.uplinks.reports()
    }

    /// Whether an order can be carried out now.
    ///
    /// # Errors
    /// Why not, and what to do instead.
    pub fn may(&self, order: &Order) -> Result<(), String> {
        let output = order.output();
        if let Some(take) = self.takes.iter().find(|take| take.output() == output) {
            return take.may(order);
        }
        let pair = self.pairs.iter().find(|pair| pair.output() == output);
        let Some(pair) = pair else {
            let known = self.mounts.iter().any(|mount| mount.config().id.output == output);
            return Err(if known && matches!(order, Order::Take { .. } | Order::Release { .. }) {
                format!("output {output} is always on air; write on_air = \"taken\" for one that is taken")
            } else if known {
                format!(
                    "output {output} has no proven hand-over: its mounts are on their own; run `mainstay survey {output}`"
                )
            } else {
                format!("there is no output {output}; `mainstay status` shows all")
            });
        };
        pair.may(order, &self.mounts)
    }

    fn order(&mut self, now: Instant, order: &Order) {
        if self.may(order).is_ok() {
            self.each_pair(now, |pair, ground| {
                if pair.output() == order.output() {
                    pair.order(ground, order);
                }
            });
            self.each_take(now, |take, ground| {
                if take.output() == order.output() {
                    take.order(ground, order);
                }
            });
        }
    }

    fn uplink(&mut self, now: Instant, input: &uplink::Input) {
        self.uplinks.handle(now, input);
        self.survey_ways();
        self.steer(now);
        self.each_pair(now, Pair::step);
    }

    /// Fetches what the uplinks ask for, and sees which of them carry bytes now: those that are up, then those that may be. A
    /// check may be wrong and a connection is not: where nothing seems to work everything is tried.
    fn survey_ways(&mut self) {
        while let Some(output) = self.uplinks.poll() {
            self.outputs.0.push_back(Output::Uplink(output));
        }
        let state = |id: UplinkId| self.uplinks.state(id);
        // One that has just come is as good as one that is up: at the start the best one must not lose to the quickest.
        let up = self.uplinks.ids().filter(|&id| matches!(state(id), Some(State::Up | State::Checking)));
        let perhaps = self.uplinks.ids().filter(|&id| matches!(state(id), Some(State::Suspect { .. })));
        let mut ways: Vec<_> = up.chain(perhaps).map(Some).collect();
        if ways.is_empty() {
            ways = self.uplinks.ids().map(Some).collect();
        }
        if ways.is_empty() {
            ways.push(None);
        }
        self.ways = ways;
    }

    /// Places of the mounts whose ways somebody chooses.
    fn led(&self) -> impl Iterator<Item = usize> {
        let pairs = self.pairs.iter().flat_map(|pair| [pair.places().0, pair.places().1]);
        pairs.chain(self.takes.iter().map(Take::place))
    }

    /// Mounts that nobody leads leave a way that is gone.
    fn steer(&mut self, now: Instant) {
        let led: Vec<usize> = self.led().collect();
        let ways = self.ways.clone();
        let mut place = 0;
        self.each(now, |mount, step| {
            let alone = !led.contains(&place);
            place += 1;
            let wanted = match mount.config().id.role {
                Role::Primary => ways.first(),
                Role::Fallback => ways.get(1).or_else(|| ways.first()),
            };
            let wanted = wanted.copied().flatten();
            if !alone || mount.uplink() == wanted {
                return;
            }
            if mount.source().is_none() {
                mount.route(wanted);
            } else if !ways.contains(&mount.uplink()) {
                mount.reroute(step, wanted, "its uplink is gone; opening it through another");
            }
        });
    }

    /// Tells every uplink of the ingests that mounts connect to: each is checked by what it is for.
    fn want(&mut self, now: Instant) {
        if self.uplinks.is_empty() {
            return;
        }
        let mut there: Vec<SocketAddr> = Vec::new();
        for ingest in self.mounts.iter().filter_map(Mount::ingest) {
            if !there.contains(&ingest) {
                there.push(ingest);
            }
        }
        if there == self.wanted {
            return;
        }
        let old = core::mem::replace(&mut self.wanted, there);
        let gone: Vec<_> = old.iter().filter(|ingest| !self.wanted.contains(ingest)).copied().collect();
        let ids: Vec<UplinkId> = self.uplinks.ids().collect();
        for uplink in ids {
            for (ingests, sight) in [(&gone, Sight::Gone), (&self.wanted, Sight::Wanted)] {
                for &ingest in ingests {
                    let sight = sight.clone();
                    self.uplinks.handle(now, &uplink::Input::Ingest { uplink, ingest, sight });
                }
            }
        }
        self.survey_ways();
        self.steer(now);
    }

    /// What a mount's own connection shows of its uplink.
    fn see(&mut self, now: Instant, link: LinkId, event: &Event<'_>) {
        if self.uplinks.is_empty() {
            return;
        }
        let mount = self.mounts.iter_mut().find(|mount| mount.source() == Some(link));
        let Some((uplink, ingest, sight)) = mount.and_then(|mount| {
            let (uplink, ingest) = mount.whereabouts()?;
            Some((uplink, ingest, mount.shows(now, event)?))
        }) else {
            return;
        };
        self.uplinks.handle(now, &uplink::Input::Ingest { uplink, ingest, sight });
        self.survey_ways();
    }

    fn tick(&mut self, now: Instant) {
        if self.uplinks.wakeup().is_some_and(|at| at <= now) {
            self.uplinks.handle(now, &uplink::Input::Tick);
            self.survey_ways();
            self.steer(now);
        }
        self.each(now, |mount, step| {
            if mount.deadline() <= step.now {
                mount.tick(step);
            }
        });
        self.each_reserve(now);
        self.each_take(now, Take::step);
        self.each_pair(now, Pair::step);
    }

    fn retitle(&mut self, now: Instant, title: &str) {
        self.title = (!title.is_empty()).then(|| title.into());
        self.each(now, Mount::retitle);
    }

    fn event(&mut self, now: Instant, link: LinkId, event: &Event<'_>) {
        self.see(now, link, event);
        self.each(now, |mount, step| {
            if mount.owns(link) {
                mount.event(step, link, event);
            }
        });
        if matches!(event, Event::Resolved(_) | Event::Reached) {
            self.want(now);
        }
        if !self.takes.is_empty() {
            self.each_take(now, Take::step);
        }
        self.each_reserve(now);
        self.each_pair(now, |pair, ground| {
            if pair.owns(link) {
                pair.event(ground, link, event);
            } else if pair.is_about(event) {
                pair.step(ground);
            }
        });
    }

    /// Mounts that are the same before and after are left alone; the rest is closed, opened, or both.
    fn configure(&mut self, now: Instant, config: &Config) {
        self.agent.clone_from(&config.agent);
        let stays = |mount: &Mount| config.mounts.contains(mount.config());
        self.each(now, |mount, step| {
            if !stays(mount) {
                mount.close(step);
            }
        });
        let carried: Vec<RenditionId> = self.mounts.iter().map(Mount::rendition).collect();
        let mut old: Vec<Mount> =
            self.mounts.drain(..).filter(|mount| config.mounts.contains(mount.config())).collect();
        for (place, wanted) in config.mounts.iter().enumerate() {
            let paired = is_paired(wanted, &config.mounts);
            let mount = match old.iter().position(|mount| mount.config() == wanted) {
                Some(at) => {
                    let mut mount = old.swap_remove(at);
                    mount.set_paired(paired);
                    mount
                }
                None => {
                    let rendition = self.admit(&wanted.rendition, &carried);
                    let seed = config.seed.wrapping_add(place as u64 + 1);
                    // Icecast's listen queue holds a handful: a box with many mounts knocks one after the other.
                    let first = now + APART * place as u32;
                    Mount::new(wanted.clone(), rendition, paired, seed, first)
                }
            };
            self.mounts.push(mount);
        }
        self.uplinks.configure(now, &config.uplinks);
        self.survey_ways();
        self.wanted.clear();
        self.want(now);
        self.join(now, config);
        self.tick(now);
    }

    /// Pairs what shares its listeners. A pair that was there before goes on with what it was doing.
    fn join(&mut self, now: Instant, config: &Config) {
        let place = |role: Role, name: &str| {
            config.mounts.iter().position(|mount| mount.id.output == name && mount.id.role == role)
        };
        for mount in &mut self.mounts {
            let policy = config.outputs.iter().find(|policy| policy.name == mount.config().id.output);
            let proven = policy.and_then(|policy| policy.proven);
            mount.is_kept_for(proven.map(|proven| proven.source_timeout));
        }
        let mut old = core::mem::take(&mut self.pairs);
        let mut reserves = Vec::new();
        for policy in &config.outputs {
            let (Some(primary), Some(fallback)) =
                (place(Role::Primary, &policy.name), place(Role::Fallback, &policy.name))
            else {
                continue;
            };
            let Some(pair) = Pair::of(policy, primary, fallback, &self.mounts, now) else {
                let metered = config.uplinks.get(1).is_some_and(|spare| spare.metered);
                let uplinks = config.uplinks.len();
                let open = self.mounts[fallback].source().is_some();
                reserves.extend(Reserve::of(
                    policy,
                    &self.mounts,
                    (primary, fallback),
                    open,
                    metered,
                    uplinks,
                    now,
                ));
                continue;
            };
            let kept = old.iter().position(|other| other.is_same(&pair));
            let fresh = self.mounts[primary].is_new() || self.mounts[fallback].is_new();
            match kept.filter(|_| !fresh) {
                Some(at) => {
                    let mut kept = old.swap_remove(at);
                    kept.moved_to(&pair);
                    self.pairs.push(kept);
                }
                None => {
                    pair.begin(&mut self.mounts, &self.ways);
                    self.pairs.push(pair);
                }
            }
        }
        let paired = |at: usize| self.pairs.iter().any(|pair| pair.places().0 == at);
        let alone = config.outputs.iter().filter(|policy| policy.on_air == OnAir::Always);
        let homes = alone.filter_map(|policy| {
            let at = place(Role::Primary, &policy.name).filter(|&at| !paired(at))?;
            Home::of(policy, at, place(Role::Fallback, &policy.name))
        });
        self.homes = homes.collect();
        // What the primary is now shows at once: nothing of an old reserve is worth keeping but an open fallback.
        self.reserves = reserves;
        let mut old = core::mem::take(&mut self.takes);
        for policy in config.outputs.iter().filter(|policy| policy.on_air == OnAir::Taken) {
            let Some(at) = place(Role::Primary, &policy.name) else { continue };
            let mut take = match old.iter().position(|take| take.output() == policy.name) {
                Some(known) if !self.mounts[at].is_new() => old.swap_remove(known),
                Some(_) | None => Take::new(&policy.name, at),
            };
            take.moved_to(at);
            self.mounts[at].park();
            self.takes.push(take);
        }
        // Whoever is led no more opens by himself.
        let led: Vec<usize> = self.led().collect();
        let kept: Vec<usize> = self.reserves.iter().map(Reserve::fallback).collect();
        for (place, mount) in self.mounts.iter_mut().enumerate() {
            if !led.contains(&place) && !kept.contains(&place) {
                mount.lead(now, false);
            }
        }
        self.steer(now);
    }

    fn admit(&mut self, rendition: &Rendition, carried: &[RenditionId]) -> RenditionId {
        if let Some(known) = self.rendition(rendition) {
            // Nobody carried it for a while: what it was then is not to be sent now.
            let fresh = self.mounts.iter().all(|mount| mount.rendition() != known);
            if fresh && !carried.contains(&known) {
                self.indices[usize::from(known.0)].forget();
            }
            return known;
        }
        self.indices.push(Index::new(*rendition));
        RenditionId((self.indices.len() - 1) as u16)
    }

    fn each(&mut self, now: Instant, mut act: impl FnMut(&mut Mount, &mut Step<'_>)) {
        for mount in &mut self.mounts {
            let mut step = Step {
                now,
                index: &self.indices[usize::from(mount.rendition().0)],
                indices: &self.indices,
                agent: &self.agent,
                title: self.title.as_deref(),
                out: &mut self.outputs.0,
                next_link: &mut self.next_link,
            };
            act(mount, &mut step);
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self::new()
    }
}

/// Between the first attempts of two mounts.
const APART: Duration = Duration::from_millis(5);

/// Whether another mount of the same output lies on the same server, so that listeners are moved between the two.
fn is_paired(mount: &MountConfig, all: &[MountConfig]) -> bool {
    all.iter().any(|other| {
        other.id.output == mount.id.output
            && other.id.role != mount.id.role
            && other.server.host == mount.server.host
            && other.server.port == mount.server.port
    })
}
