//! Clients: raw bytes over TLS, and hyper's HTTP/1 and HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Identity, Pki};

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

/// A client of one gateway.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    roots: Arc<RootCertStore>,
    identity: Option<Identity>,
    versions: &'static [&'static SupportedProtocolVersion],
    name: ServerName<'static>,
}

/// An HTTP/1 answer as it came.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
static ONLY_12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// Everything in a test takes less than this, or it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

impl Client {
    /// A client without a certificate that calls the gateway `localhost`.
    pub fn new(pki: &Pki, address: SocketAddr) -> Self {
        let mut roots = RootCertStore::empty();
        let pem = pki.read("ca.crt");
        for certificate in
            <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::pem_slice_iter(&pem)
        {
            roots.add(certificate.unwrap()).unwrap();
        }
        Self {
            address,
            roots: Arc::new(roots),
            identity: None,
            versions: &BOTH,
            name: ServerName::try_from("localhost").unwrap(),
        }
    }

    pub fn with(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    pub fn without_certificate(mut self) -> Self {
        self.identity = None;
        self
    }

    pub fn only(mut self, version: Version) -> Self {
        self.versions = match version {
            Version::Tls12 => &ONLY_12,
            Version::Tls13 => &ONLY_13,
        };
        self
    }

    pub fn calling(mut self, name: &str) -> Self {
        self.name = ServerName::try_from(name.to_owned()).unwrap();
        self
    }

    /// How this client shakes hands, for tests that change it.
    pub fn config(&self, protocols: &[&str]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            // Not `with_client_auth_cert`: that one checks that certificate and key are a pair, and some are not.
            Some(identity) => {
                let key = provider.key_provider.load_private_key(identity.key.clone_key()).unwrap();
                let certified = rustls::sign::CertifiedKey::new(identity.chain.clone(), key);
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// A TLS connection; `protocols` are offered by ALPN.
    pub async fn connect(&self, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.config(protocols)));
        timeout(PATIENCE, connector.connect(self.name.clone(), socket)).await.expect("a handshake in time")
    }

    /// A connection for raw HTTP/1.
    pub async fn raw(&self) -> Raw {
        Raw { stream: self.connect(&["http/1.1"]).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends raw bytes on a new connection and reads one answer.
    pub async fn send_raw(&self, bytes: impl AsRef<[u8]>) -> RawAnswer {
        let mut raw = self.raw().await;
        raw.send(bytes).await;
        raw.answer().await
    }

    /// Whether there is no connection to be had: the handshake fails, which in TLS 1.3 shows only at the first read.
    pub async fn is_refused_in_the_handshake(&self) -> bool {
        let Ok(stream) = self.connect(&["http/1.1"]).await else { return true };
        let mut raw = Raw { stream, buffer: Vec::new() };
        let _ = raw.stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        raw.is_closed().await
    }

    /// GET over HTTP/1.1 on a new connection.
    pub async fn get(&self, path: &str) -> RawAnswer {
        self.send_raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
    }

    /// An HTTP/1.1 connection of hyper's.
    pub async fn http1(&self) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
        let stream = self.connect(&["http/1.1"]).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// An HTTP/2 connection of hyper's.
    pub async fn http2(&self) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let stream = self.connect(&["h2"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// One request over HTTP/2 on a new connection. The target is an absolute URL, or a path on localhost.
    pub async fn h2(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut sender = self.http2().await;
        let target = if target.starts_with('/') { format!("https://localhost{target}") } else { target.to_owned() };
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        Answer::of(timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()).await
    }
}

/// An answer that has been read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub async fn of(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let collected = timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
        let trailers = collected.trailers().cloned();
        Self { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A connection on which HTTP/1 is spoken by hand.
pub struct Raw {
    pub stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Raw {
    pub fn new(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads one answer: by its length, its chunks, or to the end.
    pub async fn answer(&mut self) -> RawAnswer {
        timeout(PATIENCE, self.read_answer(false)).await.expect("an answer in time")
    }

    /// Reads an answer to HEAD.
    pub async fn answer_to_head(&mut self) -> RawAnswer {
        timeout(PATIENCE, self.read_answer(true)).await.expect("an answer in time")
    }

    /// Everything until the other side ends; an error ends it, too.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.buffer);
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("an end in time");
        rest
    }

    /// Everything up to and with `mark`.
    pub async fn until(&mut self, mark: &str) -> String {
        let length = loop {
            if let Some(at) = find(&self.buffer, mark.as_bytes()) {
                break at + mark.len();
            }
            let more = timeout(PATIENCE, self.fill()).await.expect("more in time");
            assert!(more, "ended before {mark:?}: {:?}", String::from_utf8_lossy(&self.buffer));
        };
        String::from_utf8_lossy(&self.buffer.drain(..length).collect::<Vec<_>>()).into_owned()
    }

    /// Whether the other side ends the connection, without a byte before.
    pub async fn is_closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = vec![0; 16 * 1024];
        match self.stream.read(&mut bytes).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                true
            }
        }
    }

    async fn read_answer(&mut self, to_head: bool) -> RawAnswer {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(self.fill().await, "ended in a head: {:?}", String::from_utf8_lossy(&self.buffer));
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap();
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        let mut answer = RawAnswer { status, headers, body: Vec::new() };
        if to_head || status == 204 || status == 304 || status / 100 == 1 {
            return answer;
        }
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                assert!(self.fill().await, "ended in a body");
            }
            answer.body = self.buffer.drain(..length).collect();
        } else if answer.header("transfer-encoding").is_some() {
            answer.body = self.read_chunks().await;
        } else {
            while self.fill().await {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        answer
    }

    async fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = find(&self.buffer, b"\r\n") {
                    break end;
                }
                assert!(self.fill().await, "ended in a chunk");
            };
            let size = String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if size == 0 {
                // Trailers are left where they are, for who wants them.
                if self.buffer.starts_with(b"\r\n") {
                    self.buffer.drain(..2);
                }
                return body;
            }
            while self.buffer.len() < size + 2 {
                assert!(self.fill().await, "ended in a chunk");
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
