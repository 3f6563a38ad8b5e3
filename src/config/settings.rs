//! The whole configuration, checked.

use std::fmt;
use std::net::SocketAddr;

use http::Method;

use crate::net::Host;
use crate::tls::PemSource;
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
    pub tls: tls::ProfileSettings,
    /// The data path.
    pub proxy: proxy::Settings,
    /// The upstreams, by name.
    pub upstreams: Vec<upstream::Settings>,
    /// What the configuration promises of itself.
    pub tests: Vec<PolicyTest>,
    /// How the gateway ends.
    pub drain: drain::Settings,
    /// Logs.
    pub logs: telemetry::Settings,
    /// Where the admin listener is; `None` is nowhere.
    pub admin: Option<SocketAddr>,
}

/// `[[test]]`: what a request is promised to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTest {
    /// Its place in the file, from 1.
    pub number: usize,
    /// The client's certificate, and the intermediates it sends; `None` is a client without.
    pub certificate: Option<PemSource>,
    /// The path.
    pub path: String,
    /// The host; `None` is a request without one, which only routes for every host take.
    pub host: Option<Host>,
    /// The method.
    pub method: Method,
    /// What it is to get.
    pub expect: Expected,
}

/// What a test expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This status; 200 is to be let in, whatever the route answers.
    Status(u16),
    /// To be refused for this reason.
    Reason(String),
}

/// As an operator would point at it.
impl fmt::Display for PolicyTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[[test]] {} ({} ", self.number, self.method)?;
        if let Some(host) = &self.host {
            write!(f, "{host}")?;
        }
        match &self.certificate {
            Some(source) => write!(f, "{} with {source})", self.path),
            None => write!(f, "{} without a certificate)", self.path),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Reason(reason) => f.write_str(reason),
        }
    }
}

/// The plain-HTTP listener for load balancers that check without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthListener {
    /// Its address.
    pub address: SocketAddr,
}
