//! The log recording: packets of one rendition on their way to the disk, and what people ask of it. What is decided is decided
//! in the crate `archive`; its thread writes.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use ::archive::{Clock, Config, Entry, Missing, Moment, State, Tap, Utc};
use units::snapshot::{
    CutPiece, CutReport, Incident, IncidentRecord, MissingReport, RecordingFile, RecordingReport,
    RecordingState, Reply,
};
use units::{Frames, Instant, Rendition, WallTime};

use crate::aside::aside;
use crate::clock;
use crate::sound::chain;

/// The one log recording, if the settings ask for it; cheap to clone, for one thread only.
#[derive(Clone, Default)]
pub(crate) struct Archive(Rc<Shared>);

#[derive(Default)]
struct Shared {
    tap: RefCell<Option<Tap>>,
    /// The thread of a recording that was turned off; it may still be writing.
    retired: RefCell<Option<JoinHandle<()>>>,
    /// Hand-overs under way whose beginning is kept apart already.
    under_way: RefCell<Vec<(String, Instant)>>,
}

impl Archive {
    /// Records as `wanted` from now on. What stays as it was goes on.
    pub(crate) fn configure(&self, wanted: Option<&Config>) {
        let mut tap = self.0.tap.borrow_mut();
        if tap.as_ref().map(Tap::config) == wanted {
            return;
        }
        let retired = tap.take().and_then(Tap::retire).or_else(|| self.0.retired.take());
        match wanted.map(|config| Tap::start(config.clone(), moment, retired)) {
            Some(Ok(started)) => *tap = Some(started),
            Some(Err(error)) => {
                tracing::error!(
                    alarm = true,
                    "nothing is recorded: no thread to write: {error}; on air as before"
                );
            }
            None => {}
        }
    }

    /// One packet of any rendition.
    pub(crate) fn packet(&self, rendition: &Rendition, bytes: &[u8], frames: Frames) {
        if let Some(tap) = self.0.tap.borrow_mut().as_mut() {
            tap.packet(rendition, bytes, frames);
        }
    }

    /// A hand-over opened, or is over: what was sent around it is kept apart.
    pub(crate) fn incident(&self, record: &IncidentRecord) {
        let tap = self.0.tap.borrow();
        let Some(tap) = tap.as_ref() else { return };
        let Incident { output, began, healed, .. } = &record.incident;
        let mut under_way = self.0.under_way.borrow_mut();
        let known = under_way.iter().position(|(other, at)| other == output && at == began);
        // It is told of again and again while it is open.
        if known.is_none() {
            keep(tap, *began, &format!("{output}-hand-over"));
        }
        match (record.open, known) {
            (true, Some(_)) => {}
            (true, None) => under_way.push((output.clone(), *began)),
            (false, known) => {
                known.map(|at| under_way.swap_remove(at));
                keep(tap, healed.unwrap_or_else(clock::now), &format!("{output}-return"));
            }
        }
    }

    /// Something else is on air: what is sent around this moment is kept apart.
    pub(crate) fn around_now(&self, what: &str) {
        if let Some(tap) = self.0.tap.borrow().as_ref() {
            keep(tap, clock::now(), what);
        }
    }

    /// Keeps what is sent around this moment apart, because somebody says so.
    pub(crate) fn mark(&self, text: &str) -> Reply {
        let tap = self.0.tap.borrow();
        let Some(tap) = tap.as_ref() else { return Reply::Refused { why: off() } };
        keep(tap, clock::now(), if text.is_empty() { "marked" } else { text });
        let folder = tap.config().folder.join("incidents");
        let seconds = AROUND.as_secs();
        Reply::Done {
            changes: vec![format!(
                "{seconds} s before and after this moment are kept in {}, in {seconds} s",
                folder.display()
            )],
        }
    }

    /// Recording as people see it; `None` if there is none.
    pub(crate) fn report(&self) -> Option<RecordingReport> {
        let tap = self.0.tap.borrow();
        let tap = tap.as_ref()?;
        let Config { folder, rendition, .. } = tap.config();
        let known = tap.report();
        let short = known.as_ref().is_some_and(|report| report.short);
        let (state, remedy) = match known.as_ref().map(|report| &report.state) {
            None | Some(State::Waiting) => (RecordingState::Waiting, None),
            Some(State::Recording { since }) if short => {
                let remedy = "the disk is full and the oldest recordings go early: free room on it, or lower days or budget";
                (RecordingState::Short { since: *since }, Some(remedy.to_string()))
            }
            Some(State::Recording { since }) => (RecordingState::Recording { since: *since }, None),
            Some(State::Stopped { since, why }) => {
                (RecordingState::Stopped { since: *since }, Some(why.clone()))
            }
        };
        let oldest = known.as_ref().and_then(|report| report.oldest);
        Some(RecordingReport {
            folder: folder.display().to_string(),
            rendition: *rendition,
            state,
            bytes: known.as_ref().map_or(0, |report| report.bytes),
            files: known.as_ref().map_or(0, |report| report.files),
            oldest: wall(oldest),
            kept_bytes: known.as_ref().map_or(0, |report| report.kept_bytes),
            gaps: known.as_ref().map_or(0, |report| report.gaps),
            remedy,
        })
    }

    /// What is recorded.
    pub(crate) fn list(&self) -> Reply {
        let (folder, entries) = match self.shelf() {
            Ok(shelf) => shelf,
            Err(why) => return Reply::Refused { why },
        };
        let file = |which: usize| {
            let entry = &entries[which];
            let before = which.checked_sub(1).map(|before| &entries[before]);
            RecordingFile {
                name: format!("{}.{}", entry.stem, entry.ending),
                from: wall(entry.starts()),
                until: wall(entry.ends()),
                offset_s: entry.offset_s,
                sure: entry.is_sure(),
                open: entry.open,
                rendition: entry.rendition,
                bytes: entry.bytes,
                missing: ::archive::missing(before, entry).iter().map(missing).collect(),
            }
        };
        Reply::Recordings {
            folder: folder.display().to_string(),
            recordings: (0..entries.len()).map(file).collect(),
        }
    }

    /// Where what was sent from one time to another lies. The disk is asked aside.
    pub(crate) async fn cut(&self, from: String, to: String) -> Reply {
        let (folder, entries) = match self.shelf() {
            Ok(shelf) => shelf,
            Err(why) => return Reply::Refused { why },
        };
        match aside("cut", move || cut(&folder, &entries, &from, &to)).await {
            Some(Ok(report)) => Reply::Cut(report),
            Some(Err(why)) => Reply::Refused { why },
            None => Reply::Refused { why: "there is no thread to look with; ask again".to_string() },
        }
    }

    /// Ends recording, with what there is on the disk.
    pub(crate) fn close(&self) {
        if let Some(tap) = self.0.tap.take() {
            tap.close(PATIENCE);
        }
    }

    fn shelf(&self) -> Result<(PathBuf, Vec<Entry>), String> {
        let tap = self.0.tap.borrow();
        let Some(tap) = tap.as_ref() else { return Err(off()) };
        let entries = tap.entries().ok_or(
            "the folder has not been looked through yet: nothing was encoded so far, or its disk does not answer",
        )?;
        Ok((tap.config().folder.clone(), entries))
    }
}

fn off() -> String {
    "nothing is recorded: write [recording] in the settings, then: mainstay reload".to_string()
}

fn keep(tap: &Tap, around: Instant, label: &str) {
    tap.keep(around - AROUND, around + AROUND, label);
}

fn cut(folder: &Path, entries: &[Entry], from: &str, to: &str) -> Result<CutReport, String> {
    let now = Some(Utc(clock::system_ms())).filter(|now| now.seconds() >= clock::build_time());
    let offset_at = |utc: Utc| clock::local_offset(utc.seconds());
    let read = |text| ::archive::read_time(text, now, &offset_at).map_err(|error| error.to_string());
    let (from, to) = (read(from)?, read(to)?);
    let cut = ::archive::cut(folder, entries, from, to).map_err(|error| chain(&error))?;
    let local = |utc: Utc| ::archive::local_in_words(utc, offset_at(utc));
    let again = cut.again.iter().map(|(at, ms)| {
        format!("the clock was set back by {} s at {}: times come again", ms / 1000, ::archive::in_words(*at))
    });
    let pieces = cut.pieces.iter().map(|piece| CutPiece {
        path: piece.path.display().to_string(),
        from: piece.from,
        to: piece.to,
    });
    Ok(CutReport {
        pieces: pieces.collect(),
        ending: cut.ending.to_string(),
        ms: cut.ms,
        span: format!(
            "{} to {} ({} to {})",
            local(from),
            local(to),
            ::archive::in_words(from),
            ::archive::in_words(to)
        ),
        missing: cut.missing.iter().map(missing).collect(),
        notes: again.collect(),
    })
}

fn missing(missing: &Missing) -> MissingReport {
    let ms = u64::try_from(missing.to.from(missing.from)).unwrap_or(0);
    MissingReport { from: wall(Some(missing.from)), ms, why: missing.why.word().to_string() }
}

fn wall(utc: Option<Utc>) -> WallTime {
    utc.map_or(WallTime::Unknown, |utc| WallTime::Unix(utc.seconds()))
}

/// Now, on both clocks. A clock that nobody vouches for is still better than none, and is called unsure.
fn moment() -> Moment {
    let utc = Utc(clock::system_ms());
    let clock = match clock::wall() {
        WallTime::Unix(_) => Clock::Sure(utc),
        WallTime::Unknown if utc.seconds() >= clock::build_time() => Clock::Unsure(utc),
        WallTime::Unknown => Clock::Unset,
    };
    Moment { at: clock::now(), clock, offset_s: clock::local_offset(utc.seconds()) }
}

/// What is kept before and after an incident.
const AROUND: Duration = Duration::from_secs(15);
/// The end of the program waits so long for a disk.
const PATIENCE: Duration = Duration::from_secs(3);
