//! The API behind the gateway: where its endpoints are, which one to take, and a connection to it.

mod settings;

pub use settings::{DnsSettings, Settings, Timeouts};
