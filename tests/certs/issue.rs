//! What is issued: files, modes, and what the certificates say.

use mtls_gateway::clock::Clock;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::support::Sandbox;

/// What RFC 5280 wants of a certificate, as far as it differs between kinds.
struct Expected {
    is_ca: bool,
    key_usage: &'static str,
    server_auth: Option<bool>,
    days: i64,
}

#[track_caller]
fn assert_certificate(der: &[u8], expected: &Expected) {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(certificate.version().0, 2, "X.509 version 3");
    assert_eq!(certificate.raw_serial().len(), 16);
    assert!((1..=0x7f).contains(&certificate.raw_serial()[0]));

    let now = Clock::system().now().unix_seconds();
    let (from, to) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    assert!((-360..=-300).contains(&(from - now)), "five minutes ago: {}", from - now);
    assert_eq!(to - from - 300, expected.days * 86_400);

    let extension = |oid: &str| certificate.iter_extensions().find(|extension| extension.oid.to_id_string() == oid);
    let constraints = extension("2.5.29.19").expect("basicConstraints, on leaves too");
    assert!(constraints.critical);
    assert_eq!(certificate.basic_constraints().unwrap().unwrap().value.ca, expected.is_ca);
    assert!(extension("2.5.29.15").expect("keyUsage").critical);
    assert_eq!(certificate.key_usage().unwrap().unwrap().value.to_string(), expected.key_usage);
    assert!(matches!(
        extension("2.5.29.14").expect("SKI").parsed_extension(),
        ParsedExtension::SubjectKeyIdentifier(id) if id.0.len() == 20
    ));
    assert!(extension("2.5.29.35").is_some(), "AKI");
    let usage = certificate.extended_key_usage().unwrap();
    assert_eq!(usage.is_some(), expected.server_auth.is_some());
    if let (Some(usage), Some(server)) = (usage, expected.server_auth) {
        assert_eq!((usage.value.server_auth, usage.value.client_auth), (server, !server));
        assert!(!usage.value.any && usage.value.other.is_empty());
    }
}

const AUTHORITY: Expected =
    Expected { is_ca: true, key_usage: "Key Cert Sign, CRL Sign", server_auth: None, days: 3650 };
const SERVER: Expected = Expected { is_ca: false, key_usage: "Digital Signature", server_auth: Some(true), days: 90 };
const CLIENT: Expected = Expected { is_ca: false, key_usage: "Digital Signature", server_auth: Some(false), days: 90 };

fn names(der: &[u8]) -> String {
    mtls_gateway::identity::CertificateFacts::from_der(der).unwrap().san_text()
}

fn subject(der: &[u8]) -> String {
    mtls_gateway::identity::CertificateFacts::from_der(der).unwrap().subject
}

#[test]
fn three_commands_make_everything_that_a_gateway_needs() {
    let sandbox = Sandbox::new();
    let said = sandbox.succeed(["init"]).out;
    for expected in ["wrote certs/ca.crt", "wrote certs/ca.key", "wrote certs/ca.crl", "next: gateway certs server"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert!(sandbox.succeed(["server"]).out.contains("next: gateway certs client"));
    let said = sandbox.succeed(["client"]).out;
    assert!(said.contains("--cert certs/clients/client-1.crt --key certs/clients/client-1.key"), "{said}");

    assert_eq!(
        sandbox.files(),
        [
            "certs/ca.crl",
            "certs/ca.crt",
            "certs/ca.key",
            "certs/clients/client-1.crt",
            "certs/clients/client-1.key",
            "certs/index.json",
            "certs/server.crt",
            "certs/server.key",
        ]
    );
    for key in ["certs/ca.key", "certs/server.key", "certs/clients/client-1.key"] {
        assert_eq!(sandbox.mode(key), 0o600, "{key}");
        assert!(sandbox.read(key).starts_with(b"-----BEGIN PRIVATE KEY-----\n"), "{key} is PKCS#8");
    }
    for public in ["certs/ca.crt", "certs/ca.crl", "certs/server.crt", "certs/clients/client-1.crt"] {
        assert_eq!(sandbox.mode(public), 0o644, "{public}");
    }
    assert_eq!(sandbox.mode("certs/clients"), 0o700);

    for (file, expected) in
        [("certs/ca.crt", &AUTHORITY), ("certs/server.crt", &SERVER), ("certs/clients/client-1.crt", &CLIENT)]
    {
        let chain = sandbox.chain(file);
        assert_eq!(chain.len(), 1, "{file} holds no root that the peer has anyway");
        assert_certificate(&chain[0], expected);
    }
}

#[test]
fn a_servers_names_are_those_that_were_asked_for() {
    let cases: [(&[&str], &str, &str); 6] = [
        (&[], "CN=localhost", "DNS:localhost,IP:127.0.0.1,IP:::1"),
        (&["--name", "api.example.com"], "CN=api.example.com", "DNS:api.example.com"),
        (&["--name", "10.0.0.1"], "CN=gateway", "IP:10.0.0.1"),
        (
            &["--name", "api.example.com", "--san", "*.example.com", "--san", "127.0.0.1", "--san", "::1"],
            "CN=api.example.com",
            "DNS:api.example.com,DNS:*.example.com,IP:127.0.0.1,IP:::1",
        ),
        (&["--san", "b.example", "localhost", "b.example"], "CN=b.example", "DNS:b.example,DNS:localhost"),
        (&["--san", "dns:c.example", "ip:10.0.0.2"], "CN=c.example", "DNS:c.example,IP:10.0.0.2"),
    ];
    for (arguments, expected_subject, expected_names) in cases {
        let sandbox = Sandbox::with_authority();
        sandbox.succeed([&["server"], arguments].concat());
        let der = &sandbox.chain("certs/server.crt")[0];
        assert_eq!((subject(der).as_str(), names(der).as_str()), (expected_subject, expected_names));
    }
}

#[test]
fn a_server_name_too_long_for_a_common_name_is_still_a_name() {
    let sandbox = Sandbox::with_authority();
    let name = format!("{}.{}.example", "a".repeat(60), "b".repeat(60));
    sandbox.succeed(["server", "--name", &name]);
    let der = &sandbox.chain("certs/server.crt")[0];
    assert_eq!((subject(der), names(der)), ("CN=gateway".to_owned(), format!("DNS:{name}")));
}

#[test]
fn a_client_is_named_by_its_file_unless_it_is_told_otherwise() {
    let cases: [(&[&str], &str, &str, &str); 7] = [
        (&[], "client-1", "CN=client-1", "DNS:client-1"),
        (&["--name", "my_client"], "my_client", "CN=my_client", "URI:urn:gateway:client:my_client"),
        (&["--name", "42"], "42", "CN=42", "URI:urn:gateway:client:42"),
        (&["--name", "a.example"], "a.example", "CN=a.example", "DNS:a.example"),
        (
            &["--name", "x", "--cn", "Any Name, \"Ünï\"", "--org", "O+1", "--ou", "#u"],
            "x",
            "CN=Any Name\\, \\\"\\C3\\9Cn\\C3\\AF\\\",OU=\\#u,O=O\\+1",
            "DNS:x",
        ),
        (&["--san", "spiffe://example.org/a"], "client-1", "CN=client-1", "URI:spiffe://example.org/a"),
        (
            &["--san", "spiffe://example.org/a", "--san", "u@example.com", "--san", "10.0.0.1", "--san", "a.example"],
            "client-1",
            "CN=client-1",
            "URI:spiffe://example.org/a,EMAIL:u@example.com,IP:10.0.0.1,DNS:a.example",
        ),
    ];
    for (arguments, name, expected_subject, expected_names) in cases {
        let sandbox = Sandbox::with_authority();
        sandbox.succeed([&["client"], arguments].concat());
        let der = &sandbox.chain(&format!("certs/clients/{name}.crt"))[0];
        assert_eq!((subject(der).as_str(), names(der).as_str()), (expected_subject, expected_names));
    }
}

#[test]
fn days_count_from_now_and_no_leaf_outlives_its_ca() {
    let sandbox = Sandbox::new();
    sandbox.succeed(["init", "--days", "40", "--cn", "Short CA", "--org", "Example"]);
    assert_certificate(&sandbox.chain("certs/ca.crt")[0], &Expected { days: 40, ..AUTHORITY });
    assert_eq!(subject(&sandbox.chain("certs/ca.crt")[0]), "CN=Short CA,O=Example");

    assert_eq!(sandbox.succeed(["client", "--days", "30"]).err, "");
    assert_certificate(&sandbox.chain("certs/clients/client-1.crt")[0], &Expected { days: 30, ..CLIENT });

    let warned = sandbox.succeed(["server"]).err;
    assert!(warned.starts_with("warning: the certificate ends with its CA"), "{warned}");
    let end = |file| {
        let der = &sandbox.chain(file)[0];
        mtls_gateway::identity::CertificateFacts::from_der(der).unwrap().not_after
    };
    assert_eq!(end("certs/server.crt"), end("certs/ca.crt"));
}

#[test]
fn the_index_knows_what_was_issued() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client", "--san", "spiffe://example.org/a", "u@example.com"]);
    let index = sandbox.index();
    assert_eq!(index["version"], 1);
    assert_eq!(index["crl_number"], 1);
    let entries = index["certificates"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    let facts = mtls_gateway::identity::CertificateFacts::from_der(&sandbox.chain("certs/clients/client-1.crt")[0]);
    let facts = facts.unwrap();
    let entry = &entries[1];
    assert_eq!(entry["serial"], facts.serial);
    assert_eq!(entry["sha256"], facts.sha256);
    assert_eq!(entry["subject"], "CN=client-1");
    assert_eq!(entry["subject_alt_names"], serde_json::json!(["URI:spiffe://example.org/a", "EMAIL:u@example.com"]));
    assert_eq!(entry["kind"], "client");
    assert_eq!(entry["file"], "clients/client-1.crt");
    assert_eq!(entry["state"], "valid");
    assert!(entry["revoked_at"].is_null() && entry["revocation_reason"].is_null());
}

#[test]
fn a_program_can_read_what_was_issued() {
    let sandbox = Sandbox::new();
    for command in ["init", "server", "client"] {
        let said = sandbox.succeed([command, "--output", "json"]).out;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        for file in said["files"].as_array().unwrap() {
            assert!(sandbox.path(file.as_str().unwrap()).is_file());
        }
        let der = &sandbox.chain(said["certificate"].as_str().unwrap())[0];
        assert_eq!(said["serial"], mtls_gateway::identity::CertificateFacts::from_der(der).unwrap().serial);
    }
}

#[test]
fn the_folder_is_named_before_or_after_or_by_the_environment() {
    let sandbox = Sandbox::new();
    let said = sandbox.succeed(["--dir", "my certs", "init"]).out;
    assert!(said.contains("next: gateway certs --dir 'my certs' server"), "{said}");
    sandbox.succeed(["server", "--dir", "my certs"]);
    let output = sandbox.command(["client"]).env("GATEWAY_CERTS_DIR", "my certs").output().unwrap();
    assert!(output.status.success());
    assert!(sandbox.path("my certs/clients/client-1.crt").is_file());
    assert!(!sandbox.path("certs").exists());
}

#[test]
fn a_folder_may_have_a_name_that_is_no_text() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStringExt as _;
    let sandbox = Sandbox::new();
    let folder = OsString::from_vec(b"c\xff".to_vec());
    for command in [&["init"][..], &["server"], &["list"], &["show", "server"]] {
        let mut arguments: Vec<&OsStr> = vec!["--output".as_ref(), "json".as_ref(), "--dir".as_ref(), &folder];
        arguments.extend(command.iter().map(OsStr::new));
        let told = sandbox.succeed(arguments).out;
        assert!(serde_json::from_str::<serde_json::Value>(&told).is_ok(), "{told}");
    }
}

#[test]
fn two_cas_made_without_a_name_have_different_names() {
    let (one, other) = (Sandbox::with_authority(), Sandbox::with_authority());
    assert_ne!(subject(&one.chain("certs/ca.crt")[0]), subject(&other.chain("certs/ca.crt")[0]));
}

#[test]
fn a_folder_that_does_not_exist_is_made_by_init_alone() {
    let sandbox = Sandbox::new();
    for command in ["server", "client", "list"] {
        let said = sandbox.refuse(2, [command]);
        assert!(said.error().contains("gateway certs init"), "{said:?}");
        assert!(!sandbox.path("certs").exists());
    }
    sandbox.succeed(["init", "--dir", "a/b/c"]);
    assert!(sandbox.path("a/b/c/ca.crt").is_file());
}
