//! Several commands at once, and commands that were killed half way.

use std::fs;

use super::support::{Ran, Sandbox};

#[test]
fn eight_at_once_leave_eight_certificates_and_a_whole_index() {
    let sandbox = Sandbox::with_authority();
    let running: Vec<_> = (0..8)
        .map(|number| {
            let mut command = sandbox.command(["client", "--name", &format!("c{number}")]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in running {
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let states = sandbox.states();
    assert_eq!(states.len(), 9);
    assert!(states.iter().all(|(_, state)| state == "valid"), "{states:?}");
}

#[test]
fn of_several_at_once_for_one_name_exactly_one_wins() {
    let sandbox = Sandbox::new();
    for (arguments, file) in [(["init", "--days=9"], "certs/ca.key"), (["server", "--days=8"], "certs/server.key")] {
        let running: Vec<_> = (0..4)
            .map(|_| {
                let mut command = sandbox.command(arguments);
                command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let codes: Vec<i32> =
            running.into_iter().map(|child| Ran::from(child.wait_with_output().unwrap()).code).collect();
        assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 1, "{codes:?}");
        assert_eq!(codes.iter().filter(|&&code| code == 2).count(), 3, "{codes:?}");
        assert!(sandbox.path(file).is_file());
    }
    assert!(sandbox.states().iter().all(|(_, state)| state == "valid"));
}

/// Killed after the index was written and before the files were in their places.
#[test]
fn what_the_index_knows_is_put_in_its_place_by_the_next_command() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client", "--name", "a"]);
    let (key, certificate) = (sandbox.read("certs/clients/a.key"), sandbox.read("certs/clients/a.crt"));
    // Once with both still staged, once with the key already renamed.
    for staged in [&["crt", "key"][..], &["crt"]] {
        for suffix in staged {
            let place = sandbox.path(&format!("certs/clients/a.{suffix}"));
            fs::rename(place, sandbox.path(&format!("certs/clients/.a.{suffix}.staged"))).unwrap();
        }
        assert!(sandbox.states().contains(&("a".to_owned(), "missing".to_owned())));
        let warned = sandbox.succeed(["client", "--name", "b", "--force"]).err;
        assert!(warned.contains("certs/clients/a.crt was put in its place"), "{warned}");
        assert_eq!(sandbox.read("certs/clients/a.key"), key);
        assert_eq!(sandbox.read("certs/clients/a.crt"), certificate);
        assert_eq!(sandbox.mode("certs/clients/a.key"), 0o600);
    }
}

/// Killed before the index was written.
#[test]
fn what_the_index_does_not_know_was_never_issued() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client", "--name", "a"]);
    let foreign = Sandbox::with_authority();
    foreign.succeed(["client", "--name", "a"]);
    for (place, contents) in [
        ("certs/clients/.a.key.staged", foreign.read("certs/clients/a.key")),
        ("certs/clients/.a.crt.staged", foreign.read("certs/clients/a.crt")),
        ("certs/clients/.z.key.staged", foreign.read("certs/clients/a.key")),
        ("certs/.server.crt.staged", b"cut sho".to_vec()),
        ("certs/.index.json.staged", b"{".to_vec()),
    ] {
        sandbox.write(place, contents);
    }
    let before = (sandbox.read("certs/clients/a.key"), sandbox.read("certs/clients/a.crt"));
    sandbox.succeed(["client", "--name", "b"]);
    assert_eq!((sandbox.read("certs/clients/a.key"), sandbox.read("certs/clients/a.crt")), before);
    assert!(!sandbox.files().iter().any(|file| file.ends_with(".staged")), "{:?}", sandbox.files());
}

/// Killed in the middle of the very first command.
#[test]
fn a_ca_whose_init_was_killed_after_the_index_is_finished_not_lost() {
    let sandbox = Sandbox::with_authority();
    for file in ["ca.crt", "ca.key", "ca.crl"] {
        fs::rename(sandbox.path(&format!("certs/{file}")), sandbox.path(&format!("certs/.{file}.staged"))).unwrap();
    }
    let ran = sandbox.run(["init"]);
    assert_eq!(ran.code, 2, "it is there: {ran:?}");
    assert!(sandbox.path("certs/ca.crt").is_file() && sandbox.path("certs/ca.key").is_file());
    sandbox.succeed(["server"]);
}
