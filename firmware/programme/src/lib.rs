//! What the programme is like: how loud, whether it has fallen silent or clips, and what its title says.
//!
//! Invariants:
//! - Sans-IO: no clock, file, socket or thread. Sound is measured in frames; titles and files are told the time.
//! - Silence and clipping are watched even with the meters off: a dead line must never go unnoticed.
//! - Nothing here changes a sample, and no sample (NaN and infinities included) can stop or poison a meter.
//! - Every history is bounded: loudness by [`MeterConfig::history`], titles by [`Titles::MOST_WAITING`].

#![forbid(unsafe_code)]

mod clip;
mod file_watch;
mod levels;
mod loudness;
mod scan;
mod silence;
mod text;
mod title;

pub use clip::ClipConfig;
pub use file_watch::{FileWatch, Stamp, Verdict};
pub use levels::{Change, Meter, MeterConfig, MeterError};
pub use silence::SilenceConfig;
pub use text::{Encoding, TextError, decode};
pub use title::{Line, TitleConfig, TitleError, Titles};
