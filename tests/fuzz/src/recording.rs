//! Recordings of delivery events, which people send in: whole, broken, and broken on purpose.
//!
//! Input: a recording's JSON (`{...`); or a [`crate::script`] in the first line, whose recording is then damaged by what
//! follows, four bytes at a time: what, where (two bytes), and the bits. `c` and `i` flip bits of checkpoint and inputs, `C`
//! and `I` put in the largest number, `t` cuts the inputs short.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delivery::recording::Recording;

use crate::script;

/// Replays; understood if it comes out as recorded.
pub fn target(data: &[u8]) -> bool {
    if data.starts_with(b"{") {
        return serde_json::from_slice::<Recording>(data).is_ok_and(|recording| replays(&recording));
    }
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let mut recording = script::play(parts.next().unwrap_or_default()).recording;
    let damage = parts.next().unwrap_or_default().chunks_exact(4);
    let whole = damage.len() == 0 && !recording.segments.is_empty();
    for (at, wound) in damage.enumerate() {
        let segments = recording.segments.len().max(1);
        if let Some(segment) = recording.segments.get_mut(at % segments) {
            match wound[0] {
                b'c' => alter(&mut segment.checkpoint, wound, |bytes, at, bits| flip(bytes, at, bits)),
                b'C' => alter(&mut segment.checkpoint, wound, inflate),
                b'I' => alter(&mut segment.inputs, wound, inflate),
                b't' => alter(&mut segment.inputs, wound, |bytes, at, _| bytes.truncate(at)),
                _ => alter(&mut segment.inputs, wound, |bytes, at, bits| flip(bytes, at, bits)),
            }
        }
    }
    let replayed = replays(&recording);
    assert!(replayed || !whole, "an undamaged recording did not replay");
    replayed && whole
}

fn replays(recording: &Recording) -> bool {
    recording.replay(drop).is_ok()
}

fn alter(text: &mut String, wound: &[u8], how: impl Fn(&mut Vec<u8>, usize, u8)) {
    let mut bytes = STANDARD.decode(&*text).expect("the recorder writes base64");
    let at = usize::from(u16::from_be_bytes([wound[1], wound[2]])) % bytes.len().max(1);
    how(&mut bytes, at, wound[3]);
    *text = STANDARD.encode(bytes);
}

fn flip(bytes: &mut [u8], at: usize, bits: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= bits;
    }
}

/// Replaces a byte by the largest number of 64 or 32 bits, as postcard writes it (LEB128).
fn inflate(bytes: &mut Vec<u8>, at: usize, bits: u8) {
    let mut largest = vec![0xFF; if bits & 1 == 0 { 9 } else { 4 }];
    largest.push(if bits & 1 == 0 { 0x01 } else { 0x0F });
    bytes.splice(at..(at + 1).min(bytes.len()), largest);
}
