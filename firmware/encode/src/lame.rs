//! libmp3lame through its C interface, because the safe layer lacks the reservoir and hides the handle.
//!
//! When a packet comes out (LAME 3.100, `calcNeeded` and `lame_init_params`): LAME starts with 528 zeros in its buffer
//! and encodes whenever that holds 1904 frames, of which it then drops 1152. So the first packet needs 1376 frames and
//! every other one 1152 more, if no call passes frames beyond the one that completes a packet (a call copies up to
//! 1152 at once and looks at the fill level only afterwards). A lead of 1376 - 1152 = 224 frames puts every packet on a
//! whole multiple of 1152 frames of programme, and one call of 1152 frames per packet is all that is ever needed.
#![expect(unsafe_code, reason = "libmp3lame is a C library")]

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use mp3lame_encoder::ffi;
use units::{Channels, Codec, Rendition};

use crate::{Error, Options, packet, sample};

/// Frames in an MPEG-1 Layer III packet (ISO 11172-3).
pub(crate) const PACKET_FRAMES: u32 = 1152;

/// Frames that must have been fed when the first packet comes out.
const FIRST: u32 = 1376;

/// See the module's doc.
pub(crate) const LEAD: u32 = FIRST - PACKET_FRAMES;

/// LAME's own 576 frames and a standard decoder's 528 + 1 (LAME's technical FAQ; measured in the tests).
pub(crate) const DELAY: u32 = 576 + 528 + 1;

/// LAME's worst case for one call is 1.25 bytes a frame plus 7200; a flush passes up to three packets of 1152 frames.
/// Zero would mean "no limit" to LAME, so the room left is never allowed to get near it.
const SCRATCH: usize = 16 * 1024;
const ROOM_NEEDED: usize = 1376 * 5 / 4 + 7200;

/// The bitrates of MPEG-1 Layer III in kbit/s (ISO 11172-3, 2.4.2.3).
const LAYER3_KBIT: &str = "32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256 or 320";

/// `lame_init` fills global tables behind a plain flag, so encoders start one at a time.
static STARTING: Mutex<()> = Mutex::new(());

/// One LAME encoder.
pub(crate) struct Lame {
    handle: Handle,
    rendition: Rendition,
    /// Frames until the next packet is due.
    due: u32,
    /// What LAME wrote and nobody took yet: empty between two calls unless the reservoir is on.
    scratch: Box<[u8; SCRATCH]>,
    held: usize,
}

struct Handle(NonNull<ffi::lame_global_flags>);

// SAFETY: the handle owns all of its C state, LAME keeps nothing per thread, and its global tables are written only by
// `lame_init` and `lame_init_params`, under STARTING. Every use takes `&mut self` of the owner.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `lame_init`, is owned by this value alone, and is closed once.
        unsafe { ffi::lame_close(self.0.as_ptr()) };
    }
}

impl Lame {
    pub(crate) fn new(rendition: Rendition, options: Options) -> Result<Self, Error> {
        let start = |step: &'static str, code: i64| Error::Start { rendition, library: "LAME", step, code };
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: no arguments; null on lack of memory, which the next line turns into an error.
        let handle = Handle(NonNull::new(unsafe { ffi::lame_init() }).ok_or_else(|| start("to start", 0))?);
        let lame = handle.0.as_ptr();

        let hz = rendition.rate.hz() as c_int;
        let kbit = rendition.bitrate.kbit() as c_int;
        let (channels, mode) = match rendition.channels {
            Channels::Mono => (1, ffi::MPEG_mode::MONO),
            Channels::Stereo => (2, ffi::MPEG_mode::JOINT_STEREO),
        };
        // SAFETY: `lame` is a live handle and all of these are plain setters that copy their argument; a `None`
        // reporter is what LAME calls "print nothing".
        let set = unsafe {
            [
                ("its error report", ffi::lame_set_errorf(lame, None)),
                ("its debug report", ffi::lame_set_debugf(lame, None)),
                ("its message report", ffi::lame_set_msgf(lame, None)),
                ("the input rate", ffi::lame_set_in_samplerate(lame, hz)),
                // Left unset, LAME picks a lower one at low bitrates and resamples without a word.
                ("the output rate", ffi::lame_set_out_samplerate(lame, hz)),
                ("the channels", ffi::lame_set_num_channels(lame, channels)),
                ("the stereo mode", ffi::lame_set_mode(lame, mode)),
                ("constant bitrate", ffi::lame_set_VBR(lame, ffi::vbr_mode::vbr_off)),
                ("the bitrate", ffi::lame_set_brate(lame, kbit)),
                ("the quality", ffi::lame_set_quality(lame, c_int::from(options.quality))),
                ("the reservoir", ffi::lame_set_disable_reservoir(lame, c_int::from(!options.reservoir))),
                // On by default even at constant bitrate: a packet of zeros that is no programme.
                ("no VBR tag", ffi::lame_set_bWriteVbrTag(lame, 0)),
                ("no gain analysis", ffi::lame_set_findReplayGain(lame, 0)),
            ]
        };
        // SAFETY: as above; this setter gives no result.
        unsafe { ffi::lame_set_write_id3tag_automatic(lame, 0) };
        for (step, code) in set {
            if code != 0 {
                return Err(start(step, i64::from(code)));
            }
        }
        // SAFETY: a live handle with all settings made.
        let code = unsafe { ffi::lame_init_params(lame) };
        drop(starting);
        if code < 0 {
            return Err(start("these settings", i64::from(code)));
        }
        // SAFETY: a live handle; plain getters.
        let (used_kbit, used_hz, used_quality, packet) = unsafe {
            (
                ffi::lame_get_brate(lame),
                ffi::lame_get_out_samplerate(lame),
                ffi::lame_get_quality(lame),
                ffi::lame_get_framesize(lame),
            )
        };
        let changed = |what, asked: String, used: String, remedy: String| {
            Err(Error::Changed { rendition, what, asked, used, remedy })
        };
        if i64::from(used_kbit) * 1000 != i64::from(rendition.bitrate.bits()) {
            let (asked, used) = (rendition.bitrate.to_string(), format!("{used_kbit}k"));
            return changed("bitrate", asked, used, format!("use {LAYER3_KBIT} kbit/s"));
        }
        if used_hz != hz {
            let (asked, used) = (rendition.rate.to_string(), format!("{used_hz} Hz"));
            return changed("sample rate", asked, used, "use a higher bitrate".to_owned());
        }
        if used_quality != c_int::from(options.quality) {
            let (asked, used) = (options.quality.to_string(), used_quality.to_string());
            return changed("quality", asked, used, "use 0 (best) to 7, or 9".to_owned());
        }
        if packet != PACKET_FRAMES as c_int {
            return Err(start("packets of 1152 frames", i64::from(packet)));
        }
        Ok(Self { handle, rendition, due: FIRST, scratch: Box::new([0; SCRATCH]), held: 0 })
    }

    pub(crate) fn encode(&mut self, mut pcm: &[f32], emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let channels = self.rendition.channels.count();
        while !pcm.is_empty() {
            let take = (pcm.len() / channels).min(self.due as usize);
            let (now, later) = pcm.split_at(take * channels);
            if sample::sound(now) {
                self.pass(now, take)?;
            } else {
                let cleaned: Vec<f32> = now.iter().copied().map(sample::clean).collect();
                self.pass(&cleaned, take)?;
            }
            pcm = later;
            self.due -= take as u32;
            if self.due == 0 {
                self.due = PACKET_FRAMES;
                self.hand_out(emit)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let room = &mut self.scratch[self.held..];
        if room.len() < ROOM_NEEDED {
            return Err(self.torn());
        }
        // SAFETY: a live, initialised handle; LAME writes at most `room.len()` bytes (never zero, checked above) at
        // `room`, which is borrowed for the call.
        let code =
            unsafe { ffi::lame_encode_flush(self.handle.0.as_ptr(), room.as_mut_ptr(), room.len() as c_int) };
        self.wrote(code)?;
        self.hand_out(emit)?;
        if self.held == 0 { Ok(()) } else { Err(self.torn()) }
    }

    /// Passes `frames` frames to LAME.
    fn pass(&mut self, pcm: &[f32], frames: usize) -> Result<(), Error> {
        let lame = self.handle.0.as_ptr();
        let room = &mut self.scratch[self.held..];
        if room.len() < ROOM_NEEDED {
            return Err(self.torn());
        }
        let (out, size) = (room.as_mut_ptr(), room.len() as c_int);
        debug_assert_eq!(pcm.len(), frames * self.rendition.channels.count());
        // SAFETY: a live, initialised handle that was told this number of channels; LAME reads `frames` frames of
        // `pcm`, which holds exactly these, and writes at most `size` bytes (never zero, checked above) at `out`.
        let code = unsafe {
            match self.rendition.channels {
                Channels::Mono => ffi::lame_encode_buffer_ieee_float(
                    lame,
                    pcm.as_ptr(),
                    pcm.as_ptr(),
                    frames as c_int,
                    out,
                    size,
                ),
                Channels::Stereo => ffi::lame_encode_buffer_interleaved_ieee_float(
                    lame,
                    pcm.as_ptr(),
                    frames as c_int,
                    out,
                    size,
                ),
            }
        };
        self.wrote(code)
    }

    fn wrote(&mut self, code: c_int) -> Result<(), Error> {
        let bytes =
            usize::try_from(code).map_err(|_| Error::Encode { codec: Codec::Mp3, code: i64::from(code) })?;
        self.held += bytes;
        Ok(())
    }

    /// Emits the whole packets and keeps the rest, which only a reservoir leaves behind.
    fn hand_out(&mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let mut from = 0;
        loop {
            match packet::first(&self.scratch[from..self.held], &self.rendition) {
                Ok(Some(length)) => {
                    emit(&self.scratch[from..from + length]);
                    from += length;
                }
                Ok(None) => break,
                Err(torn) => {
                    // Whoever calls again all the same must not get the packets above a second time.
                    self.held = 0;
                    return Err(torn);
                }
            }
        }
        self.scratch.copy_within(from..self.held, 0);
        self.held -= from;
        Ok(())
    }

    fn torn(&self) -> Error {
        Error::Torn { rendition: self.rendition, bytes: self.held }
    }
}
