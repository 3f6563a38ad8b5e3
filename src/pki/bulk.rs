//! Many clients at once: thousands of certificates, one write of the index for each batch, and at any instant a folder
//! that the next run goes on with.
//!
//! A client whose certificate is there is passed over, so whoever was interrupted runs the same command again.

use super::change::Access;
use super::error::Error;
use super::keyfile::PrivateKey;
use super::ledger::Kind;
use super::profile::{LeafProfile, Usage};
use super::request::{ClientRequest, Overwrite, Warning};
use super::session::Lists;
use super::store::{Store, refuse_existing};

/// Certificates that enter the index together. More would be lost to a kill, fewer would write the index too often.
const BATCH: usize = 1000;

/// What became of many.
#[derive(Debug, Default)]
pub struct Bulk {
    /// The names that were issued.
    pub issued: Vec<String>,
    /// The names that were there.
    pub skipped: Vec<String>,
    /// What whoever asked ought to know.
    pub warnings: Vec<Warning>,
}

impl Store {
    /// Issues what is not there yet, and tells after each batch how many are done.
    ///
    /// # Errors
    /// As [`Self::issue_client`]. What was issued before stays, and the next run goes on from there.
    pub fn issue_clients(&self, requests: &[ClientRequest], mut progress: impl FnMut(usize)) -> Result<Bulk, Error> {
        self.require_authority()?;
        let mut bulk = Bulk::default();
        let there = |request: &ClientRequest| self.folder().client_certificate(&request.name).exists();
        // Only after a killed run is finished is it known what is there.
        bulk.warnings = self.begin()?.warnings;
        for batch in requests.chunks(BATCH) {
            let (skipped, wanted): (Vec<_>, Vec<_>) = batch.iter().partition(|request| there(request));
            bulk.skipped.extend(skipped.iter().map(|request| request.name.to_string()));
            if !wanted.is_empty() {
                self.issue_batch(&wanted, &mut bulk)?;
            }
            progress(bulk.issued.len() + bulk.skipped.len());
        }
        Ok(bulk)
    }

    fn issue_batch(&self, requests: &[&ClientRequest], bulk: &mut Bulk) -> Result<(), Error> {
        let folder = self.folder();
        let mut keys = Vec::with_capacity(requests.len());
        for request in requests {
            keys.push(PrivateKey::generate(request.key_type)?);
        }
        folder.create_clients()?;
        let mut session = self.begin()?;
        let mut change = session.change();
        change.synchronize_together();
        for (request, private_key) in requests.iter().zip(&keys) {
            let (certificate, key) = (folder.client_certificate(&request.name), folder.client_key(&request.name));
            // Another run may have been here since.
            if certificate.exists() {
                bulk.skipped.push(request.name.to_string());
                continue;
            }
            refuse_existing(&[&key], Overwrite::Refuse)?;
            let profile = LeafProfile {
                usage: Usage::Client,
                subject: request.subject.clone(),
                names: request.names.clone(),
                validity: request.validity,
            };
            let leaf = session.issue(&profile, private_key)?;
            session.record(Kind::Client, request.name.as_str(), &leaf.facts, folder.relative(&certificate));
            change.stage(&key, private_key.pem().as_bytes(), Access::Owner)?;
            change.stage(&certificate, leaf.pem.as_bytes(), Access::Everybody)?;
            bulk.issued.push(request.name.to_string());
        }
        session.stage_lists(Lists::AsNeeded, &mut change)?;
        change.commit(&session.ledger)?;
        for warning in session.warnings {
            if !bulk.warnings.contains(&warning) {
                bulk.warnings.push(warning);
            }
        }
        Ok(())
    }
}
