//! What can be asked of a chain. Reading changes nothing, and a block handed out stays valid: it is shared.

use std::sync::Arc;

use alloy_primitives::{Address, B256, TxHash, U256};

use super::{DevChain, Token};
use crate::block::{BlockRef, DevBlock};
use crate::transaction::DevTransaction;

/// A transaction and the block it is in.
#[derive(Clone, Debug)]
pub struct Included {
    /// The block.
    pub block: Arc<DevBlock>,
    /// The transaction's place in the block, from 0.
    pub index: usize,
}

impl DevChain {
    /// The chain id (EIP-155).
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.settings.chain_id
    }

    /// The last canonical block.
    #[must_use]
    pub const fn head(&self) -> &Arc<DevBlock> {
        &self.head
    }

    /// The first block, which is never pruned.
    #[must_use]
    pub const fn genesis(&self) -> &Arc<DevBlock> {
        &self.genesis
    }

    /// A block of any branch, or `None` when it was never made or is pruned.
    #[must_use]
    pub fn block(&self, hash: B256) -> Option<Arc<DevBlock>> {
        if hash == self.genesis.hash() {
            return Some(Arc::clone(&self.genesis));
        }
        self.store.get(hash).cloned()
    }

    /// The canonical block of this number, or `None` above the head and where it is pruned.
    #[must_use]
    pub fn canonical_block(&self, number: u64) -> Option<Arc<DevBlock>> {
        if number == 0 {
            return Some(Arc::clone(&self.genesis));
        }
        self.store.get(self.canonical.at(number)?).cloned()
    }

    /// The kept canonical blocks from `first` to the head, in order.
    pub fn canonical_blocks(&self, first: u64) -> impl Iterator<Item = &Arc<DevBlock>> {
        let first = first.max(self.canonical.first());
        let numbers = first..=self.head.reference().number;
        numbers.filter_map(|number| self.store.get(self.canonical.at(number)?))
    }

    /// The lowest number from which on every canonical block is kept. The genesis block is kept besides.
    #[must_use]
    pub const fn first_kept(&self) -> u64 {
        self.canonical.first()
    }

    /// Whether the block is on the canonical branch.
    #[must_use]
    pub fn is_canonical(&self, block: BlockRef) -> bool {
        block == self.genesis.reference() || self.canonical.contains(block)
    }

    /// Where the canonical branch has the transaction, if it does.
    #[must_use]
    pub fn canonical_inclusion(&self, transaction: TxHash) -> Option<Included> {
        self.store.inclusions(transaction).iter().find_map(|inclusion| {
            let block = self.store.get(inclusion.block)?;
            self.is_canonical(block.reference())
                .then(|| Included { block: Arc::clone(block), index: inclusion.index })
        })
    }

    /// A transaction that waits for a block.
    #[must_use]
    pub fn pending_transaction(&self, hash: TxHash) -> Option<Arc<DevTransaction>> {
        self.pending.get(hash).cloned()
    }

    /// How many transactions wait for a block.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// How many blocks are kept, of all branches.
    #[must_use]
    pub fn kept_blocks(&self) -> usize {
        self.store.len()
    }

    /// What a declared token says of itself.
    #[must_use]
    pub fn token(&self, address: Address) -> Option<&Token> {
        self.tokens.get(address)
    }

    /// The tokens `account` holds at the head, in the token's smallest unit.
    #[must_use]
    pub fn balance_of(&self, token: Address, account: Address) -> U256 {
        self.tokens.balance(token, account)
    }
}
