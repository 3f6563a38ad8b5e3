#![no_main]
//! Inputs for `properties::certificate`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::certificate::check(data));
