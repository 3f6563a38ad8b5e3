//! One direction of a tunnel: bytes from one side to the other, as fast as the other takes them.
//!
//! What is read and not yet written is held, one piece at most, and nothing is read before it has gone: so a side that
//! does not read stops the other from sending. A direction in which nothing moves holds no buffer.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// What is read at once, and held while it waits.
const PIECE: usize = 16 * 1024;
/// After so many pieces the other direction gets its turn.
const MOST_PIECES: u32 = 8;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// The end of the last piece, which the other side has not taken yet.
    held: Bytes,
    stage: Stage,
    is_unflushed: bool,
    is_blocked: bool,
    frames: Frames,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The end was read and is to be passed on.
    Ending,
    /// The end was passed on, or cannot be.
    Ended,
}

/// What is wrong with a direction.
#[derive(Debug)]
pub(super) enum Fault {
    Read,
    /// It ended in the middle of a frame; the end is not passed on, since it is none.
    Truncated,
    Write(io::Error),
}

impl Pipe {
    /// Moves what can be moved now, and adds it to `moved`. Ready when the end has been passed on.
    pub(super) fn poll<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        moved: &mut u64,
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        // Wherever this ends early from here on, it is the writing that does not get on.
        self.is_blocked = true;
        while !self.held.is_empty() {
            let written = ready!(write(context, to, &self.held))?;
            self.frames.pass(&self.held.split_to(written));
            *moved += written as u64;
            self.is_unflushed = true;
        }
        for _ in 0..MOST_PIECES {
            if self.stage == Stage::Open {
                let mut room = [const { MaybeUninit::uninit() }; PIECE];
                let mut piece = ReadBuf::uninit(&mut room);
                match Pin::new(&mut *from).poll_read(context, &mut piece) {
                    Poll::Pending => {
                        ready!(self.flush(context, to))?;
                        self.is_blocked = false;
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(_)) => {
                        // What came before it goes out, if it can now.
                        let _ = self.flush(context, to);
                        return Poll::Ready(Err(Fault::Read));
                    }
                    Poll::Ready(Ok(())) if piece.filled().is_empty() => self.stage = Stage::Ending,
                    Poll::Ready(Ok(())) => ready!(self.pass(context, to, piece.filled(), moved))?,
                }
            }
            if self.stage == Stage::Ending {
                ready!(self.flush(context, to))?;
                if !self.frames.is_between_frames() {
                    return Poll::Ready(Err(Fault::Truncated));
                }
                ready!(Pin::new(&mut *to).poll_shutdown(context)).map_err(Fault::Write)?;
                self.stage = Stage::Ended;
            }
            if self.stage == Stage::Ended {
                self.is_blocked = false;
                return Poll::Ready(Ok(()));
            }
        }
        self.is_blocked = false;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the other side takes nothing of what it is to get.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Whether the end has been read.
    pub(super) fn is_ending(&self) -> bool {
        self.stage != Stage::Open
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Nothing is passed on any more: nobody takes it.
    pub(super) fn give_up(&mut self) {
        *self = Self { stage: Stage::Ended, frames: self.frames, ..Self::default() };
    }

    /// Where the stream stands that the other side was given.
    pub(super) fn frames(&self) -> Frames {
        self.frames
    }

    fn pass<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        to: &mut W,
        mut piece: &[u8],
        moved: &mut u64,
    ) -> Poll<Result<(), Fault>> {
        while !piece.is_empty() {
            let Poll::Ready(written) = write(context, to, piece) else {
                self.held = Bytes::copy_from_slice(piece);
                return Poll::Pending;
            };
            let (written, rest) = piece.split_at_checked(written?).unwrap_or((piece, &[]));
            self.frames.pass(written);
            *moved += written.len() as u64;
            self.is_unflushed = true;
            piece = rest;
        }
        Poll::Ready(Ok(()))
    }

    fn flush<W: AsyncWrite + Unpin>(&mut self, context: &mut Context<'_>, to: &mut W) -> Poll<Result<(), Fault>> {
        if self.is_unflushed {
            ready!(Pin::new(to).poll_flush(context)).map_err(Fault::Write)?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn write<W: AsyncWrite + Unpin>(context: &mut Context<'_>, to: &mut W, bytes: &[u8]) -> Poll<Result<usize, Fault>> {
    match ready!(Pin::new(to).poll_write(context, bytes)) {
        Ok(0) => Poll::Ready(Err(Fault::Write(io::ErrorKind::WriteZero.into()))),
        Ok(written) => Poll::Ready(Ok(written)),
        Err(error) => Poll::Ready(Err(Fault::Write(error))),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_side_that_does_not_read_stops_the_other_from_sending() {
        let (mut sender, mut from) = duplex(1024);
        let (mut to, mut receiver) = duplex(1024);
        let mut pipe = Pipe::default();
        let mut moved = 0;
        let mut context = Context::from_waker(Waker::noop());
        let mut sent = 0;
        while let Poll::Ready(Ok(written)) = Pin::new(&mut sender).poll_write(&mut context, &[0; 700]) {
            sent += written;
            assert!(pipe.poll(&mut context, &mut from, &mut to, &mut moved).is_pending());
        }
        assert!(pipe.is_blocked() && sent <= 3 * 1024 + 700, "{sent}");
        assert!(pipe.held.len() <= PIECE && moved == 1024);

        drop(sender);
        let mut received = Vec::new();
        let (ended, read) = tokio::join!(
            poll_fn(|context| pipe.poll(context, &mut from, &mut to, &mut moved)),
            receiver.read_to_end(&mut received)
        );
        assert!(ended.is_ok() && read.is_ok());
        assert_eq!((received.len(), moved), (sent, sent as u64));
        assert!(pipe.has_ended() && !pipe.is_blocked() && pipe.held.is_empty());
    }

    #[tokio::test]
    async fn an_idle_direction_holds_nothing_and_an_end_is_passed_on_behind_the_last_byte() {
        let (mut sender, mut from) = duplex(1024);
        let (mut to, mut receiver) = duplex(1024);
        let mut pipe = Pipe::default();
        let mut moved = 0;
        sender.write_all(b"\x81\x02hi\x88").await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pipe.poll(&mut context, &mut from, &mut to, &mut moved).is_pending());
        assert!(!pipe.is_blocked() && pipe.held.is_empty() && !pipe.is_ending());
        assert!(!pipe.frames().is_between_frames() && pipe.frames().has_closed());
        sender.write_all(b"\0").await.unwrap();
        sender.shutdown().await.unwrap();
        assert!(matches!(pipe.poll(&mut context, &mut from, &mut to, &mut moved), Poll::Ready(Ok(()))));
        let mut received = Vec::new();
        receiver.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"\x81\x02hi\x88\0");
    }

    #[tokio::test]
    async fn an_end_inside_of_a_frame_is_none() {
        let (mut sender, mut from) = duplex(1024);
        let (mut to, mut receiver) = duplex(1024);
        let mut pipe = Pipe::default();
        sender.write_all(b"\x81\x02h").await.unwrap();
        drop(sender);
        let mut context = Context::from_waker(Waker::noop());
        let poll = pipe.poll(&mut context, &mut from, &mut to, &mut 0);
        assert!(matches!(poll, Poll::Ready(Err(Fault::Truncated))) && !pipe.has_ended());
        let mut received = [0; 8];
        assert_eq!(receiver.read(&mut received).await.unwrap(), 3);
        assert!(Pin::new(&mut receiver).poll_read(&mut context, &mut ReadBuf::new(&mut received)).is_pending());
    }
}
