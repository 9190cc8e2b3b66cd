//! A replayed task's state that notices the first key that a step changes, outside the runtime's own table.

use bytes::Bytes;
use streambook_runtime::{
    state::{Pairs, State, StateError},
    store::TaskStore,
};

/// The state for one step.
pub(crate) struct Watch<'s> {
    state: &'s mut TaskStore,
    changed: Option<Bytes>,
}

impl<'s> Watch<'s> {
    /// Nothing was changed yet.
    pub(crate) const fn over(state: &'s mut TaskStore) -> Self {
        Self { state, changed: None }
    }

    /// The first key that was changed.
    pub(crate) fn changed(self) -> Option<Bytes> {
        self.changed
    }

    fn note(&mut self, key: &Bytes) {
        if self.changed.is_none() && key.first() != Some(&0) {
            self.changed = Some(key.clone());
        }
    }
}

impl State for Watch<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.state.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError> {
        self.state.scan(from, to, limit)
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.note(&key);
        self.state.put(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.note(&key);
        self.state.delete(key);
    }
}
