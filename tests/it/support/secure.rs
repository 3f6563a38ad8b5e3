//! Upstreams under TLS, whose certificates can be wrong and can be replaced.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

use super::{Identity, Pki, Upstream, Version};

static ONLY_12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// How an upstream shakes hands.
#[derive(Clone)]
pub struct Hands {
    pub identity: Identity,
    /// Whose clients it lets in; `None` asks for no certificate.
    pub clients: Option<Vec<u8>>,
    pub protocols: Vec<&'static str>,
    pub version: Option<Version>,
}

impl Hands {
    /// With the certificate of `pki` for localhost, asking for none.
    pub fn of(pki: &Pki) -> Self {
        let chain = CertificateDer::pem_slice_iter(&pki.read("server.crt")).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(&pki.read("server.key")).unwrap();
        Self::with(Identity { chain, key })
    }

    pub fn with(identity: Identity) -> Self {
        Self { identity, clients: None, protocols: vec!["h2", "http/1.1"], version: None }
    }

    fn config(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = match self.version {
            None => rustls::ALL_VERSIONS,
            Some(Version::Tls12) => &ONLY_12,
            Some(Version::Tls13) => &ONLY_13,
        };
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate.unwrap()).unwrap();
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(self.identity.chain.clone(), self.identity.key.clone_key()).unwrap();
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }
}

/// What an upstream under TLS has seen: for each request the server name, the subject of the client's certificate and
/// the protocol.
pub type Seen = Arc<Mutex<Vec<(Option<String>, Option<String>, http::Version)>>>;

/// An upstream under TLS that answers every request with `secure` and the length of its body, in whatever protocol the
/// client chose.
pub async fn secure(hands: Hands) -> (Upstream, Seen) {
    secure_on("127.0.0.1:0".parse().unwrap(), hands).await
}

pub async fn secure_on(address: std::net::SocketAddr, hands: Hands) -> (Upstream, Seen) {
    let seen = Seen::default();
    let remember = Arc::clone(&seen);
    let acceptor = TlsAcceptor::from(Arc::new(hands.config()));
    let upstream = Upstream::raw_on(address, move |_, stream| {
        let (acceptor, remember) = (acceptor.clone(), Arc::clone(&remember));
        async move {
            let stream = match acceptor.accept(stream).into_fallible().await {
                Ok(stream) => stream,
                Err((_, mut socket)) => {
                    // Closed with something unread, it would be reset, and the alert lost.
                    let _ = socket.shutdown().await;
                    let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
                    return;
                }
            };
            let session = stream.get_ref().1;
            let name = session.server_name().map(str::to_owned);
            let subject = session.peer_certificates().map(|chain| common_name(&chain[0]));
            let is_http2 = session.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request: Request<Incoming>| {
                let (name, subject, remember) = (name.clone(), subject.clone(), Arc::clone(&remember));
                async move {
                    remember.lock().unwrap().push((name, subject, request.version()));
                    let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
                    let answer = format!("secure {}", body.len());
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
                }
            });
            if is_http2 {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            } else {
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            }
        }
    })
    .await;
    (upstream, seen)
}

/// `[upstream.api]` under TLS, believing in the CA of `pki`. `more` is within `[upstream.api.tls]`.
pub fn upstream(url: &str, pki: &Pki, more: &str) -> String {
    format!("[upstream.api]\nurl = \"{url}\"\n[upstream.api.tls]\nca = {:?}\n{more}", pki.path("ca.crt"))
}

/// A server's certificate for localhost and 127.0.0.1 that is right except for what `spoil` does to it.
pub fn server_under(issuer: &Issuer<'_, KeyPair>, spoil: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "upstream");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    spoil(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Identity { chain: vec![certificate.der().clone()], key: super::pki::private_key(&key) }
}

fn common_name(der: &CertificateDer<'_>) -> String {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    certificate.subject().iter_common_name().map(|name| name.as_str().unwrap()).collect()
}
