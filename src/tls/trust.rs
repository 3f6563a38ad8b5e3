//! Judging a client certificate: the one function that decides whether it is to be believed.
//!
//! It runs after every handshake and again whenever its verdict may have changed; `gateway certs verify` calls it
//! too. webpki builds and checks the path (RFC 5280 section 6). What webpki leaves open is added here: the leaf's key
//! usage, validity and path length of the trust anchor itself, the configured depth, revocation, and, since webpki stops
//! at the first fault it meets, the order in which faults are told.

use std::cell::Cell;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{Cert, EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::crl::RevocationList;
use super::form::{self, Place};
use super::revocation::{Link, Revocation, signs_lists};
use super::settings::{StaleCrl, TrustSettings};
use super::{Error, key, path, pem};
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, Reason};

/// Longest list of authority names worth sending to every client; a longer one is left out (RFC 8446 section 4.3.2
/// lets it be absent), because it would cost each handshake more than it helps.
const LONGEST_HINTS: usize = 8 * 1024;

/// Trust anchors and how chains to them are judged. Immutable.
#[derive(Debug)]
pub struct TrustStore {
    anchors: Vec<TrustAnchor<'static>>,
    /// What webpki's type does not keep of each anchor.
    limits: Vec<AnchorLimits>,
    /// Their subjects as RFC 4514 text.
    names: Vec<String>,
    max_chain_depth: usize,
    revocation: Revocation,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

#[derive(Debug, Clone, Copy)]
struct AnchorLimits {
    not_before: WallTime,
    not_after: WallTime,
    /// Its own path length constraint (RFC 5280 section 4.2.1.9).
    path_length: Option<u32>,
    /// Whether it is an authority's certificate at all.
    is_authority: bool,
    /// Whether its key usage lets it sign revocation lists.
    signs_lists: bool,
}

/// A certificate that was believed.
#[derive(Debug, Clone)]
pub struct Believed {
    /// What it says.
    pub facts: Arc<CertificateFacts>,
    /// The last moment at which every certificate of its chain is valid, and every revocation list that was asked.
    pub until: WallTime,
    /// The certificate and the intermediates that lead to the trust anchor: not all that a client may have sent.
    pub path: Vec<CertificateDer<'static>>,
}

impl TrustStore {
    /// Opens the trust anchors, revocation lists and deny list that are configured.
    ///
    /// # Errors
    /// [`Error`], the first that is met. An empty store is never made.
    pub fn open(settings: &TrustSettings) -> Result<Self, Error> {
        let bundles: Vec<_> = settings
            .ca
            .iter()
            .map(|source| Ok((source.to_string(), pem::read(source)?.to_vec())))
            .collect::<Result<_, Error>>()?;
        let mut trust = Self::from_pem(&bundles, settings.max_chain_depth)?;
        trust.revocation = Revocation::open(&settings.revocation)?;
        // Now, and not when the first client comes: it takes time for a long list, and lets go of its bytes.
        for list in trust.revocation.lists() {
            let _ = trust.issuer_of(list);
        }
        Ok(trust)
    }

    /// Reads trust anchors from PEM bundles; each is a name for errors and the text.
    ///
    /// # Errors
    /// [`Error`] when a bundle holds no certificate or one that cannot be an anchor. An empty store is never made.
    pub fn from_pem(bundles: &[(String, Vec<u8>)], max_chain_depth: usize) -> Result<Self, Error> {
        let mut anchors = Vec::new();
        let mut limits = Vec::new();
        let mut names = Vec::new();
        for (origin, text) in bundles {
            for (index, certificate) in pem::certificates_in(origin, text)?.iter().enumerate() {
                let garbled = |error: String| Error::Garbled(format!("certificate {} in {origin}", index + 1), error);
                let facts = CertificateFacts::from_der(certificate).map_err(garbled)?;
                let anchor =
                    webpki::anchor_from_trusted_cert(certificate).map_err(|error| garbled(error.to_string()))?;
                anchors.push(anchor.to_owned());
                names.push(facts.subject);
                limits.push(AnchorLimits {
                    not_before: facts.not_before,
                    not_after: facts.not_after,
                    path_length: path_length(certificate).map_err(garbled)?,
                    is_authority: form::is_authority(certificate),
                    signs_lists: signs_lists(certificate),
                });
            }
        }
        if anchors.is_empty() {
            return Err(Error::NoCertificate("the list of trust anchors".to_owned(), "it is empty"));
        }
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
        Ok(Self { anchors, limits, names, max_chain_depth, revocation: Revocation::default(), algorithms })
    }

    /// Decides whether the holder of the first certificate of `chain` is who it says, at the time `now`.
    ///
    /// # Errors
    /// The reason of the refusal; where several apply, the first in the order of [`Reason`].
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: WallTime) -> Result<Believed, Reason> {
        let (leaf, intermediates) = chain.split_first().ok_or(Reason::CertificateMissing)?;
        let (facts, fault) = self.read_leaf(leaf, now)?;
        let path = EndEntityCert::try_from(leaf).and_then(|leaf| self.build_path(&leaf, intermediates, now));
        match (fault, path) {
            (None, Ok((until, above))) => {
                let path = std::iter::once(leaf.clone().into_owned()).chain(above).collect();
                Ok(Believed { until: until.min(facts.not_after), facts: Arc::new(facts), path })
            }
            (Some(fault), Ok(_)) => Err(fault),
            (fault, Err(error)) => Err(self.reason(fault, &error, chain, now)),
        }
    }

    /// What tells these anchors, and issuers of revocation lists, from others, in whatever order they were configured:
    /// SHA-256. What the lists say is asked each time, and no part of it.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut anchors: Vec<[u8; 32]> = self.anchors.iter().map(fingerprint).collect();
        let mut issuers: Vec<[u8; 32]> = self.revocation.lists().iter().map(|list| sha256(&list.issuer_name)).collect();
        for digests in [&mut anchors, &mut issuers] {
            digests.sort_unstable();
            digests.dedup();
        }
        sha256(&[sha256(&anchors.concat()), sha256(&issuers.concat())].concat())
    }

    /// The trust anchors' subjects as RFC 4514 text.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The trust anchors' subjects, and when each anchor ends.
    pub fn ends(&self) -> impl Iterator<Item = (&str, WallTime)> {
        self.names.iter().zip(&self.limits).map(|(name, limits)| (name.as_str(), limits.not_after))
    }

    /// The revocation lists that are asked.
    pub fn revocation_lists(&self) -> &[Arc<RevocationList>] {
        self.revocation.lists()
    }

    /// Whether revocation lists are asked at all.
    pub fn asks_revocation_lists(&self) -> bool {
        self.revocation.is_asked()
    }

    /// What a revocation list is worth after its end.
    pub fn stale_lists(&self) -> StaleCrl {
        self.revocation.stale()
    }

    /// How many certificates the operator's own list refuses.
    pub fn denied(&self) -> usize {
        self.revocation.denied()
    }

    /// Whether the operator's own list refuses a certificate of which only this is known, both in hex. No verdict: that
    /// takes the certificate.
    pub fn denies(&self, serial: Option<&str>, sha256: Option<&str>) -> bool {
        self.revocation.denies(serial, sha256)
    }

    /// What an operator should know of anchors and revocation lists, apart from their age: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let foreign = self.revocation.lists().iter().filter(|list| !self.issuer_of(list));
        let mut warnings: Vec<_> = foreign
            .map(|list| {
                format!(
                    "no CA of client_auth.ca has signed the CRL of {:?} in {}; it counts only for clients that send \
                     the certificate of its issuer",
                    list.issuer, list.origin
                )
            })
            .collect();
        // Where intermediates have lists, the anchors above need not issue to clients.
        if self.asks_revocation_lists() && warnings.is_empty() {
            let without = self.anchors.iter().zip(&self.names).filter(|(anchor, _)| {
                !self.revocation.lists().iter().any(|list| *list.issuer_name == *anchor.subject.as_ref())
            });
            let sentence = |subject| {
                format!(
                    "there is no CRL of {subject:?}; clients with a certificate of this CA are refused as revocation_unknown"
                )
            };
            warnings.extend(without.map(|(_, subject)| sentence(subject)));
        }
        let unfit = self.limits.iter().zip(&self.names).filter(|(limits, _)| !limits.is_authority);
        warnings.extend(unfit.map(|(_, subject)| {
            format!(
                "{subject:?} in client_auth.ca is not the certificate of a CA (RFC 5280): nobody below it is let in"
            )
        }));
        warnings
    }

    /// Whether an anchor has signed this list.
    fn issuer_of(&self, list: &RevocationList) -> bool {
        let mut named = self
            .anchors
            .iter()
            .zip(&self.limits)
            .filter(|(anchor, limits)| *list.issuer_name == *anchor.subject.as_ref() && limits.signs_lists);
        named.any(|(anchor, _)| list.is_signed_by(&path::spki_of_anchor(anchor), self.algorithms))
    }

    /// The trust anchors' subjects, for clients to choose a certificate by.
    pub(super) fn hints(&self) -> Vec<DistinguishedName> {
        let hints: Vec<_> =
            self.anchors.iter().map(|anchor| DistinguishedName::in_sequence(anchor.subject.as_ref())).collect();
        let length: usize = hints.iter().map(|hint| hint.as_ref().len() + 2).sum();
        if length <= LONGEST_HINTS { hints } else { Vec::new() }
    }

    /// What can be said of the leaf alone: what it says, and what is wrong with it apart from its form.
    fn read_leaf(
        &self,
        leaf: &CertificateDer<'_>,
        now: WallTime,
    ) -> Result<(CertificateFacts, Option<Reason>), Reason> {
        let (rest, parsed) = X509Certificate::from_der(leaf).map_err(|_| Reason::Malformed)?;
        if !rest.is_empty() || parsed.version() != X509Version::V3 {
            return Err(Reason::Malformed);
        }
        // RFC 5280 section 4.2: an extension stands once. webpki sees to that only for those it knows.
        if parsed.extensions_map().is_err() || !CertificateFacts::is_readable(&parsed) {
            return Err(Reason::Malformed);
        }
        let key_usage = parsed.key_usage().map_err(|_| Reason::Malformed)?;
        let extended = parsed.extended_key_usage().map_err(|_| Reason::Malformed)?;
        let facts = CertificateFacts::from_parsed(&parsed, leaf);
        // A fault of form that only webpki sees comes before one of usage.
        if let Err(error) = EndEntityCert::try_from(leaf)
            && path::reason(&error) == Reason::Malformed
        {
            return Err(Reason::Malformed);
        }
        // In a handshake such a key has ended it already; `certs verify` has no handshake.
        if !key::of_certificate(leaf).is_some_and(|key| key::is_supported(&key)) {
            return Err(Reason::UnsupportedKey);
        }
        let is_wrong_usage = key_usage.is_some_and(|usage| !usage.value.digital_signature())
            || extended.is_some_and(|usage| !usage.value.client_auth);
        let fault =
            if is_wrong_usage { Some(Reason::WrongUsage) } else { date_fault(facts.not_before, facts.not_after, now) };
        Ok((facts, fault))
    }

    /// The moment until which every certificate above the leaf is valid, and the intermediates among them.
    fn build_path(
        &self,
        leaf: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: WallTime,
    ) -> Result<(WallTime, Vec<CertificateDer<'static>>), webpki::Error> {
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(now.unix_seconds()).unwrap_or_default(),
        ));
        let revocation_until = Cell::new(now);
        let accept = |path: &VerifiedPath<'_>| {
            self.accept_path(path, now, time)?;
            revocation_until.set(self.check_revocation(path, now)?);
            Ok(())
        };
        let path = leaf.verify_for_usage(
            self.algorithms,
            &self.anchors,
            intermediates,
            time,
            KeyUsage::client_auth(),
            None,
            Some(&accept),
        )?;
        let mut until = self.limits(path.anchor()).map_or(now, |limits| limits.not_after).min(revocation_until.get());
        let mut above = Vec::new();
        for intermediate in path.intermediate_certificates() {
            let der = intermediate.der();
            let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| webpki::Error::BadDer)?;
            until = until.min(WallTime::from_unix_seconds(parsed.validity().not_after.timestamp()));
            above.push(der.into_owned());
        }
        Ok((until, above))
    }

    /// What webpki does not ask of a path. An error here makes it look for another path.
    fn accept_path(&self, path: &VerifiedPath<'_>, now: WallTime, time: UnixTime) -> Result<(), webpki::Error> {
        // A certificate that an authority issued to itself, for a change of keys, does not count.
        let below = path
            .intermediate_certificates()
            .filter(|intermediate| intermediate.subject() != intermediate.issuer())
            .count();
        if below > self.max_chain_depth {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        let limits = self.limits(path.anchor()).ok_or(webpki::Error::UnknownIssuer)?;
        match date_fault(limits.not_before, limits.not_after, now) {
            Some(Reason::Expired) => return Err(webpki::Error::CertExpired { time, not_after: time }),
            Some(_) => return Err(webpki::Error::CertNotValidYet { time, not_before: time }),
            None => {}
        }
        if limits.path_length.is_some_and(|most| below > most as usize) {
            return Err(webpki::Error::PathLenConstraintViolated);
        }
        if !limits.is_authority {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
        for intermediate in path.intermediate_certificates() {
            form::check(&intermediate.der(), Place::Intermediate)?;
        }
        form::check(&path.end_entity().der(), Place::Leaf)
    }

    /// How long it is known that nobody below the anchor is revoked.
    fn check_revocation(&self, path: &VerifiedPath<'_>, now: WallTime) -> Result<WallTime, webpki::Error> {
        if self.revocation.is_idle() {
            return Ok(WallTime::from_unix_millis(i64::MAX));
        }
        let leaf: &Cert<'_> = path.end_entity();
        let below = std::iter::once(leaf).chain(path.intermediate_certificates());
        let links = below.enumerate().map(|(depth, certificate)| {
            let (issuer_key, issuer_signs_lists) = match path.intermediate_certificates().nth(depth) {
                Some(issuer) => (issuer.subject_public_key_info(), signs_lists(&issuer.der())),
                None => {
                    let signs_lists = self.limits(path.anchor()).is_some_and(|limits| limits.signs_lists);
                    (path::spki_of_anchor(path.anchor()), signs_lists)
                }
            };
            Link { certificate, is_leaf: depth == 0, issuer_key, issuer_signs_lists }
        });
        self.revocation.check(links, now, self.algorithms)
    }

    fn limits(&self, anchor: &TrustAnchor<'_>) -> Option<AnchorLimits> {
        let index = self.anchors.iter().position(|known| known == anchor)?;
        // The same name and key may stand in the store twice, once renewed: the longest life counts.
        let same = self.anchors.iter().zip(&self.limits).skip(index).filter(|(known, _)| *known == anchor);
        same.map(|(_, limits)| *limits).max_by_key(|limits| limits.not_after)
    }

    /// The first reason of all that apply. webpki stops at the first fault it meets, so the chain is followed once
    /// more. A broken rule of the chain is told only where there is a chain: a stranger's CA certificate used as leaf
    /// is a stranger's first of all.
    fn reason(
        &self,
        of_leaf: Option<Reason>,
        error: &webpki::Error,
        chain: &[CertificateDer<'_>],
        now: WallTime,
    ) -> Reason {
        let Some((leaf, intermediates)) = chain.split_first() else { return Reason::CertificateMissing };
        let trace = path::trace(leaf, intermediates, &self.anchors, self.algorithms);
        let of_dates = trace.above.iter().filter_map(|certificate| {
            let validity = certificate.validity();
            let [not_before, not_after] =
                [validity.not_before, validity.not_after].map(|time| WallTime::from_unix_seconds(time.timestamp()));
            date_fault(not_before, not_after, now)
        });
        let found = path::reason(error);
        of_dates.chain([of_leaf, Some(found), trace.fault].into_iter().flatten()).min().unwrap_or(found)
    }
}

fn fingerprint(anchor: &TrustAnchor<'_>) -> [u8; 32] {
    let constraints = anchor.name_constraints.as_ref().map(AsRef::as_ref).unwrap_or_default();
    let parts = [anchor.subject.as_ref(), anchor.subject_public_key_info.as_ref(), constraints];
    sha256(&parts.map(sha256).concat())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

fn date_fault(not_before: WallTime, not_after: WallTime, now: WallTime) -> Option<Reason> {
    if now.unix_seconds() > not_after.unix_seconds() {
        Some(Reason::Expired)
    } else if now < not_before {
        Some(Reason::NotYetValid)
    } else {
        None
    }
}

fn path_length(certificate: &CertificateDer<'_>) -> Result<Option<u32>, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let constraints = parsed.basic_constraints().map_err(|error| error.to_string())?;
    Ok(constraints.and_then(|constraints| constraints.value.path_len_constraint))
}
