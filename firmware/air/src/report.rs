//! The one [`Snapshot`] that every face of the box reads.

use units::snapshot::{Cost, InputReport, InputState, PROTOCOL, RenditionReport, Snapshot};
use units::{Frames, Instant};

use crate::clock;
use crate::driver::Driver;
use crate::sound::Sound;

/// What does not change while the process runs.
pub(crate) struct Fixed {
    pub started: Instant,
}

/// The box as it is now.
pub(crate) fn snapshot(fixed: &Fixed, station: &str, sound: &Sound, driver: &Driver) -> Snapshot {
    let now = clock::now();
    let programme = sound.programme(now);
    let input = sound.report(now).unwrap_or_else(no_input);
    let renditions = driver
        .encoded()
        .into_iter()
        .map(|encoded| RenditionReport {
            rendition: encoded.rendition,
            packets: encoded.packets,
            bytes: encoded.bytes,
        })
        .collect();
    Snapshot {
        protocol: PROTOCOL,
        build: env!("CARGO_PKG_VERSION").to_string(),
        now,
        wall: clock::wall(),
        started: fixed.started,
        station: station.to_string(),
        input,
        programme,
        levels: sound.levels(),
        renditions,
        uplinks: driver.uplinks(),
        outputs: driver.report(),
        title: driver.title(),
        recording: driver.archive().report(),
        cost: cost(),
    }
}

fn no_input() -> InputReport {
    InputReport {
        name: "none: the settings name no input".to_string(),
        state: InputState::Starting,
        rate_hz: 0,
        channels: 0,
        period: 0,
        frames: Frames(0),
        gaps: 0,
        gap_frames: Frames(0),
        xruns: 0,
        real_time: String::new(),
        drift: None,
    }
}

fn cost() -> Cost {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let milliseconds = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1000 + u64::try_from(time.tv_usec()).unwrap_or(0) / 1000
    };
    let cpu_ms = usage.map_or(0, |usage| milliseconds(usage.user_time()) + milliseconds(usage.system_time()));
    // The second figure of statm is resident pages (proc(5)).
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    Cost { cpu_ms, resident_kib: pages * PAGE_KIB }
}

/// Both of the box's machines (arm64 and amd64 Debian) have pages of 4 KiB.
const PAGE_KIB: u64 = 4;
