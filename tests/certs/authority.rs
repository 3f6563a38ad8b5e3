//! CAs that are not simply made: below another, with a root that is kept elsewhere, from another tool.

use super::support::{Ran, Sandbox, tool};

fn verified(sandbox: &Sandbox, arguments: &[&str]) -> Option<Ran> {
    tool("openssl", &sandbox.path(""), &[&["verify", "-x509_strict"], arguments].concat())
}

#[test]
fn what_a_ca_below_another_issues_is_trusted_by_who_trusts_the_root() {
    for kind in ["p256", "rsa2048", "ed25519"] {
        let sandbox = Sandbox::with_authority();
        let said = sandbox.succeed(["intermediate", "--name", "team-a", "--key-type", kind]).out;
        assert!(said.contains("next: gateway certs --dir certs/intermediates/team-a client"), "{said}");
        let folder = "certs/intermediates/team-a";
        assert_eq!(sandbox.mode(&format!("{folder}/ca.key")), 0o600);
        sandbox.succeed(["--dir", folder, "client"]);
        let chain = sandbox.chain(&format!("{folder}/clients/client-1.crt"));
        assert_eq!(chain.len(), 2, "the CA in between goes along, the root does not");
        let client = format!("{folder}/clients/client-1.crt");
        assert!(sandbox.succeed(["verify", &client]).out.starts_with("OK"));
        let Some(ran) = verified(&sandbox, &["-CAfile", "certs/ca.crt", "-untrusted", &client, &client]) else {
            return;
        };
        assert_eq!(ran.code, 0, "{ran:?}");
        sandbox.succeed(["--dir", folder, "revoke", "client-1"]);
        let list = format!("{folder}/ca.crl");
        let ca = format!("{folder}/ca.crt");
        let Some(ran) = verified(&sandbox, &["-crl_check", "-CRLfile", &list, "-CAfile", &ca, &client]) else { return };
        assert!(ran.err.contains("certificate revoked"), "{ran:?}");
        let states = sandbox.states();
        assert!(states.contains(&("team-a".to_owned(), "valid".to_owned())), "{states:?}");
    }
}

#[test]
fn path_length_and_name_constraints_hold() {
    let sandbox = Sandbox::with_authority();
    let rules = ["--name-constraints", "dns:example.com", "exclude:dns:secret.example.com", "ip:10.0.0.0/8"];
    sandbox.succeed([&["intermediate", "--name", "i", "--path-length", "0"], &rules[..]].concat());
    let folder = "certs/intermediates/i";
    sandbox.succeed(["--dir", folder, "server", "--name", "api.example.com", "--san", "10.1.2.3"]);
    for host in ["api.example.org", "a.secret.example.com", "11.0.0.1"] {
        let ran = sandbox.refuse(2, ["--dir", folder, "server", "--name", host, "--force"]);
        assert!(ran.error().contains("may not issue this certificate"), "{ran:?}");
    }
    let ran = sandbox.refuse(2, ["--dir", folder, "intermediate", "--into", "below"]);
    assert!(ran.error().contains("path length of 0"), "{ran:?}");
    let shown = sandbox.succeed(["show", "certs/intermediates/i/ca.crt"]).out;
    assert!(shown.contains("CAs below it    0") && shown.contains("nameConstraints (critical)"), "{shown}");
    let server = format!("{folder}/server.crt");
    let Some(ran) = verified(&sandbox, &["-CAfile", "certs/ca.crt", "-untrusted", &server, &server]) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");

    let constrained = Sandbox::new();
    constrained.succeed(["init", "--name-constraints", "dns:example.com", "--key-type", "p384"]);
    constrained.succeed(["server", "--name", "example.com"]);
    constrained.refuse(2, ["server", "--name", "example.org", "--force"]);
    constrained.refuse(2, ["init", "--force", "--name-constraints", "example.com"]);
}

/// OpenSSL and GnuTLS hold a leaf's common name against rules for hosts, Java an intermediate CA's.
#[test]
fn a_common_name_that_others_would_refuse_is_not_issued() {
    let sandbox = Sandbox::new();
    sandbox.succeed(["init", "--name-constraints", "dns:example.com", "exclude:dns:no.example.com", "ip:10.0.0.0/8"]);
    let spiffe = ["--san", "spiffe://example.org/a"];
    for name in ["a.example.org", "a.no.example.com", "10.1.2.3"] {
        let ran = sandbox.refuse(2, [&["client", "--name", name], &spiffe[..]].concat());
        assert!(ran.error().contains(name) && ran.error().contains("--cn"), "{ran:?}");
        sandbox.succeed([&["client", "--name", name, "--cn", "Somebody else"], &spiffe[..]].concat());
    }
    for name in ["a.example.com", "A.B.Example.Com", "one-label"] {
        sandbox.succeed([&["client", "--name", name], &spiffe[..]].concat());
    }
    sandbox.succeed(["client", "--name", "with-a-host", "--cn", "a.example.org", "--san", "host.example.com"]);

    let free = Sandbox::with_authority();
    free.succeed(["client", "--name", "a.example.org", "--san", "spiffe://example.org/a"]);
    free.succeed(["intermediate", "--name", "upper", "--path-length", "1", "--name-constraints", "dns:example.com"]);
    let upper = ["--dir", "certs/intermediates/upper"];
    let ran = free.refuse(2, [&upper[..], &["intermediate", "--name", "lower", "--cn", "lower"]].concat());
    assert!(ran.error().contains("\"lower\"") && ran.error().contains("--cn"), "{ran:?}");
    let said = free.succeed([&upper[..], &["intermediate", "--name", "lower"]].concat()).out;
    assert!(said.contains("subject: CN=lower CA\n"), "{said}");
}

#[test]
fn with_an_offline_root_the_folder_issues_without_it() {
    let sandbox = Sandbox::new();
    let said = sandbox.succeed(["init", "--offline-root", "vault", "--cn", "Example CA"]);
    assert!(said.err.contains("the root is in vault: take it away"), "{said:?}");
    sandbox.refuse(2, ["init", "--offline-root", "vault"]);
    std::fs::rename(sandbox.path("vault"), sandbox.path("away")).unwrap();
    sandbox.succeed(["server"]);
    sandbox.succeed(["client"]);
    for what in ["server", "client-1"] {
        assert!(sandbox.succeed(["verify", what, "--ca", "away/ca.crt"]).out.starts_with("OK"));
        assert!(sandbox.succeed(["verify", what]).out.starts_with("OK"));
    }
    let client = "certs/clients/client-1.crt";
    let Some(ran) = verified(&sandbox, &["-CAfile", "away/ca.crt", "-untrusted", client, client]) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");
    sandbox.succeed(["--dir", "away", "revoke", "issuing", "--reason", "ca-compromise"]);
    sandbox.write("lists.pem", [sandbox.read("away/ca.crl"), sandbox.read("certs/ca.crl")].concat());
    let arguments = ["-crl_check_all", "-CRLfile", "lists.pem", "-CAfile", "away/ca.crt", "-untrusted", client, client];
    let Some(ran) = verified(&sandbox, &arguments) else { return };
    assert!(ran.err.contains("certificate revoked"), "{ran:?}");
}

/// A CA as a shell script would make it with OpenSSL, in the folder `theirs`.
fn theirs(sandbox: &Sandbox, key: &[&str], subject: &str) -> Option<()> {
    std::fs::create_dir(sandbox.path("theirs")).unwrap();
    let folder = sandbox.path("theirs");
    let ran = tool("openssl", &folder, &[&["genpkey", "-out", "ca.key"], key].concat())?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let options = ["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-passin", "pass:secret", "-utf8"];
    let request = ["req", "-x509", "-new", "-key", "ca.key", "-out", "ca.crt", "-days", "900", "-subj", subject];
    let ran = tool("openssl", &folder, &[&request[..], &options].concat())?;
    assert_eq!(ran.code, 0, "{ran:?}");
    sandbox.write("secret.txt", "secret\n");
    Some(())
}

#[test]
fn a_ca_from_openssl_goes_on_issuing_whatever_its_key_and_name() {
    let encrypted = |cipher: &'static str| {
        ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", cipher, "-pass", "pass:secret"]
    };
    let elliptic = |curve: &'static str| ["-algorithm", "EC", "-pkeyopt", curve, "-pass", "pass:none", "-quiet"];
    let repeated = "/C=DE/O=Größe AG/OU=first/OU=second/DC=example/DC=com/CN=CA";
    for (key, subject) in [
        (&encrypted("-aes-256-cbc")[..], repeated),
        (&encrypted("-aes-128-cbc"), "/CN=Easy-RSA CA"),
        (&encrypted("-des-ede3-cbc"), "/CN=old"),
        (&elliptic("ec_paramgen_curve:P-521")[..4], repeated),
        (&["-algorithm", "ED25519"], "/O=step/CN=Root CA+serialNumber=1"),
    ] {
        let sandbox = Sandbox::new();
        let Some(()) = theirs(&sandbox, key, subject) else { return };
        let arguments =
            ["import-ca", "--cert", "theirs/ca.crt", "--key", "theirs/ca.key", "--password-file", "secret.txt"];
        let ran = sandbox.succeed(arguments);
        assert!(ran.err.contains("the new revocation list is empty"), "{ran:?}");
        assert_eq!(sandbox.chain("certs/ca.crt"), sandbox.chain("theirs/ca.crt"));
        assert_eq!(sandbox.mode("certs/ca.key"), 0o600);
        assert!(sandbox.refuse(2, arguments).error().contains("--force"));
        sandbox.succeed(["server"]);
        sandbox.succeed(["client"]);
        sandbox.succeed(["client", "--name", "gone"]);
        sandbox.succeed(["revoke", "gone"]);
        let check = ["-crl_check", "-CRLfile", "certs/ca.crl", "-CAfile", "theirs/ca.crt"];
        let Some(ran) = verified(&sandbox, &[&check[..], &["certs/clients/client-1.crt"]].concat()) else { return };
        assert_eq!(ran.code, 0, "{key:?}: {ran:?}");
        let Some(ran) = verified(&sandbox, &[&check[..], &["certs/clients/gone.crt"]].concat()) else { return };
        assert!(ran.err.contains("certificate revoked"), "{ran:?}");
    }
}

#[test]
fn keys_in_the_older_forms_are_kept_as_pkcs8() {
    let rsa: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let elliptic: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
    for (key, label) in [(rsa, "RSA PRIVATE KEY"), (elliptic, "EC PRIVATE KEY")] {
        let sandbox = Sandbox::new();
        let Some(()) = theirs(&sandbox, key, "/CN=CA") else { return };
        let arguments = ["pkey", "-in", "theirs/ca.key", "-traditional", "-out", "old.key"];
        let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(String::from_utf8(sandbox.read("old.key")).unwrap().contains(label));
        sandbox.succeed(["import-ca", "--cert", "theirs/ca.crt", "--key", "old.key"]);
        assert!(sandbox.read("certs/ca.key").starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
        let arguments = ["pkey", "-in", "certs/ca.key", "-noout", "-check"];
        let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        sandbox.succeed(["client"]);
    }
}

/// step encrypts a CA's key so, and `openssl ec -aes256` does.
#[test]
fn a_key_that_step_encrypted_is_opened() {
    let rsa: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let elliptic: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for (key, command, cipher) in [
        (elliptic, &["ec"][..], "-aes-256-cbc"),
        (elliptic, &["ec"], "-aes-128-cbc"),
        (rsa, &["rsa", "-traditional"], "-des-ede3-cbc"),
    ] {
        let sandbox = Sandbox::new();
        let Some(()) = theirs(&sandbox, key, "/CN=Smallstep Root CA") else { return };
        let arguments =
            [command, &["-in", "theirs/ca.key", cipher, "-passout", "pass:secret", "-out", "old.key"]].concat();
        let Some(ran) = tool("openssl", &sandbox.path(""), &arguments) else { return };
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(String::from_utf8(sandbox.read("old.key")).unwrap().contains("Proc-Type: 4,ENCRYPTED"));
        sandbox.write("wrong.txt", "other");
        let import = ["import-ca", "--cert", "theirs/ca.crt", "--key", "old.key", "--password-file"];
        sandbox.refuse(2, [&import[..], &["wrong.txt"]].concat());
        sandbox.succeed([&import[..], &["secret.txt"]].concat());
        sandbox.succeed(["client"]);
    }
}

#[test]
fn what_a_ca_revoked_before_it_came_stays_revoked() {
    let old = Sandbox::with_authority();
    old.succeed(["client", "--name", "gone"]);
    old.succeed(["revoke", "gone"]);
    let sandbox = Sandbox::new();
    for file in ["ca.crt", "ca.key", "ca.crl"] {
        sandbox.write(&format!("old/{file}"), old.read(&format!("certs/{file}")));
    }
    let import = ["import-ca", "--cert", "old/ca.crt", "--key", "old/ca.key", "--crl", "old/ca.crl"];
    assert_eq!(sandbox.succeed(import).err, "");
    let shown = sandbox.succeed(["show", "crl"]).out;
    assert!(shown.contains("number          3") && !shown.contains("revokes         nothing"), "{shown}");

    let other = Sandbox::with_authority();
    sandbox.write("foreign.crl", other.read("certs/ca.crl"));
    sandbox.write("foreign.key", other.read("certs/ca.key"));
    let cases: [(&[&str], &str); 3] = [
        (
            &["--cert", "old/ca.crt", "--key", "old/ca.key", "--crl", "foreign.crl"],
            "foreign.crl was issued by another CA",
        ),
        (&["--cert", "old/ca.crt", "--key", "foreign.key"], "their public keys differ"),
        (&["--cert", "old/ca.key", "--key", "old/ca.key"], "holds no certificate in PEM"),
    ];
    for (arguments, message) in cases {
        let ran = sandbox.refuse(2, [&["import-ca", "--force"], arguments].concat());
        assert!(ran.error().contains(message), "{ran:?}");
    }
}

#[test]
fn a_wrong_password_opens_nothing() {
    let sandbox = Sandbox::new();
    let key = ["-algorithm", "ED25519", "-aes-256-cbc", "-pass", "pass:secret"];
    let Some(()) = theirs(&sandbox, &key, "/CN=CA") else { return };
    sandbox.write("wrong.txt", "other");
    let import = ["import-ca", "--cert", "theirs/ca.crt", "--key", "theirs/ca.key", "--password-file"];
    let ran = sandbox.refuse(2, [&import[..], &["wrong.txt"]].concat());
    assert!(ran.error().contains("theirs/ca.key is not opened by this password"), "{ran:?}");
    sandbox.succeed([&import[..], &["secret.txt"]].concat());
}
