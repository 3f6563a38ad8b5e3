//! How an upstream is doing, for operators: look-ups and endpoints, as plain values that are written out as they are.
//!
//! A field that is added here is on the admin listener's `/upstreams`. Nothing decides by these values.

use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::discovered::DiscoveryStatus;
use super::endpoint::{Condition, Endpoint};
use super::settings::Balance;
use crate::tls::Protocol;

/// An upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is, as configured.
    pub url: String,
    /// How requests are spread over the endpoints.
    pub balance: &'static str,
    /// What is spoken to it.
    pub protocol: &'static str,
    /// One for each name that is looked up; none for an address.
    pub lookups: Vec<LookupStatus>,
    /// Requests that wait for a place at an endpoint.
    pub pending: usize,
    /// In the order of their addresses.
    pub endpoints: Vec<EndpointStatus>,
}

/// The look-ups of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LookupStatus {
    /// The name.
    pub name: String,
    /// What has come of it.
    pub state: LookupState,
    /// How old the last good answer is.
    #[serde(rename = "age_ms", serialize_with = "millis")]
    pub age: Option<Duration>,
    /// For how long it holds by its records.
    #[serde(rename = "ttl_ms", serialize_with = "millis")]
    pub ttl: Option<Duration>,
    /// Since when there has been no good answer.
    #[serde(rename = "failing_for_ms", serialize_with = "millis")]
    pub failing_for: Option<Duration>,
    /// Why not.
    pub error: Option<String>,
}

/// What has come of the look-ups of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupState {
    /// The first has not ended.
    Pending,
    /// The last one was answered well.
    Good,
    /// The last one was not; the last good answer is used.
    Stale,
    /// The last one was not, and there is no answer that is still used.
    Failing,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointStatus {
    /// Where it is.
    pub address: String,
    /// Whether it is given requests.
    pub state: EndpointState,
    /// Why it is in this state, where that needs saying.
    pub why: Option<String>,
    /// For how long it has been in it.
    #[serde(rename = "for_ms", serialize_with = "millis")]
    pub since: Option<Duration>,
    /// Requests that it has been given and not yet answered in full.
    pub in_flight: usize,
    /// Connections kept for the next request.
    pub idle: usize,
    /// Its share of requests relative to the others'.
    pub weight: u32,
}

/// Whether an endpoint is given requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// It is.
    Healthy,
    /// It is, more and more: it is new, or back.
    SlowStart,
    /// It is left out for a while, because it failed its requests.
    Ejected,
    /// It is not, because it fails its health check.
    Unhealthy,
    /// It is not: the name no longer stands for it.
    Retired,
}

impl LookupState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Good => "good",
            Self::Stale => "stale",
            Self::Failing => "failing",
        }
    }
}

impl EndpointState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::SlowStart => "slow_start",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
            Self::Retired => "retired",
        }
    }
}

impl Cluster {
    /// How it is doing now.
    pub fn status(&self) -> ClusterStatus {
        let now = Instant::now();
        let settings = self.settings();
        ClusterStatus {
            name: settings.name.clone(),
            url: settings.urls().join(", "),
            balance: match settings.balance {
                Balance::LeastRequest => "least_request",
                Balance::RoundRobin => "round_robin",
                Balance::HashClient => "hash_client",
            },
            protocol: match settings.protocol {
                Protocol::Http1 => "http1",
                Protocol::Http2 => "http2",
            },
            lookups: self.discovery().into_iter().map(LookupStatus::from).collect(),
            pending: self.pending(),
            endpoints: self.endpoints().iter().map(|endpoint| endpoint.status(now)).collect(),
        }
    }
}

impl From<DiscoveryStatus> for LookupStatus {
    fn from(of: DiscoveryStatus) -> Self {
        let state = match (of.pending, of.failing_for, of.stale) {
            (true, ..) => LookupState::Pending,
            (false, None, _) => LookupState::Good,
            (false, Some(_), true) => LookupState::Stale,
            (false, Some(_), false) => LookupState::Failing,
        };
        Self { name: of.name, state, age: of.age, ttl: of.ttl, failing_for: of.failing_for, error: of.error }
    }
}

impl Endpoint {
    fn status(&self, now: Instant) -> EndpointStatus {
        let (state, why, since) = match self.condition() {
            Condition::Healthy => (EndpointState::Healthy, None, self.known_since()),
            Condition::SlowStart(since) => (EndpointState::SlowStart, None, since),
            Condition::Ejected { why, since, lasts } => {
                (EndpointState::Ejected, Some(format!("{why}; out for {lasts:?} at least")), since)
            }
            Condition::Unhealthy { why, since } => (EndpointState::Unhealthy, Some(why), since),
            Condition::Retired => (EndpointState::Retired, None, self.known_since()),
        };
        EndpointStatus {
            address: self.address().to_string(),
            state,
            why,
            since: Some(now.saturating_duration_since(since)),
            in_flight: self.in_flight(),
            idle: self.idle(),
            weight: self.weight(),
        }
    }
}

fn millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    millis.serialize(serializer)
}
