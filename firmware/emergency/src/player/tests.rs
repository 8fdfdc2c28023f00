//! Playing, against ready forms that are spoilt, removed and put back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::prepare::prepare;
use crate::reader::Item;
use crate::testing::{STEREO, sound, wav, write};

/// A ready form of so many frames in which every frame tells its number (and `first` which file it is).
fn counted(folder: &Path, name: &str, frames: usize, first: i16) -> Ready {
    let frame = |n: usize| [f32::from(first) / 32_768.0, (n % 8_000) as f32 / 32_768.0];
    let pcm: Vec<f32> = (0..frames).flat_map(frame).collect();
    let path = write(folder, name, &wav(48_000, 2, &pcm));
    prepare(&path, STEREO, folder).unwrap()
}

fn item(ready: &Ready) -> Item {
    Item { ready: ready.path.clone(), title: None }
}

fn start(items: Vec<Item>, pause: Duration, resume: Option<Position>) -> Player {
    Player::start(Playlist { pause, ..Playlist::new(items) }, STEREO, resume).unwrap()
}

/// Pulls until there are so many frames, as 16 bits: the reader gets the time it needs, up to a bound that only a
/// broken one reaches.
fn pull(player: &mut Player, frames: usize) -> Vec<[i16; 2]> {
    let mut all = Vec::new();
    let mut out = [0.0; 2 * 1_152];
    for _ in 0..60_000 {
        let wanted = (frames - all.len()).min(1_152);
        let got = player.pull(&mut out[..wanted * 2]);
        all.extend(
            out[..got * 2].chunks(2).map(|frame| [0, 1].map(|n| (frame[n] * 32_768.0).round() as i16)),
        );
        if all.len() == frames {
            return all;
        }
        if got == 0 {
            nap();
        }
    }
    panic!("{} of {frames} frames; {:?}", all.len(), player.state());
}

/// Asks until an event comes that `wanted` takes; gives all until then.
fn events(player: &mut Player, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        while let Some(event) = player.poll() {
            all.push(event);
            if all.last().is_some_and(&wanted) {
                return all;
            }
        }
        nap();
    }
    panic!("{all:?}, {:?}", player.state());
}

#[expect(clippy::disallowed_methods, reason = "the reader is a real thread")]
fn nap() {
    thread::sleep(Duration::from_millis(1));
}

fn frame(first: i16, n: usize) -> [i16; 2] {
    [first, (n % 8_000) as i16]
}

#[test]
fn files_play_in_order_with_pauses_and_over_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) =
        (counted(folder.path(), "1.wav", 50_000, 1_000), counted(folder.path(), "2.wav", 49_999, 2_000));
    let pause = Duration::from_secs(1);
    let mut player = start(vec![item(&one), item(&two)], pause, None);
    let round = 50_000 + 48_000 + 49_999 + 48_000;
    let heard = pull(&mut player, 2 * round);
    for (n, got) in heard.iter().enumerate() {
        let place = n % round;
        let wanted = match place {
            0..50_000 => frame(1_000, place),
            50_000..98_000 => [0, 0],
            98_000..147_999 => frame(2_000, place - 98_000),
            _ => [0, 0],
        };
        assert_eq!(*got, wanted, "frame {n}");
    }
    assert_eq!(player.state(), &State::Playable);
    let began: Vec<_> = std::iter::from_fn(|| player.poll()).collect();
    assert!(began.iter().all(|event| matches!(event, Event::Began { .. } | Event::Underrun)), "{began:?}");
}

#[test]
fn it_knows_its_place_and_goes_on_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) =
        (counted(folder.path(), "1.wav", 100_000, 1_000), counted(folder.path(), "2.wav", 60_000, 2_000));
    let titled = Item { title: Some("Please stand by".into()), ..item(&two) };
    let mut player = start(vec![item(&one), titled.clone()], Duration::ZERO, None);
    pull(&mut player, 30_000);
    assert_eq!(player.frames_left_in_song(), Some(Frames(70_000)));
    assert_eq!((player.title(), player.song().map(|song| song.frames)), (None, Some(Frames(100_000))));
    pull(&mut player, 70_000 + 20_001);
    assert_eq!(player.title(), Some("Please stand by"));
    assert_eq!(player.frames_left_in_song(), Some(Frames(39_999)));
    let position = player.position().unwrap();
    assert_eq!((position.item, position.frame), (1, Frames(20_001)));
    let kept = serde_json::to_string(&position).unwrap();
    drop(player);

    // The list is another one now; the file is found by what it is.
    let mut player = start(vec![titled, item(&one)], Duration::ZERO, serde_json::from_str(&kept).unwrap());
    let heard = pull(&mut player, 40_000);
    assert_eq!(
        (heard[0], heard[39_998], heard[39_999]),
        (frame(2_000, 20_001), frame(2_000, 59_999), frame(1_000, 0))
    );
    drop(player);

    // At its end is the beginning of the next; a file that is not there any more is the beginning of the first.
    for (song, at, first) in
        [(position.song, 60_000, 1_000), (one.source.hash, 100_000, 2_000), (7, 5_000, 2_000)]
    {
        let resume = Some(Position { item: 0, song, frame: Frames(at) });
        let mut player = start(vec![item(&two), item(&one)], Duration::ZERO, resume);
        assert_eq!(pull(&mut player, 1), [frame(first, 0)], "{at}");
    }
}

#[test]
fn what_cannot_be_played_is_left_out_and_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let good = counted(folder.path(), "good.wav", 50_000, 1_000);
    let other = counted(folder.path(), "other.wav", 50_000, 2_000);
    let bytes = fs::read(&other.path).unwrap();
    fs::write(&other.path, &bytes[..5_000]).unwrap();
    let missing = Item { ready: PathBuf::from("/nonexistent.ready"), title: None };
    let mut player = start(vec![missing, item(&other), item(&good)], Duration::ZERO, None);
    let heard = pull(&mut player, 150_000);
    assert!(heard.iter().enumerate().all(|(n, got)| *got == frame(1_000, n % 50_000)));
    let mut skipped = Vec::new();
    while let Some(event) = player.poll() {
        if let Event::Skipped { item, why } = event {
            skipped.push((item, why));
        }
    }
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(
        skipped[0].1.contains("/nonexistent.ready") && skipped[1].1.contains("its length is wrong"),
        "{skipped:?}"
    );
    // Put right while it plays: from the next round on it is heard.
    fs::write(&other.path, bytes).unwrap();
    let heard = pull(&mut player, 600_000);
    assert!(heard.contains(&frame(2_000, 49_999)));
}

#[test]
fn a_damaged_block_is_jumped_over() {
    let folder = tempfile::tempdir().unwrap();
    let ready = counted(folder.path(), "1.wav", 5 * BLOCK, 1_000);
    let mut bytes = fs::read(&ready.path).unwrap();
    let block = BLOCK * 4 + 8;
    bytes[4_096 + 2 * block + 77] ^= 0x80;
    fs::write(&ready.path, &bytes).unwrap();
    let mut player = start(vec![item(&ready)], Duration::ZERO, None);
    let heard = pull(&mut player, 8 * BLOCK);
    let wanted = |n: usize| frame(1_000, if n < 2 * BLOCK { n } else { n + BLOCK });
    assert!(heard.iter().enumerate().all(|(n, got)| *got == wanted(n % (4 * BLOCK))));
    let told = events(&mut player, |event| matches!(event, Event::Skipped { .. }));
    let Some(Event::Skipped { why, .. }) = told.last() else { panic!("{told:?}") };
    assert!(why.contains("0.7 s from its beginning"), "{why}");
}

#[test]
fn with_nothing_to_play_it_says_so_and_looks_again() {
    let folder = tempfile::tempdir().unwrap();
    let ready = counted(folder.path(), "1.wav", 50_000, 1_000);
    let away = folder.path().join("away");
    fs::rename(&ready.path, &away).unwrap();
    let mut player = start(vec![item(&ready)], Duration::ZERO, None);
    let told = events(&mut player, |event| matches!(event, Event::NothingToPlay { .. }));
    assert!(matches!(told[0], Event::Skipped { item: 0, .. }), "{told:?}");
    assert!(matches!(player.state(), State::NothingToPlay { .. }));
    let mut out = [9.0; 64];
    assert_eq!((player.pull(&mut out), player.underruns(), out), (0, (0, Frames(0)), [9.0; 64]));
    fs::rename(&away, &ready.path).unwrap();
    events(&mut player, |event| *event == Event::PlayableAgain);
    assert_eq!(pull(&mut player, 10)[9], frame(1_000, 9));
}

#[test]
fn made_for_another_programme_is_not_played() {
    let folder = tempfile::tempdir().unwrap();
    let ready = counted(folder.path(), "1.wav", 50_000, 1_000);
    let target = Target { rate: units::SampleRate::Hz44100, ..STEREO };
    let mut player = Player::start(Playlist::new(vec![item(&ready)]), target, None).unwrap();
    let told = events(&mut player, |event| matches!(event, Event::Skipped { .. }));
    assert!(format!("{told:?}").contains("made for 48000 Hz stereo"), "{told:?}");
    assert!(matches!(Player::start(Playlist::new(Vec::new()), STEREO, None), Err(PlayerError::NoItems)));
}

#[test]
fn every_file_has_its_gain_and_a_change_is_no_click() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) =
        (counted(folder.path(), "1.wav", 50_000, 1_000), counted(folder.path(), "2.wav", 50_000, 2_000));
    let short = one.source.hash;
    let mut player = start(vec![item(&one), item(&two)], Duration::ZERO, None);
    player.set_gain(move |song| if song.source.hash == short { 20.0 } else { 0.0 });
    let heard = pull(&mut player, 100_000);
    assert_eq!((heard[0][0], heard[49_999][0], heard[50_000][0]), (10_000, 10_000, 2_000));
    pull(&mut player, 1_000);
    player.set_gain(|_| 0.0);
    let heard = pull(&mut player, 10_000);
    assert!(
        heard[0][0] > 9_990 && heard[4_900][0] == 1_000 && heard[9_999][0] == 1_000,
        "{:?}",
        heard[4_900]
    );
    assert!(heard.windows(2).all(|pair| (0..=3).contains(&(pair[0][0] - pair[1][0]))), "a slope, no step");
}

#[test]
fn missing_sound_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let ready = counted(folder.path(), "1.wav", 500_000, 1_000);
    let mut player = start(vec![item(&ready)], Duration::ZERO, None);
    pull(&mut player, 1);
    assert_eq!((player.underruns(), player.frames_left_in_song()), ((0, Frames(0)), Some(Frames(499_999))));
    // Far more than is kept in memory, with no time to read it.
    let mut out = vec![0.0; 2 * 50 * 480_000];
    let got = player.pull(&mut out) as u64;
    let missing = 50 * 480_000 - got;
    assert_eq!(player.underruns(), (u64::from(missing > 0), Frames(missing)));
    assert_eq!(player.poll() == Some(Event::Underrun), missing > 0);
    let wanted = sound(&ready);
    let played: Vec<i16> =
        out.iter().take(400_000).map(|sample| (sample * 32_768.0).round() as i16).collect();
    let there = (got as usize * 2).min(400_000);
    assert_eq!(played[..there], wanted[2..2 + there]);
}
