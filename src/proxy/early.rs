//! What becomes of a request body that nobody wants, when the answer is ready before the body has come.
//!
//! A client that is still sending does not read. A small body is read and thrown away, so that the connection stays
//! usable. For a large one the answer says that the connection closes, and [`super::connection`] goes on reading for a
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

/// Whether the connection can be used after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remainder {
    /// Nothing of the request is left.
    None,
    /// The client is, or may be, still sending.
    Unread,
}

/// Reads a body to its end, if that is near.
pub(super) async fn discard(parts: &request::Parts, body: Incoming) -> Remainder {
    // An HTTP/2 stream is ended on its own: h2 sends RST_STREAM(NO_ERROR) when the body is dropped.
    if body.is_end_stream() || parts.version == Version::HTTP_2 {
        return Remainder::None;
    }
    // Reading would make hyper ask for the body.
    if parts.headers.contains_key(EXPECT) || body.size_hint().lower() > MOST {
        return Remainder::Unread;
    }
    match timeout(LONGEST, read_to_end(body)).await {
        Ok(true) => Remainder::None,
        Ok(false) | Err(_) => Remainder::Unread,
    }
}

async fn read_to_end(mut body: Incoming) -> bool {
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
