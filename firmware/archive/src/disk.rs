//! The edge to the disk: carries out one step after the other and decides nothing.
//!
//! Order of writes, so that a power cut between any two leaves what the next look can mend: the index's first line is on the
//! disk before its recording exists; bytes before the line that speaks of them; the index has its new name before the
//! recording has.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cut::{CutError, Missing, Plan, plan};
use crate::index::{Ended, Index, Line, Mark, Point, Way, When, written};
use crate::name::{self, INDEX};
use crate::shelf::{Clip, Entry};
use crate::step::{Fault, Seen, Step};
use crate::time::Utc;
use crate::walk::{Walk, packets_ms};

/// A folder of recordings.
pub(crate) struct Disk {
    folder: PathBuf,
    open: Option<Open>,
}

struct Open {
    sound: File,
    index: File,
}

/// Bytes of one file that a cut consists of: whole packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The file.
    pub path: PathBuf,
    /// The first byte.
    pub from: u64,
    /// The first byte behind it.
    pub to: u64,
}

/// A cut that can be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// What it consists of, in order.
    pub pieces: Vec<Piece>,
    /// `mp3` or `aac`.
    pub ending: &'static str,
    /// Milliseconds of sound.
    pub ms: u64,
    /// What is missing inside.
    pub missing: Vec<Missing>,
    /// Where the clock was set back inside, and by how many milliseconds: times come again there.
    pub again: Vec<(Utc, u64)>,
}

/// Finds the bytes of what was recorded from one time to another. Reads little: an index or two, and the packets of a minute.
///
/// # Errors
/// There is no such cut.
pub fn cut(folder: &Path, shelf: &[Entry], from: Utc, to: Utc) -> Result<Cut, CutError> {
    let Plan { entries, rendition, missing, again } = plan(shelf, from, to)?;
    let (mut pieces, mut packets, mut ending) = (Vec::new(), 0, "");
    for which in entries {
        let entry = &shelf[which];
        let path = folder.join(format!("{}.{}", entry.stem, entry.ending));
        let unreadable = |cause| CutError::Unreadable { name: path.display().to_string(), cause };
        let index = read_index(&folder.join(format!("{}.{INDEX}", entry.stem))).map_err(unreadable)?;
        let found = stretch(&path, &index, When::Utc(from), When::Utc(to)).map_err(unreadable)?;
        if let Some((bytes, count)) = found {
            pieces.push(Piece { path, from: bytes.start, to: bytes.end });
            (packets, ending) = (packets + count, entry.ending);
        }
    }
    let ms = packets_ms(&rendition, packets);
    Ok(Cut { pieces, ending, ms, missing, again })
}

impl Disk {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, open: None }
    }

    /// Bytes that this user may still write, if the file system says so.
    pub(crate) fn free(&self) -> Option<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.folder).ok()?;
        Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// Carries out any step but a look.
    pub(crate) fn carry_out(&mut self, step: &Step, sound: &[u8]) -> Result<(), Fault> {
        let outcome = match step {
            Step::Look | Step::Say { .. } => Ok(()),
            Step::Begin { stem, ending, line } => self.begin(stem, ending, line),
            Step::Write { at, bytes } => self.write(*at, bytes, sound),
            Step::Sync => self.open.as_ref().map_or(Ok(()), |open| open.sound.sync_data()),
            Step::Note { line } => self.note(line),
            Step::Close | Step::Abandon => {
                self.open = None;
                Ok(())
            }
            Step::Delete { stem, ending } => {
                // The index last: a recording without one cannot be cut any more.
                self.remove(&format!("{stem}.{ending}"))
                    .and_then(|()| self.remove(&format!("{stem}.{INDEX}")))
            }
            Step::Rename { from, to, ending, line } => self.rename(from, to, ending, line),
            Step::Keep { name, from, to, out_of } => self.keep(name, When::At(*from), When::At(*to), out_of),
            Step::DeleteClip { name } => self.remove(&format!("{CLIPS}/{name}")),
        };
        outcome.map_err(|error| self.fault(&error))
    }

    /// Looks through the folder, and mends what was cut off as far as the disk lets itself be written.
    pub(crate) fn look(&mut self) -> Result<Seen, Fault> {
        self.open = None;
        let seen = fs::create_dir_all(self.folder.join(CLIPS))
            .and_then(|()| Ok(Seen { entries: self.entries()?, clips: self.clips()?, free: self.free() }));
        seen.map_err(|error| self.fault(&error))
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut sounds: BTreeMap<String, (&'static str, u64)> = BTreeMap::new();
        let mut indexes: Vec<String> = Vec::new();
        for found in fs::read_dir(&self.folder)? {
            let found = found?;
            let file = found.file_name();
            let Some((stem, ending)) = file.to_str().and_then(name::split) else { continue };
            if ending == INDEX {
                indexes.push(stem.to_string());
            } else {
                sounds.insert(stem.to_string(), (ending, found.metadata()?.len()));
            }
        }
        indexes.sort();
        let mut entries = Vec::new();
        for stem in indexes {
            let path = self.file(&stem, INDEX);
            let Ok(index) = read_index(&path) else { continue };
            // A rename that was cut off gave the index its new name only.
            if !sounds.contains_key(&stem)
                && let Some((ending, length)) = sounds.remove(&index.begin.stem)
            {
                fs::rename(self.file(&index.begin.stem, ending), self.file(&stem, ending))?;
                sounds.insert(stem.clone(), (ending, length));
            }
            match sounds.remove(&stem) {
                Some((ending, length)) => entries.extend(self.mend(stem, ending, length, &path, &index)?),
                None => ignore(fs::remove_file(&path))?,
            }
        }
        // Without its index a recording is kept as it is, and counted.
        entries.extend(sounds.into_iter().map(|(stem, (ending, bytes))| Entry {
            offset_s: name::parse(&stem).map_or(0, |(_, offset_s)| offset_s),
            stem,
            ending,
            order: (0, 0),
            rendition: None,
            begin: None,
            end: None,
            after: None,
            holes: Vec::new(),
            bytes,
            open: false,
        }));
        Ok(entries)
    }

    /// A recording and its index, brought in line. What cannot be written stays as it is: it is read rightly all the same.
    fn mend(
        &self,
        stem: String,
        ending: &'static str,
        length: u64,
        path: &Path,
        index: &Index,
    ) -> io::Result<Option<Entry>> {
        let mut last = index.last();
        let mut length = length;
        let mut lines = fs::metadata(path)?.len();
        if index.ended.is_none() {
            let sound = self.file(&stem, ending);
            let rendition = &index.begin.rendition;
            // Bytes that an index speaks of were on the disk; if they are gone all the same, it is walked from the start.
            let known = if last.byte <= length { last } else { index.first() };
            let walk = walk(&mut File::open(&sound)?, known.byte, length, Walk::new(*rendition, u64::MAX))?;
            let ms = packets_ms(rendition, walk.packets);
            last = Point {
                byte: known.byte + walk.bytes,
                packets: known.packets + walk.packets,
                at: known.at + Duration::from_millis(ms),
                utc: known.utc.map(|utc| utc.shifted(ms.cast_signed())),
                ..known
            };
            if last.packets == 0 {
                ignore(fs::remove_file(&sound))?;
                ignore(fs::remove_file(path))?;
                return Ok(None);
            }
            let Point { byte, packets, at, utc, sure } = last;
            let line = written(&Line::End { mark: Mark { byte, packets, at, utc, sure }, why: Ended::Torn });
            let mended = OpenOptions::new().write(true).open(&sound).and_then(|file| {
                file.set_len(last.byte)?;
                file.sync_all()?;
                let index_file = OpenOptions::new().write(true).open(path)?;
                index_file.set_len(index.whole)?;
                index_file.write_all_at(line.as_bytes(), index.whole)?;
                index_file.sync_all()
            });
            match mended {
                Ok(()) => {
                    let torn = length.saturating_sub(last.byte);
                    (length, lines) = (last.byte, index.whole + line.len() as u64);
                    tracing::info!(
                        "{stem}.{ending} was cut off and is closed now; {torn} bytes of no whole packet are gone"
                    );
                }
                Err(error) => tracing::warn!("{stem}.{ending} was cut off and cannot be closed: {error}"),
            }
        }
        Ok(Some(Entry {
            stem,
            ending,
            order: (index.begin.run, index.begin.seq),
            rendition: Some(index.begin.rendition),
            begin: Some(index.first()),
            end: Some(last),
            offset_s: index.begin.offset_s,
            after: index.begin.after,
            holes: index.holes.clone(),
            bytes: length + lines,
            open: false,
        }))
    }

    fn clips(&self) -> io::Result<Vec<Clip>> {
        let mut clips = Vec::new();
        for found in fs::read_dir(self.folder.join(CLIPS))? {
            let found = found?;
            let (meta, file) = (found.metadata()?, found.file_name());
            let Some(name) = file.to_str().filter(|_| meta.is_file()) else { continue };
            if name.ends_with(PART) {
                ignore(fs::remove_file(found.path()))?;
            } else if name.rsplit_once('.').is_some_and(|(_, ending)| name::SOUND.contains(&ending)) {
                clips.push((meta.modified()?, Clip { name: name.to_string(), bytes: meta.len() }));
            }
        }
        clips.sort_by(|(a, one), (b, other)| (a, &one.name).cmp(&(b, &other.name)));
        Ok(clips.into_iter().map(|(_, clip)| clip).collect())
    }

    fn begin(&mut self, stem: &str, ending: &str, line: &str) -> io::Result<()> {
        let (sound, index) = (self.file(stem, ending), self.file(stem, INDEX));
        let fresh = || OpenOptions::new().write(true).create_new(true).clone();
        let opened = fresh().open(&index).and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_all()?;
            let sound = fresh().open(&sound)?;
            self.sync_folder()?;
            Ok(Open { sound, index: file })
        });
        match opened {
            Ok(open) => self.open = Some(open),
            // What is there already is another's.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            Err(error) => {
                ignore(fs::remove_file(&sound))?;
                ignore(fs::remove_file(&index))?;
                return Err(error);
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &Range<usize>, sound: &[u8]) -> io::Result<()> {
        let Some(open) = &self.open else { return Err(ErrorKind::NotConnected.into()) };
        let written = open.sound.write_all_at(&sound[bytes.clone()], at);
        if written.is_err() {
            // No part of a packet is left behind; the next look would find it, too.
            let _ = open.sound.set_len(at);
        }
        written
    }

    fn note(&mut self, line: &str) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(ErrorKind::NotConnected.into()) };
        let length = open.index.metadata()?.len();
        if let Err(error) = open.index.write_all_at(line.as_bytes(), length) {
            let _ = open.index.set_len(length);
            return Err(error);
        }
        open.index.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str, ending: &str, line: &str) -> io::Result<()> {
        let index = self.file(from, INDEX);
        // Tried again after a full disk, the first half may be done.
        if index.exists() {
            let file = OpenOptions::new().write(true).open(&index)?;
            let length = file.metadata()?.len();
            if let Err(error) = file.write_all_at(line.as_bytes(), length) {
                let _ = file.set_len(length);
                return Err(error);
            }
            file.sync_data()?;
            fs::rename(&index, self.file(to, INDEX))?;
        }
        fs::rename(self.file(from, ending), self.file(to, ending))?;
        self.sync_folder()
    }

    fn keep(
        &mut self,
        name: &str,
        from: When,
        to: When,
        out_of: &[(String, &'static str)],
    ) -> io::Result<()> {
        let clips = self.folder.join(CLIPS);
        let part = clips.join(format!("{name}{PART}"));
        let copied = File::create(&part).and_then(|mut file| {
            for (stem, ending) in out_of {
                let sound = self.file(stem, ending);
                let index = read_index(&self.file(stem, INDEX))?;
                if let Some((bytes, _)) = stretch(&sound, &index, from, to)? {
                    let mut source = File::open(&sound)?;
                    source.seek(SeekFrom::Start(bytes.start))?;
                    io::copy(&mut source.take(bytes.end - bytes.start), &mut file)?;
                }
            }
            if file.metadata()?.len() == 0 {
                return Err(io::Error::new(ErrorKind::NotFound, "nothing of it is recorded"));
            }
            file.sync_all()?;
            fs::rename(&part, clips.join(name))
        });
        if copied.is_err() {
            ignore(fs::remove_file(&part))?;
        }
        copied
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn file(&self, stem: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{stem}.{ending}"))
    }

    fn fault(&self, error: &io::Error) -> Fault {
        let kind = error.kind();
        if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            return Fault::Full;
        }
        let remedy = if kind == ErrorKind::ReadOnlyFilesystem {
            "mount it for writing; a kernel that made it read-only saw it fail: replace the card or disk"
        } else if kind == ErrorKind::PermissionDenied {
            "give this user the folder"
        } else {
            "check the disk, and [recording] folder"
        };
        Fault::Other(format!("{}: {error}; {remedy}", self.folder.display()))
    }
}

/// The bytes of the packets that sound from one time to another, and how many they are; `None` if there are none.
fn stretch(sound: &Path, index: &Index, from: When, to: When) -> io::Result<Option<(Range<u64>, u64)>> {
    let (Some(from), Some(to)) = (index.way(from), index.way(to)) else { return Ok(None) };
    let mut file = File::open(sound)?;
    let start = follow(&mut file, index, from)?;
    let end = follow(&mut file, index, to)?;
    if end <= start {
        return Ok(None);
    }
    let inside = walk(&mut file, start, end, Walk::new(index.begin.rendition, u64::MAX))?;
    Ok(Some((start..start + inside.bytes, inside.packets)))
}

/// The byte at which a way ends.
fn follow(file: &mut File, index: &Index, way: Way) -> io::Result<u64> {
    let walked = walk(file, way.byte, u64::MAX, Walk::new(index.begin.rendition, way.packets))?;
    let byte = way.byte + walked.bytes;
    Ok(way.last.map_or(byte, |last| byte.min(last)))
}

/// Walks from a packet on, and reads nothing beyond `end`.
fn walk(file: &mut File, from: u64, end: u64, mut walk: Walk) -> io::Result<Walk> {
    file.seek(SeekFrom::Start(from))?;
    let mut source = file.take(end.saturating_sub(from));
    let mut buffer = vec![0; CHUNK];
    let mut filled = 0;
    while !walk.over {
        let read = source.read(&mut buffer[filled..])?;
        if read == 0 {
            break;
        }
        filled += read;
        let passed = walk.feed(&buffer[..filled]);
        buffer.copy_within(passed..filled, 0);
        filled -= passed;
    }
    Ok(walk)
}

fn read_index(path: &Path) -> io::Result<Index> {
    let mut text = Vec::new();
    File::open(path)?.take(LARGEST_INDEX).read_to_end(&mut text)?;
    Index::read(&text).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "its index makes no sense"))
}

/// What cannot be deleted on a disk that is only read stays; other faults count.
fn ignore(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound) => Ok(()),
        outcome => outcome,
    }
}

/// The folder for what is kept apart.
pub(crate) const CLIPS: &str = "incidents";
/// Ending of a clip that is not whole yet.
const PART: &str = ".part";
/// Read at a time; longer than any packet.
const CHUNK: usize = 64 * 1024;
/// Sixty marks an hour and a gap a second stay below.
const LARGEST_INDEX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
