//! Whether a certificate that is good otherwise has been revoked: by its issuer's list, or by the operator's own.
//!
//! A certificate is revoked when a list that its issuer signed has its serial number, and good when such a list is
//! current and has it not. With neither, nothing is known, and a client of whom that is true is refused. A list that is
//! past its `nextUpdate` still revokes what it has: serial numbers leave a list when certificates expire.

use std::sync::Arc;

use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::Cert;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::crl::RevocationList;
use super::deny_list::DenyList;
use super::settings::{CrlScope, PemSource, RevocationSettings, StaleCrl};
use super::{Error, pem};
use crate::clock::WallTime;

/// What is known of revocations. Immutable.
#[derive(Debug, Default)]
pub(super) struct Revocation {
    lists: Vec<Arc<RevocationList>>,
    /// Whether lists are configured at all.
    is_asked: bool,
    scope: CrlScope,
    stale: StaleCrl,
    denied: DenyList,
}

/// A certificate of a path, and the key of the one above it.
pub(super) struct Link<'a> {
    pub(super) certificate: &'a Cert<'a>,
    pub(super) is_leaf: bool,
    pub(super) issuer_key: SubjectPublicKeyInfoDer<'static>,
    /// Whether the one above it may sign lists.
    pub(super) issuer_signs_lists: bool,
}

impl Revocation {
    /// Opens lists and deny list.
    pub(super) fn open(settings: &RevocationSettings) -> Result<Self, Error> {
        let mut lists = Vec::new();
        for source in &settings.crl {
            lists.extend(read(source)?.into_iter().map(Arc::new));
        }
        let denied = match &settings.deny_list {
            None => DenyList::default(),
            Some(path) => {
                let source = PemSource::File(path.clone());
                DenyList::parse(&source.to_string(), &pem::read(&source)?)?
            }
        };
        let is_asked = !settings.crl.is_empty();
        Ok(Self { lists, is_asked, scope: settings.crl_scope, stale: settings.stale_crl, denied })
    }

    pub(super) fn lists(&self) -> &[Arc<RevocationList>] {
        &self.lists
    }

    /// Whether issuers' lists are asked at all.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }

    pub(super) fn stale(&self) -> StaleCrl {
        self.stale
    }

    /// Whether there is nothing to look into.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_asked && self.denied() == 0
    }

    pub(super) fn denied(&self) -> usize {
        self.denied.len()
    }

    /// Whether the operator's own list has a certificate, by what a log says of it.
    pub(super) fn denies(&self, serial: Option<&str>, sha256: Option<&str>) -> bool {
        self.denied.names(serial, sha256)
    }

    /// Whether the path may be believed, and how long that holds; `links` are its certificates below the anchor.
    pub(super) fn check<'a>(
        &self,
        links: impl Iterator<Item = Link<'a>>,
        now: WallTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<WallTime, webpki::Error> {
        let mut until = WallTime::from_unix_millis(i64::MAX);
        let mut is_unknown = false;
        for link in links {
            let certificate = link.certificate;
            if self.denied.has(certificate.serial(), &certificate.der()) {
                return Err(webpki::Error::CertRevoked);
            }
            if !self.is_asked || !link.is_leaf && self.scope == CrlScope::Leaf {
                continue;
            }
            match self.status(&link, now, algorithms)? {
                Some(end) => until = until.min(end),
                // A certificate further up may be revoked, which is said first.
                None => is_unknown = true,
            }
        }
        if is_unknown { Err(webpki::Error::UnknownRevocationStatus) } else { Ok(until) }
    }

    /// How long it is known to be good; `None` when nothing is known.
    fn status(
        &self,
        link: &Link<'_>,
        now: WallTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Option<WallTime>, webpki::Error> {
        let certificate = link.certificate;
        let mut good_until = None;
        if !link.issuer_signs_lists {
            return Ok(None);
        }
        let lists = self.lists.iter().filter(|list| {
            *list.issuer_name == *certificate.issuer()
                && list.covers(&certificate.der(), link.is_leaf)
                && list.is_signed_by(&link.issuer_key, algorithms)
        });
        for list in lists {
            if list.revokes(certificate.serial()) {
                return Err(webpki::Error::CertRevoked);
            }
            let until = match self.stale {
                StaleCrl::Accept => WallTime::from_unix_millis(i64::MAX),
                StaleCrl::Refuse if list.is_stale(now) => continue,
                // Up to the second before: that of `nextUpdate` is too late.
                StaleCrl::Refuse => WallTime::from_unix_seconds(list.next_update.unix_seconds() - 1),
            };
            good_until = good_until.max(Some(until));
        }
        Ok(good_until)
    }
}

/// Whether a certificate's key usage lets it sign lists (RFC 5280 section 4.2.1.3); without one it may.
pub(super) fn signs_lists(certificate: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    match parsed.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.crl_sign()),
        Err(_) => false,
    }
}

/// Every list of a source, PEM or DER; at least one.
fn read(source: &PemSource) -> Result<Vec<RevocationList>, Error> {
    let origin = source.to_string();
    let bytes = pem::read_large(source)?;
    if bytes.first() == Some(&0x30) {
        let list = RevocationList::from_der(&origin, &bytes).map_err(|error| Error::Garbled(origin.clone(), error))?;
        return Ok(vec![list]);
    }
    let mut lists = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem::without_mark(&bytes)) {
        let (kind, der) = section.map_err(|error| Error::Garbled(origin.clone(), error.to_string()))?;
        if kind == SectionKind::Crl {
            let garbled = |error| Error::Garbled(format!("CRL {} in {origin}", lists.len() + 1), error);
            lists.push(RevocationList::from_der(&origin, &der).map_err(garbled)?);
        }
    }
    if lists.is_empty() {
        return Err(Error::NoCrl(origin, pem::what_else(&bytes)));
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
        KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    use super::*;
    use crate::tls::{TrustSettings, TrustStore};

    const SERIALS: u64 = 1_000_000;

    /// 16 bytes, as random serial numbers have, the first never zero.
    fn serial(number: u64) -> [u8; 16] {
        let mut serial = [0x55; 16];
        serial[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        serial
    }

    /// In MiB.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// The figures of docs/performance.md:
    /// `cargo test --config profile.dev.opt-level=3 --lib a_million_serial_numbers -- --ignored --nocapture`.
    #[test]
    #[ignore = "measures; it says what it measured"]
    fn a_million_serial_numbers() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: (0..SERIALS)
                .map(|number| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&serial(number)),
                    revocation_time: date_time_ymd(2026, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (ca, pem, der) = (folder.path().join("ca"), folder.path().join("pem"), folder.path().join("der"));
        std::fs::write(&ca, issuer.pem()).unwrap();
        std::fs::write(&pem, list.pem().unwrap()).unwrap();
        std::fs::write(&der, list.der()).unwrap();
        drop(list);
        for path in [der, pem] {
            let size = std::fs::metadata(&path).unwrap().len() >> 20;
            let trust = TrustSettings {
                ca: vec![PemSource::File(ca.clone())],
                max_chain_depth: 4,
                revocation: RevocationSettings { crl: vec![PemSource::File(path)], ..RevocationSettings::default() },
            };
            let (before, begun) = (resident(), Instant::now());
            let trust = TrustStore::open(&trust).unwrap();
            let (took, more) = (begun.elapsed(), resident().saturating_sub(before));
            let [list] = trust.revocation_lists() else { panic!() };
            assert_eq!(list.len() as u64, SERIALS);
            let begun = Instant::now();
            let found = (0..2 * SERIALS).filter(|number| list.revokes(&serial(*number))).count() as u64;
            let lookup = begun.elapsed() / u32::try_from(2 * SERIALS).unwrap();
            assert_eq!(found, SERIALS);
            println!("{size} MiB: read in {took:?}, {more} MiB more in use, looked up in {lookup:?}");
        }
    }
}
