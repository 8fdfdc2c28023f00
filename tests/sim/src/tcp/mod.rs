//! A second world, beside the fluid one: smoltcp's TCP on both ends over emulated uplinks, a model Icecast that cuts blocks and
//! moves listeners, and listeners that count every packet.
//!
//! The fluid world asks whether the core keeps its invariants through a thousand hours. This one asks what a listener hears while TCP
//! retransmits, windows close and sequence numbers run on after a cut. A run is its [`Trial`]; the same one always runs the same.
//!
//! Invariants
//! - What a socket calls acknowledged lies in the server's kernel.
//! - No more mounts are called on air than there are sources with something acknowledged of late.
//! - A minute after the last trouble every mount is on air and proven.
//! - Nobody else's source is ever evicted, and no core asks without end.
//! - Where two mounts share their listeners, they are back on the primary and the fallback is held, within a time that the
//!   settle time bounds.
//! - Body bytes are real, and say which packet they are of: what is heard is what was sent.

mod content;
mod doors;
mod edge;
mod host;
mod icecast;
mod link;
mod listener;
mod middlebox;
mod net;
mod segment;
mod sight;
mod trial;
mod world;
pub mod year;

pub use content::{Count, Label};
pub use icecast::{Deeds, Settings, Version};
pub use listener::{Heard, Listener};
pub use net::SocketId;
pub use sight::PathSight;
pub use trial::{Course, Fault, Most, Trial, Way, What};
pub use world::World;
