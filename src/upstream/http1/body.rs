//! The body of an answer over HTTP/1.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::Connection;
use super::answer::Malformed;
use super::chunked::{Chunked, Piece};
use crate::upstream::body::AnswerCut;
use crate::upstream::lease::Lease;
use crate::upstream::outlier::Fault;
use crate::upstream::upgraded::Upgraded;

/// What ends a body (RFC 9112 section 6.3).
#[derive(Debug, Default)]
pub(super) enum Delimiter {
    /// There is none, or no more of it.
    #[default]
    None,
    /// Its length, of which so much is to come.
    Length(u64),
    Chunked(Chunked),
    /// The end of the connection.
    Close,
}

impl Delimiter {
    /// Takes the next piece from the front of `buffer`.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Malformed> {
        let piece = match self {
            Self::None => Piece::End,
            Self::Chunked(chunked) => chunked.next(buffer)?,
            Self::Length(_) | Self::Close if buffer.is_empty() => Piece::Starved,
            Self::Length(rest) => {
                let length = usize::try_from(*rest).unwrap_or(usize::MAX).min(buffer.len());
                *rest -= length as u64;
                Piece::Data(buffer.split_to(length).freeze())
            }
            Self::Close => Piece::Data(buffer.split().freeze()),
        };
        let is_over = match (&piece, &mut *self) {
            (Piece::End | Piece::Trailers(_), _) => true,
            (Piece::Data(_), Self::Length(rest)) => *rest == 0,
            (Piece::Data(_), Self::Chunked(chunked)) => chunked.take_end(buffer),
            _ => false,
        };
        if is_over {
            *self = Self::None;
        }
        Ok(piece)
    }

    /// Whether the body is complete.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_by_close(&self) -> bool {
        matches!(self, Self::Close)
    }

    /// The length of what is to come, where it is known.
    pub(super) fn rest(&self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Length(rest) => Some(*rest),
            Self::Chunked(_) | Self::Close => None,
        }
    }
}

/// The body of an answer over HTTP/1. It drives the connection it comes from, which goes back to its endpoint's pool
/// when the body has ended well and is closed otherwise.
#[derive(Debug)]
pub(in crate::upstream) struct Http1Answer {
    /// `None` once the body has ended.
    source: Option<Source>,
    between_bytes: Duration,
    /// What the connection has become, where there is no body because of that.
    upgraded: Option<Box<Upgraded>>,
}

#[derive(Debug)]
struct Source {
    connection: Box<Connection>,
    lease: Lease,
    keep: bool,
}

impl Http1Answer {
    /// `keep` tells whether connections are reused at all.
    pub(in crate::upstream) fn new(
        connection: Box<Connection>,
        lease: Lease,
        between_bytes: Duration,
        keep: bool,
    ) -> Self {
        let is_over = connection.answer_is_over();
        let mut body = Self { source: Some(Source { connection, lease, keep }), between_bytes, upgraded: None };
        if is_over {
            body.end();
        }
        body
    }

    /// The empty body of an answer with status 101.
    pub(in crate::upstream) fn upgraded(upgraded: Upgraded) -> Self {
        Self { source: None, between_bytes: Duration::ZERO, upgraded: Some(Box::new(upgraded)) }
    }

    /// What the connection has become after an answer with status 101.
    pub(in crate::upstream) fn take_upgraded(&mut self) -> Option<Box<Upgraded>> {
        self.upgraded.take()
    }

    fn end(&mut self) {
        let Some(Source { mut connection, mut lease, keep }) = self.source.take() else { return };
        lease.succeeded();
        if keep && connection.rest() {
            lease.endpoint().put_idle(connection);
        }
    }

    fn cut(&mut self) {
        if let Some(mut source) = self.source.take() {
            source.lease.failed(Fault::Cut);
        }
    }
}

impl Body for Http1Answer {
    type Data = Bytes;
    type Error = AnswerCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerCut>>> {
        let this = &mut *self;
        let Some(source) = &mut this.source else { return Poll::Ready(None) };
        let frame = source.connection.poll_frame(context);
        let is_over = source.connection.answer_is_over();
        let watchdog = source.connection.watchdog();
        match frame {
            Poll::Pending => {
                if !watchdog.is_armed() {
                    watchdog.arm(Instant::now() + this.between_bytes);
                }
                watchdog.poll_expired(context).map(|()| {
                    this.cut();
                    Some(Err(AnswerCut::TimedOut))
                })
            }
            Poll::Ready(Err(cut)) => {
                this.cut();
                Poll::Ready(Some(Err(cut)))
            }
            Poll::Ready(Ok(frame)) => {
                watchdog.disarm();
                if is_over {
                    this.end();
                }
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.source.as_ref().map_or(Some(0), |source| source.connection.answer_rest());
        rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
