//! A listener that insists: it asks for a mount every 2 ms until there is one, and stamps every piece of sound as it arrives.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::wait;

use super::clock;

/// Between two questions for a mount that is not there yet, in nanoseconds.
const ASK_EVERY: i64 = 2_000_000;
/// How soon it notices that it should leave.
const LEAVE: Duration = Duration::from_millis(200);

/// Everything that was heard, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// All bytes of the body.
    pub(super) bytes: Vec<u8>,
    /// When how many of them had arrived: instants rise, and so do the ends.
    pub(super) arrivals: Vec<Arrival>,
}

/// One read of the socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When it returned.
    pub(super) at_ns: i64,
    /// Bytes heard in all, this read included.
    pub(super) end: usize,
}

impl Heard {
    /// When the byte before `end` arrived.
    pub(super) fn arrival_of(&self, end: usize) -> Option<i64> {
        let place = self.arrivals.partition_point(|arrival| arrival.end < end);
        self.arrivals.get(place).map(|arrival| arrival.at_ns)
    }

    /// The longest time without a byte between two instants, in nanoseconds; open ends count.
    pub(super) fn longest_pause(&self, from_ns: i64, to_ns: i64) -> i64 {
        let inside = self.arrivals.iter().map(|arrival| arrival.at_ns);
        let mut last = from_ns;
        let mut longest = 0;
        for at in inside.filter(|at| (from_ns..to_ns).contains(at)).chain([to_ns]) {
            longest = longest.max(at - last);
            last = at;
        }
        longest
    }
}

/// A running listener. Dropping it hangs up.
#[derive(Debug)]
pub(super) struct Listener {
    heard: Arc<Mutex<Heard>>,
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Begins to ask for a mount of a server on loopback.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn insist(port: u16, mount: &str) -> Result<Self> {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let leave = Arc::new(AtomicBool::new(false));
        let request = format!("GET {mount} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench\r\n\r\n");
        let thread = std::thread::Builder::new().name("listener".to_owned()).spawn({
            let (heard, leave) = (Arc::clone(&heard), Arc::clone(&leave));
            move || {
                while !leave.load(Ordering::Relaxed) {
                    let asked = clock::now_ns();
                    // A server that is not there, or says no, is asked again.
                    let _ = listen(port, &request, &heard, &leave);
                    clock::sleep_until(asked + ASK_EVERY);
                }
            }
        })?;
        Ok(Self { heard, leave, thread: Some(thread) })
    }

    /// Waits for the first byte of sound, and says when it came.
    ///
    /// # Errors
    /// None came within `limit`.
    pub(super) fn first_sound(&self, limit: Duration) -> Result<i64> {
        wait::until("a listener hears something", limit, || {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.arrivals.first().map(|first| first.at_ns).ok_or_else(|| "nothing yet".to_owned())
        })
    }

    /// Hangs up and gives what was heard.
    ///
    /// # Errors
    /// Its thread panicked.
    pub(super) fn finish(mut self) -> Result<Heard> {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok().context("the listener's thread panicked")?;
        }
        Ok(std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed there.
            let _ = thread.join();
        }
    }
}

/// One visit: until the server hangs up or the listener is to leave.
fn listen(port: u16, request: &str, heard: &Mutex<Heard>, leave: &AtomicBool) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LEAVE))?;
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut in_body = false;
    let mut chunk = [0; 16_384];
    while !leave.load(Ordering::Relaxed) {
        let count = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        };
        let at_ns = clock::now_ns();
        let mut body = &chunk[..count];
        if !in_body {
            head.extend_from_slice(body);
            let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            if !head.starts_with(b"HTTP/1.0 200") && !head.starts_with(b"HTTP/1.1 200") {
                break;
            }
            in_body = true;
            head.drain(..end + 4);
            body = &head;
        }
        if !body.is_empty() {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.bytes.extend_from_slice(body);
            let end = heard.bytes.len();
            heard.arrivals.push(Arrival { at_ns, end });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(arrivals: &[(i64, usize)]) -> Heard {
        let arrivals = arrivals.iter().map(|&(at_ns, end)| Arrival { at_ns, end }).collect();
        Heard { bytes: Vec::new(), arrivals }
    }

    #[test]
    fn a_byte_arrives_with_the_read_that_brings_it() {
        let heard = heard(&[(10, 100), (20, 200), (30, 300)]);
        assert_eq!(heard.arrival_of(100), Some(10));
        assert_eq!(heard.arrival_of(101), Some(20));
        assert_eq!(heard.arrival_of(300), Some(30));
        assert_eq!(heard.arrival_of(301), None);
    }

    #[test]
    fn pauses_at_both_ends_count() {
        let heard = heard(&[(10, 1), (20, 2), (25, 3), (60, 4)]);
        assert_eq!(heard.longest_pause(10, 26), 10);
        assert_eq!(heard.longest_pause(0, 100), 40);
        assert_eq!(heard.longest_pause(21, 60), 35);
        assert_eq!(heard.longest_pause(26, 50), 24);
    }
}
