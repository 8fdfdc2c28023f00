//! The deciding part against a disk in memory that can be full or read-only.

use std::collections::BTreeMap;

use proptest::prelude::*;
use units::BitRate;

use super::*;
use crate::index::Index;
use crate::time::tests::berlin;
use crate::walk::tests::MP3;

/// Bytes of a packet here: its number. A batch has 42 of 24 ms.
const PACKET: usize = 4;
const BATCH: u64 = 42;
const BATCH_MS: u64 = 1008;
const AUTUMN_MS: u64 = 1_792_890_000_000;
const SPRING_MS: u64 = 1_774_746_000_000;

#[derive(Default)]
struct Model {
    files: BTreeMap<String, (Vec<u8>, String)>,
    open: Option<String>,
    capacity: Option<u64>,
    read_only: bool,
    /// It does not say how much is free.
    hidden: bool,
    alarms: Vec<String>,
    said: Vec<String>,
    deleted: Vec<String>,
    kept: Vec<(String, Vec<(String, &'static str)>)>,
    clips_deleted: Vec<String>,
}

impl Model {
    fn used(&self) -> u64 {
        self.files.values().map(|(sound, index)| (sound.len() + index.len()) as u64).sum()
    }

    fn free(&self) -> Option<u64> {
        let free = self.capacity?.saturating_sub(self.used());
        (!self.hidden).then_some(free)
    }

    fn entry(stem: &str, (sound, index): &(Vec<u8>, String)) -> Entry {
        let index_read = Index::read(index.as_bytes()).expect("an index is written whole here");
        Entry {
            stem: stem.into(),
            ending: "mp3",
            order: (index_read.begin.run, index_read.begin.seq),
            rendition: Some(index_read.begin.rendition),
            begin: Some(index_read.first()),
            end: Some(index_read.last()),
            offset_s: index_read.begin.offset_s,
            after: index_read.begin.after,
            holes: index_read.holes.clone(),
            bytes: (sound.len() + index.len()) as u64,
            open: false,
        }
    }

    fn index(&self, stem: &str) -> Index {
        Index::read(self.files[stem].1.as_bytes()).unwrap()
    }

    fn stems(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }

    /// The numbers of all packets, in the order of recording.
    fn packets(&self) -> Vec<u32> {
        let mut files: Vec<_> =
            self.files.iter().map(|(stem, file)| (Self::entry(stem, file).order, file)).collect();
        files.sort_by_key(|(order, _)| *order);
        let sound = files.iter().flat_map(|(_, (sound, _))| sound.as_chunks::<PACKET>().0);
        sound.map(|packet| u32::from_le_bytes(*packet)).collect()
    }

    fn carry_out(&mut self, step: &Step, sound: &[u8]) -> Result<(), Fault> {
        if self.read_only && !matches!(step, Step::Say { .. } | Step::Abandon | Step::Close) {
            return Err(Fault::Other("read-only".into()));
        }
        let needed = match step {
            Step::Begin { line, .. } | Step::Note { line } => line.len(),
            Step::Write { bytes, .. } => bytes.len(),
            Step::Look
            | Step::Sync
            | Step::Close
            | Step::Abandon
            | Step::Delete { .. }
            | Step::Rename { .. }
            | Step::Keep { .. }
            | Step::DeleteClip { .. }
            | Step::Say { .. } => 0,
        };
        if self.capacity.is_some_and(|capacity| capacity < self.used() + needed as u64) && needed > 0 {
            return Err(Fault::Full);
        }
        match step {
            Step::Look => unreachable!("looks are answered elsewhere"),
            Step::Begin { stem, ending, line } => {
                assert_eq!(*ending, "mp3");
                assert!(self.open.is_none(), "two recordings at a time");
                let old = self.files.insert(stem.clone(), (Vec::new(), line.clone()));
                assert!(old.is_none(), "{stem} is overwritten");
                self.open = Some(stem.clone());
            }
            Step::Write { at, bytes } => {
                let (file, _) = self.files.get_mut(self.open.as_ref().unwrap()).unwrap();
                file.truncate(usize::try_from(*at).unwrap());
                assert_eq!(file.len() as u64, *at, "a hole in the file");
                file.extend_from_slice(&sound[bytes.clone()]);
            }
            Step::Sync => assert!(self.open.is_some()),
            Step::Note { line } => {
                let (file, index) = self.files.get_mut(self.open.as_ref().unwrap()).unwrap();
                index.push_str(line);
                let last = Index::read(index.as_bytes()).unwrap().last();
                assert!(last.byte <= file.len() as u64, "the index speaks of what is not there");
                assert_eq!(last.byte, last.packets * PACKET as u64);
            }
            Step::Close | Step::Abandon => self.open = None,
            Step::Delete { stem, .. } => {
                assert_ne!(Some(stem), self.open.as_ref());
                assert!(self.files.remove(stem).is_some());
                self.deleted.push(stem.clone());
            }
            Step::Rename { from, to, line, .. } => {
                assert_ne!(Some(from), self.open.as_ref());
                let (sound, mut index) = self.files.remove(from).unwrap();
                index.push_str(line);
                assert!(self.files.insert(to.clone(), (sound, index)).is_none(), "{to} is overwritten");
            }
            Step::Keep { name, out_of, .. } => self.kept.push((name.clone(), out_of.clone())),
            Step::DeleteClip { name } => self.clips_deleted.push(name.clone()),
            Step::Say { alarm: true, text } => self.alarms.push(text.clone()),
            Step::Say { alarm: false, text } => self.said.push(text.clone()),
        }
        Ok(())
    }

    /// What the edge does at a look: files that were cut off are closed.
    fn look(&mut self) -> Seen {
        self.open = None;
        for (sound, index) in self.files.values_mut() {
            let read = Index::read(index.as_bytes()).unwrap();
            if read.ended.is_none() && !self.read_only {
                let last = read.last();
                let packets = (sound.len() / PACKET) as u64 - last.packets;
                let ms = packets_ms(&MP3, packets);
                let mark = Mark {
                    byte: sound.len() as u64,
                    packets: last.packets + packets,
                    at: last.at + Duration::from_millis(ms),
                    utc: last.utc.map(|utc| utc.shifted(ms.cast_signed())),
                    sure: last.sure,
                };
                index.push_str(&written(&Line::End { mark, why: Ended::Torn }));
            }
        }
        let entries = self.files.iter().map(|(stem, file)| Self::entry(stem, file)).collect();
        Seen { entries, clips: Vec::new(), free: self.free() }
    }
}

struct World {
    recorder: Recorder,
    disk: Model,
    at_ms: u64,
    /// What the clock shows is ahead of the monotonic one by so much; `None`: it was never set.
    clock_ms: Option<u64>,
    sure: bool,
    next: u32,
    rendition: Rendition,
}

fn config() -> Config {
    Config {
        folder: "nowhere".into(),
        rendition: MP3,
        days: 42,
        budget: 1_000_000_000,
        keep_free: 0,
        incidents: 3_000_000,
    }
}

impl World {
    fn new(config: Config) -> Self {
        Self {
            recorder: Recorder::new(config),
            disk: Model::default(),
            at_ms: 5_000_000,
            clock_ms: Some(1_790_000_000_000),
            sure: true,
            next: 0,
            rendition: MP3,
        }
    }

    /// The clock shows this now.
    fn set(&mut self, utc_ms: u64) {
        self.clock_ms = Some(utc_ms - self.at_ms);
    }

    fn moment(&self) -> Moment {
        let utc = self.clock_ms.map(|ahead| Utc(ahead + self.at_ms));
        let clock = match (utc, self.sure) {
            (None, _) => Clock::Unset,
            (Some(utc), false) => Clock::Unsure(utc),
            (Some(utc), true) => Clock::Sure(utc),
        };
        Moment { at: Instant::from_millis(self.at_ms), clock, offset_s: utc.map_or(0, berlin) }
    }

    fn batch(&mut self, before: Before) {
        self.at_ms += BATCH_MS;
        let numbers = self.next..self.next + BATCH as u32;
        self.next = numbers.end;
        let batch = Batch {
            rendition: self.rendition,
            bytes: numbers.flat_map(u32::to_le_bytes).collect(),
            ends: (1..=BATCH as u32).map(|packet| packet * PACKET as u32).collect(),
            before,
            moment: self.moment(),
        };
        let free = self.disk.free();
        self.recorder.take(batch, free);
        self.carry_out();
    }

    fn seconds(&mut self, count: u64) {
        (0..count).for_each(|_| self.batch(Before::Nothing));
    }

    fn carry_out(&mut self) {
        let now = Instant::from_millis(self.at_ms);
        let mut steps = 0;
        while let Some(step) = self.recorder.step().cloned() {
            steps += 1;
            assert!(steps < 1000, "no end of steps: {step:?}");
            if step == Step::Look {
                self.recorder.looked(self.disk.look());
            } else {
                let outcome = self.disk.carry_out(&step, self.recorder.sound());
                self.recorder.done(outcome, now);
            }
        }
    }

    fn end(&mut self) {
        self.recorder.close();
        self.carry_out();
    }

    /// Every packet that was given is there, once.
    fn all_there(&self) {
        assert_eq!(self.disk.packets(), (0..self.next).collect::<Vec<_>>());
    }
}

#[test]
fn recordings_change_on_the_local_hour_through_both_changes_of_clocks() {
    for (change, names) in [
        (
            SPRING_MS,
            [
                "2026-03-29T00-59-00Z_2026-03-29T01-59-00+0100",
                "2026-03-29T01-00-00Z_2026-03-29T03-00-00+0200",
            ],
        ),
        (
            AUTUMN_MS,
            [
                "2026-10-25T00-59-00Z_2026-10-25T02-59-00+0200",
                "2026-10-25T01-00-00Z_2026-10-25T02-00-00+0100",
            ],
        ),
    ] {
        let mut world = World::new(config());
        world.set(change - 60_000);
        world.seconds(120);
        assert_eq!(world.disk.stems(), names);
        let (first, second) = (world.disk.index(names[0]), world.disk.index(names[1]));
        assert_eq!((first.begin.after, second.begin.after), (Some(GapWhy::Off), None), "no gap between them");
        // The packet that begins at the change, to a packet, is the first of the new one.
        let late = second.first().utc.unwrap().from(Utc(change));
        assert!((0..24).contains(&late), "{late} ms");
        assert_eq!(first.last().utc, second.first().utc);
        // And an hour later the next one begins.
        world.seconds(3600);
        world.end();
        assert_eq!(world.disk.files.len(), 3);
        world.all_there();
    }
}

#[test]
fn a_clock_that_is_stepped_overwrites_nothing_and_loses_nothing() {
    let mut world = World::new(config());
    world.set(1_790_000_000_000);
    // The first one leads to the very second at which the recording before began.
    for to in [-20 * BATCH_MS.cast_signed(), -3_600_000, 3_600_000, -600, 7_200_000, -7_200_000, 300] {
        world.seconds(20);
        world.clock_ms = world.clock_ms.map(|ahead| ahead.saturating_add_signed(to));
    }
    world.seconds(20);
    world.end();
    world.all_there();
    // 300 ms are what a time service steers; all others are steps.
    assert_eq!(world.disk.files.len(), 7, "{:?}", world.disk.stems());
    assert_eq!(world.disk.said.iter().filter(|text| text.contains("stepped")).count(), 6);
    // Inside a recording the time runs on evenly.
    for stem in world.disk.stems() {
        let index = world.disk.index(stem);
        let lasted = index.last().utc.unwrap().from(index.first().utc.unwrap());
        let sound = packets_ms(&MP3, index.last().packets).cast_signed();
        assert!((lasted - sound).abs() <= 500, "{stem}: {lasted} against {sound}");
    }
}

#[test]
fn recordings_made_before_the_clock_was_set_get_their_times_later() {
    for unset in [true, false] {
        let mut world = World::new(config());
        // A box without a battery: hours of nothing, or the time at which it was switched off.
        world.clock_ms = (!unset).then_some(1_780_000_000_000);
        world.sure = false;
        world.seconds(3700);
        let before = world.disk.files.len();
        assert!(before >= 2 && world.disk.stems().iter().all(|stem| stem.contains("uns")));
        world.sure = true;
        world.set(1_790_000_000_000);
        world.seconds(20);
        world.end();
        world.all_there();
        assert_eq!(world.disk.files.len(), before + 1);
        let mut last = None;
        for stem in world.disk.stems() {
            assert!(!stem.contains("uns"), "{stem}");
            let index = world.disk.index(stem);
            assert!(index.first().sure);
            let begins = index.first().utc.unwrap();
            assert_eq!(name::start(stem).map(Utc::seconds), Some(begins.seconds()), "{stem}");
            // They follow each other as they were recorded.
            if let Some(last) = last {
                assert!(begins.from(last).abs() <= 1, "{}", begins.from(last));
            }
            last = index.last().utc;
        }
    }
}

#[test]
fn a_time_service_that_falls_silent_changes_nothing() {
    let mut world = World::new(config());
    world.set(1_790_000_000_000);
    world.seconds(20);
    world.sure = false;
    world.seconds(20);
    world.sure = true;
    world.seconds(20);
    world.end();
    assert_eq!(world.disk.files.len(), 1);
}

#[test]
fn the_budget_holds_and_the_oldest_goes_first() {
    let mut world = World::new(Config { budget: 1_600_000, ..config() });
    let mut made: Vec<String> = Vec::new();
    for _ in 0..400 {
        world.seconds(60);
        assert!(world.disk.used() <= 1_600_000);
        let stems = world.disk.stems().into_iter().map(str::to_string);
        made.extend(stems.filter(|stem| !made.contains(stem)).collect::<Vec<_>>());
    }
    assert!(world.disk.deleted.len() > 3);
    assert_eq!(world.disk.deleted, made[..world.disk.deleted.len()], "in the order in which they were made");
    // Most of the budget is used.
    assert!(world.disk.used() > 1_200_000, "{}", world.disk.used());
    assert_eq!(world.disk.alarms, Vec::<String>::new(), "a budget is no trouble");
}

#[test]
fn days_are_counted_once_the_clock_can_be_trusted() {
    let mut world = World::new(Config { days: 1, ..config() });
    world.seconds(2 * 3600);
    // Years ahead by mistake, for a minute.
    let right = world.clock_ms;
    world.clock_ms = right.map(|ahead| ahead + 100 * 86_400_000);
    world.seconds(60);
    world.clock_ms = right;
    world.seconds(60);
    assert_eq!(world.disk.deleted, Vec::<String>::new());
    world.at_ms += 86_400_000;
    world.seconds(3600);
    assert!(!world.disk.deleted.is_empty());
}

#[test]
fn a_disk_that_fills_up_costs_the_oldest_and_not_a_packet() {
    // One that says how much is free, and one that only says that it is full.
    for hidden in [false, true] {
        let mut world = World::new(config());
        (world.disk.capacity, world.disk.hidden) = (Some(1_500_000), hidden);
        world.seconds(11_000);
        world.end();
        assert!(!world.disk.deleted.is_empty());
        let packets = world.disk.packets();
        assert_eq!(packets.last(), Some(&(world.next - 1)));
        assert!(
            packets.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "no packet is missing between those left"
        );
        let fills = |world: &World| world.disk.alarms.iter().filter(|text| text.contains("fills up")).count();
        assert_eq!((fills(&world), world.disk.alarms.len()), (1, 1), "{:?}", world.disk.alarms);
        assert!(world.recorder.report().short);
        // Somebody makes room; then it fills up again.
        (world.disk.capacity, world.disk.hidden) = (Some(8_000_000), false);
        world.seconds(60);
        assert!(!world.recorder.report().short);
        assert!(world.disk.said.iter().any(|text| text.contains("room for recordings again")));
        world.disk.capacity = Some(1_000_000);
        world.seconds(60);
        assert_eq!(fills(&world), 2);
    }
}

#[test]
fn what_is_to_stay_free_stays_free() {
    let mut world = World::new(Config { keep_free: 1_400_000, ..config() });
    world.disk.capacity = Some(2_000_000);
    world.seconds(6000);
    assert!(world.disk.free().unwrap() >= 1_400_000 && !world.disk.deleted.is_empty());
    // Something else takes so much that no recording of ours would make the room.
    world.disk.capacity = Some(world.disk.used() + 1000);
    let deleted = world.disk.deleted.len();
    world.seconds(300);
    assert_eq!(world.disk.deleted.len(), deleted, "nothing goes in vain");
    assert!(matches!(world.recorder.report().state, State::Stopped { .. }));
    assert!(world.disk.alarms.iter().any(|text| text.contains("something else fills the disk")));
}

#[test]
fn a_disk_that_turns_read_only_is_tried_again_until_it_heals() {
    let mut world = World::new(config());
    for round in 1..=2 {
        world.seconds(30);
        world.disk.read_only = true;
        let first_missing = world.next;
        world.seconds(200);
        assert_eq!(world.disk.alarms.len(), round, "{:?}", world.disk.alarms);
        let State::Stopped { why, .. } = world.recorder.report().state else { panic!() };
        assert!(why.contains("read-only"));
        assert!(world.disk.packets().last() < Some(&first_missing));
        world.disk.read_only = false;
        world.seconds(100);
        assert!(matches!(world.recorder.report().state, State::Recording { .. }));
        let healed = world.disk.said.iter().filter(|text| text.contains("recording again after")).count();
        assert_eq!((healed, world.recorder.report().gaps), (round, round as u64));
        let newest = world.disk.stems().last().map(|stem| world.disk.index(stem)).unwrap();
        assert_eq!(newest.begin.after, Some(GapWhy::Disk));
    }
    // Hours of it are said again now and then.
    world.disk.read_only = true;
    world.seconds(2 * 3600 + 60);
    assert_eq!(world.disk.alarms.len(), 2 + 3, "{:?}", world.disk.alarms);
}

#[test]
fn missing_packets_are_noted_where_they_are_missing() {
    let mut world = World::new(config());
    world.seconds(10);
    world.at_ms += 7 * BATCH_MS;
    world.batch(Before::Lost);
    world.seconds(10);
    // The programme stood still.
    world.at_ms += 60_000;
    world.seconds(10);
    world.end();
    let stems = world.disk.stems();
    let index = world.disk.index(stems[0]);
    let holes: Vec<_> = index
        .holes
        .iter()
        .map(|hole| (hole.from.packets, hole.to.utc.unwrap().from(hole.from.utc.unwrap()), hole.why))
        .collect();
    assert_eq!(holes, [(420, 7056, GapWhy::SlowDisk), (882, 60_000, GapWhy::Encoder)]);
    assert_eq!((stems.len(), world.recorder.report().gaps), (1, 2));
}

#[test]
fn another_format_is_another_recording() {
    let mut world = World::new(config());
    world.seconds(10);
    world.rendition.bitrate = BitRate::from_kbit(128).unwrap();
    world.batch(Before::Break);
    world.seconds(10);
    world.end();
    assert_eq!(world.disk.files.len(), 2);
    world.all_there();
}

#[test]
fn what_is_kept_apart_waits_for_its_end_and_has_its_own_budget() {
    let mut world = World::new(config());
    world.seconds(30);
    for which in 0..4 {
        let now = Instant::from_millis(world.at_ms);
        let (from, to) = (now - Duration::from_secs(15), now + Duration::from_secs(15));
        world.recorder.keep(Keep { from, to, label: format!("main-{which}") });
        world.seconds(13);
        assert_eq!(world.disk.kept.len(), which, "not before it is all recorded");
        world.seconds(3);
        assert_eq!(world.disk.kept.len(), which + 1);
    }
    let (name, out_of) = &world.disk.kept[0];
    assert!(name.starts_with("20") && name.ends_with("_main-0.mp3"), "{name}");
    assert_eq!(out_of.len(), 1);
    // 30 s at 320 kbit/s are 1.2 MB: the budget of 3 MB holds two.
    assert_eq!(world.disk.clips_deleted, [world.disk.kept[0].0.clone(), world.disk.kept[1].0.clone()]);
    assert!(world.disk.deleted.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever the clock and the disk do: nothing is overwritten, what is left is in order and without a packet twice, and once
    /// all is well again it records.
    #[test]
    fn whatever_happens_it_records_again(
        events in prop::collection::vec((0_u8..8, 1_u64..200, 0_u64..4_000_000), 1..15),
        budget in 300_000_u64..2_000_000,
    ) {
        let mut world = World::new(Config { budget, ..config() });
        for (what, seconds, amount) in events {
            match what {
                0 => world.clock_ms = Some(1_700_000_000_000 + amount * 30_000),
                1 => world.sure = !world.sure,
                2 => world.clock_ms = None,
                3 => world.disk.read_only = !world.disk.read_only,
                4 => world.disk.capacity = Some(100_000 + amount),
                5 => world.disk.capacity = None,
                6 => world.at_ms += amount,
                _ => {
                    let now = Instant::from_millis(world.at_ms);
                    let to = now + Duration::from_secs(15);
                    world.recorder.keep(Keep { from: now, to, label: "x".into() });
                }
            }
            world.seconds(seconds);
            prop_assert!(world.disk.read_only || world.disk.used() <= budget + 20_000);
        }
        (world.disk.read_only, world.disk.capacity) = (false, None);
        world.seconds(90);
        let records = matches!(world.recorder.report().state, State::Recording { .. });
        prop_assert!(records);
        world.end();
        let packets = world.disk.packets();
        prop_assert!(packets.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(packets.last(), Some(&(world.next - 1)));
    }
}
