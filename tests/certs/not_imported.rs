//! CAs from elsewhere that cannot go on here, or only with a warning: each refusal says what is wrong and what to do, and
//! leaves the folder as it was.

use super::support::{Ran, Sandbox, tool};

fn openssl(sandbox: &Sandbox, arguments: &[&str]) -> Option<()> {
    let ran = tool("openssl", &sandbox.path(""), arguments)?;
    assert_eq!(ran.code, 0, "openssl {arguments:?}: {ran:?}");
    Some(())
}

/// The sections a CA's certificate may have, of which all but `good` are wrong in one way.
const SECTIONS: &str = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=CA\n\
    [good]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n\
    [leaf]\nbasicConstraints=CA:FALSE\n\
    [signs_nothing]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n\
    [signs_no_lists]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n\
    [unknown]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n1.2.3.4=critical,DER:0500\n\
    [constrained]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
    nameConstraints=critical,permitted;DNS:example.com\n";

/// A P-256 key in `ca.key` and a certificate of this section in `SECTION.crt` for each.
fn with_sections(sections: &[&str]) -> Option<Sandbox> {
    let sandbox = Sandbox::new();
    sandbox.write("ca.cnf", SECTIONS);
    sandbox.write("secret.txt", "secret\n");
    openssl(&sandbox, &["ecparam", "-name", "prime256v1", "-genkey", "-out", "ca.key"])?;
    for section in sections {
        let certificate = format!("{section}.crt");
        let own =
            ["req", "-x509", "-new", "-config", "ca.cnf", "-key", "ca.key", "-days", "99", "-extensions", section];
        openssl(&sandbox, &[&own[..], &["-out", &certificate]].concat())?;
    }
    Some(sandbox)
}

fn import(certificate: &str, key: &str) -> Vec<String> {
    ["import-ca", "--cert", certificate, "--key", key].map(str::to_owned).to_vec()
}

#[track_caller]
fn refused(sandbox: &Sandbox, arguments: &[String], expected: &[&str]) {
    let ran: Ran = sandbox.refuse(2, arguments);
    for text in expected {
        assert!(ran.error().contains(text), "{text:?} is not in {ran:?}");
    }
}

#[test]
fn every_form_of_key_is_opened_or_refused_by_name() {
    let Some(sandbox) = with_sections(&["good"]) else { return };
    let pkcs8 = |arguments: &'static [&'static str]| [&["pkcs8", "-topk8", "-in", "ca.key"][..], arguments].concat();
    let sec1 = |cipher: &'static str| vec!["ec", "-in", "ca.key", cipher];
    let opened = [
        vec!["pkey", "-in", "ca.key"],
        pkcs8(&["-v2", "aes-128-cbc"]),
        pkcs8(&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512", "-iter", "10000"]),
        pkcs8(&["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"]),
        pkcs8(&["-v2", "des3"]),
        pkcs8(&["-v1", "PBE-SHA1-3DES"]),
        sec1("-aes128"),
        sec1("-aes192"),
        sec1("-aes256"),
        sec1("-des3"),
    ];
    let with =
        |file: &str| [import("good.crt", "made.key"), vec!["--password-file".to_owned(), file.to_owned()]].concat();
    sandbox.write("wrong.txt", "another");
    for how in opened {
        let password = if how[0] == "pkey" { &[][..] } else { &["-passout", "pass:secret"] };
        let Some(()) = openssl(&sandbox, &[&how[..], password, &["-out", "made.key"]].concat()) else { return };
        if !password.is_empty() {
            refused(&sandbox, &with("wrong.txt"), &["made.key is not opened by this password"]);
            refused(&sandbox, &import("good.crt", "made.key"), &["needs a password", "--password-file FILE"]);
        }
        sandbox.succeed(with("secret.txt"));
        sandbox.succeed(["client"]);
        std::fs::remove_dir_all(sandbox.path("certs")).unwrap();
    }
    for how in [pkcs8(&["-scrypt"]), sec1("-camellia256")] {
        let how = [&how[..], &["-passout", "pass:secret", "-out", "made.key"]].concat();
        let Some(()) = openssl(&sandbox, &how) else { return };
        refused(&sandbox, &with("secret.txt"), &["not supported", "openssl pkey -in OLD -aes256 -out NEW"]);
    }
    let Some(()) = openssl(&sandbox, &["pkey", "-in", "ca.key", "-outform", "DER", "-out", "made.key"]) else { return };
    refused(&sandbox, &import("good.crt", "made.key"), &["no private key in PEM", "openssl pkey -inform DER"]);
    refused(&sandbox, &import("good.crt", "secret.txt"), &["no private key in PEM"]);
}

#[test]
fn keys_of_other_kinds_are_refused_with_the_kinds_that_are_not() {
    let Some(sandbox) = with_sections(&[]) else { return };
    let kinds: [&[&str]; 4] = [
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        &["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
        &["-algorithm", "ED448"],
    ];
    for kind in kinds {
        let Some(()) = openssl(&sandbox, &[&["genpkey", "-out", "other.key"], kind].concat()) else { return };
        let own = ["req", "-x509", "-new", "-config", "ca.cnf", "-key", "other.key", "-extensions", "good"];
        let Some(()) = openssl(&sandbox, &[&own[..], &["-out", "other.crt"]].concat()) else { return };
        refused(&sandbox, &import("other.crt", "other.key"), &["no usable private key", "RSA of 2048 to 8192 bits"]);
    }
    // A curve by its numbers is not one that verifiers know, be it P-256.
    let numbers = ["ecparam", "-name", "prime256v1", "-param_enc", "explicit", "-genkey", "-out", "other.key"];
    let Some(()) = openssl(&sandbox, &numbers) else { return };
    let own = ["req", "-x509", "-new", "-config", "ca.cnf", "-key", "other.key", "-extensions", "good"];
    let Some(()) = openssl(&sandbox, &[&own[..], &["-out", "other.crt"]].concat()) else { return };
    refused(&sandbox, &import("other.crt", "other.key"), &["EC without a named curve", "gateway certs init"]);
}

#[test]
fn what_is_no_ca_or_one_that_nobody_would_believe_is_refused() {
    let sections = ["good", "leaf", "signs_nothing", "unknown"];
    let Some(sandbox) = with_sections(&sections) else { return };
    let run = |arguments: &[&str]| openssl(&sandbox, arguments);
    let Some(()) = run(&["req", "-new", "-config", "ca.cnf", "-key", "ca.key", "-out", "ca.csr"]) else { return };
    let Some(()) = run(&["x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-out", "first.crt"]) else { return };
    let expired = ["x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-days", "-1", "-extfile", "ca.cnf"];
    let Some(()) = run(&[&expired[..], &["-extensions", "good", "-out", "expired.crt"]].concat()) else { return };
    let Some(()) = run(&["x509", "-in", "good.crt", "-trustout", "-out", "trusted.crt"]) else { return };
    for (certificate, expected) in [
        ("first.crt", &["is of X.509 version 1", "gateway certs init"][..]),
        ("expired.crt", &["expired.crt is valid only from", "gateway certs init"]),
        ("trusted.crt", &["holds no certificate in PEM", "openssl x509 -in OLD -out NEW"]),
        ("leaf.crt", &["is not a CA certificate", "Give the CA's own"]),
        ("signs_nothing.crt", &["is not a CA certificate", "keyCertSign"]),
        ("unknown.crt", &["critical extension", "1.2.3.4", "gateway certs init"]),
    ] {
        refused(&sandbox, &import(certificate, "ca.key"), expected);
    }
    let Some(()) = run(&["ecparam", "-name", "prime256v1", "-genkey", "-out", "other.key"]) else { return };
    let expected = ["other.key does not belong to good.crt", "Give a pair"];
    refused(&sandbox, &import("good.crt", "other.key"), &expected);
    let Some(()) = run(&["x509", "-in", "good.crt", "-outform", "DER", "-out", "good.der"]) else { return };
    sandbox.succeed(import("good.der", "ca.key"));
}

#[test]
fn a_bundle_holds_nothing_but_the_ca_and_those_above_it() {
    let Some(sandbox) = with_sections(&["good"]) else { return };
    for (name, common_name) in [("root", "Root"), ("stranger", "Stranger")] {
        let folder = format!("--dir={name}");
        sandbox.succeed([folder.as_str(), "init", "--cn", common_name]);
    }
    sandbox.succeed(["--dir", "root", "intermediate", "--name", "below"]);
    let read = |name: &str| sandbox.read(name);
    let (chain, key) = ("root/intermediates/below/ca.crt", "root/intermediates/below/ca.key");
    sandbox.write("more.crt", [read(chain), read("stranger/ca.crt")].concat());
    let expected = ["more.crt also holds the certificate of CN=Stranger", "Leave it out"];
    refused(&sandbox, &import("more.crt", key), &expected);
    // Another CA of the root's name, with another key.
    sandbox.succeed(["--dir", "twin", "init", "--cn", "Root"]);
    let own = sandbox.chain(chain)[0].clone();
    let own =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", mtls_gateway::identity::base64(&own));
    sandbox.write("broken.crt", [own.as_bytes(), &read("twin/ca.crt")].concat());
    refused(&sandbox, &import("broken.crt", key), &["holds a broken chain", "Give the issuer's right certificate"]);
    sandbox.write("both.crt", [own.as_bytes(), &read("twin/ca.crt"), &read("root/ca.crt")].concat());
    refused(&sandbox, &import("both.crt", key), &["both.crt also holds the certificate of CN=Root"]);
    sandbox.succeed(import(chain, key));
}

#[test]
fn a_list_that_is_not_the_cas_whole_one_is_refused() {
    let Some(sandbox) = with_sections(&["good", "signs_no_lists"]) else { return };
    sandbox.write("index.txt", "R\t301221173158Z\t261121173159Z,superseded\t1000\tunknown\t/CN=gone\n");
    sandbox.write("crlnumber", "10\n");
    let more = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ncertificate=good.crt\nprivate_key=ca.key\n\
        default_crl_days=9\n[delta]\ndeltaCRLIndicator=critical,INTEGER:1\n2.5.29.27=critical,DER:020101\n";
    let more = more.replace("deltaCRLIndicator=critical,INTEGER:1\n", "");
    sandbox.write("ca.cnf", format!("{SECTIONS}{more}"));
    let run = |arguments: &[&str]| openssl(&sandbox, &[&["ca", "-config", "ca.cnf", "-gencrl"], arguments].concat());
    let Some(()) = run(&["-md", "sha256", "-out", "good.crl"]) else { return };
    let Some(()) = run(&["-md", "sha1", "-out", "sha1.crl"]) else { return };
    let Some(()) = run(&["-md", "sha256", "-crlexts", "delta", "-out", "delta.crl"]) else { return };
    sandbox.succeed(["--dir", "other", "init", "--cn", "Other"]);
    sandbox.write("garbage.crl", "no list");
    sandbox.write("garbage.txt", "V\t301221173158Z\t\t1000\tunknown\t/CN=a\nno index\n");
    let with = |flag: &str, file: &str| [import("good.crt", "ca.key"), vec![flag.to_owned(), file.to_owned()]].concat();
    refused(&sandbox, &with("--crl", "sha1.crl"), &["is not signed by this CA's key", "-md sha256"]);
    refused(&sandbox, &with("--crl", "delta.crl"), &["is a delta list", "give the complete one"]);
    refused(&sandbox, &with("--crl", "other/ca.crl"), &["was issued by another CA, CN=Other"]);
    refused(&sandbox, &with("--crl", "garbage.crl"), &["garbage.crl cannot be read as a revocation list"]);
    refused(&sandbox, &with("--crl", "good.crt"), &["good.crt cannot be read as a revocation list"]);
    refused(&sandbox, &with("--index", "garbage.txt"), &["garbage.txt is not an index of openssl ca: line 2"]);
    // Whoever cannot sign lists cannot say that something is revoked.
    let silent = [import("signs_no_lists.crt", "ca.key"), vec!["--index".to_owned(), "index.txt".to_owned()]].concat();
    refused(&sandbox, &silent, &["without cRLSign", "deny_list"]);
    sandbox.succeed(with("--crl", "good.crl"));
}

#[test]
fn a_common_name_keeps_the_name_constraints_as_openssl_has_it() {
    let Some(sandbox) = with_sections(&["constrained"]) else { return };
    sandbox.succeed(import("constrained.crt", "ca.key"));
    let folder = sandbox.path("certs");
    for (names, is_good) in [
        (&["--cn", "a.example.org", "--san", "spiffe://a/b"][..], false),
        (&["--cn", "a.example.org", "--san", "a.example.org"], false),
        (&["--cn", "a.example.org", "--san", "in.example.com"], true),
        (&["--cn", "a.example.com", "--san", "spiffe://a/b"], true),
        (&["--cn", "Anna, of the example.org", "--san", "spiffe://a/b"], true),
    ] {
        let ran = sandbox.run([&["client", "--force"], names].concat());
        assert_eq!(ran.code == 0, is_good, "{names:?}: {ran:?}");
        if is_good {
            let strict = ["verify", "-x509_strict", "-CAfile", "ca.crt", "clients/client-1.crt"];
            let Some(ran) = tool("openssl", &folder, &strict) else { return };
            assert_eq!(ran.code, 0, "{names:?}: {ran:?}");
        } else {
            assert!(ran.error().contains("name constraints"), "{ran:?}");
        }
    }
}

/// Types a password at a terminal of its own when it is asked for, and shows all that the terminal showed.
const TYPE_AT_A_TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
while True:
    try:
        read = os.read(terminal, 4096)
    except OSError:
        read = b""
    if not read:
        break
    shown += read
    if shown.endswith(b"Password of made.key: "):
        os.write(terminal, b"secret\n")
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn a_password_is_asked_for_at_the_terminal_and_not_shown() {
    let Some(sandbox) = with_sections(&["good"]) else { return };
    let encrypt = ["pkey", "-in", "ca.key", "-aes256", "-passout", "pass:secret", "-out", "made.key"];
    let Some(()) = openssl(&sandbox, &encrypt) else { return };
    let program = env!("CARGO_BIN_EXE_gateway");
    let arguments =
        ["-c", TYPE_AT_A_TERMINAL, program, "certs", "import-ca", "--cert", "good.crt", "--key", "made.key"];
    let Some(ran) = tool("python3", &sandbox.path(""), &arguments) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("Password of made.key: ") && !ran.out.contains("secret\r"), "{ran:?}");
    sandbox.succeed(["client"]);
}
