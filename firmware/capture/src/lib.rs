//! Capture: sound comes in from an ALSA card, a paced file, a stream or a tone, and goes out as whole periods on one frame
//! counter.
//!
//! Invariants:
//! - Nothing downstream can delay the capturing thread: it never waits for the reader, and after the start it neither
//!   allocates, locks, logs nor panics. A reader that is too slow gets a gap, counted.
//! - The frame counter has no holes: each period begins where the last one ended. Frames that are missing (overrun, lost
//!   card, full ring) are delivered as silence of exactly their length.
//! - A card that is lost, or was never there, is looked for until it is back; meanwhile silence keeps the time.
//! - This room knows no settings file, no encoder and no socket: a stream's bytes come from whoever can [`Dial`].
//!
//! Two clocks: a card has its own, and files, tones and streams are paced by the system's. How far the card's drifts is
//! fitted on the reader's side ([`drift`]); [`Clock`] says which of the two the programme's frame counter counts by. An
//! input that is not the programme's clock is read through a [`Follower`].
//!
//! Threads: `capture` (real-time when allowed) waits, reads, stamps, pushes and counts; `capture-finder` opens and closes
//! cards, `capture-feeder` decodes ahead, or `capture-stream` dials and decodes. [`Capture::next`] converts, fits and
//! resamples on the programme's thread.

mod card;
mod clock;
pub mod drift;
mod error;
mod feed;
mod file;
mod finder;
mod follower;
mod live;
mod paced;
mod realtime;
mod resampler;
mod ring;
mod samples;
mod slot;
mod status;
mod steady;
pub mod steer;
mod stream;
mod timeline;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use units::{Dbfs, Frames, Instant, SampleRate};

pub use card::{Device, SampleFormat};
pub use clock::now;
pub use error::Error;
pub use feed::{Feed, FeedError, Request, request};
pub use follower::{Filled, Follower};
pub use samples::Pick;
pub use status::Status;
pub use steady::Clock;
pub use stream::Dial;

use card::{Card, Wanted};
use clock::{instant, now_ns};
use file::Looped;
use live::{Link, Live};
use paced::{Ended, Feeder, Gate, Pacer, Source, Tone};
use ring::{Message, RawPeriod, Receiver, Sender};
use samples::{Encoding, Layout};
use status::Loss;
use steady::{Steady, Taken};
use timeline::Timeline;

/// What to capture, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where the sound comes from.
    pub input: Input,
    /// The programme's rate. A card, a file has to run at it; a stream is resampled.
    pub rate: SampleRate,
    /// Which channels become the programme.
    pub pick: Pick,
    /// Frames wanted per wake-up, such as 1152; a card may choose another number near it.
    pub period: u32,
    /// Whose clock the programme counts by.
    pub clock: Clock,
}

/// Where the sound comes from.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A sound card, or any other ALSA PCM.
    Alsa {
        /// Which.
        device: Device,
        /// How samples are asked for.
        format: SampleFormat,
    },
    /// A WAV, FLAC or MP3 file, looped, in real time.
    File {
        /// Which.
        path: PathBuf,
    },
    /// A network stream, such as another studio's: MP3, AAC, Ogg Vorbis or Ogg FLAC at any rate, kept ahead for some
    /// seconds. Its far clock is followed for ever, and while it is away it is dialled for ever.
    Stream {
        /// How people know it: its address without secrets. Two streams of one name are the same stream.
        name: String,
        /// How to get its bytes.
        dial: Dial,
    },
    /// A sine.
    Tone {
        /// Its pitch in Hz.
        hz: f32,
        /// Its peak.
        level: Dbfs,
    },
}

/// Starts to capture. Returns at once; the first period follows one period later.
///
/// # Errors
/// A card that is there but may not be opened or does not offer what is asked; a file that cannot be decoded or has another
/// rate; a tone that cannot be made. A card that is absent or held by another program is no error: it is looked for.
pub fn start(config: Config) -> Result<Capture, Error> {
    if !(MIN_PERIOD..=MAX_PERIOD).contains(&config.period) {
        let what = format!(
            "a period of {} frames is not supported; choose {MIN_PERIOD} to {MAX_PERIOD}, such as 1152",
            config.period
        );
        return Err(Error::Setting { what });
    }
    match config.input.clone() {
        Input::Alsa { device, format } => {
            let Config { rate, pick, period, clock, .. } = config;
            start_card(Wanted { device, format, rate, pick, period }, clock)
        }
        Input::File { path } => {
            let source = Looped::open(&path, config.rate)?;
            start_paced(&config, path.display().to_string(), Box::new(source))
        }
        Input::Stream { name, dial } => start_stream(&config, name, dial),
        Input::Tone { hz, level } => {
            let source = Tone::new(hz, level, config.rate)?;
            start_paced(&config, format!("tone {hz} Hz"), Box::new(source))
        }
    }
}

/// A running capture. Dropping it ends its threads and closes the card.
pub struct Capture {
    filled: Receiver<Message>,
    free: Sender<Box<RawPeriod>>,
    /// Taken from the queue and waiting for the gap before it to be delivered.
    held: Option<Message>,
    /// On the input's counter, which is the programme's unless the clock is resampled.
    position: u64,
    rate: SampleRate,
    pick: Pick,
    /// Room for one period, in the pick's channels.
    samples: Box<[f32]>,
    silence: Box<[f32]>,
    /// Of a card only: other inputs have no clock of their own.
    steady: Option<Steady>,
    limit: u64,
    link: Arc<Link>,
    status: Arc<Status>,
    ended: Arc<Ended>,
    warnings: Vec<String>,
    threads: Vec<JoinHandle<()>>,
}

/// What [`Capture::next`] found.
#[derive(Debug)]
pub enum Next<'a> {
    /// The next period.
    Period(Period<'a>),
    /// Nothing came within the patience.
    Nothing,
    /// Nothing will come any more, and why. Said once.
    Ended(Error),
}

/// Some frames of the programme, at most one period of them; under [`Clock::Resample`] up to eight more.
#[derive(Debug)]
pub struct Period<'a> {
    /// Position of the first frame on the programme's counter: always where the last period ended. It counts the card's
    /// frames, or under [`Clock::Resample`] the system clock's.
    pub first: Frames,
    /// When the last frame was captured, on the monotonic clock.
    pub stamp: Instant,
    /// Whether these frames were heard.
    pub kind: PeriodKind,
    /// Interleaved, in the pick's channels, full scale 1.0.
    pub samples: &'a [f32],
}

/// Whether frames were heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeriodKind {
    /// The input delivered them.
    Sound,
    /// They stand in for frames that are missing.
    Silence,
}

impl Capture {
    /// Blocks until the next period, at most `patience`. For the programme's thread only.
    pub fn next(&mut self, patience: Duration) -> Next<'_> {
        loop {
            if self.held.is_none() {
                self.held = self.receive(patience);
            }
            if let Some(step) = self.step() {
                return self.show(step);
            }
        }
    }

    /// Like [`Capture::next`] without waiting. After [`Next::Nothing`], [`Capture::bell`] tells when to ask again.
    pub fn poll(&mut self) -> Next<'_> {
        loop {
            if self.held.is_none() {
                self.held = self.filled.pop();
            }
            if self.held.is_none() {
                self.link.arrived.listen();
                self.held = self.filled.pop();
                if self.held.is_some() {
                    self.link.arrived.turn_away();
                }
            }
            if let Some(step) = self.step() {
                return self.show(step);
            }
        }
    }

    /// Like [`Capture::poll`], and the bell stays silent: for a reader that comes by the clock of another.
    pub(crate) fn glance(&mut self) -> Next<'_> {
        loop {
            if self.held.is_none() {
                self.held = self.filled.pop();
            }
            if let Some(step) = self.step() {
                return self.show(step);
            }
        }
    }

    /// A descriptor for an event loop: each time something came after [`Capture::poll`] found nothing, it becomes readable
    /// anew. To be watched edge-triggered and never read.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.link.arrived.descriptor()
    }

    /// Takes the next piece; `None`: it came to nothing, and another one may follow at once.
    fn step(&mut self) -> Option<Step> {
        let (frames, stamp_ns, kind) = match self.held.take() {
            None => return Some(Step::Nothing),
            Some(Message::Ended) => return Some(self.ended.why().map_or(Step::Nothing, Step::Ended)),
            Some(Message::Sound { first, stamp_ns, period }) => {
                let missing = first.saturating_sub(self.position);
                if missing > 0 {
                    let begins_ns = stamp_ns - self.span_ns(period.frames as u64);
                    self.held = Some(Message::Sound { first, stamp_ns, period });
                    if let Some(steady) = &mut self.steady {
                        steady.interrupted();
                    }
                    self.stand_in(missing, begins_ns)
                } else {
                    let frames =
                        samples::convert(period.filled(), period.layout, self.pick, &mut self.samples) as u64;
                    // As many places as buffers: it cannot be full.
                    let _ = self.free.push(period);
                    if let Some(drift) =
                        self.steady.as_mut().and_then(|steady| steady.heard(stamp_ns, self.position + frames))
                    {
                        self.status.drifts(Some(drift));
                    }
                    (frames, stamp_ns, PeriodKind::Sound)
                }
            }
            Some(Message::Silence { first, stamp_ns, frames }) => {
                let missing = (first + frames).saturating_sub(self.position);
                if missing > self.limit {
                    self.held = Some(Message::Silence { first, stamp_ns, frames });
                }
                if let Some(steady) = &mut self.steady {
                    steady.lost();
                    self.status.drifts(None);
                }
                self.stand_in(missing, stamp_ns)
            }
        };
        let first = self.position;
        self.position += frames;
        let channels = self.pick.channels().count();
        let (from, sound) = match kind {
            PeriodKind::Sound => (&self.samples, true),
            PeriodKind::Silence => (&self.silence, false),
        };
        let piece = &from[..frames as usize * channels];
        let step = match self.steady.as_mut().and_then(|steady| steady.take(first, piece, channels, sound)) {
            Some(Taken { first, frames, late_ns }) => {
                Piece { first, frames, stamp_ns: stamp_ns - late_ns, kind, resampled: true }
            }
            None => Piece { first, frames: frames as usize, stamp_ns, kind, resampled: false },
        };
        // A few frames may come to none, beside a clock that is slower.
        (step.frames > 0).then_some(Step::Piece(step))
    }

    fn show(&mut self, step: Step) -> Next<'_> {
        let piece = match step {
            Step::Nothing => return self.nothing(),
            Step::Ended(error) => return Next::Ended(error),
            Step::Piece(piece) => piece,
        };
        let from = match (&self.steady, piece.kind) {
            (Some(steady), _) if piece.resampled => steady.samples(),
            (_, PeriodKind::Sound) => &self.samples,
            (_, PeriodKind::Silence) => &self.silence,
        };
        let samples = &from[..piece.frames * self.pick.channels().count()];
        let (first, stamp) = (Frames(piece.first), instant(piece.stamp_ns));
        Next::Period(Period { first, stamp, kind: piece.kind, samples })
    }

    /// Counters and state, readable from any thread.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// What should be logged once, each with its remedy: real-time scheduling not allowed, memory not locked, a plugin
    /// instead of a hardware PCM, a card that is not there yet.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The most of `missing` frames that fit a period; the last of all of them was due at `end_ns`.
    fn stand_in(&self, missing: u64, end_ns: i64) -> (u64, i64, PeriodKind) {
        let frames = missing.min(self.limit);
        (frames, end_ns - self.span_ns(missing - frames), PeriodKind::Silence)
    }

    fn span_ns(&self, frames: u64) -> i64 {
        i64::try_from(Frames(frames).duration(self.rate).as_nanos()).unwrap_or(i64::MAX / 2)
    }

    fn receive(&mut self, patience: Duration) -> Option<Message> {
        if let Some(message) = self.filled.pop() {
            return Some(message);
        }
        let until = now_ns().saturating_add(i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX));
        loop {
            self.link.arrived.listen();
            if let Some(message) = self.filled.pop() {
                self.link.arrived.turn_away();
                return Some(message);
            }
            let left = u64::try_from(until.saturating_sub(now_ns())).unwrap_or(0);
            if left == 0 {
                self.link.arrived.turn_away();
                return None;
            }
            self.link.arrived.wait(Duration::from_nanos(left));
        }
    }

    fn nothing(&mut self) -> Next<'_> {
        // The first thread is the one that delivers. A source that ended has said so already.
        if self.threads.first().is_some_and(JoinHandle::is_finished) && !self.ended.is_said() {
            self.threads.clear();
            return Next::Ended(Error::Died);
        }
        Next::Nothing
    }
}

/// What one look at the ring came to.
enum Step {
    Nothing,
    Ended(Error),
    Piece(Piece),
}

/// Frames that lie in one of the capture's buffers.
struct Piece {
    first: u64,
    frames: usize,
    stamp_ns: i64,
    kind: PeriodKind,
    resampled: bool,
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.link.end();
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A thread that panicked has said so on stderr; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn start_card(wanted: Wanted, clock: Clock) -> Result<Capture, Error> {
    let mut warnings = Vec::new();
    if !wanted.device.is_hardware() {
        warnings.push(format!(
            "{}: this PCM goes through alsa-lib plugins, which may resample, delay or share; prefer hw:CARD=NAME from \
             `arecord -L`",
            wanted.device.name()
        ));
    }
    let status_of = |period| Status::new(wanted.device.name(), wanted.rate, wanted.pick.channels(), period);
    let (card, status) = match Card::open(&wanted) {
        Ok(card) => {
            let status = status_of(card.period);
            (Some(Box::new(card)), status)
        }
        Err(error) if error.is_passing() => {
            let status = status_of(wanted.period);
            status.lost(Loss::Missing, now());
            status.attempt_failed(error.to_string());
            warnings.push(error.to_string());
            (None, status)
        }
        Err(error) => return Err(error),
    };
    let limit = card.as_ref().map_or(wanted.period, |card| card.period).max(wanted.period);
    // A card that comes later may have any layout; this is the widest of two channels.
    let layout = card.as_ref().map_or(Layout { encoding: Encoding::S32, channels: 2 }, |card| card.layout);
    let (mut capture, ends) = Capture::prepare(wanted.rate, wanted.pick, limit, status, warnings)?;
    capture.steady = Some(Steady::new(clock, wanted.rate, wanted.pick, limit));

    let hand = RawPeriod::new(limit as usize * layout.frame_bytes(), layout);
    let hand = capture.locked(hand);
    capture.lend(RING, layout);
    let seeking = card.is_none();
    let timeline = Timeline::new(wanted.rate.hz(), now_ns());
    let (link, status) = (Arc::clone(&capture.link), capture.status());
    let live = Live::new(card, timeline, ends.filled, ends.free, hand, limit, status, link);
    capture.spawn_real_time(move || live.run())?;
    let (link, status) = (Arc::clone(&capture.link), capture.status());
    capture.spawn("capture-finder", move || finder::run(&wanted, &link, &status, seeking))?;
    Ok(capture)
}

fn start_paced(config: &Config, name: String, source: Box<dyn Source>) -> Result<Capture, Error> {
    let (rate, pick, period) = (config.rate, config.pick, config.period);
    let status = Status::new(name, rate, pick.channels(), period);
    let layout = Feeder::layout(&*source);
    let (mut capture, ends) = Capture::prepare(rate, pick, period, status, Vec::new())?;
    capture.lend(RING, layout);
    let (ahead, decoded) = ring::queue();
    let mut feeder = Feeder::new(source, period, ends.free, ahead, Arc::clone(&capture.ended));
    // Enough to begin with; the helper goes on while the first period passes.
    for _ in 0..2 {
        feeder.make()?;
    }
    let pacer = Pacer {
        ahead: decoded,
        filled: ends.filled,
        period,
        hz: rate.hz(),
        status: capture.status(),
        link: Arc::clone(&capture.link),
        ended: Arc::clone(&capture.ended),
        gate: None,
    };
    capture.spawn_real_time(move || pacer.run())?;
    let link = Arc::clone(&capture.link);
    let nap = RING / 4;
    capture.spawn("capture-feeder", move || feeder.run(&link, nap))?;
    Ok(capture)
}

fn start_stream(config: &Config, name: String, dial: Dial) -> Result<Capture, Error> {
    let (rate, pick) = (config.rate, config.pick);
    // The queue has a number of places: shorter periods would hold too few seconds.
    let period = config.period.max(stream::SHORTEST_PERIOD);
    let status = Status::new(name.clone(), rate, pick.channels(), period);
    status.gap();
    status.lost(Loss::Away, now());
    let layout = stream::LAYOUT;
    let (mut capture, ends) = Capture::prepare(rate, pick, period, status, Vec::new())?;
    capture.lend(stream::HELD, layout);
    let (ahead, decoded) = ring::queue();
    let gate = Arc::new(Gate::default());
    let pacer = Pacer {
        ahead: decoded,
        filled: ends.filled,
        period,
        hz: rate.hz(),
        status: capture.status(),
        link: Arc::clone(&capture.link),
        ended: Arc::clone(&capture.ended),
        gate: Some(Arc::clone(&gate)),
    };
    capture.spawn_real_time(move || pacer.run())?;
    let buffers = stream::Buffers { free: ends.free, ahead, gate, period };
    let receiver =
        stream::Receiving::new(name, dial, rate, buffers, capture.status(), Arc::clone(&capture.link));
    // Not joined at the end: it may be waiting for the network, and goes when that answers or gives up.
    let thread = thread::Builder::new().name("capture-stream".into()).spawn(move || receiver.run());
    thread.map(drop).map_err(|cause| Error::System { what: "capture-stream", cause })?;
    Ok(capture)
}

/// The capturing side's ends of the two queues.
struct Ends {
    filled: Sender<Message>,
    free: Receiver<Box<RawPeriod>>,
}

impl Capture {
    /// Everything but the threads and the buffers that travel: queues, and this end of them.
    fn prepare(
        rate: SampleRate,
        pick: Pick,
        limit: u32,
        status: Status,
        warnings: Vec<String>,
    ) -> Result<(Self, Ends), Error> {
        let link = Link::new().map_err(|errno| Error::System { what: "an eventfd", cause: errno.into() })?;
        let (filled, arriving) = ring::queue();
        let (returned, free) = ring::queue();
        let samples = limit as usize * pick.channels().count();
        let capture = Self {
            filled: arriving,
            free: returned,
            held: None,
            position: 0,
            rate,
            pick,
            samples: vec![0.0; samples].into_boxed_slice(),
            silence: vec![0.0; samples].into_boxed_slice(),
            steady: None,
            limit: limit.into(),
            link: Arc::new(link),
            status: Arc::new(status),
            ended: Arc::default(),
            warnings,
            threads: Vec::new(),
        };
        Ok((capture, Ends { filled, free }))
    }

    /// Makes the buffers that travel between the threads: so many seconds of them.
    fn lend(&mut self, span: Duration, layout: Layout) {
        let periods = Frames::in_span(span, self.rate).0.div_ceil(self.limit);
        for _ in 0..periods.clamp(8, ring::SLOTS as u64) {
            let period = RawPeriod::new(self.limit as usize * layout.frame_bytes(), layout);
            // What is kept back for seconds on purpose need not be at hand in microseconds.
            let period = if span > RING { period } else { self.locked(period) };
            // At most as many as the queue holds.
            let _ = self.free.push(period);
        }
    }

    /// Keeps a buffer in memory, or says once that it may not.
    fn locked(&mut self, mut period: Box<RawPeriod>) -> Box<RawPeriod> {
        if let Err(errno) = period.lock() {
            let warning = realtime::memory_warning("ring", errno);
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        period
    }

    /// Starts the delivering thread, real-time as far as it may be, and waits until it says how it runs.
    fn spawn_real_time(&mut self, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let (say, hear) = mpsc::sync_channel(1);
        let thread =
            thread::Builder::new().name("capture".into()).stack_size(realtime::STACK).spawn(move || {
                // The receiver is only gone if the starter was.
                let _ = say.send(realtime::enter());
                drop(say);
                run();
            });
        self.threads.push(thread.map_err(|cause| Error::System { what: "the capture thread", cause })?);
        let (word, warnings) = hear.recv().map_err(|_| Error::Died)?;
        self.status.runs_as(word);
        self.warnings.extend(warnings);
        Ok(())
    }

    fn spawn(&mut self, name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = thread::Builder::new().name(name.into()).spawn(run);
        self.threads.push(thread.map_err(|cause| Error::System { what: name, cause })?);
        Ok(())
    }
}

/// How much sound the ring holds: what the programme thread may be late before frames are lost.
const RING: Duration = Duration::from_secs(1);

/// Under this the wake-ups cost more than the sound.
const MIN_PERIOD: u32 = 32;

/// A quarter of a second: more would be heard as delay, and the ring would hold too few of them.
const MAX_PERIOD: u32 = 12_000;
