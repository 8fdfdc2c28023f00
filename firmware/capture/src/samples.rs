//! From what a card delivers to what the programme works with: bytes to samples of full scale 1.0, and the pick of channels.

use units::Channels;

/// Which of the input's channels become the programme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pick {
    /// Left and right as they come.
    Stereo,
    /// Left and right exchanged.
    Swapped,
    /// The left channel alone.
    Left,
    /// The right channel alone.
    Right,
    /// (L+R)/2.
    MonoMix,
    /// The one channel of a one-channel card; of a file or tone, the first.
    Mono,
}

impl Pick {
    /// Channels of the programme under this pick.
    #[must_use]
    pub const fn channels(self) -> Channels {
        match self {
            Self::Stereo | Self::Swapped => Channels::Stereo,
            Self::Left | Self::Right | Self::MonoMix | Self::Mono => Channels::Mono,
        }
    }
}

/// How a sample lies in memory; all little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    /// 16 bits.
    S16,
    /// 24 bits in three bytes.
    S24Packed,
    /// 24 bits in the low part of four bytes; the top byte is not to be trusted.
    S24,
    /// 32 bits.
    S32,
    /// 32-bit float, full scale 1.0: what decoders and the tone produce.
    F32,
}

impl Encoding {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::S16 => 2,
            Self::S24Packed => 3,
            Self::S24 | Self::S32 | Self::F32 => 4,
        }
    }
}

/// How frames lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub(crate) encoding: Encoding,
    /// Interleaved channels; those beyond the second are passed over.
    pub(crate) channels: usize,
}

impl Layout {
    pub(crate) const fn frame_bytes(self) -> usize {
        self.encoding.bytes() * self.channels
    }
}

/// Converts the whole frames in `bytes` into `out` (interleaved, in the pick's channels) and returns how many frames
/// were converted: as many as both hold.
pub(crate) fn convert(bytes: &[u8], layout: Layout, pick: Pick, out: &mut [f32]) -> usize {
    match layout.encoding {
        Encoding::S16 => {
            spread::<2>(bytes, layout.channels, pick, out, |b| f32::from(i16::from_le_bytes(b)) / 32_768.0)
        }
        Encoding::S24Packed => spread::<3>(bytes, layout.channels, pick, out, |[a, b, c]| {
            from_top(i32::from_le_bytes([0, a, b, c]))
        }),
        // Shifting the three good bytes to the top extends the sign whatever the fourth holds.
        Encoding::S24 => spread::<4>(bytes, layout.channels, pick, out, |[a, b, c, _]| {
            from_top(i32::from_le_bytes([0, a, b, c]))
        }),
        Encoding::S32 => spread::<4>(bytes, layout.channels, pick, out, |b| from_top(i32::from_le_bytes(b))),
        Encoding::F32 => spread::<4>(bytes, layout.channels, pick, out, f32::from_le_bytes),
    }
}

/// A left-justified 32-bit sample. Exact for 24 bits; beyond them f32 rounds, at -144 dBFS.
fn from_top(sample: i32) -> f32 {
    sample as f32 / 2_147_483_648.0
}

/// One loop per encoding and pick, so that the compiler can unroll each of them.
#[inline(always)]
fn spread<const W: usize>(
    bytes: &[u8],
    channels: usize,
    pick: Pick,
    out: &mut [f32],
    decode: impl Fn([u8; W]) -> f32,
) -> usize {
    let at = |frame: &[u8], channel: usize| {
        // A missing second channel is the first: a mono file fills both sides of a stereo programme.
        let channel = if channel < channels { channel } else { 0 };
        frame[channel * W..].first_chunk::<W>().map_or(0.0, |sample| decode(*sample))
    };
    let frames = bytes.chunks_exact(W * channels.max(1));
    let count = frames.len().min(out.len() / pick.channels().count());
    let stereo = |out: &mut [f32], first: usize, second: usize| {
        for (frame, out) in frames.clone().zip(out.chunks_exact_mut(2)) {
            (out[0], out[1]) = (at(frame, first), at(frame, second));
        }
    };
    match pick {
        Pick::Stereo if channels == 2 => {
            // The usual case: samples in the order they come.
            for (sample, out) in bytes.chunks_exact(W).zip(out.iter_mut()) {
                *out = sample.first_chunk::<W>().map_or(0.0, |sample| decode(*sample));
            }
        }
        Pick::Stereo => stereo(out, 0, 1),
        Pick::Swapped => stereo(out, 1, 0),
        Pick::Left | Pick::Mono => {
            for (frame, out) in frames.clone().zip(out.iter_mut()) {
                *out = at(frame, 0);
            }
        }
        Pick::Right => {
            for (frame, out) in frames.clone().zip(out.iter_mut()) {
                *out = at(frame, 1);
            }
        }
        Pick::MonoMix => {
            for (frame, out) in frames.clone().zip(out.iter_mut()) {
                *out = (at(frame, 0) + at(frame, 1)) * 0.5;
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: f32 = 0.5;

    fn one(encoding: Encoding, bytes: &[u8]) -> f32 {
        let mut out = [9.0];
        assert_eq!(convert(bytes, Layout { encoding, channels: 1 }, Pick::Mono, &mut out), 1);
        out[0]
    }

    #[test]
    fn full_scale_and_sign_of_each_encoding() {
        assert_eq!(one(Encoding::S16, &i16::MIN.to_le_bytes()), -1.0);
        assert_eq!(one(Encoding::S16, &0x4000_i16.to_le_bytes()), HALF);
        assert_eq!(one(Encoding::S24Packed, &[0, 0, 0x80]), -1.0);
        assert_eq!(one(Encoding::S24Packed, &[0xFF, 0xFF, 0xFF]), -1.0 / 8_388_608.0);
        assert_eq!(one(Encoding::S32, &i32::MIN.to_le_bytes()), -1.0);
        assert_eq!(one(Encoding::S32, &0x4000_0000_i32.to_le_bytes()), HALF);
        assert_eq!(one(Encoding::F32, &(-0.25_f32).to_le_bytes()), -0.25);
    }

    #[test]
    fn s24_ignores_what_the_top_byte_holds() {
        for top in [0x00, 0xFF, 0x5A] {
            assert_eq!(one(Encoding::S24, &[0, 0, 0x80, top]), -1.0);
            assert_eq!(one(Encoding::S24, &[0, 0, 0x40, top]), HALF);
            assert_eq!(one(Encoding::S24, &[0xFF, 0xFF, 0xFF, top]), -1.0 / 8_388_608.0);
        }
    }

    #[test]
    fn every_16_bit_value_survives() {
        for value in i16::MIN..=i16::MAX {
            assert_eq!((one(Encoding::S16, &value.to_le_bytes()) * 32_768.0) as i16, value);
        }
    }

    fn picked(pick: Pick, channels: usize) -> Vec<f32> {
        // Frames of (1/4, 1/2, 1/8, 1/8, ...) and of half of that, negative.
        let frame = [8_192_i16, 16_384, 4_096, 4_096];
        let bytes: Vec<u8> = [1, -2]
            .iter()
            .flat_map(|by| frame[..channels].iter().flat_map(move |sample| (sample / by).to_le_bytes()))
            .collect();
        let mut out = vec![9.0; 2 * pick.channels().count()];
        assert_eq!(convert(&bytes, Layout { encoding: Encoding::S16, channels }, pick, &mut out), 2);
        out
    }

    #[test]
    fn picks() {
        for channels in [2, 4] {
            assert_eq!(picked(Pick::Stereo, channels), [0.25, 0.5, -0.125, -0.25]);
            assert_eq!(picked(Pick::Swapped, channels), [0.5, 0.25, -0.25, -0.125]);
            assert_eq!(picked(Pick::Left, channels), [0.25, -0.125]);
            assert_eq!(picked(Pick::Right, channels), [0.5, -0.25]);
            assert_eq!(picked(Pick::MonoMix, channels), [0.375, -0.1875]);
        }
        assert_eq!(picked(Pick::Mono, 1), [0.25, -0.125]);
        assert_eq!(picked(Pick::Stereo, 1), [0.25, 0.25, -0.125, -0.125]);
        assert_eq!(picked(Pick::MonoMix, 1), [0.25, -0.125]);
    }

    #[test]
    fn a_short_output_takes_what_it_holds() {
        let mut out = [9.0; 3];
        let layout = Layout { encoding: Encoding::S16, channels: 2 };
        assert_eq!(convert(&[0; 16], layout, Pick::Stereo, &mut out), 1);
        assert_eq!(convert(&[0; 3], layout, Pick::Stereo, &mut out), 0);
    }
}
