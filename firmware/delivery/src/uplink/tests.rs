//! A station with a studio line, a second one and a SIM, and what happens to them.

use alloc::string::ToString;
use core::time::Duration;

use units::snapshot::UplinkState;

use super::link::{DOWN_COUNT, UP_COUNT};
use super::*;

const STUDIO: UplinkId = UplinkId(0);
const SPARE: UplinkId = UplinkId(1);

fn ingest() -> SocketAddr {
    "203.0.113.10:8000".parse().unwrap()
}

fn other_ingest() -> SocketAddr {
    "198.51.100.7:8443".parse().unwrap()
}

fn studio() -> UplinkConfig {
    UplinkConfig { name: "studio".into(), interface: "eth0".into(), ..UplinkConfig::default() }
}

fn sim() -> UplinkConfig {
    UplinkConfig { name: "sim".into(), interface: "wwan0".into(), metered: true, ..UplinkConfig::default() }
}

fn address(text: &str, length: u8) -> Prefix {
    Prefix { address: text.parse().unwrap(), length }
}

fn eth0() -> Interface {
    Interface {
        name: "eth0".into(),
        index: 2,
        switched_on: true,
        carrier: true,
        arp: true,
        addresses: vec_of([address("192.0.2.20", 24), address("fe80::1", 64)]),
        routes: vec_of([
            Route { to: address("0.0.0.0", 0), gateway: Some("192.0.2.1".parse().unwrap()) },
            Route { to: address("192.0.2.0", 24), gateway: None },
        ]),
        hindrances: Vec::new(),
    }
}

fn wwan0() -> Interface {
    Interface {
        name: "wwan0".into(),
        index: 5,
        arp: false,
        addresses: vec_of([address("100.64.3.4", 32)]),
        routes: vec_of([Route { to: address("0.0.0.0", 0), gateway: None }]),
        ..eth0()
    }
}

fn vec_of<T, const N: usize>(items: [T; N]) -> Vec<T> {
    Vec::from(items)
}

/// What the world answers to a check; `None` leaves it unanswered.
type World = fn(UplinkId, &CheckKind) -> Option<Outcome>;

fn all_well(_: UplinkId, kind: &CheckKind) -> Option<Outcome> {
    Some(match kind {
        CheckKind::Arp(_) => Outcome::Answered { hardware: Some([2, 0, 0, 0, 0, 1]) },
        CheckKind::Icmp(_) | CheckKind::Tcp(_) => Outcome::Answered { hardware: None },
        CheckKind::Http(..) => Outcome::Page(Page { status: 200, ..Page::default() }),
    })
}

fn dead(_: UplinkId, _: &CheckKind) -> Option<Outcome> {
    None
}

fn gateway_only(_: UplinkId, kind: &CheckKind) -> Option<Outcome> {
    match kind {
        CheckKind::Arp(_) | CheckKind::Icmp(_) => Some(Outcome::Answered { hardware: None }),
        CheckKind::Tcp(_) | CheckKind::Http(..) => None,
    }
}

struct Bench {
    core: Uplinks,
    now: Instant,
    world: World,
    asked: Vec<(UplinkId, CheckKind)>,
    said: Vec<Transition>,
    /// Every input, for a second run.
    inputs: Vec<(Instant, Input)>,
    outputs: Vec<Output>,
}

impl Bench {
    fn new(configs: &[UplinkConfig], world: World) -> Self {
        let mut bench = Self {
            core: Uplinks::new(),
            now: Instant::from_millis(1_000),
            world,
            asked: Vec::new(),
            said: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        bench.core.configure(bench.now, configs);
        bench.drain();
        bench
    }

    /// Studio and SIM, both up, both wanting the ingest.
    fn up() -> Self {
        let mut bench = Self::new(&[studio(), sim()], all_well);
        bench.interfaces(&[eth0(), wwan0()]);
        bench.sees(STUDIO, ingest(), Sight::Wanted);
        bench.sees(SPARE, ingest(), Sight::Wanted);
        bench.pass(Duration::from_secs(3));
        assert_eq!(bench.words(), [UplinkState::Up, UplinkState::Up]);
        bench.forget();
        bench
    }

    fn forget(&mut self) {
        self.asked.clear();
        self.said.clear();
    }

    fn interfaces(&mut self, interfaces: &[Interface]) {
        self.feed(Input::Interfaces(interfaces.to_vec()));
    }

    fn sees(&mut self, uplink: UplinkId, ingest: SocketAddr, sight: Sight) {
        self.feed(Input::Ingest { uplink, ingest, sight });
    }

    fn feed(&mut self, input: Input) {
        self.core.handle(self.now, &input);
        self.inputs.push((self.now, input));
        self.drain();
    }

    /// Carries out what is asked: answers come at once, or never.
    fn drain(&mut self) {
        while let Some(output) = self.core.poll() {
            self.outputs.push(output.clone());
            match output {
                Output::Check { check, uplink, kind, patience: _ } => {
                    let outcome = (self.world)(uplink, &kind);
                    self.asked.push((uplink, kind));
                    if let Some(outcome) = outcome {
                        let input = Input::Checked { check, outcome };
                        self.core.handle(self.now, &input);
                        self.inputs.push((self.now, input));
                    }
                }
                Output::Drop { .. } => {}
                Output::Log(transition) => self.said.push(transition),
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            let Some(due) = self.core.wakeup().filter(|due| *due <= end) else { break };
            self.now = due.max(self.now);
            self.feed(Input::Tick);
        }
        assert!(self.core.wakeup().is_none_or(|due| due > end), "it never rests");
        self.now = end;
    }

    fn words(&self) -> Vec<UplinkState> {
        self.core.reports().iter().map(|report| report.state).collect()
    }

    fn best(&self, ingest: Option<SocketAddr>) -> Vec<UplinkId> {
        self.core.best(ingest).collect()
    }

    fn down_because(&self, id: UplinkId) -> &Why {
        match self.core.state(id) {
            Some(State::Down { why }) => why,
            other => panic!("{id:?} is {other:?}"),
        }
    }
}

#[test]
fn without_uplinks_nothing_is_asked_or_reported() {
    let mut bench = Bench::new(&[], all_well);
    bench.interfaces(&[eth0()]);
    bench.sees(STUDIO, ingest(), Sight::Silent);
    bench.feed(Input::Tick);
    assert!(bench.outputs.is_empty() && bench.core.reports().is_empty() && bench.core.is_empty());
    assert_eq!((bench.core.wakeup(), bench.core.state(STUDIO)), (None, None));
    assert!(bench.best(None).is_empty() && !bench.core.usable(STUDIO));
}

#[test]
fn a_link_takes_two_answered_rounds_to_be_up() {
    let mut bench = Bench::new(&[studio()], all_well);
    assert_eq!(bench.words(), [UplinkState::Checking]);
    bench.sees(STUDIO, ingest(), Sight::Wanted);
    assert!(bench.asked.is_empty(), "nobody knows yet whether there is a link");
    bench.interfaces(&[eth0()]);
    assert_eq!(bench.words(), [UplinkState::Checking]);
    assert!(bench.core.usable(STUDIO) && bench.best(None).is_empty());
    let gateway = "192.0.2.1".parse().unwrap();
    let round = [(STUDIO, CheckKind::Arp(gateway)), (STUDIO, CheckKind::Tcp(ingest()))];
    assert_eq!(bench.asked, round);
    for _ in 1..UP_COUNT {
        assert_eq!(bench.words(), [UplinkState::Checking]);
        bench.pass(bench.core.wakeup().unwrap().since(bench.now));
    }
    assert_eq!(bench.words(), [UplinkState::Up]);
    assert_eq!(bench.best(Some(ingest())), [STUDIO]);
}

#[test]
fn what_the_kernel_takes_away_is_down_at_once_and_named() {
    let gone = |change: fn(&mut Interface)| {
        let mut bench = Bench::up();
        let mut changed = eth0();
        change(&mut changed);
        bench.interfaces(&[changed, wwan0()]);
        assert!(!bench.core.usable(STUDIO));
        assert_eq!(bench.best(Some(ingest())), [SPARE]);
        let said = &bench.said[0];
        assert_eq!((said.from, said.to, said.alarm), (UplinkState::Up, UplinkState::Down, true));
        bench.down_because(STUDIO).clone()
    };
    assert_eq!(gone(|it| it.carrier = false), Why::NoCarrier);
    assert_eq!(gone(|it| it.switched_on = false), Why::SwitchedOff);
    // What an interface gives itself when DHCP fails is no address (RFC 3927).
    assert_eq!(gone(|it| it.addresses = vec_of([address("169.254.9.9", 16)])), Why::NoAddress);
    assert_eq!(gone(|it| it.routes.clear()), Why::NoRoute);
    assert_eq!(gone(|it| it.name = "eth7".into()), Why::Vanished { name: "eth0".into() });
}

#[test]
fn a_name_that_never_existed_is_told_with_those_that_do() {
    let config = UplinkConfig { interface: "eht0".into(), ..studio() };
    let mut bench = Bench::new(&[config], all_well);
    bench.interfaces(&[eth0(), wwan0()]);
    let report = &bench.core.reports()[0];
    assert_eq!(report.state, UplinkState::Down);
    assert!(report.reason.as_ref().unwrap().contains("eht0"));
    assert!(report.remedy.as_ref().unwrap().contains("eth0, wwan0"));
    assert_eq!(bench.said.len(), 1);
    // Another adapter is worth a new remedy, not a new line in the log.
    bench.interfaces(&[eth0()]);
    assert!(!bench.core.reports()[0].remedy.as_ref().unwrap().contains("wwan0"));
    assert_eq!(bench.said.len(), 1);
    bench.interfaces(&[Interface { name: "eht0".into(), ..eth0() }]);
    assert_eq!(bench.words(), [UplinkState::Checking]);
}

#[test]
fn a_lan_without_a_gateway_is_enough_for_a_server_in_it() {
    let mut bench = Bench::new(&[studio()], all_well);
    let mut lan = eth0();
    lan.routes.remove(0);
    bench.interfaces(&[lan]);
    assert_eq!(*bench.down_because(STUDIO), Why::NoRoute);
    bench.sees(STUDIO, "192.0.2.99:8000".parse().unwrap(), Sight::Wanted);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.words(), [UplinkState::Up]);
    assert_eq!(bench.core.standing(STUDIO, ingest()), Standing::Unreachable, "no route leads there");
    bench.sees(STUDIO, "192.0.2.99:8000".parse().unwrap(), Sight::Gone);
    assert_eq!(*bench.down_because(STUDIO), Why::NoRoute);
}

#[test]
fn one_missed_round_is_a_suspicion_and_several_are_a_verdict() {
    let mut bench = Bench::up();
    bench.world = |id, kind| if id == STUDIO { gateway_only(id, kind) } else { all_well(id, kind) };
    let mut seen = Vec::new();
    for _ in 0..200 {
        bench.pass(Duration::from_millis(100));
        let word = bench.words()[0];
        if seen.last() != Some(&word) {
            seen.push(word);
        }
    }
    assert_eq!(seen, [UplinkState::Up, UplinkState::Suspect, UplinkState::Down]);
    let gateway = "192.0.2.1".parse().ok();
    assert_eq!(*bench.down_because(STUDIO), Why::NothingBeyond { gateway });
    assert!(bench.core.usable(STUDIO), "packets could still leave");
    let rounds = bench.asked.iter().filter(|(id, kind)| *id == STUDIO && matches!(kind, CheckKind::Tcp(_)));
    assert!(rounds.count() > usize::from(DOWN_COUNT));
    // And back, by as many answered rounds as at first.
    bench.forget();
    bench.world = all_well;
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.words()[0], UplinkState::Up);
    assert_eq!(bench.said.iter().filter(|said| said.alarm).count(), 0);
}

#[test]
fn a_lost_answer_or_two_change_nothing_for_good() {
    let mut bench = Bench::up();
    for _ in 0..5 {
        bench.world = |id, kind| if id == STUDIO { dead(id, kind) } else { all_well(id, kind) };
        while bench.words()[0] == UplinkState::Up {
            bench.pass(Duration::from_millis(100));
        }
        bench.world = all_well;
        bench.pass(Duration::from_secs(4));
        assert_eq!(bench.words()[0], UplinkState::Up);
    }
    assert!(bench.said.iter().all(|said| said.to != UplinkState::Down));
}

#[test]
fn a_silent_gateway_is_told_from_a_dead_line_behind_it() {
    let mut bench = Bench::up();
    bench.world = |id, kind| if id == STUDIO { dead(id, kind) } else { all_well(id, kind) };
    bench.pass(Duration::from_secs(20));
    assert_eq!(*bench.down_because(STUDIO), Why::GatewaySilent("192.0.2.1".parse().unwrap()));
    // A gateway that does not answer but forwards does no harm.
    let mut bench = Bench::up();
    bench.world = |id, kind| match kind {
        CheckKind::Arp(_) | CheckKind::Icmp(_) => None,
        CheckKind::Tcp(_) | CheckKind::Http(..) => all_well(id, kind),
    };
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.words()[0], UplinkState::Up);
    assert!(bench.said.is_empty());
}

#[test]
fn without_the_right_to_raw_sockets_targets_decide_alone() {
    let mut bench = Bench::new(&[studio()], |id, kind| match kind {
        CheckKind::Arp(_) | CheckKind::Icmp(_) => Some(Outcome::Impossible("no CAP_NET_RAW".into())),
        CheckKind::Tcp(_) | CheckKind::Http(..) => all_well(id, kind),
    });
    bench.interfaces(&[eth0()]);
    bench.pass(Duration::from_secs(2));
    // Nothing at all could be asked: as good as the box can tell.
    assert_eq!(bench.words(), [UplinkState::Up]);
    bench.sees(STUDIO, ingest(), Sight::Wanted);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.core.standing(STUDIO, ingest()), Standing::Reachable);
}

#[test]
fn a_busy_uplink_is_not_checked() {
    let mut bench = Bench::up();
    bench.sees(STUDIO, ingest(), Sight::Connected);
    for _ in 0..300 {
        bench.sees(STUDIO, ingest(), Sight::Acknowledged);
        bench.pass(Duration::from_millis(200));
    }
    assert!(bench.asked.is_empty(), "{:?}", bench.asked);
    // A second ingest is not vouched for by the first.
    bench.sees(STUDIO, other_ingest(), Sight::Wanted);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.asked, [(STUDIO, CheckKind::Tcp(other_ingest()))]);
}

#[test]
fn a_metered_uplink_is_checked_on_suspicion_only() {
    let mut bench = Bench::up();
    bench.sees(STUDIO, ingest(), Sight::Connected);
    bench.pass(Duration::from_secs(3600));
    assert!(!bench.asked.iter().any(|(id, _)| *id == SPARE));
    // The studio line fails: the SIM is looked at before it has to stand in.
    bench.sees(STUDIO, ingest(), Sight::Silent);
    assert_eq!(bench.words()[0], UplinkState::Suspect);
    assert!(bench.asked.contains(&(SPARE, CheckKind::Tcp(ingest()))));
    assert_eq!(bench.best(Some(ingest())), [SPARE]);
    bench.forget();
    bench.sees(SPARE, ingest(), Sight::Silent);
    assert!(bench.asked.contains(&(SPARE, CheckKind::Tcp(ingest()))));
}

#[test]
fn silence_of_one_ingest_is_not_the_uplink_when_another_is_heard() {
    let mut bench = Bench::up();
    bench.sees(STUDIO, ingest(), Sight::Connected);
    bench.sees(STUDIO, other_ingest(), Sight::Connected);
    bench.sees(STUDIO, ingest(), Sight::Silent);
    assert_eq!(bench.words()[0], UplinkState::Up);
    assert_eq!(bench.best(Some(ingest())), [SPARE]);
    assert_eq!(bench.best(Some(other_ingest())), [STUDIO, SPARE]);
    // A handshake beside a silent stream proves nothing for the stream.
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.core.standing(STUDIO, ingest()), Standing::Doubtful);
    // Given up, a handshake is all the evidence there is.
    bench.sees(STUDIO, ingest(), Sight::Abandoned);
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.best(Some(ingest())), [STUDIO, SPARE]);
}

#[test]
fn suspicion_is_reversible_and_said_once() {
    let mut bench = Bench::up();
    bench.sees(STUDIO, ingest(), Sight::Connected);
    bench.sees(STUDIO, ingest(), Sight::Silent);
    let Some(State::Suspect { why, since }) = bench.core.state(STUDIO).cloned() else {
        panic!("{:?}", bench.core)
    };
    assert_eq!((why, since), (Why::IngestSilent(ingest()), bench.now));
    bench.sees(STUDIO, ingest(), Sight::Silent);
    bench.sees(STUDIO, ingest(), Sight::Acknowledged);
    assert_eq!(bench.words()[0], UplinkState::Up);
    assert_eq!(bench.core.standing(STUDIO, ingest()), Standing::Reachable);
    assert_eq!(bench.said.len(), 2, "{:?}", bench.said);
}

#[test]
fn a_server_that_is_down_for_a_day_is_suspected_once() {
    let unreachable: World = |id, kind| match kind {
        CheckKind::Tcp(at) if at.port() == 8000 => None,
        CheckKind::Arp(_) | CheckKind::Icmp(_) | CheckKind::Tcp(_) | CheckKind::Http(..) => {
            all_well(id, kind)
        }
    };
    let config = UplinkConfig { targets: vec_of([other_ingest()]), ..studio() };
    let mut bench = Bench::new(&[config], all_well);
    bench.interfaces(&[eth0()]);
    bench.sees(STUDIO, ingest(), Sight::Wanted);
    bench.pass(Duration::from_secs(5));
    bench.forget();
    bench.world = unreachable;
    for _ in 0..1000 {
        bench.sees(STUDIO, ingest(), Sight::Unreached);
        bench.pass(Duration::from_secs(2));
    }
    assert!(bench.said.len() <= 4, "{:?}", bench.said);
    assert_eq!(bench.words(), [UplinkState::Up]);
    assert!(bench.best(Some(ingest())).is_empty());
    assert_eq!(bench.best(None), [STUDIO]);
}

#[test]
fn ingests_that_never_come_again_are_forgotten() {
    let config = UplinkConfig { targets: vec_of([other_ingest()]), ..studio() };
    let mut bench = Bench::new(&[config], all_well);
    bench.interfaces(&[eth0()]);
    let mut sizes = Vec::new();
    for host in 0..2000_u32 {
        let address = core::net::Ipv4Addr::from(0xCB00_7100 + host);
        bench.sees(STUDIO, SocketAddr::new(address.into(), 8000), Sight::Connected);
        sizes.push(postcard::to_allocvec(&bench.core).unwrap().len());
    }
    assert_eq!(sizes[1999], sizes[1000]);
    let newest = core::net::Ipv4Addr::from(0xCB00_7100 + 1999);
    assert_eq!(bench.core.standing(STUDIO, SocketAddr::new(newest.into(), 8000)), Standing::Reachable);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.core.standing(STUDIO, other_ingest()), Standing::Reachable, "what is set stays");
}

#[test]
fn a_captive_portal_is_named() {
    // It lets every TCP connection succeed, and answers each plain request itself.
    fn portal(id: UplinkId, kind: &CheckKind) -> Option<Outcome> {
        match kind {
            CheckKind::Http(..) => Some(Outcome::Page(Page {
                status: 302,
                elsewhere: Some("login.hotel.example".into()),
                form: false,
            })),
            CheckKind::Arp(_) | CheckKind::Icmp(_) | CheckKind::Tcp(_) => all_well(id, kind),
        }
    }
    // Found by a check target on port 80.
    let config = UplinkConfig { targets: vec_of(["192.0.2.80:80".parse().unwrap()]), ..studio() };
    let mut bench = Bench::new(&[config], portal);
    bench.interfaces(&[eth0()]);
    bench.pass(Duration::from_secs(10));
    assert_eq!(*bench.down_because(STUDIO), Why::Portal { login: Some("login.hotel.example".into()) });
    assert!(bench.core.reports()[0].remedy.as_ref().unwrap().contains("login.hotel.example"));
    bench.world = all_well;
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.words(), [UplinkState::Up]);

    // Found by delivery, whose source request got a page.
    let mut bench = Bench::up();
    bench.world = |id, kind| if id == STUDIO { portal(id, kind) } else { all_well(id, kind) };
    bench.sees(STUDIO, ingest(), Sight::Stranger { login: None });
    assert_eq!(bench.best(Some(ingest())), [SPARE]);
    bench.pass(Duration::from_secs(10));
    assert!(matches!(bench.down_because(STUDIO), Why::Portal { .. }));
    bench.world = all_well;
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.best(Some(ingest())), [STUDIO, SPARE]);
}

#[test]
fn a_foreign_certificate_outweighs_a_handshake() {
    let mut bench = Bench::up();
    bench.sees(STUDIO, ingest(), Sight::WrongCertificate);
    bench.pass(Duration::from_secs(10));
    assert_eq!(*bench.down_because(STUDIO), Why::WrongCertificate(ingest()));
    assert_eq!(bench.best(Some(ingest())), [SPARE]);
    // Only a connection can tell that it is right now; from time to time one is worth a try.
    bench.pass(Duration::from_secs(70));
    assert_eq!(bench.words()[0], UplinkState::Up);
    bench.sees(STUDIO, ingest(), Sight::WrongCertificate);
    bench.sees(STUDIO, ingest(), Sight::Connected);
    assert_eq!(bench.best(Some(ingest())), [STUDIO, SPARE]);
}

#[test]
fn a_used_up_sim_is_named_and_hardly_asked() {
    let mut bench = Bench::new(&[sim()], dead);
    bench.interfaces(&[wwan0()]);
    bench.sees(STUDIO, ingest(), Sight::Wanted);
    bench.pass(Duration::from_secs(60));
    assert_eq!(*bench.down_because(STUDIO), Why::SpentSim);
    bench.forget();
    bench.pass(Duration::from_secs(3600));
    assert!(bench.asked.len() <= 120, "{} checks an hour", bench.asked.len());
    assert!(!bench.asked.is_empty(), "nobody would notice that it works again");
    bench.world = all_well;
    bench.pass(Duration::from_secs(61));
    assert_eq!(bench.words(), [UplinkState::Up]);
}

#[test]
fn flaps_alarm_once_until_all_was_well_for_a_while() {
    let mut bench = Bench::up();
    let down = Interface { carrier: false, ..eth0() };
    let flap = |bench: &mut Bench| {
        bench.interfaces(&[down.clone(), wwan0()]);
        bench.pass(Duration::from_millis(300));
        bench.interfaces(&[eth0(), wwan0()]);
        assert_eq!(bench.words()[0], UplinkState::Checking, "a link that is back is not good yet");
        bench.pass(Duration::from_secs(2));
    };
    for _ in 0..10 {
        flap(&mut bench);
    }
    let alarms = |bench: &Bench| bench.said.iter().filter(|said| said.alarm).count();
    assert_eq!(alarms(&bench), 1);
    bench.pass(Duration::from_secs(120));
    flap(&mut bench);
    assert_eq!(alarms(&bench), 2);
}

#[test]
fn another_address_or_interface_under_the_name_ends_old_connections() {
    let mut bench = Bench::up();
    let epoch = bench.core.epoch(STUDIO);
    let mut moved = eth0();
    moved.addresses[0] = address("192.0.2.21", 24);
    bench.interfaces(&[moved.clone(), wwan0()]);
    assert_eq!(bench.words()[0], UplinkState::Checking);
    assert_eq!(bench.core.epoch(STUDIO), epoch + 1);
    assert!(bench.said[0].why.contains("192.0.2.20") && bench.said[0].why.contains("192.0.2.21"));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.words()[0], UplinkState::Up);
    // A further address disturbs nothing; nor does one of two that goes.
    let mut more = moved.clone();
    more.addresses.push(address("192.0.2.22", 24));
    bench.interfaces(&[more, wwan0()]);
    bench.interfaces(&[moved.clone(), wwan0()]);
    assert_eq!((bench.words()[0], bench.core.epoch(STUDIO)), (UplinkState::Up, epoch + 1));
    // The adapter was pulled out and put back between two looks.
    bench.interfaces(&[Interface { index: 9, ..moved }, wwan0()]);
    assert_eq!((bench.words()[0], bench.core.epoch(STUDIO)), (UplinkState::Checking, epoch + 2));
}

#[test]
fn uplinks_that_share_their_way_out_are_warned_about() {
    let second = UplinkConfig { name: "second".into(), interface: "eth1".into(), ..studio() };
    let eth1 =
        Interface { name: "eth1".into(), index: 3, addresses: vec_of([address("192.0.2.30", 24)]), ..eth0() };
    let mut bench = Bench::new(&[studio(), second.clone()], all_well);
    bench.interfaces(&[eth0(), eth1.clone()]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.words(), [UplinkState::Up, UplinkState::Up], "two cards in one LAN work");
    let warnings = |bench: &Bench| -> Vec<Vec<String>> {
        bench.core.reports().iter().map(|report| report.warnings.clone()).collect()
    };
    let both = warnings(&bench);
    assert!(both[0][0].contains("second") && both[1][0].contains("studio"), "{both:?}");
    assert!(both[0][0].contains("gateway"));

    // Two routers may have the same address; their hardware differs.
    let mut bench = Bench::new(&[studio(), second], |id, kind| match kind {
        CheckKind::Arp(_) => Some(Outcome::Answered { hardware: Some([2, 0, 0, 0, 0, id.0]) }),
        CheckKind::Icmp(_) | CheckKind::Tcp(_) | CheckKind::Http(..) => all_well(id, kind),
    });
    bench.interfaces(&[eth0(), eth1]);
    assert!(warnings(&bench).iter().all(Vec::is_empty));
    // But the world sees both as one.
    let public: IpAddr = "203.0.113.99".parse().unwrap();
    bench.feed(Input::Public { uplink: STUDIO, address: public });
    bench.feed(Input::Public { uplink: SPARE, address: public });
    assert!(warnings(&bench).iter().all(|warnings| warnings[0].contains(&public.to_string())));
}

#[test]
fn an_uplink_that_stays_in_the_settings_is_left_alone() {
    let mut bench = Bench::up();
    bench.core.configure(bench.now, &[sim(), studio()]);
    bench.drain();
    assert_eq!(bench.words(), [UplinkState::Up, UplinkState::Up]);
    assert_eq!(bench.core.config(STUDIO).unwrap().name, "sim");
    assert!(bench.said.is_empty() && bench.asked.is_empty());
    let other = UplinkConfig { targets: vec_of([other_ingest()]), ..studio() };
    bench.core.configure(bench.now, &[other]);
    assert_eq!(bench.words(), [UplinkState::Checking]);
    bench.drain();
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.words(), [UplinkState::Up]);
    bench.core.configure(bench.now, &[]);
    assert!(bench.core.reports().is_empty());
}

#[test]
fn an_edge_that_never_answers_counts_as_silence() {
    let mut bench = Bench::new(&[studio()], dead);
    bench.interfaces(&[eth0()]);
    bench.pass(Duration::from_secs(30));
    assert!(matches!(bench.down_because(STUDIO), Why::GatewaySilent(_)));
    // Each check is asked or dropped, none twice.
    let asked = bench.outputs.iter().filter(|output| matches!(output, Output::Check { .. })).count();
    let dropped = bench.outputs.iter().filter(|output| matches!(output, Output::Drop { .. })).count();
    assert!(asked - dropped <= 1, "{asked} asked, {dropped} dropped");
}

/// A year of small troubles, from a seed; what it did is done again by a copy that was read from a recording on the way.
#[test]
fn it_replays() {
    let mut state = 0x9E37_79B9_u64;
    let mut dice = |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let worlds: [World; 3] = [all_well, dead, gateway_only];
    let mut bench = Bench::up();
    let checkpoint = postcard::to_allocvec(&bench.core).unwrap();
    bench.inputs.clear();
    bench.outputs.clear();
    for _ in 0..2000 {
        bench.world = worlds[dice(3) as usize];
        let uplink = UplinkId(dice(3) as u8);
        let ingest = if dice(2) == 0 { ingest() } else { other_ingest() };
        match dice(12) {
            0 => bench.interfaces(&[Interface { carrier: false, ..eth0() }, wwan0()]),
            1 => bench.interfaces(&[Interface { index: 2 + dice(2) as u32, ..eth0() }]),
            2 => bench.interfaces(&[wwan0(), eth0()]),
            3 => bench.sees(uplink, ingest, Sight::Silent),
            4 => bench.sees(uplink, ingest, Sight::Wanted),
            5 => bench.sees(uplink, ingest, Sight::Gone),
            6 => bench.sees(uplink, ingest, Sight::Unreached),
            7 => bench.sees(uplink, ingest, Sight::Acknowledged),
            8 => bench.sees(uplink, ingest, Sight::WrongCertificate),
            9 => bench.sees(uplink, ingest, Sight::Stranger { login: None }),
            10 => bench.sees(uplink, ingest, Sight::Abandoned),
            _ => {}
        }
        bench.pass(Duration::from_millis(dice(9000)));
    }
    let mut again: Uplinks = postcard::from_bytes(&checkpoint).unwrap();
    let mut outputs = Vec::new();
    for (at, input) in &bench.inputs {
        let input: Input = postcard::from_bytes(&postcard::to_allocvec(input).unwrap()).unwrap();
        again.handle(*at, &input);
        while let Some(output) = again.poll() {
            outputs.push(output);
        }
    }
    let sorted = |outputs: &[Output]| {
        let mut all: Vec<_> = outputs.iter().map(|output| alloc::format!("{output:?}")).collect();
        all.sort();
        all
    };
    assert!(bench.outputs.len() > 1000);
    assert_eq!(sorted(&outputs), sorted(&bench.outputs));
    assert_eq!(postcard::to_allocvec(&again).unwrap(), postcard::to_allocvec(&bench.core).unwrap());
}
