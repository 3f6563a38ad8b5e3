//! One question to the DNS servers: which is asked, for how long, and what counts as an answer.
//!
//! hickory speaks the protocol: retransmits over UDP, goes over to TCP when an answer was cut, ignores what answers
//! another question, follows CNAMEs. Its cache is off, since [`super::discover`] owns time. Which server comes next is
//! decided here, because hickory takes the first SERVFAIL or unreadable answer for the last word.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::system_conf::read_system_conf;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Asks DNS servers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Servers>);

struct Servers {
    servers: Vec<Server>,
    /// The one that answered last is asked first: one that is down costs its silence once.
    preferred: AtomicUsize,
}

#[derive(Clone)]
struct Server {
    ip: IpAddr,
    resolver: TokioResolver,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupError {
    /// The server says that there is no such name, or no record of that kind for it.
    #[error("the name has no address ({0})")]
    NoAddress(String),
    /// No server answered in a way that can be used.
    #[error("no DNS server gave an answer: {0}")]
    Failed(String),
}

/// One question to one server may take this long; the whole look-up is bounded by its caller.
pub(super) const ATTEMPT: Duration = Duration::from_secs(2);
/// A server that is silent for this long is not given up, but the next one is asked, too.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often each server is asked.
const ROUNDS: usize = 2;
/// Servers that are asked; the system's resolver knows no more than three.
const MOST_SERVERS: usize = 8;

impl Resolver {
    /// A resolver that asks `servers`, or the system's when there are none.
    ///
    /// # Errors
    /// When the system's configuration cannot be read, or names no server.
    pub(super) fn new(servers: &[SocketAddr]) -> Result<Self, NetError> {
        let (config, options) = if servers.is_empty() {
            read_system_conf()?
        } else {
            let servers = servers.iter().map(|server| name_server(*server)).collect();
            (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
        };
        let servers = config
            .name_servers()
            .iter()
            .take(MOST_SERVERS)
            .map(|server| {
                let alone = ResolverConfig::from_parts(
                    config.domain().cloned(),
                    config.search().to_vec(),
                    vec![server.clone()],
                );
                Ok(Server { ip: server.ip, resolver: of_one(alone, options.clone())? })
            })
            .collect::<Result<Vec<_>, NetError>>()?;
        if servers.is_empty() {
            return Err(NetError::Message("no nameserver in resolv.conf"));
        }
        Ok(Self(Arc::new(Servers { servers, preferred: AtomicUsize::new(0) })))
    }

    /// Asks until a server says something, be it that there is nothing. A name with a dot in it is absolute: search
    /// domains would only multiply the questions.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Result<Lookup, LookupError> {
        let name = if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() };
        let Servers { servers, preferred } = &*self.0;
        let first = preferred.load(Ordering::Relaxed);
        let mut turns = (first..first + servers.len() * ROUNDS).peekable();
        let mut asked = JoinSet::new();
        let mut last_word = LookupError::Failed("there is none".to_owned());
        loop {
            let index = turns.next().map(|turn| turn % servers.len());
            if let Some((index, server)) = index.and_then(|index| Some((index, servers.get(index)?.clone()))) {
                let name = name.clone();
                asked.spawn(async move { (index, server.ip, server.resolver.lookup(name, kind).await) });
            }
            let ended = if turns.peek().is_some() {
                match timeout(PATIENCE, asked.join_next()).await {
                    Ok(ended) => ended,
                    Err(_) => continue,
                }
            } else {
                asked.join_next().await
            };
            match ended {
                Some(Ok((index, _, Ok(lookup)))) => {
                    preferred.store(index, Ordering::Relaxed);
                    return Ok(lookup);
                }
                Some(Ok((index, ip, Err(error)))) => match lookup_error(ip, &error) {
                    nothing @ LookupError::NoAddress(_) => {
                        preferred.store(index, Ordering::Relaxed);
                        return Err(nothing);
                    }
                    failed @ LookupError::Failed(_) => last_word = failed,
                },
                Some(Err(_)) => {}
                None => return Err(last_word),
            }
        }
    }
}

fn of_one(config: ResolverConfig, options: ResolverOpts) -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = ATTEMPT;
    options.attempts = 0;
    options.num_concurrent_reqs = 1;
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

fn lookup_error(server: IpAddr, error: &NetError) -> LookupError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            LookupError::NoAddress(none.response_code.to_string())
        }
        NetError::Dns(DnsError::ResponseCode(code)) => LookupError::Failed(format!("{server} says {code}")),
        error => LookupError::Failed(format!("{server}: {error}")),
    }
}
