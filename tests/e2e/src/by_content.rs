//! What a listener heard, beside one whom nothing happened to: packets are known by their bytes, and where sound repeats
//! itself, by what is due.

use std::collections::HashMap;

use anyhow::Result;
use units::Rendition;
use units::header::PacketHeader;

use crate::packets::whole;

/// All packets of an undisturbed stretch, in order.
#[derive(Debug)]
pub struct Undisturbed {
    rendition: Rendition,
    packets: Vec<Vec<u8>>,
}

/// What became of those packets on their way to somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Whole packets heard.
    pub heard: u64,
    /// Packets between the first and the last heard that were not.
    pub lost: u64,
    /// Packets heard again, or after a later one.
    pub repeated: u64,
    /// Packets heard in part, at a seam: after, or before, a whole one.
    pub torn: u64,
    /// Where the first whole packet begins and the last one ends, in what was heard.
    pub from: usize,
    /// See `from`.
    pub to: usize,
}

impl Undisturbed {
    /// Of what the undisturbed listener heard.
    ///
    /// # Errors
    /// It was disturbed: it is not whole packets from the first to the last.
    pub fn of(capture: &[u8], rendition: Rendition) -> Result<Self> {
        let mut rest = whole(capture, &rendition)?.bytes;
        let mut packets = Vec::new();
        while let Some(header) = PacketHeader::parse(rest).filter(|header| header.length <= rest.len()) {
            let (packet, behind) = rest.split_at(header.length);
            packets.push(packet.to_vec());
            rest = behind;
        }
        Ok(Self { rendition, packets })
    }

    /// How many packets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Finds them in what somebody else heard, between whatever else was on.
    #[must_use]
    pub fn compare(&self, heard: &[u8]) -> Compared {
        let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (place, packet) in self.packets.iter().enumerate() {
            places.entry(packet).or_default().push(place);
        }
        let mut found = Compared::default();
        let mut due: Option<usize> = None;
        let mut seam = 0;
        let mut at = 0;
        while at + PacketHeader::NEEDED <= heard.len() {
            let packet = PacketHeader::parse(&heard[at..])
                .filter(|header| header.fits(&self.rendition))
                .and_then(|header| heard.get(at..at + header.length));
            let Some((packet, known)) = packet.and_then(|packet| Some((packet, places.get(packet)?))) else {
                at += 1;
                continue;
            };
            let run = |place: usize| {
                let follow = self.packets[place..].iter().take(CHAIN).scan(at, |at, packet| {
                    let same = heard[*at..].starts_with(packet);
                    *at += packet.len();
                    same.then_some(())
                });
                follow.count()
            };
            let place = match known.iter().copied().find(|&place| Some(place) == due) {
                Some(place) => Some(place),
                None => known.iter().copied().max_by_key(|&place| {
                    (run(place), std::cmp::Reverse(place.abs_diff(due.unwrap_or_default())))
                }),
            };
            let Some(place) = place else { break };
            if due.is_none() {
                found.from = at;
            }
            if seam < at {
                found.torn += self.pieces(&heard[seam..at], due, place);
            }
            match due {
                Some(due) if place > due => found.lost += (place - due) as u64,
                Some(due) if place < due => found.repeated += 1,
                Some(_) | None => {}
            }
            due = Some(due.unwrap_or(0).max(place + 1));
            found.heard += 1;
            at += packet.len();
            seam = at;
            found.to = at;
        }
        if seam < heard.len() {
            found.torn += self.pieces(&heard[seam..], due, self.packets.len());
        }
        found
    }

    /// How many of our packets the bytes at a seam are pieces of: the head of the one that is due, the tail of the one before
    /// the next whole one. What ends with what was heard does not count: the listener left.
    fn pieces(&self, rest: &[u8], due: Option<usize>, next: usize) -> u64 {
        let head = due.and_then(|due| self.packets.get(due)).is_some_and(|packet| {
            let common = packet.iter().zip(rest).take_while(|(one, other)| one == other).count();
            common >= PIECE && common < rest.len()
        });
        let tail = next.checked_sub(1).and_then(|before| self.packets.get(before)).is_some_and(|packet| {
            let common =
                packet.iter().rev().zip(rest.iter().rev()).take_while(|(one, other)| one == other).count();
            // Whoever joined in mid-packet hears the rest of it: only what follows something else is a seam.
            common >= PIECE && common < rest.len()
        });
        u64::from(head) + u64::from(tail)
    }
}

/// So many packets that follow tell apart what is alike.
const CHAIN: usize = 50;
/// Fewer equal bytes than these are chance: headers are alike.
const PIECE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use units::{BitRate, Channels, Codec, SampleRate};

    const MP3: Rendition = Rendition {
        codec: Codec::Mp3,
        rate: SampleRate::Hz48000,
        channels: Channels::Stereo,
        bitrate: BitRate::from_kbit(320).expect("not zero"),
    };

    fn packet(number: u8) -> Vec<u8> {
        let mut packet = vec![number; 960];
        packet[..4].copy_from_slice(&[0xFF, 0xFB, 0xE4, 0x44]);
        packet
    }

    #[test]
    fn lost_repeated_and_torn_packets_are_told_apart() {
        let stream: Vec<u8> = (0..20).flat_map(packet).collect();
        let known = Undisturbed::of(&stream, MP3).unwrap();
        assert_eq!(known.len(), 20);
        let judged = |heard: &[u8]| {
            let found = known.compare(heard);
            (found.heard, found.lost, found.repeated, found.torn)
        };
        assert_eq!(judged(&stream[100..]), (19, 0, 0, 0));
        let strange = vec![0x55; 700];
        let between = |from: usize, to: usize| [&strange, &stream[from..to], &strange].concat();
        assert_eq!(judged(&between(2 * 960, 8 * 960)), (6, 0, 0, 0));
        assert_eq!(judged(&between(2 * 960 + 500, 8 * 960 + 300)), (5, 0, 0, 2));
        let with = |from: usize| [&stream[..5 * 960], &stream[from..]].concat();
        assert_eq!(judged(&with(7 * 960)), (18, 2, 0, 0));
        assert_eq!(judged(&with(3 * 960)), (22, 0, 2, 0));
    }
}
