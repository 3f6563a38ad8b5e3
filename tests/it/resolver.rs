//! What DNS servers do wrong, and what names may stand for, while requests go on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{RData, RecordType};

use crate::discovery::{QUICK, at, ips};
use crate::support::binary::{Binary, free_port};
use crate::support::scripted_dns::{a, cname, srv};
use crate::support::{Client, Fault, Gateway, Pki, ScriptedDns, Upstream, eventually};

const API: &str = "api.test.local";
const SERVICE: &str = "_api._tcp.test.local";

async fn gateway(url: &str, resolvers: &[SocketAddr], dns: &str) -> (Gateway, Client) {
    let pki = Pki::new();
    let resolvers: Vec<_> = resolvers.iter().map(SocketAddr::to_string).collect();
    let more = format!(
        "[health]\naddress = \"127.0.0.1:0\"\n[upstream.api]\nurl = {url}\n[upstream.api.dns]\nresolvers = \
         {resolvers:?}\n{dns}\n"
    );
    let gateway = Gateway::start(&pki, &more).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    (gateway, client)
}

fn host(port: u16) -> String {
    format!("\"http://{API}:{port}\"")
}

/// Requests without a pause for so long; all must succeed. Who answered how often.
async fn load(client: &Client, time: Duration) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::<String, usize>::new();
    let mut raw = client.raw().await;
    let begun = Instant::now();
    while begun.elapsed() < time {
        raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        *count.entry(answer.text()).or_default() += 1;
    }
    count
}

/// Waits until these answer, and no others, over some requests.
async fn answered_by(client: &Client, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    eventually(&format!("answers of {expected:?} alone"), async || {
        let count = load(client, Duration::from_millis(100)).await;
        (count.into_keys().collect::<BTreeSet<_>>() == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_a_dns_server_loses_a_request() {
    let upstreams = at(&["127.0.0.1", "127.0.0.2"]).await;
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, [a("127.0.0.1"), a("127.0.0.2")]);
    let (_gateway, client) = gateway(&host(upstreams[0].address.port()), &[dns.address], QUICK).await;
    load(&client, Duration::from_millis(100)).await;
    for fault in [
        Fault::Silent,
        Fault::Code(ResponseCode::ServFail),
        Fault::Code(ResponseCode::Refused),
        Fault::Code(ResponseCode::NXDomain),
        Fault::Code(ResponseCode::NoError),
        Fault::Truncated,
        Fault::Garbage,
        Fault::WrongId,
        Fault::OtherQuestion,
        Fault::Delay(Duration::from_millis(300)),
    ] {
        let before = dns.asked().len();
        dns.fault(fault.clone());
        let count = load(&client, Duration::from_millis(600)).await;
        assert_eq!(count.keys().collect::<Vec<_>>(), ["127.0.0.1", "127.0.0.2"], "{fault:?}");
        let asked = dns.asked().len() - before;
        // A look-up each 100 ms, of two kinds, asked for twice when a server answers at once and wrongly; none while
        // the one before hangs.
        assert!(asked <= 40, "{fault:?}: {asked} queries");
    }
    dns.fault(Fault::None);
    dns.set(API, 0, [a("127.0.0.2")]);
    answered_by(&client, &["127.0.0.2"]).await;
}

/// As an operator reads it: one line for each kind of failure, and one for its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_once_with_what_is_kept() {
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, [a("127.0.0.1")]);
    let binary = Binary::start(&format!(
        "[upstream.api]\nurl = \"{}:5000\"\n[upstream.api.dns]\nresolvers = [\"{}\"]\n{QUICK}\nstale_for = \"1s\"\n",
        format_args!("http://{API}"),
        dns.address
    ));
    binary.logged("the endpoints", |line| line["endpoints"] == "127.0.0.1:5000" && line["name"] == API);
    let told = |text: &str| {
        let lines = binary.log().into_iter();
        lines.filter(|line| line["message"].as_str().is_some_and(|message| message.contains(text))).collect::<Vec<_>>()
    };
    dns.fault(Fault::Code(ResponseCode::ServFail));
    binary.logged("its end", |line| line["message"] == "the last known endpoints are too old and no longer used");
    let failures = told("cannot be resolved");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!((&failures[0]["level"], &failures[0]["kept"]), (&"warn".into(), &1.into()));
    let expected =
        "the upstream's name cannot be resolved: no DNS server gave an answer: 127.0.0.1 says Server Failure";
    assert_eq!(failures[0]["message"], expected);
    dns.fault(Fault::Code(ResponseCode::NXDomain));
    binary.logged("the other failure", |line| {
        line["message"] == "the upstream's name cannot be resolved: the name has no address (Non-Existent Domain)"
    });
    dns.fault(Fault::None);
    binary.logged("recovery", |line| line["message"] == "the upstream's name can be resolved again");
    assert_eq!((told("cannot be resolved").len(), told("too old").len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_cut_is_asked_for_over_tcp() {
    let upstreams = at(&["127.0.0.1"]).await;
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, [a("127.0.0.1")]);
    dns.fault(Fault::Truncated);
    let (_gateway, client) = gateway(&host(upstreams[0].address.port()), &[dns.address], QUICK).await;
    answered_by(&client, &["127.0.0.1"]).await;
    assert!(dns.asked().iter().any(|asked| asked.over_tcp));
}

/// hickory takes the first unusable answer for the last word.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_is_asked_when_one_is_of_no_use() {
    let upstreams = at(&["127.0.0.1"]).await;
    for fault in [
        Fault::Silent,
        Fault::Code(ResponseCode::ServFail),
        Fault::Code(ResponseCode::Refused),
        Fault::Garbage,
        Fault::WrongId,
    ] {
        let [bad, good] = [ScriptedDns::start().await, ScriptedDns::start().await];
        good.set(API, 0, [a("127.0.0.1")]);
        bad.fault(fault.clone());
        let url = host(upstreams[0].address.port());
        let (_gateway, client) = gateway(&url, &[bad.address, good.address], QUICK).await;
        let begun = Instant::now();
        assert_eq!(client.get("/x").await.status, 200, "{fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{fault:?}: {:?}", begun.elapsed());
        // And from then on the one that answers is asked first.
        eventually("more look-ups", async || (good.count(API, RecordType::A) > 5).then_some(())).await;
        assert!(bad.count(API, RecordType::A) <= 4, "{fault:?}: {}", bad.count(API, RecordType::A));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cname_chains_are_followed_and_their_ttl_counts() {
    let upstreams = at(&["127.0.0.1", "127.0.0.2"]).await;
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, [cname("b.test.local")]);
    dns.set("b.test.local", 60, [cname("c.test.local")]);
    dns.set("c.test.local", 60, [a("127.0.0.1")]);
    let times = "min_ttl = \"100ms\"\nmax_ttl = \"1m\"";
    let (_gateway, client) = gateway(&host(upstreams[0].address.port()), &[dns.address], times).await;
    answered_by(&client, &["127.0.0.1"]).await;
    dns.set(API, 60, [cname("d.test.local")]);
    dns.set("d.test.local", 60, [a("127.0.0.2")]);
    answered_by(&client, &["127.0.0.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_cnames_ends() {
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, [cname("b.test.local")]);
    dns.set("b.test.local", 0, [cname(API)]);
    let (_gateway, client) = gateway(&host(5000), &[dns.address], QUICK).await;
    assert_eq!(client.get("/x").await.status, 503);
    let before = dns.asked().len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = dns.asked().len() - before;
    assert!(asked <= 200, "{asked} queries in a second");
}

/// Twenty endpoints, of which each answer names eight.
#[tokio::test(flavor = "multi_thread")]
async fn samples_of_eight_add_up_to_all_endpoints() {
    let addresses: Vec<_> = (1..=20).map(|last| format!("127.0.1.{last}")).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let upstreams = at(&addresses).await;
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, addresses.iter().map(|address| a(address)));
    dns.rotate(8);
    let (_gateway, client) = gateway(&host(upstreams[0].address.port()), &[dns.address], QUICK).await;
    answered_by(&client, &addresses).await;
    let before = dns.asked().len();
    let count = load(&client, Duration::from_secs(1)).await;
    assert_eq!(count.len(), 20, "{count:?}");
    let asked = dns.asked().len() - before;
    assert!((2..=24).contains(&asked), "{asked} queries in a second");
    // What is left is all there is, at once.
    dns.set(API, 0, [a("127.0.1.3")]);
    answered_by(&client, &["127.0.1.3"]).await;
}

fn ports(count: usize) -> Vec<u16> {
    (0..count).map(|_| free_port(&ips(&["127.0.0.1"]))).collect()
}

/// An upstream at this port that answers with it.
async fn on(port: u16) -> Upstream {
    Upstream::raw_on(SocketAddr::new("127.0.0.1".parse().unwrap(), port), move |_, stream| async move {
        let mut wire = crate::support::wire::Wire::new(stream);
        while wire.head().await.is_some() {
            let body = port.to_string();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn srv_records_bring_ports_and_the_lowest_priority_counts() {
    let ports = ports(3);
    let mut upstreams = Vec::new();
    for port in &ports {
        upstreams.push(on(*port).await);
    }
    let names: Vec<_> = ports.iter().map(u16::to_string).collect();
    let [first, second, third] = [&names[0], &names[1], &names[2]].map(String::as_str);
    let dns = ScriptedDns::start().await;
    for target in ["one.test.local", "two.test.local"] {
        dns.set(target, 0, [a("127.0.0.1")]);
    }
    let records = |priority: u16| {
        [
            srv(1, 1, ports[0], "one.test.local"),
            srv(1, 3, ports[1], "two.test.local"),
            srv(priority, 1, ports[2], "one.test.local"),
            srv(0, 1, ports[2], "nowhere.test.local"),
        ]
    };
    dns.set(SERVICE, 0, records(2));
    let (_gateway, client) = gateway(&format!("\"srv+http://{SERVICE}\""), &[dns.address], QUICK).await;
    answered_by(&client, &[first, second]).await;
    load(&client, Duration::from_millis(300)).await;
    dns.set(SERVICE, 0, records(1));
    answered_by(&client, &[first, second, third]).await;
    dns.set(SERVICE, 0, records(0));
    answered_by(&client, &[third]).await;
    // Only the second priority is left.
    dns.set(SERVICE, 0, [srv(0, 1, ports[2], "nowhere.test.local"), srv(7, 0, ports[0], "one.test.local")]);
    answered_by(&client, &[first]).await;
    // "There is no such service" takes nothing away before its time.
    dns.set(SERVICE, 0, [RData::SRV(hickory_server::proto::rr::rdata::SRV::new(0, 0, 0, ".".parse().unwrap()))]);
    load(&client, Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_weights_of_srv_records_shape_the_load() {
    let ports = ports(2);
    let _upstreams = [on(ports[0]).await, on(ports[1]).await];
    let names: Vec<_> = ports.iter().map(u16::to_string).collect();
    let dns = ScriptedDns::start().await;
    dns.set("one.test.local", 0, [a("127.0.0.1")]);
    dns.set(SERVICE, 0, [srv(1, 1, ports[0], "one.test.local"), srv(1, 9, ports[1], "one.test.local")]);
    let (_gateway, client) = gateway(&format!("\"srv+http://{SERVICE}\""), &[dns.address], QUICK).await;
    answered_by(&client, &[&names[0], &names[1]]).await;
    let count = load(&client, Duration::from_secs(1)).await;
    assert!(count[&names[1]] > 3 * count[&names[0]], "{count:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_be_asked_for_keeps_its_endpoint() {
    let ports = ports(2);
    let _upstreams = [on(ports[0]).await, on(ports[1]).await];
    let names: Vec<_> = ports.iter().map(u16::to_string).collect();
    let dns = ScriptedDns::start().await;
    dns.set("one.test.local", 0, [a("127.0.0.1")]);
    dns.set("two.test.local", 0, [a("127.0.0.1")]);
    let records = [srv(1, 1, ports[0], "one.test.local"), srv(1, 1, ports[1], "two.test.local")];
    dns.set(SERVICE, 0, records.clone());
    let (_gateway, client) = gateway(&format!("\"srv+http://{SERVICE}\""), &[dns.address], QUICK).await;
    answered_by(&client, &[&names[0], &names[1]]).await;
    dns.fault(Fault::SilentOn(RecordType::A));
    let count = load(&client, Duration::from_millis(1500)).await;
    assert_eq!(count.len(), 2, "{count:?}");
    dns.fault(Fault::None);
    dns.set(SERVICE, 0, records.into_iter().take(1));
    answered_by(&client, &[&names[0]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_come_with_srv_records_are_not_asked_for() {
    let port = ports(1)[0];
    let _upstream = on(port).await;
    let dns = ScriptedDns::start().await;
    dns.set(SERVICE, 0, [srv(1, 1, port, "One.test.local")]);
    dns.set("one.test.local", 0, [a("127.0.0.1")]);
    dns.glue();
    let (_gateway, client) = gateway(&format!("\"srv+http://{SERVICE}\""), &[dns.address], QUICK).await;
    answered_by(&client, &[&port.to_string()]).await;
    assert!(dns.count(SERVICE, RecordType::SRV) > 0);
    let others: Vec<_> = dns.asked().into_iter().filter(|asked| asked.kind != RecordType::SRV).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn srv_records_behind_a_cname_are_found() {
    let port = ports(1)[0];
    let _upstream = on(port).await;
    let dns = ScriptedDns::start().await;
    dns.set(SERVICE, 0, [cname("_web._tcp.test.local")]);
    dns.set("_web._tcp.test.local", 0, [srv(1, 1, port, "one.test.local")]);
    dns.set("one.test.local", 0, [a("127.0.0.1")]);
    let (_gateway, client) = gateway(&format!("\"srv+http://{SERVICE}\""), &[dns.address], QUICK).await;
    answered_by(&client, &[&port.to_string()]).await;
}

/// A request of HTTP/1.0 without Host gets that of the service's domain: the service's own name is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_has_a_host() {
    let upstream = Upstream::echo().await;
    let dns = ScriptedDns::start().await;
    dns.set(SERVICE, 0, [srv(1, 1, upstream.address.port(), "one.test.local")]);
    dns.set("one.test.local", 0, [a("127.0.0.1")]);
    let (_gateway, client) = gateway(&format!("\"srv+http://{SERVICE}\""), &[dns.address], QUICK).await;
    let mut raw = client.raw().await;
    raw.send("GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 200);
    assert_eq!(upstream.seen()[0].headers["host"], "test.local");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_addresses_and_names_is_one_set() {
    let addresses = ["127.0.0.1", "127.0.0.2", "::1"];
    let upstreams = at(&addresses).await;
    let port = upstreams[0].address.port();
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, [a("127.0.0.2"), a("127.0.0.1")]);
    let url = format!(
        "[\"http://127.0.0.1:{port}\", \"http://{API}:{port}\", \"http://[::1]:{port}\", \"http://gone.test.local\"]"
    );
    let (_gateway, client) = gateway(&url, &[dns.address], QUICK).await;
    answered_by(&client, &addresses).await;
    load(&client, Duration::from_millis(300)).await;
    // Each name has a look-up of its own.
    assert!(dns.count(API, RecordType::A) > 1 && dns.count("gone.test.local", RecordType::A) > 1);
    dns.set(API, 0, [a("127.0.0.1")]);
    answered_by(&client, &["127.0.0.1", "::1"]).await;
    dns.set(API, 0, [a("127.0.0.2")]);
    answered_by(&client, &addresses).await;
}

/// Addresses need no DNS server, and the first request does not wait for one.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_a_list_serves_while_a_name_cannot_be_resolved() {
    let upstreams = at(&["127.0.0.1"]).await;
    let port = upstreams[0].address.port();
    let dns = ScriptedDns::start().await;
    dns.fault(Fault::Silent);
    let url = format!("[\"http://127.0.0.1:{port}\", \"http://{API}:{port}\"]");
    let (_gateway, client) = gateway(&url, &[dns.address], QUICK).await;
    let begun = Instant::now();
    assert_eq!(client.get("/x").await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// Whatever the TTL, a deployment that took the only address away shows when nobody is there any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_cannot_be_connected_to_makes_the_name_be_asked_for_again() {
    let mut upstreams = at(&["127.0.0.1", "127.0.0.2"]).await;
    let port = upstreams[0].address.port();
    let dns = ScriptedDns::start().await;
    dns.set(API, 3600, [a("127.0.0.1")]);
    let times = "min_ttl = \"100ms\"\nmax_ttl = \"1h\"";
    let more = format!("{times}\n[upstream.api.timeouts]\nconnect = \"200ms\"");
    let (_gateway, client) = gateway(&host(port), &[dns.address], &more).await;
    answered_by(&client, &["127.0.0.1"]).await;
    dns.set(API, 3600, [a("127.0.0.2")]);
    assert_eq!(dns.count(API, RecordType::A), 1, "the TTL is an hour");
    drop(upstreams.remove(0));
    eventually("the new address", async || (client.get("/x").await.text() == "127.0.0.2").then_some(())).await;
    assert!(dns.count(API, RecordType::A) <= 4, "{}", dns.count(API, RecordType::A));
}

/// Silence from the start, health checks and recovery included.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_name_resolves_late_recovers_by_itself() {
    let upstreams = at(&["127.0.0.1"]).await;
    let dns = ScriptedDns::start().await;
    dns.fault(Fault::Silent);
    let (_gateway, client) = gateway(&host(upstreams[0].address.port()), &[dns.address], QUICK).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(client.get("/health").await.status, 200);
        assert_eq!(client.get("/x").await.status, 503);
    }
    let asked = dns.asked().len();
    // Each look-up of a silent server takes its time.
    assert!((2..=60).contains(&asked), "{asked} queries in 4 s");
    dns.set(API, 0, [a("127.0.0.1")]);
    dns.fault(Fault::None);
    eventually("recovery", async || (client.get("/x").await.status == 200).then_some(())).await;
}

/// A look-up of several silent servers takes long; the age of the last answer does not wait for its end.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_too_old_are_given_up_while_a_look_up_hangs() {
    let upstreams = at(&["127.0.0.1"]).await;
    let [dns, second, third] = [ScriptedDns::start().await, ScriptedDns::start().await, ScriptedDns::start().await];
    second.fault(Fault::Silent);
    third.fault(Fault::Silent);
    dns.set(API, 0, [a("127.0.0.1")]);
    let times = "min_ttl = \"100ms\"\nmax_ttl = \"100ms\"\nstale_for = \"300ms\"";
    let url = host(upstreams[0].address.port());
    let (_gateway, client) = gateway(&url, &[dns.address, second.address, third.address], times).await;
    answered_by(&client, &["127.0.0.1"]).await;
    dns.fault(Fault::Silent);
    let begun = Instant::now();
    eventually("the endpoint to be given up", async || (client.get("/x").await.status == 503).then_some(())).await;
    // Two seconds for a question; the whole look-up takes four and a half.
    let elapsed = begun.elapsed();
    assert!((Duration::from_millis(1800)..Duration::from_millis(3500)).contains(&elapsed), "{elapsed:?}");
    dns.fault(Fault::None);
    eventually("recovery", async || (client.get("/x").await.status == 200).then_some(())).await;
}

/// One look-up at a time, however slow the server is.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_dns_server_is_asked_one_thing_at_a_time() {
    let upstreams = at(&["127.0.0.1"]).await;
    let dns = ScriptedDns::start().await;
    dns.set(API, 0, [a("127.0.0.1")]);
    dns.fault(Fault::Delay(Duration::from_millis(250)));
    let (_gateway, client) = gateway(&host(upstreams[0].address.port()), &[dns.address], QUICK).await;
    eventually("an endpoint", async || (client.get("/x").await.status == 200).then_some(())).await;
    let before = dns.count(API, RecordType::A);
    load(&client, Duration::from_secs(2)).await;
    let asked = dns.count(API, RecordType::A) - before;
    // 250 ms for the answer and 90 to 100 ms between; a retransmission now and then.
    assert!((3..=14).contains(&asked), "{asked} look-ups in 2 s");
}
