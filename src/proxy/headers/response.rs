//! The headers and trailers of an upstream's answer on their way to the client.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRAILER};

use super::hop::{is_hop_by_hop, listed_by_connection};
use super::protected::is_protected;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

static HOP_BY_HOP: [HeaderName; 9] = [
    HeaderName::from_static("connection"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("te"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("upgrade"),
    HeaderName::from_static("http2-settings"),
];

/// Ends what speaks of the upstream's connection, and names the request.
pub fn clean_answer(headers: &mut HeaderMap, request_id: &HeaderValue) {
    if headers.contains_key(CONNECTION) {
        for name in listed_by_connection(headers) {
            // The length frames the answer; listing it would cut the answer loose.
            if name != CONTENT_LENGTH.as_str() {
                headers.remove(name);
            }
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.insert(REQUEST_ID.clone(), request_id.clone());
}

/// The names that an answer's `Trailer` fields announce.
pub(in crate::proxy) fn declared_trailers(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(TRAILER)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// Which trailers of an answer pass.
#[derive(Debug)]
pub(in crate::proxy) enum AnswerTrailers {
    /// Those of these names, which the answer announced.
    Declared(Vec<HeaderName>),
    /// All: between HTTP/2 and HTTP/2 they need no announcement.
    All,
}

impl AnswerTrailers {
    /// The trailers that pass.
    pub(in crate::proxy) fn clean(&self, trailers: &HeaderMap) -> HeaderMap {
        clean_trailers(trailers, |name| match self {
            Self::Declared(names) => names.contains(name),
            Self::All => !is_protected(name.as_str()),
        })
    }
}

/// Keeps the trailers that were announced and may be trailers (RFC 9110 section 6.5.1).
pub(in crate::proxy) fn clean_trailers(trailers: &HeaderMap, passes: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    trailers
        .iter()
        .filter(|(name, _)| {
            !is_hop_by_hop(name) && **name != CONTENT_LENGTH && **name != HOST && **name != TRAILER && passes(name)
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_names_and_the_test_for_one_agree() {
        assert!(HOP_BY_HOP.iter().all(is_hop_by_hop));
    }

    #[test]
    fn an_answer_keeps_what_is_for_the_client() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "X-Hop, Content-Length, close"),
            ("x-hop", "1"),
            ("content-length", "5"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "X-Checksum"),
            ("x-request-id", "the upstream's"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(declared_trailers(&headers), ["x-checksum"]);
        clean_answer(&mut headers, &HeaderValue::from_static("ours"));
        let mut kept: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        kept.sort();
        assert_eq!(
            kept,
            ["content-length: 5", "set-cookie: a=1", "set-cookie: b=2", "trailer: X-Checksum", "x-request-id: ours",]
        );
    }
}
