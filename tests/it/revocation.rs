//! Revoked clients: by lists of one or several issuers, by lists that are too old or not to be believed, and by the
//! operator's own list.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use mtls_gateway::app;
use mtls_gateway::clock::Clock;
use mtls_gateway::config::{self, Overrides, Source};
use rcgen::{CertificateParams, CertifiedIssuer, Issuer, KeyPair, KeyUsagePurpose, RsaKeySize};
use rustls::pki_types::CertificateDer;

use crate::support::binary::{program, run_to_end};
use crate::support::gateway::{self, base};
use crate::support::pki::{authority_params, client_under, foreign_authority};
use crate::support::site::ROUTES;
use crate::support::{Client, Crl, Gateway, Identity, Pki, Upstream};

/// A gateway with what `client_auth` says more; its upstream answers everything.
struct Gate {
    pki: Pki,
    gateway: Gateway,
    stranger: Client,
    _upstream: Upstream,
}

impl Gate {
    async fn start(pki: Pki, client_auth: &str) -> Self {
        let upstream = Upstream::echo().await;
        let gateway = Gateway::start_with(&configuration(&pki, &upstream, client_auth)).await;
        let stranger = Client::new(&pki, gateway.address);
        Self { pki, gateway, stranger, _upstream: upstream }
    }

    /// `None` is let in.
    async fn verdict(&self, identity: &Identity) -> Option<String> {
        let answer = self.stranger.clone().with(identity).get("/private").await;
        match answer.status {
            200 => None,
            403 => Some(answer.json()["reason"].as_str().unwrap().to_owned()),
            status => panic!("{status}: {}", answer.text()),
        }
    }

    /// Lets another list be in force.
    async fn reload(&self, crl: &str) {
        std::fs::write(self.pki.path("test.crl"), crl).unwrap();
        self.gateway.control.reload().await.unwrap();
    }
}

fn configuration(pki: &Pki, upstream: &Upstream, client_auth: &str) -> String {
    let base = base(pki).replace("[drain]", &format!("{client_auth}\n[drain]"));
    format!("{base}{}{ROUTES}", gateway::upstream("api", upstream.address))
}

fn crl(paths: &[&Path]) -> String {
    format!("crl = {paths:?}")
}

fn intermediate(issuer: &Issuer<'_, KeyPair>, params: CertificateParams) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

fn behind(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Identity {
    let mut identity = client_under(issuer, name);
    identity.chain.push(issuer.der().clone());
    identity
}

const REVOKED: &str = "revoked";
const UNKNOWN: &str = "revocation_unknown";

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_client_is_refused_and_others_of_its_issuer_are_not() {
    let pki = Pki::new();
    let (good, bad) = (pki.client("client-1"), pki.issue_client("stolen"));
    let list = pki.path("test.crl");
    for as_der in [false, true] {
        let crl_of = Crl::new().revoking_client(&bad);
        let bytes = if as_der { crl_of.der(&pki.issuer()) } else { crl_of.pem(&pki.issuer()).into_bytes() };
        std::fs::write(&list, bytes).unwrap();
        let upstream = Upstream::echo().await;
        let gateway = Gateway::start_with(&configuration(&pki, &upstream, &crl(&[&list]))).await;
        let stranger = Client::new(&pki, gateway.address);
        assert_eq!(stranger.clone().with(&good).get("/private").await.status, 200);
        let answer = stranger.clone().with(&bad).get("/private").await;
        assert_eq!((answer.status, &answer.json()["reason"]), (403, &REVOKED.into()));
        let id = answer.header("x-request-id").unwrap();
        let line = gateway.logged("request", |line| line["request_id"] == id).await;
        assert_eq!((&line["reason"], &line["client_verify"]), (&REVOKED.into(), &"FAILED:revoked".into()));
        assert_eq!(stranger.with(&bad).get("/public/x").await.status, 200, "a public route asks nobody");
        assert_eq!(upstream.seen().last().unwrap().headers["x-ssl-client-verify"], "FAILED:revoked");
    }
}

/// The program's own CA writes an empty list from the start.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_certs_init_lets_its_clients_in() {
    let pki = Pki::new();
    let (list, client) = (pki.path("ca.crl"), pki.client("client-1"));
    let gate = Gate::start(pki, &crl(&[&list])).await;
    assert_eq!(gate.verdict(&client).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_current_list_of_its_issuer_nothing_is_known_of_a_client() {
    let pki = Pki::new();
    let (good, bad) = (pki.client("client-1"), pki.issue_client("stolen"));
    let other = foreign_authority("other");
    std::fs::write(pki.path("other.crt"), other.pem()).unwrap();
    let of_other = client_under(&other, "of-other");
    let root = pki.issuer();
    let forger = || {
        let pem = String::from_utf8(pki.read("ca.crt")).unwrap();
        Issuer::from_ca_cert_pem(&pem, KeyPair::generate().unwrap()).unwrap()
    };
    let fresh = || Crl::new().revoking_client(&bad);
    let stale = || fresh().living(3600, -1);
    let mut tampered = fresh().der(&root);
    *tampered.last_mut().unwrap() ^= 1;
    let cases: [(&str, Vec<u8>, [Option<&str>; 3]); 8] = [
        ("its issuer's", fresh().pem(&root).into(), [None, Some(REVOKED), Some(UNKNOWN)]),
        ("stale", stale().pem(&root).into(), [Some(UNKNOWN), Some(REVOKED), Some(UNKNOWN)]),
        ("another's", Crl::new().pem(&other).into(), [Some(UNKNOWN), Some(UNKNOWN), None]),
        ("forged", fresh().pem(&forger()).into(), [Some(UNKNOWN), Some(UNKNOWN), Some(UNKNOWN)]),
        ("tampered with", tampered, [Some(UNKNOWN), Some(UNKNOWN), Some(UNKNOWN)]),
        ("both", (fresh().pem(&root) + &Crl::new().pem(&other)).into(), [None, Some(REVOKED), None]),
        (
            "a stale and a fresh one",
            (stale().pem(&root) + &fresh().pem(&root)).into(),
            [None, Some(REVOKED), Some(UNKNOWN)],
        ),
        (
            "a forged and a good one",
            (fresh().pem(&forger()) + &fresh().pem(&root)).into(),
            [None, Some(REVOKED), Some(UNKNOWN)],
        ),
    ];
    let list = pki.path("test.crl");
    std::fs::write(&list, &cases[0].1).unwrap();
    let ca = format!("ca = [{:?}", pki.path("ca.crt"));
    let upstream = Upstream::echo().await;
    let text =
        configuration(&pki, &upstream, &crl(&[&list])).replace(&ca, &format!("{ca}, {:?}", pki.path("other.crt")));
    let gateway = Gateway::start_with(&text).await;
    let stranger = Client::new(&pki, gateway.address);
    let gate = Gate { pki, gateway, stranger, _upstream: upstream };
    for (what, bytes, expected) in &cases {
        std::fs::write(&list, bytes).unwrap();
        gate.gateway.control.reload().await.unwrap();
        for (identity, expected) in [&good, &bad, &of_other].into_iter().zip(expected) {
            assert_eq!(gate.verdict(identity).await.as_deref(), *expected, "{what}");
        }
    }
    std::fs::write(&list, stale().pem(&root)).unwrap();
    let lenient = text.replace("crl = ", "stale_crl = \"accept\"\ncrl = ");
    gate.gateway.reload_with(&lenient).await.unwrap();
    assert_eq!(gate.verdict(&good).await, None, "a stale list counts where that is wanted");
    assert_eq!(gate.verdict(&bad).await.as_deref(), Some(REVOKED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_ends_on_an_open_connection_is_noticed_at_the_next_request() {
    let pki = Pki::new();
    let (list, client) = (pki.path("test.crl"), pki.client("client-1"));
    std::fs::write(&list, Crl::new().living(60, 3600).pem(&pki.issuer())).unwrap();
    let gate = Gate::start(pki, &crl(&[&list])).await;
    let mut raw = gate.stranger.clone().with(&client).raw().await;
    let get = "GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n";
    raw.send(get).await;
    assert_eq!(raw.answer().await.status, 200);
    gate.gateway.clock.advance(Duration::from_secs(3598));
    raw.send(get).await;
    assert_eq!(raw.answer().await.status, 200);
    gate.gateway.clock.advance(Duration::from_secs(3));
    raw.send(get).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, &answer.json()["reason"]), (403, &UNKNOWN.into()));
    assert_eq!(gate.verdict(&client).await.as_deref(), Some(UNKNOWN), "nor is it remembered for new connections");
    gate.reload(&Crl::new().living(60, 360_000).pem(&gate.pki.issuer())).await;
    raw.send(get).await;
    assert_eq!(raw.answer().await.status, 200, "a new list lets the same connection in again");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_list_of_the_clients_issuer_is_enough_unless_the_chain_is_asked_for() {
    let pki = Pki::new();
    let root = pki.issuer();
    let middle = intermediate(&root, authority_params("middle", None));
    let revoked_middle = intermediate(&root, authority_params("revoked middle", None));
    let (good, bad) = (behind(&middle, "good"), behind(&middle, "bad"));
    let under_revoked = behind(&revoked_middle, "innocent");
    let direct = pki.client("client-1");
    let of_middle = Crl::new().revoking_client(&bad).pem(&middle);
    let of_revoked = Crl::new().pem(&revoked_middle);
    let of_root = Crl::new().revoking(revoked_middle.der()).pem(&root);
    let list = pki.path("test.crl");
    let all = format!("{of_middle}{of_revoked}{of_root}");
    std::fs::write(&list, &all).unwrap();
    let gate = Gate::start(pki, &crl(&[&list])).await;
    let clients = [&good, &bad, &under_revoked, &direct];
    let check = async |what: &str, expected: [Option<&str>; 4]| {
        for (number, (identity, expected)) in clients.into_iter().zip(expected).enumerate() {
            assert_eq!(gate.verdict(identity).await.as_deref(), expected, "{what} {number}");
        }
    };
    check("leaf", [None, Some(REVOKED), None, None]).await;
    gate.reload(&of_middle).await;
    check("leaf, without the root's", [None, Some(REVOKED), Some(UNKNOWN), Some(UNKNOWN)]).await;

    let chain = gate.gateway.configuration().replace("crl = ", "crl_scope = \"chain\"\ncrl = ");
    gate.gateway.reload_with(&chain).await.unwrap();
    check("chain, without the root's", [Some(UNKNOWN), Some(REVOKED), Some(UNKNOWN), Some(UNKNOWN)]).await;
    gate.reload(&all).await;
    check("chain", [None, Some(REVOKED), Some(REVOKED), None]).await;
    gate.reload(&of_root).await;
    check("chain, the root's alone", [Some(UNKNOWN), Some(UNKNOWN), Some(REVOKED), None]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_for_some_certificates_says_nothing_of_others() {
    let pki = Pki::new();
    let (list, root) = (pki.path("test.crl"), pki.issuer());
    let place = |uri: &str| {
        let uri = uri.to_owned();
        pki.spoiled(move |params| {
            params.crl_distribution_points = vec![rcgen::CrlDistributionPoint { uris: vec![uri] }];
        })
    };
    let (one, two) = (place("http://crl.example/1"), place("http://crl.example/2"));
    let plain = pki.client("client-1");
    let half = |scope| Crl::new().about("http://crl.example/1", scope);
    std::fs::write(&list, half(None).pem(&root)).unwrap();
    let gate = Gate::start(pki, &crl(&[&list])).await;
    assert_eq!(gate.verdict(&one).await, None);
    assert_eq!(gate.verdict(&two).await.as_deref(), Some(UNKNOWN));
    assert_eq!(gate.verdict(&plain).await, None, "one that names no place is spoken of by every list");
    gate.reload(&half(Some(rcgen::CrlScope::UserCertsOnly)).revoking_client(&one).pem(&root)).await;
    assert_eq!(gate.verdict(&one).await.as_deref(), Some(REVOKED));
    assert_eq!(gate.verdict(&plain).await, None);
    gate.reload(&half(Some(rcgen::CrlScope::CaCertsOnly)).revoking_client(&one).pem(&root)).await;
    assert_eq!(gate.verdict(&one).await.as_deref(), Some(UNKNOWN));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_may_not_sign_lists_is_not_believed() {
    let pki = Pki::new();
    let mut params = authority_params("no lists", None);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mute = CertifiedIssuer::signed_by(params.clone(), KeyPair::generate().unwrap(), &pki.issuer()).unwrap();
    let client = behind(&mute, "x");
    // rcgen does not sign a list with an issuer that may not.
    params.key_usages.push(KeyUsagePurpose::CrlSign);
    let signer = Issuer::from_params(&params, mute.key());
    let der = {
        let now = time::OffsetDateTime::now_utc();
        let list = rcgen::CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(1),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&signer).unwrap().der().to_vec()
    };
    let list = pki.path("test.crl");
    std::fs::write(&list, der).unwrap();
    let gate = Gate::start(pki, &crl(&[&list])).await;
    assert_eq!(gate.verdict(&client).await.as_deref(), Some(UNKNOWN));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_certificate_itself_is_told_before_its_revocation() {
    let pki = Pki::new();
    let root = pki.issuer();
    let expired = pki.spoiled(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let for_servers =
        pki.spoiled(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]);
    let future = pki.spoiled(|params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    let foreign = client_under(&foreign_authority("foreign"), "x");
    let authority = pki.spoiled(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let cases = [
        (&expired, "expired"),
        (&for_servers, "wrong_usage"),
        (&future, "not_yet_valid"),
        (&foreign, "unknown_issuer"),
        (&authority, "invalid_chain"),
    ];
    let list = pki.path("test.crl");
    let revoked = cases.iter().fold(Crl::new(), |list, (identity, _)| list.revoking_client(identity));
    std::fs::write(&list, revoked.pem(&root)).unwrap();
    let gate = Gate::start(pki, &crl(&[&list])).await;
    for (identity, expected) in cases {
        assert_eq!(gate.verdict(identity).await.as_deref(), Some(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_own_list_refuses_by_serial_number_and_by_fingerprint() {
    let pki = Pki::new();
    let root = pki.issuer();
    let middle = intermediate(&root, authority_params("middle", None));
    let (by_serial, by_fingerprint) = (pki.issue_client("by-serial"), pki.issue_client("by-fingerprint"));
    let below = behind(&middle, "below");
    let good = pki.client("client-1");
    let denied = pki.path("denied.txt");
    let serial = |certificate: &CertificateDer<'_>| {
        use x509_parser::prelude::FromDer as _;
        let (_, certificate) = x509_parser::prelude::X509Certificate::from_der(certificate).unwrap();
        certificate.raw_serial_as_string()
    };
    let fingerprint = |certificate: &CertificateDer<'_>| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        digest.as_ref().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    let [serial, first, second] =
        [serial(&by_serial.chain[0]), fingerprint(&by_fingerprint.chain[0]), fingerprint(middle.der())];
    std::fs::write(&denied, format!("# lost on a train\n{serial}\nsha256:{first}\n")).unwrap();
    let gate = Gate::start(pki, &format!("deny_list = {denied:?}")).await;
    assert_eq!(gate.verdict(&good).await, None, "no issuer's list is asked");
    assert_eq!(gate.verdict(&below).await, None);
    for identity in [&by_serial, &by_fingerprint] {
        assert_eq!(gate.verdict(identity).await.as_deref(), Some(REVOKED));
    }
    std::fs::write(&denied, format!("sha256:{second}\n")).unwrap();
    gate.gateway.control.reload().await.unwrap();
    assert_eq!(gate.verdict(&below).await.as_deref(), Some(REVOKED), "so is whoever is below a denied authority");
    for identity in [&by_serial, &by_fingerprint, &good] {
        assert_eq!(gate.verdict(identity).await, None);
    }
    std::fs::write(&denied, "client-1\n").unwrap();
    let problems = gate.gateway.control.reload().await.unwrap_err();
    assert!(problems[0].contains("denied.txt") && problems[0].contains("line 1"), "{problems:?}");
    assert_eq!(gate.verdict(&below).await.as_deref(), Some(REVOKED), "the old list stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_read_stops_the_start_and_refuses_a_reload() {
    let pki = Pki::new();
    let (list, ca) = (pki.path("test.crl"), String::from_utf8(pki.read("ca.crt")).unwrap());
    let upstream = Upstream::echo().await;
    let text = configuration(&pki, &upstream, &crl(&[&list]));
    let good = Crl::new().pem(&pki.issuer());
    for (what, content, said) in [
        ("missing", None, "there is no file"),
        ("empty", Some(""), "holds no CRL: it is empty"),
        ("a certificate", Some(ca.as_str()), "it holds a certificate"),
        ("garbled", Some("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), "is garbled"),
        ("cut short", Some(&good[..good.len() / 2]), "test.crl"),
        ("DER that is none", Some("0\u{3}\u{2}\u{1}\u{0}"), "is garbled"),
    ] {
        let _ = std::fs::remove_file(&list);
        if let Some(content) = content {
            std::fs::write(&list, content).unwrap();
        }
        let problems = Gateway::try_start_with(&text).await.err().unwrap_or_else(|| panic!("{what}"));
        assert!(problems[0].contains("test.crl") && problems[0].contains(said), "{what}: {problems:?}");
    }
    let client = pki.issue_client("stolen");
    std::fs::write(&list, Crl::new().revoking_client(&client).pem(&pki.issuer())).unwrap();
    let gate = Gate::start(pki, &crl(&[&list])).await;
    std::fs::write(&list, "nonsense").unwrap();
    gate.gateway.control.reload().await.unwrap_err();
    assert_eq!(gate.verdict(&client).await.as_deref(), Some(REVOKED), "the old list stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_nobody_who_is_trusted_and_an_authority_without_a_list_are_warned_of() {
    let pki = Pki::new();
    let list = pki.path("test.crl");
    let foreign = foreign_authority("nobody");
    std::fs::write(&list, Crl::new().pem(&foreign)).unwrap();
    let gate = Gate::start(pki, &crl(&[&list])).await;
    assert_eq!(gate.verdict(&gate.pki.client("client-1")).await.as_deref(), Some(UNKNOWN));
    let warnings = |crl: String| {
        std::fs::write(&list, crl).unwrap();
        let source = Source { name: "test.toml".into(), text: gate.gateway.configuration() };
        let loaded = config::load(Some(&source), &Overrides::default(), &|_| None, false);
        app::inspect(&loaded.config.unwrap(), Clock::system().now()).unwrap().join("\n")
    };
    let said = warnings(Crl::new().pem(&foreign));
    assert!(said.contains("no CA of client_auth.ca has signed the CRL of \"CN=nobody\""), "{said}");
    let root = gate.pki.issuer();
    assert_eq!(warnings(Crl::new().living(60, 3600).pem(&root)), "");
    let said = warnings(Crl::new().living(3600, 3500).pem(&root));
    assert!(said.contains("is past half of its life"), "{said}");
    let said = warnings(Crl::new().living(3600, -5).pem(&root));
    assert!(said.contains("refused as revocation_unknown"), "{said}");
    let ca = String::from_utf8(gate.pki.read("ca.crt")).unwrap() + &foreign.pem();
    std::fs::write(gate.pki.path("ca.crt"), ca).unwrap();
    let said = warnings(Crl::new().pem(&root));
    assert!(said.contains("there is no CRL of \"CN=nobody\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_believed_whatever_kind_of_key_signed_them() {
    let pki = Pki::new();
    let root = pki.issuer();
    let keys = [
        ("P-384", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()),
        ("P-521", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap()),
        ("Ed25519", KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()),
        ("RSA", KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA384, RsaKeySize::_2048).unwrap()),
    ];
    let (mut clients, mut lists) = (Vec::new(), String::new());
    for (kind, key) in keys {
        let issuer = CertifiedIssuer::signed_by(authority_params(kind, None), key, &root).unwrap();
        let (good, bad) = (behind(&issuer, "good"), behind(&issuer, "bad"));
        lists += &Crl::new().revoking_client(&bad).pem(&issuer);
        clients.push((kind, good, bad));
    }
    let list = pki.path("test.crl");
    std::fs::write(&list, lists).unwrap();
    let gate = Gate::start(pki, &crl(&[&list])).await;
    for (kind, good, bad) in &clients {
        assert_eq!(gate.verdict(good).await, None, "{kind}");
        assert_eq!(gate.verdict(bad).await.as_deref(), Some(REVOKED), "{kind}");
    }
}

/// An intermediate in `ca` is an anchor: clients need not send it, and its list is verified at the start.
#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_may_be_configured_instead_of_sent() {
    let pki = Pki::new();
    let middle = intermediate(&pki.issuer(), authority_params("middle", None));
    let (good, bad) = (client_under(&middle, "good"), client_under(&middle, "bad"));
    let list = pki.path("test.crl");
    std::fs::write(&list, Crl::new().revoking_client(&bad).pem(&middle)).unwrap();
    let gate = Gate::start(pki, "").await;
    assert_eq!(gate.verdict(&good).await.as_deref(), Some("unknown_issuer"));
    std::fs::write(gate.pki.path("middle.crt"), middle.pem()).unwrap();
    let ca = format!("ca = [{:?}", gate.pki.path("ca.crt"));
    let with_middle = gate.gateway.configuration().replace(&ca, &format!("{ca}, {:?}", gate.pki.path("middle.crt")));
    for scope in ["leaf", "chain"] {
        let client_auth = format!("crl_scope = {scope:?}\n{}\n[drain]", crl(&[&list]));
        gate.gateway.reload_with(&with_middle.replace("[drain]", &client_auth)).await.unwrap();
        assert_eq!(gate.verdict(&good).await, None, "{scope}");
        assert_eq!(gate.verdict(&bad).await.as_deref(), Some(REVOKED), "{scope}");
    }
}

#[test]
fn a_missing_list_is_exit_code_2_and_an_old_one_a_warning() {
    let pki = Pki::new();
    let (file, list) = (pki.path("gateway.toml"), pki.path("test.crl"));
    let text = base(&pki).replace("[drain]", &format!("{}\n[drain]", crl(&[&list])));
    std::fs::write(&file, format!("{text}[upstream.api]\nurl = \"http://127.0.0.1:1\"\n")).unwrap();
    let ends = |command: &str| {
        let output = run_to_end(program().args([command, "-c"]).arg(&file));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for command in ["run", "check"] {
        let (code, said) = ends(command);
        assert_eq!(code, Some(2), "{command}: {said}");
        assert!(said.contains("there is no file") && said.contains("test.crl"), "{command}: {said}");
    }
    std::fs::write(&list, Crl::new().living(60, 3600).pem(&pki.issuer())).unwrap();
    let (code, said) = ends("check");
    assert_eq!((code, said.as_str()), (Some(0), ""));
    std::fs::write(&list, Crl::new().living(3600, 60).pem(&pki.issuer())).unwrap();
    let (code, said) = ends("check");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("past half of its life"), "{said}");
}
