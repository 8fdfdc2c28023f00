//! One mount through the whole core, by hand.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one output that it is about")]

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use units::snapshot::MountState;
use units::{BytePos, Frames, Instant};

use crate::event::{Answer, Failure, Input, LinkId, Output, PathSight, Question, Reply, Verdict};
use crate::{Delivery, RenditionId, testing};

/// A core with one mount, and the packets it was given.
struct Bench {
    core: Delivery,
    now: Instant,
    packets: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(testing::config(&["main"]))
    }

    fn with(config: crate::Config) -> Self {
        let mut bench = Self { core: Delivery::new(), now: Instant::from_millis(1000), packets: 0 };
        bench.feed(Input::Configure(config.into()));
        bench
    }

    fn feed(&mut self, input: Input) -> Vec<Output> {
        self.core.handle(self.now, &input);
        core::iter::from_fn(|| self.core.poll()).collect()
    }

    fn wait(&mut self, span: Duration) -> Vec<Output> {
        self.now += span;
        self.feed(Input::Tick)
    }

    fn packet(&mut self) -> Vec<Output> {
        self.now += Duration::from_millis(24);
        self.one_of_several(false)
    }

    /// A packet at this very moment, of which `more` follow.
    fn one_of_several(&mut self, more: bool) -> Vec<Output> {
        self.packets += 1;
        let frames = Frames(self.packets * 1152);
        self.feed(Input::Produced {
            rendition: RenditionId(0),
            end: BytePos(self.packets * 960),
            frames,
            entry: true,
            more,
        })
    }

    fn state(&self) -> MountState {
        self.core.report()[0].mounts[0].state
    }

    /// Resolves and connects; returns the source's link after the request was sent.
    fn greet(&mut self) -> LinkId {
        let outputs = self.wait(Duration::ZERO);
        let resolve = outputs.iter().find_map(|output| match output {
            Output::Resolve { link, .. } => Some(*link),
            _ => None,
        });
        // The very first attempt began while the settings were taken in.
        let link = resolve.unwrap_or(LinkId(1));
        let addresses = Vec::from(["192.0.2.1".parse().unwrap()]);
        let outputs = self.feed(Input::Resolved { link, addresses });
        let Some(Output::Connect { link, .. }) = outputs.last().cloned() else { panic!("{outputs:?}") };
        self.feed(Input::Reached { link });
        let outputs = self.feed(Input::Connected { link });
        assert!(matches!(outputs.last(), Some(Output::Send { .. })), "{outputs:?}");
        link
    }

    fn reply(&mut self, link: LinkId, verdict: Verdict) -> Vec<Output> {
        self.feed(Input::Replied { link, reply: Reply { status: 200, verdict, server: None } })
    }

    /// A packet that the socket takes whole and the server acknowledges up to the one before.
    fn written_packet(&mut self, link: LinkId) {
        let outputs = self.packet();
        let written = outputs.iter().find_map(|output| match output {
            Output::Write { from, to, .. } => Some((to.since(*from) as u32, from.0)),
            _ => None,
        });
        let (bytes, acked) = written.unwrap_or_else(|| panic!("nothing written: {outputs:?}"));
        self.feed(Input::Wrote { link, bytes, acked, blocked: false });
    }

    fn on_air(&mut self) -> LinkId {
        let link = self.greet();
        self.reply(link, Verdict::Go);
        for _ in 0..3 {
            self.written_packet(link);
        }
        assert_eq!(self.state(), MountState::Live);
        link
    }
}

#[test]
fn acknowledged_is_live_and_listed_is_verified() {
    let mut bench = Bench::new();
    bench.on_air();
    let outputs = bench.wait(Duration::from_millis(500));
    let question = outputs.iter().find_map(|output| match output {
        Output::Ask { link, question: Question::Status { path }, .. } if path == "/live" => Some(*link),
        _ => None,
    });
    bench.feed(Input::Answered { link: question.unwrap(), answer: Answer::Listed { age: Some(1) } });
    assert_eq!(bench.state(), MountState::Verified);
}

#[test]
fn packets_that_come_together_are_written_together() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    bench.now += Duration::from_millis(48);
    assert_eq!(bench.one_of_several(true), []);
    let outputs = bench.one_of_several(false);
    let wrote = outputs.iter().find_map(|output| match output {
        Output::Write { link: to, from, to: end, .. } if *to == link => Some((*from, *end)),
        _ => None,
    });
    let (from, end) = wrote.unwrap();
    assert!(end.0 - from.0 > 960 && end.0 <= 5 * 960, "more than one packet's bytes: {from} to {end}");
}

#[test]
fn a_mount_in_use_is_retried_and_then_called_occupied_with_one_alarm() {
    let mut bench = Bench::new();
    let mut alarms = 0;
    let began = bench.now;
    while bench.now.since(began) < Duration::from_secs(120) {
        let link = bench.greet();
        let outputs = bench.reply(link, Verdict::InUse);
        alarms += outputs.iter().filter(|output| matches!(output, Output::Log(t) if t.alarm)).count();
        let next = bench.core.wakeup().unwrap();
        assert!(next > bench.now);
        bench.now = next;
    }
    assert_eq!(bench.state(), MountState::Occupied);
    assert_eq!(alarms, 1);
    let link = bench.greet();
    bench.reply(link, Verdict::Go);
    assert_eq!(bench.state(), MountState::Accepted);
}

#[test]
fn a_wrong_password_is_refused_with_a_remedy() {
    let mut bench = Bench::new();
    let link = bench.greet();
    bench.reply(link, Verdict::Unauthorised);
    assert_eq!(bench.state(), MountState::Refused);
    let remedy = bench.core.report()[0].mounts[0].remedy.clone().unwrap();
    assert!(remedy.contains("password") && !remedy.contains("hackme"));
    assert!(bench.core.wakeup().unwrap().since(bench.now) >= Duration::from_secs(20));
}

#[test]
fn a_stall_is_said_and_heals() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    let outputs = bench.packet();
    assert!(outputs.iter().any(|output| matches!(output, Output::Write { .. })));
    bench.feed(Input::Wrote { link, bytes: 100, acked: 2880, blocked: true });
    for _ in 0..200 {
        let outputs = bench.packet();
        assert!(
            !outputs.iter().any(|output| matches!(output, Output::Write { .. })),
            "a full socket is left alone"
        );
        bench.feed(Input::Tick);
    }
    assert_eq!(bench.state(), MountState::Stalled);
    let outputs = bench.feed(Input::Writable { link });
    let Some(Output::Write { from, to, .. }) = outputs.last() else { panic!("{outputs:?}") };
    assert_eq!((from.0, to.0), (2980, bench.packets * 960));
    let bytes = to.since(*from) as u32;
    bench.feed(Input::Wrote { link, bytes, acked: 2980, blocked: false });
    assert!(bench.state().on_air());
}

#[test]
fn too_far_behind_ends_its_packet_and_skips_to_live() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    bench.packet();
    bench.feed(Input::Wrote { link, bytes: 100, acked: 2880, blocked: true });
    for _ in 0..(11_000 / 24) {
        bench.packet();
    }
    let outputs = bench.feed(Input::Writable { link });
    let Some(Output::Write { from, to, .. }) = outputs.last() else { panic!("{outputs:?}") };
    assert_eq!((from.0, to.0), (2980, 3840), "the rest of the packet");
    bench.feed(Input::Wrote { link, bytes: 860, acked: 2980, blocked: false });
    let outputs = bench.packet();
    let Some(Output::Write { from, to, .. }) = outputs.last() else { panic!("{outputs:?}") };
    assert_eq!((from.0 % 960, to.since(*from)), (0, 960), "then live, at a packet's start");
    assert!(bench.core.report()[0].mounts[0].skipped > 300_000);
}

#[test]
fn silence_for_longer_than_the_servers_patience_opens_the_mount_anew() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    bench.packet();
    bench.feed(Input::Wrote { link, bytes: 960, acked: 2880, blocked: false });
    let outputs = bench.wait(Duration::from_secs(13));
    assert!(outputs.contains(&Output::Close { link }), "{outputs:?}");
    assert_eq!(bench.state(), MountState::Waiting);
}

#[test]
fn titles_go_out_on_connect_on_change_and_again_after_a_reconnect() {
    let title_of = |outputs: &[Output]| {
        outputs.iter().find_map(|output| match output {
            Output::Ask { link, request, question: Question::Title, .. } => {
                Some((*link, alloc::string::String::from_utf8(request.clone().unwrap()).unwrap()))
            }
            _ => None,
        })
    };
    let mut bench = Bench::new();
    bench.feed(Input::Title("One".to_string()));
    let link = bench.greet();
    let outputs = bench.reply(link, Verdict::Go);
    let (asked, request) = title_of(&outputs).unwrap();
    assert!(request.contains("song=One"));
    // 2.4 answers 400 until its source thread runs.
    bench.feed(Input::Answered { link: asked, answer: Answer::TitleRefused { status: 400 } });
    let (asked, _) = title_of(&bench.wait(Duration::from_millis(300))).unwrap();
    bench.feed(Input::Answered { link: asked, answer: Answer::TitleTaken });
    assert_eq!(bench.core.report()[0].mounts[0].title.as_deref(), Some("One"));
    let (asked, request) = title_of(&bench.feed(Input::Title("Two".to_string()))).unwrap();
    assert!(request.contains("song=Two"));
    bench.feed(Input::Answered { link: asked, answer: Answer::TitleTaken });
    bench.feed(Input::Closed { link, failure: Some(Failure::Reset) });
    assert_eq!(bench.core.report()[0].mounts[0].title, None);
    bench.now = bench.core.wakeup().unwrap();
    let link = bench.greet();
    let outputs = bench.reply(link, Verdict::Go);
    assert!(title_of(&outputs).unwrap().1.contains("song=Two"));
}

#[test]
fn a_reload_leaves_equal_mounts_alone() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    let outputs = bench.feed(Input::Configure(testing::config(&["main", "second"]).into()));
    assert!(!outputs.contains(&Output::Close { link }));
    assert_eq!(bench.state(), MountState::Live);
    let outputs = bench.feed(Input::Configure(testing::config(&["second"]).into()));
    assert!(outputs.contains(&Output::Close { link }));
}

#[test]
fn a_source_swallowed_without_a_word_is_opened_anew_once_the_list_denies_it() {
    let mut bench = Bench::new();
    let link = bench.greet();
    bench.wait(Duration::from_secs(4));
    // Thirty seconds of packets are more than enough.
    let opened_anew = (0..1250).any(|_| {
        bench.written_packet(link);
        let outputs = bench.feed(Input::Tick);
        assert_eq!(bench.state(), MountState::Accepted, "acknowledged bytes alone are not live");
        let asked = outputs.iter().find_map(|output| match output {
            Output::Ask { link, question: Question::Status { .. }, .. } => Some((*link, Answer::NotListed)),
            Output::Ask { link, question: Question::Probe { .. }, .. } => Some((*link, Answer::HeardForeign)),
            _ => None,
        });
        asked.is_some_and(|(question, answer)| {
            bench.feed(Input::Answered { link: question, answer }).contains(&Output::Close { link })
        })
    });
    assert!(opened_anew, "swallowed for ever");
    assert_eq!(bench.state(), MountState::Waiting);
}

#[test]
fn without_the_servers_yes_a_list_is_no_proof_and_a_listener_is() {
    let mut bench = Bench::new();
    let link = bench.greet();
    bench.wait(Duration::from_secs(4));
    let mut answer = |status: Answer, probe: Answer| {
        for _ in 0..100 {
            bench.written_packet(link);
            for output in bench.feed(Input::Tick) {
                let (link, answer) = match output {
                    Output::Ask { link, question: Question::Status { .. }, .. } => (link, status.clone()),
                    Output::Ask { link, question: Question::Probe { .. }, .. } => (link, probe.clone()),
                    _ => continue,
                };
                bench.feed(Input::Answered { link, answer });
            }
        }
        bench.state()
    };
    let listed = Answer::Listed { age: Some(1) };
    assert_eq!(answer(listed.clone(), Answer::HeardForeign), MountState::Accepted);
    assert_eq!(answer(listed, Answer::Heard { upto: BytePos(1) }), MountState::Verified);
}

#[test]
fn late_inputs_of_a_closed_link_change_nothing() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    bench.feed(Input::Closed { link, failure: None });
    let before = bench.core.clone();
    bench.feed(Input::Wrote { link, bytes: 960, acked: 1, blocked: false });
    bench.feed(Input::Closed { link, failure: None });
    bench.feed(Input::Replied { link, reply: Reply { status: 200, verdict: Verdict::Go, server: None } });
    assert_eq!(bench.core, before);
}

#[test]
fn icecast_gets_whole_blocks_and_no_long_silence() {
    let mut config = testing::config(&["main"]);
    config.mounts[0].server.kind = crate::config::ServerKind::Icecast;
    let mut bench = Bench::with(config);
    let link = bench.greet();
    bench.reply(link, Verdict::Go);
    let (mut written, mut last, mut writes) = (0u64, bench.now, 0);
    for _ in 0..1000 {
        let outputs = bench.packet();
        if let Some(Output::Write { from, to, .. }) = outputs.last() {
            assert_eq!(from.0, written, "contiguous");
            written = to.0;
            assert!(bench.now.since(last) <= Duration::from_millis(75));
            assert!(written % 1400 == 0 || bench.now.since(last) >= Duration::from_millis(50));
            (last, writes) = (bench.now, writes + 1);
            let bytes = to.since(*from) as u32;
            bench.feed(Input::Wrote { link, bytes, acked: from.0, blocked: false });
        }
    }
    assert!(written + 1400 > 960 * 1000 && writes < 700, "{written} bytes in {writes} writes");
}

#[test]
fn a_mount_further_behind_than_bytes_are_kept_is_opened_anew() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    bench.packet();
    bench.feed(Input::Wrote { link, bytes: 100, acked: 2880, blocked: true });
    // A trickle of acknowledgements keeps the mount from being given up.
    for packet in 0..(70_000 / 24) {
        bench.packet();
        bench.feed(Input::Measured { link, acked: 2881 + packet / 40, path: PathSight::default() });
        bench.feed(Input::Tick);
    }
    let outputs = bench.feed(Input::Writable { link });
    assert!(outputs.contains(&Output::Close { link }), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Write { .. })));
    assert_eq!(bench.state(), MountState::Waiting);
}

#[test]
fn a_write_of_nothing_into_an_open_socket_ends_the_stream() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    bench.packet();
    let outputs = bench.feed(Input::Wrote { link, bytes: 0, acked: 2880, blocked: false });
    assert!(outputs.contains(&Output::Close { link }), "{outputs:?}");
}

#[test]
fn a_dead_name_server_does_not_keep_a_known_server_away() {
    let mut bench = Bench::new();
    let link = bench.on_air();
    bench.feed(Input::Closed { link, failure: Some(Failure::Reset) });
    bench.now = bench.core.wakeup().unwrap();
    let outputs = bench.feed(Input::Tick);
    assert!(matches!(outputs.last(), Some(Output::Resolve { .. })), "{outputs:?}");
    let outputs = bench.wait(Duration::from_secs(1));
    let address = "192.0.2.1:8000".parse().unwrap();
    let known = |output: &Output| matches!(output, Output::Connect { address: to, .. } if *to == address);
    assert!(outputs.iter().any(known), "{outputs:?}");
}

#[test]
fn of_several_addresses_the_most_telling_failure_is_told_once() {
    let mut bench = Bench::new();
    let mut told = Vec::new();
    for _ in 0..6 {
        bench.now = bench.core.wakeup().unwrap().max(bench.now);
        let outputs = bench.feed(Input::Tick);
        let link = outputs.iter().find_map(|output| match output {
            Output::Resolve { link, .. } => Some(*link),
            _ => None,
        });
        let addresses = Vec::from(["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
        let mut outputs = bench.feed(Input::Resolved { link: link.unwrap_or(LinkId(1)), addresses });
        while let Some(Output::Connect { link, address, .. }) = outputs.last().cloned() {
            let failure = if address.is_ipv4() { Failure::ConnectionRefused } else { Failure::Unreachable };
            outputs = bench.feed(Input::Failed { link, failure });
        }
        told.extend(outputs.into_iter().filter(|output| matches!(output, Output::Log(_))));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(format!("{told:?}").contains("nothing listens"), "{told:?}");
}

#[test]
fn the_burst_is_never_more_than_may_lie_behind() {
    let mut config = testing::config(&["main"]);
    config.mounts[0].longest_lag = Duration::from_secs(1);
    let mut bench = Bench::with(config);
    for _ in 0..200 {
        bench.packet();
    }
    let link = bench.greet();
    bench.reply(link, Verdict::Go);
    bench.packet();
    assert_eq!(bench.core.report()[0].mounts[0].skipped, 0);
}
