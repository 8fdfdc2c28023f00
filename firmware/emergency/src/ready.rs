//! The ready form on disk: the programme's rate and channels, 16-bit PCM in blocks with a checksum each.
//!
//! ```text
//! 0     magic, 8 bytes
//! 8     length of the text that follows, u32, little endian
//! 12    About as JSON, zeros up to 4088
//! 4088  FNV-1a of the 4088 bytes before, u64, little endian
//! 4096  blocks: 16384 frames of i16, interleaved, little endian (the last one shorter), then their FNV-1a
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Channels, Dbfs, Frames, Lufs, SampleRate};

use crate::disk::unwritable;
use crate::error::Error;

/// Frames of a block: a third of a second, so that a bad sector costs no more.
pub(crate) const BLOCK: usize = 16_384;

const MAGIC: &[u8; 8] = b"MSready1";
const HEAD: usize = 4_096;

/// A ready form, and what it was made of.
#[derive(Clone, PartialEq, Debug)]
pub struct Ready {
    /// Where it lies.
    pub path: PathBuf,
    /// Its rate: the programme's.
    pub rate: SampleRate,
    /// Its channels: the programme's.
    pub channels: Channels,
    /// Its length.
    pub frames: Frames,
    /// Integrated loudness (ITU-R BS.1770-4).
    pub loudness: Lufs,
    /// True peak (ITU-R BS.1770-4, annex 2).
    pub true_peak: Dbfs,
    /// Title for listeners, by the source's tags: `artist - title`, or what there is of these.
    pub title: Option<String>,
    /// What the source is, in words: `MP3 file`.
    pub format: String,
    /// The file it was made of.
    pub source: Source,
}

/// A source file, as it was when the ready form was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its name, without the folder.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was changed last, in nanoseconds of the file system's clock. Only compared.
    pub mtime_ns: i64,
    /// FNV-1a of its content: tells a copied file from a changed one, and protects against nothing.
    pub hash: u64,
}

/// What the header says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) rate: SampleRate,
    pub(crate) channels: Channels,
    pub(crate) frames: Frames,
    pub(crate) loudness: Lufs,
    pub(crate) true_peak: Dbfs,
    pub(crate) title: Option<String>,
    pub(crate) format: String,
    pub(crate) source: Source,
}

impl Ready {
    /// How long it plays.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.frames.duration(self.rate)
    }

    /// Looks at a ready form: its header and its length, not its sound.
    ///
    /// # Errors
    /// [`Error::Unreadable`] or [`Error::NotReady`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Form::open(path).map(|form| form.ready)
    }

    pub(crate) fn new(path: &Path, about: About) -> Self {
        let About { rate, channels, frames, loudness, true_peak, title, format, source } = about;
        Self { path: path.to_owned(), rate, channels, frames, loudness, true_peak, title, format, source }
    }
}

/// An open ready form.
pub(crate) struct Form {
    pub(crate) ready: Ready,
    file: File,
    bytes: Vec<u8>,
}

impl Form {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let broken = |what: &str| Error::NotReady { path: path.to_owned(), what: what.into() };
        let mut file = File::open(path).map_err(Error::unreadable(path))?;
        let mut head = [0; HEAD];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(broken("it is too short"));
            }
            Err(error) => return Err(Error::unreadable(path)(error)),
        }
        let (content, sum) = head.split_at(HEAD - 8);
        if !content.starts_with(MAGIC) {
            return Err(broken("it is another file"));
        }
        if fnv(FNV_BASIS, content).to_le_bytes() != sum {
            return Err(broken("its header is damaged"));
        }
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let text = head[..HEAD - 8].get(12..12 + length).ok_or_else(|| broken("its header is damaged"))?;
        let about: About = serde_json::from_slice(text).map_err(|error| broken(&error.to_string()))?;
        let bytes = file.metadata().map_err(Error::unreadable(path))?.len();
        if about.frames == Frames(0) || bytes != length_in_bytes(about.frames, about.channels) {
            return Err(broken("its length is wrong"));
        }
        Ok(Self { ready: Ready::new(path, about), file, bytes: Vec::new() })
    }

    /// Reads a block, which is checked, into `pcm`. After the last one `pcm` stays empty.
    pub(crate) fn block(&mut self, number: u64, pcm: &mut Vec<i16>) -> Result<(), Error> {
        pcm.clear();
        let channels = self.ready.channels.count();
        let first = number.saturating_mul(BLOCK as u64);
        let frames = self.ready.frames.0.saturating_sub(first).min(BLOCK as u64) as usize;
        if frames == 0 {
            return Ok(());
        }
        let place = HEAD as u64 + number * (BLOCK * channels * 2 + 8) as u64;
        self.bytes.resize(frames * channels * 2 + 8, 0);
        let read = self.file.seek(SeekFrom::Start(place)).and_then(|_| self.file.read_exact(&mut self.bytes));
        read.map_err(Error::unreadable(&self.ready.path))?;
        let (sound, sum) = self.bytes.split_at(frames * channels * 2);
        if fnv(FNV_BASIS, sound).to_le_bytes() != sum {
            let what = format!(
                "damaged {:.1} s from its beginning",
                Frames(first).duration(self.ready.rate).as_secs_f64()
            );
            return Err(Error::NotReady { path: self.ready.path.clone(), what });
        }
        pcm.extend(sound.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        Ok(())
    }
}

/// Writes a ready form from beginning to end.
pub(crate) struct Writer<'a> {
    file: io::BufWriter<&'a mut File>,
    path: &'a Path,
    block: Vec<u8>,
    block_bytes: usize,
    frame_bytes: usize,
    frames: u64,
    dither: Dither,
    scale: f32,
}

impl<'a> Writer<'a> {
    /// `path` is for errors; every sample is multiplied by `scale`.
    pub(crate) fn new(path: &'a Path, file: &'a mut File, about: &About, scale: f32) -> Result<Self, Error> {
        let mut head = vec![0; HEAD];
        let text = serde_json::to_vec(about).map_err(|error| unwritable(path)(io::Error::other(error)))?;
        // Names are 255 bytes, tags 1024 each at most, and JSON at most doubles what is no control character.
        if text.len() > HEAD - 20 {
            return Err(unwritable(path)(io::Error::other("its title is too long")));
        }
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&(text.len() as u32).to_le_bytes());
        head[12..12 + text.len()].copy_from_slice(&text);
        let sum = fnv(FNV_BASIS, &head[..HEAD - 8]).to_le_bytes();
        head[HEAD - 8..].copy_from_slice(&sum);
        let frame_bytes = about.channels.count() * 2;
        let block_bytes = BLOCK * frame_bytes;
        let mut file = io::BufWriter::new(file);
        file.write_all(&head).map_err(unwritable(path))?;
        let dither = Dither(0x9e37_79b9_7f4a_7c15);
        Ok(Self {
            file,
            path,
            block: Vec::with_capacity(block_bytes),
            block_bytes,
            frame_bytes,
            frames: 0,
            dither,
            scale,
        })
    }

    pub(crate) fn take(&mut self, pcm: &[f32]) -> Result<(), Error> {
        for sample in pcm {
            let sample = self.dither.round(sample * self.scale * 32_768.0);
            self.block.extend(sample.to_le_bytes());
            if self.block.len() == self.block_bytes {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// Ends the last block; how many frames there are.
    pub(crate) fn end(mut self) -> Result<Frames, Error> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.file.flush().map_err(unwritable(self.path))?;
        Ok(Frames(self.frames))
    }

    fn end_block(&mut self) -> Result<(), Error> {
        let sum = fnv(FNV_BASIS, &self.block).to_le_bytes();
        self.file.write_all(&self.block).map_err(unwritable(self.path))?;
        self.file.write_all(&sum).map_err(unwritable(self.path))?;
        self.frames += (self.block.len() / self.frame_bytes) as u64;
        self.block.clear();
        Ok(())
    }
}

/// How long the file of so many frames is.
pub(crate) const fn length_in_bytes(frames: Frames, channels: Channels) -> u64 {
    let blocks = frames.0.div_ceil(BLOCK as u64);
    HEAD as u64 + frames.0 * channels.count() as u64 * 2 + blocks * 8
}

/// Triangular dither of two steps, the same for every run.
struct Dither(u64);

impl Dither {
    /// To the nearest step; what lies on one already (a 16-bit source at its own rate) stays as it is.
    fn round(&mut self, steps: f32) -> i16 {
        let nearest = steps.round();
        if nearest == steps {
            return nearest as i16;
        }
        (steps + self.uniform() - self.uniform()).round() as i16
    }

    /// xorshift64: 0 to 1.
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / 16_777_216.0
    }
}

pub(crate) const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// Fowler, Noll, Vo: FNV-1a of 64 bits, continued.
pub(crate) fn fnv(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
