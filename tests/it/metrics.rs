//! `/metrics`: that others can read it, and that it tells what happened.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use mtls_gateway::identity::CertificateFacts;
use rcgen::{CertifiedIssuer, DnType, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::binary::have;
use crate::support::gateway::base;
use crate::support::pki::{authority_params, client_under, foreign_authority};
use crate::support::wire::soon;
use crate::support::{Client, Crl, Gateway, Pki, eventually};

const ROUTES: &str = r#"
[[route]]
path = "/*"
respond = {}

[[route]]
path = "/public"
public = true
respond = {}

[[route]]
path = "/nobody"
respond = {}
allow = [{ san_dns = "nobody" }]
"#;

fn configuration(pki: &Pki, client_auth: &str) -> String {
    format!("{}{ROUTES}", base(pki).replace("[drain]", &format!("{client_auth}\n[drain]")))
}

async fn ask(admin: SocketAddr, method: &str) -> (String, String) {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    stream.write_all(format!("{method} /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

/// Every series, as its line has it, with its value.
async fn series(gateway: &Gateway) -> BTreeMap<String, u64> {
    let (_, body) = ask(gateway.admin.unwrap(), "GET").await;
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

/// What of a family with one label is not zero, by the label's value.
async fn counted(gateway: &Gateway, family: &str) -> BTreeMap<String, u64> {
    let of_family = |name: String| Some(name.strip_prefix(family)?.strip_prefix('{')?.split('"').nth(1)?.to_owned());
    let series = series(gateway).await.into_iter().filter(|(_, value)| *value > 0);
    series.filter_map(|(name, value)| Some((of_family(name)?, value))).collect()
}

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_counts_once_by_what_became_of_its_client() {
    let pki = Pki::new();
    let gateway = Gateway::start_with(&configuration(&pki, "")).await;
    let stranger = Client::new(&pki, gateway.address);
    let one = pki.client("client-1");
    let foreign = client_under(&foreign_authority("other"), "mallory");
    let mut raw = stranger.clone().with(&one).raw().await;
    for path in ["/x", "/public", "/x", "/nobody", "/health"] {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        raw.answer().await;
    }
    assert_eq!(stranger.clone().with(&one).h2("GET", "/x", &[], "").await.status, 200);
    for (identity, path, status) in
        [(None, "/x", 403), (None, "/public", 200), (Some(&foreign), "/x", 403), (Some(&foreign), "/public", 200)]
    {
        let client = identity.map_or(stranger.clone(), |identity| stranger.clone().with(identity));
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
    let family = "gateway_client_verify_total";
    let expected =
        counts(&[("SUCCESS", 4), ("NONE", 1), ("certificate_missing", 1), ("unknown_issuer", 2), ("not_allowed", 1)]);
    assert_eq!(counted(&gateway, family).await, expected);
    let all = series(&gateway).await;
    assert_eq!(all.keys().filter(|name| name.starts_with(family)).count(), 14, "those that are zero are there, too");
    // Two connections were believed, with 90 days to go.
    let bucket = |bound: &str| all[&format!("gateway_client_certificate_remaining_seconds_bucket{{le=\"{bound}\"}}")];
    assert_eq!((bucket("5184000"), bucket("7776000"), bucket("+Inf")), (0, 2, 2));
    assert_eq!(all["gateway_client_certificate_remaining_seconds_count"], 2);
    let sum = all["gateway_client_certificate_remaining_seconds_sum"];
    assert!(sum > 2 * 89 * 86_400 && sum <= 2 * 90 * 86_400, "{sum}");
    let (_, body) = ask(gateway.admin.unwrap(), "GET").await;
    for chosen in ["client-1", "mallory", "CN=other", "/public", "localhost:"] {
        assert!(!body.contains(chosen), "a client chose {chosen}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_ends_for_the_certificate_counts() {
    let pki = Pki::new();
    let client_auth = "mode = \"required\"\ninvalid = \"reject\"";
    let gateway = Gateway::start_with(&configuration(&pki, client_auth)).await;
    let stranger = Client::new(&pki, gateway.address);
    let foreign = client_under(&foreign_authority("other"), "mallory");
    assert!(stranger.is_refused_in_the_handshake().await);
    assert!(stranger.with(&foreign).is_refused_in_the_handshake().await);
    let expected = counts(&[("certificate_missing", 1), ("unknown_issuer", 1)]);
    // A client learns of the alert before it is counted.
    eventually("both are counted", async || {
        (counted(&gateway, "gateway_client_verify_total").await == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_otherwise_counts_by_reason() {
    let pki = Pki::new();
    let other = foreign_authority("other");
    fs::write(pki.path("other.crt"), other.pem()).unwrap();
    let shadow = format!("[client_auth.shadow]\nca = {:?}", pki.path("other.crt"));
    let gateway = Gateway::start_with(&configuration(&pki, &shadow)).await;
    let client = |identity| Client::new(&pki, gateway.address).with(identity);
    let (one, of_other) = (pki.client("client-1"), client_under(&other, "of-other"));
    for _ in 0..3 {
        client(&one).get("/x").await;
    }
    client(&of_other).get("/x").await;
    client(&of_other).get("/public").await;
    assert_eq!(counted(&gateway, "gateway_client_would_refuse_total").await, counts(&[("unknown_issuer", 3)]));
    assert_eq!(counted(&gateway, "gateway_client_would_allow_total").await, counts(&[("unknown_issuer", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_count_by_how_they_ended() {
    let pki = Pki::new();
    let good = configuration(&pki, "");
    let gateway = Gateway::start_with(&good).await;
    let family = "gateway_reloads_total";
    let all = series(&gateway).await;
    assert_eq!(
        (all["gateway_reloads_total{result=\"success\"}"], all["gateway_reloads_total{result=\"refused\"}"]),
        (0, 0)
    );
    gateway.control.reload().await.unwrap();
    gateway.reload_with("nothing = 1").await.unwrap_err();
    gateway.reload_with(&good).await.unwrap();
    assert_eq!(counted(&gateway, family).await, counts(&[("success", 2), ("refused", 1)]));
}

fn facts(path: &std::path::Path) -> CertificateFacts {
    CertificateFacts::from_der(&CertificateDer::from_pem_file(path).unwrap()).unwrap()
}

/// What Prometheus' own Python library makes of the page; it also looks for what that library lets pass.
const PYTHON: &str = r##"
import json, re, sys
from prometheus_client.parser import text_string_to_metric_families
text = sys.stdin.buffer.read().decode("utf-8")
assert text.endswith("\n") and "\r" not in text
names, seen, samples = [], set(), []
for line in text.splitlines():
    if line.startswith("# "):
        what, name = line.split(" ")[1:3]
        assert what in ("HELP", "TYPE") and len(line.split(" ", 3)) == 4, line
        names.append((what, name))
    else:
        assert re.fullmatch(r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\[\\n"])*"(,[a-z_]+="([^"\\\n]|\\[\\n"])*")*\})? -?[0-9]+', line), line
        assert re.match("[a-z_]+", line).group().startswith(names[-1][1]), line
assert len(set(names)) == len(names), names
assert [what for what, _ in names] == ["HELP", "TYPE"] * (len(names) // 2), names
for family in text_string_to_metric_families(text):
    assert family.type in ("counter", "gauge", "histogram") and family.documentation, family
    assert family.samples, family
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in seen, key
        seen.add(key)
        samples.append([sample.name, sample.labels, sample.value])
    if family.type == "histogram":
        buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
        values = [sample.value for sample in buckets]
        assert values == sorted(values) and buckets[-1].labels["le"] == "+Inf", family
        [count] = [sample.value for sample in family.samples if sample.name.endswith("_count")]
        assert count == values[-1], family
print(json.dumps(samples))
"##;

fn has_parser() -> bool {
    if !have("python3") {
        return false;
    }
    let found = Command::new("python3").args(["-c", "import prometheus_client.parser"]).output().unwrap();
    let found = found.status.success();
    assert!(found || std::env::var_os("CI").is_none(), "Python's prometheus_client is needed for this test");
    if !found {
        eprintln!("skipped: Python's prometheus_client is not installed");
    }
    found
}

fn parsed(page: &str) -> Vec<Value> {
    let mut python = Command::new("python3");
    let python = python.args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{page}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn others_can_read_it_whatever_an_operators_files_are_called() {
    if !has_parser() {
        return;
    }
    let pki = Pki::new();
    let mut bundle = pki.read("ca.crt");
    let odd = ["a \"quoted\" name", "back\\slash", "two\nlines", "umläut, = and } 日本", "same", "same", "x\\n"];
    let mut authorities = Vec::new();
    for name in odd {
        let mut params = authority_params("", None);
        params.distinguished_name.push(DnType::CommonName, name);
        authorities.push(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap());
    }
    for authority in &authorities {
        bundle.extend(authority.pem().into_bytes());
    }
    fs::write(pki.path("bundle.crt"), bundle).unwrap();
    let list = Crl::new().living(60, 7200).pem(&pki.issuer())
        + &Crl::new().living(60, 3600).pem(&pki.issuer())
        + &Crl::new().pem(&authorities[0]);
    fs::write(pki.path("all.crl"), list).unwrap();
    let text = configuration(&pki, &format!("crl = {:?}", pki.path("all.crl")));
    let text = text.replace(&format!("{:?}", pki.path("ca.crt")), &format!("{:?}", pki.path("bundle.crt")));
    let gateway = Gateway::start_with(&text).await;
    assert_eq!(Client::new(&pki, gateway.address).with(&pki.client("client-1")).get("/x").await.status, 200);
    let (head, page) = ask(gateway.admin.unwrap(), "GET").await;
    assert!(
        head.starts_with("http/1.1 200 ") && head.contains("content-type: text/plain; version=0.0.4; charset=utf-8")
    );
    let samples = parsed(&page);
    let of = |name: &'static str| samples.iter().filter(move |sample| sample[0] == name);
    let [build] = of("gateway_build_info").collect::<Vec<_>>()[..] else { panic!("{page}") };
    assert_eq!((&build[1]["version"], build[2].as_f64()), (&env!("CARGO_PKG_VERSION").into(), Some(1.0)));

    let ends: BTreeMap<_, _> = of("gateway_certificate_expiry_timestamp_seconds")
        .map(|sample| {
            let text = |label: &str| sample[1][label].as_str().unwrap().to_owned();
            ((text("kind"), text("subject")), sample[2].as_f64().unwrap() as i64)
        })
        .collect();
    let mut expected = BTreeMap::new();
    for (kind, facts) in [("server", facts(&pki.path("server.crt"))), ("client_ca", facts(&pki.path("ca.crt")))] {
        expected.insert((kind.to_owned(), facts.subject), facts.not_after.unix_seconds());
    }
    for authority in &authorities {
        let facts = CertificateFacts::from_der(authority.der()).unwrap();
        expected.insert(("client_ca".to_owned(), facts.subject), facts.not_after.unix_seconds());
    }
    assert_eq!(ends, expected);
    assert!(ends.keys().any(|(_, subject)| subject.contains('"') && subject.contains('\\')), "{ends:?}");

    let lists: Vec<_> = of("gateway_crl_next_update_timestamp_seconds").collect();
    assert_eq!(lists.len(), 2, "{lists:?}");
    let issuer = facts(&pki.path("ca.crt")).subject;
    let own = lists.iter().find(|sample| sample[1]["issuer"] == *issuer).unwrap();
    let left = own[2].as_f64().unwrap() as i64 - time::OffsetDateTime::now_utc().unix_timestamp();
    assert!((3000..=3600).contains(&left), "of two lists the first to end: {left}");

    let (head, body) = ask(gateway.admin.unwrap(), "HEAD").await;
    assert!(head.starts_with("http/1.1 200 ") && body.is_empty());
    let (head, _) = ask(gateway.admin.unwrap(), "POST").await;
    assert!(head.starts_with("http/1.1 405 "), "{head}");
}
