//! Whether a certificate would be accepted: `verify` for both sides, and the library for the server's.

use std::fs;

use mtls_gateway::clock::{Clock, WallTime};
use mtls_gateway::identity::Reason;
use mtls_gateway::pki::{
    Authority, AuthorityProfile, KeyType, LeafProfile, Overwrite, PrivateKey, ServerProblem, ServerRequest, Subject,
    Usage, Validity, certificates, parse_server_name, verify_server,
};
use rustls_pki_types::CertificateDer;

use super::support::{Sandbox, between};

fn now() -> WallTime {
    Clock::system().now()
}

fn authority(validity: Validity) -> Authority {
    let profile = AuthorityProfile::new(Subject::named("Test CA".parse().unwrap()), validity);
    Authority::create(&profile, PrivateKey::generate(KeyType::EcdsaP256).unwrap(), now()).unwrap()
}

fn issued(authority: &Authority, change: impl FnOnce(&mut LeafProfile)) -> CertificateDer<'static> {
    let mut profile = LeafProfile {
        usage: Usage::Server,
        subject: Subject::named("server".parse().unwrap()),
        names: ["localhost", "*.example.com", "127.0.0.1", "::1"].map(|name| parse_server_name(name).unwrap()).to_vec(),
        validity: Validity::Days(9),
    };
    change(&mut profile);
    authority.issue(&profile, &PrivateKey::generate(KeyType::EcdsaP256).unwrap(), now()).unwrap().der
}

#[test]
fn a_server_certificate_is_judged_as_its_clients_would() {
    let sound = authority(Validity::Days(30));
    let stranger = authority(Validity::Days(30));
    let refused = |reason| Err(ServerProblem::Refused(reason));
    let cases = [
        ("sound", issued(&sound, |_| ()), &sound, Ok(())),
        ("a client's", issued(&sound, |leaf| leaf.usage = Usage::Client), &sound, refused(Reason::WrongUsage)),
        ("of another key", issued(&stranger, |_| ()), &sound, refused(Reason::BadSignature)),
        ("the CA itself", sound.certificate().clone(), &sound, refused(Reason::WrongUsage)),
        ("nameless", issued(&sound, |leaf| leaf.names.clear()), &sound, Err(ServerProblem::Nameless)),
        ("garbage", CertificateDer::from(vec![0x30, 0]), &sound, refused(Reason::Malformed)),
        (
            "of a whole top-level domain",
            issued(&sound, |leaf| leaf.names = vec![parse_server_name("*.example").unwrap()]),
            &sound,
            Err(ServerProblem::UnusableName("any.example".to_owned())),
        ),
    ];
    for (what, leaf, anchor, expected) in cases {
        let verdict = verify_server(&[leaf], &[anchor.certificate().clone()], now());
        assert_eq!(verdict, expected, "{what}");
    }
}

#[test]
fn time_counts_for_the_leaf_and_for_the_ca_above_it() {
    let day = |days: i64| WallTime::from_unix_seconds(now().unix_seconds() + days * 86_400);
    let authority = authority(between(-30, 30));
    let leaf = issued(&authority, |leaf| leaf.validity = between(-5, 5));
    let other_ca = |from, to| {
        // The same CA with another life: same name, same key.
        let profile = AuthorityProfile::new(Subject::named("Test CA".parse().unwrap()), between(from, to));
        let key = PrivateKey::from_pem(authority.key().pem().as_bytes()).unwrap();
        Authority::create(&profile, key, now()).unwrap().certificate().clone()
    };
    let cases = [
        (authority.certificate().clone(), 0, None),
        (authority.certificate().clone(), 6, Some(Reason::Expired)),
        (authority.certificate().clone(), -6, Some(Reason::NotYetValid)),
        (other_ca(-30, -1), 0, Some(Reason::Expired)),
    ];
    for (anchor, days, expected) in cases {
        let verdict = verify_server(std::slice::from_ref(&leaf), &[anchor], day(days));
        assert_eq!(verdict, expected.map_or(Ok(()), |reason| Err(ServerProblem::Refused(reason))), "day {days}");
    }
    assert_eq!(verify_server(&[leaf], &[], now()), Err(ServerProblem::Refused(Reason::UnknownIssuer)));
    assert_eq!(verify_server(&[], &[], now()), Err(ServerProblem::Refused(Reason::CertificateMissing)));
}

#[test]
fn what_the_store_issues_verifies() {
    let sandbox = Sandbox::with_authority();
    let store = sandbox.store();
    let issued = store.issue_server(&ServerRequest::new(Vec::new()), Overwrite::Refuse).unwrap();
    let chain = certificates(&fs::read(issued.certificate).unwrap()).unwrap();
    let anchors = certificates(&fs::read(store.authority_certificate()).unwrap()).unwrap();
    assert_eq!(verify_server(&chain, &anchors, now()), Ok(()));
}

#[test]
fn every_problem_has_a_word_and_a_sentence() {
    let refused = Reason::ALL.map(ServerProblem::Refused);
    for problem in refused.into_iter().chain([ServerProblem::Nameless, ServerProblem::UnusableName("x".to_owned())]) {
        assert!(problem.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        let sentence = problem.to_string();
        assert!(sentence.ends_with('.') && sentence.starts_with(char::is_uppercase), "{sentence}");
    }
}

#[test]
fn verify_says_ok_or_the_reason_and_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.init_between(-30, 300);
    sandbox.succeed(["server"]);
    sandbox.succeed(["client"]);
    for (name, from, to) in [("old", -20, -10), ("early", 10, 20)] {
        let mut request = mtls_gateway::pki::ClientRequest::new(name.parse().unwrap());
        request.validity = between(from, to);
        sandbox.store().issue_client(&request, Overwrite::Refuse).unwrap();
    }
    let other = Sandbox::with_authority();
    let other_ca = other.path("certs/ca.crt").display().to_string();
    sandbox.write("copy.der", &sandbox.chain("certs/server.crt")[0]);
    sandbox.write("garbage.der", [0x30, 0]);

    let cases: [(&[&str], i32, &str); 13] = [
        (&["client-1"], 0, "OK: certs/clients/client-1.crt (CN=client-1) is good for a client under certs/ca.crt"),
        (&["certs/clients/client-1.crt"], 0, "OK: "),
        (&["server"], 0, "OK: certs/server.crt (CN=localhost) is good for a server"),
        (&["copy.der"], 0, "OK: copy.der (CN=localhost) is good for a server"),
        (&["server", "--purpose", "client"], 1, "wrong_usage: The certificate is not meant for client authentication."),
        (&["client-1", "--purpose", "server"], 1, "wrong_usage: The certificate is not meant for a server"),
        (&["old"], 1, "expired: "),
        (&["early"], 1, "not_yet_valid: "),
        (&["client-1", "--ca", &other_ca], 1, "unknown_issuer: "),
        (&["server", "--ca", &other_ca], 1, "unknown_issuer: No trusted CA is above it"),
        (&["ca"], 1, "wrong_usage: "),
        (&["garbage.der"], 1, "malformed: "),
        (&["garbage.der", "--purpose", "server"], 1, "malformed: "),
    ];
    for (arguments, code, expected) in cases {
        let ran = sandbox.refuse(code, [&["verify"], arguments].concat());
        assert!(ran.out.starts_with(expected), "{arguments:?}: {ran:?}");
    }
    let told = sandbox.refuse(1, ["verify", "old", "--output", "json"]).out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((told["ok"].as_bool(), told["reason"].as_str()), (Some(false), Some("expired")));
}

#[test]
fn verify_needs_a_certificate_and_a_ca() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    sandbox.write("garbage", "nothing of the kind");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["nowhere"], 2, "nowhere"),
        (&["garbage"], 1, "garbage holds no certificate"),
        (&["certs/ca.key"], 1, "certs/ca.key holds no certificate"),
        (&["client-1", "--ca", "garbage"], 2, "garbage"),
        (&["client-1", "--ca", "nowhere"], 2, "cannot read nowhere"),
    ];
    for (arguments, code, expected) in cases {
        let ran = sandbox.refuse(code, [&["verify"], arguments].concat());
        assert!(ran.error().contains(expected), "{arguments:?}: {ran:?}");
    }
}
