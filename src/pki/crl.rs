//! Revocation lists (RFC 5280 section 5): written for our own CA, read to go on where the last one stopped.
//!
//! A list that is issued again carries over every entry of the one before, whoever wrote it: a revocation is never
//! undone by a renewal.

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::authority::Authority;
use super::dates::{calendar, days_after, seconds_after};
use super::pem;
use super::problem::AuthorityProblem;
use super::profile::BACKDATE_SECONDS;
use crate::clock::WallTime;

/// Why a certificate was revoked (RFC 5280 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationReason {
    /// No reason given; written by leaving the reason out.
    Unspecified,
    /// The private key is known to others.
    KeyCompromise,
    /// The CA's private key is known to others.
    CaCompromise,
    /// The subject belongs elsewhere now.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The subject does not exist any more.
    CessationOfOperation,
    /// On hold.
    CertificateHold,
    /// Taken off the list; for delta lists only.
    RemoveFromCrl,
    /// A right that the certificate states was taken away.
    PrivilegeWithdrawn,
    /// The attribute authority's key is known to others.
    AaCompromise,
}

impl RevocationReason {
    /// Every reason with its code and its word on the command line and in the index.
    const TABLE: [(Self, u8, &'static str, rcgen::RevocationReason); 10] = [
        (Self::Unspecified, 0, "unspecified", rcgen::RevocationReason::Unspecified),
        (Self::KeyCompromise, 1, "key-compromise", rcgen::RevocationReason::KeyCompromise),
        (Self::CaCompromise, 2, "ca-compromise", rcgen::RevocationReason::CaCompromise),
        (Self::AffiliationChanged, 3, "affiliation-changed", rcgen::RevocationReason::AffiliationChanged),
        (Self::Superseded, 4, "superseded", rcgen::RevocationReason::Superseded),
        (Self::CessationOfOperation, 5, "cessation-of-operation", rcgen::RevocationReason::CessationOfOperation),
        (Self::CertificateHold, 6, "certificate-hold", rcgen::RevocationReason::CertificateHold),
        (Self::RemoveFromCrl, 8, "remove-from-crl", rcgen::RevocationReason::RemoveFromCrl),
        (Self::PrivilegeWithdrawn, 9, "privilege-withdrawn", rcgen::RevocationReason::PrivilegeWithdrawn),
        (Self::AaCompromise, 10, "aa-compromise", rcgen::RevocationReason::AaCompromise),
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.0 == self).map_or("unspecified", |row| row.2)
    }

    /// The reason that this word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.2 == word).map(|row| row.0)
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.1 == code).map(|row| row.0)
    }

    fn to_rcgen(self) -> Option<rcgen::RevocationReason> {
        Self::TABLE.iter().find(|row| row.0 == self).map(|row| row.3)
    }
}

/// One revoked certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revoked {
    /// The serial number's bytes, without a sign byte.
    pub(super) serial: Vec<u8>,
    pub(super) at: WallTime,
    pub(super) reason: Option<RevocationReason>,
    pub(super) invalid_since: Option<WallTime>,
}

/// A list that lies in the folder.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) issuer: Vec<u8>,
    pub(super) number: u64,
    this_update: WallTime,
    pub(super) next_update: Option<WallTime>,
    pub(super) revoked: Vec<Revoked>,
    /// As it lies there.
    pub(super) pem: String,
}

/// A list in the folder that cannot be gone on with. Each text goes on after the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum CrlProblem {
    /// Not CRLs in PEM.
    #[error("cannot be read as a revocation list in PEM; move it away, and the next command writes one from the index")]
    Garbled,
    /// Its number is beyond ours.
    #[error("has a CRL number of more than 64 bits, which is not supported")]
    Number,
    /// Another CA's.
    #[error("was issued by another CA than ca.crt; move it away, and the next command writes one")]
    Foreign,
}

impl Present {
    /// The lists of a file: one, or two while a CA takes the place of another. None in an empty file.
    pub(super) fn read_all(bytes: &[u8]) -> Result<Vec<Self>, CrlProblem> {
        let blocks = pem::blocks(bytes).map_err(|_| CrlProblem::Garbled)?;
        if blocks.is_empty() && !bytes.is_empty() {
            return Err(CrlProblem::Garbled);
        }
        let read = |block: &pem::Block| if block.is_crl() { Self::read(&block.der) } else { Err(CrlProblem::Garbled) };
        blocks.iter().map(read).collect()
    }

    /// One list in DER.
    pub(super) fn read(der: &[u8]) -> Result<Self, CrlProblem> {
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| CrlProblem::Garbled)?;
        if !rest.is_empty() {
            return Err(CrlProblem::Garbled);
        }
        let number = match list.crl_number() {
            Some(number) => u64::try_from(number).map_err(|_| CrlProblem::Number)?,
            None => 0,
        };
        let wall = |time: x509_parser::time::ASN1Time| WallTime::from_unix_seconds(time.timestamp());
        let revoked = list.iter_revoked_certificates().map(|entry| Revoked {
            serial: without_sign_byte(entry.raw_serial()).to_vec(),
            at: wall(entry.revocation_date),
            reason: entry.reason_code().and_then(|(_, code)| RevocationReason::from_code(code.0)),
            invalid_since: entry.invalidity_date().map(|(_, date)| wall(date)),
        });
        Ok(Self {
            issuer: list.issuer().as_raw().to_vec(),
            number,
            this_update: wall(list.last_update()),
            next_update: list.next_update().map(wall),
            revoked: revoked.collect(),
            pem: pem::encode(LABEL, der),
        })
    }

    /// Whether more than half of its life is over; one that states no end never is.
    pub(super) fn is_past_half_life(&self, now: WallTime) -> bool {
        self.next_update.is_some_and(|end| {
            let half = (end.unix_seconds() - self.this_update.unix_seconds()) / 2;
            now >= seconds_after(self.this_update, half)
        })
    }
}

const LABEL: &str = "X509 CRL";

/// Signs a list that is good for `days`, as PEM.
pub(super) fn sign(
    authority: &Authority,
    number: u64,
    revoked: &[Revoked],
    now: WallTime,
    days: u32,
) -> Result<String, AuthorityProblem> {
    let list = CertificateRevocationListParams {
        this_update: calendar(seconds_after(now, BACKDATE_SECONDS)),
        next_update: calendar(days_after(now, days)),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(Revoked::to_rcgen).collect(),
        // rcgen does not take the issuer's own identifier here as it does for certificates.
        key_identifier_method: KeyIdMethod::PreSpecified(authority.key_id().to_vec()),
    };
    let list = authority.signer().list(&list)?;
    Ok(pem::encode(LABEL, &list))
}

impl Revoked {
    fn to_rcgen(&self) -> RevokedCertParams {
        RevokedCertParams {
            serial_number: SerialNumber::from_slice(&self.serial),
            revocation_time: calendar(self.at),
            // Section 5.3.1: "unspecified" is said by saying nothing.
            reason_code: self
                .reason
                .filter(|&reason| reason != RevocationReason::Unspecified)
                .and_then(RevocationReason::to_rcgen),
            invalidity_date: self.invalid_since.map(calendar),
        }
    }
}

fn without_sign_byte(raw: &[u8]) -> &[u8] {
    match raw {
        [0, rest @ ..] if !rest.is_empty() => rest,
        raw => raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::keyfile::{KeyType, PrivateKey};
    use crate::pki::names::Subject;
    use crate::pki::profile::{AuthorityProfile, Validity};

    #[test]
    fn a_list_reads_back_with_its_number_entries_and_age() {
        let now = WallTime::from_unix_seconds(1_800_000_000);
        let profile = AuthorityProfile::new(Subject::named("Test CA".parse().unwrap()), Validity::Days(3650));
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let authority = Authority::create(&profile, key, now).unwrap();
        let revoked = vec![
            Revoked {
                serial: vec![0x81, 2, 3],
                at: WallTime::from_unix_seconds(1_700_000_000),
                reason: Some(RevocationReason::KeyCompromise),
                invalid_since: Some(WallTime::from_unix_seconds(1_600_000_000)),
            },
            Revoked { serial: vec![7], at: now, reason: None, invalid_since: None },
        ];
        let pem = sign(&authority, 41, &revoked, now, 365).unwrap();
        let read = Present::read_all(pem.as_bytes()).unwrap().remove(0);
        assert_eq!(read.pem, pem);
        assert_eq!((read.number, &read.revoked), (41, &revoked));
        assert_eq!(read.issuer, authority.subject());
        assert!(!read.is_past_half_life(now));
        assert!(!read.is_past_half_life(days_after(now, 182)));
        assert!(read.is_past_half_life(days_after(now, 183)));
        assert!(Present::read_all(authority.pem().as_bytes()).is_err(), "a certificate is no list");
    }

    #[test]
    fn reasons_have_one_word_and_one_code_each() {
        for (reason, code, word, _) in RevocationReason::TABLE {
            assert_eq!(RevocationReason::from_code(code), Some(reason));
            assert_eq!(RevocationReason::from_word(word), Some(reason));
            assert_eq!(reason.as_str(), word);
        }
        assert_eq!(RevocationReason::from_code(7), None);
    }
}
