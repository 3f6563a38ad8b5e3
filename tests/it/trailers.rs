//! Trailers pass where they were announced.

use http::HeaderMap;
use hyper::body::Frame;

use crate::support::client::Answer;
use crate::support::wire::{Wire, canned, fed, h2, h2_request, in_front_of, soon};
use crate::support::{Upstream, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn announced_trailers_of_a_request_reach_the_upstream_and_others_do_not() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send(
        "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum, X-Real-IP, X_SSL_Client_Verify\r\n\r\n\
         4\r\nbody\r\n0\r\nX-Checksum: abc\r\nX-Undeclared: 1\r\nX-Real-IP: 6.6.6.6\r\nX_SSL_Client_Verify: SUCCESS\r\n\r\n",
    )
    .await;
    assert_eq!(raw.answer().await.status, 200);
    let seen = upstream.seen();
    let trailers = seen[0].trailers.clone().unwrap();
    assert_eq!(trailers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-checksum"]);
    assert_eq!(trailers["x-checksum"], "abc");
    // The connection goes on after trailers.
    raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_that_was_not_announced_at_all_is_dropped() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let request =
        "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Late: 1\r\n\r\n";
    assert_eq!(client.send_raw(request).await.status, 200);
    assert!(upstream.seen()[0].trailers.as_ref().is_none_or(HeaderMap::is_empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_an_http_2_request_reach_an_http_1_upstream_when_announced() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let (mut sender, _connection) = h2(&client).await;
    let mut request = h2_request("POST", "/x");
    request.headers_mut().insert("trailer", "x-checksum".parse().unwrap());
    let (response, mut body) = sender.send_request(request, false).unwrap();
    body.send_data("body".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "abc".parse().unwrap());
    trailers.insert("x-ssl-client-verify", "SUCCESS".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    let trailers = upstream.seen()[0].trailers.clone().unwrap();
    assert_eq!(trailers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-checksum"]);
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n\
                      4\r\nbody\r\n0\r\nX-Checksum: abc\r\nX-Undeclared: 1\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn announced_trailers_of_an_answer_reach_the_client_and_others_do_not() {
    let upstream = canned(ANSWER).await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\r\n").await;
    let answer = soon(raw.until("\r\n\r\n4\r\nbody\r\n0\r\n")).await.to_ascii_lowercase();
    assert!(answer.contains("trailer: x-checksum"), "{answer}");
    let trailers = soon(raw.until("\r\n\r\n")).await.to_ascii_lowercase();
    assert_eq!(trailers, "x-checksum: abc\r\n\r\n");

    let answer = client.h2("GET", "/x", &[("te", "trailers")], "").await;
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-checksum"]);
    assert_eq!(answer.body, "body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_did_not_ask_for_trailers_gets_a_body_that_ends_well() {
    let upstream = canned(ANSWER).await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    let mut raw = client.raw().await;
    for _ in 0..2 {
        raw.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_is_asked_for_trailers_only_when_the_client_was() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    client.send_raw("GET /x HTTP/1.1\r\nHost: localhost\r\nTE: trailers, gzip\r\nConnection: TE\r\n\r\n").await;
    client.send_raw("GET /x HTTP/1.1\r\nHost: localhost\r\nTE: gzip\r\nConnection: TE\r\n\r\n").await;
    client.h2("GET", "/x", &[("te", "trailers")], "").await;
    let seen: Vec<_> =
        upstream.seen().iter().map(|seen| seen.headers.get("te").map(|te| te.to_str().unwrap().to_owned())).collect();
    assert_eq!(seen, [Some("trailers".to_owned()), None, Some("trailers".to_owned())]);
}

/// A body that a hyper client feeds, with trailers at its end: the length is not known before.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_with_trailers_is_sent_in_chunks() {
    let upstream = Upstream::raw(|_, stream| async {
        let mut wire = Wire::new(stream);
        let head = wire.head().await.unwrap().to_ascii_lowercase();
        let fine = head.contains("transfer-encoding: chunked") && head.contains("trailer: x-checksum");
        let body = wire.until("x-checksum: abc\r\n\r\n").await;
        let answer = format!("{fine} {}", body.starts_with("4\r\nbody\r\n0\r\n"));
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())).await;
    })
    .await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    let (feeding, body) = fed();
    let stream = client.connect(&["http/1.1"]).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("/x").header("host", "localhost").header("trailer", "x-checksum");
    let answer = sender.send_request(request.body(body).unwrap());
    let feed = async {
        feeding.send(Ok(Frame::data("body".into()))).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "abc".parse().unwrap());
        feeding.send(Ok(Frame::trailers(trailers))).await.unwrap();
        drop(feeding);
    };
    let (answer, ()) = soon(async { tokio::join!(answer, feed) }).await;
    assert_eq!(Answer::of(answer.unwrap()).await.body, "true true");
    let line = eventually("the line", async || gateway.log().into_iter().find(|line| line["event"] == "request")).await;
    assert_eq!(line["bytes_in"], 4);
}
