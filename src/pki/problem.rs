//! What can be wrong with a CA, ours or one from elsewhere. Each text says what to do about it.

use super::dates::rfc3339;
use super::keyfile::KeyProblem;
use super::pem::GarbledPem;
use crate::clock::WallTime;

/// Why a CA cannot be used. Each text goes on after the name of the file it is about.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityProblem {
    /// Not PEM.
    #[error("cannot be read: {0}")]
    Garbled(#[from] GarbledPem),
    /// No certificate in the file.
    #[error(
        "holds no certificate in PEM, which begins with BEGIN CERTIFICATE; one comes with: openssl x509 -in OLD -out NEW"
    )]
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
    #[error(
        "is not a CA certificate: it needs basicConstraints CA:TRUE and, if it has a keyUsage, keyCertSign. Give the \
         CA's own certificate, not one that it issued"
    )]
    NotAuthority,
    /// From before extensions.
    #[error(
        "is of X.509 version {0}, which cannot say that it is a CA's: nobody would accept what it issues. Make a new CA: \
         gateway certs init"
    )]
    OldVersion(u32),
    /// A kind of key that nobody here verifies signatures with.
    #[error("has a key that is not supported, {0}: make a new CA with gateway certs init")]
    UnsupportedKey(String),
    /// An extension that nobody may ignore.
    #[error(
        "has a critical extension that is not known or not allowed here, {0}: whoever verifies what it issues has to \
         refuse it. Make a new CA: gateway certs init"
    )]
    UnknownCritical(String),
    /// Others would take its common name for a host that this CA may not name.
    #[error(
        "may not issue this certificate: it has no DNS name, so other programs take its common name {0:?} for one, and \
         that is not within the name constraints; give it another (--cn)"
    )]
    CommonName(String),
    /// In a bundle, and neither the CA nor above it.
    #[error(
        "also holds the certificate of {0}, which is not above the CA: who trusts this file would trust that one, too. \
         Leave it out"
    )]
    Unrelated(String),
    /// The one above it in a bundle did not sign it.
    #[error(
        "holds a broken chain: {0} was not signed by the certificate of its issuer in this file, or in a way that is not \
         supported. Give the issuer's right certificate, or none"
    )]
    BrokenChain(String),
    /// Out of its time.
    #[error(
        "is valid only from {} to {}, and nobody accepts what a CA issues outside of its time: make a new one with gateway \
         certs init, or mend this machine's clock",
        rfc3339(*.not_before),
        rfc3339(*.not_after)
    )]
    OutOfTime {
        /// First moment of the CA's validity.
        not_before: WallTime,
        /// Last moment of the CA's validity.
        not_after: WallTime,
    },
    /// No CA may stand below it.
    #[error("has a path length of 0: no CA may stand below it. Make one below its root instead")]
    LastAuthority,
    /// It may not sign revocation lists.
    #[error("has a keyUsage without cRLSign, so it cannot revoke anything; the gateway's own deny_list can")]
    NoCrlSign,
    /// What it signed does not verify.
    #[error("may not issue this certificate, or cannot: {}", refusal(.0))]
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

/// What webpki says of a certificate that was just signed, for the operator who asked for it.
fn refusal(error: &webpki::Error) -> String {
    match error {
        webpki::Error::NameConstraintViolation => {
            "one of its names breaks the CA's name constraints. Choose another name, or another CA".to_owned()
        }
        error => error.to_string(),
    }
}
