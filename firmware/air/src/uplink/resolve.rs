//! Names, looked up through one uplink: each question leaves by its interface and asks its own name servers, for what a
//! carrier's server answers is often good on that carrier only (NAT64, split zones).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use delivery::event::Failure;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UdpSocket};

use super::bind;
use super::bus::Bus;
use super::netlink::Link;
use crate::aside::aside;

/// Looks `host` up through an interface. `servers` are those of the settings. An empty answer means that the name exists and
/// has no address.
pub(super) async fn through(
    link: &Link,
    servers: &[IpAddr],
    bus: &Bus,
    host: &str,
) -> Result<Vec<IpAddr>, Failure> {
    if let Some(known) = without_asking(host) {
        return Ok(known);
    }
    let servers = match servers {
        [] => found(link, bus).await,
        set => set.iter().map(|server| at(*server, link.interface.index)).collect(),
    };
    if servers.is_empty() {
        // Better by some way than off air: only the kernel's own choice knows a name server here.
        return unbound(host).await;
    }
    let mut name = Name::from_ascii(host).map_err(|_| Failure::NoSuchName)?;
    name.set_fqdn(true);
    let interface = link.interface.name.as_str();
    let (four, six) = tokio::join!(
        ask_all(interface, &servers, &name, RecordType::A),
        ask_all(interface, &servers, &name, RecordType::AAAA),
    );
    both(four, six, has_global_v6(link))
}

/// Looks `host` up as the machine does for everybody.
pub(super) async fn unbound(host: &str) -> Result<Vec<IpAddr>, Failure> {
    let name = host.to_string();
    let outcome = aside("resolve", move || {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in (name.as_str(), 0).to_socket_addrs()?.map(|address| address.ip()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        io::Result::Ok(addresses)
    });
    match outcome.await {
        Some(Ok(addresses)) => Ok(addresses),
        // The C library gives its verdict as text only: EAI_AGAIN is a dead name server, the rest a dead name.
        Some(Err(error)) if error.to_string().contains("emporary failure") => Err(Failure::NoNameServer),
        Some(Err(_)) => Err(Failure::NoSuchName),
        None => Err(Failure::Local("no thread to look names up".to_string())),
    }
}

/// Literal addresses and what `/etc/hosts` says (hosts(5)).
fn without_asking(host: &str) -> Option<Vec<IpAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return Some(vec![address]);
    }
    let known = hosts(&read(Path::new("/etc/hosts")), host);
    (!known.is_empty()).then_some(known)
}

fn hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        if let Some(address) = address
            && words.any(|name| name.eq_ignore_ascii_case(host))
        {
            found.push(address);
        }
    }
    found
}

/// The name servers that whoever manages the network has for an interface, nearest knowledge first.
async fn found(link: &Link, bus: &Bus) -> Vec<SocketAddr> {
    let index = link.interface.index;
    // What NetworkManager, ModemManager or a person gave systemd-resolved for the link, then what systemd-networkd knows.
    for (file, key) in [
        (format!("/run/systemd/resolve/netif/{index}"), "SERVERS="),
        (format!("/run/systemd/netif/links/{index}"), "DNS="),
    ] {
        let servers = of_link(&read(Path::new(&file)), key, index);
        if !servers.is_empty() {
            return servers;
        }
    }
    // NetworkManager without resolved has them for itself. A stub on this machine cannot be reached through an interface.
    let known = bus.name_servers(&link.interface.name).await;
    let known = known.into_iter().filter(|server| !server.is_loopback()).take(MOST_SERVERS);
    let known: Vec<SocketAddr> = known.map(|server| at(server, index)).collect();
    if !known.is_empty() {
        return known;
    }
    // Without any: the servers of all links, as NetworkManager, resolved or DHCP wrote them.
    for file in
        ["/run/NetworkManager/no-stub-resolv.conf", "/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"]
    {
        let servers = of_resolv_conf(&read(Path::new(file)), index);
        if !servers.is_empty() {
            return servers;
        }
    }
    Vec::new()
}

/// A missing file is an empty one; none of these is ever large.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Lines of systemd's state files: words of the form `address[:port][%interface][#name]`.
fn of_link(text: &str, key: &str, index: u32) -> Vec<SocketAddr> {
    let words = text.lines().filter_map(|line| line.strip_prefix(key)).flat_map(str::split_whitespace);
    let server = |word: &str| -> Option<SocketAddr> {
        let bare = word.split(['#', '%']).next().unwrap_or_default();
        bare.parse().ok().map(|address| at(address, index)).or_else(|| bare.parse().ok())
    };
    words.filter_map(server).take(MOST_SERVERS).collect()
}

/// `nameserver` lines (resolv.conf(5)). A stub on this machine cannot be reached through an interface.
fn of_resolv_conf(text: &str, index: u32) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver")
            && let Some(word) = words.next()
            && let Ok(address) = word.split('%').next().unwrap_or_default().parse::<IpAddr>()
            && !address.is_loopback()
            && servers.len() < MOST_SERVERS
        {
            servers.push(at(address, index));
        }
    }
    servers
}

/// A name server's port on an address; a link-local one needs to know its link (RFC 4007).
fn at(address: IpAddr, index: u32) -> SocketAddr {
    match address {
        IpAddr::V6(six) if six.is_unicast_link_local() => SocketAddrV6::new(six, PORT, 0, index).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(address, PORT),
    }
}

fn has_global_v6(link: &Link) -> bool {
    link.interface.addresses.iter().any(|own| match own.address {
        IpAddr::V6(six) => !six.is_unicast_link_local() && !six.is_loopback(),
        IpAddr::V4(_) => false,
    })
}

/// What both families' answers come to. IPv6 first where the uplink has it (RFC 6724), not at all where it has not.
fn both(
    four: Result<Vec<IpAddr>, Failure>,
    six: Result<Vec<IpAddr>, Failure>,
    has_v6: bool,
) -> Result<Vec<IpAddr>, Failure> {
    match (four, six) {
        (Ok(four), Ok(six)) if has_v6 || four.is_empty() => Ok(six.into_iter().chain(four).collect()),
        (Ok(four), _) if !four.is_empty() => Ok(four),
        (_, Ok(six)) if !six.is_empty() => Ok(six),
        // A name that has neither, and one family's server that did not say so.
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
        (Ok(four), Ok(_)) => Ok(four),
    }
}

/// Asks one server after the other, twice: first quickly, then with the patience that a satellite or a loaded cell needs.
async fn ask_all(
    interface: &str,
    servers: &[SocketAddr],
    name: &Name,
    kind: RecordType,
) -> Result<Vec<IpAddr>, Failure> {
    for patience in PATIENCE {
        for server in servers {
            let asked = tokio::time::timeout(patience, ask(interface, *server, name, kind));
            if let Ok(Ok(Some(verdict))) = asked.await {
                return verdict;
            }
        }
    }
    Err(Failure::NoNameServer)
}

/// One question to one server; `None` if another should be asked.
async fn ask(
    interface: &str,
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
) -> io::Result<Option<Result<Vec<IpAddr>, Failure>>> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = question.to_vec().map_err(io::Error::other)?;

    let any =
        if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    bind::to_device(&socket, interface)?;
    // Connected: only this server's answers come in (RFC 5452).
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = [0; LONGEST_DATAGRAM];
    // Bounded: whoever floods us is not a name server.
    for _ in 0..MOST_DATAGRAMS {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = answer_to(&question, &buffer[..length]) {
            if !answer.metadata.truncation {
                return Ok(verdict(&answer, kind));
            }
            let whole = over_tcp(interface, server, &bytes).await?;
            return Ok(answer_to(&question, &whole).and_then(|answer| verdict(&answer, kind)));
        }
    }
    Ok(None)
}

/// The same over TCP (RFC 7766): two bytes of length, then the message.
async fn over_tcp(interface: &str, server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    bind::to_device(&socket, interface)?;
    let mut stream = socket.connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The message, if it answers this question.
fn answer_to(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let ours = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    ours.then_some(answer)
}

fn verdict(answer: &Message, kind: RecordType) -> Option<Result<Vec<IpAddr>, Failure>> {
    if answer.metadata.response_code == ResponseCode::NXDomain {
        return Some(Err(Failure::NoSuchName));
    }
    if answer.metadata.response_code != ResponseCode::NoError {
        // This server cannot tell; another may.
        return None;
    }
    let mut addresses = Vec::new();
    // Beside addresses there may be the aliases on the way to them (CNAME).
    for record in &answer.answers {
        let address = if let RData::A(address) = &record.data {
            IpAddr::V4(address.0)
        } else if let RData::AAAA(address) = &record.data {
            IpAddr::V6(address.0)
        } else {
            continue;
        };
        let asked_for = address.is_ipv4() == (kind == RecordType::A);
        if asked_for && !addresses.contains(&address) && addresses.len() < MOST_ADDRESSES {
            addresses.push(address);
        }
    }
    Some(Ok(addresses))
}

const PORT: u16 = 53;
const PATIENCE: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];
const MOST_SERVERS: usize = 4;
const MOST_DATAGRAMS: usize = 16;
/// More than a mount tries within its patience.
const MOST_ADDRESSES: usize = 16;
/// Without EDNS a server keeps to 512 bytes (RFC 1035 section 4.2.1); some do not.
const LONGEST_DATAGRAM: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn literal_addresses_and_hosts_are_never_asked_for() {
        assert_eq!(without_asking("192.0.2.7"), Some(ips(&["192.0.2.7"])));
        assert_eq!(without_asking("[2001:db8::1]"), Some(ips(&["2001:db8::1"])));
        assert_eq!(without_asking("stream.invalid"), None);
        let text =
            "127.0.0.1 localhost # nothing\n192.0.2.9\tIcecast.lan icecast\n#192.0.2.8 icecast\nx icecast\n";
        assert_eq!(hosts(text, "icecast"), ips(&["192.0.2.9"]));
        assert_eq!(hosts(text, "icecast.LAN"), ips(&["192.0.2.9"]));
        assert!(hosts(text, "nothing").is_empty());
    }

    #[test]
    fn name_servers_are_read_from_where_they_are_kept() {
        let servers = |list: Vec<SocketAddr>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let resolved =
            "LLMNR=yes\nSERVERS=192.0.2.53 2001:db8::53%3#dns.example 192.0.2.54:5353 fe80::1%3 junk\n";
        assert_eq!(
            servers(of_link(resolved, "SERVERS=", 3)),
            ["192.0.2.53:53", "[2001:db8::53]:53", "192.0.2.54:5353", "[fe80::1%3]:53"]
        );
        let conf = "# made by somebody\nsearch lan\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver\n";
        assert_eq!(servers(of_resolv_conf(conf, 7)), ["192.0.2.1:53", "[fe80::1%7]:53"]);
    }

    #[test]
    fn families_are_joined() {
        let (four, six) = (ips(&["192.0.2.1"]), ips(&["2001:db8::1"]));
        let all: Vec<IpAddr> = six.iter().chain(&four).copied().collect();
        let dead = || Err(Failure::NoNameServer);
        assert_eq!(both(Ok(four.clone()), Ok(six.clone()), true), Ok(all));
        assert_eq!(both(Ok(four.clone()), Ok(six.clone()), false), Ok(four.clone()));
        assert_eq!(both(Ok(four.clone()), dead(), true), Ok(four));
        assert_eq!(both(dead(), Ok(six.clone()), false), Ok(six.clone()));
        assert_eq!(both(Ok(Vec::new()), Ok(six.clone()), false), Ok(six));
        assert_eq!(both(Ok(Vec::new()), Ok(Vec::new()), false), Ok(Vec::new()));
        assert_eq!(both(Err(Failure::NoSuchName), dead(), true), Err(Failure::NoSuchName));
        assert_eq!(both(Ok(Vec::new()), dead(), true), dead());
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii("a.example.").unwrap(), RecordType::A));
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.add_query(question.queries[0].clone());
        assert!(answer_to(&question, &answer.to_vec().unwrap()).is_some());
        let mut other = answer.clone();
        other.metadata.id ^= 1;
        assert!(answer_to(&question, &other.to_vec().unwrap()).is_none());
        let mut other = answer.clone();
        other.queries = vec![Query::query(Name::from_ascii("b.example.").unwrap(), RecordType::A)];
        assert!(answer_to(&question, &other.to_vec().unwrap()).is_none());
        assert!(answer_to(&question, &question.to_vec().unwrap()).is_none());
        assert!(answer_to(&question, b"junk").is_none());
        answer.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(verdict(&answer, RecordType::A), Some(Err(Failure::NoSuchName)));
        answer.metadata.response_code = ResponseCode::ServFail;
        assert_eq!(verdict(&answer, RecordType::A), None);
    }
}
