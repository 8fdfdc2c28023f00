//! From capture to packets: each period is measured and encoded as it comes. This runs on the driver's thread, since a
//! wake-up of one more thread costs more than all of our own code per packet; capture has a thread of its own and waits for
//! nobody.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use capture::{Capture, Next, PeriodKind};
use programme::levels_out::{Gain, Headroom};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, oneshot};
use units::snapshot::{InputReport, InputState, Levels, ProgrammeReport, TierOrder};
use units::{Dbfs, Frames, Instant, Rendition, SampleRate};

use crate::aside::aside;
use crate::clock;
use crate::driver::Driver;
use crate::encoders::{Encoders, Packet, Prepared};
use crate::stream;
use crate::tiers::{self, Heard, Kept, News, Setup, Tiers, Wanted};
use crate::tls::Judge;

/// The sound of the box; for the driver's thread only.
pub(crate) struct Sound {
    state: RefCell<State>,
    /// When somebody last asked for levels: they are worked out only while somebody looks.
    wanted: Cell<Instant>,
    /// The input is another one.
    changed: Notify,
    /// There are other tiers: whoever opens further inputs and prepares files begins anew.
    rebuilt: Notify,
    /// Where ready forms of emergency files lie, and the latest time the box has known.
    state_folder: RefCell<(std::path::PathBuf, u64)>,
    /// The uplinks' interfaces, best first.
    interfaces: RefCell<Vec<String>>,
    news: UnboundedSender<News>,
    /// Whoever changes the input holds this.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    encoders: Encoders,
    input: Option<Running>,
    setup: Option<Setup>,
    tiers: Option<Tiers>,
    /// What the tiers before these would have kept.
    kept: Kept,
    levels: Option<Levels>,
    levels_at: Instant,
    position: Frames,
    /// The programme is quiet just now.
    pausing: bool,
    /// When the newest frame of the programme was captured.
    heard_at: Option<Instant>,
}

/// An input that runs, or silence in its place until it can be started again.
struct Running {
    config: capture::Config,
    capture: Capture,
    bell: Rc<AsyncFd<OwnedFd>>,
    /// No period of it was taken yet.
    is_new: bool,
    kind: PeriodKind,
    stands_in: Option<StandIn>,
}

/// Why silence stands in for an input, and when the input is tried again.
struct StandIn {
    since: Instant,
    why: String,
    retry_at: Instant,
}

impl Sound {
    /// No input, no meter and no encoder yet. Packets go to `driver`, those of further encoders by `packets`.
    /// What the rest of the box has to do comes as `news`.
    pub(crate) fn new(
        driver: Driver,
        packets: tokio::sync::mpsc::Sender<Packet>,
        news: UnboundedSender<News>,
    ) -> Rc<Self> {
        let state = State {
            encoders: Encoders::new(driver, packets),
            input: None,
            setup: None,
            tiers: None,
            kept: Kept::default(),
            levels: None,
            levels_at: Instant::ZERO,
            position: Frames(0),
            pausing: false,
            heard_at: None,
        };
        Rc::new(Self {
            state: RefCell::new(state),
            wanted: Cell::new(Instant::ZERO),
            changed: Notify::new(),
            rebuilt: Notify::new(),
            state_folder: RefCell::default(),
            interfaces: RefCell::default(),
            news,
            turn: tokio::sync::Mutex::new(()),
        })
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
                        if let Some((config, why)) = self.take_periods() {
                            let _turn = self.turn.lock().await;
                            self.stand_in(config, why).await;
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
        let _turn = self.turn.lock().await;
        let outcome = match config {
            None => {
                self.retire(self.state.borrow_mut().input.take());
                Ok(())
            }
            Some(config) if self.holds_the_card_of(&config) => self.swap(config).await,
            Some(config) => open(config, None).await.map(|running| self.install(running)),
        };
        self.changed.notify_one();
        outcome.context("the input cannot be used")
    }

    /// What is watched, chosen and done to the levels from now on. `kept`: what outlived a restart; `folder` holds the ready
    /// forms of emergency files, `saved` is the latest time the box has known.
    pub(crate) fn tiers(&self, setup: Setup, kept: Option<Kept>, folder: std::path::PathBuf, saved: u64) {
        self.state_folder.replace((folder, saved));
        let mut state = self.state.borrow_mut();
        state.setup = Some(setup);
        if let Some(kept) = kept {
            state.kept = kept;
        }
        drop(state);
        self.renew_tiers();
    }

    /// The uplinks' interfaces, for streams that are dialled from now on.
    pub(crate) fn interfaces(&self, interfaces: Vec<String>) {
        self.interfaces.replace(interfaces);
    }

    /// Which tier is on air, and how all of them are.
    pub(crate) fn programme(&self, now: Instant) -> Option<ProgrammeReport> {
        self.state.borrow().tiers.as_ref().map(|tiers| tiers.report(now))
    }

    /// Carries out what a person wants on air.
    pub(crate) fn order(&self, order: &TierOrder) -> Result<String, String> {
        let mut state = self.state.borrow_mut();
        let tiers = state.tiers.as_mut().ok_or("there is no input; name one in the settings")?;
        tiers.order(order)
    }

    /// What outlives a restart.
    pub(crate) fn kept(&self) -> Option<Kept> {
        self.state.borrow_mut().tiers.as_mut().map(Tiers::kept)
    }

    /// Listens to the line or the programme for a while.
    pub(crate) fn listen(&self, wanted: Wanted, span: Duration) -> Result<oneshot::Receiver<Heard>, String> {
        let mut state = self.state.borrow_mut();
        let tiers = state.tiers.as_mut().ok_or("there is no input; name one in the settings")?;
        tiers.listen(wanted, span).map_err(|error| format!("{error:#}"))
    }

    /// The trim in force, and what keeps peaks down.
    pub(crate) fn trim(&self) -> Option<(Gain, Headroom)> {
        self.state.borrow().tiers.as_ref().map(Tiers::trim)
    }

    /// How the running input is captured.
    pub(crate) fn config(&self) -> Option<capture::Config> {
        self.state.borrow().input.as_ref().map(|input| input.config.clone())
    }

    /// An input for a network stream.
    pub(crate) fn stream(&self, address: &settings::StreamAddress) -> capture::Input {
        let saved = self.state_folder.borrow().1;
        stream::input(address, self.interfaces.borrow().clone(), Judge::new(saved))
    }

    /// Makes the encoders of `wanted` that are not there yet; nothing changes.
    pub(crate) fn prepare(&self, wanted: &[(Rendition, encode::Options)]) -> anyhow::Result<Prepared> {
        self.state.borrow().encoders.prepare(wanted).context("a rendition cannot be encoded")
    }

    /// From now on `wanted` is encoded; `prepared` comes from [`Sound::prepare`] with the same list.
    pub(crate) fn commit(&self, wanted: &[(Rendition, encode::Options)], prepared: Prepared) {
        let state = &mut *self.state.borrow_mut();
        state.encoders.commit(wanted, prepared, state.position);
    }

    /// The newest levels. Asking keeps them coming for a second.
    pub(crate) fn levels(&self) -> Option<Levels> {
        self.wanted.set(clock::now());
        self.state.borrow().levels.clone()
    }

    /// The input as people see it.
    pub(crate) fn report(&self, now: Instant) -> Option<InputReport> {
        let state = self.state.borrow();
        let input = state.input.as_ref()?;
        let mut report = input.capture.status().report(now);
        if let Some(stand_in) = &input.stands_in {
            report.name = format!("{:?}", input.config.input);
            report.state = InputState::Lost { since: stand_in.since, why: stand_in.why.clone() };
        }
        Some(report)
    }

    /// Takes every period that is there. Returns the input that ended, if it did, and why.
    fn take_periods(&self) -> Option<(capture::Config, String)> {
        let state = &mut *self.state.borrow_mut();
        let input = state.input.as_mut()?;
        let (rate, channels) = (input.config.rate, input.config.pick.channels().count());
        let mut turned = false;
        let status = input.capture.status();
        let now = clock::now();
        loop {
            match input.capture.poll() {
                Next::Period(period) => {
                    let frames = Frames((period.samples.len() / channels) as u64);
                    if std::mem::replace(&mut input.is_new, false) {
                        let began = period.stamp - frames.duration(rate);
                        let missing = missing(state.heard_at, began, rate);
                        state.encoders.encode(&vec![0.0; missing.0 as usize * channels]);
                        state.position += missing;
                    }
                    state.position += frames;
                    state.heard_at = Some(period.stamp);
                    turned |= std::mem::replace(&mut input.kind, period.kind) != period.kind;
                    match &mut state.tiers {
                        Some(tiers) => {
                            let status = &status;
                            let why = || match status.report(now).state {
                                InputState::Lost { why, .. } => Some(why),
                                InputState::Starting | InputState::Capturing => None,
                            };
                            state.encoders.encode(tiers.period(now, &period, why));
                            let pausing = tiers.quiet_for() >= PAUSE;
                            if std::mem::replace(&mut state.pausing, pausing) != pausing {
                                state.encoders.pausing(pausing);
                            }
                        }
                        None => state.encoders.encode(period.samples),
                    }
                }
                Next::Nothing => break,
                Next::Ended(error) => {
                    let why = chain(&error);
                    tracing::error!(alarm = true, "the input ended: {why}; silence stands in for it");
                    return state.input.take().map(|input| (input.config, why));
                }
            }
        }
        let now = clock::now();
        if turned {
            say_turn(&input.capture.status().report(now), input.kind);
        }
        if now.since(self.wanted.get()) <= LOOKED_AT && now.since(state.levels_at) >= LEVELS_PACE {
            state.levels_at = now;
            state.levels = state.tiers.as_mut().and_then(Tiers::levels);
        }
        None
    }

    /// Whether the running input is the very card that `config` names: then it must be closed before it can be opened.
    fn holds_the_card_of(&self, config: &capture::Config) -> bool {
        match (&self.state.borrow().input, &config.input) {
            (Some(Running { config: old, .. }), capture::Input::Alsa { device, .. }) => {
                matches!(&old.input, capture::Input::Alsa { device: held, .. } if held == device)
            }
            (Some(_) | None, _) => false,
        }
    }

    /// Opens the same card with other parameters, or with the old ones again.
    async fn swap(&self, config: capture::Config) -> anyhow::Result<()> {
        let Some(old) = self.state.borrow_mut().input.take() else { return Ok(()) };
        let outcome = open(config, Some(old.capture)).await;
        match outcome {
            Ok(running) => {
                self.install(running);
                Ok(())
            }
            Err(refused) => {
                match open(old.config.clone(), None).await {
                    Ok(running) => self.install(running),
                    Err(error) => {
                        tracing::error!(alarm = true, "the old input does not start again either: {error:#}");
                        self.stand_in(old.config, format!("{error:#}")).await;
                    }
                }
                Err(refused)
            }
        }
    }

    /// The input is this one from now on.
    fn install(&self, running: Running) {
        let mut state = self.state.borrow_mut();
        let old = state.input.replace(running);
        drop(state);
        self.retire(old);
        self.renew_tiers();
        // What came before the bell was hung is there to be taken; the look arms the bell.
        if let Some((_, why)) = self.take_periods() {
            tracing::error!(alarm = true, "the input ended as soon as it began: {why}");
        }
        self.changed.notify_one();
    }

    /// Closing a card may take its time.
    fn retire(&self, old: Option<Running>) {
        if let Some(Running { capture, .. }) = old {
            tokio::task::spawn_local(aside("close-input", move || drop(capture)));
        }
    }

    /// Makes the tiers anew where another setup or another format asks for it. What they knew goes along.
    fn renew_tiers(&self) {
        let mut state = self.state.borrow_mut();
        let State { input, setup, tiers, kept, .. } = &mut *state;
        let (Some(input), Some(setup)) = (input, setup) else { return };
        let format = (input.config.rate, input.config.pick.channels());
        if tiers.as_ref().is_some_and(|tiers| *tiers.setup() == *setup && tiers.format() == format) {
            return;
        }
        let old = tiers.take();
        if let Some(mut old) = old {
            *kept = old.kept();
            tokio::task::spawn_local(aside("close-backups", move || drop(old.into_closing())));
        }
        let what = input.capture.status().report(clock::now()).name;
        match Tiers::new(setup.clone(), &what, format.0, format.1, kept, self.news.clone()) {
            Ok(new) => *tiers = Some(new),
            Err(error) => tracing::error!(alarm = true, "only the line-in, unwatched: {error:#}"),
        }
        drop(state);
        self.rebuilt.notify_one();
    }

    /// Opens further inputs and prepares emergency audio, for ever.
    pub(crate) async fn stand_by(self: Rc<Self>) {
        loop {
            self.open_backups().await;
            self.prepare_files().await;
            tokio::select! {
                () = self.rebuilt.notified() => {}
                () = tokio::time::sleep(LOOK_ASIDE) => {}
            }
        }
    }

    async fn open_backups(&self) {
        let (wanted, format, period) = {
            let mut state = self.state.borrow_mut();
            let State { input: Some(input), tiers: Some(tiers), .. } = &mut *state else { return };
            let ended = tiers.ended_backups();
            let backups = tiers.setup().backups.clone();
            let wanted: Vec<_> = ended
                .into_iter()
                .filter_map(|(place, old)| Some((place, old, backups.get(place)?.clone())))
                .collect();
            (wanted, tiers.format(), input.config.period)
        };
        for (place, old, backup) in wanted {
            let input = match &backup.source {
                settings::BackupSource::Local(input) => input.clone(),
                settings::BackupSource::Stream(address) => self.stream(address),
            };
            let config = capture::Config {
                input,
                rate: format.0,
                pick: backup.pick,
                period,
                clock: capture::Clock::Report,
            };
            let start = move || {
                drop(old);
                capture::start(config)
            };
            let opened = aside("open-backup", start).await;
            let mut state = self.state.borrow_mut();
            // Others may have come meanwhile: then this one is not theirs.
            let Some(tiers) =
                state.tiers.as_mut().filter(|tiers| tiers.setup().backups.get(place) == Some(&backup))
            else {
                return;
            };
            match opened {
                Some(Ok(capture)) => {
                    capture
                        .warnings()
                        .iter()
                        .for_each(|warning| tracing::warn!("{}: {warning}", backup.name));
                    tiers.backup_opened(place, capture::Follower::new(capture, period));
                }
                Some(Err(error)) => tiers.backup_failed(place, chain(&error)),
                None => tiers.backup_failed(place, "no thread to open it with".to_string()),
            }
        }
    }

    /// Looks whether the emergency files are as they were, and makes ready what is new.
    async fn prepare_files(&self) {
        let (files, target, resume, seen) = {
            let state = self.state.borrow();
            let Some(tiers) = state.tiers.as_ref().filter(|tiers| !tiers.setup().emergency.files.is_empty())
            else {
                return;
            };
            let (rate, channels) = tiers.format();
            let target = emergency::Target { rate, channels };
            (tiers.setup().emergency.clone(), target, tiers.resume(), tiers.seen_files())
        };
        let folder = self.state_folder.borrow().0.join("emergency");
        let Some(prepared) = tiers::prepare(files.clone(), seen, target, folder, resume).await else {
            return;
        };
        let mut state = self.state.borrow_mut();
        if let Some(tiers) = state.tiers.as_mut().filter(|tiers| tiers.setup().emergency == files) {
            tiers.emergency(prepared);
        }
    }

    /// Keeps the clock with silence where an input should be: mounts and listeners stay.
    async fn stand_in(&self, config: capture::Config, why: String) {
        let silence = capture::Config {
            input: capture::Input::Tone { hz: 1000.0, level: Dbfs::FLOOR },
            ..config.clone()
        };
        match open(silence, None).await {
            Ok(mut running) => {
                let now = clock::now();
                running.config = config;
                running.stands_in = Some(StandIn { since: now, why, retry_at: now + RETRY });
                self.install(running);
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
                Some(Running { config, stands_in: Some(stand_in), .. }) if stand_in.retry_at <= now => {
                    stand_in.retry_at = now + RETRY;
                    Some(config.clone())
                }
                Some(_) | None => None,
            }
        };
        // While a reload changes the input, it is the reload's business.
        if let Some(config) = due
            && let Ok(_turn) = self.turn.try_lock()
            && let Ok(running) = open(config, None).await
        {
            self.install(running);
            tracing::info!("the input is back");
        }
    }
}

/// Opens a card, a file or a tone after closing `old`, aside.
async fn open(config: capture::Config, old: Option<Capture>) -> anyhow::Result<Running> {
    let wanted = config.clone();
    let start = move || {
        drop(old);
        capture::start(wanted)
    };
    let capture = aside("open-input", start).await.context("no thread to open the input with")??;
    for warning in capture.warnings() {
        tracing::warn!("{warning}");
    }
    let bell = capture.bell().try_clone_to_owned().context("hearing the capture's bell")?;
    #[expect(unsafe_code, reason = "tokio cannot see that a descriptor stays the same one")]
    // SAFETY: an `OwnedFd` names one open descriptor until it is dropped, which `AsyncFd` does after deregistering it.
    let bell = unsafe { AsyncFd::register_with_interest(bell, Interest::READABLE) };
    let bell = Rc::new(bell.context("hearing the capture's bell")?);
    Ok(Running { config, capture, bell, is_new: true, kind: PeriodKind::Sound, stands_in: None })
}

/// How many frames passed between one input's last and the next one's first: they become silence, so that the programme's
/// clock holds. After a long while without input there is no clock to hold.
fn missing(heard_at: Option<Instant>, began: Instant, rate: SampleRate) -> Frames {
    let gap = heard_at.map_or(Duration::ZERO, |heard_at| began.since(heard_at));
    if gap > LONGEST_SWAP { Frames(0) } else { Frames::in_span(gap, rate) }
}

const RETRY: Duration = Duration::from_secs(2);
/// How often inputs that could not be opened are tried again, and emergency files looked at.
const LOOK_ASIDE: Duration = Duration::from_secs(10);
const LONGEST_SWAP: Duration = Duration::from_secs(10);
const LOOKED_AT: Duration = Duration::from_secs(1);
const LEVELS_PACE: Duration = Duration::from_millis(90);

/// The sound went, or is back.
fn say_turn(report: &InputReport, kind: PeriodKind) {
    match (kind, &report.state) {
        (PeriodKind::Sound, _) => {
            tracing::info!(gaps = report.gaps, gap_frames = report.gap_frames.0, "the input delivers sound");
        }
        (PeriodKind::Silence, InputState::Lost { why, .. }) => {
            tracing::error!(alarm = true, "{}: {why}; silence stands in for it", report.name);
        }
        (PeriodKind::Silence, InputState::Starting | InputState::Capturing) => {
            tracing::warn!(
                gaps = report.gaps,
                xruns = report.xruns,
                "frames were missed; silence stands in for them"
            );
        }
    }
}

/// A pause of the programme in which nobody notices that listeners are moved.
const PAUSE: Duration = Duration::from_millis(300);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_inputs_is_counted_to_the_frame() {
        let rate = SampleRate::Hz48000;
        let heard = Instant::from_millis(10_000);
        assert_eq!(missing(Some(heard), heard + Duration::from_millis(250), rate), Frames(12_000));
        assert_eq!(missing(Some(heard), heard - Duration::from_millis(5), rate), Frames(0), "they overlap");
        assert_eq!(missing(None, heard, rate), Frames(0), "the first input");
        assert_eq!(
            missing(Some(heard), heard + Duration::from_secs(3600), rate),
            Frames(0),
            "no clock to hold"
        );
    }
}
