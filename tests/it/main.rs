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
mod admin;
mod admission;
mod bad_input;
mod clients;
mod dialects;
mod discovery;
mod drain;
mod early_answers;
mod early_upstream;
mod ejection;
mod endpoints;
mod expiry;
mod explain;
mod flask;
mod forward;
mod framing;
mod gate;
mod grpc;
mod handshake;
mod headers;
mod health_listener;
mod http2;
mod limbo;
mod limits;
mod metrics;
mod modes;
mod openssl;
mod parked;
mod policy;
mod problem;
mod process;
mod profiles;
mod reasons;
mod reload;
mod resolver;
mod resumption;
mod retry;
mod revocation;
mod shadow;
mod slow;
mod streaming;
mod timeouts;
mod trailers;
mod upgrade;
mod upgrade_clients;
mod upgrade_h2;
mod upstream_h2;
mod upstream_tls;
mod watch;
mod wrong;
