//! Prints what each codec costs: CPU seconds per hour of programme, in one thread woken by nobody.
//!
//! `cargo run -p mainstay-encode --example encode_cost [SECONDS]`

use mainstay_encode::{Encoder, Options};
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

/// CPU time of this thread in seconds, from the kernel's scheduler.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds: usize = std::env::args().nth(1).map_or(Ok(60), |text| text.parse())?;
    let pcm: Vec<f32> = (0..48_000 * seconds)
        .flat_map(|n| {
            let t = n as f32 / 48_000.0;
            let hiss = (n.wrapping_mul(0x9E37_79B1) >> 7 & 0xFFFF) as f32 / 65536.0 - 0.5;
            let chord: f32 = [220.0, 277.2, 329.6, 1318.5]
                .iter()
                .map(|hz| (t % 1.0 * hz * std::f32::consts::TAU).sin() * 0.1)
                .sum();
            [chord + hiss * 0.1, chord * 0.7 + hiss * 0.05]
        })
        .collect();
    for (codec, kbit) in
        [(Codec::Mp3, 320), (Codec::Mp3, 192), (Codec::AacLc, 128), (Codec::HeAac, 64), (Codec::HeAacV2, 32)]
    {
        let bitrate = BitRate::from_kbit(kbit).ok_or("no bitrate")?;
        let rendition = Rendition { codec, rate: SampleRate::Hz48000, channels: Channels::Stereo, bitrate };
        let mut encoder = Encoder::new(rendition, Options::default())?;
        encoder.encode(&vec![0.0; encoder.lead() as usize * 2], &mut |_| ())?;
        let (mut packets, mut bytes) = (0, 0);
        let before = cpu();
        for part in pcm.chunks(encoder.packet_frames() as usize * 2) {
            encoder.encode(part, &mut |packet| {
                packets += 1;
                bytes += packet.len();
            })?;
        }
        let cost = (cpu() - before) / seconds as f64 * 3600.0;
        println!("{rendition}: {cost:.1} CPU s per hour ({packets} packets, {bytes} bytes)");
    }
    Ok(())
}
