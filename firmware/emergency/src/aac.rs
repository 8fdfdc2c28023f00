//! AAC that Symphonia cannot do: SBR and parametric stereo, which it plays at half the rate and in mono without an
//! error, and more than two channels. Decoded by FDK, as raw packets.

use fdk_aac::dec::{Decoder, DecoderError, Transport};

use crate::format::Profile;

/// FDK's decoder.
pub(crate) struct Fdk {
    decoder: Decoder,
    pcm: Vec<i16>,
}

/// What a decoded packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spec {
    pub(crate) hz: u32,
    pub(crate) channels: usize,
    /// Channels in the core, before parametric stereo or a mix.
    pub(crate) coded: usize,
}

impl Fdk {
    /// A decoder for packets with this AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1). More than two channels come
    /// out as stereo, mixed by FDK by the standard's own matrix.
    pub(crate) fn new(config: &[u8]) -> Result<Self, DecoderError> {
        let mut decoder = Decoder::new(Transport::Raw);
        decoder.config_raw(config)?;
        decoder.set_max_output_channels(2)?;
        // Eight channels of 2048 samples is the most that a packet decodes to.
        Ok(Self { decoder, pcm: vec![0; 8 * 2048] })
    }

    /// Appends what `packet` decodes to; `None` if that is nothing yet.
    pub(crate) fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<Option<Spec>, DecoderError> {
        let mut spec = None;
        let mut packet = packet;
        // Each turn takes bytes or ends the loop.
        loop {
            let taken = self.decoder.fill(packet)?;
            packet = packet.get(taken..).unwrap_or_default();
            match self.decoder.decode_frame(&mut self.pcm) {
                Ok(()) => {}
                Err(DecoderError::NOT_ENOUGH_BITS) => return Ok(spec),
                Err(error) => return Err(error),
            }
            let info = self.decoder.stream_info();
            let found = Spec {
                hz: info.sampleRate.unsigned_abs(),
                channels: info.numChannels.unsigned_abs() as usize,
                coded: info.aacNumChannels.unsigned_abs() as usize,
            };
            let samples = self.decoder.decoded_frame_size().min(self.pcm.len());
            out.extend(self.pcm[..samples].iter().map(|sample| f32::from(*sample) / 32_768.0));
            spec = Some(found);
            if packet.is_empty() || taken == 0 {
                return Ok(spec);
            }
        }
    }

    /// What the packets decoded so far use.
    fn profile(&self) -> Profile {
        let info = self.decoder.stream_info();
        let replicated = info.sampleRate > info.aacSampleRate || info.frameSize > info.aacSamplesPerFrame;
        match info.aot {
            2 | 5 | 29 if replicated && info.numChannels > info.aacNumChannels => Profile::HeV2,
            2 | 5 | 29 if replicated => Profile::He,
            2 if info.aacNumChannels <= 2 && info.aacSamplesPerFrame == 1024 => Profile::Lc,
            _ => Profile::Other,
        }
    }
}

/// How many packets are decoded to find the profile: SBR headers are at most half a second apart in practice, and FDK's
/// encoder has one in every tenth packet.
pub(crate) const PROBED: usize = 32;

/// Finds the profile and the form of the sound from the first packets; `None` if none of them can be decoded.
///
/// ADTS says nothing of SBR and stereo in its headers: only decoding tells.
pub(crate) fn probe<'a>(config: &[u8], packets: impl Iterator<Item = &'a [u8]>) -> Option<(Profile, Spec)> {
    let mut fdk = Fdk::new(config).ok()?;
    let mut found = None;
    let mut sound = Vec::new();
    for packet in packets.take(PROBED) {
        sound.clear();
        // A damaged packet is passed over here and counted when the file is decoded.
        if let Ok(Some(spec)) = fdk.decode(packet, &mut sound) {
            found = Some((fdk.profile(), spec));
        }
    }
    found
}

/// AudioSpecificConfig of an ADTS stream, whose headers are not handed on.
pub(crate) fn config(hz: u32, channels: usize) -> Option<[u8; 2]> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
    ];
    let rate = RATES.iter().position(|rate| *rate == hz)? as u8;
    let layout = match channels {
        1..=6 => channels as u8,
        8 => 7,
        _ => return None,
    };
    // Five bits of object type (2, LC), four of rate, four of channels, three of zeros.
    Some([(2 << 3) | (rate >> 1), (rate << 7) | (layout << 3)])
}
