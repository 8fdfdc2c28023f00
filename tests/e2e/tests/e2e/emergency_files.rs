//! Emergency files as people have them, made by ffmpeg: known, whole, and as loud as ffmpeg itself finds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use emergency::{Container, Error, Format, Note, Profile, Target, check, prepare};
use encode::{Encoder, Options};
use tempfile::TempDir;
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

const SECONDS: f64 = 8.0;
const TARGET: Target = Target { rate: SampleRate::Hz48000, channels: Channels::Stereo };

const fn mp4(profile: Profile) -> Format {
    Format::Aac { profile, container: Container::Mp4 }
}

/// Name, what ffmpeg is told, what it is, rate and channels, how much longer it may be (in seconds), and whether a
/// file that is cut off can be told from a whole one.
type Case = (&'static str, &'static str, Format, u32, u16, f64, bool);

const CASES: &[Case] = &[
    ("16.wav", "-c:a pcm_s16le", Format::Wav, 48_000, 2, 0.0, true),
    ("24.wav", "-c:a pcm_s24le -ar 44100", Format::Wav, 44_100, 2, 0.0, true),
    ("8.wav", "-c:a pcm_u8 -ac 1", Format::Wav, 48_000, 1, 0.0, true),
    ("surround.wav", "-c:a pcm_s24le -ar 96000 -ac 6", Format::Wav, 96_000, 6, 0.0, true),
    ("a.flac", "-c:a flac", Format::Flac, 48_000, 2, 0.0, true),
    ("surround.flac", "-c:a flac -ar 96000 -ac 6", Format::Flac, 96_000, 6, 0.0, true),
    ("cbr.mp3", "-c:a libmp3lame -b:a 320k", Format::Mp3, 48_000, 2, 0.0, true),
    ("vbr.mp3", "-c:a libmp3lame -q:a 2 -ar 44100", Format::Mp3, 44_100, 2, 0.001, true),
    (
        "bare.mp3",
        "-c:a libmp3lame -q:a 4 -write_xing 0 -id3v2_version 0",
        Format::Mp3,
        48_000,
        2,
        0.08,
        false,
    ),
    ("low.mp3", "-c:a libmp3lame -b:a 40k -ar 22050 -ac 1", Format::Mp3, 22_050, 1, 0.001, true),
    ("a.m4a", "-c:a aac -b:a 192k", mp4(Profile::Lc), 48_000, 2, 0.05, true),
    ("fast.m4a", "-c:a aac -b:a 192k -movflags +faststart", mp4(Profile::Lc), 48_000, 2, 0.05, true),
    ("surround.m4a", "-c:a aac -b:a 384k -ac 6", mp4(Profile::Other), 48_000, 6, 0.1, true),
    ("a.ogg", "-c:a libvorbis -q:a 5", Format::Vorbis, 48_000, 2, 0.0, true),
    ("44.ogg", "-c:a libvorbis -q:a 5 -ar 44100", Format::Vorbis, 44_100, 2, 0.001, true),
    ("surround.ogg", "-c:a libvorbis -q:a 5 -ac 6", Format::Vorbis, 48_000, 6, 0.0, true),
    ("a.opus", "-c:a libopus -b:a 128k", Format::Opus, 48_000, 2, 0.001, true),
    ("mono.opus", "-c:a libopus -b:a 64k -ac 1", Format::Opus, 48_000, 1, 0.001, true),
    ("surround.opus", "-c:a libopus -b:a 256k -ac 6 -mapping_family 1", Format::Opus, 48_000, 6, 0.001, true),
    ("flac.oga", "-c:a flac -f ogg", Format::OggFlac, 48_000, 2, 0.0, true),
];

fn ffmpeg(arguments: &[&str], out: &Path) -> Result<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-y"]).args(arguments).arg(out);
    let output = command.output().context("ffmpeg")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "ffmpeg {arguments:?}: {said}");
    Ok(said)
}

/// Pink noise at about -20 LUFS, the same on both sides, with tags.
fn make(folder: &Path, name: &str, how: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let noise = format!("anoisesrc=c=pink:a=0.4:r=48000:seed=1:d={SECONDS},pan=stereo|c0=c0|c1=c0");
    let mut arguments = vec!["-f", "lavfi", "-i", &noise];
    arguments.extend(["-metadata", "title=Please stand by", "-metadata", "artist=Radio Loopback"]);
    arguments.extend(how.split(' '));
    ffmpeg(&arguments, &path)?;
    Ok(path)
}

/// Integrated loudness of the stereo mix, as ffmpeg's own meter finds it.
fn loudness(path: &Path) -> Result<f64> {
    let source = path.to_string_lossy();
    let said = ffmpeg(&["-i", &source, "-af", "ebur128", "-f", "null"], Path::new("-"))?;
    let summary = said.rsplit("Integrated loudness:").next().unwrap_or_default();
    let figure = summary.split_whitespace().nth(1).context("no figure")?;
    figure.parse().with_context(|| format!("{figure:?} in {summary}"))
}

#[test]
fn every_format_of_ffmpeg_is_taken_whole_and_as_loud_as_it_says() -> Result<()> {
    let folder = TempDir::new()?;
    for (name, how, format, rate, channels, extra, _) in CASES {
        let path = make(folder.path(), name, how)?;
        let checked = check(&path).with_context(|| (*name).to_owned())?;
        ensure!(checked.format == *format, "{name}: {:?}", checked.format);
        ensure!((checked.rate_hz, checked.channels) == (*rate, *channels), "{name}: {checked:?}");
        let length = checked.length.as_secs_f64();
        ensure!(length > SECONDS - 0.001 && length <= SECONDS + extra + 1e-6, "{name}: {length} s");
        let (ours, theirs) = (f64::from(checked.loudness.lufs()), loudness(&path)?);
        // ffmpeg measures one channel as such; everybody hears it from two loudspeakers.
        let theirs = if *channels == 1 { theirs + 3.01 } else { theirs };
        ensure!((ours - theirs).abs() < 0.3, "{name}: {ours} LUFS, ffmpeg {theirs}");
        let tagged = *format != Format::Wav && *name != "bare.mp3";
        let tags = (checked.title.as_deref(), checked.artist.as_deref());
        ensure!(!tagged || tags == (Some("Please stand by"), Some("Radio Loopback")), "{name}: {tags:?}");
        let mixed_down = checked.notes.contains(&Note::MixedDown { channels: *channels });
        ensure!(mixed_down == (*channels > 2), "{name}: {:?}", checked.notes);

        let ready = prepare(&path, TARGET, folder.path())?;
        ensure!((ready.length().as_secs_f64() - length).abs() < 0.001, "{name}: {:?}", ready.length());
        ensure!((f64::from(ready.loudness.lufs()) - ours).abs() < 0.2, "{name}: {}", ready.loudness);
        println!(
            "{name}: {format}, {length:.3} s, {ours:.2} LUFS (ffmpeg {theirs:.1}), {}",
            checked.true_peak
        );
    }
    Ok(())
}

#[test]
fn every_format_that_breaks_off_is_refused() -> Result<()> {
    let folder = TempDir::new()?;
    for (name, how, _, _, _, _, tells) in CASES {
        let path = make(folder.path(), name, how)?;
        let bytes = fs::read(&path)?;
        for part in [0.05, 0.6, 0.97] {
            fs::write(&path, &bytes[..(bytes.len() as f64 * part) as usize])?;
            match (check(&path), tells) {
                (Err(error @ Error::Truncated { .. }), _) => println!("{error}"),
                (Ok(_) | Err(Error::TooShort { .. }), false) => {}
                (other, _) => anyhow::bail!("{name} at {part}: {other:?}"),
            }
        }
    }
    Ok(())
}

#[test]
fn high_efficiency_in_mp4_plays_at_its_whole_rate() -> Result<()> {
    let folder = TempDir::new()?;
    let sine = |n: usize| (0.1 * (std::f64::consts::TAU * 997.0 * n as f64 / 48_000.0).sin()) as f32;
    let pcm: Vec<f32> = (0..8 * 48_000).flat_map(|n| [sine(n); 2]).collect();
    for (codec, kbit, profile) in [(Codec::HeAac, 64, Profile::He), (Codec::HeAacV2, 32, Profile::HeV2)] {
        let bitrate = BitRate::from_kbit(kbit).context("a bitrate")?;
        let rendition = Rendition { codec, rate: SampleRate::Hz48000, channels: Channels::Stereo, bitrate };
        let mut encoder = Encoder::new(rendition, Options::default())?;
        let mut packets = Vec::new();
        encoder.encode(&pcm, &mut |packet| packets.extend(packet))?;
        let raw = folder.path().join("raw.aac");
        fs::write(&raw, packets)?;
        let path = folder.path().join(format!("{kbit}.m4a"));
        ffmpeg(&["-i", &raw.to_string_lossy(), "-c", "copy", "-bsf:a", "aac_adtstoasc"], &path)?;
        let checked = check(&path)?;
        ensure!(checked.format == mp4(profile), "{:?}", checked.format);
        ensure!((checked.rate_hz, checked.channels) == (48_000, 2), "{checked:?}");
        let length = checked.length.as_secs_f64();
        ensure!((7.8..8.2).contains(&length), "{length} s");
        ensure!((checked.loudness.lufs() + 20.0).abs() < 0.5, "{}", checked.loudness);
    }
    Ok(())
}

#[test]
fn other_kinds_are_told_as_what_they_are() -> Result<()> {
    let folder = TempDir::new()?;
    for (name, how, said) in [
        ("alac.m4a", "-c:a alac", "ALAC"),
        ("a.mp2", "-c:a mp2", "layer I or II"),
        ("a.mka", "-c:a flac", "Matroska"),
        ("a.aiff", "-c:a pcm_s16be", "AIFF"),
        ("adpcm.wav", "-c:a adpcm_ms", "WAV file"),
        ("a.ac3", "-c:a ac3", "no audio file of a known kind"),
    ] {
        let path = make(folder.path(), name, how)?;
        let told = check(&path).err().with_context(|| format!("{name} was taken"))?.to_string();
        ensure!(told.contains(said), "{name}: {told}");
        println!("{told}");
    }
    Ok(())
}
