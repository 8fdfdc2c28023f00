//! Samples that stand at digital full scale.

use units::Frames;

/// The level that counts as full scale: one step of 16 bit below 1.0 and a little less, so that a card's highest code
/// counts at any word length.
pub(crate) const FULL_SCALE: f32 = 0.9999;

/// Number of the frame after the last one that completes or continues a run of `samples` at full scale in one channel;
/// `runs` carries on from the stretch before.
pub(crate) fn full_scale_run(
    runs: &mut [u32; 2],
    samples: u32,
    pcm: &[f32],
    channels: usize,
) -> Option<Frames> {
    let mut last = None;
    for (number, frame) in pcm.chunks_exact(channels).enumerate() {
        for (run, sample) in runs.iter_mut().zip(frame) {
            *run = if sample.abs() >= FULL_SCALE { run.saturating_add(1) } else { 0 };
            if *run >= samples {
                last = Some(Frames(number as u64 + 1));
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_clip_also_across_two_stretches() {
        let mut runs = [0; 2];
        assert_eq!(full_scale_run(&mut runs, 3, &[1.0, 1.0, 0.0, -1.0, -1.0], 1), None);
        assert_eq!(full_scale_run(&mut runs, 3, &[1.0, 0.0], 1), Some(Frames(1)));
    }

    #[test]
    fn sixteen_bit_full_scale_clips() {
        let highest = [f32::from(i16::MAX) / 32_768.0; 3];
        assert_eq!(full_scale_run(&mut [0; 2], 3, &highest, 1), Some(Frames(3)));
    }

    #[test]
    fn channels_clip_each_for_itself() {
        let mut runs = [0; 2];
        assert_eq!(full_scale_run(&mut runs, 3, &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], 2), None);
        assert_eq!(full_scale_run(&mut runs, 3, &[0.0, 1.0, 0.0, 1.0], 2), Some(Frames(2)));
    }
}
