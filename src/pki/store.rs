//! What can be done in the folder: make the CA, issue for the server, issue for a client.
//!
//! Every command goes the same way: look whether it may, make the key (slow for RSA, so before the lock), lock, finish
//! what a killed command began, look again, sign, verify, commit.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::{Authority, AuthorityProblem, authority_key_id};
use super::crl::{self, CrlProblem, Present};
use super::error::Error;
use super::folder::{Access, Change, Folder, Locked};
use super::keyfile::{KeyType, PrivateKey};
use super::ledger::{Entry, Kind, Ledger, Standing};
use super::names::{AttributeText, Subject};
use super::profile::{LeafProfile, Usage};
use super::request::{AuthorityRequest, ClientRequest, Issued, Overwrite, ServerRequest, Warning};
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
        let previous = Folder::read(&crl)?.and_then(|bytes| Present::read(&bytes).ok()).map_or(0, |list| list.number);
        ledger.crl_number = next_number(ledger.crl_number, previous);
        let list = crl::sign(&authority, ledger.crl_number, &[], now).map_err(|problem| self.about(problem))?;
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

        let locked = folder.lock()?;
        let (mut ledger, mut warnings) = self.open_ledger(&locked)?;
        refuse_existing(&[&certificate, &key], overwrite)?;
        let now = self.clock.now();
        let authority = self.open_authority(now, &mut warnings)?;
        let leaf = authority.issue(profile, &private_key, now).map_err(|problem| self.about(problem))?;
        if leaf.cut_short {
            warnings.push(Warning::CutShort(leaf.facts.not_after));
        }
        let key_id = X509Certificate::from_der(&leaf.der).ok().and_then(|(_, parsed)| authority_key_id(&parsed));
        let key_id = hex_lower(&key_id.unwrap_or_default());
        ledger.certificates.push(entry(kind, name, &leaf.facts, key_id, folder.relative(&certificate)));

        if kind == Kind::Client {
            folder.create_clients()?;
        }
        let mut files = vec![certificate.clone(), key.clone()];
        let mut change = locked.change();
        change.stage(&key, private_key.pem().as_bytes(), Access::Owner)?;
        files.extend(self.renew_crl(&authority, &mut ledger, now, &mut change, &mut warnings)?);
        change.stage(&certificate, leaf.pem.as_bytes(), Access::Everybody)?;
        change.commit(&ledger)?;
        Ok(Issued { kind, facts: leaf.facts, certificate, key, files, warnings })
    }

    /// Stages a new revocation list when there is none, when the one there is has passed half its life, or when it
    /// does not list all that the index says was revoked.
    fn renew_crl(
        &self,
        authority: &Authority,
        ledger: &mut Ledger,
        now: WallTime,
        change: &mut Change<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<PathBuf>, Error> {
        let path = self.folder.crl();
        let refused = |problem| Error::Crl { path: path.clone(), problem };
        let present = Folder::read(&path)?.map(|bytes| Present::read(&bytes)).transpose().map_err(refused)?;
        if present.as_ref().is_some_and(|list| list.issuer != authority.subject()) {
            return Err(refused(CrlProblem::Foreign));
        }
        let (number, young, mut revoked) = match present {
            Some(list) => (list.number, !list.is_past_half_life(now), list.revoked),
            None => (0, false, Vec::new()),
        };
        let listed = revoked.len();
        for known in ledger.revoked_by(&hex_lower(authority.key_id())) {
            if revoked.iter().all(|entry| entry.serial != known.serial) {
                revoked.push(known);
            }
        }
        if young && revoked.len() == listed {
            return Ok(None);
        }
        if !authority.signs_crls() {
            warnings.push(Warning::CannotSignCrl(path));
            return Ok(None);
        }
        ledger.crl_number = next_number(ledger.crl_number, number);
        let list = crl::sign(authority, ledger.crl_number, &revoked, now).map_err(|problem| self.about(problem))?;
        change.stage(&path, list.as_bytes(), Access::Everybody)?;
        Ok(Some(path))
    }

    /// Before a key is made: seconds of waiting for RSA 4096 should not end in "there is no CA".
    fn require_authority(&self) -> Result<(), Error> {
        let (certificate, key) = (self.folder.authority_certificate(), self.folder.authority_key());
        if !certificate.exists() {
            return Err(Error::NoAuthority { path: certificate });
        }
        if !key.exists() {
            return Err(Error::NoAuthorityKey { path: key });
        }
        Ok(())
    }

    fn open_authority(&self, now: WallTime, warnings: &mut Vec<Warning>) -> Result<Authority, Error> {
        let (certificate, key) = (self.folder.authority_certificate(), self.folder.authority_key());
        let certificate_bytes = Folder::read(&certificate)?.ok_or(Error::NoAuthority { path: certificate })?;
        let key_bytes = Folder::read(&key)?.ok_or_else(|| Error::NoAuthorityKey { path: key.clone() })?;
        let key_bytes = zeroize::Zeroizing::new(key_bytes);
        if let Ok(metadata) = key.metadata() {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                warnings.push(Warning::KeyReadable { path: key, mode });
            }
        }
        let authority = Authority::load(&certificate_bytes, &key_bytes).map_err(|problem| self.about(problem))?;
        authority.check_time(now).map_err(|problem| self.about(problem))?;
        Ok(authority)
    }

    /// Reads the index, and ends what a killed command began.
    fn open_ledger(&self, locked: &Locked<'_>) -> Result<(Ledger, Vec<Warning>), Error> {
        let known = self.folder.read_ledger()?;
        let mut warnings = Vec::new();
        if known.is_none() && self.folder.authority_certificate().exists() {
            warnings.push(Warning::NoLedger(self.folder.index()));
        }
        let ledger = known.unwrap_or_else(Ledger::empty);
        warnings.extend(locked.recover(&ledger)?.into_iter().map(Warning::Recovered));
        Ok((ledger, warnings))
    }

    fn about(&self, problem: AuthorityProblem) -> Error {
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

fn entry(kind: Kind, name: &str, facts: &CertificateFacts, authority_key_id: String, file: String) -> Entry {
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

/// The names one by one; a comma inside one is encoded.
pub(super) fn alternative_texts(facts: &CertificateFacts) -> Vec<String> {
    facts.san_text().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn refuse_existing(places: &[&PathBuf], overwrite: Overwrite) -> Result<(), Error> {
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

/// RFC 5280 section 5.2.3: the number grows, whichever of the two places has the greater one.
fn next_number(in_ledger: u64, in_list: u64) -> u64 {
    in_ledger.max(in_list).saturating_add(1)
}

/// Clients compare the alternative names; the common name is for people. A DNS name may be longer than a common name.
fn server_common_name(names: &[SubjectAltName]) -> AttributeText {
    let text = |name: &SubjectAltName| match name {
        SubjectAltName::Dns(name) => name.parse().ok(),
        SubjectAltName::Ip(address) => address.to_string().parse().ok(),
        SubjectAltName::Uri(_) | SubjectAltName::Email(_) => None,
    };
    names.iter().find_map(text).unwrap_or_else(AttributeText::gateway)
}
