//! What each kind of certificate contains (RFC 5280 section 4.2), and for how long.

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, PKCS_RSA_SHA256, PKCS_RSA_SHA384, PKCS_RSA_SHA512, SanType, SerialNumber, SignatureAlgorithm,
};

use super::constraints::{Constraint, extension};
use super::dates::{calendar, days_after, seconds_after};
use super::names::Subject;
use crate::clock::WallTime;
use crate::identity::SubjectAltName;

/// How far back a certificate's validity begins, in seconds: the clocks of those who check it may be behind.
pub(super) const BACKDATE_SECONDS: i64 = -300;

/// By each of these rcgen may know an RSA key.
const RSA: [&SignatureAlgorithm; 3] = [&PKCS_RSA_SHA256, &PKCS_RSA_SHA384, &PKCS_RSA_SHA512];

/// What a leaf is for. It decides the extended key usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// serverAuth.
    Server,
    /// clientAuth.
    Client,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From five minutes ago to this many days from now.
    Days(u32),
    /// Exactly this, both ends included.
    Between {
        /// The first moment.
        not_before: WallTime,
        /// The last moment.
        not_after: WallTime,
    },
}

impl Validity {
    /// First and last moment, in whole seconds.
    pub(super) fn window(self, now: WallTime) -> (WallTime, WallTime) {
        match self {
            Self::Days(days) => (seconds_after(now, BACKDATE_SECONDS), days_after(now, days)),
            Self::Between { not_before, not_after } => (seconds_after(not_before, 0), seconds_after(not_after, 0)),
        }
    }
}

/// A CA to be made.
#[derive(Debug, Clone)]
pub struct AuthorityProfile {
    /// Its name, which becomes the issuer of all it signs.
    pub subject: Subject,
    /// When it is valid.
    pub validity: Validity,
    /// How many CAs may stand below it; any number when not said.
    pub path_length: Option<u8>,
    /// What it may issue; anything when empty.
    pub constraints: Vec<Constraint>,
}

/// A leaf to be issued.
#[derive(Debug, Clone)]
pub struct LeafProfile {
    /// What it is for.
    pub usage: Usage,
    /// Whom it names.
    pub subject: Subject,
    /// Its alternative names, in this order.
    pub names: Vec<SubjectAltName>,
    /// When it is valid; cut to the CA's own validity.
    pub validity: Validity,
}

impl AuthorityProfile {
    /// Any number of CAs below it, and no limit to the names.
    pub fn new(subject: Subject, validity: Validity) -> Self {
        Self { subject, validity, path_length: None, constraints: Vec::new() }
    }

    pub(super) fn parameters(&self, window: (WallTime, WallTime)) -> Result<CertificateParams, rcgen::Error> {
        let mut parameters = parameters(&self.subject, window)?;
        parameters.is_ca =
            IsCa::Ca(self.path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
        parameters.name_constraints = extension(&self.constraints);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(parameters)
    }
}

impl LeafProfile {
    /// For a key of this kind.
    pub(super) fn parameters(
        &self,
        window: (WallTime, WallTime),
        kind: &SignatureAlgorithm,
    ) -> Result<CertificateParams, rcgen::Error> {
        let mut parameters = parameters(&self.subject, window)?;
        // Written out although it is the default: a certificate without basicConstraints gets no key identifier here,
        // and old verifiers take it for whatever they like.
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // NSS takes no RSA server without it, whatever the key exchange.
        if self.usage == Usage::Server && RSA.contains(&kind) {
            parameters.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        parameters.extended_key_usages = vec![match self.usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        for name in &self.names {
            let name = general_name(name)?;
            if !parameters.subject_alt_names.contains(&name) {
                parameters.subject_alt_names.push(name);
            }
        }
        Ok(parameters)
    }
}

fn parameters(subject: &Subject, window: (WallTime, WallTime)) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.not_before = calendar(window.0);
    parameters.not_after = calendar(window.1);
    parameters.serial_number = Some(random_serial()?);
    parameters.distinguished_name = distinguished_name(subject);
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

/// From the whole to the part, as X.500 has it: O, OU, CN.
fn distinguished_name(subject: &Subject) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    let attributes = [
        (DnType::OrganizationName, subject.organization.as_ref()),
        (DnType::OrganizationalUnitName, subject.organizational_unit.as_ref()),
        (DnType::CommonName, Some(&subject.common_name)),
    ];
    for (kind, value) in attributes {
        if let Some(value) = value {
            name.push(kind, DnValue::Utf8String(value.as_str().to_owned()));
        }
    }
    name
}

fn general_name(name: &SubjectAltName) -> Result<SanType, rcgen::Error> {
    let ascii = |text: &str| Ia5String::try_from(text);
    Ok(match name {
        SubjectAltName::Dns(value) => SanType::DnsName(ascii(value)?),
        SubjectAltName::Uri(value) => SanType::URI(ascii(value)?),
        SubjectAltName::Email(value) => SanType::Rfc822Name(ascii(value)?),
        SubjectAltName::Ip(address) => SanType::IpAddress(*address),
    })
}

/// 16 bytes from the system's randomness. The first bit is clear, so that the number is positive without a sign byte;
/// the first byte is not zero, so that it is 16 bytes to everybody (RFC 5280 section 4.1.2.2).
fn random_serial() -> Result<SerialNumber, rcgen::Error> {
    loop {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
        if matches!(bytes, [1..=0x7f, ..]) {
            return Ok(SerialNumber::from_slice(&bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_sixteen_positive_bytes_and_never_the_same() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let serial = random_serial().unwrap().to_bytes();
            assert_eq!(serial.len(), 16);
            assert!((1..=0x7f).contains(&serial[0]));
            assert!(seen.insert(serial));
        }
    }

    #[test]
    fn days_count_from_now_and_begin_five_minutes_ago() {
        let now = WallTime::from_unix_millis(1_000_000_000_999);
        let (not_before, not_after) = Validity::Days(90).window(now);
        assert_eq!(not_before.unix_millis(), 1_000_000_000_000 - 300_000);
        assert_eq!(not_after.unix_millis(), 1_000_000_000_000 + 90 * 86_400_000);
    }
}
