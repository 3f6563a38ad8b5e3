//! A request on its way out: its head, and its body as far as it has come.

use std::collections::VecDeque;
use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::HeaderName;
use http::{HeaderMap, Method};
use http_body::{Body as _, Frame};

use super::socket::Socket;
use crate::upstream::body::{RequestBody, copy_of};
use crate::upstream::head::{Http1Head, write_field};

/// So much of a body is read before any of it is written: pieces that come together go out together.
const ENOUGH: usize = 64 * 1024;
/// And so many pieces: a body in very small ones is written sooner.
const MOST_PIECES: usize = 30;
/// With the head.
const MOST_AT_ONCE: usize = MOST_PIECES + 4;

/// The body could not be read: the client's doing.
#[derive(Debug)]
pub(super) struct BodyFailed;

/// What is being sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    head: Bytes,
    pieces: VecDeque<Bytes>,
    queued: usize,
    body: RequestBody,
    coding: Coding,
    /// What was read of the body while nothing was written: all of it can still go elsewhere.
    unsent: VecDeque<Frame<Bytes>>,
    has_written: bool,
}

/// How a body is delimited (RFC 9112 section 6).
#[derive(Debug, Default)]
enum Coding {
    /// There is none, or all of it has been read.
    #[default]
    Ended,
    /// By its length, of which so much is to come.
    Length(u64),
    /// By chunks, behind which come trailers of these names.
    Chunked(Vec<HeaderName>),
}

impl Outgoing {
    /// Begins a request. What is left of the one before is forgotten.
    pub(super) fn begin(&mut self, head: Http1Head, body: RequestBody) {
        let expects_body = matches!(*head.method(), Method::POST | Method::PUT | Method::PATCH);
        let (mut head, trailers) = head.into_parts();
        let coding = if body.is_end_stream() {
            // Where a body is expected, none is said to be none (RFC 9110 section 8.6).
            if expects_body {
                head.extend_from_slice(b"content-length: 0\r\n");
            }
            Coding::Ended
        } else if let Some(length) = body.size_hint().exact() {
            // A Vec takes everything.
            let _ = write!(head, "content-length: {length}\r\n");
            Coding::Length(length)
        } else {
            head.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Coding::Chunked(trailers)
        };
        head.extend_from_slice(b"\r\n");
        *self = Self { head: head.into(), body, coding, ..Self::default() };
    }

    /// Sends what can be sent now. Ready when all of the request is on its way.
    ///
    /// # Errors
    /// When the body could not be read. The request must not be completed then.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, socket: &mut Socket) -> Poll<Result<(), BodyFailed>> {
        loop {
            self.read_body(context)?;
            if self.head.is_empty() && self.pieces.is_empty() {
                ready!(socket.poll_flush(context));
                let is_ended = matches!(self.coding, Coding::Ended);
                return if is_ended { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            match self.poll_write(context, socket) {
                Poll::Ready(count) => self.advance(count),
                Poll::Pending => {
                    // It is not the client who is waited for.
                    self.body.waits_for_upstream();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.coding, Coding::Ended) && self.head.is_empty() && self.pieces.is_empty()
    }

    /// The body from its beginning, if not a byte of the request was written.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        let unsent = std::mem::take(&mut self.unsent);
        (!self.has_written).then(|| std::mem::take(&mut self.body).again(unsent))
    }

    /// Reads the body until there is enough to write, or nothing more for now.
    fn read_body(&mut self, context: &mut Context<'_>) -> Result<(), BodyFailed> {
        while !matches!(self.coding, Coding::Ended) && self.queued < ENOUGH && self.pieces.len() < MOST_PIECES {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Err(_))) => return Err(BodyFailed),
                Poll::Ready(None) => self.end(None)?,
                Poll::Ready(Some(Ok(frame))) => {
                    if !self.has_written {
                        self.unsent.push_back(copy_of(&frame));
                    }
                    match frame.into_data() {
                        Ok(data) => self.data(data)?,
                        Err(frame) => self.end(frame.trailers_ref())?,
                    }
                }
            }
        }
        if matches!(self.coding, Coding::Ended) && self.has_written {
            self.body = RequestBody::Empty;
        }
        Ok(())
    }

    fn data(&mut self, data: Bytes) -> Result<(), BodyFailed> {
        match &mut self.coding {
            _ if data.is_empty() => {}
            Coding::Ended => {}
            Coding::Length(rest) => {
                *rest = rest.checked_sub(data.len() as u64).ok_or(BodyFailed)?;
                if *rest == 0 {
                    self.coding = Coding::Ended;
                }
                self.push(data);
            }
            Coding::Chunked(_) => {
                self.push(format!("{:x}\r\n", data.len()).into());
                self.push(data);
                self.push(Bytes::from_static(b"\r\n"));
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BodyFailed> {
        match std::mem::take(&mut self.coding) {
            // It is shorter than it said.
            Coding::Length(_) => return Err(BodyFailed),
            Coding::Ended => {}
            Coding::Chunked(names) => {
                let mut last = b"0\r\n".to_vec();
                for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| names.contains(name)) {
                    write_field(name, value, &mut last);
                }
                last.extend_from_slice(b"\r\n");
                self.push(last.into());
            }
        }
        Ok(())
    }

    fn push(&mut self, piece: Bytes) {
        self.queued += piece.len();
        self.pieces.push_back(piece);
    }

    fn poll_write(&self, context: &mut Context<'_>, socket: &mut Socket) -> Poll<usize> {
        if self.pieces.is_empty() {
            return socket.poll_write(context, &[IoSlice::new(&self.head)]);
        }
        let mut slices = [IoSlice::new(&[]); MOST_AT_ONCE];
        let pieces = std::iter::once(&self.head[..]).chain(self.pieces.iter().map(AsRef::as_ref));
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        socket.poll_write(context, slices.get(..count).unwrap_or_default())
    }

    /// So much has been written.
    fn advance(&mut self, mut count: usize) {
        self.has_written = true;
        self.unsent.clear();
        let of_head = count.min(self.head.len());
        self.head.advance(of_head);
        count -= of_head;
        self.queued -= count;
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::future::poll_fn;
    use std::time::Duration;

    use http::HeaderValue;
    use http_body::{Body, SizeHint};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::upstream::head::Fields as _;
    use crate::upstream::stream::Stream;

    /// A body of which everything is there, and which says, or not, how long it is.
    struct Pieces(VecDeque<Frame<Bytes>>, Option<u64>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Box<dyn StdError + Send + Sync>;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let frame = self.0.pop_front();
            let length = frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
            self.1 = self.1.map(|rest| rest.saturating_sub(length));
            Poll::Ready(frame.map(Ok))
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn body(pieces: &[&str], trailers: &[(&'static str, &'static str)], length: Option<u64>) -> RequestBody {
        let mut frames: VecDeque<_> =
            pieces.iter().map(|piece| Frame::data(Bytes::from((*piece).to_owned()))).collect();
        if !trailers.is_empty() {
            let field = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            frames.push_back(Frame::trailers(trailers.iter().map(field).collect()));
        }
        RequestBody::streaming(Pieces(frames, length))
    }

    async fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = Stream::connect(listener.local_addr().unwrap(), None, Duration::from_secs(10));
        let (stream, peer) = tokio::join!(connect, listener.accept());
        (Socket::new(stream.unwrap()), peer.unwrap().0)
    }

    fn head(method: &Method, fields: &[(&'static str, &'static str)]) -> Http1Head {
        let mut head = Http1Head::new(method, "/p", Some("q"), None, 0);
        for (name, value) in fields {
            if *name == "trailer" {
                head.announce(vec![HeaderName::from_static(value)]);
            } else {
                head.put(&HeaderName::from_static(name), &HeaderValue::from_static(value));
            }
        }
        head
    }

    /// What is written of a request, and whether its body failed.
    async fn written(head: Http1Head, body: RequestBody) -> (String, bool) {
        let (mut socket, mut peer) = connected().await;
        let mut outgoing = Outgoing::default();
        outgoing.begin(head, body);
        let outcome = poll_fn(|context| outgoing.poll(context, &mut socket)).await;
        assert_eq!(outgoing.is_done(), outcome.is_ok());
        drop(socket);
        let mut text = String::new();
        peer.read_to_string(&mut text).await.unwrap();
        (text, outcome.is_err())
    }

    #[tokio::test]
    async fn a_body_is_delimited_by_what_is_known_of_it() {
        let trailers = [("x-sum", "5"), ("x-other", "6")];
        let announced: &[_] = &[("trailer", "x-sum")];
        let none: &[(&str, &str)] = &[];
        for (method, fields, body, expected) in [
            (Method::GET, none, RequestBody::Empty, "GET /p?q HTTP/1.1\r\n\r\n"),
            (Method::DELETE, none, RequestBody::Empty, "DELETE /p?q HTTP/1.1\r\n\r\n"),
            (Method::POST, none, RequestBody::Empty, "POST /p?q HTTP/1.1\r\ncontent-length: 0\r\n\r\n"),
            (
                Method::GET,
                &[("x-a", "1"), ("x-a", "2"), ("host", "h")],
                RequestBody::Empty,
                "GET /p?q HTTP/1.1\r\nx-a: 1\r\nx-a: 2\r\nhost: h\r\n\r\n",
            ),
            (
                Method::POST,
                none,
                body(&["ab", "", "c"], &trailers, Some(3)),
                "POST /p?q HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc",
            ),
            (
                Method::POST,
                none,
                body(&["ab", "", "0123456789"], &[], None),
                "POST /p?q HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\na\r\n0123456789\r\n0\r\n\r\n",
            ),
            (
                Method::PUT,
                announced,
                body(&["ab"], &trailers, None),
                "PUT /p?q HTTP/1.1\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
                 2\r\nab\r\n0\r\nx-sum: 5\r\n\r\n",
            ),
        ] {
            let case = format!("{method} {fields:?} {body:?}");
            assert_eq!(written(head(&method, fields), body).await, (expected.to_owned(), false), "{case}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_as_long_as_it_said_is_never_complete() {
        for (pieces, length) in [(&["abc"][..], 4), (&["abcd", "ef"], 5), (&[], 1)] {
            let (text, has_failed) = written(head(&Method::POST, &[]), body(pieces, &[], Some(length))).await;
            assert!(has_failed, "{pieces:?} for {length}");
            assert!(text.len() < "POST /p?q HTTP/1.1\r\ncontent-length: 4\r\n\r\n".len() + 4, "{text}");
        }
    }

    #[tokio::test]
    async fn what_was_not_written_can_be_had_back_from_its_beginning() {
        let mut outgoing = Outgoing::default();
        outgoing.begin(head(&Method::POST, &[]), body(&["ab", "cd"], &[], Some(4)));
        outgoing.read_body(&mut Context::from_waker(std::task::Waker::noop())).unwrap();
        let again = outgoing.take_unsent().unwrap();
        let (text, has_failed) = written(head(&Method::POST, &[]), again).await;
        assert_eq!((text.as_str(), has_failed), ("POST /p?q HTTP/1.1\r\ncontent-length: 4\r\n\r\nabcd", false));

        let (mut socket, _peer) = connected().await;
        outgoing.begin(head(&Method::POST, &[]), body(&["ab"], &[], Some(2)));
        poll_fn(|context| outgoing.poll(context, &mut socket)).await.unwrap();
        assert!(outgoing.take_unsent().is_none(), "it was written");
    }

    #[tokio::test]
    async fn a_long_body_is_read_only_as_it_is_written() {
        let (mut socket, peer) = connected().await;
        let piece = "x".repeat(16 * 1024);
        let pieces: Vec<&str> = (0..1024).map(|_| piece.as_str()).collect();
        let mut outgoing = Outgoing::default();
        outgoing.begin(head(&Method::POST, &[]), body(&pieces, &[], Some(16 << 20)));
        let mut context = Context::from_waker(std::task::Waker::noop());
        while outgoing.poll(&mut context, &mut socket).is_pending() {
            assert!(outgoing.queued < ENOUGH + piece.len(), "{} bytes wait", outgoing.queued);
            if peer.readable().await.is_ok() && peer.try_read(&mut [0; 64 * 1024]).is_err() {
                tokio::task::yield_now().await;
            }
        }
        assert!(outgoing.is_done());
    }
}
