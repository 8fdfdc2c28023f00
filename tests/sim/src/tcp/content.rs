//! Packets that tell what they are: each spells its rendition, number and place, so that whoever hears bytes knows what was lost,
//! heard twice, or torn.
//!
//! A packet is a head (a sync word as MPEG's, rendition, number, length, check) and a body that follows from them. A body holds
//! neither the sync word's first byte nor zero: zeros between packets are filler, as a decoder skips them.

use std::time::Duration;

use units::{BytePos, Frames, Rendition};

/// Which rendition of a run; its place in the set-up.
pub type Label = u8;

/// So many zeros a head may hold: more are filler.
const MOST_ZEROS: usize = 8;
const SYNC: [u8; 2] = [0xFF, 0xFB];
/// Sync, label, number, length, check.
const HEAD: usize = 2 + 1 + 4 + 2 + 2;
/// Packets of one rendition differ by less than this, as padding (44.1 kHz) and AAC make them.
const WIGGLE: u64 = 24;

/// One rendition as its encoder yields it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    pub rendition: Rendition,
    label: Label,
    count: u32,
    end: BytePos,
}

impl Encoder {
    pub(crate) const fn new(rendition: Rendition, label: Label) -> Self {
        Self { rendition, label, count: 0, end: BytePos(0) }
    }

    /// Packets made so far.
    pub(crate) const fn number(&self) -> u32 {
        self.count
    }

    /// How long a packet lasts.
    pub(crate) fn packet_time(rendition: &Rendition) -> Duration {
        let frames = u64::from(rendition.codec.frames_per_packet());
        Duration::from_micros(frames * 1_000_000 / u64::from(rendition.rate.hz()))
    }

    /// The next packet, where it ends, and frames of sound up to there.
    pub(crate) fn packet(&mut self) -> (Vec<u8>, BytePos, Frames) {
        let frames = u64::from(self.rendition.codec.frames_per_packet());
        let mean = self.rendition.bitrate.bytes_per_second() * frames / u64::from(self.rendition.rate.hz());
        let wiggle = mix(u64::from(self.count) << 8 | u64::from(self.label)) % WIGGLE;
        let packet = spell(self.label, self.count, (mean + wiggle - WIGGLE / 2) as u16);
        self.count += 1;
        self.end += packet.len() as u64;
        (packet, self.end, Frames(u64::from(self.count) * frames))
    }
}

/// A packet's bytes.
fn spell(label: Label, number: u32, length: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(usize::from(length));
    packet.extend_from_slice(&head(label, number, length));
    let seed = u64::from(number) << 8 | u64::from(label);
    let mut block = [0; 8];
    while packet.len() < usize::from(length) {
        let at = (packet.len() - HEAD) as u64;
        if at.is_multiple_of(8) {
            block = mix(seed << 16 | at).to_le_bytes();
        }
        packet.push(1 + (u16::from(block[at as usize % 8]) * 253 / 255) as u8);
    }
    packet
}

fn head(label: Label, number: u32, length: u16) -> [u8; HEAD] {
    let check = mix(u64::from(number) << 32 | u64::from(length) << 8 | u64::from(label)) as u16;
    let (number, length, check) = (number.to_be_bytes(), length.to_be_bytes(), check.to_be_bytes());
    let [n0, n1, n2, n3] = number;
    [SYNC[0], SYNC[1], label, n0, n1, n2, n3, length[0], length[1], check[0], check[1]]
}

/// What a head says: label, number, length.
fn read(bytes: &[u8]) -> Option<(Label, u32, u16)> {
    let bytes = bytes.get(..HEAD)?;
    let number = u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]);
    let length = u16::from_be_bytes([bytes[7], bytes[8]]);
    (bytes == head(bytes[2], number, length)).then_some((bytes[2], number, length))
}

/// SplitMix64's last step: any two numbers come out unlike.
const fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// What a listener's decoder made of the bytes so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Packets heard whole.
    pub whole: u64,
    /// Numbers that never came, between the first and the last heard. Torn ones count apart.
    pub lost: u64,
    /// Packets heard whole whose number was not above all before.
    pub repeated: u64,
    /// Packets of which a part came: at the joint of two pieces that do not belong together.
    pub torn: u64,
    /// Packets of which both pieces came, and filler between them.
    pub split: u64,
    /// Filler bytes between packets.
    pub filler: u64,
    /// Changes from one rendition to another.
    pub changes: u64,
    /// The newest packet heard whole, and its rendition.
    pub newest: Option<(u32, Label)>,
}

/// A decoder: finds packets in bytes and judges their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {
    pub count: Count,
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// A new connection starts in mid-packet: nothing is torn by that.
    #[default]
    Joining,
    /// At a packet's end.
    Aligned,
    /// What came did not fit. `head` is a packet that began and did not end; `tail`, whether bytes of another were met.
    /// `filler`, whether there were zeros.
    Broken { head: Option<u32>, tail: bool, filler: bool },
}

impl Decoder {
    /// The next bytes come from a new connection. A packet that is half here was cut by the end of the old one.
    pub(crate) fn rejoin(&mut self) {
        self.bytes.clear();
        self.state = State::Joining;
    }

    /// Takes bytes in; returns how many packets they completed.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> u64 {
        let before = self.count.whole;
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        while self.step(&mut at) {}
        self.bytes.drain(..at);
        self.count.whole - before
    }

    /// One packet, filler, or piece of rubbish. False: more bytes are needed.
    fn step(&mut self, at: &mut usize) -> bool {
        let rest = &self.bytes[*at..];
        match self.state {
            State::Aligned => {
                let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
                self.count.filler += zeros as u64;
                *at += zeros;
                let rest = &rest[zeros..];
                if rest.len() < HEAD {
                    // What can no longer become a head is rubbish already.
                    if rest.is_empty() || rest[0] == SYNC[0] {
                        return false;
                    }
                    self.state = State::Broken { head: None, tail: false, filler: false };
                    return true;
                }
                let Some((label, number, length)) = read(rest) else {
                    self.state = State::Broken { head: None, tail: false, filler: false };
                    return true;
                };
                let wanted = spell(label, number, length);
                let agrees = rest.iter().zip(&wanted).take_while(|(is, wanted)| is == wanted).count();
                if agrees == wanted.len() {
                    *at += agrees;
                    self.heard(number, label);
                    true
                } else if agrees == rest.len() {
                    false
                } else {
                    *at += agrees;
                    self.state = State::Broken { head: Some(number), tail: false, filler: false };
                    true
                }
            }
            State::Joining | State::Broken { .. } => {
                let found = (0..rest.len().saturating_sub(HEAD - 1))
                    .find(|&from| rest[from] == SYNC[0] && read(&rest[from..]).is_some());
                // A head may straddle the end of what is here.
                let skipped = found.unwrap_or_else(|| rest.len().saturating_sub(HEAD - 1));
                let zeros = rest[..skipped].iter().filter(|&&byte| byte == 0).count();
                if let State::Broken { tail, filler, .. } = &mut self.state {
                    *tail |= zeros < skipped;
                    *filler |= zeros > MOST_ZEROS;
                }
                *at += skipped;
                let Some(from) = found else { return false };
                if let (State::Broken { head, tail, filler }, Some((_, next, _))) =
                    (&self.state, read(&rest[from..]))
                {
                    let tail = if *tail { next.checked_sub(1) } else { None };
                    let both = head.is_some() && tail.is_some() && *head != tail;
                    let torn = if both { 2 } else { u64::from(head.is_some() || tail.is_some()) };
                    self.count.torn += torn;
                    self.count.split += u64::from(*filler && head.is_some() && *head == tail);
                    // What was torn is not lost besides.
                    for number in [*head, tail.filter(|tail| Some(*tail) != *head)].into_iter().flatten() {
                        if self.count.newest.is_some_and(|(newest, _)| number > newest) && number < next {
                            self.count.lost = self.count.lost.wrapping_sub(1);
                        }
                    }
                }
                self.state = State::Aligned;
                true
            }
        }
    }

    fn heard(&mut self, number: u32, label: Label) {
        let count = &mut self.count;
        count.whole += 1;
        let Some((newest, last)) = count.newest else {
            count.newest = Some((number, label));
            return;
        };
        count.changes += u64::from(last != label);
        if number <= newest {
            count.repeated += 1;
            count.newest = Some((newest, label));
        } else {
            count.lost = count.lost.wrapping_add(u64::from(number - newest - 1));
            count.newest = Some((number, label));
        }
    }
}

#[cfg(test)]
mod tests {
    use units::{BitRate, Channels, Codec, SampleRate};

    use super::*;

    fn packets(kbit: u32, label: Label) -> Vec<Vec<u8>> {
        let rendition = Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate: BitRate::from_kbit(kbit).unwrap(),
        };
        let mut encoder = Encoder::new(rendition, label);
        (0..60).map(|_| encoder.packet().0).collect()
    }

    fn count(pieces: &[&[u8]]) -> Count {
        let mut decoder = Decoder::default();
        // However the bytes trickle in.
        let whole = pieces.concat();
        for piece in whole.chunks(37) {
            decoder.feed(piece);
        }
        let mut at_once = Decoder::default();
        at_once.feed(&whole);
        assert_eq!(decoder.count, at_once.count);
        decoder.count
    }

    #[test]
    fn joining_in_mid_packet_tears_nothing_and_renditions_splice() {
        let (high, low) = (packets(320, 0), packets(192, 1));
        let first = high[..20].concat();
        let heard = count(&[&first[100..], &[0; 50], &low[20..].concat()]);
        assert_eq!((heard.lost, heard.repeated, heard.torn), (0, 0, 0), "{heard:?}");
        assert_eq!((heard.filler, heard.changes, heard.whole), (50, 1, 59));
    }

    #[test]
    fn lost_repeated_and_torn_are_told_apart() {
        let (high, low) = (packets(320, 0), packets(192, 1));
        let lost = count(&[&high[..10].concat(), &high[13..].concat()]);
        assert_eq!((lost.lost, lost.repeated, lost.torn), (3, 0, 0));
        let twice = count(&[&high[..10].concat(), &high[7..].concat()]);
        assert_eq!((twice.lost, twice.repeated, twice.torn), (0, 3, 0));
        // 9 begins and does not end, 14 ends and does not begin; 10 to 13 are gone.
        let cut = count(&[&high[..9].concat(), &high[9][..300], &low[14][200..], &low[15..].concat()]);
        assert_eq!((cut.lost, cut.repeated, cut.torn), (4, 0, 2), "{cut:?}");
        // Half of 9 in one rendition, its end in the other: one packet.
        let half = count(&[&high[..9].concat(), &high[9][..300], &low[9][200..], &low[10..].concat()]);
        assert_eq!((half.lost, half.repeated, half.torn), (0, 0, 1), "{half:?}");
        let short = count(&[&high[..9].concat(), &high[9][..300], &low[10..].concat()]);
        assert_eq!((short.lost, short.repeated, short.torn), (0, 0, 1), "{short:?}");
    }
}
