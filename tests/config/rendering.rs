//! Diagnostics to the letter, as they stand on a terminal.

use super::{load, load_with};
use mtls_gateway::config::{OVERRIDABLE, Overrides};

fn rendered(text: &str) -> String {
    load(text).diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

#[test]
fn an_unknown_key_shows_its_line_and_its_neighbour() {
    let text = "# operators\n[listener]\n  addres = \"0.0.0.0:8443\"\n[upstream.api]\nurl = \"http://x\"\n";
    assert_eq!(
        rendered(text),
        "x.toml:3:3: unknown key `addres` in [listener]\n \
         3 |   addres = \"0.0.0.0:8443\"\n   |   ^^^^^^\n\
         help: did you mean `address`?\n"
    );
}

#[test]
fn a_warning_says_that_it_is_one() {
    let text = "[timeouts]\nkeepalive = \"6m\"\n[upstream.api]\nurl = \"http://x\"\n";
    assert_eq!(
        rendered(text),
        "x.toml:2:13: warning: timeouts.keepalive: a Network Load Balancer forgets connections that are idle for 350s, \
         before this\n 2 | keepalive = \"6m\"\n   |             ^^^^\n\
         help: clients would get a reset on a connection they think is open: keep it shorter\n"
    );
}

#[test]
fn columns_count_characters_and_tabs_line_ends_and_marks_do_not_disturb() {
    for (text, expected) in [
        ("# ä\n[logs]\n\"ü\" = 1", "x.toml:3:1: unknown key `ü` in [logs]\n 3 | \"ü\" = 1\n   | ^^^\n"),
        (
            "[logs]\nformat = \"ä${NOPE}\"",
            "x.toml:2:12: logs.format: the environment variable NOPE is not set\n 2 | format = \"ä${NOPE}\"\n   |            ^^^^^^^\n",
        ),
        (
            "[runtime]\r\n\tworkers = -1\r\n",
            "x.toml:2:12: runtime.workers: -1 is out of range: 0 to 1024\n 2 |  workers = -1\n   |            ^^\n",
        ),
        (
            "\u{feff}[runtime]\nworkers = -1",
            "x.toml:2:11: runtime.workers: -1 is out of range: 0 to 1024\n 2 | workers = -1\n   |           ^^\n",
        ),
        (
            "\u{feff}workers = 1",
            "x.toml:1:1: unknown key `workers` outside of any section\n 1 | workers = 1\n   | ^^^^^^^\n",
        ),
    ] {
        let rendered = rendered(&format!("{text}\n[upstream.api]\nurl = \"http://x\"\n"));
        assert!(rendered.starts_with(expected), "{rendered}\ninstead of\n{expected}");
    }
}

#[test]
fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
    for text in [
        "[logs] # \u{1b}[31m\nx = 1",
        "[logs]\n\"\\u001B\" = 1",
        "[tls]\n[tls] # \u{1b}[2J",
        "[upstream.\"\\u001B\"]",
        "[tls]\ncertificate = \"\\u001B\"",
    ] {
        let rendered = rendered(text);
        assert!(!rendered.is_empty() && !rendered.contains('\u{1b}'), "{rendered:?}");
    }
}

#[test]
fn a_flag_and_a_variable_are_named_instead_of_a_place() {
    let flag = |key| OVERRIDABLE.iter().find(|overridable| overridable.key == key).unwrap();
    let overrides = Overrides::default()
        .with_flag(flag("upstream.url"), "api:5000")
        .with_variable(flag("runtime.workers"), "many")
        .with_variable(flag("listener.address"), "0.0.0.0:1,8443")
        .with_flag(flag("drain.delay"), "3")
        .with_flag(flag("logs.access"), "yes")
        .with_flag(flag("tls.private_key"), "env:NOPE")
        .with_variable(flag("tls.certificate"), "-----BEGIN CERTIFICATE-----\nMIIB");
    let loaded = load_with("", &overrides);
    let rendered: Vec<_> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        rendered,
        [
            "GATEWAY_WORKERS: expected an integer, found \"many\"",
            "GATEWAY_LISTEN: \"8443\" is not an IP address with a port\nhelp: write \"0.0.0.0:8443\"",
            "GATEWAY_TLS_CERTIFICATE: expected a path, found PEM text\nhelp: put it into another variable, NAME, and write \
             env:NAME",
            "--tls-private-key: the environment variable NOPE is not set",
            "--upstream: \"api:5000\" has no scheme\nhelp: write \"http://api:5000\"",
            "--drain-delay: \"3\" has no unit\nhelp: write \"3s\" or \"3ms\"",
            "--access-log: expected true or false, found \"yes\"",
        ]
    );
    assert!(loaded.config.is_none());
}

#[test]
fn secrets_are_not_shown() {
    let key = format!("-----BEGIN {} KEY-----", "PRIVATE");
    let text = format!(
        "[tls]\nprivate_key = \"\"\"{key}\nc2VjcmV0\n\"\"\"\ncert = 1\n[upstream.api]\nurl = \"http://a:hunter2@x\"\n"
    );
    let rendered = rendered(&text);
    assert!(
        rendered.contains("expected a path, found PEM text") && rendered.contains("x.toml:5:1: unknown key `cert`")
    );
    for secret in ["BEGIN", "c2VjcmV0", "hunter2"] {
        assert!(!rendered.contains(secret), "{rendered}");
    }
    let rendered = self::rendered("[upstream.api]\nurl = \"http://a:hunter2@x\"\n");
    assert!(!rendered.contains("hunter2"), "{rendered}");
}
