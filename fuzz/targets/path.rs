#![no_main]
//! Inputs for `properties::path`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::path::check(data));
