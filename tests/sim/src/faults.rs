//! What can go wrong, and a plan of it drawn from a seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;

/// One trouble, in the words of a scenario file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Seconds since the start.
    pub at: f64,
    /// Seconds that it lasts; what happens in one moment (a reset, a title) needs none.
    #[serde(rename = "for", default)]
    pub lasts: f64,
    /// Which server, or the way to it. What concerns the box itself ignores it.
    #[serde(rename = "where", default)]
    pub place: Place,
    /// What.
    pub what: What,
}

/// Where a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Server A, like Icecast 2.4.
    A,
    /// Server B, like Icecast 2.5.
    B,
    /// Both: the box's own uplink.
    #[default]
    Both,
}

impl Place {
    /// Whether it strikes server number `server`.
    #[must_use]
    pub const fn covers(self, server: usize) -> bool {
        match self {
            Self::A => server == 0,
            Self::B => server == 1,
            Self::Both => true,
        }
    }
}

/// The kinds of trouble.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Nothing passes, either way.
    Silent,
    /// Nothing reaches the server.
    SilentTowards,
    /// Nothing comes back.
    SilentBack,
    /// A line of so many bytes per second, towards the server.
    Slow(u32),
    /// A latency of so many milliseconds each way.
    Late(u32),
    /// Every connection is reset once.
    Reset,
    /// The name does not exist.
    NoName,
    /// No name server answers.
    NameSilent,
    /// The server's process is dead: its connections break, its port refuses. It starts again when this is over.
    Killed,
    /// The server's process is stopped (SIGSTOP): its kernel still acknowledges up to a buffer, and nothing else happens.
    Stalled,
    /// It refuses new sources; what streams goes on.
    Refusing(Refusal),
    /// Something else took its place and answers nonsense.
    Nonsense,
    /// A head that never ends.
    EndlessHead,
    /// It closes each connection at once.
    HangsUp,
    /// It takes everything, says nothing and shows nothing.
    Swallows,
    /// It takes sources without a word, as behind some proxies.
    Mute,
    /// It says yes to every source and shows none.
    Liar,
    /// Every source is ended by the operator once.
    Kicked,
    /// Somebody else takes the mount of this name (`main.primary`) as soon as it is free, and leaves at the end.
    Foreign(String),
    /// Somebody else takes the mount; ours is ended for it, and our new source is swallowed.
    Usurped(String),
    /// There is no status list.
    StatusMissing,
    /// The status list is no list.
    StatusNonsense,
    /// The list does not show our mounts.
    NotListed,
    /// The list still shows entries from before.
    StaleList,
    /// The list gives no start times.
    NoAges,
    /// The status list is never answered.
    StatusSilent,
    /// Titles are refused.
    TitlesRefused,
    /// A new title.
    Title(String),
    /// The same settings are taken in once more.
    Reload,
    /// A mount's settings change, and change back.
    Changed(String),
    /// A mount is removed, and comes back.
    Removed(String),
}

/// How a source is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// "Mountpoint in use", true or not.
    InUse,
    /// The limit of sources is reached.
    Limit,
    /// Wrong password.
    Password,
    /// Content type.
    ContentType,
    /// No such mount.
    NoMount,
    /// Credentials used too often.
    TooOften,
    /// Busy.
    Busy,
    /// Look elsewhere.
    Moved,
    /// Method not allowed.
    Method,
}

impl Fault {
    /// When it begins.
    #[must_use]
    pub fn begin(&self) -> Duration {
        Duration::from_secs_f64(self.at.max(0.0))
    }

    /// When it is over.
    #[must_use]
    pub fn end(&self) -> Duration {
        Duration::from_secs_f64((self.at + self.lasts).max(0.0))
    }
}

impl What {
    /// Whether it concerns the box alone, so that servers and ways stay as healthy as they are.
    pub(crate) const fn is_at_the_box(&self) -> bool {
        match self {
            Self::Title(_) | Self::Reload | Self::Changed(_) | Self::Removed(_) => true,
            Self::Silent
            | Self::SilentTowards
            | Self::SilentBack
            | Self::Slow(_)
            | Self::Late(_)
            | Self::Reset
            | Self::NoName
            | Self::NameSilent
            | Self::Killed
            | Self::Stalled
            | Self::Refusing(_)
            | Self::Nonsense
            | Self::EndlessHead
            | Self::HangsUp
            | Self::Swallows
            | Self::Mute
            | Self::Liar
            | Self::Kicked
            | Self::Foreign(_)
            | Self::Usurped(_)
            | Self::StatusMissing
            | Self::StatusNonsense
            | Self::NotListed
            | Self::StaleList
            | Self::NoAges
            | Self::StatusSilent
            | Self::TitlesRefused => false,
        }
    }
}

/// At least this many faults an hour; the title changes between them come on top.
pub const FAULTS_PER_HOUR: u64 = 20;

const REFUSALS: [Refusal; 9] = [
    Refusal::InUse,
    Refusal::Limit,
    Refusal::Password,
    Refusal::ContentType,
    Refusal::NoMount,
    Refusal::TooOften,
    Refusal::Busy,
    Refusal::Moved,
    Refusal::Method,
];

const SHORTEST: Duration = Duration::from_millis(150);
const LONGEST: Duration = Duration::from_secs(150);

/// A plan of `length` for the mounts of these names.
pub(crate) fn plan(dice: &mut Dice, length: Duration, mounts: &[String]) -> Vec<Fault> {
    let seconds = length.as_secs();
    let share = |count: u64| (count * seconds).div_ceil(3600);
    let faults = share(FAULTS_PER_HOUR) + dice.between(0, share(10));
    let mut all: Vec<Fault> = (0..faults)
        .map(|_| {
            let at = dice.between(5_000, seconds.max(6) * 1000) as f64 / 1000.0;
            let lasts = dice.span(SHORTEST, LONGEST).as_secs_f64();
            let place = match dice.between(0, 4) {
                0 | 1 => Place::A,
                2 | 3 => Place::B,
                _ => Place::Both,
            };
            Fault { at, lasts, place, what: any(dice, mounts) }
        })
        .collect();
    // Who refuses new sources, or waits for a mount, is only met by a source that comes anew.
    for number in 0..all.len() {
        let waits = matches!(all[number].what, What::Refusing(_) | What::Foreign(_));
        if waits && dice.chance(2, 3) {
            let at = all[number].at + 0.05;
            all.push(Fault { at, lasts: 0.0, place: Place::Both, what: What::Kicked });
        }
    }
    for number in 0..share(15) {
        let at = dice.between(0, seconds * 1000) as f64 / 1000.0;
        let what = What::Title(format!("Artist {number} - Nº {number} & <more>"));
        all.push(Fault { at, lasts: 0.0, place: Place::Both, what });
    }
    all.sort_by(|one, two| one.at.total_cmp(&two.at));
    all
}

fn any(dice: &mut Dice, mounts: &[String]) -> What {
    let mount = mounts[dice.between(0, mounts.len() as u64 - 1) as usize].clone();
    match dice.between(0, 31) {
        0..=2 => What::Silent,
        3 => What::SilentTowards,
        4 => What::SilentBack,
        5 => What::Slow(dice.between(8_000, 60_000) as u32),
        6 => What::Late(dice.between(100, 1_600) as u32),
        7 => What::Reset,
        8 => What::NoName,
        9 => What::NameSilent,
        10 | 11 => What::Killed,
        12 | 13 => What::Stalled,
        14 | 15 => What::Refusing(REFUSALS[dice.between(0, REFUSALS.len() as u64 - 1) as usize]),
        16 => What::Nonsense,
        17 => What::EndlessHead,
        18 => What::HangsUp,
        19 => What::Swallows,
        20 => What::Mute,
        21 => What::Liar,
        22 => What::Kicked,
        23 => What::Foreign(mount),
        24 => What::Usurped(mount),
        25 => What::StatusMissing,
        26 => [What::StatusNonsense, What::StatusSilent][dice.between(0, 1) as usize].clone(),
        27 => [What::NotListed, What::StaleList, What::NoAges][dice.between(0, 2) as usize].clone(),
        28 => What::TitlesRefused,
        29 => What::Reload,
        30 => What::Changed(mount),
        _ => What::Removed(mount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_its_faults() {
        let mounts = ["main.primary".to_string()];
        let hour = Duration::from_secs(3600);
        for seed in 0..50 {
            let plan = plan(&mut Dice::new(seed), hour, &mounts);
            let faults = plan.iter().filter(|fault| !matches!(fault.what, What::Title(_))).count() as u64;
            assert!(faults >= FAULTS_PER_HOUR);
            assert!(plan.iter().all(|fault| fault.begin() <= hour + Duration::from_secs(1)));
        }
    }
}
