//! What must hold of everything the core asks for, whatever it is told.

use std::collections::{BTreeMap, BTreeSet};

use delivery::event::{Input, LinkId, Output};
use delivery::uplink::{self, CheckId};
use delivery::{Delivery, RenditionId};
use units::{BytePos, Instant};

/// The password in every configuration here.
pub(crate) const PASSWORD: &str = "hackme-7Qz";

/// Outputs that one input may cause for each mount: give up what there is (source, title, proof), say so, open anew, ask.
const MOST_OUTPUTS: usize = 10;

/// And for each pair: give up what is asked, end a source, open another, ask three things, say so.
const MOST_OF_A_PAIR: usize = 20;

/// And for each uplink: checks of its gateway and of every ingest and target, or to drop those, and say so.
const MOST_OF_AN_UPLINK: usize = 40;

/// Icecast passes whole blocks on: listeners are moved between mounts where one ends.
pub(crate) const BLOCK: u64 = 1400;

/// Ticks at one instant after which the core must look ahead: give up, open, and two more to spare.
const MOST_TICKS: usize = 4;

/// A core under watch.
#[derive(Debug)]
pub(crate) struct Watch {
    pub core: Delivery,
    pub now: Instant,
    /// Every rendition's end, and where its packets began.
    ends: BTreeMap<RenditionId, BTreeSet<BytePos>>,
    links: BTreeMap<LinkId, Stage>,
    mounts: usize,
    /// Paths of the mounts that may share listeners.
    paired: BTreeSet<String>,
    checks: BTreeSet<CheckId>,
    uplinks: usize,
}

/// What is known of a link from the outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// A look-up, a listener, or a question.
    Asked,
    /// A question that waits for its request.
    Ready,
    /// The far side or this side ended it.
    Ended,
    Source(Body),
}

/// What a source has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Body {
    /// Where its sound goes on, once there was some.
    next: Option<(RenditionId, BytePos)>,
    /// All bytes of it.
    length: u64,
    /// The last of them were filler.
    filler: bool,
    writing: Option<Writing>,
    /// Its mount may share listeners with another.
    paired: bool,
    /// The outcome of a write was nothing that could be: what the body is now is not known here.
    unknown: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writing {
    Filler { most: u64 },
    Sound { most: u64 },
}

impl Watch {
    /// A core without mounts.
    pub(crate) fn starting_at(now: Instant) -> Self {
        let (ends, links, paired) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let (core, checks) = (Delivery::new(), BTreeSet::new());
        Self { core, now, ends, links, mounts: 0, paired, checks, uplinks: 0 }
    }

    /// Hands one input in and gives out what came of it.
    pub(crate) fn feed(&mut self, input: &Input) -> Vec<Output> {
        self.heed(input);
        self.core.handle(self.now, input);
        let mut most = self.most_outputs();
        if let Input::Configure(config) = input {
            self.mounts = config.mounts.len();
            let named = |name: &String| {
                config.outputs.iter().any(|output| output.proven.is_some() && output.name == *name)
            };
            let paired = config.mounts.iter().filter(|mount| named(&mount.id.output));
            self.paired = paired.map(|mount| mount.path.clone()).collect();
            self.uplinks = config.uplinks.len();
            most += self.most_outputs();
        }
        let mut outputs = Vec::new();
        while let Some(output) = self.core.poll() {
            self.judge(&output);
            outputs.push(output);
            assert!(outputs.len() <= most, "{input:?} caused more than {most} outputs");
        }
        assert!(self.core.wakeup().is_some() || self.mounts == 0, "every mount has a timer armed");
        // Uplinks have checks of their own.
        assert!(self.core.wakeup().is_none() || self.mounts + self.uplinks > 0, "woken for nobody");
        let reports = self.core.report();
        assert_eq!(reports.iter().map(|output| output.mounts.len()).sum::<usize>(), self.mounts);
        outputs
    }

    /// Whether the core looks ahead, after so many ticks at this instant: then its edge may sleep.
    pub(crate) fn looks_ahead(&self, ticks: usize) -> bool {
        let wakeup = self.core.wakeup();
        let ahead = wakeup.is_none_or(|at| at > self.now);
        assert!(
            ahead || ticks < MOST_TICKS,
            "woken for nothing at {wakeup:?}, {}: it would spin",
            if self.is_writing() { "while a write is out" } else { "with no write out" }
        );
        ahead
    }

    fn most_outputs(&self) -> usize {
        let pairs = self.paired.len().min(self.mounts);
        MOST_OUTPUTS * self.mounts + MOST_OF_A_PAIR * pairs + MOST_OF_AN_UPLINK * self.uplinks
    }

    fn is_writing(&self) -> bool {
        self.links.values().any(|stage| matches!(stage, Stage::Source(Body { writing: Some(_), .. })))
    }

    /// Whether any mount is on air.
    pub(crate) fn on_air(&self) -> bool {
        self.core.report().iter().flat_map(|output| &output.mounts).any(|mount| {
            assert!(
                !mount.state.on_air() || mount.acked > 0,
                "on air without a byte acknowledged: {mount:?}"
            );
            mount.state.on_air()
        })
    }

    /// What each pair is at.
    pub(crate) fn phases(&self) -> Vec<String> {
        let reports = self.core.report();
        reports.into_iter().filter_map(|output| output.hand_over).map(|pair| pair.phase).collect()
    }

    fn heed(&mut self, input: &Input) {
        match input {
            Input::Produced { rendition, end, .. } => {
                let known = self.core.renditions().nth(usize::from(rendition.0)).is_some();
                let ends = self.ends.entry(*rendition).or_default();
                if known && ends.last().is_none_or(|last| end > last) {
                    ends.insert(*end);
                }
            }
            Input::Wrote { link, bytes, .. } => {
                if let Some(Stage::Source(body)) = self.links.get_mut(link) {
                    body.wrote(u64::from(*bytes));
                }
            }
            Input::Closed { link, .. } | Input::Failed { link, .. } | Input::Answered { link, .. } => {
                let answered = matches!(input, Input::Answered { .. });
                match self.links.get_mut(link) {
                    Some(stage @ Stage::Source(_)) if !answered => *stage = Stage::Ended,
                    Some(stage @ (Stage::Ready | Stage::Asked)) => *stage = Stage::Ended,
                    Some(Stage::Source(_) | Stage::Ended) | None => {}
                }
            }
            Input::Resolved { .. }
            | Input::Reached { .. }
            | Input::Connected { .. }
            | Input::DateIgnored { .. }
            | Input::Replied { .. }
            | Input::Writable { .. }
            | Input::Measured { .. }
            | Input::Heard { .. }
            | Input::Uplink(_)
            | Input::Title(_)
            | Input::Order(_)
            | Input::Pausing(_)
            | Input::Configure(_)
            | Input::Tick => {}
        }
    }

    fn judge(&mut self, output: &Output) {
        match output {
            Output::Resolve { link, .. }
            | Output::Listen { link, .. }
            | Output::Ask { link, request: Some(_), .. } => self.open(*link, Stage::Asked),
            Output::Ask { link, request: None, .. } => self.open(*link, Stage::Ready),
            Output::Request { link, request } => {
                assert!(!request.is_empty(), "an empty request");
                match self.links.get_mut(link) {
                    Some(stage @ Stage::Ready) => *stage = Stage::Asked,
                    stage => panic!("{output:?} on {stage:?}"),
                }
            }
            Output::Connect { link, .. } => self.open(*link, Stage::Source(Body::default())),
            Output::Send { link, bytes } => {
                let head = String::from_utf8_lossy(bytes);
                let path = head.split(' ').nth(1).unwrap_or_default();
                let paired = self.paired.contains(path);
                let body = self.source(*link, output);
                assert_eq!(body.length, 0, "a head in the middle of the body");
                body.paired |= paired;
            }
            Output::Measure { link } => {
                self.source(*link, output);
            }
            Output::Head { link, at, after, .. } => {
                let body = self.source(*link, output);
                assert!(body.writing.is_none(), "{output:?} while a write is out");
                assert!(after.is_some() || body.length == 0, "{output:?} after {} bytes", body.length);
                assert!(*after != Some(*at), "{output:?} goes nowhere");
            }
            Output::Write { link, rendition, from, to } => self.write(*link, *rendition, *from, *to),
            Output::Fill { link, bytes } => {
                let body = self.source(*link, output);
                assert!(body.paired, "{output:?} on a mount that stands alone");
                assert!(body.writing.is_none(), "{output:?} while a write is out");
                assert!((1..=BLOCK).contains(&u64::from(*bytes)), "{output:?} is no part of a block");
                body.writing = Some(Writing::Filler { most: u64::from(*bytes) });
            }
            Output::Close { link } => match self.links.get_mut(link) {
                Some(stage) => *stage = Stage::Ended,
                None => panic!("{link:?} is closed and was never opened"),
            },
            Output::Log(transition) => {
                assert!(!format!("{transition:?}").contains(PASSWORD), "a secret in {transition:?}");
                assert!(!transition.why.is_empty(), "{transition:?} says nothing");
            }
            Output::Uplink(uplink::Output::Check { check, .. }) => {
                assert!(self.checks.insert(*check), "{check:?} is used twice");
            }
            Output::Uplink(uplink::Output::Drop { check }) => {
                assert!(self.checks.contains(check), "{check:?} is dropped and was never asked for");
            }
            Output::Uplink(uplink::Output::Log(transition)) => {
                assert!(
                    !transition.why.is_empty() && !transition.name.is_empty(),
                    "{transition:?} says nothing"
                );
            }
            Output::Tell(telling) => {
                assert!(!format!("{telling:?}").contains(PASSWORD), "a secret in {telling:?}");
                assert!(!telling.what.is_empty() && !telling.output.is_empty(), "{telling:?} says nothing");
            }
        }
    }

    fn open(&mut self, link: LinkId, stage: Stage) {
        assert_eq!(self.links.insert(link, stage), None, "{link:?} is used twice");
    }

    fn source(&mut self, link: LinkId, output: &Output) -> &mut Body {
        match self.links.get_mut(&link) {
            Some(Stage::Source(body)) => body,
            stage @ (Some(Stage::Asked | Stage::Ready | Stage::Ended) | None) => {
                panic!("{output:?} on {stage:?}")
            }
        }
    }

    /// One write at a time, none beyond the newest packet, each beginning where the last one ended or, after a skip from one
    /// packet's end, where another begins. Where listeners are moved, sound may begin in the middle of a packet: behind
    /// filler, with a block, or at the body's beginning; and one packet's end may be followed by another rendition's.
    fn write(&mut self, link: LinkId, rendition: RenditionId, from: BytePos, to: BytePos) {
        let output = Output::Write { link, rendition, from, to };
        let body = *self.source(link, &output);
        let ends = self.ends.entry(rendition).or_default();
        assert!(body.writing.is_none(), "{output:?} while a write is out");
        assert!(
            from < to && ends.iter().any(|&end| end >= to),
            "{output:?} reaches beyond the newest packet"
        );
        let ends = &self.ends;
        let boundary = |rendition: RenditionId, at: BytePos| {
            at == BytePos(0) || ends.get(&rendition).is_some_and(|ends| ends.contains(&at))
        };
        let entry = body.length == 0 || body.filler || body.length.is_multiple_of(BLOCK);
        match body.next {
            _ if body.paired && (entry || body.unknown) => {}
            None => assert!(boundary(rendition, from), "{output:?} begins in the middle of a packet"),
            Some((before, next)) => assert!(
                (before == rendition && next == from)
                    || (boundary(before, next)
                        && boundary(rendition, from)
                        && if before == rendition { next < from } else { body.paired }),
                "{output:?} tears a packet: the body was at {next} of {before:?}"
            ),
        }
        let body = self.source(link, &output);
        body.next = Some((rendition, from));
        body.writing = Some(Writing::Sound { most: to.since(from) });
    }
}

impl Body {
    fn wrote(&mut self, bytes: u64) {
        self.length = self.length.saturating_add(bytes);
        match self.writing.take() {
            Some(Writing::Filler { most }) => {
                self.filler |= bytes > 0;
                self.unknown |= bytes > most;
            }
            written @ (Some(Writing::Sound { .. }) | None) => {
                self.filler &= bytes == 0;
                self.next = self.next.map(|(rendition, next)| (rendition, next + bytes));
                self.unknown |= !matches!(written, Some(Writing::Sound { most }) if bytes <= most);
            }
        }
    }
}
