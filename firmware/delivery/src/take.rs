//! Going live over somebody else's programme, and handing it back: a mount that is opened when it is taken and closed when it is
//! released, at whole packets and whole blocks, so that listeners keep their connection and hear no torn packet of ours.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use crate::event::{Order, Output, Telling};
use crate::mount::Mount;
use crate::mount::feed::{Cut, Start};
use crate::pair::Ground;

/// One output that is on air only while it is taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Take {
    output: String,
    place: usize,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Phase {
    /// Somebody else's programme is on.
    Released,
    /// To be opened at `at`.
    Due { at: Instant },
    /// The mount is being opened.
    Opening { began: Instant },
    /// Its first block is out; the server fetches the listeners until then.
    Landing { until: Instant },
    /// On air.
    Taken,
    /// The last packet is being sent; quiet since then, once all is acknowledged.
    Leaving { began: Instant, quiet: Option<Instant>, next: Instant },
}

impl Take {
    pub(crate) fn new(output: &str, place: usize) -> Self {
        Self { output: output.to_string(), place, phase: Phase::Released }
    }

    pub(crate) fn output(&self) -> &str {
        &self.output
    }

    pub(crate) const fn place(&self) -> usize {
        self.place
    }

    /// The mount's place has changed; what it is doing goes on.
    pub(crate) fn moved_to(&mut self, place: usize) {
        self.place = place;
    }

    /// Whether an order can be carried out now; why not, and the remedy.
    pub(crate) fn may(&self, order: &Order) -> Result<(), String> {
        let name = &self.output;
        match (order, &self.phase) {
            (Order::Take { .. }, Phase::Released) => Ok(()),
            (Order::Release { .. }, Phase::Taken | Phase::Landing { .. }) => Ok(()),
            (Order::Release { .. }, Phase::Due { .. } | Phase::Opening { .. }) => Ok(()),
            (Order::Take { .. }, Phase::Leaving { .. }) => {
                Err(format!("{name} is being released this very moment; ask again in a second"))
            }
            (
                Order::Take { .. },
                Phase::Due { .. } | Phase::Opening { .. } | Phase::Landing { .. } | Phase::Taken,
            ) => Err(format!("{name} is taken already")),
            (Order::Release { .. }, Phase::Released | Phase::Leaving { .. }) => {
                Err(format!("{name} is not taken: there is nothing to release"))
            }
            (Order::Leave { .. } | Order::GiveBack { .. }, _) => {
                Err(format!("{name} has no fallback of its own; use `mainstay take` and `mainstay release`"))
            }
        }
    }

    /// Carries an order out that [`Take::may`] allows.
    pub(crate) fn order(&mut self, ground: &mut Ground<'_>, order: &Order) {
        match order {
            Order::Take { .. } => self.phase = Phase::Due { at: ground.now },
            Order::Release { .. } if ground.mounts[self.place].sight().is_some() => {
                ground.with(self.place, |mount, step| {
                    mount.open_gate(step);
                    mount.finish(step);
                });
                let now = ground.now;
                self.phase = Phase::Leaving { began: now, quiet: None, next: now + LOOK };
            }
            Order::Release { .. } => self.released(ground),
            Order::Leave { .. } | Order::GiveBack { .. } => {}
        }
        self.step(ground);
    }

    pub(crate) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Released | Phase::Taken => Instant::from_micros(u64::MAX),
            Phase::Due { at } => at,
            Phase::Opening { began } => began + OPENING,
            Phase::Landing { until } => until,
            Phase::Leaving { next, .. } => next,
        }
    }

    /// Looks at the mount and does what is to be done now.
    pub(crate) fn step(&mut self, ground: &mut Ground<'_>) {
        let now = ground.now;
        if ground.mounts[self.place].is_writing() {
            return;
        }
        let sight = ground.mounts[self.place].sight();
        match self.phase {
            Phase::Released => ground.mounts[self.place].park(),
            Phase::Due { at } if now >= at => {
                let way = ground.ways.first().copied().flatten();
                ground.with(self.place, |mount, step| {
                    mount.lead(step.now, true);
                    // The programme begins with a whole packet, and with one block, which the listeners are fetched for.
                    let cut = Cut { rendition: mount.rendition(), at: step.index.live() };
                    mount.launch(step, way, Start::After(cut), false);
                });
                self.phase = Phase::Opening { began: now };
            }
            Phase::Due { .. } => {}
            Phase::Opening { began } => {
                if sight.is_some() {
                    self.phase = Phase::Landing { until: now + LANDING };
                } else if ground.mounts[self.place].is_parked() || now.since(began) >= OPENING {
                    self.phase = Phase::Due { at: now + AGAIN };
                }
            }
            Phase::Landing { until } => {
                if sight.is_none() {
                    self.phase = Phase::Due { at: now + AGAIN };
                } else if now >= until {
                    ground.with(self.place, Mount::open_gate);
                    self.tell(ground, "taken: the listeners hear this programme");
                    self.phase = Phase::Taken;
                }
            }
            Phase::Taken => {
                if sight.is_none() {
                    self.phase = Phase::Due { at: now };
                    self.step(ground);
                }
            }
            Phase::Leaving { began, quiet, .. } => {
                let Some(sight) = sight else { return self.released(ground) };
                let done = sight.held && !sight.owes;
                let next = now + LOOK;
                self.phase = Phase::Leaving { began, quiet: quiet.or_else(|| done.then_some(now)), next };
                match (done, quiet) {
                    (true, None) => {}
                    (true, Some(since)) if now.since(since) >= QUIET => self.released(ground),
                    (true, Some(_)) => {}
                    (false, _) if now.since(began) >= PATIENCE => self.released(ground),
                    (false, _) => ground.with(self.place, Mount::measure),
                }
            }
        }
    }

    fn released(&mut self, ground: &mut Ground<'_>) {
        ground.with(self.place, |mount, step| {
            mount.drop_source(step, "released; `mainstay take` goes live again");
        });
        self.tell(ground, "released: the listeners hear what the server falls back to");
        self.phase = Phase::Released;
    }

    fn tell(&self, ground: &mut Ground<'_>, what: &str) {
        let (output, what) = (self.output.clone(), what.to_string());
        ground.out.push_back(Output::Tell(Telling { output, what, alarm: false }));
    }
}

/// Two quiet turns, and a little (DESIGN 3).
const LANDING: Duration = Duration::from_millis(600);
const OPENING: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);
/// The server's own turns bring everything to the listeners within one of 0.25 s.
const QUIET: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(3);
