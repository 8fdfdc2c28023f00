//! libopus: packets of 20 ms, and the heads of RFC 7845.

use std::collections::VecDeque;

use ::opus as lib;
use units::{Channels, Rendition, SampleRate};

use crate::chain::{Coded, Coder};
use crate::{Error, sample};

/// Frames in a packet: 20 ms, the codec's own favourite. It runs at 48 kHz whatever was captured.
const PACKET_FRAMES: usize = 960;

/// What a decoder that begins in the middle needs before it plays: 80 ms (RFC 7845, 4.2).
const CONVERGENCE: u16 = 3840;

/// In packets.
const REPEATED: usize = CONVERGENCE as usize / PACKET_FRAMES;

/// The most that RFC 6716 (2.1.1) knows.
const MOST_BITS: u32 = 510_000;

/// The longest packet of one frame (RFC 6716, 3.4), in bytes.
const LONGEST: usize = 1275;

/// One libopus encoder.
pub(crate) struct Opus {
    encoder: lib::Encoder,
    rendition: Rendition,
    /// Frames by which the sound comes late out of a decoder.
    lookahead: u16,
    /// Samples of the packet that is being filled; never full between two calls.
    input: Vec<f32>,
    output: Box<[u8]>,
    /// Frames in packets so far, over all streams.
    fed: u64,
    /// Position in the stream at the end of the newest packet.
    position: u64,
    /// The newest packets: what the next stream begins with.
    newest: VecDeque<Vec<u8>>,
    /// Frames that a decoder leaves out at the stream's beginning.
    skip: u16,
}

impl Opus {
    pub(crate) fn new(rendition: Rendition) -> Result<Self, Error> {
        let start = |step: &'static str| {
            move |error: lib::Error| Error::Start {
                rendition,
                library: "libopus",
                step,
                code: error.code() as i64,
            }
        };
        let changed = |what, asked: String, used: String, remedy: &str| Error::Changed {
            rendition,
            what,
            asked,
            used,
            remedy: remedy.to_owned(),
        };
        if rendition.rate != SampleRate::Hz48000 {
            let (asked, used) = (rendition.rate.to_string(), SampleRate::Hz48000.to_string());
            return Err(changed("sample rate", asked, used, "write rate = \"48 kHz\" for it"));
        }
        let channels = match rendition.channels {
            Channels::Mono => lib::Channels::Mono,
            Channels::Stereo => lib::Channels::Stereo,
        };
        let mut encoder = lib::Encoder::new(rendition.rate.hz(), channels, lib::Application::Audio)
            .map_err(start("to start"))?;
        let asked = rendition.bitrate.bits();
        encoder.set_bitrate(lib::Bitrate::Bits(asked.min(MOST_BITS) as i32)).map_err(start("the bitrate"))?;
        encoder.set_vbr(true).map_err(start("variable bitrate"))?;
        encoder.set_vbr_constraint(true).map_err(start("constrained variable bitrate"))?;
        let used = match encoder.get_bitrate().map_err(start("to tell its bitrate"))? {
            lib::Bitrate::Bits(bits) => u32::try_from(bits).unwrap_or(0),
            lib::Bitrate::Max | lib::Bitrate::Auto => 0,
        };
        if used != asked {
            let remedy = "use 6 to 510 kbit/s";
            return Err(changed("bitrate", rendition.bitrate.to_string(), format!("{used} bit/s"), remedy));
        }
        let lookahead = encoder.get_lookahead().map_err(start("to tell its delay"))?;
        let lookahead = u16::try_from(lookahead).unwrap_or_default();
        Ok(Self {
            encoder,
            rendition,
            lookahead,
            input: Vec::with_capacity(PACKET_FRAMES * rendition.channels.count()),
            output: vec![0; LONGEST].into_boxed_slice(),
            fed: 0,
            position: 0,
            newest: VecDeque::new(),
            skip: lookahead,
        })
    }

    fn packet(&mut self, out: &mut VecDeque<Coded>) -> Result<(), Error> {
        let codec = self.rendition.codec;
        let bytes = self
            .encoder
            .encode_float(&self.input, &mut self.output)
            .map_err(|error| Error::Encode { codec, code: error.code() as i64 })?;
        self.input.clear();
        self.fed += PACKET_FRAMES as u64;
        self.position += PACKET_FRAMES as u64;
        let packet = self.output.get(..bytes).ok_or(Error::Torn { rendition: self.rendition, bytes })?;
        if self.newest.len() == REPEATED {
            self.newest.pop_front();
        }
        self.newest.push_back(packet.to_vec());
        out.push_back(Coded { bytes: packet.to_vec(), position: self.position, end: self.fed, last: false });
        Ok(())
    }
}

impl Coder for Opus {
    const STEP: u32 = 2 * PACKET_FRAMES as u32;
    const LAG: u32 = 0;

    fn head(&self, comments: &[u8]) -> Vec<Vec<u8>> {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(self.rendition.channels.count() as u8);
        head.extend_from_slice(&self.skip.to_le_bytes());
        head.extend_from_slice(&self.rendition.rate.hz().to_le_bytes());
        // No gain, and one or two channels as they are (mapping family 0).
        head.extend_from_slice(&[0, 0, 0]);
        vec![head, [b"OpusTags", comments].concat()]
    }

    fn feed(&mut self, mut pcm: &[f32], out: &mut VecDeque<Coded>) -> Result<(), Error> {
        let full = PACKET_FRAMES * self.rendition.channels.count();
        while !pcm.is_empty() {
            let (now, later) = pcm.split_at(pcm.len().min(full - self.input.len()));
            self.input.extend(now.iter().copied().map(sample::clean));
            pcm = later;
            if self.input.len() == full {
                self.packet(out)?;
            }
        }
        Ok(())
    }

    /// The encoder runs on: the new stream begins with the last packets of the old one again, of which a decoder comes to play the
    /// very next frame as if nothing had been.
    fn turn(&mut self, out: &mut VecDeque<Coded>) -> Result<(), Error> {
        if let Some(packet) = out.back_mut() {
            packet.last = true;
        }
        self.position = 0;
        for bytes in &self.newest {
            self.position += PACKET_FRAMES as u64;
            out.push_back(Coded {
                bytes: bytes.clone(),
                position: self.position,
                end: self.fed,
                last: false,
            });
        }
        self.skip = u16::try_from(self.position).unwrap_or(CONVERGENCE);
        Ok(())
    }

    fn end(&mut self, out: &mut VecDeque<Coded>) -> Result<(), Error> {
        let channels = self.rendition.channels.count();
        let rest = self.input.len() / channels + usize::from(self.lookahead);
        let silence = rest.next_multiple_of(PACKET_FRAMES) - self.input.len() / channels;
        // The last frame fed comes out of a decoder so late.
        let whole = self.position + rest as u64;
        self.feed(&vec![0.0; silence * channels], out)?;
        if let Some(packet) = out.back_mut() {
            packet.position = whole;
            packet.last = true;
        }
        Ok(())
    }
}
