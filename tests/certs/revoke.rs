//! `revoke` and `crl`: what is on the list stays on it, and other programs believe it.

use super::support::{Ran, Sandbox, tool};

/// Whether OpenSSL takes a client's certificate with the list as it lies there.
fn openssl_takes(sandbox: &Sandbox, client: &str) -> Option<Ran> {
    let client = format!("clients/{client}.crt");
    let arguments =
        ["verify", "-x509_strict", "-crl_check", "-CRLfile", "ca.crl", "-CAfile", "ca.crt", client.as_str()];
    tool("openssl", &sandbox.path("certs"), &arguments)
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn openssl_refuses_who_was_revoked_and_takes_the_others() {
    let sandbox = Sandbox::with_authority();
    for name in ["a", "b", "c"] {
        sandbox.succeed(["client", "--name", name]);
    }
    let said = sandbox.succeed(["revoke", "a", "b", "--reason", "key-compromise"]);
    assert!(said.out.contains("revoked a  CN=a, serial ") && said.out.contains("list 2 of CN=gateway CA "), "{said:?}");
    for (client, revoked) in [("a", true), ("b", true), ("c", false)] {
        let Some(ran) = openssl_takes(&sandbox, client) else { return };
        assert_eq!(ran.err.contains("certificate revoked"), revoked, "{ran:?}");
        assert_eq!(ran.code == 0, !revoked, "{ran:?}");
    }
    let arguments = ["crl", "-noout", "-text", "-in", "ca.crl"];
    let Some(ran) = tool("openssl", &sandbox.path("certs"), &arguments) else { return };
    assert_eq!(ran.out.matches("Key Compromise").count(), 2, "{}", ran.out);
    let states = sandbox.states().into_iter().filter(|row| row.1 == "revoked").count();
    assert_eq!(states, 2);
}

#[test]
fn verify_says_who_was_revoked() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    sandbox.write("young.crl", sandbox.read("certs/ca.crl"));
    sandbox.succeed(["revoke", "client-1", "--reason", "key-compromise"]);
    let ran = sandbox.refuse(1, ["verify", "client-1"]);
    assert!(ran.out.starts_with("revoked: It was revoked at ") && ran.out.contains("(key-compromise)"), "{ran:?}");
    sandbox.refuse(1, ["verify", "client-1", "--ca", "certs/ca.crt", "--crl", "certs/ca.crl"]);
    sandbox.succeed(["verify", "client-1", "--crl", "young.crl"]);
    sandbox.refuse(2, ["verify", "client-1", "--crl", "nowhere"]);
}

#[test]
fn a_certificate_is_known_by_its_name_its_serial_number_or_its_file() {
    let sandbox = Sandbox::with_authority();
    for name in ["a", "b", "c"] {
        sandbox.succeed(["client", "--name", name]);
    }
    let index = sandbox.index();
    let serial = index["certificates"][2]["serial"].as_str().unwrap();
    let pairs: Vec<&str> = (0..16).map(|byte| &serial[byte * 2..byte * 2 + 2]).collect();
    sandbox.write("elsewhere.der", &sandbox.chain("certs/clients/c.crt")[0]);
    let told =
        json(&sandbox.succeed(["revoke", "a", &pairs.join(":").to_lowercase(), "elsewhere.der", "--output=json"]));
    let names: Vec<_> = told["revoked"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(told["crl"]["signed"][0]["number"], 2);
    assert_eq!(told["crl"]["signed"][0]["revoked"], 3);
}

#[test]
fn a_name_stands_for_all_of_its_certificates_that_could_be_used() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    sandbox.succeed(["client", "--force"]);
    let told = json(&sandbox.succeed(["revoke", "client-1", "--output", "json"]));
    assert_eq!(told["revoked"].as_array().unwrap().len(), 2);

    let told = json(&sandbox.succeed(["revoke", "client-1", "--reason", "superseded", "--output", "json"]));
    assert_eq!(told["revoked"].as_array().unwrap().len(), 0);
    assert_eq!(told["already_revoked"].as_array().unwrap().len(), 2);
    assert_eq!(told["already_revoked"][0]["revocation_reason"], "unspecified", "what was told once stays told");
    assert_eq!(told["crl"]["signed"], serde_json::json!([]));
}

#[test]
fn what_cannot_be_revoked_is_said_and_nothing_is() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    sandbox.succeed(["client", "--name", "server"]);
    sandbox.succeed(["server"]);
    let other = Sandbox::with_authority();
    other.succeed(["client"]);
    sandbox.write("foreign.crt", other.read("certs/clients/client-1.crt"));
    sandbox.write("garbage", "nothing");
    for (what, message) in [
        ("nobody", "nobody is no name and no serial number"),
        ("0badcafe", "is no name and no serial number"),
        ("ca", "cannot revoke itself"),
        ("server", "several kinds"),
        ("foreign.crt", "was not issued by the CA in this folder"),
        ("garbage", "holds no certificate"),
    ] {
        let ran = sandbox.refuse(2, ["revoke", "client-1", what]);
        assert!(ran.error().contains(message), "{ran:?}");
    }
    for reason in ["remove-from-crl", "certificate-hold", "nonsense"] {
        sandbox.refuse(2, ["revoke", "client-1", "--reason", reason]);
    }
}

#[test]
fn a_certificate_that_the_lost_index_knew_is_revoked_by_its_file() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    std::fs::remove_file(sandbox.path("certs/index.json")).unwrap();
    sandbox.succeed(["revoke", "certs/clients/client-1.crt"]);
    assert!(sandbox.states().contains(&("client-1".to_owned(), "revoked".to_owned())));
    let Some(ran) = openssl_takes(&sandbox, "client-1") else { return };
    assert!(ran.err.contains("certificate revoked"), "{ran:?}");
}

#[test]
fn a_new_list_keeps_its_entries_and_its_number_grows() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    sandbox.succeed(["revoke", "client-1"]);
    for (days, number) in [("30", 3), ("7", 4)] {
        let told = json(&sandbox.succeed(["crl", "--days", days, "--output", "json"]));
        assert_eq!(told["signed"][0]["number"], number);
        assert_eq!(told["signed"][0]["revoked"], 1);
    }
    let shown = sandbox.succeed(["show", "crl"]).out;
    assert!(shown.contains("(7 days left)") || shown.contains("(6 days left)"), "{shown}");
    // Losing the list loses nothing that the index knows.
    std::fs::remove_file(sandbox.path("certs/ca.crl")).unwrap();
    assert!(sandbox.succeed(["crl"]).out.contains("list 5 of"));
    let Some(ran) = openssl_takes(&sandbox, "client-1") else { return };
    assert!(ran.err.contains("certificate revoked"), "{ran:?}");
}

#[test]
fn several_at_once_revoke_all_that_they_were_given() {
    let sandbox = Sandbox::with_authority();
    let names: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    for name in &names {
        sandbox.succeed(["client", "--name", name]);
    }
    let running: Vec<_> = names.iter().map(|name| sandbox.command(["revoke", name]).spawn().unwrap()).collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    let told = json(&sandbox.succeed(["crl", "--output", "json"]));
    assert_eq!(told["signed"][0]["revoked"], 6);
}
