//! WebSockets over HTTP/2 (RFC 8441): the client's end frame by frame, the upstream's by hand.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::sync::mpsc;

use crate::support::websocket::{by_hand, text};
use crate::support::wire::{Wire, canned, h2, h2_request, in_front_of, is_quiet, soon};
use crate::support::{Client, Gateway, Pki, Upstream, eventually, gateway};

/// The answer to a WebSocket's key (RFC 6455 section 4.2.2).
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let mut pem = String::new();
    let bits: String = hash.as_ref().iter().map(|byte| format!("{byte:08b}")).collect();
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    for chunk in bits.as_bytes().chunks(6) {
        let digits = format!("{:0<6}", std::str::from_utf8(chunk).unwrap());
        pem.push(alphabet[usize::from_str_radix(&digits, 2).unwrap()]);
    }
    pem + "="
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("{name} in {head}")).split_once(": ").unwrap().1
}

/// A request for a WebSocket.
fn connect(path: &str, protocol: &'static str) -> Request<()> {
    let mut request = h2_request("CONNECT", path);
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request
}

async fn agree(wire: &mut Wire) -> String {
    let head = wire.head().await.unwrap();
    let accept = accept(field(&head, "sec-websocket-key"));
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    ))
    .await;
    head
}

/// Both ends of a WebSocket on a stream.
async fn open(
    sender: &mut SendRequest<Bytes>,
    path: &str,
    wires: &mut mpsc::UnboundedReceiver<Wire>,
) -> (SendStream<Bytes>, RecvStream, Wire, HeaderMap) {
    let (response, send) = sender.send_request(connect(path, "websocket"), false).unwrap();
    let mut wire = soon(wires.recv()).await.unwrap();
    agree(&mut wire).await;
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let (head, receive) = response.into_parts();
    (send, receive, wire, head.headers)
}

/// What comes until the other side ends the stream.
async fn rest(receive: &mut RecvStream) -> (Vec<u8>, Option<Reason>) {
    let mut bytes = Vec::new();
    loop {
        match soon(receive.data()).await {
            None => return (bytes, None),
            Some(Ok(data)) => {
                let _ = receive.flow_control().release_capacity(data.len());
                bytes.extend_from_slice(&data);
            }
            Some(Err(error)) => return (bytes, Some(error.reason().unwrap_or(Reason::INTERNAL_ERROR))),
        }
    }
}

#[tokio::test]
async fn an_extended_connect_is_a_websocket_to_the_upstream() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let (sender, _connection) = h2(&client).await;
    let mut sender = soon(sender.ready()).await.unwrap();
    eventually("the announcement", async || sender.is_extended_connect_protocol_enabled().then_some(())).await;
    let mut request = connect("/ws?a=1", "websocket");
    for (name, value) in [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("sec-websocket-key", "bWluZQ=="),
        ("origin", "https://localhost"),
        ("x-ssl-client-verify", "NONE"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (response, mut send) = sender.send_request(request, false).unwrap();
    send.send_data(Bytes::from_static(b"\x81\x05early"), false).unwrap();
    let mut wire = soon(wires.recv()).await.unwrap();
    let head = wire.head().await.unwrap();
    assert!(head.starts_with("GET /ws?a=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("origin", "https://localhost"),
        ("host", "localhost"),
        ("x-ssl-client-verify", "SUCCESS"),
    ] {
        assert_eq!(field(&head, name), value);
    }
    let key = field(&head, "sec-websocket-key").to_owned();
    assert!(key.len() == 24 && key != "bWluZQ==");
    assert!(is_quiet(wire.bytes(1), Duration::from_millis(300)).await, "nothing may come before the 101");
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         {}\r\nSec-WebSocket-Protocol: chat\r\n\r\n\u{1}\u{2}hi",
        accept(&key)
    ))
    .await;
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    for name in ["sec-websocket-accept", "upgrade", "connection", "content-length", "transfer-encoding"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    assert_eq!(wire.bytes(7).await, b"\x81\x05early");
    let mut receive = response.into_body();
    assert_eq!(soon(receive.data()).await.unwrap().unwrap(), "\u{1}\u{2}hi");
    for _ in 0..10 {
        send.send_data(text("up").into(), false).unwrap();
        assert_eq!(wire.bytes(4).await, text("up"));
        wire.send(text("down")).await;
        assert_eq!(soon(receive.data()).await.unwrap().unwrap(), text("down"));
    }
    // One direction ends, the other goes on.
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(soon(wire.rest()).await, b"");
    wire.send(text("last")).await;
    assert_eq!(soon(receive.data()).await.unwrap().unwrap(), text("last"));
    drop(wire);
    assert_eq!(rest(&mut receive).await, (Vec::new(), None));
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!(
        (&line["status"], &line["method"], &line["protocol"]),
        (&200.into(), &"CONNECT".into(), &"HTTP/2".into())
    );
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&(7 + 40).into(), &(4 + 60 + 6).into()));
    assert_eq!((&line["aborted"], &line["reason"]), (&().into(), &().into()), "{line}");
    // The connection was not touched.
    assert_eq!(soon(sender.send_request(h2_request("GET", "/health"), true).unwrap().0).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_message_of_a_mebibyte_passes_whole_both_ways() {
    let (upstream, mut wires) = by_hand().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, _connection) = h2(&client).await;
    let (mut send, mut receive, mut wire, _) = open(&mut sender, "/ws", &mut wires).await;
    let message: Vec<u8> = (0..1 << 20).map(|index: u32| index.to_le_bytes()[index as usize % 3]).collect();
    let sent = Bytes::from(message.clone());
    let up = async {
        let mut left = sent;
        while !left.is_empty() {
            send.reserve_capacity(left.len());
            let capacity = std::future::poll_fn(|context| send.poll_capacity(context)).await.unwrap().unwrap();
            send.send_data(left.split_to(capacity.min(left.len())), false).unwrap();
        }
    };
    let ((), received) = tokio::join!(soon(up), wire.bytes(message.len()));
    assert!(received == message);
    wire.send(&message).await;
    let mut received = 0;
    while received < message.len() {
        let data = soon(receive.data()).await.unwrap().unwrap();
        assert!(data == message[received..received + data.len()]);
        receive.flow_control().release_capacity(data.len()).unwrap();
        received += data.len();
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_its_upstream_and_no_other_stream() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "[timeouts]\nsend = \"3s\"\n").await;
    let (mut sender, _connection) = h2(&client).await;
    let (_send, mut receive, mut wire, _) = open(&mut sender, "/ws", &mut wires).await;
    let (mut other_send, _other, mut other_wire, _) = open(&mut sender, "/other", &mut wires).await;
    let piece = vec![0x82; 64 * 1024];
    let most = 64 << 20;
    let mut sent = 0;
    while sent < most
        && tokio::time::timeout(Duration::from_secs(1), tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &piece))
            .await
            .is_ok()
    {
        sent += piece.len();
    }
    assert!(sent < most, "the gateway took {sent} bytes that nobody reads");
    other_send.send_data(text("here").into(), false).unwrap();
    assert_eq!(other_wire.bytes(6).await, text("here"));
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&"send_timeout".into(), &"client".into()));
    assert_eq!(rest(&mut receive).await.1, Some(Reason::CANCEL));
}

#[tokio::test]
async fn what_the_upstream_says_instead_is_an_answer_but_never_a_yes() {
    for (answer, status, body) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever", 403, "never"),
        ("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", 426, ""),
        ("HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", 302, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain", 502, ""),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 502, ""),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
             s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            502,
            "",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 502, ""),
    ] {
        let upstream = canned(answer).await;
        let (gateway, client) = in_front_of(&upstream, "").await;
        let (mut sender, _connection) = h2(&client).await;
        let (response, _send) = sender.send_request(connect("/ws", "websocket"), false).unwrap();
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), status, "{answer}");
        let (received, _) = rest(&mut response.into_body()).await;
        assert!(status == 502 || received == body.as_bytes(), "{answer}: {received:?}");
        gateway.logged("request", |line| line["status"] == status).await;
    }
}

#[tokio::test]
async fn a_connect_that_may_not_be_is_refused_and_reaches_nobody() {
    let routes = "[[route]]\npath = \"/none/*\"\nupstream = \"api\"\nupgrades = []\n[[route]]\npath = \"/own\"\n\
                  respond = { body = \"mine\" }\n[[route]]\npath = \"/post\"\nmethods = [\"POST\"]\nupstream = \
                  \"api\"\n[[route]]\npath = \"/*\"\nupstream = \"api\"\n";
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, routes).await;
    let stranger = client.clone().without_certificate();
    for (what, client, request, status, reason) in [
        ("not on this route", &client, connect("/none/x", "websocket"), 501, "no_upgrade"),
        ("answered here", &client, connect("/own", "websocket"), 501, "no_upgrade"),
        ("another protocol", &client, connect("/x", "connect-udp"), 501, "no_upgrade"),
        ("no GET", &client, connect("/post", "websocket"), 405, "method_not_allowed"),
        ("health", &client, connect("/health", "websocket"), 200, ""),
        ("a trick", &client, connect("/..%2fx", "websocket"), 400, "bad_path"),
        ("a stranger", &stranger, connect("/x", "websocket"), 403, "certificate_missing"),
        ("a stranger elsewhere", &stranger, connect("/none/x", "websocket"), 403, "certificate_missing"),
    ] {
        if status == 200 {
            continue;
        }
        let (mut sender, _connection) = h2(client).await;
        let (response, mut send) = sender.send_request(request, false).unwrap();
        send.send_data(text("early").into(), false).unwrap();
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), status, "{what}");
        let (body, _) = rest(&mut response.into_body()).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["reason"], reason, "{what}");
        assert_eq!(
            soon(sender.send_request(h2_request("GET", "/health"), true).unwrap().0).await.unwrap().status(),
            200
        );
    }
    // An ordinary CONNECT.
    let (mut sender, _connection) = h2(&client).await;
    let request = Request::builder().method("CONNECT").uri("localhost:443").body(()).unwrap();
    let response = soon(sender.send_request(request, false).unwrap().0).await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_reset_ends_both_sides_whoever_sends_it() {
    let (upstream, mut wires) = by_hand().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, _connection) = h2(&client).await;
    for (path, reason) in [("/cancel", Reason::CANCEL), ("/error", Reason::PROTOCOL_ERROR), ("/no", Reason::NO_ERROR)] {
        let (mut send, _receive, mut wire, _) = open(&mut sender, path, &mut wires).await;
        wire.send(text("hello")).await;
        send.send_reset(reason);
        soon(wire.rest()).await;
        let began = Instant::now();
        let line = gateway.logged("request", |line| line["path"] == path).await;
        assert_eq!((&line["aborted"], &line["reason"]), (&"client".into(), &"client_gone".into()), "{line}");
        assert!(began.elapsed() < Duration::from_secs(2));
    }
    let (_send, mut receive, mut wire, _) = open(&mut sender, "/upstream", &mut wires).await;
    wire.send([0x82, 100, 1]).await;
    assert_eq!(soon(receive.data()).await.unwrap().unwrap(), &[0x82, 100, 1][..]);
    socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(wire);
    assert_eq!(rest(&mut receive).await, (Vec::new(), Some(Reason::CANCEL)), "no end that looks like one");
    gateway.logged("request", |line| line["aborted"] == "upstream" && line["reason"] == "upstream_reset").await;
    let (_send, mut receive, mut wire, _) = open(&mut sender, "/truncated", &mut wires).await;
    wire.send([text("whole"), vec![0x82, 100, 1]].concat()).await;
    drop(wire);
    assert_eq!(rest(&mut receive).await, ([text("whole"), vec![0x82, 100, 1]].concat(), Some(Reason::CANCEL)));
    gateway.logged("request", |line| line["path"] == "/truncated" && line["reason"] == "upstream_truncated").await;
    // And all of it while the connection lives.
    assert_eq!(soon(sender.send_request(h2_request("GET", "/health"), true).unwrap().0).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stream_without_a_word_and_a_drain_end_with_a_close_frame() {
    let (upstream, mut wires) = by_hand().await;
    let pki = Pki::new();
    let base = gateway::base(&pki).replace("timeout = \"5s\"", "timeout = \"2s\"");
    let text_of = format!("{base}{}[timeouts]\nupgrade_idle = \"1s\"\n", gateway::upstream("api", upstream.address));
    let mut gateway = Gateway::start_with(&text_of).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let (mut sender, connection) = h2(&client).await;
    let (mut send, mut receive, mut wire, _) = open(&mut sender, "/idle", &mut wires).await;
    assert_eq!(soon(receive.data()).await.unwrap().unwrap(), &[0x88, 2, 3, 0xe9][..]);
    assert_eq!(soon(wire.rest()).await.len(), 8);
    send.send_data(Bytes::new(), true).unwrap();
    drop(wire);
    assert_eq!(rest(&mut receive).await, (Vec::new(), None));
    let line = gateway.logged("request", |line| line["path"] == "/idle").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&"upgrade_idle".into(), &().into()));

    let (mut send, mut receive, mut wire, _) = open(&mut sender, "/drain", &mut wires).await;
    let (_halfway_send, mut halfway, mut halfway_wire, _) = open(&mut sender, "/halfway", &mut wires).await;
    halfway_wire.send([0x82, 4, b'h', b'a']).await;
    assert_eq!(soon(halfway.data()).await.unwrap().unwrap().len(), 4);
    let began = Instant::now();
    gateway.control.shut_down().await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        send.send_data(text("on").into(), false).unwrap();
        halfway_wire.send("h").await;
        assert_eq!(wire.bytes(4).await, text("on"));
    }
    assert_eq!(soon(receive.data()).await.unwrap().unwrap(), &[0x88, 2, 3, 0xe9][..]);
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(soon(wire.rest()).await.len(), 8);
    let (rest_of_it, _) = rest(&mut halfway).await;
    assert!(!rest_of_it.contains(&0x88), "no frame inside of a frame");
    drop((send, wire, halfway_wire));
    soon(gateway.ended()).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let _ = soon(connection).await;
    for path in ["/drain", "/halfway"] {
        let line = gateway.logged("request", |line| line["path"] == path).await;
        assert_eq!(line["aborted"], "drain", "{line}");
    }
}

#[tokio::test]
async fn the_streams_of_a_client_whom_a_reload_refuses_are_cut_with_a_word() {
    let (upstream, mut wires) = by_hand().await;
    let pki = Pki::new();
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let (mut sender, connection) = h2(&client).await;
    let (_send, mut receive, mut wire, _) = open(&mut sender, "/ws", &mut wires).await;
    let other = Pki::new();
    let ca = |pki: &Pki| format!("ca = [{:?}]", pki.path("ca.crt"));
    gateway.reload_with(&gateway.configuration().replace(&ca(&pki), &ca(&other))).await.unwrap();
    assert_eq!(soon(receive.data()).await.unwrap().unwrap(), &[0x88, 2, 3, 0xf0][..]);
    assert_eq!(soon(wire.rest()).await.len(), 8);
    let _ = soon(connection).await;
    let line = gateway.logged("request", |line| line["path"] == "/ws").await;
    assert_eq!((&line["reason"], &line["aborted"]), (&"unknown_issuer".into(), &"client".into()));
}

#[tokio::test]
async fn a_stream_takes_a_place_at_its_endpoint_until_it_ends() {
    let (upstream, mut wires) = by_hand().await;
    let (_gateway, client) = in_front_of(&upstream, "[upstream.api.limits]\nmax_connections = 1\n").await;
    let (mut sender, _connection) = h2(&client).await;
    let (mut send, _receive, wire, _) = open(&mut sender, "/ws", &mut wires).await;
    let (response, _) = sender.send_request(connect("/ws", "websocket"), false).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 503);
    send.send_reset(Reason::CANCEL);
    drop(wire);
    eventually("a free place", async || {
        let (response, _send) = sender.send_request(connect("/ws", "websocket"), false).unwrap();
        tokio::select! {
            response = response => { assert_eq!(response.unwrap().status(), 503); None }
            wire = wires.recv() => wire,
        }
    })
    .await;
}

/// However WebSockets begin and end, each is logged once and gives its place back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_websockets_that_end_in_every_way_leave_nothing_behind() {
    const PLACES: usize = 16;
    const ROUNDS: usize = 25;
    let upstream = Upstream::raw(|_, stream| async move {
        let mut wire = Wire::new(stream);
        let Some(head) = wire.head().await else { return };
        if head.starts_with("POST") {
            wire.bytes(1).await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            return;
        }
        match fastrand::u8(..6) {
            0 => drop(wire),
            1 => socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap(),
            2 => wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await,
            _ => {
                let accept = accept(field(&head, "sec-websocket-key"));
                wire.send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                ))
                .await;
                wire.send(text("hello")).await;
                match fastrand::u8(..4) {
                    0 => drop(wire),
                    1 => socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap(),
                    2 => wire.send([0x88, 0]).await,
                    _ => drop(wire.rest().await),
                }
            }
        }
    })
    .await;
    let limits = format!("[upstream.api.limits]\nmax_connections = {PLACES}\n");
    let (gateway, client) = in_front_of(&upstream, &limits).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..PLACES {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                if number % 2 == 0 {
                    let mut raw = client.raw().await;
                    raw.send(crate::support::websocket::ASK).await;
                    if fastrand::bool() {
                        raw.send(text("hi")).await;
                    }
                    if fastrand::bool() {
                        soon(tokio::time::timeout(Duration::from_millis(50), raw.rest())).await.ok();
                    }
                    continue;
                }
                let (mut sender, _connection) = h2(&client).await;
                for _ in 0..fastrand::u8(1..4) {
                    let (response, mut send) = sender.send_request(connect("/ws", "websocket"), false).unwrap();
                    let _ = send.send_data(text("hi").into(), fastrand::bool());
                    if fastrand::bool() {
                        let _ = tokio::time::timeout(Duration::from_millis(50), response).await;
                    }
                    if fastrand::bool() {
                        send.send_reset(Reason::CANCEL);
                    }
                }
            }
        });
    }
    while let Some(done) = soon(tasks.join_next()).await {
        done.unwrap();
    }
    // All places are free again: as many can be taken at once.
    eventually("free places", async || {
        let mut taken = Vec::new();
        for _ in 0..PLACES {
            let mut raw = client.raw().await;
            raw.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n").await;
            taken.push(raw);
        }
        let one_more = client.get("/x").await.status;
        let mut statuses = Vec::new();
        for raw in &mut taken {
            raw.send("x").await;
            statuses.push(raw.answer().await.status);
        }
        (one_more == 503 && statuses == [200; PLACES]).then_some(())
    })
    .await;
    let lines = gateway.log();
    let requests = lines.iter().filter(|line| line["event"] == "request");
    let ids: std::collections::BTreeSet<_> =
        requests.clone().map(|line| line["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), requests.count());
}

#[tokio::test]
async fn a_stream_outlives_the_ages_of_connections() {
    let (upstream, mut wires) = by_hand().await;
    let ages = "[timeouts]\nkeepalive = \"300ms\"\nmax_connection_age = \"300ms\"\nrequest_headers = \"300ms\"\n";
    let (_gateway, client) = in_front_of(&upstream, ages).await;
    let (mut sender, _connection) = h2(&client).await;
    let (mut send, mut receive, mut wire, _) = open(&mut sender, "/ws", &mut wires).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    // The end of this one makes the connection send GOAWAY.
    let (response, _) = sender.send_request(h2_request("GET", "/health"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_millis(700)).await;
    send.send_data(text("up").into(), false).unwrap();
    assert_eq!(wire.bytes(4).await, text("up"));
    wire.send(text("down")).await;
    assert_eq!(soon(receive.data()).await.unwrap().unwrap(), text("down"));
}
