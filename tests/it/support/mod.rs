//! What the tests stand on.

pub mod binary;
pub mod client;
pub mod dns;
pub mod gateway;
pub mod pki;
pub mod poll;
pub mod site;
pub mod upstream;
pub mod wire;

pub use client::{Client, RawAnswer, Version};
pub use dns::Dns;
pub use gateway::Gateway;
pub use pki::{Identity, Pki};
pub use poll::eventually;
pub use site::Site;
pub use upstream::{Seen, Upstream};
