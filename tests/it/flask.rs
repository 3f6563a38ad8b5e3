//! A real Flask application under gunicorn, behind the real program.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::binary::{Binary, free_address, have};
use crate::support::wire::soon;
use crate::support::{Client, eventually, gateway};

const APP: &str = r#"
from flask import Flask, jsonify, request
app = Flask(__name__)

@app.post("/api/webhook")
def webhook():
    return jsonify(got=request.get_json(), verify=request.headers.get("X-SSL-Client-Verify"),
                   subject=request.headers.get("X-SSL-Client-S-DN"), scheme=request.headers.get("X-Forwarded-Proto"),
                   host=request.host, address=request.headers.get("X-Forwarded-For"))

@app.get("/large")
def large():
    return b"x" * 1000000

@app.post("/upload")
def upload():
    return str(len(request.get_data()))
"#;

struct Gunicorn {
    child: Child,
    address: std::net::SocketAddr,
    _folder: TempDir,
}

impl Gunicorn {
    async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("application.py"), APP).unwrap();
        let address = free_address();
        let child = Command::new("gunicorn")
            .args(["--bind", &address.to_string(), "--keep-alive", "2", "--graceful-timeout", "1"])
            .args(arguments)
            .arg("application:app")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("gunicorn", async || tokio::net::TcpStream::connect(address).await.ok()).await;
        Self { child, address, _folder: folder }
    }
}

impl Drop for Gunicorn {
    fn drop(&mut self) {
        // Its workers end with it only when it is asked to end.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn client(binary: &Binary) -> Client {
    Client::new(&binary.pki, binary.address).with(&binary.pki.client("client-1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn flask_gets_json_and_learns_who_asks() {
    if !have("gunicorn") {
        return;
    }
    for arguments in [&["--workers", "1"][..], &["--worker-class", "gthread", "--threads", "4"]] {
        let gunicorn = Gunicorn::start(arguments).await;
        let binary = Binary::start(&gateway::upstream("api", gunicorn.address));
        let client = client(&binary);
        let body = "{\"a\": [1, 2, \"caf\u{e9}\"]}";
        let post = format!(
            "POST /api/webhook HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n\
             X-SSL-Client-Verify: NONE\r\nX_SSL_Client_Verify: FORGED\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = client.send_raw(&post).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        assert_eq!(json["got"]["a"][2], "caf\u{e9}");
        assert_eq!((&json["verify"], &json["subject"]), (&"SUCCESS".into(), &"CN=client-1".into()));
        assert_eq!((&json["scheme"], &json["host"]), (&"https".into(), &"api.example.com".into()));
        assert_eq!(json["address"], "127.0.0.1");
        let over_h2 = client.h2("POST", "/api/webhook", &[("content-type", "application/json")], body).await;
        assert_eq!((over_h2.status.as_u16(), &over_h2.json()["got"]["a"][0]), (200, &1.into()));
        let large = client.get("/large").await;
        assert_eq!((large.status, large.body.len()), (200, 1_000_000));
        let body = "z".repeat(3_000_000);
        let answer = client.h2("POST", "/upload", &[], &body).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, "3000000".into()));
        assert_eq!(client.get("/nothing-here").await.status, 404, "Flask's own");
        assert_eq!(client.clone().without_certificate().send_raw(&post).await.status, 403);
    }
}

/// gunicorn closes a connection that has been idle for two seconds; no request may meet that moment.
#[tokio::test(flavor = "multi_thread")]
async fn pauses_around_gunicorns_keepalive_lose_no_request() {
    if !have("gunicorn") {
        return;
    }
    let gunicorn = Gunicorn::start(&["--worker-class", "gthread", "--threads", "8"]).await;
    let binary = Binary::start(&gateway::upstream("api", gunicorn.address));
    let client = client(&binary);
    let served = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12_u64 {
        let (client, served) = (client.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            let mut raw = client.raw().await;
            while begun.elapsed() < Duration::from_secs(5) {
                let post = "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
                raw.send(post).await;
                let answer = raw.answer().await;
                assert_eq!((answer.status, answer.text().as_str()), (200, "4"));
                served.fetch_add(1, Ordering::SeqCst);
                // Some never pause, some for about as long as connections live on either side.
                let pause = if number < 4 { 5 } else { 1400 + 100 * (number - 4) };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        });
    }
    soon(tasks.join_all()).await;
    assert!(served.load(Ordering::SeqCst) > 100);
    assert!(binary.log().iter().all(|line| line["event"] != "request" || line["status"] == 200));
}

/// gunicorn answers 400 to a field over its limit: what every request of a client with a large certificate would get.
#[tokio::test(flavor = "multi_thread")]
async fn gunicorn_takes_whatever_is_told_of_a_large_certificate() {
    if !have("gunicorn") {
        return;
    }
    let gunicorn = Gunicorn::start(&["--workers", "1"]).await;
    let route = "[[route]]\npath = \"/*\"\nupstream = \"api\"\nforward_client_cert = [\"nginx\", \"rfc9440\", \"xfcc\", \"alb\", \"traefik\"]\n";
    let binary = Binary::start(&format!("{}{route}", gateway::upstream("api", gunicorn.address)));
    // In base64 they fall on both sides of the limit; percent-encoded PEM crosses it earlier.
    for size in (4800..6200).step_by(70) {
        let identity = binary.pki.spoiled(|params| {
            params.custom_extensions =
                vec![rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![b'x'; size])];
        });
        let answer = Client::new(&binary.pki, binary.address).with(&identity).get("/large").await;
        assert_eq!(answer.status, 200, "{size}: {}", answer.text());
    }
}
