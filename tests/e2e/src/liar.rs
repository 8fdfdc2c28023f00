//! Servers that answer, and should not be believed.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use crate::{ports, wait};

/// How a liar treats whoever connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// Bytes that are no HTTP.
    Nonsense,
    /// 200 with a page, as a hotel's network does, then hangs up.
    LoginPage,
    /// A header that never ends.
    EndlessHeader,
    /// Hangs up at once.
    ClosesAtOnce,
    /// Takes everything and says nothing.
    Silence,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Nonsense, Self::LoginPage, Self::EndlessHeader, Self::ClosesAtOnce, Self::Silence];
}

/// A running liar; dropping it closes its port.
#[derive(Debug)]
pub struct Liar {
    port: u16,
    leave: Arc<AtomicBool>,
    visits: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Opens a port and lies to everybody.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(lie: Lie) -> Result<Self> {
        let port = ports::free(1)?;
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let leave = Arc::new(AtomicBool::new(false));
        let visits = Arc::new(AtomicU32::new(0));
        let thread = std::thread::Builder::new().name(format!("liar {lie:?}")).spawn({
            let (leave, visits) = (Arc::clone(&leave), Arc::clone(&visits));
            move || {
                let mut guests = Vec::new();
                while !leave.load(Ordering::Relaxed) {
                    if let Ok((guest, _)) = listener.accept() {
                        visits.fetch_add(1, Ordering::Relaxed);
                        let leave = Arc::clone(&leave);
                        // A guest that hangs up in the middle of a lie is no failure.
                        guests.push(std::thread::spawn(move || drop(tell(lie, guest, &leave))));
                    } else {
                        wait::pause(Duration::from_millis(10));
                    }
                }
                for guest in guests {
                    // A panic in the thread was printed there.
                    let _ = guest.join();
                }
            }
        })?;
        Ok(Self { port, leave, visits, thread: Some(thread) })
    }

    /// Address of a mount on it.
    #[must_use]
    pub fn url(&self, mount: &str) -> String {
        format!("http://127.0.0.1:{}{mount}", self.port)
    }

    /// How many connected so far.
    #[must_use]
    pub fn visits(&self) -> u32 {
        self.visits.load(Ordering::Relaxed)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed there.
            let _ = thread.join();
        }
    }
}

fn tell(lie: Lie, mut guest: TcpStream, leave: &AtomicBool) -> std::io::Result<()> {
    guest.set_nonblocking(false)?;
    guest.set_read_timeout(Some(Duration::from_millis(100)))?;
    guest.set_write_timeout(Some(Duration::from_millis(100)))?;
    match lie {
        Lie::ClosesAtOnce => return Ok(()),
        Lie::Nonsense => {
            read_some(&mut guest);
            guest.write_all(b"\x00\x01SSH-2.0-nonsense\xFF\xFE\r\n\r\n\r\n")?;
        }
        Lie::LoginPage => {
            let page = "<html><title>Welcome</title><form>room number</form></html>";
            read_some(&mut guest);
            write!(
                guest,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                page.len()
            )?;
            return Ok(());
        }
        Lie::EndlessHeader => {
            read_some(&mut guest);
            guest.write_all(b"HTTP/1.1 200 OK\r\n")?;
            while !leave.load(Ordering::Relaxed) {
                guest.write_all(b"X-More: and more and more and more and more and more\r\n")?;
            }
        }
        Lie::Silence => {}
    }
    let mut sink = [0; 4096];
    while !leave.load(Ordering::Relaxed) {
        match guest.read(&mut sink) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The guest's greeting, as far as it comes within the read timeout.
fn read_some(guest: &mut TcpStream) {
    let mut greeting = [0; 4096];
    // A guest that says nothing is lied to all the same.
    let _ = guest.read(&mut greeting);
}
