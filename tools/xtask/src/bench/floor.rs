//! The least that live encoding costs: libmp3lame in one thread that a timer wakes once per packet. It hears the test
//! card's programme by the card's clock, without opening the card. With a server it is the ideal source client as well.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::icecast::SOURCE_PASSWORD;
use encode::{Encoder, Options};
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

use super::{clock, latency};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The programme as the test card reads it: 16-bit little-endian stereo at 48 kHz
    #[arg(long)]
    programme: PathBuf,
    /// Port of an Icecast on loopback: send the packets there
    #[arg(long, requires = "mount")]
    port: Option<u16>,
    /// The mount to feed
    #[arg(long)]
    mount: Option<String>,
    /// End after so many seconds
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
}

/// Encodes until the time is over; ended by a signal as a rule.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let first = latency::frames_until(clock::now_ns());
    let programme = samples(&arguments.programme)?;
    let frames = (programme.len() / CHANNELS) as i64;
    let mut encoder = Encoder::new(RENDITION, Options::default())?;
    let packet = i64::from(encoder.packet_frames());
    encoder.encode(&vec![0.0; encoder.lead() as usize * CHANNELS], &mut |_| ())?;
    let mut server = match (arguments.port, &arguments.mount) {
        (Some(port), Some(mount)) => Some(connect(port, mount)?),
        (None, _) | (_, None) => None,
    };
    let mut pcm = Vec::with_capacity(packet as usize * CHANNELS);
    for at in (first..first + (arguments.seconds * 48_000) as i64).step_by(packet as usize) {
        let due = latency::ns_of(at + packet);
        while clock::now_ns() < due {
            clock::sleep_until(due);
        }
        pcm.clear();
        let from = at.rem_euclid(frames) as usize * CHANNELS;
        let whole = (from + packet as usize * CHANNELS).min(programme.len());
        pcm.extend_from_slice(&programme[from..whole]);
        pcm.extend_from_slice(&programme[..packet as usize * CHANNELS - (whole - from)]);
        let mut outcome = Ok(());
        encoder.encode(&pcm, &mut |bytes| {
            std::hint::black_box(bytes);
            if let Some(server) = &mut server {
                outcome = server.write_all(bytes);
            }
        })?;
        outcome.context("sending to the server")?;
    }
    Ok(())
}

/// What every contender makes.
pub(super) const RENDITION: Rendition = Rendition {
    codec: Codec::Mp3,
    rate: SampleRate::Hz48000,
    channels: Channels::Stereo,
    bitrate: BitRate::from_kbit(320).expect("not zero"),
};
const CHANNELS: usize = 2;

fn samples(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let samples: Vec<f32> =
        bytes.as_chunks::<2>().0.iter().map(|two| f32::from(i16::from_le_bytes(*two)) / 32_768.0).collect();
    ensure!(samples.len() > 48_000, "{} is too short", path.display());
    Ok(samples)
}

fn connect(port: u16, mount: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connecting to the server")?;
    stream.set_nodelay(true)?;
    let user = STANDARD.encode(format!("source:{SOURCE_PASSWORD}"));
    write!(
        stream,
        "PUT {mount} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {user}\r\nContent-Type: audio/mpeg\r\n\r\n"
    )?;
    let mut answer = [0; 512];
    let count = stream.read(&mut answer).context("waiting for the server's answer")?;
    let answer = String::from_utf8_lossy(&answer[..count]);
    ensure!(answer.contains(" 200 "), "the server said {:?}", answer.lines().next().unwrap_or_default());
    Ok(stream)
}
