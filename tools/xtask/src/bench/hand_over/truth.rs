//! Every packet the box can have made: the same programme through the same encoders, from its first frame on. A packet that
//! was heard is known by its bytes; where sound repeats itself, by its neighbours.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use encode::{Encoder, Options};
use units::Rendition;
use units::header::PacketHeader;

/// Seconds of programme that are made: more than any run lasts.
const SECONDS: usize = 240;
const CHANNELS: usize = 2;
/// Known packets in a row that begin the judging: before, a listener who joined in mid-packet hears the rest of it.
const CHAIN: usize = 3;

/// All packets of one rendition.
#[derive(Debug)]
pub(super) struct Packets {
    rendition: Rendition,
    bytes: Vec<u8>,
    /// Where packet n begins; one more at the end.
    starts: Vec<usize>,
    /// Places of each packet's hash, in order.
    places: HashMap<u64, Vec<u32>>,
    hasher: RandomState,
}

/// The programme, and the renditions of it that were asked for.
#[derive(Debug)]
pub(super) struct Truth {
    programme: Vec<f32>,
    made: Mutex<HashMap<Rendition, Arc<Packets>>>,
}

/// What became of the packets on their way to one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    /// Every fault in the order it was heard.
    pub(super) faults: Vec<Flaw>,
    /// Where the first whole packet begins.
    pub(super) start: usize,
    /// Whole packets heard.
    pub(super) packets: u64,
    /// Each first packet of another rendition than the one before: where its last byte was heard.
    pub(super) changes: Vec<usize>,
    /// For each whole packet: where its last byte was heard, and its place in the programme.
    pub(super) places: Vec<(usize, u32)>,
}

/// Something that a listener should not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Bytes heard up to its end.
    pub(super) end: usize,
    pub(super) kind: FlawKind,
    /// How many packets.
    pub(super) packets: u32,
}

/// Kinds of flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlawKind {
    /// Never heard, not even in part.
    Lost,
    /// Heard before.
    Repeated,
    /// Heard in part, or not the encoder's.
    Torn,
}

impl Truth {
    /// Of a looped programme (interleaved 16-bit stereo, at whatever rate a rendition has) as the box's file input reads it.
    pub(super) fn of(programme: &[i16]) -> Self {
        Self {
            programme: programme.iter().map(|&sample| f32::from(sample) / 32_768.0).collect(),
            made: Mutex::default(),
        }
    }

    /// The packets of a rendition; encodes them at the first call.
    pub(super) fn packets(&self, rendition: Rendition) -> Result<Arc<Packets>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packets) = made.get(&rendition) {
            return Ok(Arc::clone(packets));
        }
        let packets = Arc::new(Packets::encode(rendition, &self.programme, SECONDS)?);
        made.insert(rendition, Arc::clone(&packets));
        Ok(packets)
    }
}

impl Packets {
    fn encode(rendition: Rendition, programme: &[f32], seconds: usize) -> Result<Self> {
        let mut encoder = Encoder::new(rendition, Options::default())?;
        // As the box does: the lead puts every rendition on one grid.
        encoder.encode(&vec![0.0; encoder.lead() as usize * CHANNELS], &mut |_| ())?;
        let (mut bytes, mut starts) = (Vec::new(), vec![0]);
        let mut left = seconds * rendition.rate.hz() as usize * CHANNELS;
        while left > 0 {
            let now = &programme[..programme.len().min(left)];
            encoder
                .encode(now, &mut |packet| {
                    bytes.extend_from_slice(packet);
                    starts.push(bytes.len());
                })
                .with_context(|| format!("encoding {rendition}"))?;
            left -= now.len();
        }
        let hasher = RandomState::new();
        let mut places: HashMap<u64, Vec<u32>> = HashMap::new();
        for (place, pair) in starts.windows(2).enumerate() {
            places.entry(hasher.hash_one(&bytes[pair[0]..pair[1]])).or_default().push(place as u32);
        }
        Ok(Self { rendition, bytes, starts, places, hasher })
    }

    /// The bytes of packet n.
    fn packet(&self, place: u32) -> &[u8] {
        match self.starts.get(place as usize..place as usize + 2) {
            Some(&[from, to]) => &self.bytes[from..to],
            Some(_) | None => &[],
        }
    }

    /// Where in the programme these bytes can be a packet.
    fn places(&self, bytes: &[u8]) -> &[u32] {
        let found = self.places.get(&self.hasher.hash_one(bytes)).map_or(&[][..], Vec::as_slice);
        // Two packets of one hash would be a wonder; no verdict rests on there being none.
        if found.first().is_some_and(|&first| self.packet(first) == bytes) { found } else { &[] }
    }
}

/// Reads what was heard, with the renditions it may be made of, packet by packet.
pub(super) fn score(heard: &[u8], renditions: &[Arc<Packets>]) -> Score {
    let reader = Reader { heard, renditions };
    let mut score = Score::default();
    let Some(start) = (0..heard.len()).find(|&at| reader.chain(at, CHAIN)) else {
        score.faults.push(Flaw { end: heard.len(), kind: FlawKind::Torn, packets: 1 });
        return score;
    };
    score.start = start;
    let mut at = start;
    // The next place to be heard, and which rendition came last.
    let mut next: Option<u32> = None;
    let mut spoken: Option<usize> = None;
    // Bytes since the last whole packet that are no packet.
    let mut rest: Option<usize> = None;
    while let Some((length, known)) = reader.known_from(at) {
        let Some((rendition, place)) = reader.choose(at, next, &known) else {
            rest.get_or_insert(at);
            at += 1;
            continue;
        };
        let end = at + length;
        let mut torn = 0;
        if let Some(from) = rest.take() {
            torn = reader.pieces(&heard[from..at], next, place);
            score.faults.push(Flaw { end: at, kind: FlawKind::Torn, packets: torn });
        }
        match next {
            Some(due) if place > due => {
                let missing = (place - due).saturating_sub(torn);
                if missing > 0 {
                    score.faults.push(Flaw { end, kind: FlawKind::Lost, packets: missing });
                }
            }
            Some(due) if place < due => match score.faults.last_mut() {
                // The next one of a row.
                Some(Flaw { end: last, kind: FlawKind::Repeated, packets }) if *last == at => {
                    *packets += 1;
                    *last = end;
                }
                Some(_) | None => score.faults.push(Flaw { end, kind: FlawKind::Repeated, packets: 1 }),
            },
            Some(_) | None => {}
        }
        if spoken.replace(rendition).is_some_and(|before| before != rendition) {
            score.changes.push(end);
        }
        score.packets += 1;
        score.places.push((end, place));
        next = Some(next.unwrap_or(0).max(place + 1));
        at = end;
    }
    // What is left is the beginning of a packet as a rule: the very end does not count.
    score
}

struct Reader<'a> {
    heard: &'a [u8],
    renditions: &'a [Arc<Packets>],
}

impl Reader<'_> {
    /// The length of the packet that begins here if its header says so (zero if none does), and what it can be. `None` when
    /// no whole packet can follow any more.
    fn known_from(&self, at: usize) -> Option<(usize, Vec<(usize, u32)>)> {
        if self.heard.len() < at + PacketHeader::NEEDED {
            return None;
        }
        let fits = |header: &PacketHeader| self.renditions.iter().any(|known| header.fits(&known.rendition));
        let Some(header) = PacketHeader::parse(&self.heard[at..]).filter(fits) else {
            return Some((0, Vec::new()));
        };
        let Some(bytes) = self.heard.get(at..at + header.length) else {
            // A torn packet's header may promise more than is left.
            return if self.heard.len() - at > LONGEST { Some((0, Vec::new())) } else { None };
        };
        let mut known = Vec::new();
        for (index, rendition) in self.renditions.iter().enumerate() {
            known.extend(rendition.places(bytes).iter().map(|&place| (index, place)));
        }
        Some((header.length, known))
    }

    /// Whether so many known packets follow each other from here.
    fn chain(&self, mut at: usize, count: usize) -> bool {
        (0..count).all(|_| match self.known_from(at) {
            Some((length, known)) if !known.is_empty() => {
                at += length;
                true
            }
            Some(_) | None => false,
        })
    }

    /// Which of several equal packets it is: the one that is due; else the one whose neighbour comes next; else the nearest.
    fn choose(&self, at: usize, due: Option<u32>, known: &[(usize, u32)]) -> Option<(usize, u32)> {
        if let [only] = known {
            return Some(*only);
        }
        if let Some(found) = known.iter().find(|&&(_, place)| Some(place) == due) {
            return Some(*found);
        }
        let &(rendition, first) = known.first()?;
        let behind = self.known_from(at + self.renditions[rendition].packet(first).len());
        let behind = behind.map(|(_, known)| known).unwrap_or_default();
        let due = due.unwrap_or_default();
        let follows = |place: u32| behind.iter().any(|&(_, other)| other == place + 1);
        known.iter().min_by_key(|&&(_, place)| (!follows(place), place.abs_diff(due))).copied()
    }

    /// How many packets the bytes between two whole ones are pieces of.
    fn pieces(&self, rest: &[u8], due: Option<u32>, follows: u32) -> u32 {
        let mut pieces = 0;
        let mut explained = 0;
        if let Some(due) = due {
            let head = self.renditions.iter().map(|known| common(rest, known.packet(due))).max().unwrap_or(0);
            pieces += u32::from(head > 0);
            explained += head;
        }
        if explained < rest.len()
            && let Some(before) = follows.checked_sub(1)
        {
            let tail =
                |known: &Arc<Packets>| common_rev(rest, known.packet(before)).min(rest.len() - explained);
            let tail = self.renditions.iter().map(tail).max().unwrap_or(0);
            pieces += u32::from(tail > 0);
            explained += tail;
        }
        // Whatever is still unexplained is nobody's.
        pieces + u32::from(explained < rest.len())
    }
}

/// No packet of any codec here is longer.
const LONGEST: usize = 8_192;

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn common_rev(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use units::{BitRate, Channels, Codec, SampleRate};

    const RATE: usize = 48_000;

    fn mp3(kbit: u32, rate: SampleRate) -> Rendition {
        Rendition {
            codec: Codec::Mp3,
            rate,
            channels: Channels::Stereo,
            bitrate: BitRate::from_kbit(kbit).unwrap(),
        }
    }

    /// Noise, so that no two packets are alike; one second of silence, in which many are.
    fn renditions(rate: SampleRate) -> Vec<Arc<Packets>> {
        let mut dice = 1_u32;
        let mut noise: Vec<f32> = (0..20 * RATE * CHANNELS)
            .map(|_| {
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (dice >> 16) as f32 / 65_536.0 - 0.5
            })
            .collect();
        noise[6 * RATE * CHANNELS..7 * RATE * CHANNELS].fill(0.0);
        [320, 192].map(|kbit| Arc::new(Packets::encode(mp3(kbit, rate), &noise, 20).unwrap())).into()
    }

    fn stretch(packets: &Packets, from: u32, to: u32) -> Vec<u8> {
        packets.bytes[packets.starts[from as usize]..packets.starts[to as usize]].to_vec()
    }

    fn total(score: &Score, kind: FlawKind) -> u32 {
        score.faults.iter().filter(|flaw| flaw.kind == kind).map(|flaw| flaw.packets).sum()
    }

    fn judged(score: &Score) -> (u32, u32, u32) {
        (total(score, FlawKind::Lost), total(score, FlawKind::Repeated), total(score, FlawKind::Torn))
    }

    #[test]
    fn hand_overs_are_judged_to_the_packet() {
        let known = renditions(SampleRate::Hz48000);
        let (high, low) = (&known[0], &known[1]);

        // From one rendition to the other and back over silence, joined and left in mid-packet.
        let mut heard = stretch(high, 200, 240)[100..].to_vec();
        heard.extend(stretch(low, 240, 300));
        heard.extend(stretch(high, 300, 340));
        heard.truncate(heard.len() - 10);
        let clean = score(&heard, &known);
        assert_eq!((judged(&clean), clean.packets, clean.changes.len()), ((0, 0, 0), 138, 2));

        // Four packets lost, five repeated.
        let mut heard = stretch(high, 10, 50);
        heard.extend(stretch(low, 54, 80));
        heard.extend(stretch(high, 75, 100));
        assert_eq!(judged(&score(&heard, &known)), (4, 5, 0));

        // Cut in mid-packet on either side: packets 50 and 59 in part, 51 to 58 not at all.
        let mut heard = stretch(high, 10, 51);
        heard.truncate(heard.len() - 300);
        heard.extend(&stretch(low, 59, 80)[100..]);
        assert_eq!(judged(&score(&heard, &known)), (8, 0, 2));

        // A foreign piece.
        let mut heard = stretch(high, 10, 51);
        heard.extend([0x55; 700]);
        heard.extend(stretch(high, 51, 80));
        assert_eq!(judged(&score(&heard, &known)), (0, 0, 1));
    }

    #[test]
    fn padded_packets_are_judged_by_their_own_length() {
        let known = renditions(SampleRate::Hz44100);
        let (high, low) = (&known[0], &known[1]);
        let lengths: BTreeSet<usize> = (10..50).map(|place| high.packet(place).len()).collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1044, 1045]);

        let mut heard = stretch(high, 10, 50);
        heard.extend(stretch(low, 50, 80));
        heard.extend(stretch(high, 80, 100));
        assert_eq!(judged(&score(&heard, &known)), (0, 0, 0));

        // One byte of padding too few.
        let padded = (50..80).find(|&place| high.packet(place).len() == 1045).unwrap();
        let mut heard = stretch(high, 10, padded + 1);
        heard.pop();
        heard.extend(stretch(high, padded + 1, 100));
        assert_eq!(judged(&score(&heard, &known)), (0, 0, 1));
    }
}
