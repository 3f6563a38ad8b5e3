//! Reading back the texts that this module writes into logs: names as they stood in the certificate.
//!
//! A log may cut a text short. What stood whole before the cut is read; whether there was more is told with it.

use std::net::IpAddr;

use x509_parser::der_parser::asn1_rs::{Any, FromDer as _};

use super::certificate::SubjectAltName;
use super::name::{NameAttribute, decode, oid_of};

/// What a text says, as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack<T> {
    /// What it names, in the order of the text.
    pub names: Vec<T>,
    /// Whether that is all, since the text was not cut short.
    pub is_whole: bool,
}

impl SubjectAltName {
    /// Reads what [`CertificateFacts::san_text`](super::CertificateFacts::san_text) wrote. A text of `longest` bytes may
    /// have been cut there. `None` when it is no such text.
    pub fn read_back(text: &str, longest: usize) -> Option<ReadBack<Self>> {
        let is_whole = text.len() < longest;
        let whole = if is_whole { text } else { text.rsplit_once(',').map_or("", |(whole, _)| whole) };
        let names = if whole.is_empty() { Some(Vec::new()) } else { whole.split(',').map(Self::read).collect() };
        Some(ReadBack { names: names?, is_whole })
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(':')?;
        Some(match kind {
            "DNS" => Self::Dns(decoded(value)?),
            "URI" => Self::Uri(decoded(value)?),
            "EMAIL" => Self::Email(decoded(value)?),
            "IP" => Self::Ip(value.parse::<IpAddr>().ok()?),
            _ => return None,
        })
    }
}

impl NameAttribute {
    /// Reads what [`distinguished_name`](super::distinguished_name) wrote: the attributes that are text without control
    /// characters, as those of [`Details`](super::Details). A text of `longest` bytes may have been cut there. `None`
    /// when it is no such text.
    pub fn read_back(text: &str, longest: usize) -> Option<ReadBack<Self>> {
        let is_whole = text.len() < longest;
        let mut pieces = pieces(text)?;
        if !is_whole {
            pieces.pop();
        }
        let read: Option<Vec<_>> = pieces.into_iter().map(Self::read).collect();
        let names = read?.into_iter().flatten().filter(|name| !name.value.chars().any(char::is_control)).collect();
        Some(ReadBack { names, is_whole })
    }

    /// `Some(None)` is an attribute that is no text.
    fn read(text: &str) -> Option<Option<Self>> {
        let (kind, value) = text.split_once('=')?;
        let is_oid = kind.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && kind.contains('.');
        let oid = oid_of(kind).or(is_oid.then_some(kind))?.to_owned();
        let value = match value.strip_prefix('#') {
            Some(hex) => {
                let der = bytes_of(hex)?;
                let (rest, value) = Any::from_der(&der).ok()?;
                if !rest.is_empty() {
                    return None;
                }
                decode(&value)
            }
            None => Some(unescaped(value)?),
        };
        Some(value.map(|value| Self { oid, value }))
    }
}

/// The attributes of a name: what is between its commas and plus signs, apart from escaped ones. `None` for a text that
/// ends within an escape, which only a cut explains.
fn pieces(text: &str) -> Option<Vec<&str>> {
    let mut pieces = Vec::new();
    let (mut begin, mut is_escaped) = (0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b',' | b'+' => {
                pieces.push(text.get(begin..index)?);
                begin = index + 1;
            }
            _ => {}
        }
    }
    if !text.is_empty() {
        pieces.push(text.get(begin..)?);
    }
    Some(pieces)
}

/// RFC 4514 section 3: a backslash stands before two hex digits, or before a character that has a meaning of its own.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut value = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        value.push(match bytes.next()? {
            special @ (b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b' ' | b'#') => special,
            high => pair(high, bytes.next()?)?,
        });
    }
    String::from_utf8(value).ok()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut value = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        value.push(if byte == b'%' { pair(bytes.next()?, bytes.next()?)? } else { byte });
    }
    String::from_utf8(value).ok()
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| pair(high, low)).collect()
}

fn pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CustomExtension, KeyPair};

    use super::super::CertificateFacts;
    use super::*;

    /// One element of DER.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut bytes = vec![tag];
        match u8::try_from(length) {
            Ok(short @ ..0x80) => bytes.push(short),
            Ok(long) => bytes.extend([0x81, long]),
            Err(_) => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        bytes.extend(content);
        bytes
    }

    const KINDS: [(&str, &[u64]); 6] = [
        ("2.5.4.3", &[2, 5, 4, 3]),
        ("2.5.4.11", &[2, 5, 4, 11]),
        ("0.9.2342.19200300.100.1.25", &[0, 9, 2342, 19_200_300, 100, 1, 25]),
        ("2.5.4.97", &[2, 5, 4, 97]),
        ("1.2.840.113549.1.9.1", &[1, 2, 840, 113_549, 1, 9, 1]),
        ("2.5.4.5", &[2, 5, 4, 5]),
    ];
    /// UTF8String, PrintableString, IA5String, T61String, BMPString, UniversalString, OCTET STRING, INTEGER.
    const TAGS: [u8; 8] = [0x0c, 0x13, 0x16, 0x14, 0x1e, 0x1c, 0x04, 0x02];

    fn attribute(kind: usize, tag: usize, value: &str) -> Vec<u8> {
        use x509_parser::der_parser::asn1_rs::{Oid, ToDer as _};
        let oid = Oid::from(KINDS[kind].1).unwrap().to_der_vec().unwrap();
        let value = match TAGS[tag] {
            0x1e => value.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            0x1c => value.chars().flat_map(|character| u32::from(character).to_be_bytes()).collect(),
            _ => value.as_bytes().to_vec(),
        };
        der(0x30, &[oid, der(TAGS[tag], &value)].concat())
    }

    type Names = Vec<Vec<(usize, usize, String)>>;

    fn name(rdns: &Names) -> Vec<u8> {
        let rdn = |rdn: &Vec<(usize, usize, String)>| {
            let each: Vec<_> = rdn.iter().map(|(kind, tag, value)| attribute(*kind, *tag, value)).collect();
            der(0x31, &each.concat())
        };
        der(0x30, &rdns.iter().map(rdn).collect::<Vec<_>>().concat())
    }

    fn written(rdns: &Names) -> (String, Vec<Vec<NameAttribute>>) {
        use x509_parser::x509::X509Name;
        let whole = name(rdns);
        let (_, parsed) = X509Name::from_der(&whole).unwrap();
        let each = rdns.iter().map(|rdn| {
            let one = name(&vec![rdn.clone()]);
            let (_, parsed) = X509Name::from_der(&one).unwrap();
            super::super::name::attributes(&parsed)
        });
        (super::super::distinguished_name(&parsed), each.collect())
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ #+,;<=>\\\\\"a-c0-9]{0,8}",
            any::<String>().prop_map(|text| text.chars().take(12).collect()),
            "[ -~]{0,12}",
            "[a-zé😀\u{0}\n%]{0,8}",
        ]
    }

    fn rdns() -> impl Strategy<Value = Names> {
        let attribute = (0..KINDS.len(), 0..TAGS.len(), value());
        prop::collection::vec(prop::collection::vec(attribute, 1..3), 0..5)
    }

    fn alternative() -> impl Strategy<Value = SubjectAltName> {
        let value = || prop_oneof![value(), "[a-z%,:.@/-]{0,12}"];
        prop_oneof![
            value().prop_map(SubjectAltName::Dns),
            value().prop_map(SubjectAltName::Uri),
            value().prop_map(SubjectAltName::Email),
            any::<IpAddr>().prop_map(SubjectAltName::Ip),
        ]
    }

    fn facts(names: Vec<SubjectAltName>) -> CertificateFacts {
        use std::sync::OnceLock;
        static FACTS: OnceLock<CertificateFacts> = OnceLock::new();
        let base = FACTS.get_or_init(|| {
            let mut params = rcgen::CertificateParams::default();
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0])];
            let key = KeyPair::generate().unwrap();
            CertificateFacts::from_der(params.self_signed(&key).unwrap().der()).unwrap()
        });
        CertificateFacts { subject_alt_names: names, ..base.clone() }
    }

    proptest! {
        #[test]
        fn a_subject_reads_back_to_its_attributes(rdns in rdns()) {
            let (text, each) = written(&rdns);
            let read = NameAttribute::read_back(&text, usize::MAX).expect("what was written is read");
            prop_assert!(read.is_whole);
            // RFC 4514 section 2.1: the last RDN is written first.
            let expected: Vec<_> = each.into_iter().rev().flatten().collect();
            prop_assert_eq!(read.names, expected, "{}", text);
        }

        #[test]
        fn alternative_names_read_back_to_themselves(names in prop::collection::vec(alternative(), 0..6)) {
            let text = facts(names.clone()).san_text();
            let read = SubjectAltName::read_back(&text, usize::MAX);
            prop_assert_eq!(read, Some(ReadBack { names, is_whole: true }), "{}", text);
        }

        #[test]
        fn of_a_text_cut_short_only_what_stood_whole_is_told(
            rdns in rdns(), names in prop::collection::vec(alternative(), 0..6), part in 0.0..1.0_f64
        ) {
            let (text, each) = written(&rdns);
            let longest = (text.len() as f64 * part) as usize;
            let all: Vec<_> = each.into_iter().rev().flatten().collect();
            let read = NameAttribute::read_back(&text[..longest], longest).expect("what was written is read");
            prop_assert!(!read.is_whole);
            prop_assert_eq!(&read.names[..], &all[..read.names.len()]);

            let text = facts(names.clone()).san_text();
            let longest = (text.len() as f64 * part) as usize;
            let read = SubjectAltName::read_back(&text[..longest], longest).expect("what was written is read");
            prop_assert!(!read.is_whole);
            prop_assert_eq!(&read.names[..], &names[..read.names.len()]);
        }

        #[test]
        fn whatever_a_log_holds_is_read_without_a_panic(text in any::<String>(), longest in 0..20_usize) {
            let _ = NameAttribute::read_back(&text, longest);
            let _ = SubjectAltName::read_back(&text, longest);
        }
    }

    #[test]
    fn what_nobody_wrote_is_nothing() {
        for text in
            ["x", "CN", "=a", "CN=a\\", "CN=a\\4", "CN=a\\zz", "CN=\\ff", "2.5.4.97=#0", "2.5.4.97=#", "FOO=a", "CN=a,"]
        {
            assert_eq!(NameAttribute::read_back(text, 1024), None, "{text:?}");
        }
        for text in ["x", "DNS", "DNS:a,", "DNS:%", "DNS:%4", "DNS:%zz", "DNS:%ff", "IP:x", "RID:1.2", ",DNS:a"] {
            assert_eq!(SubjectAltName::read_back(text, 1024), None, "{text:?}");
        }
    }
}
