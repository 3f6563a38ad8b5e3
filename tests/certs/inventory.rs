//! `list` and `show`.

use mtls_gateway::pki::{ClientRequest, Overwrite};

use super::support::{Sandbox, between};

#[test]
fn the_list_says_how_every_certificate_stands() {
    let sandbox = Sandbox::new();
    sandbox.init_between(-30, 300);
    sandbox.succeed(["server"]);
    for name in ["good", "lost"] {
        sandbox.succeed(["client", "--name", name]);
    }
    for (name, from, to) in [("old", -20, -10), ("early", 10, 20)] {
        let mut request = ClientRequest::new(name.parse().unwrap());
        request.validity = between(from, to);
        sandbox.store().issue_client(&request, Overwrite::Refuse).unwrap();
    }
    std::fs::remove_file(sandbox.path("certs/clients/lost.crt")).unwrap();
    let other = Sandbox::with_authority();
    other.succeed(["client", "--name", "alien"]);
    sandbox.write("certs/clients/alien.crt", other.read("certs/clients/alien.crt"));
    sandbox.write("certs/clients/copy.txt", "not a certificate's name");

    let expected = [
        ("ca", "valid"),
        ("server", "valid"),
        ("alien", "orphaned"),
        ("early", "not_yet_valid"),
        ("good", "valid"),
        ("lost", "missing"),
        ("old", "expired"),
    ];
    assert_eq!(sandbox.states(), expected.map(|(name, state)| (name.to_owned(), state.to_owned())));

    let table = sandbox.succeed(["list"]);
    let mut lines = table.out.lines();
    let heading = lines.next().unwrap();
    for column in ["NAME", "KIND", "SUBJECT", "SERIAL", "NOT AFTER", "DAYS LEFT", "STATE"] {
        assert!(heading.contains(column));
    }
    let state_column = heading.find("STATE").unwrap();
    for (line, (name, state)) in lines.zip(expected) {
        assert!(line.starts_with(name), "{line}");
        assert_eq!(&line[state_column..], state, "columns are aligned");
    }
    assert!(table.err.contains("7 certificates: 1 expired, 1 not_yet_valid, 1 orphaned, 1 missing, 3 valid"));
}

#[test]
fn a_lost_index_does_not_hide_what_lies_in_the_folder() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    std::fs::remove_file(sandbox.path("certs/index.json")).unwrap();
    let expected = [("ca", "unrecorded"), ("client-1", "unrecorded")];
    assert_eq!(sandbox.states(), expected.map(|(name, state)| (name.to_owned(), state.to_owned())));
}

#[test]
fn the_list_warns_of_a_file_that_holds_no_certificate() {
    let sandbox = Sandbox::with_authority();
    sandbox.write("certs/clients/x.crt", "garbage");
    let ran = sandbox.refuse(1, ["list"]);
    assert!(ran.err.contains("warning: certs/clients/x.crt holds no certificate"), "{ran:?}");
}

#[test]
fn a_list_needs_a_readable_index() {
    let sandbox = Sandbox::with_authority();
    sandbox.write("certs/index.json", "{");
    assert!(sandbox.refuse(2, ["list"]).error().contains("certs/index.json is garbled"));
}

#[test]
fn show_tells_what_a_certificate_says() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client", "--cn", "Any Name", "--san", "spiffe://example.org/a", "10.0.0.1"]);
    let facts = mtls_gateway::identity::CertificateFacts::from_der(&sandbox.chain("certs/clients/client-1.crt")[0]);
    let facts = facts.unwrap();
    for what in ["client-1", "certs/clients/client-1.crt"] {
        let shown = sandbox.succeed(["show", what]).out;
        for expected in [
            "certs/clients/client-1.crt",
            "CN=Any Name",
            "CN=gateway CA ",
            facts.serial.as_str(),
            facts.sha256.as_str(),
            "(89 days left)",
            "ECDSA P-256",
            "ecdsa-with-SHA256",
            "digitalSignature",
            "clientAuth",
            "URI:spiffe://example.org/a",
            "IP:10.0.0.1",
            "issuer's key id",
        ] {
            // A second may pass between issuing and showing; a whole day is left or a moment less than that.
            let found = shown.contains(expected) || expected.contains("89") && shown.contains("(90 days left)");
            assert!(found, "{expected} in {shown}");
        }
    }
    let shown: serde_json::Value =
        serde_json::from_str(&sandbox.succeed(["show", "ca", "--output", "json"]).out).unwrap();
    let item = &shown["items"][0];
    assert_eq!((item["type"].as_str(), item["is_ca"].as_bool()), (Some("certificate"), Some(true)));
    assert_eq!(item["key_usages"], serde_json::json!(["keyCertSign", "cRLSign"]));
    assert_eq!(item["state"], "valid");
}

#[test]
fn show_takes_chains_lists_keys_and_der() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["server", "--key-type", "ed25519"]);
    let (leaf, root) = (sandbox.read("certs/server.crt"), sandbox.read("certs/ca.crt"));
    sandbox.write("chain.pem", [b"text around\r\n", &leaf[..], &root[..]].concat());
    sandbox.write("server.der", &sandbox.chain("certs/server.crt")[0]);
    let cases: [(&str, &[&str]); 6] = [
        ("chain.pem", &["chain.pem (1 of 2)", "chain.pem (2 of 2)", "DNS:localhost", "keyCertSign"]),
        ("server.der", &["DNS:localhost", "Ed25519"]),
        ("server", &["serverAuth", "IP:::1"]),
        ("crl", &["revocation list", "number          1", "revokes         nothing", "365 days left"]),
        ("certs/ca.crl", &["revocation list"]),
        ("certs/server.key", &["private key", "Ed25519"]),
    ];
    for (what, expected) in cases {
        let shown = sandbox.succeed(["show", what]).out;
        for text in expected {
            let shown = shown.replace("364 days left", "365 days left");
            assert!(shown.contains(text), "{text} in {shown}");
        }
    }
    let digest = |what: &str| -> String {
        let shown = sandbox.succeed(["show", what]).out;
        shown.lines().find_map(|line| line.trim().strip_prefix("key's SHA-256")).unwrap().trim().to_owned()
    };
    assert_eq!(digest("certs/server.key"), digest("server"), "which key belongs to which certificate");
}

#[test]
fn show_says_what_it_cannot_show() {
    let sandbox = Sandbox::with_authority();
    sandbox.write("garbage", "nothing of the kind");
    sandbox.write("cut.pem", &sandbox.read("certs/ca.crt")[..100]);
    sandbox.write("label.pem", "-----BEGIN X509 CRL-----\nAQID\n-----END X509 CRL-----\n");
    sandbox.write("empty", "");
    for (what, code) in [("garbage", 1), ("cut.pem", 1), ("label.pem", 1), ("empty", 1), ("nowhere", 2), ("../x", 2)] {
        let ran = sandbox.refuse(code, ["show", what]);
        assert!(ran.error().contains(what) && ran.out.is_empty(), "{ran:?}");
    }
    sandbox.write("other.pem", "-----BEGIN DH PARAMETERS-----\nAQID\n-----END DH PARAMETERS-----\n");
    assert!(sandbox.succeed(["show", "other.pem"]).out.contains("\"dh parameters\", not described"));
}

#[test]
fn a_certificate_cannot_move_the_readers_cursor() {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair};
    let sandbox = Sandbox::new();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "evil\u{1b}[2Jname\n");
    // A SAN of one dNSName with an escape sequence in it.
    let name = b"\x1b[2J\nx";
    let mut general_names = vec![0x30, 2 + name.len() as u8, 0x82, name.len() as u8];
    general_names.extend(name);
    parameters.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], general_names)];
    let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
    sandbox.write("evil.pem", certificate.pem());
    let shown = sandbox.succeed(["show", "evil.pem"]).out;
    assert!(!shown.contains('\u{1b}') && shown.contains("DNS:\\u{1b}[2J\\nx"), "{shown:?}");
}
