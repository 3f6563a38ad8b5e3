//! The program as it is called: the demo, the health check, and starts that fail. The real binary, in a fresh folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod explain;

use std::process::{Command, Output};

use tempfile::TempDir;

fn gateway(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.current_dir(folder.path()).args(arguments);
    for (name, _) in std::env::vars() {
        if name.starts_with("GATEWAY_") {
            command.env_remove(name);
        }
    }
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_demo_makes_its_three_requests_and_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let output = gateway(&folder, &["demo", "--once", "--listen", "127.0.0.1:0"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}{}", stderr(&output));
    let answers: Vec<_> = said.lines().filter(|line| line.starts_with(['2', '4', '5'])).collect();
    assert_eq!(answers.len(), 3, "{said}");
    assert_eq!(answers[0], "200 OK");
    assert!(answers[1].starts_with("403 {") && answers[1].contains("certificate_missing"), "{said}");
    assert!(answers[2].starts_with("200 {") && answers[2].contains("CN=client-1"), "{said}");
    assert!(!said.contains("PRIVATE KEY"));
    let certificates = said.lines().find_map(|line| line.split("--cacert ").nth(1)?.split("/ca.crt").next()).unwrap();
    assert!(!std::path::Path::new(certificates).exists(), "{certificates} is left behind");
}

#[test]
fn a_health_check_of_nobody_fails_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = gateway(&folder, &["health", "--url", &format!("http://{free}/health")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot connect"), "{}", stderr(&output));
    // Beside `run --upstream ...` the check needs to be told nothing of the upstream.
    let output = gateway(&folder, &["health", "--listen", &free.to_string()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot connect"), "{}", stderr(&output));
    for (arguments, code) in [
        (&["health", "--url", "nonsense"][..], 2),
        (&["health", "--url", "https://203.0.113.1/health"], 2),
        (&["health", "--ca", "ca.crt"], 2),
        (&["health", "--url", "https://localhost/health", "--ca", "missing.crt"], 2),
    ] {
        let output = gateway(&folder, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {}", stderr(&output));
        assert!(!stderr(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&[][..], 2),
        (&["nonsense"], 2),
        (&["run", "--nonsense"], 2),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["run", "--help"], 0),
        (&["run", "--upstream", "ftp://x"], 2),
        (&["run"], 2),
        (&["check", "-c", "missing.toml"], 2),
    ] {
        let output = gateway(&folder, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(!stdout(&output).is_empty() || !stderr(&output).is_empty(), "{arguments:?} says nothing");
    }
}
