//! The only place where this binary looks at a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use units::{Instant, WallTime};

/// Monotonic time: `CLOCK_MONOTONIC` in microseconds, the clock that capture stamps its periods with.
pub(crate) fn now() -> Instant {
    capture::now()
}

/// The time of day, if anything has set it: the kernel marks a clock that no time service disciplines, and a clock that is
/// earlier than this build was made is wrong whatever it says.
pub(crate) fn wall() -> WallTime {
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the clock")]
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if seconds < build_time() || !disciplined() { WallTime::Unknown } else { WallTime::Unix(seconds) }
}

/// By how many seconds local time is ahead of UTC at a time; none ahead where the machine does not know.
pub(crate) fn local_offset(at: u64) -> i32 {
    let known = libc::time_t::try_from(at).ok().and_then(local);
    known.and_then(|local| i32::try_from(local.tm_gmtoff).ok()).unwrap_or(0)
}

/// The machine's local time.
fn local(seconds: libc::time_t) -> Option<libc::tm> {
    #[expect(unsafe_code, reason = "the machine's time zone is the C library's business")]
    // SAFETY: `local` is plain numbers and a pointer that is only read by the C library; both outlive the call.
    let (known, local) = unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        (!libc::localtime_r(&raw const seconds, &raw mut local).is_null(), local)
    };
    known.then_some(local)
}

/// How long until it is `then` seconds past midnight, by the machine's local time. `None` where that is not known.
pub(crate) fn until(then: u32) -> Option<std::time::Duration> {
    let local = local(libc::time_t::try_from(system_seconds()).ok()?)?;
    let now = u32::try_from(local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec.min(59)).ok()?;
    Some(crate::orders::wait(now, then))
}

/// The system clock as it stands, right or wrong.
pub(crate) fn system_seconds() -> u64 {
    system_ms() / 1000
}

/// As [`system_seconds`], in milliseconds.
pub(crate) fn system_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// When this binary was built, in seconds since 1970: no certificate is judged at an earlier time.
pub(crate) fn build_time() -> u64 {
    env!("MAINSTAY_BUILD_TIME").parse().unwrap_or(0)
}

/// The clock this process runs on, for tokio's timers.
pub(crate) fn tokio_instant(at: Instant) -> tokio::time::Instant {
    let now = now();
    let soon = tokio::time::Instant::now();
    if at >= now { soon + at.since(now).min(LONGEST_SLEEP) } else { soon }
}

/// Tokio's wheel is asked for no more than this; a spurious tick is harmless.
const LONGEST_SLEEP: std::time::Duration = std::time::Duration::from_secs(3600);

/// Whether the kernel's clock is marked as synchronised (`STA_UNSYNC` clear in `adjtimex(2)`).
fn disciplined() -> bool {
    #[expect(unsafe_code, reason = "adjtimex has no safe wrapper in nix")]
    // SAFETY: a zeroed timex asks for nothing to be changed (modes = 0) and is only written to by the kernel.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    state >= 0 && timex.status & libc::STA_UNSYNC == 0
}
