//! The steps of a survey, and what is asked in each.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::sound::{RATE, tag};
use super::{Question, Slot, Survey};
use crate::config::{Method, MountConfig};
use crate::event::Talk;
use crate::wire::request;

/// Where a survey stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A public page: its place in [`PAGES`], and the redirections followed so far.
    Page(usize, Vec<String>),
    /// Is there anything on the primary's path?
    Path,
    /// Who is the source of this mount, as our login may see?
    Stats(Slot),
    /// A little of what answers on the primary's path although it has no source.
    Behind,
    /// Is that the sound of this mount of the list?
    Compare(usize, Vec<u8>),
    /// Leave our own mounts.
    TakeOff,
    /// Give the server a moment to let them go.
    Rest(u8),
    /// Are they free now, and does nothing answer behind them?
    Free(u8),
    /// Does the harbor know our login? A source of a type that it cannot play.
    Harbor,
    /// A source on the survey's mount.
    Open(Method),
    /// Its sound reaches the server's buffers.
    Settle,
    /// A listener of it; the second time, to be sure.
    BurstListen(u8),
    BurstHear(u8, u64),
    StatsOwn,
    Kill,
    Killed,
    /// Ends it where it was not evicted.
    CloseOwn,
    /// A source that falls silent.
    Silent,
    Silence,
    CloseSilent,
    /// Source on the fallback.
    Fallback,
    /// A listener of the primary's path.
    Joined,
    JoinedHear(Vec<u8>),
    /// Nobody but us on the fallback?
    Alone,
    /// Source on the primary.
    Primary,
    Over1,
    ClosePrimary,
    Back,
    CloseFallback,
    Leave,
    Over,
}

impl Step {
    pub(super) const fn first() -> Self {
        Self::Page(0, Vec::new())
    }

    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Page(..) | Self::Path => "reading the server's pages",
            Self::Stats(_) | Self::Harbor => "trying the login",
            Self::Behind | Self::Compare(..) => "listening to what answers behind the primary mount",
            Self::TakeOff | Self::Rest(_) | Self::Free(_) => "taking the output off its mounts",
            Self::Open(_) => "opening a source of the survey's own",
            Self::Settle | Self::BurstListen(_) | Self::BurstHear(..) => "measuring the burst",
            Self::StatsOwn | Self::Kill | Self::Killed | Self::CloseOwn => "evicting the survey's own source",
            Self::Silent | Self::Silence | Self::CloseSilent => {
                "waiting until the server drops a silent source"
            }
            Self::Fallback
            | Self::Joined
            | Self::JoinedHear(_)
            | Self::Alone
            | Self::Primary
            | Self::Over1
            | Self::ClosePrimary
            | Self::Back
            | Self::CloseFallback
            | Self::Leave => "watching where the server moves a listener",
            Self::Over => "done",
        }
    }
}

impl Survey {
    pub(super) fn question(&self) -> Option<Question> {
        let (plan, agent) = (&self.plan, self.plan.agent.as_str());
        let fetch = |request| Some(Question::Fetch { request, most: 0, patience: PATIENCE });
        let fetch_some = |request| Some(Question::Fetch { request, most: MOST_SOUND, patience: PATIENCE });
        let end = |slot| Some(Question::Ended { slot, patience: GIVEN_UP });
        match &self.step {
            Step::Page(place, hops) => {
                let path = hops.last().map_or(PAGES[*place], String::as_str);
                // Shoutcast shows its pages to browsers only.
                let browser = format!("Mozilla/5.0 ({agent})");
                fetch(request::page(&plan.primary, if *place < LISTS { agent } else { &browser }, path))
            }
            Step::Path => fetch(request::page(&plan.primary, agent, &plan.primary.path)),
            Step::Stats(slot) => fetch(request::admin_stats(self.own(*slot)?, agent)),
            Step::Behind => fetch_some(request::page(&plan.primary, agent, &plan.primary.path)),
            Step::Compare(place, _) => {
                let path = &self.facts.listed.as_ref()?.get(*place)?.path;
                fetch_some(request::page(&plan.primary, agent, path))
            }
            Step::TakeOff => Some(Question::TakeOff),
            Step::Rest(_) => Some(Question::Pause(LET_GO)),
            Step::Free(_) => fetch(request::page(&plan.primary, agent, &plan.primary.path)),
            Step::Harbor => {
                let head = request::source(&plan.primary, agent);
                let head = String::from_utf8_lossy(&head).into_owned();
                let type_line = format!("Content-Type: {}\r\n", plan.primary.rendition.codec.content_type());
                let request = head.replace(&type_line, "Content-Type: application/x-mainstay-survey\r\n");
                Some(open(Slot::Primary, request.into_bytes(), 0, 0))
            }
            Step::Open(method) => Some(Question::Open {
                slot: Slot::Primary,
                request: self.source(self.survey_mount(), *method),
                talk: Talk::Http,
                at_once: self.lead(),
                pace: 0,
                patience: PATIENCE * 3,
            }),
            Step::Settle => Some(Question::Pause(LET_GO)),
            Step::BurstListen(_) => listen(request::page(&plan.primary, agent, &self.survey_path())),
            Step::BurstHear(..) => {
                Some(Question::Hear { needle: Vec::new(), quiet: BURST_QUIET, patience: PATIENCE + PATIENCE })
            }
            Step::StatsOwn => fetch(request::admin_stats(&self.survey_mount(), agent)),
            Step::Kill => fetch(request::evict(&self.survey_mount(), agent)),
            Step::Killed => end(Slot::Primary),
            Step::CloseOwn | Step::CloseSilent | Step::ClosePrimary => {
                Some(Question::Close { slot: Slot::Primary })
            }
            Step::Silent => {
                Some(open(Slot::Primary, self.source(self.survey_mount(), self.method()), BLOCK, 0))
            }
            Step::Silence => Some(Question::Ended { slot: Slot::Primary, patience: LONGEST_TIMEOUT }),
            Step::Fallback => {
                let mount = plan.fallback.clone()?;
                Some(open(Slot::Fallback, self.source(mount, self.method()), LEAD, RATE))
            }
            Step::Joined => listen(request::page(&plan.primary, agent, &plan.primary.path)),
            Step::JoinedHear(_) | Step::Back => Some(hear(Slot::Fallback)),
            Step::Alone => fetch(request::admin_stats(plan.fallback.as_ref()?, agent)),
            Step::Primary => {
                let mount = plan.primary.clone();
                Some(open(Slot::Primary, self.source(mount, self.method()), LEAD, RATE))
            }
            Step::Over1 => Some(hear(Slot::Primary)),
            Step::CloseFallback => Some(Question::Close { slot: Slot::Fallback }),
            Step::Leave => Some(Question::Leave),
            Step::Over => None,
        }
    }

    /// The mount that is tried out: one beside the primary.
    pub(super) fn survey_path(&self) -> String {
        let path = &self.plan.primary.path;
        if self.facts.own { path.clone() } else { format!("{path}_survey") }
    }

    pub(super) fn survey_mount(&self) -> MountConfig {
        MountConfig { path: self.survey_path(), ..self.plan.primary.clone() }
    }

    /// A source's head for a mount: what it sends is always the survey's own MP3, and no directory lists it.
    fn source(&self, mut mount: MountConfig, method: Method) -> Vec<u8> {
        mount.server.method = method;
        mount.station = crate::config::Station { name: "Mainstay survey".to_string(), ..Default::default() };
        mount.rendition.codec = units::Codec::Mp3;
        request::source(&mount, &self.plan.agent)
    }

    /// Bytes of sound to measure the burst with: more than it should be.
    pub(super) fn lead(&self) -> u64 {
        super::report::wanted_burst(&self.plan) + 64 * 1024
    }

    pub(super) fn method(&self) -> Method {
        self.facts.method.unwrap_or(self.plan.primary.server.method)
    }

    pub(super) fn own(&self, slot: Slot) -> Option<&MountConfig> {
        match slot {
            Slot::Primary => Some(&self.plan.primary),
            Slot::Fallback => self.plan.fallback.as_ref(),
        }
    }

    /// Whether an address is on this very server.
    pub(super) fn is_here(&self, url: &str) -> bool {
        let server = &self.plan.primary.server;
        let scheme = if server.tls.is_some() { "https" } else { "http" };
        url.starts_with('/') && !url.starts_with("//")
            || url.starts_with(&format!("{scheme}://{}:{}/", server.host, server.port))
    }
}

fn open(slot: Slot, request: Vec<u8>, at_once: u64, pace: u32) -> Question {
    Question::Open { slot, request, talk: Talk::Http, at_once, pace, patience: PATIENCE }
}

fn listen(request: Vec<u8>) -> Option<Question> {
    Some(Question::Listen { request, patience: PATIENCE })
}

fn hear(slot: Slot) -> Question {
    Question::Hear { needle: tag(slot).to_vec(), quiet: MOVED, patience: MOVED }
}

/// Public pages, tried in this order: the status lists of Icecast 2.4 and 2.5, Shoutcast v1's, and whatever names itself.
pub(super) const PAGES: [&str; 4] = ["/status-json.xsl", "/admin/publicstats.json", "/7.html", "/"];
/// So many of them are status lists.
pub(super) const LISTS: usize = 2;
const MOST_SOUND: usize = 48 * 1024;
/// What listeners get at a time.
pub(super) const BLOCK: u64 = 1400;
/// A listener of a mount without data reaches its newest block within 0.95 s (DESIGN 3).
const BURST_QUIET: Duration = Duration::from_millis(1500);
/// What a source of the pair begins with: enough for a block, and for a first burst.
const LEAD: u64 = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);
/// An evicted source's connection is closed at once; its thread turns every quarter of a second.
const GIVEN_UP: Duration = Duration::from_secs(3);
const MOVED: Duration = Duration::from_secs(6);
/// No server in use keeps a silent source for longer, and the settings take no more.
pub(super) const LONGEST_TIMEOUT: Duration = Duration::from_secs(120);
const LET_GO: Duration = Duration::from_millis(500);
