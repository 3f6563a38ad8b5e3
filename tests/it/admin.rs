//! The admin listener: what it shows, what it does, and whom it does not answer.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::wire::{Wire, soon};
use crate::support::{Client, Dns, Gateway, Pki, Upstream, eventually, gateway};

/// An answer: status, head and body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    Answer { status: head[9..12].parse().unwrap(), head: head.to_ascii_lowercase(), body: body.to_owned() }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await
}

/// A gateway in front of a name that is looked up, and its admin listener.
async fn started(dns: &Dns, upstream: &Upstream) -> (Pki, Gateway, SocketAddr) {
    let pki = Pki::new();
    let port = upstream.address.port();
    let more = format!(
        "[upstream.api]\nurl = \"http://api.test.local:{port}\"\n[upstream.api.dns]\nmin_ttl = \"100ms\"\nresolvers = \
         [\"{}\"]\n[health]\naddress = \"127.0.0.1:0\"\n",
        dns.address
    );
    let gateway = Gateway::start(&pki, &more).await;
    let admin = gateway.admin.unwrap();
    (pki, gateway, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_shown_with_look_ups_and_endpoints() {
    let dns = Dns::start().await;
    let upstream = Upstream::raw(|_, stream| async move {
        let mut wire = Wire::new(stream);
        while let Some(head) = wire.head().await {
            if head.contains("/hang") {
                wire.rest().await;
                return;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let (pki, gateway, admin) = started(&dns, &upstream).await;
    let failing = eventually("a failed look-up", async || {
        let shown = get(admin, "/upstreams").await.json()["upstreams"][0].clone();
        (shown["lookups"][0]["state"] == "failing").then_some(shown)
    })
    .await;
    assert!(failing["lookups"][0]["error"].as_str().unwrap().contains("no address"), "{failing}");
    assert_eq!(failing["endpoints"], json!([]));

    dns.set("api.test.local", 3, &[upstream.address.ip()]).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    eventually("an endpoint", async || (client.get("/x").await.status == 200).then_some(())).await;
    let mut hanging = client.raw().await;
    hanging.send("GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut idle = client.raw().await;
    idle.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    let shown = eventually("a request in flight beside an idle connection", async || {
        let shown = get(admin, "/upstreams").await.json();
        let endpoint = &shown["upstreams"][0]["endpoints"][0];
        (endpoint["in_flight"] == 1 && endpoint["idle"] == 1).then_some(shown)
    })
    .await;
    assert_eq!(shown["generation"], 1);
    let api = &shown["upstreams"][0];
    assert_eq!(api["name"], "api");
    assert_eq!(api["url"], format!("http://api.test.local:{}", upstream.address.port()));
    let lookup = &api["lookups"][0];
    assert_eq!((&lookup["state"], &lookup["ttl_ms"], &lookup["error"]), (&json!("good"), &json!(3000), &Value::Null));
    assert!(lookup["age_ms"].as_u64().unwrap() < 10_000, "{lookup}");
    let endpoint = &api["endpoints"][0];
    assert_eq!((&endpoint["state"], &endpoint["why"]), (&json!("healthy"), &Value::Null));
    assert_eq!(endpoint["address"], upstream.address.to_string());

    let table = ask(admin, "GET /upstreams HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n").await;
    assert!(table.head.contains("content-type: text/plain"), "{}", table.head);
    assert!(table.body.contains(&format!("{}  healthy", upstream.address)), "{}", table.body);
    assert!(table.body.contains("TTL 3s"), "{}", table.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_means_the_same_on_both_listeners() {
    let dns = Dns::start().await;
    let upstream = Upstream::echo().await;
    let (_pki, mut gateway, admin) = started(&dns, &upstream).await;
    let health = gateway.health.unwrap();
    let empty = get(admin, "/ready").await;
    assert_eq!(empty.status, 503);
    let expected = json!({"ready": false, "draining": false, "upstreams_without_endpoint": ["api"]});
    assert_eq!(empty.json(), expected);
    let close = "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(health, close).await.status, 503);

    dns.set("api.test.local", 1, &[upstream.address.ip()]).await;
    let full =
        eventually("readiness", async || Some(get(admin, "/ready").await).filter(|answer| answer.status == 200)).await;
    assert_eq!(full.json(), json!({"ready": true, "draining": false, "upstreams_without_endpoint": []}));
    assert_eq!(ask(health, close).await.status, 200);

    let delayed = gateway
        .configuration()
        .replace("delay = \"0s\"", "delay = \"1h\"")
        .replace("timeout = \"5s\"", "timeout = \"1h\"");
    gateway.reload_with(&delayed).await.unwrap();
    let begun = ask(admin, "POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((begun.status, begun.json()), (202, json!({"phase": "announced"})));
    let draining = get(admin, "/ready").await;
    assert_eq!((draining.status, &draining.json()["draining"]), (503, &json!(true)));
    assert_eq!(ask(health, close).await.status, 503);
    gateway.control.shut_down().await;
    gateway.control.shut_down().await;
    soon(gateway.ended()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_an_operator_began_is_not_hurried_by_the_signal_that_follows() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let text =
        gateway::base(&pki).replace("delay = \"0s\"", "delay = \"1h\"").replace("timeout = \"5s\"", "timeout = \"1h\"");
    let mut gateway = Gateway::start_with(&format!("{text}{}", gateway::upstream("api", upstream.address))).await;
    let admin = gateway.admin.unwrap();
    assert_eq!(get(admin, "/drain").await.json(), json!({"phase": "serving"}));
    for _ in 0..3 {
        let begun = ask(admin, "POST /drain HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!((begun.status, begun.json()), (202, json!({"phase": "announced"})));
    }
    gateway.control.shut_down().await;
    // Obeyed in order: when this is answered, what came before has been heard.
    assert!(gateway.control.reload().await.is_err());
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    assert_eq!(client.get("/x").await.status, 200, "it drains, and serves meanwhile");
    assert_eq!(get(admin, "/drain").await.json(), json!({"phase": "announced"}));
    gateway.control.shut_down().await;
    soon(gateway.ended()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_in_force_is_shown_without_secrets() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let admin = gateway.admin.unwrap();
    let before = get(admin, "/config").await;
    assert!(before.body.starts_with("# Generation 1, loaded at 20"), "{}", before.body);
    assert!(before.body.contains("keepalive_idle = \"1500ms\"  # default"), "{}", before.body);
    gateway.reload_with(&format!("{}keepalive_idle = \"900ms\"\n", gateway.configuration())).await.unwrap();
    let after = get(admin, "/config").await;
    assert!(after.body.starts_with("# Generation 2, loaded at 20"), "{}", after.body);
    assert!(after.body.contains("keepalive_idle = \"900ms\"  # from test.toml:"), "{}", after.body);
    assert!(!after.body.contains("PRIVATE KEY"), "{}", after.body);
    assert!(gateway.reload_with("nonsense").await.is_err());
    assert!(get(admin, "/config").await.body.starts_with("# Generation 2,"), "a refused one is not in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_web_page_can_send_is_refused() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let admin = gateway.admin.unwrap();
    for head in [
        format!("Host: {admin}\r\nOrigin: http://evil.example"),
        format!("Host: {admin}\r\nOrigin: null"),
        format!("Host: evil.example:{}", admin.port()),
        format!("Host: {admin}\r\nHost: {admin}"),
        "X: y".to_owned(),
    ] {
        for line in ["POST /drain", "GET /upstreams", "GET /config", "GET /ready", "GET /"] {
            let answer = ask(admin, &format!("{line} HTTP/1.1\r\n{head}\r\n\r\n")).await;
            assert_eq!(answer.status, 403, "{line} {head}: {}", answer.body);
            assert!(!answer.body.contains("api"), "{}", answer.body);
        }
    }
    assert_eq!(get(admin, "/drain").await.json(), json!({"phase": "serving"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_methods_are_told() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let admin = gateway.admin.unwrap();
    let list = get(admin, "/").await;
    let paths: Vec<_> = list.json()["pages"].as_array().unwrap().iter().map(|page| page["path"].clone()).collect();
    assert_eq!(paths, ["/", "/ready", "/upstreams", "/metrics", "/config", "/drain"]);
    let unknown = get(admin, "/nothing").await;
    assert_eq!((unknown.status, &unknown.json()["pages"]), (404, &list.json()["pages"]));
    for (line, allow) in
        [("POST /upstreams", "get, head"), ("DELETE /drain", "get, head, post"), ("OPTIONS /", "get, head")]
    {
        let answer = ask(admin, &format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answer.status, 405, "{line}");
        assert!(answer.head.contains(&format!("allow: {allow}\r\n")), "{}", answer.head);
    }
    let head = ask(admin, "HEAD /upstreams HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(get(admin, "/upstreams?x=y").await.status, 200);
}

/// The gateway runs on this test's only thread, which this test then keeps busy.
#[tokio::test(flavor = "current_thread")]
async fn it_answers_when_every_worker_is_busy() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let mut stream = std::net::TcpStream::connect(gateway.admin.unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /upstreams HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_do_not_keep_the_others_out() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let admin = gateway.admin.unwrap();
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(admin).await.unwrap());
    }
    // 16 at once, 5 s each; all of them have gone after 15 s.
    assert_eq!(get(admin, "/ready").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_stops_only_who_asked_for_it() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let held = eventually("the default port", async || std::net::TcpListener::bind("127.0.0.1:9901").ok()).await;
    let base = gateway::base(&pki);
    let configured = |address: &str| {
        let admin = if address.is_empty() { String::new() } else { format!("[admin]\naddress = \"{address}\"\n") };
        let base = base.replace("[admin]\naddress = \"127.0.0.1:0\"\n", &admin);
        format!("{base}{}", gateway::upstream("api", upstream.address))
    };
    let gateway = Gateway::start_with(&configured("")).await;
    assert_eq!(gateway.admin, None);
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    assert_eq!(client.get("/x").await.status, 200);
    let refused = Gateway::try_start_with(&configured("127.0.0.1:9901")).await.err().unwrap();
    assert!(refused[0].contains("cannot listen on 127.0.0.1:9901 ([admin] address)"), "{refused:?}");
    assert_eq!(Gateway::start_with(&configured("off")).await.admin, None);
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_does_not_move_it() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    for other in ["off", "127.0.0.1:1"] {
        let moved = gateway
            .configuration()
            .replace("[admin]\naddress = \"127.0.0.1:0\"", &format!("[admin]\naddress = \"{other}\""));
        let refused = gateway.reload_with(&moved).await.unwrap_err();
        assert_eq!(refused, ["[admin] address cannot be changed by a reload; restart the gateway"]);
    }
    assert_eq!(get(gateway.admin.unwrap(), "/ready").await.status, 200);
}
