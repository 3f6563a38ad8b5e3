//! Clients that others wrote, against the real program.

use std::process::{Command, Output, Stdio};

use crate::support::binary::{Binary, have, run_to_end};
use crate::support::{Upstream, gateway};

async fn started() -> (Upstream, Binary) {
    let upstream = Upstream::answering(|seen| {
        let body = seen.body.clone().unwrap_or_default();
        let text = format!("{} {} {} bytes", seen.method, seen.uri, body.len());
        http::Response::new(crate::support::upstream::text(text))
    })
    .await;
    let binary = Binary::start(&gateway::upstream("api", upstream.address));
    (upstream, binary)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_over_http_1_and_http_2() {
    if !have("curl") {
        return;
    }
    let (upstream, binary) = started().await;
    let pki = &binary.pki;
    let large = pki.path("large.bin");
    std::fs::write(&large, vec![b'x'; 3 << 20]).unwrap();
    let url = |path: &str| format!("https://localhost:{}{path}", binary.address.port());
    for (version, name) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let curl = |arguments: &[&str], with_certificate: bool| {
            let mut command = Command::new("curl");
            command.args(["-sS", "--max-time", "15", version, "-w", " [%{http_code} %{http_version}]", "--cacert"]);
            command.arg(pki.path("ca.crt"));
            if with_certificate {
                command.arg("--cert").arg(pki.path("clients/client-1.crt"));
                command.arg("--key").arg(pki.path("clients/client-1.key"));
            }
            text(&run_to_end(command.args(arguments)))
        };
        assert_eq!(curl(&[&url("/health")], false), format!("OK [200 {name}]"));
        assert_eq!(curl(&[&url("/a?b=c")], true), format!("GET /a?b=c 0 bytes [200 {name}]"));
        let refused = curl(&[&url("/a")], false);
        assert!(refused.contains("certificate_missing") && refused.ends_with(&format!("[403 {name}]")), "{refused}");
        let json = ["-H", "Content-Type: application/json", "-d", "{\"a\":1}", &url("/api/webhook")];
        assert_eq!(curl(&json, true), format!("POST /api/webhook 7 bytes [200 {name}]"));
        // curl asks first for a body of this size.
        let upload = format!("@{}", large.display());
        let put = ["-X", "PUT", "--data-binary", &upload, &url("/large")];
        assert_eq!(curl(&put, true), format!("PUT /large 3145728 bytes [200 {name}]"));
        // Without reading from the file, nor a word of it upstream.
        let refused = curl(&["--data-binary", &upload, &url("/large")], false);
        assert!(refused.ends_with(&format!("[403 {name}]")), "{refused}");
        let chunked = ["-X", "POST", "-H", "Transfer-Encoding: chunked", "-d", "abc", &url("/chunked")];
        assert_eq!(
            curl(if name == "2" { &json } else { &chunked }, true).split('[').nth(1).unwrap(),
            format!("200 {name}]")
        );
        let head = curl(&["-I", &url("/head")], true);
        assert!(head.contains(&format!("[200 {name}]")) && head.contains("x-request-id: "), "{head}");
        // Two on one connection.
        let twice = curl(&[&url("/one"), &url("/two")], true);
        assert_eq!(twice, format!("GET /one 0 bytes [200 {name}]GET /two 0 bytes [200 {name}]"));
        // Many at once.
        let urls = url("/many/[1-50]");
        let many = curl(&["-Z", "--parallel-max", "10", &urls], true);
        assert_eq!(many.matches(&format!("[200 {name}]")).count(), 50, "{many}");
    }
    let seen = upstream.seen();
    assert!(seen.iter().all(|seen| seen.body.is_ok()));
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("expect")));
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_s_client() {
    if !have("openssl") {
        return;
    }
    let (_upstream, binary) = started().await;
    let pki = &binary.pki;
    for version in ["-tls1_2", "-tls1_3"] {
        for with_certificate in [true, false] {
            let mut command = Command::new("openssl");
            command.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost", version]);
            command.arg("-connect").arg(binary.address.to_string()).arg("-CAfile").arg(pki.path("ca.crt"));
            if with_certificate {
                command.arg("-cert").arg(pki.path("clients/client-1.crt"));
                command.arg("-key").arg(pki.path("clients/client-1.key"));
            }
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let request = b"POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";
            std::io::Write::write_all(&mut stdin, request).unwrap();
            let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
            drop(stdin);
            let answer = String::from_utf8_lossy(&output.stdout);
            let expected = if with_certificate { "HTTP/1.1 200 OK\r\n" } else { "HTTP/1.1 403 Forbidden\r\n" };
            assert!(answer.starts_with(expected), "{version} {answer} {:?}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

const PYTHON: &str = r#"
import http.client, json, ssl, sys
port, folder = int(sys.argv[1]), sys.argv[2]
def connect(certificate):
    context = ssl.create_default_context(cafile=folder + "/ca.crt")
    if certificate:
        context.load_cert_chain(folder + "/clients/client-1.crt", folder + "/clients/client-1.key")
    return http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
def ask(connection, *arguments, **more):
    connection.request(*arguments, **more)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
stranger, client = connect(False), connect(True)
assert ask(stranger, "GET", "/health") == (200, "OK")
for _ in range(3):
    status, body = ask(stranger, "POST", "/x", body=b"y" * 5000)
    assert status == 403 and json.loads(body)["reason"] == "certificate_missing", (status, body)
for number in range(20):
    body = json.dumps({"number": number}).encode()
    headers = {"Content-Type": "application/json"}
    assert ask(client, "POST", "/x", body=body, headers=headers) == (200, "POST /x %d bytes" % len(body))
    assert ask(client, "GET", "/x") == (200, "GET /x 0 bytes")
def pieces():
    for _ in range(100):
        yield b"z" * 1000
assert ask(client, "PUT", "/x", body=pieces(), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}) == (200, "PUT /x 100000 bytes")
status, body = ask(stranger, "POST", "/x", body=b"y" * 900000)
assert status == 403, status
print("fine")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn pythons_own_client() {
    if !have("python3") {
        return;
    }
    let (_upstream, binary) = started().await;
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON, &binary.address.port().to_string()]).arg(binary.pki.path(""));
    assert_eq!(text(&run_to_end(&mut python)), "fine\n");
}
