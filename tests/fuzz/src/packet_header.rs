//! Packet headers, walked through a buffer as a listener's recording would be.

use units::header::{HeaderKind, PacketHeader};
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

/// Walks headers; understood if the buffer begins with one.
pub fn target(data: &[u8]) -> bool {
    let mut rest = data;
    while !rest.is_empty() {
        let Some(header) = PacketHeader::parse(rest) else {
            rest = &rest[1..];
            continue;
        };
        check(&header);
        let decided = rest.first_chunk::<{ PacketHeader::NEEDED }>().expect("a parsed header has its bytes");
        assert_eq!(PacketHeader::parse(decided), Some(header), "what follows a header changed it");
        assert_eq!(PacketHeader::parse(&decided[1..]), None, "six bytes were enough");
        rest = rest.get(header.length..).unwrap_or_default();
    }
    PacketHeader::parse(data).is_some()
}

fn check(header: &PacketHeader) {
    match header.kind {
        HeaderKind::Mp3 => {
            // 8 kbit/s at 24 kHz is the smallest, 320 kbit/s at 32 kHz with padding the largest (ISO 11172-3, 13818-3).
            assert!((24..=1441).contains(&header.length), "{header:?}");
            assert!((16_000..=48_000).contains(&header.rate_hz), "{header:?}");
            assert!((8..=320).contains(&header.kbit) && matches!(header.frames, 576 | 1152), "{header:?}");
            assert!(matches!(header.channels, 1 | 2), "{header:?}");
        }
        HeaderKind::Adts => {
            // 13 bits of length, 3 of channel configuration (ISO 13818-7, 6.2).
            assert!((8..1 << 13).contains(&header.length), "{header:?}");
            assert!((7_350..=96_000).contains(&header.rate_hz), "{header:?}");
            assert!(header.kbit == 0 && header.frames == 1024, "{header:?}");
            assert!((1..=7).contains(&header.channels), "{header:?}");
        }
    }
    let fitting = renditions().filter(|rendition| header.fits(rendition)).count();
    assert!(fitting <= 2, "{header:?} fits {fitting} renditions: only the SBR kinds share headers");
}

fn renditions() -> impl Iterator<Item = Rendition> {
    let bitrate = BitRate::from_kbit(128).expect("128 is not zero");
    let formats = [SampleRate::Hz44100, SampleRate::Hz48000]
        .into_iter()
        .flat_map(|rate| [(rate, Channels::Mono), (rate, Channels::Stereo)]);
    formats
        .flat_map(move |(rate, channels)| {
            [Codec::Mp3, Codec::AacLc, Codec::HeAac, Codec::HeAacV2].map(|codec| Rendition {
                codec,
                rate,
                channels,
                bitrate,
            })
        })
        // Parametric stereo is of two channels.
        .filter(|rendition| (rendition.codec, rendition.channels) != (Codec::HeAacV2, Channels::Mono))
}
