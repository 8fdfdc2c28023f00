//! Bytes on one TCP connection, plain or TLS, without blocking; and which of them the peer acknowledged.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::sync::atomic::Ordering;

use delivery::event::{Failure, PathSight};
use rustls::ClientConnection;
use tokio::net::TcpStream;
use units::Instant;

use crate::{socket, tls};

/// A connected stream.
pub(crate) struct Wire {
    pub stream: std::rc::Rc<TcpStream>,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that the socket had no room for yet (ciphertext, or a request head).
    pending: Vec<u8>,
    /// Bytes that the socket took.
    sent: u64,
    /// Body bytes that were taken in, pending ones included.
    body: u64,
    /// After so many sent bytes, so many body bytes are out; oldest first. Plain connections need only the first.
    marks: VecDeque<(u64, u64)>,
    acked: u64,
    /// What the kernel's count of acknowledged bytes was when `sent` was zero.
    base: u64,
    looked_at: Instant,
    /// The peer reset the connection and had not ended it before.
    reset: bool,
}

impl Wire {
    pub(crate) fn new(stream: std::rc::Rc<TcpStream>, tls: Option<Box<ClientConnection>>) -> Self {
        // What is in the queue by now (the end of a handshake) will be acknowledged, too.
        let base = socket::TcpInfo::of(&stream).bytes_acked + socket::unacknowledged(&stream);
        Self {
            stream,
            tls,
            pending: Vec::new(),
            sent: 0,
            body: 0,
            marks: VecDeque::new(),
            acked: 0,
            base,
            looked_at: Instant::ZERO,
            reset: false,
        }
    }

    /// Sends what is no body: a request head, the header pages of a stream. What the socket does not take at once follows by
    /// [`Wire::flush`].
    pub(crate) fn send_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                encrypt(tls, &mut self.pending)?;
            }
            None => self.pending.extend_from_slice(bytes),
        }
        self.flush()?;
        if self.tls.is_none() {
            self.marks.clear();
            self.marks.push_back((self.sent + self.pending.len() as u64 - self.body, 0));
        }
        Ok(())
    }

    /// Takes body bytes until the socket is full; returns how many, and whether it is full now.
    pub(crate) fn send_body(&mut self, first: &[u8], second: &[u8]) -> io::Result<(u32, bool)> {
        self.flush()?;
        if !self.pending.is_empty() {
            return Ok((0, true));
        }
        let taken = if self.tls.is_some() {
            self.send_records(first, second)?
        } else {
            self.send_plain(first, second)?
        };
        self.body += taken as u64;
        let full = taken < first.len() + second.len() || !self.pending.is_empty();
        Ok((u32::try_from(taken).unwrap_or(u32::MAX), full))
    }

    fn send_plain(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let outcome = if second.is_empty() {
            self.stream.try_write(first)
        } else {
            self.stream.try_write_vectored(&[IoSlice::new(first), IoSlice::new(second)])
        };
        let taken = patient(outcome)?;
        self.sent += taken as u64;
        Ok(taken)
    }

    /// One record at a time, each at most a server block long and within one: a server that polls its socket while OpenSSL
    /// still holds data would leave the rest of a longer one unread (DESIGN 3).
    fn send_records(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Ok(0) };
        let mut taken = 0;
        for mut part in [first, second] {
            while !part.is_empty() && self.pending.is_empty() {
                let in_block = (self.body + taken as u64) % BLOCK;
                let length = part.len().min((BLOCK - in_block) as usize);
                tls.writer().write_all(&part[..length])?;
                encrypt(tls, &mut self.pending)?;
                taken += length;
                part = &part[length..];
                self.marks.push_back((self.sent + self.pending.len() as u64, self.body + taken as u64));
                push(&self.stream, &mut self.pending, &mut self.sent)?;
            }
        }
        Ok(taken)
    }

    /// Sends what is pending; true once nothing is.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        push(&self.stream, &mut self.pending, &mut self.sent)?;
        Ok(self.pending.is_empty())
    }

    /// Body bytes that the peer's kernel acknowledged, as of a look at most [`LOOK`] ago: a packet in forty milliseconds does
    /// not need a system call each.
    pub(crate) fn acked_lately(&mut self, now: Instant) -> u64 {
        if now.since(self.looked_at) < LOOK {
            return self.acked;
        }
        self.looked_at = now;
        self.acked()
    }

    /// Body bytes that the peer's kernel acknowledged, and how the path looks. Where an acknowledgement is due within
    /// [`WORTH_WAITING`] it is waited for, up to that: a timer's round would take ten times as long.
    pub(crate) fn measure(&mut self) -> (u64, PathSight) {
        let mut info = socket::TcpInfo::of(&self.stream);
        let mut queued = socket::unacknowledged(&self.stream);
        let due = std::time::Duration::from_micros(info.rtt_us.into()) < WORTH_WAITING;
        let mut waits = if due && info.is_fresh() { 4 } else { 0 };
        while queued > 0 && waits > 0 {
            socket::doze(WORTH_WAITING / 4);
            (info, queued) = (socket::TcpInfo::of(&self.stream), socket::unacknowledged(&self.stream));
            waits -= 1;
        }
        (self.acked(), info.sight(queued))
    }

    /// Body bytes that the peer's kernel acknowledged.
    pub(crate) fn acked(&mut self) -> u64 {
        let through = socket::TcpInfo::of(&self.stream).bytes_acked.saturating_sub(self.base).min(self.sent);
        if self.tls.is_some() {
            while self.marks.front().is_some_and(|&(end, _)| end <= through) {
                if let Some((_, body)) = self.marks.pop_front() {
                    self.acked = body;
                }
            }
        } else {
            let head = self.marks.front().map_or(0, |&(head, _)| head);
            self.acked = self.acked.max(through.saturating_sub(head));
        }
        self.acked
    }

    /// Whether anything is still on its way.
    pub(crate) fn owes(&self) -> bool {
        !self.pending.is_empty() || socket::unacknowledged(&self.stream) > 0
    }

    /// A write failed. True if that is because the peer ended the connection: then whoever reads learns how.
    ///
    /// The kernel tells a reset once only (`ECONNRESET`), to whoever asks first. One that only answers what was written after
    /// an orderly end is told as `EPIPE`.
    pub(crate) fn was_ended(&mut self, error: &io::Error) -> bool {
        self.reset |= error.kind() == io::ErrorKind::ConnectionReset;
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    }

    /// Whether the peer reset the connection without having ended it before: Linux does so for a program that closes a
    /// socket it has not read to the end.
    pub(crate) fn was_reset(&mut self) -> bool {
        if socket::was_reset(&self.stream)
            && let Ok(Some(error)) = self.stream.take_error()
        {
            self.was_ended(&error);
        }
        self.reset
    }

    pub(crate) const fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads what is there into `buffer`; `None` when nothing is, `Some(0)` at the end.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        let Some(tls) = &mut self.tls else {
            return match self.stream.try_read(buffer) {
                Ok(count) => Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(io_failure(&error)),
            };
        };
        let ended = pull(&self.stream, tls)?;
        let outcome = match tls.reader().read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(if ended { Some(0) } else { None }),
            // A peer that closes TCP without a TLS close has still closed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
            Err(error) => Err(io_failure(&error)),
        };
        // A key update or an alert may want to go out.
        encrypt(tls, &mut self.pending).map_err(|error| io_failure(&error))?;
        match self.flush() {
            Err(error) if !self.was_ended(&error) => Err(io_failure(&error)),
            Ok(_) | Err(_) => outcome,
        }
    }
}

/// Runs the TLS handshake to its end.
pub(crate) async fn handshake(
    stream: &TcpStream,
    opening: tls::Opening,
) -> Result<(Box<ClientConnection>, bool), Failure> {
    let mut connection = Box::new(opening.connection);
    let mut pending = Vec::new();
    let mut sent = 0;
    while connection.is_handshaking() || !pending.is_empty() {
        encrypt(&mut connection, &mut pending).map_err(|error| io_failure(&error))?;
        push(stream, &mut pending, &mut sent).map_err(|error| io_failure(&error))?;
        if !pending.is_empty() {
            stream.writable().await.map_err(|error| io_failure(&error))?;
        } else if connection.is_handshaking() {
            stream.readable().await.map_err(|error| io_failure(&error))?;
            if pull(stream, &mut connection)? {
                return Err(Failure::Tls("the server closed during the handshake".to_string()));
            }
            encrypt(&mut connection, &mut pending).map_err(|error| io_failure(&error))?;
        }
    }
    Ok((connection, opening.date_ignored.load(Ordering::Relaxed)))
}

/// Icecast 2.4 closes a socket before it shuts its TLS down: the farewell, encrypted, goes to whichever connection got the
/// descriptor meanwhile. That one is lost, and the next try is a good one.
pub(crate) const STRAY: &str = "a record of another connection came in its handshake";

/// What an I/O error means for delivery.
pub(crate) fn io_failure(error: &io::Error) -> Failure {
    use io::ErrorKind;
    #[expect(clippy::wildcard_enum_match_arm, reason = "io::ErrorKind is open-ended")]
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::ConnectionRefused,
        ErrorKind::NetworkUnreachable
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => Failure::Unreachable,
        ErrorKind::TimedOut => Failure::TimedOut,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected => Failure::Reset,
        _ => Failure::Local(error.to_string()),
    }
}

/// Less than a packet's hundredth: nobody on this thread notices.
const WORTH_WAITING: std::time::Duration = std::time::Duration::from_micros(200);

/// Less than a period: each write learns what became of the one before. With more, every other one did not, and a path
/// was doubted that nothing was wrong with.
const LOOK: std::time::Duration = std::time::Duration::from_millis(40);

/// The server cuts a body into blocks of so many bytes.
const BLOCK: u64 = 1400;

fn patient(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

fn push(stream: &TcpStream, pending: &mut Vec<u8>, sent: &mut u64) -> io::Result<()> {
    while !pending.is_empty() {
        let taken = patient(stream.try_write(pending))?;
        if taken == 0 {
            break;
        }
        pending.drain(..taken);
        *sent += taken as u64;
    }
    Ok(())
}

fn encrypt(tls: &mut ClientConnection, pending: &mut Vec<u8>) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(pending)?;
    }
    Ok(())
}

/// Moves ciphertext from the socket into `tls`; true at the end of the stream.
fn pull(stream: &TcpStream, tls: &mut ClientConnection) -> Result<bool, Failure> {
    struct Source<'a>(&'a TcpStream);
    impl io::Read for Source<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.try_read(buffer)
        }
    }
    loop {
        match tls.read_tls(&mut Source(stream)) {
            Ok(0) => return Ok(true),
            Ok(_) => {
                tls.process_new_packets().map_err(|error| {
                    let stray = matches!(
                        error,
                        rustls::Error::InappropriateMessage {
                            got_type: rustls::ContentType::ApplicationData,
                            ..
                        }
                    );
                    if stray { Failure::Tls(STRAY.to_string()) } else { tls::failure(&error) }
                })?;
                // Received plain text is bounded: it is fetched before more is read.
                if !tls.wants_read() {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(io_failure(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::rc::Rc;
    use std::sync::{Arc, Mutex};

    use delivery::config::Trust;
    use delivery::event::Tls;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::tls::Judge;

    /// A reader that keeps the length of every application-data record (RFC 8446, 5.1) that passes.
    struct Records {
        socket: std::net::TcpStream,
        seen: Vec<u8>,
        lengths: Arc<Mutex<Vec<usize>>>,
    }

    impl Read for Records {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.socket.read(buffer)?;
            self.seen.extend_from_slice(&buffer[..count]);
            while let Some(header) = self.seen.first_chunk::<5>() {
                let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
                if self.seen.len() < 5 + length {
                    break;
                }
                if header[0] == 23 {
                    self.lengths.lock().unwrap().push(length);
                }
                self.seen.drain(..5 + length);
            }
            Ok(count)
        }
    }

    struct Heard {
        plain: Vec<u8>,
        lengths: Vec<usize>,
    }

    /// Sends a head and `body` in pieces of `piece` over TLS and returns what the server saw.
    fn over_tls(body: &[u8], piece: usize) -> Heard {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.cert.der());
        let pin: [u8; 32] = digest.as_ref().try_into().unwrap();
        let secret = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], secret)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let wanted = body.len() + 4;
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let lengths = Arc::new(Mutex::new(Vec::new()));
            let mut records = Records {
                socket: socket.try_clone().unwrap(),
                seen: Vec::new(),
                lengths: Arc::clone(&lengths),
            };
            let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
            let mut plain = Vec::new();
            let mut after_handshake = 0;
            while plain.len() < wanted {
                while tls.wants_write() {
                    tls.write_tls(&mut socket).unwrap();
                }
                if tls.read_tls(&mut records).unwrap() == 0 {
                    break;
                }
                tls.process_new_packets().unwrap();
                if tls.is_handshaking() {
                    after_handshake = lengths.lock().unwrap().len();
                }
                let mut part = [0; 16_384];
                while let Ok(count @ 1..) = tls.reader().read(&mut part) {
                    plain.extend_from_slice(&part[..count]);
                }
            }
            let lengths = lengths.lock().unwrap()[after_handshake..].to_vec();
            Heard { plain, lengths }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let tls = Tls { name: "localhost".to_string(), trust: Trust::Pinned(pin) };
            let opening = Judge::new(0).open(&tls).unwrap();
            let (connection, date_ignored) = handshake(&stream, opening).await.unwrap();
            assert!(!date_ignored);
            let mut wire = Wire::new(Rc::new(stream), Some(connection));
            wire.send_head(b"HEAD").unwrap();
            for part in body.chunks(piece) {
                let mut rest = part;
                while !rest.is_empty() {
                    let (taken, full) = wire.send_body(rest, &[]).unwrap();
                    rest = &rest[taken as usize..];
                    if full {
                        wire.stream.writable().await.unwrap();
                    }
                }
            }
            while !wire.flush().unwrap() || wire.acked() < body.len() as u64 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            assert_eq!(wire.acked(), body.len() as u64, "every body byte and nothing else is counted");
        });
        server.join().unwrap()
    }

    #[test]
    fn records_stay_within_the_servers_blocks() {
        let body: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        for piece in [960, 1400, 5000, 100_000] {
            let heard = over_tls(&body, piece);
            assert_eq!(&heard.plain[4..], body);
            // A TLS 1.3 record is its content, a type byte and a 16-byte tag (RFC 8446, 5.2).
            let contents: Vec<u64> = heard.lengths.iter().map(|length| *length as u64 - 17).collect();
            let mut at: u64 = 0;
            // The client's Finished may come with the head's record still to be told from it: the body is the tail.
            let body_records = {
                let mut sum = 0;
                let from = contents.iter().rposition(|length| {
                    sum += length;
                    sum == body.len() as u64
                });
                &contents[from.expect("the body ends with the last record")..]
            };
            for &length in body_records {
                assert!(length <= BLOCK && at / BLOCK == (at + length - 1) / BLOCK, "{length} bytes at {at}");
                at += length;
            }
        }
    }

    /// Sends eight bytes to a server that reads so many of them and closes; and, if asked for, some more after that. Whether
    /// that was a reset, as far as reading and writing tell.
    fn closed_after(reads: usize, writes_on: bool) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut bytes = [0; 8];
            while socket.peek(&mut bytes).unwrap() < bytes.len() {}
            socket.read_exact(&mut bytes[..reads]).unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let was_reset = runtime.block_on(async {
            let mut wire = Wire::new(Rc::new(TcpStream::connect(address).await.unwrap()), None);
            wire.send_body(b"12345678", &[]).unwrap();
            wire.stream.readable().await.unwrap();
            if writes_on {
                // The first one is answered by a reset in any case; the one that meets it fails.
                let error = loop {
                    match wire.send_body(b"9", &[]) {
                        Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                        Err(error) => break error,
                    }
                };
                assert!(wire.was_ended(&error), "{error}");
            }
            match wire.receive(&mut [0; 16]) {
                Ok(Some(0)) => wire.was_reset(),
                Err(Failure::Reset) => true,
                other => panic!("neither an end nor a reset: {other:?}"),
            }
        });
        server.join().unwrap();
        was_reset
    }

    #[test]
    fn a_server_that_had_not_read_everything_is_told_from_one_that_had() {
        for writes_on in [false, true] {
            assert!(closed_after(4, writes_on), "it left four bytes unread; writing on: {writes_on}");
            assert!(!closed_after(8, writes_on), "it had read everything; writing on: {writes_on}");
        }
    }

    #[test]
    fn an_authority_file_without_certificates_is_named() {
        let authority = Tls {
            name: "localhost".to_string(),
            trust: Trust::Authority { path: "empty.pem".to_string(), pem: String::new() },
        };
        let outcome = Judge::new(0).open(&authority);
        assert!(matches!(outcome, Err(Failure::BadCertificate(why)) if why.contains("empty.pem")));
    }
}
