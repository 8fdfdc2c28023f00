//! Configurations for the tests of this crate.

use alloc::string::ToString;
use core::time::Duration;

use units::snapshot::Role;
use units::{BitRate, Channels, Codec, Rendition, SampleRate, Secret};

use crate::config::{Config, Method, MountConfig, MountId, Server, ServerKind, Station};

pub(crate) fn rendition(kbit: u32) -> Rendition {
    Rendition {
        codec: Codec::Mp3,
        rate: SampleRate::Hz48000,
        channels: Channels::Stereo,
        bitrate: BitRate::from_kbit(kbit).unwrap(),
    }
}

pub(crate) fn mount(output: &str) -> MountConfig {
    MountConfig {
        id: MountId { output: output.to_string(), role: Role::Primary },
        server: Server {
            // Takes every byte as it comes.
            kind: ServerKind::Generic,
            host: "stream.example.org".to_string(),
            port: 8000,
            tls: None,
            method: Method::Put,
        },
        path: "/live".to_string(),
        user: "source".to_string(),
        password: Secret::new("hackme".to_string()),
        rendition: rendition(320),
        station: Station::default(),
        longest_lag: Duration::from_secs(10),
    }
}

pub(crate) fn config(outputs: &[&str]) -> Config {
    Config {
        agent: "Mainstay/test".to_string(),
        seed: 1,
        mounts: outputs.iter().map(|output| mount(output)).collect(),
        uplinks: alloc::vec::Vec::new(),
        outputs: alloc::vec::Vec::new(),
    }
}
