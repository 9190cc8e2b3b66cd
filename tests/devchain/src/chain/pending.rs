//! Transactions that wait for a block, in the order they came. None of them is on the canonical branch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alloy_primitives::TxHash;

use crate::transaction::DevTransaction;

/// The queue of pending transactions; each is in it once.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    queue: BTreeMap<u64, Arc<DevTransaction>>,
    places: HashMap<TxHash, u64>,
    next_place: u64,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn get(&self, hash: TxHash) -> Option<&Arc<DevTransaction>> {
        self.queue.get(self.places.get(&hash)?)
    }

    pub(crate) fn push(&mut self, transaction: Arc<DevTransaction>) {
        if self.places.contains_key(&transaction.hash()) {
            return;
        }
        self.places.insert(transaction.hash(), self.next_place);
        self.queue.insert(self.next_place, transaction);
        self.next_place = self.next_place.saturating_add(1);
    }

    pub(crate) fn remove(&mut self, hash: TxHash) {
        if let Some(place) = self.places.remove(&hash) {
            self.queue.remove(&place);
        }
    }

    /// The first transactions that fit together into `gas_limit`.
    pub(crate) fn first_within(&self, gas_limit: u64) -> Vec<Arc<DevTransaction>> {
        let mut gas = 0_u64;
        self.queue
            .values()
            .take_while(|transaction| {
                gas = gas.saturating_add(transaction.gas_used);
                gas <= gas_limit
            })
            .cloned()
            .collect()
    }
}
