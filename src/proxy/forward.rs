//! A request that was let in, to an endpoint of its upstream and back; and again, where that is allowed.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use http::{HeaderName, Method, Request, Response, Uri, Version, request};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::admit::Admitted;
use super::client::{Client, ClientConnection};
use super::headers::{RequestHeaders, clean_answer, declared_trailers};
use super::record::Record;
use super::refusal::Refusal;
use super::request_body::{BodyFault, BodyState, ClientBody};
use super::snapshot::{Route, Snapshot};
use crate::policy::Grant;
use crate::upstream::{AnswerBody, Cluster, Failure, FailureKind, Replay, RequestBody};

/// Attempts for one request, first and repeated ones together.
const MOST_ATTEMPTS: u32 = 8;

/// Everything that is known of a request that goes to an upstream.
pub(super) struct Forward<'a> {
    pub(super) connection: &'a ClientConnection,
    pub(super) snapshot: &'a Arc<Snapshot>,
    pub(super) route: &'a Route,
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) client: &'a Client,
    pub(super) parts: &'a request::Parts,
    pub(super) admitted: &'a Admitted<'a>,
}

impl Forward<'_> {
    /// Sends the request until there is an answer or nothing is left to try.
    pub(super) async fn run(
        &self,
        grant: Grant,
        body: Incoming,
        record: &mut Record,
    ) -> Result<(Response<AnswerBody>, Vec<HeaderName>), Refusal> {
        let state = (!body.is_end_stream()).then(Arc::<BodyState>::default);
        let mut body = match &state {
            None => RequestBody::Empty,
            Some(state) => {
                record.body(state);
                self.streaming(body, state)
            }
        };
        let uri = self.uri();
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut repeated = false;
        let mut last = None;
        while record.attempts < MOST_ATTEMPTS {
            let lease = match self.cluster.lease(&grant, &tried) {
                Ok(lease) => lease,
                Err(FailureKind::NoEndpoint) if tried.is_empty() && self.cluster.wait_until_settled().await => continue,
                Err(kind) => {
                    record.upstream(self.cluster);
                    return Err(Refusal::Upstream(last.unwrap_or(kind)));
                }
            };
            let address = lease.endpoint().address();
            record.attempt(self.cluster, address);
            let began = Instant::now();
            let failure = match self.cluster.send(lease, self.request(&uri, body, &record.request_id)).await {
                Ok(mut answer) => {
                    record.upstream_answered(began);
                    let declared = declared_trailers(answer.headers());
                    clean_answer(answer.headers_mut(), &record.request_id);
                    return Ok((answer, declared));
                }
                Err(failure) => failure,
            };
            match again(failure, &self.parts.method, state.is_none(), repeated) {
                Again::Elsewhere(back, kind) => {
                    tried.push(address);
                    body = back;
                    last = Some(kind);
                }
                Again::Unsent(back) => {
                    body = back;
                    last = Some(FailureKind::Reset);
                }
                Again::Once => {
                    body = RequestBody::Empty;
                    repeated = true;
                    last = Some(FailureKind::Reset);
                }
                Again::No(kind) => {
                    if state.as_ref().and_then(|state| state.fault()) == Some(BodyFault::Gone) {
                        record.client_is_gone();
                    }
                    return Err(refusal(kind, self.route, state.as_deref()));
                }
            }
        }
        Err(Refusal::Upstream(last.unwrap_or(FailureKind::Reset)))
    }

    fn streaming(&self, body: Incoming, state: &Arc<BodyState>) -> RequestBody {
        let declared = (self.parts.version != Version::HTTP_2).then(|| declared_trailers(&self.parts.headers));
        let limit = self.route.max_request_body;
        RequestBody::streaming(ClientBody::new(body, Arc::clone(state), Arc::clone(self.snapshot), declared, limit))
    }

    fn request(&self, uri: &Uri, body: RequestBody, request_id: &HeaderValue) -> Request<RequestBody> {
        let port = self.admitted.authority.as_ref().and_then(|authority| authority.port).unwrap_or(443);
        let host = self.admitted.host_text.clone();
        let ours = RequestHeaders {
            host: host.unwrap_or_else(|| own_host(self.cluster)),
            client_ip: &self.connection.ip,
            port: if port == 443 { HeaderValue::from_static("443") } else { port.into() },
            request_id,
            client_cert: self.route.forward_client_cert.then_some(&self.client.headers),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.snapshot.headers.apply(self.parts, &ours);
        request
    }

    /// The target in origin-form: byte for byte, less the prefix.
    fn uri(&self) -> Uri {
        let original = self.parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let target = match &self.route.strip_prefix {
            None => original,
            Some(prefix) => {
                let path = strip(original.path(), prefix);
                let path = if path.is_empty() { "/" } else { path };
                let text = match original.query() {
                    None => path.to_owned(),
                    Some(query) => format!("{path}?{query}"),
                };
                // What is left of a target is one; if http ever thinks otherwise, the whole target is safer than none.
                PathAndQuery::try_from(text).unwrap_or(original)
            }
        };
        Uri::from(target)
    }
}

/// A request without Host is an HTTP/1.0 one; the upstream gets its own name.
fn own_host(cluster: &Cluster) -> HeaderValue {
    HeaderValue::from_str(&cluster.settings().target.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Cuts `prefix` from a path that begins with it in its literal reading: `%61` is an `a`.
fn strip<'a>(path: &'a str, prefix: &str) -> &'a str {
    let mut rest = path;
    for wanted in prefix.chars() {
        let plain = rest.strip_prefix(wanted);
        let encoded = || {
            let digits = rest.strip_prefix('%')?.get(..2)?;
            let byte = u8::from_str_radix(digits, 16).ok()?;
            if char::from(byte) == wanted { rest.get(3..) } else { None }
        };
        match plain.or_else(encoded) {
            Some(shorter) => rest = shorter,
            None => return path,
        }
    }
    if rest.is_empty() || rest.starts_with('/') { rest } else { path }
}

/// What may be done after a failed attempt.
enum Again {
    /// Send it to another endpoint: this one has not taken a byte.
    Elsewhere(RequestBody, FailureKind),
    /// Send it again: nothing of it was written.
    Unsent(RequestBody),
    /// Send it once more: it is very likely that nobody saw it, and no harm is done if somebody did.
    Once,
    /// Tell the client.
    No(FailureKind),
}

/// The one decision about sending a request again (RFC 9110 section 9.2.2).
fn again(failure: Failure, method: &Method, has_no_body: bool, repeated: bool) -> Again {
    match (failure.replay, failure.kind) {
        (Replay::Elsewhere(request), kind) => Again::Elsewhere(request.into_body(), kind),
        (Replay::Unsent(request), _) => Again::Unsent(request.into_body()),
        (Replay::Idempotent, kind) => {
            let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
            if safe && has_no_body && !repeated { Again::Once } else { Again::No(kind) }
        }
        (Replay::Never, kind) => Again::No(kind),
    }
}

/// A request whose own body failed is the client's fault, whatever the upstream made of it.
fn refusal(kind: FailureKind, route: &Route, body: Option<&BodyState>) -> Refusal {
    match body.and_then(BodyState::fault) {
        Some(BodyFault::TooLarge) => Refusal::BodyTooLarge(route.max_request_body),
        Some(BodyFault::TooSlow) => Refusal::BodyTooSlow,
        Some(BodyFault::Malformed | BodyFault::Gone) => Refusal::BodyMalformed,
        None => Refusal::Upstream(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_cut_at_a_segment_boundary_in_whatever_spelling() {
        for (path, prefix, expected) in [
            ("/api/x", "/api", "/x"),
            ("/api", "/api", ""),
            ("/api/", "/api", "/"),
            ("/%61pi/x%2Fy", "/api", "/x%2Fy"),
            ("/apix", "/api", "/apix"),
            ("/other", "/api", "/other"),
            ("/api//x", "/api", "//x"),
            ("/a/b/c", "/a/b", "/c"),
        ] {
            assert_eq!(strip(path, prefix), expected, "{path} less {prefix}");
        }
    }

    #[test]
    fn a_request_is_repeated_only_where_that_is_safe() {
        let idempotent = || Failure { kind: FailureKind::Reset, replay: Replay::Idempotent };
        for (method, has_no_body, repeated, expected) in [
            (Method::GET, true, false, true),
            (Method::HEAD, true, false, true),
            (Method::OPTIONS, true, false, true),
            (Method::GET, true, true, false),
            (Method::GET, false, false, false),
            (Method::POST, true, false, false),
            (Method::DELETE, true, false, false),
        ] {
            let decision = again(idempotent(), &method, has_no_body, repeated);
            assert_eq!(matches!(decision, Again::Once), expected, "{method} {has_no_body} {repeated}");
        }
        let never = Failure { kind: FailureKind::Reset, replay: Replay::Never };
        assert!(matches!(again(never, &Method::GET, true, false), Again::No(FailureKind::Reset)));
        let request = || Box::new(Request::new(RequestBody::Empty));
        let elsewhere = Failure { kind: FailureKind::ConnectTimedOut, replay: Replay::Elsewhere(request()) };
        assert!(matches!(again(elsewhere, &Method::POST, false, true), Again::Elsewhere(..)));
        let unsent = Failure { kind: FailureKind::Reset, replay: Replay::Unsent(request()) };
        assert!(matches!(again(unsent, &Method::POST, false, true), Again::Unsent(..)));
    }
}
