//! The path-validation cases of C2SP's x509-limbo, as handshakes with client certificates.
//!
//! The file is not part of the project: `GATEWAY_LIMBO` says where it is, and without it nothing is tested. Its verdicts
//! were written for servers; what speaks of server names or has a server's leaf does not apply to clients and is left out. Every verdict of ours
//! that is another is in `DIFFERENCES`, with its reason; docs/security.md tells the same.

use std::collections::BTreeSet;
use std::process::Command;

use mtls_gateway::clock::{Clock, WallTime};
use mtls_gateway::tls::TrustStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::gateway::base;
use crate::support::{Client, Gateway, Identity, Pki};

#[derive(Deserialize)]
struct Limbo {
    testcases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    trusted_certs: Vec<String>,
    untrusted_intermediates: Vec<String>,
    peer_certificate: String,
    peer_certificate_key: Option<String>,
    validation_time: Option<String>,
    expected_result: String,
    extended_key_usage: Vec<String>,
    max_chain_depth: Option<usize>,
    #[serde(default)]
    crls: Vec<String>,
}

/// What speaks of the name that a client calls a server by.
const ABOUT_SERVER_NAMES: [&str; 2] = ["webpki::san::", "webpki::cn::"];

/// Each with why.
const DIFFERENCES: [(&str, &[&str]); 11] = [
    (
        "a CA's certificate is no client's (invalid_chain)",
        &["pathlen::validation-ignores-pathlen-in-leaf", "rfc5280::ca-as-leaf"],
    ),
    (
        "self-issued intermediates count for a path length, and are bound by name constraints",
        &["pathlen::self-issued-certs-pathlen", "rfc5280::nc::permitted-self-issued"],
    ),
    (
        "constraints on directory names and e-mail addresses are not understood, so that nobody below them is let in",
        &[
            "rfc5280::nc::permitted-dn-match",
            "rfc5280::nc::nc-permits-email-exact",
            "rfc5280::nc::nc-permits-email-domain",
            "rfc5280::nc::nc-permits-email-literal-asterisk-exact-match",
            "rfc5280::nc::nc-permits-email-literal-double-asterisk",
            "rfc5280::nc::nc-permits-email-literal-mid-asterisk",
        ],
    ),
    (
        "thousands of constraints and names are compared, within a bound; the chain is valid",
        &["pathological::nc-dos-3"],
    ),
    (
        "key identifiers help to find an issuer and prove nothing; many private CAs leave them out",
        &[
            "rfc5280::aki::leaf-missing-aki",
            "rfc5280::aki::intermediate-missing-aki",
            "rfc5280::aki::cross-signed-root-missing-aki",
            "rfc5280::ski::root-missing-ski",
            "rfc5280::ski::intermediate-missing-ski",
        ],
    ),
    (
        "what a CA should have marked critical is obeyed all the same",
        &[
            "rfc5280::nc::permitted-dns-match-noncritical",
            "rfc5280::root-non-critical-basic-constraints",
            "rfc5280::san::noncritical-with-empty-subject",
        ],
    ),
    ("policies are not looked at", &["rfc5280::pc::ica-noncritical-pc"]),
    (
        "a constraint with a leading dot, as OpenSSL's documentation writes it, is taken for the names below",
        &["rfc5280::nc::invalid-dnsname-leading-period"],
    ),
    (
        "names are compared with rules of allow and with nothing else, so a form that no host has does no harm",
        &["rfc5280::san::underscore-dns", "rfc5280::san::ip-in-dns"],
    ),
    (
        "RFC 5280 section 4.1.2.2 asks to be lenient with serial numbers, negative ones among them",
        &["rfc5280::serial::too-long", "rfc5280::serial::zero"],
    ),
    (
        "rules of the CA/Browser Forum for public CAs, which private ones need not follow",
        &[
            "webpki::aki::root-with-aki-missing-keyidentifier",
            "webpki::aki::root-with-aki-authoritycertissuer",
            "webpki::aki::root-with-aki-authoritycertserialnumber",
            "webpki::aki::root-with-aki-all-fields",
            "webpki::aki::root-with-aki-ski-mismatch",
            "webpki::eku::ee-without-eku",
            "webpki::forbidden-rsa-not-divisible-by-8-in-root",
            "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
        ],
    ),
];

fn cases() -> Option<Vec<Case>> {
    let Some(path) = std::env::var_os("GATEWAY_LIMBO") else {
        eprintln!("skipped: GATEWAY_LIMBO does not say where x509-limbo's cases are");
        return None;
    };
    let output = Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    let limbo: Limbo = serde_json::from_slice(&output.stdout).unwrap();
    Some(limbo.testcases)
}

/// Whether the leaf was made to be used by a server, whatever else the case is about.
fn is_for_servers_only(certificate: &str) -> bool {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let Ok(Some(usage)) = certificate.extended_key_usage() else { return false };
    usage.value.server_auth && !usage.value.client_auth && !usage.value.any
}

/// What the gateway says: `Ok` is let in; `None` when the case does not apply.
async fn verdict(pki: &Pki, case: &Case) -> Option<Result<(), String>> {
    let key = case.peer_certificate_key.as_ref()?;
    if is_for_servers_only(&case.peer_certificate) {
        return None;
    }
    let texts = std::iter::once(&case.peer_certificate).chain(&case.untrusted_intermediates);
    let chain: Vec<_> = texts.map(|text| CertificateDer::from_pem_slice(text.as_bytes()).unwrap()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok().filter(is_usable);
    let Some(key) = key else { return Some(judged(case, &chain)) };
    std::fs::write(pki.path("limbo.crt"), case.trusted_certs.concat()).unwrap();
    let mut client_auth = format!("max_chain_depth = {}\n", case.max_chain_depth.unwrap_or(6).min(6));
    if !case.crls.is_empty() {
        std::fs::write(pki.path("limbo.crl"), case.crls.concat()).unwrap();
        client_auth += &format!("crl = {:?}\n", pki.path("limbo.crl"));
    }
    let text = base(pki)
        .replace(&format!("ca = [{:?}]", pki.path("ca.crt")), &format!("ca = [{:?}]", pki.path("limbo.crt")))
        .replace("[drain]", &format!("{client_auth}[drain]"));
    let route = "[[route]]\npath = \"/*\"\nrespond = { status = 200, body = \"\" }\n";
    let gateway = match Gateway::try_start_with(&format!("{text}{route}")).await {
        Ok(gateway) => gateway,
        Err(problems) => return Some(Err(format!("does not start: {}", problems.join("; ")))),
    };
    if let Some(time) = &case.validation_time {
        let time = OffsetDateTime::parse(time, &Rfc3339).unwrap();
        gateway.clock.set(WallTime::from_unix_seconds(time.unix_timestamp()));
    }
    let client = Client::new(pki, gateway.address).with(&Identity { chain, key });
    let mut answer = String::new();
    if let Ok(mut stream) = client.connect(&["http/1.1"]).await {
        let get = b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: text/plain\r\n\r\n";
        let _ = stream.write_all(get).await;
        let _ = stream.read_to_string(&mut answer).await;
    }
    let line = gateway.log().into_iter().next_back().unwrap_or_default();
    Some(match answer.get(9..12) {
        Some("200") => Ok(()),
        Some(status) => Err(format!("{status} {}", line["reason"])),
        None => Err(format!("no handshake {}", line["reason"])),
    })
}

fn is_usable(key: &PrivateKeyDer<'static>) -> bool {
    rustls::crypto::aws_lc_rs::default_provider().key_provider.load_private_key(key.clone_key()).is_ok()
}

/// There is no handshake with a key that the client's own library refuses; the judge is asked directly.
fn judged(case: &Case, chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let trust = TrustStore::from_pem(&[("limbo".to_owned(), case.trusted_certs.concat().into_bytes())], 6);
    let trust = trust.map_err(|error| error.to_string())?;
    trust.judge(chain, Clock::system().now()).map(|_| ()).map_err(|reason| reason.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_are_those_of_x509_limbo_but_for_known_differences() {
    let Some(cases) = cases() else { return };
    let pki = Pki::new();
    let (mut same, mut differs, mut left_out) = (0, Vec::new(), Vec::new());
    for case in &cases {
        let is_about_servers = case.extended_key_usage.iter().any(|usage| usage == "serverAuth");
        if is_about_servers || ABOUT_SERVER_NAMES.iter().any(|prefix| case.id.starts_with(prefix)) {
            left_out.push(&case.id);
            continue;
        }
        let Some(verdict) = verdict(&pki, case).await else {
            left_out.push(&case.id);
            continue;
        };
        if verdict.is_ok() == (case.expected_result == "SUCCESS") {
            same += 1;
        } else {
            differs.push((case.id.as_str(), verdict));
        }
    }
    for (id, verdict) in &differs {
        eprintln!("{id}: {verdict:?}");
    }
    eprintln!("{same} same, {} differ, {} left out: {left_out:?}", differs.len(), left_out.len());
    let found: BTreeSet<_> = differs.iter().map(|(id, _)| *id).collect();
    let known: BTreeSet<_> = DIFFERENCES.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    assert_eq!(found.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "differences that nobody explains");
    assert_eq!(known.difference(&found).collect::<Vec<_>>(), Vec::<&&str>::new(), "differences that are none any more");
}
