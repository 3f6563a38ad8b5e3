//! TLS profiles by server name: which certificate a client gets, who judges it, and where its requests may go.

use bytes::Bytes;
use http_body_util::Full;
use mtls_gateway::pki::{KeyType, Overwrite, ServerRequest, parse_server_name};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};
use tokio::net::TcpStream;

use crate::support::client::{Answer, Raw};
use crate::support::wire::soon;
use crate::support::{Client, Crl, Gateway, Pki, Upstream, Version, gateway};

/// A gateway for `localhost`, with profiles for tenants (who have a CA of their own), and for `open.example.com`, which
/// asks for no certificate.
struct Tenants {
    pki: Pki,
    tenant: Pki,
    upstream: Upstream,
    gateway: Gateway,
}

impl Tenants {
    async fn start() -> Self {
        let (pki, tenant) = (Pki::new(), Pki::new());
        let upstream = Upstream::echo().await;
        for (name, names) in [
            ("tenant", &["*.tenant.example.com"][..]),
            ("exact", &["exact.tenant.example.com"]),
            ("open", &["open.example.com"]),
        ] {
            issue_server(&pki, name, names, KeyType::EcdsaP256);
        }
        let text = configuration(&pki, &tenant, &upstream);
        let gateway = Gateway::start(&pki, &text).await;
        Self { pki, tenant, upstream, gateway }
    }

    /// A client that calls this name, with a certificate of the main CA.
    fn client(&self, name: &str) -> Client {
        Client::new(&self.pki, self.gateway.address).calling(name).with(&self.pki.client("client-1"))
    }

    /// The same with a certificate of the tenants' CA.
    fn tenant(&self, name: &str) -> Client {
        self.client(name).with(&self.tenant.client("client-1"))
    }
}

fn configuration(pki: &Pki, tenant: &Pki, upstream: &Upstream) -> String {
    let profile = |names: &str, file: &str, client_auth: &str| {
        let [certificate, key] = ["crt", "key"].map(|end| pki.path(&format!("{file}.{end}")));
        format!("[[tls.sni]]\nnames = {names}\ncertificate = {certificate:?}\nprivate_key = {key:?}\n{client_auth}\n")
    };
    [
        profile(
            "[\"*.tenant.example.com\", \"other.example.com\"]",
            "tenant",
            &format!("client_auth = {{ ca = {:?} }}", tenant.path("ca.crt")),
        ),
        profile("\"exact.tenant.example.com\"", "exact", ""),
        profile("\"open.example.com\"", "open", "client_auth = { mode = \"off\" }"),
        "[[route]]\npath = \"/public\"\npublic = true\nupstream = \"api\"\n[[route]]\npath = \"/*\"\nupstream = \"api\"\n"
            .to_owned(),
        gateway::upstream("api", upstream.address),
    ]
    .concat()
}

/// Issues a server certificate and puts it and its key under this name.
fn issue_server(pki: &Pki, file: &str, names: &[&str], key_type: KeyType) {
    let mut request = ServerRequest::new(names.iter().map(|name| parse_server_name(name).unwrap()).collect());
    request.key_type = key_type;
    let [certificate, key] = ["server.crt", "server.key"].map(|name| pki.read(name));
    pki.store().issue_server(&request, Overwrite::Replace).unwrap();
    for (end, before) in [("crt", certificate), ("key", key)] {
        let issued = pki.path(&format!("server.{end}"));
        std::fs::copy(&issued, pki.path(&format!("{file}.{end}"))).unwrap();
        std::fs::write(&issued, before).unwrap();
    }
}

fn served(raw: &Raw) -> Vec<u8> {
    raw.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// The certificate in a file, as its DER.
fn leaf(pki: &Pki, file: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(&pki.read(file)).unwrap().to_vec()
}

fn get(host: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_name_gets_its_profiles_certificate_and_any_other_that_of_tls() {
    let site = Tenants::start().await;
    for (name, file) in [
        ("a.tenant.example.com", "tenant.crt"),
        ("A.Tenant.Example.COM", "tenant.crt"),
        ("exact.tenant.example.com", "exact.crt"),
        ("open.example.com", "open.crt"),
        ("localhost", "server.crt"),
        ("api.example.com", "server.crt"),
        ("127.0.0.1", "server.crt"),
    ] {
        for version in [Version::Tls12, Version::Tls13] {
            let raw = site.client(name).only(version).raw().await;
            assert!(served(&raw) == leaf(&site.pki, file), "{name} {version:?}");
        }
    }
    // The certificate of `[tls]` is not for this name, and it is what a deeper name gets.
    assert!(site.client("a.b.tenant.example.com").connect(&[]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_profile_judges_by_its_own_authorities_even_a_chain_that_another_believes() {
    let site = Tenants::start().await;
    let (main, tenant) = ("localhost", "a.tenant.example.com");
    for _ in 0..2 {
        for (client, name, expected) in [
            (site.client(main), main, (200, None)),
            (site.client(tenant), tenant, (403, Some("unknown_issuer"))),
            (site.tenant(tenant), tenant, (200, None)),
            (site.tenant(main), main, (403, Some("unknown_issuer"))),
            // This profile says nothing of its own, and the next one asks for nothing.
            (site.client("exact.tenant.example.com"), "exact.tenant.example.com", (200, None)),
            (site.tenant("exact.tenant.example.com"), "exact.tenant.example.com", (403, Some("unknown_issuer"))),
            (site.client("open.example.com"), "open.example.com", (403, Some("certificate_missing"))),
        ] {
            let answer = client.send_raw(get(name)).await;
            let reason = (answer.status == 403).then(|| answer.json()["reason"].as_str().unwrap().to_owned());
            assert_eq!((answer.status, reason.as_deref()), expected, "{name}");
        }
    }
    let answer =
        site.client("open.example.com").send_raw("GET /public HTTP/1.1\r\nHost: open.example.com\r\n\r\n").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_may_require_and_reject_what_another_does_not() {
    let site = Tenants::start().await;
    let name = "a.tenant.example.com";
    let list = site.tenant.path("test.crl");
    std::fs::write(&list, Crl::new().revoking_client(&site.tenant.client("client-1")).pem(&site.tenant.issuer()))
        .unwrap();
    let strict = format!("client_auth = {{ mode = \"required\", invalid = \"reject\", crl = {list:?}, ");
    let text = site.gateway.configuration().replacen("client_auth = { ca", &format!("{strict}ca"), 1);
    let good = site.tenant.issue_client("good");
    assert_eq!(site.tenant(name).send_raw(get(name)).await.status, 200);
    site.gateway.reload_with(&text).await.unwrap();
    assert!(site.tenant(name).is_refused_in_the_handshake().await, "revoked");
    assert!(site.client(name).is_refused_in_the_handshake().await, "of the main CA");
    assert!(site.client(name).without_certificate().is_refused_in_the_handshake().await);
    assert_eq!(site.client(name).with(&good).send_raw(get(name)).await.status, 200);
    // Elsewhere nothing has changed.
    assert_eq!(site.client("localhost").without_certificate().send_raw(get("localhost")).await.status, 403);
    assert_eq!(site.client("localhost").send_raw(get("localhost")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_configuration_promises_is_judged_by_the_profile_of_the_host() {
    let site = Tenants::start().await;
    let promise = |pki: &Pki, host: &str, expect: &str| {
        let certificate = pki.path("clients/client-1.crt");
        format!("[[test]]\ncertificate = {certificate:?}\nhost = {host:?}\npath = \"/x\"\nexpect = {expect}\n")
    };
    let kept = [
        promise(&site.pki, "localhost", "200"),
        promise(&site.pki, "a.tenant.example.com", "\"unknown_issuer\""),
        promise(&site.tenant, "a.tenant.example.com", "200"),
        promise(&site.tenant, "localhost", "\"unknown_issuer\""),
        promise(&site.pki, "open.example.com", "\"certificate_missing\""),
    ];
    let text = site.gateway.configuration();
    site.gateway.reload_with(&format!("{text}{}", kept.concat())).await.unwrap();
    let broken = promise(&site.tenant, "exact.tenant.example.com", "200");
    let problems = site.gateway.reload_with(&format!("{text}{broken}")).await.unwrap_err();
    assert!(problems[0].contains("expected 200, and it is 403 unknown_issuer"), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_the_host_of_another_profile_is_misdirected() {
    let site = Tenants::start().await;
    let tenant = "a.tenant.example.com";
    let mut raw = site.tenant(tenant).raw().await;
    let before = site.upstream.seen().len();
    for host in [
        "localhost",
        "api.example.com",
        "exact.tenant.example.com",
        "open.example.com",
        "tenant.example.com",
        "a.b.tenant.example.com",
        "127.0.0.1",
        "[::1]:8443",
    ] {
        raw.send(get(host)).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (421, Some("misdirected")), "{host}");
    }
    // Over HTTP/1.0 there may be no Host at all; that is no tenant's.
    let answer = site.tenant(tenant).send_raw("GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.status, 421);
    let answer = site.client("localhost").send_raw("GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(site.upstream.seen().len(), before + 1, "nothing of a misdirected request goes upstream");

    // Any name of the same profile will do, however it is written.
    for host in [tenant, "A.Tenant.Example.Com.:443", "b.tenant.example.com", "other.example.com:8443"] {
        raw.send(get(host)).await;
        assert_eq!(raw.answer().await.status, 200, "{host}");
    }
    let mut raw = site.client("localhost").raw().await;
    for (host, status) in [(tenant, 421), ("open.example.com", 421), ("127.0.0.1", 200), ("nobody.example.com", 200)] {
        raw.send(get(host)).await;
        assert_eq!(raw.answer().await.status, status, "{host}");
    }
    // A public route does not change that, and a stranger learns no more than a client does.
    let stranger = site.client("localhost").without_certificate();
    let answer = stranger.send_raw(format!("GET /public HTTP/1.1\r\nHost: {tenant}\r\n\r\n")).await;
    assert_eq!(answer.status, 421);
    // A load balancer's check knows no names.
    let answer = site.client(tenant).send_raw("GET /health HTTP/1.1\r\nHost: 10.0.0.1:8443\r\n\r\n").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_reuses_a_connection_for_another_name_is_told_to_open_one() {
    let site = Tenants::start().await;
    let mut sender = site.tenant("a.tenant.example.com").http2().await;
    for (host, status) in [
        ("a.tenant.example.com", 200),
        ("localhost", 421),
        ("b.tenant.example.com", 200),
        ("open.example.com", 421),
        ("a.tenant.example.com", 200),
    ] {
        let request = http::Request::get(format!("https://{host}/x")).body(Full::<Bytes>::default()).unwrap();
        let answer = Answer::of(soon(sender.send_request(request)).await.unwrap()).await;
        assert_eq!(answer.status, status, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_belongs_to_the_profile_its_name_has_after_a_reload() {
    let site = Tenants::start().await;
    let name = "a.tenant.example.com";
    let mut raw = site.tenant(name).raw().await;
    raw.send(get(name)).await;
    assert_eq!(raw.answer().await.status, 200);
    // Another profile comes first: numbers change, and this connection's name has the same profile as before.
    let text = site.gateway.configuration();
    let more = |names: &str| {
        let [certificate, key] = ["open.crt", "open.key"].map(|file| site.pki.path(file));
        let profile = format!(
            "[[tls.sni]]\nnames = {names:?}\ncertificate = {certificate:?}\nprivate_key = {key:?}\n[[tls.sni]]\n"
        );
        text.replacen("[[tls.sni]]\n", &profile, 1)
    };
    site.gateway.reload_with(&more("first.example.com")).await.unwrap();
    raw.send(get(name)).await;
    assert_eq!(raw.answer().await.status, 200);
    raw.send(get("first.example.com")).await;
    assert_eq!(raw.answer().await.status, 421);
    // Now the name has a profile of its own, which trusts others.
    site.gateway.reload_with(&more(name)).await.unwrap();
    raw.send(get(name)).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (403, Some("unknown_issuer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hello_in_pieces_gets_the_profile_of_its_name() {
    let site = Tenants::start().await;
    let name = "a.tenant.example.com";
    for version in [Version::Tls12, Version::Tls13] {
        for (record, segment) in [(1, 64), (3, 1), (100, 10), (16_000, 1)] {
            let config = site.tenant(name).only(version).config(&["http/1.1"]);
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
            let socket = in_pieces(&site.gateway, record, segment).await;
            let mut stream = soon(connector.connect(ServerName::try_from(name).unwrap(), socket)).await.unwrap();
            assert!(stream.get_ref().1.peer_certificates().unwrap()[0].as_ref() == leaf(&site.pki, "tenant.crt"));
            stream.write_all(get(name).as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            soon(stream.read_exact(&mut answer)).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200", "{version:?} {record} {segment}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hello_without_end_is_refused() {
    let site = Tenants::start().await;
    let mut socket = TcpStream::connect(site.gateway.address).await.unwrap();
    // A handshake message of 16 MiB, in records of 16 KiB.
    let mut record = vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    record.resize(5 + 0x4000, 0);
    let mut sent = 0;
    while sent < 1 << 20 && socket.write_all(&record).await.is_ok() {
        sent += record.len();
        record[5..9].fill(0);
    }
    let mut answer = Vec::new();
    let _ = soon(socket.read_to_end(&mut answer)).await;
    site.gateway.logged("handshake", |line| line["reason"] == "handshake_failed").await;
}

/// A connection whose first record, the ClientHello, is cut into records of `record` bytes, and these into pieces of
/// `segment` bytes, each written by itself.
async fn in_pieces(gateway: &Gateway, record: usize, segment: usize) -> DuplexStream {
    let (near, mut far) = duplex(64 * 1024);
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    tokio::spawn(async move {
        let mut header = [0; 5];
        far.read_exact(&mut header).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        far.read_exact(&mut hello).await.unwrap();
        let mut bytes = Vec::new();
        for piece in hello.chunks(record) {
            bytes.extend_from_slice(&header[..3]);
            bytes.extend_from_slice(&u16::try_from(piece.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(piece);
        }
        for piece in bytes.chunks(segment) {
            socket.write_all(piece).await.unwrap();
        }
        let _ = copy_bidirectional(&mut far, &mut socket).await;
    });
    near
}
