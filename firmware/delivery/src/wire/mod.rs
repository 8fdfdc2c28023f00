//! What goes over the wire, as text: requests out, answers in. Pure: bytes to values, no sockets.
//!
//! Everything read here comes from outside: lengths are bounded, nothing panics, what is not understood is
//! [`crate::event::Verdict::Nonsense`].

mod answer;
mod date;
mod listen;
mod reply;
pub mod request;
mod status;

pub use answer::AnswerReader;
pub use listen::{ListenReader, Piece};
pub use reply::ReplyReader;
pub(crate) use reply::plain;
pub use status::{Entry, status_entry};
