//! The directory a benchmark works in: a throw-away one, or a new one where the operator wants the disk to be measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Where a benchmark writes. What it made is deleted when this is dropped.
pub(crate) struct Directory(TempDir);

impl Directory {
    /// A new directory below `parent`, which must exist, or below the system's directory for temporary files.
    pub(crate) fn below(parent: Option<&PathBuf>) -> anyhow::Result<Self> {
        let builder = |parent: &Path| tempfile::Builder::new().prefix("streambook-bench-").tempdir_in(parent);
        let made = match parent {
            Some(parent) if !parent.is_dir() => {
                bail!("--data {}: there is no such directory", parent.display())
            }
            Some(parent) => builder(parent),
            None => builder(&std::env::temp_dir()),
        };
        Ok(Self(made.context("cannot make a directory to measure in")?))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Bytes of all files below a directory. Files that vanish meanwhile, as a store's do, count as nothing.
pub(super) fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}
