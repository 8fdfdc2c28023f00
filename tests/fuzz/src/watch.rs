//! What must hold of everything the core asks for, whatever it is told.

use std::collections::{BTreeMap, BTreeSet};

use delivery::event::{Input, LinkId, Output};
use delivery::{Delivery, RenditionId};
use units::{BytePos, Instant};

/// The password in every configuration here.
pub(crate) const PASSWORD: &str = "hackme-7Qz";

/// Outputs that one input may cause for each mount: give up what there is (source, title, proof), say so, open anew, ask.
const MOST_OUTPUTS: usize = 10;

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
}

/// What is known of a link from the outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Asked,
    /// The far side or this side ended it.
    Ended,
    /// A source: where its next byte is, once one was written, and whether a write is out.
    Source {
        next: Option<BytePos>,
        writing: bool,
    },
}

impl Watch {
    /// A core without mounts.
    pub(crate) fn starting_at(now: Instant) -> Self {
        Self { core: Delivery::new(), now, ends: BTreeMap::new(), links: BTreeMap::new(), mounts: 0 }
    }

    /// Hands one input in and gives out what came of it.
    pub(crate) fn feed(&mut self, input: &Input) -> Vec<Output> {
        self.heed(input);
        self.core.handle(self.now, input);
        let before = self.mounts;
        if let Input::Configure(config) = input {
            self.mounts = config.mounts.len();
        }
        let most = MOST_OUTPUTS * (before + self.mounts);
        let mut outputs = Vec::new();
        while let Some(output) = self.core.poll() {
            self.judge(&output);
            outputs.push(output);
            assert!(outputs.len() <= most, "{input:?} caused more than {most} outputs");
        }
        assert_eq!(self.core.wakeup().is_some(), self.mounts > 0, "every mount has a timer armed");
        let reports = self.core.report();
        assert_eq!(reports.iter().map(|output| output.mounts.len()).sum::<usize>(), self.mounts);
        outputs
    }

    /// Whether the core looks ahead, after so many ticks at this instant: then its edge may sleep.
    pub(crate) fn looks_ahead(&self, ticks: usize) -> bool {
        let wakeup = self.core.wakeup();
        let ahead = wakeup.is_none_or(|at| at > self.now);
        assert!(ahead || ticks < MOST_TICKS, "woken for nothing at {wakeup:?}: it would spin");
        ahead
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
                if let Some(Stage::Source { next, writing }) = self.links.get_mut(link) {
                    *writing = false;
                    *next = next.map(|next| next + u64::from(*bytes));
                }
            }
            Input::Closed { link, .. } | Input::Failed { link, .. } => {
                if let Some(stage @ Stage::Source { .. }) = self.links.get_mut(link) {
                    *stage = Stage::Ended;
                }
            }
            Input::Resolved { .. }
            | Input::Reached { .. }
            | Input::Connected { .. }
            | Input::DateIgnored { .. }
            | Input::Replied { .. }
            | Input::Writable { .. }
            | Input::Measured { .. }
            | Input::Answered { .. }
            | Input::Title(_)
            | Input::Configure(_)
            | Input::Tick => {}
        }
    }

    fn judge(&mut self, output: &Output) {
        match output {
            Output::Resolve { link, .. } | Output::Ask { link, .. } => self.open(*link, Stage::Asked),
            Output::Connect { link, .. } => self.open(*link, Stage::Source { next: None, writing: false }),
            Output::Send { link, .. } => {
                let next = self.source(*link, output).0;
                assert_eq!(next, None, "a head in the middle of the body");
            }
            Output::Measure { link } => {
                self.source(*link, output);
            }
            Output::Write { link, rendition, from, to } => self.write(*link, *rendition, *from, *to),
            Output::Close { link } => match self.links.get_mut(link) {
                Some(stage) => *stage = Stage::Ended,
                None => panic!("{link:?} is closed and was never opened"),
            },
            Output::Log(transition) => {
                assert!(!format!("{transition:?}").contains(PASSWORD), "a secret in {transition:?}");
                assert!(!transition.why.is_empty(), "{transition:?} says nothing");
            }
        }
    }

    fn open(&mut self, link: LinkId, stage: Stage) {
        assert_eq!(self.links.insert(link, stage), None, "{link:?} is used twice");
    }

    fn source(&self, link: LinkId, output: &Output) -> (Option<BytePos>, bool) {
        match self.links.get(&link) {
            Some(Stage::Source { next, writing }) => (*next, *writing),
            stage @ (Some(Stage::Asked | Stage::Ended) | None) => panic!("{output:?} on {stage:?}"),
        }
    }

    /// One write at a time, none beyond the newest packet, each beginning where the last one ended or, after a skip from one
    /// packet's end, where another begins.
    fn write(&mut self, link: LinkId, rendition: RenditionId, from: BytePos, to: BytePos) {
        let output = Output::Write { link, rendition, from, to };
        let (next, writing) = self.source(link, &output);
        let ends = self.ends.entry(rendition).or_default();
        let boundary = |at: BytePos| at == BytePos(0) || ends.contains(&at);
        assert!(!writing, "{output:?} while a write is out");
        assert!(
            from < to && ends.iter().any(|&end| end >= to),
            "{output:?} reaches beyond the newest packet"
        );
        match next {
            None => assert!(boundary(from), "{output:?} begins in the middle of a packet"),
            Some(next) => assert!(
                next == from || (next < from && boundary(next) && boundary(from)),
                "{output:?} tears a packet: the body was at {next}"
            ),
        }
        self.links.insert(link, Stage::Source { next: Some(from), writing: true });
    }
}
