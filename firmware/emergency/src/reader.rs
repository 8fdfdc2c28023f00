//! The thread that keeps some seconds of sound ahead in memory.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use units::Frames;

use crate::error::Error;
use crate::player::{Event, Position};
use crate::prepare::Target;
use crate::ready::{BLOCK, Form, Ready};

/// What is played, in order and over again.
#[derive(Clone, PartialEq, Debug)]
pub struct Playlist {
    /// The files; one that cannot be played is left out until it can.
    pub items: Vec<Item>,
    /// Silence between two files. Default none.
    pub pause: Duration,
    /// How much is kept in memory. Default 5 s (1 MB in stereo): longer than a card stalls when it tidies up.
    pub ahead: Duration,
}

/// A file of a playlist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its ready form.
    pub ready: PathBuf,
    /// The title that listeners see; the file's own tags if `None`.
    pub title: Option<String>,
}

impl Playlist {
    /// Longest pause: more is dead air of our own making.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(10);

    /// These files, with the defaults.
    #[must_use]
    pub const fn new(items: Vec<Item>) -> Self {
        Self { items, pause: Duration::ZERO, ahead: Duration::from_secs(5) }
    }
}

/// A piece of sound on its way to the player.
pub(crate) struct Block {
    /// Interleaved.
    pub(crate) pcm: Vec<i16>,
    /// Which item, and what is known of it.
    pub(crate) item: usize,
    pub(crate) song: Option<Arc<Ready>>,
    /// The first frame's place in the song.
    pub(crate) first: u64,
    /// A pause before the item.
    pub(crate) pause: bool,
}

impl Block {
    pub(crate) fn new(target: Target) -> Box<Self> {
        let pcm = Vec::with_capacity(BLOCK * target.channels.count());
        Box::new(Self { pcm, item: 0, song: None, first: 0, pause: false })
    }
}

/// The thread's belongings. It ends when the player is gone.
pub(crate) struct Reader {
    pub(crate) playlist: Playlist,
    pub(crate) target: Target,
    pub(crate) free: Receiver<Box<Block>>,
    pub(crate) filled: SyncSender<Box<Block>>,
    pub(crate) events: SyncSender<Event>,
    /// Whether it was told that there is nothing to play.
    pub(crate) destitute: Cell<bool>,
}

/// With nothing to play, the files are looked at again so often.
const RETRY: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(10) };

/// Damaged blocks (a third of a second each) that are jumped over in one file; with more it is left out.
const MOST_DAMAGED: usize = 10;

/// The player is gone.
struct Gone;

impl Reader {
    pub(crate) fn run(self, resume: Option<Position>) {
        // Its only way to end.
        let Err(Gone) = self.play(resume);
    }

    fn play(&self, resume: Option<Position>) -> Result<std::convert::Infallible, Gone> {
        let count = self.playlist.items.len();
        let (mut item, mut frame) = resume.and_then(|position| self.find(position)).unwrap_or((0, 0));
        // What is wrong with each, as it was told.
        let mut told: Vec<Option<String>> = vec![None; count];
        let mut failed_in_a_row = 0;
        let mut pausing = false;
        loop {
            match self.song(item, frame, pausing, &mut told[item])? {
                Ok(()) => {
                    failed_in_a_row = 0;
                    pausing = true;
                }
                Err(error) => {
                    self.tell_once(item, &error, &mut told[item]);
                    failed_in_a_row += 1;
                    pausing = false;
                    if failed_in_a_row == count {
                        if !self.destitute.replace(true) {
                            self.tell(Event::NothingToPlay { why: error.to_string() });
                        }
                        failed_in_a_row = 0;
                        self.wait()?;
                    }
                }
            }
            item = (item + 1) % count;
            frame = 0;
        }
    }

    /// Where to go on: the same file, wherever it stands in the list now; the next one if it was at its end.
    fn find(&self, position: Position) -> Option<(usize, u64)> {
        let count = self.playlist.items.len();
        let frames = |item: usize| {
            let ready = Ready::open(&self.playlist.items.get(item)?.ready).ok()?;
            (ready.source.hash == position.song).then_some(ready.frames)
        };
        let (item, frames) =
            std::iter::once(position.item).chain(0..count).find_map(|item| Some((item, frames(item)?)))?;
        Some(if position.frame < frames { (item, position.frame.0) } else { ((item + 1) % count, 0) })
    }

    /// Plays an item from `frame` on. Damaged blocks are jumped over, up to [`MOST_DAMAGED`].
    fn song(
        &self,
        item: usize,
        frame: u64,
        pausing: bool,
        told: &mut Option<String>,
    ) -> Result<Result<(), Error>, Gone> {
        let mut form = match self.open(item) {
            Ok(form) => form,
            Err(error) => return Ok(Err(error)),
        };
        let song = Arc::new(form.ready.clone());
        let channels = self.target.channels.count();
        if pausing {
            let pause = self.playlist.pause.min(Playlist::LONGEST_PAUSE);
            let mut left = Frames::in_span(pause, self.target.rate).0 as usize;
            while left > 0 {
                let mut block = self.free.recv().map_err(|_| Gone)?;
                let frames = left.min(BLOCK);
                left -= frames;
                block.pcm.clear();
                block.pcm.resize(frames * channels, 0);
                self.send(block, item, &song, 0, true)?;
            }
        }
        let mut damaged = 0;
        let mut number = if frame < song.frames.0 { frame / BLOCK as u64 } else { 0 };
        let mut skip = if frame < song.frames.0 { (frame % BLOCK as u64) as usize } else { 0 };
        loop {
            let mut block = self.free.recv().map_err(|_| Gone)?;
            let read = form.block(number, &mut block.pcm);
            let first = number * BLOCK as u64 + skip as u64;
            if read.is_err() {
                block.pcm.clear();
            }
            block.pcm.drain(..(skip * channels).min(block.pcm.len()));
            // An empty one is not lost: it comes back as soon as it is seen.
            let empty = block.pcm.is_empty();
            self.send(block, item, &song, first, false)?;
            match read {
                Ok(()) if empty => {
                    if damaged == 0 {
                        *told = None;
                    }
                    return Ok(Ok(()));
                }
                Ok(()) => {
                    if self.destitute.replace(false) {
                        self.tell(Event::PlayableAgain);
                    }
                }
                Err(error) if damaged == MOST_DAMAGED => return Ok(Err(error)),
                Err(error) => {
                    damaged += 1;
                    self.tell_once(item, &error, told);
                }
            }
            skip = 0;
            number += 1;
        }
    }

    fn open(&self, item: usize) -> Result<Form, Error> {
        let path = &self.playlist.items[item].ready;
        let form = Form::open(path)?;
        let (rate, channels) = (form.ready.rate, form.ready.channels);
        if rate != self.target.rate || channels != self.target.channels {
            let what = format!("made for {rate} {channels}");
            return Err(Error::NotReady { path: path.clone(), what });
        }
        Ok(form)
    }

    fn send(
        &self,
        mut block: Box<Block>,
        item: usize,
        song: &Arc<Ready>,
        first: u64,
        pause: bool,
    ) -> Result<(), Gone> {
        block.item = item;
        block.song = Some(Arc::clone(song));
        block.first = first;
        block.pause = pause;
        // There are as many places as blocks: it never waits.
        self.filled.send(block).map_err(|_| Gone)
    }

    fn tell_once(&self, item: usize, error: &Error, told: &mut Option<String>) {
        let why = error.to_string();
        if told.as_ref() != Some(&why) {
            self.tell(Event::Skipped { item, why: why.clone() });
            *told = Some(why);
        }
    }

    fn tell(&self, event: Event) {
        // A caller that never asks loses the newest, not memory.
        let _ = self.events.try_send(event);
    }

    /// Waits for [`RETRY`], or until the player is gone.
    fn wait(&self) -> Result<(), Gone> {
        let mut held = Vec::new();
        loop {
            match self.free.recv_timeout(RETRY) {
                Ok(block) => held.push(block),
                Err(RecvTimeoutError::Disconnected) => return Err(Gone),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        // Given back by way of the player, which passes empty ones on.
        for mut block in held {
            block.pcm.clear();
            self.filled.send(block).map_err(|_| Gone)?;
        }
        Ok(())
    }
}
