//! Taking over a CA that another tool made: openssl, easy-rsa, step, cfssl.
//!
//! The certificate stays as it is, byte for byte; only the key's wrapping changes, to PKCS#8. What the CA revoked
//! before is carried over from its list and its index, or it would be unrevoked by ours.

use std::collections::HashSet;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_EXT_DELTA_CRL_INDICATOR;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::authority::{Authority, authority_key_id, subject_key_id};
use super::change::Access;
use super::crl::{self, CrlProblem, Present, Revoked};
use super::database::{self, DatabaseProblem};
use super::error::Error;
use super::folder::Folder;
use super::inspect::{oid_name, public_key};
use super::keyfile::{PrivateKey, is_supported};
use super::ledger::Kind;
use super::pem;
use super::request::{Issued, Overwrite, Warning};
use super::session::{LIST_DAYS, entry, next_number};
use super::signing::is_signed_by;
use super::store::{Store, refuse_existing};
use super::verify::certificates;
use super::{AuthorityProblem, GarbledPem};
use crate::clock::WallTime;
use crate::identity::{distinguished_name, hex_lower};

/// A CA from elsewhere, read and found sound.
#[derive(Debug)]
pub struct Adopted {
    authority: Authority,
    chain: String,
    lacks: Vec<&'static str>,
    revoked: Vec<Revoked>,
    number: u64,
    knows_revoked: bool,
}

/// A list of what a CA from elsewhere revoked that cannot be taken over. Each text goes on after the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum ListProblem {
    /// Not a list.
    #[error("cannot be read as a revocation list, in PEM, in DER, or in base64 as cfssl prints it")]
    Garbled,
    /// Its number is beyond ours.
    #[error("has a CRL number of more than 64 bits, which is not supported")]
    Number,
    /// Another CA's.
    #[error("was issued by another CA, {0}: give the list of the CA that is imported")]
    Foreign(String),
    /// Not signed by the CA's key, as far as can be told.
    #[error(
        "is not signed by this CA's key, or in a way that is not supported, such as SHA-1; have it signed again with \
         SHA-256: openssl ca -gencrl -md sha256"
    )]
    Signature,
    /// Only what changed.
    #[error("is a delta list, which has only what changed since another: give the complete one")]
    Delta,
}

impl Adopted {
    /// Reads a CA's certificate, or a bundle of it and those above it; `key` is the private key of one of them.
    ///
    /// # Errors
    /// When they are not a CA and its key, it is out of its time, something in the bundle is not above the CA, or
    /// verifiers could not understand it.
    pub fn read(certificate: &[u8], key: PrivateKey, now: WallTime) -> Result<Self, AuthorityProblem> {
        let mut bundle = certificates(certificate)?;
        if bundle.is_empty() && certificate.first() == Some(&0x30) {
            bundle.push(certificate.to_vec().into());
        }
        let authority = Authority::assemble(&bundle, key)?;
        authority.check_time(now)?;
        check_bundle(&authority, &bundle)?;
        check_form(authority.certificate())?;
        let mut chain = authority.pem();
        let above = bundle.iter().filter(|der| *der != authority.certificate());
        above.for_each(|der| chain.push_str(&pem::encode("CERTIFICATE", der)));
        let lacks = lacks(authority.certificate());
        Ok(Self { authority, chain, lacks, revoked: Vec::new(), number: 0, knows_revoked: false })
    }

    /// Takes over what the CA has revoked, from the list it signed last.
    ///
    /// # Errors
    /// When this is not a complete list that the CA signed.
    pub fn take_list(&mut self, bytes: &[u8]) -> Result<(), ListProblem> {
        let der = list_der(bytes).map_err(|_| ListProblem::Garbled)?;
        let list = Present::read(&der).map_err(|problem| match problem {
            CrlProblem::Number => ListProblem::Number,
            CrlProblem::Garbled | CrlProblem::Foreign => ListProblem::Garbled,
        })?;
        let (_, parsed) = CertificateRevocationList::from_der(&der).map_err(|_| ListProblem::Garbled)?;
        if list.issuer != self.authority.subject() {
            return Err(ListProblem::Foreign(distinguished_name(parsed.issuer())));
        }
        if !is_signed_by(&der, &self.authority.key().public_key_info()) {
            return Err(ListProblem::Signature);
        }
        if parsed.extensions().iter().any(|extension| extension.oid == OID_X509_EXT_DELTA_CRL_INDICATOR) {
            return Err(ListProblem::Delta);
        }
        self.number = list.number;
        self.add(list.revoked);
        Ok(())
    }

    /// Takes over what the CA has revoked, from the index of `openssl ca`, whether a list had it already or not.
    ///
    /// # Errors
    /// When this is no such index.
    pub fn take_index(&mut self, bytes: &[u8]) -> Result<(), DatabaseProblem> {
        self.add(database::revoked(bytes)?);
        Ok(())
    }

    /// What was there first stays: verifiers have seen it.
    fn add(&mut self, revoked: Vec<Revoked>) {
        let mut known: HashSet<Vec<u8>> = self.revoked.iter().map(|entry| entry.serial.clone()).collect();
        self.revoked.extend(revoked.into_iter().filter(|entry| known.insert(entry.serial.clone())));
        self.knows_revoked = true;
    }
}

fn list_der(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, GarbledPem> {
    let blocks = pem::blocks(bytes)?;
    if blocks.is_empty() && bytes.first() != Some(&0x30) {
        // cfssl prints a list in base64, without the lines that make it PEM.
        let text = String::from_utf8_lossy(bytes);
        let wrapped = format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", text.trim());
        return pem::blocks(wrapped.as_bytes())?.pop().map(|block| block.der).ok_or(GarbledPem { position: 1 });
    }
    let list = blocks.into_iter().find(pem::Block::is_crl);
    Ok(list.map_or_else(|| Zeroizing::new(bytes.to_vec()), |block| block.der))
}

/// That every certificate of the bundle is the CA's, above it, or another certificate of one of these: ca.crt becomes a
/// trust store, and whatever else came along would be trusted, too.
fn check_bundle(authority: &Authority, bundle: &[CertificateDer<'static>]) -> Result<(), AuthorityProblem> {
    let parsed: Vec<_> = bundle.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
    let mut belong: Vec<bool> = parsed.iter().map(|one| one.as_raw() == authority.certificate().as_ref()).collect();
    let is_above = |above: &X509Certificate<'_>, below: &X509Certificate<'_>| {
        below.issuer().as_raw() == above.subject().as_raw() && is_signed_by(below.as_raw(), above.public_key().raw)
    };
    let is_same = |one: &X509Certificate<'_>, other: &X509Certificate<'_>| {
        one.subject().as_raw() == other.subject().as_raw() && one.public_key().raw == other.public_key().raw
    };
    loop {
        let known: Vec<_> = parsed.iter().zip(&belong).filter(|(_, belongs)| **belongs).map(|(one, _)| one).collect();
        let found = |one| known.iter().any(|known| is_above(one, known) || is_same(one, known));
        let now: Vec<bool> = parsed.iter().zip(&belong).map(|(one, belongs)| *belongs || found(one)).collect();
        if now == belong {
            break;
        }
        belong = now;
    }
    let broken = |one: &X509Certificate<'_>| {
        let mut issuers = parsed.iter().filter(|other| other.subject().as_raw() == one.issuer().as_raw()).peekable();
        issuers.peek().is_some() && !issuers.any(|above| is_above(above, one))
    };
    for (one, belongs) in parsed.iter().zip(&belong) {
        let is_root = one.subject().as_raw() == one.issuer().as_raw();
        if *belongs && !is_root && broken(one) {
            return Err(AuthorityProblem::BrokenChain(distinguished_name(one.subject())));
        }
    }
    match parsed.iter().zip(&belong).find(|(_, belongs)| !**belongs) {
        Some((other, _)) => Err(AuthorityProblem::Unrelated(distinguished_name(other.subject()))),
        None => Ok(()),
    }
}

/// That whoever verifies what the CA issues can read its certificate: the gateway itself, above all.
fn check_form(certificate: &CertificateDer<'_>) -> Result<(), AuthorityProblem> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| AuthorityProblem::Malformed(error.to_string()))?;
    if !is_supported(parsed.public_key()) {
        return Err(AuthorityProblem::UnsupportedKey(public_key(parsed.public_key())));
    }
    let is_unknown = |parsed: &ParsedExtension<'_>| {
        // A key identifier is never critical (RFC 5280 sections 4.2.1.1 and 4.2.1.2).
        matches!(
            parsed,
            ParsedExtension::UnsupportedExtension { .. }
                | ParsedExtension::ParseError { .. }
                | ParsedExtension::AuthorityKeyIdentifier(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
        )
    };
    let mut extensions = parsed.iter_extensions();
    match extensions.find(|extension| extension.critical && is_unknown(extension.parsed_extension())) {
        Some(extension) => Err(AuthorityProblem::UnknownCritical(oid_name(&extension.oid))),
        None => Ok(()),
    }
}

/// What RFC 5280 asks of a CA's certificate (sections 4.2.1.1 to 4.2.1.3 and 4.2.1.9) and this one has not.
fn lacks(certificate: &CertificateDer<'_>) -> Vec<&'static str> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let is_root = parsed.subject().as_raw() == parsed.issuer().as_raw();
    let constraints = |extension: &&x509_parser::extensions::X509Extension<'_>| {
        matches!(extension.parsed_extension(), ParsedExtension::BasicConstraints(_))
    };
    let is_critical = parsed.iter_extensions().find(constraints).is_some_and(|extension| extension.critical);
    let faults = [
        (!is_critical, "basicConstraints that are not critical"),
        (parsed.key_usage().ok().flatten().is_none(), "no keyUsage"),
        (subject_key_id(&parsed).is_none(), "no subjectKeyIdentifier"),
        (!is_root && authority_key_id(&parsed).is_none(), "no authorityKeyIdentifier"),
    ];
    faults.iter().filter(|fault| fault.0).map(|fault| fault.1).collect()
}

impl Store {
    /// Makes this CA the one in the folder.
    ///
    /// # Errors
    /// When one is there and may not be replaced, this one cannot say what it revoked, or the folder cannot be written.
    pub fn adopt(&self, adopted: Adopted, overwrite: Overwrite) -> Result<Issued, Error> {
        let Adopted { authority, chain, lacks, revoked, number, knows_revoked } = adopted;
        let folder = self.folder();
        let (certificate, key, crl) = (folder.authority_certificate(), folder.authority_key(), folder.crl());
        let places = [&certificate, &key, &crl];
        let now = self.now();
        let broken = |problem| Error::Authority { path: certificate.clone(), problem };
        self.refuse_rotation()?;
        if !revoked.is_empty() && !authority.signs_crls() {
            return Err(broken(AuthorityProblem::NoCrlSign));
        }
        refuse_existing(&places, overwrite)?;
        folder.create()?;
        let locked = folder.lock()?;
        let (mut ledger, mut warnings) = self.open_ledger(&locked)?;
        warnings.retain(|warning| !matches!(warning, Warning::NoLedger(_)));
        refuse_existing(&places, overwrite)?;

        let mut files = vec![certificate.clone(), key.clone()];
        let mut change = locked.change();
        change.stage(&key, authority.key().pem().as_bytes(), Access::Owner)?;
        if authority.signs_crls() {
            let present = Folder::read(&crl)?.and_then(|bytes| Present::read_all(&bytes).ok()).unwrap_or_default();
            let present = present.iter().map(|list| list.number).max().unwrap_or(0);
            ledger.crl_number = next_number(ledger.crl_number.max(present), number);
            let list = crl::sign(&authority, ledger.crl_number, &revoked, now, LIST_DAYS).map_err(broken)?;
            change.stage(&crl, list.as_bytes(), Access::Everybody)?;
            files.push(crl);
            if !knows_revoked {
                warnings.push(Warning::NothingRevoked);
            }
        } else {
            warnings.push(Warning::CannotSignCrl(crl));
        }
        if !lacks.is_empty() {
            warnings.push(Warning::NotStrict(lacks));
        }
        change.stage(&certificate, chain.as_bytes(), Access::Everybody)?;
        let facts = authority.facts().clone();
        let key_id = hex_lower(authority.key_id());
        ledger.certificates.push(entry(Kind::Authority, "ca", &facts, key_id, folder.relative(&certificate)));
        change.commit(&ledger)?;
        Ok(Issued { kind: Kind::Authority, facts, certificate, key, files, warnings })
    }
}
