//! The loop: the earliest due thing, a jump there, what it does, and every invariant after it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use delivery::event::{Answer, Failure, Question, Transition};
use delivery::recording::{Recorder, Recording};
use delivery::wire::ReplyReader;
use delivery::{Delivery, Input, LinkId, RenditionId};
use units::snapshot::{MountReport, MountState};
use units::{BytePos, Instant};

use crate::dice::Dice;
use crate::faults::Fault;
use crate::invariants::{Broken, Ward};
use crate::link::{Path, Pipe};
use crate::server::{SOURCE_TIMEOUT, Server, Version};
use crate::station::{self, Berth, Encoder};

/// How a run is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub seed: u64,
    pub length: Duration,
    /// Packets between two boundaries.
    pub packets: u32,
    /// Events go through a recorder as well.
    pub record: bool,
    /// Keep every transition.
    pub keep: bool,
    /// The mounts on this server may never go without a write for longer than this.
    pub steady: Option<(usize, Duration)>,
    pub faults: Vec<Fault>,
}

/// Something that comes due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Due {
    Begin(usize),
    End(usize),
    /// A name server's answer is in.
    Resolved(LinkId),
    /// The connection takes its next step towards being open.
    Advance(LinkId),
    /// The server's next words are in.
    Say(LinkId),
    /// The end of the connection is in.
    Broken(LinkId),
    /// There may be room in the socket.
    Writable(LinkId),
    /// The server learns that the box closed.
    Gone(usize, LinkId),
    /// The server looks whether a source has fallen silent.
    SourceTimeout(usize, LinkId),
    AskArrives(LinkId),
    AskAnswered(LinkId),
    AskOver(LinkId),
    /// Somebody else looks whether a mount is free, for as long as this fault lasts.
    Intrude(usize),
    /// Inputs about a link that was closed: late ones happen, and change nothing.
    Late(LinkId),
    /// What is costly to check is checked now and then.
    Inspect,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Reach,
    Secure,
    /// The box's turn: its request is awaited.
    Greet,
    Request,
    Open,
}

/// One source connection, both ends.
#[derive(Debug)]
pub(crate) struct Conn {
    pub link: LinkId,
    pub mount: usize,
    pub server: usize,
    pub stage: Stage,
    /// Its next step waits for path or server.
    pub held: bool,
    /// The server's end does not exist (any more).
    pub gone: bool,
    /// How that is seen at the box.
    pub failure: Option<Failure>,
    /// It is a source of the server.
    pub taken: bool,
    /// The server said yes, and the core heard it.
    pub welcomed: bool,
    /// The core was told no.
    pub refused: bool,
    pub pipe: Pipe,
    pub reader: ReplyReader,
    /// What the server said and the box has not heard.
    pub says: VecDeque<String>,
}

/// What a connection beside a source is for.
#[derive(Debug)]
pub(crate) enum Wants {
    Answer(Question),
    /// The mount's sound, heard up to there.
    Sound {
        upto: BytePos,
    },
}

/// One question beside a source.
#[derive(Debug)]
pub(crate) struct Ask {
    pub link: LinkId,
    pub mount: usize,
    pub server: usize,
    pub wants: Wants,
    /// What it asks for; `None` until it says so.
    pub target: Option<String>,
    pub held: bool,
    pub answer: Option<Answer>,
}

/// The whole of it.
pub(crate) struct World {
    pub setup: Setup,
    pub dice: Dice,
    pub now: Instant,
    pub core: Delivery,
    pub recorder: Option<Recorder>,
    pub berths: Vec<Berth>,
    pub wards: Vec<Ward>,
    /// Each mount's settings as the core has them: not in them, or with or without their change.
    given: Vec<Option<bool>>,
    pub encoders: Vec<Encoder>,
    pub paths: Vec<Path>,
    pub calm: Vec<Duration>,
    pub servers: Vec<Server>,
    /// Since when server and way have been well; `None` while they are not.
    pub well: Vec<Option<Instant>>,
    pub conns: Vec<Conn>,
    pub asks: Vec<Ask>,
    pub lookups: Vec<(LinkId, usize)>,
    /// Ends that the server has not learnt of.
    pub unheard_ends: Vec<(usize, LinkId)>,
    pub active: Vec<usize>,
    pub title: String,
    pub title_since: Instant,
    pub inbox: VecDeque<Input>,
    pub transitions: Vec<(Instant, Transition)>,
    pub inputs: u64,
    heap: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    sequence: u64,
    next_packet: Instant,
    second: (u64, u64),
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Simulated time.
    pub length: Duration,
    /// Inputs that the core took.
    pub inputs: u64,
    /// What people were told, if it was kept.
    pub transitions: Vec<(Instant, Transition)>,
    /// Each mount.
    pub mounts: Vec<MountOutcome>,
    /// The event log, if one was taken.
    pub recording: Option<Recording>,
}

/// What a run came to for one mount.
#[derive(Clone, Debug)]
pub struct MountOutcome {
    /// `main.primary`.
    pub name: String,
    /// The core's last word; `None` if the mount is not in the settings any more.
    pub report: Option<MountReport>,
    /// Times it jumped to live.
    pub skips: u64,
    /// Alarms raised.
    pub alarms: u32,
    /// Times a server took the source.
    pub accepted: u64,
    /// Time off air, start-up included.
    pub off_air: Duration,
    /// The longest time off air that ended.
    pub longest_off_air: Duration,
    /// The longest time between two writes on one connection.
    pub longest_pause: Duration,
}

/// The moment at which everything starts: times in reports are those of the scenario.
pub(crate) const START: Instant = Instant::ZERO;
const INSPECT: Duration = Duration::from_secs(10);
/// So long after the last trouble every mount is on air and proven.
const RECOVERY: Duration = Duration::from_secs(60);
/// So long after the last trouble a mount on air has the title.
const TITLE_RECOVERY: Duration = Duration::from_secs(40);
const TITLE_TRAVEL: Duration = Duration::from_secs(5);
/// A mount without acknowledgements is called stalled after 3 s; a look at them may be a second old, an answer as old as the
/// connection is long.
const BELIEF: Duration = Duration::from_millis(4_200);
/// Inputs of one second for one mount: measuring every 20 ms, questions, attempts, and nothing that spins.
const INPUTS_PER_SECOND: u64 = 250;

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut dice = Dice::new(setup.seed);
        let berths = station::berths(&mut dice);
        let encoders = Encoder::all(&berths, setup.packets);
        let calm: Vec<Duration> = (0..2).map(|_| Duration::from_millis(dice.between(1, 60))).collect();
        let clock = |dice: &mut Dice| dice.between(20_000, 60_000);
        let servers =
            vec![Server::new(Version::V24, clock(&mut dice)), Server::new(Version::V25, clock(&mut dice))];
        let wards: Vec<Ward> = berths.iter().map(|berth| Ward::new(berth.name.clone(), START)).collect();
        let mut world = Self {
            dice,
            now: START,
            core: Delivery::new(),
            recorder: setup.record.then(Recorder::new),
            given: vec![None; wards.len()],
            wards,
            encoders,
            paths: calm.iter().map(|&latency| Path::new(latency)).collect(),
            calm,
            servers,
            well: vec![Some(START); 2],
            conns: Vec::new(),
            asks: Vec::new(),
            lookups: Vec::new(),
            unheard_ends: Vec::new(),
            active: Vec::new(),
            title: String::new(),
            title_since: START,
            inbox: VecDeque::new(),
            transitions: Vec::new(),
            inputs: 0,
            heap: BinaryHeap::new(),
            sequence: 0,
            next_packet: START,
            second: (0, 0),
            berths,
            setup,
        };
        for number in 0..world.setup.faults.len() {
            let (begin, end) = (world.setup.faults[number].begin(), world.setup.faults[number].end());
            world.due(START + begin, Due::Begin(number));
            world.due(START + end, Due::End(number));
        }
        world.due(START + INSPECT, Due::Inspect);
        world
    }

    pub(crate) fn due(&mut self, at: Instant, what: Due) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, what)));
    }

    /// Runs to the end, or to the first broken invariant.
    pub(crate) fn run(
        &mut self,
        mut each_second: impl FnMut(&Self) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let end = START + self.setup.length;
        self.configure();
        self.drain()?;
        let mut look = START;
        loop {
            let due = self.heap.peek().map(|Reverse((at, ..))| *at);
            let wakeup = self.core.wakeup();
            let next = [Some(self.next_packet), due, wakeup].into_iter().flatten().min().unwrap_or(end);
            while look <= next && look <= end {
                each_second(self)?;
                look += Duration::from_secs(1);
            }
            if next > end {
                return self.inspect();
            }
            self.now = next.max(self.now);
            if due.is_some_and(|at| at <= self.now) {
                if let Some(Reverse((_, _, what))) = self.heap.pop() {
                    self.happens(what)?;
                }
            } else if self.next_packet <= self.now {
                self.next_packet += Encoder::PACKET * self.setup.packets;
                self.produce();
            } else {
                self.tick()?;
            }
            self.drain()?;
            self.check()?;
        }
    }

    /// Time passes for the core. One tick may end an attempt and the next begin another; a third at the same instant spins.
    fn tick(&mut self) -> Result<(), Broken> {
        for _ in 0..2 {
            self.inbox.push_back(Input::Tick);
            self.drain()?;
            if self.core.wakeup().is_none_or(|at| at > self.now) {
                return Ok(());
            }
        }
        Err(format!("ticks at {} leave a wake-up at {:?}", self.now, self.core.wakeup()))
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let reports: Vec<(String, MountReport)> = self.reports();
        let mounts = self
            .wards
            .iter()
            .map(|ward| MountOutcome {
                name: ward.name.clone(),
                report: reports.iter().find(|(name, _)| *name == ward.name).map(|(_, report)| report.clone()),
                skips: ward.skips,
                alarms: ward.alarms_ever,
                accepted: ward.accepted,
                off_air: ward.off_air,
                longest_off_air: ward.longest_off_air,
                longest_pause: ward.longest_pause,
            })
            .collect();
        Outcome {
            length: self.now.since(START),
            inputs: self.inputs,
            transitions: self.transitions.clone(),
            mounts,
            recording: self.recorder.as_ref().map(Recorder::export),
        }
    }

    /// The core's report, with the mounts' names.
    pub(crate) fn reports(&self) -> Vec<(String, MountReport)> {
        let outputs = self.core.report().into_iter();
        outputs
            .flat_map(|output| {
                let name = output.name;
                output.mounts.into_iter().map(move |mount| (format!("{name}.{}", mount.role), mount))
            })
            .collect()
    }

    /// Takes the settings in, as the mounts that are wanted now stand.
    pub(crate) fn configure(&mut self) {
        let wanted = |number: usize| !self.removed(number);
        let mounts: Vec<_> = (0..self.berths.len())
            .filter(|&number| wanted(number))
            .map(|number| {
                let mut config = self.berths[number].config.clone();
                if self.changed(number) {
                    config.longest_lag = Duration::from_secs(8);
                }
                config
            })
            .collect();
        self.inbox.push_back(Input::Configure(station::config(self.setup.seed, mounts).into()));
        for number in 0..self.berths.len() {
            let wanted = if self.removed(number) { None } else { Some(self.changed(number)) };
            // Overlapping changes may leave a mount as it is; then the core leaves it alone.
            match (self.given[number] != wanted, wanted) {
                (true, Some(_)) => self.wards[number].configure(self.now),
                (true, None) => self.wards[number].forget(self.now),
                (false, _) => {}
            }
            self.given[number] = wanted;
        }
    }

    fn produce(&mut self) {
        for encoder in &mut self.encoders {
            let (end, frames) = encoder.produce();
            let Some(rendition) = self.core.rendition(&encoder.rendition) else { continue };
            self.inbox.push_back(Input::Produced { rendition, end, frames, entry: true, more: false });
        }
    }

    /// The encoder of a rendition, by the core's number for it.
    pub(crate) fn encoder(&self, rendition: RenditionId) -> Option<Encoder> {
        let rendition = self.core.renditions().nth(usize::from(rendition.0))?;
        self.encoders.iter().find(|encoder| encoder.rendition == *rendition).copied()
    }

    /// Feeds the core until nothing is left to say.
    pub(crate) fn drain(&mut self) -> Result<(), Broken> {
        while let Some(input) = self.inbox.pop_front() {
            if let Some(recorder) = &mut self.recorder {
                recorder.input(self.now, &self.core, &input);
            }
            self.note(&input);
            self.core.handle(self.now, &input);
            while let Some(output) = self.core.poll() {
                if let Some(recorder) = &mut self.recorder {
                    recorder.output(&output);
                }
                self.act(output)?;
            }
            self.count()?;
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Broken> {
        self.inputs += 1;
        let second = self.now.as_micros() / 1_000_000;
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        let mounts = self.berths.len() as u64;
        let packets = 42_u64.div_ceil(u64::from(self.setup.packets));
        if self.second.1 > mounts * (INPUTS_PER_SECOND + 2 * packets) {
            return Err(format!(
                "{} inputs within the second of {}: something spins",
                self.second.1, self.now
            ));
        }
        Ok(())
    }

    /// After every step.
    fn check(&mut self) -> Result<(), Broken> {
        let now = self.now;
        if self.core.wakeup().is_none() {
            return Err("no timer is armed at all".into());
        }
        for (number, ward) in self.wards.iter().enumerate() {
            ward.stirs(now)?;
            let server = self.berths[number].server;
            let Some(configured) = ward.configured else { continue };
            if ward.state.on_air() {
                self.believes(number)?;
            }
            let well = self.well[server].map_or(Duration::ZERO, |since| now.since(since));
            if well >= RECOVERY && now.since(configured) >= RECOVERY && ward.state != MountState::Verified {
                return Err(format!(
                    "{}: {:?} although all has been well for {well:?}",
                    ward.name, ward.state
                ));
            }
            if let Some((steady, most)) = self.setup.steady
                && server == steady
                && now.since(configured) > SOURCE_TIMEOUT
            {
                let pause = ward.pause(now).max(ward.longest_pause);
                if pause > most {
                    return Err(format!("{}: nothing was written for {pause:?}, at {now}", ward.name));
                }
            }
        }
        Ok(())
    }

    /// A mount that is called on air: there is a connection, its bytes are acknowledged, and nobody else holds the mount.
    fn believes(&self, number: usize) -> Result<(), Broken> {
        let (ward, berth) = (&self.wards[number], &self.berths[number]);
        let name = &ward.name;
        let Some(conn) = self.conns.iter().find(|conn| Some(conn.link) == ward.source) else {
            return Err(format!("{name}: on air without a connection"));
        };
        let pipe = &conn.pipe;
        let silent = self.now.since(pipe.progress);
        if pipe.acked == 0
            || (pipe.written > pipe.acked && silent > BELIEF + self.paths[conn.server].round_trip())
        {
            return Err(format!(
                "{name}: on air, {} written, {} acknowledged, {silent:?} ago",
                pipe.written, pipe.acked
            ));
        }
        let intruder = self.servers[berth.server].sources.iter().find(|source| source.link.is_none());
        if let Some(intruder) = intruder
            && intruder.path == berth.config.path
            && ward.state == MountState::Verified
            && self.now.since(intruder.since) > BELIEF + self.paths[conn.server].round_trip()
        {
            return Err(format!("{name}: verified, but somebody else holds it since {}", intruder.since));
        }
        Ok(())
    }

    /// What is costly to look at.
    pub(crate) fn inspect(&mut self) -> Result<(), Broken> {
        let now = self.now;
        for (name, report) in self.reports() {
            let Some(number) = self.wards.iter().position(|ward| ward.name == name) else { continue };
            let (ward, berth) = (&self.wards[number], &self.berths[number]);
            ward.reported(&report)?;
            let (Some(on_air), Some(well)) = (ward.on_air_since, self.well[berth.server]) else { continue };
            let long = now.since(on_air) >= TITLE_RECOVERY && now.since(well) >= TITLE_RECOVERY;
            if long && !self.title.is_empty() && now.since(self.title_since) >= TITLE_TRAVEL {
                let carried =
                    self.servers[berth.server].source(&berth.config.path).map(|source| source.title.as_str());
                if carried != Some(&self.title) || report.title.as_deref() != carried {
                    return Err(format!(
                        "{name}: carries {carried:?}, reports {:?}, wanted {:?}",
                        report.title, self.title
                    ));
                }
            }
        }
        self.due(now + INSPECT, Due::Inspect);
        Ok(())
    }
}
