//! CAs that other tools made, taken over with all that they revoked: easy-rsa's and cfssl's own programs, `openssl ca`,
//! and, since no package has step, what step writes, made by OpenSSL.

use std::io::Write as _;
use std::process::{Command, Stdio};

use mtls_gateway::app::App;
use mtls_gateway::clock::Clock;
use mtls_gateway::config::{self, Overrides, Source};
use mtls_gateway::telemetry::{Log, LogSink};

use super::support::{Ran, Sandbox, tool};

/// What a CA from elsewhere left: a client that is good, and one that it revoked.
struct Left {
    /// Arguments of `import-ca`.
    import: Vec<String>,
    good: &'static str,
    gone: &'static str,
    /// Why OpenSSL refuses the CA's own certificate when it is strict, if it does.
    fault: Option<&'static str>,
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Whether a client is let in, by the status that curl sees.
fn status(sandbox: &Sandbox, port: u16, certificate: &str, key: &str) -> Option<String> {
    let url = format!("https://localhost:{port}/");
    let resolve = format!("localhost:{port}:127.0.0.1");
    let ran = tool(
        "curl",
        &sandbox.path(""),
        &[
            "-sS",
            "--max-time",
            "20",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--noproxy",
            "*",
            "--resolve",
            &resolve,
            "--cacert",
            "certs/ca.crt",
            "--cert",
            certificate,
            "--key",
            key,
            &url,
        ],
    )?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Some(ran.out)
}

/// The gateway with what is in `certs`: who is let in, and who is not.
fn serves(sandbox: &Sandbox, good: &[(&str, &str)], revoked: &[(&str, &str)]) {
    let path = |name: &str| sandbox.path(&format!("certs/{name}"));
    let text = format!(
        "[listener]\naddress = \"127.0.0.1:0\"\n[tls]\ncertificate = {:?}\nprivate_key = {:?}\n[client_auth]\nca = \
         [{:?}]\ncrl = [{:?}]\n[admin]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/*\"\nrespond = {{ status = 200, \
         body = \"in\" }}\n",
        path("server.crt"),
        path("server.key"),
        path("ca.crt"),
        path("ca.crl"),
    );
    let load = move || {
        let source = Source { name: "test.toml".to_owned(), text: text.clone() };
        config::load(Some(&source), &Overrides::default(), &|_| None, false).valid()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (port, _writer) = runtime.block_on(async {
        let valid = load().unwrap();
        let (sink, writer) = LogSink::start(std::io::sink(), |_| Vec::new()).unwrap();
        let log = Log::new(sink, valid.config.logs, Clock::system());
        let app = App::start(valid, Box::new(load), Clock::system(), log).await.unwrap();
        let port = app.addresses()[0].port();
        tokio::spawn(app.run());
        (port, writer)
    });
    for (expected, clients) in [("200", good), ("403", revoked)] {
        for (certificate, key) in clients {
            let Some(told) = status(sandbox, port, certificate, key) else { return };
            assert_eq!(told, expected, "{certificate}");
        }
    }
    runtime.shutdown_background();
}

fn openssl(sandbox: &Sandbox, arguments: &[&str]) -> Option<Ran> {
    tool("openssl", &sandbox.path(""), arguments)
}

/// That every command works under the CA, and that what it had revoked stays so.
fn goes_on(sandbox: &Sandbox, left: &Left) -> Option<()> {
    let import: Vec<&str> = left.import.iter().map(String::as_str).collect();
    let ran = sandbox.succeed(["import-ca"].iter().chain(&import));
    assert!(!ran.err.contains("revocation list is empty"), "{ran:?}");
    assert_eq!(ran.err.contains("against RFC 5280"), left.fault.is_some(), "{ran:?}");
    assert_eq!(sandbox.mode("certs/ca.key"), 0o600);
    sandbox.succeed(["server"]);
    sandbox.succeed(["client"]);
    sandbox.succeed(["client", "--name", "second"]);
    sandbox.succeed(["renew", "client-1"]);
    sandbox.succeed(["verify", "client-1"]);
    sandbox.succeed(["verify", "server"]);
    let gone = sandbox.run(["verify", left.gone]);
    assert!(gone.code == 1 && gone.out.contains("revoked"), "{gone:?}");
    sandbox.succeed(["verify", left.good]);
    sandbox.succeed(["revoke", "second", "--reason", "superseded"]);
    sandbox.succeed(["crl", "--days", "30"]);
    let states = sandbox.states();
    for (name, state) in [("ca", "valid"), ("client-1", "valid"), ("second", "revoked")] {
        assert!(states.contains(&(name.to_owned(), state.to_owned())), "{states:?}");
    }
    let check = ["verify", "-crl_check", "-CRLfile", "certs/ca.crl", "-CAfile", "certs/ca.crt"];
    for good in ["certs/clients/client-1.crt", "certs/server.crt", left.good] {
        let ran = openssl(sandbox, &[&check[..], &[good]].concat())?;
        assert_eq!(ran.code, 0, "{good}: {ran:?}");
        let ran = openssl(sandbox, &[&check[..], &["-x509_strict", good]].concat())?;
        match left.fault {
            // What its old certificates lack is its own doing.
            None => assert!(ran.code == 0 || good == left.good, "{good}: {ran:?}"),
            Some(fault) => assert!(ran.code != 0 && ran.err.contains(fault), "{good}: {ran:?}"),
        }
    }
    for revoked in ["certs/clients/second.crt", left.gone] {
        let ran = openssl(sandbox, &[&check[..], &[revoked]].concat())?;
        assert!(ran.err.contains("certificate revoked"), "{revoked}: {ran:?}");
    }
    let key = |certificate: &str| {
        certificate.replace(".crt", ".key").replace("issued/", "private/").replace(".pem", "-key.pem")
    };
    let (good, gone) = (key(left.good), key(left.gone));
    let second = ("certs/clients/second.crt", "certs/clients/second.key");
    serves(
        sandbox,
        &[("certs/clients/client-1.crt", "certs/clients/client-1.key"), (left.good, &good)],
        &[second, (left.gone, &gone)],
    );
    // What the old CA issued can be revoked here, by its file.
    sandbox.succeed(["revoke", left.good]);
    serves(sandbox, &[("certs/clients/client-1.crt", "certs/clients/client-1.key")], &[(left.good, &good)]);
    Some(())
}

/// easy-rsa lies outside of the path, where Debian puts it.
fn easyrsa(sandbox: &Sandbox, algorithm: &str, arguments: &[&str]) -> Option<Ran> {
    let set = [
        ("EASYRSA_BATCH", "1"),
        ("EASYRSA_ALGO", algorithm),
        ("EASYRSA_CURVE", "secp384r1"),
        ("EASYRSA_PASSIN", "pass:secret"),
        ("EASYRSA_PASSOUT", "pass:secret"),
    ];
    let set: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let command: Vec<&str> = set.iter().map(String::as_str).chain(["/usr/share/easy-rsa/easyrsa"]).collect();
    if !std::path::Path::new("/usr/share/easy-rsa/easyrsa").exists() {
        assert!(std::env::var_os("CI").is_none(), "easy-rsa is needed in CI");
        eprintln!("SKIPPED: easy-rsa is not installed");
        return None;
    }
    let ran = tool("env", &sandbox.path(""), &[&command[..], arguments].concat())?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Some(ran)
}

#[test]
fn a_ca_of_easy_rsa_goes_on_with_what_its_list_and_its_index_revoked() {
    for (algorithm, password, source) in [
        ("rsa", true, "--crl pki/crl.pem"),
        ("ec", false, "--index pki/index.txt"),
        ("ec", true, "--crl early.pem --index pki/index.txt"),
    ] {
        let sandbox = Sandbox::new();
        let run = |arguments: &[&str]| easyrsa(&sandbox, algorithm, arguments);
        let Some(_) = run(&["init-pki"]) else { return };
        let Some(_) = run(if password { &["build-ca"] } else { &["build-ca", "nopass"] }) else { return };
        let Some(_) = run(&["build-client-full", "good", "nopass"]) else { return };
        let Some(_) = run(&["build-client-full", "gone", "nopass"]) else { return };
        let Some(_) = run(&["gen-crl"]) else { return };
        std::fs::copy(sandbox.path("pki/crl.pem"), sandbox.path("early.pem")).unwrap();
        // easy-rsa moves what it revokes away.
        std::fs::create_dir(sandbox.path("issued")).unwrap();
        std::fs::create_dir(sandbox.path("private")).unwrap();
        for name in ["good", "gone"] {
            std::fs::copy(sandbox.path(&format!("pki/issued/{name}.crt")), sandbox.path(&format!("issued/{name}.crt")))
                .unwrap();
            std::fs::copy(
                sandbox.path(&format!("pki/private/{name}.key")),
                sandbox.path(&format!("private/{name}.key")),
            )
            .unwrap();
        }
        let Some(_) = run(&["revoke", "gone", "superseded"]) else { return };
        let Some(_) = run(&["gen-crl"]) else { return };
        sandbox.write("secret.txt", "secret\n");
        let mut import = words(&format!("--cert pki/ca.crt --key pki/private/ca.key {source}"));
        import.extend(password.then(|| words("--password-file secret.txt")).into_iter().flatten());
        let fault = Some("Basic Constraints of CA cert not marked critical");
        let left = Left { import, good: "issued/good.crt", gone: "issued/gone.crt", fault };
        let Some(()) = goes_on(&sandbox, &left) else { return };
        let shown = sandbox.succeed(["show", "crl"]).out;
        assert!(shown.contains("(superseded)"), "{shown}");
    }
}

/// One program's output as another one's input.
fn piped(sandbox: &Sandbox, from: &[&str], into: &[&str]) -> Option<()> {
    let ran = tool(from[0], &sandbox.path(""), &from[1..])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut child = match Command::new(into[0])
        .args(&into[1..])
        .current_dir(sandbox.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{} is needed in CI: {error}", into[0]);
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(ran.out.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    Some(())
}

#[test]
fn a_ca_of_cfssl_goes_on_with_the_list_that_cfssl_prints() {
    for key in [r#"{"algo":"ecdsa","size":256}"#, r#"{"algo":"ecdsa","size":521}"#, r#"{"algo":"rsa","size":2048}"#] {
        let sandbox = Sandbox::new();
        // Two names of each attribute: cfssl puts them into one RDN.
        let names = r#"[{"C":"DE","O":"Größe AG","OU":"a"},{"O":"second","OU":"b"}]"#;
        sandbox.write("ca.json", format!(r#"{{"CN":"cfssl CA","key":{key},"names":{names}}}"#));
        let Some(()) = piped(&sandbox, &["cfssl", "gencert", "-initca", "ca.json"], &["cfssljson", "-bare", "ca"])
        else {
            return;
        };
        for name in ["good", "gone"] {
            let wanted = format!(r#"{{"CN":"{name}","hosts":["{name}.example"],"key":{{"algo":"ecdsa","size":256}}}}"#);
            sandbox.write(&format!("{name}.json"), wanted);
            let request = format!("{name}.json");
            let sign = ["cfssl", "gencert", "-ca", "ca.pem", "-ca-key", "ca-key.pem", &request];
            let Some(()) = piped(&sandbox, &sign, &["cfssljson", "-bare", name]) else { return };
        }
        let serial = Command::new("cfssl-certinfo").args(["-cert", "gone.pem"]).current_dir(sandbox.path("")).output();
        let serial = serial.ok().filter(|output| output.status.success());
        let information = serial.unwrap_or_else(|| {
            Command::new("cfssl")
                .args(["certinfo", "-cert", "gone.pem"])
                .current_dir(sandbox.path(""))
                .output()
                .unwrap()
        });
        let information: serde_json::Value = serde_json::from_slice(&information.stdout).unwrap();
        sandbox.write("serials.txt", information["serial_number"].as_str().unwrap());
        let Some(list) = tool("cfssl", &sandbox.path(""), &["gencrl", "serials.txt", "ca.pem", "ca-key.pem"]) else {
            return;
        };
        assert!(list.code == 0 && list.out.starts_with("MII"), "base64 alone: {list:?}");
        sandbox.write("crl.txt", &list.out);
        let import = words("--cert ca.pem --key ca-key.pem --crl crl.txt");
        let left = Left { import, good: "good.pem", gone: "gone.pem", fault: None };
        let Some(()) = goes_on(&sandbox, &left) else { return };
    }
}

const OPENSSL_CA: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nserial=serial\ncrlnumber=crlnumber\n\
    certificate=ca.pem\nprivate_key=ca-key.pem\ndefault_md=sha256\ndefault_days=30\ndefault_crl_days=30\npolicy=p\n\
    x509_extensions=user\n[p]\ncommonName=supplied\n[user]\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n\
    extendedKeyUsage=clientAuth\n[req]\ndistinguished_name=dn\n[dn]\n";

/// A CA with this extension section, a good client and one that `openssl ca` revoked.
fn openssl_ca(sandbox: &Sandbox, extensions: &[&str]) -> Option<()> {
    sandbox.write("ca.cnf", OPENSSL_CA);
    sandbox.write("index.txt", "");
    sandbox.write("serial", "0FFF\n");
    sandbox.write("crlnumber", "1000\n");
    let run = |arguments: &[&str]| {
        let ran = openssl(sandbox, arguments)?;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        Some(())
    };
    run(&["ecparam", "-name", "prime256v1", "-genkey", "-out", "ca-key.pem"])?;
    let own =
        ["req", "-x509", "-new", "-config", "ca.cnf", "-key", "ca-key.pem", "-subj", "/O=Old/CN=CA", "-days", "99"];
    let extensions: Vec<&str> = extensions.iter().flat_map(|extension| ["-addext", *extension]).collect();
    run(&[&own[..], &["-out", "ca.pem"], &extensions].concat())?;
    for name in ["good", "gone"] {
        let (key, csr, pem) = (format!("{name}-key.pem"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-config", "ca.cnf", "-subj", &subject];
        run(&[&request[..], &["-keyout", &key, "-out", &csr]].concat())?;
        run(&["ca", "-batch", "-config", "ca.cnf", "-in", &csr, "-out", &pem, "-notext"])?;
    }
    run(&["ca", "-config", "ca.cnf", "-gencrl", "-out", "early.pem"])?;
    run(&["ca", "-config", "ca.cnf", "-revoke", "gone.pem", "-crl_compromise", "20260101000000Z"])?;
    run(&["ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem"])
}

#[test]
fn a_ca_of_openssl_ca_goes_on_with_its_number_and_reasons() {
    let usual = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
    for (extensions, source, number, fault) in [
        (&usual[..], "--crl crl.pem", "4098", None),
        (&usual, "--crl early.pem --index index.txt", "4097", None),
        (
            &["basicConstraints=critical,CA:TRUE"],
            "--crl crl.pem",
            "4098",
            Some("CA cert does not include key usage extension"),
        ),
        (
            &["basicConstraints=CA:TRUE", "subjectKeyIdentifier=none", "authorityKeyIdentifier=none"],
            "--index index.txt",
            "1",
            Some("Missing Subject Key Identifier"),
        ),
    ] {
        let sandbox = Sandbox::new();
        let Some(()) = openssl_ca(&sandbox, extensions) else { return };
        let import = words(&format!("--cert ca.pem --key ca-key.pem {source}"));
        let ran = sandbox.succeed(["import-ca"].iter().copied().chain(import.iter().map(String::as_str)));
        assert_eq!(ran.err.contains("against RFC 5280"), fault.is_some(), "{ran:?}");
        let shown = sandbox.succeed(["show", "crl"]).out;
        let numbered = shown.lines().any(|line| line.split_whitespace().eq(["number", number]));
        assert!(numbered && shown.contains("1000 at ") && shown.contains("(key-compromise)"), "{shown}");
        let Some(text) = openssl(&sandbox, &["crl", "-in", "certs/ca.crl", "-noout", "-text"]) else { return };
        assert!(text.out.contains("Invalidity Date"), "{}", text.out);
        std::fs::remove_dir_all(sandbox.path("certs")).unwrap();
        let Some(()) = goes_on(&sandbox, &Left { import, good: "good.pem", gone: "gone.pem", fault }) else { return };
    }
}

#[test]
fn a_root_and_intermediate_as_step_makes_them_by_openssl_go_on() {
    let sandbox = Sandbox::new();
    let run = |arguments: &[&str]| {
        let ran = openssl(&sandbox, arguments)?;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        Some(())
    };
    sandbox.write("secret.txt", "secret\n");
    // `step ca init` and `step certificate create --profile root-ca`: P-256, path lengths 1 and 0, keys in SEC 1 that
    // are encrypted in the manner of RFC 1421 with a vector in lower-case hex, as Go writes it.
    sandbox.write(
        "step.cnf",
        "[req]\ndistinguished_name=dn\n[dn]\n[root]\nbasicConstraints=critical,CA:TRUE,pathlen:1\nkeyUsage=critical,\
         keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n[below]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=\
         critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n[leaf]\nkeyUsage=critical,\
         digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=\
         keyid\nsubjectAltName=DNS:good.example\n1.3.6.1.4.1.37476.9000.64.1=ASN1:SEQUENCE:provisioner\n[provisioner]\n\
         type=INTEGER:1\nname=OCTETSTRING:admin\nid=OCTETSTRING:abc\n",
    );
    let make = |name: &str, subject: &str, section: &str, above: Option<&str>| {
        let (plain, key, csr, certificate) =
            (format!("{name}-plain"), format!("{name}_key"), format!("{name}.csr"), format!("{name}.crt"));
        run(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &plain])?;
        run(&["ec", "-in", &plain, "-aes256", "-passout", "pass:secret", "-out", &key])?;
        let text = String::from_utf8(sandbox.read(&key)).unwrap();
        assert!(
            text.starts_with("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,"),
            "as Go"
        );
        let (before, rest) = text.split_once("AES-256-CBC,").unwrap();
        let (vector, after) = rest.split_once('\n').unwrap();
        sandbox.write(&key, format!("{before}AES-256-CBC,{}\n{after}", vector.to_lowercase()));
        run(&["req", "-new", "-config", "step.cnf", "-key", &plain, "-subj", subject, "-out", &csr])?;
        let signer = match above {
            Some(above) => words(&format!("-CA {above}.crt -CAkey {above}-plain -CAcreateserial")),
            None => words(&format!("-signkey {plain}")),
        };
        let sign = ["x509", "-req", "-in", &csr, "-days", "3650", "-extfile", "step.cnf", "-extensions", section];
        let signer: Vec<&str> = signer.iter().map(String::as_str).collect();
        run(&[&sign[..], &signer, &["-out", &certificate]].concat())
    };
    let Some(()) = make("root_ca", "/O=Smallstep/CN=Smallstep Root CA", "root", None) else { return };
    let Some(()) = make("intermediate_ca", "/O=Smallstep/CN=Smallstep Intermediate CA", "below", Some("root_ca"))
    else {
        return;
    };
    let Some(()) = make("good", "/CN=good.example", "leaf", Some("intermediate_ca")) else { return };

    let password = ["--password-file", "secret.txt"];
    sandbox.write("wrong.txt", "wrong");
    let root = ["import-ca", "--cert", "root_ca.crt", "--key", "root_ca_key"];
    let ran = sandbox.refuse(2, [&root[..], &["--password-file", "wrong.txt"]].concat());
    assert!(ran.error().contains("root_ca_key is not opened by this password"), "{ran:?}");
    let arguments = [&["--dir", "root"], &root[..], &password].concat();
    sandbox.succeed(arguments);
    sandbox.succeed(["--dir", "root", "intermediate", "--name", "ours"]);

    sandbox.write("chain.crt", [sandbox.read("intermediate_ca.crt"), sandbox.read("root_ca.crt")].concat());
    sandbox.succeed([&["import-ca", "--cert", "chain.crt", "--key", "intermediate_ca_key"], &password[..]].concat());
    let ran = sandbox.refuse(2, ["intermediate", "--into", "below"]);
    assert!(ran.error().contains("path length of 0"), "{ran:?}");
    sandbox.succeed(["server"]);
    sandbox.succeed(["client"]);
    assert_eq!(sandbox.chain("certs/clients/client-1.crt").len(), 2, "the CA in between goes along");
    sandbox.succeed(["verify", "good.crt"]);
    let described = sandbox.succeed(["show", "good.crt"]).out;
    assert!(described.contains("1.3.6.1.4.1.37476.9000.64.1"), "{described}");
    let client = "certs/clients/client-1.crt";
    let verify = ["verify", "-x509_strict", "-CAfile", "root_ca.crt", "-untrusted", client, client];
    let Some(ran) = openssl(&sandbox, &verify) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");
    serves(&sandbox, &[(client, "certs/clients/client-1.key"), ("good.crt", "good-plain")], &[]);
    sandbox.succeed(["revoke", "good.crt"]);
    serves(&sandbox, &[(client, "certs/clients/client-1.key")], &[("good.crt", "good-plain")]);
}
