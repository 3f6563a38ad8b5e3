//! A client's connection under TLS, once the handshake has begun.
//!
//! What is written is sent when there is much of it or at a flush: HTTP/2 writes frame by frame, and a record and a
//! system call for each would cost more than all the rest.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::received::Received;
use super::records::{Reading, Records};
use crate::net::Socket;

/// A client's connection under TLS.
pub struct TlsStream {
    socket: Socket,
    records: Records,
    /// Nothing was received since reading came to nothing.
    is_starved: bool,
    has_closed: bool,
    sent: u64,
}

impl TlsStream {
    /// A session on a socket, from which something was `received` already.
    pub(super) fn new(socket: Socket, session: UnbufferedServerConnection, received: Received) -> Self {
        let records = Records::new(session, received);
        Self { socket, records, is_starved: false, has_closed: false, sent: 0 }
    }

    /// What is known of the session.
    pub(super) fn session(&self) -> &CommonState {
        self.records.session()
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// Those of the socket, and of rustls as [`io::ErrorKind::InvalidData`], of which the client is told if its socket
    /// takes that at once.
    pub(super) async fn shake_hands(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_handshake(context)).await
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let is_done = self.records.shake_hands();
            let is_done = is_done.map_err(|error| self.fail(context, error))?;
            ready!(self.poll_send(context))?;
            if is_done {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(context))? == 0 {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof")));
            }
        }
    }

    /// Bytes that the socket has taken so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether the socket has not taken all that was to be sent.
    pub fn has_unsent(&self) -> bool {
        !self.records.sealed().is_empty()
    }

    /// The socket; what was received and not read is lost.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// Tells the client what is wrong, if its socket takes it now.
    fn fail(&mut self, context: &mut Context<'_>, error: Error) -> io::Error {
        self.records.say_what_is_wrong();
        let _ = self.poll_send(context);
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Receives more. Ready with 0 at the end.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let received = ready!(self.records.received().poll_fill(context, &mut self.socket));
        self.is_starved = false;
        Poll::Ready(received)
    }

    fn seal_rest(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.records.seal_rest().map_err(|error| self.fail(context, error))
    }

    /// Sends all that is sealed.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.records.sealed().is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write(context, self.records.sealed()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.records.sent(count);
                    self.sent += count as u64;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            if !this.is_starved {
                match this.records.read(buffer) {
                    Ok(Reading::Some) => continue,
                    Ok(Reading::Ended) => break,
                    Ok(Reading::Starved) => this.is_starved = true,
                    // What is wrong is told when what was right has been read.
                    Err(_) if buffer.filled().len() > before => break,
                    Err(error) => return Poll::Ready(Err(this.fail(context, error))),
                }
            }
            let has_read = buffer.filled().len() > before;
            if has_read && this.records.received().is_drained() {
                break;
            }
            match this.poll_receive(context) {
                Poll::Pending | Poll::Ready(Err(_) | Ok(0)) if has_read => break,
                Poll::Pending => {
                    // What was read may have called for an answer of TLS's own, and nobody may have anything to write.
                    // Should it fail, whoever writes is told.
                    let _ = this.poll_send(context);
                    return Poll::Pending;
                }
                // Without close_notify nobody knows whether that was all (RFC 8446 section 6.1).
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.records.has_room() {
            ready!(self.poll_send(context))?;
        }
        let written = self.records.write(pieces);
        Poll::Ready(written.map_err(|error| self.fail(context, error)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seal_rest(context)?;
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_closed {
            self.has_closed = true;
            // A session that has failed has said so.
            let _ = self.records.seal_rest().and_then(|()| self.records.close());
        }
        ready!(self.poll_send(context))?;
        match ready!(Pin::new(&mut self.socket).poll_shutdown(context)) {
            // The other side was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            other => Poll::Ready(other),
        }
    }
}

#[cfg(test)]
mod tests;
