//! The life of one connection: a source's, or a question's. Each runs as a task of its own and tells the driver what happened.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use delivery::event::{Failure, Input, LinkId, Question, RenditionId, Talk, Tls, UplinkId};
use delivery::wire::{AnswerReader, ListenReader, Piece, ReplyReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::driver::Driver;
use crate::socket;
use crate::uplink::Uplinks;
use crate::wire::{STRAY, Wire, handshake, io_failure};

/// A connected source, shared by its task and the driver. Never borrowed across a wait.
pub(crate) struct Source {
    pub wire: RefCell<Wire>,
    /// The socket is full: the task is to say when it is not.
    pub full: Notify,
}

/// Looks a name up through an uplink, both families, and answers every attempt that asked for it meanwhile: a name server
/// that hangs is asked once, however many wait.
pub(crate) async fn resolve(driver: Driver, uplinks: Uplinks, asked: (String, Option<UplinkId>)) {
    let outcome = uplinks.resolve(asked.1, &asked.0).await;
    for link in driver.resolved(&asked) {
        driver.feed(match &outcome {
            Ok(addresses) => Input::Resolved { link, addresses: addresses.clone() },
            Err(failure) => Input::Failed { link, failure: failure.clone() },
        });
    }
}

/// Where a connection goes.
pub(crate) struct Way {
    pub uplinks: Uplinks,
    /// The uplink that it is bound to; `None`: whatever the routes say.
    pub uplink: Option<UplinkId>,
    pub address: SocketAddr,
    pub tls: Option<Tls>,
}

/// Connects a source, then reads what the server says until the end.
pub(crate) async fn source(driver: Driver, link: LinkId, way: Way, talk: Talk, kept: Duration) {
    let wire = match connect(&driver, Some((link, kept)), way).await {
        Ok(wire) => wire,
        Err(failure) => return driver.feed(Input::Failed { link, failure }),
    };
    let stream = Rc::clone(&wire.stream);
    let source = Rc::new(Source { wire: RefCell::new(wire), full: Notify::new() });
    driver.connected(link, &source);
    let reading = read_replies(&driver, link, &source, &stream, talk);
    let writing = wait_for_room(&driver, link, &source, &stream);
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

async fn read_replies(driver: &Driver, link: LinkId, source: &Source, stream: &TcpStream, talk: Talk) {
    let mut reader = ReplyReader::new(talk);
    let mut buffer = [0; 2048];
    loop {
        let failure = match stream.readable().await {
            Ok(()) => {
                let received = source.wire.borrow_mut().receive(&mut buffer);
                match received {
                    Ok(None) => continue,
                    Ok(Some(0)) => {
                        if let Some(reply) = reader.finish() {
                            driver.feed(Input::Replied { link, reply });
                        }
                        None
                    }
                    Ok(Some(count)) => {
                        let mut reply = reader.feed(&buffer[..count]);
                        while let Some(said) = reply {
                            driver.feed(Input::Replied { link, reply: said });
                            reply = reader.feed(&[]);
                        }
                        continue;
                    }
                    Err(failure) => Some(failure),
                }
            }
            Err(error) => Some(io_failure(&error)),
        };
        // A TLS close may be followed by a reset: the server had not read all that its kernel took.
        let more = failure.is_none() && source.wire.borrow().is_secured();
        if more {
            tokio::time::sleep(LAST_WORD).await;
        }
        let failure = {
            let mut wire = source.wire.borrow_mut();
            failure.or_else(|| wire.was_reset().then_some(Failure::Reset))
        };
        // What was acknowledged up to the end says where the listeners are.
        let (acked, path) = source.wire.borrow_mut().measure();
        driver.feed(Input::Measured { link, acked, path });
        return driver.feed(Input::Closed { link, failure });
    }
}

async fn wait_for_room(driver: &Driver, link: LinkId, source: &Source, stream: &TcpStream) {
    loop {
        source.full.notified().await;
        loop {
            if let Err(error) = stream.writable().await {
                return driver.feed(Input::Closed { link, failure: Some(io_failure(&error)) });
            }
            let flushed = source.wire.borrow_mut().flush();
            match flushed {
                Ok(true) => break,
                // The readiness was stale; it is cleared now, and the next wait is a real one.
                Ok(false) => {}
                // Whoever reads learns how it ended.
                Err(error) if source.wire.borrow_mut().was_ended(&error) => {
                    return std::future::pending().await;
                }
                Err(error) => return driver.feed(Input::Closed { link, failure: Some(io_failure(&error)) }),
            }
        }
        driver.feed(Input::Writable { link });
    }
}

/// Asks one question and reports its answer. The request may come later than the connection.
pub(crate) async fn ask(
    driver: Driver,
    link: LinkId,
    way: Way,
    request: impl Future<Output = Option<Vec<u8>>>,
    question: Question,
    patience: Duration,
) {
    let mut reader = AnswerReader::new(question.clone());
    let talk = talk(&driver, way, request, &mut reader);
    let outcome = tokio::time::timeout(patience, talk).await.unwrap_or(Err(Failure::TimedOut));
    let input = match outcome {
        Err(failure) if !reader.has_begun() => Input::Failed { link, failure },
        // What came before the end, however it came about, may be all there is to say.
        Ok(()) | Err(_) => Input::Answered { link, answer: driver.understand(&reader, &question) },
    };
    driver.feed(input);
}

async fn talk(
    driver: &Driver,
    way: Way,
    request: impl Future<Output = Option<Vec<u8>>>,
    reader: &mut AnswerReader,
) -> Result<(), Failure> {
    let mut wire = connect(driver, None, way).await?;
    let Some(request) = request.await else { return Ok(()) };
    let stream = send(&mut wire, &request).await?;
    let mut buffer = vec![0; 8192];
    loop {
        // What TLS has decrypted already does not make the socket readable again.
        match wire.receive(&mut buffer)? {
            None => stream.readable().await.map_err(|error| io_failure(&error))?,
            Some(0) => return Ok(()),
            Some(count) => {
                if reader.feed(&buffer[..count]) {
                    return Ok(());
                }
            }
        }
    }
}

/// Listens to a mount and tells what of ours is heard, until the server ends it.
pub(crate) async fn listen(
    driver: Driver,
    link: LinkId,
    way: Way,
    request: Vec<u8>,
    renditions: Vec<RenditionId>,
) {
    let tell = |_: usize, pieces: &[Piece]| {
        for &Piece { rendition, from, upto } in pieces {
            driver.feed(Input::Heard { link, rendition, from, upto });
        }
    };
    let failure = hear(&driver, way, &request, &renditions, tell).await.err();
    driver.feed(Input::Closed { link, failure });
}

/// Listens to a mount until the server ends it; each time bytes come, says how many they are and which of `renditions`.
pub(crate) async fn hear(
    driver: &Driver,
    way: Way,
    request: &[u8],
    renditions: &[RenditionId],
    mut heard: impl FnMut(usize, &[Piece]),
) -> Result<(), Failure> {
    let mut wire = connect(driver, None, way).await?;
    let stream = send(&mut wire, request).await?;
    let mut reader = ListenReader::new();
    let mut buffer = vec![0; 16_384];
    loop {
        match wire.receive(&mut buffer)? {
            None => stream.readable().await.map_err(|error| io_failure(&error))?,
            Some(0) => return Ok(()),
            Some(count) => {
                let Some(pieces) = driver.follow(&mut reader, &buffer[..count], renditions) else {
                    return Ok(());
                };
                heard(count, &pieces);
            }
        }
    }
}

pub(crate) async fn send(wire: &mut Wire, request: &[u8]) -> Result<Rc<TcpStream>, Failure> {
    let stream = Rc::clone(&wire.stream);
    wire.send_head(request).map_err(|error| io_failure(&error))?;
    while !wire.flush().map_err(|error| io_failure(&error))? {
        stream.writable().await.map_err(|error| io_failure(&error))?;
    }
    Ok(stream)
}

/// A busy server may do it to two in a row.
const STRAY_TRIES: usize = 4;
const LAST_WORD: Duration = Duration::from_millis(5);

pub(crate) async fn connect(
    driver: &Driver,
    source: Option<(LinkId, Duration)>,
    way: Way,
) -> Result<Wire, Failure> {
    let Way { uplinks, uplink, address, tls } = way;
    for _ in 0..STRAY_TRIES {
        let outcome = connect_once(driver, source, (&uplinks, uplink), address, tls.clone()).await;
        match outcome {
            Err(Failure::Tls(what)) if what == STRAY => {}
            other => return other,
        }
    }
    Err(Failure::Tls(STRAY.to_string()))
}

async fn connect_once(
    driver: &Driver,
    source: Option<(LinkId, Duration)>,
    (uplinks, uplink): (&Uplinks, Option<UplinkId>),
    address: SocketAddr,
    tls: Option<Tls>,
) -> Result<Wire, Failure> {
    let stream = open(address, uplinks, uplink).await.map_err(|error| io_failure(&error))?;
    if let Some((link, kept)) = source {
        socket::prepare_source(&stream, kept).map_err(|error| Failure::Local(error.to_string()))?;
        driver.feed(Input::Reached { link });
    }
    let secured = match tls {
        None => None,
        Some(tls) => {
            let (connection, date_ignored) = handshake(&stream, driver.judge(&tls)?).await?;
            if let Some((link, _)) = source.filter(|_| date_ignored) {
                driver.feed(Input::DateIgnored { link });
            }
            Some(connection)
        }
    };
    Ok(Wire::new(Rc::new(stream), secured))
}

async fn open(address: SocketAddr, uplinks: &Uplinks, uplink: Option<UplinkId>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    uplinks.bind(uplink, &socket)?;
    socket.connect(address).await
}
