//! FDK through its C interface, because the safe layer lacks flushing, afterburner and read-back, and lets two threads
//! into one encoder.
//!
//! FDK yields a packet at the very call that completes `frameLength` frames of input, the first included, so it needs
//! no lead. Signalling is implicit in ADTS whatever is set: headers name the LC core (half the rate under SBR, mono
//! under parametric stereo).
#![expect(unsafe_code, reason = "FDK is a C library")]

use std::ffi::{c_int, c_void};
use std::ptr;

use fdk_aac_sys as ffi;
use units::{Channels, Codec, Rendition};

use crate::{Error, packet};

/// See the module's doc.
pub(crate) const LEAD: u32 = 0;

/// Most packets that a flush can give: the longest delay is 7106 frames, four packets. Bounds the loop.
const FLUSH_MOST: usize = 8;

/// One FDK encoder.
pub(crate) struct Fdk {
    handle: Handle,
    rendition: Rendition,
    packet_frames: u32,
    delay: u32,
    /// Samples of the packet that is being filled; never full between two calls.
    input: Box<[i16]>,
    filled: usize,
    output: Box<[u8]>,
}

struct Handle(ffi::HANDLE_AACENCODER);

// SAFETY: the handle owns all of its C state, and FDK keeps constant tables only beside it (no thread-local, no global
// state). Every use takes `&mut self` of the owner.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle came from `aacEncOpen`, is owned by this value alone, and is closed once.
        unsafe { ffi::aacEncClose(&raw mut self.0) };
    }
}

impl Fdk {
    pub(crate) fn new(rendition: Rendition) -> Result<Self, Error> {
        let start = |step: &'static str, code: ffi::AACENC_ERROR| Error::Start {
            rendition,
            library: "FDK",
            step,
            code: i64::from(code),
        };
        let object_type = match (rendition.codec, rendition.channels) {
            (Codec::HeAacV2, Channels::Mono) => return Err(Error::NeedsStereo(rendition)),
            (Codec::HeAacV2, Channels::Stereo) => ffi::AUDIO_OBJECT_TYPE_AOT_PS,
            (Codec::HeAac, Channels::Mono | Channels::Stereo) => ffi::AUDIO_OBJECT_TYPE_AOT_SBR,
            (Codec::AacLc | Codec::Mp3 | Codec::Vorbis | Codec::Opus, Channels::Mono | Channels::Stereo) => {
                ffi::AUDIO_OBJECT_TYPE_AOT_AAC_LC
            }
        } as u32;
        let channels = rendition.channels.count() as u32;

        let mut raw: ffi::HANDLE_AACENCODER = ptr::null_mut();
        // SAFETY: `raw` outlives the call and takes the new handle; 0 modules means all.
        let code = unsafe { ffi::aacEncOpen(&raw mut raw, 0, channels) };
        if code != ffi::AACENC_ERROR_AACENC_OK || raw.is_null() {
            return Err(start("to start", code));
        }
        let handle = Handle(raw);

        let settings = [
            ("the kind of AAC", ffi::AACENC_PARAM_AACENC_AOT, object_type),
            ("the sample rate", ffi::AACENC_PARAM_AACENC_SAMPLERATE, rendition.rate.hz()),
            // MODE_1 and MODE_2 are the numbers of their channels.
            ("the channels", ffi::AACENC_PARAM_AACENC_CHANNELMODE, channels),
            ("constant bitrate", ffi::AACENC_PARAM_AACENC_BITRATEMODE, 0),
            ("the bitrate", ffi::AACENC_PARAM_AACENC_BITRATE, rendition.bitrate.bits()),
            ("ADTS", ffi::AACENC_PARAM_AACENC_TRANSMUX, ffi::TRANSPORT_TYPE_TT_MP4_ADTS as u32),
            ("the afterburner", ffi::AACENC_PARAM_AACENC_AFTERBURNER, 1),
        ];
        for (step, parameter, value) in settings {
            // SAFETY: a live handle; the setter copies its value.
            let code = unsafe { ffi::aacEncoder_SetParam(handle.0, parameter, value) };
            if code != ffi::AACENC_ERROR_AACENC_OK {
                return Err(start(step, code));
            }
        }
        // SAFETY: a live handle and nothing else is FDK's call for "take the settings over".
        let code =
            unsafe { ffi::aacEncEncode(handle.0, ptr::null(), ptr::null(), ptr::null(), ptr::null_mut()) };
        if code != ffi::AACENC_ERROR_AACENC_OK {
            return Err(start("these settings", code));
        }
        for (what, parameter, asked) in [
            ("bitrate", ffi::AACENC_PARAM_AACENC_BITRATE, rendition.bitrate.bits()),
            ("sample rate", ffi::AACENC_PARAM_AACENC_SAMPLERATE, rendition.rate.hz()),
            ("object type", ffi::AACENC_PARAM_AACENC_AOT, object_type),
            ("afterburner", ffi::AACENC_PARAM_AACENC_AFTERBURNER, 1),
        ] {
            // SAFETY: a live, initialised handle; a plain getter.
            let used = unsafe { ffi::aacEncoder_GetParam(handle.0, parameter) };
            if used != asked {
                return Err(Error::Changed {
                    rendition,
                    what,
                    asked: asked.to_string(),
                    used: used.to_string(),
                    remedy: format!("use {used}, or another codec for this {what}"),
                });
            }
        }
        // SAFETY: the struct is plain numbers and arrays of them, for which all zeros is a value.
        let mut info: ffi::AACENC_InfoStruct = unsafe { std::mem::zeroed() };
        // SAFETY: a live, initialised handle; `info` outlives the call.
        let code = unsafe { ffi::aacEncInfo(handle.0, &raw mut info) };
        // The channel mode would be read back as mono under parametric stereo; what FDK takes in is what matters.
        if code != ffi::AACENC_ERROR_AACENC_OK || info.inputChannels != channels {
            return Err(start("to tell its packet length", code));
        }
        // FDK reports SBR as off even while it runs; the packet's length is the proof that it does.
        if info.frameLength != rendition.codec.frames_per_packet() {
            return Err(Error::Changed {
                rendition,
                what: "packet length",
                asked: rendition.codec.frames_per_packet().to_string(),
                used: info.frameLength.to_string(),
                remedy: "use another codec".to_owned(),
            });
        }
        Ok(Self {
            handle,
            rendition,
            packet_frames: info.frameLength,
            delay: info.nDelay,
            input: vec![0; (info.frameLength * channels) as usize].into_boxed_slice(),
            filled: 0,
            output: vec![0; info.maxOutBufBytes as usize].into_boxed_slice(),
        })
    }

    pub(crate) const fn packet_frames(&self) -> u32 {
        self.packet_frames
    }

    pub(crate) const fn entry_every(&self) -> u32 {
        match self.rendition.codec {
            Codec::HeAac | Codec::HeAacV2 => SBR_HEADER_EVERY,
            Codec::AacLc | Codec::Mp3 | Codec::Vorbis | Codec::Opus => 1,
        }
    }

    pub(crate) const fn delay(&self) -> u32 {
        self.delay
    }

    pub(crate) fn encode(&mut self, mut pcm: &[f32], emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        while !pcm.is_empty() {
            let room = &mut self.input[self.filled..];
            let take = room.len().min(pcm.len());
            let (now, later) = pcm.split_at(take);
            for (place, sample) in room.iter_mut().zip(now) {
                *place = to_i16(*sample);
            }
            pcm = later;
            self.filled += take;
            if self.filled == self.input.len() {
                let samples = std::mem::take(&mut self.filled);
                match self.pass(samples as c_int)? {
                    Passed::Bytes(bytes) => self.hand_out(bytes, emit)?,
                    Passed::End => return Err(self.torn(0)),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        if self.filled > 0 {
            // Less than a packet: FDK keeps it, and yields it once the flush has filled it up with zeros.
            match self.pass(self.filled as c_int)? {
                Passed::Bytes(0) => {}
                Passed::Bytes(bytes) => return Err(self.torn(bytes)),
                Passed::End => return Err(self.torn(0)),
            }
        }
        for _ in 0..FLUSH_MOST {
            match self.pass(-1)? {
                Passed::Bytes(bytes) => self.hand_out(bytes, emit)?,
                Passed::End => return Ok(()),
            }
        }
        Err(self.torn(0))
    }

    /// Passes the first `samples` of the input to FDK, or -1 for "that was the end".
    fn pass(&mut self, samples: c_int) -> Result<Passed, Error> {
        debug_assert!(samples <= self.input.len() as c_int);
        let mut input: *mut c_void = self.input.as_mut_ptr().cast();
        let mut input_kind = ffi::AACENC_BufferIdentifier_IN_AUDIO_DATA as c_int;
        let mut input_bytes = size_of_val(&*self.input) as c_int;
        let mut input_unit = size_of::<i16>() as c_int;
        let from = ffi::AACENC_BufDesc {
            numBufs: 1,
            bufs: &raw mut input,
            bufferIdentifiers: &raw mut input_kind,
            bufSizes: &raw mut input_bytes,
            bufElSizes: &raw mut input_unit,
        };
        let mut output: *mut c_void = self.output.as_mut_ptr().cast();
        let mut output_kind = ffi::AACENC_BufferIdentifier_OUT_BITSTREAM_DATA as c_int;
        let mut output_bytes = self.output.len() as c_int;
        let mut output_unit = size_of::<u8>() as c_int;
        let to = ffi::AACENC_BufDesc {
            numBufs: 1,
            bufs: &raw mut output,
            bufferIdentifiers: &raw mut output_kind,
            bufSizes: &raw mut output_bytes,
            bufElSizes: &raw mut output_unit,
        };
        let order = ffi::AACENC_InArgs { numInSamples: samples, numAncBytes: 0 };
        let mut done =
            ffi::AACENC_OutArgs { numOutBytes: 0, numInSamples: 0, numAncBytes: 0, bitResState: 0 };
        // SAFETY: a live, initialised handle; both descriptors name one buffer each, with its true size, and they and
        // everything they point at outlive the call; `samples` is within the input (or -1, which reads none).
        let code = unsafe {
            ffi::aacEncEncode(self.handle.0, &raw const from, &raw const to, &raw const order, &raw mut done)
        };
        match code {
            ffi::AACENC_ERROR_AACENC_OK if samples < 0 || done.numInSamples == samples => {
                Ok(Passed::Bytes(usize::try_from(done.numOutBytes).unwrap_or_default()))
            }
            ffi::AACENC_ERROR_AACENC_ENCODE_EOF => Ok(Passed::End),
            other => Err(Error::Encode { codec: self.rendition.codec, code: i64::from(other) }),
        }
    }

    fn hand_out(&self, bytes: usize, emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let packet = self.output.get(..bytes).ok_or_else(|| self.torn(bytes))?;
        if packet::first(packet, &self.rendition)? != Some(bytes) {
            return Err(self.torn(bytes));
        }
        emit(packet);
        Ok(())
    }

    fn torn(&self, bytes: usize) -> Error {
        Error::Torn { rendition: self.rendition, bytes }
    }
}

/// FDK's own choice for ADTS (`sbr_encoder.cpp`); a test with its decoder holds it to that.
const SBR_HEADER_EVERY: u32 = 10;

/// What one call gave.
enum Passed {
    /// So many bytes of output; none while a packet is being filled.
    Bytes(usize),
    /// Everything is out.
    End,
}

/// Full scale 1.0 to 16 bit, rounded to the nearest, saturated; what is no number becomes 0 (the cast does both).
/// The factor is 32768, so that a programme captured at 16 bit arrives unchanged.
fn to_i16(sample: f32) -> i16 {
    let scaled = sample * 32768.0;
    (scaled + 0.5_f32.copysign(scaled)) as i16
}
