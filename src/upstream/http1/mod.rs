//! HTTP/1 as spoken to an endpoint.
//!
//! The protocol is spoken here, and not by a library: httparse reads heads, the rest is small. That saves each request a
//! task, a channel, a table of headers and a dozen allocations, and lets what became of a request be told exactly: how
//! much of it was written, and whether anything was heard. A connection is driven by whoever has a request on it, so
//! dropping the request closes the connection and with it whatever the upstream was doing. An idle connection is driven
//! by nobody; it is asked whether it is still open when it is taken.

mod answer;
mod body;
mod chunked;
mod request;
mod socket;
mod whole;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use tokio::time::Instant;

pub(super) use self::body::Http1Answer;
pub use self::whole::{WholeAnswer, read_whole_answer};

use self::answer::{HeadReader, Malformed};
use self::body::Delimiter;
use self::chunked::Piece;
use self::request::{BodyFailed, Outgoing};
use self::socket::Socket;
use super::body::{AnswerCut, RequestBody};
use super::error::{Failure, FailureKind, Replay};
use super::head::Http1Head;
use super::stream::Stream;
use crate::tls::refuses_our_certificate;
use crate::watchdog::Watchdog;

/// Answers before the answer (1xx) to one request; nobody sends more than a few.
const MOST_INTERIM: u8 = 100;

/// One HTTP/1 connection to an endpoint.
pub(super) struct Connection {
    socket: Socket,
    outgoing: Outgoing,
    head: HeadReader,
    interim: u8,
    /// What is left of the answer under way.
    delimiter: Delimiter,
    /// Whether the last answer lets the connection be used again.
    keeps: bool,
    /// Whether the upstream has sent a byte since the last request.
    has_answered: bool,
    watchdog: Watchdog,
    idle_since: Instant,
    /// What acknowledges nothing for so long is gone.
    patience: Duration,
    used: bool,
    doubted: bool,
}

/// Why there is no answer.
enum NoAnswer {
    /// The connection has ended, with this error if there was one.
    Ended(Option<io::Error>),
    Malformed,
    /// The request's body could not be read.
    RequestBody,
}

impl From<Malformed> for NoAnswer {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<BodyFailed> for NoAnswer {
    fn from(_: BodyFailed) -> Self {
        Self::RequestBody
    }
}

impl Connection {
    /// Puts HTTP/1 on a connected socket. A peer that acknowledges nothing for `patience` is gone.
    pub(super) fn new(stream: Stream, patience: Duration) -> Box<Self> {
        Box::new(Self {
            socket: Socket::new(stream),
            outgoing: Outgoing::default(),
            head: HeadReader::default(),
            interim: 0,
            delimiter: Delimiter::None,
            keeps: false,
            has_answered: false,
            watchdog: Watchdog::default(),
            idle_since: Instant::now(),
            patience,
            used: false,
            doubted: false,
        })
    }

    /// How long it has been idle.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        now.duration_since(self.idle_since)
    }

    /// Whether it can take a request, as far as the runtime knows: it hears of an end when it next looks around.
    pub(super) fn seems_open(&mut self) -> bool {
        self.socket.seems_quiet()
    }

    /// Whether it can take a request: asks the kernel without waiting.
    pub(super) fn is_open(&mut self) -> bool {
        self.socket.is_quiet() && self.socket.seems_quiet()
    }

    /// Notes that it is idle from now on. Tells whether it can be used again.
    pub(super) fn rest(&mut self) -> bool {
        // Bytes behind the answer are ones that nobody asked for. The next request may have a body that the upstream
        // reads slowly: see `doubt`.
        let can_be_used = self.keeps
            && !self.doubted
            && self.delimiter.is_over()
            && self.outgoing.is_done()
            && self.socket.unread.is_empty();
        self.watchdog.disarm();
        self.idle_since = Instant::now();
        self.used = true;
        self.socket.rest();
        can_be_used
    }

    /// The deadline for the next piece of the answer.
    fn watchdog(&mut self) -> &mut Watchdog {
        &mut self.watchdog
    }

    /// Sends a request and waits for the head of its answer. `first_byte` is the time that may pass between the last
    /// sign of progress of the request's body, or its start, and that head. While the client is waited for, it stands
    /// still: the body has a deadline of its own, and the client is to blame. `doubt` is called when the answer is late,
    /// by half of the time in which a connection is to be made.
    pub(super) async fn exchange(
        &mut self,
        head: Http1Head,
        body: RequestBody,
        first_byte: Duration,
        now: Instant,
        mut doubt: impl FnMut(),
    ) -> Result<Response<()>, Failure> {
        self.has_answered = false;
        self.interim = 0;
        let progress = body.progress();
        let is_head = *head.method() == Method::HEAD;
        self.outgoing.begin(head, body);
        let mut is_doubted = false;
        let mut last_progress = now;
        let result = poll_fn(|context| {
            if let Poll::Ready(answer) = self.poll_answer(context, is_head) {
                return Poll::Ready(Some(answer));
            }
            if let Some(progress) = &progress {
                if progress.waits_for_client() {
                    last_progress = Instant::now();
                    return Poll::Pending;
                }
                if let Some(at) = progress.last() {
                    last_progress = last_progress.max(at);
                }
            }
            if !is_doubted {
                self.watchdog.arm(last_progress + first_byte.min(self.patience / 2));
                ready!(self.watchdog.poll_expired(context));
                is_doubted = true;
                doubt();
                // The kernel would end a request with a body that is only read slowly, too.
                if progress.is_none() {
                    self.doubted = true;
                    self.socket.doubt(self.patience / 2);
                }
            }
            self.watchdog.arm(last_progress + first_byte);
            self.watchdog.poll_expired(context).map(|()| None)
        })
        .await;
        self.watchdog.disarm();
        match result {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(why)) => Err(self.failure(why, progress.is_none())),
            None => Err(Failure::new(FailureKind::FirstByteTimedOut, Replay::Never)),
        }
    }

    /// Sends what can be sent, and reads on to the end of the answer's head.
    fn poll_answer(&mut self, context: &mut Context<'_>, is_head: bool) -> Poll<Result<Response<()>, NoAnswer>> {
        // The request goes out before anybody waits for the answer.
        if let Poll::Ready(Err(failed)) = self.outgoing.poll(context, &mut self.socket) {
            return Poll::Ready(Err(failed.into()));
        }
        loop {
            while let Some(head) = self.head.read(&mut self.socket.unread, is_head)? {
                let status = head.answer.status();
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    self.interim += 1;
                    if self.interim > MOST_INTERIM {
                        return Poll::Ready(Err(NoAnswer::Malformed));
                    }
                    continue;
                }
                self.delimiter = head.delimiter;
                self.keeps = head.keeps;
                return Poll::Ready(Ok(head.answer));
            }
            match ready!(self.socket.poll_fill(context, None)) {
                Ok(0) => return Poll::Ready(Err(NoAnswer::Ended(None))),
                Ok(_) => self.has_answered = true,
                Err(error) => return Poll::Ready(Err(NoAnswer::Ended(Some(error)))),
            }
        }
    }

    /// The next piece of the answer's body; `None` when it has none left. What is left of the request goes out
    /// meanwhile.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, AnswerCut>> {
        if let Poll::Ready(Err(BodyFailed)) = self.outgoing.poll(context, &mut self.socket) {
            return Poll::Ready(Err(AnswerCut::Truncated));
        }
        loop {
            match self.delimiter.next(&mut self.socket.unread) {
                Err(Malformed) => return Poll::Ready(Err(AnswerCut::Truncated)),
                Ok(Piece::Data(data)) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Ok(Some(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(Ok(None)),
                Ok(Piece::Starved) => {}
            }
            match ready!(self.socket.poll_fill(context, self.delimiter.rest())) {
                Ok(0) if self.delimiter.ends_by_close() => {
                    self.delimiter = Delimiter::None;
                    return Poll::Ready(Ok(None));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(AnswerCut::Truncated)),
                Ok(_) => {}
            }
        }
    }

    /// Whether all of the answer has been read.
    fn answer_is_over(&self) -> bool {
        self.delimiter.is_over()
    }

    /// How much of the answer's body is to come, where that is known.
    fn answer_rest(&self) -> Option<u64> {
        self.delimiter.rest()
    }

    /// Takes the socket, and what was read behind the answer's head, once that head has ended HTTP on it.
    pub(super) fn into_upgraded(self) -> Option<(Stream, Bytes)> {
        // An upstream that answers before it has read all of the request's head has not read it.
        self.outgoing.is_done().then(|| self.socket.into_parts())
    }

    fn failure(&mut self, why: NoAnswer, is_bodiless: bool) -> Failure {
        let error = match why {
            NoAnswer::Malformed => return Failure::new(FailureKind::Malformed, Replay::Never),
            NoAnswer::RequestBody => return Failure::new(FailureKind::RequestBody, Replay::Never),
            NoAnswer::Ended(error) => error,
        };
        // The alert by which the upstream refuses our certificate.
        let is_fresh = !self.used && !self.has_answered;
        let refusal = error.filter(|error| is_fresh && refuses_our_certificate(error));
        if let Some(body) = self.outgoing.take_unsent() {
            return match refusal {
                Some(refusal) => Failure::new(FailureKind::TlsFailed(refusal), Replay::Elsewhere(body)),
                None if self.used => Failure::new(FailureKind::Reset, Replay::Unsent(body)),
                None => Failure::new(FailureKind::Reset, Replay::Elsewhere(body)),
            };
        }
        if let Some(refusal) = refusal {
            // It was written, and has not been read.
            let replay = if is_bodiless { Replay::Elsewhere(RequestBody::Empty) } else { Replay::Never };
            return Failure::new(FailureKind::TlsFailed(refusal), replay);
        }
        let replay = if self.has_answered { Replay::Never } else { Replay::Idempotent { kept: self.used } };
        Failure::new(FailureKind::Reset, replay)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("used", &self.used).finish_non_exhaustive()
    }
}
