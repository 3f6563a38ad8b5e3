//! An answer read from bytes that are all at hand, by the same reader that reads sockets: what its properties are
//! checked with.

use bytes::BytesMut;
use http::{HeaderMap, Response, StatusCode};

use super::answer::HeadReader;
use super::chunked::Piece;
use crate::upstream::answer::is_well_framed;

/// An answer of which everything has come.
#[derive(Debug, Clone)]
pub struct WholeAnswer {
    /// The last head, with the body behind it.
    pub answer: Response<Vec<u8>>,
    /// What came behind the body.
    pub trailers: Option<HeaderMap>,
    /// Whether the connection may be used again.
    pub keeps: bool,
    /// Bytes that nobody asked for.
    pub left: usize,
}

/// Reads the answer to a request, HEAD if `is_head`, from a connection on which `bytes` come, `piece` at a time, and then
/// the end. `None` when that is no answer, or not all of one.
pub fn read_whole_answer(bytes: &[u8], is_head: bool, piece: usize) -> Option<WholeAnswer> {
    let (mut unread, mut pieces) = (BytesMut::new(), bytes.chunks(piece.max(1)));
    let mut reader = HeadReader::default();
    let head = loop {
        match reader.read(&mut unread, is_head).ok()? {
            Some(head) if head.answer.status() == StatusCode::SWITCHING_PROTOCOLS => return None,
            Some(head) if head.answer.status().is_informational() => {}
            Some(head) => break head,
            None => unread.extend_from_slice(pieces.next()?),
        }
    };
    if !is_well_framed(&head.answer) {
        return None;
    }
    let (mut delimiter, mut body, mut trailers) = (head.delimiter, Vec::new(), None);
    while !delimiter.is_over() {
        match delimiter.next(&mut unread).ok()? {
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::Trailers(fields) => trailers = Some(fields),
            Piece::End => {}
            Piece::Starved => match pieces.next() {
                Some(piece) => unread.extend_from_slice(piece),
                None if delimiter.ends_by_close() => break,
                None => return None,
            },
        }
    }
    let left = unread.len() + pieces.map(<[u8]>::len).sum::<usize>();
    Some(WholeAnswer { answer: head.answer.map(|()| body), trailers, keeps: head.keeps, left })
}
