//! `export`, and `show` of what other programs write.

use super::support::{Ran, Sandbox, tool};

const PASSWORD: &str = "pass:Größe 42, \"x\"";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    sandbox.write("secret.txt", format!("{}\nsecond line\n", &PASSWORD[5..]));
    sandbox
}

#[test]
fn openssl_opens_both_forms_of_pkcs12() {
    let sandbox = sandbox();
    for (form, out, expected) in [
        (&["--p12"][..], "modern.p12", "PBES2, PBKDF2, AES-256-CBC"),
        (&["--p12", "--compat"], "old.p12", "pbeWithSHA1And3-KeyTripleDES-CBC"),
    ] {
        let arguments = [&["export", "client-1", "--password-file", "secret.txt", "--out", out], form].concat();
        sandbox.succeed(arguments);
        assert_eq!(sandbox.mode(out), 0o600);
        // The third of the old ciphers is RC2, for which OpenSSL needs its legacy module; this one it has.
        let arguments = ["pkcs12", "-in", out, "-passin", PASSWORD, "-nodes", "-info"];
        let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains(expected), "{ran:?}");
        assert!(ran.out.contains("friendlyName: client-1") && ran.out.matches("BEGIN CERTIFICATE").count() == 2);
        let arguments = ["pkcs12", "-in", out, "-passin", "pass:wrong", "-nodes"];
        let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
        assert_ne!(ran.code, 0);
    }
}

#[test]
fn java_and_python_find_the_key_and_its_chain() {
    for kind in ["p256", "rsa2048", "ed25519"] {
        let sandbox = Sandbox::with_authority();
        sandbox.succeed(["client", "--key-type", kind]);
        sandbox.write("secret.txt", "changeit");
        for (flag, out) in [(None, "modern.p12"), (Some("--compat"), "old.p12")] {
            let arguments = ["export", "client-1", "--p12", "--password-file", "secret.txt", "--out", out];
            sandbox.succeed(arguments.into_iter().chain(flag));
            let arguments = ["-list", "-v", "-keystore", out, "-storetype", "PKCS12", "-storepass", "changeit"];
            let Some(ran) = tool("keytool", &sandbox.path(""), &arguments) else { return };
            assert!(ran.code == 0 && ran.out.contains("PrivateKeyEntry"), "{ran:?}");
            assert!(ran.out.contains("Certificate chain length: 2"), "{ran:?}");
            let Some(ran) = tool("python3", &sandbox.path(""), &["-c", PYTHON, out]) else { return };
            if ran.out.trim() == "absent" && std::env::var_os("CI").is_none() {
                eprintln!("SKIPPED: python3 has no package cryptography here");
                return;
            }
            assert_eq!(ran.out.trim(), "1 above", "{kind}: {ran:?}");
        }
    }
}

const PYTHON: &str = r#"
import sys
try:
    from cryptography.hazmat.primitives.serialization import pkcs12
except ImportError:
    print("absent")
    raise SystemExit
key, certificate, above = pkcs12.load_key_and_certificates(open(sys.argv[1], "rb").read(), b"changeit")
assert key.public_key() == certificate.public_key()
print(len(above), "above")
"#;

#[test]
fn the_bundle_and_the_der_are_what_others_read() {
    let sandbox = sandbox();
    for (arguments, file, mode) in [
        (["export", "client-1", "--pem"], "certs/clients/client-1.pem", 0o600),
        (["export", "client-1", "--der"], "certs/clients/client-1.der", 0o644),
        (["export", "ca", "--der"], "certs/ca.der", 0o644),
    ] {
        assert!(sandbox.succeed(arguments).out.starts_with(&format!("wrote {file}")));
        assert_eq!(sandbox.mode(file), mode);
        assert!(sandbox.refuse(2, arguments).error().contains("--force"));
        sandbox.succeed([&arguments[..], &["--force"]].concat());
    }
    assert_eq!(sandbox.chain("certs/clients/client-1.pem").len(), 2);
    assert_eq!(sandbox.read("certs/clients/client-1.der"), sandbox.chain("certs/clients/client-1.crt")[0].to_vec());
    let arguments = ["pkey", "-in", "certs/clients/client-1.pem", "-noout", "-check"];
    let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");
}

const PYTHON_FORMS: &str = r#"
try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
except ImportError:
    print("absent")
    raise SystemExit

def read(name):
    return open(name, "rb").read()

leaf, ca = x509.load_der_x509_certificate(read("leaf.der")), x509.load_der_x509_certificate(read("ca.der"))
chain = x509.load_pem_x509_certificates(read("bundle.pem"))
assert chain == [leaf, ca], chain
assert load_pem_private_key(read("bundle.pem"), None).public_key() == leaf.public_key()
leaf.verify_directly_issued_by(ca)
print("read")
"#;

/// The files that other programs are given, by every one of them.
#[test]
fn every_reader_reads_every_form() {
    for kind in ["p256", "rsa2048"] {
        let sandbox = Sandbox::new();
        sandbox.succeed(["init", "--key-type", kind]);
        sandbox.succeed(["client", "--key-type", kind]);
        sandbox.write("secret.txt", "changeit");
        for (arguments, out) in [
            (&["export", "client-1", "--pem"][..], "bundle.pem"),
            (&["export", "client-1", "--der"], "leaf.der"),
            (&["export", "ca", "--der"], "ca.der"),
            (&["export", "client-1", "--p12", "--password-file", "secret.txt"], "modern.p12"),
            (&["export", "client-1", "--p12", "--compat", "--password-file", "secret.txt"], "old.p12"),
        ] {
            sandbox.succeed([arguments, &["--out", out]].concat());
        }
        std::fs::create_dir(sandbox.path("nss")).unwrap();
        let nss = |arguments: &[&'static str]| [&["-d", "sql:nss"], arguments].concat();
        let cases: [(&str, Vec<&str>, &str); 18] = [
            ("openssl", vec!["x509", "-inform", "DER", "-in", "leaf.der", "-noout", "-subject"], "CN = client-1"),
            ("openssl", vec!["x509", "-inform", "DER", "-in", "ca.der", "-noout", "-subject"], "gateway CA"),
            ("openssl", vec!["x509", "-in", "bundle.pem", "-noout", "-subject"], "CN = client-1"),
            ("keytool", vec!["-printcert", "-file", "leaf.der"], "Owner: CN=client-1"),
            ("keytool", vec!["-printcert", "-file", "ca.der"], "Owner: CN=gateway CA"),
            ("keytool", vec!["-list", "-keystore", "modern.p12", "-storepass", "changeit"], "PrivateKeyEntry"),
            ("keytool", vec!["-list", "-keystore", "old.p12", "-storepass", "changeit"], "PrivateKeyEntry"),
            ("certtool", vec!["--certificate-info", "--inder", "--infile", "leaf.der"], "Subject: CN=client-1"),
            ("certtool", vec!["--certificate-info", "--inder", "--infile", "ca.der"], "Subject: CN=gateway CA"),
            ("certtool", vec!["--certificate-info", "--infile", "bundle.pem"], "Subject: CN=client-1"),
            ("certtool", vec!["--key-info", "--infile", "bundle.pem"], "Public Key Info"),
            ("certtool", vec!["--p12-info", "--inder", "--password=changeit", "--infile=modern.p12"], "client-1"),
            ("certtool", vec!["--p12-info", "--inder", "--password=changeit", "--infile=old.p12"], "client-1"),
            ("certutil", nss(&["-N", "--empty-password"]), ""),
            ("certutil", nss(&["-A", "-n", "ca", "-t", "CT,C,C", "-i", "ca.der"]), ""),
            ("certutil", nss(&["-A", "-a", "-n", "leaf", "-t", ",,", "-i", "leaf.pem"]), ""),
            ("certutil", nss(&["-V", "-n", "leaf", "-u", "C", "-e"]), "certificate is valid"),
            ("pk12util", nss(&["-l", "modern.p12", "-W", "changeit"]), "client-1"),
        ];
        // certutil takes a certificate from a file in PEM, and stumbles over a key in it.
        let bundle = String::from_utf8(sandbox.read("bundle.pem")).unwrap();
        let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n");
        let certificates = bundle.split_at(bundle.find(begin).unwrap()).1;
        sandbox.write("leaf.pem", certificates.split_inclusive(end).next().unwrap());
        for (program, arguments, expected) in cases {
            let Some(ran) = tool(program, &sandbox.path(""), &arguments) else { return };
            assert!(ran.code == 0 && ran.out.contains(expected), "{kind}: {program} {arguments:?}: {ran:?}");
        }
        let Some(ran) = tool("python3", &sandbox.path(""), &["-c", PYTHON_FORMS]) else { return };
        if ran.out.trim() == "absent" && std::env::var_os("CI").is_none() {
            eprintln!("SKIPPED: python3 has no package cryptography here");
            return;
        }
        assert_eq!(ran.out.trim(), "read", "{kind}: {ran:?}");
    }
}

#[test]
fn what_cannot_be_exported_is_said() {
    let sandbox = sandbox();
    sandbox.write("empty", "");
    std::fs::remove_file(sandbox.path("certs/clients/client-1.key")).unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["export", "client-1", "--pem"], "no private key here"),
        (&["export", "nobody", "--der"], "is no name of a certificate"),
        (&["export", "ca", "--pem"], "is a CA, not"),
        (&["export", "client-1", "--p12", "--password-file", "empty"], "empty password"),
        (&["export", "client-1", "--p12", "--password-file", "nowhere"], "cannot read the password in nowhere"),
    ];
    for (arguments, message) in cases {
        let ran = sandbox.refuse(2, arguments);
        assert!(ran.error().contains(message), "{ran:?}");
    }
    assert_eq!(sandbox.run(["export", "client-1"]).code, 2);
    assert_eq!(sandbox.run(["export", "client-1", "--der", "--compat"]).code, 2);
}

/// A terminal, and somebody who types what is asked for.
const TERMINAL: &str = r#"
import os, pty, sys
answers = sys.argv[1].split(",")
process, terminal = pty.fork()
if process == 0:
    os.execv(sys.argv[2], sys.argv[2:])
said = b""
for answer in answers:
    while not said.endswith(b": "):
        said += os.read(terminal, 1)
    os.write(terminal, answer.encode() + b"\n")
    said += b"|"
try:
    while True:
        more = os.read(terminal, 1000)
        if not more:
            break
        said += more
except OSError:
    pass
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"#;

#[test]
fn a_password_is_asked_for_twice_and_never_shown() {
    let sandbox = sandbox();
    let gateway = env!("CARGO_BIN_EXE_gateway");
    for (answers, arguments, code, expected) in [
        ("hush1,hush1", &["export", "client-1", "--p12", "--out", "x.p12"][..], 0, "wrote x.p12"),
        ("hush1,hush2", &["export", "client-1", "--p12", "--out", "y.p12"], 2, "not the same"),
        ("hush1", &["show", "x.p12"], 0, "CN=client-1"),
        ("hush2", &["show", "x.p12"], 1, "not opened by this password"),
    ] {
        let typed = [&["-c", TERMINAL, answers, gateway, "certs"], arguments].concat();
        let Some(ran) = tool("python3", &sandbox.path(""), &typed) else { return };
        assert!(ran.code == code && ran.out.contains(expected) && !ran.out.contains("hush"), "{ran:?}");
    }
}

#[test]
fn show_opens_what_openssl_and_we_write() {
    let sandbox = sandbox();
    sandbox.succeed(["export", "client-1", "--p12", "--password-file", "secret.txt", "--out", "ours.p12"]);
    let (key, certificate) = ("certs/clients/client-1.key", "certs/clients/client-1.crt");
    let common = ["pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", PASSWORD, "-out"];
    let mut files = vec!["ours.p12"];
    for (out, options) in [
        ("theirs.p12", &[][..]),
        ("old.p12", &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]),
        ("aes128.p12", &["-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "sha512"]),
    ] {
        let Some(ran) = tool("openssl", &sandbox.path(""), &[&common[..], &[out], options].concat()) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        files.push(out);
    }
    sandbox.write("wrong.txt", "wrong");
    for file in files {
        let shown = sandbox.succeed(["show", file, "--password-file", "secret.txt"]).out;
        assert!(shown.contains("CN=client-1") && shown.contains("private key"), "{shown}");
        let ran = sandbox.refuse(1, ["show", file, "--password-file", "wrong.txt"]);
        assert!(ran.error().contains("is not opened by this password"), "{ran:?}");
    }
    sandbox.write("cut.p12", &sandbox.read("ours.p12")[..300]);
    sandbox.refuse(1, ["show", "cut.p12", "--password-file", "secret.txt"]);
}

#[test]
fn show_tells_what_a_request_asks_for() {
    let sandbox = Sandbox::with_authority();
    let arguments = [
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "x.key",
        "-out",
        "x.csr",
        "-subj",
        "/CN=boss",
        "-addext",
        "subjectAltName=DNS:a.example",
        "-addext",
        "basicConstraints=CA:TRUE",
    ];
    let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = sandbox.succeed(["show", "x.csr"]).out;
    for expected in ["signing request", "CN=boss", "DNS:a.example", "CA:TRUE", "RSA 2048 bits", "signature       holds"]
    {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
}

#[test]
fn show_tells_what_a_server_shows() {
    use std::io::Write as _;
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["server", "--name", "api.example.com"]);
    let Some(_) = tool("openssl", &sandbox.path(""), &["version"]) else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // One connection, carried to a server of OpenSSL's that speaks over its standard streams would be no TLS; so the
    // port is given free and taken again.
    drop(listener);
    let mut server = std::process::Command::new("openssl")
        .args(["s_server", "-accept", &address.to_string(), "-cert", "certs/server.crt", "-key", "certs/server.key"])
        .args(["-Verify", "1", "-CAfile", "certs/ca.crt", "-quiet"])
        .current_dir(sandbox.path(""))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut ran = Ran { code: -1, out: String::new(), err: String::new() };
    for _ in 0..100 {
        ran = sandbox.run(["show", &address.to_string()]);
        if ran.code == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = server.stdin.take().map(|mut stdin| stdin.write_all(b"Q\n"));
    let _ = server.kill();
    let _ = server.wait();
    assert!(ran.code == 0 && ran.out.contains("DNS:api.example.com"), "{ran:?}");
    assert!(sandbox.refuse(1, ["show", &address.to_string()]).error().contains("cannot connect to"));
}

#[test]
fn a_list_is_cut_to_what_ends_soon_and_is_read_by_spreadsheets() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client", "--name", "short", "--days", "5", "--cn", "=1+1,\"x\""]);
    sandbox.succeed(["client", "--name", "long"]);
    let told: serde_json::Value =
        serde_json::from_str(&sandbox.succeed(["list", "--expiring", "4w", "--output", "json"]).out).unwrap();
    let rows = told["certificates"].as_array().unwrap();
    assert!(rows.len() == 1 && rows[0]["name"] == "short");
    let table = sandbox.succeed(["list", "--csv"]).out;
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("name,kind,subject,"));
    assert!(table.contains("\nshort,client,\"CN==1\\+1\\,\\\"\"x\\\"\"\",DNS:short,"), "{table}");
    assert_eq!(lines.count(), 3);
    sandbox.refuse(2, ["list", "--expiring", "soon"]);
    sandbox.refuse(2, ["list", "--csv", "--output", "json"]);
}
