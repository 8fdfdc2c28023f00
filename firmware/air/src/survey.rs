//! Surveys: the sockets of [`delivery::survey`]. Each runs as a task of its own, over one uplink, and ends with the client that
//! asked for it; it decides nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use delivery::config::{Method, MountConfig, MountId, Server, ServerKind, Station as Words, Trust};
use delivery::event::{Failure, Reply as Said, Talk, Tls, UplinkId, Verdict};
use delivery::survey::{Answer, Plan, Question, Raw, Slot, Survey, Until, is_whole, sound};
use delivery::wire::ReplyReader;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use units::snapshot::{Reply, Role, SurveyOrder, UplinkState};
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

use crate::driver::Driver;
use crate::link::{Way, connect, send};
use crate::station::{OffAir, Station};
use crate::uplink::Uplinks;
use crate::wire::{Wire, io_failure};

/// Begins a survey; its replies come one after the other, the report last. It ends when nobody takes them any more.
pub(crate) fn survey(station: &Rc<Station>, order: SurveyOrder) -> mpsc::Receiver<Reply> {
    let (replies, taken) = mpsc::channel(4);
    let station = Rc::clone(station);
    tokio::task::spawn_local(async move {
        let last = tokio::select! {
            last = run(&station, order, &replies) => last,
            // Whoever asked has hung up.
            () = replies.closed() => return,
        };
        // A client that goes away at the end is nobody's trouble.
        let _ = replies.send(last).await;
    });
    taken
}

async fn run(station: &Rc<Station>, order: SurveyOrder, replies: &mpsc::Sender<Reply>) -> Reply {
    let Ok(_turn) = station.surveying.try_lock() else {
        return Reply::Refused { why: "another survey is under way; wait for its end".to_string() };
    };
    let driver = station.driver();
    let (plan, output) = match plan(station, &order) {
        Ok(plan) => plan,
        Err(why) => return Reply::Refused { why },
    };
    let uplink = match uplink(station, order.uplink.as_deref()) {
        Ok(uplink) => uplink,
        Err(why) => return Reply::Refused { why },
    };
    let server = &plan.primary.server;
    let tls = server.tls.clone().map(|trust| Tls { name: server.host.clone(), trust });
    let mut edge = Edge {
        station: Rc::clone(station),
        uplinks: driver.edge(),
        driver,
        uplink,
        tls,
        host: server.host.clone(),
        port: server.port,
        address: None,
        output,
        sources: HashMap::new(),
        listener: None,
        off_air: None,
    };
    let mut survey = Survey::new(plan);
    let mut told = "";
    while let Some(question) = survey.ask() {
        if told != survey.doing() {
            told = survey.doing();
            // Gone clients end the survey by themselves.
            let _ = replies.send(Reply::Surveying { what: told.to_string() }).await;
        }
        let mut answer = std::pin::pin!(edge.answer(question));
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                // So that nobody takes patience for a hang.
                () = tokio::time::sleep(STILL) => {
                    let _ = replies.send(Reply::Surveying { what: format!("still {told}") }).await;
                }
            }
        };
        survey.answer(answer);
    }
    Reply::Surveyed(survey.report())
}

/// What the order means: an output of the settings, or a mount somewhere. With the output's name if this box feeds it.
fn plan(station: &Station, order: &SurveyOrder) -> Result<(Plan, Option<String>), String> {
    let settings = station.settings();
    let agent = format!("Mainstay/{} (survey)", env!("CARGO_PKG_VERSION"));
    let plan = |primary: MountConfig, fallback: Option<MountConfig>, login, fed: bool| {
        let bits = [Some(&primary), fallback.as_ref()].into_iter().flatten();
        let bits = bits.map(|mount| mount.rendition.bitrate.bits()).max().unwrap_or(0);
        let (careful, slow) = (order.careful, order.slow);
        Plan {
            primary,
            fallback,
            login,
            bits,
            careful,
            slow,
            fed,
            may_take_off: order.off_air,
            agent: agent.clone(),
        }
    };
    if order.target.contains("://") {
        let primary = stranger(order)?;
        let fallback = match &order.fallback {
            Some(path) if path.starts_with('/') => {
                let id = MountId { role: Role::Fallback, ..primary.id.clone() };
                Some(MountConfig { id, path: path.clone(), ..primary.clone() })
            }
            Some(_) => return Err("write the fallback's path, as in --fallback /live_fallback".to_string()),
            None => None,
        };
        // The same mounts under another name are still ours, and on air.
        let theirs = |mount: &&MountConfig| {
            let same = mount.server.host == primary.server.host && mount.server.port == primary.server.port;
            same && (mount.path == primary.path
                || fallback.as_ref().is_some_and(|other| other.path == mount.path))
        };
        if let Some(mount) = settings.mounts.iter().find(theirs) {
            let name = &mount.id.output;
            return Err(format!("this box feeds that mount itself: mainstay survey {name}"));
        }
        return Ok((plan(primary, fallback, order.password.is_some(), false), None));
    }
    let find = |role| {
        let wanted = MountId { output: order.target.clone(), role };
        settings.mounts.iter().find(|mount| mount.id == wanted).cloned()
    };
    let (primary, fallback) = (find(Role::Primary), find(Role::Fallback));
    let Some((primary, fallback)) = primary.map(|primary| (primary, fallback)) else {
        let mut names: Vec<&str> = settings.outputs.iter().map(|output| output.name.as_str()).collect();
        names.dedup();
        let known = if names.is_empty() {
            "there are none".to_string()
        } else {
            format!("there are {}", names.join(", "))
        };
        return Err(format!(
            "no output of the settings with a primary is called {:?} ({known}); for a server that is not in the settings write an address such as http://stream.example.org:8000/live",
            order.target
        ));
    };
    Ok((plan(primary, fallback, true, true), Some(order.target.clone())))
}

/// A mount that is not in the settings.
fn stranger(order: &SurveyOrder) -> Result<MountConfig, String> {
    let wrong = || {
        "write an address such as http://stream.example.org:8000/live, without user or password".to_string()
    };
    let (scheme, rest) = order.target.split_once("://").ok_or_else(wrong)?;
    let tls = match scheme {
        "http" => None,
        "https" => Some(Trust::System),
        _ => return Err(wrong()),
    };
    let harmless = |c: char| c.is_ascii_graphic() && !"@?#\"<>\\^`{|}".contains(c);
    if !rest.chars().all(harmless) {
        return Err(wrong());
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let bare = authority.strip_prefix('[').and_then(|inner| inner.split_once(']'));
    let (host, port) = match bare {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
        None if tls.is_some() => 443,
        None => 80,
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let bitrate = BitRate::from_kbit(order.kbit.unwrap_or(ASSUMED_KBIT)).ok_or("a bitrate is not 0")?;
    Ok(MountConfig {
        id: MountId { output: "survey".to_string(), role: Role::Primary },
        server: Server {
            kind: ServerKind::Icecast,
            host: host.to_ascii_lowercase(),
            port,
            tls,
            method: Method::Put,
        },
        path: if path.is_empty() { "/".to_string() } else { path.to_string() },
        user: order.user.clone().unwrap_or_else(|| "source".to_string()),
        password: order.password.clone().unwrap_or_default(),
        rendition: Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate,
        },
        station: Words::default(),
        longest_lag: Duration::ZERO,
    })
}

/// The uplink of that name; else the first that is up, or the first.
fn uplink(station: &Station, name: Option<&str>) -> Result<Option<UplinkId>, String> {
    let reports = station.driver().uplinks();
    let place = match name {
        Some(name) => {
            let place = reports.iter().position(|uplink| uplink.name == name);
            Some(place.ok_or_else(|| format!("no uplink of the settings is called {name:?}"))?)
        }
        None if reports.is_empty() => None,
        None => Some(reports.iter().position(|uplink| uplink.state == UplinkState::Up).unwrap_or(0)),
    };
    Ok(place.and_then(|place| u8::try_from(place).ok()).map(UplinkId))
}

/// What a survey touches.
struct Edge {
    station: Rc<Station>,
    driver: Driver,
    uplinks: Uplinks,
    uplink: Option<UplinkId>,
    tls: Option<Tls>,
    host: String,
    port: u16,
    /// One server for the whole survey, whatever its name resolves to meanwhile.
    address: Option<SocketAddr>,
    output: Option<String>,
    sources: HashMap<Slot, Source>,
    listener: Option<Wire>,
    off_air: Option<OffAir>,
}

/// A source that was taken. Dropping it ends its connection.
struct Source {
    task: AbortHandle,
    /// How long after its last byte the server ended it.
    ended: oneshot::Receiver<Duration>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Edge {
    async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Fetch { request, most, patience } => {
                Answer::Page(self.fetch(&request, most, patience).await)
            }
            Question::Open { slot, request, talk, at_once, pace, patience } => {
                Answer::Source(self.open(slot, request, talk, at_once, pace, patience).await)
            }
            Question::Listen { request, patience } => Answer::Page(self.listen(&request, patience).await),
            Question::Hear { needle, quiet, patience } => {
                let Some(wire) = &mut self.listener else { return Answer::Heard(Vec::new()) };
                Answer::Heard(hear(wire, &needle, quiet, patience).await)
            }
            Question::Ended { slot, patience } => {
                let Some(source) = self.sources.get_mut(&slot) else { return Answer::Ended(None) };
                Answer::Ended(timeout(patience, &mut source.ended).await.ok().and_then(Result::ok))
            }
            Question::Close { slot } => {
                self.sources.remove(&slot);
                Answer::Done
            }
            Question::Leave => {
                self.listener = None;
                Answer::Done
            }
            Question::TakeOff => {
                if let Some(output) = &self.output {
                    self.off_air = Some(Station::off_air(&self.station, output));
                }
                Answer::Done
            }
            Question::Pause(time) => {
                tokio::time::sleep(time).await;
                Answer::Done
            }
        }
    }

    async fn fetch(&mut self, request: &[u8], most: usize, patience: Duration) -> Result<Raw, Failure> {
        let end = Instant::now() + patience;
        let mut wire = self.connect(end).await?;
        let stream = match tokio::time::timeout_at(end, send(&mut wire, request)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(Failure::TimedOut),
        };
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 8192];
        let until = loop {
            if is_whole(&bytes, most) {
                break Until::Whole;
            }
            match wire.receive(&mut buffer) {
                Ok(Some(0)) | Err(_) => break Until::Closed,
                Ok(Some(count)) => bytes.extend_from_slice(&buffer[..count]),
                Ok(None) => match tokio::time::timeout_at(end, stream.readable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break Until::Closed,
                    Err(_) => break Until::Patience,
                },
            }
            if Instant::now() >= end {
                break Until::Patience;
            }
        };
        Ok(Raw { bytes, until })
    }

    async fn listen(&mut self, request: &[u8], patience: Duration) -> Result<Raw, Failure> {
        self.listener = None;
        let end = Instant::now() + patience;
        let mut wire = self.connect(end).await?;
        let stream = match tokio::time::timeout_at(end, send(&mut wire, request)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(Failure::TimedOut),
        };
        let mut bytes = Vec::new();
        let mut buffer = [0; 1024];
        let until = loop {
            if is_whole(&bytes, 0) {
                break Until::Whole;
            }
            match wire.receive(&mut buffer) {
                Ok(Some(0)) | Err(_) => break Until::Closed,
                Ok(Some(count)) => bytes.extend_from_slice(&buffer[..count]),
                Ok(None) => match tokio::time::timeout_at(end, stream.readable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break Until::Closed,
                    Err(_) => break Until::Patience,
                },
            }
        };
        self.listener = Some(wire);
        Ok(Raw { bytes, until })
    }

    async fn open(
        &mut self,
        slot: Slot,
        request: Vec<u8>,
        talk: Talk,
        at_once: u64,
        pace: u32,
        patience: Duration,
    ) -> Result<Said, Failure> {
        self.sources.remove(&slot);
        let end = Instant::now() + patience;
        let mut wire = self.connect(end).await?;
        let said = match tokio::time::timeout_at(end, greet(&mut wire, &request, talk)).await {
            Ok(said) => said?,
            Err(_) => return Err(Failure::TimedOut),
        };
        if said.verdict == Verdict::Go {
            let (first, sent) = oneshot::channel();
            let (over, ended) = oneshot::channel();
            let task = tokio::task::spawn_local(feed(wire, slot, at_once, pace, first, over)).abort_handle();
            self.sources.insert(slot, Source { task, ended });
            // A server that is slow to take it all has said yes nevertheless.
            let _ = tokio::time::timeout_at(end, sent).await;
        }
        Ok(said)
    }

    async fn connect(&mut self, end: Instant) -> Result<Wire, Failure> {
        let attempt = async {
            let addresses = match self.address {
                Some(address) => vec![address],
                None => {
                    let found = self.uplinks.resolve(self.uplink, &self.host).await?;
                    found.into_iter().map(|address| SocketAddr::new(address, self.port)).collect()
                }
            };
            let mut failure = Failure::NoSuchName;
            for address in addresses {
                let way = Way {
                    uplinks: self.uplinks.clone(),
                    uplink: self.uplink,
                    address,
                    tls: self.tls.clone(),
                };
                match timeout(CONNECT, connect(&self.driver, None, way)).await {
                    Ok(Ok(wire)) => return Ok((address, wire)),
                    Ok(Err(why)) => failure = why,
                    Err(_) => failure = Failure::TimedOut,
                }
            }
            Err(failure)
        };
        match tokio::time::timeout_at(end, attempt).await {
            Ok(outcome) => {
                let (address, wire) = outcome?;
                self.address = Some(address);
                Ok(wire)
            }
            Err(_) => Err(Failure::TimedOut),
        }
    }
}

/// Sends a source's head and reads the first reply.
async fn greet(wire: &mut Wire, request: &[u8], talk: Talk) -> Result<Said, Failure> {
    let stream = send(wire, request).await?;
    let mut reader = ReplyReader::new(talk);
    let mut buffer = [0; 2048];
    loop {
        match wire.receive(&mut buffer)? {
            None => stream.readable().await.map_err(|error| io_failure(&error))?,
            Some(0) => return reader.finish().ok_or(Failure::Reset),
            Some(count) => {
                if let Some(said) = reader.feed(&buffer[..count]) {
                    return Ok(said);
                }
            }
        }
    }
}

/// Feeds a source until the server ends it: so many bytes at once, then at a pace.
async fn feed(
    mut wire: Wire,
    slot: Slot,
    at_once: u64,
    pace: u32,
    first: oneshot::Sender<()>,
    over: oneshot::Sender<Duration>,
) {
    let stream = Rc::clone(&wire.stream);
    let began = Instant::now();
    let (mut first, mut at, mut last) = (Some(first), 0, began);
    let mut buffer = [0; 2048];
    loop {
        let due = at_once + began.elapsed().as_millis() as u64 * u64::from(pace) / 1000;
        let part = sound(slot, at, due.saturating_sub(at).min(MOST_AT_ONCE) as usize);
        let full = match wire.send_body(&part, &[]) {
            Ok((taken, full)) => {
                at += u64::from(taken);
                if taken > 0 {
                    last = Instant::now();
                }
                full
            }
            Err(_) => break,
        };
        if at >= at_once
            && !wire.owes()
            && let Some(first) = first.take()
        {
            // Whoever waited may have lost patience.
            let _ = first.send(());
        }
        match wire.receive(&mut buffer) {
            // 2.4 says 200 right after its 100; nothing else is said to a source.
            Ok(Some(1..)) => continue,
            Ok(Some(0)) | Err(_) => break,
            Ok(None) => {}
        }
        if at < due && !full {
            continue;
        }
        tokio::select! {
            outcome = stream.readable() => if outcome.is_err() { break },
            outcome = stream.writable(), if full => if outcome.is_err() { break },
            () = tokio::time::sleep(TURN), if (pace > 0 || first.is_some()) && !full => {}
        }
    }
    let _ = over.send(last.elapsed());
}

/// Listens until `needle` was heard, or nothing came for a while, or time is up.
async fn hear(wire: &mut Wire, needle: &[u8], quiet: Duration, patience: Duration) -> Vec<u8> {
    let stream = Rc::clone(&wire.stream);
    let end = Instant::now() + patience;
    let mut heard = Vec::new();
    let mut buffer = vec![0; 16_384];
    loop {
        match wire.receive(&mut buffer) {
            Ok(Some(0)) | Err(_) => break,
            Ok(Some(count)) => {
                heard.extend_from_slice(&buffer[..count]);
                let found = !needle.is_empty() && heard.windows(needle.len()).any(|window| window == needle);
                if found || heard.len() >= MOST_HEARD || Instant::now() >= end {
                    break;
                }
            }
            Ok(None) => {
                let until = end.min(Instant::now() + quiet);
                match tokio::time::timeout_at(until, stream.readable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => break,
                }
            }
        }
    }
    heard
}

const CONNECT: Duration = Duration::from_secs(3);
const STILL: Duration = Duration::from_secs(10);
const TURN: Duration = Duration::from_millis(50);
const MOST_AT_ONCE: u64 = 16 * 1024;
/// More than any burst that is sent for; a stream does not end by itself.
const MOST_HEARD: usize = 1024 * 1024;
/// What an address without a bitrate is taken to carry.
const ASSUMED_KBIT: u32 = 320;
