//! Ending without losing a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::support::wire::{Wire, h2, h2_request, is_quiet, soon};
use crate::support::{Client, Gateway, Pki, Upstream, eventually, gateway};

const GET: &str = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn started(upstream: &Upstream, delay: &str, timeout: &str) -> (Gateway, Client) {
    let pki = Pki::new();
    let base = gateway::base(&pki).replace("delay = \"0s\"", &format!("delay = \"{delay}\"")).replace("5s", timeout);
    let text = format!("{base}{}[health]\naddress = \"127.0.0.1:0\"\n", gateway::upstream("api", upstream.address));
    let gateway = Gateway::start_with(&text).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    (gateway, client)
}

/// An upstream that answers when it is told to; it tells when it has a request, and when its connection is gone.
async fn patient() -> (Upstream, Arc<Notify>, mpsc::Receiver<&'static str>) {
    let answer = Arc::new(Notify::new());
    let (tell, told) = mpsc::channel(64);
    let go_on = Arc::clone(&answer);
    let upstream = Upstream::raw(move |_, stream| {
        let (go_on, tell) = (Arc::clone(&go_on), tell.clone());
        async move {
            let mut wire = Wire::new(stream);
            while let Some(head) = wire.head().await {
                if head.contains("/slow") {
                    tell.send("began").await.unwrap();
                    tokio::select! {
                        () = go_on.notified() => {}
                        _ = wire.rest() => {
                            tell.send("gone").await.unwrap();
                            return;
                        }
                    }
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (upstream, answer, told)
}

async fn plain_health(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_announced_then_closes_what_is_idle_and_waits_for_the_rest() {
    let (upstream, answer, mut told) = patient().await;
    let (mut gateway, client) = started(&upstream, "1500ms", "20s").await;
    let mut idle = client.raw().await;
    idle.send(GET).await;
    assert_eq!(idle.answer().await.header("connection"), None);
    let mut used = client.raw().await;
    used.send(GET).await;
    used.answer().await;
    let mut slow = client.raw().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (mut idle_h2, idle_h2_end) = h2(&client).await;
    let (response, _) = idle_h2.send_request(h2_request("GET", "/x"), true).unwrap();
    soon(response).await.unwrap();
    let (mut slow_h2, slow_h2_end) = h2(&client).await;
    let (slow_h2_response, _) = slow_h2.send_request(h2_request("GET", "/slow"), true).unwrap();
    for _ in 0..2 {
        assert_eq!(soon(told.recv()).await, Some("began"));
    }
    let (mut used_h2, used_h2_end) = h2(&client).await;

    let begun = Instant::now();
    gateway.control.shut_down().await;
    eventually("the announcement", async || (client.get("/health").await.status == 503).then_some(())).await;
    let health = client.get("/health").await;
    assert_eq!((health.status, health.text().as_str()), (503, "DRAINING"));
    let health = plain_health(gateway.health.unwrap()).await;
    assert!(health.starts_with("HTTP/1.1 503 ") && health.ends_with("DRAINING"), "{health}");
    // Still accepting, and saying that it will not for long.
    let answer_now = client.get("/x").await;
    assert_eq!((answer_now.status, answer_now.header("connection")), (200, Some("close")));
    used.send(GET).await;
    let answer_now = used.answer().await;
    assert_eq!((answer_now.status, answer_now.header("connection")), (200, Some("close")));
    assert!(used.is_closed().await);
    let (response, _) = used_h2.send_request(h2_request("GET", "/x"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    soon(used_h2_end).await.unwrap().expect("GOAWAY with no error");
    // Idle ones stay open until the delay is over.
    assert!(begun.elapsed() < Duration::from_millis(1400), "too slow a machine for this test");
    assert!(is_quiet(idle.until("anything"), Duration::from_millis(50)).await);
    assert!(!idle_h2_end.is_finished());
    assert!(idle.is_closed().await);
    soon(idle_h2_end).await.unwrap().expect("GOAWAY with no error");
    assert!(begun.elapsed() >= Duration::from_millis(1450), "{:?}", begun.elapsed());
    eventually("the listener to be gone", async || TcpStream::connect(gateway.address).await.err()).await;
    // What was under way is waited for.
    answer.notify_waiters();
    let late = slow.answer().await;
    assert_eq!((late.status, late.text().as_str()), (200, "ok"));
    let mut body = soon(slow_h2_response).await.unwrap().into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "ok");
    drop(body);
    soon(slow_h2_end).await.unwrap().expect("GOAWAY with no error");
    let finished = Instant::now();
    soon(gateway.ended()).await;
    assert!(finished.elapsed() < Duration::from_secs(2), "it ends as soon as nothing is left");
    let lines = gateway.log();
    assert!(lines.iter().all(|line| line["aborted"].is_null()), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_at_the_timeout_is_cut() {
    let (upstream, _answer, mut told) = patient().await;
    let (mut gateway, client) = started(&upstream, "100ms", "500ms").await;
    let mut slow = client.raw().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (mut sender, end) = h2(&client).await;
    let (response, _) = sender.send_request(h2_request("GET", "/slow"), true).unwrap();
    let mut half_a_head = client.raw().await;
    half_a_head.send("GET /x HT").await;
    for _ in 0..2 {
        assert_eq!(soon(told.recv()).await, Some("began"));
    }
    let begun = Instant::now();
    gateway.control.shut_down().await;
    soon(gateway.ended()).await;
    assert!((450..2000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    for _ in 0..2 {
        assert_eq!(soon(told.recv()).await, Some("gone"));
    }
    assert!(slow.is_closed().await);
    assert!(soon(response).await.is_err());
    let _ = soon(end).await;
    eventually("both lines", async || {
        let cut = gateway.log().into_iter().filter(|line| line["aborted"] == "drain").count();
        (cut == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_at_once_when_nothing_is_under_way() {
    let (upstream, _answer, _told) = patient().await;
    let (mut gateway, client) = started(&upstream, "0s", "20s").await;
    let mut idle = client.raw().await;
    idle.send(GET).await;
    idle.answer().await;
    let (mut idle_h2, end) = h2(&client).await;
    let (response, _) = idle_h2.send_request(h2_request("GET", "/x"), true).unwrap();
    soon(response).await.unwrap();
    // Neither connections without a handshake nor those without a request hold it up, or a client in the middle of one.
    let silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut hello = TcpStream::connect(gateway.address).await.unwrap();
    hello.write_all(&[0x16, 3, 1]).await.unwrap();
    let fresh = client.raw().await;
    let (_fresh_h2, _fresh_end) = h2(&client).await;
    let begun = Instant::now();
    gateway.control.shut_down().await;
    soon(gateway.ended()).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(idle.is_closed().await);
    soon(end).await.unwrap().expect("GOAWAY with no error");
    drop((silent, hello, fresh));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    for delay in ["0s", "20s"] {
        let (upstream, _answer, mut told) = patient().await;
        let (mut gateway, client) = started(&upstream, delay, "30s").await;
        let mut slow = client.raw().await;
        slow.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(soon(told.recv()).await, Some("began"));
        gateway.control.shut_down().await;
        eventually("the announcement", async || {
            let mut raw = TcpStream::connect(gateway.health.unwrap()).await.ok()?;
            raw.write_all(HEALTH.as_bytes()).await.ok()?;
            let mut status = [0; 12];
            raw.read_exact(&mut status).await.ok()?;
            (&status == b"HTTP/1.1 503").then_some(())
        })
        .await;
        let begun = Instant::now();
        assert!(soon(gateway.control.reload()).await.is_err(), "no reload any more");
        gateway.control.shut_down().await;
        soon(gateway.ended()).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(soon(told.recv()).await, Some("gone"));
        assert!(slow.is_closed().await);
    }
}

/// A client that keeps sending requests meets no error: it is told to go, and finds the next gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_keepalive_client_loses_no_request() {
    let upstream = Upstream::echo().await;
    let (mut gateway, client) = started(&upstream, "500ms", "5s").await;
    let running = tokio::spawn(async move {
        let mut raw = client.raw().await;
        let mut served = 0;
        loop {
            raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody").await;
            let answer = raw.answer().await;
            assert_eq!(answer.status, 200);
            served += 1;
            if answer.header("connection") == Some("close") {
                assert!(raw.is_closed().await);
                match client.connect(&["http/1.1"]).await {
                    Ok(_) => raw = client.raw().await,
                    Err(_) => return served,
                }
                // Enough said: what comes next would race with the listener's end.
                if served > 20 {
                    return served;
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    gateway.control.shut_down().await;
    assert!(soon(running).await.unwrap() > 20);
    soon(gateway.ended()).await;
}
