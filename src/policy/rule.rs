//! One rule of an allow or deny list: conditions on what a certificate says, all of which have to hold.
//!
//! Read once, when the configuration is; to match allocates nothing.

mod told;

pub use told::{Extent, Known, Told};

use std::fmt;

use ipnet::IpNet;

use super::pattern::{DnsPattern, EmailPattern, PatternError, UriPattern};
use crate::identity::{CertificateFacts, NameAttribute, SubjectAltName};

/// A rule: every condition has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    conditions: Vec<Condition>,
}

/// A key of a rule with its values, one of which has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    key: Key,
    values: Vec<Value>,
}

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(&'static str, Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SanDns,
    SanUri,
    Spiffe,
    SanEmail,
    SanIp,
    /// An attribute of the subject with this OID.
    Subject(&'static str),
    /// One whose OID stands before the value.
    SubjectByOid,
    Issuer(&'static str),
    IssuerByOid,
    Sha256,
    PublicKeySha256,
    PolicyOid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    /// As it was written.
    text: Box<str>,
    matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    Dns(DnsPattern),
    Uri(UriPattern),
    Spiffe(UriPattern),
    Email(EmailPattern),
    Ip(IpNet),
    Subject { oid: Box<str>, value: Box<str> },
    Issuer { oid: Box<str>, value: Box<str> },
    Sha256(Box<str>),
    PublicKeySha256(Box<str>),
    PolicyOid(Box<str>),
}

/// Why a value cannot be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No pattern of its kind.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// No address or network.
    #[error("write an IP address or a network such as \"10.0.0.0/8\"")]
    Ip,
    /// Empty, or with a control character.
    #[error("write the attribute's value as text, without control characters")]
    Attribute,
    /// No OID and value.
    #[error("write the attribute's OID and its value, as in \"2.5.4.97=PSDES-BDE-3DFD21\"")]
    AttributeByOid,
    /// No SHA-256.
    #[error("write 64 hex digits, as `gateway certs show` or `openssl x509 -fingerprint -sha256` prints them")]
    Hash,
    /// No OID.
    #[error("write an OID such as \"1.3.6.1.4.1.99999.1\"")]
    Oid,
}

impl Key {
    /// Every key a rule may have.
    pub const ALL: [Self; 27] = [
        Self("san_dns", Kind::SanDns),
        Self("san_uri", Kind::SanUri),
        Self("spiffe", Kind::Spiffe),
        Self("san_email", Kind::SanEmail),
        Self("san_ip", Kind::SanIp),
        Self("subject_cn", Kind::Subject("2.5.4.3")),
        Self("subject_o", Kind::Subject("2.5.4.10")),
        Self("subject_ou", Kind::Subject("2.5.4.11")),
        Self("subject_c", Kind::Subject("2.5.4.6")),
        Self("subject_st", Kind::Subject("2.5.4.8")),
        Self("subject_l", Kind::Subject("2.5.4.7")),
        Self("subject_dc", Kind::Subject("0.9.2342.19200300.100.1.25")),
        Self("subject_uid", Kind::Subject("0.9.2342.19200300.100.1.1")),
        Self("subject_email", Kind::Subject("1.2.840.113549.1.9.1")),
        Self("subject_serial_number", Kind::Subject("2.5.4.5")),
        Self("subject_organization_identifier", Kind::Subject("2.5.4.97")),
        Self("subject_oid", Kind::SubjectByOid),
        Self("issuer_cn", Kind::Issuer("2.5.4.3")),
        Self("issuer_o", Kind::Issuer("2.5.4.10")),
        Self("issuer_ou", Kind::Issuer("2.5.4.11")),
        Self("issuer_c", Kind::Issuer("2.5.4.6")),
        Self("issuer_dc", Kind::Issuer("0.9.2342.19200300.100.1.25")),
        Self("issuer_organization_identifier", Kind::Issuer("2.5.4.97")),
        Self("issuer_oid", Kind::IssuerByOid),
        Self("sha256", Kind::Sha256),
        Self("public_key_sha256", Kind::PublicKeySha256),
        Self("policy_oid", Kind::PolicyOid),
    ];

    /// The key of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.0 == name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl Rule {
    /// A rule of at least one condition; one without any would be met by everybody.
    pub fn new(conditions: Vec<Condition>) -> Option<Self> {
        (!conditions.is_empty()).then_some(Self { conditions })
    }

    /// Whether every condition holds.
    pub fn matches(&self, facts: &CertificateFacts) -> bool {
        self.conditions.iter().all(|condition| condition.holds(facts))
    }

    /// The conditions, as they were written.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

/// As it stands in a configuration.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ ")?;
        for (index, condition) in self.conditions.iter().enumerate() {
            let values: Vec<_> = condition.values().map(|value| format!("{value:?}")).collect();
            let comma = if index > 0 { ", " } else { "" };
            match values.as_slice() {
                [one] => write!(f, "{comma}{} = {one}", condition.key.0)?,
                several => write!(f, "{comma}{} = [{}]", condition.key.0, several.join(", "))?,
            }
        }
        f.write_str(" }")
    }
}

impl Condition {
    /// A condition without values yet, which never holds.
    pub fn new(key: Key) -> Self {
        Self { key, values: Vec::new() }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, text: &str) -> Result<(), ValueError> {
        let matcher = Matcher::parse(self.key.1, text)?;
        self.values.push(Value { text: text.into(), matcher });
        Ok(())
    }

    /// What it looks at.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The values, as they were written.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        self.values.iter().map(|value| &*value.text)
    }

    /// Whether the certificate has one of the values.
    pub fn holds(&self, facts: &CertificateFacts) -> bool {
        self.values.iter().any(|value| value.matcher.matches(facts))
    }

    /// What the certificate has in the place this looks at, for a person to compare.
    pub fn found(&self, facts: &CertificateFacts) -> Vec<String> {
        let names =
            |pick: fn(&SubjectAltName) -> Option<String>| facts.subject_alt_names.iter().filter_map(pick).collect();
        let of = |attributes: &[NameAttribute], oid: &str| {
            attributes
                .iter()
                .filter(|attribute| attribute.oid == oid)
                .map(|attribute| attribute.value.clone())
                .collect()
        };
        let all = |attributes: &[NameAttribute]| {
            attributes.iter().map(|attribute| format!("{}={}", attribute.oid, attribute.value)).collect()
        };
        match self.key.1 {
            Kind::SanDns => names(|name| match name {
                SubjectAltName::Dns(name) => Some(name.clone()),
                _ => None,
            }),
            Kind::SanUri | Kind::Spiffe => names(|name| match name {
                SubjectAltName::Uri(uri) => Some(uri.clone()),
                _ => None,
            }),
            Kind::SanEmail => names(|name| match name {
                SubjectAltName::Email(address) => Some(address.clone()),
                _ => None,
            }),
            Kind::SanIp => names(|name| match name {
                SubjectAltName::Ip(address) => Some(address.to_string()),
                _ => None,
            }),
            Kind::Subject(oid) => of(&facts.details.subject, oid),
            Kind::Issuer(oid) => of(&facts.details.issuer, oid),
            Kind::SubjectByOid => all(&facts.details.subject),
            Kind::IssuerByOid => all(&facts.details.issuer),
            Kind::Sha256 => vec![facts.sha256.clone()],
            Kind::PublicKeySha256 => vec![facts.details.public_key_sha256.clone()],
            Kind::PolicyOid => facts.details.policies.clone(),
        }
    }
}

impl Matcher {
    fn parse(kind: Kind, text: &str) -> Result<Self, ValueError> {
        let attribute = |oid: &str, value: &str| match value {
            "" => Err(ValueError::Attribute),
            value if value.contains(char::is_control) => Err(ValueError::Attribute),
            value => Ok((Box::from(oid), Box::from(value))),
        };
        let by_oid = || {
            let (oid, value) = text.split_once('=').filter(|(oid, _)| is_oid(oid)).ok_or(ValueError::AttributeByOid)?;
            attribute(oid, value)
        };
        Ok(match kind {
            Kind::SanDns => Self::Dns(DnsPattern::parse(text)?),
            Kind::SanUri => Self::Uri(UriPattern::parse(text)?),
            Kind::Spiffe => Self::Spiffe(UriPattern::parse_spiffe(text)?),
            Kind::SanEmail => Self::Email(EmailPattern::parse(text)?),
            Kind::SanIp => Self::Ip(network(text)?),
            Kind::Subject(oid) => attribute(oid, text).map(|(oid, value)| Self::Subject { oid, value })?,
            Kind::SubjectByOid => by_oid().map(|(oid, value)| Self::Subject { oid, value })?,
            Kind::Issuer(oid) => attribute(oid, text).map(|(oid, value)| Self::Issuer { oid, value })?,
            Kind::IssuerByOid => by_oid().map(|(oid, value)| Self::Issuer { oid, value })?,
            Kind::Sha256 => Self::Sha256(hash(text)?),
            Kind::PublicKeySha256 => Self::PublicKeySha256(hash(text)?),
            Kind::PolicyOid if is_oid(text) => Self::PolicyOid(text.into()),
            Kind::PolicyOid => return Err(ValueError::Oid),
        })
    }

    fn matches(&self, facts: &CertificateFacts) -> bool {
        let any = |fits: &dyn Fn(&SubjectAltName) -> bool| facts.subject_alt_names.iter().any(fits);
        let has = |attributes: &[NameAttribute], oid: &str, value: &str| {
            attributes.iter().any(|attribute| attribute.value == value && attribute.oid == oid)
        };
        match self {
            Self::Dns(pattern) => any(&|name| matches!(name, SubjectAltName::Dns(name) if pattern.matches(name))),
            Self::Uri(pattern) => any(&|name| matches!(name, SubjectAltName::Uri(uri) if pattern.matches(uri))),
            // X509-SVID section 2: a certificate with two URIs is no SVID, whichever of them would do.
            Self::Spiffe(pattern) => only_uri(facts).is_some_and(|uri| pattern.matches(uri)),
            Self::Email(pattern) => any(&|name| matches!(name, SubjectAltName::Email(name) if pattern.matches(name))),
            Self::Ip(network) => any(&|name| matches!(name, SubjectAltName::Ip(address) if network.contains(address))),
            Self::Subject { oid, value } => has(&facts.details.subject, oid, value),
            Self::Issuer { oid, value } => has(&facts.details.issuer, oid, value),
            Self::Sha256(hash) => facts.sha256 == **hash,
            Self::PublicKeySha256(hash) => facts.details.public_key_sha256 == **hash,
            Self::PolicyOid(oid) => facts.details.policies.iter().any(|policy| *policy == **oid),
        }
    }
}

fn only_uri(facts: &CertificateFacts) -> Option<&str> {
    let mut uris = uris(facts);
    uris.next().filter(|_| uris.next().is_none())
}

fn uris(facts: &CertificateFacts) -> impl Iterator<Item = &str> {
    facts.subject_alt_names.iter().filter_map(|name| match name {
        SubjectAltName::Uri(uri) => Some(uri.as_str()),
        _ => None,
    })
}

fn network(text: &str) -> Result<IpNet, ValueError> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address()).map_err(|_| ValueError::Ip)?;
    if network.addr() == network.network() { Ok(network) } else { Err(ValueError::Ip) }
}

/// OpenSSL prints capitals with colons, others lower case without.
fn hash(text: &str) -> Result<Box<str>, ValueError> {
    let digits: String = text.chars().filter(|character| *character != ':').collect();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase().into());
    }
    Err(ValueError::Hash)
}

fn is_oid(text: &str) -> bool {
    let arc = |arc: &str| {
        !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'))
    };
    text.split('.').count() >= 2 && text.split('.').all(arc)
}

#[cfg(test)]
mod tests;
