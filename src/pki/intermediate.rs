//! A CA below this one, in a folder of its own that every command works in.
//!
//! The folder's `ca.crt` is the new CA followed by those above it, so what it issues carries the chain. The index of
//! the CA above is written first: a CA that exists is always in it.

use std::path::{Path, PathBuf};

use rcgen::SubjectPublicKeyInfo;
use x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::{Authority, Copied, subject_key_id};
use super::change::Access;
use super::crl;
use super::error::{ChoiceProblem, Error};
use super::folder::Folder;
use super::keyfile::{KeyType, PrivateKey};
use super::ledger::{Entry, Kind, Ledger, Standing};
use super::names::{AttributeText, EntryName, Subject};
use super::pem;
use super::profile::{AuthorityProfile, Validity};
use super::renew::{Renewal, Renewed, RenewedKey, days_of};
use super::request::{Issued, Overwrite, Warning};
use super::session::{LIST_DAYS, Lists, entry};
use super::store::{Store, refuse_existing};
use super::verify::certificates;
use crate::identity::{CertificateFacts, hex_lower};

/// A CA to be made below another.
#[derive(Debug, Clone)]
pub struct IntermediateRequest {
    /// Under which name the index knows it.
    pub name: EntryName,
    /// Subject, validity, path length, constraints.
    pub profile: AuthorityProfile,
    /// Kind of its key.
    pub key_type: KeyType,
    /// The folder it gets.
    pub into: PathBuf,
}

impl Store {
    /// Where a CA below this one goes unless somebody says otherwise.
    pub fn intermediate_folder(&self, name: &EntryName) -> PathBuf {
        self.root().join("intermediates").join(name.as_str())
    }

    /// Makes a CA below this one.
    ///
    /// # Errors
    /// When this CA may not issue one, the folder has a CA already, or cannot be written.
    pub fn issue_intermediate(&self, request: &IntermediateRequest, overwrite: Overwrite) -> Result<Issued, Error> {
        self.require_authority()?;
        let below = Folder::new(request.into.clone());
        let (certificate, key, crl) = (below.authority_certificate(), below.authority_key(), below.crl());
        let places = [&certificate, &key, &crl];
        refuse_existing(&places, overwrite)?;
        below.create()?;
        let private_key = PrivateKey::generate(request.key_type)?;

        let mut session = self.begin()?;
        let locked_below = below.lock()?;
        let mut ledger_below = below.read_ledger()?.unwrap_or_else(Ledger::empty);
        locked_below.recover(&ledger_below)?;
        refuse_existing(&places, overwrite)?;
        let (der, cut_short) = session
            .authority
            .issue_authority(&request.profile, private_key.pair(), Copied::default(), session.now)
            .map_err(|problem| self.about(problem))?;
        let mut chain = vec![der];
        let above = Folder::read(&self.authority_certificate())?.unwrap_or_default();
        chain.extend(certificates(&above).unwrap_or_default());
        let text: String = chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        let broken = |problem| Error::Authority { path: certificate.clone(), problem };
        let authority = Authority::load(text.as_bytes(), private_key.pem().as_bytes()).map_err(broken)?;
        let facts = authority.facts().clone();
        if cut_short {
            session.warnings.push(Warning::CutShort(facts.not_after));
        }

        let list = crl::sign(&authority, next(&ledger_below, &crl)?, &[], session.now, LIST_DAYS).map_err(broken)?;
        ledger_below.crl_number = next(&ledger_below, &crl)?;
        let itself = entry(Kind::Authority, "ca", &facts, hex_lower(authority.key_id()), below.relative(&certificate));
        ledger_below.certificates.push(itself);
        let mut change_below = locked_below.change();
        change_below.stage(&key, private_key.pem().as_bytes(), Access::Owner)?;
        change_below.stage(&crl, list.as_bytes(), Access::Everybody)?;
        change_below.stage(&certificate, text.as_bytes(), Access::Everybody)?;

        session.record(Kind::Intermediate, request.name.as_str(), &facts, self.folder().relative(&certificate));
        let mut change = session.change();
        let mut files = vec![certificate.clone(), key.clone(), crl];
        if session.stage_lists(Lists::AsNeeded, &mut change)?.is_some() {
            files.push(self.folder().crl());
        }
        change.commit(&session.ledger)?;
        change_below.commit(&ledger_below)?;
        Ok(Issued { kind: Kind::Intermediate, facts, certificate, key, files, warnings: session.warnings })
    }
}

impl Store {
    /// Issues the certificate of a CA below this one again: same name, key and limits. Its folder goes on issuing under
    /// it. `None` when there is no CA of this name in the index.
    pub(super) fn renew_intermediate(&self, name: &str, renewal: &Renewal) -> Result<Option<Renewed>, Error> {
        let refused = |problem| Error::Choice { what: name.to_owned(), problem };
        let mut session = self.begin()?;
        let named = |entry: &&Entry| entry.kind == Kind::Intermediate && entry.name == name;
        let Some(known) = session.ledger.certificates.iter().rev().find(named) else { return Ok(None) };
        let certificate = self.root().join(&known.file);
        let folder = certificate.parent().ok_or_else(|| refused(ChoiceProblem::NotFiled))?;
        let below = Folder::new(folder.to_path_buf());
        let bytes = Folder::read(&certificate)?.ok_or_else(|| refused(ChoiceProblem::NotFiled))?;
        let unreadable = || refused(ChoiceProblem::NoCertificate);
        let old = certificates(&bytes).ok().and_then(|chain| chain.into_iter().next()).ok_or_else(unreadable)?;
        let (_, parsed) = X509Certificate::from_der(&old).map_err(|_| unreadable())?;
        let replaced = CertificateFacts::from_parsed(&parsed, &old);
        let mut recorded = session.ledger.certificates.iter().filter(|entry| entry.sha256 == replaced.sha256);
        if recorded.any(|entry| entry.state == Standing::Revoked) && renewal.revoked == Overwrite::Refuse {
            return Err(refused(ChoiceProblem::Revoked));
        }
        if !matches!(renewal.key, RenewedKey::Same | RenewedKey::New(None)) {
            return Err(refused(ChoiceProblem::KeepsKey));
        }
        let days = renewal.days.unwrap_or_else(|| days_of(&replaced));
        let mut profile = AuthorityProfile::new(Subject::named(AttributeText::gateway()), Validity::Days(days));
        let constraints = parsed.basic_constraints().ok().flatten();
        profile.path_length = constraints
            .and_then(|constraints| constraints.value.path_len_constraint)
            .and_then(|length| u8::try_from(length).ok());
        let name_constraints =
            parsed.iter_extensions().find(|extension| extension.oid == OID_X509_EXT_NAME_CONSTRAINTS);
        let copied = Copied {
            subject: Some(parsed.subject().as_raw()),
            name_constraints: name_constraints.map(|extension| extension.value),
        };
        let about = |problem| self.about(problem);
        let public = SubjectPublicKeyInfo::from_der(parsed.public_key().raw)
            .map_err(super::AuthorityProblem::Signing)
            .map_err(about)?;
        let (der, cut_short) =
            session.authority.issue_authority(&profile, &public, copied, session.now).map_err(about)?;
        let facts = CertificateFacts::from_der(&der).map_err(|_| unreadable())?;
        if cut_short {
            session.warnings.push(Warning::CutShort(facts.not_after));
        }
        session.warnings.push(Warning::RenewBelow(folder.to_path_buf()));
        let above = Folder::read(&self.authority_certificate())?.unwrap_or_default();
        let above = certificates(&above).unwrap_or_default();
        let text: String = std::iter::once(&der).chain(&above).map(|der| pem::encode("CERTIFICATE", der)).collect();

        let locked_below = below.lock()?;
        let mut ledger_below = below.read_ledger()?.unwrap_or_else(Ledger::empty);
        locked_below.recover(&ledger_below)?;
        let key_id = subject_key_id(&parsed).map(|id| hex_lower(&id)).unwrap_or_default();
        let itself = entry(Kind::Authority, "ca", &facts, key_id, below.relative(&certificate));
        ledger_below.certificates.push(itself);
        let mut change_below = locked_below.change();
        change_below.stage(&certificate, text.as_bytes(), Access::Everybody)?;
        session.record(Kind::Intermediate, name, &facts, self.folder().relative(&certificate));
        let mut files = vec![certificate.clone()];
        let mut change = session.change();
        if session.stage_lists(Lists::AsNeeded, &mut change)?.is_some() {
            files.push(self.folder().crl());
        }
        change.commit(&session.ledger)?;
        change_below.commit(&ledger_below)?;
        let key = below.authority_key();
        let issued = Issued { kind: Kind::Intermediate, facts, certificate, key, files, warnings: session.warnings };
        Ok(Some(Renewed { issued, replaced }))
    }
}

fn next(ledger: &Ledger, list: &Path) -> Result<u64, Error> {
    let lists = Folder::read(list)?.and_then(|bytes| crl::Present::read_all(&bytes).ok()).unwrap_or_default();
    let present = lists.iter().map(|list| list.number).max().unwrap_or(0);
    Ok(super::session::next_number(ledger.crl_number, present))
}
