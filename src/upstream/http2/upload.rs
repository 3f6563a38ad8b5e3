//! A request's body on its way over HTTP/2. A task of its own: the upstream may take it while the client is not yet
//! reading the answer, as calls that stream both ways do.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body as _, Frame};

use super::super::body::{RequestBody, copy_of};

/// So much of a body is kept until the upstream answers, to be sent again if it turns out not to have looked at it. Calls
/// of one message are mostly shorter.
const MOST_KEPT: usize = 64 * 1024;

/// Sends a body to its end, or until either side breaks it off. Nothing is read before the upstream takes it. What comes
/// back is the whole body again, unless it was too long to be kept or the client broke it off.
pub(super) async fn upload(mut body: RequestBody, mut stream: SendStream<Bytes>) -> Option<RequestBody> {
    let mut kept = Kept::default();
    loop {
        stream.reserve_capacity(1);
        if !poll_fn(|context| poll_room(&mut stream, context)).await {
            return kept.in_front_of(body);
        }
        let frame = poll_fn(|context| {
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(None);
            }
            Pin::new(&mut body).poll_frame(context).map(Some)
        });
        let Some(frame) = frame.await else { return kept.in_front_of(body) };
        let is_last = body.is_end_stream();
        let sent = match frame {
            None => stream.send_data(Bytes::new(), true),
            Some(Err(_)) => {
                stream.send_reset(Reason::CANCEL);
                return None;
            }
            Some(Ok(frame)) => {
                kept.note(&frame);
                match frame.into_data() {
                    Ok(data) if !is_last => {
                        if stream.send_data(data, false).is_ok() {
                            continue;
                        }
                        return kept.in_front_of(body);
                    }
                    Ok(data) => stream.send_data(data, true),
                    Err(frame) => stream.send_trailers(frame.into_trailers().unwrap_or_default()),
                }
            }
        };
        // An end that could not be sent is one that the answer will tell of.
        drop(sent);
        return kept.in_front_of(body);
    }
}

/// What was read of a body.
#[derive(Default)]
struct Kept {
    frames: VecDeque<Frame<Bytes>>,
    length: usize,
}

impl Kept {
    fn note(&mut self, frame: &Frame<Bytes>) {
        if self.length > MOST_KEPT {
            return;
        }
        // Each counts for something, or small ones would have no end.
        self.length += frame.data_ref().map_or(0, Bytes::len) + size_of::<Frame<Bytes>>();
        if self.length > MOST_KEPT {
            self.frames = VecDeque::new();
        } else {
            self.frames.push_back(copy_of(frame));
        }
    }

    fn in_front_of(self, body: RequestBody) -> Option<RequestBody> {
        (self.length <= MOST_KEPT).then(|| body.again(self.frames))
    }
}

/// Whether the upstream takes more: `false` once it has broken the stream off.
fn poll_room(stream: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<bool> {
    loop {
        if stream.capacity() > 0 {
            return Poll::Ready(true);
        }
        match stream.poll_capacity(context) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
            Poll::Pending => return stream.poll_reset(context).map(|_| false),
        }
    }
}
