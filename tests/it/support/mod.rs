//! What the tests stand on.

pub mod binary;
pub mod client;
pub mod crl;
pub mod dns;
pub mod gateway;
pub mod http2;
pub mod pki;
pub mod poll;
pub mod scripted_dns;
pub mod secure;
pub mod site;
pub mod upstream;
pub mod websocket;
pub mod wire;

pub use client::{Client, RawAnswer, Version};
pub use crl::Crl;
pub use dns::Dns;
pub use gateway::Gateway;
pub use pki::{Identity, Pki};
pub use poll::eventually;
pub use scripted_dns::{Fault, ScriptedDns};
pub use site::Site;
pub use upstream::{Seen, Upstream};
