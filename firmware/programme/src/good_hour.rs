//! How loud the programme usually is, so that what stands in for it can be made as loud.

use std::time::Duration;

use units::{Dbfs, Lufs};

use crate::loudness::Loudness;

/// The loudness of the last hour of good programme. Emergency audio is never part of it, and neither is a line that is
/// at fault: whoever feeds it sees to that, by feeding it or not.
#[derive(Debug)]
pub struct GoodHour {
    heard: Loudness,
    windows: u32,
    /// From before the start.
    before: Option<Lufs>,
}

impl GoodHour {
    /// How far it looks back. 141 KiB.
    pub const SPAN: Duration = Duration::from_hours(1);

    /// So much must have been heard before it counts for more than what was known before the start.
    pub const ENOUGH: Duration = Duration::from_mins(1);

    /// Nothing heard. `before` is what [`GoodHour::loudness`] gave before a restart, if the caller kept it.
    #[must_use]
    pub fn new(before: Option<Lufs>) -> Self {
        Self { heard: Loudness::new(Self::SPAN), windows: 0, before }
    }

    /// Takes the loudness of the next 20 ms of good programme (ITU-R BS.1770-4, without gates) in LUFS; minus infinity
    /// is silence. Measured before any gain, or after: as that to which the files are to be matched.
    pub fn window(&mut self, lufs: f64) {
        self.heard.window(lufs);
        self.windows = self.windows.saturating_add(1);
    }

    /// Its gated loudness, at most a second old; what it was before the start, until enough was heard.
    pub fn loudness(&mut self) -> Option<Lufs> {
        let enough = u128::from(self.windows) * 20 >= Self::ENOUGH.as_millis();
        let heard = self.heard.integrated();
        if enough { heard.or(self.before) } else { self.before.or(heard) }
    }

    /// How files are matched to it now.
    pub fn matching(&mut self) -> Matching {
        Matching { target: self.loudness(), ..Matching::default() }
    }
}

/// The gain for a file.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Matching {
    /// The loudness to be reached. `None` leaves files as they are.
    pub target: Option<Lufs>,
    /// Most gain either way, in dB. Default 20: more is a wrong measure, or a file that nobody should amplify.
    pub most_db: f32,
    /// True peaks stay at or below this. Default -1 dBTP (EBU R 128).
    pub ceiling: Dbfs,
}

impl Default for Matching {
    fn default() -> Self {
        Self { target: None, most_db: 20.0, ceiling: Dbfs::new(-1.0) }
    }
}

impl Matching {
    /// The gain in dB for a file of this loudness and true peak. The ceiling counts for more than the target.
    #[must_use]
    pub fn gain_db(&self, loudness: Lufs, true_peak: Dbfs) -> f32 {
        let most = self.most_db.abs();
        let wanted = self.target.map_or(0.0, |target| (target.lufs() - loudness.lufs()).clamp(-most, most));
        wanted.min(self.ceiling.db() - true_peak.db())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lufs(lufs: f64) -> Lufs {
        Lufs::new(lufs).unwrap()
    }

    #[test]
    fn an_hour_counts_and_pauses_do_not() {
        let mut hour = GoodHour::new(None);
        assert_eq!(hour.loudness(), None);
        for _ in 0..90_000 {
            hour.window(-16.0);
            hour.window(f64::NEG_INFINITY);
        }
        // Half of every gating block is silent: -3 dB, and no gate changes that.
        assert!((hour.loudness().unwrap().lufs() + 19.0).abs() < 0.1);
        (0..180_050).for_each(|_| hour.window(-23.0));
        assert!((hour.loudness().unwrap().lufs() + 23.0).abs() < 0.1, "the hour before is forgotten");
        (0..50_000).for_each(|_| hour.window(-80.0));
        assert!((hour.loudness().unwrap().lufs() + 23.0).abs() < 0.1, "pauses");
    }

    #[test]
    fn what_was_before_a_restart_counts_until_enough_was_heard() {
        let mut hour = GoodHour::new(Some(lufs(-16.0)));
        (0..2_999).for_each(|_| hour.window(-30.0));
        assert_eq!(hour.loudness(), Some(lufs(-16.0)));
        (0..51).for_each(|_| hour.window(-30.0));
        assert!((hour.loudness().unwrap().lufs() + 30.0).abs() < 0.1);
        let mut silent = GoodHour::new(Some(lufs(-16.0)));
        (0..45_000).for_each(|_| silent.window(f64::NEG_INFINITY));
        assert_eq!(silent.loudness(), Some(lufs(-16.0)), "silence tells nothing");
    }

    #[test]
    fn gain_is_bounded_and_leaves_headroom() {
        let matching = Matching { target: Some(lufs(-16.0)), ..Matching::default() };
        assert_eq!(matching.gain_db(lufs(-23.0), Dbfs::new(-12.0)), 7.0);
        assert_eq!(matching.gain_db(lufs(-23.0), Dbfs::new(-3.0)), 2.0, "the ceiling");
        assert_eq!(matching.gain_db(lufs(-9.0), Dbfs::new(0.0)), -7.0);
        assert_eq!(matching.gain_db(lufs(-60.0), Dbfs::new(-50.0)), 20.0, "the most");
        assert_eq!(matching.gain_db(lufs(10.0), Dbfs::new(20.0)), -21.0, "the ceiling, whatever the most is");
        assert_eq!(Matching::default().gain_db(lufs(-23.0), Dbfs::new(-6.0)), 0.0, "as it is");
    }
}
