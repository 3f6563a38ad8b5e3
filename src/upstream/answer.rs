//! What an upstream sends is not trusted either: an answer whose length has two meanings is no answer.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Response, StatusCode};

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

/// Whether an answer with status 101 switches to WebSocket and to nothing else (RFC 9110 section 15.2.2, RFC 6455
/// section 4.1).
pub(super) fn switches_to_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = elements(headers, &UPGRADE);
    let only = protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none();
    only && elements(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).iter();
    let elements = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
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

    #[test]
    fn only_a_switch_to_websocket_is_one() {
        let cases: [(&[(&str, &str)], bool); 9] = [
            (&[("upgrade", "websocket"), ("connection", "upgrade")], true),
            (&[("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")], true),
            (&[("upgrade", "websocket"), ("connection", "keep-alive"), ("connection", "upgrade")], true),
            (&[("upgrade", "websocket")], false),
            (&[("connection", "upgrade")], false),
            (&[("upgrade", "h2c"), ("connection", "upgrade")], false),
            (&[("upgrade", "websocket, h2c"), ("connection", "upgrade")], false),
            (&[("upgrade", "h2c"), ("upgrade", "websocket"), ("connection", "upgrade")], false),
            (&[("upgrade", "websocket/13"), ("connection", "upgrade")], false),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(switches_to_websocket(&headers), expected, "{fields:?}");
        }
    }
}
