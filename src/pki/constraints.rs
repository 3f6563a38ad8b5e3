//! Name constraints (RFC 5280 section 4.2.1.10): the names that a CA may issue, said in its certificate, so that a CA
//! that was stolen or misused is believed about nothing else.

use std::net::IpAddr;

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, NameConstraints as Rules};

use super::alternative::is_dns_name;

/// A text that is no constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// None of the kinds.
    #[error("it is none of dns:example.com, email:example.com and ip:10.0.0.0/8; exclude: before it forbids that")]
    Kind,
    /// Not a domain.
    #[error(
        "it is not a domain like example.com, which stands for all names below it, too; a dot before it is not needed"
    )]
    Domain,
    /// Not a network.
    #[error("it is not a network like 10.0.0.0/8 or 2001:db8::/32")]
    Network,
}

/// One rule about names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    permits: bool,
    subtree: Subtree,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subtree {
    Dns(String),
    Email(String),
    Ip(IpAddr, u8),
}

/// Reads one rule: `dns:example.com`, `email:example.com`, `ip:10.0.0.0/8`; `exclude:` before it forbids instead.
///
/// # Errors
/// When it is none of them.
pub fn parse_constraint(text: &str) -> Result<Constraint, ConstraintError> {
    let (permits, rule) = text.strip_prefix("exclude:").map_or((true, text), |rule| (false, rule));
    let (kind, value) = rule.split_once(':').ok_or(ConstraintError::Kind)?;
    let domain = || if is_dns_name(value) { Ok(value.to_owned()) } else { Err(ConstraintError::Domain) };
    let subtree = match kind {
        "dns" => Subtree::Dns(domain()?),
        "email" => Subtree::Email(domain()?),
        "ip" => network(value).ok_or(ConstraintError::Network)?,
        _ => return Err(ConstraintError::Kind),
    };
    Ok(Constraint { permits, subtree })
}

fn network(text: &str) -> Option<Subtree> {
    let (address, length) = text.split_once('/')?;
    let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u8>().ok()?);
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some(Subtree::Ip(address, length))
}

/// The extension, or `None` when there is no rule.
pub(super) fn extension(constraints: &[Constraint]) -> Option<NameConstraints> {
    let subtree = |constraint: &Constraint| match &constraint.subtree {
        Subtree::Dns(domain) => GeneralSubtree::DnsName(domain.clone()),
        Subtree::Email(domain) => GeneralSubtree::Rfc822Name(domain.clone()),
        Subtree::Ip(address, length) => GeneralSubtree::IpAddress(subnet(*address, *length)),
    };
    let those = |permits: bool| {
        constraints.iter().filter(move |constraint| constraint.permits == permits).map(subtree).collect()
    };
    (!constraints.is_empty())
        .then(|| NameConstraints { permitted_subtrees: those(true), excluded_subtrees: those(false) })
}

/// The common name of what was issued, where other verifiers would refuse the certificate for it.
///
/// In a certificate without a DNS name, OpenSSL and GnuTLS hold a leaf's common name against the DNS rules of every CA
/// above it if it reads as a host name, and Java a CA's, against those of the CAs between it and the root.
pub(super) fn forbidden_common_name(issued: &X509Certificate<'_>, above: &[X509Certificate<'_>]) -> Option<String> {
    let names = issued.subject_alternative_name().ok().flatten();
    let has_host = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_));
    if names.is_some_and(|names| names.value.general_names.iter().any(has_host)) {
        return None;
    }
    let reads_as_host = |text: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if issued.is_ca() { is_dns_name(text) } else { text.contains('.') && text.bytes().all(plain) }
    };
    let asked = |issuer: &&X509Certificate<'_>| !(issued.is_ca() && issuer.subject() == issuer.issuer());
    let refuses = |issuer: &X509Certificate<'_>, host: &str| {
        issuer.name_constraints().ok().flatten().is_some_and(|rules| !allows_host(rules.value, host))
    };
    let hosts = issued.subject().iter_common_name().filter_map(|name| name.as_str().ok()).filter(reads_as_host);
    let mut forbidden = hosts.filter(|host| above.iter().filter(asked).any(|issuer| refuses(issuer, host)));
    forbidden.next().map(str::to_owned)
}

/// Whether the DNS rules permit this host.
fn allows_host(rules: &Rules<'_>, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let covers = |rule: &str| {
        let rule = rule.trim_start_matches('.').to_ascii_lowercase();
        let before = host.strip_suffix(&rule);
        rule.is_empty() || before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let domain = |subtree: &x509_parser::extensions::GeneralSubtree<'_>| match subtree.base {
        GeneralName::DNSName(domain) => Some(covers(domain)),
        _ => None,
    };
    let permitted: Vec<bool> = rules.permitted_subtrees.iter().flatten().filter_map(domain).collect();
    let excluded = rules.excluded_subtrees.iter().flatten().filter_map(domain).any(|covered| covered);
    (permitted.is_empty() || permitted.contains(&true)) && !excluded
}

/// Bits behind the prefix are cleared: strict verifiers refuse a network with bits there.
fn subnet(address: IpAddr, length: u8) -> CidrSubnet {
    let masked = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            return CidrSubnet::V4((u32::from(address) & mask).to_be_bytes(), mask.to_be_bytes());
        }
        IpAddr::V6(address) => u128::from(address),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    CidrSubnet::V6((masked & mask).to_be_bytes(), mask.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_what_is_almost_one_is_refused() {
        for good in ["dns:example.com", "exclude:dns:a.example.com", "email:example.com", "ip:10.0.0.0/8", "ip:::/0"] {
            assert!(parse_constraint(good).is_ok(), "{good}");
        }
        use ConstraintError as E;
        for (bad, error) in [
            ("example.com", E::Kind),
            ("uri:example.com", E::Kind),
            ("dns:.example.com", E::Domain),
            ("dns:", E::Domain),
            ("ip:10.0.0.1", E::Network),
            ("ip:10.0.0.0/33", E::Network),
        ] {
            assert_eq!(parse_constraint(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn a_network_has_no_bits_behind_its_prefix() {
        let v4 = |length| subnet("10.1.2.3".parse().unwrap(), length);
        assert_eq!(v4(8), CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]));
        assert_eq!(v4(0), CidrSubnet::V4([0; 4], [0; 4]));
        assert_eq!(v4(32), CidrSubnet::V4([10, 1, 2, 3], [255; 4]));
    }
}
