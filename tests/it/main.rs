//! The gateway from outside: real sockets, real TLS, certificates made for the occasion.
//!
//! One test binary, one module for each behaviour. Every test has its own gateway on a free port.

mod support;

mod access_log;
mod bad_input;
mod clients;
mod discovery;
mod drain;
mod flask;
mod forward;
mod gate;
mod health_listener;
mod limits;
mod process;
mod reload;
mod retry;
mod streaming;
mod timeouts;
mod trailers;
