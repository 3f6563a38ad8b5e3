//! What the names of a certificate are compared with, each kind by its own rules.
//!
//! A certificate may hold anything in its names. So a wildcard stands for one whole label or segment, and only for one
//! made of plain characters; whatever else a name holds, it has to be written in the rule to match.

use crate::net::HostName;

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No DNS name.
    #[error(
        "write a DNS name such as \"client.example.com\", or \"*.example.com\" for one label before it; other scripts as xn--..."
    )]
    Dns,
    /// No URI, or a star in the wrong place.
    #[error("write a URI such as \"https://example.com/a\"; \"*\" stands for one whole segment of its path")]
    Uri,
    /// No SPIFFE id.
    #[error(
        "write a SPIFFE id such as \"spiffe://example.org/ns/*/sa/api\": trust domain in lower case, segments of letters, digits, '.', '-' and '_', and \"*\" for one whole segment"
    )]
    Spiffe,
    /// No e-mail address.
    #[error("write an address such as \"ann@example.com\", or \"*@example.com\" for every one of the domain")]
    Email,
}

/// A dNSName: compared label by label, without letter case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsPattern {
    /// This name.
    Exact(HostName),
    /// One label before this name.
    Wildcard(HostName),
}

impl DnsPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError::Dns`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match text.strip_prefix("*.") {
            Some(rest) => HostName::parse(rest).map(Self::Wildcard),
            None => HostName::parse(text).map(Self::Exact),
        }
        .map_err(|_| PatternError::Dns)
    }

    /// Whether the name of a certificate is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name.eq_ignore_ascii_case(exact.as_str()),
            Self::Wildcard(rest) => name.split_once('.').is_some_and(|(label, after)| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                !label.is_empty() && label.bytes().all(plain) && after.eq_ignore_ascii_case(rest.as_str())
            }),
        }
    }
}

/// A URI: byte for byte, but for segments of the path that are `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriPattern {
    /// Up to the path: scheme and authority, or all of a URI that has no authority.
    before: Box<str>,
    /// `None` is `*`.
    segments: Box<[Option<Box<str>>]>,
}

impl UriPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError::Uri`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (scheme, _) = text.split_once(':').ok_or(PatternError::Uri)?;
        let begins = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let plain = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !begins || !plain || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PatternError::Uri);
        }
        let (before, path) = split(text);
        let segment = |segment: &str| match segment {
            "*" => Ok(None),
            segment if segment.contains('*') => Err(PatternError::Uri),
            segment => Ok(Some(segment.into())),
        };
        let segments = path.map(|path| path.split('/').map(segment).collect::<Result<Box<_>, _>>()).transpose()?;
        if before.contains('*') {
            return Err(PatternError::Uri);
        }
        Ok(Self { before: before.into(), segments: segments.unwrap_or_default() })
    }

    /// Reads a pattern of SPIFFE ids (SPIFFE-ID section 2).
    ///
    /// # Errors
    /// [`PatternError::Spiffe`].
    pub fn parse_spiffe(text: &str) -> Result<Self, PatternError> {
        let pattern = Self::parse(text).map_err(|_| PatternError::Spiffe)?;
        let domain = pattern.before.strip_prefix("spiffe://").ok_or(PatternError::Spiffe)?;
        let of_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let sound = !domain.is_empty() && domain.bytes().all(of_domain);
        if sound && pattern.segments.iter().flatten().all(|segment| is_plain(segment)) {
            return Ok(pattern);
        }
        Err(PatternError::Spiffe)
    }

    /// Whether the URI of a certificate is meant.
    pub fn matches(&self, uri: &str) -> bool {
        let (before, path) = split(uri);
        if before != &*self.before {
            return false;
        }
        let Some(path) = path else { return self.segments.is_empty() };
        let mut wanted = self.segments.iter();
        let each = path.split('/').all(|segment| match wanted.next() {
            Some(Some(exact)) => segment == &**exact,
            Some(None) => is_plain(segment),
            None => false,
        });
        each && wanted.next().is_none()
    }
}

/// What a star may stand for: nothing that a reader could take for two segments, for none, or for the way up.
fn is_plain(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
}

/// Scheme and authority, and the path without its first slash. A URI without an authority is not divided.
fn split(uri: &str) -> (&str, Option<&str>) {
    let Some(authority) = uri.find("://").map(|colon| colon + "://".len()) else { return (uri, None) };
    match uri.get(authority..).and_then(|rest| rest.find('/')) {
        Some(slash) => {
            let (before, path) = uri.split_at(authority + slash);
            (before, path.get(1..))
        }
        None => (uri, None),
    }
}

/// An rfc822Name: the local part byte for byte, the domain without letter case (RFC 5280 section 7.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailPattern {
    /// `None` is every one.
    local: Option<Box<str>>,
    domain: HostName,
}

impl EmailPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError::Email`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (local, domain) = text.rsplit_once('@').ok_or(PatternError::Email)?;
        let domain = HostName::parse(domain).map_err(|_| PatternError::Email)?;
        match local {
            "*" => Ok(Self { local: None, domain }),
            local if is_local(local) => Ok(Self { local: Some(local.into()), domain }),
            _ => Err(PatternError::Email),
        }
    }

    /// Whether the address of a certificate is meant.
    pub fn matches(&self, address: &str) -> bool {
        address.rsplit_once('@').is_some_and(|(local, domain)| {
            let same = self.local.as_ref().map_or_else(|| is_local(local), |exact| local == &**exact);
            same && domain.eq_ignore_ascii_case(self.domain.as_str())
        })
    }
}

/// A dot-atom (RFC 5322 section 3.2.3) without a star.
fn is_local(local: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-/=?^_`{|}~.".contains(&byte);
    !local.is_empty() && local.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dns(pattern: &str, name: &str) -> bool {
        DnsPattern::parse(pattern).unwrap().matches(name)
    }

    fn spiffe(pattern: &str, id: &str) -> bool {
        UriPattern::parse_spiffe(pattern).unwrap().matches(id)
    }

    fn email(pattern: &str, address: &str) -> bool {
        EmailPattern::parse(pattern).unwrap().matches(address)
    }

    #[test]
    fn a_star_is_one_label_and_never_none() {
        assert!(dns("*.partner.example", "a.partner.example"));
        assert!(dns("*.Partner.example", "A.PARTNER.Example"));
        assert!(dns("client.example", "Client.Example"));
        for name in [
            "partner.example",
            ".partner.example",
            "a.b.partner.example",
            "a.partner.example.",
            "a.partner.example.evil",
            "a.partner.example\0",
            "a\0.partner.example",
            "*.partner.example",
            "a b.partner.example",
            "é.partner.example",
            "apartner.example",
            "",
        ] {
            assert!(!dns("*.partner.example", name), "{name:?}");
        }
        assert!(dns("*.xn--mnchen-3ya.example", "a.XN--MNCHEN-3YA.example"));
        for pattern in ["*", "*.*.example", "a.*.example", "a*.example", "", "münchen.example", "a example", "*."] {
            assert!(DnsPattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn a_star_is_one_segment_of_a_spiffe_id() {
        let pattern = "spiffe://td.example/ns/*/sa/api";
        assert!(spiffe(pattern, "spiffe://td.example/ns/prod/sa/api"));
        assert!(spiffe("spiffe://td.example", "spiffe://td.example"));
        for id in [
            "spiffe://td.example/ns//sa/api",
            "spiffe://td.example/ns/a/b/sa/api",
            "spiffe://td.example/ns/./sa/api",
            "spiffe://td.example/ns/../sa/api",
            "spiffe://td.example/ns/a%2Fb/sa/api",
            "spiffe://td.example/ns/prod/sa/api/",
            "spiffe://td.example/ns/prod/sa",
            "spiffe://td.example/ns/prod/sa/api/x",
            "spiffe://td.example/ns/prod/sa/API",
            "spiffe://td.example/ns/prod/sa/api?x",
            "spiffe://td.example/ns/prod/sa/api#x",
            "spiffe://TD.example/ns/prod/sa/api",
            "SPIFFE://td.example/ns/prod/sa/api",
            "spiffe://td.example.evil/ns/prod/sa/api",
            "spiffe://evil/td.example/ns/prod/sa/api",
            "spiffe://x@td.example/ns/prod/sa/api",
            "spiffe://td.example:1/ns/prod/sa/api",
            "spiffe:/td.example/ns/prod/sa/api",
            "spiffe://td.example",
            "",
        ] {
            assert!(!spiffe(pattern, id), "{id:?}");
        }
        for pattern in [
            "https://td.example/a",
            "spiffe://",
            "spiffe:///a",
            "spiffe://TD/a",
            "spiffe://*/a",
            "spiffe://td/a*",
            "spiffe://td/**",
            "spiffe://td/",
            "spiffe://td/a/",
            "spiffe://td/..",
            "spiffe://td/a%20b",
            "spiffe://td/a?b",
            "td/a",
        ] {
            assert!(UriPattern::parse_spiffe(pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn a_uri_is_compared_byte_for_byte() {
        let uri = |pattern: &str, uri: &str| UriPattern::parse(pattern).unwrap().matches(uri);
        assert!(uri("urn:gateway:client:a", "urn:gateway:client:a"));
        assert!(!uri("urn:gateway:client:a", "urn:gateway:client:b"));
        assert!(!uri("urn:gateway:client:a", "URN:gateway:client:a"));
        assert!(uri("https://example.com/clients/*", "https://example.com/clients/a"));
        assert!(!uri("https://example.com/clients/*", "https://example.com/clients/a/b"));
        assert!(!uri("https://example.com/clients/*", "https://example.com/clients/"));
        assert!(uri("https://example.com/", "https://example.com/"));
        assert!(!uri("https://example.com/", "https://example.com"));
        for pattern in ["", "x", "urn:a:*", "https://*/a", "https://x/a*", "1a:b", "a b:c", ":x"] {
            assert!(UriPattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn the_local_part_is_exact_and_the_domain_has_no_case() {
        assert!(email("ann@example.com", "ann@EXAMPLE.com"));
        assert!(email("*@example.com", "Bob.O'Neil@example.com"));
        for address in [
            "Ann@example.com",
            "ann@sub.example.com",
            "ann@example.com.evil",
            "ann@evil@example.com",
            "ann@example.com\0",
            "ann",
            "@example.com",
        ] {
            assert!(!email("ann@example.com", address), "{address:?}");
        }
        for address in ["@example.com", "a b@example.com", "\"a@b\"@example.com", "*@example.com", "a\0@example.com"] {
            assert!(!email("*@example.com", address), "{address:?}");
        }
        for pattern in ["example.com", "@example.com", "a*@example.com", "a@*.example.com", "a@", "a b@example.com"] {
            assert!(EmailPattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }

    proptest! {
        #[test]
        fn a_wildcard_matches_exactly_one_plain_label(name in "[a-zA-Z0-9.*_\\-\u{0}\u{e9} ]{0,20}", known in any::<bool>()) {
            let name = if known { format!("{name}.partner.example") } else { name };
            let lower = name.to_ascii_lowercase();
            let expected = lower.strip_suffix(".partner.example").is_some_and(|label| {
                !label.is_empty()
                    && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            });
            prop_assert_eq!(dns("*.partner.example", &name), expected);
        }

        #[test]
        fn a_spiffe_star_never_spans_segments(segment in "[a-z0-9./%*\\-_\u{0}?#]{0,12}") {
            let id = format!("spiffe://td.example/ns/{segment}/sa/api");
            let expected = !segment.is_empty() && segment != "." && segment != ".."
                && segment.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            prop_assert_eq!(spiffe("spiffe://td.example/ns/*/sa/api", &id), expected);
        }

        #[test]
        fn an_exact_name_matches_itself_in_any_letters_and_nothing_else(
            name in "[a-z]{1,3}(\\.[a-z]{1,3}){0,2}", other in "[a-zA-Z]{1,3}(\\.[a-zA-Z]{1,3}){0,2}", upper in any::<bool>()
        ) {
            let spelled = if upper { name.to_ascii_uppercase() } else { name.clone() };
            prop_assert!(dns(&name, &spelled) && dns(&spelled, &name));
            prop_assert_eq!(dns(&name, &other), name == other.to_ascii_lowercase());
            let before = format!("a{name}");
            let below = format!("a.{name}");
            prop_assert!(!dns(&name, &before) && !dns(&name, &below) && !dns(&below, &name));
        }

        #[test]
        fn a_mail_star_is_one_plain_local_part(local in "[a-zA-Z.@*\"\\\\ \u{0}\u{e9}+_-]{0,8}", upper in any::<bool>()) {
            let domain = if upper { "EXAMPLE.com" } else { "example.com" };
            let address = format!("{local}@{domain}");
            let expected = !local.is_empty()
                && local.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'+-/=?^_`{|}~.".contains(c));
            prop_assert_eq!(email("*@example.com", &address), expected);
            let beside = format!("{address}.evil");
            prop_assert!(!email("*@example.com", &beside));
            if expected {
                let other = format!("x{address}");
                prop_assert!(email(&address, &address) && !email(&address, &other));
            }
        }

        #[test]
        fn no_name_panics(text in any::<String>(), name in any::<String>()) {
            let _ = DnsPattern::parse(&text).map(|pattern| pattern.matches(&name));
            let _ = UriPattern::parse(&text).map(|pattern| pattern.matches(&name));
            let _ = EmailPattern::parse(&text).map(|pattern| pattern.matches(&name));
        }

        #[test]
        fn what_is_written_exactly_matches_itself(uri in "[a-z]{1,5}://[a-z]{1,5}(/[a-z0-9._-]{1,5}){0,4}") {
            prop_assert!(UriPattern::parse(&uri).unwrap().matches(&uri));
        }
    }
}
