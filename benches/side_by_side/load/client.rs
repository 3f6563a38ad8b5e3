//! The TLS client: exactly one suite and one group on offer, so that every peer negotiates the same; and what came of
//! each handshake is asserted, a full one above all.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    SignatureScheme,
};

use super::record::Records;
use crate::pki::Keys;

/// How a client shakes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tls {
    pub(crate) version: Version,
    pub(crate) keys: Keys,
    pub(crate) post_quantum: bool,
    /// Whether it has a certificate.
    pub(crate) certificate: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

impl Tls {
    /// TLS 1.3 with X25519 and a certificate on P-256.
    pub(crate) const USUAL: Self =
        Self { version: Version::Tls13, keys: Keys::P256, post_quantum: false, certificate: true };
}

/// A client that has its certificates loaded.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    tls: Tls,
    http2: bool,
    /// Checks the server as a client should; the load itself does not, to leave its core for more load.
    careful: Arc<ClientConfig>,
    hasty: Arc<ClientConfig>,
}

impl Client {
    pub(crate) fn new(run: &Path, tls: Tls, http2: bool) -> Self {
        let careful = config(run, tls, http2);
        let mut hasty = config(run, tls, http2);
        hasty.resumption = Resumption::disabled();
        hasty.dangerous().set_certificate_verifier(Arc::new(Hasty));
        Self { tls, http2, careful: Arc::new(careful), hasty: Arc::new(hasty) }
    }

    /// A connection that has not begun its handshake.
    pub(super) fn begin(&self) -> ClientConnection {
        ClientConnection::new(Arc::clone(&self.hasty), name()).unwrap()
    }

    /// Shakes hands, waiting, and hands over the keys.
    pub(super) fn connect(&self, address: SocketAddr) -> (TcpStream, Records) {
        let (socket, connection) = self.shake(address, &self.hasty);
        (socket, Records::new(connection.dangerous_extract_secrets().unwrap()))
    }

    /// Two careful handshakes, the second with every chance to resume the first: it has to be a full one as well.
    /// Tells the head of the answer to a small GET, in lower case.
    pub(crate) fn check(&self, address: SocketAddr) -> String {
        let mut head = String::new();
        for _ in 0..2 {
            let (mut socket, mut connection) = self.shake(address, &self.careful);
            // Tickets come after the handshake, and the answer after them.
            let mut stream = rustls::Stream::new(&mut connection, &mut socket);
            stream.write_all(b"GET /api/hello HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"hello from the upstream\n") {
                let mut piece = [0; 1024];
                let read = stream.read(&mut piece).unwrap();
                assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&piece[..read]);
            }
            head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        }
        head
    }

    fn shake(&self, address: SocketAddr, config: &Arc<ClientConfig>) -> (TcpStream, ClientConnection) {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut connection = ClientConnection::new(Arc::clone(config), name()).unwrap();
        while connection.is_handshaking() || connection.wants_write() {
            connection.complete_io(&mut socket).unwrap();
        }
        self.assert(&connection);
        (socket, connection)
    }

    /// That the handshake was the one that was meant.
    pub(super) fn assert(&self, connection: &ClientConnection) {
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        let version = match self.tls.version {
            Version::Tls12 => ProtocolVersion::TLSv1_2,
            Version::Tls13 => ProtocolVersion::TLSv1_3,
        };
        assert_eq!(connection.protocol_version(), Some(version));
        let group = if self.tls.post_quantum { NamedGroup::X25519MLKEM768 } else { NamedGroup::X25519 };
        assert_eq!(connection.negotiated_key_exchange_group().map(|group| group.name()), Some(group));
        assert_eq!(connection.alpn_protocol() == Some(b"h2"), self.http2);
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

fn config(run: &Path, tls: Tls, http2: bool) -> ClientConfig {
    let folder = tls.keys.folder(run);
    let chain =
        |name: &str| CertificateDer::pem_file_iter(folder.join(name)).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let mut provider = default_provider();
    provider.kx_groups = vec![if tls.post_quantum { kx_group::X25519MLKEM768 } else { kx_group::X25519 }];
    if tls.version == Version::Tls12 {
        // There the list also says which curves a certificate may be on; the first one is still what is negotiated.
        provider.kx_groups.push(kx_group::SECP256R1);
    }
    provider.cipher_suites = match (tls.version, tls.keys) {
        (Version::Tls13, _) => vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        (Version::Tls12, Keys::P256) => vec![cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256],
        (Version::Tls12, Keys::Rsa2048) => vec![cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
    };
    let version = match tls.version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain("ca.crt"));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = if tls.certificate {
        let key = PrivateKeyDer::from_pem_file(folder.join("clients/client-1.key")).unwrap();
        builder.with_client_auth_cert(chain("clients/client-1.crt"), key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    config.enable_secret_extraction = true;
    config
}

/// Believes every server: each was checked before the load began.
#[derive(Debug)]
struct Hasty;

impl ServerCertVerifier for Hasty {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
