//! The box's side of the core: outputs carried out on sockets, and what comes back of them.
//!
//! As in the daemon, this decides nothing. A link is a socket and an [`Errand`]; a new kind of output is a new errand or one more
//! call on a socket.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use delivery::event::{Failure, Question, Talk, Transition};
use delivery::wire::{AnswerReader, ReplyReader};
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
    pub inputs: u64,
    links: Vec<Link>,
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
}

impl Edge {
    pub(crate) fn new() -> Self {
        Self {
            core: Delivery::new(),
            inbox: VecDeque::new(),
            transitions: Vec::new(),
            inputs: 0,
            links: Vec::new(),
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
        match output {
            Output::Resolve { link, host: _ } => self.resolve(reach, link, UNBOUND),
            Output::Connect { link, address: _, tls: _, talk } => self.source(reach, link, UNBOUND, talk),
            Output::Ask { link, address: _, tls: _, request, question, patience } => {
                self.question(reach, link, UNBOUND, request, question);
                reach.net.due(reach.now + patience, Due::Patience(link));
            }
            Output::Send { link, bytes } => {
                let (socket, errand) = self.link(link)?;
                let Errand::Source { head, .. } = errand else {
                    return Err(format!("{link:?} is a question"));
                };
                *head += bytes.len() as u64;
                let taken = reach.net.write(reach.now, socket, &bytes);
                if taken < bytes.len() && matches!(reach.net.phase(socket), Phase::Open) {
                    return Err(format!("a request of {} bytes does not fit into a new socket", bytes.len()));
                }
            }
            Output::Write { link, rendition, from, to } => self.write(reach, link, rendition, from, to)?,
            Output::Measure { link } => {
                let acked = self.acked(reach, link)?;
                self.inbox.push_back(Input::Measured { link, acked });
            }
            Output::Close { link } => self.close(reach, link),
            Output::Log(said) => self.transitions.push((reach.now, said)),
        }
        Ok(())
    }

    /// Name servers are behind the uplink too: where it leads nowhere, none answers.
    fn resolve(&mut self, reach: &mut Kernel<'_>, link: LinkId, uplink: usize) {
        if reach.net.uplinks[uplink].open() {
            reach.net.due(reach.now + LOOKUP, Due::Lookup(link, uplink));
        }
    }

    fn source(&mut self, reach: &mut Kernel<'_>, link: LinkId, uplink: usize, talk: Talk) {
        let socket = reach.net.connect(reach.now, uplink);
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
        let socket = reach.net.connect(reach.now, uplink);
        let about = match &question {
            Question::Probe { rendition } => Some(*rendition),
            Question::Title | Question::Status { .. } => None,
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
        let (socket, _) = self.link(link)?;
        let taken = reach.net.write(reach.now, socket, bytes);
        if let (_, Errand::Source { body, blocked, .. }) = self.link(link)? {
            *body += taken as u64;
            *blocked = taken < bytes.len();
        }
        let acked = self.acked(reach, link)?;
        let blocked = taken < bytes.len();
        self.inbox.push_back(Input::Wrote { link, bytes: taken as u32, acked, blocked });
        Ok(())
    }

    /// Body bytes acknowledged: written, less what is in the socket. Never more than the server's kernel has.
    fn acked(&mut self, reach: &Kernel<'_>, link: LinkId) -> Result<u64, String> {
        let (socket, errand) = self.link(link)?;
        let Errand::Source { head, body, .. } = errand else { return Ok(0) };
        let sent = (*head + *body).saturating_sub(reach.net.owed(socket) as u64);
        if let Some(there) = reach.net.at_server(socket)
            && sent > there
        {
            return Err(format!("{link:?}: {sent} bytes acknowledged, but the server has {there}"));
        }
        Ok(sent.saturating_sub(*head))
    }

    fn link(&mut self, link: LinkId) -> Result<(SocketId, &mut Errand), String> {
        let found = self.links.iter_mut().find(|one| one.link == link);
        found.map(|one| (one.socket, &mut one.errand)).ok_or_else(|| format!("{link:?} is not open"))
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
            Errand::Source { reader, reached, blocked, .. } => {
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

/// Where a socket goes that is bound to nothing.
const UNBOUND: usize = 0;
/// A round trip of the name server.
const LOOKUP: Duration = Duration::from_millis(30);
const READ_MOST: usize = 64 * 1024;
/// More inputs than any one moment has.
const MOST_AT_ONCE: u32 = 1000;
