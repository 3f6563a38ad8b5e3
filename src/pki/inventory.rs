//! What is in the folder, by the index and by the files, and how the two agree.
//!
//! Reading needs no lock: the index is replaced as a whole.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::{authority_key_id, subject_key_id};
use super::dates::{as_optional_text, as_text, days_between};
use super::error::Error;
use super::folder::Folder;
use super::ledger::{Entry, Kind, Standing};
use super::store::{Store, alternative_texts};
use super::verify::certificates;
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, hex_lower};

/// How a certificate stands. Of several words the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It was issued by a CA that this folder has no longer.
    Orphaned,
    /// Still valid, and issued by the CA that `rotate-ca` is replacing.
    PreviousCa,
    /// It is in a file and not in the index: not issued here, or the index was lost.
    Unrecorded,
    /// Still valid, but its file holds another certificate by now.
    Replaced,
    /// Still valid, but its file is gone.
    Missing,
    /// Valid, and where it belongs.
    Valid,
}

impl State {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Orphaned => "orphaned",
            Self::PreviousCa => "previous_ca",
            Self::Unrecorded => "unrecorded",
            Self::Replaced => "replaced",
            Self::Missing => "missing",
            Self::Valid => "valid",
        }
    }
}

/// One certificate.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Under which name it is filed.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Subject as RFC 4514 text.
    pub subject: String,
    /// Alternative names, as `DNS:a`, `URI:b`.
    pub subject_alt_names: Vec<String>,
    /// Upper-case hex.
    pub serial: String,
    /// First moment of validity.
    #[serde(with = "as_text")]
    pub not_before: WallTime,
    /// Last moment of validity.
    #[serde(with = "as_text")]
    pub not_after: WallTime,
    /// Whole days until then, rounded down; negative when it is over.
    pub days_left: i64,
    /// How it stands.
    pub state: State,
    /// Of the DER, lower-case hex.
    pub sha256: String,
    /// Where it was written, relative to the folder.
    pub file: String,
    /// Since when it is revoked.
    #[serde(with = "as_optional_text")]
    pub revoked_at: Option<WallTime>,
    /// Why.
    pub revocation_reason: Option<String>,
}

/// What is in the folder.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The CA first, then the server's, then the clients' by name; of one name the oldest first.
    pub rows: Vec<Row>,
    /// Files that should hold a certificate and do not.
    pub unreadable: Vec<PathBuf>,
}

/// A certificate that lies in a file.
struct Filed {
    kind: Kind,
    name: String,
    file: String,
    facts: CertificateFacts,
    subject_key_id: Option<String>,
    authority_key_id: Option<String>,
}

impl Store {
    /// Lists the folder.
    ///
    /// # Errors
    /// When there is neither a CA nor an index, or the index cannot be read.
    pub fn inventory(&self) -> Result<Inventory, Error> {
        let ledger = self.folder().read_ledger()?;
        let (filed, unreadable) = self.filed()?;
        if ledger.is_none() && filed.is_empty() && unreadable.is_empty() {
            return Err(Error::NoAuthority { path: self.authority_certificate() });
        }
        let now = self.now();
        let authority = filed.iter().find(|filed| filed.kind == Kind::Authority);
        let previous = Folder::read(&self.folder().previous_certificate())?;
        let authorities = Authorities {
            // Without a readable CA nobody can say who is an orphan.
            current: authority.and_then(|filed| filed.subject_key_id.clone()),
            previous: previous.and_then(|bytes| read_first(&bytes)?.1),
        };
        let entries = ledger.map(|ledger| ledger.certificates).unwrap_or_default();

        let mut rows: Vec<Row> = Vec::with_capacity(entries.len());
        let mut recorded = HashSet::new();
        for entry in entries {
            recorded.insert(entry.sha256.clone());
            let mut state = standing(&entry, &authorities, &filed, now);
            if entry.kind == Kind::Intermediate && matches!(state, State::Missing | State::PreviousCa) {
                state = self.elsewhere(&entry, state)?;
            }
            rows.push(row_of(&entry, state, now));
        }
        for filed in filed.iter().filter(|filed| !recorded.contains(&filed.facts.sha256)) {
            let facts = &filed.facts;
            let by_time = by_time(facts.not_before, facts.not_after, now);
            rows.push(Row {
                days_left: days_between(now, facts.not_after),
                state: by_time
                    .or_else(|| authorities.state(filed.authority_key_id.as_deref()))
                    .unwrap_or(State::Unrecorded),
                name: filed.name.clone(),
                kind: filed.kind,
                subject: facts.subject.clone(),
                subject_alt_names: alternative_texts(facts),
                serial: facts.serial.clone(),
                not_before: facts.not_before,
                not_after: facts.not_after,
                sha256: facts.sha256.clone(),
                file: filed.file.clone(),
                revoked_at: None,
                revocation_reason: None,
            });
        }
        rows.sort_by(|a, b| (a.kind, &a.name, a.not_before).cmp(&(b.kind, &b.name, b.not_before)));
        Ok(Inventory { rows, unreadable })
    }

    /// A CA below this one lies in a folder of its own.
    fn elsewhere(&self, entry: &Entry, state: State) -> Result<State, Error> {
        let Some(bytes) = Folder::read(&self.root().join(&entry.file))? else { return Ok(state) };
        let same = read_first(&bytes).is_some_and(|(facts, ..)| facts.sha256 == entry.sha256);
        Ok(match state {
            _ if !same => State::Replaced,
            State::Missing => State::Valid,
            state => state,
        })
    }

    /// What the index says this certificate is for.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn recorded_kind(&self, sha256: &str) -> Result<Option<Kind>, Error> {
        let ledger = self.folder().read_ledger()?;
        let kind = |ledger: super::ledger::Ledger| {
            ledger.certificates.iter().find(|entry| entry.sha256 == sha256).map(|entry| entry.kind)
        };
        Ok(ledger.and_then(kind))
    }

    fn filed(&self) -> Result<(Vec<Filed>, Vec<PathBuf>), Error> {
        let folder = self.folder();
        let mut places = vec![
            (Kind::Authority, "ca".to_owned(), folder.authority_certificate()),
            (Kind::Server, "server".to_owned(), folder.server_certificate()),
        ];
        for path in client_files(&folder.clients())? {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".crt")) {
                places.push((Kind::Client, name.to_owned(), path.clone()));
            }
        }
        let (mut filed, mut unreadable) = (Vec::new(), Vec::new());
        for (kind, name, path) in places {
            let Some(bytes) = Folder::read(&path)? else { continue };
            match read_first(&bytes) {
                Some((facts, subject_key_id, authority_key_id)) => {
                    let file = folder.relative(&path);
                    filed.push(Filed { kind, name, file, facts, subject_key_id, authority_key_id });
                }
                None => unreadable.push(path),
            }
        }
        Ok((filed, unreadable))
    }
}

/// An entry of the index, told to somebody.
pub(super) fn row_of(entry: &Entry, state: State, now: WallTime) -> Row {
    Row {
        days_left: days_between(now, entry.not_after),
        state,
        name: entry.name.clone(),
        kind: entry.kind,
        subject: entry.subject.clone(),
        subject_alt_names: entry.subject_alt_names.clone(),
        serial: entry.serial.clone(),
        not_before: entry.not_before,
        not_after: entry.not_after,
        sha256: entry.sha256.clone(),
        file: entry.file.clone(),
        revoked_at: entry.revoked_at,
        revocation_reason: entry.revocation_reason.clone(),
    }
}

fn standing(entry: &Entry, authorities: &Authorities, filed: &[Filed], now: WallTime) -> State {
    if entry.state == Standing::Revoked {
        return State::Revoked;
    }
    let issuer = authorities.state(Some(&entry.authority_key_id));
    let known = by_time(entry.not_before, entry.not_after, now).or(issuer.filter(|&state| state == State::Orphaned));
    let good = issuer.unwrap_or(State::Valid);
    known.unwrap_or_else(|| match filed.iter().find(|filed| filed.file == entry.file) {
        Some(filed) if filed.facts.sha256 == entry.sha256 => good,
        // The new CA's file holds the one before it, too.
        Some(_) if entry.kind == Kind::Authority => issuer.unwrap_or(State::Replaced),
        Some(_) => State::Replaced,
        None => issuer.unwrap_or(State::Missing),
    })
}

fn by_time(not_before: WallTime, not_after: WallTime, now: WallTime) -> Option<State> {
    if now.unix_seconds() > not_after.unix_seconds() {
        Some(State::Expired)
    } else if now < not_before {
        Some(State::NotYetValid)
    } else {
        None
    }
}

/// Who issues here, by key identifier.
struct Authorities {
    current: Option<String>,
    previous: Option<String>,
}

impl Authorities {
    /// What a certificate is that this CA did not issue.
    fn state(&self, issuer: Option<&str>) -> Option<State> {
        let (issuer, current) = (issuer?, self.current.as_deref()?);
        if issuer == current {
            None
        } else if Some(issuer) == self.previous.as_deref() {
            Some(State::PreviousCa)
        } else {
            Some(State::Orphaned)
        }
    }
}

fn client_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", directory)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", directory))?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read_first(bytes: &[u8]) -> Option<(CertificateFacts, Option<String>, Option<String>)> {
    let chain = certificates(bytes).ok()?;
    let der = chain.first()?;
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let hex = |id: Vec<u8>| hex_lower(&id);
    Some((
        CertificateFacts::from_parsed(&parsed, der),
        subject_key_id(&parsed).map(hex),
        authority_key_id(&parsed).map(hex),
    ))
}
