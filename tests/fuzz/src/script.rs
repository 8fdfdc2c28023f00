//! A play of the core with an honest edge, one letter a step, so that a corpus file can be written and read by people.
//!
//! | step | meaning |
//! |------|---------|
//! | `C` *b* | configure the mounts whose bits are set in *b* ([`mounts`]) |
//! | `R` `N` | every look-up gives two addresses; none |
//! | `r` `c` `d` | every connecting source is reached; connected; its certificate's date was let pass |
//! | `g` `G` *b* | every source hears "go"; verdict *b* |
//! | `p` | 24 ms pass and every rendition gets a packet |
//! | `w` `h` `z` | every write is taken whole and acknowledged; half; not at all (the last two block) |
//! | `o` `m` `s` | blocked sources have room; all is acknowledged when measured; nothing is |
//! | `x` *b* `f` *b* | every source is closed; fails, for reason *b* |
//! | `a` *b* `n` *b* | every question gets answer *b*; fails for reason *b* |
//! | `t` *b* | the title becomes number *b* |
//! | `.` `+` `:` | 20 ms pass; 1 s; until the core wants to be woken |
//! | `*` *b* | the steps that follow only reach the source with that remainder of four; `*` and a blank: all again |
//! | `|` | a new recording begins |

use std::collections::BTreeMap;
use std::time::Duration;

use delivery::RenditionId;
use delivery::config::{Config, Method, MountConfig, MountId, Server, ServerKind, Station};
use delivery::event::{Answer, Failure, Input, LinkId, Output, Question, Reply, Verdict};
use delivery::recording::{Recorder, Recording};
use units::snapshot::Role;
use units::{BitRate, BytePos, Channels, Codec, Frames, Instant, Rendition, SampleRate, Secret};

use crate::watch::{PASSWORD, Watch};

/// What came of a play.
pub(crate) struct Played {
    /// A mount was on air at some time.
    pub on_air: bool,
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
    };
    let mut on_air = false;
    let mut steps = script.iter().copied();
    while let Some(step) = steps.next() {
        edge.step(step, &mut || steps.next().unwrap_or(0));
        on_air |= edge.watch.on_air();
    }
    let recording = edge.recorder.export();
    let document = serde_json::to_string(&recording).expect("a recording is plain data");
    assert!(!document.contains(PASSWORD), "a secret in the recording");
    let read: Recording = serde_json::from_str(&document).expect("our own document");
    if let Err(error) = read.replay(drop) {
        panic!("the recording does not replay: {error}");
    }
    Played { on_air, recording }
}

struct Edge {
    watch: Watch,
    recorder: Recorder,
    links: BTreeMap<LinkId, Link>,
    only: Option<u32>,
    /// How many each rendition has.
    packets: Vec<u64>,
}

/// A link as the edge has it.
enum Link {
    LookUp,
    Source(Source),
    Question(Question),
}

#[derive(Default)]
struct Source {
    connected: bool,
    /// A write that is out, in bytes.
    owed: Option<u32>,
    measuring: bool,
    blocked: bool,
    written: u64,
    acked: u64,
}

impl Edge {
    fn step(&mut self, step: u8, argument: &mut dyn FnMut() -> u8) {
        match step {
            b'C' => {
                let config = Config { agent: "Mainstay/fuzz".into(), seed: 7, mounts: mounts(argument()) };
                self.feed(Input::Configure(config.into()));
            }
            b'R' | b'N' => {
                let addresses = match step {
                    b'R' => vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
                    _ => Vec::new(),
                };
                self.each(|link, kind| match kind {
                    Link::LookUp => Some(Input::Resolved { link, addresses: addresses.clone() }),
                    Link::Source(_) | Link::Question(_) => None,
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
            b'm' | b's' => self.sources(|link, source| {
                if step == b'm' {
                    source.acked = source.written;
                }
                let acked = source.acked;
                std::mem::take(&mut source.measuring).then_some(Input::Measured { link, acked })
            }),
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
                    Link::Question(_) => None,
                });
            }
            b'a' => {
                let choice = argument();
                self.each(|link, kind| match kind {
                    Link::Question(question) => {
                        Some(Input::Answered { link, answer: answer(question, choice) })
                    }
                    Link::LookUp | Link::Source(_) => None,
                });
            }
            b'n' => {
                let failure = failure(argument()).unwrap_or(Failure::TimedOut);
                self.each(|link, kind| match kind {
                    Link::Question(_) => Some(Input::Failed { link, failure: failure.clone() }),
                    Link::LookUp | Link::Source(_) => None,
                });
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

    fn feed(&mut self, input: Input) {
        self.recorder.input(self.watch.now, &self.watch.core, &input);
        let ended = match &input {
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
            | Input::Title(_)
            | Input::Configure(_)
            | Input::Tick => None,
        };
        if let Some(link) = ended {
            self.links.remove(&link);
        }
        for output in self.watch.feed(&input) {
            self.recorder.output(&output);
            match output {
                Output::Resolve { link, .. } => drop(self.links.insert(link, Link::LookUp)),
                Output::Connect { link, .. } => {
                    drop(self.links.insert(link, Link::Source(Source::default())))
                }
                Output::Ask { link, question, .. } => drop(self.links.insert(link, Link::Question(question))),
                Output::Close { link } => drop(self.links.remove(&link)),
                Output::Write { link, from, to, .. } => {
                    let owed = u32::try_from(to.since(from)).expect("a minute of sound is less than 4 GiB");
                    self.source(link).owed = Some(owed);
                }
                Output::Measure { link } => self.source(link).measuring = true,
                Output::Send { link, .. } => assert!(self.source(link).connected, "a request on {link:?}"),
                Output::Log(_) => {}
            }
        }
    }

    fn source(&mut self, link: LinkId) -> &mut Source {
        match self.links.get_mut(&link) {
            Some(Link::Source(source)) => source,
            Some(Link::LookUp | Link::Question(_)) | None => panic!("{link:?} is no source"),
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
            Link::LookUp | Link::Question(_) => None,
        });
    }

    fn reply(&mut self, verdict: Verdict) {
        self.sources(|link, source| {
            let reply = Reply { status: 200, verdict: verdict.clone(), server: Some("Fuzz".into()) };
            source.connected.then_some(Input::Replied { link, reply })
        });
    }

    fn wrote(&mut self, take: impl Fn(u32) -> (u32, bool)) {
        self.sources(|link, source| {
            let (bytes, blocked) = take(source.owed.take()?);
            // What was written before is acknowledged; with room left, so is this.
            source.acked = if blocked { source.written } else { source.written + u64::from(bytes) };
            source.written += u64::from(bytes);
            source.blocked = blocked;
            Some(Input::Wrote { link, bytes, acked: source.acked, blocked })
        });
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
            self.feed(Input::Produced { rendition, end, frames });
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
        longest_lag: Duration::from_secs(10),
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

/// An answer that fits the question.
fn answer(question: &Question, choice: u8) -> Answer {
    let status = 404;
    match (question, choice % 4) {
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
