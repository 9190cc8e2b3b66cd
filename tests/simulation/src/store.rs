//! A task's state in memory that remembers what was overwritten, so that a crash between two steps of a commit, or the
//! loss of an unsynced one, can take it back.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included},
};

use bytes::Bytes;
use streambook_runtime::state::{Pairs, State, StateError};

/// The keys that were overwritten, with the values before, in order.
pub type Undo = Vec<(Bytes, Option<Bytes>)>;

/// A task's state and offset.
#[derive(Debug, Clone, Default)]
pub struct Store {
    map: BTreeMap<Bytes, Bytes>,
    /// The next offset, as committed.
    pub next: u64,
    undo: Undo,
}

impl Store {
    /// How many changes are not committed.
    pub fn changes(&self) -> usize {
        self.undo.len()
    }

    /// The changes since the last commit, which are committed now.
    pub fn take_changes(&mut self) -> Undo {
        std::mem::take(&mut self.undo)
    }

    /// Takes changes back, latest first.
    pub fn revert(&mut self, changes: Undo) {
        for (key, before) in changes.into_iter().rev() {
            match before {
                Some(value) => self.map.insert(key, value),
                None => self.map.remove(&key),
            };
        }
    }

    /// The first key outside the runtime's own table whose value differs from what it was at this change.
    pub fn first_difference_since(&self, change: usize) -> Option<&Bytes> {
        let mut seen: Vec<&Bytes> = Vec::new();
        self.undo.iter().skip(change).find_map(|(key, before)| {
            let first = !seen.contains(&key);
            seen.push(key);
            (first && key.first() != Some(&0) && self.map.get(key) != before.as_ref()).then_some(key)
        })
    }

    /// Every pair, in key order.
    pub fn pairs(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.map.iter()
    }
}

impl State for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(self.map.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.map.range::<[u8], _>((Included(from), Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        let before = self.map.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    fn delete(&mut self, key: Bytes) {
        let before = self.map.remove(&key);
        self.undo.push((key, before));
    }
}
