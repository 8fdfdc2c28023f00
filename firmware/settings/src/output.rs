//! `[[output]]`: which mounts there are and what each carries; what two mounts may not be to each other.

use std::path::Path;
use std::time::Duration;
use std::{fmt, io};

use units::snapshot::Role;
use units::{Channels, Codec, Rendition, SampleRate};

use delivery::config::{Method, MountConfig, MountId, OutputConfig, Server, ServerKind, Station};

use crate::document::{Table, Value};
use crate::input::InputTable;
use crate::secrets::Secrets;
use crate::{Places, address, agreement, hand_over, quantity, trust};

/// Outputs in one file; twice as many mounts.
const MOST_OUTPUTS: usize = 32;

/// What listeners get of an outage by default; delivery paces the catching up so that nobody's queue overflows.
const LONGEST_LAG: Duration = Duration::from_secs(15);

/// The backlog holds 60 s; what is left is room for the block that is being sent.
const MOST_LAG: Duration = Duration::from_secs(50);

/// Bitrates of MPEG-1 Layer III, kbit/s (ISO 11172-3, table of 2.4.2.3).
pub(crate) const MP3_KBIT: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];

/// What RFC 6716 (2.1.1) gives Opus, bits per second.
const OPUS_BITS: std::ops::RangeInclusive<u32> = 6_000..=510_000;

/// What reading an output takes beside its table.
pub(crate) struct Surroundings<'s> {
    pub(crate) places: &'s Places,
    pub(crate) station: Station,
    pub(crate) programme: InputTable,
    pub(crate) read: &'s mut dyn FnMut(&Path) -> io::Result<String>,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("station", &self.station).finish_non_exhaustive()
    }
}

/// All mounts, and the encoder of each rendition in order of first mention.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) mounts: Vec<MountConfig>,
    pub(crate) encoders: Vec<(Rendition, encode::Options)>,
    pub(crate) rules: Vec<OutputConfig>,
}

pub(crate) fn read(root: &Table<'_>, secrets: &mut Secrets<'_>, around: &mut Surroundings<'_>) -> Outputs {
    let mut tables =
        root.get("output").and_then(|value| value.list("[[output]], once per output")).unwrap_or_default();
    if let Some(first_beyond) = tables.get(MOST_OUTPUTS) {
        first_beyond.refuse(format!("{} outputs", tables.len()), format!("keep at most {MOST_OUTPUTS}"));
        tables.truncate(MOST_OUTPUTS);
    }
    let mut names: Vec<(&str, u32)> = Vec::new();
    let mut mounts = Vec::new();
    let mut rules = Vec::new();
    for value in &tables {
        let Some(table) = value.table("[[output]], once per output") else { continue };
        let name = table.need("name", "write name = \"main\"").and_then(|value| {
            let name = value.text("main").filter(|name| is_name(&value, name))?;
            if let Some((_, line)) = names.iter().find(|(other, _)| *other == name) {
                value.refuse_text(
                    name,
                    format!("choose another name: the output in line {line} has this one"),
                );
                return None;
            }
            names.push((name, value.line));
            Some(name)
        });
        let drafts = pair(&table, name.unwrap_or_default(), secrets, around);
        let rule = hand_over::read(&table, name.unwrap_or_default(), drafts.len() == 2);
        agreement::refuse_hand_over_of_ogg(&table, &rule, &drafts);
        rules.push(rule);
        mounts.extend(drafts);
        table.done();
    }
    agreement::refuse_shared_places(&mounts);
    let encoders = agreement::encoders(&mounts, around.programme.rate);
    Outputs { mounts: mounts.into_iter().filter_map(|mount| mount.config).collect(), encoders, rules }
}

pub(crate) fn is_name(value: &Value<'_>, name: &str) -> bool {
    let fits = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fits {
        value.refuse_text(name, "write a name of 1 to 32 characters from a-z, 0-9 and -");
    }
    fits
}

/// A mount with the places of what has to agree with other mounts.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) id: MountId,
    /// Line of the mount's table.
    pub(crate) line: u32,
    pub(crate) url: Option<Value<'a>>,
    pub(crate) codec: Option<(Value<'a>, Codec)>,
    pub(crate) channels: Stated<'a, Channels>,
    pub(crate) rate: Stated<'a, SampleRate>,
    pub(crate) quality: Option<(Value<'a>, u8)>,
    pub(crate) reservoir: Option<(Value<'a>, bool)>,
    /// Whether its output has two mounts.
    pub(crate) paired: bool,
    /// `None` if a part without which there is no mount is at fault.
    pub(crate) config: Option<MountConfig>,
}

/// What applies, and where it was said, if it was.
#[derive(Debug)]
pub(crate) struct Stated<'a, T> {
    pub(crate) at: Option<Value<'a>>,
    pub(crate) is: T,
}

fn pair<'a>(
    table: &Table<'a>,
    name: &str,
    secrets: &mut Secrets<'_>,
    around: &mut Surroundings<'_>,
) -> Vec<Draft<'a>> {
    let (primary, fallback) = (table.get("primary"), table.get("fallback"));
    let paired = primary.is_some() && fallback.is_some();
    if primary.is_none() && fallback.is_none() {
        table.refuse(
            "an output without a mount",
            "write [output.primary], [output.fallback] or both below it",
        );
    }
    let mut one = |value: Option<Value<'a>>, role: Role, rate: Option<SampleRate>| {
        let value = value?;
        let id = MountId { output: name.to_owned(), role };
        let table = value.table(&format!("[output.{role}]"))?;
        let draft = mount(&table, id, value.line, paired, rate, secrets, around);
        table.done();
        Some(draft)
    };
    let primary = one(primary, Role::Primary, None);
    // A fallback that says nothing has its primary's rate.
    let fallback = one(fallback, Role::Fallback, primary.as_ref().map(|primary| primary.rate.is));
    for draft in [&primary, &fallback].into_iter().flatten() {
        agreement::refuse_unlike_programme(draft, primary.as_ref(), &around.programme);
    }
    if let (Some(primary), Some(fallback)) = (&primary, &fallback) {
        agreement::refuse_mismatch(primary, fallback);
    }
    [primary, fallback].into_iter().flatten().collect()
}

fn mount<'a>(
    table: &Table<'a>,
    id: MountId,
    line: u32,
    paired: bool,
    usual_rate: Option<SampleRate>,
    secrets: &mut Secrets<'_>,
    around: &mut Surroundings<'_>,
) -> Draft<'a> {
    let kind = table
        .get("server")
        .and_then(|value| {
            value.one_of(&[
                ("icecast", ServerKind::Icecast),
                ("icecast-kh", ServerKind::IcecastKh),
                ("harbor", ServerKind::Harbor),
                ("shoutcast-1", ServerKind::Shoutcast1),
                ("generic", ServerKind::Generic),
            ])
        })
        .unwrap_or(ServerKind::Icecast);
    let method = table
        .get("method")
        .and_then(|value| value.one_of(&[("put", Method::Put), ("source", Method::Source)]))
        .unwrap_or_default();
    let url = table.need("url", "write url = \"http://stream.example.org:8000/live\"");
    let place = url.as_ref().and_then(|value| place(value, kind));
    let secure = place.as_ref().is_some_and(|place| place.secure);
    let tls = trust::read(table, place.is_some(), secure, around);
    let path = place.as_ref().map(|place| place.path.clone()).unwrap_or_default();
    let server = place.map(|place| Server { kind, host: place.host, port: place.port, tls, method });
    let user = table.get("user").map_or(Some("source"), |value| user(&value)).map(str::to_owned);
    let codec = table.need("codec", "write codec = \"mp3\"").and_then(|value| {
        let codec = value.one_of(&[
            ("mp3", Codec::Mp3),
            ("aac-lc", Codec::AacLc),
            ("he-aac", Codec::HeAac),
            ("he-aac-v2", Codec::HeAacV2),
            ("vorbis", Codec::Vorbis),
            ("opus", Codec::Opus),
        ])?;
        if codec.is_ogg() && kind == ServerKind::Shoutcast1 {
            value.refuse(
                format!("{codec} on a shoutcast-1 server"),
                "write \"mp3\" or an AAC: Shoutcast v1 takes no Ogg",
            );
            return None;
        }
        Some((value, codec))
    });
    let bitrate = table.need("bitrate", "write bitrate = \"320 kbit/s\"").and_then(|value| {
        let bitrate = value.parsed("320 kbit/s", quantity::bitrate)?;
        let mp3 = matches!(codec, Some((_, Codec::Mp3)));
        let listed = bitrate.bits().is_multiple_of(1000) && MP3_KBIT.contains(&bitrate.kbit());
        if mp3 && !listed {
            let all = MP3_KBIT.map(|kbit| kbit.to_string()).join(", ");
            value.refuse(format!("{bitrate}, which MP3 does not have"), format!("write one of {all} kbit/s"));
            return None;
        }
        if matches!(codec, Some((_, Codec::Opus))) && !OPUS_BITS.contains(&bitrate.bits()) {
            value.refuse(format!("{bitrate}, which Opus does not have"), "write 6 to 510 kbit/s");
            return None;
        }
        Some(bitrate)
    });
    let channels = table.get("channels");
    let stated = channels
        .as_ref()
        .and_then(|value| value.one_of(&[("stereo", Channels::Stereo), ("mono", Channels::Mono)]));
    let channels = Stated { at: channels, is: stated.unwrap_or_else(|| around.programme.channels()) };
    let rate = table.get("rate");
    let stated = rate.as_ref().and_then(|value| value.parsed("48 kHz", quantity::sample_rate));
    let opus = matches!(codec, Some((_, Codec::Opus)));
    let usual_rate = usual_rate.unwrap_or(if opus { SampleRate::Hz48000 } else { around.programme.rate });
    let rate = Stated { at: rate, is: stated.unwrap_or(usual_rate) };
    let quality = table.get("quality").and_then(|value| {
        let quality = value.whole(0, 9)? as u8;
        if quality == 8 {
            value.refuse("8", "write 7 or 9: LAME takes 8 for 7");
            return None;
        }
        Some((value, quality))
    });
    let reservoir = table.get("reservoir").and_then(|value| {
        let reservoir = value.flag()?;
        Some((value, reservoir))
    });
    refuse_misplaced_knobs(
        codec.as_ref().map(|(_, codec)| *codec),
        quality.as_ref(),
        reservoir.as_ref(),
        paired,
    );
    let station = station(table, &around.station, Some(id.role));
    let longest_lag = table
        .get("longest_lag")
        .and_then(|value| value.parsed("15 s", |text| quantity::span(text, Duration::from_secs(1), MOST_LAG)))
        .unwrap_or(LONGEST_LAG);
    let password =
        if id.output.is_empty() { units::Secret::default() } else { secrets.password(&id.output, id.role) };
    let config = (|| {
        let codec = codec.as_ref()?.1;
        let rendition = Rendition { codec, rate: rate.is, channels: channels.is, bitrate: bitrate? };
        let id = id.clone();
        Some(MountConfig {
            id,
            server: server?,
            path,
            user: user?,
            password,
            rendition,
            station,
            longest_lag,
        })
    })();
    Draft { id, line, url, codec, channels, rate, quality, reservoir, paired, config }
}

/// The address of a mount on a server of this kind; its path is what the core needs.
fn place(value: &Value<'_>, kind: ServerKind) -> Option<address::Address> {
    let mut place = match address::parse(value.text("http://stream.example.org:8000/live")?) {
        Ok(place) => place,
        Err(wrong) => {
            value.refuse(wrong.found, wrong.remedy);
            return None;
        }
    };
    let shown = crate::refusal::quoted(&place.with_path(&place.path));
    match kind {
        ServerKind::Shoutcast1 => {
            if !matches!(place.path.as_str(), "" | "/") {
                let right = place.with_path("");
                value.refuse(
                    format!("{shown}, with a mount"),
                    format!("write \"{right}\": Shoutcast v1 has no mounts"),
                );
                return None;
            }
            if place.port == u16::MAX {
                value.refuse(
                    shown,
                    "write the listeners' port: sources connect to the next one, and 65536 is none",
                );
                return None;
            }
            place.path = "/".into();
        }
        ServerKind::Icecast | ServerKind::IcecastKh | ServerKind::Harbor | ServerKind::Generic => {
            if matches!(place.path.as_str(), "" | "/") {
                let right = place.with_path("/live");
                value.refuse(format!("{shown}, without a mount"), format!("add it, as in \"{right}\""));
                return None;
            }
        }
    }
    Some(place)
}

/// A user name. Basic credentials end it at the first colon (RFC 7617, 2); what follows one may be a password.
fn user<'a>(value: &Value<'a>) -> Option<&'a str> {
    let user = value.text("source")?;
    if user.contains(':') {
        value.refuse(
            "a user name with a colon",
            "write the name alone; the password stands in the secrets file",
        );
        return None;
    }
    value.some_text("source")
}

/// What servers are told about the station: `defaults`, overridden by what this table says. `role` is the mount's;
/// `None` in `[station]`, which has no public flag.
pub(crate) fn station(table: &Table<'_>, defaults: &Station, role: Option<Role>) -> Station {
    let words = |key: &'static str, default: &str| {
        table.get(key).and_then(|value| value.line_of_text("Radio Example")).unwrap_or(default).to_owned()
    };
    let homepage = table.get("homepage").and_then(|value| {
        let text = value.line_of_text("https://radio.example.org")?;
        if !text.is_empty() && !text.starts_with("http://") && !text.starts_with("https://") {
            value.refuse_text(text, "write the whole address: \"https://radio.example.org\"");
            return None;
        }
        Some(text.to_owned())
    });
    let public = role.is_some_and(|role| {
        let Some(value) = table.get("public") else { return false };
        let public = value.flag().unwrap_or(false);
        if public && role == Role::Fallback {
            value.refuse(
                "true on a fallback",
                "write false: listeners belong on the primary and are moved by the server",
            );
        }
        public
    });
    Station {
        name: words("name", &defaults.name),
        description: words("description", &defaults.description),
        genre: words("genre", &defaults.genre),
        homepage: homepage.unwrap_or_else(|| defaults.homepage.clone()),
        public,
    }
}

fn refuse_misplaced_knobs(
    codec: Option<Codec>,
    quality: Option<&(Value<'_>, u8)>,
    reservoir: Option<&(Value<'_>, bool)>,
    paired: bool,
) {
    match codec {
        Some(codec @ (Codec::AacLc | Codec::HeAac | Codec::HeAacV2 | Codec::Vorbis | Codec::Opus)) => {
            for value in quality.map(|(value, _)| value).into_iter().chain(reservoir.map(|(value, _)| value))
            {
                value.refuse(format!("it beside codec {codec}"), "leave it out: only mp3 has it");
            }
        }
        Some(Codec::Mp3) | None => {
            if let Some((value, true)) = reservoir
                && paired
            {
                let remedy = "write false: with a fallback, packets must stand alone or listeners cannot be moved without a hole";
                value.refuse("true in an output with primary and fallback", remedy);
            }
        }
    }
}
