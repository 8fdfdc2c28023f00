//! `[input]`: where the sound comes from, at which rate, and which of its channels are the programme.

use units::{Channels, Dbfs, SampleRate};

use crate::document::{Table, Value};
use crate::{Places, quantity};

/// What `[input]` says; the period follows from the first rendition.
#[derive(Clone, Debug)]
pub(crate) struct InputTable {
    /// `None` without `[input]`: the box then runs without sound.
    pub(crate) input: Option<capture::Input>,
    pub(crate) rate: SampleRate,
    pub(crate) pick: capture::Pick,
    pub(crate) clock: capture::Clock,
}

impl InputTable {
    pub(crate) fn channels(&self) -> Channels {
        self.pick.channels()
    }
}

/// Lowest level of a tone that is still a tone and not silence, in dBFS.
const LEAST_TONE: f32 = -80.0;

pub(crate) fn read(root: &Table<'_>, places: &Places) -> InputTable {
    // 48 kHz: every MP3 packet of a rendition then has the same length.
    let absent = InputTable {
        input: None,
        rate: SampleRate::Hz48000,
        pick: capture::Pick::Stereo,
        clock: capture::Clock::Report,
    };
    let Some(table) = root.get("input").and_then(|value| value.table("[input]")) else { return absent };
    let (alsa, file, tone) = (table.get("alsa"), table.get("file"), table.get("tone"));
    let (format, level) = (table.get("format"), table.get("level"));
    let rate = table.get("rate").and_then(|value| value.parsed("48 kHz", quantity::sample_rate));
    let pick = table.get("channels").and_then(|value| {
        value.one_of(&[
            ("stereo", capture::Pick::Stereo),
            ("swapped", capture::Pick::Swapped),
            ("left", capture::Pick::Left),
            ("right", capture::Pick::Right),
            ("mix", capture::Pick::MonoMix),
            ("mono", capture::Pick::Mono),
        ])
    });
    let clock = table.get("clock");
    let named: Vec<&str> = [("alsa", &alsa), ("file", &file), ("tone", &tone)]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|_| name))
        .collect();
    let one = "write exactly one of alsa = \"hw:CARD=...\", file = \"...\", tone = \"1000 Hz\"";
    match named.len() {
        0 => table.refuse("no source of sound", one),
        1 => {}
        _ => table.refuse(format!("{} together", named.join(" and ")), one),
    }
    let alsa_format = sample_format(format.as_ref(), alsa.is_some());
    let clock = clock_of(clock.as_ref(), alsa.is_some());
    let tone_level =
        level.as_ref().and_then(|value| value.parsed("-20 dBFS", |text| quantity::level(text, LEAST_TONE)));
    if let (Some(level), None) = (&level, &tone) {
        level.refuse("a level without a tone", "leave it out: a line or a file has its own level");
    }
    let input = if let Some(value) = &alsa {
        device(value).map(|device| capture::Input::Alsa { device, format: alsa_format })
    } else if let Some(value) = &file {
        value.some_text("programme.flac").map(|path| capture::Input::File { path: places.base.join(path) })
    } else {
        tone.and_then(|value| value.parsed("1000 Hz", quantity::tone)).map(|hz| {
            // 20 dB under full scale: the usual line-up level, far from clipping.
            capture::Input::Tone { hz, level: tone_level.unwrap_or_else(|| Dbfs::new(-20.0)) }
        })
    };
    table.done();
    InputTable { input, rate: rate.unwrap_or(absent.rate), pick: pick.unwrap_or(absent.pick), clock }
}

pub(crate) fn sample_format(format: Option<&Value<'_>>, alsa: bool) -> capture::SampleFormat {
    let Some(value) = format else { return capture::SampleFormat::Auto };
    let format = value
        .one_of(&[
            ("auto", capture::SampleFormat::Auto),
            ("s16", capture::SampleFormat::S16),
            ("s24", capture::SampleFormat::S24),
            ("s32", capture::SampleFormat::S32),
        ])
        .unwrap_or(capture::SampleFormat::Auto);
    if !alsa && format != capture::SampleFormat::Auto {
        value.refuse("a sample format without alsa", "leave it out: files and tones have their own");
    }
    format
}

fn clock_of(clock: Option<&Value<'_>>, alsa: bool) -> capture::Clock {
    let Some(value) = clock else { return capture::Clock::Report };
    let clock = value
        .one_of(&[("report", capture::Clock::Report), ("resample", capture::Clock::Resample)])
        .unwrap_or_default();
    if !alsa && clock != capture::Clock::Report {
        value.refuse("a card's clock without alsa", "leave it out: files and tones keep the system's time");
    }
    clock
}

/// A card by its id or USB path, or any other PCM. An index is refused: it names another card after the next boot.
pub(crate) fn device(value: &Value<'_>) -> Option<capture::Device> {
    let name = value.some_text("hw:CARD=Device")?;
    if let Some(path) = name.strip_prefix("usb:") {
        if is_usb_path(path) {
            return Some(capture::Device::UsbPath(path.to_owned()));
        }
        value.refuse_text(
            name,
            "write the USB port as the kernel does: \"usb:1-1.2\" (bus, then port by port)",
        );
        return None;
    }
    let card = ["hw:", "plughw:"].into_iter().find_map(|kind| name.strip_prefix(kind));
    if let Some(card) = card {
        let card = card.split(',').next().unwrap_or_default();
        let card = card.strip_prefix("CARD=").unwrap_or(card);
        if card.is_empty() || card.bytes().all(|byte| byte.is_ascii_digit()) {
            let remedy = "name the card by its id, \"hw:CARD=Device\" (in brackets in /proc/asound/cards), \
                          or by its port, \"usb:1-1.2\": numbers change from boot to boot";
            value.refuse_text(name, remedy);
            return None;
        }
    }
    Some(capture::Device::Pcm(name.to_owned()))
}

/// `BUS-PORT[.PORT...]`, as in `/sys/bus/usb/devices`.
fn is_usb_path(path: &str) -> bool {
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    path.split_once('-').is_some_and(|(bus, ports)| number(bus) && ports.split('.').all(number))
}
