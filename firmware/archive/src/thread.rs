//! The edge to the sound: a tap that never waits, a bounded queue, and the thread that writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use units::{Frames, Instant, Rendition};

use crate::batch::{Batch, Before};
use crate::config::Config;
use crate::disk::Disk;
use crate::recorder::{Keep, Recorder, Report, State};
use crate::shelf::Entry;
use crate::step::Step;
use crate::time::Moment;

/// Where packets are taken from; for the thread that makes them. Dropping it closes the recording, in its own time.
pub struct Tap {
    config: Config,
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Reads the clocks.
    clock: fn() -> Moment,
    batch: Option<Filling>,
    /// Frames of programme up to the end of the newest packet.
    newest: Option<Frames>,
    /// A batch found the queue full since the last one that was taken.
    lost: bool,
}

/// A batch that is being filled.
struct Filling {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    before: Before,
}

enum Order {
    Batch(Batch),
    Keep(Keep),
    /// Close the recording, and say when that is done.
    End(SyncSender<()>),
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Option<Shown>>,
    /// The queue is full: the disk does not answer.
    hangs: AtomicBool,
}

/// What people may see.
struct Shown {
    report: Report,
    entries: Arc<[Entry]>,
    /// The recording that is being made, as far as it is by now.
    open: Option<Entry>,
    version: u64,
}

impl Tap {
    /// Starts a thread that records; it waits for `before`, a tap's that recorded to the same folder, to end.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        config: Config,
        clock: fn() -> Moment,
        before: Option<JoinHandle<()>>,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let (theirs, its) = (Arc::clone(&shared), config.clone());
        let work = move || {
            if let Some(before) = before {
                // How it ended it has said itself.
                let _ = before.join();
            }
            record(its, &inbox, &theirs);
        };
        let thread =
            std::thread::Builder::new().name("recording".to_string()).stack_size(STACK).spawn(work)?;
        Ok(Self {
            config,
            orders,
            shared,
            thread: Some(thread),
            clock,
            batch: None,
            newest: None,
            lost: false,
        })
    }

    /// What it records, and where to.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One packet, with the frames up to its end, at the rendition's rate; those of other renditions are passed over. Never waits.
    pub fn packet(&mut self, rendition: &Rendition, bytes: &[u8], frames: Frames) {
        if *rendition != self.config.rendition {
            return;
        }
        let grid = u64::from(rendition.codec.frames_per_packet());
        let follows = self.newest.is_some_and(|newest| {
            let step = (frames - newest).0;
            step * 2 > grid && step * 2 < grid * 3
        });
        if !follows {
            self.flush();
        }
        self.newest = Some(frames);
        let lost = self.lost;
        let filling = self.batch.get_or_insert_with(|| Filling {
            // A second, and what a codec's rate swings by.
            bytes: Vec::with_capacity(rendition.bitrate.bytes_per_second() as usize * 5 / 4),
            ends: Vec::new(),
            before: match (follows, lost) {
                (_, true) => Before::Lost,
                (true, false) => Before::Nothing,
                (false, false) => Before::Break,
            },
        });
        filling.bytes.extend_from_slice(bytes);
        filling.ends.push(u32::try_from(filling.bytes.len()).unwrap_or(u32::MAX));
        if filling.ends.len() as u64 * grid >= u64::from(rendition.rate.hz()) {
            self.flush();
        }
    }

    /// What was sent from one moment to another is to be kept apart; `label` becomes part of the file's name.
    pub fn keep(&self, from: Instant, to: Instant, label: &str) {
        let letters = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        let label = letters.take(LONGEST_LABEL).collect();
        // A queue that is full has been complained of.
        let _ = self.orders.try_send(Order::Keep(Keep { from, to, label }));
    }

    /// How recording goes; `None` before the folder was looked at for the first time.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = seen.as_ref()?.report.clone();
        if self.shared.hangs.load(Ordering::Relaxed) {
            let since = match report.state {
                State::Recording { since } | State::Stopped { since, .. } => since,
                State::Waiting => Instant::ZERO,
            };
            report.state = State::Stopped { since, why: HANGS.to_string() };
        }
        Some(report)
    }

    /// All recordings, in the order in which they were made; `None` before the folder was looked at.
    #[must_use]
    pub fn entries(&self) -> Option<Vec<Entry>> {
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Shown { entries, open, .. } = seen.as_ref()?;
        let mut entries = entries.to_vec();
        if let (Some(newest), Some(open)) = (entries.last_mut(), open) {
            newest.clone_from(open);
        }
        Some(entries)
    }

    /// Ends recording: the thread writes what it has, then ends. Gives the thread to whoever goes on in the same folder.
    #[must_use]
    pub fn retire(mut self) -> Option<JoinHandle<()>> {
        self.flush();
        self.thread.take()
    }

    /// Ends recording, and waits until all is on the disk; not for long.
    pub fn close(mut self, patience: Duration) {
        self.flush();
        let (done, closed) = sync_channel(1);
        if self.orders.try_send(Order::End(done)).is_ok() {
            let _ = closed.recv_timeout(patience);
        }
    }

    /// Hands over what there is of a batch.
    fn flush(&mut self) {
        let Some(Filling { bytes, ends, before }) = self.batch.take() else { return };
        let moment = (self.clock)();
        let batch = Batch { rendition: self.config.rendition, bytes, ends, before, moment };
        match self.orders.try_send(Order::Batch(batch)) {
            Ok(()) => {
                self.lost = false;
                if self.shared.hangs.swap(false, Ordering::Relaxed) {
                    tracing::info!(
                        "the disk of {} answers again; recording goes on",
                        self.config.folder.display()
                    );
                }
            }
            Err(TrySendError::Full(_)) => {
                self.lost = true;
                if !self.shared.hangs.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        alarm = true,
                        "nothing is recorded in {}: {HANGS}; on air as before",
                        self.config.folder.display()
                    );
                }
            }
            Err(TrySendError::Disconnected(_)) => {
                self.lost = true;
                if !self.shared.hangs.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        alarm = true,
                        "recording has ended by itself; restart mainstay-air; on air as before"
                    );
                }
            }
        }
    }
}

/// The thread: batch after batch, until nobody sends any more.
fn record(config: Config, orders: &Receiver<Order>, shared: &Shared) {
    let mut disk = Disk::new(config.folder.clone());
    let mut recorder = Recorder::new(config);
    let mut now = Instant::ZERO;
    let mut ended = None;
    while let Ok(order) = orders.recv() {
        match order {
            Order::Batch(batch) => {
                now = batch.moment.at;
                recorder.take(batch, disk.free());
            }
            Order::Keep(keep) => recorder.keep(keep),
            Order::End(done) => {
                ended = Some(done);
                break;
            }
        }
        carry_out(&mut recorder, &mut disk, now);
        show(&recorder, shared);
    }
    recorder.close();
    carry_out(&mut recorder, &mut disk, now);
    if let Some(done) = ended {
        let _ = done.try_send(());
    }
}

fn carry_out(recorder: &mut Recorder, disk: &mut Disk, now: Instant) {
    while let Some(step) = recorder.step().cloned() {
        match &step {
            Step::Look => match disk.look() {
                Ok(seen) => {
                    recorder.looked(seen);
                    continue;
                }
                Err(fault) => recorder.done(Err(fault), now),
            },
            Step::Say { alarm: true, text } => {
                tracing::error!(alarm = true, "recording: {text}");
                recorder.done(Ok(()), now);
            }
            Step::Say { alarm: false, text } => {
                tracing::info!("recording: {text}");
                recorder.done(Ok(()), now);
            }
            Step::Begin { .. }
            | Step::Write { .. }
            | Step::Sync
            | Step::Note { .. }
            | Step::Close
            | Step::Abandon
            | Step::Delete { .. }
            | Step::Rename { .. }
            | Step::Keep { .. }
            | Step::DeleteClip { .. } => {
                let outcome = disk.carry_out(&step, recorder.sound());
                recorder.done(outcome, now);
            }
        }
    }
}

fn show(recorder: &Recorder, shared: &Shared) {
    let (report, version) = (recorder.report(), recorder.version());
    let open = recorder.entries().last().filter(|entry| entry.open).cloned();
    let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let known = seen.take().filter(|shown| shown.version == version).map(|shown| shown.entries);
    let entries = known.unwrap_or_else(|| recorder.entries().into());
    *seen = Some(Shown { report, entries, open, version });
}

const HANGS: &str = "its disk does not answer; check it, or name another folder";
/// Batches of a second that wait for a disk; longer than any card takes to tidy up.
const QUEUE: usize = 60;
const LONGEST_LABEL: usize = 40;
const STACK: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;
    use crate::walk::tests::{MP3, packet};

    fn config(folder: &std::path::Path) -> Config {
        Config {
            folder: folder.into(),
            rendition: MP3,
            days: 42,
            budget: 100_000_000,
            keep_free: 0,
            incidents: 10_000_000,
        }
    }

    fn unset() -> Moment {
        Moment { at: Instant::from_millis(1000), clock: Clock::Unset, offset_s: 0 }
    }

    fn tap(orders: SyncSender<Order>) -> Tap {
        let folder = std::path::PathBuf::from("nowhere");
        Tap {
            config: config(&folder),
            orders,
            shared: Arc::default(),
            thread: None,
            clock: unset,
            batch: None,
            newest: None,
            lost: false,
        }
    }

    fn batches(inbox: &Receiver<Order>) -> Vec<(usize, Before)> {
        inbox
            .try_iter()
            .map(|order| match order {
                Order::Batch(batch) => (batch.packets(), batch.before),
                Order::Keep(_) | Order::End(_) => panic!("no batch"),
            })
            .collect()
    }

    #[test]
    fn batches_hold_a_second_and_no_hole() {
        let (orders, inbox) = sync_channel(QUEUE);
        let mut tap = tap(orders);
        let other = Rendition { bitrate: units::BitRate::from_kbit(64).unwrap(), ..MP3 };
        for which in 1..=100_u64 {
            tap.packet(&MP3, &packet(), Frames(which * 1152));
            tap.packet(&other, &packet(), Frames(which * 1152));
        }
        tap.packet(&MP3, &packet(), Frames(200 * 1152));
        tap.flush();
        // 42 packets of 24 ms are the first to be a second.
        assert_eq!(
            batches(&inbox),
            [(42, Before::Break), (42, Before::Nothing), (16, Before::Nothing), (1, Before::Break),]
        );
    }

    #[test]
    fn a_full_queue_is_never_waited_for_and_leaves_a_note() {
        let (orders, inbox) = sync_channel(1);
        let mut tap = tap(orders);
        let mut feed = |from: u64, to: u64| {
            (from..to).for_each(|which| tap.packet(&MP3, &packet(), Frames(which * 1152)));
            tap.shared.hangs.load(Ordering::Relaxed)
        };
        assert!(!feed(0, 42));
        assert!(feed(42, 84), "the second finds the queue full");
        assert_eq!(batches(&inbox), [(42, Before::Break)]);
        assert!(!feed(84, 126));
        assert_eq!(batches(&inbox), [(42, Before::Lost)]);
    }

    #[test]
    fn what_is_given_is_on_the_disk_when_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let mut tap = Tap::start(config(folder.path()), unset, None).unwrap();
        for which in 1..=100_u64 {
            tap.packet(&MP3, &packet(), Frames(which * 1152));
        }
        tap.close(Duration::from_secs(20));
        let length = std::fs::metadata(folder.path().join("unset_0001-0001.mp3")).unwrap().len();
        assert_eq!(length, 100 * 960);
        // Another run does not touch it.
        let mut again = Tap::start(config(folder.path()), unset, None).unwrap();
        (1..=10_u64).for_each(|which| again.packet(&MP3, &packet(), Frames(which * 1152)));
        again.close(Duration::from_secs(20));
        let length = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
        assert_eq!((length("unset_0001-0001.mp3"), length("unset_0002-0001.mp3")), (96_000, 9600));
    }
}
