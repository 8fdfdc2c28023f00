//! Faults coming and going: what is in force now, and what changes between before and after.

use std::time::Duration;

use delivery::event::Failure;
use delivery::{Input, LinkId};

use crate::faults::{Fault, What};
use crate::invariants::Broken;
use crate::link::Path;
use crate::server::{Greeting, Manners, Status};
use crate::world::{Due, World};

impl World {
    /// A fault begins.
    pub(crate) fn begin(&mut self, number: usize) -> Result<(), Broken> {
        self.active.push(number);
        let fault = self.setup.faults[number].clone();
        match &fault.what {
            What::Title(title) => {
                self.title.clone_from(title);
                self.title_since = self.now;
                self.inbox.push_back(Input::Title(title.clone()));
            }
            What::Reload => return self.reload(),
            What::Changed(mount) | What::Removed(mount) => self.reconfigure(mount)?,
            What::Reset => self.break_all(&fault, Some(Failure::Reset), false),
            What::Kicked => self.break_all(&fault, None, true),
            What::Foreign(_) => self.due(self.now, Due::Intrude(number)),
            What::Usurped(_) => {
                self.break_all(&fault, None, true);
                // After our own new connection was taken in, so that the intruder's entry is the younger one.
                self.due(self.now + USURPED, Due::Intrude(number));
            }
            What::Silent
            | What::SilentTowards
            | What::SilentBack
            | What::Slow(_)
            | What::Late(_)
            | What::NoName
            | What::NameSilent
            | What::Killed
            | What::Stalled
            | What::Refusing(_)
            | What::Nonsense
            | What::EndlessHead
            | What::HangsUp
            | What::Swallows
            | What::Mute
            | What::Liar
            | What::StatusMissing
            | What::StatusNonsense
            | What::NotListed
            | What::StaleList
            | What::NoAges
            | What::StatusSilent
            | What::TitlesRefused => {}
        }
        self.settle();
        Ok(())
    }

    /// A fault is over.
    pub(crate) fn finish(&mut self, number: usize) -> Result<(), Broken> {
        self.active.retain(|&active| active != number);
        match self.setup.faults[number].what.clone() {
            What::Changed(mount) | What::Removed(mount) => self.reconfigure(&mount)?,
            What::Foreign(mount) | What::Usurped(mount) => {
                if let Some((server, path)) = self.place_of(&mount) {
                    self.servers[server]
                        .sources
                        .retain(|source| source.link.is_some() || source.path != path);
                }
            }
            What::Title(_)
            | What::Reload
            | What::Reset
            | What::Kicked
            | What::Silent
            | What::SilentTowards
            | What::SilentBack
            | What::Slow(_)
            | What::Late(_)
            | What::NoName
            | What::NameSilent
            | What::Killed
            | What::Stalled
            | What::Refusing(_)
            | What::Nonsense
            | What::EndlessHead
            | What::HangsUp
            | What::Swallows
            | What::Mute
            | What::Liar
            | What::StatusMissing
            | What::StatusNonsense
            | What::NotListed
            | What::StaleList
            | What::NoAges
            | What::StatusSilent
            | What::TitlesRefused => {}
        }
        self.settle();
        Ok(())
    }

    /// Somebody else tries to take a mount.
    pub(crate) fn intrude(&mut self, number: usize) {
        if let What::Foreign(mount) | What::Usurped(mount) = &self.setup.faults[number].what
            && self.active.contains(&number)
            && let Some((server, path)) = self.place_of(mount)
            && self.servers[server].manners.up
            && self.servers[server].manners.runs
        {
            self.servers[server].intrude(self.now, &path);
        }
    }

    pub(crate) fn removed(&self, mount: usize) -> bool {
        let name = &self.berths[mount].name;
        self.active.iter().any(|&fault| self.setup.faults[fault].what == What::Removed(name.clone()))
    }

    pub(crate) fn changed(&self, mount: usize) -> bool {
        let name = &self.berths[mount].name;
        self.active.iter().any(|&fault| self.setup.faults[fault].what == What::Changed(name.clone()))
    }

    fn place_of(&self, mount: &str) -> Option<(usize, String)> {
        let berth = self.berths.iter().find(|berth| berth.name == mount)?;
        Some((berth.server, berth.config.path.clone()))
    }

    /// The mounts whose source a server took, with that source. (An attempt that is due may begin at any time.)
    fn streaming(&self) -> Vec<(String, Option<LinkId>)> {
        let streaming = self.wards.iter().filter(|ward| ward.is_streaming());
        streaming.map(|ward| (ward.name.clone(), ward.source)).collect()
    }

    /// The very same settings: nothing may happen.
    fn reload(&mut self) -> Result<(), Broken> {
        let before = self.streaming();
        self.configure();
        self.drain()?;
        let after = self.streaming();
        if before == after { Ok(()) } else { Err(format!("equal settings changed {before:?} to {after:?}")) }
    }

    /// One mount's settings change; the others keep what they have.
    fn reconfigure(&mut self, mount: &str) -> Result<(), Broken> {
        let others = |world: &Self| {
            let mut all = world.streaming();
            all.retain(|(name, _)| name != mount);
            all
        };
        let before = others(self);
        self.configure();
        self.drain()?;
        if before == others(self) {
            Ok(())
        } else {
            Err(format!("{mount} was changed and another mount lost its source"))
        }
    }

    /// Every connection to the servers of a fault ends.
    fn break_all(&mut self, fault: &Fault, failure: Option<Failure>, orderly: bool) {
        for server in 0..self.servers.len() {
            if !self.strikes(fault, server) || (orderly && !self.servers[server].manners.runs) {
                continue;
            }
            for at in 0..self.conns.len() {
                if self.conns[at].server == server && (!orderly || self.conns[at].taken) {
                    let link = self.conns[at].link;
                    self.break_off(at, failure.clone());
                    self.drop_source(server, link);
                }
            }
        }
    }

    /// Whether a fault concerns a server or the way to it.
    fn strikes(&self, fault: &Fault, server: usize) -> bool {
        if let What::Foreign(mount) | What::Usurped(mount) = &fault.what {
            return self.place_of(mount).is_some_and(|(its, _)| its == server);
        }
        !fault.what.is_at_the_box() && fault.place.covers(server)
    }

    /// Makes paths and servers what the faults in force want them to be.
    fn settle(&mut self) {
        for server in 0..self.servers.len() {
            let mut path = Path::new(self.calm[server]);
            let mut manners = Manners::GOOD;
            let mut well = true;
            for number in 0..self.active.len() {
                let fault = &self.setup.faults[self.active[number]];
                if self.strikes(fault, server) {
                    well = false;
                    afflict(&fault.what, &mut path, &mut manners);
                }
            }
            self.well[server] = if well { Some(self.well[server].unwrap_or(self.now)) } else { None };
            self.change(server, &path, manners);
        }
    }

    fn change(&mut self, server: usize, path: &Path, manners: Manners) {
        let ours: Vec<usize> = (0..self.conns.len()).filter(|&at| self.conns[at].server == server).collect();
        for &at in &ours {
            self.touch(at);
        }
        let was = self.servers[server].manners.clone();
        let now = &mut self.paths[server];
        let heals = (path.to_server && !now.to_server) || (path.to_box && !now.to_box);
        let moves = path.rate != now.rate || path.latency != now.latency;
        let darkens = !path.to_box && now.to_box;
        (now.latency, now.rate, now.to_server, now.to_box) =
            (path.latency, path.rate, path.to_server, path.to_box);
        if moves {
            now.clear_queue();
        }
        let taken_over = manners.greeting.is_server() != was.greeting.is_server();
        let (dies, wakes) = (was.up && !manners.up, manners.runs && !was.runs);
        self.servers[server].manners = manners;
        if darkens {
            for &at in &ours {
                self.conns[at].pipe.lose_acks();
            }
        }
        if dies || taken_over {
            for &at in &ours {
                self.break_off(at, Some(Failure::Reset));
            }
            self.servers[server].sources.clear();
        }
        if heals || moves || wakes {
            let wait = if heals { self.retransmission() } else { Duration::ZERO };
            for &at in &ours {
                self.resume(at, wait);
            }
            self.poke(server, wait);
        }
    }

    /// What waited for path or server goes on.
    fn poke(&mut self, server: usize, wait: Duration) {
        let soon = self.now + wait + Duration::from_millis(self.dice.between(0, 50));
        let mut dues = Vec::new();
        for conn in self.conns.iter().filter(|conn| conn.server == server) {
            if conn.held {
                dues.push(Due::Advance(conn.link));
            }
            dues.extend(conn.says.iter().map(|_| Due::Say(conn.link)));
            if conn.gone {
                dues.push(Due::Broken(conn.link));
            }
        }
        for ask in self.asks.iter().filter(|ask| ask.server == server) {
            if ask.held {
                dues.push(Due::AskArrives(ask.link));
            } else if ask.answer.is_some() {
                dues.push(Due::AskAnswered(ask.link));
            }
        }
        let unheard = std::mem::take(&mut self.unheard_ends);
        let (here, elsewhere) = unheard.into_iter().partition(|&(its, _)| its == server);
        self.unheard_ends = elsewhere;
        dues.extend::<Vec<Due>>(
            here.into_iter().map(|(server, link): (usize, _)| Due::Gone(server, link)).collect(),
        );
        // A dead end is noticed after the first byte that reaches it was answered.
        let later = soon + self.paths[server].round_trip();
        for due in dues {
            let at = if matches!(due, Due::Broken(_)) { later } else { soon };
            self.due(at, due);
        }
    }

    /// How long the sender's retransmission timer still runs when a path heals (capped at a second by the edge).
    fn retransmission(&mut self) -> Duration {
        Duration::from_millis(self.dice.between(0, 1000))
    }
}

/// How one fault shows in path and manners.
fn afflict(what: &What, path: &mut Path, manners: &mut Manners) {
    match what {
        What::Silent => (path.to_server, path.to_box) = (false, false),
        What::SilentTowards => path.to_server = false,
        What::SilentBack => path.to_box = false,
        What::Slow(rate) => path.rate = Some(path.rate.map_or(*rate, |other| other.min(*rate))),
        What::Late(millis) => path.latency = path.latency.max(Duration::from_millis(u64::from(*millis))),
        What::Killed => manners.up = false,
        What::Stalled => manners.runs = false,
        What::Refusing(refusal) => manners.greeting = Greeting::Refusing(*refusal),
        What::Nonsense => manners.greeting = Greeting::Nonsense,
        What::EndlessHead => manners.greeting = Greeting::EndlessHead,
        What::HangsUp => manners.greeting = Greeting::HangsUp,
        What::Swallows => manners.greeting = Greeting::Swallows,
        What::Mute => manners.greeting = Greeting::Mute,
        What::Liar => manners.greeting = Greeting::Liar,
        What::Usurped(_) => manners.greeting = Greeting::Aside,
        What::StatusMissing => manners.status = Status::Missing,
        What::StatusNonsense => manners.status = Status::Nonsense,
        What::NotListed => manners.status = Status::NotListed,
        What::StaleList => manners.status = Status::Stale,
        What::NoAges => manners.status = Status::NoAges,
        What::StatusSilent => manners.status = Status::Silent,
        What::TitlesRefused => manners.takes_titles = false,
        What::Reset
        | What::NoName
        | What::NameSilent
        | What::Kicked
        | What::Foreign(_)
        | What::Title(_)
        | What::Reload
        | What::Changed(_)
        | What::Removed(_) => {}
    }
}

/// An intruder comes this long after our source was ended: after our silent acceptance (4 s), by more than lists can tell
/// apart (stamps of whole seconds).
const USURPED: Duration = Duration::from_secs(12);
