//! A file as a row of decoded packets, whatever it is made of.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_VORBIS,
};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::common::Limit;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::{MetadataOptions, MetadataRevision, StandardTag};
use symphonia::core::packet::Packet;

use crate::aac::{self, Fdk};
use crate::convert::{Role, Shape};
use crate::error::Error;
use crate::format::{Container, Format, Profile};
use crate::opus::{self, Opus};
use crate::sniff::{self, Content};

/// One reading of a file, from its first frame to its last.
pub(crate) struct Decoding {
    path: PathBuf,
    reader: Box<dyn FormatReader>,
    track: u32,
    codec: Codec,
    shape: Shape,
    format: Format,
    /// Frames that the file says it has.
    declared: Option<u64>,
    /// Channels in the file; more than those of `shape` where the decoder mixes.
    channels: u16,
    /// Packets that could not be decoded, and all.
    damaged: u64,
    packets: u64,
    last_damage: String,
    /// Frames handed on.
    given: u64,
    at_end: bool,
}

enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Fdk(Fdk, aac::Spec),
    Opus(Box<Opus>),
}

/// Title and artist, as the file's tags have them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tags {
    pub(crate) title: Option<String>,
    pub(crate) artist: Option<String>,
}

/// Rates that files may have, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 7_350..=384_000;

/// Missing sound that is no truncation: lengths in headers are rounded, and encoders count their delay or do not.
const TOLERATED_MS: u64 = 100;

/// Longest tag in bytes.
const TAG: usize = 1_024;

impl Decoding {
    /// Opens a file and finds out what it is. Nothing is decoded yet, but for the first packets of AAC.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let (mut file, content) = sniff::open(path)?;
        // Without such a header the length is a guess.
        let mut exact = true;
        if content == Content::Mpeg {
            exact = sniff::says_its_length(&mut file).map_err(Error::unreadable(path))?;
        } else if content == Content::Adts {
            exact = false;
        }
        if content == Content::Mp4 && sniff::mp4_breaks_off(&mut file).map_err(Error::unreadable(path))? {
            return Err(beginning(path, assumed(content)));
        }
        let probed = if matches!(content, Content::Adts | Content::Mp4) {
            let again = file.try_clone().map_err(Error::unreadable(path))?;
            let found = probe_aac(path, content, again)?;
            file.rewind().map_err(Error::unreadable(path))?;
            found
        } else {
            None
        };
        let reader = demux(path, content, file)?;
        let (track, parameters, length) = track(path, &*reader)?;
        let (codec, shape, format) = decoder(path, content, &parameters, probed, exact)?;
        if !RATES.contains(&shape.hz) {
            let what = format!("sound of {} Hz", shape.hz);
            return Err(Error::Unsupported { path: path.to_owned(), what });
        }
        // AAC's length is counted in the core's frames, half as many with SBR.
        let declared = length.filter(|_| exact).map(|frames| match parameters.sample_rate {
            Some(hz) if hz > 0 => (u128::from(frames) * u128::from(shape.hz) / u128::from(hz)) as u64,
            Some(_) | None => frames,
        });
        let channels = probed.map_or(0, |(_, spec)| spec.coded).max(shape.roles.len()) as u16;
        Ok(Self {
            path: path.to_owned(),
            reader,
            track,
            codec,
            shape,
            format,
            declared,
            channels,
            damaged: 0,
            packets: 0,
            last_damage: String::new(),
            given: 0,
            at_end: false,
        })
    }

    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Frames that the file says it has, where it does not merely guess.
    pub(crate) const fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Channels in the file.
    pub(crate) const fn channels(&self) -> u16 {
        self.channels
    }

    /// Packets that could not be decoded.
    pub(crate) const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Title and artist, from the newest tags.
    pub(crate) fn tags(&mut self) -> Tags {
        let mut tags = Tags::default();
        let mut metadata = self.reader.metadata();
        loop {
            if let Some(revision) = metadata.current() {
                tags.take(revision);
            }
            if metadata.pop().is_none() {
                return tags;
            }
        }
    }

    /// Appends the next packet's samples, interleaved in the order of [`Shape::roles`]. False at the end of the file,
    /// which was read whole then.
    pub(crate) fn next(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        while !self.at_end {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => break,
                Err(error) => return Err(self.broken(error)),
            };
            let before = out.len();
            self.packets += 1;
            if let Err(what) = self.decode(&packet, out) {
                out.truncate(before);
                self.damaged += 1;
                self.last_damage = format!("at {:.1} s: {what}", self.seconds(self.given));
                // As much as a scratch may cost: ten packets, and one in a hundred.
                if self.damaged > 10.max(self.packets / 100) {
                    return Err(self.damage(format!("{} packets, {}", self.damaged, self.last_damage)));
                }
            }
            if out.len() > before {
                self.given += ((out.len() - before) / self.shape.roles.len()) as u64;
                return Ok(true);
            }
        }
        if !std::mem::replace(&mut self.at_end, true) {
            let tolerated = u64::from(self.shape.hz) * TOLERATED_MS / 1_000;
            if self.declared.is_some_and(|declared| declared > self.given + tolerated) {
                return Err(self.truncated());
            }
            if self.given == 0 {
                return Err(
                    self.damage(format!("no sound in {} packets; {}", self.packets, self.last_damage))
                );
            }
        }
        Ok(false)
    }

    fn decode(&mut self, packet: &Packet, out: &mut Vec<f32>) -> Result<(), String> {
        match &mut self.codec {
            Codec::Symphonia(decoder) => {
                let sound = decoder.decode(packet).map_err(|error| error.to_string())?;
                let spec = sound.spec();
                if sound.samples_interleaved() == 0 {
                    return Ok(());
                }
                if spec.rate() != self.shape.hz || spec.channels().count() != self.shape.roles.len() {
                    return Err("its rate or number of channels changes".into());
                }
                let before = out.len();
                out.resize(before + sound.samples_interleaved(), 0.0);
                sound.copy_to_slice_interleaved(&mut out[before..]);
            }
            Codec::Fdk(decoder, spec) => {
                let before = out.len();
                let found = decoder.decode(&packet.data, out).map_err(|error| error.message().to_string())?;
                // Before the first SBR header comes the core alone, at half the rate: a moment that nobody misses.
                if found.is_some_and(|found| found != *spec) {
                    out.truncate(before);
                }
            }
            Codec::Opus(decoder) => decoder.decode(&packet.data, packet.trim_end.get() as usize, out)?,
        }
        Ok(())
    }

    /// What the demuxer's refusal to go on means.
    fn broken(&self, error: SymphoniaError) -> Error {
        match error {
            SymphoniaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.truncated()
            }
            SymphoniaError::IoError(source) => Error::Unreadable { path: self.path.clone(), source },
            SymphoniaError::ResetRequired => self
                .damage("a second piece follows the first, as in a recorded stream; export it as one".into()),
            SymphoniaError::DecodeError(_)
            | SymphoniaError::SeekError(_)
            | SymphoniaError::Unsupported(_)
            | SymphoniaError::LimitError(_)
            | _ => self.damage(format!("at {:.1} s: {error}", self.seconds(self.given))),
        }
    }

    fn truncated(&self) -> Error {
        let span = |frames| std::time::Duration::from_secs_f64(self.seconds(frames));
        Error::Truncated {
            path: self.path.clone(),
            format: self.format,
            found: span(self.given),
            declared: self.declared.map(span),
        }
    }

    fn damage(&self, what: String) -> Error {
        Error::Damaged { path: self.path.clone(), format: self.format, what }
    }

    fn seconds(&self, frames: u64) -> f64 {
        frames as f64 / f64::from(self.shape.hz)
    }
}

impl Tags {
    fn take(&mut self, revision: &MetadataRevision) {
        let tracks = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
        for tag in revision.media.tags.iter().chain(tracks) {
            let (place, text) = match &tag.std {
                Some(StandardTag::TrackTitle(text)) => (&mut self.title, text),
                Some(StandardTag::Artist(text)) => (&mut self.artist, text),
                _ => continue,
            };
            let text: String = text.chars().filter(|char| !char.is_control()).collect();
            let end = text
                .char_indices()
                .map(|(at, char)| at + char.len_utf8())
                .take_while(|end| *end <= TAG)
                .last();
            let text = text[..end.unwrap_or(0)].trim();
            if !text.is_empty() {
                *place = Some(text.to_string());
            }
        }
    }
}

/// What a damaged beginning of such a file is told as.
fn assumed(content: Content) -> Format {
    match content {
        Content::Wave => Format::Wav,
        Content::Flac => Format::Flac,
        Content::Mpeg | Content::Unsupported(_) | Content::Other(_) => Format::Mp3,
        Content::Adts => Format::Aac { profile: Profile::Lc, container: Container::Adts },
        Content::Mp4 => Format::Aac { profile: Profile::Lc, container: Container::Mp4 },
        Content::Ogg(format) => format,
    }
}

fn demux(path: &Path, content: Content, file: File) -> Result<Box<dyn FormatReader>, Error> {
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    // No hint: a name may lie. No pictures: they are as large as somebody made them.
    let metadata = MetadataOptions::default()
        .limit_tag_bytes(Limit::Maximum(16 * 1024))
        .limit_visual_bytes(Limit::Maximum(0));
    let format = assumed(content);
    let probe = symphonia::default::get_probe();
    probe
        .probe(&Hint::new(), stream, FormatOptions::default(), metadata)
        .map_err(|error| refused(path, format, error))
}

/// What a demuxer's refusal of the beginning means.
fn refused(path: &Path, format: Format, error: SymphoniaError) -> Error {
    match error {
        SymphoniaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            beginning(path, format)
        }
        SymphoniaError::IoError(source) => Error::Unreadable { path: path.to_owned(), source },
        SymphoniaError::DecodeError(_)
        | SymphoniaError::SeekError(_)
        | SymphoniaError::Unsupported(_)
        | SymphoniaError::LimitError(_)
        | SymphoniaError::ResetRequired
        | _ => Error::Damaged { path: path.to_owned(), format, what: error.to_string() },
    }
}

/// Cut off before the first sound that can be decoded.
fn beginning(path: &Path, format: Format) -> Error {
    Error::Truncated { path: path.to_owned(), format, found: std::time::Duration::ZERO, declared: None }
}

fn track(path: &Path, reader: &dyn FormatReader) -> Result<(u32, AudioCodecParameters, Option<u64>), Error> {
    let unsupported = |what: &str| Error::Unsupported { path: path.to_owned(), what: what.into() };
    let track =
        reader.default_track(TrackType::Audio).ok_or_else(|| unsupported("a file without an audio track"))?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let parameters = parameters.ok_or_else(|| unsupported("an audio track of unknown codec"))?;
    let length = match (track.num_frames, track.duration, track.time_base) {
        (Some(frames), _, _) => Some(frames),
        (None, Some(_), Some(_)) | (None, Some(_), None) | (None, None, _) => None,
    };
    Ok((track.id, parameters.clone(), length))
}

/// Finds an AAC file's profile; `None` if its track is no AAC.
fn probe_aac(path: &Path, content: Content, file: File) -> Result<Option<(Profile, aac::Spec)>, Error> {
    let mut reader = demux(path, content, file)?;
    let (id, parameters, _) = track(path, &*reader)?;
    if parameters.codec != CODEC_ID_AAC {
        return Ok(None);
    }
    let mut packets = Vec::new();
    while packets.len() < aac::PROBED {
        match reader.next_packet() {
            Ok(Some(packet)) if packet.track_id == id => packets.push(packet),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) if packets.is_empty() => return Err(refused(path, assumed(content), error)),
            // Found again, and told, when the file is decoded.
            Err(_) => break,
        }
    }
    let config = aac_config(&parameters);
    Ok(config.and_then(|config| aac::probe(&config, packets.iter().map(|packet| &*packet.data))))
}

fn aac_config(parameters: &AudioCodecParameters) -> Option<Vec<u8>> {
    match &parameters.extra_data {
        Some(config) => Some(config.to_vec()),
        None => {
            let channels = parameters.channels.as_ref()?.count();
            aac::config(parameters.sample_rate?, channels).map(|config| config.to_vec())
        }
    }
}

fn decoder(
    path: &Path,
    content: Content,
    parameters: &AudioCodecParameters,
    probed: Option<(Profile, aac::Spec)>,
    exact: bool,
) -> Result<(Codec, Shape, Format), Error> {
    let unsupported = |what: String| Error::Unsupported { path: path.to_owned(), what };
    let damaged = |what: String| Error::Damaged { path: path.to_owned(), format: assumed(content), what };
    let format = match (content, parameters.codec) {
        (Content::Wave, _) => Format::Wav,
        (Content::Flac, CODEC_ID_FLAC) => Format::Flac,
        (Content::Mpeg, CODEC_ID_MP3) => Format::Mp3,
        (Content::Adts | Content::Mp4, CODEC_ID_AAC) => {
            let (profile, _) =
                probed.ok_or_else(|| damaged("none of its first packets can be decoded".into()))?;
            let container = if content == Content::Adts { Container::Adts } else { Container::Mp4 };
            Format::Aac { profile, container }
        }
        (Content::Ogg(_), CODEC_ID_VORBIS) => Format::Vorbis,
        (Content::Ogg(_), CODEC_ID_OPUS) => Format::Opus,
        (Content::Ogg(_), CODEC_ID_FLAC) => Format::OggFlac,
        (Content::Mp4, _) => {
            return Err(unsupported("an MP4 file with another codec than AAC (ALAC, perhaps)".into()));
        }
        (Content::Ogg(_), _) => {
            return Err(unsupported("an Ogg file with another codec than Vorbis, Opus or FLAC".into()));
        }
        _ => return Err(unsupported("a file whose content is not what its beginning says".into())),
    };
    if format == Format::Opus {
        let head = parameters.extra_data.as_deref().unwrap_or_default();
        let (decoder, roles) = Opus::new(head).map_err(unsupported)?;
        return Ok((Codec::Opus(Box::new(decoder)), Shape { hz: opus::HZ, roles }, format));
    }
    if let (Format::Aac { profile, .. }, Some((_, spec))) = (format, probed)
        && profile != Profile::Lc
    {
        let config = aac_config(parameters).ok_or_else(|| unsupported("AAC with no configuration".into()))?;
        let decoder = Fdk::new(&config).map_err(|error| unsupported(format!("AAC ({error})")))?;
        let roles = if spec.channels == 1 { vec![Role::Centre] } else { vec![Role::Left, Role::Right] };
        return Ok((Codec::Fdk(decoder, spec), Shape { hz: spec.hz, roles }, format));
    }
    // Trimming needs to know where the end is.
    let options = AudioDecoderOptions::default().gapless(exact || format != Format::Mp3);
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &options)
        .map_err(|error| unsupported(format!("this kind of {format} ({error})")))?;
    let parameters = decoder.codec_params();
    let hz = parameters.sample_rate.ok_or_else(|| damaged("it does not say its rate".into()))?;
    let speakers =
        parameters.channels.as_ref().ok_or_else(|| damaged("it does not say its channels".into()))?;
    let roles = Role::of(speakers).filter(|roles| (1..=8).contains(&roles.len()));
    let roles = roles.ok_or_else(|| unsupported(format!("sound of {} channels", speakers.count())))?;
    Ok((Codec::Symphonia(decoder), Shape { hz, roles }, format))
}
