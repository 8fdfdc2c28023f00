//! After the start the real-time thread never asks the allocator for anything, whatever the card does; nor does the thread
//! that reads, resamples and follows. A binary of its own: the allocator is the process's, and one thread in it is watched.
//!
//! It sees Rust's allocations; what alsa-lib does inside `snd_pcm_readi` and `snd_pcm_prepare` is C's.

#![expect(unsafe_code, reason = "an allocator that counts")]

mod bench;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use bench::{Bench, Listener, PATIENCE, config};
use mainstay_capture::{Clock, Config, Filled, Follower, Input, Next, PeriodKind, Pick, SampleFormat, start};
use units::{Dbfs, SampleRate};

#[test]
fn neither_the_real_time_thread_nor_the_reader_allocates() {
    let bench = Bench::ready();
    let mut listener = Listener::start(config("watched", SampleFormat::Auto, Pick::Stereo));
    listener.hear_frames(4_800);
    let [thread] = real_time_threads()[..] else {
        panic!("one thread named capture: this binary has one test")
    };
    WATCHED.store(thread, Ordering::SeqCst);
    listener.hear_frames(9_600);
    bench.order("watched", "overrun 50");
    listener.hear_until(PeriodKind::Silence);
    listener.hear_until(PeriodKind::Sound);
    bench.unplug("watched");
    listener.hear_until(PeriodKind::Silence);
    listener.hear_frames(9_600);
    bench.plug_in("watched");
    listener.hear_until(PeriodKind::Sound);
    listener.hear_frames(9_600);
    WATCHED.store(0, Ordering::SeqCst);
    listener.agrees();
    assert!(LOOKS.load(Ordering::SeqCst) > 0, "the allocator watches nobody");
    assert_eq!(CALLS.load(Ordering::SeqCst), 0, "allocator calls on the real-time thread");

    let config = config("watched", SampleFormat::Auto, Pick::Stereo);
    let mut first = start(Config { clock: Clock::Resample, ..config }).unwrap();
    let tone = Input::Tone { hz: 440.0, level: Dbfs::new(-20.0) };
    let tone = Config {
        input: tone,
        rate: SampleRate::Hz48000,
        pick: Pick::Stereo,
        period: 1_152,
        clock: Clock::Report,
    };
    let mut second = Follower::new(start(tone).unwrap(), 600);
    let mut out = vec![0.0; 1_200];
    // SAFETY: gettid has no arguments and cannot fail.
    WATCHED.store(unsafe { libc::gettid() }, Ordering::SeqCst);
    let mut sound = 0;
    // Fifteen seconds: the fit has its first line.
    for number in 0..1_500 {
        let Next::Period(period) = first.next(PATIENCE) else { continue };
        let out = &mut out[..period.samples.len()];
        let kind =
            if number % 400 < 200 { second.watch(out, period.stamp) } else { second.pull(out, period.stamp) };
        sound += u32::from(kind == Filled::Sound);
    }
    let calls = CALLS.load(Ordering::SeqCst);
    WATCHED.store(0, Ordering::SeqCst);
    assert_eq!((calls, first.status().drift().is_some()), (0, true), "allocator calls on the reading thread");
    assert!(sound > 1_400, "{sound} periods with sound");
}

fn real_time_threads() -> Vec<i32> {
    fs::read_dir("/proc/self/task")
        .expect("a Linux kernel shows its tasks")
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?;
            (name.trim() == "capture").then(|| path.file_name()?.to_str()?.parse().ok()).flatten()
        })
        .collect()
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
