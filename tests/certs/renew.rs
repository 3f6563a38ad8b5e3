//! `renew` and `sign`: the same again, and what strangers ask for.

use mtls_gateway::identity::CertificateFacts;
use mtls_gateway::pki::{ClientRequest, Overwrite};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rcgen::{PKCS_ECDSA_P384_SHA384, SanType};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::support::{Ran, Sandbox, between, tool};

fn facts(sandbox: &Sandbox, file: &str) -> CertificateFacts {
    CertificateFacts::from_der(&sandbox.chain(file)[0]).unwrap()
}

fn public_key(der: &[u8]) -> Vec<u8> {
    X509Certificate::from_der(der).unwrap().1.public_key().raw.to_vec()
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap()
}

const CLIENT: &str = "certs/clients/client-1.crt";

#[test]
fn a_renewed_certificate_says_the_same_with_a_new_number_and_a_new_key() {
    let sandbox = Sandbox::with_authority();
    let names = ["spiffe://example.org/a", "u@example.com", "10.0.0.1", "a.example"];
    let arguments =
        ["client", "--cn", "Any \"Name\"", "--org", "O", "--ou", "U", "--days", "30", "--key-type", "rsa2048"];
    sandbox.succeed([&arguments[..], &["--san"], &names].concat());
    let (old, old_key) = (facts(&sandbox, CLIENT), public_key(&sandbox.chain(CLIENT)[0]));
    let said = sandbox.succeed(["renew", "client-1"]);
    assert!(said.out.contains(&format!("in place of {}", old.serial)), "{said:?}");
    let (new, new_key) = (facts(&sandbox, CLIENT), public_key(&sandbox.chain(CLIENT)[0]));
    assert_eq!((&new.subject, &new.subject_alt_names), (&old.subject, &old.subject_alt_names));
    assert_ne!((&new.serial, &new_key), (&old.serial, &old_key));
    assert_eq!(new_key.len(), old_key.len(), "a key of the same kind");
    let life = |facts: &CertificateFacts| facts.not_after.unix_seconds() - facts.not_before.unix_seconds();
    assert_eq!(life(&new), life(&old));
    assert_eq!(sandbox.mode("certs/clients/client-1.key"), 0o600);
    let states: Vec<_> = sandbox.states().into_iter().map(|row| row.1).collect();
    assert_eq!(states, ["valid", "replaced", "valid"]);
    let arguments = ["verify", "-x509_strict", "-CAfile", "ca.crt", "clients/client-1.crt"];
    let Some(ran) = tool("openssl", &sandbox.path("certs"), &arguments) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn the_key_stays_when_it_is_asked_for_and_the_server_is_renewed_too() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["server", "--name", "api.example.com"]);
    let (old, key) = (facts(&sandbox, "certs/server.crt"), sandbox.read("certs/server.key"));
    sandbox.succeed(["renew", "server", "--reuse-key", "--days", "10"]);
    let new = facts(&sandbox, "certs/server.crt");
    assert_eq!((sandbox.read("certs/server.key"), &new.subject), (key, &old.subject));
    assert_ne!(new.serial, old.serial);
    assert!(sandbox.succeed(["verify", "server"]).out.starts_with("OK"));
}

#[test]
fn what_ends_soon_is_renewed_and_the_rest_is_left_alone() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["server", "--days", "5"]);
    sandbox.succeed(["client", "--name", "long"]);
    sandbox.succeed(["client", "--name", "short", "--days", "20"]);
    sandbox.succeed(["client", "--name", "gone", "--days", "20"]);
    sandbox.succeed(["revoke", "gone"]);
    let mut request = ClientRequest::new("over".parse().unwrap());
    request.validity = between(-2, -1);
    assert!(sandbox.store().issue_client(&request, Overwrite::Refuse).is_err(), "before its CA");
    let told = json(&sandbox.succeed(["renew", "--expiring", "30d", "--days", "60", "--output", "json"]));
    let renewed: Vec<_> = told["renewed"].as_array().unwrap().iter().map(|one| one["certificate"].clone()).collect();
    assert_eq!(renewed, ["certs/server.crt", "certs/clients/short.crt"]);
    assert!(sandbox.succeed(["renew", "--expiring", "30d"]).out.contains("nothing to renew"));
}

#[test]
fn what_cannot_be_renewed_is_said() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    sandbox.succeed(["revoke", "client-1"]);
    for (what, message) in [
        ("client-1", "was revoked; --force"),
        ("nobody", "nobody is no name of a certificate in its place"),
        ("../ca", "is no name of a certificate"),
        ("ca", "rotate-ca"),
    ] {
        assert!(sandbox.refuse(2, ["renew", what]).error().contains(message), "{what}");
    }
    sandbox.succeed(["renew", "client-1", "--force"]);
    std::fs::remove_file(sandbox.path("certs/clients/client-1.key")).unwrap();
    assert!(sandbox.refuse(2, ["renew", "client-1"]).error().contains("--reuse-key"));
    sandbox.succeed(["renew", "client-1", "--reuse-key"]);
}

/// A request that wants to be a CA, a server, and somebody else.
fn hostile() -> (String, KeyPair) {
    let mut parameters = CertificateParams::new(vec!["admin.example".to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, "admin");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::CodeSigning];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    (parameters.serialize_request(&key).unwrap().pem().unwrap(), key)
}

#[test]
fn nothing_that_a_request_asks_for_is_granted() {
    let sandbox = Sandbox::with_authority();
    let (pem, key) = hostile();
    sandbox.write("partner.csr", &pem);
    let ran = sandbox.succeed(["sign", "partner.csr", "--output", "json"]);
    let told = json(&ran);
    assert_eq!(told["certificate"], "certs/clients/partner.crt");
    let ignored = told["ignored"].to_string();
    for wish in ["CN=admin", "DNS:admin.example", "CA:TRUE", "keyCertSign", "extended key usage"] {
        assert!(ignored.contains(wish) && ran.err.contains(wish), "{wish} in {ran:?}");
    }
    let der = &sandbox.chain("certs/clients/partner.crt")[0];
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    assert_eq!(parsed.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
    assert!(!parsed.basic_constraints().unwrap().unwrap().value.ca);
    assert_eq!(parsed.key_usage().unwrap().unwrap().value.to_string(), "Digital Signature");
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.code_signing);
    let facts = CertificateFacts::from_der(der).unwrap();
    assert_eq!((facts.subject.as_str(), facts.san_text().as_str()), ("CN=partner", "DNS:partner"));
    assert!(!sandbox.path("certs/clients/partner.key").exists());
    assert!(sandbox.succeed(["verify", "partner"]).out.starts_with("OK"));
}

#[test]
fn names_and_subject_are_taken_over_when_the_operator_says_so() {
    let sandbox = Sandbox::with_authority();
    sandbox.write("x.csr", hostile().0);
    sandbox.succeed(["sign", "x.csr", "--accept-names"]);
    assert_eq!(facts(&sandbox, "certs/clients/x.crt").san_text(), "DNS:admin.example");
    assert_eq!(facts(&sandbox, "certs/clients/x.crt").subject, "CN=x");
    sandbox.refuse(2, ["sign", "x.csr"]);
    sandbox.succeed(["sign", "x.csr", "--force", "--accept-subject", "--san", "spiffe://example.org/x", "--days", "9"]);
    assert_eq!(facts(&sandbox, "certs/clients/x.crt").san_text(), "URI:spiffe://example.org/x");
    assert_eq!(facts(&sandbox, "certs/clients/x.crt").subject, "CN=admin");
    sandbox.succeed(["sign", "x.csr", "--server", "--san", "api.example.com"]);
    assert_eq!(facts(&sandbox, "certs/server.crt").san_text(), "DNS:api.example.com");
    assert!(sandbox.succeed(["verify", "server"]).out.starts_with("OK"));
}

#[test]
fn a_request_that_is_not_what_it_says_is_refused() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    let (pem, _) = hostile();
    let der = rustls_pki_types::CertificateSigningRequestDer::from(
        x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents,
    );
    let mut forged = der.to_vec();
    let at = forged.windows(5).position(|window| window == b"admin").unwrap();
    forged[at..at + 5].copy_from_slice(b"boss!");
    sandbox.write("forged.csr", forged);
    sandbox.write("garbage.csr", "nothing");
    sandbox.write("certificate.csr", sandbox.read("certs/ca.crt"));
    let mut evil = CertificateParams::new(Vec::<String>::new()).unwrap();
    evil.subject_alt_names = vec![SanType::DnsName("evil name\n".try_into().unwrap())];
    let request = evil.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    sandbox.write("evil.csr", request.der());
    sandbox.write("client-1.csr", request.der());
    let cases: [(&[&str], &str); 6] = [
        (&["sign", "forged.csr"], "is not signed by the key it is for"),
        (&["sign", "garbage.csr"], "holds no certificate signing request"),
        (&["sign", "certificate.csr"], "holds no certificate signing request"),
        (&["sign", "evil.csr", "--accept-names"], "which cannot be taken over: it is not a DNS name"),
        (&["sign", "client-1.csr"], "certs/clients/client-1.key exists already"),
        (&["sign", "evil.csr", "--server"], "--san HOST"),
    ];
    for (arguments, message) in cases {
        let ran = sandbox.refuse(2, arguments);
        assert!(ran.error().contains(message), "{ran:?}");
    }
}

#[test]
fn a_subject_that_no_certificate_should_have_is_not_taken_over() {
    let sandbox = Sandbox::with_authority();
    for (subject, mask, expected) in [
        ("/CN=a/emailAddress=a@example.com", "utf8only", "a@example.com"),
        ("/CN=Gr\u{f6}\u{df}e", "nombstr", "form that certificates do not use any more"),
    ] {
        sandbox.write("x.cnf", format!("[req]\ndistinguished_name=d\nstring_mask={mask}\n[d]\n"));
        let arguments = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8"];
        let files = ["-config", "x.cnf", "-keyout", "x.key", "-out", "x.csr", "-subj", subject];
        let Some(ran) = tool("openssl", &sandbox.path(""), &[&arguments[..], &files].concat()) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        let ran = sandbox.refuse(2, ["sign", "x.csr", "--accept-subject"]);
        assert!(ran.error().contains("x.csr has a subject that cannot be taken over: "), "{ran:?}");
        assert!(ran.error().contains(expected), "{ran:?}");
    }
    let arguments = ["req", "-new", "-key", "x.key", "-out", "y.csr", "-subj", "/CN=a/emailAddress=a@example.com"];
    let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");
    sandbox.succeed(["sign", "y.csr", "--accept-subject", "--san", "a@example.com"]);
    assert!(sandbox.succeed(["show", "y"]).out.contains("CN=a"));
}

#[test]
fn a_request_that_openssl_made_is_signed_and_openssl_takes_it() {
    let sandbox = Sandbox::with_authority();
    for (kind, options) in [
        ("rsa", &["-newkey", "rsa:2048"][..]),
        ("p521", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        ("ed25519", &["-newkey", "ed25519"]),
        ("weak", &["-newkey", "rsa:1024"]),
    ] {
        let (key, csr) = (format!("{kind}.key"), format!("{kind}.csr"));
        let tail = ["-nodes", "-keyout", key.as_str(), "-out", csr.as_str(), "-subj", "/CN=x"];
        let arguments = [&["req", "-new"], options, &tail].concat();
        let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        if kind == "weak" {
            assert!(sandbox.refuse(2, ["sign", &csr]).error().contains("is for RSA 1024 bits"));
            continue;
        }
        sandbox.succeed(["sign", &csr]);
        let certificate = format!("clients/{kind}.crt");
        let arguments = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.crt", &certificate];
        let Some(ran) = tool("openssl", &sandbox.path("certs"), &arguments) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        sandbox.succeed(["renew", kind, "--reuse-key"]);
    }
}
