//! A stream that sends once a turn, and not at every flush.
//!
//! h2 flushes whenever it has written a frame with a body, and each time it has looked for a request. Behind a cork a
//! flush is only noted; once h2 has had its turn all it wrote goes out together. What it reads in a turn has a bound,
//! too: it reads for all its streams, and they pass it on when they have theirs.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read in a turn. More would have left the processor's cache before those it is for have had theirs.
const MOST_READ: usize = 128 * 1024;

/// The end that reads and writes.
#[derive(Debug)]
pub(super) struct Corked<S>(Arc<Mutex<Shared<S>>>);

/// The end that sends.
#[derive(Debug)]
pub(super) struct Cork<S>(Arc<Mutex<Shared<S>>>);

#[derive(Debug)]
struct Shared<S> {
    stream: S,
    /// In this turn.
    read: usize,
}

/// Puts a cork on a stream.
pub(super) fn cork<S>(stream: S) -> (Corked<S>, Cork<S>) {
    let shared = Arc::new(Mutex::new(Shared { stream, read: 0 }));
    (Corked(Arc::clone(&shared)), Cork(shared))
}

fn lock<S>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    /// Ends a turn: sends what was written in it.
    pub(super) fn poll_pull(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        shared.read = 0;
        Pin::new(&mut shared.stream).poll_flush(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        if shared.read >= MOST_READ {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut shared.stream).poll_read(context, buffer);
        shared.read += buffer.filled().len() - before;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_flushed_goes_out_when_the_cork_is_pulled() {
        let (ours, mut theirs) = duplex(64);
        let (mut corked, cork) = cork(BufWriter::new(ours));
        corked.write_all(b"one").await.unwrap();
        corked.flush().await.unwrap();
        corked.write_all(b" two").await.unwrap();
        corked.flush().await.unwrap();
        let mut bytes = [0; 16];
        let early = poll_fn(|context| Poll::Ready(pinned_read(&mut theirs, context, &mut bytes).is_pending())).await;
        assert!(early, "nothing has gone out");
        poll_fn(|context| cork.poll_pull(context)).await.unwrap();
        assert_eq!(theirs.read(&mut bytes).await.unwrap(), 7);
        assert_eq!(bytes.get(..7), Some(b"one two".as_slice()));
        theirs.write_all(b"three").await.unwrap();
        assert_eq!(corked.read(&mut bytes).await.unwrap(), 5);
        corked.write_all(b"four").await.unwrap();
        corked.shutdown().await.unwrap();
        assert_eq!(theirs.read(&mut bytes).await.unwrap(), 4, "an end takes all with it");
    }

    #[tokio::test]
    async fn what_is_read_in_a_turn_is_bounded_and_the_next_goes_on() {
        let (ours, mut theirs) = duplex(4 * MOST_READ);
        let (mut corked, cork) = cork(ours);
        theirs.write_all(&vec![b'x'; 2 * MOST_READ]).await.unwrap();
        let mut buffer = vec![0; 10_000];
        let mut turns = Vec::new();
        while turns.iter().sum::<usize>() < 2 * MOST_READ {
            let read = poll_fn(|context| {
                let mut read = 0;
                loop {
                    let mut buffer = ReadBuf::new(&mut buffer);
                    match Pin::new(&mut corked).poll_read(context, &mut buffer) {
                        Poll::Ready(result) => result.unwrap(),
                        Poll::Pending => return Poll::Ready(read),
                    }
                    read += buffer.filled().len();
                }
            });
            turns.push(read.await);
            poll_fn(|context| cork.poll_pull(context)).await.unwrap();
        }
        assert_eq!(turns.len(), 2, "{turns:?}");
        assert!(turns.iter().all(|read| *read < MOST_READ + 10_000), "{turns:?}");
    }

    fn pinned_read(stream: &mut (impl AsyncRead + Unpin), context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<()> {
        Pin::new(stream).poll_read(context, &mut ReadBuf::new(bytes)).map(|_| ())
    }
}
