//! What is in a file: certificates, chains, revocation lists, keys, described for people and programs.
//!
//! Describing judges nothing, and of a private key it tells only the kind and which certificates it belongs to.

mod certificate;
mod list;
mod words;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::cipher::CipherProblem;
use super::csr::SigningRequest;
use super::keyfile::PrivateKey;
use super::p12;
use super::pem::{self, Block, GarbledPem};
use crate::clock::WallTime;
use crate::identity::{hex_lower, sha256};

use certificate::certificate;
pub use certificate::{CertificateDescription, Extension};
use list::crl;
pub use list::{CrlDescription, RevokedDescription};
pub(super) use words::{general_name, key_usage_words, named_curve, oid_name, public_key};

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
