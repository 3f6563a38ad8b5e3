//! Judging a client certificate: the one function that decides whether it is to be believed.
//!
//! It runs after every handshake and again whenever its verdict may have changed; `gateway certs verify` calls it
//! too. webpki builds and checks the path (RFC 5280 section 6). What webpki leaves open is added here: the leaf's key
//! usage, validity and path length of the trust anchor itself, the configured depth, and, since webpki stops at the
//! first fault it meets, the order in which faults are told.

use std::sync::Arc;

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

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
    max_chain_depth: usize,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

#[derive(Debug, Clone, Copy)]
struct AnchorLimits {
    not_before: WallTime,
    not_after: WallTime,
    /// Its own path length constraint (RFC 5280 section 4.2.1.9).
    path_length: Option<u32>,
}

/// A certificate that was believed.
#[derive(Debug, Clone)]
pub struct Believed {
    /// What it says.
    pub facts: Arc<CertificateFacts>,
    /// The last moment at which every certificate of its chain is valid.
    pub until: WallTime,
}

impl TrustStore {
    /// Reads trust anchors from PEM bundles; each is a name for errors and the text.
    ///
    /// # Errors
    /// [`Error`] when a bundle holds no certificate or one that cannot be an anchor. An empty store is never made.
    pub fn from_pem(bundles: &[(String, Vec<u8>)], max_chain_depth: usize) -> Result<Self, Error> {
        let mut anchors = Vec::new();
        let mut limits = Vec::new();
        for (origin, text) in bundles {
            for (index, certificate) in pem::certificates_in(origin, text)?.iter().enumerate() {
                let garbled = |error: String| Error::Garbled(format!("certificate {} in {origin}", index + 1), error);
                let facts = CertificateFacts::from_der(certificate).map_err(garbled)?;
                let anchor =
                    webpki::anchor_from_trusted_cert(certificate).map_err(|error| garbled(error.to_string()))?;
                anchors.push(anchor.to_owned());
                limits.push(AnchorLimits {
                    not_before: facts.not_before,
                    not_after: facts.not_after,
                    path_length: path_length(certificate).map_err(garbled)?,
                });
            }
        }
        if anchors.is_empty() {
            return Err(Error::NoCertificate("the list of trust anchors".to_owned(), "it is empty"));
        }
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
        Ok(Self { anchors, limits, max_chain_depth, algorithms })
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
            (None, Ok(until)) => Ok(Believed { until: until.min(facts.not_after), facts: Arc::new(facts) }),
            (Some(fault), Ok(_)) => Err(fault),
            (fault, Err(error)) => Err(self.reason(fault, &error, chain, now)),
        }
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
        if parsed.extensions_map().is_err() {
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

    /// The moment until which every certificate above the leaf is valid.
    fn build_path(
        &self,
        leaf: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: WallTime,
    ) -> Result<WallTime, webpki::Error> {
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(now.unix_seconds()).unwrap_or_default(),
        ));
        let accept = |path: &VerifiedPath<'_>| self.accept_path(path, now, time);
        let path = leaf.verify_for_usage(
            self.algorithms,
            &self.anchors,
            intermediates,
            time,
            KeyUsage::client_auth(),
            None,
            Some(&accept),
        )?;
        let mut until = self.limits(path.anchor()).map_or(now, |limits| limits.not_after);
        for intermediate in path.intermediate_certificates() {
            let der = intermediate.der();
            let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| webpki::Error::BadDer)?;
            until = until.min(WallTime::from_unix_seconds(parsed.validity().not_after.timestamp()));
        }
        Ok(until)
    }

    /// What webpki does not ask of a path. An error here makes it look for another path.
    fn accept_path(&self, path: &VerifiedPath<'_>, now: WallTime, time: UnixTime) -> Result<(), webpki::Error> {
        if path.intermediate_certificates().count() > self.max_chain_depth {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        let limits = self.limits(path.anchor()).ok_or(webpki::Error::UnknownIssuer)?;
        match date_fault(limits.not_before, limits.not_after, now) {
            Some(Reason::Expired) => return Err(webpki::Error::CertExpired { time, not_after: time }),
            Some(_) => return Err(webpki::Error::CertNotValidYet { time, not_before: time }),
            None => {}
        }
        // A certificate that an authority issued to itself, for a change of keys, does not count.
        let below = path
            .intermediate_certificates()
            .filter(|intermediate| intermediate.subject() != intermediate.issuer())
            .count();
        if limits.path_length.is_some_and(|most| below > most as usize) {
            return Err(webpki::Error::PathLenConstraintViolated);
        }
        Ok(())
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
