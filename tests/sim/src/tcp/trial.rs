//! A run of the TCP world as data: uplinks, server, mounts, listeners, and what goes wrong. Times are seconds since the start.

use std::time::Duration;

use delivery::config::{Lone, Standby};
use serde::{Deserialize, Serialize};

use super::icecast::{Settings, Version};
use super::link::Uplink;
use super::listener::{Heard, Listener};
use super::world::World;
use crate::dice::Dice;
use crate::scenario::Failed;

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What it is about.
    pub name: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Length in seconds.
    pub seconds: u64,
    /// One-way delay of each uplink in milliseconds, best first.
    pub uplinks: Vec<u32>,
    /// Uplinks, by place, on which a middlebox next to the box takes every TCP connection apart and acknowledges in the server's
    /// place; the delay lies behind it.
    #[serde(default)]
    pub accelerated: Vec<usize>,
    /// The server.
    pub server: Settings,
    /// What the encoders yield: kbit/s of MP3 at 48 kHz, stereo, all on one grid of packets.
    pub renditions: Vec<u32>,
    /// Packets that come at once, as a sound card's period yields them.
    #[serde(default = "one")]
    pub at_once: u32,
    /// A decoder that comes from another rendition can begin with every so many-th packet (SBR headers).
    #[serde(default = "one")]
    pub entries: u32,
    /// The core's mounts: path, and place in `renditions`. The first is the primary, the second its fallback.
    /// None: whoever holds the world connects by hand.
    pub mounts: Vec<(String, usize)>,
    /// How the core works with uplinks and mounts.
    #[serde(default)]
    pub course: Course,
    /// What stays with one uplink left.
    #[serde(default)]
    pub lone: Lone,
    /// What the fallback carries until it is needed.
    #[serde(default)]
    pub standby: Standby,
    /// Uplinks, by place, whose bytes cost money.
    #[serde(default)]
    pub metered: Vec<usize>,
    /// Who listens.
    pub listeners: Vec<Listener>,
    /// The longest wait between two retransmissions of the box, in milliseconds (`TCP_RTO_MAX_MS`, Linux 6.15); `None` is an
    /// older kernel.
    pub retry_cap: Option<u64>,
    /// The box's `TCP_USER_TIMEOUT` in seconds.
    pub user_timeout: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What no listener may have more of, beside the invariants.
    #[serde(default)]
    pub most: Most,
    /// How often the server may move listeners at most, there and back; left out, it is not looked at.
    #[serde(default)]
    pub moves: Option<u64>,
}

const fn one() -> u32 {
    1
}

/// How the core works with uplinks and mounts.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Course {
    /// One way out that nothing is bound to: the first uplink. Plain reconnects.
    #[default]
    Unbound,
    /// Every uplink is known, and each mount is alone.
    Apart,
    /// The two mounts hand listeners over, as a survey of the server proved that they can.
    HandOver {
        /// The survey found that source credentials may evict.
        evict: bool,
        /// Seconds that the preferred uplink must have been good before the return.
        settle: f64,
    },
}

/// What a listener may have at most; what is left out is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Most {
    /// Packets lost.
    #[serde(default)]
    pub lost: Option<u64>,
    /// Packets heard twice.
    #[serde(default)]
    pub repeated: Option<u64>,
    /// Packets torn.
    #[serde(default)]
    pub torn: Option<u64>,
    /// Connections lost.
    #[serde(default)]
    pub drops: Option<u64>,
    /// Times the player ran dry.
    #[serde(default)]
    pub stalls: Option<u64>,
    /// Milliseconds without a byte.
    #[serde(default)]
    pub pause: Option<u64>,
    /// Packets whose pieces came with filler between them.
    #[serde(default)]
    pub split: Option<u64>,
}

impl Most {
    /// Nothing lost, repeated or torn, and the connection kept.
    pub const WHOLE: Self = Self {
        lost: Some(0),
        repeated: Some(0),
        torn: Some(0),
        drops: Some(0),
        stalls: None,
        pause: None,
        split: None,
    };

    pub(crate) fn check(&self, listener: usize, heard: &Heard) -> Result<(), String> {
        let packets = &heard.packets;
        let pairs = [
            ("lost", self.lost, packets.lost),
            ("repeated", self.repeated, packets.repeated),
            ("torn", self.torn, packets.torn),
            ("drops", self.drops, heard.drops),
            ("stalls", self.stalls, heard.stalls),
            ("pause", self.pause, heard.longest_pause.as_millis() as u64),
            ("split", self.split, packets.split),
        ];
        match pairs.iter().find(|(_, most, is)| most.is_some_and(|most| *is > most)) {
            None => Ok(()),
            Some((what, most, is)) => {
                Err(format!("listener {listener}: {what} is {is}, at most {}: {heard:?}", most.unwrap_or(0)))
            }
        }
    }
}

/// One thing that goes wrong for a while.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Seconds since the start.
    pub at: f64,
    /// For so many seconds. No matter for what has no end of its own.
    pub lasts: f64,
    /// On which uplink. No matter for what happens to the server.
    #[serde(default)]
    pub uplink: usize,
    /// What.
    pub what: What,
}

/// What can go wrong.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Packets are lost, of a million this many, both ways.
    Loss(u32),
    /// Each way takes so many milliseconds longer.
    Delay(u32),
    /// Each packet takes up to so many milliseconds longer, by its own luck.
    Jitter(u32),
    /// Nothing arrives, and nobody is told.
    Dark(Way),
    /// Nothing passes between the box and the middlebox next to it, and nobody is told.
    NearDark,
    /// The link is down, and the box's kernel knows.
    CarrierOff,
    /// Dark and bright in turns of so many milliseconds.
    Flap(u32),
    /// The box gets another address; what it had open is lost on the way.
    NewAddress,
    /// So many bytes per second from the box, with a queue of so many bytes.
    Rate(u32, u32),
    /// A middlebox forgets every connection: the box is reset, the server hears nothing more.
    MiddleboxReset,
    /// The server's process is stopped: its kernel takes bytes until its buffers are full.
    ServerStopped,
    /// Somebody else's source takes this mount whenever it is free.
    Foreign(String),
    /// The same by another box of the same make: it calls itself as ours does.
    Twin(String),
    /// The server ends the box's source of this mount by itself.
    Ended(String),
    /// Packets of more than so many bytes do not arrive, and nobody is told (a path MTU black hole).
    Narrow(u32),
}

/// Which way does not lead anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the box.
    Up,
    /// To the box.
    Down,
    /// Neither leads anywhere.
    Both,
}

impl Fault {
    /// `what` on the first uplink.
    #[must_use]
    pub const fn new(at: f64, lasts: f64, what: What) -> Self {
        Self { at, lasts, uplink: 0, what }
    }

    pub(crate) fn begin(&self) -> Duration {
        Duration::from_secs_f64(self.at)
    }

    pub(crate) fn end(&self) -> Duration {
        Duration::from_secs_f64(self.at + self.lasts)
    }

    /// Puts a fault that is on into the way it is on.
    pub(crate) fn put_into(&self, way: &mut Uplink, flapped: bool) {
        let milli = |millis: u32| Duration::from_millis(u64::from(millis));
        match self.what {
            What::Loss(ppm) => {
                way.up.loss_ppm += ppm;
                way.down.loss_ppm += ppm;
            }
            What::Delay(more) => {
                way.up.delay += milli(more);
                way.down.delay += milli(more);
            }
            What::Jitter(most) => {
                way.up.jitter += milli(most);
                way.down.jitter += milli(most);
            }
            What::Dark(which) => {
                way.up.dark |= which != Way::Down;
                way.down.dark |= which != Way::Up;
            }
            What::NearDark => way.near_dark = true,
            What::CarrierOff => way.carrier = false,
            What::Flap(_) => {
                way.up.dark |= flapped;
                way.down.dark |= flapped;
            }
            What::Rate(rate, queue) => (way.up.rate, way.up.queue) = (Some(rate), queue),
            What::Narrow(longest) => {
                way.up.longest = Some(longest);
                way.down.longest = Some(longest);
            }
            What::NewAddress
            | What::MiddleboxReset
            | What::ServerStopped
            | What::Foreign(_)
            | What::Twin(_)
            | What::Ended(_) => {}
        }
    }
}

impl Trial {
    /// Two uplinks, one Icecast 2.4 with a fallback that overrides, one mount of 128 kbit/s, nothing wrong.
    #[must_use]
    pub fn calm(name: &str, seed: u64, seconds: u64) -> Self {
        Self {
            name: name.to_string(),
            seed,
            seconds,
            uplinks: vec![15, 35],
            accelerated: Vec::new(),
            server: Settings::default(),
            renditions: vec![128],
            at_once: 2,
            entries: 1,
            mounts: vec![("/live".to_string(), 0)],
            course: Course::Unbound,
            lone: Lone::default(),
            standby: Standby::default(),
            metered: Vec::new(),
            listeners: vec![Listener::of("/live", 5.0)],
            retry_cap: Some(1000),
            user_timeout: 40,
            faults: Vec::new(),
            most: Most::default(),
            moves: None,
        }
    }

    /// The same by hand: two renditions, no core.
    #[must_use]
    pub fn by_hand(name: &str, seed: u64, renditions: Vec<u32>) -> Self {
        Self { renditions, mounts: Vec::new(), listeners: Vec::new(), ..Self::calm(name, seed, 0) }
    }

    /// Two mounts of these bitrates that are proven to share their listeners, over two uplinks; a swift listener and one whose
    /// way carries a quarter more than he plays. Nothing wrong.
    #[must_use]
    pub fn paired(name: &str, seed: u64, seconds: u64, (high, low): (u32, u32)) -> Self {
        let renditions = if high == low { vec![high] } else { vec![high, low] };
        let limited = Listener { rate: Some(high * 125 * 5 / 4), ..Listener::of("/live", 6.0) };
        Self {
            mounts: vec![("/live".to_string(), 0), ("/fallback".to_string(), renditions.len() - 1)],
            renditions,
            course: Course::HandOver { evict: true, settle: 5.0 },
            listeners: vec![Listener::of("/live", 5.0), limited],
            ..Self::calm(name, seed, seconds)
        }
    }

    /// One fault of a bad provider, from 20 s on and with 120 s after it; everything else by luck as well.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(!seed);
        let ranges = [(5, 40), (20, 90)];
        let uplinks = ranges.map(|(least, most)| dice.between(least, most) as u32).to_vec();
        let kbit = [64, 128, 192, 320][dice.between(0, 3) as usize];
        let lasts = dice.span(Duration::from_millis(200), Duration::from_secs(40)).as_secs_f64();
        let at = 20.0 + dice.between(0, 1000) as f64 / 1000.0;
        let what = match dice.between(0, 9) {
            0 => What::Loss(dice.between(1000, 150_000) as u32),
            1 => What::Delay(dice.between(20, 800) as u32),
            2 => What::Jitter(dice.between(5, 300) as u32),
            3 => What::Dark(Way::Up),
            4 => What::Dark(Way::Down),
            5 => What::Dark(Way::Both),
            6 => What::Flap(dice.between(100, 3000) as u32),
            7 => What::Rate(dice.between(u64::from(kbit) * 40, u64::from(kbit) * 250) as u32, 64 * 1024),
            8 => What::MiddleboxReset,
            _ => match dice.between(0, 2) {
                0 => What::NewAddress,
                1 => What::CarrierOff,
                _ => What::ServerStopped,
            },
        };
        let version = if dice.chance(1, 2) { Version::V24 } else { Version::V25 };
        let fault = Fault::new(at, lasts, what);
        let mut trial = Self::calm(&format!("random {seed}"), seed, 141 + lasts as u64);
        let limited = Listener { rate: Some(kbit * 125 * 5 / 4), ..Listener::of("/live", 6.0) };
        trial.listeners.push(limited);
        trial.server.version = version;
        // Their kernels: half of the boxes are old.
        trial.retry_cap = dice.chance(1, 2).then_some(1000);
        Self { uplinks, renditions: vec![kbit], faults: vec![fault], ..trial }
    }

    /// A proven pair and one to three faults on either uplink, or at the server, between 20 and 60 s; everything else by luck.
    #[must_use]
    pub fn troubled(seed: u64) -> Self {
        let mut dice = Dice::new(!seed);
        let rates = [(320, 192), (128, 128), (128, 64), (192, 320)][dice.between(0, 3) as usize];
        let mut faults = Vec::new();
        for _ in 0..dice.between(1, 3) {
            let at = 20.0 + dice.between(0, 40_000) as f64 / 1000.0;
            let lasts = dice.span(Duration::from_millis(200), Duration::from_secs(40)).as_secs_f64();
            let what = match dice.between(0, 14) {
                0 => What::Loss(dice.between(1000, 100_000) as u32),
                1 => What::Delay(dice.between(20, 400) as u32),
                2 => What::Jitter(dice.between(5, 200) as u32),
                3 => What::Dark(Way::Up),
                4 => What::Dark(Way::Down),
                5 | 6 => What::Dark(Way::Both),
                7 => What::Flap(dice.between(100, 4000) as u32),
                8 => What::Rate(rates.0 * dice.between(80, 250) as u32, 64 * 1024),
                9 => What::MiddleboxReset,
                10 => What::NewAddress,
                11 => What::CarrierOff,
                12 => What::Narrow(dice.between(200, 1400) as u32),
                13 => match dice.between(0, 2) {
                    0 => What::ServerStopped,
                    1 => What::Ended("/live".to_string()),
                    _ => What::Ended("/fallback".to_string()),
                },
                _ => match dice.between(0, 1) {
                    0 => What::Foreign("/live".to_string()),
                    _ => What::Twin("/live".to_string()),
                },
            };
            faults.push(Fault { uplink: dice.between(0, 1) as usize, ..Fault::new(at, lasts, what) });
        }
        let last = faults.iter().map(Fault::end).max().unwrap_or_default();
        let mut trial = Self::paired(&format!("troubled {seed}"), seed, last.as_secs() + 240, rates);
        trial.uplinks = [(5, 40), (20, 90)].map(|(least, most)| dice.between(least, most) as u32).to_vec();
        trial.server.version = if dice.chance(1, 2) { Version::V24 } else { Version::V25 };
        trial.server.source_may_evict = dice.chance(3, 4);
        let evict = trial.server.source_may_evict || dice.chance(1, 2);
        trial.course = Course::HandOver { evict, settle: dice.between(2, 6) as f64 };
        trial.retry_cap = dice.chance(2, 3).then_some(1000);
        Self { faults, ..trial }
    }

    /// Reads a trial's text.
    ///
    /// # Errors
    /// Where and why it is not one.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
    /// Runs it, checking every invariant, and at the end what no listener may have more of.
    ///
    /// # Errors
    /// The first thing that did not hold.
    pub fn run(&self) -> Result<World, Box<Failed>> {
        let mut world = World::new(self.clone());
        match world.finish() {
            Ok(()) => Ok(world),
            Err(what) => {
                let (name, seed, after) = (self.name.clone(), self.seed, world.now());
                let said = world.told();
                let said = &said[said.len().saturating_sub(SHOWN)..];
                let told = said.iter().map(|(at, line)| format!("{at} {line}\n")).collect();
                Err(Box::new(Failed { name, seed, after, what, told }))
            }
        }
    }

    /// Leaves out every fault and listener that the failure does not need.
    #[must_use]
    pub fn shrunk(&self) -> Self {
        let kind = |trial: &Self| -> Option<String> {
            let failed = trial.run().err()?;
            Some(failed.what.chars().filter(|c| !c.is_ascii_digit()).take(KIND).collect())
        };
        let mut least = self.clone();
        let wanted = kind(&least);
        for at in (0..self.faults.len()).rev() {
            let mut fewer = least.clone();
            fewer.faults.remove(at);
            least = if kind(&fewer) == wanted { fewer } else { least };
        }
        for at in (0..self.listeners.len()).rev() {
            let mut fewer = least.clone();
            fewer.listeners.remove(at);
            least = if kind(&fewer) == wanted { fewer } else { least };
        }
        least
    }
}

/// So many transitions before a failure are shown.
const SHOWN: usize = 40;
/// Two failures that begin alike are of a kind.
const KIND: usize = 24;
