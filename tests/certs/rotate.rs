//! `rotate-ca`: from one CA to the next, with everybody in some stage of moving.

use std::fs;

use super::support::{Sandbox, tool};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn state_of(sandbox: &Sandbox, name: &str) -> Vec<String> {
    sandbox.states().into_iter().filter(|row| row.0 == name).map(|row| row.1).collect()
}

/// Whether OpenSSL takes this certificate, with the chain in its file, by this trust anchor.
fn takes(sandbox: &Sandbox, anchor: &str, file: &str) -> Option<bool> {
    let arguments = ["verify", "-x509_strict", "-CAfile", anchor, "-untrusted", file, file];
    tool("openssl", &sandbox.path(""), &arguments).map(|ran| ran.code == 0)
}

#[test]
fn nobody_is_refused_from_the_first_step_to_the_last() {
    for kind in ["p256", "rsa2048", "ed25519"] {
        let sandbox = Sandbox::new();
        sandbox.succeed(["init", "--key-type", kind]);
        sandbox.succeed(["server"]);
        for name in ["a", "b", "gone"] {
            sandbox.succeed(["client", "--name", name]);
        }
        sandbox.succeed(["revoke", "gone"]);
        sandbox.write("old.crt", sandbox.read("certs/ca.crt"));
        fs::create_dir(sandbox.path("old")).unwrap();
        fs::copy(sandbox.path("certs/server.crt"), sandbox.path("old/server.crt")).unwrap();

        let said = sandbox.succeed(["rotate-ca"]);
        assert!(said.out.contains("step 1 of 3 is done") && said.err.is_empty(), "{said:?}");
        assert_eq!(sandbox.chain("certs/ca.crt").len(), 3, "the new CA, the same signed by the old one, the old one");
        assert_eq!(sandbox.mode("certs/previous.key"), 0o600);
        for name in ["a", "b", "server"] {
            assert_eq!(state_of(&sandbox, name), ["previous_ca"]);
            assert!(sandbox.succeed(["verify", name]).out.starts_with("OK"), "{name} is still trusted");
        }
        // Who is new is taken by who has the old ca.crt alone, and the other way round.
        sandbox.succeed(["client", "--name", "new"]);
        let Some(taken) = takes(&sandbox, "old.crt", "certs/clients/new.crt") else { return };
        assert!(taken, "{kind}: by the cross-signed certificate");
        assert!(sandbox.succeed(["verify", "new", "--ca", "old.crt"]).out.starts_with("OK"));
        assert_eq!(takes(&sandbox, "certs/ca.crt", "old/server.crt"), Some(true));
        assert_eq!(takes(&sandbox, "certs/ca.crt", "certs/clients/new.crt"), Some(true));

        // Both CAs revoke.
        sandbox.succeed(["revoke", "a", "new"]);
        for (name, revoked) in [("a", true), ("b", false), ("new", true), ("gone", true)] {
            let file = format!("certs/clients/{name}.crt");
            let check = ["verify", "-crl_check", "-CRLfile", "certs/ca.crl", "-CAfile", "certs/ca.crt", &file];
            let Some(ran) = tool("openssl", &sandbox.path(""), &check) else { return };
            assert_eq!(ran.err.contains("certificate revoked"), revoked, "{name}: {ran:?}");
            assert_eq!(ran.code == 0, !revoked, "{name}: {ran:?}");
        }

        let told = json(&sandbox.succeed(["rotate-ca", "--output", "json"]).out);
        let left: Vec<_> = told["remaining"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
        assert_eq!((told["step"].as_str(), left), (Some("under_way"), vec!["server".into(), "b".into()]));
        let ran = sandbox.refuse(1, ["rotate-ca", "--finish"]);
        assert!(ran.error().contains("2 certificates are still under the old CA"), "{ran:?}");

        sandbox.succeed(["renew", "--previous-ca"]);
        assert!(sandbox.succeed(["rotate-ca"]).out.contains("next: gateway certs rotate-ca --finish"));
        sandbox.succeed(["rotate-ca", "--finish"]);
        assert_eq!(sandbox.chain("certs/ca.crt").len(), 1);
        assert!(!sandbox.path("certs/previous.key").exists() && !sandbox.path("certs/previous.crt").exists());
        for name in ["b", "server"] {
            assert!(sandbox.succeed(["verify", name]).out.starts_with("OK"));
        }
        assert_eq!(takes(&sandbox, "certs/ca.crt", "old/server.crt"), Some(false));
        assert_eq!(takes(&sandbox, "certs/ca.crt", "certs/server.crt"), Some(true));
        assert_eq!(
            sandbox.refuse(2, ["rotate-ca", "--finish"]).error(),
            "error: no rotation is under way; one begins with: gateway certs rotate-ca"
        );
        sandbox.succeed(["client", "--name", "after"]);
        assert_eq!(sandbox.chain("certs/clients/after.crt").len(), 1);
    }
}

#[test]
fn a_rotation_is_not_begun_twice_and_force_leaves_the_rest_behind() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    sandbox.succeed(["rotate-ca", "--cn", "Next CA", "--key-type", "p384", "--days", "100"]);
    let before = sandbox.snapshot();
    assert!(sandbox.succeed(["rotate-ca"]).out.contains("still under the old CA: client client-1"));
    assert_eq!(sandbox.snapshot(), before);
    sandbox.refuse(2, ["rotate-ca", "--name-constraints", "dns:example.com"]);
    assert!(sandbox.refuse(2, ["rotate-ca", "--cn", "Another"]).error().contains("under way"));
    let said = sandbox.succeed(["rotate-ca", "--finish", "--force"]).out;
    assert!(said.contains("is dropped"), "{said}");
    assert_eq!(state_of(&sandbox, "client-1"), ["orphaned"]);
    assert!(sandbox.succeed(["show", "ca"]).out.contains("CN=Next CA"));
}

/// Killed after the index was written: whichever files are in their places, the next command ends it.
#[test]
fn a_rotation_that_was_killed_is_finished_by_the_next_command() {
    let files = ["previous.key", "ca.key", "previous.crt", "ca.crl", "ca.crt"];
    for renamed in 0..files.len() {
        let sandbox = Sandbox::with_authority();
        sandbox.succeed(["client"]);
        let old: Vec<_> =
            ["ca.crt", "ca.key", "ca.crl"].map(|file| (file, sandbox.read(&format!("certs/{file}")))).into();
        sandbox.succeed(["rotate-ca"]);
        let after: Vec<_> = files.map(|file| sandbox.read(&format!("certs/{file}"))).into();
        for file in &files[renamed..] {
            fs::rename(sandbox.path(&format!("certs/{file}")), sandbox.path(&format!("certs/.{file}.staged"))).unwrap();
            if let Some((_, contents)) = old.iter().find(|(name, _)| name == file) {
                sandbox.write(&format!("certs/{file}"), contents);
            }
        }
        sandbox.succeed(["client", "--name", "next"]);
        for (file, contents) in files.iter().zip(after) {
            assert_eq!(sandbox.read(&format!("certs/{file}")), contents, "{file} after {renamed} renames");
        }
        assert_eq!(state_of(&sandbox, "client-1"), ["previous_ca"]);
        assert_eq!(state_of(&sandbox, "next"), ["valid"]);
    }
}

#[test]
fn a_ca_below_moves_over_with_its_key_and_its_limits() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["intermediate", "--name", "i", "--name-constraints", "dns:example.com"]);
    let folder = "certs/intermediates/i";
    sandbox.succeed(["--dir", folder, "client", "--name", "a.example.com"]);
    sandbox.write("old.crt", sandbox.read("certs/ca.crt"));
    sandbox.succeed(["rotate-ca"]);
    assert_eq!(state_of(&sandbox, "i"), ["previous_ca"]);
    sandbox.refuse(1, ["rotate-ca", "--finish"]);
    let key = sandbox.read(&format!("{folder}/ca.key"));
    let ran = sandbox.succeed(["renew", "--previous-ca"]);
    assert!(ran.err.contains("renew it in certs/intermediates/i as well"), "{ran:?}");
    assert_eq!(sandbox.read(&format!("{folder}/ca.key")), key);
    assert_eq!(state_of(&sandbox, "i"), ["replaced", "valid"]);
    sandbox.succeed(["--dir", folder, "renew", "a.example.com"]);
    let client = format!("{folder}/clients/a.example.com.crt");
    for anchor in ["old.crt", "certs/ca.crt"] {
        let Some(taken) = takes(&sandbox, anchor, &client) else { return };
        assert!(taken, "by {anchor}");
        assert!(sandbox.succeed(["verify", &client, "--ca", anchor]).out.starts_with("OK"));
    }
    sandbox.succeed(["rotate-ca", "--finish"]);
    assert_eq!(takes(&sandbox, "certs/ca.crt", &client), Some(true));
    sandbox.refuse(2, ["--dir", folder, "client", "--name", "b.example.org"]);
    sandbox.succeed(["--dir", folder, "client", "--name", "b.example.com"]);
}

#[test]
fn other_trust_anchors_stay_and_a_half_done_end_is_ended() {
    let (sandbox, partner) = (Sandbox::with_authority(), Sandbox::with_authority());
    let anchors = [sandbox.read("certs/ca.crt"), partner.read("certs/ca.crt")].concat();
    sandbox.write("certs/ca.crt", anchors);
    sandbox.succeed(["rotate-ca"]);
    assert!(sandbox.refuse(2, ["init", "--force"]).error().contains("is being replaced already"));
    let key = sandbox.read("certs/previous.key");
    sandbox.succeed(["rotate-ca", "--finish"]);
    let chain = sandbox.chain("certs/ca.crt");
    assert_eq!((chain.len(), &chain[1]), (2, &partner.chain("certs/ca.crt")[0]));
    // Killed before the key was removed.
    sandbox.write("certs/previous.key", key);
    sandbox.succeed(["client"]);
    assert!(!sandbox.path("certs/previous.key").exists());
}

#[test]
fn a_ca_below_another_and_one_with_constraints_say_what_to_do() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["intermediate", "--name", "i"]);
    let ran = sandbox.refuse(2, ["--dir", "certs/intermediates/i", "rotate-ca"]);
    assert!(ran.error().contains("gateway certs intermediate"), "{ran:?}");
    sandbox.succeed(["rotate-ca"]);
    assert_eq!(state_of(&sandbox, "i"), ["previous_ca"]);

    let constrained = Sandbox::new();
    constrained.succeed(["init", "--name-constraints", "dns:example.com"]);
    assert!(constrained.refuse(2, ["rotate-ca"]).error().contains("--name-constraints"));
    constrained.succeed(["rotate-ca", "--name-constraints", "dns:example.com"]);
    constrained.succeed(["server", "--name", "example.com"]);
}
