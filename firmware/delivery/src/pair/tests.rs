//! Which mounts are a pair, what may be asked of one, and how it begins. Whole hand-overs are played in `tests/sim`.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use units::Instant;
use units::snapshot::{MountState, Role};

use crate::config::{Lone, OnAir, OutputConfig, Proven, Return, ServerKind, Standby};
use crate::event::{Answer, Input, LinkId, Order, Output, Question, Reply, UplinkId, Verdict};
use crate::uplink::UplinkConfig;
use crate::{Config, Delivery, testing};

const START: Instant = Instant::from_millis(1000);

fn proven() -> Proven {
    Proven {
        fallback: true,
        overrides: true,
        evict: true,
        burst: 65_536,
        queue: 524_288,
        source_timeout: Duration::from_secs(10),
    }
}

fn config(standby: Standby, proven: Option<Proven>) -> Config {
    let mut primary = testing::mount("main");
    primary.server.kind = ServerKind::Icecast;
    primary.server.host = "192.0.2.1".to_string();
    let mut fallback = primary.clone();
    fallback.id.role = Role::Fallback;
    fallback.path = "/live_fallback".to_string();
    fallback.rendition = testing::rendition(192);
    let rules = OutputConfig {
        name: "main".to_string(),
        standby,
        on_air: OnAir::Always,
        give_back: Return::Auto,
        settle: Duration::from_secs(60),
        lone: Lone::Both,
        proven,
    };
    let uplink =
        |name: &str| UplinkConfig { name: name.into(), interface: name.into(), ..UplinkConfig::default() };
    Config {
        mounts: Vec::from([primary, fallback]),
        outputs: Vec::from([rules]),
        uplinks: Vec::from([uplink("up0"), uplink("up1")]),
        ..testing::config(&[])
    }
}

fn core(config: Config) -> Delivery {
    let mut core = Delivery::new();
    feed(&mut core, START, Input::Configure(config.into()));
    core
}

fn feed(core: &mut Delivery, now: Instant, input: Input) -> Vec<Output> {
    core.handle(now, &input);
    core::iter::from_fn(|| core.poll()).collect()
}

fn is_pair(config: Config) -> bool {
    core(config).report()[0].hand_over.is_some()
}

#[test]
fn only_what_is_proven_and_fits_is_a_pair() {
    assert!(is_pair(config(Standby::Auto, Some(proven()))));
    assert!(is_pair(config(Standby::Held, Some(proven()))));
    assert!(!is_pair(config(Standby::Full, Some(proven()))));
    assert!(!is_pair(config(Standby::Auto, None)));
    assert!(!is_pair(config(Standby::Auto, Some(Proven { overrides: false, ..proven() }))));
    assert!(!is_pair(config(Standby::Auto, Some(Proven { fallback: false, ..proven() }))));
    // Waiting for the server's own time-out will do.
    assert!(is_pair(config(Standby::Auto, Some(Proven { evict: false, ..proven() }))));
    let mut elsewhere = config(Standby::Auto, Some(proven()));
    elsewhere.mounts[1].server.host = "192.0.2.2".to_string();
    assert!(!is_pair(elsewhere));
    let mut blockless = config(Standby::Auto, Some(proven()));
    for mount in &mut blockless.mounts {
        mount.server.kind = ServerKind::IcecastKh;
    }
    assert!(!is_pair(blockless));
}

#[test]
fn orders_are_refused_in_words() {
    let core = core(config(Standby::Auto, Some(proven())));
    let leave = |output: &str| core.may(&Order::Leave { output: output.to_string() }).unwrap_err();
    assert!(leave("main").contains("not on air"), "{}", leave("main"));
    assert!(leave("other").contains("no output other"), "{}", leave("other"));
    let back = core.may(&Order::GiveBack { output: "main".to_string() }).unwrap_err();
    assert!(back.contains("already"), "{back}");
    let take = core.may(&Order::Take { output: "main".to_string() }).unwrap_err();
    assert!(take.contains("on_air"), "{take}");
}

/// Lets every mount connect; returns the sources' links, primary first.
fn connect(core: &mut Delivery, mut outputs: Vec<Output>) -> Vec<(LinkId, Option<UplinkId>)> {
    outputs.extend(feed(core, START + Duration::from_millis(20), Input::Tick));
    let mut links = Vec::new();
    for output in outputs {
        if let Output::Connect { link, uplink, .. } = output {
            links.push((link, uplink));
        }
    }
    for &(link, _) in &links {
        let reply = Reply { status: 200, verdict: Verdict::Go, server: None };
        for input in [Input::Reached { link }, Input::Connected { link }, Input::Replied { link, reply }] {
            feed(core, START + Duration::from_millis(30), input);
        }
    }
    links
}

#[test]
fn the_fallback_is_held_over_the_other_uplink_by_single_bytes() {
    let mut core = Delivery::new();
    let outputs = feed(&mut core, START, Input::Configure(config(Standby::Auto, Some(proven())).into()));
    let links = connect(&mut core, outputs);
    assert_eq!(links.iter().map(|(_, way)| *way).collect::<Vec<_>>(), [Some(UplinkId(0)), Some(UplinkId(1))]);
    let fallback = links[1].0;
    let mut now = START + Duration::from_secs(1);
    let mut filler = Vec::new();
    for _ in 0..120 {
        now += Duration::from_millis(100);
        for output in feed(&mut core, now, Input::Tick) {
            if let Output::Fill { link, bytes } = output {
                assert_eq!(link, fallback);
                filler.push(bytes);
                let acked = filler.len() as u64;
                feed(&mut core, now, Input::Wrote { link, bytes, acked, blocked: false });
            }
        }
    }
    assert!(filler.len() > 1 && filler.iter().all(|&bytes| bytes == 1), "{filler:?}");
    assert_eq!(core.report()[0].mounts[1].state, MountState::Held);
}

#[test]
fn uplinks_behind_one_public_address_are_found_by_what_the_server_sees() {
    for (other, shared) in [("203.0.113.5", true), ("203.0.113.6", false)] {
        let mut core = Delivery::new();
        let config = config(Standby::Auto, Some(proven()));
        let agent = config.agent.clone();
        let outputs = feed(&mut core, START, Input::Configure(config.into()));
        connect(&mut core, outputs);
        let mut asked = Vec::new();
        let mut now = START;
        for _ in 0..100 {
            now += Duration::from_millis(100);
            let mut outputs = feed(&mut core, now, Input::Tick);
            while let Some(output) = outputs.pop() {
                let Output::Ask { link, question: Question::Source { path }, .. } = output else { continue };
                let seen = if path == "/live" { "203.0.113.5" } else { other };
                let address = Some(seen.parse().unwrap());
                let answer =
                    Answer::Source { read: None, agent: Some(agent.clone()), listeners: Some(0), address };
                asked.push(path);
                outputs.extend(feed(&mut core, now, Input::Answered { link, answer }));
            }
        }
        assert_eq!(asked, ["/live_fallback", "/live"]);
        for uplink in core.uplinks() {
            assert_eq!(uplink.warnings.iter().any(|what| what.contains("203.0.113.5")), shared, "{uplink:?}");
        }
    }
}
