//! libFuzzer's entry to [`fuzz::settings_file`]; built and run by `tests/fuzz/run`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = fuzz::settings_file::target(data);
});

#[cfg(not(fuzzing))]
fn main() {
    fuzz::explain("settings_file");
}
