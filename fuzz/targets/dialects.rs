#![no_main]
//! Inputs for `properties::dialects`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::dialects::check(data));
