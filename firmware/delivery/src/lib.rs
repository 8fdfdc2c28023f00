//! Delivery: how packets reach mounts and stay there. The whole of it is sans-IO: it owns no socket, clock, thread or random
//! source, and every decision replays from its inputs.
//!
//! Invariants
//! - [`Delivery`] sees positions, never sound: bytes lie in a [`Backlog`] that the edge owns.
//! - At most one source connection per mount; each mount alone; nothing a server does reaches another mount.
//! - A mount that is not streaming has a timer armed.
//! - Nothing here can refuse a packet: a slow mount skips, the encoder never waits.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod backlog;
mod backoff;
pub mod config;
mod delivery;
pub mod event;
mod home;
mod index;
mod mount;
mod pair;
pub mod profile;
mod proof;
pub mod recording;
mod reserve;
pub mod survey;
mod take;
#[cfg(test)]
mod testing;
mod title;
pub mod uplink;
pub mod wire;

pub use backlog::Backlog;
pub use config::Config;
pub use delivery::Delivery;
pub use event::{Input, LinkId, Output, RenditionId, UplinkId};
