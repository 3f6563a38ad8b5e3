//! The gateway from outside: real sockets, real TLS, certificates made for the occasion.
//!
//! One test binary, one module for each behaviour. Every test has its own gateway on a free port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod support;

mod admission;
mod framing;
mod gate;
mod reasons;
mod early_answers;
mod headers;
mod http2;
mod problem;
mod slow;
mod handshake;
mod openssl;
