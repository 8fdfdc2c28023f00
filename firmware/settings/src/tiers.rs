//! `[programme]`, `[[backup]]` and `[emergency]`: what is put on air when the input fails, and how it is left again.

use std::path::PathBuf;
use std::time::Duration;

use delivery::config::Trust;
use programme::tiers::{GoBack, Policy, TiersConfig};

use crate::address;
use crate::document::{Table, Value};
use crate::input::{device, sample_format};
use crate::output::{Surroundings, is_name};
use crate::{quantity, trust};

/// What may be on air in place of the input, and when.
#[derive(Clone, PartialEq, Debug)]
pub struct TierSettings {
    /// The rules; as many inputs as there are, the first one included.
    pub rules: TiersConfig,
    /// Further inputs, best first.
    pub backups: Vec<Backup>,
    /// Emergency audio; without files there is none.
    pub emergency: Emergency,
}

/// A further input.
#[derive(Clone, PartialEq, Debug)]
pub struct Backup {
    /// What people call it.
    pub name: String,
    /// Where it comes from.
    pub source: BackupSource,
    /// Which of its channels are the programme.
    pub pick: capture::Pick,
}

/// Where a further input comes from.
#[derive(Clone, PartialEq, Debug)]
pub enum BackupSource {
    /// Another sound card, a file or a tone.
    Local(capture::Input),
    /// A network stream.
    Stream(StreamAddress),
}

/// Where a network stream is heard.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamAddress {
    /// As people read it: without secrets.
    pub url: String,
    /// Name or address of the server.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What is asked for there.
    pub path: String,
    /// How an https server is judged; `None` for http.
    pub trust: Option<Trust>,
}

/// Emergency audio on the box.
#[derive(Clone, PartialEq, Debug)]
pub struct Emergency {
    /// The files, in the order in which they are played.
    pub files: Vec<EmergencyFile>,
    /// Silence between two of them.
    pub pause: Duration,
    /// Whether they are made as loud as the programme has been.
    pub match_loudness: bool,
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmergencyFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What listeners see; its own tags if `None`.
    pub title: Option<String>,
}

/// Where a stream that a person names is heard, judged by the system's roots.
///
/// # Errors
/// What is wrong with the address, and what would be right.
pub fn stream_address(url: &str) -> Result<StreamAddress, String> {
    let address = address::parse(url).map_err(|wrong| format!("found {}; {}", wrong.found, wrong.remedy))?;
    let trust = address.secure.then_some(Trust::System);
    Ok(of(address, trust))
}

fn of(address: address::Address, trust: Option<Trust>) -> StreamAddress {
    let path = if address.path.is_empty() { "/".to_owned() } else { address.path.clone() };
    let url = address.with_path(&path);
    StreamAddress { url, host: address.host, port: address.port, path, trust }
}

/// What is used for names of the tiers that every box has.
const TAKEN: [&str; 3] = ["line-in", "emergency", "floor"];

const SETTLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
const CROSSFADE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(30));
const REMINDER: (Duration, Duration) = (Duration::from_secs(60), Duration::from_hours(24));
const AT_LATEST: (Duration, Duration) = (Duration::ZERO, Duration::from_hours(2));
const MOST_FILES: usize = 32;

pub(crate) fn read(root: &Table<'_>, around: &mut Surroundings<'_>) -> TierSettings {
    let mut backups = Vec::new();
    let mut backs = Vec::new();
    let tables = root.get("backup").and_then(|value| value.list("[[backup]], once per further input"));
    let tables = tables.unwrap_or_default();
    if let Some(beyond) = tables.get(TiersConfig::MOST_INPUTS - 1) {
        let remedy = format!("keep at most {}", TiersConfig::MOST_INPUTS - 1);
        beyond.refuse(format!("{} backups", tables.len()), remedy);
    }
    let mut names: Vec<(String, u32)> = Vec::new();
    for value in tables.iter().take(TiersConfig::MOST_INPUTS - 1) {
        let Some(table) = value.table("[[backup]], once per further input") else { continue };
        let back = go_back(&table, false);
        if let Some(backup) = backup(&table, around, &mut names) {
            backups.push(backup);
            backs.push(back);
        }
        table.done();
    }
    let mut rules = TiersConfig::new(1 + backups.len());
    for (rule, back) in rules.inputs[1..].iter_mut().zip(backs) {
        *rule = back.unwrap_or(*rule);
    }
    if let Some(table) = root.get("programme").and_then(|value| value.table("[programme]")) {
        programme(&table, &mut rules);
        table.done();
    }
    let mut emergency = Emergency { files: Vec::new(), pause: Duration::ZERO, match_loudness: true };
    if let Some(table) = root.get("emergency").and_then(|value| value.table("[emergency]")) {
        rules.files = go_back(&table, true).unwrap_or(rules.files);
        self::emergency(&table, &mut emergency, around);
        table.done();
    }
    TierSettings { rules, backups, emergency }
}

fn programme(table: &Table<'_>, rules: &mut TiersConfig) {
    let back_after = span(table, "take_up", "30 s", SETTLE).unwrap_or(Duration::from_secs(30));
    if let Some(value) = table.get("on_silence") {
        let policy = value.one_of(&[
            ("next-tier", Policy::NextTier),
            ("drop-primary", Policy::DropPrimary { back_after }),
            ("alarm-only", Policy::AlarmOnly),
        ]);
        rules.policy = policy.unwrap_or(rules.policy);
    }
    rules.crossfade = span(table, "crossfade", "1 s", CROSSFADE).unwrap_or(rules.crossfade);
    rules.reminder = span(table, "remind", "15 min", REMINDER).unwrap_or(rules.reminder);
}

/// `back`, `settle` and, for files, `at_latest`.
fn go_back(table: &Table<'_>, files: bool) -> Option<GoBack> {
    #[derive(Clone, Copy)]
    enum Manner {
        Auto,
        SongEnd,
        Manual,
    }
    let words: &[(&'static str, Manner)] = if files {
        &[("auto", Manner::Auto), ("song-end", Manner::SongEnd), ("manual", Manner::Manual)]
    } else {
        &[("auto", Manner::Auto), ("manual", Manner::Manual)]
    };
    let manner = table.get("back").map(|value| value.one_of(words));
    let settle = span(table, "settle", "10 s", SETTLE);
    let at_latest = if files { span(table, "at_latest", "10 min", AT_LATEST) } else { None };
    if manner.is_none() && settle.is_none() && at_latest.is_none() {
        return None;
    }
    let good_for = settle.unwrap_or(Duration::from_secs(10));
    Some(match manner.flatten().unwrap_or(Manner::Auto) {
        Manner::Auto => GoBack::After(good_for),
        Manner::SongEnd => {
            GoBack::AtSongEnd { good_for, at_latest: at_latest.unwrap_or(Duration::from_mins(10)) }
        }
        Manner::Manual => GoBack::Manual,
    })
}

fn backup(
    table: &Table<'_>,
    around: &mut Surroundings<'_>,
    names: &mut Vec<(String, u32)>,
) -> Option<Backup> {
    let name = table.need("name", "write name = \"studio-b\"").and_then(|value| {
        let name = value.text("studio-b").filter(|name| is_name(&value, name))?;
        if let Some((_, line)) = names.iter().find(|(other, _)| other == name) {
            value.refuse_text(name, format!("choose another name: the backup in line {line} has this one"));
            return None;
        }
        if TAKEN.contains(&name) {
            value.refuse_text(name, "choose another name: every box has a tier of this one");
            return None;
        }
        names.push((name.to_owned(), value.line));
        Some(name.to_owned())
    });
    let (alsa, file, stream) = (table.get("alsa"), table.get("file"), table.get("stream"));
    let format = sample_format(table.get("format").as_ref(), alsa.is_some());
    let stereo = around.programme.channels() == units::Channels::Stereo;
    let pick = table.get("channels").and_then(|value| {
        if stereo {
            value.one_of(&[("stereo", capture::Pick::Stereo), ("swapped", capture::Pick::Swapped)])
        } else {
            value.one_of(&[
                ("mix", capture::Pick::MonoMix),
                ("left", capture::Pick::Left),
                ("right", capture::Pick::Right),
                ("mono", capture::Pick::Mono),
            ])
        }
    });
    let usual = if stereo { capture::Pick::Stereo } else { capture::Pick::MonoMix };
    let secure =
        stream.as_ref().is_some_and(|value| value.text("").is_some_and(|url| url.starts_with("https")));
    let trust = trust::read(table, stream.is_some(), secure, around);
    let named = [&alsa, &file, &stream].into_iter().filter(|value| value.is_some()).count();
    if named != 1 {
        let found = if named == 0 { "no source of sound" } else { "several sources of sound" };
        table.refuse(
            found,
            "write exactly one of alsa = \"hw:CARD=...\", stream = \"http://...\", file = \"...\"",
        );
        return None;
    }
    let source = if let Some(value) = &alsa {
        BackupSource::Local(capture::Input::Alsa { device: device(value)?, format })
    } else if let Some(value) = &file {
        BackupSource::Local(capture::Input::File {
            path: around.places.base.join(value.some_text("b.flac")?),
        })
    } else {
        BackupSource::Stream(address(stream.as_ref()?, trust)?)
    };
    Some(Backup { name: name?, source, pick: pick.unwrap_or(usual) })
}

fn address(value: &Value<'_>, trust: Option<Trust>) -> Option<StreamAddress> {
    let text = value.some_text("http://studio.example.org:8000/feed")?;
    match address::parse(text) {
        Ok(address) => Some(of(address, trust)),
        Err(wrong) => {
            value.refuse(wrong.found, wrong.remedy);
            None
        }
    }
}

fn emergency(table: &Table<'_>, emergency: &mut Emergency, around: &Surroundings<'_>) {
    let example = "files = [\"emergency.flac\"]";
    let files = table.get("files").and_then(|value| value.list(example)).unwrap_or_default();
    if let Some(beyond) = files.get(MOST_FILES) {
        beyond.refuse(format!("{} files", files.len()), format!("keep at most {MOST_FILES}"));
    }
    for value in files.iter().take(MOST_FILES) {
        let (path, title) = if value.is_text() {
            (value.some_text("emergency.flac"), None)
        } else {
            let Some(table) = value.table("{ file = \"emergency.flac\", title = \"Back in a moment\" }")
            else {
                continue;
            };
            let path = table.need("file", "write file = \"emergency.flac\"");
            let path = path.and_then(|value| value.some_text("emergency.flac"));
            let title = table.get("title").and_then(|value| value.some_text("Back in a moment"));
            table.done();
            (path, title)
        };
        if let Some(path) = path {
            let (path, title) = (around.places.base.join(path), title.map(str::to_owned));
            emergency.files.push(EmergencyFile { path, title });
        }
    }
    emergency.pause =
        span(table, "pause", "2 s", (Duration::ZERO, Duration::from_secs(10))).unwrap_or_default();
    let matched = table.get("match_loudness").and_then(|value| value.flag());
    emergency.match_loudness = matched.unwrap_or(emergency.match_loudness);
}

fn span(
    table: &Table<'_>,
    key: &'static str,
    example: &str,
    (least, most): (Duration, Duration),
) -> Option<Duration> {
    table.get(key).and_then(|value| value.parsed(example, |text| quantity::span(text, least, most)))
}
