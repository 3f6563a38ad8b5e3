//! Hosts (RFC 3986 section 3.2.2) and authorities (section 3.2), as strictly as HTTP needs them.
//!
//! The grammar would allow percent-encoding and sub-delimiters in a host. No host on the Internet uses them and
//! programs disagree about what they mean, so they are refused.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A DNS name: lower-case, without a trailing dot, at most 253 bytes, labels of 1 to 63 bytes of letters, digits,
/// hyphen and underscore (which RFC 1123 forbids and service names use).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// Reads a name; letter case and one trailing dot do not matter.
    ///
    /// # Errors
    /// [`HostError`] when this is no DNS name. A text of digits and dots alone is taken for a mistyped address.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || text.len() > 253 {
            return Err(HostError);
        }
        for label in text.split('.') {
            let fits = !label.is_empty() && label.len() <= 63;
            if !fits || !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
                return Err(HostError);
            }
        }
        // RFC 3986 section 3.2.2: what ends like an IPv4 address is one, so 256.1.1.1 and 1.2.3 are errors.
        let last = text.rsplit('.').next().unwrap_or(text);
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HostError);
        }
        Ok(Self(text.to_ascii_lowercase().into_boxed_str()))
    }

    /// The name, lower-case, without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DNS name or a literal address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name.
    Name(HostName),
    /// An address; IPv6 stands in brackets as text.
    Address(IpAddr),
}

impl Host {
    /// Reads a host as it stands in a URL or a Host header: IPv6 in brackets.
    ///
    /// # Errors
    /// [`HostError`] when it is neither.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(HostError)?;
            return Ipv6Addr::from_str(inner).map(|address| Self::Address(address.into())).map_err(|_| HostError);
        }
        if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        HostName::parse(text).map(Self::Name)
    }

    /// The name, unless it is an address.
    pub fn name(&self) -> Option<&HostName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Host and optional port, as in a Host header or `:authority`. The default port of https is the same as none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, when one was written and it is not 443.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port` or `host:`.
    ///
    /// # Errors
    /// [`HostError`] for userinfo, a port that is no port, or a host that is no host.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let (host, port) = split_port(text)?;
        let port = match port {
            None | Some("") => None,
            Some(digits) => Some(parse_port(digits)?),
        };
        Ok(Self { host: Host::parse(host)?, port: port.filter(|port| *port != 443) })
    }
}

/// Host and port, both present: where to connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port, 1 to 65535.
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port`; `default_port` stands in where none is written.
    ///
    /// # Errors
    /// [`HostError`] for a host that is no host, or a port that is none.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, HostError> {
        let (host, port) = split_port(text)?;
        let port = port.map_or(Ok(default_port), parse_port)?;
        if port == 0 {
            return Err(HostError);
        }
        Ok(Self { host: Host::parse(host)?, port })
    }

    /// The socket address, when the host is one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Address(address) => Some(SocketAddr::new(address, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A text that is no host, or no host with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or address")]
pub struct HostError;

/// The port's text is `Some("")` for `host:`.
fn split_port(text: &str) -> Result<(&str, Option<&str>), HostError> {
    let after_brackets = if text.starts_with('[') { text.find(']').ok_or(HostError)? } else { 0 };
    let (head, tail) = text.split_at(after_brackets);
    match tail.find(':') {
        None => Ok((text, None)),
        Some(colon) => {
            let host = text.get(..head.len() + colon).ok_or(HostError)?;
            let port = text.get(head.len() + colon + 1..).ok_or(HostError)?;
            Ok((host, Some(port)))
        }
    }
}

fn parse_port(digits: &str) -> Result<u16, HostError> {
    // `parse` alone would take "+80".
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostError);
    }
    digits.parse().map_err(|_| HostError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_authorities_as_http_has_them() {
        let same = [
            ("api.example.com", "api.example.com", None),
            ("API.Example.COM", "api.example.com", None),
            ("api.example.com.", "api.example.com", None),
            ("api.example.com:443", "api.example.com", None),
            ("api.example.com.:443", "api.example.com", None),
            ("api.example.com:", "api.example.com", None),
            ("api.example.com:8443", "api.example.com", Some(8443)),
            ("localhost", "localhost", None),
            ("_sip._tcp.example.com", "_sip._tcp.example.com", None),
            ("10.0.0.1:8443", "10.0.0.1", Some(8443)),
            ("[::1]:8443", "[::1]", Some(8443)),
            ("[::1]", "[::1]", None),
            ("[2001:DB8::0001]", "[2001:db8::1]", None),
        ];
        for (text, host, port) in same {
            let authority = Authority::parse(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((authority.host.to_string().as_str(), authority.port), (host, port), "{text}");
        }
        let refused = [
            "",
            ".",
            "..",
            "a..b",
            ":443",
            "user@host",
            "user:pw@host",
            "host:port",
            "host:+80",
            "host:65536",
            "host:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "::1]",
            "[127.0.0.1]",
            "a b",
            "a,b",
            "a/b",
            "a%2eb",
            "host:99999999",
            "é.example",
            "256.1.1.1",
            "1.2.3",
            "a\0b",
            "[::1%25eth0]",
            "host:８０",
            "[]",
            "a?b",
            "a#b",
            "a\\b",
            "a;b",
        ];
        for text in refused {
            assert!(Authority::parse(text).is_err(), "{text:?}");
        }
        let long = format!("{}.com", "a".repeat(64));
        assert!(Authority::parse(&long).is_err());
    }

    #[test]
    fn an_endpoint_needs_a_port_that_can_be_connected_to() {
        assert_eq!(HostPort::parse("api.local", 80).unwrap().to_string(), "api.local:80");
        assert_eq!(HostPort::parse("[::1]:5000", 80).unwrap().socket_addr(), Some("[::1]:5000".parse().unwrap()));
        assert!(HostPort::parse("api.local:0", 80).is_err());
        assert!(HostPort::parse("api.local:", 80).is_err());
    }
}
