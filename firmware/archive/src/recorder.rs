//! The deciding part: which file a packet goes to, when files change, what is deleted, how gaps and steps of the clock are
//! noted, and what is kept apart. It owns no file and no clock: it is given batches, and gives the steps to be done.
//!
//! Order of calls: [`Recorder::take`] (or [`Recorder::close`]), then [`Recorder::step`] and [`Recorder::done`] in turn until
//! there is no step left.
//!
//! Invariants
//! - A recording holds whole packets of one rendition, one run and one course of the clock; its name is that of no other.
//! - What goes is the oldest by recording, and never the one that is being made.
//! - A fault of the disk ends in a retry at a known time; each alarm is said once, and again only after it was healed.

mod boundary;
mod keep;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use units::{Instant, Rendition};

pub(crate) use keep::Keep;

use boundary::{hour, since_boundary_ms, step_ms};

use crate::batch::{Batch, Before};
use crate::config::Config;
use crate::index::{Begin, Ended, GapWhy, Hole, Line, Mark, Point, VERSION, written};
use crate::name;
use crate::shelf::{Entry, Limits, Reason, Shelf};
use crate::step::{Fault, Seen, Step};
use crate::time::{Clock, Moment, Utc, ms_between};
use crate::walk::packets_ms;

/// The recorder of one folder.
pub(crate) struct Recorder {
    config: Config,
    shelf: Shelf,
    /// Changes with what is on the shelf, the open recording's growth left out.
    version: u64,
    phase: Phase,
    run: Option<u64>,
    seq: u32,
    steps: VecDeque<Step>,
    /// What is being written.
    batch: Option<Batch>,
    /// Bytes left on the disk, as far as known.
    free: Option<u64>,
    /// Where the newest batch ended.
    last: Option<Moment>,
    /// Packets that were not recorded since the newest one that was.
    missing: Option<GapWhy>,
    /// Times of day are not believed to be good for deleting before this.
    ages_from: Instant,
    short: bool,
    trouble: Option<Trouble>,
    keeps: VecDeque<Keep>,
    gaps: u64,
    since: Option<Moment>,
}

enum Phase {
    /// The folder was not looked at yet.
    Unseen,
    Idle,
    Open(Open),
    /// The disk does not take what it should.
    Stopped {
        why: String,
        retry_at: Instant,
    },
}

/// The disk did not take something, and has not been seen to take anything since.
struct Trouble {
    since: Instant,
    remind_at: Instant,
}

/// The recording that is being made.
struct Open {
    rendition: Rendition,
    byte: u64,
    packets: u64,
    /// The clock when it began.
    began: Moment,
    /// Bytes after which another one is begun.
    longest: u64,
    synced_at: Instant,
    marked_at: Instant,
}

/// How recording goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What it does.
    pub state: State,
    /// Bytes on the disk: recordings with their indexes.
    pub bytes: u64,
    /// Recordings.
    pub files: u64,
    /// When the oldest one begins, if its time is known.
    pub oldest: Option<Utc>,
    /// Bytes of what is kept apart.
    pub kept_bytes: u64,
    /// Times packets were not recorded since the start.
    pub gaps: u64,
    /// Recordings go before their days are over, for want of room on the disk.
    pub short: bool,
}

/// What a recorder does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It waits for packets.
    Waiting,
    /// It records.
    Recording {
        /// Since when.
        since: Instant,
    },
    /// The disk does not let it.
    Stopped {
        /// Since when.
        since: Instant,
        /// What is wrong, and what to do.
        why: String,
    },
}

impl Recorder {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            shelf: Shelf::default(),
            version: 0,
            phase: Phase::Unseen,
            run: None,
            seq: 0,
            steps: VecDeque::new(),
            batch: None,
            free: None,
            last: None,
            missing: None,
            ages_from: Instant::ZERO,
            short: false,
            trouble: None,
            keeps: VecDeque::new(),
            gaps: 0,
            since: None,
        }
    }

    /// Takes the next batch; `free` is what is left on the disk, if it says so.
    pub(crate) fn take(&mut self, batch: Batch, free: Option<u64>) {
        let now = batch.moment.at;
        if self.since.is_none() {
            self.since = Some(batch.moment);
            self.ages_from = now + STEADY;
        }
        self.free = free;
        match &self.phase {
            Phase::Stopped { why, retry_at } if now < *retry_at => {
                if let Some(trouble) = self.trouble.as_mut().filter(|trouble| now >= trouble.remind_at) {
                    trouble.remind_at = now + REMINDER;
                    let seconds = now.since(trouble.since).as_secs();
                    let text = format!("nothing is recorded for {seconds} s now: {why}");
                    self.steps.push_back(Step::Say { alarm: true, text });
                }
                self.missing = Some(GapWhy::Disk);
                return;
            }
            Phase::Stopped { .. } | Phase::Unseen => {
                self.steps.push_back(Step::Look);
                self.batch = Some(batch);
                return;
            }
            Phase::Idle | Phase::Open(_) => {}
        }
        self.batch = Some(batch);
        self.plan();
    }

    /// Ends the recording in good order.
    pub(crate) fn close(&mut self) {
        let last = self.last;
        self.end(last, Ended::Off);
    }

    /// The next step, if there is one.
    pub(crate) fn step(&self) -> Option<&Step> {
        self.steps.front()
    }

    /// Bytes of the batch that is being written.
    pub(crate) fn sound(&self) -> &[u8] {
        self.batch.as_ref().map_or(&[], |batch| &batch.bytes)
    }

    /// The step is done, or was not: `now` for when to try again.
    pub(crate) fn done(&mut self, outcome: Result<(), Fault>, now: Instant) {
        let Some(step) = self.steps.front() else { return };
        let fault = match outcome {
            Ok(()) => {
                // Only what is on the disk proves that the disk takes something.
                let (proven, begun) = (matches!(step, Step::Sync), matches!(step, Step::Begin { .. }));
                self.steps.pop_front();
                let after = self.shelf.open().filter(|_| begun).and_then(|entry| entry.after);
                match after {
                    Some(GapWhy::SlowDisk | GapWhy::Disk | GapWhy::Encoder) => self.gaps += 1,
                    Some(GapWhy::Off) | None => {}
                }
                if let Some(trouble) = self.trouble.take_if(|_| proven) {
                    let seconds = now.since(trouble.since).as_secs();
                    let text = format!("recording again after {seconds} s; what was sent meanwhile is a gap");
                    self.steps.push_front(Step::Say { alarm: false, text });
                }
                return;
            }
            Err(fault) => fault,
        };
        if let (Step::Keep { name, .. }, Fault::Other(why)) = (step, &fault) {
            let text = format!("{name} cannot be kept apart: {why}");
            self.steps.pop_front();
            self.steps.push_front(Step::Say { alarm: false, text });
            return;
        }
        let why = match fault {
            Fault::Other(why) => why,
            Fault::Full => match self.shelf.oldest() {
                // The step itself is tried again behind it.
                Some(victim) => return self.make_way(victim, Reason::Full, true),
                None => NO_ROOM.to_string(),
            },
        };
        self.stop(why, now);
    }

    /// The folder was looked through.
    pub(crate) fn looked(&mut self, seen: Seen) {
        self.steps.pop_front();
        let newest = seen.entries.iter().map(|entry| entry.order.0).max().unwrap_or(0);
        // On another disk others may have been at work meanwhile.
        if self.run.is_none_or(|run| newest > run) {
            self.run = Some(newest + 1);
            self.seq = 0;
        }
        self.shelf = Shelf::new(seen.entries, seen.clips);
        self.version += 1;
        self.free = seen.free;
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Unseen => self.greet(),
            Phase::Idle | Phase::Open(_) | Phase::Stopped { .. } => {}
        }
        self.plan();
    }

    pub(crate) fn report(&self) -> Report {
        let state = match &self.phase {
            Phase::Unseen | Phase::Idle => State::Waiting,
            Phase::Open(open) => State::Recording { since: self.since.unwrap_or(open.began).at },
            Phase::Stopped { why, retry_at } => {
                let since = self.trouble.as_ref().map_or(*retry_at, |trouble| trouble.since);
                State::Stopped { since, why: why.clone() }
            }
        };
        Report {
            state,
            bytes: self.shelf.bytes(),
            files: self.shelf.entries().len() as u64,
            oldest: self.shelf.entries().iter().find_map(Entry::starts),
            kept_bytes: self.shelf.clip_bytes(),
            gaps: self.gaps,
            short: self.short,
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.shelf.entries()
    }

    /// Changes whenever a recording begins, ends, goes or gets a gap.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What is to be done with the batch.
    fn plan(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let end = self.believed(batch.moment);
        let batch = Batch { moment: end, ..batch };
        let start = batch.moment_of(0);
        self.follow_clock(start);
        if !self.make_room(batch.bytes.len() as u64, end) {
            self.missing = Some(GapWhy::Disk);
            return;
        }
        self.note_gap(&batch, start);
        let from = self.split(&batch);
        if from > 0 {
            self.write(&batch, 0..from);
            self.end(Some(batch.moment_of(from)), Ended::Hour);
        }
        if from < batch.packets() {
            let starts = batch.moment_of(from);
            if let Phase::Open(open) = &self.phase {
                let why = if open.rendition != batch.rendition {
                    Some(Ended::Format)
                } else if from == 0 && hour(starts) != hour(open.began) {
                    Some(Ended::Hour)
                } else if open.byte + batch.bytes.len() as u64 > open.longest && open.byte > 0 {
                    Some(Ended::Size)
                } else {
                    None
                };
                if let Some(why) = why {
                    self.end(Some(starts), why);
                }
            }
            if !matches!(self.phase, Phase::Open(_)) {
                self.begin(batch.rendition, starts);
            }
            self.write(&batch, from..batch.packets());
        }
        self.last = Some(end);
        self.batch = Some(batch);
        self.settle(end);
        self.keep_apart(end);
    }

    /// A clock that a time service kept a moment ago and that did not step is as good as before.
    fn believed(&self, moment: Moment) -> Moment {
        match (self.last.map(|last| (last, last.clock)), moment.clock) {
            (Some((last, Clock::Sure(_))), Clock::Unsure(utc)) if step_ms(last, moment) == Some(0) => {
                Moment { clock: Clock::Sure(utc), ..moment }
            }
            (Some(_) | None, _) => moment,
        }
    }

    /// A recording ends where the time of day steps, or becomes known; in the latter case those before get their times.
    fn follow_clock(&mut self, start: Moment) {
        let Some(last) = self.last else { return };
        let run = self.run;
        let unsure =
            |entry: &Entry| Some(entry.order.0) == run && entry.begin.is_some_and(|begin| !begin.sure);
        // Also those that could not be named when the clock was set, for a disk that took nothing.
        let to_be_told = start.clock.is_sure() && self.shelf.entries().iter().any(unsure);
        let stepped = step_ms(last, start);
        if stepped == Some(0) && !to_be_told {
            return;
        }
        self.ages_from = start.at + STEADY;
        self.end(Some(last), Ended::Clock);
        if let (Some(ms), true) = (stepped, last.clock.is_sure()) {
            let text = format!("the clock stepped by {} s; a new recording begins", ms as f64 / 1000.0);
            self.steps.push_back(Step::Say { alarm: false, text });
        }
        if let (Clock::Sure(utc), true) = (start.clock, to_be_told) {
            self.set_clock(start, utc);
        }
    }

    /// Gives the recordings of this run that were made before the clock was set their times, and the names that follow.
    fn set_clock(&mut self, now: Moment, utc: Utc) {
        let run = self.run;
        let at = now.at;
        let told =
            |point: Point| Point { utc: Some(utc.shifted(-ms_between(point.at, at))), sure: true, ..point };
        let mut stems: Vec<String> = self.shelf.entries().iter().map(|entry| entry.stem.clone()).collect();
        for entry in self.shelf.entries_mut() {
            let Some(begin) = entry.begin.filter(|begin| Some(entry.order.0) == run && !begin.sure) else {
                continue;
            };
            let begin = told(begin);
            let clock = begin.utc.map_or(Clock::Unset, Clock::Sure);
            let wanted = name::stem(clock, now.offset_s, entry.order.0, entry.order.1);
            let stem = name::free(wanted, &|stem| stems.iter().any(|taken| taken == stem));
            let from = std::mem::replace(&mut entry.stem, stem.clone());
            stems.push(stem.clone());
            (entry.begin, entry.end, entry.offset_s) = (Some(begin), entry.end.map(told), now.offset_s);
            for hole in &mut entry.holes {
                (hole.from, hole.to) = (told(hole.from), told(hole.to));
            }
            let line = written(&Line::Set { at, utc });
            self.steps.push_back(Step::Rename { from, to: stem, ending: entry.ending, line });
        }
        self.version += 1;
    }

    /// Deletes what has to go before so many bytes are written. Whether there is room then.
    fn make_room(&mut self, bytes: u64, now: Moment) -> bool {
        let incoming = bytes + SPARE;
        let limits = self.limits();
        let day = (now.at >= self.ages_from).then(|| Some((now.clock.utc()?, now.clock.is_sure()))).flatten();
        let mut free = self.free;
        let mut victims = Vec::new();
        while let Some((victim, reason)) = self.shelf.victim(limits, day, free, incoming) {
            free = free.map(|free| free.saturating_add(victim.bytes));
            victims.push((victim, reason));
        }
        // The disk says itself when it is full; what is to be kept free on it is our business.
        let enough = limits.keep_free.saturating_add(incoming);
        let lacking = free.filter(|free| limits.keep_free > 0 && *free < enough);
        if lacking.is_some() {
            // No recording goes in vain; those whose time has come go all the same.
            let (kept, due): (Vec<_>, Vec<_>) =
                victims.into_iter().partition(|(_, reason)| *reason == Reason::Full);
            self.shelf.put_back(kept.into_iter().map(|(entry, _)| entry));
            let keep_free = limits.keep_free;
            let free = self.free.unwrap_or_default();
            self.stop(format!("{free} bytes are free and keep_free asks for {keep_free}: {NO_ROOM}"), now.at);
            due.into_iter().for_each(|(victim, reason)| self.make_way(victim, reason, false));
            return false;
        }
        if victims.iter().all(|(_, reason)| *reason != Reason::Full) {
            self.heal();
        }
        victims.into_iter().for_each(|(victim, reason)| self.make_way(victim, reason, false));
        true
    }

    /// Deletes a recording that was taken off the shelf; at once, or after what is planned.
    fn make_way(&mut self, victim: Entry, reason: Reason, at_once: bool) {
        self.version += 1;
        self.free = self.free.map(|free| free.saturating_add(victim.bytes));
        let mut steps = Vec::new();
        match reason {
            Reason::Full => {
                if !std::mem::replace(&mut self.short, true) {
                    let text = "the disk fills up: the oldest recordings go before their days are over; on air as before. \
                                Free room on it, or lower days or budget in [recording]";
                    steps.push(Step::Say { alarm: true, text: text.to_string() });
                }
                steps.push(Step::Say { alarm: false, text: format!("{} goes to make room", victim.stem) });
            }
            Reason::Age | Reason::Budget => {}
        }
        steps.push(Step::Delete { stem: victim.stem, ending: victim.ending });
        if at_once {
            steps.into_iter().rev().for_each(|step| self.steps.push_front(step));
        } else {
            self.steps.extend(steps);
        }
    }

    /// The disk has room for some more recordings again.
    fn heal(&mut self) {
        let longest = match &self.phase {
            Phase::Open(open) => open.longest,
            Phase::Unseen | Phase::Idle | Phase::Stopped { .. } => return,
        };
        let enough = self.config.keep_free.saturating_add(longest.saturating_mul(2));
        if self.short && self.free.is_some_and(|free| free > enough) {
            self.short = false;
            let text = "the disk has room for recordings again".to_string();
            self.steps.push_back(Step::Say { alarm: false, text });
        }
    }

    /// Notes packets that are missing before this batch.
    fn note_gap(&mut self, batch: &Batch, start: Moment) {
        let Some(last) = self.last else { return };
        let why = match (self.missing.take(), batch.before) {
            (Some(why), _) => Some(why),
            (None, Before::Lost) => Some(GapWhy::SlowDisk),
            (None, Before::Break) => Some(GapWhy::Encoder),
            // Packets that come far too late were made of sound that is missing too.
            (None, Before::Nothing) if ms_between(last.at, start.at) > LATE_MS => Some(GapWhy::Encoder),
            (None, Before::Nothing) => None,
        };
        let ms = ms_between(last.at, start.at);
        let Some(why) = why.filter(|_| ms >= packets_ms(&batch.rendition, 1).cast_signed()) else { return };
        let Phase::Open(open) = &self.phase else {
            self.missing = Some(why);
            return;
        };
        self.gaps += 1;
        self.version += 1;
        let (from, to) = (open.mark(last), open.mark(start));
        let line = written(&Line::Gap { from, to, why });
        if let Some(entry) = self.shelf.open() {
            entry.bytes += line.len() as u64;
            entry.holes.push(Hole { from: point(from), to: point(to), why });
        }
        self.steps.push_back(Step::Sync);
        self.steps.push_back(Step::Note { line });
    }

    /// How many packets of the batch still belong to what is open, if another hour begins within the batch; else zero.
    fn split(&self, batch: &Batch) -> usize {
        let Phase::Open(open) = &self.phase else { return 0 };
        let end = batch.moment;
        if open.rendition != batch.rendition || hour(end) == hour(open.began) {
            return 0;
        }
        let since = since_boundary_ms(end, open.began.offset_s);
        (0..batch.packets())
            .find(|&which| ms_between(batch.moment_of(which).at, end.at).unsigned_abs() <= since)
            .unwrap_or_else(|| batch.packets())
    }

    fn begin(&mut self, rendition: Rendition, began: Moment) {
        let Some(ending) = ending(&rendition) else { return };
        let run = self.run.unwrap_or(1);
        self.seq += 1;
        let wanted = name::stem(began.clock, began.offset_s, run, self.seq);
        let stem = name::free(wanted, &|stem| self.shelf.has(stem));
        let after = self.missing.take().or_else(|| self.last.is_none().then_some(GapWhy::Off));
        let mark =
            Mark { byte: 0, packets: 0, at: began.at, utc: began.clock.utc(), sure: began.clock.is_sure() };
        let line = written(&Line::Begin(Begin {
            version: VERSION,
            run,
            seq: self.seq,
            stem: stem.clone(),
            rendition,
            offset_s: began.offset_s,
            after,
            mark,
        }));
        let room = self
            .free
            .map_or(u64::MAX, |free| (self.shelf.bytes() + free).saturating_sub(self.config.keep_free));
        self.shelf.add(Entry {
            stem: stem.clone(),
            ending,
            order: (run, self.seq),
            rendition: Some(rendition),
            begin: Some(point(mark)),
            end: Some(point(mark)),
            offset_s: began.offset_s,
            after,
            holes: Vec::new(),
            bytes: line.len() as u64,
            open: true,
        });
        self.version += 1;
        self.steps.push_back(Step::Begin { stem, ending, line });
        self.phase = Phase::Open(Open {
            rendition,
            byte: 0,
            packets: 0,
            began,
            longest: (self.config.budget.min(room) / SHARES).max(SHORTEST),
            synced_at: began.at,
            marked_at: began.at,
        });
    }

    fn write(&mut self, batch: &Batch, packets: Range<usize>) {
        let Phase::Open(open) = &mut self.phase else { return };
        let (count, ends) = (packets.len() as u64, batch.moment_of(packets.end));
        let bytes = batch.range(packets);
        if bytes.is_empty() {
            return;
        }
        self.steps.push_back(Step::Write { at: open.byte, bytes: bytes.clone() });
        open.byte += bytes.len() as u64;
        open.packets += count;
        let mark = open.mark(ends);
        if let Some(entry) = self.shelf.open() {
            entry.bytes += bytes.len() as u64;
            entry.end = Some(point(mark));
        }
    }

    /// Sees what is open onto the disk now and then: seldom enough for an SD card.
    fn settle(&mut self, now: Moment) {
        let Phase::Open(open) = &mut self.phase else { return };
        if now.at.since(open.synced_at) < SYNC {
            return;
        }
        open.synced_at = now.at;
        self.steps.push_back(Step::Sync);
        if now.at.since(open.marked_at) >= MARK {
            open.marked_at = now.at;
            let line = written(&Line::Mark(open.mark(now)));
            if let Some(entry) = self.shelf.open() {
                entry.bytes += line.len() as u64;
            }
            self.steps.push_back(Step::Note { line });
        }
    }

    /// Ends what is open, if anything is.
    fn end(&mut self, at: Option<Moment>, why: Ended) {
        let Phase::Open(open) = &self.phase else { return };
        let mark = open.mark(at.unwrap_or(open.began));
        let line = written(&Line::End { mark, why });
        if let Some(entry) = self.shelf.open() {
            entry.bytes += line.len() as u64;
            entry.open = false;
        }
        self.version += 1;
        self.steps.extend([Step::Sync, Step::Note { line }, Step::Close]);
        self.phase = Phase::Idle;
    }

    fn stop(&mut self, why: String, now: Instant) {
        // What was planned is for a disk that works.
        let unbegun = self.steps.drain(..).any(|step| matches!(step, Step::Begin { .. }));
        self.steps.push_back(Step::Abandon);
        self.missing = Some(GapWhy::Disk);
        self.shelf.abandon(unbegun);
        self.version += 1;
        if self.trouble.is_none() {
            let text = format!("nothing is recorded any more: {why}; on air as before");
            self.steps.push_back(Step::Say { alarm: true, text });
            self.trouble = Some(Trouble { since: now, remind_at: now + REMINDER });
        }
        let long = self.trouble.as_ref().is_some_and(|trouble| now.since(trouble.since) >= MANY_TRIES);
        self.phase = Phase::Stopped { why, retry_at: now + if long { RETRY_LATER } else { RETRY } };
    }

    /// Says once how long the budget lasts.
    fn greet(&mut self) {
        let a_day = self.config.rendition.bitrate.bytes_per_second() * 86_400;
        let days = self.config.budget / a_day.max(1);
        let Config { rendition, budget, days: wanted, .. } = &self.config;
        if days < u64::from(*wanted) {
            let needed = (a_day * u64::from(*wanted)).div_ceil(1_000_000_000);
            let text = format!(
                "recording {rendition}: a budget of {budget} bytes holds {days} of {wanted} days; {needed} GB would hold all"
            );
            self.steps.push_back(Step::Say { alarm: false, text });
        }
    }

    fn limits(&self) -> Limits {
        let Config { days, budget, keep_free, .. } = &self.config;
        Limits { age_ms: u64::from(*days) * 86_400_000, budget: *budget, keep_free: *keep_free }
    }
}

impl Open {
    fn mark(&self, moment: Moment) -> Mark {
        Mark {
            byte: self.byte,
            packets: self.packets,
            at: moment.at,
            utc: moment.clock.utc(),
            sure: moment.clock.is_sure(),
        }
    }
}

/// What a rendition's packets are called as a file. `None` for those that are no stream of packets by themselves.
pub fn ending(rendition: &Rendition) -> Option<&'static str> {
    match rendition.codec.content_type() {
        "audio/mpeg" => Some("mp3"),
        "audio/aac" | "audio/aacp" => Some("aac"),
        _ => None,
    }
}

const fn point(mark: Mark) -> Point {
    let Mark { byte, packets, at, utc, sure } = mark;
    Point { byte, packets, at, utc, sure }
}

const NO_ROOM: &str = "no recording is left that could go: something else fills the disk; free room on it";

/// Between two times that the recording is seen onto the disk: what a power cut may cost.
const SYNC: Duration = Duration::from_secs(10);
/// Between two marks: what a search walks through, and a drift of 100 ppm makes 6 ms of it.
const MARK: Duration = Duration::from_secs(60);
/// Between two tries at a disk that does not take anything, at first.
const RETRY: Duration = Duration::from_secs(10);
/// And once it has been so for [`MANY_TRIES`].
const RETRY_LATER: Duration = Duration::from_secs(60);
const MANY_TRIES: Duration = Duration::from_secs(120);
/// Between two words about it.
const REMINDER: Duration = Duration::from_secs(3600);
/// A clock that was set or stepped is not good for deleting at first.
const STEADY: Duration = Duration::from_secs(600);
/// Encoders on threads of their own may be a second and a half behind.
const LATE_MS: i64 = 2500;
/// A recording takes no more than this share of the room, so that little goes with the oldest.
const SHARES: u64 = 8;
/// But never less than this.
const SHORTEST: u64 = 64 * 1024;
/// For index lines and the file system's own.
const SPARE: u64 = 16 * 1024;

#[cfg(test)]
mod tests;
