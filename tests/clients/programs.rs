//! Clients that are libraries: a small program in each language, which takes all cases one after the other.

use std::time::Duration;

use mtls_gateway::pki::Encryption;
use tokio::process::Command;

use crate::process::run;
use crate::site::{PASSWORD, Site};
use crate::support::binary::have;
use crate::table::{Answer, Case, Client, Http, Limit, Outcome, What};

/// All cases of one program: a hundred handshakes, of which some are made with large keys by slow code.
const PATIENCE: Duration = Duration::from_secs(120);

const PYTHON: Client = Client {
    name: "python",
    protocols: &[Http::One],
    does: &[What::Twice, What::Upload],
    alerts: [&["CERTIFICATE_REQUIRED"]; 2],
    limits: &[],
};

const NODE: Client = Client {
    name: "node",
    protocols: &[Http::One, Http::Two],
    does: &[What::Twice, What::Upload],
    alerts: [&["alert certificate required"], &["CERTIFICATE_REQUIRED"]],
    limits: &[],
};

const JAVA: Client = Client {
    name: "java",
    protocols: &[Http::One, Http::Two],
    does: &[What::Twice, What::Upload],
    // In TLS 1.3 the alert comes after its handshake, and may find it writing.
    alerts: [&["certificate_required"], &["certificate_required", "ClosedChannelException"]],
    limits: &[Limit {
        concerns: |case| case.what == What::Upload && case.http == Http::Two,
        says: "HttpTimeoutException",
        why: "Java before 21 reads no answer over HTTP/2 before it has sent the whole body (JDK-8293786)",
    }],
};

/// Hands all cases to a program, and holds what it says of them.
async fn all(client: &Client, program: &str, source: (&str, &str)) {
    let site = Site::start().await;
    let cases = client.cases(&site);
    for who in cases.iter().filter_map(|case| case.who) {
        site.keystore(who, Encryption::Modern);
        site.keystore(who, Encryption::Compatible);
    }
    let (name, text) = source;
    std::fs::write(site.path(name), text).unwrap();
    let mut command = Command::new(program);
    command.current_dir(site.path(""));
    if program == "java" {
        // It begins sooner, and has no time to become fast.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    }
    command.arg(name).arg(site.path("."));
    if program != "python3" {
        command.arg(PASSWORD);
    }
    command.arg(cases.len().to_string());
    let input: String = cases.iter().map(Case::line).collect();
    let said = run(&mut command, &input, PATIENCE).await.fine();
    let outcomes: Vec<_> = cases.into_iter().map(|case| (case.clone(), outcome(&case, &said))).collect();
    client.hold(&site, &outcomes).await;
}

/// What the program said of this case, a line for each answer: path, status, content type, body.
fn outcome(case: &Case, said: &str) -> Outcome {
    let mut answers = Vec::new();
    for line in said.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        match fields[..] {
            [path, ..] if path != case.path => {}
            [_, "failed", ..] => return Outcome::Failed(fields[2..].join(" ")),
            [_, status, content_type, body] => answers.push(Answer {
                status: status.parse().unwrap(),
                content_type: content_type.into(),
                body: body.into(),
            }),
            _ => panic!("{line}"),
        }
    }
    Outcome::Answers(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    if have("python3") {
        all(&PYTHON, "python3", ("client.py", include_str!("client.py"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node() {
    if have("node") {
        all(&NODE, "node", ("client.js", include_str!("client.js"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn java() {
    // `java` alone compiles no source.
    if have("javac") {
        all(&JAVA, "java", ("Client.java", include_str!("Client.java"))).await;
    }
}
