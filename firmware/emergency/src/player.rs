//! Emergency audio for the sound thread: a handle that gives what is in memory and never waits.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::Frames;

use crate::prepare::Target;
use crate::reader::{Block, Playlist, Reader};
use crate::ready::{BLOCK, Ready};

/// Plays ready forms, in order and over again, from where it stopped the last time. Nothing moves unless
/// [`Player::pull`] is called, so a player that is not on air costs memory only.
pub struct Player {
    target: Target,
    titles: Vec<Option<String>>,
    filled: Receiver<Box<Block>>,
    free: SyncSender<Box<Block>>,
    events: Receiver<Event>,
    state: State,
    /// What is being played; it has frames left from `taken` on.
    current: Option<Box<Block>>,
    taken: usize,
    song: Option<Song>,
    gain: Box<dyn Fn(&Ready) -> f32 + Send>,
    /// The factor now, and the one it is on its way to.
    factor: f32,
    wanted: f32,
    /// By how much it moves every frame.
    step: f32,
    began: Option<usize>,
    underran: bool,
    underruns: u64,
    underrun_frames: Frames,
    starved: bool,
}

/// What is being played.
struct Song {
    item: usize,
    ready: Arc<Ready>,
    /// The next frame's place.
    frame: u64,
}

/// What happened. Its texts are for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Another file, or the same one again, has begun: a title to be sent.
    Began {
        /// Its place in the playlist.
        item: usize,
    },
    /// A file is left out, or a piece of it is. Told again only when it was well meanwhile.
    Skipped {
        /// Its place in the playlist.
        item: usize,
        /// What is wrong with it, and the remedy.
        why: String,
    },
    /// No file of the list can be played. They are looked at again every 10 s.
    NothingToPlay {
        /// What is wrong with the last of them.
        why: String,
    },
    /// There is something to play after all.
    PlayableAgain,
    /// The disk did not keep up: frames were missing from here on.
    Underrun,
}

/// Whether it can play.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// The first seconds are being read.
    Filling,
    /// It can.
    Playable,
    /// No file of the list can be played; what was in memory is played to its end.
    NothingToPlay {
        /// What is wrong with the last of them.
        why: String,
    },
}

/// Where in which file: to go on there after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Position {
    /// The file's place in the playlist.
    pub item: usize,
    /// [`crate::Source::hash`] of the file, which finds it at another place as well.
    pub song: u64,
    /// The next frame.
    pub frame: Frames,
}

/// Why there is no player.
#[derive(Debug, thiserror::Error)]
pub enum PlayerError {
    /// Nothing to play.
    #[error("emergency audio has no files; name at least one, or leave the tier out")]
    NoItems,
    /// The system refused a thread.
    #[error("emergency audio could not start its thread ({0}); raise the limits of the unit (TasksMax)")]
    Thread(#[source] std::io::Error),
}

/// A change of gain takes so long, so that it is not heard as a click.
const RAMP: Duration = Duration::from_millis(100);

/// Most memory ahead: half a minute, 6 MB.
const MOST_AHEAD: Duration = Duration::from_secs(30);

/// Events that wait to be asked for.
const MOST_EVENTS: usize = 64;

impl Player {
    /// Starts the thread, which fills the memory. Files are played as they are until [`Player::set_gain`].
    ///
    /// # Errors
    /// See [`PlayerError`]. Files that cannot be played are no error here: see [`Player::poll`].
    pub fn start(playlist: Playlist, target: Target, resume: Option<Position>) -> Result<Self, PlayerError> {
        if playlist.items.is_empty() {
            return Err(PlayerError::NoItems);
        }
        let ahead = Frames::in_span(playlist.ahead.min(MOST_AHEAD), target.rate).0 as usize;
        let blocks = ahead.div_ceil(BLOCK).max(3);
        let (filled_in, filled) = sync_channel(blocks);
        let (free, free_out) = sync_channel(blocks);
        let (events_in, events) = sync_channel(MOST_EVENTS);
        for _ in 0..blocks {
            // There is room for exactly as many.
            let _ = free.try_send(Block::new(target));
        }
        let titles = playlist.items.iter().map(|item| item.title.clone()).collect();
        let reader = Reader {
            playlist,
            target,
            free: free_out,
            filled: filled_in,
            events: events_in,
            destitute: Cell::new(false),
        };
        thread::Builder::new()
            .name("emergency".into())
            .spawn(move || reader.run(resume))
            .map_err(PlayerError::Thread)?;
        Ok(Self {
            target,
            titles,
            filled,
            free,
            events,
            state: State::Filling,
            current: None,
            taken: 0,
            song: None,
            gain: Box::new(|_| 0.0),
            factor: 1.0,
            wanted: 1.0,
            step: 0.0,
            began: None,
            underran: false,
            underruns: 0,
            underrun_frames: Frames(0),
            starved: false,
        })
    }

    /// Fills `out`, interleaved, with what comes next; how many frames that are. Fewer than asked for is an underrun,
    /// or nothing to play: the rest of `out` is left as it is, for the floor. Never waits.
    pub fn pull(&mut self, out: &mut [f32]) -> usize {
        let channels = self.target.channels.count();
        let frames = out.len() / channels;
        let mut done = 0;
        while done < frames && self.load() {
            // Taken out while the gain moves, and put back.
            let Some(block) = self.current.take() else { break };
            let count = (block.pcm.len() / channels - self.taken).min(frames - done);
            let pcm = &block.pcm[self.taken * channels..(self.taken + count) * channels];
            self.render(pcm, &mut out[done * channels..(done + count) * channels]);
            if let (Some(song), false) = (&mut self.song, block.pause) {
                song.frame = block.first + (self.taken + count) as u64;
            }
            self.taken += count;
            done += count;
            self.current = Some(block);
        }
        let starved = done < frames && self.state == State::Playable;
        if starved {
            self.underrun_frames += Frames((frames - done) as u64);
            if !self.starved {
                self.underruns += 1;
                self.underran = true;
            }
        }
        self.starved = starved;
        done
    }

    /// What happened since the last call; ask until `None`. Ask regularly, on air or not: it also takes in that files
    /// went bad or well.
    pub fn poll(&mut self) -> Option<Event> {
        self.load();
        if std::mem::take(&mut self.underran) {
            return Some(Event::Underrun);
        }
        if let Some(item) = self.began.take() {
            return Some(Event::Began { item });
        }
        let event = self.events.try_recv().ok()?;
        match &event {
            Event::NothingToPlay { why } => self.state = State::NothingToPlay { why: why.clone() },
            Event::PlayableAgain => self.state = State::Playable,
            Event::Began { .. } | Event::Skipped { .. } | Event::Underrun => {}
        }
        Some(event)
    }

    /// Whether it can play, as of the last [`Player::poll`].
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Sets how loud each file is played, in dB: asked at the beginning of every file, and now for the current one,
    /// which gets there within 100 ms. The function runs where [`Player::pull`] does.
    pub fn set_gain(&mut self, gain_db: impl Fn(&Ready) -> f32 + Send + 'static) {
        self.gain = Box::new(gain_db);
        if let Some(song) = &self.song {
            self.wanted = factor((self.gain)(&song.ready));
            let frames = Frames::in_span(RAMP, self.target.rate).0 as f32;
            self.step = (self.wanted - self.factor) / frames;
        }
    }

    /// The file on air, or next to be.
    #[must_use]
    pub fn song(&self) -> Option<&Ready> {
        self.song.as_ref().map(|song| &*song.ready)
    }

    /// The current file's title for listeners: the one that was set, else that of its tags.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        let song = self.song.as_ref()?;
        let set = self.titles.get(song.item).and_then(|title| title.as_deref());
        set.or(song.ready.title.as_deref())
    }

    /// How much of the current file is left; zero in the pause after it. For going back at its end.
    #[must_use]
    pub fn frames_left_in_song(&self) -> Option<Frames> {
        let song = self.song.as_ref()?;
        Some(if self.is_pausing() { Frames(0) } else { song.ready.frames - Frames(song.frame) })
    }

    /// Where it would go on.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let song = self.song.as_ref()?;
        Some(Position { item: song.item, song: song.ready.source.hash, frame: Frames(song.frame) })
    }

    /// Times the disk did not keep up, and the frames that were missing.
    #[must_use]
    pub const fn underruns(&self) -> (u64, Frames) {
        (self.underruns, self.underrun_frames)
    }

    fn is_pausing(&self) -> bool {
        self.current.as_ref().is_some_and(|block| block.pause)
    }

    /// Whether there are frames left in the current block, or in a next one, which is current then.
    fn load(&mut self) -> bool {
        let channels = self.target.channels.count();
        loop {
            if let Some(block) = &self.current {
                if self.taken < block.pcm.len() / channels {
                    return true;
                }
                if let Some(block) = self.current.take() {
                    // There are as many places as blocks.
                    let _ = self.free.try_send(block);
                }
            }
            let Ok(mut block) = self.filled.try_recv() else { return false };
            self.taken = 0;
            if !block.pcm.is_empty() {
                if self.state == State::Filling {
                    self.state = State::Playable;
                }
                self.enter(&mut block);
            }
            self.current = Some(block);
        }
    }

    /// Takes note of the file that a block is of. What was known of the one before leaves with the block, so that the
    /// reader's thread frees it.
    fn enter(&mut self, block: &mut Block) {
        let goes_on =
            self.song.as_ref().is_some_and(|song| song.item == block.item && block.first >= song.frame);
        if block.pause || (goes_on && block.first > 0) {
            return;
        }
        let Some(ready) = block.song.take() else { return };
        self.wanted = factor((self.gain)(&ready));
        self.factor = self.wanted;
        self.began = Some(block.item);
        let before = self.song.replace(Song { item: block.item, ready, frame: block.first });
        block.song = before.map(|song| song.ready);
    }

    fn render(&mut self, pcm: &[i16], out: &mut [f32]) {
        let channels = self.target.channels.count();
        let full_scale = 1.0 / 32_768.0;
        if self.factor == self.wanted {
            let factor = self.factor * full_scale;
            for (out, sample) in out.iter_mut().zip(pcm) {
                *out = f32::from(*sample) * factor;
            }
            return;
        }
        for (out, frame) in out.chunks_exact_mut(channels).zip(pcm.chunks_exact(channels)) {
            self.factor += self.step;
            let arrived =
                if self.step > 0.0 { self.factor >= self.wanted } else { self.factor <= self.wanted };
            if arrived {
                self.factor = self.wanted;
                self.step = 0.0;
            }
            for (out, sample) in out.iter_mut().zip(frame) {
                *out = f32::from(*sample) * self.factor * full_scale;
            }
        }
    }
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Player")
            .field("state", &self.state)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

fn factor(db: f32) -> f32 {
    if db.is_nan() { 1.0 } else { 10_f32.powf(db / 20.0) }
}

#[cfg(test)]
mod tests;
