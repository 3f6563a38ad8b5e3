#![no_main]
//! Inputs for `properties::pem`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::pem::check(data));
