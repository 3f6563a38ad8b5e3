//! A CA, an index or a list that cannot be used: one clear message, exit code 2, and nothing lost.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, GeneralSubtree,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, RevokedCertParams, SerialNumber, date_time_ymd,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::support::Sandbox;

/// A CA as somebody else would make it.
fn foreign(change: impl FnOnce(&mut CertificateParams)) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "Foreign CA");
    change(&mut parameters);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn place(sandbox: &Sandbox, authority: &CertifiedIssuer<'static, KeyPair>) {
    sandbox.place_authority(&authority.pem(), &authority.key().serialize_pem());
}

#[test]
fn a_file_that_cannot_be_used_is_named_and_nothing_is_lost() {
    let other = Sandbox::with_authority();
    other.succeed(["server"]);
    let text = |file: &str| String::from_utf8(other.read(file)).unwrap();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let not_der = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    let later = "{\"version\": 2}";
    let cases: [(&str, String, &str); 18] = [
        ("ca.key", String::new(), "no private key"),
        ("ca.key", "garbage".to_owned(), "no private key"),
        ("ca.key", text("certs/ca.crt"), "no private key"),
        ("ca.key", text("certs/ca.key"), "does not belong to ca.crt"),
        ("ca.key", text("certs/ca.key").replacen('M', "?", 1), "private key"),
        ("ca.key", encrypted.to_owned(), "encrypted"),
        ("ca.crt", String::new(), "no certificate"),
        ("ca.crt", "garbage".to_owned(), "no certificate"),
        ("ca.crt", text("certs/ca.crt").replacen('M', "?", 1), "garbled"),
        ("ca.crt", text("certs/ca.crt").split_at(200).0.to_owned(), "garbled"),
        ("ca.crt", not_der.to_owned(), "cannot be read"),
        ("ca.key", text("certs/server.key"), "does not belong to ca.crt"),
        ("index.json", String::new(), "garbled"),
        ("index.json", "{".to_owned(), "garbled"),
        ("index.json", "{\"version\": 1}".to_owned(), "garbled"),
        ("index.json", later.to_owned(), "version 2"),
        ("ca.crl", "garbage".to_owned(), "cannot be read as a revocation list"),
        ("ca.crl", text("certs/ca.crl"), "another CA"),
    ];
    for (file, contents, expected) in cases {
        let sandbox = Sandbox::with_authority();
        sandbox.write(&format!("certs/{file}"), &contents);
        for command in ["server", "client"] {
            let ran = sandbox.refuse(2, [command]);
            let error = ran.error();
            assert!(error.starts_with(&format!("error: certs/{file} ")), "{contents:?}: {error}");
            assert!(error.contains(expected), "{contents:?}: {error}");
        }
    }
}

#[test]
fn a_missing_key_is_said_to_be_missing() {
    let sandbox = Sandbox::with_authority();
    std::fs::remove_file(sandbox.path("certs/ca.key")).unwrap();
    assert!(sandbox.refuse(2, ["client"]).error().contains("certs/ca.key is missing"));
    std::fs::remove_file(sandbox.path("certs/ca.crt")).unwrap();
    assert!(sandbox.refuse(2, ["client"]).error().contains("gateway certs init"));
}

#[test]
fn a_ca_out_of_its_time_issues_nothing() {
    for (from, to) in [(-20, -1), (1, 20)] {
        let sandbox = Sandbox::new();
        sandbox.init_between(from, to);
        let ran = sandbox.refuse(2, ["client"]);
        assert!(ran.error().contains("certs/ca.crt is valid only from "), "{ran:?}");
    }
}

#[test]
fn a_certificate_that_is_no_ca_issues_nothing() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["server"]);
    let text = |file: &str| String::from_utf8(sandbox.read(file)).unwrap();
    let leaf = Sandbox::new();
    leaf.place_authority(&text("certs/server.crt"), &text("certs/server.key"));
    assert!(leaf.refuse(2, ["client"]).error().contains("is not a CA certificate"));

    let unsigning = foreign(|parameters| parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    place(&leaf, &unsigning);
    assert!(leaf.refuse(2, ["client"]).error().contains("keyCertSign"));
}

#[test]
fn a_subject_with_a_repeated_attribute_comes_out_as_the_same_issuer() {
    let authority = foreign(|parameters| {
        parameters.distinguished_name.push(DnType::OrganizationalUnitName, "first");
        parameters.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 11]), "second");
    });
    let sandbox = Sandbox::new();
    place(&sandbox, &authority);
    sandbox.succeed(["server"]);
    sandbox.succeed(["client"]);
    for what in ["server", "client-1"] {
        assert!(sandbox.succeed(["verify", what]).out.starts_with("OK"));
    }
}

#[test]
fn a_ca_with_name_constraints_issues_only_what_they_allow() {
    let authority = foreign(|parameters| {
        parameters.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let sandbox = Sandbox::new();
    place(&sandbox, &authority);
    let ran = sandbox.refuse(2, ["server", "--name", "api.example.org"]);
    assert!(ran.error().contains("may not issue this certificate"), "{ran:?}");
    sandbox.succeed(["server", "--name", "api.example.com"]);
}

#[test]
fn a_foreign_ca_that_is_sound_issues_and_the_new_index_is_said() {
    let sandbox = Sandbox::new();
    place(&sandbox, &foreign(|_| ()));
    let ran = sandbox.succeed(["server"]);
    assert!(ran.err.contains("certs/index.json was missing"), "{ran:?}");
    assert!(ran.out.contains("wrote certs/ca.crl"), "{ran:?}");
    assert_eq!(sandbox.succeed(["client"]).err, "");
}

#[test]
fn a_ca_that_may_not_sign_lists_still_issues_and_says_so() {
    let sandbox = Sandbox::new();
    place(&sandbox, &foreign(|parameters| parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign]));
    let ran = sandbox.succeed(["server"]);
    assert!(ran.err.contains("keyUsage does not let it sign"), "{ran:?}");
    assert!(!sandbox.path("certs/ca.crl").exists());
}

#[test]
fn an_intermediate_ca_sends_itself_along_but_not_the_root() {
    let root = foreign(|_| ());
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.distinguished_name.push(DnType::CommonName, "Issuing CA");
    let intermediate = CertifiedIssuer::signed_by(parameters, KeyPair::generate().unwrap(), &root).unwrap();
    let sandbox = Sandbox::new();
    for bundle in [intermediate.pem(), format!("{}{}", root.pem(), intermediate.pem())] {
        sandbox.place_authority(&bundle, &intermediate.key().serialize_pem());
        sandbox.succeed(["server", "--force"]);
        let chain = sandbox.chain("certs/server.crt");
        assert_eq!(chain.len(), 2);
        assert_eq!(chain[1], *intermediate.der());
    }
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::with_authority();
    std::fs::set_permissions(sandbox.path("certs/ca.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let warned = sandbox.succeed(["client"]).err;
    assert!(warned.contains("mode 0644") && warned.contains("chmod 600 certs/ca.key"), "{warned}");
}

#[test]
fn a_renewed_list_carries_over_what_the_old_one_revoked() {
    let authority = foreign(|_| ());
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2020, 2, 1),
        crl_number: SerialNumber::from(41),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[0x81, 2]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let sandbox = Sandbox::new();
    place(&sandbox, &authority);
    sandbox.write("certs/ca.crl", list.signed_by(&authority).unwrap().pem().unwrap());
    sandbox.succeed(["client"]);

    let pem = sandbox.read("certs/ca.crl");
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let (_, read) = CertificateRevocationList::from_der(&pem.contents).unwrap();
    assert_eq!(read.crl_number().unwrap().to_string(), "42");
    let revoked: Vec<_> = read.iter_revoked_certificates().collect();
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].raw_serial(), [0, 0x81, 2]);
    assert_eq!(revoked[0].reason_code().unwrap().1.0, 1);
}

#[test]
fn what_the_index_says_was_revoked_comes_onto_the_next_list() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    let mut index = sandbox.index();
    let entry = &mut index["certificates"][1];
    entry["state"] = "revoked".into();
    entry["revoked_at"] = "2026-01-01T00:00:00Z".into();
    entry["revocation_reason"] = "superseded".into();
    let serial = entry["serial"].as_str().unwrap().to_owned();
    sandbox.write("certs/index.json", index.to_string());
    sandbox.succeed(["client", "--name", "b"]);
    let shown = sandbox.succeed(["show", "crl"]).out;
    assert!(shown.contains(&format!("{serial} at 2026-01-01T00:00:00Z (superseded)")), "{shown}");
    assert!(sandbox.states().contains(&("client-1".to_owned(), "revoked".to_owned())));
}

#[test]
fn a_path_that_is_no_folder_is_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "x");
    for arguments in [["init", "--dir", "file"], ["init", "--dir", "file/below"]] {
        let ran = sandbox.refuse(2, arguments);
        assert!(ran.error().contains("file"), "{ran:?}");
    }
}
