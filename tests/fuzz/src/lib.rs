//! What the box reads from outside, each kind with a target that takes any bytes and asserts what must hold of the outcome.
//!
//! A target panics if a property is broken, and returns whether the bytes were *understood* (a reply that says go, settings
//! without a fault). So the corpus can say what it means: `corpus/TARGET/valid-*` is understood, `invalid-*` is not, and
//! both are checked by `cargo test -p mainstay-fuzz` without any fuzzing. `tests/fuzz/run` mutates them under libFuzzer on
//! stable Rust; what it finds is kept in `target/fuzz/artifacts` and, shrunk and named, becomes a corpus file.
#![forbid(unsafe_code)]

pub mod answer;
pub mod core_inputs;
pub mod packet_header;
pub mod recording;
pub mod request;
mod script;
pub mod server_reply;
pub mod settings_file;
pub mod status_list;
pub mod title;
mod watch;

/// A target: any bytes in, whether they were understood out; panics on a broken property.
pub type Target = fn(&[u8]) -> bool;

/// Every target by its name, which is its corpus folder's.
pub const TARGETS: [(&str, Target); 9] = [
    ("server_reply", server_reply::target),
    ("answer", answer::target),
    ("status_list", status_list::target),
    ("packet_header", packet_header::target),
    ("settings_file", settings_file::target),
    ("title", title::target),
    ("recording", recording::target),
    ("request", request::target),
    ("core_inputs", core_inputs::target),
];

/// Says how to run a target: the main of a fuzz binary that was built without fuzzing.
pub fn explain(target: &str) {
    println!("built without libFuzzer; run tests/fuzz/run {target}");
}

/// The chunks in which a socket hands `bytes` over: `size` as an ASCII digit and on (`0` is all at once).
fn chunks(bytes: &[u8], size: u8) -> impl Iterator<Item = &[u8]> {
    let size = usize::from(size.wrapping_sub(b'0'));
    bytes.chunks(if size == 0 { bytes.len().max(1) } else { size })
}
