//! The loop: the earliest thing due, in virtual time.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use delivery::config::{
    Config, Method, MountConfig, MountId, OnAir, OutputConfig, Proven, Return, Server, ServerKind, Station,
    UplinkConfig,
};
use delivery::uplink::{self, Interface, Outcome, Prefix, Route};
use delivery::wire::request;
use delivery::{Backlog, Input, RenditionId};
use units::snapshot::{MountReport, MountState, Role};
use units::{BitRate, BytePos, Channels, Codec, Instant, Rendition, SampleRate, Secret};

use super::content::Encoder;
use super::edge::{Edge, Kernel};
use super::host::Options;
use super::icecast::{Icecast, Reach};
use super::link::Uplink;
use super::listener::Player;
use super::net::{Due, Net};
use super::segment::Peer;
use super::trial::{Course, Fault, Trial, What};
use crate::dice::Dice;

/// A trial as it runs.
pub struct World {
    pub(super) trial: Trial,
    pub(super) now: Instant,
    pub(super) net: Net,
    pub(super) server: Icecast,
    pub(super) players: Vec<Player>,
    pub(super) encoders: Vec<Encoder>,
    pub(super) backlogs: Vec<Backlog>,
    /// Where the packets of each rendition end.
    pub(super) ends: Vec<Vec<BytePos>>,
    renditions: Vec<Option<RenditionId>>,
    pub(super) edge: Option<Edge>,
    pub(super) packet: Duration,
    /// The uplinks as they are when nothing is wrong.
    calm: Vec<Uplink>,
    /// Faults that are on, and whether a flapping one is dark just now.
    active: Vec<(usize, bool)>,
    /// Carrier and address of each uplink as the core was told of them.
    seen: Vec<(bool, Ipv4Addr)>,
    addresses: u8,
}

impl World {
    /// A world at rest, at time zero.
    #[must_use]
    pub fn new(trial: Trial) -> Self {
        let mut dice = Dice::new(trial.seed);
        let renditions: Vec<Rendition> = trial.renditions.iter().map(|&kbit| rendition(kbit)).collect();
        let packet = renditions.first().map_or(Duration::from_millis(24), Encoder::packet_time);
        let calm: Vec<Uplink> = trial
            .uplinks
            .iter()
            .enumerate()
            .map(|(number, &millis)| {
                Uplink::new(Duration::from_millis(u64::from(millis)), Ipv4Addr::new(10, 0, number as u8, 2))
            })
            .collect();
        let retry_cap = trial.retry_cap.map_or(LINUX_CAP, Duration::from_millis);
        let user_timeout = Duration::from_secs(trial.user_timeout);
        let of_box =
            Options { send_buffer: 80 * 1024, receive_buffer: 64 * 1024, retry_cap, user_timeout, seed: 0 };
        let of_server = Options {
            send_buffer: 128 * 1024,
            receive_buffer: 128 * 1024,
            retry_cap: LINUX_CAP,
            user_timeout: Duration::from_secs(900),
            seed: 0,
        };
        let net_dice = Dice::new(dice.between(0, u64::MAX - 1));
        let mut net = Net::new(net_dice, calm.clone(), SERVER, of_box, of_server);
        net.accelerated.clone_from(&trial.accelerated);
        net.due(Instant::ZERO + packet, Due::Packet);
        net.due(Instant::ZERO + LOOK, Due::Look);
        for (number, listener) in trial.listeners.iter().enumerate() {
            net.due(Instant::ZERO + Duration::from_secs_f64(listener.at), Due::Join(number));
        }
        for (number, fault) in trial.faults.iter().enumerate() {
            net.due(Instant::ZERO + fault.begin(), Due::Begin(number));
            net.due(Instant::ZERO + fault.end(), Due::End(number));
        }
        let any = rendition(128);
        let credentials = credentials(&mount("/live", Role::Primary, *renditions.first().unwrap_or(&any)));
        let edge = (!trial.mounts.is_empty()).then(|| {
            let mut edge = Edge::new();
            let roles = [Role::Primary, Role::Fallback];
            let mounts = trial.mounts.iter().zip(roles);
            let mounts = mounts.map(|((path, at), role)| mount(path, role, renditions[*at])).collect();
            let (uplinks, outputs) = terms(&trial);
            let config = Config { agent: AGENT.to_string(), seed: trial.seed, mounts, uplinks, outputs };
            edge.inbox.push_back(Input::Configure(config.into()));
            edge.inbox.extend(interfaces(&trial, &calm));
            edge
        });
        Self {
            now: Instant::ZERO,
            net,
            server: Icecast::new(trial.server.clone(), credentials),
            players: trial.listeners.iter().map(|wants| Player::new(wants.clone(), packet)).collect(),
            encoders: renditions.iter().zip(0..).map(|(&one, label)| Encoder::new(one, label)).collect(),
            backlogs: renditions.iter().map(Backlog::new).collect(),
            ends: vec![Vec::new(); renditions.len()],
            renditions: vec![None; renditions.len()],
            edge,
            packet,
            seen: calm.iter().map(|way| (way.carrier, way.address)).collect(),
            calm,
            active: Vec::new(),
            addresses: 2,
            trial,
        }
    }

    /// Runs a whole trial.
    ///
    /// # Errors
    /// The first invariant that did not hold.
    pub fn finish(&mut self) -> Result<(), String> {
        let end = Instant::ZERO + Duration::from_secs(self.trial.seconds);
        self.run(end.since(self.now))?;
        let most = self.trial.most;
        let now = self.now;
        self.players.iter().enumerate().try_for_each(|(at, player)| most.check(at, &player.heard(now)))
    }

    /// Lets so much time pass.
    ///
    /// # Errors
    /// The first invariant that did not hold.
    pub fn run(&mut self, span: Duration) -> Result<(), String> {
        let end = self.now + span;
        self.settle()?;
        loop {
            let wakeup = self.edge.as_ref().and_then(|edge| edge.core.wakeup());
            let due = self.net.next();
            let next = [due, wakeup].into_iter().flatten().min().unwrap_or(end);
            if next > end {
                self.now = end;
                return Ok(());
            }
            self.now = next.max(self.now);
            if due.is_some_and(|at| at <= self.now) {
                if let Some(due) = self.net.step(self.now) {
                    self.happens(due)?;
                }
            } else if let Some(mut edge) = self.edge.take() {
                let outcome = edge.tick(&mut self.kernel());
                self.edge = Some(edge);
                outcome?;
            }
            self.settle()?;
        }
    }

    /// Hands everything that happened to those whom it concerns, until all have said what they had to.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            if let Some(id) = self.net.noted() {
                if !self.net.is_box(id) {
                    self.serve(|server, reach| server.noted(reach, id));
                } else if let Some(mut edge) = self.edge.take() {
                    edge.noted(&mut self.kernel(), id);
                    self.edge = Some(edge);
                }
                continue;
            }
            let Some(mut edge) = self.edge.take() else { return Ok(()) };
            let idle = edge.inbox.is_empty();
            let outcome = edge.drain(&mut self.kernel());
            for (known, encoder) in self.renditions.iter_mut().zip(&self.encoders) {
                *known = known.or_else(|| edge.core.rendition(&encoder.rendition));
            }
            self.edge = Some(edge);
            outcome?;
            if idle {
                return Ok(());
            }
        }
    }

    fn kernel(&mut self) -> Kernel<'_> {
        Kernel { now: self.now, net: &mut self.net, backlogs: &self.backlogs, renditions: &self.renditions }
    }

    fn serve<R>(&mut self, act: impl FnOnce(&mut Icecast, &mut Reach<'_>) -> R) -> R {
        act(&mut self.server, &mut Reach { now: self.now, net: &mut self.net, players: &mut self.players })
    }

    fn happens(&mut self, due: Due) -> Result<(), String> {
        match due {
            Due::Packet => {
                self.net.due(self.now + self.packet * self.trial.at_once, Due::Packet);
                for left in (0..self.trial.at_once).rev() {
                    self.produce(left > 0);
                }
            }
            Due::Lookup(link, uplink) => {
                if let Some(mut edge) = self.edge.take() {
                    edge.looked_up(&self.kernel(), link, uplink);
                    self.edge = Some(edge);
                }
            }
            Due::Patience(link) => {
                if let Some(mut edge) = self.edge.take() {
                    edge.lost_patience(&mut self.kernel(), link);
                    self.edge = Some(edge);
                }
            }
            Due::Checked(check) => self.checked(check, Outcome::Answered { hardware: None }),
            Due::Unchecked(check) => self.checked(check, Outcome::Silent),
            Due::Turn(number) => self.serve(|server, reach| server.turn(reach, number)),
            Due::Shut(id) => self.serve(|server, reach| server.shut(reach, id)),
            Due::Join(number) => {
                if !self.players[number].connected {
                    let path = self.players[number].wants.mount.clone();
                    self.serve(|server, reach| server.listen(reach, number, &path));
                }
                self.net.due(self.now + COMES_BACK, Due::Join(number));
            }
            Due::Look => {
                self.net.due(self.now + LOOK, Due::Look);
                return self.look();
            }
            Due::Begin(number) => self.begin(number),
            Due::End(number) => self.end(number),
            Due::Flap(number) => {
                let What::Flap(millis) = self.trial.faults[number].what else { return Ok(()) };
                let every = Duration::from_millis(u64::from(millis));
                if let Some((_, dark)) = self.active.iter_mut().find(|(active, _)| *active == number) {
                    *dark = !*dark;
                    self.net.due(self.now + every, Due::Flap(number));
                    self.weather();
                }
            }
        }
        Ok(())
    }

    fn checked(&mut self, check: uplink::CheckId, outcome: Outcome) {
        if let Some(mut edge) = self.edge.take() {
            edge.checked(&mut self.kernel(), check, outcome);
            self.edge = Some(edge);
        }
    }

    /// What must hold whatever happened, looked at once a second.
    fn look(&mut self) -> Result<(), String> {
        let Some(edge) = &mut self.edge else { return Ok(()) };
        let spent = std::mem::take(&mut edge.spent);
        if spent.asked > ASKED_MOST || spent.outputs > OUTPUTS_MOST {
            return Err(format!("endless asking at {}: {spent:?} within a second", self.now));
        }
        let lied = edge.told.iter().find(|(_, line)| line.contains("acks-lie"));
        if let Some((at, _)) = lied.filter(|_| self.trial.accelerated.is_empty()) {
            return Err(format!(
                "acknowledgements were called false at {at}, and nothing is in the server's place"
            ));
        }
        let deeds = self.server.deeds();
        if deeds.wronged > 0 {
            return Err(format!("somebody else's source was evicted before {}", self.now));
        }
        if self.trial.moves.is_some_and(|most| deeds.moves > most) {
            return Err(format!("listeners were moved {} times before {}", deeds.moves, self.now));
        }
        let outputs = edge.core.report();
        let mounts: Vec<_> = outputs.iter().flat_map(|output| &output.mounts).collect();
        let on_air = mounts.iter().filter(|mount| mount.state.on_air()).count();
        let alive = edge.alive(self.now, &self.net, BELIEF);
        if on_air > alive {
            return Err(format!(
                "{on_air} mounts on air at {}, {alive} sources acknowledged of late",
                self.now
            ));
        }
        let last = self.trial.faults.iter().map(Fault::end).max().unwrap_or_default();
        let hand_over = outputs.iter().find_map(|output| output.hand_over.as_ref());
        // Each flap doubles the settle time, five times at most.
        let settle = match (self.trial.course, hand_over) {
            (Course::HandOver { settle, .. }, Some(hand_over)) => {
                Duration::from_secs_f64(settle) * (1 << hand_over.incidents.len().min(5))
            }
            // A primary that goes home to its uplink is proven anew.
            (Course::Apart, _) => Duration::from_secs_f64(APART) + RECOVERY,
            (Course::HandOver { .. } | Course::Unbound, _) => Duration::ZERO,
        };
        if self.now < Instant::ZERO + last + RECOVERY + settle {
            return Ok(());
        }
        let wanted = |mount: &MountReport| match (hand_over, mount.role) {
            (Some(_), Role::Fallback) => MountState::Held,
            (Some(_) | None, Role::Primary) | (None, Role::Fallback) => MountState::Verified,
        };
        if let Some(mount) = mounts.iter().find(|mount| mount.state != wanted(mount)) {
            return Err(format!(
                "{} is {:?} long after the last trouble: {}",
                mount.url, mount.state, self.now
            ));
        }
        match hand_over {
            Some(hand_over) if hand_over.phase != "calm" || hand_over.listeners_on != Role::Primary => {
                Err(format!("{} long after the last trouble: {}", hand_over.phase, self.now))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn produce(&mut self, more: bool) {
        for (at, encoder) in self.encoders.iter_mut().enumerate() {
            let (bytes, end, frames) = encoder.packet();
            self.backlogs[at].push(&bytes);
            self.ends[at].push(end);
            if let (Some(edge), Some(rendition)) = (&mut self.edge, self.renditions[at]) {
                let entry = encoder.number().is_multiple_of(self.trial.entries);
                edge.inbox.push_back(Input::Produced { rendition, end, frames, entry, more });
            }
        }
        for number in 0..self.active.len() {
            let rate = u64::from(self.trial.renditions[0]) * 125;
            let what = self.trial.faults[self.active[number].0].what.clone();
            if let What::Foreign(path) = what {
                self.serve(|server, reach| server.intrude(reach, &path, "somebody else", rate));
            } else if let What::Twin(path) = what {
                self.serve(|server, reach| server.intrude(reach, &path, AGENT, rate));
            }
        }
    }

    fn begin(&mut self, number: usize) {
        let fault = self.trial.faults[number].clone();
        self.active.push((number, false));
        match fault.what {
            What::MiddleboxReset => self.net.reset_box_side(self.now, fault.uplink),
            What::NewAddress => {
                self.addresses += 1;
                self.net.uplinks[fault.uplink].address =
                    Ipv4Addr::new(10, 0, fault.uplink as u8, self.addresses);
            }
            What::ServerStopped => self.server.stop(),
            What::Ended(path) => self.server.cut_off(&path),
            What::Flap(_) => self.net.due(self.now, Due::Flap(number)),
            What::Loss(_)
            | What::Delay(_)
            | What::Jitter(_)
            | What::Dark(_)
            | What::NearDark
            | What::CarrierOff
            | What::Rate(..)
            | What::Narrow(_)
            | What::Foreign(_)
            | What::Twin(_) => {}
        }
        self.weather();
    }

    fn end(&mut self, number: usize) {
        self.active.retain(|(active, _)| *active != number);
        match self.trial.faults[number].what.clone() {
            What::ServerStopped => self.serve(Icecast::go_on),
            What::Foreign(path) | What::Twin(path) => {
                self.serve(|server, reach| server.leave(reach, &path));
            }
            What::Loss(_)
            | What::Delay(_)
            | What::Jitter(_)
            | What::Dark(_)
            | What::NearDark
            | What::CarrierOff
            | What::Flap(_)
            | What::NewAddress
            | What::Rate(..)
            | What::Narrow(_)
            | What::Ended(_)
            | What::MiddleboxReset => {}
        }
        self.weather();
    }

    /// Puts every fault that is on into the uplinks.
    fn weather(&mut self) {
        for (at, calm) in self.calm.iter().enumerate() {
            let mut way = calm.clone();
            way.address = self.net.uplinks[at].address;
            for &(number, flapped) in &self.active {
                let fault = &self.trial.faults[number];
                if fault.uplink == at {
                    fault.put_into(&mut way, flapped);
                }
            }
            self.net.uplinks[at] = way;
        }
        let seen = |ways: &[Uplink]| ways.iter().map(|way| (way.carrier, way.address)).collect::<Vec<_>>();
        let now = seen(&self.net.uplinks);
        if now != self.seen {
            self.seen = now;
            let news = interfaces(&self.trial, &self.net.uplinks);
            if let Some(edge) = &mut self.edge {
                edge.inbox.extend(news);
            }
        }
    }
}

/// What the core is told of uplinks and of the two mounts.
fn terms(trial: &Trial) -> (Vec<UplinkConfig>, Vec<OutputConfig>) {
    let uplinks = (0..trial.uplinks.len()).map(|number| UplinkConfig {
        name: format!("uplink-{number}"),
        interface: interface(number),
        metered: trial.metered.contains(&number),
        ..UplinkConfig::default()
    });
    let output = |settle: f64, proven| OutputConfig {
        name: OUTPUT.to_string(),
        standby: trial.standby,
        on_air: OnAir::default(),
        give_back: Return::Auto,
        settle: Duration::from_secs_f64(settle),
        lone: trial.lone,
        proven,
    };
    let outputs = match trial.course {
        Course::Unbound => return (Vec::new(), Vec::new()),
        Course::Apart => vec![output(APART, None)],
        Course::HandOver { evict, settle } => vec![output(
            settle,
            Some(Proven {
                fallback: true,
                overrides: true,
                evict,
                burst: trial.server.burst as u64,
                queue: trial.server.queue as u64,
                source_timeout: Duration::from_secs(trial.server.source_timeout),
            }),
        )],
    };
    (uplinks.collect(), outputs)
}

/// The machine's interfaces as its kernel shows them; nothing where the core knows no uplinks.
fn interfaces(trial: &Trial, ways: &[Uplink]) -> Option<Input> {
    let one = |(number, way): (usize, &Uplink)| {
        let [a, b, c, _] = way.address.octets();
        Interface {
            name: interface(number),
            index: number as u32 + 2,
            switched_on: true,
            carrier: way.carrier,
            arp: true,
            addresses: vec![Prefix { address: way.address.into(), length: 24 }],
            routes: vec![Route {
                to: Prefix { address: Ipv4Addr::UNSPECIFIED.into(), length: 0 },
                gateway: Some(IpAddr::from([a, b, c, 1])),
            }],
            hindrances: Vec::new(),
        }
    };
    match trial.course {
        Course::Unbound => None,
        Course::Apart | Course::HandOver { .. } => {
            Some(Input::Uplink(uplink::Input::Interfaces(ways.iter().enumerate().map(one).collect())))
        }
    }
}

fn interface(number: usize) -> String {
    format!("eth{number}")
}

fn rendition(kbit: u32) -> Rendition {
    Rendition {
        codec: Codec::Mp3,
        rate: SampleRate::Hz48000,
        channels: Channels::Stereo,
        bitrate: BitRate::from_kbit(kbit).expect("a trial's bitrates are not zero"),
    }
}

pub(super) fn mount(path: &str, role: Role, rendition: Rendition) -> MountConfig {
    MountConfig {
        id: MountId { output: OUTPUT.to_string(), role },
        server: Server {
            kind: ServerKind::Icecast,
            host: "ingest.example.org".to_string(),
            port: SERVER.port,
            tls: None,
            method: Method::Put,
        },
        path: path.to_string(),
        user: "source".to_string(),
        password: Secret::new("correct-horse-battery".to_string()),
        rendition,
        station: Station { name: "Radio Test".to_string(), ..Station::default() },
        longest_lag: Duration::from_secs(15),
    }
}

/// `Authorization` as the box spells it.
pub(super) fn credentials(config: &MountConfig) -> String {
    let head = String::from_utf8_lossy(&request::source(config, AGENT)).into_owned();
    let line = head.lines().find_map(|line| line.strip_prefix("Authorization: "));
    line.unwrap_or_default().to_string()
}

const OUTPUT: &str = "main";
/// The settle time of mounts that are on their own, in seconds.
const APART: f64 = 60.0;
pub(super) const AGENT: &str = "Mainstay/sim";
const SERVER: Peer = Peer { address: Ipv4Addr::new(192, 0, 2, 10), port: 8000 };
/// `TCP_RTO_MAX` of a kernel without the option.
const LINUX_CAP: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_secs(1);
/// So long after the last trouble every mount is on air and proven.
const RECOVERY: Duration = Duration::from_secs(60);
/// Connections, questions, look-ups and checks in a second: two mounts that open, their proofs, a look at a doubtful primary,
/// and a round of checks on each uplink take fewer.
const ASKED_MOST: u32 = 40;
/// Everything the core says in a second.
const OUTPUTS_MOST: u32 = 3000;
/// A mount without acknowledgements is called stalled after 3 s; a look at them may be a second old.
const BELIEF: Duration = Duration::from_millis(4_500);
/// A player whose connection was dropped tries again after so long, and asks for a mount that is not there as often.
const COMES_BACK: Duration = Duration::from_secs(2);
