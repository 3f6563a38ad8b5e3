//! The gateway from outside: real sockets, real TLS, certificates made for the occasion.
//!
//! One test binary, one module for each behaviour. Every test has its own gateway on a free port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::print_stderr,
    clippy::clone_on_ref_ptr,
    reason = "a test says what is wrong by failing"
)]

mod support;

mod access_log;
mod admission;
mod bad_input;
mod clients;
mod discovery;
mod drain;
mod early_answers;
mod early_upstream;
mod flask;
mod forward;
mod framing;
mod gate;
mod handshake;
mod headers;
mod health_listener;
mod http2;
mod limits;
mod openssl;
mod problem;
mod process;
mod reasons;
mod reload;
mod retry;
mod slow;
mod streaming;
mod timeouts;
mod trailers;
