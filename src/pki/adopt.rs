//! Taking over a CA that another tool made: openssl, easy-rsa, step, cfssl.
//!
//! The certificate stays as it is, byte for byte; only the key's wrapping changes, to PKCS#8. What the CA revoked
//! before is carried over from its list, or it would be unrevoked by ours.

use super::authority::Authority;
use super::change::Access;
use super::crl::{self, CrlProblem, Present, Revoked};
use super::error::Error;
use super::folder::Folder;
use super::keyfile::PrivateKey;
use super::ledger::Kind;
use super::pem;
use super::request::{Issued, Overwrite, Warning};
use super::session::{LIST_DAYS, entry, next_number};
use super::signing::is_signed_by;
use super::store::{Store, refuse_existing};
use super::verify::certificates;
use crate::identity::hex_lower;

/// A CA from elsewhere, read and found sound.
#[derive(Debug)]
pub struct Adopted {
    authority: Authority,
    chain: String,
    revoked: Vec<Revoked>,
    number: u64,
    knows_list: bool,
}

impl Adopted {
    /// Reads a CA's certificate, or a bundle of it and those above it; `key` is the private key of one of them.
    ///
    /// # Errors
    /// When they are not a CA and its key.
    pub fn read(certificate: &[u8], key: PrivateKey) -> Result<Self, super::AuthorityProblem> {
        let bundle = certificates(certificate)?;
        let authority = Authority::assemble(&bundle, key)?;
        let mut chain = authority.pem();
        let above = bundle.iter().filter(|der| *der != authority.certificate());
        above.for_each(|der| chain.push_str(&pem::encode("CERTIFICATE", der)));
        Ok(Self { authority, chain, revoked: Vec::new(), number: 0, knows_list: false })
    }

    /// Takes over what the CA has revoked.
    ///
    /// # Errors
    /// When this is not a list that the CA signed.
    pub fn take_list(&mut self, bytes: &[u8]) -> Result<(), CrlProblem> {
        let blocks = pem::blocks(bytes).map_err(|_| CrlProblem::Garbled)?;
        let der = blocks.iter().find(|block| block.is_crl()).map_or(bytes, |block| block.der.as_slice());
        let list = Present::read(der)?;
        if list.issuer != self.authority.subject() || !is_signed_by(der, &self.authority.key().public_key_info()) {
            return Err(CrlProblem::Foreign);
        }
        (self.revoked, self.number, self.knows_list) = (list.revoked, list.number, true);
        Ok(())
    }
}

impl Store {
    /// Makes this CA the one in the folder.
    ///
    /// # Errors
    /// When one is there and may not be replaced, this one is out of its time, or the folder cannot be written.
    pub fn adopt(&self, adopted: Adopted, overwrite: Overwrite) -> Result<Issued, Error> {
        let Adopted { authority, chain, revoked, number, knows_list } = adopted;
        let folder = self.folder();
        let (certificate, key, crl) = (folder.authority_certificate(), folder.authority_key(), folder.crl());
        let places = [&certificate, &key, &crl];
        let now = self.now();
        let broken = |problem| Error::Authority { path: certificate.clone(), problem };
        self.refuse_rotation()?;
        authority.check_time(now).map_err(broken)?;
        refuse_existing(&places, overwrite)?;
        folder.create()?;
        let locked = folder.lock()?;
        let (mut ledger, mut warnings) = self.open_ledger(&locked)?;
        warnings.retain(|warning| !matches!(warning, Warning::NoLedger(_)));
        refuse_existing(&places, overwrite)?;

        let mut files = vec![certificate.clone(), key.clone()];
        let mut change = locked.change();
        change.stage(&key, authority.key().pem().as_bytes(), Access::Owner)?;
        if authority.signs_crls() {
            let present = Folder::read(&crl)?.and_then(|bytes| Present::read_all(&bytes).ok()).unwrap_or_default();
            let present = present.iter().map(|list| list.number).max().unwrap_or(0);
            ledger.crl_number = next_number(ledger.crl_number.max(present), number);
            let list = crl::sign(&authority, ledger.crl_number, &revoked, now, LIST_DAYS).map_err(broken)?;
            change.stage(&crl, list.as_bytes(), Access::Everybody)?;
            files.push(crl);
            if !knows_list {
                warnings.push(Warning::NothingRevoked);
            }
        } else {
            warnings.push(Warning::CannotSignCrl(crl));
        }
        change.stage(&certificate, chain.as_bytes(), Access::Everybody)?;
        let facts = authority.facts().clone();
        let key_id = hex_lower(authority.key_id());
        ledger.certificates.push(entry(Kind::Authority, "ca", &facts, key_id, folder.relative(&certificate)));
        change.commit(&ledger)?;
        Ok(Issued { kind: Kind::Authority, facts, certificate, key, files, warnings })
    }
}
