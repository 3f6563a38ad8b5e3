//! Certificates wrong in exactly one way that no library makes by itself: single bytes changed and signed again, weak
//! digests and keys by OpenSSL, constraints of every kind, revocation. The usual ways to be wrong are in `reasons`.

use rcgen::{
    CertificateParams, CertifiedIssuer, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, RsaKeySize, SanType, SerialNumber, SignatureAlgorithm,
    SigningKey as _, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::openssl::{GOOD, identity, issued, openssl};
use crate::reasons::{behind, extension, forger, intermediate, is_accepted, is_told};
use crate::support::gateway::base;
use crate::support::pki::{authority_params, client_params, client_under, foreign_authority, private_key};
use crate::support::site::ROUTES;
use crate::support::{Client, Crl, Gateway, Identity, Pki, Site, Upstream, eventually, gateway};

/// `ecdsa-with-SHA256`, as the end of its object identifier.
const ECDSA_SHA256: [u8; 3] = [4, 3, 2];

/// An element of DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(7)..];
    let mut bytes = vec![tag];
    if content.len() > 0x7f {
        bytes.push(0x80 | significant.len() as u8);
    }
    bytes.extend(significant);
    bytes.extend(content);
    bytes
}

/// The first place where `from` stands gets `to`, which is as long.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the bytes to change");
    bytes[at..at + to.len()].copy_from_slice(to);
}

/// The certificate with some bytes changed, and signed again by the same authority: nothing but these bytes is wrong.
fn signed_again(pki: &Pki, identity: Identity, change: impl FnOnce(&mut Vec<u8>), algorithm: [u8; 3]) -> Identity {
    let mut identity = identity;
    let (_, parsed) = X509Certificate::from_der(&identity.chain[0]).unwrap();
    let mut content = parsed.tbs_certificate.as_ref().to_vec();
    change(&mut content);
    let signature = pki.issuer().key().sign(&content).unwrap();
    let identifier = [&[0x2a, 0x86, 0x48, 0xce, 0x3d][..], &algorithm].concat();
    let whole = [content, der(0x30, &der(0x06, &identifier)), der(0x03, &[&[0][..], &signature].concat())].concat();
    identity.chain[0] = CertificateDer::from(der(0x30, &whole));
    identity
}

fn changed(pki: &Pki, from: &[u8], to: &[u8]) -> Identity {
    signed_again(pki, pki.spoiled(|_| {}), |content| replace(content, from, to), ECDSA_SHA256)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_breaks_the_form_is_malformed() {
    let site = Site::start(ROUTES).await;
    let pki = &site.pki;
    is_accepted(&site, "signed again, and nothing changed", &changed(pki, &[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 2]))
        .await;
    let year = b"40960101000000Z";
    for (what, from, to) in [
        ("version 2 with extensions", &[0xa0, 3, 2, 1, 2][..], &[0xa0, 3, 2, 1, 1][..]),
        ("version 4", &[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 3]),
        ("a version of no number", &[0xa0, 3, 2, 1, 2], &[0xa0, 3, 4, 1, 2]),
        ("a time without its zone", year, b"409601010000000"),
        ("a thirteenth month", year, b"40961301000000Z"),
        ("a thirty-second day", year, b"40960132000000Z"),
        ("a time of letters", year, b"4096010100000xZ"),
        ("a truth that is neither", &[1, 1, 0xff], &[1, 1, 1]),
        (
            "a key usage that is no bit string",
            &[0x55, 0x1d, 0x0f, 1, 1, 0xff, 4, 4, 3],
            &[0x55, 0x1d, 0x0f, 1, 1, 0xff, 4, 4, 2],
        ),
    ] {
        is_told(&site, what, &changed(pki, from, to), "malformed").await;
    }
    for (what, oid, content) in [
        ("extended key usages without any", &[2, 5, 29, 37][..], &[0x30, 0][..]),
        ("basic constraints that are none", &[2, 5, 29, 19], &[4, 1, 0]),
        ("alternative names that are none", &[2, 5, 29, 17], &[4, 1, 0]),
    ] {
        let identity = pki.spoiled(|params| {
            params.extended_key_usages.clear();
            params.subject_alt_names.clear();
            params.is_ca = rcgen::IsCa::NoCa;
            params.custom_extensions.push(extension(oid, content, false));
        });
        is_told(&site, what, &identity, "malformed").await;
    }
    let usage = pki.spoiled(|params| {
        params.custom_extensions.push(extension(&[2, 5, 29, 15], &[3, 2, 7, 0x80], true));
    });
    is_told(&site, "two key usages", &usage, "malformed").await;
    let backwards = pki.spoiled(|params| {
        params.not_before = date_time_ymd(2020, 1, 2);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    is_told(&site, "an end before the beginning", &backwards, "malformed").await;
    // The two places for the algorithm of the signature have to agree.
    let mismatch = changed(pki, &[0xce, 0x3d, 4, 3, 2], &[0xce, 0x3d, 4, 3, 3]);
    is_told(&site, "two algorithms for one signature", &mismatch, "bad_signature").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rfc_5280_asks_to_be_lenient_with_is_accepted() {
    let site = Site::start(ROUTES).await;
    for serial in [&[0][..], &[0x7f; 20], &[0x55; 40]] {
        let identity = site.pki.spoiled(|params| params.serial_number = Some(SerialNumber::from_slice(serial)));
        is_accepted(&site, &format!("the serial number {serial:?}"), &identity).await;
    }
    let negative = site.pki.spoiled(|params| params.serial_number = Some(SerialNumber::from_slice(&[0x7f, 1, 2, 3])));
    let negative = signed_again(
        &site.pki,
        negative,
        |content| replace(content, &[2, 4, 0x7f, 1, 2, 3], &[2, 4, 0xff, 1, 2, 3]),
        ECDSA_SHA256,
    );
    is_accepted(&site, "a negative serial number", &negative).await;
    let nameless = site.pki.spoiled(|params| params.distinguished_name = DistinguishedName::new());
    is_accepted(&site, "no subject, and names that are not critical", &nameless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usages_for_something_else_are_wrong_usage() {
    let site = Site::start(ROUTES).await;
    for (what, purposes) in [
        ("any usage", vec![ExtendedKeyUsagePurpose::Any]),
        ("mail", vec![ExtendedKeyUsagePurpose::EmailProtection]),
        ("time stamps", vec![ExtendedKeyUsagePurpose::TimeStamping]),
        ("OCSP answers", vec![ExtendedKeyUsagePurpose::OcspSigning]),
        ("another usage", vec![ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 2])]),
    ] {
        let identity = site.pki.spoiled(|params| params.extended_key_usages = purposes);
        is_told(&site, what, &identity, "wrong_usage").await;
    }
    for usage in [KeyUsagePurpose::KeyAgreement, KeyUsagePurpose::ContentCommitment, KeyUsagePurpose::DataEncipherment]
    {
        let identity = site.pki.spoiled(|params| params.key_usages = vec![usage]);
        is_told(&site, &format!("{usage:?} alone"), &identity, "wrong_usage").await;
    }
    let mut for_servers = authority_params("for servers", None);
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let for_servers = intermediate(&site.pki.issuer(), for_servers);
    is_told(&site, "an authority for servers", &behind(&[&for_servers], |_| {}), "wrong_usage").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_that_may_not_issue_is_an_invalid_chain() {
    let site = Site::start(ROUTES).await;
    let root = site.pki.issuer();
    let mut no_signing = authority_params("no signing", None);
    no_signing.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let no_signing = intermediate(&root, no_signing);
    is_told(&site, "an issuer whose key may not issue", &behind(&[&no_signing], |_| {}), "invalid_chain").await;
    let mut critical = authority_params("critical", None);
    critical.custom_extensions.push(extension(&[1, 2, 3, 4], &[5, 0], true));
    let critical = intermediate(&root, critical);
    is_told(&site, "an unknown critical extension above", &behind(&[&critical], |_| {}), "invalid_chain").await;
}

/// Constraints of an intermediate, and a client below it.
fn constrained(site: &Site, constraints: NameConstraints, name: SanType) -> Identity {
    let mut params = authority_params("constrained", None);
    params.name_constraints = Some(constraints);
    let issuer = intermediate(&site.pki.issuer(), params);
    behind(&[&issuer], |params| params.subject_alt_names = vec![name])
}

fn permitted(subtree: GeneralSubtree) -> NameConstraints {
    NameConstraints { permitted_subtrees: vec![subtree], excluded_subtrees: Vec::new() }
}

fn excluded(subtree: GeneralSubtree) -> NameConstraints {
    NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: vec![subtree] }
}

#[tokio::test(flavor = "multi_thread")]
async fn name_constraints_of_every_kind_are_kept() {
    let site = Site::start(ROUTES).await;
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let email = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    let ip = |address: [u8; 4]| SanType::IpAddress(address.into());
    let network = || GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]));
    let inside = || GeneralSubtree::DnsName("inside.example".into());
    for (what, constraints, name) in [
        ("a DNS name inside", permitted(inside()), dns("a.inside.example")),
        ("a DNS name that is not excluded", excluded(inside()), dns("a.outside.example")),
        ("an address inside", permitted(network()), ip([10, 1, 2, 3])),
        ("an address that is not excluded", excluded(network()), ip([192, 0, 2, 1])),
    ] {
        is_accepted(&site, what, &constrained(&site, constraints, name)).await;
    }
    let mut someone = DistinguishedName::new();
    someone.push(DnType::OrganizationName, "Someone");
    for (what, constraints, name) in [
        ("a DNS name outside", permitted(inside()), dns("a.outside.example")),
        ("a DNS name that only ends alike", permitted(inside()), dns("ainside.example")),
        ("a DNS name that is excluded", excluded(inside()), dns("a.inside.example")),
        ("an address outside", permitted(network()), ip([192, 0, 2, 1])),
        ("an address that is excluded", excluded(network()), ip([10, 1, 2, 3])),
        (
            "a mail address outside",
            permitted(GeneralSubtree::Rfc822Name("inside.example".into())),
            email("a@b.example"),
        ),
        (
            "a mail address that is excluded",
            excluded(GeneralSubtree::Rfc822Name("b.example".into())),
            email("a@b.example"),
        ),
        ("a subject outside", permitted(GeneralSubtree::DirectoryName(someone.clone())), dns("a.example")),
    ] {
        is_told(&site, what, &constrained(&site, constraints, name), "invalid_chain").await;
    }
    // rcgen writes no constraints on URIs.
    for (what, tag) in [("a URI outside", 0xa0), ("a URI that is excluded", 0xa1)] {
        let subtree = der(tag, &der(0x30, &der(0x86, if tag == 0xa0 { b"inside.example" } else { b"td.example" })));
        let mut params = authority_params("constrained", None);
        params.custom_extensions.push(extension(&[2, 5, 29, 30], &der(0x30, &subtree), true));
        let issuer = intermediate(&site.pki.issuer(), params);
        let identity = behind(&[&issuer], |params| {
            params.subject_alt_names = vec![SanType::URI("https://td.example/a".try_into().unwrap())];
        });
        is_told(&site, what, &identity, "invalid_chain").await;
    }
}

/// A public key of which nobody has the private one.
struct PublicKey(Vec<u8>);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_key_of_a_length_that_is_not_accepted_ends_the_handshake() {
    let site = Site::start(ROUTES).await;
    for (number, bits) in [1024_usize, 8200, 16384].into_iter().enumerate() {
        let modulus = [&[0][..], &vec![0xff; bits / 8]].concat();
        let key = PublicKey(der(0x30, &[der(2, &modulus), der(2, &[1, 0, 1])].concat()));
        let certificate = client_params("long").signed_by(&key, &site.pki.issuer()).unwrap();
        let other = KeyPair::generate().unwrap();
        let identity = Identity { chain: vec![certificate.der().clone()], key: private_key(&other) };
        assert!(site.stranger.clone().with(&identity).is_refused_in_the_handshake().await, "{bits}");
        eventually(&format!("a line for {bits} bits"), async || {
            let lines = site.gateway.log();
            let fits = |line: &&serde_json::Value| line["event"] == "handshake" && line["reason"] == "unsupported_key";
            (lines.iter().filter(fits).count() == number + 1).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_digests_and_keys_above_are_unsupported() {
    let site = Site::start(ROUTES).await;
    let pki = &site.pki;
    let curve = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    for digest in ["sha1", "sha224"] {
        let folder = issued(pki, curve, Some(GOOD)).await;
        let sign = "-CA ca.crt -CAkey ca.key -days 30 -extfile extensions -out client.crt";
        openssl(folder.path(), &format!("x509 -req -{digest} -in client.csr {sign}")).await;
        is_told(&site, digest, &identity(&folder), "unsupported_key").await;
    }
    for (what, bits, digest, reason) in [
        ("MD5", 2048, "md5", Some("unsupported_key")),
        ("SHA-1 of RSA", 2048, "sha1", Some("unsupported_key")),
        ("an authority of 1024 bits", 1024, "sha256", Some("unsupported_key")),
        ("an authority of RSA", 2048, "sha256", None),
    ] {
        let folder = issued(pki, curve, Some(GOOD)).await;
        let at = folder.path();
        std::fs::write(at.join("ca.ext"), "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
            .unwrap();
        openssl(at, &format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits} -out rsa.key")).await;
        openssl(at, "req -new -key rsa.key -subj /CN=rsa -out rsa.csr").await;
        openssl(at, "x509 -req -in rsa.csr -CA ca.crt -CAkey ca.key -days 30 -extfile ca.ext -out rsa.crt").await;
        let sign = "-CA rsa.crt -CAkey rsa.key -days 30 -extfile extensions -out client.crt";
        openssl(at, &format!("x509 -req -{digest} -in client.csr {sign}")).await;
        let mut client = identity(&folder);
        client.chain.push(rustls::pki_types::pem::PemObject::from_pem_file(at.join("rsa.crt")).unwrap());
        match reason {
            Some(reason) => is_told(&site, what, &client, reason).await,
            None => is_accepted(&site, what, &client).await,
        }
    }
    let unknown = signed_again(
        pki,
        pki.spoiled(|_| {}),
        |content| replace(content, &[0xce, 0x3d, 4, 3, 2], &[0xce, 0x3d, 4, 3, 9]),
        [4, 3, 9],
    );
    is_told(&site, "a signature by an algorithm that nobody knows", &unknown, "unsupported_key").await;
}

/// A site whose clients are looked for in lists.
async fn with_lists(pki: Pki, client_auth: &str) -> Site {
    let upstream = Upstream::echo().await;
    let text = base(&pki).replace("[drain]", &format!("{client_auth}\n[drain]"));
    let text = format!("{text}{}{ROUTES}", gateway::upstream("api", upstream.address));
    let gateway = Gateway::start_with(&text).await;
    let stranger = Client::new(&pki, gateway.address);
    Site { client: stranger.clone(), stranger, pki, upstream, gateway }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_of_being_revoked_is_told_everywhere() {
    let pki = Pki::new();
    let root = pki.issuer();
    let (good, taken) = (pki.client("client-1"), pki.issue_client("taken"));
    let middle = intermediate(&root, authority_params("middle", None));
    let bad = intermediate(&root, authority_params("bad", None));
    let unlisted = intermediate(&root, authority_params("unlisted", None));
    let late = intermediate(&root, authority_params("late", None));
    let by_serial = pki.spoiled(|params| params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc])));
    let by_hash = pki.issue_client("by-hash");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &by_hash.chain[0]);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let lists = [
        Crl::new().revoking_client(&taken).revoking(bad.der()).pem(&root),
        Crl::new().pem(&middle),
        Crl::new().pem(&bad),
        Crl::new().living(3600, -1).pem(&late),
    ];
    std::fs::write(pki.path("lists.crl"), lists.concat()).unwrap();
    std::fs::write(pki.path("denied.txt"), format!("0a:bc\nsha256:{hash}\n")).unwrap();
    let more =
        format!("crl = {:?}\ncrl_scope = \"chain\"\ndeny_list = {:?}", pki.path("lists.crl"), pki.path("denied.txt"));
    let site = with_lists(pki, &more).await;
    is_accepted(&site, "on no list", &good).await;
    is_accepted(&site, "below an intermediate on no list", &behind(&[&middle], |_| {})).await;
    for (what, identity, reason) in [
        ("a client on the list", taken, "revoked"),
        ("an intermediate on the list", behind(&[&bad], |_| {}), "revoked"),
        ("a serial number on the operator's list", by_serial, "revoked"),
        ("a fingerprint on the operator's list", by_hash, "revoked"),
        ("an issuer without a list", behind(&[&unlisted], |_| {}), "revocation_unknown"),
        ("an issuer whose list is over", behind(&[&late], |_| {}), "revocation_unknown"),
    ] {
        is_told(&site, what, &identity, reason).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_reasons_the_first_is_told_where_revocation_or_a_weak_digest_is_one() {
    let pki = Pki::new();
    let root = pki.issuer();
    let serial = || SerialNumber::from_slice(&[0x0d, 0xef]);
    let spoiled = |spoil: &dyn Fn(&mut CertificateParams)| {
        pki.spoiled(|params| {
            params.serial_number = Some(serial());
            spoil(params);
        })
    };
    let for_servers =
        |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let future = |params: &mut CertificateParams| params.not_before = date_time_ymd(2090, 1, 1);
    let critical =
        |params: &mut CertificateParams| params.custom_extensions.push(extension(&[1, 2, 3, 4], &[5, 0], true));
    let weak = |identity: Identity| {
        let change = |content: &mut Vec<u8>| replace(content, &[0xce, 0x3d, 4, 3, 2], &[0xce, 0x3d, 4, 3, 1]);
        signed_again(&pki, identity, change, [4, 3, 1])
    };
    let broken = |identity: Identity| {
        let change = |content: &mut Vec<u8>| replace(content, &[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 3]);
        signed_again(&pki, identity, change, ECDSA_SHA256)
    };
    let under = |issuer: &rcgen::Issuer<'_, KeyPair>| {
        let mut params = client_params("x");
        params.serial_number = Some(serial());
        let key = KeyPair::generate().unwrap();
        Identity { chain: vec![params.signed_by(&key, issuer).unwrap().der().clone()], key: private_key(&key) }
    };
    let mut old = authority_params("old", None);
    expired(&mut old);
    let mut new = authority_params("new", None);
    future(&mut new);
    let (old, new) = (intermediate(&root, old), intermediate(&root, new));
    let foreign = foreign_authority("foreign");
    let cases = [
        ("malformed, weak", broken(weak(spoiled(&|_| {}))), "malformed"),
        ("malformed, revoked", broken(spoiled(&|_| {})), "malformed"),
        ("weak, for servers", weak(spoiled(&for_servers)), "unsupported_key"),
        ("weak, expired", weak(spoiled(&expired)), "unsupported_key"),
        ("weak, future", weak(spoiled(&future)), "unsupported_key"),
        ("weak, critical", weak(spoiled(&critical)), "unsupported_key"),
        ("weak, revoked", weak(spoiled(&|_| {})), "unsupported_key"),
        ("for servers, revoked", spoiled(&for_servers), "wrong_usage"),
        ("expired, revoked", spoiled(&expired), "expired"),
        ("expired below one of the future", behind(&[&new], expired), "expired"),
        ("of the future below an expired one", behind(&[&old], future), "expired"),
        ("future, revoked", spoiled(&future), "not_yet_valid"),
        ("foreign, revoked", under(&foreign), "unknown_issuer"),
        ("forged, revoked", under(&forger(&pki)), "bad_signature"),
        ("critical, revoked", spoiled(&critical), "invalid_chain"),
        ("revoked, unknown", spoiled(&|_| {}), "revoked"),
        ("unknown, not allowed", client_under(&root, "x"), "revocation_unknown"),
    ];
    // There is a list of another issuer only, so that of nobody it is known that he is not revoked.
    std::fs::write(pki.path("other.crl"), Crl::new().pem(&foreign)).unwrap();
    std::fs::write(pki.path("denied.txt"), "0def\n").unwrap();
    let more = format!("crl = {:?}\ndeny_list = {:?}", pki.path("other.crl"), pki.path("denied.txt"));
    let site = with_lists(pki, &more).await;
    for (what, identity, reason) in &cases {
        is_told(&site, what, identity, reason).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_intermediates_form_keeps_its_clients_out() {
    let site = Site::start(ROUTES).await;
    let middle = intermediate(&site.pki.issuer(), authority_params("middle", None));
    let good = behind(&[&middle], |_| {});
    is_accepted(&site, "an intermediate", &good).await;
    let mut trailing = good.clone();
    trailing.chain[1] = CertificateDer::from([trailing.chain[1].as_ref(), b"garbage"].concat());
    is_told(&site, "bytes after the intermediate", &trailing, "malformed").await;
    let mut alone = good.clone();
    alone.chain[1] = CertificateDer::from(b"garbage".to_vec());
    is_told(&site, "garbage instead of the intermediate", &alone, "malformed").await;
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let other = CertifiedIssuer::signed_by(authority_params("middle", None), key, &site.pki.issuer()).unwrap();
    let mut another = good;
    another.chain[1] = other.der().clone();
    is_told(&site, "an intermediate of the same name with another key", &another, "unsupported_key").await;
}
