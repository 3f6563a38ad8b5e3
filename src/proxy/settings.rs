//! What may be configured of the way a request takes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::policy::{Access, Rule};
use crate::route::RouteSpec;

/// Everything the data path needs to know, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The health path, such as `/health`.
    pub health_path: String,
    /// The routes, in the configuration's order.
    pub routes: Vec<RouteSettings>,
    /// Lists of whom to let in that are only tried, in the place of each route's own; by TLS profile.
    pub shadow_allow: Vec<Option<Vec<Rule>>>,
    /// Header rules.
    pub headers: HeaderSettings,
    /// Sizes and counts.
    pub limits: Limits,
    /// Deadlines on the client's side.
    pub timeouts: Timeouts,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// Host, path and methods.
    pub spec: RouteSpec,
    /// Whom it lets in.
    pub access: Access,
    /// What it does.
    pub action: Action,
    /// The headers in which the client's certificate is described to the upstream.
    pub forward_client_cert: Vec<Dialect>,
    /// The longest request body in bytes.
    pub max_request_body: u64,
    /// What is cut from the front of the path on its way to the upstream; ends at a segment boundary.
    pub strip_prefix: Option<String>,
    /// Whether a connection may become a WebSocket.
    pub websocket: bool,
    /// Whether an idempotent request may be sent a second time when its connection ended without an answer.
    pub retry: bool,
}

/// What a route does with a request it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sends it to the upstream of this name.
    Forward(String),
    /// Answers it.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Bytes,
        /// Its Content-Type.
        content_type: HeaderValue,
    },
}

/// A family of headers that describe the client's certificate: whose habits they follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// `X-SSL-Client-*`, as nginx is commonly configured.
    Nginx,
    /// `Client-Cert` and `Client-Cert-Chain` of RFC 9440.
    Rfc9440,
    /// Envoy's `X-Forwarded-Client-Cert`.
    Xfcc,
    /// `X-Amzn-Mtls-Clientcert*` of an AWS Application Load Balancer.
    Alb,
    /// Traefik's `X-Forwarded-Tls-Client-Cert` and `-Info`.
    Traefik,
}

impl Dialect {
    /// Whether one of its fields is as long as the certificate, or longer.
    pub fn sends_whole_certificates(self) -> bool {
        matches!(self, Self::Rfc9440 | Self::Alb | Self::Traefik)
    }
}

/// Header rules beyond those that cannot be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderSettings {
    /// Request header names with other characters than letters, digits and `-` that may pass.
    pub allow_names: Vec<HeaderName>,
    /// Further request headers to drop.
    pub drop_request: Vec<HeaderName>,
}

/// Sizes and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A request's head in bytes, 1 KiB to 1 MiB.
    pub request_headers: u32,
    /// A request target in bytes, 64 to 60,000.
    pub uri: u32,
    /// Header fields of a request, 8 to 1000.
    pub header_count: u32,
    /// Streams at once on an HTTP/2 connection, 1 to 1000.
    pub h2_streams: u32,
}

/// Deadlines on the client's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The whole handshake.
    pub tls_handshake: Duration,
    /// The whole head: of the first request from the end of the handshake, later from its first byte.
    pub request_headers: Duration,
    /// Between two pieces of a request body.
    pub request_body_idle: Duration,
    /// Between two moments at which the client takes something of what is sent.
    pub send: Duration,
    /// A connection without a request.
    pub keepalive: Duration,
    /// A WebSocket on which neither side says anything.
    pub upgrade_idle: Duration,
    /// The age at which a connection is asked to make way for a new one, give or take a tenth.
    pub max_connection_age: Duration,
}
