//! The chunked transfer coding of an answer (RFC 9112 section 7.1), taken apart as it comes in: pure, and stricter than
//! the grammar asks for, since what two programs read in two ways is how answers are smuggled.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;

use super::answer::{Malformed, read_fields};

/// A chunk's size has no more digits: 2^60 is more than any body.
const MOST_DIGITS: u8 = 15;
/// Bytes of extensions, which mean nothing here, in a whole body.
const MOST_EXTENSIONS: usize = 16 * 1024;
/// Bytes of all trailers together.
const MOST_TRAILERS: usize = 16 * 1024;

/// Where in the coding a body is.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a size, of which so many have been read.
    Size {
        size: u64,
        digits: u8,
    },
    /// In the space behind them, which some servers pad a line with.
    Padding {
        size: u64,
    },
    /// In what is to be skipped.
    Extension {
        size: u64,
    },
    /// At the line feed that ends the line of a size.
    SizeEnd {
        size: u64,
    },
    /// In a chunk, of which so much is to come; never nothing.
    Data {
        rest: u64,
    },
    /// Behind a chunk.
    DataEnd {
        line_feed: bool,
    },
    /// Behind the last chunk.
    Trailers,
    Ended,
}

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The body is complete.
    End,
    /// More has to be read first.
    Starved,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extensions: 0 }
    }
}

impl Chunked {
    /// Takes the next piece from the front of `buffer`.
    ///
    /// # Errors
    /// When it is not the chunked coding, or goes beyond the bounds on extensions and trailers.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Malformed> {
        loop {
            match self.state {
                State::Ended => return Ok(Piece::End),
                State::Trailers => return self.trailers(buffer),
                State::Data { rest } => {
                    let length = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
                    if length == 0 {
                        return Ok(Piece::Starved);
                    }
                    let rest = rest - length as u64;
                    self.state = if rest == 0 { State::DataEnd { line_feed: false } } else { State::Data { rest } };
                    return Ok(Piece::Data(buffer.split_to(length).freeze()));
                }
                State::Size { .. }
                | State::Padding { .. }
                | State::Extension { .. }
                | State::SizeEnd { .. }
                | State::DataEnd { .. } => {
                    let Some(byte) = buffer.first().copied() else { return Ok(Piece::Starved) };
                    buffer.advance(1);
                    self.state = self.step(byte)?;
                }
            }
        }
    }

    /// Takes the end of the body if that is all that comes next; nothing otherwise. So the last piece is known to be
    /// the last when the end came with it.
    pub(super) fn take_end(&mut self, buffer: &mut BytesMut) -> bool {
        const ENDS: [(State, &[u8]); 2] = [
            (State::DataEnd { line_feed: false }, b"\r\n0\r\n\r\n"),
            (State::Size { size: 0, digits: 0 }, b"0\r\n\r\n"),
        ];
        let end = ENDS.iter().find(|(state, end)| self.state == *state && buffer.starts_with(end));
        if let Some((_, end)) = end {
            buffer.advance(end.len());
            self.state = State::Ended;
        }
        end.is_some()
    }

    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        match self.state {
            State::Size { size, digits } => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if digits < MOST_DIGITS => {
                    Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
                }
                (None, b'\r') if digits > 0 => Ok(State::SizeEnd { size }),
                (None, b';') if digits > 0 => Ok(State::Extension { size }),
                (None, b' ' | b'\t') if digits > 0 => Ok(State::Padding { size }),
                _ => Err(Malformed),
            },
            State::Padding { size } => {
                self.extensions += 1;
                match byte {
                    b'\r' => Ok(State::SizeEnd { size }),
                    b';' => Ok(State::Extension { size }),
                    b' ' | b'\t' if self.extensions <= MOST_EXTENSIONS => Ok(State::Padding { size }),
                    _ => Err(Malformed),
                }
            }
            State::Extension { size } => {
                self.extensions += 1;
                match byte {
                    b'\r' => Ok(State::SizeEnd { size }),
                    b'\n' | 0 => Err(Malformed),
                    _ if self.extensions > MOST_EXTENSIONS => Err(Malformed),
                    _ => Ok(State::Extension { size }),
                }
            }
            State::SizeEnd { size } => match (byte, size) {
                (b'\n', 0) => Ok(State::Trailers),
                (b'\n', rest) => Ok(State::Data { rest }),
                _ => Err(Malformed),
            },
            State::DataEnd { line_feed: false } if byte == b'\r' => Ok(State::DataEnd { line_feed: true }),
            State::DataEnd { line_feed: true } if byte == b'\n' => Ok(State::Size { size: 0, digits: 0 }),
            State::DataEnd { .. } | State::Data { .. } | State::Trailers | State::Ended => Err(Malformed),
        }
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Piece, Malformed> {
        if buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.state = State::Ended;
            return Ok(Piece::End);
        }
        let end = memchr::memmem::find(buffer, b"\r\n\r\n").unwrap_or(buffer.len());
        let section = buffer.get(..end).unwrap_or_default();
        // Heads may end their lines otherwise, for the sake of old servers; here nothing speaks for it.
        let is_bare = |at: usize| at.checked_sub(1).and_then(|before| section.get(before)) != Some(&b'\r');
        if memchr::memchr_iter(b'\n', section).any(is_bare) {
            return Err(Malformed);
        }
        match read_fields(buffer)? {
            Some(trailers) => {
                self.state = State::Ended;
                Ok(Piece::Trailers(trailers))
            }
            None if buffer.len() > MOST_TRAILERS => Err(Malformed),
            None => Ok(Piece::Starved),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Reads what comes in such pieces. Tells the body, the trailers, and what is left behind the end.
    fn read<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<(Vec<u8>, HeaderMap, Vec<u8>)>, Malformed> {
        let (mut chunked, mut buffer) = (Chunked::default(), BytesMut::new());
        let (mut body, mut trailers, mut ended) = (Vec::new(), HeaderMap::new(), false);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while !ended {
                match chunked.next(&mut buffer)? {
                    Piece::Data(data) => {
                        assert!(!data.is_empty());
                        body.extend_from_slice(&data);
                        ended = chunked.take_end(&mut buffer);
                    }
                    Piece::Trailers(fields) => trailers = fields,
                    Piece::End => ended = true,
                    Piece::Starved => break,
                }
            }
        }
        Ok(ended.then(|| (body, trailers, buffer.to_vec())))
    }

    #[test]
    fn what_is_not_the_coding_is_refused() {
        for text in [
            "\r\n",
            ";x\r\n",
            " 3\r\nabc\r\n",
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "-3\r\nabc\r\n",
            "+3\r\nabc\r\n",
            "0x3\r\nabc\r\n",
            "3_\r\nabc\r\n",
            "3 x\r\nabc\r\n",
            "3;a\nb\r\nabc\r\n",
            "3;\0\r\nabc\r\n",
            "3\rx",
            "ffffffffffffffff\r\n",
            "0000000000000003\r\nabc\r\n",
            "0\r\n\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx: y\r\n\n",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\nbad : trailer\r\n\r\n",
            "0\r\nx: a\r\n folded\r\n\r\n",
        ] {
            assert_eq!(read([text.as_bytes()]), Err(Malformed), "{text:?}");
        }
        let long = format!("3;{}", "x".repeat(MOST_EXTENSIONS + 1));
        assert_eq!(read([long.as_bytes()]), Err(Malformed));
        let long = format!("3{}", " ".repeat(MOST_EXTENSIONS + 2));
        assert_eq!(read([long.as_bytes()]), Err(Malformed));
        let many = "1;aaaaaaaaaaaaaaa\r\nx\r\n".repeat(MOST_EXTENSIONS / 16 + 1);
        assert_eq!(read([many.as_bytes()]), Err(Malformed), "all of a body's together");
        let long = format!("0\r\nx: {}", "y".repeat(MOST_TRAILERS));
        assert_eq!(read([long.as_bytes()]), Err(Malformed));
    }

    #[test]
    fn what_is_the_coding_is_taken_apart() {
        let none = HeaderMap::new();
        let rest = |text: &str| text.as_bytes().to_vec();
        for (text, body, left) in [
            ("0\r\n\r\n", "", ""),
            ("3\r\nabc\r\n0\r\n\r\n", "abc", ""),
            ("A;x=\"y\"\r\n0123456789\r\n000 \r\n\r\nHTTP/1.1 200", "0123456789", "HTTP/1.1 200"),
            ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n\r\n", "abc", "\r\n"),
        ] {
            assert_eq!(read([text.as_bytes()]), Ok(Some((rest(body), none.clone(), rest(left)))), "{text:?}");
        }
        let (_, trailers, _) = read([&b"0\r\nX-Sum: 5\r\n\r\n"[..]]).unwrap().unwrap();
        assert_eq!(trailers.get("x-sum"), Some(&HeaderValue::from_static("5")));
        assert_eq!(read([&b"3\r\nabc\r\n0\r\n"[..]]), Ok(None), "not complete");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_reads_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            trailer in any::<bool>(),
            cuts in prop::collection::vec(1..9_usize, 1..80),
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(if trailer { b"0\r\nx: y\r\n\r\n" } else { b"0\r\n\r\n" });
            let mut pieces = Vec::new();
            let (mut rest, mut cuts) = (&text[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, other) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                pieces.push(piece);
                rest = other;
            }
            let (body, trailers, left) = read(pieces).unwrap().unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert_eq!(trailers.len(), usize::from(trailer));
            prop_assert_eq!(left, Vec::<u8>::new());
        }

        #[test]
        fn no_bytes_make_it_panic_or_hand_out_more_than_came(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((body, _, left))) = read([&bytes[..]]) {
                prop_assert!(body.len() + left.len() <= bytes.len());
            }
        }
    }
}
