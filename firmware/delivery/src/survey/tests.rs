//! A survey by hand: what is asked, and what comes of the answers.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;
use units::snapshot::SurveyReport;

use super::page::{Page, list};
use super::sound::{RATE, tag};
use super::*;
use crate::event::Verdict;
use crate::profile::Make;
use crate::testing::mount;

fn plan() -> Plan {
    let primary = mount("main");
    let fallback = MountConfig { path: "/live_fallback".to_string(), ..primary.clone() };
    Plan {
        bits: primary.rendition.bitrate.bits(),
        primary,
        fallback: Some(fallback),
        login: true,
        careful: false,
        slow: true,
        fed: false,
        may_take_off: false,
        agent: "Mainstay/test".to_string(),
    }
}

/// An Icecast as far as a survey sees it.
struct Icecast {
    server: &'static str,
    /// Somebody's sources, with their listeners.
    live: Vec<(String, u64)>,
    fallback: bool,
    overrides: bool,
    evicts: bool,
    burst: usize,
    limit: usize,
    /// The survey's own sources.
    own: Vec<(Slot, String)>,
    taken_off: bool,
    /// Paths of all sources that were opened, and all requests.
    opened: Vec<String>,
    requests: Vec<String>,
}

impl Icecast {
    fn new() -> Self {
        Self {
            server: "Icecast 2.4.4",
            live: Vec::new(),
            fallback: true,
            overrides: true,
            evicts: true,
            burst: 64_400,
            limit: 5,
            own: Vec::new(),
            taken_off: false,
            opened: Vec::new(),
            requests: Vec::new(),
        }
    }

    fn on_air(listeners: u64) -> Self {
        let live = vec![("/live".to_string(), listeners), ("/live_fallback".to_string(), 0)];
        Self { live, ..Self::new() }
    }

    fn page(&self, status: u16, kind: &str, body: &str) -> Answer {
        let head = format!(
            "HTTP/1.0 {status} X\r\nServer: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            self.server,
            body.len()
        );
        Answer::Page(Ok(Raw { bytes: head.into_bytes(), until: Until::Whole }))
    }

    fn has(&self, path: &str) -> bool {
        self.live.iter().any(|(live, _)| live == path) || self.own.iter().any(|(_, own)| own == path)
    }

    fn get(&mut self, request: &[u8]) -> Answer {
        let text = String::from_utf8(request.to_vec()).unwrap();
        let target = text.split(' ').nth(1).unwrap().to_string();
        self.requests.push(text);
        let query = target
            .split_once("?mount=")
            .map(|(command, path)| (command.to_string(), path.replace("%2F", "/")));
        match query {
            Some((command, path)) if !self.has(&path) => {
                assert!(command.starts_with("/admin/"));
                self.page(400, "text/html", "Source does not exist")
            }
            Some((command, path)) if command == "/admin/stats" => {
                let listeners =
                    self.live.iter().find(|(live, _)| *live == path).map_or(0, |(_, count)| *count);
                let body = format!(
                    "<icestats><listeners>77</listeners><source mount=\"{path}\"><listeners>{listeners}</listeners></source></icestats>"
                );
                self.page(200, "text/xml", &body)
            }
            Some((command, path)) => {
                assert_eq!(command, "/admin/killsource");
                assert!(self.own.iter().any(|(_, own)| *own == path), "{path} is not the survey's to evict");
                if self.evicts {
                    self.own.retain(|(_, own)| *own != path);
                    self.page(200, "text/xml", "<return>1</return>")
                } else {
                    self.page(401, "text/plain", "no")
                }
            }
            None if target == "/status-json.xsl" => {
                let all: Vec<String> = (self.live.iter())
                    .map(|(path, count)| {
                        format!("{{\"listenurl\":\"http://h:8000{path}\",\"listeners\":{count},\"stream_start\":\"x\"}}")
                    })
                    .collect();
                let body = format!("{{\"icestats\":{{\"source\":[{}]}}}}", all.join(","));
                self.page(200, "application/json", &body)
            }
            None => {
                let moved = self.fallback && target == "/live" && self.has("/live_fallback");
                if self.has(&target) || moved {
                    self.page(200, "audio/mpeg", "")
                } else {
                    self.page(404, "text/html", "nothing")
                }
            }
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Fetch { request, .. } | Question::Listen { request, .. } => self.get(&request),
            Question::Open { slot, request, .. } => {
                let text = String::from_utf8(request).unwrap();
                let path = text.split(' ').nth(1).unwrap().to_string();
                assert!(!self.has(&path), "{path} is live");
                self.opened.push(path.clone());
                let verdict = if self.live.len() + self.own.len() >= self.limit {
                    Verdict::TooManySources
                } else {
                    self.own.push((slot, path));
                    Verdict::Go
                };
                Answer::Source(Ok(Reply { status: 100, verdict, server: None }))
            }
            Question::Hear { needle, .. } => {
                if needle.is_empty() {
                    return Answer::Heard(vec![7; self.burst]);
                }
                let primary = self.own.iter().any(|(slot, _)| *slot == Slot::Primary);
                let slot = if primary && self.overrides { Slot::Primary } else { Slot::Fallback };
                Answer::Heard(tag(slot).to_vec())
            }
            Question::Ended { slot, .. } => {
                let there = self.own.iter().any(|(own, _)| *own == slot);
                let silent = there && self.opened.len() > 1;
                Answer::Ended(if silent {
                    Some(Duration::from_millis(10_400))
                } else {
                    (!there).then_some(Duration::ZERO)
                })
            }
            Question::Close { slot } => {
                self.own.retain(|(own, _)| *own != slot);
                Answer::Done
            }
            Question::TakeOff => {
                self.taken_off = true;
                self.live.clear();
                Answer::Done
            }
            Question::Leave | Question::Pause(_) => Answer::Done,
        }
    }
}

fn run(plan: Plan, server: &mut Icecast) -> SurveyReport {
    let mut survey = Survey::new(plan);
    while let Some(question) = survey.ask() {
        survey.answer(server.answer(question));
    }
    assert!(server.own.is_empty(), "{:?} left behind", server.own);
    survey.report()
}

fn said(report: &SurveyReport) -> String {
    report.findings.iter().map(|finding| format!("{:?}: {}\n", finding.sight, finding.text)).collect()
}

#[test]
fn free_mounts_are_proven_whole() {
    let mut server = Icecast::new();
    let report = run(plan(), &mut server);
    assert_eq!(report.kind, "icecast-2.4");
    assert_eq!(
        report.settings[1..],
        [
            "[output.proven]",
            "fallback = true",
            "override = true",
            "evict = true",
            "burst = 64400",
            "queue = 524288    # the server's default; compare with queue-size",
            "source_timeout = \"10 s\"",
        ],
        "{}",
        said(&report)
    );
    assert_eq!(
        report.headend,
        ["<limits>", "    <burst-size>122880</burst-size>    <!-- 3 s of sound -->", "</limits>"]
    );
    assert_eq!(server.opened, ["/live_survey", "/live_survey", "/live_fallback", "/live"]);
}

#[test]
fn what_is_wrong_on_the_server_comes_with_its_lines() {
    let mut server = Icecast { server: "Icecast 2.5.0", overrides: false, evicts: false, ..Icecast::new() };
    let report = run(plan(), &mut server);
    for line in ["fallback = true", "override = false", "evict = false"] {
        assert!(report.settings.iter().any(|known| known == line), "{:?}", report.settings);
    }
    let lines = report.headend.join("\n");
    for line in [
        "<mount-name>/live</mount-name>",
        "<fallback-mount>/live_fallback</fallback-mount>",
        "<fallback-override>all</fallback-override>",
        "allow-admin=\"stats,killsource,metadata\"",
    ] {
        assert!(lines.contains(line), "{lines}");
    }
    assert!(!lines.contains("hackme") && !said(&report).contains("hackme"));
    let mut server = Icecast { fallback: false, ..Icecast::new() };
    let report = run(plan(), &mut server);
    assert!(report.settings.contains(&"fallback = false".to_string()));
    assert!(report.settings.contains(&"# override: not tried".to_string()));
    assert!(report.headend.contains(&"    <fallback-override>1</fallback-override>".to_string()));
}

#[test]
fn a_live_mount_is_left_alone() {
    // Somebody else's, or this box's without leave.
    for (fed, may_take_off, listeners) in [(false, true, 0), (true, false, 0), (true, true, 1)] {
        let mut server = Icecast::on_air(listeners);
        let report = run(Plan { fed, may_take_off, ..plan() }, &mut server);
        assert!(!server.taken_off);
        assert_eq!(server.opened, ["/live_survey", "/live_survey"]);
        assert!(report.settings.contains(&"# fallback: not tried".to_string()), "{:?}", report.settings);
        assert!(report.settings.contains(&"evict = true".to_string()), "{:?}", report.settings);
    }
    // Mounts that this box is about to open are its own even while they are free.
    let mut server = Icecast::new();
    run(Plan { fed: true, ..plan() }, &mut server);
    assert_eq!(server.opened, ["/live_survey", "/live_survey"]);
}

#[test]
fn a_box_without_listeners_may_leave_its_mounts() {
    let mut server = Icecast::on_air(0);
    let report = run(Plan { fed: true, may_take_off: true, slow: false, ..plan() }, &mut server);
    assert!(server.taken_off);
    assert_eq!(server.opened, ["/live_survey", "/live_fallback", "/live"]);
    assert!(report.settings.contains(&"override = true".to_string()), "{}", said(&report));
}

#[test]
fn careful_opens_nothing_and_a_full_server_is_told_what_it_needs() {
    let mut server = Icecast::on_air(3);
    let report = run(Plan { careful: true, ..plan() }, &mut server);
    assert!(server.opened.is_empty() && said(&report).contains("3 listeners"), "{}", said(&report));
    let mut server = Icecast { limit: 2, ..Icecast::on_air(0) };
    let report = run(plan(), &mut server);
    assert!(report.headend.join("\n").contains("<sources>5</sources>"), "{:?}", report.headend);
}

#[test]
fn a_liar_is_named_and_gets_no_password() {
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<form>room number</form>";
    let around = "HTTP/1.1 302 Found\r\nLocation: /status-json.xsl\r\n\r\n";
    let forth = "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n";
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-More: and more\r\n".repeat(2000));
    for (bytes, named) in [
        (html, "login page"),
        (around, "circle"),
        (forth, "circle"),
        (endless.as_str(), "do not end"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
        ("", "said nothing"),
    ] {
        let mut survey = Survey::new(plan());
        let mut asked = 0;
        while let Some(question) = survey.ask() {
            let Question::Fetch { request, .. } = question else { panic!("{question:?}") };
            assert!(!String::from_utf8(request).unwrap().contains("Authorization"));
            survey.answer(Answer::Page(Ok(Raw { bytes: bytes.as_bytes().to_vec(), until: Until::Closed })));
            asked += 1;
        }
        assert!(asked <= 5, "{asked}");
        let report = survey.report();
        assert!(said(&report).contains(named), "{}", said(&report));
        assert!(report.settings.is_empty() && report.kind.is_empty());
    }
}

#[test]
fn pages_that_lie_about_their_length_are_named() {
    let raw = |text: &str, until| Raw { bytes: text.as_bytes().to_vec(), until };
    let short = "HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    assert!(Page::read(&raw(short, Until::Closed)).odd.is_some());
    let right = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(Page::read(&raw(right, Until::Closed)).odd, None);
    assert!(is_whole(right.as_bytes(), 0) && !is_whole(short.as_bytes(), 0));
    let sound = b"ICY 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n1234";
    assert!(is_whole(sound, 4) && !is_whole(sound, 5));
}

#[test]
fn mounts_are_read_from_every_shape_of_list() {
    let paths =
        |text: &str| list(text).map(|mounts| mounts.into_iter().map(|mount| mount.path).collect::<Vec<_>>());
    let one = r#"{"icestats":{"source":{"listenurl":"http://h:8000/a","listeners":2,"stream_start":"x"}}}"#;
    assert_eq!(list(one).unwrap()[0].listeners, Some(2));
    let two = r#"{"icestats":{"source":[{"listenurl":"http://h/a","stream_start":"x"},{"listenurl":"http://h/phantom","listeners":0},{"listenurl":"http://h/b","stream_start":"x"}]}}"#;
    assert_eq!(paths(two).unwrap(), ["/a", "/b"]);
    let broken = r#"{"icestats":{"source":[{"listenurl":"http://h/phantom"},{"listenurl":"http://h/a","stream_start":"x","title": - }]}}"#;
    assert_eq!(paths(broken).unwrap(), ["/a"]);
    let newer =
        r#"[{"name":"icestats"},{"source":{"/a":{"listenurl":"http://h/a","stream_start_iso8601":"x"}}}]"#;
    assert_eq!(paths(newer).unwrap(), ["/a"]);
    assert_eq!(paths(r#"{"icestats":{}}"#).unwrap(), [""; 0]);
    for text in ["", "<html>", "[]", "12", r#"{"a":1}"#] {
        assert_eq!(list(text), None, "{text}");
    }
}

#[test]
fn servers_are_told_apart_by_their_names() {
    for (server, page, make) in [
        ("Icecast 2.4.4", "", Some(Make::Icecast24)),
        ("Icecast 2.3.2", "", Some(Make::Icecast24)),
        ("Icecast 2.5.0", "", Some(Make::Icecast25)),
        ("Icecast 2.4.0-kh15", "", Some(Make::IcecastKh)),
        ("", "<title>Liquidsoap source harbor</title>", Some(Make::Harbor)),
        ("", "<title>SHOUTcast Administrator</title>", Some(Make::Shoutcast1)),
        ("nginx", "welcome", None),
    ] {
        assert_eq!(Make::of(server, page), make, "{server} {page}");
    }
}

#[test]
fn shoutcast_is_known_by_its_greeting_and_gets_no_source() {
    let mut survey = Survey::new(plan());
    while let Some(question) = survey.ask() {
        let Question::Fetch { .. } = question else { panic!("{question:?}") };
        let bytes = b"ICY 200 OK\r\ncontent-type:audio/mpeg\r\n\r\n".to_vec();
        survey.answer(Answer::Page(Ok(Raw { bytes, until: Until::Whole })));
    }
    let report = survey.report();
    assert_eq!(report.kind, "shoutcast-1");
    assert!(said(&report).contains("not tested") && report.headend.is_empty());
    assert!(report.settings[0].starts_with("server = \"shoutcast-1\"") && report.settings.len() == 1);
}

#[test]
fn the_sound_is_whole_packets_of_silence_that_names_its_mount() {
    let bytes = sound(Slot::Fallback, 0, 5 * 384);
    for packet in bytes.chunks(384) {
        let header = units::header::PacketHeader::parse(packet).unwrap();
        assert_eq!((header.length, header.kbit, header.rate_hz), (384, RATE / 125, 48_000));
        assert!(packet[4..36].iter().all(|&byte| byte == 0));
        assert!(memchr::memmem::find(packet, tag(Slot::Fallback)).is_some());
        assert!(memchr::memmem::find(packet, tag(Slot::Primary)).is_none());
    }
    let parts = [sound(Slot::Fallback, 0, 1000), sound(Slot::Fallback, 1000, 920)].concat();
    assert_eq!(parts, bytes);
}

proptest! {
    /// Whatever a server says, and whatever the edge makes of it, a survey ends, and panics nowhere.
    #[test]
    fn every_survey_ends(
        answers in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..200)), 1..40),
        fed: bool,
        may_take_off: bool,
    ) {
        let starts: [&[u8]; 5] = [
            b"",
            b"HTTP/1.0 200 OK\r\nServer: Icecast 2.4.4\r\nContent-Type: audio/mpeg\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nServer: Icecast 2.4.4\r\n\r\n{\"icestats\":{}}",
            b"HTTP/1.1 404 X\r\n\r\n",
            b"HTTP/1.1 302 X\r\nLocation: /",
        ];
        let mut survey = Survey::new(Plan { fed, may_take_off, ..plan() });
        let mut asked = 0;
        while let Some(question) = survey.ask() {
            let (kind, tail) = &answers[asked % answers.len()];
            let bytes = [starts[usize::from(*kind) % starts.len()], tail].concat();
            let verdicts = [Verdict::Go, Verdict::Unauthorised, Verdict::InUse, Verdict::Rejected];
            let verdict = verdicts[usize::from(*kind) % verdicts.len()].clone();
            survey.answer(match question {
                Question::Fetch { .. } | Question::Listen { .. } => {
                    Answer::Page(Ok(Raw { bytes, until: Until::Closed }))
                }
                Question::Open { .. } => {
                    Answer::Source(Ok(Reply { status: 200, verdict, server: None }))
                }
                Question::Hear { .. } => Answer::Heard(bytes),
                Question::Ended { .. } => Answer::Ended((kind % 2 == 0).then_some(Duration::ZERO)),
                Question::Close { .. } | Question::Leave | Question::TakeOff | Question::Pause(_) => Answer::Done,
            });
            asked += 1;
            prop_assert!(asked <= 100);
        }
        let report = survey.report();
        prop_assert!(!report.findings.is_empty());
    }
}
