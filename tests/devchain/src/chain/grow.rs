//! How blocks come to be: on the head, or beside it.

use std::collections::HashSet;
use std::sync::Arc;

use alloy_primitives::{B256, TxHash};
use serde::{Deserialize, Serialize};

use super::{ChainError, DevChain};
use crate::block::{BASE_FEE_WEI, BLOCK_GAS_LIMIT, BlockParts, BlockRef, DevBlock};
use crate::transaction::DevTransaction;
use crate::transfer::TransferRequest;

/// One entry of a block to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// A new transaction.
    New(TransferRequest),
    /// A transaction that is pending, or that another block already has: the same one with the same hash.
    Known(TxHash),
}

/// A block to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockSpec {
    /// The block's time in Unix seconds; not before its parent's. Equal is allowed, as on chains that make
    /// several blocks a second.
    pub timestamp: u64,
    /// The transactions in order.
    pub contents: Vec<Content>,
}

impl BlockSpec {
    /// A block of new transactions.
    #[must_use]
    pub fn of(timestamp: u64, transfers: &[TransferRequest]) -> Self {
        Self { timestamp, contents: transfers.iter().cloned().map(Content::New).collect() }
    }
}

impl DevChain {
    /// Puts a transaction into the queue for [`Self::mine_pending`] and returns its hash.
    ///
    /// # Errors
    /// [`ChainError::PendingFull`] when the queue is at its limit.
    pub fn submit(&mut self, request: &TransferRequest) -> Result<TxHash, ChainError> {
        let limit = self.settings.limits.pending;
        if self.pending.len() >= limit {
            return Err(ChainError::PendingFull { limit });
        }
        let transaction = self.make_transaction(request);
        let hash = transaction.hash();
        self.pending.push(transaction);
        Ok(hash)
    }

    /// Makes the next block of new transactions; the queue is left alone.
    ///
    /// # Errors
    /// [`ChainError::TimestampBackwards`] and [`ChainError::BlockFull`].
    pub fn mine(&mut self, timestamp: u64, transfers: &[TransferRequest]) -> Result<BlockRef, ChainError> {
        self.append(&BlockSpec::of(timestamp, transfers))
    }

    /// Makes the next block of as much of the queue as fits, oldest first.
    ///
    /// # Errors
    /// [`ChainError::TimestampBackwards`].
    pub fn mine_pending(&mut self, timestamp: u64) -> Result<BlockRef, ChainError> {
        let transactions = self.pending.first_within(BLOCK_GAS_LIMIT);
        let parent = Arc::clone(&self.head);
        let block = self.make_block(&parent, timestamp, transactions)?;
        Ok(self.adopt_child(block))
    }

    /// Makes the next block as specified.
    ///
    /// # Errors
    /// As [`Self::extend`].
    pub fn append(&mut self, spec: &BlockSpec) -> Result<BlockRef, ChainError> {
        let parent = Arc::clone(&self.head);
        let block = self.make_specified(&parent, spec)?;
        Ok(self.adopt_child(block))
    }

    /// Makes a block on any kept block without making it canonical;
    /// [`Self::switch_to`] does that.
    ///
    /// # Errors
    /// [`ChainError::UnknownBlock`] for the parent, [`ChainError::UnknownTransaction`] and
    /// [`ChainError::AlreadyIncluded`] for a known transaction, [`ChainError::TimestampBackwards`] and
    /// [`ChainError::BlockFull`].
    pub fn extend(&mut self, parent: B256, spec: &BlockSpec) -> Result<BlockRef, ChainError> {
        let block = self.add_on(parent, spec)?;
        self.prune();
        Ok(block)
    }

    /// As [`Self::extend`], without pruning, so that a branch in the making keeps its parents.
    pub(super) fn add_on(&mut self, parent: B256, spec: &BlockSpec) -> Result<BlockRef, ChainError> {
        let parent = self.store.get(parent).cloned().ok_or(ChainError::UnknownBlock(parent))?;
        let block = self.make_specified(&parent, spec)?;
        let reference = block.reference();
        self.store.insert(block);
        Ok(reference)
    }

    fn adopt_child(&mut self, block: Arc<DevBlock>) -> BlockRef {
        let reference = block.reference();
        self.store.insert(Arc::clone(&block));
        self.adopt(reference.number.saturating_sub(1), vec![block]);
        self.prune();
        reference
    }

    fn make_specified(&mut self, parent: &DevBlock, spec: &BlockSpec) -> Result<Arc<DevBlock>, ChainError> {
        let transactions = self.resolve(parent, &spec.contents)?;
        self.make_block(parent, spec.timestamp, transactions)
    }

    fn make_block(
        &mut self,
        parent: &DevBlock,
        timestamp: u64,
        transactions: Vec<Arc<DevTransaction>>,
    ) -> Result<Arc<DevBlock>, ChainError> {
        check_timestamp(parent, timestamp)?;
        check_gas(&transactions)?;
        self.blocks_made = self.blocks_made.saturating_add(1);
        let parts = BlockParts { timestamp, transactions, salt: self.blocks_made };
        Ok(Arc::new(DevBlock::child_of(parent, parts)))
    }

    fn make_transaction(&mut self, request: &TransferRequest) -> Arc<DevTransaction> {
        let nonce = self.transactions_made;
        self.transactions_made = nonce.saturating_add(1);
        Arc::new(DevTransaction::new(request, self.settings.chain_id, nonce, BASE_FEE_WEI))
    }

    fn resolve(
        &mut self,
        parent: &DevBlock,
        contents: &[Content],
    ) -> Result<Vec<Arc<DevTransaction>>, ChainError> {
        let mut known = HashSet::new();
        let mut transactions = Vec::with_capacity(contents.len());
        for content in contents {
            transactions.push(match content {
                Content::New(request) => self.make_transaction(request),
                Content::Known(hash) if !known.insert(*hash) => {
                    return Err(ChainError::AlreadyIncluded(*hash));
                }
                Content::Known(hash) => self.known_transaction(parent, *hash)?,
            });
        }
        Ok(transactions)
    }

    fn known_transaction(&self, parent: &DevBlock, hash: TxHash) -> Result<Arc<DevTransaction>, ChainError> {
        let found = self.pending.get(hash).or_else(|| self.store.transaction(hash));
        let transaction = found.cloned().ok_or(ChainError::UnknownTransaction(hash))?;
        if self.is_on_branch(parent, hash) {
            return Err(ChainError::AlreadyIncluded(hash));
        }
        Ok(transaction)
    }

    /// Whether the branch that ends with `tip` has the transaction.
    fn is_on_branch(&self, tip: &DevBlock, transaction: TxHash) -> bool {
        self.store.inclusions(transaction).iter().any(|inclusion| {
            let block = self.store.get(inclusion.block);
            block.is_some_and(|block| self.is_ancestor(block.reference(), tip))
        })
    }

    /// Whether `block` is `tip` or before it. Walks down only as far as the branch is not canonical.
    fn is_ancestor(&self, block: BlockRef, tip: &DevBlock) -> bool {
        let mut current = tip;
        while current.reference().number > block.number && !self.canonical.contains(current.reference()) {
            let Some(parent) = self.store.get(current.header().parent_hash) else { return false };
            current = parent;
        }
        match current.reference().number.cmp(&block.number) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => current.hash() == block.hash,
            std::cmp::Ordering::Greater => self.canonical.contains(block),
        }
    }
}

const fn check_timestamp(parent: &DevBlock, timestamp: u64) -> Result<(), ChainError> {
    let parent = parent.header().timestamp;
    if timestamp < parent {
        return Err(ChainError::TimestampBackwards { timestamp, parent });
    }
    Ok(())
}

fn check_gas(transactions: &[Arc<DevTransaction>]) -> Result<(), ChainError> {
    let needed = transactions.iter().fold(0_u64, |gas, transaction| gas.saturating_add(transaction.gas_used));
    if needed > BLOCK_GAS_LIMIT {
        return Err(ChainError::BlockFull { needed, limit: BLOCK_GAS_LIMIT });
    }
    Ok(())
}
