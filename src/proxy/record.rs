//! What is remembered of a request until its answer has ended, and then logged: once, whatever happened.
//!
//! The record travels with the answer's body. When it is dropped the request is over: completely, or cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri, Version, request};
use tokio::time::Instant;

use super::client::{Client, ClientConnection};
use super::expiry::EXPIRES_IN;
use super::refusal::Refusal;
use super::request_body::{BodyFault, BodyState};
use super::snapshot::Snapshot;
use crate::drain::Phase;
use crate::identity::CertificateFacts;
use crate::policy::Difference;
use crate::telemetry::{LONGEST_HOST, LONGEST_METHOD, LONGEST_PATH, LONGEST_TEXT, RequestLine};
use crate::upstream::Cluster;

/// nginx's status for a client that left before its answer; none was sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Who broke an answer off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aborted {
    Client,
    Upstream,
    Drain,
}

/// One request, until its answer has ended.
#[derive(Debug)]
pub(super) struct Record {
    connection: Arc<ClientConnection>,
    started: Instant,
    pub(super) request_id: HeaderValue,
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    trace: Option<HeaderValue>,
    is_health: bool,
    client: Option<Arc<Client>>,
    expires_in: Option<u64>,
    /// What would come out differently in the shadow.
    tried: Option<Difference>,
    route: Option<(Arc<Snapshot>, usize)>,
    upstream: Option<Arc<Cluster>>,
    upstream_address: Option<SocketAddr>,
    upstream_time: Option<f64>,
    pub(super) attempts: u32,
    status: Option<StatusCode>,
    reason: Option<&'static str>,
    body: Option<Arc<BodyState>>,
    /// Of a tunnel; a body counts its own.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    complete: bool,
    aborted: Option<Aborted>,
}

impl Record {
    /// The request begins.
    pub(super) fn begin(connection: &Arc<ClientConnection>, parts: &request::Parts) -> Box<Self> {
        connection.activity.begin_request();
        Box::new(Self {
            connection: Arc::clone(connection),
            started: Instant::now(),
            request_id: new_request_id(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            host: parts.headers.get(HOST).cloned(),
            trace: parts.headers.get("traceparent").cloned(),
            is_health: false,
            client: None,
            expires_in: None,
            tried: None,
            route: None,
            upstream: None,
            upstream_address: None,
            upstream_time: None,
            attempts: 0,
            status: None,
            reason: None,
            body: None,
            bytes_in: 0,
            bytes_out: 0,
            complete: false,
            aborted: None,
        })
    }

    /// When the request began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn is_health(&mut self) {
        self.is_health = true;
    }

    /// Who the client is; in the last days of its certificate, with the seconds left.
    pub(super) fn client(&mut self, client: &Arc<Client>, expires_in: Option<u64>) {
        self.client = Some(Arc::clone(client));
        self.expires_in = expires_in;
    }

    /// Counts what became of the client, where the request came so far that it was looked at.
    pub(super) fn count_client(&self, refusal: Option<&Refusal>) {
        let Some(client) = &self.client else { return };
        let refused = match refusal {
            Some(Refusal::Forbidden(reason)) => Some(*reason),
            _ => None,
        };
        self.connection.proxy.measures.decided(client, refused);
    }

    /// Counts, and remembers for the log, what would come out differently in the shadow.
    pub(super) fn tried(&mut self, difference: Option<Difference>) {
        if let Some(difference) = difference {
            self.connection.proxy.measures.differs(difference);
        }
        self.tried = difference;
    }

    /// Tells the client, in an answer's headers, that its certificate is in its last days.
    pub(super) fn tell_of_expiry(&self, headers: &mut HeaderMap) {
        if let Some(seconds) = self.expires_in {
            headers.insert(EXPIRES_IN.clone(), seconds.into());
        }
    }

    pub(super) fn route(&mut self, snapshot: &Arc<Snapshot>, index: usize) {
        self.route = Some((Arc::clone(snapshot), index));
    }

    pub(super) fn body(&mut self, body: &Arc<BodyState>) {
        self.body = Some(Arc::clone(body));
    }

    /// An attempt goes to this endpoint.
    pub(super) fn attempt(&mut self, cluster: &Arc<Cluster>, address: SocketAddr) {
        if self.upstream.is_none() {
            self.upstream = Some(Arc::clone(cluster));
        }
        self.upstream_address = Some(address);
        self.attempts += 1;
    }

    /// The upstream was given up, or none was to be had.
    pub(super) fn upstream(&mut self, cluster: &Arc<Cluster>) {
        self.upstream = Some(Arc::clone(cluster));
    }

    /// The head of the upstream's answer has come, `began` after which it was asked for.
    /// Tells how long that took.
    pub(super) fn upstream_answered(&mut self, began: Instant) -> Duration {
        let took = began.elapsed();
        self.upstream_time = Some((took.as_secs_f64() * 1_000_000.0).round() / 1000.0);
        took
    }

    /// The answer has a status, and somebody to go to.
    pub(super) fn answered(&mut self, status: StatusCode, reason: Option<&'static str>) {
        if self.aborted.is_none() {
            self.status = Some(status);
            self.reason = reason;
        }
    }

    /// The client left before there was an answer.
    pub(super) fn client_is_gone(&mut self) {
        self.aborted = Some(Aborted::Client);
        self.reason = Some(BodyFault::Gone.word());
    }

    /// The client left a piece of the answer waiting for too long.
    pub(super) fn client_does_not_read(&mut self) {
        self.aborted = Some(Aborted::Client);
        self.reason = Some("send_timeout");
    }

    /// The upstream's answer broke off; where the client's body did so first, that is why.
    pub(super) fn cut_by_upstream(&mut self, reason: &'static str) {
        let fault = self.body.as_ref().and_then(|body| body.fault());
        self.aborted = Some(if fault.is_some() { Aborted::Client } else { Aborted::Upstream });
        self.reason = Some(fault.map_or(reason, BodyFault::word));
        self.connection.activity.note_cut();
    }

    /// Why it ended, where the status does not say.
    pub(super) fn because(&mut self, reason: &'static str) {
        self.reason = Some(reason);
    }

    /// The client was given all of the answer.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether the client has sent all it announced.
    pub(super) fn body_was_read(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_complete())
    }

    fn who_aborted(&self) -> Option<Aborted> {
        if self.aborted.is_some() || self.complete {
            return self.aborted;
        }
        let cut = self.connection.proxy.drain.phase() == Phase::Cut;
        Some(if cut { Aborted::Drain } else { Aborted::Client })
    }

    fn log(&self, aborted: Option<Aborted>, now: Instant) {
        let connection = &self.connection;
        let log = &connection.proxy.log;
        if !log.wants_request(self.is_health) {
            return;
        }
        let facts = self.client.as_ref().and_then(|client| client.certificate.shown()).map(AsRef::as_ref);
        let tls = &connection.tls;
        let host = self.host.as_ref().map(|host| String::from_utf8_lossy(host.as_bytes()));
        let host = host.as_deref().or_else(|| self.uri.authority().map(http::uri::Authority::as_str));
        let (would_refuse, would_allow) = match self.tried {
            None => (None, None),
            Some(Difference::WouldRefuse(reason)) => (Some(reason.as_str()), None),
            Some(Difference::WouldAllow(reason)) => (None, Some(reason.as_str())),
        };
        let short = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        log.request(&RequestLine {
            request_id: self.request_id.to_str().unwrap_or_default(),
            client_ip: connection.peer.ip().to_canonical(),
            client_port: connection.peer.port(),
            tls_version: short(tls.version),
            tls_cipher: short(tls.cipher),
            tls_group: short(tls.group),
            sni: tls.sni.as_deref().map(|sni| cut_to(sni, LONGEST_HOST)),
            tls_resumed: tls.resumed,
            client_verify: self.client.as_ref().map_or("NONE", |client| client.verify.as_str()),
            client_subject: facts.map(|facts| cut_to(&facts.subject, LONGEST_TEXT)),
            client_serial: facts.map(|facts| cut_to(&facts.serial, LONGEST_TEXT)),
            client_sha256: facts.map(|facts: &CertificateFacts| facts.sha256.as_str()),
            client_san: self
                .client
                .as_ref()
                .and_then(|client| client.subject_alt_names.as_deref())
                .map(|names| cut_to(names, LONGEST_TEXT)),
            method: cut_to(self.method.as_str(), LONGEST_METHOD),
            host: host.map(|host| cut_to(host, LONGEST_HOST)),
            path: cut_to(self.uri.path(), LONGEST_PATH),
            protocol: match self.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            route: self
                .route
                .as_ref()
                .and_then(|(snapshot, index)| snapshot.routes.get(*index))
                .map_or("-", |route| cut_to(&route.name, LONGEST_TEXT)),
            upstream: self.upstream.as_ref().map(|cluster| cluster.name()),
            upstream_addr: self.upstream_address,
            attempts: self.attempts,
            status: self.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16()),
            bytes_in: self.body.as_ref().map_or(self.bytes_in, |body| body.bytes()),
            bytes_out: self.bytes_out,
            duration_ms: millis(self.started, now),
            upstream_ms: self.upstream_time,
            trace_id: self.trace.as_ref().and_then(trace_id),
            reason: self.reason,
            would_refuse,
            would_allow,
            aborted: aborted.map(|by| match by {
                Aborted::Client => "client",
                Aborted::Upstream => "upstream",
                Aborted::Drain => "drain",
            }),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let aborted = self.who_aborted();
        let now = Instant::now();
        self.log(aborted, now);
        let activity = &self.connection.activity;
        if !self.body_was_read() {
            activity.linger();
        }
        activity.end_request(aborted != Some(Aborted::Client), now);
        // HTTP/1 answers have said so already.
        if self.connection.proxy.drain.phase() >= Phase::Announced || self.connection.is_too_old(now) {
            activity.ask_to_go_away();
        }
    }
}

/// Thousandths are as exact as a clock that is read twice.
fn millis(since: Instant, now: Instant) -> f64 {
    (now.duration_since(since).as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// The first `most` bytes, or a little less so as not to split a character.
pub(super) fn cut_to(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

/// 128 random bits. An id is no secret, so the random numbers need not be either.
fn new_request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bits = fastrand::u128(..);
    let mut text = [0; 32];
    for digit in &mut text {
        *digit = DIGITS.get((bits & 0xf) as usize).copied().unwrap_or(b'0');
        bits >>= 4;
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// The trace id of a W3C `traceparent` of version 00.
fn trace_id(traceparent: &HeaderValue) -> Option<&str> {
    let text = traceparent.to_str().ok()?;
    let id = text.strip_prefix("00-")?.get(..32)?;
    let is_hex = id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (text.len() == 55 && is_hex && id.bytes().any(|byte| byte != b'0')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_32_hex_digits_and_differ() {
        let (one, two) = (new_request_id(), new_request_id());
        assert_ne!(one, two);
        assert_eq!(one.len(), 32);
        assert!(one.as_bytes().iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn only_a_whole_traceparent_gives_a_trace_id() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (text, expected) in [
            (format!("00-{id}-00f067aa0ba902b7-01"), Some(id)),
            (format!("01-{id}-00f067aa0ba902b7-01"), None),
            (format!("00-{id}"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{}-00f067aa0ba902b7-01", "G".repeat(32)), None),
        ] {
            assert_eq!(trace_id(&HeaderValue::from_str(&text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        assert_eq!(cut_to("aé", 2), "a");
        assert_eq!(cut_to("aé", 3), "aé");
    }
}
