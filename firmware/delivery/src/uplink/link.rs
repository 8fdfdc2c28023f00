//! One uplink: its state machine, and the rounds of checks that drive it.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;
use units::snapshot::{UplinkReport, UplinkState};

use super::event::{CheckId, CheckKind, Interface, Outcome, Output, Sight, Transition};
use super::path::Path;
use super::reach::{Finding, Reach, Standing};
use super::why::Why;
use super::{State, UplinkConfig, UplinkId};

/// Rounds in a row that must be answered before an uplink is up.
pub(crate) const UP_COUNT: u8 = 2;

/// Rounds in a row that must go unanswered before an uplink that has its link, address and route is down.
pub(crate) const DOWN_COUNT: u8 = 3;

/// How long an answer may take: a lost SYN is repeated after 1 s (RFC 6298), and its answer must still count.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The edge keeps the patience itself; this is for the case that it does not.
const GRACE: Duration = Duration::from_millis(500);

/// Between two answered rounds while an uplink is not up yet.
const EAGER: Duration = Duration::from_millis(250);

/// Between the beginnings of two rounds of which one went unanswered.
const ANXIOUS: Duration = Duration::from_secs(1);

/// Between two rounds while all is well, or while nothing has been for long.
const CALM: Duration = Duration::from_secs(5);

/// The same where bytes cost money: 30 s of one SYN a target are 10 MB a month.
const THRIFTY: Duration = Duration::from_secs(30);

/// Rounds without a change after which an uplink is asked at its calm pace only.
const PATIENT_AFTER: u32 = 20;

/// An acknowledgement this old still vouches for the uplink.
const FRESH: Duration = Duration::from_secs(1);

/// An alarm re-arms once an uplink was up for so long.
const REARMED: Duration = Duration::from_secs(60);

/// Targets asked in one round; few stations have more than two ingests.
const MOST_TARGETS: usize = 16;

/// Ingests remembered: every mount's server, should each have its own.
const MOST_INGESTS: usize = 64;

/// What an uplink is lent for one step.
pub(crate) struct Step<'a> {
    now: Instant,
    pub(crate) id: UplinkId,
    next_check: &'a mut u32,
    out: &'a mut VecDeque<Output>,
    disturbed: bool,
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        now: Instant,
        id: UplinkId,
        next_check: &'a mut u32,
        out: &'a mut VecDeque<Output>,
    ) -> Self {
        Self { now, id, next_check, out, disturbed: false }
    }

    /// Whether the uplink went from good to bad in this step.
    pub(crate) const fn is_disturbed(&self) -> bool {
        self.disturbed
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Uplink {
    config: UplinkConfig,
    state: State,
    since: Instant,
    /// Link, address and route are there.
    ready: bool,
    path: Path,
    epoch: u32,
    reaches: Vec<Reach>,
    pending: Vec<Pending>,
    round: Option<Round>,
    /// When the next round begins; `None` while none is wanted.
    next_round: Option<Instant>,
    /// Rounds answered, or unanswered, in a row.
    good: u8,
    bad: u8,
    /// Rounds since the state's beginning.
    rounds: u32,
    /// When delivery last had proof that the uplink carries.
    heard: Option<Instant>,
    public: Option<IpAddr>,
    gateway_hardware: Option<[u8; 6]>,
    alarmed: bool,
}

/// A check that is not answered yet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Pending {
    check: CheckId,
    target: Target,
    deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Target {
    Gateway(IpAddr),
    Far(SocketAddr),
}

/// A round without a verdict so far.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Round {
    began: Instant,
    /// Whether a gateway answered; `None` where none could be asked.
    gateway: Option<bool>,
    far_missing: bool,
    /// Somebody else answered in a target's place.
    somebody: Option<Why>,
}

impl Uplink {
    pub(crate) fn new(config: UplinkConfig, now: Instant) -> Self {
        let path = Path::new(config.interface.clone());
        let reaches = config.targets.iter().map(|target| Reach::new(*target, false)).collect();
        Self {
            config,
            state: State::Checking,
            since: now,
            ready: false,
            path,
            epoch: 0,
            reaches,
            pending: Vec::new(),
            round: None,
            next_round: None,
            good: 0,
            bad: 0,
            rounds: 0,
            heard: None,
            public: None,
            gateway_hardware: None,
            alarmed: false,
        }
    }

    pub(crate) const fn config(&self) -> &UplinkConfig {
        &self.config
    }

    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    pub(crate) const fn is_usable(&self) -> bool {
        self.ready
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn standing(&self, address: SocketAddr) -> Standing {
        if self.ready && !self.path.leads_to(address.ip()) {
            return Standing::Unreachable;
        }
        self.reaches.iter().find(|reach| reach.address == address).map_or(Standing::Unknown, Reach::standing)
    }

    pub(crate) fn seen_as(&mut self, address: IpAddr) {
        self.public = Some(address);
    }

    /// When the uplink wants to be looked at next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let pending = self.pending.iter().map(|pending| pending.deadline).min();
        pending.into_iter().chain(self.next_round).min()
    }

    pub(crate) fn tick(&mut self, step: &mut Step<'_>) {
        while let Some(at) = self.pending.iter().position(|pending| pending.deadline <= step.now) {
            let late = self.pending.swap_remove(at);
            step.out.push_back(Output::Drop { check: late.check });
            self.answer(step, late.target, &Outcome::Silent);
        }
        if self.next_round.is_some_and(|due| due <= step.now) {
            self.begin_round(step);
        }
    }

    /// The kernel's interfaces are these now.
    pub(crate) fn observe(&mut self, step: &mut Step<'_>, interfaces: &[Interface]) {
        let renewal = self.path.observe(interfaces);
        self.settle(step, renewal);
    }

    /// The answer to a check, if it is one of ours.
    pub(crate) fn checked(&mut self, step: &mut Step<'_>, check: CheckId, outcome: &Outcome) {
        let Some(at) = self.pending.iter().position(|pending| pending.check == check) else { return };
        let pending = self.pending.swap_remove(at);
        self.answer(step, pending.target, outcome);
    }

    /// What delivery saw of an ingest.
    pub(crate) fn saw(&mut self, step: &mut Step<'_>, ingest: SocketAddr, sight: &Sight) {
        if *sight == Sight::Gone {
            let set = self.config.targets.contains(&ingest);
            self.reaches.retain(|reach| reach.address != ingest || set);
            self.reaches
                .iter_mut()
                .filter(|reach| reach.address == ingest)
                .for_each(|reach| reach.wanted = false);
            return self.routes_matter(step);
        }
        let known = self.reaches.iter().position(|reach| reach.address == ingest);
        let at = known.unwrap_or_else(|| self.admit(ingest));
        let reach = &mut self.reaches[at];
        reach.wanted = true;
        // What is known already is no news: a server that is down for a day is suspected once.
        let news = reach.standing().is_open();
        match sight {
            Sight::Wanted | Sight::Gone => {
                if known.is_none() {
                    self.routes_matter(step);
                    self.hurry(step.now);
                }
            }
            Sight::Connected | Sight::Acknowledged => {
                reach.proven(step.now);
                self.proven(step);
            }
            Sight::Refused => {
                reach.answered();
            }
            Sight::Silent => {
                reach.fell_silent();
                self.suspect(step, ingest, news, Why::IngestSilent(ingest));
            }
            Sight::Unreached => {
                reach.missed();
                self.suspect(step, ingest, news, Why::IngestSilent(ingest));
            }
            Sight::Abandoned => {
                reach.abandoned();
                self.hurry(step.now);
            }
            Sight::Stranger { login } => {
                let why = reach.met(step.now, false, login.clone());
                self.suspect(step, ingest, news, why);
            }
            Sight::WrongCertificate => {
                let why = reach.met(step.now, true, None);
                self.suspect(step, ingest, news, why);
            }
        }
    }

    /// A place for a new ingest. Names that give other addresses every time push the oldest out.
    fn admit(&mut self, ingest: SocketAddr) -> usize {
        let set = self.config.targets.len();
        if self.reaches.len() >= set + MOST_INGESTS {
            let oldest = self.reaches.iter().position(|reach| !self.config.targets.contains(&reach.address));
            self.reaches.remove(oldest.unwrap_or(0));
        }
        self.reaches.push(Reach::new(ingest, true));
        self.reaches.len() - 1
    }

    /// Another uplink fails: is this one good?
    pub(crate) fn look(&mut self, step: &mut Step<'_>) {
        let vouched = self.heard.is_some_and(|heard| step.now.since(heard) < FRESH);
        if self.state == State::Up && self.round.is_none() && !vouched {
            self.begin_round(step);
        }
    }

    pub(crate) fn drop_checks(&mut self, out: &mut VecDeque<Output>) {
        out.extend(self.pending.drain(..).map(|pending| Output::Drop { check: pending.check }));
        self.round = None;
    }

    pub(crate) fn report(&self, shared: Vec<String>) -> UplinkReport {
        let why = self.why();
        let mut addresses = self.path.addresses().map(|own| own.address).collect::<Vec<_>>();
        addresses.sort_by_key(IpAddr::is_ipv6);
        UplinkReport {
            name: self.config.name.clone(),
            interface: self.config.interface.clone(),
            metered: self.config.metered,
            state: self.word(),
            since: self.since,
            reason: why.map(Why::to_string),
            remedy: why.and_then(Why::remedy),
            addresses: addresses.iter().map(IpAddr::to_string).collect(),
            gateway: self.path.gateways().next().map(|gateway| gateway.to_string()),
            warnings: self.path.hindrances().cloned().chain(shared).collect(),
        }
    }

    /// What would take both uplinks down at once, in words.
    pub(crate) fn shares_with(&self, other: &Self) -> Option<String> {
        let name = &other.config.name;
        let address =
            self.path.addresses().find(|own| other.path.addresses().any(|its| its.address == own.address));
        let public = self.public.filter(|own| other.public == Some(*own));
        if let Some(address) = public.or_else(|| address.map(|own| own.address)) {
            return Some(alloc::format!(
                "leaves by the same public address ({address}) as {name}: one fault can take both down"
            ));
        }
        let gateway =
            self.path.gateways().find(|gateway| other.path.gateways().any(|its| its == *gateway))?;
        // Two routers may both be 192.168.1.1: the hardware tells them apart where it answered.
        let same = match (self.gateway_hardware, other.gateway_hardware) {
            (Some(own), Some(its)) => own == its,
            (Some(_) | None, _) => true,
        };
        same.then(|| {
            alloc::format!("has the same gateway ({gateway}) as {name}: one fault can take both down")
        })
    }

    /// Which targets there are has changed, and with them perhaps whether a route leads to any.
    fn routes_matter(&mut self, step: &mut Step<'_>) {
        if self.path.is_known() {
            self.settle(step, None);
        }
    }

    /// Follows what the kernel says.
    fn settle(&mut self, step: &mut Step<'_>, renewal: Option<String>) {
        if renewal.is_some() {
            self.epoch = self.epoch.wrapping_add(1);
        }
        if let Some(why) = self.path.fault(self.reaches.iter().map(|reach| reach.address.ip())) {
            self.ready = false;
            self.next_round = None;
            self.drop_checks(step.out);
            self.forget();
            return self.go(step, State::Down { why }, None);
        }
        if !self.ready || renewal.is_some() {
            self.ready = true;
            self.drop_checks(step.out);
            self.forget();
            let why = renewal.unwrap_or_else(|| "link, address and route are there".to_string());
            self.go(step, State::Checking, Some(why));
            self.begin_round(step);
        }
    }

    fn forget(&mut self) {
        self.good = 0;
        self.bad = 0;
        self.heard = None;
        self.public = None;
        self.gateway_hardware = None;
        self.reaches.iter_mut().for_each(Reach::forget);
    }

    fn hurry(&mut self, now: Instant) {
        if self.ready && !(self.config.metered && self.state == State::Up) {
            self.next_round = Some(now);
        }
    }

    fn begin_round(&mut self, step: &mut Step<'_>) {
        let busy = self.heard.is_some_and(|heard| step.now.since(heard) < CALM);
        let mut targets: Vec<(Target, CheckKind)> = Vec::new();
        if !busy {
            targets.extend(
                self.path
                    .gateways()
                    .map(|gateway| (Target::Gateway(gateway), self.path.gateway_kind(gateway))),
            );
        }
        let far = self.reaches.iter().filter(|reach| self.path.leads_to(reach.address.ip()));
        let due = far.filter(|reach| !busy || (reach.wanted && !reach.heard_within(step.now, CALM)));
        targets.extend(due.take(MOST_TARGETS).map(|reach| (Target::Far(reach.address), reach.kind())));
        self.next_round = None;
        self.round = Some(Round { began: step.now, gateway: None, far_missing: false, somebody: None });
        for (target, kind) in targets {
            if self.pending.iter().any(|pending| pending.target == target) {
                continue;
            }
            *step.next_check = step.next_check.wrapping_add(1);
            let check = CheckId(*step.next_check);
            self.pending.push(Pending { check, target, deadline: step.now + PATIENCE + GRACE });
            step.out.push_back(Output::Check { check, uplink: step.id, kind, patience: PATIENCE });
        }
        if busy || self.pending.is_empty() {
            self.judge(step);
        }
    }

    fn answer(&mut self, step: &mut Step<'_>, target: Target, outcome: &Outcome) {
        let mut answered = false;
        match target {
            Target::Gateway(_) => {
                let there = match outcome {
                    Outcome::Answered { hardware } => {
                        self.gateway_hardware = hardware.or(self.gateway_hardware);
                        Some(true)
                    }
                    Outcome::Refused | Outcome::Page(_) => Some(true),
                    Outcome::Silent | Outcome::Unreachable => Some(false),
                    Outcome::Impossible(_) => None,
                };
                if let Some(round) = &mut self.round {
                    round.gateway = there.map(|there| there || round.gateway == Some(true)).or(round.gateway);
                }
            }
            Target::Far(address) => {
                let Some(reach) = self.reaches.iter_mut().find(|reach| reach.address == address) else {
                    return;
                };
                let finding = reach.checked(step.now, outcome);
                if let Some(round) = &mut self.round {
                    match finding {
                        Finding::Answer => answered = true,
                        Finding::Missing => round.far_missing = true,
                        Finding::Somebody(why) => round.somebody = Some(why),
                        Finding::Nothing => {}
                    }
                }
            }
        }
        if answered {
            self.round = None;
            self.round_answered(step);
        } else if self.pending.is_empty() {
            self.judge(step);
        }
    }

    /// Everything that was asked has come back, and no target was reached.
    fn judge(&mut self, step: &mut Step<'_>) {
        let Some(round) = self.round.take() else { return };
        let busy = self.heard.is_some_and(|heard| step.now.since(heard) < CALM);
        let gateway = self.path.gateways().next();
        if busy {
            self.round_answered(step);
        } else if let Some(why) = round.somebody {
            self.round_missed(step, round.began, why);
        } else if round.far_missing {
            let why = match (round.gateway, gateway) {
                (_, _) if self.config.metered => Why::SpentSim,
                (Some(false), Some(gateway)) => Why::GatewaySilent(gateway),
                (Some(true), gateway) => Why::NothingBeyond { gateway },
                (Some(false) | None, _) => Why::NothingBeyond { gateway: None },
            };
            self.round_missed(step, round.began, why);
        } else {
            match (round.gateway, gateway) {
                (Some(false), Some(gateway)) => {
                    self.round_missed(step, round.began, Why::GatewaySilent(gateway));
                }
                // Nothing could be asked: as good as the box can tell.
                (Some(_) | None, _) => self.round_answered(step),
            }
        }
    }

    fn round_answered(&mut self, step: &mut Step<'_>) {
        self.rounds = self.rounds.saturating_add(1);
        self.good = self.good.saturating_add(1);
        self.bad = 0;
        if self.state != State::Up && self.good >= UP_COUNT {
            self.go(step, State::Up, Some("checks are answered".to_string()));
        }
        self.next_round = match self.state {
            State::Up if self.config.metered => None,
            State::Up => Some(step.now + CALM),
            State::Checking | State::Suspect { .. } | State::Down { .. } => Some(step.now + EAGER),
        };
    }

    fn round_missed(&mut self, step: &mut Step<'_>, began: Instant, why: Why) {
        self.rounds = self.rounds.saturating_add(1);
        self.bad = self.bad.saturating_add(1);
        self.good = 0;
        match &self.state {
            State::Up => self.go(step, State::Suspect { why: Why::Unanswered, since: step.now }, None),
            State::Checking | State::Suspect { .. } if self.bad >= DOWN_COUNT => {
                self.go(step, State::Down { why }, None);
            }
            State::Down { .. } => self.go(step, State::Down { why }, None),
            State::Checking | State::Suspect { .. } => {}
        }
        let pace = if self.rounds < PATIENT_AFTER {
            ANXIOUS
        } else if self.config.metered {
            THRIFTY
        } else {
            CALM
        };
        self.next_round = Some((began + pace).max(step.now));
    }

    /// Delivery's own connection proves that the uplink carries.
    fn proven(&mut self, step: &mut Step<'_>) {
        if !self.ready {
            return;
        }
        self.heard = Some(step.now);
        if self.state != State::Up {
            self.good = UP_COUNT;
            self.bad = 0;
            self.go(step, State::Up, Some("a server answers".to_string()));
            self.next_round = (!self.config.metered).then(|| step.now + CALM);
        }
    }

    fn suspect(&mut self, step: &mut Step<'_>, ingest: SocketAddr, news: bool, why: Why) {
        // Others are heard by the same uplink: it is this ingest, or the way there.
        let vouched =
            self.reaches.iter().any(|reach| reach.address != ingest && reach.heard_within(step.now, FRESH));
        if !news || vouched || self.state != State::Up {
            return;
        }
        self.heard = None;
        self.good = 0;
        self.bad = 0;
        self.go(step, State::Suspect { why, since: step.now }, None);
        self.begin_round(step);
    }

    fn word(&self) -> UplinkState {
        word(&self.state)
    }

    const fn why(&self) -> Option<&Why> {
        match &self.state {
            State::Down { why } | State::Suspect { why, .. } => Some(why),
            State::Checking | State::Up => None,
        }
    }

    /// One transition, said once. `said` is for the states that give no reason of their own.
    fn go(&mut self, step: &mut Step<'_>, state: State, said: Option<String>) {
        let nameless = |state: &State| matches!(state, State::Down { why: Why::NoSuchInterface { .. } });
        if (self.state == state && said.is_none()) || (nameless(&self.state) && nameless(&state)) {
            // Other interfaces may have come and gone; the remedy names those that there are now.
            self.state = state;
            return;
        }
        let from = self.word();
        if self.state == State::Up && step.now.since(self.since) >= REARMED {
            self.alarmed = false;
        }
        let to = word(&state);
        step.disturbed |= from == UplinkState::Up && matches!(to, UplinkState::Down | UplinkState::Suspect);
        self.state = state;
        if from != to {
            self.since = step.now;
            self.rounds = 0;
        }
        let why = match (said, self.why()) {
            (Some(said), _) => said,
            (None, Some(why)) => match why.remedy() {
                Some(remedy) => alloc::format!("{why}; {remedy}"),
                None => why.to_string(),
            },
            (None, None) => String::new(),
        };
        let alarm = to == UplinkState::Down && !self.alarmed;
        self.alarmed |= alarm;
        let name = self.config.name.clone();
        step.out.push_back(Output::Log(Transition { uplink: step.id, name, from, to, why, alarm }));
    }
}

const fn word(state: &State) -> UplinkState {
    match state {
        State::Down { .. } => UplinkState::Down,
        State::Checking => UplinkState::Checking,
        State::Up => UplinkState::Up,
        State::Suspect { .. } => UplinkState::Suspect,
    }
}
