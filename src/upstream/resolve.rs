//! One look-up of a name: all its A and AAAA records, and for how long they hold.
//!
//! hickory asks; its cache is off, since [`super::discover`] owns time. A name with a dot in it is absolute: search
//! domains would only multiply the questions.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::timeout;

use crate::net::HostName;

/// Asks DNS servers for addresses.
#[derive(Clone)]
pub(super) struct Resolver(TokioResolver);

/// What a name stands for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Sorted, each once; never empty.
    pub(super) addresses: Vec<IpAddr>,
    /// The shortest of the records.
    pub(super) ttl: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    /// The server says that there is no such name, or no address for it.
    #[error("the name has no address ({0})")]
    NoAddress(String),
    /// No server answered in a way that can be used.
    #[error("no DNS server gave an answer: {0}")]
    Failed(String),
}

/// One question to one server may take this long; the whole look-up is bounded by its caller.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long one kind of address may keep the other waiting.
const SECOND_KIND: Duration = Duration::from_millis(500);

impl Resolver {
    /// A resolver that asks `servers`, or the system's when there are none.
    ///
    /// # Errors
    /// When the system's configuration cannot be read.
    pub(super) fn new(servers: &[SocketAddr]) -> Result<Self, NetError> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = servers.iter().map(|server| name_server(*server)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = ATTEMPT;
        options.attempts = 2;
        options.try_tcp_on_error = true;
        builder.build().map(Self)
    }

    /// Asks for A and AAAA at once; what either finds is enough.
    pub(super) async fn resolve(&self, name: &HostName) -> Result<Answer, LookupError> {
        let name = name.as_str();
        let absolute = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
        let mut v4 = pin!(self.0.lookup(absolute.as_str(), RecordType::A));
        let mut v6 = pin!(self.0.lookup(absolute.as_str(), RecordType::AAAA));
        let (v4, v6) = tokio::select! {
            v4 = &mut v4 => {
                let v6 = not_for_long(&v4, v6).await;
                (Some(v4), v6)
            }
            v6 = &mut v6 => {
                let v4 = not_for_long(&v6, v4).await;
                (v4, Some(v6))
            }
        };
        let mut addresses = Vec::new();
        let mut ttl = None;
        for lookup in [&v4, &v6].into_iter().flatten().flatten() {
            collect(lookup, &mut addresses, &mut ttl);
        }
        match ttl {
            Some(ttl) => {
                addresses.sort_unstable();
                addresses.dedup();
                Ok(Answer { addresses, ttl })
            }
            // "No AAAA" says nothing about a name whose A could not be asked for.
            None => Err([v4, v6]
                .into_iter()
                .filter_map(|lookup| lookup?.err())
                .map(|error| lookup_error(&error))
                .max_by_key(|error| matches!(error, LookupError::Failed(_)))
                .unwrap_or_else(|| LookupError::NoAddress("an empty answer".to_owned()))),
        }
    }
}

/// Waits for the second kind of address; for no longer than a moment when the first has been found. Some servers never
/// answer for AAAA, and what they say of A is good enough.
async fn not_for_long<T>(
    first: &Result<Lookup, NetError>,
    second: impl Future<Output = Result<T, NetError>>,
) -> Option<Result<T, NetError>> {
    let found = first.as_ref().is_ok_and(|lookup| !lookup.answers().is_empty());
    if found { timeout(SECOND_KIND, second).await.ok() } else { Some(second.await) }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

fn collect(lookup: &Lookup, addresses: &mut Vec<IpAddr>, shortest: &mut Option<Duration>) {
    for record in lookup.answers() {
        let address = match &record.data {
            RData::A(address) => IpAddr::V4(address.0),
            RData::AAAA(address) => IpAddr::V6(address.0),
            _ => continue,
        };
        let ttl = Duration::from_secs(record.ttl.into());
        *shortest = Some(shortest.map_or(ttl, |shortest| shortest.min(ttl)));
        addresses.push(address);
    }
}

fn lookup_error(error: &NetError) -> LookupError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => LookupError::NoAddress(none.response_code.to_string()),
        error => LookupError::Failed(error.to_string()),
    }
}
