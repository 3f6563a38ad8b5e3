//! The bodies that pass between the gateway and an upstream.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::http1::Http1Answer;
use super::http2::Http2Answer;
use super::upgraded::Upgraded;

/// A request body on its way to an upstream.
#[derive(Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// One that is read while it is sent.
    Streaming(Streaming),
}

/// A body that is read while it is sent, and when that last got on.
pub struct Streaming {
    body: Pin<Box<dyn Body<Data = Bytes, Error = Box<dyn StdError + Send + Sync>> + Send>>,
    progress: Progress,
    /// What was read before, and is to be sent once more.
    again: VecDeque<Frame<Bytes>>,
}

impl RequestBody {
    /// A body that is read while it is sent.
    pub fn streaming(body: impl Body<Data = Bytes, Error = Box<dyn StdError + Send + Sync>> + Send + 'static) -> Self {
        Self::Streaming(Streaming { body: Box::pin(body), progress: Progress::start(), again: VecDeque::new() })
    }

    /// The same body with what was already read of it, `frames`, in front again.
    pub(super) fn again(self, mut frames: VecDeque<Frame<Bytes>>) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Streaming(Streaming { body, progress, again }) => {
                frames.extend(again);
                Self::Streaming(Streaming { body, progress, again: frames })
            }
        }
    }

    /// When the body last got on; `None` when there is none.
    pub(super) fn progress(&self) -> Option<Progress> {
        match self {
            Self::Empty => None,
            Self::Streaming(streaming) => Some(streaming.progress.clone()),
        }
    }

    /// What was read of it cannot be written now.
    pub(super) fn waits_for_upstream(&self) {
        if let Self::Streaming(streaming) = self {
            streaming.progress.0.waits_for_client.store(false, Ordering::Relaxed);
        }
    }
}

/// The same piece once more, to be kept until it is known that nobody needs it again. Data is shared, not copied.
pub(super) fn copy_of(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, trailers) => Frame::trailers(trailers.cloned().unwrap_or_default()),
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Streaming(_) => "Streaming",
        })
    }
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(Streaming { body, progress, again }) => {
                let frame = match again.pop_front() {
                    Some(frame) => Poll::Ready(Some(Ok(frame))),
                    None => body.as_mut().poll_frame(context),
                };
                progress.note(frame.is_pending());
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(streaming) => streaming.again.is_empty() && streaming.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) => {
                let rest = streaming.body.size_hint();
                let again: u64 = streaming.again.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
                match rest.exact() {
                    Some(rest) => SizeHint::with_exact(rest + again),
                    None => SizeHint::default(),
                }
            }
        }
    }
}

/// When a body last got on, and what it waits for.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
    /// The upstream would take more, and there is none.
    waits_for_client: AtomicBool,
}

impl Progress {
    fn start() -> Self {
        let (last, waits_for_client) = (AtomicU64::new(0), AtomicBool::new(false));
        Self(Arc::new(Shared { start: Instant::now(), last, waits_for_client }))
    }

    fn note(&self, waits_for_client: bool) {
        self.0.waits_for_client.store(waits_for_client, Ordering::Relaxed);
        if !waits_for_client {
            let millis = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.0.last.store(millis, Ordering::Relaxed);
        }
    }

    pub(super) fn waits_for_client(&self) -> bool {
        self.0.waits_for_client.load(Ordering::Relaxed)
    }

    pub(super) fn last(&self) -> Option<Instant> {
        self.0.start.checked_add(Duration::from_millis(self.0.last.load(Ordering::Relaxed)))
    }
}

/// The body of an upstream's answer.
#[derive(Debug)]
pub struct AnswerBody(Answer);

/// An enum, since it is asked for every piece.
#[derive(Debug)]
enum Answer {
    Http1(Http1Answer),
    Http2(Http2Answer),
}

impl AnswerBody {
    /// What the connection has become after an answer with status 101.
    pub fn take_upgraded(&mut self) -> Option<Box<Upgraded>> {
        match &mut self.0 {
            Answer::Http1(answer) => answer.take_upgraded(),
            Answer::Http2(_) => None,
        }
    }
}

impl From<Http1Answer> for AnswerBody {
    fn from(answer: Http1Answer) -> Self {
        Self(Answer::Http1(answer))
    }
}

impl From<Http2Answer> for AnswerBody {
    fn from(answer: Http2Answer) -> Self {
        Self(Answer::Http2(answer))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerCut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerCut>>> {
        match &mut self.get_mut().0 {
            Answer::Http1(answer) => Pin::new(answer).poll_frame(context),
            Answer::Http2(answer) => Pin::new(answer).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Answer::Http1(answer) => answer.is_end_stream(),
            Answer::Http2(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Answer::Http1(answer) => answer.size_hint(),
            Answer::Http2(answer) => answer.size_hint(),
        }
    }
}

/// Why an answer is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerCut {
    /// The upstream ended it too early.
    #[error("the upstream ended its answer too early")]
    Truncated,
    /// The next piece did not come in time.
    #[error("the upstream's answer stopped coming")]
    TimedOut,
}
