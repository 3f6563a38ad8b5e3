//! Everything a gateway needs to start, in one go: what is missing is made, what is good is kept, what ends soon is
//! issued anew. For one-shot containers and provisioning, which run the same command every time.

use std::path::{Path, PathBuf};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::Error;
use super::folder::Folder;
use super::inventory::{Inventory, Row, State};
use super::keyfile::PrivateKey;
use super::ledger::Kind;
use super::request::{AuthorityRequest, ClientRequest, Issued, Overwrite, ServerRequest};
use super::store::Store;
use super::verify::certificates;
use crate::clock::WallTime;
use crate::identity::{CertificateFacts, SubjectAltName};

/// What there shall be.
#[derive(Debug, Clone)]
pub struct BootstrapRequest {
    /// Made only when there is none: a CA is never replaced here.
    pub authority: AuthorityRequest,
    /// The server's certificate.
    pub server: ServerRequest,
    /// The clients' certificates.
    pub clients: Vec<ClientRequest>,
    /// Issue the server's and the clients' certificates even if those there are good.
    pub renew: bool,
}

/// What became of one certificate.
#[derive(Debug)]
pub enum Step {
    /// It was made.
    Issued {
        /// The certificate and its files.
        issued: Issued,
        /// Why.
        why: Cause,
    },
    /// The one there is good.
    Kept {
        /// What it is.
        kind: Kind,
        /// Where it lies.
        certificate: PathBuf,
        /// Where its key lies.
        key: PathBuf,
        /// What it says.
        facts: Box<CertificateFacts>,
    },
}

/// Why a certificate was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There was none.
    Missing,
    /// It was asked for.
    Asked,
    /// Less than a third of its life was left.
    EndsSoon,
    /// It had expired, been revoked, or come from a CA that is no longer here.
    NotValid,
    /// It was for other names.
    OtherNames,
    /// Its key was missing or another one's.
    KeyMismatch,
}

impl Cause {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Asked => "asked",
            Self::EndsSoon => "ends_soon",
            Self::NotValid => "not_valid",
            Self::OtherNames => "other_names",
            Self::KeyMismatch => "key_mismatch",
        }
    }
}

/// One of the pairs that are looked at.
struct Place<'a> {
    kind: Kind,
    certificate: PathBuf,
    key: PathBuf,
    /// The names it shall have.
    names: &'a [SubjectAltName],
}

impl Store {
    /// Makes what `request` names and is not there, and issues anew what is no longer good or ends soon. A CA that is
    /// there stays, whatever it is: it is what clients were given.
    ///
    /// # Errors
    /// When the CA is there and cannot be used, or the folder cannot be written. What was made before stays.
    pub fn bootstrap(&self, request: &BootstrapRequest) -> Result<Vec<Step>, Error> {
        let mut steps = vec![self.bootstrap_authority(&request.authority)?];
        let inventory = self.inventory()?;
        let folder = self.folder();

        let place = Place {
            kind: Kind::Server,
            certificate: folder.server_certificate(),
            key: folder.server_key(),
            names: &request.server.names,
        };
        steps.push(self.bootstrap_leaf(place, &inventory, request.renew, || {
            self.issue_server(&request.server, Overwrite::Replace)
        })?);
        for client in &request.clients {
            let place = Place {
                kind: Kind::Client,
                certificate: folder.client_certificate(&client.name),
                key: folder.client_key(&client.name),
                names: &client.names,
            };
            let issue = || self.issue_client(client, Overwrite::Replace);
            steps.push(self.bootstrap_leaf(place, &inventory, request.renew, issue)?);
        }
        Ok(steps)
    }

    fn bootstrap_authority(&self, request: &AuthorityRequest) -> Result<Step, Error> {
        let (certificate, key) = (self.folder().authority_certificate(), self.folder().authority_key());
        if !certificate.exists() {
            match self.init(request, Overwrite::Refuse) {
                Ok(issued) => return Ok(Step::Issued { issued, why: Cause::Missing }),
                // Another run made it in the meantime, or is about to. A lone key is in the way and stays so.
                Err(error @ Error::Exists { .. }) => {
                    drop(self.folder().lock()?);
                    if !certificate.exists() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let mut warnings = Vec::new();
        let authority = self.open_authority(self.now(), &mut warnings)?;
        let facts = Box::new(authority.facts().clone());
        Ok(Step::Kept { kind: Kind::Authority, certificate, key, facts })
    }

    fn bootstrap_leaf(
        &self,
        place: Place<'_>,
        inventory: &Inventory,
        renew: bool,
        issue: impl FnOnce() -> Result<Issued, Error>,
    ) -> Result<Step, Error> {
        let why = match present(&place)? {
            None => Cause::Missing,
            Some(_) if renew => Cause::Asked,
            Some(present) => match fault(&present, &place, inventory, self.now()) {
                Some(cause) => cause,
                None => {
                    let Place { kind, certificate, key, .. } = place;
                    return Ok(Step::Kept { kind, certificate, key, facts: Box::new(present.facts) });
                }
            },
        };
        Ok(Step::Issued { issued: issue()?, why })
    }
}

/// A pair as it lies there.
struct Present {
    facts: CertificateFacts,
    key_matches: bool,
}

/// `None` when there is no certificate in the file that could be read.
fn present(place: &Place<'_>) -> Result<Option<Present>, Error> {
    let Some(bytes) = Folder::read(&place.certificate)? else { return Ok(None) };
    let Some(der) = certificates(&bytes).ok().and_then(|chain| chain.into_iter().next()) else { return Ok(None) };
    let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return Ok(None) };
    let public = parsed.public_key().subject_public_key.data.as_ref();
    let key_matches = read_key(&place.key)?.is_some_and(|key| key.public_bits() == public);
    Ok(Some(Present { facts: CertificateFacts::from_parsed(&parsed, &der), key_matches }))
}

fn read_key(path: &Path) -> Result<Option<PrivateKey>, Error> {
    let bytes = Folder::read(path)?.map(zeroize::Zeroizing::new);
    Ok(bytes.and_then(|bytes| PrivateKey::from_pem(&bytes).ok()))
}

/// Why the pair is not good enough to be kept.
fn fault(present: &Present, place: &Place<'_>, inventory: &Inventory, now: WallTime) -> Option<Cause> {
    let facts = &present.facts;
    let row = |row: &&Row| row.kind == place.kind && row.sha256 == facts.sha256;
    let good = |row: &Row| matches!(row.state, State::Valid | State::Unrecorded);
    if !inventory.rows.iter().find(row).is_some_and(good) {
        return Some(Cause::NotValid);
    }
    if !present.key_matches {
        return Some(Cause::KeyMismatch);
    }
    let among = |names: &[SubjectAltName], name| names.contains(name);
    if !place.names.iter().all(|name| among(&facts.subject_alt_names, name))
        || !facts.subject_alt_names.iter().all(|name| among(place.names, name))
    {
        return Some(Cause::OtherNames);
    }
    let life = facts.not_after.unix_seconds().saturating_sub(facts.not_before.unix_seconds());
    let left = facts.not_after.unix_seconds().saturating_sub(now.unix_seconds());
    (left < life / 3).then_some(Cause::EndsSoon)
}
