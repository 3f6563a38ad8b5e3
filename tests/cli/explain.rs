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
    assert_eq!(
        json["now"],
        serde_json::json!({ "let_in": false, "status": 403, "reason": "not_allowed", "route": "/invoices/*" })
    );
    assert_eq!((&json["then"]["reason"], &json["untold"]), (&"not_allowed".into(), &serde_json::json!([])));
    let rules: Vec<_> = json["steps"].as_array().unwrap().iter().filter_map(|step| step["rule"].as_str()).collect();
    assert_eq!(rules, ["does_not_match"; 3]);
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

/// The steps that compare a rule, and the verdicts, of a request of the log.
fn of_log(folder: &TempDir, config: &str, line: &Value) -> (Vec<String>, Value) {
    std::fs::write(folder.path().join("now.toml"), config).unwrap();
    std::fs::write(folder.path().join("one.json"), format!("{line}\n")).unwrap();
    let all = ["explain", "-c", "now.toml", "--log", "one.json", "--request-id", "r", "--output", "json"];
    let output = gateway(folder, &all);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let then = line["reason"].is_null();
    assert_eq!(output.status.code(), Some(i32::from(!then)), "the exit code tells what came of it then: {json}");
    let rules = json["steps"].as_array().unwrap().iter().filter(|step| !step["rule"].is_null());
    let rules = rules.map(|step| format!("{} {}", step["step"].as_str().unwrap(), step["text"].as_str().unwrap()));
    (rules.collect(), json)
}

fn with_rules(rules: &str) -> String {
    format!("{}[[route]]\npath = \"/r/*\"\nrespond = {{}}\n{rules}\n", CONFIG)
}

fn refused_line() -> Value {
    serde_json::json!({
        "event": "request", "time": "2026-01-01T00:00:00.000Z", "request_id": "r", "sni": "localhost",
        "client_verify": "SUCCESS", "client_subject": "CN=Ann\\, B\\C3\\A9,2.5.4.97=#0C0750534444452D31,OU=Ops",
        "client_serial": "0AFF", "client_sha256": "ab".repeat(32),
        "client_san": "DNS:a.example,URI:urn:x%2Cy,EMAIL:ann@example.com,IP:2001:db8::1",
        "method": "GET", "host": "localhost:8443", "path": "/r/1", "protocol": "HTTP/1.1", "route": "/r/*",
        "status": 403, "reason": "not_allowed",
    })
}

#[test]
fn a_rule_is_compared_with_what_the_log_has_and_what_it_has_not_is_said() {
    let folder = folder();
    let line = refused_line();
    for (rule, word, text) in [
        ("san_dns = \"*.example\"", "matches", "matches"),
        ("san_uri = \"urn:x,y\"", "matches", "matches"),
        ("san_email = \"*@example.com\", san_ip = \"2001:db8::/32\"", "matches", "matches"),
        ("subject_cn = \"Ann, B\u{e9}\"", "matches", "matches"),
        ("subject_organization_identifier = \"PSDDE-1\", subject_ou = \"Ops\"", "matches", "matches"),
        ("sha256 = \"abababababababababababababababababababababababababababababababab\"", "matches", "matches"),
        ("subject_cn = \"Ann\"", "does_not_match", "does not match (subject_cn: the certificate has \"Ann, B\u{e9}\")"),
        (
            "issuer_cn = \"Some CA\", san_dns = \"b.example\"",
            "does_not_match",
            "does not match (san_dns: the certificate has \"a.example\")",
        ),
        (
            "issuer_cn = \"Some CA\", san_dns = \"a.example\"",
            "not_told",
            "the log does not tell (issuer_cn is not in it)",
        ),
        ("policy_oid = \"1.2.3\"", "not_told", "the log does not tell (policy_oid is not in it)"),
        (
            "public_key_sha256 = \"abababababababababababababababababababababababababababababababab\"",
            "not_told",
            "the log does not tell (public_key_sha256 is not in it)",
        ),
    ] {
        let (rules, json) = of_log(&folder, &with_rules(&format!("allow = [{{ {rule} }}]")), &line);
        assert!(rules.len() == 1 && rules[0].starts_with("allow {") && rules[0].ends_with(text), "{rule}: {rules:?}");
        let steps = json["steps"].as_array().unwrap();
        assert!(steps.iter().any(|step| step["rule"] == word), "{rule}: {json}");
        let now = &json["now"];
        match word {
            "matches" => assert_eq!((&now["let_in"], &now["status"]), (&true.into(), &200.into()), "{rule}"),
            "does_not_match" => assert_eq!(now["reason"], "not_allowed", "{rule}"),
            _ => {
                assert!(now.is_null(), "{rule}: {now}");
                assert_eq!(json["untold"], serde_json::json!([rule.split(' ').next().unwrap()]), "{rule}");
                assert!(json["mend"].as_str().unwrap().contains("--cert"), "{json}");
            }
        }
        assert_eq!((&json["then"]["reason"], &json["reason"]), (&"not_allowed".into(), &"not_allowed".into()));
    }
    // One rule that is known settles it, whatever the others are.
    for (rules, reason) in [
        ("allow = [{ issuer_cn = \"x\" }, { san_dns = \"a.example\" }]", Value::Null),
        ("deny = [{ issuer_cn = \"x\" }, { san_dns = \"a.example\" }]", "not_allowed".into()),
        ("deny = [{ issuer_cn = \"x\" }]\nallow = [{ san_dns = \"b.example\" }]", "not_allowed".into()),
    ] {
        let (_, json) = of_log(&folder, &with_rules(rules), &line);
        assert_eq!(json["now"]["reason"], reason, "{rules}: {json}");
        assert_eq!(json["now"]["route"], "/r/*", "{rules}");
    }
}

#[test]
fn what_the_log_cut_short_is_not_told() {
    let folder = folder();
    let cut = |key: &str, text: String| {
        let mut line = refused_line();
        assert_eq!(text.len(), 1024, "{key}");
        line[key] = text.into();
        line
    };
    let names = |first: &str| format!("{first},DNS:{}", "x".repeat(1024))[..1024].to_owned();
    let known = cut("client_san", names("DNS:a.example"));
    let (_, json) = of_log(&folder, &with_rules("allow = [{ san_dns = \"a.example\" }]"), &known);
    assert_eq!(json["now"]["status"], 200, "what stands whole before the cut is known: {json}");
    let (rules, json) = of_log(&folder, &with_rules("allow = [{ san_dns = \"b.example\" }]"), &known);
    assert!(rules[0].ends_with("the log does not tell (san_dns: it is cut short after \"a.example\")"), "{rules:?}");
    assert!(json["now"].is_null(), "{json}");
    let one = cut("client_san", names("URI:spiffe://td.example/a"));
    let (rules, _) = of_log(&folder, &with_rules("allow = [{ spiffe = \"spiffe://td.example/a\" }]"), &one);
    assert!(rules[0].contains("the log does not tell"), "another URI may follow: {rules:?}");
    let two = cut("client_san", names("URI:spiffe://td.example/a,URI:urn:b"));
    let (rules, _) = of_log(&folder, &with_rules("allow = [{ spiffe = \"spiffe://td.example/a\" }]"), &two);
    assert!(rules[0].contains("does not match"), "{rules:?}");

    let subject = |first: &str| format!("{first},O={}", "x".repeat(1024))[..1024].to_owned();
    let line = cut("client_subject", subject("CN=Ann,OU=Ops"));
    for (rule, word) in [
        ("subject_ou = \"Ops\"", "matches"),
        ("subject_cn = \"Bob\"", "the log does not tell"),
        ("subject_o = \"x\"", "the log does not tell"),
    ] {
        let (rules, _) = of_log(&folder, &with_rules(&format!("allow = [{{ {rule} }}]")), &line);
        assert!(rules[0].contains(word), "{rule}: {rules:?}");
    }

    let rules = with_rules("allow = [{ san_dns = \"b.example\" }]");
    for (key, text) in [
        ("path", format!("/r/{}", "x".repeat(2045))),
        ("host", format!("{}.example", "x".repeat(250))),
        ("method", "X".repeat(64)),
    ] {
        let mut line = refused_line();
        line[key] = text.into();
        let (compared, json) = of_log(&folder, &rules, &line);
        assert_eq!((&json["now"], &json["untold"]), (&Value::Null, &serde_json::json!([key])), "{json}");
        assert_eq!(compared.len(), 1, "the rules of the log's route are compared: {json}");
    }
    let mut line = refused_line();
    line.as_object_mut().unwrap().remove("client_san");
    let (compared, _) = of_log(&folder, &rules, &line);
    assert!(compared[0].ends_with("the log does not tell (san_dns is not in it)"), "{compared:?}");
    line["client_san"] = Value::Null;
    let (compared, _) = of_log(&folder, &rules, &line);
    assert!(compared[0].ends_with("does not match (san_dns: the certificate has nothing)"), "{compared:?}");
    line["client_san"] = "RID:1.2.3".into();
    let (compared, _) = of_log(&folder, &rules, &line);
    assert!(compared[0].contains("the log does not tell"), "what nobody wrote is nothing: {compared:?}");
}

#[test]
fn the_log_says_what_was_and_the_configuration_what_is() {
    let folder = folder();
    let allowed = with_rules("allow = [{ san_dns = \"a.example\" }]");
    let with = |changes: &[(&str, Value)]| {
        let mut line = refused_line();
        changes.iter().for_each(|(key, value)| line[*key] = value.clone());
        line
    };
    let (_, json) = of_log(&folder, &allowed, &refused_line());
    assert_eq!(json["mend"], "the configuration lets it in now", "{json}");
    for (changes, status, reason) in [
        (vec![("path", "/invoices/1".into()), ("client_san", "DNS:c.test".into())], 403, "not_allowed"),
        (vec![("path", "/a/../invoices/1".into())], 400, "ambiguous_path"),
        (vec![("path", "/invoices/1".into()), ("method", "PUT".into())], 405, "method_not_allowed"),
        (vec![("client_verify", "FAILED:expired".into())], 403, "expired"),
        (vec![("client_verify", "NONE".into()), ("client_sha256", Value::Null)], 403, "certificate_missing"),
        (vec![("host", "a b".into()), ("status", 400.into()), ("reason", "bad_host".into())], 400, "bad_host"),
        (vec![("path", "".into()), ("method", "CONNECT".into())], 405, "method_not_allowed"),
    ] {
        let (_, json) = of_log(&folder, &allowed, &with(&changes));
        assert_eq!((&json["now"]["status"], &json["now"]["reason"]), (&status.into(), &reason.into()), "{changes:?}");
        assert!(json["mend"].is_string(), "{json}");
    }
    let options = [("path", "*".into()), ("method", "OPTIONS".into()), ("status", 204.into()), ("reason", Value::Null)];
    let (_, json) = of_log(&folder, &allowed, &with(&options));
    assert_eq!(
        (&json["now"]["status"], &json["now"]["reason"], &json["mend"]),
        (&204.into(), &Value::Null, &Value::Null)
    );
    // An upstream's fault is none of the gate's.
    let (_, json) = of_log(&folder, &allowed, &with(&[("status", 502.into()), ("reason", "upstream_reset".into())]));
    assert_eq!((&json["now"]["status"], &json["then"]["status"]), (&200.into(), &502.into()));
    assert!(json["mend"].as_str().unwrap().contains("troubleshooting"), "{json}");
    // A request that was let in, and would not be any more.
    let (_, json) = of_log(
        &folder,
        &CONFIG.replace("path = \"/*\"", "path = \"/else/*\""),
        &with(&[("status", 200.into()), ("reason", Value::Null)]),
    );
    assert_eq!((&json["then"]["let_in"], &json["now"]["reason"]), (&true.into(), &"no_route".into()), "{json}");

    std::fs::write(folder.path().join("denied.txt"), "0a:ff\n").unwrap();
    let denying = allowed.replace("[client_auth]\n", "[client_auth]\ndeny_list = \"denied.txt\"\n");
    for list in ["0a:ff\n".to_owned(), format!("sha256:{}\n", "AB".repeat(32))] {
        std::fs::write(folder.path().join("denied.txt"), list).unwrap();
        let (_, json) = of_log(&folder, &denying, &refused_line());
        assert_eq!(json["now"]["reason"], "revoked", "{json}");
    }
    let (_, json) = of_log(&folder, &denying, &with(&[("client_verify", "FAILED:expired".into())]));
    assert_eq!(json["now"]["reason"], "expired", "the first reason is told: {json}");

    let profile = format!(
        "{allowed}[[tls.sni]]\nnames = [\"other.example.com\"]\ncertificate = \"certs/server.crt\"\n\
         private_key = \"certs/server.key\"\n"
    );
    let (_, json) = of_log(&folder, &profile, &with(&[("sni", "other.example.com".into())]));
    assert_eq!((&json["now"]["status"], &json["now"]["reason"]), (&421.into(), &"misdirected".into()), "{json}");
    let (_, json) =
        of_log(&folder, &profile, &with(&[("sni", "other.example.com".into()), ("host", "OTHER.example.com".into())]));
    assert_eq!(json["now"]["status"], 200, "{json}");

    let output = gateway(&folder, &["explain", "-c", "now.toml", "--log", "one.json", "--request-id", "r"]);
    let said = stdout(&output);
    for line in [
        "=>  then: 403 not_allowed",
        "=>  now: let in: 200",
        "-   log          2026-01-01T00:00:00.000Z: 403 not_allowed",
    ] {
        assert!(said.lines().any(|other| other == line), "{line} in\n{said}");
    }
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
        assert!(stderr(&output).contains("Write it again: openssl"), "{}", stderr(&output));
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
