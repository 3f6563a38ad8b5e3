//! What is in a file: certificates, chains, revocation lists, keys, described for people and programs.
//!
//! Describing judges nothing, and of a private key it tells only the kind and which certificates it belongs to.

use std::fmt::Write as _;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use x509_parser::extensions::{DistributionPointName, GeneralName, KeyUsage, ParsedExtension};
use x509_parser::oid_registry::{Oid, OidRegistry};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::cipher::CipherProblem;
use super::crl::RevocationReason;
use super::csr::SigningRequest;
use super::dates::{as_optional_text, as_text, days_between};
use super::keyfile::PrivateKey;
use super::p12;
use super::pem::{self, Block, GarbledPem};
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, distinguished_name, hex_lower, hex_upper, sha256};

/// A file that holds nothing to describe. Each text goes on after the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A block is no PEM.
    #[error(transparent)]
    Garbled(#[from] GarbledPem),
    /// A block does not hold what its label says.
    #[error("block {position} is labelled {label:?} and cannot be read as one: {detail}")]
    Malformed {
        /// Which block, counted from 1.
        position: usize,
        /// Its label, in lower case.
        label: String,
        /// What the parser said.
        detail: String,
    },
    /// A PKCS#12 file that does not open.
    #[error(transparent)]
    Cipher(#[from] CipherProblem),
    /// No block, and not DER.
    #[error("is neither PEM, nor PKCS#12, nor a certificate, request, revocation list or private key in DER")]
    Unknown,
}

/// One thing in a file.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    /// A certificate.
    Certificate(Box<CertificateDescription>),
    /// A revocation list.
    Crl(CrlDescription),
    /// A certificate signing request.
    Request(RequestDescription),
    /// A private key.
    PrivateKey(KeyDescription),
    /// A PEM block of another kind.
    Other {
        /// What its label says, in lower case: nobody who searches output for keys should find their heading.
        label: String,
    },
}

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

/// What a revocation list says.
#[derive(Debug, Clone, Serialize)]
pub struct CrlDescription {
    /// Issuer as RFC 4514 text.
    pub issuer: String,
    /// Decimal.
    pub number: Option<String>,
    /// When it was made.
    #[serde(with = "as_text")]
    pub this_update: WallTime,
    /// Until when the next one comes.
    #[serde(with = "as_optional_text")]
    pub next_update: Option<WallTime>,
    /// Whole days until then, rounded down; negative when it is over.
    pub days_left: Option<i64>,
    /// How the issuer signed it.
    pub signature_algorithm: String,
    /// Lower-case hex.
    pub authority_key_id: Option<String>,
    /// What it revokes.
    pub revoked: Vec<RevokedDescription>,
    /// Of the DER, lower-case hex.
    pub sha256: String,
}

/// One entry of a revocation list.
#[derive(Debug, Clone, Serialize)]
pub struct RevokedDescription {
    /// Upper-case hex.
    pub serial: String,
    /// Since when.
    #[serde(with = "as_text")]
    pub revoked_at: WallTime,
    /// Why.
    pub reason: &'static str,
}

/// What a certificate signing request asks for.
#[derive(Debug, Clone, Serialize)]
pub struct RequestDescription {
    /// Subject as RFC 4514 text.
    pub subject: String,
    /// Alternative names, as `DNS:a`, `URI:b`.
    pub subject_alt_names: Vec<String>,
    /// Whatever else it asks for.
    pub wishes: Vec<String>,
    /// Kind and size of the public key.
    pub key: String,
    /// Whether the key it is for has signed it.
    pub signature_holds: bool,
}

/// What may be told of a private key.
#[derive(Debug, Clone, Serialize)]
pub struct KeyDescription {
    /// Kind and size.
    pub key: String,
    /// Of the SubjectPublicKeyInfo, lower-case hex: the same for a certificate and its key.
    pub public_key_sha256: String,
}

/// Describes everything in a file, PEM or DER.
///
/// # Errors
/// When there is nothing, or something that is not what it says it is.
pub fn describe(bytes: &[u8], now: WallTime) -> Result<Vec<Item>, InspectError> {
    let blocks = pem::blocks(bytes)?;
    if blocks.is_empty() {
        return describe_der(bytes, now).map(|item| vec![item]).ok_or(InspectError::Unknown);
    }
    let describe = |(index, block): (usize, &Block)| {
        describe_block(block, now).map_err(|detail| InspectError::Malformed {
            position: index + 1,
            label: block.label.to_lowercase(),
            detail,
        })
    };
    blocks.iter().enumerate().map(describe).collect()
}

fn describe_block(block: &Block, now: WallTime) -> Result<Item, String> {
    if block.is_certificate() {
        certificate(&block.der, now).map(Box::new).map(Item::Certificate)
    } else if block.is_crl() {
        crl(&block.der, now).map(Item::Crl)
    } else if block.is_request() {
        request(&block.der).map(Item::Request).ok_or_else(|| "it is no request (RFC 2986)".to_owned())
    } else if matches!(block.label.as_str(), "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY") {
        private_key(&block.der).map(Item::PrivateKey)
    } else {
        Ok(Item::Other { label: block.label.to_lowercase() })
    }
}

fn describe_der(der: &[u8], now: WallTime) -> Option<Item> {
    certificate(der, now)
        .map(Box::new)
        .map(Item::Certificate)
        .or_else(|_| crl(der, now).map(Item::Crl))
        .or_else(|_| private_key(der).map(Item::PrivateKey))
        .ok()
        .or_else(|| request(der).map(Item::Request))
}

fn certificate(der: &[u8], now: WallTime) -> Result<CertificateDescription, String> {
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

/// RFC 5280's names of the bits that are set.
pub(super) fn key_usage_words(usage: &KeyUsage) -> Vec<&'static str> {
    let bits = [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ];
    bits.iter().filter(|bit| bit.0).map(|bit| bit.1).collect()
}

fn crl(der: &[u8], now: WallTime) -> Result<CrlDescription, String> {
    let (rest, list) = CertificateRevocationList::from_der(der).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the list", rest.len()));
    }
    let next_update = list.next_update().map(wall);
    let revoked = list.iter_revoked_certificates().map(|entry| RevokedDescription {
        serial: match entry.raw_serial() {
            [0, serial @ ..] if !serial.is_empty() => hex_upper(serial),
            serial => hex_upper(serial),
        },
        revoked_at: wall(entry.revocation_date),
        reason: entry
            .reason_code()
            .and_then(|(_, code)| RevocationReason::from_code(code.0))
            .unwrap_or(RevocationReason::Unspecified)
            .as_str(),
    });
    Ok(CrlDescription {
        issuer: distinguished_name(list.issuer()),
        number: list.crl_number().map(ToString::to_string),
        this_update: wall(list.last_update()),
        next_update,
        days_left: next_update.map(|end| days_between(now, end)),
        signature_algorithm: algorithm(&list.signature_algorithm),
        authority_key_id: list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| hex_lower(id.0)),
            _ => None,
        }),
        revoked: revoked.collect(),
        sha256: hex_lower(&sha256(der)),
    })
}

fn request(der: &[u8]) -> Option<RequestDescription> {
    let request = SigningRequest::parse(der)?;
    Some(RequestDescription {
        subject: request.subject_text,
        subject_alt_names: request.names,
        wishes: request.wishes,
        key: request.key,
        signature_holds: request.signed,
    })
}

/// Describes the chain that a server shows.
///
/// # Errors
/// When one of them is no certificate.
pub fn describe_chain(chain: &[CertificateDer<'_>], now: WallTime) -> Result<Vec<Item>, String> {
    chain.iter().map(|der| certificate(der, now).map(Box::new).map(Item::Certificate)).collect()
}

/// Whether a file is PKCS#12, which needs a password.
pub fn is_pkcs12(bytes: &[u8]) -> bool {
    p12::is_p12(bytes)
}

/// Describes a PKCS#12 file.
///
/// # Errors
/// When the password does not open it, or something in it is not what it should be.
pub fn describe_pkcs12(bytes: &[u8], password: &str, now: WallTime) -> Result<Vec<Item>, InspectError> {
    let contents = p12::read(bytes, password)?;
    let malformed = |label: &str| {
        let label = label.to_owned();
        move |detail| InspectError::Malformed { position: 1, label, detail }
    };
    let mut items = describe_chain(&contents.certificates, now).map_err(malformed("certificate"))?;
    for key in &contents.keys {
        items.push(Item::PrivateKey(private_key(key).map_err(malformed("private key"))?));
    }
    Ok(items)
}

fn private_key(der: &[u8]) -> Result<KeyDescription, String> {
    let der = PrivateKeyDer::try_from(der).map_err(str::to_owned)?;
    let key = PrivateKey::from_der(&der).map_err(|error| error.to_string())?;
    let info = key.public_key_info();
    let (_, parsed) = SubjectPublicKeyInfo::from_der(&info).map_err(|error| error.to_string())?;
    Ok(KeyDescription { key: public_key(&parsed), public_key_sha256: hex_lower(&sha256(&info)) })
}

pub(super) fn public_key(info: &SubjectPublicKeyInfo<'_>) -> String {
    let curve = || info.algorithm.parameters.as_ref().and_then(|parameters| parameters.clone().oid().ok());
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {} bits", key.key_size()),
        Ok(PublicKey::EC(_)) => match curve().map(|curve| curve.to_id_string()).as_deref() {
            Some("1.2.840.10045.3.1.7") => "ECDSA P-256".to_owned(),
            Some("1.3.132.0.34") => "ECDSA P-384".to_owned(),
            Some("1.3.132.0.35") => "ECDSA P-521".to_owned(),
            Some(curve) => format!("EC on the curve {curve}"),
            None => "EC without a named curve".to_owned(),
        },
        _ => match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => format!("a key of kind {other}"),
        },
    }
}

fn algorithm(identifier: &AlgorithmIdentifier<'_>) -> String {
    match identifier.algorithm.to_id_string().as_str() {
        "1.3.101.112" => "Ed25519".to_owned(),
        _ => oid_name(&identifier.algorithm),
    }
}

pub(super) fn oid_name(oid: &Oid<'_>) -> String {
    let registry = OidRegistry::default().with_all_crypto().with_x509();
    registry.get(oid).map_or_else(|| oid.to_id_string(), |entry| entry.sn().to_owned())
}

/// A certificate may hold anything: what is not printable ASCII is escaped, or it would move the reader's cursor.
pub(super) fn general_name(name: &GeneralName<'_>) -> String {
    let shown = |kind: &str, value: &str| format!("{kind}:{}", value.escape_default());
    match name {
        GeneralName::DNSName(value) => shown("DNS", value),
        GeneralName::URI(value) => shown("URI", value),
        GeneralName::RFC822Name(value) => shown("EMAIL", value),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => format!("IP:{}", std::net::Ipv4Addr::new(*a, *b, *c, *d)),
            bytes => match <[u8; 16]>::try_from(bytes) {
                Ok(bytes) => format!("IP:{}", std::net::Ipv6Addr::from(bytes)),
                Err(_) => format!("IP:#{}", hex_lower(bytes)),
            },
        },
        GeneralName::DirectoryName(name) => format!("DIRNAME:{}", distinguished_name(name)),
        GeneralName::OtherName(oid, value) => format!("OTHERNAME:{}=#{}", oid.to_id_string(), hex_lower(value)),
        GeneralName::RegisteredID(oid) => format!("RID:{}", oid.to_id_string()),
        GeneralName::X400Address(_) => "X400:unread".to_owned(),
        GeneralName::EDIPartyName(_) => "EDI:unread".to_owned(),
        GeneralName::Invalid(tag, bytes) => {
            let mut text = format!("INVALID[{}]:#", tag.0);
            let _ = write!(text, "{}", hex_lower(bytes));
            text
        }
    }
}

fn wall(time: ASN1Time) -> WallTime {
    WallTime::from_unix_seconds(time.timestamp())
}
