//! libFuzzer's entry to [`fuzz::title`]; built and run by `tests/fuzz/run`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = fuzz::title::target(data);
});

#[cfg(not(fuzzing))]
fn main() {
    fuzz::explain("title");
}
