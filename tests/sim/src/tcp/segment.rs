//! A TCP segment as the wire shows it: what links, middleboxes and the sight of a path look at.

use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Peer {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// An IPv4 packet (RFC 791) that carries one TCP segment.
pub(crate) type Frame = Vec<u8>;

/// The header fields (RFC 9293, 3.1) that anybody here asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub from: Peer,
    pub to: Peer,
    pub seq: u32,
    /// Sequence space that it takes: payload, SYN and FIN.
    pub length: u32,
    pub ack: Option<u32>,
    pub window: u16,
    pub syn: bool,
    pub rst: bool,
}

impl Segment {
    /// Reads what this simulation's own stacks wrote.
    pub(crate) fn of(frame: &[u8]) -> Self {
        let ip = Ipv4Packet::new_unchecked(frame);
        let tcp = TcpPacket::new_unchecked(ip.payload());
        let (payload, syn, fin) = (tcp.payload().len() as u32, tcp.syn(), tcp.fin());
        Self {
            from: Peer { address: ip.src_addr(), port: tcp.src_port() },
            to: Peer { address: ip.dst_addr(), port: tcp.dst_port() },
            seq: tcp.seq_number().0 as u32,
            length: payload + u32::from(syn) + u32::from(fin),
            ack: tcp.ack().then(|| tcp.ack_number().0 as u32),
            window: tcp.window_len(),
            syn,
            rst: tcp.rst(),
        }
    }

    /// Nothing but an acknowledgement.
    pub(crate) const fn is_bare(&self) -> bool {
        self.length == 0 && !self.rst
    }

    pub(crate) const fn end(&self) -> u32 {
        self.seq.wrapping_add(self.length)
    }

    /// What a machine answers to a segment of a connection that it does not have (RFC 9293, 3.5.2).
    pub(crate) fn refusal(&self) -> Frame {
        reset(self.to, self.from, self.ack.unwrap_or(0), self.ack.is_none().then(|| self.end()))
    }
}

/// A reset as `from` would send it.
pub(crate) fn reset(from: Peer, to: Peer, seq: u32, ack: Option<u32>) -> Frame {
    let tcp = TcpRepr {
        src_port: from.port,
        dst_port: to.port,
        control: TcpControl::Rst,
        seq_number: TcpSeqNumber(seq as i32),
        ack_number: ack.map(|ack| TcpSeqNumber(ack as i32)),
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: from.address,
        dst_addr: to.address,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let mut frame = vec![0; ip.buffer_len() + tcp.buffer_len()];
    let checksums = ChecksumCapabilities::ignored();
    let mut packet = Ipv4Packet::new_unchecked(&mut frame);
    ip.emit(&mut packet, &checksums);
    tcp.emit(
        &mut TcpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(from.address),
        &IpAddress::Ipv4(to.address),
        &checksums,
    );
    frame
}

/// Whether sequence number `one` lies after `other` (RFC 9293, 3.4: modulo 2^32).
pub(crate) const fn after(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_other_side_expects() {
        let (one, two) = (
            Peer { address: Ipv4Addr::new(10, 0, 0, 2), port: 40_000 },
            Peer { address: Ipv4Addr::new(192, 0, 2, 10), port: 8000 },
        );
        let data = Segment::of(&reset(one, two, 7, Some(99)));
        assert!(data.rst && (data.from, data.to) == (one, two));
        let answer = Segment::of(&data.refusal());
        assert!((answer.from, answer.to) == (two, one));
        assert_eq!((answer.rst, answer.seq, answer.ack), (true, 99, None));
    }

    #[test]
    fn sequence_numbers_wrap() {
        assert!(after(1, u32::MAX) && !after(u32::MAX, 1) && !after(5, 5));
    }
}
