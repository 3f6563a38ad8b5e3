//! One line for each request, whatever became of it.

use std::sync::Arc;

use rcgen::{DnType, SanType};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::support::wire::{Wire, h2, h2_request, in_front_of, soon};
use crate::support::{Client, Gateway, Pki, Upstream, eventually, gateway};

fn lines(gateway: &Gateway) -> Vec<Value> {
    gateway.log().into_iter().filter(|line| line["event"] == "request").collect()
}

async fn line(gateway: &Gateway, path: &str) -> Value {
    gateway.logged("request", |line| line["path"] == path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_has_all_its_fields() {
    let upstream = Upstream::echo().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = client
        .send_raw(format!(
            "POST /a/b?secret=1 HTTP/1.1\r\nHost: LocalHost:8443\r\nTraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\
             X-Request-Id: mine\r\nContent-Length: 4\r\n\r\nbody"
        ))
        .await;
    assert_eq!(answer.status, 200);
    let line = line(&gateway, "/a/b").await;
    for (name, expected) in [
        ("level", "info"),
        ("event", "request"),
        ("request_id", answer.header("x-request-id").unwrap()),
        ("client_ip", "127.0.0.1"),
        ("tls_version", "TLSv1.3"),
        ("sni", "localhost"),
        ("client_verify", "SUCCESS"),
        ("client_subject", "CN=client-1"),
        ("client_san", "DNS:client-1"),
        ("method", "POST"),
        ("host", "LocalHost:8443"),
        ("path", "/a/b"),
        ("protocol", "HTTP/1.1"),
        ("route", "/*"),
        ("upstream", "api"),
        ("upstream_addr", &upstream.address.to_string()),
        ("trace_id", trace),
    ] {
        assert_eq!(line[name], expected, "{name} in {line}");
    }
    let body = "upstream POST /a/b?secret=1".len();
    for (name, expected) in [("attempts", 1), ("status", 200), ("bytes_in", 4), ("bytes_out", body)] {
        assert_eq!(line[name], expected, "{name} in {line}");
    }
    assert_eq!(line["tls_resumed"], false);
    for name in ["reason", "aborted"] {
        assert_eq!(line.get(name), Some(&Value::Null), "{name} in {line}");
    }
    for name in ["tls_cipher", "tls_group", "client_serial", "client_sha256"] {
        assert!(line[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {line}");
    }
    assert!(line["client_port"].as_u64().unwrap() > 0);
    let (duration, upstream_ms) = (line["duration_ms"].as_f64().unwrap(), line["upstream_ms"].as_f64().unwrap());
    assert!(duration > 0.0 && upstream_ms > 0.0 && upstream_ms <= duration, "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    assert!(!line.to_string().contains("secret"), "the query is no business of the log's");
    assert!(line.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array()), "flat");

    let refused = client.clone().without_certificate().h2("GET", "/refused", &[], "").await;
    let line = self::line(&gateway, "/refused").await;
    assert_eq!(line["request_id"], refused.headers["x-request-id"].to_str().unwrap());
    assert_eq!((&line["status"], &line["reason"]), (&403.into(), &"certificate_missing".into()));
    assert_eq!((&line["client_verify"], &line["protocol"]), (&"NONE".into(), &"HTTP/2".into()));
    assert_eq!((&line["route"], &line["attempts"], &line["host"]), (&"-".into(), &0.into(), &"localhost".into()));
    assert!(line["upstream"].is_null() && line["upstream_addr"].is_null() && line["upstream_ms"].is_null());
    assert!(line["bytes_out"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_written_once_and_only_when_the_answer_has_ended() {
    let end = Arc::new(Notify::new());
    let go_on = Arc::clone(&end);
    let upstream = Upstream::raw(move |_, stream| {
        let go_on = Arc::clone(&go_on);
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
            go_on.notified().await;
            wire.send("half").await;
        }
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    raw.until("half").await;
    // A line that is written later than this one would be.
    client.clone().without_certificate().get("/other").await;
    line(&gateway, "/other").await;
    assert_eq!(lines(&gateway).len(), 1);
    end.notify_one();
    raw.until("half").await;
    assert_eq!(line(&gateway, "/x").await["bytes_out"], 8);
    assert_eq!(lines(&gateway).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_broke_a_request_off_is_told() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        wire.head().await;
        wire.rest().await;
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send("POST /mid-body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf").await;
    eventually("the request", async || (upstream.connections() == 1).then_some(())).await;
    drop(raw);
    let line_of = line(&gateway, "/mid-body").await;
    assert_eq!((&line_of["aborted"], &line_of["status"]), (&"client".into(), &499.into()), "{line_of}");
    let mut raw = client.raw().await;
    raw.send("GET /waiting HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    eventually("the request", async || (upstream.connections() == 2).then_some(())).await;
    raw.stream.shutdown().await.unwrap();
    drop(raw);
    let line_of = line(&gateway, "/waiting").await;
    assert_eq!((&line_of["aborted"], &line_of["status"]), (&"client".into(), &499.into()), "{line_of}");
    let (mut sender, _end) = h2(&client).await;
    let (response, mut stream) = sender.send_request(h2_request("GET", "/reset"), true).unwrap();
    eventually("the request", async || (upstream.connections() == 3).then_some(())).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    let line_of = line(&gateway, "/reset").await;
    assert_eq!((&line_of["aborted"], &line_of["status"]), (&"client".into(), &499.into()), "{line_of}");
    assert_eq!(line_of["level"], "info");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_sends_is_escaped_and_cut_to_size() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let hostile = pki.spoiled(|params| {
        let name = format!("\"}}\n\t\u{1}\\{{évil\u{2028}{}", "\\\"".repeat(600));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.distinguished_name.push(DnType::OrganizationName, name.as_str());
        params.subject_alt_names = (0..100)
            .map(|number| SanType::URI(format!("spiffe://x/{number}/\"\\,%\u{7f}").try_into().unwrap()))
            .collect();
    });
    let client = Client::new(&pki, gateway.address).with(&hostile);
    let path = format!("/a\"{{}}|^~{}", "\"".repeat(7000));
    let answer = client.get(&path).await;
    // The gate may say yes or no to such a name; the line is what matters.
    let line = gateway.logged("request", |line| line["path"].as_str().is_some_and(|path| path.starts_with("/a"))).await;
    assert_eq!(line["status"], answer.status);
    assert!(line["path"].as_str().unwrap().len() <= 2048);
    // `log` has parsed every line; here their sizes.
    for line in gateway.log() {
        assert!(line.to_string().len() < 16 * 1024, "{line}");
    }
    for (name, bytes) in [
        ("host", b"GET /host HTTP/1.1\r\nHost: a\"b\\c\r\n\r\n".to_vec()),
        ("obs-text", b"GET /obs HTTP/1.1\r\nHost: \xff\xfe\xe9\r\n\r\n".to_vec()),
        ("method", b"A'B!#$%&*+-.^_`|~ /method HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("trace", b"GET /trace HTTP/1.1\r\nHost: localhost\r\nTraceparent: 00-\"}\xff\r\n\r\n".to_vec()),
        // As long as escapes can make it: a line that is too long is not written.
        ("hidden", format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "\u{9b}".repeat(1023)).into_bytes()),
        ("percent", b"GET /percent%0a%0d%22%00 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
    ] {
        let before = lines(&gateway).len();
        client.send_raw(bytes).await;
        eventually(name, async || (lines(&gateway).len() == before + 1).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_are_logged_only_when_asked_for_and_nothing_when_the_log_is_off() {
    let (pki, upstream) = (Pki::new(), Upstream::echo().await);
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let silent = gateway.configuration() + "[logs]\naccess = false\nhealth = true\n";
    let talkative = gateway.configuration() + "[logs]\nhealth = true\n";
    client.get("/health").await;
    client.get("/one").await;
    line(&gateway, "/one").await;
    assert_eq!(lines(&gateway).len(), 1);
    gateway.reload_with(&talkative).await.unwrap();
    client.get("/health").await;
    let health = line(&gateway, "/health").await;
    assert_eq!((&health["status"], &health["route"]), (&200.into(), &"-".into()));
    gateway.reload_with(&silent).await.unwrap();
    client.get("/two").await;
    client.get("/health").await;
    gateway.reload_with(&talkative).await.unwrap();
    client.get("/three").await;
    line(&gateway, "/three").await;
    assert_eq!(lines(&gateway).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_became_a_request_has_a_line_of_its_own_kind_and_a_probe_has_none() {
    let upstream = Upstream::echo().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    drop(TcpStream::connect(gateway.address).await.unwrap());
    let mut garbage = TcpStream::connect(gateway.address).await.unwrap();
    garbage.write_all(b"\x16\x03\x01\x00\x05garbage").await.unwrap();
    let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut garbage, &mut Vec::new())).await;
    let handshake = gateway.logged("handshake", |_| true).await;
    assert_eq!((&handshake["level"], &handshake["client_ip"]), (&"warn".into(), &"127.0.0.1".into()));
    assert!(handshake["reason"].is_string());
    let mut raw = client.raw().await;
    raw.send("GET /x HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 400);
    let rejected = gateway.logged("rejected", |line| line["status"] == 400).await;
    assert_eq!(rejected["level"], "warn");
    // An idle connection that ends, and one that only shakes hands, are nothing to speak of.
    let before = gateway.log().len();
    let mut idle = client.raw().await;
    idle.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.answer().await;
    drop(idle);
    drop(client.raw().await);
    drop(h2(&client).await);
    client.get("/last").await;
    line(&gateway, "/last").await;
    let more: Vec<_> = gateway.log().split_off(before);
    assert_eq!(more.len(), 1, "{more:?}");
}
