//! HTTP/2 to the upstream: requests share connections, and none is lost when one ends.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;
use http::{Response, StatusCode};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::support::client::Answer;
use crate::support::http2::{behind_a_name, connections, echo, in_front_of, ok, read, streams};
use crate::support::secure::{Hands, secure, upstream};
use crate::support::wire::{Wire, canned, h2, h2_request, is_quiet, soon};
use crate::support::{Client, Dns, Gateway, Pki, Upstream, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_either_protocol_share_one_connection() {
    let (upstream, seen) = echo(Builder::new()).await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for _ in 0..3 {
        assert_eq!(client.get("/x?a=%20b").await.text(), "h2 GET /x?a=%20b 0");
        let chunked = "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nKeep-Alive: x\r\nTE: \
                       trailers\r\nConnection: te, x-hop\r\nX-Hop: 1\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
        assert_eq!(client.send_raw(chunked).await.text(), "h2 POST /x 4");
        let answer = client.h2("POST", "/x", &[], &"x".repeat(300_000)).await;
        assert_eq!(answer.body, "h2 POST /x 300000");
    }
    assert_eq!(upstream.connections(), 1);
    for head in seen.lock().unwrap().iter() {
        assert_eq!(head.uri().scheme_str(), Some("http"));
        assert_eq!(head.uri().authority().unwrap(), "localhost");
        assert_eq!(head.headers()["x-forwarded-host"], "localhost");
        assert_eq!(head.headers()["x-ssl-client-verify"], "SUCCESS");
        for name in ["host", "connection", "keep-alive", "transfer-encoding", "x-hop"] {
            assert!(!head.headers().contains_key(name), "{name}");
        }
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen[1].headers()["te"], "trailers");
    assert_eq!(seen[2].headers()["content-length"], "300000");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_have_none() {
    let upstream = streams(Builder::new(), |_, _, (request, mut respond)| async move {
        let (status, length) = match request.uri().path() {
            "/204" => (204, None),
            "/304" => (304, Some("7")),
            _ => (200, Some("7")),
        };
        let mut answer = Response::builder().status(status);
        if let Some(length) = length {
            answer = answer.header("content-length", length);
        }
        respond.send_response(answer.body(()).unwrap(), true).unwrap();
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    for (method, path, status) in [("HEAD", "/x", 200), ("GET", "/204", 204), ("GET", "/304", 304)] {
        raw.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let answer = raw.answer_to_head().await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("transfer-encoding"), None);
        if method == "HEAD" {
            assert_eq!(answer.header("content-length"), Some("7"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_takes_one_stream_at_a_time_gets_more_connections() {
    let (tell, mut told) = mpsc::channel(16);
    let go = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&go);
    let mut builder = Builder::new();
    builder.max_concurrent_streams(1);
    let upstream = streams(builder, move |connection, _, (_, mut respond)| {
        let (tell, wait) = (tell.clone(), Arc::clone(&wait));
        async move {
            tell.send(connection).await.unwrap();
            wait.acquire().await.unwrap().forget();
            ok(&mut respond, "done");
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (sender, _connection) = h2(&client).await;
    for round in 0..2 {
        let answers: Vec<_> =
            (0..8).map(|_| sender.clone().send_request(h2_request("POST", "/x"), true).unwrap().0).collect();
        let mut connections = Vec::new();
        for _ in 0..8 {
            connections.push(soon(told.recv()).await.unwrap());
        }
        connections.sort_unstable();
        connections.dedup();
        assert_eq!(connections.len(), 8, "round {round}");
        go.add_permits(8);
        for answer in answers {
            assert_eq!(soon(answer).await.unwrap().status(), 200);
        }
    }
    assert!(upstream.connections() <= 16, "{}", upstream.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_together_wait_for_one_connection() {
    let (upstream, seen) = echo(Builder::new()).await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (sender, _connection) = h2(&client).await;
    let answers: Vec<_> =
        (0..50).map(|_| sender.clone().send_request(h2_request("GET", "/x"), true).unwrap().0).collect();
    for answer in answers {
        assert_eq!(soon(answer).await.unwrap().status(), 200);
    }
    assert_eq!((upstream.connections(), seen.lock().unwrap().len()), (1, 50));
}

/// Every connection says GOAWAY after some requests, once gracefully and once in the middle, and closes.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_when_connections_end_with_goaway() {
    let processed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&processed);
    let upstream = connections(Builder::new(), move |number, mut http| {
        let count = Arc::clone(&count);
        async move {
            let mut tasks = JoinSet::new();
            let mut taken = 0;
            while let Some(Ok((request, mut respond))) = http.accept().await {
                let count = Arc::clone(&count);
                tasks.spawn(async move {
                    let Ok((body, _)) = read(&mut request.into_body()).await else { return };
                    count.fetch_add(1, Ordering::SeqCst);
                    ok(&mut respond, body);
                });
                taken += 1;
                if taken == 7 + number % 5 {
                    http.graceful_shutdown();
                }
            }
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut clients = JoinSet::new();
    for number in 0..4 {
        let client = client.clone();
        clients.spawn(async move {
            let (sender, _connection) = h2(&client).await;
            let method = if number % 2 == 0 { "GET" } else { "POST" };
            for _ in 0..25 {
                let answers: Vec<_> =
                    (0..4).map(|_| sender.clone().send_request(h2_request(method, "/x"), true).unwrap().0).collect();
                for answer in answers {
                    assert_eq!(soon(answer).await.unwrap().status(), 200, "{method}");
                }
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    assert!(upstream.connections() > 20, "{}", upstream.connections());
    assert_eq!(processed.load(Ordering::SeqCst), 400, "none was processed twice");
}

/// A stream that the upstream says it has not looked at is sent again, whatever its method.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_sent_again_and_one_that_was_reset_is_not() {
    let upstream = streams(Builder::new(), |_, stream, (request, mut respond)| async move {
        match (request.uri().path(), stream) {
            ("/refused", 0) => respond.send_reset(Reason::REFUSED_STREAM),
            ("/reset", _) => respond.send_reset(Reason::INTERNAL_ERROR),
            _ => ok(&mut respond, "done"),
        }
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    assert_eq!(
        client.send_raw("POST /refused HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await.status,
        200
    );
    let line = gateway.logged("request", |line| line["path"] == "/refused").await;
    assert_eq!(line["attempts"], 2);
    for method in ["GET", "POST"] {
        let answer = client.h2(method, "/reset", &[], "").await;
        assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::BAD_GATEWAY, &"upstream_reset".into()));
    }
    for method in ["GET", "POST"] {
        let line = gateway.logged("request", |line| line["path"] == "/reset" && line["method"] == method).await;
        assert_eq!(line["attempts"], 1, "there is no other endpoint for a GET");
    }
}

/// No GOAWAY, so nobody knows whether it was processed.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_costs_no_get_and_doubles_no_post() {
    for (method, status) in [("GET", 200), ("POST", 502)] {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let upstream = connections(Builder::new(), move |number, mut http| {
            let count = Arc::clone(&count);
            async move {
                let mut tasks = JoinSet::new();
                while let Some(Ok((request, mut respond))) = http.accept().await {
                    if request.uri().path() == "/x" && count.fetch_add(1, Ordering::SeqCst) == 0 && number == 0 {
                        return;
                    }
                    tasks.spawn(async move { ok(&mut respond, "done") });
                }
            }
        })
        .await;
        let (_gateway, client) = in_front_of(&upstream, "").await;
        assert_eq!(client.get("/first").await.status, 200);
        assert_eq!(client.h2(method, "/x", &[], "").await.status, status, "{method}");
        assert_eq!(taken.load(Ordering::SeqCst), if method == "GET" { 2 } else { 1 });
        assert_eq!(client.get("/last").await.status, 200);
    }
}

/// What was sent of it goes along, up to 64 KiB: calls of one message are lost no more than those without a body.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_sent_again_with_its_body_when_that_is_short() {
    let upstream = streams(Builder::new(), |_, stream, (request, mut respond)| async move {
        let mut body = request.into_body();
        if stream % 2 == 0 {
            let _ = body.data().await;
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let (body, trailers) = read(&mut body).await.unwrap();
        ok(&mut respond, format!("{} {}", body.len(), trailers.is_some()));
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, _connection) = h2(&client).await;
    for length in [5, 60_000] {
        let (answer, mut body) = sender.send_request(h2_request("POST", "/x"), false).unwrap();
        body.send_data(vec![b'x'; length / 2].into(), false).unwrap();
        body.send_data(vec![b'x'; length - length / 2].into(), false).unwrap();
        body.send_trailers(http::HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())])).unwrap();
        let (text, _) = read(&mut soon(answer).await.unwrap().into_body()).await.unwrap();
        assert_eq!(text, format!("{length} true"));
    }
    let exact = client.h2("POST", "/x", &[("content-length", "6")], "abcdef").await;
    assert_eq!(exact.body, "6 false");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_reset_is_cut_for_the_client_too() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let upstream = streams(Builder::new(), move |_, _, (request, mut respond)| {
        let wait = Arc::clone(&wait);
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data("half".into(), false).unwrap();
            wait.notified().await;
            if request.uri().path() == "/reset" {
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
            // The other is dropped with its body unfinished.
        }
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    for path in ["/reset", "/dropped"] {
        let mut raw = client.raw().await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert!(raw.until("half\r\n").await.starts_with("HTTP/1.1 200"));
        go.notify_one();
        assert_eq!(raw.rest().await, b"", "no end of the chunks");
        let line = gateway.logged("request", |line| line["path"] == path).await;
        assert_eq!((&line["aborted"], &line["reason"]), (&"upstream".into(), &"upstream_truncated".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_length_is_wrong_or_has_two_meanings_is_not_passed_on_as_whole() {
    let upstream = streams(Builder::new(), |_, _, (request, mut respond)| async move {
        let mut answer = Response::builder().header("content-length", "10");
        if request.uri().path() == "/two" {
            answer = answer.header("content-length", "4");
        }
        let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
        stream.send_data("half".into(), true).unwrap();
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let answer = client.get("/two").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (502, &"upstream_malformed".into()));
    let mut raw = client.raw().await;
    raw.send("GET /short HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = String::from_utf8(raw.rest().await).unwrap();
    let line = gateway.logged("request", |line| line["path"] == "/short").await;
    assert!(answer.contains(" 502 ") || line["aborted"] == "upstream", "{answer} {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_http_1_clients_pass_where_they_were_announced() {
    let seen: Arc<Mutex<Vec<http::HeaderMap>>> = Arc::default();
    let remember = Arc::clone(&seen);
    let upstream = streams(Builder::new(), move |_, _, (request, mut respond)| {
        let remember = Arc::clone(&remember);
        async move {
            let (_, trailers) = read(&mut request.into_body()).await.unwrap();
            remember.lock().unwrap().extend(trailers);
            let answer = Response::builder().header("trailer", "x-sum");
            let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
            stream.send_data("body".into(), false).unwrap();
            let trailers = [("x-sum", "1"), ("x-other", "2")]
                .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
            stream.send_trailers(trailers.into_iter().collect()).unwrap();
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send(
        "POST /x HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: te, close\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
    )
    .await;
    let answer = String::from_utf8(raw.rest().await).unwrap();
    assert!(answer.ends_with("0\r\nx-sum: 1\r\n\r\n"), "{answer}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-sum"]);
}

/// RFC 9113 section 8.1: a complete answer, and then RST_STREAM(NO_ERROR) for the rest of the request.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_the_request_has_ended_is_whole() {
    let upstream = streams(Builder::new(), |_, _, (_, mut respond)| async move {
        // h2 resets what is dropped in this state.
        ok(&mut respond, "early");
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for _ in 0..10 {
        let answer = client.h2("POST", "/x", &[], &"x".repeat(2_000_000)).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"early"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_resets_its_stream_and_no_other() {
    let (tell, mut told) = mpsc::channel(4);
    let upstream = streams(Builder::new(), move |_, stream, (request, mut respond)| {
        let tell = tell.clone();
        async move {
            let mut body = request.into_body();
            if stream == 1 {
                // Answered only when the other has gone.
                tell.send("other".to_owned()).await.unwrap();
                let _ = read(&mut body).await;
                return ok(&mut respond, "done");
            }
            let mut answer = respond.send_response(Response::new(()), false).unwrap();
            answer.send_data("begun".into(), false).unwrap();
            tell.send("begun".to_owned()).await.unwrap();
            let reason = std::future::poll_fn(|context| answer.poll_reset(context)).await.unwrap();
            tell.send(format!("{reason:?}")).await.unwrap();
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, _connection) = h2(&client).await;
    let (leaving, _body) = sender.send_request(h2_request("POST", "/leaving"), false).unwrap();
    assert_eq!(soon(told.recv()).await.unwrap(), "begun");
    let leaving = soon(leaving).await.unwrap();
    let (staying, mut body) = sender.send_request(h2_request("POST", "/staying"), false).unwrap();
    assert_eq!(soon(told.recv()).await.unwrap(), "other");
    drop((leaving, _body));
    assert_eq!(soon(told.recv()).await.unwrap(), "CANCEL");
    body.send_data("x".into(), true).unwrap();
    assert_eq!(soon(staying).await.unwrap().status(), 200);
    assert_eq!(upstream.connections(), 1);
}

/// Windows are for all: those who do not read must not hold up the others.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_do_not_hold_up_others() {
    let upstream = streams(Builder::new(), |_, _, (request, mut respond)| async move {
        let length = if request.uri().path() == "/large" { 4_000_000 } else { 10 };
        ok(&mut respond, vec![b'x'; length]);
        std::future::pending::<()>().await;
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (sender, _connection) = h2(&client).await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let answer = sender.clone().send_request(h2_request("GET", "/large"), true).unwrap().0;
        stalled.push(soon(answer).await.unwrap());
    }
    for _ in 0..5 {
        assert_eq!(soon(client.get("/small")).await.body.len(), 10);
    }
    assert_eq!(upstream.connections(), 1);
}

/// An upstream at this address that answers with it, and holds back answers for `/slow`.
async fn named(address: IpAddr, port: u16, go: Arc<Notify>, ended: mpsc::Sender<IpAddr>) -> Upstream {
    Upstream::raw_on((address, port).into(), move |_, stream| {
        let (go, ended) = (Arc::clone(&go), ended.clone());
        async move {
            let mut http = h2::server::handshake(stream).await.unwrap();
            let mut tasks = JoinSet::new();
            while let Some(Ok((request, mut respond))) = http.accept().await {
                let go = Arc::clone(&go);
                tasks.spawn(async move {
                    if request.uri().path() == "/slow" {
                        go.notified().await;
                    }
                    ok(&mut respond, address.to_string());
                });
            }
            ended.send(address).await.unwrap();
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_an_endpoint_that_leaves_dns_end_with_their_last_request() {
    let addresses: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let port = crate::support::binary::free_port(&addresses);
    let go = Arc::new(Notify::new());
    let (tell, mut ended) = mpsc::channel(8);
    let mut upstreams = Vec::new();
    for address in addresses {
        upstreams.push(named(address, port, Arc::clone(&go), tell.clone()).await);
    }
    let dns = Dns::start().await;
    dns.set("api.test.local", 1, &addresses[..1]).await;
    let (_gateway, client) = behind_a_name(port, dns.address).await;
    eventually("the first", async || (client.get("/x").await.text() == "127.0.0.1").then_some(())).await;
    let (mut sender, _connection) = h2(&client).await;
    let slow = sender.send_request(h2_request("GET", "/slow"), true).unwrap().0;
    assert_eq!(client.get("/x").await.text(), "127.0.0.1");
    dns.set("api.test.local", 1, &addresses[1..]).await;
    eventually("the second", async || (client.get("/x").await.text() == "127.0.0.2").then_some(())).await;
    assert!(is_quiet(ended.recv(), Duration::from_millis(300)).await, "a request is on it");
    go.notify_one();
    assert_eq!(soon(slow).await.unwrap().status(), 200);
    assert_eq!(soon(ended.recv()).await.unwrap(), addresses[0]);
    assert_eq!(upstreams[0].connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keepalive_a_connection_ends_with_its_last_request() {
    let (upstream, _) = echo(Builder::new()).await;
    let (_gateway, client) = in_front_of(&upstream, "keepalive_idle = \"0s\"\n").await;
    for number in 1..=3 {
        assert_eq!(client.get("/x").await.status, 200);
        assert_eq!(upstream.connections(), number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_speaks_something_else_gets_no_request() {
    for (answer, reason) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "upstream_malformed"),
        ("", "upstream_reset"),
    ] {
        let upstream = canned(answer).await;
        let (_gateway, client) = in_front_of(&upstream, "").await;
        let answer = client.get("/x").await;
        assert_eq!((answer.status, &answer.json()["reason"]), (502, &reason.into()));
    }
    let silent = Upstream::raw(|_, stream| async move {
        Wire::new(stream).rest().await;
    })
    .await;
    let (_gateway, client) = in_front_of(&silent, "[upstream.api.timeouts]\nconnect = \"200ms\"\n").await;
    let answer = client.get("/x").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (504, &"upstream_connect_timeout".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_http_2_is_agreed_on_or_there_is_no_connection() {
    let pki = Pki::new();
    for (protocols, expected) in
        [(vec!["h2"], None), (vec!["http/1.1"], Some("upstream_tls_failed")), (vec![], Some("upstream_tls_failed"))]
    {
        let (server, seen) = secure(Hands { protocols, ..Hands::of(&pki) }).await;
        let text = upstream(&format!("https://localhost:{}", server.address.port()), &pki, "");
        let text = text.replacen("[upstream.api]\n", "[upstream.api]\nprotocol = \"http2\"\n", 1);
        let text =
            text.replace("https://localhost", "https://127.0.0.1").replace("ca =", "server_name = \"localhost\"\nca =");
        let gateway = Gateway::start(&pki, &text).await;
        let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
        match expected {
            None => {
                assert_eq!(client.h2("POST", "/x", &[], "body").await.body, "secure 4");
                assert_eq!(client.get("/x").await.text(), "secure 0");
                assert_eq!(seen.lock().unwrap()[0], (Some("localhost".to_owned()), None, http::Version::HTTP_2));
                assert_eq!(server.connections(), 1);
            }
            Some(reason) => {
                let answer = client.get("/x").await;
                assert_eq!((answer.status, &answer.json()["reason"]), (502, &reason.into()));
                assert!(seen.lock().unwrap().is_empty());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_a_refused_certificate_is_known_before_a_request_is_risked() {
    let pki = Pki::new();
    let (server, seen) = secure(Hands { clients: Some(pki.read("ca.crt")), ..Hands::of(&pki) }).await;
    let text = upstream(&format!("https://{}", server.address), &pki, "");
    let gateway =
        Gateway::start(&pki, &text.replacen("[upstream.api]\n", "[upstream.api]\nprotocol = \"http2\"\n", 1)).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let answer = client.h2("POST", "/x", &[], "body").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (502, &"upstream_tls_failed".into()));
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_begin_or_go_on_is_given_up_and_a_client_that_is_waited_for_is_not() {
    let resets: Arc<Mutex<Vec<Reason>>> = Arc::default();
    let remember = Arc::clone(&resets);
    let upstream = streams(Builder::new(), move |_, _, (request, mut respond)| {
        let remember = Arc::clone(&remember);
        async move {
            let path = request.uri().path().to_owned();
            let mut body = request.into_body();
            match path.as_str() {
                "/reads" => {
                    let _ = read(&mut body).await;
                    return ok(&mut respond, "read");
                }
                "/begins" => {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data("begun".into(), false).unwrap();
                    let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await.unwrap();
                    return remember.lock().unwrap().push(reason);
                }
                _ => {}
            }
            let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await.unwrap();
            remember.lock().unwrap().push(reason);
        }
    })
    .await;
    let more = "[upstream.api.timeouts]\nfirst_byte = \"300ms\"\nbetween_bytes = \"300ms\"\n";
    let (gateway, client) = in_front_of(&upstream, more).await;
    let answer = client.get("/never").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (504, &"upstream_timeout".into()));
    let (mut sender, _connection) = h2(&client).await;
    let (answer, mut body) = sender.send_request(h2_request("POST", "/reads"), false).unwrap();
    body.send_data("one".into(), false).unwrap();
    let mut answer = std::pin::pin!(answer);
    assert!(is_quiet(&mut answer, Duration::from_millis(900)).await, "the client is waited for");
    body.send_data(Bytes::from_static(b"two"), true).unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 200);
    let mut raw = client.raw().await;
    raw.send("GET /begins HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    raw.rest().await;
    let line = gateway.logged("request", |line| line["path"] == "/begins").await;
    assert_eq!((&line["aborted"], &line["reason"]), (&"upstream".into(), &"upstream_timeout".into()));
    eventually("two streams that were reset", async || {
        (*resets.lock().unwrap() == [Reason::CANCEL, Reason::CANCEL]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_requests_and_not_connections() {
    let go = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&go);
    let (tell, mut told) = mpsc::channel(4);
    let upstream = streams(Builder::new(), move |_, _, (_, mut respond)| {
        let (tell, wait) = (tell.clone(), Arc::clone(&wait));
        async move {
            tell.send(()).await.unwrap();
            wait.acquire().await.unwrap().forget();
            ok(&mut respond, "done");
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "[upstream.api.limits]\nmax_connections = 2\n").await;
    let mut http = client.http2().await;
    let request = |path: &str| {
        http::Request::get(format!("https://localhost{path}")).body(http_body_util::Full::default()).unwrap()
    };
    let two: Vec<_> = (0..2).map(|_| tokio::spawn(http.send_request(request("/x")))).collect();
    for _ in 0..2 {
        soon(told.recv()).await.unwrap();
    }
    let answer = client.get("/x").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &"upstream_at_limit".into()));
    assert_eq!(upstream.connections(), 1);
    go.add_permits(2);
    for answer in two {
        assert_eq!(Answer::of(soon(answer).await.unwrap().unwrap()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn active_checks_speak_what_the_upstream_speaks() {
    let health = "[upstream.api.health]\npath = \"/health\"\ninterval = \"100ms\"\n";
    let (plain, seen) = echo(Builder::new()).await;
    let (_gateway, client) = in_front_of(&plain, health).await;
    eventually("two checks", async || (seen.lock().unwrap().len() >= 2).then_some(())).await;
    assert_eq!(client.get("/x").await.status, 200);
    let seen = seen.lock().unwrap().clone();
    let check = seen.iter().find(|head| head.uri().path() == "/health").unwrap();
    assert_eq!(
        (check.method().as_str(), check.uri().authority().unwrap().as_str()),
        ("GET", &*plain.address.to_string())
    );
    let pki = Pki::new();
    for protocol in ["http1", "http2"] {
        let (server, seen) = secure(Hands::of(&pki)).await;
        let text = upstream(&format!("https://{}", server.address), &pki, health);
        let protocol = format!("[upstream.api]\nprotocol = \"{protocol}\"\n");
        let gateway = Gateway::start(&pki, &text.replacen("[upstream.api]\n", &protocol, 1)).await;
        let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
        eventually("two checks", async || (seen.lock().unwrap().len() >= 2).then_some(())).await;
        assert_eq!(client.get("/x").await.status, 200);
    }
}

/// What was sent may be sent again: a PUT is idempotent, and the gateway remembers a short body.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_goes_to_the_other_endpoint_with_its_body_when_a_connection_dies() {
    let addresses: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let port = crate::support::binary::free_port(&addresses);
    let taken = Arc::new(AtomicUsize::new(0));
    let mut upstreams = Vec::new();
    for address in addresses {
        let taken = Arc::clone(&taken);
        upstreams.push(
            Upstream::raw_on((address, port).into(), move |_, stream| {
                let taken = Arc::clone(&taken);
                async move {
                    let mut http = h2::server::handshake(stream).await.unwrap();
                    let mut tasks = JoinSet::new();
                    while let Some(Ok((request, mut respond))) = http.accept().await {
                        if taken.fetch_add(1, Ordering::SeqCst) == 0 {
                            return;
                        }
                        tasks.spawn(async move {
                            let (body, _) = read(&mut request.into_body()).await.unwrap();
                            ok(&mut respond, body);
                        });
                    }
                }
            })
            .await,
        );
    }
    let dns = Dns::start().await;
    dns.set("api.test.local", 60, &addresses).await;
    let (_gateway, client) = behind_a_name(port, dns.address).await;
    let answer = client.h2("PUT", "/x", &[("content-length", "6")], "abcdef").await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"abcdef"[..]));
    assert_eq!(taken.load(Ordering::SeqCst), 2);
}
