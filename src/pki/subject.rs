//! A subject that somebody else wrote: whether a certificate may carry it as it is (RFC 5280 section 4.1.2.6 and
//! appendix A).
//!
//! It is copied byte for byte, so what is wrong with it would be wrong with the certificate.

use x509_parser::asn1_rs::Tag;
use x509_parser::oid_registry::{
    OID_DOMAIN_COMPONENT, OID_PKCS9_EMAIL_ADDRESS, OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME,
    OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT, OID_X509_SERIALNUMBER, Oid,
};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::identity::SubjectAltName;

/// What is wrong with a subject, as the end of a sentence; `names` are those that the certificate will have.
pub(super) fn subject_problem(subject: &X509Name<'_>, names: &[SubjectAltName]) -> Option<String> {
    subject.iter_attributes().find_map(|attribute| attribute_problem(attribute, names))
}

fn attribute_problem(attribute: &AttributeTypeAndValue<'_>, names: &[SubjectAltName]) -> Option<String> {
    let kind = attribute.attr_type();
    let Ok(value) = attribute.as_str() else {
        return Some(format!("attribute {kind} is in a form that certificates do not use any more"));
    };
    let tag = attribute.attr_value().header.tag();
    let wrong = |what: &str| Some(format!("attribute {kind} ({value:?}) {what}"));
    if !tags(kind).contains(&tag) {
        return wrong("is in another form than RFC 5280 wants");
    }
    let printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    if value.chars().any(char::is_control) || tag == Tag::PrintableString && !value.bytes().all(printable) {
        return wrong("has characters that may not stand there");
    }
    if value.is_empty() || value.chars().count() > longest(kind) {
        return wrong(&format!("is not of 1 to {} characters", longest(kind)));
    }
    if *kind == OID_X509_COUNTRY_NAME && !(value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase())) {
        return wrong("is not a country's two letters");
    }
    let email = |name: &SubjectAltName| matches!(name, SubjectAltName::Email(email) if email == value);
    if *kind == OID_PKCS9_EMAIL_ADDRESS && !names.iter().any(email) {
        return wrong("is an e-mail address, which has to be among the names as well");
    }
    None
}

/// In which forms it may be written. What is not known here may be text of any kind.
fn tags(kind: &Oid<'_>) -> &'static [Tag] {
    if *kind == OID_PKCS9_EMAIL_ADDRESS || *kind == OID_DOMAIN_COMPONENT {
        &[Tag::Ia5String]
    } else if *kind == OID_X509_COUNTRY_NAME || *kind == OID_X509_SERIALNUMBER {
        &[Tag::PrintableString]
    } else {
        &[Tag::Utf8String, Tag::PrintableString]
    }
}

/// RFC 5280 appendix A.1, the upper bounds; 128 for what is not in it.
fn longest(kind: &Oid<'_>) -> usize {
    let short = [OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT, OID_X509_SERIALNUMBER];
    if *kind == OID_PKCS9_EMAIL_ADDRESS {
        255
    } else if short.contains(kind) {
        64
    } else {
        128
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{DistinguishedName, DnType, DnValue};
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn problem(kind: DnType, value: DnValue) -> Option<String> {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(kind, value);
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let (_, parsed) = x509_parser::prelude::X509Certificate::from_der(certificate.der()).unwrap();
        subject_problem(parsed.subject(), &[SubjectAltName::Email("u@example.com".to_owned())])
    }

    #[test]
    fn a_subject_is_taken_as_rfc_5280_has_it_and_else_not_at_all() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let printable = |text: &str| DnValue::PrintableString(text.try_into().unwrap());
        let ia5 = |text: &str| DnValue::Ia5String(text.try_into().unwrap());
        let email = || DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        for (kind, value) in [
            (DnType::CommonName, utf8(&"é".repeat(64))),
            (DnType::CommonName, printable("a (b)")),
            (DnType::CountryName, printable("DE")),
            (DnType::StateOrProvinceName, utf8(&"s".repeat(128))),
            (DnType::CustomDnType(vec![2, 5, 4, 97]), utf8("VATDE-1")),
            (email(), ia5("u@example.com")),
        ] {
            assert_eq!(problem(kind, value), None);
        }
        for (kind, value, expected) in [
            (DnType::CommonName, utf8(&"é".repeat(65)), "1 to 64"),
            (DnType::CommonName, utf8(""), "1 to 64"),
            (DnType::CommonName, utf8("a\nb"), "characters that may not"),
            (DnType::CommonName, ia5("a"), "another form"),
            (DnType::CommonName, DnValue::TeletexString("a".try_into().unwrap()), "form"),
            (DnType::CommonName, DnValue::BmpString("a".try_into().unwrap()), "form"),
            (DnType::CountryName, utf8("DE"), "another form"),
            (DnType::CountryName, printable("de"), "two letters"),
            (DnType::CountryName, printable("DEU"), "two letters"),
            (email(), ia5("other@example.com"), "among the names"),
            (email(), utf8("u@example.com"), "another form"),
        ] {
            let said = problem(kind, value).unwrap_or_default();
            assert!(said.contains(expected), "{expected}: {said:?}");
        }
    }
}
