//! A fallback that is not held: full, or cold until it is needed, or left closed while only one uplink is left.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use crate::config::{Lone, OutputConfig, Standby};
use crate::pair::Ground;

/// The fallback of an output whose listeners the box does not move itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Reserve {
    primary: usize,
    fallback: usize,
    cold: bool,
    lone: Lone,
    settle: Duration,
    primary_is: Primary,
    open: bool,
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
        let lone = policy.lone == Lone::PrimaryOnly && uplinks > 1;
        (cold || lone).then_some(Self {
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
        match self.primary_is {
            Primary::Off { since } if !self.open => since + MISSED,
            Primary::On { since } if self.open && self.cold => since + self.settle,
            Primary::Off { .. } | Primary::On { .. } => Instant::from_micros(u64::MAX),
        }
    }

    /// Opens or closes the fallback, as the primary and the uplinks ask for.
    pub(crate) fn step(&mut self, ground: &mut Ground<'_>) {
        let now = ground.now;
        let on = ground.mounts[self.primary].sight().is_some_and(|sight| sight.acked > 0);
        self.primary_is = match (on, self.primary_is) {
            (true, Primary::Off { .. }) => Primary::On { since: now },
            (false, Primary::On { .. }) => Primary::Off { since: now },
            (true, Primary::On { .. }) | (false, Primary::Off { .. }) => self.primary_is,
        };
        let missed = matches!(self.primary_is, Primary::Off { since } if now.since(since) >= MISSED);
        let lone = self.lone == Lone::PrimaryOnly && ground.uplinks > 1 && ground.ways.len() == 1;
        let settled = matches!(self.primary_is, Primary::On { since } if now.since(since) >= self.settle);
        let wanted = match (self.cold, self.open) {
            (true, true) => !settled,
            (true, false) => missed,
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
