//! What mounts may not be to each other, to the programme, and to the encoder they share.

use delivery::config::{OutputConfig, Standby};
use units::{Channels, Codec, Rendition, SampleRate};

use crate::document::Table;
use crate::input::InputTable;
use crate::output::Draft;

/// The channels of every mount are the programme's; a rate of its own is resampled to, except that Opus has but one. Where a
/// fallback differs from its primary, that is the fault to be told, by [`refuse_mismatch`].
pub(crate) fn refuse_unlike_programme(
    draft: &Draft<'_>,
    primary: Option<&Draft<'_>>,
    programme: &InputTable,
) {
    if let Some(value) = &draft.channels.at
        && draft.channels.is != programme.channels()
        && primary.is_none_or(|primary| primary.channels.is == draft.channels.is)
    {
        value.refuse(
            format!("{}, while the programme is {}", draft.channels.is, programme.channels()),
            "write the programme's, or choose other input.channels: one format for all mounts so far",
        );
    }
    if let Some(value) = &draft.rate.at
        && matches!(draft.codec, Some((_, Codec::Opus)))
        && draft.rate.is != SampleRate::Hz48000
    {
        value.refuse(
            format!("{}, which Opus does not have", draft.rate.is),
            "write \"48 kHz\", or leave it out",
        );
    }
    if let Some((value, Codec::HeAacV2)) = &draft.codec
        && draft.channels.is == Channels::Mono
    {
        value.refuse("he-aac-v2 in mono", "write \"he-aac\": version 2 codes the difference of two channels");
    }
}

/// Listeners can be moved from a primary to its fallback only where both have one codec, rate and channel count.
pub(crate) fn refuse_mismatch(primary: &Draft<'_>, fallback: &Draft<'_>) {
    let remedy = "write the same in both: a fallback has its primary's codec, rate and channels, \
                  or players fall silent when they are moved";
    if let (Some((_, ours)), Some((value, theirs))) = (&primary.codec, &fallback.codec)
        && ours != theirs
    {
        value.refuse(format!("{theirs}, while the primary has {ours}"), remedy);
    }
    if let Some(value) = &fallback.channels.at
        && fallback.channels.is != primary.channels.is
    {
        value.refuse(
            format!("{}, while the primary is {}", fallback.channels.is, primary.channels.is),
            remedy,
        );
    }
    if let Some(value) = &fallback.rate.at
        && fallback.rate.is != primary.rate.is
    {
        value.refuse(format!("{}, while the primary has {}", fallback.rate.is, primary.rate.is), remedy);
    }
}

/// Ogg is not handed over: the stream would have to go on in another one, and players stop where two are chained in mid-sound.
pub(crate) fn refuse_hand_over_of_ogg(output: &Table<'_>, rule: &OutputConfig, mounts: &[Draft<'_>]) {
    let codec = mounts.iter().find_map(|mount| mount.codec.as_ref()).map(|(_, codec)| *codec);
    let Some(codec) = codec.filter(|codec| codec.is_ogg()) else { return };
    if rule.standby == Standby::Held
        && let Some(value) = output.get("standby")
    {
        value.refuse(
            format!("held beside codec {codec}"),
            "write \"auto\", \"full\" or \"cold\": listeners of Ogg are moved by the server alone",
        );
    }
    if rule.proven.is_some()
        && mounts.len() == 2
        && let Some(value) = output.get("proven")
    {
        value.refuse(
            format!("it beside codec {codec}"),
            "leave it out: listeners of Ogg are moved by the server alone",
        );
    }
}

/// Two sources on one mount would evict each other for ever.
pub(crate) fn refuse_shared_places(mounts: &[Draft<'_>]) {
    for (i, later) in mounts.iter().enumerate() {
        let (Some(config), Some(url)) = (&later.config, &later.url) else { continue };
        let taken = mounts[..i].iter().find(|earlier| {
            earlier.config.as_ref().is_some_and(|other| {
                other.path == config.path
                    && other.server.host == config.server.host
                    && other.server.port == config.server.port
            })
        });
        if let Some(earlier) = taken {
            let line = earlier.url.as_ref().map_or(earlier.line, |url| url.line);
            url.refuse(
                format!("the same mount as {} in line {line}", earlier.id),
                "give each its own: a mount takes one source",
            );
        }
    }
}

/// One encoder a rendition, in order of first mention. A mount that says nothing takes what another one of its
/// rendition says; two that say different things are refused.
pub(crate) fn encoders(mounts: &[Draft<'_>], programme: SampleRate) -> Vec<(Rendition, encode::Options)> {
    let mut encoders: Vec<(Rendition, encode::Options)> = Vec::new();
    for rendition in mounts.iter().filter_map(|mount| mount.config.as_ref()).map(|config| config.rendition) {
        if encoders.iter().all(|(known, _)| *known != rendition) {
            let sharing: Vec<&Draft<'_>> = mounts
                .iter()
                .filter(|mount| mount.config.as_ref().is_some_and(|config| config.rendition == rendition))
                .collect();
            let programme = (rendition.rate != programme).then_some(programme);
            let options = encode::Options { programme, ..options(&sharing, rendition) };
            encoders.push((rendition, options));
        }
    }
    encoders
}

/// What the mounts of one rendition want of their encoder.
fn options(sharing: &[&Draft<'_>], rendition: Rendition) -> encode::Options {
    let share = format!("mounts of one rendition ({rendition}) share its packets");
    let mut options = encode::Options::default();
    let mut said = sharing.iter().filter_map(|mount| Some((mount, mount.quality.as_ref()?)));
    if let Some((first, (first_value, wanted))) = said.next() {
        options.quality = *wanted;
        for (mount, (value, quality)) in said.filter(|(_, (_, quality))| quality != wanted) {
            let found = format!(
                "{quality} ({}), while there is quality {wanted} ({}, line {})",
                mount.id, first.id, first_value.line
            );
            value.refuse(found, format!("write the same in both: {share}"));
        }
    }
    let mut said = sharing.iter().filter_map(|mount| Some((mount, mount.reservoir.as_ref()?)));
    // A pair's packets stand alone whether it says so or not; one that says otherwise was refused already.
    if let Some(pair) = sharing.iter().find(|mount| mount.paired) {
        for (mount, (value, _)) in said.filter(|(mount, (_, reservoir))| *reservoir && !mount.paired) {
            let found =
                format!("true ({}), while {} in line {} is one of a pair", mount.id, pair.id, pair.line);
            value
                .refuse(found, format!("write false, or another bitrate: {share}, and a pair's stand alone"));
        }
    } else if let Some((first, (first_value, wanted))) = said.next() {
        options.reservoir = *wanted;
        for (mount, (value, reservoir)) in said.filter(|(_, (_, reservoir))| reservoir != wanted) {
            let found = format!(
                "{reservoir} ({}), while there is reservoir = {wanted} ({}, line {})",
                mount.id, first.id, first_value.line
            );
            value.refuse(found, format!("write the same in both: {share}"));
        }
    }
    options
}
