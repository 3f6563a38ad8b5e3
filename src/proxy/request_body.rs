//! A client's request body on its way to the upstream: counted, bounded, and given up when it stops coming.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::early;
use super::headers::clean_trailers;
use super::snapshot::Snapshot;
use crate::watchdog::Watchdog;

/// What is known of a body while somebody else reads it.
#[derive(Debug, Default)]
pub(super) struct BodyState {
    bytes: AtomicU64,
    complete: AtomicBool,
    fault: AtomicU8,
}

/// Why a body was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyFault {
    /// It is longer than the route allows.
    #[error("the request body is too long")]
    TooLarge = 1,
    /// Nothing came for too long.
    #[error("the request body stopped coming")]
    TooSlow = 2,
    /// It breaks its framing.
    #[error("the request body breaks its framing")]
    Malformed = 3,
    /// The client left.
    #[error("the client left in the middle of the request body")]
    Gone = 4,
}

impl BodyFault {
    /// The stable word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::TooLarge => "body_too_large",
            Self::TooSlow => "body_too_slow",
            Self::Malformed => "body_malformed",
            Self::Gone => "client_gone",
        }
    }
}

impl BodyState {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether all of it has been read.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    pub(super) fn fault(&self) -> Option<BodyFault> {
        match self.fault.load(Ordering::Relaxed) {
            1 => Some(BodyFault::TooLarge),
            2 => Some(BodyFault::TooSlow),
            3 => Some(BodyFault::Malformed),
            4 => Some(BodyFault::Gone),
            _ => None,
        }
    }
}

/// A client's request body.
pub(super) struct ClientBody {
    /// `None` only while this is dropped.
    incoming: Option<Incoming>,
    state: Arc<BodyState>,
    snapshot: Arc<Snapshot>,
    /// Names that the client announced in `Trailer`; `None` for HTTP/2, where there is no need to.
    declared: Option<Vec<HeaderName>>,
    limit: u64,
    idle: Duration,
    watchdog: Watchdog,
}

impl ClientBody {
    pub(super) fn new(
        incoming: Incoming,
        state: Arc<BodyState>,
        snapshot: Arc<Snapshot>,
        declared: Option<Vec<HeaderName>>,
        limit: u64,
    ) -> Self {
        let idle = snapshot.timeouts.request_body_idle;
        Self { incoming: Some(incoming), state, snapshot, declared, limit, idle, watchdog: Watchdog::default() }
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, Box<dyn StdError + Send + Sync>>>> {
        self.state.fault.store(fault as u8, Ordering::Relaxed);
        Poll::Ready(Some(Err(Box::new(fault))))
    }

    fn pass(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Err(frame) => frame,
            Ok(trailers) => Frame::trailers(clean_trailers(&trailers, |name| {
                self.snapshot.headers.trailer_passes(name)
                    && self.declared.as_ref().is_none_or(|declared| declared.contains(name))
            })),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        match Pin::new(&mut *incoming).poll_frame(context) {
            Poll::Pending => {
                if !this.watchdog.is_armed() {
                    this.watchdog.arm(Instant::now() + this.idle);
                }
                match this.watchdog.poll_expired(context) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => this.fail(BodyFault::TooSlow),
                }
            }
            Poll::Ready(None) => {
                this.state.complete.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => this.fail(fault_of(&error)),
            Poll::Ready(Some(Ok(frame))) => {
                this.watchdog.disarm();
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                let bytes = this.state.bytes.fetch_add(length, Ordering::Relaxed) + length;
                if bytes > this.limit {
                    return this.fail(BodyFault::TooLarge);
                }
                if incoming.is_end_stream() {
                    this.state.complete.store(true, Ordering::Relaxed);
                }
                Poll::Ready(Some(Ok(this.pass(frame))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for ClientBody {
    /// The upstream has answered without waiting for all of the body.
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take()
            && self.declared.is_none()
            && !self.state.is_complete()
            && self.state.fault().is_none()
        {
            early::run_out(incoming);
        }
    }
}

/// A client that left needs no answer; one that sent garbage gets one.
fn fault_of(error: &hyper::Error) -> BodyFault {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let malformed = io.is_some_and(|io| matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
    if malformed || error.is_parse() { BodyFault::Malformed } else { BodyFault::Gone }
}
