//! The box's side of the core: outputs carried out on sockets, and what comes back of them.
//!
//! As in the daemon, this decides nothing. A link is a socket and an [`Errand`]; a new kind of output is a new errand or one more
//! call on a socket.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use delivery::event::{Failure, PathSight, Question, Talk, Transition, UplinkId};
use delivery::uplink::{self, CheckId, CheckKind, Outcome};
use delivery::wire::{AnswerReader, ListenReader, ReplyReader};
use delivery::{Backlog, Delivery, Input, LinkId, Output, RenditionId};
use units::{BytePos, Instant};

use super::host::{Phase, Why};
use super::net::{Due, Net, SocketId};

/// What one step reaches beside the core.
pub(crate) struct Kernel<'a> {
    pub now: Instant,
    pub net: &'a mut Net,
    /// The bytes of each rendition, by its place in the trial.
    pub backlogs: &'a [Backlog],
    /// The core's number of each of them.
    pub renditions: &'a [Option<RenditionId>],
}

impl Kernel<'_> {
    fn backlog(&self, rendition: RenditionId) -> Option<&Backlog> {
        let at = self.renditions.iter().position(|&known| known == Some(rendition))?;
        self.backlogs.get(at)
    }
}

/// The core in its box.
pub(crate) struct Edge {
    pub core: Delivery,
    pub inbox: VecDeque<Input>,
    pub transitions: Vec<(Instant, Transition)>,
    /// Everything that people were told, one line each: mounts, hand-overs, uplinks.
    pub told: Vec<(Instant, String)>,
    pub inputs: u64,
    /// What the core asked for since somebody last looked.
    pub spent: Spent,
    links: Vec<Link>,
    checks: Vec<(CheckId, SocketId)>,
}

/// What the core asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Connections, questions, look-ups and checks.
    pub asked: u32,
    /// Everything.
    pub outputs: u32,
}

struct Link {
    link: LinkId,
    socket: SocketId,
    errand: Errand,
}

enum Errand {
    /// A source connection.
    Source {
        reader: ReplyReader,
        reached: bool,
        /// Request bytes before the body, and body bytes after them.
        head: u64,
        body: u64,
        blocked: bool,
    },
    /// A question; `request` is empty once it is sent.
    Question { request: Vec<u8>, reader: AnswerReader, about: Option<RenditionId> },
    /// A listener probe; `request` is empty once it is sent.
    Listen { request: Vec<u8>, reader: ListenReader, renditions: Vec<RenditionId> },
}

impl Edge {
    pub(crate) fn new() -> Self {
        Self {
            core: Delivery::new(),
            inbox: VecDeque::new(),
            transitions: Vec::new(),
            told: Vec::new(),
            inputs: 0,
            spent: Spent::default(),
            links: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Feeds the core until nothing is left to say.
    pub(crate) fn drain(&mut self, reach: &mut Kernel<'_>) -> Result<(), String> {
        let mut rounds = 0;
        while let Some(input) = self.inbox.pop_front() {
            self.inputs += 1;
            rounds += 1;
            if rounds > MOST_AT_ONCE {
                return Err(format!("more than {MOST_AT_ONCE} inputs at {}: something spins", reach.now));
            }
            self.core.handle(reach.now, &input);
            while let Some(output) = self.core.poll() {
                self.act(reach, output)?;
            }
        }
        Ok(())
    }

    /// Time passes for the core. One tick may end an attempt and the next begin another; a third at the same instant spins.
    pub(crate) fn tick(&mut self, reach: &mut Kernel<'_>) -> Result<(), String> {
        for _ in 0..2 {
            self.inbox.push_back(Input::Tick);
            self.drain(reach)?;
            if self.core.wakeup().is_none_or(|at| at > reach.now) {
                return Ok(());
            }
        }
        Err(format!("ticks at {} leave a wake-up at {:?}", reach.now, self.core.wakeup()))
    }

    fn act(&mut self, reach: &mut Kernel<'_>, output: Output) -> Result<(), String> {
        self.spent.outputs += 1;
        match output {
            Output::Resolve { link, uplink, host: _ } => self.resolve(reach, link, way(uplink)),
            Output::Connect { link, uplink, address: _, tls: _, talk, kept } => {
                self.source(reach, link, way(uplink), talk, kept + MARGIN);
            }
            Output::Ask { link, uplink, address: _, tls: _, request, question, patience } => {
                self.question(reach, link, way(uplink), request.unwrap_or_default(), question);
                reach.net.due(reach.now + patience, Due::Patience(link));
            }
            Output::Listen { link, uplink, address: _, tls: _, request, renditions } => {
                let socket = self.open(reach, way(uplink), None);
                let errand = Errand::Listen { request, reader: ListenReader::new(), renditions };
                self.links.push(Link { link, socket, errand });
            }
            Output::Send { link, bytes } => {
                let Some((socket, errand)) = self.link(link)? else { return Ok(()) };
                let Errand::Source { head, .. } = errand else {
                    return Err(format!("{link:?} is a question"));
                };
                *head += bytes.len() as u64;
                let taken = reach.net.write(reach.now, socket, &bytes);
                if taken < bytes.len() && matches!(reach.net.phase(socket), Phase::Open) {
                    return Err(format!("a request of {} bytes does not fit into a new socket", bytes.len()));
                }
            }
            Output::Request { link, request: bytes } => {
                let Some((socket, errand)) = self.link(link)? else { return Ok(()) };
                let Errand::Question { request, .. } = errand else {
                    return Err(format!("{link:?} is not a question"));
                };
                *request = bytes;
                if reach.net.phase(socket) == Phase::Open {
                    let taken = reach.net.write(reach.now, socket, request);
                    request.drain(..taken);
                }
            }
            Output::Head { .. } => return Err("a head, and no rendition here is Ogg".to_string()),
            Output::Fill { link, bytes } => self.put(reach, link, &vec![0; bytes as usize])?,
            Output::Write { link, rendition, from, to } => self.write(reach, link, rendition, from, to)?,
            Output::Measure { link } => {
                let Some((socket, _)) = self.link(link)? else { return Ok(()) };
                let acked = self.acked(reach, link)?;
                let sight = reach.net.path(socket);
                let path = PathSight {
                    in_flight: sight.in_flight,
                    zero_window: sight.zero_window,
                    retransmits: sight.retransmits,
                    rtt_us: sight.rtt_us,
                };
                self.inbox.push_back(Input::Measured { link, acked, path });
            }
            Output::Close { link } => self.close(reach, link),
            Output::Log(said) => {
                let alarm = if said.alarm { " ALARM" } else { "" };
                let (from, to) = (said.from.word(), said.to.word());
                let line = format!("{} {from} -> {to}{alarm}: {}", said.mount, said.why);
                self.told.push((reach.now, line));
                self.transitions.push((reach.now, said));
            }
            Output::Tell(said) => {
                let alarm = if said.alarm { " ALARM" } else { "" };
                self.told.push((reach.now, format!("{}{alarm}: {}", said.output, said.what)));
            }
            Output::Uplink(uplink::Output::Check { check, uplink, kind, patience }) => {
                self.check(reach, check, usize::from(uplink.0), &kind, patience);
            }
            Output::Uplink(uplink::Output::Drop { check }) => self.drop_check(reach, check),
            Output::Uplink(uplink::Output::Log(said)) => {
                let line = format!("{} {:?} -> {:?}: {}", said.name, said.from, said.to, said.why);
                self.told.push((reach.now, line));
            }
        }
        Ok(())
    }

    /// A gateway answers wherever there is a link; what lies beyond it is asked by TCP.
    fn check(
        &mut self,
        reach: &mut Kernel<'_>,
        check: CheckId,
        uplink: usize,
        kind: &CheckKind,
        patience: Duration,
    ) {
        match kind {
            CheckKind::Arp(_) | CheckKind::Icmp(_) if reach.net.uplinks[uplink].carrier => {
                reach.net.due(reach.now + GATEWAY, Due::Checked(check));
            }
            CheckKind::Arp(_) | CheckKind::Icmp(_) => {}
            CheckKind::Tcp(_) | CheckKind::Http(..) => {
                let socket = self.open(reach, uplink, None);
                self.checks.push((check, socket));
            }
        }
        reach.net.due(reach.now + patience, Due::Unchecked(check));
    }

    fn drop_check(&mut self, reach: &mut Kernel<'_>, check: CheckId) {
        if let Some(at) = self.checks.iter().position(|(one, _)| *one == check) {
            let (_, socket) = self.checks.swap_remove(at);
            reach.net.close(reach.now, socket, true);
        }
    }

    /// Nobody answered a check in time, or somebody did. Late answers do no harm: the core knows what it still waits for.
    pub(crate) fn checked(&mut self, reach: &mut Kernel<'_>, check: CheckId, outcome: Outcome) {
        self.drop_check(reach, check);
        self.inbox.push_back(Input::Uplink(uplink::Input::Checked { check, outcome }));
    }

    /// A socket of a check, of a source or of a question begins to connect.
    fn open(&mut self, reach: &mut Kernel<'_>, uplink: usize, user_timeout: Option<Duration>) -> SocketId {
        self.spent.asked += 1;
        reach.net.connect_within(reach.now, uplink, user_timeout)
    }

    /// Name servers are behind the uplink too: where it leads nowhere, none answers.
    fn resolve(&mut self, reach: &mut Kernel<'_>, link: LinkId, uplink: usize) {
        self.spent.asked += 1;
        if reach.net.uplinks[uplink].open() {
            reach.net.due(reach.now + LOOKUP, Due::Lookup(link, uplink));
        }
    }

    fn source(
        &mut self,
        reach: &mut Kernel<'_>,
        link: LinkId,
        uplink: usize,
        talk: Talk,
        user_timeout: Duration,
    ) {
        let socket = self.open(reach, uplink, Some(user_timeout));
        let reader = ReplyReader::new(talk);
        let errand = Errand::Source { reader, reached: false, head: 0, body: 0, blocked: false };
        self.links.push(Link { link, socket, errand });
    }

    fn question(
        &mut self,
        reach: &mut Kernel<'_>,
        link: LinkId,
        uplink: usize,
        request: Vec<u8>,
        question: Question,
    ) {
        let socket = self.open(reach, uplink, None);
        let about = match &question {
            Question::Probe { rendition } => Some(*rendition),
            Question::Title | Question::Status { .. } | Question::Source { .. } | Question::Evict => None,
        };
        let errand = Errand::Question { request, reader: AnswerReader::new(question), about };
        self.links.push(Link { link, socket, errand });
    }

    fn write(
        &mut self,
        reach: &mut Kernel<'_>,
        link: LinkId,
        rendition: RenditionId,
        from: BytePos,
        to: BytePos,
    ) -> Result<(), String> {
        let backlog =
            reach.backlog(rendition).ok_or_else(|| format!("there is no rendition {rendition:?}"))?;
        if from < backlog.start() || to > backlog.end() || from > to {
            return Err(format!(
                "writes {from:?} to {to:?}; held are {:?} to {:?}",
                backlog.start(),
                backlog.end()
            ));
        }
        let (first, second) = backlog.bytes(from, to);
        let bytes = [first, second].concat();
        self.put(reach, link, &bytes)
    }

    /// Body bytes, as many as the socket takes.
    fn put(&mut self, reach: &mut Kernel<'_>, link: LinkId, bytes: &[u8]) -> Result<(), String> {
        let Some((socket, errand)) = self.link(link)? else { return Ok(()) };
        let taken = reach.net.write(reach.now, socket, bytes);
        let full = taken < bytes.len();
        if let Errand::Source { body, blocked, .. } = errand {
            *body += taken as u64;
            *blocked = full;
        }
        let acked = self.acked(reach, link)?;
        self.inbox.push_back(Input::Wrote { link, bytes: taken as u32, acked, blocked: full });
        Ok(())
    }

    /// Body bytes acknowledged: written, less what is in the socket. Never more than the server's kernel has.
    fn acked(&mut self, reach: &Kernel<'_>, link: LinkId) -> Result<u64, String> {
        let Some((socket, Errand::Source { head, body, .. })) = self.link(link)? else { return Ok(0) };
        let sent = (*head + *body).saturating_sub(reach.net.owed(socket) as u64);
        if let Some(there) = reach.net.at_server(socket)
            && sent > there
        {
            return Err(format!("{link:?}: {sent} bytes acknowledged, but the server has {there}"));
        }
        Ok(sent.saturating_sub(*head))
    }

    /// `None`: it is closed, and the core is about to hear of it.
    fn link(&mut self, link: LinkId) -> Result<Option<(SocketId, &mut Errand)>, String> {
        let heard_of = self.inbox.iter().any(|input| {
            matches!(
                input,
                Input::Closed { link: one, .. } | Input::Failed { link: one, .. } | Input::Answered { link: one, .. }
                    if *one == link
            )
        });
        match self.links.iter_mut().find(|one| one.link == link) {
            Some(one) => Ok(Some((one.socket, &mut one.errand))),
            None if heard_of => Ok(None),
            None => Err(format!("{link:?} is not open")),
        }
    }

    fn close(&mut self, reach: &mut Kernel<'_>, link: LinkId) {
        let Some(at) = self.links.iter().position(|one| one.link == link) else { return };
        let closed = self.links.swap_remove(at);
        // As the daemon: a source that owes bytes is reset, so that its server lets the mount go at once.
        let reset = matches!(closed.errand, Errand::Source { .. }) && reach.net.owed(closed.socket) > 0;
        reach.net.close(reach.now, closed.socket, reset);
    }

    /// How many sources had something acknowledged within `belief`, or owe nothing.
    pub(crate) fn alive(&self, now: Instant, net: &Net, belief: Duration) -> usize {
        let sources = self.links.iter().filter(|one| matches!(one.errand, Errand::Source { body: 1.., .. }));
        sources.filter(|one| net.silent(now, one.socket) <= belief).count()
    }

    /// A name server's answer is here.
    pub(crate) fn looked_up(&mut self, reach: &Kernel<'_>, link: LinkId, uplink: usize) {
        if reach.net.uplinks[uplink].open() {
            let addresses = vec![IpAddr::V4(reach.net.server.address)];
            self.inbox.push_back(Input::Resolved { link, addresses });
        }
    }

    /// A question took too long.
    pub(crate) fn lost_patience(&mut self, reach: &mut Kernel<'_>, link: LinkId) {
        if self.links.iter().any(|one| one.link == link) {
            self.close(reach, link);
            self.inbox.push_back(Input::Failed { link, failure: Failure::TimedOut });
        }
    }

    /// Something happened to a socket of the box's.
    pub(crate) fn noted(&mut self, reach: &mut Kernel<'_>, id: SocketId) {
        if let Some(&(check, _)) = self.checks.iter().find(|(_, socket)| *socket == id) {
            return match reach.net.phase(id) {
                Phase::Opening => {}
                Phase::Open | Phase::Ended => {
                    self.checked(reach, check, Outcome::Answered { hardware: None })
                }
                Phase::Gone(Why::Refused | Why::Reset) => self.checked(reach, check, Outcome::Refused),
                Phase::Gone(Why::TimedOut) => self.checked(reach, check, Outcome::Silent),
            };
        }
        let Some(at) = self.links.iter().position(|one| one.socket == id) else { return };
        let phase = reach.net.phase(id);
        let (mut bytes, mut said) = (Vec::new(), Vec::new());
        if phase == Phase::Open {
            reach.net.read(reach.now, id, READ_MOST, &mut bytes);
        }
        // A short answer may be all here already.
        let phase = if phase == Phase::Open { reach.net.phase(id) } else { phase };
        let one = &mut self.links[at];
        let link = one.link;
        let over = match &mut one.errand {
            Errand::Source { reader, reached, blocked, head, body } => {
                if !*reached && matches!(phase, Phase::Open | Phase::Ended) {
                    *reached = true;
                    said.extend([Input::Reached { link }, Input::Connected { link }]);
                }
                let mut fresh: &[u8] = &bytes;
                while let Some(reply) = reader.feed(fresh) {
                    said.push(Input::Replied { link, reply });
                    fresh = &[];
                }
                if phase == Phase::Open && *blocked && reach.net.writable(id) {
                    *blocked = false;
                    said.push(Input::Writable { link });
                }
                let failure = match phase {
                    Phase::Opening | Phase::Open => None,
                    Phase::Ended => Some(None),
                    Phase::Gone(why) => Some(Some(failure(why))),
                };
                if let Some(failure) = &failure {
                    said.extend(reader.finish().map(|reply| Input::Replied { link, reply }));
                    if *reached {
                        // As the kernel knows it to the end (TCP_INFO).
                        let sent = (*head + *body).saturating_sub(reach.net.owed(id) as u64);
                        let (acked, path) = (sent.saturating_sub(*head), PathSight::default());
                        said.push(Input::Measured { link, acked, path });
                    }
                    said.push(match (failure, *reached) {
                        (Some(failure), false) => Input::Failed { link, failure: failure.clone() },
                        (failure, _) => Input::Closed { link, failure: failure.clone() },
                    });
                }
                failure.is_some()
            }
            Errand::Question { request, reader, about } => {
                if phase == Phase::Open && !request.is_empty() {
                    let taken = reach.net.write(reach.now, id, request);
                    request.drain(..taken);
                }
                let enough = reader.feed(&bytes);
                let ended = matches!(phase, Phase::Ended | Phase::Gone(_));
                if enough || (ended && reader.has_begun()) {
                    let backlog = about.and_then(|rendition| reach.backlog(rendition));
                    said.push(Input::Answered { link, answer: reader.answer(backlog) });
                } else if let Phase::Gone(why) = phase {
                    said.push(Input::Failed { link, failure: failure(why) });
                } else if ended {
                    said.push(Input::Failed { link, failure: Failure::Reset });
                }
                enough || ended
            }
            Errand::Listen { request, reader, renditions } => {
                if phase == Phase::Open && !request.is_empty() {
                    let taken = reach.net.write(reach.now, id, request);
                    request.drain(..taken);
                }
                let ours: Vec<_> =
                    renditions.iter().filter_map(|&one| Some((one, reach.backlog(one)?))).collect();
                let pieces = reader.feed(&bytes, &ours);
                let stranger = pieces.is_none();
                said.extend(pieces.into_iter().flatten().map(|piece| {
                    let (rendition, from, upto) = (piece.rendition, piece.from, piece.upto);
                    Input::Heard { link, rendition, from, upto }
                }));
                match phase {
                    Phase::Opening | Phase::Open if !stranger => false,
                    Phase::Opening | Phase::Open | Phase::Ended => {
                        said.push(Input::Closed { link, failure: None });
                        true
                    }
                    Phase::Gone(why) => {
                        said.push(Input::Failed { link, failure: failure(why) });
                        true
                    }
                }
            }
        };
        if over {
            self.close(reach, link);
        }
        self.inbox.extend(said);
    }
}

const fn failure(why: Why) -> Failure {
    match why {
        Why::Refused => Failure::ConnectionRefused,
        Why::Reset => Failure::Reset,
        Why::TimedOut => Failure::TimedOut,
    }
}

fn way(uplink: Option<UplinkId>) -> usize {
    uplink.map_or(UNBOUND, |id| usize::from(id.0))
}

/// Where a socket goes that is bound to nothing.
const UNBOUND: usize = 0;
/// The kernel gives a source up so long after its server does, as in the daemon.
const MARGIN: Duration = Duration::from_secs(2);
/// A gateway's answer.
const GATEWAY: Duration = Duration::from_millis(2);
/// A round trip of the name server.
const LOOKUP: Duration = Duration::from_millis(30);
const READ_MOST: usize = 64 * 1024;
/// More inputs than any one moment has.
const MOST_AT_ONCE: u32 = 1000;
