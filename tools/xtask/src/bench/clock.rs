//! The machine's monotonic clock in nanoseconds: the one that the test card converts by.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// Nanoseconds in a second.
pub(super) const SECOND: i64 = 1_000_000_000;

/// Now, in nanoseconds of CLOCK_MONOTONIC.
pub(super) fn now_ns() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, nanoseconds)
}

/// Sleeps until an instant of that clock; a signal ends the sleep early.
pub(super) fn sleep_until(ns: i64) {
    let until = TimeSpec::new(ns / SECOND, ns % SECOND);
    // Whoever sleeps looks at the clock again.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until);
}

/// A time span of the kernel's as nanoseconds.
pub(super) fn nanoseconds(time: TimeSpec) -> i64 {
    time.tv_sec() * SECOND + time.tv_nsec()
}

/// Nanoseconds as seconds.
pub(super) fn seconds(ns: i64) -> f64 {
    ns as f64 / SECOND as f64
}
