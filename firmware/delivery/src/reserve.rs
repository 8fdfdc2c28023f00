//! A fallback that is not held: full, or cold until it is needed, or left closed while only one uplink is left.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use crate::config::{Lone, OutputConfig, Standby};
use crate::mount::Mount;
use crate::pair::Ground;

/// The fallback of an output whose listeners the box does not move itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Reserve {
    primary: usize,
    fallback: usize,
    cold: bool,
    lone: Lone,
    /// With one uplink left the fallback carries the listeners, for it takes fewer bytes.
    lowers: bool,
    settle: Duration,
    primary_is: Primary,
    open: bool,
    /// One uplink has been left since then, or more than one have been there.
    left: Left,
    /// The primary is closed: the fallback has its listeners.
    lowered: bool,
    /// Since when the fallback has carried something.
    carries: Option<Instant>,
}

/// How many uplinks are left.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Left {
    One { since: Instant },
    More { since: Instant },
}

/// How the primary has been.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Primary {
    On { since: Instant },
    Off { since: Instant },
}

impl Reserve {
    /// `None` for a fallback that is always full.
    pub(crate) fn of(
        policy: &OutputConfig,
        mounts: &[Mount],
        (primary, fallback): (usize, usize),
        open: bool,
        metered: bool,
        uplinks: usize,
        now: Instant,
    ) -> Option<Self> {
        let cold = match policy.standby {
            Standby::Cold => true,
            // What cannot be held costs its full bitrate there.
            Standby::Auto => metered,
            Standby::Held | Standby::Full => false,
        };
        let lone = policy.lone != Lone::Both && uplinks > 1;
        let lowers = lone && policy.lowers(mounts[primary].config(), mounts[fallback].config());
        (cold || lone).then_some(Self {
            lowers,
            left: Left::More { since: now },
            lowered: false,
            carries: None,
            primary,
            fallback,
            cold,
            lone: policy.lone,
            settle: policy.settle,
            primary_is: Primary::Off { since: now },
            // After a reload a cold one may be open still.
            open: open || !cold,
        })
    }

    /// Whether its mounts are among the first `count`, as in any reserve that was not read from outside.
    pub(crate) const fn is_within(&self, count: usize) -> bool {
        self.primary < count && self.fallback < count
    }

    pub(crate) const fn fallback(&self) -> usize {
        self.fallback
    }

    pub(crate) fn deadline(&self) -> Instant {
        let own = match self.primary_is {
            Primary::Off { since } if !self.open => since + MISSED,
            Primary::On { since } if self.open && self.cold => since + self.settle,
            Primary::Off { .. } | Primary::On { .. } => Instant::from_micros(u64::MAX),
        };
        let lowers = match (self.left, self.lowered) {
            (Left::One { since }, false) if self.lowers => {
                self.carries.map(|carries| carries.max(since + LONE) + MISSED)
            }
            (Left::More { since }, true) => Some(since + self.settle),
            (Left::One { .. } | Left::More { .. }, _) => None,
        };
        lowers.map_or(own, |lowers| own.min(lowers))
    }

    /// With one uplink left the listeners go to the fallback, by the primary's end; and come back by its return.
    fn lower(&mut self, ground: &mut Ground<'_>) {
        let now = ground.now;
        self.left = match (ground.uplinks > 1 && ground.ways.len() == 1, self.left) {
            (true, Left::More { .. }) => Left::One { since: now },
            (false, Left::One { .. }) => Left::More { since: now },
            (true, Left::One { .. }) | (false, Left::More { .. }) => self.left,
        };
        let carries = ground.mounts[self.fallback].sight().is_some_and(|sight| sight.acked > 0);
        self.carries = if carries { Some(self.carries.unwrap_or(now)) } else { None };
        let lone = matches!(self.left, Left::One { since } if now.since(since) >= LONE);
        let settled = matches!(self.left, Left::More { since } if now.since(since) >= self.settle);
        if self.lowered && (settled || !carries) {
            self.lowered = false;
            ground.mounts[self.primary].lead(now, false);
        } else if !self.lowered && lone && self.carries.is_some_and(|since| now.since(since) >= MISSED) {
            self.lowered = true;
            let why = "closed: one uplink is left, and the fallback takes fewer bytes";
            ground.with(self.primary, |mount, step| mount.drop_source(step, why));
        }
        if self.lowered {
            ground.mounts[self.primary].park();
        }
    }

    /// Opens or closes the fallback, as the primary and the uplinks ask for.
    pub(crate) fn step(&mut self, ground: &mut Ground<'_>) {
        let now = ground.now;
        if self.lowers {
            self.lower(ground);
        }
        let on = ground.mounts[self.primary].sight().is_some_and(|sight| sight.acked > 0);
        self.primary_is = match (on, self.primary_is) {
            (true, Primary::Off { .. }) => Primary::On { since: now },
            (false, Primary::On { .. }) => Primary::Off { since: now },
            (true, Primary::On { .. }) | (false, Primary::Off { .. }) => self.primary_is,
        };
        let missed = matches!(self.primary_is, Primary::Off { since } if now.since(since) >= MISSED);
        let spared = self.lone != Lone::Both && !self.lowers;
        let lone = spared && ground.uplinks > 1 && ground.ways.len() == 1;
        let settled = matches!(self.primary_is, Primary::On { since } if now.since(since) >= self.settle);
        let needed = self.lowers && matches!(self.left, Left::One { since } if now.since(since) >= LONE);
        let wanted = match (self.cold, self.open) {
            (true, true) => !settled || needed,
            (true, false) => missed || needed,
            (false, _) => !lone || missed,
        };
        if wanted != self.open {
            self.open = wanted;
            if wanted {
                ground.mounts[self.fallback].lead(now, false);
            } else if ground.mounts[self.fallback].source().is_some() {
                let why = if lone { "closed: one uplink is left" } else { "closed: the primary is on air" };
                ground.with(self.fallback, |mount, step| mount.drop_source(step, why));
            }
        }
        if !self.open {
            ground.mounts[self.fallback].park();
        }
    }
}

/// A primary that is off the air for so long is missed.
const MISSED: Duration = Duration::from_secs(3);
/// An uplink that is gone for a moment only moves nobody.
pub(crate) const LONE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::config::{OnAir, Return};
    use crate::event::Input;
    use crate::{Config, Delivery, testing};
    use units::snapshot::{MountState, Role};

    const START: Instant = Instant::from_millis(1000);

    fn policy(standby: Standby, lone: Lone) -> OutputConfig {
        OutputConfig {
            name: "main".into(),
            standby,
            on_air: OnAir::Always,
            give_back: Return::Auto,
            settle: Duration::from_secs(60),
            lone,
            proven: None,
        }
    }

    fn core(standby: Standby) -> Delivery {
        let (primary, mut fallback) = (testing::mount("main"), testing::mount("main"));
        fallback.id.role = Role::Fallback;
        fallback.path = "/live_fallback".into();
        let policy = policy(standby, Lone::Both);
        let mounts = Vec::from([primary, fallback]);
        let config = Config { mounts, outputs: Vec::from([policy]), ..testing::config(&[]) };
        let mut core = Delivery::new();
        core.handle(START, &Input::Configure(config.into()));
        while core.poll().is_some() {}
        core
    }

    fn fallback(core: &Delivery) -> MountState {
        core.report()[0].mounts[1].state
    }

    #[test]
    fn a_cold_fallback_opens_when_the_primary_is_missed() {
        let mut core = core(Standby::Cold);
        for ms in (0..3000).step_by(100) {
            core.handle(START + Duration::from_millis(ms), &Input::Tick);
            while core.poll().is_some() {}
            assert_eq!(fallback(&core), MountState::Waiting, "closed at {ms} ms");
        }
        core.handle(START + MISSED, &Input::Tick);
        core.handle(START + MISSED, &Input::Tick);
        assert_eq!(fallback(&core), MountState::Connecting);
    }

    #[test]
    fn a_fallback_that_is_not_held_goes_by_the_second_uplink() {
        use crate::event::{Output, UplinkId};
        use crate::uplink::UplinkConfig;
        let uplink = |name: &str| UplinkConfig {
            name: name.into(),
            interface: name.into(),
            ..UplinkConfig::default()
        };
        for lone in [Lone::Both, Lone::PrimaryOnly] {
            let (primary, mut fallback) = (testing::mount("main"), testing::mount("main"));
            fallback.id.role = Role::Fallback;
            fallback.path = "/live_fallback".into();
            let policy = policy(Standby::Full, lone);
            let mounts = Vec::from([primary, fallback]);
            let uplinks = Vec::from([uplink("up0"), uplink("up1")]);
            let config = Config { mounts, uplinks, outputs: Vec::from([policy]), ..testing::config(&[]) };
            let mut core = Delivery::new();
            let mut ways = Vec::new();
            for (ms, input) in [(0, Input::Configure(config.into())), (20, Input::Tick)] {
                core.handle(START + Duration::from_millis(ms), &input);
                while let Some(output) = core.poll() {
                    if let Output::Resolve { uplink, .. } = output {
                        ways.push(uplink);
                    }
                }
            }
            assert_eq!(ways, [Some(UplinkId(0)), Some(UplinkId(1))], "{lone:?}");
        }
    }

    #[test]
    fn a_full_fallback_opens_at_once() {
        let mut core = core(Standby::Full);
        core.handle(START + Duration::from_millis(20), &Input::Tick);
        assert_eq!(fallback(&core), MountState::Connecting);
    }
}
