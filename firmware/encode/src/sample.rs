//! What may be passed to a library that computes with whatever it is given.

/// Loudest sample passed on: psychoacoustics overflow on absurd numbers. +18 dBFS is no sound any more.
const LOUDEST: f32 = 8.0;

/// Whether every sample is a number that an encoder can stand. No early exit, so that the compiler can use vectors.
pub(crate) fn sound(pcm: &[f32]) -> bool {
    pcm.iter().fold(true, |so_far, sample| so_far & (sample.abs() <= LOUDEST))
}

/// The sample, or the nearest one that an encoder can stand; what is no number becomes silence.
pub(crate) fn clean(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}
