//! The one place that looks at a clock and sleeps: waits with a bound, which say what they saw last.
#![expect(clippy::disallowed_methods, reason = "tools and tests wait for other processes in real time")]

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a waited-for thing is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Now, on the machine's monotonic clock.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Lets `span` pass.
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Looks every 50 ms until `look` has an answer.
///
/// # Errors
/// After `limit`: what was waited for, and what the last look saw (its `Err`).
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T> {
    let start = now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(seen) if start.elapsed() > limit => {
                bail!("not within {} s: {what}\nlast seen: {seen}", limit.as_secs())
            }
            Err(_) => pause(LOOK),
        }
    }
}

/// Looks every 50 ms for `span`, and stops at the first look that is not as it should be.
///
/// # Errors
/// What the offending look saw.
pub fn throughout(what: &str, span: Duration, mut look: impl FnMut() -> Result<(), String>) -> Result<()> {
    let start = now();
    while start.elapsed() < span {
        if let Err(seen) = look() {
            bail!(
                "did not hold for {} s: {what}\nafter {:.1} s: {seen}",
                span.as_secs(),
                start.elapsed().as_secs_f64()
            );
        }
        pause(LOOK);
    }
    Ok(())
}
