//! Requests and answers pass through unchanged, and what is no answer does not.

use bytes::Bytes;
use http::{HeaderValue, Response};
use tokio::io::AsyncWriteExt as _;

use crate::support::client::Answer;
use crate::support::upstream::text;
use crate::support::wire::{Wire, canned, fed, h2, h2_request, in_front_of, soon};
use crate::support::{Client, Upstream};

/// An upstream that answers with the request's own body.
async fn mirror() -> Upstream {
    Upstream::answering(|seen| Response::new(text(seen.body.clone().unwrap_or_default()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_reaches_the_upstream() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"];
    for method in methods {
        let mut raw = client.raw().await;
        raw.send(format!("{method} /a/b?c=d%20e&f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")).await;
        let answer = if method == "HEAD" { raw.answer_to_head().await } else { raw.answer().await };
        assert_eq!(answer.status, 200, "{method}");
        let expected = if method == "HEAD" { String::new() } else { format!("upstream {method} /a/b?c=d%20e&f") };
        assert_eq!(answer.text(), expected);
        let over_h2 = client.h2(method, "/a/b?c=d%20e&f", &[], "").await;
        assert_eq!((over_h2.status.as_u16(), over_h2.body), (200, Bytes::from(expected)), "{method}");
    }
    let seen: Vec<_> = upstream.seen().into_iter().map(|seen| seen.method.to_string()).collect();
    assert_eq!(seen, methods.into_iter().flat_map(|method| [method, method]).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_framing_arrive_whole() {
    let upstream = mirror().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    for (head, body, expected) in [
        ("Content-Length: 5", "hello", "hello"),
        ("Content-Length: 0", "", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n1;ext=1\r\n!\r\n0\r\n\r\n", "hello!"),
        ("Transfer-Encoding: chunked", "0\r\n\r\n", ""),
        ("X-No-Body: 1", "", ""),
    ] {
        raw.send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n{body}")).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{head}");
    }
    assert_eq!(client.h2("POST", "/x", &[], "hello").await.body, "hello");
    assert_eq!(client.h2("POST", "/x", &[("content-length", "5")], "hello").await.body, "hello");
    assert_eq!(client.h2("POST", "/x", &[], "").await.body, "");
    let seen = upstream.seen();
    let framing = |index: usize, name: &str| seen[index].headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((framing(0, "content-length"), framing(0, "transfer-encoding")), (Some("5"), None));
    assert_eq!((framing(2, "content-length"), framing(2, "transfer-encoding")), (None, Some("chunked")));
    assert_eq!((framing(6, "content-length"), framing(6, "transfer-encoding")), (Some("5"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_mebibytes_arrive_whole_both_ways() {
    let upstream = mirror().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut bytes = vec![0; 10 << 20];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    let body = Bytes::from(bytes);

    let mut raw = client.raw().await;
    let (mut reading, mut writing) = tokio::io::split(&mut raw.stream);
    let head =
        format!("POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let send = async {
        writing.write_all(head.as_bytes()).await.unwrap();
        writing.write_all(&body).await.unwrap();
        writing.flush().await.unwrap();
    };
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut answer);
    let ((), read) = soon(async { tokio::join!(send, read) }).await;
    read.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    assert!(answer.ends_with(&body), "{} bytes came", answer.len());

    let mut sender = client.http2().await;
    let request = http::Request::post("https://localhost/x").body(http_body_util::Full::new(body.clone())).unwrap();
    let answer = Answer::of(soon(sender.send_request(request)).await.unwrap()).await;
    assert_eq!(answer.body.len(), body.len());
    assert!(answer.body == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_end_where_they_should() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        while let Some(head) = wire.head().await {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1234\r\n\r\n",
                "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "/no-content-type" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-Head: 1\r\n\r\n",
            };
            wire.send(answer).await;
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    // All on one connection: one that ends in the wrong place would spoil the next.
    let mut raw = client.raw().await;
    for (method, path, status, length) in [
        ("HEAD", "/x", 200, Some("1234")),
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, None),
        ("GET", "/empty", 200, Some("0")),
        ("HEAD", "/x", 200, Some("1234")),
        ("GET", "/no-content-type", 200, Some("2")),
    ] {
        raw.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let answer = if method == "HEAD" { raw.answer_to_head().await } else { raw.answer().await };
        assert_eq!(answer.status, status, "{method} {path}");
        // That of a 304 may be told or not (RFC 9110 section 8.6).
        assert!(status == 304 || answer.header("content-length") == length, "{method} {path}");
        assert_eq!(answer.header("content-type"), None, "none is made up");
        let over_h2 = client.h2(method, path, &[], "").await;
        assert_eq!(over_h2.status.as_u16(), status);
        assert_eq!(over_h2.body.len(), if path == "/no-content-type" { 2 } else { 0 });
    }
    assert!(upstream.connections() <= 2, "answers without a body leave the connection usable");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_says_is_left_as_it_is() {
    let gzip: Vec<u8> = (0..=255).collect();
    let body = Bytes::from(gzip.clone());
    let upstream = Upstream::answering(move |_| {
        let mut answer = Response::new(text(body.clone()));
        *answer.status_mut() = http::StatusCode::IM_A_TEAPOT;
        for (name, value) in [
            ("set-cookie", "a=1; Path=/; HttpOnly"),
            ("set-cookie", "b=2, c"),
            ("content-encoding", "gzip"),
            ("content-type", "application/x-strange"),
            ("server", "gunicorn"),
            ("etag", "W/\"1\""),
            ("x_under.score", "kept"),
            ("connection", "X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
        ] {
            answer.headers_mut().append(name, HeaderValue::from_static(value));
        }
        answer.headers_mut().append("x-obs-text", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        answer
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for version in ["1", "2"] {
        let (status, headers, body) = if version == "2" {
            let answer = client.h2("GET", "/x", &[], "").await;
            (answer.status.as_u16(), answer.headers, answer.body.to_vec())
        } else {
            let mut sender = client.http1().await;
            let request = http::Request::get("/x").header("host", "localhost").body(Default::default()).unwrap();
            let answer = Answer::of(soon(sender.send_request(request)).await.unwrap()).await;
            (answer.status.as_u16(), answer.headers, answer.body.to_vec())
        };
        assert_eq!((status, &body), (418, &gzip), "HTTP/{version}");
        let all = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("set-cookie"), ["a=1; Path=/; HttpOnly", "b=2, c"]);
        assert_eq!(all("content-encoding"), ["gzip"]);
        assert_eq!(all("content-type"), ["application/x-strange"]);
        assert_eq!(all("server"), ["gunicorn"]);
        assert_eq!(all("x_under.score"), ["kept"]);
        assert_eq!(headers["x-obs-text"].as_bytes(), b"caf\xe9");
        assert!(all("x-hop").is_empty() && all("keep-alive").is_empty() && all("via").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_http_2_reach_the_upstream_as_one_field() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    client.h2("GET", "/x", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")], "").await;
    let seen = upstream.seen();
    let cookies: Vec<_> = seen[0].headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_malformed_is_a_502_and_its_connection_is_dropped() {
    let endless =
        format!("HTTP/1.1 200 OK\r\n{}", "X-Long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(4000));
    let too_large = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(66 << 10));
    for (what, answer) in [
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        ("two equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
        ("two lengths in one", "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc"),
        (
            "length and coding",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        ),
        (
            "coding and length",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        ),
        ("another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("no coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nab"),
        ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        ("a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"),
        ("an enormous length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nab"),
        ("garbage", "\x16\x03\x01\x02garbage\r\n\r\n"),
        ("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n"),
        ("a body without a head", "<html>hello</html>\r\n\r\n"),
        ("an empty status line", "\r\n\r\n"),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
        ("HTTP/2's answer", "\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x7f\0\x04\0\x01\0\0\0\x05\0\0\0\0"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("nothing", ""),
        ("a space in a name", "HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n"),
        (
            "a switch nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        ("only an interim answer", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        ("a head too large", &too_large),
        ("a head without an end", &endless),
    ] {
        let upstream = canned(answer).await;
        let (gateway, client) = in_front_of(&upstream, "").await;
        let answer = client.get("/x").await;
        assert_eq!(answer.status, 502, "{what}: {}", answer.text());
        assert_eq!(client.h2("POST", "/x", &[], "body").await.status, 502, "{what}");
        assert_eq!(upstream.connections(), 2, "{what}: not sent again");
        let line = gateway.logged("request", |line| line["method"] == "GET").await;
        assert_eq!((&line["status"], &line["attempts"]), (&502.into(), &1.into()), "{line}");
        assert_eq!(line["upstream"], "api");
        assert!(line["reason"].as_str().unwrap().starts_with("upstream_"));
        assert_eq!(client.get("/health").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_short_is_cut_short_for_the_client_too() {
    for (what, answer) in [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
        ("chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this"),
        ("last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
        ("trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n"),
        ("chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nxyz\r\n"),
    ] {
        let upstream = canned(answer).await;
        let (gateway, client) = in_front_of(&upstream, "").await;
        let mut raw = client.raw().await;
        raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let rest = String::from_utf8(raw.rest().await).unwrap();
        let (head, body) = rest.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{what}: {rest}");
        assert!(body.contains("only this") && !body.ends_with("0\r\n\r\n"), "{what}: {rest}");
        if what == "length" {
            assert!(head.to_ascii_lowercase().contains("content-length: 100"), "{head}");
        }
        let line = gateway.logged("request", |_| true).await;
        assert_eq!((&line["aborted"], &line["reason"]), (&"upstream".into(), &"upstream_truncated".into()), "{line}");
        assert_eq!((&line["status"], &line["bytes_out"]), (&200.into(), &9.into()));

        let (mut sender, _connection) = h2(&client).await;
        let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
        let mut body = soon(response).await.unwrap().into_body();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), "only this");
        let end = loop {
            match soon(body.data()).await {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                other => break other,
            }
        };
        assert!(end.is_some_and(|end| end.is_err_and(|error| error.is_reset())), "{what}");
    }
}

/// Without a length or chunks, only TLS tells a whole answer from half of one.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_short_is_no_whole_one_for_http_1_0_either() {
    let whole = canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n\r\n").await;
    let short = canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this").await;
    for (upstream, is_whole) in [(whole, true), (short, false)] {
        let (_gateway, client) = in_front_of(&upstream, "").await;
        let mut raw = client.raw().await;
        raw.send("GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
        let mut answer = Vec::new();
        let end = soon(tokio::io::AsyncReadExt::read_to_end(&mut raw.stream, &mut answer)).await;
        assert!(String::from_utf8(answer).unwrap().ends_with("only this"));
        assert_eq!(end.is_ok(), is_whole, "close_notify means that nothing is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_upstream_is_understood_and_its_connection_not_reused() {
    for answer in [
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\nuntil the end",
    ] {
        let upstream = canned(answer).await;
        let (_gateway, client) = in_front_of(&upstream, "").await;
        let mut raw = client.raw().await;
        for _ in 0..3 {
            raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
            let got = raw.answer().await;
            assert_eq!((got.status, got.text().as_str()), (200, "until the end"));
            assert_eq!(got.header("connection"), None, "the client's connection is none of the upstream's business");
        }
        assert_eq!(client.h2("GET", "/x", &[], "").await.body, "until the end");
        assert_eq!(upstream.connections(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_heads_of_answers_pass() {
    let value = "v".repeat(15 << 10);
    let large = format!(
        "HTTP/1.1 200 OK\r\nX-One: {value}\r\nX-Two: {value}\r\nX-Three: {value}\r\nX-Four: {value}\r\nContent-Length: 2\r\n\r\nhi"
    );
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nhi", "Set-Cookie: a=b\r\n".repeat(150));
    for answer in [large, many] {
        let upstream = canned(answer.clone()).await;
        let (_gateway, client) = in_front_of(&upstream, "").await;
        let got = client.get("/x").await;
        assert_eq!((got.status, got.text().as_str()), (200, "hi"), "{}", answer.len());
        let mut builder = h2::client::Builder::new();
        builder.max_header_list_size(1 << 20);
        let (mut sender, _connection) = crate::support::wire::h2_with(&client, &builder).await;
        let (response, _) = sender.send_request(h2_request("GET", "/x"), true).unwrap();
        assert_eq!(soon(response).await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_are_dropped_and_never_taken_for_the_final_one() {
    let upstream = canned(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    )
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let answer = client.get("/x").await;
    assert_eq!((answer.status, answer.text().as_str(), answer.header("link")), (200, "final", None));
    let answer = client.h2("GET", "/x", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.body, answer.headers.get("link")), (200, "final".into(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_only_after_the_gate_has_said_yes_and_the_upstream_never_sees_the_expectation() {
    let upstream = mirror().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let head = "POST /x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut raw = client.raw().await;
    raw.send(head).await;
    assert_eq!(raw.answer().await.status, 100);
    raw.send("hello").await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert!(!upstream.seen()[0].headers.contains_key("expect"));

    let mut stranger = client.clone().without_certificate().raw().await;
    stranger.send(head).await;
    assert_eq!(stranger.answer().await.status, 403, "and no 100 before it");
    let too_long = head.replace("Length: 5", "Length: 99999999");
    assert_eq!(client.send_raw(too_long).await.status, 413);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_during_the_upload_reaches_the_client() {
    // Answers as soon as it has the head, reads nothing more, and hangs up, as gunicorn does for a large upload.
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        wire.head().await;
        wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for _ in 0..20 {
        let mut raw = client.raw().await;
        raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n").await;
        let piece = vec![b'x'; 64 << 10];
        // The client goes on sending until it is told to stop, or has an answer.
        let mut reading = vec![0; 1024];
        let (mut reader, mut writer) = tokio::io::split(&mut raw.stream);
        let sending = async {
            for _ in 0..150 {
                if writer.write_all(&piece).await.is_err() {
                    return;
                }
            }
        };
        let reading = async {
            let length = tokio::io::AsyncReadExt::read(&mut reader, &mut reading).await.unwrap();
            String::from_utf8_lossy(&reading[..length]).into_owned()
        };
        let answer = soon(async {
            tokio::select! {
                answer = reading => answer,
                () = async { sending.await; std::future::pending().await } => unreachable!(),
            }
        })
        .await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    let (mut sender, _connection) = h2(&client).await;
    let (response, mut body) = sender.send_request(h2_request("POST", "/x"), false).unwrap();
    // The answer may have come before this.
    let _ = body.send_data(vec![b'x'; 100_000].into(), false);
    assert_eq!(soon(response).await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_requests_one_after_the_other_and_at_once() {
    let upstream = mirror().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    let mut pipelined = String::new();
    for number in 0..20 {
        pipelined += &format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{number:02}");
    }
    raw.send(pipelined).await;
    for number in 0..20 {
        assert_eq!(raw.answer().await.text(), format!("{number:02}"));
    }
    let (sender, _connection) = h2(&client).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100_u32 {
        let sender = sender.clone();
        tasks.spawn(async move {
            let mut sender = sender.ready().await.unwrap();
            let (response, mut body) = sender.send_request(h2_request("POST", "/x"), false).unwrap();
            body.send_data(number.to_string().into(), true).unwrap();
            let mut answer = response.await.unwrap().into_body();
            assert_eq!(answer.data().await.unwrap().unwrap(), number.to_string());
        });
    }
    soon(tasks.join_all()).await;
}

async fn streaming_http2(client: &Client, body: crate::support::wire::Fed) -> Response<hyper::body::Incoming> {
    let stream = client.connect(&["h2"]).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("https://localhost/x").body(body).unwrap();
    soon(sender.send_request(request)).await.unwrap()
}

/// An upstream that answers each piece with that piece, while the request is still coming.
#[tokio::test(flavor = "multi_thread")]
async fn both_directions_stream_at_the_same_time() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        loop {
            // A chunk of one digit's size, as they all are here.
            let chunk = wire.bytes(3).await;
            if chunk.len() < 3 || chunk[0] == b'0' {
                break;
            }
            let length = usize::from(chunk[0] - b'0');
            let data = wire.bytes(length + 2).await;
            wire.send([&chunk[..], &data[..]].concat()).await;
        }
        wire.send("0\r\n\r\n").await;
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;

    let mut raw = client.raw().await;
    raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for number in 1..=5 {
        raw.send(format!("5\r\nping{number}\r\n")).await;
        raw.until(&format!("ping{number}\r\n")).await;
    }
    raw.send("0\r\n\r\n").await;
    raw.until("0\r\n\r\n").await;

    let (feeding, body) = fed();
    let feed = |text: String| feeding.send(Ok(hyper::body::Frame::data(text.into())));
    feed("ping0".to_owned()).await.unwrap();
    let mut answer = streaming_http2(&client, body).await.into_body();
    for number in 0..5 {
        let frame = soon(http_body_util::BodyExt::frame(&mut answer)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("ping{number}"));
        if number < 4 {
            feed(format!("ping{}", number + 1)).await.unwrap();
        }
    }
    drop(feeding);
    let rest = http_body_util::BodyExt::collect(answer);
    assert!(soon(rest).await.unwrap().to_bytes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_never_buffered_before_it_is_sent_on() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::channel(4);
    let upstream = Upstream::raw(move |_, stream| {
        let arrived = arrived.clone();
        async move {
            let mut wire = Wire::new(stream);
            wire.head().await;
            arrived.send(wire.bytes(5).await).await.unwrap();
            arrived.send(wire.bytes(5).await).await.unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfirst").await;
    assert_eq!(soon(arrivals.recv()).await.unwrap(), b"first");
    raw.send("later").await;
    assert_eq!(soon(arrivals.recv()).await.unwrap(), b"later");
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_small_pieces_do_not_end_an_http_2_connection() {
    let upstream = mirror().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, connection) = h2(&client).await;
    for _ in 0..3 {
        let (response, mut body) = sender.send_request(h2_request("POST", "/x"), false).unwrap();
        for number in 0..2000 {
            body.send_data(Bytes::from_static(b"x"), number == 1999).unwrap();
        }
        let mut answer = soon(response).await.unwrap().into_body();
        let mut length = 0;
        while let Some(piece) = soon(answer.data()).await {
            let piece = piece.unwrap();
            let _ = answer.flow_control().release_capacity(piece.len());
            length += piece.len();
        }
        assert_eq!(length, 2000);
    }
    assert!(!connection.is_finished());
}
