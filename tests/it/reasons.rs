//! Why a certificate is refused: one certificate wrong in one way for each reason, and what is told when several apply.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, RsaKeySize,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use time::OffsetDateTime;

use crate::support::gateway::base;
use crate::support::pki::{authority_params, client_params, client_under, foreign_authority, private_key};
use crate::support::site::ROUTES;
use crate::support::{Client, Gateway, Identity, Pki, Site, Upstream, Version, eventually, gateway};

const BOTH: [Version; 2] = [Version::Tls12, Version::Tls13];

/// What is told of this certificate over both versions: in the answer, to the log, and to an upstream behind a public
/// route.
pub async fn is_told(site: &Site, what: &str, identity: &Identity, reason: &str) {
    for version in BOTH {
        let client = site.stranger.clone().with(identity).only(version);
        let answer = client.get("/private").await;
        assert_eq!(answer.status, 403, "{what} {version:?}");
        let problem = answer.json();
        assert_eq!(problem["reason"], reason, "{what} {version:?}");
        let id = problem["request_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
        let line = site.gateway.logged("request", |line| line["request_id"] == id.as_str()).await;
        assert_eq!(line["reason"], reason, "{what}");
        assert_eq!(line["client_verify"], format!("FAILED:{reason}"), "{what}");
        assert_eq!((&line["status"], &line["route"]), (&403.into(), &"-".into()), "{what}");

        let known = site.upstream.seen().len();
        assert_eq!(client.get("/public/x").await.status, 200, "{what} {version:?}");
        let seen = site.seen_after(known);
        assert_eq!(seen.len(), 1, "{what}: what was refused does not reach the upstream");
        let told: Vec<_> = seen[0].headers.keys().filter(|name| name.as_str().starts_with("x-ssl-")).collect();
        assert_eq!(told, ["x-ssl-client-verify"], "{what}: nothing is said of a certificate that is not believed");
        assert_eq!(seen[0].headers["x-ssl-client-verify"], format!("FAILED:{reason}"), "{what}");
    }
}

pub async fn is_accepted(site: &Site, what: &str, identity: &Identity) {
    for version in BOTH {
        let answer = site.stranger.clone().with(identity).only(version).get("/private").await;
        assert_eq!(answer.status, 200, "{what} {version:?}: {}", answer.text());
    }
}

pub fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

/// The issuer's name with another's key: what a forger can do.
pub fn forger(pki: &Pki) -> Issuer<'static, KeyPair> {
    let pem = String::from_utf8(pki.read("ca.crt")).unwrap();
    Issuer::from_ca_cert_pem(&pem, KeyPair::generate().unwrap()).unwrap()
}

pub fn intermediate(issuer: &Issuer<'_, KeyPair>, params: CertificateParams) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

/// A client under `issuers`, the last of which signs; all of them are sent.
pub fn behind(issuers: &[&CertifiedIssuer<'static, KeyPair>], spoil: impl FnOnce(&mut CertificateParams)) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = client_params("spoiled");
    spoil(&mut params);
    let leaf = params.signed_by(&key, issuers[issuers.len() - 1]).unwrap();
    let mut chain = vec![leaf.der().clone()];
    chain.extend(issuers.iter().rev().map(|issuer| issuer.der().clone()));
    Identity { chain, key: private_key(&key) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_wrong_in_one_way_is_refused_for_that_reason() {
    let site = Site::start(ROUTES).await;
    let pki = &site.pki;

    let mut trailing = pki.client("client-1");
    trailing.chain[0] = CertificateDer::from([trailing.chain[0].as_ref(), b"garbage"].concat());
    is_told(&site, "bytes after the certificate", &trailing, "malformed").await;
    let key_usage = pki.spoiled(|params| {
        params.key_usages.clear();
        params.custom_extensions.push(extension(&[2, 5, 29, 15], &[0x05, 0x00], true));
    });
    is_told(&site, "a keyUsage that is none", &key_usage, "malformed").await;
    let names = pki.spoiled(|params| {
        params.subject_alt_names.clear();
        params.custom_extensions.push(extension(&[2, 5, 29, 17], &[0x30, 0x05, 0x82, 0x7f], false));
    });
    is_told(&site, "alternative names cut short", &names, "malformed").await;

    // What can be read of them is not all of them: a rule that denies by the other would not see it.
    let half = pki.spoiled(|params| {
        params.subject_alt_names.clear();
        let content = [0x30, 0x07, 0x82, 0x01, b'a', 0x87, 0x09, 0x0a, 0x00];
        params.custom_extensions.push(extension(&[2, 5, 29, 17], &content, false));
    });
    is_told(&site, "an alternative name cut short after a good one", &half, "malformed").await;

    let policies = pki
        .spoiled(|params| params.custom_extensions.push(extension(&[2, 5, 29, 32], &[0x30, 0x03, 0x30, 0x09], false)));
    is_told(&site, "certificate policies cut short", &policies, "malformed").await;
    let twice = pki.spoiled(|params| {
        params.custom_extensions.push(extension(&[1, 2, 3, 4], &[5, 0], false));
        params.custom_extensions.push(extension(&[1, 2, 3, 4], &[5, 0], false));
    });
    is_told(&site, "an extension twice", &twice, "malformed").await;

    let server = pki.spoiled(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    is_told(&site, "for servers only", &server, "wrong_usage").await;
    let signing = pki.spoiled(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]);
    is_told(&site, "for code signing only", &signing, "wrong_usage").await;
    let encipher = pki.spoiled(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    is_told(&site, "a key that may not sign", &encipher, "wrong_usage").await;

    let expired = pki.spoiled(|params| params.not_after = date_time_ymd(2020, 1, 1));
    is_told(&site, "expired", &expired, "expired").await;
    let future = pki.spoiled(|params| params.not_before = date_time_ymd(2090, 1, 1));
    is_told(&site, "not yet valid", &future, "not_yet_valid").await;

    let foreign = foreign_authority("somebody else");
    is_told(&site, "another authority", &client_under(&foreign, "x"), "unknown_issuer").await;
    let own = KeyPair::generate().unwrap();
    let own =
        Identity { chain: vec![client_params("x").self_signed(&own).unwrap().der().clone()], key: private_key(&own) };
    is_told(&site, "self-signed", &own, "unknown_issuer").await;
    let middle = intermediate(&pki.issuer(), authority_params("middle", None));
    let mut unsent = behind(&[&middle], |_| {});
    unsent.chain.truncate(1);
    is_told(&site, "an intermediate that was not sent", &unsent, "unknown_issuer").await;

    is_told(&site, "signed by another key", &client_under(&forger(pki), "x"), "bad_signature").await;
    let mut tampered = pki.spoiled(|_| {});
    let mut der = tampered.chain[0].to_vec();
    *der.last_mut().unwrap() ^= 1;
    tampered.chain[0] = der.into();
    is_told(&site, "a signature with another last bit", &tampered, "bad_signature").await;

    let critical = pki.spoiled(|params| params.custom_extensions.push(extension(&[1, 2, 3, 4], &[5, 0], true)));
    is_told(&site, "an unknown critical extension", &critical, "invalid_chain").await;
    let authority = pki.spoiled(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    is_told(&site, "an authority as a client", &authority, "invalid_chain").await;
    let signing = pki.spoiled(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign));
    is_told(&site, "no authority, but a key that signs certificates", &signing, "invalid_chain").await;
    let constraints =
        [0x30, 0x0f, 0xa0, 0x0d, 0x30, 0x0b, 0x82, 0x09, b'a', b'.', b'e', b'x', b'a', b'm', b'p', b'l', b'e'];
    let constrained =
        pki.spoiled(|params| params.custom_extensions.push(extension(&[2, 5, 29, 30], &constraints, true)));
    is_told(&site, "name constraints in a leaf", &constrained, "invalid_chain").await;
    let access = pki.spoiled(|params| {
        params.custom_extensions.push(extension(&[1, 3, 6, 1, 5, 5, 7, 1, 1], &[0x04, 0x01, 0x00], false));
    });
    is_told(&site, "an authority information access that is none", &access, "malformed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_wrong_in_one_way_is_refused_for_that_reason() {
    let site = Site::start(ROUTES).await;
    let pki = &site.pki;
    let root = pki.issuer();

    let good = intermediate(&root, authority_params("middle", None));
    is_accepted(&site, "one intermediate", &behind(&[&good], |_| {})).await;

    let mut old = authority_params("old", None);
    old.not_after = date_time_ymd(2020, 1, 1);
    let old = intermediate(&root, old);
    is_told(&site, "an expired intermediate", &behind(&[&old], |_| {}), "expired").await;
    let mut new = authority_params("new", None);
    new.not_before = date_time_ymd(2090, 1, 1);
    let new = intermediate(&root, new);
    is_told(&site, "an intermediate of the future", &behind(&[&new], |_| {}), "not_yet_valid").await;

    let forged = intermediate(&forger(pki), authority_params("forged", None));
    is_told(&site, "a forged intermediate", &behind(&[&forged], |_| {}), "bad_signature").await;

    let last = intermediate(&root, authority_params("last", Some(0)));
    let below = intermediate(&last, authority_params("below", None));
    is_accepted(&site, "a path as long as allowed", &behind(&[&last], |_| {})).await;
    is_told(&site, "a path too long", &behind(&[&last, &below], |_| {}), "invalid_chain").await;

    let mut narrow = authority_params("narrow", None);
    narrow.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("inside.example".into())],
        excluded_subtrees: Vec::new(),
    });
    let narrow = intermediate(&root, narrow);
    let inside = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("a.inside.example".try_into().unwrap())];
    };
    is_accepted(&site, "a name that is permitted", &behind(&[&narrow], inside)).await;
    is_told(&site, "a name that is not permitted", &behind(&[&narrow], |_| {}), "invalid_chain").await;

    let mut empty = authority_params("empty", None);
    empty.custom_extensions.push(extension(&[2, 5, 29, 30], &[0x30, 0x00], true));
    let empty = intermediate(&root, empty);
    is_told(&site, "name constraints that constrain nothing", &behind(&[&empty], |_| {}), "invalid_chain").await;
    let mut nameless = authority_params("nameless", None);
    nameless.distinguished_name = DistinguishedName::new();
    let nameless = intermediate(&root, nameless);
    is_told(&site, "an intermediate without a name", &behind(&[&nameless], |_| {}), "invalid_chain").await;
    let mut critical = authority_params("critical", None);
    critical.custom_extensions.push(extension(&[2, 5, 29, 35], &[0x30, 0x03, 0x80, 0x01, 0x07], true));
    let critical = intermediate(&root, critical);
    is_told(&site, "a critical key identifier", &behind(&[&critical], |_| {}), "invalid_chain").await;

    let mut no_authority = client_params("no authority");
    no_authority.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let pretender = {
        // rcgen signs with whatever it is given.
        let key = KeyPair::generate().unwrap();
        let certificate = no_authority.clone().signed_by(&key, &root).unwrap();
        let issuer = Issuer::new(no_authority, key);
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = client_params("x").signed_by(&leaf_key, &issuer).unwrap();
        Identity { chain: vec![leaf.der().clone(), certificate.der().clone()], key: private_key(&leaf_key) }
    };
    is_told(&site, "a client that issues clients", &pretender, "invalid_chain").await;

    // Four intermediates are the default limit.
    let mut issuers = vec![intermediate(&root, authority_params("depth 0", None))];
    for depth in 1..5 {
        let next = intermediate(&issuers[depth - 1], authority_params(&format!("depth {depth}"), None));
        issuers.push(next);
    }
    let issuers: Vec<_> = issuers.iter().collect();
    is_accepted(&site, "four intermediates", &behind(&issuers[..4], |_| {})).await;
    is_told(&site, "five intermediates", &behind(&issuers, |_| {}), "invalid_chain").await;
    // The order in which they are sent does not matter (RFC 8446 section 4.4.2).
    let mut shuffled = behind(&issuers[..4], |_| {});
    shuffled.chain[1..].reverse();
    is_accepted(&site, "intermediates in another order", &shuffled).await;
    let mut with_root = behind(&issuers[..4], |_| {});
    with_root.chain.extend(pki_root(pki));
    is_accepted(&site, "the root is sent, too", &with_root).await;
}

fn pki_root(pki: &Pki) -> Option<CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(&pki.read("ca.crt")).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_good_chain_is_enough() {
    let site = Site::start(ROUTES).await;
    let root = site.pki.issuer();
    let middle = intermediate(&root, authority_params("middle", None));
    let garbage = CertificateDer::from(b"\x30\x03\x02\x01\x00".to_vec());
    let foreign = foreign_authority("somebody else");
    for (what, position, extra) in [
        ("garbage first", 1, &garbage),
        ("garbage last", 2, &garbage),
        ("a stranger's authority first", 1, foreign.der()),
        ("a stranger's authority last", 2, foreign.der()),
    ] {
        let mut identity = behind(&[&middle], |_| {});
        identity.chain.insert(position, extra.clone());
        is_accepted(&site, what, &identity).await;
        let mut leaf_first = site.pki.client("client-1");
        leaf_first.chain.push(extra.clone());
        is_accepted(&site, "more than is needed", &leaf_first).await;
    }
    let mut twice = behind(&[&middle], |_| {});
    twice.chain.insert(0, twice.chain[0].clone());
    is_accepted(&site, "the leaf twice", &twice).await;

    // An intermediate that was renewed: same name, same key, sent in both editions.
    let key = KeyPair::generate().unwrap();
    let mut old = authority_params("renewed", None);
    old.not_after = date_time_ymd(2020, 1, 1);
    let old = old.signed_by(&key, &root).unwrap();
    let new = CertifiedIssuer::signed_by(authority_params("renewed", None), key, &root).unwrap();
    let mut both = behind(&[&new], |_| {});
    both.chain.insert(1, old.der().clone());
    is_accepted(&site, "the old edition first", &both).await;
    both.chain.swap(1, 2);
    is_accepted(&site, "the new edition first", &both).await;
    both.chain.remove(1);
    is_told(&site, "the old edition alone", &both, "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_reasons_the_first_in_the_contract_is_told() {
    let site = Site::start(ROUTES).await;
    let pki = &site.pki;
    let root = pki.issuer();
    let foreign = foreign_authority("somebody else");
    let under = |issuer: &Issuer<'_, KeyPair>, spoil: &dyn Fn(&mut CertificateParams)| {
        let key = KeyPair::generate().unwrap();
        let mut params = client_params("x");
        spoil(&mut params);
        Identity { chain: vec![params.signed_by(&key, issuer).unwrap().der().clone()], key: private_key(&key) }
    };
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let future = |params: &mut CertificateParams| params.not_before = date_time_ymd(2090, 1, 1);
    let for_servers =
        |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let critical =
        |params: &mut CertificateParams| params.custom_extensions.push(extension(&[1, 2, 3, 4], &[5, 0], true));
    let authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);

    let mut malformed = under(&foreign, &|params| {
        expired(params);
        for_servers(params);
    });
    malformed.chain[0] = CertificateDer::from([malformed.chain[0].as_ref(), b"\0"].concat());
    is_told(&site, "malformed, for servers, expired, foreign", &malformed, "malformed").await;
    let cases: [(&str, Identity, &str); 14] = [
        ("for servers, expired", under(&root, &|params| (for_servers(params), expired(params)).1), "wrong_usage"),
        ("for servers, foreign", under(&foreign, &for_servers), "wrong_usage"),
        ("for servers, forged", under(&forger(pki), &for_servers), "wrong_usage"),
        ("for servers, critical", under(&root, &|params| (for_servers(params), critical(params)).1), "wrong_usage"),
        ("expired, foreign", under(&foreign, &expired), "expired"),
        ("expired, forged", under(&forger(pki), &expired), "expired"),
        ("expired, critical", under(&root, &|params| (expired(params), critical(params)).1), "expired"),
        ("future, foreign", under(&foreign, &future), "not_yet_valid"),
        ("future, an authority", under(&root, &|params| (future(params), authority(params)).1), "not_yet_valid"),
        ("foreign, an authority", under(&foreign, &authority), "unknown_issuer"),
        ("foreign, critical", under(&foreign, &critical), "unknown_issuer"),
        ("forged, an authority", under(&forger(pki), &authority), "bad_signature"),
        ("forged, critical", under(&forger(pki), &critical), "bad_signature"),
        ("expired, an authority", under(&root, &|params| (expired(params), authority(params)).1), "expired"),
    ];
    for (what, identity, reason) in &cases {
        is_told(&site, what, identity, reason).await;
    }

    let mut old = authority_params("old", None);
    old.not_after = date_time_ymd(2020, 1, 1);
    let old_foreign = intermediate(&foreign, old.clone());
    let old_ours = intermediate(&root, old);
    is_told(&site, "future under an expired one", &behind(&[&old_ours], future), "expired").await;
    is_told(&site, "for servers under an expired one", &behind(&[&old_ours], for_servers), "wrong_usage").await;
    is_told(&site, "critical under an expired one", &behind(&[&old_ours], critical), "expired").await;
    is_told(&site, "an authority under an expired one", &behind(&[&old_ours], authority), "expired").await;
    is_told(&site, "expired and foreign above", &behind(&[&old_foreign], |_| {}), "expired").await;
    let last = intermediate(&root, authority_params("last", Some(0)));
    let mut old_below = authority_params("old below", None);
    old_below.not_after = date_time_ymd(2020, 1, 1);
    let old_below = intermediate(&last, old_below);
    is_told(&site, "too long and expired above", &behind(&[&last, &old_below], |_| {}), "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_without_usages_is_accepted() {
    let site = Site::start(ROUTES).await;
    let no_extended = site.pki.spoiled(|params| params.extended_key_usages.clear());
    is_accepted(&site, "no extended key usage", &no_extended).await;
    let no_usage = site.pki.spoiled(|params| params.key_usages.clear());
    is_accepted(&site, "no key usage", &no_usage).await;
    let neither = site.pki.spoiled(|params| {
        params.key_usages.clear();
        params.extended_key_usages.clear();
        params.is_ca = IsCa::NoCa;
    });
    is_accepted(&site, "no usage at all", &neither).await;
    let both = site.pki.spoiled(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    });
    is_accepted(&site, "for servers and clients", &both).await;
    let uncritical = site.pki.spoiled(|params| params.custom_extensions.push(extension(&[1, 2, 3, 4], &[5, 0], false)));
    is_accepted(&site, "an unknown extension that is not critical", &uncritical).await;
    let nameless = site.pki.spoiled(|params| {
        params.subject_alt_names.clear();
        params.distinguished_name = DistinguishedName::new();
    });
    is_accepted(&site, "no name whatever", &nameless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_is_accepted() {
    let site = Site::start(ROUTES).await;
    let ecdsa = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
    ];
    for algorithm in ecdsa {
        let key = KeyPair::generate_for(algorithm).unwrap();
        is_accepted(&site, &format!("{algorithm:?}"), &site.pki.spoiled_with_key(&key, |_| {})).await;
    }
    for size in [RsaKeySize::_2048, RsaKeySize::_3072, RsaKeySize::_4096] {
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
        is_accepted(&site, &format!("{size:?}"), &site.pki.spoiled_with_key(&key, |_| {})).await;
    }
    // An authority of another kind than its clients'.
    let params = authority_params("RSA authority", None);
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let authority = CertifiedIssuer::signed_by(params, key, &site.pki.issuer()).unwrap();
    is_accepted(&site, "an RSA authority", &behind(&[&authority], |_| {})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_its_key_fails_the_handshake() {
    let site = Site::start(ROUTES).await;
    let mut stolen = site.pki.client("client-1");
    stolen.key = private_key(&KeyPair::generate().unwrap());
    for (number, version) in BOTH.into_iter().enumerate() {
        let thief = site.stranger.clone().with(&stolen).only(version);
        assert!(thief.is_refused_in_the_handshake().await, "{version:?}");
        eventually("a line for each handshake", async || {
            let fits = |line: &Value| {
                line["event"] == "handshake" && line["level"] == "warn" && line["reason"] == "bad_signature"
            };
            (site.gateway.log().iter().filter(|line| fits(line)).count() == number + 1).then_some(())
        })
        .await;
    }
    assert_eq!(site.upstream.connections(), 0);
    assert_eq!(site.client.get("/private").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_anchors_have_a_life_of_their_own() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let anchor = |name: &str, spoil: &dyn Fn(&mut CertificateParams)| {
        let mut params = authority_params(name, None);
        spoil(&mut params);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(pki.path(&format!("{name}.crt")), authority.pem()).unwrap();
        authority
    };
    let old = anchor("old", &|params| params.not_after = date_time_ymd(2020, 1, 1));
    let new = anchor("new", &|params| params.not_before = date_time_ymd(2090, 1, 1));
    let short = anchor("short", &|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let fine = anchor("fine", &|_| {});
    let ca = ["old", "new", "short", "fine"].map(|name| format!("{:?}", pki.path(&format!("{name}.crt")))).join(", ");
    let text = base(&pki).replace(&format!("ca = [{:?}]", pki.path("ca.crt")), &format!("ca = [{ca}]"));
    let text = format!("{text}{}{ROUTES}", gateway::upstream("api", upstream.address));
    let gateway = Gateway::start_with(&text).await;
    let stranger = Client::new(&pki, gateway.address);
    let middle = intermediate(&short, authority_params("middle", None));
    let site = Site { client: stranger.clone(), stranger, pki, upstream, gateway };
    is_told(&site, "an expired anchor", &client_under(&old, "x"), "expired").await;
    is_told(&site, "an anchor of the future", &client_under(&new, "x"), "not_yet_valid").await;
    is_accepted(&site, "an anchor that allows no intermediate", &client_under(&short, "x")).await;
    is_accepted(&site, "a fourth anchor", &client_under(&fine, "x")).await;
    is_told(&site, "an intermediate that its anchor forbids", &behind(&[&middle], |_| {}), "invalid_chain").await;
    let as_client = Identity { chain: vec![fine.der().clone()], key: private_key(fine.key()) };
    // Its key usage lacks digitalSignature, which comes first.
    is_told(&site, "an anchor as a client", &as_client, "wrong_usage").await;
    is_told(&site, "a client of an authority that was replaced", &site.pki.client("client-1"), "unknown_issuer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn max_chain_depth_is_followed() {
    for (limit, accepted) in [(0, 0), (1, 1), (6, 6)] {
        let pki = Pki::new();
        let upstream = Upstream::echo().await;
        let text = base(&pki).replace("[drain]", &format!("max_chain_depth = {limit}\n[drain]"));
        let text = format!("{text}{}{ROUTES}", gateway::upstream("api", upstream.address));
        let gateway = Gateway::start_with(&text).await;
        let stranger = Client::new(&pki, gateway.address);
        let site = Site { client: stranger.clone(), stranger, pki, upstream, gateway };
        let mut issuers: Vec<CertifiedIssuer<'static, KeyPair>> = Vec::new();
        for depth in 0..=accepted {
            let params = authority_params(&format!("depth {depth}"), None);
            let next = match issuers.last() {
                None => intermediate(&site.pki.issuer(), params),
                Some(above) => intermediate(above, params),
            };
            issuers.push(next);
        }
        let issuers: Vec<_> = issuers.iter().collect();
        let fits = match accepted {
            0 => site.pki.client("client-1"),
            many => behind(&issuers[..many], |_| {}),
        };
        is_accepted(&site, &format!("{accepted} intermediates of {limit}"), &fits).await;
        let too_deep = behind(&issuers[..=accepted], |_| {});
        is_told(&site, &format!("one more than {limit}"), &too_deep, "invalid_chain").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_on_an_open_connection_is_refused_at_the_next_request() {
    let site = Site::start(ROUTES).await;
    let brief = site.pki.spoiled(|params| {
        params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(3600);
    });
    let client = site.stranger.clone().with(&brief);
    let mut http1 = client.raw().await;
    let mut http2 = client.http2().await;
    let get = || http::Request::get("https://localhost/private").body(http_body_util::Full::default()).unwrap();
    let ask = b"GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n";

    http1.send(ask).await;
    assert_eq!(http1.answer().await.status, 200);
    assert_eq!(http2.send_request(get()).await.unwrap().status(), 200);
    site.gateway.clock.advance(Duration::from_secs(7200));
    http1.send(ask).await;
    let answer = http1.answer().await;
    assert_eq!((answer.status, answer.json()["reason"].clone()), (403, "expired".into()));
    let answer = crate::support::client::Answer::of(http2.send_request(get()).await.unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.json()["reason"].clone()), (403, "expired".into()));
    assert_eq!(site.upstream.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_becomes_valid_on_an_open_connection_is_accepted() {
    let site = Site::start(ROUTES).await;
    let early = site.pki.spoiled(|params| {
        params.not_before = OffsetDateTime::now_utc() + Duration::from_secs(3600);
    });
    let mut raw = site.stranger.clone().with(&early).raw().await;
    let ask = b"GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n";
    raw.send(ask).await;
    assert_eq!(raw.answer().await.json()["reason"], "not_yet_valid");
    site.gateway.clock.advance(Duration::from_secs(7200));
    raw.send(ask).await;
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_the_reason_is_that_it_is_missing() {
    let site = Site::start(ROUTES).await;
    for version in BOTH {
        let answer = site.stranger.clone().only(version).get("/private").await;
        assert_eq!((answer.status, answer.json()["reason"].clone()), (403, "certificate_missing".into()));
        let id = answer.header("x-request-id").unwrap().to_owned();
        let line = site.gateway.logged("request", |line| line["request_id"] == id.as_str()).await;
        assert_eq!((&line["client_verify"], &line["reason"]), (&"NONE".into(), &"certificate_missing".into()));
        site.stranger.clone().only(version).get("/public/x").await;
    }
    for seen in site.upstream.seen() {
        assert_eq!(seen.headers["x-ssl-client-verify"], "NONE");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_off_no_certificate_is_asked_for() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let text = base(&pki).replace(&format!("ca = [{:?}]", pki.path("ca.crt")), "mode = \"off\"");
    let routes = "[[route]]\npath = \"/public/*\"\npublic = true\nupstream = \"api\"\n";
    let text = format!("{text}{}{routes}", gateway::upstream("api", upstream.address));
    let gateway = Gateway::start_with(&text).await;
    for version in BOTH {
        let stranger = Client::new(&pki, gateway.address).only(version);
        let client = stranger.clone().with(&pki.client("client-1"));
        for client in [stranger, client] {
            assert_eq!(client.get("/public/x").await.status, 200);
            let answer = client.get("/private").await;
            assert_eq!((answer.status, answer.json()["reason"].clone()), (403, "certificate_missing".into()));
        }
    }
    for seen in upstream.seen() {
        assert_eq!(seen.headers["x-ssl-client-verify"], "NONE");
    }
    let private = "[[route]]\npath = \"/private/*\"\nupstream = \"api\"\n";
    assert!(Gateway::try_start_with(&format!("{text}{private}")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distinguished_name_of_any_kind_reaches_the_upstream_as_rfc_4514_text() {
    let site = Site::start(ROUTES).await;
    let unusual = site.pki.spoiled(|params| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "Müller, Söhne + \"Co\" <KG>; \\ #1");
        name.push(DnType::OrganizationalUnitName, "unit");
        name.push(DnType::CustomDnType(vec![2, 5, 4, 97]), "PSDDE-BAFIN-123456");
        name.push(DnType::CommonName, " 😀 client ");
        params.distinguished_name = name;
    });
    assert_eq!(site.stranger.clone().with(&unusual).get("/private").await.status, 200);
    let seen = site.upstream.seen();
    let subject = seen[0].headers["x-ssl-client-s-dn"].to_str().unwrap();
    let identifier = "2.5.4.97=#0C125053444445 2D424146494E2D313233343536".replace(' ', "");
    assert_eq!(
        subject,
        format!(
            "CN=\\ \\F0\\9F\\98\\80 client\\ ,{identifier},OU=unit,\
             O=M\\C3\\BCller\\, S\\C3\\B6hne \\+ \\\"Co\\\" \\<KG\\>\\; \\\\ #1,C=DE"
        )
    );
}
