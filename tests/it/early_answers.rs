//! Answers that are ready before the request's body has come: the client gets to read them, and where little is left of
//! the body the connection stays usable.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::client::PATIENCE;
use crate::support::{Client, RawAnswer, Site, eventually};

const ROUTES: &str = r#"
[[route]]
path = "/get"
methods = ["GET"]
upstream = "api"

[[route]]
path = "/small"
upstream = "api"
max_request_body = 1000

[[route]]
path = "/nothing"
upstream = "api"
max_request_body = 0

[[route]]
path = "/fixed"
public = true
respond = { status = 200, body = "fixed" }
max_request_body = "64MiB"

[[route]]
path = "/big"
upstream = "api"
max_request_body = "64MiB"
"#;

/// The answers there are: target, whether with a certificate, status.
const EARLY: [(&str, bool, u16); 5] = [
    ("/big", false, 403),
    ("/nowhere", true, 404),
    ("/get", true, 405),
    ("/nothing", true, 413),
    ("/fixed", false, 200),
];

fn post(target: &str, fields: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n")
}

fn client(site: &Site, with_certificate: bool) -> &Client {
    if with_certificate { &site.client } else { &site.stranger }
}

fn closes(answer: &RawAnswer) -> bool {
    answer.header("connection") == Some("close")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_is_read_so_that_the_connection_stays_usable() {
    let site = Site::start(ROUTES).await;
    for (target, with_certificate, status) in EARLY {
        let mut raw = client(&site, with_certificate).raw().await;
        for length in [0, 1, 1001, 64 * 1024] {
            raw.send(post(target, &format!("Content-Length: {length}"))).await;
            raw.send(vec![b'x'; length]).await;
            let answer = raw.answer().await;
            let expected = if length == 0 && status == 413 { 200 } else { status };
            assert_eq!((answer.status, closes(&answer)), (expected, false), "{target} with {length} bytes");
        }
        let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
        raw.send(post(target, "Transfer-Encoding: chunked")).await;
        raw.send(format!("{}0\r\n\r\n", chunk.repeat(4))).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, status, "{target} with 64 KiB in chunks");
        if status == 413 {
            // How long it is shows only after it has begun to go upstream.
            assert!(closes(&answer));
            continue;
        }
        assert!(!closes(&answer), "{target} with 64 KiB in chunks");
        raw.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.answer().await.text(), "OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_64_kib_the_answer_comes_at_once_and_the_connection_ends() {
    let site = Site::start(ROUTES).await;
    for (target, with_certificate, status) in EARLY {
        let mut raw = client(&site, with_certificate).raw().await;
        raw.send(post(target, &format!("Content-Length: {}", 64 * 1024 + 1))).await;
        // Not a byte of the body has been sent.
        let answer = raw.answer().await;
        assert_eq!((answer.status, closes(&answer)), (status, true), "{target}");
        assert!(raw.is_closed().await, "{target}");

        let mut raw = client(&site, with_certificate).raw().await;
        let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
        raw.send(format!("{}{}1\r\nx\r\n", post(target, "Transfer-Encoding: chunked"), chunk.repeat(4))).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, closes(&answer)), (status, true), "{target} in chunks");
        assert!(raw.is_closed().await, "{target} in chunks");
    }
    let seen = site.upstream.seen();
    assert!(seen.iter().all(|seen| seen.body.is_err()), "{seen:?}");
}

/// Sends all of a long body before it reads, as simple clients do.
async fn send_blindly(client: &Client, target: &str, fields: &str, piece: &[u8], pieces: usize) -> RawAnswer {
    let mut raw = client.raw().await;
    raw.send(post(target, fields)).await;
    for _ in 0..pieces {
        let sent = timeout(PATIENCE, raw.stream.write_all(piece)).await.expect("somebody reads, or closes");
        if sent.is_err() {
            break;
        }
    }
    raw.answer().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_everything_before_it_reads_gets_its_answer() {
    let site = Site::start(ROUTES).await;
    let mut clients = JoinSet::new();
    for (target, with_certificate, status) in EARLY {
        let client = client(&site, with_certificate).clone();
        clients.spawn(async move {
            let fields = format!("Content-Length: {}", 320 * 64 * 1024);
            let answer = send_blindly(&client, target, &fields, &[b'x'; 64 * 1024], 320).await;
            assert_eq!(answer.status, status, "20 MB to {target}");
        });
    }
    let stranger = site.stranger.clone();
    clients.spawn(async move {
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        let answer = send_blindly(&stranger, "/big", "Transfer-Encoding: chunked", chunk.as_bytes(), 200).await;
        assert_eq!((answer.status, answer.json()["reason"].clone()), (403, "certificate_missing".into()));
    });
    while let Some(outcome) = clients.join_next().await {
        outcome.unwrap();
    }
    // The contract's mebibyte: whoever sends no more is not cut off.
    let answer = send_blindly(&site.stranger, "/big", "Content-Length: 900000", &[b'x'; 9000], 100).await;
    assert_eq!((answer.status, answer.json()["reason"].clone()), (403, "certificate_missing".into()));
    assert_eq!(site.upstream.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_lingers_is_gone_after_two_seconds() {
    let site = Site::start(ROUTES).await;
    let mut raw = site.stranger.raw().await;
    raw.send(post("/big", "Content-Length: 100000")).await;
    let began = Instant::now();
    assert_eq!(raw.answer().await.status, 403);
    assert!(raw.is_closed().await, "our side ends at once");
    assert!(began.elapsed() < Duration::from_secs(1));
    // The other side does not end its own, and goes on slowly.
    eventually("the connection is reset", async || raw.stream.get_mut().0.write_all(b"x").await.is_err().then_some(()))
        .await;
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_expects_100_is_answered_at_once_and_without_it() {
    let site = Site::start(ROUTES).await;
    for (target, with_certificate, status) in EARLY {
        for length in [1, 5000, 10_000_000] {
            let mut raw = client(&site, with_certificate).raw().await;
            raw.send(post(target, &format!("Content-Length: {length}\r\nExpect: 100-continue"))).await;
            assert_eq!(raw.answer().await.status, status, "{target} with {length}");
        }
    }
    assert_eq!(site.upstream.connections(), 0);
    // Who is let in is asked to go on.
    let mut raw = site.client.raw().await;
    raw.send(post("/big", "Content-Length: 5\r\nExpect: 100-continue")).await;
    assert_eq!(raw.answer().await.status, 100);
    raw.send("hello").await;
    assert_eq!(raw.answer().await.status, 200);
    let seen = site.upstream.seen();
    assert_eq!(seen[0].body.as_deref(), Ok(&b"hello"[..]));
    assert!(!seen[0].headers.contains_key("expect"));
    // An answer before the body leaves the connection at an end, since nobody knows whether a body follows.
    let mut raw = site.stranger.raw().await;
    raw.send(post("/big", "Content-Length: 5\r\nExpect: 100-continue")).await;
    let answer = raw.answer().await;
    assert!(closes(&answer));
    raw.send("hello").await;
    assert!(raw.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_at_its_limit_passes_and_one_byte_more_does_not() {
    let site = Site::start(ROUTES).await;
    let chunked = |length: usize| format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
    for (length, status) in [(1000, 200), (1001, 413)] {
        let mut raw = site.client.raw().await;
        raw.send(post("/small", &format!("Content-Length: {length}"))).await;
        raw.send("x".repeat(length)).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, status, "{length}");
        if status == 413 {
            assert_eq!(answer.json()["reason"], "body_too_large");
        }
        let mut raw = site.client.raw().await;
        raw.send(post("/small", "Transfer-Encoding: chunked")).await;
        raw.send(chunked(length)).await;
        assert_eq!(raw.answer().await.status, status, "{length} in a chunk");
        assert_eq!(
            site.client.h2("POST", "/small", &[], &"x".repeat(length)).await.status,
            status,
            "{length} over HTTP/2"
        );
    }
    let whole = site.upstream.seen().into_iter().filter(|seen| seen.body.is_ok()).count();
    assert_eq!(whole, 3, "what is too long never reaches the upstream whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_the_stream_ends_with_the_answer_and_the_connection_stays() {
    let site = Site::start(ROUTES).await;
    for (target, with_certificate, status) in EARLY {
        let stream = client(&site, with_certificate).connect(&["h2"]).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for length in [None, Some(1_000_000)] {
            let mut request = Request::post(format!("https://localhost{target}"));
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            sender = sender.ready().await.unwrap();
            let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            if status == 413 && length.is_none() {
                body.send_data(Bytes::from_static(b"x"), false).unwrap();
            }
            let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
            assert_eq!(answer.status(), status, "{target}");
            let mut answer = answer.into_body();
            while let Some(data) = timeout(PATIENCE, answer.data()).await.unwrap() {
                let data = data.unwrap();
                let _ = answer.flow_control().release_capacity(data.len());
            }
            assert!(answer.is_end_stream(), "{target}");
            let reset =
                timeout(PATIENCE, std::future::poll_fn(|context| body.poll_reset(context))).await.unwrap().unwrap();
            assert_eq!(reset, h2::Reason::NO_ERROR, "{target}");
        }
        sender = sender.ready().await.unwrap();
        let health = Request::get("https://localhost/health").body(()).unwrap();
        let (answer, _) = sender.send_request(health, true).unwrap();
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), 200, "the connection stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_early_answers_over_one_http_2_connection_do_not_use_up_its_window() {
    let site = Site::start(ROUTES).await;
    let mut sender = site.stranger.http2().await;
    for _ in 0..60 {
        let body = http_body_util::Full::new(Bytes::from(vec![b'x'; 60_000]));
        let request = Request::post("https://localhost/big").body(body).unwrap();
        let answer = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), 403);
    }
    assert_eq!(site.upstream.connections(), 0);
}
