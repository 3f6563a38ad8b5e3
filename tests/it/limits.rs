//! What one client can do to the gateway and its upstream has bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::support::wire::{Wire, canned, h2, h2_request, h2_with, in_front_of, is_quiet, soon};
use crate::support::{Client, Gateway, Pki, Upstream, eventually, gateway};

const GET: &str = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_waits_until_another_ends() {
    let upstream = Upstream::echo().await;
    let pki = Pki::new();
    let base = gateway::base(&pki).replace("[listener]\n", "[listener]\nmax_connections = 2\n");
    let gateway = Gateway::start_with(&format!("{base}{}", gateway::upstream("api", upstream.address))).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    for _ in 0..3 {
        let mut first = client.raw().await;
        first.send(GET).await;
        assert_eq!(first.answer().await.status, 200);
        // One that never says anything takes a place, too.
        let second = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        let waiting = client.clone();
        let mut third = tokio::spawn(async move { waiting.get("/x").await });
        assert!(is_quiet(&mut third, Duration::from_millis(150)).await);
        first.send(GET).await;
        assert_eq!(first.answer().await.status, 200, "who is in stays in");
        drop(second);
        assert_eq!(soon(third).await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_old_makes_way_after_its_next_answer() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "[timeouts]\nmax_connection_age = \"300ms\"\n").await;
    let mut raw = client.raw().await;
    let (mut sender, end) = h2(&client).await;
    raw.send(GET).await;
    assert_eq!(raw.answer().await.header("connection"), None);
    let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!end.is_finished());
    raw.send(GET).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(raw.is_closed().await);
    let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    soon(end).await.unwrap().expect("GOAWAY with no error");
}

/// CVE-2023-44487.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_resets_every_request_is_sent_away_and_the_upstream_is_not_flooded() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, highest) = (Arc::clone(&open), Arc::clone(&most));
    let upstream = Upstream::raw(move |_, stream| {
        let (now, highest) = (Arc::clone(&now), Arc::clone(&highest));
        async move {
            highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Wire::new(stream).rest().await;
            now.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (sender, end) = h2(&client).await;
    // How many are sent says nothing: one that is taken back before it was written is never seen.
    soon(async {
        while let Ok(mut ready) = sender.clone().ready().await
            && let Ok((_response, mut stream)) = ready.send_request(h2_request("GET", "/x"), true)
        {
            tokio::task::yield_now().await;
            stream.send_reset(h2::Reason::CANCEL);
        }
    })
    .await;
    let error = soon(end).await.unwrap();
    if let Err(error) = error {
        assert!(error.is_go_away() || error.is_io(), "{error}");
    }
    assert!(upstream.connections() <= 250, "{} connections to the upstream", upstream.connections());
    assert!(most.load(Ordering::SeqCst) <= 110, "{most:?} at once");
    eventually("nothing to be left at the upstream", async || (open.load(Ordering::SeqCst) == 0).then_some(())).await;
    assert_eq!(client.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_no_more_streams_than_it_may() {
    let (tell, mut told) = mpsc::channel(64);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
            tell.send(go_on).await.unwrap();
            let _ = wait.await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "[limits]\nh2_streams = 5\n").await;
    let (sender, _end) = h2(&client).await;
    let mut sender = sender.ready().await.unwrap();
    eventually("the server's settings", async || (sender.current_max_send_streams() == 5).then_some(())).await;
    let mut responses = Vec::new();
    for _ in 0..6 {
        responses.push(sender.send_request(h2_request("GET", "/x"), true).unwrap().0);
        sender = match tokio::time::timeout(Duration::from_millis(50), sender.clone().ready()).await {
            Ok(ready) => ready.unwrap(),
            Err(_) => sender,
        };
    }
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(soon(told.recv()).await.unwrap());
    }
    assert!(is_quiet(told.recv(), Duration::from_millis(100)).await, "the sixth waits");
    drop(waiting);
    let last = soon(told.recv()).await.unwrap();
    drop(last);
    for response in responses {
        assert_eq!(soon(response).await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_2_client_that_never_opens_its_window_loses_the_stream() {
    for length in [5, 300_000] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let upstream = canned([head.as_bytes(), &vec![b'x'; length]].concat()).await;
        let more = "limits = { max_connections = 1 }\n[timeouts]\nsend = \"300ms\"\n";
        let (gateway, client) = in_front_of(&upstream, more).await;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(0);
        let (mut sender, end) = h2_with(&client, &builder).await;
        let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
        let mut body = soon(response).await.unwrap().into_body();
        let begun = Instant::now();
        assert!(soon(body.data()).await.unwrap().is_err_and(|error| error.is_reset()));
        assert!(begun.elapsed() < Duration::from_secs(2));
        let line = gateway.logged("request", |_| true).await;
        assert_eq!((&line["aborted"], &line["reason"]), (&"client".into(), &"send_timeout".into()), "{line}");
        assert!(!end.is_finished(), "the connection goes on");
        eventually("the upstream's place to be free", async || (client.get("/y").await.status == 200).then_some(()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_and_so_is_what_it_asked_for() {
    let (tell, mut told) = mpsc::channel(8);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n").await;
            while wire.stream.write_all(&[b'x'; 65536]).await.is_ok() {}
            tell.send(()).await.unwrap();
        }
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "[timeouts]\nsend = \"300ms\"\n").await;
    let mut raw = client.raw().await;
    raw.send(GET).await;
    soon(told.recv()).await.unwrap();
    let line = gateway.logged("request", |_| true).await;
    assert_eq!((&line["aborted"], &line["status"]), (&"client".into(), &200.into()), "{line}");

    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(100_000);
    let (mut sender, _end) = h2_with(&client, &builder).await;
    let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
    let _body = soon(response).await.unwrap().into_body();
    soon(told.recv()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_given_back_whatever_becomes_of_a_request() {
    let (tell, mut told) = mpsc::channel(64);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            while let Some(head) = wire.head().await {
                match head.split(' ').nth(1).unwrap() {
                    "/malformed" => wire.send("HTTP/1.1 2x OK\r\n\r\n").await,
                    "/close" => return,
                    "/short" => {
                        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx").await;
                        return;
                    }
                    "/silent" => {
                        wire.rest().await;
                        tell.send(()).await.unwrap();
                        return;
                    }
                    _ => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await,
                }
            }
        }
    })
    .await;
    let more = "limits = { max_connections = 1 }\ntimeouts = { first_byte = \"100ms\" }\n";
    let (_gateway, client) = in_front_of(&upstream, more).await;
    for path in ["/malformed", "/close", "/short", "/silent", "/x"].into_iter().cycle().take(15) {
        let mut raw = client.raw().await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        if path == "/short" {
            raw.rest().await;
        } else {
            let status = raw.answer().await.status;
            let expected = match path {
                "/silent" => 504,
                "/x" => 200,
                _ => 502,
            };
            assert_eq!(status, expected, "{path}");
        }
        if path == "/silent" {
            soon(told.recv()).await.unwrap();
        }
    }
}
