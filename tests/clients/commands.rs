//! Clients that are commands, one process for each case: curl, `openssl s_client`, `gnutls-cli`, wget.

use std::sync::Arc;
use std::time::Duration;

use mtls_gateway::pki::Encryption;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::process::{Ran, run};
use crate::site::{Door, PASSWORD, Site};
use crate::support::Version;
use crate::support::binary::have;
use crate::table::{Answer, Case, Client, Http, Limit, Outcome, UPLOAD, What};

/// No command takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const CURL: Client = Client {
    name: "curl",
    protocols: &[Http::One, Http::Two],
    does: &[What::Twice, What::Upload],
    alerts: [&["alert certificate required"]; 2],
    limits: &[],
};

const OPENSSL: Client = Client {
    name: "openssl",
    protocols: &[Http::One],
    does: &[What::Twice],
    alerts: [&["alert certificate required"]; 2],
    limits: &[],
};

const GNUTLS: Client = Client {
    name: "gnutls",
    protocols: &[Http::One],
    does: &[What::Twice],
    alerts: [&["Certificate is required"]; 2],
    limits: &[],
};

const WGET: Client = Client {
    name: "wget",
    protocols: &[Http::One],
    does: &[What::Twice, What::Upload],
    alerts: [&["Certificate is required"]; 2],
    limits: &[
        Limit {
            concerns: |case| is_12(case) && case.who == Some("ed25519"),
            says: "certificate_missing",
            why: "GnuTLS, left to choose, counts Ed25519 among none of the certificate types of TLS 1.2 and sends nothing",
        },
        Limit {
            concerns: |case| !is_12(case) && case.door == Door::Required && case.who.is_none(),
            says: "Giving up.",
            why: "in TLS 1.3 the alert comes after the handshake, and wget tells of a write that failed",
        },
        Limit {
            concerns: |case| case.what == What::Upload,
            says: "Giving up.",
            why: "wget reads no answer before it has sent the whole body",
        },
    ],
};

/// Runs `ask` for every case of a client, a few at a time, and holds the outcomes.
async fn all(client: &Client, ask: fn(&Site, &Case) -> (Command, String), read: fn(&Case, &Ran) -> Outcome) {
    let site = Arc::new(Site::start().await);
    std::fs::write(site.path("upload"), vec![b'x'; UPLOAD]).unwrap();
    let mut asking = JoinSet::new();
    for case in client.cases(&site) {
        let (mut command, input) = ask(&site, &case);
        asking.spawn(async move {
            let ran = run(&mut command, &input, PATIENCE).await;
            let outcome = read(&case, &ran);
            (case, outcome)
        });
    }
    client.hold(&site, &asking.join_all().await).await;
}

fn is_12(case: &Case) -> bool {
    case.version == Version::Tls12
}

#[tokio::test(flavor = "multi_thread")]
async fn curl() {
    if have("curl") {
        all(&CURL, curl_command, written).await;
    }
}

/// Over HTTP/2 some with the PKCS#12 file, which takes long to open on purpose, else with PEM.
fn curl_command(site: &Site, case: &Case) -> (Command, String) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "25", "-w", "\n%{http_code} %{content_type}\n", "--cacert"]);
    command.arg(site.path("ca.crt"));
    command.args(if is_12(case) { &["--tlsv1.2", "--tls-max", "1.2"][..] } else { &["--tlsv1.3"] });
    command.arg(if case.http == Http::One { "--http1.1" } else { "--http2" });
    match (case.who, case.http) {
        (None, _) => {}
        (Some(who @ ("p256" | "rsa2048")), Http::Two) => {
            let file = site.keystore(who, Encryption::Modern);
            command.args(["--cert-type", "P12", "--pass", PASSWORD, "--cert"]).arg(file);
        }
        (Some(who), _) => {
            let [certificate, key] = site.pair(who);
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
    }
    if case.what == What::Upload {
        // Without asking first, so that the body is on its way when the answer comes.
        command.args(["-H", "Expect:", "--data-binary"]).arg(format!("@{}", site.path("upload").display()));
    }
    command.arg(case.url());
    if case.what == What::Twice {
        command.arg(format!("{}/again", case.url()));
    }
    (command, String::new())
}

/// Of each answer its body, a line end, and a line with status and content type.
fn written(_: &Case, ran: &Ran) -> Outcome {
    if !ran.succeeded {
        return Outcome::Failed(ran.err.clone());
    }
    let lines: Vec<_> = ran.out.lines().collect();
    let answers = lines.chunks(2).map(|pair| {
        let (status, content_type) = pair[1].split_once(' ').unwrap();
        Answer { status: status.parse().unwrap(), content_type: content_type.into(), body: pair[0].into() }
    });
    Outcome::Answers(answers.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_s_client() {
    if have("openssl") {
        all(&OPENSSL, openssl_command, spoken).await;
    }
}

fn openssl_command(site: &Site, case: &Case) -> (Command, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-ign_eof", "-verify_return_error", "-servername", "localhost"]);
    command.arg("-connect").arg(format!("127.0.0.1:{}", case.port)).arg("-CAfile").arg(site.path("ca.crt"));
    command.arg(if is_12(case) { "-tls1_2" } else { "-tls1_3" });
    if let Some(who) = case.who {
        let [certificate, key] = site.pair(who);
        command.arg("-cert").arg(certificate).arg("-key").arg(key);
    }
    (command, requests(case))
}

#[tokio::test(flavor = "multi_thread")]
async fn gnutls_cli() {
    if have("gnutls-cli") {
        all(&GNUTLS, gnutls_command, spoken).await;
    }
}

fn gnutls_command(site: &Site, case: &Case) -> (Command, String) {
    let mut command = Command::new("gnutls-cli");
    command.args(["localhost", "--port", &case.port.to_string(), "--alpn", "http/1.1", "--x509cafile"]);
    command.arg(site.path("ca.crt"));
    let version = if is_12(case) { "NORMAL:-VERS-ALL:+VERS-TLS1.2" } else { "NORMAL:-VERS-ALL:+VERS-TLS1.3" };
    command.args(["--priority", version]);
    if let Some(who) = case.who {
        let [certificate, key] = site.pair(who);
        command.arg("--x509certfile").arg(certificate).arg("--x509keyfile").arg(key);
    }
    (command, requests(case))
}

/// HTTP/1.1 by hand, for programs that speak TLS only.
fn requests(case: &Case) -> String {
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    let again = format!("{}/again", case.path);
    match case.what {
        What::Twice => get(&case.path, "") + &get(&again, "Connection: close\r\n"),
        _ => get(&case.path, "Connection: close\r\n"),
    }
}

/// The answers in what such a program prints; it prints much else.
fn spoken(_: &Case, ran: &Ran) -> Outcome {
    let answers: Vec<_> = ran.out.split("HTTP/1.1 ").skip(1).map(answer).collect();
    if answers.is_empty() { Outcome::Failed(format!("{}{}", ran.out, ran.err)) } else { Outcome::Answers(answers) }
}

/// An answer from its status on; its body is one line.
fn answer(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let field = |name: &str| {
        head.lines().find_map(|line| line.split_once(": ").filter(|(other, _)| other.eq_ignore_ascii_case(name)))
    };
    // Of one that is followed by another or by the program's own words, its length says where it ends.
    let length = field("content-length").map_or(body.len(), |(_, length)| length.trim().parse().unwrap());
    Answer {
        status: text.get(..3).and_then(|status| status.parse().ok()).unwrap_or_default(),
        content_type: field("content-type").map(|(_, value)| value.trim().to_owned()).unwrap_or_default(),
        body: body.get(..length).unwrap_or(body).to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wget() {
    if have("wget") {
        all(&WGET, wget_command, saved).await;
    }
}

fn wget_command(site: &Site, case: &Case) -> (Command, String) {
    let mut command = Command::new("wget");
    command.args(["--no-config", "--content-on-error", "--save-headers", "--tries=1", "--timeout=25", "-O", "-"]);
    command.arg(if is_12(case) {
        "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.2"
    } else {
        "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3"
    });
    command.arg("--ca-certificate").arg(site.path("ca.crt"));
    if let Some(who) = case.who {
        let [certificate, key] = site.pair(who);
        command.arg("--certificate").arg(certificate).arg("--private-key").arg(key);
    }
    if case.what == What::Upload {
        command.arg("--post-file").arg(site.path("upload"));
    }
    command.arg(case.url());
    if case.what == What::Twice {
        command.arg(format!("{}/again", case.url()));
    }
    (command, String::new())
}

fn saved(case: &Case, ran: &Ran) -> Outcome {
    spoken(case, ran)
}
