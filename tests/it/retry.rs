//! Connections to an upstream are reused, and a request is sent again only where that does no harm.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::support::wire::{Wire, in_front_of, is_quiet, soon};
use crate::support::{Client, Dns, Gateway, Pki, Upstream, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn request(method: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_enough_for_one_request_at_a_time() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for _ in 0..5 {
        assert_eq!(client.get("/x").await.status, 200);
        assert_eq!(client.h2("POST", "/x", &[], "body").await.status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keepalive_of_zero_reuses_nothing() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "keepalive_idle = \"0s\"\n").await;
    let mut raw = client.raw().await;
    for _ in 0..5 {
        raw.send(request("GET")).await;
        assert_eq!(raw.answer().await.status, 200);
    }
    assert_eq!(upstream.connections(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_been_idle_for_long_enough_is_closed_and_not_used() {
    let (tell, mut told) = mpsc::channel(8);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            while wire.head().await.is_some() {
                wire.send(OK).await;
            }
            tell.send(()).await.unwrap();
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "keepalive_idle = \"200ms\"\n").await;
    for connections in 1..=2 {
        for _ in 0..2 {
            assert_eq!(client.get("/x").await.status, 200);
        }
        assert_eq!(upstream.connections(), connections);
        soon(told.recv()).await.unwrap();
    }
}

/// Answers one request on each connection and closes it without having said so, at once or after a moment.
async fn forgetful(moment: Duration) -> (Upstream, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel(256);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            if wire.head().await.is_some() {
                wire.send(OK).await;
                tokio::time::sleep(moment).await;
                drop(wire);
                tell.send(()).await.unwrap();
            }
        }
    })
    .await;
    (upstream, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_upstream_has_closed_is_never_handed_out() {
    for moment in [Duration::ZERO, Duration::from_millis(30)] {
        let (upstream, mut closed) = forgetful(moment).await;
        let (_gateway, client) = in_front_of(&upstream, "").await;
        let mut raw = client.raw().await;
        for _ in 0..30 {
            // Nobody would send a POST again.
            raw.send(request("POST")).await;
            assert_eq!(raw.answer().await.status, 200);
            soon(closed.recv()).await.unwrap();
        }
    }
}

/// Answers the first request on its first connection, and meets the second with `end`; other connections are as
/// `others` says.
async fn dying(end: &'static str, others_live: bool) -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let remember = Arc::clone(&heads);
    let upstream = Upstream::raw(move |number, stream| {
        let remember = Arc::clone(&remember);
        async move {
            let mut wire = Wire::new(stream);
            let mut first = number == 0;
            while let Some(head) = wire.head().await {
                remember.lock().unwrap().push(head.lines().next().unwrap().to_owned());
                if first || (number > 0 && others_live) {
                    wire.send(OK).await;
                    first = false;
                } else {
                    wire.send(end).await;
                    return;
                }
            }
        }
    })
    .await;
    (upstream, heads)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_request_whose_kept_connection_died_is_sent_exactly_once_more() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let (upstream, heads) = dying("", true).await;
        let (gateway, client) = in_front_of(&upstream, "").await;
        assert_eq!(client.get("/first").await.status, 200);
        let mut raw = client.raw().await;
        raw.send(request(method)).await;
        let answer = if method == "HEAD" { raw.answer_to_head().await } else { raw.answer().await };
        assert_eq!(answer.status, 200, "{method}");
        let again = format!("{method} /x HTTP/1.1");
        assert_eq!(*heads.lock().unwrap(), ["GET /first HTTP/1.1", &again, &again]);
        let line = gateway.logged("request", |line| line["path"] == "/x").await;
        assert_eq!((&line["attempts"], &line["status"]), (&2.into(), &200.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    let chunked =
        "GET /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n".to_owned();
    for (what, end, others_live, request, attempts) in [
        ("POST", "", true, request("POST"), 1),
        ("PATCH", "", true, request("PATCH"), 1),
        ("GET with a body", "", true, chunked, 1),
        ("a byte of an answer", "H", true, request("GET"), 1),
        ("half an answer", "HTTP/1.1 200 OK\r\nContent", true, request("GET"), 1),
        ("and the second dies, too", "", false, request("GET"), 2),
    ] {
        let (upstream, heads) = dying(end, others_live).await;
        let (gateway, client) = in_front_of(&upstream, "").await;
        assert_eq!(client.get("/first").await.status, 200);
        let answer = client.send_raw(request).await;
        assert_eq!(answer.status, 502, "{what}");
        assert_eq!(heads.lock().unwrap().len(), 1 + attempts, "{what}");
        let line = gateway.logged("request", |line| line["path"] == "/x").await;
        assert_eq!(line["attempts"], attempts, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_connection_that_dies_is_a_502_and_not_tried_again() {
    for end in ["at once", "after the head", "by a reset"] {
        let upstream = Upstream::raw(move |_, stream| async move {
            if end == "by a reset" {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            let mut wire = Wire::new(stream);
            if end != "at once" {
                wire.head().await;
            }
        })
        .await;
        let (gateway, client) = in_front_of(&upstream, "").await;
        for number in 1..=20 {
            let method = if number % 2 == 0 { "GET" } else { "POST" };
            assert_eq!(client.send_raw(request(method)).await.status, 502, "{end}");
            assert_eq!(upstream.connections(), number, "{end}");
        }
        let line = gateway.logged("request", |_| true).await;
        assert_eq!((&line["attempts"], &line["reason"]), (&1.into(), &"upstream_reset".into()));
    }
}

/// An upstream whose name stands for two addresses, of which one takes every request and dies of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_dies_of_a_get_is_made_up_for_by_another_once() {
    for others_live in [true, false] {
        let dying = Upstream::raw(|_, stream| async move {
            Wire::new(stream).head().await;
        })
        .await;
        let other = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), dying.address.port());
        let other = Upstream::raw_on(other, move |_, stream| async move {
            let mut wire = Wire::new(stream);
            while wire.head().await.is_some() && others_live {
                wire.send(OK).await;
            }
        })
        .await;
        let dns = Dns::start().await;
        dns.set("api.test.local", 60, &[dying.address.ip(), other.address.ip()]).await;
        let pki = Pki::new();
        let upstream = format!("http://api.test.local:{}", dying.address.port());
        let dns = format!("dns = {{ resolvers = [\"{}\"] }}", dns.address);
        let gateway = Gateway::start(&pki, &format!("[upstream.api]\nurl = \"{upstream}\"\n{dns}\n")).await;
        let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
        for number in 0..20 {
            let answer = client.get(&format!("/{number}")).await;
            let line = gateway.logged("request", |line| line["path"] == format!("/{number}")).await;
            assert_eq!(answer.status, if others_live { 200 } else { 502 }, "{line}");
            let most = if others_live { 1..=2 } else { 2..=2 };
            assert!(most.contains(&line["attempts"].as_u64().unwrap()), "{line}");
            let posted = client.send_raw(request("POST")).await;
            assert!(posted.status == 502 || others_live, "never sent twice");
        }
        assert!(dying.connections() > 0);
    }
}

/// An upstream whose name stands for two addresses, of which one refuses.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_is_made_up_for_by_another() {
    let upstream = Upstream::raw_on("127.0.0.2:0".parse().unwrap(), |_, stream| async {
        let mut wire = Wire::new(stream);
        while let Some(head) = wire.head().await {
            if head.starts_with("POST") {
                assert_eq!(wire.bytes(4).await, b"body");
            }
            wire.send(OK).await;
        }
    })
    .await;
    let dns = Dns::start().await;
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), upstream.address.ip()];
    dns.set("api.test.local", 60, &addresses).await;
    let pki = Pki::new();
    let gateway = Gateway::start(
        &pki,
        &format!(
            "[upstream.api]\nurl = \"http://api.test.local:{}\"\ndns = {{ resolvers = [\"{}\"] }}\n",
            upstream.address.port(),
            dns.address
        ),
    )
    .await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    for number in 0..40 {
        let post = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
        let answer = if number % 2 == 0 { client.send_raw(post).await } else { client.get("/x").await };
        assert_eq!(answer.status, 200);
    }
    let lines = eventually("the lines", async || {
        let lines: Vec<_> = gateway.log().into_iter().filter(|line| line["event"] == "request").collect();
        (lines.len() == 40).then_some(lines)
    })
    .await;
    let attempts: Vec<_> = lines.iter().map(|line| line["attempts"].as_u64().unwrap()).collect();
    assert!(attempts.iter().all(|attempts| (1..=2).contains(attempts)), "{attempts:?}");
    assert!(attempts.contains(&2) && attempts.contains(&1), "{attempts:?}");
    assert!(lines.iter().all(|line| line["upstream_addr"] == upstream.address.to_string()));
    drop(upstream);
    // Now both refuse: each is asked once.
    eventually("both to refuse", async || (client.get("/y").await.status == 502).then_some(())).await;
    let answer = client.get("/z").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (502, &"upstream_connect_failed".into()));
    assert_eq!(gateway.logged("request", |line| line["path"] == "/z").await["attempts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_body_is_sent_once_more_with_its_request_and_a_long_one_is_not() {
    let (short, long) = ("short ".repeat(100), "long ".repeat(20_000));
    let put =
        |body: &str| format!("PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunked = "PUT /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    for (what, request, route, expected) in [
        ("short", put(&short), "", Some(short.as_str())),
        ("long", put(&long), "", None),
        ("of unknown length", chunked.to_owned(), "", None),
        ("not wanted", put(&short), "[[route]]\npath = \"/*\"\nupstream = \"api\"\nretry = false\n", None),
    ] {
        let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
        let upstream = collecting(Arc::clone(&bodies)).await;
        let (gateway, client) = in_front_of(&upstream, route).await;
        assert_eq!(client.get("/first").await.status, 200);
        let answer = client.send_raw(request).await;
        assert_eq!(answer.status, if expected.is_some() { 200 } else { 502 }, "{what}");
        assert_eq!(*bodies.lock().unwrap(), expected.into_iter().collect::<Vec<_>>(), "{what}");
        let line = gateway.logged("request", |line| line["path"] == "/x").await;
        assert_eq!(line["attempts"], if expected.is_some() { 2 } else { 1 }, "{what}");
        let length = line["bytes_in"].as_u64().unwrap();
        assert!(expected.is_none_or(|body| length == body.len() as u64), "{what}: {length}");
    }
}

/// Answers the first request of its first connection and dies of the second; the next connection's body is kept.
async fn collecting(bodies: Arc<Mutex<Vec<String>>>) -> Upstream {
    Upstream::raw(move |number, stream| {
        let bodies = Arc::clone(&bodies);
        async move {
            let mut wire = Wire::new(stream);
            let mut head = wire.head().await.unwrap();
            if number == 0 {
                wire.send(OK).await;
                head = wire.head().await.unwrap();
                if head.contains("content-length") {
                    wire.bytes(100).await;
                }
                return;
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let body = wire.bytes(length.parse().unwrap()).await;
            bodies.lock().unwrap().push(String::from_utf8(body).unwrap());
            wire.send(OK).await;
        }
    })
    .await
}

/// An upstream whose requests wait until they are told to go on.
async fn waiting() -> (Upstream, mpsc::Receiver<tokio::sync::oneshot::Sender<()>>) {
    let (tell, told) = mpsc::channel(8);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            while wire.head().await.is_some() {
                let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
                tell.send(go_on).await.unwrap();
                let _ = wait.await;
                wire.send(OK).await;
            }
        }
    })
    .await;
    (upstream, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_gets_no_more_requests_at_once_than_it_may_have() {
    let (upstream, mut told) = waiting().await;
    let limits = "limits = { max_connections = 2, max_pending = 0 }\n";
    let (gateway, client) = in_front_of(&upstream, limits).await;
    for _ in 0..3 {
        let mut busy = Vec::new();
        for _ in 0..2 {
            let mut raw = client.raw().await;
            raw.send(request("GET")).await;
            busy.push((raw, soon(told.recv()).await.unwrap()));
        }
        let answer = client.get("/over").await;
        assert_eq!((answer.status, &answer.json()["reason"]), (503, &"upstream_at_limit".into()));
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        let answer = client.h2("POST", "/over", &[], "body").await;
        assert_eq!(answer.status, 503);
        assert!(answer.headers.contains_key("retry-after"));
        for (mut raw, go_on) in busy {
            go_on.send(()).unwrap();
            assert_eq!(raw.answer().await.status, 200);
        }
    }
    assert_eq!(upstream.connections(), 2);
    assert_eq!(gateway.logged("request", |line| line["path"] == "/over").await["attempts"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_place_in_turn_and_not_for_ever() {
    let (upstream, mut told) = waiting().await;
    let more = "limits = { max_connections = 1, max_pending = 2 }\ntimeouts = { pending = \"700ms\" }\n";
    let (_gateway, client) = in_front_of(&upstream, more).await;
    let ask = async |path: &str| {
        let mut raw = client.raw().await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        raw
    };
    let mut first = ask("/1").await;
    let go_on = soon(told.recv()).await.unwrap();
    let mut second = ask("/2").await;
    assert!(is_quiet(told.recv(), Duration::from_millis(100)).await, "the second waits");
    let mut third = ask("/3").await;
    assert!(is_quiet(told.recv(), Duration::from_millis(100)).await, "so does the third");
    let answer = client.get("/4").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "the fourth finds the queue full");
    go_on.send(()).unwrap();
    assert_eq!(first.answer().await.status, 200);
    let go_on = soon(told.recv()).await.unwrap();
    let answer = third.answer().await;
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &"upstream_at_limit".into()), "it waited for too long");
    go_on.send(()).unwrap();
    assert_eq!(second.answer().await.status, 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_says_something_unasked_is_not_used_again() {
    let (tell, mut told) = mpsc::channel(8);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            wire.send(OK).await;
            // As HAProxy and Apache do for a connection that has been idle for too long; and then one that lies.
            tokio::time::sleep(Duration::from_millis(20)).await;
            wire.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nevil").await;
            wire.stream.flush().await.unwrap();
            tell.send(()).await.unwrap();
            wire.rest().await;
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    // What can be sent again does not ask the kernel, and is not to be fooled either.
    let mut raw = client.raw().await;
    for method in ["POST", "GET"].repeat(15) {
        raw.send(request(method)).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{method}");
        soon(told.recv()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_an_answer_are_never_taken_for_the_next_one() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        while wire.head().await.is_some() {
            wire.send(format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")).await;
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for _ in 0..5 {
        let answer = client.send_raw(request("GET")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
    assert_eq!(upstream.connections(), 5);
}
