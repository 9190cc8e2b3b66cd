//! A test's own directory: removed when the test passes, kept and named when it fails.

use std::path::Path;

use tempfile::TempDir;

/// A directory on the disk the build is on, since syncing to memory proves nothing.
pub(crate) struct Place(Option<TempDir>);

impl Place {
    /// A new, empty one.
    pub(crate) fn new() -> Self {
        let parent = env!("CARGO_TARGET_TMPDIR");
        std::fs::create_dir_all(parent).unwrap();
        Self::below(Path::new(parent))
    }

    /// A new, empty one in this directory.
    pub(crate) fn below(parent: &Path) -> Self {
        Self(Some(TempDir::with_prefix_in("e2e-", parent).unwrap()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(dir) = self.0.take().filter(|_| std::thread::panicking()) {
            eprintln!("kept for you to look at: {}", dir.keep().display());
        }
    }
}
