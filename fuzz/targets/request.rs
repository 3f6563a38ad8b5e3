#![no_main]
//! Inputs for `properties::request`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::request::check(data));
