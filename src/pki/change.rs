//! How files of the folder change without ever being half changed.
//!
//! One command at a time works in it (a lock on `.lock`). It changes files in four steps, each of them on disk before
//! the next begins:
//!
//! 1. the new files are written beside their places, as `.NAME.staged`;
//! 2. `index.json` is replaced: this is the moment at which it counts as done;
//! 3. the staged files are renamed into their places, a key before its certificate;
//! 4. only then is anything reported.
//!
//! So whenever the process is killed, every certificate that lies in the folder is in the index, and a pair of key and
//! certificate that a forced run began to replace is whole again after the next command: [`Locked::recover`] finishes
//! step 3 for what the index knows and throws away what it does not.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::crl::Present;
use super::error::Error;
use super::folder::Folder;
use super::ledger::Ledger;
use super::verify::certificates;
use crate::identity::{hex_lower, sha256};

const STAGED: &str = ".staged";

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// 0600: keys.
    Owner,
    /// 0644, whatever the umask: certificates are shown to every peer, and the gateway often runs as another user than
    /// the one who issues.
    Everybody,
}

impl Access {
    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

/// The folder while nobody else changes it.
#[derive(Debug)]
pub(super) struct Locked<'f> {
    folder: &'f Folder,
    /// Dropping it lets the next command in.
    _lock: File,
}

impl<'f> Locked<'f> {
    /// `lock` is held for as long as this lives.
    pub(super) fn new(folder: &'f Folder, lock: File) -> Self {
        Self { folder, _lock: lock }
    }

    /// Ends what a killed command began. Returns the files that it put in their places.
    pub(super) fn recover(&self, ledger: &Ledger) -> Result<Vec<PathBuf>, Error> {
        let mut staged: Vec<PathBuf> = Vec::new();
        for directory in [self.folder.root().to_path_buf(), self.folder.clients()] {
            staged.extend(staged_files(&directory)?);
        }
        let mut recovered = Vec::new();
        for path in staged.iter().filter(|path| is_known(path, ledger)) {
            for staged in key_beside(path).iter().chain([path]).filter(|staged| staged.exists()) {
                let place = place_of(staged);
                rename(staged, &place)?;
                recovered.push(place);
            }
        }
        for path in staged.iter().filter(|path| path.exists()) {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
        }
        Ok(recovered)
    }

    /// Begins a change.
    pub(super) fn change(&self) -> Change<'f> {
        Change { folder: self.folder, staged: Vec::new(), together: false }
    }
}

/// Files that will be replaced together, or not at all.
#[derive(Debug)]
pub(super) struct Change<'f> {
    folder: &'f Folder,
    staged: Vec<PathBuf>,
    /// Whether the staged files are put on disk with one call for all of them.
    together: bool,
}

impl Change<'_> {
    /// For thousands of files, each of which would wait for the disk.
    pub(super) fn synchronize_together(&mut self) {
        self.together = true;
    }

    /// Step 1.
    pub(super) fn stage(&mut self, path: &Path, bytes: &[u8], access: Access) -> Result<(), Error> {
        let staged = staging_of(path);
        self.staged.push(staged.clone());
        write(&staged, bytes, access, !self.together)
    }

    /// Steps 2 and 3. After an error in step 3 the next command goes on.
    pub(super) fn commit(mut self, ledger: &Ledger) -> Result<(), Error> {
        let index = self.folder.index();
        let staged_index = staging_of(&index);
        let json = ledger.to_json().map_err(io::Error::from).map_err(Error::io("write", &index))?;
        if self.together {
            for directory in directories(&self.staged) {
                let synchronized = File::open(directory).and_then(|file| Ok(rustix::fs::syncfs(file)?));
                synchronized.map_err(Error::io("synchronise", directory))?;
            }
        }
        let directories_changed: Vec<PathBuf> = directories(&self.staged)
            .into_iter()
            .map(Path::to_path_buf)
            .chain([self.folder.root().to_path_buf()])
            .collect();
        self.staged.push(staged_index.clone());
        write(&staged_index, &json, Access::Everybody, true)?;
        for directory in &directories_changed {
            synchronize(directory)?;
        }
        rename(&staged_index, &index)?;
        // From here on the files belong to the index, and are not to be thrown away.
        let staged = std::mem::take(&mut self.staged);
        let files = staged.into_iter().filter(|path| *path != staged_index);
        // A key comes before its certificate: a staged certificate is how the next command finds a staged key.
        let (keys, others): (Vec<_>, Vec<_>) = files.partition(|path| is_key(&place_of(path)));
        for files in [keys, others] {
            for staged in &files {
                let place = place_of(staged);
                fs::rename(staged, &place).map_err(Error::io("replace", &place))?;
            }
            directories(&files).into_iter().try_for_each(synchronize)?;
        }
        Ok(())
    }
}

impl Drop for Change<'_> {
    /// What was staged and not committed goes away with the error that prevented it.
    fn drop(&mut self) {
        for path in &self.staged {
            let _ = fs::remove_file(path);
        }
    }
}

fn is_key(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "key")
}

/// Where these files lie.
fn directories(files: &[PathBuf]) -> Vec<&Path> {
    let mut directories: Vec<_> = files.iter().filter_map(|path| path.parent()).collect();
    directories.sort();
    directories.dedup();
    directories
}

/// Whether the index knows what lies staged here. A key is known by its certificate, which stays behind longer.
fn is_known(staged: &Path, ledger: &Ledger) -> bool {
    let Ok(Some(bytes)) = Folder::read(staged) else { return false };
    match place_of(staged).extension().and_then(|extension| extension.to_str()) {
        Some("crt") => certificates(&bytes)
            .ok()
            .and_then(|chain| chain.first().map(|der| ledger.has(&hex_lower(&sha256(der)))))
            .unwrap_or(false),
        Some("crl") => Present::read_all(&bytes)
            .is_ok_and(|lists| !lists.is_empty() && lists.iter().all(|list| list.number <= ledger.crl_number)),
        _ => false,
    }
}

/// Where the key of a staged certificate is staged.
fn key_beside(staged: &Path) -> Option<PathBuf> {
    let place = place_of(staged);
    let stem = place.file_name()?.to_str()?.strip_suffix(".crt")?;
    Some(staging_of(&place.with_file_name(format!("{stem}.key"))))
}

fn staged_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", directory)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') && name.ends_with(STAGED) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn staging_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{STAGED}"))
}

fn place_of(staged: &Path) -> PathBuf {
    let name = staged.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_prefix('.').unwrap_or(&name);
    staged.with_file_name(name.strip_suffix(STAGED).unwrap_or(name))
}

/// `create_new`, so that nobody's link is followed and the mode holds from the first byte on.
fn write(path: &Path, bytes: &[u8], access: Access, synchronized: bool) -> Result<(), Error> {
    let failed = |error| Error::io("write", path)(error);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(access.mode())
        .open(path)
        .map_err(Error::io("create", path))?;
    file.set_permissions(Permissions::from_mode(access.mode())).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if synchronized { file.sync_all().map_err(failed) } else { Ok(()) }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("replace", to))?;
    to.parent().map_or(Ok(()), synchronize)
}

/// A name that is not on disk is not there after a power cut, however safe the file's bytes are.
pub(super) fn synchronize(directory: &Path) -> Result<(), Error> {
    // The parent of a bare file name is the empty path.
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory).and_then(|file| file.sync_all()).map_err(Error::io("synchronise", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_hides_a_file_beside_its_place() {
        let cases = [
            ("certs/ca.crl", "certs/.ca.crl.staged", None),
            ("certs/clients/a.crt", "certs/clients/.a.crt.staged", Some("certs/clients/.a.key.staged")),
            ("a/x.crt.staged.crt", "a/.x.crt.staged.crt.staged", Some("a/.x.crt.staged.key.staged")),
        ];
        for (place, staged, key) in cases {
            assert_eq!(staging_of(Path::new(place)), Path::new(staged));
            assert_eq!(place_of(Path::new(staged)), Path::new(place));
            assert_eq!(key_beside(Path::new(staged)).as_deref(), key.map(Path::new));
        }
    }

    #[test]
    fn a_change_that_is_not_committed_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::new(directory.path().to_path_buf());
        let locked = folder.lock().unwrap();
        let mut change = locked.change();
        change.stage(&folder.server_key(), b"key", Access::Owner).unwrap();
        assert_eq!(staged_files(folder.root()).unwrap().len(), 1);
        drop(change);
        assert_eq!(fs::read_dir(folder.root()).unwrap().count(), 1, "only the lock");
    }

    #[test]
    fn what_is_committed_is_there_with_its_mode_and_the_index() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::new(directory.path().to_path_buf());
        let locked = folder.lock().unwrap();
        let mut change = locked.change();
        change.stage(&folder.server_key(), b"key", Access::Owner).unwrap();
        change.stage(&folder.server_certificate(), b"certificate", Access::Everybody).unwrap();
        change.commit(&Ledger::empty()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.server_key()), 0o600);
        assert_eq!(mode(&folder.server_certificate()), 0o644);
        assert_eq!(folder.read_ledger().unwrap(), Some(Ledger::empty()));
        assert!(staged_files(folder.root()).unwrap().is_empty());
    }
}
