//! Pulling sound never asks the allocator for anything, whatever the files do. A binary of its own: the allocator is
//! the process's, and one thread in it is watched.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_emergency::{Item, Player, Playlist, Ready, Target, prepare};
use units::{Channels, SampleRate};

const TARGET: Target = Target { rate: SampleRate::Hz48000, channels: Channels::Stereo };

#[test]
fn pulling_never_allocates() {
    let folder = tempfile::tempdir().unwrap();
    let items = ["1.wav", "2.wav"].map(|name| Item { ready: made(folder.path(), name).path, title: None });
    let pause = Duration::from_millis(100);
    let mut player = Player::start(Playlist { pause, ..Playlist::new(items.into()) }, TARGET, None).unwrap();
    let mut out = vec![0.0; 2 * 1_152];
    player.set_gain(|ready| -ready.loudness.lufs() - 20.0);
    let mut frames = pull(&mut player, &mut out, 100_000);

    // SAFETY: gettid has no arguments and cannot fail.
    WATCHED.store(unsafe { libc::gettid() }, Ordering::SeqCst);
    // Ten rounds of both files, with their ends, pauses and gains, and with what the disk did not deliver in time.
    frames += pull(&mut player, &mut out, 2_000_000);
    let told = (player.position(), player.frames_left_in_song(), player.title().is_some());
    WATCHED.store(0, Ordering::SeqCst);
    assert_eq!(frames, 2_100_000);
    assert!(told.0.is_some() && told.1.is_some() && !told.2, "{told:?}");
    assert!(LOOKS.load(Ordering::SeqCst) > 0, "the allocator watches nobody");
    assert_eq!(CALLS.load(Ordering::SeqCst), 0, "allocator calls of the thread that pulls");
}

/// Pulls so many frames, giving the reader time where it is behind, up to a bound that only a broken one reaches.
fn pull(player: &mut Player, out: &mut [f32], frames: usize) -> usize {
    let mut done = 0;
    for _ in 0..60_000 {
        let wanted = (frames - done).min(out.len() / 2);
        let got = player.pull(&mut out[..wanted * 2]);
        done += got;
        if done == frames {
            break;
        }
        if got == 0 {
            nap();
        }
    }
    done
}

#[expect(clippy::disallowed_methods, reason = "the reader is a real thread")]
fn nap() {
    std::thread::sleep(Duration::from_millis(1));
}

/// The ready form of two seconds of a square wave.
fn made(folder: &Path, name: &str) -> Ready {
    let samples = (0..2 * 96_000_u32).map(|n| if n / 96 % 2 == 0 { 3_000_i16 } else { -3_000 });
    let bytes = 2 * 96_000 * 2_u32;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    wav.extend(48_000_u32.to_le_bytes());
    wav.extend(192_000_u32.to_le_bytes());
    wav.extend(b"\x04\0\x10\0data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(samples.flat_map(i16::to_le_bytes));
    let path = folder.join(name);
    fs::write(&path, wav).expect("the test's own folder can be written to");
    prepare(&path, TARGET, folder).expect("two seconds of a square wave are good audio")
}

/// Counts what the watched thread asks of the allocator.
struct Watchful;

static WATCHED: AtomicI32 = AtomicI32::new(0);
/// Calls of the watched thread, and of anybody while it is watched.
static CALLS: AtomicU64 = AtomicU64::new(0);
static LOOKS: AtomicU64 = AtomicU64::new(0);

impl Watchful {
    fn look() {
        let watched = WATCHED.load(Ordering::Relaxed);
        if watched == 0 {
            return;
        }
        LOOKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: gettid has no arguments and cannot fail.
        if unsafe { libc::gettid() } == watched {
            CALLS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watchful {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::look();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::look();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;
