//! What an upstream sends is not trusted either: an answer whose length has two meanings is no answer.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Response, StatusCode};

/// Whether the framing of an answer has one meaning: not two lengths, not a length and a transfer coding, no coding
/// but `chunked` (RFC 9112 section 6.3), and no switch of protocols that nobody asked for.
pub(super) fn is_well_framed<B>(answer: &Response<B>) -> bool {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return false;
    }
    let mut lengths = answer.headers().get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return false;
    }
    let mut codings = answer.headers().get_all(TRANSFER_ENCODING).iter();
    match codings.next() {
        None => true,
        Some(coding) => {
            length.is_none() && codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_one_length() {
        let cases: [(u16, &[(&str, &str)], bool); 9] = [
            (200, &[], true),
            (200, &[("content-length", "3")], true),
            (200, &[("transfer-encoding", "chunked")], true),
            (200, &[("transfer-encoding", "Chunked")], true),
            (200, &[("content-length", "3"), ("content-length", "3")], false),
            (200, &[("content-length", "3"), ("transfer-encoding", "chunked")], false),
            (200, &[("transfer-encoding", "gzip, chunked")], false),
            (200, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            (101, &[("upgrade", "websocket")], false),
        ];
        for (status, headers, expected) in cases {
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            assert_eq!(is_well_framed(&answer.body(()).unwrap()), expected, "{status} {headers:?}");
        }
    }
}
