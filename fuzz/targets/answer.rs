#![no_main]
//! Inputs for `properties::answer`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::holds::answer::check(data));
