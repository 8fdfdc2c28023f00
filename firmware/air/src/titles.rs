//! The edge of titles: a watched file and the CLI in, delivery out. What a title is decides `programme`.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use delivery::Input;
use programme::{FileWatch, Stamp, Titles, Verdict, decode};
use settings::{TitleFile, TitleSettings};
use tokio::sync::mpsc;

use crate::clock;
use crate::driver::Driver;
use crate::sound::chain;

/// What the title task is told.
pub(crate) enum Order {
    /// A person set a title.
    Set(String),
    /// New settings.
    Settings(Box<TitleSettings>),
}

/// Runs until the other end of `orders` is gone.
pub(crate) async fn run(driver: Driver, mut orders: mpsc::Receiver<Order>) {
    let mut state = State { titles: None, file: None };
    loop {
        let now = clock::now();
        if let Some(title) = state.titles.as_mut().and_then(|titles| titles.poll(now)) {
            driver.feed(Input::Title(title));
            continue;
        }
        let due = state.titles.as_ref().and_then(Titles::next_wakeup);
        let look = state.file.as_ref().map(|_| now + LOOK);
        let wakeup = match (due, look) {
            (Some(due), Some(look)) => Some(due.min(look)),
            (due, look) => due.or(look),
        };
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(order) => state.obey(order),
            },
            () = sleep(wakeup) => state.look(),
        }
    }
}

struct State {
    titles: Option<Titles>,
    file: Option<Watched>,
}

struct Watched {
    file: TitleFile,
    watch: FileWatch,
    /// What was wrong with the file is said once.
    complained: bool,
}

impl State {
    fn obey(&mut self, order: Order) {
        match order {
            Order::Set(text) => {
                if let Some(titles) = &mut self.titles {
                    titles.set(clock::now(), &text);
                }
            }
            Order::Settings(settings) => {
                self.file = settings.file.clone().map(|file| Watched {
                    file,
                    watch: FileWatch::new(),
                    complained: false,
                });
                match Titles::new(settings.config) {
                    Ok(mut titles) => {
                        // The default shows until something else does.
                        titles.offer(clock::now(), "");
                        self.titles = Some(titles);
                    }
                    Err(error) => tracing::error!("titles: {}", chain(&error)),
                }
            }
        }
    }

    fn look(&mut self) {
        let (Some(titles), Some(watched)) = (&mut self.titles, &mut self.file) else { return };
        let now = clock::now();
        let Ok(meta) = std::fs::metadata(&watched.file.path) else {
            watched.watch.gone();
            return;
        };
        let mtime_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        match watched.watch.saw(now, Stamp { mtime_ns, len: meta.len() }) {
            Verdict::Unchanged | Verdict::Wait { .. } => {}
            Verdict::Read => match read(&watched.file) {
                Ok(text) => {
                    watched.complained = false;
                    titles.offer(now, &text);
                }
                Err(why) => {
                    if !std::mem::replace(&mut watched.complained, true) {
                        tracing::warn!("title file {}: {why}", watched.file.path.display());
                    }
                }
            },
        }
    }
}

fn read(file: &TitleFile) -> Result<String, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(&file.path).map_err(|error| error.to_string())?;
    opened.take(MOST).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    decode(&bytes, file.encoding).map_err(|error| chain(&error))
}

async fn sleep(until: Option<units::Instant>) {
    match until {
        Some(at) => tokio::time::sleep_until(clock::tokio_instant(at)).await,
        None => std::future::pending().await,
    }
}

/// How often the file is looked at. Network shares and writers that replace the file give no dependable notice.
const LOOK: Duration = Duration::from_millis(100);
/// No title file is longer.
const MOST: u64 = 64 * 1024;
