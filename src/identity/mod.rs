//! Who is asking, as data: what a client certificate says, and whether it was believed.
//!
//! Nothing here judges a certificate (that is `tls::trust`) and nothing here does I/O. Texts made here go to upstream
//! headers and logs, so they never carry a raw control byte, whatever a certificate holds.

mod base64;
mod certificate;
mod name;
mod read;

pub use base64::base64;
pub use certificate::{CertificateFacts, Details, SubjectAltName, hex_lower, hex_upper, sha256};
pub use name::{NameAttribute, distinguished_name};
pub use read::ReadBack;

use std::fmt;
use std::sync::Arc;

/// Why a client is refused. The words are a contract: answers, logs, metrics and traces all use them.
///
/// The order is the contract's, too: where several apply, the smallest is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No certificate was shown.
    CertificateMissing,
    /// The certificate is not X.509 v3 in DER as RFC 5280 has it.
    Malformed,
    /// Its key, or a key or signature algorithm above it, is of a kind we do not verify.
    UnsupportedKey,
    /// Its extended key usages lack clientAuth, or its key usage lacks digitalSignature.
    WrongUsage,
    /// It, or a certificate above it, has expired.
    Expired,
    /// It, or a certificate above it, is not valid yet.
    NotYetValid,
    /// No trust anchor is above it.
    UnknownIssuer,
    /// A signature in the chain does not verify.
    BadSignature,
    /// The chain breaks a rule: name constraints, path length, a CA used as leaf, an unknown critical extension.
    InvalidChain,
    /// A revocation list or the deny list has it, or a certificate above it.
    Revoked,
    /// No current revocation list says whether it, or a certificate above it, is revoked.
    RevocationUnknown,
    /// The certificate is good, and the route's policy does not let it in.
    NotAllowed,
}

impl Reason {
    /// Every reason, in the contract's order.
    pub const ALL: [Self; 12] = [
        Self::CertificateMissing,
        Self::Malformed,
        Self::UnsupportedKey,
        Self::WrongUsage,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownIssuer,
        Self::BadSignature,
        Self::InvalidChain,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::NotAllowed,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateMissing => "certificate_missing",
            Self::Malformed => "malformed",
            Self::UnsupportedKey => "unsupported_key",
            Self::WrongUsage => "wrong_usage",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadSignature => "bad_signature",
            Self::InvalidChain => "invalid_chain",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::NotAllowed => "not_allowed",
        }
    }

    /// One sentence for the client's developer: what happened and what to do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::CertificateMissing => {
                "This API asks for a client certificate and none was sent. Send one with its private key."
            }
            Self::Malformed => {
                "The client certificate cannot be read as X.509 version 3. Ask its issuer for a new one."
            }
            Self::UnsupportedKey => {
                "The certificate chain uses a key or signature algorithm that is not accepted. Use RSA of 2048 to 8192 \
                 bits, ECDSA P-256, P-384 or P-521, or Ed25519, with SHA-256 or better."
            }
            Self::WrongUsage => {
                "The certificate is not meant for client authentication. It needs the extended key usage clientAuth and \
                 the key usage digitalSignature."
            }
            Self::Expired => "The client certificate, or one above it, has expired. Renew it.",
            Self::NotYetValid => {
                "The client certificate, or one above it, is not valid yet. Wait, or check the clocks of issuer and server."
            }
            Self::UnknownIssuer => {
                "The client certificate was not issued by an authority this API trusts. Send the intermediate \
                 certificates too, or use a certificate from the right authority."
            }
            Self::BadSignature => "A signature in the client certificate's chain does not verify.",
            Self::InvalidChain => {
                "The client certificate's chain breaks a rule: name constraints, path length, a CA certificate used as \
                 client certificate, an issuer that may not issue, or an unknown critical extension."
            }
            Self::Revoked => "The client certificate, or one above it, has been revoked. Ask its issuer for a new one.",
            Self::RevocationUnknown => {
                "Whether the client certificate has been revoked cannot be told now. The operator of this API has to \
                 provide a current revocation list of its issuer."
            }
            Self::NotAllowed => "The client certificate is valid, but it may not use this route.",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of the client certificate of one connection.
#[derive(Debug, Clone)]
pub enum ClientCert {
    /// The server did not ask (`mode = "off"`).
    NotRequested,
    /// It asked and the client sent none.
    NotPresented,
    /// The client proved possession of the key, but the certificate was refused.
    Refused {
        /// Why.
        reason: Reason,
        /// What the certificate says, unverified, where it could be read: for the log only.
        shown: Option<Arc<CertificateFacts>>,
    },
    /// The client is who the certificate says.
    Verified(Arc<CertificateFacts>),
}

impl ClientCert {
    /// The facts of a verified certificate, and of no other.
    pub fn verified(&self) -> Option<&Arc<CertificateFacts>> {
        match self {
            Self::Verified(facts) => Some(facts),
            _ => None,
        }
    }

    /// What was shown, believed or not: for the log.
    pub fn shown(&self) -> Option<&Arc<CertificateFacts>> {
        match self {
            Self::Verified(facts) => Some(facts),
            Self::Refused { shown, .. } => shown.as_ref(),
            _ => None,
        }
    }

    /// Why this client has no identity; `None` for a verified one.
    pub fn refusal(&self) -> Option<Reason> {
        match self {
            Self::Verified(_) => None,
            Self::Refused { reason, .. } => Some(*reason),
            Self::NotRequested | Self::NotPresented => Some(Reason::CertificateMissing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_in_the_contracts_order() {
        assert!(Reason::ALL.is_sorted());
        assert_eq!(
            Reason::ALL.map(Reason::as_str).join(" "),
            "certificate_missing malformed unsupported_key wrong_usage \
            expired not_yet_valid unknown_issuer bad_signature invalid_chain revoked revocation_unknown \
            not_allowed"
        );
    }
}
