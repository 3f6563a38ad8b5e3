//! One HTTP/1 connection to an endpoint.
//!
//! hyper speaks the protocol. Its connection is not a task of its own: whoever has a request on it drives it, so a
//! request costs no hand-over between tasks, and dropping the request closes the connection and with it whatever the
//! upstream was doing. An idle connection is driven by nobody; it is asked whether it is still open when it is taken.

use std::error::Error as _;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::body::RequestBody;
use super::error::{Failure, FailureKind, Replay};
use super::stream::Stream;
use crate::tls::refuses_our_certificate;
use crate::watchdog::Watchdog;

/// The head of an answer may be this long; nginx's default, with room.
const LONGEST_HEAD: usize = 64 * 1024;
/// And have this many fields.
const MOST_FIELDS: usize = 200;
/// How soon, and how often, the other side of a doubtful connection is probed: the kernel counts whole seconds.
const PROBE: Duration = Duration::from_secs(1);

/// One HTTP/1 connection to an endpoint.
pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    driver: http1::Connection<TokioIo<Observed>, RequestBody>,
    signals: Arc<Signals>,
    watchdog: Watchdog,
    idle_since: Instant,
    /// What acknowledges nothing for so long is gone.
    patience: Duration,
    used: bool,
    doubted: bool,
    ended: bool,
}

impl Connection {
    /// Puts HTTP/1 on a connected socket. A peer that acknowledges nothing for `patience` is gone.
    pub(super) async fn open(stream: Stream, patience: Duration) -> Result<Box<Self>, FailureKind> {
        let signals = Arc::new(Signals { patience: patience / 2, ..Signals::default() });
        let io = TokioIo::new(Observed { stream, signals: Arc::clone(&signals), is_deaf: false });
        let (sender, driver) = http1::Builder::new()
            .max_headers(MOST_FIELDS)
            .max_header_size(LONGEST_HEAD)
            .handshake(io)
            .await
            .map_err(|_| FailureKind::Reset)?;
        Ok(Box::new(Self {
            sender,
            driver,
            signals,
            watchdog: Watchdog::default(),
            idle_since: Instant::now(),
            patience,
            used: false,
            doubted: false,
            ended: false,
        }))
    }

    /// How long it has been idle.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        now.duration_since(self.idle_since)
    }

    /// Whether it can take a request, as far as the runtime knows: it hears of an end when it next looks around.
    pub(super) fn seems_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }

    /// Whether it can take a request: asks the kernel without waiting.
    pub(super) fn is_open(&mut self) -> bool {
        self.signals.ask_kernel.store(true, Ordering::Relaxed);
        let seems_open = self.seems_open();
        // hyper has read, and so asked, unless it knew better.
        let asked = !self.signals.ask_kernel.swap(false, Ordering::Relaxed);
        asked && seems_open
    }

    /// Notes that it is idle from now on. Tells whether it can be used again.
    pub(super) fn rest(&mut self, context: &mut Context<'_>) -> bool {
        self.watchdog.disarm();
        self.idle_since = Instant::now();
        self.used = true;
        self.drive(context);
        // The next request may have a body that the upstream reads slowly: see `doubt`.
        !self.doubted && !self.ended && self.sender.is_ready()
    }

    /// Does what can be done on the socket now.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        // How it ended is told to whoever waits for the answer or its body.
        if !self.ended && Pin::new(&mut self.driver).poll(context).is_ready() {
            self.ended = true;
        }
    }

    /// The deadline for the next piece of the answer.
    pub(super) fn watchdog(&mut self) -> &mut Watchdog {
        &mut self.watchdog
    }

    /// Sends a request and waits for the head of its answer. `first_byte` is the time that may pass between the last
    /// sign of progress of the request's body, or its start, and that head. While the client is waited for, it stands
    /// still: the body has a deadline of its own, and the client is to blame. `doubt` is called when the answer is late,
    /// by half of the time in which a connection is to be made.
    pub(super) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
        first_byte: Duration,
        now: Instant,
        mut doubt: impl FnMut(),
    ) -> Result<Response<Incoming>, Failure> {
        self.signals.answered.store(false, Ordering::Relaxed);
        let progress = request.body().progress();
        let has_no_body = matches!(request.body(), RequestBody::Empty);
        let mut is_doubted = false;
        let mut answer = pin!(self.sender.try_send_request(request));
        let mut last_progress = now;
        let result = poll_fn(|context| {
            // The request goes out before anybody waits for the answer.
            if !self.ended && Pin::new(&mut self.driver).poll(context).is_ready() {
                self.ended = true;
            }
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
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
                if has_no_body {
                    self.doubted = true;
                    // hyper looks for something to read, and so hands it on to the socket.
                    self.signals.doubt.store(true, Ordering::Relaxed);
                    self.drive(context);
                }
            }
            self.watchdog.arm(last_progress + first_byte);
            self.watchdog.poll_expired(context).map(|()| None)
        })
        .await;
        self.watchdog.disarm();
        match result {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(self.failure(error, progress.is_none())),
            None => Err(Failure::new(FailureKind::FirstByteTimedOut, Replay::Never)),
        }
    }

    /// Takes the socket, and what was read behind the answer's head, once that head has ended HTTP on it.
    pub(super) fn into_upgraded(self) -> Option<(Stream, Bytes)> {
        // An upstream that answers before it has read all of the request's head has not read it.
        if !self.ended {
            return None;
        }
        let parts = self.driver.into_parts();
        Some((parts.io.into_inner().stream, parts.read_buf))
    }

    fn failure(&self, mut error: TrySendError<Request<RequestBody>>, is_bodiless: bool) -> Failure {
        let answered = self.signals.answered.load(Ordering::Relaxed);
        let refusal = if self.used || answered { None } else { refusal_of_hands(error.error()) };
        if let Some(request) = error.take_message() {
            let request = Box::new(request);
            if let Some(refusal) = refusal {
                return Failure::new(FailureKind::TlsFailed(refusal), Replay::Elsewhere(request));
            }
            let replay = if self.used { Replay::Unsent(request) } else { Replay::Elsewhere(request) };
            return Failure::new(FailureKind::Reset, replay);
        }
        let error = error.into_error();
        if error.is_user() {
            return Failure::new(FailureKind::RequestBody, Replay::Never);
        }
        if error.is_parse() {
            return Failure::new(FailureKind::Malformed, Replay::Never);
        }
        if let Some(refusal) = refusal {
            // It was written, and has not been read.
            let replay =
                if is_bodiless { Replay::Elsewhere(Box::new(Request::new(RequestBody::Empty))) } else { Replay::Never };
            return Failure::new(FailureKind::TlsFailed(refusal), replay);
        }
        let replay = if answered { Replay::Never } else { Replay::Idempotent { kept: self.used } };
        Failure::new(FailureKind::Reset, replay)
    }
}

/// The alert by which the upstream refused our certificate, if that is why a fresh connection ended.
fn refusal_of_hands(error: &hyper::Error) -> Option<io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return refuses_our_certificate(io).then(|| io::Error::new(io.kind(), io.to_string()));
        }
        source = error.source();
    }
    None
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("used", &self.used).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What a connection and its socket, which hyper owns, tell each other.
#[derive(Debug, Default)]
struct Signals {
    /// Whether the upstream has sent a byte since the last request.
    answered: AtomicBool,
    /// Whether the next read is to ask the kernel, and not the runtime, if there is anything to read. The runtime
    /// hears of an end only when it next looks around, and a request that is sent before then is lost.
    ask_kernel: AtomicBool,
    /// Whether the kernel is to end the connection unless what was sent is acknowledged. Not for a request with a body:
    /// the kernel ends one that is only read slowly, too.
    doubt: AtomicBool,
    /// For how long it may go unacknowledged.
    patience: Duration,
}

/// The socket as hyper reads and writes it.
struct Observed {
    stream: Stream,
    signals: Arc<Signals>,
    /// The upstream takes no more. It may have answered before it hung up, and hyper, told of a failed write, would
    /// not look for that answer: so a write that failed is one that does not get on, and reading decides.
    is_deaf: bool,
}

impl Observed {
    fn written(&mut self, context: &Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(_)) = outcome {
            self.is_deaf = true;
            // There is an answer or an end to read by now.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        outcome
    }

    /// Lets the kernel end the connection when the other side acknowledges neither what was sent nor a probe. Best
    /// effort: without it the deadline of the first byte ends the request.
    fn doubt(&self) {
        let socket = SockRef::from(self.stream.socket());
        let _ = socket.set_tcp_user_timeout(Some(self.signals.patience));
        let probes = TcpKeepalive::new().with_time(PROBE).with_interval(PROBE);
        let _ = socket.set_tcp_keepalive(&probes);
    }

    /// Whether there is nothing to read and no end.
    fn is_quiet(&self) -> bool {
        let peeked = SockRef::from(self.stream.socket()).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.signals.ask_kernel.swap(false, Ordering::Relaxed) && !self.is_quiet() {
            // An end, or bytes that nobody asked for: either way this connection is not to be used again.
            return Poll::Ready(Ok(()));
        }
        if self.signals.doubt.swap(false, Ordering::Relaxed) {
            self.doubt();
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.signals.answered.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl AsyncWrite for Observed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_deaf {
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        // Under TLS this writes, too.
        if let Poll::Ready(Err(_)) = outcome {
            self.is_deaf = true;
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // One that is gone already needs no telling.
        Pin::new(&mut self.stream).poll_shutdown(context).map(|_| Ok(()))
    }
}
