//! What may be configured of the listener.

use std::net::SocketAddr;

/// Where connections are accepted and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses; at least one.
    pub addresses: Vec<SocketAddr>,
    /// Connections open at once, at least 1; beyond it connections wait in the kernel's queue.
    pub max_connections: usize,
}
