//! A revocation list (RFC 5280 section 5), described with all that it revokes.

use serde::Serialize;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::words::{algorithm, wall};
use crate::clock::WallTime;
use crate::identity::{distinguished_name, hex_lower, hex_upper, sha256};
use crate::pki::crl::RevocationReason;
use crate::pki::dates::{as_optional_text, as_text, days_between};

/// What a revocation list says.
#[derive(Debug, Clone, Serialize)]
pub struct CrlDescription {
    /// Issuer as RFC 4514 text.
    pub issuer: String,
    /// Decimal.
    pub number: Option<String>,
    /// When it was made.
    #[serde(with = "as_text")]
    pub this_update: WallTime,
    /// Until when the next one comes.
    #[serde(with = "as_optional_text")]
    pub next_update: Option<WallTime>,
    /// Whole days until then, rounded down; negative when it is over.
    pub days_left: Option<i64>,
    /// How the issuer signed it.
    pub signature_algorithm: String,
    /// Lower-case hex.
    pub authority_key_id: Option<String>,
    /// What it revokes.
    pub revoked: Vec<RevokedDescription>,
    /// Of the DER, lower-case hex.
    pub sha256: String,
}

/// One entry of a revocation list.
#[derive(Debug, Clone, Serialize)]
pub struct RevokedDescription {
    /// Upper-case hex.
    pub serial: String,
    /// Since when.
    #[serde(with = "as_text")]
    pub revoked_at: WallTime,
    /// Why.
    pub reason: &'static str,
}

/// Describes a revocation list in DER.
pub(super) fn crl(der: &[u8], now: WallTime) -> Result<CrlDescription, String> {
    let (rest, list) = CertificateRevocationList::from_der(der).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the list", rest.len()));
    }
    let next_update = list.next_update().map(wall);
    let revoked = list.iter_revoked_certificates().map(|entry| RevokedDescription {
        serial: match entry.raw_serial() {
            [0, serial @ ..] if !serial.is_empty() => hex_upper(serial),
            serial => hex_upper(serial),
        },
        revoked_at: wall(entry.revocation_date),
        reason: entry
            .reason_code()
            .and_then(|(_, code)| RevocationReason::from_code(code.0))
            .unwrap_or(RevocationReason::Unspecified)
            .as_str(),
    });
    Ok(CrlDescription {
        issuer: distinguished_name(list.issuer()),
        number: list.crl_number().map(ToString::to_string),
        this_update: wall(list.last_update()),
        next_update,
        days_left: next_update.map(|end| days_between(now, end)),
        signature_algorithm: algorithm(&list.signature_algorithm),
        authority_key_id: list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| hex_lower(id.0)),
            _ => None,
        }),
        revoked: revoked.collect(),
        sha256: hex_lower(&sha256(der)),
    })
}
