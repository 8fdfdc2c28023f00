//! What the box's sockets and the servers do: outputs of the core carried out, and what comes back of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use delivery::config::Trust;
use delivery::event::{Answer, Failure, PathSight, Question, Talk, Tls, UplinkId, Verdict};
use delivery::wire::{AnswerReader, ReplyReader};
use delivery::{Input, LinkId, Output, RenditionId};
use units::BytePos;
use units::snapshot::MountState;

use crate::faults::What;
use crate::invariants::{Broken, untold};
use crate::link::Pipe;
use crate::server::{SOURCE_TIMEOUT, Then};
use crate::world::{Ask, Conn, Due, Stage, Wants, World};

/// No uplink is configured in any run.
fn unbound(uplink: Option<UplinkId>) -> Result<(), Broken> {
    uplink.map_or(Ok(()), |uplink| Err(format!("goes through {uplink:?}, which is not configured")))
}

/// What a request asks for.
fn target(request: &[u8]) -> String {
    String::from_utf8_lossy(request).split(' ').nth(1).unwrap_or_default().to_string()
}

/// Icecast attends to its listeners at least so often.
const TURN: Duration = Duration::from_millis(250);

/// A round trip of the name server.
const LOOKUP: Duration = Duration::from_millis(15);

impl World {
    /// Carries one output out.
    pub(crate) fn act(&mut self, output: Output) -> Result<(), Broken> {
        match output {
            Output::Write { link, rendition, from, to } => self.write(link, rendition, from, to),
            Output::Fill { link, bytes } => self.fill(link, bytes.into()),
            Output::Head { .. } => Err("sends a head, and no rendition here is Ogg".to_string()),
            Output::Measure { link } => {
                if let Some(at) = self.at(link) {
                    self.touch(at);
                    let (acked, path) = (self.conns[at].pipe.acked, self.path_sight(at));
                    self.inbox.push_back(Input::Measured { link, acked, path });
                }
                Ok(())
            }
            Output::Resolve { link, uplink, host } => {
                unbound(uplink)?;
                let mount = self.berths.iter().position(|berth| berth.config.server.host == host);
                let mount = mount.ok_or_else(|| format!("looks up {host}, which is no host of ours"))?;
                self.wards[mount].attempt(self.now, link)?;
                self.lookups.push((link, mount));
                self.due(self.now + LOOKUP, Due::Resolved(link));
                Ok(())
            }
            Output::Connect { link, uplink, address, tls, talk, kept: _ } => {
                unbound(uplink)?;
                self.connect(link, address, tls.as_ref(), talk)
            }
            Output::Send { link, bytes } => self.request(link, &bytes),
            Output::Close { link } => {
                self.close(link);
                Ok(())
            }
            Output::Ask { link, uplink, address, tls, request, question, patience } => {
                unbound(uplink)?;
                let wants = Wants::Answer(question);
                self.ask(link, address, tls.as_ref(), request.as_deref(), wants)?;
                self.due(self.now + patience, Due::AskOver(link));
                Ok(())
            }
            Output::Request { link, request } => {
                let Some(at) = self.asks.iter().position(|ask| ask.link == link) else {
                    return Err(format!("a request on {link:?}, which is no open question"));
                };
                if self.asks[at].target.replace(target(&request)).is_some() {
                    return Err(format!("a second request on {link:?}"));
                }
                self.due(self.now + self.paths[self.asks[at].server].latency, Due::AskArrives(link));
                Ok(())
            }
            Output::Listen { link, uplink, address, tls, request, renditions: _ } => {
                unbound(uplink)?;
                self.ask(link, address, tls.as_ref(), Some(&request), Wants::Sound { upto: BytePos(0) })
            }
            Output::Uplink(output) => Err(format!("asks {output:?} of uplinks, and none is configured")),
            Output::Tell(telling) => untold(&telling.output, &telling.what),
            Output::Log(said) => {
                let number = self.wards.iter().position(|ward| ward.name == said.mount.to_string());
                let number =
                    number.ok_or_else(|| format!("tells of {}, which is no mount of ours", said.mount))?;
                self.wards[number].told(self.now, &said)?;
                if said.to == MountState::Verified {
                    self.may_be_verified(number)?;
                }
                if said.to == MountState::Live {
                    self.may_be_live(number, said.from)?;
                }
                if self.setup.keep {
                    self.transitions.push((self.now, said));
                }
                Ok(())
            }
        }
    }

    /// The core is about to hear this: what the checks need to know of it.
    pub(crate) fn note(&mut self, input: &Input) {
        match input {
            Input::Replied { link, reply } => {
                if let Some(at) = self.at(*link) {
                    let welcome = reply.verdict == Verdict::Go;
                    self.conns[at].welcomed |= welcome;
                    self.conns[at].refused |= !welcome;
                }
            }
            // The edge is done with a link that broke.
            Input::Closed { link, failure } => {
                self.broke(*link, failure.as_ref().is_none_or(Failure::is_answer))
            }
            Input::Failed { link, failure } => self.broke(*link, failure.is_answer()),
            Input::Resolved { link, .. } => {
                // The look-up ends here; its connection follows, or the attempt ends for want of an address.
                let mount = self.lookups.iter().find(|(other, _)| other == link).map(|&(_, mount)| mount);
                self.lookups.retain(|(other, _)| other != link);
                if let Some(mount) = mount {
                    self.wards[mount].end(self.now, true);
                }
            }
            Input::Produced { .. }
            | Input::Reached { .. }
            | Input::Connected { .. }
            | Input::DateIgnored { .. }
            | Input::Wrote { .. }
            | Input::Writable { .. }
            | Input::Measured { .. }
            | Input::Answered { .. }
            | Input::Heard { .. }
            | Input::Uplink(_)
            | Input::Title(_)
            | Input::Order(_)
            | Input::Pausing(_)
            | Input::Configure(_)
            | Input::Tick => {}
        }
    }

    fn broke(&mut self, link: LinkId, answered: bool) {
        if let Some(at) = self.at(link) {
            let conn = self.conns.swap_remove(at);
            self.wards[conn.mount].end(self.now, answered);
        } else if let Some(at) = self.lookups.iter().position(|(other, _)| *other == link) {
            let (_, mount) = self.lookups.swap_remove(at);
            self.wards[mount].end(self.now, answered);
        } else {
            self.asks.retain(|ask| ask.link != link);
        }
    }

    fn mount_of(&self, address: SocketAddr, tls: Option<&Tls>) -> Result<usize, Broken> {
        let mount = self.berths.iter().position(|berth| {
            let pin = match (&berth.config.server.tls, tls) {
                (None, None) => true,
                (Some(Trust::Pinned(ours)), Some(Tls { trust: Trust::Pinned(theirs), .. })) => ours == theirs,
                (None | Some(_), None | Some(_)) => false,
            };
            pin && berth.config.server.port == address.port() && berth.addresses.contains(&address.ip())
        });
        mount.ok_or_else(|| format!("connects to {address}, where none of our mounts lies"))
    }

    fn connect(
        &mut self,
        link: LinkId,
        address: SocketAddr,
        tls: Option<&Tls>,
        talk: Talk,
    ) -> Result<(), Broken> {
        let mount = self.mount_of(address, tls)?;
        let berth = &self.berths[mount];
        let (server, dead, refuses) = (berth.server, !berth.leads(address.ip()), berth.dead_refuse);
        if berth.is_named() {
            self.wards[mount].hold(self.now, link)?;
        } else {
            self.wards[mount].attempt(self.now, link)?;
        }
        let send_buffer = self.dice.between(48, 256) * 1024;
        let receive_buffer = self.dice.between(32, 200) * 1024;
        self.conns.push(Conn {
            link,
            mount,
            server,
            stage: Stage::Reach,
            held: dead,
            gone: dead,
            failure: dead.then_some(Failure::ConnectionRefused),
            taken: false,
            welcomed: false,
            refused: false,
            pipe: Pipe::new(send_buffer, receive_buffer),
            reader: ReplyReader::new(talk),
            says: VecDeque::new(),
        });
        let there = self.now + self.paths[server].round_trip();
        match (dead, refuses) {
            (false, _) => self.due(there, Due::Advance(link)),
            (true, true) => self.due(there, Due::Broken(link)),
            (true, false) => {}
        }
        Ok(())
    }

    /// A connection beside the sources. Without a request it is opened, and waits for it.
    fn ask(
        &mut self,
        link: LinkId,
        address: SocketAddr,
        tls: Option<&Tls>,
        request: Option<&[u8]>,
        wants: Wants,
    ) -> Result<(), Broken> {
        let mount = self.mount_of(address, tls)?;
        let server = self.berths[mount].server;
        let target = request.map(target);
        let trips = if tls.is_some() { 5 } else { 3 };
        if target.is_some() {
            self.due(self.now + self.paths[server].latency * trips, Due::AskArrives(link));
        }
        self.asks.push(Ask { link, mount, server, wants, target, held: false, answer: None });
        Ok(())
    }

    fn request(&mut self, link: LinkId, bytes: &[u8]) -> Result<(), Broken> {
        let Some(at) = self.at(link) else { return Err(format!("a request on {link:?}, which is not open")) };
        let (mount, server) = (self.conns[at].mount, self.conns[at].server);
        let head = String::from_utf8_lossy(bytes);
        let path = &self.berths[mount].config.path;
        if self.conns[at].stage != Stage::Greet || head.split(' ').nth(1) != Some(path.as_str()) {
            return Err(format!("{}: a request out of turn, or for another mount", self.wards[mount].name));
        }
        self.conns[at].stage = Stage::Request;
        self.due(self.now + self.paths[server].latency, Due::Advance(link));
        Ok(())
    }

    fn write(
        &mut self,
        link: LinkId,
        rendition: RenditionId,
        from: BytePos,
        to: BytePos,
    ) -> Result<(), Broken> {
        let Some(at) = self.at(link) else { return Err(format!("a write on {link:?}, which is not open")) };
        self.touch(at);
        let Some(encoder) = self.encoder(rendition) else {
            return Err(format!("there is no rendition {rendition:?}"));
        };
        let mount = self.conns[at].mount;
        if encoder.rendition != self.berths[mount].config.rendition {
            return Err(format!("{}: writes another mount's rendition", self.wards[mount].name));
        }
        self.wards[mount].write(from, to, &encoder)?;
        self.put(at, Some(from), to.since(from))
    }

    /// Zero bytes as body, which belong to no rendition.
    fn fill(&mut self, link: LinkId, bytes: u64) -> Result<(), Broken> {
        let Some(at) = self.at(link) else { return Err(format!("filler on {link:?}, which is not open")) };
        self.touch(at);
        self.wards[self.conns[at].mount].fill(bytes)?;
        self.put(at, None, bytes)
    }

    /// Body bytes into the socket; sound begins at `from` of its rendition.
    fn put(&mut self, at: usize, from: Option<BytePos>, wanted: u64) -> Result<(), Broken> {
        let conn = &mut self.conns[at];
        let (link, mount) = (conn.link, conn.mount);
        if conn.stage != Stage::Open && conn.stage != Stage::Request {
            return Err(format!("{}: writes before its request", self.wards[mount].name));
        }
        let bytes = conn.pipe.write(self.now, &mut self.paths[conn.server], wanted);
        let (acked, blocked) = (conn.pipe.acked, bytes < wanted);
        self.wards[mount].wrote(self.now, from, bytes, blocked);
        self.inbox.push_back(Input::Wrote { link, bytes: bytes as u32, acked, blocked });
        if blocked {
            self.watch_room(at);
        }
        Ok(())
    }

    /// What the box's kernel knows of a connection's path.
    fn path_sight(&self, at: usize) -> PathSight {
        let conn = &self.conns[at];
        let path = &self.paths[conn.server];
        conn.pipe.sight(self.now, path)
    }

    /// Looks again for room when the next acknowledgement can be in. Where none can, whoever lets go calls this anew.
    pub(crate) fn watch_room(&mut self, at: usize) {
        let conn = &self.conns[at];
        if self.wards[conn.mount].blocked
            && let Some(next) = conn.pipe.next_ack(self.now, &self.paths[conn.server])
        {
            let link = conn.link;
            self.due(next, Due::Writable(link));
        }
    }

    pub(crate) fn at(&self, link: LinkId) -> Option<usize> {
        self.conns.iter().position(|conn| conn.link == link)
    }

    /// Whether the server's program reads this connection.
    fn reads(&self, at: usize) -> bool {
        let conn = &self.conns[at];
        let manners = &self.servers[conn.server].manners;
        manners.up && manners.runs && !conn.gone && conn.stage == Stage::Open
    }

    /// Moves a connection's bytes to where they are now. To be called before anything changes what moves them.
    pub(crate) fn touch(&mut self, at: usize) {
        let reads = self.reads(at);
        let conn = &mut self.conns[at];
        conn.pipe.deliver(self.now, &self.paths[conn.server], !conn.gone, reads);
    }

    /// Something let go: see [`Pipe::resume`].
    pub(crate) fn resume(&mut self, at: usize, wait: Duration) {
        let reads = self.reads(at);
        let conn = &mut self.conns[at];
        conn.pipe.resume(self.now, &mut self.paths[conn.server], wait, reads);
        self.watch_room(at);
    }

    /// The server's end of a connection goes.
    pub(crate) fn break_off(&mut self, at: usize, failure: Option<Failure>) {
        self.touch(at);
        let conn = &mut self.conns[at];
        if conn.gone || conn.stage == Stage::Reach {
            return;
        }
        conn.gone = true;
        conn.taken = false;
        conn.failure = failure;
        let (link, latency) = (conn.link, self.paths[conn.server].latency);
        self.due(self.now + latency, Due::Broken(link));
    }

    /// A source is no source of the server any more; whoever wants the mount may see that.
    pub(crate) fn drop_source(&mut self, server: usize, link: LinkId) {
        self.servers[server].sources.retain(|source| source.link != Some(link));
        for number in 0..self.active.len() {
            let fault = self.active[number];
            if matches!(self.setup.faults[fault].what, What::Foreign(_)) {
                // Waiting for the moment, or coming by now and then.
                let millis = if self.dice.chance(1, 2) { 0 } else { self.dice.between(0, 2000) };
                self.due(self.now + Duration::from_millis(millis), Due::Intrude(fault));
            }
        }
    }

    /// The core closes a link.
    fn close(&mut self, link: LinkId) {
        if let Some(at) = self.lookups.iter().position(|(other, _)| *other == link) {
            let (_, mount) = self.lookups.swap_remove(at);
            self.wards[mount].end(self.now, false);
        }
        self.asks.retain(|ask| ask.link != link);
        if let Some(at) = self.at(link) {
            self.touch(at);
            let conn = self.conns.swap_remove(at);
            self.wards[conn.mount].end(self.now, conn.refused);
            if conn.taken {
                let server = conn.server;
                for source in &mut self.servers[server].sources {
                    if source.link == Some(link) {
                        source.last_read = conn.pipe.last_read.max(source.since);
                    }
                }
                if self.paths[server].to_server {
                    self.due(self.now + self.paths[server].latency, Due::Gone(server, link));
                } else if self.dice.chance(1, 2) {
                    self.unheard_ends.push((server, link));
                }
            }
        }
        if self.dice.chance(1, 4) {
            self.due(self.now + LOOKUP, Due::Late(link));
        }
    }

    /// Something comes due.
    pub(crate) fn happens(&mut self, what: Due) -> Result<(), Broken> {
        match what {
            Due::Begin(fault) => self.begin(fault)?,
            Due::End(fault) => self.finish(fault)?,
            Due::Resolved(link) => self.resolved(link),
            Due::Advance(link) => self.advance(link),
            Due::Say(link) => self.say(link),
            Due::Broken(link) => self.broken(link),
            Due::Writable(link) => {
                if let Some(at) = self.at(link) {
                    self.touch(at);
                    let mount = self.conns[at].mount;
                    if !self.wards[mount].blocked {
                        // Another look was faster.
                    } else if self.conns[at].pipe.writable() {
                        self.wards[mount].blocked = false;
                        self.inbox.push_back(Input::Writable { link });
                    } else {
                        self.watch_room(at);
                    }
                }
            }
            Due::Gone(server, link) => {
                if self.servers[server].manners.runs {
                    self.drop_source(server, link);
                } else {
                    self.unheard_ends.push((server, link));
                }
            }
            Due::SourceTimeout(server, link) => self.source_timeout(server, link),
            Due::AskArrives(link) => self.ask_arrives(link),
            Due::AskAnswered(link) => {
                let Some(at) = self.asks.iter().position(|ask| ask.link == link) else { return Ok(()) };
                if self.paths[self.asks[at].server].to_box
                    && let Some(answer) = self.asks[at].answer.take()
                {
                    self.asks.swap_remove(at);
                    self.inbox.push_back(Input::Answered { link, answer });
                }
            }
            Due::AskOver(link) => {
                if self.asks.iter().any(|ask| ask.link == link) {
                    self.inbox.push_back(Input::Failed { link, failure: Failure::TimedOut });
                }
            }
            Due::Intrude(fault) => self.intrude(fault),
            Due::Late(link) => {
                let late = [
                    Input::Wrote { link, bytes: 1, acked: 1 << 40, blocked: true },
                    Input::Measured { link, acked: 1 << 40, path: PathSight::default() },
                    Input::Connected { link },
                    Input::Closed { link, failure: None },
                    Input::Heard {
                        link,
                        rendition: RenditionId(0),
                        from: BytePos(0),
                        upto: BytePos(1 << 40),
                    },
                ];
                let one = self.dice.between(0, late.len() as u64 - 1) as usize;
                self.inbox.extend(late.into_iter().nth(one));
            }
            Due::Inspect => self.inspect()?,
        }
        Ok(())
    }

    fn resolved(&mut self, link: LinkId) {
        let Some(&(_, mount)) = self.lookups.iter().find(|(other, _)| *other == link) else { return };
        let server = self.berths[mount].server;
        let trouble = self.active.iter().find_map(|&fault| {
            let fault = &self.setup.faults[fault];
            (fault.place.covers(server) && matches!(fault.what, What::NoName | What::NameSilent))
                .then_some(&fault.what)
        });
        let silent = trouble == Some(&What::NameSilent) || !self.paths[server].open();
        let input = if silent {
            // The resolver itself gives up now and then; otherwise the core's patience has to.
            let failure = Failure::NoNameServer;
            if self.dice.chance(1, 2) { Some(Input::Failed { link, failure }) } else { None }
        } else if trouble == Some(&What::NoName) {
            let failure = Failure::NoSuchName;
            let empty = Input::Resolved { link, addresses: Vec::new() };
            if self.dice.chance(1, 2) { Some(Input::Failed { link, failure }) } else { Some(empty) }
        } else {
            Some(Input::Resolved { link, addresses: self.berths[mount].addresses.clone() })
        };
        self.inbox.extend(input);
    }

    fn advance(&mut self, link: LinkId) {
        let Some(at) = self.at(link) else { return };
        self.touch(at);
        let (server, mount, stage) = (self.conns[at].server, self.conns[at].mount, self.conns[at].stage);
        if self.conns[at].gone {
            return;
        }
        let (open, round_trip) = (self.paths[server].open(), self.paths[server].round_trip());
        let (up, runs) = (self.servers[server].manners.up, self.servers[server].manners.runs);
        // A stopped program's kernel still takes connections.
        self.conns[at].held = !open || (stage != Stage::Reach && !runs);
        if self.conns[at].held {
            return;
        }
        match stage {
            Stage::Reach if !up => {
                self.inbox.push_back(Input::Failed { link, failure: Failure::ConnectionRefused })
            }
            Stage::Reach => {
                self.inbox.push_back(Input::Reached { link });
                if self.berths[mount].is_named() {
                    self.conns[at].stage = Stage::Greet;
                    self.inbox.push_back(Input::Connected { link });
                } else {
                    self.conns[at].stage = Stage::Secure;
                    self.due(self.now + round_trip, Due::Advance(link));
                }
            }
            Stage::Secure => {
                if self.servers[server].manners.greeting.is_server() {
                    self.conns[at].stage = Stage::Greet;
                    self.inbox.push_back(Input::Connected { link });
                } else {
                    let failure = Failure::Tls("no TLS there".to_string());
                    self.inbox.push_back(Input::Failed { link, failure });
                }
            }
            Stage::Request => {
                let word = self.servers[server].greet(self.now, link, &self.berths[mount].config.path);
                self.conns[at].stage = Stage::Open;
                self.resume(at, Duration::ZERO);
                if !word.text.is_empty() {
                    self.conns[at].says.push_back(word.text);
                    self.due(self.now + round_trip / 2, Due::Say(link));
                }
                match word.then {
                    Then::Take => {
                        self.conns[at].taken = true;
                        self.due(self.now + SOURCE_TIMEOUT, Due::SourceTimeout(server, link));
                    }
                    Then::Discard => {}
                    Then::Close => self.break_off(at, None),
                }
            }
            Stage::Greet | Stage::Open => {}
        }
    }

    fn say(&mut self, link: LinkId) {
        let Some(at) = self.at(link) else { return };
        let conn = &mut self.conns[at];
        if !self.paths[conn.server].to_box {
            return;
        }
        let Some(text) = conn.says.pop_front() else { return };
        let mut bytes = text.as_bytes();
        while let Some(reply) = conn.reader.feed(bytes) {
            self.inbox.push_back(Input::Replied { link, reply });
            bytes = b"";
        }
    }

    fn broken(&mut self, link: LinkId) {
        let Some(at) = self.at(link) else { return };
        let conn = &mut self.conns[at];
        // A refusal by an address that is not the server's comes by another way.
        if !conn.gone || !(self.paths[conn.server].to_box || conn.stage == Stage::Reach) {
            return;
        }
        if let Some(reply) = conn.reader.finish() {
            self.inbox.push_back(Input::Replied { link, reply });
        }
        let failure = conn.failure.clone();
        self.inbox.push_back(match (conn.stage, failure) {
            (Stage::Reach | Stage::Secure, failure) => {
                Input::Failed { link, failure: failure.unwrap_or(Failure::Reset) }
            }
            (Stage::Greet | Stage::Request | Stage::Open, failure) => Input::Closed { link, failure },
        });
    }

    fn source_timeout(&mut self, server: usize, link: LinkId) {
        if !self.servers[server].manners.runs {
            return self.due(self.now + Duration::from_secs(1), Due::SourceTimeout(server, link));
        }
        let conn = self.at(link);
        if let Some(at) = conn {
            self.touch(at);
        }
        let read = conn.map(|at| self.conns[at].pipe.last_read);
        let Some(source) = self.servers[server].sources.iter().find(|source| source.link == Some(link))
        else {
            return;
        };
        let last = read.unwrap_or(source.last_read).max(source.since);
        if self.now.since(last) < SOURCE_TIMEOUT {
            return self.due(last + SOURCE_TIMEOUT, Due::SourceTimeout(server, link));
        }
        self.drop_source(server, link);
        if let Some(at) = conn {
            self.break_off(at, None);
        }
    }

    fn ask_arrives(&mut self, link: LinkId) {
        let Some(at) = self.asks.iter().position(|ask| ask.link == link) else { return };
        let (server, mount) = (self.asks[at].server, self.asks[at].mount);
        let manners = &self.servers[server].manners;
        self.asks[at].held = !self.paths[server].open() || !manners.runs;
        if self.asks[at].held {
            return;
        }
        if !manners.up {
            return self.inbox.push_back(Input::Failed { link, failure: Failure::ConnectionRefused });
        }
        let question = match &self.asks[at].wants {
            Wants::Answer(question) => question.clone(),
            Wants::Sound { .. } => return self.listen(at),
        };
        let answer = match question {
            Question::Probe { .. } => Some(self.probe(mount)),
            Question::Title | Question::Status { .. } => {
                let target = self.asks[at].target.as_deref().unwrap_or_default();
                let text = self.servers[server].page(self.now, target);
                text.map(|text| {
                    let mut reader = AnswerReader::new(question);
                    reader.feed(text.as_bytes());
                    reader.answer(None)
                })
            }
            // A server on which sources may do nothing else: no survey proves anything of it.
            Question::Source { path } => match self.servers[server].source(&path) {
                None => Some(Answer::NoSource),
                Some(_) => Some(Answer::Forbidden { status: 401 }),
            },
            Question::Evict => Some(Answer::Forbidden { status: 401 }),
        };
        if answer.is_some() {
            self.asks[at].answer = answer;
            self.due(self.now + self.paths[server].latency, Due::AskAnswered(link));
        }
    }

    /// A listener that stays: what the server has read since the last look. Without a source of ours he is sent away.
    fn listen(&mut self, at: usize) {
        let (link, mount, server) = (self.asks[at].link, self.asks[at].mount, self.asks[at].server);
        let berth = &self.berths[mount];
        let source = self.servers[server].source(&berth.config.path).and_then(|source| source.link);
        let Some(conn) = source.and_then(|source| self.at(source)) else {
            return self.inbox.push_back(Input::Closed { link, failure: None });
        };
        self.touch(conn);
        let pipe = &self.conns[conn].pipe;
        let heard = self.wards[mount].place(pipe.written - pipe.read);
        let rendition = self.core.rendition(&self.berths[mount].config.rendition);
        if let (Some(end), Some(rendition), Wants::Sound { upto }) =
            (heard, rendition, &mut self.asks[at].wants)
            && end > *upto
        {
            let from = std::mem::replace(upto, end);
            self.inbox.push_back(Input::Heard { link, rendition, from, upto: end });
        }
        self.due(self.now + TURN, Due::AskArrives(link));
    }

    /// What a listener of the mount gets.
    fn probe(&mut self, mount: usize) -> Answer {
        let berth = &self.berths[mount];
        let server = &self.servers[berth.server];
        let path = &berth.config.path;
        if !server.manners.greeting.is_server() {
            return Answer::HeardNothing { status: 0 };
        }
        match server.source(path).map(|source| source.link) {
            None => Answer::HeardNothing { status: 404 },
            Some(None) => Answer::HeardForeign,
            Some(Some(link)) => match self.at(link) {
                Some(at) => {
                    self.touch(at);
                    Answer::Heard { upto: BytePos(self.conns[at].pipe.read) }
                }
                None => Answer::HeardNothing { status: 200 },
            },
        }
    }

    /// Verified is said on the server's word alone, and not while somebody else had the mount when it gave that word.
    fn may_be_verified(&self, number: usize) -> Result<(), Broken> {
        let (ward, berth) = (&self.wards[number], &self.berths[number]);
        let travel = self.paths[berth.server].round_trip() * 2;
        match self.servers[berth.server].source(&berth.config.path) {
            Some(source) if source.link.is_none() && self.now.since(source.since) > travel => Err(format!(
                "{}: called verified while somebody else holds it since {}",
                ward.name, source.since
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Live is said once a server said yes and bytes are acknowledged.
    fn may_be_live(&self, number: usize, from: MountState) -> Result<(), Broken> {
        let ward = &self.wards[number];
        let conn = self.conns.iter().find(|conn| Some(conn.link) == ward.source);
        match conn {
            Some(conn) if conn.pipe.acked > 0 && conn.welcomed => Ok(()),
            // A list that showed the mount and does not any more leaves it live: it was proven once.
            Some(conn) if conn.pipe.acked > 0 && from == MountState::Verified => Ok(()),
            Some(_) | None => Err(format!("{}: called live without the server's yes", ward.name)),
        }
    }
}
