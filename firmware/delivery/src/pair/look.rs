//! What is asked over the healthy uplink while the primary is in doubt: who its source is, what its listeners have; and the
//! request that ends it, held ready.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::{BytePos, Instant};

use super::Ground;
use crate::event::{Answer, LinkId, Output, Question, RenditionId, UplinkId};
use crate::mount::{Event, Mount};
use crate::wire::request;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Look {
    source: Option<LinkId>,
    evict: Option<LinkId>,
    probe: Option<LinkId>,
    count: Option<LinkId>,
    opened: Instant,
    /// Where to, and through which uplink.
    to: Option<(SocketAddr, Option<UplinkId>)>,
    /// Evictions that got no answer.
    tries: u32,
    pub holder: Holder,
    /// The server said something about it, whatever that was.
    pub answered: bool,
    pub eviction: Eviction,
    pub heard: Option<Heard>,
    /// How many listened to the other mount, as it was last told.
    pub listeners: Option<u64>,
    /// The other mount had no source.
    pub nothing_there: bool,
}

/// Who the server says is the mount's source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) enum Holder {
    /// Not answered yet, or not to be found out.
    #[default]
    Unknown,
    /// A source of our name, which read so many bytes.
    Named(u64),
    /// A source of another name.
    Foreign,
    /// Nobody.
    Nobody,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) enum Eviction {
    /// Not asked for.
    #[default]
    Idle,
    /// Asked for then.
    Asked(Instant),
    /// The server ended the source.
    Done(Instant),
    /// The server will not, or did not answer.
    Refused,
}

/// A listener connection that was there before there was any doubt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Ear {
    pub link: LinkId,
    pub opened: Instant,
    pub heard: Option<Heard>,
}

/// What the listener probe has heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Heard {
    pub rendition: RenditionId,
    pub upto: BytePos,
    pub at: Instant,
}

impl Look {
    pub(super) fn owns(&self, link: LinkId) -> bool {
        [self.source, self.evict, self.probe, self.count].contains(&Some(link))
    }

    pub(super) const fn is_open(&self) -> bool {
        self.probe.is_some() || self.source.is_some() || self.evict.is_some()
    }

    /// Opens all three, at the very address that the mount's source is connected to.
    pub(super) fn open(
        ground: &mut Ground<'_>,
        place: usize,
        address: IpAddr,
        uplink: Option<UplinkId>,
        others: RenditionId,
        evict: bool,
    ) -> Self {
        let mut look = Self { probe: Some(ground.link()), opened: ground.now, ..Self::default() };
        let mount: &Mount = &ground.mounts[place];
        let (config, tls) = (mount.config(), mount.tls());
        let address = mount.page_address(address);
        look.to = Some((address, uplink));
        let mut renditions = Vec::from([mount.rendition()]);
        if others != mount.rendition() {
            renditions.push(others);
        }
        let listen = request::page(config, ground.agent, &config.path);
        let stats = request::admin_stats(config, ground.agent);
        let path = config.path.clone();
        if let Some(link) = look.probe {
            ground.out.push_back(Output::Listen {
                link,
                uplink,
                address,
                tls: tls.clone(),
                request: listen,
                renditions,
            });
        }
        let link = ground.link();
        look.source = Some(link);
        ground.out.push_back(Output::Ask {
            link,
            uplink,
            address,
            tls: tls.clone(),
            request: Some(stats),
            question: Question::Source { path },
            patience: PATIENCE,
        });
        if evict {
            let link = ground.link();
            look.evict = Some(link);
            ground.out.push_back(Output::Ask {
                link,
                uplink,
                address,
                tls,
                request: None,
                question: Question::Evict,
                patience: READY,
            });
        }
        look
    }

    /// Whether the probe was among the listeners by `at`: only then it moves when they do.
    pub(super) fn was_listening(&self, at: Instant) -> bool {
        at.since(self.opened) >= JOINED
    }

    /// Goes by a listener connection that was there before.
    pub(super) fn adopt(&mut self, ground: &mut Ground<'_>, ear: Ear) {
        if let Some(link) = self.probe.replace(ear.link) {
            ground.out.push_back(Output::Close { link });
        }
        (self.opened, self.heard) = (ear.opened, ear.heard);
    }

    /// Gives its listener connection away, if it is there still.
    pub(super) fn hand_back(&mut self) -> Option<Ear> {
        let link = self.probe.take()?;
        Some(Ear { link, opened: self.opened, heard: self.heard })
    }

    pub(super) const fn listens(&self) -> bool {
        self.probe.is_some()
    }

    /// Asks anew who the source of the mount at `primary` is, and how many listen to the mount at `other`.
    pub(super) fn ask_again(
        &mut self,
        ground: &mut Ground<'_>,
        primary: Option<usize>,
        other: Option<usize>,
    ) {
        let Some((address, uplink)) = self.to else { return };
        (self.listeners, self.nothing_there) = (None, false);
        let stats: fn(&_, &_) -> _ = request::admin_stats;
        let links = [(primary, stats), (other, request::admin_clients)].map(|(place, request)| {
            let link = ground.link();
            let mount = &ground.mounts[place?];
            ground.out.push_back(Output::Ask {
                link,
                uplink,
                address,
                tls: mount.tls(),
                request: Some(request(mount.config(), ground.agent)),
                question: Question::Source { path: mount.config().path.clone() },
                patience: AGAIN,
            });
            Some(link)
        });
        for link in [self.source.take(), self.count.take()].into_iter().flatten() {
            ground.out.push_back(Output::Close { link });
        }
        [self.source, self.count] = links;
    }

    /// Whether an answer is still to come to what [`Look::ask_again`] asked.
    pub(super) const fn is_asking(&self) -> bool {
        self.source.is_some() || self.count.is_some()
    }

    /// Asks the server to end the mount's source.
    pub(super) fn evict(&mut self, ground: &mut Ground<'_>, place: usize) {
        let mount = &ground.mounts[place];
        let request = request::evict(mount.config(), ground.agent);
        match (self.evict, self.to) {
            (Some(link), _) => ground.out.push_back(Output::Request { link, request }),
            // The connection that was kept ready is gone: a new one.
            (None, Some((address, uplink))) if self.tries < MOST_TRIES => {
                let tls = mount.tls();
                let link = ground.link();
                self.evict = Some(link);
                ground.out.push_back(Output::Ask {
                    link,
                    uplink,
                    address,
                    tls,
                    request: Some(request),
                    question: Question::Evict,
                    patience: PATIENCE,
                });
            }
            (None, _) => {
                self.eviction = Eviction::Refused;
                return;
            }
        }
        self.eviction = Eviction::Asked(ground.now);
    }

    /// No answer came: the next request goes over a new connection.
    pub(super) fn unanswered(&mut self, ground: &mut Ground<'_>) {
        if let Some(link) = self.evict.take() {
            ground.out.push_back(Output::Close { link });
        }
        self.tries += 1;
        self.eviction = Eviction::Idle;
    }

    pub(super) fn event(&mut self, now: Instant, agent: &str, link: LinkId, event: &Event<'_>) {
        match event {
            Event::Heard { rendition, upto } if self.probe == Some(link) => {
                self.heard = Some(Heard { rendition: *rendition, upto: *upto, at: now });
            }
            Event::Answered(answer) if self.source == Some(link) => {
                self.source = None;
                self.answered = true;
                self.holder = match answer {
                    Answer::Source { read: Some(read), agent: Some(named), .. } if named == agent => {
                        Holder::Named(*read)
                    }
                    Answer::Source { agent: Some(_), .. } => Holder::Foreign,
                    Answer::Source { agent: None, .. } => Holder::Unknown,
                    Answer::NoSource => Holder::Nobody,
                    Answer::TitleTaken
                    | Answer::TitleRefused { .. }
                    | Answer::Listed { .. }
                    | Answer::NotListed
                    | Answer::NoStatus { .. }
                    | Answer::Evicted
                    | Answer::Forbidden { .. }
                    | Answer::Heard { .. }
                    | Answer::HeardForeign
                    | Answer::HeardNothing { .. } => Holder::Unknown,
                };
            }
            Event::Answered(answer) if self.count == Some(link) => {
                self.count = None;
                if let Answer::Source { listeners, .. } = answer {
                    self.listeners = *listeners;
                }
                self.nothing_there = matches!(answer, Answer::NoSource);
            }
            // Hung up on without a word: that is no refusal, and a new connection may be luckier.
            Event::Answered(Answer::Forbidden { status: 0 }) if self.evict == Some(link) => {
                self.evict = None;
                self.tries += 1;
                self.eviction = Eviction::Idle;
            }
            Event::Answered(answer) if self.evict == Some(link) => {
                self.evict = None;
                self.eviction = match answer {
                    Answer::Evicted | Answer::NoSource => Eviction::Done(now),
                    Answer::TitleTaken
                    | Answer::TitleRefused { .. }
                    | Answer::Listed { .. }
                    | Answer::NotListed
                    | Answer::NoStatus { .. }
                    | Answer::Source { .. }
                    | Answer::Forbidden { .. }
                    | Answer::Heard { .. }
                    | Answer::HeardForeign
                    | Answer::HeardNothing { .. } => Eviction::Refused,
                };
            }
            Event::Failed(_) | Event::Closed(_) => {
                if self.source == Some(link) {
                    self.source = None;
                } else if self.count == Some(link) {
                    self.count = None;
                } else if self.evict == Some(link) {
                    self.evict = None;
                    self.tries += 1;
                    if matches!(self.eviction, Eviction::Asked(_)) {
                        self.eviction = Eviction::Idle;
                    }
                } else if self.probe == Some(link) {
                    self.probe = None;
                }
            }
            Event::Heard { .. }
            | Event::Answered(_)
            | Event::Resolved(_)
            | Event::Reached
            | Event::Connected
            | Event::DateIgnored
            | Event::Replied(_)
            | Event::Wrote { .. }
            | Event::Writable
            | Event::Measured { .. } => {}
        }
    }

    /// Whether the probe heard bytes that only `mount` can have passed on, beyond its body byte `from`.
    pub(super) fn heard_beyond(&self, mount: &Mount, from: u64) -> bool {
        self.heard
            .and_then(|heard| mount.body_of(heard.rendition, heard.upto))
            .is_some_and(|body| body > from)
    }

    pub(super) fn close(&mut self, ground: &mut Ground<'_>) {
        for link in [self.source.take(), self.evict.take(), self.probe.take(), self.count.take()]
            .into_iter()
            .flatten()
        {
            ground.out.push_back(Output::Close { link });
        }
    }
}

const MOST_TRIES: u32 = 4;
/// A server's threads hand a new listener on within this.
const JOINED: Duration = Duration::from_millis(350);
const PATIENCE: Duration = Duration::from_secs(5);
/// A question that is asked again and again.
const AGAIN: Duration = Duration::from_secs(1);
/// As long as a server waits for a head.
const READY: Duration = Duration::from_secs(14);
