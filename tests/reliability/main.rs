//! What becomes of requests while endpoints, names and the gateway itself come and go: the real program under constant
//! load, endpoints with scripted faults, a DNS server with scripted answers.
//!
//! Each test is a row of the issue "Endpoints come and go, and no request is lost". A test whose `ignore` names what
//! is missing is complete: it is waiting for the gateway.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::print_stderr,
    clippy::clone_on_ref_ptr,
    reason = "a test says what is wrong by failing"
)]

#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with tests/it, which uses all of it")]
mod support;

mod endpoint;
mod http1;
mod load;
mod names;
mod report;
mod site;
mod space;
mod websocket;

mod dead;
mod discovery;
mod drain;
mod faults;
mod killed;
mod peer;
mod reload;
mod rolling;
mod start;
mod unreachable;
