//! The whole configuration, checked.

use std::net::SocketAddr;

use crate::{drain, listen, proxy, telemetry, tls, upstream};

/// Everything the gateway needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Worker threads; 0 is as many as this process may use CPUs.
    pub workers: usize,
    /// The TLS listener.
    pub listener: listen::Settings,
    /// The plain health listener, if there is one.
    pub health: Option<HealthListener>,
    /// TLS and client certificates.
    pub tls: tls::Settings,
    /// The data path.
    pub proxy: proxy::Settings,
    /// The upstreams, by name.
    pub upstreams: Vec<upstream::Settings>,
    /// How the gateway ends.
    pub drain: drain::Settings,
    /// Logs.
    pub logs: telemetry::Settings,
}

/// The plain-HTTP listener for load balancers that check without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthListener {
    /// Its address.
    pub address: SocketAddr,
}
