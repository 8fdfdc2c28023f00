//! libFuzzer's entry to [`fuzz::core_inputs`]; built and run by `tests/fuzz/run`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = fuzz::core_inputs::target(data);
});

#[cfg(not(fuzzing))]
fn main() {
    fuzz::explain("core_inputs");
}
