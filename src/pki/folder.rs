//! The folder on disk: where things lie, reading them, and the lock that lets one command at a time work in it.
//!
//! How they change without ever being half changed is [`super::change`]'s.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::change::Locked;
use super::error::Error;
use super::ledger::Ledger;
use super::names::EntryName;

/// How long to wait for another command. Keys are made before the lock is taken, so it is held for
/// milliseconds, and for a second by a thousand clients.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Nothing that belongs here is larger; a device or a disk image given by mistake is not read to its end.
const LARGEST_FILE: u64 = 64 << 20;

/// The folder, not yet looked at.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn authority_certificate(&self) -> PathBuf {
        self.root.join("ca.crt")
    }

    pub(super) fn authority_key(&self) -> PathBuf {
        self.root.join("ca.key")
    }

    pub(super) fn crl(&self) -> PathBuf {
        self.root.join("ca.crl")
    }

    /// The CA before this one, while clients move over.
    pub(super) fn previous_certificate(&self) -> PathBuf {
        self.root.join("previous.crt")
    }

    pub(super) fn previous_key(&self) -> PathBuf {
        self.root.join("previous.key")
    }

    pub(super) fn server_certificate(&self) -> PathBuf {
        self.root.join("server.crt")
    }

    pub(super) fn server_key(&self) -> PathBuf {
        self.root.join("server.key")
    }

    pub(super) fn clients(&self) -> PathBuf {
        self.root.join("clients")
    }

    // Not `with_extension`: a name may have dots of its own.
    pub(super) fn client_certificate(&self, name: &EntryName) -> PathBuf {
        self.clients().join(format!("{name}.crt"))
    }

    pub(super) fn client_key(&self, name: &EntryName) -> PathBuf {
        self.clients().join(format!("{name}.key"))
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join("index.json")
    }

    /// The path as the index states it.
    pub(super) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Makes the folder if need be: 0755, because the gateway may run as another user and reads `ca.crt`, `ca.crl` and
    /// its own pair from here. What is secret in it guards itself.
    pub(super) fn create(&self) -> Result<(), Error> {
        create_directory(&self.root, 0o755)
    }

    /// Makes `clients/` if need be: 0700, because only who hands its contents out has business there.
    pub(super) fn create_clients(&self) -> Result<(), Error> {
        create_directory(&self.clients(), 0o700)
    }

    /// A file's contents, or `None` when there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(Error::io("read", path)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(Some(bytes))
    }

    /// The index, or `None` when there is none yet.
    pub(super) fn read_ledger(&self) -> Result<Option<Ledger>, Error> {
        let path = self.index();
        let Some(bytes) = Self::read(&path)? else { return Ok(None) };
        Ledger::parse(&bytes).map(Some).map_err(|problem| Error::Ledger { path, problem })
    }

    /// Waits for the lock, but not for ever.
    pub(super) fn lock(&self) -> Result<Locked<'_>, Error> {
        let path = self.root.join(".lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(Error::io("open", &path))?;
        let give_up = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Locked::new(self, file)),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => std::thread::sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Busy { path, seconds: LOCK_PATIENCE.as_secs() });
                }
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
        }
    }
}

fn create_directory(path: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(Error::io("create the folder", path))
}
