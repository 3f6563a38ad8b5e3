//! TLS to an upstream: whose certificates are believed, the name they must be for, and the certificate that the gateway
//! shows. Immutable: a reload makes a new one.

use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::accept::Protocol;
use super::certificates::{certified_key, key_file_warning};
use super::settings::UpstreamSettings;
use super::{Error, pem};
use crate::identity::CertificateFacts;
use crate::net::{Host, Socket};

/// How the gateway shakes hands with an upstream.
pub struct UpstreamTls {
    connector: TlsConnector,
    name: ServerName<'static>,
    protocol: Protocol,
    /// What the gateway shows.
    certificate: Option<CertificateFacts>,
    /// Of everything that was read: two with the same are the same.
    digest: [u8; 32],
    warnings: Vec<String>,
}

impl UpstreamTls {
    /// Opens trust anchors, certificate and key.
    ///
    /// # Errors
    /// [`Error`], the first that is met.
    pub fn build(settings: &UpstreamSettings, protocol: Protocol) -> Result<Self, Error> {
        // First: a file that changes meanwhile is newer than its digest, and the next reload takes it for changed.
        let digest = digest_of(settings)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for source in &settings.ca {
            for certificate in pem::certificates(source)? {
                roots.add(certificate).map_err(|error| Error::Garbled(source.to_string(), error.to_string()))?;
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut warnings = Vec::new();
        let mut shown = None;
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, private_key)) => {
                warnings.extend(key_file_warning("private key", private_key));
                let certified = certified_key(certificate, private_key, &provider)?;
                let leaf = certified.cert.first().map(AsRef::as_ref).unwrap_or_default();
                let facts = CertificateFacts::from_der(leaf);
                shown = Some(facts.map_err(|error| Error::Garbled(certificate.to_string(), error))?);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        let name = server_name(&settings.server_name)?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
            protocol,
            certificate: shown,
            digest,
            warnings,
        })
    }

    /// Shakes hands on a connected socket.
    ///
    /// # Errors
    /// The handshake's error, or that the upstream does not speak the protocol.
    pub async fn connect(&self, socket: Socket) -> io::Result<TlsStream<Socket>> {
        let stream = self.connector.connect(self.name.clone(), socket).await?;
        if self.protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("it did not choose h2 (ALPN), so it does not speak HTTP/2 here"));
        }
        Ok(stream)
    }

    /// What the certificate that the gateway shows says; `None` when it shows none.
    pub fn certificate(&self) -> Option<&CertificateFacts> {
        self.certificate.as_ref()
    }

    /// What an operator should know and may ignore, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Same protocol, name, trust anchors, certificate and key.
impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.name == other.name && self.protocol == other.protocol
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether a peer ended the connection because it does not like our certificate, or that there is none. In TLS 1.3 the
/// handshake has ended for us by then (RFC 8446 section 4.4.2.4), and the peer has read nothing behind it.
pub fn refuses_our_certificate(error: &io::Error) -> bool {
    let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(alert)) = alert else { return false };
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure
    )
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Error> {
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => {
            ServerName::try_from(name.as_str().to_owned()).map_err(|_| Error::ServerName(name.to_string()))
        }
    }
}

fn digest_of(settings: &UpstreamSettings) -> Result<[u8; 32], Error> {
    let mut context = digest::Context::new(&digest::SHA256);
    let (certificate, private_key) = settings.identity.as_ref().map(|(one, other)| (one, other)).unzip();
    for source in settings.ca.iter().chain(certificate).chain(private_key) {
        let pem = pem::read(source)?;
        // With its length, so that the end of one file is not the beginning of the next.
        context.update(&(pem.len() as u64).to_be_bytes());
        context.update(&pem);
    }
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Ok(digest)
}
