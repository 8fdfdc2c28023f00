//! What follows from an answer: facts, and the next step.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::facts::{Behind, Seen};
use super::page::{self, Page, Raw, Until};
use super::sound::tag;
use super::steps::{BLOCK, LISTS, LONGEST_TIMEOUT, PAGES, Step};
use super::{Answer, Slot, Survey};
use crate::config::Method;
use crate::event::{Failure, Reply, Verdict};
use crate::profile::Make;

impl Survey {
    pub(super) fn learn(&mut self, answer: Answer) {
        let step = core::mem::replace(&mut self.step, Step::Over);
        self.step = match (step, answer) {
            (Step::Page(place, hops), Answer::Page(outcome)) => self.page(place, hops, outcome),
            (Step::Path, Answer::Page(outcome)) => self.path(outcome),
            (Step::Stats(slot), Answer::Page(outcome)) => self.stats(slot, outcome),
            (Step::Behind, Answer::Page(outcome)) => self.behind(outcome),
            (Step::Compare(place, sound), Answer::Page(outcome)) => self.compare(place, sound, outcome),
            (Step::TakeOff, _) => {
                self.facts.off = true;
                Step::Rest(0)
            }
            (Step::Rest(times), _) => Step::Free(times),
            (Step::Free(times), Answer::Page(outcome)) => self.free(times, outcome),
            (Step::Harbor, Answer::Source(outcome)) => self.harbor(outcome),
            (Step::Open(method), Answer::Source(outcome)) => self.opened(method, outcome),
            (Step::Settle, _) => Step::BurstListen(0),
            (Step::BurstListen(turn), Answer::Page(outcome)) => match outcome.map(|raw| Page::read(&raw)) {
                Ok(page) if page.is_sound() => Step::BurstHear(turn, page.body.len() as u64),
                Ok(page) => {
                    self.facts.note(&format!(
                        "a listener of {} was answered with {}, so the burst is unknown",
                        self.survey_path(),
                        page.status
                    ));
                    Step::StatsOwn
                }
                Err(failure) => self.failed(&failure, Step::StatsOwn),
            },
            (Step::BurstHear(turn, before), Answer::Heard(bytes)) => {
                let burst = before + bytes.len() as u64;
                let burst = self.facts.burst.map_or(burst, |known| known.min(burst));
                self.facts.burst = Some(burst);
                self.facts.burst_more = burst + BLOCK > self.lead();
                // A listener who came before the server had read it all got that on top.
                if self.facts.burst_more && turn == 0 { Step::BurstListen(1) } else { Step::StatsOwn }
            }
            (Step::StatsOwn, Answer::Page(outcome)) => {
                let page = outcome.map(|raw| Page::read(&raw)).unwrap_or_default();
                self.facts.stats = Some(page.status == 200 && names(&page, &self.survey_path()));
                Step::Kill
            }
            (Step::Kill, Answer::Page(outcome)) => self.kill(outcome),
            (Step::Killed, Answer::Ended(after)) => {
                self.facts.evict = Some(after.is_some());
                if after.is_none() {
                    self.facts.fault("it says that it evicts a source, and does not");
                }
                Step::CloseOwn
            }
            (Step::CloseOwn, _) => {
                if self.plan.slow && self.facts.room == Some(true) {
                    Step::Silent
                } else {
                    self.pair()
                }
            }
            (Step::Silent, Answer::Source(outcome)) => match outcome {
                Ok(Reply { verdict: Verdict::Go, .. }) => Step::Silence,
                Ok(_) | Err(_) => {
                    self.facts.note("a second source was refused, so the time-out is unknown");
                    Step::CloseSilent
                }
            },
            (Step::Silence, Answer::Ended(after)) => {
                self.facts.source_timeout = after;
                if after.is_none() {
                    let secs = LONGEST_TIMEOUT.as_secs();
                    self.facts.fault(&format!("a source that sends nothing is kept for more than {secs} s"));
                }
                Step::CloseSilent
            }
            (Step::CloseSilent, _) => self.pair(),
            (Step::Fallback, Answer::Source(outcome)) => match self.taken(Slot::Fallback, outcome) {
                true => Step::Joined,
                false => Step::CloseFallback,
            },
            (Step::Joined, Answer::Page(outcome)) => match outcome.map(|raw| Page::read(&raw)) {
                Ok(page) if page.is_sound() => Step::JoinedHear(page.body),
                Ok(page) => {
                    if page.status == 404 {
                        self.facts.moved = Some(false);
                    } else {
                        self.facts
                            .note(&format!("a listener of the primary was answered with {}", page.status));
                    }
                    Step::CloseFallback
                }
                Err(failure) => self.failed(&failure, Step::CloseFallback),
            },
            (Step::JoinedHear(mut before), Answer::Heard(bytes)) => {
                before.extend_from_slice(&bytes);
                self.facts.moved = Some(hears(&before, Slot::Fallback));
                if self.facts.moved == Some(true) { Step::Alone } else { Step::CloseFallback }
            }
            (Step::Alone, Answer::Page(outcome)) => {
                let page = outcome.map(|raw| Page::read(&raw)).unwrap_or_default();
                let listeners = if page.status == 200 { figure(&page.text(), "listeners") } else { None };
                if listeners.is_some_and(|listeners| listeners > 1) {
                    self.facts.note("somebody began to listen, so the way back to the primary was not tried");
                    Step::CloseFallback
                } else {
                    Step::Primary
                }
            }
            (Step::Primary, Answer::Source(outcome)) => match self.taken(Slot::Primary, outcome) {
                true => Step::Over1,
                false => Step::ClosePrimary,
            },
            (Step::Over1, Answer::Heard(bytes)) => {
                self.facts.overrides = Some(hears(&bytes, Slot::Primary));
                Step::ClosePrimary
            }
            (Step::ClosePrimary, _) => {
                if self.facts.overrides == Some(true) {
                    Step::Back
                } else {
                    Step::CloseFallback
                }
            }
            (Step::Back, Answer::Heard(bytes)) => {
                self.facts.moved = Some(hears(&bytes, Slot::Fallback));
                if self.facts.moved == Some(false) {
                    self.facts.fault(
                        "a new listener of the primary gets the fallback, but one who was there when the primary ended does not",
                    );
                }
                Step::CloseFallback
            }
            (Step::CloseFallback, _) => Step::Leave,
            (Step::Leave | Step::Over, _) => Step::Over,
            // An edge that answers something else has lost its way: what is open goes with it.
            (_, Answer::Page(_) | Answer::Source(_) | Answer::Heard(_) | Answer::Ended(_) | Answer::Done) => {
                self.facts.fault("the survey was stopped: an answer that was not asked for");
                Step::Over
            }
        };
    }

    fn page(&mut self, place: usize, mut hops: Vec<String>, outcome: Result<Raw, Failure>) -> Step {
        let page = match outcome {
            Ok(raw) => Page::read(&raw),
            Err(failure) => {
                self.facts.unreachable = Some(failure.to_string());
                return Step::Over;
            }
        };
        let asked = hops.last().map_or(PAGES[place], String::as_str).to_string();
        if let Some(odd) = &page.odd {
            self.facts.fault(odd);
            if page.status == 0 {
                // No HTTP, or no end of it: whatever this is, it is no server to send a password to.
                self.facts.liar = true;
                return Step::Over;
            }
        }
        if let Some(server) = &page.server {
            self.facts.server.get_or_insert_with(|| server.clone());
        }
        self.tell_apart(&page);
        if (300..400).contains(&page.status) {
            let to = page.location.clone().unwrap_or_default();
            let path = if self.is_here(&to) { page::path_of(&to) } else { None };
            match path {
                Some(path) if path != asked && !hops.contains(&path) && hops.len() < MOST_HOPS => {
                    hops.push(path);
                    return Step::Page(place, hops);
                }
                Some(_) => {
                    self.facts.fault("its redirections lead in a circle");
                    self.facts.liar = true;
                }
                None => {
                    self.facts.fault(&format!("it sends {asked} elsewhere ({to}), which was not followed"))
                }
            }
        } else if place < LISTS && page.status == 200 {
            self.facts.listed = page::list(&page.text());
            if self.facts.listed.is_none() && page.is_html() {
                self.facts.fault(&format!(
                    "it answers {asked} with a web page: a login page, or something else that stands in the way"
                ));
                self.facts.liar = true;
            }
        }
        if self.facts.liar {
            return Step::Over;
        }
        if self.facts.listed.is_some() || place + 1 >= PAGES.len() {
            return self.known();
        }
        Step::Page(place + 1, Vec::new())
    }

    fn tell_apart(&mut self, page: &Page) {
        let named = Make::of(page.server.as_deref().unwrap_or_default(), &page.text());
        if let Some(make) = named.or_else(|| page.icy.then_some(Make::Shoutcast1)) {
            self.facts.make.get_or_insert(make);
        }
    }

    /// All public pages were seen.
    fn known(&mut self) -> Step {
        let look = |facts: &super::Facts, path: &str| {
            let entry = facts.is_listed(path);
            // A mount that is not on the list may be hidden: that it is free is another matter.
            entry.map_or_else(Seen::default, |entry| Seen { live: Some(true), listeners: entry.listeners })
        };
        self.facts.primary = look(&self.facts, &self.plan.primary.path);
        if let Some(fallback) = &self.plan.fallback {
            self.facts.fallback = look(&self.facts, &fallback.path);
        }
        match self.facts.make {
            Some(Make::Harbor) if self.plan.login && !self.plan.careful => Step::Harbor,
            Some(Make::Harbor) => Step::Over,
            Some(Make::Icecast24 | Make::Icecast25 | Make::IcecastKh | Make::Shoutcast1 | Make::Generic)
            | None => {
                if self.facts.primary.live == Some(true) {
                    self.login()
                } else {
                    Step::Path
                }
            }
        }
    }

    fn path(&mut self, outcome: Result<Raw, Failure>) -> Step {
        let page = match outcome {
            Ok(raw) => Page::read(&Raw { until: Until::Whole, ..raw }),
            Err(failure) => return self.failed(&failure, Step::Over),
        };
        self.tell_apart(&page);
        if page.status == 200 && page.is_html() {
            self.facts.fault("it answers the mount with a web page: a login page, or something else that stands in the way");
            self.facts.liar = true;
            return Step::Over;
        }
        if page.is_sound() {
            self.facts.behind = Some(Behind::Something);
        } else if page.status == 404 || page.status == 400 {
            self.facts.behind = Some(Behind::Nothing);
        }
        self.login()
    }

    fn login(&mut self) -> Step {
        if self.facts.make == Some(Make::Shoutcast1) {
            self.facts.note("Shoutcast v1 has one mount and no fallback: nothing can be handed over");
            return Step::Over;
        }
        if self.plan.login { Step::Stats(Slot::Primary) } else { self.after_pages() }
    }

    /// What `/admin/stats?mount=` says of one of our own mounts.
    fn stats(&mut self, slot: Slot, outcome: Result<Raw, Failure>) -> Step {
        let page = match outcome {
            Ok(raw) => Page::read(&raw),
            Err(failure) => return self.failed(&failure, Step::Over),
        };
        let path = self.own(slot).map(|mount| mount.path.clone()).unwrap_or_default();
        let speaks = matches!(self.facts.make, Some(Make::Icecast24 | Make::Icecast25 | Make::IcecastKh));
        let seen = match page.status {
            200 if names(&page, &path) => {
                self.facts.login = Some(true);
                self.facts.stats = Some(true);
                Some(Seen { live: Some(true), listeners: figure(&page.text(), "listeners") })
            }
            // 2.4 says 400 of a mount that is not there, 2.5 says 404, both after the login.
            400 | 404 if speaks => {
                self.facts.login = Some(true);
                Some(Seen { live: Some(false), listeners: Some(0) })
            }
            // 2.4 knows one login for both; a role of 2.5 may be a source's and not an administrator's.
            401 | 403 if self.facts.make == Some(Make::Icecast24) => {
                self.facts.login = Some(false);
                None
            }
            401 | 403 => {
                self.facts.stats = Some(false);
                None
            }
            _ => None,
        };
        if let Some(seen) = seen {
            *match slot {
                Slot::Primary => &mut self.facts.primary,
                Slot::Fallback => &mut self.facts.fallback,
            } = seen;
        }
        match slot {
            Slot::Primary if self.plan.fallback.is_some() && self.facts.login != Some(false) => {
                Step::Stats(Slot::Fallback)
            }
            Slot::Primary | Slot::Fallback => self.after_pages(),
        }
    }

    fn after_pages(&mut self) -> Step {
        if self.facts.primary.live != Some(true) && self.facts.behind == Some(Behind::Something) {
            return Step::Behind;
        }
        self.sources()
    }

    fn behind(&mut self, outcome: Result<Raw, Failure>) -> Step {
        match outcome.map(|raw| Page::read(&Raw { until: Until::Whole, ..raw })) {
            Ok(page) if page.is_sound() && page.body.len() >= 2 * NEEDLE => Step::Compare(0, page.body),
            Ok(_) | Err(_) => self.sources(),
        }
    }

    /// Two listeners who joined a moment apart share most of the burst; the needle is from the middle of what one heard.
    fn compare(&mut self, place: usize, sound: Vec<u8>, outcome: Result<Raw, Failure>) -> Step {
        let page = outcome.map(|raw| Page::read(&Raw { until: Until::Whole, ..raw })).unwrap_or_default();
        let same = sound
            .windows(NEEDLE)
            .step_by(NEEDLE)
            .any(|needle| memchr::memmem::find(&page.body, needle).is_some());
        let path =
            self.facts.listed.as_ref().and_then(|list| list.get(place)).map(|mount| mount.path.clone());
        if let Some(path) = path.filter(|_| same) {
            if self.plan.fallback.as_ref().is_some_and(|fallback| fallback.path == path) {
                self.facts.moved = Some(true);
            }
            self.facts.behind = Some(Behind::Mount(path));
            return self.sources();
        }
        let more = self.facts.listed.as_ref().is_some_and(|list| place + 1 < list.len().min(MOST_COMPARED));
        if more { Step::Compare(place + 1, sound) } else { self.sources() }
    }

    /// Pages told what they could: now sources, if that is wanted and harmless.
    fn sources(&mut self) -> Step {
        if self.plan.careful || !self.plan.login || self.facts.login == Some(false) {
            return Step::Over;
        }
        if self.plan.primary.path == "/" {
            self.facts.note("the address names no mount, so no source was opened");
            return Step::Over;
        }
        let (primary, fallback) = (self.facts.primary, self.facts.fallback);
        if self.plan.fed && self.plan.may_take_off && self.facts.login == Some(true) {
            let nobody = |seen: Seen| seen.live == Some(false) || seen.listeners == Some(0);
            if nobody(primary) && (self.plan.fallback.is_none() || nobody(fallback)) {
                return Step::TakeOff;
            }
            self.facts
                .note("somebody listens: the output was left on air, and its own mounts were not tried");
        }
        Step::Open(self.plan.primary.server.method)
    }

    fn free(&mut self, times: u8, outcome: Result<Raw, Failure>) -> Step {
        let page = outcome.map(|raw| Page::read(&raw)).unwrap_or_default();
        if matches!(page.status, 400 | 404) {
            self.facts.primary = Seen { live: Some(false), listeners: Some(0) };
            self.facts.fallback = self.facts.primary;
            self.facts.behind = Some(Behind::Nothing);
        } else if times < MOST_LOOKS {
            return Step::Rest(times + 1);
        } else {
            self.facts.behind = Some(Behind::Something);
        }
        Step::Open(self.plan.primary.server.method)
    }

    /// Harbor takes a source on each input's own mount only, and tells a wrong login before anything else.
    fn harbor(&mut self, outcome: Result<Reply, Failure>) -> Step {
        match outcome {
            Ok(Reply { verdict: Verdict::Go, .. }) => self.facts.login = Some(true),
            Ok(Reply { verdict: Verdict::InUse, .. }) => {
                self.facts.login = Some(true);
                self.facts.primary.live = Some(true);
            }
            Ok(Reply { verdict: Verdict::Unauthorised, .. }) => self.facts.login = Some(false),
            Ok(Reply { verdict: Verdict::NoSuchMount, .. }) => {
                self.facts.fault(&format!("there is no input.harbor(\"{}\")", self.plan.primary.path));
            }
            Ok(reply) => self.facts.note(&format!("harbor answered a source with {}", reply.status)),
            Err(failure) => return self.failed(&failure, Step::Leave),
        }
        // It was given nothing to play, and goes now.
        Step::ClosePrimary
    }

    fn opened(&mut self, method: Method, outcome: Result<Reply, Failure>) -> Step {
        let verdict = match outcome {
            Ok(reply) => reply.verdict,
            // Servers and proxies that do not know PUT may just hang up.
            Err(Failure::Reset) => Verdict::Rejected,
            Err(failure) => return self.failed(&failure, Step::Over),
        };
        let path = self.survey_path();
        match verdict {
            Verdict::Go => {
                self.facts.method = Some(method);
                self.facts.login = Some(true);
                self.facts.room = Some(true);
                return Step::Settle;
            }
            Verdict::Unauthorised | Verdict::NoSuchMount => {
                if !self.facts.own && self.is_free() {
                    self.facts.own = true;
                    self.facts.note("only its own mounts take a source: the primary itself was used");
                    return Step::Open(method);
                }
                if self.facts.login.is_none() && verdict == Verdict::Unauthorised {
                    self.facts.login = Some(false);
                }
                self.facts
                    .note(&format!("{path} is refused to a source, so burst and eviction were not tried"));
            }
            Verdict::TooManySources => {
                self.facts.login = Some(true);
                self.facts.room = Some(false);
            }
            Verdict::InUse => self.facts.note(&format!("{path} has a source: is another survey under way?")),
            Verdict::TooOften => self.facts.fault("it says that the login is used too often"),
            Verdict::Redirected => self.facts.fault("it sends sources elsewhere, which they do not follow"),
            Verdict::Rejected | Verdict::ContentType | Verdict::Busy | Verdict::Nonsense => match method {
                Method::Put => return Step::Open(Method::Source),
                Method::Source => self.facts.fault("it takes a source neither by PUT nor by SOURCE"),
            },
        }
        Step::Over
    }

    fn kill(&mut self, outcome: Result<Raw, Failure>) -> Step {
        let page = outcome.map(|raw| Page::read(&raw)).unwrap_or_default();
        if page.status == 200 {
            return Step::Killed;
        }
        self.facts.evict = Some(false);
        Step::CloseOwn
    }

    /// The output's own mounts, if they are free for it.
    fn pair(&mut self) -> Step {
        let Some(fallback) = &self.plan.fallback else { return Step::Over };
        let primary = &self.plan.primary.server;
        if (primary.host.as_str(), primary.port) != (fallback.server.host.as_str(), fallback.server.port) {
            self.facts.note("the fallback lies on another server, so no listener can be moved there");
            return Step::Over;
        }
        if !self.is_free() {
            let why = match (&self.facts.behind, self.plan.fed && !self.facts.off) {
                (Some(Behind::Mount(_) | Behind::Something), _) => {
                    "something else answers on the primary's path"
                }
                (_, true) => "this box feeds them",
                (Some(Behind::Nothing) | None, false) => "they have a source",
            };
            self.facts.note(&format!("fallback and override were not tried on the mounts themselves: {why}"));
            return Step::Over;
        }
        Step::Fallback
    }

    /// Whether both of the output's own mounts are free, with nobody who could hear what happens on them.
    fn is_free(&self) -> bool {
        (self.facts.off || !self.plan.fed)
            && self.facts.primary.live != Some(true)
            && self.facts.fallback.live != Some(true)
            && self.facts.behind == Some(Behind::Nothing)
    }

    fn taken(&mut self, slot: Slot, outcome: Result<Reply, Failure>) -> bool {
        let path = self.own(slot).map(|mount| mount.path.clone()).unwrap_or_default();
        let why = match outcome {
            Ok(Reply { verdict: Verdict::Go, .. }) => return true,
            Ok(Reply { verdict: Verdict::TooManySources, .. }) => {
                self.facts.room = Some(false);
                return false;
            }
            Ok(reply) => format!("{path} was refused to a source ({})", reply.status),
            Err(failure) => format!("{path}: {failure}"),
        };
        self.facts.fault(&why);
        false
    }

    fn failed(&mut self, failure: &Failure, then: Step) -> Step {
        self.facts.fault(&format!("in the middle of it: {failure}"));
        then
    }
}

fn hears(bytes: &[u8], slot: Slot) -> bool {
    memchr::memmem::find(bytes, tag(slot)).is_some()
}

/// Whether a page of statistics is about the mount.
fn names(page: &Page, path: &str) -> bool {
    page.text().contains(&format!("mount=\"{path}\""))
}

/// A figure of the one mount that a page of statistics is about; before its element stand figures of the whole server.
fn figure(text: &str, name: &str) -> Option<u64> {
    let source = &text[text.find("<source ")?..];
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let begin = source.find(&open)? + open.len();
    source[begin..begin + source[begin..].find(&close)?].trim().parse().ok()
}

const MOST_HOPS: usize = 4;
/// Mounts whose sound is compared with what answers behind the primary.
const MOST_COMPARED: usize = 8;
const NEEDLE: usize = 256;
const MOST_LOOKS: u8 = 20;
