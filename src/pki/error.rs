//! What can go wrong in the folder. Every message names the file, says what became of it, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::crl::CrlProblem;
use super::csr::CsrProblem;
use super::keyfile::KeyProblem;
use super::ledger::LedgerProblem;
use super::problem::AuthorityProblem;

/// Why a command on the folder failed. Unless it says so, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would replace something.
    #[error("{} exists already and was not changed; --force replaces it", .path.display())]
    Exists {
        /// The file that is in the way.
        path: PathBuf,
    },
    /// There is no CA in the folder.
    #[error("there is no CA: {} is missing. Make one with: gateway certs init", .path.display())]
    NoAuthority {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The CA is there and its key is not.
    #[error("{} is missing, and nothing can be issued without the CA's key. Put it back", .path.display())]
    NoAuthorityKey {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The CA cannot be used.
    #[error("{} {problem}", .path.display())]
    Authority {
        /// The CA's certificate or key.
        path: PathBuf,
        /// What is wrong with it.
        problem: AuthorityProblem,
    },
    /// The index cannot be used.
    #[error("{} {problem}", .path.display())]
    Ledger {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: LedgerProblem,
    },
    /// The revocation list cannot be gone on with.
    #[error("{} {problem}", .path.display())]
    Crl {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        problem: CrlProblem,
    },
    /// What was named cannot be taken.
    #[error("{what} {problem}")]
    Choice {
        /// What was named.
        what: String,
        /// Why not.
        problem: ChoiceProblem,
    },
    /// Another command works in the folder.
    #[error("{} has been held by another gateway certs command for {seconds} s. Wait for it to end and try again", .path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// A signing request cannot be taken. The text goes on after the name of its file.
    #[error("{0}")]
    Request(CsrProblem),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] KeyProblem),
    /// The system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a certificate that was named cannot be taken. Each text goes on after what was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceProblem {
    /// Nothing of that name.
    #[error(
        "is no name and no serial number in the index, and no file; see: gateway certs list. A certificate that is not \
         in the index is known by its file"
    )]
    Unknown,
    /// Several kinds of certificate have that name.
    #[error("is the name of certificates of several kinds; say which by serial number, as gateway certs list shows it")]
    Ambiguous,
    /// It is the CA itself.
    #[error("is the CA itself, which cannot revoke itself: stop trusting it where it is trusted, and make another")]
    Root,
    /// Another CA issued it.
    #[error("was not issued by the CA in this folder, so its revocation list cannot name it")]
    Foreign,
    /// Its time is over.
    #[error("has expired, and nobody accepts it any more; to have it on the list all the same, give its serial number")]
    Expired,
    /// Nothing of that name in its place.
    #[error("is no name of a certificate in its place in the folder; see: gateway certs list")]
    NotFiled,
    /// A CA.
    #[error("is a CA, not a server or client; a CA gets a successor with: gateway certs rotate-ca")]
    NotLeaf,
    /// A CA is being replaced already.
    #[error("is being replaced already; see: gateway certs rotate-ca")]
    RotationUnderWay,
    /// No CA is being replaced.
    #[error("is not being replaced: no rotation is under way")]
    NoRotation,
    /// Not a root.
    #[error("stands below another CA: make a new one there, with gateway certs intermediate")]
    BelowAnother,
    /// Its successor would have no limits.
    #[error("has name constraints; say with --name-constraints which ones its successor gets")]
    Constrained,
    /// It was revoked.
    #[error("was revoked; --force renews it all the same")]
    Revoked,
    /// The key is not here.
    #[error("has no private key here, its owner has it; --reuse-key certifies the same public key again")]
    KeyElsewhere,
    /// The key is not here.
    #[error("has no private key here: its owner has it")]
    NoKey,
    /// A CA below this one, and another key is asked for.
    #[error("is a CA below this one and keeps its key, or nothing that it issued would be good any more")]
    KeepsKey,
    /// Names that would be lost.
    #[error("has alternative names of kinds that are not issued here, which would be lost")]
    UnknownNames,
    /// Not a certificate.
    #[error("holds no certificate, in PEM or DER")]
    NoCertificate,
}

impl Error {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
