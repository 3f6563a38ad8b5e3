#![no_main]
//! Inputs for `properties::revocation`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::revocation::check(data));
