//! Answers of an HTTP/1 upstream: an answer that is taken is the one that hyper's client, which shares only httparse with
//! the gateway's, takes out of the same bytes, and does not depend on how they come.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mtls_gateway::upstream::{WholeAnswer, read_whole_answer};
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::runtime::{Builder, Runtime};

/// The property: the first byte says how the rest comes, and whether HEAD was asked.
pub fn check(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let (is_head, piece) = (choice & 1 == 1, usize::from(choice >> 1) + 1);
    let whole = read_whole_answer(bytes, is_head, bytes.len());
    let in_pieces = read_whole_answer(bytes, is_head, piece);
    assert_eq!(whole.as_ref().map(shown), in_pieces.as_ref().map(shown), "in one piece, and in pieces of {piece}");
    let Some(ours) = whole else { return };
    assert!(ours.left == 0 || ours.answer.body().len() < bytes.len());
    let theirs = by_hyper(bytes, is_head).expect("what the gateway takes for an answer, hyper does, too");
    assert_eq!((ours.answer.status(), ours.answer.headers()), (theirs.status(), theirs.headers()));
    assert_eq!(ours.answer.body(), theirs.body());
}

fn shown(whole: &WholeAnswer) -> String {
    format!("{whole:?}")
}

/// What hyper's client makes of it; `None` when that is not a whole answer.
fn by_hyper(bytes: &[u8], is_head: bool) -> Option<http::Response<Vec<u8>>> {
    thread_local!(static RUNTIME: Runtime = Builder::new_current_thread().build().unwrap());
    RUNTIME.with(|runtime| runtime.block_on(asked(bytes, is_head)))
}

async fn asked(bytes: &[u8], is_head: bool) -> Option<http::Response<Vec<u8>>> {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut builder = http1::Builder::new();
    builder.max_headers(200);
    let (mut sender, connection) = builder.handshake(TokioIo::new(ours)).await.unwrap();
    let method = if is_head { http::Method::HEAD } else { http::Method::GET };
    let request = http::Request::builder().method(method).uri("/").body(Empty::<&[u8]>::new()).unwrap();
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    // Bytes that come before they are asked for are none of an answer.
    poll_fn(|context| {
        let _ = connection.as_mut().poll(context);
        assert!(answer.as_mut().poll(context).is_pending());
        let _ = connection.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    theirs.write_all(bytes).await.unwrap();
    theirs.shutdown().await.unwrap();
    let collected = async {
        let (head, body) = answer.await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(http::Response::from_parts(head, body.to_vec()))
    };
    let mut collected = pin!(collected);
    let mut is_over = false;
    poll_fn(|context| {
        if !is_over {
            is_over = connection.as_mut().poll(context).is_ready();
        }
        collected.as_mut().poll(context)
    })
    .await
}

/// Answers to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\na\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\n\r\nto the end",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nConnection: close, x\r\n\r\n",
        "HTTP/1.1 200\nContent-Length:3\n\nabcHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]
    .iter()
    .enumerate()
    .map(|(number, text)| [&[u8::try_from(number * 6).unwrap()][..], text.as_bytes()].concat())
    .collect()
}
