//! `gateway explain`, and the tests of a configuration in `gateway check`.

use serde_json::Value;
use tempfile::TempDir;

use super::{gateway, stderr, stdout};

const CONFIG: &str = r#"
[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
[client_auth]
ca = ["certs/ca.crt"]
[[route]]
path = "/*"
respond = {}
[[route]]
path = "/invoices/*"
methods = ["GET"]
respond = {}
allow = [{ san_dns = "billing" }, { san_dns = "*.example", subject_ou = "Ops" }]
deny = [{ subject_cn = "mallory" }]
[[route]]
host = "public.example.com"
path = "/*"
public = true
respond = {}
"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), CONFIG).unwrap();
    let make = |arguments: &[&str]| {
        let output = gateway(&folder, arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    };
    make(&["certs", "init"]);
    make(&["certs", "server"]);
    for name in ["billing", "client-1", "mallory"] {
        make(&["certs", "client", "--name", name]);
    }
    folder
}

fn explained(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut all = vec!["explain", "-c", "gateway.toml", "--output", "json"];
    all.extend(arguments);
    let output = gateway(folder, &all);
    let json = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (output.status.code(), json)
}

#[test]
fn each_request_is_told_what_it_would_get() {
    let folder = folder();
    let cases: [(&[&str], i32, Value, Value); 12] = [
        (&["--cert", "certs/clients/billing.crt", "--path", "/invoices/7?x=1"], 0, 200.into(), Value::Null),
        (&["--cert", "certs/clients/client-1.crt", "--path", "/invoices/7"], 1, 403.into(), "not_allowed".into()),
        (&["--cert", "certs/clients/mallory.crt", "--path", "/invoices/7"], 1, 403.into(), "not_allowed".into()),
        (&["--cert", "certs/clients/mallory.crt", "--path", "/other"], 0, 200.into(), Value::Null),
        (&["--cert", "certs/clients/mallory.crt"], 0, 200.into(), Value::Null),
        (
            &["--cert", "certs/clients/client-1.crt", "--path", "/invoices/7", "--method", "PUT"],
            1,
            405.into(),
            "method_not_allowed".into(),
        ),
        (&["--no-cert", "--path", "/invoices/7"], 1, 403.into(), "certificate_missing".into()),
        (&["--no-cert", "--path", "/x", "--host", "public.example.com:8443"], 0, 200.into(), Value::Null),
        (&["--no-cert", "--path", "/health"], 0, 200.into(), Value::Null),
        (&["--cert", "certs/server.crt", "--path", "/x"], 1, 403.into(), "wrong_usage".into()),
        (&["--cert", "certs/ca.crt", "--path", "/x"], 1, 403.into(), "wrong_usage".into()),
        (
            &["--cert", "certs/clients/billing.crt", "--path", "/a/../invoices/7"],
            1,
            400.into(),
            "ambiguous_path".into(),
        ),
    ];
    for (arguments, code, status, reason) in cases {
        let (exit, json) = explained(&folder, arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {json}");
        assert_eq!((&json["status"], &json["reason"]), (&status, &reason), "{arguments:?}");
        assert_eq!(json["let_in"], code == 0);
        assert_eq!(json["mend"].is_null(), code == 0, "{json}");
    }
}

#[test]
fn each_rule_is_told_with_what_the_certificate_has() {
    let folder = folder();
    let output = gateway(
        &folder,
        &["explain", "-c", "gateway.toml", "--cert", "certs/clients/client-1.crt", "--path", "/invoices/7"],
    );
    let said = stdout(&output);
    for line in [
        "ok  deny         { subject_cn = \"mallory\" } does not match (subject_cn: the certificate has \"client-1\")",
        "-   allow        { san_dns = \"billing\" } does not match (san_dns: the certificate has \"client-1\")",
        "-   allow        { san_dns = \"*.example\", subject_ou = \"Ops\" } does not match (san_dns: the certificate has \
         \"client-1\"; subject_ou: the certificate has nothing)",
        "NO  allow        no rule of the list matches",
        "ok  route        /invoices/*",
        "=>  refused: 403 not_allowed",
    ] {
        assert!(said.lines().any(|other| other == line), "{line} in\n{said}");
    }
    let (_, json) = explained(&folder, &["--cert", "certs/clients/mallory.crt", "--path", "/invoices/7"]);
    assert!(json["mend"].as_str().unwrap().contains("rule 1 from the route's `deny`"), "{json}");
    std::fs::write(folder.path().join("other.toml"), CONFIG.replace("certs/ca.crt", "other/ca.crt")).unwrap();
    assert_eq!(gateway(&folder, &["certs", "init", "--dir", "other"]).status.code(), Some(0));
    let output = gateway(&folder, &["explain", "-c", "other.toml", "--cert", "certs/clients/billing.crt"]);
    let said = stdout(&output);
    assert!(said.contains("unknown_issuer") && said.contains("trusted are: CN="), "{said}");
}

#[test]
fn a_request_of_the_log_is_explained_with_and_without_its_certificate() {
    let folder = folder();
    let (_, shown) = explained(&folder, &["--cert", "certs/clients/client-1.crt"]);
    let text = shown["steps"][0]["text"].as_str().unwrap();
    let sha256 = text.rsplit_once("SHA-256 ").unwrap().1;
    let log = format!(
        "not JSON\n{{\"event\":\"request\",\"time\":\"2026-01-01T00:00:00.000Z\",\"request_id\":\"id-1\",\"client_verify\":\"SUCCESS\",\
         \"client_subject\":\"CN=client-1\",\"client_serial\":\"01\",\"client_sha256\":\"{sha256}\",\"client_san\":\"DNS:client-1\",\
         \"method\":\"GET\",\"host\":\"api.example.com\",\"path\":\"/invoices/7\",\"route\":\"/invoices/*\",\"status\":403,\"reason\":\"not_allowed\"}}\n\
         {{\"event\":\"request\",\"request_id\":\"id-2\",\"client_verify\":\"FAILED:expired\",\"method\":\"GET\",\"path\":\"/x\",\"status\":403,\"reason\":\"expired\"}}\n"
    );
    std::fs::write(folder.path().join("log.json"), log).unwrap();
    let of_log = |id: &'static str| ["--log", "log.json", "--request-id", id];
    let (exit, json) = explained(&folder, &of_log("id-1"));
    assert_eq!((exit, &json["reason"], &json["route"]), (Some(1), &"not_allowed".into(), &"/invoices/*".into()));
    assert!(json["mend"].as_str().unwrap().contains("--cert"), "{json}");
    let rules = json["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "allow").count();
    assert_eq!(rules, 2);
    let (exit, json) = explained(&folder, &of_log("id-2"));
    assert_eq!((exit, &json["reason"]), (Some(1), &"expired".into()));
    assert!(json["mend"].as_str().unwrap().contains("expired"));
    let with = |cert: &'static str| [&of_log("id-1")[..], &["--cert", cert]].concat();
    let (exit, json) = explained(&folder, &with("certs/clients/client-1.crt"));
    assert_eq!((exit, &json["reason"]), (Some(1), &"not_allowed".into()));
    let output =
        gateway(&folder, &[&["explain", "-c", "gateway.toml"], &with("certs/clients/billing.crt")[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("another certificate"), "{}", stderr(&output));
}

#[test]
fn a_keystore_of_openssls_is_read() {
    let folder = folder();
    std::fs::write(folder.path().join("password"), "secret caf\u{e9}\n").unwrap();
    let export = |more: &[&str], out: &str| {
        let output = std::process::Command::new("openssl")
            .current_dir(folder.path())
            .args(["pkcs12", "-export", "-in", "certs/clients/billing.crt", "-inkey", "certs/clients/billing.key"])
            .args(["-certfile", "certs/ca.crt", "-passout", "file:password", "-out", out])
            .args(more)
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    if !export(&[], "a.p12") {
        assert!(std::env::var_os("CI").is_none(), "openssl is needed for this test");
        return;
    }
    assert!(export(&["-certpbe", "AES-128-CBC", "-macalg", "sha1"], "b.p12"));
    assert!(export(&["-certpbe", "NONE"], "c.p12"));
    let mut names = vec!["a.p12", "b.p12", "c.p12"];
    if export(&["-legacy", "-certpbe", "PBE-SHA1-3DES"], "d.p12") {
        names.push("d.p12");
    }
    for name in names {
        let (exit, json) =
            explained(&folder, &["--cert", name, "--password-file", "password", "--path", "/invoices/7"]);
        assert_eq!((exit, &json["status"]), (Some(0), &200.into()), "{name}: {json}");
        assert!(json["steps"][0]["text"].as_str().unwrap().starts_with("CN=billing"), "{json}");
    }
    let output = gateway(&folder, &["explain", "-c", "gateway.toml", "--cert", "a.p12"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not opened by this password") && stderr(&output).contains("--password-file"));
    if export(&["-legacy", "-certpbe", "PBE-SHA1-RC2-40"], "e.p12") {
        let output =
            gateway(&folder, &["explain", "-c", "gateway.toml", "--cert", "e.p12", "--password-file", "password"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("write it again with AES"), "{}", stderr(&output));
    }
}

#[test]
fn wrong_usage_of_explain_is_told() {
    let folder = folder();
    std::fs::write(folder.path().join("bad.toml"), "nonsense").unwrap();
    for (arguments, what) in [
        (&["explain"][..], "--cert"),
        (&["explain", "-c", "bad.toml", "--no-cert"], "bad.toml"),
        (&["explain", "-c", "gateway.toml", "--cert", "missing.crt"], "missing.crt"),
        (&["explain", "-c", "gateway.toml", "--cert", "gateway.toml"], "gateway.toml"),
        (&["explain", "-c", "gateway.toml", "--no-cert", "--path", "x"], "begins with '/'"),
        (&["explain", "-c", "gateway.toml", "--no-cert", "--host", "a b"], "is not a host"),
        (&["explain", "-c", "gateway.toml", "--no-cert", "--method", "G T"], "is not a method"),
        (&["explain", "-c", "gateway.toml", "--log", "gateway.toml", "--request-id", "x"], "no line of the access log"),
        (&["explain", "-c", "gateway.toml", "--log", "gateway.toml"], "--request-id"),
    ] {
        let output = gateway(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {}", stderr(&output));
        assert!(stderr(&output).contains(what), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn check_holds_a_configuration_against_its_own_tests() {
    let folder = folder();
    let checked = |tests: &str| {
        std::fs::write(folder.path().join("tested.toml"), format!("{CONFIG}{tests}")).unwrap();
        let output = gateway(&folder, &["check", "-c", "tested.toml"]);
        (output.status.code(), format!("{}{}", stdout(&output), stderr(&output)))
    };
    let good = "[[test]]\ncertificate = \"certs/clients/billing.crt\"\npath = \"/invoices/7\"\nexpect = 200\n\
                [[test]]\ncertificate = \"certs/clients/client-1.crt\"\npath = \"/invoices/7\"\nexpect = \"not_allowed\"\n\
                [[test]]\npath = \"/invoices/7\"\nexpect = 403\n\
                [[test]]\npath = \"/x\"\nhost = \"public.example.com\"\nmethod = \"PUT\"\nexpect = 200\n";
    let (code, said) = checked(good);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = checked(&good.replace("\"not_allowed\"", "200").replace("expect = 403", "expect = 404"));
    assert_eq!(code, Some(2), "{said}");
    for line in [
        "[[test]] 2 (GET /invoices/7 with certs/clients/client-1.crt): expected 200, and it is 403 not_allowed",
        "[[test]] 3 (GET /invoices/7 without a certificate): expected 404, and it is 403 certificate_missing",
    ] {
        assert!(said.contains(line), "{line} in\n{said}");
    }
    assert!(said.contains("2 errors"), "{said}");
    let (code, said) = checked(&good.replace("billing.crt", "missing.crt"));
    assert_eq!(code, Some(2));
    assert!(said.contains("[[test]] 1") && said.contains("missing.crt"), "{said}");
}
