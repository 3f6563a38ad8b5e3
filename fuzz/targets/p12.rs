#![no_main]
//! Inputs for `properties::p12`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::p12::check(data));
