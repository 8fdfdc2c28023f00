//! ARP and echo packets, made and read by smoltcp, over sockets of the kernel.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr,
    Ipv4Packet, Ipv6Address,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::bind;

/// A packet socket of one interface and one protocol (packet(7)). The kernel makes the Ethernet header.
pub(super) struct ArpSocket {
    socket: AsyncFd<Socket>,
    everybody: SockAddr,
}

/// Opens it; takes `CAP_NET_RAW`.
pub(super) fn arp_socket(index: u32) -> io::Result<ArpSocket> {
    let protocol = ETH_P_ARP.to_be();
    let socket = Socket::new(
        Domain::PACKET,
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::from(i32::from(protocol))),
    )?;
    socket.bind(&link_address(index, None)?)?;
    Ok(ArpSocket { socket: watched(socket)?, everybody: link_address(index, Some([0xFF; 6]))? })
}

impl ArpSocket {
    pub(super) async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let send = |socket: &Socket| socket.send_to(packet, &self.everybody);
        self.socket.async_io(tokio::io::Interest::WRITABLE, send).await.map(drop)
    }

    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket
            .async_io(tokio::io::Interest::READABLE, |mut socket| io::Read::read(&mut socket, buffer))
            .await
    }
}

/// A socket that the runtime watches.
fn watched(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    #[expect(unsafe_code, reason = "tokio takes on trust that a descriptor stays the same")]
    // SAFETY: a `Socket` owns its descriptor, which stays open and the same until the `Socket` is dropped.
    let socket = unsafe { AsyncFd::register(socket) };
    socket.map_err(io::Error::from)
}

/// `sockaddr_ll` of packet(7).
fn link_address(index: u32, hardware: Option<[u8; 6]>) -> io::Result<SockAddr> {
    let index = libc::c_int::try_from(index).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    #[expect(unsafe_code, reason = "socket2 knows no link-layer addresses")]
    // SAFETY: the storage is zeroed and large enough for any address; a sockaddr_ll of plain integers is written to it, and
    // its length told.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*link).sll_protocol = ETH_P_ARP.to_be();
            (*link).sll_ifindex = index;
            if let Some(hardware) = hardware {
                (*link).sll_halen = hardware.len() as u8;
                (&mut (*link).sll_addr)[..hardware.len()].copy_from_slice(&hardware);
            }
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}

/// ARP for IPv4 over Ethernet (RFC 826).
pub(super) fn arp_request(hardware: [u8; 6], own: Ipv4Addr, gateway: Ipv4Addr) -> Vec<u8> {
    let request = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(hardware),
        source_protocol_addr: own,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: gateway,
    };
    let mut packet = vec![0; request.buffer_len()];
    request.emit(&mut ArpPacket::new_unchecked(&mut packet));
    packet
}

/// The hardware address of `gateway`, if this is its reply.
pub(super) fn arp_reply(packet: &[u8], gateway: Ipv4Addr) -> Option<[u8; 6]> {
    let packet = ArpPacket::new_checked(packet).ok()?;
    let ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, .. } =
        ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    let is_it = operation == ArpOperation::Reply && source_protocol_addr == gateway;
    is_it.then_some(source_hardware_addr.0)
}

/// Echo requests to one address: by the kernel's ping socket where it is allowed (`net.ipv4.ping_group_range`), else by a raw
/// one (`CAP_NET_RAW`).
pub(super) struct Echo {
    socket: AsyncFd<Socket>,
    target: SocketAddr,
    sequence: u16,
    /// Raw IPv4 sockets give the IP header too (raw(7)).
    with_header: bool,
}

impl Echo {
    pub(super) fn open(interface: &str, target: SocketAddr) -> io::Result<Self> {
        let (domain, protocol) = if target.is_ipv4() {
            (Domain::IPV4, Protocol::ICMPV4)
        } else {
            (Domain::IPV6, Protocol::ICMPV6)
        };
        let open = |kind: Type| Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol));
        let (socket, raw) = match open(Type::DGRAM) {
            Ok(socket) => (socket, false),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => (open(Type::RAW)?, true),
            Err(error) => return Err(error),
        };
        bind::to_device(&socket, interface)?;
        // Connected: only its answers come in.
        socket.connect(&target.into())?;
        let with_header = raw && target.is_ipv4();
        Ok(Self { socket: watched(socket)?, target, sequence: 0, with_header })
    }

    pub(super) async fn ask(&mut self) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let packet = echo_request(self.target.ip(), self.sequence);
        self.socket.async_io(tokio::io::Interest::WRITABLE, |socket| socket.send(&packet)).await.map(drop)
    }

    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket
            .async_io(tokio::io::Interest::READABLE, |mut socket| io::Read::read(&mut socket, buffer))
            .await
    }

    /// Whether it answers one of our questions.
    pub(super) fn is_reply(&self, packet: &[u8]) -> bool {
        let packet = if self.with_header {
            Ipv4Packet::new_checked(packet).map_or(&[][..], |packet| packet.payload())
        } else {
            packet
        };
        reply_sequence(self.target.ip(), packet).is_some_and(|sequence| sequence <= self.sequence)
    }
}

/// An echo request. The kernel puts its own identifier in, and for ICMPv6 the checksum.
fn echo_request(target: IpAddr, sequence: u16) -> Vec<u8> {
    match target {
        IpAddr::V4(_) => {
            let request = Icmpv4Repr::EchoRequest { ident: IDENT, seq_no: sequence, data: MARK };
            let mut bytes = vec![0; request.buffer_len()];
            request.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
            bytes
        }
        IpAddr::V6(target) => {
            let request = Icmpv6Repr::EchoRequest { ident: IDENT, seq_no: sequence, data: MARK };
            let mut bytes = vec![0; request.buffer_len()];
            request.emit(
                &Ipv6Address::UNSPECIFIED,
                &target,
                &mut Icmpv6Packet::new_unchecked(&mut bytes),
                &ChecksumCapabilities::ignored(),
            );
            bytes
        }
    }
}

/// The number of an echo reply with our mark; the kernel has judged its checksum.
fn reply_sequence(target: IpAddr, packet: &[u8]) -> Option<u16> {
    let ignored = ChecksumCapabilities::ignored();
    let (sequence, data) = match target {
        IpAddr::V4(_) => {
            let packet = Icmpv4Packet::new_checked(packet).ok()?;
            let Icmpv4Repr::EchoReply { seq_no, data, .. } = Icmpv4Repr::parse(&packet, &ignored).ok()?
            else {
                return None;
            };
            (seq_no, data)
        }
        IpAddr::V6(target) => {
            let packet = Icmpv6Packet::new_checked(packet).ok()?;
            let reply = Icmpv6Repr::parse(&target, &Ipv6Address::UNSPECIFIED, &packet, &ignored).ok()?;
            let Icmpv6Repr::EchoReply { seq_no, data, .. } = reply else { return None };
            (seq_no, data)
        }
    };
    (data == MARK).then_some(sequence)
}

/// The Ethernet type of ARP (RFC 826).
const ETH_P_ARP: u16 = libc::ETH_P_ARP as u16;

/// Only raw sockets keep it.
const IDENT: u16 = 0x4D53;
const MARK: &[u8] = b"mainstay uplink check";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_known_by_whom_it_comes_from() {
        let (own, gateway) = (Ipv4Addr::new(192, 0, 2, 20), Ipv4Addr::new(192, 0, 2, 1));
        let question = arp_request([2, 0, 0, 0, 0, 9], own, gateway);
        assert_eq!(arp_reply(&question, gateway), None, "a question is no reply");
        let reply = |from: Ipv4Addr| {
            let reply = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: EthernetAddress([2, 0, 0, 0, 0, 1]),
                source_protocol_addr: from,
                target_hardware_addr: EthernetAddress([2, 0, 0, 0, 0, 9]),
                target_protocol_addr: own,
            };
            let mut packet = vec![0; reply.buffer_len() + 18];
            reply.emit(&mut ArpPacket::new_unchecked(&mut packet));
            packet
        };
        assert_eq!(arp_reply(&reply(gateway), gateway), Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(arp_reply(&reply(own), gateway), None);
        for cut in 0..question.len() {
            assert_eq!(arp_reply(&reply(gateway)[..cut], gateway), None);
        }
    }

    #[test]
    fn echoes_are_read_back_and_junk_is_not() {
        for target in ["192.0.2.1", "2001:db8::1"] {
            let target: IpAddr = target.parse().unwrap();
            let mut packet = echo_request(target, 7);
            assert_eq!(reply_sequence(target, &packet), None);
            packet[0] = if target.is_ipv4() { 0 } else { 129 };
            assert_eq!(reply_sequence(target, &packet), Some(7));
            for cut in 0..packet.len() {
                assert_eq!(reply_sequence(target, &packet[..cut]), None);
            }
        }
    }
}
