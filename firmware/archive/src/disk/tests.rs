//! The edge on a real folder: power cuts at every byte, and cuts by the time of day.

use units::Instant;

use super::*;
use crate::index::{Begin, VERSION};
use crate::walk::tests::{MP3, packet};

const START: u64 = 1_790_000_000_000;

fn mark(packets: u64) -> Mark {
    let ms = packets * 24;
    Mark {
        byte: packets * 960,
        packets,
        at: Instant::from_millis(5000 + ms),
        utc: Some(Utc(START + ms)),
        sure: true,
    }
}

fn begin(stem: &str, seq: u32, packets: u64) -> Line {
    Line::Begin(Begin {
        version: VERSION,
        run: 1,
        seq,
        stem: stem.into(),
        rendition: MP3,
        offset_s: 0,
        after: None,
        mark: Mark { byte: 0, packets: 0, ..mark(packets) },
    })
}

const STEM: &str = "2026-09-21T14-13-20Z_2026-09-21T14-13-20+0000";
const NEXT: &str = "2026-09-21T14-13-44Z_2026-09-21T14-13-44+0000";

fn step(disk: &mut Disk, step: Step) {
    disk.carry_out(&step, &packet().repeat(1000)).unwrap();
}

/// Two recordings of 1000 packets (24 s) each, one behind the other; the second is not closed.
fn recorded(folder: &Path) -> Disk {
    let mut disk = Disk::new(folder.into());
    disk.look().unwrap();
    for (seq, stem, from) in [(1, STEM, 0), (2, NEXT, 1000)] {
        let line = written(&begin(stem, seq, from));
        step(&mut disk, Step::Begin { stem: stem.into(), ending: "mp3", line });
        step(&mut disk, Step::Write { at: 0, bytes: 0..960_000 });
        step(&mut disk, Step::Sync);
        let half = Mark { byte: 480_000, packets: 500, ..mark(from + 500) };
        step(&mut disk, Step::Note { line: written(&Line::Mark(half)) });
        if seq == 1 {
            let line = written(&Line::End { mark: mark(1000), why: Ended::Hour });
            step(&mut disk, Step::Note { line });
            step(&mut disk, Step::Close);
        }
    }
    disk
}

fn sound(folder: &Path, stem: &str) -> PathBuf {
    folder.join(format!("{stem}.mp3"))
}

#[test]
fn a_power_cut_at_any_byte_costs_the_torn_packet_only() {
    let folder = tempfile::tempdir().unwrap();
    drop(recorded(folder.path()));
    let (path, index) = (sound(folder.path(), NEXT), folder.path().join(format!("{NEXT}.{INDEX}")));
    let (whole, lines) = (fs::read(&path).unwrap(), fs::read(&index).unwrap());
    for (length, tail) in
        [(960_000, 0), (959_999, 0), (600_001, 4096), (480_000, 10), (480_959, 0), (3000, 7)]
    {
        let mut torn = whole[..length].to_vec();
        torn.resize(length + tail, 0);
        fs::write(&path, torn).unwrap();
        // The index may have been torn, too.
        fs::write(&index, [&lines[..], b"{\"note\":\"ma"].concat()).unwrap();
        let seen = Disk::new(folder.path().into()).look().unwrap();
        assert_eq!(seen.entries.len(), 2);
        let packets = length as u64 / 960;
        let entry = &seen.entries[1];
        assert_eq!(entry.end.map(|end| (end.byte, end.packets)), Some((packets * 960, packets)), "{length}");
        assert_eq!(fs::metadata(&path).unwrap().len(), packets * 960);
        assert_eq!(entry.ends(), Some(Utc(START + (1000 + packets) * 24)));
        // Looked at again, it is as it was left.
        assert_eq!(Disk::new(folder.path().into()).look().unwrap().entries, seen.entries);
    }
    // Nothing but half a packet is no recording.
    fs::write(&path, &whole[..500]).unwrap();
    fs::write(&index, &lines).unwrap();
    assert_eq!(Disk::new(folder.path().into()).look().unwrap().entries.len(), 1);
    assert!(!path.exists() && !index.exists());
}

#[test]
fn a_rename_that_was_cut_off_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    drop(recorded(folder.path()));
    let new = "2026-09-21T14-00-00Z_2026-09-21T14-00-00+0000";
    fs::rename(folder.path().join(format!("{STEM}.{INDEX}")), folder.path().join(format!("{new}.{INDEX}")))
        .unwrap();
    let seen = Disk::new(folder.path().into()).look().unwrap();
    assert_eq!(seen.entries.iter().filter(|entry| entry.rendition.is_some()).count(), 2);
    assert!(sound(folder.path(), new).exists() && !sound(folder.path(), STEM).exists());
}

#[test]
fn foreign_files_and_lost_indexes_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(recorded(folder.path()));
    for name in ["holiday.mp3", "notes.jsonl", "x.part"] {
        fs::write(folder.path().join(name), b"mine").unwrap();
    }
    fs::remove_file(folder.path().join(format!("{STEM}.{INDEX}"))).unwrap();
    let seen = Disk::new(folder.path().into()).look().unwrap();
    assert_eq!(seen.entries.len(), 2);
    assert!(sound(folder.path(), STEM).exists());
    let lost = seen.entries.iter().find(|entry| entry.rendition.is_none()).unwrap();
    assert_eq!((lost.stem.as_str(), lost.bytes, lost.starts()), (STEM, 960_000, Some(Utc(START))));
    for name in ["holiday.mp3", "notes.jsonl", "x.part"] {
        assert!(folder.path().join(name).exists());
    }
}

#[test]
fn a_cut_is_exact_to_the_packet_and_goes_over_the_seam() {
    let folder = tempfile::tempdir().unwrap();
    drop(recorded(folder.path()));
    let entries = Disk::new(folder.path().into()).look().unwrap().entries;
    let cut =
        |from_ms, to_ms| cut(folder.path(), &entries, Utc(START + from_ms), Utc(START + to_ms)).unwrap();
    let inside = cut(2400, 4800);
    assert_eq!(inside.pieces, [Piece { path: sound(folder.path(), STEM), from: 96_000, to: 192_000 }]);
    assert_eq!((inside.ms, inside.ending), (2400, "mp3"));
    let seam = cut(23_000, 25_000);
    let bytes: Vec<_> = seam.pieces.iter().map(|piece| (piece.from, piece.to)).collect();
    assert_eq!(bytes, [(958 * 960, 960_000), (0, 41 * 960)]);
    assert_eq!((seam.ms, seam.missing.len()), (83 * 24, 0));
    let all = cut(0, 60_000);
    assert_eq!((all.ms, all.missing.len()), (48_000, 1));
}

#[test]
fn what_is_kept_apart_outlives_its_recording() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = recorded(folder.path());
    let at = |ms: u64| Instant::from_millis(5000 + ms);
    let out_of = vec![(STEM.to_string(), "mp3"), (NEXT.to_string(), "mp3")];
    step(&mut disk, Step::Keep { name: "a.mp3".into(), from: at(12_000), to: at(36_000), out_of });
    step(&mut disk, Step::Delete { stem: STEM.into(), ending: "mp3" });
    step(&mut disk, Step::Delete { stem: STEM.into(), ending: "mp3" });
    let clip = folder.path().join(CLIPS).join("a.mp3");
    assert_eq!(fs::read(&clip).unwrap(), packet().repeat(1000));
    let seen = disk.look().unwrap();
    assert_eq!(seen.clips, [Clip { name: "a.mp3".into(), bytes: 960_000 }]);
    assert_eq!(seen.entries.len(), 1);
    let none = Step::Keep { name: "b.mp3".into(), from: at(900_000), to: at(930_000), out_of: Vec::new() };
    assert!(matches!(disk.carry_out(&none, &[]), Err(Fault::Other(_))));
    assert_eq!(disk.look().unwrap().clips.len(), 1, "nothing half-made is left");
    step(&mut disk, Step::DeleteClip { name: "a.mp3".into() });
    assert!(!clip.exists());
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = recorded(folder.path());
    step(&mut disk, Step::Abandon);
    let again = Step::Begin { stem: STEM.into(), ending: "mp3", line: "x".into() };
    assert!(disk.carry_out(&again, &[]).is_err());
    assert_eq!(fs::metadata(sound(folder.path(), STEM)).unwrap().len(), 960_000);
}
