//! Whether the programme has fallen silent.
//!
//! The level is the RMS of 20 ms, without its mean, of the loudest channel. Not the peak: hiss peaks 12 dB over its
//! RMS, so one threshold would mean different things for a noisy and a clean line. Not with the mean: a cheap
//! converter's constant can lie over the threshold, and a dead line would then never be found out.

use std::time::Duration;

use units::{Dbfs, Frames, SampleRate};

/// When the programme counts as silent, and when it is back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SilenceConfig {
    /// Below this the programme is quiet. Default -50 dBFS: under any programme's noise bed, over a line-in's hum.
    pub below: Dbfs,
    /// Quiet for so long is silence. Default 20 s: longer than the pauses of speech, drama and classical music.
    pub after: Duration,
    /// At or above this the programme is coming back; never less than `below`. Default -45 dBFS.
    pub back_above: Dbfs,
    /// So long without a break, and it is back: a crackle on a dead line is not. Default 0.5 s.
    pub back_after: Duration,
}

impl Default for SilenceConfig {
    fn default() -> Self {
        Self {
            below: Dbfs::new(-50.0),
            after: Duration::from_secs(20),
            back_above: Dbfs::new(-45.0),
            back_after: Duration::from_millis(500),
        }
    }
}

/// What a window did to the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Silence was found after so many quiet frames.
    Began { after: Frames },
    /// It ended; it had lasted so long, from the first quiet frame to the first loud one.
    Ended { lasted: Frames },
}

/// The detector, fed with the level of one window after the other.
#[derive(Clone, Debug)]
pub(crate) struct Silence {
    below: Dbfs,
    after: Frames,
    back_above: Dbfs,
    back_after: Frames,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Heard; `quiet` frames in a row were not.
    Sounding { quiet: Frames },
    /// Silent for `quiet` frames, of which the last `loud` were loud.
    Silent { quiet: Frames, loud: Frames },
}

impl Silence {
    pub(crate) fn new(config: SilenceConfig, rate: SampleRate) -> Self {
        Self {
            below: config.below,
            after: Frames::in_span(config.after, rate),
            back_above: config.back_above,
            back_after: Frames::in_span(config.back_after, rate),
            state: State::Sounding { quiet: Frames(0) },
        }
    }

    pub(crate) fn window(&mut self, level: Dbfs, frames: Frames) -> Option<Turn> {
        match self.state {
            State::Sounding { quiet } => {
                let quiet = if level < self.below { quiet + frames } else { Frames(0) };
                if quiet > Frames(0) && quiet >= self.after {
                    self.state = State::Silent { quiet, loud: Frames(0) };
                    return Some(Turn::Began { after: quiet });
                }
                self.state = State::Sounding { quiet };
            }
            State::Silent { quiet, loud } => {
                let quiet = quiet + frames;
                let loud = if level >= self.back_above { loud + frames } else { Frames(0) };
                if loud > Frames(0) && loud >= self.back_after {
                    self.state = State::Sounding { quiet: Frames(0) };
                    return Some(Turn::Ended { lasted: quiet - loud });
                }
                self.state = State::Silent { quiet, loud };
            }
        }
        None
    }

    pub(crate) const fn is_silent(&self) -> bool {
        matches!(self.state, State::Silent { .. })
    }

    pub(crate) const fn quiet_for(&self) -> Frames {
        match self.state {
            State::Sounding { quiet } | State::Silent { quiet, .. } => quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Frames = Frames(960);
    const RATE: SampleRate = SampleRate::Hz48000;

    /// Feeds `level` for `windows` windows of 20 ms and gives what turned, with the window's number.
    fn feed(silence: &mut Silence, level: f32, windows: u64) -> Vec<(u64, Turn)> {
        (1..=windows).filter_map(|n| Some((n, silence.window(Dbfs::new(level), WINDOW)?))).collect()
    }

    #[test]
    fn silence_takes_its_time_and_so_does_its_end() {
        let mut silence = Silence::new(SilenceConfig::default(), RATE);
        assert_eq!(feed(&mut silence, -20.0, 5000), []);
        let began = Turn::Began { after: Frames(20 * 48_000) };
        assert_eq!(feed(&mut silence, -60.0, 2000), [(1000, began)], "once, after 20 s");
        assert!(silence.is_silent());
        assert_eq!(silence.quiet_for(), Frames(40 * 48_000));
        let ended = Turn::Ended { lasted: Frames(40 * 48_000) };
        assert_eq!(feed(&mut silence, -20.0, 2000), [(25, ended)], "after 0.5 s");
        assert_eq!(silence.quiet_for(), Frames(0));
        assert_eq!(feed(&mut silence, -60.0, 1000), [(1000, began)], "it re-arms");
    }

    #[test]
    fn between_the_thresholds_nothing_changes() {
        let mut silence = Silence::new(SilenceConfig::default(), RATE);
        assert_eq!(feed(&mut silence, -47.0, 5000), [], "not quiet enough to begin");
        feed(&mut silence, -60.0, 1000);
        assert!(silence.is_silent());
        assert_eq!(feed(&mut silence, -47.0, 5000), [], "not loud enough to end");
    }

    #[test]
    fn a_crackle_does_not_end_silence_and_a_word_restarts_the_wait() {
        let mut silence = Silence::new(SilenceConfig::default(), RATE);
        feed(&mut silence, -60.0, 999);
        feed(&mut silence, -20.0, 1);
        assert_eq!(feed(&mut silence, -60.0, 999), []);
        assert_eq!(feed(&mut silence, -60.0, 1).len(), 1);
        for _ in 0..50 {
            assert_eq!(feed(&mut silence, -10.0, 24), []);
            assert_eq!(feed(&mut silence, -60.0, 1), []);
        }
        assert!(silence.is_silent());
    }
}
