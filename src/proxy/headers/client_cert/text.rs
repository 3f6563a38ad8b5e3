//! Names as they may stand between somebody else's separators.

use crate::identity::{CertificateFacts, SubjectAltName};

/// A distinguished name (RFC 4514) with every escape as `\HH`, which section 2.4 allows for any character. So no quote
/// and no second backslash stands in it, and nobody has to know whether a backslash before a quote escapes it.
pub(super) fn hex_escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name.chars();
    while let Some(character) = rest.next() {
        text.push(character);
        if character != '\\' {
            continue;
        }
        match rest.next() {
            Some(digit) if digit.is_ascii_hexdigit() => text.push(digit),
            Some(escaped) => push_hex(&mut text, escaped),
            None => push_hex(&mut text, '\\'),
        }
    }
    text
}

/// A value with those of its characters that `is_special` as `\HH`, and the backslash too.
pub(super) fn escaped(value: &str, is_special: fn(char) -> bool) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if character == '\\' || (character.is_ascii() && is_special(character)) {
            text.push('\\');
            push_hex(&mut text, character);
        } else {
            text.push(character);
        }
    }
    text
}

fn push_hex(text: &mut String, character: char) {
    text.push_str(&format!("{:02X}", u32::from(character)));
}

/// The URIs that are made of a URI's characters (RFC 3986 section 2). The others cannot be told without changing them,
/// and a changed name could be somebody else's.
pub(super) fn uris(facts: &CertificateFacts) -> impl Iterator<Item = &str> {
    facts.subject_alt_names.iter().filter_map(|name| match name {
        SubjectAltName::Uri(uri) if is_uri(uri) => Some(uri.as_str()),
        _ => None,
    })
}

/// The DNS names that are made of a name's characters, likewise.
pub(super) fn dns_names(facts: &CertificateFacts) -> impl Iterator<Item = &str> {
    facts.subject_alt_names.iter().filter_map(|name| match name {
        SubjectAltName::Dns(name) if is_dns_name(name) => Some(name.as_str()),
        _ => None,
    })
}

pub(super) fn is_uri(text: &str) -> bool {
    let of_uri = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    !text.is_empty() && text.bytes().all(of_uri)
}

fn is_dns_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_two_digits_whatever_it_was() {
        let cases = [
            ("CN=a", "CN=a"),
            ("CN=a\\\"b,O=c", "CN=a\\22b,O=c"),
            ("CN=a\\\\", "CN=a\\5C"),
            ("CN=a\\,b\\C3\\A9", "CN=a\\2Cb\\C3\\A9"),
            ("CN=\\ a\\ ", "CN=\\20a\\20"),
        ];
        for (name, expected) in cases {
            assert_eq!(hex_escaped(name), expected);
        }
    }
}
