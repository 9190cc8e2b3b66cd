//! A task's state: ordered keys and values. Processors see only the [`State`] trait; behind it stands the embedded
//! store in production, a map in simulation and `verify`, and an [`Overlay`] that holds what one record has changed
//! until it is known to be usable.

use std::{cmp::Ordering, collections::BTreeMap};

use bytes::Bytes;

/// A failure to read or decode a task's state. The task stops: it cannot know what it has done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateError {
    /// The store behind the state failed.
    #[error("cannot read the task's state")]
    Read(#[source] streambook_log::LogError),
    /// A value is not what this version of the code writes.
    #[error("the state value at {key} cannot be decoded: {reason}")]
    Decode {
        /// The key, in hex.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A value cannot be encoded.
    #[error("a state value at {key} cannot be encoded: {reason}")]
    Encode {
        /// The key, in hex.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

/// Keys and values in key order.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// Ordered keys and values, as one task sees them.
pub trait State {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError>;

    /// The first `limit` pairs with `from <= key < to`, in key order.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError>;

    /// Sets a key's value.
    fn put(&mut self, key: Bytes, value: Bytes);

    /// Removes a key, if it is there.
    fn delete(&mut self, key: Bytes);
}

/// State in memory: of a replay, a simulation or a test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryState(BTreeMap<Bytes, Bytes>);

impl MemoryState {
    /// Every pair, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.0.iter()
    }
}

impl State for MemoryState {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.0.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.0.insert(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.0.remove(&key);
    }
}

/// Changes on top of a state that stays as it is. A removed key is `None`.
pub struct Overlay<'a> {
    base: &'a dyn State,
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

impl<'a> Overlay<'a> {
    /// No changes yet.
    pub fn new(base: &'a dyn State) -> Self {
        Self { base, changes: BTreeMap::new() }
    }

    /// On top of `base`, with changes made before.
    pub fn with_changes(base: &'a dyn State, changes: BTreeMap<Bytes, Option<Bytes>>) -> Self {
        Self { base, changes }
    }

    /// The changes so far.
    pub const fn changes(&self) -> &BTreeMap<Bytes, Option<Bytes>> {
        &self.changes
    }

    /// The changes, to be applied below or dropped.
    pub fn into_changes(self) -> BTreeMap<Bytes, Option<Bytes>> {
        self.changes
    }
}

/// Applies an overlay's changes to a state.
pub fn apply(changes: BTreeMap<Bytes, Option<Bytes>>, state: &mut dyn State) {
    for (key, value) in changes {
        match value {
            Some(value) => state.put(key, value),
            None => state.delete(key),
        }
    }
}

/// The first `limit` pairs of what is below with the changes on top of it; both come in key order.
pub(crate) fn merged<'c>(
    below: Pairs,
    changes: impl Iterator<Item = (&'c Bytes, &'c Option<Bytes>)>,
    limit: usize,
) -> Pairs {
    let (mut below, mut changes) = (below.into_iter().peekable(), changes.peekable());
    let mut pairs = Vec::new();
    while pairs.len() < limit {
        let order = match (below.peek(), changes.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((below, _)), Some((changed, _))) => below.cmp(changed),
        };
        if order == Ordering::Less {
            pairs.extend(below.next());
            continue;
        }
        if order == Ordering::Equal {
            below.next();
        }
        if let Some((key, Some(value))) = changes.next() {
            pairs.push((key.clone(), value.clone()));
        }
    }
    pairs
}

impl State for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.changes.get(key).map_or_else(|| self.base.get(key), |change| Ok(change.clone()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = (std::ops::Bound::Included(from), std::ops::Bound::Excluded(to));
        let changes = self.changes.range::<[u8], _>(range);
        // Each change hides at most one pair below, so this many pairs are enough to fill the limit.
        let hidden = changes.clone().count();
        let below = self.base.scan(from, to, limit.saturating_add(hidden))?;
        Ok(if hidden == 0 { below } else { merged(below, changes, limit) })
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

    use super::*;

    type Changes = Vec<(u8, Option<u8>)>;

    fn change(state: &mut dyn State, changes: &Changes) {
        for (key, value) in changes {
            let key = Bytes::copy_from_slice(&[*key]);
            match value {
                Some(value) => state.put(key, Bytes::copy_from_slice(&[*value])),
                None => state.delete(key),
            }
        }
    }

    proptest! {
        /// An overlay shows what the state would be, for every range and limit, and leaves the state as it was.
        #[test]
        fn an_overlay_reads_like_the_state_it_will_become(
            below in any::<Changes>(), above in any::<Changes>(), from in any::<u8>(), to in any::<u8>(), limit in 0_usize..20,
        ) {
            let mut base = MemoryState::default();
            change(&mut base, &below);
            let mut expect = base.clone();
            change(&mut expect, &above);
            let mut overlay = Overlay::new(&base);
            change(&mut overlay, &above);
            prop_assert_eq!(overlay.scan(&[from], &[to], limit).unwrap(), expect.scan(&[from], &[to], limit).unwrap());
            prop_assert_eq!(overlay.get(&[from]).unwrap(), expect.get(&[from]).unwrap());
            let changes = overlay.into_changes();
            apply(changes, &mut base);
            prop_assert_eq!(base, expect);
        }
    }
}
