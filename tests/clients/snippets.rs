//! docs/clients.md, run as it is written but for the port.

use std::fs;
use std::time::Duration;

use mtls_gateway::clock::Clock;
use mtls_gateway::pki::{AuthorityRequest, ClientRequest, Overwrite, ServerRequest, Store};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::run;
use crate::site::configuration;
use crate::support::binary::have;
use crate::support::upstream::text;
use crate::support::{Gateway, Upstream};

const DOCUMENT: &str = include_str!("../../docs/clients.md");
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who has come as far as the quick start's fourth step.
struct Reader {
    folder: TempDir,
    gateway: Gateway,
    _upstream: Upstream,
}

impl Reader {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        let store = Store::new(&certs, Clock::system());
        store.init(&AuthorityRequest::new(None), Overwrite::Refuse).unwrap();
        let server = store.issue_server(&ServerRequest::new(Vec::new()), Overwrite::Refuse).unwrap();
        store.issue_client(&ClientRequest::new("client-1".parse().unwrap()), Overwrite::Refuse).unwrap();
        let upstream = Upstream::answering(|seen| {
            let who = seen.headers["x-ssl-client-s-dn"].to_str().unwrap().to_owned();
            let received: serde_json::Value = serde_json::from_slice(seen.body.as_ref().unwrap()).unwrap();
            let body = json!({ "from": who, "received": received, "at": seen.uri.path() });
            http::Response::builder().header("content-type", "application/json").body(text(body.to_string())).unwrap()
        })
        .await;
        assert_eq!(server.certificate, certs.join("server.crt"));
        let gateway = Gateway::start_with(&configuration(&certs, "server", "optional", &upstream)).await;
        Self { folder, gateway, _upstream: upstream }
    }

    /// Puts a piece into a file.
    fn write(&self, name: &str, piece: &str) {
        let piece = piece.replace("localhost:8443", &format!("localhost:{}", self.gateway.address.port()));
        fs::write(self.folder.path().join(name), piece).unwrap();
    }

    /// Runs a program on such a file; `gateway` is in its path.
    async fn run(&self, program: &str, name: &str) -> String {
        let own = std::path::Path::new(env!("CARGO_BIN_EXE_gateway")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        if program == "sh" {
            command.arg("-eu");
        }
        command.arg(name).current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.env("PATH", format!("{}:{path}", own.display()));
        for variable in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"] {
            command.env_remove(variable);
        }
        run(&mut command, "", PATIENCE).await.fine()
    }
}

/// The pieces in this language under this heading.
fn pieces(heading: &str, language: &str) -> Vec<&'static str> {
    let (_, section) = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let pieces: Vec<_> =
        section.split(&format!("```{language}\n")).skip(1).map(|rest| rest.split("```\n").next().unwrap()).collect();
    assert!(!pieces.is_empty(), "{heading} has something in {language}");
    pieces
}

fn is_answer(said: &str) {
    // Python prints a dictionary, the others what came.
    let said = said.replace('\'', "\"").replace("\": \"", "\":\"");
    assert!(said.contains(r#""from":"CN=client-1""#) && said.contains(r#""event":"hello""#), "{said}");
}

/// One program, one piece.
async fn works(heading: &str, language: &str, program: &str) {
    let reader = Reader::new().await;
    for piece in pieces(heading, language) {
        reader.write("snippet", piece);
        is_answer(&reader.run(program, "snippet").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snippets_of_commands_work() {
    for tool in ["curl", "wget"] {
        if have(tool) {
            works(tool, "sh", "sh").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snippets_in_python_work() {
    for library in ["requests", "httpx"] {
        if have("python3") && have_python(library).await {
            works(&format!("Python, {library}"), "python", "python3").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snippets_for_node_work() {
    if have("node") {
        works("Node, https", "javascript", "node").await;
        works("Node, http2", "javascript", "node").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snippet_in_java_works() {
    if !have("javac") || !have("keytool") {
        return;
    }
    let reader = Reader::new().await;
    let [prepare, call] = pieces("Java", "sh")[..] else { panic!("two pieces of shell") };
    let [program] = pieces("Java", "java")[..] else { panic!("one program") };
    reader.write("prepare.sh", prepare);
    reader.write("Call.java", program);
    reader.write("call.sh", call);
    reader.run("sh", "prepare.sh").await;
    let said = reader.run("sh", "call.sh").await;
    assert!(said.starts_with("200 "), "{said}");
    is_answer(&said);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snippet_for_chromium_fills_a_store_that_is_empty_and_one_that_is_not() {
    if !have("certutil") || !have("pk12util") {
        return;
    }
    let reader = Reader::new().await;
    let [prepare] = pieces("Chromium", "sh")[..] else { panic!("one piece of shell") };
    reader.write("prepare.sh", prepare);
    reader.write("list.sh", "certutil -L -d \"sql:$HOME/.pki/nssdb\"");
    for _ in 0..2 {
        reader.run("sh", "prepare.sh").await;
        let listed = reader.run("sh", "list.sh").await;
        assert!(listed.contains("u,u,u") && listed.contains("C,,"), "{listed}");
        fs::remove_file(reader.folder.path().join("client-1.p12")).unwrap();
    }
    let [policy] = pieces("Chromium", "json")[..] else { panic!("one policy") };
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    let rule = policy["AutoSelectCertificateForUrls"][0].as_str().unwrap();
    let rule: serde_json::Value = serde_json::from_str(rule).unwrap();
    assert_eq!(rule, json!({ "pattern": "https://localhost", "filter": { "SUBJECT": { "CN": "client-1" } } }));
}

/// Whether Python has a library; where everything is to be tested, it must.
async fn have_python(library: &str) -> bool {
    let mut command = Command::new("python3");
    let here = run(command.args(["-c", &format!("import {library}")]), "", PATIENCE).await.succeeded;
    assert!(here || std::env::var_os("CI").is_none(), "Python's {library} is needed for this test");
    if !here {
        eprintln!("skipped: Python's {library} is not installed");
    }
    here
}
