//! `gateway certs` as its users meet it: the real binary, in a fresh folder per test.
//!
//! Certificates that the command line cannot make (expired, foreign, crippled) come from the library and from rcgen.
//! Tests that ask another tool (openssl, python3, java, certtool, certutil) say so when it is missing, and fail then if `CI` is set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on ends here, and one that is skipped says so"
)]

mod authority;
mod bootstrap;
mod broken;
mod bulk;
mod conformance;
mod export;
mod force;
mod imported;
mod inventory;
mod issue;
mod names;
mod not_imported;
mod recovery;
mod renew;
mod revoke;
mod rotate;
mod support;
mod tools;
mod verify;
