//! The room's only look at a clock: CLOCK_MONOTONIC, in nanoseconds inside the room and in [`Instant`] outside.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use units::Instant;

/// The monotonic clock now, in whole microseconds: the scale of every stamp this room hands out.
#[must_use]
pub fn now() -> Instant {
    instant(now_ns())
}

/// Nanoseconds of CLOCK_MONOTONIC; no system call where the kernel offers a vDSO.
pub(crate) fn now_ns() -> i64 {
    // The monotonic clock cannot be missing on Linux; zero would only make a stamp wrong, a panic would end capture.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec() * NS_PER_SECOND + time.tv_nsec())
}

/// Sleeps until the clock shows `at_ns`, an absolute time: what one sleep oversleeps, the next does not add to.
/// May return early when a signal arrives.
pub(crate) fn sleep_until(at_ns: i64) {
    let at = TimeSpec::new(at_ns / NS_PER_SECOND, at_ns % NS_PER_SECOND);
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
}

/// A time of this room as the house's type.
pub(crate) fn instant(ns: i64) -> Instant {
    Instant::from_micros(u64::try_from(ns / 1_000).unwrap_or(0))
}

pub(crate) const NS_PER_SECOND: i64 = 1_000_000_000;
