//! What a request means, and which route it takes: tricks with path and Host that try to reach a protected route as if
//! it were public, and what reaches the upstream of those that are let in.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::site::ROUTES;
use crate::support::{RawAnswer, Site, eventually};

/// Asks with both clients, each on its own connection; `None` stands for one that reached the upstream, with the target
/// it reached it with.
async fn ask(site: &Site, request: &[u8]) -> [(u16, Vec<String>); 2] {
    let mut outcome = [(0, Vec::new()), (0, Vec::new())];
    for (client, outcome) in [&site.stranger, &site.client].into_iter().zip(&mut outcome) {
        let known = site.upstream.seen().len();
        let answer = client.send_raw(request).await;
        let targets = site.seen_after(known).into_iter().map(|seen| seen.uri.to_string()).collect();
        *outcome = (answer.status, targets);
    }
    outcome
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    /// Anybody reaches the upstream.
    Public,
    /// Only who has a certificate does.
    Private,
    /// Nobody does: 400.
    Refused,
}

use Gate::{Private, Public, Refused};

/// Targets that must be read in one way only. Those that pass reach the upstream byte for byte.
const TARGETS: [(&str, Gate); 106] = [
    ("/", Private),
    ("/public/", Public),
    ("/public/x", Public),
    ("/public", Private),
    ("/publicx", Private),
    ("/Public/x", Private),
    ("/PUBLIC/", Private),
    ("/open", Public),
    ("/open/", Private),
    ("/open/x", Private),
    ("/Open", Private),
    ("/opens", Private),
    ("/open?a=b", Public),
    ("/open?", Public),
    ("/open?/../private", Public),
    ("/open?x=%2e%2e%2f%00%zz", Public),
    ("/%6fpen", Public),
    ("/%6Fp%65n?q=%2E", Public),
    ("/%4fpen", Private),
    ("/open%20", Private),
    ("/open%00", Refused),
    ("/open%00.html", Refused),
    ("/open%", Refused),
    ("/open%2", Refused),
    ("/open%zz", Refused),
    ("/open%2f", Private),
    ("/open%2e", Private),
    ("/open%3f", Private),
    ("/open%23", Private),
    ("/open;x=1", Private),
    ("/open;", Private),
    ("//open", Private),
    ("//public/x", Private),
    ("///public/x", Private),
    ("//localhost/open", Private),
    ("/public//x", Public),
    ("/public///", Public),
    ("/public/../private", Refused),
    ("/public/..", Refused),
    ("/public/../", Refused),
    ("/public/../public/x", Public),
    ("/public/./x", Public),
    ("/public/.", Public),
    ("/public/a/../b", Public),
    ("/public/a/b/../../c", Public),
    ("/public/a/../../private", Refused),
    ("/public/a/../..//private", Refused),
    ("/public/%2e%2e/private", Refused),
    ("/public/%2E%2E/private", Refused),
    ("/public/.%2e/private", Refused),
    ("/public/%2e./private", Refused),
    ("/public/%2e/x", Public),
    ("/public/..%2fprivate", Refused),
    ("/public/..%2Fprivate", Refused),
    ("/public/%2e%2e%2fprivate", Refused),
    ("/public/x%2f..%2f..%2fprivate", Refused),
    ("/public/x/%2e%2e%2f%2e%2e%2fprivate", Refused),
    ("/public/..%5cprivate", Refused),
    ("/public/%2e%2e%5Cprivate", Refused),
    ("/public/..\\private", Refused),
    ("/public\\x", Refused),
    ("\\public\\x", Refused),
    ("/public/..;/private", Refused),
    ("/public/..;a=b/private", Refused),
    ("/public/..;;/private", Refused),
    ("/public/%2e%2e;/private", Refused),
    ("/public/..;a%2fb/private", Refused),
    ("/public/.;/x", Public),
    ("/public/x;y/z", Public),
    ("/public;/x", Private),
    ("/public;x/private", Private),
    ("/public%3b/x", Private),
    ("/public%2fx", Refused),
    ("/public%2Fx", Refused),
    ("/public%5cx", Refused),
    ("/public%2f..%2fprivate", Private),
    ("/%2fpublic/x", Private),
    ("/%70ublic/x", Public),
    ("/%70ublic%2fx", Refused),
    ("/public%2f", Refused),
    ("/./public/x", Refused),
    ("/./private", Private),
    ("/private/../public/x", Refused),
    ("/private/..;/public/x", Refused),
    ("/private/..%2fpublic/x", Refused),
    ("/private%2f..%2fpublic%2fx", Refused),
    ("/private/../open", Refused),
    ("/private/./x/../y", Private),
    ("/..", Refused),
    ("/../private", Refused),
    ("/../public/x", Refused),
    ("/%2e%2e/public/x", Refused),
    ("/..%2fpublic/x", Refused),
    ("/..;/public/x", Refused),
    ("/public/../../public/x", Refused),
    ("/public/../../../etc/passwd", Refused),
    ("/public/...", Public),
    ("/public/.../x", Public),
    ("/public/%20../x", Public),
    ("/public/..%20/x", Public),
    ("/public/%252e%252e/private", Public),
    ("/public/%252f..%252fprivate", Public),
    ("/public/%c0%ae%c0%ae/private", Public),
    ("/private?x=/public/", Private),
    ("/private?/../public/x", Private),
    ("/public/../health", Refused),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_trick_with_the_path_reaches_a_protected_route() {
    let site = Site::start(ROUTES).await;
    let mut wrong = Vec::new();
    for (target, gate) in TARGETS {
        let [stranger, client] = ask(&site, &get(target)).await;
        let reached = |reached: bool| if reached { vec![target.to_owned()] } else { Vec::new() };
        let expected = match gate {
            Public => [(200, reached(true)), (200, reached(true))],
            Private => [(403, reached(false)), (200, reached(true))],
            Refused => [(400, reached(false)), (400, reached(false))],
        };
        if [&stranger, &client] != [&expected[0], &expected[1]] {
            wrong.push(format!("{target} is {gate:?}: a stranger got {stranger:?}, a client {client:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trick_with_the_path_works_over_http_2_either() {
    let site = Site::start(ROUTES).await;
    let mut wrong = Vec::new();
    let (mut stranger, mut client) = (site.stranger.http2().await, site.client.http2().await);
    for (target, gate) in TARGETS {
        let Ok(uri) = format!("https://localhost{target}").parse::<http::Uri>() else { continue };
        if uri.path_and_query().is_none_or(|sent| sent.as_str() != target) {
            continue;
        }
        for (sender, expected) in [
            (
                &mut stranger,
                if gate == Public {
                    200
                } else if gate == Private {
                    403
                } else {
                    400
                },
            ),
            (&mut client, if gate == Refused { 400 } else { 200 }),
        ] {
            let known = site.upstream.seen().len();
            let request = http::Request::get(uri.clone()).body(http_body_util::Full::default()).unwrap();
            let status = sender.send_request(request).await.unwrap().status().as_u16();
            let targets: Vec<_> = site.seen_after(known).into_iter().map(|seen| seen.uri.to_string()).collect();
            let reached = if expected == 200 { vec![target.to_owned()] } else { Vec::new() };
            if (status, &targets) != (expected, &reached) {
                wrong.push(format!("{target} is {gate:?}: got {status}, the upstream {targets:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_control_bytes_in_a_target_are_refused() {
    let site = Site::start(ROUTES).await;
    for byte in (0..0x20).chain([0x7f]) {
        if matches!(byte, b'\r' | b'\n') {
            continue;
        }
        let request = [b"GET /public/", &[byte][..], b"x HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        for client in [&site.stranger, &site.client] {
            assert_eq!(client.send_raw(&request).await.status, 400, "{byte:#x}");
        }
    }
    for request in [
        &b"GET /public/x y HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"GET  /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET\t/public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /public/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /public/x HTTP/1.2\r\nHost: localhost\r\n\r\n",
        b"GET /public/x HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET /public/x http/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /public/x\r\nHost: localhost\r\n\r\n",
        b"GET /public/x HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        b"G\x01T /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"G(T /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b" GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /public/x HTTP/1.1\r\n Host: localhost\r\n\r\n",
    ] {
        let mut raw = site.client.raw().await;
        raw.send(request).await;
        assert_eq!(raw.answer().await.status, 400, "{}", String::from_utf8_lossy(request));
        assert!(raw.is_closed().await);
    }
    assert!(site.upstream.seen().is_empty());
    // A path of raw UTF-8 is what browsers of old send, and means itself.
    assert_eq!(site.stranger.send_raw("GET /public/é HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status, 200);
}

/// Whole requests: what a stranger gets, what a client gets, and the target at the upstream.
const FORMS: [(&str, u16, u16, &str); 56] = [
    ("GET https://localhost/open HTTP/1.1|Host: localhost", 200, 200, "/open"),
    ("GET http://localhost/open HTTP/1.1|Host: localhost", 200, 200, "/open"),
    ("GET HTTPS://LOCALHOST:443/open?q HTTP/1.1|Host: localhost.", 200, 200, "/open?q"),
    ("GET https://localhost./open HTTP/1.1|Host: LocalHost:443", 200, 200, "/open"),
    ("GET https://localhost/private HTTP/1.1|Host: localhost", 403, 200, "/private"),
    ("GET https://localhost HTTP/1.1|Host: localhost", 403, 200, "/"),
    ("GET https://localhost?x HTTP/1.1|Host: localhost", 403, 200, "/?x"),
    ("GET https://localhost:8443/open HTTP/1.1|Host: localhost:8443", 200, 200, "/open"),
    ("GET https://localhost/public/../private HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://evil.example/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://localhost/open HTTP/1.1|Host: evil.example", 400, 400, ""),
    ("GET https://localhost:8443/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://localhost/open HTTP/1.1", 400, 400, ""),
    ("GET https://user@localhost/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://user:pw@localhost/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://evil.example@localhost/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://localhost@evil.example/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET ftp://localhost/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET ws://localhost/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET file:///open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https:///open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https:/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https:open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://local host/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://localhost:99999/open HTTP/1.1|Host: localhost:99999", 400, 400, ""),
    ("GET localhost/open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET localhost:443 HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET health HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET ?x HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET ../open HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET * HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET /open#x HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET /open# HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET /open?x#y HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET /public/x#/../private HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET https://localhost/open#x HTTP/1.1|Host: localhost", 400, 400, ""),
    ("GET /health#x HTTP/1.1|Host: localhost", 400, 400, ""),
    ("OPTIONS * HTTP/1.1|Host: localhost", 204, 204, ""),
    ("OPTIONS * HTTP/1.1", 400, 400, ""),
    ("OPTIONS /open HTTP/1.1|Host: localhost", 200, 200, "/open"),
    ("OPTIONS /private HTTP/1.1|Host: localhost", 403, 200, "/private"),
    ("POST * HTTP/1.1|Host: localhost|Content-Length: 0", 400, 400, ""),
    ("CONNECT localhost:443 HTTP/1.1|Host: localhost", 405, 405, ""),
    ("CONNECT localhost:443 HTTP/1.1|Host: localhost:443", 405, 405, ""),
    ("CONNECT evil.example:25 HTTP/1.1|Host: evil.example:25", 405, 405, ""),
    ("CONNECT /open HTTP/1.1|Host: localhost", 405, 405, ""),
    ("TRACE /open HTTP/1.1|Host: localhost", 405, 405, ""),
    ("TRACE /private HTTP/1.1|Host: localhost", 405, 405, ""),
    ("trace /private HTTP/1.1|Host: localhost", 403, 200, "/private"),
    ("get /private HTTP/1.1|Host: localhost", 403, 200, "/private"),
    ("PROPFIND /open HTTP/1.1|Host: localhost", 200, 200, "/open"),
    ("DELETE /open HTTP/1.1|Host: localhost", 200, 200, "/open"),
    ("GET /open HTTP/1.0", 200, 200, "/open"),
    ("GET /private HTTP/1.0", 403, 200, "/private"),
    ("GET https://localhost/open HTTP/1.0", 200, 200, "/open"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_target_has_one_of_the_forms_there_are() {
    let site = Site::start(ROUTES).await;
    let mut wrong = Vec::new();
    for (head, for_stranger, for_client, target) in FORMS {
        let request = format!("{}\r\n\r\n", head.replace('|', "\r\n"));
        let outcome = ask(&site, request.as_bytes()).await;
        let reached = |status| if status == 200 { vec![target.to_owned()] } else { Vec::new() };
        let expected = [(for_stranger, reached(for_stranger)), (for_client, reached(for_client))];
        if outcome != expected {
            wrong.push(format!("{head}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Host fields, and whether one of them is a host.
const HOSTS: [(&str, bool); 60] = [
    ("Host: localhost", true),
    ("HOST: localhost", true),
    ("host:localhost", true),
    ("Host:   localhost  ", true),
    ("Host: LOCALHOST", true),
    ("Host: localhost.", true),
    ("Host: localhost:443", true),
    ("Host: localhost:8443", true),
    ("Host: localhost:", true),
    ("Host: localhost.:443", true),
    ("Host: 127.0.0.1", true),
    ("Host: 127.0.0.1:8443", true),
    ("Host: [::1]", true),
    ("Host: [::1]:8443", true),
    ("Host: [2001:DB8::1]:443", true),
    ("Host: _service.example", true),
    ("Host: xn--bcher-kva.example", true),
    ("", false),
    ("Host:", false),
    ("Host: ", false),
    ("Host: localhost|Host: localhost", false),
    ("Host: localhost|Host: evil.example", false),
    ("Host: localhost|HOST: localhost", false),
    ("Host: |Host: localhost", false),
    ("Host: localhost, localhost", false),
    ("Host: localhost evil.example", false),
    ("Host: localhost/", false),
    ("Host: localhost/open", false),
    ("Host: /", false),
    ("Host: http://localhost", false),
    ("Host: //localhost", false),
    ("Host: user@localhost", false),
    ("Host: user:pw@localhost", false),
    ("Host: localhost#x", false),
    ("Host: localhost?x", false),
    ("Host: localhost\\x", false),
    ("Host: localhost;x", false),
    ("Host: localhost:port", false),
    ("Host: localhost:443x", false),
    ("Host: localhost:+443", false),
    ("Host: localhost:-1", false),
    ("Host: localhost:65536", false),
    ("Host: localhost:443:443", false),
    ("Host: localhost: 443", false),
    ("Host: :443", false),
    ("Host: .", false),
    ("Host: ..", false),
    ("Host: localhost..", false),
    ("Host: a..b", false),
    ("Host: .localhost", false),
    ("Host: *", false),
    ("Host: *.example", false),
    ("Host: local%68ost", false),
    ("Host: bücher.example", false),
    ("Host: 127.1", false),
    ("Host: 256.0.0.1", false),
    ("Host: 0x7f000001.1", false),
    ("Host: ::1", false),
    ("Host: [::1", false),
    ("Host: [::1%25eth0]", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_needs_one_host_that_is_a_host() {
    let site = Site::start(ROUTES).await;
    let mut wrong = Vec::new();
    for (fields, is_host) in HOSTS {
        let fields = fields.replace('|', "\r\n");
        let fields = if fields.is_empty() { fields } else { format!("{fields}\r\n") };
        let answer = site.stranger.send_raw(format!("GET /open HTTP/1.1\r\n{fields}\r\n")).await;
        if answer.status != if is_host { 200 } else { 400 } {
            wrong.push(format!("{fields:?}: {}", answer.status));
        }
        // The health check needs none.
        let answer = site.stranger.send_raw(format!("GET /health HTTP/1.1\r\n{fields}\r\n")).await;
        if answer.status != 200 {
            wrong.push(format!("health with {fields:?}: {}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Without Host, HTTP/1.0 is fine; with two, it is not.
    for (fields, status) in
        [("", 200), ("Host: localhost\r\n", 200), ("Host: a\r\nHost: a\r\n", 400), ("Host:\r\n", 400)]
    {
        let answer = site.stranger.send_raw(format!("GET /open HTTP/1.0\r\n{fields}\r\n")).await;
        assert_eq!(answer.status, status, "{fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_reaches_the_upstream_as_received() {
    let site = Site::start(ROUTES).await;
    for (request, host, port) in [
        ("GET /open HTTP/1.1\r\nHost: LocalHost.:8443\r\n\r\n", "LocalHost.:8443", "8443"),
        ("GET /open HTTP/1.1\r\nHost: [::1]\r\n\r\n", "[::1]", "443"),
        ("GET https://Api.Example.COM/open HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "Api.Example.COM", "443"),
    ] {
        let known = site.upstream.seen().len();
        assert_eq!(site.stranger.send_raw(request).await.status, 200);
        let seen = site.seen_after(known);
        let field =
            |name: &str| seen[0].headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(field("host"), [host]);
        assert_eq!(field("x-forwarded-host"), [host]);
        assert_eq!(field("x-forwarded-port"), [port]);
    }
}

const TABLE: &str = r#"
[[route]]
path = "/*"
host = "api.example.com"
public = true
respond = { status = 200, body = "exact" }

[[route]]
path = "/*"
host = "*.tenant.example.com"
public = true
respond = { status = 200, body = "wildcard" }

[[route]]
path = "/*"
host = "*.example.com"
public = true
respond = { status = 200, body = "shorter wildcard" }

[[route]]
path = "/none/*"
public = true
respond = { status = 200, body = "none" }

[[route]]
path = "/private/*"
host = "private.example.com"
upstream = "api"

[[route]]
path = "/methods"
methods = ["GET", "POST"]
upstream = "api"

[[route]]
path = "/methods"
methods = ["PUT"]
public = true
upstream = "api"

[[route]]
path = "/deep/*"
methods = ["GET"]
upstream = "api"

[[route]]
path = "/deep/er/*"
methods = ["DELETE"]
upstream = "api"

[[route]]
path = "/cut/*"
upstream = "api"
strip_prefix = "/cut"

[[route]]
path = "/cut"
upstream = "api"
strip_prefix = "/cut"

[[route]]
path = "/two/parts/*"
upstream = "api"
strip_prefix = "/two"

[[route]]
path = "/teapot"
public = true
respond = { status = 418, body = "short and stout", content_type = "text/x-tea" }

[[route]]
path = "/empty"
public = true
respond = { status = 204 }
"#;

async fn call(site: &Site, with_certificate: bool, method: &str, host: &str, path: &str) -> RawAnswer {
    let client = if with_certificate { &site.client } else { &site.stranger };
    let mut raw = client.raw().await;
    raw.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    if method == "HEAD" { raw.answer_to_head().await } else { raw.answer().await }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_route_wins() {
    let site = Site::start(TABLE).await;
    for (host, path, expected) in [
        ("api.example.com", "/x", "exact"),
        ("API.Example.Com.:443", "/x", "exact"),
        ("api.example.com:8443", "/none/x", "exact"),
        ("a.tenant.example.com", "/x", "wildcard"),
        ("A.TENANT.EXAMPLE.COM", "/x", "wildcard"),
        ("tenant.example.com", "/x", "shorter wildcard"),
        ("www.example.com", "/none/x", "shorter wildcard"),
        ("localhost", "/none/x", "none"),
        ("127.0.0.1:8443", "/none/x", "none"),
        ("[::1]", "/none/x", "none"),
        ("a.b.tenant.example.com", "/none/x", "none"),
        ("example.com", "/none/x", "none"),
        ("private.example.com", "/x", "shorter wildcard"),
    ] {
        let answer = call(&site, false, "GET", host, path).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{host}{path}");
    }
    // A request without Host takes the routes without one.
    assert_eq!(site.stranger.send_raw("GET /none/x HTTP/1.0\r\n\r\n").await.text(), "none");
    assert_eq!(site.stranger.send_raw("GET /x HTTP/1.0\r\n\r\n").await.status, 403);
    assert_eq!(site.client.send_raw("GET /x HTTP/1.0\r\n\r\n").await.status, 404);
    let without_labels = call(&site, false, "GET", ".tenant.example.com", "/none/x").await;
    assert_eq!(without_labels.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_client_learns_which_routes_there_are() {
    let site = Site::start(TABLE).await;
    for (method, host, path, for_stranger, for_client, allow) in [
        ("GET", "localhost", "/", 403, 404, None),
        ("GET", "localhost", "/nowhere", 403, 404, None),
        ("GET", "localhost", "/deep", 403, 404, None),
        ("GET", "a.b.tenant.example.com", "/x", 403, 404, None),
        ("GET", "private.example.com", "/private/x", 403, 200, None),
        ("GET", "localhost", "/private/x", 403, 404, None),
        ("GET", "localhost", "/methods", 403, 200, None),
        ("PUT", "localhost", "/methods", 200, 200, None),
        ("DELETE", "localhost", "/methods", 403, 405, Some("GET, POST, PUT")),
        ("HEAD", "localhost", "/methods", 403, 405, Some("GET, POST, PUT")),
        ("OPTIONS", "localhost", "/methods", 403, 405, Some("GET, POST, PUT")),
        ("GET", "localhost", "/deep/x", 403, 200, None),
        ("POST", "localhost", "/deep/x", 403, 405, Some("GET")),
        // The longer prefix wins before its methods are looked at.
        ("GET", "localhost", "/deep/er/x", 403, 405, Some("DELETE")),
        ("DELETE", "localhost", "/deep/er/x", 403, 200, None),
    ] {
        for (with_certificate, status) in [(false, for_stranger), (true, for_client)] {
            let answer = call(&site, with_certificate, method, host, path).await;
            assert_eq!(answer.status, status, "{method} {host}{path} {with_certificate}");
            assert_eq!(answer.header("allow"), allow.filter(|_| with_certificate), "{method} {host}{path}");
            if method == "HEAD" {
                continue;
            }
            let reason = match status {
                403 => "certificate_missing",
                404 => "no_route",
                405 => "method_not_allowed",
                _ => continue,
            };
            assert_eq!(answer.json()["reason"], reason);
        }
    }
    // What a stranger is told does not depend on whether there is a route.
    let (there, nowhere) =
        (call(&site, false, "GET", "localhost", "/deep/x").await, call(&site, false, "GET", "localhost", "/n").await);
    let names = |answer: &RawAnswer| answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&there), names(&nowhere));
    assert_eq!(there.body.len(), nowhere.body.len());
    assert_eq!(there.json()["detail"], nowhere.json()["detail"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_cut_and_the_rest_goes_on_byte_for_byte() {
    let site = Site::start(TABLE).await;
    for (path, expected) in [
        ("/cut/x", Ok("/x")),
        ("/cut/", Ok("/")),
        ("/cut", Ok("/")),
        ("/cut?q=1", Ok("/?q=1")),
        ("/cut/?", Ok("/?")),
        ("/cut/x%2Fy?a=%2e", Ok("/x%2Fy?a=%2e")),
        ("/%63ut/x", Ok("/x")),
        ("/cut//x", Ok("//x")),
        ("/cut/a/../b", Ok("/a/../b")),
        ("/cut/a/./b;c", Ok("/a/./b;c")),
        ("/two/parts/x", Ok("/parts/x")),
        ("/cutx", Err(404)),
        // What is left would climb out of the root, to the upstream's surprise.
        ("/cut/../cut/x", Err(400)),
        ("/cut/%2e%2e/cut/x", Err(400)),
        ("/cut/..%2fcut/x", Err(400)),
        ("/cut/..;/cut/x", Err(400)),
        ("/two/parts/../../two/parts/x", Err(400)),
        ("/two/parts/../parts/x", Ok("/parts/../parts/x")),
    ] {
        let known = site.upstream.seen().len();
        let answer = call(&site, true, "GET", "localhost", path).await;
        let seen: Vec<_> = site.seen_after(known).into_iter().map(|seen| seen.uri.to_string()).collect();
        match expected {
            Ok(target) => assert_eq!((answer.status, seen), (200, vec![target.to_owned()]), "{path}"),
            Err(status) => assert_eq!((answer.status, seen.len()), (status, 0), "{path}: {seen:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_answers_by_itself() {
    let site = Site::start(TABLE).await;
    let answer = call(&site, false, "GET", "localhost", "/teapot").await;
    assert_eq!((answer.status, answer.text().as_str()), (418, "short and stout"));
    assert_eq!(answer.header("content-type"), Some("text/x-tea"));
    assert_eq!(answer.header("content-length"), Some("15"));
    assert!(answer.header("x-request-id").is_some());
    let head = call(&site, false, "HEAD", "localhost", "/teapot").await;
    assert_eq!((head.status, head.header("content-length")), (418, Some("15")));
    let empty = call(&site, false, "GET", "localhost", "/empty").await;
    assert_eq!((empty.status, empty.header("content-length")), (204, None));
    assert!(site.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_path_answers_anybody_and_only_get_and_head() {
    let site = Site::start(ROUTES).await;
    for (request, status) in [
        ("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET /health HTTP/1.1\r\nHost: 10.0.0.1:8443\r\n\r\n", 200),
        ("GET /health HTTP/1.1\r\nHost: anything at all\r\n\r\n", 200),
        ("GET /health HTTP/1.1\r\n\r\n", 200),
        ("GET /health HTTP/1.0\r\n\r\n", 200),
        ("GET /health?x=1&y HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET /health? HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET https://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 200),
        ("POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 403),
        ("OPTIONS /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("get /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET /health/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET /health/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET /healthx HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET /Health HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET //health HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET /health;x HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET /x/../health HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
    ] {
        let answer = site.stranger.send_raw(request).await;
        assert_eq!(answer.status, status, "{request}");
        if status == 200 {
            assert_eq!(answer.text(), "OK");
            assert_eq!(answer.header("content-type"), Some("text/plain"));
        }
        let client = site.client.send_raw(request).await;
        assert_eq!(client.status, 200, "{request}");
        assert_eq!(client.text() == "OK", status == 200, "{request}");
    }
    let mut raw = site.stranger.raw().await;
    raw.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = raw.answer_to_head().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
    raw.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.text(), "OK");
    let over_http2 = site.stranger.h2("GET", "/health", &[], "").await;
    assert_eq!((over_http2.status.as_u16(), &over_http2.body[..]), (200, &b"OK"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_over_its_limits_is_refused_and_one_at_its_limits_is_not() {
    let limits = "[limits]\nrequest_headers = \"4KiB\"\nuri = \"1KiB\"\nheader_count = 20\n";
    let site = Site::start(&format!("{ROUTES}{limits}")).await;
    let uri = |length: usize| {
        let padding = "a".repeat(length - "/public/?".len());
        format!("GET /public/?{padding} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    };
    let head = |length: usize| {
        let start = "GET /public/ HTTP/1.1\r\nHost: localhost\r\nX-Padding: ";
        format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4))
    };
    let fields = |count: usize| {
        let more: String = (1..count).map(|number| format!("X-{number}: x\r\n")).collect();
        format!("GET /public/ HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")
    };
    for (what, request, status) in [
        ("a target at its limit", uri(1024), 200),
        ("a target over its limit", uri(1025), 414),
        ("a target over its limit inside the head's", uri(3900), 414),
        ("a target over the head's limit", uri(5000), 431),
        ("a head at its limit", head(4096), 200),
        ("a head over its limit", head(4097), 431),
        ("a head far over its limit", head(300_000), 431),
        ("as many fields as there may be", fields(20), 200),
        ("a field too many", fields(21), 431),
        ("many fields too many", fields(300), 431),
    ] {
        let known = site.upstream.seen().len();
        let mut raw = site.client.raw().await;
        raw.send(&request).await;
        assert_eq!(raw.answer().await.status, status, "{what}");
        assert_eq!(site.seen_after(known).len(), usize::from(status == 200), "{what}");
        if status != 200 {
            assert!(raw.is_closed().await, "{what}");
        }
    }
    let rejected = eventually("a line for each rejection", async || {
        let lines = site.gateway.log().into_iter().filter(|line| line["event"] == "rejected").collect::<Vec<_>>();
        (lines.len() == 5).then_some(lines)
    })
    .await;
    assert!(rejected.iter().all(|line| line["status"] == 431 && line["level"] == "warn"));

    for (what, count, length, status) in [
        ("as many fields as there may be", 20, 10, 200),
        ("a field too many", 21, 10, 431),
        ("a target at its limit", 1, 1024, 200),
        ("a target over its limit", 1, 1025, 414),
    ] {
        let names: Vec<_> = (0..count).map(|number| format!("x-{number}")).collect();
        let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let target = format!("/public/?{}", "a".repeat(length - "/public/?".len()));
        let answer = site.client.h2("GET", &target, &headers, "").await;
        assert_eq!(answer.status.as_u16(), status, "{what} over HTTP/2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_may_be_as_long_as_the_configuration_says() {
    let limits = "[limits]\nrequest_headers = \"1MiB\"\nuri = 60000\n";
    let site = Site::start(&format!("{ROUTES}{limits}")).await;
    let start = "GET /open HTTP/1.1\r\nHost: localhost\r\n";
    let padding = |bytes: usize| {
        let field = format!("X-Padding: {}\r\n", "a".repeat(7000));
        field.repeat(bytes / field.len())
    };
    assert_eq!(site.client.send_raw(format!("{start}{}\r\n", padding(500_000))).await.status, 200);
    assert_eq!(site.client.send_raw(format!("{start}{}\r\n", padding(1_100_000))).await.status, 431);
    let mut long = format!("GET /open?{}", "a".repeat(70_000));
    long.push_str(" HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(site.client.send_raw(long).await.status, 414);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_head_is_cut_off_soon() {
    let site = Site::start(ROUTES).await;
    let mut raw = site.client.raw().await;
    raw.send("GET /open HTTP/1.1\r\nHost: localhost\r\nX-Endless: ").await;
    let began = Instant::now();
    // Nobody reads 200 KiB for a limit of 32.
    for _ in 0..200 {
        use tokio::io::AsyncWriteExt as _;
        if raw.stream.write_all(&[b'a'; 1024]).await.is_err() {
            break;
        }
    }
    assert_eq!(raw.answer().await.status, 431);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_lines_before_a_request_are_ignored() {
    let site = Site::start(ROUTES).await;
    assert_eq!(site.stranger.send_raw("\r\n\r\nGET /open HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status, 200);
    let mut raw = site.stranger.raw().await;
    for _ in 0..3 {
        raw.send("POST /open HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok\r\n").await;
        assert_eq!(raw.answer().await.status, 200);
    }
}
