//! A table in the order in which its entries become due, emptied from its front.
//!
//! The front is remembered: no entry is due before it. Most records make nothing due, and then one look-up says so,
//! where a look at the table would have to pass over everything that was ever taken from it: in a store of sorted runs
//! a removed entry is still there until the runs are merged.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use streambook_model::chain::ChainId;
use streambook_runtime::{
    state::{State, StateError},
    table::{Key, Table},
};

/// Where each queue begins, by (chain, the queue's number). Absent while nothing was ever in it.
const FRONT: u8 = 14;

/// A queue of values `V`, by (chain, when they are due, which of those).
pub(super) struct Queue<At, Which, V> {
    number: u8,
    entries: Table<V>,
    fronts: Table<At>,
    which: PhantomData<fn() -> Which>,
}

impl<At, Which, V> Queue<At, Which, V>
where
    At: Key + Copy + Ord + Serialize + DeserializeOwned,
    Which: Key,
    V: Serialize + DeserializeOwned,
{
    /// The queue under this prefix.
    pub(super) const fn new(prefix: u8) -> Self {
        Self { number: prefix, entries: Table::new(prefix), fronts: Table::new(FRONT), which: PhantomData }
    }

    /// The entry of a key.
    pub(super) fn get(&self, state: &dyn State, key: (ChainId, At, Which)) -> Result<Option<V>, StateError> {
        self.entries.get(state, key)
    }

    /// Sets a key's entry.
    pub(super) fn put(
        &self,
        state: &mut dyn State,
        key: (ChainId, At, Which),
        value: &V,
    ) -> Result<(), StateError> {
        let (chain, at) = (key.0, key.1);
        self.entries.put(state, key, value)?;
        match self.fronts.get(state, self.front(chain))? {
            Some(front) if front <= at => Ok(()),
            _ => self.fronts.put(state, self.front(chain), &at),
        }
    }

    /// Removes a key, if it is there.
    pub(super) fn delete(&self, state: &mut dyn State, key: (ChainId, At, Which)) {
        self.entries.delete(state, key);
    }

    /// The first `limit` entries that are due before `end`. The caller removes every one of them.
    pub(super) fn due(
        &self,
        state: &mut dyn State,
        chain: ChainId,
        end: At,
        limit: usize,
    ) -> Result<Vec<V>, StateError> {
        let Some(front) = self.fronts.get(state, self.front(chain))?.filter(|front| *front < end) else {
            return Ok(Vec::new());
        };
        let due = self.entries.scan(state, (chain, front), (chain, end), limit)?;
        if due.len() < limit {
            self.fronts.put(state, self.front(chain), &end)?;
        }
        Ok(due)
    }

    fn front(&self, chain: ChainId) -> (ChainId, u16) {
        (chain, u16::from(self.number))
    }
}
