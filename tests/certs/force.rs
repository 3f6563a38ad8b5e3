//! Nothing is overwritten without --force, and --force says what it costs.

use mtls_gateway::clock::Clock;
use mtls_gateway::pki::{AuthorityRequest, ClientRequest, Overwrite};
use std::time::Duration;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::support::Sandbox;

fn crl_number(sandbox: &Sandbox) -> u64 {
    let pem = sandbox.read("certs/ca.crl");
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let (_, list) = CertificateRevocationList::from_der(&pem.contents).unwrap();
    u64::try_from(list.crl_number().unwrap()).unwrap()
}

#[test]
fn what_is_there_stays_unless_forced() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["server"]);
    sandbox.succeed(["client"]);
    for (command, file) in [("init", "ca.crt"), ("server", "server.crt"), ("client", "client-1.crt")] {
        let ran = sandbox.refuse(2, [command]);
        assert!(ran.error().contains(file) && ran.error().contains("--force"), "{ran:?}");
    }
}

#[test]
fn one_file_of_a_pair_is_enough_to_be_in_the_way() {
    for (command, file) in [
        ("init", "certs/ca.key"),
        ("init", "certs/ca.crl"),
        ("server", "certs/server.key"),
        ("client", "certs/clients/client-1.key"),
    ] {
        let sandbox = if command == "init" { Sandbox::new() } else { Sandbox::with_authority() };
        sandbox.write(file, "precious");
        assert!(sandbox.refuse(2, [command]).error().contains(file));
    }
}

#[test]
fn a_link_that_leads_nowhere_is_in_the_way_and_is_never_followed() {
    let sandbox = Sandbox::with_authority();
    std::os::unix::fs::symlink(sandbox.path("target"), sandbox.path("certs/server.key")).unwrap();
    assert_eq!(sandbox.run(["server"]).code, 2);
    sandbox.succeed(["server", "--force"]);
    assert!(!sandbox.path("target").exists());
    assert_eq!(sandbox.mode("certs/server.key"), 0o600);
}

#[test]
fn a_forced_client_leaves_the_old_one_in_the_index() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client"]);
    let before = sandbox.read("certs/clients/client-1.crt");
    sandbox.succeed(["client", "--force"]);
    assert_ne!(sandbox.read("certs/clients/client-1.crt"), before);
    let mut states = sandbox.states();
    states.sort();
    let expected = [("ca", "valid"), ("client-1", "replaced"), ("client-1", "valid")];
    assert_eq!(states, expected.map(|(name, state)| (name.to_owned(), state.to_owned())));
}

#[test]
fn a_forced_ca_says_loudly_what_it_costs_and_its_crl_number_grows() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["server"]);
    sandbox.succeed(["client"]);
    let warned = sandbox.succeed(["init", "--force"]).err;
    assert!(warned.contains("certs/ca.crt IS ANOTHER CA NOW") && warned.contains("2 certificates"), "{warned}");
    assert_eq!(crl_number(&sandbox), 2);
    let orphans = sandbox.states().iter().filter(|(_, state)| state == "orphaned").count();
    assert_eq!(orphans, 3, "the old CA, its server and its client");
    sandbox.succeed(["server", "--force"]);
    sandbox.succeed(["client", "--name", "client-2"]);
}

#[test]
fn a_folder_in_a_files_place_is_never_replaced() {
    let sandbox = Sandbox::with_authority();
    std::fs::create_dir_all(sandbox.path("certs/server.crt")).unwrap();
    let ran = sandbox.refuse(2, ["server", "--force"]);
    assert!(ran.error().contains("certs/server.crt"), "{ran:?}");
}

#[test]
fn a_revocation_list_past_half_its_life_is_issued_again() {
    let sandbox = Sandbox::new();
    let (clock, hand) = Clock::adjustable();
    let store = sandbox.store_at(clock);
    store.init(&AuthorityRequest::new(None), Overwrite::Refuse).unwrap();
    let issue = |name: &str| {
        let request = ClientRequest::new(name.parse().unwrap());
        store.issue_client(&request, Overwrite::Refuse).unwrap().files.len()
    };
    hand.advance(Duration::from_secs(180 * 86_400));
    assert_eq!(issue("young"), 2);
    assert_eq!(crl_number(&sandbox), 1);
    hand.advance(Duration::from_secs(4 * 86_400));
    assert_eq!(issue("old"), 3, "certificate, key and list");
    assert_eq!(crl_number(&sandbox), 2);
    assert_eq!(issue("young-again"), 2);
    assert_eq!(sandbox.index()["crl_number"], 2);
}

#[test]
fn a_lost_revocation_list_is_issued_again_with_a_greater_number() {
    let sandbox = Sandbox::with_authority();
    std::fs::remove_file(sandbox.path("certs/ca.crl")).unwrap();
    let said = sandbox.succeed(["client"]).out;
    assert!(said.contains("wrote certs/ca.crl"), "{said}");
    assert_eq!(crl_number(&sandbox), 2);
}
