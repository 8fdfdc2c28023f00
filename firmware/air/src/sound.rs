//! From capture to packets: each period is measured and encoded as it comes. This runs on the driver's thread, since a
//! wake-up of one more thread costs more than all of our own code per packet; capture has a thread of its own and waits for
//! nobody.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use capture::{Capture, Next, PeriodKind, Status};
use programme::{Change, Meter, MeterConfig};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use units::snapshot::Levels;
use units::{Dbfs, Frames, Instant, Rendition};

use crate::clock;
use crate::driver::Driver;
use crate::encoders::{Encoders, Packet};

/// The sound of the box; for the driver's thread only.
pub(crate) struct Sound {
    state: RefCell<State>,
    /// When somebody last asked for levels: they are worked out only while somebody looks.
    wanted: Cell<Instant>,
    /// The input is another one.
    changed: Notify,
}

struct State {
    encoders: Encoders,
    input: Option<Running>,
    meter: Option<Meter>,
    meter_config: MeterConfig,
    levels: Option<Levels>,
    levels_at: Instant,
    position: Frames,
}

/// An input that runs, or silence in its place until it can be started again.
struct Running {
    config: capture::Config,
    capture: Capture,
    bell: Rc<AsyncFd<OwnedFd>>,
    retry_at: Option<Instant>,
}

impl Sound {
    /// No input, no meter and no encoder yet. Packets go to `driver`, those of further encoders by `packets`.
    pub(crate) fn new(driver: Driver, packets: tokio::sync::mpsc::Sender<Packet>) -> Rc<Self> {
        let state = State {
            encoders: Encoders::new(driver, packets),
            input: None,
            meter: None,
            meter_config: MeterConfig::default(),
            levels: None,
            levels_at: Instant::ZERO,
            position: Frames(0),
        };
        Rc::new(Self { state: RefCell::new(state), wanted: Cell::new(Instant::ZERO), changed: Notify::new() })
    }

    /// Takes periods for ever.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let bell = self.state.borrow().input.as_ref().map(|input| Rc::clone(&input.bell));
            let Some(bell) = bell else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.changed.notified() => {}
                ready = bell.readable() => match ready {
                    Ok(mut ready) => {
                        ready.clear_ready();
                        if let Some(config) = self.take_periods() {
                            self.stand_in(config).await;
                        }
                    }
                    Err(error) => {
                        tracing::error!(alarm = true, "capture's bell cannot be heard: {error}");
                        tokio::time::sleep(RETRY).await;
                    }
                },
            }
            self.retry().await;
        }
    }

    /// Changes the input. If the new one does not start, the old one goes on.
    pub(crate) async fn input(&self, config: Option<capture::Config>) -> anyhow::Result<()> {
        let old = self.state.borrow_mut().input.take().map(|running| (running.config, running.capture));
        let (old_config, old_capture) = old.unzip();
        // The old one lets its card go first: the new one may be the same card.
        let outcome = match config {
            None => {
                tokio::task::spawn_blocking(move || drop(old_capture))
                    .await
                    .context("closing the old input")?;
                Ok(())
            }
            Some(config) => self.start(config, old_capture).await,
        };
        if outcome.is_err()
            && let Some(old) = old_config
            && let Err(error) = self.start(old.clone(), None).await
        {
            tracing::error!(alarm = true, "the old input does not start again either: {error:#}");
            self.stand_in(old).await;
        }
        self.changed.notify_one();
        outcome.context("the input cannot be used")
    }

    pub(crate) fn meter(&self, config: MeterConfig) {
        let mut state = self.state.borrow_mut();
        state.meter_config = config;
        state.renew_meter();
    }

    /// Changes the renditions. On an error nothing has changed.
    pub(crate) fn encoders(&self, wanted: &[(Rendition, encode::Options)]) -> anyhow::Result<()> {
        let mut state = self.state.borrow_mut();
        let position = state.position;
        state.encoders.change(wanted, position).context("a rendition cannot be encoded")
    }

    /// The newest levels. Asking keeps them coming for a second.
    pub(crate) fn levels(&self) -> Option<Levels> {
        self.wanted.set(clock::now());
        self.state.borrow().levels.clone()
    }

    pub(crate) fn status(&self) -> Option<Arc<Status>> {
        self.state.borrow().input.as_ref().map(|input| input.capture.status())
    }

    /// Takes every period that is there. Returns the input that ended, if it did.
    fn take_periods(&self) -> Option<capture::Config> {
        let state = &mut *self.state.borrow_mut();
        let input = state.input.as_mut()?;
        let channels = input.config.pick.channels().count();
        loop {
            match input.capture.poll() {
                Next::Period(period) => {
                    let changes =
                        state.meter.as_mut().map(|meter| meter.feed(period.samples)).unwrap_or_default();
                    state.encoders.encode(period.samples);
                    state.position += Frames((period.samples.len() / channels) as u64);
                    // Silence that stands in for a lost card is said by the capture's own state.
                    if period.kind == PeriodKind::Sound {
                        say(&changes, input.config.rate);
                    }
                }
                Next::Nothing => break,
                Next::Ended(error) => {
                    tracing::error!(
                        alarm = true,
                        "the input ended: {}; silence stands in for it",
                        chain(&error)
                    );
                    return state.input.take().map(|input| input.config);
                }
            }
        }
        let now = clock::now();
        if now.since(self.wanted.get()) <= LOOKED_AT && now.since(state.levels_at) >= LEVELS_PACE {
            state.levels_at = now;
            state.levels = state.meter.as_mut().and_then(Meter::levels);
        }
        None
    }

    /// Opens a card, a file or a tone, which may take its time: on another thread.
    async fn start(&self, config: capture::Config, old: Option<Capture>) -> anyhow::Result<()> {
        let wanted = config.clone();
        let start = move || {
            drop(old);
            capture::start(wanted)
        };
        let capture = tokio::task::spawn_blocking(start).await.context("opening the input")??;
        for warning in capture.warnings() {
            tracing::warn!("{warning}");
        }
        let bell = capture.bell().try_clone_to_owned().context("hearing the capture's bell")?;
        #[expect(unsafe_code, reason = "tokio cannot see that a descriptor stays the same one")]
        // SAFETY: an `OwnedFd` names one open descriptor until it is dropped, which `AsyncFd` does after deregistering it.
        let bell = unsafe { AsyncFd::register_with_interest(bell, Interest::READABLE) };
        let bell = bell.context("hearing the capture's bell")?;
        let mut state = self.state.borrow_mut();
        state.input = Some(Running { config, capture, bell: Rc::new(bell), retry_at: None });
        state.renew_meter();
        drop(state);
        // What came before the bell was hung is there to be taken; the look arms the bell.
        if let Some(config) = self.take_periods() {
            anyhow::bail!("{:?} ended as soon as it began", config.input);
        }
        Ok(())
    }

    /// Keeps the clock with silence where an input should be: mounts and listeners stay.
    async fn stand_in(&self, config: capture::Config) {
        let silence = capture::Config {
            input: capture::Input::Tone { hz: 1000.0, level: Dbfs::FLOOR },
            ..config.clone()
        };
        match self.start(silence, None).await {
            Ok(()) => {
                if let Some(input) = &mut self.state.borrow_mut().input {
                    input.config = config;
                    input.retry_at = Some(clock::now() + RETRY);
                }
            }
            Err(error) => tracing::error!(alarm = true, "not even silence can be made: {error:#}"),
        }
    }

    /// Tries an input again that silence stands in for.
    async fn retry(&self) {
        let due = {
            let mut state = self.state.borrow_mut();
            let now = clock::now();
            match &mut state.input {
                Some(input) if input.retry_at.is_some_and(|at| at <= now) => {
                    input.retry_at = Some(now + RETRY);
                    Some(input.config.clone())
                }
                Some(_) | None => None,
            }
        };
        if let Some(config) = due
            && self.start(config, None).await.is_ok()
        {
            tracing::info!("the input is back");
        }
    }
}

impl State {
    fn renew_meter(&mut self) {
        let Some(input) = &self.input else { return };
        let (rate, channels) = (input.config.rate, input.config.pick.channels());
        match Meter::new(self.meter_config, rate, channels) {
            Ok(meter) => self.meter = Some(meter),
            Err(error) => {
                tracing::error!("no levels: {}", chain(&error));
                self.meter = None;
            }
        }
    }
}

const RETRY: Duration = Duration::from_secs(2);
const LOOKED_AT: Duration = Duration::from_secs(1);
const LEVELS_PACE: Duration = Duration::from_millis(90);

fn say(changes: &[Change], rate: units::SampleRate) {
    for change in changes {
        match change {
            Change::SilenceBegan { after } => {
                let seconds = after.duration(rate).as_secs();
                tracing::error!(
                    alarm = true,
                    "silence on the programme for {seconds} s; check the studio's line-out"
                );
            }
            Change::SilenceEnded { lasted } => {
                tracing::info!("sound again after {} s of silence", lasted.duration(rate).as_secs());
            }
            Change::ClippingBegan => tracing::warn!("the programme clips; turn the studio's line-out down"),
            Change::ClippingEnded => tracing::info!("the programme does not clip any more"),
        }
    }
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
