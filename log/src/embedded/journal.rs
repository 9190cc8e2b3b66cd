//! Syncing the store's journal without holding up its writers.
//!
//! The store's own sync keeps the journal locked while the disk works. Here the batches are handed to the operating
//! system as they are written, and this opens the newest journal file a second time and syncs it through that handle.
//! An older file needs no sync: the store syncs it before it starts the next one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The newest journal file of a store.
pub(super) struct ActiveJournal {
    directory: PathBuf,
    number: u64,
    file: File,
}

impl ActiveJournal {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let newest = list(directory)?.pop();
        let (number, path) = newest.ok_or_else(|| io::Error::other("the store has no journal"))?;
        Ok(Self { directory: directory.to_owned(), number, file: File::open(path)? })
    }

    /// Syncs everything that was handed to the operating system before the call.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        while path(&self.directory, self.number + 1).try_exists()? {
            self.file = File::open(path(&self.directory, self.number + 1))?;
            self.number += 1;
        }
        self.file.sync_data()
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number}.jnl"))
}

/// The journal files of a store, oldest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jnl")).and_then(|id| id.parse().ok());
        if let Some(number) = number {
            found.push((number, path(directory, number)));
        }
    }
    found.sort_unstable();
    Ok(found)
}
