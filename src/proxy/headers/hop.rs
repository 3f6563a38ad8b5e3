//! Hop-by-hop fields: they speak of one connection and end with it (RFC 9110 section 7.6.1).

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName};

/// Whether a field always ends here. `Trailer` is not among them: without it nobody passes trailers on.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// The names that the message's own `Connection` fields list, in lower case.
pub(super) fn listed_by_connection(headers: &HeaderMap) -> Vec<String> {
    let mut names = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            let is_option = name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive");
            if !name.is_empty() && !is_option {
                names.push(String::from_utf8_lossy(name).to_ascii_lowercase());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn connection_lists_names_in_any_number_of_fields() {
        let mut headers = HeaderMap::new();
        for value in ["close", "X-One, x-two ,,", "keep-alive,X-Three"] {
            headers.append(CONNECTION, HeaderValue::from_static(value));
        }
        assert_eq!(listed_by_connection(&headers), ["x-one", "x-two", "x-three"]);
    }
}
