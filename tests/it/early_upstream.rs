//! Upstreams that answer before they have read the request's body, as frameworks do with a 401 or a 404.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Client, Gateway, Pki, Upstream, gateway};

const BODY: usize = 2 * 1024 * 1024;

/// Reads a head and no more, answers, and closes: what it has not read makes the kernel reset the connection.
async fn hasty() -> Upstream {
    Upstream::raw(|_, mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone").await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_passed_on_although_the_rest_of_the_body_can_no_longer_be_written() {
    let pki = Pki::new();
    let upstream = hasty().await;
    let gateway = Gateway::start(&pki, &gateway::upstream("api", upstream.address)).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let body = "x".repeat(BODY);
    for round in 0..10 {
        let mut raw = client.raw().await;
        let head = format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n\r\n");
        raw.send(head).await;
        // The gateway may close before all is written; the answer is there all the same.
        let _ = raw.stream.write_all(body.as_bytes()).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (404, "none"), "HTTP/1.1, round {round}");

        let answer = client.h2("POST", "/x", &[], &body).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (404, &b"none"[..]), "HTTP/2, round {round}");
    }
    assert_eq!(upstream.connections(), 20, "nothing was sent twice");
}
