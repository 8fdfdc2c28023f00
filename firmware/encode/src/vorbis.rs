//! libvorbis (aoTuV's, with Lancer's speed) through its C interface, because the safe layer puts the packets on pages of its own
//! choice, when it likes.
//!
//! The bitrate is managed around what was asked for; pages of digital silence are small all the same.
#![expect(unsafe_code, reason = "libvorbis is a C library")]

use std::collections::VecDeque;
use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

use aotuv_lancer_vorbis_sys as ffi;
use ogg_next_sys::ogg_packet;
use units::Rendition;

use crate::chain::{Coded, Coder};
use crate::{Error, sample};

/// Frames that are passed at once: the buffer grows with the first ones and then stays.
const MOST_FRAMES: usize = 2304;

/// What a stream may leave to the next one, in frames.
const RECENT: usize = 4096;

/// Frames that ffmpeg takes the first packet of a new encoder for, before the position where the stream begins: the last packet of
/// the old stream has to be longer, or its clock seems to run back.
const FIRST: u64 = 128;

/// libvorbis looks at the processor behind plain flags when it begins, so encoders start one at a time.
static STARTING: Mutex<()> = Mutex::new(());

/// One libvorbis encoder.
pub(crate) struct Vorbis {
    state: State,
    rendition: Rendition,
    /// Identification and set-up header; the same in every stream.
    identity: Vec<u8>,
    setup: Vec<u8>,
    /// Frames fed, over all streams, and how many of them before this stream.
    fed: u64,
    begin: u64,
    /// The newest frames fed, at most [`RECENT`].
    recent: VecDeque<f32>,
}

/// The structs point at one another, so they stay where they are.
struct State {
    info: *mut ffi::vorbis_info,
    dsp: *mut ffi::vorbis_dsp_state,
    block: *mut ffi::vorbis_block,
}

// SAFETY: the state owns all it points to, and libvorbis keeps constant tables only beside it once it has begun (under
// STARTING). Every use takes `&mut self` of the owner.
unsafe impl Send for State {}

impl State {
    fn new() -> Self {
        // SAFETY: plain C structs of numbers and pointers, for which all zeros is a value, and the one that libvorbis's own
        // clearing functions take for "never begun".
        unsafe {
            Self {
                info: Box::into_raw(Box::new(std::mem::zeroed())),
                dsp: Box::into_raw(Box::new(std::mem::zeroed())),
                block: Box::into_raw(Box::new(std::mem::zeroed())),
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: in this order by libvorbis's documentation; each is begun or all zeros, cleared once, and owned by this value
        // alone, which made the boxes.
        unsafe {
            ffi::vorbis_block_clear(self.block);
            ffi::vorbis_dsp_clear(self.dsp);
            ffi::vorbis_info_clear(self.info);
            drop(Box::from_raw(self.block));
            drop(Box::from_raw(self.dsp));
            drop(Box::from_raw(self.info));
        }
    }
}

impl Vorbis {
    pub(crate) fn new(rendition: Rendition) -> Result<Self, Error> {
        let check = |step: &'static str, code: c_int| {
            let code = i64::from(code);
            if code == 0 { Ok(()) } else { Err(Error::Start { rendition, library: "libvorbis", step, code }) }
        };
        let channels = rendition.channels.count() as i64;
        let (rate, bits) = (i64::from(rendition.rate.hz()), i64::from(rendition.bitrate.bits()));
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let state = State::new();
        // SAFETY: `info` is there to be begun; -1 is "no limit" for the hardest and the softest bitrate.
        let code = unsafe {
            ffi::vorbis_info_init(state.info);
            ffi::vorbis_encode_init(state.info, channels, rate, -1, bits, -1)
        };
        check("this bitrate for this rate and these channels", code)?;
        // SAFETY: `info` has begun; a plain field.
        let used = unsafe { (*state.info).bitrate_nominal };
        if used != bits {
            return Err(Error::Changed {
                rendition,
                what: "bitrate",
                asked: bits.to_string(),
                used: used.to_string(),
                remedy: format!("use {used} bit/s"),
            });
        }
        // SAFETY: `info` has begun, and all three stay where they are as long as the state lives.
        check("to start", unsafe { ffi::vorbis_analysis_init(state.dsp, state.info) })?;
        // SAFETY: as above.
        check("to start a block", unsafe { ffi::vorbis_block_init(state.dsp, state.block) })?;
        drop(starting);

        let [mut identity, mut comments, mut setup] = [no_packet(), no_packet(), no_packet()];
        // SAFETY: the state has begun; no comments is what all zeros says. The packets point into the state until the next call,
        // and are copied before that.
        let (identity, setup) = unsafe {
            let mut none: ffi::vorbis_comment = std::mem::zeroed();
            let code = ffi::vorbis_analysis_headerout(
                state.dsp,
                &raw mut none,
                &raw mut identity,
                &raw mut comments,
                &raw mut setup,
            );
            check("to write its headers", code)?;
            (bytes(&identity), bytes(&setup))
        };
        Ok(Self { state, rendition, identity, setup, fed: 0, begin: 0, recent: VecDeque::new() })
    }

    /// Takes the packets that are ready.
    fn take(&mut self, out: &mut VecDeque<Coded>) -> Result<(), Error> {
        let codec = self.rendition.codec;
        let check = |code: c_int| {
            if code < 0 { Err(Error::Encode { codec, code: i64::from(code) }) } else { Ok(code) }
        };
        // SAFETY: a state that has begun, by the calls and in the order of libvorbis's documentation. A packet points into the
        // state until the next call, and is copied before that.
        unsafe {
            while check(ffi::vorbis_analysis_blockout(self.state.dsp, self.state.block))? == 1 {
                check(ffi::vorbis_analysis(self.state.block, std::ptr::null_mut()))?;
                check(ffi::vorbis_bitrate_addblock(self.state.block))?;
                let mut packet = no_packet();
                while check(ffi::vorbis_bitrate_flushpacket(self.state.dsp, &raw mut packet))? == 1 {
                    let position = u64::try_from(packet.granulepos).unwrap_or(0);
                    out.push_back(Coded {
                        bytes: bytes(&packet),
                        position,
                        end: self.begin + position,
                        last: packet.e_o_s != 0,
                    });
                }
            }
        }
        Ok(())
    }
}

impl Coder for Vorbis {
    const STEP: u32 = 2304;
    /// Two of the longest blocks, and what libvorbis wants to have seen behind them, are there by then.
    const LAG: u32 = 3 * Self::STEP;

    fn head(&self, comments: &[u8]) -> Vec<Vec<u8>> {
        let comments = [b"\x03vorbis", comments, b"\x01"].concat();
        vec![self.identity.clone(), comments, self.setup.clone()]
    }

    fn feed(&mut self, pcm: &[f32], out: &mut VecDeque<Coded>) -> Result<(), Error> {
        let channels = self.rendition.channels.count();
        for part in pcm.chunks(MOST_FRAMES * channels) {
            let frames = part.len() / channels;
            // SAFETY: a state that has begun gives one place for `frames` samples a channel, valid until the next call.
            let code = unsafe {
                let places = ffi::vorbis_analysis_buffer(self.state.dsp, frames as c_int);
                for channel in 0..channels {
                    let place = std::slice::from_raw_parts_mut(*places.add(channel), frames);
                    for (to, from) in place.iter_mut().zip(part[channel..].iter().step_by(channels)) {
                        *to = sample::clean(*from);
                    }
                }
                ffi::vorbis_analysis_wrote(self.state.dsp, frames as c_int)
            };
            if code != 0 {
                return Err(Error::Encode { codec: self.rendition.codec, code: i64::from(code) });
            }
            self.fed += frames as u64;
            self.recent.extend(part);
            let beyond = self.recent.len().saturating_sub(RECENT * channels);
            self.recent.drain(..beyond);
            self.take(out)?;
        }
        Ok(())
    }

    /// An encoder of its own for every stream, since ffmpeg plays the first packet of a stream that follows on another one: that of
    /// a new encoder is 128 frames long, any other up to eight times as long.
    fn turn(&mut self, out: &mut VecDeque<Coded>) -> Result<(), Error> {
        self.end(out)?;
        let least = self.fed.saturating_sub(RECENT as u64);
        while let [.., before, last] = out.make_contiguous()
            && !before.last
            && before.end >= least
            && last.position.saturating_sub(before.position) <= FIRST
        {
            out.pop_back();
        }
        let Some(last) = out.back_mut() else {
            return Err(Error::Torn { rendition: self.rendition, bytes: 0 });
        };
        last.last = true;
        // What the old stream does not have any more is the new one's beginning.
        let begin = last.end.min(self.fed);
        let rest = (self.fed - begin) as usize * self.rendition.channels.count();
        let recent = std::mem::take(&mut self.recent);
        let rest: Vec<f32> = recent.range(recent.len().saturating_sub(rest)..).copied().collect();
        *self = Self { fed: begin, begin, ..Self::new(self.rendition)? };
        self.feed(&rest, out)
    }

    fn end(&mut self, out: &mut VecDeque<Coded>) -> Result<(), Error> {
        // SAFETY: a state that has begun; zero frames say that this was the end.
        let code = unsafe { ffi::vorbis_analysis_wrote(self.state.dsp, 0) };
        if code != 0 {
            return Err(Error::Encode { codec: self.rendition.codec, code: i64::from(code) });
        }
        self.take(out)
    }
}

const fn no_packet() -> ogg_packet {
    ogg_packet { packet: std::ptr::null_mut(), bytes: 0, b_o_s: 0, e_o_s: 0, granulepos: 0, packetno: 0 }
}

/// A copy of a packet's bytes.
///
/// # Safety
/// It was filled by libvorbis, by the newest call.
unsafe fn bytes(packet: &ogg_packet) -> Vec<u8> {
    let length = usize::try_from(packet.bytes).unwrap_or(0);
    if packet.packet.is_null() || length == 0 {
        return Vec::new();
    }
    // SAFETY: libvorbis says that so many bytes are there.
    unsafe { std::slice::from_raw_parts(packet.packet, length) }.to_vec()
}
