//! The fields of a request to an upstream, made in one pass over the client's: what may pass is copied, everything else
//! is not, and what the gateway knows is added.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TE, TRAILER, UPGRADE,
};
use http::{Version, request};

use super::hop::{is_hop_by_hop, listed_by_connection};
use super::protected::is_protected;
use crate::proxy::settings::HeaderSettings;
use crate::proxy::upgrade::Upgrade;
use crate::tls::Protocol;
use crate::upstream::Fields;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

/// The configured part of the rules.
#[derive(Debug)]
pub struct RequestHeaderRules(HeaderSettings);

/// What the gateway says of a request.
#[derive(Debug)]
pub struct RequestHeaders<'a> {
    /// The Host field for the upstream: as received, or the upstream's own where the client sent none.
    pub(in crate::proxy) host: HeaderValue,
    /// The client's address.
    pub(in crate::proxy) client_ip: &'a HeaderValue,
    /// The port the client believes to speak to.
    pub(in crate::proxy) port: HeaderValue,
    /// The request's id.
    pub(in crate::proxy) request_id: &'a HeaderValue,
    /// The protocol that is asked for.
    pub(in crate::proxy) upgrade: Option<&'a Upgrade>,
    /// What the upstream speaks.
    pub(in crate::proxy) upstream: Protocol,
}

impl<'a> RequestHeaders<'a> {
    /// Of a request that came to port 443 and asks for no other protocol; `upstream` is what the upstream speaks.
    pub fn new(host: HeaderValue, client_ip: &'a HeaderValue, request_id: &'a HeaderValue, upstream: Protocol) -> Self {
        Self { host, client_ip, port: HeaderValue::from_static("443"), request_id, upgrade: None, upstream }
    }
}

impl RequestHeaderRules {
    /// The rules, with what is configured.
    pub fn new(settings: HeaderSettings) -> Self {
        Self(settings)
    }

    /// Adds the fields for the upstream to those that tell of the client's certificate.
    pub(in crate::proxy) fn apply(&self, client: &request::Parts, ours: &RequestHeaders<'_>, to: &mut impl Fields) {
        // One look at the names costs less than a search for each of those that are rarely there.
        let rare = Rare::of(&client.headers);
        let listed = if rare.connection { listed_by_connection(&client.headers) } else { Vec::new() };
        if ours.upstream == Protocol::Http1 {
            to.put(&HOST, &ours.host);
        }
        let cookies =
            if rare.cookie && client.version == Version::HTTP_2 { join_cookies(&client.headers) } else { None };
        let key = ours.upgrade.and_then(Upgrade::key);
        for (name, value) in &client.headers {
            let is_told_anew = (*name == COOKIE && cookies.is_some()) || (*name == SEC_WEBSOCKET_KEY && key.is_some());
            if self.passes(name, &listed, ours.upstream) && *name != TRAILER && !is_told_anew {
                to.put(name, value);
            }
        }
        if let Some(cookies) = cookies {
            to.put(&COOKIE, &cookies);
        }
        if rare.trailer {
            to.announce(self.trailers(client, ours.upstream));
        }
        to.put(&FORWARDED_FOR, ours.client_ip);
        to.put(&REAL_IP, ours.client_ip);
        to.put(&FORWARDED_PROTO, &HTTPS);
        to.put(&FORWARDED_HOST, &ours.host);
        to.put(&FORWARDED_PORT, &ours.port);
        to.put(&REQUEST_ID, ours.request_id);
        if ours.upgrade.is_some() {
            to.put(&CONNECTION, &HeaderValue::from_static("Upgrade"));
            to.put(&UPGRADE, &HeaderValue::from_static("websocket"));
            if let Some(key) = key {
                to.put(&SEC_WEBSOCKET_KEY, &key);
                if !client.headers.contains_key(SEC_WEBSOCKET_VERSION) {
                    to.put(&SEC_WEBSOCKET_VERSION, &HeaderValue::from_static("13"));
                }
            }
        } else if rare.te && wants_trailers(&client.headers) {
            to.put(&TE, &HeaderValue::from_static("trailers"));
            if ours.upstream == Protocol::Http1 {
                to.put(&CONNECTION, &HeaderValue::from_static("te"));
            }
        }
    }

    /// Whether a trailer field of this name may pass to the upstream.
    pub(in crate::proxy) fn trailer_passes(&self, name: &HeaderName, upstream: Protocol) -> bool {
        self.passes(name, &[], upstream) && *name != TRAILER
    }

    fn passes(&self, name: &HeaderName, listed: &[String], upstream: Protocol) -> bool {
        let text = name.as_str();
        // The names of gRPC's metadata have these, too; what speaks HTTP/2 does not turn them into something else.
        let may = |byte| upstream == Protocol::Http2 && (byte == b'_' || byte == b'.');
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || may(byte));
        // Host, the length and the framing are told anew for this hop; the expectation has been met here.
        !(is_hop_by_hop(name)
            || *name == HOST
            || *name == CONTENT_LENGTH
            || *name == EXPECT
            || (!plain && !self.0.allow_names.contains(name))
            || is_protected(text)
            || listed.iter().any(|listed| listed == text)
            || self.0.drop_request.contains(name))
    }

    /// The trailers that the client announces, less those that will not pass.
    fn trailers(&self, client: &request::Parts, upstream: Protocol) -> Vec<HeaderName> {
        let values =
            client.headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        values
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| self.trailer_passes(name, upstream))
            .collect()
    }
}

/// Which fields there are that most requests do without.
#[derive(Debug, Default)]
struct Rare {
    connection: bool,
    cookie: bool,
    trailer: bool,
    te: bool,
}

impl Rare {
    fn of(headers: &HeaderMap) -> Self {
        let mut rare = Self::default();
        for name in headers.keys() {
            rare.connection |= *name == CONNECTION;
            rare.cookie |= *name == COOKIE;
            rare.trailer |= *name == TRAILER;
            rare.te |= *name == TE;
        }
        rare
    }
}

/// HTTP/2 may split a cookie header into one field for each cookie; HTTP/1.1 has one (RFC 9113 section 8.2.3). `None`
/// when it is not split.
fn join_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let cookies = headers.get_all(COOKIE);
    cookies.iter().nth(1)?;
    let joined = cookies.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    HeaderValue::from_bytes(&joined).ok()
}

/// Whether the client takes trailers (RFC 9110 section 10.1.4).
fn wants_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn applied(settings: HeaderSettings, version: Version, fields: &[(&str, &str)]) -> Vec<String> {
        let mut request = Request::builder().version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let [host, ip, id] = ["api.example", "192.0.2.7", "id"].map(HeaderValue::from_static);
        let ours = RequestHeaders::new(host, &ip, &id, Protocol::Http1);
        let own = [
            "host: api.example",
            "x-forwarded-for: 192.0.2.7",
            "x-real-ip: 192.0.2.7",
            "x-forwarded-proto: https",
            "x-forwarded-host: api.example",
            "x-forwarded-port: 443",
            "x-request-id: id",
        ];
        let mut headers = HeaderMap::new();
        RequestHeaderRules::new(settings).apply(&parts, &ours, &mut headers);
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        for field in own {
            let position = all.iter().position(|other| other == field).unwrap_or_else(|| panic!("{field} in {all:?}"));
            all.remove(position);
        }
        all.sort();
        all
    }

    #[test]
    fn what_a_client_claims_to_be_does_not_pass() {
        let kept = applied(
            HeaderSettings::default(),
            Version::HTTP_11,
            &[
                ("host", "evil.example"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("x-real-ip", "1.1.1.1"),
                ("x-request-id", "mine"),
                ("forwarded", "for=1.1.1.1"),
                ("x-ssl-client-verify", "SUCCESS"),
                ("x_ssl_client_verify", "SUCCESS"),
                ("client-cert", ":AAAA:"),
                ("accept", "*/*"),
                ("x-custom", "1"),
                ("x-custom", "2"),
                ("under_score", "1"),
                ("do.t", "1"),
            ],
        );
        assert_eq!(kept, ["accept: */*", "x-custom: 1", "x-custom: 2"]);
    }

    #[test]
    fn hop_by_hop_fields_end_here() {
        let kept = applied(
            HeaderSettings::default(),
            Version::HTTP_11,
            &[
                ("connection", "close, X-Secret"),
                ("connection", "authorization"),
                ("x-secret", "1"),
                ("authorization", "Bearer x"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authorization", "Basic x"),
                ("te", "gzip"),
                ("upgrade", "websocket"),
                ("expect", "100-continue"),
                ("content-length", "5"),
                ("transfer-encoding", "chunked"),
                ("accept", "*/*"),
            ],
        );
        assert_eq!(kept, ["accept: */*"]);
    }

    #[test]
    fn configured_names_pass_or_are_dropped_but_protected_ones_never_pass() {
        let settings = HeaderSettings {
            allow_names: ["under_score", "x_client_cert"].map(HeaderName::from_static).to_vec(),
            drop_request: vec![HeaderName::from_static("x-internal")],
        };
        let kept = applied(
            settings,
            Version::HTTP_11,
            &[("under_score", "1"), ("x_client_cert", "1"), ("x-internal", "1"), ("x-external", "1")],
        );
        assert_eq!(kept, ["under_score: 1", "x-external: 1"]);
    }

    #[test]
    fn cookies_of_http_2_become_one_field() {
        let fields = [("cookie", "a=1"), ("cookie", "b=2")];
        assert_eq!(applied(HeaderSettings::default(), Version::HTTP_2, &fields), ["cookie: a=1; b=2"]);
        assert_eq!(applied(HeaderSettings::default(), Version::HTTP_11, &fields), ["cookie: a=1", "cookie: b=2"]);
    }

    #[test]
    fn only_trailers_that_will_pass_are_announced() {
        let kept = applied(
            HeaderSettings::default(),
            Version::HTTP_11,
            &[
                ("trailer", "X-Checksum, X-SSL-Client-Verify"),
                ("trailer", "Content-Length, X-Request-Id"),
                ("te", "trailers, deflate;q=0.5"),
            ],
        );
        assert_eq!(kept, ["connection: te", "te: trailers", "trailer: x-checksum"]);
    }
}
