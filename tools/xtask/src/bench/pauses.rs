//! Two servers: what the listener of one hears while the other is in trouble.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::icecast::Headend;
use e2e::settings::{Mount, Output};
use e2e::wait;
use serde::Serialize;
use units::Codec;

use super::clock;
use super::contender::Stage;
use super::listener::Listener;
use super::turn::Watch;

/// What happens to the first server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Killed,
    Stalled,
    Refusing,
    Nonsense,
}

impl Trouble {
    const ALL: [Self; 4] = [Self::Killed, Self::Stalled, Self::Refusing, Self::Nonsense];

    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Stalled => "stalled (stopped, sockets open)",
            Self::Refusing => "refusing (killed, then 403 to everybody)",
            Self::Nonsense => "killed, then nonsense to everybody",
        }
    }

    /// What stands on the first server's port instead of it.
    const fn answer(self) -> Option<&'static [u8]> {
        match self {
            Self::Killed | Self::Stalled => None,
            Self::Refusing => Some(b"HTTP/1.0 403 Forbidden\r\nContent-Type: text/html\r\n\r\nno\r\n"),
            Self::Nonsense => Some(b"\x00\x01SSH-2.0-nonsense\xFF\xFE\r\n\r\n\r\n"),
        }
    }
}

/// The longest pauses under one trouble, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Pauses {
    pub(super) trouble: &'static str,
    /// Without trouble, for as long a time.
    pub(super) before: f64,
    pub(super) during: f64,
}

/// Every trouble once; the first server of each is a fresh one.
pub(super) fn run(stage: &Stage, watch: &Watch<'_>) -> Result<Vec<Pauses>> {
    Trouble::ALL.iter().map(|&trouble| one(stage, watch, trouble)).collect()
}

fn one(stage: &Stage, watch: &Watch<'_>, trouble: Trouble) -> Result<Pauses> {
    let mut first = Headend::default().start()?;
    let mount = format!("/steady-{trouble:?}").to_lowercase();
    let outputs = vec![
        Output::alone("troubled", Mount::icecast(first.url("/live"), Codec::Mp3, 320)),
        Output::alone("steady", Mount::icecast(stage.server.url(&mount), Codec::Mp3, 320)),
    ];
    let listener = Listener::insist(stage.server.port(), &mount)?;
    let running = stage.start_box(outputs)?;
    let limit = Duration::from_secs(20);
    listener.first_sound(limit).with_context(|| running.process.log())?;
    first.wait_for_source("/live", limit).with_context(|| running.process.log())?;
    watch.pause(Duration::from_secs(2))?;
    let calm = clock::now_ns();
    watch.pause(watch.span)?;
    let troubled = clock::now_ns();
    let _stand_in = match trouble {
        Trouble::Stalled => {
            first.freeze()?;
            None
        }
        Trouble::Killed | Trouble::Refusing | Trouble::Nonsense => {
            first.kill()?;
            trouble.answer().map(|answer| StandIn::on(first.port(), answer)).transpose()?
        }
    };
    watch.pause(watch.span)?;
    let over = clock::now_ns();
    if trouble == Trouble::Stalled {
        first.thaw()?;
    }
    drop(running);
    let heard = listener.finish()?;
    let milliseconds = |from, to| heard.longest_pause(from, to) as f64 / 1e6;
    Ok(Pauses {
        trouble: trouble.name(),
        before: milliseconds(calm, troubled),
        during: milliseconds(troubled, over),
    })
}

/// Gives everybody on a port the same answer; ends with its value.
struct StandIn {
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    fn on(port: u16, answer: &'static [u8]) -> Result<Self> {
        let socket = wait::until("the killed server's port is free", Duration::from_secs(5), || {
            TcpListener::bind(("127.0.0.1", port)).map_err(|error| error.to_string())
        })?;
        socket.set_nonblocking(true)?;
        let leave = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("stand-in".to_owned()).spawn({
            let leave = Arc::clone(&leave);
            move || {
                while !leave.load(Ordering::Relaxed) {
                    match socket.accept() {
                        Ok((mut guest, _)) => {
                            let patience = Some(Duration::from_millis(200));
                            // A guest that hangs up or says nothing is answered all the same.
                            let _ = guest.set_nonblocking(false);
                            let _ = guest.set_read_timeout(patience);
                            let _ = guest.read(&mut [0; 4096]);
                            let _ = guest.write_all(answer);
                        }
                        Err(_) => wait::pause(Duration::from_millis(10)),
                    }
                }
            }
        })?;
        Ok(Self { leave, thread: Some(thread) })
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed there.
            let _ = thread.join();
        }
    }
}
