//! What `client_auth.mode` and `client_auth.invalid` make of a missing and of a bad certificate.

use std::io;

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::binary::{program, run_to_end};
use crate::support::gateway::{self, base};
use crate::support::pki::{client_under, foreign_authority};
use crate::support::site::ROUTES;
use crate::support::{Client, Crl, Gateway, Identity, Pki, Upstream, Version};

/// What a client gets for a request: a status, or the TLS alert that came instead.
async fn outcome(client: &Client) -> Result<u16, String> {
    let text = |error: io::Error| error.to_string();
    let mut stream = client.connect(&["http/1.1"]).await.map_err(text)?;
    // Over TLS 1.3 the client's side of the handshake ends before the server has seen the certificate.
    stream.write_all(b"GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n").await.map_err(text)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.map_err(text)?;
    Ok(String::from_utf8_lossy(&head)[9..].parse().unwrap())
}

async fn gateway_with(pki: &Pki, upstream: &Upstream, client_auth: &str) -> Gateway {
    let base = base(pki).replace("[drain]", &format!("{client_auth}\n[drain]"));
    Gateway::start_with(&format!("{base}{}{ROUTES}", gateway::upstream("api", upstream.address))).await
}

const BOTH: [Version; 2] = [Version::Tls12, Version::Tls13];

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_and_a_bad_certificate_get_what_the_modes_say() {
    let (pki, upstream) = (Pki::new(), Upstream::echo().await);
    let expired = pki.spoiled(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let good = pki.client("client-1");
    for (mode, invalid, absent_is_alerted, bad_is_alerted) in [
        ("optional", "forbid", false, false),
        ("optional", "reject", false, true),
        ("required", "forbid", true, false),
        ("required", "reject", true, true),
    ] {
        let what = format!("mode = {mode:?}\ninvalid = {invalid:?}");
        let gateway = gateway_with(&pki, &upstream, &what).await;
        for version in BOTH {
            let stranger = Client::new(&pki, gateway.address).only(version);
            assert_eq!(outcome(&stranger.clone().with(&good)).await, Ok(200), "{what} {version:?}");
            let absent = outcome(&stranger).await;
            let bad = outcome(&stranger.with(&expired)).await;
            for (outcome, is_alerted, reason) in
                [(absent, absent_is_alerted, "certificate_missing"), (bad, bad_is_alerted, "expired")]
            {
                if !is_alerted {
                    assert_eq!(outcome, Ok(403), "{what} {version:?} {reason}");
                    continue;
                }
                let alert = outcome.unwrap_err();
                assert!(alert.contains("alert"), "{what} {version:?} {reason}: {alert}");
                let line = gateway.logged("handshake", |line| line["reason"] == reason).await;
                assert_eq!(line["client_ip"], "127.0.0.1", "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_is_rejected_with_the_alert_that_comes_closest() {
    let (pki, upstream) = (Pki::new(), Upstream::echo().await);
    let revoked = pki.issue_client("stolen");
    let list = pki.path("test.crl");
    std::fs::write(&list, Crl::new().revoking_client(&revoked).pem(&pki.issuer())).unwrap();
    let gateway = gateway_with(&pki, &upstream, &format!("invalid = \"reject\"\ncrl = {list:?}")).await;
    let forger = {
        let pem = String::from_utf8(pki.read("ca.crt")).unwrap();
        rcgen::Issuer::from_ca_cert_pem(&pem, rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let cases: [(Identity, &str, &str); 7] = [
        (revoked, "revoked", "CertificateRevoked"),
        (client_under(&foreign_authority("x"), "x"), "unknown_issuer", "UnknownCA"),
        (client_under(&forger, "x"), "bad_signature", "DecryptError"),
        (pki.spoiled(|params| params.not_before = date_time_ymd(2090, 1, 1)), "not_yet_valid", "CertificateExpired"),
        (
            pki.spoiled(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            "wrong_usage",
            "UnsupportedCertificate",
        ),
        (
            pki.spoiled(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            "invalid_chain",
            "CertificateUnknown",
        ),
        (
            {
                let mut trailing = pki.client("client-1");
                trailing.chain[0] = [trailing.chain[0].as_ref(), b"garbage"].concat().into();
                trailing
            },
            "malformed",
            "BadCertificate",
        ),
    ];
    for version in BOTH {
        for (identity, reason, alert) in &cases {
            let client = Client::new(&pki, gateway.address).only(version).with(identity);
            let told = outcome(&client).await.unwrap_err();
            assert!(told.contains(alert), "{version:?} {reason}: {told}");
            gateway.logged("handshake", |line| line["reason"] == *reason).await;
        }
    }
    assert_eq!(upstream.seen().len(), 0);
}

/// A connection that was let in is judged again like any other: the handshake is over, so what is left is a 403.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_revoked_after_its_handshake_is_refused_on_its_open_connection() {
    let (pki, upstream) = (Pki::new(), Upstream::echo().await);
    let list = pki.path("test.crl");
    std::fs::write(&list, Crl::new().pem(&pki.issuer())).unwrap();
    let modes = format!("mode = \"required\"\ninvalid = \"reject\"\ncrl = {list:?}");
    let gateway = gateway_with(&pki, &upstream, &modes).await;
    let identity = pki.client("client-1");
    let client = Client::new(&pki, gateway.address).with(&identity);
    let mut raw = client.raw().await;
    let get = "GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n";
    raw.send(get).await;
    assert_eq!(raw.answer().await.status, 200);
    std::fs::write(&list, Crl::new().revoking_client(&identity).pem(&pki.issuer())).unwrap();
    gateway.control.reload().await.unwrap();
    raw.send(get).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, &answer.json()["reason"]), (403, &"revoked".into()));
    assert!(outcome(&client).await.unwrap_err().contains("CertificateRevoked"));
}

#[test]
fn explain_says_that_the_handshake_ends() {
    let pki = Pki::new();
    let file = pki.path("gateway.toml");
    let text = base(&pki).replace("[drain]", "invalid = \"reject\"\n[drain]");
    std::fs::write(&file, format!("{text}[upstream.api]\nurl = \"http://127.0.0.1:1\"\n")).unwrap();
    let told = |certificate: &str| {
        let command = ["explain", "--cert", certificate, "--path", "/health", "-c"];
        let output = run_to_end(program().args(command).arg(&file));
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = told(pki.path("server.crt").to_str().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("wrong_usage") && said.contains("TLS alert"), "{said}");
    let (code, said) = told(pki.path("clients/client-1.crt").to_str().unwrap());
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("TLS alert"), "{said}");
}
