//! The change of a connection's protocol to WebSocket: who may ask for it, how the upstream is asked, and what the client
//! is told. There is no tunnel before the upstream has answered 101; until then this is a request like any other.
//!
//! HTTP/1.1 asks with `Upgrade` (RFC 9110 section 7.8), HTTP/2 with an extended CONNECT (RFC 8441). No other protocol
//! passes: h2c would put requests past every check made here.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{Method, Response, StatusCode, Version, request};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::admit;
use super::client::ClientConnection;
use super::nonce::Nonce;
use super::record::Record;
use super::refusal::Refusal;
use super::response::{ResponseBody, Stall};
use super::snapshot::{Route, Snapshot, Target};
use super::tunnel::Tunnel;
use crate::identity::Reason;
use crate::policy::{self, Facts};
use crate::route::Match;
use crate::tls;
use crate::upstream::{AnswerBody, Upgraded};

/// A request to speak WebSocket, on a route that allows it.
#[derive(Debug)]
pub(super) enum Upgrade {
    /// The handshake is between the client and the upstream.
    Http1,
    /// HTTP/2 has no such handshake, so the gateway has one with the upstream.
    Http2(Nonce),
}

/// What the upstream says to it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Something else: an answer like any other.
    Declined,
    Switched(Box<Upgraded>),
    Malformed,
}

/// The method that routes and the upstream see: an extended CONNECT is a GET that has something else in mind.
pub(super) fn method(parts: &request::Parts) -> &Method {
    if is_extended_connect(parts) { &Method::GET } else { &parts.method }
}

fn is_extended_connect(parts: &request::Parts) -> bool {
    parts.method == Method::CONNECT && parts.extensions.get::<Protocol>().is_some()
}

/// Refuses CONNECT, but for an extended one that asks for WebSocket (RFC 8441 section 4).
pub(super) fn check_connect(parts: &request::Parts) -> Result<(), Refusal> {
    match parts.extensions.get::<Protocol>() {
        None => Err(Refusal::MethodNeverAllowed),
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => Ok(()),
        Some(_) => Err(Refusal::NoUpgrade),
    }
}

/// Whether a request asks for a WebSocket and may have one. Over HTTP/1.1 it is a plain request otherwise.
///
/// # Errors
/// [`Refusal::NoUpgrade`] for an extended CONNECT, which cannot be anything else.
pub(super) fn asked(parts: &request::Parts, has_body: bool, route: &Route) -> Result<Option<Upgrade>, Refusal> {
    // hyper notes a possible upgrade there, so plain requests have none.
    if parts.extensions.is_empty() {
        return Ok(None);
    }
    // Only with an upstream of HTTP/1.1 is there a connection that can change its protocol.
    let speaks_http1 = matches!(&route.target, Target::Forward(to) if to.settings().protocol == tls::Protocol::Http1);
    let is_allowed = route.websocket && speaks_http1;
    if is_extended_connect(parts) {
        return if is_allowed { Ok(Some(Upgrade::Http2(Nonce::random()))) } else { Err(Refusal::NoUpgrade) };
    }
    let is_asked = parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && !has_body
        && lists(&parts.headers, &CONNECTION, b"upgrade")
        && lists(&parts.headers, &UPGRADE, b"websocket");
    Ok((is_allowed && is_asked).then_some(Upgrade::Http1))
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &[u8]) -> bool {
    let values = headers.get_all(name).iter();
    let mut elements = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(wanted))
}

impl Upgrade {
    /// The key of the handshake with the upstream, where it is not the client's own.
    pub(super) fn key(&self) -> Option<HeaderValue> {
        match self {
            Self::Http1 => None,
            Self::Http2(nonce) => Some(nonce.key()),
        }
    }

    /// What the upstream's answer means.
    pub(super) fn outcome(&self, answer: &mut Response<AnswerBody>) -> Outcome {
        let upgraded = answer.body_mut().take_upgraded();
        let accept = answer.headers().get(SEC_WEBSOCKET_ACCEPT);
        match (self, upgraded) {
            (Self::Http1, Some(upgraded)) => Outcome::Switched(upgraded),
            (Self::Http2(nonce), Some(upgraded)) if accept.is_some_and(|accept| nonce.is_accepted(accept)) => {
                Outcome::Switched(upgraded)
            }
            // To CONNECT every 2xx means yes (RFC 9110 section 9.3.6), and this one does not.
            (Self::Http2(_), None) if !answer.status().is_success() => Outcome::Declined,
            (Self::Http2(_), _) => Outcome::Malformed,
            (Self::Http1, None) => Outcome::Declined,
        }
    }
}

/// Where an HTTP/1 connection finds the tunnel that takes its place.
#[derive(Debug, Clone, Default)]
pub(super) struct Handover(Arc<Mutex<Option<Box<Tunnel>>>>);

impl Handover {
    pub(super) fn take(&self) -> Option<Box<Tunnel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How a tunnel gets at its client.
#[derive(Debug)]
pub(super) enum Way {
    /// The connection ends as HTTP once its answer is written, and the tunnel goes on with it.
    Http1(Handover),
    /// The stream goes on beside others, and its stall ends it.
    Http2(Option<Arc<Stall>>),
}

/// A change of protocol that the upstream has agreed to.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) connection: Arc<ClientConnection>,
    pub(super) request: request::Parts,
    pub(super) answer: Response<AnswerBody>,
    pub(super) upstream: Box<Upgraded>,
    pub(super) record: Box<Record>,
}

impl Switch {
    /// Tells the client, and lets the tunnel begin.
    pub(super) fn complete(self, snapshot: &Snapshot, way: Way) -> Response<ResponseBody> {
        let Self { connection, request, answer, upstream, mut record } = self;
        let mut headers = answer.into_parts().0.headers;
        // Neither 101 nor an answer to CONNECT has a body.
        headers.remove(CONTENT_LENGTH);
        let status = match way {
            Way::Http1(_) => StatusCode::SWITCHING_PROTOCOLS,
            Way::Http2(_) => StatusCode::OK,
        };
        record.answered(status, None);
        let pending = request.extensions.get::<OnUpgrade>().cloned();
        let tunnel = Tunnel::new(connection, request, upstream, record, snapshot);
        match way {
            Way::Http1(Handover(place)) => {
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tunnel));
            }
            Way::Http2(stall) => {
                headers.remove(SEC_WEBSOCKET_ACCEPT);
                let tunnel = tunnel.on_stream(stall);
                tokio::spawn(async move {
                    // Ready as soon as the head of the answer is on its way; an error when the stream was reset before.
                    if let Some(pending) = pending
                        && let Ok(stream) = pending.await
                    {
                        Box::pin(tunnel.run(TokioIo::new(stream))).await;
                    }
                });
            }
        }
        let mut response = Response::new(ResponseBody::none());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Why the configuration in force refuses a request that an earlier one let in: its client is believed no more, or its
/// route wants a certificate now. A route that is gone refuses nobody; what has begun goes on.
pub(super) fn judge_again(connection: &ClientConnection, request: &request::Parts) -> Option<Reason> {
    if let Some(reason) = connection.lost_trust() {
        return Some(reason);
    }
    let snapshot = connection.proxy.snapshot();
    let client = connection.client(&snapshot);
    let admitted = admit::admit(request, snapshot.limits.uri, false).ok()?;
    let Match::Route(id) = snapshot.table.find(admitted.host(), &admitted.path, method(request)) else { return None };
    let route = snapshot.routes.get(id.0)?;
    policy::decide(&route.access, Facts { client: &client.certificate }).err()
}
