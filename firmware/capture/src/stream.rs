//! A network stream as an input: one thread dials, reads, decodes and resamples; the pacing thread of [`crate::paced`] hands
//! the periods on by the system's clock, and silence of exact length while there are none.
//!
//! The far encoder's clock is followed by the fill of the buffer between the two, for ever. A connection begins with its
//! newest [`KEPT`] of sound: what a server sends at once beyond that (its burst) is older, and is passed over. A stream that
//! runs dry begins anew like that; one that breaks off is dialled again.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fmt, thread};

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use units::SampleRate;

use crate::clock::{NS_PER_SECOND, now_ns};
use crate::feed::{Feed, FeedError};
use crate::live::Link;
use crate::paced::Gate;
use crate::resampler::Resampler;
use crate::ring::{RawPeriod, Receiver, Sender};
use crate::samples::{Encoding, Layout};
use crate::status::Status;
use crate::steer::Level;

/// How a stream's bytes are got: called on a thread that may block, again after each end. Looking up the name, connecting,
/// TLS and [`crate::request`] are its business; it has to give up after some seconds.
#[derive(Clone)]
pub struct Dial(Arc<dyn Fn() -> io::Result<Feed> + Send + Sync>);

impl Dial {
    /// `dial` opens one connection.
    pub fn new(dial: impl Fn() -> io::Result<Feed> + Send + Sync + 'static) -> Self {
        Self(Arc::new(dial))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

/// How a stream is dialled does not tell it from another: its name does.
impl PartialEq for Dial {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Where the decoded periods go.
pub(crate) struct Buffers {
    pub(crate) free: Receiver<Box<RawPeriod>>,
    pub(crate) ahead: Sender<Box<RawPeriod>>,
    pub(crate) gate: Arc<Gate>,
    /// Frames of each.
    pub(crate) period: u32,
}

/// The receiving thread's belongings.
pub(crate) struct Receiving {
    name: String,
    dial: Dial,
    hz: u32,
    buffers: Buffers,
    status: Arc<Status>,
    link: Arc<Link>,
    /// The period that is being filled, and how much of it is.
    hand: Option<Box<RawPeriod>>,
    filled: usize,
    phase: Phase,
    law: Level,
    /// What the law last said: frames to take for each given.
    speed: f64,
}

/// What becomes of decoded sound, in interleaved stereo at the programme's rate.
enum Phase {
    /// It is kept until there is enough, the newest of it.
    Filling {
        kept: VecDeque<f32>,
        /// Since when, and how many frames had come by then: a burst is what comes faster than time.
        since_ns: i64,
        came: u64,
    },
    /// It is handed on.
    Playing,
}

/// How a connection ended.
#[derive(Debug)]
struct Broken {
    why: String,
    /// Whether there was any sound.
    sounded: bool,
}

impl Receiving {
    pub(crate) fn new(
        name: String,
        dial: Dial,
        rate: SampleRate,
        buffers: Buffers,
        status: Arc<Status>,
        link: Arc<Link>,
    ) -> Self {
        let law = Level::of_arrivals();
        let (hand, filled, speed) = (None, 0, 1.0);
        Self {
            name,
            dial,
            hz: rate.hz(),
            buffers,
            status,
            link,
            hand,
            filled,
            phase: Phase::filling(),
            law,
            speed,
        }
    }

    /// Dials and decodes until the link stops.
    pub(crate) fn run(mut self) {
        let mut wait = FIRST_WAIT;
        while !self.link.stopping() {
            self.status.attempt_failed(format!("{}: asked, no sound yet", self.name));
            let broken = match (self.dial.0)() {
                Ok(feed) => self.listen(feed),
                Err(error) => Broken { why: remedied(&error), sounded: false },
            };
            self.status.attempt_failed(format!("{}: {}", self.name, broken.why));
            if broken.sounded {
                wait = FIRST_WAIT;
            }
            self.nap(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// One connection, to its end.
    fn listen(&mut self, feed: Feed) -> Broken {
        let mut sounded = false;
        match self.decode(feed, &mut sounded) {
            Ok(()) => Broken { why: format!("the stream ended; {REMEDY}"), sounded },
            Err(error) => Broken { why: format!("{error}; {REMEDY}"), sounded },
        }
    }

    fn decode(&mut self, feed: Feed, sounded: &mut bool) -> Result<(), SymphoniaError> {
        let mut hint = Hint::new();
        if let Some(kind) = &feed.content_type {
            hint.mime_type(kind);
        }
        let stream = MediaSourceStream::new(Box::new(Bytes(Mutex::new(feed.bytes))), Default::default());
        let mut reader = symphonia::default::get_probe().probe(
            &hint,
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )?;
        let (mut track, mut decoder) = decoder(&*reader)?;
        // What is left of the connection before goes on meanwhile.
        self.phase = Phase::filling();
        let mut speaker: Option<Speaker> = None;
        let mut samples = Vec::new();
        while !self.link.stopping() {
            let packet = match reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => return Ok(()),
                // A chained Ogg stream goes on with new headers: another title, maybe another rate.
                Err(SymphoniaError::ResetRequired) => {
                    (track, decoder) = self::decoder(&*reader)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let sound = match decoder.decode(&packet) {
                Ok(sound) => sound,
                // A damaged packet is passed over, as every player does.
                Err(SymphoniaError::DecodeError(_)) => continue,
                Err(error) => return Err(error),
            };
            let (hz, channels) = (sound.spec().rate(), sound.spec().channels().count());
            samples.resize(sound.samples_interleaved(), 0.0);
            sound.copy_to_slice_interleaved(&mut samples);
            if channels == 0 || hz == 0 {
                continue;
            }
            if speaker.as_ref().is_none_or(|speaker| speaker.hz != hz) {
                speaker = Some(Speaker::new(hz, self.hz)?);
            }
            if let Some(speaker) = &mut speaker {
                for piece in samples.chunks(PIECE * channels) {
                    let out = speaker.say(piece, channels, self.speed);
                    *sounded |= !out.is_empty();
                    self.take(out);
                }
            }
        }
        Ok(())
    }

    /// Sound at the programme's rate, one way or the other.
    fn take(&mut self, sound: &[f32]) {
        if matches!(self.phase, Phase::Playing) && !self.buffers.gate.is_open() {
            // It ran dry.
            self.phase = Phase::filling();
        }
        let span = f64::from(self.buffers.period) / f64::from(self.hz);
        let lacking = KEPT.as_secs_f64() - f64::from(self.buffers.gate.ahead()) * span;
        let lacking = (lacking.max(0.0) * f64::from(self.hz)) as usize * LAYOUT.channels;
        let Phase::Filling { kept, since_ns, came } = &mut self.phase else {
            self.hand_on(sound);
            return;
        };
        kept.extend(sound);
        let enough = kept.len() >= lacking;
        kept.drain(..kept.len().saturating_sub(lacking));
        *came += (sound.len() / LAYOUT.channels) as u64;
        let now = now_ns();
        if now - *since_ns < LOOK_NS {
            return;
        }
        let burst = *came as f64 / f64::from(self.hz) > 2.0 * (now - *since_ns) as f64 / NS_PER_SECOND as f64;
        (*since_ns, *came) = (now, 0);
        if enough && !burst {
            let mut kept = std::mem::take(kept);
            self.phase = Phase::Playing;
            self.law.seated();
            self.hand_on(kept.make_contiguous());
            self.status.attempt_failed(String::new());
            self.buffers.gate.open();
        }
    }

    /// Fills periods; waits where all are full: then the sound comes from a server's queue faster than time.
    fn hand_on(&mut self, mut sound: &[f32]) {
        let whole = self.buffers.period as usize * LAYOUT.channels;
        while !sound.is_empty() {
            let mut period = loop {
                if let Some(period) = self.hand.take().or_else(|| self.buffers.free.pop()) {
                    break period;
                }
                if self.link.stopping() {
                    return;
                }
                thread::park_timeout(NAP);
            };
            let (now, later) = sound.split_at(sound.len().min(whole - self.filled));
            let room = period.bytes[self.filled * 4..].chunks_exact_mut(4);
            for (bytes, sample) in room.zip(now) {
                bytes.copy_from_slice(&sample.to_le_bytes());
            }
            self.filled += now.len();
            sound = later;
            if self.filled < whole {
                self.hand = Some(period);
                continue;
            }
            self.filled = 0;
            period.frames = self.buffers.period as usize;
            self.buffers.gate.made();
            // There are fewer buffers than the queue has places.
            let _ = self.buffers.ahead.push(period);
            let span = f64::from(self.buffers.period) / f64::from(self.hz);
            let excess = f64::from(self.buffers.gate.ahead()) * span - KEPT.as_secs_f64();
            self.speed = self.law.speed(excess, span);
        }
    }

    /// Waits, and notices an end.
    fn nap(&self, span: Duration) {
        let until = now_ns() + i64::try_from(span.as_nanos()).unwrap_or(0);
        while now_ns() < until && !self.link.stopping() {
            thread::park_timeout(NAP);
        }
    }
}

impl Phase {
    fn filling() -> Self {
        Self::Filling { kept: VecDeque::new(), since_ns: now_ns(), came: 0 }
    }
}

/// What a server said has its remedy; what the system says of a connection has none.
fn remedied(error: &io::Error) -> String {
    match error.get_ref() {
        Some(told) if told.is::<FeedError>() => told.to_string(),
        Some(_) | None => format!("{error}; {REMEDY}"),
    }
}

const REMEDY: &str = "listen to that address with a player, and see whether the far encoder is on air";

/// Turns decoded pieces of one rate into stereo at the programme's.
struct Speaker {
    hz: u32,
    ratio: f64,
    resampler: Resampler,
    stereo: Vec<f32>,
    out: Vec<f32>,
}

impl Speaker {
    fn new(hz: u32, programme_hz: u32) -> Result<Self, SymphoniaError> {
        if !(LOWEST_HZ..=HIGHEST_HZ).contains(&hz) {
            return Err(SymphoniaError::Unsupported("its sample rate is not between 8 and 192 kHz"));
        }
        let ratio = f64::from(programme_hz) / f64::from(hz);
        let resampler = Resampler::of_pieces(LAYOUT.channels, PIECE, ratio);
        let out = vec![0.0; resampler.most() * LAYOUT.channels];
        Ok(Self { hz, ratio, resampler, stereo: vec![0.0; PIECE * LAYOUT.channels], out })
    }

    /// At most [`PIECE`] frames of `channels` at `speed` times theirs.
    fn say(&mut self, piece: &[f32], channels: usize, speed: f64) -> &[f32] {
        let mut frames = 0;
        for (frame, out) in piece.chunks_exact(channels).zip(self.stereo.chunks_exact_mut(2)) {
            (out[0], out[1]) = (frame[0], frame[channels.min(2) - 1]);
            frames += 1;
        }
        let made = self.resampler.feed(&self.stereo[..2 * frames], self.ratio / speed, &mut self.out);
        &self.out[..2 * made]
    }
}

fn decoder(reader: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), SymphoniaError> {
    let missing = SymphoniaError::Unsupported("it has no audio track that can be decoded");
    let Some(track) = reader.default_track(TrackType::Audio) else { return Err(missing) };
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let Some(parameters) = parameters else { return Err(missing) };
    let decoder =
        symphonia::default::get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default())?;
    Ok((track.id, decoder))
}

/// Symphonia wants its bytes shareable, and shares them with nobody: the lock is never taken, only passed through.
struct Bytes(Mutex<Box<dyn Read + Send>>);

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).read(out)
    }
}

impl Seek for Bytes {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a network stream cannot be wound"))
    }
}

impl MediaSource for Bytes {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// What decoded periods look like, whatever the stream has.
pub(crate) const LAYOUT: Layout = Layout { encoding: Encoding::F32, channels: 2 };
/// Sound that is kept ahead: what a network may hold back without being heard.
pub(crate) const KEPT: Duration = Duration::from_millis(2_500);
/// Sound that fits: a far clock and a network have this much play in both directions.
pub(crate) const HELD: Duration = Duration::from_secs(5);
/// Frames; at 48 kHz the queue's 255 places then hold 6 s.
pub(crate) const SHORTEST_PERIOD: u32 = 1_152;
/// Frames that are resampled at once; a FLAC packet may have 65535.
const PIECE: usize = 4_096;
/// The time in which a burst is told from a stream.
const LOOK_NS: i64 = 300_000_000;
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A studio feed that was away for an hour is heard again within this.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
const NAP: Duration = Duration::from_millis(20);
const LOWEST_HZ: u32 = 8_000;
const HIGHEST_HZ: u32 = 192_000;
