//! The CA: made here or brought along, and never trusted to be right because the file lies there.
//!
//! rcgen signs with whatever it is given, so what was signed is read again and must verify.

use rcgen::{CustomExtension, KeyIdMethod, PublicKeyData};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::constraints::forbidden_common_name;
use super::keyfile::{KeyType, PrivateKey};
use super::pem;
use super::problem::AuthorityProblem;
use super::profile::{AuthorityProfile, LeafProfile, Validity};
use super::signing::{Signer, is_signed_by, key_identifier};
use super::verify::{certificates, verify_chain};
use crate::clock::WallTime;
use crate::identity::CertificateFacts;

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
    path_length: Option<u32>,
}

/// What is taken over from another certificate as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copied<'a> {
    /// The subject in DER.
    pub(super) subject: Option<&'a [u8]>,
    /// What is in the extension.
    pub(super) name_constraints: Option<&'a [u8]>,
}

/// The extension's number (RFC 5280 section 4.2.1.10).
const NAME_CONSTRAINTS: &[u64] = &[2, 5, 29, 30];

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
        let mut parameters = profile.parameters(profile.validity.window(now))?;
        parameters.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(key.public_bits()));
        let certificate = parameters.self_signed(key.pair())?;
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

    pub(super) fn assemble(bundle: &[CertificateDer<'static>], key: PrivateKey) -> Result<Self, AuthorityProblem> {
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
        if issuing.version() != X509Version::V3 {
            return Err(AuthorityProblem::OldVersion(issuing.version().0.saturating_add(1)));
        }
        if !may_issue(issuing) {
            return Err(AuthorityProblem::NotAuthority);
        }
        let certificate = CertificateDer::from(issuing.as_raw().to_vec());
        let bundled: Vec<_> = parsed.iter().map(|(certificate, _)| certificate).collect();
        let (mut above, root) = up_to_root(issuing, &bundled);
        // Where the root is new, whoever trusts only the one before it follows its certificate by that one.
        let cross_signed = |other: &&&X509Certificate<'_>| {
            root.is_some_and(|root| {
                other.subject() == root.subject()
                    && other.issuer() != other.subject()
                    && other.public_key().raw == root.public_key().raw
            })
        };
        let cross_signed = bundled.iter().find(cross_signed);
        above.extend(cross_signed.map(|certificate| CertificateDer::from(certificate.as_raw().to_vec())));
        let key_id = subject_key_id(issuing).unwrap_or_else(|| key_identifier(key.public_bits()));
        let signs_crls = issuing.key_usage().ok().flatten().is_none_or(|usage| usage.value.crl_sign());
        let constraints = issuing.basic_constraints().ok().flatten();
        let path_length = constraints.and_then(|constraints| constraints.value.path_len_constraint);
        let (facts, subject) = (facts.clone(), issuing.subject().as_raw().to_vec());
        Ok(Self { certificate, above, key, facts, subject, key_id, signs_crls, path_length })
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
        self.certify(profile, key.pair(), None, now)
    }

    /// The same for any public key, and with `subject` in DER instead of the profile's.
    pub(super) fn certify(
        &self,
        profile: &LeafProfile,
        public_key: &impl PublicKeyData,
        subject: Option<&[u8]>,
        now: WallTime,
    ) -> Result<Leaf, AuthorityProblem> {
        let (window, cut_short) = self.window(profile.validity, now)?;
        let parameters = profile.parameters(window, public_key.algorithm())?;
        let der = self.signer().certificate(&parameters, public_key, subject)?.into();
        verify_chain(&der, &[], &[&self.certificate], profile.usage, window.0).map_err(AuthorityProblem::Refused)?;
        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|error| AuthorityProblem::Malformed(error.to_string()))?;
        self.check_common_name(&parsed)?;
        let facts = CertificateFacts::from_parsed(&parsed, &der);
        Ok(Leaf { pem: self.with_chain(&der), der, facts, cut_short })
    }

    /// Issues a CA below this one, or for another CA's name and key.
    pub(super) fn issue_authority(
        &self,
        profile: &AuthorityProfile,
        public_key: &impl PublicKeyData,
        copied: Copied<'_>,
        now: WallTime,
    ) -> Result<(CertificateDer<'static>, bool), AuthorityProblem> {
        if self.path_length == Some(0) {
            return Err(AuthorityProblem::LastAuthority);
        }
        let (window, cut_short) = self.window(profile.validity, now)?;
        let mut parameters = profile.parameters(window)?;
        if let Some(constraints) = copied.name_constraints {
            let mut extension = CustomExtension::from_oid_content(NAME_CONSTRAINTS, constraints.to_vec());
            extension.set_criticality(true);
            parameters.custom_extensions.push(extension);
        }
        let der = self.signer().certificate(&parameters, public_key, copied.subject)?;
        if !is_signed_by(&der, &self.key.public_key_info()) {
            return Err(AuthorityProblem::Refused(webpki::Error::InvalidSignatureForPublicKey));
        }
        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|error| AuthorityProblem::Malformed(error.to_string()))?;
        self.check_common_name(&parsed)?;
        Ok((der.into(), cut_short))
    }

    fn check_common_name(&self, issued: &X509Certificate<'_>) -> Result<(), AuthorityProblem> {
        let issuers = std::iter::once(&self.certificate).chain(&self.above);
        let parsed = issuers.filter_map(|der| X509Certificate::from_der(der).ok());
        let issuers: Vec<_> = parsed.map(|(_, issuer)| issuer).collect();
        forbidden_common_name(issued, &issuers).map_or(Ok(()), |name| Err(AuthorityProblem::CommonName(name)))
    }

    /// When what is issued now is valid, and whether that is less than was asked for.
    fn window(&self, validity: Validity, now: WallTime) -> Result<((WallTime, WallTime), bool), AuthorityProblem> {
        let (not_before, not_after) = validity.window(now);
        let window = (not_before.max(self.facts.not_before), not_after.min(self.facts.not_after));
        if window.0 > window.1 {
            let CertificateFacts { not_before, not_after, .. } = self.facts;
            return Err(AuthorityProblem::OutOfTime { not_before, not_after });
        }
        Ok((window, window.1 < not_after))
    }

    /// What was issued and the certificates between it and the root, as PEM.
    fn with_chain(&self, der: &CertificateDer<'_>) -> String {
        std::iter::once(der).chain(&self.above).map(|der| pem::encode("CERTIFICATE", der)).collect()
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

    /// Whether this certificate goes along with what this CA issues.
    pub(super) fn goes_along(&self, der: &CertificateDer<'_>) -> bool {
        self.above.contains(der)
    }

    /// The kind of its key, if it can be made here.
    pub(super) fn key_type(&self) -> Option<KeyType> {
        let (_, parsed) = X509Certificate::from_der(&self.certificate).ok()?;
        KeyType::of(parsed.public_key())
    }

    /// Whether this CA signed that certificate.
    pub(super) fn has_signed(&self, certificate: &X509Certificate<'_>) -> bool {
        certificate.issuer().as_raw() == self.subject && is_signed_by(certificate.as_raw(), &self.key.public_key_info())
    }

    pub(super) fn signer(&self) -> Signer<'_> {
        Signer { key: self.key.pair(), name: &self.subject, key_id: &self.key_id }
    }
}

fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let flag = certificate.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca);
    // An unreadable key usage is not an absent one.
    let usage = certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    flag && usage
}

/// The issuing certificate and those above it, without the root: nothing at all when the root itself issues. Clients
/// have the root, and sending it only costs bytes. Then the root, where the bundle has it.
fn up_to_root<'b, 'a>(
    issuing: &'b X509Certificate<'a>,
    bundle: &[&'b X509Certificate<'a>],
) -> (Vec<CertificateDer<'static>>, Option<&'b X509Certificate<'a>>) {
    let mut chain = Vec::new();
    let mut current = Some(issuing);
    while let Some(certificate) = current {
        let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
        if self_issued || chain.len() == bundle.len() {
            return (chain, self_issued.then_some(certificate));
        }
        chain.push(CertificateDer::from(certificate.as_raw().to_vec()));
        current = bundle.iter().copied().find(|above| above.subject().as_raw() == certificate.issuer().as_raw());
    }
    (chain, None)
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
