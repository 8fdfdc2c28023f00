//! `[recording]`: the log recording, off without this table.

use archive::Config;
use units::snapshot::Role;
use units::{Channels, Codec, Rendition};

use crate::document::{Table, Value};
use crate::input::InputTable;
use crate::output::{MP3_KBIT, Outputs};
use crate::{Places, quantity};

/// Six weeks: what regulators and lawyers ask for most often.
const DAYS: u32 = 42;

/// Ten years.
const MOST_DAYS: u32 = 3660;

/// Under this nothing would be left after the oldest goes: two minutes at 320 kbit/s.
const LEAST_BUDGET: u64 = 10_000_000;

/// What logs, updates and the rest of the box may need meanwhile.
const KEEP_FREE: u64 = 500_000_000;

/// Half a minute takes 1.2 MB at 320 kbit/s.
const INCIDENTS: u64 = 200_000_000;
const LEAST_INCIDENTS: u64 = 5_000_000;

const FOLDER: &str = "/var/lib/mainstay/recordings";

const ONE: &str =
    "write output = \"...\" for what is sent there, or codec and bitrate for a rendition of its own";

/// What is to be recorded. A rendition of its own gets an encoder.
pub(crate) fn read(
    root: &Table<'_>,
    places: &Places,
    programme: &InputTable,
    outputs: &mut Outputs,
) -> Option<Config> {
    let table = root.get("recording")?.table("[recording]")?;
    let folder = table.get("folder").and_then(|value| value.some_text(FOLDER)).unwrap_or(FOLDER);
    let days = table.get("days").and_then(|value| value.whole(1, MOST_DAYS)).unwrap_or(DAYS);
    let size = |value: Option<Value<'_>>, example, least| {
        value.and_then(|value| value.parsed(example, |text| quantity::size(text, example, least)))
    };
    let budget = size(table.need("budget", "write budget = \"40 GB\""), "40 GB", LEAST_BUDGET);
    let keep_free = size(table.get("keep_free"), "500 MB", 0).unwrap_or(KEEP_FREE);
    let incidents = size(table.get("incidents"), "200 MB", LEAST_INCIDENTS).unwrap_or(INCIDENTS);
    let (output, codec, bitrate) = (table.get("output"), table.get("codec"), table.get("bitrate"));
    let rendition = match (&output, &codec, &bitrate) {
        (Some(output), None, None) => as_sent(output, outputs),
        (None, Some(codec), Some(bitrate)) => own(codec, bitrate, programme),
        (None, None, None) => {
            table.refuse("nothing to record", ONE);
            None
        }
        (Some(_), _, _) => {
            table.refuse("output beside codec or bitrate", ONE);
            None
        }
        (None, Some(_), None) | (None, None, Some(_)) => {
            table.refuse("only one of codec and bitrate", ONE);
            None
        }
    };
    table.done();
    let (rendition, budget) = (rendition?, budget?);
    if outputs.encoders.iter().all(|(known, _)| *known != rendition) {
        outputs.encoders.push((rendition, encode::Options::default()));
    }
    let folder = places.base.join(folder);
    Some(Config { folder, rendition, days, budget, keep_free, incidents })
}

/// What an output sends: its primary's rendition, or its fallback's where it has no primary.
fn as_sent(value: &Value<'_>, outputs: &Outputs) -> Option<Rendition> {
    let name = value.text("main")?;
    let of = |role| {
        let mut mounts = outputs.mounts.iter();
        mounts.find(|mount| mount.id.output == name && mount.id.role == role)
    };
    let Some(mount) = of(Role::Primary).or_else(|| of(Role::Fallback)) else {
        let mut names: Vec<&str> = outputs.mounts.iter().map(|mount| mount.id.output.as_str()).collect();
        names.dedup();
        value.refuse_text(name, format!("write the name of an output: {}", names.join(", ")));
        return None;
    };
    if archive::ending(&mount.rendition).is_none() {
        let found = format!("{name}, which sends {}", mount.rendition.codec);
        value.refuse(
            found,
            "record codec = \"mp3\" with a bitrate: only MP3 and AAC can be cut at any packet",
        );
        return None;
    }
    Some(mount.rendition)
}

/// A rendition that is encoded for the recording only.
fn own(codec: &Value<'_>, bitrate: &Value<'_>, programme: &InputTable) -> Option<Rendition> {
    let words = [
        ("mp3", Codec::Mp3),
        ("aac-lc", Codec::AacLc),
        ("he-aac", Codec::HeAac),
        ("he-aac-v2", Codec::HeAacV2),
    ];
    let (kind, rate) = (codec.one_of(&words), bitrate.parsed("64 kbit/s", quantity::bitrate));
    let (kind, rate) = (kind?, rate?);
    let listed = rate.bits().is_multiple_of(1000) && MP3_KBIT.contains(&rate.kbit());
    if kind == Codec::Mp3 && !listed {
        let all = MP3_KBIT.map(|kbit| kbit.to_string()).join(", ");
        bitrate.refuse(format!("{rate}, which MP3 does not have"), format!("write one of {all} kbit/s"));
        return None;
    }
    let channels = programme.channels();
    if kind == Codec::HeAacV2 && channels == Channels::Mono {
        codec.refuse("he-aac-v2 in mono", "write \"he-aac\": version 2 codes the difference of two channels");
        return None;
    }
    Some(Rendition { codec: kind, rate: programme.rate, channels, bitrate: rate })
}
