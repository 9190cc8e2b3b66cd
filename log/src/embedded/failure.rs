//! The engine's stop switch.
//!
//! After a failed write or sync nobody knows what the disk holds, and trying again may report success for data that is
//! gone (the kernel marks pages clean after a failed sync). So the first such failure is final: every later append,
//! commit and sync fails with it, nothing unsynced is acknowledged, reads go on, and opening the log again finds out
//! what is there.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::LogError;
use crate::error::{CLOSED, Cause, DISK_FAILED, DISK_FULL, says_full};

/// Holds the first failure, and wakes those who wait.
pub(super) struct StopSwitch {
    first: OnceLock<LogError>,
    thrown: watch::Sender<bool>,
}

impl StopSwitch {
    pub(super) fn new() -> Self {
        Self { first: OnceLock::new(), thrown: watch::Sender::new(false) }
    }

    /// Fails when the engine has stopped.
    pub(super) fn check(&self) -> Result<(), LogError> {
        self.first.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Stops the engine because of this failure and returns the one that everybody is told: the first.
    pub(super) fn stop(&self, directory: &Path, error: fjall::Error) -> LogError {
        let failure = self.first.get_or_init(|| {
            let cause = find_cause(directory, error);
            let remedy = if says_full(cause.as_ref()) { DISK_FULL } else { DISK_FAILED };
            tracing::error!(error = %cause, remedy, "the log stopped accepting writes");
            LogError::Stopped { remedy, source: cause }
        });
        self.thrown.send_replace(true);
        failure.clone()
    }

    /// Stops the engine because its owner closes it; a failure before it stays the one that is told.
    pub(super) fn close(&self) {
        self.first.get_or_init(|| LogError::Stopped {
            remedy: CLOSED,
            source: Arc::new(io::Error::other("the owner dropped it")),
        });
        self.thrown.send_replace(true);
    }

    /// Turns true when the engine stops.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.thrown.subscribe()
    }
}

/// The store says only "poisoned" when one of its background threads failed. Trying to write a little next to it finds
/// the reason where it is a lasting one, such as a full disk.
fn find_cause(directory: &Path, error: fjall::Error) -> Cause {
    match error {
        fjall::Error::Poisoned => match probe(directory) {
            Err(cause) => Arc::new(cause),
            Ok(()) => Arc::new(fjall::Error::Poisoned),
        },
        other => Arc::new(other),
    }
}

fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join("probe.tmp");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0x5a; 4 << 20])?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

/// A failed read of something that is not a record.
pub(super) fn read_failed(what: String, error: fjall::Error) -> LogError {
    LogError::Read { what, source: Arc::new(error) }
}
