//! What the gateway makes of a request's head on its way to the upstream: the client's fields less those that end here,
//! those about its certificate, and the gateway's own.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use http::header::{HeaderName, HeaderValue};
use http::{Request, Uri, Version, request};
use mtls_gateway::identity::ClientCert;
use mtls_gateway::proxy::{Dialect, HeaderSettings, RequestHeaderRules, RequestHeaders, client_cert_fields};
use mtls_gateway::tls::Protocol;
use mtls_gateway::upstream::{KnownFields, RequestHead};

use crate::pki::{Keys, Pki, facts_of};

/// What clients usually send. The last two do not pass.
const USUAL: [(&str, &str); 10] = [
    ("host", "api.example.com"),
    ("user-agent", "orders/4.2 (linux; x86_64)"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, br"),
    ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvcmRlcnMifQ.c2lnbmF0dXJl"),
    ("content-type", "application/json"),
    ("cookie", "session=0123456789abcdef0123456789abcdef"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("connection", "keep-alive"),
    ("x-ssl-client-verify", "MALLORY"),
];

pub(crate) fn measure(criterion: &mut Criterion) {
    let path = Pki::new(Keys::P256).below_intermediate();
    let facts = facts_of(&path);
    let client = ClientCert::Verified(Arc::new(facts.clone()));
    let known = KnownFields::from(client_cert_fields(vec![Dialect::Nginx], &facts, &client, &path));
    let rules = RequestHeaderRules::new(HeaderSettings::default());
    let [host, ip, id] =
        ["api.example.com", "192.0.2.7", "0af7651916cd43dd8448eb211c80319c"].map(HeaderValue::from_static);
    let mut group = criterion.benchmark_group("write a request's head");
    for (name, upstream, target) in [
        ("for HTTP/1", Protocol::Http1, "/v1/orders/17?full=true"),
        ("for HTTP/2", Protocol::Http2, "http://api.example.com/v1/orders/17?full=true"),
    ] {
        let target: Uri = target.parse().unwrap();
        for fields in [10, 32, 100] {
            let request = request(fields);
            let head = |request: &request::Parts| {
                let ours = RequestHeaders::new(host.clone(), &ip, &id, upstream);
                rules.head(request, black_box(&target), Some(&known), &ours)
            };
            check(head(&request), fields);
            group.throughput(Throughput::Elements(fields as u64));
            group.bench_with_input(BenchmarkId::new(name, fields), &request, |bencher, request| {
                bencher.iter(|| head(request));
            });
        }
    }
    group.finish();
}

/// A request with so many fields.
fn request(fields: usize) -> request::Parts {
    let mut request = Request::get("/v1/orders/17?full=true").version(Version::HTTP_11);
    for (name, value) in USUAL {
        request = request.header(name, value);
    }
    for number in USUAL.len()..fields {
        let name = HeaderName::try_from(format!("x-application-{number}")).unwrap();
        request = request.header(name, "some value of a usual length");
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    assert_eq!(parts.headers.len(), fields);
    parts
}

/// What passes has passed, the gateway has said its own, and a lie has ended.
fn check(head: RequestHead, fields: usize) {
    let text = match head {
        RequestHead::Http1(head) => String::from_utf8(head.into_parts().0).unwrap(),
        RequestHead::Http2(head) => {
            let field = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}\r\n", value.to_str().unwrap());
            head.headers().iter().map(field).collect()
        }
    };
    for expected in ["traceparent: 00-", "x-forwarded-for: 192.0.2.7\r\n", "x-ssl-client-verify: SUCCESS\r\n"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert_eq!(text.matches("x-application-").count(), fields - USUAL.len());
    assert!(!text.contains("MALLORY") && !text.contains("keep-alive"), "{text}");
}
