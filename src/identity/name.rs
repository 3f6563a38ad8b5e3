//! Distinguished names as RFC 4514 text.
//!
//! The last RDN of the certificate comes first (section 2.1). Only the attribute types of section 3's table have
//! names; every other is a dotted OID with its value as `#` and the hex of its DER (section 2.4), so two different
//! names never look alike.

use std::fmt::Write as _;

use x509_parser::der_parser::asn1_rs::{Any, Class, Tag, ToDer};
use x509_parser::oid_registry::Oid;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::certificate::hex_upper;

/// One attribute of a name, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAttribute {
    /// Its type as a dotted OID.
    pub oid: String,
    /// Its value, whichever string type it was encoded in.
    pub value: String,
}

/// The attributes of a name that are text. A value with a control character in it is left out: nothing it could be
/// compared with means the same to everybody (`admin`, and `admin` with a NUL and more after it).
pub(super) fn attributes(name: &X509Name<'_>) -> Vec<NameAttribute> {
    let text = |attribute: &AttributeTypeAndValue<'_>| {
        let value = decode(attribute.attr_value()).filter(|value| !value.chars().any(char::is_control))?;
        Some(NameAttribute { oid: dotted(attribute.attr_type())?, value })
    };
    name.iter_attributes().filter_map(text).collect()
}

/// The name as RFC 4514 text: printable ASCII only; everything else is escaped as `\HH`.
pub fn distinguished_name(name: &X509Name<'_>) -> String {
    let rdns: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for (position, rdn) in rdns.iter().rev().enumerate() {
        if position > 0 {
            text.push(',');
        }
        for (position, attribute) in rdn.iter().enumerate() {
            if position > 0 {
                text.push('+');
            }
            // A type that is none by the letter is told by its bytes, or it would look like another.
            let unreadable = || format!("#{}", hex_upper(attribute.attr_type().as_bytes()));
            let oid = dotted(attribute.attr_type()).unwrap_or_else(unreadable);
            match (short_name(&oid), decode(attribute.attr_value())) {
                (Some(short), Some(value)) => {
                    text.push_str(short);
                    text.push('=');
                    escape(&value, &mut text);
                }
                (short, _) => {
                    text.push_str(short.unwrap_or(&oid));
                    text.push_str("=#");
                    for byte in attribute.attr_value().to_der_vec().unwrap_or_default() {
                        let _ = write!(text, "{byte:02X}");
                    }
                }
            }
        }
    }
    text
}

/// An object identifier's numbers (X.690 section 8.19); `None` for one with a number that is cut short, begins with zeros
/// or has more than 128 bits.
pub(super) fn dotted(oid: &Oid<'_>) -> Option<String> {
    let mut text = String::new();
    let (mut number, mut is_begun) = (0_u128, false);
    for &byte in oid.as_bytes() {
        if !is_begun && byte == 0x80 || number > u128::MAX >> 7 {
            return None;
        }
        number = number << 7 | u128::from(byte & 0x7f);
        is_begun = byte >= 0x80;
        if is_begun {
            continue;
        }
        // The first two numbers are one.
        let _ = if text.is_empty() {
            let root = (number / 40).min(2);
            write!(text, "{root}.{}", number - root * 40)
        } else {
            write!(text, ".{number}")
        };
        number = 0;
    }
    (!is_begun && !text.is_empty()).then_some(text)
}

/// The attribute types of RFC 4514 section 3's table.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

fn short_name(oid: &str) -> Option<&'static str> {
    SHORT_NAMES.into_iter().find(|(known, _)| *known == oid).map(|(_, short)| short)
}

/// The other way round.
pub(super) fn oid_of(short: &str) -> Option<&'static str> {
    SHORT_NAMES.into_iter().find(|(_, known)| *known == short).map(|(oid, _)| oid)
}

/// The characters of an ASN.1 string type; `None` for anything else and for bytes that are not of that type.
pub(super) fn decode(value: &Any<'_>) -> Option<String> {
    // A tag of another class has the same number and another meaning, and DER has no constructed strings.
    if value.class() != Class::Universal || value.header.is_constructed() {
        return None;
    }
    match value.tag() {
        Tag::Utf8String => String::from_utf8(value.data.to_vec()).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            value.data.is_ascii().then(|| String::from_utf8_lossy(value.data).into_owned())
        }
        Tag::T61String => Some(value.data.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString => {
            let (units, rest) = value.data.as_chunks::<2>();
            if !rest.is_empty() {
                return None;
            }
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16(&units).ok()
        }
        Tag::UniversalString => {
            let (units, rest) = value.data.as_chunks::<4>();
            if !rest.is_empty() {
                return None;
            }
            units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect()
        }
        _ => None,
    }
}

/// Section 2.4: special characters behind a backslash; what is not printable ASCII as `\HH` of its UTF-8.
fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if index == 0 || index == last => text.push_str("\\ "),
            b'#' if index == 0 => text.push_str("\\#"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::*;

    #[test]
    fn an_object_identifier_has_one_form() {
        for (bytes, expected) in [
            (&[0x55, 4, 3][..], Some("2.5.4.3")),
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], Some("1.2.840.113549.1.9.1")),
            (&[0x88, 0x37, 1], Some("2.999.1")),
            (&[0x7f], Some("2.47")),
            (&[0x55, 4, 0x80, 3], None),
            (&[0x80, 0x55, 4, 3], None),
            (&[0x55, 4, 0x83], None),
            (
                &[
                    0x55, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                    0xff, 0xff, 0xff, 1,
                ],
                None,
            ),
            (&[], None),
        ] {
            assert_eq!(dotted(&Oid::new(bytes.into())).as_deref(), expected, "{bytes:x?}");
        }
        let der = [0x30, 13, 0x31, 11, 0x30, 9, 6, 4, 0x55, 4, 0x80, 3, 0x0c, 1, b'a'];
        let (_, name) = X509Name::from_der(&der).unwrap();
        assert_eq!(distinguished_name(&name), "#55048003=#0C0161");
        assert!(attributes(&name).is_empty());
    }

    #[test]
    fn only_a_string_of_ders_own_types_is_text() {
        // commonName with "a" as UTF8String, as a constructed one, and as [APPLICATION 12].
        for (tag, expected) in [(0x0c, "CN=a"), (0x2c, "CN=#2C0161"), (0x4c, "CN=#4C0161")] {
            let der = [0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, tag, 1, b'a'];
            let (_, name) = X509Name::from_der(&der).unwrap();
            assert_eq!(distinguished_name(&name), expected);
            assert_eq!(attributes(&name).len(), usize::from(tag == 0x0c));
        }
    }

    #[test]
    fn escapes_what_rfc_4514_names_and_all_that_is_not_printable_ascii() {
        let cases = [
            ("James \"Jim\" Smith, III", "James \\\"Jim\\\" Smith\\, III"),
            ("Before\rAfter", "Before\\0DAfter"),
            ("Lučić", "Lu\\C4\\8Di\\C4\\87"),
            (" lead and trail ", "\\ lead and trail\\ "),
            ("#hash", "\\#hash"),
            ("a=b/c", "a=b/c"),
            ("\0", "\\00"),
            (" ", "\\ "),
            ("", ""),
        ];
        for (value, expected) in cases {
            let mut text = String::new();
            escape(value, &mut text);
            assert_eq!(text, expected, "{value:?}");
        }
    }
}
