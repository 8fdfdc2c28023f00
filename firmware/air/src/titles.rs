//! The edge of titles: a watched file and the CLI in, delivery out. What a title is decides `programme`.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use delivery::Input;
use programme::{FileWatch, Stamp, TitleConfig, Titles, Verdict, decode};
use settings::{TitleFile, TitleSettings};
use tokio::sync::mpsc;

use crate::clock;
use crate::driver::Driver;
use crate::sound::chain;

/// What the title task is told.
pub(crate) enum Order {
    /// A person set a title.
    Set(String),
    /// Shown in place of all others until there is none again.
    Instead(Option<String>),
    /// New settings.
    Settings(Box<TitleSettings>),
}

/// Runs until the other end of `orders` is gone.
pub(crate) async fn run(driver: Driver, mut orders: mpsc::Receiver<Order>) {
    let (offer, mut offers) = mpsc::channel(16);
    let mut titles: Option<Titles> = None;
    // Dropping it ends the thread that watches the old file.
    let mut watching = None;
    let mut instead: Option<String> = None;
    loop {
        let now = clock::now();
        if let Some(title) = titles.as_mut().and_then(|titles| titles.poll(now)) {
            if instead.is_none() {
                driver.feed(Input::Title(title));
            }
            continue;
        }
        let due = titles.as_ref().and_then(Titles::next_wakeup);
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Set(text)) => {
                    if let Some(titles) = &mut titles {
                        titles.set(clock::now(), &text);
                    }
                }
                Some(Order::Instead(title)) => {
                    // An empty one shows nothing better than what is there.
                    let shown = title.filter(|title| !title.is_empty());
                    let usual = || titles.as_ref().and_then(Titles::on_air).unwrap_or_default().to_string();
                    if shown != instead {
                        driver.feed(Input::Title(shown.clone().unwrap_or_else(usual)));
                    }
                    instead = shown;
                }
                Some(Order::Settings(settings)) => {
                    watching = settings.file.clone().and_then(|file| watch(file, offer.clone()));
                    titles = renewed(titles.as_ref(), settings.config);
                }
            },
            Some(text) = offers.recv() => {
                // A file that is not watched any more may have had one last word.
                if let (Some(titles), Some(_)) = (&mut titles, &watching) {
                    titles.offer(clock::now(), &text);
                }
            }
            () = sleep(due) => {}
        }
    }
}

/// Titles by new rules. What is on air stays until the next title; the default shows until there is one.
fn renewed(old: Option<&Titles>, config: TitleConfig) -> Option<Titles> {
    match Titles::new(config) {
        Ok(mut titles) => {
            match old.and_then(Titles::on_air) {
                Some(on_air) => titles.set(clock::now(), on_air),
                None => titles.offer(clock::now(), ""),
            }
            Some(titles)
        }
        Err(error) => {
            tracing::error!("titles: {}", chain(&error));
            None
        }
    }
}

/// Watches a file on a thread of its own, which may hang with the share that the file lies on. It ends when the returned
/// end of its channel is dropped.
fn watch(file: TitleFile, offer: mpsc::Sender<String>) -> Option<std::sync::mpsc::Sender<()>> {
    let (stay, gone) = std::sync::mpsc::channel::<()>();
    let look = move || {
        let mut state = Watched { file, watch: FileWatch::new(), complained: false };
        while gone.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if let Some(text) = state.look()
                && offer.blocking_send(text).is_err()
            {
                return;
            }
        }
    };
    match std::thread::Builder::new().name("title-file".to_string()).stack_size(128 * 1024).spawn(look) {
        Ok(_) => Some(stay),
        Err(error) => {
            tracing::error!("no thread to watch the title file with: {error}");
            None
        }
    }
}

struct Watched {
    file: TitleFile,
    watch: FileWatch,
    /// What was wrong with the file is said once.
    complained: bool,
}

impl Watched {
    /// The file's text, if it is new and whole.
    fn look(&mut self) -> Option<String> {
        let Ok(meta) = std::fs::metadata(&self.file.path) else {
            self.watch.gone();
            return None;
        };
        let mtime_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        match self.watch.saw(clock::now(), Stamp { mtime_ns, len: meta.len() }) {
            Verdict::Unchanged | Verdict::Wait { .. } => None,
            Verdict::Read => match read(&self.file) {
                Ok(text) => {
                    self.complained = false;
                    Some(text)
                }
                Err(why) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!("title file {}: {why}", self.file.path.display());
                    }
                    None
                }
            },
        }
    }
}

fn read(file: &TitleFile) -> Result<String, String> {
    let mut bytes = Vec::new();
    // A pipe would be waited for.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&file.path);
    let opened = opened.map_err(|error| error.to_string())?;
    if !opened.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err("it is no ordinary file".to_string());
    }
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
