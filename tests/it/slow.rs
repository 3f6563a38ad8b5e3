//! Clients that take their time: each wait has its deadline.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::support::client::PATIENCE;
use crate::support::site::ROUTES;
use crate::support::upstream::text;
use crate::support::{Site, Upstream, eventually};

const TIMEOUTS: &str = r#"
[timeouts]
tls_handshake = "400ms"
request_headers = "400ms"
request_body_idle = "400ms"
send = "600ms"
keepalive = "500ms"
"#;

async fn site() -> Site {
    Site::start(&format!("{ROUTES}{TIMEOUTS}")).await
}

/// Reads a socket to its end and tells when that was.
async fn ends_after(socket: &mut TcpStream, began: Instant) -> Duration {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut rest)).await.expect("an end in time");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_get_on_is_given_up() {
    let site = site().await;
    // The beginning of a ClientHello, and nothing at all.
    for (number, start) in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b""].into_iter().enumerate() {
        let mut socket = TcpStream::connect(site.gateway.address).await.unwrap();
        let began = Instant::now();
        socket.write_all(start).await.unwrap();
        let took = ends_after(&mut socket, began).await;
        assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(3), "{took:?}");
        eventually("a line for each", async || {
            let lines = site.gateway.log();
            let lines = lines.iter().filter(|line| line["event"] == "handshake" && line["reason"] == "timeout");
            (lines.count() == number + 1).then_some(())
        })
        .await;
    }
    // One byte at a time does not help.
    let mut socket = TcpStream::connect(site.gateway.address).await.unwrap();
    let began = Instant::now();
    for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" {
        if socket.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(30)).await;
    }
    assert!(ends_after(&mut socket, began).await < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_ends_the_connection_without_an_answer() {
    let site = site().await;
    for start in ["", "G", "GET /open HTTP/1.1\r\nHost: local", "GET /open HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut raw = site.client.raw().await;
        let began = Instant::now();
        raw.send(start).await;
        assert!(raw.is_closed().await, "{start:?}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(3), "{start:?}: {took:?}");
    }
    // More bytes do not give it more time.
    let mut raw = site.client.raw().await;
    let began = Instant::now();
    for byte in b"GET /open HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        if raw.stream.write_all(&[*byte]).await.is_err() || raw.stream.flush().await.is_err() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(raw.is_closed().await);
    assert!(began.elapsed() < Duration::from_secs(4));
    assert!(site.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_without_an_answer_and_without_a_line() {
    let site = site().await;
    let mut raw = site.client.raw().await;
    raw.send("GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 200);
    let began = Instant::now();
    assert!(raw.is_closed().await);
    assert!(began.elapsed() >= Duration::from_millis(450));
    // A second head has its own time.
    let mut raw = site.client.raw().await;
    raw.send("GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 200);
    raw.send("GET /open HT").await;
    assert!(raw.is_closed().await);
    assert_eq!(site.upstream.seen().len(), 2);
    assert!(site.gateway.log().iter().all(|line| line["event"] == "request"), "{:?}", site.gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_coming_gets_408_and_never_reaches_the_upstream_whole() {
    let site = site().await;
    for (number, (fields, start)) in [
        ("Content-Length: 10", "hello"),
        ("Content-Length: 10", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhel"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = site.client.raw().await;
        let began = Instant::now();
        raw.send(format!("POST /private HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{start}")).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.json()["reason"].clone()), (408, "body_too_slow".into()), "{fields}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(began.elapsed() >= Duration::from_millis(350));
        assert!(raw.is_closed().await);
        let seen = eventually("the upstream's request breaks off", async || {
            let seen = site.upstream.seen();
            (seen.len() == number + 1).then_some(seen)
        })
        .await;
        assert!(seen.iter().all(|seen| seen.body.is_err()));
        let id = answer.header("x-request-id").unwrap().to_owned();
        let line = site.gateway.logged("request", |line| line["request_id"] == id.as_str()).await;
        assert_eq!((&line["status"], &line["reason"]), (&408.into(), &"body_too_slow".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_keeps_coming_has_all_the_time_it_needs() {
    let site = site().await;
    let mut raw = site.client.raw().await;
    let began = Instant::now();
    raw.send("POST /private HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n").await;
    for _ in 0..10 {
        sleep(Duration::from_millis(100)).await;
        raw.send("x").await;
    }
    assert_eq!(raw.answer().await.status, 200);
    assert!(began.elapsed() > Duration::from_millis(800));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_given_up() {
    let upstream = Upstream::answering(|_| http::Response::new(text(vec![b'x'; 32 << 20]))).await;
    let site = Site::before(upstream, &format!("{ROUTES}{TIMEOUTS}")).await;
    let mut raw = site.client.raw().await;
    raw.send("GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let line = site.gateway.logged("request", |line| line["path"] == "/private").await;
    assert_eq!(line["aborted"], "client");
    assert!(line["bytes_out"].as_u64().unwrap() < 32 << 20, "{line}");

    let stream = site.client.connect(&["h2"]).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/private?two").body(()).unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let mut body = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
    // The window stays shut: nothing is released.
    let fault = timeout(PATIENCE, async {
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Some(error),
                None => return None,
            }
        }
    })
    .await
    .expect("an end in time");
    assert!(fault.is_some_and(|fault| fault.is_reset() || fault.is_go_away() || fault.is_io()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_nobody_wants_is_waited_for_only_so_long() {
    let site = Site::start(ROUTES).await;
    let mut raw = site.stranger.raw().await;
    let began = Instant::now();
    raw.send("POST /private HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello").await;
    let answer = raw.answer().await;
    let took = began.elapsed();
    assert_eq!((answer.status, answer.header("connection")), (403, Some("close")));
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(13), "{took:?}");
}
