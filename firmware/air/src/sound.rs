//! From capture to packets: one thread takes each period, measures it and encodes it. It may wait for capture; it never
//! waits for delivery.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use capture::{Capture, Next, PeriodKind, Status};
use programme::{Change, Meter, MeterConfig};
use units::snapshot::Levels;
use units::{Dbfs, Frames, Instant, Rendition};

use crate::clock;
use crate::encoders::Encoders;

/// One packet on its way to delivery.
pub(crate) struct Packet {
    pub rendition: Rendition,
    pub bytes: Box<[u8]>,
    /// Frames of programme up to the packet's end.
    pub frames: Frames,
}

/// The sound thread, from outside.
pub(crate) struct Sound {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the sound thread lets others see.
#[derive(Default)]
struct Shared {
    levels: Mutex<Option<Levels>>,
    /// When somebody last asked for levels (microseconds): they are worked out only while somebody looks.
    wanted: AtomicU64,
    status: Mutex<Option<Arc<Status>>>,
}

/// Everything that can be changed while the sound runs.
enum Order {
    /// Another input. If it does not start, the old one goes on and the reason comes back.
    Input(Option<capture::Config>, mpsc::SyncSender<Result<(), capture::Error>>),
    /// Another meter.
    Meter(MeterConfig),
    /// These renditions from now on; those that stay keep their encoder.
    Encoders(Vec<(Rendition, encode::Options)>, mpsc::SyncSender<Result<(), encode::Error>>),
    Stop,
}

impl Sound {
    /// Starts the thread without input, meter and encoders.
    pub(crate) fn start(packets: tokio::sync::mpsc::Sender<Packet>) -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("sound".to_string())
            .spawn(move || Thread::new(inbox, theirs, packets).run())
            .context("starting the sound thread")?;
        Ok(Self { orders, shared, thread: Some(thread) })
    }

    /// Changes the input; returns once the new one runs.
    pub(crate) fn input(&self, config: Option<capture::Config>) -> anyhow::Result<()> {
        let (answer, verdict) = mpsc::sync_channel(1);
        self.orders.send(Order::Input(config, answer)).context("the sound thread is gone")?;
        verdict.recv().context("the sound thread is gone")?.context("the input cannot be used")
    }

    pub(crate) fn meter(&self, config: MeterConfig) -> anyhow::Result<()> {
        self.orders.send(Order::Meter(config)).context("the sound thread is gone")
    }

    /// Changes the renditions; returns once all of them are encoded.
    pub(crate) fn encoders(&self, wanted: Vec<(Rendition, encode::Options)>) -> anyhow::Result<()> {
        let (answer, verdict) = mpsc::sync_channel(1);
        self.orders.send(Order::Encoders(wanted, answer)).context("the sound thread is gone")?;
        verdict.recv().context("the sound thread is gone")?.context("a rendition cannot be encoded")
    }

    /// The newest levels. Asking keeps them coming for a second.
    pub(crate) fn levels(&self) -> Option<Levels> {
        self.shared.wanted.store(clock::now().as_micros(), Ordering::Relaxed);
        self.shared.levels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn status(&self) -> Option<Arc<Status>> {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Thread {
    orders: mpsc::Receiver<Order>,
    shared: Arc<Shared>,
    encoders: Encoders,
    capture: Option<Running>,
    meter: Option<Meter>,
    meter_config: MeterConfig,
    position: Frames,
    levels_at: Instant,
}

/// An input that runs, or silence in its place until it can be started again.
struct Running {
    config: capture::Config,
    capture: Capture,
    retry_at: Option<Instant>,
}

impl Thread {
    fn new(
        orders: mpsc::Receiver<Order>,
        shared: Arc<Shared>,
        packets: tokio::sync::mpsc::Sender<Packet>,
    ) -> Self {
        Self {
            orders,
            shared,
            encoders: Encoders::new(packets),
            capture: None,
            meter: None,
            meter_config: MeterConfig::default(),
            position: Frames(0),
            levels_at: Instant::ZERO,
        }
    }

    fn run(mut self) {
        loop {
            let order = if self.capture.is_some() {
                match self.orders.try_recv() {
                    Ok(order) => Some(order),
                    Err(mpsc::TryRecvError::Empty) => None,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            } else {
                match self.orders.recv() {
                    Ok(order) => Some(order),
                    Err(mpsc::RecvError) => return,
                }
            };
            match order {
                Some(Order::Stop) => return,
                Some(Order::Input(config, answer)) => {
                    let _ = answer.send(self.change_input(config));
                }
                Some(Order::Meter(config)) => {
                    self.meter_config = config;
                    self.renew_meter();
                }
                Some(Order::Encoders(wanted, answer)) => {
                    let _ = answer.send(self.encoders.change(&wanted, self.position));
                }
                None => self.period(),
            }
        }
    }

    /// Takes the next period through meter and encoders.
    fn period(&mut self) {
        let Some(running) = &mut self.capture else { return };
        match running.capture.next(PATIENCE) {
            Next::Period(period) => {
                let changes = self.meter.as_mut().map(|meter| meter.feed(period.samples)).unwrap_or_default();
                self.encoders.encode(period.samples);
                self.position +=
                    Frames((period.samples.len() / running.config.pick.channels().count()) as u64);
                // Silence that stands in for a lost card is said by the capture's own state.
                if period.kind == PeriodKind::Sound {
                    say(&changes, running.config.rate);
                }
                self.publish_levels();
            }
            Next::Nothing => {}
            Next::Ended(error) => {
                tracing::error!(alarm = true, "the input ended: {}; silence stands in for it", chain(&error));
                self.stand_in();
            }
        }
        self.retry();
    }

    fn change_input(&mut self, config: Option<capture::Config>) -> Result<(), capture::Error> {
        // The old one lets its card go first: the new one may be the same card.
        let old = self.capture.take().map(|running| running.config);
        let outcome = match config {
            None => {
                self.set_status(None);
                Ok(())
            }
            Some(config) => self.start(config),
        };
        if outcome.is_err()
            && let Some(old) = old
            && let Err(error) = self.start(old.clone())
        {
            tracing::error!(alarm = true, "the old input does not start again either: {}", chain(&error));
            self.stand_in_for(old);
        }
        self.renew_meter();
        outcome
    }

    fn start(&mut self, config: capture::Config) -> Result<(), capture::Error> {
        let capture = capture::start(config.clone())?;
        for warning in capture.warnings() {
            tracing::warn!("{warning}");
        }
        self.set_status(Some(capture.status()));
        self.capture = Some(Running { config, capture, retry_at: None });
        Ok(())
    }

    fn stand_in(&mut self) {
        if let Some(running) = self.capture.take() {
            self.stand_in_for(running.config);
        }
    }

    /// Keeps the clock with silence where an input should be: mounts and listeners stay.
    fn stand_in_for(&mut self, config: capture::Config) {
        let silence = capture::Config {
            input: capture::Input::Tone { hz: 1000.0, level: Dbfs::FLOOR },
            rate: config.rate,
            pick: config.pick,
            period: config.period,
        };
        match capture::start(silence) {
            Ok(capture) => {
                self.set_status(Some(capture.status()));
                let retry_at = Some(clock::now() + RETRY);
                self.capture = Some(Running { config, capture, retry_at });
            }
            Err(error) => tracing::error!(alarm = true, "not even silence can be made: {}", chain(&error)),
        }
    }

    fn retry(&mut self) {
        let Some(running) = &mut self.capture else { return };
        let now = clock::now();
        if running.retry_at.is_none_or(|at| at > now) {
            return;
        }
        running.retry_at = Some(now + RETRY);
        let config = running.config.clone();
        if self.start(config).is_ok() {
            tracing::info!("the input is back");
        }
    }

    fn renew_meter(&mut self) {
        let Some(running) = &self.capture else { return };
        let (rate, channels) = (running.config.rate, running.config.pick.channels());
        match Meter::new(self.meter_config, rate, channels) {
            Ok(meter) => self.meter = Some(meter),
            Err(error) => {
                tracing::error!("no levels: {}", chain(&error));
                self.meter = None;
            }
        }
    }

    fn publish_levels(&mut self) {
        let wanted = Instant::from_micros(self.shared.wanted.load(Ordering::Relaxed));
        let now = clock::now();
        if now.since(wanted) > LOOKED_AT || now.since(self.levels_at) < LEVELS_PACE {
            return;
        }
        self.levels_at = now;
        let levels = self.meter.as_mut().and_then(Meter::levels);
        // Whoever reads holds the lock for a clone; rather than wait, this round is left out.
        if let Ok(mut shared) = self.shared.levels.try_lock() {
            *shared = levels;
        }
    }

    fn set_status(&self, status: Option<Arc<Status>>) {
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// Longest wait for a period before orders are looked at.
const PATIENCE: Duration = Duration::from_millis(50);
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
