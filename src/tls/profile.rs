//! One server certificate with what it asks of clients, ready for handshakes. Immutable: a reload makes a new one.

use std::fs;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::possession::PossessionVerifier;
use super::settings::{ClientAuth, MinVersion, PemSource, Settings};
use super::trust::TrustStore;
use super::{Error, pem};
use crate::clock::WallTime;
use crate::identity::CertificateFacts;

/// A server certificate with what it asks of clients.
#[derive(Debug)]
pub struct TlsProfile {
    pub(super) server: Arc<ServerConfig>,
    /// `None` when no certificate is asked for.
    trust: Option<TrustStore>,
    certificate: CertificateFacts,
    /// What an operator should know and may ignore.
    warnings: Vec<String>,
}

impl TlsProfile {
    /// Opens certificate, key and trust anchors, and checks that they belong together.
    ///
    /// # Errors
    /// [`Error`], the first that is met. A missing, empty or garbled trust store is an error, never an open door.
    pub fn build(settings: &Settings) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certified = certified_key(settings, &provider)?;
        let origin = settings.certificate.to_string();
        let leaf = certified.cert.first().map(AsRef::as_ref).unwrap_or_default();
        let certificate = CertificateFacts::from_der(leaf).map_err(|error| Error::Garbled(origin, error))?;
        let trust = match &settings.client_auth {
            ClientAuth::Off => None,
            ClientAuth::Optional { ca, max_chain_depth } => {
                let bundles: Vec<_> = ca
                    .iter()
                    .map(|source| Ok((source.to_string(), pem::read(source)?.to_vec())))
                    .collect::<Result<_, Error>>()?;
                Some(TrustStore::from_pem(&bundles, *max_chain_depth)?)
            }
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(settings.min_version))?;
        let builder = match &trust {
            None => builder.with_no_client_auth(),
            Some(trust) => {
                builder.with_client_cert_verifier(Arc::new(PossessionVerifier::new(&provider, trust.hints())))
            }
        };
        let mut server = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        // curl --http1.0 offers nothing but its own, and is served HTTP/1 all the same.
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        // A resumed session would carry a client's identity past its certificate's end: rustls restores the chain
        // from the ticket and asks nobody.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        let warnings = key_file_warning(&settings.private_key).into_iter().collect();
        Ok(Self { server: Arc::new(server), trust, certificate, warnings })
    }

    /// Who is trusted to name clients; `None` when no certificate is asked for.
    pub fn trust(&self) -> Option<&TrustStore> {
        self.trust.as_ref()
    }

    /// What the server's own certificate says.
    pub fn certificate(&self) -> &CertificateFacts {
        &self.certificate
    }

    /// What an operator should know and may ignore, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is wrong with the dates of the server's own certificate, at `now`.
    pub fn date_fault(&self, now: WallTime) -> Option<&'static str> {
        if now.unix_seconds() > self.certificate.not_after.unix_seconds() {
            Some("has expired")
        } else if now < self.certificate.not_before {
            Some("is not valid yet")
        } else {
            None
        }
    }
}

static SINCE_TLS12: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
static SINCE_TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

fn versions(oldest: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    match oldest {
        MinVersion::Tls12 => &SINCE_TLS12,
        MinVersion::Tls13 => &SINCE_TLS13,
    }
}

fn certified_key(settings: &Settings, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let chain: Vec<CertificateDer<'static>> = pem::certificates(&settings.certificate)?;
    let key = pem::private_key(&settings.private_key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| Error::UnusableKey(settings.private_key.to_string(), error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::Mismatch {
            certificate: settings.certificate.to_string(),
            key: settings.private_key.to_string(),
        }),
        Err(error) => Err(Error::Garbled(settings.certificate.to_string(), error.to_string())),
    }
}

/// Kubernetes mounts secrets 0644, so this is no error.
fn key_file_warning(source: &PemSource) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let PemSource::File(path) = source else { return None };
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0)
        .then(|| format!("the private key in {} can be read by others (mode {mode:04o}); chmod 600 it", path.display()))
}
