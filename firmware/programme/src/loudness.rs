//! Momentary, short-term and integrated loudness (ITU-R BS.1770-4, EBU Tech 3341) from the energy of every 100 ms.

use std::collections::VecDeque;
use std::time::Duration;

use units::Lufs;

const MOMENTARY_TENTHS: usize = 4;
const SHORT_TERM_TENTHS: usize = 30;

/// Integrated loudness is worked out at most once per so many tenths of a second: it walks the whole history.
const INTEGRATED_EVERY_TENTHS: u32 = 10;

/// Blocks below this are no programme...
const ABSOLUTE_GATE_LUFS: f64 = -70.0;

/// ... and of the rest, those so much below their mean are pauses.
const RELATIVE_GATE_LU: f64 = -10.0;

/// What was heard, as K-weighted energies.
#[derive(Debug)]
pub(crate) struct Loudness {
    /// The last 3 s; `at` is the oldest, to be replaced next. Zero before the start, which is silence.
    tenths: [f64; SHORT_TERM_TENTHS],
    at: usize,
    /// Tenths heard since the start, counted as far as it takes to fill a gating block.
    heard: usize,
    /// Energy of every gating block (400 ms, one every 100 ms), quiet ones too, oldest first.
    blocks: VecDeque<f32>,
    most_blocks: usize,
    integrated: Option<Lufs>,
    /// Tenths since `integrated` was worked out.
    age: u32,
}

impl Loudness {
    /// Nothing heard; memory for `history` is taken now, so that it never grows later.
    pub(crate) fn new(history: Duration) -> Self {
        let most_blocks = (history.as_millis() / 100).max(1) as usize;
        Self {
            tenths: [0.0; SHORT_TERM_TENTHS],
            at: 0,
            heard: 0,
            blocks: VecDeque::with_capacity(most_blocks),
            most_blocks,
            integrated: None,
            age: INTEGRATED_EVERY_TENTHS,
        }
    }

    /// Takes the loudness of the next 100 ms; minus infinity is silence.
    pub(crate) fn tenth(&mut self, lufs: f64) {
        self.tenths[self.at] = energy(lufs);
        self.at = (self.at + 1) % SHORT_TERM_TENTHS;
        self.heard = (self.heard + 1).min(MOMENTARY_TENTHS);
        if self.heard == MOMENTARY_TENTHS {
            if self.blocks.len() == self.most_blocks {
                self.blocks.pop_front();
            }
            self.blocks.push_back(self.mean(MOMENTARY_TENTHS) as f32);
        }
        self.age = self.age.saturating_add(1);
    }

    /// Loudness of the last 400 ms.
    pub(crate) fn momentary(&self) -> Option<Lufs> {
        loudness(self.mean(MOMENTARY_TENTHS))
    }

    /// Loudness of the last 3 s.
    pub(crate) fn short_term(&self) -> Option<Lufs> {
        loudness(self.mean(SHORT_TERM_TENTHS))
    }

    /// Gated loudness of the history, at most a second old.
    pub(crate) fn integrated(&mut self) -> Option<Lufs> {
        if self.age >= INTEGRATED_EVERY_TENTHS {
            self.age = 0;
            let absolute = energy(ABSOLUTE_GATE_LUFS);
            let relative = self.gated(absolute) * 10_f64.powf(RELATIVE_GATE_LU / 10.0);
            // Where no block passed the absolute gate the relative one is no number, and `max` leaves it out.
            self.integrated = loudness(self.gated(relative.max(absolute)));
        }
        self.integrated
    }

    fn mean(&self, tenths: usize) -> f64 {
        let newest_first = (1..=tenths).map(|back| (self.at + SHORT_TERM_TENTHS - back) % SHORT_TERM_TENTHS);
        newest_first.map(|place| self.tenths[place]).sum::<f64>() / tenths as f64
    }

    /// Mean energy of the blocks at or above `gate`, which is an energy; no number if there are none.
    fn gated(&self, gate: f64) -> f64 {
        let (mut energy, mut blocks) = (0.0, 0_u32);
        for block in self.blocks.iter().map(|block| f64::from(*block)).filter(|block| *block >= gate) {
            energy += block;
            blocks += 1;
        }
        energy / f64::from(blocks)
    }
}

/// BS.1770-4: L = -0.691 + 10 log10(energy).
fn energy(lufs: f64) -> f64 {
    10_f64.powf((lufs + 0.691) / 10.0)
}

/// The other way round; no energy has no loudness.
fn loudness(energy: f64) -> Option<Lufs> {
    Lufs::new(-0.691 + 10.0 * energy.log10())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<Lufs>, expected: f32) -> bool {
        found.is_some_and(|lufs| (lufs.lufs() - expected).abs() < 0.05)
    }

    #[test]
    fn pauses_are_gated_by_both_gates() {
        let mut heard = Loudness::new(Duration::from_secs(3600));
        (0..1000).for_each(|_| heard.tenth(-20.0));
        (0..1000).for_each(|_| heard.tenth(-90.0));
        assert!(near(heard.integrated(), -20.0), "under the absolute gate: {:?}", heard.integrated());
        (0..1000).for_each(|_| heard.tenth(-35.0));
        assert!(near(heard.integrated(), -20.0), "under the relative gate: {:?}", heard.integrated());
        (0..9000).for_each(|_| heard.tenth(-35.0));
        // Now they are most of the programme: 10 log10((1000 * 10^-2 + 10000 * 10^-3.5) / 11000).
        assert!(near(heard.integrated(), -29.2), "over the relative gate: {:?}", heard.integrated());
    }

    #[test]
    fn history_ends_where_it_was_set_to() {
        let mut heard = Loudness::new(Duration::from_secs(10));
        (0..100).for_each(|_| heard.tenth(-10.0));
        (0..50).for_each(|_| heard.tenth(-30.0));
        let before = heard.integrated().unwrap().lufs();
        assert!((-10.5..-10.0).contains(&before), "the gating blocks that hold both count as loud: {before}");
        // Three more: the gating blocks in which the loud passage ends.
        (0..53).for_each(|_| heard.tenth(-30.0));
        assert!(near(heard.integrated(), -30.0), "{:?}", heard.integrated());
        assert_eq!(heard.blocks.len(), 100);
    }

    #[test]
    fn silence_has_no_loudness() {
        let mut heard = Loudness::new(Duration::from_secs(10));
        assert_eq!(heard.integrated(), None);
        (0..100).for_each(|_| heard.tenth(f64::NEG_INFINITY));
        assert_eq!((heard.momentary(), heard.short_term(), heard.integrated()), (None, None, None));
    }
}
