//! Prints what the meters cost: CPU seconds per hour of stereo programme, levels asked for 20 times a second.
//!
//! `cargo run -p mainstay-programme --example meter_cost [SECONDS]`; compare with `encode_cost` of `mainstay-encode`.

use mainstay_programme::Meter;
use units::{Channels, SampleRate};

/// CPU time of this thread in seconds, from the kernel's scheduler.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds: usize = std::env::args().nth(1).map_or(Ok(60), |text| text.parse())?;
    let pcm: Vec<f32> =
        (0..96_000_u32).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 7 & 0xFFFF) as f32 / 65536.0 - 0.5).collect();
    for (what, asked) in [("on", false), ("on, watched 20 times a second", true)] {
        let mut meter = Meter::new(Meter::HISTORY, SampleRate::Hz48000, Channels::Stereo)?;
        let before = cpu();
        for _ in 0..seconds {
            for part in pcm.chunks(1152 * 2) {
                meter.feed(part);
                if asked {
                    // Every packet of 24 ms: a little more than 20 times a second.
                    std::hint::black_box(meter.levels());
                }
            }
        }
        println!("meters {what}: {:.2} CPU s per hour", (cpu() - before) / seconds as f64 * 3600.0);
    }
    Ok(())
}
