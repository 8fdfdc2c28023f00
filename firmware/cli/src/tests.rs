//! What people see, from a snapshot made here.

use std::time::Duration;

use clap::CommandFactory;
use units::snapshot::{
    Cost, DrillReport, FaultReport, HandOverReport, Heard, Incident, IncidentRecord, InputReport, InputState,
    Levels, MountReport, MountState, OrderReport, OutputReport, ProgrammeReport, Role, TierCondition,
    TierReport, UplinkReport, UplinkState,
};
use units::{BitRate, Channels, Codec, Dbfs, Frames, Instant, Lufs, Rendition, SampleRate, WallTime};

use super::*;
use crate::line::Style;

fn mount(role: Role, kbit: u32, state: MountState) -> MountReport {
    let bitrate = BitRate::from_kbit(kbit).unwrap();
    MountReport {
        role,
        url: format!("http://stream.example.org:8000/{role}"),
        rendition: Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate,
        },
        state,
        since: Instant::from_millis(3_000),
        remedy: None,
        server: Some("Icecast 2.4.4".into()),
        peer: None,
        acked: 2_500_000,
        written: 2_600_000,
        lag_ms: 12,
        skipped: 0,
        accepted: 1,
        failures: 0,
        longest_pause_ms: 30,
        bytes_per_day: bitrate.bytes_per_second() * 86_400,
        title: None,
    }
}

fn levels() -> Levels {
    Levels {
        peak: vec![Dbfs::new(-6.0), Dbfs::new(-2.0)],
        rms: vec![Dbfs::new(-30.0), Dbfs::new(f32::NEG_INFINITY)],
        true_peak: vec![Dbfs::new(-5.5), Dbfs::new(-0.5)],
        momentary: Lufs::new(-20.0),
        short_term: Lufs::new(-21.0),
        integrated: None,
        silent: false,
        quiet_for: Duration::ZERO,
        clipped: false,
    }
}

fn fixture() -> Snapshot {
    let refused = MountReport {
        remedy: Some("the server refuses the password (401): correct it in secrets.toml".into()),
        server: None,
        ..mount(Role::Fallback, 192, MountState::Refused)
    };
    Snapshot {
        protocol: PROTOCOL,
        build: "0.1.0".into(),
        now: Instant::from_millis(7_983_000),
        wall: WallTime::Unknown,
        started: Instant::ZERO,
        station: "Radio Example".into(),
        input: InputReport {
            name: "hw:CARD=Device".into(),
            state: InputState::Capturing,
            rate_hz: 48_000,
            channels: 2,
            period: 1152,
            frames: Frames(48_000),
            gaps: 2,
            gap_frames: Frames(2_304),
            xruns: 1,
            real_time: String::new(),
            drift: None,
        },
        programme: None,
        levels: Some(levels()),
        renditions: Vec::new(),
        uplinks: Vec::new(),
        outputs: vec![OutputReport {
            name: "main".into(),
            mounts: vec![mount(Role::Primary, 320, MountState::Verified), refused],
            hand_over: None,
        }],
        title: Some("Bach".into()),
        recording: None,
        cost: Cost { cpu_ms: 79_830, resident_kib: 10_240 },
    }
}

fn incident() -> Incident {
    Incident {
        output: "main".into(),
        began: Instant::from_millis(7_971_000),
        cause: "no byte is acknowledged".into(),
        detected_ms: 705,
        cut: 371_000,
        moved: "evicted over the other uplink".into(),
        pause_ms: 1430,
        lost_ms: Some(0),
        healed: None,
    }
}

/// Two uplinks, one of them down, and a pair that has handed over.
fn handed_over() -> Snapshot {
    let studio = UplinkReport {
        name: "studio".into(),
        interface: "eth0".into(),
        metered: false,
        state: UplinkState::Down,
        since: Instant::from_millis(7_971_000),
        reason: Some("there is no link".into()),
        remedy: Some("check the cable".into()),
        addresses: vec!["192.0.2.2".into(), "2001:db8::2".into()],
        gateway: Some("192.0.2.1".into()),
        warnings: vec!["it shares a gateway with lte".into()],
    };
    let lte = UplinkReport {
        name: "lte".into(),
        interface: "wwan0".into(),
        metered: true,
        state: UplinkState::Up,
        since: Instant::ZERO,
        reason: None,
        remedy: None,
        addresses: Vec::new(),
        gateway: None,
        warnings: Vec::new(),
    };
    let held = MountReport { bytes_per_day: 3_240_000, ..mount(Role::Fallback, 192, MountState::Held) };
    let hand_over =
        HandOverReport { listeners_on: Role::Fallback, phase: "away".into(), incidents: vec![incident()] };
    Snapshot {
        wall: WallTime::Unix(86_400 + 3_600),
        uplinks: vec![studio, lte],
        outputs: vec![OutputReport {
            name: "main".into(),
            mounts: vec![mount(Role::Primary, 320, MountState::Verified), held],
            hand_over: Some(hand_over),
        }],
        ..fixture()
    }
}

fn shown(lines: &[Line], width: usize) -> Vec<String> {
    lines.iter().map(|line| line.shown(Style { colour: false, width })).collect()
}

#[test]
fn the_table_tells_everything_in_a_wide_terminal() {
    let lines = shown(&table::status(&fixture(), usize::MAX), usize::MAX);
    let wanted = [
        "Radio Example  clock not set, up 2 h 13 min, CPU 1.0 %, 10.0 MiB, mainstay-air 0.1.0",
        "input      hw:CARD=Device  capturing  48000 Hz stereo, period 1152, 2 gaps (1 overruns) of 2304 frames = 0.048 s",
        "title      Bach",
        "programme  sound  peak -6.0 -2.0 dBFS, short-term -21.0 LUFS",
        "",
        "OUTPUT  ROLE      STATE          SINCE  RENDITION                   LAG    ACKED    A DAY  A MONTH  SERVER         URL",
        "main    primary   verified  2 h 13 min  mp3 320k 48000 Hz stereo  12 ms  2.50 MB  3.46 GB   104 GB  Icecast 2.4.4  http://stream.example.org:8000/primary",
        "        fallback  refused   2 h 13 min  mp3 192k 48000 Hz stereo      -  2.50 MB  2.07 GB    62 GB  -              http://stream.example.org:8000/fallback",
        "  ! the server refuses the password (401): correct it in secrets.toml",
        "        together                                                         5.00 MB  5.53 GB   166 GB",
    ];
    assert_eq!(lines.join("\n"), wanted.join("\n"));
}

#[test]
fn uplinks_and_hand_overs_are_told() {
    let lines = shown(&table::status(&handed_over(), usize::MAX), usize::MAX);
    let at = lines.iter().position(|line| line.starts_with("UPLINK")).unwrap();
    let wanted = [
        "UPLINK  INTERFACE  STATE       SINCE  COST     ADDRESS       GATEWAY",
        "studio  eth0       down         12 s  free     192.0.2.2 +1  192.0.2.1",
        "  ! there is no link; check the cable",
        "  ! it shares a gateway with lte",
        "lte     wwan0      up     2 h 13 min  metered  -             -",
        "",
    ];
    assert_eq!(lines[at..at + wanted.len()].join("\n"), wanted.join("\n"));
    assert_eq!(
        lines.last().unwrap(),
        "  ! listeners on the fallback, away, fallback held at 0.097 GB a month; last incident 00:59:48 UTC (12 s ago): \
         no byte is acknowledged; noticed after 0.705 s, moved (evicted over the other uplink), pause 1.430 s, nothing \
         lost, not healed yet"
    );
    let mut calm = handed_over();
    let hand_over = calm.outputs[0].hand_over.as_mut().unwrap();
    (hand_over.listeners_on, hand_over.phase) = (Role::Primary, "calm".into());
    hand_over.incidents.clear();
    let line = shown(&table::status(&calm, usize::MAX), usize::MAX).pop().unwrap();
    assert!(
        line.starts_with("  = listeners on the primary, calm") && line.ends_with("no incident so far"),
        "{line}"
    );
}

#[test]
fn incidents_are_listed_with_what_is_known() {
    let healed = IncidentRecord {
        incident: Incident { healed: Some(Instant::from_millis(8_031_000)), ..incident() },
        run: "a".into(),
        at: WallTime::Unix(1_709_251_200),
        drill: true,
        open: false,
        lasted_ms: Some(60_000),
    };
    let open = IncidentRecord {
        incident: Incident { lost_ms: None, pause_ms: 0, ..incident() },
        at: WallTime::Unknown,
        drill: false,
        open: true,
        lasted_ms: None,
        ..healed.clone()
    };
    let lines = shown(&incidents::list(&[healed, open], usize::MAX), usize::MAX);
    assert_eq!(lines[0], "2024-03-01 00:00:00 UTC  main  drill  healed after 1 min 0 s");
    assert!(
        lines[1].contains("nothing lost; listeners had 371 kB") && !lines[1].contains("not healed"),
        "{lines:?}"
    );
    assert!(lines[2].starts_with("clock not set") && lines[2].ends_with("under way"), "{lines:?}");
    assert!(lines[3].contains("pause not known, unknown loss"), "{lines:?}");
    assert_eq!(shown(&incidents::list(&[], 80), 80), ["No incidents."]);
}

#[test]
fn a_drill_ends_in_a_verdict() {
    let heard = Heard { bytes: 539_000, changes: 2, longest_pause_ms: 1320, ..Heard::default() };
    let whole = DrillReport {
        output: "main".into(),
        cut_ms: 1331,
        heard,
        buffer_ms: 1638,
        incident: Some(incident()),
        open: vec!["more to come".into()],
    };
    let lines = shown(&drill::report(&whole, usize::MAX), usize::MAX);
    assert!(lines.contains(&"A listener noticed nothing.".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("more to come")), "{lines:?}");
    let torn = DrillReport { heard: Heard { torn: 1, ..heard }, ..whole.clone() };
    let late = DrillReport { buffer_ms: 1000, ..whole };
    for heard in [torn, late] {
        let lines = shown(&drill::report(&heard, 60), 60);
        assert!(lines.contains(&"A listener noticed it.".to_owned()), "{lines:?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 60), "{lines:?}");
    }
}

#[test]
fn the_tier_on_air_is_told_with_what_is_wrong() {
    let tier = |name: &str, condition, faults: Vec<FaultReport>| TierReport {
        name: name.into(),
        what: "x".into(),
        condition,
        since: Instant::from_millis(7_951_000),
        why: (condition != TierCondition::Good && faults.is_empty())
            .then(|| "no card: plug it in".to_string()),
        faults,
    };
    let silence = FaultReport {
        fault: "silence".into(),
        remedy: "check what feeds it".into(),
        acts: true,
        for_ms: 52_000,
    };
    let programme = ProgrammeReport {
        on_air: "emergency".into(),
        since: Instant::from_millis(7_963_000),
        why: "silence on line-in".into(),
        tiers: vec![
            tier("line-in", TierCondition::Bad, vec![silence]),
            tier("studio-b", TierCondition::Bad, Vec::new()),
            tier("emergency", TierCondition::Good, Vec::new()),
            tier("floor", TierCondition::Good, Vec::new()),
        ],
        order: None,
        primary_dropped: false,
    };
    let snapshot = Snapshot { programme: Some(programme.clone()), ..fixture() };
    let wanted = [
        "on air     emergency  for 20 s: silence on line-in; behind it line-in (bad), studio-b (bad), floor",
        "  ! line-in: silence for 52 s; check what feeds it",
        "  ! studio-b for 32 s: no card: plug it in",
    ];
    assert_eq!(shown(&tiers::tiers(&snapshot, usize::MAX), usize::MAX).join("\n"), wanted.join("\n"));
    let order = OrderReport {
        tier: "emergency".into(),
        until: Instant::from_millis(8_043_000),
        until_wall: WallTime::Unknown,
    };
    let ordered = ProgrammeReport { order: Some(order), primary_dropped: true, ..programme };
    let lines =
        shown(&tiers::tiers(&Snapshot { programme: Some(ordered), ..snapshot }, usize::MAX), usize::MAX);
    assert!(lines[1].contains("ordered: emergency for another 1 min 0 s"), "{lines:?}");
    assert!(lines[2].contains("the mounts are closed"), "{lines:?}");
}

#[test]
fn a_narrow_terminal_gets_what_matters_most() {
    for width in 0..200 {
        for snapshot in [fixture(), handed_over()] {
            for line in shown(&watched(&snapshot, width), width) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
    let eighty = shown(&table::status(&fixture(), 80), 80);
    let header = eighty.iter().find(|line| line.starts_with("OUTPUT")).unwrap();
    assert!(header.contains("STATE") && header.contains("URL") && !header.contains("SERVER"), "{header}");
    let remedy = eighty.iter().position(|line| line.starts_with("  ! ")).unwrap();
    assert!(eighty[remedy].contains("refuses the password"), "{}", eighty[remedy]);
    let narrow = shown(&table::status(&fixture(), 30), 30).join(" ");
    let words: Vec<&str> = narrow.split_whitespace().collect();
    assert!(words.join(" ").contains("(401): correct it in secrets.toml"), "{narrow}");
    let forty = shown(&table::status(&fixture(), 40), 40);
    assert!(forty.iter().any(|line| line.contains("verified")));
}

#[test]
fn trouble_is_painted() {
    let mut snapshot = fixture();
    snapshot.input.state =
        InputState::Lost { since: Instant::from_millis(7_971_000), why: "plug it in".into() };
    snapshot.levels =
        Some(Levels { silent: true, quiet_for: Duration::from_secs(25), clipped: true, ..levels() });
    let lines = table::status(&snapshot, usize::MAX);
    let text = shown(&lines, usize::MAX).join("\n");
    assert!(text.contains("lost for 12 s") && text.contains("  ! plug it in"), "{text}");
    assert!(text.contains("SILENT for 25 s  CLIPPED"), "{text}");
    let painted: String =
        lines.iter().map(|line| line.shown(Style { colour: true, width: usize::MAX })).collect();
    for piece in ["\x1b[1;31mrefused", "\x1b[32mverified", "\x1b[1;31mSILENT for 25 s\x1b[0m"] {
        assert!(painted.contains(piece), "{piece:?}: {painted:?}");
    }
}

#[test]
fn no_text_from_outside_reaches_the_terminal_raw() {
    let hostile = "\x1b[2Jx\r\n\u{9b}31m\u{202e}";
    let mut snapshot = handed_over();
    let uplink = &mut snapshot.uplinks[0];
    for text in [&mut uplink.reason, &mut uplink.remedy, &mut uplink.gateway] {
        *text = Some(hostile.into());
    }
    uplink.name = hostile.into();
    uplink.interface = hostile.into();
    uplink.warnings = vec![hostile.into()];
    uplink.addresses = vec![hostile.into()];
    snapshot.station = hostile.into();
    snapshot.title = Some(hostile.into());
    snapshot.build = hostile.into();
    snapshot.input.name = hostile.into();
    snapshot.input.real_time = hostile.into();
    snapshot.input.state = InputState::Lost { since: Instant::ZERO, why: hostile.into() };
    let output = &mut snapshot.outputs[0];
    output.name = hostile.into();
    output.mounts[0].server = Some(hostile.into());
    output.mounts[0].url = hostile.into();
    output.mounts[0].remedy = Some(hostile.into());
    let hand_over = output.hand_over.as_mut().unwrap();
    hand_over.phase = hostile.into();
    hand_over.incidents[0].cause = hostile.into();
    hand_over.incidents[0].moved = hostile.into();
    for line in shown(&watched(&snapshot, 200), 200) {
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
    assert!(!pretty(&snapshot).contains(|c: char| c.is_control() && c != '\n'));
    assert!(!cleaned(&[hostile.into()]).contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn meters_show_level_and_peak() {
    // 56 columns of figures and 60 of bar: one a decibel.
    let lines = shown(&meters::meters(&levels(), 116), 116);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].matches('#').count(), 30);
    assert_eq!(lines[0].find('|').unwrap() - lines[0].find('[').unwrap(), 54);
    assert_eq!((lines[1].matches('#').count(), lines[1].matches('|').count()), (0, 1));
    assert!(lines[1].contains("true   -0.5 dBFS"), "{}", lines[1]);
    assert_eq!(lines[2], "loudness   momentary -20.0  short-term -21.0  integrated - LUFS");
    let silence = Levels { peak: Vec::new(), rms: vec![Dbfs::FLOOR], true_peak: Vec::new(), ..levels() };
    assert!(!shown(&meters::meters(&silence, 0), 500)[0].contains(['#', '|']));
}

#[test]
fn a_box_without_outputs_says_how_to_get_some() {
    let snapshot = Snapshot { outputs: Vec::new(), levels: None, ..fixture() };
    assert!(shown(&table::status(&snapshot, 80), 80).iter().any(|line| line.contains("mainstay reload")));
}

#[test]
fn the_box_can_say_no() {
    let no = done(Reply::Refused { why: "settings.toml:3: x".into() });
    assert!(matches!(no, Err(Ending::Refused(why)) if why == "settings.toml:3: x"));
    let newer = Snapshot { protocol: PROTOCOL + 1, ..fixture() };
    assert!(matches!(snapshot(Reply::Snapshot(Box::new(newer))), Err(Ending::Refused(_))));
    assert!(snapshot(Reply::Snapshot(Box::new(fixture()))).is_ok());
    assert!(snapshot(Reply::Done { changes: Vec::new() }).is_err());
}

#[test]
fn the_command_line_is_sound() {
    Arguments::command().debug_assert();
    let parsed = Arguments::try_parse_from(["mainstay", "status", "--watch", "--socket", "x"]).unwrap();
    assert!(matches!(parsed.verb, Verb::Status { json: false, watch: true }));
    assert!(Arguments::try_parse_from(["mainstay", "log", "--lines", "-1"]).is_err());
    let drill = Arguments::try_parse_from(["mainstay", "drill", "main", "--seconds", "3"]).unwrap();
    assert!(matches!(drill.verb, Verb::Drill { seconds: 3, force: false, json: false, .. }));
    assert!(Arguments::try_parse_from(["mainstay", "drill"]).is_err());
}
