//! Opus packets, which Symphonia takes out of Ogg and cannot decode.

use opus::MSDecoder;

use crate::convert::Role;

/// Opus is decoded at its own rate (RFC 7845, section 5.1).
pub(crate) const HZ: u32 = 48_000;

/// Longest packet: 120 ms (RFC 6716, section 2.1.4).
const LONGEST: usize = 5_760;

/// libopus with what the identification header asks for.
pub(crate) struct Opus {
    decoder: MSDecoder,
    channels: usize,
    /// Frames still to be dropped at the beginning.
    skip: usize,
    /// The header's output gain, as a factor.
    gain: f32,
    pcm: Vec<f32>,
}

impl Opus {
    /// Takes an identification header (RFC 7845, section 5.1); with it the roles of the channels, in Vorbis order.
    pub(crate) fn new(head: &[u8]) -> Result<(Self, Vec<Role>), String> {
        let byte = |at: usize| head.get(at).copied().ok_or("its header is too short");
        let channels = usize::from(byte(9)?);
        let skip = u16::from_le_bytes([byte(10)?, byte(11)?]);
        // Q7.8 decibels.
        let gain = f32::from(i16::from_le_bytes([byte(16)?, byte(17)?])) / 256.0;
        let mapped: [u8; 2] = [0, 1];
        let (streams, coupled, mapping) = match byte(18)? {
            0 if (1..=2).contains(&channels) => (1, channels as u8 - 1, &mapped[..channels]),
            1 => (byte(19)?, byte(20)?, head.get(21..21 + channels).ok_or("its header is too short")?),
            family => return Err(format!("{channels} channels of Opus mapping family {family}")),
        };
        let roles = Role::vorbis(channels).ok_or_else(|| format!("{channels} channels of Opus"))?;
        let decoder =
            MSDecoder::new(HZ, streams, coupled, mapping).map_err(|error| error.description().to_string())?;
        let gain = 10_f32.powf(gain / 20.0);
        let opus =
            Self { decoder, channels, skip: usize::from(skip), gain, pcm: vec![0.0; LONGEST * channels] };
        Ok((opus, roles))
    }

    /// Appends what `packet` decodes to, less `trim_end` frames at its end.
    pub(crate) fn decode(
        &mut self,
        packet: &[u8],
        trim_end: usize,
        out: &mut Vec<f32>,
    ) -> Result<(), String> {
        // An empty packet would be taken for a lost one, whose length nobody knows.
        if packet.is_empty() {
            return Err("an empty packet".into());
        }
        let frames = self.decoder.decode_float(packet, &mut self.pcm, false);
        let frames = frames.map_err(|error| error.description().to_string())?;
        let begin = self.skip.min(frames);
        self.skip -= begin;
        let end = frames.saturating_sub(trim_end).max(begin);
        let pcm = &self.pcm[begin * self.channels..end * self.channels];
        out.extend(pcm.iter().map(|sample| sample * self.gain));
        Ok(())
    }
}
