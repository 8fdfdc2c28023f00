//! What is tried, as data: server, renditions, transport, event.

use clap::ValueEnum;
use e2e::icecast::Version;
use units::Codec;

use super::lane::Fault;

/// One cell of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    pub(super) server: Server,
    pub(super) pair: Pair,
    pub(super) transport: Transport,
    pub(super) event: Event,
}

/// Which Icecast.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Server {
    /// Icecast 2.4.4
    #[value(name = "2.4")]
    V24,
    /// Icecast 2.5.0
    #[value(name = "2.5")]
    V25,
}

/// What primary and fallback carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Pair {
    /// MP3 320 kbit/s on both
    Same,
    /// MP3 320 and 192 kbit/s
    Mp3,
    /// AAC-LC 128 and 64 kbit/s
    Aac,
    /// HE-AAC 64 and 48 kbit/s
    He,
    /// HE-AACv2 48 and 32 kbit/s
    Hev2,
}

/// How the box reaches the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Transport {
    /// HTTP
    Plain,
    /// HTTPS
    Tls,
}

/// What happens to the primary's uplink.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Event {
    /// Nothing passes; the carrier stays
    Silent,
    /// The interface loses its carrier
    Carrier,
    /// A middlebox resets the box's connections; the server hears nothing
    Reset,
    /// One direction drops everything: odd runs what the server sends, even runs what the box sends
    HalfDead,
    /// The server itself ends the primary, over healthy uplinks
    ServerEnds,
    /// Nothing at all: the rig's own noise; only when asked for
    Nothing,
}

/// What an event is done to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strike {
    Uplink(Fault),
    Source,
    Nobody,
}

impl Cell {
    /// All cells, in the table's order.
    pub(super) fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for &server in Server::value_variants() {
            for &pair in Pair::value_variants() {
                for &transport in Transport::value_variants() {
                    cells.extend(Event::value_variants().iter().map(|&event| Self {
                        server,
                        pair,
                        transport,
                        event,
                    }));
                }
            }
        }
        cells
    }

    /// The table's first column; also what the JSON calls it.
    pub(super) fn name(self) -> String {
        format!("{} {} {} {}", word(self.server), word(self.pair), word(self.transport), word(self.event))
    }
}

/// A value by the word that chooses it on the command line.
pub(super) fn word<T: ValueEnum>(value: T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl Server {
    pub(super) const fn version(self) -> Version {
        match self {
            Self::V24 => Version::Installed,
            Self::V25 => Version::V25,
        }
    }
}

impl Pair {
    pub(super) const fn codec(self) -> Codec {
        match self {
            Self::Same | Self::Mp3 => Codec::Mp3,
            Self::Aac => Codec::AacLc,
            Self::He => Codec::HeAac,
            Self::Hev2 => Codec::HeAacV2,
        }
    }

    /// Bitrates of primary and fallback in kbit/s.
    pub(super) const fn kbit(self) -> (u32, u32) {
        match self {
            Self::Same => (320, 320),
            Self::Mp3 => (320, 192),
            Self::Aac => (128, 64),
            Self::He => (64, 48),
            Self::Hev2 => (48, 32),
        }
    }

    /// The longest pause that a silent cut may cost with eviction, in milliseconds.
    pub(super) const fn pause_ms(self) -> u64 {
        match self {
            Self::Same | Self::Mp3 => 1_500,
            Self::Aac | Self::He | Self::Hev2 => 2_000,
        }
    }
}

impl Event {
    /// What is done in a run of this number.
    pub(super) const fn strike(self, run: u32) -> Strike {
        match self {
            Self::Silent => Strike::Uplink(Fault::SilentCut),
            Self::Carrier => Strike::Uplink(Fault::CarrierOff),
            Self::Reset => Strike::Uplink(Fault::Reset),
            Self::HalfDead if run % 2 == 1 => Strike::Uplink(Fault::NothingBack),
            Self::HalfDead => Strike::Uplink(Fault::NothingOut),
            Self::ServerEnds => Strike::Source,
            Self::Nothing => Strike::Nobody,
        }
    }

    /// How many packets may be torn: when the server moves the listeners by itself, it does so in mid-packet.
    pub(super) const fn may_tear(self) -> u32 {
        match self {
            Self::Silent | Self::Carrier | Self::Reset | Self::HalfDead | Self::Nothing => 0,
            Self::ServerEnds => 2,
        }
    }
}
