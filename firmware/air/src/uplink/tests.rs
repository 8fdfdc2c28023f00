//! The edge and the core together on a real kernel: a box with two uplinks, each to a network namespace of its own.
//!
//! Each test runs itself again in a network namespace (`unshare`), which goes with it; the far ends are namespaces of single
//! threads. Nothing outside is touched.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};

use delivery::uplink::{Sight, Standing, State, Why};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::task::LocalSet;
use units::Instant;

use super::netlink::Neighbour;
use super::*;

const STUDIO: UplinkId = UplinkId(0);
const SPARE: UplinkId = UplinkId(1);
const INGEST: &str = "198.51.100.1:8000";

/// Set for the run inside.
const INSIDE: &str = "MAINSTAY_TEST_NAMESPACE";

/// Far more than anything here takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

fn in_a_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async { tokio::time::timeout(LONGEST, body()).await.unwrap() });
        return;
    }
    let kinds = if nix::unistd::geteuid().is_root() { "-n" } else { "-Urn" };
    let output = Command::new("unshare")
        .arg(kinds)
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("uplink::tests::{name}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("util-linux is installed");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A thread in a network namespace of its own: what it opens, or runs, is there.
struct Far {
    work: Sender<Box<dyn FnOnce() + Send>>,
    thread: i32,
}

impl Far {
    fn new() -> Self {
        let (work, orders) = channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            orders.into_iter().for_each(|order| order());
        });
        Self { work, thread: told.recv().unwrap() }
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        self.work.send(Box::new(move || tell.send(work()).unwrap())).unwrap();
        told.recv().unwrap()
    }

    fn ip(&self, words: &str) {
        let words = words.to_string();
        self.run(move || ip(&words));
    }

    /// A cable from the box's `{side}0` to our `{side}1`, with addresses at both ends and a default route to us.
    fn cable(&self, side: &str, number: u8, host: u8) {
        ip(&format!("link add {side}0 type veth peer name {side}1 netns {}", self.thread));
        self.ip(&format!("addr add 10.{number}.0.1/24 dev {side}1"));
        self.ip(&format!("addr add fd00:{number}::1/64 dev {side}1 nodad"));
        self.ip(&format!("link set {side}1 up"));
        ip(&format!("link set {side}0 up"));
        ip(&format!("addr add fd00:{number}::2/64 dev {side}0 nodad"));
        self.address(side, number, host);
    }

    fn address(&self, side: &str, number: u8, host: u8) {
        ip(&format!("addr add 10.{number}.0.{host}/24 dev {side}0"));
        ip(&format!("route add default via 10.{number}.0.1 dev {side}0 metric {number}00"));
    }

    /// The world behind the router: an ingest that accepts.
    fn ingest(&self) -> TcpListener {
        self.ip("link set lo up");
        self.ip("addr add 198.51.100.1/32 dev lo");
        self.run(|| TcpListener::bind(INGEST).unwrap())
    }
}

fn configs() -> Vec<UplinkConfig> {
    let config = |name: &str, interface: &str| UplinkConfig {
        name: name.into(),
        interface: interface.into(),
        ..UplinkConfig::default()
    };
    vec![config("studio", "a0"), config("spare", "b0")]
}

/// Edge and core, wired as the daemon wires them.
struct Station {
    edge: Uplinks,
    inbox: mpsc::Receiver<Input>,
    core: delivery::uplink::Uplinks,
}

impl Station {
    fn new(configs: &[UplinkConfig]) -> Self {
        let (edge, inbox) = Uplinks::new();
        let mut core = delivery::uplink::Uplinks::new();
        edge.configure(configs);
        core.configure(crate::clock::now(), configs);
        Self { edge, inbox, core }
    }

    fn feed(&mut self, input: &Input) {
        self.core.handle(crate::clock::now(), input);
        while let Some(output) = self.core.poll() {
            if let Output::Log(transition) = &output {
                println!(
                    "{} {:?} -> {:?}: {}",
                    transition.name, transition.from, transition.to, transition.why
                );
            }
            self.edge.carry_out(output);
        }
    }

    fn wants(&mut self, uplink: UplinkId) {
        let ingest = INGEST.parse().unwrap();
        self.feed(&Input::Ingest { uplink, ingest, sight: Sight::Wanted });
    }

    /// Runs until the core is as it should be.
    async fn until(&mut self, what: &str, is: impl Fn(&delivery::uplink::Uplinks) -> bool) {
        let began: Instant = crate::clock::now();
        while !is(&self.core) {
            let took = crate::clock::now().since(began);
            assert!(took < LONGEST / 3, "never {what}: {:#?}", self.core.reports());
            let due = self.core.wakeup().unwrap_or(began + LONGEST);
            let input = tokio::select! {
                input = self.inbox.recv() => input.unwrap(),
                () = tokio::time::sleep_until(crate::clock::tokio_instant(due)) => Input::Tick,
            };
            self.feed(&input);
        }
    }
}

fn why(core: &delivery::uplink::Uplinks, id: UplinkId) -> Option<&Why> {
    match core.state(id)? {
        State::Down { why } | State::Suspect { why, .. } => Some(why),
        State::Checking | State::Up => None,
    }
}

fn is_up(core: &delivery::uplink::Uplinks, id: UplinkId) -> bool {
    core.state(id) == Some(&State::Up)
}

#[test]
fn news_of_the_kernel_reach_the_core() {
    in_a_namespace("news_of_the_kernel_reach_the_core", || async {
        let (a, b) = (Far::new(), Far::new());
        let _ingests = (a.ingest(), b.ingest());
        let ingest: SocketAddr = INGEST.parse().unwrap();
        let mut station = Station::new(&configs());
        station.wants(STUDIO);
        station.wants(SPARE);
        station.until("told that there is no a0", |core| {
            matches!(why(core, STUDIO), Some(Why::NoSuchInterface { exist, .. }) if exist.is_empty())
        }).await;
        a.cable("a", 1, 2);
        b.cable("b", 2, 2);
        station.until("up", |core| is_up(core, STUDIO) && is_up(core, SPARE)).await;
        station.until("reached", |core| core.standing(STUDIO, ingest) == Standing::Reachable).await;
        assert_eq!(station.core.best(Some(ingest)).collect::<Vec<_>>(), [STUDIO, SPARE]);
        let report = &station.core.reports()[0];
        assert_eq!(report.addresses, ["10.1.0.2", "fd00:1::2"]);
        assert_eq!(report.gateway.as_deref(), Some("10.1.0.1"));

        a.ip("link set a1 down");
        station.until("without a link", |core| why(core, STUDIO) == Some(&Why::NoCarrier)).await;
        assert_eq!(station.core.best(Some(ingest)).collect::<Vec<_>>(), [SPARE]);
        a.ip("link set a1 up");
        station.until("up again", |core| is_up(core, STUDIO)).await;

        let epoch = station.core.epoch(STUDIO);
        ip("addr del 10.1.0.2/24 dev a0");
        a.address("a", 1, 3);
        station
            .until("at another address", |core| {
                is_up(core, STUDIO) && core.reports()[0].addresses[0] == "10.1.0.3"
            })
            .await;
        assert_ne!(station.core.epoch(STUDIO), epoch);

        ip("route del default dev a0");
        station.until("without a route", |core| why(core, STUDIO) == Some(&Why::NoRoute)).await;
        ip("link del a0");
        let gone = Why::Vanished { name: "a0".into() };
        station.until("gone", |core| why(core, STUDIO) == Some(&gone)).await;
        a.cable("a", 1, 2);
        station.until("re-created", |core| is_up(core, STUDIO)).await;

        // The router stays, what is behind it goes silent.
        a.ip("addr del 198.51.100.1/32 dev lo");
        let gateway = "10.1.0.1".parse().ok();
        let beyond = Why::NothingBeyond { gateway };
        station.until("cut off", |core| why(core, STUDIO) == Some(&beyond)).await;
        assert!(is_up(&station.core, SPARE));
        // And the router too, its link still up.
        a.ip("addr flush dev a1");
        let silent = Why::GatewaySilent("10.1.0.1".parse().unwrap());
        station.until("silent", |core| why(core, STUDIO) == Some(&silent)).await;
        assert_eq!(station.core.best(Some(ingest)).collect::<Vec<_>>(), [SPARE]);
    });
}

#[test]
fn two_cards_in_one_lan_work() {
    in_a_namespace("two_cards_in_one_lan_work", || async {
        let lan = Far::new();
        let _ingest = lan.ingest();
        lan.ip("link add lan type bridge");
        lan.ip("addr add 10.1.0.1/24 dev lan");
        lan.ip("link set lan up");
        for (side, host) in [("a", 2), ("b", 3)] {
            ip(&format!("link add {side}0 type veth peer name {side}1 netns {}", lan.thread));
            lan.ip(&format!("link set {side}1 master lan up"));
            ip(&format!("link set {side}0 up"));
            ip(&format!("addr add 10.1.0.{host}/24 dev {side}0"));
            ip(&format!("route add default via 10.1.0.1 dev {side}0 metric {host}00"));
        }
        let set = |name: &str, value: &str| {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{name}"), value).unwrap();
        };
        let ingest = INGEST.parse().unwrap();
        let reachable = |core: &delivery::uplink::Uplinks, id| {
            is_up(core, id) && core.standing(id, ingest) == Standing::Reachable
        };
        // As the image has it.
        set("rp_filter", "2");
        set("arp_ignore", "1");
        set("arp_announce", "2");
        let mut station = Station::new(&configs());
        station.wants(STUDIO);
        station.wants(SPARE);
        station.until("both up", |core| reachable(core, STUDIO) && reachable(core, SPARE)).await;
        for report in station.core.reports() {
            assert!(report.warnings.len() == 1 && report.warnings[0].contains("same gateway"), "{report:?}");
        }
        // As some machines have it: what hinders is told.
        set("rp_filter", "1");
        set("arp_ignore", "0");
        let mut station = Station::new(&configs());
        station.until("told", |core| core.reports().iter().all(|report| report.warnings.len() == 3)).await;
        station.wants(SPARE);
        station.until("cut off", |core| matches!(why(core, SPARE), Some(Why::NothingBeyond { .. }))).await;
    });
}

#[test]
fn a_storm_of_events_leaves_the_right_picture() {
    in_a_namespace("a_storm_of_events_leaves_the_right_picture", || async {
        let a = Far::new();
        a.cable("a", 1, 2);
        let mut station = Station::new(&configs()[..1]);
        station.until("up", |core| is_up(core, STUDIO)).await;
        // Far more than a netlink socket holds while nobody reads it: the kernel drops events (ENOBUFS).
        let batch: String = (0..20_000)
            .map(|i| format!("route replace 172.{}.{}.0/24 dev a0\n", 16 + i / 256 % 16, i % 256))
            .chain(["link set a0 down\n".to_string()])
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), batch).unwrap();
        ip(&format!("-force -batch {}", file.path().display()));
        let table = std::fs::read_to_string("/proc/net/netlink").unwrap();
        let drops = |line: &str| line.split_whitespace().nth(8).and_then(|drops| drops.parse::<u64>().ok());
        assert!(table.lines().filter_map(drops).sum::<u64>() > 0, "nothing was dropped:\n{table}");
        station.until("switched off", |core| why(core, STUDIO) == Some(&Why::SwitchedOff)).await;
    });
}

#[test]
fn checks_tell_what_is_there() {
    in_a_namespace("checks_tell_what_is_there", || async {
        let a = Far::new();
        a.cable("a", 1, 2);
        let _ingest = a.ingest();
        let page = a.run(|| TcpListener::bind("10.1.0.1:80").unwrap());
        std::thread::spawn(move || {
            for stream in page.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\n\r\n");
            }
        });
        let mut station = Station::new(&configs()[..1]);
        station.until("up", |core| is_up(core, STUDIO)).await;
        let patience = Duration::from_millis(900);
        let check = async |kind: CheckKind| station.edge.check(STUDIO, &kind, patience).await;
        let hardware = a.run(|| {
            let output = Command::new("ip").args(["-o", "link", "show", "a1"]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_string()
        });
        let Outcome::Answered { hardware: Some(found) } =
            check(CheckKind::Arp("10.1.0.1".parse().unwrap())).await
        else {
            panic!("the gateway answers ARP")
        };
        assert_eq!(found.map(|byte| format!("{byte:02x}")).join(":"), hardware);
        assert_eq!(check(CheckKind::Arp("10.1.0.77".parse().unwrap())).await, Outcome::Silent);
        let answered = Outcome::Answered { hardware: None };
        for gateway in ["10.1.0.1", "fd00:1::1"] {
            assert_eq!(check(CheckKind::Icmp(gateway.parse().unwrap())).await, answered, "{gateway}");
        }
        assert_eq!(check(CheckKind::Tcp(INGEST.parse().unwrap())).await, answered);
        assert_eq!(check(CheckKind::Tcp("198.51.100.1:1".parse().unwrap())).await, Outcome::Refused);
        assert_eq!(check(CheckKind::Tcp("203.0.113.1:1".parse().unwrap())).await, Outcome::Silent);
        assert_eq!(check(CheckKind::Tcp("[2001:db8::1]:1".parse().unwrap())).await, Outcome::Unreachable);
        let page = check(CheckKind::Http("10.1.0.1:80".parse().unwrap(), "10.1.0.1".into())).await;
        let Outcome::Page(page) = page else { panic!("{page:?}") };
        assert_eq!((page.status, page.elsewhere.as_deref()), (302, Some("login.example")));

        // The way of those who may not open raw sockets: the kernel has talked to this neighbour just now.
        let (link, _) = station.edge.link(STUDIO).unwrap();
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        assert_eq!(check::neighbour(&link, "10.1.0.1".parse().unwrap(), &denied).await, answered);
        let nobody: IpAddr = "10.1.0.77".parse().unwrap();
        assert_eq!(check::neighbour(&link, nobody, &denied).await, Outcome::Silent);
        let index = link.interface.index;
        assert_eq!(netlink::neighbour(index + 1, nobody).await.unwrap(), Neighbour::Unknown);
    });
}

/// A name server that knows `radio.example` at `address`, `long.example` over TCP only, and no other name.
fn name_server(far: &Far, at: &'static str, address: &str) {
    let address: IpAddr = address.parse().unwrap();
    let answer = move |question: &[u8], over_tcp: bool| {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.add_query(query.clone());
        let name = query.name().to_string();
        let IpAddr::V4(four) = address else { panic!("the tests' names have IPv4 addresses") };
        if name == "long.example." && !over_tcp {
            answer.metadata.truncation = true;
        } else if name == "radio.example." || name == "long.example." {
            if query.query_type() == RecordType::A {
                let alias = Name::from_ascii("host.example.").unwrap();
                answer.add_answer(Record::from_rdata(alias, 60, RData::A(four.into())));
            }
        } else {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.to_vec().unwrap()
    };
    let (datagrams, streams) =
        far.run(move || (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap()));
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
            let _ = datagrams.send_to(&answer(&buffer[..length], false), from);
        }
    });
    std::thread::spawn(move || {
        for stream in streams.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            let answer = answer(&question, true);
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
}

#[test]
fn each_uplink_asks_its_own_name_servers() {
    in_a_namespace("each_uplink_asks_its_own_name_servers", || async {
        let (a, b) = (Far::new(), Far::new());
        a.cable("a", 1, 2);
        b.cable("b", 2, 2);
        // The same server address behind both: only the interface tells them apart.
        for (far, address) in [(&a, "192.0.2.1"), (&b, "192.0.2.2")] {
            far.ip("link set lo up");
            far.ip("addr add 198.51.100.53/32 dev lo");
            name_server(far, "198.51.100.53:53", address);
        }
        let mut configs = configs();
        for config in &mut configs {
            config.dns = vec!["198.51.100.53".parse().unwrap()];
        }
        // A dead one first.
        configs[1].dns.insert(0, "10.2.0.99".parse().unwrap());
        let mut station = Station::new(&configs);
        station.until("up", |core| is_up(core, STUDIO) && is_up(core, SPARE)).await;
        let resolve = async |uplink, host: &str| station.edge.resolve(Some(uplink), host).await;
        let only = |address: &str| -> Result<Vec<IpAddr>, Failure> { Ok(vec![address.parse().unwrap()]) };
        assert_eq!(resolve(STUDIO, "radio.example").await, only("192.0.2.1"));
        assert_eq!(resolve(SPARE, "radio.example").await, only("192.0.2.2"));
        assert_eq!(resolve(STUDIO, "long.example").await, only("192.0.2.1"));
        assert_eq!(resolve(STUDIO, "no.example").await, Err(Failure::NoSuchName));
        assert_eq!(resolve(STUDIO, "203.0.113.5").await, only("203.0.113.5"));
        assert_eq!(resolve(UplinkId(7), "radio.example").await, Err(Failure::Unreachable));
        a.ip("addr del 198.51.100.53/32 dev lo");
        assert_eq!(resolve(STUDIO, "radio.example").await, Err(Failure::NoNameServer));
        assert_eq!(resolve(SPARE, "radio.example").await, only("192.0.2.2"));
        // Nothing is remembered: a name is asked for at each attempt.
        a.ip("addr add 198.51.100.53/32 dev lo");
        assert_eq!(resolve(STUDIO, "radio.example").await, only("192.0.2.1"));

        // And a socket that is bound leaves by its uplink, whatever the routes prefer.
        let listener = b.run(|| TcpListener::bind("198.51.100.53:8000").unwrap());
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        station.edge.bind(Some(SPARE), &socket).unwrap();
        let stream = socket.connect("198.51.100.53:8000".parse().unwrap()).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip().to_string(), "10.2.0.2");
        assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());
        tune(&stream, Duration::from_secs(10)).unwrap();
        station.edge.bind(None, &tokio::net::TcpSocket::new_v4().unwrap()).unwrap();
        let error = station.edge.bind(Some(UplinkId(7)), &tokio::net::TcpSocket::new_v4().unwrap());
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    });
}
