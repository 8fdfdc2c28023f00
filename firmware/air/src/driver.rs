//! The delivery driver: it owns every socket, hands packets and events to the sans-IO core, and turns what the core asks for
//! into bytes. It decides nothing.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use delivery::config::MountId;
use delivery::event::{Answer, Failure, Order, Question, RenditionId, Telling, Tls, Transition, UplinkId};
use delivery::recording::{Recorder, Recording};
use delivery::wire::{AnswerReader, ListenReader, Piece};
use delivery::{Backlog, Config, Delivery, Input, LinkId, Output};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use units::snapshot::{OutputReport, UplinkReport};
use units::{BytePos, Frames, Instant, Rendition};

use crate::archive::Archive;
use crate::clock;
use crate::link::{self, Source, Way};
use crate::tls::{Judge, Opening};
use crate::uplink::Uplinks;
use crate::wire::{Wire, io_failure};

/// A handle to the one driver; cheap to clone, for one thread only.
#[derive(Clone)]
pub(crate) struct Driver(Rc<Shared>);

struct Shared {
    state: RefCell<State>,
    /// The core wants to be woken earlier than it was going to be.
    earlier: Notify,
    /// A hand-over has something to tell.
    told: Notify,
    /// Takes what it records of the packets that pass.
    archive: Archive,
}

struct State {
    core: Delivery,
    recorder: Recorder,
    backlogs: Vec<Backlog>,
    sources: HashMap<LinkId, Rc<Source>>,
    tasks: HashMap<LinkId, AbortHandle>,
    /// Questions whose connection waits for the request.
    requests: HashMap<LinkId, oneshot::Sender<Vec<u8>>>,
    uplinks: Uplinks,
    /// Names being looked up, and who asked.
    names: HashMap<(String, Option<UplinkId>), Vec<LinkId>>,
    judge: Judge,
    armed: Option<Instant>,
    /// Inputs that follow from one another; kept, so that a packet costs no allocation.
    inputs: VecDeque<Input>,
    /// Bytes and packets of each rendition, for the report.
    packets: Vec<u64>,
    /// A packet that the core has not heard of.
    newest: Option<Newest>,
    /// How many titles there were.
    titled: u64,
}

/// A packet whose bytes are in the backlog.
struct Newest {
    rendition: RenditionId,
    end: BytePos,
    frames: Frames,
    entry: bool,
}

impl Newest {
    fn produced(&self, more: bool) -> Input {
        let Self { rendition, end, frames, entry } = *self;
        Input::Produced { rendition, end, frames, entry, more }
    }
}

/// What one rendition has come to.
pub(crate) struct Encoded {
    pub rendition: Rendition,
    pub packets: u64,
    pub bytes: u64,
}

impl Driver {
    pub(crate) fn new(judge: Judge, uplinks: Uplinks, archive: Archive) -> Self {
        let state = State {
            core: Delivery::new(),
            recorder: Recorder::new(),
            backlogs: Vec::new(),
            sources: HashMap::new(),
            tasks: HashMap::new(),
            requests: HashMap::new(),
            uplinks,
            names: HashMap::new(),
            judge,
            armed: None,
            inputs: VecDeque::new(),
            packets: Vec::new(),
            newest: None,
            titled: 0,
        };
        let (earlier, told) = (Notify::new(), Notify::new());
        Self(Rc::new(Shared { state: RefCell::new(state), earlier, told, archive }))
    }

    /// Hands one input to the core and carries out all that follows from it.
    pub(crate) fn feed(&self, input: Input) {
        let now = clock::now();
        let mut state = self.0.state.borrow_mut();
        let mut inputs = std::mem::take(&mut state.inputs);
        state.titled += u64::from(matches!(input, Input::Title(_)));
        inputs.push_back(input);
        while let Some(input) = inputs.pop_front() {
            let State { core, recorder, .. } = &mut *state;
            recorder.input(now, core, &input);
            core.handle(now, &input);
            while let Some(output) = state.core.poll() {
                state.recorder.output(&output);
                if let Some(more) = self.carry_out(&mut state, now, output) {
                    inputs.push_back(more);
                }
            }
        }
        state.inputs = inputs;
        let wakeup = state.core.wakeup();
        // With nothing armed (no mounts until now) any time is earlier.
        if let Some(wakeup) = wakeup
            && state.armed.is_none_or(|armed| wakeup < armed)
        {
            self.0.earlier.notify_one();
        }
    }

    pub(crate) fn configure(&self, config: Config) {
        self.0.state.borrow().uplinks.configure(&config.uplinks);
        self.feed(Input::Configure(Box::new(config)));
        let mut state = self.0.state.borrow_mut();
        let State { core, backlogs, packets, .. } = &mut *state;
        for rendition in core.renditions().skip(backlogs.len()).copied().collect::<Vec<_>>() {
            backlogs.push(Backlog::new(&rendition));
            packets.push(0);
        }
    }

    /// One packet of a rendition. Packets of renditions that no mount carries are dropped. The core hears of it with the
    /// next one, or with [`Driver::packets_end`]: packets that come together are written together.
    pub(crate) fn packet(&self, rendition: &Rendition, bytes: &[u8], frames: Frames, entry: bool) {
        self.0.archive.packet(rendition, bytes, frames);
        let mut state = self.0.state.borrow_mut();
        let Some(id) = state.core.rendition(rendition) else { return };
        let place = usize::from(id.0);
        let Some(backlog) = state.backlogs.get_mut(place) else { return };
        let end = backlog.push(bytes);
        state.packets[place] += 1;
        let before = state.newest.replace(Newest { rendition: id, end, frames, entry });
        drop(state);
        if let Some(before) = before {
            self.feed(before.produced(before.rendition == id));
        }
    }

    /// No further packet follows at once.
    pub(crate) fn packets_end(&self) {
        let newest = self.0.state.borrow_mut().newest.take();
        if let Some(newest) = newest {
            self.feed(newest.produced(false));
        }
    }

    /// The log recording.
    pub(crate) fn archive(&self) -> &Archive {
        &self.0.archive
    }

    /// Waits until the core wants to be ticked, and ticks it. Returns early, without a tick, when an earlier time came up.
    pub(crate) async fn tick(&self) {
        let wakeup = {
            let mut state = self.0.state.borrow_mut();
            state.armed = state.core.wakeup();
            state.armed
        };
        match wakeup {
            None => self.0.earlier.notified().await,
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(clock::tokio_instant(at)) => {
                    // Without anything due the timer was only armed early; the core is not troubled.
                    let due = self.0.state.borrow().core.wakeup().is_some_and(|wakeup| wakeup <= clock::now());
                    if due {
                        self.feed(Input::Tick);
                    }
                }
                () = self.0.earlier.notified() => {}
            },
        }
    }

    pub(crate) fn connected(&self, link: LinkId, source: &Rc<Source>) {
        self.0.state.borrow_mut().sources.insert(link, Rc::clone(source));
        self.feed(Input::Connected { link });
    }

    /// A name was looked up: who asked for it.
    pub(crate) fn resolved(&self, asked: &(String, Option<UplinkId>)) -> Vec<LinkId> {
        self.0.state.borrow_mut().names.remove(asked).unwrap_or_default()
    }

    pub(crate) fn judge(&self, tls: &Tls) -> Result<Opening, Failure> {
        self.0.state.borrow_mut().judge.open(tls)
    }

    pub(crate) fn understand(&self, reader: &AnswerReader, question: &Question) -> Answer {
        let state = self.0.state.borrow();
        let backlog = match question {
            Question::Probe { rendition } => state.backlogs.get(usize::from(rendition.0)),
            Question::Title | Question::Status { .. } | Question::Source { .. } | Question::Evict => None,
        };
        reader.answer(backlog)
    }

    /// What of these renditions a listener connection of ours heard.
    pub(crate) fn follow(
        &self,
        reader: &mut ListenReader,
        bytes: &[u8],
        renditions: &[RenditionId],
    ) -> Option<Vec<Piece>> {
        let state = self.0.state.borrow();
        let known: Vec<_> =
            renditions.iter().filter_map(|&id| Some((id, state.backlogs.get(usize::from(id.0))?))).collect();
        reader.feed(bytes, &known)
    }

    pub(crate) fn report(&self) -> Vec<OutputReport> {
        self.0.state.borrow().core.report()
    }

    /// Whether an order can be carried out now; why not, if not.
    pub(crate) fn may(&self, order: &Order) -> Result<(), String> {
        self.0.state.borrow().core.may(order)
    }

    /// The edge of uplinks, for sockets beside the core's.
    pub(crate) fn edge(&self) -> Uplinks {
        self.0.state.borrow().uplinks.clone()
    }

    pub(crate) fn uplinks(&self) -> Vec<UplinkReport> {
        self.0.state.borrow().core.uplinks()
    }

    /// Waits until a hand-over has something to tell. For one who waits.
    pub(crate) async fn told(&self) {
        self.0.told.notified().await;
    }

    /// The connection of a mount's source, while there is one.
    pub(crate) fn source(&self, mount: &MountId) -> Option<Rc<Source>> {
        let state = self.0.state.borrow();
        state.sources.get(&state.core.source(mount)?).map(Rc::clone)
    }

    pub(crate) fn rendition(&self, rendition: &Rendition) -> Option<RenditionId> {
        self.0.state.borrow().core.rendition(rendition)
    }

    /// As [`Delivery::packet_at`].
    pub(crate) fn packet_at(&self, rendition: RenditionId, at: BytePos) -> Option<(Frames, BytePos)> {
        self.0.state.borrow().core.packet_at(rendition, at)
    }

    /// As [`Delivery::packet_after`].
    pub(crate) fn packet_after(&self, rendition: RenditionId, frames: Frames) -> Option<BytePos> {
        self.0.state.borrow().core.packet_after(rendition, frames)
    }

    /// The way to an address through an uplink.
    pub(crate) fn way(&self, uplink: Option<UplinkId>, address: SocketAddr, tls: Option<Tls>) -> Way {
        self.0.state.borrow().way(uplink, address, tls)
    }

    pub(crate) fn title(&self) -> Option<String> {
        self.0.state.borrow().core.title().map(str::to_string)
    }

    /// The title, if there was another one since it was asked for with this `seen`; empty if there is none any more.
    pub(crate) fn title_since(&self, seen: &mut u64) -> Option<String> {
        let state = self.0.state.borrow();
        let newer = std::mem::replace(seen, state.titled) != state.titled;
        newer.then(|| state.core.title().unwrap_or_default().to_string())
    }

    pub(crate) fn encoded(&self) -> Vec<Encoded> {
        let state = self.0.state.borrow();
        state
            .core
            .renditions()
            .zip(&state.backlogs)
            .zip(&state.packets)
            .map(|((rendition, backlog), &packets)| Encoded {
                rendition: *rendition,
                packets,
                bytes: backlog.end().0,
            })
            .collect()
    }

    pub(crate) fn recording(&self) -> Recording {
        self.0.state.borrow().recorder.export()
    }

    /// Does what the core asked for; what is known at once comes back as an input.
    fn carry_out(&self, state: &mut State, now: Instant, output: Output) -> Option<Input> {
        match output {
            Output::Write { link, rendition, from, to } => {
                let source = state.sources.get(&link)?;
                let (first, second) = state.backlogs.get(usize::from(rendition.0))?.bytes(from, to);
                let mut wire = source.wire.borrow_mut();
                // Asked before the write: what it just took cannot be acknowledged yet.
                let acked = wire.acked_lately(now);
                let outcome = wire.send_body(first, second);
                Some(written(source, &mut wire, link, acked, outcome))
            }
            Output::Measure { link } => {
                let (acked, path) = state.sources.get(&link)?.wire.borrow_mut().measure();
                Some(Input::Measured { link, acked, path })
            }
            Output::Fill { link, bytes } => {
                let source = state.sources.get(&link)?;
                let mut wire = source.wire.borrow_mut();
                let acked = wire.acked_lately(now);
                let filler = &FILLER[..FILLER.len().min(bytes as usize)];
                let outcome = wire.send_body(filler, &[]);
                Some(written(source, &mut wire, link, acked, outcome))
            }
            Output::Send { link, bytes } => {
                let source = state.sources.get(&link)?;
                let failure = source.wire.borrow_mut().send_head(&bytes).err()?;
                Some(Input::Closed { link, failure: Some(io_failure(&failure)) })
            }
            Output::Head { link, rendition, at, after } => {
                let source = state.sources.get(&link)?;
                let head = state.backlogs.get(usize::from(rendition.0))?.head(at, after);
                let failure = source.wire.borrow_mut().send_head(head).err()?;
                Some(Input::Closed { link, failure: Some(io_failure(&failure)) })
            }
            Output::Resolve { link, uplink, host } => {
                let asked = (host, uplink);
                if let Some(asking) = state.names.get_mut(&asked) {
                    asking.push(link);
                } else {
                    state.names.insert(asked.clone(), vec![link]);
                    let uplinks = state.uplinks.clone();
                    tokio::task::spawn_local(link::resolve(self.clone(), uplinks, asked));
                }
                None
            }
            Output::Connect { link, uplink, address, tls, talk, kept } => {
                let way = state.way(uplink, address, tls);
                self.spawn(state, link, link::source(self.clone(), link, way, talk, kept))
            }
            Output::Ask { link, uplink, address, tls, request, question, patience } => {
                let way = state.way(uplink, address, tls);
                let (sender, receiver) = oneshot::channel();
                match request {
                    Some(request) => drop(sender.send(request)),
                    None => drop(state.requests.insert(link, sender)),
                }
                let request = async { receiver.await.ok() };
                self.spawn(state, link, link::ask(self.clone(), link, way, request, question, patience))
            }
            Output::Request { link, request } => {
                // A question that failed meanwhile has said so.
                let _ = state.requests.remove(&link)?.send(request);
                None
            }
            Output::Listen { link, uplink, address, tls, request, renditions } => {
                let way = state.way(uplink, address, tls);
                self.spawn(state, link, link::listen(self.clone(), link, way, request, renditions))
            }
            Output::Close { link } => {
                // A look-up goes on for others, or for the next attempt; it answers nobody who has left.
                state.names.values_mut().for_each(|asking| asking.retain(|&other| other != link));
                state.requests.remove(&link);
                if let Some(task) = state.tasks.remove(&link) {
                    task.abort();
                }
                if let Some(source) = state.sources.remove(&link) {
                    let wire = source.wire.borrow();
                    if wire.owes() {
                        crate::socket::reset_on_close(&wire.stream);
                    }
                }
                None
            }
            Output::Uplink(output) => {
                state.uplinks.carry_out(output);
                None
            }
            Output::Log(transition) => {
                say(&transition);
                None
            }
            Output::Tell(Telling { output, what, alarm }) => {
                self.0.told.notify_one();
                if alarm {
                    tracing::error!(%output, alarm = true, "{what}");
                } else {
                    tracing::info!(%output, "{what}");
                }
                None
            }
        }
    }

    fn spawn(
        &self,
        state: &mut State,
        link: LinkId,
        task: impl Future<Output = ()> + 'static,
    ) -> Option<Input> {
        // Finished tasks leave their handles behind; they are few and go with the next one.
        state.tasks.retain(|_, handle| !handle.is_finished());
        state.tasks.insert(link, tokio::task::spawn_local(task).abort_handle());
        None
    }
}

impl State {
    fn way(&self, uplink: Option<UplinkId>, address: SocketAddr, tls: Option<Tls>) -> Way {
        Way { uplinks: self.uplinks.clone(), uplink, address, tls }
    }
}

fn written(
    source: &Source,
    wire: &mut Wire,
    link: LinkId,
    acked: u64,
    outcome: io::Result<(u32, bool)>,
) -> Input {
    match outcome {
        Ok((bytes, blocked)) => {
            if blocked {
                source.full.notify_one();
            }
            Input::Wrote { link, bytes, acked, blocked }
        }
        // Its task reads the end in a moment, with what was acknowledged up to it.
        Err(error) if wire.was_ended(&error) => Input::Wrote { link, bytes: 0, acked, blocked: true },
        Err(error) => Input::Closed { link, failure: Some(io_failure(&error)) },
    }
}

/// What a body is filled up with: at most one of the server's blocks at a time. Bits in turns begin no packet of any codec, and
/// are not what encoders fill packets up with, which is zeros.
static FILLER: [u8; 1400] = [0xAA; 1400];

/// One line a transition, from one place.
fn say(transition: &Transition) {
    let Transition { mount, from, to, why, alarm } = transition;
    let (from, to) = (from.word(), to.word());
    if *alarm {
        tracing::error!(%mount, from, to, alarm = true, "{why}");
    } else if transition.to.on_air() || transition.to == units::snapshot::MountState::Accepted {
        tracing::info!(%mount, from, to, "{why}");
    } else {
        tracing::warn!(%mount, from, to, "{why}");
    }
}
