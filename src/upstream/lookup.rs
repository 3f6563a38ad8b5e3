//! One look-up: all addresses of a name, or of a service (RFC 2782), for how long they hold, and what the answer says
//! of the addresses that it does not name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::discovered::Discovered;
use super::resolve::{LookupError, Resolver};
use crate::net::HostName;

/// What is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// A and AAAA of a name, all on one port.
    Host(HostName, u16),
    /// SRV of a name, then A and AAAA of each target.
    Service(HostName),
}

impl Question {
    /// The name that is asked for.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Host(name, _) | Self::Service(name) => name.as_str(),
        }
    }
}

/// What a name stands for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Never empty.
    pub(super) found: Vec<Discovered>,
    /// The shortest of the records.
    pub(super) ttl: Duration,
    /// What it says of IPv4 addresses that it does not name.
    pub(super) v4: Extent,
    /// What it says of IPv6 addresses that it does not name.
    pub(super) v6: Extent,
}

/// What an answer says of the addresses that it does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// There are no others.
    Whole,
    /// There may be others: this is as much as some servers tell of many.
    Sample,
    /// Nothing: a question for them had no answer.
    Unheard,
}

/// Route 53 and Cloud Map answer with at most eight records of many, and with other eight the next time.
pub(super) const SAMPLE: usize = 8;
/// How long one kind of address may keep the other waiting.
const SECOND_KIND: Duration = Duration::from_millis(500);
/// Targets of a service whose addresses are looked up, those of the lowest priority first.
const MOST_TARGETS: usize = 64;
/// And how many at once.
const AT_ONCE: usize = 8;
/// CNAMEs from a service's name to its SRV records.
const LONGEST_CHAIN: usize = 4;

/// Looks a name up, with no other deadline than that of its questions.
pub(super) async fn look_up(resolver: &Resolver, question: &Question) -> Result<Answer, LookupError> {
    match question {
        Question::Host(name, port) => {
            let Addresses { addresses, ttl, v4, v6 } = addresses(resolver, name.as_str()).await?;
            let found = addresses.into_iter().map(|address| Discovered::new(SocketAddr::new(address, *port))).collect();
            Ok(Answer { found, ttl, v4, v6 })
        }
        Question::Service(name) => service(resolver, name).await,
    }
}

/// All addresses of one name.
struct Addresses {
    addresses: Vec<IpAddr>,
    ttl: Duration,
    v4: Extent,
    v6: Extent,
}

/// Asks for A and AAAA at once; what either finds is enough.
async fn addresses(resolver: &Resolver, name: &str) -> Result<Addresses, LookupError> {
    let mut v4 = pin!(resolver.ask(name, RecordType::A));
    let mut v6 = pin!(resolver.ask(name, RecordType::AAAA));
    let (v4, v6) = tokio::select! {
        v4 = &mut v4 => {
            let v6 = not_for_long(&v4, v6).await;
            (v4, v6)
        }
        v6 = &mut v6 => {
            let v4 = not_for_long(&v6, v4).await;
            (v4, v6)
        }
    };
    let mut all = Vec::new();
    let mut ttl = None;
    let mut extents = [Extent::Unheard; 2];
    for (result, extent) in [&v4, &v6].into_iter().zip(&mut extents) {
        let before = all.len();
        match result {
            Ok(lookup) => collect(lookup, &mut all, &mut ttl),
            Err(LookupError::NoAddress(_)) => {}
            Err(LookupError::Failed(_)) => continue,
        }
        *extent = if all.len() - before >= SAMPLE { Extent::Sample } else { Extent::Whole };
    }
    let [extent_v4, extent_v6] = extents;
    match ttl {
        Some(ttl) => Ok(Addresses { addresses: all, ttl, v4: extent_v4, v6: extent_v6 }),
        // "No AAAA" says nothing about a name whose A could not be asked for.
        None => Err([v4, v6]
            .into_iter()
            .filter_map(Result::err)
            .max_by_key(|error| matches!(error, LookupError::Failed(_)))
            .unwrap_or_else(|| LookupError::NoAddress("an empty answer".to_owned()))),
    }
}

/// Waits for the second kind of address; for no longer than a moment when the first has been found. Some servers never
/// answer for AAAA, and what they say of A is good enough.
async fn not_for_long(
    first: &Result<Lookup, LookupError>,
    second: impl Future<Output = Result<Lookup, LookupError>>,
) -> Result<Lookup, LookupError> {
    let found = first.as_ref().is_ok_and(|lookup| !lookup.answers().is_empty());
    if !found {
        return second.await;
    }
    let silent = || LookupError::Failed("there is none for one kind of address".to_owned());
    timeout(SECOND_KIND, second).await.unwrap_or_else(|_| Err(silent()))
}

/// The addresses in an answer. The TTL of a CNAME counts as well.
fn collect(lookup: &Lookup, addresses: &mut Vec<IpAddr>, shortest: &mut Option<Duration>) {
    let before = addresses.len();
    addresses.extend(lookup.answers().iter().filter_map(address));
    if addresses.len() > before {
        let ttl = lookup.answers().iter().map(|record| seconds(record.ttl)).min();
        *shortest = (*shortest).into_iter().chain(ttl).min();
    }
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

/// One SRV record. Sorted, the first choice comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Service {
    priority: u16,
    weight: Reverse<u16>,
    target: String,
    port: u16,
}

/// The endpoints of the lowest priority that has any.
async fn service(resolver: &Resolver, name: &HostName) -> Result<Answer, LookupError> {
    let lookup = services(resolver, name).await?;
    let mut known = BTreeMap::<String, Vec<IpAddr>>::new();
    let mut ttl = lookup.answers().iter().map(|record| record.ttl).min().map_or(Duration::ZERO, seconds);
    for record in lookup.additionals() {
        if let Some(address) = address(record) {
            ttl = ttl.min(seconds(record.ttl));
            known.entry(record.name.to_lowercase().to_string()).or_default().push(address);
        }
    }
    let records: BTreeSet<_> = lookup.answers().iter().filter_map(service_of).collect();
    let [mut v4, mut v6] = [if records.len() >= SAMPLE { Extent::Sample } else { Extent::Whole }; 2];
    let records: Vec<_> = records.into_iter().take(MOST_TARGETS).collect();
    let mut failure = LookupError::NoAddress("no SRV record names a target that has one".to_owned());
    for group in records.chunk_by(|one, other| one.priority == other.priority) {
        let targets: BTreeSet<_> =
            group.iter().map(|record| &record.target).filter(|target| !known.contains_key(*target)).cloned().collect();
        for (target, result) in all(resolver, targets).await {
            match result {
                Ok(found) => {
                    ttl = ttl.min(found.ttl);
                    // A target has few addresses, so one that was heard of is no sample.
                    for (extent, of_target) in [(&mut v4, found.v4), (&mut v6, found.v6)] {
                        if of_target == Extent::Unheard {
                            *extent = Extent::Unheard;
                        }
                    }
                    known.insert(target, found.addresses);
                }
                Err(LookupError::NoAddress(_)) => {}
                Err(failed) => {
                    [v4, v6] = [Extent::Unheard; 2];
                    failure = failed;
                }
            }
        }
        let found: Vec<_> = group.iter().flat_map(|record| endpoints(record, &known)).collect();
        if !found.is_empty() {
            return Ok(Answer { found, ttl, v4, v6 });
        }
    }
    Err(failure)
}

/// The SRV records of a name. hickory takes their targets for a chain of CNAMEs, and so misses records that stand
/// behind a real one.
async fn services(resolver: &Resolver, name: &HostName) -> Result<Lookup, LookupError> {
    let mut name = name.as_str().to_owned();
    let mut chain = 0;
    loop {
        let nothing = match resolver.ask(&name, RecordType::SRV).await {
            Err(nothing @ LookupError::NoAddress(_)) if chain < LONGEST_CHAIN => nothing,
            result => return result,
        };
        let alias = resolver.ask(&name, RecordType::CNAME).await.ok();
        let target = alias.iter().flat_map(|lookup| lookup.answers()).find_map(|record| match &record.data {
            RData::CNAME(target) => Some(target.0.to_string()),
            _ => None,
        });
        let Some(target) = target else { return Err(nothing) };
        name = target;
        chain += 1;
    }
}

/// A target of "." says that there is no such service (RFC 2782), and port 0 cannot be connected to.
fn service_of(record: &Record) -> Option<Service> {
    let RData::SRV(record) = &record.data else { return None };
    (!record.target.is_root() && record.port != 0).then(|| Service {
        priority: record.priority,
        weight: Reverse(record.weight),
        target: record.target.to_lowercase().to_string(),
        port: record.port,
    })
}

fn endpoints<'a>(
    record: &'a Service,
    known: &'a BTreeMap<String, Vec<IpAddr>>,
) -> impl Iterator<Item = Discovered> + 'a {
    known.get(&record.target).into_iter().flatten().map(|address| Discovered {
        address: SocketAddr::new(*address, record.port),
        priority: record.priority,
        weight: record.weight.0,
    })
}

/// The addresses of several names.
async fn all(resolver: &Resolver, names: BTreeSet<String>) -> Vec<(String, Result<Addresses, LookupError>)> {
    let mut names = names.into_iter();
    let mut asked = JoinSet::new();
    let mut results = Vec::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some(name) = names.next()
        {
            let resolver = resolver.clone();
            asked.spawn(async move {
                let result = addresses(&resolver, &name).await;
                (name, result)
            });
        }
        match asked.join_next().await {
            None => return results,
            Some(result) => results.extend(result),
        }
    }
}
