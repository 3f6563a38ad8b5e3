//! A client's socket with the deadlines that hyper does not have, and two things that hyper does not tell.
//!
//! Between two requests of an HTTP/1 connection the keep-alive deadline runs; from the first byte of a head, the
//! head's own, which more bytes do not move. A client that takes nothing of what is sent meets the send deadline.
//! While a request is under way nothing runs here: its body has its own deadline.
//!
//! hyper answers a head that it cannot read by itself and says only afterwards what was wrong. Those answers are held
//! back, so that [`super::connection`] can give the right one. And hyper cuts a fragment off a target in silence, so
//! the request line is looked at for one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::activity::Activity;
use crate::tls::Protocol;
use crate::watchdog::Watchdog;

/// How 2^64 - 1 and 2^64 - 2 begin.
const ABSURD_LENGTH: &[u8] = b"1844674407370955161";
/// A connection that was made just before a drain closes the idle ones still gets to send its first request.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

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

/// A client's socket.
#[derive(Debug)]
pub(super) struct ClientIo<S> {
    stream: S,
    protocol: Protocol,
    activity: Arc<Activity>,
    deadlines: Deadlines,
    reading: Reading,
    finished_seen: u32,
    read_watchdog: Watchdog,
    write_watchdog: Watchdog,
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
    /// Nothing of a next request has come.
    Idle,
    /// A head has begun.
    Head,
    /// A request is under way.
    Busy,
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
            protocol,
            activity,
            deadlines,
            reading: Reading::First,
            finished_seen: 0,
            read_watchdog,
            write_watchdog: Watchdog::default(),
            request_line: RequestLine::Before,
            names_absurd_length: false,
            held_back: false,
            ended_by_peer: false,
            lingered: None,
        }
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
            self.read_watchdog.arm(self.activity.idle_since() + self.deadlines.keepalive);
        }
    }

    fn look_at(&mut self, bytes: &[u8]) {
        if self.reading == Reading::Idle {
            self.reading = Reading::Head;
            self.read_watchdog.arm(Instant::now() + self.deadlines.head);
        }
        self.names_absurd_length |= memchr::memmem::find(bytes, ABSURD_LENGTH).is_some();
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
            Reading::Idle if closing => return Poll::Ready(Ok(())),
            Reading::First if closing => self.read_watchdog.arm(self.activity.started() + FIRST_REQUEST_GRACE),
            _ => {}
        }
        match self.read_watchdog.poll_expired(context) {
            Poll::Pending => Poll::Pending,
            // To hyper this is the client's closing of an idle connection.
            Poll::Ready(()) if self.reading == Reading::Idle || closing => Poll::Ready(Ok(())),
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Whether these bytes are hyper's own answer to a head that it could not read. Ours name the request; and should
    /// hyper ever write differently, its answer goes out, which is no harm.
    fn is_refusal_of_head(&self, bytes: &[u8]) -> bool {
        self.protocol == Protocol::Http1
            && self.activity.in_flight() == 0
            && bytes.starts_with(b"HTTP/1.1 4")
            && memchr::memmem::find(bytes, b"\r\nconnection: close\r\ncontent-length: 0\r\n").is_some()
            && memchr::memmem::find(bytes, b"x-request-id").is_none()
    }

    fn bound_send<T>(&mut self, context: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.write_watchdog.disarm();
            return sent;
        }
        if !self.write_watchdog.is_armed() {
            self.write_watchdog.arm(Instant::now() + self.deadlines.send);
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

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
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
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const DEADLINES: Deadlines =
        Deadlines { head: Duration::from_secs(10), keepalive: Duration::from_secs(75), send: Duration::from_secs(60) };

    fn client_io() -> (ClientIo<tokio::io::DuplexStream>, tokio::io::DuplexStream, Arc<Activity>) {
        let (ours, theirs) = duplex(64);
        let activity = Arc::new(Activity::new());
        (ClientIo::new(ours, Protocol::Http1, Arc::clone(&activity), DEADLINES), theirs, activity)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_has_its_time_from_the_handshake_however_it_trickles() {
        let (mut io, mut client, _) = client_io();
        let start = Instant::now();
        tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let mut bytes = Vec::new();
        let error = io.read_to_end(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_quietly_after_the_keepalive_time() {
        let (mut io, client, activity) = client_io();
        activity.begin_request();
        activity.end_request(true);
        let start = Instant::now();
        assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(start.elapsed().as_secs(), 75);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_has_its_time_from_its_first_byte() {
        let (mut io, mut client, activity) = client_io();
        activity.begin_request();
        activity.end_request(true);
        tokio::time::sleep(Duration::from_secs(50)).await;
        client.write_all(b"G").await.unwrap();
        let start = Instant::now();
        let mut bytes = Vec::new();
        assert!(io.read_to_end(&mut bytes).await.is_err());
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_meets_the_send_deadline() {
        let (mut io, client, activity) = client_io();
        activity.begin_request();
        let start = Instant::now();
        let error = io.write_all(&[b'x'; 65]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 60);
        drop(client);
    }

    #[tokio::test]
    async fn a_fragment_in_a_request_line_is_noticed_and_one_elsewhere_is_not() {
        for (bytes, expected) in [
            (&b"GET /a#b HTTP/1.1\r\n"[..], true),
            (b"\r\n\r\nGET /a#b HTTP/1.1\r\n", true),
            (b"GET /a HTTP/1.1\r\nx: #\r\n", false),
            (b"GET /a%23 HTTP/1.1\r\n\r\n#", false),
        ] {
            let (mut io, mut client, activity) = client_io();
            client.write_all(bytes).await.unwrap();
            let mut read = vec![0; bytes.len()];
            io.read_exact(&mut read).await.unwrap();
            assert_eq!(activity.take_fragment(), expected, "{}", String::from_utf8_lossy(bytes));
            assert!(!activity.take_fragment());
        }
    }
}
