//! A file converted once to its ready form, and the ready form found again.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use units::{Channels, SampleRate};

use crate::check::{Survey, guarded, pour, survey};
use crate::decode::Decoding;
use crate::disk::{Replacement, room, unwritable};
use crate::error::Error;
use crate::ready::{About, FNV_BASIS, Form, Ready, Source, Writer, fnv, length_in_bytes};

/// What the ready form shall be: the programme's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The programme's rate.
    pub rate: SampleRate,
    /// The programme's channels.
    pub channels: Channels,
}

/// What lies ready for a file.
#[derive(Clone, PartialEq, Debug)]
pub enum Cached {
    /// Nothing, or nothing that can be read.
    Nothing,
    /// It is of the file as it is now.
    Current(Ready),
    /// It is of the file as it was: the file has changed, or is gone or unreadable. Good to play, and to be made anew.
    Old(Ready),
}

/// True peaks above full scale would be cut off; such a file is lowered until its true peak is here.
const CEILING_DBTP: f32 = -1.0;

/// Makes the ready form of a file, unless it is there already.
///
/// The file is decoded twice: to see whether it is sound to its end, how long and how loud, and to convert it; so
/// nothing is written of a bad one, and the ready form before it stays. Needs 192 kB a second of stereo at 48 kHz.
/// `folder` must exist; files in it belong to this crate.
///
/// # Errors
/// What [`crate::check()`] says, and what the disk says.
pub fn prepare(path: &Path, target: Target, folder: &Path) -> Result<Ready, Error> {
    if let Cached::Current(ready) = ready(path, target, folder) {
        return Ok(ready);
    }
    guarded(path, || convert(path, target, folder))
}

fn convert(path: &Path, target: Target, folder: &Path) -> Result<Ready, Error> {
    let place = place(path, target, folder);
    let stamp = stamp(path)?;
    let Survey { checked, frames } = survey(path, Some(target))?;
    room(folder, length_in_bytes(frames, target.channels))?;

    let over = checked.true_peak.db() > 0.0;
    let lowered = if over { CEILING_DBTP - checked.true_peak.db() } else { 0.0 };
    let lower = |db: f32| db + lowered;
    let hash = hash(path)?;
    let about = About {
        rate: target.rate,
        channels: target.channels,
        frames,
        loudness: units::Lufs::new(f64::from(lower(checked.loudness.lufs()))).unwrap_or(checked.loudness),
        true_peak: units::Dbfs::new(lower(checked.true_peak.db())),
        title: title(checked.artist, checked.title),
        format: checked.format.to_string(),
        source: Source { hash, ..stamp.clone() },
    };

    let mut decoding = Decoding::open(path)?;
    let mut replacement = Replacement::begin(&place)?;
    let mut writer = Writer::new(&place, replacement.file(), &about, 10_f32.powf(lowered / 20.0))?;
    pour(&mut decoding, target.rate.hz(), target.channels, |pcm, _| writer.take(pcm))
        .map_err(|stopped| stopped.into_error(path))?;
    let written = writer.end()?;
    if written != frames || self::stamp(path)? != stamp {
        return Err(Error::Changed { path: path.to_owned() });
    }
    replacement.commit()?;
    Ok(Ready::new(&place, about))
}

/// Looks for the ready form of a file. Cheap, unless the file was touched without being changed: then it is read once.
#[must_use]
pub fn ready(path: &Path, target: Target, folder: &Path) -> Cached {
    let Ok(form) = Form::open(&place(path, target, folder)) else { return Cached::Nothing };
    let ready = form.ready;
    if ready.rate != target.rate || ready.channels != target.channels {
        return Cached::Nothing;
    }
    let same = stamp(path).is_ok_and(|now| {
        now.bytes == ready.source.bytes
            && (now.mtime_ns == ready.source.mtime_ns
                || hash(path).is_ok_and(|hash| hash == ready.source.hash))
    });
    if same { Cached::Current(ready) } else { Cached::Old(ready) }
}

/// Removes ready forms that nobody needs any more, and what a power cut left half made; how many bytes that frees.
///
/// # Errors
/// [`Error::Unwritable`] with the first that cannot be removed; the others are.
pub fn sweep(folder: &Path, needed: &[PathBuf]) -> Result<u64, Error> {
    let (mut freed, mut first) = (0, None);
    for entry in fs::read_dir(folder).map_err(unwritable(folder))? {
        let path = entry.map_err(unwritable(folder))?.path();
        let ours =
            path.to_str().is_some_and(|path| path.ends_with(".ready") || path.ends_with(".ready.part"));
        if !ours || needed.contains(&path) {
            continue;
        }
        let bytes = fs::metadata(&path).map_or(0, |about| about.len());
        match fs::remove_file(&path) {
            Ok(()) => freed += bytes,
            Err(error) => first = first.or_else(|| Some(unwritable(&path)(error))),
        }
    }
    first.map_or(Ok(freed), Err)
}

/// One place for each path and target: a file that replaces another of its name replaces its ready form too.
fn place(path: &Path, target: Target, folder: &Path) -> PathBuf {
    // Not `canonicalize`: the file may be gone.
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let stem: String = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem: String =
        stem.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '-').take(40).collect();
    let path = fnv(FNV_BASIS, whole.as_os_str().as_encoded_bytes());
    folder.join(format!("{stem}-{path:016x}-{}-{}.ready", target.rate.hz(), target.channels))
}

/// Everything about a source but its content's hash, which is left 0.
fn stamp(path: &Path) -> Result<Source, Error> {
    let about = fs::metadata(path).map_err(Error::unreadable(path))?;
    let mtime = about.modified().ok().and_then(|mtime| mtime.duration_since(UNIX_EPOCH).ok());
    let mtime_ns = mtime.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Source { name, bytes: about.len(), mtime_ns, hash: 0 })
}

fn hash(path: &Path) -> Result<u64, Error> {
    let mut file = File::open(path).map_err(Error::unreadable(path))?;
    let (mut sum, mut bytes) = (FNV_BASIS, vec![0; 64 * 1024]);
    loop {
        match file.read(&mut bytes).map_err(Error::unreadable(path))? {
            0 => return Ok(sum),
            read => sum = fnv(sum, &bytes[..read]),
        }
    }
}

fn title(artist: Option<String>, title: Option<String>) -> Option<String> {
    match (artist, title) {
        (Some(artist), Some(title)) => Some(format!("{artist} - {title}")),
        (artist, title) => title.or(artist),
    }
}
