//! The properties that the fuzz targets check, over the same seeds and a bounded number of inputs made from them: no
//! fuzzer is needed, and each run tries the same ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod holds;
mod mutator;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use mutator::Mutator;

/// Tries the seeds and `count` inputs made from them; shows the input that breaks the property.
#[track_caller]
fn holds_for(target: &str, count: usize, check: fn(&[u8])) {
    let seeds = &holds::seeds::all()[target];
    let mut mutator = Mutator::new(seeds);
    let made = std::iter::repeat_with(|| mutator.next_input()).take(count);
    for input in seeds.iter().cloned().chain(made) {
        if catch_unwind(AssertUnwindSafe(|| check(&input))).is_err() {
            panic!("{target} does not hold for {}", input.escape_ascii());
        }
    }
}

#[test]
fn a_certificate_is_what_it_says_to_every_reader_and_is_believed_only_when_signed() {
    holds_for("certificate", 3000, holds::certificate::check);
}

#[test]
fn every_dialect_reads_back_to_the_certificate() {
    holds_for("dialects", 3000, holds::dialects::check);
}

#[test]
fn a_list_revokes_what_stands_in_it_and_only_when_its_issuer_signed_it() {
    holds_for("revocation", 600, holds::revocation::check);
}

#[test]
fn of_a_request_nothing_but_the_key_is_taken() {
    holds_for("request", 200, holds::request::check);
}

/// libFuzzer's: two names that are the same when they are issued.
#[test]
fn a_request_that_asks_for_a_name_twice_gets_it_once() {
    let start = b"\x03\x09\x36Le644upe\xa9\x0d\x0a\x00\x21\xef\xef\x1a\xef\xef\xef\xef";
    let end = b"\xef\xef\xef\xeb\xef\xef\xef\xef\xef\xef\xef\xef\xef\xef\xef\xef\xef\xef\xef\x5c\x00\x15\x21\x7c";
    holds::request::check(&[&start[..], &[b'h'; 103], end].concat());
}

#[test]
fn an_answer_is_read_as_hyper_reads_it_however_it_comes() {
    holds_for("answer", 30_000, holds::answer::check);
}

#[test]
fn every_meaning_of_a_path_is_among_its_readings() {
    holds_for("path", 20_000, holds::path::check);
}

#[test]
fn everybody_reads_the_same_out_of_pem() {
    holds_for("pem", 2000, holds::pem::check);
}

#[test]
fn opening_pkcs12_ends() {
    holds_for("p12", 2000, holds::p12::check);
}

#[test]
fn a_configuration_is_whole_or_told_what_is_wrong() {
    holds_for("config", 120, holds::config::check);
}

/// For `just fuzz`: what libFuzzer begins with.
#[test]
#[ignore = "writes files where GATEWAY_FUZZ_SEEDS says"]
fn seeds_for_fuzzing() {
    let folder = PathBuf::from(std::env::var_os("GATEWAY_FUZZ_SEEDS").expect("GATEWAY_FUZZ_SEEDS=fuzz/corpus"));
    for (target, seeds) in holds::seeds::all() {
        std::fs::create_dir_all(folder.join(target)).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(target).join(format!("seed-{number}")), seed).unwrap();
        }
    }
}
