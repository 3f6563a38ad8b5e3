//! What may be configured of an upstream.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::uri::PathAndQuery;
use ipnet::IpNet;

use crate::net::{HostName, HostPort};
use crate::tls::{Protocol, UpstreamSettings};

/// One upstream: a name behind which endpoints come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is: at least one; the endpoints of all are one set.
    pub targets: Vec<Target>,
    /// What is spoken with it. HTTP/2 is spoken by prior knowledge, or by ALPN under TLS.
    pub protocol: Protocol,
    /// How hands are shaken with it; `None` is no TLS.
    pub tls: Option<UpstreamSettings>,
    /// How long an idle connection is kept for reuse; zero is no reuse. Must be shorter than the upstream's own.
    pub keepalive_idle: Duration,
    /// How its endpoints are chosen.
    pub balance: Balance,
    /// The time in which an endpoint that is new, or back, comes to its full share of requests; zero is at once.
    pub slow_start: Duration,
    /// Networks that stand for zones: endpoints in the gateway's own are preferred.
    pub zones: Vec<IpNet>,
    /// How its name is resolved.
    pub dns: DnsSettings,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How its endpoints are checked; `None` is not at all, besides what their answers tell.
    pub health: Option<HealthCheck>,
    /// How much it is asked at once.
    pub limits: Limits,
}

impl Settings {
    /// Where it is, as configured.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = |target: &Target| match target {
            Target::Host(target) => format!("{scheme}://{target}"),
            Target::Service(name) => format!("srv+{scheme}://{name}"),
        };
        self.targets.iter().map(url).collect()
    }
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The less busy of two drawn at random.
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// By the client's certificate: the same one as long as it is there. Strangers get one by least request.
    HashClient,
}

/// How endpoints are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for, with GET; a status from 200 to 399 passes.
    pub path: PathAndQuery,
    /// From the beginning of one check to the beginning of the next.
    pub interval: Duration,
    /// How long a check may take, connection and all.
    pub timeout: Duration,
    /// Checks in a row that must pass for an endpoint to be used again; at least 1.
    pub healthy_threshold: u32,
    /// Checks in a row that must fail for an endpoint not to be used; at least 1.
    pub unhealthy_threshold: u32,
}

/// How much an upstream is asked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests at one endpoint, at least 1: as many as there can be connections, whatever is spoken.
    pub max_connections: usize,
    /// Requests that wait when every endpoint has all it may have.
    pub max_pending: usize,
}

/// Where endpoints are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At an address, or at all addresses of a name; `http://host:port`.
    Host(HostPort),
    /// Where the SRV records of a name say; `srv+http://name`.
    Service(HostName),
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

impl Target {
    /// The Host for a request that has none. The name of a service is none: `_api._tcp.x.local` is the service `_api`
    /// of the host `x.local`.
    pub fn host(&self) -> String {
        match self {
            Self::Host(target) => target.to_string(),
            Self::Service(name) => {
                let labels: Vec<_> = name.as_str().split('.').skip_while(|label| label.starts_with('_')).collect();
                labels.join(".")
            }
        }
    }
}

/// As in a URL, without the scheme.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(target) => target.fmt(f),
            Self::Service(name) => name.fmt(f),
        }
    }
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
    /// For a place at an endpoint, when all are taken.
    pub pending: Duration,
}
