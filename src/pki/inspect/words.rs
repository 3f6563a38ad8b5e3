//! Names of keys, algorithms, usages and names of subjects, as people write them.

use std::fmt::Write as _;

use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::extensions::{GeneralName, KeyUsage};
use x509_parser::oid_registry::{Oid, OidRegistry};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::clock::WallTime;
use crate::identity::{distinguished_name, hex_lower};

/// RFC 5280's names of the bits that are set.
pub(in crate::pki) fn key_usage_words(usage: &KeyUsage) -> Vec<&'static str> {
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

pub(in crate::pki) fn public_key(info: &SubjectPublicKeyInfo<'_>) -> String {
    let curve = || named_curve(info);
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

/// The curve of an elliptic key; `None` where its numbers stand in place of its name (RFC 5480 section 2.1.1).
pub(in crate::pki) fn named_curve<'a>(info: &SubjectPublicKeyInfo<'a>) -> Option<Oid<'a>> {
    let parameters = info.algorithm.parameters.clone().filter(|parameters| parameters.tag() == Tag::Oid)?;
    parameters.oid().ok()
}

pub(super) fn algorithm(identifier: &AlgorithmIdentifier<'_>) -> String {
    match identifier.algorithm.to_id_string().as_str() {
        "1.3.101.112" => "Ed25519".to_owned(),
        _ => oid_name(&identifier.algorithm),
    }
}

pub(in crate::pki) fn oid_name(oid: &Oid<'_>) -> String {
    let registry = OidRegistry::default().with_all_crypto().with_x509();
    registry.get(oid).map_or_else(|| oid.to_id_string(), |entry| entry.sn().to_owned())
}

/// A certificate may hold anything: what is not printable ASCII is escaped, or it would move the reader's cursor.
pub(in crate::pki) fn general_name(name: &GeneralName<'_>) -> String {
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

pub(super) fn wall(time: ASN1Time) -> WallTime {
    WallTime::from_unix_seconds(time.timestamp())
}
