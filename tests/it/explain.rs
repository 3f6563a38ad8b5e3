//! What is told without a connection is what a connection gets; and a configuration that breaks its own promises is
//! not reloaded.

use std::collections::HashMap;

use http::Method;
use mtls_gateway::clock::Clock;
use mtls_gateway::config::{self, Overrides, Source};
use mtls_gateway::explain::{Answer, Asked, Gate, Logged};
use mtls_gateway::net::Authority;
use mtls_gateway::tls::HostTrust;

use crate::support::pki::{client_under, foreign_authority};
use crate::support::{Client, Gateway, Identity, Pki, gateway};

const ROUTES: &str = r#"
[[route]]
path = "/*"
respond = {}

[[route]]
path = "/open/*"
public = true
respond = {}

[[route]]
path = "/listed/*"
methods = ["GET", "POST"]
respond = {}
allow = [{ san_dns = "client-1" }]

[[route]]
path = "/listed/deep/*"
respond = {}
deny = [{ san_dns = "client-1" }]

[[route]]
host = "api.example.com"
path = "/only"
methods = ["PUT"]
respond = {}

[limits]
uri = 100
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_happens() {
    let pki = Pki::new();
    let text = format!("{}{}", gateway::base(&pki), ROUTES.replacen("path = \"/*\"", "path = \"/most/*\"", 1));
    let gateway = Gateway::start_with(&text).await;
    let source = Source { name: "x.toml".to_owned(), text };
    let loaded = config::load(Some(&source), &Overrides::default(), &|_| None, false).config.unwrap();
    let trust = HostTrust::open(&loaded.tls).unwrap();
    let gate = Gate::new(&loaded, trust).unwrap();
    let identities: [(&str, Option<Identity>); 6] = [
        ("nobody", None),
        ("client-1", Some(pki.client("client-1"))),
        ("client-2", Some(pki.issue_client("client-2"))),
        ("expired", Some(pki.spoiled(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)))),
        ("foreign", Some(client_under(&foreign_authority("foreign"), "client-1"))),
        (
            "server",
            Some(pki.spoiled(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth])),
        ),
    ];
    let long = format!("/most/{}", "x".repeat(100));
    let paths = [
        "/",
        "/most",
        "/most/",
        "/most/x?q=1",
        "/most/a%2fb",
        "/open/x",
        "/open/../listed/x",
        "/open/%2e%2e/x",
        "/listed/x",
        "/listed/deep/x",
        "/listed/./x",
        "/only",
        "/ONLY",
        "/health",
        "/health?x",
        "/health/",
        "/..",
        "/%zz",
        "/a\\b",
        &long,
    ];
    let mut compared = 0;
    let mut by_id: HashMap<String, Answer> = HashMap::new();
    for (name, identity) in &identities {
        let client = Client::new(&pki, gateway.address);
        let client = identity.iter().fold(client, |client, identity| client.with(identity));
        let chain = identity.as_ref().map(|identity| identity.chain.clone()).unwrap_or_default();
        let believed = gate.client(&chain, None, Clock::system().now());
        for path in paths {
            for (method, host) in [
                ("GET", "localhost"),
                ("PUT", "localhost"),
                ("PUT", "api.example.com:8443"),
                ("HEAD", "API.example.com."),
            ] {
                let asked = Asked {
                    method: method.parse::<Method>().unwrap(),
                    host: Some(Authority::parse(host).unwrap().host),
                    path: path.to_owned(),
                };
                let told = gate.answer(&believed, &asked);
                let mut raw = client.raw().await;
                raw.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n")).await;
                let answer = if method == "HEAD" { raw.answer_to_head().await } else { raw.answer().await };
                let what = format!("{method} {path} at {host} by {name}: {told} and {}", answer.status);
                assert_eq!(told.status, answer.status, "{what}");
                if answer.status >= 400 && method != "HEAD" && !answer.body.is_empty() {
                    let reason = answer.json()["reason"].as_str().map(str::to_owned);
                    assert_eq!(told.reason.as_deref(), reason.as_deref(), "{what}");
                }
                if let Some(id) = answer.header("x-request-id") {
                    by_id.insert(id.to_owned(), told);
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 6 * 20 * 4);

    // What a line of the log tells is the same, as far as it does.
    let mut told_by_log = 0;
    for (id, expected) in &by_id {
        // Health checks have no line.
        if expected.lets_in() && expected.route.is_none() {
            continue;
        }
        let line = gateway.logged("request", |line| line["request_id"] == id.as_str()).await;
        let logged = Logged::find(line.to_string().as_bytes(), id).unwrap().unwrap().explain(&gate).unwrap();
        let log = logged.logged.unwrap();
        assert_eq!((log.then.status, &log.then.reason), (expected.status, &expected.reason), "{line}");
        if expected.status == 414 {
            assert_eq!((log.now, log.untold), (None, vec!["query".to_owned()]), "{line}");
            continue;
        }
        assert_eq!(log.now.as_ref(), Some(expected), "{line}");
        told_by_log += 1;
    }
    assert!(told_by_log > 300, "{told_by_log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_breaks_its_own_promise_is_not_reloaded() {
    let pki = Pki::new();
    let text = |rule: &str| {
        format!(
            "{}[[route]]\npath = \"/x\"\nrespond = {{}}\n{rule}\n[[test]]\ncertificate = {:?}\npath = \"/x\"\nexpect = 200\n\
             [[test]]\npath = \"/x\"\nexpect = \"certificate_missing\"\n",
            gateway::base(&pki),
            pki.path("clients/client-1.crt"),
        )
    };
    let gateway = Gateway::start_with(&text("allow = [{ san_dns = \"client-1\" }]")).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    for (rule, failing) in [("deny = [{ san_dns = \"client-1\" }]", 1), ("public = true", 2)] {
        let problems = gateway.reload_with(&text(rule)).await.unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("[[test]] {failing} (GET /x")), "{problems:?}");
        assert_eq!(client.get("/x").await.status, 200, "the old configuration stays in force");
        assert_eq!(client.clone().without_certificate().get("/x").await.status, 403);
    }
    gateway.reload_with(&text("allow = [{ subject_cn = \"client-1\" }]")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_time_broke_keeps_no_gateway_from_starting() {
    let pki = Pki::new();
    let text = format!(
        "{}[[route]]\npath = \"/x\"\nrespond = {{}}\n[[test]]\npath = \"/x\"\nexpect = 200\n",
        gateway::base(&pki)
    );
    let gateway = Gateway::start_with(&text).await;
    assert_eq!(Client::new(&pki, gateway.address).with(&pki.client("client-1")).get("/x").await.status, 200);
    assert!(gateway.control.reload().await.is_err());
}
