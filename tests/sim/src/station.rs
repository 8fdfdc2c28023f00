//! The station of every run: two outputs, each a primary and a fallback, on two servers. And what its encoders yield.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use delivery::Backlog;
use delivery::config::{Config, Method, MountConfig, MountId, Server, ServerKind, Station, Trust};
use units::snapshot::Role;
use units::{BitRate, BytePos, Channels, Codec, Frames, Rendition, SampleRate, Secret};

use crate::dice::Dice;

/// In every password, so that it can be looked for wherever people look.
pub(crate) const SECRET: &str = "correct-horse-battery";

/// One mount, with what the world knows about its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Berth {
    pub config: MountConfig,
    /// As people write it: `main.primary`.
    pub name: String,
    pub server: usize,
    /// Addresses of its name; the last one is the server, those before are dead.
    pub addresses: Vec<IpAddr>,
    /// Dead addresses refuse; otherwise they are silent.
    pub dead_refuse: bool,
}

impl Berth {
    /// Whether attempts begin with a name to look up.
    pub(crate) const fn is_named(&self) -> bool {
        self.config.server.tls.is_none()
    }

    /// Whether this address is the server's.
    pub(crate) fn leads(&self, address: IpAddr) -> bool {
        self.addresses.last() == Some(&address)
    }
}

/// The four mounts. `main` lies on two servers by name, the pair `second` on one by address and TLS.
pub(crate) fn berths(dice: &mut Dice) -> Vec<Berth> {
    let shared = dice.between(0, 1) as usize;
    let mut berth = |output: &str, role: Role, server: usize, number: u8| {
        let named = output == "main";
        let own = IpAddr::V4(Ipv4Addr::new(192, 0, 2, if named { number } else { 100 + server as u8 }));
        let dead = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)));
        let addresses = if named && dice.chance(1, 2) { vec![dead, own] } else { vec![own] };
        let (path, kbit) = match role {
            Role::Primary => (format!("/{output}"), 320),
            Role::Fallback => (format!("/{output}_fallback"), 192),
        };
        let id = MountId { output: output.to_string(), role };
        let config = MountConfig {
            server: Server {
                kind: ServerKind::Icecast,
                host: if named { format!("{role}.example.org") } else { own.to_string() },
                port: 8000,
                // A pin of its own tells the world which mount a connection is for.
                tls: (!named).then_some(Trust::Pinned([number; 32])),
                method: if dice.chance(1, 4) { Method::Source } else { Method::Put },
            },
            path,
            user: "source".to_string(),
            password: Secret::new(format!("{SECRET}-{number}")),
            rendition: rendition(kbit),
            station: Station { name: "Radio Test".to_string(), ..Station::default() },
            longest_lag: Duration::from_secs(15),
            id,
        };
        Berth { name: config.id.to_string(), config, server, addresses, dead_refuse: dice.chance(1, 2) }
    };
    vec![
        berth("main", Role::Primary, 0, 1),
        berth("main", Role::Fallback, 1, 2),
        berth("second", Role::Primary, shared, 3),
        berth("second", Role::Fallback, shared, 4),
    ]
}

pub(crate) fn config(seed: u64, mounts: Vec<MountConfig>) -> Config {
    Config { agent: "Mainstay/sim".to_string(), seed, mounts, uplinks: Vec::new(), outputs: Vec::new() }
}

fn rendition(kbit: u32) -> Rendition {
    Rendition {
        codec: Codec::Mp3,
        rate: SampleRate::Hz48000,
        channels: Channels::Stereo,
        bitrate: BitRate::from_kbit(kbit).expect("not zero"),
    }
}

/// One rendition as it grows. Boundaries are a formula, so that each can be checked without a list of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    pub rendition: Rendition,
    /// Bytes between two boundaries, about.
    step: u64,
    count: u64,
    frames: u64,
    /// Bytes that the edge keeps.
    kept: u64,
}

/// Packets differ by up to this many bytes, as padding (44.1 kHz) and AAC make them.
const WIGGLE: u64 = 64;

impl Encoder {
    /// One of each rendition that the mounts carry; a boundary every `packets` packets.
    pub(crate) fn all(berths: &[Berth], packets: u32) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for berth in berths {
            let rendition = berth.config.rendition;
            if all.iter().any(|encoder| encoder.rendition == rendition) {
                continue;
            }
            let frames = u64::from(rendition.codec.frames_per_packet()) * u64::from(packets);
            let hz = u64::from(rendition.rate.hz());
            let step = rendition.bitrate.bytes_per_second() * frames / hz;
            all.push(Self { rendition, step, count: 0, frames, kept: kept(&rendition) });
        }
        all
    }

    /// How long a packet of these renditions lasts: 1152 frames at 48 kHz (ISO 11172-3).
    pub(crate) const PACKET: Duration = Duration::from_millis(24);

    fn end(&self, count: u64) -> BytePos {
        let wiggle =
            if count == 0 { 0 } else { count.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & (WIGGLE - 1) };
        BytePos(count * self.step + wiggle)
    }

    /// The next boundary.
    pub(crate) fn produce(&mut self) -> (BytePos, Frames) {
        self.count += 1;
        (self.live(), Frames(self.count * self.frames))
    }

    pub(crate) fn live(&self) -> BytePos {
        self.end(self.count)
    }

    pub(crate) fn is_boundary(&self, position: BytePos) -> bool {
        self.end(position.0 / self.step) == position
    }

    /// The oldest byte that the edge still has.
    pub(crate) fn oldest(&self) -> BytePos {
        self.live() - self.kept
    }
}

/// What the real backlog keeps, asked of a real one.
fn kept(rendition: &Rendition) -> u64 {
    let mut backlog = Backlog::new(rendition);
    let more = vec![0; rendition.bitrate.bytes_per_second() as usize];
    while backlog.start() == BytePos(0) {
        backlog.push(&more);
    }
    backlog.end().since(backlog.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_where_packets_end() {
        let mut encoder = Encoder::all(&berths(&mut Dice::new(1)), 1).remove(0);
        assert!(encoder.is_boundary(encoder.live()));
        for _ in 0..5000 {
            let (end, _) = encoder.produce();
            assert!(
                encoder.is_boundary(end) && !encoder.is_boundary(end - 1) && !encoder.is_boundary(end + 1)
            );
        }
        assert!(encoder.live().since(encoder.oldest()) >= encoder.rendition.bitrate.bytes_per_second() * 60);
    }
}
