//! A client's socket with the deadlines that hyper does not have, and two things that hyper does not tell.
//!
//! Between two requests of an HTTP/1 connection the keep-alive deadline runs; from the first byte of a head, the
//! head's own, which more bytes do not move. A client that takes nothing of what is sent meets the send deadline.
//! While a request is under way nothing runs here: its body has its own deadline.
//!
//! hyper answers a head that it cannot read by itself and says only afterwards what was wrong. Those answers are held
//! back, so that [`super::http1`] can give the right one. And hyper cuts a fragment off a target in silence, so
//! the request line is looked at for one.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::activity::Activity;
use crate::tls::{Protocol, TlsStream};
use crate::watchdog::Watchdog;

/// How 2^64 - 1 and 2^64 - 2 begin.
static ABSURD_LENGTH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"1844674407370955161"));
/// hyper's own answers to a head it cannot read have a status, two short fields and a date; ours never are so short.
const LONGEST_OWN_REFUSAL: usize = 192;
/// A connection that was made just before a drain closes the idle ones still gets to send its first request.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A connection that says nothing for so long gives back what it does not need meanwhile.
const PARK_AFTER: Duration = Duration::from_millis(500);

/// How long, and how much, is read after our half has ended.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// The deadlines of a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// A whole head.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) keepalive: Duration,
    /// Until the client takes something of what is sent.
    pub(super) send: Duration,
}

/// What a stream tells of how its socket takes what was written: a stream may take more than its socket does.
pub(super) trait Outlet {
    /// Bytes that the socket has taken so far.
    fn sent(&self) -> u64;
    /// Whether it has not taken all.
    fn has_unsent(&self) -> bool;
}

impl Outlet for TlsStream {
    fn sent(&self) -> u64 {
        self.sent()
    }

    fn has_unsent(&self) -> bool {
        self.has_unsent()
    }
}

/// A client's socket.
#[derive(Debug)]
pub(super) struct ClientIo<S> {
    stream: S,
    /// What was read and is to be read again.
    unread: Bytes,
    protocol: Protocol,
    activity: Arc<Activity>,
    deadlines: Deadlines,
    reading: Reading,
    finished_seen: u32,
    read_watchdog: Watchdog,
    /// Armed while something is to be sent.
    write_watchdog: Watchdog,
    /// What the socket had taken when that was armed.
    sent: u64,
    /// The connection was to end, and waits until all has been sent.
    ends_once_sent: bool,
    request_line: RequestLine,
    names_absurd_length: bool,
    held_back: bool,
    ended_by_peer: bool,
    /// What has been thrown away since our half ended; `None` before.
    lingered: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The first head; its deadline runs from the handshake.
    First,
    /// Nothing of a next request has come, for less than [`PARK_AFTER`].
    Idle,
    /// Nothing of a next request has come for longer.
    Parked,
    /// A head has begun.
    Head,
    /// A request is under way.
    Busy,
}

impl Reading {
    fn is_between_requests(self) -> bool {
        matches!(self, Self::Idle | Self::Parked)
    }
}

/// How far the request line has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestLine {
    Before,
    Inside,
    After,
}

impl<S> ClientIo<S> {
    pub(super) fn new(stream: S, protocol: Protocol, activity: Arc<Activity>, deadlines: Deadlines) -> Self {
        let mut read_watchdog = Watchdog::default();
        read_watchdog.arm(Instant::now() + deadlines.head);
        Self {
            stream,
            unread: Bytes::new(),
            protocol,
            activity,
            deadlines,
            reading: Reading::First,

            finished_seen: 0,
            read_watchdog,
            write_watchdog: Watchdog::default(),
            sent: 0,
            ends_once_sent: false,
            request_line: RequestLine::Before,
            names_absurd_length: false,
            held_back: false,
            ended_by_peer: false,
            lingered: None,
        }
    }

    /// After so long without a request something is due: the connection is parked, or ends.
    pub(super) fn rests_after(&self) -> Duration {
        self.deadlines.keepalive.min(PARK_AFTER)
    }

    /// Whether an answer of hyper's own was held back: then one is due.
    pub(super) fn owes_answer(&self) -> bool {
        self.held_back
    }

    /// Whether a head held a number that hyper takes for a length too large to count.
    pub(super) fn names_absurd_length(&self) -> bool {
        self.names_absurd_length
    }

    /// Whether the other side has ended its half.
    pub(super) fn ended_by_peer(&self) -> bool {
        self.ended_by_peer
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Takes note of requests that have begun or ended since the last look.
    fn catch_up(&mut self) {
        if self.activity.in_flight() > 0 {
            self.reading = Reading::Busy;
            self.read_watchdog.disarm();
            return;
        }
        let finished = self.activity.finished();
        if finished != self.finished_seen {
            self.finished_seen = finished;
            self.reading = Reading::Idle;
            self.request_line = RequestLine::Before;
            self.read_watchdog.arm(self.activity.idle_since() + self.rests_after());
        }
    }

    /// Gives bytes back that were read: they will be read first.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }

    fn look_at(&mut self, bytes: &[u8]) {
        if self.reading.is_between_requests() {
            self.reading = Reading::Head;
            self.read_watchdog.arm(Instant::now() + self.deadlines.head);
        }
        self.names_absurd_length |= ABSURD_LENGTH.find(bytes).is_some();
        let mut rest = bytes;
        if self.request_line == RequestLine::Before {
            // Empty lines before a request line are ignored (RFC 9112 section 2.2).
            while let [b'\r' | b'\n', others @ ..] = rest {
                rest = others;
            }
            if !rest.is_empty() {
                self.request_line = RequestLine::Inside;
            }
        }
        if self.request_line == RequestLine::Inside
            && let Some(end) = memchr::memchr2(b'#', b'\n', rest)
        {
            if rest.get(end) == Some(&b'#') {
                self.activity.note_fragment();
            }
            self.request_line = RequestLine::After;
        }
    }

    /// What to do when there is nothing to read.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closing = self.activity.is_to_close_when_idle();
        match self.reading {
            Reading::Idle | Reading::Parked if closing => return self.poll_end_in_peace(),
            Reading::First if closing => self.read_watchdog.arm(self.activity.started() + FIRST_REQUEST_GRACE),
            _ => {}
        }
        ready!(self.read_watchdog.poll_expired(context));
        if self.reading == Reading::Idle && self.deadlines.keepalive > PARK_AFTER {
            self.reading = Reading::Parked;
            // What hyper has not been able to write yet would be lost with it.
            if !self.write_watchdog.is_armed() {
                self.activity.note_idle();
            }
            self.read_watchdog.arm(self.activity.idle_since() + self.deadlines.keepalive);
            ready!(self.read_watchdog.poll_expired(context));
        }
        // To hyper this is the client's closing of an idle connection.
        if self.reading.is_between_requests() || closing {
            return self.poll_end_in_peace();
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends the connection as its client would, once the client has all of its last answer. Until then the send deadline
    /// runs.
    fn poll_end_in_peace(&mut self) -> Poll<io::Result<()>> {
        if self.write_watchdog.is_armed() {
            self.ends_once_sent = true;
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether these bytes are hyper's own answer to a head that it could not read. Ours name the request; and should
    /// hyper ever write differently, its answer goes out, which is no harm.
    fn is_refusal_of_head(&self, bytes: &[u8]) -> bool {
        self.protocol == Protocol::Http1
            && bytes.starts_with(b"HTTP/1.1 4")
            && bytes.len() <= LONGEST_OWN_REFUSAL
            && self.activity.in_flight() == 0
            && memchr::memmem::find(bytes, b"\r\nconnection: close\r\ncontent-length: 0\r\n").is_some()
            && memchr::memmem::find(bytes, b"x-request-id").is_none()
    }
}

impl<S: Outlet> ClientIo<S> {
    fn bound_send<T>(&mut self, context: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() && !self.stream.has_unsent() {
            self.write_watchdog.disarm();
            if std::mem::take(&mut self.ends_once_sent) {
                // hyper does not read again by itself.
                context.waker().wake_by_ref();
            }
            return sent;
        }
        if !self.write_watchdog.is_armed() || self.stream.sent() != self.sent {
            self.sent = self.stream.sent();
            self.write_watchdog.arm(Instant::now() + self.deadlines.send);
        }
        if sent.is_ready() {
            return sent;
        }
        self.write_watchdog.poll_expired(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> ClientIo<S> {
    /// Reads on after our half has ended. An HTTP/2 client acknowledges what it reads; closing at once would answer
    /// that with a reset, and a client that meets it while writing gives up what it has not read yet.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut thrown_away = [0; 1024];
        while !self.ended_by_peer && self.lingered.is_some_and(|read| read < LINGER_BYTES) {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.lingered = self.lingered.map(|read| read + buffer.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => return self.read_watchdog.poll_expired(context).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> ClientIo<S> {
    /// Ready when there is something to read (`true`), or the connection is over.
    pub(super) fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if !self.unread.is_empty() {
            return Poll::Ready(true);
        }
        let mut first = [0; 1];
        let mut buffer = ReadBuf::new(&mut first);
        let read = ready!(Pin::new(&mut *self).poll_read(context, &mut buffer));
        self.unread = Bytes::copy_from_slice(buffer.filled());
        Poll::Ready(read.is_ok() && !self.unread.is_empty())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.unread.is_empty() {
            let length = this.unread.len().min(buffer.remaining());
            buffer.put_slice(&this.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if this.protocol == Protocol::Http1 {
            this.catch_up();
        }
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending if this.protocol == Protocol::Http1 && this.reading != Reading::Busy => {
                this.poll_waiting(context)
            }
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().get(before..).unwrap_or_default();
                if read.is_empty() {
                    this.ended_by_peer = true;
                } else if this.protocol == Protocol::Http1 && this.reading != Reading::Busy {
                    this.look_at(read);
                }
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Outlet + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.is_refusal_of_head(bytes) {
            this.held_back = true;
            return Poll::Ready(Ok(bytes.len()));
        }
        let sent = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.bound_send(context, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if slices.first().is_some_and(|first| this.is_refusal_of_head(first)) {
            this.held_back = true;
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let sent = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.bound_send(context, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let sent = Pin::new(&mut this.stream).poll_flush(context);
        this.bound_send(context, sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingered.is_none() {
            let sent = Pin::new(&mut this.stream).poll_shutdown(context);
            ready!(this.bound_send(context, sent))?;
            this.lingered = Some(0);
            this.read_watchdog.arm(Instant::now() + LINGER);
        }
        // HTTP/1 does this by itself, where there is need.
        if this.protocol == Protocol::Http2 { this.poll_linger(context) } else { Poll::Ready(Ok(())) }
    }
}

#[cfg(test)]
mod tests;
