//! libFuzzer's entry to [`fuzz::packet_header`]; built and run by `tests/fuzz/run`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = fuzz::packet_header::target(data);
});

#[cfg(not(fuzzing))]
fn main() {
    fuzz::explain("packet_header");
}
