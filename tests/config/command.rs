//! `gateway check` as a program: what it prints where, and how it ends.

use std::process::{Command, Output};

use mtls_gateway::clock::Clock;
use mtls_gateway::pki::{AuthorityRequest, Overwrite, ServerRequest, Store};

fn gateway(folder: &tempfile::TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.env_clear().current_dir(folder.path()).args(arguments).envs(variables.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder with the certificates that a configuration names by default.
fn empty_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("certs"), Clock::system());
    store.init(&AuthorityRequest::new(None), Overwrite::Refuse).unwrap();
    store.issue_server(&ServerRequest::new(Vec::new()), Overwrite::Refuse).unwrap();
    folder
}

fn folder(configuration: &str) -> tempfile::TempDir {
    let folder = empty_folder();
    std::fs::write(folder.path().join("x.toml"), configuration).unwrap();
    folder
}

const VALID: &str = "[upstream.api]\nurl = \"http://api.local:5000\"\n";

#[test]
fn a_valid_configuration_is_one_line_and_exit_code_0() {
    let folder = folder(VALID);
    let output = gateway(&folder, &["check", "-c", "x.toml"], &[]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_eq!(text(&output.stdout), "configuration is valid\n");
}

#[test]
fn warnings_are_exit_code_1_and_errors_2() {
    let folder = folder(&format!("[timeouts]\nkeepalive = \"1h\"\n{VALID}"));
    let output = gateway(&folder, &["check", "-c", "x.toml"], &[]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(text(&output.stderr).starts_with("x.toml:2:13: warning: timeouts.keepalive:"));
    assert!(text(&output.stderr).ends_with("\n\n1 warning\n"));
    let output = gateway(&folder, &["check", "-c", "x.toml"], &[("GATEWAY_WORKERS", "x")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("GATEWAY_WORKERS: expected an integer, found \"x\"\n"));
    assert!(text(&output.stderr).ends_with("\n\n1 error, 1 warning\n"));
}

#[test]
fn a_note_is_told_and_nothing_more() {
    let folder = folder(&format!("[drain]\ntimeout = \"100s\"\n{VALID}"));
    let output = gateway(&folder, &["check", "-c", "x.toml"], &[]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "configuration is valid\n"));
    assert!(text(&output.stderr).starts_with("x.toml:2:11: note: drain.timeout:"));
}

#[test]
fn flags_stand_over_variables_and_variables_over_the_file() {
    let folder = folder(&format!("[drain]\ndelay = \"1s\"\n[logs]\nformat = \"text\"\n{VALID}"));
    let variables = [
        ("GATEWAY_CONFIG", "x.toml"),
        ("GATEWAY_DRAIN_DELAY", "2s"),
        ("GATEWAY_LOG_FORMAT", "json"),
        ("GATEWAY_LISTEN", "0.0.0.0:1,[::]:2"),
        ("GATEWAY_MAX_CONNECTIONS", ""),
        ("GATEWAY_SERVICE_HOST", "10.0.0.1"),
    ];
    let output = gateway(&folder, &["check", "--print", "--drain-delay", "3s"], &variables);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    for line in [
        "delay = \"3s\"  # from --drain-delay",
        "format = \"json\"  # from GATEWAY_LOG_FORMAT",
        "address = [\"0.0.0.0:1\", \"[::]:2\"]  # from GATEWAY_LISTEN",
        "max_connections = 20000  # default",
        "url = [\"http://api.local:5000\"]  # from x.toml:6:7",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    // What is printed is a file that means the same.
    std::fs::write(folder.path().join("printed.toml"), &printed).unwrap();
    let again = gateway(&folder, &["check", "--print", "-c", "printed.toml"], &[]);
    let values = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split_once("  #")).map(|(value, _)| value.to_owned()).collect()
    };
    assert_eq!(values(&text(&again.stdout)), values(&printed));
}

#[test]
fn everything_works_from_variables_alone() {
    let folder = empty_folder();
    let certificate = std::fs::read_to_string(folder.path().join("certs/server.crt")).unwrap().replace('\n', "\\n");
    let variables = [
        ("GATEWAY_UPSTREAM", "http://api.teste-api.local:5000"),
        ("GATEWAY_CONFIG", ""),
        ("GATEWAY_TLS_CERTIFICATE", "env:SERVER_CERT"),
        ("SERVER_CERT", certificate.as_str()),
    ];
    let output = gateway(&folder, &["check", "--print"], &variables);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("certificate = [{ env = \"SERVER_CERT\" }]  # from GATEWAY_TLS_CERTIFICATE\n")
    );
    assert!(!text(&output.stdout).contains("BEGIN CERTIFICATE"));
}

#[test]
fn the_certificates_are_opened_too() {
    let folder = folder(VALID);
    let certs = folder.path().join("certs");
    for (spoil, said) in [
        (
            "server.key",
            "certs/server.key holds no private key: it holds a certificate; are certificate and key swapped?",
        ),
        ("ca.crt", "holds no certificate: it is empty"),
        ("server.crt", "there is no file certs/server.crt"),
    ] {
        match spoil {
            "server.key" => std::fs::copy(certs.join("server.crt"), certs.join(spoil)).map(|_| ()).unwrap(),
            "ca.crt" => {
                std::fs::copy(certs.join("ca.key"), certs.join("server.key")).unwrap();
                std::fs::copy(certs.join("ca.crt"), certs.join("server.crt")).unwrap();
                std::fs::write(certs.join(spoil), "").unwrap();
            }
            _ => std::fs::remove_file(certs.join(spoil)).unwrap(),
        }
        let output = gateway(&folder, &["check", "-c", "x.toml"], &[]);
        assert_eq!(output.status.code(), Some(2), "{spoil}");
        assert!(text(&output.stderr).contains(said), "{spoil}: {}", text(&output.stderr));
    }
}

#[test]
fn a_program_gets_json() {
    let folder = folder("[listener]\naddres = 1\n");
    let output = gateway(&folder, &["check", "-c", "x.toml", "--output", "json"], &[]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(2), ""));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["valid"].as_bool(), report["errors"].as_u64()), (Some(false), Some(2)));
    let unknown = &report["diagnostics"][1];
    assert_eq!(
        (unknown["file"].as_str(), unknown["line"].as_u64(), unknown["column"].as_u64()),
        (Some("x.toml"), Some(2), Some(1))
    );
    assert_eq!(unknown["hint"].as_str(), Some("did you mean `address`?"));
}

#[test]
fn a_file_that_is_not_there_and_a_flag_that_is_not_known_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let output = gateway(&folder, &["check", "-c", "no.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("no.toml: the configuration file cannot be read: No such file"));
    assert_eq!(gateway(&folder, &["check", "--listne", "x"], &[]).status.code(), Some(2));
    assert_eq!(gateway(&folder, &["check", "--print", "--output", "json"], &[]).status.code(), Some(2));
}
