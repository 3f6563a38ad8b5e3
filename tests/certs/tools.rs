//! What other programs make of it: OpenSSL, Python, Java.

use super::support::{Sandbox, tool};

const KINDS: [&str; 6] = ["p256", "p384", "ed25519", "rsa2048", "rsa3072", "rsa4096"];

/// A CA, a server and a client with keys of this kind, in the folder `certs`.
fn made_with(kind: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.succeed(["init", "--key-type", kind]);
    sandbox.succeed(["server", "--key-type", kind]);
    sandbox.succeed(["client", "--key-type", kind, "--san", "spiffe://example.org/a", "u@example.com", "a.example"]);
    sandbox
}

#[test]
fn openssl_is_content_with_every_kind_of_key() {
    for kind in KINDS {
        let sandbox = made_with(kind);
        let folder = sandbox.path("certs");
        let cases: [&[&str]; 7] = [
            &["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.crt", "server.crt"],
            &["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.crt", "clients/client-1.crt"],
            &[
                "verify",
                "-x509_strict",
                "-purpose",
                "sslclient",
                "-crl_check",
                "-CRLfile",
                "ca.crl",
                "-CAfile",
                "ca.crt",
                "clients/client-1.crt",
            ],
            &["verify", "-x509_strict", "-verify_hostname", "localhost", "-CAfile", "ca.crt", "server.crt"],
            &["verify", "-x509_strict", "-verify_ip", "127.0.0.1", "-CAfile", "ca.crt", "server.crt"],
            &["crl", "-verify", "-CAfile", "ca.crt", "-in", "ca.crl", "-noout"],
            &["pkey", "-check", "-noout", "-in", "clients/client-1.key"],
        ];
        for arguments in cases {
            let Some(ran) = tool("openssl", &folder, arguments) else { return };
            assert_eq!(ran.code, 0, "{kind}: openssl {arguments:?}: {ran:?}");
        }
    }
}

#[test]
fn openssl_refuses_a_certificate_for_the_wrong_purpose() {
    let sandbox = made_with("p256");
    let folder = sandbox.path("certs");
    for (purpose, file) in [("sslclient", "server.crt"), ("sslserver", "clients/client-1.crt")] {
        let arguments = ["verify", "-purpose", purpose, "-CAfile", "ca.crt", file];
        let Some(ran) = tool("openssl", &folder, &arguments) else { return };
        assert_ne!(ran.code, 0, "{ran:?}");
    }
}

#[test]
fn openssl_reads_the_extensions_as_they_were_meant() {
    let sandbox = made_with("rsa2048");
    let folder = sandbox.path("certs");
    let arguments = ["x509", "-noout", "-text", "-in", "clients/client-1.crt"];
    let Some(ran) = tool("openssl", &folder, &arguments) else { return };
    for expected in [
        "Version: 3",
        "X509v3 Basic Constraints: critical",
        "CA:FALSE",
        "X509v3 Key Usage: critical",
        "Digital Signature",
        "TLS Web Client Authentication",
        "URI:spiffe://example.org/a, email:u@example.com, DNS:a.example",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
        "Public-Key: (2048 bit)",
    ] {
        assert!(ran.out.contains(expected), "{expected} in {}", ran.out);
    }
}

/// Both sides ask for a certificate and check it strictly; nothing goes over a network.
const HANDSHAKE: &str = r#"
import ssl, sys

def context(purpose, certificate, key):
    made = ssl.create_default_context(purpose, cafile="ca.crt")
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_cert_chain(certificate, key)
    return made

server = context(ssl.Purpose.CLIENT_AUTH, "server.crt", "server.key")
client = context(ssl.Purpose.SERVER_AUTH, "clients/client-1.crt", "clients/client-1.key")
to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
sides = [
    client.wrap_bio(to_client, to_server, server_hostname="localhost"),
    server.wrap_bio(to_server, to_client, server_side=True),
]
for _ in range(10):
    waiting = 0
    for side in sides:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting += 1
    if not waiting:
        break
assert not waiting
assert ("DNS", "localhost") in sides[0].getpeercert()["subjectAltName"]
assert ("URI", "spiffe://example.org/a") in sides[1].getpeercert()["subjectAltName"]
print("handshake done")
"#;

#[test]
fn python_shakes_hands_with_every_kind_of_key() {
    for kind in KINDS {
        let sandbox = made_with(kind);
        let Some(ran) = tool("python3", &sandbox.path("certs"), &["-c", HANDSHAKE]) else { return };
        assert_eq!(ran.out.trim(), "handshake done", "{kind}: {ran:?}");
    }
}

const CRYPTOGRAPHY: &str = r#"
try:
    from cryptography import x509
except ImportError:
    print("absent")
    raise SystemExit
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store

def read(path):
    return open(path, "rb").read()

ca, server, client = (x509.load_pem_x509_certificate(read(p)) for p in ("ca.crt", "server.crt", "clients/client-1.crt"))
builder = PolicyBuilder().store(Store([ca]))
builder.build_server_verifier(x509.DNSName("localhost")).verify(server, [])
builder.build_client_verifier().verify(client, [])
assert x509.load_pem_x509_crl(read("ca.crl")).is_signature_valid(ca.public_key())
assert load_pem_private_key(read("server.key"), None).public_key() == server.public_key()
print("verified")
"#;

#[test]
fn pythons_cryptography_verifies_both_sides() {
    // It takes no Ed25519 by default, after the rules of the public web.
    for kind in ["p256", "p384", "rsa2048"] {
        let sandbox = made_with(kind);
        let Some(ran) = tool("python3", &sandbox.path("certs"), &["-c", CRYPTOGRAPHY]) else { return };
        if ran.out.trim() == "absent" && std::env::var_os("CI").is_none() {
            eprintln!("SKIPPED: python3 has no package cryptography here");
            return;
        }
        assert_eq!(ran.out.trim(), "verified", "{kind}: {ran:?}");
    }
}

#[test]
fn java_reads_certificates_and_list() {
    let sandbox = made_with("p256");
    let folder = sandbox.path("certs");
    for arguments in [
        &["-printcert", "-file", "ca.crt"][..],
        &["-printcert", "-file", "server.crt"],
        &["-printcert", "-file", "clients/client-1.crt"],
        &["-printcrl", "-file", "ca.crl"],
    ] {
        let Some(ran) = tool("keytool", &folder, arguments) else { return };
        assert!(ran.code == 0 && ran.out.contains("gateway CA "), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn gnutls_takes_the_good_refuses_the_revoked_and_opens_pkcs12() {
    let sandbox = made_with("p256");
    sandbox.succeed(["client", "--name", "gone"]);
    sandbox.succeed(["revoke", "gone"]);
    sandbox.write("secret.txt", "changeit");
    sandbox.succeed(["export", "client-1", "--p12", "--password-file", "secret.txt"]);
    let folder = sandbox.path("certs");
    let verify = ["--verify", "--load-ca-certificate", "ca.crt", "--load-crl", "ca.crl", "--infile"];
    for (client, good) in [("clients/client-1.crt", true), ("clients/gone.crt", false)] {
        let Some(ran) = tool("certtool", &folder, &[&verify[..], &[client]].concat()) else { return };
        assert_eq!(ran.code == 0, good, "{client}: {ran:?}");
        assert_eq!(ran.out.contains("revoked"), !good, "{client}: {ran:?}");
    }
    let arguments = ["--p12-info", "--inder", "--password", "changeit", "--infile", "clients/client-1.p12"];
    let Some(ran) = tool("certtool", &folder, &arguments) else { return };
    assert!(ran.code == 0 && ran.out.contains("friendlyName") | ran.out.contains("client-1"), "{ran:?}");
}

#[test]
fn nss_imports_both_forms_of_pkcs12() {
    let sandbox = made_with("p256");
    sandbox.write("secret.txt", "changeit");
    let folder = sandbox.path("");
    for (form, out) in [(&["--p12"][..], "modern.p12"), (&["--p12", "--compat"], "old.p12")] {
        let export = ["export", "client-1", "--password-file", "secret.txt", "--out", out];
        sandbox.succeed([&export[..], form].concat());
        let database = format!("{out}.db");
        std::fs::create_dir(sandbox.path(&database)).unwrap();
        let database = format!("sql:{database}");
        let Some(ran) = tool("certutil", &folder, &["-N", "-d", &database, "--empty-password"]) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        let Some(ran) = tool("pk12util", &folder, &["-i", out, "-d", &database, "-W", "changeit"]) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        let Some(ran) = tool("certutil", &folder, &["-L", "-d", &database]) else { return };
        assert!(ran.out.contains("client-1") && ran.out.contains("u,u,u"), "{ran:?}");
    }
}
