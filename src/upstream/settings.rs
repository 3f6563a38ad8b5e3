//! What may be configured of an upstream.

use std::net::SocketAddr;
use std::time::Duration;

use crate::net::HostPort;

/// One upstream: a name behind which endpoints come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is; `http://host:port`.
    pub target: HostPort,
    /// How long an idle connection is kept for reuse; zero is no reuse. Must be shorter than the upstream's own.
    pub keepalive_idle: Duration,
    /// How its name is resolved.
    pub dns: DnsSettings,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Connections to one endpoint at once, at least 1.
    pub max_connections: usize,
}

/// How a name is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// An answer is kept at least this long, whatever its TTL; at least 100 ms.
    pub min_ttl: Duration,
    /// And at most this long; not shorter than `min_ttl`.
    pub max_ttl: Duration,
    /// How long the last good answer is used when there is no new one.
    pub stale_for: Duration,
    /// DNS servers; empty is the system's.
    pub resolvers: Vec<SocketAddr>,
}

/// How long an upstream may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// From the last byte of the request sent to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer's body.
    pub between_bytes: Duration,
}
