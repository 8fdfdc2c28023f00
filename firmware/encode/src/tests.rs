//! What every rendition must do, whatever library is behind it.

mod ogg;

use std::io::Cursor;

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use units::header::PacketHeader;
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

use super::*;

const fn rendition(codec: Codec, kbit: u32, channels: Channels, rate: SampleRate) -> Rendition {
    let Some(bitrate) = BitRate::from_kbit(kbit) else { panic!("zero bitrate") };
    Rendition { codec, rate, channels, bitrate }
}

const STEREO_48: [Rendition; 4] = [
    rendition(Codec::Mp3, 320, Channels::Stereo, SampleRate::Hz48000),
    rendition(Codec::AacLc, 128, Channels::Stereo, SampleRate::Hz48000),
    rendition(Codec::HeAac, 64, Channels::Stereo, SampleRate::Hz48000),
    rendition(Codec::HeAacV2, 32, Channels::Stereo, SampleRate::Hz48000),
];

fn every_kind() -> impl Iterator<Item = Rendition> {
    let mono = STEREO_48
        .into_iter()
        .filter(|kind| kind.codec != Codec::HeAacV2)
        .map(|kind| Rendition { channels: Channels::Mono, ..kind });
    let both: Vec<Rendition> = STEREO_48.into_iter().chain(mono).collect();
    let other_rate = both.clone().into_iter().map(|kind| Rendition { rate: SampleRate::Hz44100, ..kind });
    both.into_iter().chain(other_rate)
}

/// Something like a programme: chords that come and go, and bursts of noise, so that bit demand swings.
fn programme(frames: usize, channels: Channels) -> Vec<f32> {
    let mut noise = 0x2545_F491_4F6C_DD1D_u64;
    let mut pcm = Vec::with_capacity(frames * channels.count());
    for n in 0..frames {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        let hiss = (noise >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let t = n as f32 / 48_000.0;
        let chord: f32 = [220.0, 277.2, 329.6, 1318.5, 4000.0]
            .iter()
            .map(|hz| (t * hz * std::f32::consts::TAU).sin() * 0.1)
            .sum();
        let loud = if n / 4800 % 3 == 0 { 0.3 } else { 0.01 };
        for channel in 0..channels.count() {
            pcm.push(chord * if channel == 0 { 1.0 } else { 0.6 } + hiss * loud);
        }
    }
    pcm
}

/// Feeds lead, programme and end; gives the packets.
fn encoded(rendition: Rendition, options: Options, pcm: &[f32], chunk: usize) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(rendition, options).unwrap();
    let channels = rendition.channels.count();
    let mut packets = Vec::new();
    let mut emit = |packet: &[u8]| packets.push(packet.to_vec());
    encoder.encode(&vec![0.0; encoder.lead() as usize * channels], &mut emit).unwrap();
    for part in pcm.chunks(chunk * channels) {
        encoder.encode(part, &mut emit).unwrap();
    }
    encoder.finish(&mut emit).unwrap();
    packets
}

/// Decodes by Symphonia: MP3 and AAC-LC.
fn decoded(packets: &[Vec<u8>]) -> Vec<f32> {
    let source = MediaSourceStream::new(Box::new(Cursor::new(packets.concat())), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), source, FormatOptions::default(), MetadataOptions::default())
        .unwrap();
    let track = format.default_track(TrackType::Audio).unwrap();
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(
            track.codec_params.as_ref().unwrap().audio().unwrap(),
            &AudioDecoderOptions::default(),
        )
        .unwrap();
    let mut pcm = Vec::new();
    let mut part: Vec<f32> = Vec::new();
    while let Some(packet) = format.next_packet().unwrap() {
        decoder.decode(&packet).unwrap().copy_to_vec_interleaved(&mut part);
        pcm.extend_from_slice(&part);
    }
    pcm
}

/// Decodes by FDK: all kinds of AAC. Its own delay is taken off again: it keeps one packet back to conceal losses, and
/// its limiter looks 15 ms ahead. It makes mono SBR stereo, so the channels come along.
fn decoded_by_fdk(packets: &[Vec<u8>]) -> (Vec<f32>, usize) {
    let mut decoder = fdk_aac::dec::Decoder::new(fdk_aac::dec::Transport::Adts);
    let mut pcm = Vec::new();
    let (mut own, mut channels) = (0, 0);
    for packet in packets {
        assert_eq!(decoder.fill(packet).unwrap(), packet.len());
        let mut part = vec![0_i16; 2048 * 2];
        match decoder.decode_frame(&mut part) {
            Ok(()) => {}
            // The first packet is only taken once the second one's header confirms it.
            Err(fdk_aac::dec::DecoderError::NOT_ENOUGH_BITS) => continue,
            Err(other) => panic!("{other}"),
        }
        let info = decoder.stream_info();
        channels = info.numChannels as usize;
        own = (info.frameSize + info.sampleRate * 15 / 1000) as usize * channels;
        pcm.extend(part[..decoder.decoded_frame_size()].iter().map(|sample| f32::from(*sample) / 32768.0));
    }
    (pcm.split_off(own), channels)
}

#[test]
fn packets_come_out_on_the_grid() {
    for kind in every_kind() {
        let mut encoder = Encoder::new(kind, Options::default()).unwrap();
        let channels = kind.channels.count();
        let frames = encoder.packet_frames() as usize;
        assert_eq!(encoder.packet_frames(), kind.codec.frames_per_packet());
        let mut packets = 0;
        let mut emit = |_: &[u8]| packets += 1;
        encoder.encode(&vec![0.0; encoder.lead() as usize * channels], &mut emit).unwrap();
        assert_eq!(packets, 0, "{kind}: the lead yields no packet");
        // One frame short of each boundary, then one frame, and now and then more than a packet at once.
        let pcm = programme(frames * 20, kind.channels);
        let mut fed = 0;
        for step in [frames - 1, 1, 5, frames - 6, 1, frames * 3 - 1, 1, 480, frames * 2 - 481, 1, frames] {
            let mut count = 0;
            let part = &pcm[fed * channels..(fed + step) * channels];
            encoder.encode(part, &mut |_| count += 1).unwrap();
            assert_eq!(count, (fed + step) / frames - fed / frames, "{kind}: {step} frames after {fed}");
            fed += step;
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_how_they_are_fed() {
    for kind in STEREO_48 {
        let pcm = programme(30_000, kind.channels);
        let whole = encoded(kind, Options::default(), &pcm, kind.codec.frames_per_packet() as usize);
        for chunk in [1, 37, 480, 30_000] {
            assert!(whole == encoded(kind, Options::default(), &pcm, chunk), "{kind} fed by {chunk}");
        }
    }
}

#[test]
fn every_packet_is_one_packet_of_the_rendition() {
    for kind in every_kind() {
        let packets = encoded(kind, Options::default(), &programme(48_000, kind.channels), 1000);
        for packet in &packets {
            let header = PacketHeader::parse(packet).unwrap();
            assert!(header.fits(&kind), "{kind}: {header:?}");
            assert_eq!(header.length, packet.len());
        }
        let bits: usize = packets.iter().map(|packet| packet.len() * 8).sum();
        let seconds =
            packets.len() as f64 * f64::from(kind.codec.frames_per_packet()) / f64::from(kind.rate.hz());
        let ratio = bits as f64 / seconds / f64::from(kind.bitrate.bits());
        assert!((0.9..1.1).contains(&ratio), "{kind}: {ratio} of the bitrate");
    }
}

/// Bytes by which a packet refers back (ISO 11172-3, main_data_begin: the nine bits after the header).
fn borrowed(packet: &[u8]) -> u32 {
    u32::from(packet[4]) << 1 | u32::from(packet[5]) >> 7
}

#[test]
fn mp3_packets_stand_alone_unless_the_reservoir_is_asked_for() {
    for kbit in [128, 192, 320] {
        for rate in [SampleRate::Hz48000, SampleRate::Hz44100] {
            let kind = rendition(Codec::Mp3, kbit, Channels::Stereo, rate);
            let pcm = programme(100_000, kind.channels);
            let alone = encoded(kind, Options::default(), &pcm, 1152);
            assert!(alone.iter().all(|packet| borrowed(packet) == 0), "{kind}");
        }
    }
    let kind = rendition(Codec::Mp3, 128, Channels::Stereo, SampleRate::Hz48000);
    let borrowing = encoded(
        kind,
        Options { reservoir: true, ..Options::default() },
        &programme(100_000, kind.channels),
        1152,
    );
    assert!(borrowing.iter().any(|packet| borrowed(packet) > 0), "the reservoir can be had");
    assert!(borrowing.iter().all(|packet| PacketHeader::parse(packet).unwrap().length == packet.len()));
}

#[test]
fn no_packet_is_a_vbr_tag() {
    let packets = encoded(STEREO_48[0], Options::default(), &programme(5_000, Channels::Stereo), 1152);
    for packet in packets {
        assert!(!packet.windows(4).any(|four| four == b"Xing" || four == b"Info"));
    }
}

#[test]
fn what_a_library_would_change_is_refused_with_its_value() {
    let refused = |codec, kbit| {
        Encoder::new(rendition(codec, kbit, Channels::Stereo, SampleRate::Hz48000), Options::default())
            .unwrap_err()
            .to_string()
    };
    let layer3 = refused(Codec::Mp3, 300);
    assert!(layer3.contains("320k") && layer3.contains("32, 40, 48"), "{layer3}");
    let he = refused(Codec::HeAac, 12);
    assert!(he.contains("16008"), "{he}");
    let lc = refused(Codec::AacLc, 700);
    assert!(lc.contains("576000"), "{lc}");

    let uneven = Rendition { bitrate: BitRate::from_bits(128_500).unwrap(), ..STEREO_48[0] };
    assert!(matches!(Encoder::new(uneven, Options::default()), Err(Error::Changed { what: "bitrate", .. })));
    for quality in [8, 12] {
        let refused = Encoder::new(STEREO_48[0], Options { quality, ..Options::default() });
        assert!(matches!(refused, Err(Error::Changed { what: "quality", .. })));
    }
    let mono = Rendition { channels: Channels::Mono, ..STEREO_48[3] };
    assert_eq!(Encoder::new(mono, Options::default()).unwrap_err(), Error::NeedsStereo(mono));
}

#[test]
fn every_layer3_bitrate_and_quality_is_taken_as_it_is() {
    for kbit in [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320] {
        for channels in [Channels::Mono, Channels::Stereo] {
            for rate in [SampleRate::Hz44100, SampleRate::Hz48000] {
                Encoder::new(rendition(Codec::Mp3, kbit, channels, rate), Options::default()).unwrap();
            }
        }
    }
    for quality in (0..=7).chain([9]) {
        Encoder::new(STEREO_48[0], Options { quality, ..Options::default() }).unwrap();
    }
}

#[test]
fn bitrates_of_one_codec_share_the_grid() {
    for (kind, other) in [(STEREO_48[0], 192), (STEREO_48[1], 64), (STEREO_48[2], 48), (STEREO_48[3], 24)] {
        let other = Rendition { bitrate: BitRate::from_kbit(other).unwrap(), ..kind };
        let mut pair = [kind, other].map(|kind| (Encoder::new(kind, Options::default()).unwrap(), 0_usize));
        assert_eq!(pair[0].0.lead(), pair[1].0.lead());
        assert_eq!(pair[0].0.delay(), pair[1].0.delay(), "{kind}");
        for part in programme(20_000, kind.channels).chunks(2 * 333) {
            for (encoder, packets) in &mut pair {
                encoder.encode(part, &mut |_| *packets += 1).unwrap();
            }
            assert_eq!(pair[0].1, pair[1].1, "{kind}");
        }
    }
}

#[test]
fn the_end_is_flushed_until_the_last_frame_can_be_decoded() {
    for kind in every_kind() {
        for frames in [0, 1, 1000, 10_000, 8 * kind.codec.frames_per_packet() as usize] {
            let mut encoder = Encoder::new(kind, Options::default()).unwrap();
            let per = encoder.packet_frames() as usize;
            let mut packets = 0;
            let lead = encoder.lead() as usize;
            encoder.encode(&vec![0.0; lead * kind.channels.count()], &mut |_| packets += 1).unwrap();
            encoder.encode(&programme(frames, kind.channels), &mut |_| packets += 1).unwrap();
            encoder.finish(&mut |_| packets += 1).unwrap();
            let needed = lead + frames + encoder.delay() as usize;
            assert!(packets * per >= needed, "{kind}: {frames} frames gave {packets} packets");
            assert!(packets * per < needed + 3 * per, "{kind}: {frames} frames gave {packets} packets");
            encoder.finish(&mut |_| panic!("finishing twice gives nothing")).unwrap();
            assert_eq!(encoder.encode(&[0.0, 0.0], &mut |_| ()), Err(Error::Finished));
        }
    }
}

/// Where the loudest frame is, by its first channel.
fn peak(pcm: &[f32], channels: usize) -> usize {
    let first = pcm.iter().step_by(channels).map(|sample| sample.abs());
    first.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
}

#[test]
fn the_delay_is_what_a_decoder_shows() {
    const AT: usize = 20_000;
    for kind in every_kind() {
        let channels = kind.channels.count();
        // A bump that fits into the core band of every kind: 40 frames wide at half height.
        let mut pcm = vec![0.0; 40_000 * channels];
        for (n, frame) in pcm.chunks_mut(channels).enumerate() {
            let x = (n as f32 - AT as f32) / 17.0;
            frame.fill(0.8 * (-0.5 * x * x).exp());
        }
        let encoder = Encoder::new(kind, Options::default()).unwrap();
        let packets = encoded(kind, Options::default(), &pcm, 1000);
        let expected = AT + encoder.lead() as usize + encoder.delay() as usize;
        if matches!(kind.codec, Codec::Mp3 | Codec::AacLc) {
            assert_eq!(peak(&decoded(&packets), channels), expected, "{kind}");
        }
        if kind.codec != Codec::Mp3 {
            // Doubling the rate of the core puts the bump between two frames.
            let (heard, channels) = decoded_by_fdk(&packets);
            let found = peak(&heard, channels);
            assert!(found.abs_diff(expected) <= 1, "{kind}: found at {found}, expected at {expected}");
        }
    }
}

#[test]
fn full_scale_is_one() {
    for kind in [STEREO_48[0], STEREO_48[1]] {
        let tone: Vec<f32> = (0..48_000)
            .flat_map(|n| [(n as f32 * 1000.0 / 48_000.0 * std::f32::consts::TAU).sin() * 0.5; 2])
            .collect();
        let heard = decoded(&encoded(kind, Options::default(), &tone, 1152));
        let middle = &heard[40_000..60_000];
        let loudest = middle.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
        assert!((0.49..0.51).contains(&loudest), "{kind}: {loudest}");
    }
}

#[test]
fn what_is_no_sound_is_survived() {
    for kind in STEREO_48 {
        let mut pcm = programme(20_000, kind.channels);
        for (place, absurd) in
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e20, -1e20, 1e-40]
                .into_iter()
                .enumerate()
        {
            pcm[10_000 + place * 101] = absurd;
        }
        pcm[20_000..24_000].fill(f32::NAN);
        pcm[24_000..28_000].fill(f32::MAX);
        let packets = encoded(kind, Options::default(), &pcm, 1000);
        assert!(packets.len() * kind.codec.frames_per_packet() as usize >= 20_000);
    }
}

#[test]
fn part_of_a_frame_is_refused() {
    let mut encoder = Encoder::new(STEREO_48[0], Options::default()).unwrap();
    let refused = encoder.encode(&[0.0; 3], &mut |_| ());
    assert_eq!(refused, Err(Error::Ragged { samples: 3, channels: 2 }));
}

#[test]
fn an_encoder_may_move_to_its_thread() {
    let mut encoder = Encoder::new(STEREO_48[0], Options::default()).unwrap();
    let packets = std::thread::spawn(move || {
        let mut packets = 0;
        encoder.encode(&programme(1376, Channels::Stereo), &mut |_| packets += 1).unwrap();
        packets
    })
    .join()
    .unwrap();
    assert_eq!(packets, 1);
}

/// The packet with which a fresh decoder that begins with packet `first` has SBR; `None` if it never has.
fn first_with_sbr(packets: &[Vec<u8>], first: usize) -> Option<usize> {
    /// FDK's decoder wants to see some packets before it believes that it is in step, and begins with the first of them.
    const IN_STEP: usize = 3;
    let mut decoder = fdk_aac::dec::Decoder::new(fdk_aac::dec::Transport::Adts);
    let mut pcm = vec![0; 8192];
    packets[first..].iter().enumerate().find_map(|(count, packet)| {
        decoder.fill(packet).unwrap();
        decoder.decode_frame(&mut pcm).ok()?;
        let heard = is_sharp(&pcm[..decoder.decoded_frame_size().min(pcm.len())]);
        heard.then(|| first + count - IN_STEP)
    })
}

/// Whether noise reaches above the core's own band (half the rate of the whole): that is what SBR makes. The fourth difference of
/// white noise has 70 times its power, of noise that ends at a quarter of the rate a fraction of that.
fn is_sharp(pcm: &[i16]) -> bool {
    let left: Vec<f32> = pcm.iter().step_by(2).map(|&sample| f32::from(sample)).collect();
    let fourth = |w: &[f32]| w[0] - 4.0 * w[1] + 6.0 * w[2] - 4.0 * w[3] + w[4];
    let sharp: f32 = left.windows(5).map(|w| fourth(w).powi(2)).sum();
    let all: f32 = left.iter().map(|sample| sample * sample).sum();
    sharp > all * 5.0 && all > 0.0
}

#[test]
fn decoders_can_change_over_to_every_packet_that_is_called_an_entry() {
    let mut noise = 0x2545_F491_4F6C_DD1D_u64;
    let pcm: Vec<f32> = std::iter::repeat_with(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        ((noise >> 40) as f32 / (1 << 23) as f32 - 1.0) * 0.3
    })
    .take(48_000 * 3 * 2)
    .collect();
    for kbit in [64, 48] {
        let rendition = rendition(Codec::HeAac, kbit, Channels::Stereo, SampleRate::Hz48000);
        let every = Encoder::new(rendition, Options::default()).unwrap().entry_every() as usize;
        let packets = encoded(rendition, Options::default(), &pcm, 2048);
        for first in 20_usize..31 {
            let entry = first.next_multiple_of(every);
            let found = first_with_sbr(&packets, first);
            // A decoder that had to do without may take one packet more to fade SBR in.
            let near = found.is_some_and(|found| (entry..=entry + 1).contains(&found));
            assert!(near, "{kbit} kbit/s from packet {first}: {found:?}, not {entry}");
        }
    }
}
