//! A certificate, described: what its fields say, and the extensions that people ask about.
//!
//! An extension that is not told in words is named, so that nobody takes it for absent.

use serde::Serialize;
use x509_parser::extensions::{DistributionPointName, ParsedExtension};
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::words::{algorithm, general_name, key_usage_words, oid_name, public_key};
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, hex_lower, sha256};
use crate::pki::dates::{as_text, days_between};

/// What a certificate says.
#[derive(Debug, Clone, Serialize)]
pub struct CertificateDescription {
    /// Subject as RFC 4514 text.
    pub subject: String,
    /// Issuer as RFC 4514 text.
    pub issuer: String,
    /// Upper-case hex.
    pub serial: String,
    /// X.509 version: 3 for everything of this century.
    pub version: u32,
    /// First moment of validity.
    #[serde(with = "as_text")]
    pub not_before: WallTime,
    /// Last moment of validity.
    #[serde(with = "as_text")]
    pub not_after: WallTime,
    /// Whole days until then, rounded down; negative when it is over.
    pub days_left: i64,
    /// `valid`, `expired` or `not_yet_valid`: by the clock alone.
    pub state: &'static str,
    /// Kind and size of the public key.
    pub key: String,
    /// How the issuer signed it.
    pub signature_algorithm: String,
    /// Whether basicConstraints make it a CA's.
    pub is_ca: bool,
    /// How many CAs may stand below it.
    pub path_length: Option<u32>,
    /// keyUsage; `None` when the extension is absent.
    pub key_usages: Option<Vec<&'static str>>,
    /// extKeyUsage; `None` when the extension is absent.
    pub extended_key_usages: Option<Vec<String>>,
    /// Alternative names, as `DNS:a`, `URI:b`.
    pub subject_alt_names: Vec<String>,
    /// Lower-case hex.
    pub subject_key_id: Option<String>,
    /// Lower-case hex.
    pub authority_key_id: Option<String>,
    /// Where its revocation list is published.
    pub crl_distribution_points: Vec<String>,
    /// Every extension that is not told above.
    pub other_extensions: Vec<Extension>,
    /// Of the DER, lower-case hex.
    pub sha256: String,
    /// Of the SubjectPublicKeyInfo, lower-case hex: the same for a certificate and its key.
    pub public_key_sha256: String,
}

/// An extension that is only named.
#[derive(Debug, Clone, Serialize)]
pub struct Extension {
    /// Its name, or its dotted number.
    pub name: String,
    /// Whether who does not know it must refuse the certificate.
    pub critical: bool,
}

/// Describes a certificate in DER.
pub(super) fn certificate(der: &[u8], now: WallTime) -> Result<CertificateDescription, String> {
    let facts = CertificateFacts::from_der(der)?;
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let mut description = CertificateDescription {
        days_left: days_between(now, facts.not_after),
        state: if now.unix_seconds() > facts.not_after.unix_seconds() {
            "expired"
        } else if now < facts.not_before {
            "not_yet_valid"
        } else {
            "valid"
        },
        subject: facts.subject,
        issuer: facts.issuer,
        serial: facts.serial,
        version: parsed.version().0.saturating_add(1),
        not_before: facts.not_before,
        not_after: facts.not_after,
        key: public_key(parsed.public_key()),
        signature_algorithm: algorithm(&parsed.signature_algorithm),
        is_ca: false,
        path_length: None,
        key_usages: None,
        extended_key_usages: None,
        subject_alt_names: Vec::new(),
        subject_key_id: None,
        authority_key_id: None,
        crl_distribution_points: Vec::new(),
        other_extensions: Vec::new(),
        sha256: facts.sha256,
        public_key_sha256: hex_lower(&sha256(parsed.public_key().raw)),
    };
    for extension in parsed.iter_extensions() {
        if !description.take(extension.parsed_extension()) {
            let name = oid_name(&extension.oid);
            description.other_extensions.push(Extension { name, critical: extension.critical });
        }
    }
    Ok(description)
}

impl CertificateDescription {
    /// Notes what an extension says; `false` for one that can only be named.
    fn take(&mut self, extension: &ParsedExtension<'_>) -> bool {
        match extension {
            ParsedExtension::BasicConstraints(constraints) => {
                (self.is_ca, self.path_length) = (constraints.ca, constraints.path_len_constraint);
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usages = Some(key_usage_words(usage));
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let bits = [
                    (usage.server_auth, "serverAuth"),
                    (usage.client_auth, "clientAuth"),
                    (usage.any, "anyExtendedKeyUsage"),
                    (usage.code_signing, "codeSigning"),
                    (usage.email_protection, "emailProtection"),
                    (usage.time_stamping, "timeStamping"),
                    (usage.ocsp_signing, "OCSPSigning"),
                ];
                let known = bits.iter().filter(|bit| bit.0).map(|bit| bit.1.to_owned());
                self.extended_key_usages = Some(known.chain(usage.other.iter().map(Oid::to_id_string)).collect());
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.subject_alt_names = names.general_names.iter().map(general_name).collect();
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(hex_lower(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| hex_lower(id.0));
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                let names = points.points.iter().filter_map(|point| match &point.distribution_point {
                    Some(DistributionPointName::FullName(names)) => Some(names.iter().map(general_name)),
                    _ => None,
                });
                self.crl_distribution_points = names.flatten().collect();
            }
            _ => return false,
        }
        true
    }
}
