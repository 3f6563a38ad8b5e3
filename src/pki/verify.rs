//! Whether a chain holds: asked of every leaf before it is written, and of server certificates on request.
//!
//! Client certificates are judged for the gate elsewhere, in `tls::trust`; here a server's certificate is looked at as
//! its clients will look at it (RFC 5280 section 6, RFC 9525).

use std::time::Duration;

use rustls_pki_types::{CertificateDer, DnsName, ServerName, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::pem::{self, GarbledPem};
use super::profile::Usage;
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, Reason, SubjectAltName};

/// Why clients would turn away from a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerProblem {
    /// The chain does not hold.
    #[error("{}", server_sentence(*.0))]
    Refused(Reason),
    /// Nothing that a client could compare with the name it called.
    #[error("It names no host: clients compare the name they call with the DNS names and IP addresses in it.")]
    Nameless,
    /// A name that no client can call.
    #[error("Its name {0:?} is not one that a client can call.")]
    UnusableName(String),
}

impl ServerProblem {
    /// One stable word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused(reason) => reason.as_str(),
            Self::Nameless => "no_name",
            Self::UnusableName(_) => "unusable_name",
        }
    }
}

/// The certificates of a PEM file, in its order; other blocks are passed over.
///
/// # Errors
/// When a block is garbled.
pub fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, GarbledPem> {
    let blocks = pem::blocks(bytes)?;
    Ok(blocks.iter().filter(|block| block.is_certificate()).map(|block| block.der.to_vec().into()).collect())
}

/// Judges a server's chain (the leaf first) as a client that trusts `anchors` would at `now`, and that each of its
/// names can be called.
///
/// # Errors
/// What is wrong; of several reasons the first in their order.
pub fn verify_server(
    chain: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'_>],
    now: WallTime,
) -> Result<(), ServerProblem> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(ServerProblem::Refused(Reason::CertificateMissing));
    };
    let facts = judge_leaf(leaf, now).map_err(ServerProblem::Refused)?;
    let verify = |anchors: &[&CertificateDer<'_>]| verify_chain(leaf, intermediates, anchors, Usage::Server, now);
    let valid = |anchor: &&CertificateDer<'_>| {
        CertificateFacts::from_der(anchor).is_ok_and(|facts| facts.not_before <= now && now < past_end(&facts))
    };
    let every: Vec<_> = anchors.iter().collect();
    let current: Vec<_> = anchors.iter().filter(valid).collect();
    match verify(&current) {
        Ok(()) => {}
        Err(webpki::Error::UnknownIssuer) if verify(&every).is_ok() => {
            return Err(ServerProblem::Refused(Reason::Expired));
        }
        Err(error) => return Err(ServerProblem::Refused(reason(&error))),
    }
    verify_names(leaf, &facts)
}

/// Verifies signatures, names constraints, path length, usage, and the validity of all but the anchor at `time`.
pub(super) fn verify_chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[&CertificateDer<'_>],
    usage: Usage,
    time: WallTime,
) -> Result<(), webpki::Error> {
    let anchors: Vec<TrustAnchor<'_>> =
        anchors.iter().filter_map(|anchor| anchor_from_trusted_cert(anchor).ok()).collect();
    let usage = match usage {
        Usage::Server => KeyUsage::server_auth(),
        Usage::Client => KeyUsage::client_auth(),
    };
    let seconds = u64::try_from(time.unix_seconds()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let certificate = EndEntityCert::try_from(leaf)?;
    certificate
        .verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, intermediates, time, usage, None, None)
        .map(|_path| ())
}

/// What can be said of the leaf alone, in the order of the reasons.
fn judge_leaf(leaf: &CertificateDer<'_>, now: WallTime) -> Result<CertificateFacts, Reason> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| Reason::Malformed)?;
    let facts = CertificateFacts::from_der(leaf).map_err(|_| Reason::Malformed)?;
    let signs = parsed.key_usage().map_err(|_| Reason::Malformed)?.is_none_or(|usage| usage.value.digital_signature());
    let serves = parsed
        .extended_key_usage()
        .map_err(|_| Reason::Malformed)?
        .is_none_or(|usage| usage.value.server_auth || usage.value.any);
    if !signs || !serves {
        return Err(Reason::WrongUsage);
    }
    if now >= past_end(&facts) {
        return Err(Reason::Expired);
    }
    if now < facts.not_before {
        return Err(Reason::NotYetValid);
    }
    Ok(facts)
}

fn verify_names(leaf: &CertificateDer<'_>, facts: &CertificateFacts) -> Result<(), ServerProblem> {
    let certificate = EndEntityCert::try_from(leaf).map_err(|error| ServerProblem::Refused(reason(&error)))?;
    let mut named = false;
    for name in &facts.subject_alt_names {
        let called = match name {
            SubjectAltName::Dns(name) => {
                // A wildcard stands for one label; any will do to see whether it matches.
                let host = name.strip_prefix("*.").map_or_else(|| name.clone(), |parent| format!("any.{parent}"));
                DnsName::try_from(host)
                    .map(ServerName::DnsName)
                    .map_err(|_| ServerProblem::UnusableName(name.clone()))?
            }
            SubjectAltName::Ip(address) => ServerName::from(*address),
            SubjectAltName::Uri(_) | SubjectAltName::Email(_) => continue,
        };
        if certificate.verify_is_valid_for_subject_name(&called).is_err() {
            return Err(ServerProblem::UnusableName(called.to_str().into_owned()));
        }
        named = true;
    }
    if named { Ok(()) } else { Err(ServerProblem::Nameless) }
}

/// A certificate is valid up to the end of the second that notAfter names.
fn past_end(facts: &CertificateFacts) -> WallTime {
    facts.not_after.plus(Duration::from_secs(1))
}

fn reason(error: &webpki::Error) -> Reason {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => Reason::Expired,
        E::CertNotValidYet { .. } => Reason::NotYetValid,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Reason::WrongUsage,
        E::UnknownIssuer => Reason::UnknownIssuer,
        E::InvalidSignatureForPublicKey => Reason::BadSignature,
        E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Reason::UnsupportedKey
        }
        E::CaUsedAsEndEntity
        | E::EndEntityUsedAsCa
        | E::NameConstraintViolation
        | E::PathLenConstraintViolated
        | E::UnsupportedCriticalExtension
        | E::MaximumPathDepthExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumNameConstraintComparisonsExceeded => Reason::InvalidChain,
        _ => Reason::Malformed,
    }
}

/// The reasons' own advice speaks to the developer of a client; this speaks to the operator of the server.
const fn server_sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::CertificateMissing => "The file holds no certificate.",
        Reason::Malformed => "The certificate cannot be read as X.509 version 3 (RFC 5280).",
        Reason::UnsupportedKey => "The chain uses a key or signature algorithm that clients do not accept.",
        Reason::WrongUsage => {
            "The certificate is not meant for a server: it needs the extended key usage serverAuth and the key usage \
             digitalSignature."
        }
        Reason::Expired => "The certificate, or one above it, has expired.",
        Reason::NotYetValid => "The certificate, or one above it, is not valid yet.",
        Reason::UnknownIssuer => "No trusted CA is above it, or an intermediate certificate is missing from the file.",
        Reason::BadSignature => "A signature in the chain does not verify.",
        Reason::InvalidChain => {
            "The chain breaks a rule: name constraints, path length, a CA certificate used as leaf, an issuer that may \
             not issue, or an unknown critical extension."
        }
        Reason::Revoked => "The certificate, or one above it, has been revoked.",
        Reason::RevocationUnknown => "No current revocation list says whether the certificate is revoked.",
        Reason::NotAllowed => "The certificate is valid, but it may not be used here.",
    }
}
