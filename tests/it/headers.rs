//! What the upstream is told of the client, and what a client may not say of itself.

use http::HeaderMap;
use rcgen::{CertificateParams, CustomExtension, SanType};

use crate::support::site::ROUTES;
use crate::support::upstream::text;
use crate::support::{Client, Identity, Seen, Site, Upstream};

/// Names that stand for a client's identity, to one server or another.
const PROTECTED: [&str; 103] = [
    "Client-Cert",
    "client-cert",
    "CLIENT-CERT",
    "Client_Cert",
    "Client.Cert",
    "Client-Cert-Chain",
    "Client_Cert_Chain",
    "X-Forwarded-Client-Cert",
    "X_Forwarded_Client_Cert",
    "x-forwarded-client-cert",
    "X-Forwarded-Tls-Client-Cert",
    "X-Forwarded-Tls-Client-Cert-Info",
    "X_Forwarded_Tls_Client_Cert",
    "X-SSL-Client-Verify",
    "X-Ssl-Client-Verify",
    "x-ssl-client-verify",
    "X_SSL_Client_Verify",
    "X-SSL_Client-Verify",
    "X.SSL.Client.Verify",
    "X~SSL~Client~Verify",
    "X!SSL!Client!Verify",
    "X-SSL-Client-S-DN",
    "X_SSL_CLIENT_S_DN",
    "X-SSL-Client-I-DN",
    "X-SSL-Client-Serial",
    "X-SSL-Client-SHA256",
    "X-SSL-Client-SAN",
    "X-SSL-Client-Not-After",
    "X-SSL-Client-Truncated",
    "X-SSL-Client-Cert",
    "X-SSL-Cert",
    "X-SSL-Anything",
    "X_SSL_Anything",
    "SSL-Client-Cert",
    "SSL_CLIENT_CERT",
    "SSL_CLIENT_VERIFY",
    "SSL-Client-Verify",
    "SSL-Client-S-DN",
    "SSL_Client_I_DN",
    "X-Client-Cert",
    "X_Client_Cert",
    "X-Client-Certificate",
    "X-Client-Cert-Chain",
    "X-Client-Verify",
    "X_Client_Verify",
    "X-Client-DN",
    "X_Client_DN",
    "X-Client-S-DN",
    "X_CLIENT_S_DN",
    "X-Amzn-Mtls-Clientcert",
    "X-Amzn-Mtls-Clientcert-Leaf",
    "X-Amzn-Mtls-Clientcert-Subject",
    "X-Amzn-Mtls-Anything",
    "X_Amzn_Mtls_Clientcert",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "X.Forwarded.For",
    "x-forwarded-for",
    "X-Forwarded-Proto",
    "X_Forwarded_Proto",
    "X-Forwarded-Host",
    "X_Forwarded_Host",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-By",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "Forwarded",
    "FORWARDED",
    "X-Real-IP",
    "X_Real_IP",
    "x.real.ip",
    "X-Request-Id",
    "X_Request_Id",
    "X-Request_ID",
    "My-Client-Cert",
    "My_Client_Cert_Fingerprint",
    "X-ClientCert",
    "ssl-clientcert-fingerprint",
    "Tls-Client-Certificate-Sha256",
    "Client-Cert-CHAIN",
    "CLIENT.CERT.CHAIN",
    "X-Forwarded_Client-Cert",
    "X.Forwarded.Client.Cert",
    "X-FORWARDED-CLIENT-CERT",
    "X-Forwarded-Tls_Client-Cert",
    "X-Forwarded-Tls-Client-Cert_Info",
    "X.Forwarded.Tls.Client.Cert.Info",
    "X-FORWARDED-TLS-CLIENT-CERT-INFO",
    "X-Amzn-Mtls-Clientcert-Serial-Number",
    "X_Amzn_Mtls_Clientcert_Serial_Number",
    "X-Amzn-Mtls-Clientcert-Issuer",
    "X-Amzn_Mtls-Clientcert-Issuer",
    "X.Amzn.Mtls.Clientcert.Subject",
    "X-Amzn-Mtls-Clientcert-Validity",
    "x_amzn_mtls_clientcert_validity",
    "X_Amzn_Mtls_Clientcert_Leaf",
    "X-AMZN-MTLS-CLIENTCERT",
    "x.amzn.mtls.clientcert",
    "X-A-Long-Name-Before-It-That-Takes-More-Than-Sixty-Four-Characters-Client-Cert",
];

const LIE: &str = "a lie";

/// What the gateway says of every request.
const OURS: [&str; 6] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip", "x-request-id"];

fn lies(headers: &HeaderMap) -> Vec<String> {
    headers.iter().filter(|(_, value)| value.as_bytes() == LIE.as_bytes()).map(|(name, _)| name.to_string()).collect()
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

async fn reached(site: &Site, client: &Client, request: &str) -> Seen {
    let known = site.upstream.seen().len();
    let answer = client.send_raw(request).await;
    assert_eq!(answer.status, 200, "{request}: {}", answer.text());
    let mut seen = site.seen_after(known);
    assert_eq!(seen.len(), 1);
    seen.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_an_identity_header_passes() {
    let site = Site::start(&format!("{ROUTES}[headers]\nallow_names = [\"x_fine\"]\n")).await;
    let mut wrong = Vec::new();
    for name in PROTECTED {
        for client in [&site.stranger, &site.client] {
            let request =
                format!("GET /open HTTP/1.1\r\nHost: localhost\r\n{name}: {LIE}\r\n{name}: {LIE}\r\nX_Fine: 1\r\n\r\n");
            let seen = reached(&site, client, &request).await;
            if !lies(&seen.headers).is_empty() {
                wrong.push(format!("{name} as a header"));
            }
            assert_eq!(values(&seen.headers, "x_fine"), ["1"]);
        }
        let request = format!(
            "POST /open HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: {name}, X-Sum\r\n\r\n\
             1\r\nx\r\n0\r\n{name}: {LIE}\r\nX-Sum: 1\r\n\r\n"
        );
        let seen = reached(&site, &site.client, &request).await;
        let trailers = seen.trailers.unwrap_or_default();
        if !lies(&trailers).is_empty() || values(&seen.headers, "trailer").iter().any(|value| *value != "x-sum") {
            wrong.push(format!("{name} as a trailer: {:?} {trailers:?}", seen.headers));
        }
        assert_eq!(values(&trailers, "x-sum"), ["1"], "{name}");

        let known = site.upstream.seen().len();
        let answer = site.client.h2("GET", "/open", &[(name, LIE), ("x_fine", "1")], "").await;
        assert_eq!(answer.status, 200);
        let seen = site.seen_after(known).remove(0);
        if !lies(&seen.headers).is_empty() {
            wrong.push(format!("{name} over HTTP/2"));
        }
        assert_eq!(values(&seen.headers, "x_fine"), ["1"]);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for seen in site.upstream.seen() {
        for name in OURS {
            assert_eq!(values(&seen.headers, name).len(), 1, "{name} is said once: {:?}", seen.headers);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_over_http_2_are_cleaned_too() {
    let site = Site::start(ROUTES).await;
    for name in PROTECTED {
        let stream = site.client.connect(&["h2"]).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("https://localhost/open").header("trailer", format!("{name}, x-sum"));
        let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(bytes::Bytes::from_static(b"x"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), LIE.parse().unwrap());
        trailers.insert("x-sum", "1".parse().unwrap());
        body.send_trailers(trailers).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    for seen in site.upstream.seen() {
        let trailers = seen.trailers.unwrap();
        assert_eq!(trailers.len(), 1, "{trailers:?}");
        assert_eq!(trailers["x-sum"], "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_unusual_characters_pass_only_where_they_are_allowed() {
    let more =
        "[headers]\nallow_names = [\"x_trace\", \"x.dotted\"]\ndrop_request = [\"X-Internal\", \"authorization\"]\n";
    let site = Site::start(&format!("{ROUTES}{more}")).await;
    let seen = reached(
        &site,
        &site.client,
        "GET /open HTTP/1.1\r\nHost: localhost\r\nX_Trace: 1\r\nX.Dotted: 1\r\nX_Other: 1\r\nX.Other: 1\r\nX~Y: 1\r\n\
         X'Y: 1\r\nX$Y: 1\r\nX-Internal: 1\r\nx-internal: 2\r\nAuthorization: Bearer x\r\nX-External: 1\r\n_: 1\r\n\
         Cookie: a=1\r\nCookie: b=2\r\nX-Empty:\r\nX-Bytes: caf\u{e9}\r\n\r\n",
    )
    .await;
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).filter(|name| !OURS.contains(name)).collect();
    names.retain(|name| !name.starts_with("x-ssl-"));
    names.sort_unstable();
    assert_eq!(names, ["cookie", "host", "x-bytes", "x-empty", "x-external", "x.dotted", "x_trace"]);
    assert_eq!(values(&seen.headers, "cookie"), ["a=1", "b=2"]);
    assert_eq!(seen.headers["x-bytes"].as_bytes(), "caf\u{e9}".as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_end_at_the_gateway_in_both_directions() {
    let upstream = Upstream::answering(|_| {
        let mut answer = http::Response::new(text("answer"));
        for (name, value) in [
            ("connection", "X-Secret, x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authenticate", "Basic"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("x-kept", "1"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-request-id", "the upstream's"),
        ] {
            answer.headers_mut().append(name, value.parse().unwrap());
        }
        answer
    })
    .await;
    let site = Site::before(upstream, ROUTES).await;
    let request = "POST /open HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, X-Secret ,x-other,, Cookie\r\n\
                   Connection: X-Third, X-Forwarded-For, Host, Content-Length, X-SSL-Client-Verify\r\nX-Secret: 1\r\n\
                   X-Other: 1\r\nX-Third: 1\r\nCookie: a=1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
                   Proxy-Authorization: Basic x\r\nUpgrade: websocket\r\nHTTP2-Settings: x\r\nTE: gzip\r\n\
                   Sec-WebSocket-Key: x\r\nX-Kept: 1\r\nContent-Length: 5\r\n\r\nhello";
    let seen = reached(&site, &site.client, request).await;
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).filter(|name| !OURS.contains(name)).collect();
    names.retain(|name| !name.starts_with("x-ssl-"));
    names.sort_unstable();
    assert_eq!(names, ["content-length", "host", "sec-websocket-key", "x-kept"]);
    assert_eq!(seen.body.as_deref(), Ok(&b"hello"[..]));
    assert_eq!(values(&seen.headers, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&seen.headers, "x-ssl-client-verify"), ["SUCCESS"]);

    let answer = site.client.get("/open").await;
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "set-cookie", "set-cookie", "x-kept", "x-request-id"]);
    assert_ne!(answer.header("x-request-id"), Some("the upstream's"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_is_told_who_asks_and_the_client_its_request_id() {
    let site = Site::start(ROUTES).await;
    let mut ids = Vec::new();
    for (request, host, port) in [
        ("GET /open HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine\r\n\r\n", "localhost", "443"),
        ("GET /open HTTP/1.1\r\nHost: Api.Example.com:8443\r\n\r\n", "Api.Example.com:8443", "8443"),
    ] {
        let known = site.upstream.seen().len();
        let answer = site.client.send_raw(request).await;
        let seen = site.seen_after(known).remove(0);
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(answer.headers.iter().filter(|(name, _)| name == "x-request-id").count(), 1);
        assert_ne!(id, "mine");
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", host),
            ("x-forwarded-port", port),
            ("host", host),
            ("x-request-id", &id),
        ] {
            assert_eq!(values(&seen.headers, name), [value], "{name}");
        }
        assert!(!seen.headers.contains_key("via"));
        let line = site.gateway.logged("request", |line| line["request_id"] == id.as_str()).await;
        assert_eq!(line["client_verify"], "SUCCESS");
        ids.push(id);
    }
    ids.push(site.stranger.get("/private").await.header("x-request-id").unwrap().to_owned());
    ids.push(site.stranger.get("/health").await.header("x-request-id").unwrap().to_owned());
    let known = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), known, "no id is used twice");
}

async fn described(site: &Site, identity: &Identity) -> HeaderMap {
    let client = site.stranger.clone().with(identity);
    reached(site, &client, "GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n").await.headers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_described_by_what_it_says() {
    let site = Site::start(ROUTES).await;
    let identity = site.pki.spoiled(|params| {
        params.serial_number = Some(vec![0x0a, 0xbc, 0x00, 0xff].into());
        params.not_after = rcgen::date_time_ymd(2090, 12, 31);
        params.subject_alt_names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI("spiffe://example/ns/a,b%c".try_into().unwrap()),
            SanType::Rfc822Name("who@example".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
        ];
    });
    let headers = described(&site, &identity).await;
    let sha256 = mtls_gateway::identity::hex_lower(&mtls_gateway::identity::sha256(&identity.chain[0]));
    for (name, value) in [
        ("x-ssl-client-verify", "SUCCESS"),
        ("x-ssl-client-s-dn", "CN=spoiled"),
        ("x-ssl-client-serial", "0ABC00FF"),
        ("x-ssl-client-sha256", &sha256),
        ("x-ssl-client-not-after", "2090-12-31T00:00:00Z"),
        (
            "x-ssl-client-san",
            "DNS:a.example,URI:spiffe://example/ns/a%2Cb%25c,EMAIL:who@example,IP:192.0.2.1,IP:2001:db8::1",
        ),
    ] {
        assert_eq!(values(&headers, name), [value], "{name}");
    }
    let issuer = values(&headers, "x-ssl-client-i-dn");
    assert!(issuer.len() == 1 && issuer[0].contains("CN="), "{issuer:?}");
    assert!(!headers.contains_key("x-ssl-client-truncated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_4_kib_is_left_out_and_said_to_be() {
    let site = Site::start(ROUTES).await;
    let names = |params: &mut CertificateParams, count: usize| {
        params.subject_alt_names =
            (0..count).map(|number| SanType::DnsName(format!("name-{number}.example").try_into().unwrap())).collect();
    };
    let few = described(&site, &site.pki.spoiled(|params| names(params, 20))).await;
    assert!(few.contains_key("x-ssl-client-san") && !few.contains_key("x-ssl-client-truncated"));
    let many = described(&site, &site.pki.spoiled(|params| names(params, 1000))).await;
    assert!(!many.contains_key("x-ssl-client-san"));
    assert_eq!(values(&many, "x-ssl-client-truncated"), ["1"]);
    assert_eq!(values(&many, "x-ssl-client-s-dn"), ["CN=spoiled"]);
    let length: usize = many
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ssl-"))
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    assert!(length <= 4096, "{length}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alternative_name_cannot_smuggle_a_line_end_or_another_name() {
    let site = Site::start(ROUTES).await;
    // dNSName "a,DNS:admin\r\nX-SSL-Client-Verify: SUCCESS", which no tool would make.
    let name = b"a,DNS:admin\r\nX: y\xc3\xa9";
    let mut content = vec![0x30, name.len() as u8 + 2, 0x82, name.len() as u8];
    content.extend_from_slice(name);
    let identity = site.pki.spoiled(|params| {
        params.subject_alt_names.clear();
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], content));
    });
    let client = site.stranger.clone().with(&identity);
    let known = site.upstream.seen().len();
    let answer = client.get("/private").await;
    // Refused for its form, or told with every byte of it encoded.
    if answer.status == 200 {
        let seen = site.seen_after(known).remove(0);
        assert_eq!(values(&seen.headers, "x-ssl-client-san"), ["DNS:a%2CDNS:admin%0D%0AX:%20y%C3%A9"]);
    } else {
        assert_eq!((answer.status, answer.json()["reason"].clone()), (403, "malformed".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_forwards_no_certificate_says_nothing_of_it() {
    let more = "[[route]]\npath = \"/quiet/*\"\nupstream = \"api\"\nforward_client_cert = []\n";
    let site = Site::start(&format!("{ROUTES}{more}")).await;
    let request = format!("GET /quiet/x HTTP/1.1\r\nHost: localhost\r\nX-SSL-Client-Verify: {LIE}\r\n\r\n");
    let seen = reached(&site, &site.client, &request).await;
    assert!(seen.headers.keys().all(|name| !name.as_str().starts_with("x-ssl-")), "{:?}", seen.headers);
}

/// A field that `Connection` lists is hop-by-hop; what the gateway itself says is not the client's to list.
#[tokio::test(flavor = "multi_thread")]
async fn what_connection_lists_takes_away_nothing_that_the_gateway_says() {
    let site = Site::start(ROUTES).await;
    for listed in OURS.into_iter().chain(["x-ssl-client-verify", "X-SSL-Client-S-DN", "host", "Content-Length"]) {
        let request = format!(
            "POST /private HTTP/1.1\r\nHost: localhost\r\nConnection: X-Gone, {listed}\r\nX-Gone: 1\r\n\
             {LIE_TO_BE_LISTED}: {LIE}\r\nContent-Length: 5\r\n\r\nhello"
        );
        let seen = reached(&site, &site.client, &request).await;
        assert!(lies(&seen.headers).is_empty() && !seen.headers.contains_key("x-gone"), "{listed}: {:?}", seen.headers);
        for name in OURS.into_iter().chain(["x-ssl-client-verify", "x-ssl-client-s-dn", "host"]) {
            assert_eq!(values(&seen.headers, name).len(), 1, "{listed}: {name} is said once: {:?}", seen.headers);
        }
        assert_eq!(seen.headers["x-ssl-client-verify"], "SUCCESS");
        assert_eq!(seen.body.as_deref(), Ok(&b"hello"[..]), "{listed}");
    }
}

const LIE_TO_BE_LISTED: &str = "X-SSL-Client-Verify";
