//! The head of an answer: read with httparse, and how the body behind it is delimited (RFC 9112 section 6.3).
//!
//! Pure. What makes an answer's length ambiguous is refused here or, where it concerns every protocol, by
//! [`crate::upstream::answer`].

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};

use super::body::Delimiter;
use super::chunked::Chunked;

/// The head of an answer may be this long; nginx's default, with room.
pub(super) const LONGEST_HEAD: usize = 64 * 1024;
/// And have this many fields.
const MOST_FIELDS: usize = 200;
/// Fields that may be added to an answer before it goes on.
const ROOM: usize = 4;

/// It is not HTTP/1, or goes beyond a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What the head of an answer says.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) answer: Response<()>,
    pub(super) delimiter: Delimiter,
    /// Whether the connection may be used again after it.
    pub(super) keeps: bool,
}

/// Reads a head as its bytes come in.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// Bytes in which the end of the head was looked for in vain.
    searched: usize,
}

impl HeadReader {
    /// Takes a head from the front of `buffer`; `None` when it is not complete. `is_head` tells whether HEAD was asked.
    ///
    /// # Errors
    /// When it is no head, or too long.
    pub(super) fn read(&mut self, buffer: &mut BytesMut, is_head: bool) -> Result<Option<Head>, Malformed> {
        if buffer.is_empty() || !self.may_be_complete(buffer) {
            return Ok(None);
        }
        let head = read_head(buffer, is_head)?;
        self.searched = if head.is_some() { 0 } else { buffer.len() };
        if head.is_none() && buffer.len() >= LONGEST_HEAD {
            return Err(Malformed);
        }
        Ok(head)
    }

    /// A head that comes byte by byte is not parsed each time: only its beginning, and what may be its end.
    fn may_be_complete(&mut self, buffer: &BytesMut) -> bool {
        if self.searched == 0 || buffer.len() >= LONGEST_HEAD {
            return true;
        }
        let news = buffer.get(self.searched.saturating_sub(3)..).unwrap_or_default();
        self.searched = buffer.len();
        memchr::memmem::find(news, b"\n\r\n").is_some() || memchr::memmem::find(news, b"\n\n").is_some()
    }
}

fn read_head(buffer: &mut BytesMut, is_head: bool) -> Result<Option<Head>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, buffer, &mut fields)
        .map_err(|_| Malformed)?;
    let Status::Complete(length) = status else { return Ok(None) };
    if length > LONGEST_HEAD {
        return Err(Malformed);
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
    let is_http_11 = parsed.version == Some(1);
    let headers = table(buffer.get(..length).unwrap_or_default(), parsed.headers)?;
    buffer.advance(length);

    let mut answer = Response::new(());
    *answer.status_mut() = status;
    *answer.version_mut() = if is_http_11 { Version::HTTP_11 } else { Version::HTTP_10 };
    *answer.headers_mut() = headers;
    let delimiter = delimiter(&answer, is_head)?;
    let keeps = keeps(&answer) && !matches!(delimiter, Delimiter::Close);
    Ok(Some(Head { answer, delimiter, keeps }))
}

/// Takes a section of fields from the front of `buffer`; `None` when it is not complete.
pub(super) fn read_fields(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let Status::Complete((length, parsed)) = httparse::parse_headers(buffer, &mut fields).map_err(|_| Malformed)?
    else {
        return Ok(None);
    };
    let headers = table(buffer.get(..length).unwrap_or_default(), parsed)?;
    buffer.advance(length);
    Ok(Some(headers))
}

/// The fields that were found in `section`. They share a copy of it: HTTP/2 remembers an answer's fields for as long as
/// its client's connection lives, and would keep all that was read with them.
fn table(section: &[u8], fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Malformed> {
    let copy = Bytes::copy_from_slice(section);
    let mut headers = HeaderMap::with_capacity(fields.len() + ROOM);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
        let start = field.value.as_ptr().addr().wrapping_sub(section.as_ptr().addr());
        // An empty value points anywhere.
        let is_inside = start.checked_add(field.value.len()).is_some_and(|end| end <= copy.len());
        let value = match field.value {
            [] => Bytes::new(),
            value if is_inside => copy.slice(start..start + value.len()),
            _ => return Err(Malformed),
        };
        headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)?);
    }
    Ok(headers)
}

fn delimiter(answer: &Response<()>, is_head: bool) -> Result<Delimiter, Malformed> {
    let (status, headers) = (answer.status(), answer.headers());
    let has_none = is_head || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    if let Some(coding) = headers.get(TRANSFER_ENCODING) {
        // An HTTP/1.0 answer cannot have one (RFC 9112 section 6.1); one that is not chunked has no end of its own.
        if answer.version() == Version::HTTP_10 || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed);
        }
        return Ok(if has_none { Delimiter::None } else { Delimiter::Chunked(Chunked::default()) });
    }
    let length = headers.get(CONTENT_LENGTH).map(length).transpose()?;
    Ok(match (has_none, length) {
        (true, _) | (false, Some(0)) => Delimiter::None,
        (false, Some(rest)) => Delimiter::Length(rest),
        (false, None) => Delimiter::Close,
    })
}

/// Digits alone: no sign, no list, no space (RFC 9110 section 8.6).
fn length(value: &HeaderValue) -> Result<u64, Malformed> {
    let text = value.to_str().map_err(|_| Malformed)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    text.parse().map_err(|_| Malformed)
}

/// Whether the upstream keeps the connection (RFC 9112 section 9.3).
fn keeps(answer: &Response<()>) -> bool {
    let options =
        || answer.headers().get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let says = |wanted: &[u8]| options().any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted));
    if answer.version() == Version::HTTP_11 { !says(b"close") } else { says(b"keep-alive") && !says(b"close") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, is_head: bool) -> Result<Option<Head>, Malformed> {
        HeadReader::default().read(&mut BytesMut::from(text), is_head)
    }

    /// How a body ends, and whether the connection can be used again.
    fn framing(text: &str, is_head: bool) -> Result<(&'static str, bool), Malformed> {
        let head = read(&text.replace('|', "\r\n"), is_head)?.expect("a whole head");
        let delimiter = match head.delimiter {
            Delimiter::None => "none",
            Delimiter::Length(_) => "length",
            Delimiter::Chunked(_) => "chunked",
            Delimiter::Close => "close",
        };
        Ok((delimiter, head.keeps))
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK|Content-Length: 5||", Ok(("length", true))),
            ("HTTP/1.1 200||", Ok(("close", false))),
            ("HTTP/1.1 200 OK|Content-Length: 0||", Ok(("none", true))),
            ("HTTP/1.1 200 OK|Transfer-Encoding: Chunked||", Ok(("chunked", true))),
            ("HTTP/1.1 200 OK|Content-Length: 5|Connection: x, Close||", Ok(("length", false))),
            ("HTTP/1.0 200 OK|Content-Length: 5||", Ok(("length", false))),
            ("HTTP/1.0 200 OK|Content-Length: 5|Connection: Keep-Alive||", Ok(("length", true))),
            ("HTTP/1.0 200 OK|Connection: keep-alive||", Ok(("close", false))),
            ("HTTP/1.1 204 No Content||", Ok(("none", true))),
            ("HTTP/1.1 204 No Content|Content-Length: 5||", Ok(("none", true))),
            ("HTTP/1.1 304 Not Modified|Content-Length: 5||", Ok(("none", true))),
            ("HTTP/1.1 101 Switching Protocols|Upgrade: websocket||", Ok(("none", true))),
            ("HTTP/1.1 200 OK|Content-Length: +5||", Err(Malformed)),
            ("HTTP/1.1 200 OK|Content-Length: -5||", Err(Malformed)),
            ("HTTP/1.1 200 OK|Content-Length: 5, 5||", Err(Malformed)),
            ("HTTP/1.1 200 OK|Content-Length:||", Err(Malformed)),
            ("HTTP/1.1 200 OK|Content-Length: 99999999999999999999||", Err(Malformed)),
            ("HTTP/1.1 200 OK|Transfer-Encoding: gzip||", Err(Malformed)),
            ("HTTP/1.0 200 OK|Transfer-Encoding: chunked||", Err(Malformed)),
            ("HTTP/1.1 99 Low||", Err(Malformed)),
            ("HTTP/1.2 200 OK||", Err(Malformed)),
            ("HTTP/2 200 OK||", Err(Malformed)),
            ("ICY 200 OK||", Err(Malformed)),
            ("HTTP/1.1 200 OK|Bad Name: 1||", Err(Malformed)),
            ("HTTP/1.1 200 OK|Name : 1||", Err(Malformed)),
            ("HTTP/1.1 200 OK|x: 1| folded||", Err(Malformed)),
            ("HTTP/1.1 200 OK|x: a\0b||", Err(Malformed)),
        ] {
            assert_eq!(framing(text, false), expected, "{text}");
        }
        assert_eq!(framing("HTTP/1.1 200 OK|Content-Length: 5||", true), Ok(("none", true)), "to HEAD");
        assert_eq!(framing("HTTP/1.1 200 OK|Transfer-Encoding: chunked||", true), Ok(("none", true)), "to HEAD");
    }

    #[test]
    fn fields_are_kept_as_they_came() {
        let head = read("HTTP/1.1 200 OK\r\nX-A: one\r\nX-Empty:\r\nx-a:  two \r\nX-Raw: \u{e9}\r\n\r\nrest", false);
        let head = head.unwrap().unwrap();
        let all: Vec<_> = head.answer.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        assert_eq!(all, [("x-a", &b"one"[..]), ("x-a", b"two"), ("x-empty", b""), ("x-raw", "\u{e9}".as_bytes())]);
    }

    #[test]
    fn a_head_has_bounds() {
        let fields = |count: usize| format!("HTTP/1.1 204 X\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(matches!(read(&fields(MOST_FIELDS), false), Ok(Some(_))));
        assert!(matches!(read(&fields(MOST_FIELDS + 1), false), Err(Malformed)));
        let long = |length: usize| format!("HTTP/1.1 204 X\r\na: {}\r\n\r\n", "b".repeat(length - 23));
        assert!(matches!(read(&long(LONGEST_HEAD), false), Ok(Some(_))));
        assert!(matches!(read(&long(LONGEST_HEAD + 1), false), Err(Malformed)));
        let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::from("HTTP/1.1 204 X\r\na: "));
        let mut outcome = reader.read(&mut buffer, false);
        while matches!(outcome, Ok(None)) {
            assert!(buffer.len() < LONGEST_HEAD, "a head without an end is not waited for");
            buffer.extend_from_slice(&[b'b'; 100]);
            outcome = reader.read(&mut buffer, false);
        }
        assert!(matches!(outcome, Err(Malformed)));
    }

    proptest! {
        #[test]
        fn a_head_that_comes_in_pieces_is_the_same(
            fields in prop::collection::vec(("[a-z]{1,8}", "[ -~]{0,12}"), 0..12),
            line_end in prop::sample::select(vec!["\r\n", "\n"]),
            cuts in prop::collection::vec(1..9_usize, 1..40),
        ) {
            let mut text = format!("HTTP/1.1 200 OK{line_end}");
            for (name, value) in &fields {
                text.push_str(&format!("x-{name}: {value}{line_end}"));
            }
            text.push_str(line_end);
            let whole = read(&text, false).unwrap().unwrap();
            text.push_str("the body");
            let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::new());
            let (mut rest, mut cuts, mut found) = (text.as_bytes(), cuts.iter().cycle(), None);
            while found.is_none() {
                prop_assert!(!rest.is_empty());
                let (piece, other) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                buffer.extend_from_slice(piece);
                rest = other;
                found = reader.read(&mut buffer, false).unwrap();
            }
            let found = found.unwrap();
            prop_assert_eq!(found.answer.headers(), whole.answer.headers());
            buffer.extend_from_slice(rest);
            prop_assert_eq!(&buffer[..], b"the body");
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = HeadReader::default().read(&mut BytesMut::from(&bytes[..]), false);
            let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
            text.extend_from_slice(&bytes);
            let _ = HeadReader::default().read(&mut BytesMut::from(&text[..]), false);
        }
    }
}
