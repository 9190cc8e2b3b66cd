//! A temporary store for what a replay makes: the tasks' states, and indexes that would not fit into memory. It is removed
//! when it is dropped.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use streambook_log::embedded::{
    Clock, Commit, EmbeddedLog, EmbeddedOptions, Pair, StateKeyspace, StateWrite,
};
use streambook_model::position::Partition;
use streambook_runtime::store::TaskStore;

use super::report::VerifyFailure;

/// Writes that an index holds before they are stored.
const PENDING: usize = 4_096;
/// Nothing here outlives the process, so nothing has to be synced.
const NEVER: Duration = Duration::from_secs(24 * 3_600);

/// The store. It is closed before its directory is removed, since fields are dropped in order.
pub(crate) struct Scratch {
    log: Arc<EmbeddedLog>,
    _directory: tempfile::TempDir,
}

impl Scratch {
    /// A new one in the system's directory for temporary files.
    pub(crate) fn new() -> Result<Self, VerifyFailure> {
        Self::open(|options| options)
    }

    /// A new one, of which the records are stamped by this clock.
    pub(crate) fn stamped_by(clock: Clock) -> Result<Self, VerifyFailure> {
        Self::open(|options| EmbeddedOptions { clock, ..options })
    }

    fn open(set: impl FnOnce(EmbeddedOptions) -> EmbeddedOptions) -> Result<Self, VerifyFailure> {
        let directory = tempfile::Builder::new().prefix("streambook-verify-").tempdir();
        let directory = directory.map_err(VerifyFailure::Scratch)?;
        let options = EmbeddedOptions { sync_interval: NEVER, ..EmbeddedOptions::new(directory.path()) };
        let log = EmbeddedLog::open(set(options)).map_err(VerifyFailure::ScratchStore)?;
        Ok(Self { log, _directory: directory })
    }

    /// The store, which can hold records as well.
    pub(crate) const fn log(&self) -> &Arc<EmbeddedLog> {
        &self.log
    }

    /// An empty state for a replayed task.
    pub(crate) fn task(&self, processor: &str, partition: Partition) -> Result<TaskStore, VerifyFailure> {
        TaskStore::open(Arc::clone(&self.log), processor, partition).map_err(VerifyFailure::ScratchStore)
    }

    /// An index of this name; several may write to it, each to keys of its own.
    pub(crate) fn index(&self, name: &str) -> Result<Index, VerifyFailure> {
        let keyspace = self.log.state(&format!("index.{name}")).map_err(VerifyFailure::ScratchStore)?;
        Ok(Index { log: Arc::clone(&self.log), keyspace, pending: BTreeMap::new() })
    }
}

/// A map on disk.
pub(crate) struct Index {
    log: Arc<EmbeddedLog>,
    keyspace: StateKeyspace,
    pending: BTreeMap<Bytes, Bytes>,
}

impl Index {
    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, VerifyFailure> {
        match self.pending.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None => self.keyspace.get(key).map_err(VerifyFailure::ScratchStore),
        }
    }

    /// Sets a key's value.
    pub(crate) fn put(
        &mut self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<(), VerifyFailure> {
        self.pending.insert(key.into(), value.into());
        if self.pending.len() >= PENDING { self.flush() } else { Ok(()) }
    }

    /// Stores what is pending.
    pub(crate) fn flush(&mut self) -> Result<(), VerifyFailure> {
        let pending = std::mem::take(&mut self.pending);
        let write = |(key, value)| StateWrite { state: self.keyspace.clone(), key, value: Some(value) };
        let commit = Commit { writes: pending.into_iter().map(write).collect(), appends: Vec::new() };
        self.log.commit(&commit).map(drop).map_err(VerifyFailure::ScratchStore)
    }

    /// The first `limit` stored pairs whose key is after this one.
    pub(crate) fn after(&self, key: &[u8], limit: usize) -> Result<Vec<Pair>, VerifyFailure> {
        self.keyspace.range(&[key, &[0]].concat(), None, limit).map_err(VerifyFailure::ScratchStore)
    }
}
