//! Noticing that files of the configuration have changed, by looking at them twice a second.
//!
//! The kernel's notifications watch directories, and each way of replacing a file (write, rename, Kubernetes' symbolic
//! link `..data`, a network file system that tells nothing) would be another case. A look asks for inode, size and time
//! of what a path leads to, through all links: a handful of system calls, on a thread that may block.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Command;
use crate::config::Config;
use crate::tls::UpstreamSettings;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A file that is being written, or one of several, changes again: so long without another change is an end.
const SETTLE: Duration = Duration::from_millis(100);
/// Looks that wait for it. Who never stops writing is read all the same.
const MOST_LOOKS: usize = 8;

/// Every file that a configuration names.
pub(super) fn files(config: &Config) -> Vec<PathBuf> {
    let upstreams = config.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref());
    upstreams.flat_map(UpstreamSettings::files).chain(config.tls.files()).collect()
}

/// The configuration file, as it was before it was read.
#[derive(Debug)]
pub struct ConfigFile {
    pub(super) path: Option<PathBuf>,
    pub(super) look: Look,
}

impl ConfigFile {
    /// Looks at the file, if there is one.
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { look: Look::at(path.clone()), path }
    }
}

/// Files, as they were at a look. A file that is not there is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Look(Vec<(PathBuf, Option<Stamp>)>);

/// What is other when a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Look {
    /// Looks at these files.
    pub(super) fn at(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().map(|file| (Stamp::of(&file), file)).map(|(stamp, file)| (file, stamp)).collect())
    }

    /// Both.
    #[must_use]
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn again(&self) -> Self {
        Self::at(self.0.iter().map(|(file, _)| file.clone()))
    }

    /// The files that are not as they were.
    fn changed_since(&self, before: &Self) -> Vec<PathBuf> {
        let changed = self.0.iter().filter(|seen| !before.0.contains(seen));
        changed.map(|(file, _)| file.clone()).collect()
    }
}

impl Stamp {
    fn of(file: &PathBuf) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// Tells the gateway of changes until it ends. `known` is what the files were when they were read last.
pub(super) async fn watch(known: watch::Receiver<Arc<Look>>, commands: mpsc::Sender<Command>) {
    loop {
        sleep(LOOK_EVERY).await;
        // The gateway has ended.
        if known.has_changed().is_err() {
            return;
        }
        let before = Arc::clone(&known.borrow());
        let Some(mut now) = look_again(&before).await else { return };
        if now == *before {
            continue;
        }
        for _ in 0..MOST_LOOKS {
            sleep(SETTLE).await;
            let Some(later) = look_again(&before).await else { return };
            if std::mem::replace(&mut now, later) == now {
                break;
            }
        }
        // Somebody else may have asked for a reload meanwhile.
        let changed = now.changed_since(&Arc::clone(&known.borrow()));
        if changed.is_empty() {
            continue;
        }
        let (reply, done) = oneshot::channel();
        if commands.send(Command::FilesChanged(changed, reply)).await.is_err() || done.await.is_err() {
            return;
        }
    }
}

/// `None` when the runtime ends.
async fn look_again(before: &Arc<Look>) -> Option<Look> {
    let before = Arc::clone(before);
    spawn_blocking(move || before.again()).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_replacing_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("ca.crl"), "same length").unwrap();
        }
        std::os::unix::fs::symlink("1", path("..data")).unwrap();
        std::os::unix::fs::symlink("..data/ca.crl", path("ca.crl")).unwrap();
        fs::write(path("plain"), "a").unwrap();
        let mut before = Look::at([path("ca.crl"), path("plain"), path("later")]);
        let mut changes = |what: &str, expected: &[&str]| {
            let now = before.again();
            let changed = now.changed_since(&before);
            assert_eq!(changed, expected.iter().map(|name| path(name)).collect::<Vec<_>>(), "{what}");
            before = now;
        };
        changes("nothing", &[]);
        std::os::unix::fs::symlink("2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        changes("as Kubernetes does it", &["ca.crl"]);
        fs::write(path("plain"), "ab").unwrap();
        changes("written over", &["plain"]);
        fs::write(path("new"), "cd").unwrap();
        fs::rename(path("new"), path("plain")).unwrap();
        changes("renamed over", &["plain"]);
        fs::write(path("later"), "").unwrap();
        changes("made", &["later"]);
        fs::remove_file(path("later")).unwrap();
        changes("removed", &["later"]);
        changes("nothing", &[]);
    }
}
