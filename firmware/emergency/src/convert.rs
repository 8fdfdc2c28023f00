//! From the sound of a file to the sound of the programme: fewer or more channels, then another rate.

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler, WindowFunction};
use symphonia::core::audio::{Channels as Speakers, Position};
use units::Channels;

/// What a channel of a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Left,
    Right,
    /// Centre, or the only channel.
    Centre,
    SurroundLeft,
    SurroundRight,
    SurroundCentre,
    /// Low-frequency effects, which a stereo mix leaves out (ITU-R BS.775-4, annex 8), and heights.
    LeftOut,
}

impl Role {
    /// Roles in the order in which Symphonia's decoders deliver; `None` for what has no stereo mix (Ambisonics).
    pub(crate) fn of(speakers: &Speakers) -> Option<Vec<Self>> {
        let count = speakers.count();
        match speakers {
            Speakers::Positioned(_) | Speakers::Discrete(_) if count == 1 => Some(vec![Self::Centre]),
            Speakers::Positioned(_) | Speakers::Discrete(_) if count == 2 => {
                Some(vec![Self::Left, Self::Right])
            }
            // Ascending bits are the canonical order.
            Speakers::Positioned(present) => Some(present.iter().map(Self::at).collect()),
            Speakers::Discrete(_) => {
                Position::from_wave_channel_count(count as u32).map(|all| all.iter().map(Self::at).collect())
            }
            Speakers::Ambisonic(_) | Speakers::Custom(_) | Speakers::None | _ => None,
        }
    }

    fn at(position: Position) -> Self {
        let is = |one: Position| one.contains(position);
        if is(Position::FRONT_LEFT | Position::FRONT_LEFT_CENTER | Position::FRONT_LEFT_WIDE) {
            Self::Left
        } else if is(Position::FRONT_RIGHT | Position::FRONT_RIGHT_CENTER | Position::FRONT_RIGHT_WIDE) {
            Self::Right
        } else if is(Position::FRONT_CENTER) {
            Self::Centre
        } else if is(Position::REAR_LEFT | Position::SIDE_LEFT) {
            Self::SurroundLeft
        } else if is(Position::REAR_RIGHT | Position::SIDE_RIGHT) {
            Self::SurroundRight
        } else if is(Position::REAR_CENTER) {
            Self::SurroundCentre
        } else {
            Self::LeftOut
        }
    }

    /// Roles of so many channels of Vorbis or Opus (RFC 7845, section 5.1.1.2).
    pub(crate) fn vorbis(channels: usize) -> Option<Vec<Self>> {
        use Role::{Centre, Left, LeftOut, Right, SurroundCentre, SurroundLeft, SurroundRight};
        Some(match channels {
            1 => vec![Centre],
            2 => vec![Left, Right],
            3 => vec![Left, Centre, Right],
            4 => vec![Left, Right, SurroundLeft, SurroundRight],
            5 => vec![Left, Centre, Right, SurroundLeft, SurroundRight],
            6 => vec![Left, Centre, Right, SurroundLeft, SurroundRight, LeftOut],
            7 => vec![Left, Centre, Right, SurroundLeft, SurroundRight, SurroundCentre, LeftOut],
            8 => vec![Left, Centre, Right, SurroundLeft, SurroundRight, SurroundLeft, SurroundRight, LeftOut],
            _ => return None,
        })
    }

    /// Its part of left and right: ITU-R BS.775-4, annex 8, table 2. Sums may exceed full scale; what is made of them
    /// is told their peak.
    const fn stereo(self) -> (f32, f32) {
        use std::f32::consts::FRAC_1_SQRT_2 as MINUS_3_DB;
        match self {
            Self::Left => (1.0, 0.0),
            Self::Right => (0.0, 1.0),
            Self::Centre => (MINUS_3_DB, MINUS_3_DB),
            Self::SurroundLeft => (MINUS_3_DB, 0.0),
            Self::SurroundRight => (0.0, MINUS_3_DB),
            Self::SurroundCentre => (0.5, 0.5),
            Self::LeftOut => (0.0, 0.0),
        }
    }
}

/// Rate and channels of decoded sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) hz: u32,
    pub(crate) roles: Vec<Role>,
}

/// Turns sound of one shape into another, in pieces.
pub(crate) struct Chain {
    /// Every source channel's part of left and right, or of the only channel and nothing.
    parts: Vec<(f32, f32)>,
    channels: usize,
    mixed: Vec<f32>,
    rate: Option<Rate>,
}

impl Chain {
    pub(crate) fn new(from: &Shape, hz: u32, channels: Channels) -> Result<Self, String> {
        let parts = match (&*from.roles, channels) {
            // Mono goes to both sides as it is.
            ([_], Channels::Stereo) => vec![(1.0, 1.0)],
            ([_], Channels::Mono) => vec![(1.0, 0.0)],
            (roles, Channels::Stereo) => roles.iter().map(|role| role.stereo()).collect(),
            (roles, Channels::Mono) => {
                let half = |role: &Role| (0.5 * (role.stereo().0 + role.stereo().1), 0.0);
                roles.iter().map(half).collect()
            }
        };
        let channels = channels.count();
        let rate = if from.hz == hz { None } else { Some(Rate::new(from.hz, hz, channels)?) };
        Ok(Self { parts, channels, mixed: Vec::new(), rate })
    }

    /// Appends to `out` what `pcm`, interleaved, turns into.
    pub(crate) fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) -> Result<(), String> {
        let mixed = if self.rate.is_some() { &mut self.mixed } else { &mut *out };
        for frame in pcm.chunks_exact(self.parts.len()) {
            let (mut left, mut right) = (0.0, 0.0);
            for (sample, part) in frame.iter().zip(&self.parts) {
                // Float files can hold anything; a NaN would poison filters and meters.
                let sample = if sample.is_finite() { *sample } else { 0.0 };
                left += sample * part.0;
                right += sample * part.1;
            }
            mixed.push(left);
            if self.channels == 2 {
                mixed.push(right);
            }
        }
        match &mut self.rate {
            Some(rate) => rate.take(&mut self.mixed, out),
            None => Ok(()),
        }
    }

    /// Appends what is still inside. Nothing may be pushed after it.
    pub(crate) fn end(&mut self, out: &mut Vec<f32>) -> Result<(), String> {
        match &mut self.rate {
            Some(rate) => rate.end(&mut self.mixed, out),
            None => Ok(()),
        }
    }
}

/// rubato's synchronous resampler: for a fixed ratio the best there is.
struct Rate {
    fft: Fft<f32>,
    channels: usize,
    chunk: Vec<f32>,
    /// Frames that went in, and those that came out without `skip`.
    taken: u64,
    given: u64,
    /// The filter's delay, in frames of the output, still to be dropped.
    skip: usize,
    ratio: (u64, u64),
}

/// Frames that go into the resampler at once. The filter is as long: a transition band of some 1 % of the rate.
const CHUNK: usize = 2_048;

impl Rate {
    fn new(from: u32, to: u32, channels: usize) -> Result<Self, String> {
        let window = WindowFunction::BlackmanHarris2;
        let (from_hz, to_hz) = (from as usize, to as usize);
        let fft = Fft::new_custom(from_hz, to_hz, CHUNK, 1, channels, window, FixedSync::Input);
        let fft = fft.map_err(|error| error.to_string())?;
        let chunk = vec![0.0; fft.output_frames_max() * channels];
        let skip = fft.output_delay();
        Ok(Self { fft, channels, chunk, taken: 0, given: 0, skip, ratio: (to.into(), from.into()) })
    }

    /// Takes whole chunks out of `waiting`.
    fn take(&mut self, waiting: &mut Vec<f32>, out: &mut Vec<f32>) -> Result<(), String> {
        let mut done = 0;
        loop {
            let frames = self.fft.input_frames_next();
            let Some(piece) = waiting.get(done..done + frames * self.channels) else { break };
            self.taken += frames as u64;
            done += piece.len();
            self.process(piece, frames, u64::MAX, out)?;
        }
        waiting.drain(..done);
        Ok(())
    }

    fn end(&mut self, waiting: &mut Vec<f32>, out: &mut Vec<f32>) -> Result<(), String> {
        let frames = waiting.len() / self.channels;
        self.taken += frames as u64;
        let wanted = (self.taken * self.ratio.0 + self.ratio.1 / 2) / self.ratio.1;
        let mut rest = std::mem::take(waiting);
        let mut valid = frames;
        // The delay is a chunk or so: each turn yields a chunk, so few are needed.
        while self.given < wanted {
            rest.resize(self.fft.input_frames_next() * self.channels, 0.0);
            self.process(&rest, valid, wanted, out)?;
            rest.fill(0.0);
            valid = 0;
        }
        Ok(())
    }

    fn process(&mut self, piece: &[f32], valid: usize, most: u64, out: &mut Vec<f32>) -> Result<(), String> {
        let frames = piece.len() / self.channels;
        let room = self.chunk.len() / self.channels;
        let input = InterleavedSlice::new(piece, self.channels, frames).map_err(|error| error.to_string())?;
        let mut output = InterleavedSlice::new_mut(&mut self.chunk, self.channels, room)
            .map_err(|error| error.to_string())?;
        let indexing = Indexing::new().partial_len(valid);
        let (_, made) = self
            .fft
            .process_into_buffer(&input, &mut output, Some(&indexing))
            .map_err(|error| error.to_string())?;
        let dropped = self.skip.min(made);
        self.skip -= dropped;
        let kept = ((made - dropped) as u64).min(most.saturating_sub(self.given));
        self.given += kept;
        out.extend_from_slice(
            &self.chunk[dropped * self.channels..(dropped + kept as usize) * self.channels],
        );
        Ok(())
    }
}
