//! A listener: what a player hears, with its titles and its pauses.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::wait;

const ANSWER: Duration = Duration::from_secs(10);
/// How soon a listener notices that it should leave.
const LEAVE: Duration = Duration::from_millis(200);

/// Fetches a page of a server on loopback, whole.
///
/// # Errors
/// No connection, no answer in time, or a status that is not 200.
pub fn page(port: u16, path: &str) -> Result<Vec<u8>> {
    let mut stream = request(port, path, "")?;
    let mut answer = Vec::new();
    // A page server that keeps the line open would hold us; the request says HTTP/1.0, so none does.
    stream.read_to_end(&mut answer).with_context(|| format!("reading {path} from port {port}"))?;
    let (head, body) = split_head(&answer).with_context(|| format!("{path}: no header in the answer"))?;
    if !head.lines().next().is_some_and(|line| line.contains(" 200 ")) {
        bail!("{path} on port {port}: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_vec())
}

fn request(port: u16, path: &str, extra: &str) -> Result<TcpStream> {
    let mut stream =
        TcpStream::connect(("127.0.0.1", port)).with_context(|| format!("connecting to port {port}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: mainstay-e2e\r\n{extra}\r\n"
    )?;
    Ok(stream)
}

pub(crate) fn split_head(answer: &[u8]) -> Option<(String, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&answer[..end]).into_owned(), &answer[end + 4..]))
}

#[derive(Debug, Default)]
struct Heard {
    audio: Vec<u8>,
    titles: Vec<String>,
    last: Option<Instant>,
    longest_pause: Duration,
    ended: Option<String>,
}

/// A running listener on a mount. Dropping it hangs up.
#[derive(Debug)]
pub struct Listener {
    heard: Arc<Mutex<Heard>>,
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    header: String,
}

impl Listener {
    /// Joins a mount, asking for titles.
    ///
    /// # Errors
    /// The server does not let it in.
    pub fn join(url: &str) -> Result<Self> {
        let rest =
            url.strip_prefix("http://127.0.0.1:").with_context(|| format!("{url} is not on loopback"))?;
        let (port, mount) = rest.split_once('/').with_context(|| format!("{url} names no mount"))?;
        let mut stream = request(port.parse()?, &format!("/{mount}"), "Icy-MetaData: 1\r\n")?;
        let mut answer = Vec::new();
        let mut chunk = [0; 8192];
        let (header, body) = loop {
            let count = stream.read(&mut chunk).with_context(|| format!("joining {url}"))?;
            answer.extend_from_slice(&chunk[..count]);
            if let Some((header, body)) = split_head(&answer) {
                break (header, body.to_vec());
            }
            anyhow::ensure!(count > 0, "joining {url}: hung up after {:?}", String::from_utf8_lossy(&answer));
        };
        let status = header.lines().next().unwrap_or_default();
        anyhow::ensure!(status.contains(" 200 "), "joining {url}: {status}");
        let interval = header
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("icy-metaint"))
            .and_then(|(_, value)| value.trim().parse().ok());

        stream.set_read_timeout(Some(LEAVE))?;
        let heard = Arc::new(Mutex::new(Heard { last: Some(wait::now()), ..Heard::default() }));
        let leave = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("listener".to_owned()).spawn({
            let (heard, leave) = (Arc::clone(&heard), Arc::clone(&leave));
            move || listen(stream, &body, Icy::every(interval), &heard, &leave)
        })?;
        Ok(Self { heard, leave, thread: Some(thread), header })
    }

    /// The server's answer: status line and header fields.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Bytes of audio heard so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.look(|heard| heard.audio.len())
    }

    /// All audio heard so far, titles taken out.
    #[must_use]
    pub fn audio(&self) -> Vec<u8> {
        self.look(|heard| heard.audio.clone())
    }

    /// Titles in the order they came.
    #[must_use]
    pub fn titles(&self) -> Vec<String> {
        self.look(|heard| heard.titles.clone())
    }

    /// The longest time without a byte, the one running now included.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.look(|heard| heard.longest_pause.max(heard.last.map_or(Duration::ZERO, |last| last.elapsed())))
    }

    /// Why the connection ended; `None` while it lasts.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        self.look(|heard| heard.ended.clone())
    }

    /// Waits until so many bytes were heard.
    ///
    /// # Errors
    /// They were not within `limit`, or the server hung up.
    pub fn wait_for_bytes(&self, bytes: usize, limit: Duration) -> Result<()> {
        wait::until(&format!("a listener hears {bytes} bytes"), limit, || {
            if self.bytes() >= bytes {
                Ok(())
            } else {
                Err(format!("{} bytes, ended: {:?}", self.bytes(), self.ended()))
            }
        })
    }

    /// Waits for a title.
    ///
    /// # Errors
    /// It did not come within `limit`.
    pub fn wait_for_title(&self, title: &str, limit: Duration) -> Result<()> {
        wait::until(&format!("a listener is told {title:?}"), limit, || {
            if self.titles().last().is_some_and(|last| last == title) {
                Ok(())
            } else {
                Err(format!("{:?}, ended: {:?}", self.titles(), self.ended()))
            }
        })
    }

    fn look<T>(&self, at: impl FnOnce(&Heard) -> T) -> T {
        at(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
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

fn listen(mut stream: TcpStream, first: &[u8], mut icy: Icy, heard: &Mutex<Heard>, leave: &AtomicBool) {
    let mut note = |bytes: &[u8]| {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = wait::now();
        if let Some(last) = heard.last.replace(now) {
            heard.longest_pause = heard.longest_pause.max(now - last);
        }
        let Heard { audio, titles, .. } = &mut *heard;
        icy.take(bytes, audio, titles);
    };
    note(first);
    let mut chunk = [0; 16_384];
    let ended = loop {
        if leave.load(Ordering::Relaxed) {
            break "left".to_owned();
        }
        match stream.read(&mut chunk) {
            Ok(0) => break "the server hung up".to_owned(),
            Ok(count) => note(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => break error.to_string(),
        }
    };
    heard.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(ended);
}

/// Takes the titles out of a stream: after every `interval` bytes of audio one byte says how many times 16 bytes of
/// title follow.
#[derive(Debug)]
pub(crate) struct Icy {
    interval: Option<usize>,
    until_title: usize,
    title: Vec<u8>,
    title_left: usize,
}

impl Icy {
    pub(crate) fn every(interval: Option<usize>) -> Self {
        Self { interval, until_title: interval.unwrap_or(usize::MAX), title: Vec::new(), title_left: 0 }
    }

    pub(crate) fn take(&mut self, mut bytes: &[u8], audio: &mut Vec<u8>, titles: &mut Vec<String>) {
        let Some(interval) = self.interval else {
            audio.extend_from_slice(bytes);
            return;
        };
        while !bytes.is_empty() {
            if self.title_left > 0 {
                let (now, later) = bytes.split_at(self.title_left.min(bytes.len()));
                self.title.extend_from_slice(now);
                self.title_left -= now.len();
                bytes = later;
                if self.title_left == 0 {
                    titles.extend(stream_title(&std::mem::take(&mut self.title)));
                }
            } else if self.until_title == 0 {
                self.title_left = usize::from(bytes[0]) * 16;
                self.until_title = interval;
                bytes = &bytes[1..];
            } else {
                let (now, later) = bytes.split_at(self.until_title.min(bytes.len()));
                audio.extend_from_slice(now);
                self.until_title -= now.len();
                bytes = later;
            }
        }
    }
}

fn stream_title(block: &[u8]) -> Option<String> {
    // Icecast turns titles of MP3 mounts into Latin-1 unless the mount's settings say UTF-8; players try both, too.
    let text = match std::str::from_utf8(block) {
        Ok(text) => text.to_owned(),
        Err(_) => block.iter().map(|&byte| char::from(byte)).collect(),
    };
    let rest = text.split_once("StreamTitle='")?.1;
    // A title may hold an apostrophe: the end is the last one before the semicolon.
    let end = rest.find("';").or_else(|| rest.rfind('\''))?;
    Some(rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_taken_out_wherever_the_reads_fall() {
        let mut stream = b"aaaa\x02StreamTitle='Don't - stop';".to_vec();
        stream.resize(4 + 1 + 2 * 16, 0);
        stream.extend_from_slice(b"bbbb\0cccc\0d");
        for size in 1..stream.len() {
            let (mut audio, mut titles, mut icy) = (Vec::new(), Vec::new(), Icy::every(Some(4)));
            for piece in stream.chunks(size) {
                icy.take(piece, &mut audio, &mut titles);
            }
            assert_eq!(audio, b"aaaabbbbccccd");
            assert_eq!(titles, ["Don't - stop"]);
        }
    }
}
