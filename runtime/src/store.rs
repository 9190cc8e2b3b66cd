//! A task's state in the embedded store, and the one atomic commit of (offset, state, outputs).
//!
//! The tasks of a processor share a keyspace; each has its partition's number as prefix. Since log and state are one
//! store, the commit of the outputs is their publication: after a crash either the step happened, state, outputs and
//! offset, or it did not.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
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
    state::{Pairs, State, StateError, merged},
    step::Output,
};

/// The key of a task's next offset, beside its tables (prefix 0 is the runtime's).
const NEXT_OFFSET: &[u8] = b"\0next-offset";

/// Values of one generation of [`Known`]: enough for the payments a partition has under way.
const KNOWN_VALUES: usize = 1_024;
/// Larger values are not remembered, so that a task remembers a few megabytes at most.
const KNOWN_BYTES: usize = 2_048;

/// The state of one task: what is committed, and the changes since.
pub struct TaskStore {
    log: Arc<EmbeddedLog>,
    keyspace: StateKeyspace,
    prefix: [u8; 2],
    changes: BTreeMap<Bytes, Option<Bytes>>,
    known: RefCell<Known>,
}

/// Committed values that were lately read or written, since most records of a batch need the same few and each look-up
/// in the store costs more than all the rest of a step. The task is the only writer of its keys, so what is remembered
/// stays true. Two generations bound it: what was not used in a whole generation is forgotten.
#[derive(Default)]
struct Known {
    young: HashMap<Bytes, Option<Bytes>>,
    old: HashMap<Bytes, Option<Bytes>>,
}

impl Known {
    fn get(&mut self, key: &[u8]) -> Option<Option<Bytes>> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value.clone());
        Some(value)
    }

    fn put(&mut self, key: Bytes, value: Option<Bytes>) {
        if value.as_ref().is_some_and(|value| value.len() > KNOWN_BYTES) {
            self.young.remove(&key);
            self.old.remove(&key);
            return;
        }
        if self.young.len() >= KNOWN_VALUES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

impl TaskStore {
    /// The state of a processor's task at a partition.
    pub fn open(log: Arc<EmbeddedLog>, processor: &str, partition: Partition) -> Result<Self, LogError> {
        let keyspace = log.state(&format!("task.{processor}"))?;
        Ok(Self {
            log,
            keyspace,
            prefix: partition.0.to_be_bytes(),
            changes: BTreeMap::new(),
            known: RefCell::default(),
        })
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
        let write = |(key, value): (&Bytes, &Option<Bytes>)| StateWrite {
            state: self.keyspace.clone(),
            key: self.stored_key(key),
            value: value.clone(),
        };
        let mut appends: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for output in outputs {
            appends.entry(output.to).or_default().push(output.record);
        }
        let writes = changes.iter().map(write).collect();
        let commit = Commit { writes, appends: appends.into_iter().collect() };
        let position = self.log.commit(&commit)?.position;
        let mut known = self.known.borrow_mut();
        changes.into_iter().for_each(|(key, value)| known.put(key, value));
        Ok(position)
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
        let mut known = self.known.borrow_mut();
        if let Some(value) = known.get(key) {
            return Ok(value);
        }
        let value = self.keyspace.get(&self.stored_key(key)).map_err(StateError::Read)?;
        // A copy, since the store's value may hold a whole block of a table in memory.
        known.put(Bytes::copy_from_slice(key), value.as_deref().map(Bytes::copy_from_slice));
        Ok(value)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let changes = self.changes.range::<[u8], _>((Included(from), Excluded(to)));
        // Each change hides at most one stored pair, so this many are enough to fill the limit.
        let wanted = limit.saturating_add(changes.clone().count());
        let stored = self.keyspace.range(&self.stored_key(from), Some(&self.stored_key(to)), wanted);
        let own = |(key, value): (Bytes, Bytes)| (key.slice(self.prefix.len()..), value);
        let stored = stored.map_err(StateError::Read)?.into_iter().map(own).collect();
        Ok(merged(stored, changes, limit))
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.changes.insert(key, Some(value));
    }

    fn delete(&mut self, key: Bytes) {
        self.changes.insert(key, None);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use streambook_log::embedded::EmbeddedOptions;

    use super::*;
    use crate::state::MemoryState;

    /// Changes of a step, and whether it is the last one of its commit.
    type Steps = Vec<(Vec<(u8, Option<u16>)>, bool)>;

    fn change(state: &mut dyn State, key: u8, value: Option<u16>) {
        let key = Bytes::copy_from_slice(&[key]);
        match value {
            // Some values are too large to be remembered.
            Some(value) => state.put(key, vec![7; usize::from(value % 4_096)].into()),
            None => state.delete(key),
        }
    }

    fn check(store: &TaskStore, expect: &MemoryState) {
        for key in 0..=u8::MAX {
            assert_eq!(store.get(&[key]).unwrap(), expect.get(&[key]).unwrap(), "key {key}");
        }
        for (from, to, limit) in [(1, 255, 1_000), (10, 200, 5), (3, 3, 9)] {
            let found = store.scan(&[from], &[to], limit).unwrap();
            assert_eq!(found, expect.scan(&[from], &[to], limit).unwrap(), "{limit} from {from} to {to}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Whatever is remembered, committed or not, and whatever another task keeps: a task reads what it wrote last.
        #[test]
        fn a_store_reads_like_a_map(steps in any::<Steps>()) {
            let directory = tempfile::tempdir().unwrap();
            let log = EmbeddedLog::open(EmbeddedOptions::new(directory.path())).unwrap();
            let mut other = TaskStore::open(Arc::clone(&log), "p", Partition(2)).unwrap();
            change(&mut other, 9, Some(9));
            other.commit(Offset(1), Vec::new()).unwrap();
            let mut store = TaskStore::open(Arc::clone(&log), "p", Partition(1)).unwrap();
            let mut expect = MemoryState::default();
            for (changes, commits) in steps {
                for (key, value) in changes {
                    change(&mut store, key.max(1), value);
                    change(&mut expect, key.max(1), value);
                }
                check(&store, &expect);
                if commits {
                    store.commit(Offset(5), Vec::new()).unwrap();
                    check(&store, &expect);
                }
            }
            store.commit(Offset(6), Vec::new()).unwrap();
            let store = TaskStore::open(log, "p", Partition(1)).unwrap();
            check(&store, &expect);
            assert_eq!(store.next_offset().unwrap(), Offset(6));
        }
    }

    #[test]
    fn what_was_not_used_for_a_generation_is_forgotten() {
        let mut known = Known::default();
        let key = |number: usize| Bytes::from(number.to_be_bytes().to_vec());
        for number in 0..10 * KNOWN_VALUES {
            known.put(key(number), None);
            assert_eq!(known.get(&key(0)), Some(None), "what is used stays");
        }
        assert!(known.young.len() + known.old.len() <= 2 * KNOWN_VALUES);
        assert_eq!(known.get(&key(1)), None);
    }
}
