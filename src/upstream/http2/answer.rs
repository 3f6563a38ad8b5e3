//! The body of an answer that comes over HTTP/2.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::super::body::{AnswerCut, RequestBody};
use super::super::outlier::Fault;
use super::pool::Claim;
use crate::watchdog::Watchdog;

/// The task that sends a request's body.
pub(super) type Upload = AbortOnDropHandle<Option<RequestBody>>;

/// The body of an answer. Its stream is reset when it is dropped before its end.
#[derive(Debug)]
pub(in crate::upstream) struct Http2Answer {
    /// `None` once the body has ended.
    source: Option<Source>,
    watchdog: Watchdog,
    between_bytes: Duration,
}

#[derive(Debug)]
struct Source {
    incoming: RecvStream,
    /// Bytes that are yet to come, if the head said how many.
    missing: Option<u64>,
    /// The pieces have ended; trailers may come.
    is_drained: bool,
    claim: Claim,
    /// The rest of the request's body: nobody wants it once the answer has ended.
    _upload: Option<Upload>,
}

impl Http2Answer {
    pub(super) fn new(
        incoming: RecvStream,
        length: Option<u64>,
        mut claim: Claim,
        upload: Option<Upload>,
        watchdog: Watchdog,
        between_bytes: Duration,
    ) -> Self {
        if incoming.is_end_stream() {
            claim.lease().succeeded();
            return Self { source: None, watchdog, between_bytes };
        }
        let source = Some(Source { incoming, missing: length, is_drained: false, claim, _upload: upload });
        Self { source, watchdog, between_bytes }
    }
}

impl Source {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerCut>>> {
        while !self.is_drained {
            match ready!(self.incoming.poll_data(context)) {
                Some(Ok(data)) => {
                    // The client's own window holds up what follows. An error means that the stream has ended.
                    let _ = self.incoming.flow_control().release_capacity(data.len());
                    if let Some(missing) = &mut self.missing {
                        *missing = missing.saturating_sub(data.len() as u64);
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Some(Err(error)) if self.is_complete_by(&error) => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(AnswerCut::Truncated))),
                None => self.is_drained = true,
            }
        }
        match ready!(self.incoming.poll_trailers(context)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(_) => Poll::Ready(Some(Err(AnswerCut::Truncated))),
        }
    }

    /// An upstream that does not want the rest of the request resets the stream after a complete answer (RFC 9113
    /// section 8.1), and h2 then forgets that the answer had ended.
    fn is_complete_by(&self, error: &h2::Error) -> bool {
        error.is_remote() && error.reason() == Some(Reason::NO_ERROR) && self.missing.unwrap_or(0) == 0
    }
}

impl Body for Http2Answer {
    type Data = Bytes;
    type Error = AnswerCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerCut>>> {
        let this = &mut *self;
        let Some(source) = &mut this.source else { return Poll::Ready(None) };
        match source.poll(context) {
            Poll::Pending => {
                if !this.watchdog.is_armed() {
                    this.watchdog.arm(Instant::now() + this.between_bytes);
                }
                if this.watchdog.poll_expired(context).is_pending() {
                    return Poll::Pending;
                }
                source.claim.lease().failed(Fault::Cut);
                this.source = None;
                Poll::Ready(Some(Err(AnswerCut::TimedOut)))
            }
            Poll::Ready(frame) => {
                this.watchdog.disarm();
                let goes_on = matches!(&frame, Some(Ok(frame)) if frame.is_data());
                if matches!(&frame, Some(Err(_))) {
                    source.claim.lease().failed(Fault::Cut);
                    this.source = None;
                } else if !goes_on || source.incoming.is_end_stream() {
                    source.claim.lease().succeeded();
                    this.source = None;
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.source.is_none() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
