//! Where a request ends: bytes that programs behind each other might read differently, and how many requests of them
//! reach the upstream.

use crate::support::site::ROUTES;
use crate::support::{Site, eventually};

/// Heads that are refused before anything reaches the upstream: what stands between the request line and the empty
/// line (`|` is CRLF), and the status.
const HEADS: [(&str, u16); 71] = [
    // Lengths.
    ("Content-Length: 5|Content-Length: 6", 400),
    ("Content-Length: 6|Content-Length: 5", 400),
    ("Content-Length: 5, 6", 400),
    ("Content-Length: 5, 5", 400),
    ("Content-Length: +5", 400),
    ("Content-Length: -5", 400),
    ("Content-Length: -0", 400),
    ("Content-Length: 5 5", 400),
    ("Content-Length: 0x5", 400),
    ("Content-Length: 5h", 400),
    ("Content-Length: 5.0", 400),
    ("Content-Length: 5e0", 400),
    ("Content-Length: \"5\"", 400),
    ("Content-Length: ", 400),
    ("Content-Length:", 400),
    ("Content-Length: five", 400),
    ("Content-Length: 5,", 400),
    ("Content-Length: ,5", 400),
    ("Content-Length: 18446744073709551614", 413),
    ("Content-Length: 18446744073709551615", 413),
    ("X-Any: 1|Content-Length: 18446744073709551615", 413),
    ("Content-Length: 18446744073709551616", 400),
    ("Content-Length: 18446744073709551621", 400),
    ("Content-Length: 99999999999999999999999999999999", 400),
    ("Content-Length : 5", 400),
    ("Content-Length\t: 5", 400),
    (" Content-Length: 5", 400),
    ("Content-Length: 5|Content-Length : 6", 400),
    ("Content-Length: \x0b5", 400),
    ("Content-Length: 5\0", 400),
    ("Content-Length: \u{0665}", 400),
    // Codings.
    ("Transfer-Encoding: gzip", 501),
    ("Transfer-Encoding: gzip, chunked", 501),
    ("Transfer-Encoding: chunked, gzip", 501),
    ("Transfer-Encoding: chunked, chunked", 501),
    ("Transfer-Encoding: chunked|Transfer-Encoding: chunked", 501),
    ("Transfer-Encoding: chunked|Transfer-Encoding: identity", 501),
    ("Transfer-Encoding: identity|Transfer-Encoding: chunked", 501),
    ("Transfer-Encoding: gzip|Transfer-Encoding: chunked", 501),
    ("Transfer-Encoding: identity", 501),
    ("Transfer-Encoding: xchunked", 501),
    ("Transfer-Encoding: chunkedx", 501),
    ("Transfer-Encoding: chunk", 501),
    ("Transfer-Encoding: \"chunked\"", 501),
    ("Transfer-Encoding: 'chunked'", 501),
    ("Transfer-Encoding: chunked;q=1", 501),
    ("Transfer-Encoding: chunked,", 501),
    ("Transfer-Encoding: , chunked", 501),
    ("Transfer-Encoding: chunked chunked", 501),
    ("Transfer-Encoding: ", 501),
    ("Transfer-Encoding:", 501),
    ("Transfer-Encoding: gzip|Content-Length: 5", 501),
    ("Content-Length: 5|Transfer-Encoding: identity", 501),
    ("Transfer-Encoding: c\u{00ad}hunked", 501),
    ("Transfer-Encoding : chunked", 400),
    ("Transfer-Encoding\t: chunked", 400),
    (" Transfer-Encoding: chunked", 400),
    ("X-Fold: a| Transfer-Encoding: chunked", 400),
    ("Transfer-Encoding:| chunked", 400),
    ("Transfer-Encoding: chunked| , identity", 400),
    ("Transfer-Encoding: \x0bchunked", 400),
    ("Transfer-Encoding: chunked\0", 400),
    ("\x0bTransfer-Encoding: chunked", 400),
    ("Transfer\rEncoding: chunked", 400),
    // Fields.
    ("X: a\rb", 400),
    ("X: a\0b", 400),
    ("X: a\x7fb", 400),
    ("X: a\x01", 400),
    ("no colon", 400),
    (": no name", 400),
    ("X(): 1", 400),
];

const BODY: &str = "5\r\nhello\r\n0\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_can_be_read_in_two_ways_reaches_nothing() {
    let site = Site::start(ROUTES).await;
    let mut wrong = Vec::new();
    for (fields, expected) in HEADS {
        for client in [&site.client, &site.stranger] {
            let fields = fields.replace('|', "\r\n");
            let mut raw = client.raw().await;
            let smuggled = "GET /open?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
            raw.send(format!("POST /open HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{BODY}{smuggled}")).await;
            let status = raw.answer().await.status;
            let rest = raw.rest().await;
            if status != expected || !rest.is_empty() {
                wrong.push(format!("{fields:?}: {status}, then {:?}", String::from_utf8_lossy(&rest)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(site.upstream.connections(), 0, "{:?}", site.upstream.seen());
    assert_eq!(site.client.get("/open").await.status, 200, "the next connection works");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_has_no_transfer_codings() {
    let site = Site::start(ROUTES).await;
    for fields in
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: gzip"]
    {
        let mut raw = site.client.raw().await;
        raw.send(format!("POST /open HTTP/1.0\r\nHost: localhost\r\n{fields}\r\n\r\n{BODY}")).await;
        assert_eq!(raw.answer().await.status, 400, "{fields}");
        assert!(raw.is_closed().await);
    }
    assert_eq!(site.upstream.connections(), 0);
}

/// Heads with one meaning in spite of everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_with_one_meaning_passes() {
    let site = Site::start(ROUTES).await;
    for (fields, body) in [
        ("Content-Length: 5", "hello"),
        ("Content-Length: 05", "hello"),
        ("Content-Length:5 ", "hello"),
        ("Content-Length: \t5", "hello"),
        ("content-LENGTH: 5", "hello"),
        ("Content-Length: 5|Content-Length: 5", "hello"),
        ("Content-Length: 00000000000000000005", "hello"),
        ("Transfer-Encoding: chunked", BODY),
        ("Transfer-Encoding: CHUNKED", BODY),
        ("transfer-encoding:chunked ", BODY),
        ("Transfer-Encoding: \tchunked", BODY),
    ] {
        let known = site.upstream.seen().len();
        let fields = fields.replace('|', "\r\n");
        let mut raw = site.client.raw().await;
        let request = format!("POST /open HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}");
        for _ in 0..2 {
            raw.send(&request).await;
            assert_eq!(raw.answer().await.status, 200, "{fields}");
        }
        let seen = site.seen_after(known);
        assert_eq!(seen.len(), 2, "{fields}");
        assert!(seen.iter().all(|seen| seen.body.as_deref() == Ok(b"hello")), "{fields}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_a_coding_does_not_count_and_ends_the_connection() {
    let site = Site::start(ROUTES).await;
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 15\r\nTransfer-Encoding: Chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nContent-Length: 5",
    ] {
        let known = site.upstream.seen().len();
        let mut raw = site.client.raw().await;
        let smuggled = "GET /open?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        raw.send(format!("POST /open HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{BODY}{smuggled}")).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{fields}");
        assert!(raw.is_closed().await, "{fields}");
        let seen = site.seen_after(known);
        assert_eq!(seen.len(), 1, "{fields}: {seen:?}");
        assert_eq!(seen[0].body.as_deref(), Ok(&b"hello"[..]));
        assert_eq!(seen[0].headers.get("content-length"), None, "{fields}");
    }
}

/// Bodies that break their framing, and whether that shows before the upstream has all of it.
const BODIES: [(&str, &str); 22] = [
    ("a size that is none", "x\r\nhello\r\n0\r\n\r\n"),
    ("no size", "\r\nhello\r\n0\r\n\r\n"),
    ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
    ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size that overflows", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a size of many digits", "FFFFFFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
    ("a size in quotes", "\"5\"\r\nhello\r\n0\r\n\r\n"),
    ("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
    ("a size in two parts", "5 5\r\nhello\r\n0\r\n\r\n"),
    ("a size that is too small", "3\r\nhello\r\n0\r\n\r\n"),
    ("a size that is too great", "6\r\nhello\r\n0\r\n\r\n"),
    ("no line end after the data", "5\r\nhello0\r\n\r\n"),
    ("a bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
    ("a bare CR after the data", "5\r\nhello\r0\r\n\r\n"),
    ("a bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
    ("a bare CR after the size", "5\rhello\r\n0\r\n\r\n"),
    ("a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("a NUL in a size", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("garbage instead of the last chunk", "5\r\nhello\r\nGET / HTTP/1.1\r\n\r\n"),
    ("a trailer that is none", "5\r\nhello\r\n0\r\nno colon\r\n\r\n"),
    ("a trailer with a NUL", "5\r\nhello\r\n0\r\nX: \0\r\n\r\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_its_framing_never_reaches_the_upstream_whole() {
    let site = Site::start(ROUTES).await;
    let mut wrong = Vec::new();
    for (number, (what, body)) in BODIES.into_iter().enumerate() {
        let mut raw = site.client.raw().await;
        let smuggled = "GET /open?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let head = format!("POST /open?{number} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        raw.send(format!("{head}{body}{smuggled}")).await;
        let answer = raw.answer().await;
        let rest = raw.rest().await;
        if answer.status != 400 || answer.json()["reason"] != "body_malformed" || !rest.is_empty() {
            wrong.push(format!("{what}: {}, then {:?}", answer.status, String::from_utf8_lossy(&rest)));
        }
        // hyper may see the fault before a byte has gone upstream.
        let seen = site.upstream.seen();
        let seen: Vec<_> = seen.iter().filter(|seen| seen.body.is_ok()).collect();
        if !seen.is_empty() {
            wrong.push(format!("{what}: {seen:?}"));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(site.client.get("/open").await.status, 200, "the next connection works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_too_early_is_not_ended_for_the_upstream() {
    let site = Site::start(ROUTES).await;
    for (number, (fields, body)) in [
        ("Content-Length: 10", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhel"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX: y\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = site.client.raw().await;
        raw.send(format!("POST /open HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}")).await;
        drop(raw);
        let seen = eventually("the upstream's request breaks off", async || {
            let seen = site.upstream.seen();
            (seen.len() == number + 1).then_some(seen)
        })
        .await;
        assert!(seen[number].body.is_err(), "{fields} {body}: {:?}", seen[number]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_may_have_extensions_and_trailers() {
    let site = Site::start(ROUTES).await;
    for body in [
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n",
        "05\r\nhello\r\n000\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Any: 1\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
    ] {
        let known = site.upstream.seen().len();
        let mut raw = site.client.raw().await;
        let head = "POST /open HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        raw.send(format!("{head}{body}GET /open?next HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(raw.answer().await.status, 200, "{body:?}");
        assert_eq!(raw.answer().await.text(), "upstream GET /open?next", "{body:?}");
        let seen = site.seen_after(known);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].body.as_deref(), Ok(&b"hello"[..]), "{body:?}");
        assert_eq!(seen[0].trailers.as_ref().map_or(0, http::HeaderMap::len), 0, "undeclared trailers end here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let site = Site::start(ROUTES).await;
    let mut raw = site.client.raw().await;
    let all: String = (0..10).map(|number| format!("GET /open?{number} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
    raw.send(all).await;
    for number in 0..10 {
        assert_eq!(raw.answer().await.text(), format!("upstream GET /open?{number}"));
    }
    let mut raw = site.stranger.raw().await;
    let (open, private) =
        ("GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw.send(format!("{open}{private}{open}")).await;
    for status in [200, 403, 200] {
        assert_eq!(raw.answer().await.status, status);
    }
    assert_eq!(site.upstream.seen().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_pipelined_request_that_is_malformed_nothing_is_read() {
    let site = Site::start(ROUTES).await;
    let open = "GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (number, (malformed, status)) in [
        ("garbage\r\n\r\n", 400),
        ("GET /open HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        ("GET /open HTTP/1.1\r\n\r\n", 400),
        ("GET /public/../private HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /open HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = site.client.raw().await;
        raw.send(format!("{open}{malformed}{open}")).await;
        assert_eq!(raw.answer().await.status, 200);
        assert_eq!(raw.answer().await.status, status, "{malformed}");
        assert!(raw.is_closed().await, "{malformed}");
        assert_eq!(site.upstream.seen().len(), number + 1, "{malformed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_taken_for_a_request() {
    let site = Site::start(ROUTES).await;
    let smuggled = "GET /private?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (target, status) in [("/open", 200), ("/private", 403), ("/health", 403)] {
        let known = site.upstream.seen().len();
        let mut raw = site.stranger.raw().await;
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", smuggled.len());
        raw.send(format!("{head}{smuggled}GET /open?next HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(raw.answer().await.status, status, "{target}");
        assert_eq!(raw.answer().await.text(), "upstream GET /open?next", "{target}");
        let seen: Vec<_> = site.seen_after(known).into_iter().map(|seen| seen.uri.to_string()).collect();
        assert!(!seen.iter().any(|target| target.contains("smuggled")), "{seen:?}");
    }
    // GET and DELETE may have bodies, too.
    for method in ["GET", "DELETE", "HEAD", "OPTIONS"] {
        let mut raw = site.client.raw().await;
        raw.send(format!(
            "{method} /open HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        ))
        .await;
        let answer = if method == "HEAD" { raw.answer_to_head().await } else { raw.answer().await };
        assert_eq!(answer.status, 200, "{method}");
        raw.send("GET /open?next HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.answer().await.text(), "upstream GET /open?next", "{method}");
    }
    assert!(site.upstream.seen().iter().all(|seen| !seen.uri.to_string().contains("smuggled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused() {
    let site = Site::start(ROUTES).await;
    for (bytes, status) in [
        (&b"\0\0\0\0\r\n\r\n"[..], 400),
        (b"hello\r\n\r\n", 400),
        (b"HTTP/1.1 200 OK\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ] {
        let mut raw = site.client.raw().await;
        raw.send(bytes).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(bytes));
        assert_eq!((answer.header("connection"), answer.body.len()), (Some("close"), 0));
        assert!(raw.is_closed().await);
    }
    let lines = eventually("a line for each", async || {
        let lines: Vec<_> = site.gateway.log().into_iter().filter(|line| line["event"] == "rejected").collect();
        (lines.len() == 7).then_some(lines)
    })
    .await;
    assert!(lines.iter().all(|line| line["level"] == "warn" && line["reason"] == "bad_request"), "{lines:?}");
    assert!(site.gateway.log().iter().all(|line| line["event"] != "request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_may_end_in_a_bare_lf_and_reach_the_upstream_with_crlf() {
    // RFC 9112 section 2.2 lets a recipient do so; what goes on is written anew.
    let site = Site::start(ROUTES).await;
    let answer = site.client.send_raw("GET /open HTTP/1.1\nHost: localhost\nX-A: b\n\n").await;
    assert!(matches!(answer.status, 200 | 400), "{}", answer.status);
    assert_eq!(site.upstream.seen().len(), usize::from(answer.status == 200));
}
