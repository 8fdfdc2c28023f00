//! Files for the tests: a tone in every format that can be made without another program.

use std::fs;
use std::path::{Path, PathBuf};

use encode::{Encoder, Options};
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

use crate::prepare::Target;
use crate::ready::{Form, Ready};

pub(crate) const STEREO: Target = Target { rate: SampleRate::Hz48000, channels: Channels::Stereo };

/// 997 Hz at -20 dBFS on all channels: -20 LUFS in stereo (EBU Tech 3341, test case 1 scaled).
pub(crate) fn tone(hz: u32, channels: usize, seconds: f64) -> Vec<f32> {
    let frames = (f64::from(hz) * seconds).round() as usize;
    let at = |n: usize| (0.1 * (std::f64::consts::TAU * 997.0 * n as f64 / f64::from(hz)).sin()) as f32;
    (0..frames).flat_map(|n| vec![at(n); channels]).collect()
}

/// RIFF/WAVE of 32-bit floats; over two channels as WAVE_FORMAT_EXTENSIBLE, with the usual speakers.
pub(crate) fn wav(hz: u32, channels: u16, samples: &[f32]) -> Vec<u8> {
    let bytes = samples.len() as u32 * 4;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((20 + 40 + 8 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(40_u32.to_le_bytes());
    file.extend(0xfffe_u16.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(hz.to_le_bytes());
    file.extend((hz * u32::from(channels) * 4).to_le_bytes());
    file.extend((channels * 4).to_le_bytes());
    file.extend(32_u16.to_le_bytes());
    file.extend(22_u16.to_le_bytes());
    file.extend(32_u16.to_le_bytes());
    let speakers: u32 = [0, 4, 3, 7, 0x33, 0x37, 0x3f][usize::from(channels)];
    file.extend(speakers.to_le_bytes());
    file.extend([3, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// Stereo at 48 kHz in one of our own codecs: MP3 without a length header, AAC in ADTS.
pub(crate) fn encoded(codec: Codec, kbit: u32, samples: &[f32]) -> Vec<u8> {
    let bitrate = BitRate::from_kbit(kbit).unwrap();
    let rendition = Rendition { codec, rate: SampleRate::Hz48000, channels: Channels::Stereo, bitrate };
    let mut encoder = Encoder::new(rendition, Options::default()).unwrap();
    let mut file = Vec::new();
    encoder.encode(samples, &mut |packet| file.extend(packet)).unwrap();
    encoder.finish(&mut |packet| file.extend(packet)).unwrap();
    file
}

/// Opus in Ogg (RFC 7845), stereo at 48 kHz, pages of a second, with a title.
pub(crate) fn opus(samples: &[f32]) -> Vec<u8> {
    const PACKET: usize = 960;
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Stereo, opus::Application::Audio).unwrap();
    let skip = encoder.get_lookahead().unwrap() as u16;
    let mut head = b"OpusHead\x01\x02".to_vec();
    head.extend(skip.to_le_bytes());
    head.extend(48_000_u32.to_le_bytes());
    head.extend([0, 0, 0]);
    let text = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let mut tags = [b"OpusTags".to_vec(), text("a test")].concat();
    tags.extend(2_u32.to_le_bytes());
    tags.extend([text("TITLE=Please stand by"), text("ARTIST=Radio Loopback")].concat());

    let mut file = page(2, 0, 0, &[head]);
    file.extend(page(0, 0, 1, &[tags]));
    let whole = samples.len() / 2;
    let mut padded = samples.to_vec();
    padded.resize((whole + usize::from(skip)).div_ceil(PACKET) * PACKET * 2, 0.0);
    let packets: Vec<_> =
        padded.chunks(PACKET * 2).map(|pcm| encoder.encode_vec_float(pcm, 4_000).unwrap()).collect();
    let pages = packets.len().div_ceil(50);
    for (number, packets) in packets.chunks(50).enumerate() {
        let last = number + 1 == pages;
        let granule = if last { whole + usize::from(skip) } else { (number + 1) * 50 * PACKET };
        file.extend(page(if last { 4 } else { 0 }, granule as u64, number as u32 + 2, packets));
    }
    file
}

/// A page with whole packets (RFC 3533, section 6).
fn page(flags: u8, granule: u64, number: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(7_u32.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    let lacing =
        |packet: &Vec<u8>| [vec![255; packet.len() / 255], vec![(packet.len() % 255) as u8]].concat();
    let table: Vec<u8> = packets.iter().flat_map(lacing).collect();
    page.push(u8::try_from(table.len()).unwrap());
    page.extend(table);
    page.extend(packets.concat());
    let sum = page.iter().fold(0_u32, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| (sum << 1) ^ (0x04c1_1db7 * (sum >> 31)))
    });
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// All samples of a ready form.
pub(crate) fn sound(ready: &Ready) -> Vec<i16> {
    let mut form = Form::open(&ready.path).unwrap();
    let (mut whole, mut block) = (Vec::new(), Vec::new());
    for number in 0.. {
        form.block(number, &mut block).unwrap();
        if block.is_empty() {
            break;
        }
        whole.extend(&block);
    }
    whole
}

/// Frequency of the first channel in Hz, by its rising zero crossings, without half a second at either end.
pub(crate) fn pitch(pcm: &[i16], target: Target) -> f64 {
    let left: Vec<i16> = pcm.iter().step_by(target.channels.count()).copied().collect();
    let hz = target.rate.hz() as usize;
    let middle = &left[hz / 2..left.len() - hz / 2];
    let rising: Vec<usize> = (1..middle.len()).filter(|n| middle[n - 1] < 0 && middle[*n] >= 0).collect();
    (rising.len() - 1) as f64 * hz as f64 / (rising[rising.len() - 1] - rising[0]) as f64
}
