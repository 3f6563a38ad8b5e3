//! What becomes of a request body that nobody wants, when the answer is ready before the body has come.
//!
//! A client that is still sending does not read. A small body is read and thrown away, so that the connection stays
//! usable. For a large one the answer says that the connection closes, and [`super::linger`] goes on reading for a
//! moment after it, since closing at once would reset the connection and take the answer with it (RFC 9112 section
//! 9.6).

use std::time::Duration;

use http::header::EXPECT;
use http::{Version, request};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

/// Bytes that are read for the sake of the connection.
const MOST: u64 = 64 * 1024;
/// How long is waited for them.
const LONGEST: Duration = Duration::from_secs(10);

/// How long an HTTP/2 stream outlives its answer while its client is still sending.
const OUTLIVE: Duration = Duration::from_millis(250);

/// Whether the connection can be used after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remainder {
    /// Nothing of the request is left.
    None,
    /// The client is, or may be, still sending.
    Unread,
}

/// Reads a body to its end, if that is near.
pub(super) async fn discard(parts: &request::Parts, mut body: Incoming) -> Remainder {
    if body.is_end_stream() {
        return Remainder::None;
    }
    if parts.version == Version::HTTP_2 {
        run_out(body);
        return Remainder::None;
    }
    // Reading would make hyper ask for the body.
    if parts.headers.contains_key(EXPECT) || body.size_hint().lower() > MOST {
        return Remainder::Unread;
    }
    match timeout(LONGEST, read_to_end(&mut body)).await {
        Ok(true) => Remainder::None,
        Ok(false) | Err(_) => Remainder::Unread,
    }
}

/// Lets an HTTP/2 body run out while its answer is on its way. A short one ends; a long one is broken off with
/// RST_STREAM(NO_ERROR), which h2 sends when the body is dropped, but not in the same breath as the answer: clients
/// that read both at once (curl 7.88 for one) take the reset for a failure.
pub(super) fn run_out(body: Incoming) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let _ = timeout(OUTLIVE, async {
            let mut body = body;
            if !read_to_end(&mut body).await {
                std::future::pending::<()>().await;
            }
        })
        .await;
    });
}

async fn read_to_end(body: &mut Incoming) -> bool {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > MOST {
            return false;
        }
    }
    true
}
