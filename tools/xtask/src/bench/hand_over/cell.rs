//! What is tried, as data: server, renditions, transport, event.

use clap::ValueEnum;
use e2e::icecast::Version;
use units::{Codec, SampleRate};

use super::lane::Fault;
use super::run::Hand;

/// One cell of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    pub(super) server: Server,
    pub(super) pair: Pair,
    pub(super) transport: Transport,
    pub(super) event: Event,
    pub(super) hand: Hand,
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
    /// MP3 320 and 192 kbit/s at 44.1 kHz, whose packets differ in length
    #[value(name = "mp3-44")]
    Mp3At44,
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
    /// All cells, in the table's order: with eviction, and without it for what it makes a difference to. Given another
    /// `hand`, all of them with that one.
    pub(super) fn all(hand: Option<Hand>) -> Vec<Self> {
        let mut cells = Vec::new();
        for &server in Server::value_variants() {
            for &pair in Pair::value_variants() {
                for &transport in Transport::value_variants() {
                    for &event in Event::value_variants() {
                        let cell =
                            Self { server, pair, transport, event, hand: hand.unwrap_or(Hand::EVICTS) };
                        // What is special about 44.1 kHz are the packets, not how they travel.
                        if pair == Pair::Mp3At44 && transport == Transport::Tls {
                            continue;
                        }
                        cells.push(cell);
                        let is_usual = matches!(pair, Pair::Same | Pair::Mp3 | Pair::Aac);
                        let silent = transport == Transport::Plain && event == Event::Silent;
                        if hand.is_none() && silent && is_usual {
                            cells.push(Self { hand: Hand::WAITS, ..cell });
                        }
                    }
                }
            }
        }
        cells
    }

    /// The table's first column; also what the JSON calls it.
    pub(super) fn name(self) -> String {
        let hand = match self.hand {
            Hand::Proven { evict: true } => "",
            Hand::Proven { evict: false } => " waits",
            Hand::PlainReconnect => " reconnects",
        };
        let (server, pair) = (word(self.server), word(self.pair));
        format!("{server} {pair} {} {}{hand}", word(self.transport), word(self.event))
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
            Self::Same | Self::Mp3 | Self::Mp3At44 => Codec::Mp3,
            Self::Aac => Codec::AacLc,
            Self::He => Codec::HeAac,
            Self::Hev2 => Codec::HeAacV2,
        }
    }

    /// Rate of the programme.
    pub(super) const fn rate(self) -> SampleRate {
        match self {
            Self::Mp3At44 => SampleRate::Hz44100,
            Self::Same | Self::Mp3 | Self::Aac | Self::He | Self::Hev2 => SampleRate::Hz48000,
        }
    }

    /// How long a packet sounds, in milliseconds.
    pub(super) fn packet_ms(self) -> f64 {
        f64::from(self.codec().frames_per_packet()) * 1e3 / f64::from(self.rate().hz())
    }

    /// Bitrates of primary and fallback in kbit/s.
    pub(super) const fn kbit(self) -> (u32, u32) {
        match self {
            Self::Same => (320, 320),
            Self::Mp3 | Self::Mp3At44 => (320, 192),
            Self::Aac => (128, 64),
            Self::He => (64, 48),
            Self::Hev2 => (48, 32),
        }
    }

    /// The longest pause that a silent cut may cost with eviction, in milliseconds.
    pub(super) const fn pause_ms(self) -> u64 {
        match self {
            Self::Same | Self::Mp3 | Self::Mp3At44 => 1_500,
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
