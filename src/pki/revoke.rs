//! Revoking, and the revocation list on request (RFC 5280 section 5).
//!
//! A revocation is never undone, and never changes its reason: what verifiers were told once stays told.

use std::path::{Path, PathBuf};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::{Authority, authority_key_id};
use super::crl::{Present, RevocationReason};
use super::error::{ChoiceProblem, Error};
use super::folder::Folder;
use super::inventory::{Row, row_of};
use super::ledger::{Kind, Standing, from_hex};
use super::problem::AuthorityProblem;
use super::session::{Lists, Session};
use super::store::Store;
use super::verify::certificates;
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, hex_lower, sha256};

/// A list as it was signed.
#[derive(Debug)]
pub struct SignedList {
    /// The issuer, as RFC 4514 text.
    pub issuer: String,
    /// Its number.
    pub number: u64,
    /// Until when it is good.
    pub next_update: Option<WallTime>,
    /// How many certificates it revokes.
    pub revoked: usize,
}

/// What became of the revocation lists.
#[derive(Debug)]
pub struct ListsSigned {
    /// Where they lie.
    pub path: PathBuf,
    /// Each of them; none when nothing had to be signed.
    pub lists: Vec<SignedList>,
    /// What whoever asked ought to know.
    pub warnings: Vec<super::Warning>,
}

/// What was revoked.
#[derive(Debug)]
pub struct Revoked {
    /// Those that this command revoked.
    pub revoked: Vec<Row>,
    /// Those that had been revoked before.
    pub already: Vec<Row>,
    /// The lists.
    pub signed: ListsSigned,
}

impl Store {
    /// Revokes certificates, each named by its name in the folder (then every one of that name that has not expired),
    /// its file, or its serial number. All of them or none.
    ///
    /// # Errors
    /// When one of them is not known or not this CA's, or the folder cannot be written.
    pub fn revoke(&self, what: &[String], reason: RevocationReason) -> Result<Revoked, Error> {
        self.require_authority()?;
        let mut session = self.begin()?;
        let mut chosen: Vec<usize> = Vec::new();
        for what in what {
            for index in session.choose(what)? {
                if !chosen.contains(&index) {
                    chosen.push(index);
                }
            }
        }
        let now = session.now;
        let (mut revoked, mut already) = (Vec::new(), Vec::new());
        for index in chosen {
            let Some(entry) = session.ledger.certificates.get_mut(index) else { continue };
            if entry.state == Standing::Revoked {
                already.push(row_of(entry, super::State::Revoked, now));
                continue;
            }
            entry.state = Standing::Revoked;
            entry.revoked_at = Some(now);
            entry.revocation_reason = Some(reason.as_str().to_owned());
            revoked.push(row_of(entry, super::State::Revoked, now));
        }
        let signed = session.publish(Lists::AsNeeded)?;
        Ok(Revoked { revoked, already, signed })
    }

    /// Signs the revocation lists anew, for this many days.
    ///
    /// # Errors
    /// When the CA or the list there cannot be used, or the folder cannot be written.
    pub fn sign_lists(&self, days: u32) -> Result<ListsSigned, Error> {
        self.require_authority()?;
        let session = self.begin()?;
        if let Some(problem) = session.cannot_sign() {
            return Err(problem);
        }
        session.publish(Lists::Anew(days))
    }
}

/// Since when, and why, this certificate is on a revocation list; `None` when none of the lists names it.
///
/// # Errors
/// When the lists cannot be read.
pub fn revoked_on(lists: &[u8], der: &[u8]) -> Result<Option<(WallTime, RevocationReason)>, super::CrlProblem> {
    let lists = Present::read_all(lists)?;
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return Ok(None) };
    let serial = match parsed.raw_serial() {
        [0, rest @ ..] if !rest.is_empty() => rest,
        serial => serial,
    };
    let of_issuer = lists.iter().filter(|list| list.issuer == parsed.issuer().as_raw());
    let found = of_issuer.flat_map(|list| &list.revoked).find(|entry| entry.serial == serial);
    Ok(found.map(|entry| (entry.at, entry.reason.unwrap_or(RevocationReason::Unspecified))))
}

impl Session<'_> {
    /// Writes the lists and the index.
    fn publish(mut self, which: Lists) -> Result<ListsSigned, Error> {
        let mut change = self.change();
        let signed = self.stage_lists(which, &mut change)?.unwrap_or_default();
        change.commit(&self.ledger)?;
        let lists = signed.iter().map(|list| self.told(list)).collect();
        Ok(ListsSigned { path: self.folder().crl(), lists, warnings: self.warnings })
    }

    fn told(&self, list: &Present) -> SignedList {
        let of = |authority: &&Authority| authority.subject() == list.issuer;
        let issuer = std::iter::once(&self.authority).chain(&self.previous).find(of);
        SignedList {
            issuer: issuer.map(|authority| authority.facts().subject.clone()).unwrap_or_default(),
            number: list.number,
            next_update: list.next_update,
            revoked: list.revoked.len(),
        }
    }

    fn cannot_sign(&self) -> Option<Error> {
        let mut signers = std::iter::once(&self.authority).chain(&self.previous);
        signers.any(|signer| !signer.signs_crls()).then(|| self.store.about(AuthorityProblem::NoCrlSign))
    }

    /// Places in the index.
    fn choose(&mut self, what: &str) -> Result<Vec<usize>, Error> {
        let problem = |problem| Error::Choice { what: what.to_owned(), problem };
        let mut found = self.by_name(what).map_err(problem)?;
        if found.is_empty() && Path::new(what).is_file() {
            found = vec![self.by_file(Path::new(what))?];
        }
        if found.is_empty() {
            found = self.by_serial(what);
        }
        if found.is_empty() {
            return Err(problem(ChoiceProblem::Unknown));
        }
        for &index in &found {
            let Some(entry) = self.ledger.certificates.get(index) else { continue };
            if entry.kind == Kind::Authority {
                return Err(problem(ChoiceProblem::Root));
            }
            match self.signer(&entry.authority_key_id) {
                _ if entry.state == Standing::Revoked => {}
                None => return Err(problem(ChoiceProblem::Foreign)),
                Some(signer) if !signer.signs_crls() => return Err(self.store.about(AuthorityProblem::NoCrlSign)),
                Some(_) => {}
            }
        }
        Ok(found)
    }

    /// Every certificate of a name that could still be used; where there is none, those that were revoked before.
    fn by_name(&self, name: &str) -> Result<Vec<usize>, ChoiceProblem> {
        let named: Vec<_> =
            self.ledger.certificates.iter().enumerate().filter(|(_, entry)| entry.name == name).collect();
        let Some((_, first)) = named.first() else { return Ok(Vec::new()) };
        if first.kind == Kind::Authority {
            return Err(ChoiceProblem::Root);
        }
        if named.iter().any(|(_, entry)| entry.kind != first.kind) {
            return Err(ChoiceProblem::Ambiguous);
        }
        let ours = |entry: &super::ledger::Entry| self.signer(&entry.authority_key_id).is_some();
        let pick = |state: Standing| -> Vec<usize> {
            let good = |entry: &super::ledger::Entry| {
                entry.state == state && (state == Standing::Revoked || self.now <= entry.not_after && ours(entry))
            };
            named.iter().filter(|(_, entry)| good(entry)).map(|(index, _)| *index).collect()
        };
        let live = pick(Standing::Valid);
        if !live.is_empty() {
            return Ok(live);
        }
        let revoked = pick(Standing::Revoked);
        if !revoked.is_empty() {
            return Ok(revoked);
        }
        Err(if named.iter().any(|(_, entry)| ours(entry)) { ChoiceProblem::Expired } else { ChoiceProblem::Foreign })
    }

    fn by_serial(&self, text: &str) -> Vec<usize> {
        let digits: String = text.trim_start_matches("0x").chars().filter(|&digit| digit != ':').collect();
        let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
        let Some(serial) = from_hex(&padded) else { return Vec::new() };
        let matches = |entry: &super::ledger::Entry| from_hex(&entry.serial).as_ref() == Some(&serial);
        let found = self.ledger.certificates.iter().enumerate().filter(|(_, entry)| matches(entry));
        found.map(|(index, _)| index).collect()
    }

    /// A certificate that this CA issued before it had an index, or somewhere else, enters the index by being revoked.
    fn by_file(&mut self, path: &Path) -> Result<usize, Error> {
        let what = path.display().to_string();
        let problem = |problem| Error::Choice { what: what.clone(), problem };
        let bytes = Folder::read(path)?.unwrap_or_default();
        let pem = certificates(&bytes).ok().and_then(|chain| chain.into_iter().next());
        let der = pem.map_or_else(|| bytes.clone(), |der| der.to_vec());
        let facts = CertificateFacts::from_der(&der).map_err(|_| problem(ChoiceProblem::NoCertificate))?;
        let digest = hex_lower(&sha256(&der));
        if let Some(index) = self.ledger.certificates.iter().position(|entry| entry.sha256 == digest) {
            return Ok(index);
        }
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| problem(ChoiceProblem::NoCertificate))?;
        let issuer = std::iter::once(&self.authority).chain(&self.previous).find(|signer| signer.has_signed(&parsed));
        let issuer = issuer.ok_or_else(|| problem(ChoiceProblem::Foreign))?;
        if parsed.subject().as_raw() == issuer.subject() {
            return Err(problem(ChoiceProblem::Root));
        }
        let key_id = hex_lower(&authority_key_id(&parsed).unwrap_or_else(|| issuer.key_id().to_vec()));
        let is_ca = parsed.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca);
        let usage = parsed.extended_key_usage().ok().flatten();
        let kind = match usage {
            _ if is_ca => Kind::Intermediate,
            Some(usage) if usage.value.server_auth && !usage.value.client_auth => Kind::Server,
            _ => Kind::Client,
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut entry = super::session::entry(kind, &name, &facts, key_id, self.folder().relative(path));
        entry.authority_key_id = hex_lower(issuer.key_id());
        self.ledger.certificates.push(entry);
        Ok(self.ledger.certificates.len() - 1)
    }
}
