//! Connections that never become one: garbage, plain HTTP, probes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::PATIENCE;
use crate::support::site::ROUTES;
use crate::support::{Site, eventually};

async fn say(site: &Site, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(site.gateway.address).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("an end in time");
    answer
}

async fn lines(site: &Site, reason: &str, count: usize) {
    eventually(&format!("{count} lines of {reason}"), async || {
        let lines = site.gateway.log();
        let fits = |line: &&serde_json::Value| {
            line["event"] == "handshake" && line["level"] == "warn" && line["reason"] == reason
        };
        (lines.iter().filter(fits).count() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_told_that_this_is_https() {
    let site = Site::start(ROUTES).await;
    let requests = [
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi",
        "HEAD / HTTP/1.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for request in requests {
        let answer = say(&site, request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("Connection: close"), "{answer}");
    }
    lines(&site, "plain_http", requests.len()).await;
    assert_eq!(site.gateway.log().len(), requests.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_gets_an_alert_and_a_line() {
    let site = Site::start(ROUTES).await;
    let garbage: [&[u8]; 5] = [
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00\x80",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ];
    for bytes in garbage {
        let answer = say(&site, bytes).await;
        assert!(answer.is_empty() || answer[0] == 0x15, "{bytes:?}: {answer:?}");
    }
    lines(&site, "handshake_failed", garbage.len()).await;
    assert_eq!(site.stranger.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_a_probe_and_leaves_no_line() {
    let site = Site::start(ROUTES).await;
    for _ in 0..5 {
        drop(TcpStream::connect(site.gateway.address).await.unwrap());
        let mut socket = TcpStream::connect(site.gateway.address).await.unwrap();
        socket.shutdown().await.unwrap();
        assert_eq!(timeout(PATIENCE, socket.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
        // A load balancer may reset its probes.
        let socket = TcpStream::connect(site.gateway.address).await.unwrap();
        socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(socket);
    }
    // A handshake and nothing more is none either.
    for protocol in ["http/1.1", "h2"] {
        drop(site.stranger.connect(&[protocol]).await.unwrap());
        let mut stream = site.stranger.connect(&[protocol]).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
    assert_eq!(site.stranger.get("/private").await.status, 403);
    let line = site.gateway.logged("request", |line| line["path"] == "/private").await;
    assert_eq!(site.gateway.log(), [line]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_name_changes_nothing_but_the_log() {
    let site = Site::start(ROUTES).await;
    for (name, sni) in [("api.example.com", "api.example.com".into()), ("127.0.0.1", serde_json::Value::Null)] {
        let (stranger, client) = (site.stranger.clone().calling(name), site.client.clone().calling(name));
        assert_eq!(stranger.get("/health").await.status, 200, "{name}");
        assert_eq!(stranger.get("/private").await.status, 403, "{name}");
        let answer = client.get("/private").await;
        assert_eq!(answer.status, 200, "{name}");
        let id = answer.header("x-request-id").unwrap();
        let line = site.gateway.logged("request", |line| line["request_id"] == id).await;
        assert_eq!(line["sni"], sni);
    }
}
