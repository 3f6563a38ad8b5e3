//! Every wait ends, and whose fault it was is told by the status.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::support::wire::{Wire, h2, h2_request, in_front_of, soon};
use crate::support::{Client, Gateway, Pki, Upstream, gateway};

const GET: &str = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// An upstream that reads everything, says nothing, and tells how each connection ended.
async fn silent() -> (Upstream, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel(64);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let rest = Wire::new(stream).rest().await;
            tell.send(String::from_utf8_lossy(&rest).into_owned()).await.unwrap();
        }
    })
    .await;
    (upstream, told)
}

async fn in_front_of_address(address: std::net::SocketAddr, more: &str) -> (Gateway, Client) {
    let pki = Pki::new();
    let gateway = Gateway::start(&pki, &format!("{}{more}", gateway::upstream("api", address))).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    (gateway, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_accept_in_time_is_a_504() {
    // A full queue of connections: the kernel ignores further ones.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
    }
    let (gateway, client) = in_front_of_address(address, "timeouts = { connect = \"200ms\" }\n").await;
    let begun = Instant::now();
    let answer = client.get("/x").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (504, &"upstream_connect_timeout".into()));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(client.h2("POST", "/x", &[], "body").await.status, 504);
    let line = gateway.logged("request", |_| true).await;
    assert_eq!((&line["attempts"], &line["upstream_addr"]), (&1.into(), &address.to_string().into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_answer_in_time_is_a_504_and_loses_its_connection() {
    let (upstream, mut told) = silent().await;
    let (gateway, client) = in_front_of(&upstream, "timeouts = { first_byte = \"200ms\" }\n").await;
    let post = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
    let chunked = "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    for request in [GET, post, chunked] {
        let mut raw = client.raw().await;
        raw.send(request).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, &answer.json()["reason"]), (504, &"upstream_timeout".into()));
        soon(told.recv()).await.unwrap();
        // The client has done nothing wrong.
        raw.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.answer().await.status, 200);
    }
    assert_eq!(client.h2("GET", "/x", &[], "").await.status, 504);
    let line = gateway.logged("request", |_| true).await;
    assert_eq!((&line["attempts"], &line["aborted"]), (&1.into(), &serde_json::Value::Null), "{line}");
    assert_eq!(upstream.connections(), 4, "nothing was sent again");
}

/// Interim answers are no answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_only_says_wait_is_a_504() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        wire.head().await;
        while wire.stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "timeouts = { first_byte = \"300ms\" }\n").await;
    assert_eq!(client.get("/x").await.status, 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_time_with_the_body_is_no_fault_of_the_upstreams() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "timeouts = { first_byte = \"200ms\" }\n").await;
    let mut raw = client.raw().await;
    raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n").await;
    for pause in [100, 100, 100, 600] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        raw.send("x").await;
    }
    assert_eq!(raw.answer().await.status, 200);
    let (mut sender, _connection) = h2(&client).await;
    let (response, mut body) = sender.send_request(h2_request("POST", "/x"), false).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    body.send_data("body".into(), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_stops_reading_a_body_is_a_504() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        wire.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let more = "timeouts = { first_byte = \"300ms\" }\n[[route]]\npath = \"/*\"\nupstream = \"api\"\nmax_request_body = \"1GiB\"\n";
    let (_gateway, client) = in_front_of(&upstream, more).await;
    let raw = client.raw().await;
    let (mut reader, mut writer) = tokio::io::split(raw.stream);
    writer.write_all(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n").await.unwrap();
    tokio::spawn(async move { while writer.write_all(&[b'x'; 65536]).await.is_ok() {} });
    let mut answer = [0; 12];
    soon(tokio::io::AsyncReadExt::read_exact(&mut reader, &mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stops_coming_is_cut() {
    let (tell, mut told) = mpsc::channel(8);
    let upstream = Upstream::raw(move |_, stream| {
        let tell = tell.clone();
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf").await;
            wire.rest().await;
            tell.send(()).await.unwrap();
        }
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "timeouts = { between_bytes = \"200ms\" }\n").await;
    let mut raw = client.raw().await;
    raw.send(GET).await;
    let rest = String::from_utf8(raw.rest().await).unwrap();
    assert!(rest.ends_with("\r\n\r\nhalf"), "{rest}");
    soon(told.recv()).await.unwrap();
    let line = gateway.logged("request", |_| true).await;
    assert_eq!((&line["status"], &line["aborted"]), (&200.into(), &"upstream".into()));
    assert_eq!((&line["reason"], &line["bytes_out"]), (&"upstream_timeout".into(), &4.into()));

    let (mut sender, connection) = h2(&client).await;
    let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "half");
    assert!(soon(body.data()).await.unwrap().unwrap_err().is_reset());
    assert!(!connection.is_finished(), "only the stream is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_is_no_fault_of_the_upstreams() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        wire.head().await;
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 32 << 20)).await;
        wire.send(vec![b'x'; 32 << 20]).await;
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "timeouts = { between_bytes = \"200ms\" }\n").await;
    let mut raw = client.raw().await;
    raw.send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(raw.rest().await.len() > 32 << 20);
    assert_eq!(gateway.logged("request", |_| true).await["aborted"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_refuses_or_resets_is_a_502() {
    let gone = Upstream::echo().await;
    let address = gone.address;
    drop(gone);
    let (gateway, client) = in_front_of_address(address, "").await;
    // The task of the dropped one may take a moment to end.
    crate::support::eventually("a refusal", async || (client.get("/y").await.status == 502).then_some(())).await;
    let answer = client.get("/x").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (502, &"upstream_connect_failed".into()));
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(client.h2("POST", "/x", &[], "body").await.status, 502);
    let line = gateway.logged("request", |line| line["path"] == "/x").await;
    assert_eq!((&line["attempts"], &line["upstream"]), (&1.into(), &"api".into()));

    let upstream = Upstream::raw(|_, stream| async {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        Wire::new(stream).head().await;
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let answer = client.get("/x").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (502, &"upstream_reset".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_announced_over_the_limit_is_refused_before_anything_is_connected() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) =
        in_front_of(&upstream, "[[route]]\npath = \"/*\"\nupstream = \"api\"\nmax_request_body = \"1KiB\"\n").await;
    let at_limit = format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024));
    assert_eq!(client.send_raw(&at_limit).await.status, 200);
    let over = at_limit.replace("1024", "1025") + "x";
    let answer = client.send_raw(over).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (413, &"body_too_large".into()));
    assert_eq!(client.h2("POST", "/x", &[("content-length", "1025")], &"x".repeat(1025)).await.status, 413);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_grows_over_the_limit_is_a_413_and_never_completes_at_the_upstream() {
    let (upstream, mut told) = silent().await;
    let (gateway, client) =
        in_front_of(&upstream, "[[route]]\npath = \"/*\"\nupstream = \"api\"\nmax_request_body = \"1KiB\"\n").await;
    let mut raw = client.raw().await;
    raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..5 {
        raw.send(format!("100\r\n{}\r\n", "x".repeat(256))).await;
    }
    let answer = raw.answer().await;
    assert_eq!((answer.status, &answer.json()["reason"]), (413, &"body_too_large".into()));
    assert_eq!(answer.header("connection"), Some("close"));
    let got = soon(told.recv()).await.unwrap();
    assert!(!got.ends_with("0\r\n\r\n"), "{got}");
    let line = gateway.logged("request", |_| true).await;
    assert_eq!((&line["status"], &line["attempts"]), (&413.into(), &1.into()));

    let (mut sender, connection) = h2(&client).await;
    let (response, mut body) = sender.send_request(h2_request("POST", "/x"), false).unwrap();
    body.send_data(vec![b'x'; 2000].into(), false).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 413);
    let got = soon(told.recv()).await.unwrap();
    assert!(!got.ends_with("0\r\n\r\n"), "{got}");
    let (response, _) = sender.send_request(h2_request("GET", "/health"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    assert!(!connection.is_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_grows_over_the_limit_or_stops_when_the_answer_has_begun_cuts_the_answer() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n").await;
        wire.rest().await;
    })
    .await;
    let more = "[[route]]\npath = \"/*\"\nupstream = \"api\"\nmax_request_body = \"1KiB\"\n[timeouts]\nrequest_body_idle = \"300ms\"\n";
    let (gateway, client) = in_front_of(&upstream, more).await;
    for (path, reason) in [("/large", "body_too_large"), ("/slow", "body_too_slow")] {
        let mut raw = client.raw().await;
        raw.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"))
            .await;
        soon(raw.until("5\r\nbegun\r\n")).await;
        if path == "/large" {
            raw.send(format!("800\r\n{}\r\n", "x".repeat(2048))).await;
        }
        let rest = raw.rest().await;
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        let line = gateway.logged("request", |line| line["path"] == path).await;
        assert_eq!((&line["aborted"], &line["reason"]), (&"client".into(), &reason.into()), "{line}");
        assert_eq!(line["status"], 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_coming_is_a_408_and_never_completes_at_the_upstream() {
    let (upstream, mut told) = silent().await;
    let (gateway, client) = in_front_of(&upstream, "[timeouts]\nrequest_body_idle = \"200ms\"\n").await;
    for request in [
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf",
        "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let mut raw = client.raw().await;
        raw.send(request).await;
        if request.contains("Expect") {
            assert_eq!(raw.answer().await.status, 100);
        }
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{request}");
        assert!(raw.is_closed().await);
        let got = soon(told.recv()).await.unwrap();
        assert!(!got.ends_with("0\r\n\r\n"), "{got}");
    }
    let (mut sender, _connection) = h2(&client).await;
    let (response, mut body) = sender.send_request(h2_request("POST", "/x"), false).unwrap();
    body.send_data("half".into(), false).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 408);
    let line = gateway.logged("request", |_| true).await;
    assert_eq!((&line["status"], &line["reason"]), (&408.into(), &"body_too_slow".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_slow_in_the_head_or_idle_is_closed_without_an_answer() {
    let upstream = Upstream::echo().await;
    let more = "[timeouts]\nrequest_headers = \"300ms\"\nkeepalive = \"300ms\"\n";
    let (_gateway, client) = in_front_of(&upstream, more).await;
    let mut idle = client.raw().await;
    idle.send(GET).await;
    assert_eq!(idle.answer().await.status, 200);
    let nothing = client.raw().await;
    let mut half = client.raw().await;
    half.send("GET /x HTTP/1.1\r\nHost: loc").await;
    let mut later = client.raw().await;
    later.send(format!("{GET}GET /x HTTP/1.1\r\nHo")).await;
    assert_eq!(later.answer().await.status, 200);
    for mut raw in [idle, nothing, half, later] {
        let begun = Instant::now();
        assert!(raw.is_closed().await);
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}

/// Nothing else happens on such a connection, so nothing reminds the gateway of it; not even the timer of its request,
/// since another client's has the connection to the upstream.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_idle_after_a_late_answer_is_closed_as_well() {
    let upstream = Upstream::raw(|_, stream| async move {
        let mut wire = Wire::new(stream);
        while wire.head().await.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    for (keepalive, connections) in [("300ms", 1), ("800ms", 2)] {
        let more = format!("[timeouts]\nkeepalive = \"{keepalive}\"\n");
        let (_gateway, client) = in_front_of(&upstream, &more).await;
        let mut raw = client.raw().await;
        for _ in 0..2 {
            raw.send(GET).await;
            assert_eq!(raw.answer().await.status, 200);
        }
        let mut other = client.raw().await;
        other.send(GET).await;
        assert_eq!(other.answer().await.status, 200);
        assert_eq!(upstream.connections(), connections, "one for both");
        let begun = Instant::now();
        assert!(raw.is_closed().await);
        assert!(begun.elapsed() < Duration::from_secs(3), "{keepalive}");
    }
}
