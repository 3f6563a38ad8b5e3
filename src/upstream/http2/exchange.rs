//! One request over a shared connection, and the head of its answer.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use h2::Reason;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::super::body::RequestBody;
use super::super::endpoint::Reuse;
use super::super::error::{Failure, FailureKind, Replay};
use super::super::stream::Stream;
use super::answer::{Http2Answer, Upload};
use super::link::Link;
use super::pool::Claim;
use super::upload::upload;
use crate::watchdog::Watchdog;

/// How long the task of a body may take to end.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::upstream) struct Patience {
    /// After this the answer is late, and a client that gives up is the endpoint's fault.
    pub(in crate::upstream) doubt: Duration,
    /// See [`exchange`].
    pub(in crate::upstream) first_byte: Duration,
    /// Between two pieces of the answer's body.
    pub(in crate::upstream) between_bytes: Duration,
}

/// Sends a request and waits for the head of its answer. `first_byte` is the time that may pass between the last sign of
/// progress of the request's body, or its start, and that head. While the client is waited for, it stands still.
///
/// A request that is dropped, before or after the head, resets its stream.
pub(in crate::upstream) async fn exchange(
    mut claim: Claim,
    mut head: Request<()>,
    body: RequestBody,
    patience: Patience,
    reuse: Reuse,
    now: Instant,
) -> Result<Response<Http2Answer>, Failure> {
    let kept = claim.link().is_proven();
    let may_have_body = *head.method() != Method::HEAD;
    announce_length(&mut head, &body);
    let progress = body.progress();
    let is_bodiless = body.is_end_stream();
    // GOAWAY or an end may have come since the connection was chosen. Then nothing was sent.
    let Ok((answer, stream)) = claim.link().sender().send_request(head, is_bodiless) else {
        return Err(unsent(body));
    };
    let mut upload = (!is_bodiless).then(|| AbortOnDropHandle::new(tokio::spawn(upload(body, stream))));
    let mut answer = pin!(answer);
    let mut watchdog = Watchdog::default();
    let mut is_doubted = false;
    let result = poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        // The body is on its way in another task, which does not wake this one: the deadline is reckoned when it is due.
        let since = match &progress {
            Some(progress) if progress.waits_for_client() => Instant::now(),
            Some(progress) => progress.last().map_or(now, |last| last.max(now)),
            None => now,
        };
        if !is_doubted {
            watchdog.arm(since + patience.doubt.min(patience.first_byte));
            ready!(watchdog.poll_expired(context));
            is_doubted = true;
            claim.lease().doubt();
        }
        watchdog.arm(since + patience.first_byte);
        watchdog.poll_expired(context).map(|()| None)
    })
    .await;
    watchdog.disarm();
    match result {
        Some(Ok(answer)) => {
            claim.link().prove();
            if let Err(failure) = claim.lease().judge(&answer, reuse) {
                stop(upload).await;
                return Err(failure);
            }
            let between_bytes = patience.between_bytes;
            let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
            let length = length.filter(|_| may_have_body);
            // What it has kept is not needed any more.
            let upload = upload.filter(|upload| !upload.is_finished());
            Ok(answer.map(|incoming| Http2Answer::new(incoming, length, claim, upload, watchdog, between_bytes)))
        }
        Some(Err(error)) if is_unprocessed(&error) => {
            let body = match upload.take() {
                None => Some(RequestBody::Empty),
                // It knows of the end of its stream, or will at once.
                Some(upload) => timeout(GIVE_BACK, upload).await.ok().and_then(Result::ok).flatten(),
            };
            Err(body.map_or_else(|| Failure::new(FailureKind::Reset, Replay::Never), unsent))
        }
        outcome => {
            stop(upload).await;
            let failure = match outcome {
                Some(Err(error)) => failure(&error, kept),
                Some(Ok(_)) | None => Failure::new(FailureKind::FirstByteTimedOut, Replay::Never),
            };
            Err(claim.lease().explain(failure, reuse))
        }
    }
}

/// Ends the task of a body, and waits for that: the next attempt may need what is left of the body.
async fn stop(upload: Option<Upload>) {
    if let Some(upload) = upload {
        upload.abort();
        let _ = timeout(GIVE_BACK, upload).await;
    }
}

/// Asks one thing on a connection of its own, and waits for the status. The caller has a deadline.
pub(in crate::upstream) async fn ask(stream: Stream, request: Request<()>) -> Result<StatusCode, FailureKind> {
    let link = Link::open(stream).await?;
    let (answer, _) = link.sender().send_request(request, true).map_err(|_| FailureKind::Reset)?;
    answer.await.map(|answer| answer.status()).map_err(|_| FailureKind::Reset)
}

/// What a length is known of is told, as it is over HTTP/1 (RFC 9110 section 8.6).
fn announce_length(head: &mut Request<()>, body: &RequestBody) {
    let Some(length) = body.size_hint().exact() else { return };
    if length > 0 || matches!(*head.method(), Method::POST | Method::PUT | Method::PATCH) {
        head.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
}

/// GOAWAY says which streams were processed, and REFUSED_STREAM that this one was not (RFC 9113 section 8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || refused)
}

fn failure(error: &h2::Error, kept: bool) -> Failure {
    if error.is_io() || error.is_remote() {
        return Failure::new(FailureKind::Reset, Replay::Idempotent { kept: kept && error.is_io() });
    }
    if error.is_reset() && !error.is_library() {
        return Failure::new(FailureKind::RequestBody, Replay::Never);
    }
    Failure::new(FailureKind::Malformed, Replay::Never)
}

fn unsent(body: RequestBody) -> Failure {
    Failure::new(FailureKind::Reset, Replay::Unsent(body))
}
