//! What is wrong with a chain, in the words of [`Reason`].

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor};
use x509_parser::der_parser::asn1_rs::ToDer as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::key;
use crate::identity::Reason;

/// A client decides how many certificates it sends; this many signatures are checked to find the better reason.
const SIGNATURE_BUDGET: usize = 12;

/// The reason that a fault found by webpki stands for.
pub(super) fn reason(error: &webpki::Error) -> Reason {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => Reason::Expired,
        E::CertNotValidYet { .. } => Reason::NotYetValid,
        E::UnknownIssuer => Reason::UnknownIssuer,
        E::InvalidSignatureForPublicKey | E::SignatureAlgorithmMismatch => Reason::BadSignature,
        E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Reason::UnsupportedKey
        }
        E::RequiredEkuNotFoundContext(_) => Reason::WrongUsage,
        E::CertRevoked => Reason::Revoked,
        E::UnknownRevocationStatus => Reason::RevocationUnknown,
        E::BadDer
        | E::BadDerTime
        | E::TrailingData(_)
        | E::MalformedExtensions
        | E::ExtensionValueInvalid
        | E::EmptyEkuExtension
        | E::InvalidCertValidity
        | E::InvalidSerialNumber
        | E::UnsupportedCertVersion
        | E::MalformedDnsIdentifier => Reason::Malformed,
        // Name constraints, path length, a CA as leaf, a leaf as CA, an unknown critical extension, too long a search;
        // and whatever a later webpki finds wrong.
        _ => Reason::InvalidChain,
    }
}

/// What following issuers by name and signature alone has found.
pub(super) struct Trace<'a> {
    /// Why it led nowhere; `None` when it led to a trust anchor, or was given up.
    pub(super) fault: Option<Reason>,
    /// The certificates it went over, without the leaf.
    pub(super) above: Vec<X509Certificate<'a>>,
}

/// Follows issuers from the leaf by name and signature alone.
pub(super) fn trace<'a>(
    leaf: &CertificateDer<'_>,
    intermediates: &'a [CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Trace<'a> {
    let mut above = Vec::new();
    let fault = match X509Certificate::from_der(leaf) {
        Err(_) => Some(Reason::Malformed),
        Ok((_, leaf)) => follow(&leaf, intermediates, anchors, algorithms, &mut above),
    };
    Trace { fault, above }
}

fn follow<'a>(
    leaf: &X509Certificate<'_>,
    intermediates: &'a [CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    above: &mut Vec<X509Certificate<'a>>,
) -> Option<Reason> {
    let candidates: Vec<_> =
        intermediates.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
    let mut budget = SIGNATURE_BUDGET;
    loop {
        let current = above.last().unwrap_or(leaf);
        let mut faults = Vec::new();
        for anchor in anchors.iter().filter(|anchor| names_issuer(current, anchor)) {
            match signed_by(current, &spki_of_anchor(anchor), algorithms, &mut budget)? {
                Ok(()) => return None,
                Err(fault) => faults.push(fault),
            }
        }
        let issuers = candidates.iter().filter(|issuer| {
            issuer.subject().as_raw() == current.issuer().as_raw() && issuer.subject() != current.subject()
        });
        let mut next = None;
        for issuer in issuers {
            let key = SubjectPublicKeyInfoDer::from(issuer.public_key().raw);
            match signed_by(current, &key, algorithms, &mut budget)? {
                Ok(()) => {
                    next = Some(issuer.clone());
                    break;
                }
                Err(fault) => faults.push(fault),
            }
        }
        match next {
            Some(next) => above.push(next),
            None => return Some(faults.into_iter().min().unwrap_or(Reason::UnknownIssuer)),
        }
    }
}

/// webpki keeps the subject without its outer tag and length.
fn names_issuer(certificate: &X509Certificate<'_>, anchor: &TrustAnchor<'_>) -> bool {
    let issuer = certificate.issuer().as_raw();
    let subject = anchor.subject.as_ref();
    issuer.ends_with(subject) && issuer.len() == subject.len() + header_length(subject.len())
}

pub(super) fn spki_of_anchor(anchor: &TrustAnchor<'_>) -> SubjectPublicKeyInfoDer<'static> {
    let content = anchor.subject_public_key_info.as_ref();
    let sequence = x509_parser::der_parser::asn1_rs::Sequence::new(content.into());
    SubjectPublicKeyInfoDer::from(sequence.to_der_vec().unwrap_or_default())
}

const fn header_length(content: usize) -> usize {
    match content {
        0..=0x7f => 2,
        0x80..=0xff => 3,
        0x100..=0xffff => 4,
        _ => 5,
    }
}

/// `None` when the budget is spent: the search is given up, and the reason already known stands.
fn signed_by(
    certificate: &X509Certificate<'_>,
    key: &SubjectPublicKeyInfoDer<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    budget: &mut usize,
) -> Option<Result<(), Reason>> {
    let Ok(entity) = webpki::RawPublicKeyEntity::try_from(key) else { return Some(Err(Reason::UnsupportedKey)) };
    if !key::is_supported(key) {
        return Some(Err(Reason::UnsupportedKey));
    }
    let identifier = certificate.signature_algorithm.algorithm.to_der_vec().unwrap_or_default();
    let mut fault = Reason::UnsupportedKey;
    for algorithm in candidates(algorithms, &identifier) {
        fault = Reason::BadSignature;
        *budget = budget.checked_sub(1)?;
        let message = certificate.tbs_certificate.as_ref();
        if entity.verify_signature(algorithm, message, &certificate.signature_value.data).is_ok() {
            return Some(Ok(()));
        }
    }
    Some(Err(fault))
}

/// Whether a signature, by the algorithm of this object identifier, was made with this key.
pub(super) fn verifies(
    key: &SubjectPublicKeyInfoDer<'_>,
    identifier: &[u8],
    message: &[u8],
    signature: &[u8],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    let Ok(entity) = webpki::RawPublicKeyEntity::try_from(key) else { return false };
    candidates(algorithms, identifier).any(|algorithm| entity.verify_signature(algorithm, message, signature).is_ok())
}

/// One identifier may stand for several: ECDSA's does not name the curve, nor RSA-PSS's the hash.
fn candidates<'a>(
    algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    identifier: &'a [u8],
) -> impl Iterator<Item = &'a dyn SignatureVerificationAlgorithm> {
    algorithms.iter().copied().filter(move |algorithm| algorithm.signature_alg_id().as_ref().starts_with(identifier))
}
