//! A tree of another system, with this run's folder bound into it under the same path.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unbound when this is dropped.
#[derive(Debug)]
pub(crate) struct Tree {
    bound: PathBuf,
}

impl Tree {
    pub(crate) fn enter(root: &Path, run: &Path) -> Self {
        let bound = root.join(run.strip_prefix("/").unwrap());
        fs::create_dir_all(&bound).unwrap();
        let status = Command::new("mount").arg("--bind").args([run, &bound]).status().unwrap();
        assert!(status.success(), "the run's folder cannot be bound into {}", root.display());
        Self { bound }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.bound).status();
        let _ = fs::remove_dir(&self.bound);
    }
}
