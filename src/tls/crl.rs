//! One certificate revocation list (RFC 5280 section 5): read, its scope understood, its signature verified.
//!
//! webpki reads the form and refuses what it does not understand: delta lists, indirect lists, lists for some reasons
//! only, unknown critical extensions. Its own look-up would verify the signature over the whole list for each client
//! and go through the list from its beginning, so what is kept here is made for looking up.
//!
//! A list of an authority in the trust store is verified once, when it is read, and its bytes are let go. The issuer of
//! any other is known only when a client sends it, as an intermediate; the bytes are kept until then, and its
//! verification is remembered.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::BorrowedCertRevocationList;
use x509_parser::der_parser::asn1_rs::{Any, FromDer as _};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
use x509_parser::prelude::X509Certificate;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::serials::{Serials, SerialsBuilder};
use super::{key, path};
use crate::clock::WallTime;
use crate::identity::distinguished_name;

/// Keys with which a list was tried; two authorities of one name are rare, more are not.
const MOST_KEYS: usize = 16;

/// A certificate revocation list.
#[derive(Debug)]
pub struct RevocationList {
    /// Where it was read.
    pub origin: String,
    /// Its issuer's name, as text.
    pub issuer: String,
    /// From when on it tells.
    pub this_update: WallTime,
    /// When its issuer promised another by.
    pub next_update: WallTime,
    /// What webpki calls an issuer: the name in DER without its outermost tag and length.
    pub(super) issuer_name: Box<[u8]>,
    revoked: Serials,
    scope: Scope,
    signature: Mutex<Signature>,
}

/// Which of its issuer's certificates a list speaks of (RFC 5280 section 5.2.5).
#[derive(Debug, Default)]
struct Scope {
    /// No certificates of authorities.
    only_users: bool,
    /// Nothing but those.
    only_authorities: bool,
    /// Of certificates that name places where their list is, those that name one of these; `None` is all.
    places: Option<Vec<String>>,
}

#[derive(Default)]
struct Signature {
    /// What is signed, and the signature; gone once its issuer is known.
    pending: Option<Signed>,
    /// SHA-256 of keys it was tried with, and whether it is theirs.
    tried: Vec<([u8; 32], bool)>,
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tried with {} keys", self.tried.len())
    }
}

struct Signed {
    message: Box<[u8]>,
    algorithm: Box<[u8]>,
    signature: Box<[u8]>,
}

impl RevocationList {
    /// Reads a list from DER; `origin` is for people.
    pub(super) fn from_der(origin: &str, der: &[u8]) -> Result<Self, String> {
        let list = BorrowedCertRevocationList::from_der(der).map_err(|error| problem(&error))?;
        let mut revoked = SerialsBuilder::default();
        for entry in &list {
            revoked.add(entry.map_err(|error| problem(&error))?.serial_number);
        }
        let fields = Fields::read(der).ok_or("it cannot be read as DER")?;
        let (_, issuer) = X509Name::from_der(fields.issuer).map_err(|error| error.to_string())?;
        let (_, issuer_name) = Any::from_der(fields.issuer).map_err(|error| error.to_string())?;
        Ok(Self {
            origin: origin.to_owned(),
            issuer: distinguished_name(&issuer),
            this_update: fields.this_update,
            next_update: fields.next_update,
            issuer_name: issuer_name.data.into(),
            revoked: revoked.build(),
            scope: fields.scope()?,
            signature: Mutex::new(Signature { pending: Some(fields.signed()), tried: Vec::new() }),
        })
    }

    /// How many certificates it revokes.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether it revokes none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its issuer has promised a newer one by `now`.
    pub fn is_stale(&self, now: WallTime) -> bool {
        now >= self.next_update
    }

    /// Whether it revokes the certificate with this serial number.
    pub fn revokes(&self, serial: &[u8]) -> bool {
        self.revoked.contains(serial)
    }

    /// Whether it was signed with this key.
    pub(super) fn is_signed_by(
        &self,
        public_key: &SubjectPublicKeyInfoDer<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let mut id = [0; 32];
        id.copy_from_slice(digest(&SHA256, public_key.as_ref()).as_ref());
        let mut signature = self.signature.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, fits)) = signature.tried.iter().find(|(tried, _)| *tried == id) {
            return *fits;
        }
        let Some(signed) = &signature.pending else { return false };
        let fits = key::is_supported(public_key)
            && path::verifies(public_key, &signed.algorithm, &signed.message, &signed.signature, algorithms);
        if signature.tried.len() < MOST_KEYS || fits {
            signature.tried.push((id, fits));
        }
        if fits {
            // No other key made this signature.
            signature.pending = None;
        }
        fits
    }

    /// Whether it speaks of this certificate, which its issuer issued (RFC 5280 section 6.3.3, b).
    pub(super) fn covers(&self, certificate: &CertificateDer<'_>, is_leaf: bool) -> bool {
        if self.scope.only_users && !is_leaf || self.scope.only_authorities && is_leaf {
            return false;
        }
        let Some(places) = &self.scope.places else { return true };
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
        let mut named = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => Some(points),
            _ => None,
        });
        let Some(points) = named.next() else { return true };
        // A point for another issuer's list, or for some reasons only, is not one of this list.
        let points = points.iter().filter(|point| point.crl_issuer.is_none() && point.reasons.is_none());
        points
            .filter_map(|point| point.distribution_point.as_ref())
            .flat_map(uris)
            .any(|uri| places.iter().any(|place| place == uri))
    }
}

fn uris<'a>(point: &'a DistributionPointName<'_>) -> impl Iterator<Item = &'a str> {
    let names = match point {
        DistributionPointName::FullName(names) => names.as_slice(),
        DistributionPointName::NameRelativeToCRLIssuer(_) => &[],
    };
    names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    })
}

/// What webpki does not tell of a list.
struct Fields<'a> {
    message: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    this_update: WallTime,
    next_update: WallTime,
    extensions: &'a [u8],
}

impl<'a> Fields<'a> {
    /// webpki has found the form to be right.
    fn read(der: &'a [u8]) -> Option<Self> {
        let (_, list) = Any::from_der(der).ok()?;
        let (rest, to_be_signed) = element(list.data)?;
        let (rest, algorithm) = element(rest)?;
        // Its object identifier; the parameters say nothing that the key does not.
        let (_, algorithm) = element(Any::from_der(algorithm).ok()?.1.data)?;
        let (_, signature) = Any::from_der(rest).ok()?;
        let (_, content) = Any::from_der(to_be_signed).ok()?;
        let (rest, _version) = element(content.data)?;
        let (rest, _algorithm) = element(rest)?;
        let (rest, issuer) = element(rest)?;
        let (rest, this_update) = ASN1Time::from_der(rest).ok()?;
        let (rest, next_update) = ASN1Time::from_der(rest).ok()?;
        // The revoked certificates may be absent; what is left then is the extensions.
        let mut extensions = rest;
        if let Some((after, _)) = element(rest)
            && !after.is_empty()
        {
            extensions = after;
        }
        let wall = |time: ASN1Time| WallTime::from_unix_seconds(time.timestamp());
        Some(Self {
            message: to_be_signed,
            algorithm,
            // The first byte of a BIT STRING says how many bits are unused: none.
            signature: signature.data.get(1..)?,
            issuer,
            this_update: wall(this_update),
            next_update: wall(next_update),
            extensions,
        })
    }

    fn signed(&self) -> Signed {
        Signed { message: self.message.into(), algorithm: self.algorithm.into(), signature: self.signature.into() }
    }

    fn scope(&self) -> Result<Scope, String> {
        let garbled = |_| "its extensions cannot be read".to_owned();
        let (_, envelope) = Any::from_der(self.extensions).map_err(garbled)?;
        let (_, sequence) = Any::from_der(envelope.data).map_err(garbled)?;
        let mut rest = sequence.data;
        while !rest.is_empty() {
            let (after, extension) =
                X509Extension::from_der(rest).map_err(|_| "its extensions cannot be read".to_owned())?;
            rest = after;
            if extension.oid != OID_X509_EXT_ISSUER_DISTRIBUTION_POINT {
                continue;
            }
            let ParsedExtension::IssuingDistributionPoint(point) = extension.parsed_extension() else {
                return Err("its issuing distribution point cannot be read".to_owned());
            };
            let places = point.distribution_point.as_ref().map(|point| uris(point).map(str::to_owned).collect());
            return Ok(Scope {
                only_users: point.only_contains_user_certs,
                only_authorities: point.only_contains_ca_certs,
                places,
            });
        }
        Ok(Scope::default())
    }
}

/// What webpki finds wrong, for a person.
fn problem(error: &webpki::Error) -> String {
    use webpki::Error as E;
    match error {
        E::UnsupportedDeltaCrl => "it is a delta CRL; use the complete one".to_owned(),
        E::UnsupportedIndirectCrl => "it is an indirect CRL, which is not supported".to_owned(),
        E::UnsupportedRevocationReasonsPartitioning => {
            "it is a CRL for some reasons only; use one for all reasons".to_owned()
        }
        E::UnsupportedCrlIssuingDistributionPoint => {
            "its issuing distribution point has no full name, which is not supported".to_owned()
        }
        E::UnsupportedCrlVersion => "it is no CRL of version 2".to_owned(),
        E::UnsupportedCriticalExtension => "it has a critical extension that is not supported".to_owned(),
        error => format!("it is no CRL as RFC 5280 has it: {error:?}"),
    }
}

/// The first element of a sequence's content with its tag and length, and what follows it.
fn element(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = Any::from_der(content).ok()?.0;
    Some((rest, content.get(..content.len() - rest.len())?))
}
