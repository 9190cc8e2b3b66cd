//! The canonical branch: a run of consecutive block numbers, each with its hash.

use std::collections::VecDeque;

use alloy_primitives::B256;

use crate::block::BlockRef;

/// The kept part of the canonical branch. It ends with the head and has no gap.
#[derive(Debug)]
pub(crate) struct Canonical {
    first: u64,
    hashes: VecDeque<B256>,
}

impl Canonical {
    pub(crate) fn starting_with(block: BlockRef) -> Self {
        Self { first: block.number, hashes: VecDeque::from([block.hash]) }
    }

    pub(crate) fn at(&self, number: u64) -> Option<B256> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.hashes.get(index).copied()
    }

    pub(crate) fn contains(&self, block: BlockRef) -> bool {
        self.at(block.number) == Some(block.hash)
    }

    /// The lowest number kept.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The caller passes the child of the last block.
    pub(crate) fn push(&mut self, hash: B256) {
        self.hashes.push_back(hash);
    }

    /// Removes everything above `number` and returns it, lowest first.
    pub(crate) fn cut_above(&mut self, number: u64) -> Vec<BlockRef> {
        let kept = number.saturating_add(1).saturating_sub(self.first);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).min(self.hashes.len());
        let cut = self.hashes.split_off(kept);
        (number.saturating_add(1)..).zip(cut).map(|(number, hash)| BlockRef { number, hash }).collect()
    }

    /// Forgets everything up to and including `number`.
    pub(crate) fn forget_through(&mut self, number: u64) {
        while self.first <= number && self.hashes.pop_front().is_some() {
            self.first = self.first.saturating_add(1);
        }
    }
}
