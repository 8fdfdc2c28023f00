//! Log recording: the packets of one rendition, kept for days within a budget, cut by the time of day.
//!
//! Invariants
//! - Whoever makes packets is never waited for: a bounded queue lies between, and what finds it full is a counted gap.
//! - Files hold whole packets only and play anywhere; beside each lies an index that says which byte was when.
//! - Nothing is overwritten: a step of the clock, a restart and a changed format begin a new file under a free name.
//! - The oldest recording goes first; only files with names of ours are ever touched; what is kept apart has its own budget.
//! - `recorder`, `shelf`, `index`, `cut`, `walk`, `name` and `time` decide and own no file, clock or thread; `disk` and
//!   `thread` do and decide nothing.
#![forbid(unsafe_code)]

mod batch;
mod config;
mod cut;
mod disk;
mod index;
mod name;
mod recorder;
mod shelf;
mod step;
mod thread;
mod time;
mod walk;

pub use config::Config;
pub use cut::{CutError, Missing, in_words, local_in_words, missing};
pub use disk::{Cut, Piece, cut};
pub use index::GapWhy;
pub use recorder::{Report, State, ending};
pub use shelf::Entry;
pub use thread::Tap;
pub use time::{Clock, Moment, TimeError, Utc, read_time};
