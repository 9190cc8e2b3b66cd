//! A flow: what one task has sent to one destination partition, summed up in a few bytes.
//!
//! Two flows with the same mark and the same keys are the same records in the same order: the mark's running hash covers
//! the records, and the digest here their keys.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use streambook_model::position::TopicPartition;
use streambook_runtime::lineage::Mark;

/// A flow's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    /// The first number that is kept; what was before it was trimmed.
    pub(crate) first: u64,
    /// The last number and the running hash after it.
    pub(crate) mark: Mark,
    /// A running digest over the keys from `first` on.
    pub(crate) keys: Keys,
}

/// A running digest over keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keys([u8; 32]);

/// By task and destination.
pub(crate) type Flows = BTreeMap<(String, TopicPartition), Flow>;

impl Keys {
    /// Adds the next record's key.
    pub(crate) fn add(&mut self, key: &[u8]) {
        self.0 = Sha256::new().chain_update(self.0).chain_update(key).finalize().into();
    }
}
