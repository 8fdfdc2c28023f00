//! What must hold after every step of every run. Each check says in its message what was broken.

use std::time::Duration;

use delivery::LinkId;
use delivery::event::Transition;
use units::snapshot::{MountReport, MountState};
use units::{BytePos, Instant};

use crate::station::{Encoder, SECRET};

/// What was broken.
pub(crate) type Broken = String;

/// How a source ended, as far as the time of the next attempt depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Somebody answered: refused, closed or reset it.
    Answer,
    /// Nobody did.
    Silence,
    /// It had been accepted for ten seconds: the next attempt is free.
    Settled,
}

/// One mount under watch.
#[derive(Clone, Debug)]
pub(crate) struct Ward {
    pub name: String,
    /// Since when it is in the settings.
    pub configured: Option<Instant>,
    pub state: MountState,
    pub on_air_since: Option<Instant>,
    /// The one source (or look-up for it) that the edge holds.
    pub source: Option<LinkId>,
    /// When the mount last held a source or look-up, or gave it up.
    stirred: Instant,
    began: Instant,
    accepted_at: Option<Instant>,
    ended: Option<End>,
    /// The settings changed: the next attempt is free.
    fresh: bool,
    ended_at: Instant,
    alarms: u32,
    /// The body's place in the rendition; `None` before its first byte.
    cursor: Option<BytePos>,
    pub blocked: bool,
    last_write: Option<Instant>,
    pub longest_pause: Duration,
    pub skips: u64,
    pub alarms_ever: u32,
    pub accepted: u64,
    off_air_since: Instant,
    pub longest_off_air: Duration,
    pub off_air: Duration,
}

impl Ward {
    pub(crate) fn new(name: String, now: Instant) -> Self {
        Self {
            name,
            configured: None,
            state: MountState::Waiting,
            on_air_since: None,
            source: None,
            stirred: now,
            began: now,
            accepted_at: None,
            ended: None,
            fresh: true,
            ended_at: now,
            alarms: 0,
            cursor: None,
            blocked: false,
            last_write: None,
            longest_pause: Duration::ZERO,
            skips: 0,
            alarms_ever: 0,
            accepted: 0,
            off_air_since: now,
            longest_off_air: Duration::ZERO,
            off_air: Duration::ZERO,
        }
    }

    /// The mount comes into the settings anew.
    pub(crate) fn configure(&mut self, now: Instant) {
        self.leave_air(now);
        self.fresh = true;
        self.configured = Some(now);
        self.state = MountState::Waiting;
        self.alarms = 0;
        self.stirred = now;
    }

    /// It is taken out of the settings.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.configure(now);
        self.configured = None;
    }

    /// An attempt begins: it holds no source, and the last end is long enough ago.
    pub(crate) fn attempt(&mut self, now: Instant, link: LinkId) -> Result<(), Broken> {
        self.hold(now, link)?;
        let earliest = match self.ended {
            _ if self.fresh => now,
            Some(End::Answer) => self.ended_at + AFTER_ANSWER,
            Some(End::Silence) => self.began + AFTER_SILENCE,
            Some(End::Settled) | None => now,
        };
        if now < earliest {
            return Err(format!(
                "{}: attempt at {now} too soon after {:?} at {}",
                self.name, self.ended, self.ended_at
            ));
        }
        self.began = now;
        self.fresh = false;
        Ok(())
    }

    /// A source is opened at the edge: the only one.
    pub(crate) fn hold(&mut self, now: Instant, link: LinkId) -> Result<(), Broken> {
        if let Some(other) = self.source {
            return Err(format!("{}: a second source {link:?} while {other:?} is open", self.name));
        }
        self.source = Some(link);
        self.stirred = now;
        self.cursor = None;
        self.blocked = false;
        self.last_write = None;
        Ok(())
    }

    /// The source is gone.
    pub(crate) fn end(&mut self, now: Instant, answered: bool) {
        let settled = self.accepted_at.take().is_some_and(|at| now.since(at) >= SETTLED);
        self.ended = Some(match (settled, answered) {
            (true, true) => End::Settled,
            (false, true) => End::Answer,
            (_, false) => End::Silence,
        });
        self.ended_at = now;
        self.stirred = now;
        self.source = None;
    }

    /// Whether a server took the source, or is taken to have.
    pub(crate) const fn is_streaming(&self) -> bool {
        self.accepted_at.is_some()
    }

    /// `from..to` is to be written on the mount's source.
    pub(crate) fn write(&mut self, from: BytePos, to: BytePos, encoder: &Encoder) -> Result<(), Broken> {
        let name = &self.name;
        let live = encoder.live();
        if from >= to {
            return Err(format!("{name}: nothing to write, {from} to {to}"));
        }
        if to > live {
            return Err(format!("{name}: writes up to {to} beyond live at {live}"));
        }
        if from < encoder.oldest() {
            return Err(format!("{name}: writes {from}, which is not kept any more"));
        }
        if self.blocked {
            return Err(format!("{name}: writes to a full socket"));
        }
        match self.cursor {
            Some(at) if at == from => {}
            None if encoder.is_boundary(from) => {}
            None => return Err(format!("{name}: begins inside a packet, at {from}")),
            Some(at) => {
                if !encoder.is_boundary(at) || !encoder.is_boundary(from) || from < at {
                    return Err(format!("{name}: jumps from {at} to {from}, not from packet to packet"));
                }
                self.skips += 1;
            }
        }
        Ok(())
    }

    /// So much filler is to be written on the mount's source: only where no sound is.
    pub(crate) fn fill(&self, bytes: u64) -> Result<(), Broken> {
        let name = &self.name;
        if bytes == 0 {
            return Err(format!("{name}: nothing to fill"));
        }
        if self.blocked {
            return Err(format!("{name}: fills a full socket"));
        }
        match self.cursor {
            None => Ok(()),
            Some(at) => Err(format!("{name}: fills the programme, at {at}")),
        }
    }

    /// Where in its rendition the body was `back` bytes ago, if it carried sound then.
    pub(crate) fn place(&self, back: u64) -> Option<BytePos> {
        self.cursor.filter(|at| at.0 >= back).map(|at| at - back)
    }

    /// Of a write, so many bytes were taken; filler has no place in a rendition.
    pub(crate) fn wrote(&mut self, now: Instant, from: Option<BytePos>, bytes: u64, blocked: bool) {
        self.cursor = from.map(|from| from + bytes).or(self.cursor);
        self.blocked = blocked;
        if bytes > 0 {
            if let Some(last) = self.last_write {
                self.longest_pause = self.longest_pause.max(now.since(last));
            }
            self.last_write = Some(now);
        }
    }

    /// How long the socket has been without a byte now.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        now.since(self.last_write.unwrap_or_default())
    }

    /// People were told something.
    pub(crate) fn told(&mut self, now: Instant, said: &Transition) -> Result<(), Broken> {
        let name = &self.name;
        if said.why.contains(SECRET) {
            return Err(format!("{name}: a secret is told: {}", said.why));
        }
        if said.alarm {
            self.alarms += 1;
            self.alarms_ever += 1;
            if self.alarms > 1 {
                return Err(format!("{name}: a second alarm for one trouble: {}", said.why));
            }
        }
        let was = self.state;
        self.state = said.to;
        if said.to == MountState::Accepted {
            self.accepted_at = Some(now);
            self.accepted += 1;
        }
        if said.to.on_air() {
            self.alarms = 0;
            if self.on_air_since.is_none() {
                self.on_air_since = Some(now);
                let off = now.since(self.off_air_since);
                self.off_air += off;
                self.longest_off_air = self.longest_off_air.max(off);
            }
        } else if was.on_air() {
            self.leave_air(now);
        }
        Ok(())
    }

    fn leave_air(&mut self, now: Instant) {
        if self.on_air_since.take().is_some() {
            self.off_air_since = now;
        }
    }

    /// A mount that is not streaming tries again before long, so some timer is armed for it.
    pub(crate) fn stirs(&self, now: Instant) -> Result<(), Broken> {
        if self.configured.is_some() && self.source.is_none() && now.since(self.stirred) > LONGEST_WAIT {
            return Err(format!("{}: nothing is tried since {}", self.name, self.stirred));
        }
        Ok(())
    }

    /// The core's own report says the same as its transitions did.
    pub(crate) fn reported(&self, report: &MountReport) -> Result<(), Broken> {
        let tries = |state| matches!(state, MountState::Waiting | MountState::Connecting);
        let sticky = |state| matches!(state, MountState::Refused | MountState::Occupied);
        let same = report.state == self.state
            || (tries(report.state) && !self.state.on_air())
            || (sticky(report.state) && sticky(self.state));
        if !same {
            return Err(format!("{}: reported {:?}, told {:?}", self.name, report.state, self.state));
        }
        if format!("{report:?}").contains(SECRET) {
            return Err(format!("{}: a secret is reported", self.name));
        }
        if report.acked > report.written {
            return Err(format!("{}: more acknowledged than written", self.name));
        }
        Ok(())
    }
}

/// No run has outputs whose listeners could be handed over, so nobody has to be told of any.
pub(crate) fn untold(output: &str, what: &str) -> Result<(), Broken> {
    Err(format!("{output}: tells of a hand-over where there is none: {what}"))
}

/// Jittered down by a quarter, the shortest wait after an answer.
const AFTER_ANSWER: Duration = Duration::from_millis(750);
/// From one attempt's start to the next one's, when nobody answers.
const AFTER_SILENCE: Duration = Duration::from_millis(500);
/// So long accepted, and the loss of the stream is followed by an attempt at once.
const SETTLED: Duration = Duration::from_secs(10);
/// The longest wait of the schedule is 30 s, jittered up by a quarter.
const LONGEST_WAIT: Duration = Duration::from_millis(37_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::station::berths;
    use delivery::config::MountId;
    use units::snapshot::Role;

    const NOW: Instant = Instant::from_millis(100_000);

    fn ward() -> Ward {
        let mut ward = Ward::new("main.primary".into(), NOW);
        ward.configure(NOW);
        ward
    }

    fn said(to: MountState, why: &str, alarm: bool) -> Transition {
        let mount = MountId { output: "main".into(), role: Role::Primary };
        Transition { mount, from: MountState::Waiting, to, why: why.into(), alarm }
    }

    #[test]
    fn a_second_source_and_a_hasty_attempt_are_seen() {
        let mut ward = ward();
        ward.attempt(NOW, LinkId(1)).unwrap();
        assert!(ward.hold(NOW, LinkId(2)).is_err());
        ward.end(NOW, true);
        let mut hasty = ward.clone();
        assert!(hasty.attempt(NOW + AFTER_ANSWER / 2, LinkId(3)).is_err());
        ward.attempt(NOW + AFTER_ANSWER, LinkId(3)).unwrap();
        // A stream that held may be followed at once.
        ward.told(NOW, &said(MountState::Accepted, "", false)).unwrap();
        ward.end(NOW + SETTLED, true);
        ward.attempt(NOW + SETTLED, LinkId(4)).unwrap();
        ward.end(NOW + SETTLED, false);
        assert!(ward.stirs(NOW + SETTLED + LONGEST_WAIT).is_ok());
        assert!(ward.stirs(NOW + SETTLED + LONGEST_WAIT * 2).is_err());
    }

    #[test]
    fn bytes_out_of_order_or_out_of_reach_are_seen() {
        let mut encoder = Encoder::all(&berths(&mut Dice::new(1)), 1).remove(0);
        let ends: Vec<BytePos> = (0..5000).map(|_| encoder.produce().0).collect();
        let (early, late, live) = (ends[4000], ends[4500], encoder.live());
        let mut ward = ward();
        assert!(ward.write(early + 1, live, &encoder).is_err(), "begins inside a packet");
        assert!(ward.write(late, live + 1, &encoder).is_err(), "beyond live");
        assert!(ward.write(ends[0], live, &encoder).is_err(), "not kept");
        ward.write(early, live, &encoder).unwrap();
        ward.wrote(NOW, Some(early), ends[4001].since(early) + 7, false);
        assert!(ward.write(late, live, &encoder).is_err(), "leaves a packet torn");
        ward.wrote(NOW, Some(early), ends[4001].since(early), false);
        ward.write(late, live, &encoder).unwrap();
        assert_eq!(ward.skips, 1);
        assert!(ward.write(early, live, &encoder).is_err(), "goes back");
        ward.wrote(NOW, Some(late), 0, true);
        assert!(ward.write(late, live, &encoder).is_err(), "writes to a full socket");
    }

    #[test]
    fn filler_in_the_programme_is_seen() {
        let mut ward = ward();
        ward.fill(1).unwrap();
        ward.wrote(NOW, None, 1, false);
        assert_eq!(ward.place(0), None);
        assert!(ward.fill(0).is_err(), "nothing");
        ward.wrote(NOW, Some(BytePos(100)), 20, false);
        assert_eq!(ward.place(5), Some(BytePos(115)));
        assert!(ward.fill(1).is_err(), "sound, filler, sound");
    }

    #[test]
    fn a_second_alarm_and_a_told_secret_are_seen() {
        let mut ward = ward();
        ward.told(NOW, &said(MountState::Refused, "no", true)).unwrap();
        assert!(ward.clone().told(NOW, &said(MountState::Occupied, "no", true)).is_err());
        ward.told(NOW, &said(MountState::Live, "yes", false)).unwrap();
        ward.told(NOW, &said(MountState::Refused, "no", true)).unwrap();
        assert!(ward.told(NOW, &said(MountState::Waiting, SECRET, false)).is_err());
    }
}
