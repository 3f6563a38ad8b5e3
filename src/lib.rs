//! The gateway's parts, from the ground up.
//!
//! `main.rs` is the only user besides tests and benches: the library is internal and has no stable interface.
//! Which module may import which is law: it stands in ARCHITECTURE.md and `tests/architecture.rs` enforces it.
//! The modules are declared in that order, so nothing below a line knows what stands above it.

pub mod clock;
pub mod metrics;
pub mod net;
pub mod watchdog;
pub mod watching;

pub mod drain;
pub mod telemetry;

pub mod identity;
pub mod pki;

pub mod policy;
pub mod route;

pub mod listen;
pub mod tls;
pub mod upstream;

pub mod proxy;

pub mod config;
pub mod explain;
pub mod probe;

pub mod app;

pub mod demo;

pub mod cli;
