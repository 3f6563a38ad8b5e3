//! How each reader is asked, and its answers in one form: for each row `ok`, `revoked` and why, or what was said.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use mtls_gateway::identity::{CertificateFacts, distinguished_name};
use serde_json::Value;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::made::{Made, Row, single};
use crate::support::{Ran, tool};

type Verdicts = Vec<(String, String)>;

/// Runs a script of this folder with this input; `None` where something that it needs is missing.
fn python(made: &Made, script: &str, input: &str) -> Option<Ran> {
    tool("python3", &made.sandbox.path(""), &["--version"])?;
    let mut child = Command::new("python3")
        .args(["-c", script])
        .current_dir(made.sandbox.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads everything before it writes anything.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    if ran.out.trim() == "absent" {
        assert!(std::env::var_os("CI").is_none(), "a package of Python's is needed in CI");
        eprintln!("SKIPPED: python3 has not the package that is needed here");
        return None;
    }
    assert_eq!(ran.code, 0, "{ran:?}");
    Some(ran)
}

/// What it wrote: a line for each row.
fn verdicts(text: &str) -> Verdicts {
    let split = |line: &str| line.split_once('\t').map(|(what, verdict)| (what.to_owned(), verdict.to_owned()));
    text.lines().map(|line| split(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// Every finding.
pub fn pkilint(made: &Made) -> Option<Vec<Value>> {
    let kind = |list: bool| if list { "list" } else { "certificate" };
    let mut asked: Vec<String> = made.singles.iter().map(|one| format!("{}\t{}", kind(one.list), one.file)).collect();
    for row in &made.rows {
        // Each with whatever of the chain and the anchor has its issuer's name.
        let chain = made.sandbox.chain(&row.chain);
        let facts = |der: &[u8]| CertificateFacts::from_der(der).unwrap();
        let mut above: Vec<(String, CertificateFacts)> =
            chain.iter().enumerate().skip(1).map(|(number, der)| (single(&row.chain, number), facts(der))).collect();
        above.push((single(&row.anchor, 0), facts(&made.sandbox.chain(&row.anchor)[0])));
        for (number, der) in chain.iter().enumerate() {
            let below = facts(der);
            let issuers: Vec<_> = above.iter().filter(|(_, issuer)| issuer.subject == below.issuer).collect();
            assert!(number > 0 || !issuers.is_empty(), "{}: nobody issued it", row.what);
            for (issuer, _) in issuers {
                asked.push(format!("pair\t{}\t{issuer}", single(&row.chain, number)));
            }
        }
    }
    let ran = python(made, include_str!("lint.py"), &asked.join("\n"))?;
    let mut findings: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings.pop().unwrap()["linted"], asked.len(), "{findings:?}");
    Some(findings)
}

pub fn cryptography(made: &Made) -> Option<Verdicts> {
    let rows = serde_json::to_string(&made.rows).unwrap();
    Some(verdicts(&python(made, include_str!("path_validation.py"), &rows)?.out))
}

pub fn openssl(made: &Made) -> Option<Verdicts> {
    let mut verdicts = Vec::new();
    for row in &made.rows {
        let mut arguments = vec!["verify", "-x509_strict", "-check_ss_sig", "-crl_check_all", "-purpose"];
        arguments.push(if row.host.is_some() { "sslserver" } else { "sslclient" });
        if let Some(host) = &row.host {
            let address = host.parse::<std::net::IpAddr>().is_ok();
            arguments.extend([if address { "-verify_ip" } else { "-verify_hostname" }, host]);
        }
        row.lists.iter().for_each(|list| arguments.extend(["-CRLfile", list]));
        arguments.extend(["-CAfile", &row.anchor, "-untrusted", &row.chain, &row.chain]);
        let ran = tool("openssl", &made.sandbox.path(""), &arguments)?;
        let verdict = match &row.revoked {
            // It does not tell the reason; the others do.
            Some(why) if ran.code != 0 && ran.err.contains("certificate revoked") => format!("revoked {why}"),
            _ if ran.code == 0 && ran.err.is_empty() => "ok".to_owned(),
            _ => format!("{ran:?}"),
        };
        verdicts.push((row.what.clone(), verdict));
    }
    Some(verdicts)
}

/// Each list is signed by its issuer, and printed without complaint.
pub fn openssl_reads_the_lists(made: &Made) {
    for single in made.singles.iter().filter(|single| single.list) {
        let arguments = ["crl", "-inform", "DER", "-in", &single.file, "-text", "-noout"];
        let Some(ran) = tool("openssl", &made.sandbox.path(""), &arguments) else { return };
        assert!(ran.code == 0 && ran.err.is_empty() && ran.out.contains("X509v3 CRL Number"), "{single:?}: {ran:?}");
        assert!(!ran.out.contains("critical"), "a reader that knows no extensions can use it: {ran:?}");
    }
    for row in &made.rows {
        for list in &row.lists {
            let anchors = list.replace("ca.crl", "ca.crt");
            let arguments = ["crl", "-in", list, "-verify", "-CAfile", &anchors, "-noout"];
            let Some(ran) = tool("openssl", &made.sandbox.path(""), &arguments) else { return };
            assert!(ran.code == 0 && ran.err.contains("verify OK"), "{list}: {ran:?}");
        }
    }
}

/// The strictest profile that a chain of this kind can satisfy: 112 bits of security, 128, 192.
fn profile(row: &Row) -> &'static str {
    if row.kinds.contains(&"rsa2048") {
        "medium"
    } else if row.kinds == ["p384"] {
        "ultra"
    } else {
        "high"
    }
}

pub fn gnutls(made: &Made) -> Option<Verdicts> {
    let mut verdicts = Vec::new();
    for row in &made.rows {
        let joined: Vec<u8> = row.lists.iter().flat_map(|list| made.sandbox.read(list)).collect();
        let lists = "gnutls.crl";
        made.sandbox.write(lists, joined);
        let purpose = if row.host.is_some() { "1.3.6.1.5.5.7.3.1" } else { "1.3.6.1.5.5.7.3.2" };
        let mut arguments = vec!["--verify", "--load-ca-certificate", &row.anchor, "--load-crl", lists];
        arguments.extend(["--infile", &row.chain, "--verify-profile", profile(row), "--verify-purpose", purpose]);
        if let Some(host) = &row.host {
            arguments.extend(["--verify-hostname", host]);
        }
        let ran = tool("certtool", &made.sandbox.path(""), &arguments)?;
        let verdict = match &row.revoked {
            Some(why) if ran.code != 0 && ran.out.contains("revoked") => format!("revoked {why}"),
            _ if ran.code == 0 && ran.out.contains("Chain verification output: Verified.") => "ok".to_owned(),
            _ => format!("{ran:?}"),
        };
        verdicts.push((row.what.clone(), verdict));
    }
    Some(verdicts)
}

pub fn gnutls_reads_each(made: &Made) {
    for single in &made.singles {
        let what = if single.list { "--crl-info" } else { "--certificate-info" };
        let arguments = [what, "--inder", "--infile", &single.file];
        let Some(ran) = tool("certtool", &made.sandbox.path(""), &arguments) else { return };
        assert!(ran.code == 0 && ran.err.is_empty(), "{single:?}: {ran:?}");
        let lower = ran.out.to_lowercase();
        for word in ["error", "unknown extension", "warning"] {
            assert!(!lower.contains(word), "{word} in {single:?}: {ran:?}");
        }
    }
}

/// A database for each row: trusted the anchor, known what is in between, the lists of all.
pub fn nss(made: &Made) -> Option<Verdicts> {
    let run = |program: &str, arguments: &[&str]| tool(program, &made.sandbox.path(""), arguments);
    fs::create_dir_all(made.sandbox.path("nss/empty")).unwrap();
    let ran = run("certutil", &["-N", "-d", "sql:nss/empty", "--empty-password"])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut verdicts = Vec::new();
    for (number, row) in made.rows.iter().enumerate() {
        let folder = format!("nss/{number}");
        fs::create_dir(made.sandbox.path(&folder)).unwrap();
        for file in ["cert9.db", "key4.db", "pkcs11.txt"] {
            let empty = made.sandbox.path(&format!("nss/empty/{file}"));
            fs::copy(empty, made.sandbox.path(&format!("{folder}/{file}"))).unwrap();
        }
        let database = format!("sql:{folder}");
        let verdict = nss_verdict(made, row, &database, &run)?;
        verdicts.push((row.what.clone(), verdict));
    }
    Some(verdicts)
}

fn nss_verdict(made: &Made, row: &Row, database: &str, run: &dyn Fn(&str, &[&str]) -> Option<Ran>) -> Option<String> {
    let mut steps = vec![("anchor".to_owned(), "CT,C,C", single(&row.anchor, 0))];
    for number in (0..made.sandbox.chain(&row.chain).len()).rev() {
        steps.push((format!("number {number}"), ",,", single(&row.chain, number)));
    }
    for (name, trust, file) in &steps {
        let ran = run("certutil", &["-A", "-d", database, "-n", name, "-t", trust, "-i", file])?;
        if ran.code != 0 {
            return Some(format!("{file}: {ran:?}"));
        }
    }
    let known: Vec<String> = steps
        .iter()
        .map(|(_, _, file)| CertificateFacts::from_der(&made.sandbox.read(file)).unwrap().subject)
        .collect();
    for list in &row.lists {
        let files = (0..).map(|number| single(list, number));
        for file in files.take_while(|file| made.sandbox.path(file).exists()) {
            // It takes no list of a CA that it does not know.
            let der = made.sandbox.read(&file);
            let (_, parsed) = CertificateRevocationList::from_der(&der).unwrap();
            if !known.contains(&distinguished_name(parsed.issuer())) {
                continue;
            }
            let ran = run("crlutil", &["-I", "-d", database, "-i", &file])?;
            if ran.code != 0 {
                return Some(format!("{file}: {ran:?}"));
            }
        }
    }
    let usage = if row.host.is_some() { "V" } else { "C" };
    let ran = run("certutil", &["-V", "-d", database, "-n", "number 0", "-u", usage, "-e"])?;
    Some(match &row.revoked {
        Some(why) if ran.code != 0 && format!("{ran:?}").contains("revoked") => format!("revoked {why}"),
        _ if ran.code == 0 && ran.out.contains("certificate is valid") => "ok".to_owned(),
        _ => format!("{ran:?}"),
    })
}

pub fn java(made: &Made) -> Option<Verdicts> {
    made.sandbox.write("PathValidation.java", include_str!("PathValidation.java"));
    let line = |row: &Row| {
        let side = if row.host.is_some() { "server" } else { "client" };
        [&[&*row.what, side, &row.chain, &row.anchor], &row.lists.iter().map(String::as_str).collect::<Vec<_>>()[..]]
            .concat()
            .join("\t")
    };
    let rows: Vec<String> = made.rows.iter().map(line).collect();
    made.sandbox.write("rows.txt", rows.join("\n"));
    // Reading a source file takes a JDK, not only what runs classes.
    tool("javac", &made.sandbox.path(""), &["-version"])?;
    let ran = tool("java", &made.sandbox.path(""), &["-Dfile.encoding=UTF-8", "PathValidation.java", "rows.txt"])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let plain = |text: String| match text.strip_prefix("revoked ") {
        Some(reason) => format!("revoked {}", reason.to_lowercase().replace('_', "-")),
        None => text,
    };
    Some(verdicts(&ran.out).into_iter().map(|(what, verdict)| (what, plain(verdict))).collect())
}

/// keytool starts slowly, and reads many at once.
pub fn keytool_prints_and_keeps(made: &Made) {
    let pem = |list: bool| -> (usize, String) {
        let suffix = if list { ".crl" } else { ".crt" };
        let files = made.files.iter().filter(|file| file.ends_with(suffix));
        let text: String = files.map(|file| String::from_utf8(made.sandbox.read(file)).unwrap()).collect();
        (made.singles.iter().filter(|one| one.list == list).count(), text)
    };
    for (list, argument, word) in [(false, "-printcert", "Owner: "), (true, "-printcrl", "X.509 CRL v2")] {
        let (count, text) = pem(list);
        made.sandbox.write("every.pem", text);
        let Some(ran) = tool("keytool", &made.sandbox.path(""), &[argument, "-file", "every.pem"]) else { return };
        assert!(ran.code == 0 && !ran.out.contains("Warning") && ran.err.is_empty(), "{ran:?}");
        assert_eq!(ran.out.matches(word).count(), count, "{}", ran.out);
    }
    let keep = ["-importcert", "-noprompt", "-keystore", "kept.p12", "-storepass", "changeit", "-alias"];
    for (alias, file) in [("anchor", "p384/ca.crt"), ("below", "p384/intermediates/upper/ca.crt")] {
        let arguments = [&keep[..], &[alias, "-file", file]].concat();
        let Some(ran) = tool("keytool", &made.sandbox.path(""), &arguments) else { return };
        assert!(ran.code == 0 && ran.err.contains("Certificate was added to keystore"), "{ran:?}");
    }
}
