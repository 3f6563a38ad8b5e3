//! A client's request body on its way to the upstream: counted, bounded, and given up when it stops coming.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::tls::Protocol;
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

/// The longest body that is remembered, so that its request can be sent a second time.
const LONGEST_REMEMBERED: u64 = 64 * 1024;

/// A short body, as far as it has been read, and what is left to read of it.
#[derive(Debug, Default)]
pub(super) struct BodyMemory(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    pieces: Vec<Bytes>,
    /// What nobody has read, once the attempt that was reading it has ended.
    rest: Option<Incoming>,
    /// All of it is in `pieces`.
    is_whole: bool,
    /// It has trailers, which are not remembered.
    is_lost: bool,
}

impl BodyMemory {
    /// Whether a body says that it is short enough.
    pub(super) fn can_hold(body: &Incoming) -> bool {
        body.size_hint().exact().is_some_and(|length| length <= LONGEST_REMEMBERED)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which trailers of a request pass.
pub(super) struct RequestTrailers {
    /// Names that the client announced in `Trailer`; `None` for HTTP/2, where there is no need to.
    pub(super) declared: Option<Vec<HeaderName>>,
    /// What the upstream speaks.
    pub(super) upstream: Protocol,
}

/// A client's request body.
pub(super) struct ClientBody {
    /// `None` while this is dropped, and when all that is left is to be read from memory.
    incoming: Option<Incoming>,
    /// Where it is remembered, and the next piece to be read from there.
    memory: Option<(Arc<BodyMemory>, usize)>,
    state: Arc<BodyState>,
    snapshot: Arc<Snapshot>,
    trailers: RequestTrailers,
    limit: u64,
    idle: Duration,
    watchdog: Watchdog,
}

impl ClientBody {
    pub(super) fn new(
        incoming: Incoming,
        state: Arc<BodyState>,
        snapshot: Arc<Snapshot>,
        trailers: RequestTrailers,
        limit: u64,
        memory: Option<Arc<BodyMemory>>,
    ) -> Self {
        let idle = snapshot.timeouts.request_body_idle;
        let memory = memory.map(|memory| (memory, 0));
        Self { incoming: Some(incoming), memory, state, snapshot, trailers, limit, idle, watchdog: Watchdog::default() }
    }

    /// The same body from its beginning; `None` when it cannot be had again.
    pub(super) fn again(
        memory: &Arc<BodyMemory>,
        state: Arc<BodyState>,
        snapshot: Arc<Snapshot>,
        limit: u64,
    ) -> Option<Self> {
        let mut remembered = memory.remembered();
        let incoming = remembered.rest.take();
        if remembered.is_lost || state.fault().is_some() || (incoming.is_none() && !remembered.is_whole) {
            return None;
        }
        drop(remembered);
        let idle = snapshot.timeouts.request_body_idle;
        let memory = Some((Arc::clone(memory), 0));
        // A body whose length is known has no trailers that would have to be announced, and none passes.
        let trailers = RequestTrailers { declared: Some(Vec::new()), upstream: Protocol::Http1 };
        Some(Self { incoming, memory, state, snapshot, trailers, limit, idle, watchdog: Watchdog::default() })
    }

    /// The next piece that was read before.
    fn next_remembered(&mut self) -> Option<Bytes> {
        let (memory, next) = self.memory.as_mut()?;
        let piece = memory.remembered().pieces.get(*next).cloned()?;
        *next += 1;
        Some(piece)
    }

    fn remember(&mut self, frame: &Frame<Bytes>, is_last: bool) {
        let Some((memory, next)) = &mut self.memory else { return };
        let mut remembered = memory.remembered();
        match frame.data_ref() {
            Some(piece) => {
                remembered.pieces.push(piece.clone());
                *next += 1;
            }
            None => remembered.is_lost = true,
        }
        remembered.is_whole |= is_last;
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, Box<dyn StdError + Send + Sync>>>> {
        self.state.fault.store(fault as u8, Ordering::Relaxed);
        Poll::Ready(Some(Err(Box::new(fault))))
    }

    fn pass(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Err(frame) => frame,
            Ok(trailers) => Frame::trailers(clean_trailers(&trailers, |name| {
                self.snapshot.headers.trailer_passes(name, self.trailers.upstream)
                    && self.trailers.declared.as_ref().is_none_or(|declared| declared.contains(name))
            })),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(piece) = this.next_remembered() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
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
                if let Some((memory, _)) = &this.memory {
                    memory.remembered().is_whole = true;
                }
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
                let is_last = incoming.is_end_stream();
                if is_last {
                    this.state.complete.store(true, Ordering::Relaxed);
                }
                this.remember(&frame, is_last);
                Poll::Ready(Some(Ok(this.pass(frame))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_read = |(memory, next): &(Arc<BodyMemory>, usize)| memory.remembered().pieces.len() <= *next;
        self.memory.as_ref().is_none_or(is_read) && self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint);
        let Some((memory, next)) = &self.memory else { return left };
        let again: usize = memory.remembered().pieces.iter().skip(*next).map(Bytes::len).sum();
        left.exact().map_or(left, |left| SizeHint::with_exact(left + again as u64))
    }
}

impl Drop for ClientBody {
    /// The upstream has answered without waiting for all of the body.
    fn drop(&mut self) {
        if let (Some((memory, _)), Some(incoming)) =
            (&self.memory, self.incoming.take_if(|_| !self.state.is_complete()))
        {
            // The next attempt may need it.
            memory.remembered().rest = Some(incoming);
        }
        if let Some(incoming) = self.incoming.take()
            && self.trailers.declared.is_none()
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
