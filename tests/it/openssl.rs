//! Other people's programs: certificates made and connections opened by OpenSSL, curl and Python.

use std::path::Path;
use std::process::Stdio;

use mtls_gateway::pki::{KeyType, Overwrite, ServerRequest, parse_server_name};
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::client::PATIENCE;
use crate::support::gateway::base;
use crate::support::pki::private_key;
use crate::support::site::ROUTES;
use crate::support::{Gateway, Identity, Pki, Site, Version, eventually};

const BOTH: [Version; 2] = [Version::Tls12, Version::Tls13];

/// Runs a program and returns whether it succeeded, with what it printed to both outputs.
pub async fn run(folder: &Path, program: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("an end in time").unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Runs a program that reads `input`, whatever comes of it, and returns what it printed to both outputs.
async fn run_with(folder: &Path, program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await.unwrap();
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("an end in time").unwrap();
    drop(stdin);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Runs `openssl`, with the arguments as one line; none of them has a space.
pub async fn openssl(folder: &Path, arguments: &str) -> String {
    let (succeeded, text) = run(folder, "openssl", &arguments.split(' ').collect::<Vec<_>>()).await;
    assert!(succeeded, "openssl {arguments}: {text}");
    text
}

/// A folder with a key, a request and a certificate of OpenSSL's, signed by the site's authority.
pub async fn issued(pki: &Pki, key: &str, extensions: Option<&str>) -> TempDir {
    issued_to(pki, "/C=DE/O=Exämple/CN=by-openssl", key, extensions).await
}

async fn issued_to(pki: &Pki, subject: &str, key: &str, extensions: Option<&str>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["ca.crt", "ca.key"] {
        std::fs::write(at.join(name), pki.read(name)).unwrap();
    }
    openssl(at, &format!("genpkey {key} -out client.key")).await;
    openssl(at, &format!("req -new -key client.key -subj {subject} -multivalue-rdn -utf8 -out client.csr")).await;
    let mut sign =
        "x509 -req -in client.csr -CA ca.crt -CAkey ca.key -set_serial 0x1234 -days 30 -out client.crt".to_owned();
    if let Some(extensions) = extensions {
        std::fs::write(at.join("extensions"), extensions).unwrap();
        sign.push_str(" -extfile extensions");
    }
    openssl(at, &sign).await;
    folder
}

fn certificate(folder: &TempDir) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.path().join("client.crt")).unwrap()
}

pub fn identity(folder: &TempDir) -> Identity {
    let key = PrivateKeyDer::from_pem_file(folder.path().join("client.key")).unwrap();
    Identity { chain: vec![certificate(folder)], key }
}

/// The certificate with a key that fits a signature but not the certificate: enough to see how far a handshake gets.
fn shown(folder: &TempDir) -> Identity {
    Identity { chain: vec![certificate(folder)], key: private_key(&KeyPair::generate().unwrap()) }
}

pub const GOOD: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n\
                    subjectAltName=DNS:a.example,URI:urn:x,email:a@b.example,IP:192.0.2.1\n";

#[tokio::test(flavor = "multi_thread")]
async fn certificates_made_by_openssl_are_accepted_and_described() {
    let site = Site::start(ROUTES).await;
    for key in [
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm ED25519",
    ] {
        let folder = issued(&site.pki, key, Some(GOOD)).await;
        for version in BOTH {
            let client = site.stranger.clone().with(&identity(&folder)).only(version);
            assert_eq!(client.get("/private").await.status, 200, "{key} {version:?}");
        }
        let headers = site.upstream.seen().pop().unwrap().headers;
        assert_eq!(headers["x-ssl-client-s-dn"], "CN=by-openssl,O=Ex\\C3\\A4mple,C=DE");
        assert_eq!(headers["x-ssl-client-serial"], "1234");
        assert_eq!(headers["x-ssl-client-san"], "DNS:a.example,URI:urn:x,EMAIL:a@b.example,IP:192.0.2.1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_repeated_and_multiple_and_unknown_attributes_are_told_in_full() {
    let site = Site::start(ROUTES).await;
    let key = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    for (subject, expected) in [
        ("/OU=a/OU=b/OU=a/CN=x", "CN=x,OU=a,OU=b,OU=a"),
        ("/DC=example/DC=com/UID=me+CN=x", ""),
        ("/organizationIdentifier=PSDDE-1/CN=x", "CN=x,2.5.4.97=#0C0750534444452D31"),
        ("/emailAddress=a@b.example/CN=x", "CN=x,1.2.840.113549.1.9.1=#160B61406"),
        ("/CN=a\\/b,c=d\\+e;f", "CN=a/b\\,c=d\\+e\\;f"),
        ("/CN=😀", "CN=\\F0\\9F\\98\\80"),
    ] {
        let folder = issued_to(&site.pki, subject, key, Some(GOOD)).await;
        let answer = site.stranger.clone().with(&identity(&folder)).get("/private").await;
        assert_eq!(answer.status, 200, "{subject}: {}", answer.text());
        let headers = site.upstream.seen().pop().unwrap().headers;
        let told = headers["x-ssl-client-s-dn"].to_str().unwrap();
        if subject.contains('+') && expected.is_empty() {
            // The attributes of one RDN are a set: DER orders them.
            assert!(matches!(told, "CN=x+UID=me,DC=com,DC=example" | "UID=me+CN=x,DC=com,DC=example"), "{told}");
        } else {
            assert!(told.starts_with(expected), "{subject}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_version_1_is_malformed_and_no_reason_for_an_alert() {
    let site = Site::start(ROUTES).await;
    let folder = issued(&site.pki, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", None).await;
    assert!(openssl(folder.path(), "x509 -in client.crt -noout -text").await.contains("Version: 1"));
    for version in BOTH {
        let answer = site.stranger.clone().with(&identity(&folder)).only(version).get("/private").await;
        assert_eq!((answer.status, answer.json()["reason"].clone()), (403, "malformed".into()), "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_supported_end_in_an_alert_and_a_line_with_the_reason() {
    let site = Site::start(ROUTES).await;
    let mut alerts = 0;
    for key in [
        "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-224",
        "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
        "-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1",
        "-algorithm EC -pkeyopt ec_paramgen_curve:prime192v1",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2047",
        "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
        "-algorithm ED448",
    ] {
        let folder = issued(&site.pki, key, Some(GOOD)).await;
        for version in BOTH {
            let client = site.stranger.clone().with(&shown(&folder)).only(version);
            assert!(client.is_refused_in_the_handshake().await, "{key} {version:?}");
            alerts += 1;
            eventually(&format!("a line for {key}"), async || {
                let lines = site.gateway.log();
                let fits =
                    |line: &&serde_json::Value| line["event"] == "handshake" && line["reason"] == "unsupported_key";
                (lines.iter().filter(fits).count() == alerts).then_some(())
            })
            .await;
        }
    }
    assert!(site.gateway.log().iter().all(|line| line["level"] == "warn" && line["event"] == "handshake"));
    assert_eq!(site.upstream.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_with_a_weak_key_or_digest_is_told_as_unsupported() {
    let site = Site::start(ROUTES).await;
    let folder = issued(&site.pki, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", Some(GOOD)).await;
    openssl(
        folder.path(),
        "x509 -req -sha1 -in client.csr -CA ca.crt -CAkey ca.key -days 30 -extfile extensions -out client.crt",
    )
    .await;
    let answer = site.stranger.clone().with(&identity(&folder)).get("/private").await;
    assert_eq!((answer.status, answer.json()["reason"].clone()), (403, "unsupported_key".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_resumed() {
    let site = Site::start(ROUTES).await;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["ca.crt", "clients/client-1.crt", "clients/client-1.key"] {
        std::fs::write(at.join(name.rsplit('/').next().unwrap()), site.pki.read(name)).unwrap();
    }
    let address = site.gateway.address;
    let connect = format!(
        "s_client -connect {address} -servername localhost -CAfile ca.crt -cert client-1.crt -key client-1.key"
    );
    let text = openssl(at, &format!("{connect} -tls1_2 -reconnect")).await;
    assert_eq!(text.matches("New, TLSv1.2").count(), 6, "{text}");
    assert!(!text.contains("Reused"), "{text}");
    let text = openssl(at, &format!("{connect} -tls1_3 -sess_out session -ign_eof")).await;
    assert!(!text.contains("New Session Ticket") && !at.join("session").exists(), "{text}");

    // A client that keeps whatever it is given.
    for version in BOTH {
        let client = site.client.clone().only(version);
        let mut config = client.config(&["http/1.1"]);
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        config.enable_early_data = true;
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        for _ in 0..3 {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
            stream.write_all(b"GET /private HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            let kind = stream.get_ref().1.handshake_kind();
            assert!(
                matches!(kind, Some(rustls::HandshakeKind::Full | rustls::HandshakeKind::FullWithHelloRetryRequest)),
                "{kind:?}"
            );
        }
    }
    assert!(
        site.gateway.log().iter().filter(|line| line["event"] == "request").all(|line| line["tls_resumed"] == false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_resumes_where_it_may_and_under_no_other_name() {
    let pki = Pki::new();
    let at = pki.path("");
    let profile = format!(
        "[[tls.sni]]\nnames = \"other.example.com\"\ncertificate = {:?}\nprivate_key = {:?}\n",
        pki.path("server.crt"),
        pki.path("server.key")
    );
    let text = base(&pki).replace("[tls]\n", "[tls]\nresumption = \"on\"\n");
    let text = format!("{text}{profile}[upstream.api]\nurl = \"http://127.0.0.1:9\"\n");
    let gateway = Gateway::start_with(&text).await;
    let connect = format!(
        "s_client -connect {} -CAfile ca.crt -cert clients/client-1.crt -key clients/client-1.key",
        gateway.address
    );
    let text = openssl(&at, &format!("{connect} -servername localhost -tls1_2 -reconnect")).await;
    assert_eq!((text.matches("New, TLSv1.2").count(), text.matches("Reused, TLSv1.2").count()), (1, 5), "{text}");
    // With a request, so that the tickets of TLS 1.3 are read before the end.
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let with = async |options: &str| {
            let line = format!("{connect} {version} -ign_eof {options}");
            run_with(&at, "openssl", &line.split(' ').collect::<Vec<_>>(), request).await
        };
        let text = with("-servername localhost -sess_out session").await;
        assert!(text.contains("New, ") && text.contains("200 OK"), "{text}");
        let text = with("-servername localhost -sess_in session").await;
        assert!(text.contains("Reused, ") && text.contains("200 OK"), "{text}");
        let text = with("-servername other.example.com -sess_in session").await;
        assert!(text.contains("New, ") && text.contains("200 OK"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_versions_ciphers_and_protocols_are_those_of_today() {
    let site = Site::start(ROUTES).await;
    let at = site.pki.path("");
    let connect = format!("s_client -connect {} -servername localhost -CAfile ca.crt", site.gateway.address);
    for refused in [
        "-tls1",
        "-tls1_1",
        "-tls1_2 -cipher AES128-SHA",
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA",
        "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256",
        "-alpn foo",
    ] {
        let line = format!("{connect} {refused}");
        let (succeeded, text) = run(&at, "openssl", &line.split(' ').collect::<Vec<_>>()).await;
        assert!(!succeeded, "{refused}: {text}");
    }
    for (offered, chosen) in [
        ("h2,http/1.1", "h2"),
        ("http/1.1,h2", "h2"),
        ("http/1.1", "http/1.1"),
        ("foo,http/1.1", "http/1.1"),
        ("http/1.0", "http/1.0"),
    ] {
        let text = openssl(&at, &format!("{connect} -alpn {offered}")).await;
        assert!(text.contains(&format!("ALPN protocol: {chosen}")), "{offered}: {text}");
    }
    let text = openssl(&at, &connect).await;
    assert!(text.contains("No ALPN negotiated"), "{text}");
    // Clients choose their certificate by the names of the authorities.
    assert!(text.contains("Acceptable client certificate CA names"), "{text}");

    for (version, name, group) in [(Version::Tls13, "TLSv1.3", "X25519MLKEM768"), (Version::Tls12, "TLSv1.2", "X25519")]
    {
        let client = site.client.clone().only(version);
        let id = client.get("/open").await.header("x-request-id").unwrap().to_owned();
        let line = site.gateway.logged("request", |line| line["request_id"] == id.as_str()).await;
        assert_eq!((&line["tls_version"], &line["tls_group"]), (&name.into(), &group.into()));
        assert_eq!((&line["sni"], &line["tls_resumed"]), (&"localhost".into(), &false.into()));
        assert!(line["tls_cipher"].as_str().unwrap().contains("_"), "{line}");
    }
    // Without ALPN it is HTTP/1.1.
    let stream = site.client.connect(&[]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("/private").header("host", "localhost");
    let answer =
        sender.send_request(request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_what_the_gate_says() {
    let site = Site::start(ROUTES).await;
    let at = site.pki.path("");
    std::fs::write(at.join("big"), vec![b'x'; 20_000_000]).unwrap();
    let url = |path: &str| format!("https://localhost:{}{path}", site.gateway.address.port());
    let format = "%{http_code} %{http_version}";
    let certificate = ["--cert", "clients/client-1.crt", "--key", "clients/client-1.key"];
    for (more, path, expected) in [
        (&["--http1.1"][..], "/health", "200 1.1"),
        (&["--http2"], "/health", "200 2"),
        (&["--http1.1"], "/private", "403 1.1"),
        (&["--http2"], "/private", "403 2"),
        (&["--http1.1", "--data-binary", "@big"], "/private", "403 1.1"),
        (&["--http2", "--data-binary", "@big"], "/private", "403 2"),
        (&["--http1.1", "--data-binary", "@big", "-H", "Expect:"], "/private", "403 1.1"),
        (&["--http1.1", "-T", "big"], "/private", "403 1.1"),
        (&["--http1.1", "-T", "big", "-H", "Transfer-Encoding: chunked", "-H", "Expect:"], "/private", "403 1.1"),
        (&["--http1.0", "--data-binary", "@big"], "/private", "403 1"),
        (&["--http1.0"], "/open", "200 1"),
        (&["--http2", "-X", "DELETE"], "/open", "200 2"),
    ] {
        let url = url(path);
        let mut arguments = vec!["-sS", "--cacert", "ca.crt", "-o", "answer", "-w", format, &url];
        arguments.extend(more);
        let (succeeded, text) = run(&at, "curl", &arguments).await;
        assert!(succeeded && text == expected, "{more:?} {path}: {text}");
        if expected.starts_with("403") {
            let problem: serde_json::Value =
                serde_json::from_slice(&std::fs::read(at.join("answer")).unwrap()).unwrap();
            assert_eq!(problem["reason"], "certificate_missing");
        }
    }
    assert_eq!(site.upstream.seen().len(), 2);
    for version in ["--http1.1", "--http2"] {
        let url = url("/private");
        let mut arguments = vec!["-sS", "--cacert", "ca.crt", "-o", "answer", "-w", format, version, "-d", "{}", &url];
        arguments.extend(certificate);
        let (succeeded, text) = run(&at, "curl", &arguments).await;
        assert!(succeeded && text.starts_with("200"), "{version}: {text}");
    }
    assert!(site.upstream.seen().iter().skip(2).all(|seen| seen.body.as_deref() == Ok(b"{}")));
}

/// Sends 20 MB before it reads, in two ways.
const PYTHON: &str = r#"
import http.client, json, socket, ssl, sys
port = int(sys.argv[1])
context = ssl.create_default_context(cafile="ca.crt")
body = b"x" * 20_000_000
connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
try:
    connection.request("POST", "/private", body=body)
    sent = "all"
except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
    sent = "some"
    connection._HTTPConnection__state = http.client._CS_REQ_SENT
answer = connection.getresponse()
print(answer.status, json.load(answer)["reason"])

stream = context.wrap_socket(socket.create_connection(("localhost", port), 20), server_hostname="localhost")
try:
    stream.sendall(b"POST /private HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n" + body)
except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
    pass
answer = b""
while b"certificate_missing" not in answer:
    piece = stream.recv(65536)
    if not piece:
        break
    answer += piece
print(answer.split(b" ")[1].decode(), "certificate_missing" if b"certificate_missing" in answer else answer)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn python_gets_to_read_its_403_after_twenty_megabytes() {
    let site = Site::start(ROUTES).await;
    let at = site.pki.path("");
    let port = site.gateway.address.port().to_string();
    let (succeeded, text) = run(&at, "python3", &["-c", PYTHON, &port]).await;
    assert!(succeeded, "{text}");
    assert_eq!(text, "403 certificate_missing\n403 certificate_missing\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_certificates_a_client_gets_the_one_it_can_verify() {
    let pki = Pki::new();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["server.crt", "server.key"] {
        std::fs::copy(pki.path(name), at.join(format!("ecdsa-{name}"))).unwrap();
    }
    let mut request = ServerRequest::new(vec![parse_server_name("localhost").unwrap()]);
    request.key_type = KeyType::Rsa2048;
    pki.store().issue_server(&request, Overwrite::Replace).unwrap();
    // RSA stands first in the file, and is second choice all the same.
    let files = |name: &str| format!("[{:?}, {:?}]", pki.path(name), at.join(format!("ecdsa-{name}")));
    let text = base(&pki)
        .replace(
            &format!("certificate = {:?}", pki.path("server.crt")),
            &format!("certificate = {}", files("server.crt")),
        )
        .replace(
            &format!("private_key = {:?}", pki.path("server.key")),
            &format!("private_key = {}", files("server.key")),
        );
    let gateway = Gateway::start_with(&format!("{text}{}", "[upstream.api]\nurl = \"http://127.0.0.1:9\"\n")).await;
    for (options, kind) in [
        ("-tls1_3", "ECDSA"),
        ("-tls1_3 -sigalgs RSA-PSS+SHA256:ECDSA+SHA256", "ECDSA"),
        ("-tls1_3 -sigalgs RSA-PSS+SHA256", "RSA-PSS"),
        ("-tls1_2", "ECDSA"),
        ("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "RSA-PSS"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"),
        ("-tls1_2 -sigalgs RSA+SHA256", "RSA"),
    ] {
        let text = openssl(at, &format!("s_client -connect {} -servername localhost {options}", gateway.address)).await;
        assert!(text.contains(&format!("Peer signature type: {kind}\n")), "{options}: {text}");
    }
}
