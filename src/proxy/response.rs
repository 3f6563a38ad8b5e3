//! The answers that clients get: the upstream's, passed on, and the gateway's own.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep};

use super::headers::AnswerTrailers;
use super::problem;
use super::record::Record;
use super::refusal::Refusal;
use crate::upstream::{AnswerBody, AnswerCut};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The body of an answer, with the record of its request: when it is dropped, the request is over.
#[derive(Debug)]
pub(super) struct ResponseBody {
    content: Content,
    /// `None` when the request goes on behind its answer.
    record: Option<Box<Record>>,
    stall: Option<Arc<Stall>>,
    cut: Option<(AnswerCut, Pin<Box<Sleep>>)>,
}

/// An answer is cut this much after its last piece: hyper and h2 throw away what they have not sent yet.
pub(super) const LAST_PIECE: Duration = Duration::from_millis(10);

#[derive(Debug)]
enum Content {
    Empty,
    Whole(Bytes),
    /// The upstream's, and which of its trailers pass.
    Answer(Box<AnswerBody>, AnswerTrailers),
}

/// Since when a piece of an HTTP/2 answer has been waiting for the client to take it: milliseconds after `start`, or
/// none.
#[derive(Debug)]
pub(super) struct Stall {
    start: tokio::time::Instant,
    since: AtomicU64,
    given_up: AtomicBool,
    /// The task that sends what a tunnel on the stream writes.
    tunnel: OnceLock<AbortHandle>,
}

impl Stall {
    const NONE: u64 = u64::MAX;

    pub(super) fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
            since: AtomicU64::new(Self::NONE),
            given_up: AtomicBool::new(false),
            tunnel: OnceLock::new(),
        }
    }

    pub(super) fn since(&self) -> Option<tokio::time::Instant> {
        match self.since.load(Ordering::Relaxed) {
            Self::NONE => None,
            millis => self.start.checked_add(Duration::from_millis(millis)),
        }
    }

    /// The client has left a piece waiting for too long.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// The stream has become a tunnel, and this sends for it.
    pub(super) fn tunnel(&self, sender: AbortHandle) {
        let _ = self.tunnel.set(sender);
    }

    /// Ends a tunnel on the stream with RST_STREAM: without its sender h2 has no end to send.
    pub(super) fn reset(&self) {
        if let Some(sender) = self.tunnel.get() {
            sender.abort();
        }
    }

    fn begin(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
        self.since.store(millis, Ordering::Relaxed);
    }

    fn end(&self) {
        self.since.store(Self::NONE, Ordering::Relaxed);
    }
}

impl ResponseBody {
    fn new(content: Content, mut record: Box<Record>, stall: Option<Arc<Stall>>) -> Self {
        if matches!(content, Content::Empty) {
            record.complete();
        }
        Self { content, record: Some(record), stall, cut: None }
    }

    fn complete(&mut self) {
        if let Some(record) = &mut self.record {
            record.complete();
        }
    }

    /// That of an answer after which the connection speaks another protocol.
    pub(super) fn none() -> Self {
        Self { content: Content::Empty, record: None, stall: None, cut: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = AnswerCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerCut>>> {
        let this = &mut *self;
        if let Some((cut, wait)) = &mut this.cut {
            ready!(wait.as_mut().poll(context));
            return Poll::Ready(Some(Err(*cut)));
        }
        if let Some(stall) = &this.stall {
            stall.end();
        }
        let frame = match &mut this.content {
            Content::Empty => None,
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::Empty;
                Some(Ok(Frame::data(bytes)))
            }
            Content::Answer(answer, trailers) => {
                let frame = ready!(Pin::new(&mut **answer).poll_frame(context));
                frame.map(|frame| frame.map(|frame| pass(frame, trailers)))
            }
        };
        match frame {
            None => {
                this.complete();
                Poll::Ready(None)
            }
            Some(Err(cut)) => {
                if let Some(record) = &mut this.record {
                    record.cut_by_upstream(match cut {
                        AnswerCut::Truncated => "upstream_truncated",
                        AnswerCut::TimedOut => "upstream_timeout",
                    });
                }
                let mut wait = Box::pin(sleep(LAST_PIECE));
                // Too short to be over.
                let _ = wait.as_mut().poll(context);
                this.cut = Some((cut, wait));
                Poll::Pending
            }
            Some(Ok(frame)) => {
                if let Some(record) = &mut this.record {
                    record.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64;
                }
                if this.is_end_stream() {
                    this.complete();
                }
                // The last piece waits for the client's window like any other.
                if let Some(stall) = &this.stall {
                    stall.begin();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Whole(_) => false,
            Content::Answer(answer, _) => answer.is_end_stream() && self.cut.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Answer(answer, _) => answer.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.stall.as_ref().is_some_and(|stall| stall.given_up.load(Ordering::Relaxed))
            && let Some(record) = &mut self.record
        {
            record.client_does_not_read();
        }
    }
}

fn pass(frame: Frame<Bytes>, passing: &AnswerTrailers) -> Frame<Bytes> {
    match frame.into_trailers() {
        Err(frame) => frame,
        Ok(trailers) => Frame::trailers(passing.clean(&trailers)),
    }
}

/// What is left to decide when an answer is known.
#[derive(Debug)]
pub(super) struct Closing {
    /// Whether the connection ends after this answer (HTTP/1 only).
    pub(super) connection: bool,
    /// Where an HTTP/2 answer's stall is noted.
    pub(super) stall: Option<Arc<Stall>>,
}

impl Closing {
    fn apply(&self, headers: &mut HeaderMap) {
        if self.connection {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Passes the upstream's answer on.
pub(super) fn pass_on(
    answer: Response<AnswerBody>,
    trailers: AnswerTrailers,
    mut record: Box<Record>,
    closing: Closing,
) -> Response<ResponseBody> {
    let (mut head, body) = answer.into_parts();
    record.answered(head.status, None);
    closing.apply(&mut head.headers);
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    let content = if body.is_end_stream() { Content::Empty } else { Content::Answer(Box::new(body), trailers) };
    Response::from_parts(head, ResponseBody::new(content, record, closing.stall))
}

/// A fixed answer.
pub(super) fn fixed(
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
    method: &Method,
    mut record: Box<Record>,
    closing: Closing,
) -> Response<ResponseBody> {
    record.answered(status, None);
    own(status, Some(content_type), body, method, record, closing)
}

/// The health path's answer.
pub(super) fn health(draining: bool, method: &Method, record: Box<Record>, closing: Closing) -> Response<ResponseBody> {
    let (status, body) = if draining { (StatusCode::SERVICE_UNAVAILABLE, "DRAINING") } else { (StatusCode::OK, "OK") };
    let mut response = fixed(
        status,
        HeaderValue::from_static("text/plain"),
        Bytes::from_static(body.as_bytes()),
        method,
        record,
        closing,
    );
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal, in the form the client asks for.
pub(super) fn refusal(
    refusal: &Refusal,
    method: &Method,
    request_headers: &HeaderMap,
    mut record: Box<Record>,
    closing: Closing,
) -> Response<ResponseBody> {
    let status = refusal.status();
    let (content_type, body) = match refusal {
        Refusal::AsteriskOptions => {
            record.answered(status, None);
            (None, Bytes::new())
        }
        refusal => {
            record.answered(status, Some(refusal.reason()));
            let (content_type, body) =
                problem::describe(refusal, request_headers, record.request_id.to_str().unwrap_or_default());
            (Some(HeaderValue::from_static(content_type)), body.into())
        }
    };
    let mut response = own(status, content_type, body, method, record, closing);
    let headers = response.headers_mut();
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(allow) = refusal.allow().and_then(|allow| HeaderValue::from_str(&allow).ok()) {
        headers.insert(ALLOW, allow);
    }
    if !matches!(refusal, Refusal::AsteriskOptions) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn own(
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
    method: &Method,
    record: Box<Record>,
    closing: Closing,
) -> Response<ResponseBody> {
    let mut headers = HeaderMap::with_capacity(8);
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(REQUEST_ID.clone(), record.request_id.clone());
    record.tell_of_expiry(&mut headers);
    closing.apply(&mut headers);
    let content = if *method == Method::HEAD && !body.is_empty() {
        headers.insert(CONTENT_LENGTH, body.len().into());
        Content::Empty
    } else if body.is_empty() {
        Content::Empty
    } else {
        Content::Whole(body)
    };
    let mut response = Response::new(ResponseBody::new(content, record, closing.stall));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
