//! A connection that has said nothing for half a second is parked. Nobody can tell.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::wire::in_front_of;
use crate::support::{Upstream, Version};

/// Longer than a connection must idle to be parked.
const PARKED: Duration = Duration::from_millis(1300);

const GET: &str = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_on_whatever_comes_first() {
    let upstream = Upstream::echo().await;
    let (gateway, client) = in_front_of(&upstream, "").await;
    for version in [Version::Tls12, Version::Tls13] {
        let mut raw = client.clone().only(version).raw().await;
        raw.send(GET).await;
        assert_eq!(raw.answer().await.status, 200);
        // A whole request; one in two pieces, the first of them a byte; two at once; one with a body.
        sleep(PARKED).await;
        raw.send(GET).await;
        assert_eq!(raw.answer().await.status, 200);
        sleep(PARKED).await;
        raw.send(&GET[..1]).await;
        sleep(Duration::from_millis(50)).await;
        raw.send(&GET[1..]).await;
        assert_eq!(raw.answer().await.status, 200);
        sleep(PARKED).await;
        raw.send(GET.repeat(2)).await;
        assert_eq!((raw.answer().await.status, raw.answer().await.status), (200, 200));
        sleep(PARKED).await;
        let body = "x".repeat(100_000);
        raw.send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(raw.answer().await.text(), "upstream POST /x");
        assert_eq!(upstream.seen().last().unwrap().body.as_ref().unwrap().len(), body.len());
        // A request whose head began behind the one before.
        raw.send(format!("{GET}{}", &GET[..10])).await;
        assert_eq!(raw.answer().await.status, 200);
        sleep(PARKED).await;
        raw.send(&GET[10..]).await;
        assert_eq!(raw.answer().await.status, 200);
    }
    assert_eq!(gateway.log().iter().filter(|line| line["event"] == "rejected").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_all_the_same() {
    let upstream = Upstream::echo().await;
    let (_gateway, client) = in_front_of(&upstream, "").await;
    for (bytes, status) in [
        ("GET /x HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n", 400),
        ("GET /x#y HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ] {
        let mut raw = client.raw().await;
        raw.send(GET).await;
        assert_eq!(raw.answer().await.status, 200);
        sleep(PARKED).await;
        raw.send(bytes).await;
        assert_eq!(raw.answer().await.status, status, "{bytes}");
    }
}
