//! What can be done in the folder: make the CA, issue for the server, issue for a client.
//!
//! Every command goes the same way: look whether it may, make the key (slow for RSA, so before the lock), lock, finish
//! what a killed command began, look again, sign, verify, commit.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::authority::Authority;
use super::change::{Access, Locked};
use super::crl::{self, Present};
use super::error::{ChoiceProblem, Error};
use super::folder::Folder;
use super::keyfile::{KeyType, PrivateKey};
use super::ledger::{Entry, Kind, Ledger, Standing};
use super::names::{AttributeText, Subject};
use super::problem::AuthorityProblem;
use super::profile::{LeafProfile, Usage};
use super::request::{AuthorityRequest, ClientRequest, Issued, Overwrite, ServerRequest, Warning};
use super::session::{LIST_DAYS, Lists, entry, next_number};
use crate::clock::{Clock, WallTime};
use crate::identity::{CertificateFacts, SubjectAltName, hex_lower};

/// A folder with a CA in it.
#[derive(Debug, Clone)]
pub struct Store {
    folder: Folder,
    clock: Clock,
}

impl Store {
    /// The folder at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>, clock: Clock) -> Self {
        Self { folder: Folder::new(root.into()), clock }
    }

    /// Where the folder is.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The time by which certificates are made and judged here.
    pub fn now(&self) -> WallTime {
        self.clock.now()
    }

    /// By which clock.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// The CA's certificate.
    pub fn authority_certificate(&self) -> PathBuf {
        self.folder.authority_certificate()
    }

    /// The server's certificate, followed by those between it and the root.
    pub fn server_certificate(&self) -> PathBuf {
        self.folder.server_certificate()
    }

    /// The file that a name means: `ca`, `crl`, `server`, or a client's name. `None` when there is no such file.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let path = match name {
            "ca" => self.folder.authority_certificate(),
            "crl" => self.folder.crl(),
            "server" => self.folder.server_certificate(),
            name => self.folder.client_certificate(&name.parse().ok()?),
        };
        path.is_file().then_some(path)
    }

    /// Makes the CA and its first, empty revocation list.
    ///
    /// # Errors
    /// When one is there and may not be replaced, or the folder cannot be written.
    pub fn init(&self, request: &AuthorityRequest, overwrite: Overwrite) -> Result<Issued, Error> {
        let folder = &self.folder;
        let (certificate, key, crl) = (folder.authority_certificate(), folder.authority_key(), folder.crl());
        let places = [&certificate, &key, &crl];
        self.refuse_rotation()?;
        folder.create()?;
        refuse_existing(&places, overwrite)?;
        let private_key = PrivateKey::generate(request.key_type)?;

        let locked = folder.lock()?;
        let (mut ledger, mut warnings) = self.open_ledger(&locked)?;
        warnings.retain(|warning| !matches!(warning, Warning::NoLedger(_)));
        refuse_existing(&places, overwrite)?;
        let now = self.clock.now();
        let replaced = certificate.exists();
        let authority = Authority::create(&request.profile, private_key, now).map_err(|problem| self.about(problem))?;
        let lists = Folder::read(&crl)?.and_then(|bytes| Present::read_all(&bytes).ok()).unwrap_or_default();
        let previous = lists.iter().map(|list| list.number).max().unwrap_or(0);
        ledger.crl_number = next_number(ledger.crl_number, previous);
        let list =
            crl::sign(&authority, ledger.crl_number, &[], now, LIST_DAYS).map_err(|problem| self.about(problem))?;
        if replaced {
            let count = ledger.certificates.iter().filter(|entry| entry.is_live_leaf(now)).count();
            warnings.push(Warning::Orphaned { path: certificate.clone(), count });
        }
        let key_id = hex_lower(authority.key_id());
        ledger.certificates.push(entry(
            Kind::Authority,
            "ca",
            authority.facts(),
            key_id,
            folder.relative(&certificate),
        ));

        let mut change = locked.change();
        change.stage(&key, authority.key().pem().as_bytes(), Access::Owner)?;
        change.stage(&crl, list.as_bytes(), Access::Everybody)?;
        change.stage(&certificate, authority.pem().as_bytes(), Access::Everybody)?;
        change.commit(&ledger)?;
        let files = vec![certificate.clone(), key.clone(), crl];
        Ok(Issued { kind: Kind::Authority, facts: authority.facts().clone(), certificate, key, files, warnings })
    }

    /// Issues the server's certificate.
    ///
    /// # Errors
    /// When there is no usable CA, one is there and may not be replaced, or the folder cannot be written.
    pub fn issue_server(&self, request: &ServerRequest, overwrite: Overwrite) -> Result<Issued, Error> {
        let leaf = LeafProfile {
            usage: Usage::Server,
            subject: Subject::named(server_common_name(&request.names)),
            names: request.names.clone(),
            validity: request.validity,
        };
        let places = (self.folder.server_certificate(), self.folder.server_key());
        self.issue(Kind::Server, "server", &leaf, request.key_type, places, overwrite)
    }

    /// Issues a client's certificate.
    ///
    /// # Errors
    /// As [`Self::issue_server`].
    pub fn issue_client(&self, request: &ClientRequest, overwrite: Overwrite) -> Result<Issued, Error> {
        let leaf = LeafProfile {
            usage: Usage::Client,
            subject: request.subject.clone(),
            names: request.names.clone(),
            validity: request.validity,
        };
        let name = &request.name;
        let places = (self.folder.client_certificate(name), self.folder.client_key(name));
        self.issue(Kind::Client, name.as_str(), &leaf, request.key_type, places, overwrite)
    }

    fn issue(
        &self,
        kind: Kind,
        name: &str,
        profile: &LeafProfile,
        key_type: KeyType,
        (certificate, key): (PathBuf, PathBuf),
        overwrite: Overwrite,
    ) -> Result<Issued, Error> {
        let folder = &self.folder;
        self.require_authority()?;
        refuse_existing(&[&certificate, &key], overwrite)?;
        let private_key = PrivateKey::generate(key_type)?;

        let mut session = self.begin()?;
        refuse_existing(&[&certificate, &key], overwrite)?;
        let leaf = session.issue(profile, &private_key)?;
        session.record(kind, name, &leaf.facts, folder.relative(&certificate));

        if kind == Kind::Client {
            folder.create_clients()?;
        }
        let mut files = vec![certificate.clone(), key.clone()];
        let mut change = session.change();
        change.stage(&key, private_key.pem().as_bytes(), Access::Owner)?;
        if session.stage_lists(Lists::AsNeeded, &mut change)?.is_some() {
            files.push(folder.crl());
        }
        change.stage(&certificate, leaf.pem.as_bytes(), Access::Everybody)?;
        change.commit(&session.ledger)?;
        Ok(Issued { kind, facts: leaf.facts, certificate, key, files, warnings: session.warnings })
    }

    /// Before a key is made: seconds of waiting for RSA 4096 should not end in "there is no CA".
    pub(super) fn require_authority(&self) -> Result<(), Error> {
        let (certificate, key) = (self.folder.authority_certificate(), self.folder.authority_key());
        if !certificate.exists() {
            return Err(Error::NoAuthority { path: certificate });
        }
        if !key.exists() {
            return Err(Error::NoAuthorityKey { path: key });
        }
        Ok(())
    }

    pub(super) fn open_authority(&self, now: WallTime, warnings: &mut Vec<Warning>) -> Result<Authority, Error> {
        let (certificate, key) = (self.folder.authority_certificate(), self.folder.authority_key());
        let certificate_bytes = Folder::read(&certificate)?.ok_or(Error::NoAuthority { path: certificate })?;
        let key_bytes = Folder::read(&key)?.ok_or_else(|| Error::NoAuthorityKey { path: key.clone() })?;
        let key_bytes = zeroize::Zeroizing::new(key_bytes);
        warn_of_mode(&key, warnings);
        let authority = Authority::load(&certificate_bytes, &key_bytes).map_err(|problem| self.about(problem))?;
        authority.check_time(now).map_err(|problem| self.about(problem))?;
        Ok(authority)
    }

    /// The CA that is being left, while it is.
    pub(super) fn open_previous(&self, warnings: &mut Vec<Warning>) -> Result<Option<Authority>, Error> {
        let (certificate, key) = (self.folder.previous_certificate(), self.folder.previous_key());
        let Some(certificate_bytes) = Folder::read(&certificate)? else { return Ok(None) };
        let key_bytes = Folder::read(&key)?.ok_or_else(|| Error::NoAuthorityKey { path: key.clone() })?;
        warn_of_mode(&key, warnings);
        let key_bytes = zeroize::Zeroizing::new(key_bytes);
        Authority::load(&certificate_bytes, &key_bytes).map(Some).map_err(|problem| {
            let path = if problem.concerns_key() { key } else { certificate };
            Error::Authority { path, problem }
        })
    }

    /// The key of a CA that was dropped, left behind by a command that was killed.
    fn end_rotation(&self) -> Result<(), Error> {
        let key = self.folder.previous_key();
        if !key.exists() || self.folder.previous_certificate().exists() {
            return Ok(());
        }
        let bundle = Folder::read(&self.folder.authority_certificate())?.unwrap_or_default();
        let key_bytes = zeroize::Zeroizing::new(Folder::read(&key)?.unwrap_or_default());
        // Whoever removed the certificate by hand in the middle of a rotation keeps the key.
        if matches!(Authority::load(&bundle, &key_bytes), Err(AuthorityProblem::KeyMismatch)) {
            std::fs::remove_file(&key).map_err(Error::io("remove", &key))?;
        }
        Ok(())
    }

    /// A CA that is being replaced is not replaced by yet another: two at once could not be told apart any more.
    pub(super) fn refuse_rotation(&self) -> Result<(), Error> {
        if self.folder.previous_certificate().exists() {
            return Err(Error::Choice { what: "ca".to_owned(), problem: ChoiceProblem::RotationUnderWay });
        }
        Ok(())
    }

    /// Reads the index, and ends what a killed command began.
    pub(super) fn open_ledger(&self, locked: &Locked<'_>) -> Result<(Ledger, Vec<Warning>), Error> {
        let known = self.folder.read_ledger()?;
        let mut warnings = Vec::new();
        if known.is_none() && self.folder.authority_certificate().exists() {
            warnings.push(Warning::NoLedger(self.folder.index()));
        }
        let ledger = known.unwrap_or_else(Ledger::empty);
        warnings.extend(locked.recover(&ledger)?.into_iter().map(Warning::Recovered));
        self.end_rotation()?;
        Ok((ledger, warnings))
    }

    pub(super) fn about(&self, problem: AuthorityProblem) -> Error {
        let path =
            if problem.concerns_key() { self.folder.authority_key() } else { self.folder.authority_certificate() };
        Error::Authority { path, problem }
    }
}

impl Entry {
    fn is_live_leaf(&self, now: WallTime) -> bool {
        self.kind != Kind::Authority && self.state == Standing::Valid && now <= self.not_after
    }
}

fn warn_of_mode(key: &Path, warnings: &mut Vec<Warning>) {
    if let Ok(metadata) = key.metadata() {
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            warnings.push(Warning::KeyReadable { path: key.to_path_buf(), mode });
        }
    }
}

/// The names one by one; a comma inside one is encoded.
pub(super) fn alternative_texts(facts: &CertificateFacts) -> Vec<String> {
    facts.san_text().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

pub(super) fn refuse_existing(places: &[&PathBuf], overwrite: Overwrite) -> Result<(), Error> {
    for place in places {
        // A link that leads nowhere is in the way, too.
        let Ok(metadata) = place.symlink_metadata() else { continue };
        if metadata.is_dir() {
            return Err(Error::io("replace", place)(std::io::ErrorKind::IsADirectory.into()));
        }
        if overwrite == Overwrite::Refuse {
            return Err(Error::Exists { path: place.to_path_buf() });
        }
    }
    Ok(())
}

/// Clients compare the alternative names; the common name is for people. A DNS name may be longer than a common name,
/// and an address is none: OpenSSL takes one there for a host that a CA with name constraints may not name.
pub fn server_common_name(names: &[SubjectAltName]) -> AttributeText {
    let text = |name: &SubjectAltName| match name {
        SubjectAltName::Dns(name) => name.parse().ok(),
        SubjectAltName::Ip(_) | SubjectAltName::Uri(_) | SubjectAltName::Email(_) => None,
    };
    names.iter().find_map(text).unwrap_or_else(AttributeText::gateway)
}
