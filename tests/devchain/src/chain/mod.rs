//! The pure core: a block tree, one branch of it canonical, and the numbers of the safe and the finalized block.
//!
//! The chain is a function of the calls made on it: no clock, no randomness, no I/O. The same calls give the
//! same hashes, and the order of a hash map reaches no output. A call that returns an error has left the
//! canonical branch, its finality and the balances as they were.

mod canonical;
mod error;
mod finality;
mod grow;
mod pending;
mod read;
mod reorg;
mod settings;
mod store;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use alloy_primitives::Address;

pub use self::error::ChainError;
pub use self::grow::{BlockSpec, Content};
pub use self::read::Included;
pub use self::reorg::Reorged;
pub use self::settings::{BelowFinality, ChainSettings, Dropped, FinalityRule, Limits, ReorgOptions};
pub use self::tokens::Token;

use self::canonical::Canonical;
use self::finality::Finality;
use self::pending::Pending;
use self::store::BlockStore;
use self::tokens::Tokens;
use crate::block::DevBlock;

/// A development chain.
#[derive(Debug)]
pub struct DevChain {
    settings: ChainSettings,
    genesis: Arc<DevBlock>,
    head: Arc<DevBlock>,
    store: BlockStore,
    canonical: Canonical,
    finality: Finality,
    pending: Pending,
    tokens: Tokens,
    transactions_made: u64,
    blocks_made: u64,
}

impl DevChain {
    /// A chain that consists of its genesis block, with default limits and finality on request.
    /// `genesis_time` is in Unix seconds.
    #[must_use]
    pub fn new(chain_id: u64, genesis_time: u64) -> Self {
        Self::with_settings(ChainSettings::new(chain_id, genesis_time))
    }

    /// A chain that consists of its genesis block.
    #[must_use]
    pub fn with_settings(settings: ChainSettings) -> Self {
        let genesis = Arc::new(DevBlock::genesis(settings.chain_id, settings.genesis_time));
        let mut store = BlockStore::default();
        store.insert(Arc::clone(&genesis));
        Self {
            settings,
            canonical: Canonical::starting_with(genesis.reference()),
            head: Arc::clone(&genesis),
            genesis,
            store,
            finality: Finality::default(),
            pending: Pending::default(),
            tokens: Tokens::default(),
            transactions_made: 0,
            blocks_made: 0,
        }
    }

    /// Makes the contract at `address` answer `symbol()`, `decimals()` and `balanceOf(address)`.
    pub fn declare_token(&mut self, address: Address, token: Token) {
        self.tokens.declare(address, token);
    }

    /// Forgets the oldest blocks until the limits hold again.
    fn prune(&mut self) {
        let limits = self.settings.limits;
        while self.store.len() > limits.blocks.max(1) || self.store.transactions() > limits.transactions {
            let Some(block) = self.store.remove_oldest(self.head.hash()) else { return };
            if self.canonical.contains(block.reference()) {
                self.canonical.forget_through(block.reference().number);
            }
        }
    }
}
