//! A file decoded to its very end: what it is, how long, how loud.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use ebur128::{Channel, EbuR128, Mode};
use units::{Channels, Dbfs, Frames, Lufs};

use crate::convert::Chain;
use crate::decode::{Decoding, Tags};
use crate::error::Error;
use crate::format::Format;
use crate::prepare::Target;

/// What was found in a file that can be played.
#[derive(Clone, PartialEq, Debug)]
pub struct Checked {
    /// What it is, by its content.
    pub format: Format,
    /// Its sample rate in Hz (of the whole sound: not of the core that SBR doubles).
    pub rate_hz: u32,
    /// Its channels.
    pub channels: u16,
    /// Its length.
    pub length: Duration,
    /// Integrated loudness (ITU-R BS.1770-4), of the stereo mix where there are more than two channels.
    pub loudness: Lufs,
    /// True peak (ITU-R BS.1770-4, annex 2) of the same.
    pub true_peak: Dbfs,
    /// Title, by its tags.
    pub title: Option<String>,
    /// Artist, by its tags.
    pub artist: Option<String>,
    /// What somebody should know, though it plays.
    pub notes: Vec<Note>,
}

/// Something odd about a file that plays. Its text is for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// Its name says something else than its content, which counts.
    Mislabelled {
        /// As in the name, in lower case.
        extension: String,
        /// What it is.
        is: Format,
    },
    /// It is mixed down to two channels.
    MixedDown {
        /// Its channels.
        channels: u16,
    },
    /// Packets that could not be decoded are missing.
    Scratched {
        /// How many.
        packets: u64,
    },
    /// Its peaks lie above full scale; the ready form is lowered so that none is cut off.
    OverFullScale,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mislabelled { extension, is } => {
                write!(f, "named .{extension}, but this is an {is}; played as such")
            }
            Self::MixedDown { channels } => write!(f, "its {channels} channels are mixed down to two"),
            Self::Scratched { packets } => write!(f, "{packets} damaged packets are passed over"),
            Self::OverFullScale => f.write_str("peaks above full scale; lowered so that nothing is cut off"),
        }
    }
}

/// Decodes a file from beginning to end, in bounded memory.
///
/// Files of any rate from 7350 to 384000 Hz and up to eight channels are taken: more than two are mixed down (ITU-R
/// BS.775), other rates are converted by [`crate::prepare()`]. What counts is the content, never the name.
///
/// An MP3 without a length header (Xing, Info, VBRI) and an ADTS file that end between two packets cannot be told from
/// complete ones; every other truncation is found.
///
/// # Errors
/// Everything that makes it unfit for emergency audio; see [`Error`].
pub fn check(path: &Path) -> Result<Checked, Error> {
    guarded(path, || survey(path, None).map(|survey| survey.checked))
}

/// Makes an error of a decoder's panic, where panics unwind. Where they abort, as in the release profile, a process of
/// its own is the guard: see the crate's first page.
pub(crate) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What `work` leaves half done is its own and dropped; a file half written is removed as it is on any error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let what =
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no word".into());
        Err(Error::Confusing { path: path.to_owned(), what })
    })
}

/// What a reading of a file shows.
pub(crate) struct Survey {
    pub(crate) checked: Checked,
    /// Length in frames of the sound as it was measured: converted, if a target was given.
    pub(crate) frames: Frames,
}

/// Reads a file whole and measures it as it will be played: at the target's rate and channels, or at its own.
pub(crate) fn survey(path: &Path, target: Option<Target>) -> Result<Survey, Error> {
    let mut decoding = Decoding::open(path)?;
    let shape = decoding.shape().clone();
    let most = frames_in(crate::LONGEST, shape.hz);
    if let Some(declared) = decoding.declared().filter(|declared| *declared > most) {
        return Err(Error::TooLong {
            path: path.to_owned(),
            found: span(declared, shape.hz),
            at_least: false,
        });
    }
    let own = if shape.roles.len() == 1 { Channels::Mono } else { Channels::Stereo };
    let (hz, channels) = target.map_or((shape.hz, own), |target| (target.rate.hz(), target.channels));
    let failed = |what: String| Error::Unsupported { path: path.to_owned(), what };
    let mut gauge =
        Gauge::new(hz, channels).map_err(|error| failed(format!("sound of {hz} Hz ({error})")))?;
    let mut decoded = 0;
    let sound = pour(&mut decoding, hz, channels, |pcm, frames| {
        decoded += frames;
        if decoded > most {
            let found = span(decoded, shape.hz);
            return Err(Error::TooLong { path: path.to_owned(), found, at_least: true });
        }
        gauge.take(pcm);
        Ok(())
    });
    sound.map_err(|error| error.into_error(path))?;
    let length = span(decoded, shape.hz);
    if length < crate::SHORTEST {
        return Err(Error::TooShort { path: path.to_owned(), found: length });
    }
    let (loudness, true_peak) = gauge.read();
    let loudness = loudness.ok_or_else(|| Error::Silent { path: path.to_owned() })?;
    let notes = notes(path, &decoding, true_peak);
    let Tags { title, artist } = decoding.tags();
    let checked = Checked {
        format: decoding.format(),
        rate_hz: shape.hz,
        channels: decoding.channels(),
        length,
        loudness,
        true_peak,
        title,
        artist,
        notes,
    };
    Ok(Survey { checked, frames: Frames(gauge.frames) })
}

/// Why pouring stopped.
pub(crate) enum Stopped {
    /// Decoding or taking failed.
    By(Error),
    /// The sound could not be converted.
    Converting(String),
}

impl Stopped {
    pub(crate) fn into_error(self, path: &Path) -> Error {
        match self {
            Self::By(error) => error,
            Self::Converting(what) => Error::Unsupported { path: path.to_owned(), what },
        }
    }
}

/// Decodes to the end and hands the converted sound to `take` piece by piece, with the frames decoded for it.
pub(crate) fn pour(
    decoding: &mut Decoding,
    hz: u32,
    channels: Channels,
    mut take: impl FnMut(&[f32], u64) -> Result<(), Error>,
) -> Result<(), Stopped> {
    let mut chain = Chain::new(decoding.shape(), hz, channels).map_err(Stopped::Converting)?;
    let count = decoding.shape().roles.len();
    let (mut packet, mut sound) = (Vec::new(), Vec::new());
    while decoding.next(&mut packet).map_err(Stopped::By)? {
        chain.push(&packet, &mut sound).map_err(Stopped::Converting)?;
        take(&sound, (packet.len() / count) as u64).map_err(Stopped::By)?;
        packet.clear();
        sound.clear();
    }
    chain.end(&mut sound).map_err(Stopped::Converting)?;
    take(&sound, 0).map_err(Stopped::By)
}

/// Loudness and true peak of what went through.
struct Gauge {
    meter: EbuR128,
    channels: usize,
    frames: u64,
}

impl Gauge {
    fn new(hz: u32, channels: Channels) -> Result<Self, ebur128::Error> {
        // The history of gating blocks has no bound of its own; the longest file gives it one (0.6 MB).
        let mut meter = EbuR128::new(channels.count() as u32, hz, Mode::I | Mode::TRUE_PEAK)?;
        match channels {
            // As the programme's meter does: mono is heard from two loudspeakers.
            Channels::Mono => meter.set_channel(0, Channel::DualMono)?,
            Channels::Stereo => {}
        }
        Ok(Self { meter, channels: channels.count(), frames: 0 })
    }

    fn take(&mut self, pcm: &[f32]) {
        // It refuses a wrong number of channels only, which `new` and the chain have in common.
        if self.meter.add_frames_f32(pcm).is_ok() {
            self.frames += (pcm.len() / self.channels) as u64;
        }
    }

    fn read(&self) -> (Option<Lufs>, Dbfs) {
        let peaks = (0..self.channels as u32).filter_map(|channel| self.meter.true_peak(channel).ok());
        let peak = peaks.fold(0.0, f64::max);
        let loudness =
            self.meter.loudness_global().ok().and_then(Lufs::new).filter(|lufs| lufs.lufs() > -70.0);
        (loudness, Dbfs::new(20.0 * peak.log10() as f32))
    }
}

fn notes(path: &Path, decoding: &Decoding, true_peak: Dbfs) -> Vec<Note> {
    let mut notes = Vec::new();
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    if let Some(extension) = extension.filter(|extension| !decoding.format().may_be_called(extension)) {
        notes.push(Note::Mislabelled { extension, is: decoding.format() });
    }
    if decoding.channels() > 2 {
        notes.push(Note::MixedDown { channels: decoding.channels() });
    }
    if decoding.damaged() > 0 {
        notes.push(Note::Scratched { packets: decoding.damaged() });
    }
    if true_peak.db() > 0.0 {
        notes.push(Note::OverFullScale);
    }
    notes
}

fn frames_in(span: Duration, hz: u32) -> u64 {
    span.as_secs() * u64::from(hz)
}

fn span(frames: u64, hz: u32) -> Duration {
    Duration::from_secs_f64(frames as f64 / f64::from(hz))
}
