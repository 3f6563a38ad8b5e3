//! The dialect `traefik`: what its middleware PassTLSClientCert sends with `pem` and all of `info`.
//!
//! Traefik sends the whole chain that a client showed, believed or not, and readers that expect one certificate fail.
//! Here it is the client's own alone. Traefik copies values into its quotes as they are; here a quote, a separator or a
//! backslash inside is `\HH`.

use std::fmt::Write as _;

use http::header::HeaderMap;

use super::text::{dns_names, escaped, uris};
use super::{Shown, put};
use crate::identity::{CertificateFacts, NameAttribute, SubjectAltName, base64};

/// In this order, under these names.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("2.5.4.6", "C"),
    ("2.5.4.8", "ST"),
    ("2.5.4.7", "L"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.5", "SN"),
    ("2.5.4.3", "CN"),
];

const INFO: &str = "x-forwarded-tls-client-cert-info";

pub(super) fn write(shown: &Shown<'_>, fields: &mut HeaderMap) {
    if let Some(leaf) = shown.path.first() {
        put(fields, "x-forwarded-tls-client-cert", &base64(leaf));
    }
    let facts = shown.facts;
    let parts = [
        ("Subject", name(&facts.details.subject)),
        ("Issuer", name(&facts.details.issuer)),
        ("SerialNumber", decimal(&facts.serial)),
        ("NB", facts.not_before.unix_seconds().to_string()),
        ("NA", facts.not_after.unix_seconds().to_string()),
    ];
    let written = parts.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key}=\"{value}\""));
    let without_names = written.collect::<Vec<_>>().join(";");
    let names = names(facts);
    let with_names = if names.is_empty() { without_names.clone() } else { format!("{without_names};SAN=\"{names}\"") };
    // A reader must not take some of the names for all of them.
    let _ = put(fields, INFO, &encoded(&with_names)) || put(fields, INFO, &encoded(&without_names));
}

fn name(attributes: &[NameAttribute]) -> String {
    let of_type = |(oid, short): &(&'static str, &'static str)| {
        let (oid, short) = (*oid, *short);
        let same = attributes.iter().filter(move |attribute| attribute.oid == oid);
        same.map(move |attribute| {
            format!("{short}={}", escaped(&attribute.value, |character| matches!(character, '"' | ',' | ';')))
        })
    };
    ATTRIBUTES.iter().flat_map(of_type).collect::<Vec<_>>().join(",")
}

/// Names with a comma in them would read as two, and are left out.
fn names(facts: &CertificateFacts) -> String {
    let dns = dns_names(facts).map(str::to_owned);
    let others = |pick: fn(&SubjectAltName) -> Option<String>| facts.subject_alt_names.iter().filter_map(pick);
    let emails = others(|name| match name {
        SubjectAltName::Email(address) if is_plain_address(address) => Some(address.clone()),
        _ => None,
    });
    let addresses = others(|name| match name {
        SubjectAltName::Ip(address) => Some(address.to_string()),
        _ => None,
    });
    let uris = uris(facts).filter(|uri| !uri.contains(',')).map(str::to_owned);
    dns.chain(emails).chain(addresses).chain(uris).collect::<Vec<_>>().join(",")
}

fn is_plain_address(address: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    !address.is_empty() && address.bytes().all(plain)
}

/// A serial in hex as the decimal number that Go prints.
fn decimal(hex: &str) -> String {
    // Least digit first.
    let mut digits = vec![0_u32];
    for value in hex.chars().filter_map(|digit| digit.to_digit(16)) {
        let mut carry = value;
        for digit in &mut digits {
            let sum = *digit * 16 + carry;
            *digit = sum % 10;
            carry = sum / 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    digits.iter().rev().filter_map(|digit| char::from_digit(*digit, 10)).collect()
}

/// As a form's value is encoded, which is what Go's `url.QueryEscape` does.
fn encoded(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => result.push('+'),
            b'-' | b'_' | b'.' | b'~' => result.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => result.push(char::from(byte)),
            byte => {
                let _ = write!(result, "%{byte:02X}");
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_a_decimal_number() {
        for (hex, expected) in [
            ("00", "0"),
            ("0A", "10"),
            ("FF", "255"),
            ("0100", "256"),
            ("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "1461501637330902918203684832716283019655932542975"),
        ] {
            assert_eq!(decimal(hex), expected);
        }
    }

    #[test]
    fn a_text_is_encoded_as_go_does() {
        assert_eq!(encoded("CN=a b;é~-_."), "CN%3Da+b%3B%C3%A9~-_.");
    }
}
