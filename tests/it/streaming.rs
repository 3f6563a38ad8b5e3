//! Bodies pass as they come and no faster than they are taken; whoever leaves takes the other side along.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, mpsc};

use crate::support::wire::{Wire, h2, h2_request, in_front_of, is_quiet, soon};
use crate::support::{Upstream, eventually};

/// More than all buffers between two ends can hold: sockets, TLS, hyper, h2.
const TOO_MUCH: usize = 64 << 20;
const PIECE: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_piece_of_an_answer_arrives_before_the_second_is_sent() {
    let next = Arc::new(Notify::new());
    let go_on = Arc::clone(&next);
    let upstream = Upstream::raw(move |_, stream| {
        let go_on = Arc::clone(&go_on);
        async move {
            let mut wire = Wire::new(stream);
            while let Some(head) = wire.head().await {
                if head.contains("/length") {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
                    go_on.notified().await;
                    wire.send("other").await;
                } else {
                    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
                    go_on.notified().await;
                    wire.send("5\r\nother\r\n0\r\n\r\n").await;
                }
            }
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for path in ["/length", "/chunked"] {
        let mut raw = client.raw().await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        soon(raw.until("first")).await;
        next.notify_one();
        soon(raw.until("other")).await;

        let (mut sender, _connection) = h2(&client).await;
        let (response, _) = sender.send_request(h2_request("GET", path), true).unwrap();
        let mut body = soon(response).await.unwrap().into_body();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), "first");
        next.notify_one();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), "other");
    }
}

/// An upstream that sends `TOO_MUCH`, and counts what it got rid of.
async fn torrent() -> (Upstream, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let upstream = Upstream::raw(move |_, stream| {
        let count = Arc::clone(&count);
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n")).await;
            let piece = vec![b'x'; PIECE];
            for _ in 0..TOO_MUCH / PIECE {
                if wire.stream.write_all(&piece).await.is_err() {
                    return;
                }
                count.fetch_add(PIECE, Ordering::SeqCst);
            }
        }
    })
    .await;
    (upstream, sent)
}

/// Waits until a count that grows has stopped growing.
async fn settled(count: &AtomicUsize) -> usize {
    let mut last = 0;
    eventually("the count to stand still", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = count.load(Ordering::SeqCst);
        let stands = now > 0 && now == last;
        last = now;
        stands.then_some(now)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stalls_the_upstream() {
    let (upstream, sent) = torrent().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let stalled = settled(&sent).await;
    assert!(stalled < TOO_MUCH / 2, "{stalled} bytes went somewhere");
    let rest = raw.rest().await;
    assert!(rest.len() > TOO_MUCH, "it goes on once the client reads");

    sent.store(0, Ordering::SeqCst);
    let (mut sender, _connection) = h2(&client).await;
    let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    let stalled = settled(&sent).await;
    assert!(stalled < TOO_MUCH / 2, "{stalled} bytes went somewhere");
    // Other streams of the connection are not held up, and the stalled one goes on.
    let (response, _) = sender.send_request(h2_request("GET", "/health"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    let mut length = 0;
    while let Some(piece) = soon(body.data()).await {
        let piece = piece.unwrap();
        length += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    assert_eq!(length, TOO_MUCH);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_read_stalls_the_client() {
    let read_on = Arc::new(Notify::new());
    let go_on = Arc::clone(&read_on);
    let upstream = Upstream::raw(move |_, stream| {
        let go_on = Arc::clone(&go_on);
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            go_on.notified().await;
            let length = wire.bytes(TOO_MUCH).await.len();
            wire.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\n{length:08}")).await;
        }
    })
    .await;
    let (_gateway, client) =
        in_front_of(&upstream, "[[route]]\npath = \"/*\"\nupstream = \"api\"\nmax_request_body = \"1GiB\"\n").await;

    let sent = Arc::new(AtomicUsize::new(0));
    let mut raw = client.raw().await;
    raw.send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {TOO_MUCH}\r\n\r\n")).await;
    let count = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        let piece = vec![b'x'; PIECE];
        for _ in 0..TOO_MUCH / PIECE {
            raw.stream.write_all(&piece).await.unwrap();
            count.fetch_add(PIECE, Ordering::SeqCst);
        }
        raw.stream.flush().await.unwrap();
        raw.answer().await
    });
    let stalled = settled(&sent).await;
    assert!(stalled < TOO_MUCH / 2, "{stalled} bytes went somewhere");
    read_on.notify_one();
    assert_eq!(soon(sending).await.unwrap().text(), format!("{TOO_MUCH:08}"));

    let (mut sender, _connection) = h2(&client).await;
    let mut request = h2_request("POST", "/x");
    request.headers_mut().insert("content-length", TOO_MUCH.into());
    let (response, mut body) = sender.send_request(request, false).unwrap();
    body.reserve_capacity(TOO_MUCH);
    let mut sent = 0;
    loop {
        let capacity = std::future::poll_fn(|context| body.poll_capacity(context));
        match tokio::time::timeout(Duration::from_millis(500), capacity).await {
            Err(_) => break,
            Ok(capacity) => {
                let length = capacity.unwrap().unwrap();
                body.send_data(vec![b'x'; length].into(), false).unwrap();
                sent += length;
            }
        }
    }
    assert!(sent < TOO_MUCH / 2, "{sent} bytes went somewhere");
    read_on.notify_one();
    while sent < TOO_MUCH {
        let length = soon(std::future::poll_fn(|context| body.poll_capacity(context))).await.unwrap().unwrap();
        sent += length;
        body.send_data(vec![b'x'; length].into(), sent == TOO_MUCH).unwrap();
        body.reserve_capacity(TOO_MUCH - sent);
    }
    assert_eq!(soon(response).await.unwrap().status(), 200);
}

/// An upstream that never answers, or never ends its answer, and tells when its connection was closed.
async fn endless() -> (Upstream, mpsc::Receiver<&'static str>) {
    let (tell, told) = mpsc::channel(64);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            let head = wire.head().await.unwrap();
            tell.send("began").await.unwrap();
            if head.contains("/begun") {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun").await;
            }
            wire.rest().await;
            tell.send("closed").await.unwrap();
        }
    })
    .await;
    (upstream, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_request_at_the_upstream() {
    let (upstream, mut told) = endless().await;
    let (gateway, client) = in_front_of(&upstream, "limits = { max_connections = 2 }\n").await;
    for path in ["/silent", "/begun"] {
        for request in [
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"),
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf a body"),
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ] {
            let mut raw = client.raw().await;
            raw.send(&request).await;
            assert_eq!(soon(told.recv()).await, Some("began"));
            if path == "/begun" {
                soon(raw.until("begun")).await;
            }
            drop(raw);
            assert_eq!(soon(told.recv()).await, Some("closed"), "{request}");
        }
        let (mut sender, connection) = h2(&client).await;
        for method in ["GET", "POST", "GET"] {
            let (response, mut sending) = sender.send_request(h2_request(method, path), method == "GET").unwrap();
            assert_eq!(soon(told.recv()).await, Some("began"));
            let begun = if path == "/begun" { Some(soon(response).await.unwrap()) } else { None };
            sending.send_reset(h2::Reason::CANCEL);
            assert_eq!(soon(told.recv()).await, Some("closed"));
            drop(begun);
        }
        // The connection as a whole.
        let (response, _) = sender.send_request(h2_request("GET", path), true).unwrap();
        assert_eq!(soon(told.recv()).await, Some("began"));
        let begun = if path == "/begun" { Some(soon(response).await.unwrap()) } else { None };
        connection.abort();
        drop(begun);
        assert_eq!(soon(told.recv()).await, Some("closed"));
    }
    // A place that were not given back would have ended all but the first in 503.
    let lines = eventually("all lines", async || {
        let lines: Vec<_> = gateway.log().into_iter().filter(|line| line["event"] == "request").collect();
        (lines.len() == 16).then_some(lines)
    })
    .await;
    for line in lines {
        assert_eq!(line["aborted"], "client", "{line}");
        let expected = if line["path"] == "/begun" { 200 } else { 499 };
        assert_eq!(line["status"], expected, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_its_body_off_never_completes_the_request() {
    let (arrived, mut arrivals) = mpsc::channel(4);
    let upstream = Upstream::raw(move |_, stream| {
        let arrived = arrived.clone();
        async move { arrived.send(Wire::new(stream).rest().await).await.unwrap() }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for broken in ["4\r\nhalf\r\nxyz\r\n", "4\r\nhalf\r\n"] {
        let mut raw = client.raw().await;
        raw.send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{broken}")).await;
        raw.stream.shutdown().await.unwrap();
        let got = String::from_utf8(soon(arrivals.recv()).await.unwrap()).unwrap();
        assert!(!got.ends_with("0\r\n\r\n"), "{got}");
    }
    let (mut sender, _connection) = h2(&client).await;
    let (_response, mut body) = sender.send_request(h2_request("POST", "/x"), false).unwrap();
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    eventually("the upstream's connection", async || (upstream.connections() == 3).then_some(())).await;
    body.send_reset(h2::Reason::INTERNAL_ERROR);
    let got = String::from_utf8(soon(arrivals.recv()).await.unwrap()).unwrap();
    assert!(!got.ends_with("0\r\n\r\n"), "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_waits_is_not_taken_for_one_that_left() {
    let answer = Arc::new(Notify::new());
    let go_on = Arc::clone(&answer);
    let gone = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&gone);
    let upstream = Upstream::raw(move |_, stream| {
        let (go_on, tell) = (Arc::clone(&go_on), Arc::clone(&tell));
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            tokio::select! {
                () = go_on.notified() => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await,
                _ = wire.rest() => tell.store(true, Ordering::SeqCst),
            }
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    // A second request that is already there must not be mistaken for anything.
    raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(is_quiet(raw.until("HTTP"), Duration::from_millis(200)).await);
    assert!(!gone.load(Ordering::SeqCst));
    answer.notify_one();
    assert_eq!(raw.answer().await.status, 200);
    assert_eq!(raw.answer().await.text(), "OK");
}
