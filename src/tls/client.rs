//! TLS as a client: for the gateway's own health check and the demo's requests.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::settings::PemSource;
use super::{Error, pem};

/// How a server is known.
#[derive(Debug, Clone)]
pub enum ServerTrust {
    /// By a certificate under these authorities.
    Authorities(PemSource),
    /// Not at all: for this machine's own loopback, where there is nobody in between, and to see what a server shows.
    Loopback,
}

/// Connects as a client.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl Connector {
    /// A client that knows servers by `trust`, and shows `identity` (certificate chain and key) when asked.
    ///
    /// # Errors
    /// [`Error`] when a file is missing or no pair.
    pub fn new(trust: &ServerTrust, identity: Option<(&PemSource, &PemSource)>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = match trust {
            ServerTrust::Authorities(source) => {
                let mut roots = RootCertStore::empty();
                for certificate in pem::certificates(source)? {
                    roots.add(certificate).map_err(|error| Error::Garbled(source.to_string(), error.to_string()))?;
                }
                builder.with_root_certificates(roots)
            }
            ServerTrust::Loopback => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(&provider)))
            }
        };
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(pem::certificates(chain)?, pem::private_key(key)?)?,
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands on a connected socket; `host` is the name or address that the certificate must be for.
    ///
    /// # Errors
    /// The handshake's error, or a host that is none.
    pub async fn connect(&self, host: &str, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?,
        };
        self.0.connect(name, socket).await
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// Takes any certificate; the handshake's signature is checked all the same.
#[derive(Debug)]
pub(super) struct Unverified(WebPkiSupportedAlgorithms);

impl Unverified {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
