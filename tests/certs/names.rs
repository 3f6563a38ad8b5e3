//! Names that are refused, and numbers: exit code 2 before anything is touched.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::support::Sandbox;

#[test]
fn bad_names_and_numbers_are_wrong_usage_and_change_nothing() {
    let sandbox = Sandbox::with_authority();
    let long = "a".repeat(65);
    let long_label = format!("{}.example", "a".repeat(64));
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "client",
            "--name",
            &["../x", "..", ".x", "", "a/b", "/etc/x", "a b", "é", "a\nb", "a\\b", "client-1\t", &long],
        ),
        ("client", "--cn", &["", " ", "a\nb", "a\u{7f}b", "\u{9b}31m", &long]),
        (
            "client",
            "--san",
            &[
                "",
                "*",
                "two words",
                "my_host",
                "localhost:8443",
                "300.1.1.1",
                "1.2.3.4/8",
                "urn:",
                "spiffe://A/b",
                "a@",
            ],
        ),
        (
            "server",
            "--name",
            &["", "a_b", "münchen.example", "-a", "a.", "spiffe://a/b", "u@example.com", "[::1]", "h:443", &long_label],
        ),
        ("server", "--days", &["0", "-1", "36501", "1.5", "x", "99999999999999999999"]),
    ];
    for (command, flag, values) in cases {
        for value in values {
            let ran = sandbox.refuse(2, [command.to_owned(), format!("{flag}={value}")]);
            assert!(ran.err.starts_with("error: invalid value "), "{flag}={value:?}: {ran:?}");
        }
    }
    for flag in ["--org", "--ou"] {
        sandbox.refuse(2, ["client", flag, "a\u{0}b".replace('\0', "\u{1}").as_str()]);
    }
    sandbox.refuse(2, ["init", "--force", "--cn", &long]);
    sandbox.refuse(2, ["client", "--key-type", "rsa1024"]);
    sandbox.refuse(2, ["client", "--ou", "a", "--ou", "b"]);
    sandbox.refuse(2, ["client", "--no-such-flag"]);
    sandbox.refuse(2, ["no-such-command"]);
    sandbox.refuse(2, ["--dir", "", "init"]);
}

#[test]
fn bytes_that_are_no_text_are_wrong_usage() {
    let sandbox = Sandbox::with_authority();
    let bytes = OsString::from_vec(b"a\xff".to_vec());
    for flag in ["--name", "--cn", "--san"] {
        sandbox.refuse(2, [OsString::from("client"), OsString::from(flag), bytes.clone()]);
    }
}

#[test]
fn the_longest_good_names_are_taken() {
    let sandbox = Sandbox::with_authority();
    let name = "n".repeat(64);
    sandbox.succeed(["client", "--name", &name, "--cn", &"é".repeat(64)]);
    assert!(sandbox.path(&format!("certs/clients/{name}.key")).is_file());
    for name in ["a..b", "-x", "1.2.3.4", "x.crt", "CON", "server", "ca"] {
        sandbox.succeed([String::from("client"), format!("--name={name}")]);
    }
}

#[test]
fn key_types_may_be_written_as_people_write_them() {
    let sandbox = Sandbox::with_authority();
    for (index, kind) in ["p256", "P-256", "ecdsa", "p-384", "Ed25519", "RSA-2048"].into_iter().enumerate() {
        sandbox.succeed(["client", "--name", &format!("c{index}"), "--key-type", kind]);
    }
}

#[test]
fn help_names_every_subcommand_and_its_defaults() {
    let sandbox = Sandbox::new();
    let help = sandbox.succeed(["--help"]).out;
    for word in ["init", "server", "client", "list", "show", "--dir", "GATEWAY_CERTS_DIR"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    let help = sandbox.succeed(["client", "--help"]).out;
    for word in ["client-1", "90", "p256", "urn:gateway:client:NAME"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    assert_eq!(sandbox.run::<&str>([]).code, 2);
}
