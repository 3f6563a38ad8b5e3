//! The same certificate again: same subject and names, a new serial number and, unless told otherwise, a new key.

use std::path::PathBuf;

use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::change::Access;
use super::error::{ChoiceProblem, Error};
use super::folder::Folder;
use super::inventory::State;
use super::keyfile::{KeyType, PrivateKey};
use super::ledger::{Kind, Standing};
use super::names::{AttributeText, Subject};
use super::profile::{BACKDATE_SECONDS, LeafProfile, Usage, Validity};
use super::request::{Issued, Overwrite};
use super::session::Lists;
use super::store::Store;
use super::verify::certificates;
use crate::identity::CertificateFacts;

/// How to renew.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    /// For how many days; as long as before when not said.
    pub days: Option<u32>,
    /// With which key.
    pub key: RenewedKey,
    /// Whether a certificate that was revoked is renewed, too.
    pub revoked: Overwrite,
}

/// The key of a renewed certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewedKey {
    /// A new one, of this kind or of the old one's.
    New(Option<KeyType>),
    /// The one it has.
    Same,
}

/// A certificate that took the place of another.
#[derive(Debug)]
pub struct Renewed {
    /// The new one.
    pub issued: Issued,
    /// What the old one says.
    pub replaced: CertificateFacts,
}

/// A pair in the folder, as it lies there.
pub(super) struct Filed {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) facts: CertificateFacts,
}

impl Store {
    /// Issues the certificate of this name again and puts it in the place of the old one, which stays valid.
    ///
    /// # Errors
    /// When there is none of that name, it was revoked, its key is elsewhere, or the folder cannot be written.
    pub fn renew(&self, name: &str, renewal: &Renewal) -> Result<Renewed, Error> {
        self.require_authority()?;
        let refused = |problem| Error::Choice { what: name.to_owned(), problem };
        let before = match self.filed_pair(name) {
            Err(error @ Error::Choice { problem: ChoiceProblem::NotFiled, .. }) => {
                return self.renew_intermediate(name, renewal)?.ok_or(error);
            }
            other => other?,
        };
        let has_key = before.key.exists();
        let key = match renewal.key {
            RenewedKey::New(_) if !has_key => return Err(refused(ChoiceProblem::KeyElsewhere)),
            RenewedKey::New(Some(kind)) => Some(PrivateKey::generate(kind)?),
            RenewedKey::New(None) => Some(PrivateKey::generate(kind_of_key(&before).unwrap_or_default())?),
            RenewedKey::Same => None,
        };

        let mut session = self.begin()?;
        // Another command may have replaced it in the meantime.
        let Filed { certificate, key: key_path, chain, facts } = self.filed_pair(name)?;
        let der = chain.first().ok_or_else(|| refused(ChoiceProblem::NoCertificate))?;
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| refused(ChoiceProblem::NoCertificate))?;
        let known = session.ledger.certificates.iter().find(|entry| entry.sha256 == facts.sha256);
        if known.is_some_and(|entry| entry.state == Standing::Revoked) && renewal.revoked == Overwrite::Refuse {
            return Err(refused(ChoiceProblem::Revoked));
        }
        let names = parsed.subject_alternative_name().ok().flatten();
        if names.is_some_and(|names| names.value.general_names.len() != facts.subject_alt_names.len()) {
            return Err(refused(ChoiceProblem::UnknownNames));
        }
        let serves = parsed.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.server_auth);
        let kind = known.map_or(if serves { Kind::Server } else { Kind::Client }, |entry| entry.kind);
        let profile = LeafProfile {
            usage: if kind == Kind::Server { Usage::Server } else { Usage::Client },
            // Replaced by the old one's, byte for byte.
            subject: Subject::named(AttributeText::gateway()),
            names: facts.subject_alt_names.clone(),
            validity: Validity::Days(renewal.days.unwrap_or_else(|| days_of(&facts))),
        };
        let subject = Some(parsed.subject().as_raw());
        let leaf = match &key {
            Some(key) => session.authority.certify(&profile, key.pair(), subject, session.now),
            None => {
                let public = SubjectPublicKeyInfo::from_der(parsed.public_key().raw)
                    .map_err(super::AuthorityProblem::Signing)
                    .map_err(|problem| self.about(problem))?;
                session.authority.certify(&profile, &public, subject, session.now)
            }
        };
        let leaf = leaf.map_err(|problem| self.about(problem))?;
        session.note(&leaf);
        session.record(kind, name, &leaf.facts, self.folder().relative(&certificate));

        let mut files = vec![certificate.clone()];
        let mut change = session.change();
        if let Some(key) = &key {
            files.push(key_path.clone());
            change.stage(&key_path, key.pem().as_bytes(), Access::Owner)?;
        }
        if session.stage_lists(Lists::AsNeeded, &mut change)?.is_some() {
            files.push(self.folder().crl());
        }
        change.stage(&certificate, leaf.pem.as_bytes(), Access::Everybody)?;
        change.commit(&session.ledger)?;
        let issued = Issued { kind, facts: leaf.facts, certificate, key: key_path, files, warnings: session.warnings };
        Ok(Renewed { issued, replaced: facts })
    }

    /// The names of all certificates but the CA's own that lie in their place, were not revoked, and end
    /// within this many days or have ended.
    ///
    /// # Errors
    /// As [`Self::inventory`].
    pub fn ending_within(&self, days: u32) -> Result<Vec<String>, Error> {
        self.names_of(|row| {
            matches!(row.state, State::Valid | State::Expired | State::PreviousCa) && row.days_left < i64::from(days)
        })
    }

    /// The names of those that the CA before this one issued.
    ///
    /// # Errors
    /// As [`Self::inventory`].
    pub fn under_previous(&self) -> Result<Vec<String>, Error> {
        self.names_of(|row| row.state == State::PreviousCa)
    }

    fn names_of(&self, wanted: impl Fn(&super::Row) -> bool) -> Result<Vec<String>, Error> {
        let inventory = self.inventory()?;
        let leaf = |row: &&super::Row| row.kind != Kind::Authority;
        let mut names: Vec<String> = Vec::new();
        for row in inventory.rows.iter().filter(leaf).filter(|row| wanted(row)) {
            // An old one that was replaced by a good one is no reason to renew.
            let lies_there = row.kind == Kind::Intermediate
                || self.filed_pair(&row.name).is_ok_and(|filed| filed.facts.sha256 == row.sha256);
            if lies_there && !names.contains(&row.name) {
                names.push(row.name.clone());
            }
        }
        Ok(names)
    }

    /// The pair of this name.
    pub(super) fn filed_pair(&self, name: &str) -> Result<Filed, Error> {
        let refused = |problem| Error::Choice { what: name.to_owned(), problem };
        let folder = self.folder();
        let (certificate, key) = match name {
            "ca" => return Err(refused(ChoiceProblem::NotLeaf)),
            "server" => (folder.server_certificate(), folder.server_key()),
            name => {
                let name = name.parse().map_err(|_| refused(ChoiceProblem::NotFiled))?;
                (folder.client_certificate(&name), folder.client_key(&name))
            }
        };
        let bytes = Folder::read(&certificate)?.ok_or_else(|| refused(ChoiceProblem::NotFiled))?;
        let unreadable =
            || Error::Choice { what: certificate.display().to_string(), problem: ChoiceProblem::NoCertificate };
        let chain = certificates(&bytes).map_err(|_| unreadable())?;
        let facts = chain.first().and_then(|der| CertificateFacts::from_der(der).ok()).ok_or_else(unreadable)?;
        Ok(Filed { certificate, key, chain, facts })
    }
}

/// The kind of the old key, if it can be made here.
fn kind_of_key(filed: &Filed) -> Option<KeyType> {
    let (_, parsed) = X509Certificate::from_der(filed.chain.first()?).ok()?;
    KeyType::of(parsed.public_key())
}

/// How long it lived, without the minutes by which it began early.
pub(super) fn days_of(facts: &CertificateFacts) -> u32 {
    let seconds = facts.not_after.unix_seconds() - facts.not_before.unix_seconds() + BACKDATE_SECONDS;
    u32::try_from((seconds + 43_200) / 86_400).unwrap_or(1).clamp(1, 36_500)
}
