//! What can go wrong in the folder. Every message names the file, says what became of it, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::authority::AuthorityProblem;
use super::crl::CrlProblem;
use super::keyfile::KeyProblem;
use super::ledger::LedgerProblem;

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
    /// Another command works in the folder.
    #[error("{} has been held by another gateway certs command for {seconds} s. Wait for it to end and try again", .path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long was waited, in seconds.
        seconds: u64,
    },
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

impl Error {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
