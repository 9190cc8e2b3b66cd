//! Where the socket is: in the data directory, open to its owner only.
//!
//! A socket's address holds about a hundred bytes, which the path of a directory may exceed. The directory is therefore
//! opened, and the socket addressed through the descriptor.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// Its name in the data directory.
const NAME: &str = "control.sock";
/// The longest path that every system takes as a socket's address.
const LONGEST: usize = 100;

/// The socket's path, and a shorter one to the same file.
pub(super) struct Place {
    path: PathBuf,
    /// Keeps the shorter path right.
    directory: Option<File>,
}

impl Place {
    /// In this data directory.
    pub(super) fn of(data: &Path) -> io::Result<Self> {
        let path = data.join(NAME);
        let directory = (path.as_os_str().len() > LONGEST).then(|| File::open(data)).transpose()?;
        Ok(Self { path, directory })
    }

    /// The path that people know.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path to bind and to connect to.
    pub(super) fn address(&self) -> PathBuf {
        match &self.directory {
            Some(directory) => PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd())),
            None => self.path.clone(),
        }
    }
}
