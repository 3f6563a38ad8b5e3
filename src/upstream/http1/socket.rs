//! The socket of a connection as HTTP/1 reads and writes it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use crate::upstream::stream::Stream;

/// How soon, and how often, the other side of a doubtful connection is probed: the kernel counts whole seconds.
const PROBE: Duration = Duration::from_secs(1);
/// What is read at once at first. It doubles while reads fill it: a long answer costs fewer system calls so.
const SMALL: usize = 8 * 1024;
const LARGE: usize = 256 * 1024;

/// A socket, and what was read from it and not yet understood.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    pub(super) unread: BytesMut,
    read_ahead: usize,
    /// The upstream takes no more. It may have answered before it hung up: so a write that failed is one that does
    /// not get on, and reading decides.
    is_deaf: bool,
    has_unflushed: bool,
}

impl Socket {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, unread: BytesMut::new(), read_ahead: SMALL, is_deaf: false, has_unflushed: false }
    }

    pub(super) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.unread.freeze())
    }

    /// Reads more, for something of which at least `wanted` bytes are to come if that is known. Ready with 0 at the end.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>, wanted: Option<u64>) -> Poll<io::Result<usize>> {
        let known = wanted.map_or(usize::MAX, |wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
        let room = self.read_ahead.min(known.max(SMALL));
        if self.unread.capacity() - self.unread.len() < room / 2 {
            self.unread.reserve(room);
        }
        let room = self.unread.capacity() - self.unread.len();
        let count = ready!(pin!(self.stream.read_buf(&mut self.unread)).poll(context))?;
        if count == room {
            self.read_ahead = (self.read_ahead * 2).min(LARGE);
        }
        Poll::Ready(Ok(count))
    }

    /// Gives the memory back that a connection does not need while it is idle.
    pub(super) fn rest(&mut self) {
        self.unread = BytesMut::new();
        self.read_ahead = SMALL;
    }

    /// Writes some of the pieces. Pending for ever once the upstream takes no more.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<usize> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let stream = Pin::new(&mut self.stream);
        let written = match pieces {
            [piece] => stream.poll_write(context, piece),
            pieces => stream.poll_write_vectored(context, pieces),
        };
        match ready!(written) {
            Ok(count) if count > 0 => {
                self.has_unflushed = true;
                Poll::Ready(count)
            }
            _ => {
                self.is_deaf = true;
                Poll::Pending
            }
        }
    }

    /// Under TLS this writes, too.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.has_unflushed && !self.is_deaf {
            self.is_deaf = ready!(Pin::new(&mut self.stream).poll_flush(context)).is_err();
            self.has_unflushed = false;
        }
        Poll::Ready(())
    }

    /// Whether there is nothing to read and no end, as far as the runtime knows: it hears of an end when it next looks
    /// around.
    pub(super) fn seems_quiet(&mut self) -> bool {
        let mut byte = [MaybeUninit::uninit(); 1];
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut context, &mut ReadBuf::uninit(&mut byte)).is_pending()
    }

    /// Whether there is nothing to read and no end: asks the kernel.
    pub(super) fn is_quiet(&self) -> bool {
        let peeked = SockRef::from(self.stream.socket()).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Lets the kernel end the connection when the other side acknowledges neither what was sent nor a probe. Best
    /// effort: without it the deadline of the first byte ends the request.
    pub(super) fn doubt(&self, patience: Duration) {
        let socket = SockRef::from(self.stream.socket());
        let _ = socket.set_tcp_user_timeout(Some(patience));
        let probes = TcpKeepalive::new().with_time(PROBE).with_interval(PROBE);
        let _ = socket.set_tcp_keepalive(&probes);
    }
}
