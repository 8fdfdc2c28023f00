//! Every format and every bad file that can be made without another program; tests/e2e has those that ffmpeg makes.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use units::{Channels, Codec, SampleRate};

use crate::testing::{STEREO, encoded, opus, pitch, sound, tone, wav, write};
use crate::{Cached, Container, Error, Format, Kind, Note, Profile, Target, check, prepare, ready, sweep};

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

fn refusal(path: &Path) -> (Error, String) {
    let error = check(path).expect_err("a bad file was taken");
    let text = error.to_string();
    assert!(text.starts_with(&*path.to_string_lossy()), "{text}");
    (error, text)
}

#[test]
fn every_format_is_known_and_its_length_loudness_and_pitch_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let pcm = tone(48_000, 2, 5.0);
    let aac = |profile| Format::Aac { profile, container: Container::Adts };
    let files: [(&str, Vec<u8>, Format, f64); 6] = [
        ("a.wav", wav(48_000, 2, &pcm), Format::Wav, 0.0),
        ("a.mp3", encoded(Codec::Mp3, 128, &pcm), Format::Mp3, 0.08),
        ("lc.aac", encoded(Codec::AacLc, 128, &pcm), aac(Profile::Lc), 0.1),
        ("he.aac", encoded(Codec::HeAac, 64, &pcm), aac(Profile::He), 0.2),
        ("he2.aac", encoded(Codec::HeAacV2, 32, &pcm), aac(Profile::HeV2), 0.25),
        ("a.opus", opus(&pcm), Format::Opus, 0.0),
    ];
    for (name, bytes, format, extra) in files {
        let path = write(folder.path(), name, &bytes);
        let checked = check(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(checked.format, format, "{name}");
        assert_eq!((checked.rate_hz, checked.channels), (48_000, 2), "{name}");
        let length = seconds(checked.length);
        assert!((5.0..=5.0 + extra).contains(&length), "{name}: {length} s");
        let lufs = checked.loudness.lufs();
        // LAME scales by 0.95 at this bitrate: 0.45 dB.
        assert!((lufs + 20.0).abs() < 0.5, "{name}: {lufs}");
        assert_eq!(checked.notes, [], "{name}");

        let ready = prepare(&path, STEREO, folder.path()).unwrap();
        let pcm = sound(&ready);
        assert_eq!(pcm.len() as u64, ready.frames.0 * 2, "{name}");
        assert!((seconds(ready.length()) - length).abs() < 0.001, "{name}");
        let hz = pitch(&pcm, STEREO);
        assert!((hz - 997.0).abs() < 0.5, "{name}: {hz} Hz");
        assert!((ready.loudness.lufs() - lufs).abs() < 0.1, "{name}: {}", ready.loudness);
    }
    let opus = check(&folder.path().join("a.opus")).unwrap();
    assert_eq!(
        (opus.title.as_deref(), opus.artist.as_deref()),
        (Some("Please stand by"), Some("Radio Loopback"))
    );
}

#[test]
fn rates_and_channels_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    for hz in [8_000, 22_050, 44_100, 88_200, 96_000, 192_000] {
        for channels in [1_u16, 2, 6] {
            let pcm = tone(hz, channels.into(), 3.0);
            let path = write(folder.path(), "a.wav", &wav(hz, channels, &pcm));
            let checked = check(&path).unwrap();
            assert_eq!((checked.rate_hz, checked.channels, seconds(checked.length)), (hz, channels, 3.0));
            let mixed_down = (channels > 2).then_some(Note::MixedDown { channels });
            assert_eq!(checked.notes, mixed_down.into_iter().collect::<Vec<_>>());
            for (rate, channels) in
                [(SampleRate::Hz44100, Channels::Mono), (SampleRate::Hz48000, Channels::Stereo)]
            {
                let target = Target { rate, channels };
                let ready = prepare(&path, target, folder.path()).unwrap();
                assert_eq!(ready.frames.0, u64::from(rate.hz()) * 3, "{hz} to {rate}");
                let pitch = pitch(&sound(&ready), target);
                assert!((pitch - 997.0).abs() < 0.5, "{hz} to {rate}: {pitch} Hz");
                // Of six equal channels each side gets itself, the centre and a surround: 1 + 2 / sqrt 2.
                let gain = if checked.channels == 6 { 20.0 * (1.0 + 2.0_f32.sqrt()).log10() } else { 0.0 };
                let found = ready.loudness.lufs();
                assert!((found - gain + 20.0).abs() < 0.2, "{hz} Hz x {}: {found}", checked.channels);
            }
        }
    }
}

#[test]
fn sixteen_bits_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let samples: Vec<i16> = (0..96_000_i32).map(|n| (n * 7_919 % 65_536 - 32_768) as i16).collect();
    let pcm: Vec<f32> = samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
    // Loud noise has true peaks above full scale; at a quarter it has none.
    let quiet: Vec<f32> = pcm.iter().map(|sample| (sample * 8_192.0).trunc() / 32_768.0).collect();
    let path = write(folder.path(), "a.wav", &wav(48_000, 2, &quiet));
    let ready = prepare(&path, STEREO, folder.path()).unwrap();
    let wanted: Vec<i16> = quiet.iter().map(|sample| (sample * 32_768.0) as i16).collect();
    assert_eq!(sound(&ready), wanted);
}

#[test]
fn peaks_above_full_scale_lower_the_file_instead_of_being_cut() {
    let folder = tempfile::tempdir().unwrap();
    let loud: Vec<f32> = tone(48_000, 2, 2.0).iter().map(|sample| sample * 20.0).collect();
    let path = write(folder.path(), "loud.wav", &wav(48_000, 2, &loud));
    assert_eq!(check(&path).unwrap().notes, [Note::OverFullScale]);
    let ready = prepare(&path, STEREO, folder.path()).unwrap();
    assert!((ready.true_peak.db() + 1.0).abs() < 0.1, "{}", ready.true_peak);
    let peak = sound(&ready).iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    assert!((29_000..29_300).contains(&peak), "-1 dBFS is 29204: {peak}");
    assert!((ready.loudness.lufs() + 1.0).abs() < 0.1, "told as it will be played: {}", ready.loudness);
}

#[test]
fn what_is_no_audio_is_told_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    // A real archive could hold an MP3 uncompressed, which a search would find.
    let mp3 = encoded(Codec::Mp3, 128, &tone(48_000, 2, 3.0));
    let zip = [b"PK\x03\x04\x14\0\0\0\0\0".as_slice(), &[0; 20], b"song.mp3", &mp3].concat();
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, bytes, said) in [
        ("a.mp3", zip, "a ZIP archive"),
        ("b.mp3", Vec::new(), "0 bytes"),
        ("c.wav", b"<html>404 not found</html>".to_vec(), "a text, a page or a playlist"),
        ("d.flac", vec![0; 200_000], "nothing but zeros"),
        ("e.ogg", [0x12].iter().chain(&noise).copied().collect(), "no audio file of a known kind"),
        ("f.mp3", [b"\x89PNG".as_slice(), &noise].concat(), "a picture"),
        ("g.wma", [[0x30, 0x26, 0xb2, 0x75].as_slice(), &noise].concat(), "a Windows Media file"),
    ] {
        let (error, text) = refusal(&write(folder.path(), name, &bytes));
        assert!(text.contains(said), "{name}: {text}");
        assert_eq!(error.kind(), Kind::File, "{text}");
    }
    let (_, text) = refusal(folder.path());
    assert!(text.contains("a folder"), "{text}");
    let (_, text) = refusal(Path::new("/dev/zero"));
    assert!(text.contains("a device"), "{text}");
    let (_, text) = refusal(&folder.path().join("missing.mp3"));
    assert!(text.contains("compare the path"), "{text}");
    // Noise that begins like MP3.
    let (error, text) =
        refusal(&write(folder.path(), "h.mp3", &[[0xff, 0xfb, 0x90, 0x64].as_slice(), &noise].concat()));
    assert!(matches!(error, Error::Damaged { .. } | Error::Truncated { .. }), "{text}");
}

#[test]
fn a_wrong_name_plays_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "song.WAV", &encoded(Codec::Mp3, 128, &tone(48_000, 2, 3.0)));
    let checked = check(&path).unwrap();
    assert_eq!(checked.format, Format::Mp3);
    let told = checked.notes[0].to_string();
    assert!(told.contains(".wav") && told.contains("MP3"), "{told}");
}

#[test]
fn what_breaks_off_is_told_with_how_much_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let pcm = tone(48_000, 2, 10.0);
    for (name, bytes) in
        [("a.wav", wav(48_000, 2, &pcm)), ("a.opus", opus(&pcm)), ("a.aac", encoded(Codec::AacLc, 128, &pcm))]
    {
        for part in [0.2, 0.5, 0.9] {
            // Not between two packets.
            let end = (bytes.len() as f64 * part) as usize | 1;
            let (error, text) = refusal(&write(folder.path(), name, &bytes[..end]));
            let Error::Truncated { found, .. } = error else { panic!("{name}: {text}") };
            let right = seconds(found);
            assert!((right - 10.0 * part).abs() < 1.1, "{name} at {part}: {text}");
        }
    }
    let cut = write(folder.path(), "head.wav", &wav(48_000, 2, &pcm)[..30]);
    assert!(matches!(refusal(&cut).0, Error::Truncated { .. }));
}

#[test]
fn six_hours_are_refused_from_the_header_and_an_instant_too() {
    let folder = tempfile::tempdir().unwrap();
    // Sparse: nothing but a header on the disk.
    let mut header = wav(8_000, 1, &[]);
    let bytes = 6 * 3600 * 8_000 * 4_u32;
    let at = header.len() - 4;
    header[at..].copy_from_slice(&bytes.to_le_bytes());
    header[4..8].copy_from_slice(&(bytes + 68).to_le_bytes());
    let path = write(folder.path(), "long.wav", &header);
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_len(u64::from(bytes) + header.len() as u64)
        .unwrap();
    let (error, text) = refusal(&path);
    assert!(matches!(error, Error::TooLong { at_least: false, .. }), "{text}");
    assert!(text.contains("6:00:00 h") && text.contains("2:00:00 h"), "{text}");

    let (_, text) = refusal(&write(folder.path(), "short.wav", &wav(48_000, 2, &tone(48_000, 2, 0.5))));
    assert!(text.contains("0.50 s"), "{text}");
    let (_, text) = refusal(&write(folder.path(), "silent.wav", &wav(48_000, 2, &vec![0.0; 480_000])));
    assert!(text.contains("silent"), "{text}");
}

#[test]
fn a_length_nobody_told_ends_at_the_limit_too() {
    let folder = tempfile::tempdir().unwrap();
    // As ffmpeg writes it into a pipe: lengths of 2^32 - 1. Sparse again.
    let mut header = wav(8_000, 1, &[]);
    let at = header.len() - 4;
    header[at..].fill(0xff);
    header[4..8].fill(0xff);
    let path = write(folder.path(), "long.wav", &header);
    File::options().append(true).open(&path).unwrap().set_len(7_201 * 8_000 * 4).unwrap();
    let (error, text) = refusal(&path);
    assert!(matches!(error, Error::TooLong { at_least: true, .. }), "{text}");
}

#[test]
fn no_number_in_a_file_reaches_the_ready_form() {
    let folder = tempfile::tempdir().unwrap();
    let mut pcm = tone(44_100, 2, 2.0);
    for (n, odd) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
        pcm[20_001 + n * 10] = odd;
    }
    let ready =
        prepare(&write(folder.path(), "nan.wav", &wav(44_100, 2, &pcm)), STEREO, folder.path()).unwrap();
    assert!((ready.loudness.lufs() + 20.0).abs() < 0.2, "{}", ready.loudness);
}

#[test]
fn a_ready_form_is_made_once_and_a_bad_file_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("ready");
    fs::create_dir(&cache).unwrap();
    let path = write(folder.path(), "a.wav", &wav(44_100, 2, &tone(44_100, 2, 2.0)));
    assert_eq!(ready(&path, STEREO, &cache), Cached::Nothing);
    let first = prepare(&path, STEREO, &cache).unwrap();
    assert_eq!(ready(&path, STEREO, &cache), Cached::Current(first.clone()));
    let made = fs::metadata(&first.path).unwrap().modified().unwrap();
    assert_eq!(prepare(&path, STEREO, &cache).unwrap(), first);

    // Copied again: another time, the same content.
    let again = File::options().append(true).open(&path).unwrap();
    again.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    assert_eq!(prepare(&path, STEREO, &cache).unwrap(), first);
    assert_eq!(fs::metadata(&first.path).unwrap().modified().unwrap(), made, "not made anew");

    for bad in [wav(44_100, 2, &tone(44_100, 2, 2.0))[..100_001].to_vec(), b"PK\x03\x04".to_vec(), Vec::new()]
    {
        fs::write(&path, bad).unwrap();
        prepare(&path, STEREO, &cache).unwrap_err();
        assert_eq!(ready(&path, STEREO, &cache), Cached::Old(first.clone()));
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(ready(&path, STEREO, &cache), Cached::Old(first.clone()));
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "no half file is left behind");

    write(folder.path(), "a.wav", &wav(44_100, 2, &tone(44_100, 2, 3.0)));
    let second = prepare(&path, STEREO, &cache).unwrap();
    assert_eq!((second.path.clone(), second.frames.0), (first.path, 3 * 48_000), "a good one replaces it");
    let mono = Target { rate: SampleRate::Hz44100, channels: Channels::Mono };
    assert_eq!(ready(&path, mono, &cache), Cached::Nothing, "another programme needs another one");

    // A ready form that was cut, or in which a byte changed, counts as none.
    let whole = fs::read(&second.path).unwrap();
    fs::write(&second.path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(ready(&path, STEREO, &cache), Cached::Nothing);
    let mut flipped = whole.clone();
    flipped[100] ^= 1;
    fs::write(&second.path, flipped).unwrap();
    assert_eq!(ready(&path, STEREO, &cache), Cached::Nothing);
    assert_eq!(prepare(&path, STEREO, &cache).unwrap(), second);
    assert_eq!(fs::read(&second.path).unwrap(), whole, "made anew, to the same bytes");
}

#[test]
fn what_nobody_needs_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name| {
        let path = write(folder.path(), name, &wav(48_000, 2, &tone(48_000, 2, 1.0)));
        prepare(&path, STEREO, folder.path()).unwrap().path
    };
    let (kept, gone) = (made("a.wav"), made("b.wav"));
    write(folder.path(), "c.ready.part", &[0; 1_000]);
    let bytes = fs::metadata(&gone).unwrap().len() + 1_000;
    assert_eq!(sweep(folder.path(), std::slice::from_ref(&kept)).unwrap(), bytes);
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.sort();
    let mut wanted = vec![folder.path().join("a.wav"), folder.path().join("b.wav"), kept];
    wanted.sort();
    assert_eq!(left, wanted);
    assert_eq!(sweep(&folder.path().join("missing"), &[]).unwrap_err().kind(), Kind::Disk);
}

#[test]
fn whatever_is_damaged_is_played_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let pcm = tone(48_000, 2, 1.5);
    let files = [
        ("a.wav", wav(48_000, 2, &pcm)),
        ("a.mp3", encoded(Codec::Mp3, 128, &pcm)),
        ("lc.aac", encoded(Codec::AacLc, 128, &pcm)),
        ("he2.aac", encoded(Codec::HeAacV2, 32, &pcm)),
        ("a.opus", opus(&pcm)),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut taken, mut refused) = (0, 0);
    for (name, bytes) in files {
        for turn in 0..60 {
            let mut bytes = bytes.clone();
            // Single bits and whole pieces, half of them where headers lie.
            for _ in 0..1 + turn % 8 {
                let within = if random(2) == 0 { bytes.len().min(200) } else { bytes.len() };
                let at = random(within);
                if random(4) == 0 {
                    let end = (at + random(300)).min(bytes.len());
                    bytes[at..end].fill_with(|| random(256) as u8);
                } else {
                    bytes[at] ^= 1 << random(8);
                }
            }
            match check(&write(folder.path(), name, &bytes)) {
                Ok(checked) => {
                    taken += 1;
                    assert!(checked.length < Duration::from_secs(60), "{name}: {checked:?}");
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
    assert!(taken > 10 && refused > 10, "{taken} taken, {refused} refused");
}
