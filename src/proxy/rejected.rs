//! What is refused before it is a request: a head that hyper cannot read, an HTTP/2 connection that breaks the protocol.

use std::error::Error as _;

use http::StatusCode;

use super::client::ClientConnection;
use crate::telemetry::ConnectionLine;

/// A refusal below the level of requests: a bare status, or none where the protocol has its own way of saying it.
#[derive(Debug)]
pub(super) struct Rejection {
    status: Option<StatusCode>,
    reason: &'static str,
    detail: String,
}

impl Rejection {
    /// What an HTTP/1 connection ended with; `None` when that is nobody's fault, or nobody is there to be told. To
    /// hyper a length that does not fit in 64 bits less two is a head that is too large; `names_absurd_length` tells
    /// whether the head names one.
    pub(super) fn of_http1(error: &hyper::Error, names_absurd_length: bool) -> Option<Self> {
        let detail = error.to_string();
        let (status, reason) = if detail.contains("URI too long") {
            (StatusCode::URI_TOO_LONG, "uri_too_long")
        } else if error.is_parse_too_large() && names_absurd_length {
            (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
        } else if error.is_parse_too_large() {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large")
        } else if !error.is_parse() {
            return None;
        } else if detail.contains("invalid transfer-encoding") {
            (StatusCode::NOT_IMPLEMENTED, "transfer_coding")
        } else {
            (StatusCode::BAD_REQUEST, "bad_request")
        };
        Some(Self { status: Some(status), reason, detail })
    }

    /// What an HTTP/2 connection ended with; `None` when the client merely left.
    pub(super) fn of_http2(error: &hyper::Error) -> Option<Self> {
        let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        let broken = h2.is_some_and(|error| (error.is_library() || error.is_go_away()) && !error.is_io());
        broken.then(|| Self {
            status: None,
            reason: "http2_protocol",
            detail: h2.map(ToString::to_string).unwrap_or_default(),
        })
    }

    /// Plain HTTP where TLS was expected.
    pub(super) fn plain_http() -> Self {
        Self { status: Some(StatusCode::BAD_REQUEST), reason: "plain_http", detail: String::new() }
    }

    /// Tells the operator.
    pub(super) fn log(&self, connection: &ClientConnection) {
        connection.proxy.log.rejected(&ConnectionLine {
            client_ip: connection.peer.ip().to_canonical(),
            client_port: connection.peer.port(),
            reason: self.reason,
            detail: &self.detail,
            status: self.status(),
        });
    }

    /// The whole answer.
    pub(super) fn answer(&self) -> String {
        let status = self.status.unwrap_or(StatusCode::BAD_REQUEST);
        let body = if self.reason == "plain_http" { "This port speaks HTTPS only.\n" } else { "" };
        format!(
            "HTTP/1.1 {} {}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            body.len(),
        )
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.status.map(|status| status.as_u16())
    }
}
