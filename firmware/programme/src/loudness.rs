//! Momentary, short-term and integrated loudness (ITU-R BS.1770-4, EBU Tech 3341) and loudness range (EBU Tech 3342)
//! from the energy of every 20 ms. A coarser grid would miss the loudest 400 ms of a short sound by half a dB.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use units::Lufs;

/// Windows of 20 ms.
const MOMENTARY: usize = 20;
const SHORT_TERM: usize = 150;
/// A gating block of 400 ms begins every 100 ms.
const BLOCK_EVERY: u32 = 5;
/// Loudness range takes a short-term loudness every second: an overlap of two thirds, the least of Tech 3342.
const RANGE_EVERY: u32 = 50;

/// Integrated loudness is worked out at most once per so many windows, a second: it walks the whole history.
const INTEGRATED_EVERY: u32 = 50;

/// Blocks below this are no programme...
const ABSOLUTE_GATE_LUFS: f64 = -70.0;

/// ... and of the rest, those so much below their mean are pauses.
const RELATIVE_GATE_LU: f64 = -10.0;

/// For the loudness range, only what is this much below is left out: quiet passages belong to it.
const RANGE_GATE_LU: f64 = -20.0;
/// The range lies between these shares of what is left.
const RANGE_FROM: f64 = 0.10;
const RANGE_TO: f64 = 0.95;

/// A difference of loudness, in LU.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Lu(f32);

impl Lu {
    /// The number of LU.
    #[must_use]
    pub const fn lu(self) -> f32 {
        self.0
    }
}

impl fmt::Display for Lu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} LU", self.0)
    }
}

/// What was heard, as K-weighted energies.
#[derive(Debug)]
pub(crate) struct Loudness {
    /// The last 3 s; `at` is the oldest, to be replaced next. Zero before the start, which is silence.
    windows: [f64; SHORT_TERM],
    at: usize,
    /// Windows heard since the start, counted as far as it takes to fill the last 3 s.
    heard: usize,
    /// Windows since the last gating block began, and since the last short-term loudness was kept.
    since_block: u32,
    since_short: u32,
    /// Energy of every gating block (400 ms, one every 100 ms), quiet ones too, oldest first.
    blocks: VecDeque<f32>,
    most_blocks: usize,
    /// Short-term energy of every second, oldest first, and a place to sort them.
    shorts: VecDeque<f32>,
    most_shorts: usize,
    sorted: Vec<f32>,
    integrated: Option<Lufs>,
    /// Windows since `integrated` was worked out.
    age: u32,
}

impl Loudness {
    /// Nothing heard; memory for `history` is taken now, so that it never grows later.
    pub(crate) fn new(history: Duration) -> Self {
        let most_blocks = (history.as_millis() / 100).max(1) as usize;
        let most_shorts = (history.as_secs()).max(1) as usize;
        Self {
            windows: [0.0; SHORT_TERM],
            at: 0,
            heard: 0,
            since_block: 0,
            since_short: 0,
            blocks: VecDeque::with_capacity(most_blocks),
            most_blocks,
            shorts: VecDeque::with_capacity(most_shorts),
            most_shorts,
            sorted: Vec::with_capacity(most_shorts),
            integrated: None,
            age: INTEGRATED_EVERY,
        }
    }

    /// Takes the loudness of the next 20 ms; minus infinity is silence.
    pub(crate) fn window(&mut self, lufs: f64) {
        self.windows[self.at] = energy(lufs);
        self.at = (self.at + 1) % SHORT_TERM;
        self.heard = (self.heard + 1).min(SHORT_TERM);
        self.since_block += 1;
        if self.since_block == BLOCK_EVERY {
            self.since_block = 0;
            if self.heard >= MOMENTARY {
                let block = self.mean(MOMENTARY) as f32;
                keep(&mut self.blocks, self.most_blocks, block);
            }
        }
        self.since_short += 1;
        if self.since_short == RANGE_EVERY {
            self.since_short = 0;
            if self.heard == SHORT_TERM {
                let short = self.mean(SHORT_TERM) as f32;
                keep(&mut self.shorts, self.most_shorts, short);
            }
        }
        self.age = self.age.saturating_add(1);
    }

    /// Loudness of the last 400 ms.
    pub(crate) fn momentary(&self) -> Option<Lufs> {
        loudness(self.mean(MOMENTARY))
    }

    /// Loudness of the last 3 s.
    pub(crate) fn short_term(&self) -> Option<Lufs> {
        loudness(self.mean(SHORT_TERM))
    }

    /// Loudness range of the history; `None` before anything was over the absolute gate for 3 s.
    pub(crate) fn range(&mut self) -> Option<Lu> {
        let absolute = energy(ABSOLUTE_GATE_LUFS);
        let gate = gated(&self.shorts, absolute) * 10_f64.powf(RANGE_GATE_LU / 10.0);
        let gate = gate.max(absolute);
        self.sorted.clear();
        self.sorted.extend(self.shorts.iter().filter(|short| f64::from(**short) >= gate));
        self.sorted.sort_unstable_by(f32::total_cmp);
        let last = self.sorted.len().checked_sub(1)? as f64;
        let at = |share: f64| f64::from(self.sorted[(last * share).round() as usize]);
        Some(Lu((10.0 * (at(RANGE_TO) / at(RANGE_FROM)).log10()) as f32))
    }

    /// Gated loudness of the history, at most a second old.
    pub(crate) fn integrated(&mut self) -> Option<Lufs> {
        if self.age >= INTEGRATED_EVERY {
            self.age = 0;
            let absolute = energy(ABSOLUTE_GATE_LUFS);
            let relative = gated(&self.blocks, absolute) * 10_f64.powf(RELATIVE_GATE_LU / 10.0);
            // Where no block passed the absolute gate the relative one is no number, and `max` leaves it out.
            self.integrated = loudness(gated(&self.blocks, relative.max(absolute)));
        }
        self.integrated
    }

    fn mean(&self, windows: usize) -> f64 {
        let newest_first = (1..=windows).map(|back| (self.at + SHORT_TERM - back) % SHORT_TERM);
        newest_first.map(|place| self.windows[place]).sum::<f64>() / windows as f64
    }
}

/// Puts an energy behind at most so many.
fn keep(energies: &mut VecDeque<f32>, most: usize, energy: f32) {
    if energies.len() == most {
        energies.pop_front();
    }
    energies.push_back(energy);
}

/// Mean of the energies at or above `gate`, which is one; no number if there are none.
fn gated(energies: &VecDeque<f32>, gate: f64) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for energy in energies.iter().map(|energy| f64::from(*energy)).filter(|energy| *energy >= gate) {
        sum += energy;
        count += 1;
    }
    sum / f64::from(count)
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

    impl Loudness {
        /// 100 ms.
        fn tenth(&mut self, lufs: f64) {
            (0..BLOCK_EVERY).for_each(|_| self.window(lufs));
        }
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
        assert_eq!(heard.range(), None);
    }

    /// EBU Tech 3342, table 1, cases 1 to 4: 20 s each.
    #[test]
    fn the_standards_steps_have_their_range() {
        for (steps, expected) in [
            ([-20.0, -30.0].as_slice(), 10.0),
            (&[-20.0, -15.0], 5.0),
            (&[-40.0, -20.0], 20.0),
            (&[-50.0, -35.0, -20.0, -35.0, -50.0], 15.0),
        ] {
            let mut heard = Loudness::new(Duration::from_secs(3600));
            for lufs in steps {
                (0..200).for_each(|_| heard.tenth(*lufs));
            }
            let found = heard.range().unwrap().lu();
            assert!((found - expected).abs() < 1.0, "{steps:?}: {found}");
        }
    }
}
