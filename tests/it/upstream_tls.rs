//! TLS to the upstream: whom the gateway believes, what it shows, and what becomes of a request when hands are not
//! shaken.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::support::binary::{Binary, free_port};
use crate::support::pki::foreign_authority;
use crate::support::secure::{Hands, Seen, secure, secure_on, server_under, upstream};
use crate::support::{Client, Dns, Gateway, Pki, RawAnswer, Upstream, Version};

async fn before(pki: &Pki, url: &str, more: &str) -> (Gateway, Client) {
    let gateway = Gateway::start(pki, &upstream(url, pki, more)).await;
    let client = Client::new(pki, gateway.address).with(&pki.client("client-1"));
    (gateway, client)
}

fn subjects(seen: &Seen) -> Vec<Option<String>> {
    seen.lock().unwrap().iter().map(|(_, subject, _)| subject.clone()).collect()
}

fn post(length: usize) -> String {
    format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
}

/// Nothing of what is wrong is told to the client.
fn is_refused(answer: &RawAnswer) {
    assert_eq!((answer.status, &answer.json()["reason"]), (502, &"upstream_tls_failed".into()), "{}", answer.text());
    assert!(!answer.text().to_lowercase().contains("certificate"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_an_upstream_under_tls_over_one_kept_connection() {
    let pki = Pki::new();
    for version in [Version::Tls12, Version::Tls13] {
        let (server, seen) = secure(Hands { version: Some(version), ..Hands::of(&pki) }).await;
        let (_gateway, client) = before(&pki, &format!("https://{}", server.address), "").await;
        for _ in 0..3 {
            assert_eq!(client.get("/x").await.text(), "secure 0");
            assert_eq!(client.send_raw(post(100_000)).await.text(), "secure 100000");
        }
        assert_eq!(server.connections(), 1);
        assert!(seen.lock().unwrap().iter().all(|seen| *seen == (None, None, http::Version::HTTP_11)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_that_is_asked_for_is_the_configured_one() {
    let pki = Pki::new();
    let (server, seen) = secure(Hands::of(&pki)).await;
    let (_gateway, client) =
        before(&pki, &format!("https://{}", server.address), "server_name = \"api.example.com\"\n").await;
    assert_eq!(client.get("/x").await.text(), "secure 0");
    assert_eq!(seen.lock().unwrap()[0].0.as_deref(), Some("api.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_cannot_be_believed_gets_nothing() {
    let pki = Pki::new();
    let foreign = foreign_authority("foreign");
    let past = rcgen::date_time_ymd(2020, 1, 1);
    for (identity, name) in [
        (server_under(&foreign, |_| {}), "localhost"),
        (server_under(&pki.issuer(), |_| {}), "other.example"),
        (server_under(&pki.issuer(), |_| {}), "127.0.0.2"),
        (server_under(&pki.issuer(), |params| params.not_after = past), "localhost"),
    ] {
        let (server, seen) = secure(Hands::with(identity)).await;
        let more = format!("server_name = \"{name}\"\n");
        let (_gateway, client) = before(&pki, &format!("https://{}", server.address), &more).await;
        is_refused(&client.get("/x").await);
        is_refused(&client.send_raw(post(5)).await);
        assert!(seen.lock().unwrap().is_empty());
    }
}

/// Each request tries again; the log has it once in a while.
#[tokio::test(flavor = "multi_thread")]
async fn why_hands_are_not_shaken_is_in_the_log() {
    let foreign = foreign_authority("foreign");
    let pki = Pki::new();
    let (server, _) = secure(Hands::with(server_under(&foreign, |_| {}))).await;
    let binary = Binary::start(&upstream(&format!("https://{}", server.address), &pki, ""));
    let client = Client::new(&binary.pki, binary.address).with(&binary.pki.client("client-1"));
    for _ in 0..3 {
        is_refused(&client.get("/x").await);
    }
    let is_warning = |line: &Value| line["level"] == "warn" && line.to_string().contains("TLS handshake");
    let line = binary.logged("a failed handshake", is_warning);
    assert!(line.to_string().contains("UnknownIssuer") && line["upstream"] == "api", "{line}");
    assert_eq!(line["endpoint"], server.address.to_string());
    binary.logged("the last request", |line| line["event"] == "request" && line["reason"] == "upstream_tls_failed");
    assert_eq!(binary.log().iter().filter(|line| is_warning(line)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_tls_is_none() {
    let pki = Pki::new();
    let server = Upstream::echo().await;
    let (_gateway, client) = before(&pki, &format!("https://{}", server.address), "").await;
    is_refused(&client.get("/x").await);
    assert!(server.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_shake_hands_in_time_is_a_504() {
    let pki = Pki::new();
    let server = Upstream::raw(|_, stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let more = "[upstream.api.timeouts]\nconnect = \"200ms\"\n";
    for protocol in ["http1", "http2"] {
        let text = upstream(&format!("https://{}", server.address), &pki, more);
        let text = text.replacen("[upstream.api]", &format!("[upstream.api]\nprotocol = \"{protocol}\""), 1);
        let gateway = Gateway::start(&pki, &text).await;
        let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
        let answer = client.get("/x").await;
        assert_eq!((answer.status, &answer.json()["reason"]), (504, &"upstream_connect_timeout".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_asks_for_a_certificate_gets_ours_and_refuses_without() {
    let pki = Pki::new();
    pki.issue_client("gateway");
    let identity = format!(
        "certificate = {:?}\nprivate_key = {:?}\n",
        pki.path("clients/gateway.crt"),
        pki.path("clients/gateway.key")
    );
    for version in [Version::Tls12, Version::Tls13] {
        let (server, seen) =
            secure(Hands { clients: Some(pki.read("ca.crt")), version: Some(version), ..Hands::of(&pki) }).await;
        let url = format!("https://{}", server.address);
        let (_gateway, client) = before(&pki, &url, "").await;
        is_refused(&client.get("/x").await);
        is_refused(&client.send_raw(post(0)).await);
        assert!(seen.lock().unwrap().is_empty());
        let (_gateway, client) = before(&pki, &url, &identity).await;
        assert_eq!(client.send_raw(post(5)).await.text(), "secure 5");
        assert_eq!(subjects(&seen), [Some("gateway".to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_replaced_are_read_by_a_reload_and_others_keep_their_connections() {
    let pki = Pki::new();
    for name in ["old", "new"] {
        pki.issue_client(name);
    }
    let put = |name: &str| {
        for end in ["crt", "key"] {
            std::fs::copy(pki.path(&format!("clients/{name}.{end}")), pki.path(&format!("gateway.{end}"))).unwrap();
        }
    };
    put("old");
    let (server, seen) = secure(Hands { clients: Some(pki.read("ca.crt")), ..Hands::of(&pki) }).await;
    let more = format!("certificate = {:?}\nprivate_key = {:?}\n", pki.path("gateway.crt"), pki.path("gateway.key"));
    let (gateway, client) = before(&pki, &format!("https://{}", server.address), &more).await;
    assert_eq!(client.get("/x").await.status, 200);
    gateway.control.reload().await.unwrap();
    assert_eq!(client.get("/x").await.status, 200);
    assert_eq!(server.connections(), 1, "nothing has changed");
    put("new");
    gateway.control.reload().await.unwrap();
    assert_eq!(client.get("/x").await.status, 200);
    let [old, new] = ["old", "new"].map(|name| Some(name.to_owned()));
    assert_eq!(subjects(&seen), [old.clone(), old, new.clone()]);
    // A bad set leaves everything as it is.
    std::fs::write(pki.path("gateway.crt"), "nonsense").unwrap();
    let problems = gateway.control.reload().await.unwrap_err();
    assert!(problems.join(" ").contains("upstream api: "), "{problems:?}");
    assert_eq!(client.get("/x").await.status, 200);
    assert_eq!((subjects(&seen).pop().unwrap(), server.connections()), (new, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_missing_or_no_pair_are_refused_at_the_start() {
    let pki = Pki::new();
    pki.issue_client("other");
    let crt = pki.path("clients/client-1.crt");
    for (more, why) in [
        (format!("certificate = {crt:?}\nprivate_key = \"/nowhere/x.key\"\n"), "there is no file /nowhere/x.key"),
        (format!("certificate = {crt:?}\nprivate_key = {:?}\n", pki.path("clients/other.key")), "does not belong"),
    ] {
        let text = format!("{}{}", crate::support::gateway::base(&pki), upstream("https://127.0.0.1", &pki, &more));
        let problems = Gateway::try_start_with(&text).await.err().unwrap().join("\n");
        assert!(problems.contains(why) && problems.contains("upstream api"), "{problems}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_to_another_endpoint_when_hands_are_not_shaken_with_the_first() {
    let pki = Pki::new();
    let foreign = foreign_authority("foreign");
    let addresses: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let port = free_port(&addresses);
    let (good, _) = secure_on(SocketAddr::new(addresses[0], port), Hands::of(&pki)).await;
    let (bad, seen) = secure_on(SocketAddr::new(addresses[1], port), Hands::with(server_under(&foreign, |_| {}))).await;
    let dns = Dns::start().await;
    dns.set("api.test.local", 60, &addresses).await;
    let more = format!("server_name = \"localhost\"\n[upstream.api.dns]\nresolvers = [\"{}\"]\n", dns.address);
    let (_gateway, client) = before(&pki, &format!("https://api.test.local:{port}"), &more).await;
    for _ in 0..20 {
        assert_eq!(client.send_raw(post(1000)).await.text(), "secure 1000");
    }
    assert!(good.connections() > 0 && bad.connections() > 0);
    assert!(seen.lock().unwrap().is_empty());
}

/// Whoever sits in between can end a TCP connection, but not a TLS one.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_length_that_ends_without_a_farewell_is_cut() {
    let pki = Pki::new();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let Hands { identity, .. } = Hands::of(&pki);
    let config = config.with_single_cert(identity.chain, identity.key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let server = Upstream::raw(move |number, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it?").await.unwrap();
            stream.flush().await.unwrap();
            if number == 0 {
                stream.shutdown().await.unwrap();
            }
            let (socket, _) = stream.into_inner();
            drop(socket);
            tokio::time::sleep(Duration::ZERO).await;
        }
    })
    .await;
    let (gateway, client) = before(&pki, &format!("https://{}", server.address), "").await;
    for (path, aborted) in [("/whole", false), ("/cut", true)] {
        let mut raw = client.raw().await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        let answer = String::from_utf8(raw.rest().await).unwrap();
        assert_eq!(answer.ends_with("0\r\n\r\n"), !aborted, "{answer}");
        let line = gateway.logged("request", |line| line["path"] == path).await;
        assert_eq!(line["aborted"] == "upstream", aborted, "{line}");
    }
}
