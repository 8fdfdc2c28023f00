//! Emergency audio: files that are checked whole on arrival, converted once to a ready form, and played from it.
//!
//! A crate of its own because it is all files, threads and decoders, of which `programme` knows nothing.
//!
//! Invariants:
//! - Decoders run in [`check`] and [`prepare`] only. [`Player`] reads ready forms, whose every block carries its
//!   checksum, so that neither a strange file nor a worn card can bring the sound thread down or put noise on air.
//! - A ready form is replaced by renaming a complete one over it: a bad new file leaves the old one in place.
//! - [`Player::pull`] allocates nothing and waits for nothing; at most it wakes its thread, whose matter the disk is.
//! - Memory is bounded: decoding holds a packet and a resampler's chunk, playing holds [`Playlist::ahead`].
//!
//! Run [`check`] and [`prepare`] away from the sound, best in a process of their own at low priority: they take all
//! the processor time they get, and a decoder that panics on a damaged file (Symphonia 0.6.1 does) must not end the process
//! that is on air: in the release profile a panic aborts.

#![forbid(unsafe_code)]

mod aac;
mod check;
mod convert;
mod decode;
mod disk;
mod error;
mod format;
mod opus;
mod player;
mod prepare;
mod reader;
mod ready;
mod sniff;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use check::{Checked, Note, check};
pub use error::{Error, Kind};
pub use format::{Container, Format, Profile};
pub use player::{Event, Player, PlayerError, Position, State};
pub use prepare::{Cached, Target, prepare, ready, sweep};
pub use reader::{Item, Playlist};
pub use ready::{Ready, Source};

use std::time::Duration;

/// Longest emergency file. Two hours cover any outage that nobody attends to, and are 1.4 GB in ready form.
pub const LONGEST: Duration = Duration::from_hours(2);

/// Shortest: less is a jingle by mistake.
pub const SHORTEST: Duration = Duration::from_secs(1);
