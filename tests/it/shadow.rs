//! `client_auth.shadow`: what is only tried is told, and nobody is let in or refused for it.

use std::fs;
use std::time::Duration;

use mtls_gateway::clock::Clock;
use mtls_gateway::config::{self, Overrides, Source};
use mtls_gateway::explain::{Asked, Gate};
use mtls_gateway::tls::HostTrust;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support::binary::{Binary, program, run_to_end};
use crate::support::client::Raw;
use crate::support::gateway::{self, base};
use crate::support::pki::{authority_params, client_under, foreign_authority};
use crate::support::websocket::{by_hand, open, text};
use crate::support::wire::soon;
use crate::support::{Client, Crl, Gateway, Identity, Pki, eventually};

const HOUR: Duration = Duration::from_secs(3600);

const ROUTES: &str = r#"
[[route]]
path = "/*"
respond = {}

[[route]]
path = "/public"
public = true
respond = {}

[[route]]
path = "/listed"
respond = {}
allow = [{ san_dns = "client-1" }]
deny = [{ san_dns = "denied" }]
"#;

/// A configuration with this below `[client_auth]`.
fn configuration(pki: &Pki, client_auth: &str) -> String {
    format!("{}{ROUTES}", base(pki).replace("[drain]", &format!("{client_auth}\n[drain]")))
}

fn shadow(keys: &str) -> String {
    format!("[client_auth.shadow]\n{keys}")
}

/// What the access log says of a request, as `status`, `would_refuse` and `would_allow`.
async fn logged(gateway: &Gateway, id: &str) -> (Value, Value, Value) {
    let line = gateway.logged("request", |line| line["request_id"] == id).await;
    (line["status"].clone(), line["would_refuse"].clone(), line["would_allow"].clone())
}

/// The same of a request on a connection that stays open.
async fn asked(gateway: &Gateway, raw: &mut Raw, path: &str) -> (Value, Value, Value) {
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let answer = raw.answer().await;
    logged(gateway, answer.header("x-request-id").unwrap()).await
}

fn same(status: u16) -> (Value, Value, Value) {
    (json!(status), Value::Null, Value::Null)
}

fn would_refuse(reason: &str) -> (Value, Value, Value) {
    (json!(200), json!(reason), Value::Null)
}

fn would_allow(reason: &str) -> (Value, Value, Value) {
    (json!(403), Value::Null, json!(reason))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_otherwise_is_told_and_nothing_is() {
    let pki = Pki::new();
    let (one, two, denied) = (pki.client("client-1"), pki.issue_client("client-2"), pki.issue_client("denied"));
    let other = foreign_authority("other");
    let of_other = client_under(&other, "of-other");
    let expired = pki.spoiled(|params| params.not_after = OffsetDateTime::now_utc() - Duration::from_secs(60));
    fs::write(pki.path("other.crt"), other.pem()).unwrap();
    fs::write(pki.path("both.crt"), [pki.read("ca.crt"), other.pem().into()].concat()).unwrap();
    fs::write(pki.path("tried.crl"), Crl::new().revoking_client(&two).pem(&pki.issuer())).unwrap();
    fs::write(pki.path("in-force.crl"), Crl::new().revoking_client(&one).pem(&pki.issuer())).unwrap();
    let path = |name: &str| format!("{:?}", pki.path(name));
    let [other_ca, both_ca, tried_list, in_force] = ["other.crt", "both.crt", "tried.crl", "in-force.crl"].map(path);
    let unknown = || would_refuse("unknown_issuer");
    let not_allowed = || would_refuse("not_allowed");
    type Cases<'a> = Vec<(Option<&'a Identity>, &'a str, (Value, Value, Value))>;
    let tried: Vec<(&str, String, Cases<'_>)> = vec![
        (
            "a CA in the place of the other",
            shadow(&format!("ca = {other_ca}")),
            vec![
                (Some(&one), "/x", unknown()),
                (Some(&one), "/listed", unknown()),
                (Some(&one), "/public", same(200)),
                (Some(&of_other), "/x", would_allow("unknown_issuer")),
                (Some(&of_other), "/listed", same(403)),
                (Some(&of_other), "/public", same(200)),
                (Some(&expired), "/x", same(403)),
                (None, "/x", same(403)),
                (None, "/public", same(200)),
            ],
        ),
        (
            "a CA beside the other",
            shadow(&format!("ca = {both_ca}")),
            vec![
                (Some(&one), "/x", same(200)),
                (Some(&of_other), "/x", would_allow("unknown_issuer")),
                (Some(&expired), "/x", same(403)),
            ],
        ),
        (
            "a list where there was none",
            shadow(&format!("crl = {tried_list}")),
            vec![
                (Some(&one), "/x", same(200)),
                (Some(&two), "/x", would_refuse("revoked")),
                (Some(&two), "/public", same(200)),
                (Some(&of_other), "/x", same(403)),
                (None, "/x", same(403)),
            ],
        ),
        (
            "a list in the place of another",
            format!("crl = {in_force}\n{}", shadow(&format!("crl = {tried_list}"))),
            vec![(Some(&one), "/x", would_allow("revoked")), (Some(&two), "/x", would_refuse("revoked"))],
        ),
        (
            "a CA of which there is no list",
            format!("crl = {in_force}\n{}", shadow(&format!("ca = {both_ca}"))),
            vec![
                (Some(&one), "/x", same(403)),
                (Some(&two), "/x", same(200)),
                // In the shadow revocation_unknown, which lets in nobody either.
                (Some(&of_other), "/x", same(403)),
            ],
        ),
        (
            "an allow list",
            shadow("allow = [{ san_dns = \"client-2\" }, { san_dns = \"denied\" }]"),
            vec![
                (Some(&one), "/x", not_allowed()),
                (Some(&one), "/listed", not_allowed()),
                (Some(&one), "/public", same(200)),
                (Some(&two), "/x", same(200)),
                (Some(&two), "/listed", would_allow("not_allowed")),
                // The route's own `deny` has the last word in the shadow, too.
                (Some(&denied), "/listed", same(403)),
                (Some(&of_other), "/x", same(403)),
                (None, "/x", same(403)),
            ],
        ),
        (
            "all of it",
            shadow(&format!("ca = {both_ca}\ncrl = {tried_list}\nallow = [{{ san_dns = \"client-2\" }}]")),
            vec![
                (Some(&one), "/x", not_allowed()),
                (Some(&two), "/x", would_refuse("revoked")),
                (Some(&of_other), "/x", same(403)),
            ],
        ),
        (
            "nothing",
            String::new(),
            vec![(Some(&one), "/x", same(200)), (Some(&of_other), "/x", same(403)), (None, "/x", same(403))],
        ),
    ];
    for (what, client_auth, cases) in tried {
        let text = configuration(&pki, &client_auth);
        let gateway = Gateway::start_with(&text).await;
        let stranger = Client::new(&pki, gateway.address);
        for (number, (identity, path, expected)) in cases.into_iter().enumerate() {
            assert_eq!(explained(&text, identity, path), expected, "{what}: case {number}, {path} explained");
            let client = identity.map_or(stranger.clone(), |identity| stranger.clone().with(identity));
            // The second connection of a client that is believed is not judged anew.
            for again in [false, true] {
                let http1 = client.get(path).await;
                let id = http1.header("x-request-id").unwrap().to_owned();
                assert_eq!(logged(&gateway, &id).await, expected, "{what}: case {number}, {path}, {again}");
                let http2 = client.h2("GET", path, &[], "").await;
                let id = http2.headers["x-request-id"].to_str().unwrap().to_owned();
                assert_eq!(logged(&gateway, &id).await, expected, "{what}: case {number}, {path} over HTTP/2, {again}");
                assert_eq!(http2.status.as_u16(), http1.status);
                if http1.status == 403 {
                    assert_eq!(http2.json()["reason"], http1.json()["reason"]);
                    assert!(!http1.text().contains("would"), "the client is told nothing: {}", http1.text());
                }
            }
        }
    }
}

/// What `gateway explain` makes of a request, in the words of the access log.
fn explained(text: &str, identity: Option<&Identity>, path: &str) -> (Value, Value, Value) {
    let source = Source { name: "x.toml".to_owned(), text: text.to_owned() };
    let config = config::load(Some(&source), &Overrides::default(), &|_| None, false).config.unwrap();
    let gate = Gate::new(&config, HostTrust::open(&config.tls).unwrap()).unwrap();
    let asked = Asked { method: http::Method::GET, host: None, path: path.to_owned() };
    let chain = identity.map(|identity| identity.chain.clone()).unwrap_or_default();
    let explanation = gate.explain(&chain, &asked, Clock::system().now());
    let step = explanation.steps.iter().find(|step| step.what == "shadow");
    let after = |mark: &str| match step.and_then(|step| step.text.split_once(mark)) {
        Some((_, reason)) => json!(reason),
        None => Value::Null,
    };
    let status = json!(explanation.answer.status);
    (status, after("would refuse it: 403 "), after("would let it in, which is refused now: 403 "))
}

/// Where bad certificates end the handshake, a public route is none to who has one.
#[tokio::test(flavor = "multi_thread")]
async fn under_reject_public_routes_would_be_closed_too() {
    let pki = Pki::new();
    let one = pki.client("client-1");
    fs::write(pki.path("tried.crl"), Crl::new().revoking_client(&one).pem(&pki.issuer())).unwrap();
    let tried = shadow(&format!("crl = {:?}", pki.path("tried.crl")));
    let gateway = Gateway::start_with(&configuration(&pki, &format!("invalid = \"reject\"\n{tried}"))).await;
    let mut raw = Client::new(&pki, gateway.address).with(&one).raw().await;
    for path in ["/x", "/public"] {
        assert_eq!(asked(&gateway, &mut raw, path).await, would_refuse("revoked"), "{path}");
    }
    let mut raw = Client::new(&pki, gateway.address).raw().await;
    assert_eq!(asked(&gateway, &mut raw, "/public").await, same(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_tried_list_counts_on_open_connections_and_cuts_none() {
    let (upstream, mut wires) = by_hand().await;
    let pki = Pki::new();
    let list = pki.path("tried.crl");
    fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
    let text_of_it = format!(
        "{}{}[[route]]\npath = \"/ws\"\nupstream = \"api\"\n",
        configuration(&pki, &shadow(&format!("crl = {list:?}"))),
        gateway::upstream("api", upstream.address)
    );
    let gateway = Gateway::start_with(&text_of_it).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let mut raw = client.raw().await;
    let mut http2 = client.http2().await;
    let mut over_http2 = async || {
        let request = http::Request::get("https://localhost/x").body(http_body_util::Full::default()).unwrap();
        let answer = soon(http2.send_request(request)).await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        logged(&gateway, &id).await
    };
    let (mut socket, mut wire) = open(&client, &mut wires).await;
    assert_eq!(asked(&gateway, &mut raw, "/x").await, same(200));
    assert_eq!(over_http2().await, same(200));
    fs::write(&list, Crl::new().revoking_client(&pki.client("client-1")).pem(&pki.issuer())).unwrap();
    eventually("the list is read", async || {
        (asked(&gateway, &mut raw, "/x").await == would_refuse("revoked")).then_some(())
    })
    .await;
    assert_eq!(over_http2().await, would_refuse("revoked"));
    // By now everybody whom the new configuration refuses has been cut.
    socket.send(masked("here")).await;
    assert_eq!(wire.bytes(10).await, masked("here"));
    wire.send(text("there")).await;
    assert!(soon(socket.until("there")).await.ends_with("there"));
    fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
    eventually("the list is read", async || (asked(&gateway, &mut raw, "/x").await == same(200)).then_some(())).await;
    assert_eq!(over_http2().await, same(200));
}

/// A short text frame of a client, with a mask that changes nothing.
fn masked(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0], text.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shadows_verdict_ends_when_its_lists_and_certificates_do() {
    let pki = Pki::new();
    let one = pki.client("client-1");
    fs::write(pki.path("tried.crl"), Crl::new().living(300, 3600).pem(&pki.issuer())).unwrap();
    let now = OffsetDateTime::now_utc();
    let mut params = authority_params("later", None);
    (params.not_before, params.not_after) = (now + HOUR, now + 3 * HOUR);
    let later = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let of_later = client_under(&later, "of-later");
    fs::write(pki.path("both.crt"), [pki.read("ca.crt"), later.pem().into()].concat()).unwrap();
    let start = async |keys: String| {
        let gateway = Gateway::start_with(&configuration(&pki, &shadow(&keys))).await;
        let client = Client::new(&pki, gateway.address);
        (client.clone().with(&one).raw().await, client.with(&of_later).raw().await, gateway)
    };

    let (mut believed, _, gateway) = start(format!("crl = {:?}", pki.path("tried.crl"))).await;
    assert_eq!(asked(&gateway, &mut believed, "/x").await, same(200));
    gateway.clock.advance(2 * HOUR);
    assert_eq!(asked(&gateway, &mut believed, "/x").await, would_refuse("revocation_unknown"));
    assert_eq!(asked(&gateway, &mut believed, "/x").await, would_refuse("revocation_unknown"));

    let (mut believed, mut refused, gateway) = start(format!("ca = {:?}", pki.path("both.crt"))).await;
    assert_eq!(asked(&gateway, &mut refused, "/x").await, same(403));
    assert_eq!(asked(&gateway, &mut believed, "/x").await, same(200));
    gateway.clock.advance(2 * HOUR);
    assert_eq!(asked(&gateway, &mut refused, "/x").await, would_allow("unknown_issuer"));
    assert_eq!(asked(&gateway, &mut believed, "/x").await, same(200));
    gateway.clock.advance(2 * HOUR);
    assert_eq!(asked(&gateway, &mut refused, "/x").await, same(403));
    assert_eq!(asked(&gateway, &mut believed, "/x").await, same(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_begins_a_shadow_and_ends_it() {
    let pki = Pki::new();
    let plain = configuration(&pki, "");
    let gateway = Gateway::start_with(&plain).await;
    let mut raw = Client::new(&pki, gateway.address).with(&pki.client("client-1")).raw().await;
    assert_eq!(asked(&gateway, &mut raw, "/x").await, same(200));
    let other = foreign_authority("other");
    fs::write(pki.path("other.crt"), other.pem()).unwrap();
    let tried = configuration(&pki, &shadow(&format!("ca = {:?}", pki.path("other.crt"))));
    gateway.reload_with(&tried).await.unwrap();
    assert_eq!(asked(&gateway, &mut raw, "/x").await, would_refuse("unknown_issuer"));
    gateway.reload_with(&plain).await.unwrap();
    assert_eq!(asked(&gateway, &mut raw, "/x").await, same(200));
    let has = |line: &Value| ["would_refuse", "would_allow"].map(|field| line.get(field).is_some());
    let lines: Vec<_> = gateway.log().iter().map(has).collect();
    assert_eq!(lines, [[false, false], [true, false], [false, false]], "a field that says nothing is not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_resumed_whatever_is_tried() {
    let pki = Pki::new();
    let with = |client_auth: &str| configuration(&pki, client_auth).replace("[tls]\n", "[tls]\nresumption = \"on\"\n");
    let gateway = Gateway::start_with(&with("")).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client.config(&["http/1.1"])));
    let connect = async || {
        let socket = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        Raw::new(soon(connector.connect(name, socket)).await.unwrap())
    };
    assert_eq!(asked(&gateway, &mut connect().await, "/x").await, same(200));
    let list = pki.path("tried.crl");
    fs::write(&list, Crl::new().revoking_client(&pki.client("client-1")).pem(&pki.issuer())).unwrap();
    fs::write(pki.path("other.crt"), foreign_authority("other").pem()).unwrap();
    for (keys, reason) in [
        (format!("crl = {list:?}"), "revoked"),
        (format!("ca = {:?}", pki.path("other.crt")), "unknown_issuer"),
        ("allow = [{ san_dns = \"nobody\" }]".to_owned(), "not_allowed"),
    ] {
        gateway.reload_with(&with(&shadow(&keys))).await.unwrap();
        let mut raw = connect().await;
        assert_eq!(asked(&gateway, &mut raw, "/x").await, would_refuse(reason));
        assert_eq!(raw.stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_profile_has_its_own_shadow_or_none() {
    let pki = Pki::new();
    fs::write(pki.path("other.crt"), foreign_authority("other").pem()).unwrap();
    let (certificate, key, other) = (pki.path("server.crt"), pki.path("server.key"), pki.path("other.crt"));
    let profile = |name: &str, client_auth: &str| {
        format!(
            "[[tls.sni]]\nnames = \"{name}\"\ncertificate = {certificate:?}\nprivate_key = {key:?}\n{client_auth}\n"
        )
    };
    let own = "client_auth = { shadow = { allow = [{ san_dns = \"client-2\" }] } }";
    let text = [
        configuration(&pki, &shadow(&format!("ca = {other:?}"))),
        profile("api.example.com", own),
        profile("a.tenant.example.com", "client_auth = { max_chain_depth = 3 }"),
        profile("b.tenant.example.com", ""),
    ]
    .concat();
    let gateway = Gateway::start_with(&text).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    for (host, expected) in [
        ("localhost", would_refuse("unknown_issuer")),
        ("api.example.com", would_refuse("not_allowed")),
        ("a.tenant.example.com", same(200)),
        ("b.tenant.example.com", would_refuse("unknown_issuer")),
    ] {
        let request = format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = client.clone().calling(host).send_raw(request).await;
        assert_eq!(logged(&gateway, answer.header("x-request-id").unwrap()).await, expected, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_cannot_be_refuses_the_reload_and_the_start() {
    let pki = Pki::new();
    let one = pki.client("client-1");
    let good = configuration(&pki, &shadow(&format!("crl = {:?}", pki.path("ca.crl"))));
    let gateway = Gateway::start_with(&good).await;
    let mut raw = Client::new(&pki, gateway.address).with(&one).raw().await;
    fs::write(pki.path("garbled"), "-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n").unwrap();
    fs::write(pki.path("empty"), "").unwrap();
    for (key, file) in [("ca", "gone"), ("ca", "empty"), ("crl", "gone"), ("crl", "garbled"), ("crl", "empty")] {
        let path = pki.path(file);
        let bad = configuration(&pki, &shadow(&format!("{key} = {path:?}")));
        let problems = gateway.reload_with(&bad).await.unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(problem.contains(&*path.to_string_lossy()), "{problem}");
        assert_eq!(asked(&gateway, &mut raw, "/x").await, same(200), "the old one serves on");
        let file = pki.path("gateway.toml");
        fs::write(&file, &bad).unwrap();
        for command in ["run", "check"] {
            let output = run_to_end(program().args([command, "-c"]).arg(&file));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{command}: {said}");
            assert!(said.contains(&*path.to_string_lossy()), "{command}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_is_said_at_the_start_explained_and_warned_of() {
    let pki = Pki::new();
    let other = foreign_authority("other");
    fs::write(pki.path("other.crt"), other.pem()).unwrap();
    fs::write(pki.path("old.crl"), Crl::new().living(7200, -60).pem(&pki.issuer())).unwrap();
    let keys = format!("ca = {:?}\nallow = [{{ san_dns = \"a\" }}]\n", pki.path("other.crt"));
    let binary = Binary::start(&format!("{}{ROUTES}", shadow(&keys)));
    let line = binary.logged("the shadow", |line| {
        line["message"].as_str().is_some_and(|message| message.contains("is tried and not enforced"))
    });
    assert_eq!(line["level"], "info");
    let tried = line["tried"].as_str().unwrap();
    assert!(tried.contains("other.crt") && tried.contains("allow with 1 rule"), "{line}");

    let file = pki.path("gateway.toml");
    let run = |client_auth: &str, arguments: &[&str]| {
        fs::write(&file, configuration(&pki, client_auth)).unwrap();
        let output = run_to_end(program().args(arguments).arg("-c").arg(&file));
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    };
    let certificate = pki.path("clients/client-1.crt").to_string_lossy().into_owned();
    let explain = ["explain", "--cert", &certificate, "--path", "/listed"];
    for (keys, status, said) in [
        (format!("ca = {:?}", pki.path("other.crt")), 0, "would refuse it: 403 unknown_issuer"),
        ("allow = [{ san_dns = \"client-2\" }]".to_owned(), 0, "would refuse it: 403 not_allowed"),
        (format!("crl = {:?}", pki.path("ca.crl")), 0, "would say the same"),
    ] {
        let (code, text) = run(&shadow(&keys), &explain);
        let line = text.lines().find(|line| line.contains("shadow")).unwrap_or_else(|| panic!("{text}"));
        assert!(code == Some(status) && line.contains(said), "{text}");
    }
    let (code, text) = run("", &explain);
    assert!(code == Some(0) && !text.contains("shadow"), "{text}");
    let (code, text) = run(&shadow(&format!("crl = {:?}", pki.path("old.crl"))), &["check"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("in the shadow, which is only tried: the CRL of"), "{text}");
}
