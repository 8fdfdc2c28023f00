//! How fast a card's clock runs beside the system's: a line through (time stamp, frame counter) pairs. Decides only: no
//! clock, no card.
//!
//! A stamp is never early and often late (a thread that was held up, a card that counts in steps), so of each stretch of
//! time, a *bucket*, only the least late pair is kept. Buckets begin short, so that a first figure is there in seconds, and
//! are joined two by two when there are `BUCKETS` of them, until one is `LONGEST` seconds long; then the oldest goes.
//! The window is therefore at most half an hour, the memory fixed.
//!
//! Where the counter or the clock may have jumped (an overrun, a suspend, a machine that was stopped), a new *run* begins:
//! all runs share the slope, each has an intercept of its own, so that a jump of any size costs nothing but its own bucket.

use std::collections::VecDeque;
use std::time::Duration;

use units::SampleRate;
use units::snapshot::Drift;

/// The fit of one card. Feed it on the reader's side, never on the real-time thread.
#[derive(Clone, Debug)]
pub struct Fit {
    hz: f64,
    buckets: VecDeque<Bucket>,
    open: Option<Open>,
    /// Seconds a bucket lasts.
    length: f64,
    run: u32,
    /// The pair that all others are counted from, of the current run: its counter, and what that was worth.
    origin: Option<(i64, u64)>,
    solved: Option<Solved>,
}

/// The least late pair of a stretch of time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Seconds since the first pair.
    x: f64,
    /// Microseconds that the counter is ahead of the clock, on the run's own zero.
    y: f64,
    run: u32,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: f64,
    best: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Solved {
    slope: f64,
    drift: Option<Drift>,
}

impl Fit {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        Self {
            hz: f64::from(rate.hz()),
            buckets: VecDeque::with_capacity(BUCKETS),
            open: None,
            length: SHORTEST,
            run: 0,
            origin: None,
            solved: None,
        }
    }

    /// At `at_ns` (monotonic clock, nanoseconds) or a little earlier the counter reached `frames`. Whether the drift was
    /// worked out anew.
    pub fn observe(&mut self, at_ns: i64, frames: u64) -> bool {
        let pair = self.pair(at_ns, frames);
        let lead = |bucket: &Bucket, slope: f64| bucket.y - slope * bucket.x;
        let slope = self.slope();
        let Some(open) = &mut self.open else {
            self.open = Some(Open { since: pair.x, best: pair });
            return false;
        };
        if pair.x - open.since < self.length {
            if lead(&pair, slope) > lead(&open.best, slope) {
                open.best = pair;
            }
            return false;
        }
        let closed = open.best;
        self.open = Some(Open { since: pair.x, best: pair });
        self.keep(closed);
        true
    }

    /// The counter may have jumped: frames were missed, however well they were counted.
    pub fn interrupted(&mut self) {
        if let Some(open) = self.open.take() {
            self.keep(open.best);
        }
        self.run = self.run.wrapping_add(1);
    }

    /// The card went: the next one may be another.
    pub fn restart(&mut self) {
        self.buckets.clear();
        self.open = None;
        self.length = SHORTEST;
        self.run = 0;
        self.origin = None;
        self.solved = None;
    }

    /// The drift, once a dozen buckets are there: some twelve seconds after the start.
    #[must_use]
    pub fn drift(&self) -> Option<Drift> {
        self.solved.and_then(|solved| solved.drift)
    }

    /// When the counter reached, or will reach, `frames`, by the line through the newest buckets of the current run: the
    /// stamps without their jitter. Monotonic clock, nanoseconds.
    #[must_use]
    pub fn time_of(&self, frames: u64) -> Option<f64> {
        self.drift()?;
        let (slope, (zero_ns, zero_frames)) = (self.slope(), self.origin?);
        let mut newest = self.buckets.iter().rev().take(NEWEST).take_while(|bucket| bucket.run == self.run);
        let (mut sum, mut count) = (0.0, 0.0);
        for bucket in newest.by_ref() {
            sum += bucket.y - slope * bucket.x;
            count += 1.0;
        }
        if count == 0.0 {
            return None;
        }
        // y = frames' time less x: solved for x, in seconds.
        let worth = (frames as f64 - zero_frames as f64) / self.hz * 1e6;
        let x = (worth - sum / count) / (1e6 + slope);
        Some(zero_ns as f64 + x * 1e9)
    }

    fn pair(&mut self, at_ns: i64, frames: u64) -> Bucket {
        let (zero_ns, zero_frames) = *self.origin.get_or_insert((at_ns, frames));
        let x = (at_ns - zero_ns) as f64 / 1e9;
        let worth = (frames as f64 - zero_frames as f64) / self.hz;
        Bucket { x, y: (worth - x) * 1e6, run: self.run }
    }

    fn slope(&self) -> f64 {
        self.solved.map_or(0.0, |solved| solved.slope)
    }

    fn keep(&mut self, mut bucket: Bucket) {
        // A jump that nobody announced, such as a virtual machine's clock makes.
        if let Some(last) = self.buckets.back().filter(|last| last.run == bucket.run) {
            let slope = self.slope();
            let jump = (bucket.y - slope * bucket.x) - (last.y - slope * last.x);
            let unknown = if self.solved.is_some() { 0.0 } else { STEEPEST * (bucket.x - last.x) };
            if jump.abs() > JUMP + unknown {
                self.run = self.run.wrapping_add(1);
                bucket.run = self.run;
                // What is open began after the jump.
                if let Some(open) = &mut self.open {
                    open.best.run = self.run;
                }
            }
        }
        if self.buckets.len() == BUCKETS && self.length < LONGEST {
            self.join();
            self.length *= 2.0;
        }
        // Where nothing could be joined, or nothing is any more.
        while self.buckets.len() >= BUCKETS {
            self.buckets.pop_front();
        }
        self.buckets.push_back(bucket);
        self.solve();
    }

    /// Of each two neighbours of one run, the less late stays.
    fn join(&mut self) {
        let slope = self.slope();
        let lead = |bucket: &Bucket| bucket.y - slope * bucket.x;
        let buckets = self.buckets.make_contiguous();
        let (mut from, mut to) = (0, 0);
        while from < buckets.len() {
            let mut stays = buckets[from];
            from += 1;
            if let Some(next) = buckets.get(from).filter(|next| next.run == stays.run) {
                if lead(next) > lead(&stays) {
                    stays = *next;
                }
                from += 1;
            }
            buckets[to] = stays;
            to += 1;
        }
        self.buckets.truncate(to);
    }

    fn solve(&mut self) {
        let all = self.buckets.make_contiguous();
        let Some(first) = Line::through(all) else { return };
        // What a held-up machine left in spite of the buckets: a bucket in which every stamp was late.
        let (mut off, mut count) = ([0.0; BUCKETS], 0);
        first.each_off(all, |_, by| {
            off[count] = by.abs();
            count += 1;
        });
        off[..count].sort_unstable_by(f64::total_cmp);
        let usual = off[count / 2].max(1e6 / self.hz);
        let (mut kept, mut count) = ([Bucket::default(); BUCKETS], 0);
        first.each_off(all, |bucket, by| {
            if by.abs() <= 5.0 * usual {
                kept[count] = *bucket;
                count += 1;
            }
        });
        let kept = &kept[..count];
        let Some(line) = Line::through(kept) else { return };
        // The time between runs was not watched.
        let both = kept.windows(2).filter(|two| two[0].run == two[1].run);
        let span: f64 = both.map(|two| two[1].x - two[0].x).sum();
        let drift = (kept.len() >= FEWEST && span >= SHORTEST * 8.0).then(|| {
            let scatter = 2.0 * line.standard_error(kept);
            // A slow change of the clock hides in no residual, but makes the halves differ.
            let (old, new) = kept.split_at(kept.len() / 2);
            let bend = match (Line::through(old), Line::through(new)) {
                (Some(old), Some(new)) => (old.slope - new.slope).abs() / 2.0,
                (None, _) | (_, None) => 0.0,
            };
            // A look sees whole frames: its ends may be off by one.
            let grain = 1e6 / self.hz / span;
            let uncertainty_ppm = scatter.max(bend) + grain;
            Drift { ppm: line.slope, uncertainty_ppm, over: Duration::from_secs_f64(span) }
        });
        let before = self.solved.and_then(|solved| solved.drift);
        self.solved = Some(Solved { slope: line.slope, drift: drift.or(before) });
    }
}

/// One slope, and for each run an intercept (least squares within groups).
struct Line {
    slope: f64,
    /// Sum of squares of `x` within the runs.
    sxx: f64,
}

impl Line {
    fn through(buckets: &[Bucket]) -> Option<Self> {
        let (mut sxx, mut sxy) = (0.0, 0.0);
        each_centred(buckets, |_, x, y| {
            sxx += x * x;
            sxy += x * y;
        });
        let slope = sxy / sxx;
        slope.is_finite().then_some(Self { slope, sxx })
    }

    /// Each bucket with what it is off the line by, its run's intercept being the best for the buckets given.
    fn each_off(&self, buckets: &[Bucket], mut see: impl FnMut(&Bucket, f64)) {
        each_centred(buckets, |bucket, x, y| see(bucket, y - self.slope * x));
    }

    fn standard_error(&self, buckets: &[Bucket]) -> f64 {
        let mut squares = 0.0;
        self.each_off(buckets, |_, by| squares += by * by);
        let runs = buckets.chunk_by(|a, b| a.run == b.run).count();
        let freedom = buckets.len().saturating_sub(runs + 1).max(1);
        (squares / freedom as f64 / self.sxx).sqrt()
    }
}

/// Each bucket with its x and y from the mean of its run.
fn each_centred(buckets: &[Bucket], mut see: impl FnMut(&Bucket, f64, f64)) {
    for run in buckets.chunk_by(|a, b| a.run == b.run) {
        let mean = |of: fn(&Bucket) -> f64| run.iter().map(of).sum::<f64>() / run.len() as f64;
        let (x, y) = (mean(|bucket| bucket.x), mean(|bucket| bucket.y));
        for bucket in run {
            see(bucket, bucket.x - x, bucket.y - y);
        }
    }
}

/// Enough for a line that one bad bucket cannot bend, few enough to work out in microseconds.
const BUCKETS: usize = 64;
/// Buckets that make a figure worth telling.
const FEWEST: usize = 12;
/// Buckets whose mean says where the counter is now.
const NEWEST: usize = 8;
/// Seconds of the first buckets, and of the last: 64 of these are half an hour, in which a crystal's temperature settles.
const SHORTEST: f64 = 1.0;
const LONGEST: f64 = 32.0;
/// Microseconds from bucket to bucket that no jitter explains.
const JUMP: f64 = 5_000.0;
/// The worst clock that is taken for one, in ppm.
const STEEPEST: f64 = 2_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// A cheap repeatable dice, 0 to 1.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Seconds of a card read every 1152 frames; `late` in microseconds, `step` frames that it counts in.
    struct Card {
        fit: Fit,
        dice: Dice,
        ppm: f64,
        frames: u64,
        at_ns: f64,
        step: f64,
    }

    impl Card {
        fn new(ppm: f64, step: f64) -> Self {
            let fit = Fit::new(SampleRate::Hz48000);
            Self { fit, dice: Dice(7), ppm, frames: 0, at_ns: 77e9, step }
        }

        fn run(&mut self, seconds: f64, late_us: impl Fn(&mut Dice) -> f64) {
            for _ in 0..(seconds * 48_000.0 / 1_152.0) as u64 {
                self.frames += 1_152;
                self.at_ns += 1_152.0 / 48_000.0 * 1e9 / (1.0 + self.ppm / 1e6);
                let late = late_us(&mut self.dice) + self.dice.roll() * self.step / 48_000.0 * 1e6;
                self.fit.observe((self.at_ns + late * 1e3) as i64, self.frames);
            }
        }

        /// The drift, held to its own uncertainty.
        fn found(&self) -> Drift {
            let drift = self.fit.drift().expect("there was time enough");
            assert!((drift.ppm - self.ppm).abs() <= drift.uncertainty_ppm, "{drift:?} of {} ppm", self.ppm);
            drift
        }
    }

    fn usual(dice: &mut Dice) -> f64 {
        // Tens of microseconds nearly always, 30 ms one time in a hundred.
        if dice.roll() < 0.01 { 30_000.0 * dice.roll() } else { -20.0 * dice.roll().max(1e-9).ln() }
    }

    #[test]
    fn the_drift_lies_within_its_uncertainty_which_shrinks() {
        for ppm in [-400.0, -100.0, -3.0, 0.0, 17.0, 100.0, 400.0] {
            // Frame by frame, and in steps of a millisecond as USB cards count.
            for step in [1.0, 48.0] {
                let mut card = Card::new(ppm, step);
                card.run(10.0, usual);
                assert!(card.fit.drift().is_none());
                card.run(20.0, usual);
                let early = card.found();
                card.run(3_600.0, usual);
                let late = card.found();
                assert!(late.uncertainty_ppm < early.uncertainty_ppm / 10.0 && late.uncertainty_ppm < 0.5);
                assert!(late.over > Duration::from_secs(900) && late.over < Duration::from_secs(2_100));
            }
        }
    }

    #[test]
    fn gaps_suspends_and_jumping_clocks_cost_nothing() {
        for ppm in [-100.0, 100.0] {
            let mut card = Card::new(ppm, 1.0);
            for round in 0..40_u64 {
                card.run(45.0, usual);
                match round % 4 {
                    // An overrun: counted to within a frame or two by the nominal clock.
                    0 => {
                        card.frames += 14_402;
                        card.at_ns += 0.3e9;
                        card.fit.interrupted();
                    }
                    // Stopped for an hour.
                    1 => {
                        card.frames += 3_600 * 48_000;
                        card.at_ns += 3_600.0e9 + 70_000.0;
                        card.fit.interrupted();
                    }
                    // The clock jumps and nobody says so.
                    2 => card.at_ns += 0.5e9,
                    _ => card.run(5.0, |dice| 40_000.0 * dice.roll()),
                }
            }
            assert!(card.found().uncertainty_ppm < 1.0);
            assert!(card.fit.buckets.len() <= BUCKETS && card.fit.buckets.capacity() <= 2 * BUCKETS);
        }
    }

    #[test]
    fn a_warming_crystal_is_followed_and_its_change_told() {
        let mut card = Card::new(40.0, 1.0);
        card.run(1_800.0, usual);
        for _ in 0..120 {
            card.ppm -= 0.1;
            card.run(10.0, usual);
        }
        // A mean over a window in which 12 ppm went by: said to be unsure by some of them.
        let drift = card.fit.drift().unwrap();
        assert!(drift.uncertainty_ppm > 1.0 && (drift.ppm - card.ppm).abs() < 12.0, "{drift:?}");
        card.run(3_600.0, usual);
        assert!(card.found().uncertainty_ppm < 0.5);
    }

    #[test]
    fn the_line_tells_when_a_frame_was_captured_without_the_jitter() {
        let mut card = Card::new(100.0, 1.0);
        card.run(3_600.0, usual);
        let told = card.fit.time_of(card.frames).unwrap();
        assert!((told - card.at_ns).abs() < 50_000.0, "{} us off", (told - card.at_ns) / 1e3);
        card.fit.restart();
        assert!(card.fit.drift().is_none() && card.fit.time_of(card.frames).is_none());
    }
}
