//! Every kind of certificate and list that `gateway certs` can write, before the strictest readers there are.
//!
//! Whatever a reader says against one of them fails the test. What is known to be no fault of ours stands in a table of
//! exceptions with its reason, and one that nothing needs fails the test, too.

mod made;
mod readers;

use std::collections::BTreeSet;

use made::{Made, Row};

use crate::support::Sandbox;

/// Something that a reader says against a row, and why it may.
struct Exception {
    applies: fn(&Row) -> bool,
    says: &'static str,
    why: &'static str,
    /// Not where a newer version of the reader may have learnt it.
    needed: bool,
}

/// What it said of each row has to be what is to come of it.
#[track_caller]
fn agree(made: &Made, verdicts: &[(String, String)], exceptions: &[Exception]) {
    assert_eq!(verdicts.len(), made.rows.len(), "one verdict for each row: {verdicts:?}");
    let mut complaints = Vec::new();
    let mut used = vec![false; exceptions.len()];
    for (row, (what, verdict)) in made.rows.iter().zip(verdicts) {
        assert_eq!(*what, row.what);
        let expected = row.revoked.as_ref().map_or_else(|| "ok".to_owned(), |why| format!("revoked {why}"));
        if *verdict == expected {
            continue;
        }
        let excepted = exceptions.iter().position(|one| (one.applies)(row) && verdict.contains(one.says));
        match excepted {
            Some(place) => used[place] = true,
            None => complaints.push(format!("{what}: expected {expected}, got {verdict}")),
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    for (one, used) in exceptions.iter().zip(used) {
        assert!(used || !one.needed, "nothing needs the exception: {}", one.why);
    }
}

/// A finding of pkilint's that is none.
struct Waiver {
    code: &'static str,
    applies: fn(&str) -> bool,
    why: &'static str,
}

/// What stands between the last two quotes: the value that a finding is about.
fn value(message: &str) -> &str {
    message.rsplit('"').nth(1).unwrap_or_default()
}

const WAIVERS: [Waiver; 6] = [
    Waiver {
        code: "pkix.invalid_domain_name_syntax",
        applies: |message| !value(message).contains('.'),
        why: "a host of one label, like localhost, is a host name all the same (RFC 1034 section 3.5)",
    },
    Waiver {
        code: "pkix.invalid_domain_name_syntax",
        applies: |message| value(message).starts_with("*."),
        why: "wildcards are of RFC 9525, which came after RFC 5280; pkilint's rules for public servers take them",
    },
    Waiver {
        code: "pkix.invalid_uri_syntax",
        applies: |message| value(message).starts_with("spiffe://"),
        why: "the library that looks at URIs knows nine schemes, and SPIFFE's is none of them",
    },
    Waiver {
        code: "pkix.invalid_uri_syntax",
        applies: |message| value(message).starts_with("urn:"),
        why: "nor is that of URNs (RFC 8141)",
    },
    Waiver {
        code: "pkix.subject_key_identifier_rfc7093_method_1_identified",
        applies: |_| true,
        why: "it only says how the identifier was made",
    },
    Waiver {
        code: "pkix.subject_key_identifier_method_1_identified",
        applies: |message| !message.is_empty(),
        why: "the same, of the CAs that OpenSSL made",
    },
];

#[test]
fn pkilint_finds_nothing_of_any_severity() {
    let Some(made) = Made::shared() else { return };
    let Some(findings) = readers::pkilint(&made) else { return };
    let (mut complaints, mut used) = (BTreeSet::new(), [false; WAIVERS.len()]);
    for finding in &findings {
        let text = |key: &str| finding[key].as_str().unwrap();
        let waives = |waiver: &Waiver| waiver.code == text("code") && (waiver.applies)(text("message"));
        match WAIVERS.iter().position(waives) {
            Some(place) => used[place] = true,
            None => {
                let told = ["file", "severity", "code", "message"].map(text);
                complaints.insert(told.join(" "));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", Vec::from_iter(complaints).join("\n"));
    for (waiver, used) in WAIVERS.iter().zip(used) {
        assert!(used, "nothing needs the waiver of {}: {}", waiver.code, waiver.why);
    }
}

#[test]
fn openssl_is_content_when_it_is_strict() {
    let Some(made) = Made::shared() else { return };
    let Some(verdicts) = readers::openssl(&made) else { return };
    agree(&made, &verdicts, &[]);
    readers::openssl_reads_the_lists(&made);
}

#[test]
fn gnutls_is_content_at_the_level_of_each_key() {
    let Some(made) = Made::shared() else { return };
    let Some(verdicts) = readers::gnutls(&made) else { return };
    let exceptions = [Exception {
        applies: |row| row.chain.starts_with("addressing/"),
        says: "violates the signer's constraints",
        why: "it holds whatever common name a server without a DNS name has against the rules for hosts",
        needed: true,
    }];
    agree(&made, &verdicts, &exceptions);
    readers::gnutls_reads_each(&made);
}

#[test]
fn nss_is_content() {
    let Some(made) = Made::shared() else { return };
    let Some(verdicts) = readers::nss(&made) else { return };
    let exceptions = [Exception {
        applies: |row| row.kinds.contains(&"ed25519"),
        says: "SEC_ERROR_ADDING_CERT",
        why: "NSS before 3.101 knows no Ed25519",
        needed: false,
    }];
    agree(&made, &verdicts, &exceptions);
}

#[test]
fn java_is_content() {
    let Some(made) = Made::shared() else { return };
    let Some(verdicts) = readers::java(&made) else { return };
    agree(&made, &verdicts, &[]);
    readers::keytool_prints_and_keeps(&made);
}

#[test]
fn pythons_cryptography_is_content() {
    let Some(made) = Made::shared() else { return };
    let Some(verdicts) = readers::cryptography(&made) else { return };
    let exceptions = [
        Exception {
            applies: |row| row.kinds.contains(&"ed25519"),
            says: "algorithm",
            why: "it takes no Ed25519, after the rules of the public web",
            needed: false,
        },
        Exception {
            applies: |row| row.chain.starts_with("mailing/"),
            says: "name constraint",
            why: "it understands no constraints on e-mail addresses",
            needed: false,
        },
    ];
    agree(&made, &verdicts, &exceptions);
}

/// A command that is new makes somebody think about whether it writes something that is not looked at here.
#[test]
fn whatever_a_command_writes_is_looked_at() {
    let help = Sandbox::new().succeed(["--help"]).out;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // The texts below them are indented further.
    let names = commands.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let commands: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    let writing = ["init", "server", "client", "intermediate", "import-ca", "rotate-ca", "bootstrap", "sign", "renew"];
    let lists = ["revoke", "crl"];
    let others = ["export", "list", "show", "verify", "help"];
    assert_eq!(commands, [&writing[..], &lists, &others].concat());
    let source = include_str!("made.rs");
    for command in writing.iter().chain(&lists) {
        assert!(source.contains(&format!("\"{command}\"")), "{command}");
    }
    let kinds = mtls_gateway::pki::KeyType::ALL.len();
    assert_eq!(kinds, made::KINDS.len());
}
