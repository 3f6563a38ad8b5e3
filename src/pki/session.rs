//! A command at work in the folder: it holds the lock, has read the index and opened the CA.
//!
//! Whoever opens the CA's key also sees to the revocation list, so that one past half its life never needs a command
//! of its own.

use super::authority::Authority;
use super::change::{Access, Change, Locked};
use super::crl::{self, CrlProblem, Present};
use super::error::Error;
use super::folder::Folder;
use super::keyfile::PrivateKey;
use super::ledger::{Entry, Kind, Ledger, Standing};
use super::profile::LeafProfile;
use super::request::Warning;
use super::store::{Store, alternative_texts};
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, hex_lower};

/// How long a list is good for, in days, unless somebody says otherwise.
pub(super) const LIST_DAYS: u32 = 365;

/// When lists are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    /// Those that are missing, past half their life, or do not hold all that was revoked.
    AsNeeded,
    /// All, for this many days.
    Anew(u32),
}

/// The folder while this command works in it.
pub(super) struct Session<'s> {
    pub(super) store: &'s Store,
    pub(super) locked: Locked<'s>,
    pub(super) ledger: Ledger,
    pub(super) authority: Authority,
    /// The CA before this one, while clients move over.
    pub(super) previous: Option<Authority>,
    pub(super) warnings: Vec<Warning>,
    pub(super) now: WallTime,
}

impl Store {
    /// Locks, ends what a killed command began, opens the CA.
    pub(super) fn begin(&self) -> Result<Session<'_>, Error> {
        let locked = self.folder().lock()?;
        let (ledger, mut warnings) = self.open_ledger(&locked)?;
        let now = self.now();
        let authority = self.open_authority(now, &mut warnings)?;
        let previous = self.open_previous(&mut warnings)?;
        Ok(Session { store: self, locked, ledger, authority, previous, warnings, now })
    }
}

impl<'s> Session<'s> {
    pub(super) fn folder(&self) -> &'s Folder {
        self.store.folder()
    }

    /// Begins to change files.
    pub(super) fn change(&self) -> Change<'s> {
        self.locked.change()
    }

    /// Issues a leaf for a key that was made here.
    pub(super) fn issue(&mut self, profile: &LeafProfile, key: &PrivateKey) -> Result<super::Leaf, Error> {
        let leaf = self.authority.issue(profile, key, self.now).map_err(|problem| self.store.about(problem))?;
        self.note(&leaf);
        Ok(leaf)
    }

    /// Warns of a leaf that lives for less than was asked for.
    pub(super) fn note(&mut self, leaf: &super::Leaf) {
        let warning = Warning::CutShort(leaf.facts.not_after);
        if leaf.cut_short && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Puts what this CA issued into the index.
    pub(super) fn record(&mut self, kind: Kind, name: &str, facts: &CertificateFacts, file: String) {
        let authority = hex_lower(self.authority.key_id());
        self.ledger.certificates.push(entry(kind, name, facts, authority, file));
    }

    /// The CA here with this key identifier in lower-case hex.
    pub(super) fn signer(&self, key_id: &str) -> Option<&Authority> {
        let known = |authority: &&Authority| hex_lower(authority.key_id()) == key_id;
        std::iter::once(&self.authority).chain(&self.previous).find(known)
    }

    /// Stages the revocation lists, this CA's first, if one of them has to be signed.
    pub(super) fn stage_lists(&mut self, which: Lists, change: &mut Change<'_>) -> Result<Option<Vec<Present>>, Error> {
        let path = self.folder().crl();
        let refused = |problem| Error::Crl { path: path.clone(), problem };
        let bytes = Folder::read(&path)?.unwrap_or_default();
        let present = Present::read_all(&bytes).map_err(refused)?;
        let signers: Vec<&Authority> = std::iter::once(&self.authority).chain(&self.previous).collect();
        if present.iter().any(|list| signers.iter().all(|signer| signer.subject() != list.issuer)) {
            return Err(refused(CrlProblem::Foreign));
        }
        let mut lists = Vec::new();
        let mut signed = false;
        for signer in signers {
            let known = present.iter().find(|list| list.issuer == signer.subject());
            let mut revoked = known.map(|list| list.revoked.clone()).unwrap_or_default();
            let listed: std::collections::HashSet<Vec<u8>> = revoked.iter().map(|entry| entry.serial.clone()).collect();
            let key_id = hex_lower(signer.key_id());
            let unlisted = self.ledger.revoked_by(&key_id);
            revoked.extend(unlisted.filter(|entry| !listed.contains(&entry.serial)));
            if let (Some(list), Lists::AsNeeded) = (known, which)
                && revoked.len() == list.revoked.len()
                && !list.is_past_half_life(self.now)
            {
                lists.push(list.pem.clone());
                continue;
            }
            if !signer.signs_crls() {
                self.warnings.push(Warning::CannotSignCrl(path.clone()));
                lists.extend(known.map(|list| list.pem.clone()));
                continue;
            }
            let days = match which {
                Lists::AsNeeded => LIST_DAYS,
                Lists::Anew(days) => days,
            };
            self.ledger.crl_number = next_number(self.ledger.crl_number, known.map_or(0, |list| list.number));
            let list = crl::sign(signer, self.ledger.crl_number, &revoked, self.now, days);
            lists.push(list.map_err(|problem| self.store.about(problem))?);
            signed = true;
        }
        if !signed {
            return Ok(None);
        }
        let text = lists.concat();
        change.stage(&path, text.as_bytes(), Access::Everybody)?;
        Present::read_all(text.as_bytes()).map(Some).map_err(refused)
    }
}

/// RFC 5280 section 5.2.3: the number grows, whichever of the two places has the greater one.
pub(super) fn next_number(in_ledger: u64, in_list: u64) -> u64 {
    in_ledger.max(in_list).saturating_add(1)
}

pub(super) fn entry(kind: Kind, name: &str, facts: &CertificateFacts, authority_key_id: String, file: String) -> Entry {
    Entry {
        serial: facts.serial.clone(),
        name: name.to_owned(),
        kind,
        subject: facts.subject.clone(),
        subject_alt_names: alternative_texts(facts),
        not_before: facts.not_before,
        not_after: facts.not_after,
        sha256: facts.sha256.clone(),
        authority_key_id,
        file,
        state: Standing::Valid,
        revoked_at: None,
        revocation_reason: None,
    }
}
