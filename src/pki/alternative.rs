//! Subject alternative names as people write them (RFC 5280 section 4.2.1.6).
//!
//! A kind may be said (`dns:`, `uri:`, `email:`, `ip:`); else an address is an iPAddress, what has a scheme a URI, what
//! has an `@` an email address, and the rest must be a DNS name. Nothing is guessed beyond that: what is almost one of
//! them is refused, because a certificate with a name that nobody matches is found out much later.

use std::net::IpAddr;

use crate::identity::SubjectAltName;

/// Longest URI taken, in bytes: that of a SPIFFE id (SPIFFE-ID section 2.3).
const LONGEST_URI: usize = 2048;

/// A text that is no subject alternative name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlternativeNameError {
    /// Not a host name.
    #[error(
        "it is not a DNS name: labels of 1 to 63 letters, digits and hyphens, joined by dots, at most 253 characters; \
         the first may be *"
    )]
    Dns,
    /// A host name in its own script.
    #[error("a DNS name in a certificate is ASCII: write the A-label, as in xn--mnchen-3ya.example")]
    NotAscii,
    /// A host with a port.
    #[error("it has a port; a certificate names only the host")]
    Port,
    /// Not an IP address.
    #[error("it is not an IP address, like 10.0.0.1 or 2001:db8::1 (no brackets, no prefix length, no zone)")]
    Ip,
    /// Not a URI.
    #[error("it is not a URI: a scheme, a colon, then ASCII without spaces, at most 2048 bytes")]
    Uri,
    /// Not a SPIFFE id.
    #[error(
        "it is not a SPIFFE ID: spiffe://trust-domain/path with a lower-case trust domain, no port, no query, and path \
         segments of letters, digits, dots, hyphens and underscores"
    )]
    Spiffe,
    /// Not an email address.
    #[error("it is not an email address, like user@example.com in ASCII")]
    Email,
    /// A kind that a server's certificate has no use for.
    #[error("a server is named by DNS names and IP addresses only")]
    NotForServer,
}

/// Reads one name of a client.
///
/// # Errors
/// When it is none of the kinds, with what is wrong about the kind it looks like.
pub fn parse_alternative_name(text: &str) -> Result<SubjectAltName, AlternativeNameError> {
    if let Some((kind, rest)) = text.split_once(':') {
        match kind.to_ascii_lowercase().as_str() {
            "dns" => return dns(rest),
            "uri" => return uri(rest),
            "email" => return email(rest),
            "ip" => return rest.parse().map(SubjectAltName::Ip).map_err(|_| AlternativeNameError::Ip),
            _ => {}
        }
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SubjectAltName::Ip(address));
    }
    if has_port(text) {
        return Err(AlternativeNameError::Port);
    }
    if scheme(text).is_some() {
        return uri(text);
    }
    if text.contains('@') {
        return email(text);
    }
    if text.contains(':') || text.starts_with('[') {
        return Err(AlternativeNameError::Ip);
    }
    dns(text)
}

/// Reads one name of a server: a DNS name or an address.
///
/// # Errors
/// As [`parse_alternative_name`], and for every other kind of name.
pub fn parse_server_name(text: &str) -> Result<SubjectAltName, AlternativeNameError> {
    match parse_alternative_name(text)? {
        name @ (SubjectAltName::Dns(_) | SubjectAltName::Ip(_)) => Ok(name),
        SubjectAltName::Uri(_) | SubjectAltName::Email(_) => Err(AlternativeNameError::NotForServer),
    }
}

/// Whether this is a host name in the preferred syntax (RFC 1034 section 3.5, with RFC 1123's leading digits) that
/// nobody can take for an IPv4 address.
pub fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        matches!(label.len(), 1..=63)
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253 && text.split('.').all(label) && text.rsplit('.').next().is_some_and(|last| !numeric(last))
}

fn dns(text: &str) -> Result<SubjectAltName, AlternativeNameError> {
    if !text.is_ascii() {
        return Err(AlternativeNameError::NotAscii);
    }
    if has_port(text) {
        return Err(AlternativeNameError::Port);
    }
    if is_dns_name(text.strip_prefix("*.").unwrap_or(text)) {
        Ok(SubjectAltName::Dns(text.to_owned()))
    } else {
        Err(AlternativeNameError::Dns)
    }
}

fn email(text: &str) -> Result<SubjectAltName, AlternativeNameError> {
    let local = |local: &str| {
        matches!(local.len(), 1..=64)
            && local.split('.').all(|atom| {
                !atom.is_empty()
                    && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
            })
    };
    match text.rsplit_once('@') {
        Some((mailbox, host)) if local(mailbox) && is_dns_name(host) => Ok(SubjectAltName::Email(text.to_owned())),
        _ => Err(AlternativeNameError::Email),
    }
}

fn uri(text: &str) -> Result<SubjectAltName, AlternativeNameError> {
    let Some(rest) = scheme(text) else { return Err(AlternativeNameError::Uri) };
    // RFC 3986 section 2: what may stand in a URI; a percent sign begins an encoded byte.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let encoded = text
        .split('%')
        .skip(1)
        .all(|after| after.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())));
    if rest.is_empty() || rest == "//" || text.len() > LONGEST_URI || !text.bytes().all(allowed) || !encoded {
        return Err(AlternativeNameError::Uri);
    }
    if text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("spiffe:")) && !is_spiffe_id(text) {
        return Err(AlternativeNameError::Spiffe);
    }
    Ok(SubjectAltName::Uri(text.to_owned()))
}

/// SPIFFE-ID section 2. Checked here because every SPIFFE verifier refuses what is not exactly this.
fn is_spiffe_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("spiffe://") else { return false };
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    let domain_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    let path_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(path_byte);
    matches!(domain.len(), 1..=255)
        && domain.bytes().all(domain_byte)
        && path.is_none_or(|path| path.split('/').all(segment))
}

/// What follows the scheme and its colon (RFC 3986 section 3.1).
fn scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let good = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    good.then_some(rest)
}

/// `localhost:8443` reads as a URI of scheme `localhost`; nobody who writes it means that.
fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        matches!(port.len(), 1..=5)
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && (is_dns_name(host) || host.parse::<std::net::Ipv4Addr>().is_ok() || host.ends_with(']'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_kind_they_look_like() {
        let cases = [
            ("api.example.com", "DNS:api.example.com"),
            ("localhost", "DNS:localhost"),
            ("client-1", "DNS:client-1"),
            ("*.example.com", "DNS:*.example.com"),
            ("xn--mnchen-3ya.example", "DNS:xn--mnchen-3ya.example"),
            ("DNS:spiffe.example", "DNS:spiffe.example"),
            ("127.0.0.1", "IP:127.0.0.1"),
            ("::1", "IP:::1"),
            ("2001:db8::1", "IP:2001:db8::1"),
            ("ip:10.0.0.1", "IP:10.0.0.1"),
            ("spiffe://example.org/ns/a/sa/b", "URI:spiffe://example.org/ns/a/sa/b"),
            ("spiffe://example.org", "URI:spiffe://example.org"),
            ("urn:gateway:client:x", "URI:urn:gateway:client:x"),
            ("https://example.com:8443/a?b=%20", "URI:https://example.com:8443/a?b=%20"),
            ("uri:dns:x", "URI:dns:x"),
            ("user@example.com", "EMAIL:user@example.com"),
            ("email:a.b+c@example.com", "EMAIL:a.b+c@example.com"),
        ];
        for (text, expected) in cases {
            let name = parse_alternative_name(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let shown = match name {
                SubjectAltName::Dns(value) => format!("DNS:{value}"),
                SubjectAltName::Uri(value) => format!("URI:{value}"),
                SubjectAltName::Email(value) => format!("EMAIL:{value}"),
                SubjectAltName::Ip(address) => format!("IP:{address}"),
            };
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn what_is_almost_a_name_is_refused() {
        use AlternativeNameError as E;
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = vec!["abcdefg"; 33].join(".");
        let cases = [
            ("", E::Dns),
            ("*", E::Dns),
            ("*.", E::Dns),
            ("a.*.example", E::Dns),
            ("*a.example", E::Dns),
            ("-a.example", E::Dns),
            ("a-.example", E::Dns),
            ("a..example", E::Dns),
            ("example.com.", E::Dns),
            ("my_host", E::Dns),
            ("two words", E::Dns),
            ("a\nb", E::Dns),
            ("300.1.2.3", E::Dns),
            ("1.2.3", E::Dns),
            ("10.0.0.0/8", E::Dns),
            ("dns:10.0.0.1", E::Dns),
            (long_label.as_str(), E::Dns),
            (long_name.as_str(), E::Dns),
            ("münchen.example", E::NotAscii),
            ("localhost:8443", E::Port),
            ("dns:localhost:8443", E::Port),
            ("127.0.0.1:8443", E::Port),
            ("[::1]:8443", E::Port),
            ("[::1]", E::Ip),
            ("ip:example.com", E::Ip),
            ("2001:db8::g", E::Ip),
            ("fe80::1%eth0", E::Uri),
            ("http://", E::Uri),
            ("urn:", E::Uri),
            ("urn:a b", E::Uri),
            ("urn:%zz", E::Uri),
            ("urn:é", E::Uri),
            ("uri:no-scheme", E::Uri),
            ("spiffe://", E::Uri),
            ("spiffe:///path", E::Spiffe),
            ("spiffe:x", E::Spiffe),
            ("SPIFFE://example.org/x", E::Spiffe),
            ("spiffe://Example.org/x", E::Spiffe),
            ("spiffe://example.org:80/x", E::Spiffe),
            ("spiffe://example.org/", E::Spiffe),
            ("spiffe://example.org/a/../b", E::Spiffe),
            ("spiffe://example.org/a?b", E::Spiffe),
            ("@example.com", E::Email),
            ("user@", E::Email),
            ("a@b@example.com", E::Email),
            ("us er@example.com", E::Email),
            ("üser@example.com", E::Email),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_alternative_name(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn servers_have_no_uris_and_no_email() {
        for text in ["spiffe://example.org/x", "user@example.com"] {
            assert_eq!(parse_server_name(text), Err(AlternativeNameError::NotForServer));
        }
        assert!(parse_server_name("::1").is_ok() && parse_server_name("*.a.example").is_ok());
    }
}
