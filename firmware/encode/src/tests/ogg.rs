//! What the Ogg kinds must do, and renditions at another rate than the programme's.

use std::io::Cursor;

use ::ogg::PacketReader;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use units::page::{PageHeader, head_length};
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

use crate::*;

const fn rendition(codec: Codec, kbit: u32, channels: Channels, rate: SampleRate) -> Rendition {
    let Some(bitrate) = BitRate::from_kbit(kbit) else { panic!("zero bitrate") };
    Rendition { codec, rate, channels, bitrate }
}

const VORBIS: Rendition = rendition(Codec::Vorbis, 128, Channels::Stereo, SampleRate::Hz48000);
const OPUS: Rendition = rendition(Codec::Opus, 96, Channels::Stereo, SampleRate::Hz48000);

fn every_kind() -> Vec<Rendition> {
    let mut kinds = Vec::new();
    for (channels, low) in [(Channels::Mono, 32), (Channels::Stereo, 48)] {
        for kbit in [low, 64, 160] {
            for rate in [SampleRate::Hz44100, SampleRate::Hz48000] {
                kinds.push(rendition(Codec::Vorbis, kbit, channels, rate));
            }
            kinds.push(rendition(Codec::Opus, kbit, channels, SampleRate::Hz48000));
        }
    }
    kinds
}

/// Chords that come and go, and bursts of noise.
fn programme(frames: usize, channels: Channels) -> Vec<f32> {
    let mut noise = 0x2545_F491_4F6C_DD1D_u64;
    let mut pcm = Vec::with_capacity(frames * channels.count());
    for n in 0..frames {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        let hiss = (noise >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let t = n as f32 / 48_000.0;
        let chord: f32 =
            [220.0, 329.6, 1318.5].iter().map(|hz| (t * hz * std::f32::consts::TAU).sin() * 0.15).sum();
        let loud = if n / 4800 % 3 == 0 { 0.2 } else { 0.01 };
        for channel in 0..channels.count() {
            pcm.push(chord * if channel == 0 { 1.0 } else { 0.6 } + hiss * loud);
        }
    }
    pcm
}

/// Feeds lead, programme and end; sets a title before each of the `titles`' frames. Gives the pages.
fn encoded(rendition: Rendition, pcm: &[f32], titles: &[(usize, &str)]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(rendition, Options::default()).unwrap();
    encoder.number(7);
    let channels = rendition.channels.count();
    let mut packets = Vec::new();
    let mut emit = |packet: &[u8]| packets.push(packet.to_vec());
    encoder.encode(&vec![0.0; encoder.lead() as usize * channels], &mut emit).unwrap();
    let mut fed = 0;
    for &(frame, title) in titles {
        encoder.encode(&pcm[fed * channels..frame * channels], &mut emit).unwrap();
        encoder.title(title);
        fed = frame;
    }
    encoder.encode(&pcm[fed * channels..], &mut emit).unwrap();
    encoder.finish(&mut emit).unwrap();
    packets
}

/// The streams of a chain, each as its bytes.
fn streams(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut streams: Vec<Vec<u8>> = Vec::new();
    for packet in packets {
        if head_length(packet) > 0 {
            streams.push(Vec::new());
        }
        streams.last_mut().expect("a chain begins with a head").extend_from_slice(packet);
    }
    streams
}

fn vorbis_decoded(stream: &[u8]) -> Vec<f32> {
    let source = MediaSourceStream::new(Box::new(Cursor::new(stream.to_vec())), Default::default());
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

/// As RFC 7845 has it: what the head says is left out at the beginning, and what lies behind the last position at the end.
fn opus_decoded(stream: &[u8]) -> Vec<f32> {
    let mut reader = PacketReader::new(Cursor::new(stream));
    let head = reader.read_packet().unwrap().unwrap().data;
    let channels = usize::from(head[9]);
    let skip = usize::from(u16::from_le_bytes([head[10], head[11]]));
    assert!(reader.read_packet().unwrap().unwrap().data.starts_with(b"OpusTags"));
    let kind = if channels == 1 { ::opus::Channels::Mono } else { ::opus::Channels::Stereo };
    let mut decoder = ::opus::Decoder::new(48_000, kind).unwrap();
    let (mut pcm, mut end) = (Vec::new(), 0);
    while let Some(packet) = reader.read_packet().unwrap() {
        let mut part = vec![0.0; 5760 * channels];
        let frames = decoder.decode_float(&packet.data, &mut part, false).unwrap();
        pcm.extend_from_slice(&part[..frames * channels]);
        end = packet.absgp_page() as usize;
    }
    pcm.truncate(end * channels);
    pcm.split_off(skip * channels)
}

fn decoded(codec: Codec, stream: &[u8]) -> Vec<f32> {
    if codec == Codec::Opus { opus_decoded(stream) } else { vorbis_decoded(stream) }
}

/// The comment that a stream has, if it has one.
fn title(stream: &[u8]) -> Option<String> {
    let mut reader = PacketReader::new(Cursor::new(stream));
    reader.read_packet().unwrap();
    let comments = reader.read_packet().unwrap().unwrap().data;
    let at = comments.windows(6).position(|six| six == b"TITLE=")?;
    let length = u32::from_le_bytes(comments[at - 4..at].try_into().unwrap()) as usize;
    Some(String::from_utf8(comments[at + 6..at + length].to_vec()).unwrap())
}

#[test]
fn there_is_one_page_for_every_step() {
    for kind in every_kind() {
        let mut encoder = Encoder::new(kind, Options::default()).unwrap();
        let (channels, frames) = (kind.channels.count(), encoder.packet_frames() as usize);
        assert_eq!(encoder.packet_frames(), kind.codec.frames_per_packet());
        encoder
            .encode(&vec![0.0; encoder.lead() as usize * channels], &mut |_| panic!("no page of the lead"))
            .unwrap();
        let pcm = programme(frames * 40, kind.channels);
        let mut fed = 0;
        for step in
            [frames - 1, 1, 5, frames - 6, 1, frames * 3 - 1, 1, 480, frames * 2 - 481, 1, frames * 30]
        {
            let mut pages = Vec::new();
            encoder
                .encode(&pcm[fed * channels..(fed + step) * channels], &mut |page| pages.push(page.to_vec()))
                .unwrap();
            assert_eq!(
                pages.len(),
                (fed + step) / frames - fed / frames,
                "{kind}: {step} frames after {fed}"
            );
            for page in &pages {
                let head = head_length(page);
                assert_eq!(head > 0, fed + step < 2 * frames, "{kind}: a head at the beginning only");
                let header = PageHeader::parse(&page[head..]).unwrap();
                assert_eq!(head + header.length, page.len(), "{kind}: one page of sound");
                assert!(header.granule.is_some(), "{kind}");
            }
            fed += step;
        }
    }
}

#[test]
fn pages_do_not_depend_on_how_they_are_fed() {
    for kind in [VORBIS, OPUS] {
        let pcm = programme(30_000, kind.channels);
        let whole = encoded(kind, &pcm, &[]);
        let bits: Vec<(usize, &str)> = (1..60).map(|part| (part * 501, "")).collect();
        assert!(whole == encoded(kind, &pcm, &bits), "{kind}");
    }
}

#[test]
fn the_bitrate_is_about_what_was_asked_for() {
    for kind in [VORBIS, OPUS, Rendition { bitrate: BitRate::from_kbit(64).unwrap(), ..OPUS }] {
        let pcm = programme(48_000 * 10, kind.channels);
        let bytes: usize = encoded(kind, &pcm, &[]).iter().map(Vec::len).sum();
        let ratio = bytes as f64 * 8.0 / 10.0 / f64::from(kind.bitrate.bits());
        assert!((0.7..1.25).contains(&ratio), "{kind}: {ratio} of the bitrate");
    }
}

#[test]
fn a_new_title_is_a_new_stream_and_costs_no_frame() {
    for kind in every_kind() {
        let channels = kind.channels.count();
        let pcm = programme(96_000, kind.channels);
        let titles = [(20_000, "Duke – Ellington"), (20_001, "Caravan"), (50_000, "Caravan"), (60_000, "")];
        let chained = streams(&encoded(kind, &pcm, &titles));
        let said: Vec<_> = chained.iter().map(|stream| title(stream)).collect();
        assert_eq!(said, [None, Some("Caravan".to_string()), None], "{kind}");
        for (number, stream) in chained.iter().enumerate() {
            let (mut at, mut sequence, mut last) = (0, 0, false);
            while let Some(page) = PageHeader::parse(&stream[at..]) {
                assert!(!last, "{kind}: nothing after the end");
                assert_eq!((page.serial, page.sequence), (7 + number as u32, sequence), "{kind}");
                (at, sequence, last) = (at + page.length, sequence + 1, page.last);
            }
            assert!(last && at == stream.len(), "{kind}: the stream is ended");
        }
        let heard: Vec<f32> = chained.iter().flat_map(|stream| decoded(kind.codec, stream)).collect();
        let whole = decoded(kind.codec, &encoded(kind, &pcm, &[]).concat());
        assert_eq!(heard.len(), whole.len(), "{kind}: a frame is lost or made up");
        let lead = Encoder::new(kind, Options::default()).unwrap().lead() as usize;
        assert_eq!(whole.len(), (lead + 96_000) * channels, "{kind}");
        // A Vorbis encoder that begins anew and an Opus decoder in its first moments are as near as makes no difference.
        let power: f32 = whole.iter().map(|sample| sample * sample).sum();
        let apart: f32 = heard.iter().zip(&whole).map(|(a, b)| (a - b).powi(2)).sum();
        assert!(apart / power <= 0.05, "{kind}: {}", apart / power);
    }
}

#[test]
fn positions_are_the_programmes() {
    const AT: usize = 30_000;
    for kind in every_kind() {
        let channels = kind.channels.count();
        let mut pcm = vec![0.0; 48_000 * channels];
        for (n, frame) in pcm.chunks_mut(channels).enumerate() {
            let x = (n as f32 - AT as f32) / 17.0;
            frame.fill(0.8 * (-0.5 * x * x).exp());
        }
        let heard = decoded(kind.codec, &encoded(kind, &pcm, &[]).concat());
        let first = heard.iter().step_by(channels).map(|sample| sample.abs());
        let peak = first.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
        let lead = Encoder::new(kind, Options::default()).unwrap().lead() as usize;
        assert!(peak.abs_diff(AT + lead) <= 3, "{kind}: found at {peak}, fed at {}", AT + lead);
    }
}

#[test]
fn what_is_no_sound_is_survived() {
    for kind in [VORBIS, OPUS] {
        let mut pcm = programme(40_000, kind.channels);
        for (place, absurd) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e20, 1e-40]
            .into_iter()
            .enumerate()
        {
            pcm[10_000 + place * 101] = absurd;
        }
        pcm[20_000..24_000].fill(f32::NAN);
        pcm[24_000..28_000].fill(f32::MAX);
        let heard = decoded(kind.codec, &encoded(kind, &pcm, &[]).concat());
        assert!(heard.len() >= 80_000 && heard.iter().all(|sample| sample.is_finite()), "{kind}");
    }
}

#[test]
fn what_a_library_would_change_is_refused() {
    let refused = |rendition: Rendition| match Encoder::new(rendition, Options::default()) {
        Ok(_) => panic!("{rendition} is taken"),
        Err(error) => error.to_string(),
    };
    let wrong = refused(Rendition { rate: SampleRate::Hz44100, ..OPUS });
    assert!(wrong.contains("44100") && wrong.contains("48 kHz"), "{wrong}");
    let wrong = refused(Rendition { bitrate: BitRate::from_kbit(512).unwrap(), ..OPUS });
    assert!(wrong.contains("510000"), "{wrong}");
    let wrong = refused(Rendition { bitrate: BitRate::from_bits(400).unwrap(), ..OPUS });
    assert!(wrong.contains("500 bit/s"), "{wrong}");
    for kbit in [5, 2000] {
        let wrong = refused(Rendition { bitrate: BitRate::from_kbit(kbit).unwrap(), ..VORBIS });
        assert!(wrong.contains("libvorbis"), "{wrong}");
    }
}

#[test]
fn another_rate_keeps_the_grid_for_ever() {
    let (slow, fast) = (SampleRate::Hz44100, SampleRate::Hz48000);
    let mp3 = rendition(Codec::Mp3, 128, Channels::Mono, slow);
    let opus = rendition(Codec::Opus, 64, Channels::Mono, fast);
    let vorbis = rendition(Codec::Vorbis, 64, Channels::Mono, slow);
    for (kind, from, grid) in [(mp3, fast, 61_440), (opus, slow, 1764), (vorbis, fast, 122_880)] {
        let options = Options { programme: Some(from), ..Options::default() };
        let mut encoder = Encoder::new(kind, options).unwrap();
        assert_eq!((encoder.grid(), encoder.lead()), (grid, 0), "{kind}");
        let silence = vec![0.0; 2304];
        let (mut fed, mut packets) = (0_u64, 0_u64);
        for _ in 0..4000 {
            encoder.encode(&silence, &mut |_| packets += 1).unwrap();
            fed += silence.len() as u64;
            let there = encoder.frames_at(Frames(fed)).0;
            // What lies in the resampler is less than a chunk of it.
            let least = (there - 1280) / u64::from(encoder.packet_frames());
            let most = there / u64::from(encoder.packet_frames());
            assert!(
                (least..=most).contains(&packets),
                "{kind}: {packets} after {fed}, not {least} to {most}"
            );
        }
    }
}

#[test]
fn another_rate_sounds_the_same() {
    let (slow, fast) = (SampleRate::Hz44100, SampleRate::Hz48000);
    for (from, to) in [(slow, fast), (fast, slow)] {
        let kind = rendition(Codec::Vorbis, 160, Channels::Stereo, to);
        let mut resampler = Resampler::new(from, kind).unwrap();
        let tone = |rate: SampleRate, n: usize| {
            ((n as f64 * 1000.0 / f64::from(rate.hz()) * std::f64::consts::TAU).sin() * 0.5) as f32
        };
        let pcm: Vec<f32> = (0..from.hz() as usize).flat_map(|n| [tone(from, n), 0.0]).collect();
        let mut heard = Vec::new();
        for part in pcm.chunks(2 * 333) {
            resampler
                .pass(part, &mut |pcm| {
                    heard.extend_from_slice(pcm);
                    Ok(())
                })
                .unwrap();
        }
        // Least squares against a sine and a cosine of that frequency: what is left is noise.
        let mut left: Vec<f64> =
            heard.iter().step_by(2).skip(5000).map(|&sample| f64::from(sample)).collect();
        // Whole periods.
        left.truncate(left.len() / (to.hz() as usize / 100) * (to.hz() as usize / 100));
        let turn = 1000.0 / f64::from(to.hz()) * std::f64::consts::TAU;
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, sample) in left.iter().enumerate() {
            sine += sample * (turn * n as f64).sin() * 2.0 / left.len() as f64;
            cosine += sample * (turn * n as f64).cos() * 2.0 / left.len() as f64;
        }
        assert!((sine.hypot(cosine) - 0.5).abs() < 0.002, "{from}: {}", sine.hypot(cosine));
        let power: f64 = left.iter().map(|sample| sample * sample).sum::<f64>() / left.len() as f64;
        let noise = (power - (sine * sine + cosine * cosine) / 2.0).abs() / power;
        assert!(noise < 1e-8, "{from}: {noise}");
        assert!(heard.iter().skip(1).step_by(2).all(|&sample| sample.abs() < 1e-6), "channels stay apart");
    }
}
