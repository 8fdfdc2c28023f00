//! The running box: its settings and the parts they were given to; what changes them goes through here.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use delivery::Config;
use delivery::config::MountConfig;
use settings::Settings;
use tokio::sync::mpsc;
use units::snapshot::{Command, DrillNews, DrillReport, Measure, Reply};

use crate::aside::aside;
use crate::drill;
use crate::driver::Driver;
use crate::incidents::Incidents;
use crate::kept;
use crate::log::Log;
use crate::orders;
use crate::report::{Fixed, snapshot};
use crate::sound::Sound;
use crate::tiers::{self, Heard, News, Setup, Wanted};
use crate::titles;

/// Everything that runs.
pub(crate) struct Station {
    path: PathBuf,
    settings: RefCell<Settings>,
    sound: Rc<Sound>,
    driver: Driver,
    titles: mpsc::Sender<titles::Order>,
    log: Log,
    incidents: Incidents,
    fixed: Fixed,
    seed: u64,
    /// The output that a survey keeps off its mounts.
    off_air: RefCell<Option<String>>,
    /// All mounts are closed, so that the platform's own fallback plays.
    dropped: Cell<bool>,
    /// Surveys are made one at a time.
    pub(crate) surveying: tokio::sync::Mutex<()>,
    /// Reloads come one after the other.
    reloading: tokio::sync::Mutex<()>,
}

impl Station {
    /// Takes the parts over and puts `settings` into effect. Mounts come first: they connect while the input opens.
    pub(crate) async fn start(
        path: PathBuf,
        settings: Settings,
        sound: Rc<Sound>,
        driver: Driver,
        titles: mpsc::Sender<titles::Order>,
        log: Log,
        seed: u64,
    ) -> anyhow::Result<Rc<Self>> {
        let fixed = Fixed { started: crate::clock::now() };
        let (settings, reloading) = (RefCell::new(settings), tokio::sync::Mutex::new(()));
        let incidents = Incidents::new(seed);
        let (off_air, surveying) = (RefCell::new(None), tokio::sync::Mutex::new(()));
        let station = Self {
            path,
            settings,
            sound,
            driver,
            titles,
            log,
            incidents,
            fixed,
            seed,
            off_air,
            dropped: Cell::new(false),
            surveying,
            reloading,
        };
        let settings = station.settings.borrow().clone();
        let keeping = station.incidents.clone().keep(station.driver.clone(), settings.control.state.clone());
        tokio::task::spawn_local(keeping);
        station.driver.configure(station.delivery_config(&settings));
        station.driver.archive().configure(settings.recording.as_ref());
        let encoders = station.sound.prepare(&settings.encoders)?;
        station.sound.commit(&settings.encoders, encoders);
        station.watch(&settings, Some(kept::load(&settings.control.state)));
        station.retitle(&settings);
        station.sound.input(settings.input).await?;
        Ok(Rc::new(station))
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.borrow().clone()
    }

    pub(crate) fn driver(&self) -> Driver {
        self.driver.clone()
    }

    /// Takes an output off its mounts for as long as the result lives. One at a time.
    pub(crate) fn off_air(station: &Rc<Self>, output: &str) -> OffAir {
        tracing::info!(output, "off its mounts, for a survey");
        station.off_air.replace(Some(output.to_string()));
        station.driver.configure(station.delivery_config(&station.settings.borrow()));
        OffAir(Rc::clone(station))
    }

    /// Answers one request; those that are answered again and again are the socket's business.
    pub(crate) async fn answer(&self, command: Command) -> Reply {
        match command {
            Command::Status | Command::Watch { .. } => {
                // The first look in a while wakes the meters; levels follow within their pace.
                if self.settings.borrow().meters && self.sound.levels().is_none() {
                    tokio::time::sleep(METERS_WAKE).await;
                }
                let station = self.settings.borrow().station.clone();
                Reply::Snapshot(Box::new(snapshot(&self.fixed, &station, &self.sound, &self.driver)))
            }
            Command::Title { text } => match self.titles.send(titles::Order::Set(text.clone())).await {
                Ok(()) => Reply::Done { changes: vec![format!("title: {text}")] },
                Err(_) => Reply::Refused { why: "the title task is gone; restart mainstay-air".to_string() },
            },
            Command::Order { wanted, output, at } => {
                orders::order(&self.driver, wanted, output, at.as_deref())
            }
            Command::Reload => match self.reload().await {
                Ok(changes) => Reply::Done { changes },
                Err(error) => Reply::Refused { why: format!("{error:#}") },
            },
            Command::Check { path } => match load(PathBuf::from(path)).await {
                Ok(new) => Reply::Done { changes: self.interruptions(&new) },
                Err(error) => Reply::Refused { why: format!("{error:#}") },
            },
            Command::Log { lines } => Reply::Log { lines: self.log.newest(lines as usize) },
            Command::Tier(order) => match self.sound.order(&order) {
                Ok(what) => Reply::Done { changes: vec![what] },
                Err(why) => Reply::Refused { why },
            },
            Command::Measure(_) => {
                Reply::Refused { why: "measurements are answered by the socket".to_string() }
            }
            Command::Survey(_) => Reply::Refused { why: "surveys are answered by the socket".to_string() },
            Command::Events => match serde_json::to_string(&self.driver.recording()) {
                Ok(recording) => Reply::Events { recording },
                Err(error) => Reply::Refused { why: format!("the recording cannot be written: {error}") },
            },
            Command::Incidents => self.incidents.reply(),
            Command::Recordings => self.driver.archive().list(),
            Command::Cut { from, to } => self.driver.archive().cut(from, to).await,
            Command::Mark { text } => self.driver.archive().mark(&text),
            Command::Drill { .. } => Reply::Refused { why: "a drill is not answered at once".to_string() },
        }
    }

    /// Listens for somebody, for as long as that takes.
    pub(crate) async fn measure(&self, order: Measure) -> Result<Vec<String>, String> {
        let gone = |_| "the input changed meanwhile; try again".to_string();
        let (_, headroom) = self.sound.trim().ok_or("there is no input; name one in the settings")?;
        match order {
            Measure::Floor { seconds } => {
                let heard = self.sound.listen(Wanted::Floor, Duration::from_secs(seconds))?;
                tiers::propose(&heard.await.map_err(gone)?, None, headroom)
            }
            Measure::Trim { seconds, target } => {
                let heard = self.sound.listen(Wanted::Line, Duration::from_secs(seconds))?;
                let target = units::Lufs::new(f64::from(target) / 100.0);
                tiers::propose(&heard.await.map_err(gone)?, target, headroom)
            }
            Measure::Match { url, seconds } => {
                let span = Duration::from_secs(seconds);
                let address = settings::stream_address(&url)?;
                let config = self.sound.config().ok_or("there is no input; name one in the settings")?;
                let config = capture::Config {
                    input: self.sound.stream(&address),
                    clock: capture::Clock::Report,
                    ..config
                };
                let ours = self.sound.listen(Wanted::Programme, span)?;
                let theirs = aside("match-loudness", move || tiers::loudness_of(config, span)).await;
                let theirs = theirs.ok_or("no thread to listen with")??;
                let ours = match ours.await.map_err(gone)? {
                    Heard::Loudness(measured) => measured,
                    Heard::Floor(_) => None,
                };
                let (trim, headroom) = self.sound.trim().ok_or("there is no input any more")?;
                tiers::propose_match(ours, theirs, trim, headroom)
            }
        }
    }

    /// Does what the tiers ask of the rest of the box.
    pub(crate) async fn heard(&self, news: News) {
        match news {
            News::Title(title) => {
                let _ = self.titles.send(titles::Order::Instead(title)).await;
            }
            News::Dropped(dropped) => {
                self.dropped.set(dropped);
                self.driver.configure(self.delivery_config(&self.settings.borrow()));
            }
            News::Ordered => self.save_tiers().await,
            News::Changed(what) => self.driver.archive().around_now(&what),
        }
    }

    /// Keeps what outlives a restart, now and then.
    pub(crate) async fn keep_tiers(self: Rc<Self>) {
        loop {
            tokio::time::sleep(KEEP_PACE).await;
            self.save_tiers().await;
        }
    }

    async fn save_tiers(&self) {
        let Some(kept) = self.sound.kept() else { return };
        let state = self.settings.borrow().control.state.clone();
        kept::save(&state, kept).await;
    }

    fn watch(&self, settings: &Settings, kept: Option<tiers::Kept>) {
        let setup = Setup {
            faults: settings.faults,
            rules: settings.tiers.rules.clone(),
            levels_out: settings.levels_out,
            meters: settings.meters,
            backups: settings.tiers.backups.clone(),
            emergency: settings.tiers.emergency.clone(),
        };
        self.sound.interfaces(settings.uplinks.iter().map(|uplink| uplink.interface.clone()).collect());
        let state = settings.control.state.clone();
        let saved = crate::saved_time::load(&state);
        self.sound.tiers(setup, kept, state, saved);
    }

    /// Drills an output, telling `news` what happens.
    pub(crate) fn drill(
        &self,
        order: drill::Order,
        news: mpsc::Sender<DrillNews>,
    ) -> impl Future<Output = Result<DrillReport, String>> + 'static {
        drill::run(self.driver.clone(), self.incidents.clone(), self.settings.borrow().clone(), order, news)
    }

    /// Reads the settings again. Refused ones change nothing on air.
    pub(crate) async fn reload(&self) -> anyhow::Result<Vec<String>> {
        let _turn = self.reloading.lock().await;
        let new = load(self.path.clone()).await?;
        let changes = self.interruptions(&new);
        let old = self.settings.borrow().clone();
        // What can be refused comes first: nothing has changed until all of it is ready.
        let encoders = self.sound.prepare(&new.encoders)?;
        if new.input != old.input {
            self.sound.input(new.input.clone()).await?;
        }
        self.sound.commit(&new.encoders, encoders);
        self.watch(&new, None);
        self.driver.configure(self.delivery_config(&new));
        self.driver.archive().configure(new.recording.as_ref());
        if new.titles != old.titles {
            self.retitle(&new);
        }
        if new.control != old.control {
            tracing::warn!(
                "[control] is read at start only; restart mainstay-air for the new socket or state folder"
            );
        }
        self.settings.replace(new);
        for change in &changes {
            tracing::info!("reload: {change}");
        }
        Ok(changes)
    }

    fn interruptions(&self, new: &Settings) -> Vec<String> {
        settings::interrupted(&self.settings.borrow(), new).to_string().lines().map(str::to_string).collect()
    }

    fn retitle(&self, settings: &Settings) {
        // The queue is read all the time; if it is full, titles come faster than anybody can read them.
        let _ = self.titles.try_send(titles::Order::Settings(Box::new(settings.titles.clone())));
    }

    fn delivery_config(&self, settings: &Settings) -> Config {
        let off_air = self.off_air.borrow();
        // A fallback of ours would only carry the same silence to whoever is moved there.
        let off = |mount: &MountConfig| self.dropped.get() || off_air.as_ref() == Some(&mount.id.output);
        Config {
            // The number tells this box's sources from another's, also of the same station.
            agent: format!(concat!("Mainstay/", env!("CARGO_PKG_VERSION"), " ({:08x})"), self.seed as u32),
            seed: self.seed,
            mounts: settings.mounts.iter().filter(|mount| !off(mount)).cloned().collect(),
            uplinks: settings.uplinks.clone(),
            outputs: settings.outputs.clone(),
        }
    }
}

/// An output is off its mounts until this is dropped.
pub(crate) struct OffAir(Rc<Station>);

impl Drop for OffAir {
    fn drop(&mut self) {
        let output = self.0.off_air.take();
        self.0.driver.configure(self.0.delivery_config(&self.0.settings.borrow()));
        tracing::info!(output, "back on its mounts");
    }
}

/// Reads settings aside: they may lie on a share that hangs.
async fn load(path: PathBuf) -> anyhow::Result<Settings> {
    let read = aside("settings", move || settings::load(&path)).await;
    Ok(read.context("no thread to read the settings with")??)
}

/// A seed that is another on every box and every start.
pub(crate) fn seed() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    let mut random =
        std::fs::File::open("/dev/urandom").context("opening /dev/urandom for the jitter's seed")?;
    std::io::Read::read_exact(&mut random, &mut bytes)
        .context("reading /dev/urandom for the jitter's seed")?;
    Ok(u64::from_le_bytes(bytes))
}

const KEEP_PACE: Duration = Duration::from_secs(300);
const METERS_WAKE: Duration = Duration::from_millis(120);
