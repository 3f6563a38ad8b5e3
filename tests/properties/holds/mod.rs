//! What holds for every input, whoever made it: each module has one `check`, which takes any bytes and panics when its
//! property is broken. The fuzz targets call it with what libFuzzer thinks of, `tests/properties` with what its own
//! mutator does.
//!
//! What the library says is compared with readers of these modules' own, which share no line with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a property says that it is broken by panicking"
)]

pub mod answer;
pub mod certificate;
pub mod config;
mod der;
pub mod dialects;
mod names;
pub mod p12;
pub mod path;
pub mod pem;
pub mod request;
pub mod revocation;
pub mod seeds;
