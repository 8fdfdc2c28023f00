//! The encoders of all renditions: the first where the sound comes in, every further one on a thread of its own.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::mpsc::{self, TrySendError};
use std::thread::JoinHandle;

use encode::{Encoder, Error, Options};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError as SendError;
use units::{Frames, Rendition};

use crate::driver::Driver;
use crate::sound::chain;

/// One packet on its way from an encoder's thread to delivery.
pub(crate) struct Packet {
    pub rendition: Rendition,
    pub bytes: Box<[u8]>,
    /// Frames of programme up to the packet's end, at the rendition's rate.
    pub frames: Frames,
    /// A decoder that comes from another rendition may begin with it.
    pub entry: bool,
}

/// All encoders, in step with one programme.
pub(crate) struct Encoders {
    driver: Driver,
    packets: Sender<Packet>,
    inline: Option<Lane>,
    workers: Vec<Worker>,
    /// What the Ogg kinds carry as title, and how many titles of the driver's were seen.
    title: Arc<str>,
    titled: u64,
}

/// Encoders that are made and do not run yet.
pub(crate) struct Prepared(Vec<Lane>);

/// One encoder and its place on the packet grid.
struct Lane {
    rendition: Rendition,
    options: Options,
    encoder: Encoder,
    /// Programme frames still to pass before the first one is encoded: the next grid point.
    skip: u64,
    /// Frames of programme up to the end of the newest packet, at the rendition's rate.
    frames: Frames,
    /// Packets so far.
    packets: u64,
}

struct Worker {
    rendition: Rendition,
    options: Options,
    blocks: mpsc::SyncSender<Block>,
    /// Frames that found the worker's queue full; encoded as silence, so that the grid holds.
    missed: u64,
    /// A title that found it full, or none that it does not have.
    title: Option<Arc<str>>,
    thread: Option<JoinHandle<()>>,
}

struct Block {
    missed: u64,
    title: Option<Arc<str>>,
    pcm: Arc<[f32]>,
}

/// A second and a half of 24 ms periods: a worker further behind than that is on a machine that is too slow.
const QUEUE: usize = 64;

impl Encoders {
    pub(crate) fn new(driver: Driver, packets: Sender<Packet>) -> Self {
        Self { driver, packets, inline: None, workers: Vec::new(), title: Arc::from(""), titled: 0 }
    }

    /// Makes the encoders of `wanted` that are not there yet; nothing changes.
    pub(crate) fn prepare(&self, wanted: &[(Rendition, Options)]) -> Result<Prepared, Error> {
        let missing = wanted.iter().filter(|(rendition, options)| !self.has(*rendition, *options));
        missing
            .map(|&(rendition, options)| Lane::new(rendition, options))
            .collect::<Result<_, _>>()
            .map(Prepared)
    }

    /// Brings the encoders in line with `wanted`, of which `prepared` are new. Those that stay are not touched.
    pub(crate) fn commit(&mut self, wanted: &[(Rendition, Options)], prepared: Prepared, position: Frames) {
        let stays = |rendition: Rendition, options: Options| wanted.contains(&(rendition, options));
        self.inline = self.inline.take().filter(|lane| stays(lane.rendition, lane.options));
        self.workers.retain(|worker| stays(worker.rendition, worker.options));
        for mut lane in prepared.0 {
            lane.begin(position, &self.title);
            if self.inline.is_none() {
                self.inline = Some(lane);
            } else if let Some(worker) = Worker::start(lane, self.packets.clone()) {
                self.workers.push(worker);
            }
        }
    }

    /// Encodes the next frames of the programme.
    pub(crate) fn encode(&mut self, pcm: &[f32]) {
        if let Some(title) = self.driver.title_since(&mut self.titled) {
            self.title = Arc::from(title);
            if let Some(lane) = &mut self.inline {
                lane.encoder.title(&self.title);
            }
            self.workers.iter_mut().for_each(|worker| worker.title = Some(Arc::clone(&self.title)));
        }
        if !self.workers.is_empty() {
            let shared: Arc<[f32]> = Arc::from(pcm);
            for worker in &mut self.workers {
                worker.offer(&shared);
            }
        }
        if let Some(lane) = &mut self.inline {
            lane.encode(pcm, &mut |rendition, bytes, frames, entry| {
                self.driver.packet(rendition, bytes, frames, entry)
            });
            self.driver.packets_end();
        }
    }

    /// The programme pauses, or does not any more.
    pub(crate) fn pausing(&self, pausing: bool) {
        self.driver.feed(delivery::Input::Pausing(pausing));
    }

    fn has(&self, rendition: Rendition, options: Options) -> bool {
        self.inline.as_ref().is_some_and(|lane| (lane.rendition, lane.options) == (rendition, options))
            || self.workers.iter().any(|worker| (worker.rendition, worker.options) == (rendition, options))
    }
}

/// Takes each packet, the frames of programme up to its end, and whether a decoder may change over to it.
type Sink<'a> = dyn FnMut(&Rendition, &[u8], Frames, bool) + 'a;

impl Lane {
    fn new(rendition: Rendition, options: Options) -> Result<Self, Error> {
        let mut encoder = Encoder::new(rendition, options)?;
        // Ogg wants a number that no other stream has which a listener may come from, also after a restart.
        encoder.number(RandomState::new().hash_one(rendition) as u32);
        // The lead makes each packet come out with the last frame of its grid step.
        let lead = vec![0.0; encoder.lead() as usize * rendition.channels.count()];
        encoder.encode(&lead, &mut |_| ())?;
        Ok(Self { rendition, options, encoder, skip: 0, frames: Frames(0), packets: 0 })
    }

    /// Takes its place on the packet grid of a programme that is at `position`.
    fn begin(&mut self, position: Frames, title: &str) {
        let grid = self.encoder.grid();
        self.skip = (grid - position.0 % grid) % grid;
        self.frames = self.encoder.frames_at(position + Frames(self.skip));
        self.encoder.title(title);
    }

    fn encode(&mut self, pcm: &[f32], sink: &mut Sink<'_>) {
        let channels = self.rendition.channels.count();
        let passed = self.skip.min((pcm.len() / channels) as u64);
        self.skip -= passed;
        let pcm = &pcm[passed as usize * channels..];
        let grid = Frames(u64::from(self.encoder.packet_frames()));
        let Self { rendition, encoder, frames, packets, .. } = self;
        let every = u64::from(encoder.entry_every());
        let outcome = encoder.encode(pcm, &mut |bytes| {
            *frames += grid;
            let entry = packets.is_multiple_of(every);
            *packets += 1;
            sink(rendition, bytes, *frames, entry);
        });
        if let Err(error) = outcome {
            tracing::error!(alarm = true, rendition = %self.rendition, "encoding failed: {}", chain(&error));
        }
    }

    fn silence(&mut self, frames: u64, sink: &mut Sink<'_>) {
        let pcm = vec![0.0; frames as usize * self.rendition.channels.count()];
        self.encode(&pcm, sink);
    }
}

impl Worker {
    fn start(mut lane: Lane, packets: Sender<Packet>) -> Option<Self> {
        let (rendition, options) = (lane.rendition, lane.options);
        let (blocks, inbox) = mpsc::sync_channel::<Block>(QUEUE);
        let work = move || {
            let mut lost = false;
            let mut sink = |rendition: &Rendition, bytes: &[u8], frames, entry| {
                let packet = Packet { rendition: *rendition, bytes: bytes.into(), frames, entry };
                // Delivery is never waited for. Its queue holds most of a minute; if even that is full, packets go.
                match packets.try_send(packet) {
                    Ok(()) => lost = false,
                    Err(SendError::Full(_)) => {
                        if !std::mem::replace(&mut lost, true) {
                            tracing::error!(alarm = true, %rendition, "delivery does not take packets; some are lost");
                        }
                    }
                    // The process ends.
                    Err(SendError::Closed(_)) => {}
                }
            };
            while let Ok(block) = inbox.recv() {
                if block.missed > 0 {
                    lane.silence(block.missed, &mut sink);
                }
                if let Some(title) = &block.title {
                    lane.encoder.title(title);
                }
                lane.encode(&block.pcm, &mut sink);
            }
        };
        match std::thread::Builder::new().name(format!("encode {}", rendition.bitrate)).spawn(work) {
            Ok(thread) => {
                Some(Self { rendition, options, blocks, missed: 0, title: None, thread: Some(thread) })
            }
            Err(error) => {
                tracing::error!(alarm = true, %rendition, "no thread for its encoder: {error}");
                None
            }
        }
    }

    fn offer(&mut self, pcm: &Arc<[f32]>) {
        let block = Block { missed: self.missed, title: self.title.take(), pcm: Arc::clone(pcm) };
        match self.blocks.try_send(block) {
            Ok(()) => self.missed = 0,
            Err(TrySendError::Full(block)) => {
                self.title = block.title;
                if self.missed == 0 {
                    tracing::error!(alarm = true, rendition = %self.rendition, "this machine is too slow for its encoder");
                }
                self.missed += (pcm.len() / self.rendition.channels.count()) as u64;
            }
            Err(TrySendError::Disconnected(_)) => {
                if self.missed == 0 {
                    tracing::error!(alarm = true, rendition = %self.rendition, "its encoder is gone; restart mainstay-air");
                }
                self.missed = 1;
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Hanging up ends the thread's loop once its queue is through.
        let (hung_up, _) = mpsc::sync_channel(1);
        drop(std::mem::replace(&mut self.blocks, hung_up));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
