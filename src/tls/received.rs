//! What has come from a client and is not understood yet.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What is received at once at first. It doubles while the socket holds more.
const SMALL: usize = 4 * 1024;
/// Two of the longest records (RFC 8446 section 5.2), and a little: less of a third has to be moved to the front then.
const LARGE: usize = 33 * 1024;

/// What has come and is not understood yet.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Vec<u8>,
    start: usize,
    at_once: usize,
    is_drained: bool,
}

impl Default for Received {
    fn default() -> Self {
        Self { bytes: Vec::new(), start: 0, at_once: SMALL, is_drained: false }
    }
}

impl Received {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }

    /// So much of the front has been understood.
    pub(super) fn discard(&mut self, count: usize) {
        self.start = self.start.saturating_add(count);
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Whether the socket held no more than was last received.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// What it holds memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Receives more. Ready with 0 at the end. While it waits it holds memory for no more than twice the bytes that
    /// there are, and 4 KiB.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn poll_fill<S>(&mut self, context: &mut Context<'_>, socket: &mut S) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        let length = self.bytes().len();
        let wanted = self.at_once.saturating_sub(length).max(SMALL);
        if self.bytes.capacity() - self.bytes.len() < wanted {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.reserve_exact(wanted);
        }
        let room = self.bytes.capacity() - self.bytes.len();
        let received = pin!(socket.read_buf(&mut self.bytes)).poll(context);
        match &received {
            Poll::Ready(Ok(count)) => {
                self.is_drained = *count < room;
                if !self.is_drained {
                    self.at_once = (self.at_once * 2).min(LARGE);
                } else if *count < SMALL {
                    self.at_once = SMALL;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending if self.bytes.capacity() > 2 * length + SMALL || length == 0 => {
                self.bytes.drain(..self.start);
                self.start = 0;
                self.bytes.shrink_to_fit();
            }
            Poll::Pending => {}
        }
        received
    }
}
