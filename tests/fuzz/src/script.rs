//! A play of the core with an honest edge, one letter a step, so that a corpus file can be written and read by people.
//!
//! | step | meaning |
//! |------|---------|
//! | `C` *b* | configure the mounts whose bits are set in *b* ([`mounts`]); 128 makes a proven pair of the first two |
//! | `O` *b* | how later configurations pair them ([`rules`]), and over which uplinks |
//! | `R` `N` | every look-up gives two addresses; none |
//! | `r` `c` `d` | every connecting source is reached; connected; its certificate's date was let pass |
//! | `g` `G` *b* | every source hears "go"; verdict *b* |
//! | `p` | 24 ms pass and every rendition gets a packet |
//! | `w` `h` `z` | every write is taken whole and acknowledged; half; not at all (the last two block) |
//! | `o` `m` `s` | blocked sources have room; all is acknowledged when measured; nothing is |
//! | `x` *b* `f` *b* | every source is closed; fails, for reason *b* |
//! | `k` *b* | how paths look when measured from now on ([`sight`]) |
//! | `E` *b* | from now on the edge answers at once: 1 what is measured, 2 what is written; 4: nothing is acknowledged |
//! | `a` *b* `n` *b* | every question gets answer *b*; every question and listener fails for reason *b* |
//! | `l` *bhh* | every listener hears rendition *b* up to seven times *hh*; with 128 in *b*, that far before the end of all |
//! | `L` *b* | every listener hears source number *b* mod 4, up to *b* / 4 blocks before its last whole one |
//! | `U` *b* `u` *b* | the kernel shows interfaces ([`interfaces`]); every check of an uplink has outcome *b* ([`outcome`]) |
//! | `t` *b* | the title becomes number *b* |
//! | `.` `+` `:` | 20 ms pass; 1 s; until the core wants to be woken |
//! | `*` *b* | the steps that follow only reach the source with that remainder of four; `*` and a blank: all again |
//! | `|` | a new recording begins |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use delivery::RenditionId;
use delivery::config::{
    Config, Lone, Method, MountConfig, MountId, OutputConfig, Proven, Return, Server, ServerKind, Standby,
    Station, UplinkConfig,
};
use delivery::event::{Answer, Failure, Input, LinkId, Output, PathSight, Question, Reply, Verdict};
use delivery::recording::{Recorder, Recording};
use units::snapshot::Role;
use units::{BitRate, BytePos, Channels, Codec, Frames, Instant, Rendition, SampleRate, Secret};

use delivery::uplink::{self, CheckId, Interface, Outcome, Page, Prefix, Route};

use crate::watch::{BLOCK, PASSWORD, Watch};

/// What came of a play.
pub(crate) struct Played {
    /// A mount was on air at some time.
    pub on_air: bool,
    /// What pairs were at, by the words of [`units::snapshot::HandOverReport::phase`].
    pub phases: BTreeSet<String>,
    /// The recording since the last `|`. It replays, which is checked already.
    pub recording: Recording,
}

/// Plays a script. Steps that nothing answers to do nothing.
pub(crate) fn play(script: &[u8]) -> Played {
    let mut edge = Edge {
        watch: Watch::starting_at(Instant::from_millis(1000)),
        recorder: Recorder::new(),
        links: BTreeMap::new(),
        only: None,
        packets: Vec::new(),
        checks: Vec::new(),
        rules: 0,
        sight: 0,
        eager: 0,
    };
    let (mut on_air, mut phases) = (false, BTreeSet::new());
    let mut steps = script.iter().copied();
    while let Some(step) = steps.next() {
        edge.step(step, &mut || steps.next().unwrap_or(0));
        on_air |= edge.watch.on_air();
        phases.extend(edge.watch.phases());
    }
    let recording = edge.recorder.export();
    let document = serde_json::to_string(&recording).expect("a recording is plain data");
    assert!(!document.contains(PASSWORD), "a secret in the recording");
    let read: Recording = serde_json::from_str(&document).expect("our own document");
    if let Err(error) = read.replay(drop) {
        panic!("the recording does not replay: {error}");
    }
    Played { on_air, phases, recording }
}

struct Edge {
    watch: Watch,
    recorder: Recorder,
    links: BTreeMap<LinkId, Link>,
    only: Option<u32>,
    /// How many each rendition has.
    packets: Vec<u64>,
    checks: Vec<CheckId>,
    rules: u8,
    sight: u8,
    eager: u8,
}

/// A link as the edge has it.
enum Link {
    LookUp,
    Source(Source),
    Question {
        question: Question,
        /// Its request is out.
        asked: bool,
    },
    /// A listener.
    Ear,
}

#[derive(Default)]
struct Source {
    connected: bool,
    /// The mount that it asked for.
    path: String,
    /// A write that is out, in bytes, and the sound that it begins with.
    owed: Option<(u32, Option<(RenditionId, BytePos)>)>,
    /// Where the body's sound ends.
    end: Option<(RenditionId, BytePos)>,
    measuring: bool,
    blocked: bool,
    written: u64,
    acked: u64,
}

impl Edge {
    fn step(&mut self, step: u8, argument: &mut dyn FnMut() -> u8) {
        match step {
            b'C' => {
                let bits = argument();
                let (outputs, uplinks) =
                    if bits & 128 != 0 { rules(self.rules) } else { (Vec::new(), Vec::new()) };
                let config = Config { agent: AGENT.into(), seed: 7, mounts: mounts(bits), uplinks, outputs };
                self.feed(Input::Configure(config.into()));
            }
            b'O' => self.rules = argument(),
            b'k' => self.sight = argument(),
            b'E' => self.eager = argument(),
            b'R' | b'N' => {
                let addresses = match step {
                    b'R' => vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
                    _ => Vec::new(),
                };
                self.each(|link, kind| match kind {
                    Link::LookUp => Some(Input::Resolved { link, addresses: addresses.clone() }),
                    Link::Source(_) | Link::Question { .. } | Link::Ear => None,
                });
            }
            b'r' => self.sources(|link, source| (!source.connected).then_some(Input::Reached { link })),
            b'c' => self.sources(|link, source| {
                (!std::mem::replace(&mut source.connected, true)).then_some(Input::Connected { link })
            }),
            b'd' => self.sources(|link, source| (!source.connected).then_some(Input::DateIgnored { link })),
            b'g' => self.reply(Verdict::Go),
            b'G' => self.reply(verdict(argument())),
            b'p' => self.packet(),
            b'w' => self.wrote(|owed| (owed, false)),
            b'h' => self.wrote(|owed| (owed / 2, true)),
            b'z' => self.wrote(|_| (0, true)),
            b'o' => self.sources(|link, source| {
                std::mem::take(&mut source.blocked).then_some(Input::Writable { link })
            }),
            b'm' | b's' => {
                let sight = self.sight;
                self.sources(|link, source| source.measured(link, sight, step == b'm'));
            }
            b'x' => {
                let failure = failure(argument());
                self.sources(|link, source| {
                    source.connected.then(|| Input::Closed { link, failure: failure.clone() })
                });
            }
            b'f' => {
                let failure = failure(argument()).unwrap_or(Failure::TimedOut);
                self.each(|link, kind| match kind {
                    Link::LookUp | Link::Source(_) => Some(Input::Failed { link, failure: failure.clone() }),
                    Link::Question { .. } | Link::Ear => None,
                });
            }
            b'a' => {
                let choice = argument();
                let written: Vec<(String, u64)> =
                    self.living().map(|source| (source.path.clone(), source.written)).collect();
                self.each(|link, kind| match kind {
                    Link::Question { question, asked: true } => {
                        Some(Input::Answered { link, answer: answer(question, choice, &written) })
                    }
                    Link::Question { asked: false, .. } | Link::LookUp | Link::Source(_) | Link::Ear => None,
                });
            }
            b'l' => {
                let (choice, high, low) = (argument(), argument(), argument());
                let place = u64::from(u16::from_be_bytes([high, low])) * 7;
                let upto = BytePos(if choice & 128 == 0 { place } else { u64::MAX - place });
                self.hear(RenditionId(u16::from(choice & 127)), upto);
            }
            b'L' => {
                let choice = argument();
                let heard = self.living().nth(usize::from(choice % 4)).and_then(|source| {
                    let (rendition, end) = source.end?;
                    Some((
                        rendition,
                        end.0.checked_sub(source.written % BLOCK + u64::from(choice / 4) * BLOCK)?,
                    ))
                });
                if let Some((rendition, upto)) = heard {
                    self.hear(rendition, BytePos(upto));
                }
            }
            b'n' => {
                let failure = failure(argument()).unwrap_or(Failure::TimedOut);
                self.each(|link, kind| match kind {
                    Link::Question { .. } | Link::Ear => {
                        Some(Input::Failed { link, failure: failure.clone() })
                    }
                    Link::LookUp | Link::Source(_) => None,
                });
            }
            b'U' => self.feed(Input::Uplink(uplink::Input::Interfaces(interfaces(argument())))),
            b'u' => {
                let choice = argument();
                for check in std::mem::take(&mut self.checks) {
                    let outcome = outcome(choice);
                    self.feed(Input::Uplink(uplink::Input::Checked { check, outcome }));
                }
            }
            b't' => {
                let title = match argument() {
                    0 | b'0' => String::new(),
                    number => format!("Title {number}"),
                };
                self.feed(Input::Title(title));
            }
            b'.' => self.wait(Duration::from_millis(20)),
            b'+' => self.wait(Duration::from_secs(1)),
            b':' => {
                // A stream that owes nothing wants to be woken at the end of time.
                let wakeup = self.watch.core.wakeup().unwrap_or(self.watch.now);
                self.wait(wakeup.since(self.watch.now).min(Duration::from_secs(60)));
            }
            b'*' => {
                let choice = argument();
                self.only = (choice != b' ').then_some(u32::from(choice) % 4);
            }
            b'|' => self.recorder = Recorder::new(),
            _ => {}
        }
    }

    /// One input, and what an eager edge answers to what comes of it, at the same instant: that comes to rest.
    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut outputs = 0;
        while let Some(input) = inputs.pop_front() {
            for link in self.feed_one(&input, &mut outputs) {
                inputs.extend(self.answer_at_once(link));
            }
            assert!(outputs <= MOST_IN_A_CHAIN, "{outputs} outputs at one instant, the last after {input:?}");
        }
    }

    fn answer_at_once(&mut self, link: LinkId) -> Option<Input> {
        let (eager, sight) = (self.eager, self.sight);
        let Some(Link::Source(source)) = self.links.get_mut(&link) else { return None };
        if eager & 1 != 0 && source.measuring {
            source.measured(link, sight, eager & 4 == 0)
        } else if eager & 2 != 0 {
            let before = source.acked;
            let wrote = source.wrote(link, |owed| (owed, false));
            match wrote {
                Some(Input::Wrote { link, bytes, blocked, .. }) if eager & 4 != 0 => {
                    source.acked = before;
                    Some(Input::Wrote { link, bytes, acked: before, blocked })
                }
                wrote => wrote,
            }
        } else {
            None
        }
    }

    /// Gives out the links of which something was asked.
    fn feed_one(&mut self, input: &Input, count: &mut usize) -> Vec<LinkId> {
        self.recorder.input(self.watch.now, &self.watch.core, input);
        let mut asked = Vec::new();
        let ended = match input {
            Input::Resolved { link, .. }
            | Input::Closed { link, .. }
            | Input::Failed { link, .. }
            | Input::Answered { link, .. } => Some(*link),
            Input::Produced { .. }
            | Input::Reached { .. }
            | Input::Connected { .. }
            | Input::DateIgnored { .. }
            | Input::Replied { .. }
            | Input::Wrote { .. }
            | Input::Writable { .. }
            | Input::Measured { .. }
            | Input::Heard { .. }
            | Input::Uplink(_)
            | Input::Title(_)
            | Input::Order(_)
            | Input::Pausing(_)
            | Input::Configure(_)
            | Input::Tick => None,
        };
        if let Some(link) = ended {
            self.links.remove(&link);
        }
        for output in self.watch.feed(input) {
            self.recorder.output(&output);
            *count += 1;
            match output {
                Output::Resolve { link, .. } => drop(self.links.insert(link, Link::LookUp)),
                Output::Connect { link, .. } => {
                    drop(self.links.insert(link, Link::Source(Source::default())))
                }
                Output::Ask { link, question, request, .. } => {
                    let asked = request.is_some();
                    drop(self.links.insert(link, Link::Question { question, asked }));
                }
                Output::Request { link, .. } => match self.links.get_mut(&link) {
                    Some(Link::Question { asked, .. }) => *asked = true,
                    Some(Link::LookUp | Link::Source(_) | Link::Ear) | None => {
                        panic!("{link:?} is no open question")
                    }
                },
                Output::Listen { link, .. } => drop(self.links.insert(link, Link::Ear)),
                Output::Close { link } => drop(self.links.remove(&link)),
                Output::Write { link, rendition, from, to } => {
                    let owed = u32::try_from(to.since(from)).expect("a minute of sound is less than 4 GiB");
                    self.source(link).owed = Some((owed, Some((rendition, from))));
                    asked.push(link);
                }
                Output::Fill { link, bytes } => {
                    self.source(link).owed = Some((bytes, None));
                    asked.push(link);
                }
                Output::Head { link, .. } => assert!(self.source(link).connected, "a head on {link:?}"),
                Output::Measure { link } => {
                    self.source(link).measuring = true;
                    asked.push(link);
                }
                Output::Send { link, bytes } => {
                    let source = self.source(link);
                    assert!(source.connected, "a request on {link:?}");
                    let head = String::from_utf8_lossy(&bytes);
                    source.path = head.split(' ').nth(1).unwrap_or_default().into();
                }
                Output::Uplink(uplink::Output::Check { check, .. }) => self.checks.push(check),
                Output::Uplink(uplink::Output::Drop { check }) => self.checks.retain(|other| *other != check),
                Output::Uplink(uplink::Output::Log(_)) | Output::Log(_) | Output::Tell(_) => {}
            }
        }
        asked
    }

    fn living(&self) -> impl Iterator<Item = &Source> {
        self.links.values().filter_map(|link| match link {
            Link::Source(source) => Some(source),
            Link::LookUp | Link::Question { .. } | Link::Ear => None,
        })
    }

    fn hear(&mut self, rendition: RenditionId, upto: BytePos) {
        self.each(|link, kind| match kind {
            Link::Ear => Some(Input::Heard { link, rendition, from: upto - 512, upto }),
            Link::LookUp | Link::Source(_) | Link::Question { .. } => None,
        });
    }

    fn source(&mut self, link: LinkId) -> &mut Source {
        match self.links.get_mut(&link) {
            Some(Link::Source(source)) => source,
            Some(Link::LookUp | Link::Question { .. } | Link::Ear) | None => panic!("{link:?} is no source"),
        }
    }

    /// An input for each link that the step reaches; links that open meanwhile wait for the next step.
    fn each(&mut self, mut input: impl FnMut(LinkId, &mut Link) -> Option<Input>) {
        let reached = |link: &LinkId| self.only.is_none_or(|only| link.0 % 4 == only);
        let links: Vec<LinkId> = self.links.keys().copied().filter(reached).collect();
        for link in links {
            if let Some(input) = self.links.get_mut(&link).and_then(|kind| input(link, kind)) {
                self.feed(input);
            }
        }
    }

    fn sources(&mut self, mut input: impl FnMut(LinkId, &mut Source) -> Option<Input>) {
        self.each(|link, kind| match kind {
            Link::Source(source) => input(link, source),
            Link::LookUp | Link::Question { .. } | Link::Ear => None,
        });
    }

    fn reply(&mut self, verdict: Verdict) {
        self.sources(|link, source| {
            let reply = Reply { status: 200, verdict: verdict.clone(), server: Some("Fuzz".into()) };
            source.connected.then_some(Input::Replied { link, reply })
        });
    }

    fn wrote(&mut self, take: impl Fn(u32) -> (u32, bool)) {
        self.sources(|link, source| source.wrote(link, &take));
    }

    /// Packets of unequal length, so that a torn one shows.
    fn packet(&mut self) {
        self.wait(Duration::from_millis(24));
        let renditions: Vec<Rendition> = self.watch.core.renditions().copied().collect();
        self.packets.resize(renditions.len(), 0);
        for (number, rendition) in renditions.into_iter().enumerate() {
            self.packets[number] += 1;
            let packets = self.packets[number];
            let end = BytePos(packets * (rendition.bitrate.bytes_per_second() * 24 / 1000) + packets % 2);
            let frames = Frames(packets * u64::from(rendition.codec.frames_per_packet()));
            let rendition = RenditionId(u16::try_from(number).expect("a play has few renditions"));
            // A decoder may change over at every other one.
            self.feed(Input::Produced {
                rendition,
                end,
                frames,
                entry: packets.is_multiple_of(2),
                more: false,
            });
        }
    }

    /// Time passes and the core looks at the clock, until it looks ahead.
    fn wait(&mut self, span: Duration) {
        self.watch.now += span;
        for ticks in 0.. {
            if self.watch.looks_ahead(ticks) {
                break;
            }
            self.feed(Input::Tick);
        }
    }
}

impl Source {
    fn measured(&mut self, link: LinkId, bits: u8, all: bool) -> Option<Input> {
        if all {
            self.acked = self.written;
        }
        let acked = self.acked;
        let path = sight(bits, self.written > acked);
        std::mem::take(&mut self.measuring).then_some(Input::Measured { link, acked, path })
    }

    fn wrote(&mut self, link: LinkId, take: impl Fn(u32) -> (u32, bool)) -> Option<Input> {
        let (owed, sound) = self.owed.take()?;
        let (bytes, blocked) = take(owed);
        // What was written before is acknowledged; with room left, so is this.
        self.acked = if blocked { self.written } else { self.written + u64::from(bytes) };
        self.written += u64::from(bytes);
        self.blocked = blocked;
        self.end = sound.map(|(rendition, from)| (rendition, from + u64::from(bytes))).or(self.end);
        Some(Input::Wrote { link, bytes, acked: self.acked, blocked })
    }
}

/// What the box calls itself.
const AGENT: &str = "Mainstay/fuzz";

/// However fast the edge answers, one input leads to no more outputs than this.
const MOST_IN_A_CHAIN: usize = 200;

/// How a path looks: 1 its far side takes nothing, the rest is how often the oldest segment went out again.
fn sight(bits: u8, in_flight: bool) -> PathSight {
    PathSight { in_flight, zero_window: bits & 1 != 0, retransmits: bits >> 1, rtt_us: 20_000 }
}

/// What the first two mounts are to each other: 1 and 2 the standby, 4 no eviction, 8 and 16 the way back, 32 a settle time of
/// ten minutes instead of a second, 64 one uplink instead of two, 128 none.
fn rules(bits: u8) -> (Vec<OutputConfig>, Vec<UplinkConfig>) {
    let standby = [Standby::Auto, Standby::Held, Standby::Full, Standby::Cold][usize::from(bits & 3)];
    let give_back =
        [Return::Auto, Return::AtSilence, Return::Manual, Return::Auto][usize::from(bits >> 3 & 3)];
    let proven = Proven {
        fallback: true,
        overrides: true,
        evict: bits & 4 == 0,
        burst: 65_536,
        queue: 524_288,
        source_timeout: Duration::from_secs(10),
    };
    let output = OutputConfig {
        on_air: delivery::config::OnAir::Always,
        name: "a".into(),
        standby,
        give_back,
        settle: Duration::from_secs(if bits & 32 == 0 { 1 } else { 600 }),
        lone: Lone::PrimaryOnly,
        proven: Some(proven),
    };
    let uplink = |name: &str, metered| UplinkConfig {
        name: name.into(),
        interface: name.into(),
        metered,
        dns: Vec::new(),
        targets: Vec::new(),
    };
    let mut uplinks = vec![uplink("line", false), uplink("sim", true)];
    uplinks.truncate(match bits >> 6 {
        0 => 2,
        1 => 1,
        _ => 0,
    });
    (vec![output], uplinks)
}

/// What the kernel shows of the two uplinks' interfaces, four bits each: 1 it is there, 2 it has a link, 4 an address, 8 a
/// default route.
fn interfaces(bits: u8) -> Vec<Interface> {
    let one = |number: u8, name: &str, bits: u8| {
        let network = |address: [u8; 4], length| Prefix { address: address.into(), length };
        let route = Route { to: network([0, 0, 0, 0], 0), gateway: Some([198, 51, 100, number].into()) };
        (bits & 1 != 0).then(|| Interface {
            name: name.into(),
            index: u32::from(number),
            switched_on: true,
            carrier: bits & 2 != 0,
            arp: number == 1,
            addresses: if bits & 4 != 0 {
                vec![network([198, 51, 100, 100 + number], 24)]
            } else {
                Vec::new()
            },
            routes: if bits & 8 != 0 { vec![route] } else { Vec::new() },
            hindrances: Vec::new(),
        })
    };
    [one(1, "line", bits & 15), one(2, "sim", bits >> 4)].into_iter().flatten().collect()
}

fn outcome(choice: u8) -> Outcome {
    match choice % 7 {
        0 => Outcome::Answered { hardware: None },
        1 => Outcome::Silent,
        2 => Outcome::Refused,
        3 => Outcome::Unreachable,
        4 => Outcome::Page(Page { status: 200, elsewhere: None, form: false }),
        5 => Outcome::Page(Page { status: 302, elsewhere: Some("login.example".into()), form: true }),
        _ => Outcome::Impossible("no right to raw sockets".into()),
    }
}

/// The mounts that bits stand for: 1 a primary by name, 2 its fallback, 4 Shoutcast at an address, 8 a harbor over TLS, 16 an
/// AAC mount of another server; 32 gives the first another password, 64 another path.
fn mounts(bits: u8) -> Vec<MountConfig> {
    let rendition = |codec, kbit| Rendition {
        codec,
        rate: SampleRate::Hz48000,
        channels: Channels::Stereo,
        bitrate: BitRate::from_kbit(kbit).expect("no rendition here has no bits"),
    };
    let mount = |output: &str, role, kind, host: &str, path: &str, rendition| MountConfig {
        id: MountId { output: output.into(), role },
        server: Server { kind, host: host.into(), port: 8000, tls: None, method: Method::Put },
        path: path.into(),
        user: "source".into(),
        password: Secret::new(PASSWORD.into()),
        rendition,
        station: Station::default(),
        longest_lag: Duration::from_secs(15),
    };
    let mp3 = |kbit| rendition(Codec::Mp3, kbit);
    let mut first = mount("a", Role::Primary, ServerKind::Icecast, "a.example", "/live", mp3(320));
    if bits & 32 != 0 {
        first.password = Secret::new(format!("{PASSWORD}-2"));
    }
    if bits & 64 != 0 {
        first.path = "/other".into();
    }
    let mut harbor = mount("h", Role::Primary, ServerKind::Harbor, "h.example", "/in", mp3(320));
    harbor.server.tls = Some(delivery::config::Trust::System);
    let all = [
        first,
        mount("a", Role::Fallback, ServerKind::Icecast, "a.example", "/live_fallback", mp3(192)),
        mount("s", Role::Primary, ServerKind::Shoutcast1, "192.0.2.9", "/", mp3(128)),
        harbor,
        mount("k", Role::Primary, ServerKind::Generic, "k.example", "/aac", rendition(Codec::AacLc, 128)),
    ];
    all.into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, mount)| mount).collect()
}

fn verdict(choice: u8) -> Verdict {
    const ALL: [Verdict; 11] = [
        Verdict::Go,
        Verdict::Unauthorised,
        Verdict::InUse,
        Verdict::TooManySources,
        Verdict::ContentType,
        Verdict::Busy,
        Verdict::TooOften,
        Verdict::NoSuchMount,
        Verdict::Rejected,
        Verdict::Redirected,
        Verdict::Nonsense,
    ];
    ALL[usize::from(choice) % ALL.len()].clone()
}

fn failure(choice: u8) -> Option<Failure> {
    let all = [
        Failure::NoSuchName,
        Failure::NoNameServer,
        Failure::ConnectionRefused,
        Failure::Unreachable,
        Failure::TimedOut,
        Failure::Reset,
        Failure::UnknownAuthority,
        Failure::WrongName,
        Failure::WrongDate,
        Failure::PinMismatch,
        Failure::Tls("broken".into()),
        Failure::Local("no descriptors".into()),
    ];
    // Past the end: an orderly one.
    all.get(usize::from(choice) % (all.len() + 1)).cloned()
}

/// An answer to the question; `written` is what sources of each path have written. Of what is asked about a source, some
/// answers do not fit.
fn answer(question: &Question, choice: u8, written: &[(String, u64)]) -> Answer {
    let status = 404;
    let source = |read, agent: &str| Answer::Source {
        read,
        agent: Some(agent.into()),
        listeners: Some(3),
        address: None,
    };
    match (question, choice % 4) {
        (Question::Source { path }, 0) => match written.iter().find(|(other, _)| other == path) {
            Some((_, written)) => source(Some(written.saturating_sub(u64::from(choice / 4) * 1000)), AGENT),
            None => Answer::NoSource,
        },
        (Question::Source { .. }, 1) => Answer::NoSource,
        (Question::Source { .. }, 2) => source(Some(0), "somebody else"),
        (Question::Source { .. }, _) => match choice / 4 % 4 {
            0 => Answer::Forbidden { status: 401 },
            1 => source(Some(u64::MAX), AGENT),
            2 => Answer::Source { read: None, agent: None, listeners: None, address: None },
            _ => Answer::Evicted,
        },
        (Question::Evict, 0) => Answer::Evicted,
        (Question::Evict, 1) => Answer::NoSource,
        (Question::Evict, 2) => Answer::Forbidden { status: 401 },
        (Question::Evict, _) => Answer::TitleTaken,
        (Question::Title, 0) => Answer::TitleTaken,
        (Question::Title, _) => Answer::TitleRefused { status },
        (Question::Status { .. }, 0) => Answer::Listed { age: Some(0) },
        (Question::Status { .. }, 1) => Answer::Listed { age: Some(u64::MAX) },
        (Question::Status { .. }, 2) => Answer::NotListed,
        (Question::Status { .. }, _) => Answer::NoStatus { status },
        (Question::Probe { .. }, 0) => Answer::Heard { upto: BytePos(512) },
        (Question::Probe { .. }, 1) => Answer::HeardForeign,
        (Question::Probe { .. }, _) => Answer::HeardNothing { status },
    }
}
