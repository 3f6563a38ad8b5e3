//! Clients that others wrote, and every kind of key: who can shake hands with the gateway, and what each makes of a
//! refusal. What a client cannot do for reasons of its own is in its table, with the reason, and is held too.
//!
//! docs/clients.md says the same for people; its snippets are run here.

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

mod process;
mod site;
mod table;

mod browser;
mod commands;
mod programs;
mod schemes;
mod snippets;
