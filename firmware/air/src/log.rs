//! Where log lines go: to the journal when systemd reads them, to standard error otherwise; and the newest ones into a ring
//! that the CLI can ask for.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// The newest log lines.
#[derive(Clone, Default)]
pub(crate) struct Ring(Arc<Mutex<VecDeque<String>>>);

impl Ring {
    /// At most `lines` of the newest lines, oldest first.
    pub(crate) fn newest(&self, lines: usize) -> Vec<String> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().skip(ring.len().saturating_sub(lines)).cloned().collect()
    }
}

/// Starts logging. `MAINSTAY_LOG` takes tracing's filter directives; `info` unless set.
pub(crate) fn start() -> Ring {
    let ring = Ring::default();
    let filter = EnvFilter::try_from_env("MAINSTAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // systemd names the journal's stream in this variable when it reads our standard error (sd_journal_stream_fd(3)).
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let stderr = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours)
    });
    tracing_subscriber::registry().with(filter).with(stderr).with(journal).with(Keep(ring.clone())).init();
    ring
}

const KEPT: usize = 1000;
const LONGEST: usize = 2000;

struct Keep(Ring);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line { text: String::new(), fields: String::new() };
        event.record(&mut line);
        let wall = crate::clock::system_seconds();
        let second = wall % 86_400;
        let mut text = format!(
            "{:02}:{:02}:{:02} {} {}{}",
            second / 3600,
            second / 60 % 60,
            second % 60,
            event.metadata().level(),
            line.text,
            line.fields
        );
        if text.len() > LONGEST {
            let cut = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(cut);
        }
        let mut ring = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= KEPT {
            ring.pop_front();
        }
        ring.push_back(text);
    }
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
