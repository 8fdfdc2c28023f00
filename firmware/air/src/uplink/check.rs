//! The checks that the core asks for, each bound to its uplink's interface. What came of one is reported, never judged.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use delivery::uplink::{CheckKind, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::frame::{self, Echo};
use super::netlink::{self, Link, Neighbour};
use super::{bind, page};

/// Carries out one check; takes no longer than `patience`.
pub(super) async fn run(link: &Link, kind: &CheckKind, patience: Duration) -> Outcome {
    let asked = async {
        match kind {
            CheckKind::Arp(gateway) => arp(link, *gateway).await,
            CheckKind::Icmp(gateway) => echo(link, *gateway).await,
            CheckKind::Tcp(target) => {
                connect(link, *target).await.map(|_| Outcome::Answered { hardware: None })
            }
            CheckKind::Http(target, host) => http(link, *target, host, patience).await,
        }
    };
    match tokio::time::timeout(patience, asked).await {
        Err(_) => Outcome::Silent,
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) if needs_rights(&error) => match kind {
            CheckKind::Arp(gateway) => neighbour(link, IpAddr::V4(*gateway), &error).await,
            CheckKind::Icmp(gateway) => neighbour(link, *gateway, &error).await,
            CheckKind::Tcp(_) | CheckKind::Http(..) => Outcome::Impossible(error.to_string()),
        },
        Ok(Err(error)) => failed(&error),
    }
}

fn needs_rights(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn failed(error: &io::Error) -> Outcome {
    match error.raw_os_error() {
        // A reset is an answer too.
        Some(libc::ECONNREFUSED | libc::ECONNRESET | libc::EPIPE) => Outcome::Refused,
        Some(libc::ETIMEDOUT) => Outcome::Silent,
        Some(
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::ENODEV | libc::EADDRNOTAVAIL,
        ) => Outcome::Unreachable,
        Some(_) | None => Outcome::Impossible(error.to_string()),
    }
}

async fn connect(link: &Link, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    bind::to_device(&socket, &link.interface.name)?;
    socket.connect(scoped(link, target)).await
}

/// A link-local address means nothing without its link (RFC 4007).
fn scoped(link: &Link, target: SocketAddr) -> SocketAddr {
    match target {
        SocketAddr::V6(six) if six.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*six.ip(), six.port(), 0, link.interface.index).into()
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => target,
    }
}

/// What came until the end, the limit or most of the patience is the page: a portal need not close the connection.
async fn http(link: &Link, target: SocketAddr, host: &str, patience: Duration) -> io::Result<Outcome> {
    let deadline = tokio::time::Instant::now() + patience * 9 / 10;
    let mut stream = connect(link, target).await?;
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mainstay/{version}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while bytes.len() < LONGEST_PAGE && !page::is_clear(&bytes) {
        match tokio::time::timeout_at(deadline, stream.read(&mut part)).await {
            Ok(Ok(length)) if length > 0 => bytes.extend_from_slice(&part[..length]),
            Ok(Err(error)) if bytes.is_empty() => return Err(error),
            Ok(Ok(_) | Err(_)) | Err(_) => break,
        }
    }
    Ok(if bytes.is_empty() {
        Outcome::Answered { hardware: None }
    } else {
        Outcome::Page(page::read(host, &bytes))
    })
}

async fn arp(link: &Link, gateway: Ipv4Addr) -> io::Result<Outcome> {
    let Some(hardware) = link.hardware else {
        return Ok(Outcome::Impossible("the interface has no Ethernet address".to_string()));
    };
    let socket = frame::arp_socket(link.interface.index)?;
    let question = frame::arp_request(hardware, own_v4(link, gateway), gateway);
    let mut buffer = [0; LONGEST_FRAME];
    loop {
        socket.send(&question).await?;
        // Asked again, for an answer may get lost: a whole check hangs on it.
        let heard = tokio::time::timeout(AGAIN, async {
            loop {
                let length = socket.receive(&mut buffer).await?;
                if let Some(hardware) = frame::arp_reply(&buffer[..length], gateway) {
                    return io::Result::Ok(hardware);
                }
            }
        });
        if let Ok(hardware) = heard.await {
            return Ok(Outcome::Answered { hardware: Some(hardware?) });
        }
    }
}

/// The address that the gateway sees us by: the one in its own network, if there is one.
fn own_v4(link: &Link, gateway: Ipv4Addr) -> Ipv4Addr {
    let mut first = Ipv4Addr::UNSPECIFIED;
    for own in &link.interface.addresses {
        if let IpAddr::V4(address) = own.address {
            if own.covers(IpAddr::V4(gateway)) {
                return address;
            }
            if first.is_unspecified() {
                first = address;
            }
        }
    }
    first
}

async fn echo(link: &Link, gateway: IpAddr) -> io::Result<Outcome> {
    let mut echo = Echo::open(&link.interface.name, scoped(link, SocketAddr::new(gateway, 0)))?;
    let mut buffer = [0; LONGEST_FRAME];
    loop {
        echo.ask().await?;
        let heard = tokio::time::timeout(AGAIN, async {
            loop {
                let length = echo.receive(&mut buffer).await?;
                if echo.is_reply(&buffer[..length]) {
                    return io::Result::Ok(());
                }
            }
        });
        if let Ok(outcome) = heard.await {
            return outcome.map(|()| Outcome::Answered { hardware: None });
        }
    }
}

/// Without the right to raw sockets the kernel's own neighbour table tells, once a packet made it ask.
pub(super) async fn neighbour(link: &Link, gateway: IpAddr, denied: &io::Error) -> Outcome {
    let asked = async {
        poke(link, gateway).await?;
        // The kernel asks three times, a second apart (arp(7)); what it knows by now has to do.
        tokio::time::sleep(POKED).await;
        netlink::neighbour(link.interface.index, gateway).await
    };
    match asked.await {
        Ok(Neighbour::Reachable) => Outcome::Answered { hardware: None },
        Ok(Neighbour::Failed) => Outcome::Silent,
        Ok(Neighbour::Unknown) => Outcome::Impossible(format!("raw sockets: {denied}")),
        Err(error) => failed(&error),
    }
}

/// One byte to the discard port (RFC 863), which nobody listens on.
async fn poke(link: &Link, gateway: IpAddr) -> io::Result<()> {
    let any: SocketAddr =
        if gateway.is_ipv4() { ANY_V4 } else { ANY_V6 }.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(any).await?;
    bind::to_device(&socket, &link.interface.name)?;
    socket.send_to(&[0], scoped(link, SocketAddr::new(gateway, DISCARD))).await?;
    Ok(())
}

const ANY_V4: &str = "0.0.0.0:0";
const ANY_V6: &str = "[::]:0";
const DISCARD: u16 = 9;
const POKED: Duration = Duration::from_millis(300);
const AGAIN: Duration = Duration::from_millis(400);
const LONGEST_PAGE: usize = 32 * 1024;
const LONGEST_FRAME: usize = 2048;
