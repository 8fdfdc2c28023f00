//! Where one recording ends and the next begins: the local clock's hour, a change of clocks, a step of the clock.

use crate::time::{Moment, ms_between};

/// The hour on the local clock, and by how much that is ahead; hours since the boot where the time is not known.
pub(super) fn hour(moment: Moment) -> (u64, i32) {
    match moment.clock.utc() {
        Some(utc) => {
            (utc.seconds().saturating_add_signed(i64::from(moment.offset_s)) / 3600, moment.offset_s)
        }
        None => (moment.at.as_micros() / 3_600_000_000, 0),
    }
}

/// Milliseconds since the last moment at which a recording ends: the local hour, or a change of clocks (those are made on
/// quarters of an hour).
pub(super) fn since_boundary_ms(now: Moment, offset_before_s: i32) -> u64 {
    const HOUR_MS: u64 = 3_600_000;
    let Some(utc) = now.clock.utc() else { return now.at.as_micros() / 1000 % HOUR_MS };
    let since_hour = utc.0.saturating_add_signed(i64::from(now.offset_s) * 1000) % HOUR_MS;
    if now.offset_s == offset_before_s { since_hour } else { since_hour.min(utc.0 % (HOUR_MS / 4)) }
}

/// By how many milliseconds the time of day stepped from one moment to the next; zero for what clocks are steered by. `None`
/// where only one of the two is known.
pub(super) fn step_ms(before: Moment, after: Moment) -> Option<i64> {
    match (before.clock.utc(), after.clock.utc()) {
        (None, None) => Some(0),
        (Some(then), Some(now)) => {
            let step = now.from(then) - ms_between(before.at, after.at);
            Some(if step.abs() < STEP_MS { 0 } else { step })
        }
        (None, Some(_)) | (Some(_), None) => None,
    }
}

/// What time services steer is far below this; who sets a clock by hand, far above.
const STEP_MS: i64 = 500;
