//! From the programme's rate to another: a synchronous resampler (rubato's, by FFT), whose ratio is exact for ever, so that the
//! packet grid holds. It takes and gives whole chunks, and allocates nothing once it has begun.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};
use units::{Rendition, SampleRate};

use crate::Error;

/// About so many frames are a chunk, 27 ms: its filter is as long, and passes 21.5 kHz of 22.05.
const CHUNK: usize = 1280;

/// One rendition's way from the programme's rate.
pub(crate) struct Resampler {
    fft: Fft<f32>,
    channels: usize,
    input: Vec<f32>,
    /// Samples of the chunk that is being filled; never full between two calls.
    filled: usize,
    output: Vec<f32>,
}

impl Resampler {
    pub(crate) fn new(from: SampleRate, rendition: Rendition) -> Result<Self, Error> {
        let (hz, channels) = (rendition.rate.hz() as usize, rendition.channels.count());
        let window = WindowFunction::BlackmanHarris2;
        let fft = Fft::new_custom(from.hz() as usize, hz, CHUNK, 1, channels, window, FixedSync::Both)
            .map_err(|_| Error::Start { rendition, library: "rubato", step: "to resample", code: 0 })?;
        let (taken, given) = (fft.input_frames_next(), fft.output_frames_next());
        Ok(Self {
            fft,
            channels,
            input: vec![0.0; taken * channels],
            filled: 0,
            output: vec![0.0; given * channels],
        })
    }

    /// Takes whole frames; passes on what comes out.
    pub(crate) fn pass(
        &mut self,
        mut pcm: &[f32],
        on: &mut dyn FnMut(&[f32]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while !pcm.is_empty() {
            let room = &mut self.input[self.filled..];
            let (now, later) = pcm.split_at(pcm.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            pcm = later;
            if self.filled == self.input.len() {
                self.filled = 0;
                self.chunk();
                on(&self.output)?;
            }
        }
        Ok(())
    }

    /// Passes on what is left, with silence behind it.
    pub(crate) fn finish(mut self, on: &mut dyn FnMut(&[f32]) -> Result<(), Error>) -> Result<(), Error> {
        let missing = self.input.len() - self.filled;
        // Its delay is less than a chunk.
        self.pass(&vec![0.0; missing + self.input.len()], on)
    }

    fn chunk(&mut self) {
        // One number that is none would sound for two chunks.
        for sample in &mut self.input {
            *sample = crate::sample::clean(*sample);
        }
        let (channels, taken, given) =
            (self.channels, self.input.len() / self.channels, self.output.len() / self.channels);
        let (Ok(from), Ok(mut to)) = (
            InterleavedSlice::new(&self.input, channels, taken),
            InterleavedSlice::new_mut(&mut self.output, channels, given),
        ) else {
            return;
        };
        // Refused are buffers of the wrong size; these have its own.
        let _ = self.fft.process_into_buffer(&from, &mut to, None);
    }
}
