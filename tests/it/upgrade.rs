//! WebSockets over HTTP/1.1, both ends by hand.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::client::Version;
use crate::support::websocket::{AGREE, ASK, by_hand, open, text};
use crate::support::wire::{canned, in_front_of, is_quiet, soon};
use crate::support::{Client, Gateway, Pki, Upstream, eventually, gateway};

/// A Close frame of a server: it goes away; it does not like the client any more.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
const POLICY_VIOLATION: [u8; 4] = [0x88, 0x02, 0x03, 0xf0];
/// Long enough for what must not happen to happen.
const MOMENT: Duration = Duration::from_millis(300);

/// The code in the masked Close frame that an upstream gets.
fn unmasked_code(frame: &[u8]) -> u16 {
    assert_eq!((frame.len(), &frame[..2]), (8, &[0x88, 0x82][..]), "{frame:?}");
    u16::from_be_bytes([frame[6] ^ frame[2], frame[7] ^ frame[3]])
}

#[tokio::test]
async fn bytes_pass_both_ways_once_the_upstream_has_agreed() {
    for version in [Version::Tls12, Version::Tls13] {
        let (upstream, mut wires) = by_hand().await;
        let (gateway, client) = in_front_of(&upstream, "").await;
        let client = client.only(version);
        let mut raw = client.raw().await;
        raw.send(
            "GET /ws?a=1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, UpGrade\r\nUpgrade: h2c, WebSocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat\r\nHTTP2-Settings: x\r\nX-SSL-Client-Verify: SUCCESS\r\n\r\n",
        )
        .await;
        let mut wire = soon(wires.recv()).await.unwrap();
        let head = wire.head().await.unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /ws?a=1 http/1.1\r\n"), "{head}");
        for field in [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-key: dghlihnhbxbszsbub25jzq==",
            "sec-websocket-version: 13",
            "sec-websocket-protocol: chat",
            "x-ssl-client-verify: success",
            "x-forwarded-proto: https",
        ] {
            assert_eq!(head.matches(&format!("\r\n{field}\r\n")).count(), 1, "{field} in {head}");
        }
        assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
        let more = "Sec-WebSocket-Protocol: chat\r\nKeep-Alive: timeout=5\r\n\r\n";
        wire.send([AGREE.trim_end(), "\r\n", more].concat()).await;
        let answer = raw.until("\r\n\r\n").await.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 switching protocols\r\n"), "{answer}");
        for field in [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
            "sec-websocket-protocol: chat",
        ] {
            assert_eq!(answer.matches(&format!("\r\n{field}\r\n")).count(), 1, "{field} in {answer}");
        }
        assert!(answer.contains("\r\nx-request-id: ") && !answer.contains("keep-alive"), "{answer}");

        for number in 0..20 {
            let message = format!("up {number}");
            raw.send(text(&message)).await;
            assert_eq!(wire.bytes(message.len() + 2).await, text(&message));
            wire.send(text("down")).await;
            raw.until("down").await;
        }
        wire.send([0x88, 0]).await;
        raw.send([0x88, 0]).await;
        assert_eq!(wire.bytes(2).await, [0x88, 0]);
        wire.stream.shutdown().await.unwrap();
        assert_eq!(raw.rest().await, [0x88, 0]);
        raw.stream.shutdown().await.unwrap();
        let line = gateway.logged("request", |line| line["path"] == "/ws").await;
        assert_eq!(
            (&line["status"], &line["method"], &line["protocol"]),
            (&101.into(), &"GET".into(), &"HTTP/1.1".into())
        );
        assert_eq!((&line["aborted"], &line["reason"]), (&().into(), &().into()), "{line}");
        let up: usize = (0..20).map(|number| format!("up {number}").len() + 2).sum();
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&(up + 2).into(), &(20 * 6 + 2).into()));
        assert_eq!(line["upstream_addr"], upstream.address.to_string());
    }
}

#[tokio::test]
async fn a_message_of_a_mebibyte_passes_whole_in_both_directions_at_once() {
    let (upstream, mut wires) = by_hand().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (raw, wire) = open(&client, &mut wires).await;
    let message: Vec<u8> = (0..1 << 20).map(|index: u32| index.to_le_bytes()[index as usize % 3]).collect();
    let header = [&[0x82, 127][..], &(message.len() as u64).to_be_bytes()].concat();
    let frame = [header, message].concat();
    let (mut client_reads, mut client_writes) = tokio::io::split(raw.stream);
    let (mut upstream_reads, mut upstream_writes) = wire.stream.into_split();
    let (mut up, mut down) = (vec![0; frame.len()], vec![0; frame.len()]);
    let all = async {
        tokio::try_join!(
            async {
                client_writes.write_all(&frame).await?;
                client_writes.flush().await
            },
            upstream_writes.write_all(&frame),
            upstream_reads.read_exact(&mut up),
            client_reads.read_exact(&mut down),
        )
    };
    soon(all).await.unwrap();
    assert!(up == frame && down == frame);
}

#[tokio::test]
async fn a_side_that_does_not_read_stops_the_other_and_nobody_else() {
    let (upstream, mut wires) = by_hand().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut raw, mut wire) = open(&client, &mut wires).await;
    // Kernel buffers of a socket pair take some megabytes at most.
    let most = 64 << 20;
    let piece = vec![0x82; 64 * 1024];
    let mut sent = 0;
    while sent < most && !is_quiet(wire.stream.write_all(&piece), Duration::from_secs(1)).await {
        sent += piece.len();
    }
    assert!(sent < most, "the gateway took {sent} bytes that nobody reads");
    raw.send("still here").await;
    assert_eq!(wire.bytes(10).await, b"still here");
    let mut read = 0;
    let mut room = vec![0; 64 * 1024];
    while read < sent {
        read += soon(raw.stream.read(&mut room)).await.unwrap();
    }
    let (upstream2, mut wires2) = by_hand().await;
    let (_gateway2, client2) = in_front_of(&upstream2, "").await;
    let (mut raw, wire) = open(&client2, &mut wires2).await;
    let mut sent = 0;
    while sent < most && !is_quiet(raw.stream.write_all(&piece), Duration::from_secs(1)).await {
        sent += piece.len();
    }
    assert!(sent < most, "the gateway took {sent} bytes that nobody reads");
    drop(wire);
}

#[tokio::test]
async fn an_end_of_one_direction_is_passed_on_and_the_other_goes_on() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let (mut raw, mut wire) = open(&client, &mut wires).await;
    raw.send(text("last")).await;
    raw.stream.shutdown().await.unwrap();
    assert_eq!(soon(wire.rest()).await, text("last"));
    wire.send(text("after")).await;
    raw.until("after").await;
    wire.stream.shutdown().await.unwrap();
    assert!(raw.is_closed().await);
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["aborted"], &line["bytes_in"], &line["bytes_out"]), (&().into(), &6.into(), &7.into()), "{line}");

    let (mut raw, mut wire) = open(&client, &mut wires).await;
    wire.send(text("last")).await;
    wire.stream.shutdown().await.unwrap();
    raw.until("last").await;
    let mut end = [0; 1];
    assert_eq!(soon(raw.stream.read(&mut end)).await.unwrap(), 0, "an end of TLS, not of TCP alone");
    raw.send(text("after")).await;
    assert_eq!(wire.bytes(7).await, text("after"));
}

#[tokio::test]
async fn what_the_upstream_says_instead_is_an_answer_and_the_connection_goes_on() {
    let upstream = canned("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\nX-Why: this\r\n\r\nnever").await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    // What comes behind the head is a request, since it is no WebSocket.
    raw.send(format!("{ASK}GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("x-why"), answer.text()), (403, Some("this"), "never".into()));
    assert_eq!(answer.header("upgrade"), None);
    assert_eq!(raw.answer().await.text(), "OK");
    raw.send(ASK).await;
    assert_eq!(raw.answer().await.status, 403);
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["status"], &line["bytes_out"], &line["aborted"]), (&403.into(), &5.into(), &().into()));
    assert_eq!(upstream.connections(), 2);

    let upstream = canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nplain\r\n0\r\n\r\n").await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let answer = client.send_raw(ASK).await;
    assert_eq!((answer.status, answer.text()), (200, "plain".into()));
}

#[tokio::test]
async fn an_agreement_to_something_else_is_none() {
    for (what, answer) in [
        ("another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        ("two protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n\r\n"),
        ("no protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"),
        ("no connection", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
        ("garbage", "\x01\x02\x03\x04 no HTTP at all\r\n\r\n"),
        ("nothing", ""),
        ("an interim answer only", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ] {
        let upstream = canned(format!("{answer}\u{1}\u{2}secret")).await;
        let upstream = if answer.is_empty() { canned("").await } else { upstream };
        let (_gateway, client) = in_front_of(&upstream, "").await;
        let answer = client.send_raw(ASK).await;
        assert_eq!(answer.status, 502, "{what}");
        assert!(!answer.text().contains("secret"), "{what}");
    }
    // Two mebibytes before a head are no head.
    let upstream = canned(vec![b'x'; 2 << 20]).await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    assert_eq!(client.send_raw(ASK).await.status, 502);
}

#[tokio::test]
async fn nothing_but_the_head_goes_upstream_before_its_agreement() {
    let (upstream, mut wires) = by_hand().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    let early = text("GET /admin HTTP/1.1\r\nHost: x\r\n\r\n");
    raw.send([ASK.as_bytes(), &early].concat()).await;
    let mut wire = soon(wires.recv()).await.unwrap();
    wire.head().await.unwrap();
    raw.send(text("more")).await;
    assert!(is_quiet(wire.bytes(1), MOMENT).await, "nothing may come before the 101");
    wire.send(AGREE).await;
    assert_eq!(wire.bytes(early.len()).await, early);
    assert_eq!(wire.bytes(6).await, text("more"));
    raw.until("\r\n\r\n").await;
    wire.send(text("well")).await;
    raw.until("well").await;
}

#[tokio::test]
async fn what_comes_with_the_agreement_reaches_the_client() {
    let (upstream, mut wires) = by_hand().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send(ASK).await;
    let mut wire = soon(wires.recv()).await.unwrap();
    wire.head().await.unwrap();
    wire.send([b"HTTP/1.1 103 Early Hints\r\n\r\n", AGREE.as_bytes(), &text("hello")].concat()).await;
    let head = raw.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    raw.until("hello").await;
}

#[tokio::test]
async fn a_request_that_cannot_be_upgraded_is_a_plain_one() {
    let none = "[[route]]\npath = \"/none/*\"\nupstream = \"api\"\nupgrades = []\n[[route]]\npath = \"/*\"\nupstream = \
                \"api\"\n[[route]]\npath = \"/own\"\nrespond = { body = \"mine\" }\n";
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, none).await;
    let field = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (what, request) in [
        ("not allowed on the route", format!("GET /none/x HTTP/1.1\r\nHost: localhost\r\n{field}\r\n")),
        ("not GET", format!("OPTIONS /x HTTP/1.1\r\nHost: localhost\r\n{field}\r\n")),
        ("HTTP/1.0", format!("GET /x HTTP/1.0\r\nHost: localhost\r\n{field}\r\n")),
        ("with a body", format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{field}Content-Length: 2\r\n\r\nhi")),
        (
            "with a body in chunks",
            format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{field}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        ),
        ("h2c", "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n".into()),
        ("TLS", "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n".into()),
        ("a version of it", "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket/13\r\n\r\n".into()),
        ("without Connection", "GET /x HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n".into()),
        ("without Upgrade", "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\r\n".into()),
    ] {
        let known = upstream.seen().len();
        let answer = client.send_raw(request).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let seen = &upstream.seen()[known..];
        assert_eq!(seen.len(), 1, "{what}");
        for name in ["connection", "upgrade", "http2-settings"] {
            assert!(!seen[0].headers.contains_key(name), "{what}: {name}");
        }
    }
    let answer = client.send_raw(ASK.replace("/ws", "/own")).await;
    assert_eq!((answer.status, answer.text()), (200, "mine".into()));
}

#[tokio::test]
async fn nobody_gets_a_websocket_who_would_not_get_a_page() {
    let (upstream, mut wires) = by_hand().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let answer = client.clone().without_certificate().send_raw(ASK).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (403, &"certificate_missing".into()));
    let other = Pki::new();
    let answer = client.clone().with(&other.client("client-1")).send_raw(ASK).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (403, &"unknown_issuer".into()));
    for path in ["/..%2fws", "/a\\b"] {
        assert_eq!(client.send_raw(ASK.replace("/ws", path)).await.status, 400);
    }
    assert_eq!(client.send_raw(ASK.replace("GET", "CONNECT").replace("/ws", "localhost:443")).await.status, 405);
    assert_eq!(upstream.connections(), 0);
    assert!(wires.try_recv().is_err());
}

#[tokio::test]
async fn a_websocket_without_a_word_ends_with_one() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "[timeouts]\nupgrade_idle = \"1500ms\"\n").await;
    let (mut raw, mut wire) = open(&client, &mut wires).await;
    // A byte in either direction is enough.
    let began = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        raw.send(text("a")).await;
        wire.bytes(3).await;
    }
    assert!(began.elapsed() > Duration::from_millis(1500));
    assert_eq!(raw.rest().await, GOING_AWAY);
    assert_eq!(unmasked_code(&wire.rest().await), 1001);
    drop((raw, wire));
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&"upgrade_idle".into(), &().into()));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "[timeouts]\nsend = \"1s\"\n").await;
    let (_raw, mut wire) = open(&client, &mut wires).await;
    let piece = vec![0x82; 64 * 1024];
    soon(async { while wire.stream.write_all(&piece).await.is_ok() {} }).await;
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&"send_timeout".into(), &"client".into()));
}

#[tokio::test]
async fn a_drain_waits_for_websockets_and_then_says_goodbye_between_frames() {
    let (upstream, mut wires) = by_hand().await;
    let pki = Pki::new();
    let base = gateway::base(&pki).replace("timeout = \"5s\"", "timeout = \"2s\"");
    let mut gateway = Gateway::start_with(&format!("{base}{}", gateway::upstream("api", upstream.address))).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let (mut polite, mut polite_wire) = open(&client, &mut wires).await;
    let (mut halfway, mut halfway_wire) = open(&client, &mut wires).await;
    let (mut closing, mut closing_wire) = open(&client, &mut wires).await;
    halfway_wire.send([0x82, 4, b'h', b'a']).await;
    halfway.until("ha").await;
    closing_wire.send([0x88, 0]).await;
    soon(closing.stream.read_exact(&mut [0; 2])).await.unwrap();

    let began = Instant::now();
    gateway.control.shut_down().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    polite.send(text("still")).await;
    assert_eq!(polite_wire.bytes(7).await, text("still"), "it goes on while the drain waits");
    assert_eq!(polite.rest().await, GOING_AWAY);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(unmasked_code(&polite_wire.rest().await), 1001);
    assert_eq!(halfway.rest().await, b"", "no frame inside of a frame");
    assert_eq!(unmasked_code(&halfway_wire.rest().await), 1001);
    assert_eq!(closing.rest().await, b"", "nothing behind a Close frame");
    assert_eq!(unmasked_code(&closing_wire.rest().await), 1001);
    soon(gateway.ended()).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let lines = eventually("three lines", async || {
        let lines = gateway.log().into_iter().filter(|line| line["event"] == "request").collect::<Vec<_>>();
        (lines.len() == 3).then_some(lines)
    })
    .await;
    assert!(lines.iter().all(|line| line["aborted"] == "drain" && line["status"] == 101), "{lines:?}");
}

#[tokio::test]
async fn the_websockets_of_a_client_whom_a_reload_refuses_are_cut_and_no_others() {
    let (upstream, mut wires) = by_hand().await;
    let pki = Pki::new();
    let routes = "[[route]]\npath = \"/*\"\nupstream = \"api\"\n[[route]]\npath = \"/open\"\npublic = true\nupstream = \
                  \"api\"\n[[route]]\npath = \"/public\"\npublic = true\nupstream = \"api\"\n";
    let gateway = Gateway::start(&pki, &format!("{}{routes}", gateway::upstream("api", upstream.address))).await;
    let stranger = Client::new(&pki, gateway.address);
    let client = stranger.clone().with(&pki.client("client-1"));
    let (mut known, mut known_wire) = open(&client, &mut wires).await;
    let (mut halfway, mut halfway_wire) = open(&client, &mut wires).await;
    halfway_wire.send([0x82, 4, b'h', b'a']).await;
    halfway.until("ha").await;
    let ask = async |path: &str, wires: &mut tokio::sync::mpsc::UnboundedReceiver<_>| {
        let mut raw = stranger.raw().await;
        raw.send(ASK.replace("/ws", path)).await;
        let mut wire: crate::support::wire::Wire = soon(wires.recv()).await.unwrap();
        wire.head().await.unwrap();
        wire.send(AGREE).await;
        raw.until("\r\n\r\n").await;
        (raw, wire)
    };
    let (mut open_raw, mut open_wire) = ask("/open", &mut wires).await;
    let (mut public, mut public_wire) = ask("/public", &mut wires).await;

    // The same configuration cuts nobody.
    gateway.reload_with(&gateway.configuration()).await.unwrap();
    known.send(text("here")).await;
    assert_eq!(known_wire.bytes(6).await, text("here"));

    // A route that wants a certificate now.
    let closed = gateway.configuration().replacen("path = \"/open\"\npublic = true", "path = \"/open\"", 1);
    gateway.reload_with(&closed).await.unwrap();
    assert_eq!(open_raw.rest().await, POLICY_VIOLATION);
    assert_eq!(unmasked_code(&open_wire.rest().await), 1008);
    drop((open_raw, open_wire));
    let line = gateway.logged("request", |line| line["path"] == "/open").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&"certificate_missing".into(), &"client".into()));

    // A trust store that knows the client no more.
    let other = Pki::new();
    let ca = |pki: &Pki| format!("ca = [{:?}]", pki.path("ca.crt"));
    gateway.reload_with(&gateway.configuration().replace(&ca(&pki), &ca(&other))).await.unwrap();
    assert_eq!(known.rest().await, POLICY_VIOLATION);
    assert_eq!(unmasked_code(&known_wire.rest().await), 1008);
    assert_eq!(halfway.rest().await, b"");
    halfway_wire.rest().await;
    drop((known, known_wire));
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&"unknown_issuer".into(), &"client".into()));
    public.send(text("here")).await;
    assert_eq!(public_wire.bytes(6).await, text("here"));
}

#[tokio::test]
async fn a_websocket_takes_a_place_at_its_endpoint_until_it_ends() {
    let (upstream, mut wires) = by_hand().await;
    let (_gateway, client) = in_front_of(&upstream, "[upstream.api.limits]\nmax_connections = 1\n").await;
    let (raw, wire) = open(&client, &mut wires).await;
    let answer = client.send_raw(ASK).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &"upstream_at_limit".into()));
    drop((raw, wire));
    eventually("a free place", async || {
        let mut raw = client.raw().await;
        raw.send(ASK).await;
        tokio::select! {
            answer = raw.answer() => { assert_eq!(answer.status, 503); None }
            wire = wires.recv() => wire,
        }
    })
    .await;
}

#[tokio::test]
async fn a_side_that_dies_takes_the_other_with_it() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let (mut raw, mut wire) = open(&client, &mut wires).await;
    wire.send([0x82, 100, 1, 2]).await;
    soon(raw.stream.read_exact(&mut [0; 4])).await.unwrap();
    socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(wire);
    let error = soon(raw.stream.read(&mut [0; 1])).await.expect_err("no end that looks like one");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    let line = gateway.logged("request", |line| line["aborted"] == "upstream").await;
    assert_eq!((&line["reason"], &line["bytes_out"]), (&"upstream_reset".into(), &4.into()));

    let (mut raw, mut wire) = open(&client, &mut wires).await;
    wire.send([0x82, 100, 1, 2]).await;
    wire.stream.shutdown().await.unwrap();
    soon(raw.stream.read_exact(&mut [0; 4])).await.unwrap();
    let error = soon(raw.stream.read(&mut [0; 1])).await.expect_err("no end that looks like one");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    gateway.logged("request", |line| line["aborted"] == "upstream" && line["reason"] == "upstream_truncated").await;

    let (raw, mut wire) = open(&client, &mut wires).await;
    drop(raw);
    soon(wire.rest()).await;
    gateway.logged("request", |line| line["aborted"] == "client" && line["reason"] == "client_gone").await;
}

#[tokio::test]
async fn a_client_that_keeps_a_closed_websocket_open_is_not_waited_for() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let (mut raw, mut wire) = open(&client, &mut wires).await;
    wire.send([0x88, 0]).await;
    wire.stream.shutdown().await.unwrap();
    assert_eq!(raw.rest().await, [0x88, 0]);
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&().into(), &().into()));
}

#[tokio::test]
async fn a_websocket_outlives_the_ages_of_connections() {
    let (upstream, mut wires) = by_hand().await;
    let ages = "[timeouts]\nkeepalive = \"300ms\"\nmax_connection_age = \"300ms\"\nrequest_headers = \"300ms\"\n";
    let (_gateway, client) = in_front_of(&upstream, ages).await;
    let (mut raw, mut wire) = open(&client, &mut wires).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    raw.send(text("up")).await;
    assert_eq!(wire.bytes(4).await, text("up"));
    wire.send(text("down")).await;
    raw.until("down").await;
}

#[tokio::test]
async fn a_websocket_does_not_outlive_its_clients_certificate() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let (mut raw, mut wire) = open(&client, &mut wires).await;
    raw.send(text("up")).await;
    assert_eq!(wire.bytes(4).await, text("up"));
    gateway.clock.advance(Duration::from_secs(400 * 86_400));
    assert_eq!(raw.rest().await, POLICY_VIOLATION);
    drop(raw);
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&"expired".into(), &"client".into()));
}
