//! What a rule comes to for a certificate of which only a part is known: an access log has names, and no issuer.
//!
//! The comparison is [`Condition::holds`], as at the gate; this adds what may be concluded from it, and no more.

use super::{Condition, Kind, Rule, uris};
use crate::identity::CertificateFacts;

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its alternative names.
    pub names: Known,
    /// The attributes of its subject.
    pub subject: Known,
    /// Its SHA-256.
    pub sha256: Known,
    /// Everything else: issuer, public key and policies.
    pub rest: Known,
}

/// How much is known of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// All of it.
    Whole,
    /// What there is is right, and there may be more.
    Partly,
    /// Nothing.
    Nothing,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It matches, whatever else the certificate says.
    Matches,
    /// It does not, whatever else the certificate says.
    Misses,
    /// What is known does not tell.
    Unknown,
}

impl Extent {
    /// A certificate that is at hand.
    pub const WHOLE: Self =
        Self { names: Known::Whole, subject: Known::Whole, sha256: Known::Whole, rest: Known::Whole };

    fn of(self, kind: Kind) -> Known {
        match kind {
            Kind::SanDns | Kind::SanUri | Kind::Spiffe | Kind::SanEmail | Kind::SanIp => self.names,
            Kind::Subject(_) | Kind::SubjectByOid => self.subject,
            Kind::Sha256 => self.sha256,
            Kind::Issuer(_) | Kind::IssuerByOid | Kind::PublicKeySha256 | Kind::PolicyOid => self.rest,
        }
    }
}

impl Condition {
    /// Whether it holds for the certificate of which `facts` are known to this extent.
    pub fn told(&self, facts: &CertificateFacts, extent: Extent) -> Told {
        match (extent.of(self.key.1), self.holds(facts)) {
            (Known::Whole, true) => Told::Matches,
            (Known::Whole, false) => Told::Misses,
            (Known::Nothing, _) => Told::Unknown,
            // A URI more would end what one of them means, and two have ended it.
            (Known::Partly, _) if self.key.1 == Kind::Spiffe => {
                if uris(facts).count() > 1 {
                    Told::Misses
                } else {
                    Told::Unknown
                }
            }
            (Known::Partly, true) => Told::Matches,
            (Known::Partly, false) => Told::Unknown,
        }
    }

    /// How much of what it looks at is known.
    pub fn known(&self, extent: Extent) -> Known {
        extent.of(self.key.1)
    }
}

impl Rule {
    /// Whether it matches the certificate of which `facts` are known to this extent.
    pub fn told(&self, facts: &CertificateFacts, extent: Extent) -> Told {
        let mut told = Told::Matches;
        for condition in &self.conditions {
            match condition.told(facts, extent) {
                Told::Matches => {}
                Told::Misses => return Told::Misses,
                Told::Unknown => told = Told::Unknown,
            }
        }
        told
    }
}
