//! An upstream's endpoints and what is told of its names, without a gateway around them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::RecordType;
use mtls_gateway::config::{self, Overrides, Source};
use mtls_gateway::upstream::Cluster;
use tokio::time::{Instant, sleep};

use crate::support::scripted_dns::{a, srv};
use crate::support::{Fault, ScriptedDns, eventually};

const API: &str = "api.test.local";

fn cluster(url: &str, dns: &ScriptedDns, more: &str) -> Arc<Cluster> {
    let text =
        format!("[upstream.api]\nurl = \"{url}\"\n[upstream.api.dns]\nresolvers = [\"{}\"]\n{more}", dns.address);
    let source = Source { name: "test.toml".into(), text };
    let loaded = config::load(Some(&source), &Overrides::default(), &|_| None, false);
    let settings = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)).upstreams[0].clone();
    Cluster::start(settings, None).unwrap()
}

async fn has(cluster: &Cluster, expected: &[&str]) {
    eventually(&format!("{expected:?}"), async || {
        let addresses: Vec<_> =
            cluster.endpoints().iter().map(|endpoint| endpoint.address().ip().to_string()).collect();
        (addresses == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_look_up_that_is_asked_for_comes_soon_and_not_too_often() {
    let dns = ScriptedDns::start().await;
    dns.set(API, 3600, [a("10.0.0.1")]);
    let times = "min_ttl = \"500ms\"\nmax_ttl = \"1h\"";
    let cluster = cluster(&format!("http://{API}:80"), &dns, times);
    has(&cluster, &["10.0.0.1"]).await;
    dns.set(API, 3600, [a("10.0.0.2")]);
    sleep(Duration::from_millis(700)).await;
    assert_eq!(dns.count(API, RecordType::A), 1, "the TTL is an hour");
    let begun = Instant::now();
    cluster.refresh_soon();
    has(&cluster, &["10.0.0.2"]).await;
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    let (before, begun) = (dns.count(API, RecordType::A), Instant::now());
    while begun.elapsed() < Duration::from_millis(1600) {
        cluster.refresh_soon();
        sleep(Duration::from_millis(1)).await;
    }
    let asked = dns.count(API, RecordType::A) - before;
    assert!((2..=4).contains(&asked), "{asked} look-ups in 1.6 s");
}

#[tokio::test]
async fn what_is_known_of_a_name_is_told() {
    let dns = ScriptedDns::start().await;
    dns.fault(Fault::Code(ResponseCode::ServFail));
    let times = "min_ttl = \"100ms\"\nmax_ttl = \"200ms\"\nstale_for = \"500ms\"";
    let cluster = cluster(&format!("http://{API}:80"), &dns, times);
    assert!(cluster.discovery()[0].pending);
    let failed =
        eventually("a failure", async || cluster.discovery().pop().filter(|status| status.error.is_some())).await;
    assert_eq!((failed.name.as_str(), failed.addresses, failed.age, failed.ttl), (API, 0, None, None));
    assert!(!failed.stale && !failed.pending && failed.failing_for.is_some());
    assert_eq!(failed.error.unwrap(), "no DNS server gave an answer: 127.0.0.1 says Server Failure");

    dns.set(API, 3600, [a("10.0.0.1"), a("::1")]);
    dns.fault(Fault::None);
    let good =
        eventually("an answer", async || cluster.discovery().pop().filter(|status| status.error.is_none())).await;
    assert_eq!((good.addresses, good.ttl, good.stale), (2, Some(Duration::from_millis(200)), false));
    assert!(good.age.unwrap() < Duration::from_secs(1) && good.failing_for.is_none());

    dns.fault(Fault::Code(ResponseCode::NXDomain));
    let stale = eventually("staleness", async || cluster.discovery().pop().filter(|status| status.stale)).await;
    assert_eq!(stale.addresses, 2);
    assert_eq!(stale.error.unwrap(), "the name has no address (Non-Existent Domain)");
    let gone = eventually("an end", async || cluster.discovery().pop().filter(|status| status.addresses == 0)).await;
    assert!(!gone.stale && gone.error.is_some() && gone.age.unwrap() >= Duration::from_millis(500));

    let alone = self::cluster("http://10.0.0.1", &dns, "");
    assert_eq!(alone.discovery(), []);
}

#[tokio::test]
async fn weights_reach_the_endpoints_and_change_without_new_ones() {
    let service = "_api._tcp.test.local";
    let dns = ScriptedDns::start().await;
    dns.set("one.test.local", 0, [a("10.0.0.1")]);
    dns.set("two.test.local", 0, [a("10.0.0.2"), a("::2")]);
    dns.set(service, 0, [srv(5, 3, 80, "one.test.local"), srv(5, 0, 81, "two.test.local")]);
    let cluster = cluster(&format!("srv+http://{service}"), &dns, "min_ttl = \"100ms\"\nmax_ttl = \"100ms\"");
    has(&cluster, &["10.0.0.1", "10.0.0.2", "::2"]).await;
    let before = cluster.endpoints();
    let seen: Vec<_> = before.iter().map(|endpoint| (endpoint.address().port(), endpoint.weight())).collect();
    assert_eq!(seen, [(80, 3), (81, 1), (81, 1)]);
    dns.set(service, 0, [srv(5, 70, 80, "one.test.local")]);
    has(&cluster, &["10.0.0.1"]).await;
    let after = cluster.endpoints();
    assert!(Arc::ptr_eq(&before[0], &after[0]));
    assert_eq!(after[0].weight(), 70);
}

/// Answers this long come over TCP.
#[tokio::test]
async fn a_name_with_too_many_addresses_is_bounded() {
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, (0..1500).map(|number| a(&format!("10.0.{}.{}", number / 250, number % 250))));
    let cluster = cluster(&format!("http://{API}:80"), &dns, "");
    eventually("addresses", async || (!cluster.endpoints().is_empty()).then_some(())).await;
    assert_eq!(cluster.endpoints().len(), 1000);
    assert!(dns.asked().iter().any(|asked| asked.over_tcp));
}

#[tokio::test]
async fn a_service_with_too_many_targets_is_bounded() {
    let service = "_api._tcp.test.local";
    let dns = ScriptedDns::start().await;
    dns.set(service, 0, (0..100).map(|number| srv(1, 1, 80, &format!("t{number}.test.local"))));
    for number in 0..100 {
        dns.set(&format!("t{number}.test.local"), 0, [a(&format!("10.0.0.{number}"))]);
    }
    let cluster = cluster(&format!("srv+http://{service}"), &dns, "min_ttl = \"1m\"\nmax_ttl = \"1m\"");
    eventually("addresses", async || (!cluster.endpoints().is_empty()).then_some(())).await;
    assert_eq!(cluster.endpoints().len(), 64);
    let targets: BTreeSet<_> = dns.asked().into_iter().map(|asked| asked.name).filter(|name| name != service).collect();
    assert_eq!(targets.len(), 64);
}

#[tokio::test]
async fn the_look_ups_of_a_cluster_end_with_it() {
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, [a("10.0.0.1")]);
    let cluster = cluster(&format!("http://{API}:80"), &dns, "min_ttl = \"100ms\"\nmax_ttl = \"100ms\"");
    has(&cluster, &["10.0.0.1"]).await;
    let weak = Arc::downgrade(&cluster);
    drop(cluster);
    eventually("the end of the cluster", async || (weak.strong_count() == 0).then_some(())).await;
    let before = dns.asked().len();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(dns.asked().len(), before);
}
