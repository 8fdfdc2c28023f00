//! What the programme is like: how loud, what is wrong with it, and what its title says; which of the ordered sources is on
//! air, how one gives way to the next, and the levels it leaves with.
//!
//! Invariants:
//! - Sans-IO: no clock, file, socket or thread. Sound is measured in frames; titles and files are told the time.
//! - Faults are watched before any gain, and even with the meters off: a dead line must never go unnoticed.
//! - Only [`Mix`] (while it fades) and [`levels_out`] change a sample, and no sample (NaN and infinities included) can stop or
//!   poison a meter.
//! - Every history is bounded: loudness by a meter's own, titles by [`Titles::MOST_WAITING`].

#![forbid(unsafe_code)]

mod clip;
pub mod fault;
mod file_watch;
mod good_hour;
mod levels;
pub mod levels_out;
mod loudness;
mod mix;
mod scan;
mod text;
pub mod tiers;
mod title;

pub use file_watch::{FileWatch, Stamp, Verdict};
pub use good_hour::{GoodHour, Matching};
pub use levels::{Meter, MeterError};
pub use loudness::Lu;
pub use mix::{Mix, Noise};
pub use text::{Encoding, TextError, decode};
pub use title::{Line, TitleConfig, TitleError, Titles};
