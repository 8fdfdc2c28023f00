//! Log lines: to standard error (marked for the journal where systemd reads it), and the newest ones into a ring that the
//! CLI can ask for. A thread of its own writes them: a terminal, pipe or journal that takes nothing holds nobody up, and the
//! lines it would not take are counted.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::clock;

/// The log, from the side that reads it.
#[derive(Clone)]
pub(crate) struct Log {
    ring: Arc<Mutex<VecDeque<String>>>,
    lines: SyncSender<Order>,
}

enum Order {
    Line(Level, String),
    /// Answer once everything before is written.
    Flush(SyncSender<()>),
}

impl Log {
    /// At most `lines` of the newest lines, oldest first.
    pub(crate) fn newest(&self, lines: usize) -> Vec<String> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().skip(ring.len().saturating_sub(lines)).cloned().collect()
    }

    /// Waits until what was logged is written, but not for long.
    pub(crate) fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.lines.try_send(Order::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

/// Starts logging. `MAINSTAY_LOG` takes tracing's filter directives; `info` unless set.
pub(crate) fn start() -> std::io::Result<Log> {
    let (lines, orders) = mpsc::sync_channel(WAITING);
    std::thread::Builder::new()
        .name("log".to_string())
        .stack_size(128 * 1024)
        .spawn(move || write(&orders))?;
    let log = Log { ring: Arc::default(), lines };
    let filter = EnvFilter::try_from_env("MAINSTAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::registry()
        .with(filter)
        .with(Keep { log: log.clone(), dropped: Mutex::new(0) })
        .init();
    Ok(log)
}

const KEPT: usize = 1000;
const WAITING: usize = 1000;
const LONGEST: usize = 2000;
const FLUSH: Duration = Duration::from_millis(300);

/// Nothing here can fail in a way that somebody could be told of.
fn write(orders: &mpsc::Receiver<Order>) {
    let mut out = std::io::stderr();
    // systemd names the journal's stream in this variable when it reads our standard error, and takes levels from a prefix
    // (sd_journal_stream_fd(3), sd-daemon(3)).
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let colours = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    while let Ok(order) = orders.recv() {
        let _ = match order {
            Order::Flush(done) => done.try_send(()).map_err(std::io::Error::other),
            Order::Line(level, line) if journal => {
                let line = line.split_once(' ').map_or(line.as_str(), |(_, rest)| rest);
                writeln!(out, "<{}>{line}", priority(level))
            }
            Order::Line(level, line) if colours && level <= Level::WARN => {
                writeln!(out, "\x1b[{}m{line}\x1b[0m", if level == Level::ERROR { 31 } else { 33 })
            }
            Order::Line(_, line) => writeln!(out, "{line}"),
        };
    }
}

/// syslog(3).
fn priority(level: Level) -> u8 {
    if level == Level::ERROR {
        3
    } else if level == Level::WARN {
        4
    } else if level == Level::INFO {
        6
    } else {
        7
    }
}

struct Keep {
    log: Log,
    /// Lines that nobody took since the last one that somebody did.
    dropped: Mutex<u64>,
}

impl Keep {
    fn pass(&self, level: Level, text: String) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if *dropped > 0 {
            let note = format!("{} WARN {} log lines were not taken and are lost", stamp(), *dropped);
            if self.log.lines.try_send(Order::Line(Level::WARN, note)).is_ok() {
                *dropped = 0;
            }
        }
        if let Err(TrySendError::Full(_)) = self.log.lines.try_send(Order::Line(level, text)) {
            *dropped += 1;
        }
    }
}

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line { text: String::new(), fields: String::new() };
        event.record(&mut line);
        let level = *event.metadata().level();
        let mut text = format!("{} {level} {}{}", stamp(), line.text, line.fields);
        if text.len() > LONGEST {
            let cut = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(cut);
        }
        let mut ring = self.log.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= KEPT {
            ring.pop_front();
        }
        ring.push_back(text.clone());
        drop(ring);
        self.pass(level, text);
    }
}

/// Time of day, UTC; days are told by whoever keeps the log.
fn stamp() -> String {
    let second = clock::system_seconds() % 86_400;
    format!("{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

struct Line {
    text: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.text, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
