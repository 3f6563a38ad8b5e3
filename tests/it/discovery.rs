//! Endpoints follow the upstream's name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::RecordType;
use tokio::sync::{Notify, mpsc};

use crate::support::binary::free_port;
use crate::support::scripted_dns::a;
use crate::support::wire::{Wire, soon};
use crate::support::{Client, Dns, Fault, Gateway, Pki, ScriptedDns, Upstream, eventually};

const NAME: &str = "api.test.local";

async fn following(port: u16, resolver: SocketAddr, dns: &str, more: &str) -> (Gateway, Client) {
    let pki = Pki::new();
    let gateway = Gateway::start(
        &pki,
        &format!(
            "[upstream.api]\nurl = \"http://api.test.local:{port}\"\n[upstream.api.dns]\nresolvers = [\"{resolver}\"]\n\
             {dns}\n{more}"
        ),
    )
    .await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    (gateway, client)
}

pub(crate) const QUICK: &str = "min_ttl = \"100ms\"\nmax_ttl = \"200ms\"";

/// An upstream at every address, all on one port, that answers with its address.
pub(crate) async fn at(addresses: &[&str]) -> Vec<Upstream> {
    let serve = |_, stream: tokio::net::TcpStream| async {
        let name = stream.local_addr().unwrap().ip().to_string();
        let mut wire = Wire::new(stream);
        while wire.head().await.is_some() {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await;
        }
    };
    let port = free_port(&ips(addresses));
    let mut upstreams = Vec::new();
    for address in ips(addresses) {
        upstreams.push(Upstream::raw_on(SocketAddr::new(address, port), serve).await);
    }
    upstreams
}

pub(crate) fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_yet_is_no_reason_not_to_start() {
    let upstreams = at(&["127.0.0.1"]).await;
    let dns = Dns::start().await;
    let more = "[health]\naddress = \"127.0.0.1:0\"\n";
    let (gateway, client) = following(upstreams[0].address.port(), dns.address, QUICK, more).await;
    assert_eq!(client.get("/health").await.status, 200);
    let answer = client.get("/x").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &"upstream_no_endpoint".into()));
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    let answer = client.h2("POST", "/x", &[], "body").await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    let line = gateway.logged("request", |line| line["path"] == "/x").await;
    assert_eq!((&line["attempts"], &line["upstream"]), (&0.into(), &"api".into()));
    dns.set("api.test.local", 1, &ips(&["127.0.0.1"])).await;
    let begun = Instant::now();
    eventually("the name to be found", async || (client.get("/x").await.status == 200).then_some(())).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
}

/// A request in the very first moment waits for the first look-up.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_finds_an_endpoint() {
    let upstreams = at(&["127.0.0.1"]).await;
    let dns = Dns::start().await;
    dns.set("api.test.local", 60, &ips(&["127.0.0.1"])).await;
    for _ in 0..5 {
        let (_gateway, client) = following(upstreams[0].address.port(), dns.address, "", "").await;
        assert_eq!(client.get("/x").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn load_is_spread_over_all_addresses_of_both_kinds() {
    let addresses = ["127.0.0.1", "127.0.0.2", "::1"];
    let upstreams = at(&addresses).await;
    let dns = Dns::start().await;
    dns.set("api.test.local", 60, &ips(&addresses)).await;
    let (_gateway, client) = following(upstreams[0].address.port(), dns.address, "", "").await;
    let mut count = std::collections::BTreeMap::<String, usize>::new();
    let mut raw = client.raw().await;
    for _ in 0..120 {
        raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        *count.entry(raw.answer().await.text()).or_default() += 1;
    }
    assert_eq!(count.len(), 3, "{count:?}");
    assert!(count.values().all(|count| *count >= 15), "{count:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_change_are_followed_and_requests_under_way_stay() {
    let (tell, mut told) = mpsc::channel(4);
    let answer = Arc::new(Notify::new());
    let go_on = Arc::clone(&answer);
    let port = free_port(&ips(&["127.0.0.1", "127.0.0.2"]));
    let old = Upstream::raw_on(SocketAddr::new("127.0.0.1".parse().unwrap(), port), move |_, stream| {
        let (tell, go_on) = (tell.clone(), Arc::clone(&go_on));
        async move {
            let mut wire = Wire::new(stream);
            while let Some(head) = wire.head().await {
                if head.contains("/slow") {
                    tell.send("slow").await.unwrap();
                    go_on.notified().await;
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").await;
            }
            tell.send("closed").await.unwrap();
        }
    })
    .await;
    let _new = Upstream::raw_on(SocketAddr::new("127.0.0.2".parse().unwrap(), port), |_, stream| async {
        let mut wire = Wire::new(stream);
        while wire.head().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew").await;
        }
    })
    .await;
    let dns = Dns::start().await;
    // A TTL of a minute, but no more than max_ttl is believed.
    dns.set("api.test.local", 60, &ips(&["127.0.0.1"])).await;
    let (gateway, client) = following(old.address.port(), dns.address, QUICK, "").await;
    assert_eq!(client.get("/x").await.text(), "old");
    let mut slow = client.raw().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(soon(told.recv()).await, Some("slow"));
    // Another one, idle in the pool.
    assert_eq!(client.get("/x").await.text(), "old");

    dns.set("api.test.local", 60, &ips(&["127.0.0.2"])).await;
    let begun = Instant::now();
    eventually("the new address", async || (client.get("/x").await.text() == "new").then_some(())).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(soon(told.recv()).await, Some("closed"), "idle connections to an address that left are closed");
    let before = old.connections();
    for _ in 0..20 {
        assert_eq!(client.get("/x").await.text(), "new");
    }
    assert_eq!(old.connections(), before);
    answer.notify_one();
    assert_eq!(slow.answer().await.text(), "old");
    assert_eq!(soon(told.recv()).await, Some("closed"), "and one that comes back is not kept");
    let lines = gateway.log();
    assert!(lines.iter().all(|line| line["level"] != "error"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ttl_of_zero_does_not_hammer_the_dns_server_nor_does_a_failure() {
    let upstreams = at(&["127.0.0.1"]).await;
    let dns = ScriptedDns::start().await;
    dns.set(NAME, 0, [a("127.0.0.1")]);
    let times = "min_ttl = \"200ms\"\nmax_ttl = \"200ms\"";
    let (_gateway, client) = following(upstreams[0].address.port(), dns.address, times, "").await;
    for fault in [Fault::None, Fault::Code(ResponseCode::NXDomain), Fault::Code(ResponseCode::NoError)] {
        dns.fault(fault);
        let before = dns.asked().len();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1000) {
            // Requests do not ask.
            assert_eq!(client.get("/x").await.status, 200);
        }
        let asked = dns.asked().len() - before;
        // A and AAAA, five or six times.
        assert!((4..=16).contains(&asked), "{asked} queries in a second");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_answer_is_kept_for_a_while_when_the_name_cannot_be_resolved() {
    let upstreams = at(&["127.0.0.1"]).await;
    for bad in [ResponseCode::NXDomain, ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NoError] {
        let dns = ScriptedDns::start().await;
        dns.set(NAME, 0, [a("127.0.0.1")]);
        let times = "min_ttl = \"100ms\"\nmax_ttl = \"100ms\"\nstale_for = \"700ms\"";
        let (_gateway, client) = following(upstreams[0].address.port(), dns.address, times, "").await;
        assert_eq!(client.get("/x").await.status, 200);
        dns.fault(Fault::Code(bad));
        let begun = Instant::now();
        let kept = eventually("the last good answer to be given up", async || {
            let answer = client.get("/x").await;
            match answer.status {
                200 => None,
                503 => Some(begun.elapsed()),
                other => panic!("{bad}: {other}"),
            }
        })
        .await;
        assert!((400..2500).contains(&kept.as_millis()), "{bad}: {kept:?}");
        assert_eq!(client.get("/health").await.status, 200);
        dns.fault(Fault::None);
        eventually("recovery", async || (client.get("/x").await.status == 200).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_silent_dns_server_no_longer_than_for_a_connection() {
    let dns = ScriptedDns::start().await;
    dns.fault(Fault::Silent);
    let more = "[upstream.api.timeouts]\nconnect = \"300ms\"\n";
    let (_gateway, client) = following(5000, dns.address, QUICK, more).await;
    let begun = Instant::now();
    let answer = client.get("/x").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &"upstream_no_endpoint".into()));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(client.get("/health").await.status, 200);
}

/// As some home-made DNS servers and firewalls are.
#[tokio::test(flavor = "multi_thread")]
async fn a_dns_server_that_never_answers_for_aaaa_is_good_enough() {
    let upstreams = at(&["127.0.0.1"]).await;
    let dns = ScriptedDns::start().await;
    dns.set(NAME, 0, [a("127.0.0.1")]);
    dns.fault(Fault::SilentOn(RecordType::AAAA));
    let (_gateway, client) = following(upstreams[0].address.port(), dns.address, QUICK, "").await;
    let begun = Instant::now();
    assert_eq!(client.get("/x").await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// Without a request in between, and with one.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_replaces_every_address_loses_no_request() {
    let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let upstreams = at(&addresses).await;
    let dns = Dns::start().await;
    dns.set("api.test.local", 0, &ips(&addresses[..2])).await;
    let (_gateway, client) = following(upstreams[0].address.port(), dns.address, QUICK, "").await;
    let mut raw = client.raw().await;
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..6 {
        let pair = if round % 2 == 0 { &addresses[2..] } else { &addresses[..2] };
        dns.set("api.test.local", 0, &ips(pair)).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(250) {
            raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
            let answer = raw.answer().await;
            assert_eq!(answer.status, 200);
            seen.insert(answer.text());
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}
