#![no_main]
//! Inputs for `properties::config`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::config::check(data));
