//! Many listeners in one thread: each saves everything it hears, with the instant of every read, and how its connection
//! ended. The sockets may come from any network namespace.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use crate::listener::{Icy, split_head};
use crate::wait;

/// How long a server may take to let a listener in.
const ANSWER: Duration = Duration::from_secs(15);
/// How soon a new listener and an end are noticed.
const LOOK_MS: u16 = 20;
/// What a slow listener's kernel may hold: the server's queue is to hold the rest. With half as much the window closes between
/// two reads, and he gets little more than half of what he may read.
const SLOW_RECEIVE_BUFFER: usize = 32_768;
/// It reads no less than this at once.
const LEAST: usize = 1_024;

/// What a listener asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manner {
    /// Whether it asks for titles (`Icy-MetaData: 1`), which are then taken out of the stream again.
    pub titles: bool,
    /// Bytes per second it reads after its first 64 KiB; as fast as they come if `None`.
    pub limit: Option<u64>,
}

/// Everything that was heard, and when.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// All sound, titles taken out.
    pub bytes: Vec<u8>,
    /// For each read that brought sound: when, and how many bytes there were in all then.
    pub arrivals: Vec<(Instant, usize)>,
    /// When and how the connection ended; `None` while it lasts.
    pub ended: Option<(Instant, String)>,
}

impl Heard {
    /// When the byte before `end` arrived.
    #[must_use]
    pub fn arrival_of(&self, end: usize) -> Option<Instant> {
        self.arrivals.get(self.arrivals.partition_point(|&(_, until)| until < end)).map(|&(at, _)| at)
    }

    /// The longest time without a byte between two instants; open ends count.
    #[must_use]
    pub fn longest_pause(&self, from: Instant, to: Instant) -> Duration {
        let inside = self.arrivals.iter().map(|&(at, _)| at).filter(|at| (from..to).contains(at));
        let mut last = from;
        let mut longest = Duration::ZERO;
        for at in inside.chain([to]) {
            longest = longest.max(at.saturating_duration_since(last));
            last = at;
        }
        longest
    }
}

/// The thread that hears for all. Dropping it hangs up on every server.
#[derive(Debug)]
pub struct Ears {
    joining: Arc<Mutex<Vec<Slot>>>,
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One listener. Dropping it hangs up.
#[derive(Debug)]
pub struct Ear {
    heard: Arc<Mutex<Heard>>,
    leave: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Slot {
    stream: TcpStream,
    icy: Icy,
    limit: Option<Limit>,
    heard: Arc<Mutex<Heard>>,
    leave: Arc<AtomicBool>,
}

/// A bucket of bytes that may be read.
#[derive(Debug)]
struct Limit {
    per_second: u64,
    tokens: f64,
    filled: Instant,
}

impl Ears {
    /// Starts to listen, to nobody yet.
    ///
    /// # Errors
    /// No thread.
    pub fn open() -> Result<Self> {
        let joining = Arc::new(Mutex::new(Vec::new()));
        let leave = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("ears".to_owned()).spawn({
            let (joining, leave) = (Arc::clone(&joining), Arc::clone(&leave));
            move || {
                let mut slots = Vec::new();
                while !leave.load(Ordering::Relaxed) {
                    slots.append(&mut lock(&joining));
                    hear(&mut slots);
                }
            }
        })?;
        Ok(Self { joining, leave, thread: Some(thread) })
    }

    /// Joins a mount, from the calling thread's network namespace.
    ///
    /// # Errors
    /// The server does not let it in.
    pub fn join(&self, server: SocketAddr, mount: &str, manner: Manner) -> Result<Ear> {
        let mut stream = TcpStream::connect(server).with_context(|| format!("connecting to {server}"))?;
        if manner.limit.is_some() {
            setsockopt(&stream, sockopt::RcvBuf, &SLOW_RECEIVE_BUFFER)?;
        }
        stream.set_read_timeout(Some(ANSWER))?;
        let titles = if manner.titles { "Icy-MetaData: 1\r\n" } else { "" };
        write!(
            stream,
            "GET {mount} HTTP/1.0\r\nHost: {server}\r\nUser-Agent: mainstay-ears\r\n{titles}\r\n"
        )?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        let (header, body) = loop {
            let count = stream.read(&mut chunk).with_context(|| format!("joining {mount}"))?;
            answer.extend_from_slice(&chunk[..count]);
            if let Some((header, body)) = split_head(&answer) {
                break (header, body.to_vec());
            }
            ensure!(count > 0, "joining {mount}: hung up after {:?}", String::from_utf8_lossy(&answer));
        };
        let status = header.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200 "), "joining {mount}: {status}");
        let interval = header
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("icy-metaint"))
            .and_then(|(_, value)| value.trim().parse().ok());
        ensure!(manner.titles == interval.is_some(), "joining {mount}: titles every {interval:?} bytes");
        stream.set_nonblocking(true)?;
        let limit =
            manner.limit.map(|per_second| Limit { per_second, tokens: 65_536.0, filled: wait::now() });
        let ear = Ear { heard: Arc::default(), leave: Arc::default() };
        let mut slot = Slot {
            stream,
            icy: Icy::every(interval),
            limit,
            heard: Arc::clone(&ear.heard),
            leave: Arc::clone(&ear.leave),
        };
        slot.note(&body);
        lock(&self.joining).push(slot);
        Ok(ear)
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed there.
            let _ = thread.join();
        }
    }
}

impl Ear {
    /// Everything so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        lock(&self.heard).clone()
    }

    /// When the newest byte came; `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<Instant> {
        lock(&self.heard).arrivals.last().map(|&(at, _)| at)
    }

    /// The longest time without a byte between an instant and now.
    #[must_use]
    pub fn longest_pause_since(&self, from: Instant) -> Duration {
        lock(&self.heard).longest_pause(from, wait::now())
    }

    /// How many bytes came from an instant on.
    #[must_use]
    pub fn bytes_since(&self, from: Instant) -> usize {
        let heard = lock(&self.heard);
        let first = heard.arrivals.partition_point(|&(at, _)| at < from);
        let before =
            first.checked_sub(1).and_then(|last| heard.arrivals.get(last)).map_or(0, |&(_, end)| end);
        heard.bytes.len() - before
    }

    /// Whether the server has hung up.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        lock(&self.heard).ended.is_some()
    }

    /// Hangs up and gives everything.
    #[must_use]
    pub fn finish(self) -> Heard {
        self.leave.store(true, Ordering::Relaxed);
        std::mem::take(&mut *lock(&self.heard))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
    }
}

impl Limit {
    fn refill(&mut self) {
        let now = wait::now();
        let passed = now.duration_since(self.filled).as_secs_f64();
        self.filled = now;
        // An eighth of a second may be caught up with, or one read; what it began with is its to use up.
        let full = (self.per_second as f64 / 8.0).max(2.0 * LEAST as f64).max(self.tokens);
        self.tokens = (self.tokens + passed * self.per_second as f64).min(full);
    }
}

impl Slot {
    fn note(&mut self, bytes: &[u8]) {
        let mut heard = lock(&self.heard);
        let Heard { bytes: audio, arrivals, .. } = &mut *heard;
        let before = audio.len();
        self.icy.take(bytes, audio, &mut Vec::new());
        if audio.len() > before {
            arrivals.push((wait::now(), audio.len()));
        }
    }

    /// Bytes it may read now.
    fn allowance(&mut self, most: usize) -> usize {
        match &mut self.limit {
            None => most,
            Some(limit) => {
                limit.refill();
                (limit.tokens as usize).min(most)
            }
        }
    }

    fn read(&mut self, chunk: &mut [u8]) {
        loop {
            let most = self.allowance(chunk.len());
            if most == 0 {
                return;
            }
            let ended = match self.stream.read(&mut chunk[..most]) {
                Ok(0) => "the server hung up".to_owned(),
                Ok(count) => {
                    if let Some(limit) = &mut self.limit {
                        limit.tokens -= count as f64;
                    }
                    self.note(&chunk[..count]);
                    if count < most {
                        return;
                    }
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error.to_string(),
            };
            lock(&self.heard).ended = Some((wait::now(), ended));
            return;
        }
    }
}

/// One look at all sockets.
fn hear(slots: &mut Vec<Slot>) {
    slots.retain(|slot| !slot.leave.load(Ordering::Relaxed) && lock(&slot.heard).ended.is_none());
    // Those that may not read yet are looked at next time.
    let ready: Vec<usize> = {
        let open: Vec<usize> =
            (0..slots.len()).filter(|&index| slots[index].allowance(LEAST) == LEAST).collect();
        let mut fds: Vec<PollFd<'_>> =
            open.iter().map(|&index| PollFd::new(slots[index].stream.as_fd(), PollFlags::POLLIN)).collect();
        if fds.is_empty() {
            drop(fds);
            wait::pause(Duration::from_millis(LOOK_MS.into()));
            return;
        }
        // A signal or an odd descriptor shows at the next look.
        let _ = poll(&mut fds, PollTimeout::from(LOOK_MS));
        open.iter().zip(&fds).filter(|(_, fd)| fd.any().unwrap_or(true)).map(|(&index, _)| index).collect()
    };
    let mut chunk = [0; 16_384];
    for index in ready {
        slots[index].read(&mut chunk);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_at_both_ends_count() {
        let zero = wait::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let heard =
            Heard { arrivals: vec![(at(10), 1), (at(20), 2), (at(25), 3), (at(60), 4)], ..Heard::default() };
        assert_eq!(heard.longest_pause(at(10), at(26)), Duration::from_millis(10));
        assert_eq!(heard.longest_pause(at(0), at(100)), Duration::from_millis(40));
        assert_eq!(heard.longest_pause(at(26), at(50)), Duration::from_millis(24));
        assert_eq!(heard.arrival_of(2), Some(at(20)));
        assert_eq!(heard.arrival_of(5), None);
    }
}
