//! `gateway certs bootstrap`: run again and again, it makes what is missing and leaves alone what is good.

use std::fs;

use mtls_gateway::pki::{ClientRequest, Overwrite, ServerRequest};

use super::support::{Ran, Sandbox, between};

/// Outcome and cause of each step: the CA, the server, the clients.
#[track_caller]
fn outcomes(ran: &Ran) -> Vec<String> {
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let text = |step: &serde_json::Value| match (step["outcome"].as_str().unwrap(), step["why"].as_str()) {
        ("issued", why) => why.unwrap().to_owned(),
        (outcome, why) => {
            assert_eq!(why, None);
            outcome.to_owned()
        }
    };
    answer["certificates"].as_array().unwrap().iter().map(text).collect()
}

fn bootstrap(sandbox: &Sandbox, more: &[&str]) -> Vec<String> {
    outcomes(&sandbox.succeed([&["bootstrap", "--output", "json"], more].concat()))
}

#[test]
fn an_empty_folder_gets_everything_and_keeps_it() {
    let sandbox = Sandbox::new();
    let first = sandbox.succeed(["bootstrap"]);
    assert_eq!(first.err, "");
    let lines: Vec<&str> = first.out.lines().collect();
    assert!(lines[0].starts_with("wrote certs/ca.crt  CN=gateway CA "), "{first:?}");
    assert!(lines[1].starts_with("wrote certs/server.crt  CN=localhost, until "), "{first:?}");
    assert!(lines[2].starts_with("wrote certs/clients/client-1.crt  CN=client-1, until "), "{first:?}");
    assert!(lines[2].ends_with("; why: missing"), "{first:?}");
    assert!(lines[3].starts_with("next: curl --cacert certs/ca.crt --cert certs/clients/client-1.crt"), "{first:?}");
    assert_eq!(sandbox.mode("certs/server.key"), 0o600);
    sandbox.succeed(["verify", "client-1"]);
    sandbox.succeed(["verify", "server"]);

    let before = sandbox.snapshot();
    let second = sandbox.succeed(["bootstrap"]);
    assert_eq!(second.out.matches("kept ").count(), 3, "{second:?}");
    assert_eq!(sandbox.snapshot(), before, "the second run changes nothing");
}

#[test]
fn what_is_asked_for_by_name_is_made() {
    let sandbox = Sandbox::new();
    let asked = ["--server", "api.example.com", "10.0.0.9", "--client", "a", "b", "--days", "7", "--key-type", "p384"];
    assert_eq!(bootstrap(&sandbox, &asked), ["missing"; 4]);
    let facts = |file: &str| mtls_gateway::identity::CertificateFacts::from_der(&sandbox.chain(file)[0]).unwrap();
    assert_eq!(facts("certs/server.crt").san_text(), "DNS:api.example.com,IP:10.0.0.9");
    assert_eq!(facts("certs/clients/b.crt").subject, "CN=b");
    assert_eq!(bootstrap(&sandbox, &asked), ["kept"; 4]);
    // The order and the number of times a name is given say nothing.
    let reordered = ["--server", "10.0.0.9", "api.example.com", "10.0.0.9", "--client", "a"];
    assert_eq!(bootstrap(&sandbox, &reordered), ["kept"; 3]);
    assert_eq!(bootstrap(&sandbox, &["--server", "api.example.com", "--client", "a"]), ["kept", "other_names", "kept"]);
}

#[test]
fn renewing_spares_the_authority() {
    let sandbox = Sandbox::new();
    bootstrap(&sandbox, &[]);
    let (authority, server) = (sandbox.read("certs/ca.crt"), sandbox.read("certs/server.crt"));
    assert_eq!(bootstrap(&sandbox, &["--renew"]), ["kept", "asked", "asked"]);
    assert_eq!(sandbox.read("certs/ca.crt"), authority);
    assert_ne!(sandbox.read("certs/server.crt"), server);
    sandbox.succeed(["verify", "server"]);
}

#[test]
fn what_is_no_longer_good_is_issued_anew() {
    type Harm = fn(&Sandbox);
    let cases: [(&str, Harm, [&str; 3]); 7] = [
        ("a third of its life is left", |sandbox| issue(sandbox, 61, 29), ["kept", "ends_soon", "ends_soon"]),
        ("a little more is left", |sandbox| issue(sandbox, 58, 32), ["kept", "kept", "kept"]),
        ("expired", |sandbox| issue(sandbox, 20, -1), ["kept", "not_valid", "not_valid"]),
        (
            "the key is gone",
            |sandbox| fs::remove_file(sandbox.path("certs/server.key")).unwrap(),
            ["kept", "key_mismatch", "kept"],
        ),
        (
            "the key is another's",
            |sandbox| sandbox.write("certs/clients/client-1.key", sandbox.read("certs/server.key")),
            ["kept", "kept", "key_mismatch"],
        ),
        ("the certificate is garbage", |sandbox| sandbox.write("certs/server.crt", "?"), ["kept", "missing", "kept"]),
        (
            "there is another CA",
            |sandbox| drop(sandbox.succeed(["init", "--force"])),
            ["kept", "not_valid", "not_valid"],
        ),
    ];
    for (what, harm, expected) in cases {
        let sandbox = Sandbox::new();
        bootstrap(&sandbox, &[]);
        harm(&sandbox);
        assert_eq!(bootstrap(&sandbox, &[]), expected, "{what}");
        assert_eq!(bootstrap(&sandbox, &[]), ["kept"; 3], "{what}, the second time");
    }
}

/// Puts certificates in place that are so many days old and live for so many more.
fn issue(sandbox: &Sandbox, age: i64, left: i64) {
    fs::remove_dir_all(sandbox.path("certs")).unwrap();
    sandbox.init_between(-400, 400);
    let store = sandbox.store();
    let mut server = ServerRequest::new(Vec::new());
    server.validity = between(-age, left);
    store.issue_server(&server, Overwrite::Replace).unwrap();
    let mut client = ClientRequest::new("client-1".parse().unwrap());
    client.validity = between(-age, left);
    store.issue_client(&client, Overwrite::Replace).unwrap();
}

#[test]
fn a_broken_authority_is_an_error_and_stays() {
    let sandbox = Sandbox::new();
    bootstrap(&sandbox, &[]);
    sandbox.write("certs/ca.key", sandbox.read("certs/server.key"));
    let refused = sandbox.refuse(2, ["bootstrap", "--renew"]);
    assert!(refused.error().contains("certs/ca.key"), "{refused:?}");

    let lone = Sandbox::new();
    lone.write("certs/ca.key", sandbox.read("certs/server.key"));
    assert!(lone.refuse(2, ["bootstrap"]).error().contains("certs/ca.key"), "a lone key is not overwritten");

    let expired = Sandbox::new();
    expired.init_between(-20, -1);
    assert!(expired.refuse(2, ["bootstrap"]).error().contains("certs/ca.crt"));
}

#[test]
fn two_at_once_agree() {
    let sandbox = Sandbox::new();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = sandbox.command(["bootstrap"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(bootstrap(&sandbox, &[]), ["kept"; 3]);
}
