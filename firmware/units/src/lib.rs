//! The shared vocabulary of the box: every number that crosses a room's border has its unit in its type.
//!
//! Invariants: no clock is read here, no allocation happens outside [`snapshot`] and [`secret`], and a value that
//! exists is a value that is valid (a [`BitRate`] is never zero, a [`SampleRate`] is one the box can run at).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "snapshot")]
extern crate alloc;

pub mod header;
mod level;
pub mod page;
#[cfg(feature = "snapshot")]
mod recordings;
mod rendition;
#[cfg(feature = "snapshot")]
mod secret;
#[cfg(feature = "snapshot")]
pub mod snapshot;
mod sound;
#[cfg(feature = "snapshot")]
mod tiers;
mod time;

pub use level::{Dbfs, Lufs};
pub use rendition::{BitRate, BytePos, Codec, Mismatch, Rendition};
#[cfg(feature = "snapshot")]
pub use secret::Secret;
pub use sound::{Channels, Frames, SampleRate, UnsupportedRate};
pub use time::{Instant, WallTime};
