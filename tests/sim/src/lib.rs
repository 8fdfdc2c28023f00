//! A world in virtual time around the delivery core: model servers, fluid links, seeded faults, and what must always hold.
//!
//! The loop finds the earliest due event, jumps there, acts, and checks every invariant. Body bytes are positions, as in
//! the core. A run is its [`Scenario`]: a seed, a length and a list of faults; the same one always runs the same.
#![forbid(unsafe_code)]

mod dice;
mod edge;
mod faults;
mod invariants;
mod link;
mod replay;
mod scenario;
mod server;
mod station;
pub mod tcp;
mod trouble;
mod world;

pub use faults::{FAULTS_PER_HOUR, Fault, Place, Refusal, What};
pub use replay::{ReplayFailed, replay_file};
pub use scenario::{Expectation, Failed, Scenario};
pub use world::{MountOutcome, Outcome};
