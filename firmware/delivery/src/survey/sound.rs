//! What a survey's source sends: silence that can be recognised.

use alloc::vec::Vec;

use super::Slot;

/// So many bytes of the sound of `slot` from the body's byte `from` on: MPEG-1 Layer III at 128 kbit/s and 48 kHz. Every packet
/// is silent (no main data, ISO 11172-3, 2.4.1.7), and carries the slot's name where ancillary data may stand.
#[must_use]
pub fn sound(slot: Slot, from: u64, bytes: usize) -> Vec<u8> {
    let tag = tag(slot);
    let byte = |at: u64| {
        let place = (at % PACKET) as usize;
        match place {
            0..4 => HEADER[place],
            4..SOUNDLESS => 0,
            _ => tag[(place - SOUNDLESS) % tag.len()],
        }
    };
    (from..from + bytes as u64).map(byte).collect()
}

/// What is heard of `slot`, and of nothing else.
pub(super) fn tag(slot: Slot) -> &'static [u8] {
    match slot {
        Slot::Primary => b" survey of the primary mount ",
        Slot::Fallback => b" survey of the fallback mount ",
    }
}

/// Bytes in a second of it.
pub(super) const RATE: u32 = 16_000;
/// 1152 frames at 128 kbit/s and 48 kHz.
const PACKET: u64 = 384;
/// Layer III without CRC; 128 kbit/s, 48 kHz; stereo, original.
const HEADER: [u8; 4] = [0xFF, 0xFB, 0x94, 0x04];
/// Header and side information.
const SOUNDLESS: usize = 36;
