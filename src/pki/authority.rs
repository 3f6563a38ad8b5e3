//! The CA: made here or brought along, and never trusted to be right because the file lies there.
//!
//! rcgen signs with whatever it is given, and writes back a CA's subject from a map, in which a repeated attribute is
//! lost. So what was signed is read again: its issuer must be the CA's subject byte for byte, and it must verify.

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::dates::rfc3339;
use super::keyfile::{KeyProblem, PrivateKey};
use super::pem::{self, GarbledPem};
use super::profile::{AuthorityProfile, LeafProfile};
use super::verify::{certificates, verify_chain};
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, sha256};

/// Why a CA cannot be used. Each text goes on after the name of the file it is about.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityProblem {
    /// Not PEM.
    #[error("cannot be read: {0}")]
    Garbled(#[from] GarbledPem),
    /// No certificate in the file.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// A block that is no certificate.
    #[error("holds a certificate that cannot be read: {0}")]
    Malformed(String),
    /// The private key.
    #[error(transparent)]
    Key(#[from] KeyProblem),
    /// Certificate and key are not of one pair.
    #[error("does not belong to ca.crt: their public keys differ")]
    KeyMismatch,
    /// Not allowed to issue.
    #[error("is not a CA certificate: it needs basicConstraints CA:TRUE and, if it has a keyUsage, keyCertSign")]
    NotAuthority,
    /// Out of its time.
    #[error("is valid only from {} to {}", rfc3339(*.not_before), rfc3339(*.not_after))]
    OutOfTime {
        /// First moment of the CA's validity.
        not_before: WallTime,
        /// Last moment of the CA's validity.
        not_after: WallTime,
    },
    /// Its subject would come out differently as an issuer.
    #[error(
        "has a subject that cannot be written as issuer unchanged (an attribute occurs twice, or is not plain text)"
    )]
    Subject,
    /// What it signed does not verify.
    #[error("may not issue this certificate, or cannot: {0}")]
    Refused(webpki::Error),
    /// The signing itself failed.
    #[error("cannot be used to sign: {0}")]
    Signing(#[from] rcgen::Error),
}

impl AuthorityProblem {
    /// Whether this is about the key's file rather than the certificate's.
    pub const fn concerns_key(&self) -> bool {
        matches!(self, Self::Key(_) | Self::KeyMismatch)
    }
}

/// A CA with its key: what signs.
#[derive(Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    above: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    facts: CertificateFacts,
    subject: Vec<u8>,
    key_id: Vec<u8>,
    signs_crls: bool,
}

/// A leaf as it was issued.
#[derive(Debug)]
pub struct Leaf {
    /// The leaf's own DER.
    pub der: CertificateDer<'static>,
    /// What to write: the leaf, then the certificates between it and the root, without the root.
    pub pem: String,
    /// What it says.
    pub facts: CertificateFacts,
    /// Whether it ends with its CA, earlier than was asked for.
    pub cut_short: bool,
}

impl Authority {
    /// Makes a self-signed CA.
    ///
    /// # Errors
    /// When signing fails.
    pub fn create(profile: &AuthorityProfile, key: PrivateKey, now: WallTime) -> Result<Self, AuthorityProblem> {
        let certificate = profile.parameters(now)?.self_signed(key.pair())?;
        Self::assemble(&[certificate.der().clone()], key)
    }

    /// Takes a CA from PEM files: one certificate or a bundle, of which the one that `key` belongs to issues, and those
    /// above it are added to what it issues. Whether it is valid now is a question for [`Self::check_time`].
    ///
    /// # Errors
    /// When either cannot be read, they do not match, or the certificate is not a CA's.
    pub fn load(certificate: &[u8], key: &[u8]) -> Result<Self, AuthorityProblem> {
        Self::assemble(&certificates(certificate)?, PrivateKey::from_pem(key)?)
    }

    fn assemble(bundle: &[CertificateDer<'static>], key: PrivateKey) -> Result<Self, AuthorityProblem> {
        if bundle.is_empty() {
            return Err(AuthorityProblem::NoCertificate);
        }
        let mut parsed = Vec::with_capacity(bundle.len());
        for der in bundle {
            // Reads the whole block, where the parser alone would leave bytes behind it unseen.
            let facts = CertificateFacts::from_der(der).map_err(AuthorityProblem::Malformed)?;
            let (_, certificate) =
                X509Certificate::from_der(der).map_err(|error| AuthorityProblem::Malformed(error.to_string()))?;
            parsed.push((certificate, facts));
        }
        let has_key = |(certificate, _): &&(X509Certificate<'_>, _)| {
            certificate.public_key().subject_public_key.data.as_ref() == key.public_bits()
        };
        let (issuing, facts) = parsed.iter().find(has_key).ok_or(AuthorityProblem::KeyMismatch)?;
        if !may_issue(issuing) {
            return Err(AuthorityProblem::NotAuthority);
        }
        let certificate = CertificateDer::from(issuing.as_raw().to_vec());
        let above = up_to_root(issuing, &parsed.iter().map(|(certificate, _)| certificate).collect::<Vec<_>>());
        // Without an identifier of its own it gets the one rcgen derives (RFC 7093 section 2, method 1).
        let derived = || sha256(&key.public_key_info()).into_iter().take(20).collect();
        let key_id = subject_key_id(issuing).unwrap_or_else(derived);
        let signs_crls = issuing.key_usage().ok().flatten().is_none_or(|usage| usage.value.crl_sign());
        let (facts, subject) = (facts.clone(), issuing.subject().as_raw().to_vec());
        Ok(Self { certificate, above, key, facts, subject, key_id, signs_crls })
    }

    /// That the CA is valid now.
    ///
    /// # Errors
    /// When it has expired or is not valid yet: whatever it signed, nobody would accept.
    pub fn check_time(&self, now: WallTime) -> Result<(), AuthorityProblem> {
        let CertificateFacts { not_before, not_after, .. } = self.facts;
        if (not_before.unix_seconds()..=not_after.unix_seconds()).contains(&now.unix_seconds()) {
            Ok(())
        } else {
            Err(AuthorityProblem::OutOfTime { not_before, not_after })
        }
    }

    /// Issues a leaf for the public half of `key`. It lives no longer than its CA, and not before it.
    ///
    /// # Errors
    /// When signing fails, or what was signed does not verify under this CA.
    pub fn issue(&self, profile: &LeafProfile, key: &PrivateKey, now: WallTime) -> Result<Leaf, AuthorityProblem> {
        let (not_before, not_after) = profile.validity.window(now);
        let window = (not_before.max(self.facts.not_before), not_after.min(self.facts.not_after));
        if window.0 > window.1 {
            let CertificateFacts { not_before, not_after, .. } = self.facts;
            return Err(AuthorityProblem::OutOfTime { not_before, not_after });
        }
        let der = profile.parameters(window)?.signed_by(key.pair(), &self.issuer()?)?.der().clone();

        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|error| AuthorityProblem::Malformed(error.to_string()))?;
        if parsed.issuer().as_raw() != self.subject {
            return Err(AuthorityProblem::Subject);
        }
        verify_chain(&der, &[], &[&self.certificate], profile.usage, window.0).map_err(AuthorityProblem::Refused)?;

        let facts = CertificateFacts::from_parsed(&parsed, &der);
        let pem = std::iter::once(&der).chain(&self.above).map(|der| pem::encode("CERTIFICATE", der)).collect();
        Ok(Leaf { der, pem, facts, cut_short: window.1 < not_after })
    }

    /// What the CA's certificate says.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The CA's certificate as PEM.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.certificate)
    }

    /// The CA's private key: secret.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The key identifier that all it issues carries (RFC 5280 section 4.2.1.1).
    pub(super) fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    /// The subject in DER.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Whether its key usage lets it sign CRLs.
    pub(super) fn signs_crls(&self) -> bool {
        self.signs_crls
    }

    pub(super) fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, AuthorityProblem> {
        Issuer::from_ca_cert_der(&self.certificate, self.key.pair()).map_err(|error| match error {
            // It has parsed before, so it is the subject that rcgen cannot hold.
            rcgen::Error::CouldNotParseCertificate | rcgen::Error::InvalidAsn1String(_) => AuthorityProblem::Subject,
            error => AuthorityProblem::Signing(error),
        })
    }
}

fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let flag = certificate.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca);
    // An unreadable key usage is not an absent one.
    let usage = certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    flag && usage
}

/// The issuing certificate and those above it, without the root: nothing at all when the root itself issues. Clients
/// have the root, and sending it only costs bytes.
fn up_to_root(issuing: &X509Certificate<'_>, bundle: &[&X509Certificate<'_>]) -> Vec<CertificateDer<'static>> {
    let mut chain = Vec::new();
    let mut current = Some(issuing);
    while let Some(certificate) = current {
        let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
        if self_issued || chain.len() == bundle.len() {
            break;
        }
        chain.push(CertificateDer::from(certificate.as_raw().to_vec()));
        current = bundle.iter().copied().find(|above| above.subject().as_raw() == certificate.issuer().as_raw());
    }
    chain
}

/// The subject key identifier's bytes, if the certificate has one.
pub(super) fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

/// The authority key identifier's bytes, if the certificate has one.
pub(super) fn authority_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}
