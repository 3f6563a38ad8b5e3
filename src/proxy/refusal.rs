//! Why a request is not answered by its route, and what the client is told: the one place where a failure becomes a
//! status, a reason word and a sentence.

use http::{Method, StatusCode};

use crate::identity::Reason;
use crate::route::PathError;
use crate::upstream::FailureKind;

/// Why a request is not answered by its route.
#[derive(Debug)]
pub(super) enum Refusal {
    /// `OPTIONS *`: no failure, but no route's business either.
    AsteriskOptions,
    /// A target that is none.
    Target(&'static str),
    /// A Host that is none, or two.
    Host(&'static str),
    /// A path that is refused on any table.
    Path(PathError),
    /// A path that different servers would read as different routes.
    AmbiguousPath,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// A target over its limit.
    UriTooLong,
    /// More fields than there may be. HTTP/1 heads are counted where they are read.
    TooManyFields,
    /// CONNECT and TRACE.
    MethodNeverAllowed,
    /// A protocol that a stream cannot speak here, or not on this route.
    NoUpgrade,
    /// A Host that belongs to another TLS profile than the connection's.
    Misdirected,
    /// A client without a valid certificate, or one that the route does not let in.
    Forbidden(Reason),
    /// No route for the path.
    NotFound,
    /// Routes for the path, none for the method.
    MethodNotAllowed(Vec<Method>),
    /// A body over the route's limit.
    BodyTooLarge(u64),
    /// A body that stopped coming.
    BodyTooSlow,
    /// A body that breaks its framing.
    BodyMalformed,
    /// The upstream's doing.
    Upstream(FailureKind),
}

impl Refusal {
    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::AsteriskOptions => StatusCode::NO_CONTENT,
            Self::Target(_) | Self::Host(_) | Self::Path(_) | Self::AmbiguousPath | Self::BodyMalformed => {
                StatusCode::BAD_REQUEST
            }
            Self::TransferCoding | Self::NoUpgrade => StatusCode::NOT_IMPLEMENTED,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::MethodNeverAllowed | Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Upstream(kind) => match kind {
                FailureKind::NoEndpoint | FailureKind::Unhealthy | FailureKind::AtLimit => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                FailureKind::ConnectTimedOut | FailureKind::FirstByteTimedOut => StatusCode::GATEWAY_TIMEOUT,
                FailureKind::Refused(_)
                | FailureKind::TlsFailed(_)
                | FailureKind::Reset
                | FailureKind::Malformed
                | FailureKind::StillUnavailable => StatusCode::BAD_GATEWAY,
                // Only a body fault that nobody noted comes this way: the client broke its body off.
                FailureKind::RequestBody => StatusCode::BAD_REQUEST,
            },
        }
    }

    /// The stable word.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::AsteriskOptions => "options",
            Self::Target(_) => "bad_target",
            Self::Host(_) => "bad_host",
            Self::Path(_) => "bad_path",
            Self::AmbiguousPath => "ambiguous_path",
            Self::TransferCoding => "transfer_coding",
            Self::UriTooLong => "uri_too_long",
            Self::TooManyFields => "headers_too_large",
            Self::MethodNeverAllowed | Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NoUpgrade => "no_upgrade",
            Self::Misdirected => "misdirected",
            Self::Forbidden(reason) => reason.as_str(),
            Self::NotFound => "no_route",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyMalformed => "body_malformed",
            Self::Upstream(kind) => match kind {
                FailureKind::NoEndpoint => "upstream_no_endpoint",
                FailureKind::Unhealthy => "upstream_unhealthy",
                FailureKind::AtLimit => "upstream_at_limit",
                FailureKind::Refused(_) => "upstream_connect_failed",
                FailureKind::TlsFailed(_) => "upstream_tls_failed",
                FailureKind::ConnectTimedOut => "upstream_connect_timeout",
                FailureKind::Reset => "upstream_reset",
                FailureKind::FirstByteTimedOut => "upstream_timeout",
                FailureKind::Malformed => "upstream_malformed",
                FailureKind::StillUnavailable => "upstream_unavailable",
                FailureKind::RequestBody => "body_malformed",
            },
        }
    }

    /// One sentence for the client's developer. It tells nothing of what stands behind the gateway.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::AsteriskOptions => String::new(),
            Self::Target(what) => format!("The request target is not accepted: {what}."),
            Self::Host(what) => format!("The request needs exactly one valid Host: {what}."),
            Self::Path(error) => format!("The path is not accepted: {error}."),
            Self::AmbiguousPath => {
                "The path can be read in more than one way (encoded slashes or dot segments). Send it normalised."
                    .to_owned()
            }
            Self::TransferCoding => "The only transfer coding understood here is chunked.".to_owned(),
            Self::UriTooLong => "The request target is longer than is accepted here.".to_owned(),
            Self::TooManyFields => "The request has more header fields than are accepted here.".to_owned(),
            Self::MethodNeverAllowed => "This method is not accepted on any path.".to_owned(),
            Self::NoUpgrade => "This protocol is not spoken on this path.".to_owned(),
            Self::Misdirected => {
                "This connection was made for another host name. Open a new one with the server name (SNI) of the Host."
                    .to_owned()
            }
            Self::Forbidden(reason) => reason.advice().to_owned(),
            Self::NotFound => "No route matches this path.".to_owned(),
            Self::MethodNotAllowed(_) => {
                "No route for this path takes this method; Allow lists those that do.".to_owned()
            }
            Self::BodyTooLarge(limit) => format!("The request body is longer than the {limit} bytes accepted here."),
            Self::BodyTooSlow => "The request body stopped coming.".to_owned(),
            Self::BodyMalformed => "The request body breaks its framing.".to_owned(),
            Self::Upstream(kind) => match kind {
                FailureKind::NoEndpoint => "The service has no running instance just now. Try again.".to_owned(),
                FailureKind::Unhealthy => "The service has no healthy instance just now. Try again.".to_owned(),
                FailureKind::AtLimit => "The service has all the requests it can take. Try again.".to_owned(),
                FailureKind::Refused(_) => "The service could not be reached.".to_owned(),
                FailureKind::TlsFailed(_) => "No trusted connection to the service could be made.".to_owned(),
                FailureKind::ConnectTimedOut => "The service did not accept the connection in time.".to_owned(),
                FailureKind::Reset => "The service closed the connection without an answer.".to_owned(),
                FailureKind::FirstByteTimedOut => "The service did not answer in time.".to_owned(),
                FailureKind::Malformed => "The service's answer was malformed.".to_owned(),
                FailureKind::StillUnavailable => "The service is not available.".to_owned(),
                FailureKind::RequestBody => "The request body breaks its framing.".to_owned(),
            },
        }
    }

    /// Whether the connection ends with the answer: who sends what cannot be read once may go on doing so, and what
    /// follows on the connection may not be a request.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(
            self.status(),
            StatusCode::BAD_REQUEST
                | StatusCode::NOT_IMPLEMENTED
                | StatusCode::URI_TOO_LONG
                | StatusCode::REQUEST_TIMEOUT
        )
    }

    /// Seconds after which trying again makes sense.
    pub(super) fn retry_after(&self) -> Option<u32> {
        (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1)
    }

    /// The methods for `Allow`, where the status asks for it (RFC 9110 section 15.5.6).
    pub(super) fn allow(&self) -> Option<String> {
        match self {
            Self::MethodNotAllowed(methods) => {
                let mut names: Vec<_> = methods.iter().map(Method::as_str).collect();
                names.sort_unstable();
                names.dedup();
                Some(names.join(", "))
            }
            Self::MethodNeverAllowed | Self::AsteriskOptions => {
                Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned())
            }
            _ => None,
        }
    }
}
