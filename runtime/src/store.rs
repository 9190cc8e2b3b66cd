//! A task's state in the embedded store, and the one atomic commit of (offset, state, outputs).
//!
//! The tasks of a processor share a keyspace; each has its partition's number as prefix. Since log and state are one
//! store, the commit of the outputs is their publication: after a crash either the step happened, state, outputs and
//! offset, or it did not.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included},
    sync::Arc,
};

use bytes::Bytes;
use streambook_log::{
    LogError,
    embedded::{Commit, EmbeddedLog, StateKeyspace, StateWrite},
};
use streambook_model::position::{Offset, Partition};

use crate::{
    state::{Pairs, State, StateError},
    step::Output,
};

/// The key of a task's next offset, beside its tables (prefix 0 is the runtime's).
const NEXT_OFFSET: &[u8] = b"\0next-offset";

/// The state of one task: what is committed, and the changes since.
pub struct TaskStore {
    log: Arc<EmbeddedLog>,
    keyspace: StateKeyspace,
    prefix: [u8; 2],
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

impl TaskStore {
    /// The state of a processor's task at a partition.
    pub fn open(log: Arc<EmbeddedLog>, processor: &str, partition: Partition) -> Result<Self, LogError> {
        let keyspace = log.state(&format!("task.{processor}"))?;
        Ok(Self { log, keyspace, prefix: partition.0.to_be_bytes(), changes: BTreeMap::new() })
    }

    /// The offset of the first record that no commit covers.
    pub fn next_offset(&self) -> Result<Offset, StateError> {
        let Some(bytes) = self.get(NEXT_OFFSET)? else { return Ok(Offset(0)) };
        let bytes: [u8; 8] = bytes.as_ref().try_into().map_err(|_| StateError::Decode {
            key: hex::encode(NEXT_OFFSET),
            reason: "an offset has 8 bytes".into(),
        })?;
        Ok(Offset(u64::from_be_bytes(bytes)))
    }

    /// Commits the changes since the last commit, the outputs and the new offset, all or nothing. Written, not synced;
    /// returns the position to wait for.
    pub fn commit(&mut self, next: Offset, outputs: Vec<Output>) -> Result<u64, LogError> {
        self.put(Bytes::from_static(NEXT_OFFSET), Bytes::copy_from_slice(&next.0.to_be_bytes()));
        let changes = std::mem::take(&mut self.changes);
        let write = |(key, value): (Bytes, Option<Bytes>)| StateWrite {
            state: self.keyspace.clone(),
            key: self.stored_key(&key),
            value,
        };
        let mut appends: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for output in outputs {
            appends.entry(output.to).or_default().push(output.record);
        }
        let writes = changes.into_iter().map(write).collect();
        let commit = Commit { writes, appends: appends.into_iter().collect() };
        Ok(self.log.commit(&commit)?.position)
    }

    fn stored_key(&self, key: &[u8]) -> Bytes {
        [&self.prefix, key].concat().into()
    }
}

impl State for TaskStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        if let Some(change) = self.changes.get(key) {
            return Ok(change.clone());
        }
        self.keyspace.get(&self.stored_key(key)).map_err(StateError::Read)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let changes = self.changes.range::<[u8], _>((Included(from), Excluded(to)));
        // Each change hides at most one stored pair, so this many are enough to fill the limit.
        let wanted = limit.saturating_add(changes.clone().count());
        let stored = self.keyspace.range(&self.stored_key(from), Some(&self.stored_key(to)), wanted);
        let own = |(key, value): (Bytes, Bytes)| (key.slice(self.prefix.len()..), Some(value));
        let mut merged: BTreeMap<_, _> = stored.map_err(StateError::Read)?.into_iter().map(own).collect();
        merged.extend(changes.map(|(key, change)| (key.clone(), change.clone())));
        Ok(merged.into_iter().filter_map(|(key, value)| Some((key, value?))).take(limit).collect())
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.changes.insert(key, Some(value));
    }

    fn delete(&mut self, key: Bytes) {
        self.changes.insert(key, None);
    }
}
