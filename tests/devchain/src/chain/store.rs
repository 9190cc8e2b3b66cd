//! Every block that was made and is still kept, of all branches, and where each transaction is included.
//!
//! Blocks leave in the order they were made, so a parent never stays behind its child.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::{B256, TxHash};

use crate::block::DevBlock;
use crate::transaction::DevTransaction;

/// One place a transaction is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inclusion {
    pub(crate) block: B256,
    pub(crate) index: usize,
}

/// The block tree.
#[derive(Debug, Default)]
pub(crate) struct BlockStore {
    blocks: HashMap<B256, Arc<DevBlock>>,
    made: VecDeque<B256>,
    inclusions: HashMap<TxHash, Vec<Inclusion>>,
    transactions: usize,
}

impl BlockStore {
    pub(crate) fn get(&self, hash: B256) -> Option<&Arc<DevBlock>> {
        self.blocks.get(&hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) const fn transactions(&self) -> usize {
        self.transactions
    }

    pub(crate) fn inclusions(&self, transaction: TxHash) -> &[Inclusion] {
        self.inclusions.get(&transaction).map_or(&[], Vec::as_slice)
    }

    /// The transaction itself, from any block that has it.
    pub(crate) fn transaction(&self, hash: TxHash) -> Option<&Arc<DevTransaction>> {
        let inclusion = self.inclusions(hash).first()?;
        self.get(inclusion.block)?.transactions().get(inclusion.index)
    }

    pub(crate) fn insert(&mut self, block: Arc<DevBlock>) {
        for (index, transaction) in block.transactions().iter().enumerate() {
            let inclusion = Inclusion { block: block.hash(), index };
            self.inclusions.entry(transaction.hash()).or_default().push(inclusion);
        }
        self.transactions = self.transactions.saturating_add(block.transactions().len());
        self.made.push_back(block.hash());
        self.blocks.insert(block.hash(), block);
    }

    /// Forgets the oldest block and returns it. `spared` is never forgotten: it counts as made just now.
    pub(crate) fn remove_oldest(&mut self, spared: B256) -> Option<Arc<DevBlock>> {
        if self.made.front() == Some(&spared) {
            self.made.rotate_left(1);
        }
        let hash = self.made.pop_front_if(|oldest| *oldest != spared)?;
        let block = self.blocks.remove(&hash)?;
        self.transactions = self.transactions.saturating_sub(block.transactions().len());
        for transaction in block.transactions() {
            self.forget_inclusion(transaction.hash(), hash);
        }
        Some(block)
    }

    fn forget_inclusion(&mut self, transaction: TxHash, block: B256) {
        if let Some(inclusions) = self.inclusions.get_mut(&transaction) {
            inclusions.retain(|inclusion| inclusion.block != block);
            if inclusions.is_empty() {
                self.inclusions.remove(&transaction);
            }
        }
    }
}
