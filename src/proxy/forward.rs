//! A request that was let in, to an endpoint of its upstream and back; and again, where that is allowed.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Response, Uri, Version, request};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::admit::Admitted;
use super::client::{Client, ClientConnection};
use super::headers::{AnswerTrailers, RequestHeaders, clean_answer, declared_trailers};
use super::record::Record;
use super::refusal::Refusal;
use super::request_body::{BodyFault, BodyMemory, BodyState, ClientBody, RequestTrailers};
use super::retry::{Again, Attempts, is_idempotent};
use super::snapshot::{Route, Snapshot};
use super::upgrade::{self, Upgrade};
use crate::policy::Grant;
use crate::tls::Protocol;
use crate::upstream::{AnswerBody, Cluster, FailureKind, Lease, RequestBody, RequestHead, Reuse};

/// Everything that is known of a request that goes to an upstream.
pub(super) struct Forward<'a> {
    pub(super) connection: &'a ClientConnection,
    pub(super) snapshot: &'a Arc<Snapshot>,
    pub(super) route: &'a Route,
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) client: &'a Client,
    pub(super) parts: &'a request::Parts,
    pub(super) admitted: &'a Admitted<'a>,
    pub(super) upgrade: Option<&'a Upgrade>,
}

impl Forward<'_> {
    /// Sends the request until there is an answer or nothing is left to try.
    pub(super) async fn run(
        &self,
        grant: Grant,
        body: Incoming,
        record: &mut Record,
    ) -> Result<(Response<AnswerBody>, AnswerTrailers), Refusal> {
        let is_idempotent = self.route.retry && is_idempotent(upgrade::method(self.parts));
        let has_body = !body.is_end_stream();
        let memory = (has_body && is_idempotent && BodyMemory::can_hold(&body)).then(Arc::<BodyMemory>::default);
        let state = has_body.then(Arc::<BodyState>::default);
        let mut body = match &state {
            None => RequestBody::Empty,
            Some(state) => {
                record.body(state);
                self.streaming(body, state, memory.clone())
            }
        };
        let uri = self.uri();
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut attempts = Attempts::new(is_idempotent && (!has_body || memory.is_some()));
        let longest = self.cluster.settings().timeouts.first_byte;
        let mut last = None;
        loop {
            let lease = match self.lease(&grant, &tried, &attempts, record.started()).await {
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
            let head = self.head(&uri, &record.request_id);
            let failure = match self.cluster.send(lease, head, body, self.reuse(&attempts), began).await {
                Ok(mut answer) => {
                    self.cluster.note_answer(record.upstream_answered(began));
                    let trailers = self.trailers(&answer);
                    clean_answer(answer.headers_mut(), &record.request_id);
                    return Ok((answer, trailers));
                }
                Err(failure) => failure,
            };
            let spend = || self.cluster.may_repeat();
            match attempts.again(failure, record.started().elapsed(), longest, spend) {
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
                    last = Some(FailureKind::Reset);
                    body = self.once_more(memory.as_ref(), state.as_ref())?;
                }
                Again::OnceElsewhere => {
                    tried.push(address);
                    last = Some(FailureKind::Reset);
                    body = self.once_more(memory.as_ref(), state.as_ref())?;
                }
                Again::No(kind) => {
                    if state.as_ref().and_then(|state| state.fault()) == Some(BodyFault::Gone) {
                        record.client_is_gone();
                    }
                    return Err(refusal(kind, self.route, state.as_deref()));
                }
            }
        }
    }

    fn reuse(&self, attempts: &Attempts) -> Reuse {
        if self.upgrade.is_some() { Reuse::Upgrade } else { attempts.reuse() }
    }

    /// A place at an endpoint; when all are taken, after those who have waited for longer.
    async fn lease(
        &self,
        grant: &Grant,
        tried: &[SocketAddr],
        attempts: &Attempts,
        now: Instant,
    ) -> Result<Lease, FailureKind> {
        let is_repeatable = attempts.may_go_elsewhere();
        match self.cluster.lease(grant, tried, is_repeatable, now) {
            Err(FailureKind::AtLimit) => Box::pin(self.cluster.lease_in_turn(grant, tried, is_repeatable)).await,
            outcome => outcome,
        }
    }

    fn streaming(&self, body: Incoming, state: &Arc<BodyState>, memory: Option<Arc<BodyMemory>>) -> RequestBody {
        let declared = (self.parts.version != Version::HTTP_2).then(|| declared_trailers(&self.parts.headers));
        let trailers = RequestTrailers { declared, upstream: self.protocol() };
        let limit = self.route.max_request_body;
        RequestBody::streaming(ClientBody::new(
            body,
            Arc::clone(state),
            Arc::clone(self.snapshot),
            trailers,
            limit,
            memory,
        ))
    }

    /// What the upstream speaks.
    fn protocol(&self) -> Protocol {
        self.cluster.settings().protocol
    }

    fn trailers(&self, answer: &Response<AnswerBody>) -> AnswerTrailers {
        if self.protocol() == Protocol::Http2 && self.parts.version == Version::HTTP_2 {
            AnswerTrailers::All
        } else {
            AnswerTrailers::Declared(declared_trailers(answer.headers()))
        }
    }

    /// The body once more, from its beginning.
    fn once_more(
        &self,
        memory: Option<&Arc<BodyMemory>>,
        state: Option<&Arc<BodyState>>,
    ) -> Result<RequestBody, Refusal> {
        let (Some(memory), Some(state)) = (memory, state) else { return Ok(RequestBody::Empty) };
        let limit = self.route.max_request_body;
        ClientBody::again(memory, Arc::clone(state), Arc::clone(self.snapshot), limit)
            .map(RequestBody::streaming)
            .ok_or_else(|| refusal(FailureKind::Reset, self.route, Some(state)))
    }

    fn head(&self, uri: &Uri, request_id: &HeaderValue) -> RequestHead {
        let port = self.admitted.authority.as_ref().and_then(|authority| authority.port).unwrap_or(443);
        let host = self.admitted.host_text.clone();
        let ours = RequestHeaders {
            host: host.unwrap_or_else(|| self.cluster.own_host()),
            client_ip: &self.connection.ip,
            port: if port == 443 { HeaderValue::from_static("443") } else { port.into() },
            request_id,
            upgrade: self.upgrade,
            upstream: self.protocol(),
        };
        let known = self.route.client_cert.and_then(|place| self.client.headers.fields(place));
        self.snapshot.headers.head(self.parts, uri, known, &ours)
    }

    /// The target: byte for byte, less the prefix. In origin-form, but for HTTP/2, which has scheme and authority beside
    /// it.
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
        match self.protocol() {
            Protocol::Http1 => Uri::from(target),
            Protocol::Http2 => self.absolute(target),
        }
    }

    fn absolute(&self, target: PathAndQuery) -> Uri {
        let host = self.admitted.host_text.clone().unwrap_or_else(|| self.cluster.own_host());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.cluster.settings().tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Authority::try_from(host.as_bytes()).ok();
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).unwrap_or_default()
    }
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
}
