//! A year's faults of a bad provider: rates as data, each fault a trial of its own, and what the year costs a listener.
//!
//! No measured provider, but orders of magnitude that a station with a cheap line and an LTE stick knows: something every eight
//! hours, mostly short. The same numbers give the same year.

use std::ops::{AddAssign, RangeInclusive};
use std::time::Duration;

use units::Instant;

use super::trial::{Course, Fault, Most, Trial, Way, What};
use super::world::World;
use crate::dice::Dice;

/// One kind of fault.
#[derive(Clone, Debug)]
pub struct Rate {
    /// What it is.
    pub name: &'static str,
    /// How often in a year.
    pub a_year: u64,
    /// How long, in milliseconds: each order of magnitude as likely as the next.
    pub lasts: RangeInclusive<u64>,
    /// What happens.
    pub kind: Kind,
}

/// What happens in a year.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The preferred uplink is cut, and nobody is told.
    Cut,
    /// The same on the spare one.
    SpareCut,
    /// Both at once.
    BothCut,
    /// The preferred uplink's link goes.
    Carrier,
    /// Half a percent to five percent of its packets are lost.
    Loss,
    /// Its queue is full: 30 to 90 ms more each way, and jitter.
    Queue,
    /// Nothing leaves.
    DeadUp,
    /// Nothing arrives.
    DeadDown,
    /// A middlebox forgets its connections.
    Reset,
    /// The provider hangs up, and gives another address.
    Redial,
}

/// The year.
pub const YEAR: [Rate; 13] = [
    Rate { name: "cut, below 1 s", a_year: 400, lasts: 200..=1000, kind: Kind::Cut },
    Rate { name: "cut, 1 to 5 s", a_year: 150, lasts: 1000..=5000, kind: Kind::Cut },
    Rate { name: "cut, 5 to 60 s", a_year: 60, lasts: 5000..=60_000, kind: Kind::Cut },
    Rate { name: "cut, 1 to 10 min", a_year: 12, lasts: 60_000..=600_000, kind: Kind::Cut },
    Rate { name: "link lost", a_year: 60, lasts: 500..=120_000, kind: Kind::Carrier },
    Rate { name: "packets lost", a_year: 120, lasts: 5000..=120_000, kind: Kind::Loss },
    Rate { name: "full queues", a_year: 100, lasts: 5000..=60_000, kind: Kind::Queue },
    Rate { name: "half dead, upwards", a_year: 10, lasts: 2000..=60_000, kind: Kind::DeadUp },
    Rate { name: "half dead, downwards", a_year: 10, lasts: 2000..=60_000, kind: Kind::DeadDown },
    Rate { name: "reset by a middlebox", a_year: 50, lasts: 100..=100, kind: Kind::Reset },
    Rate { name: "redialled", a_year: 52, lasts: 2000..=20_000, kind: Kind::Redial },
    Rate { name: "spare cut", a_year: 60, lasts: 1000..=30_000, kind: Kind::SpareCut },
    Rate { name: "both cut", a_year: 3, lasts: 1000..=30_000, kind: Kind::BothCut },
];

/// Who goes through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The box, with a proven pair.
    HandOver,
    /// One mount over one uplink, no fallback: what most source clients do.
    Plain,
    /// Both mounts live, each over its own uplink, and the server moves listeners when it notices.
    Two,
}

/// What faults cost one listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Toll {
    /// So many faults.
    pub faults: u64,
    /// Programme that he never heard.
    pub lost: Duration,
    /// Packets that came torn.
    pub torn: u64,
    /// Packets heard twice.
    pub repeated: u64,
    /// His player was dry.
    pub dry: Duration,
    /// His connection was closed.
    pub drops: u64,
    /// He was moved, there or back.
    pub moves: u64,
    /// The longest time without a byte.
    pub pause: Duration,
}

impl AddAssign for Toll {
    fn add_assign(&mut self, other: Self) {
        self.faults += other.faults;
        self.lost += other.lost;
        self.torn += other.torn;
        self.repeated += other.repeated;
        self.dry += other.dry;
        self.drops += other.drops;
        self.moves += other.moves;
        self.pause = self.pause.max(other.pause);
    }
}

/// Fault `number` of those at this place of [`YEAR`], as `who` meets it: from 20 s before to 120 s after.
#[must_use]
pub fn trial(place: usize, number: u64, who: Who) -> Trial {
    let rate = &YEAR[place];
    let seed = (place as u64) << 32 | number;
    let mut dice = Dice::new(!seed);
    let millis = |millis: u64| Duration::from_millis(millis);
    let lasts = match (*rate.lasts.start(), *rate.lasts.end()) {
        (least, most) if least == most => millis(least),
        (least, most) => dice.span(millis(least), millis(most)),
    };
    let at = CALM + dice.between(0, 4000) as f64 / 1000.0;
    let lasts = lasts.as_secs_f64();
    let fault = |what| Fault::new(at, lasts, what);
    let faults = match rate.kind {
        Kind::BothCut => both(at, lasts),
        Kind::SpareCut => vec![Fault { uplink: 1, ..fault(What::Dark(Way::Both)) }],
        Kind::Cut => vec![fault(What::Dark(Way::Both))],
        Kind::Carrier => vec![fault(What::CarrierOff)],
        Kind::Loss => vec![fault(What::Loss(dice.between(5000, 50_000) as u32))],
        Kind::Queue => {
            let more = dice.between(30, 90) as u32;
            vec![fault(What::Delay(more)), fault(What::Jitter(more / 2))]
        }
        Kind::DeadUp => vec![fault(What::Dark(Way::Up))],
        Kind::DeadDown => vec![fault(What::Dark(Way::Down))],
        Kind::Reset => vec![fault(What::MiddleboxReset)],
        Kind::Redial => {
            let after = Fault::new(at + lasts - 0.1, 0.1, What::NewAddress);
            vec![fault(What::Dark(Way::Both)), after]
        }
    };
    let length = (at + lasts + AFTER) as u64 + 1;
    let name = format!("{} {number}, {who:?}", rate.name);
    let mut trial = Trial { faults, ..Trial::paired(&name, seed, length, RATES) };
    trial.listeners.truncate(1);
    match who {
        Who::HandOver => {
            trial.course = Course::HandOver { evict: true, settle: SETTLE };
            // With one way left, every packet is heard whole and once.
            if trial.faults.iter().all(|fault| fault.uplink == trial.faults[0].uplink) {
                trial.most = Most::WHOLE;
            }
        }
        Who::Two => trial.course = Course::Apart,
        Who::Plain => {
            trial.course = Course::Unbound;
            trial.mounts.truncate(1);
        }
    }
    trial
}

fn both(at: f64, lasts: f64) -> Vec<Fault> {
    let cut = Fault::new(at, lasts, What::Dark(Way::Both));
    vec![cut.clone(), Fault { uplink: 1, ..cut }]
}

/// What one fault cost the first listener of a trial that is over.
#[must_use]
pub fn heard(world: &World) -> Toll {
    let heard = world.heard(0);
    // Whoever has no connection at the end misses what there was since.
    let since = world.now().saturating_sub(heard.last_byte.since(Instant::ZERO));
    let tail = if since > GONE { since } else { Duration::ZERO };
    Toll {
        faults: 1,
        lost: world.packet_time() * u32::try_from(heard.packets.lost).unwrap_or(u32::MAX) + tail,
        torn: heard.packets.torn,
        repeated: heard.packets.repeated,
        dry: heard.stalled,
        drops: heard.drops,
        moves: world.deeds().moves,
        pause: heard.longest_pause,
    }
}

/// kbit/s of the two mounts.
const RATES: (u32, u32) = (128, 64);
/// Seconds before a fault; the listener comes 5 s after the start.
const CALM: f64 = 25.0;
/// Seconds after it.
const AFTER: f64 = 120.0;
/// Seconds until the return.
const SETTLE: f64 = 20.0;
/// Without a byte for so long, he is not just waiting for the next block.
const GONE: Duration = Duration::from_secs(5);
