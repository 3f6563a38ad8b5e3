//! The index: every certificate that was ever issued, whatever became of its file.
//!
//! It is written before the files are put in their places (see `folder`), so a certificate that exists is in it. What
//! it states is only what does not change by itself: whether a certificate has expired, or whether its file holds
//! another one by now, is found out when somebody asks (see `inventory`).

use serde::{Deserialize, Serialize};

use super::crl::{RevocationReason, Revoked};
use super::dates;
use crate::clock::WallTime;

/// The only version there is. A file with another one was written by a later program, and is left alone.
const VERSION: u32 = 1;

/// An index that cannot be used. Each text goes on after the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum LedgerProblem {
    /// Not JSON, or not this JSON.
    #[error("is garbled: {0}; nothing was changed. Put back a copy of it before you go on")]
    Garbled(serde_json::Error),
    /// From a later program.
    #[error("has version {0} and this program knows version 1; nothing was changed. Use the program that wrote it")]
    Version(u64),
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The CA itself.
    #[serde(rename = "ca")]
    Authority,
    /// A CA below it.
    Intermediate,
    /// The gateway's own.
    Server,
    /// A client's.
    Client,
}

impl Kind {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "ca",
            Self::Intermediate => "intermediate",
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// What was decided about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    Valid,
    Revoked,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) serial: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) subject: String,
    pub(super) subject_alt_names: Vec<String>,
    #[serde(with = "dates::as_text")]
    pub(super) not_before: WallTime,
    #[serde(with = "dates::as_text")]
    pub(super) not_after: WallTime,
    /// Of the DER, lower-case hex: which certificate this is, beyond doubt.
    pub(super) sha256: String,
    /// Which CA issued it, lower-case hex: after `init --force` the folder has another.
    pub(super) authority_key_id: String,
    /// Where it was written, relative to the folder.
    pub(super) file: String,
    pub(super) state: Standing,
    #[serde(with = "dates::as_optional_text")]
    pub(super) revoked_at: Option<WallTime>,
    pub(super) revocation_reason: Option<String>,
}

/// The index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    version: u32,
    /// The number of the last CRL (RFC 5280 section 5.2.3): it only ever grows.
    pub(super) crl_number: u64,
    pub(super) certificates: Vec<Entry>,
}

impl Ledger {
    pub(super) fn empty() -> Self {
        Self { version: VERSION, crl_number: 0, certificates: Vec::new() }
    }

    /// # Errors
    /// When it is not an index, or one of a later version; the version is looked at first, so that a later program's
    /// file is not called garbled.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, LedgerProblem> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let versioned: Versioned = serde_json::from_slice(bytes).map_err(LedgerProblem::Garbled)?;
        if versioned.version != u64::from(VERSION) {
            return Err(LedgerProblem::Version(versioned.version));
        }
        let ledger: Self = serde_json::from_slice(bytes).map_err(LedgerProblem::Garbled)?;
        match ledger.certificates.iter().find(|entry| from_hex(&entry.serial).is_none()) {
            // It would be left out of the next CRL, and be unrevoked by that.
            Some(entry) => {
                let message = format!("the serial {:?} is not hexadecimal", entry.serial);
                Err(LedgerProblem::Garbled(serde::de::Error::custom(message)))
            }
            None => Ok(ledger),
        }
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    pub(super) fn has(&self, sha256: &str) -> bool {
        self.certificates.iter().any(|entry| entry.sha256 == sha256)
    }

    /// What the CA with this key identifier has revoked.
    pub(super) fn revoked_by<'a>(&'a self, authority_key_id: &'a str) -> impl Iterator<Item = Revoked> + 'a {
        self.certificates
            .iter()
            .filter(move |entry| entry.state == Standing::Revoked && entry.authority_key_id == authority_key_id)
            .filter_map(|entry| {
                Some(Revoked {
                    serial: from_hex(&entry.serial)?,
                    at: entry.revoked_at.unwrap_or(entry.not_before),
                    reason: entry.revocation_reason.as_deref().and_then(RevocationReason::from_word),
                    invalid_since: None,
                })
            })
    }
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return None;
    }
    // `from_str_radix` alone would take "+1".
    let digits = |pair: &[u8; 2]| pair.iter().all(u8::is_ascii_hexdigit).then_some(*pair);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(&digits(pair)?).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            serial: "0AFF".to_owned(),
            name: "client-1".to_owned(),
            kind: Kind::Client,
            subject: "CN=client-1".to_owned(),
            subject_alt_names: vec!["DNS:client-1".to_owned()],
            not_before: WallTime::from_unix_seconds(1_000_000_000),
            not_after: WallTime::from_unix_seconds(2_000_000_000),
            sha256: "ab".to_owned(),
            authority_key_id: "cd".to_owned(),
            file: "clients/client-1.crt".to_owned(),
            state: Standing::Revoked,
            revoked_at: Some(WallTime::from_unix_seconds(1_500_000_000)),
            revocation_reason: Some("key-compromise".to_owned()),
        }
    }

    #[test]
    fn an_index_reads_back_as_it_was_written() {
        let mut valid = entry();
        (valid.state, valid.revoked_at, valid.revocation_reason) = (Standing::Valid, None, None);
        let ledger = Ledger { certificates: vec![entry(), valid], crl_number: 7, ..Ledger::empty() };
        let json = ledger.to_json().unwrap();
        assert_eq!(Ledger::parse(&json).unwrap(), ledger);
        let text = String::from_utf8(json).unwrap();
        for shown in ["\"version\": 1", "\"kind\": \"client\"", "\"not_after\": \"2033-05-18T03:33:20Z\"", "null"] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
    }

    #[test]
    fn a_later_version_is_refused_by_name_and_garbage_as_garbage() {
        let later = br#"{"version": 2, "entries": {}}"#;
        assert!(matches!(Ledger::parse(later), Err(LedgerProblem::Version(2))));
        let unknown = br#"{"version": 1, "crl_number": 1, "certificates": [], "more": 1}"#;
        for garbled in [&b""[..], b"{", b"[]", b"{}", b"{\"version\": \"1\"}", b"{\"version\": -1}", unknown] {
            assert!(matches!(Ledger::parse(garbled), Err(LedgerProblem::Garbled(_))));
        }
    }

    #[test]
    fn revocations_are_those_of_the_ca_that_asks() {
        let ledger = Ledger { certificates: vec![entry()], ..Ledger::empty() };
        let revoked: Vec<_> = ledger.revoked_by("cd").collect();
        assert_eq!(revoked.len(), 1);
        assert_eq!(revoked[0].serial, [0x0a, 0xff]);
        assert_eq!(revoked[0].reason, Some(RevocationReason::KeyCompromise));
        assert_eq!(ledger.revoked_by("ef").count(), 0);
    }
}
