//! The core itself, told anything in any order.
//!
//! Input: `S`, then a [`crate::script`] that an honest edge plays, with a recording that must replay; or `P`, then inputs in
//! postcard, each behind its microseconds since the last and before the numbers of new settings' passwords, as a recording
//! holds them: a foreign one can say anything.

use std::collections::BTreeSet;

use delivery::event::Input;
use units::Instant;

use crate::script;
use crate::watch::Watch;

/// So many mounts a configuration has at the most ([`delivery::Config`]).
const MOST_MOUNTS: usize = 64;

/// Feeds the core; understood if a mount went on air.
pub fn target(data: &[u8]) -> bool {
    match data.split_first() {
        Some((b'S', script)) => script::play(script).on_air,
        Some((b'P', inputs)) => foreign(inputs),
        Some(_) | None => false,
    }
}

/// Plays a script and gives out what pairs were at meanwhile: a play that never leaves calm says little about hand-overs.
pub fn phases(script: &[u8]) -> BTreeSet<String> {
    script::play(script).phases
}

fn foreign(mut rest: &[u8]) -> bool {
    let mut watch = Watch::starting_at(Instant::from_millis(1));
    let mut on_air = false;
    while let Ok(((elapsed, input), after)) = postcard::take_from_bytes::<(u32, Input)>(rest) {
        rest = after;
        watch.now += core::time::Duration::from_micros(elapsed.into());
        if let Input::Configure(config) = &input {
            let Ok((_, after)) = postcard::take_from_bytes::<Vec<u32>>(rest) else { break };
            rest = after;
            if config.mounts.len() > MOST_MOUNTS {
                continue;
            }
        }
        watch.feed(&input);
        for ticks in 0.. {
            if watch.looks_ahead(ticks) {
                break;
            }
            watch.feed(&Input::Tick);
        }
        on_air |= watch.on_air();
    }
    on_air
}
