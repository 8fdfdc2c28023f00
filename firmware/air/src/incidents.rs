//! The incident log: each hand-over is one record, kept in memory for whoever asks and in a file that outlives a restart.
//!
//! The file holds one JSON object a line. An incident gets a line when it opens and another whenever more is known of it, the
//! last when it is over; the last line of an incident counts. A power cut in the middle of a line costs that line only. A
//! thread of its own writes: a disk that is full, read-only or hangs holds nobody up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use units::snapshot::{Incident, IncidentRecord, OutputReport, Reply};
use units::{Instant, WallTime};

use crate::clock;
use crate::driver::Driver;

/// The incidents that are remembered; cheap to clone, for one thread only.
#[derive(Clone)]
pub(crate) struct Incidents(Rc<Shared>);

struct Shared {
    ledger: RefCell<Ledger>,
    /// The file has been read.
    read: Cell<bool>,
    /// The disk does not answer, and that was said.
    hangs: Cell<bool>,
    /// The output that is being drilled.
    drilled: RefCell<Option<String>>,
}

/// An output is being drilled for as long as this lives.
pub(crate) struct Drilling(Rc<Shared>);

impl Drop for Drilling {
    fn drop(&mut self) {
        self.0.drilled.replace(None);
    }
}

impl Incidents {
    /// No incidents yet; `run` tells those of this run of the program from all others.
    pub(crate) fn new(run: u64) -> Self {
        let ledger = Ledger { run: format!("{run:016x}"), records: VecDeque::new() };
        Self(Rc::new(Shared {
            ledger: RefCell::new(ledger),
            read: Cell::new(false),
            hangs: Cell::new(false),
            drilled: RefCell::default(),
        }))
    }

    /// From now on incidents of `output` are asked for; `None` while another drill is under way.
    pub(crate) fn drill(&self, output: &str) -> Option<Drilling> {
        let mut drilled = self.0.drilled.borrow_mut();
        drilled.is_none().then(|| {
            *drilled = Some(output.to_string());
            Drilling(Rc::clone(&self.0))
        })
    }

    pub(crate) fn reply(&self) -> Reply {
        let missing = "those from before the last start have not been read: the state folder does not answer";
        Reply::Incidents {
            incidents: self.0.ledger.borrow().records.iter().cloned().collect(),
            missing: (!self.0.read.get()).then(|| missing.to_string()),
        }
    }

    /// Follows the hand-overs for ever, and keeps what is known of them in the folder `state`.
    pub(crate) async fn keep(self, driver: Driver, state: PathBuf) {
        let (lines, orders) = sync_channel(WAITING);
        let (earlier, read) = oneshot::channel();
        let store = Store { folder: state, largest: LARGEST };
        let writer = std::thread::Builder::new().name("incidents".to_string()).stack_size(STACK);
        if let Err(error) = writer.spawn(move || write(&store, earlier, &orders)) {
            tracing::error!(
                alarm = true,
                "incidents are not kept over a restart: no thread to write them: {error}"
            );
        }
        let reader = self.clone();
        tokio::task::spawn_local(async move {
            if let Ok(records) = read.await {
                reader.0.ledger.borrow_mut().add_earlier(records);
                reader.0.read.set(true);
            }
        });
        loop {
            let open = self.look(&driver, &lines);
            if open {
                // What is known of an open incident grows without a word.
                let _ = tokio::time::timeout(PACE, driver.told()).await;
            } else {
                driver.told().await;
                // It is told of before it is in the report.
                tokio::time::sleep(SETTLING).await;
            }
        }
    }

    /// Takes in what the report shows; whether an incident is under way.
    fn look(&self, driver: &Driver, lines: &SyncSender<String>) -> bool {
        let mut ledger = self.0.ledger.borrow_mut();
        let drilled = self.0.drilled.borrow();
        for record in ledger.see(clock::now(), clock::wall(), &driver.report(), drilled.as_deref()) {
            driver.archive().incident(&record);
            if !record.open {
                tracing::info!(output = %record.incident.output, "incident over: {}", in_words(&record));
            }
            let Ok(line) = serde_json::to_string(&record) else { continue };
            // Nobody takes lines only while the disk hangs, which no error ever says.
            let taken = lines.try_send(line).is_ok();
            if !taken && !self.0.hangs.replace(true) {
                tracing::error!(
                    alarm = true,
                    "the incident log is not written any more: the disk of the state folder does not answer; on air as before"
                );
            }
            self.0.hangs.set(!taken);
        }
        ledger.is_open()
    }
}

/// One line for the log.
fn in_words(record: &IncidentRecord) -> String {
    let Incident { cause, detected_ms, moved, pause_ms, lost_ms, .. } = &record.incident;
    let lost = lost_ms.map_or_else(|| "an unknown part".to_string(), |lost| format!("{lost} ms"));
    let lasted = record.lasted_ms.map_or_else(
        || "its end was not seen".to_string(),
        |lasted| format!("healed after {} s", lasted / 1000),
    );
    let why = if record.drill { "drill: " } else { "" };
    format!(
        "{why}{cause}; noticed after {detected_ms} ms, moved ({moved}), pause {pause_ms} ms, {lost} lost, {lasted}"
    )
}

/// What is remembered, and which of it changed.
struct Ledger {
    run: String,
    /// Oldest first.
    records: VecDeque<IncidentRecord>,
}

impl Ledger {
    /// Takes in what all outputs report; gives the records that are new or have changed.
    fn see(
        &mut self,
        now: Instant,
        wall: WallTime,
        outputs: &[OutputReport],
        drilled: Option<&str>,
    ) -> Vec<IncidentRecord> {
        let reported: Vec<Incident> = outputs
            .iter()
            .filter_map(|output| output.hand_over.as_ref())
            .flat_map(|hand_over| hand_over.incidents.iter().cloned().map(shortened))
            .collect();
        let mut changed = Vec::new();
        for incident in &reported {
            let known = self.records.iter_mut().rev().find(|record| {
                record.run == self.run
                    && record.incident.output == incident.output
                    && record.incident.began == incident.began
            });
            let record = match known {
                Some(record) if record.incident == *incident => continue,
                Some(record) => record,
                None => {
                    let drill = drilled == Some(incident.output.as_str());
                    self.records.push_back(IncidentRecord {
                        incident: incident.clone(),
                        run: self.run.clone(),
                        at: WallTime::Unknown,
                        drill,
                        open: true,
                        lasted_ms: None,
                    });
                    let Some(record) = self.records.back_mut() else { continue };
                    record
                }
            };
            record.incident = incident.clone();
            if let (WallTime::Unknown, WallTime::Unix(seconds)) = (record.at, wall) {
                record.at = WallTime::Unix(seconds.saturating_sub(now.since(incident.began).as_secs()));
            }
            if let Some(healed) = incident.healed {
                let lasted = healed.since(incident.began).as_millis();
                (record.open, record.lasted_ms) = (false, u64::try_from(lasted).ok());
            }
            changed.push(record.clone());
        }
        // New settings may have taken an output away in the middle of one.
        for record in self.records.iter_mut().filter(|record| record.open) {
            let same = |incident: &&Incident| {
                incident.output == record.incident.output && incident.began == record.incident.began
            };
            if !reported.iter().any(|incident| same(&incident)) {
                record.open = false;
                changed.push(record.clone());
            }
        }
        self.forget();
        changed
    }

    /// Puts what former runs left before what this one saw.
    fn add_earlier(&mut self, earlier: Vec<IncidentRecord>) {
        for record in earlier.into_iter().rev() {
            if record.run != self.run {
                self.records.push_front(IncidentRecord { open: false, ..record });
            }
        }
        self.forget();
    }

    fn is_open(&self) -> bool {
        self.records.iter().any(|record| record.open)
    }

    fn forget(&mut self) {
        let over = self.records.len().saturating_sub(MOST);
        self.records.drain(..over);
    }
}

/// A cause may quote a server: no line is longer than it has to be.
fn shortened(mut incident: Incident) -> Incident {
    for text in [&mut incident.cause, &mut incident.moved] {
        if text.len() > LONGEST_TEXT {
            let cut = (0..=LONGEST_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(cut);
        }
    }
    incident
}

/// The thread: reads what there is, then appends what comes until nobody sends any more. What cannot be written is tried
/// again; the alarm comes once, and again only after something could be written.
fn write(store: &Store, earlier: oneshot::Sender<Vec<IncidentRecord>>, orders: &Receiver<String>) {
    let folder = store.folder.display();
    let remedy = "give this user a state folder that can be written ([control] state) and room on its disk";
    match store.load() {
        Ok((records, unreadable)) => {
            if unreadable > 0 {
                tracing::info!("{unreadable} lines of the incident log in {folder} are torn and left out");
            }
            // Whoever asked has ended.
            let _ = earlier.send(records);
        }
        Err(error) => tracing::warn!("the incident log in {folder} cannot be read: {error}; {remedy}"),
    }
    if let Err(error) = store.open() {
        tracing::warn!("the incident log in {folder} cannot be written: {error}; {remedy}");
    }
    let mut waiting: VecDeque<String> = VecDeque::new();
    let mut complained = false;
    loop {
        let order = if waiting.is_empty() {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(RETRY)
        };
        match order {
            Ok(line) => waiting.push_back(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let over = waiting.len().saturating_sub(WAITING);
        waiting.drain(..over);
        while let Some(line) = waiting.front() {
            match store.append(line) {
                Ok(()) => {
                    waiting.pop_front();
                    if std::mem::take(&mut complained) {
                        tracing::info!("the incident log in {folder} is written again");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut complained, true) {
                        tracing::error!(
                            alarm = true,
                            "the incident log in {folder} cannot be written: {error}; on air as before. To keep it, {remedy}"
                        );
                    }
                    break;
                }
            }
        }
    }
}

/// The file and its predecessor.
struct Store {
    folder: PathBuf,
    /// Bytes of one of them.
    largest: u64,
}

impl Store {
    fn file(&self) -> PathBuf {
        self.folder.join("incidents.jsonl")
    }

    fn old(&self) -> PathBuf {
        self.folder.join("incidents.old.jsonl")
    }

    /// Everything that can be read, oldest first, each incident as it was written last; and how many lines cannot.
    fn load(&self) -> io::Result<(Vec<IncidentRecord>, usize)> {
        let mut records: Vec<IncidentRecord> = Vec::new();
        let mut unreadable = 0;
        for path in [self.old(), self.file()] {
            let bytes = self.read(&path)?;
            for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let Ok(record) = serde_json::from_slice::<IncidentRecord>(line) else {
                    unreadable += 1;
                    continue;
                };
                let known = records.iter_mut().find(|known| {
                    known.run == record.run
                        && known.incident.output == record.incident.output
                        && known.incident.began == record.incident.began
                });
                match known {
                    Some(known) => *known = record,
                    None => records.push(record),
                }
            }
        }
        let over = records.len().saturating_sub(MOST);
        records.drain(..over);
        Ok((records, unreadable))
    }

    /// The file, for reading its end and appending to it.
    fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).open(self.file())
    }

    /// Adds a line, and sees it onto the disk.
    fn append(&self, line: &str) -> io::Result<()> {
        let mut file = self.open()?;
        let mut length = file.metadata()?.len();
        if length > 0 && length + line.len() as u64 >= self.largest {
            std::fs::rename(self.file(), self.old())?;
            file = self.open()?;
            length = 0;
            // Both names are on the disk before anything relies on them.
            File::open(&self.folder)?.sync_all()?;
        }
        let mut whole = String::with_capacity(line.len() + 2);
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                whole.push('\n');
            }
        }
        whole.push_str(line);
        whole.push('\n');
        file.write_all(whole.as_bytes())?;
        file.sync_data()
    }

    /// A file's bytes, the newest if there are more than we ever write; none if there is no such file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(self.largest)))?;
        let mut bytes = Vec::new();
        file.take(self.largest).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Incidents in memory, and so in an answer.
const MOST: usize = 200;
/// Bytes of one file; there are two.
const LARGEST: u64 = 256 * 1024;
/// Bytes of one text in a record.
const LONGEST_TEXT: usize = 300;
/// Lines that wait for a disk.
const WAITING: usize = 64;
const STACK: usize = 256 * 1024;
/// Between two tries at a disk that would not take a line.
const RETRY: Duration = Duration::from_secs(60);
/// Between two looks at an open incident.
const PACE: Duration = Duration::from_secs(1);
const SETTLING: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use units::snapshot::{HandOverReport, Role};

    use super::*;

    fn incident(began_s: u64) -> Incident {
        Incident {
            output: "main".into(),
            began: Instant::from_millis(began_s * 1000),
            cause: "no byte is acknowledged".into(),
            detected_ms: 705,
            cut: 1400,
            moved: "evicted".into(),
            pause_ms: 0,
            lost_ms: Some(0),
            healed: None,
        }
    }

    fn reports(incidents: &[Incident]) -> Vec<OutputReport> {
        let hand_over = HandOverReport {
            listeners_on: Role::Fallback,
            phase: "away".into(),
            incidents: incidents.to_vec(),
        };
        vec![OutputReport { name: "main".into(), mounts: Vec::new(), hand_over: Some(hand_over) }]
    }

    fn ledger(run: &str) -> Ledger {
        Ledger { run: run.into(), records: VecDeque::new() }
    }

    fn record(run: &str, began_s: u64) -> IncidentRecord {
        let mut ledger = ledger(run);
        let now = Instant::from_millis(began_s * 1000);
        ledger.see(now, WallTime::Unix(1_800_000_000), &reports(&[incident(began_s)]), None).remove(0)
    }

    fn line(record: &IncidentRecord) -> String {
        serde_json::to_string(record).unwrap()
    }

    #[test]
    fn an_incident_is_told_when_it_opens_grows_and_ends() {
        let mut ledger = ledger("a");
        let at = |seconds: u64| Instant::from_millis(seconds * 1000);
        let opened = ledger.see(at(101), WallTime::Unknown, &reports(&[incident(100)]), Some("main"));
        assert_eq!(opened.len(), 1);
        assert!(opened[0].open && opened[0].drill && opened[0].at == WallTime::Unknown);
        assert!(ledger.is_open());
        assert!(ledger.see(at(102), WallTime::Unknown, &reports(&[incident(100)]), None).is_empty());
        let grown = Incident { pause_ms: 1430, ..incident(100) };
        let told =
            ledger.see(at(103), WallTime::Unix(1_800_000_003), &reports(std::slice::from_ref(&grown)), None);
        assert_eq!((told.len(), told[0].at), (1, WallTime::Unix(1_800_000_000)));
        let healed = Incident { healed: Some(at(160)), ..grown };
        let ended = ledger.see(at(161), WallTime::Unknown, &reports(&[healed]), None);
        assert_eq!((ended.len(), ended[0].open, ended[0].lasted_ms), (1, false, Some(60_000)));
        // The time of day and the drill are not forgotten again.
        assert_eq!((ended[0].at, ended[0].drill), (WallTime::Unix(1_800_000_000), true));
        assert!(!ledger.is_open());
    }

    #[test]
    fn an_output_that_is_taken_away_ends_its_incident() {
        let mut ledger = ledger("a");
        let now = Instant::from_millis(101_000);
        ledger.see(now, WallTime::Unknown, &reports(&[incident(100)]), None);
        let ended = ledger.see(now, WallTime::Unknown, &[], None);
        assert_eq!((ended.len(), ended[0].open, ended[0].lasted_ms), (1, false, None));
        assert!(ledger.see(now, WallTime::Unknown, &[], None).is_empty());
    }

    #[test]
    fn what_a_former_run_left_open_is_over_and_comes_first() {
        let mut ledger = ledger("b");
        ledger.see(Instant::from_millis(9000), WallTime::Unknown, &reports(&[incident(8)]), None);
        ledger.add_earlier(vec![record("a", 100), record("a", 200), record("b", 8)]);
        let known: Vec<_> = ledger.records.iter().map(|record| (record.run.as_str(), record.open)).collect();
        assert_eq!(known, [("a", false), ("a", false), ("b", true)]);
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().into(), largest: LARGEST };
        assert_eq!(store.load().unwrap(), (Vec::new(), 0));
        store.append(&line(&record("a", 1))).unwrap();
        store.append(&line(&record("a", 2))).unwrap();
        let whole = std::fs::read(store.file()).unwrap();
        let second = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for cut in second..whole.len() {
            std::fs::write(store.file(), &whole[..cut]).unwrap();
            store.append(&line(&record("b", 3))).unwrap();
            let (records, unreadable) = store.load().unwrap();
            let torn = usize::from(cut > second && cut < whole.len() - 1);
            assert_eq!((records.len(), unreadable), (3 - usize::from(cut < whole.len() - 1), torn), "{cut}");
            assert_eq!(records.last().unwrap().run, "b");
        }
        std::fs::write(store.file(), [0xFF, 0, b'{', b'\n', b'\n', b'7']).unwrap();
        assert_eq!(store.load().unwrap(), (Vec::new(), 2));
    }

    #[test]
    fn the_last_line_of_an_incident_counts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().into(), largest: LARGEST };
        let opened = record("a", 1);
        let ended = IncidentRecord { open: false, lasted_ms: Some(60_000), ..opened.clone() };
        for told in [&opened, &record("a", 2), &ended] {
            store.append(&line(told)).unwrap();
        }
        let (records, _) = store.load().unwrap();
        assert_eq!(records, [ended, record("a", 2)]);
    }

    #[test]
    fn the_log_stays_small_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().into(), largest: 10_000 };
        let one = line(&record("a", 1)).len() as u64;
        let count = 3 * store.largest / one;
        for began in 0..count {
            store.append(&line(&record("a", began))).unwrap();
        }
        for file in [store.file(), store.old()] {
            assert!(file.metadata().unwrap().len() <= store.largest);
        }
        let (records, unreadable) = store.load().unwrap();
        // One file is full and the other about to be.
        let fits = usize::try_from(store.largest / one).unwrap();
        assert!(
            records.len() >= fits && records.len() <= 2 * fits && unreadable == 0,
            "{} {fits}",
            records.len()
        );
        let newest: Vec<_> = (count - records.len() as u64..count).map(|began| record("a", began)).collect();
        assert_eq!(records, newest);
    }

    #[test]
    fn a_disk_that_takes_nothing_loses_nothing_that_is_still_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("state");
        let store = Store { folder: missing.clone(), largest: LARGEST };
        assert!(store.append("x").is_err());
        let (lines, orders) = sync_channel(4);
        let (earlier, _read) = oneshot::channel();
        lines.send(line(&record("a", 1))).unwrap();
        lines.send(line(&record("a", 2))).unwrap();
        let thread = std::thread::spawn(move || write(&store, earlier, &orders));
        // The folder may come before the first try or after it: the third line brings the others along.
        std::fs::create_dir(&missing).unwrap();
        lines.send(line(&record("a", 3))).unwrap();
        drop(lines);
        thread.join().unwrap();
        let (records, unreadable) = Store { folder: missing, largest: LARGEST }.load().unwrap();
        assert_eq!((records.len(), unreadable), (3, 0));
    }

    #[test]
    fn a_servers_long_words_are_cut() {
        let long = Incident { cause: "ü".repeat(400), ..incident(1) };
        let mut ledger = ledger("a");
        let first = ledger.see(Instant::ZERO, WallTime::Unknown, &reports(std::slice::from_ref(&long)), None);
        assert!(first[0].incident.cause.len() <= LONGEST_TEXT);
        assert!(ledger.see(Instant::ZERO, WallTime::Unknown, &reports(&[long]), None).is_empty());
    }
}
