//! HTTP/2 as no library would send it: frames written by hand (RFC 9113), and what comes of them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::support::client::PATIENCE;
use crate::support::site::ROUTES;
use crate::support::{Client, Site, eventually};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PROTOCOL_ERROR: u32 = 1;

/// What became of a stream.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Outcome {
    Status(u16),
    Reset(u32),
    /// The connection ended, perhaps with an error code.
    Gone(Option<u32>),
}

struct Frames {
    stream: TlsStream<TcpStream>,
}

impl Frames {
    async fn open(client: &Client) -> Self {
        let mut stream = client.connect(&["h2"]).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut frames = Self { stream };
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(payload);
        // A connection that has been closed shows when it is read.
        let _ = self.stream.write_all(&frame).await;
        let _ = self.stream.flush().await;
    }

    /// The next frame: kind, flags, stream, payload.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut head)).await.expect("a frame in time");
        read.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            match self.next().await {
                None => return Outcome::Gone(None),
                Some((GOAWAY, _, _, payload)) => return Outcome::Gone(Some(number(&payload[4..]))),
                Some((RST_STREAM, _, at, payload)) if at == stream => return Outcome::Reset(number(&payload)),
                Some((HEADERS, _, at, payload)) if at == stream => return Outcome::Status(status(&payload)),
                Some((SETTINGS, 0, ..)) => self.send(SETTINGS, ACK, 0, &[]).await,
                Some(_) => {}
            }
        }
    }

    async fn ask(&mut self, stream: u32, fields: &[(&[u8], &[u8])]) -> Outcome {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields)).await;
        self.outcome(stream).await
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// Every field as a literal without indexing and without Huffman coding (RFC 7541 section 6.2.2).
fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend_from_slice(text);
        }
    }
    block
}

/// The status, which stands first: an index of the static table, or three digits in Huffman code.
fn status(block: &[u8]) -> u16 {
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        0x48 | 0x08 | 0x18 => {
            let length = usize::from(block[1] & 0x7f);
            let text = &block[2..2 + length];
            if block[1] & 0x80 == 0 {
                return std::str::from_utf8(text).unwrap().parse().unwrap();
            }
            let bits: String = text.iter().map(|byte| format!("{byte:08b}")).collect();
            let (mut rest, mut status) = (bits.as_str(), 0);
            for _ in 0..3 {
                let short = u16::from_str_radix(&rest[..5], 2).unwrap();
                let digit = if short <= 2 { short } else { u16::from_str_radix(&rest[..6], 2).unwrap() - 0x19 + 3 };
                rest = &rest[if short <= 2 { 5 } else { 6 }..];
                status = status * 10 + digit;
            }
            status
        }
        other => panic!("{other:#x} begins no status"),
    }
}

const GET: (&[u8], &[u8]) = (b":method", b"GET");
const HTTPS: (&[u8], &[u8]) = (b":scheme", b"https");
const HERE: (&[u8], &[u8]) = (b":authority", b"localhost");
const OPEN: (&[u8], &[u8]) = (b":path", b"/open");

type Fields = &'static [(&'static [u8], &'static [u8])];

/// Requests that are malformed (RFC 9113 section 8.1.1): a stream error, and the connection goes on.
const MALFORMED: [(&str, Fields); 34] = [
    ("no method", &[HTTPS, HERE, OPEN]),
    ("no scheme", &[GET, HERE, OPEN]),
    ("no path", &[GET, HTTPS, HERE]),
    ("an empty path", &[GET, HTTPS, HERE, (b":path", b"")]),
    ("two paths", &[GET, HTTPS, HERE, OPEN, (b":path", b"/private")]),
    ("two methods", &[GET, (b":method", b"POST"), HTTPS, HERE, OPEN]),
    ("two authorities", &[GET, HTTPS, HERE, (b":authority", b"evil.example"), OPEN]),
    ("two schemes", &[GET, HTTPS, HTTPS, HERE, OPEN]),
    ("an unknown pseudo-header", &[GET, HTTPS, HERE, OPEN, (b":version", b"2")]),
    ("a pseudo-header of answers", &[GET, HTTPS, HERE, OPEN, (b":status", b"200")]),
    ("a pseudo-header after a field", &[GET, HTTPS, HERE, (b"x", b"y"), OPEN]),
    ("an upper-case name", &[GET, HTTPS, HERE, OPEN, (b"X-Upper", b"1")]),
    ("an upper-case identity header", &[GET, HTTPS, HERE, OPEN, (b"X-SSL-Client-Verify", b"SUCCESS")]),
    ("an empty name", &[GET, HTTPS, HERE, OPEN, (b"", b"1")]),
    ("a name with a space", &[GET, HTTPS, HERE, OPEN, (b"x y", b"1")]),
    ("a name with a colon", &[GET, HTTPS, HERE, OPEN, (b"x:y", b"1")]),
    ("a name with a line end", &[GET, HTTPS, HERE, OPEN, (b"x\r\ny", b"1")]),
    ("a value with a line end", &[GET, HTTPS, HERE, OPEN, (b"x", b"a\r\nx-ssl-client-verify: SUCCESS")]),
    ("a value with a bare LF", &[GET, HTTPS, HERE, OPEN, (b"x", b"a\nb")]),
    ("a value with a bare CR", &[GET, HTTPS, HERE, OPEN, (b"x", b"a\rb")]),
    ("a value with a NUL", &[GET, HTTPS, HERE, OPEN, (b"x", b"a\0b")]),
    ("connection", &[GET, HTTPS, HERE, OPEN, (b"connection", b"close")]),
    ("keep-alive", &[GET, HTTPS, HERE, OPEN, (b"keep-alive", b"1")]),
    ("proxy-connection", &[GET, HTTPS, HERE, OPEN, (b"proxy-connection", b"close")]),
    ("transfer-encoding", &[(b":method", b"POST"), HTTPS, HERE, OPEN, (b"transfer-encoding", b"chunked")]),
    ("upgrade", &[GET, HTTPS, HERE, OPEN, (b"upgrade", b"websocket")]),
    ("te: gzip", &[GET, HTTPS, HERE, OPEN, (b"te", b"gzip")]),
    ("te: trailers, gzip", &[GET, HTTPS, HERE, OPEN, (b"te", b"trailers, gzip")]),
    ("a path with a line end", &[GET, HTTPS, HERE, (b":path", b"/open\r\nx: y")]),
    ("a path with a space", &[GET, HTTPS, HERE, (b":path", b"/open HTTP/1.1")]),
    ("an authority with a line end", &[GET, HTTPS, (b":authority", b"localhost\r\nx: y"), OPEN]),
    ("a method with a space", &[(b":method", b"GET /private"), HTTPS, HERE, OPEN]),
    ("a content-length that is none", &[GET, HTTPS, HERE, OPEN, (b"content-length", b"x")]),
    ("a content-length without content", &[GET, HTTPS, HERE, OPEN, (b"content-length", b"5")]),
];

/// For these h2 ends the connection: it reads names and values while it decompresses, and cannot go on after one that
/// is none. RFC 9113 section 5.4.1 lets an endpoint treat a stream error so.
const FATAL: [&str; 12] = [
    "an unknown pseudo-header",
    "an upper-case name",
    "an upper-case identity header",
    "an empty name",
    "a name with a space",
    "a name with a colon",
    "a name with a line end",
    "a value with a line end",
    "a value with a bare LF",
    "a value with a bare CR",
    "a value with a NUL",
    "a method with a space",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_ends_its_stream_and_not_the_connection() {
    let site = Site::start(ROUTES).await;
    let mut wrong = Vec::new();
    for (what, fields) in MALFORMED {
        let mut frames = Frames::open(&site.client).await;
        let outcome = frames.ask(1, fields).await;
        if FATAL.contains(&what) && outcome == Outcome::Gone(Some(PROTOCOL_ERROR)) {
            continue;
        }
        if !matches!(outcome, Outcome::Reset(PROTOCOL_ERROR) | Outcome::Status(400)) {
            wrong.push(format!("{what}: {outcome:?}"));
            continue;
        }
        let next = frames.ask(3, &[GET, HTTPS, HERE, (b":path", b"/health")]).await;
        if next != Outcome::Status(200) {
            wrong.push(format!("after {what}: {next:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(site.upstream.seen().is_empty(), "{:?}", site.upstream.seen());
}

/// Requests that are read, and what a stranger and a client get.
const READ: [(&str, Fields, u16, u16); 30] = [
    ("a request", &[GET, HTTPS, HERE, OPEN], 200, 200),
    ("protected", &[GET, HTTPS, HERE, (b":path", b"/private")], 403, 200),
    ("Host alone", &[GET, HTTPS, OPEN, (b"host", b"localhost")], 200, 200),
    ("Host and authority", &[GET, HTTPS, HERE, OPEN, (b"host", b"LOCALHOST.:443")], 200, 200),
    ("Host is another", &[GET, HTTPS, HERE, OPEN, (b"host", b"evil.example")], 400, 400),
    ("two Hosts", &[GET, HTTPS, HERE, OPEN, (b"host", b"localhost"), (b"host", b"localhost")], 400, 400),
    ("neither", &[GET, HTTPS, OPEN], 400, 400),
    ("an empty authority", &[GET, HTTPS, (b":authority", b""), OPEN], 400, 400),
    ("userinfo", &[GET, HTTPS, (b":authority", b"user@localhost"), OPEN], 400, 400),
    ("userinfo with password", &[GET, HTTPS, (b":authority", b"u:p@localhost"), OPEN], 400, 400),
    ("an authority that is a path", &[GET, HTTPS, (b":authority", b"localhost/open"), OPEN], 400, 400),
    ("a list of authorities", &[GET, HTTPS, (b":authority", b"localhost, evil"), OPEN], 400, 400),
    ("another port", &[GET, HTTPS, (b":authority", b"localhost:8443"), OPEN], 200, 200),
    ("scheme http", &[GET, (b":scheme", b"http"), HERE, OPEN], 200, 200),
    ("another scheme", &[GET, (b":scheme", b"ftp"), HERE, OPEN], 400, 400),
    ("a path without slash", &[GET, HTTPS, HERE, (b":path", b"open")], 400, 400),
    ("an absolute path", &[GET, HTTPS, HERE, (b":path", b"https://localhost/open")], 400, 400),
    ("an asterisk", &[GET, HTTPS, HERE, (b":path", b"*")], 400, 400),
    ("OPTIONS *", &[(b":method", b"OPTIONS"), HTTPS, HERE, (b":path", b"*")], 204, 204),
    ("dots", &[GET, HTTPS, HERE, (b":path", b"/public/../private")], 400, 400),
    ("a backslash", &[GET, HTTPS, HERE, (b":path", b"/public\\x")], 400, 400),
    ("an encoded slash", &[GET, HTTPS, HERE, (b":path", b"/public%2fx")], 400, 400),
    ("TRACE", &[(b":method", b"TRACE"), HTTPS, HERE, OPEN], 405, 405),
    ("CONNECT", &[(b":method", b"CONNECT"), (b":authority", b"localhost:443")], 405, 405),
    ("te: trailers", &[GET, HTTPS, HERE, OPEN, (b"te", b"trailers")], 200, 200),
    ("health", &[GET, HTTPS, HERE, (b":path", b"/health?x")], 200, 200),
    ("health without authority", &[GET, HTTPS, (b":path", b"/health")], 200, 200),
    ("HEAD of health", &[(b":method", b"HEAD"), HTTPS, HERE, (b":path", b"/health")], 200, 200),
    ("POST of health", &[(b":method", b"POST"), HTTPS, HERE, (b":path", b"/health")], 403, 200),
    ("Expect", &[GET, HTTPS, HERE, (b":path", b"/private"), (b"expect", b"100-continue")], 403, 200),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_hand_is_judged_like_any_other() {
    let site = Site::start(ROUTES).await;
    let mut wrong = Vec::new();
    for (what, fields, for_stranger, for_client) in READ {
        for (client, expected) in [(&site.stranger, for_stranger), (&site.client, for_client)] {
            let outcome = Frames::open(client).await.ask(1, fields).await;
            // Where a library refuses before there is a request, that is a stream error.
            let refused = expected == 400 && outcome == Outcome::Reset(PROTOCOL_ERROR);
            if outcome != Outcome::Status(expected) && !refused {
                wrong.push(format!("{what}: {outcome:?} instead of {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_as_long_as_it_says_never_reaches_the_upstream_whole() {
    let site = Site::start(ROUTES).await;
    // More than a length of 0 comes after a request that was complete with its head.
    for (sent, announced) in [(b"hello!".as_slice(), b"5".as_slice()), (b"hell", b"5")] {
        let mut frames = Frames::open(&site.client).await;
        let fields = [(b":method".as_slice(), b"POST".as_slice()), HTTPS, HERE, OPEN, (b"content-length", announced)];
        frames.send(HEADERS, END_HEADERS, 1, &block(&fields)).await;
        frames.send(DATA, END_STREAM, 1, sent).await;
        let outcome = frames.outcome(1).await;
        assert!(matches!(outcome, Outcome::Reset(PROTOCOL_ERROR) | Outcome::Status(400)), "{outcome:?}");
        let next = frames.ask(3, &[GET, HTTPS, HERE, (b":path", b"/health")]).await;
        assert_eq!(next, Outcome::Status(200));
    }
    assert!(site.upstream.seen().iter().all(|seen| seen.body.is_err()), "{:?}", site.upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_in_its_body_is_not_ended_for_the_upstream() {
    let site = Site::start(ROUTES).await;
    let mut frames = Frames::open(&site.client).await;
    let fields = [(b":method".as_slice(), b"POST".as_slice()), HTTPS, HERE, OPEN];
    frames.send(HEADERS, END_HEADERS, 1, &block(&fields)).await;
    frames.send(DATA, 0, 1, b"half").await;
    eventually("the upstream is connected to", async || (site.upstream.connections() == 1).then_some(())).await;
    frames.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).await;
    let seen = eventually("the request breaks off", async || site.upstream.seen().pop()).await;
    assert!(seen.body.is_err(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_ends_the_connection_with_one_line() {
    let site = Site::start(ROUTES).await;
    let good = block(&[GET, HTTPS, HERE, OPEN]);
    let cases: [(&str, Vec<(u8, u8, u32, Vec<u8>)>); 9] = [
        ("a stream of the server's", vec![(HEADERS, END_HEADERS | END_STREAM, 2, good.clone())]),
        ("stream 0", vec![(HEADERS, END_HEADERS | END_STREAM, 0, good.clone())]),
        ("data on an idle stream", vec![(DATA, END_STREAM, 5, b"x".to_vec())]),
        ("a continuation of nothing", vec![(CONTINUATION, END_HEADERS, 1, good.clone())]),
        ("a header block that is interrupted", vec![(HEADERS, 0, 1, good.clone()), (PING, 0, 0, vec![0; 8])]),
        ("a ping of five bytes", vec![(PING, 0, 0, vec![0; 5])]),
        ("a frame too large", vec![(DATA, 0, 1, vec![0; 20_000])]),
        ("a broken header block", vec![(HEADERS, END_HEADERS | END_STREAM, 1, vec![0xff; 20])]),
        ("a window beyond its limit", vec![(WINDOW_UPDATE, 0, 0, 0x7fff_ffff_u32.to_be_bytes().to_vec())]),
    ];
    for (number, (what, sent)) in cases.iter().enumerate() {
        let mut frames = Frames::open(&site.client).await;
        for (kind, flags, stream, payload) in sent {
            frames.send(*kind, *flags, *stream, payload).await;
        }
        let outcome = frames.outcome(u32::MAX).await;
        assert!(matches!(outcome, Outcome::Gone(code) if code != Some(0)), "{what}: {outcome:?}");
        eventually(&format!("a line for {what}"), async || {
            let lines = site.gateway.log();
            let lines = lines.iter().filter(|line| line["event"] == "rejected" && line["reason"] == "http2_protocol");
            (lines.count() == number + 1).then_some(())
        })
        .await;
    }
    assert_eq!(site.upstream.connections(), 0);
    assert!(site.gateway.log().iter().all(|line| line["level"] != "error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_section_over_its_limit_gets_431_and_the_connection_stays() {
    let site = Site::start(&format!("{ROUTES}[limits]\nrequest_headers = \"4KiB\"\n")).await;
    let mut frames = Frames::open(&site.client).await;
    let value = [b'a'; 100];
    let mut fields = vec![GET, HTTPS, HERE, OPEN];
    fields.extend(std::iter::repeat_n((b"x-padding".as_slice(), value.as_slice()), 60));
    assert_eq!(frames.ask(1, &fields).await, Outcome::Status(431));
    assert_eq!(frames.ask(3, &[GET, HTTPS, HERE, OPEN]).await, Outcome::Status(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_is_closed_in_time() {
    let site = Site::start(&format!("{ROUTES}[timeouts]\nrequest_headers = \"300ms\"\nkeepalive = \"300ms\"\n")).await;
    let mut frames = Frames::open(&site.client).await;
    assert_eq!(frames.outcome(1).await, Outcome::Gone(Some(0)), "GOAWAY(NO_ERROR) before the first request");
    let mut frames = Frames::open(&site.client).await;
    assert_eq!(frames.ask(1, &[GET, HTTPS, HERE, OPEN]).await, Outcome::Status(200));
    assert_eq!(frames.outcome(u32::MAX).await, Outcome::Gone(Some(0)), "GOAWAY(NO_ERROR) after the last");
    let closed = timeout(Duration::from_secs(8), async { while frames.next().await.is_some() {} }).await;
    assert!(closed.is_ok());
}
