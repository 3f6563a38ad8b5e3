//! Picking an endpoint for a request that was let in: a lease taken and given back, among two endpoints to a thousand.
//!
//! Each endpoint has requests under way, as the balancer spread them. Nothing is connected to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use mtls_gateway::identity::ClientCert;
use mtls_gateway::net::HostPort;
use mtls_gateway::policy::{Access, Facts, Grant, decide};
use mtls_gateway::tls::Protocol;
use mtls_gateway::upstream::{Balance, Cluster, DnsSettings, Lease, Limits, Settings, Target, Timeouts};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::pki::{Keys, Pki, facts_of};

/// Requests under way, for each endpoint.
const UNDER_WAY: usize = 4;

pub(crate) fn measure(criterion: &mut Criterion) {
    // Never driven: what a cluster does in the background is not measured.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let client = ClientCert::Verified(Arc::new(facts_of(&Pki::new(Keys::P256).below_root())));
    let grant = decide(&Access::default(), Facts { client: &client }).unwrap();
    let mut group = criterion.benchmark_group("pick an endpoint");
    for (name, balance) in [
        ("least request", Balance::LeastRequest),
        ("round robin", Balance::RoundRobin),
        ("by client", Balance::HashClient),
    ] {
        for endpoints in [2, 64, 1000] {
            let cluster = Cluster::start(settings(balance, endpoints), None).unwrap();
            let under_way: Vec<_> = (0..endpoints * UNDER_WAY).map(|_| lease(&cluster, &grant)).collect();
            let used: HashSet<_> = under_way.iter().map(|lease| lease.endpoint().address()).collect();
            match balance {
                Balance::LeastRequest => assert!(used.len() * 2 > endpoints, "{} of {endpoints}", used.len()),
                Balance::RoundRobin => assert_eq!(used.len(), endpoints),
                Balance::HashClient => assert_eq!(used.len(), 1),
            }
            let now = Instant::now();
            group.bench_with_input(BenchmarkId::new(name, endpoints), &cluster, |bencher, cluster| {
                bencher.iter(|| cluster.lease(&grant, &[], true, now).map(drop));
            });
        }
    }
    group.finish();
}

fn lease(cluster: &Cluster, grant: &Grant) -> Lease {
    cluster.lease(grant, &[], true, Instant::now()).unwrap()
}

fn settings(balance: Balance, endpoints: usize) -> Settings {
    let target = |number: usize| {
        let address = format!("10.0.{}.{}:8080", number / 250, number % 250 + 1);
        Target::Host(HostPort::parse(&address, 80).unwrap())
    };
    let second = Duration::from_secs(1);
    Settings {
        name: "api".to_owned(),
        targets: (0..endpoints).map(target).collect(),
        protocol: Protocol::Http1,
        tls: None,
        keepalive_idle: second,
        balance,
        slow_start: Duration::ZERO,
        zones: Vec::new(),
        dns: DnsSettings { min_ttl: second, max_ttl: second, stale_for: second, resolvers: Vec::new() },
        timeouts: Timeouts { connect: second, first_byte: second, between_bytes: second, pending: second },
        health: None,
        limits: Limits { max_connections: 10_000, max_pending: 0 },
    }
}
