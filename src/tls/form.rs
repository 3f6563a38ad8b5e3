//! What RFC 5280 forbids in a certificate and webpki does not look at, as far as no certificate in honest use has it.
//!
//! Rules that many authorities break (key identifiers that are missing, serial numbers that are zero or too long) are
//! left alone: docs/security.md lists them.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_PKIX_AUTHORITY_INFO_ACCESS;
use x509_parser::prelude::{FromDer as _, X509Version};

/// Where in a path a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Leaf,
    Intermediate,
}

/// Whether a certificate below the anchor keeps the rules.
pub(super) fn check(der: &[u8], place: Place) -> Result<(), webpki::Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| webpki::Error::BadDer)?;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            // Sections 4.2.1.1 and 4.2.1.2: never critical.
            ParsedExtension::AuthorityKeyIdentifier(_) | ParsedExtension::SubjectKeyIdentifier(_)
                if extension.critical =>
            {
                return Err(webpki::Error::UnsupportedCriticalExtension);
            }
            // Section 4.2.1.10: in certificates of authorities only, and never without a subtree.
            ParsedExtension::NameConstraints(constraints) => {
                let is_empty = |subtrees: Option<&Vec<_>>| subtrees.is_none_or(Vec::is_empty);
                let says_nothing = is_empty(constraints.permitted_subtrees.as_ref())
                    && is_empty(constraints.excluded_subtrees.as_ref());
                if place == Place::Leaf || says_nothing {
                    return Err(webpki::Error::NameConstraintViolation);
                }
            }
            // Section 4.2.1.3: who is no authority signs no certificates.
            ParsedExtension::KeyUsage(usage) if place == Place::Leaf && usage.key_cert_sign() => {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
            // Section 6.1.4 (n): nor does an authority whose key is for something else.
            ParsedExtension::KeyUsage(usage) if place == Place::Intermediate && !usage.key_cert_sign() => {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
            ParsedExtension::ParseError { .. } if extension.oid == OID_PKIX_AUTHORITY_INFO_ACCESS => {
                return Err(webpki::Error::MalformedExtensions);
            }
            _ => {}
        }
    }
    // Section 4.1.2.6: a chain of names needs names.
    if place == Place::Intermediate && certificate.subject().iter_rdn().next().is_none() {
        return Err(webpki::Error::EndEntityUsedAsCa);
    }
    Ok(())
}

/// Whether a trust anchor is an authority's certificate: what webpki asks of intermediates it does not ask of anchors.
pub(super) fn is_authority(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    if certificate.subject().iter_rdn().next().is_none() {
        return false;
    }
    // Version 1 has no extensions, and some authorities are that old.
    if certificate.version() != X509Version::V3 {
        return true;
    }
    let signs = certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    // A key identifier is never critical.
    let is_known = |parsed: &ParsedExtension<'_>| {
        !matches!(
            parsed,
            ParsedExtension::UnsupportedExtension { .. }
                | ParsedExtension::ParseError { .. }
                | ParsedExtension::AuthorityKeyIdentifier(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
        )
    };
    certificate.is_ca()
        && signs
        && certificate
            .extensions()
            .iter()
            .all(|extension| !extension.critical || is_known(extension.parsed_extension()))
}
