//! LAME and FDK behind one [`Encoder`]: PCM in, packets out.
//!
//! Invariants:
//! - Every rendition of a codec starts on one grid of packets: after [`Encoder::lead`] frames of silence, packet n comes
//!   out exactly when n times [`Encoder::packet_frames`] frames of programme have been fed, at any bitrate.
//! - A packet is handed out whole, alone, and with a header that fits the rendition; anything else is an [`Error`].
//! - What a library would change without a word (bitrate, rate, quality) is an error at start-up.
//! - Once the first packet is out, sound costs no allocation and no lock; no thread is made.

mod error;
mod fdk;
mod lame;
mod packet;
#[cfg(test)]
mod tests;

use units::{Codec, Rendition};

pub use error::Error;

/// What can be chosen beside the rendition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// LAME's quality, 0 (best, slowest) to 7, or 9 (LAME takes 8 for 7, so 8 is refused). The default 3 is the best that costs little: 2 and below search twice
    /// as long for a gain that is hard to hear at streaming bitrates. FDK has no such knob and ignores it.
    pub quality: u8,
    /// Whether MP3 packets may borrow bits from earlier ones. Off by default: with it a packet does not stand alone, so
    /// listeners cannot be moved between mounts without a hole. On gains quality at low bitrates. FDK ignores it (AAC
    /// packets always stand alone).
    pub reservoir: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { quality: 3, reservoir: false }
    }
}

/// One rendition's encoder. It can be sent to another thread, not shared between two.
pub struct Encoder {
    channels: usize,
    state: State,
}

enum State {
    Lame(lame::Lame),
    Fdk(fdk::Fdk),
    Finished { packet_frames: u32, lead: u32, delay: u32 },
}

impl Encoder {
    /// Starts an encoder of `rendition`.
    ///
    /// # Errors
    /// [`Error::Changed`] when the library would use another bitrate, rate or quality, with the value it would use;
    /// [`Error::NeedsStereo`] for HE-AACv2 mono; [`Error::Start`] when the library refuses or lacks memory.
    pub fn new(rendition: Rendition, options: Options) -> Result<Self, Error> {
        let state = match rendition.codec {
            Codec::Mp3 => State::Lame(lame::Lame::new(rendition, options)?),
            Codec::AacLc | Codec::HeAac | Codec::HeAacV2 => State::Fdk(fdk::Fdk::new(rendition)?),
        };
        Ok(Self { channels: rendition.channels.count(), state })
    }

    /// Frames of programme in one packet: 1152 (MP3), 1024 (AAC-LC) or 2048 (the HE kinds).
    #[must_use]
    pub const fn packet_frames(&self) -> u32 {
        match &self.state {
            State::Lame(_) => lame::PACKET_FRAMES,
            State::Fdk(fdk) => fdk.packet_frames(),
            State::Finished { packet_frames, .. } => *packet_frames,
        }
    }

    /// Every which packet a decoder can change over to from another rendition, counted from the first: each one where packets
    /// stand alone, and each one with an SBR header in the HE kinds (FDK sends it with every tenth in ADTS).
    #[must_use]
    pub const fn entry_every(&self) -> u32 {
        match &self.state {
            State::Lame(_) | State::Finished { .. } => 1,
            State::Fdk(fdk) => fdk.entry_every(),
        }
    }

    /// Frames of silence to feed before the programme, so that every packet comes out at the last frame of a period of
    /// [`Encoder::packet_frames`]: 224 for MP3 (see the `lame` module), none for AAC. No packet comes out of the lead.
    #[must_use]
    pub const fn lead(&self) -> u32 {
        match &self.state {
            State::Lame(_) => lame::LEAD,
            State::Fdk(_) => fdk::LEAD,
            State::Finished { lead, .. } => *lead,
        }
    }

    /// Frames by which a standard decoder's output is behind the encoder's input, both counted from their first frame:
    /// frame n fed (lead included) is decoded as frame n + `delay`. 1105 for MP3; for AAC what FDK reports, decoder
    /// included (2048 for LC, 5058 for HE, 7106 for HEv2; under SBR exact to one frame). What a decoder adds of its own,
    /// for a limiter or to conceal losses, is not in it.
    #[must_use]
    pub const fn delay(&self) -> u32 {
        match &self.state {
            State::Lame(_) => lame::DELAY,
            State::Fdk(fdk) => fdk.delay(),
            State::Finished { delay, .. } => *delay,
        }
    }

    /// Encodes `pcm` (interleaved, full scale 1.0, any number of whole frames) and calls `emit` once per whole packet.
    /// Samples beyond full scale are clipped by AAC and coded as they are by MP3; what is no number becomes silence.
    ///
    /// # Errors
    /// [`Error::Ragged`] and [`Error::Finished`] are our caller's fault and change nothing; [`Error::Encode`] and
    /// [`Error::Torn`] are the library's: this encoder is then of no more use, a new one is.
    pub fn encode(&mut self, pcm: &[f32], emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        if !pcm.len().is_multiple_of(self.channels) {
            return Err(Error::Ragged { samples: pcm.len(), channels: self.channels });
        }
        match &mut self.state {
            State::Lame(lame) => lame.encode(pcm, emit),
            State::Fdk(fdk) => fdk.encode(pcm, emit),
            State::Finished { .. } => Err(Error::Finished),
        }
    }

    /// Ends the programme: emits what is left, until the last frame fed can be decoded. Finishing twice does nothing.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; the encoder is finished all the same.
    pub fn finish(&mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let finished =
            State::Finished { packet_frames: self.packet_frames(), lead: self.lead(), delay: self.delay() };
        match std::mem::replace(&mut self.state, finished) {
            State::Lame(lame) => lame.finish(emit),
            State::Fdk(fdk) => fdk.finish(emit),
            State::Finished { .. } => Ok(()),
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.state {
            State::Lame(_) => "Encoder(LAME)",
            State::Fdk(_) => "Encoder(FDK)",
            State::Finished { .. } => "Encoder(finished)",
        })
    }
}
