//! What is wrong at the start is said in one sentence, and the program does not start.

use std::net::TcpListener;
use std::path::Path;

use crate::support::Pki;
use crate::support::binary::{Binary, have, program, run_to_end};
use crate::support::gateway;

fn refused(pki: &Pki, config: &str, named: &str, what: &str) {
    let file = pki.path("gateway.toml");
    std::fs::write(&file, config).unwrap();
    let output = run_to_end(program().args(["run", "-c"]).arg(&file));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{what}: {said}");
    assert!(said.contains(named), "{what}: {said}");
    assert!(!said.contains("panicked") && !said.contains("PRIVATE KEY-----\n"), "{what}: {said}");
    assert!(said.lines().count() <= 8, "{what}: {said}");
    let logged = String::from_utf8(output.stdout).unwrap();
    assert!(!logged.contains("\"event\":\"request\"") && !logged.contains("panicked"), "{what}: {logged}");
}

fn good(pki: &Pki) -> String {
    format!("{}[upstream.api]\nurl = \"http://127.0.0.1:5000\"\n", gateway::base(pki))
}

fn path(path: &Path) -> String {
    format!("{path:?}")
}

#[test]
fn bad_certificates_keys_and_trust_stores_are_named() {
    let pki = Pki::new();
    let other = Pki::new();
    let write = |name: &str, text: &[u8]| {
        std::fs::write(pki.path(name), text).unwrap();
        path(&pki.path(name))
    };
    let (crt, key, ca) = (path(&pki.path("server.crt")), path(&pki.path("server.key")), path(&pki.path("ca.crt")));
    let garbled = write("garbled.pem", b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let not_der = write("not-der.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let empty = write("empty.pem", b"");
    let binary = write("binary.pem", &[0xff, 0, 0x30, 0x82]);
    let half = write("half.pem", &pki.read("server.crt")[..300]);
    let half_key = write("half.key", &pki.read("server.key")[..100]);
    let bad_key = write("bad.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let encrypted = write(
        "encrypted.key",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIBvTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQI\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let folder = path(&pki.path("clients"));
    for (what, from, to, named) in [
        ("a missing certificate", &crt, path(&pki.path("gone.crt")), "gone.crt"),
        ("a missing key", &key, path(&pki.path("gone.key")), "gone.key"),
        ("a missing trust store", &ca, path(&pki.path("gone-ca.crt")), "gone-ca.crt"),
        ("a garbled certificate", &crt, garbled.clone(), "garbled.pem"),
        ("a certificate that is none", &crt, not_der.clone(), "not-der.pem"),
        ("an empty certificate", &crt, empty.clone(), "empty.pem"),
        ("a binary certificate", &crt, binary.clone(), "binary.pem"),
        ("half a certificate", &crt, half, "half.pem"),
        ("a key as a certificate", &crt, key.clone(), "server.key"),
        ("a certificate as a key", &key, crt.clone(), "server.crt"),
        ("an empty key", &key, empty.clone(), "empty.pem"),
        ("half a key", &key, half_key, "half.key"),
        ("a key that is none", &key, bad_key, "bad.key"),
        ("an encrypted key", &key, encrypted, "encrypted.key"),
        ("a key of another certificate", &key, path(&other.path("server.key")), "server.key"),
        ("an empty trust store", &ca, empty, "empty.pem"),
        ("a garbled trust store", &ca, garbled, "garbled.pem"),
        ("a trust store that is none", &ca, not_der, "not-der.pem"),
        ("a binary trust store", &ca, binary, "binary.pem"),
        ("a key as a trust store", &ca, key.clone(), "server.key"),
        ("a folder as a trust store", &ca, folder, "clients"),
    ] {
        refused(&pki, &good(&pki).replace(from.as_str(), &to), named, what);
    }
    let two = good(&pki).replace(&key, &path(&pki.path("gone.key"))).replace(&ca, &path(&pki.path("gone-ca.crt")));
    for named in ["gone.key", "gone-ca.crt"] {
        refused(&pki, &two, named, "two files that are missing, told at once");
    }
    let both = good(&pki).replace(&crt, "\"swapped\"").replace(&key, &crt).replace("\"swapped\"", &key);
    refused(&pki, &both, "server.key", "swapped");
}

#[test]
fn an_encrypted_key_is_called_encrypted() {
    if !have("openssl") {
        return;
    }
    let pki = Pki::new();
    let encrypted = pki.path("encrypted.key");
    let output = run_to_end(
        std::process::Command::new("openssl")
            .args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in"])
            .arg(pki.path("server.key"))
            .arg("-out")
            .arg(&encrypted),
    );
    assert!(output.status.success());
    let config = good(&pki).replace(&path(&pki.path("server.key")), &path(&encrypted));
    refused(&pki, &config, "encrypted", "encrypted");
}

#[test]
fn addresses_that_cannot_be_listened_on_are_named() {
    let pki = Pki::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = (taken.local_addr().unwrap().to_string(), taken);
    refused(&pki, &good(&pki).replacen("127.0.0.1:0", &taken.0, 1), &taken.0, "a port in use");
    let health = format!("{}[health]\naddress = \"{}\"\n", good(&pki), taken.0);
    refused(&pki, &health, &taken.0, "a health port in use");
    refused(&pki, &good(&pki).replacen("127.0.0.1:0", "192.0.2.1:8443", 1), "192.0.2.1:8443", "a foreign address");
    refused(&pki, &good(&pki).replacen("127.0.0.1:0", "127.0.0.1", 1), "127.0.0.1", "an address without a port");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let pki = Pki::new();
    let output = run_to_end(program().args(["run", "-c", "/nonexistent/gateway.toml"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nonexistent/gateway.toml"));
    refused(&pki, "[listener\n", "gateway.toml:1", "no TOML");
    refused(&pki, &format!("{}[limits]\nurl = \"1KiB\"\n", good(&pki)), "uri", "an unknown key");
    refused(&pki, &gateway::base(&pki), "upstream", "no upstream");
    let file = pki.path("gateway.toml");
    std::fs::write(&file, [0xff, 0xfe, 0]).unwrap();
    assert_eq!(run_to_end(program().args(["run", "-c"]).arg(&file)).status.code(), Some(2));
    assert_eq!(run_to_end(program().args(["run", "--nonsense"])).status.code(), Some(2));
    assert_eq!(run_to_end(program().arg("nonsense")).status.code(), Some(2));
}

#[test]
fn an_upstream_that_does_not_exist_is_no_reason_not_to_start() {
    let binary = Binary::start("[upstream.api]\nurl = \"http://no-such-name.invalid:5000\"\n");
    binary.logged("the start", |line| line["message"].as_str().is_some_and(|text| text.contains("serves")));
}
