//! A new CA in the place of the old one, without a moment at which anybody is refused.
//!
//! 1. The new CA is made and signed by itself and by the old one. From then on it issues; what it issues carries the
//!    cross-signed certificate, so whoever trusts only the old CA still follows the chain, and `ca.crt` holds both, so
//!    whoever takes the new file trusts what either issued.
//! 2. Everything is renewed and every holder of `ca.crt` gets the new one, in whatever order and time that takes.
//! 3. The old CA is dropped: its certificate, its key and its revocation list.
//!
//! What step it is lies in the folder (`previous.crt` is there or not), so every step can be repeated.

use std::fs;

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::{Authority, Copied};
use super::change::{Access, synchronize};
use super::crl;
use super::error::{ChoiceProblem, Error};
use super::folder::Folder;
use super::inventory::{Row, State};
use super::keyfile::{KeyType, PrivateKey};
use super::ledger::Kind;
use super::pem;
use super::problem::AuthorityProblem;
use super::profile::AuthorityProfile;
use super::request::{Issued, Warning};
use super::session::{LIST_DAYS, entry, next_number};
use super::store::Store;
use super::verify::certificates;
use crate::identity::{CertificateFacts, hex_lower};

/// The CA that takes the place of another.
#[derive(Debug, Clone)]
pub struct Successor {
    /// Subject, validity, constraints.
    pub profile: AuthorityProfile,
    /// Kind of its key; that of the old one when not said.
    pub key_type: Option<KeyType>,
}

/// A rotation that has begun.
#[derive(Debug)]
pub struct Rotation {
    /// The CA that is being left.
    pub previous: CertificateFacts,
    /// The CA that issues now.
    pub current: CertificateFacts,
    /// What the old one issued, can still be used, and was not replaced.
    pub remaining: Vec<Row>,
}

impl Store {
    /// How far a rotation has come; `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::inventory`].
    pub fn rotation(&self) -> Result<Option<Rotation>, Error> {
        let mut warnings = Vec::new();
        let Some(previous) = self.open_previous(&mut warnings)? else { return Ok(None) };
        let current = self.open_authority(self.now(), &mut warnings)?;
        let rows = self.inventory()?.rows.into_iter();
        let remaining = rows.filter(|row| row.state == State::PreviousCa && row.kind != Kind::Authority).collect();
        Ok(Some(Rotation { previous: previous.facts().clone(), current: current.facts().clone(), remaining }))
    }

    /// Step 1: makes the new CA, which issues from now on.
    ///
    /// # Errors
    /// When a rotation is under way, the CA stands below another, or the folder cannot be written.
    pub fn begin_rotation(&self, successor: &Successor) -> Result<Issued, Error> {
        let refused = |problem| Error::Choice { what: "ca".to_owned(), problem };
        self.require_authority()?;
        let mut ignored = Vec::new();
        let kind = self.open_authority(self.now(), &mut ignored)?.key_type();
        let new_key = PrivateKey::generate(successor.key_type.or(kind).unwrap_or_default())?;

        let mut session = self.begin()?;
        if session.previous.is_some() {
            return Err(refused(ChoiceProblem::RotationUnderWay));
        }
        let old = &session.authority;
        let (_, parsed) = X509Certificate::from_der(old.certificate())
            .map_err(|error| self.about(AuthorityProblem::Malformed(error.to_string())))?;
        if parsed.subject() != parsed.issuer() {
            return Err(refused(ChoiceProblem::BelowAnother));
        }
        if parsed.name_constraints().ok().flatten().is_some() && successor.profile.constraints.is_empty() {
            return Err(refused(ChoiceProblem::Constrained));
        }
        let about = |problem| self.about(problem);
        let new = Authority::create(&successor.profile, new_key, session.now).map_err(about)?;
        let copied = Copied { subject: Some(new.subject()), name_constraints: None };
        let cross = old.issue_authority(&successor.profile, new.key().pair(), copied, session.now);
        let cross = match cross {
            Ok((der, _)) => Some(der),
            Err(AuthorityProblem::LastAuthority) => None,
            Err(problem) => return Err(about(problem)),
        };
        let folder = self.folder();
        let (certificate, key, list) = (folder.authority_certificate(), folder.authority_key(), folder.crl());
        let old_bytes = Folder::read(&certificate)?.unwrap_or_default();
        let mut anchors = certificates(&old_bytes).unwrap_or_default();
        let lists = Folder::read(&list)?.unwrap_or_default();
        let numbers = crl::Present::read_all(&lists).unwrap_or_default();
        let number = next_number(session.ledger.crl_number, numbers.iter().map(|list| list.number).max().unwrap_or(0));
        let new_list = crl::sign(&new, number, &[], session.now, LIST_DAYS).map_err(about)?;
        anchors.splice(0..0, cross.clone());
        let bundle: String = anchors.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        let bundle = new.pem() + &bundle;

        let file = folder.relative(&certificate);
        let old_id = hex_lower(old.key_id());
        // The index must know what is staged, or a run that was killed would lose the old CA.
        if !session.ledger.has(&old.facts().sha256) {
            let itself = entry(Kind::Authority, "ca", old.facts(), old_id.clone(), file.clone());
            session.ledger.certificates.push(itself);
        }
        if let Some(facts) = cross.as_ref().and_then(|der| CertificateFacts::from_der(der).ok()) {
            session.ledger.certificates.push(entry(Kind::Authority, "ca-cross", &facts, old_id, file.clone()));
        }
        let itself = entry(Kind::Authority, "ca", new.facts(), hex_lower(new.key_id()), file);
        session.ledger.certificates.push(itself);
        session.ledger.crl_number = number;

        let mut change = session.change();
        let old_key = session.authority.key().pem();
        change.stage(&folder.previous_key(), old_key.as_bytes(), Access::Owner)?;
        change.stage(&folder.previous_certificate(), &old_bytes, Access::Everybody)?;
        change.stage(&key, new.key().pem().as_bytes(), Access::Owner)?;
        change.stage(&list, &[new_list.as_bytes(), &lists].concat(), Access::Everybody)?;
        change.stage(&certificate, bundle.as_bytes(), Access::Everybody)?;
        change.commit(&session.ledger)?;
        let mut warnings = session.warnings;
        if cross.is_none() {
            warnings.push(Warning::NotCrossSigned);
        }
        let files = vec![certificate.clone(), key.clone(), list, folder.previous_certificate(), folder.previous_key()];
        Ok(Issued { kind: Kind::Authority, facts: new.facts().clone(), certificate, key, files, warnings })
    }

    /// Step 3: drops the old CA. What it issued is trusted no more.
    ///
    /// # Errors
    /// When no rotation is under way, or the folder cannot be written.
    pub fn finish_rotation(&self) -> Result<Vec<Warning>, Error> {
        let session = self.begin()?;
        let folder = self.folder();
        let Some(previous) = &session.previous else {
            return Err(Error::Choice { what: "ca".to_owned(), problem: ChoiceProblem::NoRotation });
        };
        let bundle = Folder::read(&folder.authority_certificate())?.unwrap_or_default();
        let mut anchors = certificates(&bundle).unwrap_or_default();
        anchors.retain(|der| der != previous.certificate() && !session.authority.goes_along(der));
        let bundle: String = anchors.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        let lists = Folder::read(&folder.crl())?.unwrap_or_default();
        let lists = crl::Present::read_all(&lists)
            .map_err(|problem| Error::Crl { path: folder.crl(), problem })?
            .into_iter()
            .filter(|list| list.issuer == session.authority.subject());
        let lists: String = lists.map(|list| list.pem).collect();
        let mut change = session.change();
        change.stage(&folder.crl(), lists.as_bytes(), Access::Everybody)?;
        change.stage(&folder.authority_certificate(), bundle.as_bytes(), Access::Everybody)?;
        change.commit(&session.ledger)?;
        // The certificate says that the rotation is not over; a key without it is removed by the next command.
        for path in [folder.previous_certificate(), folder.previous_key()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        synchronize(self.root())?;
        Ok(session.warnings)
    }
}
