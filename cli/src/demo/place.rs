//! The data directory of the demo.

use std::path::PathBuf;

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Where the data is. A temporary directory is removed when this is dropped.
pub(super) enum Place {
    /// Stays.
    Kept(PathBuf),
    /// Goes.
    Temporary(TempDir),
}

impl Place {
    /// The directory that is asked for, which must be new, or a temporary one.
    pub(super) fn of(data: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(dir) = data else {
            let dir =
                TempDir::with_prefix("streambook-demo-").context("cannot make a temporary directory")?;
            return Ok(Self::Temporary(dir));
        };
        if dir.join("log").exists() {
            bail!(
                "{} holds a Streambook already, and its chain ended with the demo that made it: name a new directory, \
                 or look into this one with `streambook verify --data` and `streambook topics --data`",
                dir.display()
            );
        }
        Ok(Self::Kept(dir))
    }

    /// Its path.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Kept(dir) => dir.clone(),
            Self::Temporary(dir) => dir.path().to_owned(),
        }
    }
}
