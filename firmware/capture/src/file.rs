//! An audio file as a source: decoded by Symphonia, looped without a seam.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use units::SampleRate;

use crate::error::Error;
use crate::paced::Source;

/// A file that starts again when it ends.
pub(crate) struct Looped {
    path: PathBuf,
    rate: SampleRate,
    channels: usize,
    pass: Pass,
    /// Decoded and not handed on from `taken` on.
    decoded: Vec<f32>,
    taken: usize,
}

/// One reading of the file, from its first frame to its last.
struct Pass {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    /// Whether anything was decoded: a file without sound would loop for ever.
    sounded: bool,
}

impl Looped {
    /// Opens and decodes the first packet, so that what is wrong shows at once.
    pub(crate) fn open(path: &Path, rate: SampleRate) -> Result<Self, Error> {
        let pass = Pass::open(path)?;
        let mut looped =
            Self { path: path.to_owned(), rate, channels: 0, pass, decoded: Vec::new(), taken: 0 };
        looped.decode()?;
        Ok(looped)
    }

    /// Decodes the next packet that has sound, from the beginning of the file again after its end.
    fn decode(&mut self) -> Result<(), Error> {
        self.taken = 0;
        self.decoded.clear();
        while self.decoded.is_empty() {
            let Some(spec) = self.pass.decode(&self.path, &mut self.decoded)? else {
                if !self.pass.sounded {
                    return Err(broken(&self.path, "it holds no sound"));
                }
                // Opened anew instead of rewound: encoder delay and padding are trimmed the same way each time.
                self.pass = Pass::open(&self.path)?;
                continue;
            };
            if spec.hz != self.rate.hz() {
                return Err(Error::FileRate { path: self.path.clone(), file: spec.hz, programme: self.rate });
            }
            if self.channels == 0 {
                self.channels = spec.channels;
            }
            if spec.channels == 0 || spec.channels != self.channels {
                return Err(broken(&self.path, "its number of channels changes"));
            }
        }
        Ok(())
    }
}

impl Source for Looped {
    fn channels(&self) -> usize {
        self.channels
    }

    fn fill(&mut self, mut out: &mut [f32]) -> Result<(), Error> {
        while !out.is_empty() {
            if self.taken == self.decoded.len() {
                self.decode()?;
            }
            let count = out.len().min(self.decoded.len() - self.taken);
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&self.decoded[self.taken..self.taken + count]);
            self.taken += count;
            out = later;
        }
        Ok(())
    }
}

/// What a decoded packet is.
struct Spec {
    hz: u32,
    channels: usize,
}

impl Pass {
    fn open(path: &Path) -> Result<Self, Error> {
        let wrong = |error: SymphoniaError| broken(path, error);
        let file = File::open(path).map_err(|error| broken(path, error))?;
        if file.metadata().is_ok_and(|about| about.is_dir()) {
            return Err(broken(path, "it is a folder"));
        }
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
            hint.with_extension(extension);
        }
        let stream = MediaSourceStream::new(Box::new(file), Default::default());
        let reader = symphonia::default::get_probe()
            .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(wrong)?;
        let track =
            reader.default_track(TrackType::Audio).ok_or_else(|| broken(path, "it has no audio track"))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters =
            parameters.ok_or_else(|| broken(path, "its audio track says nothing about its codec"))?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(wrong)?;
        Ok(Self { track: track.id, reader, decoder, sounded: false })
    }

    /// Appends the next packet's samples; `None` at the end of the file.
    fn decode(&mut self, path: &Path, out: &mut Vec<f32>) -> Result<Option<Spec>, Error> {
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => return Ok(None),
                // A file that was cut off ends where it was cut.
                Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                Err(error) => return Err(broken(path, error)),
            };
            match self.decoder.decode(&packet) {
                Ok(sound) => {
                    out.resize(sound.samples_interleaved(), 0.0);
                    sound.copy_to_slice_interleaved(&mut *out);
                    self.sounded |= !out.is_empty();
                    return Ok(Some(Spec {
                        hz: sound.spec().rate(),
                        channels: sound.spec().channels().count(),
                    }));
                }
                // A damaged packet is passed over, as every player does.
                Err(SymphoniaError::DecodeError(_)) => {}
                Err(error) => return Err(broken(path, error)),
            }
        }
    }
}

fn broken(path: &Path, what: impl ToString) -> Error {
    Error::File { path: path.to_owned(), what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// RIFF/WAVE, PCM, 16 bits.
    fn wav(hz: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let bytes = samples.len() as u32 * 2;
        let mut file = Vec::new();
        file.extend(b"RIFF");
        file.extend((36 + bytes).to_le_bytes());
        file.extend(b"WAVEfmt ");
        file.extend(16_u32.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(hz.to_le_bytes());
        file.extend((hz * u32::from(channels) * 2).to_le_bytes());
        file.extend((channels * 2).to_le_bytes());
        file.extend(16_u16.to_le_bytes());
        file.extend(b"data");
        file.extend(bytes.to_le_bytes());
        file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        file
    }

    #[test]
    fn a_file_loops_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ramp.wav");
        let ramp: Vec<i16> = (0..10_007).map(|n| n - 5_000).collect();
        for channels in [1_usize, 2] {
            let samples: Vec<i16> = ramp.iter().flat_map(|sample| vec![*sample; channels]).collect();
            fs::write(&path, wav(48_000, channels as u16, &samples)).unwrap();
            let mut file = Looped::open(&path, SampleRate::Hz48000).unwrap();
            assert_eq!(file.channels(), channels);
            let mut out = vec![9.0; 1_152 * channels];
            let mut frame = 0;
            while frame < 4 * ramp.len() {
                file.fill(&mut out).unwrap();
                for sample in out.chunks(channels) {
                    let wanted = f32::from(ramp[frame % ramp.len()]) / 32_768.0;
                    assert!(
                        sample.iter().all(|got| *got == wanted),
                        "frame {frame}: {sample:?}, not {wanted}"
                    );
                    frame += 1;
                }
            }
        }
    }

    #[test]
    fn the_wrong_rate_is_told_with_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cd.wav");
        fs::write(&path, wav(44_100, 2, &[0; 4_000])).unwrap();
        let text = Looped::open(&path, SampleRate::Hz48000).err().unwrap().to_string();
        assert!(text.contains("44100") && text.contains("48000") && text.contains("-ar"), "{text}");
    }

    #[test]
    fn what_is_no_audio_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let silent = folder.path().join("silent.wav");
        fs::write(&silent, wav(48_000, 2, &[])).unwrap();
        let text = folder.path().join("notes.mp3");
        fs::write(&text, "no sound here".repeat(900)).unwrap();
        for path in [silent, text, folder.path().join("missing.flac"), folder.path().to_owned()] {
            let told = Looped::open(&path, SampleRate::Hz48000).err().map(|error| error.to_string());
            let told = told.unwrap_or_else(|| panic!("{} was taken", path.display()));
            assert!(told.contains(&*path.to_string_lossy()), "{told}");
        }
    }

    #[test]
    fn a_file_that_vanishes_ends_the_loop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short.wav");
        fs::write(&path, wav(48_000, 1, &[1; 500])).unwrap();
        let mut file = Looped::open(&path, SampleRate::Hz48000).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(file.fill(&mut [0.0; 501]), Err(Error::File { .. })));
    }
}
