//! The server's own certificates: opened, checked against their keys, and chosen by what a client can verify.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::settings::{CertificateSettings, PemSource};
use super::{Error, pem};
use crate::identity::CertificateFacts;

/// The certificates of a profile.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Chooses one for each handshake.
    pub(super) resolver: Arc<dyn ResolvesServerCert>,
    /// What each says, in the configuration's order.
    pub(super) facts: Vec<CertificateFacts>,
    /// What an operator should know and may ignore.
    pub(super) warnings: Vec<String>,
}

impl Certificates {
    /// Opens every certificate and its key.
    ///
    /// # Errors
    /// [`Error`], the first that is met.
    pub(super) fn open(settings: &[CertificateSettings], provider: &CryptoProvider) -> Result<Self, Error> {
        let mut keys = Vec::new();
        let mut facts = Vec::new();
        let mut warnings = Vec::new();
        for one in settings {
            let certified = certified_key(&one.certificate, &one.private_key, provider)?;
            let leaf = certified.cert.first().map(AsRef::as_ref).unwrap_or_default();
            let garbled = |error| Error::Garbled(one.certificate.to_string(), error);
            facts.push(CertificateFacts::from_der(leaf).map_err(garbled)?);
            warnings.extend(key_file_warning("private key", &one.private_key));
            keys.push(Arc::new(certified));
        }
        let resolver: Arc<dyn ResolvesServerCert> = match keys.as_slice() {
            [only] => Arc::new(SingleCertAndKey::from(Arc::clone(only))),
            _ => Arc::new(BySignature::new(keys)),
        };
        Ok(Self { resolver, facts, warnings })
    }
}

/// Several certificates with keys of different types, for clients that can verify only some of them.
#[derive(Debug)]
struct BySignature(Vec<Arc<CertifiedKey>>);

impl BySignature {
    /// ECDSA first: its signatures cost the server a tenth of RSA's, and its certificates are shorter.
    fn new(mut keys: Vec<Arc<CertifiedKey>>) -> Self {
        keys.sort_by_key(|certified| match certified.key.algorithm() {
            SignatureAlgorithm::ECDSA => 0,
            SignatureAlgorithm::ED25519 => 1,
            _ => 2,
        });
        Self(keys)
    }
}

impl ResolvesServerCert for BySignature {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls leaves out the schemes that go with none of a TLS 1.2 client's cipher suites.
        let offered = hello.signature_schemes();
        self.0.iter().find(|certified| certified.key.choose_scheme(offered).is_some()).map(Arc::clone)
    }
}

/// A certificate chain and its key, which belong together.
pub(super) fn certified_key(
    certificate: &PemSource,
    private_key: &PemSource,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Error> {
    let chain = pem::certificates(certificate)?;
    let key = pem::private_key(private_key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| Error::UnusableKey(private_key.to_string(), error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(Error::Mismatch { certificate: certificate.to_string(), key: private_key.to_string() })
        }
        Err(error) => Err(Error::Garbled(certificate.to_string(), error.to_string())),
    }
}

/// Kubernetes mounts secrets 0644, so this is no error.
pub(super) fn key_file_warning(what: &str, source: &PemSource) -> Option<String> {
    let PemSource::File(path) = source else { return None };
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0)
        .then(|| format!("the {what} in {} can be read by others (mode {mode:04o}); chmod 600 it", path.display()))
}
