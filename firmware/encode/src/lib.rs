//! LAME, FDK, libvorbis and libopus behind one [`Encoder`]: PCM in, packets out. Of the Ogg kinds a packet is a whole page, the
//! first of a stream with the header pages before it ([`units::page::head_length`] says how much that is).
//!
//! Invariants:
//! - Every rendition of a codec starts on one grid of packets: after [`Encoder::lead`] frames of silence, packet n comes
//!   out exactly when n times [`Encoder::packet_frames`] frames of programme have been fed, at any bitrate.
//! - A packet is handed out whole, alone, and with a header that fits the rendition; anything else is an [`Error`].
//! - PCM of another rate than the rendition's is resampled by an exact ratio, so that the grid holds at any time.
//! - What a library would change without a word (bitrate, rate, quality) is an error at start-up.
//! - Once the first packet is out, sound costs no allocation and no lock; no thread is made.

mod chain;
mod error;
mod fdk;
mod lame;
mod opus;
mod packet;
mod resample;
mod sample;
#[cfg(test)]
mod tests;
mod vorbis;

use chain::{Chain, Coder};
use resample::Resampler;
use units::{Codec, Frames, Rendition, SampleRate};

pub use error::Error;

/// What can be chosen beside the rendition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// LAME's quality, 0 (best, slowest) to 7, or 9 (LAME takes 8 for 7, so 8 is refused). The default 3 is the best that costs little: 2 and below search twice
    /// as long for a gain that is hard to hear at streaming bitrates. Only MP3 has this knob.
    pub quality: u8,
    /// Whether MP3 packets may borrow bits from earlier ones. Off by default: with it a packet does not stand alone, so
    /// listeners cannot be moved between mounts without a hole. On gains quality at low bitrates. All others ignore it.
    pub reservoir: bool,
    /// The programme's rate, where it is another one than the rendition's: then the sound is resampled.
    pub programme: Option<SampleRate>,
}

impl Default for Options {
    fn default() -> Self {
        Self { quality: 3, reservoir: false, programme: None }
    }
}

/// One rendition's encoder. It can be sent to another thread, not shared between two.
pub struct Encoder {
    rendition: Rendition,
    programme: SampleRate,
    resampler: Option<Resampler>,
    state: State,
}

enum State {
    Lame(lame::Lame),
    Fdk(fdk::Fdk),
    Vorbis(Box<Chain<vorbis::Vorbis>>),
    Opus(Box<Chain<opus::Opus>>),
    Finished { packet_frames: u32, lead: u32, delay: u32 },
}

impl Encoder {
    /// Starts an encoder of `rendition`.
    ///
    /// # Errors
    /// [`Error::Changed`] when the library would use another bitrate, rate or quality, with the value it would use;
    /// [`Error::NeedsStereo`] for HE-AACv2 mono; [`Error::Start`] when the library refuses or lacks memory.
    pub fn new(rendition: Rendition, options: Options) -> Result<Self, Error> {
        let mut state = match rendition.codec {
            Codec::Mp3 => State::Lame(lame::Lame::new(rendition, options)?),
            Codec::AacLc | Codec::HeAac | Codec::HeAacV2 => State::Fdk(fdk::Fdk::new(rendition)?),
            Codec::Vorbis => State::Vorbis(Box::new(Chain::new(vorbis::Vorbis::new(rendition)?, rendition))),
            Codec::Opus => State::Opus(Box::new(Chain::new(opus::Opus::new(rendition)?, rendition))),
        };
        let programme = options.programme.unwrap_or(rendition.rate);
        let resampler =
            (programme != rendition.rate).then(|| Resampler::new(programme, rendition)).transpose()?;
        if resampler.is_some() {
            // Its frames are the rendition's, so it cannot come from outside.
            let lead = vec![0.0; state.lead() as usize * rendition.channels.count()];
            state.encode(&lead, &mut |_| ())?;
        }
        Ok(Self { rendition, programme, resampler, state })
    }

    /// Frames of sound in one packet, at the rendition's rate: 1152 (MP3), 1024 (AAC-LC), 2048 (the HE kinds), and in one page:
    /// 2304 (Vorbis), 1920 (Opus).
    #[must_use]
    pub const fn packet_frames(&self) -> u32 {
        match &self.state {
            State::Lame(_) => lame::PACKET_FRAMES,
            State::Fdk(fdk) => fdk.packet_frames(),
            State::Vorbis(_) => vorbis::Vorbis::STEP,
            State::Opus(_) => opus::Opus::STEP,
            State::Finished { packet_frames, .. } => *packet_frames,
        }
    }

    /// Every so many frames of the programme a packet begins with a frame of its own; in between, with another rate, they begin
    /// between two. An encoder that starts at a multiple of this lies on the grid of all others.
    #[must_use]
    pub const fn grid(&self) -> u64 {
        let packet = self.packet_frames() as u64 * self.programme.hz() as u64;
        packet / gcd(packet, self.rendition.rate.hz() as u64)
    }

    /// What a position in the programme is at the rendition's rate; exact at a multiple of [`Encoder::grid`].
    #[must_use]
    pub const fn frames_at(&self, programme: Frames) -> Frames {
        let frames = programme.0 as u128 * self.rendition.rate.hz() as u128;
        Frames((frames / self.programme.hz() as u128) as u64)
    }

    /// Every which packet a decoder can change over to from another rendition, counted from the first: each one where packets
    /// stand alone, and each one with an SBR header in the HE kinds (FDK sends it with every tenth in ADTS).
    #[must_use]
    pub const fn entry_every(&self) -> u32 {
        match &self.state {
            State::Lame(_) | State::Vorbis(_) | State::Opus(_) | State::Finished { .. } => 1,
            State::Fdk(fdk) => fdk.entry_every(),
        }
    }

    /// Frames of silence to feed before the programme, so that every packet comes out at the last frame of a period of
    /// [`Encoder::packet_frames`]: 224 for MP3 (see the `lame` module), 6912 for Vorbis, none for AAC and Opus, and none where
    /// the sound is resampled (they are in there then). No packet comes out of the lead.
    #[must_use]
    pub const fn lead(&self) -> u32 {
        if self.resampler.is_some() { 0 } else { self.state.lead() }
    }

    /// Frames by which a standard decoder's output is behind the encoder's input, both counted from their first frame, at the
    /// rendition's rate: frame n fed (lead included) is decoded as frame n + `delay`. 1105 for MP3; for AAC what FDK reports,
    /// decoder included (2048 for LC, 5058 for HE, 7106 for HEv2; under SBR exact to one frame); none for Vorbis and Opus, whose
    /// pages tell. What a decoder adds of its own, for a limiter or to conceal losses, is not in it, nor is resampling.
    #[must_use]
    pub const fn delay(&self) -> u32 {
        match &self.state {
            State::Lame(_) => lame::DELAY,
            State::Fdk(fdk) => fdk.delay(),
            State::Vorbis(_) | State::Opus(_) => 0,
            State::Finished { delay, .. } => *delay,
        }
    }

    /// The Ogg kinds carry the title: a new one ends the stream with the next page and begins another. All others have no place
    /// for it.
    pub fn title(&mut self, title: &str) {
        match &mut self.state {
            State::Vorbis(chain) => chain.title(title),
            State::Opus(chain) => chain.title(title),
            State::Lame(_) | State::Fdk(_) | State::Finished { .. } => {}
        }
    }

    /// The serial number of the first stream of the Ogg kinds; later ones count on. Different for every encoder that a listener
    /// may ever hear after another (RFC 3533, 4); zero unless set before the first frame.
    pub fn number(&mut self, serial: u32) {
        match &mut self.state {
            State::Vorbis(chain) => chain.number(serial),
            State::Opus(chain) => chain.number(serial),
            State::Lame(_) | State::Fdk(_) | State::Finished { .. } => {}
        }
    }

    /// Encodes `pcm` (interleaved, full scale 1.0, any number of whole frames, at the programme's rate) and calls `emit` once per
    /// whole packet. Samples beyond full scale are clipped by AAC and coded as they are by all others; what is no number becomes
    /// silence.
    ///
    /// # Errors
    /// [`Error::Ragged`] and [`Error::Finished`] are our caller's fault and change nothing; [`Error::Encode`] and
    /// [`Error::Torn`] are the library's: this encoder is then of no more use, a new one is.
    pub fn encode(&mut self, pcm: &[f32], emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let channels = self.rendition.channels.count();
        if !pcm.len().is_multiple_of(channels) {
            return Err(Error::Ragged { samples: pcm.len(), channels });
        }
        let Self { resampler, state, .. } = self;
        match resampler {
            Some(resampler) => resampler.pass(pcm, &mut |pcm| state.encode(pcm, emit)),
            None => state.encode(pcm, emit),
        }
    }

    /// Ends the programme: emits what is left, until the last frame fed can be decoded. Finishing twice does nothing.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; the encoder is finished all the same.
    pub fn finish(&mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let finished =
            State::Finished { packet_frames: self.packet_frames(), lead: self.lead(), delay: self.delay() };
        let mut state = std::mem::replace(&mut self.state, finished);
        if let Some(resampler) = self.resampler.take() {
            resampler.finish(&mut |pcm| state.encode(pcm, emit))?;
        }
        match state {
            State::Lame(lame) => lame.finish(emit),
            State::Fdk(fdk) => fdk.finish(emit),
            State::Vorbis(chain) => chain.finish(emit),
            State::Opus(chain) => chain.finish(emit),
            State::Finished { .. } => Ok(()),
        }
    }
}

impl State {
    const fn lead(&self) -> u32 {
        match self {
            Self::Lame(_) => lame::LEAD,
            Self::Fdk(_) => fdk::LEAD,
            Self::Vorbis(_) => Chain::<vorbis::Vorbis>::LEAD,
            Self::Opus(_) => Chain::<opus::Opus>::LEAD,
            Self::Finished { lead, .. } => *lead,
        }
    }

    fn encode(&mut self, pcm: &[f32], emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        match self {
            Self::Lame(lame) => lame.encode(pcm, emit),
            Self::Fdk(fdk) => fdk.encode(pcm, emit),
            Self::Vorbis(chain) => chain.encode(pcm, emit),
            Self::Opus(chain) => chain.encode(pcm, emit),
            Self::Finished { .. } => Err(Error::Finished),
        }
    }
}

/// The greatest common divisor, by Euclid.
const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.state {
            State::Lame(_) => "Encoder(LAME)",
            State::Fdk(_) => "Encoder(FDK)",
            State::Vorbis(_) => "Encoder(libvorbis)",
            State::Opus(_) => "Encoder(libopus)",
            State::Finished { .. } => "Encoder(finished)",
        })
    }
}
