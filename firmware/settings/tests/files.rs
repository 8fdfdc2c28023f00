//! The fixtures beside this file: each `valid-*` is taken, and each `invalid-*` is refused with exactly the faults that
//! its `# refused:` comments name, on their lines.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use delivery::config::{Lone, Proven, Return, Standby};

use mainstay_settings::{Places, Refusals, Settings, VERSION, interrupted, parse};

const SECRETS: &str = include_str!("secrets.toml");
const PEM: &str = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n";

fn places() -> Places {
    Places { settings: "settings.toml".into(), secrets: "secrets.toml".into(), base: PathBuf::from("BASE") }
}

fn read(text: &str) -> Result<Settings, Refusals> {
    parse(text, SECRETS, &places(), &mut |path| match path.to_str() {
        Some("BASE/authority.pem") => Ok(PEM.to_owned()),
        Some(_) | None => Err(io::ErrorKind::NotFound.into()),
    })
}

fn fixtures(verdict: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(verdict))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no fixture {verdict}*");
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

fn expected(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some((_, faults)) = line.split_once("# refused: ") {
            lines.extend(faults.split(" && ").map(|fault| format!("settings.toml:{number}: {fault}")));
        }
    }
    lines.sort();
    lines
}

#[test]
fn valid_files_are_taken() {
    for (path, text) in fixtures("valid-") {
        if let Err(refusals) = read(&text) {
            panic!("{}:\n{refusals}", path.display());
        }
    }
}

#[test]
fn invalid_files_are_refused_with_every_fault_named() {
    for (path, text) in fixtures("invalid-") {
        let refusals = read(&text).expect_err(path.to_str().unwrap());
        let mut found: Vec<String> = refusals
            .0
            .iter()
            .filter(|refusal| refusal.file == "settings.toml")
            .map(ToString::to_string)
            .collect();
        found.sort();
        let wanted = expected(&text);
        assert_eq!(found.join("\n"), wanted.join("\n"), "{}", path.display());
        assert!(!refusals.to_string().contains("hackme"), "{}", path.display());
    }
}

#[test]
fn the_example_shows_every_default_and_is_taken() {
    let example = read(include_str!("../example.toml")).unwrap();
    assert_eq!(example.mounts.len(), 2);
    // Whole packets of the first rendition, and no more than two of MP3.
    let packet = example.encoders[0].0.codec.frames_per_packet();
    let period = example.input.as_ref().unwrap().period;
    assert!(period.is_multiple_of(packet) && period <= 2304 && period + packet > 2304, "{period}");
    // What it shows as defaults are the defaults.
    let bare = "version = 1\n[input]\nalsa = \"hw:CARD=Device\"\n[[output]]\nname = \"main\"\n[output.primary]\n\
                url = \"https://stream.example.org:8443/live\"\ncodec = \"mp3\"\nbitrate = \"320k\"\n";
    let bare = read(bare).unwrap();
    assert_eq!(format!("{:?}", bare.input), format!("{:?}", example.input));
    assert_eq!((bare.meters, &bare.control), (example.meters, &example.control));
    assert_eq!((bare.faults, bare.levels_out), (example.faults, example.levels_out));
    let (shown, rules) = (&example.tiers.rules, &bare.tiers.rules);
    assert_eq!((shown.policy, shown.files, shown.crossfade), (rules.policy, rules.files, rules.crossfade));
    assert_eq!((shown.reminder, shown.inputs.len()), (rules.reminder, 2));
    assert_eq!((example.tiers.emergency.files.len(), bare.tiers.emergency.files.len()), (2, 0));
    assert_eq!(example.tiers.emergency.match_loudness, bare.tiers.emergency.match_loudness);
    let (said, left_out) = (&example.mounts[0], &bare.mounts[0]);
    assert_eq!((&said.user, said.longest_lag), (&left_out.user, left_out.longest_lag));
    assert_eq!((said.server.kind, said.server.method), (left_out.server.kind, left_out.server.method));
    assert_eq!((said.rendition, said.station.public), (left_out.rendition, left_out.station.public));
    assert_eq!(example.encoders[0], bare.encoders[0]);
    // A table without keys proves nothing.
    let text = include_str!("../example.toml");
    let (rest, _) = text.split_once("\n[output.proven]\n").unwrap();
    let unproven = read(&format!("{rest}\n[output.proven]\n")).unwrap();
    assert_eq!(example.outputs, unproven.outputs);
    let (said, left_out) = (&example.outputs[0], &bare.outputs[0]);
    assert!(left_out.proven.is_none());
    assert_eq!((said.standby, said.give_back), (left_out.standby, left_out.give_back));
    assert_eq!((said.settle, said.lone), (left_out.settle, left_out.lone));
}

#[test]
fn what_a_survey_proved_is_taken() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid-hand-over.toml"));
    let outputs = read(&text.unwrap()).unwrap().outputs;
    let seconds = Duration::from_secs;
    let (main, alone) = (&outputs[0], &outputs[1]);
    assert_eq!(
        (main.name.as_str(), main.standby, main.give_back),
        ("main", Standby::Held, Return::AtSilence)
    );
    assert_eq!((main.settle, main.lone), (seconds(120), Lone::Both));
    let proven = Proven {
        fallback: true,
        overrides: true,
        evict: true,
        burst: 32_768,
        queue: 1_048_576,
        source_timeout: seconds(8),
    };
    assert_eq!(main.proven, Some(proven));
    assert_eq!((alone.standby, alone.give_back), (Standby::Cold, Return::Manual));
    assert_eq!((alone.lone, alone.proven), (Lone::LowerBitrate, None));
}

/// Every key in the example's comments and tables is a known one: uncommenting a line gives no unknown key.
#[test]
fn what_the_example_comments_out_is_known() {
    let text: String = include_str!("../example.toml")
        .lines()
        .map(|line| {
            let key = line.strip_prefix("# ").filter(|rest| {
                rest.split_once(" = ")
                    .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            });
            format!("{}\n", key.unwrap_or(line))
        })
        .collect();
    assert!(text.contains("\ntone = "));
    let faults = read(&text).unwrap_err().to_string();
    assert!(!faults.contains("unknown key"), "{faults}");
}

#[test]
fn uplinks_are_taken_in_their_order() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid-uplinks.toml"));
    let uplinks = read(&text.unwrap()).unwrap().uplinks;
    let names: Vec<&str> = uplinks.iter().map(|uplink| uplink.name.as_str()).collect();
    assert_eq!(names, ["studio", "office-2", "sim"]);
    // What is said twice is one target.
    assert_eq!((uplinks[0].dns.len(), uplinks[0].targets.len()), (2, 2));
    assert!(uplinks[1].dns.is_empty() && !uplinks[1].metered && uplinks[2].metered);
    // The example's second uplink shows what is left out.
    let example = read(include_str!("../example.toml")).unwrap().uplinks;
    assert_eq!(example[1], uplinks[2]);
    assert!(read(&format!("version = {VERSION}\n")).unwrap().uplinks.is_empty());
}

#[test]
fn mounts_of_one_rendition_share_an_encoder() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid-second-box.toml"));
    let settings = read(&text.unwrap()).unwrap();
    assert_eq!((settings.mounts.len(), settings.encoders.len()), (3, 2));
    // The one mount that names a quality speaks for its rendition.
    assert_eq!(settings.encoders[0].1.quality, 5);
    assert_eq!(settings.mounts[1].path, "/");
    assert_eq!(settings.mounts[2].station.name, "Radio Example HE");
}

#[test]
fn a_pair_and_a_reservoir_cannot_share_a_rendition() {
    let mount = |role: &str, path: &str, more: &str| {
        format!(
            "[output.{role}]\nurl = \"http://a.example/{path}\"\ncodec = \"mp3\"\nbitrate = \"64k\"\n{more}"
        )
    };
    let alone = format!("[[output]]\nname = \"alone\"\n{}", mount("primary", "alone", "reservoir = true\n"));
    let pair =
        format!("[[output]]\nname = \"main\"\n{}{}", mount("primary", "a", ""), mount("fallback", "b", ""));
    assert!(read(&format!("version = 1\n{alone}")).unwrap().encoders[0].1.reservoir);
    for text in [format!("version = 1\n{alone}{pair}"), format!("version = 1\n{pair}{alone}")] {
        let faults = read(&text).unwrap_err().to_string();
        assert!(
            faults.contains("output.primary.reservoir: found") && faults.contains("main.primary"),
            "{faults}"
        );
    }
}

#[test]
fn a_recording_gets_the_encoder_it_needs() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid-recording.toml"))
            .unwrap();
    let own = read(&text).unwrap();
    let recording = own.recording.clone().unwrap();
    assert_eq!((recording.folder.to_str(), recording.days), (Some("BASE/rec"), 7));
    assert_eq!((recording.budget, recording.keep_free, recording.incidents), (1_500_000_000, 0, 20_000_000));
    assert_eq!(recording.rendition.bitrate.kbit(), 64);
    let kbits: Vec<u32> = own.encoders.iter().map(|(rendition, _)| rendition.bitrate.kbit()).collect();
    assert_eq!(kbits, [320, 64]);
    // What is sent needs none.
    let sent = text.replace("codec = \"mp3\"\nbitrate = \"64 kbit/s\"\n", "output = \"main\"\n");
    let sent = read(&sent).unwrap();
    assert_eq!(
        (sent.recording.clone().map(|it| it.rendition), sent.encoders.len()),
        (Some(sent.encoders[0].0), 1)
    );
    let shown = interrupted(&own, &sent);
    assert!(shown.recording && shown.is_none() && shown.to_string().contains("recording: begins anew"));
    for (wrong, why) in [
        (text.replace("codec = \"mp3\"\nbitrate = \"64", "bitrate = \"64"), "only one of codec and bitrate"),
        (
            text.replacen("codec = \"mp3\"\n", "codec = \"mp3\"\noutput = \"main\"\n", 1),
            "output beside codec",
        ),
        (text.replace("64 kbit/s", "63 kbit/s"), "MP3 does not have"),
        (text.replace("budget = \"1.5 GB\"\n", ""), "write budget"),
    ] {
        let faults = read(&wrong).unwrap_err().to_string();
        assert!(faults.contains(why), "{why}: {faults}");
    }
    assert!(read(&format!("version = {VERSION}\n")).unwrap().recording.is_none());
}

#[test]
fn a_rate_of_its_own_is_resampled_to() {
    let settings = read(include_str!("valid-ogg.toml")).unwrap();
    let rates: Vec<_> = settings.mounts.iter().map(|mount| mount.rendition.rate.hz()).collect();
    assert_eq!(rates, [48_000, 48_000, 48_000, 48_000, 44_100]);
    let programmes: Vec<_> =
        settings.encoders.iter().map(|(_, options)| options.programme.map(units::SampleRate::hz)).collect();
    let slow = Some(44_100);
    assert_eq!(programmes, [slow, slow, slow, slow, None]);
    assert_eq!(settings.input.map(|input| input.period), Some(1920), "an Opus page");
}

#[test]
fn there_is_an_end_to_outputs() {
    let output = |i: usize| {
        format!(
            "[[output]]\nname = \"o{i}\"\n[output.primary]\nurl = \"http://a.example/{i}\"\ncodec = \"mp3\"\n\
             bitrate = \"64k\"\n"
        )
    };
    let secrets: String = (0..33).map(|i| format!("[o{i}]\nprimary = \"x\"\n")).collect();
    let file = |count: usize| format!("version = 1\n{}", (0..count).map(output).collect::<String>());
    let read = |text: &str| parse(text, &secrets, &places(), &mut |_| Err(io::ErrorKind::NotFound.into()));
    assert_eq!(read(&file(32)).unwrap().mounts.len(), 32);
    assert!(read(&file(33)).unwrap_err().to_string().contains("33 outputs"));
}

#[test]
fn a_reload_says_what_it_interrupts() {
    let text = include_str!("../example.toml");
    let old = read(text).unwrap();
    assert!(interrupted(&old, &old).is_none());
    let louder = text.replace("quality = 3", "quality = 2").replace("192 kbit/s", "128 kbit/s");
    let shown = interrupted(&old, &read(&louder).unwrap()).to_string();
    assert!(shown.contains("main.primary: left alone"), "{shown}");
    assert!(shown.contains("main.fallback: interrupted (bitrate changed)"), "{shown}");
    assert!(shown.contains("mp3 320k 48000 Hz stereo: its encoder"), "{shown}");
    assert!(!shown.contains("input:"), "{shown}");
    let other =
        parse(text, "[main]\nprimary = \"other\"\nfallback = \"two\"\n", &places(), &mut |_| Ok(PEM.into()));
    let shown = interrupted(&old, &other.unwrap()).to_string();
    assert!(shown.contains("main.primary: interrupted (password changed)"), "{shown}");
    let steady = read(&text.replace("clock = \"report\"", "clock = \"resample\"")).unwrap();
    assert_eq!(steady.input.as_ref().map(|input| input.clock), Some(capture::Clock::Resample));
    assert!(interrupted(&old, &steady).input);
    let gone = interrupted(&old, &read(&format!("version = {VERSION}\n")).unwrap());
    assert!(gone.input && !gone.is_none());
    assert!(gone.to_string().contains("main.fallback: disconnected for good"));
}

#[test]
fn nothing_prints_a_password() {
    let settings = read(include_str!("../example.toml")).unwrap();
    assert!(settings.mounts.iter().all(|mount| mount.password.reveal().starts_with("password-of-")));
    assert!(!format!("{settings:?}").contains("password-of-"));
    let changed = interrupted(&settings, &read("").unwrap());
    assert!(!format!("{changed} {changed:?}").contains("password-of-"));
}

/// Whatever stands in the files, reading them ends with a verdict.
#[test]
fn torn_and_twisted_files_are_survived() {
    let text = include_str!("../example.toml");
    let mut verdicts = [0, 0];
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(7) {
        verdicts[usize::from(read(&text[..end]).is_ok())] += 1;
        let twisted = format!("{}\u{1}\"{}", &text[..end], &text[end..]);
        verdicts[usize::from(read(&twisted).is_ok())] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 0), "{verdicts:?}");
}

#[test]
fn of_endless_faults_the_first_are_told() {
    let lines = 90_000;
    let text: String = (0..lines).map(|i| format!("k{i} = 1\n")).collect();
    let refusals = read(&format!("version = 1\n{text}")).unwrap_err();
    assert_eq!(refusals.0.first().and_then(|refusal| refusal.line), Some(2));
    let more = lines - (refusals.0.len() - 1);
    assert!(refusals.to_string().ends_with(&format!("found {more} more faults; correct these first")));
}
