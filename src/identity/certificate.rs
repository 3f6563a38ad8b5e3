//! What a certificate says, in the forms that headers, logs and policies need.
//!
//! Read once per connection and shared; reading says nothing about whether the certificate is to be believed.

use std::fmt::Write as _;
use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_EXT_CERTIFICATE_POLICIES, OID_X509_EXT_SUBJECT_ALT_NAME};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::name::{NameAttribute, attributes, distinguished_name, dotted};
use crate::clock::WallTime;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Subject as RFC 4514 text.
    pub subject: String,
    /// Issuer as RFC 4514 text.
    pub issuer: String,
    /// Serial number in upper-case hex, two digits a byte, no sign byte.
    pub serial: String,
    /// SHA-256 of the DER, lower-case hex.
    pub sha256: String,
    /// First moment of validity.
    pub not_before: WallTime,
    /// Last moment of validity (it is valid up to the end of that second; RFC 5280 section 4.1.2.5).
    pub not_after: WallTime,
    /// Subject alternative names in the certificate's order; kinds nobody asks for are left out.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// What only policies and a few headers ask for.
    pub details: Box<Details>,
}

/// What a certificate says, part by part, for policies to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The subject's attributes.
    pub subject: Vec<NameAttribute>,
    /// The issuer's attributes.
    pub issuer: Vec<NameAttribute>,
    /// SHA-256 of the public key (its SubjectPublicKeyInfo in DER), lower-case hex: the same after a renewal that keeps
    /// the key.
    pub public_key_sha256: String,
    /// Certificate policies (RFC 5280 section 4.2.1.4) as dotted OIDs.
    pub policies: Vec<String>,
}

/// One subject alternative name (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectAltName {
    /// dNSName.
    Dns(String),
    /// uniformResourceIdentifier, SPIFFE ids among them.
    Uri(String),
    /// rfc822Name.
    Email(String),
    /// iPAddress.
    Ip(IpAddr),
}

impl CertificateFacts {
    /// What is wrong with its dates, at `now`.
    pub fn date_fault(&self, now: WallTime) -> Option<&'static str> {
        if now.unix_seconds() > self.not_after.unix_seconds() {
            Some("has expired")
        } else if now < self.not_before {
            Some("is not valid yet")
        } else {
            None
        }
    }

    /// Reads a certificate.
    ///
    /// # Errors
    /// A text that names what could not be read, when this is not one X.509 certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| "it is not an X.509 certificate in DER".to_owned())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        if !Self::is_readable(&certificate) {
            return Err("its alternative names or its policies cannot be read".to_owned());
        }
        Ok(Self::from_parsed(&certificate, der))
    }

    /// Whether all that policies ask for can be read: names that could not be would be none, and what denies by a name
    /// would not see it.
    pub fn is_readable(certificate: &X509Certificate<'_>) -> bool {
        let asked = [OID_X509_EXT_SUBJECT_ALT_NAME, OID_X509_EXT_CERTIFICATE_POLICIES];
        certificate.subject_alternative_name().is_ok()
            && !certificate.extensions().iter().any(|extension| {
                asked.contains(&extension.oid)
                    && matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. })
            })
    }

    /// The same from a certificate already parsed from `der`.
    pub fn from_parsed(certificate: &X509Certificate<'_>, der: &[u8]) -> Self {
        let subject_alt_names = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .map(|extension| {
                extension.value.general_names.iter().filter_map(SubjectAltName::from_general_name).collect()
            })
            .unwrap_or_default();
        Self {
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            serial: serial_text(certificate.raw_serial()),
            sha256: hex_lower(&sha256(der)),
            not_before: WallTime::from_unix_seconds(certificate.validity().not_before.timestamp()),
            not_after: WallTime::from_unix_seconds(certificate.validity().not_after.timestamp()),
            subject_alt_names,
            details: Box::new(Details {
                subject: attributes(certificate.subject()),
                issuer: attributes(certificate.issuer()),
                public_key_sha256: hex_lower(&sha256(certificate.public_key().raw)),
                policies: policies(certificate),
            }),
        }
    }

    /// The alternative names as one line, `DNS:a,URI:b`: a comma, a percent sign, and every control or non-ASCII byte
    /// inside a name is percent-encoded, so a name cannot pretend to be two.
    pub fn san_text(&self) -> String {
        let mut text = String::new();
        for name in &self.subject_alt_names {
            if !text.is_empty() {
                text.push(',');
            }
            match name {
                SubjectAltName::Dns(value) => push_encoded(&mut text, "DNS:", value),
                SubjectAltName::Uri(value) => push_encoded(&mut text, "URI:", value),
                SubjectAltName::Email(value) => push_encoded(&mut text, "EMAIL:", value),
                SubjectAltName::Ip(address) => {
                    let _ = write!(text, "IP:{address}");
                }
            }
        }
        text
    }
}

impl SubjectAltName {
    fn from_general_name(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(value) => Some(Self::Dns((*value).to_owned())),
            GeneralName::URI(value) => Some(Self::Uri((*value).to_owned())),
            GeneralName::RFC822Name(value) => Some(Self::Email((*value).to_owned())),
            GeneralName::IPAddress(bytes) => match *bytes {
                [a, b, c, d] => Some(Self::Ip(IpAddr::from([*a, *b, *c, *d]))),
                bytes => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Self::Ip(IpAddr::from(bytes))),
            },
            _ => None,
        }
    }
}

fn policies(certificate: &X509Certificate<'_>) -> Vec<String> {
    let parsed = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CertificatePolicies(policies) => Some(policies),
        _ => None,
    });
    parsed.into_iter().flatten().filter_map(|policy| dotted(&policy.policy_id)).collect()
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// Two lower-case hex digits a byte.
pub fn hex_lower(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Two upper-case hex digits a byte.
pub fn hex_upper(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// DER puts a zero byte before a serial whose first bit is set; OpenSSL, and so everybody's scripts, leave it out.
fn serial_text(raw: &[u8]) -> String {
    match raw {
        [0, rest @ ..] if !rest.is_empty() => hex_upper(rest),
        raw => hex_upper(raw),
    }
}

fn push_encoded(text: &mut String, kind: &str, value: &str) {
    text.push_str(kind);
    for byte in value.bytes() {
        match byte {
            b',' | b'%' | ..=0x20 | 0x7f.. => {
                let _ = write!(text, "%{byte:02X}");
            }
            _ => text.push(char::from(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_comma_stays_one_name() {
        let mut text = String::new();
        push_encoded(&mut text, "DNS:", "a.example,DNS:admin%é\n");
        assert_eq!(text, "DNS:a.example%2CDNS:admin%25%C3%A9%0A");
    }

    #[test]
    fn serials_have_no_sign_byte() {
        assert_eq!(serial_text(&[0, 0xff, 0x01]), "FF01");
        assert_eq!(serial_text(&[0]), "00");
        assert_eq!(serial_text(&[0x0a]), "0A");
    }

    #[test]
    fn garbage_is_an_error_not_a_panic() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", b"not a certificate"] {
            assert!(CertificateFacts::from_der(bytes).is_err());
        }
    }
}
